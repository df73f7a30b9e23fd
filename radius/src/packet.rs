//! A packet as it came (RFC 2865 §3).
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------+---------------+---------------+---------------+
//! |     Code      |  Identifier   |            Length             |
//! +---------------+---------------+---------------+---------------+
//! |                     Authenticator (16)                        |
//! +---------------+---------------+---------------+---------------+
//! |     Type      |    Length     |  Value ...                         (so often)
//! +---------------+---------------+---
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::registry::{AttributeType, Code, Vendor};

/// Octets before the attributes.
pub(crate) const HEADER_LEN: usize = 20;
/// The most octets of a packet (RFC 2865 §3).
pub const MAX_LEN: usize = 4096;
/// Octets before the value of an attribute.
pub(crate) const ATTRIBUTE_HEADER_LEN: usize = 2;

/// Why octets are no packet.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// There is no whole header.
    #[error("it has {0} octets, less than a header")]
    Short(usize),
    /// The length field says something else than a packet can have, or more than there is.
    #[error(
        "its length field says {said} octets, expected {HEADER_LEN} to {MAX_LEN} and no more than the {there} there are"
    )]
    Length {
        /// What the field says.
        said: u16,
        /// How many octets there are.
        there: usize,
    },
    /// An attribute says that it is shorter than its own header, or longer than what is left.
    #[error("attribute {attribute} at octet {at} says that it has {said} octets, expected 2 to {left}")]
    Attribute {
        /// Which.
        attribute: AttributeType,
        /// Where it begins.
        at: usize,
        /// What its length field says.
        said: u8,
        /// How many octets are left of the packet.
        left: usize,
    },
    /// An octet is left after the last attribute.
    #[error("an octet is left after the last attribute")]
    Stray,
}

/// A packet whose attributes all fit into each other. Nobody has vouched for it: see
/// [`authenticator`](crate::authenticator).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    octets: &'a [u8],
    code: Code,
    identifier: u8,
    authenticator: &'a [u8; 16],
}

impl<'a> Packet<'a> {
    /// Reads a packet. Octets after its end are padding (RFC 2865 §3).
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let short = DecodeError::Short(datagram.len());
        let (header, rest) = datagram.split_first_chunk::<4>().ok_or(short)?;
        let authenticator = rest.first_chunk::<16>().ok_or(short)?;
        let [code, identifier, high, low] = *header;
        let said = u16::from_be_bytes([high, low]);
        let length = usize::from(said);
        let wrong = DecodeError::Length { said, there: datagram.len() };
        if !(HEADER_LEN..=MAX_LEN).contains(&length) {
            return Err(wrong);
        }
        let octets = datagram.get(..length).ok_or(wrong)?;
        let packet = Self { octets, code: Code(code), identifier, authenticator };
        let mut at = HEADER_LEN;
        while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
            let &[kind, said, ..] = rest else { return Err(DecodeError::Stray) };
            let of = usize::from(said);
            if of < ATTRIBUTE_HEADER_LEN || of > rest.len() {
                return Err(DecodeError::Attribute {
                    attribute: AttributeType(kind),
                    at,
                    said,
                    left: rest.len(),
                });
            }
            at += of;
        }
        Ok(packet)
    }

    /// What it is.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Pairs a response with its request.
    #[must_use]
    pub const fn identifier(&self) -> u8 {
        self.identifier
    }

    /// The authenticator field.
    #[must_use]
    pub const fn authenticator(&self) -> &'a [u8; 16] {
        self.authenticator
    }

    /// The whole packet, without padding.
    #[must_use]
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// All attributes in order: where the value begins, type and value.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (usize, AttributeType, &'a [u8])> + use<'a> {
        let octets = self.octets;
        let mut at = HEADER_LEN;
        std::iter::from_fn(move || {
            let &[kind, length, ..] = octets.get(at..)? else { return None };
            let (begin, end) = (at + ATTRIBUTE_HEADER_LEN, at + usize::from(length));
            let value = octets.get(begin..end)?;
            at = end;
            Some((begin, AttributeType(kind), value))
        })
    }

    /// All attributes, in order.
    pub fn attributes(&self) -> impl Iterator<Item = (AttributeType, &'a [u8])> + use<'a> {
        self.positions().map(|(_, kind, value)| (kind, value))
    }

    /// The values of one type, in order.
    pub fn all(&self, kind: AttributeType) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.attributes().filter(move |(other, _)| *other == kind).map(|(_, value)| value)
    }

    /// The first value of one type.
    #[must_use]
    pub fn get(&self, kind: AttributeType) -> Option<&'a [u8]> {
        self.all(kind).next()
    }

    /// A number (RFC 2865 §5 "integer").
    #[must_use]
    pub fn number(&self, kind: AttributeType) -> Option<u32> {
        self.get(kind).and_then(|value| value.try_into().ok()).map(u32::from_be_bytes)
    }

    /// The IPv4 addresses of one type.
    pub fn ipv4(&self, kind: AttributeType) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        self.all(kind).filter_map(|value| <[u8; 4]>::try_from(value).ok()).map(Ipv4Addr::from)
    }

    /// The IPv6 addresses of one type.
    pub fn ipv6(&self, kind: AttributeType) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        self.all(kind).filter_map(|value| <[u8; 16]>::try_from(value).ok()).map(Ipv6Addr::from)
    }

    /// The values of one type of a vendor's (RFC 2865 §5.26), in order. What is not built as recommended there is passed
    /// over.
    pub fn vendor(&self, vendor: Vendor, kind: u8) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all(AttributeType::VENDOR_SPECIFIC)
            .filter_map(move |value| {
                let (id, rest) = value.split_first_chunk::<4>()?;
                (u32::from_be_bytes(*id) == vendor.0).then_some(rest)
            })
            .flat_map(sub_attributes)
            .filter(move |(other, _)| *other == kind)
            .map(|(_, value)| value)
    }

    /// The EAP packet: all EAP-Message attributes together (RFC 3579 §3.1); `None` if there are none.
    #[must_use]
    pub fn eap_message(&self) -> Option<Vec<u8>> {
        self.get(AttributeType::EAP_MESSAGE)?;
        Some(self.all(AttributeType::EAP_MESSAGE).collect::<Vec<_>>().concat())
    }
}

