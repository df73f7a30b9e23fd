//! Counters, written by the worker and read by whoever wants to.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::inbound::Refusal;
use crate::outbound::SealError;
use crate::packet::OpenError;
use crate::replay::ReplayError;

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Outbound: what came from the device is not an IP packet.
    OutboundMalformed,
    /// Outbound: no policy covers the packet. It is never sent in the clear.
    OutboundNoPolicy,
    /// Outbound: a policy says that it is dropped.
    OutboundDiscarded,
    /// Outbound: it was caught by a trap, and there is no SA for it, or no room to wait for one.
    OutboundTrapped,
    /// Outbound: the SA has no sequence number left.
    OutboundSequenceExhausted,
    /// Outbound: the SA has reached its hard limit.
    OutboundLimit,
    /// Outbound: the socket's queue stayed full.
    OutboundQueueFull,
    /// Outbound: the system refused to send.
    OutboundSendFailed,
    /// Inbound: receiving from a socket failed.
    InboundReceiveFailed,
    /// Inbound: the datagram is too short to be anything.
    InboundTooShort,
    /// Inbound: no SA has this SPI.
    InboundUnknownSpi,
    /// Inbound: the sequence number was seen before.
    InboundReplayed,
    /// Inbound: the sequence number is left of the window, or one that no sender uses.
    InboundTooOld,
    /// Inbound: the integrity check failed.
    InboundForged,
    /// Inbound: the SA has reached its hard limit.
    InboundLimit,
    /// Inbound: verified, but with padding that RFC 4303 §2.4 does not allow.
    InboundPadding,
    /// Inbound: a dummy packet; nothing is wrong.
    InboundDummy,
    /// Inbound: the payload is not an IP packet in a tunnel.
    InboundNotTunnelled,
    /// Inbound: the inner packet makes no sense.
    InboundMalformed,
    /// Inbound: the inner packet is not one the SA was negotiated for.
    InboundOutsideSelectors,
    /// Inbound: lost on purpose, to signal congestion (RFC 6040 §4.2).
    InboundCongestion,
    /// Inbound: the TUN device did not take the packet, because it is down or gone.
    InboundDeviceRefused,
}

impl DropReason {
    /// Every reason, in the order in which [`Stats::iter`] gives them.
    pub const ALL: [Self; 22] = [
        Self::OutboundMalformed,
        Self::OutboundNoPolicy,
        Self::OutboundDiscarded,
        Self::OutboundTrapped,
        Self::OutboundSequenceExhausted,
        Self::OutboundLimit,
        Self::OutboundQueueFull,
        Self::OutboundSendFailed,
        Self::InboundReceiveFailed,
        Self::InboundTooShort,
        Self::InboundUnknownSpi,
        Self::InboundReplayed,
        Self::InboundTooOld,
        Self::InboundForged,
        Self::InboundLimit,
        Self::InboundPadding,
        Self::InboundDummy,
        Self::InboundNotTunnelled,
        Self::InboundMalformed,
        Self::InboundOutsideSelectors,
        Self::InboundCongestion,
        Self::InboundDeviceRefused,
    ];

    /// A short name for metrics and listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutboundMalformed => "out-malformed",
            Self::OutboundNoPolicy => "out-no-policy",
            Self::OutboundDiscarded => "out-discarded",
            Self::OutboundTrapped => "out-trapped",
            Self::OutboundSequenceExhausted => "out-sequence-exhausted",
            Self::OutboundLimit => "out-limit",
            Self::OutboundQueueFull => "out-queue-full",
            Self::OutboundSendFailed => "out-send-failed",
            Self::InboundReceiveFailed => "in-receive-failed",
            Self::InboundTooShort => "in-too-short",
            Self::InboundUnknownSpi => "in-unknown-spi",
            Self::InboundReplayed => "in-replayed",
            Self::InboundTooOld => "in-too-old",
            Self::InboundForged => "in-forged",
            Self::InboundLimit => "in-limit",
            Self::InboundPadding => "in-padding",
            Self::InboundDummy => "in-dummy",
            Self::InboundNotTunnelled => "in-not-tunnelled",
            Self::InboundMalformed => "in-malformed",
            Self::InboundOutsideSelectors => "in-outside-selectors",
            Self::InboundCongestion => "in-congestion",
            Self::InboundDeviceRefused => "in-device-refused",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<SealError> for DropReason {
    fn from(error: SealError) -> Self {
        match error {
            // The worker's buffer has the room, whatever the packet.
            SealError::NotIp | SealError::NoRoom => Self::OutboundMalformed,
            SealError::Exhausted(_) => Self::OutboundSequenceExhausted,
        }
    }
}

impl From<OpenError> for DropReason {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::TooShort { .. } => Self::InboundTooShort,
            OpenError::WrongSpi { .. } => Self::InboundUnknownSpi,
            OpenError::Replay(ReplayError::Repeated) => Self::InboundReplayed,
            OpenError::Replay(ReplayError::TooOld | ReplayError::Impossible) => Self::InboundTooOld,
            OpenError::Forged => Self::InboundForged,
            OpenError::Padding => Self::InboundPadding,
        }
    }
}

