//! The VICI server: charon's control socket, so that its clients need not know who answers.
//!
//! [`client`] serves one connection over an [`outbox`] that never makes others wait,
//! [`events`] knows who wants to hear what, [`announce`] turns what happens into events, [`commands`] does
//! what is asked, by family, [`listings`] has what many ask for at once, and [`render`] the shapes of what is shown.

mod announce;
mod client;
mod commands;
mod events;
mod listings;
mod outbox;
mod render;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ferry_ike::status::Counters;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

pub(crate) use self::commands::{Arguments, read};
use self::events::Hub;
pub(crate) use self::listings::Listings;
use crate::attempts::Attempts;
use crate::control::Tunnels;
use crate::logging::Logger;
use crate::net::Bound;
use crate::pools::Leases;
use crate::reload::Reload;
use crate::store::Store;

/// How long clients may take to read what waits for them when the daemon goes down.
const FAREWELL: Duration = Duration::from_secs(1);

/// Everything that commands work on.
pub(crate) struct Control<T> {
    /// Connections and secrets.
    pub(crate) store: Store<T>,
    /// SAs.
    pub(crate) tunnels: T,
    /// Pools.
    pub(crate) leases: Leases,
    /// What has failed.
    pub(crate) attempts: Attempts,
    /// The log.
    pub(crate) logger: Logger,
    /// strongswan.conf.
    pub(crate) reload: Reload<T>,
    /// When the daemon started.
    pub(crate) started: Started,
    /// Counters when they were last reset.
    pub(crate) counted_before: Mutex<Counters>,
    /// What all who ask for IKE_SAs at once share.
    pub(crate) listings: Listings,
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    pub(crate) on_the_wall: SystemTime,
    pub(crate) at: Instant,
}

impl Started {
    /// This moment.
    pub(crate) fn now() -> Self {
        Self { on_the_wall: SystemTime::now(), at: Instant::now() }
    }
}

/// Waits until `stop` turns true, or can do so no more.
async fn until(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves clients until `stop` turns true, and then those that are there until they have read what waits for
/// them.
///
/// Dropping the future closes all connections; commands that run come to their end all the same.
pub(crate) async fn serve<T: Tunnels>(bound: Bound, control: Control<T>, mut stop: watch::Receiver<bool>) {
    let listener = match bound.listen() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(target: "cfg", "cannot serve the VICI socket: {error}");
            return;
        }
    };
    let (control, hub) = (Arc::new(control), Arc::new(Hub::default()));
    let mut announcers = JoinSet::new();
    announcers.spawn(announce::events(control.tunnels.clone(), Arc::clone(&hub)));
    announcers.spawn(announce::log(control.logger.clone(), Arc::clone(&hub)));
    let mut clients = JoinSet::new();
    let stopped = stop.clone();
    let mut number = 0_u64;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) => {
                    number += 1;
                    let (control, hub) = (Arc::clone(&control), Arc::clone(&hub));
                    clients.spawn(client::run(number, stream, control, hub, stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(target: "cfg", "accepting a VICI client failed: {error}");
                    // Out of file descriptors, most likely: trying again at once would only spin.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_ended) = clients.join_next() => {}
            () = until(&mut stop) => break,
        }
    }
    // Clients see the events of the end before their connections close.
    let farewell = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}
