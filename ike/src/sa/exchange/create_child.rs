//! CREATE_CHILD_SA for CHILD_SAs (RFC 7296 §1.3.1, §1.3.3): further ones, and successors of those there are.
//!
//! ```text
//! HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr}  -->
//!                               <--  HDR, SK {SA, Nr, [KEr,] TSi, TSr}
//!                          or   <--  HDR, SK {N(error)}
//! ```
//!
//! Who answers installs before it answers; who asks installs when the answer has come. What follows from the
//! successor of a CHILD_SA is in `rekey_child`; the IKE SA's own successor is in `rekey_ike`.

mod initiator;
mod responder;

pub(crate) use self::initiator::{Asking, Rival};
pub(crate) use self::responder::{Answering, answer};
use crate::context::Cx;
use crate::crypto::SharedKey;
use crate::error::Failure;
use crate::wire::Payloads;
use crate::wire::registry::KeMethod;

/// The responder's half of a key exchange.
pub(super) struct KeyShare {
    pub(super) method: KeMethod,
    pub(super) public: Vec<u8>,
    pub(super) shared: SharedKey,
}

impl KeyShare {
    /// Answers the KE payload of a request, which must be of the method that was chosen (RFC 7296 §1.3).
    pub(super) fn answer(method: KeMethod, payloads: &Payloads<'_>, cx: &Cx<'_>) -> Result<Self, Failure> {
        let used = payloads.ke().map_or(KeMethod::NONE, |ke| ke.method);
        let Some(ke) = payloads.ke().filter(|ke| ke.method == method) else {
            return Err(Failure::WrongKeyExchange { used, wanted: method });
        };
        let (public, shared) = cx.crypto.start_and_complete(method, ke.data)?;
        Ok(Self { method, public, shared })
    }
}

/// The other method that the peer wants, if its response is a demand for one (RFC 7296 §1.3).
pub(super) fn demanded_method(payloads: &Payloads<'_>) -> Option<KeMethod> {
    if payloads.sa().is_some() {
        return None;
    }
    let notify = payloads.notify(crate::wire::registry::NotifyType::INVALID_KE_PAYLOAD)?;
    let method: [u8; 2] = notify.data.try_into().ok()?;
    Some(KeMethod(u16::from_be_bytes(method)))
}
