//! Asking OCSP responders (RFC 6960 appendix A.1), and remembering what they said for as long as it counts.

use std::time::SystemTime;

use ferry_ike::crypto::CryptoProvider;
use ferry_ike::pki::{Certificate, MAX_OCSP_RESPONSE, OcspRequest, OcspStatus, Revoked};
use tracing::debug;

use super::Revocations;
use super::http::{Body, Fetch};

/// The most answers that are remembered.
const MAX_ANSWERS: usize = 256;

/// What a responder has said of a certificate.
pub(super) struct Answer {
    certificate: Certificate,
    issuer: Certificate,
    status: OcspStatus,
    /// The response.
    pub(super) der: Vec<u8>,
}

impl Revocations {
    /// What responders say; `None` if none gives an answer that counts. What is known already is not asked again.
    pub(super) async fn ocsp(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        responders: &[String],
        problems: &mut Vec<String>,
    ) -> Option<Option<Revoked>> {
        if let Some(status) = self.answered(certificate, issuer) {
            return Some(status.revoked);
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

    async fn ask(
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
        let status =
            request.read(&der, issuer, &responders, SystemTime::now()).map_err(|error| here(&error))?;
        Ok(Answer { certificate: certificate.clone(), issuer: issuer.clone(), status, der })
    }

    fn answered(&self, certificate: &Certificate, issuer: &Certificate) -> Option<OcspStatus> {
        let now = SystemTime::now();
        let known = self.known();
        let mut answers = known.answers.iter();
        let is_it = |answer: &&Answer| answer.certificate == *certificate && answer.issuer == *issuer;
        answers.find(|answer| answer.status.until >= now && is_it(answer)).map(|answer| answer.status)
    }

    fn remember(&self, answer: Answer) {
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
