//! Loading and unloading connections.

use std::sync::Arc;
use std::time::Duration;

use ferry_ike::config::{AddressPattern, Child, Connection};
use ferry_ike::output::{ChildSaId, IkeSaId};
use ferry_vici::Section;

use super::merge::{Kind, acting, merge};
use super::{LoadedConnection, Store};
use crate::connections::{self, ConfigError, Occasion, Parsed};
use crate::control::Tunnels;

/// How long a peer has to answer that an SA is deleted before we go on.
const PATIENCE: Duration = Duration::from_secs(5);

impl<T: Tunnels> Store<T> {
    /// Loads a connection, in the place of the one of its name if there is one. What its children want done
    /// at once is begun, not waited for.
    pub(crate) async fn load_connection(&self, name: &str, section: &Section) -> Result<(), ConfigError> {
        let mut parsed = self.read_connection(name, section)?;
        let mut loaded = self.shared.loaded.lock().await;
        let place = loaded.connections.iter_mut().find(|other| other.name() == name);
        let change = merge(place.as_ref().map(|old| &old.parsed.connection), &mut parsed.connection);
        let resolved = Arc::new(parsed.connection.clone());
        let new = LoadedConnection { parsed: Arc::new(parsed), resolved };
        match (place, change.kind) {
            // The names of its hosts stay looked up.
            (Some(old), Kind::Unchanged) => old.parsed = Arc::clone(&new.parsed),
            (Some(old), Kind::Added | Kind::Updated | Kind::Replaced) => *old = new.clone(),
            (None, _added) => loaded.connections.push(new.clone()),
        }
        if change.kind != Kind::Unchanged {
            self.publish(&loaded).await;
        }
        drop(loaded);
        match change.kind {
            Kind::Added => tracing::info!(target: "cfg", "added vici connection: {name}"),
            Kind::Updated => tracing::info!(target: "cfg", "updated vici connection: {name}"),
            Kind::Replaced => tracing::info!(target: "cfg", "replaced vici connection: {name}"),
            Kind::Unchanged => {
                tracing::debug!(target: "cfg", "vici connection is the same: {name}");
                return Ok(());
            }
        }
        let store = self.clone();
        tokio::spawn(async move {
            store.undo(new.name(), &change.undo, Some(&new)).await;
            store.refresh(&new, Occasion::Asked).await;
            for child in &change.start {
                store.forget_failures(new.name(), &child.name);
                store.act(child.start_action, &new, child).await;
            }
        });
        Ok(())
    }

    /// Reads what a connection is to be, and loads nothing.
    pub(crate) fn read_connection(&self, name: &str, section: &Section) -> Result<Parsed, ConfigError> {
        let parsed = connections::parse(name, section, &self.shared.defaults.load())?;
        for remark in &parsed.remarks {
            tracing::warn!(target: "cfg", "{remark}");
        }
        Ok(parsed)
    }

    /// Forgets a connection. What it began of its own accord is ended; other SAs of it stay.
    pub(crate) async fn unload_connection(&self, name: &str) -> Result<(), String> {
        let mut loaded = self.shared.loaded.lock().await;
        let place = loaded.connections.iter().position(|connection| connection.name() == name);
        let place = place.ok_or_else(|| format!("there is no connection '{name}'"))?;
        let removed = loaded.connections.remove(place);
        self.publish(&loaded).await;
        drop(loaded);
        tracing::info!(target: "cfg", "removed vici connection: {name}");
        let undo = acting(removed.parsed.connection.children.iter());
        let store = self.clone();
        tokio::spawn(async move { store.undo(removed.name(), &undo, None).await });
        Ok(())
    }

    /// Looks the names of all hosts up anew, of all connections that have any.
    pub(crate) async fn refresh_all(&self) {
        for connection in self.connections().await {
            self.refresh(&connection, Occasion::Routine).await;
        }
    }

