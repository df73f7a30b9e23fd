//! A daemon's log file, read while it is being written.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::wait::{Deadline, until_changed};

/// So long may a daemon take to write what it has to say.
const SOON: Duration = Duration::from_secs(5);

/// A log file.
#[derive(Debug)]
pub struct Log(PathBuf);

/// A place in a log: its end, when the mark was taken.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

impl Mark {
    /// The log's first line.
    pub const BEGINNING: Self = Self(0);
}

impl Log {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Everything logged so far.
    pub fn text(&self) -> String {
        // A daemon that has not logged yet has no file.
        fs::read(&self.0).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The present end.
    pub fn mark(&self) -> Mark {
        Mark(self.text().len())
    }

    /// What was logged after `mark`.
    pub fn since(&self, mark: Mark) -> String {
        self.text().get(mark.0..).unwrap_or_default().to_owned()
    }

    /// Waits for a line with all of `words` in it, logged after `mark`, and gives it.
    pub fn wait_for(&self, mark: Mark, words: &[&str], deadline: Deadline) -> Result<String> {
        let directory = self.0.parent().context("a file lies in a directory")?;
        let what = format!("a line with {words:?} in {}", self.0.display());
        until_changed(directory, deadline, &what, || {
            Ok(self.since(mark).lines().find(|line| has(line, words)).map(str::to_owned))
        })
    }

    /// Wants a line with all of `words` in it, logged after `mark`, and gives it. What has happened is written soon.
    pub fn expect(&self, mark: Mark, words: &[&str]) -> Result<String> {
        let found = self.wait_for(mark, words, Deadline::after(SOON));
        found
            .with_context(|| format!("no line with {words:?} in {}:\n{}", self.0.display(), self.since(mark)))
    }

    /// Wants no line with all of `words` in it after `mark`.
    pub fn refute(&self, mark: Mark, words: &[&str]) -> Result<()> {
        let text = self.since(mark);
        let line = text.lines().find(|line| has(line, words));
        ensure!(line.is_none(), "{} should not say: {}", self.0.display(), line.unwrap_or_default());
        Ok(())
    }

    /// Where the log lies.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

fn has(line: &str, words: &[&str]) -> bool {
    words.iter().all(|word| line.contains(word))
}
