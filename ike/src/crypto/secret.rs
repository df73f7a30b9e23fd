//! Octets that must not be seen: owned, wiped when dropped, never printed, copied or compared by accident.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret octets: a key, a shared secret, a password.
///
/// There is no `Debug`, `Display`, `Clone` or `PartialEq`, so a secret cannot slip into a log or a second
/// buffer. The octets are wiped when the value is dropped.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of `octets`. Copies the caller made before stay the caller's to wipe.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// How many octets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no octets, as for the integrity key of an AEAD cipher.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in a time that depends on the lengths only.
    #[must_use]
    pub fn ct_eq(&self, octets: &[u8]) -> bool {
        self.0.as_slice().ct_eq(octets).into()
    }

    /// Compares with another secret, as [`ct_eq`](Self::ct_eq) does.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.ct_eq(other.octets())
    }

    /// Lends the octets.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// Declares a kind of key, so that one cannot be taken for another.
macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            pub struct $name(Secret);

            impl $name {
                pub(crate) fn new(secret: Secret) -> Self {
                    Self(secret)
                }
            }
        )*
    };
}

keys! {
    /// SK_d: keys of CHILD_SAs and of the IKE SA's successor are derived from it (RFC 7296 §2.14).
    SkD;
    /// SK_ai: integrity key of messages from the original initiator.
    SkAi;
    /// SK_ar: integrity key of messages from the original responder.
    SkAr;
    /// SK_ei: encryption key, with its salt if there is one, of messages from the original initiator.
    SkEi;
    /// SK_er: encryption key, with its salt if there is one, of messages from the original responder.
    SkEr;
    /// SK_pi: binds the initiator's identity into its AUTH payload (RFC 7296 §2.15).
    SkPi;
    /// SK_pr: binds the responder's identity into its AUTH payload (RFC 7296 §2.15).
    SkPr;
    /// g^ir: what a key exchange agreed on, in the encoding RFC 7296 §2.14 and the method's own RFC ask for.
    SharedKey;
}

/// Keys that stay what they are and are lent to a function.
macro_rules! lend {
    ($($name:ident)*) => {
        $(
            impl $name {
                pub(crate) fn octets(&self) -> &[u8] {
                    self.0.octets()
                }
            }
        )*
    };
}

lend! { SkD SkPi SkPr SharedKey }

/// Keys that stand in for a shared secret where EAP makes none (RFC 7296 §2.16).
macro_rules! stand_in {
    ($($name:ident)*) => {
        $(
            impl $name {
                pub(crate) const fn secret(&self) -> &Secret {
                    &self.0
                }
            }
        )*
    };
}

stand_in! { SkPi SkPr }

/// Keys whose kind becomes a direction, and then is no longer needed.
macro_rules! direct {
    ($($name:ident)*) => {
        $(
            impl From<$name> for Secret {
                fn from(key: $name) -> Self {
                    key.0
                }
            }
        )*
    };
}

direct! { SkAi SkAr SkEi SkEr }

/// SK_pi or SK_pr.
pub trait SkP: private::Octets {}

impl SkP for SkPi {}
impl SkP for SkPr {}

mod private {
    use super::{SkPi, SkPr};

    /// Lends the octets of a key, inside this crate only.
    pub trait Octets {
        fn octets(&self) -> &[u8];
    }

    impl Octets for SkPi {
        fn octets(&self) -> &[u8] {
            Self::octets(self)
        }
    }

    impl Octets for SkPr {
        fn octets(&self) -> &[u8] {
            Self::octets(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparing_needs_every_octet_to_agree() {
        let secret = Secret::new(vec![1, 2, 3]);
        assert!(secret.ct_eq(&[1, 2, 3]));
        assert!(!secret.ct_eq(&[1, 2, 4]));
        assert!(!secret.ct_eq(&[1, 2]));
        assert!(!secret.ct_eq(&[1, 2, 3, 0]));
        assert!(!secret.is_empty());
        assert_eq!(secret.len(), 3);
    }
}
