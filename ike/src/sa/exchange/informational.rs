//! INFORMATIONAL (RFC 7296 §1.4): deletes, liveness, notifications.
//!
//! ```text
//! HDR, SK {[N,] [D,] [CP,] ...}  -->
//!                           <--  HDR, SK {[N,] [D,] [CP], ...}
//! ```

use tracing::{debug, info};

use crate::context::Cx;
use crate::error::Failure;
use crate::sa::Core;
use crate::sa::established::Established;
use crate::sa::opened::Opened;
use crate::wire::PayloadWriter;
use crate::wire::registry::{ExchangeType, NotifyType, ProtocolId, Spi};

/// What a request of the peer leaves of the IKE SA.
pub(crate) enum Verdict {
    Stays,
    /// The peer has deleted it.
    Deleted,
    /// The request makes no sense, and is not answered yet.
    Senseless(Failure),
}

/// Asks for nothing but an answer (RFC 7296 §2.4).
pub(crate) fn liveness() -> PayloadWriter {
    PayloadWriter::new()
}

/// Ends the IKE SA and all its children (RFC 7296 §1.4.1).
pub(crate) fn delete_ike_sa() -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.delete_ike();
    payloads
}

/// Ends one CHILD_SA: each end deletes what it receives on.
pub(crate) fn delete_child(spi_in: Spi) -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.delete(ProtocolId::ESP, &[spi_in]);
    payloads
}

/// Answers a request under our keys on an established IKE SA.
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
    core.respond(header.exchange, header.message_id, &reply, opened.path, cx)?;
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
    for notify in opened.payloads.notifies() {
        // Those that ask for an answer come with extensions we have not announced.
        debug!(target: "ike", "received {} notify", notify.kind);
    }
    if opened.payloads.notify(NotifyType::AUTHENTICATION_FAILED).is_some() {
        // The peer could not verify us after all (RFC 7296 §2.21.2).
        return Verdict::Deleted;
    }
    Verdict::Stays
}
