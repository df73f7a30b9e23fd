//! Traffic selectors as configurations write them, and as charon shows them.

use std::fmt;
use std::net::IpAddr;

use super::{Family, Ports, SelectorPattern, TrafficSelector, names};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Why a text is no traffic selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("traffic selector '{text}': {fault}")]
pub struct SelectorError {
    /// The whole text.
    pub text: String,
    /// What is wrong with it.
    pub fault: SelectorFault,
}

/// What is wrong with the text of a traffic selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorFault {
    /// Something else stands where the addresses belong.
    #[error("expected 'dynamic', an address, a prefix or a range of addresses instead of '{found}'")]
    Address {
        /// What stands there.
        found: String,
    },
    /// The prefix is longer than an address.
    #[error("expected a prefix length of 0 to {max} instead of '{found}'")]
    PrefixLength {
        /// What stands there.
        found: String,
        /// The longest possible.
        max: u8,
    },
    /// The addresses of a range are of two families, or the first is the higher one.
    #[error("expected two addresses of one family in ascending order instead of '{found}'")]
    Range {
        /// What stands there.
        found: String,
    },
    /// Protocol and port are not enclosed in brackets.
    #[error("expected a ']' at the end, and only there")]
    Bracket,
    /// An unknown protocol.
    #[error("expected 'any', the name of a protocol or a number of 0 to 255 instead of '{found}'")]
    Protocol {
        /// What stands there.
        found: String,
    },
    /// An unknown port.
    #[error(
        "expected 'any', 'opaque', the name of a service, a number of 0 to 65535 or a range of them instead of '{found}'"
    )]
    Port {
        /// What stands there.
        found: String,
    },
    /// A range of ports runs backwards.
    #[error("expected a range from a lower to a higher port instead of '{found}'")]
    PortRange {
        /// What stands there.
        found: String,
    },
}

impl SelectorPattern {
    /// Parses `address[protocol/port]` as in `local_ts` and `remote_ts` of swanctl.conf: `dynamic`,
    /// `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, `2001:db8::/32[tcp/443]`, `dynamic[udp/1024-2047]`,
    /// `192.0.2.1[icmp/8]`.
    ///
    /// # Errors
    /// Names the part that is wrong, and what may stand there.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse(text).map_err(|fault| SelectorError { text: text.into(), fault })
    }
}

fn parse(text: &str) -> Result<SelectorPattern, SelectorFault> {
    let (addresses, traffic) = match text.split_once('[') {
        Some((addresses, rest)) => {
            let inside = rest.strip_suffix(']').ok_or(SelectorFault::Bracket)?;
            if inside.contains(['[', ']']) {
                return Err(SelectorFault::Bracket);
            }
            (addresses, inside)
        }
        None => (text, ""),
    };
    let (protocol, ports) = parse_traffic(traffic)?;
    if addresses == "dynamic" {
        return Ok(SelectorPattern::Dynamic { protocol, ports });
    }
    Ok(SelectorPattern::Fixed(parse_addresses(addresses)?.with(protocol, ports)))
}

fn parse_addresses(text: &str) -> Result<TrafficSelector, SelectorFault> {
    let address =
        |part: &str| part.parse::<IpAddr>().map_err(|_| SelectorFault::Address { found: text.to_owned() });
    if let Some((net, length)) = text.split_once('/') {
        let net = address(net)?;
        return length.parse().ok().and_then(|length| TrafficSelector::from_prefix(net, length)).ok_or_else(
            || SelectorFault::PrefixLength { found: length.to_owned(), max: Family::of(net).bits() },
        );
    }
    if let Some((first, last)) = text.split_once('-') {
        return TrafficSelector::from_range(address(first)?, address(last)?)
            .ok_or_else(|| SelectorFault::Range { found: text.to_owned() });
    }
    address(text).map(TrafficSelector::host)
}

/// Protocol and ports from what stands in brackets.
fn parse_traffic(text: &str) -> Result<(u8, Ports), SelectorFault> {
    let (protocol, port) = text.split_once('/').unwrap_or((text, ""));
    let protocol = match protocol {
        "" | "any" => 0,
        name => names::protocol_number(name)
            .or_else(|| number(name).and_then(|number| u8::try_from(number).ok()))
            .ok_or_else(|| SelectorFault::Protocol { found: name.to_owned() })?,
    };
    Ok((protocol, parse_ports(port, protocol)?))
}

