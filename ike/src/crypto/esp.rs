//! Encryption of ESP packets, as far as IKE has to know of it: how much key it takes, and what belongs to it. The data
//! plane does it, and says which of these it has.

use super::cipher::AesKey;
use crate::wire::registry::EncrId;

/// An encryption algorithm of ESP with the length of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EspEncr {
    id: EncrId,
    key_bits: u16,
    /// Octets of salt, or of nonce, that follow the key.
    salt_len: usize,
}

impl EspEncr {
    /// The algorithm of a transform with its Key Length attribute; `None` if we do not know it.
    pub(super) fn from_id(id: EncrId, key_length: Option<u16>) -> Option<Self> {
        // RFC 7296 §3.3.5: a Key Length must be there where there is a choice, and must not where there is none.
        // Camellia has the lengths of AES (RFC 4312 §2.2).
        let chosen = key_length.and_then(AesKey::from_bits).map(AesKey::bits);
        let (key_bits, salt_len) = match id {
            EncrId::AES_CBC | EncrId::CAMELLIA_CBC => (chosen?, 0),
            EncrId::AES_CTR => (chosen?, 4), // RFC 3686 §5.1
            EncrId::AES_CCM_8 | EncrId::AES_CCM_12 | EncrId::AES_CCM_16 => (chosen?, 3), // RFC 4309 §7.1
            EncrId::AES_GCM_8 | EncrId::AES_GCM_12 | EncrId::AES_GCM_16 => (chosen?, 4), // RFC 4106 §8.1
            EncrId::NULL_AES_GMAC => (chosen?, 4), // RFC 4543 §5.3
            // RFC 7634 §4: no Key Length; some peers send it all the same.
            EncrId::CHACHA20_POLY1305 if matches!(key_length, None | Some(256)) => (256, 4),
            EncrId::NULL if key_length.is_none() => (0, 0), // RFC 2410
            _ => return None,
        };
        Some(Self { id, key_bits, salt_len })
    }

    pub(super) fn id(self) -> EncrId {
        self.id
    }

    /// Bits of the key, without the salt.
    pub(super) fn key_bits(self) -> u16 {
        self.key_bits
    }

    /// Octets of keying material: the key, and the salt where there is one.
    pub(super) fn key_len(self) -> usize {
        usize::from(self.key_bits / 8) + self.salt_len
    }
}

/// True if a CHILD_SA can be negotiated with `id`, whose Key Length attribute is `key_length`. Whether packets can be
/// encrypted with it is the data plane's to say.
#[must_use]
pub fn supports_esp_encr(id: EncrId, key_length: Option<u16>) -> bool {
    EspEncr::from_id(id, key_length).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_as_long_as_the_rfcs_say() {
        for (id, bits, octets) in [
            (EncrId::AES_CBC, Some(192), 24),
            (EncrId::AES_CTR, Some(128), 20),
            (EncrId::AES_CCM_8, Some(256), 35),
            (EncrId::AES_CCM_16, Some(128), 19),
            (EncrId::AES_GCM_12, Some(192), 28),
            (EncrId::NULL_AES_GMAC, Some(256), 36),
            (EncrId::CAMELLIA_CBC, Some(256), 32),
            (EncrId::CHACHA20_POLY1305, None, 36),
            (EncrId::NULL, None, 0),
        ] {
            let encr = EspEncr::from_id(id, bits).unwrap();
            assert_eq!((encr.key_len(), encr.id()), (octets, id));
        }
        for (id, bits) in [
            (EncrId::AES_CTR, None),
            (EncrId::AES_CCM_12, Some(64)),
            (EncrId::CAMELLIA_CBC, None),
            (EncrId::NULL, Some(128)),
            (EncrId::CHACHA20_POLY1305, Some(128)),
            (EncrId::DES3, None),
            (EncrId::CAMELLIA_CTR, Some(128)),
        ] {
            assert!(!supports_esp_encr(id, bits), "{id} {bits:?}");
        }
    }
}
