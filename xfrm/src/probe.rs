//! Can this kernel carry ESP? The only honest answer is to try.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tracing::warn;
use zeroize::Zeroizing;

use crate::algorithm::{AES_GCM_16, Key};
use crate::error::{Error, Failure, Refusal};
use crate::handle::{Handle, Protocol};
use crate::message::sa::{Sa, SaId};
use crate::message::selector::Lifetime;

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
        match refusal.errno {
            libc::EPERM => Self::NotPermitted,
            libc::ENOSYS => Self::NoAlgorithm(words()),
            libc::EPROTONOSUPPORT => Self::NoEsp(words()),
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

/// Installs an ESP SA between loopback addresses, with a random key and SPI, in the calling
/// thread's network namespace, and removes it again. Needs a tokio runtime.
pub async fn esp_support() -> EspSupport {
    let handle = match Handle::open(Protocol::Xfrm) {
        Ok(handle) => handle,
        Err(Error::Socket { source, .. }) if source.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
            return EspSupport::NoNetlink(source.to_string());
        }
        Err(error) => return EspSupport::Failed(error.to_string()),
    };
    let mut outcome = EspSupport::Failed("no SPI was free".to_owned());
    for _ in 0..ATTEMPTS {
        outcome = attempt(&handle).await;
        if !matches!(&outcome, EspSupport::Refused(refusal) if refusal.errno == libc::EEXIST) {
            break;
        }
    }
    outcome
}

async fn attempt(handle: &Handle) -> EspSupport {
    let mut octets = Zeroizing::new([0; KEY_LENGTH]);
    let spi = match getrandom::fill(&mut *octets).and_then(|()| getrandom::u32()) {
        Ok(random) => random.max(RESERVED_SPIS + 1),
        Err(error) => return EspSupport::Failed(error.to_string()),
    };
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let id = SaId { source: loopback, destination: loopback, spi };
    let sa = Sa {
        id,
        reqid: 0,
        lifetime: Lifetime { hard: Some(PROBE_LIFETIME) },
        algorithm: AES_GCM_16,
        key: &Key::new(&*octets),
    };
    match handle.request(sa.install()).await {
        Ok(_) => {
            if let Err(failure) = handle.request(id.remove()).await {
                // It expires by itself, so this is no reason to do without the kernel's ESP.
                warn!("{}", failure.during(format!("remove the probe SA with SPI {spi:08x}")));
            }
            EspSupport::Yes
        }
        Err(Failure::Refused(refusal)) => EspSupport::of_refusal(refusal),
        Err(failure) => EspSupport::Failed(failure.during("install a probe SA").to_string()),
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
