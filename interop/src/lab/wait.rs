//! Waiting for something to happen, never for time to pass.
//!
//! A wait ends when its event comes or when its deadline has passed, and then says what it waited for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

/// A socket file exists a moment before anybody listens on it, and no event tells of the second.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The point in time after which a wait is a failure.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

/// How many times longer than elsewhere everything may take.
static SLOWNESS: AtomicU32 = AtomicU32::new(1);

/// Gives everything in this process so many times its time, from now on: its machine is slow.
pub fn be_patient(times: u32) {
    SLOWNESS.store(times, Ordering::Relaxed);
}

/// How long something may take here that may take `patience` elsewhere.
pub(super) fn patience_here(patience: Duration) -> Duration {
    patience * SLOWNESS.load(Ordering::Relaxed)
}

impl Deadline {
    /// The deadline that lies `patience` from now; further off on a slow machine.
    pub fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience_here(patience))
    }

    /// What is left, nothing once the deadline has passed.
    pub fn remaining(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// Blocks until `fd` can be read (for a pidfd: until the process has ended). `false` when the deadline came first.
pub(crate) fn readable(fd: impl AsFd, deadline: Deadline) -> Result<bool> {
    poll_until(fd.as_fd(), deadline, Duration::MAX)
}

/// Looks with `look` until it finds something, once now and again whenever something in `directory` changes.
///
/// # Errors
/// When the deadline passes first (the error names `what`), and when `look` fails.
pub(crate) fn until_changed<T>(
    directory: &Path,
    deadline: Deadline,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let changes = watch(directory).with_context(|| format!("cannot watch {}", directory.display()))?;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if deadline.remaining().is_none() {
            bail!("waited in vain for {what}");
        }
        if poll_until(changes.as_fd(), deadline, BETWEEN_LOOKS)? {
            // What changed does not matter, only that it did.
            let mut spent = [0; 4096];
            rustix::io::read(&changes, &mut spent)?;
        }
    }
}

/// Looks with `look` until it finds something, at short intervals: for what gives no sign when it changes, such as a
/// kernel's table of routes.
///
/// # Errors
/// When the deadline passes first (the error names `what`), and when `look` fails.
pub fn until<T>(deadline: Deadline, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        match deadline.remaining() {
            Some(left) => std::thread::sleep(left.min(BETWEEN_LOOKS)),
            None => bail!("waited in vain for {what}"),
        }
    }
}

fn watch(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let interesting = inotify::WatchFlags::CREATE
        | inotify::WatchFlags::MODIFY
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::ATTRIB;
    inotify::add_watch(&changes, directory, interesting)?;
    Ok(changes)
}

fn poll_until(fd: BorrowedFd<'_>, deadline: Deadline, at_most: Duration) -> Result<bool> {
    loop {
        let Some(left) = deadline.remaining() else { return Ok(false) };
        let timeout = Timespec::try_from(left.min(at_most))?;
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_ends_the_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sign");
        let writer = std::thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, "here").unwrap()
        });
        let found =
            until_changed(directory.path(), Deadline::after(Duration::from_secs(10)), "the sign", || {
                Ok(std::fs::read_to_string(&path).ok().filter(|text| !text.is_empty()))
            });
        assert_eq!(found.unwrap(), "here");
        writer.join().unwrap();
    }

    #[test]
    fn a_wait_in_vain_says_for_what() {
        let directory = tempfile::tempdir().unwrap();
        let deadline = Deadline::after(Duration::from_millis(1));
        let error = until_changed(directory.path(), deadline, "a miracle", || Ok(None::<()>)).unwrap_err();
        assert_eq!(error.to_string(), "waited in vain for a miracle");
    }
}
