//! What MS-CHAP-V2 computes (RFC 2759 §8), and the keys that MPPE makes of it (RFC 3079 §3).

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::{Digest, Md4};
use ring::digest::{Context as Sha1, SHA1_FOR_LEGACY_USE_ONLY};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::super::identity::without_domain;
use crate::crypto::Secret;

/// NtPasswordHash (RFC 2759 §8.3): what stands for the password in all that follows.
pub(super) struct NtHash(Zeroizing<[u8; 16]>);

/// What one run of the protocol is about.
pub(super) struct Exchange<'a> {
    pub(super) authenticator_challenge: &'a [u8; 16],
    pub(super) peer_challenge: &'a [u8; 16],
    /// The name in the response, as it was sent.
    pub(super) user: &'a [u8],
}

impl NtHash {
    /// Of a password, in UTF-8; of what is not, every octet is a character.
    pub(super) fn of_password(password: &Secret) -> Self {
        let units: Zeroizing<Vec<u16>> = Zeroizing::new(match std::str::from_utf8(password.octets()) {
            Ok(text) => text.encode_utf16().collect(),
            Err(_) => password.octets().iter().map(|octet| u16::from(*octet)).collect(),
        });
        let unicode: Zeroizing<Vec<u8>> =
            Zeroizing::new(units.iter().flat_map(|unit| unit.to_le_bytes()).collect());
        Self(Zeroizing::new(Md4::digest(&*unicode).into()))
    }

    /// Octets that are the hash already; `None` unless there are 16.
    pub(super) fn of_hash(hash: &Secret) -> Option<Self> {
        Some(Self(Zeroizing::new(hash.octets().try_into().ok()?)))
    }

    /// HashNtPasswordHash (RFC 2759 §8.4).
    fn hash(&self) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(Md4::digest(*self.0).into())
    }

    /// GenerateNTResponse (RFC 2759 §8.1).
    pub(super) fn nt_response(&self, exchange: &Exchange<'_>) -> [u8; 24] {
        let challenge = exchange.challenge();
        // ChallengeResponse (§8.5): the hash, padded with zeros, is three keys of seven octets.
        let mut keys = Zeroizing::new([0; 21]);
        keys.iter_mut().zip(self.0.iter()).for_each(|(key, hash)| *key = *hash);
        let mut response = [0; 24];
        for (block, key) in response.chunks_exact_mut(8).zip(keys.chunks_exact(7)) {
            block.copy_from_slice(&des_encrypt(challenge, key));
        }
        response
    }

    /// GenerateAuthenticatorResponse (RFC 2759 §8.7), without `S=`.
    pub(super) fn authenticator_response(&self, nt_response: &[u8; 24], exchange: &Exchange<'_>) -> [u8; 20] {
        let digest = sha1(&[&*self.hash(), nt_response, b"Magic server to client signing constant"]);
        sha1(&[&digest, &exchange.challenge(), b"Pad to make it do more than one iteration"])
    }

    /// The Master Session Key: what the server receives with, what it sends with (RFC 3079 §3.3), and zeros up to the
    /// 64 octets that EAP wants.
    pub(super) fn msk(&self, nt_response: &[u8; 24]) -> Secret {
        let digest = Zeroizing::new(sha1(&[&*self.hash(), nt_response, b"This is the MPPE Master Key"]));
        let master = digest.first_chunk::<16>().unwrap_or(&[0; 16]);
        // Magic2 and Magic3: their last words are about the server.
        let receive = start_key(
            master,
            b"On the client side, this is the send key; on the server side, it is the receive key.",
        );
        let send = start_key(
            master,
            b"On the client side, this is the receive key; on the server side, it is the send key.",
        );
        Secret::new([receive.as_slice(), send.as_slice(), &[0; 32]].concat())
    }
}

impl Exchange<'_> {
    /// ChallengeHash (RFC 2759 §8.2): the user's name without its domain.
    fn challenge(&self) -> [u8; 8] {
        let digest = sha1(&[self.peer_challenge, self.authenticator_challenge, without_domain(self.user)]);
        *digest.first_chunk().unwrap_or(&[0; 8])
    }
}

/// True if both are the same, in a time that does not tell where they differ.
pub(super) fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// GetAsymmetricStartKey (RFC 3079 §3.4) for 128 bits.
fn start_key(master: &[u8; 16], magic: &[u8; 84]) -> Zeroizing<[u8; 16]> {
    let digest = Zeroizing::new(sha1(&[master, &[0; 40], magic, &[0xf2; 40]]));
    Zeroizing::new(*digest.first_chunk().unwrap_or(&[0; 16]))
}

