//! Sockets that clients connect to: VICI's and others.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// Clients that may wait to be accepted; charon has 3, which busy scripts run into.
const BACKLOG: i32 = 64;

/// The user and group that the daemon belongs to, and nobody else; as charon 5.9 has it.
const MODE: u32 = 0o770;

/// Where clients find us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SocketUri {
    /// A Unix socket by its path. Who may connect is what its permissions say.
    Unix(PathBuf),
    /// A TCP address with its port. Whoever reaches it may connect.
    Tcp(String),
}

impl FromStr for SocketUri {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        let address = text.strip_prefix("tcp://").ok_or(())?;
        let (host, port) = address.rsplit_once(':').ok_or(())?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            Err(())
        } else {
            Ok(Self::Tcp(address.to_owned()))
        }
    }
}

impl fmt::Display for SocketUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// Why the socket cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum ListenError {
    /// Another daemon answers there.
    #[error("the socket {} is in use: another daemon answers there", .0.display())]
    InUse(PathBuf),
    /// Something else than a socket is there.
    #[error("{} is in the way and is no socket", .0.display())]
    InTheWay(PathBuf),
    /// The system says no.
    #[error("cannot open the socket {uri}: {error}")]
    Failed {
        /// Where.
        uri: SocketUri,
        /// Why.
        error: io::Error,
    },
}

/// A socket that is open. Clients may connect, and wait until they are served.
pub(crate) enum Bound {
    /// `unix://`, with its path to be removed in the end.
    Unix(UnixListener, SocketFile),
    /// `tcp://`
    Tcp(TcpListener),
}

/// The path of a Unix socket; removed when dropped.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Without the privilege to, it stays: the next start finds that nobody answers.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Bound {
    /// Opens the socket. One that a daemon has left behind is taken over, if nobody answers on it; `owner` is
    /// the user and group it belongs to, if not ours.
    pub(crate) fn open(uri: &SocketUri, owner: Option<(u32, u32)>) -> Result<Self, ListenError> {
        let failed = |error| ListenError::Failed { uri: uri.clone(), error };
        match uri {
            SocketUri::Tcp(address) => TcpListener::bind(address.as_str()).map(Self::Tcp).map_err(failed),
            SocketUri::Unix(path) => {
                clear(path, uri)?;
                let listener = listen(path).map_err(failed)?;
                if let Some((uid, gid)) = owner {
                    std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(failed)?;
                }
                Ok(Self::Unix(listener, SocketFile(path.clone())))
            }
        }
    }

    /// Makes the socket ready for the runtime, inside which this is called.
    pub(crate) fn listen(self) -> io::Result<Listener> {
        match self {
            Self::Unix(listener, file) => {
                listener.set_nonblocking(true)?;
                Ok(Listener::Unix(tokio::net::UnixListener::from_std(listener)?, file))
            }
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(tokio::net::TcpListener::from_std(listener)?))
            }
        }
    }
}

/// Makes way for the socket.
fn clear(path: &Path, uri: &SocketUri) -> Result<(), ListenError> {
    let failed = |error| ListenError::Failed { uri: uri.clone(), error };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::InTheWay(path.to_owned()));
        }
        Ok(_socket) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(_answered) => Err(ListenError::InUse(path.to_owned())),
    }
}

/// Opens the socket. It is nobody else's from the first moment on: Linux takes the permissions from the
/// socket when it is bound, less those that the umask forbids, which are given afterwards.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(MODE))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// A socket that is served.
pub(crate) enum Listener {
    Unix(tokio::net::UnixListener, SocketFile),
    Tcp(tokio::net::TcpListener),
}

/// A connection of either kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    /// The next client. Dropping the future loses nobody.
    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Unix(listener, _file) => Ok(Box::new(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, _peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for text in ["unix:///var/run/charon.vici", "tcp://127.0.0.1:4502", "tcp://[::1]:4502", "tcp://gw:0"]
        {
            assert_eq!(text.parse::<SocketUri>().map(|uri| uri.to_string()), Ok(text.to_owned()));
        }
        for text in ["/var/run/x", "unix://run/x", "unix://", "tcp://x", "tcp://:1", "tcp://x:99999", ""] {
            assert_eq!(text.parse::<SocketUri>(), Err(()), "{text:?}");
        }
    }

    #[test]
    fn a_socket_belongs_to_its_owner_and_group() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vici");
        let bound = Bound::open(&SocketUri::Unix(path.clone()), None).unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o770, "{mode:o}");
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_behind_is_taken_over_and_one_in_use_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vici");
        let uri = SocketUri::Unix(path.clone());
        drop(UnixListener::bind(&path).unwrap()); // the file stays
        let bound = Bound::open(&uri, None).unwrap();
        let error = Bound::open(&uri, None).map(drop).unwrap_err().to_string();
        assert!(error.ends_with("is in use: another daemon answers there"), "{error}");
        drop(bound);
        std::fs::write(&path, "something").unwrap();
        let error = Bound::open(&uri, None).map(drop).unwrap_err().to_string();
        assert!(error.ends_with("is in the way and is no socket"), "{error}");
        let nowhere = SocketUri::Unix("/no/such/directory/vici".into());
        let error = Bound::open(&nowhere, None).map(drop).unwrap_err().to_string();
        assert!(error.starts_with("cannot open the socket unix:///no/such/directory/vici: "), "{error}");
    }
}
