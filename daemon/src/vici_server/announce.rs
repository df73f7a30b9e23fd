//! What happens, as events for everybody.

use std::sync::Arc;
use std::time::Instant;

use ferry_ike::Event;
use tokio::sync::broadcast::error::RecvError;

use super::events::{EventName, Hub};
use super::render::{log, sas};
use crate::control::Tunnels;
use crate::logging::{Filter, Level, Logger};

/// Tells clients about SAs. Ends with the tunnels; dropping it loses nothing but events.
pub(super) async fn events<T: Tunnels>(tunnels: T, hub: Arc<Hub>) {
    let mut events = tunnels.events();
    loop {
        match events.recv().await {
            Ok(event) => announce(&event, &hub),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(target: "cfg", "{missed} events were not sent to VICI clients");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn announce(event: &Event, hub: &Hub) {
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
            hub.raise(EventName::ChildUpdown, || sas::child_updown(ike_sa, child_sa, true, now));
        }
        Event::ChildSaDown { ike_sa, child_sa, .. } => {
            hub.raise(EventName::ChildUpdown, || sas::child_updown(ike_sa, child_sa, false, now));
        }
        Event::IkeSaRekeyed { old, new } => {
            hub.raise(EventName::IkeRekey, || sas::ike_rekey(old, new, now));
        }
        Event::ChildRekeyed { ike_sa, old, new } => {
            hub.raise(EventName::ChildRekey, || sas::child_rekey(ike_sa, old, new, now));
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
