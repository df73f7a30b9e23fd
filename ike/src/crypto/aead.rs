//! AES-GCM (RFC 4106, RFC 5282) and ChaCha20-Poly1305 (RFC 7634) as IKE uses them: the nonce is a salt
//! from the keying material and an explicit initialization vector of eight octets.
//!
//! `ring` does the work but for AES-192, which only RustCrypto has. Keys are expanded for each message: an
//! IKE SA has few, and what waits in between is one buffer that is wiped.

use aes_gcm::{AeadInOut, AesGcm, KeyInit, aead::consts::U12, aes::Aes192};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::cipher::AesKey;

/// Octets of salt at the end of the keying material (RFC 4106 §8.1, RFC 7634 §2).
const SALT_LEN: usize = 4;
/// Octets of the explicit initialization vector.
pub(super) const IV_LEN: usize = 8;
/// Octets of the authentication tag.
pub(super) const TAG_LEN: usize = 16;

/// A combined-mode cipher with a tag of 16 octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Aead {
    AesGcm16(AesKey),
    ChaCha20Poly1305,
}

/// The tag does not fit key, nonce, associated data and ciphertext.
#[derive(Debug)]
pub(super) struct Forged;

impl Aead {
    /// Octets of keying material: key and salt.
    pub(super) fn key_len(self) -> usize {
        let key = match self {
            Self::AesGcm16(aes) => aes.octets(),
            Self::ChaCha20Poly1305 => 32,
        };
        key + SALT_LEN
    }

    /// Encrypts `in_out` in place and returns the tag. `iv` must never come twice with one `key`.
    pub(super) fn seal(
        self,
        key: &[u8],
        iv: [u8; IV_LEN],
        associated: &[u8],
        in_out: &mut [u8],
    ) -> [u8; TAG_LEN] {
        let mut tag = [0; TAG_LEN];
        match self.keyed(key, iv) {
            Keyed::Ring(key, nonce) => {
                let sealed = key
                    .seal_in_place_separate_tag(nonce, Aad::from(associated), in_out)
                    .expect("a message of IKE is far below the limits of the cipher");
                tag.copy_from_slice(sealed.as_ref());
            }
            Keyed::Aes192(key, nonce) => {
                let sealed = key
                    .encrypt_inout_detached(&nonce.into(), associated, in_out.into())
                    .expect("a message of IKE is far below the limits of the cipher");
                tag.copy_from_slice(&sealed);
            }
        }
        tag
    }

    /// Verifies and decrypts in place. After a failure `in_out` is rubbish.
    pub(super) fn open(
        self,
        key: &[u8],
        iv: [u8; IV_LEN],
        associated: &[u8],
        in_out: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(), Forged> {
        match self.keyed(key, iv) {
            Keyed::Ring(key, nonce) => key
                .open_in_place_separate_tag(nonce, Aad::from(associated), tag.into(), in_out, 0..)
                .map(|_plaintext| ())
                .map_err(|_| Forged),
            Keyed::Aes192(key, nonce) => key
                .decrypt_inout_detached(&nonce.into(), associated, in_out.into(), &tag.into())
                .map_err(|_| Forged),
        }
    }

    fn keyed(self, keying_material: &[u8], iv: [u8; IV_LEN]) -> Keyed {
        let (key, salt) = keying_material
            .split_last_chunk::<SALT_LEN>()
            .expect("the key schedule gives each cipher the octets it asked for");
        let mut nonce = [0; SALT_LEN + IV_LEN];
        for (to, from) in nonce.iter_mut().zip(salt.iter().chain(&iv)) {
            *to = *from;
        }
        let algorithm = match self {
            Self::AesGcm16(AesKey::Bits128) => &AES_128_GCM,
            Self::AesGcm16(AesKey::Bits256) => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Self::AesGcm16(AesKey::Bits192) => {
                let key = AesGcm::new_from_slice(key)
                    .expect("the key schedule gives each cipher the octets it asked for");
                return Keyed::Aes192(Box::new(key), nonce);
            }
        };
        let key = UnboundKey::new(algorithm, key)
            .expect("the key schedule gives each cipher the octets it asked for");
        Keyed::Ring(Box::new(LessSafeKey::new(key)), Nonce::assume_unique_for_key(nonce))
    }
}

enum Keyed {
    Ring(Box<LessSafeKey>, Nonce),
    Aes192(Box<AesGcm<Aes192, U12>>, [u8; SALT_LEN + IV_LEN]),
}

#[cfg(test)]
mod tests {
    use aes_gcm::aead::consts::U16;
    use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::tests::hex;

    const ALL: [Aead; 4] = [
        Aead::AesGcm16(AesKey::Bits128),
        Aead::AesGcm16(AesKey::Bits192),
        Aead::AesGcm16(AesKey::Bits256),
        Aead::ChaCha20Poly1305,
    ];

