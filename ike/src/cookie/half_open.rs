//! How many IKE SAs are half open, and what that means for the next IKE_SA_INIT request.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Limits on half-open IKE SAs, named as in strongswan.conf, with its defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HalfOpenLimits {
    /// Whether the next three apply. On.
    pub dos_protection: bool,
    /// From this many half-open SAs on every request needs a cookie. 30; zero means never.
    pub cookie_threshold: u32,
    /// From this many half-open SAs of its address on a request needs a cookie. 3; zero means never.
    pub cookie_threshold_ip: u32,
    /// From this many half-open SAs of its address on a request is dropped. 5; zero means never.
    pub block_threshold: u32,
    /// From this many half-open SAs on every request is dropped. Zero, which means never.
    pub init_limit_half_open: u32,
}

impl Default for HalfOpenLimits {
    fn default() -> Self {
        Self {
            dos_protection: true,
            cookie_threshold: 30,
            cookie_threshold_ip: 3,
            block_threshold: 5,
            init_limit_half_open: 0,
        }
    }
}

/// What becomes of an IKE_SA_INIT request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It is answered.
    Accept,
    /// It is answered with N(COOKIE) alone, and forgotten.
    DemandCookie,
    /// It is not answered.
    Drop(DropReason),
}

/// Why a request is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// Too many half-open SAs of its address (`block_threshold`).
    AddressBlocked,
    /// Too many half-open SAs (`init_limit_half_open`).
    TooManyHalfOpen,
}

/// How long cookies are still demanded after there were enough half-open SAs to demand them. strongSwan's
/// number: an attack that pauses does not get its first requests of the next wave for nothing.
const COOKIE_HOLD: Duration = Duration::from_secs(10);

/// Of addresses that had many half-open SAs only this many groups are remembered, however many addresses
/// there were.
const BUCKETS: usize = 32;

/// Half-open IKE SAs of all endpoints that share this value.
#[derive(Debug, Default)]
pub struct HalfOpenTotal(AtomicUsize);

impl HalfOpenTotal {
    /// How many there are now.
    #[must_use]
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts half-open IKE SAs, those being set up, in total and per address.
///
/// An address is remembered while it has a half-open SA, so there are no more of them than of SAs; requests
/// that are only asked for a cookie leave no trace.
pub struct HalfOpen {
    limits: HalfOpenLimits,
    key: [u8; 16],
    total: Arc<HalfOpenTotal>,
    /// What we contribute to the total.
    own: usize,
    by_address: BTreeMap<IpAddr, u32>,
    /// When the total was last seen at its threshold.
    crowded: Option<Instant>,
    /// When some address of the bucket was.
    crowded_buckets: [Option<Instant>; BUCKETS],
}

impl HalfOpen {
    /// No SA is half open. `key` is random, so that strangers cannot choose whose bucket they share.
    #[must_use]
    pub const fn new(limits: HalfOpenLimits, key: [u8; 16], total: Arc<HalfOpenTotal>) -> Self {
        Self {
            limits,
            key,
            total,
            own: 0,
            by_address: BTreeMap::new(),
            crowded: None,
            crowded_buckets: [None; BUCKETS],
        }
    }

    /// An IKE SA with a peer at this address began.
    pub fn opened(&mut self, source: IpAddr, now: Instant) {
        let source = source.to_canonical();
        self.own += 1;
        self.total.0.fetch_add(1, Ordering::Relaxed);
        let count = self.by_address.entry(source).or_default();
        *count = count.saturating_add(1);
        self.note_crowds(source, now);
    }

    /// An IKE SA that began with a peer at this address is established, or given up. The address is the one
    /// given to [`opened`](Self::opened), wherever the peer is now.
    pub fn closed(&mut self, source: IpAddr, now: Instant) {
        let source = source.to_canonical();
        self.note_crowds(source, now);
        let Some(count) = self.by_address.get_mut(&source) else { return };
        *count -= 1; // counts of zero are not kept
        self.own = self.own.saturating_sub(1);
        self.total.0.fetch_sub(1, Ordering::Relaxed);
        if *count == 0 {
            self.by_address.remove(&source);
        }
    }

    /// Other limits from now on.
    pub const fn set_limits(&mut self, limits: HalfOpenLimits) {
        self.limits = limits;
    }

    /// Half-open IKE SAs counted here.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.own
    }

    /// What becomes of an IKE_SA_INIT request from this address; `has_cookie` if it carries a cookie that our
    /// [`CookieJar`](super::CookieJar) accepts.
    #[must_use]
    pub fn decide(&self, source: IpAddr, has_cookie: bool, now: Instant) -> Admission {
        let source = source.to_canonical();
        if self.limits.dos_protection {
            if !has_cookie && self.needs_cookie(source, now) {
                return Admission::DemandCookie;
            }
            if is_reached(self.limits.block_threshold, self.count_of(source)) {
                return Admission::Drop(DropReason::AddressBlocked);
            }
        }
        if is_reached(self.limits.init_limit_half_open, self.total.get()) {
            return Admission::Drop(DropReason::TooManyHalfOpen);
        }
        Admission::Accept
    }

    fn needs_cookie(&self, source: IpAddr, now: Instant) -> bool {
        let is_recent = |seen: Instant| now.saturating_duration_since(seen) < COOKIE_HOLD;
        let of_bucket = self.crowded_buckets.get(self.bucket(source)).copied().flatten();
        self.is_crowded()
            || self.is_crowded_at(source)
            || (self.limits.cookie_threshold != 0 && self.crowded.is_some_and(is_recent))
            || (self.limits.cookie_threshold_ip != 0 && of_bucket.is_some_and(is_recent))
    }

