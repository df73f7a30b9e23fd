//! A guest with a kernel of its own, for what this machine's kernel may lack.
//!
//! That is user-mode Linux, which has ESP, runs as an ordinary process and is quick; or, for what that lacks in turn (XFRM
//! interfaces, firewall rules about IPsec, several processors), a virtual machine with Debian's own kernel, whose
//! processors are emulated and slow. Its root is this machine's, read only, so that it has the same programs. What it runs,
//! it runs as root and alone; the console is what it says, and one directory what it leaves.

mod package;
mod qemu;
mod uml;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{cargo, rootfs};

/// Mounts the guest's root.
const ROOT: &str = include_str!("root.sh");
/// Boots user-mode Linux.
const UML: &str = include_str!("uml.sh");
/// Boots a virtual machine.
const QEMU: &str = include_str!("qemu.sh");
/// The guest's first process.
const INIT: &str = include_str!("init.sh");

/// With this the guest's last words begin; the status of its program follows.
const ENDED: &str = "the guest's program ended with ";

/// A guest that runs tests is ended if it takes longer. They take tens of seconds.
const LONGEST: Duration = Duration::from_secs(300);

/// A kernel and a root file system for it.
#[derive(Clone, Debug)]
pub struct Guest {
    kernel: PathBuf,
    machine: Machine,
}

#[derive(Clone, Debug)]
enum Machine {
    /// A process that runs in this root file system.
    UserMode(PathBuf),
    Virtual,
}

impl Guest {
    /// User-mode Linux. Has what is needed downloaded and made, unless it is there. What it does it tells with `tell`.
    ///
    /// # Errors
    /// When the kernel, or the root file system it runs in, cannot be had.
    pub fn provide(tell: impl Fn(&str)) -> Result<Self> {
        let root = rootfs::DEBIAN_13.provide(&tell)?;
        Ok(Self { kernel: uml::provide(&tell)?, machine: Machine::UserMode(root) })
    }

    /// A virtual machine with two processors, had in the same way.
    ///
    /// # Errors
    /// When the kernel cannot be had.
    pub fn provide_virtual_machine(tell: impl Fn(&str)) -> Result<Self> {
        Ok(Self { kernel: qemu::provide(&tell)?, machine: Machine::Virtual })
    }

    /// Boots, runs a program of this machine in the guest, and shows each line of the console to `read` as it comes. What
    /// the program writes to the directory `results` is there afterwards. Gives the program's exit status.
    ///
    /// # Errors
    /// When the guest does not boot, or dies before the program ends, or that takes longer than `longest`.
    pub fn run(
        &self,
        program: &Path,
        arguments: &[OsString],
        results: &Path,
        longest: Duration,
        mut read: impl FnMut(&str),
    ) -> Result<u8> {
        let target = cargo::target_directory()?;
        let directory = tempfile::tempdir_in(&target)?;
        let (enter, place) = (directory.path().join("enter"), directory.path().join("place"));
        let (boot, libraries) = match &self.machine {
            Machine::UserMode(root) => (UML, root.as_path()),
            Machine::Virtual => (QEMU, Path::new("/")),
        };
        fs::write(&enter, [ROOT, boot].concat())?;
        fs::write(directory.path().join("init"), INIT)?;
        fs::create_dir(&place)?;
        let mut command = Command::new("timeout");
        command.arg("--kill-after=5").arg(longest.as_secs().to_string());
        command.args(["unshare", "--mount", "--propagation", "private"]);
        command.args(["--pid", "--fork", "--kill-child", "sh"]).arg(&enter);
        command.args([self.kernel.as_path(), libraries, &place, &target, results, program]).args(arguments);
        let (console, input) = std::io::pipe()?;
        command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
        let mut child = command.spawn().context("cannot run unshare")?;
        drop(command); // it holds the pipe's other ends
        let mut ended = None;
        for line in BufReader::new(console).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            match line.strip_prefix(ENDED) {
                Some(status) => ended = status.parse().ok(),
                // What the kernel has to say of its end.
                None if ended.is_some() => {}
                None => read(line),
            }
        }
        let status = child.wait()?;
        match ended {
            Some(status) => Ok(status),
            None => bail!("the guest ended before its program did ({status})"),
        }
    }
}

/// Runs a program in a guest in the place of cargo, which runs tests by it: what the program says goes to the standard
/// output. Gives whether it went well.
///
/// # Errors
/// When there is no guest, or it dies before the program ends.
pub fn stand_in(command: &[OsString]) -> Result<bool> {
    let (program, arguments) = command.split_first().context("there is no program to run in the guest")?;
    let guest = Guest::provide(|what| eprintln!("{what}"))?;
    // In colours, for the sake of the console, nobody could read them.
    let arguments = [arguments, &["--color=never".into()]].concat();
    let results = tempfile::tempdir_in(cargo::target_directory()?)?;
    let status = guest.run(Path::new(program), &arguments, results.path(), LONGEST, |line| {
        // A reader that goes away takes nothing with it: the status says all that counts.
        let _written = writeln!(std::io::stdout(), "{line}");
    })?;
    Ok(status == 0)
}
