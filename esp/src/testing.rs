//! What the tests of several files need.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::checksum::Sum;
use crate::inbound::{InboundParams, InboundSa};
use crate::keys::KeyMaterial;
use crate::outbound::{OutboundParams, OutboundSa};
use crate::packet::Spi;
use crate::selector::{AddressRange, Selector, Selectors};
use crate::sequence::SequenceNumbers;
use crate::suite::{HEADROOM, Suite, TAILROOM};
use crate::tunnel::TunnelOptions;

/// The octets of hexadecimal text, white space ignored.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).expect("a digit")).collect();
    assert_eq!(digits.len() % 2, 0, "an even number of digits");
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}

/// An IPv4 packet with a UDP datagram. The header checksum is right, UDP has none.
pub(crate) fn udp4(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let (source, destination): (SocketAddrV4, SocketAddrV4) =
        (source.parse().expect("address:port"), destination.parse().expect("address:port"));
    let udp = udp(source.port(), destination.port(), payload);
    let len = u16::try_from(20 + udp.len()).expect("short");
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend(source.ip().octets());
    packet.extend(destination.ip().octets());
    let checksum = !sum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(udp);
    packet
}

/// An IPv6 packet with a UDP datagram without checksum.
pub(crate) fn udp6(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let (source, destination): (SocketAddrV6, SocketAddrV6) =
        (source.parse().expect("[address]:port"), destination.parse().expect("[address]:port"));
    let udp = udp(source.port(), destination.port(), payload);
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
    packet[4..6].copy_from_slice(&u16::try_from(udp.len()).expect("short").to_be_bytes());
    packet.extend(source.ip().octets());
    packet.extend(destination.ip().octets());
    packet.extend(udp);
    packet
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("short");
    let mut datagram = Vec::new();
    for field in [source, destination, len, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(payload);
    datagram
}

/// A packet with a TCP segment, all its checksums right.
pub(crate) fn tcp(source: &str, destination: &str, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().expect("address:port"), destination.parse().expect("address:port"));
    let mut segment = Vec::new();
    segment.extend(source.port().to_be_bytes());
    segment.extend(destination.port().to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend([0, 0, 0, 9, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    segment.extend(payload);
    let len = u16::try_from(segment.len()).expect("short");
    let pseudo_header = Sum::default().pseudo_header(source.ip(), destination.ip(), 6, len);
    let checksum = pseudo_header.octets(&segment).checksum();
    segment[16..18].copy_from_slice(&checksum);
    let mut packet = match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            udp4(&source.to_string(), &destination.to_string(), b"")[..20].to_vec()
        }
        (source, destination) => udp6(&source.to_string(), &destination.to_string(), b"")[..40].to_vec(),
    };
    if source.is_ipv4() {
        packet[2..4].copy_from_slice(&(20 + len).to_be_bytes());
        packet[9] = 6;
        packet[10..12].fill(0);
        let checksum = Sum::default().octets(&packet).checksum();
        packet[10..12].copy_from_slice(&checksum);
    } else {
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet[6] = 6;
    }
    packet.extend(segment);
    packet
}

/// The Internet checksum's sum (RFC 1071): 0xffff over a header whose checksum is right.
pub(crate) fn sum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

/// The keys of a suite, every octet `octet`.
pub(crate) fn keys(suite: Suite, octet: u8) -> KeyMaterial {
    KeyMaterial::new(&vec![octet; suite.encryption_key_len()], &vec![octet; suite.integrity_key_len()])
}

/// The addresses with this prefix, any protocol.
pub(crate) fn net(prefix: &str) -> Selector {
    let (address, len) = prefix.split_once('/').expect("address/len");
    let (address, len) = (address.parse().expect("address"), len.parse().expect("length"));
    Selector::addresses(AddressRange::prefix(address, len).expect("prefix"))
}

/// One of `local` with one of `remote`.
pub(crate) fn selectors(local: &[&str], remote: &[&str]) -> Selectors {
    let nets = |prefixes: &[&str]| prefixes.iter().map(|prefix| net(prefix)).collect();
    Selectors { local: nets(local), remote: nets(remote) }
}

/// The two ends of one SA: the sender has 10.1/16 and 2001:db8:1::/48 behind it, the receiver 10.2/16 and
/// 2001:db8:2::/48.
pub(crate) fn ends(
    suite: Suite,
    sequence_numbers: SequenceNumbers,
    tunnel: TunnelOptions,
) -> (OutboundSa, InboundSa) {
    let (ours, theirs) = (["10.1.0.0/16", "2001:db8:1::/48"], ["10.2.0.0/16", "2001:db8:2::/48"]);
    let spi = Spi(0xc001_d00d);
    let outbound = OutboundSa::new(OutboundParams {
        spi,
        suite,
        keys: keys(suite, 7),
        sequence_numbers,
        selectors: selectors(&ours, &theirs),
        tunnel,
    });
    let inbound = InboundSa::new(InboundParams {
        spi,
        suite,
        keys: keys(suite, 7),
        sequence_numbers,
        replay_window: 64,
        selectors: selectors(&theirs, &ours),
        tunnel,
    });
    (outbound.expect("right key lengths"), inbound.expect("right key lengths"))
}

/// Seals a copy of `packet` and gives what would travel.
pub(crate) fn seal(sa: &mut OutboundSa, packet: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; HEADROOM];
    buffer.extend(packet);
    buffer.extend([0; TAILROOM]);
    sa.seal(&mut buffer, HEADROOM..HEADROOM + packet.len()).expect("sealed").octets().to_vec()
}