fn parse_ports(text: &str, protocol: u8) -> Result<Ports, SelectorFault> {
    match text {
        "" | "any" => return Ok(Ports::ANY),
        "opaque" | "OPAQUE" => return Ok(Ports::OPAQUE),
        _ => {}
    }
    let unknown = || SelectorFault::Port { found: text.to_owned() };
    // Names of services have dashes in them.
    if let Some(port) = parse_port(text, protocol) {
        return Ok(Ports::one(port));
    }
    let (start, end) = text.split_once('-').ok_or_else(unknown)?;
    let start = parse_port(start, protocol).ok_or_else(unknown)?;
    let end = parse_port(end, protocol).ok_or_else(unknown)?;
    if start > end {
        return Err(SelectorFault::PortRange { found: text.to_owned() });
    }
    Ok(Ports { start, end })
}

fn parse_port(text: &str, protocol: u8) -> Option<u16> {
    let number16 = |text| number(text).and_then(|number| u16::try_from(number).ok());
    if !matches!(protocol, ICMP | ICMPV6) {
        return names::service_port(text, protocol).or_else(|| number16(text));
    }
    if let Some((icmp_type, code)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let octet = |text| number(text).and_then(|number| u8::try_from(number).ok());
        return Some(u16::from_be_bytes([octet(icmp_type)?, octet(code)?]));
    }
    // Below 256 it is a type without code; RFC 7296 §3.13.1 has the type in the upper octet.
    number16(text).map(|port| if port < 256 { port << 8 } else { port })
}

/// A number as C writes it: decimal, `0x` hexadecimal, `0` octal.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// As charon shows it: `10.1.0.0/16`, `0.0.0.0/0[tcp/https]`, `10.2.0.5..10.2.0.9`,
/// `192.0.2.77/32[udp/1024-2000]`.
impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_prefix() {
            Some((net, length)) => write!(f, "{net}/{length}")?,
            None => write!(f, "{}..{}", self.start_addr, self.end_addr)?,
        }
        write_traffic(f, self.protocol, self.ports())
    }
}

impl fmt::Debug for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As charon shows it: `dynamic`, `dynamic[gre]`, or the selector.
impl fmt::Display for SelectorPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic { protocol, ports } => {
                f.write_str("dynamic")?;
                write_traffic(f, *protocol, *ports)
            }
            Self::Fixed(selector) => fmt::Display::fmt(selector, f),
        }
    }
}

impl fmt::Debug for SelectorPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn write_traffic(f: &mut fmt::Formatter<'_>, protocol: u8, ports: Ports) -> fmt::Result {
    if protocol == 0 && ports == Ports::ANY {
        return Ok(());
    }
    f.write_str("[")?;
    match names::protocol_name(protocol) {
        Some(name) if protocol != 0 => f.write_str(name)?,
        _ => write!(f, "{protocol}")?,
    }
    match ports {
        Ports::ANY => {}
        Ports::OPAQUE => f.write_str("/OPAQUE")?,
        Ports { start, end } => {
            f.write_str("/")?;
            if matches!(protocol, ICMP | ICMPV6) {
                write_icmp(f, start)?;
                if start != end {
                    f.write_str("-")?;
                    write_icmp(f, end)?;
                }
            } else if start != end {
                write!(f, "{start}-{end}")?;
            } else if let Some(name) = names::service_name(start, protocol) {
                f.write_str(name)?;
            } else {
                write!(f, "{start}")?;
            }
        }
    }
    f.write_str("]")
}

