//! Separate integrity algorithms (RFC 2404, RFC 4868, RFC 3566) and their ICVs.

use ring::hmac;
use subtle::ConstantTimeEq;

use super::xcbc::Xcbc;
use crate::keys::{KeyError, KeyMaterial};
use crate::suite::{Integrity, MAX_ICV_LEN, Suite};

/// A MAC under one key.
pub(super) struct Mac {
    algorithm: Algorithm,
    icv_len: usize,
}

enum Algorithm {
    Hmac(hmac::Key),
    Xcbc(Box<Xcbc>),
}

impl Mac {
    pub(super) fn new(integrity: Integrity, suite: Suite, keys: &KeyMaterial) -> Result<Self, KeyError> {
        let key = keys.integrity();
        let with = |algorithm| Algorithm::Hmac(hmac::Key::new(algorithm, key));
        let algorithm = match integrity {
            Integrity::HmacSha1_96 => with(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Integrity::HmacSha256_128 => with(hmac::HMAC_SHA256),
            Integrity::HmacSha384_192 => with(hmac::HMAC_SHA384),
            Integrity::HmacSha512_256 => with(hmac::HMAC_SHA512),
            Integrity::AesXcbc96 => Algorithm::Xcbc(Box::new(Xcbc::new(key.try_into().map_err(|_| {
                KeyError::IntegrityLength { suite, expected: integrity.key_len(), got: key.len() }
            })?))),
        };
        Ok(Self { algorithm, icv_len: integrity.icv_len() })
    }

    /// Octets of the ICV.
    pub(super) const fn icv_len(&self) -> usize {
        self.icv_len
    }

    /// Writes the ICV over `covered` and, under ESN, the high half of the sequence number.
    // RFC 4303 §2.2.1: a separate integrity algorithm takes the high half as if it were appended to the packet.
    pub(super) fn write(&self, covered: &[u8], high: Option<[u8; 4]>, icv: &mut [u8]) {
        for (place, octet) in icv.iter_mut().zip(self.compute(covered, high)) {
            *place = octet;
        }
    }

    /// Whether `icv` is right, in a time that does not depend on where it is wrong.
    pub(super) fn verify(&self, covered: &[u8], high: Option<[u8; 4]>, icv: &[u8]) -> bool {
        let computed = self.compute(covered, high);
        computed.get(..self.icv_len).is_some_and(|computed| computed.ct_eq(icv).into())
    }

    fn compute(&self, covered: &[u8], high: Option<[u8; 4]>) -> [u8; MAX_ICV_LEN] {
        let high = high.as_ref().map_or(&[][..], |high| high);
        let mut out = [0; MAX_ICV_LEN];
        match &self.algorithm {
            Algorithm::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(covered);
                context.update(high);
                fill(&mut out, context.sign().as_ref());
            }
            Algorithm::Xcbc(xcbc) => fill(&mut out, &xcbc.compute([covered, high])),
        }
        out
    }
}

fn fill(out: &mut [u8; MAX_ICV_LEN], with: &[u8]) {
    for (place, octet) in out.iter_mut().zip(with) {
        *place = *octet;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::AesKeySize;
    use crate::testing::unhex;

    fn icv(integrity: Integrity, key: &[u8], message: &[u8], high: Option<[u8; 4]>) -> Vec<u8> {
        let suite = Suite::AesCbc(AesKeySize::Aes128, integrity);
        let mac =
            Mac::new(integrity, suite, &KeyMaterial::new(&[], key)).expect("the key has the right length");
        let mut icv = vec![0; mac.icv_len()];
        mac.write(message, high, &mut icv);
        assert!(mac.verify(message, high, &icv));
        icv.iter_mut().for_each(|octet| *octet ^= 1);
        assert!(!mac.verify(message, high, &icv));
        icv.iter_mut().for_each(|octet| *octet ^= 1);
        assert!(!mac.verify(message, high, &icv[1..]));
        icv
    }

    /// RFC 4868 §2.7.2.1-3 (the AUTH cases), case 1 each, and RFC 2202 §3 case 1.
    #[test]
    fn hmac_vectors() {
        let message = b"Hi There";
        let cases = [
            (Integrity::HmacSha1_96, 20, "b617318655057264e28bc0b6"),
            (Integrity::HmacSha256_128, 32, "198a607eb44bfbc69903a0f1cf2bbdc5"),
            (Integrity::HmacSha384_192, 48, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
            (
                Integrity::HmacSha512_256,
                64,
                "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
            ),
        ];
        for (integrity, key_len, expected) in cases {
            assert_eq!(icv(integrity, &vec![0x0b; key_len], message, None), unhex(expected), "{integrity}");
        }
    }

    #[test]
    fn the_high_half_counts_as_appended() {
        for integrity in [Integrity::HmacSha256_128, Integrity::AesXcbc96] {
            let key = vec![7; integrity.key_len()];
            let appended = icv(integrity, &key, b"packet\x01\x02\x03\x04", None);
            assert_eq!(icv(integrity, &key, b"packet", Some([1, 2, 3, 4])), appended);
        }
    }
}