    fn note_crowds(&mut self, source: IpAddr, now: Instant) {
        if self.is_crowded() {
            self.crowded = Some(now);
        }
        let bucket = self.bucket(source);
        if self.is_crowded_at(source)
            && let Some(seen) = self.crowded_buckets.get_mut(bucket)
        {
            *seen = Some(now);
        }
    }

    fn is_crowded(&self) -> bool {
        is_reached(self.limits.cookie_threshold, self.total.get())
    }

    fn is_crowded_at(&self, source: IpAddr) -> bool {
        is_reached(self.limits.cookie_threshold_ip, self.count_of(source))
    }

    fn count_of(&self, source: IpAddr) -> usize {
        self.by_address.get(&source).map_or(0, |count| usize::try_from(*count).unwrap_or(usize::MAX))
    }

    fn bucket(&self, source: IpAddr) -> usize {
        let mut hasher = DefaultHasher::new();
        (self.key, source).hash(&mut hasher);
        usize::try_from(hasher.finish() % BUCKETS as u64).unwrap_or_default()
    }
}

/// True at or above a threshold; zero is none.
fn is_reached(threshold: u32, count: usize) -> bool {
    threshold != 0 && usize::try_from(threshold).is_ok_and(|threshold| count >= threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// Address number `n` of many.
    fn other(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn half_open(limits: HalfOpenLimits) -> (HalfOpen, Instant) {
        (HalfOpen::new(limits, [1; 16], Arc::default()), Instant::now())
    }

    #[test]
    fn an_address_needs_cookies_then_is_blocked() {
        let (mut half_open, now) = half_open(HalfOpenLimits::default());
        for count in 0..7 {
            let expected = if count >= 3 { Admission::DemandCookie } else { Admission::Accept };
            assert_eq!(half_open.decide(ONE, false, now), expected, "{count}");
            let with_cookie = match count {
                0..5 => Admission::Accept,
                _ => Admission::Drop(DropReason::AddressBlocked),
            };
            assert_eq!(half_open.decide(ONE, true, now), with_cookie, "{count}");
            half_open.opened(ONE, now);
        }
        // One that came in over a socket for both families is the same address.
        assert_eq!(
            half_open.decide("::ffff:192.0.2.1".parse().unwrap(), false, now),
            Admission::DemandCookie
        );
    }

    #[test]
    fn many_addresses_together_make_everybody_need_cookies() {
        let (mut half_open, now) = half_open(HalfOpenLimits::default());
        for n in 0..30 {
            assert_eq!(half_open.decide(ONE, false, now), Admission::Accept);
            half_open.opened(other(n), now);
        }
        assert_eq!(half_open.count(), 30);
        assert_eq!(half_open.decide(ONE, false, now), Admission::DemandCookie);
        assert_eq!(half_open.decide(ONE, true, now), Admission::Accept);
    }

    #[test]
    fn cookies_are_demanded_for_ten_more_seconds() {
        let (mut half_open, start) = half_open(HalfOpenLimits::default());
        for n in 0..30 {
            half_open.opened(other(n), start);
        }
        let calm = start + Duration::from_secs(100);
        for n in 0..30 {
            half_open.closed(other(n), calm);
        }
        assert_eq!(half_open.count(), 0);
        let after = |seconds| half_open.decide(ONE, false, calm + Duration::from_secs(seconds));
        assert_eq!((after(0), after(9)), (Admission::DemandCookie, Admission::DemandCookie));
        assert_eq!(after(10), Admission::Accept);
    }

    #[test]
    fn the_memory_of_an_address_is_its_buckets() {
        let (mut half_open, start) = half_open(HalfOpenLimits::default());
        for _ in 0..3 {
            half_open.opened(ONE, start);
        }
        for _ in 0..3 {
            half_open.closed(ONE, start);
        }
        assert_eq!(half_open.decide(ONE, false, start), Admission::DemandCookie);
        let also =
            (0..320).filter(|n| half_open.decide(other(*n), false, start) == Admission::DemandCookie).count();
        assert!((1..40).contains(&also), "{also} of 320 others in one of 32 buckets");
        assert!(half_open.by_address.is_empty());
        let later = start + COOKIE_HOLD;
        assert_eq!(half_open.decide(ONE, false, later), Admission::Accept);
    }

    #[test]
    fn limits_can_be_off_or_hard() {
        let off = HalfOpenLimits { dos_protection: false, ..HalfOpenLimits::default() };
        let (mut half_open, now) = half_open(off);
        for _ in 0..100 {
            half_open.opened(ONE, now);
        }
        assert_eq!(half_open.decide(ONE, false, now), Admission::Accept);
        half_open.set_limits(HalfOpenLimits { init_limit_half_open: 100, ..off });
        assert_eq!(half_open.decide(other(1), true, now), Admission::Drop(DropReason::TooManyHalfOpen));
        half_open.closed(ONE, now);
        assert_eq!(half_open.decide(other(1), true, now), Admission::Accept);
        let zero = HalfOpenLimits {
            dos_protection: true,
            cookie_threshold: 0,
            cookie_threshold_ip: 0,
            block_threshold: 0,
            init_limit_half_open: 0,
        };
        half_open.set_limits(zero);
        assert_eq!(half_open.decide(ONE, false, now), Admission::Accept);
    }

    #[test]
    fn closing_what_was_not_opened_changes_nothing() {
        let (mut half_open, now) = half_open(HalfOpenLimits::default());
        half_open.opened(ONE, now);
        half_open.closed(other(1), now);
        assert_eq!(half_open.count(), 1);
        half_open.closed(ONE, now);
        half_open.closed(ONE, now);
        assert_eq!(half_open.count(), 0);
    }
}
