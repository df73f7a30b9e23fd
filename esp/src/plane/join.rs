//! Joining what came in order: segments of one TCP stream become one packet with one header, which the kernel takes as it
//! takes one from a network card that joins by itself.
//!
//! Whoever cuts the joined packet again gets the packets that came: only those are joined that differ in nothing but
//! what cutting puts there, and whose checksums are right, since the kernel will compute them anew.

use std::net::IpAddr;
use std::ops::Range;

use super::cut::{
    ACK, PSH, TCP, TCP_CHECKSUM, TCP_FLAGS, TCP_OFFSET, TCP_SEQUENCE, V4_CHECKSUM, V4_ID, V4_LENGTH,
    V6_HEADER, V6_LENGTH, get, set,
};
use super::virtio::{ChecksumPlace, Cut, Offload, Protocol};
use crate::checksum::Sum;

/// The most packets that are joined; no more segments come with one datagram.
pub(super) const MOST: usize = 64;

const V4_HEADER: usize = 20;
const DONT_FRAGMENT: u8 = 0x40;

/// Packets in a buffer that are one stream's, one after the other.
pub(super) struct Run {
    /// Where the first packet is, and the payloads of the others.
    places: [Range<usize>; MOST],
    count: usize,
    first: Segment,
    /// The sequence number that would come next.
    next: u32,
    /// Octets of the joined packet.
    len: usize,
    /// Checksums of the first are right, which is looked at when a second comes.
    is_verified: bool,
    /// Nothing more may follow.
    is_closed: bool,
    /// Flags of the last.
    flags: u8,
}

/// What is known of a TCP segment that may be joined.
#[derive(Clone, Copy, Debug)]
struct Segment {
    upper: usize,
    headers: usize,
    len: usize,
    sequence: u32,
    flags: u8,
}

impl Segment {
    /// Reads a packet; `None` for one that is never joined.
    #[inline]
    fn parse(packet: &[u8]) -> Option<Self> {
        let upper = match packet {
            // No options, and no fragment.
            [0x45, _, _, _, _, _, fragment, offset, _, TCP, ..]
                if fragment & !DONT_FRAGMENT == 0 && *offset == 0 =>
            {
                V4_HEADER
            }
            [first, _, _, _, _, _, TCP, ..] if first >> 4 == 6 => V6_HEADER,
            _ => return None,
        };
        let tcp = packet.get(upper..)?;
        let headers = upper + usize::from(tcp.get(TCP_OFFSET)? >> 4).max(5) * 4;
        let flags = *tcp.get(TCP_FLAGS)?;
        let sequence = u32::from_be_bytes(get(tcp, TCP_SEQUENCE)?);
        let is_plain = flags & !PSH == ACK && headers < packet.len();
        is_plain.then_some(Self { upper, headers, len: packet.len(), sequence, flags })
    }

    const fn payload(&self) -> usize {
        self.len - self.headers
    }

    /// Source and destination of the packet it was read from.
    fn addresses(&self, packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
        if self.upper == V4_HEADER {
            Some((get::<4>(packet, 12)?.into(), get::<4>(packet, 16)?.into()))
        } else {
            Some((get::<16>(packet, 8)?.into(), get::<16>(packet, 24)?.into()))
        }
    }

    fn pseudo_header(&self, packet: &[u8], len: usize) -> Option<Sum> {
        let (source, destination) = self.addresses(packet)?;
        let len = u16::try_from(len - self.upper).ok()?;
        Some(Sum::default().pseudo_header(source, destination, TCP, len))
    }

    /// Both checksums are right.
    fn is_intact(&self, packet: &[u8]) -> bool {
        let (ip, tcp) = packet.split_at(self.upper.min(packet.len()));
        let is_ip_intact = self.upper != V4_HEADER || Sum::default().octets(ip).is_right();
        let sum = self.pseudo_header(packet, packet.len());
        is_ip_intact && sum.is_some_and(|sum| sum.octets(tcp).is_right())
    }
}

