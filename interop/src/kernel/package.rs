//! Debian's packages, unpacked instead of installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::rootfs::{self, UNFINISHED};

/// Has a directory called `name` made where root file systems lie, unless it is there already, and gives it. To `make` it,
/// there is an empty directory to work in; the tree that `make` gives is what is kept.
pub(super) fn provide(name: &str, make: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    let directory = cargo::target_directory()?.join("rootfs");
    let path = directory.join(name);
    if path.exists() {
        return Ok(path);
    }
    let unfinished = directory.join(format!("{UNFINISHED}{}.{name}", std::process::id()));
    fs::create_dir_all(&unfinished)?;
    let made = make(&unfinished).with_context(|| format!("cannot unpack Debian's {name}"));
    // Another process may have been quicker; then there is one, and ours is one too many.
    let made = made.and_then(|tree| match fs::rename(tree, &path) {
        Err(error) if !path.exists() => Err(error.into()),
        _ => Ok(path),
    });
    rootfs::remove(&unfinished)?;
    made
}

/// The packages of one release, as this machine's mirror has them.
pub(super) struct Release<'a> {
    directory: &'a Path,
}

impl<'a> Release<'a> {
    /// Has the release's lists fetched into this directory.
    pub(super) fn fetch(suite: &str, directory: &'a Path) -> Result<Self> {
        fs::create_dir_all(directory.join("lists/partial"))?;
        fs::write(directory.join("sources.list"), source(suite, &mirror()?))?;
        let release = Self { directory };
        release.apt("apt-get", &["update"])?;
        Ok(release)
    }

    /// The first package that this one depends on.
    pub(super) fn dependency(&self, package: &str) -> Result<String> {
        let said = self.apt("apt-cache", &["depends", "--important", package])?;
        let first = said.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(first.with_context(|| format!("{package} depends on nothing"))?.to_owned())
    }

    /// Downloads a package and unpacks it. Gives the tree of it.
    pub(super) fn unpack(&self, package: &str) -> Result<PathBuf> {
        let directory = self.directory.join(package);
        fs::create_dir(&directory)?;
        let mut download = self.command("apt-get");
        run(download.args(["download", package]).current_dir(&directory))?;
        let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
        let mut files =
            fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        files.retain(is_package);
        let [file] = files.as_slice() else { bail!("apt-get downloaded {} packages", files.len()) };
        let tree = directory.join("tree");
        run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&tree))?;
        Ok(tree)
    }

    fn apt(&self, program: &str, action: &[&str]) -> Result<String> {
        run(self.command(program).args(action))
    }

    /// One of apt's programs, which knows of this release alone.
    fn command(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        for (key, value) in [
            ("Dir::Etc::SourceList", self.directory.join("sources.list").as_path()),
            ("Dir::Etc::SourceParts", Path::new("-")),
            ("Dir::State::Lists", &self.directory.join("lists")),
            ("Dir::Cache", self.directory),
            ("APT::Sandbox::User", Path::new("root")),
            ("Acquire::Languages", Path::new("none")),
        ] {
            apt.arg("-o").arg(format!("{key}={}", value.display()));
        }
        apt
    }
}

/// Where this machine gets its own packages from.
fn mirror() -> Result<String> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let said = run(&mut apt)?;
    // Mirrors of Debian are all laid out alike; those of security updates have no release in the making.
    let mirror = said.lines().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    Ok(mirror.context("apt's sources name no mirror of Debian, whose path ends in /debian")?.to_owned())
}

/// One line for apt. A mirror's index of the release in the making may be old, hence no check of its age.
fn source(suite: &str, mirror: &str) -> String {
    let options = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no";
    format!("deb [{options}] {mirror} {suite} main\n")
}

/// Gives what it says.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&said).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
