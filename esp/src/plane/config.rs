//! What callers of the plane say, and what IKE datagrams look like to them.

use std::fmt;
use std::net::SocketAddr;

/// How a plane is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneConfig {
    /// Name of the TUN device, at most 15 octets.
    pub device: String,
    /// MTU of the TUN device, in octets: the largest inner packet.
    pub mtu: u16,
    /// Receive buffer asked for each socket, in octets.
    pub receive_buffer: usize,
    /// Let the kernel hand over, and take, many packets at a time: up to 64 KiB of one TCP stream as one packet of the
    /// device, and equal datagrams as one call of a socket. What a kernel or a path has not is done packet by packet.
    pub offload: bool,
}

impl Default for PlaneConfig {
    fn default() -> Self {
        Self {
            // What scripts and firewall rules made for libipsec expect.
            device: "ipsec0".to_owned(),
            // Fits an Ethernet link with PPPoE and IPv6 outside, whatever the suite; libipsec's number too.
            mtu: 1400,
            // At a gigabit per second some 30 ms of packets, more than the worker is ever kept from reading.
            receive_buffer: 4 << 20,
            offload: true,
        }
    }
}

/// Who a CHILD_SA is to the caller: one inbound and one outbound SA that are queried, moved and removed together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildId({})", self.0)
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Between which addresses and UDP ports an SA's packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Our address, and the port of the socket that is used.
    pub local: SocketAddr,
    /// The peer's address and port, as a NAT may have rewritten them.
    pub remote: SocketAddr,
}

/// The upper bits that every SPI reserved with it has; shards recognise theirs by them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpiPrefix {
    /// The prefix, in the lower `len` bits.
    pub value: u32,
    /// Length in bits, at most 16; 0 is no prefix.
    pub len: u8,
}

/// An IKE message that came in on a socket of the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IkeDatagram<'a> {
    /// Index of the socket among those the plane was started with.
    pub socket: usize,
    /// Our address and port it was sent to.
    pub local: SocketAddr,
    /// The peer's address and port it came from.
    pub remote: SocketAddr,
    /// The whole datagram, the four zero octets of the non-ESP marker (RFC 3948 §2.2) included.
    pub payload: &'a [u8],
}