impl Run {
    /// No packets.
    pub(super) fn new() -> Self {
        let first = Segment { upper: 0, headers: 0, len: 0, sequence: 0, flags: 0 };
        Self {
            places: std::array::from_fn(|_| 0..0),
            count: 0,
            first,
            next: 0,
            len: 0,
            is_verified: false,
            is_closed: false,
            flags: 0,
        }
    }

    /// How many packets it holds.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Takes the packet at `place` of the buffer if it continues what is there, or begins if there is nothing.
    #[inline]
    pub(super) fn take(&mut self, buffer: &[u8], place: Range<usize>) -> bool {
        let Some(packet) = buffer.get(place.clone()) else { return false };
        let Some(segment) = Segment::parse(packet) else { return false };
        if self.count == 0 {
            // What ends with PSH is followed by nothing of its own.
            if segment.flags & PSH != 0 {
                return false;
            }
            self.first = segment;
            (self.len, self.flags) = (segment.len, segment.flags);
            (self.is_verified, self.is_closed) = (false, false);
            self.put(place, &segment);
            return true;
        }
        let Some(first) = self.places.first().and_then(|place| buffer.get(place.clone())) else {
            return false;
        };
        let continues = !self.is_closed
            && segment.sequence == self.next
            && segment.payload() <= self.first.payload()
            && self.len + segment.payload() <= usize::from(u16::MAX)
            && self.matches(first, &segment, packet)
            && (self.is_verified || self.first.is_intact(first));
        if !continues || !segment.is_intact(packet) {
            return false;
        }
        self.is_verified = true;
        self.is_closed =
            segment.payload() < self.first.payload() || segment.flags & PSH != 0 || self.count + 1 == MOST;
        self.len += segment.payload();
        self.flags = segment.flags;
        self.put(place.start + segment.headers..place.end, &segment);
        true
    }

    fn put(&mut self, place: Range<usize>, segment: &Segment) {
        if let Some(free) = self.places.get_mut(self.count) {
            *free = place;
            self.count += 1;
        }
        let payload = u32::try_from(segment.payload()).unwrap_or(0);
        self.next = segment.sequence.wrapping_add(payload);
    }

    /// The headers are the same but for what cutting puts there.
    fn matches(&self, first: &[u8], segment: &Segment, packet: &[u8]) -> bool {
        let same = |range: Range<usize>| packet.get(range.clone()) == first.get(range);
        let (upper, headers) = (self.first.upper, self.first.headers);
        if (segment.upper, segment.headers) != (upper, headers) {
            return false;
        }
        let is_same_ip = if upper == V4_HEADER {
            let id = |packet| get(packet, V4_ID).map(u16::from_be_bytes);
            let number = u16::try_from(self.count).unwrap_or(0);
            // RFC 6864 §4.1: with DF the identification means nothing.
            let is_next = first.get(6).is_some_and(|flags| flags & DONT_FRAGMENT != 0)
                || id(packet) == id(first).map(|id| id.wrapping_add(number));
            same(0..2) && is_next && same(6..10) && same(12..20)
        } else {
            same(0..4) && same(6..40)
        };
        // Ports; acknowledgement and header length; window; urgent pointer and options.
        let tcp = |from: usize, to: usize| same(upper + from..upper + to);
        is_same_ip && tcp(0, 4) && tcp(8, 13) && tcp(14, 16) && same(upper + 18..headers)
    }

