//! Traffic Selector payloads (RFC 7296 §3.13).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::codec::{DecodeError, Fault, Part, Reader, Writer};
use super::registry::TsType;
use crate::selector::TrafficSelector;

/// Traffic Selector payload, TSi or TSr (RFC 7296 §3.13).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Number of TSs |                 RESERVED                      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                       <Traffic Selectors>                     ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TrafficSelectors {
    /// The selectors of types we know, in the sender's order; at most 255.
    pub selectors: Vec<TrafficSelector>,
    /// How many were of types we do not know. They are no part of what we can agree to, so that an answer narrows
    /// them away (RFC 7296 §2.9).
    pub unknown: u8,
}

impl TrafficSelectors {
    /// Reads the body of the payload.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = r.u8()?;
        r.skip(3)?; // RESERVED
        let mut selectors = Vec::new();
        let mut unknown = 0;
        for _ in 0..count {
            match decode_selector(r)? {
                Some(selector) => selectors.push(selector),
                None => unknown += 1,
            }
        }
        Ok(Self { selectors, unknown })
    }

    /// Writes the body of the payload, without what was unknown.
    pub fn encode(&self, w: &mut Writer) {
        encode(&self.selectors, w);
    }
}

/// Writes the body of a TS payload. At most 255 selectors can be said.
pub(super) fn encode(selectors: &[TrafficSelector], w: &mut Writer) {
    let count = u8::try_from(selectors.len()).unwrap_or(u8::MAX);
    w.u8(count);
    w.bytes(&[0; 3]); // RESERVED
    for selector in selectors.iter().take(count.into()) {
        encode_selector(selector, w);
    }
}

/// Reads one selector (RFC 7296 §3.13.1); `None` if it is of a type we do not know.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   TS Type     |IP Protocol ID*|       Selector Length         |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           Start Port*         |           End Port*           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                         Starting Address*                     ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                         Ending Address*                       ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
fn decode_selector(r: &mut Reader<'_>) -> Result<Option<TrafficSelector>, DecodeError> {
    let outer = r.part();
    let part = Part::Inside(outer.payload(), "Traffic Selector");
    r.enter(part);
    let ts_type = TsType(r.u8()?);
    let protocol = r.u8()?;
    let length = r.u16()?;
    let mut body = r.structure(part, length, 4)?;
    r.enter(outer);
    let r = &mut body;
    if !matches!(ts_type, TsType::IPV4_ADDR_RANGE | TsType::IPV6_ADDR_RANGE) {
        return Ok(None);
    }
    let start_port = r.u16()?;
    let end_port = r.u16()?;
    let (start_addr, end_addr) = match ts_type {
        TsType::IPV4_ADDR_RANGE => (ipv4(r)?, ipv4(r)?),
        _ => (ipv6(r)?, ipv6(r)?),
    };
    r.finish()?;
    if start_addr > end_addr {
        return Err(r.fault(Fault::Reversed { range: "an address range" }));
    }
    // RFC 7296 §3.13.1: start 65535 and end 0 is OPAQUE; any other reversed range selects nothing.
    if start_port > end_port && (start_port, end_port) != (u16::MAX, 0) {
        return Err(r.fault(Fault::Reversed { range: "a port range" }));
    }
    Ok(Some(TrafficSelector { protocol, start_port, end_port, start_addr, end_addr }))
}

fn encode_selector(selector: &TrafficSelector, w: &mut Writer) {
    let ts_type = match (selector.start_addr, selector.end_addr) {
        (IpAddr::V4(_), IpAddr::V4(_)) => TsType::IPV4_ADDR_RANGE,
        _ => TsType::IPV6_ADDR_RANGE,
    };
    w.structure(2, |w| {
        w.u8(ts_type.0);
        w.u8(selector.protocol);
        w.u16(0); // room for the length
        w.u16(selector.start_port);
        w.u16(selector.end_port);
        for address in [selector.start_addr, selector.end_addr] {
            match address {
                IpAddr::V4(v4) if ts_type == TsType::IPV4_ADDR_RANGE => w.bytes(&v4.octets()),
                // Selectors have one family, so this is never a mapped address; were it, the type would still hold.
                IpAddr::V4(v4) => w.bytes(&v4.to_ipv6_mapped().octets()),
                IpAddr::V6(v6) => w.bytes(&v6.octets()),
            }
        }
    });
}

fn ipv4(r: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
    Ok(IpAddr::V4(Ipv4Addr::from_octets(r.array()?)))
}

