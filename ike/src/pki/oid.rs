//! Object identifiers, as policies and purposes are named.

use std::fmt;
use std::str::FromStr;

use der::asn1::ObjectIdentifier;

/// An object identifier, such as that of a certificate policy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(pub(super) ObjectIdentifier);

impl Oid {
    /// anyPolicy (RFC 5280 §4.2.1.4).
    pub const ANY_POLICY: Self = Self(ObjectIdentifier::new_unwrap("2.5.29.32.0"));
    /// anyExtendedKeyUsage (RFC 5280 §4.2.1.12).
    pub const ANY_EXTENDED_KEY_USAGE: Self = Self(ObjectIdentifier::new_unwrap("2.5.29.37.0"));
    /// id-kp-serverAuth (RFC 5280 §4.2.1.12).
    pub const SERVER_AUTH: Self = Self(ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"));
    /// id-kp-clientAuth (RFC 5280 §4.2.1.12).
    pub const CLIENT_AUTH: Self = Self(ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"));
    /// id-kp-OCSPSigning (RFC 6960 §4.2.2.2).
    pub const OCSP_SIGNING: Self = Self(ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9"));
    /// id-kp-ipsecIKE (RFC 4945 §5.1.3.12).
    pub const IPSEC_IKE: Self = Self(ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.17"));
}

/// In dots and decimals.
impl FromStr for Oid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ObjectIdentifier::new(text)
            .map(Self)
            .map_err(|_| "an object identifier such as 1.3.6.1.4.1.36906.1.1".to_owned())
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