    /// Makes the packets one: writes its header into the buffer over the first packet's, and says what the kernel has
    /// to do with it. What belongs together is at [`places`](Self::places).
    pub(super) fn join(&self, buffer: &mut [u8]) -> Option<Offload> {
        if self.count < 2 {
            return Some(Offload::default());
        }
        let first = buffer.get_mut(self.places.first()?.clone())?;
        let Segment { upper, headers, .. } = self.first;
        if upper == V4_HEADER {
            set(first, V4_LENGTH, u16::try_from(self.len).ok()?.to_be_bytes())?;
            set(first, V4_CHECKSUM, [0; 2])?;
            let checksum = Sum::default().octets(first.get(..upper)?).checksum();
            set(first, V4_CHECKSUM, checksum)?;
        } else {
            set(first, V6_LENGTH, u16::try_from(self.len - upper).ok()?.to_be_bytes())?;
        }
        set(first, upper + TCP_FLAGS, [self.flags])?;
        let sum = self.first.pseudo_header(first, self.len)?.fold();
        set(first, upper + TCP_CHECKSUM, sum)?;
        let cut = Cut {
            protocol: if upper == V4_HEADER { Protocol::Tcp4 } else { Protocol::Tcp6 },
            size: u16::try_from(self.first.payload()).ok()?,
            headers: u16::try_from(headers).ok()?,
        };
        let (start, offset) = (u16::try_from(upper).ok()?, u16::try_from(TCP_CHECKSUM).ok()?);
        Some(Offload { cut: Some(cut), checksum: Some(ChecksumPlace { start, offset }) })
    }

    /// Where the parts of the joined packet are, in their order.
    pub(super) fn places(&self) -> impl Iterator<Item = Range<usize>> {
        self.places.iter().take(self.count).cloned()
    }

