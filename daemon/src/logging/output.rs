//! Files, standard streams and the journal.

use std::io;
use std::sync::Arc;

use futures_util::future::join_all;

use super::file::FileOutput;
use super::journal::Journal;
use super::line::{Level, Line};
use super::{Destination, FileLog, Levels, LogSettings};

/// All that lines are written to.
#[derive(Default)]
pub(super) struct Outputs {
    files: Vec<FileOutput>,
    journal: Option<Journal>,
    /// Why lines for the journal go to standard error instead.
    no_journal: Option<io::Error>,
}

impl Outputs {
    /// Opens everything; fails if a file cannot be opened, and names it. Where there is no journal, as in a
    /// container, its lines go to standard error.
    pub(super) fn open(settings: &LogSettings) -> io::Result<Self> {
        let mut files: Vec<_> = settings.files.iter().map(FileOutput::open).collect::<io::Result<_>>()?;
        let (mut journal, mut no_journal) = (None, None);
        if let Some(levels) = settings.journal.filter(|levels| *levels != Levels::all(Level::SILENT)) {
            match Journal::open(levels) {
                Ok(opened) => journal = Some(opened),
                Err(error) => {
                    let stderr = FileLog { levels, ..FileLog::new(Destination::Stderr) };
                    files.push(FileOutput::open(&stderr)?);
                    no_journal = Some(error);
                }
            }
        }
        Ok(Self { files, journal, no_journal })
    }

    /// Why there is no journal although there should be.
    pub(super) fn no_journal(&self) -> Option<&io::Error> {
        self.no_journal.as_ref()
    }

    /// Lets files be written, by threads that have the rights of the caller's.
    pub(super) fn start(&self) -> io::Result<()> {
        self.files.iter().try_for_each(FileOutput::start)
    }

    /// The levels of each.
    pub(super) fn levels(&self) -> impl Iterator<Item = &Levels> {
        self.files.iter().map(FileOutput::levels).chain(self.journal.iter().map(Journal::levels))
    }

    /// Gives a line to all that want it. Nothing is waited for.
    pub(super) fn write(&self, line: &Arc<Line>) {
        for file in self.files.iter().filter(|file| line.level <= file.levels().of(line.group)) {
            file.write(line);
        }
        if let Some(journal) = self.journal.as_ref().filter(|to| line.level <= to.levels().of(line.group)) {
            journal.write(line);
        }
    }

    /// Waits until files have what was written so far, as long as they can be expected to take.
    pub(super) async fn flush(&self) {
        join_all(self.files.iter().map(FileOutput::flush)).await;
    }
}
