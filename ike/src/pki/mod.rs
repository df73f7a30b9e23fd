//! X.509 certificates (RFC 5280) as IKE uses them (RFC 4945): what is in them, whether to believe it.
//!
//! Read [`Certificate`] first, then [`TrustStore::chain`], which finds out whether one can be believed. Nothing here waits, fetches or asks the time: the wall clock is an argument, and
//! what has to come from elsewhere is handed in.

mod certificate;
mod chain;
mod crl;
mod extensions;
pub mod files;
mod name_constraints;
mod names;
mod ocsp;
mod oid;
mod policy;
mod refusal;
#[cfg(test)]
mod testing;
mod time;

pub use certificate::{Certificate, CertificateError};
pub use chain::{Chain, Constraints, Revocation, TrustStore};
pub use crl::{CrlError, RevocationList, Revoked};
pub use extensions::{BasicConstraints, KeyUsage};
pub use ocsp::{
    MAX_RESPONSE as MAX_OCSP_RESPONSE, OcspError, OcspRequest, OcspStatus, shown as shown_status,
};
pub use oid::Oid;
pub use refusal::{Fault, Refusal};