fn ipv6(r: &mut Reader<'_>) -> Result<IpAddr, DecodeError> {
    Ok(IpAddr::V6(Ipv6Addr::from_octets(r.array()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registry::PayloadType;
    use proptest::prelude::*;

    fn decode(octets: &[u8]) -> Result<TrafficSelectors, DecodeError> {
        let mut r = Reader::new(Part::Payload(PayloadType::TS_I), octets);
        let selectors = TrafficSelectors::decode(&mut r)?;
        r.finish()?;
        Ok(selectors)
    }

    fn encoded(selectors: &[TrafficSelector]) -> Vec<u8> {
        let mut w = Writer::new();
        encode(selectors, &mut w);
        w.into_octets()
    }

    /// The first selectors of the example in RFC 7296 §2.9: UDP port 17 from one host, and its whole net.
    #[rustfmt::skip]
    const GOLDEN: &[u8] = &[
        2, 0, 0, 0,
        7, 17, 0, 16,  0x11, 0x11, 0x11, 0x11,  198, 51, 100, 43,  198, 51, 100, 43,
        7, 0, 0, 16,  0, 0, 0xff, 0xff,  198, 51, 100, 0,  198, 51, 100, 255,
    ];

    #[test]
    fn the_golden_selectors_are_read_and_written() {
        let selectors = decode(GOLDEN).unwrap();
        assert_eq!(selectors.unknown, 0);
        let [host, net] = selectors.selectors[..] else { unreachable!("two selectors") };
        assert_eq!((host.protocol, host.start_port, host.end_port), (17, 0x1111, 0x1111));
        assert_eq!(host.start_addr, IpAddr::from([198, 51, 100, 43]));
        assert_eq!(net.end_addr, IpAddr::from([198, 51, 100, 255]));
        assert_eq!(encoded(&selectors.selectors), GOLDEN);
    }

    #[test]
    fn unknown_types_are_passed_over_but_counted() {
        let mut octets = GOLDEN.to_vec();
        octets[0] = 4;
        octets.extend([10, 0, 0, 7, b'a', b'b', b'c']); // TS_SECLABEL
        octets.extend([99, 0, 0, 4]);
        let selectors = decode(&octets).unwrap();
        assert_eq!((selectors.selectors.len(), selectors.unknown), (2, 2));
    }

    #[test]
    fn ranges_that_end_before_they_begin_are_refused_but_opaque_is_not() {
        let mut octets = GOLDEN.to_vec();
        octets[8..12].copy_from_slice(&[0xff, 0xff, 0, 0]);
        assert!(decode(&octets).is_ok());
        octets[8..12].copy_from_slice(&[0xff, 0xff, 0, 1]);
        assert_eq!(
            decode(&octets).err().map(|e| e.to_string()).as_deref(),
            Some(
                "Traffic Selector in the TSi payload has a port range that ends before it begins, at octet 20"
            )
        );
        let mut octets = GOLDEN.to_vec();
        octets[12] = 199;
        assert!(matches!(
            decode(&octets),
            Err(DecodeError::Malformed { fault: Fault::Reversed { range: "an address range" }, .. })
        ));
    }

    #[test]
    fn lengths_and_counts_that_do_not_agree_are_refused() {
        for (position, value) in [(0, 1), (0, 3), (7, 15), (7, 17), (7, 3), (7, 255), (4, 8)] {
            let mut octets = GOLDEN.to_vec();
            octets[position] = value;
            assert!(decode(&octets).is_err(), "octet {position} = {value}");
        }
    }

    type Range<T> = (T, T);

    /// Protocol, ports and addresses, in order.
    fn selectors() -> impl Strategy<Value = Vec<(u8, Range<u16>, Range<IpAddr>)>> {
        let ports =
            prop_oneof![Just((u16::MAX, 0)), any::<(u16, u16)>().prop_map(|(a, b)| (a.min(b), a.max(b))),];
        let addresses = prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (IpAddr::from(a.min(b)), IpAddr::from(a.max(b)))),
            any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (IpAddr::from(a.min(b)), IpAddr::from(a.max(b)))),
        ];
        prop::collection::vec((any::<u8>(), ports, addresses), 0..20)
    }

    proptest! {
        #[test]
        fn round_trip(parts in selectors()) {
            let selectors: Vec<TrafficSelector> = parts
                .into_iter()
                .map(|(protocol, (start_port, end_port), (start_addr, end_addr))| TrafficSelector {
                    protocol, start_port, end_port, start_addr, end_addr,
                })
                .collect();
            let decoded = decode(&encoded(&selectors)).unwrap();
            prop_assert!(decoded.selectors == selectors);
        }

        #[test]
        fn any_octets_decode_or_fail(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(selectors) = decode(&octets) {
                prop_assert!(decode(&encoded(&selectors.selectors)).is_ok());
            }
        }
    }
}
