//! Virtual IPs for clients (RFC 7296 §2.19): pools of addresses, who has which, and what else clients are
//! told.
//!
//! An address stays its client's after it is gone, and goes to somebody else only when no other is left. So
//! clients come back to the address they had, as long as there are more addresses than clients.

mod addresses;
mod attribute;
mod pools;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::identity::Identity;
use crate::selector::Family;
use addresses::Addresses;
pub use attribute::{Attribute, parse_attribute};
pub use pools::{Acquired, Pools};

/// Why a pool cannot be had, replaced or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The text is no range of addresses.
    #[error("pool '{pool}': addrs '{addrs}': expected {expected}")]
    Addresses {
        /// The pool.
        pool: String,
        /// The text.
        addrs: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// Other addresses cannot take the place of those in use.
    #[error("pool '{pool}': {online} addresses are in use, so its addresses can neither change nor go")]
    Online {
        /// The pool.
        pool: String,
        /// How many are in use.
        online: usize,
    },
    /// There is no pool of that name.
    #[error("there is no pool '{pool}'")]
    Unknown {
        /// The name.
        pool: String,
    },
    /// The name is neither an attribute's nor a number.
    #[error(
        "unknown attribute '{name}': expected address, dns, nbns, dhcp, netmask, server, subnet, p_cscf, split_include, split_exclude or a number of 1 to 32767"
    )]
    UnknownAttribute {
        /// The name.
        name: String,
    },
    /// The attribute cannot have this value.
    #[error("attribute {name} = '{text}': expected {expected}")]
    AttributeValue {
        /// The attribute.
        name: String,
        /// The text of the value.
        text: String,
        /// What would have been right.
        expected: &'static str,
    },
}

/// One lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease<'a> {
    /// The address.
    pub address: IpAddr,
    /// Whose it is, or was last.
    pub identity: &'a Identity,
    /// True while it is in use.
    pub is_online: bool,
}

/// A range of addresses and who has which. Its memory grows with the leases, not with the range.
pub struct Pool {
    name: String,
    addresses: Addresses,
    attributes: Vec<Attribute>,
    ledger: Ledger,
}

impl Pool {
    /// A pool of the addresses in `addrs`: a prefix or `from-to`, or several of these with commas between them, which are
    /// used one after the other.
    ///
    /// Of a prefix with more than two addresses the first and the last are left out, and those below the
    /// address given, if it is not the first: `10.3.0.100/24` begins at 10.3.0.100. At most 2^31 addresses of
    /// a prefix are used.
    ///
    /// # Errors
    /// If the text is something else, or no address is left.
    pub fn parse(name: &str, addrs: &str) -> Result<Self, PoolError> {
        let addresses = addrs.parse().map_err(|expected| PoolError::Addresses {
            pool: name.to_owned(),
            addrs: addrs.to_owned(),
            expected,
        })?;
        Ok(Self { name: name.to_owned(), addresses, attributes: Vec::new(), ledger: Ledger::default() })
    }

