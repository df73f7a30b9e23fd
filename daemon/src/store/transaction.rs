//! A whole configuration, loaded all at once or not at all.
//!
//! What is to be loaded is collected first, and nothing of it is seen by anybody. Then it takes the place of what is
//! loaded in one step: what is in it is there afterwards, and of connections, pools, authorities, keys and named secrets
//! nothing else. SAs of connections that are the same do not notice; what is changed is made anew before the old one goes
//! ([`super::replacing`]), and what is gone is closed.

use std::path::PathBuf;
use std::sync::Arc;

use ferry_ike::crypto::signature::{PrivateKey, PublicKey};
use ferry_ike::pki::{Certificate, RevocationList};

use super::authorities::key_id;
use super::credentials::add_secret;
use super::merge::{Kind, merge};
use super::replacing::Replacement;
use super::{Authority, Loaded, LoadedConnection, NewSecret, Store};
use crate::connections::Parsed;
use crate::control::Tunnels;
use crate::pools::{Leases, NewPool};

/// Something to load.
pub(crate) enum Change {
    /// Certificates of end entities and of authorities.
    Certificates(Vec<Certificate>),
    /// A public key without a certificate.
    PublicKey(PublicKey),
    /// What an authority has revoked.
    RevocationList(RevocationList),
    /// A private key.
    Key(PrivateKey),
    /// A shared secret.
    Secret(NewSecret),
    /// A certification authority.
    Authority(Authority),
    /// A pool of addresses.
    Pool(NewPool),
    /// A connection.
    Connection(Box<Parsed>),
}

impl Change {
    /// What clients are told of it beside that it can be loaded: the name of a private key.
    pub(crate) fn id(&self) -> Option<String> {
        match self {
            Self::Key(key) => Some(key_id(key.public())),
            Self::Certificates(_)
            | Self::PublicKey(_)
            | Self::RevocationList(_)
            | Self::Secret(_)
            | Self::Authority(_)
            | Self::Pool(_)
            | Self::Connection(_) => None,
        }
    }
}

/// What is to be loaded together.
#[derive(Default)]
pub(crate) struct Transaction {
    /// In order; of two of one name the later one counts.
    pub(crate) changes: Vec<Change>,
    /// Certificates, keys and secrets that are loaded are forgotten first, nameless ones too.
    pub(crate) clears: bool,
    /// The swanctl.conf that it comes from, which is read again when ferryd is told to reload.
    pub(crate) source: Option<PathBuf>,
    /// How many objects could not be read. With one that could not, the rest is not loaded either.
    pub(crate) failed: usize,
}

/// What a transaction has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Authorities that are gone.
    pub(crate) unloaded_authorities: usize,
    /// Pools that are gone.
    pub(crate) unloaded_pools: usize,
    /// Connections that are gone.
    pub(crate) unloaded_connections: usize,
    /// Connections that are new.
    pub(crate) added: usize,
    /// Connections that differ from what was loaded.
    pub(crate) changed: usize,
    /// Connections that are the same.
    pub(crate) unchanged: usize,
}

/// What a connection was, is, and how it came to be so.
type Merged = (Option<LoadedConnection>, LoadedConnection, Kind);

impl<T: Tunnels> Store<T> {
    /// Loads all of it, or nothing if anything is in the way. What follows for SAs is begun, not waited for.
    pub(crate) async fn commit(
        &self,
        transaction: Transaction,
        leases: &Leases,
    ) -> Result<Committed, String> {
        let Transaction { changes, clears, source, failed } = transaction;
        if failed > 0 {
            return Err(format!("{failed} of its objects cannot be loaded, so nothing is"));
        }
        let mut loaded = self.shared.loaded.lock().await;
        let mut next = loaded.clone();
        let Sorted { named, pools, connections, lists } = next.take(changes, clears);
        let unloaded_authorities = next.keychain.forget_all_but(&named.keys, &named.authorities);
        let (merged, gone) = next.set_connections(connections);
        // The last thing that can fail, and the first that is done.
        let unloaded_pools = leases.replace_all(pools)?;
        *loaded = next;
        if clears {
            self.shared.revocations.clear();
        }
        for list in lists {
            self.shared.revocations.load(list);
        }
        self.publish(&loaded).await;
        drop(loaded);
        let count = |kinds: &[Kind]| merged.iter().filter(|(.., kind)| kinds.contains(kind)).count();
        let committed = Committed {
            unloaded_authorities,
            unloaded_pools,
            unloaded_connections: gone.len(),
            added: count(&[Kind::Added]),
            changed: count(&[Kind::Updated, Kind::Replaced]),
            unchanged: count(&[Kind::Unchanged]),
        };
        let from = source.as_ref().map(|path| format!(" from {}", path.display())).unwrap_or_default();
        tracing::info!(
            target: "cfg",
            "loaded the configuration{from}: {} connections are new, {} changed, {} the same, {} gone",
            committed.added, committed.changed, committed.unchanged, committed.unloaded_connections
        );
        if let Some(path) = source {
            self.shared.source.store(Some(Arc::new(path)));
        }
        self.follow_up(merged, gone);
        Ok(committed)
    }

