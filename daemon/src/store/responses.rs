//! Has what OCSP responders say of our own certificates at hand, for peers that ask to see it (RFC 4806).

use std::future::pending;

use ferry_ike::config::OwnResponse;
use tracing::info;

use super::Store;
use crate::control::Tunnels;
use crate::revocation::Link;

/// What the endpoints were given last.
#[derive(Default)]
pub(super) struct Shown {
    /// The certificates that it may be about.
    pub(super) links: Vec<Link>,
    pub(super) responses: Vec<OwnResponse>,
}

impl<T: Tunnels> Store<T> {
    /// Fetches what is missing or getting old, and gives it to the endpoints. It owns nothing, ends with the runtime, and
    /// may be dropped at any point: what is fetched is remembered at once.
    pub(crate) async fn show_responses(self) {
        loop {
            let revocations = &self.shared.revocations;
            let links = self.shared.shown.load().links.clone();
            let wait = revocations.renew_own(&links).await;
            let shown = self.shared.shown.load_full();
            if revocations.own_responses(&shown.links) != shown.responses {
                let loaded = self.shared.loaded.lock().await;
                self.publish(&loaded).await;
                for response in &self.shared.shown.load().responses {
                    if !shown.responses.contains(response) {
                        let certificate = &response.certificate;
                        info!(target: "cfg", "peers that ask are shown that our certificate \"{certificate}\" is good");
                    }
                }
            }
            let again = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = again => {}
                () = revocations.own_may_differ() => {}
            }
        }
    }
}
