//! What tunnel mode carries between the inner and the outer IP header (RFC 4301 §5.1.2, RFC 6040, RFC 2983).
//!
//! Over UDP the outer header is made by the kernel, so what belongs into it is given and taken as [`OuterHeader`]:
//! `IP_TOS` or `IPV6_TCLASS` beside a datagram. The hop limit is not here: the outer one is the kernel's default, and
//! the inner one is counted down by the network stack that forwards the packet into or out of the tunnel.

use thiserror::Error;

use crate::inner::InnerHeader;

const ECN_MASK: u8 = 0b11;
const CONGESTION_EXPERIENCED: u8 = 0b11;

/// Between which headers the DSCP is copied; the strongSwan option of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyDscp {
    /// From the inner header to the outer one (RFC 4301's default). What the outer one had on arrival is forgotten.
    #[default]
    Out,
    /// From the outer header to the inner one on arrival; the outer one is sent with DSCP 0.
    In,
    /// Both.
    Both,
    /// Neither.
    No,
}

/// Whether congestion is signalled through the tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// RFC 6040: copied outwards (normal mode), combined inwards.
    #[default]
    Propagate,
    /// The outer header is sent as not ECN-capable and ignored on arrival.
    Off,
}

/// How an SA treats the headers of its tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelOptions {
    /// Direction in which the DSCP is copied.
    pub copy_dscp: CopyDscp,
    /// Whether congestion is signalled.
    pub ecn: Ecn,
    /// Whether the inner DF bit is copied to the outer header.
    pub copy_df: bool,
}

impl Default for TunnelOptions {
    /// strongSwan's defaults: DSCP outwards, ECN and DF copied.
    fn default() -> Self {
        Self { copy_dscp: CopyDscp::Out, ecn: Ecn::Propagate, copy_df: true }
    }
}

/// The fields of an outer header that depend on the inner one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OuterHeader {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Whether routers on the way shall not fragment the packet.
    pub dont_fragment: bool,
}

/// RFC 6040 §4.2: the packet met congestion in the tunnel, and its transport can only be told by its loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("congestion experienced by a packet that is not ECN-capable")]
pub struct CongestionLoss;

impl TunnelOptions {
    /// What the outer header of this inner packet says.
    #[inline]
    pub fn outer(&self, inner: &InnerHeader) -> OuterHeader {
        let mut mask = 0;
        if matches!(self.copy_dscp, CopyDscp::Out | CopyDscp::Both) {
            mask |= !ECN_MASK;
        }
        if self.ecn == Ecn::Propagate {
            mask |= ECN_MASK;
        }
        OuterHeader {
            traffic_class: inner.traffic_class & mask,
            dont_fragment: self.copy_df && inner.dont_fragment,
        }
    }

    /// The inner traffic class a received packet goes on with.
    #[inline]
    pub fn inner_traffic_class(&self, inner: u8, outer: u8) -> Result<u8, CongestionLoss> {
        let dscp = match self.copy_dscp {
            CopyDscp::In | CopyDscp::Both => outer,
            CopyDscp::Out | CopyDscp::No => inner,
        };
        let ecn = match self.ecn {
            Ecn::Propagate => decapsulate_ecn(inner & ECN_MASK, outer & ECN_MASK)?,
            Ecn::Off => inner,
        };
        Ok((dscp & !ECN_MASK) | (ecn & ECN_MASK))
    }
}

/// RFC 6040 Figure 4.
const fn decapsulate_ecn(inner: u8, outer: u8) -> Result<u8, CongestionLoss> {
    const NOT_ECT: u8 = 0b00;
    const ECT_1: u8 = 0b01;
    const ECT_0: u8 = 0b10;
    match (inner, outer) {
        (NOT_ECT, CONGESTION_EXPERIENCED) => Err(CongestionLoss),
        (ECT_0 | ECT_1, CONGESTION_EXPERIENCED) => Ok(CONGESTION_EXPERIENCED),
        (ECT_0, ECT_1) => Ok(ECT_1),
        (inner, _) => Ok(inner),
    }
}

/// Writes a traffic class into an IP packet; an IPv4 header's checksum is brought up to date (RFC 1624).
#[inline]
pub(crate) fn set_traffic_class(packet: &mut [u8], to: u8) {
    match packet {
        [first, class, ..] if *first >> 4 == 6 => {
            *first = 0x60 | (to >> 4);
            *class = (to << 4) | (*class & 0x0f);
        }
        [first, class, _, _, _, _, _, _, _, _, sum_high, sum_low, ..] if *first >> 4 == 4 => {
            let (old, new) = (u16::from_be_bytes([*first, *class]), u16::from_be_bytes([*first, to]));
            let sum = u16::from_be_bytes([*sum_high, *sum_low]);
            *class = to;
            [*sum_high, *sum_low] = update_checksum(sum, old, new).to_be_bytes();
        }
        // Nothing else is an IP packet; callers have parsed it.
        _ => {}
    }
}

