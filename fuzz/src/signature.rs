//! AUTH data with a signature, and the public keys that it is verified with.

use ferry_ike::auth::rules::SignatureRules;
use ferry_ike::auth::signature;
use ferry_ike::crypto::signature::{PrivateKey, PublicKey, SignatureScheme};
use ferry_ike::wire::registry::AuthMethod;

/// Octets of what is signed.
const SIGNED: &[u8] = b"message, nonce and identity";

const RSA: &[u8] = include_bytes!("../../ike/src/sim/keys/rsa.p8");
const P256: &[u8] = include_bytes!("../../ike/src/sim/keys/p256.p8");
const P521: &[u8] = include_bytes!("../../ike/src/sim/keys/p521.p8");
const ED25519: &[u8] = include_bytes!("../../ike/src/sim/keys/ed25519.p8");

/// The first octet says what the others are: AUTH data for one of four keys, whose method follows; an
/// AlgorithmIdentifier; a SubjectPublicKeyInfo; a private key.
///
/// Nobody without the key may sign. What is read is written again as it was, but for what PSS may leave out.
pub fn signature(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    match kind % 8 {
        kind @ 0..4 => {
            let der = [RSA, P256, P521, ED25519].get(usize::from(kind)).copied().unwrap_or(RSA);
            let key = PrivateKey::from_der(der).expect("the key is one");
            let Some((&method, data)) = data.split_first() else { return };
            let rules = SignatureRules::default();
            let result = signature::verify(key.public(), &rules, AuthMethod(method), data, SIGNED);
            assert!(result.is_err(), "a signature without the key");
        }
        4 => {
            if let Ok(scheme) = SignatureScheme::from_der(data) {
                assert_eq!(SignatureScheme::from_der(&scheme.to_der()), Ok(scheme));
                assert!(scheme.to_der().len() <= data.len().max(67));
            }
        }
        5 => {
            if let Ok(key) = PublicKey::from_spki_der(data) {
                assert_eq!(key.spki_der(), data);
                for scheme in key.key_type().schemes() {
                    assert!(key.verify(*scheme, SIGNED, data).is_err());
                }
            }
        }
        _ => {
            if let Ok(key) = PrivateKey::from_der(data) {
                assert_eq!(key.key_type(), key.public().key_type());
            }
        }
    }
}
