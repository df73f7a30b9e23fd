//! Identities (RFC 7296 §3.5): who the ends of an IKE SA say they are, and the patterns they are compared
//! with.
//!
//! The same type serves for both: an identity a peer sends is exact, one in a configuration may have
//! wildcards. Text becomes an identity in `text`, names of X.500 are read and written in `dn`, and `matching`
//! compares.

mod dn;
mod matching;
mod text;

use std::fmt;
use std::net::IpAddr;

use crate::wire::registry::IdType;

pub use text::IdentityError;

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

impl Identity {
    /// Identification Type of a URI: from the range for private use, as strongSwan keeps it. RFC 7296 has no type
    /// for it outside a GeneralName.
    pub const URI: IdType = IdType(201);

    /// The pattern that matches everybody.
    #[must_use]
    pub const fn any() -> Self {
        Self { id_type: IdType::ANY, data: Vec::new() }
    }

    /// Nobody in particular (RFC 7619 §2.2).
    #[must_use]
    pub const fn null() -> Self {
        Self { id_type: IdType::NULL, data: Vec::new() }
    }

    /// The identity of an address: ID_IPV4_ADDR or ID_IPV6_ADDR.
    #[must_use]
    pub fn from_addr(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self { id_type: IdType::IPV4_ADDR, data: addr.octets().to_vec() },
            IpAddr::V6(addr) => Self { id_type: IdType::IPV6_ADDR, data: addr.octets().to_vec() },
        }
    }

    /// True for the pattern that matches everybody.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.id_type == IdType::ANY
    }

    /// True for nobody in particular.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.id_type == IdType::NULL
    }

    /// The address, if this is the identity of one.
    #[must_use]
    pub fn addr(&self) -> Option<IpAddr> {
        match self.id_type {
            IdType::IPV4_ADDR => octets_v4(&self.data),
            IdType::IPV6_ADDR => octets_v6(&self.data),
            _ => None,
        }
    }

    /// First and last address, if this is an address, a subnet or a range of them.
    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        if let Some(addr) = self.addr() {
            return Some((addr, addr));
        }
        let (first, second) = self.address_pair()?;
        match self.id_type {
            IdType::IPV4_ADDR_SUBNET | IdType::IPV6_ADDR_SUBNET => {
                mask_length(second)?;
                match (first, second) {
                    (IpAddr::V4(net), IpAddr::V4(mask)) => Some(((net & mask).into(), (net | !mask).into())),
                    (IpAddr::V6(net), IpAddr::V6(mask)) => Some(((net & mask).into(), (net | !mask).into())),
                    _ => None,
                }
            }
            _ => (first <= second).then_some((first, second)),
        }
    }

    /// The two addresses a subnet (network, mask) or a range (first, last) is made of.
    fn address_pair(&self) -> Option<(IpAddr, IpAddr)> {
        match self.id_type {
            IdType::IPV4_ADDR_SUBNET | IdType::IPV4_ADDR_RANGE => {
                let (first, second) = self.data.split_at_checked(4)?;
                Some((octets_v4(first)?, octets_v4(second)?))
            }
            IdType::IPV6_ADDR_SUBNET | IdType::IPV6_ADDR_RANGE => {
                let (first, second) = self.data.split_at_checked(16)?;
                Some((octets_v6(first)?, octets_v6(second)?))
            }
            _ => None,
        }
    }
}

fn octets_v4(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets).ok().map(IpAddr::from)
}

fn octets_v6(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// The length of a netmask, if its ones are all in front.
fn mask_length(mask: IpAddr) -> Option<u32> {
    let (ones, zeros, bits) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), mask.to_bits().trailing_zeros(), 32),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), mask.to_bits().trailing_zeros(), 128),
    };
    (ones + zeros == bits).then_some(ones)
}

