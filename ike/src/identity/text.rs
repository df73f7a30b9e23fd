//! Identities as configurations write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Identity, dn};
use crate::wire::registry::IdType;

/// Why a text is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// What follows `#` is not hexadecimal.
    #[error("identity '{text}': expected pairs of hexadecimal digits after '#'")]
    Hex {
        /// The whole text.
        text: String,
    },
    /// The type before the colon does not allow these octets.
    #[error(
        "identity '{text}': a {id_type} takes {expected} (the prefix converts nothing, leave it out to write a value as text)"
    )]
    Data {
        /// The whole text.
        text: String,
        /// The type the prefix stands for.
        id_type: IdType,
        /// What would have been right.
        expected: &'static str,
    },
    /// The prefix length is longer than the address.
    #[error("identity '{text}': expected a prefix length of 0 to {max}")]
    PrefixLength {
        /// The whole text.
        text: String,
        /// The longest possible.
        max: u8,
    },
    /// A range runs backwards.
    #[error("identity '{text}': expected a range from a lower to a higher address")]
    Backwards {
        /// The whole text.
        text: String,
    },
    /// A regular expression.
    #[error(
        "identity '{text}': regular expressions are not supported, expected a name, possibly with '*' in front"
    )]
    Regex {
        /// The whole text.
        text: String,
    },
}

/// What may stand before a colon to say the type outright.
const PREFIXES: &[(&str, IdType)] = &[
    ("ipv4", IdType::IPV4_ADDR),
    ("ipv6", IdType::IPV6_ADDR),
    ("ipv4net", IdType::IPV4_ADDR_SUBNET),
    ("ipv6net", IdType::IPV6_ADDR_SUBNET),
    ("ipv4range", IdType::IPV4_ADDR_RANGE),
    ("ipv6range", IdType::IPV6_ADDR_RANGE),
    ("rfc822", IdType::RFC822_ADDR),
    ("email", IdType::RFC822_ADDR),
    ("userfqdn", IdType::RFC822_ADDR),
    ("fqdn", IdType::FQDN),
    ("dns", IdType::FQDN),
    ("asn1dn", IdType::DER_ASN1_DN),
    ("asn1gn", IdType::DER_ASN1_GN),
    ("keyid", IdType::KEY_ID),
    ("uri", Identity::URI),
];

impl Identity {
    /// Parses an identity as swanctl.conf has it.
    ///
    /// The type follows from the form: `%any`, addresses, subnets and ranges, `C=XX, O=Lab, CN=gw`,
    /// `gw.example.org`, `user@example.org`, `@name` for a name that looks like something else, `@@user` for
    /// an address of mail without domain, `@#1f2e` for a key ID. A prefix such as `keyid:` says it outright
    /// and takes what follows as it is, or in hexadecimal after `#`; `{11}:` gives the type's number.
    ///
    /// # Errors
    /// If what follows a prefix or `#` cannot be the data of that type, if an address' prefix is too long or
    /// a range runs backwards. Everything else is an identity of some type.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        if let Some((prefix, data)) = text.split_once(':') {
            if prefix.eq_ignore_ascii_case("xmppaddr") {
                return Ok(Self { id_type: IdType::DER_ASN1_GN, data: xmpp_name(data) });
            }
            let named = PREFIXES.iter().find(|(name, _)| name.eq_ignore_ascii_case(prefix));
            if let Some(id_type) = named.map(|(_, id_type)| *id_type).or_else(|| numbered(prefix)) {
                return typed(text, id_type, data);
            }
        }
        if text.contains('=') {
            return Ok(match dn::encode(text) {
                Ok(data) => Self { id_type: IdType::DER_ASN1_DN, data },
                Err(_) => Self { id_type: IdType::KEY_ID, data: text.into() },
            });
        }
        match text.strip_prefix('@') {
            Some(rest) => match (rest.strip_prefix('#'), rest.strip_prefix('@')) {
                (Some(digits), _) => Ok(Self { id_type: IdType::KEY_ID, data: hex(text, digits)? }),
                (_, Some(mail)) => Ok(Self { id_type: IdType::RFC822_ADDR, data: mail.into() }),
                _ => Ok(Self { id_type: IdType::FQDN, data: rest.into() }),
            },
            None if text.contains('@') => Ok(Self { id_type: IdType::RFC822_ADDR, data: text.into() }),
            None => bare(text),
        }
    }
}

