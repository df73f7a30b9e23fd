//! What happens, as events for everybody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ferry_ike::Event;
use ferry_ike::output::ChildSaId;
use tokio::sync::broadcast::error::RecvError;

use super::events::{EventName, Hub};
use super::render::{log, sas};
use crate::control::{ChildNumbers, Tunnels};
use crate::logging::{Filter, Level, Logger};

/// Tells clients about SAs. Ends with the tunnels; dropping it loses nothing but events.
pub(super) async fn events<T: Tunnels>(tunnels: T, hub: Arc<Hub>) {
    let mut events = tunnels.events();
    let mut numbers = Numbers::default();
    loop {
        match events.recv().await {
            Ok(event) => {
                numbers.learn(&event, &tunnels).await;
                announce(&event, &numbers, &hub);
                numbers.forget(&event);
            }
            Err(RecvError::Lagged(missed)) => {
                // Of some that are gone we have not heard.
                numbers = Numbers::default();
                tracing::warn!(target: "cfg", "{missed} events were not sent to VICI clients");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// The numbers that CHILD_SAs have in the kernel, which are gone with them when it is told that they go.
#[derive(Default)]
struct Numbers(HashMap<ChildSaId, ChildNumbers>);

impl Numbers {
    async fn learn<T: Tunnels>(&mut self, event: &Event, tunnels: &T) {
        let (Event::ChildSaUp { child_sa: new, .. } | Event::ChildRekeyed { new, .. }) = event else {
            return;
        };
        let used = tunnels.usage(vec![new.id]).await;
        if let Some(numbers) = used.get(&new.id).and_then(|used| used.numbers) {
            self.0.insert(new.id, numbers);
        }
    }

    fn forget(&mut self, event: &Event) {
        if let Event::ChildSaDown { child_sa: gone, .. } | Event::ChildRekeyed { old: gone, .. } = event {
            self.0.remove(&gone.id);
        }
    }

    fn of(&self, child_sa: ChildSaId) -> Option<ChildNumbers> {
        self.0.get(&child_sa).copied()
    }
}

fn announce(event: &Event, numbers: &Numbers, hub: &Hub) {
    let now = Instant::now();
    match event {
        Event::IkeSaUp(status) => hub.raise(EventName::IkeUpdown, || sas::ike_updown(status, true, now)),
        Event::IkeSaDown { status, .. } => {
            hub.raise(EventName::IkeUpdown, || sas::ike_updown(status, false, now));
        }
        Event::IkeSaMoved { status, path } => {
            hub.raise(EventName::IkeUpdate, || sas::ike_update(status, path, now));
        }
        Event::ChildSaUp { ike_sa, child_sa } => {
            hub.raise(EventName::ChildUpdown, || {
                sas::child_updown(ike_sa, (child_sa, numbers.of(child_sa.id)), true, now)
            });
        }
        Event::ChildSaDown { ike_sa, child_sa, .. } => {
            hub.raise(EventName::ChildUpdown, || {
                sas::child_updown(ike_sa, (child_sa, numbers.of(child_sa.id)), false, now)
            });
        }
        Event::IkeSaRekeyed { old, new } => {
            hub.raise(EventName::IkeRekey, || sas::ike_rekey(old, new, now));
        }
        Event::ChildRekeyed { ike_sa, old, new } => {
            hub.raise(EventName::ChildRekey, || {
                let [old, new] = [old, new].map(|child| (&**child, numbers.of(child.id)));
                sas::child_rekey(ike_sa, old, new, now)
            });
        }
        // Whoever gave the command knows; that the old and the new one are down has been told.
        Event::Completed { .. } | Event::NotRenewed { .. } | Event::Failed(_) => {}
    }
}

/// Sends clients the log. Nothing is logged on the way, so that no line makes another. Dropping it loses
/// nothing but events.
pub(super) async fn log(logger: Logger, hub: Arc<Hub>) {
    let mut feed = logger.feed(Filter::Everything, Level::CONTROL);
    while let Some(line) = feed.next().await {
        hub.raise(EventName::Log, || log::broadcast(&line));
    }
}
