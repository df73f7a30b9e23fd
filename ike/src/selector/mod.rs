//! Traffic selectors (RFC 7296 §2.9, §3.13) and how they are narrowed.
//!
//! [`TrafficSelector`] is what peers exchange; [`SelectorPattern`] is what a configuration says, where
//! `dynamic` waits for the addresses of the SA. Text is read and written in `text`; `narrow` holds the
//! decision between two peers.

mod names;
mod narrow;
mod text;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use narrow::{is_subset, narrow};
pub use text::{SelectorError, SelectorFault};

/// One traffic selector: packets of a protocol, between two addresses and two ports, both ends included.
///
/// Both addresses are of one family and `start_addr <= end_addr`. Ports `0..=65535` mean any; `65535..=0`
/// means OPAQUE (RFC 7296 §3.13.1). For ICMP the port holds type and code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrafficSelector {
    /// IP protocol; zero for any.
    pub protocol: u8,
    /// First port.
    pub start_port: u16,
    /// Last port.
    pub end_port: u16,
    /// First address.
    pub start_addr: IpAddr,
    /// Last address.
    pub end_addr: IpAddr,
}

/// A range of ports, both ends included; for ICMP, of types (in the upper octet) and codes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ports {
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
}

impl Ports {
    /// Every port, and packets whose port cannot be seen.
    pub const ANY: Self = Self { start: 0, end: u16::MAX };
    /// Only packets whose port cannot be seen: fragments, mostly (RFC 7296 §3.13.1).
    pub const OPAQUE: Self = Self { start: u16::MAX, end: 0 };

    /// One port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self { start: port, end: port }
    }

    /// The ports of both.
    fn intersect(self, other: Self) -> Option<Self> {
        // RFC 7296 §3.13.1: "ANY" includes "OPAQUE".
        if self == Self::ANY {
            return (other == Self::OPAQUE || other.start <= other.end).then_some(other);
        }
        if other == Self::ANY {
            return other.intersect(self);
        }
        if self == Self::OPAQUE || other == Self::OPAQUE {
            return (self == other).then_some(self);
        }
        let both = Self { start: self.start.max(other.start), end: self.end.min(other.end) };
        let are_ranges = self.start <= self.end && other.start <= other.end;
        (are_ranges && both.start <= both.end).then_some(both)
    }
}

/// Address family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bits of an address.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The address with this value; of an IPv4 address the lower 32 bits count.
    fn address(self, value: u128) -> IpAddr {
        match self {
            Self::V4 => {
                #[expect(clippy::cast_possible_truncation, reason = "the lower 32 bits are what is wanted")]
                let low = value as u32;
                Ipv4Addr::from_bits(low).into()
            }
            Self::V6 => Ipv6Addr::from_bits(value).into(),
        }
    }
}

impl TrafficSelector {
    /// All packets of all of IPv4.
    #[must_use]
    pub const fn any_v4() -> Self {
        let end_addr = IpAddr::V4(Ipv4Addr::BROADCAST);
        Self { end_addr, ..Self::host(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) }
    }

    /// All packets of all of IPv6.
    #[must_use]
    pub const fn any_v6() -> Self {
        let end_addr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
        Self { end_addr, ..Self::host(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) }
    }

    /// All packets of one address.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Self { protocol: 0, start_port: 0, end_port: u16::MAX, start_addr: addr, end_addr: addr }
    }

    /// All packets of a network; bits of `addr` behind the prefix are cleared. `None` if the prefix is longer
    /// than an address of the family.
    #[must_use]
    pub fn from_prefix(addr: IpAddr, prefix: u8) -> Option<Self> {
        let family = Family::of(addr);
        let host_bits = family.bits().checked_sub(prefix)?;
        let hosts = ones(host_bits);
        let start = value(addr) & !hosts;
        Some(Self {
            start_addr: family.address(start),
            end_addr: family.address(start | hosts),
            ..Self::host(addr)
        })
    }

    /// All packets between two addresses; `None` if they are of two families or the first is the higher one.
    #[must_use]
    pub fn from_range(first: IpAddr, last: IpAddr) -> Option<Self> {
        (Family::of(first) == Family::of(last) && first <= last)
            .then_some(Self { end_addr: last, ..Self::host(first) })
    }

    /// The same addresses, but one protocol and its ports.
    #[must_use]
    pub const fn with(self, protocol: u8, ports: Ports) -> Self {
        Self { protocol, start_port: ports.start, end_port: ports.end, ..self }
    }

    /// The ports.
    #[must_use]
    pub const fn ports(&self) -> Ports {
        Ports { start: self.start_port, end: self.end_port }
    }

    /// The family of the addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.start_addr)
    }

    /// True if every packet of `other` is one of `self`.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.intersect(other).as_ref() == Some(other)
    }

    /// The packets of both; `None` if there are none.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let protocol = match (self.protocol, other.protocol) {
            (0, protocol) | (protocol, 0) => protocol,
            (one, other) if one == other => one,
            _ => return None,
        };
        if self.family() != other.family() {
            return None;
        }
        let ports = self.ports().intersect(other.ports())?;
        let addresses =
            Self::from_range(self.start_addr.max(other.start_addr), self.end_addr.min(other.end_addr))?;
        Some(addresses.with(protocol, ports))
    }

    /// True if the address lies between the first and the last.
    #[must_use]
    pub fn includes_address(&self, addr: IpAddr) -> bool {
        Family::of(addr) == self.family() && self.start_addr <= addr && addr <= self.end_addr
    }

    /// True if `addr` is the only address.
    #[must_use]
    pub fn is_host(&self, addr: IpAddr) -> bool {
        self.start_addr == addr && self.end_addr == addr
    }

    /// Network and prefix length, if the addresses are just those of a network.
    #[must_use]
    pub fn to_prefix(&self) -> Option<(IpAddr, u8)> {
        let hosts = value(self.start_addr) ^ value(self.end_addr);
        let is_network = hosts.wrapping_add(1) & hosts == 0
            && value(self.start_addr) & hosts == 0
            && self.family() == Family::of(self.end_addr);
        let host_bits = u8::try_from(hosts.count_ones()).ok()?;
        is_network.then_some((self.start_addr, self.family().bits().checked_sub(host_bits)?))
    }
}

