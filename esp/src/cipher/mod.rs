//! The transforms: what is done with the octets between the ESP header and the ICV.
//!
//! A [`Cipher`] is chosen once per SA and holds that SA's key schedule; per packet there is one `match` on a closed
//! enum, no allocation and no key setup. Both directions work in place on a whole ESP packet:
//!
//! ```text
//! +--------+----------------+-----+----------------------------------+-----+
//! |  SPI   | Sequence (low) | IV  | payload, padding, trailer        | ICV |
//! +--------+----------------+-----+----------------------------------+-----+
//! |<------ header --------->|     |<------------ body -------------->|
//! ```
//!
//! Keys: RustCrypto's schedules are wiped on drop. `ring`'s types do not wipe themselves, which is the price of its
//! speed; the raw keys they are made of are ([`KeyMaterial`]).

mod cbc;
mod gcm;
mod mac;
mod xcbc;

use self::cbc::AesCbc;
use self::gcm::{Aes192Gcm, RingAead};
use crate::keys::{KeyError, KeyMaterial};
use crate::sequence::SequenceNumber;
use crate::suite::{AesKeySize, HEADER_LEN, Suite};

/// The packet was not made by the peer under this SA's keys, or not for this sequence number; or it is too short or
/// of a length the suite never makes.
#[derive(Debug)]
pub(crate) struct Forged;

/// One SA's transform with its keys.
pub(crate) enum Cipher {
    Ring(Box<RingAead>),
    Aes192Gcm(Box<Aes192Gcm>),
    Cbc(Box<AesCbc>),
}

impl Cipher {
    pub(crate) fn new(suite: Suite, keys: &KeyMaterial) -> Result<Self, KeyError> {
        let (expected, got) = (suite.encryption_key_len(), keys.encryption().len());
        if got != expected {
            return Err(KeyError::EncryptionLength { suite, expected, got });
        }
        let (expected, got) = (suite.integrity_key_len(), keys.integrity().len());
        if got != expected {
            return Err(KeyError::IntegrityLength { suite, expected, got });
        }
        match suite {
            Suite::AesGcm16(AesKeySize::Aes128) => RingAead::new(&ring::aead::AES_128_GCM, suite, keys),
            Suite::AesGcm16(AesKeySize::Aes256) => RingAead::new(&ring::aead::AES_256_GCM, suite, keys),
            Suite::ChaCha20Poly1305 => RingAead::new(&ring::aead::CHACHA20_POLY1305, suite, keys),
            Suite::AesGcm16(AesKeySize::Aes192) => {
                return Ok(Self::Aes192Gcm(Box::new(Aes192Gcm::new(suite, keys)?)));
            }
            Suite::AesCbc(size, integrity) => {
                return Ok(Self::Cbc(Box::new(AesCbc::new(size, integrity, suite, keys)?)));
            }
        }
        .map(|aead| Self::Ring(Box::new(aead)))
    }

    /// Writes the IV, encrypts the body and writes the ICV of a packet whose header and plaintext body stand in place.
    ///
    /// `None` when the packet is shorter than header, IV and ICV together, which no caller makes.
    #[inline]
    pub(crate) fn seal(&self, number: SequenceNumber, packet: &mut [u8]) -> Option<()> {
        match self {
            Self::Ring(aead) => aead.seal(number, packet),
            Self::Aes192Gcm(aead) => aead.seal(number, packet),
            Self::Cbc(cbc) => cbc.seal(number, packet),
        }
    }

    /// Verifies a packet under its full sequence number, decrypts it in place and gives the body.
    #[inline]
    pub(crate) fn open<'p>(
        &self,
        number: SequenceNumber,
        packet: &'p mut [u8],
    ) -> Result<&'p mut [u8], Forged> {
        match self {
            Self::Ring(aead) => aead.open(number, packet),
            Self::Aes192Gcm(aead) => aead.open(number, packet),
            Self::Cbc(cbc) => cbc.open(number, packet),
        }
    }
}

/// A packet cut at the lengths of an AEAD suite.
struct Frame<'p, const IV: usize, const ICV: usize> {
    header: &'p mut [u8; HEADER_LEN],
    iv: &'p mut [u8; IV],
    body: &'p mut [u8],
    icv: &'p mut [u8; ICV],
}

impl<'p, const IV: usize, const ICV: usize> Frame<'p, IV, ICV> {
    #[inline]
    fn cut(packet: &'p mut [u8]) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk_mut()?;
        let (iv, rest) = rest.split_first_chunk_mut()?;
        let (body, icv) = rest.split_last_chunk_mut()?;
        Some(Self { header, iv, body, icv })
    }
}
