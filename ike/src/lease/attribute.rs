//! What a Configuration payload carries beside addresses (RFC 7296 §3.15.1), from the text of a pool's
//! configuration.

use std::net::{IpAddr, Ipv4Addr};

use super::PoolError;
use crate::selector::{Family, TrafficSelector};
use crate::wire::registry::CfgAttributeType;

/// An attribute: type, and value as on the wire.
pub type Attribute = (CfgAttributeType, Vec<u8>);

const P_CSCF_IP4_ADDRESS: CfgAttributeType = CfgAttributeType(20);
const P_CSCF_IP6_ADDRESS: CfgAttributeType = CfgAttributeType(21);
const UNITY_SPLIT_INCLUDE: CfgAttributeType = CfgAttributeType(28676);
const UNITY_LOCAL_LAN: CfgAttributeType = CfgAttributeType(28678);

/// Names, and the types they stand for with IPv4 and with IPv6 values.
const NAMES: &[(&str, CfgAttributeType, Option<CfgAttributeType>)] = &[
    ("address", CfgAttributeType::INTERNAL_IP4_ADDRESS, Some(CfgAttributeType::INTERNAL_IP6_ADDRESS)),
    ("dns", CfgAttributeType::INTERNAL_IP4_DNS, Some(CfgAttributeType::INTERNAL_IP6_DNS)),
    ("nbns", CfgAttributeType::INTERNAL_IP4_NBNS, Some(CfgAttributeType::INTERNAL_IP6_NBNS)),
    ("dhcp", CfgAttributeType::INTERNAL_IP4_DHCP, Some(CfgAttributeType::INTERNAL_IP6_DHCP)),
    ("netmask", CfgAttributeType::INTERNAL_IP4_NETMASK, None),
    ("server", CfgAttributeType::INTERNAL_IP4_SERVER, Some(CfgAttributeType::INTERNAL_IP6_SERVER)),
    ("subnet", CfgAttributeType::INTERNAL_IP4_SUBNET, Some(CfgAttributeType::INTERNAL_IP6_SUBNET)),
    ("p_cscf", P_CSCF_IP4_ADDRESS, Some(P_CSCF_IP6_ADDRESS)),
    ("split_include", UNITY_SPLIT_INCLUDE, None),
    ("split_exclude", UNITY_LOCAL_LAN, None),
];

/// Parses one value of one attribute: `dns = 192.0.2.53, 2001:db8::53` is two calls with the name `dns`. The
/// value is an address or, where the attribute is about networks, a prefix. Under a number instead of a name
/// it may be any text.
///
/// # Errors
/// If there is no such attribute, or it cannot have this value.
pub fn parse_attribute(name: &str, text: &str) -> Result<Attribute, PoolError> {
    let fault =
        |expected| PoolError::AttributeValue { name: name.to_owned(), text: text.to_owned(), expected };

    if let Some((_, v4, v6)) = NAMES.iter().find(|(known, ..)| *known == name) {
        let value = network(text).ok_or_else(|| fault("an address or a prefix"))?;
        let attribute_type = match value.0 {
            IpAddr::V4(_) => *v4,
            IpAddr::V6(_) => v6.ok_or_else(|| fault("an IPv4 address"))?,
        };
        if value.1.is_some() && !takes_prefix(attribute_type) {
            return Err(fault("an address without prefix length"));
        }
        return Ok((attribute_type, encode(attribute_type, value)));
    }
    let number = name.parse::<u16>().ok().filter(|number| (1..=0x7fff).contains(number));
    let attribute_type =
        CfgAttributeType(number.ok_or_else(|| PoolError::UnknownAttribute { name: name.to_owned() })?);
    let value = network(text).map(|network| encode(attribute_type, network));
    Ok((attribute_type, value.unwrap_or_else(|| text.as_bytes().to_vec())))
}

/// An address and a prefix length, if there is one.
fn network(text: &str) -> Option<(IpAddr, Option<u8>)> {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse().ok().map(|address| (address, None));
    };
    let address: IpAddr = address.parse().ok()?;
    let length = length.parse().ok().filter(|length| *length <= Family::of(address).bits())?;
    Some((address, Some(length)))
}

fn takes_prefix(attribute_type: CfgAttributeType) -> bool {
    needs_prefix(attribute_type)
        || matches!(
            attribute_type,
            CfgAttributeType::INTERNAL_IP4_ADDRESS | UNITY_SPLIT_INCLUDE | UNITY_LOCAL_LAN
        )
}