    /// The file that the configuration was loaded from last as a whole, if it was.
    pub(crate) fn source(&self) -> Option<Arc<PathBuf>> {
        self.shared.source.load_full()
    }

    fn follow_up(&self, merged: Vec<Merged>, gone: Vec<LoadedConnection>) {
        for (old, new, kind) in merged {
            let Some(replacement) = Replacement::of(old, new, kind) else { continue };
            let store = self.clone();
            tokio::spawn(async move { store.replace(replacement).await });
        }
        for connection in gone {
            tracing::info!(target: "cfg", "removed vici connection: {}", connection.name());
            let store = self.clone();
            tokio::spawn(async move { store.close(&connection).await });
        }
    }
}

/// What is to stay: names of authorities and fingerprints of keys.
#[derive(Default)]
struct Named {
    authorities: Vec<String>,
    keys: Vec<String>,
}

/// Changes by what they are about.
#[derive(Default)]
struct Sorted {
    named: Named,
    pools: Vec<NewPool>,
    connections: Vec<Parsed>,
    lists: Vec<RevocationList>,
}

impl Loaded {
    /// Takes credentials up, and gives back what else there is.
    fn take(&mut self, changes: Vec<Change>, clears: bool) -> Sorted {
        let mut sorted = Sorted::default();
        if clears {
            self.keychain.clear();
            self.secrets.clear();
        }
        // Secrets without a name are nobody's to forget.
        self.secrets.retain(|secret| secret.id.is_none());
        for change in changes {
            match change {
                Change::Certificates(certificates) => {
                    certificates
                        .into_iter()
                        .for_each(|certificate| self.keychain.add_certificate(certificate));
                }
                Change::PublicKey(key) => self.keychain.add_public_key(key),
                Change::RevocationList(list) => sorted.lists.push(list),
                Change::Key(key) => {
                    sorted.named.keys.push(key_id(key.public()));
                    self.keychain.add_key(key);
                }
                Change::Secret(secret) => add_secret(&mut self.secrets, secret),
                Change::Authority(authority) => {
                    sorted.named.authorities.push(authority.name.clone());
                    self.keychain.set_authority(authority);
                }
                Change::Pool(pool) => {
                    sorted.pools.retain(|other| other.name() != pool.name());
                    sorted.pools.push(pool);
                }
                Change::Connection(parsed) => {
                    sorted.connections.retain(|other| other.connection.name != parsed.connection.name);
                    sorted.connections.push(*parsed);
                }
            }
        }
        sorted
    }

