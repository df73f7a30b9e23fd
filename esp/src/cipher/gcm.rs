//! AEADs with a 4-octet salt, an 8-octet IV and a 16-octet ICV: AES-GCM (RFC 4106) and ChaCha20-Poly1305 (RFC 7634).
//!
//! `ring` does what it can; it has no AES-192, for which the `aes-gcm` crate stands in. The IV is the full 64-bit
//! sequence number, so it is unique for as long as the counter does not wrap, which it refuses to.

use aes::Aes192;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm, Nonce, Tag};
use ring::aead::{self, LessSafeKey, UnboundKey};

use super::{Forged, Frame};
use crate::keys::{KeyError, KeyMaterial};
use crate::sequence::SequenceNumber;
use crate::suite::{HEADER_LEN, SALT_LEN, Suite};

const IV_LEN: usize = 8;
const ICV_LEN: usize = 16;
const NONCE_LEN: usize = SALT_LEN + IV_LEN;

type AeadFrame<'p> = Frame<'p, IV_LEN, ICV_LEN>;

/// An AEAD of `ring` under one key.
pub(crate) struct RingAead {
    key: LessSafeKey,
    salt: [u8; SALT_LEN],
}

impl RingAead {
    pub(super) fn new(
        algorithm: &'static aead::Algorithm,
        suite: Suite,
        keys: &KeyMaterial,
    ) -> Result<Self, KeyError> {
        let (key, salt) = split_salt(suite, keys)?;
        let key = UnboundKey::new(algorithm, key).map_err(|_| wrong_length(suite, keys))?;
        Ok(Self { key: LessSafeKey::new(key), salt })
    }

    #[inline]
    pub(super) fn seal(&self, number: SequenceNumber, packet: &mut [u8]) -> Option<()> {
        self.seal_with_iv(number, number.full.to_be_bytes(), packet)
    }

    #[inline]
    fn seal_with_iv(&self, number: SequenceNumber, iv: [u8; IV_LEN], packet: &mut [u8]) -> Option<()> {
        let frame = AeadFrame::cut(packet)?;
        *frame.iv = iv;
        let nonce = aead::Nonce::assume_unique_for_key(nonce(self.salt, iv));
        let aad = aead::Aad::from(Aad::new(frame.header, number));
        let tag = self.key.seal_in_place_separate_tag(nonce, aad, frame.body).ok()?;
        *frame.icv = tag.as_ref().try_into().ok()?;
        Some(())
    }

    #[inline]
    pub(super) fn open<'p>(
        &self,
        number: SequenceNumber,
        packet: &'p mut [u8],
    ) -> Result<&'p mut [u8], Forged> {
        let frame = AeadFrame::cut(packet).ok_or(Forged)?;
        let nonce = aead::Nonce::assume_unique_for_key(nonce(self.salt, *frame.iv));
        let aad = aead::Aad::from(Aad::new(frame.header, number));
        let tag = aead::Tag::from(*frame.icv);
        self.key.open_in_place_separate_tag(nonce, aad, tag, frame.body, 0..).map_err(|_| Forged)
    }
}

/// AES-192-GCM, which `ring` does not have.
pub(crate) struct Aes192Gcm {
    key: AesGcm<Aes192, U12>,
    salt: [u8; SALT_LEN],
}

impl Aes192Gcm {
    pub(super) fn new(suite: Suite, keys: &KeyMaterial) -> Result<Self, KeyError> {
        let (key, salt) = split_salt(suite, keys)?;
        let key = AesGcm::new_from_slice(key).map_err(|_| wrong_length(suite, keys))?;
        Ok(Self { key, salt })
    }

    pub(super) fn seal(&self, number: SequenceNumber, packet: &mut [u8]) -> Option<()> {
        self.seal_with_iv(number, number.full.to_be_bytes(), packet)
    }

