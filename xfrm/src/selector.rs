//! Which packets: the kernel's selectors, and the way to them from IKE's traffic selectors.
//!
//! A traffic selector (RFC 7296 §3.13.1) has ranges of addresses and ports; a kernel selector has
//! prefixes, and ports as a value with a mask. [`selectors`] splits a pair of the former into the
//! fewest of the latter.

use std::fmt;
use std::net::IpAddr;

use crate::prefix::{AddressRange, InvalidRange, Prefix, cover};

/// The IP protocol numbers of ICMP and ICMPv6, whose types and codes stand where others have ports.
const ICMP: [u8; 2] = [1, 58];

/// Most selectors that a pair of traffic selectors may become. Beyond, the kernel would spend more
/// on looking through them than anybody meant.
pub const MOST_SELECTORS: usize = 1024;

/// A kernel selector. Both prefixes are of one family.
///
/// For ICMP the source port is the type and the destination port the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    source: Prefix,
    destination: Prefix,
    /// IP protocol number; 0 for any.
    pub protocol: u8,
    /// Source port, or ICMP type.
    pub source_port: PortMatch,
    /// Destination port, or ICMP code.
    pub destination_port: PortMatch,
    /// Index of the interface that packets leave or come by; 0 for any.
    pub interface: u32,
}

impl Selector {
    /// All packets from one prefix to another.
    ///
    /// # Errors
    /// When the families differ.
    pub fn new(source: Prefix, destination: Prefix) -> Result<Self, InvalidRange> {
        if source.address().is_ipv4() != destination.address().is_ipv4() {
            let (first, last) = (source.address(), destination.address());
            return Err(InvalidRange::MixedFamilies { first, last });
        }
        Ok(Self {
            source,
            destination,
            protocol: 0,
            source_port: PortMatch::ANY,
            destination_port: PortMatch::ANY,
            interface: 0,
        })
    }

    /// Of those, the packets of one IP protocol.
    #[must_use]
    pub fn with_protocol(self, protocol: u8) -> Self {
        Self { protocol, ..self }
    }

    /// Of those, the packets with these ports.
    #[must_use]
    pub fn with_ports(self, source_port: PortMatch, destination_port: PortMatch) -> Self {
        Self { source_port, destination_port, ..self }
    }

    /// Of those, the packets through the interface of this index.
    #[must_use]
    pub fn with_interface(self, interface: u32) -> Self {
        Self { interface, ..self }
    }

    /// Where packets come from.
    #[must_use]
    pub fn source(&self) -> Prefix {
        self.source
    }

    /// Where packets go.
    #[must_use]
    pub fn destination(&self) -> Prefix {
        self.destination
    }

    /// The selector of the packets the other way.
    #[must_use]
    pub fn reversed(&self) -> Self {
        // An answer has its request's ports exchanged, but its own ICMP type and the same code.
        let (source_port, destination_port) = if ICMP.contains(&self.protocol) {
            (self.source_port, self.destination_port)
        } else {
            (self.destination_port, self.source_port)
        };
        Self { source: self.destination, destination: self.source, source_port, destination_port, ..*self }
    }
}

impl fmt::Display for Selector {
    /// `10.1.0.0/16[500] -> 10.2.0.0/24[4500] proto 17 dev 3`, without what is any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, protocol, source_port, destination_port, interface } = self;
        write!(f, "{source}{source_port} -> {destination}{destination_port}")?;
        if *protocol != 0 {
            write!(f, " proto {protocol}")?;
        }
        if *interface != 0 {
            write!(f, " dev {interface}")?;
        }
        Ok(())
    }
}

/// Ports that agree with a value in the bits of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortMatch {
    /// What the masked port is compared with.
    pub value: u16,
    /// The bits that count.
    pub mask: u16,
}

impl PortMatch {
    /// Any port, and packets that have none.
    pub const ANY: Self = Self { value: 0, mask: 0 };

    /// One port.
    #[must_use]
    pub const fn exactly(port: u16) -> Self {
        Self { value: port, mask: u16::MAX }
    }

