//! Messages outside of an IKE SA: telling a stranger that its SPI is not ours, and being told so (RFC 7296 §1.5,
//! §2.21.4).
//!
//! ```text
//! HDR(A,B), SK {...}  -->
//!                     <--  HDR(A,B), N(INVALID_IKE_SPI)
//!
//!                     <--  HDR(0,0), N(INVALID_SPI)       about an ESP packet
//! ```
//!
//! Anybody can write such messages. To us they are a hint that something may be wrong, which is looked into by asking
//! the peer whether it is there; they end nothing and change nothing, and are never answered.

use std::time::{Duration, Instant};

use crate::wire::header::{Flags, Header, HeaderFields};
use crate::wire::registry::{ExchangeType, NotifyType};
use crate::wire::{self, Message, PayloadWriter};

/// The most notices we send in a second, whoever asks for them.
const MOST_PER_SECOND: u32 = 10;

/// Counts what is sent to strangers.
#[derive(Default)]
pub(crate) struct Allowance {
    since: Option<Instant>,
    used: u32,
}

impl Allowance {
    /// Whether one more may be sent now; it counts as sent then.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            (self.since, self.used) = (Some(now), 0);
        }
        self.used = self.used.saturating_add(1);
        self.used <= MOST_PER_SECOND
    }
}

/// The notice for a message with an SPI that we do not have; `None` where none is due. RFC 7296 §1.5: only what is an
/// encrypted request is answered, so that two ends never answer each other.
pub(crate) fn notice(message: &Message<'_>) -> Option<Vec<u8>> {
    let Message { header, payloads, .. } = message;
    // Of a message in fragments, the first is answered for all.
    let is_encrypted =
        payloads.encrypted().is_some() || payloads.fragment().is_some_and(|fragment| fragment.number == 1);
    if header.flags.response || !is_encrypted {
        return None;
    }
    let mut reply = PayloadWriter::new();
    reply.notify(NotifyType::INVALID_IKE_SPI, &[]);
    Some(wire::build(answer_to(header), &reply))
}

/// The header of an unprotected answer.
pub(crate) fn answer_to(request: &Header) -> HeaderFields {
    HeaderFields {
        flags: Flags { initiator: !request.flags.initiator, response: true, version: false },
        ..request.fields()
    }
}

/// What somebody says about our packets, without a proof that it is the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// INVALID_IKE_SPI: about the IKE SA whose SPIs the message has.
    IkeSa,
    /// INVALID_SPI: about some CHILD_SA with whoever has that address.
    Child,
}

impl Hint {
    /// What an unprotected message hints at, if at anything.
    pub(crate) fn of(message: &Message<'_>) -> Option<Self> {
        let Message { header, payloads, .. } = message;
        if header.exchange == ExchangeType::IKE_SA_INIT || payloads.encrypted().is_some() {
            return None;
        }
        if header.flags.response {
            payloads.notify(NotifyType::INVALID_IKE_SPI).map(|_| Self::IkeSa)
        } else {
            let is_notice = header.exchange == ExchangeType::INFORMATIONAL && header.flags.initiator;
            payloads.notify(NotifyType::INVALID_SPI).filter(|_| is_notice).map(|_| Self::Child)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_no_more() {
        let mut allowance = Allowance::default();
        let now = Instant::now();
        let granted = |allowance: &mut Allowance, at| (0..100).filter(|_| allowance.take(at)).count();
        assert_eq!(granted(&mut allowance, now), 10);
        assert_eq!(granted(&mut allowance, now + Duration::from_millis(999)), 0);
        assert_eq!(granted(&mut allowance, now + Duration::from_secs(1)), 10);
    }
}
