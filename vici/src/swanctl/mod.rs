//! swanctl.conf as the requests that stock `swanctl` makes of it.
//!
//! | section | request | how its values travel |
//! |---|---|---|
//! | `connections` | `load-conn` | as they are, but for the keys that are lists and those that name certificates |
//! | `pools` | `load-pool` | `addrs` as it is, everything else as a list |
//! | `authorities` | `load-authority` | as they are, but for the two lists of URIs and the CA certificate |
//! | `secrets` | `load-shared`, `load-token` | secrets as octets, identities as a list |
//! | files beside it | `load-cert`, `load-key` | whole, PEM or DER |
//!
//! Nothing is sent here: each function returns the requests in order, one per object, and instead of a request the
//! [`Problem`] with an object that cannot be made into one. So a caller can look at everything before it changes
//! anything.
//!
//! ```
//! use std::path::Path;
//! use ferry_vici::settings::{NoFiles, Settings};
//! use ferry_vici::{dump, swanctl};
//!
//! let text = "pools { clients { addrs = 10.9.0.0/24\n dns = 10.9.0.1, 10.9.0.2\n } }";
//! let settings = Settings::parse(text, "swanctl.conf", &NoFiles)?;
//! let steps = swanctl::pools(&settings);
//! let request = steps[0].as_ref().expect("pools have no problems");
//! assert_eq!(request.object.to_string(), "pool 'clients'");
//! assert_eq!(
//!     dump::raw(request.command(), &request.message),
//!     "load-pool {clients {addrs=10.9.0.0/24 dns=[10.9.0.1 10.9.0.2]}}"
//! );
//! # Ok::<_, ferry_vici::settings::SettingsError>(())
//! ```

mod authority;
mod connection;
mod credential;
mod pool;
mod secret;
mod value;

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::message::Message;
use crate::settings::Position;

pub use authority::authorities;
pub use connection::connections;
pub use credential::{Opened, Opener, credentials, exposed};
pub use pool::pools;

/// A request for one object, or the problem with it.
pub type Step = Result<Request, Problem>;

/// A request that loads one object. Its message may hold secrets, wiped when it is dropped.
pub struct Request {
    /// What it loads.
    pub object: Object,
    /// The arguments of [`Request::command`].
    pub message: Message,
}

/// Something a daemon can load. Displayed for people, as in `pool 'clients'`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A certificate, CRL or public key in a file.
    Certificate(PathBuf),
    /// A private key in a file.
    Key {
        /// `rsa`, `ecdsa`, or `private` or `pkcs8` where the daemon finds out.
        kind: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A container of certificates and keys in a file.
    Container(PathBuf),
    /// A private key on a token.
    TokenKey(String),
    /// A shared secret.
    Secret {
        /// `ike`, `eap`, `xauth`, `ntlm` or `ppk`.
        kind: &'static str,
        /// Its section, which is its unique name too.
        name: String,
    },
    /// A section of `secrets` that is none of the known kinds.
    UnknownSecret(String),
    /// A certification authority.
    Authority(String),
    /// A pool of addresses.
    Pool(String),
    /// A connection.
    Connection(String),
}

/// Why an object of the configuration cannot be loaded. Displayed as one sentence that names all three.
#[derive(Debug, Error)]
#[error(
    "loading {object} failed: {}{reason}",
    .position.as_ref().map(|position| format!("{position}: ")).unwrap_or_default()
)]
pub struct Problem {
    /// The object.
    pub object: Object,
    /// Where the reason is written, if it is in the text.
    pub position: Option<Position>,
    /// The reason: what it is about, what was found and what was expected.
    pub reason: String,
}

impl Request {
    /// The VICI command.
    pub fn command(&self) -> &'static str {
        match self.object {
            Object::Certificate(_) | Object::Container(_) => "load-cert",
            Object::Key { .. } => "load-key",
            Object::TokenKey(_) => "load-token",
            Object::Secret { .. } | Object::UnknownSecret(_) => "load-shared",
            Object::Authority(_) => "load-authority",
            Object::Pool(_) => "load-pool",
            Object::Connection(_) => "load-conn",
        }
    }
}

/// The object of a step, loadable or not.
pub fn object(step: &Step) -> &Object {
    match step {
        Ok(request) => &request.object,
        Err(problem) => &problem.object,
    }
}

impl Object {
    /// The name of a connection, pool, authority, token key or secret; nothing for files.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::TokenKey(name)
            | Self::Secret { name, .. }
            | Self::UnknownSecret(name)
            | Self::Authority(name)
            | Self::Pool(name)
            | Self::Connection(name) => Some(name),
            Self::Certificate(_) | Self::Key { .. } | Self::Container(_) => None,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(path) => write!(f, "certificate from '{}'", path.display()),
            Self::Key { kind, path } => write!(f, "{kind} key from '{}'", path.display()),
            Self::Container(path) => write!(f, "PKCS#12 container '{}'", path.display()),
            Self::TokenKey(name) => write!(f, "key {name} from token"),
            Self::Secret { kind, name } => write!(f, "{kind} secret '{name}'"),
            Self::UnknownSecret(name) => write!(f, "secret '{name}'"),
            Self::Authority(name) => write!(f, "authority '{name}'"),
            Self::Pool(name) => write!(f, "pool '{name}'"),
            Self::Connection(name) => write!(f, "connection '{name}'"),
        }
    }
}