    /// Whether a port agrees.
    #[must_use]
    pub const fn matches(self, port: u16) -> bool {
        (port ^ self.value) & self.mask == 0
    }
}

impl fmt::Display for PortMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mask {
            0 => Ok(()),
            u16::MAX => write!(f, "[{}]", self.value),
            mask => write!(f, "[{}/{mask:#x}]", self.value),
        }
    }
}

/// The ports from `first` to `last`, both included. For ICMP type and code in one number, the type
/// in front (RFC 7296 §3.13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// All ports.
    pub const ANY: Self = Self { first: 0, last: u16::MAX };

    /// A range in order; `None` where it runs backwards. IKE's OPAQUE (65535-0) does, and the kernel
    /// has no selector for it: packets whose ports cannot be seen.
    #[must_use]
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The first port.
    #[must_use]
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    #[must_use]
    pub fn last(self) -> u16 {
        self.last
    }

    /// The fewest pairs of a value and a mask of leading ones that match exactly this range, in
    /// order: at most 30. No port is matched twice. (Masks with holes would do for some ranges with
    /// fewer, but overlapping, pairs, which nobody could read in a listing.)
    #[must_use]
    pub fn matches(self) -> Vec<PortMatch> {
        const WIDTH: u8 = 16;
        cover(self.first.into(), self.last.into(), WIDTH)
            .map(|(value, length)| PortMatch {
                value: u16::try_from(value).unwrap_or_default(), // of 16 bits, as its range
                mask: leading_ones(length),
            })
            .collect()
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

fn leading_ones(count: u8) -> u16 {
    !u16::MAX.checked_shr(count.into()).unwrap_or(0)
}

/// One side of the traffic of a CHILD_SA (RFC 7296 §3.13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficSelector {
    /// Its addresses.
    pub addresses: AddressRange,
    /// IP protocol number; 0 for any.
    pub protocol: u8,
    /// Its ports.
    pub ports: PortRange,
}

impl TrafficSelector {
    /// All traffic of these addresses.
    #[must_use]
    pub fn new(addresses: impl Into<AddressRange>) -> Self {
        Self { addresses: addresses.into(), protocol: 0, ports: PortRange::ANY }
    }
}

/// The fewest kernel selectors for the traffic from one traffic selector to another. No packet is
/// selected twice.
///
/// ICMP type and code are taken from the destination's ports, or where these are all, from the
/// source's: both sides of an exchange carry the same ones.
///
/// # Errors
/// When the two have no packet in common, or need more than [`MOST_SELECTORS`].
pub fn selectors(
    source: &TrafficSelector,
    destination: &TrafficSelector,
) -> Result<Vec<Selector>, Unselectable> {
    let protocol = match (source.protocol, destination.protocol) {
        (any, one) | (one, any) if any == 0 || any == one => one,
        (from, to) => return Err(Unselectable::Protocols { from, to }),
    };
    let is_one_family = source.addresses.first().is_ipv4() == destination.addresses.first().is_ipv4();
    if !is_one_family {
        let (from, to) = (source.addresses.first(), destination.addresses.first());
        return Err(Unselectable::MixedFamilies { from, to });
    }
    let ports = if ICMP.contains(&protocol) {
        let both = if destination.ports == PortRange::ANY { source.ports } else { destination.ports };
        both.matches().into_iter().map(type_and_code).collect()
    } else {
        pairs(&source.ports.matches(), &destination.ports.matches())
    };
    let (from, to) = (source.addresses.prefixes(), destination.addresses.prefixes());
    let count = ports.len().saturating_mul(from.len()).saturating_mul(to.len());
    if count > MOST_SELECTORS {
        return Err(Unselectable::TooMany(count));
    }
    Ok(pairs(&from, &to)
        .into_iter()
        .flat_map(|(source, destination)| {
            ports.iter().map(move |&(source_port, destination_port)| Selector {
                source,
                destination,
                protocol,
                source_port,
                destination_port,
                interface: 0,
            })
        })
        .collect())
}

