//! ECDSA over the NIST curves, with any hash (FIPS 186-5 §6.4).

use std::fmt;

use p256::ecdsa as p256;
use p256::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p384::ecdsa as p384;
use p521::ecdsa as p521;
use spki::ObjectIdentifier;

use super::Hash;

/// A curve of FIPS 186 that keys are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256, secp256r1.
    P256,
    /// NIST P-384, secp384r1.
    P384,
    /// NIST P-521, secp521r1.
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// Octets of a scalar, r and s among them.
    pub(super) const fn scalar_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// RFC 5480 §2.1.1.1.
    pub(super) const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        })
    }

    pub(super) fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid() == oid)
    }

    /// The hash that RFC 4754 ties to the curve.
    #[must_use]
    pub const fn hash(self) -> Hash {
        match self {
            Self::P256 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
            Self::P521 => Hash::Sha512,
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bits())
    }
}

/// How r and s are written.
#[derive(Clone, Copy)]
pub(super) enum Encoding {
    /// SEQUENCE { r INTEGER, s INTEGER } (RFC 3279 §2.2.3).
    Der,
    /// Each as long as the curve's order, one after the other (RFC 4754 §7).
    Concatenated,
}

/// A private scalar, which is wiped when dropped.
pub(super) enum Private {
    P256(p256::SigningKey),
    P384(p384::SigningKey),
    P521(p521::SigningKey),
}

impl Private {
    /// `scalar` is as long as the curve's order has it; `None` if it is out of range.
    pub(super) fn new(curve: Curve, scalar: &[u8]) -> Option<Self> {
        if scalar.len() != curve.scalar_len() {
            return None;
        }
        match curve {
            Curve::P256 => p256::SigningKey::from_slice(scalar).ok().map(Self::P256),
            Curve::P384 => p384::SigningKey::from_slice(scalar).ok().map(Self::P384),
            Curve::P521 => p521::SigningKey::from_slice(scalar).ok().map(Self::P521),
        }
    }

    pub(super) const fn curve(&self) -> Curve {
        match self {
            Self::P256(_) => Curve::P256,
            Self::P384(_) => Curve::P384,
            Self::P521(_) => Curve::P521,
        }
    }

    /// The public point, uncompressed (SEC 1 §2.3.3).
    pub(super) fn public_point(&self) -> Vec<u8> {
        match self {
            Self::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::P384(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::P521(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
        }
    }

    pub(super) fn sign(&self, hash: Hash, message: &[u8], encoding: Encoding) -> Option<Vec<u8>> {
        macro_rules! sign {
            ($key:expr, $signature:ty) => {{
                let digest = hash.digest(message);
                let signature: $signature = $key.sign_prehash(digest.as_ref()).ok()?;
                match encoding {
                    Encoding::Der => signature.to_der().as_bytes().to_vec(),
                    Encoding::Concatenated => signature.to_bytes().to_vec(),
                }
            }};
        }
        Some(match self {
            Self::P256(key) => sign!(key, p256::Signature),
            Self::P384(key) => sign!(key, p384::Signature),
            Self::P521(key) => sign!(key, p521::Signature),
        })
    }
}

/// A point that signatures are verified with.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Public {
    P256(p256::VerifyingKey),
    P384(p384::VerifyingKey),
    P521(p521::VerifyingKey),
}

impl Public {
    /// `point` as SEC 1 §2.3.4 writes it; `None` if it is not on the curve.
    pub(super) fn new(curve: Curve, point: &[u8]) -> Option<Self> {
        match curve {
            Curve::P256 => p256::VerifyingKey::from_sec1_bytes(point).ok().map(Self::P256),
            Curve::P384 => p384::VerifyingKey::from_sec1_bytes(point).ok().map(Self::P384),
            Curve::P521 => p521::VerifyingKey::from_sec1_bytes(point).ok().map(Self::P521),
        }
    }

    pub(super) const fn curve(&self) -> Curve {
        match self {
            Self::P256(_) => Curve::P256,
            Self::P384(_) => Curve::P384,
            Self::P521(_) => Curve::P521,
        }
    }

    pub(super) fn verify(&self, hash: Hash, message: &[u8], signature: &[u8], encoding: Encoding) -> bool {
        macro_rules! verify {
            ($key:expr, $signature:ty) => {{
                let signature = match encoding {
                    Encoding::Der => <$signature>::from_der(signature),
                    Encoding::Concatenated => <$signature>::from_slice(signature),
                };
                signature.is_ok_and(|signature| {
                    $key.verify_prehash(hash.digest(message).as_ref(), &signature).is_ok()
                })
            }};
        }
        match self {
            Self::P256(key) => verify!(key, p256::Signature),
            Self::P384(key) => verify!(key, p384::Signature),
            Self::P521(key) => verify!(key, p521::Signature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    /// RFC 6979 appendix A.2.5 to A.2.7, the message "sample": curve, private key, hash, r, s.
    const VECTORS: [(Curve, &str, Hash, &str, &str); 3] = [
        (
            Curve::P256,
            "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
            Hash::Sha256,
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
            "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        ),
        (
            Curve::P384,
            "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8\
             96d5724e4c70a825f872c9ea60d2edf5",
            Hash::Sha384,
            "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c\
             81a648152e44acf96e36dd1e80fabe46",
            "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f\
             a329c145786e679e7b82c71a38628ac8",
        ),
        (
            Curve::P521,
            "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75\
             caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
            Hash::Sha512,
            "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f\
             174e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa",
            "00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af\
             282623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a",
        ),
    ];

    #[test]
    fn rfc_6979() {
        for (curve, scalar, hash, r, s) in VECTORS {
            let key = Private::new(curve, &hex(scalar)).unwrap();
            let signature = key.sign(hash, b"sample", Encoding::Concatenated).unwrap();
            assert_eq!(signature, hex(&[r, s].concat()), "{curve}");
        }
    }

    #[test]
    fn any_hash_on_any_curve() {
        for (curve, scalar, ..) in VECTORS {
            let key = Private::new(curve, &hex(scalar)).unwrap();
            let public = Public::new(curve, &key.public_point()).unwrap();
            for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
                for encoding in [Encoding::Der, Encoding::Concatenated] {
                    let signature = key.sign(hash, b"message", encoding).unwrap();
                    assert!(public.verify(hash, b"message", &signature, encoding));
                    assert!(!public.verify(hash, b"Message", &signature, encoding));
                    let other = if hash == Hash::Sha256 { Hash::Sha384 } else { Hash::Sha256 };
                    assert!(!public.verify(other, b"message", &signature, encoding));
                }
                let der = key.sign(hash, b"message", Encoding::Der).unwrap();
                assert!(!public.verify(hash, b"message", &der, Encoding::Concatenated));
                assert!(!public.verify(hash, b"message", &[der, vec![0]].concat(), Encoding::Der));
            }
        }
    }

    #[test]
    fn scalars_and_points_out_of_range() {
        for curve in Curve::ALL {
            assert!(Private::new(curve, &vec![0; curve.scalar_len()]).is_none());
            assert!(Private::new(curve, &vec![0xff; curve.scalar_len()]).is_none());
            assert!(Private::new(curve, &vec![1; curve.scalar_len() - 1]).is_none());
            assert!(Public::new(curve, &[0]).is_none(), "the point at infinity");
            assert!(
                Public::new(curve, &[&[4], vec![1; 2 * curve.scalar_len()].as_slice()].concat()).is_none()
            );
        }
    }
}