    /// Lets go of all.
    pub(super) const fn clear(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inner::InnerHeader;
    use crate::plane::cut::SuperPacket;
    use crate::testing::{tcp, udp4};

    const A: &str = "10.1.0.1:1";
    const B: &str = "10.2.0.1:2";

    /// Lays packets out with gaps, as they lie when they were opened in place, and gives them to a run one by one. What
    /// it makes of those it takes, and how many those are.
    fn join(packets: &[Vec<u8>]) -> (Vec<u8>, Offload, usize) {
        let (mut buffer, mut run) = (Vec::new(), Run::new());
        for packet in packets {
            buffer.extend([0xee; 16]);
            let start = buffer.len();
            buffer.extend(packet);
            if !run.take(&buffer, start..buffer.len()) {
                break;
            }
        }
        let offload = run.join(&mut buffer).expect("is joined");
        let octets = run.places().flat_map(|place| buffer[place].to_vec()).collect();
        (octets, offload, run.count())
    }

    /// What the kernel makes of a joined packet.
    fn cut(packet: &[u8], offload: Offload) -> Vec<Vec<u8>> {
        let header = InnerHeader::parse(packet).expect("a packet");
        let cut = offload.cut.expect("to be cut");
        let parts = SuperPacket::parse(packet, &header, cut, offload.checksum).expect("can be cut");
        let one = |index| {
            let mut octets = vec![0; parts.len(index)];
            parts.write(index, &mut octets).expect("there is room");
            octets
        };
        (0..parts.count()).map(one).collect()
    }

    /// `count` packets of one stream, with `size` octets each.
    fn stream(from: &str, to: &str, count: usize, size: usize) -> Vec<Vec<u8>> {
        let payload: Vec<u8> = (0..=255).cycle().take(count * size).collect();
        let whole = tcp(from, to, 0xffff_ff00, ACK | PSH, &payload);
        let protocol = if whole[0] == 0x45 { Protocol::Tcp4 } else { Protocol::Tcp6 };
        let size = u16::try_from(size).expect("short");
        let offload = Offload { cut: Some(Cut { protocol, size, headers: 0 }), checksum: None };
        cut(&whole, offload)
    }

    #[test]
    fn what_was_cut_is_joined_and_cut_again() {
        for (from, to) in [(A, B), ("[2001:db8:1::1]:1", "[2001:db8:2::1]:2")] {
            let packets = stream(from, to, 5, 1000);
            let (joined, offload, count) = join(&packets);
            assert_eq!(count, 5);
            let place = offload.checksum.expect("a checksum to complete");
            assert_eq!(cut(&joined, offload), packets, "{from}");
            let mut completed = joined.clone();
            crate::plane::cut::complete_checksum(&mut completed, place, Some(TCP)).expect("there");
            assert!(Segment::parse(&completed).expect("plain").is_intact(&completed), "{from}");
        }
    }

    #[test]
    fn one_packet_stays_as_it_is() {
        let packets = stream(A, B, 2, 100);
        assert_eq!(join(&packets[..1]), (packets[0].clone(), Offload::default(), 1));
    }

    #[test]
    fn a_short_packet_or_a_push_is_the_last() {
        let packets = stream(A, B, 3, 1000);
        let after_push = [packets.clone(), stream(A, B, 3, 1000)].concat();
        assert_eq!(join(&after_push).2, 3);
        let short = tcp(A, B, 0xffff_ff00_u32.wrapping_add(1000), ACK, &[1; 10]);
        let after = tcp(A, B, 0xffff_ff00_u32.wrapping_add(1010), ACK, &[1; 10]);
        let mut first = packets[0].clone();
        first[6] = DONT_FRAGMENT;
        let fix = |packet: &mut Vec<u8>| {
            packet[6] = DONT_FRAGMENT;
            packet[10..12].fill(0);
            let checksum = Sum::default().octets(&packet[..20]).checksum();
            packet[10..12].copy_from_slice(&checksum);
        };
        let mut all = [first, short, after];
        all.iter_mut().for_each(fix);
        assert_eq!(join(&all).2, 2);
    }

    #[test]
    fn nothing_is_joined_that_cutting_would_not_give_back() {
        let packets = stream(A, B, 2, 100);
        let differs_at = |at: usize| {
            let mut second = packets[1].clone();
            second[at] ^= 1;
            // Both checksums are right again, so that it is the field that is looked at.
            second[10..12].fill(0);
            let ip = Sum::default().octets(&second[..20]).checksum();
            second[10..12].copy_from_slice(&ip);
            second[36..38].fill(0);
            let segment = Segment { upper: 20, headers: 40, len: 140, sequence: 0, flags: 0 };
            let sum = segment.pseudo_header(&second, 140).expect("short").octets(&second[20..]).checksum();
            second[36..38].copy_from_slice(&sum);
            join(&[packets[0].clone(), second]).2
        };
        // Class, identification, TTL, addresses, ports, sequence, acknowledgement, reserved bits, flags, window, urgent.
        for at in [1, 5, 8, 15, 19, 21, 23, 27, 31, 32, 33, 35, 39] {
            assert_eq!(differs_at(at), 1, "octet {at}");
        }
        assert_eq!(differs_at(50), 2, "another payload is all the same");
    }

    #[test]
    fn a_wrong_checksum_is_not_made_right() {
        let packets = stream(A, B, 2, 100);
        for (which, at) in [(0, 10), (0, 60), (1, 11), (1, 36), (1, 60)] {
            let mut changed = packets.clone();
            changed[which][at] ^= 1;
            assert_eq!(join(&changed).2, 1, "packet {which}, octet {at}");
        }
    }

    #[test]
    fn other_packets_are_left_alone() {
        for packet in [
            udp4(A, B, &[1; 100]),
            tcp(A, B, 1, ACK, b""),
            tcp(A, B, 1, ACK | PSH, &[1; 100]),
            tcp(A, B, 1, ACK | 2, &[1; 100]),
            vec![],
            vec![0x45],
            vec![0x60; 30],
        ] {
            assert_eq!(join(std::slice::from_ref(&packet)).2, 0, "{packet:02x?}");
        }
    }

    #[test]
    fn no_more_than_a_packet_holds() {
        assert_eq!(join(&stream(A, B, 70, 200)).2, MOST);
        // 65 535 octets hold 46 times 1400 and a header, not 47 times.
        let (joined, _, count) = join(&stream(A, B, 46, 1400));
        assert_eq!((joined.len(), count), (40 + 46 * 1400, 46));
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4),
            v6: bool,
        ) {
            let mut packets = packets;
            for packet in &mut packets {
                for (place, octet) in packet.iter_mut().zip([if v6 { 0x60 } else { 0x45 }]) {
                    *place = octet;
                }
                for at in [6, 9] {
                    packet.get_mut(at).into_iter().for_each(|octet| *octet = TCP);
                }
                packet.get_mut(53).into_iter().for_each(|octet| *octet = ACK);
            }
            let _ = join(&packets);
        }
    }
}
