//! Who is connected, over all shards: whether a peer may have another IKE SA (swanctl.conf `unique`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferry_ike::config::Unique;
use ferry_ike::identity::Identity;
use ferry_ike::output::IkeSaId;
use ferry_ike::status::IkeSaStatus;

/// Established IKE SAs by the identities of their ends.
#[derive(Default)]
pub(super) struct Registry {
    pairs: Mutex<HashMap<IkeSaId, (Identity, Identity)>>,
}

/// What becomes of a peer's new IKE SA.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Refused,
    /// Allowed once these have ended.
    InPlaceOf(Vec<IkeSaId>),
}

impl Registry {
    /// Decides, and books the new IKE SA so that one that follows on its heels sees it.
    pub(super) fn admit(
        &self,
        ike_sa: IkeSaId,
        policy: Unique,
        local: Identity,
        remote: Identity,
        initial_contact: bool,
    ) -> Verdict {
        let mut pairs = self.pairs();
        let mut others: Vec<_> = pairs
            .iter()
            .filter(|(id, (l, r))| **id != ike_sa && *l == local && *r == remote)
            .map(|(id, _)| *id)
            .collect();
        others.sort_unstable();
        let verdict = match policy {
            _ if others.is_empty() => Verdict::Allowed,
            Unique::Never => Verdict::Allowed,
            // RFC 7296 §2.4: the peer has lost whatever it had before.
            _ if initial_contact => Verdict::InPlaceOf(others),
            Unique::No => Verdict::Allowed,
            Unique::Replace => Verdict::InPlaceOf(others),
            Unique::Keep => Verdict::Refused,
        };
        if verdict != Verdict::Refused {
            pairs.insert(ike_sa, (local, remote));
        }
        verdict
    }

    /// An IKE SA is established, perhaps one that we opened.
    pub(super) fn insert(&self, status: &IkeSaStatus) {
        if let (Some(local), Some(remote)) = (&status.local_id, &status.remote_id) {
            self.pairs().insert(status.id, (local.clone(), remote.clone()));
        }
    }

    /// An IKE SA is gone, or never came to stand.
    pub(super) fn remove(&self, ike_sa: IkeSaId) {
        self.pairs().remove(&ike_sa);
    }

    fn pairs(&self) -> MutexGuard<'_, HashMap<IkeSaId, (Identity, Identity)>> {
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
        for (policy, initial_contact, expected) in [
            (Never, false, Verdict::Allowed),
            (Never, true, Verdict::Allowed),
            (No, false, Verdict::Allowed),
            (No, true, first()),
            (Replace, false, first()),
            (Replace, true, first()),
            (Keep, false, Verdict::Refused),
            (Keep, true, first()),
        ] {
            let registry = Registry::default();
            let admit = |ike_sa, policy, remote, initial_contact| {
                registry.admit(IkeSaId(ike_sa), policy, id("gw"), id(remote), initial_contact)
            };
            assert_eq!(admit(1, policy, "alice", initial_contact), Verdict::Allowed);
            assert_eq!(admit(2, policy, "bob", initial_contact), Verdict::Allowed);
            assert_eq!(admit(3, policy, "alice", initial_contact), expected, "{policy:?} {initial_contact}");
            registry.remove(IkeSaId(1));
            registry.remove(IkeSaId(3));
            assert_eq!(admit(4, policy, "alice", initial_contact), Verdict::Allowed);
        }
    }
}