    fn seal_with_iv(&self, number: SequenceNumber, iv: [u8; IV_LEN], packet: &mut [u8]) -> Option<()> {
        let frame = AeadFrame::cut(packet)?;
        *frame.iv = iv;
        let nonce = Nonce::from(nonce(self.salt, iv));
        let aad = Aad::new(frame.header, number);
        let tag = self.key.encrypt_inout_detached(&nonce, aad.as_ref(), frame.body.into()).ok()?;
        *frame.icv = tag.into();
        Some(())
    }

    pub(super) fn open<'p>(
        &self,
        number: SequenceNumber,
        packet: &'p mut [u8],
    ) -> Result<&'p mut [u8], Forged> {
        let frame = AeadFrame::cut(packet).ok_or(Forged)?;
        let nonce = Nonce::from(nonce(self.salt, *frame.iv));
        let aad = Aad::new(frame.header, number);
        let tag = Tag::from(*frame.icv);
        self.key
            .decrypt_inout_detached(&nonce, aad.as_ref(), (&mut *frame.body).into(), &tag)
            .map_err(|_| Forged)?;
        Ok(frame.body)
    }
}

/// What an AEAD authenticates besides the body: SPI and sequence number, all 64 bits of it under ESN.
// RFC 4106 §5, RFC 7634 §2.1: SPI | high | low, whereas the packet carries SPI | low.
struct Aad {
    octets: [u8; HEADER_LEN + 4],
    len: usize,
}

impl Aad {
    #[inline]
    fn new(header: &[u8; HEADER_LEN], number: SequenceNumber) -> Self {
        let [s0, s1, s2, s3, l0, l1, l2, l3] = *header;
        match number.high() {
            None => Self { octets: [s0, s1, s2, s3, l0, l1, l2, l3, 0, 0, 0, 0], len: HEADER_LEN },
            Some([h0, h1, h2, h3]) => {
                Self { octets: [s0, s1, s2, s3, h0, h1, h2, h3, l0, l1, l2, l3], len: HEADER_LEN + 4 }
            }
        }
    }
}

impl AsRef<[u8]> for Aad {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or(&self.octets)
    }
}

#[inline]
fn nonce(salt: [u8; SALT_LEN], iv: [u8; IV_LEN]) -> [u8; NONCE_LEN] {
    let ([s0, s1, s2, s3], [i0, i1, i2, i3, i4, i5, i6, i7]) = (salt, iv);
    [s0, s1, s2, s3, i0, i1, i2, i3, i4, i5, i6, i7]
}

/// The cipher's key and the salt behind it.
fn split_salt(suite: Suite, keys: &KeyMaterial) -> Result<(&[u8], [u8; SALT_LEN]), KeyError> {
    let (key, salt) = keys.encryption().split_last_chunk().ok_or_else(|| wrong_length(suite, keys))?;
    Ok((key, *salt))
}

