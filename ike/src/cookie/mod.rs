//! Keeping strangers from spending our memory and time (RFC 7296 §2.6).
//!
//! [`HalfOpen`] counts how many IKE SAs wait for a peer that has proven nothing yet, and decides when a
//! request must carry a cookie; [`CookieJar`] bakes and recognises cookies without remembering any.
//!
//! ```text
//! HDR(A,0), SAi1, KEi, Ni  -->
//!                          <--  HDR(A,0), N(COOKIE)
//! HDR(A,0), N(COOKIE), SAi1, KEi, Ni  -->
//!                          <--  HDR(A,B), SAr1, KEr, Nr
//! ```

mod half_open;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::wire::registry::IkeSpi;
pub use half_open::{Admission, DropReason, HalfOpen, HalfOpenLimits, HalfOpenTotal};

/// Octets of a secret: as many as the hash has.
pub const SECRET_LEN: usize = 32;

/// Octets of our cookies; RFC 7296 §2.6 allows 1 to 64.
pub const COOKIE_LEN: usize = HEAD_LEN + MAC_LEN;

/// Version of the secret, and the second it was baked in.
const HEAD_LEN: usize = 5;
/// Half of what HMAC-SHA2-256 yields is plenty for something that lives ten seconds.
const MAC_LEN: usize = 16;

/// How long a secret bakes cookies. strongSwan's number.
const SECRET_USE: Duration = Duration::from_secs(120);
/// How long a cookie is good. strongSwan's number: an initiator answers within a round trip, and one whose
/// answer is lost gets a new cookie.
const COOKIE_LIFETIME: u32 = 10;

/// Bakes cookies and recognises its own, of the current secret and of the one before.
///
/// ```text
/// cookie = version of the secret (1) | second (4) | HMAC-SHA2-256(secret, the five octets | SPIi | IPi | Ni) (16)
/// ```
pub struct CookieJar {
    /// Seconds count from here.
    epoch: Instant,
    current: Recipe,
    previous: Option<Recipe>,
}

impl CookieJar {
    /// A jar with its first secret, which is random.
    #[must_use]
    pub fn new(secret: [u8; SECRET_LEN], now: Instant) -> Self {
        let current = Recipe { version: 0, secret: Zeroizing::new(secret), since: now };
        Self { epoch: now, current, previous: None }
    }

    /// The cookie to demand of whoever sent this nonce and SPI from this address. Takes a new secret from
    /// `random` when the old one has been used for two minutes.
    pub fn bake(
        &mut self,
        nonce: &[u8],
        source: IpAddr,
        spi_i: IkeSpi,
        now: Instant,
        random: impl FnOnce() -> [u8; SECRET_LEN],
    ) -> [u8; COOKIE_LEN] {
        if now.saturating_duration_since(self.current.since) >= SECRET_USE {
            let next = Recipe {
                version: self.current.version.wrapping_add(1),
                secret: Zeroizing::new(random()),
                since: now,
            };
            self.previous = Some(std::mem::replace(&mut self.current, next));
        }
        let [a, b, c, d] = self.second(now).to_be_bytes();
        let head = [self.current.version, a, b, c, d];
        let mut cookie = [0; COOKIE_LEN];
        let octets = head.into_iter().chain(self.current.mac(&head, nonce, source, spi_i));
        for (octet, baked) in cookie.iter_mut().zip(octets) {
            *octet = baked;
        }
        cookie
    }

    /// True if we baked this cookie for just this nonce, address and SPI, in the last ten seconds. Any other
    /// cookie is to be ignored, as if it were not there (RFC 7296 §2.6).
    #[must_use]
    pub fn accepts(&self, cookie: &[u8], nonce: &[u8], source: IpAddr, spi_i: IkeSpi, now: Instant) -> bool {
        let Some((head, mac)) = cookie.split_first_chunk::<HEAD_LEN>() else { return false };
        let [version, second @ ..] = *head;
        let age = self.second(now).checked_sub(u32::from_be_bytes(second));
        if age.is_none_or(|age| age > COOKIE_LIFETIME) {
            return false;
        }
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .filter(|recipe| recipe.version == version)
            .any(|recipe| recipe.mac(head, nonce, source, spi_i).as_slice().ct_eq(mac).into())
    }

    fn second(&self, now: Instant) -> u32 {
        // Wraps after 136 years.
        u32::try_from(now.saturating_duration_since(self.epoch).as_secs()).unwrap_or(u32::MAX)
    }
}

/// A secret and its version, which tells ours from older ones without trying.
struct Recipe {
    version: u8,
    secret: Zeroizing<[u8; SECRET_LEN]>,
    since: Instant,
}

