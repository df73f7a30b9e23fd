//! Who is connected, over all shards: whether a peer may have another IKE SA (swanctl.conf `unique`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferry_ike::config::Unique;
use ferry_ike::identity::Identity;
use ferry_ike::output::IkeSaId;
use ferry_ike::status::IkeSaStatus;

/// Established IKE SAs by the identities of their ends.
#[derive(Default)]
pub(super) struct Registry {
    pairs: Mutex<HashMap<IkeSaId, Pair>>,
}

/// Who an IKE SA is between, and where the peer is.
struct Pair {
    local: Identity,
    remote: Identity,
    address: IpAddr,
}

/// What becomes of a peer's new IKE SA.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed {
        /// Another one stays beside it.
        has_other: bool,
    },
    Refused,
    /// Allowed once these have ended.
    InPlaceOf(Vec<IkeSaId>),
    /// Allowed at once: the peer seems to authenticate again from where it was. Those end when it has had the time to
    /// end them itself, which it does as soon as the new one stands (make before break).
    Beside(Vec<IkeSaId>),
}

impl Registry {
    /// Decides, and books the new IKE SA so that one that follows on its heels sees it.
    pub(super) fn admit(
        &self,
        ike_sa: IkeSaId,
        policy: Unique,
        local: Identity,
        remote: Identity,
        address: IpAddr,
        initial_contact: bool,
    ) -> Verdict {
        let mut pairs = self.pairs();
        let mut others: Vec<_> = pairs
            .iter()
            .filter(|(id, pair)| **id != ike_sa && pair.local == local && pair.remote == remote)
            .map(|(id, pair)| (*id, pair.address == address))
            .collect();
        others.sort_unstable();
        let is_from_there = others.iter().all(|(_, is_from_there)| *is_from_there);
        let others: Vec<_> = others.into_iter().map(|(id, _)| id).collect();
        let verdict = match policy {
            _ if others.is_empty() => Verdict::Allowed { has_other: false },
            Unique::Never => Verdict::Allowed { has_other: is_from_there },
            // RFC 7296 §2.4: the peer has lost whatever it had before.
            _ if initial_contact => Verdict::InPlaceOf(others),
            Unique::No => Verdict::Allowed { has_other: is_from_there },
            Unique::Replace if is_from_there => Verdict::Beside(others),
            Unique::Replace => Verdict::InPlaceOf(others),
            Unique::Keep => Verdict::Refused,
        };
        if verdict != Verdict::Refused {
            pairs.insert(ike_sa, Pair { local, remote, address });
        }
        verdict
    }

    /// An IKE SA is established, perhaps one that we opened.
    pub(super) fn insert(&self, status: &IkeSaStatus) {
        if let (Some(local), Some(remote)) = (&status.local_id, status.peer()) {
            let (local, remote) = (local.clone(), remote.clone());
            self.pairs().insert(status.id, Pair { local, remote, address: status.remote.ip() });
        }
    }

    /// The peer of an IKE SA is somewhere else now.
    pub(super) fn move_to(&self, ike_sa: IkeSaId, address: IpAddr) {
        if let Some(pair) = self.pairs().get_mut(&ike_sa) {
            pair.address = address;
        }
    }

    /// An IKE SA is gone, or never came to stand.
    pub(super) fn remove(&self, ike_sa: IkeSaId) {
        self.pairs().remove(&ike_sa);
    }

    fn pairs(&self) -> MutexGuard<'_, HashMap<IkeSaId, Pair>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> Identity {
        Identity::parse(name).unwrap()
    }

    #[test]
    fn policies_for_a_second_ike_sa_of_the_same_peer() {
        use Unique::{Keep, Never, No, Replace};
        let first = || Verdict::InPlaceOf(vec![IkeSaId(1)]);
        let allowed = |has_other| Verdict::Allowed { has_other };
        let beside = || Verdict::Beside(vec![IkeSaId(1)]);
        for (policy, initial_contact, is_from_there, expected) in [
            (Never, false, false, allowed(false)),
            (Never, true, false, allowed(false)),
            (Never, false, true, allowed(true)),
            (No, false, false, allowed(false)),
            (No, false, true, allowed(true)),
            (No, true, false, first()),
            (No, true, true, first()),
            (Replace, false, false, first()),
            (Replace, false, true, beside()),
            (Replace, true, false, first()),
            (Replace, true, true, first()),
            (Keep, false, false, Verdict::Refused),
            (Keep, false, true, Verdict::Refused),
            (Keep, true, false, first()),
        ] {
            let registry = Registry::default();
            let there = |last| IpAddr::from([192, 0, 2, last]);
            let admit = |ike_sa, policy, remote, initial_contact| {
                let from = there(if is_from_there { 1 } else { 7 });
                registry.admit(IkeSaId(ike_sa), policy, id("gw"), id(remote), from, initial_contact)
            };
            assert_eq!(admit(1, policy, "alice", initial_contact), allowed(false));
            registry.move_to(IkeSaId(1), there(1));
            assert_eq!(admit(2, policy, "bob", initial_contact), allowed(false));
            assert_eq!(admit(3, policy, "alice", initial_contact), expected, "{policy:?} {initial_contact}");
            registry.remove(IkeSaId(1));
            registry.remove(IkeSaId(3));
            assert_eq!(admit(4, policy, "alice", initial_contact), allowed(false));
        }
    }
}
