//! What goes to standard output.

use std::io::{self, Write as _};

use ferry_vici::{Message, dump};

/// How the daemon's messages are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people, in swanctl's layout.
    Human,
    /// The message on one line.
    Raw,
    /// The message, one element to a line.
    Pretty,
}

impl Format {
    /// The message under a label with a line end, or `None` where people are to read something better.
    pub(crate) fn dump(self, label: &str, message: &Message) -> Option<String> {
        match self {
            Self::Human => None,
            Self::Raw => Some(dump::raw(label, message) + "\n"),
            Self::Pretty => Some(dump::pretty(label, message)),
        }
    }
}

/// Writes to standard output at once, so that who follows a log through a pipe sees it.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
