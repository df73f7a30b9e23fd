//! What the kernel tells of its own accord.

use std::sync::Arc;

use ferry_xfrm::event::Acquire;
use ferry_xfrm::{Error, Event, Events};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, error, warn};

use super::children::Expiry;
use super::{State, selectors};
use crate::dataplane::PlaneEvent;

/// Peers of traps for anybody whose SAs the kernel waits for. Where it has asked for more that came to nothing, it forgets
/// by itself what it waits for.
const MOST_ASKED: usize = 4096;

/// Hears events and passes on what they mean, until nobody listens any more. Dropped midway it forgets the event it is at.
pub(super) async fn run(mut events: Events, state: Arc<Mutex<State>>, tell: UnboundedSender<PlaneEvent>) {
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = tell.closed() => return,
        };
        match event {
            Ok(event) => {
                let mut state = state.lock().await;
                for told in state.hear(event).await {
                    let _ = tell.send(told); // the daemon is going down
                }
            }
            Err(problem @ Error::Socket { .. }) => {
                error!(target: "knl", "acquires, expiries and mappings are not heard of any more: {problem}");
                return;
            }
            Err(problem) => warn!(target: "knl", "{problem}"),
        }
    }
}

impl State {
    async fn hear(&mut self, event: Event) -> Vec<PlaneEvent> {
        match event {
            Event::Acquire(acquire) => self.acquire(&acquire).await,
            Event::Expired(expired) => {
                let expiry = self.children.expire(&expired.sa, expired.is_hard).await;
                let told = expiry.map(|expiry| match expiry {
                    Expiry::FirstReceived(child_sa) => PlaneEvent::FirstReceived { child_sa },
                    Expiry::Soft(child_sa) => PlaneEvent::NearlyExhausted { child_sa },
                    Expiry::Hard(child_sa) => PlaneEvent::Exhausted { child_sa },
                });
                told.into_iter().collect()
            }
            Event::Moved(moved) => {
                let child_sa = self.children.receiver(&moved.id);
                child_sa
                    .map(|child_sa| PlaneEvent::PeerMoved { child_sa, remote: moved.to })
                    .into_iter()
                    .collect()
            }
            Event::SaRemoved(sa) => {
                let child_sa = self.children.lose(&sa.id);
                child_sa.into_iter().map(|child_sa| removed(child_sa, "somebody has removed")).collect()
            }
            Event::SasFlushed(_) => self.look_for_lost("somebody has flushed").await,
            Event::PolicyRemoved(_) | Event::PoliciesFlushed(_) => {
                self.restore_policies().await;
                Vec::new()
            }
            Event::Lost => {
                warn!(target: "knl", "the kernel had more to tell than it could: looking at all SAs and policies");
                self.restore_policies().await;
                self.look_for_lost("somebody has removed").await
            }
            // We set no limits to policies, and move SAs ourselves.
            _ => Vec::new(),
        }
    }

    /// A packet wants an SA that is not there.
    async fn acquire(&mut self, acquire: &Acquire) -> Vec<PlaneEvent> {
        let Some(reqid) = acquire.templates.iter().next().map(|template| template.reqid) else {
            return Vec::new();
        };
        if let Some((id, trap)) = self.traps.iter_mut().find(|(_, trap)| trap.reqid == reqid) {
            // A child that is there may be just moving, or else has its own way to be replaced. Of a trap for anybody the
            // kernel tells once for each peer, until it forgets that it has.
            let is_known = || self.children.with_reqid(reqid);
            if !trap.is_for_anybody && (is_known() || std::mem::replace(&mut trap.is_asking, true)) {
                return Vec::new();
            }
            if trap.is_for_anybody {
                if self.asked.len() >= MOST_ASKED {
                    self.asked.clear();
                }
                self.asked.insert(acquire.destination, acquire.number);
            }
            let (local, remote) = selectors::sides(&acquire.packet);
            return vec![PlaneEvent::Acquire { policy: *id, local, remote }];
        }
        debug!(target: "knl", "a packet ({}) wants an SA with reqid {reqid}", acquire.packet);
        self.look_for_lost("somebody has removed").await
    }

    async fn look_for_lost(&mut self, who: &str) -> Vec<PlaneEvent> {
        self.children.find_lost().await.into_iter().map(|child_sa| removed(child_sa, who)).collect()
    }

    async fn restore_policies(&mut self) {
        let restored = self.policies.restore().await;
        if restored > 0 {
            warn!(target: "knl", "somebody has removed {restored} of our IPsec policies: they are back");
        }
    }
}

fn removed(child_sa: ferry_ike::output::ChildSaId, who: &str) -> PlaneEvent {
    warn!(target: "knl", "{who} the SAs of CHILD_SA #{child_sa} from the kernel: it is made anew");
    PlaneEvent::Removed { child_sa }
}