impl From<Refusal> for DropReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Dummy => Self::InboundDummy,
            Refusal::NotTunnelled(_) => Self::InboundNotTunnelled,
            Refusal::Malformed(_) => Self::InboundMalformed,
            Refusal::OutsideSelectors => Self::InboundOutsideSelectors,
            Refusal::Congestion(_) => Self::InboundCongestion,
        }
    }
}

/// Packets dropped so far, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    drops: [u64; DropReason::ALL.len()],
}

impl Stats {
    /// Packets dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.drops)
    }
}

/// The drops as the worker counts them.
#[derive(Default)]
pub(super) struct DropCounters {
    drops: [AtomicU64; DropReason::ALL.len()],
}

impl DropCounters {
    pub(super) fn count(&self, reason: DropReason) {
        if let Some(counter) = self.drops.get(reason as usize) {
            add(counter, 1);
        }
    }

    pub(super) fn read(&self) -> Stats {
        Stats {
            drops: std::array::from_fn(|at| {
                self.drops.get(at).map_or(0, |drop| drop.load(Ordering::Relaxed))
            }),
        }
    }
}

/// What one child has carried. Octets are those of inner packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildUse {
    /// Octets received.
    pub bytes_in: u64,
    /// Packets received.
    pub packets_in: u64,
    /// When the last packet was received, dummies included: a sign of life.
    pub last_in: Option<Instant>,
    /// Octets sent.
    pub bytes_out: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// When the last packet was sent.
    pub last_out: Option<Instant>,
}

/// Use of one SA, as its worker counts it.
#[derive(Default)]
pub(super) struct Usage {
    bytes: AtomicU64,
    packets: AtomicU64,
    /// Microseconds since the plane's start, plus one; 0 while the SA is unused.
    last: AtomicU64,
}

impl Usage {
    #[inline]
    pub(super) fn count(&self, bytes: u64, since_start: Duration) {
        add(&self.bytes, bytes);
        add(&self.packets, 1);
        let micros = u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX - 1);
        self.last.store(micros + 1, Ordering::Relaxed);
    }

    /// Nothing has passed yet.
    pub(super) fn is_unused(&self) -> bool {
        self.last.load(Ordering::Relaxed) == 0
    }

    /// Octets, packets, and when the last one was.
    pub(super) fn read(&self, start: Instant) -> (u64, u64, Option<Instant>) {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1);
        let last = last.and_then(|micros| start.checked_add(Duration::from_micros(micros)));
        (self.bytes.load(Ordering::Relaxed), self.packets.load(Ordering::Relaxed), last)
    }
}

/// Adds without a locked instruction: there is only one writer.
#[inline]
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let counters = DropCounters::default();
        for (n, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n);
            for _ in 0..=n {
                counters.count(reason);
            }
        }
        let stats = counters.read();
        let counts: Vec<u64> = stats.iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=22).collect::<Vec<u64>>());
        assert_eq!(stats.dropped(DropReason::InboundForged), 14);
        let names: std::collections::HashSet<&str> = DropReason::ALL.map(DropReason::name).into();
        assert_eq!(names.len(), DropReason::ALL.len());
    }

    #[test]
    fn usage_remembers_the_last_packet() {
        let (usage, start) = (Usage::default(), Instant::now());
        assert_eq!(usage.read(start), (0, 0, None));
        usage.count(100, Duration::ZERO);
        usage.count(50, Duration::from_millis(3));
        assert_eq!(usage.read(start), (150, 2, Some(start + Duration::from_millis(3))));
    }
}
