//! Authentication by signature (RFC 7296 §2.15, §3.8; RFC 7427; RFC 4754; RFC 8420).
//!
//! What is signed is the same whichever method says how. Method 14 says it beside the signature:
//!
//! ```text
//!  0                   1                   2                   3
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | ASN.1 Length  | AlgorithmIdentifier ASN.1 object              |
//! +-+-+-+-+-+-+-+-+                                               |
//! ~        AlgorithmIdentifier ASN.1 object continuing            ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                         Signature Value                       ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use thiserror::Error;

use super::rules::SignatureRules;
use crate::crypto::Prf;
use crate::crypto::secret::SkP;
use crate::crypto::signature::{
    Curve, Hash, KeyType, PrivateKey, PublicKey, SignatureError, SignatureScheme, UnknownScheme,
};
use crate::wire::registry::{AuthMethod, HashAlgorithm};

/// The hashes we verify signatures with (RFC 7427 §4, RFC 8420 §2). SHA-1 is not among them: who has nothing else may
/// use the method that it belongs to.
pub const HASHES: [HashAlgorithm; 4] =
    [HashAlgorithm::SHA2_256, HashAlgorithm::SHA2_384, HashAlgorithm::SHA2_512, HashAlgorithm::IDENTITY];

/// The most hashes of a peer that are looked at.
const MOST_HASHES: usize = 64;

/// SIGNATURE_HASH_ALGORITHMS with [`HASHES`].
#[must_use]
pub fn announcement() -> Vec<u8> {
    HASHES.iter().flat_map(|hash| hash.0.to_be_bytes()).collect()
}

/// The hashes of a peer's SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4).
#[must_use]
pub fn announced(data: &[u8]) -> Vec<HashAlgorithm> {
    let (hashes, _incomplete) = data.as_chunks();
    hashes.iter().take(MOST_HASHES).map(|octets| HashAlgorithm(u16::from_be_bytes(*octets))).collect()
}

/// What an end signs: the first message it sent, the other's nonce, and its identity under a key that only the two have
/// (RFC 7296 §2.15). The arguments are those of [`psk::auth`](super::psk::auth).
#[must_use]
pub fn signed_octets(prf: Prf, message: &[u8], nonce: &[u8], sk_p: &impl SkP, id_body: &[u8]) -> Vec<u8> {
    let maced_id = prf.compute(sk_p.octets(), &[id_body]);
    [message, nonce, maced_id.octets()].concat()
}

/// An AUTH payload to be.
pub struct Signed {
    /// Its method.
    pub method: AuthMethod,
    /// Its data.
    pub data: Vec<u8>,
    /// How it was made, for the log.
    pub scheme: SignatureScheme,
}

