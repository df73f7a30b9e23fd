//! Pools of virtual IPs: loaded over VICI, leased by shards, and [`kept`] on disk.

mod kept;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use ferry_ike::config::Lease;
use ferry_ike::identity::Identity;
use ferry_ike::lease::{Acquired, Attribute, Pool, PoolError, Pools, parse_attribute};
use ferry_vici::Section;
use tokio::sync::oneshot;

use self::kept::{Keeper, KeptLease};
use crate::connections::{ConfigError, Item, Items};

/// All pools and who has which address. A clone is the same thing.
#[derive(Clone, Default)]
pub(crate) struct Leases {
    pools: Arc<Mutex<Loaded>>,
    /// What every client with an address is told, whatever its pool.
    attributes: Arc<ArcSwap<Vec<Attribute>>>,
}

#[derive(Default)]
struct Loaded {
    pools: Pools,
    /// The first address of each pool as its configuration has it, which need not be one that is leased.
    bases: HashMap<String, String>,
    /// Where leases are kept, if they are.
    keeping: Keeping,
    /// What was kept of pools that have not been loaded since the start.
    kept: HashMap<String, Vec<KeptLease>>,
}

/// Whether leases are kept on disk.
#[derive(Default)]
enum Keeping {
    /// They are not.
    #[default]
    Nowhere,
    /// They will be in this file, once there is a pool.
    In(PathBuf),
    /// They are.
    By(Keeper),
}

/// Ends when leases are on disk. Whoever has been given one hears of it then.
#[derive(Default)]
pub(crate) struct Written(Vec<oneshot::Receiver<()>>);

impl Written {
    /// Whether there is nothing to wait for.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for it. Dropping the future changes nothing but that nobody waits.
    pub(crate) async fn wait(self) {
        for written in self.0 {
            let _or_cannot_be = written.await;
        }
    }
}

/// A pool as clients see it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PoolStatus {
    /// Its name.
    pub(crate) name: String,
    /// The address its configuration begins with.
    pub(crate) base: String,
    /// How many addresses can be leased.
    pub(crate) size: u32,
    /// Leases in use.
    pub(crate) online: usize,
    /// Leases kept for their identities.
    pub(crate) offline: usize,
    /// Address, identity, and whether it is in use; empty unless asked for.
    pub(crate) leases: Vec<(IpAddr, String, bool)>,
}

/// A pool that can be loaded.
pub(crate) struct NewPool {
    pool: Pool,
    /// The first address as its configuration has it.
    base: String,
}

impl NewPool {
    /// Reads what a pool is to be, and loads nothing.
    pub(crate) fn read(name: &str, section: &Section) -> Result<Self, ConfigError> {
        let path = format!("pools.{name}");
        let problem =
            |problem: &str| ConfigError::Problem { path: path.clone(), problem: problem.to_owned() };
        let (mut addrs, mut attributes) = (None, Vec::new());
        for item in Items::of(section, &path) {
            match item {
                Item::Value(key) if key.name == "addrs" && addrs.is_some() => {
                    return Err(problem("addrs is given twice"));
                }
                Item::Value(key) if key.name == "addrs" => {
                    let text = key.text()?;
                    let pool = Pool::parse(name, text).map_err(|error| key.invalid(error.to_string()))?;
                    addrs = Some((pool, base(text)));
                }
                Item::Value(key) => return Err(key.unknown()),
                Item::List(list) => {
                    let read =
                        |text: &str| parse_attribute(list.name, text).map_err(|error| error.to_string());
                    attributes.extend(list.read(read)?);
                }
                Item::Section(inner) => return Err(inner.unknown()),
            }
        }
        let (pool, base) = addrs.ok_or_else(|| problem("addrs is missing"))?;
        Ok(Self { pool: pool.with_attributes(attributes), base })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.pool.name()
    }
}

impl Leases {
    /// Leases are kept in this file, which is opened when there is a pool.
    pub(crate) fn kept_in(path: Option<PathBuf>) -> Self {
        let leases = Self::default();
        leases.lock().keeping = path.map_or(Keeping::Nowhere, Keeping::In);
        leases
    }

    /// What clients are told from now on, beside what their pool says.
    pub(crate) fn set_attributes(&self, attributes: Vec<Attribute>) {
        self.attributes.store(Arc::new(attributes));
    }

