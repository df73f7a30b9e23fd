//! All pools together.

use std::net::IpAddr;

use super::{Attribute, Pool, PoolError};
use crate::identity::Identity;
use crate::selector::Family;

/// All pools, by name, in the order of loading.
#[derive(Default)]
pub struct Pools {
    pools: Vec<Pool>,
}

/// An address that an identity has been given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// The pool it is from.
    pub pool: String,
    /// The address.
    pub address: IpAddr,
    /// It was nobody's before, or another's.
    pub is_new: bool,
}

impl Pools {
    /// Adds a pool, or puts it in the place of the one of the same name. With the same addresses the leases
    /// stay and the attributes change.
    ///
    /// # Errors
    /// If the addresses are others and some of the old ones are in use; then nothing changes.
    pub fn load(&mut self, pool: Pool) -> Result<(), PoolError> {
        let Some(old) = self.pools.iter_mut().find(|old| old.name == pool.name) else {
            self.pools.push(pool);
            return Ok(());
        };
        if old.addresses == pool.addresses {
            old.attributes = pool.attributes;
            return Ok(());
        }
        not_in_use(old)?;
        let old = std::mem::replace(old, pool);
        // Who had one of the addresses that are still there has it again.
        for lease in old.leases() {
            self.restore(&old.name, lease.identity, lease.address);
        }
        Ok(())
    }

    /// Removes a pool and forgets who had its addresses.
    ///
    /// # Errors
    /// If there is none of that name, or addresses of it are in use.
    pub fn unload(&mut self, name: &str) -> Result<(), PoolError> {
        let position = self
            .pools
            .iter()
            .position(|pool| pool.name == name)
            .ok_or_else(|| PoolError::Unknown { pool: name.to_owned() })?;
        self.pools.get(position).map_or(Ok(()), not_in_use)?;
        self.pools.remove(position);
        Ok(())
    }

    /// Puts these pools in the place of all there are, each as [`Self::load`] does. Returns how many are gone.
    ///
    /// # Errors
    /// If one that is gone, or has other addresses, is in use; then nothing changes.
    pub fn replace_all(&mut self, new: Vec<Pool>) -> Result<usize, PoolError> {
        let stays = |old: &Pool| new.iter().any(|new| new.name == old.name && new.addresses == old.addresses);
        self.pools.iter().filter(|old| !stays(old)).try_for_each(not_in_use)?;
        let before = self.pools.len();
        self.pools.retain(|old| new.iter().any(|new| new.name == old.name));
        let gone = before - self.pools.len();
        new.into_iter().try_for_each(|pool| self.load(pool))?;
        Ok(gone)
    }

    /// An address for `identity` from the pools of these names; names of none are passed over. An address it
    /// had in any of them comes before a new one from the first, and that before one that another had.
    ///
    /// One that asks for an address it uses already has it twice ([`Pool::acquire`]).
    ///
    /// `requested` tells the family, and the address if it is not the unspecified one (`0.0.0.0`, `::`).
    pub fn acquire(
        &mut self,
        names: &[impl AsRef<str>],
        identity: &Identity,
        requested: IpAddr,
    ) -> Option<Acquired> {
        let family = Family::of(requested);
        let wanted = Some(requested).filter(|address| !address.is_unspecified());
        let had = |(pool, address)| Acquired { pool, address, is_new: false };
        let new = |(pool, address)| Acquired { pool, address, is_new: true };
        self.first_of(names, family, |pool| pool.share(identity, wanted))
            .map(had)
            .or_else(|| self.first_of(names, family, |pool| pool.resume(identity, wanted)).map(had))
            .or_else(|| self.first_of(names, family, |pool| pool.assign(identity, wanted)).map(new))
            .or_else(|| self.first_of(names, family, |pool| pool.take_over(identity)).map(new))
    }

    /// An identity had an address of a pool before, as somebody has kept. It gets it again as if it had given it back just
    /// now. False if the pool has no such address, or it is somebody's already.
    pub fn restore(&mut self, name: &str, identity: &Identity, address: IpAddr) -> bool {
        let pool = self.pools.iter_mut().find(|pool| pool.name == name);
        pool.is_some_and(|pool| pool.restore(identity, address))
    }

