//! The plane between a device and the loopback interface. A pair of datagram sockets stands for the TUN device: like
//! it, it gives and takes one packet with each read and write, and before each what is left to do for it.
#![expect(clippy::indexing_slicing, reason = "a test that goes wrong shall panic")]

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use ferry_esp::plane::{
    Acquired, ChildId, Direction, DropReason, Event, InstallError, Path, Plane, PlaneConfig, PolicyAction,
    PolicyId, SpiPrefix,
};
use ferry_esp::{
    AddressRange, CopyDscp, Flow, HEADROOM, InboundParams, InboundSa, KeyError, KeyMaterial, Limit, Limits,
    OutboundParams, OutboundSa, Sealed, Selector, Selectors, SequenceNumbers, Spi, Suite, TAILROOM,
    TunnelOptions,
};

/// Far longer than anything here takes; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(20);

const SUITE: Suite = Suite::ChaCha20Poly1305;
const CHILD: ChildId = ChildId(1);
const SPI_TO_PLANE: Spi = Spi(0x1000_0001);
const SPI_TO_PEER: Spi = Spi(0x2000_0001);

/// The networks behind the plane, and behind the peer.
const OURS: [&str; 2] = ["10.1.0.0/16", "2001:db8:1::/48"];
const THEIRS: [&str; 2] = ["10.2.0.0/16", "2001:db8:2::/48"];

/// Octets of a `virtio_net_hdr`.
const HEADER: usize = 10;

type IkeMessage = (usize, SocketAddr, SocketAddr, Vec<u8>);

/// A plane, the other end of its device, and what it tells.
struct Gateway<D = UnixDatagram> {
    plane: Plane,
    device: D,
    address: SocketAddr,
    ike: Receiver<IkeMessage>,
    events: Receiver<Event>,
}

impl Gateway {
    fn new(bind: &str) -> Self {
        let (device, inside) = UnixDatagram::pair().expect("a socket pair");
        inside.set_nonblocking(true).expect("non-blocking");
        device.set_read_timeout(Some(PATIENCE)).expect("timeout");
        Self::on_device(bind, device, inside.into(), &PlaneConfig::default())
    }
}

impl<D> Gateway<D> {
    fn on_device(bind: &str, device: D, inside: OwnedFd, config: &PlaneConfig) -> Self {
        let socket = UdpSocket::bind(bind).expect("a loopback address");
        let address = socket.local_addr().expect("bound");
        let (ike_sender, ike) = mpsc::channel();
        let (event_sender, events) = mpsc::channel();
        let plane = Plane::start_on(
            inside,
            config,
            vec![socket],
            move |datagram| {
                let message = (datagram.socket, datagram.local, datagram.remote, datagram.payload.to_vec());
                ike_sender.send(message).ok();
            },
            move |event| {
                event_sender.send(event).ok();
            },
        )
        .expect("the plane starts");
        Self { plane, device, address, ike, events }
    }

    fn add_child(
        &self,
        child: ChildId,
        inbound: Spi,
        outbound: Spi,
        remote: SocketAddr,
        tunnel: TunnelOptions,
    ) {
        let path = Path { local: self.address, remote };
        let selectors = || selectors(&OURS, &THEIRS);
        let (inbound, outbound) =
            (inbound_params(inbound, selectors(), tunnel), outbound_params(outbound, selectors(), tunnel));
        self.plane.add_inbound(child, inbound, path, Limits::default()).expect("in");
        self.plane.add_outbound(child, outbound, path, Limits::default(), None).expect("out");
    }
}

impl Gateway {
    /// Sends a packet into the tunnel.
    fn inject(&self, packet: &[u8]) {
        self.inject_with([0; HEADER], packet);
    }

    /// The same, with what is left to do for it.
    fn inject_with(&self, header: [u8; HEADER], packet: &[u8]) {
        self.device.send(&[&header, packet].concat()).expect("the device takes it");
    }

    /// The next packet that comes out of the tunnel; nothing is left to do for it.
    fn emerged(&self) -> Vec<u8> {
        let (header, packet) = self.emerged_with();
        assert_eq!(header, [0; HEADER]);
        packet
    }

    /// The next that comes out of the tunnel, and what is left to do for it.
    fn emerged_with(&self) -> ([u8; HEADER], Vec<u8>) {
        let mut buffer = vec![0; 2 * 65_536];
        let len = self.device.recv(&mut buffer).expect("a packet comes out");
        (buffer[..HEADER].try_into().expect("a header"), buffer[HEADER..len].to_vec())
    }

    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.plane.stats().dropped(reason)
    }
}

