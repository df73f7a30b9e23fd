//! The kernel's policies, and who is behind them.
//!
//! The kernel has one policy for a selector and a direction; CHILD_SAs, their predecessors, traps and shunts may want the
//! same one. All of them are written down, and the best stands: there is no moment without one while anybody wants it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferry_ike::output::{ChildSaId, Path};
use ferry_xfrm::{
    Error, Meaning, Mode, Policy, PolicyDirection, PolicyEntry, PolicyId as Id, Purpose, Selector, Spd,
    Template, priority,
};
use tracing::{debug, warn};

use super::super::PolicyId;
use super::labels::Numbers;

/// Who wants a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A CHILD_SA.
    Child(ChildSaId),
    /// A trap or a shunt.
    Policy(PolicyId),
}

/// What its packets go through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protection {
    pub(super) mode: Mode,
    pub(super) reqid: u32,
    /// The outer addresses.
    pub(super) path: Path,
    pub(super) numbers: Numbers,
    pub(super) placing: Placing,
}

/// Where policies stand among others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Placing {
    /// Their priority, if it does not follow from what they are about.
    pub(super) priority: Option<u32>,
    /// The interface that packets leave by; 0 for any. Where they come in says nothing: what was opened seems to come by
    /// where it was sealed.
    pub(super) interface: u32,
}

impl Placing {
    /// The priority of policies for what leaves so, and for what comes.
    fn priority(self, selector: &Selector, purpose: Purpose) -> u32 {
        self.priority.unwrap_or_else(|| priority(selector, purpose))
    }
}

/// The uppermost bits of the numbers of our policies: by them one that an earlier run has left is known. The kernel, which
/// counts from 1, does not get there.
const OURS: u32 = 0xfe << TOLD_APART;

/// The bits below, by which our policies are told apart.
const TOLD_APART: u32 = Policy::NUMBER_BITS - 8;

/// Whether a policy is one of ours, of this run or an earlier one.
pub(super) fn is_ours(entry: &PolicyEntry) -> bool {
    entry.number() >> TOLD_APART == OURS >> TOLD_APART
}

/// All policies of ours.
pub(super) struct Policies {
    spd: Spd,
    places: HashMap<Id, Place>,
    owned: HashMap<Owner, Vec<Id>>,
    last: u64,
    last_number: u32,
}

/// One policy in the kernel, and all that would stand there.
#[derive(Default)]
struct Place {
    installed: Option<Policy>,
    claims: Vec<Claim>,
}

struct Claim {
    owner: Owner,
    policy: Policy,
    /// Of equals the last stands.
    order: u64,
}

impl Place {
    fn best(&self) -> Option<&Claim> {
        self.claims.iter().min_by_key(|claim| (claim.policy.priority, Reverse(claim.order)))
    }
}

impl Policies {
    pub(super) fn new(spd: Spd) -> Self {
        Self { spd, places: HashMap::new(), owned: HashMap::new(), last: 0, last_number: 0 }
    }

    /// Wants these policies, and none else any more.
    pub(super) async fn claim(&mut self, owner: Owner, policies: Vec<Policy>) -> Result<(), Error> {
        let before = self.owned.remove(&owner).unwrap_or_default();
        self.last += 1;
        let order = self.last;
        let ids: Vec<Id> = policies.iter().map(|policy| policy.id).collect();
        self.owned.insert(owner, [before.as_slice(), &ids].concat());
        for policy in policies {
            let id = policy.id;
            let place = self.places.entry(id).or_default();
            place.claims.retain(|claim| claim.owner != owner);
            place.claims.push(Claim { owner, policy, order });
            if let Err(error) = self.settle(id).await {
                self.release(owner).await;
                return Err(error);
            }
        }
        for id in before.into_iter().filter(|id| !ids.contains(id)) {
            self.withdraw(owner, id).await;
        }
        self.owned.insert(owner, ids);
        Ok(())
    }

    /// Goes before those who want the same.
    pub(super) async fn bring_forward(&mut self, owner: Owner) -> Result<(), Error> {
        self.last += 1;
        for id in self.owned.get(&owner).cloned().unwrap_or_default() {
            let claims =
                self.places.get_mut(&id).map(|place| place.claims.as_mut_slice()).unwrap_or_default();
            claims.iter_mut().filter(|claim| claim.owner == owner).for_each(|claim| claim.order = self.last);
            self.settle(id).await?;
        }
        Ok(())
    }

    /// Wants nothing any more.
    pub(super) async fn release(&mut self, owner: Owner) {
        for id in self.owned.remove(&owner).unwrap_or_default() {
            self.withdraw(owner, id).await;
        }
    }

    /// Puts back what somebody else has removed. Gives how many there were.
    pub(super) async fn restore(&mut self) -> usize {
        let mut restored = 0;
        for policy in self.places.values().filter_map(|place| place.installed.as_ref()) {
            match self.spd.install(&numbered(policy, &mut self.last_number)).await {
                Ok(()) => restored += 1,
                Err(error) if error.meaning() == Some(Meaning::AlreadyThere) => {}
                Err(error) => warn!(target: "knl", "{error}"),
            }
        }
        restored
    }

