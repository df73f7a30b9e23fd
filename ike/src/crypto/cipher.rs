//! How an SA is encrypted and authenticated, once negotiated.

use super::{aead::Aead, integ::Integ};
use crate::wire::registry::{EncrId, IntegId};

/// Encryption and integrity of one SA, in the combinations that make sense: an AEAD brings its own
/// integrity (RFC 5282 §8), CBC must be given one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cipher {
    /// Combined-mode cipher.
    Aead(Aead),
    /// AES-CBC (RFC 3602), then the integrity algorithm over the ciphertext.
    Cbc(AesKey, Integ),
}

impl Cipher {
    pub(crate) fn encr_id(self) -> EncrId {
        match self {
            Self::Aead(Aead::AesGcm16(_)) => EncrId::AES_GCM_16,
            Self::Aead(Aead::ChaCha20Poly1305) => EncrId::CHACHA20_POLY1305,
            Self::Cbc(..) => EncrId::AES_CBC,
        }
    }

    /// Bits of the encryption key, without the salt.
    pub(crate) fn key_bits(self) -> u16 {
        match self {
            Self::Aead(Aead::AesGcm16(aes)) | Self::Cbc(aes, _) => aes.bits(),
            Self::Aead(Aead::ChaCha20Poly1305) => 256,
        }
    }

    pub(crate) fn integ_id(self) -> Option<IntegId> {
        match self {
            Self::Aead(_) => None,
            Self::Cbc(_, integ) => Some(integ.id()),
        }
    }

    /// Octets of keying material for encryption: the key, and the salt where there is one.
    pub(crate) fn encr_key_len(self) -> usize {
        match self {
            Self::Aead(aead) => aead.key_len(),
            Self::Cbc(aes, _) => aes.octets(),
        }
    }

    /// Octets of keying material for integrity: none for an AEAD.
    pub(crate) fn integ_key_len(self) -> usize {
        match self {
            Self::Aead(_) => 0,
            Self::Cbc(_, integ) => integ.key_len(),
        }
    }
}

/// Length of an AES key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AesKey {
    Bits128,
    Bits192,
    Bits256,
}

impl AesKey {
    /// The length a Key Length attribute gives.
    pub(crate) fn from_bits(bits: u16) -> Option<Self> {
        match bits {
            128 => Some(Self::Bits128),
            192 => Some(Self::Bits192),
            256 => Some(Self::Bits256),
            _ => None,
        }
    }

    pub(crate) fn bits(self) -> u16 {
        match self {
            Self::Bits128 => 128,
            Self::Bits192 => 192,
            Self::Bits256 => 256,
        }
    }

    pub(crate) fn octets(self) -> usize {
        usize::from(self.bits() / 8)
    }
}

/// The encryption algorithms there are.
pub(super) enum Encr {
    Aead(Aead),
    AesCbc(AesKey),
}

impl Encr {
    /// The algorithm of a transform with its Key Length attribute; `None` if we do not have it.
    pub(super) fn from_id(id: EncrId, key_length: Option<u16>) -> Option<Self> {
        // RFC 7296 §3.3.5: AES must come with a Key Length. ChaCha20 has one length, so it comes without
        // (RFC 7634 §4); some peers send it all the same.
        let aes = key_length.and_then(AesKey::from_bits);
        match id {
            EncrId::AES_CBC => aes.map(Self::AesCbc),
            EncrId::AES_GCM_16 => aes.map(|aes| Self::Aead(Aead::AesGcm16(aes))),
            EncrId::CHACHA20_POLY1305 => {
                matches!(key_length, None | Some(256)).then_some(Self::Aead(Aead::ChaCha20Poly1305))
            }
            _ => None,
        }
    }
}

/// True if messages can be encrypted with `id`, whose Key Length attribute is `key_length`.
#[must_use]
pub fn supports_encr(id: EncrId, key_length: Option<u16>) -> bool {
    Encr::from_id(id, key_length).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_length_is_asked_for_where_there_is_a_choice() {
        for id in [EncrId::AES_CBC, EncrId::AES_GCM_16] {
            assert!(!supports_encr(id, None));
            assert!(!supports_encr(id, Some(0)));
            assert!(!supports_encr(id, Some(512)));
            for bits in [128, 192, 256] {
                assert!(supports_encr(id, Some(bits)));
            }
        }
        assert!(supports_encr(EncrId::CHACHA20_POLY1305, None));
        assert!(supports_encr(EncrId::CHACHA20_POLY1305, Some(256)));
        assert!(!supports_encr(EncrId::CHACHA20_POLY1305, Some(128)));
        assert!(!supports_encr(EncrId::DES3, None));
        assert!(!supports_encr(EncrId::AES_CCM_8, Some(128)));
    }
}
