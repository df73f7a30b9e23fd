//! Signature schemes of TLS (RFC 8446 §4.2.3), and ours.

use rustls::SignatureScheme as TlsScheme;

use crate::crypto::signature::{Curve, Hash, KeyType, SignatureScheme};

/// What peers may sign with, the best first.
pub(super) const TLS_SCHEMES: &[TlsScheme] = &[
    TlsScheme::ED25519,
    TlsScheme::ECDSA_NISTP521_SHA512,
    TlsScheme::ECDSA_NISTP384_SHA384,
    TlsScheme::ECDSA_NISTP256_SHA256,
    TlsScheme::RSA_PSS_SHA512,
    TlsScheme::RSA_PSS_SHA384,
    TlsScheme::RSA_PSS_SHA256,
    TlsScheme::RSA_PKCS1_SHA512,
    TlsScheme::RSA_PKCS1_SHA384,
    TlsScheme::RSA_PKCS1_SHA256,
];

/// Each scheme of ours with the name that TLS has for it, where the curve goes with the hash as TLS 1.3 has it.
const PAIRS: &[(TlsScheme, SignatureScheme, Option<Curve>)] = &[
    (TlsScheme::ED25519, SignatureScheme::Ed25519, None),
    (TlsScheme::ECDSA_NISTP521_SHA512, SignatureScheme::Ecdsa(Hash::Sha512), Some(Curve::P521)),
    (TlsScheme::ECDSA_NISTP384_SHA384, SignatureScheme::Ecdsa(Hash::Sha384), Some(Curve::P384)),
    (TlsScheme::ECDSA_NISTP256_SHA256, SignatureScheme::Ecdsa(Hash::Sha256), Some(Curve::P256)),
    (TlsScheme::RSA_PSS_SHA512, SignatureScheme::RsaPss(Hash::Sha512), None),
    (TlsScheme::RSA_PSS_SHA384, SignatureScheme::RsaPss(Hash::Sha384), None),
    (TlsScheme::RSA_PSS_SHA256, SignatureScheme::RsaPss(Hash::Sha256), None),
    (TlsScheme::RSA_PKCS1_SHA512, SignatureScheme::RsaPkcs1(Hash::Sha512), None),
    (TlsScheme::RSA_PKCS1_SHA384, SignatureScheme::RsaPkcs1(Hash::Sha384), None),
    (TlsScheme::RSA_PKCS1_SHA256, SignatureScheme::RsaPkcs1(Hash::Sha256), None),
];

/// What a signature of a peer with such a key has to be; `None` if it may not be made so.
pub(super) fn of_peer(scheme: TlsScheme, key: KeyType, is_tls_1_3: bool) -> Option<SignatureScheme> {
    let (_, ours, curve) = PAIRS.iter().find(|(tls, ..)| *tls == scheme)?;
    let fits = match (ours, key, curve) {
        // RFC 8446 §4.2.3: TLS 1.3 binds the curve to the hash, and has no PKCS#1 v1.5. TLS 1.2 has both free.
        (SignatureScheme::Ecdsa(_), KeyType::Ecdsa(found), Some(named)) => !is_tls_1_3 || found == *named,
        (SignatureScheme::RsaPkcs1(_), KeyType::Rsa, _) => !is_tls_1_3,
        (SignatureScheme::RsaPss(_), KeyType::Rsa, _) | (SignatureScheme::Ed25519, KeyType::Ed25519, _) => {
            true
        }
        _ => false,
    };
    fits.then_some(*ours)
}

/// The first scheme a peer takes that a key of ours has.
pub(super) fn of_ours(key: KeyType, offered: &[TlsScheme]) -> Option<(TlsScheme, SignatureScheme)> {
    PAIRS
        .iter()
        .filter(|(tls, ours, curve)| {
            let fits = curve.is_none_or(|curve| key == KeyType::Ecdsa(curve));
            fits && key.schemes().contains(ours) && offered.contains(tls)
        })
        .map(|(tls, ours, _)| (*tls, *ours))
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_with_what_it_can_and_the_peer_takes() {
        use TlsScheme as T;
        let p384 = KeyType::Ecdsa(Curve::P384);
        for (key, offered, taken) in [
            (KeyType::Rsa, TLS_SCHEMES, Some(T::RSA_PSS_SHA512)),
            (KeyType::Rsa, &[T::RSA_PKCS1_SHA256, T::ED25519][..], Some(T::RSA_PKCS1_SHA256)),
            (KeyType::Rsa, &[T::ED25519], None),
            (p384, TLS_SCHEMES, Some(T::ECDSA_NISTP384_SHA384)),
            (p384, &[T::ECDSA_NISTP256_SHA256], None),
            (KeyType::Ed25519, TLS_SCHEMES, Some(T::ED25519)),
        ] {
            assert_eq!(of_ours(key, offered).map(|(tls, _)| tls), taken, "{key}");
        }
    }

    #[test]
    fn tls_1_3_is_stricter() {
        let p384 = KeyType::Ecdsa(Curve::P384);
        let is_taken = |scheme, key| [false, true].map(|is_1_3| of_peer(scheme, key, is_1_3).is_some());
        assert_eq!(is_taken(TlsScheme::RSA_PKCS1_SHA256, KeyType::Rsa), [true, false]);
        assert_eq!(is_taken(TlsScheme::ECDSA_NISTP256_SHA256, p384), [true, false]);
        assert_eq!(is_taken(TlsScheme::ECDSA_NISTP384_SHA384, p384), [true, true]);
        assert_eq!(is_taken(TlsScheme::RSA_PSS_SHA256, KeyType::Rsa), [true, true]);
        assert_eq!(is_taken(TlsScheme::ED25519, KeyType::Rsa), [false, false]);
        assert_eq!(is_taken(TlsScheme::RSA_PKCS1_SHA1, KeyType::Rsa), [false, false]);
    }
}
