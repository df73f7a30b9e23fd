//! Children that are begun of our own accord, and begun again when that fails.
//!
//! charon gives up after `keyingtries`; we go on as long as the configuration wants the child to be there, at growing
//! intervals, so that neither a peer that refuses nor the network is hammered. One task looks after one child.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ferry_ike::config::{AddressPattern, Child, ChildAction, Connection};
use tokio::sync::Notify;

use super::{LoadedConnection, Store};
use crate::control::Tunnels;

/// The wait after the first failure. It doubles with each further one.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(300);
/// A child that was up for so long, or twice as long as the last wait, begins with a clean slate.
const CALM: Duration = Duration::from_secs(60);

/// What is being started, and how often that has failed.
#[derive(Default)]
pub(super) struct Starts(Mutex<HashMap<Key, Start>>);

/// The names of a connection and of its child.
type Key = (String, String);

#[derive(Default)]
struct Start {
    patience: Patience,
    /// Wakes the task that looks after it, if there is one.
    task: Option<Arc<Notify>>,
    /// It is there as it was configured before, and is to be as it is now.
    replaces: bool,
}

/// How long to wait before the next attempt.
#[derive(Default)]
struct Patience {
    attempts: u32,
    last: Option<Instant>,
}

impl Patience {
    /// There is to be another attempt. The wait before it; `draw` is anything at random.
    fn next(&mut self, now: Instant, draw: u64) -> Duration {
        let is_calm = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) > CALM.max(Self::wait(self.attempts) * 2));
        if is_calm {
            self.attempts = 0;
        }
        let wait = Self::wait(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        self.last = Some(now + wait);
        // Up to a quarter less, so that all who lost the same peer do not come back at once.
        wait.saturating_sub(wait.mul_f64(f64::from(u32::try_from(draw % 1024).unwrap_or(0)) / 4096.0))
    }

    /// The full wait after so many attempts: none before the first.
    fn wait(attempts: u32) -> Duration {
        match attempts {
            0 => Duration::ZERO,
            n => SHORTEST.saturating_mul(1_u32.checked_shl(n - 1).unwrap_or(u32::MAX)).min(LONGEST),
        }
    }
}

impl Starts {
    /// A task begins to look after a child. `None` if there is one already; it is woken.
    fn begin(&self, key: &Key) -> Option<Arc<Notify>> {
        let mut starts = self.lock();
        let start = starts.entry(key.clone()).or_default();
        match &start.task {
            Some(task) => {
                task.notify_one();
                None
            }
            None => {
                let task = Arc::new(Notify::new());
                start.task = Some(Arc::clone(&task));
                Some(task)
            }
        }
    }

    fn next(&self, key: &Key) -> Duration {
        let draw = RandomState::new().hash_one(());
        self.lock().entry(key.clone()).or_default().patience.next(Instant::now(), draw)
    }

    /// The task is done, unless there is something to replace meanwhile.
    fn is_done(&self, key: &Key) -> bool {
        let mut starts = self.lock();
        let Some(start) = starts.get_mut(key) else { return true };
        if !start.replaces {
            start.task = None;
        }
        !start.replaces
    }

    /// What is there of a child is to be replaced by the task that is begun next, or there already.
    pub(super) fn replace(&self, connection: &str, child: &str) {
        self.lock().entry((connection.to_owned(), child.to_owned())).or_default().replaces = true;
    }

    /// Whether there is something to replace that the task did not know of.
    fn replaces(&self, key: &Key) -> bool {
        self.lock().get_mut(key).is_some_and(|start| std::mem::take(&mut start.replaces))
    }

