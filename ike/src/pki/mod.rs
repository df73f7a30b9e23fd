//! X.509 certificates (RFC 5280) as IKE uses them (RFC 4945): what is in them, whether to believe it.
//!
//! Read [`Certificate`] first. Nothing here waits, fetches or asks the time: the wall clock is an argument, and
//! what has to come from elsewhere is handed in.

mod certificate;
mod extensions;
mod names;
mod oid;
#[cfg(test)]
mod testing;

pub use certificate::{Certificate, CertificateError};
pub use extensions::{BasicConstraints, KeyUsage};
pub use oid::Oid;
