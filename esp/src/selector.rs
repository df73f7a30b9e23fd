//! Traffic selectors (RFC 4301 §4.4.1.1) and how narrow they are.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use crate::inner::Flow;

/// Why a range of addresses cannot exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RangeError {
    /// The ends are of different address families.
    #[error("{start} and {end} are not of one address family")]
    Families {
        /// The lower end given.
        start: IpAddr,
        /// The upper end given.
        end: IpAddr,
    },
    /// The upper end is below the lower.
    #[error("{end} is below {start}")]
    Backwards {
        /// The lower end given.
        start: IpAddr,
        /// The upper end given.
        end: IpAddr,
    },
    /// The prefix is longer than the address.
    #[error("{address} has no prefix of {len} bits")]
    Prefix {
        /// The address given.
        address: IpAddr,
        /// The prefix length given, in bits.
        len: u8,
    },
}

/// An inclusive range of addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    start: IpAddr,
    end: IpAddr,
}

impl AddressRange {
    /// The addresses from `start` to `end`, both included.
    pub fn new(start: IpAddr, end: IpAddr) -> Result<Self, RangeError> {
        if start.is_ipv4() != end.is_ipv4() {
            return Err(RangeError::Families { start, end });
        }
        if end < start {
            return Err(RangeError::Backwards { start, end });
        }
        Ok(Self { start, end })
    }

    /// The addresses that share the first `len` bits with `address`.
    pub fn prefix(address: IpAddr, len: u8) -> Result<Self, RangeError> {
        let error = RangeError::Prefix { address, len };
        let (start, end) = match address {
            IpAddr::V4(v4) => {
                let host = 32_u8.checked_sub(len).ok_or(error)?;
                let mask = u32::MAX.checked_shl(u32::from(host)).unwrap_or(0);
                (IpAddr::V4((v4.to_bits() & mask).into()), IpAddr::V4((v4.to_bits() | !mask).into()))
            }
            IpAddr::V6(v6) => {
                let host = 128_u8.checked_sub(len).ok_or(error)?;
                let mask = u128::MAX.checked_shl(u32::from(host)).unwrap_or(0);
                (IpAddr::V6((v6.to_bits() & mask).into()), IpAddr::V6((v6.to_bits() | !mask).into()))
            }
        };
        Ok(Self { start, end })
    }

    /// One address.
    pub const fn host(address: IpAddr) -> Self {
        Self { start: address, end: address }
    }

    /// Whether `address` lies in the range.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.start, address, self.end) {
            (IpAddr::V4(start), IpAddr::V4(address), IpAddr::V4(end)) => {
                (start.to_bits()..=end.to_bits()).contains(&address.to_bits())
            }
            (IpAddr::V6(start), IpAddr::V6(address), IpAddr::V6(end)) => {
                (start.to_bits()..=end.to_bits()).contains(&address.to_bits())
            }
            _ => false,
        }
    }

    /// The address, if the range is a single one.
    pub fn as_host(&self) -> Option<IpAddr> {
        (self.start == self.end).then_some(self.start)
    }

    /// Leading bits that all addresses of the range share: the prefix length, if the range is a prefix.
    fn common_bits(&self) -> u32 {
        match (self.start, self.end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => (start.to_bits() ^ end.to_bits()).leading_zeros(),
            (IpAddr::V6(start), IpAddr::V6(end)) => (start.to_bits() ^ end.to_bits()).leading_zeros(),
            _ => 0,
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.common_bits();
        let is_prefix = u8::try_from(len).is_ok_and(|len| Self::prefix(self.start, len) == Ok(*self));
        if is_prefix { write!(f, "{}/{len}", self.start) } else { write!(f, "{}-{}", self.start, self.end) }
    }
}

/// Which ports a selector takes (for ICMP: type × 256 + code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// Any, and packets that show none.
    Any,
    /// Only packets that show no port, such as fragments (RFC 7296 §3.13.1 OPAQUE).
    Opaque,
    /// From the first to the second, both included. Never matches a packet that shows no port.
    Range(u16, u16),
}

impl Ports {
    /// Ports as a traffic selector has them on the wire: 0-65535 is any, 65535-0 opaque (RFC 7296 §3.13.1).
    pub const fn from_wire(start: u16, end: u16) -> Self {
        match (start, end) {
            (0, 65535) => Self::Any,
            (65535, 0) => Self::Opaque,
            (start, end) => Self::Range(start, end),
        }
    }

    fn contains(self, port: Option<u16>) -> bool {
        match (self, port) {
            (Self::Any, _) | (Self::Opaque, None) => true,
            (Self::Range(start, end), Some(port)) => start <= port && port <= end,
            (Self::Opaque, Some(_)) | (Self::Range(..), None) => false,
        }
    }

    const fn common_bits(self) -> u32 {
        match self {
            Self::Any => 0,
            Self::Opaque => 16,
            Self::Range(start, end) => (start ^ end).leading_zeros(),
        }
    }
}

