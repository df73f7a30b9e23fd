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

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::crypto::tests::{Seeded, hex};

    const ALL: [Group; 5] =
        [Group::Modp2048, Group::Modp3072, Group::Modp4096, Group::Modp6144, Group::Modp8192];

    /// The private value whose octet `i` is `i * factor + start`.
    fn private(group: Group, factor: usize, start: usize) -> ModpPrivate {
        let bits = group.exponent_bits();
        let octets: Vec<u8> =
            (0..bits as usize / 8).map(|i| u8::try_from((i * factor + start) % 256).unwrap()).collect();
        ModpPrivate { group, exponent: Zeroizing::new(BoxedUint::from_be_slice(&octets, bits).unwrap()) }
    }

    /// Against values computed with Python's integers; they are long, so their SHA-256 stands here.
    #[test]
    fn agrees_with_another_implementation() {
        for (group, ours, theirs, shared) in [
            (
                Group::Modp2048,
                "1b0e957b8481db579ed8f6258b1f4fc21f2361a9b4a10f256df9bbc237d3a0cc",
                "c45fee31b66334e6bc1bdf96b8a59abc72c1852cebb935fc70e1be78aafe9fea",
                "72e65ae6e9b69f790280ac1c719c97d1f01e80ab49e48f54996c29fbc1e84577",
            ),
            (
                Group::Modp3072,
                "2c03fa7f2c34971fe020e9c04a87ebd5420fdb86029b5a2c5c87271d4abbfe31",
                "9f69b91f0aebc5ba47dc08ed783042a1e215f29620485301915d19d5a95d6798",
                "570a374e2028b3c52a307c2452b0458318784d0075573e6042cf30a3cf1a6b17",
            ),
            (
                Group::Modp4096,
                "3345a3a163e6c556eb9071bcefd543f6cd9d56120ec2b7a6bb07ef3993e8dbf2",
                "0f1563a3307be64a89c8dab77d00acc85cdc97851fdb5170fe8b992f1d92ac4d",
                "295fb2f5d0033b96e47e1cb8f9b5c251da9649e3b99ffa71ee14542b482c08b6",
            ),
            (
                Group::Modp6144,
                "21c52c44a600a81334b22ccbca2a1bf72aee51e9b6b3f5cd8c1ee8747de728cc",
                "8aadebbaf3029b3b465a48caa62fd3b35fc4a1dc5afffe6728b0b61e43dd3e56",
                "b9707af0ecd94d948fc0da79cbc9618296a68965f1392c68326e74c3333192fd",
            ),
            (
                Group::Modp8192,
                "39996c7608fa78061592c849c34a1c4d7967283b2f269d8b7ae616eca2d66337",
                "99417a9c994618e9beab4cfb9f87fbb486b0a6f39475cf01c5d46ef10f777172",
                "bf9f8fb614748f13581b7cc26bd52983acced6cdcf37383fcf7f67ff4e65d7ca",
            ),
        ] {
            let (i, r) = (private(group, 7, 3), private(group, 11, 5));
            assert_eq!(Sha256::digest(i.public()).as_slice(), hex(ours));
            assert_eq!(Sha256::digest(r.public()).as_slice(), hex(theirs));
            for secret in [i.agree(&r.public()), r.agree(&i.public())] {
                assert_eq!(Sha256::digest(secret.unwrap().octets()).as_slice(), hex(shared));
            }
        }
    }

    /// RFC 3526: p is a safe prime with 2 as a square, so 2 has the order (p - 1) / 2. A slip of one digit
    /// would break that.
    #[test]
    fn the_primes_are_copied_right() {
        for group in ALL {
            let params = group.params();
            assert_eq!(params.bits_precision(), group.bits());
            let order = params.modulus().as_ref().shr(1);
            let two = BoxedMontyForm::new(BoxedUint::from(2u8).resize(group.bits()), params);
            assert!(two.pow(&order).retrieve() == BoxedUint::one_with_precision(group.bits()));
        }
    }

    #[test]
    fn values_that_confine_the_secret_are_refused() {
        for group in ALL {
            let ours = ModpPrivate::generate(group, &Seeded::provider(7));
            let bits = group.bits();
            let modulus = group.params().modulus().as_ref().clone();
            let small = |n: u8| BoxedUint::from(n).resize(bits);
            let below = |n| modulus.wrapping_sub(small(n));
            for bad in [small(0), small(1), below(1), modulus.clone(), BoxedUint::max(bits)] {
                assert!(ours.agree(&bad.to_be_bytes()).is_none());
            }
            for good in [small(2), below(2)] {
                assert!(ours.agree(&good.to_be_bytes()).is_some());
            }
        }
    }

    /// A secret that happens to be small keeps its leading zeros (RFC 7296 §2.14).
    #[test]
    fn the_secret_is_as_long_as_the_prime() {
        let exponent = Zeroizing::new(BoxedUint::from(3u8).resize(Group::Modp2048.exponent_bits()));
        let ours = ModpPrivate { group: Group::Modp2048, exponent };
        let mut peer = vec![0; 256];
        peer[255] = 5;
        let mut expected = vec![0; 256];
        expected[255] = 125;
        assert_eq!(ours.agree(&peer).unwrap().octets(), expected);
        expected[255] = 8;
        assert_eq!(ours.public(), expected);
    }
}
