//! Attempts at IKE SAs and CHILD_SAs that have failed, kept for whoever asks why: `ferryctl explain`.

mod sentences;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ferry_ike::attempt::Attempt;

pub(crate) use self::sentences::{remedy, rule};

/// So many are kept of those that had a connection, and as many of strangers: these can send whatever they like, and must
/// not make others forgotten.
const KEPT: usize = 256;

/// A failed attempt, and when.
#[derive(Clone)]
pub(crate) struct Past {
    pub(crate) attempt: Attempt,
    /// The last time.
    pub(crate) at: SystemTime,
    /// How often it came to the same.
    pub(crate) times: u64,
}

/// What is kept. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Attempts {
    kept: Arc<Mutex<Kept>>,
}

/// The newest last.
#[derive(Default)]
struct Kept {
    known: VecDeque<Past>,
    strangers: VecDeque<Past>,
}

impl Attempts {
    /// Keeps one. The same failure of the same peer is kept once, and counted.
    pub(crate) fn keep(&self, attempt: Attempt, at: SystemTime) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let list = if attempt.connection.is_some() { &mut kept.known } else { &mut kept.strangers };
        let before = list.iter().position(|past| is_alike(&past.attempt, &attempt));
        let times = before.and_then(|place| list.remove(place)).map_or(0, |past| past.times);
        if list.len() == KEPT {
            list.pop_front();
        }
        list.push_back(Past { attempt, at, times: times + 1 });
    }

    /// Those of a connection or a peer, by its name, address or identity, or all. The newest first.
    pub(crate) fn of(&self, whom: Option<&str>) -> Vec<Past> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let all = kept.known.iter().chain(&kept.strangers);
        let mut found: Vec<_> =
            all.filter(|past| whom.is_none_or(|whom| is_about(&past.attempt, whom))).cloned().collect();
        found.sort_by_key(|past| std::cmp::Reverse(past.at));
        found
    }
}

fn is_alike(one: &Attempt, other: &Attempt) -> bool {
    let name = |attempt: &Attempt| attempt.connection.as_ref().map(|connection| connection.name.clone());
    one.path.remote.ip() == other.path.remote.ip()
        && one.role == other.role
        && one.aim == other.aim
        && one.peer == other.peer
        && one.reason == other.reason
        && name(one) == name(other)
}

fn is_about(attempt: &Attempt, whom: &str) -> bool {
    let connections =
        attempt.connection.iter().chain(attempt.passed_over.iter().map(|passed| &passed.connection));
    connections.into_iter().any(|connection| connection.name == whom)
        || attempt.path.remote.ip().to_string() == whom
        || attempt.peer.as_ref().is_some_and(|peer| peer.to_string() == whom)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use ferry_ike::attempt::{Aim, Cause};
    use ferry_ike::crypto::Role;
    use ferry_ike::identity::Identity;
    use ferry_ike::output::{IkeSaId, Path};

    use super::*;

    /// One of a peer of that name, who turned to us.
    pub(crate) fn attempt(peer: &str, cause: Cause) -> Attempt {
        Attempt {
            ike_sa: IkeSaId(1),
            aim: Aim::IkeSa,
            role: Role::Responder,
            path: Path {
                local: "192.0.2.1:500".parse().unwrap(),
                remote: "198.51.100.7:500".parse().unwrap(),
            },
            connection: None,
            peer: Identity::parse(peer).ok(),
            cause,
            reason: "for a reason".to_owned(),
            offered: vec![],
            passed_over: vec![],
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_same_failure_is_kept_once_and_counted() {
        let attempts = Attempts::default();
        for (seconds, peer) in [(1, "alice"), (2, "bob"), (3, "alice")] {
            attempts.keep(attempt(peer, Cause::Unauthenticated), at(seconds));
        }
        let kept = attempts.of(None).into_iter().map(|past| (past.at, past.times)).collect::<Vec<_>>();
        assert_eq!(kept, [(at(3), 2), (at(2), 1)]);
        assert_eq!(attempts.of(Some("bob")).len(), 1);
        assert_eq!(attempts.of(Some("198.51.100.7")).len(), 2);
        assert_eq!(attempts.of(Some("198.51.100.70")).len(), 0);
    }

    #[test]
    fn the_oldest_goes_first() {
        let attempts = Attempts::default();
        for number in 0..KEPT as u64 + 2 {
            attempts.keep(attempt(&format!("p{number}"), Cause::NoConnection), at(number));
        }
        assert_eq!(attempts.of(None).len(), KEPT);
        assert!(attempts.of(Some("p1")).is_empty());
        assert_eq!(attempts.of(Some("p2")).len(), 1);
    }
}
