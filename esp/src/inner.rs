//! The inner packet of a tunnel: what selectors and the outer header need to know of it.
//!
//! RFC 4301 §4.4.1.1 says which fields selectors look at and which IPv6 extension headers are passed over to find
//! the protocol; RFC 4301 §7 what is not known of a fragment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::packet::NextHeader;

/// The fields of a packet that selectors look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The protocol after any IPv6 extension headers; `None` where it cannot be found (OPAQUE in RFC 4301).
    pub protocol: Option<u8>,
    /// Source and destination port; `None` where the protocol has none or the packet does not show them, as a
    /// fragment that is not the first. For ICMP both are type × 256 + code, for Mobile IPv6 type × 256.
    pub ports: Option<(u16, u16)>,
}

/// What is known of an inner packet whose header makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerHeader {
    /// What selectors look at.
    pub flow: Flow,
    /// Octets of the packet by its own account.
    pub len: usize,
    /// DSCP and ECN: IPv4's Type of Service, IPv6's Traffic Class.
    pub traffic_class: u8,
    /// IPv4's DF bit. IPv6 packets are never fragmented on the way, so for them it counts as set.
    pub dont_fragment: bool,
}

/// Why a packet is no IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InnerError {
    /// The version is neither 4 nor 6.
    #[error("IP version {0}")]
    Version(u8),
    /// The packet is shorter than its header, or than it says.
    #[error("{len} octets do not hold the packet")]
    Truncated {
        /// Octets there are.
        len: usize,
    },
    /// IPv4: the header's length is impossible, or greater than the packet's.
    #[error("impossible header length")]
    HeaderLength,
}

impl InnerHeader {
    /// Reads the header of the packet that starts at `octets`; more octets may follow it.
    #[inline]
    pub fn parse(octets: &[u8]) -> Result<Self, InnerError> {
        match octets.first().map(|first| first >> 4) {
            Some(4) => parse_v4(octets),
            Some(6) => parse_v6(octets),
            Some(version) => Err(InnerError::Version(version)),
            None => Err(InnerError::Truncated { len: 0 }),
        }
    }

    /// What an ESP trailer calls this packet.
    pub const fn next_header(&self) -> NextHeader {
        match self.flow.source {
            IpAddr::V4(_) => NextHeader::IPV4,
            IpAddr::V6(_) => NextHeader::IPV6,
        }
    }
}

fn parse_v4(octets: &[u8]) -> Result<InnerHeader, InnerError> {
    let truncated = InnerError::Truncated { len: octets.len() };
    let header: &[u8; 20] = octets.first_chunk().ok_or(truncated)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_len < header.len() || len < header_len {
        return Err(InnerError::HeaderLength);
    }
    let packet = octets.get(..len).ok_or(truncated)?;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let protocol = header[9];
    let ports = if fragment & 0x1fff == 0 { ports(protocol, packet.get(header_len..)) } else { None };
    let address = |at: [u8; 4]| IpAddr::V4(Ipv4Addr::from(at));
    Ok(InnerHeader {
        flow: Flow {
            source: address([header[12], header[13], header[14], header[15]]),
            destination: address([header[16], header[17], header[18], header[19]]),
            protocol: Some(protocol),
            ports,
        },
        len,
        traffic_class: header[1],
        dont_fragment: fragment & 0x4000 != 0,
    })
}

fn parse_v6(octets: &[u8]) -> Result<InnerHeader, InnerError> {
    let truncated = InnerError::Truncated { len: octets.len() };
    let (header, rest) = octets.split_first_chunk::<40>().ok_or(truncated)?;
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let payload = rest.get(..payload_len).ok_or(truncated)?;
    let (protocol, ports) = walk_extensions(header[6], payload);
    let address = |octets: &[u8]| {
        <[u8; 16]>::try_from(octets).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))).map_err(|_| truncated)
    };
    Ok(InnerHeader {
        flow: Flow {
            source: address(&header[8..24])?,
            destination: address(&header[24..40])?,
            protocol,
            ports,
        },
        len: header.len() + payload_len,
        traffic_class: (header[0] << 4) | (header[1] >> 4),
        dont_fragment: true,
    })
}

/// The most extension headers that are passed over; real packets have one or two.
const MAX_EXTENSIONS: usize = 8;

/// The protocol behind IPv6 extension headers, and its ports.
// RFC 4301 §4.4.1.1: hop-by-hop options, routing, fragment and destination options are passed over; AH and ESP are not.
fn walk_extensions(first: u8, payload: &[u8]) -> (Option<u8>, Option<(u16, u16)>) {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;

    let mut protocol = first;
    let mut rest = payload;
    for _ in 0..=MAX_EXTENSIONS {
        let len = match (protocol, rest) {
            (HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS, [_, len, ..]) => (usize::from(*len) + 1) * 8,
            (FRAGMENT, [next, _, offset, more, ..]) => {
                if u16::from_be_bytes([*offset, *more]) >> 3 != 0 {
                    let is_extension = matches!(*next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS);
                    return ((!is_extension).then_some(*next), None);
                }
                8
            }
            (HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS, _) => return (None, None),
            _ => return (Some(protocol), ports(protocol, Some(rest))),
        };
        let (Some(next), Some(behind)) = (rest.first(), rest.get(len..)) else { return (None, None) };
        (protocol, rest) = (*next, behind);
    }
    (None, None)
}

