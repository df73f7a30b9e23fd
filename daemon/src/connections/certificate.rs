//! Certificates as they come over VICI and out of files.

use ferry_ike::pki::{Certificate, files};

/// The first certificate in `octets`.
pub(crate) fn certificate(octets: &[u8]) -> Result<Certificate, String> {
    let mut all = files::certificates(octets).map_err(|error| error.to_string())?;
    Ok(all.swap_remove(0))
}
