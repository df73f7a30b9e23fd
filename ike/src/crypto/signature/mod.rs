//! Signatures: keys, the schemes they are used with, and how both are written.
//!
//! A [`SignatureScheme`] says everything about a signature but the key: the padding, the hash. It is what an
//! AlgorithmIdentifier stands for, in AUTH payloads (RFC 7427) as in certificates, revocation lists and OCSP
//! responses (RFC 5280 §4.1.1.2), and it is read strictly: only the exact octets that DER has for it. A [`PrivateKey`]
//! signs, a [`PublicKey`] verifies; a signature that is encoded otherwise than its scheme says is wrong.
//!
//! RSA and Ed25519 are ring's. ECDSA is RustCrypto's: every hash with every curve, P-521 too, and the same signature
//! for the same message (RFC 6979), so that what is signed depends on nothing but inputs. MD5 is not there; SHA-1
//! verifies PKCS#1 v1.5 signatures, and whoever calls says whether that is good enough.

mod ecdsa;
#[cfg(test)]
mod forgery;
mod private;
mod public;
mod scheme;
#[cfg(test)]
mod wycheproof;

pub use self::ecdsa::Curve;
pub use self::private::PrivateKey;
pub(crate) use self::public::RSA_BITS;
pub use self::public::{KeyId, PublicKey};
pub use self::scheme::{Hash, SignatureScheme, UnknownScheme};

use std::fmt;

use thiserror::Error;

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// RSA (RFC 8017).
    Rsa,
    /// ECDSA over one of the NIST curves (RFC 5480).
    Ecdsa(Curve),
    /// Ed25519 (RFC 8032).
    Ed25519,
}

impl KeyType {
    /// The schemes that keys of this kind are used with, the best first; those of one signature length by the strength
    /// of the hash.
    #[must_use]
    pub fn schemes(self) -> &'static [SignatureScheme] {
        use SignatureScheme::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};
        match self {
            Self::Rsa => &[
                RsaPss(Hash::Sha512),
                RsaPss(Hash::Sha384),
                RsaPss(Hash::Sha256),
                RsaPkcs1(Hash::Sha512),
                RsaPkcs1(Hash::Sha384),
                RsaPkcs1(Hash::Sha256),
            ],
            Self::Ecdsa(_) => &[Ecdsa(Hash::Sha512), Ecdsa(Hash::Sha384), Ecdsa(Hash::Sha256)],
            Self::Ed25519 => &[Ed25519],
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa => f.write_str("RSA"),
            Self::Ecdsa(curve) => write!(f, "ECDSA {curve}"),
            Self::Ed25519 => f.write_str("ED25519"),
        }
    }
}

/// A key that cannot be used, and why.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// It is no DER, or not of the structure that was expected.
    #[error("it is not the DER of {expected}: {found}")]
    Encoding {
        /// What was expected.
        expected: &'static str,
        /// What is wrong with it.
        found: String,
    },
    /// Keys of this kind are not supported.
    #[error(
        "keys of the algorithm {0} are not supported: RSA, ECDSA over P-256, P-384 and P-521, and Ed25519 are"
    )]
    Algorithm(String),
    /// It is a key, but none that is good for anything.
    #[error("it is no usable {key} key: {why}")]
    Unusable {
        /// Its kind.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// Why something was not signed, or a signature is not believed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SignatureError {
    /// Keys of that kind are not used with that scheme.
    #[error("a key of type {key} does not make {scheme} signatures")]
    WrongKey {
        /// The key's kind.
        key: KeyType,
        /// The scheme.
        scheme: SignatureScheme,
    },
    /// RSA keys of that length are not used.
    #[error("RSA keys of {0} bits are not used: 2048 to 8192 are")]
    KeyLength(u32),
    /// The signature is not that key's for that message.
    #[error("the signature is wrong")]
    Mismatch,
    /// Nothing was signed.
    #[error("the key cannot sign with {0}")]
    Refused(SignatureScheme),
}