/// A peer without a plane: its packets are made and looked at by hand.
struct Peer {
    socket: UdpSocket,
    address: SocketAddr,
    outbound: OutboundSa,
    inbound: InboundSa,
}

impl Peer {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback address");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let address = socket.local_addr().expect("bound");
        let tunnel = TunnelOptions::default();
        let outbound = OutboundSa::new(outbound_params(SPI_TO_PLANE, selectors(&THEIRS, &OURS), tunnel));
        let inbound = InboundSa::new(inbound_params(SPI_TO_PEER, selectors(&THEIRS, &OURS), tunnel));
        Self { socket, address, outbound: outbound.expect("keys fit"), inbound: inbound.expect("keys fit") }
    }

    /// A gateway that has an SA with this peer.
    fn with_gateway() -> (Self, Gateway) {
        let (peer, gateway) = (Self::new(), Gateway::new("127.0.0.1:0"));
        gateway.add_child(CHILD, SPI_TO_PLANE, SPI_TO_PEER, peer.address, TunnelOptions::default());
        (peer, gateway)
    }

    fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        let mut buffer = [vec![0; HEADROOM], inner.to_vec(), vec![0; TAILROOM]].concat();
        let sealed = self.outbound.seal(&mut buffer, HEADROOM..HEADROOM + inner.len());
        sealed.expect("sealed").octets().to_vec()
    }

    fn send(&mut self, inner: &[u8], to: &Gateway) {
        let packet = self.seal(inner);
        self.socket.send_to(&packet, to.address).expect("sent");
    }

    fn receive_sealed(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let (len, from) = self.socket.recv_from(&mut buffer).expect("a datagram");
        (buffer[..len].to_vec(), from)
    }

    fn receive(&mut self) -> Vec<u8> {
        let (mut packet, _) = self.receive_sealed();
        let opened = self.inbound.open(Sealed::parse(&mut packet).expect("long enough")).expect("opens");
        self.inbound.admit(opened, 0).expect("admitted").octets().to_vec()
    }
}

fn keys(spi: Spi) -> KeyMaterial {
    let octet = spi.0.to_be_bytes()[0];
    KeyMaterial::new(&vec![octet; SUITE.encryption_key_len()], &[])
}

fn inbound_params(spi: Spi, selectors: Selectors, tunnel: TunnelOptions) -> InboundParams {
    let sequence_numbers = SequenceNumbers::Short;
    InboundParams {
        spi,
        suite: SUITE,
        keys: keys(spi),
        sequence_numbers,
        replay_window: 64,
        selectors,
        tunnel,
    }
}

fn outbound_params(spi: Spi, selectors: Selectors, tunnel: TunnelOptions) -> OutboundParams {
    let sequence_numbers = SequenceNumbers::Short;
    OutboundParams { spi, suite: SUITE, keys: keys(spi), sequence_numbers, selectors, tunnel }
}

fn selectors(local: &[&str], remote: &[&str]) -> Selectors {
    let side = |prefixes: &[&str]| {
        let range = |prefix: &&str| {
            let (address, len) = prefix.split_once('/').expect("address/len");
            AddressRange::prefix(address.parse().expect("address"), len.parse().expect("len"))
                .expect("prefix")
        };
        prefixes.iter().map(range).map(Selector::addresses).collect()
    };
    Selectors { local: side(local), remote: side(remote) }
}

/// An IPv4 packet of protocol 253 (for experiments); the checksum is not looked at on the way.
fn ipv4(source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).expect("short").to_be_bytes();
    let mut packet = vec![0x45, 0, len[0], len[1], 0, 0, 0, 0, 64, 253, 0, 0];
    packet.extend(source);
    packet.extend(destination);
    packet.extend(payload);
    packet
}

fn to_peer(payload: &[u8]) -> Vec<u8> {
    ipv4([10, 1, 0, 1], [10, 2, 0, 1], payload)
}

fn from_peer(payload: &[u8]) -> Vec<u8> {
    ipv4([10, 2, 0, 1], [10, 1, 0, 1], payload)
}

/// Two planes with a child between them.
fn two_planes(bind: &str) -> (Gateway, Gateway) {
    let (left, right) = (Gateway::new(bind), Gateway::new(bind));
    left.add_child(CHILD, SPI_TO_PLANE, SPI_TO_PEER, right.address, TunnelOptions::default());
    let path = Path { local: right.address, remote: left.address };
    let selectors = || selectors(&THEIRS, &OURS);
    let (tunnel, limits) = (TunnelOptions::default(), Limits::default());
    right
        .plane
        .add_inbound(CHILD, inbound_params(SPI_TO_PEER, selectors(), tunnel), path, limits)
        .expect("in");
    let outbound = outbound_params(SPI_TO_PLANE, selectors(), tunnel);
    right.plane.add_outbound(CHILD, outbound, path, limits, None).expect("out");
    (left, right)
}

