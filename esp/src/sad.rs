//! The security association database (RFC 4301 §4.4.2), its inbound half: SAs by the SPI in the packet.
//!
//! The outbound half needs no search of its own: the policy that a packet matches names the SA ([`Spd`](crate::Spd)).
//!
//! There is no lock in it. A table belongs to one worker, which also owns the state that changes with every packet
//! (window, counters); others ask that worker to change it. Sharing a snapshot of the table would only move the lock
//! to the window behind it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::packet::Spi;

/// Inbound SAs, or what a caller keeps with each, by SPI.
pub struct Sad<T> {
    by_spi: HashMap<Spi, T, BuildHasherDefault<SpiHasher>>,
}

impl<T> Sad<T> {
    /// An empty database.
    pub fn new() -> Self {
        Self { by_spi: HashMap::default() }
    }

    /// Adds an SA. Gives back the one that had this SPI before, if there was one.
    pub fn insert(&mut self, spi: Spi, sa: T) -> Option<T> {
        self.by_spi.insert(spi, sa)
    }

    /// Removes an SA.
    pub fn remove(&mut self, spi: Spi) -> Option<T> {
        self.by_spi.remove(&spi)
    }

    /// The SA a packet with this SPI belongs to.
    #[inline]
    pub fn find(&mut self, spi: Spi) -> Option<&mut T> {
        self.by_spi.get_mut(&spi)
    }

    /// Number of SAs.
    pub fn len(&self) -> usize {
        self.by_spi.len()
    }

    /// True if there is no SA.
    pub fn is_empty(&self) -> bool {
        self.by_spi.is_empty()
    }
}

impl<T> Default for Sad<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Spreads SPIs with one multiplication. We choose the SPIs in the table ourselves, at random, so nobody can make
/// them collide and no keyed hash is needed.
#[derive(Default)]
struct SpiHasher(u64);

impl Hasher for SpiHasher {
    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u32(u32::from(*octet));
        }
    }

    fn write_u32(&mut self, word: u32) {
        // 2^64 divided by the golden ratio; the halves are folded because the table uses both ends of the result.
        let product = (self.0 ^ u64::from(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sas_are_found_by_spi() {
        let mut sad = Sad::new();
        for spi in 256..2256 {
            assert_eq!(sad.insert(Spi(spi), spi), None);
        }
        assert_eq!(sad.len(), 2000);
        assert_eq!(sad.find(Spi(300)), Some(&mut 300));
        assert_eq!(sad.insert(Spi(300), 1), Some(300));
        assert_eq!(sad.remove(Spi(300)), Some(1));
        assert_eq!(sad.find(Spi(300)), None);
        assert_eq!(sad.remove(Spi(300)), None);
        assert!(!sad.is_empty());
    }

    #[test]
    fn neighbouring_spis_spread_over_both_ends_of_the_hash() {
        let hash = |spi| {
            let mut hasher = SpiHasher::default();
            hasher.write_u32(spi);
            hasher.finish()
        };
        let low: std::collections::HashSet<u64> = (256..1280).map(|spi| hash(spi) & 0x3ff).collect();
        let high: std::collections::HashSet<u64> = (256..1280).map(|spi| hash(spi << 12) >> 57).collect();
        assert!(low.len() > 500 && high.len() > 100, "{} and {}", low.len(), high.len());
    }
}
