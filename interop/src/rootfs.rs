//! Root file systems of other Debian releases, for peers of another generation than this machine packages.
//!
//! One is made once, with mmdebstrap, and kept in the target directory under a name that says what is in it.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Debian 13 with its strongSwan, 6.0.
pub const DEBIAN_13: Rootfs = Rootfs {
    suite: "trixie",
    packages: &[
        "charon-systemd",
        "strongswan-swanctl",
        "libstrongswan-standard-plugins",
        "libstrongswan-extra-plugins",
        "libcharon-extra-plugins",
        "iproute2",
    ],
};

/// Debian 13 with IKE daemons of other makes: libreswan 5.2, which does not go together with strongSwan on one machine, and
/// OpenIKED 7.4.
pub const STRANGERS: Rootfs = Rootfs { suite: "trixie", packages: &["libreswan", "openiked", "iproute2"] };

/// A minimal installation of one release and some packages of it.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Rootfs {
    suite: &'static str,
    packages: &'static [&'static str],
}

impl Rootfs {
    /// Where it lies, or will lie once it is made.
    fn path(&self) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let name = format!("{}-{:016x}", self.suite, hasher.finish());
        Ok(cargo::target_directory()?.join("rootfs").join(name))
    }

    /// Makes it unless it is there already, and gives its directory. What it does it tells with `tell`.
    ///
    /// # Errors
    /// When mmdebstrap cannot make it, with what it says; nothing is left behind then.
    pub fn provide(&self, tell: impl Fn(&str)) -> Result<PathBuf> {
        let path = self.path()?;
        if path.exists() {
            return Ok(path);
        }
        let directory = path.parent().context("a root file system lies in a directory")?;
        fs::create_dir_all(directory)?;
        clear_abandoned(directory)?;
        tell(&format!("making a root file system of Debian's {} in {}", self.suite, path.display()));
        let unfinished = directory.join(format!("{UNFINISHED}{}", std::process::id()));
        match self.make(&unfinished) {
            // Another process may have been quicker; then there is one, and ours is one too many.
            Ok(()) if fs::rename(&unfinished, &path).is_ok() => Ok(path),
            Ok(()) if path.exists() => {
                remove(&unfinished)?;
                Ok(path)
            }
            Ok(()) => bail!("cannot rename {} to {}", unfinished.display(), path.display()),
            Err(error) => {
                remove(&unfinished)?;
                Err(error.context(format!("cannot make a root file system of Debian's {}", self.suite)))
            }
        }
    }

    fn make(&self, path: &Path) -> Result<()> {
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=minbase", "--format=directory"]);
        command.arg(format!("--include={}", self.packages.join(",")));
        command.arg(self.suite).arg(path);
        let log = path.with_extension("log");
        let said = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let status = command.status().context("cannot run mmdebstrap")?;
        let text = fs::read(&log)?;
        fs::remove_file(&log)?;
        if !status.success() {
            bail!("mmdebstrap failed ({status}):\n{}", String::from_utf8_lossy(&text).trim_end());
        }
        Ok(())
    }
}

/// How those that are not finished are called, before the id of the process that makes them.
pub(crate) const UNFINISHED: &str = "unfinished-";

/// Removes what processes that are gone have left unfinished.
fn clear_abandoned(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(UNFINISHED).and_then(|id| id.split('.').next());
        if owner.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a tree, but nothing that is mounted in it.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let status = Command::new("rm").args(["-rf", "--one-file-system"]).arg(path).status();
    if !status.context("cannot run rm")?.success() {
        bail!("cannot remove {}", path.display());
    }
    Ok(())
}
