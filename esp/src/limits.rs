//! Limits in octets and packets on the use of an SA (RFC 4301 §4.4.2.1).
//!
//! Limits in time are not here: who keeps the SA keeps the clock.

/// How much an SA may carry in one direction. `None` is no limit. Octets are those of inner packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Octets after which the SA should be rekeyed.
    pub soft_bytes: Option<u64>,
    /// Octets after which the SA must not be used.
    pub hard_bytes: Option<u64>,
    /// Packets after which the SA should be rekeyed.
    pub soft_packets: Option<u64>,
    /// Packets after which the SA must not be used.
    pub hard_packets: Option<u64>,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Time to rekey.
    Soft,
    /// The SA is used up.
    Hard,
}

/// Counts one direction of an SA against its limits and tells once when each is reached.
pub(crate) struct LimitWatch {
    limits: Limits,
    bytes: u64,
    packets: u64,
    told: Option<Limit>,
}

impl LimitWatch {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, packets: 0, told: None }
    }

    /// Counts a packet. The limit it reached, if it is the first to reach it.
    #[inline]
    pub(crate) fn count(&mut self, bytes: u64) -> Option<Limit> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.packets = self.packets.saturating_add(1);
        let reached = |bytes: Option<u64>, packets: Option<u64>| {
            bytes.is_some_and(|limit| self.bytes >= limit)
                || packets.is_some_and(|limit| self.packets >= limit)
        };
        let now = if reached(self.limits.hard_bytes, self.limits.hard_packets) {
            Limit::Hard
        } else if reached(self.limits.soft_bytes, self.limits.soft_packets) {
            Limit::Soft
        } else {
            return None;
        };
        (self.told != Some(now)).then(|| {
            self.told = Some(now);
            now
        })
    }

    /// True once the hard limit is reached: no further packet may pass.
    pub(crate) fn is_spent(&self) -> bool {
        self.told == Some(Limit::Hard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limits() {
        let mut watch = LimitWatch::new(Limits::default());
        assert_eq!(watch.count(u64::MAX), None);
        assert_eq!(watch.count(u64::MAX), None);
        assert!(!watch.is_spent());
    }

    #[test]
    fn each_limit_is_told_once() {
        let limits = Limits { soft_bytes: Some(100), hard_packets: Some(5), ..Limits::default() };
        let mut watch = LimitWatch::new(limits);
        let told: Vec<Option<Limit>> = (0..6).map(|_| watch.count(50)).collect();
        assert_eq!(told, [None, Some(Limit::Soft), None, None, Some(Limit::Hard), None]);
        assert!(watch.is_spent());
    }

    #[test]
    fn both_at_once_is_the_hard_one() {
        let limits = Limits { soft_packets: Some(1), hard_bytes: Some(10), ..Limits::default() };
        let mut watch = LimitWatch::new(limits);
        assert_eq!(watch.count(10), Some(Limit::Hard));
        assert_eq!(watch.count(10), None);
    }
}
