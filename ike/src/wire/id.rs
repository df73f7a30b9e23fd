//! Identification payloads (RFC 7296 §3.5).

use super::codec::{DecodeError, Expected, Reader, Writer};
use super::registry::IdType;
use crate::identity::Identity;

/// Identification payload, IDi or IDr (RFC 7296 §3.5).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   ID Type     |                 RESERVED                      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                   Identification Data                         ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Identification<'a> {
    /// Who the sender says to be, or with whom it wants to talk.
    pub identity: Identity,
    /// The body of the payload as it came, reserved octets and all: the sender has signed exactly these
    /// (RFC 7296 §2.15).
    pub body: &'a [u8],
}

impl<'a> Identification<'a> {
    /// Reads the body of the payload.
    ///
    /// Refuses addresses of a length that is not an address's, and the reserved type zero: inside this program it
    /// means "anybody", which nobody can be.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let body = r.clone().rest();
        let id_type = IdType(r.u8()?);
        if id_type == IdType::ANY {
            return Err(r.unexpected("ID Type", 0, Expected::AtLeast(1)));
        }
        r.skip(3)?; // RESERVED
        let data = r.rest();
        let expected = match id_type {
            IdType::IPV4_ADDR => Some(4),
            IdType::IPV6_ADDR => Some(16),
            IdType::NULL => Some(0), // RFC 7619 §2.2
            _ => None,
        };
        match expected {
            Some(length) if data.len() != length => Err(r.unexpected(
                "length of Identification Data",
                u64::try_from(data.len()).unwrap_or(u64::MAX),
                Expected::Words(match length {
                    0 => "0 for ID_NULL",
                    4 => "4 for an IPv4 address",
                    _ => "16 for an IPv6 address",
                }),
            )),
            _ => Ok(Self { identity: Identity { id_type, data: data.to_vec() }, body }),
        }
    }
}

/// The body of the ID payload we send: what `prf(SK_px, IDx')` is computed over (RFC 7296 §2.15).
#[must_use]
pub fn body(identity: &Identity) -> Vec<u8> {
    let mut w = Writer::with_capacity(4 + identity.data.len());
    encode(identity, &mut w);
    w.into_octets()
}

/// Writes the body of an ID payload.
pub(super) fn encode(identity: &Identity, w: &mut Writer) {
    w.u8(identity.id_type.0);
    w.bytes(&[0; 3]); // RESERVED
    w.bytes(&identity.data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Part;
    use crate::wire::registry::PayloadType;

    fn decode(octets: &[u8]) -> Result<Identification<'_>, DecodeError> {
        Identification::decode(&mut Reader::new(Part::Payload(PayloadType::ID_I), octets))
    }

    #[test]
    fn the_body_for_auth_is_type_reserved_and_data() {
        let identity = Identity { id_type: IdType::FQDN, data: b"moon.example".to_vec() };
        assert_eq!(body(&identity), *b"\x02\0\0\0moon.example");
    }

    #[test]
    fn reserved_octets_are_kept_for_the_signature_and_ignored_otherwise() {
        let id = decode(b"\x02\x01\x02\x03sun").unwrap();
        assert_eq!(id.body, b"\x02\x01\x02\x03sun");
        assert_eq!(id.identity.data, b"sun");
    }

    #[test]
    fn nobody_is_anybody_and_addresses_have_their_length() {
        let sentence = |octets: &[u8]| decode(octets).err().map(|e| e.to_string());
        assert_eq!(
            sentence(&[0, 0, 0, 0]).as_deref(),
            Some("IDi payload has ID Type 0 before octet 1, expected at least 1")
        );
        assert_eq!(
            sentence(&[1, 0, 0, 0, 192, 0, 2]).as_deref(),
            Some(
                "IDi payload has length of Identification Data 3 before octet 7, expected 4 for an IPv4 address"
            )
        );
        assert!(sentence(&[5, 0, 0, 0, 1, 2, 3, 4]).is_some());
        assert!(decode(&[1, 0, 0, 0, 192, 0, 2, 1]).is_ok());
        assert!(decode(&[IdType::NULL.0, 0, 0, 0]).is_ok());
    }
}