#[test]
fn packets_travel_between_two_planes() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let (left, right) = two_planes(bind);

        let before = Instant::now();
        for n in 0..100 {
            let (there, back) =
                (to_peer(&vec![n; 13 * usize::from(n)]), from_peer(&vec![n; 1400 - usize::from(n)]));
            left.inject(&there);
            assert_eq!(right.emerged(), there);
            right.inject(&back);
            assert_eq!(left.emerged(), back);
        }
        let used = left.plane.query(CHILD).expect("known");
        assert_eq!((used.packets_out, used.packets_in), (100, 100));
        assert_eq!(used.bytes_out, (0..100).map(|n| 20 + 13 * n).sum::<u64>());
        assert_eq!(used.bytes_in, (0..100).map(|n| 1420 - n).sum::<u64>());
        assert!(used.last_in.is_some_and(|last| before <= last && last <= Instant::now()));
        assert!(used.last_out.is_some_and(|last| before <= last));
        assert!(left.plane.stats().iter().all(|(_, count)| count == 0));
        assert_eq!(left.plane.remove(CHILD).map(|used| used.packets_out), Some(100));
        assert_eq!(left.plane.query(CHILD), None);
    }
}

#[test]
fn the_largest_packets_travel() {
    let (mut peer, gateway) = Peer::with_gateway();
    // A UDP datagram holds 65507 octets; the suite takes 8 + 8 + 2 + 16 and at most 3 for alignment.
    let there = to_peer(&vec![0xaa; 65_507 - 37 - 20]);
    gateway.inject(&there);
    assert_eq!(peer.receive(), there);
    let back = from_peer(&vec![0xbb; 65_507 - 37 - 20]);
    peer.send(&back, &gateway);
    assert_eq!(gateway.emerged(), back);
}

/// A TCP segment from our network into the peer's, with ACK and PSH, as the kernel leaves it to a network card: its
/// checksum field is the sum of the pseudo-header.
fn unfinished_segment(payload: &[u8]) -> Vec<u8> {
    let tcp_len = u16::try_from(20 + payload.len()).expect("short");
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1];
    packet[2..4].copy_from_slice(&(20 + tcp_len).to_be_bytes());
    let header_sum = !sum(&packet);
    packet[10..12].copy_from_slice(&header_sum.to_be_bytes());
    let mut segment = vec![0, 7, 0, 9, 0, 0, 0, 100, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0];
    let pseudo_header = [&packet[12..20], &[0, 6], &tcp_len.to_be_bytes()].concat();
    segment[16..18].copy_from_slice(&sum(&pseudo_header).to_be_bytes());
    [packet, segment, payload.to_vec()].concat()
}

/// The sum of 16-bit words (RFC 1071).
fn sum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    words.fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// True if the checksum of the TCP segment in an IPv4 packet is right.
fn is_tcp_right(packet: &[u8]) -> bool {
    let tcp_len = u16::try_from(packet.len() - 20).expect("short");
    sum(&[&packet[12..20], &[0, 6], &tcp_len.to_be_bytes(), &packet[20..]].concat()) == 0xffff
}

/// "The TCP checksum at 20 + 16 is to be completed", and, with a size, "it is to be cut".
fn to_do(size: u16) -> [u8; HEADER] {
    let mut header = [1, u8::from(size > 0), 0, 0, 0, 0, 0, 0, 0, 0];
    header[4..6].copy_from_slice(&size.to_ne_bytes());
    if size > 0 {
        header[2..4].copy_from_slice(&40_u16.to_ne_bytes());
    }
    header[6..8].copy_from_slice(&20_u16.to_ne_bytes());
    header[8..10].copy_from_slice(&16_u16.to_ne_bytes());
    header
}

