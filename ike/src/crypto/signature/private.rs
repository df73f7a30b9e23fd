//! Private keys.

use std::fmt;

use der::Decode;
use der::asn1::{AnyRef, ObjectIdentifier};
use pkcs8::PrivateKeyInfoRef;
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{self as ring_signature, Ed25519KeyPair, KeyPair, RsaEncoding};
use sec1::EcPrivateKey;

use super::ecdsa::{self, Curve, Encoding};
use super::public::{EC_PUBLIC_KEY, ED25519, RSA_ENCRYPTION};
use super::{Hash, KeyError, KeyType, PublicKey, SignatureError, SignatureScheme};

/// A private key, with its public half.
///
/// It cannot be printed, copied or read back. What it was read from is the caller's to wipe. The scalars of ECDSA are
/// wiped when it is dropped; those of RSA and Ed25519 lie in ring's own types, which do not do that: a key should live
/// as long as the process, as those of a daemon do.
pub struct PrivateKey {
    key: Key,
    public: PublicKey,
}

enum Key {
    Rsa(Box<rsa::KeyPair>),
    Ecdsa(Box<ecdsa::Private>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl PrivateKey {
    /// Reads a key of any of the three forms.
    ///
    /// # Errors
    ///
    /// If it is none of them, or no key that can be used.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        // Their versions tell them apart: 0 or 1 before an AlgorithmIdentifier, 0 before a number, 1 before a string.
        if PrivateKeyInfoRef::from_der(der).is_ok() {
            return Self::from_pkcs8_der(der);
        }
        if EcPrivateKey::from_der(der).is_ok() {
            return Self::from_sec1_der(der);
        }
        match pkcs1::RsaPrivateKeyRef::from_der(der) {
            Ok(_) => Self::from_pkcs1_der(der),
            Err(error) => Err(KeyError::Encoding {
                expected: "a private key (PKCS#8, PKCS#1 or SEC 1)",
                found: error.to_string(),
            }),
        }
    }

    /// Reads a PrivateKeyInfo or OneAsymmetricKey that is not encrypted (RFC 5958).
    ///
    /// # Errors
    ///
    /// If it is none, or of an algorithm that is not supported, or no usable key of it.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|error| KeyError::Encoding {
            expected: "a PKCS#8 private key",
            found: error.to_string(),
        })?;
        let octets = info.private_key.as_bytes();
        match info.algorithm.oid {
            RSA_ENCRYPTION => Self::from_pkcs1_der(octets),
            EC_PUBLIC_KEY => {
                let named =
                    info.algorithm.parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
                Self::from_sec1(octets, named)
            }
            ED25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                    .map_err(|error| KeyError::Unusable { key: "Ed25519", why: error.to_string() })?;
                let public = PublicKey::from_parts(ED25519, None, pair.public_key().as_ref())?;
                Ok(Self { key: Key::Ed25519(Box::new(pair)), public })
            }
            other => Err(KeyError::Algorithm(other.to_string())),
        }
    }

    /// Reads an RSAPrivateKey (RFC 8017 appendix A.1.2).
    ///
    /// # Errors
    ///
    /// If it is none, its numbers do not belong together, or it has fewer than 2048 bits or more than 4096, or primes of
    /// different lengths.
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self, KeyError> {
        let pair = rsa::KeyPair::from_der(der)
            .map_err(|error| KeyError::Unusable { key: "RSA", why: error.to_string() })?;
        let public = PublicKey::from_parts(RSA_ENCRYPTION, Some(AnyRef::NULL), pair.public().as_ref())?;
        Ok(Self { key: Key::Rsa(Box::new(pair)), public })
    }

    /// Reads an ECPrivateKey (SEC 1 appendix C.4, RFC 5915) that names its curve.
    ///
    /// # Errors
    ///
    /// If it is none, its curve is not supported, or its scalar is not in range.
    pub fn from_sec1_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_sec1(der, None)
    }

    fn from_sec1(der: &[u8], named: Option<ObjectIdentifier>) -> Result<Self, KeyError> {
        let unusable = |why: &str| KeyError::Unusable { key: "ECDSA", why: why.to_owned() };
        let key = EcPrivateKey::from_der(der).map_err(|error| KeyError::Encoding {
            expected: "a SEC 1 private key",
            found: error.to_string(),
        })?;
        let own = key.parameters.and_then(|parameters| parameters.named_curve());
        let oid = match (named, own) {
            (Some(named), Some(own)) if named != own => return Err(unusable("it names two curves")),
            (named, own) => named.or(own).ok_or_else(|| unusable("it does not name its curve"))?,
        };
        let curve = Curve::from_oid(oid).ok_or_else(|| KeyError::Algorithm(format!("ECDSA over {oid}")))?;
        let scalar = ecdsa::Private::new(curve, key.private_key)
            .ok_or_else(|| unusable("its scalar is out of range"))?;
        let point = scalar.public_point();
        if key.public_key.is_some_and(|theirs| theirs != point) {
            return Err(unusable("its public key is another's"));
        }
        let public = PublicKey::from_parts(EC_PUBLIC_KEY, Some((&oid).into()), &point)?;
        Ok(Self { key: Key::Ecdsa(Box::new(scalar)), public })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// What kind of key it is.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.public.key_type()
    }

    /// Signs `message`. RSA takes randomness from the operating system, for blinding and for the salt of PSS; no other
    /// scheme needs any.
    ///
    /// # Errors
    ///
    /// If a key of this kind does not sign so. With SHA-1, none does.
    pub fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let refused = SignatureError::Refused(scheme);
        match (&self.key, scheme) {
            (_, SignatureScheme::RsaPkcs1(Hash::Sha1) | SignatureScheme::Ecdsa(Hash::Sha1)) => Err(refused),
            (Key::Rsa(pair), SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPss(_)) => {
                let padding = padding(scheme).ok_or(SignatureError::Refused(scheme))?;
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).map_err(|_| refused)?;
                Ok(signature)
            }
            (Key::Ecdsa(key), SignatureScheme::Ecdsa(hash)) => {
                key.sign(hash, message, Encoding::Der).ok_or(refused)
            }
            (Key::Ed25519(pair), SignatureScheme::Ed25519) => Ok(pair.sign(message).as_ref().to_vec()),
            _ => Err(SignatureError::WrongKey { key: self.key_type(), scheme }),
        }
    }

    /// Signs by ECDSA in the form of RFC 4754: r and s one after the other, the hash the curve's own.
    ///
    /// # Errors
    ///
    /// If the key is not one for ECDSA.
    pub fn sign_concatenated(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let scheme = SignatureScheme::Ecdsa(Hash::Sha256);
        match &self.key {
            Key::Ecdsa(key) => key
                .sign(key.curve().hash(), message, Encoding::Concatenated)
                .ok_or(SignatureError::Refused(SignatureScheme::Ecdsa(key.curve().hash()))),
            Key::Rsa(_) | Key::Ed25519(_) => Err(SignatureError::WrongKey { key: self.key_type(), scheme }),
        }
    }
}