/// One side of what an SA carries: addresses, protocol and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The addresses of that side.
    pub addresses: AddressRange,
    /// The IP protocol; `None` for any.
    pub protocol: Option<u8>,
    /// The ports of that side.
    pub ports: Ports,
}

impl Selector {
    /// All traffic of these addresses.
    pub const fn addresses(addresses: AddressRange) -> Self {
        Self { addresses, protocol: None, ports: Ports::Any }
    }

    #[inline]
    fn matches(&self, address: IpAddr, protocol: Option<u8>, port: Option<u16>) -> bool {
        self.addresses.contains(address)
            && (self.protocol.is_none() || self.protocol == protocol)
            && self.ports.contains(port)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addresses)?;
        match (self.protocol, self.ports) {
            (None, Ports::Any) => return Ok(()),
            (None, _) => f.write_str("[0")?,
            (Some(protocol), _) => write!(f, "[{protocol}")?,
        }
        match self.ports {
            Ports::Any => {}
            Ports::Opaque => f.write_str("/OPAQUE")?,
            Ports::Range(start, end) if start == end => write!(f, "/{start}")?,
            Ports::Range(start, end) => write!(f, "/{start}-{end}")?,
        }
        f.write_str("]")
    }
}

/// A local and a remote selector: one line of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SelectorPair {
    /// Our side: source of what we send, destination of what we receive.
    pub local: Selector,
    /// The peer's side.
    pub remote: Selector,
}

impl SelectorPair {
    /// Whether a packet to the peer is meant.
    #[inline]
    pub fn matches_outbound(&self, flow: &Flow) -> bool {
        let (source_port, destination_port) = split(flow.ports);
        self.remote.matches(flow.destination, flow.protocol, destination_port)
            && self.local.matches(flow.source, flow.protocol, source_port)
    }

    /// Whether a packet from the peer is meant.
    #[inline]
    pub fn matches_inbound(&self, flow: &Flow) -> bool {
        let (source_port, destination_port) = split(flow.ports);
        self.remote.matches(flow.source, flow.protocol, source_port)
            && self.local.matches(flow.destination, flow.protocol, destination_port)
    }

    /// Where the policy stands among others: the lowest number is looked at first.
    ///
    /// The scale is strongSwan's for policies that protect: 400000 less 512 for each bit of the two prefixes, less
    /// 256 for a protocol, less 4 for each bit by which ports are fixed, so that a narrower policy comes first.
    pub fn priority(&self) -> u32 {
        let address_bits = self.local.addresses.common_bits() + self.remote.addresses.common_bits();
        let port_bits = self.local.ports.common_bits() + self.remote.ports.common_bits();
        let has_protocol = self.local.protocol.or(self.remote.protocol).is_some();
        400_000 - 512 * address_bits - 256 * u32::from(has_protocol) - 4 * port_bits
    }
}

fn split(ports: Option<(u16, u16)>) -> (Option<u16>, Option<u16>) {
    (ports.map(|(source, _)| source), ports.map(|(_, destination)| destination))
}

/// All that one SA carries: any of the local selectors with any of the remote ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selectors {
    /// Our side.
    pub local: Vec<Selector>,
    /// The peer's side.
    pub remote: Vec<Selector>,
}

