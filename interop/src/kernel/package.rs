//! The kernel itself: Debian's package of user-mode Linux, of the release in the making. Those of the releases before do
//! not run on the processors of today.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;
use crate::rootfs::{self, UNFINISHED};

const PACKAGE: &str = "user-mode-linux";

const SUITE: &str = "sid";

/// Unpacks the kernel and its modules unless they are there already, where a root file system has them. Gives the
/// directory.
pub(super) fn provide(tell: impl Fn(&str)) -> Result<PathBuf> {
    let directory = cargo::target_directory()?.join("rootfs");
    let path = directory.join(PACKAGE);
    if path.exists() {
        return Ok(path);
    }
    tell(&format!("unpacking {PACKAGE}, a kernel with ESP, in {}", path.display()));
    let unfinished = directory.join(format!("{UNFINISHED}{}.kernel", std::process::id()));
    fs::create_dir_all(&unfinished)?;
    let made = unpack(&unfinished).with_context(|| format!("cannot unpack Debian's {PACKAGE}"));
    // Another process may have been quicker; then there is one, and ours is one too many.
    let made = made.and_then(|tree| match fs::rename(tree, &path) {
        Err(error) if !path.exists() => Err(error.into()),
        _ => Ok(path),
    });
    rootfs::remove(&unfinished)?;
    made
}

/// Downloads and unpacks the package in this directory. Gives the tree of it.
fn unpack(directory: &Path) -> Result<PathBuf> {
    let (lists, sources) = (directory.join("lists"), directory.join("sources.list"));
    fs::create_dir_all(lists.join("partial"))?;
    fs::write(&sources, source(&mirror()?))?;
    let apt = |action: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(directory);
        for (key, value) in [
            ("Dir::Etc::SourceList", sources.as_path()),
            ("Dir::Etc::SourceParts", Path::new("-")),
            ("Dir::State::Lists", &lists),
            ("Dir::Cache", directory),
            ("APT::Sandbox::User", Path::new("root")),
            ("Acquire::Languages", Path::new("none")),
        ] {
            apt.arg("-o").arg(format!("{key}={}", value.display()));
        }
        apt.args(action);
        run(apt)
    };
    apt(&["update"])?;
    apt(&["download", PACKAGE])?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let mut files = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(is_package);
    let [package] = files.as_slice() else { bail!("apt-get downloaded {} packages", files.len()) };
    let tree = directory.join("tree");
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("--extract").arg(package).arg(&tree);
    run(dpkg)?;
    ensure!(
        tree.join("usr/bin/linux.uml").exists(),
        "there is no usr/bin/linux.uml in {}",
        package.display()
    );
    fs::rename(tree.join("usr/lib/uml/modules"), tree.join("usr/lib/modules"))?;
    Ok(tree)
}

/// Where this machine gets its own packages from.
fn mirror() -> Result<String> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let said = run(apt)?;
    // Mirrors of Debian are all laid out alike; those of security updates have no release in the making.
    let mirror = said.lines().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    Ok(mirror.context("apt's sources name no mirror of Debian, whose path ends in /debian")?.to_owned())
}

/// One line for apt. A mirror's index of the release in the making may be old, hence no check of its age.
fn source(mirror: &str) -> String {
    let options = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no";
    format!("deb [{options}] {mirror} {SUITE} main\n")
}

/// Gives what it says.
fn run(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&said).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