impl Recipe {
    fn mac(&self, head: &[u8; HEAD_LEN], nonce: &[u8], source: IpAddr, spi_i: IkeSpi) -> [u8; MAC_LEN] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_slice()));
        context.update(head);
        context.update(&spi_i.0);
        // One length for both families, so that what follows stays where it is.
        context.update(&mapped(source).octets());
        context.update(nonce);
        let mut mac = [0; MAC_LEN];
        for (octet, computed) in mac.iter_mut().zip(context.sign().as_ref()) {
            *octet = *computed;
        }
        mac
    }
}

/// The IPv6 form of an address, whichever form it had.
fn mapped(addr: IpAddr) -> std::net::Ipv6Addr {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped(),
        IpAddr::V6(addr) => addr,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: &[u8] = &[7; 32];
    const SPI: IkeSpi = IkeSpi([1; 8]);
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn bake(jar: &mut CookieJar, now: Instant) -> [u8; COOKIE_LEN] {
        jar.bake(NONCE, PEER, SPI, now, || [9; SECRET_LEN])
    }

    #[test]
    fn a_cookie_is_for_one_initiator() {
        let now = Instant::now();
        let mut jar = CookieJar::new([3; SECRET_LEN], now);
        let cookie = bake(&mut jar, now);
        assert!(jar.accepts(&cookie, NONCE, PEER, SPI, now));
        assert!(jar.accepts(&cookie, NONCE, "::ffff:192.0.2.1".parse().unwrap(), SPI, now));
        assert!(!jar.accepts(&cookie, &[7; 31], PEER, SPI, now));
        assert!(!jar.accepts(&cookie, NONCE, [192, 0, 2, 2].into(), SPI, now));
        assert!(!jar.accepts(&cookie, NONCE, PEER, IkeSpi([2; 8]), now));
        assert!(!CookieJar::new([4; SECRET_LEN], now).accepts(&cookie, NONCE, PEER, SPI, now));
    }

    #[test]
    fn a_cookie_is_good_for_ten_seconds() {
        let start = Instant::now();
        let mut jar = CookieJar::new([3; SECRET_LEN], start);
        let cookie = bake(&mut jar, start + seconds(60));
        for (second, expected) in [(59, false), (60, true), (70, true), (71, false), (1000, false)] {
            assert_eq!(jar.accepts(&cookie, NONCE, PEER, SPI, start + seconds(second)), expected, "{second}");
        }
    }

    #[test]
    fn the_secret_changes_and_the_last_one_is_remembered() {
        let start = Instant::now();
        let mut jar = CookieJar::new([3; SECRET_LEN], start);
        let last = bake(&mut jar, start + seconds(119));
        let first = bake(&mut jar, start + seconds(121));
        assert_eq!((last[0], first[0]), (0, 1));
        let now = start + seconds(125);
        assert!(jar.accepts(&last, NONCE, PEER, SPI, now) && jar.accepts(&first, NONCE, PEER, SPI, now));
        // Two secrets later nothing is left of it, even within its time.
        let later = jar.bake(NONCE, PEER, SPI, start + seconds(300), || [8; SECRET_LEN]);
        assert!(jar.accepts(&later, NONCE, PEER, SPI, start + seconds(301)));
        assert!(!jar.accepts(&last, NONCE, PEER, SPI, now));
    }

    #[test]
    fn the_secret_stays_while_it_is_fresh() {
        let start = Instant::now();
        let mut jar = CookieJar::new([3; SECRET_LEN], start);
        jar.bake(NONCE, PEER, SPI, start + seconds(119), || unreachable!("asked for a secret too early"));
    }

    proptest! {
        #[test]
        fn what_was_baked_is_accepted_and_nothing_else(
            nonce in proptest::collection::vec(any::<u8>(), 0..300),
            source: IpAddr,
            spi: [u8; 8],
            age in 0u64..10,
            position in 0..COOKIE_LEN,
            flip in 1u8..,
            length in 0..COOKIE_LEN,
        ) {
            let start = Instant::now();
            let spi = IkeSpi(spi);
            let mut jar = CookieJar::new([5; SECRET_LEN], start);
            let baked = start + seconds(50);
            let mut cookie = jar.bake(&nonce, source, spi, baked, || [0; SECRET_LEN]);
            let now = baked + seconds(age);
            prop_assert!(jar.accepts(&cookie, &nonce, source, spi, now));
            prop_assert!(!jar.accepts(&cookie[..length], &nonce, source, spi, now));
            prop_assert!(!jar.accepts(&[&cookie[..], &[0]].concat(), &nonce, source, spi, now));
            cookie[position] ^= flip;
            prop_assert!(!jar.accepts(&cookie, &nonce, source, spi, now));
        }
    }
}