/// DesEncrypt (RFC 2759 §8.6): seven bits of the key to each octet; the eighth is for parity, which nobody checks.
fn des_encrypt(clear: [u8; 8], key: &[u8]) -> [u8; 8] {
    let bits = key.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    let mut spread = Zeroizing::new([0; 8]);
    for (octet, shift) in spread.iter_mut().zip((0..8).rev().map(|group| group * 7)) {
        let [.., low] = (bits >> shift << 1).to_be_bytes();
        *octet = low;
    }
    let mut block = clear.into();
    Des::new((&*spread).into()).encrypt_block(&mut block);
    block.into()
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut sha1 = Sha1::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        sha1.update(part);
    }
    sha1.finish().as_ref().try_into().unwrap_or([0; 20])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    /// RFC 2759 §9.2, RFC 3079 §3.5.3.
    #[test]
    fn the_examples_of_the_rfcs() {
        let authenticator_challenge = &hex("5B5D7C7D7B3F2F3E3C2C602132262628").try_into().unwrap();
        let peer_challenge = &hex("21402324255E262A28295F2B3A337C7E").try_into().unwrap();
        let exchange = Exchange { authenticator_challenge, peer_challenge, user: b"User" };
        assert_eq!(exchange.challenge().to_vec(), hex("D02E4386BCE91226"));
        assert_eq!(Exchange { user: b"LAB\\User", ..exchange }.challenge().to_vec(), hex("D02E4386BCE91226"));
        let hash = NtHash::of_password(&secret("clientPass"));
        assert_eq!(hash.0.to_vec(), hex("44EBBA8D5312B8D611474411F56989AE"));
        assert_eq!(hash.hash().to_vec(), hex("41C00C584BD2D91C4017A2A12FA59F3F"));
        let response = hash.nt_response(&exchange);
        assert_eq!(response.to_vec(), hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"));
        assert_eq!(
            hash.authenticator_response(&response, &exchange).to_vec(),
            hex("407A5589115FD0D6209F510FE9C04566932CDA56")
        );
        // SendStartKey128 is the server's.
        let msk = hash.msk(&response);
        assert_eq!(msk.octets()[16..32], hex("8B7CDC149B993A1BA118CB153F56DCCB"));
        assert_eq!(msk.octets()[32..], [0; 32]);
    }

    /// RFC 2759 §9.3.
    #[test]
    fn keys_are_spread_over_octets() {
        assert_eq!(NtHash::of_password(&secret("MyPw")).0.to_vec(), hex("FC156AF7EDCD6C0EDDE3337D427F4EAC"));
        // Of FIPS 81: what DES makes of a known block under a key whose parity does not matter.
        let spread = hex("0123456789abcdef");
        let bits = spread.iter().fold(0_u64, |bits, octet| bits << 7 | u64::from(octet >> 1));
        let clear = hex("4e6f772069732074").try_into().unwrap();
        assert_eq!(des_encrypt(clear, &bits.to_be_bytes()[1..]).to_vec(), hex("3fa40e8a984d4815"));
    }

    /// A conversation between eapol_test and hostapd 2.10: the MSK is what hostapd gave as MPPE keys.
    #[test]
    fn agrees_with_another_implementation() {
        let authenticator_challenge = &hex("f4532b0eb05e5827392a6a804837d228").try_into().unwrap();
        let peer_challenge = &hex("8ea4b7596c3c69b835f53f45c921e909").try_into().unwrap();
        let exchange = Exchange { authenticator_challenge, peer_challenge, user: b"bob" };
        let hash = NtHash::of_hash(&Secret::new(hex("44EBBA8D5312B8D611474411F56989AE"))).unwrap();
        let response = hash.nt_response(&exchange);
        assert_eq!(response.to_vec(), hex("806ae247eb7bd163e59afee36e9ed9912d4b4a724ddea195"));
        assert_eq!(
            hash.authenticator_response(&response, &exchange).to_vec(),
            hex("0836a9f3e1641f48e238aa53d63922d4a7efd4e5")
        );
        let keys = hex("5c7a492e528c60b55791c9941b87ea3b 552ae60328142721a5785e28f379dd9b");
        assert_eq!(hash.msk(&response).octets()[..32], keys);
        assert!(NtHash::of_hash(&secret("too short")).is_none());
    }

    #[test]
    fn passwords_are_unicode() {
        // Against OpenSSL: iconv -t UTF-16LE | openssl dgst -md4.
        let hash = NtHash::of_password(&secret("pässwörd"));
        assert_eq!(hash.0.to_vec(), hex("0553152250ac01adb4213cb9938663e4"));
        // The same characters in Latin-1.
        let latin = NtHash::of_password(&Secret::new(b"p\xe4ssw\xf6rd".to_vec()));
        assert_eq!(latin.0.to_vec(), hash.0.to_vec());
    }
}