#[test]
fn what_the_kernel_leaves_to_do_is_done() {
    let (mut peer, gateway) = Peer::with_gateway();
    let payload: Vec<u8> = (0..=255).cycle().take(60_000).collect();
    gateway.inject_with(to_do(0), &unfinished_segment(b"one segment"));
    let one = peer.receive();
    assert!(is_tcp_right(&one) && one[40..] == *b"one segment");

    gateway.inject_with(to_do(1000), &unfinished_segment(&payload));
    let mut came = Vec::new();
    for number in 0..60_u32 {
        let packet = peer.receive();
        assert_eq!((packet.len(), sum(&packet[..20])), (1040, 0xffff));
        assert_eq!(packet[24..28], (100 + 1000 * number).to_be_bytes());
        assert_eq!(packet[33] & 8 != 0, number == 59, "the last one alone pushes");
        assert!(is_tcp_right(&packet));
        came.extend_from_slice(&packet[40..]);
    }
    assert!(came == payload);
    let used = gateway.plane.query(CHILD).expect("known");
    assert_eq!((used.packets_out, used.bytes_out), (61, 51 + 60 * 1040));
    assert_eq!(gateway.plane.stats().iter().map(|(_, count)| count).sum::<u64>(), 0);
}

#[test]
fn a_stream_is_one_packet_at_both_ends_of_a_tunnel() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let (left, right) = two_planes(bind);
        let payload: Vec<u8> = (0..=255).cycle().take(40_500).collect();
        let packet = unfinished_segment(&payload);
        left.inject_with(to_do(1000), &packet);
        let (header, joined) = right.emerged_with();
        assert_eq!(header, to_do(1000));
        assert!(joined == packet, "{bind}");
        let used = right.plane.query(CHILD).expect("known");
        assert_eq!((used.packets_in, used.bytes_in), (41, 41 * 40 + 40_500));

        // What is not of that stream stays behind it.
        left.inject_with(to_do(1000), &packet);
        left.inject(&to_peer(b"after it"));
        assert!(right.emerged_with().1 == packet);
        assert_eq!(right.emerged(), to_peer(b"after it"));
        assert!(left.plane.stats().iter().chain(right.plane.stats().iter()).all(|(_, count)| count == 0));
    }
}

#[test]
fn parts_that_are_lost_are_counted_one_by_one() {
    let (mut peer, gateway) = Peer::with_gateway();
    let mut elsewhere = unfinished_segment(&[7; 3000]);
    elsewhere[16..20].copy_from_slice(&[192, 0, 2, 1]);
    gateway.inject_with(to_do(1000), &elsewhere);
    gateway.inject_with([0, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0], &to_peer(b"what kind is that?"));
    gateway.inject_with(to_do(1000), &to_peer(b"not TCP"));
    gateway.device.send(b"short").expect("the device takes it");
    gateway.inject(&to_peer(b"good"));
    assert_eq!(peer.receive(), to_peer(b"good"));
    assert_eq!(gateway.dropped(DropReason::OutboundNoPolicy), 3);
    assert_eq!(gateway.dropped(DropReason::OutboundMalformed), 3);
}

#[test]
fn a_stream_waits_in_a_trap_packet_by_packet() {
    let (mut peer, gateway) = (Peer::new(), Gateway::new("127.0.0.1:0"));
    gateway.plane.add_policy(TRAP, selectors(&OURS, &THEIRS), PolicyAction::Trap).expect("added");
    gateway.inject_with(to_do(1000), &unfinished_segment(&[7; 2000]));
    assert!(matches!(gateway.event(), Event::Acquire { policy: TRAP, .. }));
    gateway.add_child(CHILD, SPI_TO_PLANE, SPI_TO_PEER, peer.address, TunnelOptions::default());
    gateway.plane.settle(TRAP, Acquired::Made);
    for _ in 0..2 {
        let packet = peer.receive();
        assert!(packet.len() == 1040 && is_tcp_right(&packet));
    }
    assert!(gateway.events.try_recv().is_err(), "one SA was asked for");
}

#[test]
fn a_device_without_headers_has_whole_packets() {
    let mut peer = Peer::new();
    let (device, inside) = UnixDatagram::pair().expect("a socket pair");
    inside.set_nonblocking(true).expect("non-blocking");
    device.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let config = PlaneConfig { offload: false, ..PlaneConfig::default() };
    let gateway = Gateway::on_device("127.0.0.1:0", device, inside.into(), &config);
    gateway.add_child(CHILD, SPI_TO_PLANE, SPI_TO_PEER, peer.address, TunnelOptions::default());
    gateway.device.send(&to_peer(b"there")).expect("the device takes it");
    assert_eq!(peer.receive(), to_peer(b"there"));
    peer.send(&from_peer(b"back"), &gateway);
    let mut buffer = [0; 100];
    let len = gateway.device.recv(&mut buffer).expect("a packet comes out");
    assert_eq!(buffer[..len], from_peer(b"back"));
}

