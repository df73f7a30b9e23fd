//! Integrity algorithms: HMAC, cut to length (RFC 2404, RFC 4868).

use ring::hmac;
use subtle::ConstantTimeEq;

use crate::wire::registry::IntegId;

/// An integrity algorithm we have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Integ {
    HmacSha1_96,
    HmacSha256_128,
    HmacSha384_192,
    HmacSha512_256,
}

impl Integ {
    pub(super) fn from_id(id: IntegId) -> Option<Self> {
        match id {
            IntegId::HMAC_SHA1_96 => Some(Self::HmacSha1_96),
            IntegId::HMAC_SHA2_256_128 => Some(Self::HmacSha256_128),
            IntegId::HMAC_SHA2_384_192 => Some(Self::HmacSha384_192),
            IntegId::HMAC_SHA2_512_256 => Some(Self::HmacSha512_256),
            _ => None,
        }
    }

    pub(super) fn id(self) -> IntegId {
        match self {
            Self::HmacSha1_96 => IntegId::HMAC_SHA1_96,
            Self::HmacSha256_128 => IntegId::HMAC_SHA2_256_128,
            Self::HmacSha384_192 => IntegId::HMAC_SHA2_384_192,
            Self::HmacSha512_256 => IntegId::HMAC_SHA2_512_256,
        }
    }

    /// Octets of key: the length of the hash's output (RFC 7296 §2.13).
    pub(super) fn key_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 20,
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
        }
    }

    /// Octets of the Integrity Check Value.
    pub(super) fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            Self::HmacSha256_128 => 16,
            Self::HmacSha384_192 => 24,
            Self::HmacSha512_256 => 32,
        }
    }

    /// Appends the Integrity Check Value of all that `message` holds so far.
    pub(super) fn append_icv(self, key: &[u8], message: &mut Vec<u8>) {
        let tag = self.tag(key, message);
        message.extend(tag.as_ref().iter().take(self.icv_len()));
    }

    /// True if `icv` is the Integrity Check Value of `message`. Takes as long whichever octet is wrong.
    pub(super) fn verify(self, key: &[u8], message: &[u8], icv: &[u8]) -> bool {
        let tag = self.tag(key, message);
        tag.as_ref().split_at_checked(self.icv_len()).is_some_and(|(expected, _)| expected.ct_eq(icv).into())
    }

    fn tag(self, key: &[u8], message: &[u8]) -> hmac::Tag {
        let algorithm = match self {
            Self::HmacSha1_96 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256_128 => hmac::HMAC_SHA256,
            Self::HmacSha384_192 => hmac::HMAC_SHA384,
            Self::HmacSha512_256 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message)
    }
}

/// True if messages and packets can be authenticated with `id`.
#[must_use]
pub fn supports_integ(id: IntegId) -> bool {
    Integ::from_id(id).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    /// Checks the vector, then that no other tag is taken for it.
    fn check(integ: Integ, key: &[u8], data: &[u8], icv: &str) {
        let icv = hex(icv);
        assert_eq!(icv.len(), integ.icv_len());
        let mut message = data.to_vec();
        integ.append_icv(key, &mut message);
        assert_eq!(message[data.len()..], icv);
        assert!(integ.verify(key, data, &icv));
        assert!(!integ.verify(key, data, &icv[1..]));
        assert!(!integ.verify(key, data, &[]));
        for bit in 0..icv.len() * 8 {
            let mut wrong = icv.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!integ.verify(key, data, &wrong));
        }
    }

    /// RFC 2202 section 3, cases 1 and 5.
    #[test]
    fn hmac_sha1_96() {
        check(Integ::HmacSha1_96, &[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6");
        check(Integ::HmacSha1_96, &[0x0c; 20], b"Test With Truncation", "4c1a03424b55e07fe7f27be1");
    }

    /// RFC 4868 section 2.7.2, the cases -1 and -3 of each hash.
    #[test]
    fn hmac_sha2() {
        for (integ, hi_there, fifty) in [
            (Integ::HmacSha256_128, "198a607eb44bfbc69903a0f1cf2bbdc5", "cdcb1220d1ecccea91e53aba3092f962"),
            (
                Integ::HmacSha384_192,
                "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973",
                "809f439be00274321d4a538652164b53554a508184a0c316",
            ),
            (
                Integ::HmacSha512_256,
                "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
                "2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8",
            ),
        ] {
            check(integ, &vec![0x0b; integ.key_len()], b"Hi There", hi_there);
            check(integ, &vec![0xaa; integ.key_len()], &[0xdd; 50], fifty);
        }
    }

    #[test]
    fn identifiers_go_both_ways() {
        for id in (0..=16).map(IntegId) {
            assert_eq!(supports_integ(id), Integ::from_id(id).is_some_and(|integ| integ.id() == id));
        }
        assert!(supports_integ(IntegId::HMAC_SHA1_96));
        assert!(!supports_integ(IntegId::NONE));
        assert!(!supports_integ(IntegId::HMAC_MD5_96));
    }
}