/// Why we cannot sign.
#[derive(Debug, Error)]
pub enum CannotSign {
    /// Nothing that the rules, the key and the peer have in common.
    #[error("no signature scheme for a key of type {key} is both allowed and supported by the peer")]
    NothingInCommon {
        /// The key's kind.
        key: KeyType,
    },
    /// The key did not sign.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Signs `octets`. `hashes` are those that the peer has announced; without any, it is a peer that does not know method
/// 14.
///
/// # Errors
///
/// If there is no way to sign that the peer and the rules know, or the key does not do it.
pub fn sign(
    key: &PrivateKey,
    rules: &SignatureRules,
    pss_preferred: bool,
    hashes: Option<&[HashAlgorithm]>,
    octets: &[u8],
) -> Result<Signed, CannotSign> {
    let nothing = CannotSign::NothingInCommon { key: key.key_type() };
    let schemes = rules.for_signing(key.public(), pss_preferred);
    let Some(hashes) = hashes else { return sign_classic(key, &schemes, octets, nothing) };
    let scheme = schemes.into_iter().find(|scheme| hashes.contains(&announced_as(*scheme))).ok_or(nothing)?;
    let algorithm = scheme.to_der();
    let length = u8::try_from(algorithm.len()).map_err(|_| SignatureError::Refused(scheme))?;
    let signature = key.sign(scheme, octets)?;
    let data = [&[length], algorithm.as_slice(), &signature].concat();
    Ok(Signed { method: AuthMethod::DIGITAL_SIGNATURE, data, scheme })
}

/// The methods that came before, each with a kind of key.
fn sign_classic(
    key: &PrivateKey,
    schemes: &[SignatureScheme],
    octets: &[u8],
    nothing: CannotSign,
) -> Result<Signed, CannotSign> {
    match key.key_type() {
        // RFC 7296 §3.8: PKCS#1 v1.5; the hash stands in the signature. SHA-1 is what it suggests, which we do not sign
        // with.
        KeyType::Rsa => {
            let is_pkcs1 = |scheme: &&SignatureScheme| matches!(scheme, SignatureScheme::RsaPkcs1(_));
            let scheme = *schemes.iter().find(is_pkcs1).ok_or(nothing)?;
            Ok(Signed { method: AuthMethod::RSA_SIGNATURE, data: key.sign(scheme, octets)?, scheme })
        }
        // RFC 4754 §3: the hash is the curve's.
        KeyType::Ecdsa(curve) => {
            let scheme = SignatureScheme::Ecdsa(curve.hash());
            if !schemes.contains(&scheme) {
                return Err(nothing);
            }
            Ok(Signed { method: classic(curve), data: key.sign_concatenated(octets)?, scheme })
        }
        KeyType::Ed25519 => Err(nothing), // RFC 8420: with method 14 alone
    }
}

const fn classic(curve: Curve) -> AuthMethod {
    match curve {
        Curve::P256 => AuthMethod::ECDSA_SHA256_P256,
        Curve::P384 => AuthMethod::ECDSA_SHA384_P384,
        Curve::P521 => AuthMethod::ECDSA_SHA512_P521,
    }
}

/// Whether a method is one of those with signatures.
#[must_use]
pub const fn is_signature(method: AuthMethod) -> bool {
    matches!(
        method,
        AuthMethod::RSA_SIGNATURE
            | AuthMethod::ECDSA_SHA256_P256
            | AuthMethod::ECDSA_SHA384_P384
            | AuthMethod::ECDSA_SHA512_P521
            | AuthMethod::DIGITAL_SIGNATURE
    )
}

/// Checks an AUTH payload of `method` with the peer's public key, and says how it was made. The sentence says what is
/// wrong with it.
///
/// # Errors
///
/// If it is not a signature of that key over `octets`, or one that the rules do not allow.
pub fn verify(
    key: &PublicKey,
    rules: &SignatureRules,
    method: AuthMethod,
    data: &[u8],
    octets: &[u8],
) -> Result<SignatureScheme, String> {
    let said = |error: SignatureError| error.to_string();
    match (method, key.key_type()) {
        (AuthMethod::DIGITAL_SIGNATURE, _) => {
            let (scheme, signature) = split(data).map_err(|error| error.to_string())?;
            // The rules first: what is not allowed is not worth computing.
            rules.judge(key, scheme)?;
            key.verify(scheme, octets, signature).map_err(said)?;
            Ok(scheme)
        }
        (AuthMethod::RSA_SIGNATURE, KeyType::Rsa) => {
            // The hash is found by trying: RFC 7296 §3.8 has it in the signature alone.
            let hashes = [Hash::Sha256, Hash::Sha384, Hash::Sha512, Hash::Sha1];
            let schemes = hashes.map(SignatureScheme::RsaPkcs1);
            let found = schemes.into_iter().find(|scheme| key.verify(*scheme, octets, data).is_ok());
            let scheme = found.ok_or_else(|| {
                match key.verify(SignatureScheme::RsaPkcs1(Hash::Sha256), octets, data) {
                    Err(error) => error.to_string(),
                    Ok(()) => SignatureError::Mismatch.to_string(),
                }
            })?;
            rules.judge(key, scheme).map(|()| scheme)
        }
        (method, KeyType::Ecdsa(curve)) if method == classic(curve) => {
            let scheme = SignatureScheme::Ecdsa(curve.hash());
            rules.judge(key, scheme)?;
            key.verify_concatenated(octets, data).map_err(said)?;
            Ok(scheme)
        }
        (method, key) => Err(format!("a key of type {key} makes no {method}")),
    }
}

/// What cannot be read of the data of method 14.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unreadable {
    /// It ends before its AlgorithmIdentifier does.
    #[error("the authentication data ends within its AlgorithmIdentifier")]
    Short,
    /// The AlgorithmIdentifier stands for nothing we know.
    #[error(transparent)]
    Scheme(#[from] UnknownScheme),
}

/// The scheme and the signature in the data of method 14 (RFC 7427 §3).
///
/// # Errors
///
/// If it is too short, or its scheme is not supported.
pub fn split(data: &[u8]) -> Result<(SignatureScheme, &[u8]), Unreadable> {
    let (length, rest) = data.split_first().ok_or(Unreadable::Short)?;
    let (algorithm, signature) = rest.split_at_checked(usize::from(*length)).ok_or(Unreadable::Short)?;
    Ok((SignatureScheme::from_der(algorithm)?, signature))
}

/// What a peer has to announce for us to sign in that way.
const fn announced_as(scheme: SignatureScheme) -> HashAlgorithm {
    match scheme.hash() {
        Some(Hash::Sha1) => HashAlgorithm::SHA1,
        Some(Hash::Sha256) => HashAlgorithm::SHA2_256,
        Some(Hash::Sha384) => HashAlgorithm::SHA2_384,
        Some(Hash::Sha512) => HashAlgorithm::SHA2_512,
        None => HashAlgorithm::IDENTITY, // RFC 8420 §2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &[u8] = include_bytes!("../sim/keys/rsa.p8");
    const P256: &[u8] = include_bytes!("../sim/keys/p256.p8");
    const P384: &[u8] = include_bytes!("../sim/keys/p384.p8");
    const P521: &[u8] = include_bytes!("../sim/keys/p521.p8");
    const ED25519: &[u8] = include_bytes!("../sim/keys/ed25519.p8");

    fn key(der: &[u8]) -> PrivateKey {
        PrivateKey::from_der(der).unwrap()
    }

    fn any() -> SignatureRules {
        SignatureRules::default()
    }

    #[test]
    fn the_peers_hashes_decide() {
        use SignatureScheme::{Ecdsa, Ed25519, RsaPkcs1};
        let (sha256, sha512, identity) =
            (HashAlgorithm::SHA2_256, HashAlgorithm::SHA2_512, HashAlgorithm::IDENTITY);
        for (der, hashes, expected) in [
            (RSA, vec![sha512, sha256], Some(RsaPkcs1(Hash::Sha256))),
            (RSA, vec![sha512], Some(RsaPkcs1(Hash::Sha512))),
            (RSA, vec![identity, HashAlgorithm::SHA1, HashAlgorithm(99)], None),
            (P384, vec![sha256, sha512], Some(Ecdsa(Hash::Sha512))),
            (P521, vec![sha256], Some(Ecdsa(Hash::Sha256))),
            (self::ED25519, vec![sha256, identity], Some(Ed25519)),
            (self::ED25519, vec![sha256], None),
            (self::ED25519, vec![], None),
        ] {
            let signed = sign(&key(der), &any(), false, Some(&hashes), b"octets");
            assert_eq!(signed.as_ref().ok().map(|signed| signed.scheme), expected);
            if let Ok(signed) = signed {
                assert_eq!(signed.method, AuthMethod::DIGITAL_SIGNATURE);
                let verified = verify(key(der).public(), &any(), signed.method, &signed.data, b"octets");
                assert_eq!(verified.ok(), expected);
            }
        }
    }

    #[test]
    fn peers_that_announce_nothing_get_the_classic_methods() {
        for (der, method) in [
            (RSA, AuthMethod::RSA_SIGNATURE),
            (P256, AuthMethod::ECDSA_SHA256_P256),
            (P384, AuthMethod::ECDSA_SHA384_P384),
            (P521, AuthMethod::ECDSA_SHA512_P521),
        ] {
            let signed = sign(&key(der), &any(), true, None, b"octets").unwrap();
            assert_eq!(signed.method, method);
            let check = |octets| verify(key(der).public(), &any(), method, &signed.data, octets);
            assert_eq!(check(b"octets"), Ok(signed.scheme));
            assert_eq!(check(b"actets"), Err("the signature is wrong".to_owned()));
            let other = if der == RSA { AuthMethod::ECDSA_SHA256_P256 } else { AuthMethod::RSA_SIGNATURE };
            assert!(
                verify(key(der).public(), &any(), other, &signed.data, b"octets")
                    .unwrap_err()
                    .contains("makes no")
            );
        }
        assert!(sign(&key(ED25519), &any(), false, None, b"octets").is_err());
        let strict = SignatureRules::parse("ecdsa-sha512").unwrap().chain;
        assert!(sign(&key(P256), &strict, false, None, b"octets").is_err(), "method 9 has SHA2-256");
    }

    #[test]
    fn what_is_not_allowed_is_refused_even_if_it_is_right() {
        let rules = SignatureRules::parse("rsa/pss-sha256").unwrap().chain;
        let signed = sign(&key(RSA), &any(), false, Some(&HASHES), b"octets").unwrap();
        let error = verify(key(RSA).public(), &rules, signed.method, &signed.data, b"octets").unwrap_err();
        assert_eq!(error, "RSA_EMSA_PKCS1_SHA2_256 signatures are not allowed");
    }

    #[test]
    fn hostile_data_is_named() {
        let signed = sign(&key(P256), &any(), false, Some(&HASHES), b"octets").unwrap();
        let check = |data: &[u8]| {
            verify(key(P256).public(), &any(), AuthMethod::DIGITAL_SIGNATURE, data, b"octets").unwrap_err()
        };
        for end in 0..signed.data.len() {
            check(&signed.data[..end]);
        }
        assert!(check(&[]).contains("ends within"));
        assert!(check(&[255, 0x30]).contains("ends within"));
        assert!(check(&[0, 1, 2, 3]).contains("cannot be read"));
        for at in 0..signed.data.len() {
            let mut wrong = signed.data.clone();
            wrong[at] ^= 0x40;
            check(&wrong);
        }
        // The right signature under another scheme's name.
        let (_, signature) = split(&signed.data).unwrap();
        let other = SignatureScheme::Ed25519.to_der();
        let error = check(&[&[7], other.as_slice(), signature].concat());
        assert!(error.contains("a key of type ECDSA 256 does not make ED25519 signatures"), "{error}");
    }

    #[test]
    fn announcements() {
        assert_eq!(announcement(), [0, 2, 0, 3, 0, 4, 0, 5]);
        assert_eq!(announced(&announcement()), HASHES);
        assert_eq!(announced(&[0, 2, 0]), [HashAlgorithm::SHA2_256]);
        assert_eq!(announced(&[0xff; 4000]).len(), MOST_HASHES);
    }
}
