//! Where something stands in a file, and what can be wrong there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::MAX_DEPTH;

/// A place in a file. Displayed as `file:line:column`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The file, as it was named or found by an include.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Text that is no settings. Nothing of it is used then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The grammar wants something else here.
    #[error("{position}: expected {expected}, found {found}")]
    Syntax {
        /// Where.
        position: Position,
        /// What the grammar allows.
        expected: String,
        /// What stands there. Never a value: those may be secret.
        found: String,
    },
    /// A section or a quoted string never ends.
    #[error("{opened}: {what} is not closed before the end of the file")]
    Unclosed {
        /// Where it was opened.
        opened: Position,
        /// What was opened.
        what: String,
    },
    /// Sections nest too deep, in the text or by inheritance.
    #[error("{position}: sections nest deeper than {MAX_DEPTH}")]
    TooDeep {
        /// The section too many, or the one that inherits so much.
        position: Position,
    },
    /// A file cannot be read.
    #[error("{}cannot read {}: {source}", prefix(.included_at), path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where it is included, if it is not the first.
        included_at: Option<Position>,
        /// Why not.
        source: std::io::Error,
    },
    /// An include pattern is not a glob, or its directory cannot be read.
    #[error("{position}: cannot look for files matching '{pattern}': {reason}")]
    BadInclude {
        /// Where it stands.
        position: Position,
        /// The pattern.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// A file includes itself, directly or by way of others.
    #[error("{position}: {} includes itself", path.display())]
    IncludeLoop {
        /// The include that closes the loop.
        position: Position,
        /// The file.
        path: PathBuf,
    },
    /// Files include each other without end.
    #[error("{position}: {what}")]
    TooManyIncludes {
        /// The include too many.
        position: Position,
        /// Which limit.
        what: String,
    },
    /// A section inherits from itself or from a section around it, directly or by way of others.
    #[error("{position}: section '{section}' inherits from itself")]
    InheritanceLoop {
        /// Where the section starts.
        position: Position,
        /// Its full path.
        section: String,
    },
    /// Inheritance multiplies settings beyond any use.
    #[error("{position}: section '{section}' inherits {what}")]
    InheritsTooMuch {
        /// Where the section starts.
        position: Position,
        /// Its full path.
        section: String,
        /// Which limit.
        what: String,
    },
}

impl SettingsError {
    /// Where it is written, unless it is about a file that nobody includes.
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Syntax { position, .. }
            | Self::Unclosed { opened: position, .. }
            | Self::TooDeep { position }
            | Self::BadInclude { position, .. }
            | Self::IncludeLoop { position, .. }
            | Self::TooManyIncludes { position, .. }
            | Self::InheritanceLoop { position, .. }
            | Self::InheritsTooMuch { position, .. } => Some(position),
            Self::Unreadable { included_at, .. } => included_at.as_ref(),
        }
    }
}

fn prefix(position: &Option<Position>) -> String {
    position.as_ref().map(|position| format!("{position}: ")).unwrap_or_default()
}

/// Something accepted that is hardly meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{position}: {what}")]
pub struct Warning {
    /// Where.
    pub position: Position,
    /// What, as a sentence.
    pub what: String,
}
