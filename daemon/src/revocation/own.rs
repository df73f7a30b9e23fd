//! What OCSP responders say of our own certificates, which peers may ask to see (RFC 4806). It is fetched before they do:
//! AUTH does not wait for a responder, and without an answer there is none to show.

use std::time::{Duration, SystemTime};

use ferry_ike::config::OwnResponse;
use ferry_ike::pki::Certificate;
use tracing::{debug, warn};

use super::Revocations;
use super::ocsp::Answer;

/// How long after an attempt that failed the next is made.
const RETRY: Duration = Duration::from_secs(60);

/// A certificate, and its issuer's.
pub(crate) type Link = (Certificate, Certificate);

impl Revocations {
    /// Something may have to be fetched, or shown no more.
    pub(crate) async fn own_may_differ(&self) {
        self.inner.own.notified().await;
    }

    /// Has that looked into.
    pub(crate) fn look_into_own(&self) {
        self.inner.own.notify_one();
    }

    /// The answers about these certificates that are here, count, and say nothing bad.
    pub(crate) fn own_responses(&self, links: &[Link]) -> Vec<OwnResponse> {
        let response = |(certificate, issuer): &Link| {
            let is_good = |answer: &Answer| answer.status.revoked.is_none().then(|| answer.der.clone());
            let der = self.answer(certificate, issuer, is_good)??;
            Some(OwnResponse { certificate: certificate.clone(), der })
        };
        links.iter().filter_map(response).collect()
    }

    /// Asks about those of which nothing is here, or what is here has come half the way to its end. Tells when to do so
    /// again, if ever.
    pub(crate) async fn renew_own(&self, links: &[Link]) -> Option<Duration> {
        let mut waits = Vec::new();
        for (certificate, issuer) in links {
            let now = SystemTime::now();
            let renewal = |answer: &Answer| {
                let lasts = answer.status.until.duration_since(answer.since).unwrap_or_default();
                answer.since + lasts / 2
            };
            let wait = self
                .answer(certificate, issuer, renewal)
                .and_then(|at| at.duration_since(now).ok().filter(|wait| !wait.is_zero()));
            match wait {
                Some(wait) => waits.push(wait),
                None => waits.extend(self.ask_of_own(certificate, issuer).await),
            }
        }
        // Not more often than that, however short-lived they are.
        waits.into_iter().min().map(|wait| wait.max(RETRY / 6))
    }

    /// Asks about one; how long what was learnt need not be asked again, `None` where there is nobody to ask.
    async fn ask_of_own(&self, certificate: &Certificate, issuer: &Certificate) -> Option<Duration> {
        let (responders, _) = self.places(certificate, issuer, self.methods());
        let mut problem = None;
        for uri in &responders {
            match self.ask(uri, certificate, issuer).await {
                Ok(answer) => {
                    let lasts = answer.status.until.duration_since(answer.since).unwrap_or_default();
                    match answer.status.revoked {
                        None => debug!(
                            target: "cfg",
                            "{uri} says that our own certificate \"{certificate}\" is good"
                        ),
                        Some(_) => warn!(
                            target: "cfg",
                            "{uri} says that our own certificate \"{certificate}\" is revoked"
                        ),
                    }
                    self.remember(answer);
                    return Some(lasts / 2);
                }
                Err(why) => problem = Some(why),
            }
        }
        problem.map(|why| {
            debug!(target: "cfg", "nothing to show peers about our own certificate \"{certificate}\": {why}");
            RETRY
        })
    }
}
