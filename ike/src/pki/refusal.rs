//! Why a certificate is not believed: whose it is and which rule it breaks.

use std::time::SystemTime;

use super::Certificate;
use super::oid::Oid;
use super::time::Utc;
use crate::crypto::signature::{KeyError, SignatureError, UnknownScheme};
use crate::identity::Identity;

/// A certificate that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate \"{subject}\": {fault}")]
pub struct Refusal {
    /// Whose certificate it is.
    pub subject: String,
    /// The rule it breaks.
    pub fault: Fault,
}

/// A rule that a certificate breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody is known by the issuer's name.
    #[error("there is no certificate of its issuer \"{0}\"")]
    NoIssuer(Identity),
    /// Its issuer is its subject, and it is not among the trusted ones.
    #[error("it is self-signed and not trusted")]
    UntrustedRoot,
    /// The issuer's key has not made the signature.
    #[error("the signature of its issuer \"{issuer}\" cannot be verified: {why}")]
    Signature {
        /// Whose signature it should be.
        issuer: Identity,
        /// What is wrong.
        why: String,
    },
    /// SHA-1 is not accepted unless the configuration names it.
    #[error("it is signed with SHA-1, which is not accepted unless the connection's auth says so")]
    Sha1,
    /// Signed otherwise than the configuration allows.
    #[error("it is signed with {0}, which the connection's auth does not allow")]
    Scheme(String),
    /// A key that cannot be used.
    #[error("its public key cannot be used: {0}")]
    Key(String),
    /// An RSA key of a length that no signature is verified with, whatever the configuration asks for.
    #[error("its RSA key has {0} bits: 2048 to 8192 are taken")]
    KeyLength(u32),
    /// A key weaker than the configuration asks for.
    #[error("its key of {bits} bits is too weak: the connection's auth asks for {wanted}")]
    Weak {
        /// Its length.
        bits: u32,
        /// The least length.
        wanted: u32,
    },
    /// It is not yet valid.
    #[error("it is not valid before {}", Utc(*.0))]
    NotYetValid(SystemTime),
    /// It is no longer valid.
    #[error("it has expired, {}", Utc(*.0))]
    Expired(SystemTime),
    /// A critical extension that is not understood (RFC 5280 §4.2).
    #[error("its critical extension {0} is not known")]
    CriticalExtension(Oid),
    /// It has issued a certificate without being an authority (RFC 5280 §4.2.1.9).
    #[error("it is that of no authority (basic constraints), and has issued another")]
    NoAuthority,
    /// An authority's, used by itself where an end entity's is expected.
    #[error("its key may not be used for signatures (key usage)")]
    KeyUsage,
    /// Its key is not for signing certificates (RFC 5280 §4.2.1.3).
    #[error("its key may not sign certificates (key usage)")]
    CertificateSigning,
    /// More authorities follow than it allows (RFC 5280 §4.2.1.9).
    #[error("{found} intermediate authorities follow, its path length allows {allowed}")]
    PathLength {
        /// How many there are.
        found: usize,
        /// How many there may be.
        allowed: u8,
    },
    /// A name outside of what an authority may issue for (RFC 5280 §4.2.1.10).
    #[error("its name \"{name}\" is outside of the name constraints of \"{authority}\"")]
    NameNotPermitted {
        /// The name.
        name: String,
        /// Whose constraints these are.
        authority: Identity,
    },
    /// A name an authority may not issue for (RFC 5280 §4.2.1.10).
    #[error("its name \"{name}\" is excluded by the name constraints of \"{authority}\"")]
    NameExcluded {
        /// The name.
        name: String,
        /// Whose constraints these are.
        authority: Identity,
    },
    /// Name constraints that cannot be applied.
    #[error("its name constraints cannot be applied: {0}")]
    NameConstraints(&'static str),
    /// Names times constraints are too many to be worth the comparing.
    #[error("it has too many names for the name constraints above it")]
    TooManyNames,
    /// More policies than anybody needs.
    #[error("it has {0} policies or policy mappings: 100 is the most")]
    TooManyPolicies(usize),
    /// Not valid under a policy that is asked for (RFC 5280 §6.1).
    #[error("it is not valid under the policy {0}, which is required")]
    Policy(Oid),
    /// An authority asks for a policy, and there is none that all agree on (RFC 5280 §4.2.1.11).
    #[error("it is valid under no policy, and its authorities require one")]
    NoPolicy,
    /// None of the authorities that the configuration names has issued it.
    #[error("its chain has none of the authorities the connection's cacerts name")]
    OtherAuthority,
    /// No authority above it has the identity that is asked for.
    #[error("no authority of its chain is \"{0}\", which the connection's ca_id asks for")]
    AuthorityId(Identity),
    /// It is not one of those the configuration names.
    #[error("it is none of the certificates the connection's certs name")]
    OtherCertificate,
    /// The chain would be longer than any in use.
    #[error("its chain is longer than {0} certificates")]
    TooLong(usize),
    /// So many authorities of the same names that trying them all is not worth it.
    #[error(
        "too many ways lead to its issuers: {0} signatures were verified without finding one to a trust anchor"
    )]
    TooWide(usize),
    /// It has been revoked.
    #[error("it was revoked {}: {reason}", Utc(*.at))]
    Revoked {
        /// When.
        at: SystemTime,
        /// Why, as its issuer says.
        reason: &'static str,
    },
    /// Nobody could say whether it has been revoked, and that is required.
    #[error("whether it is revoked is not known: {0}")]
    RevocationUnknown(String),
}

impl Fault {
    /// Of that certificate.
    pub(super) fn of(self, certificate: &Certificate) -> Refusal {
        Refusal { subject: certificate.to_string(), fault: self }
    }

    pub(super) fn signature(issuer: &Certificate, error: &SignatureError) -> Self {
        Self::Signature { issuer: issuer.subject().clone(), why: error.to_string() }
    }

    pub(super) fn scheme(issuer: &Certificate, error: &UnknownScheme) -> Self {
        Self::Signature { issuer: issuer.subject().clone(), why: error.to_string() }
    }

    pub(super) fn key(error: &KeyError) -> Self {
        Self::Key(error.to_string())
    }
}
