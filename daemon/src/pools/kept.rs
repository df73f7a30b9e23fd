//! Leases on disk: which identity had which address, so that a restart does not change it.
//!
//! A thread of its own owns the database and writes what has gathered while it wrote the last, in one transaction. Who
//! leases an address waits for that before the client is told of it, so that not even `kill -9` makes two clients share
//! one. That an address is in use is not kept: after a restart none is.
//!
//! Without the file, leases are in memory as they always are. A file that cannot be read is set aside and told of, never
//! fatal: addresses are handed out anew, which is what charon does at every start.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use ferry_ike::identity::Identity;
use ferry_ike::wire::registry::IdType;
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use tokio::sync::oneshot;

/// Pool and address.
type Key = (&'static str, &'static [u8]);

/// Type and octets of the identity, and when it last had the address, in seconds since 1970.
type Holder = (u8, &'static [u8], u64);

const LEASES: TableDefinition<'_, Key, Holder> = TableDefinition::new("leases");

/// Changes that are written in one transaction.
const BATCH: usize = 4096;

/// A lease as it was kept.
pub(super) struct KeptLease {
    pub(super) address: IpAddr,
    pub(super) identity: Identity,
    since: u64,
}

/// Leases are kept here. Dropping it ends the thread, once everything is written.
pub(super) struct Keeper {
    orders: Sender<Order>,
}

enum Order {
    Keep { pool: String, address: IpAddr, identity: Identity, at: u64, written: Option<oneshot::Sender<()>> },
    Forget { pool: String, address: IpAddr },
    ForgetPool(String),
}

/// Why a file cannot be used.
enum Unusable {
    /// Another process has it.
    Busy,
    /// It is no database, or a damaged one.
    Broken(String),
    /// It cannot be opened or made.
    Denied(String),
}

impl Keeper {
    /// Opens the file, or makes it. Returns what it has, by pool, the longest unused first; `None` if it cannot be had,
    /// for which the reason is logged.
    pub(super) fn open(path: &Path) -> Option<(Self, HashMap<String, Vec<KeptLease>>)> {
        let opened = open(path).or_else(|unusable| match unusable {
            Unusable::Broken(why) => {
                let aside = set_aside(path).map_err(Unusable::Denied)?;
                tracing::error!(
                    target: "cfg",
                    "the leases in {} cannot be read: {why}; the file is now {}, and leases begin anew",
                    path.display(), aside.display()
                );
                open(path)
            }
            other => Err(other),
        });
        match opened {
            Ok((database, leases)) => {
                let (orders, to_write) = channel();
                let thread = std::thread::Builder::new().name("leases".to_owned());
                let path = path.to_owned();
                let thread = thread.spawn(move || write_all(&database, &to_write, &path));
                if let Err(error) = thread {
                    tracing::error!(target: "cfg", "leases are not kept: no thread for them: {error}");
                    return None;
                }
                Some((Self { orders }, leases))
            }
            Err(unusable) => {
                let why = match unusable {
                    Unusable::Busy => "another process has it open".to_owned(),
                    Unusable::Broken(why) | Unusable::Denied(why) => why,
                };
                tracing::error!(target: "cfg", "leases are not kept, ferryd.leases = {}: {why}", path.display());
                None
            }
        }
    }

    /// An identity has an address. What is returned ends when that is written.
    pub(super) fn keep(&self, pool: &str, address: IpAddr, identity: &Identity) -> oneshot::Receiver<()> {
        let (written, is_written) = oneshot::channel();
        self.order(pool, address, identity, Some(written));
        is_written
    }

    /// An identity had an address until now. Nobody waits for that to be written.
    pub(super) fn touch(&self, pool: &str, address: IpAddr, identity: &Identity) {
        self.order(pool, address, identity, None);
    }

    /// An address is nobody's.
    pub(super) fn forget(&self, pool: &str, address: IpAddr) {
        let _ended = self.orders.send(Order::Forget { pool: pool.to_owned(), address });
    }

    /// A pool is gone.
    pub(super) fn forget_pool(&self, pool: &str) {
        let _ended = self.orders.send(Order::ForgetPool(pool.to_owned()));
    }

    fn order(&self, pool: &str, address: IpAddr, identity: &Identity, written: Option<oneshot::Sender<()>>) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (pool, identity) = (pool.to_owned(), identity.clone());
        // If the thread has ended nobody waits in vain: the sender is dropped.
        let _ended = self.orders.send(Order::Keep { pool, address, identity, at, written });
    }
}

/// Opens a database and reads it.
fn open(path: &Path) -> Result<(Database, HashMap<String, Vec<KeptLease>>), Unusable> {
    let denied = |error: std::io::Error| Unusable::Denied(error.to_string());
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(denied)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(denied)?;
    // What is on a disk may be anything, and the database trusts it in places.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let unusable = |error| match error {
            DatabaseError::DatabaseAlreadyOpen => Unusable::Busy,
            other => Unusable::Broken(other.to_string()),
        };
        let backend = FileBackend::new(file).map_err(unusable)?;
        let database = Builder::new().create_with_backend(backend).map_err(unusable)?;
        let leases = read(&database).map_err(|error| Unusable::Broken(error.to_string()))?;
        Ok((database, leases))
    }));
    read.unwrap_or_else(|_| Err(Unusable::Broken("it is damaged".to_owned())))
}

