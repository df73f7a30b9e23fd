//! Who vouches for a peer's certificate.

use std::time::SystemTime;

use ferry_ike::Outcome;
use ferry_ike::output::CertificateCheck;
use tracing::info;

/// Looks for a chain from the certificate to a trust anchor that the connection takes.
pub(super) fn verify(check: &CertificateCheck) -> Outcome {
    let constraints = check.connection.remote.first().map(|remote| remote.trust.clone()).unwrap_or_default();
    match check.trust.chain(&check.certificate, &check.sent, &constraints, SystemTime::now()) {
        Ok(chain) => {
            info!(target: "cfg", "using certificate of '{}': {chain}", check.id);
            Outcome::Done
        }
        Err(refusal) => {
            Outcome::Failed(format!("the certificate of '{}' is not trusted: {refusal}", check.id))
        }
    }
}