    /// Looks the names of a connection's hosts up anew, and gives the addresses to the endpoints if they
    /// differ.
    pub(super) async fn refresh(&self, connection: &LoadedConnection, occasion: Occasion) -> Arc<Connection> {
        if !has_names(&connection.resolved) {
            return Arc::clone(&connection.resolved);
        }
        let resolved = connections::resolve(Connection::clone(&connection.resolved), occasion).await;
        let mut loaded = self.shared.loaded.lock().await;
        // It may have been replaced or unloaded in the meantime.
        let is_it = |other: &&mut LoadedConnection| Arc::ptr_eq(&other.parsed, &connection.parsed);
        let Some(place) = loaded.connections.iter_mut().find(is_it) else { return Arc::new(resolved) };
        if *place.resolved == resolved {
            return Arc::clone(&place.resolved);
        }
        let resolved = Arc::new(resolved);
        place.resolved = Arc::clone(&resolved);
        self.publish(&loaded).await;
        resolved
    }

    /// Takes back what these children began of their own accord: their traps and shunts, their CHILD_SAs, and IKE_SAs
    /// that have no others.
    async fn undo(&self, connection: &str, children: &[Arc<Child>], new: Option<&LoadedConnection>) {
        self.undo_policies(connection, children, new).await;
        let started = children.iter().filter(|child| child.start_action.starts());
        let children: Vec<&str> = started.map(|child| child.name.as_str()).collect();
        if !children.is_empty() {
            self.end_children(connection, &children).await;
        }
    }

    /// Takes back the traps and shunts of these children, except those that will be replaced by `new`.
    pub(super) async fn undo_policies(
        &self,
        connection: &str,
        children: &[Arc<Child>],
        new: Option<&LoadedConnection>,
    ) {
        for child in children {
            let successor = new.and_then(|new| new.parsed.connection.child(&child.name));
            let is_replaced = successor.is_some_and(|new| {
                new.start_action.traps() || (new.start_action.starts() && new.mode().is_none())
            });
            if !is_replaced && let Err(error) = self.uninstall(Some(connection), &child.name).await {
                tracing::debug!(target: "cfg", "{error}");
            }
        }
    }

    /// Ends the CHILD_SAs of these names, and IKE_SAs that have no others.
    pub(super) async fn end_children(&self, connection: &str, children: &[&str]) {
        for ike_sa in self.shared.tunnels.list().await {
            if ike_sa.connection.as_deref() != Some(connection) {
                continue;
            }
            let undone: Vec<_> =
                ike_sa.children.iter().filter(|child| children.contains(&child.name.as_str())).collect();
            if !undone.is_empty() && undone.len() == ike_sa.children.len() {
                self.end_ike_sa(connection, ike_sa.id).await;
                continue;
            }
            for child in undone {
                self.end_child_sa(connection, child.id).await;
            }
        }
    }

    pub(super) async fn end_ike_sa(&self, connection: &str, id: IkeSaId) {
        let tunnels = &self.shared.tunnels;
        if end(connection, tunnels.terminate_ike(id, false)).await.is_err() {
            // What comes next must not find an IKE_SA that waits for a peer that is gone.
            let _ = end(connection, tunnels.terminate_ike(id, true)).await;
        }
    }

    pub(super) async fn end_child_sa(&self, connection: &str, id: ChildSaId) {
        let _ = end(connection, self.shared.tunnels.terminate_child(id)).await;
    }
}

/// Waits for an end, but not for ever. What goes wrong is said.
async fn end(connection: &str, ending: impl Future<Output = Result<(), String>>) -> Result<(), ()> {
    match tokio::time::timeout(PATIENCE, ending).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(target: "cfg", "ending SAs of connection '{connection}' failed: {error}");
        }
        Err(_elapsed) => {
            tracing::warn!(target: "cfg", "ending SAs of connection '{connection}': the peer does not answer");
        }
    }
    Err(())
}

fn has_names(connection: &Connection) -> bool {
    let is_name = |pattern: &AddressPattern| matches!(pattern, AddressPattern::Name(..));
    connection.local_addrs.iter().chain(&connection.remote_addrs).any(is_name)
}

#[cfg(test)]
mod tests {
    use ferry_ike::config::Configuration;