/// A type, and its code unless that is zero.
fn write_icmp(f: &mut fmt::Formatter<'_>, port: u16) -> fmt::Result {
    let [icmp_type, code] = port.to_be_bytes();
    if code == 0 { write!(f, "{icmp_type}") } else { write!(f, "{icmp_type}({code})") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::any_selector;
    use super::*;

    #[test]
    fn texts_are_read_and_shown() {
        let table = [
            ("dynamic", "dynamic"),
            ("dynamic[gre]", "dynamic[gre]"),
            ("dynamic[udp/1024-2000]", "dynamic[udp/1024-2000]"),
            ("10.1.0.0/16", "10.1.0.0/16"),
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("192.0.2.77", "192.0.2.77/32"),
            ("10.2.0.5-10.2.0.9", "10.2.0.5..10.2.0.9"),
            ("10.2.0.0-10.2.0.255", "10.2.0.0/24"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("fec0::1", "fec0::1/128"),
            ("fec0::1-fec0::5", "fec0::1..fec0::5"),
            ("0.0.0.0/0[tcp/https]", "0.0.0.0/0[tcp/https]"),
            ("0.0.0.0/0[tcp/443]", "0.0.0.0/0[tcp/https]"),
            ("0.0.0.0/0[6/443]", "0.0.0.0/0[tcp/https]"),
            ("0.0.0.0/0[0x11/0x35]", "0.0.0.0/0[udp/domain]"),
            ("0.0.0.0/0[udp/ipsec-nat-t]", "0.0.0.0/0[udp/ipsec-nat-t]"),
            ("0.0.0.0/0[udp/isakmp-ipsec-nat-t]", "0.0.0.0/0[udp/500-4500]"),
            ("0.0.0.0/0[tcp/]", "0.0.0.0/0[tcp]"),
            ("0.0.0.0/0[tcp/any]", "0.0.0.0/0[tcp]"),
            ("0.0.0.0/0[any/any]", "0.0.0.0/0"),
            ("0.0.0.0/0[]", "0.0.0.0/0"),
            ("0.0.0.0/0[/53]", "0.0.0.0/0[0/53]"),
            ("0.0.0.0/0[/domain]", "0.0.0.0/0[0/53]"),
            ("0.0.0.0/0[200]", "0.0.0.0/0[200]"),
            ("0.0.0.0/0[udp/opaque]", "0.0.0.0/0[udp/OPAQUE]"),
            ("192.0.2.1[icmp/8]", "192.0.2.1/32[icmp/8]"),
            ("192.0.2.1[icmp/2048]", "192.0.2.1/32[icmp/8]"),
            ("192.0.2.1[icmp/0x0301]", "192.0.2.1/32[icmp/3(1)]"),
            ("192.0.2.1[icmp/3(1)-3(4)]", "192.0.2.1/32[icmp/3(1)-3(4)]"),
            ("fec0::1[icmpv6/0x0103-0x0104]", "fec0::1/128[ipv6-icmp/1(3)-1(4)]"),
            ("fec0::1[icmpv6/133-136]", "fec0::1/128[ipv6-icmp/133-136]"),
        ];
        for (text, shown) in table {
            let pattern = SelectorPattern::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(pattern.to_string(), shown, "{text}");
            assert_eq!(format!("{pattern:?}"), shown);
        }
        assert_eq!(SelectorPattern::parse("dynamic").unwrap(), SelectorPattern::DYNAMIC);
    }

    #[test]
    fn icmp_types_are_in_the_upper_octet() {
        let SelectorPattern::Fixed(echo) = SelectorPattern::parse("192.0.2.1[icmp/8]").unwrap() else {
            panic!("not fixed")
        };
        assert_eq!((echo.protocol, echo.start_port, echo.end_port), (1, 0x0800, 0x0800));
    }

    #[test]
    fn errors_name_the_part_at_fault() {
        let table = [
            ("", "'dynamic', an address, a prefix or a range"),
            ("gw.example.org", "instead of 'gw.example.org'"),
            ("10.0.0.0/33", "0 to 32 instead of '33'"),
            ("fec0::/129", "0 to 128 instead of '129'"),
            ("10.0.0.0/", "instead of ''"),
            ("10.0.0.0/8/9", "instead of '8/9'"),
            ("10.0.0.9-10.0.0.1", "ascending order instead of '10.0.0.9-10.0.0.1'"),
            ("10.0.0.9-fec0::1", "one family"),
            ("10.0.0.0/8[tcp", "expected a ']'"),
            ("10.0.0.0/8[tcp]x", "expected a ']'"),
            ("10.0.0.0/8[[tcp]]", "expected a ']'"),
            ("10.0.0.0/8]", "instead of '8]'"),
            ("10.0.0.0/8[tpc]", "protocol or a number of 0 to 255 instead of 'tpc'"),
            ("10.0.0.0/8[256]", "instead of '256'"),
            (
                "10.0.0.0/8[tcp/httpx]",
                "service, a number of 0 to 65535 or a range of them instead of 'httpx'",
            ),
            ("10.0.0.0/8[tcp/65536]", "instead of '65536'"),
            ("10.0.0.0/8[tcp/-5]", "instead of '-5'"),
            ("10.0.0.0/8[tcp/90-80]", "lower to a higher port instead of '90-80'"),
            ("10.0.0.0/8[udp/ssh]", "instead of 'ssh'"),
            ("dynamic [tcp]", "instead of 'dynamic '"),
        ];
        for (text, part) in table {
            let error = SelectorPattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(error.starts_with(&format!("traffic selector '{text}': ")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in "\\PC{0,40}") {
            let _ = SelectorPattern::parse(&text);
        }

        #[test]
        fn what_looks_like_a_selector_does_not_panic_either(
            text in "(dynamic|[0-9a-f.:]{1,20})([/-][0-9a-f.:]{0,20})?(\\[[a-z0-9/-]{0,12}\\]?)?"
        ) {
            if let Ok(pattern) = SelectorPattern::parse(&text) {
                // What was understood is shown, and understood again, but for charon's two dots.
                let shown = pattern.to_string().replace("..", "-");
                prop_assert_eq!(SelectorPattern::parse(&shown), Ok(pattern), "{}", shown);
            }
        }

        #[test]
        fn every_selector_can_be_shown(selector in any_selector()) {
            prop_assert!(!selector.to_string().is_empty());
        }
    }
}
