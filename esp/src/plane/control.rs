//! Socket addresses and control messages as the kernel lays them out, in octets, without `unsafe`.
//!
//! A control buffer is a sequence of `struct cmsghdr { size_t len; int level; int type; }`, each followed by its data
//! and padded to the size of a `size_t` (cmsg(3)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{
    AF_INET, AF_INET6, IP_PKTINFO, IP_TOS, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO, IPV6_TCLASS, c_int,
};

const WORD: usize = size_of::<usize>();
const HEADER_LEN: usize = WORD + 2 * size_of::<c_int>();
/// Room for an address and a traffic class, each with its header, in the longer form of IPv6, with some to spare.
const CONTROL_LEN: usize = 128;

/// A buffer of control messages.
#[repr(C, align(8))]
pub(super) struct Control {
    octets: [u8; CONTROL_LEN],
    len: usize,
}

/// What arrived beside a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Our address it was sent to, and the interface for an IPv6 link-local one.
    pub(super) local: Option<(IpAddr, u32)>,
    /// DSCP and ECN; 0 if the kernel did not say.
    pub(super) traffic_class: u8,
    /// Octets of each datagram but the last, where several came at once.
    pub(super) segment: Option<usize>,
}

impl Control {
    /// An empty buffer.
    pub(super) const fn new() -> Self {
        Self { octets: [0; CONTROL_LEN], len: 0 }
    }

    /// What has to be said beside a datagram that shall leave from `local` with this traffic class.
    pub(super) fn departure(local: SocketAddr, traffic_class: u8) -> Self {
        let mut control = Self::new();
        let class = c_int::from(traffic_class).to_ne_bytes();
        match local {
            SocketAddr::V4(local) => {
                // struct in_pktinfo { int ifindex; in_addr spec_dst; in_addr addr; }: spec_dst is the source.
                let mut info = [0; 12];
                put(&mut info, 4, &local.ip().octets());
                control.push(IPPROTO_IP, IP_PKTINFO, &info);
                control.push(IPPROTO_IP, IP_TOS, &class);
            }
            SocketAddr::V6(local) => {
                // struct in6_pktinfo { in6_addr addr; unsigned ifindex; }
                let mut info = [0; 20];
                put(&mut info, 0, &local.ip().octets());
                put(&mut info, 16, &local.scope_id().to_ne_bytes());
                control.push(IPPROTO_IPV6, IPV6_PKTINFO, &info);
                control.push(IPPROTO_IPV6, IPV6_TCLASS, &class);
            }
        }
        control
    }

    /// Lets the kernel cut what is sent into datagrams of `size` octets.
    pub(super) fn cut_into(&mut self, size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }

    /// Reads what the kernel wrote.
    pub(super) fn arrival(&self) -> Arrival {
        let mut arrival = Arrival::default();
        let mut rest = self.octets.get(..self.len).unwrap_or_default();
        while let Some((len, level, kind)) = read_header(rest) {
            let Some(data) = rest.get(HEADER_LEN..len) else { break };
            match (level, kind) {
                (IPPROTO_IP, IP_PKTINFO) => {
                    arrival.local = data.get(4..8).and_then(to_v4).map(|address| (address, 0));
                }
                (IPPROTO_IPV6, IPV6_PKTINFO) => {
                    let interface =
                        data.get(16..20).and_then(|octets| octets.try_into().ok()).map(u32::from_ne_bytes);
                    arrival.local = data.get(..16).and_then(to_v6).zip(interface);
                }
                // One octet here, although the same option takes an int when sending.
                (IPPROTO_IP, IP_TOS) => arrival.traffic_class = data.first().copied().unwrap_or(0),
                (IPPROTO_IPV6, IPV6_TCLASS) => {
                    let class = data.first_chunk().map_or(0, |octets| c_int::from_ne_bytes(*octets));
                    arrival.traffic_class = u8::try_from(class).unwrap_or(0);
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = data.first_chunk().map_or(0, |octets| c_int::from_ne_bytes(*octets));
                    arrival.segment = usize::try_from(size).ok().filter(|size| *size > 0);
                }
                // Other options may have been set on the socket by its owner.
                _ => {}
            }
            let Some(next) = rest.get(len.next_multiple_of(WORD)..) else { break };
            rest = next;
        }
        arrival
    }

    /// The buffer as the kernel may read or fill it, and how much of it counts.
    pub(super) fn parts_mut(&mut self) -> (&mut [u8], &mut usize) {
        (&mut self.octets, &mut self.len)
    }

    fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let at = self.len;
        put(&mut self.octets, at, &(HEADER_LEN + data.len()).to_ne_bytes());
        put(&mut self.octets, at + WORD, &level.to_ne_bytes());
        put(&mut self.octets, at + WORD + size_of::<c_int>(), &kind.to_ne_bytes());
        put(&mut self.octets, at + HEADER_LEN, data);
        self.len = at + (HEADER_LEN + data.len()).next_multiple_of(WORD);
    }
}

/// Length (header included), level and type of the message at the start of `octets`.
fn read_header(octets: &[u8]) -> Option<(usize, c_int, c_int)> {
    let (len, rest) = octets.split_first_chunk()?;
    let (level, rest) = rest.split_first_chunk()?;
    let kind = rest.first_chunk()?;
    let len = usize::from_ne_bytes(*len);
    (HEADER_LEN..=octets.len()).contains(&len).then_some((
        len,
        c_int::from_ne_bytes(*level),
        c_int::from_ne_bytes(*kind),
    ))
}

