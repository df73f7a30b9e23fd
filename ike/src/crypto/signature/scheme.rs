//! Signature schemes and their AlgorithmIdentifiers (RFC 7427 appendix A, RFC 8420 appendix A, RFC 4055, RFC 5758, RFC
//! 8410).

use std::fmt;

use ring::digest;
use spki::AlgorithmIdentifierRef;
use thiserror::Error;

/// A hash function that signatures are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// SHA-1: collisions can be made. For verifying alone, where somebody has asked for it.
    Sha1,
    /// SHA2-256.
    Sha256,
    /// SHA2-384.
    Sha384,
    /// SHA2-512.
    Sha512,
}

impl Hash {
    /// The hash of `message`.
    pub(crate) fn digest(self, message: &[u8]) -> digest::Digest {
        digest::digest(
            match self {
                Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
                Self::Sha256 => &digest::SHA256,
                Self::Sha384 => &digest::SHA384,
                Self::Sha512 => &digest::SHA512,
            },
            message,
        )
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA2_256",
            Self::Sha384 => "SHA2_384",
            Self::Sha512 => "SHA2_512",
        })
    }
}

/// How a signature is made, whatever the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2).
    RsaPkcs1(Hash),
    /// RSASSA-PSS (RFC 8017 §8.1) with MGF1, the same hash in both places, and a salt as long as the hash.
    RsaPss(Hash),
    /// ECDSA, the signature as an ECDSA-Sig-Value (RFC 3279 §2.2.3).
    Ecdsa(Hash),
    /// Ed25519, of the message itself (RFC 8032 §5.1.6).
    Ed25519,
}

/// An AlgorithmIdentifier that stands for no scheme we have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the signature algorithm {0} is not supported")]
pub struct UnknownScheme(String);

