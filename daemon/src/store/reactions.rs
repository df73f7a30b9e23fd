//! What is done of our own accord when a CHILD_SA goes down.

use std::sync::Arc;

use ferry_ike::config::{Child, ChildAction};
use ferry_ike::output::{ChildDown, Event};
use ferry_ike::status::{ChildSaState, ChildSaStatus};
use tokio::sync::broadcast::error::RecvError;

use super::Store;
use super::starting::keeps_up;
use crate::control::Tunnels;

impl<T: Tunnels> Store<T> {
    /// Watches CHILD_SAs go down, and makes them anew where their configuration wants that.
    ///
    /// Ends with the tunnels. Dropping it midway loses nothing but later reactions.
    pub(crate) async fn react(self) {
        let mut events = self.shared.tunnels.events();
        loop {
            match events.recv().await {
                Ok(event) => self.react_to(&event).await,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(target: "cfg", "{missed} events were missed; children may stay down");
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Children went with an IKE_SA that was to be made anew, and was not. What was to be up is started again; what was
    /// to wait for packets after the peer's end, or ours, waits.
    async fn restart_lost(&self, connection: &str, children: &[String]) {
        for name in children {
            let Ok((connection, Some(child))) = self.find(Some(connection), Some(name)).await else {
                continue;
            };
            let action = if keeps_up(&child) {
                tracing::info!(target: "cfg", "CHILD_SA '{name}' of connection '{}' is started again", connection.name());
                ChildAction::Start
            } else if child.dpd_action.traps() || child.close_action.traps() {
                ChildAction::Trap
            } else {
                ChildAction::None
            };
            self.act(action, &connection, &child).await;
        }
    }

    /// There is another CHILD_SA of the same name that is in use.
    async fn has_another(&self, connection: &str, gone: &ChildSaStatus) -> bool {
        let ike_sas = self.shared.tunnels.list().await;
        ike_sas
            .iter()
            .filter(|ike_sa| ike_sa.connection.as_deref() == Some(connection))
            .flat_map(|ike_sa| &ike_sa.children)
            .any(|other| other.id != gone.id && other.name == gone.name && is_in_use(other))
    }

    async fn react_to(&self, event: &Arc<Event>) {
        let (ike_sa, child_sa, reason) = match &**event {
            Event::ChildSaUp { ike_sa, child_sa } => (ike_sa, child_sa, None),
            Event::ChildSaDown { ike_sa, child_sa, reason } => (ike_sa, child_sa, Some(*reason)),
            Event::NotRenewed { connection, children } => {
                return self.restart_lost(connection, children).await;
            }
            _another => return,
        };
        let Some(connection) = ike_sa.connection.as_deref() else { return };
        // A child that is no longer configured wants nothing.
        let Ok((connection, Some(child))) = self.find(Some(connection), Some(&child_sa.name)).await else {
            return self.stand_down(connection, &child_sa.name, false).await;
        };
        let Some(reason) = reason else { return self.guard(&connection, &child).await };
        let action = action(&child, reason);
        // A trap that waits for the last one to go waits on where another one carries the same: after the IKE_SA was made
        // anew, the old one's child goes and the new one's stays.
        if !self.has_another(connection.name(), child_sa).await {
            self.stand_down(connection.name(), &child.name, action.traps()).await;
        }
        if action.starts() {
            tracing::info!(
                target: "cfg",
                "CHILD_SA '{}' of connection '{}' went down and is started again",
                child.name,
                connection.name(),
            );
        }
        self.act(action, &connection, &child).await;
    }
}

fn is_in_use(child_sa: &ChildSaStatus) -> bool {
    match child_sa.state {
        ChildSaState::Installed | ChildSaState::Rekeying => true,
        // One is not there yet, the others have a successor or go themselves.
        ChildSaState::Created
        | ChildSaState::Installing
        | ChildSaState::Rekeyed
        | ChildSaState::Deleting
        | ChildSaState::Deleted => false,
    }
}

fn action(child: &Child, reason: ChildDown) -> ChildAction {
    match reason {
        ChildDown::Terminated => ChildAction::None,
        ChildDown::Closed => child.close_action,
        ChildDown::PeerDead => child.dpd_action,
        // Whatever was to be up from the start is to stay up.
        ChildDown::Expired => child.start_action,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferry_vici::Section;

    use super::*;
    use crate::control::tests::{Told, child_sa, ike_sa};
    use crate::store::tests::{connection, store};

    #[tokio::test]
    async fn each_reason_has_its_action() {
        let (store, mut fake) = store();
        let section = connection(&[
            ("closed", Section::new().with("close_action", "start")),
            ("dead", Section::new().with("dpd_action", "restart")),
        ]);
        store.load_connection("a", &section).await.unwrap();
        let task = tokio::spawn(store.clone().react());
        fake.listened_to().await;
        for (child, reason) in [
            ("closed", ChildDown::PeerDead),
            ("closed", ChildDown::Terminated),
            ("gone", ChildDown::Closed),
            ("closed", ChildDown::Closed),
            ("dead", ChildDown::PeerDead),
        ] {
            let status = ike_sa(1, "a", vec![]);
            let child_sa = Box::new(child_sa(2, child));
            fake.raise(Event::ChildSaDown { ike_sa: Box::new(status), child_sa, reason });
        }
        let initiated = |child: &str| Told::Initiate("a".to_owned(), Some(child.to_owned()));
        assert_eq!(fake.told().await, initiated("closed"));
        assert_eq!(fake.told().await, initiated("dead"));
        assert!(fake.nothing_more(Duration::from_millis(50)).await);
        task.abort();
    }

    /// As after a reauthentication: the new IKE_SA's child is up when the old one's goes.
    #[tokio::test]
    async fn a_trap_waits_on_beneath_the_one_that_stays() {
        let (store, mut fake) = store();
        let children = [
            ("lan", Section::new().with("dpd_action", "trap")),
            ("sign", Section::new().with("close_action", "start")),
        ];
        let section = connection(&children).with_list("remote_addrs", ["192.0.2.2"]);
        store.load_connection("a", &section).await.unwrap();
        let task = tokio::spawn(store.clone().react());
        fake.listened_to().await;
        let down = |ike: u64, id: u64, child: &str, reason| Event::ChildSaDown {
            ike_sa: Box::new(ike_sa(ike, "a", vec![])),
            child_sa: Box::new(child_sa(id, child)),
            reason,
        };
        for (ike, id) in [(1, 2), (3, 4)] {
            let (ike_sa, child_sa) = (Box::new(ike_sa(ike, "a", vec![])), Box::new(child_sa(id, "lan")));
            fake.raise(Event::ChildSaUp { ike_sa, child_sa });
        }
        assert_eq!(fake.told().await, Told::Install(1, "lan".into()));
        fake.set_sas(vec![ike_sa(1, "a", vec![]), ike_sa(3, "a", vec![child_sa(4, "lan")])]);
        fake.raise(down(1, 2, "lan", ChildDown::Terminated));
        // By this it is known that the one before was heard.
        fake.raise(down(1, 9, "sign", ChildDown::Closed));
        assert_eq!(fake.told().await, Told::Initiate("a".into(), Some("sign".into())));
        fake.set_sas(vec![]);
        fake.raise(down(3, 4, "lan", ChildDown::Terminated));
        assert_eq!(fake.told().await, Told::Uninstall(1));
        task.abort();
    }

    #[tokio::test]
    async fn what_went_with_an_ike_sa_that_was_not_made_anew_comes_back() {
        let (store, mut fake) = store();
        let section = connection(&[
            ("kept", Section::new().with("close_action", "start")),
            ("waiting", Section::new().with("dpd_action", "trap")),
            ("by-hand", Section::new()),
        ]);
        // A trap needs to know the peer.
        store.load_connection("a", &section.with_list("remote_addrs", ["192.0.2.2"])).await.unwrap();
        let task = tokio::spawn(store.clone().react());
        fake.listened_to().await;
        let children = ["by-hand", "kept", "gone", "waiting"].map(str::to_owned).to_vec();
        fake.raise(Event::NotRenewed { connection: "a".to_owned(), children });
        let mut told = [fake.told().await, fake.told().await];
        told.sort_by_key(|told| matches!(told, Told::Install(..)));
        assert_eq!(
            told,
            [Told::Initiate("a".into(), Some("kept".into())), Told::Install(1, "waiting".into())]
        );
        assert!(fake.nothing_more(Duration::from_millis(50)).await);
        task.abort();
    }
}
