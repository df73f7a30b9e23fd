//! The keys of one SA as they come out of KEYMAT (RFC 7296 §2.17).

use thiserror::Error;
use zeroize::Zeroizing;

use crate::suite::Suite;

/// The keys of one direction of a CHILD_SA. Wiped when dropped.
///
/// For AEADs (and ChaCha20-Poly1305) the encryption key ends with the 4-octet salt, as KEYMAT delivers it
/// (RFC 4106 §8.1, RFC 7634 §2), and the integrity key is empty.
pub struct KeyMaterial {
    encryption: Zeroizing<Box<[u8]>>,
    integrity: Zeroizing<Box<[u8]>>,
}

impl KeyMaterial {
    /// Copies the keys. Their lengths are checked against the suite when an SA is made of them.
    pub fn new(encryption: &[u8], integrity: &[u8]) -> Self {
        Self { encryption: Zeroizing::new(encryption.into()), integrity: Zeroizing::new(integrity.into()) }
    }

    pub(crate) fn encryption(&self) -> &[u8] {
        &self.encryption
    }

    pub(crate) fn integrity(&self) -> &[u8] {
        &self.integrity
    }
}

/// Why no key schedule could be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The encryption key, salt included, has the wrong length for the suite.
    #[error("{suite} takes an encryption key of {expected} octets (salt included), got {got}")]
    EncryptionLength {
        /// The suite the key was meant for.
        suite: Suite,
        /// Octets the suite takes.
        expected: usize,
        /// Octets that were given.
        got: usize,
    },
    /// The integrity key has the wrong length for the suite.
    #[error("{suite} takes an integrity key of {expected} octets, got {got}")]
    IntegrityLength {
        /// The suite the key was meant for.
        suite: Suite,
        /// Octets the suite takes.
        expected: usize,
        /// Octets that were given.
        got: usize,
    },
    /// The system gave no randomness, which CBC suites need for their IVs.
    #[error("the system's random number generator failed")]
    Randomness,
}
