//! Certificates as they come over VICI and out of files: DER, or PEM (RFC 7468) with text around it.

use der::Document;
use ferry_ike::pki::Certificate;

const BEGIN: &str = "-----BEGIN ";
const LABELS: [&str; 2] = ["CERTIFICATE", "X509 CERTIFICATE"];

/// The first certificate in `octets`.
pub(crate) fn certificate(octets: &[u8]) -> Result<Certificate, String> {
    if octets.first() == Some(&0x30) {
        return Certificate::from_der(octets).map_err(|error| error.to_string());
    }
    let text = std::str::from_utf8(octets).map_err(|_| "it is neither".to_owned())?;
    let start = text.find(BEGIN).ok_or("it is neither")?;
    let (label, document) = Document::from_pem(text.get(start..).unwrap_or_default())
        .map_err(|error| format!("its PEM cannot be read: {error}"))?;
    if !LABELS.contains(&label) {
        return Err(format!("it is the PEM of a {label}"));
    }
    Certificate::from_der(document.as_bytes()).map_err(|error| error.to_string())
}