#[test]
fn nothing_without_a_policy_is_sent() {
    let (mut peer, gateway) = Peer::with_gateway();
    gateway.inject(&ipv4([10, 1, 0, 1], [192, 0, 2, 1], b"elsewhere"));
    gateway.inject(&ipv4([10, 9, 0, 1], [10, 2, 0, 1], b"not from here"));
    gateway.inject(b"not a packet");
    let good = to_peer(b"good");
    gateway.inject(&good);
    assert_eq!(peer.receive(), good, "the first datagram is the good packet's");
    assert_eq!(gateway.dropped(DropReason::OutboundNoPolicy), 2);
    assert_eq!(gateway.dropped(DropReason::OutboundMalformed), 1);
    gateway.plane.remove(CHILD).expect("known");
    gateway.inject(&good);
    // Packets pass in order, so the one after the dropped one proves that it was dropped.
    gateway.add_child(ChildId(2), SPI_TO_PLANE, Spi(0x2000_0002), peer.address, TunnelOptions::default());
    gateway.inject(&good);
    let (packet, _) = peer.receive_sealed();
    assert_eq!(packet[..4], 0x2000_0002_u32.to_be_bytes());
}

#[test]
fn ike_and_keepalives_are_told_apart_from_esp() {
    let (peer, gateway) = (Peer::new(), Gateway::new("0.0.0.0:0"));
    let to = SocketAddr::from(([127, 0, 0, 1], gateway.address.port()));
    for datagram in [&[0xff][..], &[], &[1, 2, 3], &[0, 0, 0, 0, 7, 7, 7]] {
        peer.socket.send_to(datagram, to).expect("sent");
    }
    let (socket, local, remote, payload) = gateway.ike.recv_timeout(PATIENCE).expect("the IKE datagram");
    assert_eq!(
        (socket, local, remote),
        (0, to, peer.address),
        "the address it was sent to, not the one bound"
    );
    assert_eq!(payload, [0, 0, 0, 0, 7, 7, 7]);
    assert_eq!(gateway.dropped(DropReason::InboundTooShort), 2);
}

#[test]
fn what_does_not_verify_is_counted_and_dropped() {
    let (mut peer, gateway) = Peer::with_gateway();
    let good = peer.seal(&from_peer(b"good"));
    let mut forged = peer.seal(&from_peer(b"forged"));
    forged[20] ^= 1;
    let mut unknown = peer.seal(&from_peer(b"unknown"));
    unknown[0] ^= 1;
    let outside = peer.seal(&ipv4([10, 3, 0, 1], [10, 1, 0, 1], b"outside"));
    let mut buffer = [0; 200];
    let dummy = peer.outbound.seal_dummy(&mut buffer, 50..90).expect("sealed").octets().to_vec();
    let last = peer.seal(&from_peer(b"last"));
    for packet in [&good, &forged, &unknown, &good, &outside, &dummy, &last[..25].to_vec(), &last] {
        peer.socket.send_to(packet, gateway.address).expect("sent");
    }
    assert_eq!(gateway.emerged(), from_peer(b"good"));
    assert_eq!(gateway.emerged(), from_peer(b"last"));
    for reason in [
        DropReason::InboundForged,
        DropReason::InboundUnknownSpi,
        DropReason::InboundReplayed,
        DropReason::InboundOutsideSelectors,
        DropReason::InboundDummy,
        DropReason::InboundTooShort,
    ] {
        assert_eq!(gateway.dropped(reason), 1, "{reason}");
    }
    let used = gateway.plane.query(CHILD).expect("known");
    assert_eq!(used.packets_in, 4, "all that verified, whatever became of it");
}

#[test]
fn an_sa_is_there_for_the_first_packet() {
    let (mut peer, gateway) = (Peer::new(), Gateway::new("127.0.0.1:0"));
    for round in 0..200 {
        gateway.add_child(ChildId(round), SPI_TO_PLANE, SPI_TO_PEER, peer.address, TunnelOptions::default());
        let inner = from_peer(&round.to_be_bytes());
        peer.send(&inner, &gateway);
        assert_eq!(gateway.emerged(), inner);
        gateway.plane.remove(ChildId(round)).expect("known");
    }
}

