//! Keeping strangers from spending our memory and time (RFC 7296 §2.6).
mod half_open;
use crate::wire::registry::IkeSpi;
pub use half_open::{Admission, DropReason, HalfOpen, HalfOpenLimits};
use std::{net::IpAddr, time::Instant};

/// Octets of the secret.
pub const SECRET_LEN: usize = 32;
/// Octets of our cookies.
pub const COOKIE_LEN: usize = 21;

/// Bakes and checks stateless cookies.
pub struct CookieJar {
    _secret: [u8; SECRET_LEN],
}
impl CookieJar {
    /// A jar with its first secret.
    #[must_use]
    pub fn new(_secret: [u8; SECRET_LEN], _now: Instant) -> Self {
        todo!()
    }
    /// The cookie to demand; takes a new secret from `random` when the old one's time is over.
    pub fn bake(
        &mut self,
        _nonce: &[u8],
        _source: IpAddr,
        _spi_i: IkeSpi,
        _now: Instant,
        _random: impl FnOnce() -> [u8; SECRET_LEN],
    ) -> [u8; COOKIE_LEN] {
        todo!()
    }
    /// True if we baked this cookie for this request, not long ago.
    #[must_use]
    pub fn accepts(
        &self,
        _cookie: &[u8],
        _nonce: &[u8],
        _source: IpAddr,
        _spi_i: IkeSpi,
        _now: Instant,
    ) -> bool {
        todo!()
    }
}
