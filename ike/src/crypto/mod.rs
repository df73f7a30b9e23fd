//! Everything that touches key octets: key exchange, the key schedule, protection of messages.
//!
//! Read [`suite`] for what can be negotiated, [`ke`] for how two ends agree on a secret, [`schedule`] for
//! the keys that are made of it (RFC 7296 §2.13 to §2.18) and [`protect`] for how they guard messages
//! (RFC 7296 §3.14, RFC 5282, RFC 7383). [`signature`] is what certificates and AUTH payloads prove with. [`Prf`] is at work in all of them. The remaining files
//! are one algorithm each, on top of `ring` or the RustCrypto crates; no primitive is made here but the
//! chaining of AES-XCBC, which neither has.
//!
//! All randomness comes from one [`CryptoProvider`]: with a seeded source, the same inputs give the same
//! octets, which is what the simulator and the fuzz targets build on.

mod aead;
#[cfg(test)]
mod cavp;
mod cbc;
pub mod cipher;
mod ecp;
mod esp;
pub mod integ;
pub mod ke;
mod modp;
pub mod prf;
pub mod protect;
pub mod schedule;
pub mod secret;
pub mod signature;
pub mod suite;
#[cfg(test)]
mod wycheproof;
mod x25519;
mod xcbc;

pub use ke::{KeError, KeyExchangeInProgress, supports_ke};
pub use prf::{Prf, supports_prf};
pub use protect::{Fragment, OpenError, Opened, Opener, SealError, Sealer};
pub use schedule::{ChildKeyMaterial, ChildKeys, IkeKeys, ProtectionKeys, Role};
pub use secret::{Secret, SharedKey, SkAi, SkAr, SkD, SkEi, SkEr, SkPi, SkPr};
pub use suite::{EspSuite, IkeSuite, SuiteError};
#[cfg(feature = "sim")]
pub use x25519::KnownAgreements;

pub use cipher::supports_encr;
pub use esp::supports_esp_encr;
pub use integ::supports_integ;

/// A source of random octets fit for keys.
pub trait RandomSource {
    /// Overwrites all of `octets`.
    ///
    /// The octets must differ from call to call: private keys are drawn until a draw is in range, which a
    /// source that repeats itself may never give.
    fn fill(&self, octets: &mut [u8]);
}

impl<R: RandomSource + ?Sized> RandomSource for Box<R> {
    fn fill(&self, octets: &mut [u8]) {
        (**self).fill(octets);
    }
}

/// Where keys, nonces, SPIs and initialization vectors get their randomness.
pub struct CryptoProvider {
    random: Box<dyn RandomSource + Send + Sync>,
    #[cfg(feature = "sim")]
    known: Option<std::sync::Arc<KnownAgreements>>,
}

impl CryptoProvider {
    /// A provider that draws from `random`. Whoever knows its state knows every key.
    pub fn new(random: impl RandomSource + Send + Sync + 'static) -> Self {
        Self {
            random: Box::new(random),
            #[cfg(feature = "sim")]
            known: None,
        }
    }

    /// The same, but it computes nothing twice that was computed by another of these before.
    #[cfg(feature = "sim")]
    #[must_use]
    pub(crate) fn knowing(self, known: std::sync::Arc<KnownAgreements>) -> Self {
        Self { known: Some(known), ..self }
    }

    /// A provider that draws from the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self::new(OperatingSystem)
    }

    /// Overwrites `octets` with random ones.
    pub fn random(&self, octets: &mut [u8]) {
        self.random.fill(octets);
    }
}

struct OperatingSystem;

impl RandomSource for OperatingSystem {
    /// # Panics
    ///
    /// If the operating system has no randomness to give. On Linux that is a kernel without `getrandom`
    /// and without `/dev/urandom`, and there is no safe way to go on.
    fn fill(&self, octets: &mut [u8]) {
        getrandom::fill(octets).expect("the operating system gives random octets");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A source for tests: every octet depends on the seed and on all drawn before.
    pub(crate) struct Seeded(Mutex<u64>);

    impl Seeded {
        pub(crate) fn provider(seed: u64) -> CryptoProvider {
            CryptoProvider::new(Self(Mutex::new(seed)))
        }
    }

    impl RandomSource for Seeded {
        fn fill(&self, octets: &mut [u8]) {
            let mut state = self.0.lock().unwrap();
            for octet in octets {
                // SplitMix64
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                *octet = (z ^ (z >> 31)).to_le_bytes()[0];
            }
        }
    }

    /// The octets a vector writes in hexadecimal; white space is ignored.
    pub(crate) fn hex(digits: &str) -> Vec<u8> {
        let digits: Vec<u32> =
            digits.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
        assert_eq!(digits.len() % 2, 0, "half an octet");
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
    }

    #[test]
    fn the_system_source_does_not_repeat() {
        let provider = CryptoProvider::system();
        let (mut first, mut second) = ([0; 32], [0; 32]);
        provider.random(&mut first);
        provider.random(&mut second);
        assert_ne!(first, second);
        assert_ne!(first, [0; 32]);
    }
}
