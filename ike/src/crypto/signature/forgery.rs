//! Signatures that were made without the key, for a key with the exponent 3 (Bleichenbacher, 2006).
//!
//! A number whose cube looks like a padded hash is found without the key if a verifier lets some octets be anything:
//! behind the hash (CVE-2006-4339), in the parameters of the algorithm (CVE-2018-16152), in the padding (CVE-2018-15836).

use super::{Hash, KeyType, PublicKey, SignatureError, SignatureScheme};

const MESSAGE: &[u8] = b"message, nonce and identity 1";
const FORGERIES: [(&str, &[u8]); 3] = [
    ("behind the hash", include_bytes!("forgeries/after-hash")),
    ("in the parameters", include_bytes!("forgeries/in-parameters")),
    ("in the padding", include_bytes!("forgeries/in-padding")),
];

#[test]
fn cve_class_pkcs1_v1_5_forged_for_small_exponents() {
    let key = PublicKey::from_spki_der(include_bytes!("forgeries/key")).unwrap();
    assert_eq!((key.key_type(), key.bits()), (KeyType::Rsa, 2048));
    let scheme = SignatureScheme::RsaPkcs1(Hash::Sha256);
    key.verify(scheme, MESSAGE, include_bytes!("forgeries/right")).unwrap();
    for (place, forged) in FORGERIES {
        assert_eq!(key.verify(scheme, MESSAGE, forged), Err(SignatureError::Mismatch), "{place}");
    }
}
