//! From `tracing` to lines as charon writes them, which scripts and eyes know how to read.
//!
//! Events carry their group as target (`"ike"`, `"net"`, `"cfg"` ...). Levels map to charon's: `error`,
//! `warn` and `info` to 1, or to 0 with the field `audit = true`; `debug` to 2; `trace` to 3. A span named
//! `ike_sa` with the fields `conn` and `id` says which SA the events inside are about.
//!
//! Read [`mod@line`] for what a line is, [`layer`] for how events become lines, then where they go: [`output`] to
//! files ([`mod@file`]) and the journal, [`feed`] to VICI clients.

mod feed;
mod file;
mod journal;
mod layer;
mod line;
mod output;

use std::ffi::CString;
use std::path::PathBuf;

pub(crate) use feed::{Feed, Filter};
pub(crate) use layer::Logger;
pub(crate) use line::{Group, Level, Line};

/// Where log lines go.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogSettings {
    /// Files and standard streams.
    pub(crate) files: Vec<FileLog>,
    /// systemd's journal, if it was asked for.
    pub(crate) journal: Option<Levels>,
}

impl LogSettings {
    /// What holds when nothing is configured: control flow and errors on standard error, which a service
    /// manager keeps.
    pub(crate) fn to_stderr() -> Self {
        Self { files: vec![FileLog::new(Destination::Stderr)], journal: None }
    }
}

/// One file that lines go to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FileLog {
    /// Which file.
    pub(crate) destination: Destination,
    /// What of each group.
    pub(crate) levels: Levels,
    /// Keep what the file has.
    pub(crate) append: bool,
    /// Write every line at once, not when a buffer is full.
    pub(crate) flush_line: bool,
    /// Say which IKE_SA a line is about.
    pub(crate) ike_name: bool,
    /// Put the level behind the group.
    pub(crate) log_level: bool,
    /// A `strftime` format for the beginning of a line.
    pub(crate) time_format: Option<CString>,
    /// Digits of a second's fraction: 0, 3 or 6.
    pub(crate) time_precision: u8,
}

impl FileLog {
    /// charon's defaults.
    pub(crate) fn new(destination: Destination) -> Self {
        Self {
            destination,
            levels: Levels::default(),
            append: true,
            flush_line: false,
            ike_name: false,
            log_level: false,
            time_format: None,
            time_precision: 0,
        }
    }
}

/// A file, or a stream that is open already.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file by its path.
    File(PathBuf),
}

/// For each group the highest level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Levels([Level; Group::COUNT]);

impl Default for Levels {
    fn default() -> Self {
        Self::all(Level::CONTROL)
    }
}

impl Levels {
    /// The same for all groups.
    pub(crate) const fn all(level: Level) -> Self {
        Self([level; Group::COUNT])
    }

    /// Sets one group.
    pub(crate) fn set(&mut self, group: Group, level: Level) {
        if let Some(slot) = self.0.get_mut(group.index()) {
            *slot = level;
        }
    }

    /// The highest level written for a group.
    pub(crate) fn of(&self, group: Group) -> Level {
        self.0.get(group.index()).copied().unwrap_or(Level::CONTROL)
    }
}