    /// Puts these connections in the place of all others: those of known names stay where they are. Returns how each came
    /// to be, and those that are gone.
    fn set_connections(&mut self, connections: Vec<Parsed>) -> (Vec<Merged>, Vec<LoadedConnection>) {
        let mut merged: Vec<Merged> = Vec::with_capacity(connections.len());
        let mut old = std::mem::take(&mut self.connections);
        for mut parsed in connections {
            let place = old.iter().position(|old| old.name() == parsed.connection.name);
            let before = place.map(|at| old.remove(at));
            let kind = merge(before.as_ref().map(|old| &old.parsed.connection), &mut parsed.connection).kind;
            let resolved = match (&before, kind) {
                // The names of its hosts stay looked up.
                (Some(before), Kind::Unchanged) => Arc::clone(&before.resolved),
                _ => Arc::new(parsed.connection.clone()),
            };
            merged.push((before, LoadedConnection { parsed: Arc::new(parsed), resolved }, kind));
        }
        self.connections = merged.iter().map(|(_, new, _)| new.clone()).collect();
        (merged, old)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferry_ike::config::SecretKind;
    use ferry_vici::Section;

    use super::*;
    use crate::connections;
    use crate::control::tests::{Fake, Told, child_sa, ike_sa};
    use crate::store::tests::{DEFAULTS, connection, store};

    fn parsed(name: &str, section: &Section) -> Change {
        Change::Connection(Box::new(connections::parse(name, section, &DEFAULTS).unwrap()))
    }

    fn secret(name: &str) -> Change {
        let (id, octets) = (Some(name.to_owned()), b"secret".to_vec().into());
        Change::Secret(NewSecret { id, kind: SecretKind::Ike, owners: vec![], octets })
    }

    fn pool(addrs: &str) -> Change {
        Change::Pool(NewPool::read("clients", &Section::new().with("addrs", addrs)).unwrap())
    }

    async fn commit(store: &Store<Fake>, leases: &Leases, changes: Vec<Change>) -> Result<Committed, String> {
        store.commit(Transaction { changes, ..Transaction::default() }, leases).await
    }

    fn with_host(child: Section) -> Section {
        connection(&[("lan", child)]).with_list("remote_addrs", ["192.0.2.2"])
    }

    #[tokio::test]
    async fn a_transaction_is_the_whole_configuration() {
        let (store, fake) = store();
        let leases = Leases::default();
        let lan = connection(&[("lan", Section::new())]);
        let all = || vec![secret("one"), parsed("a", &lan), pool("10.0.0.0/24"), parsed("b", &lan)];
        let committed = commit(&store, &leases, all()).await.unwrap();
        assert_eq!(committed, Committed { added: 2, ..Committed::default() });
        let before = store.connections().await;
        let committed = commit(&store, &leases, all()).await.unwrap();
        assert_eq!(committed, Committed { unchanged: 2, ..Committed::default() });
        for (before, after) in before.iter().zip(store.connections().await) {
            assert!(Arc::ptr_eq(&before.resolved, &after.resolved), "what is the same is not even replaced");
        }
        let committed = commit(&store, &leases, vec![parsed("b", &lan)]).await.unwrap();
        let expected =
            Committed { unchanged: 1, unloaded_connections: 1, unloaded_pools: 1, ..Committed::default() };
        assert_eq!(committed, expected);
        assert_eq!(fake.configuration().connections.len(), 1);
        assert!(store.secret_ids().await.is_empty() && leases.list(None, false).is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_done_as_a_whole_is_not_done_at_all() {
        let (store, fake) = store();
        let leases = Leases::default();
        let lan = connection(&[("lan", Section::new())]);
        commit(&store, &leases, vec![parsed("a", &lan), pool("10.0.0.0/24")]).await.unwrap();
        let alice = ferry_ike::identity::Identity::parse("alice").unwrap();
        let _lease =
            leases.acquire(&["clients".to_owned()], &alice, &[ferry_ike::config::any_address(false)]);
        let before = fake.configuration();
        let changes = vec![secret("one"), parsed("b", &lan), pool("10.9.0.0/24")];
        let error = commit(&store, &leases, changes).await.unwrap_err();
        assert!(error.contains("pool 'clients'"), "{error}");
        let broken = Transaction { changes: vec![parsed("b", &lan)], failed: 1, ..Transaction::default() };
        store.commit(broken, &leases).await.unwrap_err();
        assert!(Arc::ptr_eq(&before, &fake.configuration()));
        assert_eq!(store.connections().await[0].name(), "a");
        assert!(store.secret_ids().await.is_empty());
        assert_eq!(leases.list(None, false)[0].base, "10.0.0.0");
    }

    /// The SA that an operator has changed stays until the one that takes its place is there.
    #[tokio::test]
    async fn a_changed_child_is_made_before_the_old_one_goes() {
        let (store, mut fake) = store();
        let leases = Leases::default();
        let starting = || Section::new().with("start_action", "start");
        let old = with_host(starting());
        commit(&store, &leases, vec![parsed("a", &old)]).await.unwrap();
        assert_eq!(fake.told().await, Told::Initiate("a".into(), Some("lan".into())));
        let sa = |id: u64, section: &Section| {
            let parsed = connections::parse("a", section, &DEFAULTS).unwrap().connection;
            let mut child = child_sa(id, "lan");
            child.child = Arc::clone(&parsed.children[0]);
            child.installed = Some(std::time::Instant::now());
            let mut ike_sa = ike_sa(id, "a", vec![child]);
            ike_sa.made_by = Some(Arc::new(parsed));
            ike_sa
        };
        let changed = with_host(starting().with("rekey_time", "17m"));
        fake.set_sas(vec![sa(1, &old), sa(2, &changed)]);
        commit(&store, &leases, vec![parsed("a", &changed)]).await.unwrap();
        assert_eq!(fake.told().await, Told::Initiate("a".into(), Some("lan".into())));
        assert_eq!(fake.told().await, Told::TerminateIke(1, false));
        assert!(fake.nothing_more(Duration::from_millis(50)).await);

        // What is gone from the configuration is closed, whoever began it.
        commit(&store, &leases, vec![]).await.unwrap();
        let mut told = [fake.told().await, fake.told().await];
        told.sort();
        assert_eq!(told, [Told::TerminateIke(1, false), Told::TerminateIke(2, false)]);
    }

    #[tokio::test]
    async fn what_the_peer_has_begun_stays_until_it_begins_anew() {
        let (store, mut fake) = store();
        let leases = Leases::default();
        let old = with_host(Section::new());
        commit(&store, &leases, vec![parsed("a", &old)]).await.unwrap();
        let mut theirs = ike_sa(1, "a", vec![child_sa(1, "lan")]);
        theirs.is_initiator = false;
        fake.set_sas(vec![theirs]);
        let changed = with_host(Section::new().with("rekey_time", "17m"));
        commit(&store, &leases, vec![parsed("a", &changed)]).await.unwrap();
        assert!(fake.nothing_more(Duration::from_millis(50)).await);
    }
}
