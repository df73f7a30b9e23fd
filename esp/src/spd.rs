//! The security policy database (RFC 4301 §4.4.1), its outbound half: which SA carries a packet.
//!
//! Policies are looked at in the order of their priority, and of equal ones the older first. A policy holds every SA
//! that was installed for it; the newest is used, so that a rekeyed SA takes over the moment it is added and hands
//! back when it is removed.
//!
//! Policies for one remote host, of which a gateway has as many as road warriors, are found by that host's address;
//! only the others are searched one by one.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::inner::Flow;
use crate::selector::SelectorPair;

/// Outbound policies. `T` is whatever the owner calls an SA.
pub struct Spd<T> {
    /// Policies whose remote side is one address.
    by_host: HashMap<IpAddr, Vec<Policy<T>>>,
    /// All others.
    general: Vec<Policy<T>>,
    /// Policies ever added; orders those of one priority.
    added: u64,
}

struct Policy<T> {
    pair: SelectorPair,
    rank: Rank,
    /// Oldest first; never empty.
    targets: Vec<T>,
}

/// Lower comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: u32,
    age: u64,
}

impl<T: Copy + PartialEq> Spd<T> {
    /// An empty database: nothing may be sent.
    pub fn new() -> Self {
        Self { by_host: HashMap::new(), general: Vec::new(), added: 0 }
    }

    /// Sends what matches `pair` through `target` from now on. `priority` replaces the one that comes with how
    /// narrow the selectors are ([`SelectorPair::priority`]).
    pub fn insert(&mut self, pair: SelectorPair, priority: Option<u32>, target: T) {
        let priority = priority.unwrap_or_else(|| pair.priority());
        let policies = match pair.remote.addresses.as_host() {
            Some(host) => self.by_host.entry(host).or_default(),
            None => &mut self.general,
        };
        if let Some(policy) = policies.iter_mut().find(|p| p.pair == pair && p.rank.priority == priority) {
            policy.targets.push(target);
            return;
        }
        let rank = Rank { priority, age: self.added };
        self.added += 1;
        let at = policies.partition_point(|policy| policy.rank < rank);
        policies.insert(at, Policy { pair, rank, targets: vec![target] });
    }

    /// Takes `target` out of the policies of `pair`; a policy without a target is gone.
    pub fn remove(&mut self, pair: &SelectorPair, target: T) {
        let strike = |policies: &mut Vec<Policy<T>>| {
            for policy in policies.iter_mut().filter(|policy| policy.pair == *pair) {
                policy.targets.retain(|other| *other != target);
            }
            policies.retain(|policy| !policy.targets.is_empty());
        };
        match pair.remote.addresses.as_host() {
            Some(host) => {
                if let Some(policies) = self.by_host.get_mut(&host) {
                    strike(policies);
                    if policies.is_empty() {
                        self.by_host.remove(&host);
                    }
                }
            }
            None => strike(&mut self.general),
        }
    }

    /// The SA that carries a packet; `None` means that it must not be sent.
    #[inline]
    pub fn find(&self, flow: &Flow) -> Option<T> {
        let matches = |policy: &&Policy<T>| policy.pair.matches_outbound(flow);
        let of_host = self.by_host.get(&flow.destination).and_then(|policies| policies.iter().find(matches));
        let before = |policy: &&Policy<T>| of_host.is_none_or(|of_host| policy.rank < of_host.rank);
        let of_all = self.general.iter().take_while(before).find(matches);
        of_all.or(of_host).and_then(|policy| policy.targets.last().copied())
    }

    /// Number of policies.
    pub fn len(&self) -> usize {
        self.general.len() + self.by_host.values().map(Vec::len).sum::<usize>()
    }

    /// True if there is no policy.
    pub fn is_empty(&self) -> bool {
        self.general.is_empty() && self.by_host.is_empty()
    }
}