const SIGNATURES: &[(SignatureScheme, &[u8])] = &[
    (SignatureScheme::RsaPkcs1(Hash::Sha1), b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00"),
    (
        SignatureScheme::RsaPkcs1(Hash::Sha256),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00",
    ),
    (
        SignatureScheme::RsaPkcs1(Hash::Sha384),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00",
    ),
    (
        SignatureScheme::RsaPkcs1(Hash::Sha512),
        b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00",
    ),
    (SignatureScheme::Ecdsa(Hash::Sha256), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"),
    (SignatureScheme::Ecdsa(Hash::Sha384), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"),
    (SignatureScheme::Ecdsa(Hash::Sha512), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04"),
    (SignatureScheme::Ed25519, b"\x30\x05\x06\x03\x2b\x65\x70"),
];

/// id-RSASSA-PSS and id-mgf1, with tag and length.
const PSS: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
const MGF1: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08";
/// `[3] { 1 }`
const TRAILER: &[u8] = b"\xa3\x03\x02\x01\x01";
/// The hashes that PSS is used with: the last octet of the OID, and the length of the hash and of the salt.
const PSS_HASHES: [(Hash, u8, u8); 3] = [(Hash::Sha256, 1, 32), (Hash::Sha384, 2, 48), (Hash::Sha512, 3, 64)];

impl SignatureScheme {
    /// What an AlgorithmIdentifier stands for, `der` being all of it and nothing else.
    ///
    /// # Errors
    ///
    /// If it is no DER, or a scheme that is not supported; RSASSA-PSS with other parameters than
    /// [`RsaPss`](Self::RsaPss) has among them.
    pub fn from_der(der: &[u8]) -> Result<Self, UnknownScheme> {
        // The few encodings there are, octet by octet: nothing is interpreted, so nothing can be misunderstood.
        let plain = SIGNATURES.iter().find(|(_, known)| *known == der).map(|(scheme, _)| *scheme);
        plain.or_else(|| pss_from_der(der)).ok_or_else(|| UnknownScheme(name(der)))
    }

    /// The AlgorithmIdentifier.
    #[must_use]
    pub fn to_der(self) -> Vec<u8> {
        if let Some((_, der)) = SIGNATURES.iter().find(|(scheme, _)| *scheme == self) {
            return der.to_vec();
        }
        let pss = PSS_HASHES.iter().find(|(hash, ..)| Self::RsaPss(*hash) == self);
        // RFC 7427 appendix A.4.3: NULL parameters in the hashes' AlgorithmIdentifiers.
        pss.map(|(_, oid, salt)| pss_to_der(*oid, *salt, [true, true], &[])).unwrap_or_default()
    }

    /// The hash that is signed; `None` where it is the message itself.
    #[must_use]
    pub const fn hash(self) -> Option<Hash> {
        match self {
            Self::RsaPkcs1(hash) | Self::RsaPss(hash) | Self::Ecdsa(hash) => Some(hash),
            Self::Ed25519 => None,
        }
    }
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RsaPkcs1(hash) => write!(f, "RSA_EMSA_PKCS1_{hash}"),
            Self::RsaPss(hash) => write!(f, "RSA_EMSA_PSS_{hash}"),
            Self::Ecdsa(hash) => write!(f, "ECDSA_{hash}"),
            Self::Ed25519 => f.write_str("ED25519"),
        }
    }
}

/// RFC 4055 §3.1 lets the parameters of the hash be NULL or absent, in each of the two places. The trailer field has its
/// default, which DER leaves out and RFC 7427 appendix A.4.3 writes.
fn pss_from_der(der: &[u8]) -> Option<SignatureScheme> {
    const NULLS: [[bool; 2]; 4] = [[true, true], [false, false], [true, false], [false, true]];
    let is_known = |oid, salt| {
        NULLS.iter().any(|nulls| {
            pss_to_der(oid, salt, *nulls, &[]) == der || pss_to_der(oid, salt, *nulls, TRAILER) == der
        })
    };
    PSS_HASHES
        .iter()
        .find(|(_, oid, salt)| is_known(*oid, *salt))
        .map(|(hash, ..)| SignatureScheme::RsaPss(*hash))
}

/// ```text
/// SEQUENCE { id-RSASSA-PSS, SEQUENCE {
///     [0] { SEQUENCE { hash, [NULL] } }, [1] { SEQUENCE { id-mgf1, SEQUENCE { hash, [NULL] } } }, [2] { salt } } }
/// ```
fn pss_to_der(oid: u8, salt: u8, [in_hash, in_mask]: [bool; 2], trailer: &[u8]) -> Vec<u8> {
    let hash = |null: bool| {
        let null: &[u8] = if null { b"\x05\x00" } else { b"" };
        tlv(0x30, &[b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02", &[oid], null])
    };
    let hash_algorithm = tlv(0xa0, &[&hash(in_hash)]);
    let mask_algorithm = tlv(0xa1, &[&tlv(0x30, &[MGF1, &hash(in_mask)])]);
    let salt_length = tlv(0xa2, &[&tlv(0x02, &[&[salt]])]);
    tlv(0x30, &[PSS, &tlv(0x30, &[&hash_algorithm, &mask_algorithm, &salt_length, trailer])])
}

/// Tag, length and value; the values here are short.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let length = u8::try_from(value.len()).unwrap_or(0x80); // no length that DER has
    [&[tag, length], value.as_slice()].concat()
}

/// Names what is not supported, as far as it can be read.
fn name(der: &[u8]) -> String {
    match AlgorithmIdentifierRef::try_from(der) {
        Err(error) => format!("cannot be read ({error}) and"),
        Ok(unknown) if der.get(2..).is_some_and(|rest| rest.starts_with(PSS)) => {
            format!(
                "{} (RSASSA-PSS, with other parameters than SHA-2, MGF1 of the same and a salt as long)",
                unknown.oid
            )
        }
        Ok(unknown) => {
            let known = SIGNATURES.iter().find(|(_, known)| {
                AlgorithmIdentifierRef::try_from(*known).is_ok_and(|known| known.oid == unknown.oid)
            });
            match known {
                Some((scheme, _)) => format!("{} ({scheme}, with parameters it does not have)", unknown.oid),
                None => unknown.oid.to_string(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::signature::{Curve, KeyType};
    use crate::crypto::tests::hex;

    /// RFC 7427 appendix A, RFC 8420 appendix A.
    #[test]
    fn the_octets_of_the_rfcs() {
        use SignatureScheme::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};
        for (scheme, der) in [
            (RsaPkcs1(Hash::Sha1), "300d06092a864886f70d0101050500"),
            (RsaPkcs1(Hash::Sha256), "300d06092a864886f70d01010b0500"),
            (RsaPkcs1(Hash::Sha384), "300d06092a864886f70d01010c0500"),
            (RsaPkcs1(Hash::Sha512), "300d06092a864886f70d01010d0500"),
            (Ecdsa(Hash::Sha256), "300a06082a8648ce3d040302"),
            (Ecdsa(Hash::Sha384), "300a06082a8648ce3d040303"),
            (Ecdsa(Hash::Sha512), "300a06082a8648ce3d040304"),
            (Ed25519, "300506032b6570"),
        ] {
            assert_eq!(scheme.to_der(), hex(der), "{scheme}");
            assert_eq!(SignatureScheme::from_der(&hex(der)), Ok(scheme));
        }
        let a_4_3 = hex("304606092a864886f70d01010a3039a00f300d06096086480165030402010500\
             a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020101");
        assert_eq!(SignatureScheme::from_der(&a_4_3), Ok(RsaPss(Hash::Sha256)));
        // The default trailer is not written (X.690 §11.5).
        let mut without = a_4_3;
        without.truncate(without.len() - 5);
        without[1] -= 5;
        without[14] -= 5;
        assert_eq!(RsaPss(Hash::Sha256).to_der(), without);
    }

    #[test]
    fn what_is_written_is_read() {
        let keys = [KeyType::Rsa, KeyType::Ecdsa(Curve::P256), KeyType::Ed25519];
        for scheme in keys.iter().flat_map(|key| key.schemes()) {
            let der = scheme.to_der();
            assert_eq!(SignatureScheme::from_der(&der), Ok(*scheme));
            for end in 0..der.len() {
                assert!(SignatureScheme::from_der(&der[..end]).is_err());
            }
            assert!(SignatureScheme::from_der(&[der, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn pss_is_read_with_and_without_nulls() {
        for nulls in [[true, true], [true, false], [false, true], [false, false]] {
            let der = pss_to_der(2, 48, nulls, &[]);
            assert_eq!(SignatureScheme::from_der(&der), Ok(SignatureScheme::RsaPss(Hash::Sha384)));
        }
        assert!(SignatureScheme::from_der(&pss_to_der(2, 20, [true, true], &[])).is_err(), "another salt");
        assert!(SignatureScheme::from_der(&pss_to_der(4, 28, [true, true], &[])).is_err(), "SHA2-224");
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (der, said) in [
            ("300d06092a864886f70d0101040500", "1.2.840.113549.1.1.4 is not supported"), // md5WithRSAEncryption
            ("300b06092a864886f70d01010b", "RSA_EMSA_PKCS1_SHA2_256, with parameters it does not have"),
            ("300d06092a864886f70d01010a3000", "RSASSA-PSS, with other parameters"), // RFC 7427 A.4.1: SHA-1
            ("300906072a8648ce3d0401", "1.2.840.10045.4.1 is not supported"),        // ecdsa-with-SHA1
            ("", "cannot be read"),
            ("3081", "cannot be read"),
        ] {
            let error = SignatureScheme::from_der(&hex(der)).unwrap_err().to_string();
            assert!(error.contains(said), "{der}: {error}");
        }
    }
}