#[test]
fn a_moved_peer_is_told_once_and_followed_when_asked() {
    let (mut peer, gateway) = Peer::with_gateway();
    peer.send(&from_peer(b"here"), &gateway);
    gateway.emerged();
    let old = peer.address;
    let elsewhere = UdpSocket::bind("127.0.0.1:0").expect("a loopback address");
    elsewhere.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let new = elsewhere.local_addr().expect("bound");

    let delayed = peer.seal(&from_peer(b"delayed"));
    let mut forged = peer.seal(&from_peer(b"forged"));
    forged[30] ^= 1;
    let moved: Vec<Vec<u8>> = (0..3).map(|_| peer.seal(&from_peer(b"moved"))).collect();
    elsewhere.send_to(&forged, gateway.address).expect("sent");
    for packet in &moved {
        elsewhere.send_to(packet, gateway.address).expect("sent");
        gateway.emerged();
    }
    assert_eq!(
        gateway.event(),
        Event::PeerMoved { child: CHILD, spi: SPI_TO_PLANE, local: gateway.address, from: old, to: new }
    );
    assert!(gateway.events.try_recv().is_err(), "told once");

    gateway.plane.update_path(CHILD, Path { local: gateway.address, remote: new }).expect("known");
    // A packet that was on its way when the peer moved does not move it back.
    peer.socket.send_to(&delayed, gateway.address).expect("sent");
    gateway.emerged();
    gateway.inject(&to_peer(b"follows"));
    let mut buffer = [0; 2000];
    let (_, from) = elsewhere.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(from, gateway.address);
    assert!(gateway.events.try_recv().is_err());
}

#[test]
fn limits_are_told_and_the_hard_one_holds() {
    let (mut peer, gateway) = (Peer::new(), Gateway::new("127.0.0.1:0"));
    let path = Path { local: gateway.address, remote: peer.address };
    let (selectors, tunnel) = (selectors(&OURS, &THEIRS), TunnelOptions::default());
    let limits = Limits { soft_packets: Some(1), hard_packets: Some(2), ..Limits::default() };
    let outbound = outbound_params(SPI_TO_PEER, selectors.clone(), tunnel);
    gateway.plane.add_outbound(CHILD, outbound, path, limits, None).expect("out");
    let limits = Limits { hard_bytes: Some(10), ..Limits::default() };
    gateway
        .plane
        .add_inbound(CHILD, inbound_params(SPI_TO_PLANE, selectors, tunnel), path, limits)
        .expect("in");

    for n in 0..3 {
        gateway.inject(&to_peer(&[n]));
    }
    assert_eq!((peer.receive(), peer.receive()), (to_peer(&[0]), to_peer(&[1])));
    let reached = |spi, direction, limit| Event::LimitReached { child: CHILD, spi, direction, limit };
    assert_eq!(gateway.event(), reached(SPI_TO_PEER, Direction::Outbound, Limit::Soft));
    assert_eq!(gateway.event(), reached(SPI_TO_PEER, Direction::Outbound, Limit::Hard));

    peer.send(&from_peer(b"reaches the limit and passes"), &gateway);
    assert_eq!(gateway.emerged(), from_peer(b"reaches the limit and passes"));
    peer.send(&from_peer(b"too much"), &gateway);
    assert_eq!(gateway.event(), reached(SPI_TO_PLANE, Direction::Inbound, Limit::Hard));
    // What comes after on the same socket proves that the packet was looked at.
    peer.socket.send_to(&[0, 0, 0, 0], gateway.address).expect("sent");
    gateway.ike.recv_timeout(PATIENCE).expect("the IKE datagram");
    assert_eq!(gateway.dropped(DropReason::InboundLimit), 1);
    assert_eq!(gateway.dropped(DropReason::OutboundLimit), 1);
}

#[test]
fn the_newest_child_sends() {
    let (peer, gateway) = Peer::with_gateway();
    let spi_on_the_wire = || {
        gateway.inject(&to_peer(b"who sends?"));
        let (packet, _) = peer.receive_sealed();
        u32::from_be_bytes(packet[..4].try_into().expect("4 octets"))
    };
    assert_eq!(spi_on_the_wire(), SPI_TO_PEER.0);
    gateway.add_child(ChildId(2), Spi(0x1000_0002), Spi(0x2000_0002), peer.address, TunnelOptions::default());
    assert_eq!(spi_on_the_wire(), 0x2000_0002);
    gateway.plane.remove(ChildId(2)).expect("known");
    assert_eq!(spi_on_the_wire(), SPI_TO_PEER.0);
}

#[test]
fn the_traffic_class_travels_beside_the_packet() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        // The receiver takes over the outer DSCP, so it shows whether the sender set it.
        for (sends, arrives) in [(CopyDscp::Out, 0xb8), (CopyDscp::No, 0)] {
            let (left, right) = (Gateway::new(bind), Gateway::new(bind));
            let tunnel = TunnelOptions { copy_dscp: sends, ..TunnelOptions::default() };
            left.add_child(CHILD, SPI_TO_PLANE, SPI_TO_PEER, right.address, tunnel);
            let path = Path { local: right.address, remote: left.address };
            let tunnel = TunnelOptions { copy_dscp: CopyDscp::In, ..TunnelOptions::default() };
            let params = inbound_params(SPI_TO_PEER, selectors(&THEIRS, &OURS), tunnel);
            right.plane.add_inbound(CHILD, params, path, Limits::default()).expect("in");
            let mut inner = to_peer(b"marked");
            inner[1] = 0xb8 | 2;
            left.inject(&inner);
            assert_eq!(right.emerged()[1], arrives | 2, "{sends:?} on {bind}");
        }
    }
}

