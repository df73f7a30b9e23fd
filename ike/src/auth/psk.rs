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