    /// The same by RustCrypto, whatever the key length.
    fn reference(key: &[u8], nonce: [u8; 12], associated: &[u8], in_out: &mut [u8]) -> Vec<u8> {
        type Tag = aes_gcm::aead::array::Array<u8, U16>;
        let tag: Tag = match key.len() {
            16 => Aes128Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(
                &nonce.into(),
                associated,
                in_out.into(),
            ),
            24 => AesGcm::<Aes192, U12>::new_from_slice(key).unwrap().encrypt_inout_detached(
                &nonce.into(),
                associated,
                in_out.into(),
            ),
            _ => Aes256Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(
                &nonce.into(),
                associated,
                in_out.into(),
            ),
        }
        .unwrap();
        tag.to_vec()
    }

    proptest! {
        #[test]
        fn two_libraries_agree_on_gcm(
            material in any::<[u8; 36]>(), iv: [u8; 8], associated: Vec<u8>, plaintext: Vec<u8>,
        ) {
            for aes in [AesKey::Bits128, AesKey::Bits192, AesKey::Bits256] {
                let aead = Aead::AesGcm16(aes);
                let material = &material[..aead.key_len()];
                let (key, salt) = material.split_at(aes.octets());
                let nonce: [u8; 12] = [salt, &iv].concat().try_into().unwrap();
                let (mut ours, mut theirs) = (plaintext.clone(), plaintext.clone());
                let tag = aead.seal(material, iv, &associated, &mut ours);
                prop_assert_eq!(&tag[..], reference(key, nonce, &associated, &mut theirs));
                prop_assert_eq!(ours, theirs);
            }
        }

        #[test]
        fn what_is_sealed_opens_unless_touched(
            material in any::<[u8; 36]>(), iv: [u8; 8], associated: Vec<u8>, plaintext: Vec<u8>, bit: usize,
        ) {
            for aead in ALL {
                let key = &material[..aead.key_len()];
                let mut sealed = plaintext.clone();
                let tag = aead.seal(key, iv, &associated, &mut sealed);
                let mut opened = sealed.clone();
                aead.open(key, iv, &associated, &mut opened, tag).unwrap();
                prop_assert_eq!(&opened, &plaintext);

                // One flipped bit anywhere in associated data, ciphertext or tag.
                let (mut bad_associated, mut bad_sealed, mut bad_tag) = (associated.clone(), sealed, tag);
                let mut all: Vec<&mut u8> = bad_associated
                    .iter_mut().chain(&mut bad_sealed).chain(&mut bad_tag).collect();
                let bit = bit % (all.len() * 8);
                *all[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(aead.open(key, iv, &bad_associated, &mut bad_sealed, bad_tag).is_err());
            }
        }
    }

    /// NIST's GCM test case 4, with the nonce split into salt and initialization vector.
    #[test]
    fn gcm_test_case_4() {
        let key = hex("feffe9928665731c6d6a8f9467308308 cafebabe");
        let iv = hex("facedbaddecaf888").try_into().unwrap();
        let mut text = hex("d9313225f88406e5a55909c5aff5269a 86a7a9531534f7da2e4c303d8a318a72
             1c3c0c95956809532fcf0e2449a6b525 b16aedf5aa0de657ba637b39");
        let associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let tag = Aead::AesGcm16(AesKey::Bits128).seal(&key, iv, &associated, &mut text);
        assert_eq!(tag[..], hex("5bc94fbc3221a5db94fae95ae7121a47"));
        assert_eq!(
            text,
            hex("42831ec2217774244b7221b784d0d49c e3aa212f2c02a4e035c17e2329aca12e
                 21d514b25466931c7d8f6a5aac84aa05 1ba30b396a0aac973d58e091")
        );
    }

    /// RFC 7634 appendix A.
    #[test]
    fn chacha20_poly1305_of_rfc_7634() {
        let key = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3");
        let iv = hex("1011121314151617").try_into().unwrap();
        let mut text = hex("45000054a6f200004001e778c6336405 c000020508005b7a3a080000553bec10
             0007362708090a0b0c0d0e0f10111213 1415161718191a1b1c1d1e1f20212223
             2425262728292a2b2c2d2e2f30313233 343536370102 0204");
        let associated = hex("0102030400000005");
        let tag = Aead::ChaCha20Poly1305.seal(&key, iv, &associated, &mut text);
        assert_eq!(
            text,
            hex("24039428b97f417e3c13753a4f05087b 67c352e6a7fab1b982d466ef407ae5c6
                 14ee8099d52844eb61aa95dfab4c02f7 2aa71e7c4c4f64c9befe2facc638e8f3
                 cbec163fac469b502773f6fb94e664da 9165b82829f641e0")
        );
        assert_eq!(tag[..], hex("76aaa8266b7fb0f7b11b369907e1ad43"));
    }
}