    /// Loads a pool or replaces the one of the same name. One whose addresses differ is only replaced while
    /// nobody uses them.
    pub(crate) fn load(&self, name: &str, section: &Section) -> Result<(), ConfigError> {
        let NewPool { pool, base } = NewPool::read(name, section)?;
        let mut loaded = self.lock();
        let problem = |error: PoolError| ConfigError::Problem {
            path: format!("pools.{name}"),
            problem: error.to_string(),
        };
        loaded.open();
        let before = loaded.leased();
        loaded.pools.load(pool).map_err(problem)?;
        loaded.bases.insert(name.to_owned(), base);
        loaded.settle(&before);
        Ok(())
    }

    /// Puts these pools in the place of all there are, or leaves all as it is if one cannot change or go because its
    /// addresses are in use. Returns how many are gone.
    pub(crate) fn replace_all(&self, new: Vec<NewPool>) -> Result<usize, String> {
        let mut loaded = self.lock();
        let new_is_empty = new.is_empty();
        let bases = new.iter().map(|new| (new.name().to_owned(), new.base.clone())).collect();
        let pools = new.into_iter().map(|new| new.pool).collect();
        if !new_is_empty {
            loaded.open();
        }
        let before = loaded.leased();
        let gone = loaded.pools.replace_all(pools).map_err(|error| error.to_string())?;
        loaded.bases = bases;
        loaded.settle(&before);
        Ok(gone)
    }

    /// Forgets a pool that nobody uses.
    pub(crate) fn unload(&self, name: &str) -> Result<(), String> {
        let mut loaded = self.lock();
        let before = loaded.leased();
        loaded.pools.unload(name).map_err(|error| error.to_string())?;
        loaded.bases.remove(name);
        loaded.settle(&before);
        Ok(())
    }

    /// All pools in load order, or the one of that name.
    pub(crate) fn list(&self, name: Option<&str>, with_leases: bool) -> Vec<PoolStatus> {
        let loaded = self.lock();
        let wanted = loaded.pools.iter().filter(|pool| name.is_none_or(|name| name == pool.name()));
        let status = |pool: &Pool| PoolStatus {
            name: pool.name().to_owned(),
            base: loaded.bases.get(pool.name()).cloned().unwrap_or_else(|| pool.base().to_string()),
            size: pool.size(),
            online: pool.online(),
            offline: pool.offline(),
            leases: if with_leases {
                pool.leases().map(|l| (l.address, l.identity.to_string(), l.is_online)).collect()
            } else {
                Vec::new()
            },
        };
        wanted.map(status).collect()
    }

    /// Leases addresses to an identity: at most one of each family that `requested` names, unspecified for
    /// any. What cannot be had is left out. The identity may hear of it when it is [`Written`].
    pub(crate) fn acquire(
        &self,
        pools: &[String],
        identity: &Identity,
        requested: &[IpAddr],
    ) -> (Lease, Written) {
        let mut loaded = self.lock();
        let (mut lease, mut written) = (Lease::default(), Written::default());
        for wanted in requested {
            if lease.addresses.iter().any(|address| address.is_ipv4() == wanted.is_ipv4()) {
                continue;
            }
            match loaded.pools.acquire(pools, identity, *wanted) {
                Some(Acquired { pool, address, is_new }) => {
                    tracing::info!(target: "cfg", "assigning virtual IP {address} to '{identity}'");
                    lease.addresses.push(address);
                    if is_new && let Keeping::By(keeper) = &loaded.keeping {
                        written.0.push(keeper.keep(&pool, address, identity));
                    }
                }
                None => tracing::info!(target: "cfg", "no virtual IP for {wanted} requested by '{identity}'"),
            }
        }
        if !lease.addresses.is_empty() {
            lease.attributes = loaded.pools.attributes(pools, &lease.addresses);
            lease.attributes.extend(self.attributes.load().iter().cloned());
        }
        (lease, written)
    }

