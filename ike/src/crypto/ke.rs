//! Key exchange (RFC 7296 §1.2, §2.14, §3.4): a public value each way, one secret at both ends.
//!
//! The initiator of an exchange calls [`CryptoProvider::start`], sends the public value and calls
//! [`KeyExchangeInProgress::complete`] with the answer. The responder has both at once and calls
//! [`CryptoProvider::start_and_complete`].

use super::{
    CryptoProvider,
    ecp::{EcpPrivate, P256, P384, P521},
    modp::{Group, ModpPrivate},
    secret::SharedKey,
    x25519::X25519Private,
};
use crate::wire::registry::KeMethod;

/// A key exchange whose public value has been, or will be, sent.
///
/// It can be completed more than once: until the peer is authenticated, an answer may be forged, and the
/// right one must still be usable. A retry of IKE_SA_INIT with a cookie sends the same public value.
pub struct KeyExchangeInProgress {
    method: KeMethod,
    public: Vec<u8>,
    private: Private,
}

impl KeyExchangeInProgress {
    /// The method.
    #[must_use]
    pub fn method(&self) -> KeMethod {
        self.method
    }

    /// Our public value, as the Key Exchange Data of a KE payload.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Combines our private value with the peer's public one.
    ///
    /// # Errors
    ///
    /// If `peer` has the wrong length or is no public value of the method.
    pub fn complete(&self, peer: &[u8]) -> Result<SharedKey, KeError> {
        let expected = self.public.len();
        if peer.len() != expected {
            return Err(KeError::Length { method: self.method, expected, found: peer.len() });
        }
        match &self.private {
            Private::X25519(private) => private.agree(peer),
            Private::P256(private) => private.agree(peer),
            Private::P384(private) => private.agree(peer),
            Private::P521(private) => private.agree(peer),
            Private::Modp(private) => private.agree(peer),
        }
        .map(SharedKey::new)
        .ok_or(KeError::Public(self.method))
    }
}

impl CryptoProvider {
    /// Draws a private value and computes the public one; `None` if we do not have the method.
    #[must_use]
    pub fn start(&self, method: KeMethod) -> Option<KeyExchangeInProgress> {
        let (public, private) = match Known::from_method(method)? {
            Known::X25519 => {
                let private = X25519Private::generate(self);
                (private.public(), Private::X25519(private))
            }
            Known::P256 => {
                let private = EcpPrivate::generate(self);
                (private.public(), Private::P256(private))
            }
            Known::P384 => {
                let private = EcpPrivate::generate(self);
                (private.public(), Private::P384(private))
            }
            Known::P521 => {
                let private = EcpPrivate::generate(self);
                (private.public(), Private::P521(private))
            }
            Known::Modp(group) => {
                let private = ModpPrivate::generate(group, self);
                (private.public(), Private::Modp(private))
            }
        };
        Some(KeyExchangeInProgress { method, public, private })
    }

    /// The responder's whole part: returns our public value and the secret.
    ///
    /// # Errors
    ///
    /// If we do not have the method, or `peer` is no public value of it.
    pub fn start_and_complete(&self, method: KeMethod, peer: &[u8]) -> Result<(Vec<u8>, SharedKey), KeError> {
        let exchange = self.start(method).ok_or(KeError::Unsupported(method))?;
        let shared = exchange.complete(peer)?;
        Ok((exchange.public, shared))
    }
}

/// Why there is no shared secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeError {
    /// A method we do not have.
    #[error("key exchange method {0} is not supported")]
    Unsupported(KeMethod),
    /// The peer's public value cannot be one of the method.
    #[error("a public value of {found} octets where {method} has {expected}")]
    Length {
        /// The method.
        method: KeMethod,
        /// Octets its public values have.
        expected: usize,
        /// Octets the peer sent.
        found: usize,
    },
    /// The peer's public value is not in the group, or would make the secret known to everybody.
    #[error("a public value that is not valid for {0}")]
    Public(KeMethod),
}

/// True if keys can be exchanged by `method`.
#[must_use]
pub fn supports_ke(method: KeMethod) -> bool {
    Known::from_method(method).is_some()
}

enum Private {
    X25519(X25519Private),
    P256(EcpPrivate<P256>),
    P384(EcpPrivate<P384>),
    P521(EcpPrivate<P521>),
    Modp(ModpPrivate),
}

/// The methods we have.
enum Known {
    X25519,
    P256,
    P384,
    P521,
    Modp(Group),
}

impl Known {
    fn from_method(method: KeMethod) -> Option<Self> {
        match method {
            KeMethod::CURVE_25519 => Some(Self::X25519),
            KeMethod::ECP_256 => Some(Self::P256),
            KeMethod::ECP_384 => Some(Self::P384),
            KeMethod::ECP_521 => Some(Self::P521),
            KeMethod::MODP_2048 => Some(Self::Modp(Group::Modp2048)),
            KeMethod::MODP_3072 => Some(Self::Modp(Group::Modp3072)),
            KeMethod::MODP_4096 => Some(Self::Modp(Group::Modp4096)),
            KeMethod::MODP_6144 => Some(Self::Modp(Group::Modp6144)),
            KeMethod::MODP_8192 => Some(Self::Modp(Group::Modp8192)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::Seeded;

    const ALL: [(KeMethod, usize); 9] = [
        (KeMethod::CURVE_25519, 32),
        (KeMethod::ECP_256, 64),
        (KeMethod::ECP_384, 96),
        (KeMethod::ECP_521, 132),
        (KeMethod::MODP_2048, 256),
        (KeMethod::MODP_3072, 384),
        (KeMethod::MODP_4096, 512),
        (KeMethod::MODP_6144, 768),
        (KeMethod::MODP_8192, 1024),
    ];

    #[test]
    fn both_ends_agree() {
        let (ours, theirs) = (Seeded::provider(1), Seeded::provider(2));
        for (method, len) in ALL {
            assert!(supports_ke(method));
            let exchange = ours.start(method).unwrap();
            assert_eq!(exchange.method(), method);
            assert_eq!(exchange.public().len(), len);
            let (public, shared) = theirs.start_and_complete(method, exchange.public()).unwrap();
            assert_ne!(exchange.public(), public);
            assert_eq!(exchange.complete(&public).unwrap().octets(), shared.octets());
            // And again, after a forged answer.
            assert!(exchange.complete(&vec![0; len]).is_err());
            assert_eq!(exchange.complete(&public).unwrap().octets(), shared.octets());
            assert_ne!(ours.start(method).unwrap().public(), exchange.public());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_keys() {
        for (method, _) in ALL {
            let (first, second) = (Seeded::provider(3).start(method), Seeded::provider(3).start(method));
            assert_eq!(first.unwrap().public(), second.unwrap().public());
        }
    }

    #[test]
    fn a_wrong_length_is_named() {
        let provider = Seeded::provider(4);
        for (method, expected) in ALL {
            let exchange = provider.start(method).unwrap();
            for found in [0, 1, expected - 1, expected + 1] {
                let error = exchange.complete(&vec![2; found]).err();
                assert_eq!(error, Some(KeError::Length { method, expected, found }));
            }
        }
    }

    #[test]
    fn unknown_methods_are_refused() {
        let provider = Seeded::provider(5);
        for method in [KeMethod::NONE, KeMethod::MODP_1024, KeMethod::CURVE_448, KeMethod(40_000)] {
            assert!(!supports_ke(method));
            assert!(provider.start(method).is_none());
            let error = provider.start_and_complete(method, &[2; 128]).err();
            assert_eq!(error, Some(KeError::Unsupported(method)));
        }
    }
}
