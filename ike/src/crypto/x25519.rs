//! Curve25519 (RFC 8031, RFC 7748).

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{CryptoProvider, secret::Secret};

pub(super) struct X25519Private {
    scalar: StaticSecret,
    #[cfg(feature = "sim")]
    known: Option<std::sync::Arc<KnownAgreements>>,
}

impl X25519Private {
    pub(super) fn generate(provider: &CryptoProvider) -> Self {
        let mut scalar = Zeroizing::new([0; 32]);
        provider.random(&mut *scalar);
        Self {
            scalar: StaticSecret::from(*scalar),
            #[cfg(feature = "sim")]
            known: provider.known.clone(),
        }
    }

    pub(super) fn public(&self) -> Vec<u8> {
        #[cfg(feature = "sim")]
        if let Some(known) = &self.known {
            return known.public(&self.scalar).to_vec();
        }
        PublicKey::from(&self.scalar).as_bytes().to_vec()
    }

    /// The shared secret; `None` if `peer` makes it zero whatever our scalar is.
    pub(super) fn agree(&self, peer: &[u8]) -> Option<Secret> {
        let peer = <[u8; 32]>::try_from(peer).ok()?;
        #[cfg(feature = "sim")]
        if let Some(known) = &self.known {
            return known.shared(&self.scalar, peer).map(|shared| Secret::new(shared.to_vec()));
        }
        agree(&self.scalar, peer).map(|shared| Secret::new(shared.to_vec()))
    }
}

fn agree(scalar: &StaticSecret, peer: [u8; 32]) -> Option<[u8; 32]> {
    let shared = scalar.diffie_hellman(&PublicKey::from(peer));
    // RFC 7748 §6.1 allows the check; without it a peer could force a secret that others know.
    shared.was_contributory().then(|| *shared.as_bytes())
}

/// What scalars and public values have come to before: the simulator plays the same beginning over and over, and half
/// of its time would go into that. Nothing in it is secret, for the scalars follow from a seed.
#[cfg(feature = "sim")]
#[derive(Default)]
pub struct KnownAgreements {
    publics: Table<Octets, Octets>,
    shared: Table<(Octets, Octets), Option<Octets>>,
}

#[cfg(feature = "sim")]
type Octets = [u8; 32];

#[cfg(feature = "sim")]
type Table<K, V> = std::sync::Mutex<std::collections::HashMap<K, V>>;

#[cfg(feature = "sim")]
impl KnownAgreements {
    fn public(&self, scalar: &StaticSecret) -> [u8; 32] {
        let mut publics = self.publics.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *publics.entry(scalar.to_bytes()).or_insert_with(|| *PublicKey::from(scalar).as_bytes())
    }

    fn shared(&self, scalar: &StaticSecret, peer: [u8; 32]) -> Option<[u8; 32]> {
        let mut shared = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *shared.entry((scalar.to_bytes(), peer)).or_insert_with(|| agree(scalar, peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    fn private(scalar: &str) -> X25519Private {
        X25519Private {
            scalar: StaticSecret::from(<[u8; 32]>::try_from(hex(scalar)).unwrap()),
            #[cfg(feature = "sim")]
            known: None,
        }
    }

    fn check(ours: &str, our_public: &str, theirs: &str, their_public: &str, shared: &str) {
        let (ours, theirs) = (private(ours), private(theirs));
        assert_eq!(ours.public(), hex(our_public));
        assert_eq!(theirs.public(), hex(their_public));
        assert_eq!(ours.agree(&theirs.public()).unwrap().octets(), hex(shared));
        assert_eq!(theirs.agree(&ours.public()).unwrap().octets(), hex(shared));
    }

    #[test]
    fn rfc_7748_section_6_1() {
        check(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        );
    }

    #[test]
    fn rfc_8031_appendix_a() {
        check(
            "751fb430 8655b476 b6789b73 25f9ea8c ddd16a58 533ff6d9 e6000946 4a5f9d94",
            "48d5ddd4 061257ba 166fa3f9 bbdb74f1 a4e81c08 9384fa77 f790709f 0dfbc766",
            "0a546452 53290d60 ddadd0e0 30bacd9e 5501efdc 220755a1 e978f1b8 39a05688",
            "0be7c1f5 aad87d7e 44866267 3298a443 478b8597 45179eaf 564c79c0 ef6eee25",
            "c7495060 7a12327f 3204d94b 6825bfb0 68b7f831 9a9e3708 ed3d43ce 8130c950",
        );
    }

    /// RFC 7748 section 5.2, both; the second has the unused top bit of the coordinate set.
    #[test]
    fn rfc_7748_section_5_2() {
        for (scalar, coordinate, output) in [
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
            ),
        ] {
            assert_eq!(private(scalar).agree(&hex(coordinate)).unwrap().octets(), hex(output));
        }
    }

    /// The points of small order, also in their non-canonical encodings.
    #[test]
    fn points_of_small_order_are_refused() {
        let ours = private("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        for point in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ] {
            assert!(ours.agree(&hex(point)).is_none(), "{point}");
        }
    }
}