    /// Takes addresses back. They stay their identity's until somebody needs them.
    pub(crate) fn release(&self, identity: &Identity, addresses: &[IpAddr]) {
        let mut loaded = self.lock();
        for address in addresses {
            if loaded.pools.release(*address) {
                tracing::info!(target: "cfg", "lease {address} by '{identity}' went offline");
                let pool = loaded.pools.iter().find(|pool| pool.contains(*address));
                if let (Some(pool), Keeping::By(keeper)) = (pool, &loaded.keeping) {
                    keeper.touch(pool.name(), *address, identity);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        // Every change to the pools is whole before anything can panic.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    /// Opens the file with leases, if there is to be one and it is not open yet.
    fn open(&mut self) {
        let Keeping::In(path) = &self.keeping else { return };
        (self.keeping, self.kept) = match Keeper::open(path) {
            Some((keeper, kept)) => (Keeping::By(keeper), kept),
            None => (Keeping::Nowhere, HashMap::new()),
        };
    }

    /// What is leased, by pool, where that is kept.
    fn leased(&self) -> Vec<(String, Vec<IpAddr>)> {
        if !matches!(self.keeping, Keeping::By(_)) {
            return Vec::new();
        }
        let of_pool =
            |pool: &Pool| (pool.name().to_owned(), pool.leases().map(|lease| lease.address).collect());
        self.pools.iter().map(of_pool).collect()
    }

    /// Pools have changed from what was leased `before`: those that are new get what was kept of them, and what is no
    /// longer leased is no longer kept.
    fn settle(&mut self, before: &[(String, Vec<IpAddr>)]) {
        let Self { pools, keeping: Keeping::By(keeper), kept, .. } = self else { return };
        for (name, addresses) in before {
            match pools.pool(name) {
                None => keeper.forget_pool(name),
                Some(pool) => {
                    let had: HashSet<IpAddr> = pool.leases().map(|lease| lease.address).collect();
                    let gone = addresses.iter().filter(|address| !had.contains(address));
                    gone.for_each(|address| keeper.forget(name, *address));
                }
            }
        }
        let names: Vec<String> = pools.iter().map(|pool| pool.name().to_owned()).collect();
        for name in names {
            let Some(of_pool) = kept.remove(&name) else { continue };
            let mut restored = 0;
            for KeptLease { address, identity, .. } in of_pool {
                if pools.restore(&name, &identity, address) {
                    restored += 1;
                } else {
                    keeper.forget(&name, address);
                }
            }
            tracing::info!(target: "cfg", "pool '{name}' has {restored} leases from before");
        }
    }
}

/// What `addrs` begins with.
fn base(addrs: &str) -> String {
    let end = addrs.find(['/', '-']).unwrap_or(addrs.len());
    let text = addrs.get(..end).unwrap_or_default().trim();
    text.parse().map_or_else(|_| text.to_owned(), |address: IpAddr| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(pools: &[(&str, &str)]) -> Leases {
        let leases = Leases::default();
        for (name, addrs) in pools {
            let section = Section::new().with("addrs", *addrs).with_list("dns", ["192.0.2.53"]);
            leases.load(name, &section).unwrap();
        }
        leases
    }

    fn acquire(leases: &Leases, pools: &[String], identity: &Identity, requested: &[IpAddr]) -> Lease {
        leases.acquire(pools, identity, requested).0
    }

    fn who(name: &str) -> Identity {
        Identity::parse(name).unwrap()
    }

    const ANY4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    const ANY6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

    #[test]
    fn pools_look_as_they_do_with_charon() {
        let addrs = ["10.77.0.0/24", "10.78.0.5/24", "10.79.0.10-10.79.0.20", "fd00:1::/120", "10.81.0.3/31"];
        let names = ["p1", "p2", "p3", "p4", "p5"];
        let pools: Vec<_> = names.iter().copied().zip(addrs).collect();
        let listed = leases(&pools).list(None, false);
        let seen: Vec<_> = listed.iter().map(|pool| (pool.base.as_str(), pool.size)).collect();
        let expected =
            [("10.77.0.0", 254), ("10.78.0.5", 250), ("10.79.0.10", 11), ("fd00:1::", 254), ("10.81.0.3", 1)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_address_goes_to_an_identity_and_comes_back_to_it() {
        let leases = leases(&[("v4", "10.0.0.0/29"), ("v6", "fd00::/120")]);
        leases.set_attributes(vec![parse_attribute("dns", "192.0.2.54").unwrap()]);
        let names = ["v4".to_owned(), "v6".to_owned()];
        let alice = acquire(&leases, &names, &who("alice"), &[ANY4, ANY6, ANY4]);
        assert_eq!(alice.addresses.len(), 2, "one of each family");
        assert_eq!(alice.attributes.len(), 3, "one of each pool, and one for all");
        let bob = acquire(&leases, &names, &who("bob"), &[ANY4]);
        assert_ne!(alice.addresses[0], bob.addresses[0]);
        leases.release(&who("alice"), &alice.addresses);
        assert_eq!(acquire(&leases, &names, &who("alice"), &[ANY4]).addresses, alice.addresses[..1]);
    }

    #[test]
    fn no_address_means_no_attributes() {
        let leases = leases(&[("v4", "10.0.0.0/29")]);
        leases.set_attributes(vec![parse_attribute("dns", "192.0.2.54").unwrap()]);
        assert_eq!(acquire(&leases, &["v4".to_owned()], &who("alice"), &[ANY6]), Lease::default());
        assert_eq!(acquire(&leases, &["other".to_owned()], &who("alice"), &[ANY4]), Lease::default());
    }

    #[test]
    fn leases_are_told_with_their_identities() {
        let leases = leases(&[("v4", "10.0.0.0/29")]);
        let address = acquire(&leases, &["v4".to_owned()], &who("alice"), &[ANY4]).addresses[0];
        acquire(&leases, &["v4".to_owned()], &who("bob"), &[ANY4]);
        leases.release(&who("alice"), &[address]);
        let listed = leases.list(Some("v4"), true);
        let expected = PoolStatus {
            name: "v4".to_owned(),
            base: "10.0.0.0".to_owned(),
            size: 6,
            online: 1,
            offline: 1,
            leases: vec![
                ("10.0.0.1".parse().unwrap(), "alice".to_owned(), false),
                ("10.0.0.2".parse().unwrap(), "bob".to_owned(), true),
            ],
        };
        assert_eq!(listed, [expected]);
        assert_eq!(leases.list(None, false)[0].leases, []);
        assert_eq!(leases.list(Some("v5"), true), []);
    }

    #[test]
    fn errors_name_the_key_by_its_full_path() {
        let leases = leases(&[]);
        let error = |section: Section| leases.load("v4", &section).unwrap_err().to_string();
        assert_eq!(error(Section::new()), "pools.v4: addrs is missing");
        assert_eq!(
            error(Section::new().with("addrs", "10.0.0.0/29").with("addrs", "10.0.0.0/28")),
            "pools.v4: addrs is given twice"
        );
        assert!(error(Section::new().with("addrs", "here")).starts_with("pools.v4.addrs = here: expected "));
        assert!(
            error(Section::new().with("addrs", "10.0.0.0/29").with_list("dns", ["x"]))
                .starts_with("pools.v4.dns = x: ")
        );
        assert_eq!(error(Section::new().with("adrs", "x")), "there is no key pools.v4.adrs");
    }

    #[test]
    fn a_pool_in_use_stays() {
        let leases = leases(&[("v4", "10.0.0.0/29")]);
        let lease = acquire(&leases, &["v4".to_owned()], &who("alice"), &[ANY4]);
        assert!(leases.unload("v4").is_err());
        assert!(leases.load("v4", &Section::new().with("addrs", "10.9.0.0/29")).is_err());
        leases.release(&who("alice"), &lease.addresses);
        leases.unload("v4").unwrap();
        assert!(leases.unload("v4").is_err());
    }

    #[test]
    fn a_restart_changes_no_address() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leases.redb");
        let section = |addrs: &str| Section::new().with("addrs", addrs);
        let names = ["v4".to_owned()];
        let first = Leases::kept_in(Some(path.clone()));
        assert!(!path.exists(), "it is not touched before there is a pool");
        first.load("v4", &section("10.0.0.0/29")).unwrap();
        let (alice, written) = first.acquire(&names, &who("alice"), &[ANY4]);
        written.0.into_iter().for_each(|written| written.blocking_recv().unwrap());
        let (_, written) = first.acquire(&names, &who("alice"), &alice.addresses);
        assert!(written.is_done(), "what is written needs no writing");
        acquire(&first, &names, &who("bob"), &[ANY4]);

        // As after `kill -9`, from which a copy of the file at that moment differs in nothing.
        let restarted = |text: &str| {
            let copy = directory.path().join(text.replace('/', "-"));
            std::fs::copy(&path, &copy).unwrap();
            let leases = Leases::kept_in(Some(copy));
            leases.load("v4", &section(text)).unwrap();
            leases
        };
        let second = restarted("10.0.0.0/29");
        assert_ne!(acquire(&second, &names, &who("carol"), &[ANY4]).addresses, alice.addresses);
        assert_eq!(acquire(&second, &names, &who("alice"), &[ANY4]).addresses, alice.addresses);
        // Addresses that are no longer in the pool are nobody's.
        drop(second);
        let third = restarted("10.9.0.0/29");
        assert_eq!(third.list(None, true)[0].leases, []);
    }
}