    /// Removes them all.
    pub(super) async fn clear(&mut self) {
        for owner in self.owned.keys().copied().collect::<Vec<_>>() {
            self.release(owner).await;
        }
    }

    async fn withdraw(&mut self, owner: Owner, id: Id) {
        let Some(place) = self.places.get_mut(&id) else { return };
        place.claims.retain(|claim| claim.owner != owner);
        if let Err(error) = self.settle(id).await {
            warn!(target: "knl", "{error}");
        }
        if self.places.get(&id).is_some_and(|place| place.claims.is_empty()) {
            self.places.remove(&id);
        }
    }

    /// Has the best of a place stand there.
    async fn settle(&mut self, id: Id) -> Result<(), Error> {
        let Some(place) = self.places.get_mut(&id) else { return Ok(()) };
        let best = place.best().map(|claim| claim.policy.clone());
        match (&place.installed, &best) {
            (None, None) => {}
            (Some(installed), Some(best)) if installed == best => {}
            (Some(_), Some(best)) => self.spd.replace(best).await?,
            (None, Some(best)) => match self.spd.install(&numbered(best, &mut self.last_number)).await {
                Err(error) if error.meaning() == Some(Meaning::AlreadyThere) => {
                    warn!(target: "knl", "replacing the {id} policy that was there before, whoever's it was");
                    self.spd.replace(&numbered(best, &mut self.last_number)).await?;
                }
                result => result?,
            },
            (Some(_), None) => match self.spd.remove(&id).await {
                Err(error) if error.meaning() == Some(Meaning::NotThere) => {
                    debug!(target: "knl", "the {id} policy is gone already");
                }
                result => result?,
            },
        }
        place.installed = best;
        Ok(())
    }
}

/// The policy with a number of ours. Should that be taken, the kernel gives it another.
fn numbered(policy: &Policy, last: &mut u32) -> Policy {
    *last = last.wrapping_add(1);
    Policy { number: Some(OURS | (*last & ((1 << TOLD_APART) - 1))), ..policy.clone() }
}

/// The policies for what an SA, or a trap, protects: `outbound` has the selectors of packets to the peer.
pub(super) fn protecting(
    outbound: &[Selector],
    purpose: Purpose,
    with: Protection,
) -> Result<Vec<Policy>, String> {
    let Protection { mode, reqid, path, numbers, placing } = with;
    let ends = |selector: &Selector| {
        if mode != Mode::TRANSPORT {
            return (path.local.ip(), path.remote.ip());
        }
        // The packets' own.
        let any: IpAddr = match selector.source().address() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        (any, any)
    };
    let template = |from, to| Template::new(from, to, mode, reqid).map_err(|error| error.to_string());
    // What an SA in transport mode brings is for us.
    let inward: &[PolicyDirection] = match mode {
        Mode::TRANSPORT => &[PolicyDirection::In],
        _ => &[PolicyDirection::In, PolicyDirection::Forward],
    };
    let mut policies = Vec::new();
    for selector in outbound {
        let (local, remote) = ends(selector);
        let (there, back) = (template(local, remote)?, template(remote, local)?);
        let outward = selector.with_interface(placing.interface);
        let priority = placing.priority(&outward, purpose);
        policies.push(Policy::protect(id(outward, PolicyDirection::Out, &numbers), priority, there));
        let priority = placing.priority(selector, purpose);
        let inward = inward.iter().map(|direction| id(selector.reversed(), *direction, &numbers));
        policies.extend(inward.map(|id| Policy::protect(id, priority, back)));
    }
    Ok(policies)
}

/// The policies for what passes, or is dropped, in both directions.
pub(super) fn shunting(
    outbound: &[Selector],
    purpose: Purpose,
    numbers: &Numbers,
    placing: Placing,
) -> Vec<Policy> {
    use PolicyDirection::{Forward, In, Out};
    let mut policies: Vec<Policy> = Vec::new();
    for selector in outbound {
        let back = selector.reversed();
        // What is forwarded to the peer is asked about twice. To let it pass there must be leave both times; to drop it
        // there must be none the second time, when what protects it would go before.
        let outward = (purpose == Purpose::Pass).then_some((*selector, Forward));
        let all = [(selector.with_interface(placing.interface), Out), (back, In), (back, Forward)]
            .into_iter()
            .chain(outward);
        for (selector, direction) in all {
            let id = id(selector, direction, numbers);
            if policies.iter().any(|policy| policy.id == id) {
                continue; // where both sides are the same
            }
            let priority = placing.priority(&selector, purpose);
            policies.push(match purpose {
                Purpose::Drop => Policy::drop(id, priority),
                Purpose::Pass | Purpose::Protect | Purpose::Trap => Policy::pass(id, priority),
            });
        }
    }
    policies
}