/// Says which key it is, and nothing of it.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public)
    }
}

/// By the public halves, which are the same for the same key.
impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for PrivateKey {}

fn padding(scheme: SignatureScheme) -> Option<&'static dyn RsaEncoding> {
    Some(match scheme {
        SignatureScheme::RsaPkcs1(Hash::Sha256) => &ring_signature::RSA_PKCS1_SHA256,
        SignatureScheme::RsaPkcs1(Hash::Sha384) => &ring_signature::RSA_PKCS1_SHA384,
        SignatureScheme::RsaPkcs1(Hash::Sha512) => &ring_signature::RSA_PKCS1_SHA512,
        SignatureScheme::RsaPss(Hash::Sha256) => &ring_signature::RSA_PSS_SHA256,
        SignatureScheme::RsaPss(Hash::Sha384) => &ring_signature::RSA_PSS_SHA384,
        SignatureScheme::RsaPss(Hash::Sha512) => &ring_signature::RSA_PSS_SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    const RSA: &[u8] = include_bytes!("../../sim/keys/rsa.p8");
    const P256: &[u8] = include_bytes!("../../sim/keys/p256.p8");
    const P384: &[u8] = include_bytes!("../../sim/keys/p384.p8");
    const P521: &[u8] = include_bytes!("../../sim/keys/p521.p8");
    const ED25519_KEY: &[u8] = include_bytes!("../../sim/keys/ed25519.p8");
    const ALL: [&[u8]; 5] = [RSA, P256, P384, P521, ED25519_KEY];

    #[test]
    fn a_signature_is_its_keys_and_its_messages_alone() {
        for der in ALL {
            let key = PrivateKey::from_der(der).unwrap();
            for scheme in key.key_type().schemes() {
                let signature = key.sign(*scheme, b"message").unwrap();
                assert_eq!(key.public().verify(*scheme, b"message", &signature), Ok(()), "{key:?} {scheme}");
                assert_eq!(
                    key.public().verify(*scheme, b"massage", &signature),
                    Err(SignatureError::Mismatch)
                );
                for at in [0, signature.len() / 2, signature.len() - 1] {
                    let mut wrong = signature.clone();
                    wrong[at] ^= 1;
                    assert!(key.public().verify(*scheme, b"message", &wrong).is_err());
                }
                for (end, more) in [(signature.len() - 1, &[][..]), (signature.len(), &[0][..]), (0, &[][..])]
                {
                    let wrong = [&signature[..end], more].concat();
                    assert!(key.public().verify(*scheme, b"message", &wrong).is_err());
                }
                for other in ALL.map(|der| PrivateKey::from_der(der).unwrap()).iter().filter(|o| **o != key) {
                    assert!(other.public().verify(*scheme, b"message", &signature).is_err());
                }
            }
        }
    }

    #[test]
    fn concatenated_signatures() {
        for der in [P256, P384, P521] {
            let key = PrivateKey::from_der(der).unwrap();
            let signature = key.sign_concatenated(b"message").unwrap();
            assert_eq!(key.public().verify_concatenated(b"message", &signature), Ok(()));
            assert!(key.public().verify_concatenated(b"massage", &signature).is_err());
            assert!(key.public().verify_concatenated(b"message", &signature[1..]).is_err());
        }
        let rsa = PrivateKey::from_der(RSA).unwrap();
        assert!(rsa.sign_concatenated(b"message").is_err());
    }

    #[test]
    fn keys_sign_with_their_own_schemes_only() {
        let (rsa, ec) = (PrivateKey::from_der(RSA).unwrap(), PrivateKey::from_der(P256).unwrap());
        for (key, scheme, said) in [
            (&rsa, SignatureScheme::Ed25519, "a key of type RSA does not make ED25519 signatures"),
            (&rsa, SignatureScheme::RsaPkcs1(Hash::Sha1), "the key cannot sign with RSA_EMSA_PKCS1_SHA1"),
            (
                &ec,
                SignatureScheme::RsaPss(Hash::Sha256),
                "a key of type ECDSA 256 does not make RSA_EMSA_PSS_SHA2_256",
            ),
        ] {
            let error = key.sign(scheme, b"message").unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_forms_inside_pkcs8_are_read_too() {
        for der in [RSA, P256, P384, P521] {
            let inner = PrivateKeyInfoRef::from_der(der).unwrap().private_key.as_bytes().to_vec();
            let key = PrivateKey::from_der(der).unwrap();
            match key.key_type() {
                KeyType::Rsa => assert!(PrivateKey::from_der(&inner).unwrap() == key),
                _ => {
                    let error = PrivateKey::from_der(&inner).unwrap_err().to_string();
                    assert!(error.contains("it does not name its curve"), "{error}");
                }
            }
        }
    }

    /// RFC 5915 with the curve named, as `openssl ec` writes it: RFC 6979's P-256 key.
    #[test]
    fn sec1_with_a_curve() {
        let der = hex("30310201010420c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721\
             a00a06082a8648ce3d030107");
        let key = PrivateKey::from_der(&der).unwrap();
        assert_eq!(key.key_type(), KeyType::Ecdsa(Curve::P256));
        assert_eq!(key.public().bits(), 256);
    }

    #[test]
    fn bad_keys_are_named() {
        let error = |der: &[u8]| PrivateKey::from_der(der).unwrap_err().to_string();
        assert!(error(b"").contains("it is not the DER of a private key"));
        for der in ALL {
            for end in 0..der.len() {
                assert!(PrivateKey::from_der(&der[..end]).is_err());
            }
        }
        // X25519 (RFC 8410): a key that does not sign.
        let x25519 = hex("302e020100300506032b656e04220420").into_iter().chain([7; 32]).collect::<Vec<_>>();
        assert!(error(&x25519).contains("keys of the algorithm 1.3.101.110 are not supported"));
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        let printed = format!("{:?}", PrivateKey::from_der(P256).unwrap());
        assert_eq!(printed.len(), "PrivateKey(ECDSA 256 )".len() + 40, "{printed}");
    }
}