    /// The pool with these attributes for its clients.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Vec<Attribute>) -> Self {
        self.attributes = attributes;
        self
    }

    /// An address for `identity`: one it had and does not use now, or a new one, or one that another had.
    /// `requested` is what the client asks for, if anything; it gets it, if it was its own or nobody's.
    ///
    /// A client that asks for an address it uses already has it twice, and gives it back twice: it authenticates again,
    /// and the old IKE SA stays until the new one stands.
    ///
    /// `None` if all addresses are in use.
    pub fn acquire(&mut self, identity: &Identity, requested: Option<IpAddr>) -> Option<IpAddr> {
        self.share(identity, requested)
            .or_else(|| self.resume(identity, requested))
            .or_else(|| self.assign(identity, requested))
            .or_else(|| self.take_over(identity))
    }

    /// An identity had an address before. False if that is none of these, or somebody's.
    pub fn restore(&mut self, identity: &Identity, address: IpAddr) -> bool {
        self.addresses.position(address).is_some_and(|position| self.ledger.restore(identity, position))
    }

    /// The address that the identity asks for and uses already.
    fn share(&mut self, identity: &Identity, requested: Option<IpAddr>) -> Option<IpAddr> {
        let position = self.addresses.position(requested?)?;
        if identity.is_null() {
            return None; // RFC 7619 §2.5: another who proves nothing must not have the traffic of this one
        }
        self.ledger.share(identity, position).and_then(|position| self.addresses.at(position))
    }

    /// Ends the use of an address. It stays its client's until somebody needs it. False if it was not in use.
    pub fn release(&mut self, address: IpAddr) -> bool {
        self.addresses.position(address).is_some_and(|position| self.ledger.release(position))
    }

    /// An address the identity had.
    fn resume(&mut self, identity: &Identity, requested: Option<IpAddr>) -> Option<IpAddr> {
        let requested = requested.and_then(|address| self.addresses.position(address));
        self.ledger.resume(identity, requested).and_then(|position| self.addresses.at(position))
    }

    /// An address nobody had.
    fn assign(&mut self, identity: &Identity, requested: Option<IpAddr>) -> Option<IpAddr> {
        let requested = requested.and_then(|address| self.addresses.position(address));
        let position = self.ledger.assign(identity, requested, self.addresses.size())?;
        self.addresses.at(position)
    }

    /// The address that has been unused longest.
    fn take_over(&mut self, identity: &Identity) -> Option<IpAddr> {
        self.ledger.take_over(identity).and_then(|position| self.addresses.at(position))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What clients with an address of this pool are told beside the address.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The first address that can be leased.
    #[must_use]
    pub const fn base(&self) -> IpAddr {
        self.addresses.first()
    }

    /// The number of addresses that can be leased.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.addresses.size()
    }

    /// The family of the addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.addresses.first())
    }

    /// True if the address is one of this pool's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.addresses.position(address).is_some()
    }

    /// Leases in use.
    #[must_use]
    pub fn online(&self) -> usize {
        self.ledger.leases.len() - self.ledger.offline.len()
    }

    /// Leases that are kept for their identities.
    #[must_use]
    pub fn offline(&self) -> usize {
        self.ledger.offline.len()
    }

    /// All leases, in the order of addresses.
    pub fn leases(&self) -> impl Iterator<Item = Lease<'_>> {
        self.ledger.leases.iter().filter_map(|(position, entry)| {
            Some(Lease {
                address: self.addresses.at(*position)?,
                identity: &entry.identity,
                is_online: entry.offline_since.is_none(),
            })
        })
    }
}

/// Who has which address; addresses are positions in the range.
#[derive(Default)]
struct Ledger {
    leases: BTreeMap<u32, Entry>,
    by_identity: HashMap<Identity, Vec<u32>>,
    /// Leases not in use, by the count of releases when their use ended: the longest unused is first.
    offline: BTreeMap<u64, u32>,
    releases: u64,
    /// All positions below are leased.
    fresh: u32,
}

struct Entry {
    identity: Identity,
    /// How many have it at once.
    holders: u32,
    offline_since: Option<u64>,
}

impl Ledger {
    fn share(&mut self, identity: &Identity, position: u32) -> Option<u32> {
        let entry = self.leases.get_mut(&position)?;
        let is_its_own = entry.identity == *identity && entry.offline_since.is_none();
        is_its_own.then(|| entry.holders = entry.holders.saturating_add(1))?;
        Some(position)
    }

    fn resume(&mut self, identity: &Identity, requested: Option<u32>) -> Option<u32> {
        let had = self.by_identity.get(identity)?;
        let is_offline =
            |position: &u32| self.leases.get(position).is_some_and(|entry| entry.offline_since.is_some());
        let position = requested
            .filter(|position| had.contains(position) && is_offline(position))
            .or_else(|| had.iter().copied().find(is_offline))?;
        let entry = self.leases.get_mut(&position)?;
        entry.holders = 1;
        let since = entry.offline_since.take()?;
        self.offline.remove(&since);
        Some(position)
    }

    fn assign(&mut self, identity: &Identity, requested: Option<u32>, size: u32) -> Option<u32> {
        let wanted = requested.filter(|position| !self.leases.contains_key(position));
        let position = if let Some(wanted) = wanted {
            wanted
        } else {
            // A client that asked for its address by name may have left a hole above `fresh`.
            while self.leases.contains_key(&self.fresh) {
                self.fresh += 1;
            }
            Some(self.fresh).filter(|fresh| *fresh < size)?
        };
        self.insert(position, identity);
        Some(position)
    }

