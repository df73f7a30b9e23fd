//! What can be wrong with a configuration that comes over VICI.

use thiserror::Error;

/// Why a section is refused. Nothing of it is used then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ConfigError {
    /// A key, list or section that does not belong there. A list given as a single value is none, and the
    /// other way round.
    #[error("there is no {kind} {path}")]
    Unknown {
        /// Key, list or section.
        kind: &'static str,
        /// Its full path.
        path: String,
    },
    /// A value that is not what its key needs.
    #[error("{path} = {value}: expected {expected}")]
    Invalid {
        /// The key's full path.
        path: String,
        /// The value.
        value: String,
        /// What it should have been.
        expected: String,
    },
    /// Something that charon can do and we cannot, and that nobody should believe is done.
    #[error("{path} = {value} is not supported yet: {reason}")]
    Unsupported {
        /// The key's full path.
        path: String,
        /// The value.
        value: String,
        /// What can be done instead, or why not.
        reason: String,
    },
    /// Something is missing, or does not go together.
    #[error("{path}: {problem}")]
    Problem {
        /// The section's full path.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ConfigError {
    /// The full path of what it is about.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Unknown { path, .. }
            | Self::Invalid { path, .. }
            | Self::Unsupported { path, .. }
            | Self::Problem { path, .. } => path,
        }
    }
}
