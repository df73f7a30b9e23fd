//! Traffic selectors (RFC 7296 §2.9, §3.13) and how they are narrowed.

use std::net::IpAddr;

/// One traffic selector: packets of a protocol, between two addresses and two ports, both ends included.
///
/// Both addresses are of one family and `start_addr <= end_addr`. Ports `0..=65535` mean any; `65535..=0`
/// means OPAQUE (RFC 7296 §3.13.1). For ICMP the port holds type and code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrafficSelector {
    /// IP protocol; zero for any.
    pub protocol: u8,
    /// First port.
    pub start_port: u16,
    /// Last port.
    pub end_port: u16,
    /// First address.
    pub start_addr: IpAddr,
    /// Last address.
    pub end_addr: IpAddr,
}