    /// Ends the use of an address. False if it was in use in no pool.
    pub fn release(&mut self, address: IpAddr) -> bool {
        self.pools.iter_mut().any(|pool| pool.release(address))
    }

    fn first_of(
        &mut self,
        names: &[impl AsRef<str>],
        family: Family,
        mut attempt: impl FnMut(&mut Pool) -> Option<IpAddr>,
    ) -> Option<(String, IpAddr)> {
        names.iter().find_map(|name| {
            let pool = self.pools.iter_mut().find(|pool| pool.name == name.as_ref())?;
            let address = if pool.family() == family { attempt(pool)? } else { return None };
            Some((pool.name.clone(), address))
        })
    }

    /// What a client with these addresses is told: the attributes of those of the pools that an address is
    /// from.
    #[must_use]
    pub fn attributes(&self, names: &[impl AsRef<str>], addresses: &[IpAddr]) -> Vec<Attribute> {
        names
            .iter()
            .filter_map(|name| self.pool(name.as_ref()))
            .filter(|pool| addresses.iter().any(|address| pool.contains(*address)))
            .flat_map(|pool| pool.attributes.iter().cloned())
            .collect()
    }

    /// The pool of that name.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// A pool of another name that has an address in common with `pool`. Such an address may be leased twice:
    /// worth a warning, though not an error, as a pool that is renamed is loaded before the old one goes.
    #[must_use]
    pub fn overlapping(&self, pool: &Pool) -> Option<&Pool> {
        self.pools.iter().find(|other| other.name != pool.name && other.addresses.overlaps(&pool.addresses))
    }

    /// All pools.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter()
    }
}