impl<T: Copy + PartialEq> Default for Spd<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::selector::{Ports, Selector};
    use crate::testing::net;

    fn pair(local: &str, remote: &str) -> SelectorPair {
        SelectorPair { local: net(local), remote: net(remote) }
    }

    fn flow(source: &str, destination: &str) -> Flow {
        Flow {
            source: source.parse().expect("address"),
            destination: destination.parse().expect("address"),
            protocol: Some(17),
            ports: Some((1000, 53)),
        }
    }

    #[test]
    fn what_matches_nothing_is_not_sent() {
        let mut spd = Spd::new();
        assert_eq!(spd.find(&flow("10.0.0.1", "10.1.0.1")), None);
        spd.insert(pair("10.0.0.0/24", "10.1.0.0/16"), None, 'a');
        assert_eq!(spd.find(&flow("10.0.0.1", "10.1.0.1")), Some('a'));
        assert_eq!(spd.find(&flow("10.0.1.1", "10.1.0.1")), None);
        assert_eq!(spd.find(&flow("10.0.0.1", "10.2.0.1")), None);
    }

    #[test]
    fn narrower_policies_come_first_in_whatever_order_they_were_added() {
        let policies = [("0.0.0.0/0", 'a'), ("10.1.0.0/16", 'b'), ("10.1.2.0/24", 'c'), ("10.1.2.3/32", 'd')];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut spd = Spd::new();
            for (remote, name) in order.map(|at| policies[at]) {
                spd.insert(pair("10.0.0.0/24", remote), None, name);
            }
            for (to, name) in [("192.0.2.1", 'a'), ("10.1.3.1", 'b'), ("10.1.2.1", 'c'), ("10.1.2.3", 'd')] {
                assert_eq!(spd.find(&flow("10.0.0.1", to)), Some(name));
            }
        }
    }

    #[test]
    fn a_given_priority_goes_before_a_host() {
        let mut spd = Spd::new();
        spd.insert(pair("10.0.0.0/24", "10.1.2.3/32"), None, 'h');
        spd.insert(pair("10.0.0.0/24", "10.1.0.0/16"), Some(1), 'n');
        assert_eq!(spd.find(&flow("10.0.0.1", "10.1.2.3")), Some('n'));
    }

    #[test]
    fn protocols_and_ports_narrow_too() {
        let mut spd = Spd::new();
        let dns = Selector { protocol: Some(17), ports: Ports::Range(53, 53), ..net("10.1.0.0/16") };
        spd.insert(pair("10.0.0.0/24", "10.1.0.0/16"), None, 'a');
        spd.insert(SelectorPair { local: net("10.0.0.0/24"), remote: dns }, None, 'd');
        assert_eq!(spd.find(&flow("10.0.0.1", "10.1.0.1")), Some('d'));
        let other = Flow { ports: Some((1000, 54)), ..flow("10.0.0.1", "10.1.0.1") };
        assert_eq!(spd.find(&other), Some('a'));
    }

    #[test]
    fn the_newest_sa_is_used_and_hands_back() {
        for remote in ["10.1.0.0/16", "10.1.0.1/32"] {
            let mut spd = Spd::new();
            let pair = pair("10.0.0.0/24", remote);
            let found = |spd: &Spd<char>| spd.find(&flow("10.0.0.1", "10.1.0.1"));
            spd.insert(pair, None, 'a');
            spd.insert(pair, None, 'b');
            assert_eq!((found(&spd), spd.len()), (Some('b'), 1));
            spd.remove(&pair, 'b');
            assert_eq!(found(&spd), Some('a'));
            spd.insert(pair, None, 'c');
            spd.remove(&pair, 'a');
            assert_eq!(found(&spd), Some('c'));
            spd.remove(&pair, 'c');
            assert_eq!(found(&spd), None);
            assert!(spd.is_empty());
        }
    }

    proptest! {
        /// The shortcut for hosts changes nothing: the answer is that of looking at all policies in order.
        #[test]
        fn the_search_agrees_with_a_list(
            policies in prop::collection::vec((0_u8..4, 28_u8..=32, prop::option::of(0_u32..3)), 1..30),
            to in 0_u8..16,
        ) {
            let mut spd = Spd::new();
            let mut list = Vec::new();
            for (name, (host, len, priority)) in policies.into_iter().enumerate() {
                let pair = pair("0.0.0.0/0", &format!("10.0.0.{host}/{len}"));
                spd.insert(pair, priority, name);
                list.push((priority.unwrap_or(pair.priority()), name, pair));
            }
            // The newest SA of a policy takes the place of the policy's oldest.
            let flow = flow("192.0.2.1", &format!("10.0.0.{to}"));
            let best = list.iter().filter(|(_, _, pair)| pair.matches_outbound(&flow)).min_by_key(|(p, name, _)| (*p, *name));
            let expected = best.and_then(|(priority, _, pair)| {
                list.iter().filter(|(p, _, other)| p == priority && other == pair).map(|(_, name, _)| *name).max()
            });
            prop_assert_eq!(spd.find(&flow), expected);
        }
    }
}