/// The ports at the start of an upper-layer header, or what stands for them.
fn ports(protocol: u8, header: Option<&[u8]>) -> Option<(u16, u16)> {
    const ICMP: u8 = 1;
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const DCCP: u8 = 33;
    const ICMPV6: u8 = 58;
    const SCTP: u8 = 132;
    const MOBILITY: u8 = 135;
    const UDP_LITE: u8 = 136;

    let &[a, b, c, d] = header?.first_chunk()?;
    match protocol {
        TCP | UDP | DCCP | SCTP | UDP_LITE => Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
        // RFC 7296 §3.13.1: type in the upper octet, code in the lower; one value, so it stands for both ports.
        ICMP | ICMPV6 => {
            let type_and_code = u16::from_be_bytes([a, b]);
            Some((type_and_code, type_and_code))
        }
        // RFC 4301 §4.4.1.1: the Mobility Header's type, in the upper octet.
        MOBILITY => {
            let mobility_type = u16::from_be_bytes([c, 0]);
            Some((mobility_type, mobility_type))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{udp4, udp6, unhex};

    #[test]
    fn ipv4() {
        let mut packet = udp4("10.1.0.1:4000", "10.2.0.2:53", b"question");
        packet[1] = 0xb9;
        packet[6] = 0x40;
        packet.extend([0; 5]); // Behind the packet: not part of it.
        let header = InnerHeader::parse(&packet).expect("a good packet");
        assert_eq!(header.len, 36);
        assert_eq!((header.traffic_class, header.dont_fragment), (0xb9, true));
        assert_eq!(header.next_header(), NextHeader::IPV4);
        let flow = Flow {
            source: "10.1.0.1".parse().expect("address"),
            destination: "10.2.0.2".parse().expect("address"),
            protocol: Some(17),
            ports: Some((4000, 53)),
        };
        assert_eq!(header.flow, flow);
    }

    #[test]
    fn ipv4_fragments_show_no_ports() {
        let mut packet = udp4("10.1.0.1:4000", "10.2.0.2:53", b"question");
        packet[6] = 0x20; // More fragments, offset 0: the first one has the ports.
        assert_eq!(InnerHeader::parse(&packet).map(|h| h.flow.ports), Ok(Some((4000, 53))));
        packet[7] = 1;
        assert_eq!(InnerHeader::parse(&packet).map(|h| h.flow.ports), Ok(None));
    }

    #[test]
    fn broken_packets() {
        let good = udp4("10.1.0.1:4000", "10.2.0.2:53", b"question");
        assert_eq!(InnerHeader::parse(&[]), Err(InnerError::Truncated { len: 0 }));
        assert_eq!(InnerHeader::parse(&good[..19]), Err(InnerError::Truncated { len: 19 }));
        assert_eq!(InnerHeader::parse(&good[..35]), Err(InnerError::Truncated { len: 35 }));
        assert_eq!(InnerHeader::parse(&[0x55; 60]), Err(InnerError::Version(5)));
        let change = |at: usize, to: u8| {
            let mut packet = good.clone();
            packet[at] = to;
            InnerHeader::parse(&packet)
        };
        assert_eq!(change(0, 0x44), Err(InnerError::HeaderLength));
        assert_eq!(change(0, 0x4f), Err(InnerError::HeaderLength));
        assert_eq!(change(3, 19), Err(InnerError::HeaderLength));
        let good = udp6("[2001:db8::1]:1", "[2001:db8::2]:2", b"question");
        assert_eq!(InnerHeader::parse(&good[..55]), Err(InnerError::Truncated { len: 55 }));
        assert_eq!(InnerHeader::parse(&good[..39]), Err(InnerError::Truncated { len: 39 }));
    }

    #[test]
    fn ipv6_extensions_are_passed_over() {
        let plain = udp6("[2001:db8::1]:4000", "[2001:db8::2]:53", b"question");
        let with = |first: u8, extensions: &str| {
            let extensions = unhex(extensions);
            let mut packet = plain.clone();
            packet[6] = first;
            packet[5] += u8::try_from(extensions.len()).expect("few");
            packet.splice(40..40, extensions);
            let header = InnerHeader::parse(&packet).expect("a good packet");
            (header.flow.protocol, header.flow.ports)
        };
        assert_eq!(with(17, ""), (Some(17), Some((4000, 53))));
        assert_eq!(with(0, "11 00 010400000000"), (Some(17), Some((4000, 53))));
        assert_eq!(
            with(0, "2b 00 010400000000  3c 01 0000000000000000000000000000  11 00 010400000000"),
            (Some(17), Some((4000, 53)))
        );
        // First fragment, later fragment, later fragment that begins with another extension header.
        assert_eq!(with(44, "11 00 0001 00000007"), (Some(17), Some((4000, 53))));
        assert_eq!(with(44, "11 00 0009 00000007"), (Some(17), None));
        assert_eq!(with(44, "3c 00 0009 00000007"), (None, None));
        // ESP inside is a protocol of its own.
        assert_eq!(with(50, ""), (Some(50), None));
        // A chain that runs off the end, and one that never ends.
        assert_eq!(with(0, "00 ff 010400000000"), (None, None));
        assert_eq!(with(0, &"00 00 010400000000".repeat(9)), (None, None));
    }

    #[test]
    fn icmp_type_and_code_stand_for_the_ports() {
        let mut packet = udp4("10.1.0.1:2053", "10.2.0.2:0", b"");
        packet[9] = 1; // Type 8, code 5.
        assert_eq!(InnerHeader::parse(&packet).map(|h| h.flow.ports), Ok(Some((0x0805, 0x0805))));
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_a_panic(mut octets in prop::collection::vec(any::<u8>(), 0..200), v6: bool) {
            if let Some(first) = octets.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            if let Ok(header) = InnerHeader::parse(&octets) {
                prop_assert!(header.len <= octets.len());
            }
        }
    }
}
