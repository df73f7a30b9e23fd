//! Asking OCSP responders (RFC 6960 appendix A.1), and remembering what they said for as long as it counts.

use std::time::SystemTime;

use ferry_ike::crypto::CryptoProvider;
use ferry_ike::pki::{Certificate, MAX_OCSP_RESPONSE, OcspRequest, OcspStatus, Revoked, shown_status};
use tracing::{debug, info};

use super::Revocations;
use super::http::{Body, Fetch};

/// The most answers that are remembered.
const MAX_ANSWERS: usize = 256;

/// What a responder has said of a certificate.
pub(super) struct Answer {
    certificate: Certificate,
    issuer: Certificate,
    pub(super) status: OcspStatus,
    /// Since when it is here.
    pub(super) since: SystemTime,
    /// The response.
    pub(super) der: Vec<u8>,
}

impl Revocations {
    /// What responders say, the peer having shown answers already or when they are asked; `None` if there is none that
    /// counts. What is known already is not asked again, and nothing that a peer shows takes its place.
    pub(super) async fn ocsp(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        (shown, responders): (&[Vec<u8>], &[String]),
        problems: &mut Vec<String>,
    ) -> Option<Option<Revoked>> {
        if let Some(status) = self.answered(certificate, issuer) {
            return Some(status.revoked);
        }
        if !shown.is_empty()
            && let Some(answer) = self.read_shown(certificate, issuer, shown, problems)
        {
            let revoked = answer.status.revoked;
            self.remember(answer);
            return Some(revoked);
        }
        for uri in responders {
            match self.ask(uri, certificate, issuer).await {
                Ok(answer) => {
                    debug!(target: "cfg", "{uri} has answered about \"{certificate}\"");
                    let revoked = answer.status.revoked;
                    self.remember(answer);
                    return Some(revoked);
                }
                Err(why) => problems.push(why),
            }
        }
        None
    }

    /// The answer among those that a peer has shown (RFC 4806 §4.1), judged as if it came from a responder.
    fn read_shown(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        shown: &[Vec<u8>],
        problems: &mut Vec<String>,
    ) -> Option<Answer> {
        let (responders, now) = (self.inner.responders.load(), SystemTime::now());
        match shown_status(shown, certificate, issuer, &responders, now) {
            Ok((status, der)) => {
                info!(target: "cfg", "using the OCSP response about \"{certificate}\" that the peer has sent");
                let (certificate, issuer) = (certificate.clone(), issuer.clone());
                Some(Answer { certificate, issuer, status, since: now, der: der.to_vec() })
            }
            Err(why) => {
                problems.extend(why.iter().map(|why| format!("what the peer has sent: {why}")));
                None
            }
        }
    }

    pub(super) async fn ask(
        &self,
        uri: &str,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<Answer, String> {
        let mut nonce = [0; 32];
        CryptoProvider::system().random(&mut nonce);
        let here = |error: &dyn std::fmt::Display| format!("{uri}: {error}");
        let request = OcspRequest::new(certificate, issuer, nonce).map_err(|error| here(&error))?;
        let fetch = Fetch {
            uri,
            body: Some(Body { octets: request.der().to_vec(), kind: "application/ocsp-request" }),
            accept: "application/ocsp-response",
            limit: MAX_OCSP_RESPONSE,
            timeout: self.methods().timeout,
        };
        let der = fetch.run().await?;
        let responders = self.inner.responders.load();
        let now = SystemTime::now();
        let status = request.read(&der, issuer, &responders, now).map_err(|error| here(&error))?;
        Ok(Answer { certificate: certificate.clone(), issuer: issuer.clone(), status, since: now, der })
    }

    fn answered(&self, certificate: &Certificate, issuer: &Certificate) -> Option<OcspStatus> {
        self.answer(certificate, issuer, |answer| answer.status)
    }

    /// What `read` takes of the answer that is remembered, and counts now.
    pub(super) fn answer<R>(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        read: impl Fn(&Answer) -> R,
    ) -> Option<R> {
        let now = SystemTime::now();
        let known = self.known();
        let mut answers = known.answers.iter();
        let is_it = |answer: &&Answer| answer.certificate == *certificate && answer.issuer == *issuer;
        answers.find(|answer| answer.status.until >= now && is_it(answer)).map(read)
    }

    pub(super) fn remember(&self, answer: Answer) {
        let now = SystemTime::now();
        let answers = &mut self.known().answers;
        let is_it = |old: &Answer| old.certificate == answer.certificate && old.issuer == answer.issuer;
        answers.retain(|old| old.status.until >= now && !is_it(old));
        if answers.len() >= MAX_ANSWERS {
            answers.remove(0); // the oldest
        }
        answers.push(answer);
    }
}
