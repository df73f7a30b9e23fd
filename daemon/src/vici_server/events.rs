//! Who wants to hear what.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferry_vici::Message;

use super::outbox::{Outbox, event_frame};

macro_rules! events {
    ($($name:ident = $text:literal,)*) => {
        /// Events that clients may register for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum EventName { $($name,)* }

        impl EventName {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// By the name that clients use.
            pub(super) fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }

            /// The name that clients use.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

events! {
    Log = "log",
    ControlLog = "control-log",
    ListSa = "list-sa",
    ListPolicy = "list-policy",
    ListConn = "list-conn",
    ListCert = "list-cert",
    ListAuthority = "list-authority",
    IkeUpdown = "ike-updown",
    IkeRekey = "ike-rekey",
    IkeUpdate = "ike-update",
    ChildUpdown = "child-updown",
    ChildRekey = "child-rekey",
    Alert = "alert",
}

/// All clients and what they have registered for.
#[derive(Default)]
pub(super) struct Hub {
    clients: Mutex<BTreeMap<u64, Registered>>,
}

struct Registered {
    outbox: Outbox,
    /// How often for each event: a client gets every event as often as it has registered.
    counts: [u32; EventName::ALL.len()],
}

impl Hub {
    /// A client registers once more.
    pub(super) fn register(&self, client: u64, event: EventName, outbox: &Outbox) {
        let mut clients = self.lock();
        let registered = clients
            .entry(client)
            .or_insert_with(|| Registered { outbox: outbox.clone(), counts: Default::default() });
        if let Some(count) = registered.counts.get_mut(event as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// A client takes one registration back. False if it has none.
    pub(super) fn unregister(&self, client: u64, event: EventName) -> bool {
        let mut clients = self.lock();
        let count = clients.get_mut(&client).and_then(|registered| registered.counts.get_mut(event as usize));
        match count {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Forgets a client.
    pub(super) fn forget(&self, client: u64) {
        self.lock().remove(&client);
    }

    /// How often a client has registered.
    pub(super) fn count(&self, client: u64, event: EventName) -> u32 {
        self.lock().get(&client).map_or(0, |registered| registered.count(event))
    }

    /// Tells all who have registered. The message is only made if there is anybody; nobody is waited for.
    pub(super) fn raise(&self, event: EventName, message: impl FnOnce() -> Message) {
        let clients = self.lock();
        let mut listeners = clients.values().filter(|registered| registered.count(event) > 0).peekable();
        if listeners.peek().is_none() {
            return;
        }
        // One that no packet can hold is nobody's to read; nothing is logged here, for it would come back as
        // an event.
        let Ok(frame) = event_frame(event.name(), &message()) else { return };
        for registered in listeners {
            for _ in 0..registered.count(event) {
                if registered.outbox.offer(frame.clone()).is_err() {
                    break; // its own task notices, says so, and has it forgotten
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Registered>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    fn count(&self, event: EventName) -> u32 {
        self.counts.get(event as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::super::outbox::outbox;
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for event in EventName::ALL {
            assert_eq!(EventName::from_name(event.name()), Some(*event));
        }
        assert_eq!(EventName::from_name("ike-updowns"), None);
    }

    #[tokio::test]
    async fn an_event_comes_as_often_as_it_was_registered_for() {
        let (hub, (outbox, outgoing)) = (Hub::default(), outbox());
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let writer = tokio::spawn(outgoing.write_to(ours));
        assert!(!hub.unregister(1, EventName::Log));
        for _ in 0..3 {
            hub.register(1, EventName::Log, &outbox);
        }
        assert!(hub.unregister(1, EventName::Log));
        hub.raise(EventName::Log, || Message::new().with("msg", "hello"));
        hub.raise(EventName::Alert, || panic!("nobody listens"));
        hub.forget(1);
        hub.raise(EventName::Log, || panic!("nobody listens any more"));
        drop(outbox);
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        let once = event_frame("log", &Message::new().with("msg", "hello")).unwrap();
        assert_eq!(read, once.repeat(2));
        writer.await.unwrap();
    }
}
