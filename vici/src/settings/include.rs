//! Where included files come from.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// A file read for its settings.
pub struct SourceFile {
    /// What tells it from other files, whatever path led to it: includes that loop are found by it.
    pub identity: PathBuf,
    /// Its contents. May hold secrets.
    pub octets: Zeroizing<Vec<u8>>,
}

/// A place with files.
pub trait Sources {
    /// The files an include pattern stands for, in the order to read them. `directory` is that of the including file.
    fn matching(&self, pattern: &str, directory: &Path) -> io::Result<Vec<PathBuf>>;

    /// Reads one file.
    fn read(&self, path: &Path) -> io::Result<SourceFile>;
}

/// The files of this machine. Patterns are shell globs (`*`, `?`, `[...]`), which match no leading dot and no slash;
/// files are read in the order of their names. Directories are passed over.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem;

impl Sources for FileSystem {
    fn matching(&self, pattern: &str, directory: &Path) -> io::Result<Vec<PathBuf>> {
        const SHELL: glob::MatchOptions = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let absolute = if pattern.starts_with('/') {
            pattern.to_owned()
        } else {
            let directory = directory.to_str().ok_or_else(|| invalid("its directory is not UTF-8"))?;
            let separator = if directory.is_empty() || directory.ends_with('/') { "" } else { "/" };
            format!("{}{separator}{pattern}", glob::Pattern::escape(directory))
        };
        let paths = glob::glob_with(&absolute, SHELL).map_err(invalid)?;
        let mut files = Vec::new();
        for path in paths {
            let path = path.map_err(io::Error::from)?;
            if !path.is_dir() {
                files.push(path);
            }
        }
        Ok(files)
    }

    fn read(&self, path: &Path) -> io::Result<SourceFile> {
        let octets = Zeroizing::new(std::fs::read(path)?);
        Ok(SourceFile { identity: path.canonicalize()?, octets })
    }
}

fn invalid(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason.to_string())
}

/// No files at all: an include fails. For text that is not from a file.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Sources for NoFiles {
    fn matching(&self, _pattern: &str, _directory: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "files cannot be included here"))
    }

    fn read(&self, _path: &Path) -> io::Result<SourceFile> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "files cannot be read here"))
    }
}
