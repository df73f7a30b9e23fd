//! Policies without an SA (RFC 4301 §4.4.1): traps, which ask for one, and what is dropped unless an SA carries it.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::inner::Flow;
use crate::selector::Selectors;

/// Packets that wait in one trap. A handshake takes a few round trips, in which a host sends a handful.
const MOST_PACKETS: usize = 32;
/// Octets of packets that wait in one trap.
const MOST_OCTETS: usize = 64 << 10;
/// How long a trap is quiet after an attempt that failed: a peer that refuses is not asked with every packet.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The same after an SA was made that does not carry the packet it was made for: the next would not either.
const AFTER_MISFIT: Duration = Duration::from_secs(10);

/// Who a policy is to the caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(pub u64);

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyId({})", self.0)
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a policy does with packets that no SA carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyAction {
    /// Keeps them, as far as there is room, and asks for an SA by [`Event::Acquire`](super::Event::Acquire). They are
    /// sent when there is one.
    Trap,
    /// Drops them.
    Drop,
}

impl PolicyAction {
    /// What is added to the priority that comes with the selectors. The steps are strongSwan's: an SA comes before a
    /// trap, however narrow that is, and a trap before what is dropped.
    pub(super) const fn behind(self) -> u32 {
        match self {
            Self::Trap => 200_000,
            Self::Drop => 400_000,
        }
    }
}

/// What came of an SA that a trap has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It was added.
    Made,
    /// There is none.
    Failed,
}

/// A policy as the worker has it.
pub(super) struct Policy {
    pub(super) id: PolicyId,
    pub(super) selectors: Selectors,
    pub(super) action: PolicyAction,
    pub(super) trap: Trap,
}

/// What a trap has caught.
#[derive(Default)]
pub(super) struct Trap {
    /// The flow of the packet an SA was asked for by; `None` while none is asked for.
    pub(super) asked: Option<Flow>,
    /// Until when, since the plane's start, it does not ask.
    quiet_until: Duration,
    packets: VecDeque<Packet>,
    octets: usize,
}

/// A packet that waits. It is not encrypted yet, so it is wiped.
struct Packet {
    flow: Flow,
    octets: Zeroizing<Vec<u8>>,
}

/// What a trap makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caught {
    /// It waits, and an SA is to be asked for.
    Asks,
    /// It waits.
    Waits,
    /// It is lost.
    Lost,
}

impl Policy {
    pub(super) fn new(id: PolicyId, selectors: Selectors, action: PolicyAction) -> Self {
        Self { id, selectors, action, trap: Trap::default() }
    }
}

impl Trap {
    /// Takes a packet.
    pub(super) fn catch(&mut self, packet: &[u8], flow: Flow, now: Duration) -> Caught {
        if self.asked.is_none() && now < self.quiet_until {
            return Caught::Lost;
        }
        let octets = self.octets.saturating_add(packet.len());
        if self.packets.len() >= MOST_PACKETS || octets > MOST_OCTETS {
            return Caught::Lost;
        }
        self.octets = octets;
        self.packets.push_back(Packet { flow, octets: Zeroizing::new(packet.to_vec()) });
        if self.asked.is_some() {
            return Caught::Waits;
        }
        self.asked = Some(flow);
        Caught::Asks
    }

    /// The first of the packets that wait and that `is_free` to go.
    pub(super) fn release(&mut self, is_free: impl Fn(&Flow) -> bool) -> Option<Zeroizing<Vec<u8>>> {
        let at = self.packets.iter().position(|packet| is_free(&packet.flow))?;
        let packet = self.packets.remove(at)?;
        self.octets = self.octets.saturating_sub(packet.octets.len());
        Some(packet.octets)
    }

    /// The attempt is over, and what could go is gone. The flow to ask for next, if packets wait that the SA is not
    /// for, and how many packets are lost.
    pub(super) fn settle(&mut self, acquired: Acquired, now: Duration) -> (Option<Flow>, usize) {
        let asked = self.asked.take();
        let is_misfit = self.packets.iter().any(|packet| Some(packet.flow) == asked);
        let quiet = match acquired {
            Acquired::Failed => AFTER_FAILURE,
            Acquired::Made if is_misfit => AFTER_MISFIT,
            Acquired::Made => {
                self.asked = self.packets.front().map(|packet| packet.flow);
                return (self.asked, 0);
            }
        };
        self.quiet_until = now.saturating_add(quiet);
        self.octets = 0;
        let lost = self.packets.len();
        self.packets.clear();
        (None, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Flow {
        Flow {
            source: "10.0.0.1".parse().expect("address"),
            destination: "10.1.0.1".parse().expect("address"),
            protocol: Some(17),
            ports: Some((port, 53)),
        }
    }

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn one_sa_is_asked_for_at_a_time() {
        let mut trap = Trap::default();
        assert_eq!(trap.catch(b"one", flow(1), NOW), Caught::Asks);
        assert_eq!(trap.catch(b"two", flow(2), NOW), Caught::Waits);
        assert_eq!(trap.catch(b"three", flow(1), NOW), Caught::Waits);
        // The SA is for the first flow alone: the second one asks next, and has not lost its packet.
        assert_eq!(trap.release(|of| *of == flow(1)).expect("it waits").as_slice(), b"one");
        assert_eq!(trap.release(|of| *of == flow(1)).expect("it waits").as_slice(), b"three");
        assert!(trap.release(|of| *of == flow(1)).is_none());
        assert_eq!(trap.settle(Acquired::Made, NOW), (Some(flow(2)), 0));
        assert_eq!(trap.catch(b"four", flow(2), NOW), Caught::Waits);
        for packet in [b"two".as_slice(), b"four"] {
            assert_eq!(trap.release(|_| true).expect("it waits").as_slice(), packet);
        }
        assert_eq!(trap.settle(Acquired::Made, NOW), (None, 0));
        assert_eq!((trap.octets, trap.packets.len()), (0, 0));
        assert_eq!(trap.catch(b"five", flow(1), NOW), Caught::Asks);
    }

    #[test]
    fn after_a_failure_it_is_quiet_for_a_while() {
        let mut trap = Trap::default();
        assert_eq!(trap.catch(b"one", flow(1), NOW), Caught::Asks);
        assert_eq!(trap.settle(Acquired::Failed, NOW), (None, 1));
        assert_eq!(trap.catch(b"two", flow(1), NOW), Caught::Lost);
        assert_eq!(trap.catch(b"two", flow(1), NOW + AFTER_FAILURE), Caught::Asks);
        // An SA that does not carry the packet it was made for is no better than none.
        assert_eq!(trap.settle(Acquired::Made, NOW), (None, 1));
        assert_eq!(trap.catch(b"two", flow(1), NOW + AFTER_FAILURE), Caught::Lost);
        assert_eq!(trap.catch(b"two", flow(1), NOW + AFTER_MISFIT), Caught::Asks);
    }

    #[test]
    fn only_so_much_waits() {
        let mut trap = Trap::default();
        trap.catch(b"first", flow(1), NOW);
        let waiting = (0..100).filter(|_| trap.catch(b"more", flow(1), NOW) == Caught::Waits).count();
        assert_eq!(waiting + 1, MOST_PACKETS);
        let mut trap = Trap::default();
        trap.catch(&vec![0; 40_000], flow(1), NOW);
        assert_eq!(trap.catch(&vec![0; 40_000], flow(1), NOW), Caught::Lost);
        assert_eq!(trap.catch(&vec![0; 20_000], flow(1), NOW), Caught::Waits);
    }
}
