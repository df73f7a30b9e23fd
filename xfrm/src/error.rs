//! What can go wrong between this crate and the kernel, by whose fault it is.

use std::fmt;
use std::io;
use std::net::IpAddr;

use crate::prefix::Prefix;

/// An operation on kernel state that did not happen, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel understood the request and said no.
    #[error("cannot {attempt}: {refusal}")]
    Refused {
        /// What was asked, as a verb phrase: "add route 10.0.0.0/8 to table 220".
        attempt: String,
        /// The kernel's answer.
        refusal: Refusal,
    },
    /// The netlink socket itself failed.
    #[error("cannot {attempt}: {source}")]
    Socket {
        /// What was asked, as a verb phrase.
        attempt: String,
        /// The system call's error.
        source: io::Error,
    },
    /// The kernel sent something that is no well-formed netlink message.
    #[error("cannot {attempt}: the kernel's answer is malformed: {what}")]
    Malformed {
        /// What was asked, as a verb phrase.
        attempt: String,
        /// What was expected of the answer.
        what: &'static str,
    },
    /// There is no interface of this name in this network namespace.
    #[error("there is no interface '{0}' in this network namespace")]
    NoInterface(String),
    /// No route leads to this address (the tunnels' own routes not counted).
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    /// A route leads to this address, but no address of ours fits as the source.
    #[error("no local address to reach {0} from")]
    NoSource(IpAddr),
    /// Somebody else's route to this destination stands in the table; it is left alone.
    #[error("table {table} already has a route to {destination} that was not installed by this daemon")]
    RouteTaken {
        /// The destination both want.
        destination: Prefix,
        /// The routing table.
        table: u32,
    },
    /// This kernel would take the request and leave out the part of it that it does not know.
    #[error("cannot {attempt}: this kernel does not know {what}")]
    Unknown {
        /// What was asked, as a verb phrase.
        attempt: String,
        /// What it does not know.
        what: &'static str,
    },
    /// The request mixes IPv4 and IPv6 where one family is needed.
    #[error("cannot {attempt}: IPv4 and IPv6 addresses are mixed")]
    MixedFamilies {
        /// What was asked, as a verb phrase.
        attempt: String,
    },
}

impl Error {
    /// Whether the cause is a missing privilege (CAP_NET_ADMIN).
    #[must_use]
    pub fn is_not_permitted(&self) -> bool {
        match self {
            Self::Refused { refusal, .. } => refusal.errno == libc::EPERM,
            Self::Socket { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }

    /// What the kernel's refusal means, where it refused a request.
    #[must_use]
    pub fn meaning(&self) -> Option<Meaning> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.meaning()),
            _ => None,
        }
    }

    /// The kernel's error number, where the kernel refused a request.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.errno),
            _ => None,
        }
    }
}

/// A negative acknowledgement: the error number and, where the kernel gives one, its sentence
/// (the extended acknowledgement's NLMSGERR_ATTR_MSG).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Positive error number, as in errno(3).
    pub errno: i32,
    /// The kernel's own explanation.
    pub text: Option<String>,
}

/// What an error number means, of all kernel state of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Meaning {
    /// We lack CAP_NET_ADMIN.
    NotPermitted,
    /// The same is there already: an SPI that is taken, a policy with the same selector.
    AlreadyThere,
    /// There is no such SA, policy, route, or interface: also where mark or interface ID differ.
    NotThere,
    /// The kernel has no such algorithm, nor a module with it.
    NoAlgorithm,
    /// The kernel has no ESP or AH, nor a module with it.
    NoProtocol,
    /// The kernel was built without it.
    NotBuilt,
    /// The request makes no sense to it; its sentence says why.
    Invalid,
    /// Nothing of the like.
    Other,
}

impl Refusal {
    /// What the error number means.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match self.errno {
            libc::EPERM | libc::EACCES => Meaning::NotPermitted,
            libc::EEXIST => Meaning::AlreadyThere,
            // ENODATA: of MIGRATE, which finds nothing at the old addresses.
            libc::ESRCH | libc::ENOENT | libc::ENODEV | libc::ENODATA => Meaning::NotThere,
            libc::ENOSYS => Meaning::NoAlgorithm,
            libc::EPROTONOSUPPORT => Meaning::NoProtocol,
            libc::EOPNOTSUPP | libc::ENOPROTOOPT | libc::EAFNOSUPPORT => Meaning::NotBuilt,
            libc::EINVAL | libc::ERANGE => Meaning::Invalid,
            _ => Meaning::Other,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            libc::EPERM => f.write_str("not permitted, this needs CAP_NET_ADMIN in the network namespace")?,
            // The system's words for these speak of functions and processes.
            libc::ENOSYS => f.write_str("the kernel has no such algorithm, nor a module with it")?,
            libc::ESRCH => f.write_str("there is no such thing")?,
            libc::ENODATA => f.write_str("there is nothing at the old addresses")?,
            errno => write!(f, "{}", io::Error::from_raw_os_error(errno))?,
        }
        match &self.text {
            Some(text) => write!(f, " (the kernel says: {text})"),
            None => Ok(()),
        }
    }
}

/// Why one netlink exchange failed, before it is known what it was for.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    Socket(io::Error),
    Malformed(Malformed),
}

impl Failure {
    /// Says what the exchange was for: a verb phrase that completes "cannot ...".
    pub(crate) fn during(self, attempt: impl Into<String>) -> Error {
        let attempt = attempt.into();
        match self {
            Self::Refused(refusal) => Error::Refused { attempt, refusal },
            Self::Socket(source) => Error::Socket { attempt, source },
            Self::Malformed(Malformed(what)) => Error::Malformed { attempt, what },
        }
    }

    /// The kernel's error number, if it is a refusal.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(refusal) => Some(refusal.errno),
            _ => None,
        }
    }

    /// What the refusal means, if it is one.
    pub(crate) fn meaning(&self) -> Option<Meaning> {
        match self {
            Self::Refused(refusal) => Some(refusal.meaning()),
            _ => None,
        }
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Bytes from the kernel that do not parse: what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_privilege_is_named() {
        let refusal = Refusal { errno: libc::EPERM, text: None };
        let error = Error::Refused { attempt: "add a rule".into(), refusal };
        assert!(error.is_not_permitted());
        assert_eq!(
            error.to_string(),
            "cannot add a rule: not permitted, this needs CAP_NET_ADMIN in the network namespace"
        );
    }

    #[test]
    fn error_numbers_mean_something() {
        let table = [
            (libc::EPERM, Meaning::NotPermitted),
            (libc::EEXIST, Meaning::AlreadyThere),
            (libc::ESRCH, Meaning::NotThere),
            (libc::ENOENT, Meaning::NotThere),
            (libc::ENODATA, Meaning::NotThere),
            (libc::ENOSYS, Meaning::NoAlgorithm),
            (libc::EPROTONOSUPPORT, Meaning::NoProtocol),
            (libc::ENOPROTOOPT, Meaning::NotBuilt),
            (libc::EINVAL, Meaning::Invalid),
            (libc::ENOMEM, Meaning::Other),
        ];
        for (errno, meaning) in table {
            assert_eq!(Refusal { errno, text: None }.meaning(), meaning, "{errno}");
        }
    }

    #[test]
    fn the_kernels_sentence_is_passed_on() {
        let text = Some("Requested AEAD algorithm not found".to_owned());
        let shown = Refusal { errno: libc::ENOSYS, text }.to_string();
        assert!(shown.ends_with("(the kernel says: Requested AEAD algorithm not found)"), "{shown}");
    }
}
