//! What follows for SAs when a configuration takes the place of another as a whole: make before break.
//!
//! A child that differs is made anew under its new settings, by the IKE_SA that is there if that is still as configured,
//! else by a new one, and only then does the old one go. While that fails, the old one stays and carries what it carried:
//! a peer whose configuration follows a minute later is not cut off. An SA that the peer has begun is the peer's to make
//! anew; until then it stays as it was agreed on, as with charon.

use std::sync::Arc;

use ferry_ike::config::{AddressPattern, Child, Connection};
use ferry_ike::status::{ChildSaStatus, IkeSaStatus};

use super::merge::{Kind, acting, has_like};
use super::{LoadedConnection, Store};
use crate::connections::Occasion;
use crate::control::Tunnels;

/// What is to be done about one connection.
pub(super) struct Replacement {
    new: LoadedConnection,
    /// Children that are no longer, or not as they were.
    before: Vec<Arc<Child>>,
    /// Children that were not, or not as they are.
    after: Vec<Arc<Child>>,
}

impl Replacement {
    /// `None` if there is nothing to do.
    pub(super) fn of(old: Option<LoadedConnection>, new: LoadedConnection, kind: Kind) -> Option<Self> {
        let name = new.name();
        match kind {
            Kind::Unchanged => return None,
            Kind::Added => tracing::info!(target: "cfg", "added vici connection: {name}"),
            Kind::Updated => tracing::info!(target: "cfg", "updated vici connection: {name}"),
            Kind::Replaced => tracing::info!(target: "cfg", "replaced vici connection: {name}"),
        }
        let is_other =
            |children: &[Arc<Child>], child: &Arc<Child>| kind != Kind::Updated || !has_like(children, child);
        let children = |of: &LoadedConnection| of.parsed.connection.children.clone();
        let (mut before, mut after) = (old.as_ref().map(children).unwrap_or_default(), children(&new));
        before.retain(|child| is_other(&new.parsed.connection.children, child));
        if let Some(old) = &old {
            after.retain(|child| is_other(&old.parsed.connection.children, child));
        }
        Some(Self { new, before, after })
    }
}

impl<T: Tunnels> Store<T> {
    pub(super) async fn replace(&self, replacement: Replacement) {
        let Replacement { new, before, after } = replacement;
        self.undo_policies(new.name(), &acting(before.iter()), Some(&new)).await;
        let resolved = self.refresh(&new, Occasion::Asked).await;
        let gone = before.iter().filter(|child| new.parsed.connection.child(&child.name).is_none());
        let gone: Vec<&str> = gone.map(|child| child.name.as_str()).collect();
        if !gone.is_empty() {
            self.end_children(new.name(), &gone).await;
        }
        let sas = self.shared.tunnels.list().await;
        for child in &after {
            let is_ours = before.iter().any(|old| old.name == child.name)
                && outdated(&sas, &resolved, child).next().is_some();
            if is_ours {
                self.shared.starts.replace(new.name(), &child.name);
            }
            self.forget_failures(new.name(), &child.name);
            self.act(child.start_action, &new, child).await;
            if is_ours && !child.start_action.starts() {
                self.start(new.name(), &child.name);
            }
        }
    }

    /// Ends what there is of a connection that is no longer configured.
    pub(super) async fn close(&self, connection: &LoadedConnection) {
        self.undo_policies(connection.name(), &connection.parsed.connection.children, None).await;
        for ike_sa in self.shared.tunnels.list().await {
            if ike_sa.connection.as_deref() == Some(connection.name()) {
                self.end_ike_sa(connection.name(), ike_sa.id).await;
            }
        }
    }

    /// Ends the SAs of a child that its settings of today have not made, if there is one that they have. Returns whether
    /// there is.
    pub(super) async fn retire(&self, connection: &LoadedConnection, child: &Child) -> bool {
        let resolved = &connection.resolved;
        let sas = self.shared.tunnels.list().await;
        let is_there = of_child(&sas, resolved, child).any(|(ike_sa, child_sa)| {
            child_sa.installed.is_some() && is_current(ike_sa, child_sa, resolved, child)
        });
        if !is_there {
            return false;
        }
        for (ike_sa, child_sa) in outdated(&sas, resolved, child) {
            let is_alone = ike_sa.children.iter().all(|other| other.name == child.name);
            tracing::info!(
                target: "cfg",
                "CHILD_SA '{}' #{} of connection '{}' is as it was configured before, and goes",
                child.name, child_sa.id, connection.name()
            );
            // An IKE_SA that is as configured has the successor too.
            if is_alone && !ike_sa.children.iter().any(|other| is_current(ike_sa, other, resolved, child)) {
                self.end_ike_sa(connection.name(), ike_sa.id).await;
            } else {
                self.end_child_sa(connection.name(), child_sa.id).await;
            }
        }
        true
    }

    /// Whether there are SAs of a child that its settings of today have not made, and that are ours to replace.
    pub(super) async fn has_outdated(&self, connection: &LoadedConnection, child: &Child) -> bool {
        let sas = self.shared.tunnels.list().await;
        outdated(&sas, &connection.resolved, child).next().is_some()
    }
}

/// The CHILD_SAs of a child.
fn of_child<'a>(
    sas: &'a [IkeSaStatus],
    connection: &'a Connection,
    child: &'a Child,
) -> impl Iterator<Item = (&'a IkeSaStatus, &'a ChildSaStatus)> {
    let of_it = sas.iter().filter(|ike_sa| ike_sa.connection.as_deref() == Some(connection.name.as_str()));
    of_it
        .flat_map(|ike_sa| ike_sa.children.iter().map(move |child_sa| (ike_sa, child_sa)))
        .filter(|(_, child_sa)| child_sa.name == child.name)
}

/// Those of them that its settings of today have not made, and that we can make anew.
fn outdated<'a>(
    sas: &'a [IkeSaStatus],
    connection: &'a Connection,
    child: &'a Child,
) -> impl Iterator<Item = (&'a IkeSaStatus, &'a ChildSaStatus)> {
    // Where the peer may be anybody, there is nobody to initiate to.
    let is_for_many = connection.remote_addrs.iter().any(AddressPattern::is_of_many);
    of_child(sas, connection, child).filter(move |(ike_sa, child_sa)| {
        !is_for_many && ike_sa.is_initiator && !is_current(ike_sa, child_sa, connection, child)
    })
}

fn is_current(
    ike_sa: &IkeSaStatus,
    child_sa: &ChildSaStatus,
    connection: &Connection,
    child: &Child,
) -> bool {
    let is_alike = |made_by: &Arc<Connection>| made_by.is_same_but_for_children(connection);
    *child_sa.child == *child && ike_sa.made_by.as_ref().is_some_and(is_alike)
}