fn wrong_length(suite: Suite, keys: &KeyMaterial) -> KeyError {
    KeyError::EncryptionLength { suite, expected: suite.encryption_key_len(), got: keys.encryption().len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::Cipher;
    use crate::sequence::SequenceNumbers;
    use crate::suite::AesKeySize;
    use crate::testing::unhex;

    struct Vector {
        suite: Suite,
        /// Key and salt.
        key: &'static str,
        number: SequenceNumber,
        /// SPI | sequence number, as in the packet.
        header: &'static str,
        iv: &'static str,
        plaintext: &'static str,
        ciphertext: &'static str,
        icv: &'static str,
    }

    const fn short(full: u64) -> SequenceNumber {
        SequenceNumber { full, numbers: SequenceNumbers::Short }
    }

    /// draft-mcgrew-gcm-test-01 §4 (one for each key size, one of them with ESN) and RFC 7634 Appendix A.
    fn vectors() -> Vec<Vector> {
        vec![
            Vector {
                suite: Suite::AesGcm16(AesKeySize::Aes128),
                key: "4c80cdefbb5d10da906ac73c3613a634 2e443b68",
                number: SequenceNumber { full: 0x8765_4321_0000_0000, numbers: SequenceNumbers::Extended },
                header: "00004321 00000000",
                iv: "4956ed7e3b244cfe",
                plaintext: "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
                            00000000045f736970045f756470037369700963796265726369747902646b00
                            0021000101020201",
                ciphertext: "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
                             cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
                             61bc17d768fd9732",
                icv: "459018148f6cbe722fd04796562dfdb4",
            },
            Vector {
                suite: Suite::AesGcm16(AesKeySize::Aes192),
                key: "feffe9928665731c6d6a8f9467308308feffe9928665731c cafebabe",
                number: short(10),
                header: "0000a5f8 0000000a",
                iv: "facedbaddecaf888",
                plaintext: "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e
                            501016d075680001",
                ciphertext: "a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0
                             315b27452144cc77",
                icv: "95457b9652037f5318027b5b4cd7a636",
            },
            Vector {
                suite: Suite::AesGcm16(AesKeySize::Aes256),
                key: "abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344",
                number: short(2),
                header: "4a2cbfe3 00000002",
                iv: "0102030405060708",
                plaintext: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
                            7002400020bf0000020405b40101040201020201",
                ciphertext: "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
                             748a637985771d347f0545659f14e99def842d8e",
                icv: "b335f4eecfdbf831824b4c4915956c96",
            },
            Vector {
                suite: Suite::ChaCha20Poly1305,
                key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
                number: short(5),
                header: "01020304 00000005",
                iv: "1011121314151617",
                plaintext: "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
                            0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
                            2425262728292a2b2c2d2e2f3031323334353637 01020204",
                ciphertext: "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
                             14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
                             cbec163fac469b502773f6fb94e664da9165b82829f641e0",
                icv: "76aaa8266b7fb0f7b11b369907e1ad43",
            },
        ]
    }

    #[test]
    fn vectors_open() {
        for vector in vectors() {
            let keys = KeyMaterial::new(&unhex(vector.key), &[]);
            let cipher = Cipher::new(vector.suite, &keys).expect("the key has the right length");
            let mut packet = [vector.header, vector.iv, vector.ciphertext, vector.icv].map(unhex).concat();
            let body = cipher.open(vector.number, &mut packet).expect("the vector verifies");
            assert_eq!(body, unhex(vector.plaintext), "{}", vector.suite);
        }
    }

    #[test]
    fn vectors_seal() {
        for vector in vectors() {
            let keys = KeyMaterial::new(&unhex(vector.key), &[]);
            let iv: [u8; 8] = unhex(vector.iv).try_into().expect("8 octets");
            let mut packet =
                [unhex(vector.header), vec![0; 8], unhex(vector.plaintext), vec![0; 16]].concat();
            match Cipher::new(vector.suite, &keys).expect("the key has the right length") {
                Cipher::Ring(aead) => aead.seal_with_iv(vector.number, iv, &mut packet),
                Cipher::Aes192Gcm(aead) => aead.seal_with_iv(vector.number, iv, &mut packet),
                Cipher::Cbc(_) => unreachable!("an AEAD suite"),
            }
            .expect("the packet is long enough");
            let expected = [vector.header, vector.iv, vector.ciphertext, vector.icv].map(unhex).concat();
            assert_eq!(packet, expected, "{}", vector.suite);
        }
    }

    #[test]
    fn the_high_half_is_authenticated() {
        let vector = &vectors()[0];
        let cipher =
            Cipher::new(vector.suite, &KeyMaterial::new(&unhex(vector.key), &[])).expect("right length");
        let mut packet = [vector.header, vector.iv, vector.ciphertext, vector.icv].map(unhex).concat();
        let wrong =
            SequenceNumber { full: vector.number.full + (1 << 32), numbers: SequenceNumbers::Extended };
        assert!(cipher.open(wrong, &mut packet).is_err());
    }
}