    fn take_over(&mut self, identity: &Identity) -> Option<u32> {
        let (_, position) = self.offline.pop_first()?;
        if let Some(entry) = self.leases.remove(&position)
            && let Some(had) = self.by_identity.get_mut(&entry.identity)
        {
            had.retain(|other| *other != position);
            if had.is_empty() {
                self.by_identity.remove(&entry.identity);
            }
        }
        self.insert(position, identity);
        Some(position)
    }

    fn restore(&mut self, identity: &Identity, position: u32) -> bool {
        if self.leases.contains_key(&position) {
            return false;
        }
        self.insert(position, identity);
        self.release(position)
    }

    fn insert(&mut self, position: u32, identity: &Identity) {
        self.leases.insert(position, Entry { identity: identity.clone(), holders: 1, offline_since: None });
        self.by_identity.entry(identity.clone()).or_default().push(position);
    }

    fn release(&mut self, position: u32) -> bool {
        let Some(entry) = self.leases.get_mut(&position).filter(|entry| entry.offline_since.is_none()) else {
            return false;
        };
        entry.holders = entry.holders.saturating_sub(1);
        if entry.holders > 0 {
            return true;
        }
        entry.offline_since = Some(self.releases);
        self.offline.insert(self.releases, position);
        self.releases += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(addrs: &str) -> Pool {
        Pool::parse("clients", addrs).unwrap()
    }

    fn who(name: &str) -> Identity {
        Identity::parse(name).unwrap()
    }

    fn addr(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_client_comes_back_to_its_address() {
        let mut pool = pool("10.3.0.0/24");
        assert_eq!(pool.acquire(&who("alice"), None), addr("10.3.0.1"));
        assert_eq!(pool.acquire(&who("bob"), None), addr("10.3.0.2"));
        assert!(pool.release("10.3.0.1".parse().unwrap()));
        assert_eq!(pool.acquire(&who("carol"), None), addr("10.3.0.3"));
        assert_eq!(pool.acquire(&who("alice"), None), addr("10.3.0.1"));
        assert_eq!((pool.online(), pool.offline()), (3, 0));
    }

    #[test]
    fn one_identity_may_have_several_addresses_at_once() {
        let mut pool = pool("10.3.0.0/24");
        let alice = who("alice");
        let first = pool.acquire(&alice, None).unwrap();
        let second = pool.acquire(&alice, None).unwrap();
        assert_ne!(first, second);
        pool.release(first);
        pool.release(second);
        // It gets the one it asks for.
        assert_eq!(pool.acquire(&alice, Some(second)), Some(second));
        assert_eq!(pool.acquire(&alice, None), Some(first));
    }

    #[test]
    fn who_proves_nothing_has_no_address_together_with_another() {
        let mut pool = pool("10.3.0.0/24");
        let address = pool.acquire(&Identity::null(), None).unwrap();
        let other = pool.acquire(&Identity::null(), Some(address)).unwrap();
        assert_ne!(address, other);
        assert!(pool.release(address));
        assert_eq!(pool.acquire(&Identity::null(), Some(address)), Some(address));
    }

    /// It authenticates again, and the old IKE SA is there until the new one stands.
    #[test]
    fn who_asks_for_its_own_address_has_it_twice() {
        let mut pool = pool("10.3.0.0/24");
        let alice = who("alice");
        let address = pool.acquire(&alice, None).unwrap();
        assert_eq!(pool.acquire(&alice, Some(address)), Some(address));
        assert_ne!(pool.acquire(&who("bob"), Some(address)), Some(address));
        assert!(pool.release(address));
        assert_eq!((pool.online(), pool.offline()), (2, 0));
        assert!(pool.release(address));
        assert_eq!((pool.online(), pool.offline()), (1, 1));
        assert!(!pool.release(address));
        // What was shared once is no longer.
        assert_eq!(pool.acquire(&alice, None), Some(address));
        assert!(pool.release(address));
        assert_eq!(pool.online(), 1);
    }

    #[test]
    fn a_request_is_granted_if_the_address_is_free() {
        let mut pool = pool("10.3.0.0/29");
        assert_eq!(pool.acquire(&who("alice"), addr("10.3.0.2")), addr("10.3.0.2"));
        assert_eq!(pool.acquire(&who("bob"), addr("10.3.0.2")), addr("10.3.0.1"));
        assert_eq!(pool.acquire(&who("carol"), addr("192.0.2.1")), addr("10.3.0.3"));
        assert_eq!(pool.acquire(&who("dave"), addr("10.3.0.7")), addr("10.3.0.4"));
        // Not if it is kept for another, while others are free.
        pool.release("10.3.0.2".parse().unwrap());
        assert_eq!(pool.acquire(&who("eve"), addr("10.3.0.2")), addr("10.3.0.5"));
    }

    #[test]
    fn when_nothing_is_left_the_longest_unused_address_goes() {
        let mut pool = pool("10.3.0.1-10.3.0.3");
        for name in ["alice", "bob", "carol"] {
            pool.acquire(&who(name), None).unwrap();
        }
        assert_eq!(pool.acquire(&who("dave"), None), None);
        pool.release("10.3.0.2".parse().unwrap());
        pool.release("10.3.0.1".parse().unwrap());
        assert_eq!((pool.online(), pool.offline()), (1, 2));
        assert_eq!(pool.acquire(&who("dave"), None), addr("10.3.0.2"));
        // Bob's is gone; alice's is not, until he takes it.
        assert_eq!(pool.acquire(&who("bob"), None), addr("10.3.0.1"));
        assert_eq!(pool.acquire(&who("alice"), None), None);
        let leases: Vec<String> = pool
            .leases()
            .map(|lease| format!("{} {} {}", lease.address, lease.identity, lease.is_online))
            .collect();
        assert_eq!(leases, ["10.3.0.1 bob true", "10.3.0.2 dave true", "10.3.0.3 carol true"]);
    }

    #[test]
    fn only_what_is_in_use_can_be_released() {
        let mut pool = pool("10.3.0.0/24");
        let address = pool.acquire(&who("alice"), None).unwrap();
        assert!(!pool.release("10.3.0.9".parse().unwrap()));
        assert!(!pool.release("10.4.0.1".parse().unwrap()));
        assert!(pool.release(address));
        assert!(!pool.release(address));
    }

    #[test]
    fn a_large_pool_costs_no_more_than_its_leases() {
        let mut pool = pool("2001:db8::/32");
        assert_eq!(pool.size(), (1 << 31) - 2);
        assert_eq!(pool.acquire(&who("alice"), None), addr("2001:db8::1"));
        assert_eq!(pool.acquire(&who("bob"), addr("2001:db8::7fff:fffe")), addr("2001:db8::7fff:fffe"));
        assert_eq!(pool.leases().count(), 2);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Acquire(u8, Option<u8>),
        Release(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..6, proptest::option::of(0u8..12)).prop_map(|(who, host)| Step::Acquire(who, host)),
            (0u8..12).prop_map(Step::Release),
        ]
    }

    proptest! {
        #[test]
        fn no_address_has_two_users(steps in proptest::collection::vec(step(), 0..60)) {
            let host = |host: u8| IpAddr::from([10, 3, 0, host]);
            let mut pool = pool("10.3.0.1-10.3.0.8");
            let mut used: std::collections::BTreeMap<IpAddr, (String, u32)> = Default::default();
            for step in steps {
                match step {
                    Step::Acquire(number, wanted) => {
                        let name = format!("user{number}");
                        let got = pool.acquire(&who(&name), wanted.map(host));
                        let shared = wanted.map(host).filter(|address| used.get(address).is_some_and(|u| u.0 == name));
                        prop_assert_eq!(got.is_none(), used.len() == 8 && shared.is_none());
                        if let Some(address) = got {
                            prop_assert!(pool.contains(address));
                            prop_assert!(shared == Some(address) || !used.contains_key(&address));
                            used.entry(address).or_insert((name, 0)).1 += 1;
                        }
                    }
                    Step::Release(number) => {
                        let was_used = used.get_mut(&host(number)).map(|(_, holders)| *holders -= 1).is_some();
                        used.retain(|_, (_, holders)| *holders > 0);
                        prop_assert_eq!(pool.release(host(number)), was_used);
                    }
                }
                prop_assert_eq!(pool.online(), used.len());
                let online: std::collections::BTreeMap<_, _> = pool
                    .leases()
                    .filter(|lease| lease.is_online)
                    .map(|lease| (lease.address, lease.identity.to_string()))
                    .collect();
                let users: std::collections::BTreeMap<_, _> =
                    used.iter().map(|(address, (name, _))| (*address, name.clone())).collect();
                prop_assert_eq!(online, users);
                prop_assert!(pool.online() + pool.offline() <= 8);
            }
        }
    }
}