/// A text without prefix, `=` or `@`.
fn bare(text: &str) -> Result<Identity, IdentityError> {
    if matches!(text, "" | "%any" | "%any6" | "0.0.0.0" | "*" | "::" | "0::0") {
        return Ok(Identity::any());
    }
    if let Ok(addr) = text.parse() {
        return Ok(Identity::from_addr(addr));
    }
    if let Some((net, length)) = text.split_once('/')
        && let Ok(net) = net.parse::<IpAddr>()
        && length.bytes().all(|digit| digit.is_ascii_digit())
    {
        return subnet(text, net, length);
    }
    if let Some((first, last)) = text.split_once('-')
        && let (Ok(first), Ok(last)) = (first.parse::<IpAddr>(), last.parse::<IpAddr>())
        && first.is_ipv4() == last.is_ipv4()
    {
        if first > last {
            return Err(IdentityError::Backwards { text: text.into() });
        }
        let id_type = if first.is_ipv4() { IdType::IPV4_ADDR_RANGE } else { IdType::IPV6_ADDR_RANGE };
        return Ok(pair(id_type, first, last));
    }
    let id_type = if text.contains(':') { IdType::KEY_ID } else { IdType::FQDN };
    Ok(Identity { id_type, data: text.into() })
}

fn subnet(text: &str, net: IpAddr, length: &str) -> Result<Identity, IdentityError> {
    let max = if net.is_ipv4() { 32 } else { 128 };
    let length = length
        .parse::<u8>()
        .ok()
        .filter(|length| *length <= max)
        .ok_or_else(|| IdentityError::PrefixLength { text: text.into(), max })?;
    let zeros = u32::from(max - length);
    Ok(match net {
        IpAddr::V4(net) => {
            let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(zeros).unwrap_or(0));
            pair(IdType::IPV4_ADDR_SUBNET, (net & mask).into(), mask.into())
        }
        IpAddr::V6(net) => {
            let mask = Ipv6Addr::from_bits(u128::MAX.checked_shl(zeros).unwrap_or(0));
            pair(IdType::IPV6_ADDR_SUBNET, (net & mask).into(), mask.into())
        }
    })
}

fn pair(id_type: IdType, first: IpAddr, second: IpAddr) -> Identity {
    let mut data = Identity::from_addr(first).data;
    data.extend(Identity::from_addr(second).data);
    Identity { id_type, data }
}

/// The type in a prefix such as `{11}`.
fn numbered(prefix: &str) -> Option<IdType> {
    let number = prefix.strip_prefix('{')?.strip_suffix('}')?;
    match number.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok().map(IdType),
        None => number.parse().ok().map(IdType),
    }
}

/// The data after a prefix, taken as it is or in hexadecimal.
fn typed(text: &str, id_type: IdType, data: &str) -> Result<Identity, IdentityError> {
    let is_name = matches!(id_type, IdType::FQDN | IdType::RFC822_ADDR | IdType::DER_ASN1_DN);
    if is_name && data.starts_with('^') && data.ends_with('$') {
        // Taken literally it would silently match nobody.
        return Err(IdentityError::Regex { text: text.into() });
    }
    let data = match data.strip_prefix('#') {
        Some(digits) => hex(text, digits)?,
        None => data.as_bytes().to_vec(),
    };
    let identity = Identity { id_type, data };
    let expected = match id_type {
        IdType::IPV4_ADDR => "four octets in hexadecimal after '#'",
        IdType::IPV6_ADDR => "sixteen octets in hexadecimal after '#'",
        IdType::IPV4_ADDR_SUBNET => "an address and a mask of four octets each, in hexadecimal after '#'",
        IdType::IPV6_ADDR_SUBNET => "an address and a mask of sixteen octets each, in hexadecimal after '#'",
        IdType::IPV4_ADDR_RANGE => "two ascending addresses of four octets each, in hexadecimal after '#'",
        IdType::IPV6_ADDR_RANGE => "two ascending addresses of sixteen octets each, in hexadecimal after '#'",
        IdType::DER_ASN1_DN => "a name in DER, in hexadecimal after '#'",
        IdType::ANY => "nothing",
        _ => return Ok(identity),
    };
    let is_valid = match id_type {
        IdType::DER_ASN1_DN => dn::attributes(&identity.data).is_some(),
        IdType::ANY => identity.data.is_empty(),
        _ => identity.addresses().is_some(),
    };
    if is_valid { Ok(identity) } else { Err(IdentityError::Data { text: text.into(), id_type, expected }) }
}