#[test]
fn what_cannot_be_installed_is_refused_with_a_reason() {
    let (peer, gateway) = Peer::with_gateway();
    let path = Path { local: gateway.address, remote: peer.address };
    let (tunnel, limits) = (TunnelOptions::default(), Limits::default());
    let selectors = || selectors(&OURS, &THEIRS);
    let plane = &gateway.plane;

    let error =
        plane.add_inbound(ChildId(2), inbound_params(SPI_TO_PLANE, selectors(), tunnel), path, limits);
    assert!(matches!(error, Err(InstallError::SpiInUse(SPI_TO_PLANE))));
    let error = plane.add_inbound(CHILD, inbound_params(Spi(0x9999), selectors(), tunnel), path, limits);
    assert!(matches!(error, Err(InstallError::ChildInUse { direction: Direction::Inbound, .. })));
    let error = plane.add_inbound(ChildId(2), inbound_params(Spi(7), selectors(), tunnel), path, limits);
    assert!(matches!(error, Err(InstallError::ReservedSpi(Spi(7)))));
    let short = OutboundParams {
        keys: KeyMaterial::new(&[0; 32], &[]),
        ..outbound_params(SPI_TO_PEER, selectors(), tunnel)
    };
    let error = plane.add_outbound(ChildId(2), short, path, limits, None);
    assert!(matches!(
        error,
        Err(InstallError::Key(KeyError::EncryptionLength { expected: 36, got: 32, .. }))
    ));
    let v6 = Path {
        local: "[::1]:4500".parse().expect("address"),
        remote: "[::1]:4501".parse().expect("address"),
    };
    let error =
        plane.add_outbound(ChildId(2), outbound_params(SPI_TO_PEER, selectors(), tunnel), v6, limits, None);
    assert_eq!(
        error.map_err(|error| error.to_string()),
        Err("none of the plane's sockets can send from [::1]:4500 to [::1]:4501".to_owned())
    );
    assert!(matches!(plane.update_path(ChildId(2), path), Err(InstallError::UnknownChild(ChildId(2)))));
    assert_eq!(plane.remove(ChildId(2)), None);
}

#[test]
fn reserved_spis_are_used_and_released() {
    let (peer, gateway) = (Peer::new(), Gateway::new("127.0.0.1:0"));
    let prefix = SpiPrefix { value: 1, len: 1 };
    let spi = gateway.plane.reserve_spi(prefix).expect("room");
    assert_eq!(spi.0 >> 31, 1);
    let path = Path { local: gateway.address, remote: peer.address };
    let params = inbound_params(spi, selectors(&OURS, &THEIRS), TunnelOptions::default());
    gateway.plane.add_inbound(CHILD, params, path, Limits::default()).expect("reserved for it");
    gateway.plane.release_spi(spi);
    let params = inbound_params(spi, selectors(&OURS, &THEIRS), TunnelOptions::default());
    let error = gateway.plane.add_inbound(ChildId(2), params, path, Limits::default());
    assert!(matches!(error, Err(InstallError::SpiInUse(_))), "an SPI in use is not released");
}