/// Where the kernel looks for the ICMP type and for the code.
fn type_and_code(both: PortMatch) -> (PortMatch, PortMatch) {
    let [kind, code] = both.value.to_be_bytes();
    let [kind_mask, code_mask] = both.mask.to_be_bytes();
    // The upper halves are always zero; they count where all of the lower half does, so that what
    // is exact looks exact.
    let octet = |value: u8, mask: u8| PortMatch {
        value: value.into(),
        mask: if mask == u8::MAX { u16::MAX } else { mask.into() },
    };
    (octet(kind, kind_mask), octet(code, code_mask))
}

fn pairs<T: Copy>(first: &[T], second: &[T]) -> Vec<(T, T)> {
    first.iter().flat_map(|&one| second.iter().map(move |&other| (one, other))).collect()
}

/// Traffic selectors that make no kernel selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unselectable {
    /// No packet has both protocols.
    #[error("no packet is of protocol {from} at one end and {to} at the other")]
    Protocols {
        /// The source's protocol.
        from: u8,
        /// The destination's protocol.
        to: u8,
    },
    /// No packet has both families.
    #[error("no packet goes from {from} to {to}: one is IPv4, the other IPv6")]
    MixedFamilies {
        /// An address of the source.
        from: IpAddr,
        /// An address of the destination.
        to: IpAddr,
    },
    /// The ranges are too ragged.
    #[error("the traffic selectors would take {0} kernel policies each way, more than {MOST_SELECTORS}")]
    TooMany(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(first: u16, last: u16) -> Vec<String> {
        PortRange::new(first, last).unwrap().matches().iter().map(ToString::to_string).collect()
    }

    fn traffic(addresses: &str, protocol: u8, first: u16, last: u16) -> TrafficSelector {
        let addresses: Prefix = addresses.parse().unwrap();
        let ports = PortRange::new(first, last).unwrap();
        TrafficSelector { protocol, ports, ..TrafficSelector::new(addresses) }
    }

    fn shown(source: &TrafficSelector, destination: &TrafficSelector) -> Vec<String> {
        selectors(source, destination).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn port_ranges_are_split_into_masks() {
        assert_eq!(split(500, 500), ["[500]"]);
        assert_eq!(split(0, 65535), [""]);
        assert_eq!(
            split(1024, 65535),
            [
                "[1024/0xfc00]",
                "[2048/0xf800]",
                "[4096/0xf000]",
                "[8192/0xe000]",
                "[16384/0xc000]",
                "[32768/0x8000]"
            ]
        );
        assert_eq!(split(5060, 5061), ["[5060/0xfffe]"]);
        assert_eq!(split(1, 65534).len(), 30, "the worst there is");
        assert_eq!(PortRange::new(65535, 0), None, "OPAQUE");
    }

    #[test]
    fn traffic_selectors_become_all_pairs_of_prefixes_and_ports() {
        let source = traffic("10.1.0.0/16", 17, 0, 65535);
        let destination = traffic("10.2.0.0/24", 0, 4500, 4502);
        assert_eq!(
            shown(&source, &destination),
            ["10.1.0.0/16 -> 10.2.0.0/24[4500/0xfffe] proto 17", "10.1.0.0/16 -> 10.2.0.0/24[4502] proto 17"]
        );
        let range = AddressRange::new("10.1.0.1".parse().unwrap(), "10.1.0.2".parse().unwrap()).unwrap();
        let everything = traffic("0.0.0.0/0", 0, 0, 65535);
        assert_eq!(
            shown(&TrafficSelector::new(range), &everything),
            ["10.1.0.1/32 -> 0.0.0.0/0", "10.1.0.2/32 -> 0.0.0.0/0"]
        );
    }

    #[test]
    fn icmp_has_its_type_and_code_in_the_ports() {
        let any = traffic("10.1.0.0/16", 1, 0, 65535);
        let echo = traffic("10.2.0.0/24", 1, 0x0800, 0x0800);
        assert_eq!(shown(&any, &echo), ["10.1.0.0/16[8] -> 10.2.0.0/24[0] proto 1"]);
        assert_eq!(shown(&echo, &any), ["10.2.0.0/24[8] -> 10.1.0.0/16[0] proto 1"]);
        let of_any_code = traffic("10.2.0.0/24", 1, 0x0300, 0x03ff);
        assert_eq!(shown(&any, &of_any_code), ["10.1.0.0/16[3] -> 10.2.0.0/24 proto 1"]);
        let types = traffic("10.2.0.0/24", 1, 0x0c00, 0x0fff);
        assert_eq!(shown(&any, &types), ["10.1.0.0/16[12/0xfc] -> 10.2.0.0/24 proto 1"]);
        let [selector] = selectors(&any, &echo).unwrap()[..] else { panic!("one") };
        assert_eq!(selector.reversed().to_string(), "10.2.0.0/24[8] -> 10.1.0.0/16[0] proto 1");
    }

    #[test]
    fn what_selects_no_packet_is_refused_with_the_reason() {
        let tcp = traffic("10.1.0.0/16", 6, 0, 65535);
        let udp = traffic("10.2.0.0/24", 17, 0, 65535);
        assert_eq!(selectors(&tcp, &udp), Err(Unselectable::Protocols { from: 6, to: 17 }));
        let six = traffic("2001:db8::/32", 6, 0, 65535);
        assert!(matches!(selectors(&tcp, &six), Err(Unselectable::MixedFamilies { .. })));
        let ragged = traffic("10.1.0.0/16", 6, 1, 65534);
        assert_eq!(selectors(&ragged, &ragged).map(|all| all.len()), Ok(900));
        let range = AddressRange::new("0.0.0.1".parse().unwrap(), "0.0.0.4".parse().unwrap()).unwrap();
        let more = TrafficSelector { addresses: range, ..ragged };
        assert_eq!(selectors(&more, &ragged), Err(Unselectable::TooMany(2700)));
    }

    #[test]
    fn the_way_back_has_everything_exchanged() {
        let source = traffic("10.1.0.0/16", 17, 500, 500);
        let destination = traffic("10.2.0.0/24", 17, 4500, 4500);
        let there = selectors(&source, &destination).unwrap();
        let back = selectors(&destination, &source).unwrap();
        assert_eq!(there.iter().map(Selector::reversed).collect::<Vec<_>>(), back);
    }

    proptest! {
        /// Exact, without overlap, and no two neighbours could have been one pair.
        #[test]
        fn ports_are_matched_once_or_not_at_all(a in any::<u16>(), b in any::<u16>(), probes in any::<[u16; 32]>()) {
            let (first, last) = (a.min(b), a.max(b));
            let matches = PortRange::new(first, last).unwrap().matches();
            prop_assert!(matches.len() <= 30);
            let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
            for port in probes.into_iter().chain(edges) {
                let count = matches.iter().filter(|pair| pair.matches(port)).count();
                prop_assert_eq!(count, usize::from((first..=last).contains(&port)), "port {}", port);
            }
            for pair in matches.windows(2) {
                let (low, high) = (pair[0], pair[1]);
                let joined = low.mask << 1;
                let is_joinable = low.mask == high.mask && low.value & joined == high.value & joined;
                prop_assert!(!is_joinable, "{low} and {high}");
            }
        }

        /// Fewest: every block of leading ones inside the range lies in one of the blocks taken.
        #[test]
        fn no_block_inside_the_range_is_cut(a in any::<u16>(), b in any::<u16>(), start in any::<u16>(), length in 0u8..=16) {
            let (first, last) = (a.min(b), a.max(b));
            let mask = leading_ones(length);
            let (low, high) = (start & mask, start | !mask);
            prop_assume!(low >= first && high <= last);
            let matches = PortRange::new(first, last).unwrap().matches();
            prop_assert!(matches.iter().any(|pair| pair.matches(low) && pair.matches(high)));
        }
    }
}