/// A traffic selector as a configuration has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum SelectorPattern {
    /// The end of the IKE SA itself, or the virtual IPs it has.
    Dynamic {
        /// IP protocol; zero for any.
        protocol: u8,
        /// The ports.
        ports: Ports,
    },
    /// As it stands.
    Fixed(TrafficSelector),
}

impl SelectorPattern {
    /// `dynamic`: all packets of the end of the IKE SA.
    pub const DYNAMIC: Self = Self::Dynamic { protocol: 0, ports: Ports::ANY };

    /// The selectors meant when that end has these addresses: its virtual IPs, or else its address.
    #[must_use]
    pub fn resolve(&self, addresses: &[IpAddr]) -> Vec<TrafficSelector> {
        match *self {
            Self::Dynamic { protocol, ports } => {
                addresses.iter().map(|addr| TrafficSelector::host(*addr).with(protocol, ports)).collect()
            }
            Self::Fixed(selector) => vec![selector],
        }
    }
}

/// The value of an address as a number.
fn value(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().into(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

/// A number whose lowest `count` bits are one.
fn ones(count: u8) -> u128 {
    match 128_u32.checked_sub(count.into()) {
        Some(128) => 0,
        Some(zeros) => u128::MAX >> zeros,
        None => u128::MAX,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn ts(text: &str) -> TrafficSelector {
        match SelectorPattern::parse(text).unwrap() {
            SelectorPattern::Fixed(selector) => selector,
            SelectorPattern::Dynamic { .. } => panic!("{text} is dynamic"),
        }
    }

    /// Selectors as a decoder may yield them, wrong ones among them.
    pub(crate) fn any_selector() -> impl Strategy<Value = TrafficSelector> {
        let port = prop_oneof![Just(0), Just(65_535), 0u16..100];
        let addr = prop_oneof![
            (0u8..4, 0u8..4).prop_map(|(a, b)| IpAddr::from([10, 0, a, b])),
            (0u8..4).prop_map(|a| IpAddr::from([0xfec0, 0, 0, 0, 0, 0, 0, a.into()])),
            any::<IpAddr>(),
        ];
        (prop_oneof![Just(0u8), Just(6), Just(17)], port.clone(), port, addr.clone(), addr).prop_map(
            |(protocol, start_port, end_port, start_addr, end_addr)| TrafficSelector {
                protocol,
                start_port,
                end_port,
                start_addr,
                end_addr,
            },
        )
    }

    #[test]
    fn prefixes_become_ranges_and_ranges_prefixes() {
        for text in ["0.0.0.0/0", "10.1.0.0/16", "192.0.2.77/32", "::/0", "2001:db8::/33", "fec0::1/128"] {
            let selector = ts(text);
            let (net, prefix) = selector.to_prefix().unwrap();
            assert_eq!(format!("{net}/{prefix}"), text);
            assert_eq!(TrafficSelector::from_prefix(net, prefix), Some(selector));
        }
        assert_eq!(ts("0.0.0.0/0"), TrafficSelector::any_v4());
        assert_eq!(ts("::/0"), TrafficSelector::any_v6());
        assert_eq!(TrafficSelector::from_prefix([10, 0, 0, 7].into(), 33), None);
        assert_eq!(TrafficSelector::from_prefix([0; 16].into(), 129), None);
        for text in ["10.2.0.5-10.2.0.9", "10.0.0.1-10.0.0.2", "10.0.0.0-10.0.0.2"] {
            assert_eq!(ts(text).to_prefix(), None, "{text}");
        }
    }

    #[test]
    fn intersections() {
        let table = [
            ("10.0.0.0/8", "10.1.0.0/16", Some("10.1.0.0/16")),
            ("10.0.0.0/8", "11.0.0.0/8", None),
            ("10.0.0.0/8", "::/0", None),
            ("10.0.0.5-10.0.0.9", "10.0.0.8/29", Some("10.0.0.8-10.0.0.9")),
            ("10.0.0.0/8[tcp]", "10.0.0.0/8", Some("10.0.0.0/8[tcp]")),
            ("10.0.0.0/8[tcp]", "10.0.0.0/8[udp]", None),
            ("10.0.0.0/8[tcp/80]", "10.0.0.0/8[tcp]", Some("10.0.0.0/8[tcp/80]")),
            ("10.0.0.0/8[tcp/80-90]", "10.0.0.0/8[tcp/85-99]", Some("10.0.0.0/8[tcp/85-90]")),
            ("10.0.0.0/8[tcp/80]", "10.0.0.0/8[tcp/81]", None),
            ("10.0.0.0/8[/53]", "10.0.0.0/8[udp]", Some("10.0.0.0/8[udp/53]")),
            ("10.0.0.0/8[udp/opaque]", "10.0.0.0/8", Some("10.0.0.0/8[udp/opaque]")),
            ("10.0.0.0/8[udp/opaque]", "10.0.0.0/8[udp/opaque]", Some("10.0.0.0/8[udp/opaque]")),
            ("10.0.0.0/8[udp/opaque]", "10.0.0.0/8[udp/53]", None),
        ];
        for (one, other, both) in table {
            assert_eq!(ts(one).intersect(&ts(other)), both.map(ts), "{one} and {other}");
            assert_eq!(ts(other).intersect(&ts(one)), both.map(ts), "{other} and {one}");
        }
    }

    #[test]
    fn containment_includes_protocol_and_ports() {
        assert!(ts("10.0.0.0/8").contains(&ts("10.0.0.0/8[udp/opaque]")));
        assert!(ts("10.0.0.0/8[tcp/80-90]").contains(&ts("10.3.0.0/16[tcp/85]")));
        assert!(!ts("10.0.0.0/8[tcp/80-90]").contains(&ts("10.3.0.0/16[tcp]")));
        assert!(!ts("10.0.0.0/8[tcp]").contains(&ts("10.3.0.0/16")));
        assert!(!ts("10.0.0.0/16").contains(&ts("10.0.0.0/8")));
        assert!(ts("10.0.0.0/8").includes_address([10, 9, 9, 9].into()));
        assert!(!ts("10.0.0.0/8").includes_address([0; 16].into()));
        assert!(ts("10.0.0.1").is_host([10, 0, 0, 1].into()));
        assert!(!ts("10.0.0.0/31").is_host([10, 0, 0, 1].into()));
    }

    #[test]
    fn dynamic_is_every_address_given() {
        let pattern = SelectorPattern::parse("dynamic[udp/1701]").unwrap();
        let resolved = pattern.resolve(&[[10, 3, 0, 1].into(), [0xfec0, 0, 0, 0, 0, 0, 0, 1].into()]);
        assert_eq!(resolved, [ts("10.3.0.1[udp/1701]"), ts("fec0::1[udp/1701]")]);
        assert_eq!(pattern.resolve(&[]), []);
        let fixed = SelectorPattern::parse("10.1.0.0/16").unwrap();
        assert_eq!(fixed.resolve(&[[10, 3, 0, 1].into()]), [ts("10.1.0.0/16")]);
    }

    proptest! {
        #[test]
        fn an_intersection_is_of_both_and_does_not_depend_on_order(
            one in any_selector(), other in any_selector()
        ) {
            let both = one.intersect(&other);
            prop_assert_eq!(both, other.intersect(&one));
            if let Some(both) = both {
                prop_assert!(one.contains(&both) && other.contains(&both));
                prop_assert!(both.start_addr <= both.end_addr);
            }
        }

        #[test]
        fn a_prefix_survives(addr in any::<IpAddr>(), prefix in 0u8..=128) {
            let Some(selector) = TrafficSelector::from_prefix(addr, prefix) else {
                prop_assert!(addr.is_ipv4() && prefix > 32);
                return Ok(());
            };
            prop_assert!(selector.includes_address(addr));
            prop_assert_eq!(selector.to_prefix(), Some((selector.start_addr, prefix)));
        }
    }
}
