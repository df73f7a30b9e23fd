//! What one worker owns: inbound SAs by SPI, outbound SAs by policy, and which belong together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::config::{ChildId, Path};
use super::policy::{Policy, PolicyId};
use super::stats::Usage;
use crate::inbound::InboundSa;
use crate::inner::Flow;
use crate::limits::LimitWatch;
use crate::outbound::OutboundSa;
use crate::packet::Spi;
use crate::sad::Sad;
use crate::spd::Spd;

/// An inbound SA and what the worker keeps with it.
pub(super) struct Inbound {
    pub(super) sa: InboundSa,
    pub(super) child: ChildId,
    /// Where the peer's packets are expected from.
    pub(super) remote: SocketAddr,
    /// Another address they came from, once that was told.
    pub(super) told: Option<SocketAddr>,
    /// The next verified packet is the first, and to be told.
    pub(super) tells_first: bool,
    pub(super) watch: LimitWatch,
    pub(super) usage: Arc<Usage>,
}

/// An outbound SA and what the worker keeps with it.
pub(super) struct Outbound {
    pub(super) sa: OutboundSa,
    pub(super) child: ChildId,
    pub(super) priority: Option<u32>,
    pub(super) path: Path,
    /// Index of the socket that sends along the path.
    pub(super) socket: usize,
    /// The system has not refused to cut what is sent along the path.
    pub(super) may_batch: bool,
    pub(super) watch: LimitWatch,
    pub(super) usage: Arc<Usage>,
    /// How far the end of the sequence numbers was told.
    pub(super) sequence_told: SequenceTold,
}

/// What was said about an outbound SA's sequence numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SequenceTold {
    Nothing,
    NearlyExhausted,
    Exhausted,
}

/// The SAs of one worker.
#[derive(Default)]
pub(super) struct Tables {
    sad: Sad<Box<Inbound>>,
    spd: Spd<Target>,
    outbound: Vec<Option<Box<Outbound>>>,
    free: Vec<usize>,
    children: HashMap<ChildId, Members>,
    policies: HashMap<PolicyId, Box<Policy>>,
}

/// What a policy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// An outbound SA, by its place among them.
    Sa(usize),
    /// A policy without one.
    Policy(PolicyId),
}

