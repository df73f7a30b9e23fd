//! Where a daemon is installed together with its `swanctl`: on this machine, or in a root file system of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::lab::{Host, enter_root};

/// A daemon's program, and the root file system it stands in if that is not this machine's.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    /// The daemon, as its root file system names it.
    pub(crate) program: PathBuf,
    /// Another root file system than this machine's.
    pub(crate) root: Option<PathBuf>,
}

impl Installation {
    /// Lets programs of this installation be started on `host`.
    pub(super) fn furnish(&self, host: &Host) -> Result<()> {
        self.root.iter().try_for_each(|root| host.furnish(root, ("swanctl", "/etc/swanctl")))
    }

    /// The directory of `host`, as programs of this installation name it.
    pub(super) fn directory<'a>(&self, host: &'a Host) -> &'a Path {
        if self.root.is_some() { Path::new(Host::DIRECTORY_IN_ROOT) } else { host.directory() }
    }

    /// A program of this installation.
    pub(super) fn command(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new(program);
        if let Some(root) = &self.root {
            enter_root(&mut command, root)?;
        }
        Ok(command)
    }
}
