//! Generic Token Card (RFC 3748 §5.6): the server shows a text, the client says its password. It is for tunnels in
//! which the server has proven itself before, and makes no key.

use super::{Context, Reaction, Verdict};
use crate::identity::Identity;

/// What the server shows.
const PROMPT: &[u8] = b"Password";

/// The server's first request.
pub(super) fn ask() -> Vec<u8> {
    PROMPT.to_vec()
}

/// The server's judgement.
pub(super) fn judge(response: &[u8], client: &Identity, server: &Identity, cx: &Context<'_>) -> Verdict {
    match cx.passwords.password(client, server) {
        None => Verdict::Refused(format!("no EAP key found for '{client}'")),
        Some(password) if password.ct_eq(response) => Verdict::Accepted { msk: None, named: None },
        Some(_) => Verdict::Refused(format!("EAP-GTC verification of '{client}' failed")),
    }
}

/// The client's whole part.
pub(super) fn answer(client: &Identity, server: &Identity, cx: &Context<'_>) -> Reaction {
    match cx.passwords.password(client, server) {
        Some(password) => Reaction::Conclude { data: password.octets().to_vec().into(), msk: None },
        None => Reaction::Abort(format!("no EAP key found for '{client}' - '{server}'")),
    }
}
