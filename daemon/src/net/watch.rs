//! Notices when addresses, interfaces and routes of this host change.

use std::time::Duration;

use ferry_xfrm::{Change, Changes, Error};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use crate::settings::Routing;

/// Changes seldom come alone: an interface comes with its address, and that with routes. What follows within so long
/// belongs to what was before.
const CALM: Duration = Duration::from_millis(20);

/// No longer than this is waited for calm.
const PATIENCE: Duration = Duration::from_millis(100);

/// A subscription to what concerns the ways to peers.
pub(crate) struct Watch {
    changes: Changes,
    follows_routes: bool,
}

impl Watch {
    /// Subscribes; what happens from now on is not missed.
    pub(crate) async fn open(settings: &Routing) -> Result<Self, Error> {
        let ignored_tables = [&[settings.table], settings.ignored_tables.as_slice()].concat();
        let changes = Changes::subscribe(&ignored_tables).await?;
        Ok(Self { changes, follows_routes: settings.follows_routes })
    }

    /// Calls `tell` after every change, and not more often than makes sense. It ends when the kernel tells no more;
    /// dropping it is harmless.
    pub(crate) async fn run(mut self, tell: impl AsyncFn()) {
        loop {
            if let Err(error) = self.changed().await {
                warn!(target: "net", "changes of addresses are not noticed any more: {error}");
                return;
            }
            tell().await;
        }
    }

    /// Waits for a change, and until there is calm again.
    async fn changed(&mut self) -> Result<(), Error> {
        loop {
            let change = self.changes.next().await?;
            if self.concerns(&change) {
                break;
            }
        }
        let latest = Instant::now() + PATIENCE;
        loop {
            let calm = latest.min(Instant::now() + CALM);
            match timeout_at(calm, self.changes.next()).await {
                Ok(change) => drop(change?),
                Err(_calm) => return Ok(()),
            }
        }
    }

    fn concerns(&self, change: &Change) -> bool {
        debug!(target: "net", "network change: {change:?}");
        match change {
            Change::Route { .. } | Change::Rule => self.follows_routes,
            _ => true,
        }
    }
}
