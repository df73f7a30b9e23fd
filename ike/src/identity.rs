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
