//! Everything that is loaded over VICI and given to endpoints: connections, secrets, certificates and keys.
//!
//! What is loaded changes under one lock, and is published to the endpoints as a whole while the lock is
//! held: they see every state in the order it was made, and none that is half made. [`connections`] has the
//! rules by which a connection replaces another, [`credentials`] those for secrets, [`authorities`] those for certificates and keys, [`reactions`] does what
//! children want done when they go down, [`starting`] begins what is to be there, and [`transaction`] loads everything at
//! once, with [`replacing`] for what follows.

mod authorities;
mod connections;
mod credentials;
mod merge;
mod policies;
mod reactions;
mod replacing;
mod responses;
mod starting;
mod transaction;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use ferry_ike::config::{Child, Configuration, Connection, SharedSecret};
use tokio::sync::Mutex;

use crate::connections::{Defaults, Parsed};
use crate::control::Tunnels;
use crate::revocation::Revocations;

pub(crate) use authorities::Authority;
use authorities::Keychain;
pub(crate) use credentials::NewSecret;
pub(crate) use policies::Installed as InstalledPolicy;
use policies::Policies;
use responses::Shown;
use starting::Starts;
pub(crate) use transaction::{Change, Committed, Transaction};

/// What is loaded. A clone is the same thing.
pub(crate) struct Store<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    tunnels: T,
    defaults: ArcSwap<Defaults>,
    loaded: Mutex<Loaded>,
    /// What is being started of our own accord.
    starts: Starts,
    /// Traps and shunts.
    policies: Policies,
    /// What is known of revoked certificates.
    revocations: Revocations,
    /// OCSP responses that peers can see.
    shown: ArcSwap<Shown>,
    /// Where the configuration was loaded from last as a whole.
    source: ArcSwapOption<PathBuf>,
}

#[derive(Clone, Default)]
struct Loaded {
    /// In load order.
    connections: Vec<LoadedConnection>,
    /// In load order.
    secrets: Vec<Arc<SharedSecret>>,
    /// Certificates, private keys, authorities.
    keychain: Keychain,
}

/// A connection that is loaded.
#[derive(Clone)]
pub(crate) struct LoadedConnection {
    /// As it was loaded.
    pub(crate) parsed: Arc<Parsed>,
    /// The same with the names of its hosts looked up.
    resolved: Arc<Connection>,
}

impl LoadedConnection {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.parsed.connection.name
    }
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Tunnels> Store<T> {
    /// Nothing is loaded.
    pub(crate) fn new(tunnels: T, defaults: Defaults, revocations: Revocations) -> Self {
        let loaded = Mutex::new(Loaded::default());
        Self {
            shared: Arc::new(Shared {
                tunnels,
                defaults: ArcSwap::from_pointee(defaults),
                loaded,
                starts: Starts::default(),
                policies: Policies::default(),
                revocations,
                shown: ArcSwap::default(),
                source: ArcSwapOption::empty(),
            }),
        }
    }

    /// What is known of revoked certificates.
    pub(crate) fn revocations(&self) -> &Revocations {
        &self.shared.revocations
    }

    /// Connections loaded from now on have this anti-replay window where they do not say.
    pub(crate) fn set_replay_window(&self, replay_window: u32) {
        self.shared.defaults.rcu(|defaults| Defaults { replay_window, ..**defaults });
    }

    /// All connections, in load order.
    pub(crate) async fn connections(&self) -> Vec<LoadedConnection> {
        self.shared.loaded.lock().await.connections.clone()
    }

    /// The connection and child that names mean: the first connection in load order that fits. Without a
    /// child's name it is the connection alone.
    pub(crate) async fn find(
        &self,
        connection: Option<&str>,
        child: Option<&str>,
    ) -> Result<(LoadedConnection, Option<Arc<Child>>), String> {
        let loaded = self.shared.loaded.lock().await;
        let mut candidates =
            loaded.connections.iter().filter(|c| connection.is_none_or(|name| name == c.name()));
        let found = match child {
            None if connection.is_some() => candidates.next().map(|found| (found.clone(), None)),
            None => None,
            Some(name) => candidates.find_map(|found| {
                Some((found.clone(), Some(Arc::clone(found.parsed.connection.child(name)?))))
            }),
        };
        found.ok_or_else(|| match (connection, child) {
            (Some(connection), Some(child)) => {
                format!("connection '{connection}' has no child '{child}', or is not there")
            }
            (Some(connection), None) => format!("there is no connection '{connection}'"),
            (None, Some(child)) => format!("no connection has a child '{child}'"),
            (None, None) => "neither a connection nor a child is named".to_owned(),
        })
    }

    /// Gives all that is loaded to the endpoints. The lock is held by the caller.
    async fn publish(&self, loaded: &Loaded) {
        let trust = self.trust(loaded);
        self.shared.revocations.set_authorities(loaded.keychain.authorities(), trust.end_entities());
        let mut configuration = Configuration {
            connections: loaded.connections.iter().map(|c| Arc::clone(&c.resolved)).collect(),
            secrets: loaded.secrets.clone(),
            private_keys: loaded.keychain.keys(),
            trust: Arc::new(trust),
            ocsp_responses: vec![],
        };
        let links = configuration.shown_with_responses();
        let responses = self.shared.revocations.own_responses(&links);
        configuration.ocsp_responses.clone_from(&responses);
        self.shared.shown.store(Arc::new(Shown { links, responses }));
        self.shared.revocations.look_into_own();
        self.shared.tunnels.configure(Arc::new(configuration)).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ferry_ike::config::Ports;
    use ferry_vici::Section;

    use super::*;
    use crate::control::tests::Fake;
    use crate::dataplane::Abilities;

    pub(crate) const DEFAULTS: Defaults = Defaults {
        replay_window: 32,
        ports: Ports { ike: 500, nat_t: 4500 },
        plane: Abilities::USERSPACE,
        retry_initiate: None,
    };

    /// An empty store over tunnels that remember what they were told.
    pub(crate) fn store() -> (Store<Fake>, Fake) {
        let fake = Fake::default();
        (Store::new(fake.clone(), DEFAULTS, Revocations::default()), fake)
    }

    /// A connection with a pre-shared key and these children.
    pub(crate) fn connection(children: &[(&str, Section)]) -> Section {
        let mut section = Section::new();
        for (name, child) in children {
            section.push_section(*name, child.clone());
        }
        Section::new()
            .with_section("local", Section::new().with("auth", "psk"))
            .with_section("children", section)
    }

    #[tokio::test]
    async fn names_find_the_first_that_fits() {
        let (store, _) = store();
        for name in ["a", "b"] {
            store.load_connection(name, &connection(&[("lan", Section::new())])).await.unwrap();
        }
        let found = async |c, ch| store.find(c, ch).await.map(|(c, ch)| (c.name().to_owned(), ch.is_some()));
        assert_eq!(found(None, Some("lan")).await, Ok(("a".to_owned(), true)));
        assert_eq!(found(Some("b"), Some("lan")).await, Ok(("b".to_owned(), true)));
        assert_eq!(found(Some("b"), None).await, Ok(("b".to_owned(), false)));
        assert_eq!(found(Some("c"), None).await, Err("there is no connection 'c'".to_owned()));
        assert_eq!(found(None, Some("dmz")).await, Err("no connection has a child 'dmz'".to_owned()));
        assert!(found(Some("b"), Some("dmz")).await.is_err());
        assert!(found(None, None).await.is_err());
    }
}