    /// What happened before does not count any more: it is another configuration.
    fn forget(&self, key: &Key) {
        if let Some(start) = self.lock().get_mut(key) {
            start.patience = Patience::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Start>> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Tunnels> Store<T> {
    /// A configuration was loaded: its children are begun without a wait.
    pub(super) fn forget_failures(&self, connection: &str, child: &str) {
        self.shared.starts.forget(&(connection.to_owned(), child.to_owned()));
    }

    /// Begins to make a child, and goes on until it is there, or not wanted any longer.
    pub(super) fn start(&self, connection: &str, child: &str) {
        let key = (connection.to_owned(), child.to_owned());
        let Some(woken) = self.shared.starts.begin(&key) else { return };
        let store = self.clone();
        tokio::spawn(async move {
            store.keep_starting(&key, &woken).await;
            while !store.shared.starts.is_done(&key) {
                store.keep_starting(&key, &woken).await;
            }
        });
    }

    /// Ends when the child is up. Dropping it midway is as if it had never been begun.
    async fn keep_starting(&self, key: &Key, woken: &Notify) {
        let (connection_name, child_name) = key;
        let mut replaces = false;
        for attempt in 0_u32.. {
            let wait = self.shared.starts.next(key);
            if !wait.is_zero() {
                tracing::info!(
                    target: "cfg",
                    "starting '{child_name}' of connection '{connection_name}' in {} seconds", wait.as_secs()
                );
                let _woken_or_not = tokio::time::timeout(wait, woken.notified()).await;
            }
            replaces |= self.shared.starts.replaces(key);
            // It may have been unloaded or changed in the meantime, or made by the peer.
            let found = self.find(Some(connection_name), Some(child_name)).await;
            let Ok((connection, Some(child))) = found else { return };
            let is_wanted = keeps_up(&child) || (replaces && self.has_outdated(&connection, &child).await);
            let is_there = match (attempt, replaces) {
                (0, _) => false,
                (_, true) => self.retire(&connection, &child).await,
                (_, false) => self.is_up(connection_name, child_name).await,
            };
            if !is_wanted || is_there {
                return;
            }
            match self.initiate(&connection, Some(child)).await {
                Ok(()) if !replaces => return,
                Ok(()) => {
                    // The one that is there as it was before goes now, unless the configuration has changed once more.
                    let found = self.find(Some(connection_name), Some(child_name)).await;
                    let Ok((connection, Some(child))) = found else { return };
                    if self.retire(&connection, &child).await {
                        return;
                    }
                }
                Err(error) => tracing::warn!(
                    target: "cfg",
                    "starting '{child_name}' of connection '{connection_name}' failed: {error}"
                ),
            }
        }
    }

    async fn is_up(&self, connection: &str, child: &str) -> bool {
        let ike_sas = self.shared.tunnels.list().await;
        let of_it = ike_sas.iter().filter(|ike_sa| ike_sa.connection.as_deref() == Some(connection));
        of_it
            .flat_map(|ike_sa| &ike_sa.children)
            .any(|other| other.name == child && other.installed.is_some())
    }

    /// Makes an IKE_SA of a connection, and a CHILD_SA if one is given. Names of hosts are looked up anew; while they
    /// have no address, it is tried again after `charon.retry_initiate_interval`, if that is set.
    ///
    /// Dropping the future does not stop what was begun.
    pub(crate) async fn initiate(
        &self,
        connection: &LoadedConnection,
        child: Option<Arc<Child>>,
    ) -> Result<(), String> {
        loop {
            let resolved = self.refresh(connection, crate::connections::Occasion::Asked).await;
            let retry = self.shared.defaults.load().retry_initiate;
            match retry.filter(|_| is_unresolved(&resolved)) {
                Some(interval) => {
                    tracing::info!(
                        target: "cfg",
                        "connection '{}' has no address to initiate to, trying again in {} seconds",
                        connection.name(),
                        interval.as_secs()
                    );
                    tokio::time::sleep(interval).await;
                }
                None => return self.shared.tunnels.initiate(resolved, child, None).await,
            }
        }
    }
}

/// Nothing is known of the peer but names, and none of these has an address.
fn is_unresolved(connection: &Connection) -> bool {
    let is_lost = |pattern: &AddressPattern| matches!(pattern, AddressPattern::Name(_, addresses) if addresses.is_empty());
    connection.remote_addrs.iter().all(is_lost)
}

/// Whether a child is to be up of our own accord, at one time or another.
pub(super) fn keeps_up(child: &Child) -> bool {
    [child.start_action, child.close_action, child.dpd_action].into_iter().any(ChildAction::starts)
}

#[cfg(test)]
mod tests {
    use ferry_vici::Section;

    use super::*;
    use crate::control::tests::{Told, child_sa, ike_sa};
    use crate::store::tests::{connection, store};

    #[test]
    fn waits_grow_and_begin_anew_after_a_calm() {
        let mut patience = Patience::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..11 {
            let wait = patience.next(now, 0);
            waits.push(wait.as_secs());
            now += wait + Duration::from_secs(5);
        }
        assert_eq!(waits, [0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(patience.next(now + Duration::from_secs(590), 0).as_secs(), 300);
        now += Duration::from_secs(590 + 300 + 601);
        assert_eq!(patience.next(now, 0).as_secs(), 0);
        // A peer that takes us and throws us out again.
        assert_eq!(patience.next(now + Duration::from_secs(30), 0).as_secs(), 2);
    }

    #[test]
    fn a_wait_is_shortened_at_random_by_a_quarter_at_most() {
        let wait = |draw| {
            let mut patience = Patience { attempts: 9, last: Some(Instant::now()) };
            patience.next(Instant::now(), draw)
        };
        assert_eq!(wait(0), LONGEST);
        assert!(wait(1023) < LONGEST && wait(1023) > LONGEST.mul_f64(0.75));
    }

    fn starting() -> Section {
        connection(&[("x", Section::new().with("start_action", "start"))])
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_begun_again_until_it_is_not_wanted() {
        let (store, mut fake) = store();
        fake.refuse("nobody there");
        store.load_connection("a", &starting()).await.unwrap();
        let initiated = Told::Initiate("a".to_owned(), Some("x".to_owned()));
        for _ in 0..5 {
            assert_eq!(fake.next_told().await, initiated);
        }
        store.unload_connection("a").await.unwrap();
        assert!(fake.nothing_more(Duration::from_secs(1000)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_peer_has_made_is_not_made_again() {
        let (store, mut fake) = store();
        fake.refuse("nobody there");
        store.load_connection("a", &starting()).await.unwrap();
        fake.next_told().await;
        let mut child = child_sa(10, "x");
        child.installed = Some(Instant::now());
        fake.set_sas(vec![ike_sa(1, "a", vec![child])]);
        assert!(fake.nothing_more(Duration::from_secs(1000)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn another_configuration_is_tried_at_once() {
        let (store, mut fake) = store();
        fake.refuse("nobody there");
        store.load_connection("a", &starting()).await.unwrap();
        for _ in 0..6 {
            fake.next_told().await;
        }
        let before = tokio::time::Instant::now();
        store.load_connection("a", &starting().with("encap", "yes")).await.unwrap();
        fake.next_told().await;
        assert!(before.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn names_without_addresses_are_told_from_others() {
        let parse = |addrs: &[&str]| {
            let section = connection(&[]).with_list("remote_addrs", addrs.iter().copied());
            crate::connections::parse("a", &section, &crate::store::tests::DEFAULTS).unwrap().connection
        };
        assert!(is_unresolved(&parse(&["gw.example.net"])));
        assert!(!is_unresolved(&parse(&["gw.example.net", "192.0.2.1"])));
        assert!(!is_unresolved(&parse(&["%any"])));
    }
}
