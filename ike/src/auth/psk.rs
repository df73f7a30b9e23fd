//! Authentication by a secret both ends know (RFC 7296 §2.15, Shared Key Message Integrity Code).
//!
//! ```text
//! AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>)
//! SignedOctets = RealMessage | NonceData | prf(SK_p, RestOfIDPayload)
//! ```

use crate::crypto::{
    Prf,
    secret::{Secret, SkP},
};

/// 17 octets, without a final zero.
const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// The Authentication Data of one end, who proves that it sent `message`.
///
/// - `secret` is the shared secret.
/// - `message` is the first message that end sent, from the header's first octet on and in its last
///   version, without a non-ESP marker: the IKE_SA_INIT request of an initiator, the response of a
///   responder.
/// - `nonce` is the *other* end's nonce, without payload header.
/// - `sk_p` is SK_pi for the initiator and SK_pr for the responder.
/// - `id_body` is that end's ID payload without the generic header: type, three reserved octets, data.
#[must_use]
pub fn auth(
    prf: Prf,
    secret: &Secret,
    message: &[u8],
    nonce: &[u8],
    sk_p: &impl SkP,
    id_body: &[u8],
) -> Vec<u8> {
    compute(prf, secret, message, nonce, sk_p, id_body).octets().to_vec()
}

/// True if `data` is what [`auth`] gives for the rest of the arguments. Takes as long whichever octet is
/// wrong.
#[must_use]
pub fn verify(
    data: &[u8],
    prf: Prf,
    secret: &Secret,
    message: &[u8],
    nonce: &[u8],
    sk_p: &impl SkP,
    id_body: &[u8],
) -> bool {
    compute(prf, secret, message, nonce, sk_p, id_body).ct_eq(data)
}

fn compute(
    prf: Prf,
    secret: &Secret,
    message: &[u8],
    nonce: &[u8],
    sk_p: &impl SkP,
    id_body: &[u8],
) -> Secret {
    let key = prf.compute(secret.octets(), &[KEY_PAD]);
    let maced_id = prf.compute(sk_p.octets(), &[id_body]);
    prf.compute(key.octets(), &[message, nonce, maced_id.octets()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{SkPi, SkPr, tests::hex};

    const MESSAGE: &[u8] = b"the first message";

    fn sk_pi() -> SkPi {
        SkPi::new(Secret::new(hex("6478777ab47dfecbbc0f08b0a5846fd87044496e96985d2f488d7f4c0a7519e5")))
    }

    fn sk_pr() -> SkPr {
        SkPr::new(Secret::new(hex("b52f96c773b94d8ead3131f1f02335a539512657f65b535b8b15551a94f752c9")))
    }

    /// Against values computed with Python's hmac module.
    #[test]
    fn agrees_with_another_implementation() {
        let secret = Secret::new(b"secret".to_vec());
        let (ni, nr): (Vec<u8>, Vec<u8>) = ((0x20..0x40).collect(), (0x60..0x78).collect());
        assert_eq!(
            auth(Prf::HmacSha256, &secret, MESSAGE, &nr, &sk_pi(), b"\x02\0\0\0moon"),
            hex("368397ffad360cb3ef394df6239bb4fd6a352bd2c7105b1315cd662be7cc768d")
        );
        assert_eq!(
            auth(Prf::HmacSha256, &secret, MESSAGE, &ni, &sk_pr(), &[1, 0, 0, 0, 10, 0, 0, 1]),
            hex("90ebe21639581277ec6af92dbfd991f83fa37603e4aacc18ab08e3af1c56bff5")
        );
    }

    #[test]
    fn everything_that_is_signed_counts() {
        let secret = Secret::new(b"secret".to_vec());
        let other_secret = Secret::new(b"Secret".to_vec());
        for prf in [Prf::HmacSha1, Prf::HmacSha512, Prf::Aes128Xcbc, Prf::Aes128Cmac] {
            let data = auth(prf, &secret, MESSAGE, b"nonce", &sk_pi(), b"id");
            assert!(verify(&data, prf, &secret, MESSAGE, b"nonce", &sk_pi(), b"id"));
            assert!(!verify(&data, prf, &other_secret, MESSAGE, b"nonce", &sk_pi(), b"id"));
            assert!(!verify(&data, prf, &secret, b"another message", b"nonce", &sk_pi(), b"id"));
            assert!(!verify(&data, prf, &secret, MESSAGE, b"Nonce", &sk_pi(), b"id"));
            assert!(!verify(&data, prf, &secret, MESSAGE, b"nonce", &sk_pr(), b"id"));
            assert!(!verify(&data, prf, &secret, MESSAGE, b"nonce", &sk_pi(), b"di"));
            assert!(!verify(&data[1..], prf, &secret, MESSAGE, b"nonce", &sk_pi(), b"id"));
            assert!(!verify(&[], prf, &secret, MESSAGE, b"nonce", &sk_pi(), b"id"));
            for at in 0..data.len() {
                let mut wrong = data.clone();
                wrong[at] ^= 0x80;
                assert!(!verify(&wrong, prf, &secret, MESSAGE, b"nonce", &sk_pi(), b"id"));
            }
        }
    }
}
