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

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Placeholder.
    #[error("invalid selector")]
    Invalid,
}

/// A range of ports, or of ICMP types and codes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ports {
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
}

impl Ports {
    /// Every port.
    pub const ANY: Self = Self { start: 0, end: u16::MAX };
    /// Ports that cannot be seen (RFC 7296 §3.13.1).
    pub const OPAQUE: Self = Self { start: u16::MAX, end: 0 };
    /// One port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self { start: port, end: port }
    }
}

/// A traffic selector as a configuration has it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SelectorPattern {
    /// The end of the IKE SA, or its virtual IPs.
    Dynamic {
        /// IP protocol; zero for any.
        protocol: u8,
        /// The ports.
        ports: Ports,
    },
    /// As it stands.
    Fixed(TrafficSelector),
}

impl SelectorPattern {
    /// `dynamic`, all protocols and ports.
    pub const DYNAMIC: Self = Self::Dynamic { protocol: 0, ports: Ports::ANY };
    /// Parses the text of a configuration.
    pub fn parse(_text: &str) -> Result<Self, SelectorError> {
        todo!()
    }
    /// The selectors meant when our or the peer's addresses are these.
    #[must_use]
    pub fn resolve(&self, _addresses: &[IpAddr]) -> Vec<TrafficSelector> {
        todo!()
    }
}
impl std::fmt::Display for SelectorPattern {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
impl std::fmt::Debug for SelectorPattern {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// Address family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl TrafficSelector {
    /// All of a prefix; host bits are cleared. `None` if the prefix is too long for the family.
    #[must_use]
    pub fn from_prefix(_addr: IpAddr, _prefix: u8) -> Option<Self> {
        todo!()
    }
    /// All of one address.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Self { protocol: 0, start_port: 0, end_port: u16::MAX, start_addr: addr, end_addr: addr }
    }
    /// 0.0.0.0/0.
    #[must_use]
    pub fn any_v4() -> Self {
        todo!()
    }
    /// ::/0.
    #[must_use]
    pub fn any_v6() -> Self {
        todo!()
    }
    /// The same addresses, for one protocol and its ports.
    #[must_use]
    pub fn with(self, _protocol: u8, _ports: Ports) -> Self {
        todo!()
    }
    /// The ports.
    #[must_use]
    pub fn ports(&self) -> Ports {
        todo!()
    }
    /// The family of the addresses.
    #[must_use]
    pub fn family(&self) -> Family {
        todo!()
    }
    /// True if every packet of `other` is one of `self`.
    #[must_use]
    pub fn contains(&self, _other: &Self) -> bool {
        todo!()
    }
    /// The packets of both.
    #[must_use]
    pub fn intersect(&self, _other: &Self) -> Option<Self> {
        todo!()
    }
    /// True if the address lies between the two.
    #[must_use]
    pub fn includes_address(&self, _addr: IpAddr) -> bool {
        todo!()
    }
    /// True if `addr` is the only address.
    #[must_use]
    pub fn is_host(&self, _addr: IpAddr) -> bool {
        todo!()
    }
    /// Network and prefix length, if the addresses are exactly a prefix.
    #[must_use]
    pub fn to_prefix(&self) -> Option<(IpAddr, u8)> {
        todo!()
    }
}
impl std::fmt::Display for TrafficSelector {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
impl std::fmt::Debug for TrafficSelector {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// The responder's narrowing (RFC 7296 §2.9): what both allow, the initiator's first choice first. Empty: refuse.
#[must_use]
pub fn narrow(_configured: &[TrafficSelector], _offered: &[TrafficSelector]) -> Vec<TrafficSelector> {
    todo!()
}

/// The initiator's check of the answer: not empty, and nothing that was not offered.
#[must_use]
pub fn is_subset(_answered: &[TrafficSelector], _offered: &[TrafficSelector]) -> bool {
    todo!()
}