/// True where RFC 7296 §3.15.1 has a prefix or mask in every value.
fn needs_prefix(attribute_type: CfgAttributeType) -> bool {
    matches!(
        attribute_type,
        CfgAttributeType::INTERNAL_IP6_ADDRESS
            | CfgAttributeType::INTERNAL_IP4_SUBNET
            | CfgAttributeType::INTERNAL_IP6_SUBNET
    )
}

/// The octets of an address, and of its mask (IPv4) or prefix length (IPv6).
fn encode(attribute_type: CfgAttributeType, (address, length): (IpAddr, Option<u8>)) -> Vec<u8> {
    let bits = Family::of(address).bits();
    let length = length.or(needs_prefix(attribute_type).then_some(bits));
    match address {
        IpAddr::V4(address) => {
            let mut octets = address.octets().to_vec();
            if let Some(length) = length {
                octets.extend(mask(length).octets());
            }
            octets
        }
        IpAddr::V6(address) => {
            let mut octets = address.octets().to_vec();
            octets.extend(length);
            octets
        }
    }
}

/// The netmask of this length.
fn mask(length: u8) -> Ipv4Addr {
    let hosts =
        TrafficSelector::from_prefix(Ipv4Addr::UNSPECIFIED.into(), length).map(|block| block.end_addr);
    match hosts {
        Some(IpAddr::V4(hosts)) => !hosts,
        _ => Ipv4Addr::BROADCAST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_become_attributes() {
        let v6 =
            |tail: &[u8]| [&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], tail].concat();
        let table: &[(&str, &str, u16, Vec<u8>)] = &[
            ("dns", "192.0.2.53", 3, vec![192, 0, 2, 53]),
            ("dns", "2001:db8::53", 10, v6(&[0x53])),
            ("nbns", "192.0.2.1", 4, vec![192, 0, 2, 1]),
            ("nbns", "2001:db8::1", 11, v6(&[1])),
            ("dhcp", "192.0.2.1", 6, vec![192, 0, 2, 1]),
            ("dhcp", "2001:db8::1", 12, v6(&[1])),
            ("netmask", "255.255.255.0", 2, vec![255, 255, 255, 0]),
            ("server", "192.0.2.1", 23456, vec![192, 0, 2, 1]),
            ("server", "2001:db8::1", 23457, v6(&[1])),
            ("subnet", "10.1.0.0/16", 13, vec![10, 1, 0, 0, 255, 255, 0, 0]),
            ("subnet", "0.0.0.0/0", 13, vec![0; 8]),
            ("subnet", "10.1.2.3", 13, vec![10, 1, 2, 3, 255, 255, 255, 255]),
            ("subnet", "2001:db8::/32", 15, v6(&[0, 32])),
            ("address", "10.3.0.1", 1, vec![10, 3, 0, 1]),
            ("address", "2001:db8::1", 8, v6(&[1, 128])),
            ("p_cscf", "192.0.2.1", 20, vec![192, 0, 2, 1]),
            ("p_cscf", "2001:db8::1", 21, v6(&[1])),
            ("split_include", "10.1.0.0/16", 28676, vec![10, 1, 0, 0, 255, 255, 0, 0]),
            ("split_exclude", "10.1.0.0/16", 28678, vec![10, 1, 0, 0, 255, 255, 0, 0]),
            ("25", "example.org", 25, b"example.org".to_vec()),
            ("25", "10.0.0.0/33", 25, b"10.0.0.0/33".to_vec()),
            ("13", "10.1.0.0/16", 13, vec![10, 1, 0, 0, 255, 255, 0, 0]),
            ("28672", "Welcome, stranger", 28672, b"Welcome, stranger".to_vec()),
        ];
        for (name, text, number, value) in table {
            let expected = (CfgAttributeType(*number), value.clone());
            assert_eq!(parse_attribute(name, text), Ok(expected), "{name} = {text}");
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        for (name, text, part) in [
            ("dnss", "192.0.2.53", "unknown attribute 'dnss': expected address, dns"),
            ("0", "x", "1 to 32767"),
            ("32768", "x", "1 to 32767"),
            ("dns", "ns.example.org", "attribute dns = 'ns.example.org': expected an address"),
            ("dns", "192.0.2.53/24", "without prefix length"),
            ("subnet", "10.1.0.0/33", "an address or a prefix"),
            ("netmask", "2001:db8::1", "an IPv4 address"),
        ] {
            let error = parse_attribute(name, text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