/// As charon and `swanctl` show it. Octets that are not printable ASCII become `?`, so that what a stranger
/// sends cannot write on a terminal or into a log.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self.id_type {
            IdType::ANY => Some(f.write_str("%any")),
            IdType::IPV4_ADDR | IdType::IPV6_ADDR => self.addr().map(|addr| write!(f, "{addr}")),
            IdType::IPV4_ADDR_SUBNET | IdType::IPV6_ADDR_SUBNET => {
                self.address_pair().map(|(net, mask)| match mask_length(mask) {
                    Some(length) => write!(f, "{net}/{length}"),
                    None => write!(f, "{net}/{mask}"),
                })
            }
            IdType::IPV4_ADDR_RANGE | IdType::IPV6_ADDR_RANGE => {
                self.address_pair().map(|(first, last)| write!(f, "{first}-{last}"))
            }
            IdType::FQDN | IdType::RFC822_ADDR | Self::URI => Some(write_printable(f, &self.data)),
            IdType::DER_ASN1_DN => dn::attributes(&self.data).map(|attributes| dn::write(f, &attributes)),
            IdType::KEY_ID if is_printable(&self.data) => Some(write_printable(f, &self.data)),
            IdType::KEY_ID => Some(write_hex(f, &self.data)),
            IdType::DER_ASN1_GN => Some(f.write_str("(ASN.1 general name)")),
            IdType::NULL => Some(f.write_str("ID_NULL")),
            other => Some(write!(f, "(unknown ID type: {})", other.0)),
        };
        shown.unwrap_or_else(|| write!(f, "(invalid {})", self.id_type))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_printable(octets: &[u8]) -> bool {
    octets.iter().all(|octet| matches!(octet, b' '..=b'~'))
}

fn write_printable(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    use fmt::Write as _;
    octets
        .iter()
        .map(|octet| if is_printable(&[*octet]) { char::from(*octet) } else { '?' })
        .try_for_each(|shown| f.write_char(shown))
}

fn write_hex(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    for (position, octet) in octets.iter().enumerate() {
        write!(f, "{}{octet:02x}", if position == 0 { "" } else { ":" })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(id_type: IdType, data: &[u8]) -> String {
        Identity { id_type, data: data.to_vec() }.to_string()
    }

    #[test]
    fn every_type_is_shown_as_charon_does() {
        assert_eq!(id(IdType::ANY, b""), "%any");
        assert_eq!(id(IdType::IPV4_ADDR, &[192, 0, 2, 1]), "192.0.2.1");
        assert_eq!(Identity::from_addr("2001:db8::1".parse().unwrap()).to_string(), "2001:db8::1");
        assert_eq!(id(IdType::IPV4_ADDR_SUBNET, &[10, 0, 0, 0, 255, 0, 0, 0]), "10.0.0.0/8");
        assert_eq!(id(IdType::IPV4_ADDR_SUBNET, &[10, 0, 0, 0, 255, 0, 255, 0]), "10.0.0.0/255.0.255.0");
        assert_eq!(id(IdType::IPV4_ADDR_SUBNET, &[0; 8]), "0.0.0.0/0");
        assert_eq!(id(IdType::IPV4_ADDR_RANGE, &[10, 0, 0, 1, 10, 0, 0, 9]), "10.0.0.1-10.0.0.9");
        assert_eq!(id(IdType::FQDN, b"gw.example.org"), "gw.example.org");
        assert_eq!(id(IdType::RFC822_ADDR, b"a\x1b[31m@b\xc3\xbc"), "a?[31m@b??");
        assert_eq!(id(IdType::KEY_ID, b"a key"), "a key");
        assert_eq!(id(IdType::KEY_ID, &[0, 0xab]), "00:ab");
        assert_eq!(id(IdType(77), b"x"), "(unknown ID type: 77)");
        assert_eq!(format!("{:?}", Identity::any()), "%any");
    }

    #[test]
    fn what_has_the_wrong_length_is_called_invalid() {
        assert_eq!(id(IdType::IPV4_ADDR, &[1, 2, 3]), "(invalid ID_IPV4_ADDR)");
        assert_eq!(id(IdType::IPV6_ADDR, &[]), "(invalid ID_IPV6_ADDR)");
        assert_eq!(id(IdType::IPV6_ADDR_RANGE, &[0; 31]), "(invalid ID_IPV6_ADDR_RANGE)");
        assert_eq!(id(IdType::DER_ASN1_DN, &[0x30, 0x05, 0x31]), "(invalid ID_DER_ASN1_DN)");
    }

    proptest! {
        #[test]
        fn any_octets_can_be_shown(id_type in 0u8..=16, data in proptest::collection::vec(any::<u8>(), 0..80)) {
            let shown = id(IdType(id_type), &data);
            prop_assert!(is_printable(shown.as_bytes()));
        }

        #[test]
        fn an_address_is_its_own_identity(octets in any::<[u8; 16]>()) {
            let addr = IpAddr::from(octets);
            prop_assert_eq!(Identity::from_addr(addr).addr(), Some(addr));
        }
    }
}
