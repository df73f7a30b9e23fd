//! Which CHILD_SA sends, where a peer has two that carry the same traffic.
//!
//! A peer that authenticates again makes a new CHILD_SA beside the old one, and can receive on it only when it has our
//! response. Ours stands behind the old one until that is gone, or until it is told to come forward.

use std::collections::HashMap;

use ferry_ike::output::{ChildInstall, ChildSaId, Outbound};
use ferry_ike::selector::TrafficSelector;

/// What is installed, and whether it sends.
#[derive(Default)]
pub(super) struct Senders(HashMap<ChildSaId, Sender>);

struct Sender {
    local_ts: Vec<TrafficSelector>,
    remote_ts: Vec<TrafficSelector>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is sent with.
    First,
    /// It is sent with as soon as no other is there.
    Behind,
    /// It is not sent with before it is its turn.
    Held,
}

impl Senders {
    /// A child is installed. Whether the plane is to send with it.
    pub(super) fn add(&mut self, install: &ChildInstall) -> Outbound {
        let (local_ts, remote_ts) = (install.local_ts.clone(), install.remote_ts.clone());
        let mut sender = Sender { local_ts, remote_ts, place: Place::Held };
        sender.place = match install.outbound_use {
            Outbound::Now => Place::First,
            Outbound::Behind if self.has_first(&sender) => Place::Behind,
            Outbound::Behind => Place::First,
            Outbound::Held => Place::Held,
        };
        let outbound = if sender.place == Place::First { Outbound::Now } else { Outbound::Held };
        self.0.insert(install.child_sa, sender);
        outbound
    }

    /// It is the turn of a child. False if it has come forward already.
    pub(super) fn bring_forward(&mut self, child_sa: ChildSaId) -> bool {
        self.0.get_mut(&child_sa).is_none_or(|sender| {
            let was_first = sender.place == Place::First;
            sender.place = Place::First;
            !was_first
        })
    }

    /// A child goes. Who comes forward for it, if anybody.
    pub(super) fn remove(&mut self, child_sa: ChildSaId) -> Option<ChildSaId> {
        let gone = self.0.remove(&child_sa)?;
        if self.has_first(&gone) {
            return None;
        }
        let heir = self.0.iter().filter(|(_, sender)| sender.place == Place::Behind && sender.is_like(&gone));
        let heir = heir.map(|(id, _)| *id).max()?;
        self.bring_forward(heir).then_some(heir)
    }

    fn has_first(&self, like: &Sender) -> bool {
        self.0.values().any(|sender| sender.place == Place::First && sender.is_like(like))
    }
}

impl Sender {
    fn is_like(&self, other: &Self) -> bool {
        self.local_ts == other.local_ts && self.remote_ts == other.remote_ts
    }
}
