//! Identities (RFC 7296 §3.5).

use crate::wire::registry::IdType;

/// Who a peer says it is: the type and the octets of an Identification payload.
///
/// `IdType::ANY` with no octets is the pattern that matches everybody; it is never sent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Identification Type.
    pub id_type: IdType,
    /// Identification Data, as on the wire.
    pub data: Vec<u8>,
}

/// Why a text is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Placeholder.
    #[error("invalid identity")]
    Invalid,
}

impl Identity {
    /// The quality of a match without wildcards.
    pub const PERFECT: u8 = 20;

    /// The pattern that matches everybody.
    #[must_use]
    pub const fn any() -> Self {
        Self { id_type: IdType::ANY, data: Vec::new() }
    }

    /// The identity of an address.
    #[must_use]
    pub fn from_addr(_addr: std::net::IpAddr) -> Self {
        todo!()
    }

    /// Parses the text of a configuration.
    pub fn parse(_text: &str) -> Result<Self, IdentityError> {
        todo!()
    }

    /// True for the pattern that matches everybody.
    #[must_use]
    pub fn is_any(&self) -> bool {
        todo!()
    }

    /// The address, if this is the identity of one.
    #[must_use]
    pub fn addr(&self) -> Option<std::net::IpAddr> {
        todo!()
    }

    /// How well `self` fits `pattern`: 20 perfectly, less with wildcards, 1 for "any"; `None` if not.
    #[must_use]
    pub fn matches(&self, _pattern: &Self) -> Option<u8> {
        todo!()
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