impl Selectors {
    /// Every local selector with every remote one of its address family and protocol.
    pub fn pairs(&self) -> impl Iterator<Item = SelectorPair> {
        self.local.iter().flat_map(|local| {
            self.remote.iter().map(|remote| SelectorPair { local: *local, remote: *remote }).filter(|pair| {
                let one_family =
                    pair.local.addresses.start.is_ipv4() == pair.remote.addresses.start.is_ipv4();
                let protocols = (pair.local.protocol, pair.remote.protocol);
                one_family && !matches!(protocols, (Some(local), Some(remote)) if local != remote)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inner::InnerHeader;
    use crate::testing::{net, udp4, udp6};

    fn flow(packet: &[u8]) -> Flow {
        InnerHeader::parse(packet).expect("a good packet").flow
    }

    #[test]
    fn prefixes() {
        assert_eq!(net("10.1.2.3/16"), net("10.1.0.0/16"));
        assert_eq!(net("10.1.2.3/16").to_string(), "10.1.0.0/16");
        assert_eq!(net("0.0.0.0/0").to_string(), "0.0.0.0/0");
        assert_eq!(net("2001:db8::1/128").to_string(), "2001:db8::1/128");
        assert_eq!(net("::/0").addresses.common_bits(), 0);
        let address: IpAddr = "10.0.0.0".parse().expect("address");
        assert_eq!(AddressRange::prefix(address, 33), Err(RangeError::Prefix { address, len: 33 }));
    }

    #[test]
    fn ranges() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("address");
        let range = AddressRange::new(ip("10.0.0.5"), ip("10.0.0.9")).expect("in order");
        assert_eq!(range.to_string(), "10.0.0.5-10.0.0.9");
        assert!(range.contains(ip("10.0.0.5")) && range.contains(ip("10.0.0.9")));
        assert!(
            !range.contains(ip("10.0.0.4")) && !range.contains(ip("10.0.0.10")) && !range.contains(ip("::1"))
        );
        assert!(AddressRange::new(ip("10.0.0.9"), ip("10.0.0.5")).is_err());
        assert!(AddressRange::new(ip("10.0.0.9"), ip("::5")).is_err());
        assert_eq!(range.as_host(), None);
        assert_eq!(AddressRange::host(ip("::5")).as_host(), Some(ip("::5")));
    }

    #[test]
    fn directions() {
        let pair = SelectorPair { local: net("10.1.0.0/16"), remote: net("10.2.0.0/16") };
        let out = flow(&udp4("10.1.0.1:1", "10.2.0.1:2", b""));
        let back = flow(&udp4("10.2.0.1:2", "10.1.0.1:1", b""));
        assert!(pair.matches_outbound(&out) && !pair.matches_outbound(&back));
        assert!(pair.matches_inbound(&back) && !pair.matches_inbound(&out));
        let any4 = SelectorPair { local: net("0.0.0.0/0"), remote: net("0.0.0.0/0") };
        assert!(any4.matches_outbound(&out));
        assert!(!any4.matches_outbound(&flow(&udp6("[::1]:1", "[::2]:1", b""))));
    }

    #[test]
    fn protocols_and_ports() {
        let dns = Selector { protocol: Some(17), ports: Ports::Range(53, 53), ..net("10.2.0.0/16") };
        let pair = SelectorPair { local: net("10.1.0.0/16"), remote: dns };
        let mut packet = udp4("10.1.0.1:4000", "10.2.0.1:53", b"");
        assert!(pair.matches_outbound(&flow(&packet)));
        assert!(pair.matches_inbound(&flow(&udp4("10.2.0.1:53", "10.1.0.1:4000", b""))));
        assert!(!pair.matches_outbound(&flow(&udp4("10.1.0.1:53", "10.2.0.1:4000", b""))));
        packet[9] = 6;
        assert!(!pair.matches_outbound(&flow(&packet)), "another protocol");
        packet[9] = 17;
        packet[7] = 1;
        assert!(!pair.matches_outbound(&flow(&packet)), "a fragment without ports");
        let opaque = Selector { ports: Ports::Opaque, ..dns };
        assert!(SelectorPair { remote: opaque, ..pair }.matches_outbound(&flow(&packet)));
        let any = Selector { ports: Ports::Any, ..dns };
        assert!(SelectorPair { remote: any, ..pair }.matches_outbound(&flow(&packet)));
    }

    #[test]
    fn wire_ports() {
        assert_eq!(Ports::from_wire(0, 65535), Ports::Any);
        assert_eq!(Ports::from_wire(65535, 0), Ports::Opaque);
        assert_eq!(Ports::from_wire(0, 0), Ports::Range(0, 0));
    }

    #[test]
    fn narrower_comes_first() {
        let priority = |local, remote| SelectorPair { local, remote }.priority();
        assert_eq!(priority(net("10.0.0.0/16"), net("10.1.0.0/16")), 400_000 - 512 * 32);
        assert_eq!(priority(net("0.0.0.0/0"), net("0.0.0.0/0")), 400_000);
        let wide = priority(net("0.0.0.0/0"), net("10.0.0.0/8"));
        assert!(priority(net("0.0.0.0/0"), net("10.0.0.0/24")) < wide);
        let udp = Selector { protocol: Some(17), ..net("10.0.0.0/8") };
        assert!(priority(net("0.0.0.0/0"), udp) < wide);
        let dns = Selector { ports: Ports::Range(53, 53), ..udp };
        assert!(priority(net("0.0.0.0/0"), dns) < priority(net("0.0.0.0/0"), udp));
        assert!(priority(net("::1/128"), Selector { ports: Ports::Opaque, ..net("::2/128") }) < 400_000);
    }

    #[test]
    fn pairs_leave_out_what_cannot_match() {
        let udp = |selector| Selector { protocol: Some(17), ..selector };
        let tcp = |selector| Selector { protocol: Some(6), ..selector };
        let selectors = Selectors {
            local: vec![net("10.0.0.0/8"), net("2001:db8::/32"), udp(net("192.0.2.0/24"))],
            remote: vec![net("0.0.0.0/0"), net("::/0"), tcp(net("198.51.100.0/24"))],
        };
        let pairs: Vec<String> =
            selectors.pairs().map(|pair| format!("{} {}", pair.local, pair.remote)).collect();
        assert_eq!(
            pairs,
            [
                "10.0.0.0/8 0.0.0.0/0",
                "10.0.0.0/8 198.51.100.0/24[6]",
                "2001:db8::/32 ::/0",
                "192.0.2.0/24[17] 0.0.0.0/0",
            ]
        );
    }
}