/// What a vendor has put into one attribute. It ends where a length does not fit.
fn sub_attributes(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let &[kind, length, ..] = rest else { return None };
        let length = usize::from(length);
        let value = rest.get(ATTRIBUTE_HEADER_LEN..length)?;
        rest = rest.get(length..)?;
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(HEADER_LEN + attributes.len()).unwrap().to_be_bytes();
        [&[1, 7][..], &length, &[9; 16], attributes].concat()
    }

    #[test]
    fn attributes_come_in_order() {
        let octets = packet(&[1, 4, b'a', b'b', 24, 2, 1, 3, b'c']);
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!((packet.code(), packet.identifier()), (Code::ACCESS_REQUEST, 7));
        let all: Vec<_> = packet.attributes().map(|(kind, value)| (kind.0, value)).collect();
        assert_eq!(all, [(1, &b"ab"[..]), (24, b""), (1, b"c")]);
        assert_eq!(packet.all(AttributeType::USER_NAME).count(), 2);
        assert_eq!(packet.get(AttributeType::CLASS), None);
    }

    #[test]
    fn padding_is_no_part_of_it() {
        let octets = [packet(&[1, 3, b'a']), vec![0; 5]].concat();
        assert_eq!(Packet::decode(&octets).unwrap().octets().len(), 23);
    }

    /// The length of an attribute below that of its header: what made others read backwards, or for ever.
    #[test]
    fn cve_class_radius_attribute_length_below_its_header() {
        for said in [0, 1] {
            let error = Packet::decode(&packet(&[1, 3, b'a', 79, said])).unwrap_err();
            let attribute = AttributeType::EAP_MESSAGE;
            assert_eq!(error, DecodeError::Attribute { attribute, at: 23, said, left: 2 });
        }
        for said in [0, 1] {
            let mut octets = packet(&[26, 8, 0, 0, 1, 0x37, 16, said]);
            let all: Vec<_> = Packet::decode(&octets).unwrap().vendor(Vendor::MICROSOFT, 16).collect();
            assert_eq!(all, Vec::<&[u8]>::new());
            octets[3] = said;
            assert!(matches!(Packet::decode(&octets), Err(DecodeError::Length { .. })));
        }
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        assert_eq!(Packet::decode(&[1; 19]), Err(DecodeError::Short(19)));
        assert_eq!(Packet::decode(&packet(&[1])), Err(DecodeError::Stray));
        let cases = [packet(&[1, 4, b'a']), packet(&[1, 255])];
        for octets in cases {
            assert!(matches!(Packet::decode(&octets), Err(DecodeError::Attribute { .. })), "{octets:?}");
        }
        let mut longer = packet(&[]);
        longer[3] = 21;
        assert_eq!(Packet::decode(&longer), Err(DecodeError::Length { said: 21, there: 20 }));
        let mut large = vec![0; 5000];
        large[2..4].copy_from_slice(&4097_u16.to_be_bytes());
        assert_eq!(Packet::decode(&large), Err(DecodeError::Length { said: 4097, there: 5000 }));
    }

    #[test]
    fn values_have_the_size_of_their_kind_or_are_none() {
        let octets = packet(&[27, 6, 0, 0, 1, 0, 28, 5, 0, 0, 1, 8, 6, 10, 0, 0, 1, 8, 5, 10, 0, 0]);
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!(packet.number(AttributeType::SESSION_TIMEOUT), Some(256));
        assert_eq!(packet.number(AttributeType::IDLE_TIMEOUT), None);
        let framed: Vec<_> = packet.ipv4(AttributeType::FRAMED_IP_ADDRESS).collect();
        assert_eq!(framed, [Ipv4Addr::new(10, 0, 0, 1)]);
    }

    #[test]
    fn an_eap_packet_may_be_in_several_attributes() {
        let octets = packet(&[79, 4, 1, 2, 1, 3, b'a', 79, 3, 3]);
        assert_eq!(Packet::decode(&octets).unwrap().eap_message(), Some(vec![1, 2, 3]));
        assert_eq!(Packet::decode(&packet(&[79, 2])).unwrap().eap_message(), Some(vec![]));
        assert_eq!(Packet::decode(&packet(&[])).unwrap().eap_message(), None);
    }

    #[test]
    fn vendors_may_put_several_into_one() {
        let octets = packet(&[26, 13, 0, 0, 1, 0x37, 28, 3, 1, 28, 4, 2, 3, 26, 9, 0, 0, 0, 9, 28, 3, 7]);
        let packet = Packet::decode(&octets).unwrap();
        let all: Vec<_> = packet.vendor(Vendor::MICROSOFT, 28).collect();
        assert_eq!(all, [&[1][..], &[2, 3]]);
    }

    proptest! {
        #[test]
        fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Packet::decode(&octets) {
                let sum: usize = packet.attributes().map(|(_, value)| value.len() + 2).sum();
                prop_assert_eq!(sum + HEADER_LEN, packet.octets().len());
                packet.vendor(Vendor::MICROSOFT, 17).for_each(drop);
            }
        }
    }
}
