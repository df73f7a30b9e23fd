//! Cutting what stands for many packets: the kernel hands over up to 64 KiB of one TCP stream, or of equal UDP datagrams,
//! with one header, as it would to a network card that cuts by itself.

use std::net::IpAddr;

use super::virtio::{ChecksumPlace, Cut, Protocol};
use crate::checksum::Sum;
use crate::inner::InnerHeader;

pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;
/// TCP flags, in the order of their bits (RFC 9293 §3.1).
pub(super) const FIN: u8 = 1;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;
const CWR: u8 = 128;
/// Where TCP's sequence number, flags and checksum are in its header; UDP's length and checksum.
pub(super) const TCP_SEQUENCE: usize = 4;
pub(super) const TCP_OFFSET: usize = 12;
pub(super) const TCP_FLAGS: usize = 13;
pub(super) const TCP_CHECKSUM: usize = 16;
const UDP_LENGTH: usize = 4;
const UDP_CHECKSUM: usize = 6;
const UDP_HEADER: usize = 8;
/// Where IPv4's total length, identification and checksum are, and IPv6's payload length.
pub(super) const V4_LENGTH: usize = 2;
pub(super) const V4_ID: usize = 4;
pub(super) const V4_CHECKSUM: usize = 10;
pub(super) const V6_LENGTH: usize = 4;
pub(super) const V6_HEADER: usize = 40;

/// A packet that stands for many.
#[derive(Clone, Copy, Debug)]
pub(super) struct SuperPacket<'p> {
    packet: &'p [u8],
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// Where the header of TCP or UDP starts, and where the payload does.
    upper: usize,
    headers: usize,
    /// Octets of payload in each segment but the last.
    size: usize,
}

impl<'p> SuperPacket<'p> {
    /// Finds the parts of `packet`, whose header is `header`. `None` if it cannot be what the kernel says it is.
    #[inline]
    pub(super) fn parse(
        packet: &'p [u8],
        header: &InnerHeader,
        cut: Cut,
        checksum: Option<ChecksumPlace>,
    ) -> Option<Self> {
        let packet = packet.get(..header.len)?;
        let first = *packet.first()?;
        let v4_header = usize::from(first & 0x0f) * 4;
        let is_v4 = header.flow.source.is_ipv4();
        // The checksum starts with the upper header, whatever extension headers are before it.
        let upper = match checksum {
            Some(place) if is_v4 => usize::from(place.start).eq(&v4_header).then_some(v4_header)?,
            Some(place) => usize::from(place.start).max(V6_HEADER),
            None if is_v4 => v4_header,
            None => V6_HEADER,
        };
        let (protocol, upper_len) = match cut.protocol {
            Protocol::Tcp4 | Protocol::Tcp6 => {
                (TCP, usize::from(packet.get(upper + TCP_OFFSET)? >> 4).max(5) * 4)
            }
            Protocol::Udp => (UDP, UDP_HEADER),
        };
        let is_family = match cut.protocol {
            Protocol::Tcp4 => is_v4,
            Protocol::Tcp6 => !is_v4,
            Protocol::Udp => true,
        };
        let (size, headers) = (usize::from(cut.size), upper + upper_len);
        // A fragment shows no ports, and is never cut.
        let fits = is_family && header.flow.protocol == Some(protocol) && header.flow.ports.is_some();
        (fits && size > 0 && headers < packet.len()).then_some(Self {
            packet,
            source: header.flow.source,
            destination: header.flow.destination,
            protocol,
            upper,
            headers,
            size,
        })
    }

