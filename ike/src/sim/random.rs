//! Randomness that a seed decides.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::crypto::{CryptoProvider, KnownAgreements, RandomSource};

/// A crypto provider whose keys, nonces and SPIs follow from the seed. Nothing it makes is secret.
#[must_use]
pub fn provider(seed: u64) -> Arc<CryptoProvider> {
    Arc::new(seeded(seed))
}

/// The same, in a world that does not compute twice what it computed in another.
pub(super) fn provider_that_knows(seed: u64, known: &Arc<KnownAgreements>) -> Arc<CryptoProvider> {
    Arc::new(seeded(seed).knowing(known.clone()))
}

fn seeded(seed: u64) -> CryptoProvider {
    CryptoProvider::new(Seeded(Mutex::new(ChaCha8Rng::seed_from_u64(seed))))
}

struct Seeded(Mutex<ChaCha8Rng>);

impl RandomSource for Seeded {
    fn fill(&self, octets: &mut [u8]) {
        // A generator is whole at any moment, whoever panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(octets);
    }
}

/// Decisions that a seed makes: what a link loses, what a chaos run does next.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// Dice that fall as `seed` says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// True so often; `percent` of 100.
    pub fn chance(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// A number from zero to below `end`; zero where there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64().checked_rem(end).unwrap_or(0) // the bias does not matter here
    }

    /// One of these; `None` of none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(choices.len()).unwrap_or(u64::MAX);
        choices.get(usize::try_from(self.below(count)).ok()?)
    }

    /// A time in the range.
    pub fn time(&mut self, range: Range<Duration>) -> Duration {
        let span = range.end.saturating_sub(range.start);
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        range.start + Duration::from_nanos(self.below(nanos))
    }

    /// Changes one bit.
    pub fn flip_bit(&mut self, octets: &mut [u8]) {
        let count = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        let position = usize::try_from(self.below(count)).unwrap_or(0);
        let bit = self.below(8);
        if let Some(octet) = octets.get_mut(position) {
            *octet ^= 1 << bit;
        }
    }
}
