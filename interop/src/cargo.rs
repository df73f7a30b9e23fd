//! Cargo, run from a program cargo has run: in the same workspace, with the same target directory and profile.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace's root.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// `cargo SUBCOMMAND`, with its output uncoloured and without standard input.
pub(crate) fn command(subcommand: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.arg(subcommand).current_dir(workspace()).stdin(Stdio::null()).env("CARGO_TERM_COLOR", "never");
    command
}

/// Runs `command`, writes all it says to the file `log` and shows each line to `read` as it comes.
pub(crate) fn follow(mut command: Command, log: &Path, mut read: impl FnMut(&str)) -> Result<ExitStatus> {
    let mut log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let (output, input) = std::io::pipe()?;
    command.stdout(input.try_clone()?).stderr(input);
    let mut child = command.spawn().context("cannot run cargo")?;
    // The command holds the pipe's other ends, and the output's end is when all of them are closed.
    drop(command);
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        writeln!(log, "{line}")?;
        read(&line);
    }
    Ok(child.wait()?)
}

/// The target directory this program was built in.
pub fn target_directory() -> Result<PathBuf> {
    let profile = profile_directory()?;
    Ok(profile.parent().context("a profile's directory lies in the target directory")?.to_owned())
}

/// Builds `ferryd` and `ferryctl` beside this program and gives the path of `ferryd`.
///
/// # Errors
/// When they do not build; the error carries what cargo says.
pub fn build_ferryd() -> Result<PathBuf> {
    build(&["--package", "ferry-daemon", "--bins"])
}

/// Does the same with the features of dependencies that the tests of the workspace bring about: where those have been
/// built, little is left to be built.
pub(crate) fn build_ferryd_as_tests_do() -> Result<PathBuf> {
    build(&["--workspace", "--tests", "--bin", "ferryd", "--bin", "ferryctl"])
}

fn build(what: &[&str]) -> Result<PathBuf> {
    let directory = profile_directory()?;
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let output = command("build")
        .arg("--quiet")
        .args(what)
        .args(["--profile", profile, "--target-dir"])
        .arg(target_directory()?)
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("ferryd does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(directory.join("ferryd"))
}

/// Where cargo put this program.
fn profile_directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("a program lies in a directory")?.to_owned())
}