#[test]
fn the_handle_may_be_shared() {
    let gateway = Gateway::new("127.0.0.1:0");
    let plane = &gateway.plane;
    let spis: HashSet<Spi> = thread::scope(|scope| {
        let reserve =
            || (0..50).map(|_| plane.reserve_spi(SpiPrefix::default()).expect("room")).collect::<Vec<Spi>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(reserve)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(spis.len(), 200, "no SPI is given out twice");
}

#[test]
fn a_lost_device_is_told_and_ike_goes_on() {
    let mut peer = Peer::new();
    let (device, inside) = UnixStream::pair().expect("a socket pair");
    inside.set_nonblocking(true).expect("non-blocking");
    let gateway = Gateway::on_device("127.0.0.1:0", device, inside.into(), &PlaneConfig::default());
    gateway.add_child(CHILD, SPI_TO_PLANE, SPI_TO_PEER, peer.address, TunnelOptions::default());
    let Gateway { plane, device, address, ike, events } = gateway;
    drop(device);
    let packet = peer.seal(&from_peer(b"nowhere to go"));
    peer.socket.send_to(&packet, address).expect("sent");
    assert!(matches!(events.recv_timeout(PATIENCE), Ok(Event::DeviceLost { .. })));
    peer.socket.send_to(&[0, 0, 0, 0, 1], address).expect("sent");
    assert_eq!(ike.recv_timeout(PATIENCE).expect("the IKE datagram").3, [0, 0, 0, 0, 1]);
    assert_eq!(plane.stats().dropped(DropReason::InboundDeviceRefused), 1);
}

#[test]
fn dropping_the_plane_ends_everything() {
    let (_peer, gateway) = Peer::with_gateway();
    let Gateway { plane, device, address, ike, events } = gateway;
    drop(plane);
    assert!(device.send(b"x").is_err(), "the device is closed");
    assert!(ike.recv().is_err() && events.recv().is_err(), "the callbacks are gone");
    UdpSocket::bind(address).expect("the port is free again");
}

const TRAP: PolicyId = PolicyId(7);

/// The flow of the packet that [`to_peer`] makes.
fn acquire() -> Event {
    let flow = Flow {
        source: "10.1.0.1".parse().expect("address"),
        destination: "10.2.0.1".parse().expect("address"),
        protocol: Some(253),
        ports: None,
    };
    Event::Acquire { policy: TRAP, flow }
}

#[test]
fn packets_wait_in_a_trap_until_there_is_an_sa() {
    let (mut peer, gateway) = (Peer::new(), Gateway::new("127.0.0.1:0"));
    gateway.plane.add_policy(TRAP, selectors(&OURS, &THEIRS), PolicyAction::Trap).expect("added");
    for payload in [b"one", b"two"] {
        gateway.inject(&to_peer(payload));
    }
    gateway.inject(&ipv4([10, 1, 0, 1], [192, 0, 2, 1], b"elsewhere"));
    assert_eq!(gateway.event(), acquire());
    gateway.add_child(CHILD, SPI_TO_PLANE, SPI_TO_PEER, peer.address, TunnelOptions::default());
    gateway.plane.settle(TRAP, Acquired::Made);
    // In their order, once each, and what comes later after them.
    assert_eq!([peer.receive(), peer.receive()], [to_peer(b"one"), to_peer(b"two")]);
    gateway.inject(&to_peer(b"three"));
    assert_eq!(peer.receive(), to_peer(b"three"));
    assert!(gateway.events.try_recv().is_err(), "one SA was asked for");

    // The trap stays when the SA goes, and nothing leaves without one.
    gateway.plane.remove(CHILD).expect("known");
    gateway.inject(&to_peer(b"four"));
    assert_eq!(gateway.event(), acquire());
    gateway.plane.settle(TRAP, Acquired::Failed);
    while gateway.dropped(DropReason::OutboundTrapped) == 0 {
        thread::yield_now();
    }
    gateway.plane.remove_policy(TRAP);
    gateway.inject(&to_peer(b"five"));
    while gateway.dropped(DropReason::OutboundNoPolicy) < 2 {
        thread::yield_now();
    }
    assert_eq!(gateway.plane.stats().iter().map(|(_, count)| count).sum::<u64>(), 3);
}

#[test]
fn what_a_policy_drops_is_dropped_unless_an_sa_carries_it() {
    let (mut peer, gateway) = Peer::with_gateway();
    gateway
        .plane
        .add_policy(TRAP, selectors(&["10.0.0.0/8"], &["0.0.0.0/0"]), PolicyAction::Drop)
        .expect("added");
    gateway.inject(&ipv4([10, 1, 0, 1], [192, 0, 2, 1], b"elsewhere"));
    gateway.inject(&to_peer(b"good"));
    assert_eq!(peer.receive(), to_peer(b"good"));
    assert_eq!(gateway.dropped(DropReason::OutboundDiscarded), 1);
}

#[test]
fn the_first_packet_is_told_where_that_is_wanted() {
    let (mut peer, gateway) = Peer::with_gateway();
    gateway.plane.tell_first_received(CHILD);
    peer.send(&from_peer(b"one"), &gateway);
    assert_eq!(gateway.event(), Event::FirstReceived { child: CHILD });
    peer.send(&from_peer(b"two"), &gateway);
    for payload in [b"one", b"two"] {
        assert_eq!(gateway.emerged(), from_peer(payload));
    }
    assert!(gateway.events.try_recv().is_err());
    gateway.plane.tell_first_received(CHILD);
    assert_eq!(gateway.event(), Event::FirstReceived { child: CHILD }, "it has been received before");
}