fn id(selector: Selector, direction: PolicyDirection, numbers: &Numbers) -> Id {
    let (mark, interface_id) = match direction {
        PolicyDirection::Out => (numbers.mark_out, numbers.interface_out),
        PolicyDirection::In | PolicyDirection::Forward => (numbers.mark_in, numbers.interface_in),
    };
    Id { mark, interface_id, ..Id::new(selector, direction) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(source: &str, destination: &str) -> Selector {
        Selector::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap()
    }

    fn shown(policies: &[Policy]) -> Vec<String> {
        policies.iter().map(|policy| format!("{} prio {}", policy.id, policy.priority)).collect()
    }

    #[test]
    fn a_tunnel_has_policies_for_what_comes_and_goes_and_is_forwarded() {
        let path = Path { local: "192.0.2.1:500".parse().unwrap(), remote: "192.0.2.2:500".parse().unwrap() };
        let nets = selector("10.1.0.0/16", "10.2.0.0/16");
        let with = Protection {
            mode: Mode::TUNNEL,
            reqid: 7,
            path,
            numbers: Numbers::default(),
            placing: Placing::default(),
        };
        let policies = protecting(&[nets], Purpose::Protect, with).unwrap();
        let expected = [
            "out 10.1.0.0/16 -> 10.2.0.0/16 prio 383615",
            "in 10.2.0.0/16 -> 10.1.0.0/16 prio 383615",
            "fwd 10.2.0.0/16 -> 10.1.0.0/16 prio 383615",
        ];
        assert_eq!(shown(&policies), expected);
        let outer = |policy: &Policy| policy.templates.iter().next().map(|t| (t.source(), t.reqid)).unwrap();
        assert_eq!(outer(&policies[0]), (path.local.ip(), 7));
        assert_eq!(outer(&policies[1]), (path.remote.ip(), 7));
        let transport = Protection { mode: Mode::TRANSPORT, ..with };
        let policies = protecting(&[nets], Purpose::Trap, transport).unwrap();
        assert_eq!(shown(&policies)[1..], ["in 10.2.0.0/16 -> 10.1.0.0/16 prio 383616"]);
        assert!(outer(&policies[0]).0.is_unspecified());
        let placing = Placing { priority: Some(1000), interface: 3 };
        let policies = protecting(&[nets], Purpose::Protect, Protection { placing, ..with }).unwrap();
        let expected = [
            "out 10.1.0.0/16 -> 10.2.0.0/16 dev 3 prio 1000",
            "in 10.2.0.0/16 -> 10.1.0.0/16 prio 1000",
            "fwd 10.2.0.0/16 -> 10.1.0.0/16 prio 1000",
        ];
        assert_eq!(shown(&policies), expected);
    }

    #[test]
    fn a_shunt_is_for_both_directions_and_once_for_each() {
        let nets = selector("10.1.0.0/16", "10.2.0.0/16");
        assert_eq!(shunting(&[nets], Purpose::Pass, &Numbers::default(), Placing::default()).len(), 4);
        assert_eq!(shunting(&[nets], Purpose::Drop, &Numbers::default(), Placing::default()).len(), 3);
        let all = selector("0.0.0.0/0", "0.0.0.0/0");
        let expected = [
            "out 0.0.0.0/0 -> 0.0.0.0/0 prio 599999",
            "in 0.0.0.0/0 -> 0.0.0.0/0 prio 599999",
            "fwd 0.0.0.0/0 -> 0.0.0.0/0 prio 599999",
        ];
        assert_eq!(
            shown(&shunting(&[all], Purpose::Drop, &Numbers::default(), Placing::default())),
            expected
        );
    }

    #[test]
    fn ours_are_known_by_their_numbers() {
        let policy = Policy::pass(Id::new(selector("10.1.0.0/16", "10.2.0.0/16"), PolicyDirection::Out), 7);
        let entry = |number: u32| PolicyEntry {
            policy: policy.clone(),
            index: number << 3 | 1,
            usage: ferry_xfrm::sa::Usage::default(),
        };
        for mut last in [0, 41, u32::MAX] {
            assert!(numbered(&policy, &mut last).number.is_some_and(|number| is_ours(&entry(number))));
        }
        assert!(!is_ours(&entry(1)) && !is_ours(&entry(0x00ff_ffff)));
    }

    #[test]
    fn the_best_claim_stands_and_of_equals_the_last() {
        let id = Id::new(selector("10.1.0.0/16", "10.2.0.0/16"), PolicyDirection::Out);
        let claim = |owner, priority, order| Claim {
            owner: Owner::Child(ChildSaId(owner)),
            policy: Policy::pass(id, priority),
            order,
        };
        let claims = vec![claim(1, 5, 4), claim(2, 4, 3), claim(3, 4, 2)];
        let mut place = Place { installed: None, claims };
        let mut order = Vec::new();
        while let Some(best) = place.best() {
            let owner = best.owner;
            order.push(owner);
            place.claims.retain(|claim| claim.owner != owner);
        }
        assert_eq!(order, [2, 3, 1].map(|owner| Owner::Child(ChildSaId(owner))));
    }
}
