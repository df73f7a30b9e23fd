//! The file that says which process the daemon is, so that no second one starts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use thiserror::Error;

/// Our process number in a file; removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

/// Why there is no such file.
#[derive(Debug, Error)]
pub(crate) enum PidFileError {
    /// The file names a process that lives.
    #[error("an IKE daemon is running already, as process {pid}, if {} is right", .path.display())]
    Running {
        /// The process.
        pid: i32,
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write the process number to {}: {error}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl PidFile {
    /// Writes the file. One whose process has died, or that has our own number since processes are counted
    /// anew in every container, is written over.
    pub(crate) fn create(path: &Path) -> Result<Self, PidFileError> {
        let named = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) =
            named.filter(|pid| *pid > 0).and_then(Pid::from_raw).filter(|pid| is_another_alive(*pid))
        {
            return Err(PidFileError::Running { pid: pid.as_raw_nonzero().get(), path: path.to_owned() });
        }
        let own = rustix::process::getpid().as_raw_nonzero();
        fs::write(path, format!("{own}\n"))
            .map_err(|error| PidFileError::Unwritable { path: path.to_owned(), error })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Without the privilege to, it stays, and names a process that has died.
        let _ = fs::remove_file(&self.0);
    }
}

fn is_another_alive(pid: Pid) -> bool {
    let is_alive = match rustix::process::test_kill_process(pid) {
        Ok(()) => true,
        Err(error) => error == rustix::io::Errno::PERM, // it lives, and is not ours
    };
    is_alive && pid != rustix::process::getpid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_over_unless_its_process_lives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let own = std::process::id();
        for stale in ["", "nonsense", "-5", "0", &own.to_string(), "2147483646"] {
            fs::write(&path, stale).unwrap();
            let file = PidFile::create(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{own}\n"), "{stale:?}");
            drop(file);
            assert!(!path.exists());
        }
        fs::write(&path, "1\n").unwrap();
        let error = PidFile::create(&path).map(drop).unwrap_err().to_string();
        assert!(error.starts_with("an IKE daemon is running already, as process 1, if "), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = PidFile::create(Path::new("/no/such/directory/pid")).map(drop).unwrap_err().to_string();
        assert!(error.starts_with("cannot write the process number to /no/such/directory/pid: "), "{error}");
    }
}
