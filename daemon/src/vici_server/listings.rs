//! Listings of IKE_SAs that are shared by all who ask at the same time.
//!
//! To ask every shard for thousands of IKE_SAs, and to put them into words, takes time that the shards and all clients
//! have in common. Who asks while a listing is being made waits for the next one, and shares it with everybody who has asked
//! meanwhile: nobody is told less than was true when they asked.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use ferry_ike::output::ChildSaId;
use ferry_ike::status::IkeSaStatus;
use ferry_vici::Message;
use tokio::sync::Mutex;

use super::render::sas;
use crate::control::{ChildUse, Tunnels};
use crate::vici_server::events::EventName;
use crate::vici_server::outbox::{Frame, event_frame};

/// Where listings are made, one at a time.
#[derive(Default)]
pub(crate) struct Listings {
    latest: Mutex<Weak<Listing>>,
}

/// All IKE_SAs at one moment.
pub(super) struct Listing {
    /// When it was begun.
    begun: Instant,
    /// When it was whole.
    now: Instant,
    entries: Vec<Entry>,
    uses: HashMap<ChildSaId, ChildUse>,
}

/// An IKE_SA, and the event with all of it once somebody has asked for that.
pub(super) struct Entry {
    pub(super) ike_sa: IkeSaStatus,
    whole: OnceLock<Option<Frame>>,
}

impl Listings {
    /// The IKE_SAs as they are now, or were after this was called.
    pub(super) async fn take<T: Tunnels>(&self, tunnels: &T) -> Arc<Listing> {
        let asked = Instant::now();
        let mut latest = self.latest.lock().await;
        if let Some(listing) = latest.upgrade().filter(|listing| listing.begun >= asked) {
            return listing;
        }
        let begun = Instant::now();
        let ike_sas = tunnels.list().await;
        let children =
            ike_sas.iter().flat_map(|ike_sa| ike_sa.children.iter().map(|child| child.id)).collect();
        let uses = tunnels.usage(children).await;
        let entries = ike_sas.into_iter().map(|ike_sa| Entry { ike_sa, whole: OnceLock::new() }).collect();
        let listing = Arc::new(Listing { begun, now: Instant::now(), entries, uses });
        *latest = Arc::downgrade(&listing);
        listing
    }
}

impl Listing {
    /// All of them, by age.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The event about one with all its children, which is made once. `None` if there is no way to say it.
    pub(super) fn whole(&self, entry: &Entry) -> Option<Frame> {
        entry.whole.get_or_init(|| self.frame(&entry.ike_sa)).clone()
    }

    /// The event about one, of which some children may be left out.
    pub(super) fn frame(&self, ike_sa: &IkeSaStatus) -> Option<Frame> {
        let message: Message = sas::list_sa(ike_sa, &self.uses, self.now);
        let frame = event_frame(EventName::ListSa.name(), &message);
        frame.inspect_err(|error| tracing::warn!(target: "cfg", "an IKE_SA cannot be listed: {error}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::{Fake, child_sa, ike_sa};

    #[tokio::test]
    async fn who_asks_later_is_told_what_is_true_then() {
        let (listings, fake) = (Listings::default(), Fake::default());
        fake.set_sas(vec![ike_sa(1, "gw", vec![child_sa(10, "net")])]);
        let earlier = listings.take(&fake).await;
        fake.set_sas(vec![]);
        let later = listings.take(&fake).await;
        assert_eq!((earlier.entries().len(), later.entries().len()), (1, 0));
    }

    #[tokio::test]
    async fn who_asks_while_others_wait_shares_what_they_get() {
        let (listings, fake) = (Listings::default(), Fake::default());
        fake.set_sas(vec![ike_sa(1, "gw", vec![child_sa(10, "net")])]);
        let busy = listings.latest.lock().await;
        let release = async {
            tokio::task::yield_now().await;
            drop(busy);
        };
        let (one, other, ()) = tokio::join!(listings.take(&fake), listings.take(&fake), release);
        assert!(Arc::ptr_eq(&one, &other));
        let frames = [&one, &other].map(|listing| listing.whole(&listing.entries()[0]).unwrap());
        assert!(Arc::ptr_eq(&frames[0], &frames[1]), "it is put into words once");
    }
}
