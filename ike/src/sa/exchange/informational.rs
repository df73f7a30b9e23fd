//! INFORMATIONAL (RFC 7296 §1.4): deletes, liveness, notifications.
//!
//! ```text
//! HDR, SK {[N,] [D,] [CP,] ...}  -->
//!                           <--  HDR, SK {[N,] [D,] [CP], ...}
//! ```

use std::time::Duration;

use tracing::{debug, info};

use crate::context::Cx;
use crate::error::Failure;
use crate::redirect::Gateway;
use crate::sa::Core;
use crate::sa::established::Established;
use crate::sa::mobike::{self, Whereabouts};
use crate::sa::opened::Opened;
use crate::sa::task::Task;
use crate::wire::PayloadWriter;
use crate::wire::notify::Notify;
use crate::wire::registry::{ExchangeType, NotifyType, ProtocolId, Spi};

/// What a request of the peer leaves of the IKE SA.
pub(crate) enum Verdict {
    Stays,
    /// The peer has deleted it.
    Deleted,
    /// The request makes no sense, and is not answered yet.
    Senseless(Failure),
}

/// Asks for nothing but an answer (RFC 7296 §2.4), and behind a NAT for how the peer sees us (RFC 4555 §3.8).
pub(crate) fn liveness(established: &Established, core: &Core, cx: &Cx<'_>) -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    if established.watches_mapping(core) {
        core.write_path(&mut payloads, core.path, cx);
    }
    payloads
}

/// The peer is to use the addresses this comes from (RFC 4555 §3.5).
pub(crate) fn update_addresses(established: &mut Established, core: &Core, cx: &Cx<'_>) -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.notify(NotifyType::UPDATE_SA_ADDRESSES, &[]);
    let others = core.other_addresses(cx);
    if let Some(mobility) = &mut established.mobility
        && mobility.told != others
    {
        mobike::write_additional_addresses(&mut payloads, &others);
        mobility.told = others;
        established.queue.retain(|task| *task != Task::TellAddresses);
    }
    core.write_path(&mut payloads, core.path, cx);
    write_cookie(established, &mut payloads, cx);
    payloads
}

/// Where else we can be reached (RFC 4555 §3.6).
pub(crate) fn tell_addresses(established: &mut Established, core: &Core, cx: &Cx<'_>) -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    let others = core.other_addresses(cx);
    mobike::write_additional_addresses(&mut payloads, &others);
    if let Some(mobility) = &mut established.mobility {
        mobility.told = others;
    }
    if !core.nat_t {
        core.write_path(&mut payloads, core.path, cx);
    }
    payloads
}

/// Only who receives this can answer it (RFC 4555 §3.7).
pub(crate) fn check_routability(established: &mut Established, cx: &Cx<'_>) -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    write_cookie(established, &mut payloads, cx);
    payloads
}

fn write_cookie(established: &mut Established, payloads: &mut PayloadWriter, cx: &Cx<'_>) {
    if let Some(mobility) = &mut established.mobility {
        payloads.notify(NotifyType::COOKIE2, mobility.cookie.insert(cx.random()));
    }
}

/// Ends the IKE SA and all its children (RFC 7296 §1.4.1).
pub(crate) fn delete_ike_sa() -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.delete_ike();
    payloads
}

/// Sends the peer to another gateway (RFC 5685 §5).
pub(crate) fn redirect(gateway: &Gateway) -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.notify(NotifyType::REDIRECT, &gateway.encode());
    payloads
}

/// How long the peer may stay without authenticating again (RFC 4478 §3).
pub(crate) fn tell_lifetime(seconds: u32) -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.notify(NotifyType::AUTH_LIFETIME, &seconds.to_be_bytes());
    payloads
}

/// Ends one CHILD_SA: each end deletes what it receives on.
pub(crate) fn delete_child(spi_in: Spi) -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.delete(ProtocolId::ESP, &[spi_in]);
    payloads
}

/// What an AUTH_LIFETIME notify says (RFC 4478 §3).
pub(crate) fn auth_lifetime(notify: &Notify<'_>) -> Option<Duration> {
    let seconds: [u8; 4] = notify.data.try_into().ok()?;
    Some(Duration::from_secs(u32::from_be_bytes(seconds).into()))
}