/// What becomes of a packet.
pub(super) enum Way<'a> {
    /// This SA carries it.
    Sa(&'a mut Outbound),
    /// A policy decides.
    Policy(&'a mut Policy),
    /// There is no policy for it: it is not sent.
    None,
}

#[derive(Clone, Copy, Default)]
struct Members {
    inbound: Option<Spi>,
    outbound: Option<usize>,
}

impl Tables {
    pub(super) fn add_inbound(&mut self, inbound: Box<Inbound>) {
        let spi = inbound.sa.spi();
        self.children.entry(inbound.child).or_default().inbound = Some(spi);
        self.sad.insert(spi, inbound);
    }

    pub(super) fn add_outbound(&mut self, outbound: Box<Outbound>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.outbound.push(None);
            self.outbound.len() - 1
        });
        for pair in outbound.sa.selectors().pairs() {
            self.spd.insert(pair, outbound.priority, Target::Sa(place));
        }
        self.children.entry(outbound.child).or_default().outbound = Some(place);
        if let Some(slot) = self.outbound.get_mut(place) {
            *slot = Some(outbound);
        }
    }

    pub(super) fn update_path(&mut self, child: ChildId, path: Path, socket: usize) {
        let members = self.children.get(&child).copied().unwrap_or_default();
        if let Some(inbound) = members.inbound.and_then(|spi| self.sad.find(spi)) {
            inbound.remote = path.remote;
            inbound.told = None;
        }
        if let Some(outbound) = members.outbound.and_then(|place| self.at(place)) {
            outbound.path = path;
            outbound.socket = socket;
            outbound.may_batch = true;
        }
    }

    pub(super) fn remove(&mut self, child: ChildId) {
        let members = self.children.remove(&child).unwrap_or_default();
        if let Some(spi) = members.inbound {
            self.sad.remove(spi);
        }
        let Some(place) = members.outbound else { return };
        let Some(outbound) = self.outbound.get_mut(place).and_then(Option::take) else { return };
        for pair in outbound.sa.selectors().pairs() {
            self.spd.remove(&pair, Target::Sa(place));
        }
        self.free.push(place);
    }

    /// The inbound SA of a child.
    pub(super) fn inbound_of(&mut self, child: ChildId) -> Option<&mut Inbound> {
        let spi = self.children.get(&child)?.inbound?;
        self.inbound(spi)
    }

    /// The inbound SA of a packet.
    #[inline]
    pub(super) fn inbound(&mut self, spi: Spi) -> Option<&mut Inbound> {
        self.sad.find(spi).map(|inbound| &mut **inbound)
    }

    /// What becomes of a packet that is to be sent.
    #[inline]
    pub(super) fn outbound(&mut self, flow: &Flow) -> Way<'_> {
        match self.spd.find(flow) {
            Some(Target::Sa(place)) => self.at(place).map_or(Way::None, Way::Sa),
            Some(Target::Policy(id)) => self.policy(id).map_or(Way::None, Way::Policy),
            None => Way::None,
        }
    }

    pub(super) fn add_policy(&mut self, policy: Box<Policy>) {
        self.remove_policy(policy.id);
        for pair in policy.selectors.pairs() {
            let priority = pair.priority().saturating_add(policy.action.behind());
            self.spd.insert(pair, Some(priority), Target::Policy(policy.id));
        }
        self.policies.insert(policy.id, policy);
    }

    pub(super) fn remove_policy(&mut self, id: PolicyId) {
        let Some(policy) = self.policies.remove(&id) else { return };
        for pair in policy.selectors.pairs() {
            self.spd.remove(&pair, Target::Policy(id));
        }
    }

    pub(super) fn policy(&mut self, id: PolicyId) -> Option<&mut Policy> {
        self.policies.get_mut(&id).map(|policy| &mut **policy)
    }

    /// A packet that waited in a trap and that an SA carries now.
    pub(super) fn released(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let Self { spd, policies, .. } = self;
        let is_free = |flow: &Flow| matches!(spd.find(flow), Some(Target::Sa(_)));
        policies.values_mut().find_map(|policy| policy.trap.release(is_free))
    }

    fn at(&mut self, place: usize) -> Option<&mut Outbound> {
        self.outbound.get_mut(place).and_then(|slot| slot.as_deref_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::plane::policy::PolicyAction;
    use crate::selector::Selectors;
    use crate::sequence::SequenceNumbers;
    use crate::suite::Suite;
    use crate::testing::{ends, net};
    use crate::tunnel::TunnelOptions;

    fn path(text: &str) -> Path {
        Path { local: "192.0.2.1:4500".parse().expect("address"), remote: text.parse().expect("address") }
    }

    fn outbound(child: u64) -> Box<Outbound> {
        let (sa, _) = ends(Suite::ChaCha20Poly1305, SequenceNumbers::Short, TunnelOptions::default());
        Box::new(Outbound {
            sa,
            child: ChildId(child),
            priority: None,
            path: path("192.0.2.2:4500"),
            socket: 0,
            may_batch: true,
            watch: LimitWatch::new(Limits::default()),
            usage: Arc::default(),
            sequence_told: SequenceTold::Nothing,
        })
    }

    fn inbound(child: u64) -> Box<Inbound> {
        let (_, sa) = ends(Suite::ChaCha20Poly1305, SequenceNumbers::Short, TunnelOptions::default());
        Box::new(Inbound {
            sa,
            child: ChildId(child),
            remote: path("192.0.2.2:4500").remote,
            told: None,
            tells_first: false,
            watch: LimitWatch::new(Limits::default()),
            usage: Arc::default(),
        })
    }

    fn flow() -> Flow {
        Flow {
            source: "10.1.0.1".parse().expect("address"),
            destination: "10.2.0.1".parse().expect("address"),
            protocol: Some(6),
            ports: Some((1, 2)),
        }
    }

    #[test]
    fn a_rekeyed_child_takes_over_and_places_are_used_again() {
        let mut tables = Tables::default();
        let current = |tables: &mut Tables| match tables.outbound(&flow()) {
            Way::Sa(outbound) => Some(outbound.child.0),
            Way::Policy(_) | Way::None => None,
        };
        assert_eq!(current(&mut tables), None);
        tables.add_outbound(outbound(1));
        tables.add_outbound(outbound(2));
        assert_eq!(current(&mut tables), Some(2));
        tables.remove(ChildId(1));
        assert_eq!(current(&mut tables), Some(2));
        tables.add_outbound(outbound(3));
        assert_eq!(current(&mut tables), Some(3));
        assert_eq!(tables.outbound.len(), 2);
        tables.remove(ChildId(3));
        tables.remove(ChildId(2));
        assert_eq!(current(&mut tables), None);
        assert!(tables.spd.is_empty() && tables.children.is_empty());
    }

    #[test]
    fn both_directions_move_and_go_together() {
        let mut tables = Tables::default();
        tables.add_inbound(inbound(1));
        tables.add_outbound(outbound(1));
        let spi = Spi(0xc001_d00d);
        tables.inbound(spi).expect("added").told = Some(path("198.51.100.1:9").remote);
        let new = path("198.51.100.1:9");
        tables.update_path(ChildId(1), new, 7);
        assert_eq!(
            tables.inbound(spi).map(|inbound| (inbound.remote, inbound.told)),
            Some((new.remote, None))
        );
        let moved =
            matches!(tables.outbound(&flow()), Way::Sa(moved) if moved.path == new && moved.socket == 7);
        assert!(moved);
        tables.update_path(ChildId(2), path("203.0.113.1:9"), 0);
        tables.remove(ChildId(1));
        assert!(tables.inbound(spi).is_none() && matches!(tables.outbound(&flow()), Way::None));
    }

    /// What `policies` of the flow's selectors make of it.
    fn fate(tables: &mut Tables) -> &'static str {
        match tables.outbound(&flow()) {
            Way::Sa(_) => "sent",
            Way::Policy(Policy { action: PolicyAction::Trap, .. }) => "trapped",
            Way::Policy(_) => "dropped",
            Way::None => "unknown",
        }
    }

    #[test]
    fn an_sa_goes_before_a_trap_and_a_trap_before_what_is_dropped() {
        let everything = |prefix| Selectors { local: vec![net(prefix)], remote: vec![net(prefix)] };
        let mut tables = Tables::default();
        assert_eq!(fate(&mut tables), "unknown");
        // The narrowest is the least of them, and yet it comes last.
        tables.add_policy(Box::new(Policy::new(PolicyId(1), everything("10.0.0.0/8"), PolicyAction::Drop)));
        assert_eq!(fate(&mut tables), "dropped");
        tables.add_policy(Box::new(Policy::new(PolicyId(2), everything("10.0.0.0/7"), PolicyAction::Trap)));
        assert_eq!(fate(&mut tables), "trapped");
        tables.add_outbound(outbound(1));
        assert_eq!(fate(&mut tables), "sent");
        tables.add_policy(Box::new(Policy::new(PolicyId(2), everything("10.0.0.0/7"), PolicyAction::Trap)));
        assert_eq!(fate(&mut tables), "sent", "a trap that is installed again is no newer SA");
        tables.remove(ChildId(1));
        assert_eq!(fate(&mut tables), "trapped", "the trap stays");
        tables.remove_policy(PolicyId(2));
        assert_eq!(fate(&mut tables), "dropped");
        tables.remove_policy(PolicyId(1));
        tables.remove_policy(PolicyId(1));
        assert!(tables.spd.is_empty() && tables.policies.is_empty());
    }
}
