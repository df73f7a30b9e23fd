//! The header that a TUN device with `IFF_VNET_HDR` has before each packet: what one end leaves to the other to do.
//!
//! Its form is `struct virtio_net_hdr` of the Virtual I/O Device specification (§5.1.6), in this machine's byte order.

/// Octets of the header.
pub(super) const LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// A TCP packet whose first segment alone has the CWR flag.
const GSO_ECN: u8 = 0x80;

/// What is left to do for a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offload {
    /// It is to be cut.
    pub(super) cut: Option<Cut>,
    /// Its checksum field holds the pseudo-header's sum, and the rest is to be added.
    pub(super) checksum: Option<ChecksumPlace>,
}

/// A packet that stands for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) protocol: Protocol,
    /// Octets of payload in each, but for the last, which may have fewer.
    pub(super) size: u16,
    /// Octets of headers before the payload. A hint when received (never believed), exact when sent.
    pub(super) headers: u16,
}

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp4,
    Tcp6,
    Udp,
}

/// Where a checksum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChecksumPlace {
    /// Where what it covers starts, from the packet's start.
    pub(super) start: u16,
    /// Where it stands, from there.
    pub(super) offset: u16,
}

impl Offload {
    /// Reads the header; `None` where it asks for something that was not offered.
    #[inline]
    pub(super) fn read(octets: [u8; LEN]) -> Option<Self> {
        let [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1] = octets;
        let protocol = match kind & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 => Some(Protocol::Tcp4),
            GSO_TCPV6 => Some(Protocol::Tcp6),
            GSO_UDP_L4 => Some(Protocol::Udp),
            _ => return None,
        };
        let (size, headers) = (u16::from_ne_bytes([s0, s1]), u16::from_ne_bytes([h0, h1]));
        let place =
            ChecksumPlace { start: u16::from_ne_bytes([c0, c1]), offset: u16::from_ne_bytes([o0, o1]) };
        Some(Self {
            cut: protocol.map(|protocol| Cut { protocol, size, headers }),
            checksum: (flags & NEEDS_CSUM != 0).then_some(place),
        })
    }

    /// The header's octets.
    #[inline]
    pub(super) fn octets(self) -> [u8; LEN] {
        let (kind, cut) = match self.cut {
            None => (GSO_NONE, Cut { protocol: Protocol::Udp, size: 0, headers: 0 }),
            Some(cut) => {
                let kind = match cut.protocol {
                    Protocol::Tcp4 => GSO_TCPV4,
                    Protocol::Tcp6 => GSO_TCPV6,
                    Protocol::Udp => GSO_UDP_L4,
                };
                (kind, cut)
            }
        };
        let flags = if self.checksum.is_some() { NEEDS_CSUM } else { 0 };
        let place = self.checksum.unwrap_or(ChecksumPlace { start: 0, offset: 0 });
        let ([h0, h1], [s0, s1]) = (cut.headers.to_ne_bytes(), cut.size.to_ne_bytes());
        let ([c0, c1], [o0, o1]) = (place.start.to_ne_bytes(), place.offset.to_ne_bytes());
        [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let place = Some(ChecksumPlace { start: 20, offset: 16 });
        for protocol in [Protocol::Tcp4, Protocol::Tcp6, Protocol::Udp] {
            let cut = Some(Cut { protocol, size: 1348, headers: 52 });
            for offload in [Offload { cut, checksum: place }, Offload { cut, checksum: None }] {
                assert_eq!(Offload::read(offload.octets()), Some(offload));
            }
        }
        assert_eq!(Offload::default().octets(), [0; LEN]);
        assert_eq!(Offload::read([0; LEN]), Some(Offload::default()));
    }

    #[test]
    fn what_was_not_offered_is_not_understood() {
        for kind in [2, 3, 6, 0x7f] {
            assert_eq!(Offload::read([0, kind, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        }
    }
}