    use super::*;
    use crate::control::tests::{Told, child_sa, ike_sa};
    use crate::store::tests::{connection, store};

    fn starting() -> Section {
        Section::new().with("start_action", "start")
    }

    fn names(configuration: &Configuration) -> Vec<&str> {
        configuration.connections.iter().map(|c| c.name.as_str()).collect()
    }

    #[tokio::test]
    async fn what_is_loaded_is_published_as_a_whole() {
        let (store, fake) = store();
        store.load_connection("a", &connection(&[])).await.unwrap();
        store.load_connection("b", &connection(&[])).await.unwrap();
        assert_eq!(names(&fake.configuration()), ["a", "b"]);
        store.load_connection("a", &connection(&[]).with("encap", "yes")).await.unwrap();
        assert_eq!(names(&fake.configuration()), ["a", "b"], "it keeps its place");
        assert!(fake.configuration().connections[0].encap);
        store.unload_connection("a").await.unwrap();
        assert_eq!(names(&fake.configuration()), ["b"]);
        assert_eq!(store.unload_connection("a").await, Err("there is no connection 'a'".to_owned()));
    }

    #[tokio::test]
    async fn a_bad_connection_changes_nothing() {
        let (store, fake) = store();
        store.load_connection("a", &connection(&[])).await.unwrap();
        let before = fake.configuration();
        store.load_connection("a", &connection(&[]).with("encap", "perhaps")).await.unwrap_err();
        assert!(Arc::ptr_eq(&before, &fake.configuration()));
        assert!(!store.connections().await[0].parsed.connection.encap);
    }

    #[tokio::test]
    async fn the_same_again_is_not_even_published() {
        let (store, fake) = store();
        store.load_connection("a", &connection(&[])).await.unwrap();
        let before = fake.configuration();
        store.load_connection("a", &connection(&[])).await.unwrap();
        assert!(Arc::ptr_eq(&before, &fake.configuration()));
    }

    #[tokio::test]
    async fn children_with_a_start_action_are_started() {
        let (store, mut fake) = store();
        let section = connection(&[("x", starting()), ("y", Section::new()), ("z", starting())]);
        store.load_connection("a", &section).await.unwrap();
        let mut told = [fake.told().await, fake.told().await];
        told.sort();
        let initiated = |child: &str| Told::Initiate("a".to_owned(), Some(child.to_owned()));
        assert_eq!(told, [initiated("x"), initiated("z")]);
    }

    #[tokio::test]
    async fn an_ike_sa_goes_with_its_last_child_and_stays_with_others() {
        let (store, mut fake) = store();
        let section = connection(&[("x", starting()), ("y", Section::new())]);
        store.load_connection("a", &section).await.unwrap();
        fake.told().await;
        fake.set_sas(vec![
            ike_sa(1, "a", vec![child_sa(10, "x")]),
            ike_sa(2, "a", vec![child_sa(20, "x"), child_sa(21, "y")]),
            ike_sa(3, "a", vec![child_sa(30, "y")]),
            ike_sa(4, "b", vec![child_sa(40, "x")]),
        ]);
        store.unload_connection("a").await.unwrap();
        assert_eq!(fake.told().await, Told::TerminateIke(1, false));
        assert_eq!(fake.told().await, Told::TerminateChild(20));
        assert!(fake.nothing_more(Duration::from_millis(50)).await);
    }

    #[tokio::test]
    async fn names_are_looked_up_before_initiating() {
        let (store, mut fake) = store();
        let section = connection(&[]).with_list("remote_addrs", ["localhost"]);
        store.load_connection("a", &section).await.unwrap();
        let (found, _) = store.find(Some("a"), None).await.unwrap();
        store.initiate(&found, None).await.unwrap();
        assert_eq!(fake.told().await, Told::Initiate("a".to_owned(), None));
        let AddressPattern::Name(_, addresses) = &fake.configuration().connections[0].remote_addrs[0] else {
            panic!("the name is gone");
        };
        assert!(addresses.iter().any(std::net::IpAddr::is_loopback), "{addresses:?}");
    }
}
