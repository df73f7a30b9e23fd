//! Programs inside a host: run to their end, or kept running and ended by their own process id.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::sys;
use super::wait::{Deadline, readable};

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Output {
    /// The command line, as in a log.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// The exit code, or 128 and the signal's number, as a shell gives it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// The output, if the program succeeded.
    ///
    /// # Errors
    /// When its exit code is not 0; the error carries all it wrote.
    pub fn success(self) -> Result<Self> {
        if self.status.success() { Ok(self) } else { bail!("failed: {self}") }
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        for text in [&self.stdout, &self.stderr] {
            if !text.is_empty() {
                writeln!(f, "{}", text.trim_end())?;
            }
        }
        write!(f, "(exit code {})", self.code())
    }
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    ended: OwnedFd,
}

impl Process {
    /// Starts `command`. With `scoped` the kernel ends the program with the thread that started it.
    pub(crate) fn start(mut command: Command, scoped: bool) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        sys::prepare(&mut command, scoped);
        command.stdin(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let ended = pidfd_open(pid(&child)?, PidfdFlags::empty()).context("pidfd_open")?;
        Ok(Self { name, child, ended })
    }

    /// Waits for the program to end by itself; at the deadline it is killed, and that is an error.
    pub fn wait(&mut self, deadline: Deadline) -> Result<ExitStatus> {
        if readable(&self.ended, deadline)? {
            return Ok(self.child.wait()?);
        }
        self.kill()?;
        bail!("{} did not end in time and was killed", self.name)
    }

    /// Asks the program to end (SIGTERM) and waits for it; at the deadline it is killed, and that is an error.
    pub fn terminate(&mut self, deadline: Deadline) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(deadline)
    }

    /// Kills the program (SIGKILL) and collects it.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        Ok(self.child.wait()?)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Leaves the program running for good, and gives its process id.
    pub(crate) fn release(self) -> u32 {
        let id = self.id();
        // `Child` neither kills nor waits when dropped; only our own `Drop` would.
        std::mem::forget(self);
        id
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        // The id is only ours until the program has been waited for.
        if self.child.try_wait()?.is_none() {
            kill_process(pid(&self.child)?, signal)
                .with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("cannot end {} ({}): {error:#}", self.name, self.id());
        }
    }
}

/// A command whose output goes to files nobody else sees, so that no pipe can fill up while we wait.
pub(crate) struct Captured {
    line: String,
    process: Process,
    stdout: File,
    stderr: File,
}

impl Captured {
    pub(crate) fn start(mut command: Command, scoped: bool) -> Result<Self> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let line = command_line(&command);
        Ok(Self { line, process: Process::start(command, scoped)?, stdout, stderr })
    }

    /// Waits for the end. What was written until then is part of the error if it takes longer than `patience`.
    pub(crate) fn finish(mut self, patience: Duration) -> Result<Output> {
        let waited = self.process.wait(Deadline::after(patience));
        let (stdout, stderr) = (read_all(&mut self.stdout)?, read_all(&mut self.stderr)?);
        let status = waited.with_context(|| format!("$ {}\n{stdout}{stderr}", self.line))?;
        Ok(Output { command: self.line, status, stdout, stderr })
    }
}

fn pid(child: &Child) -> Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the process id is out of range")
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn read_all(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_exit_code_are_told_apart() {
        let run = Captured::start(shell("echo fine; echo bad >&2; exit 3"), true).unwrap();
        let output = run.finish(Duration::from_secs(10)).unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str(), output.code()), ("fine\n", "bad\n", 3));
        assert!(output.success().unwrap_err().to_string().contains("(exit code 3)"));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let run = Captured::start(shell("echo started; exec sleep 1000"), true).unwrap();
        let error = run.finish(Duration::from_millis(200)).unwrap_err();
        assert!(format!("{error:#}").contains("did not end in time"), "{error:#}");
    }

    #[test]
    fn dropping_a_process_ends_it() {
        let process = Process::start(shell("exec sleep 1000"), true).unwrap();
        let id = process.id();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}