    /// How many packets it stands for.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.packet.len().saturating_sub(self.headers).div_ceil(self.size)
    }

    /// Octets of the packet with this index, headers included.
    #[inline]
    pub(super) fn len(&self, index: usize) -> usize {
        let before = self.headers + index.saturating_mul(self.size);
        self.headers + self.packet.len().saturating_sub(before).min(self.size)
    }

    /// Writes the packet with this index to the start of `into`. `None` if there is no such one, or no room.
    #[inline]
    pub(super) fn write(&self, index: usize, into: &mut [u8]) -> Option<()> {
        let start = self.headers + index.checked_mul(self.size)?;
        let payload = self.packet.get(start..(start + self.size).min(self.packet.len()))?;
        let is_last = start + self.size >= self.packet.len();
        let len = self.headers + payload.len();
        let (headers, room) = into.get_mut(..len)?.split_at_mut(self.headers);
        headers.copy_from_slice(self.packet.get(..self.headers)?);
        room.copy_from_slice(payload);

        let (ip, upper) = headers.split_at_mut(self.upper);
        let upper_len = u16::try_from(len - self.upper).ok()?;
        match self.source {
            IpAddr::V4(_) => {
                set(ip, V4_LENGTH, u16::try_from(len).ok()?.to_be_bytes())?;
                let id = u16::from_be_bytes(get(ip, V4_ID)?);
                set(ip, V4_ID, id.wrapping_add(u16::try_from(index).ok()?).to_be_bytes())?;
                set(ip, V4_CHECKSUM, [0; 2])?;
                let checksum = Sum::default().octets(ip).checksum();
                set(ip, V4_CHECKSUM, checksum)?;
            }
            IpAddr::V6(_) => set(ip, V6_LENGTH, u16::try_from(len - V6_HEADER).ok()?.to_be_bytes())?,
        }
        let at = if self.protocol == TCP {
            let sequence = u32::from_be_bytes(get(upper, TCP_SEQUENCE)?);
            let before = u32::try_from(index * self.size).ok()?;
            set(upper, TCP_SEQUENCE, sequence.wrapping_add(before).to_be_bytes())?;
            let flags = upper.get_mut(TCP_FLAGS)?;
            // The end of the data is in the last, and what RFC 3168 §6.1.2 says once is said in the first.
            if !is_last {
                *flags &= !(FIN | PSH);
            }
            if index > 0 {
                *flags &= !CWR;
            }
            TCP_CHECKSUM
        } else {
            set(upper, UDP_LENGTH, upper_len.to_be_bytes())?;
            UDP_CHECKSUM
        };
        set(upper, at, [0; 2])?;
        let sum = Sum::default()
            .pseudo_header(self.source, self.destination, self.protocol, upper_len)
            .octets(upper);
        set(upper, at, unless_zero(sum.octets(room).checksum(), self.protocol))
    }
}

/// Completes a checksum whose field holds the pseudo-header's sum. `None` if it lies outside the packet.
#[inline]
pub(super) fn complete_checksum(packet: &mut [u8], place: ChecksumPlace, protocol: Option<u8>) -> Option<()> {
    let covered = packet.get_mut(usize::from(place.start)..)?;
    let checksum = Sum::default().octets(covered).checksum();
    set(covered, place.offset.into(), unless_zero(checksum, protocol.unwrap_or(0)))
}

// RFC 768: a checksum of zero is sent as all ones, since zero says that there is none.
fn unless_zero(checksum: [u8; 2], protocol: u8) -> [u8; 2] {
    if protocol == UDP && checksum == [0; 2] { [0xff; 2] } else { checksum }
}

/// The octets at `at`.
#[inline]
pub(super) fn get<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..)?.first_chunk().copied()
}