/// A `struct sockaddr_in` or `sockaddr_in6`.
#[repr(C, align(8))]
pub(super) struct RawAddress {
    octets: [u8; RawAddress::CAPACITY],
    len: u32,
}

impl RawAddress {
    /// Size of the longer of the two.
    pub(super) const CAPACITY: usize = 28;

    /// Room for an address the kernel will write.
    pub(super) const fn empty() -> Self {
        Self { octets: [0; Self::CAPACITY], len: 28 }
    }

    /// The address as octets, and how many of them count.
    pub(super) fn parts_mut(&mut self) -> (&mut [u8], &mut u32) {
        (&mut self.octets, &mut self.len)
    }

    /// The address the kernel wrote, if it is of the Internet.
    pub(super) fn read(&self) -> Option<SocketAddr> {
        let family = c_int::from(u16::from_ne_bytes([self.octets[0], self.octets[1]]));
        let port = u16::from_be_bytes([self.octets[2], self.octets[3]]);
        match family {
            AF_INET if self.len >= 16 => Some(SocketAddr::new(to_v4(self.octets.get(4..8)?)?, port)),
            AF_INET6 if self.len >= 28 => {
                let IpAddr::V6(address) = to_v6(self.octets.get(8..24)?)? else { return None };
                let scope = u32::from_ne_bytes(self.octets.get(24..28)?.try_into().ok()?);
                Some(SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope)))
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        let mut raw = Self::empty();
        put(&mut raw.octets, 2, &address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => raw.write_v4(v4),
            SocketAddr::V6(v6) => raw.write_v6(v6),
        }
        raw
    }
}

impl RawAddress {
    fn write_v4(&mut self, address: SocketAddrV4) {
        self.write_family(AF_INET);
        put(&mut self.octets, 4, &address.ip().octets());
        self.len = 16;
    }

    fn write_v6(&mut self, address: SocketAddrV6) {
        self.write_family(AF_INET6);
        put(&mut self.octets, 8, &address.ip().octets());
        put(&mut self.octets, 24, &address.scope_id().to_ne_bytes());
        self.len = 28;
    }

    fn write_family(&mut self, family: c_int) {
        put(&mut self.octets, 0, &u16::try_from(family).unwrap_or(0).to_ne_bytes());
    }
}

fn to_v4(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
}

fn to_v6(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 16]>::try_from(octets).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
}

/// Copies `octets` to `at`, as far as there is room.
fn put(into: &mut [u8], at: usize, octets: &[u8]) {
    for (place, octet) in into.iter_mut().skip(at).zip(octets) {
        *place = *octet;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address:port")
    }

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["192.0.2.1:4500", "[2001:db8::1]:4500", "[fe80::1%3]:500"] {
            assert_eq!(RawAddress::from(address(text)).read(), Some(address(text)));
        }
    }

    #[test]
    fn other_families_and_short_addresses_are_nothing() {
        let mut raw = RawAddress::from(address("192.0.2.1:4500"));
        raw.len = 8;
        assert_eq!(raw.read(), None);
        let mut raw = RawAddress::from(address("[::1]:4500"));
        raw.write_family(libc::AF_UNIX);
        assert_eq!(raw.read(), None);
    }

    #[test]
    fn what_departs_would_arrive() {
        let v6 = Control::departure(address("[fe80::1%3]:4500"), 0xba).arrival();
        assert_eq!(v6.local.map(|(ip, scope)| (ip.to_string(), scope)), Some(("fe80::1".into(), 3)));
        assert_eq!(v6.traffic_class, 0xba);
        // For IPv4 the class is an int going out; its first octet is what comes in, on this machine's byte order.
        let v4 = Control::departure(address("192.0.2.1:4500"), 0x02).arrival();
        assert_eq!(v4.local, Some(("192.0.2.1".parse().expect("address"), 0)));
        if cfg!(target_endian = "little") {
            assert_eq!(v4.traffic_class, 2);
        }
    }

    #[test]
    fn the_size_of_datagrams_that_came_at_once_is_read() {
        let mut control = Control::departure(address("[2001:db8::1]:4500"), 1);
        control.push(libc::SOL_UDP, libc::UDP_GRO, &1452_i32.to_ne_bytes());
        assert_eq!(control.arrival().segment, Some(1452));
        let mut control = Control::departure(address("192.0.2.1:4500"), 1);
        assert_eq!(control.arrival().segment, None);
        control.push(libc::SOL_UDP, libc::UDP_GRO, &0_i32.to_ne_bytes());
        assert_eq!(control.arrival().segment, None);
    }

    #[test]
    fn broken_control_messages_end_the_reading() {
        let mut control = Control::departure(address("[::1]:1"), 3);
        for len in 0..control.len {
            control.len = len;
            let arrival = control.arrival();
            assert!(len >= HEADER_LEN + 20 || arrival == Arrival::default());
        }
        put(&mut control.octets, 0, &usize::MAX.to_ne_bytes());
        control.len = CONTROL_LEN;
        assert_eq!(control.arrival(), Arrival::default());
        put(&mut control.octets, 0, &0_usize.to_ne_bytes());
        assert_eq!(control.arrival(), Arrival::default());
    }
}