fn read(database: &Database) -> Result<HashMap<String, Vec<KeptLease>>, redb::Error> {
    let mut leases: HashMap<String, Vec<KeptLease>> = HashMap::new();
    let table = match database.begin_read()?.open_table(LEASES) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(leases),
        table => table?,
    };
    for entry in table.iter()? {
        let (key, value) = entry?;
        let ((pool, address), (id_type, data, since)) = (key.value(), value.value());
        let Some(address) = address_of(address) else { continue };
        let identity = Identity { id_type: IdType(id_type), data: data.to_vec() };
        leases.entry(pool.to_owned()).or_default().push(KeptLease { address, identity, since });
    }
    leases.values_mut().for_each(|of_pool| of_pool.sort_by_key(|lease| lease.since));
    Ok(leases)
}

/// Renames a file that cannot be used.
fn set_aside(path: &Path) -> Result<PathBuf, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".broken-{now}"));
    fs::rename(path, &aside).map_err(|error| format!("it is damaged, and cannot be set aside: {error}"))?;
    Ok(aside.into())
}

/// Writes until there is nobody left to order it.
fn write_all(database: &Database, orders: &Receiver<Order>, path: &Path) {
    let mut is_failing = false;
    while let Ok(first) = orders.recv() {
        let mut batch = vec![first];
        batch.extend(orders.try_iter().take(BATCH));
        match write(database, &batch) {
            Ok(()) => is_failing = false,
            Err(error) if !is_failing => {
                is_failing = true; // once is enough, until it works again
                tracing::error!(target: "cfg", "leases cannot be written to {}: {error}", path.display());
            }
            Err(_again) => {}
        }
        for order in batch {
            if let Order::Keep { written: Some(written), .. } = order {
                let _gone = written.send(()); // a client is not refused for a full disk
            }
        }
    }
}

fn write(database: &Database, orders: &[Order]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(LEASES)?;
        for order in orders {
            match order {
                Order::Keep { pool, address, identity, at, .. } => {
                    let value = (identity.id_type.0, identity.data.as_slice(), *at);
                    table.insert((pool.as_str(), octets(*address).as_slice()), value)?;
                }
                Order::Forget { pool, address } => {
                    table.remove((pool.as_str(), octets(*address).as_slice()))?;
                }
                Order::ForgetPool(pool) => {
                    table.retain(|(of, _), _| of != pool.as_str())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_of(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => octets.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 => octets.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Identity {
        Identity::parse(name).unwrap()
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn had(leases: &HashMap<String, Vec<KeptLease>>, pool: &str) -> Vec<String> {
        let of_pool = leases.get(pool).into_iter().flatten();
        of_pool.map(|lease| format!("{} {}", lease.address, lease.identity)).collect()
    }

    #[test]
    fn what_is_kept_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/for/it/leases.redb");
        let (keeper, leases) = Keeper::open(&path).unwrap();
        assert!(leases.is_empty());
        keeper.keep("a", addr("10.0.0.1"), &who("alice")).blocking_recv().unwrap();
        keeper.touch("a", addr("10.0.0.2"), &who("bob"));
        keeper.touch("b", addr("fec0::1"), &who("C=CH, CN=carol"));
        keeper.keep("b", addr("10.0.0.1"), &who("dave")).blocking_recv().unwrap();
        assert!(Keeper::open(&path).is_none(), "it is in use");

        // As after `kill -9`: what was said to be written is, though nothing was closed.
        let copy = directory.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        let (_, leases) = Keeper::open(&copy).unwrap();
        assert_eq!(had(&leases, "a"), ["10.0.0.1 alice", "10.0.0.2 bob"]);
        assert_eq!(had(&leases, "b"), ["10.0.0.1 dave", "fec0::1 C=CH, CN=carol"]);

        keeper.forget_pool("b");
        keeper.forget("a", addr("10.0.0.2"));
        keeper.keep("a", addr("10.0.0.1"), &who("eve")).blocking_recv().unwrap();
        let copy = directory.path().join("another copy"); // the first may still be open
        fs::copy(&path, &copy).unwrap();
        let (_, leases) = Keeper::open(&copy).unwrap();
        assert_eq!(had(&leases, "a"), ["10.0.0.1 eve"]);
        assert!(!leases.contains_key("b"));
    }

    #[test]
    fn what_is_damaged_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leases.redb");
        let (keeper, _) = Keeper::open(&path).unwrap();
        keeper.keep("a", addr("10.0.0.1"), &who("alice")).blocking_recv().unwrap();
        let good = fs::read(&path).unwrap();
        let of_text = b"this is no database".to_vec();
        let mut scribbled = good.clone();
        scribbled.iter_mut().skip(64).for_each(|octet| *octet ^= 0x5a);
        let cut = good[..good.len() / 3].to_vec();
        for (what, octets) in [("text", of_text), ("scribbled", scribbled), ("cut", cut)] {
            let path = directory.path().join(what);
            fs::write(&path, &octets).unwrap();
            let (keeper, leases) = Keeper::open(&path).unwrap();
            assert!(leases.is_empty(), "{what}");
            keeper.keep("a", addr("10.0.0.9"), &who("bob")).blocking_recv().unwrap();
            let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let broken = format!("{what}.broken-");
            assert!(names.into_iter().any(|name| name.to_str().unwrap().starts_with(&broken)), "{what}");
        }
    }
}
