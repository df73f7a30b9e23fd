//! Can this kernel carry ESP? The only honest answer is to try.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tracing::warn;
use zeroize::Zeroizing;

use crate::algorithm::{Aead, Key, Protection};
use crate::error::{Error, Failure, Malformed, Meaning, Refusal};
use crate::handle::{Handle, Protocol};
use crate::sa::{IpsecProtocol, Mode, Sa, SaDirection, SaEntry, SaId};

/// Octets of an AES-128-GCM key with its salt (RFC 4106 §8.1).
const KEY_LENGTH: usize = 20;

/// SPIs up to here are reserved (RFC 4303 §2.1).
const RESERVED_SPIS: u32 = 255;

/// If we die between installing and removing the probe, the kernel removes it after this time.
const PROBE_LIFETIME: Duration = Duration::from_secs(10);

/// How many SPIs are tried when one is taken.
const ATTEMPTS: usize = 4;

/// Whether the kernel can install an ESP SA, and if not why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EspSupport {
    /// It installed one.
    Yes,
    /// The kernel has no NETLINK_XFRM; the reason the socket call gave.
    NoNetlink(String),
    /// We lack CAP_NET_ADMIN in this network namespace.
    NotPermitted,
    /// The kernel lacks AES-GCM or cannot use it; in its own words.
    NoAlgorithm(String),
    /// The kernel has no ESP (esp4 is neither built in nor loadable); in its own words.
    NoEsp(String),
    /// It refused for another reason.
    Refused(Refusal),
    /// The attempt broke down before an answer came.
    Failed(String),
}

impl EspSupport {
    /// Whether kernel ESP can be used.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }

    fn of_refusal(refusal: Refusal) -> Self {
        let words = || refusal.text.clone().unwrap_or_else(|| refusal.to_string());
        match refusal.meaning() {
            Meaning::NotPermitted => Self::NotPermitted,
            Meaning::NoAlgorithm => Self::NoAlgorithm(words()),
            Meaning::NoProtocol => Self::NoEsp(words()),
            _ => Self::Refused(refusal),
        }
    }
}

impl fmt::Display for EspSupport {
    /// One sentence for the operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("the kernel can carry ESP"),
            Self::NoNetlink(why) => write!(f, "the kernel has no XFRM: {why}"),
            Self::NotPermitted => f.write_str(
                "using the kernel's ESP is not permitted, this needs CAP_NET_ADMIN in the network namespace",
            ),
            Self::NoAlgorithm(why) => write!(f, "the kernel cannot use AES-GCM for ESP: {why}"),
            Self::NoEsp(why) => write!(f, "the kernel has no ESP: {why}"),
            Self::Refused(refusal) => write!(f, "the kernel refused an ESP SA: {refusal}"),
            Self::Failed(why) => write!(f, "whether the kernel can carry ESP is unknown: {why}"),
        }
    }
}

/// Newer parts of SAs. A kernel that does not know one takes the request and leaves it out, so that
/// there is no error to wait for: an SA is installed with all of them and read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether an SA comes in or goes out (6.10).
    pub knows_direction: bool,
    /// SAs for single CPUs (RFC 9611; 6.13).
    pub knows_cpu: bool,
}

/// Installs an ESP SA between loopback addresses, with a random key and SPI, in the calling
/// thread's network namespace, and removes it again. Needs a tokio runtime.
pub async fn esp_support() -> EspSupport {
    match Handle::open(Protocol::Xfrm) {
        Ok(handle) => try_esp(&handle).await.0,
        Err(Error::Socket { source, .. }) if source.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
            EspSupport::NoNetlink(source.to_string())
        }
        Err(error) => EspSupport::Failed(error.to_string()),
    }
}

/// The same on a socket that is there, and what the kernel made of the SA.
pub(crate) async fn try_esp(handle: &Handle) -> (EspSupport, Capabilities) {
    let mut outcome = EspSupport::Failed("no SPI was free".to_owned());
    for _ in 0..ATTEMPTS {
        match attempt(handle).await {
            Ok(capabilities) => return (EspSupport::Yes, capabilities),
            Err(EspSupport::Refused(refusal)) if refusal.meaning() == Meaning::AlreadyThere => {
                outcome = EspSupport::Refused(refusal);
            }
            Err(other) => return (other, Capabilities::default()),
        }
    }
    (outcome, Capabilities::default())
}

async fn attempt(handle: &Handle) -> Result<Capabilities, EspSupport> {
    let failed = |error: &dyn fmt::Display| EspSupport::Failed(error.to_string());
    let mut octets = Zeroizing::new([0; KEY_LENGTH]);
    getrandom::fill(&mut *octets).map_err(|error| failed(&error))?;
    let spi = getrandom::u32().map_err(|error| failed(&error))?.max(RESERVED_SPIS + 1);
    let key = Key::new(&*octets).map_err(|error| failed(&error))?;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut sa = Sa::new(loopback, loopback, IpsecProtocol::ESP, spi, Mode::TUNNEL);
    sa.limits.hard.since_installed = Some(PROBE_LIFETIME);
    sa.direction = Some(SaDirection::In);
    sa.cpu = Some(0);
    match handle.request(sa.install(&Protection::Aead(Aead::AES_GCM_16, key), None)).await {
        Ok(_) => {
            let capabilities = capabilities(handle, &sa.id).await;
            if let Err(failure) = handle.request(sa.id.remove()).await {
                // It expires by itself, so this is no reason to do without the kernel's ESP.
                warn!("{}", failure.during(format!("remove the probe SA with SPI {spi:08x}")));
            }
            Ok(capabilities)
        }
        Err(Failure::Refused(refusal)) => Err(EspSupport::of_refusal(refusal)),
        Err(failure) => Err(failed(&failure.during("install a probe SA"))),
    }
}

/// What of the SA came back.
async fn capabilities(handle: &Handle, id: &SaId) -> Capabilities {
    let read = handle.request(id.find()).await.and_then(|replies| {
        let reply = replies.first().ok_or(Malformed("an answer with an SA in it"))?;
        Ok(SaEntry::read(&reply.payload)?.sa)
    });
    match read {
        Ok(sa) => Capabilities { knows_direction: sa.direction.is_some(), knows_cpu: sa.cpu.is_some() },
        Err(failure) => {
            warn!("{}", failure.during("read the probe SA back"));
            Capabilities::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let refusal = |errno, text: &str| Refusal { errno, text: Some(text.to_owned()) };
        let of = |errno, text: &str| EspSupport::of_refusal(refusal(errno, text));
        assert_eq!(of(libc::EPERM, ""), EspSupport::NotPermitted);
        assert!(matches!(of(libc::EPROTONOSUPPORT, ""), EspSupport::NoEsp(_)));
        assert!(matches!(of(libc::EINVAL, "no"), EspSupport::Refused(_)));
        let no_algorithm = of(libc::ENOSYS, "Requested AEAD algorithm not found");
        assert_eq!(
            no_algorithm.to_string(),
            "the kernel cannot use AES-GCM for ESP: Requested AEAD algorithm not found"
        );
    }
}