fn not_in_use(pool: &Pool) -> Result<(), PoolError> {
    match pool.online() {
        0 => Ok(()),
        online => Err(PoolError::Online { pool: pool.name.clone(), online }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_attribute;
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

    fn pools(list: &[(&str, &str)]) -> Pools {
        let mut pools = Pools::default();
        for (name, addrs) in list {
            pools.load(Pool::parse(name, addrs).unwrap()).unwrap();
        }
        pools
    }

    fn acquire(pools: &mut Pools, names: &[&str], identity: &Identity, requested: IpAddr) -> Option<IpAddr> {
        pools.acquire(names, identity, requested).map(|acquired| acquired.address)
    }

    fn who(name: &str) -> Identity {
        Identity::parse(name).unwrap()
    }

    fn addr(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn pools_are_tried_in_order_and_by_family() {
        let mut pools = pools(&[("v6", "fec0::/120"), ("small", "10.1.0.1/32"), ("large", "10.2.0.0/24")]);
        let names = ["dhcp", "small", "large", "v6"];
        assert_eq!(acquire(&mut pools, &names, &who("alice"), V4), addr("10.1.0.1"));
        assert_eq!(acquire(&mut pools, &names, &who("bob"), V4), addr("10.2.0.1"));
        assert_eq!(acquire(&mut pools, &names, &who("bob"), V6), addr("fec0::1"));
        assert_eq!(acquire(&mut pools, &["small"], &who("carol"), V4), None);
        assert_eq!(acquire(&mut pools, &["nothing"], &who("carol"), V4), None);
        // Requested, from the second pool.
        assert_eq!(acquire(&mut pools, &["large"], &who("carol"), [10, 2, 0, 9].into()), addr("10.2.0.9"));
    }

    #[test]
    fn an_old_address_comes_before_a_new_one_and_that_before_anothers() {
        let mut pools = pools(&[("a", "10.1.0.1-10.1.0.2"), ("b", "10.2.0.1-10.2.0.2")]);
        let names = ["a", "b"];
        assert_eq!(acquire(&mut pools, &["b"], &who("alice"), V4), addr("10.2.0.1"));
        assert!(pools.release("10.2.0.1".parse().unwrap()));
        assert_eq!(acquire(&mut pools, &names, &who("alice"), V4), addr("10.2.0.1"));
        assert_eq!(acquire(&mut pools, &names, &who("bob"), V4), addr("10.1.0.1"));
        assert!(pools.release("10.1.0.1".parse().unwrap()));
        assert_eq!(acquire(&mut pools, &names, &who("carol"), V4), addr("10.1.0.2"));
        assert_eq!(acquire(&mut pools, &names, &who("dave"), V4), addr("10.2.0.2"));
        assert_eq!(acquire(&mut pools, &names, &who("eve"), V4), addr("10.1.0.1"));
        assert_eq!(acquire(&mut pools, &names, &who("bob"), V4), None);
        assert!(!pools.release("10.9.0.1".parse().unwrap()));
    }

    #[test]
    fn a_pool_with_the_same_addresses_keeps_its_leases() {
        let mut pools = pools(&[("a", "10.1.0.0/24")]);
        let address = acquire(&mut pools, &["a"], &who("alice"), V4).unwrap();
        let dns = parse_attribute("dns", "192.0.2.53").unwrap();
        let same = Pool::parse("a", "10.1.0.1-10.1.0.254").unwrap().with_attributes(vec![dns.clone()]);
        pools.load(same).unwrap();
        assert_eq!(pools.pool("a").unwrap().online(), 1);
        assert_eq!(pools.attributes(&["a"], &[address]), [dns]);
        assert_eq!(pools.attributes(&["a"], &["10.9.9.9".parse().unwrap()]), []);
        assert_eq!(pools.attributes(&["b"], &[address]), []);
    }

    #[test]
    fn a_pool_in_use_neither_changes_nor_goes() {
        let mut pools = pools(&[("a", "10.1.0.0/24")]);
        let address = acquire(&mut pools, &["a"], &who("alice"), V4).unwrap();
        let in_use = PoolError::Online { pool: "a".into(), online: 1 };
        assert_eq!(pools.load(Pool::parse("a", "10.2.0.0/24").unwrap()), Err(in_use.clone()));
        assert_eq!(pools.unload("a"), Err(in_use));
        assert_eq!(pools.pool("a").unwrap().base(), "10.1.0.1".parse::<IpAddr>().unwrap());
        pools.release(address);
        pools.load(Pool::parse("a", "10.2.0.0/24").unwrap()).unwrap();
        assert_eq!(pools.iter().map(Pool::size).collect::<Vec<_>>(), [254]);
        pools.unload("a").unwrap();
        let unknown = pools.unload("a").unwrap_err();
        assert_eq!(unknown.to_string(), "there is no pool 'a'");
    }

    #[test]
    fn what_was_kept_is_had_again() {
        let mut pools = pools(&[("a", "10.1.0.1-10.1.0.3")]);
        let address = |host| IpAddr::from([10, 1, 0, host]);
        assert!(pools.restore("a", &who("alice"), address(2)));
        assert!(!pools.restore("a", &who("bob"), address(2)), "it is alice's");
        assert!(!pools.restore("a", &who("bob"), address(4)), "there is none");
        assert!(!pools.restore("b", &who("bob"), address(1)), "there is none");
        let first = pools.acquire(&["a"], &who("bob"), V4).unwrap();
        assert_eq!(first, Acquired { pool: "a".into(), address: address(1), is_new: true });
        let again = pools.acquire(&["a"], &who("alice"), V4).unwrap();
        assert_eq!(again, Acquired { pool: "a".into(), address: address(2), is_new: false });

        // Other addresses for the pool: who had one that is still there keeps it.
        assert!([1, 2].map(|host| pools.release(address(host))).iter().all(|had| *had));
        pools.load(Pool::parse("a", "10.1.0.2-10.1.0.9").unwrap()).unwrap();
        assert!(!pools.acquire(&["a"], &who("alice"), V4).unwrap().is_new);
        assert!(pools.acquire(&["a"], &who("bob"), V4).unwrap().is_new);
    }

    #[test]
    fn overlaps_are_seen() {
        let pools = pools(&[("a", "10.1.0.0/24")]);
        let within = Pool::parse("b", "10.1.0.7/32").unwrap();
        assert_eq!(pools.overlapping(&within).map(Pool::name), Some("a"));
        assert!(pools.overlapping(&Pool::parse("a", "10.1.0.7/32").unwrap()).is_none());
        assert!(pools.overlapping(&Pool::parse("b", "10.2.0.0/24").unwrap()).is_none());
    }
}
