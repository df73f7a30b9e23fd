//! Public keys.

use std::fmt;

use der::{Decode, Encode, asn1::AnyRef};
use pkcs1::RsaPublicKeyRef;
use ring::digest;
use ring::signature::{self as ring_signature, RsaParameters, UnparsedPublicKey};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::ecdsa::{self, Curve, Encoding};
use super::{Hash, KeyError, KeyType, SignatureError, SignatureScheme};
use crate::identity::Identity;
use crate::wire::registry::IdType;

pub(super) const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A SHA-1 that names a key: what it names, not how strongly, is why it is SHA-1 (RFC 7296 §3.7, RFC 5280 §4.2.1.2).
pub type KeyId = [u8; 20];

/// The lengths of RSA moduli that signatures are verified with.
pub(crate) const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// A public key, as a certificate has it.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: Key,
    /// The SubjectPublicKeyInfo.
    der: Vec<u8>,
    id: KeyId,
    info_id: KeyId,
}

#[derive(Clone, PartialEq, Eq)]
enum Key {
    /// An RSAPublicKey, and the bits of its modulus.
    Rsa {
        der: Vec<u8>,
        bits: u32,
    },
    Ecdsa(ecdsa::Public),
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), `der` being all of it and nothing else.
    ///
    /// # Errors
    ///
    /// If it is none, or of an algorithm that is not supported, or no key of that algorithm.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let encoding = |found: der::Error| KeyError::Encoding {
            expected: "a SubjectPublicKeyInfo",
            found: found.to_string(),
        };
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(encoding)?;
        let octets = info.subject_public_key.as_bytes().ok_or_else(|| KeyError::Encoding {
            expected: "a SubjectPublicKeyInfo",
            found: "its key is no whole number of octets".to_owned(),
        })?;
        let parameters = info.algorithm.parameters;
        let key = match info.algorithm.oid {
            // RFC 3279 §2.3.1: NULL, and nothing else.
            RSA_ENCRYPTION if parameters == Some(AnyRef::NULL) => rsa(octets)?,
            RSA_ENCRYPTION => return Err(unusable("RSA", "its parameters are not NULL")),
            EC_PUBLIC_KEY => {
                // RFC 5480 §2.1.1: a named curve, never a description of one.
                let oid = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
                let oid = oid.ok_or_else(|| unusable("ECDSA", "it does not name its curve"))?;
                let curve =
                    Curve::from_oid(oid).ok_or_else(|| KeyError::Algorithm(format!("ECDSA over {oid}")))?;
                Key::Ecdsa(
                    ecdsa::Public::new(curve, octets)
                        .ok_or_else(|| unusable("ECDSA", "its point is not on the curve"))?,
                )
            }
            ED25519 if parameters.is_none() => Key::Ed25519(
                octets.try_into().map_err(|_| unusable("Ed25519", "it does not have 32 octets"))?,
            ),
            ED25519 => return Err(unusable("Ed25519", "it has parameters")),
            other => return Err(KeyError::Algorithm(other.to_string())),
        };
        Ok(Self { key, der: der.to_vec(), id: sha1(octets), info_id: sha1(der) })
    }

    /// The key of that algorithm, from what its subjectPublicKey holds.
    pub(super) fn from_parts(
        algorithm: ObjectIdentifier,
        parameters: Option<AnyRef<'_>>,
        octets: &[u8],
    ) -> Result<Self, KeyError> {
        let encode = || {
            let subject_public_key = der::asn1::BitStringRef::from_bytes(octets)?;
            let algorithm = spki::AlgorithmIdentifier { oid: algorithm, parameters };
            spki::SubjectPublicKeyInfo { algorithm, subject_public_key }.to_der()
        };
        let der = encode().map_err(|error: der::Error| unusable("public", &error.to_string()))?;
        Self::from_spki_der(&der)
    }

    /// What kind of key it is.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        match &self.key {
            Key::Rsa { .. } => KeyType::Rsa,
            Key::Ecdsa(key) => KeyType::Ecdsa(key.curve()),
            Key::Ed25519(_) => KeyType::Ed25519,
        }
    }

    /// Its length: the bits of an RSA modulus, or of the curve.
    #[must_use]
    pub const fn bits(&self) -> u32 {
        match &self.key {
            Key::Rsa { bits, .. } => *bits,
            Key::Ecdsa(key) => key.curve().bits(),
            Key::Ed25519(_) => 256,
        }
    }

    /// The SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-1 of the subjectPublicKey: method (1) of RFC 5280 §4.2.1.2 for key identifiers.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.id
    }

    /// The SHA-1 of the SubjectPublicKeyInfo: how a CERTREQ names a trust anchor (RFC 7296 §3.7).
    #[must_use]
    pub const fn info_id(&self) -> KeyId {
        self.info_id
    }

    /// Who has it, where nobody says who that is: the key itself, as ID_KEY_ID with its [`info_id`](Self::info_id), which
    /// is how strongSwan names it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { id_type: IdType::KEY_ID, data: self.info_id.to_vec() }
    }

    /// Checks that `signature` was made of `message` with the private key of this one, in the way `scheme` says.
    ///
    /// # Errors
    ///
    /// If it was not, or cannot have been.
    pub fn verify(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let wrong_key = || SignatureError::WrongKey { key: self.key_type(), scheme };
        let is_right = match (&self.key, scheme) {
            (Key::Rsa { bits, .. }, _) if !RSA_BITS.contains(bits) => {
                return Err(SignatureError::KeyLength(*bits));
            }
            (Key::Rsa { der, .. }, SignatureScheme::RsaPkcs1(hash)) => {
                UnparsedPublicKey::new(pkcs1(hash), der).verify(message, signature).is_ok()
            }
            (Key::Rsa { der, .. }, SignatureScheme::RsaPss(hash)) => {
                let parameters = pss(hash).ok_or_else(wrong_key)?;
                UnparsedPublicKey::new(parameters, der).verify(message, signature).is_ok()
            }
            (Key::Ecdsa(key), SignatureScheme::Ecdsa(hash)) => {
                key.verify(hash, message, signature, Encoding::Der)
            }
            (Key::Ed25519(key), SignatureScheme::Ed25519) => {
                UnparsedPublicKey::new(&ring_signature::ED25519, key).verify(message, signature).is_ok()
            }
            _ => return Err(wrong_key()),
        };
        if is_right { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    /// The same for ECDSA signatures in the form of RFC 4754: r and s one after the other, the hash the curve's own.
    ///
    /// # Errors
    ///
    /// If it is wrong, or the key is not one for ECDSA.
    pub fn verify_concatenated(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match &self.key {
            Key::Ecdsa(key) if key.verify(key.curve().hash(), message, signature, Encoding::Concatenated) => {
                Ok(())
            }
            Key::Ecdsa(_) => Err(SignatureError::Mismatch),
            Key::Rsa { .. } | Key::Ed25519(_) => Err(SignatureError::WrongKey {
                key: self.key_type(),
                scheme: SignatureScheme::Ecdsa(Hash::Sha256),
            }),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Its kind, length and key identifier.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key_type() {
            KeyType::Rsa => write!(f, "RSA {} ", self.bits())?,
            other => write!(f, "{other} ")?,
        }
        self.id.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

fn rsa(der: &[u8]) -> Result<Key, KeyError> {
    let key = RsaPublicKeyRef::from_der(der).map_err(|error| unusable("RSA", &error.to_string()))?;
    let modulus = key.modulus.as_bytes();
    let Some(first) = modulus.first().filter(|first| **first != 0) else {
        return Err(unusable("RSA", "its modulus is zero"));
    };
    let octets = u32::try_from(modulus.len()).map_err(|_| unusable("RSA", "its modulus is too long"))?;
    let bits = octets.saturating_mul(8).saturating_sub(first.leading_zeros());
    Ok(Key::Rsa { der: der.to_vec(), bits })
}

const fn pkcs1(hash: Hash) -> &'static RsaParameters {
    match hash {
        Hash::Sha1 => &ring_signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
        Hash::Sha384 => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
    }
}

const fn pss(hash: Hash) -> Option<&'static RsaParameters> {
    match hash {
        Hash::Sha1 => None,
        Hash::Sha256 => Some(&ring_signature::RSA_PSS_2048_8192_SHA256),
        Hash::Sha384 => Some(&ring_signature::RSA_PSS_2048_8192_SHA384),
        Hash::Sha512 => Some(&ring_signature::RSA_PSS_2048_8192_SHA512),
    }
}

fn sha1(octets: &[u8]) -> KeyId {
    let mut id = KeyId::default();
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, octets);
    id.copy_from_slice(digest.as_ref());
    id
}

fn unusable(key: &'static str, why: &str) -> KeyError {
    KeyError::Unusable { key, why: why.to_owned() }
}