/// Writes octets at `at`.
#[inline]
pub(super) fn set<const N: usize>(octets: &mut [u8], at: usize, value: [u8; N]) -> Option<()> {
    *octets.get_mut(at..)?.first_chunk_mut()? = value;
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{tcp, udp6};

    fn cut(packet: &[u8], protocol: Protocol, size: u16) -> Option<Vec<Vec<u8>>> {
        let header = InnerHeader::parse(packet).ok()?;
        let parts = SuperPacket::parse(packet, &header, Cut { protocol, size, headers: 0 }, None)?;
        let one = |index| {
            let mut octets = vec![0; parts.len(index)];
            parts.write(index, &mut octets).map(|()| octets)
        };
        assert_eq!(one(parts.count()), None, "one more than there are");
        (0..parts.count()).map(one).collect()
    }

    fn upper_is_right(packet: &[u8], upper: usize) -> bool {
        let header = InnerHeader::parse(packet).expect("a packet");
        let len = u16::try_from(packet.len() - upper).expect("short");
        let protocol = header.flow.protocol.expect("known");
        Sum::default()
            .pseudo_header(header.flow.source, header.flow.destination, protocol, len)
            .octets(&packet[upper..])
            .is_right()
    }

    #[test]
    fn a_stream_is_cut_with_its_marks_in_place() {
        let payload: Vec<u8> = (0..=255).cycle().take(2500).collect();
        let packet = tcp("10.1.0.1:1", "10.2.0.1:2", 0xffff_fff0, CWR | ACK | PSH | FIN, &payload);
        let parts = cut(&packet, Protocol::Tcp4, 1000).expect("is cut");
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [1040, 1040, 540]);
        assert_eq!(parts.iter().map(|part| part[33]).collect::<Vec<_>>(), [CWR | ACK, ACK, ACK | PSH | FIN]);
        let sequence = |part: &[u8]| get::<4>(part, 24).map(u32::from_be_bytes);
        assert_eq!(
            parts.iter().filter_map(|part| sequence(part)).collect::<Vec<_>>(),
            [0xffff_fff0, 984, 1984]
        );
        assert_eq!(parts.iter().map(|part| part[5]).collect::<Vec<_>>(), [1, 2, 3], "identifications");
        for part in &parts {
            assert!(Sum::default().octets(&part[..20]).is_right() && upper_is_right(part, 20));
        }
        assert_eq!(parts.iter().flat_map(|part| &part[40..]).copied().collect::<Vec<_>>(), payload);
    }

    #[test]
    fn datagrams_are_cut_over_ipv6() {
        let packet = udp6("[2001:db8:1::1]:1", "[2001:db8:2::1]:2", &[7; 250]);
        let parts = cut(&packet, Protocol::Udp, 100).expect("is cut");
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [148, 148, 98]);
        for part in &parts {
            assert!(upper_is_right(part, 40));
            assert_eq!(get(part, 44).map(u16::from_be_bytes), u16::try_from(part.len() - 40).ok());
        }
    }

    #[test]
    fn what_cannot_be_cut_is_not() {
        let packet = tcp("10.1.0.1:1", "10.2.0.1:2", 1, ACK, &[7; 100]);
        assert!(cut(&packet, Protocol::Tcp4, 0).is_none(), "into nothing");
        assert!(cut(&packet, Protocol::Tcp6, 50).is_none(), "another family");
        assert!(cut(&packet, Protocol::Udp, 50).is_none(), "another protocol");
        assert!(cut(&packet[..40], Protocol::Tcp4, 50).is_none(), "cut short");
        let mut fragment = packet.clone();
        fragment[7] = 1;
        assert!(cut(&fragment, Protocol::Tcp4, 50).is_none(), "a fragment");
        let mut long_header = packet.clone();
        long_header[32] = 0xf0;
        assert_eq!(
            cut(&long_header, Protocol::Tcp4, 50).map(|parts| parts.len()),
            Some(2),
            "60 octets of header"
        );
    }

    #[test]
    fn a_checksum_is_completed_where_it_is() {
        let mut packet = tcp("10.1.0.1:1", "10.2.0.1:2", 1, ACK, b"payload");
        let whole = packet.clone();
        let sum = Sum::default().pseudo_header([10, 1, 0, 1].into(), [10, 2, 0, 1].into(), TCP, 27).fold();
        set(&mut packet, 36, sum).expect("there");
        let place = ChecksumPlace { start: 20, offset: 16 };
        complete_checksum(&mut packet, place, Some(TCP)).expect("there");
        assert_eq!(packet, whole);
        let outside = ChecksumPlace { start: 20, offset: 26 };
        assert_eq!(complete_checksum(&mut packet, outside, Some(TCP)), None);
        assert_eq!(complete_checksum(&mut packet, ChecksumPlace { start: 48, offset: 0 }, None), None);
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(
            octets in prop::collection::vec(any::<u8>(), 0..200),
            v6: bool,
            size: u16,
            start: u16,
            kind in 0..3,
        ) {
            let mut octets = octets;
            if let Some(first) = octets.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            let protocol = [Protocol::Tcp4, Protocol::Tcp6, Protocol::Udp][usize::try_from(kind).unwrap_or(0)];
            let cut = Cut { protocol, size, headers: 0 };
            let place = ChecksumPlace { start, offset: 16 };
            if let Ok(header) = InnerHeader::parse(&octets)
                && let Some(parts) = SuperPacket::parse(&octets, &header, cut, Some(place))
            {
                let mut into = [0; 300];
                for index in 0..=parts.count() {
                    parts.write(index, &mut into);
                }
            }
        }
    }
}