// RFC 1624 §3, equation 3: HC' = ~(~HC + ~m + m').
fn update_checksum(sum: u16, old: u16, new: u16) -> u16 {
    let add = |a: u16, b: u16| {
        let (sum, carry) = a.overflowing_add(b);
        sum + u16::from(carry)
    };
    !add(add(!sum, !old), new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{sum, udp4, udp6};

    const NOT_ECT: u8 = 0;
    const ECT_1: u8 = 1;
    const ECT_0: u8 = 2;
    const CE: u8 = 3;

    fn inner(traffic_class: u8, dont_fragment: bool) -> InnerHeader {
        let parsed = InnerHeader::parse(&udp4("10.0.0.1:1", "10.0.0.2:2", b"")).expect("a good packet");
        InnerHeader { traffic_class, dont_fragment, ..parsed }
    }

    /// RFC 6040 Figure 3.
    #[test]
    fn ecn_outwards() {
        let normal = TunnelOptions::default();
        let off = TunnelOptions { ecn: Ecn::Off, ..normal };
        for ecn in [NOT_ECT, ECT_0, ECT_1, CE] {
            assert_eq!(normal.outer(&inner(ecn, false)).traffic_class, ecn);
            assert_eq!(off.outer(&inner(ecn, false)).traffic_class, NOT_ECT);
        }
    }

    /// RFC 6040 Figure 4: rows are the inner field, columns the outer one.
    #[test]
    fn ecn_inwards() {
        let table = [
            (NOT_ECT, [Ok(NOT_ECT), Ok(NOT_ECT), Ok(NOT_ECT), Err(CongestionLoss)]),
            (ECT_0, [Ok(ECT_0), Ok(ECT_0), Ok(ECT_1), Ok(CE)]),
            (ECT_1, [Ok(ECT_1), Ok(ECT_1), Ok(ECT_1), Ok(CE)]),
            (CE, [Ok(CE), Ok(CE), Ok(CE), Ok(CE)]),
        ];
        let normal = TunnelOptions::default();
        let off = TunnelOptions { ecn: Ecn::Off, ..normal };
        for (inner, row) in table {
            for (outer, expected) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(row) {
                assert_eq!(normal.inner_traffic_class(inner, outer), expected, "{inner:02b} in {outer:02b}");
                assert_eq!(off.inner_traffic_class(inner, outer), Ok(inner));
            }
        }
    }

    #[test]
    fn dscp_follows_the_option() {
        let (inner_class, outer_class) = (0xb8 | ECT_0, 0x48 | CE);
        let cases = [
            (CopyDscp::Out, 0xb8, 0xb8),
            (CopyDscp::In, 0, 0x48),
            (CopyDscp::Both, 0xb8, 0x48),
            (CopyDscp::No, 0, 0xb8),
        ];
        for (copy_dscp, sent, arrived) in cases {
            let options = TunnelOptions { copy_dscp, ..TunnelOptions::default() };
            assert_eq!(
                options.outer(&inner(inner_class, false)).traffic_class,
                sent | ECT_0,
                "{copy_dscp:?}"
            );
            assert_eq!(
                options.inner_traffic_class(inner_class, outer_class),
                Ok(arrived | CE),
                "{copy_dscp:?}"
            );
        }
    }

    #[test]
    fn df_is_copied_if_asked() {
        let copy = TunnelOptions::default();
        assert!(copy.outer(&inner(0, true)).dont_fragment);
        assert!(!copy.outer(&inner(0, false)).dont_fragment);
        assert!(!TunnelOptions { copy_df: false, ..copy }.outer(&inner(0, true)).dont_fragment);
    }

    #[test]
    fn the_checksum_follows_the_traffic_class() {
        let mut packet = udp4("10.0.0.1:1", "10.0.0.2:2", b"payload");
        assert_eq!(sum(&packet[..20]), 0xffff);
        for class in 0..=255 {
            set_traffic_class(&mut packet, class);
            assert_eq!(sum(&packet[..20]), 0xffff, "class {class:02x}");
            assert_eq!(InnerHeader::parse(&packet).map(|header| header.traffic_class), Ok(class));
        }
    }

    #[test]
    fn an_ipv6_flow_label_survives() {
        let mut packet = udp6("[::1]:1", "[::2]:2", b"payload");
        packet[1..4].copy_from_slice(&[0x0a, 0xbc, 0xde]);
        set_traffic_class(&mut packet, 0xb9);
        assert_eq!(packet[..4], [0x6b, 0x9a, 0xbc, 0xde]);
        assert_eq!(InnerHeader::parse(&packet).map(|header| header.traffic_class), Ok(0xb9));
    }
}