/// Makes the response to a request under our keys on an established IKE SA. It is to be sent once the verdict is carried
/// out.
pub(crate) fn answer(
    established: &mut Established,
    core: &mut Core,
    opened: &Opened<'_>,
    cx: &mut Cx<'_>,
) -> Result<Verdict, Failure> {
    let header = opened.header;
    let mut reply = PayloadWriter::new();
    let verdict = match header.exchange {
        ExchangeType::INFORMATIONAL => inform(established, core, opened, &mut reply, cx),
        other => {
            debug!(target: "ike", "{other} makes no sense on an established IKE_SA");
            return Ok(Verdict::Senseless(Failure::Protocol(
                "its exchange has no place on an established IKE_SA",
            )));
        }
    };
    core.prepare_response(header.exchange, header.message_id, &reply, opened.path, cx)?;
    Ok(verdict)
}

fn inform(
    established: &mut Established,
    core: &mut Core,
    opened: &Opened<'_>,
    reply: &mut PayloadWriter,
    cx: &mut Cx<'_>,
) -> Verdict {
    let mut ended = Vec::new();
    for delete in opened.payloads.deletes() {
        if delete.protocol == ProtocolId::IKE {
            info!(target: "ike", "received DELETE for IKE_SA {}[{}]", core.name(), core.id);
            return Verdict::Deleted; // RFC 7296 §1.4.1: the answer is empty, children go with it
        }
        for spi in &delete.spis {
            if delete.protocol == ProtocolId::ESP {
                ended.extend(established.peer_deletes_child(*spi, core, cx));
            } else {
                debug!(target: "ike", "received DELETE for unknown {} CHILD_SA with SPI {spi}", delete.protocol);
            }
        }
    }
    if !ended.is_empty() {
        reply.delete(ProtocolId::ESP, &ended);
    }
    hear_of_addresses(established, core, opened, reply, cx);
    mobike::return_cookie(&opened.payloads, reply);
    if let Some(lifetime) = opened.payloads.notify(NotifyType::AUTH_LIFETIME).and_then(auth_lifetime) {
        established.limit_lifetime(lifetime, core, cx);
    }
    if let Some(redirect) = opened.payloads.notify(NotifyType::REDIRECT) {
        established.follow_redirect(redirect.data, core, cx);
    }
    for notify in opened.payloads.notifies().filter(|notify| notify.kind == NotifyType::INVALID_SPI) {
        // RFC 7296 §1.5: the data, not the SPI field.
        if let Ok(spi) = <[u8; 4]>::try_from(notify.data) {
            established.peer_lacks_child(Spi(u32::from_be_bytes(spi)));
        }
    }
    if opened.payloads.notify(NotifyType::AUTHENTICATION_FAILED).is_some() {
        // The peer could not verify us after all (RFC 7296 §2.21.2).
        return Verdict::Deleted;
    }
    Verdict::Stays
}

/// What the peer says about its addresses, or wants to know about ours (RFC 4555 §3.5, §3.6, §3.8).
fn hear_of_addresses(
    established: &mut Established,
    core: &mut Core,
    opened: &Opened<'_>,
    reply: &mut PayloadWriter,
    cx: &mut Cx<'_>,
) {
    let (payloads, path) = (&opened.payloads, opened.path);
    let Some(mobility) = &mut established.mobility else { return };
    let at = Whereabouts::of(payloads, path, core);
    if at.nat.is_some() {
        core.write_path(reply, path, cx); // RFC 4555 §3.8: whoever sends the hashes gets them
    }
    let updates = payloads.notify(NotifyType::UPDATE_SA_ADDRESSES).is_some();
    let list = mobike::additional_addresses(payloads);
    if !updates && list.is_none() {
        return;
    }
    if let Err(failure) = mobike::check_no_nat(payloads, path) {
        info!(target: "ike", "the addresses of the peer are not changed: {failure}");
        reply.notify(NotifyType::UNEXPECTED_NAT_DETECTED, &[]);
        return;
    }
    if updates && mobility.decides {
        debug!(target: "ike", "ignoring UPDATE_SA_ADDRESSES: which addresses are used is ours to decide");
    } else if updates && !at.is_acceptable(cx.addresses) {
        info!(target: "ike", "the peer cannot be at {}", path.remote);
        reply.notify(NotifyType::UNACCEPTABLE_ADDRESSES, &[]);
    } else if updates {
        mobility.was_updated = true;
        established.peer_is_at(at, core, cx);
    }
    if let Some(list) = list {
        established.peer_addresses(list, path.remote.ip(), core, cx);
    }
}