fn hex(text: &str, digits: &str) -> Result<Vec<u8>, IdentityError> {
    let nibbles: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    nibbles
        .filter(|nibbles| nibbles.len().is_multiple_of(2))
        .and_then(|nibbles| {
            let octets = nibbles.as_chunks::<2>().0;
            octets.iter().map(|[high, low]| u8::try_from((high << 4) | low).ok()).collect()
        })
        .ok_or_else(|| IdentityError::Hex { text: text.into() })
}

/// The GeneralName of an XMPP address (RFC 6120 §13.7.1.4): otherName, id-on-xmppAddr, UTF8String.
fn xmpp_name(address: &str) -> Vec<u8> {
    const OTHER_NAME: u8 = 0xa0;
    const EXPLICIT_0: u8 = 0xa0;
    const OID: u8 = 0x06;
    const UTF8_STRING: u8 = 0x0c;
    const ID_ON_XMPP_ADDR: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x05];

    let mut other_name = dn::tlv(OID, ID_ON_XMPP_ADDR);
    other_name.extend(dn::tlv(EXPLICIT_0, &dn::tlv(UTF8_STRING, address.as_bytes())));
    dn::tlv(OTHER_NAME, &other_name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_tells_the_type() {
        let table: &[(&str, IdType, &[u8], &str)] = &[
            ("", IdType::ANY, b"", "%any"),
            ("%any", IdType::ANY, b"", "%any"),
            ("%any6", IdType::ANY, b"", "%any"),
            ("0.0.0.0", IdType::ANY, b"", "%any"),
            ("::", IdType::ANY, b"", "%any"),
            ("*", IdType::ANY, b"", "%any"),
            ("192.0.2.1", IdType::IPV4_ADDR, &[192, 0, 2, 1], "192.0.2.1"),
            ("10.1.2.3/8", IdType::IPV4_ADDR_SUBNET, &[10, 0, 0, 0, 255, 0, 0, 0], "10.0.0.0/8"),
            ("10.0.0.1-10.0.0.2", IdType::IPV4_ADDR_RANGE, &[10, 0, 0, 1, 10, 0, 0, 2], "10.0.0.1-10.0.0.2"),
            ("gw.example.org", IdType::FQDN, b"gw.example.org", "gw.example.org"),
            ("10.0.0.300", IdType::FQDN, b"10.0.0.300", "10.0.0.300"),
            ("*.example.org", IdType::FQDN, b"*.example.org", "*.example.org"),
            ("fe80:no:address", IdType::KEY_ID, b"fe80:no:address", "fe80:no:address"),
            ("@#1F2e", IdType::KEY_ID, &[0x1f, 0x2e], "1f:2e"),
            ("@@carol", IdType::RFC822_ADDR, b"carol", "carol"),
            ("@192.0.2.1", IdType::FQDN, b"192.0.2.1", "192.0.2.1"),
            ("carol@example.org", IdType::RFC822_ADDR, b"carol@example.org", "carol@example.org"),
            ("XX=nothing we know", IdType::KEY_ID, b"XX=nothing we know", "XX=nothing we know"),
            ("keyid:gw", IdType::KEY_ID, b"gw", "gw"),
            ("KeyId:#6777", IdType::KEY_ID, b"gw", "gw"),
            ("fqdn:CN=gw", IdType::FQDN, b"CN=gw", "CN=gw"),
            ("dns:gw", IdType::FQDN, b"gw", "gw"),
            ("email:carol", IdType::RFC822_ADDR, b"carol", "carol"),
            ("userfqdn:carol", IdType::RFC822_ADDR, b"carol", "carol"),
            ("ipv4:#0a000001", IdType::IPV4_ADDR, &[10, 0, 0, 1], "10.0.0.1"),
            (
                "ipv4net:#0a000000ff000000",
                IdType::IPV4_ADDR_SUBNET,
                &[10, 0, 0, 0, 255, 0, 0, 0],
                "10.0.0.0/8",
            ),
            ("uri:http://example.org/x", Identity::URI, b"http://example.org/x", "http://example.org/x"),
            ("{2}:gw", IdType::FQDN, b"gw", "gw"),
            ("{0x0b}:#00", IdType::KEY_ID, &[0], "00"),
            ("{77}:x", IdType(77), b"x", "(unknown ID type: 77)"),
        ];
        for (text, id_type, data, shown) in table {
            let identity = Identity::parse(text).unwrap();
            assert_eq!((identity.id_type, identity.data.as_slice()), (*id_type, *data), "{text}");
            assert_eq!(identity.to_string(), *shown);
        }
    }

    #[test]
    fn ipv6_has_the_same_forms() {
        for (text, id_type, shown) in [
            ("2001:db8::1", IdType::IPV6_ADDR, "2001:db8::1"),
            ("2001:db8::1/32", IdType::IPV6_ADDR_SUBNET, "2001:db8::/32"),
            ("fec0::1-fec0::9", IdType::IPV6_ADDR_RANGE, "fec0::1-fec0::9"),
            ("::/0", IdType::IPV6_ADDR_SUBNET, "::/0"),
        ] {
            let identity = Identity::parse(text).unwrap();
            assert_eq!((identity.id_type, identity.to_string().as_str()), (id_type, shown));
        }
    }

    #[test]
    fn names_are_read_and_shown() {
        for (text, shown) in [
            ("C=XX, O=Lab, CN=gw", "C=XX, O=Lab, CN=gw"),
            ("c=XX,o=Lab,cn=gw", "C=XX, O=Lab, CN=gw"),
            ("/C=XX/O=Lab/CN=gw", "C=XX, O=Lab, CN=gw"),
            ("CN=carol, Email=carol@example.org", "CN=carol, E=carol@example.org"),
            ("CN=Müller", "CN=M??ller"),
            ("asn1dn:#300d310b3009060355040613025858", "C=XX"),
            ("asn1dn:#300d310b300906035504ff13025858", "55:04:ff=XX"),
            ("asn1dn:#3000", "\"\""),
        ] {
            let identity = Identity::parse(text).unwrap();
            assert_eq!((identity.id_type, identity.to_string().as_str()), (IdType::DER_ASN1_DN, shown));
        }
    }

    #[test]
    fn an_xmpp_address_is_a_general_name() {
        let identity = Identity::parse("xmppaddr:a@b").unwrap();
        assert_eq!(identity.id_type, IdType::DER_ASN1_GN);
        let expected = b"\xa0\x11\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x05\xa0\x05\x0c\x03a@b";
        assert_eq!(identity.data, expected);
    }

    #[test]
    fn errors_say_what_was_expected() {
        for (text, part) in [
            ("@#12x4", "hexadecimal digits after '#'"),
            ("@#123", "pairs"),
            ("keyid:#+1", "hexadecimal"),
            ("ipv4:10.0.0.1", "ID_IPV4_ADDR takes four octets"),
            ("ipv6:#00", "sixteen octets"),
            ("ipv4range:#0a0000020a000001", "two ascending addresses"),
            ("asn1dn:CN=gw", "a name in DER"),
            ("10.0.0.0/33", "prefix length of 0 to 32"),
            ("2001:db8::/129", "prefix length of 0 to 128"),
            ("10.0.0.2-10.0.0.1", "from a lower to a higher"),
            ("fqdn:^gw[0-9]+$", "regular expressions"),
        ] {
            let error = Identity::parse(text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in "\\PC{0,40}") {
            if let Ok(identity) = Identity::parse(&text) {
                prop_assert_eq!(identity.matches(&Identity::any()), Some(1));
                prop_assert!(!identity.to_string().is_empty() || identity.data.is_empty());
            }
        }

        #[test]
        fn what_looks_like_an_identity_does_not_panic_either(
            text in "(@|@@|@#|ipv4:|ipv6net:|asn1dn:|\\{[0-9]{1,3}\\}:)?(#)?[0-9a-f.:/=,\\-CN]{0,40}"
        ) {
            let _ = Identity::parse(&text).map(|identity| identity.to_string());
        }

        #[test]
        fn addresses_come_back_as_text(addr in any::<IpAddr>()) {
            prop_assume!(!addr.is_unspecified());
            prop_assert_eq!(Identity::parse(&addr.to_string()).unwrap(), Identity::from_addr(addr));
        }
    }
}
