//! Tidying up after a command that is ended before it can do so itself: by Ctrl-C, or worse.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A process that does nothing until the one that hired it lets it go, or dies. Then it tidies up, and finds nothing to
/// do if all went well.
#[derive(Debug)]
pub(crate) struct Janitor(Child);

impl Janitor {
    /// Starts this program again, with `--tidy` and this process's id.
    pub(crate) fn hire() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--tidy").arg(std::process::id().to_string());
        // A process group of its own, so that Ctrl-C does not reach it.
        command.stdin(Stdio::piped()).process_group(0);
        Ok(Self(command.spawn().context("cannot start the janitor")?))
    }

    /// What the hired process does first: it waits.
    pub(crate) fn wait_for_end() -> Result<()> {
        // Nothing is ever written; only the other end of the pipe closes.
        std::io::stdin().read_to_end(&mut Vec::new()).context("cannot wait for the end")?;
        Ok(())
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("the janitor is lost: {error}");
        }
    }
}
