//! MODP groups 2048 to 8192 (RFC 3526): Diffie-Hellman modulo a safe prime, with generator 2.

mod primes;

use std::sync::OnceLock;

use crypto_bigint::{
    BoxedUint, Odd, Resize,
    modular::{BoxedMontyForm, BoxedMontyParams},
};
use zeroize::Zeroizing;

use super::{CryptoProvider, secret::Secret};

/// A group of RFC 3526.
#[derive(Clone, Copy)]
pub(super) enum Group {
    Modp2048,
    Modp3072,
    Modp4096,
    Modp6144,
    Modp8192,
}

impl Group {
    /// Bits of the prime.
    fn bits(self) -> u32 {
        match self {
            Self::Modp2048 => 2048,
            Self::Modp3072 => 3072,
            Self::Modp4096 => 4096,
            Self::Modp6144 => 6144,
            Self::Modp8192 => 8192,
        }
    }

    /// Bits of our exponents: twice the higher estimate of the group's strength (RFC 3526 §8), rounded up
    /// to words of 64 bits. An exponent as long as the prime would cost many times more and add nothing.
    fn exponent_bits(self) -> u32 {
        match self {
            Self::Modp2048 => 320,
            Self::Modp3072 => 448,
            Self::Modp4096 => 512,
            Self::Modp6144 => 576,
            Self::Modp8192 => 640,
        }
    }

    /// The prime, prepared for Montgomery multiplication. Computed once; a constant in all but name.
    fn params(self) -> &'static BoxedMontyParams {
        static PREPARED: [OnceLock<BoxedMontyParams>; 5] = [const { OnceLock::new() }; 5];
        let [modp_2048, modp_3072, modp_4096, modp_6144, modp_8192] = &PREPARED;
        let (prepared, prime) = match self {
            Self::Modp2048 => (modp_2048, primes::MODP_2048),
            Self::Modp3072 => (modp_3072, primes::MODP_3072),
            Self::Modp4096 => (modp_4096, primes::MODP_4096),
            Self::Modp6144 => (modp_6144, primes::MODP_6144),
            Self::Modp8192 => (modp_8192, primes::MODP_8192),
        };
        prepared.get_or_init(|| {
            let prime = BoxedUint::from_be_hex(prime, self.bits()).into_option();
            let odd = prime.and_then(|prime| Odd::new(prime).into_option());
            BoxedMontyParams::new_vartime(odd.expect("the constants are odd numbers in hexadecimal"))
        })
    }

    /// `base` to the power of `exponent`, as long as the prime. Takes as long for every exponent.
    fn power(self, base: BoxedUint, exponent: &BoxedUint) -> Vec<u8> {
        let base = BoxedMontyForm::new(base, self.params());
        let power = Zeroizing::new(base.pow_bounded_exp(exponent, self.exponent_bits()));
        Zeroizing::new(power.retrieve()).to_be_bytes().into_vec()
    }
}

pub(super) struct ModpPrivate {
    group: Group,
    exponent: Zeroizing<BoxedUint>,
}

impl ModpPrivate {
    pub(super) fn generate(group: Group, provider: &CryptoProvider) -> Self {
        let bits = group.exponent_bits();
        let mut octets = Zeroizing::new(vec![0; bits as usize / 8]);
        provider.random(&mut octets);
        Self { group, exponent: Zeroizing::new(BoxedUint::from_be_slice_truncated(&octets, bits)) }
    }

    /// g^x, as long as the prime (RFC 7296 §3.4).
    pub(super) fn public(&self) -> Vec<u8> {
        self.group.power(BoxedUint::from(2u8).resize(self.group.bits()), &self.exponent)
    }

    /// g^ir, as long as the prime (RFC 7296 §2.14); `None` unless 1 < `peer` < p - 1 (RFC 6989 §2.1).
    pub(super) fn agree(&self, peer: &[u8]) -> Option<Secret> {
        let bits = self.group.bits();
        let peer = BoxedUint::from_be_slice(peer, bits).ok()?;
        let one = BoxedUint::one_with_precision(bits);
        let p_minus_1 = self.group.params().modulus().as_ref().wrapping_sub(&one);
        // The value is public, so comparing may take what time it likes.
        (one < peer && peer < p_minus_1).then(|| Secret::new(self.group.power(peer, &self.exponent)))
    }
}
