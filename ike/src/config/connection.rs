//! One peer, or a kind of peer, and at which addresses it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Child, Label, LocalAuth, RemoteAuth};
use crate::proposal::Proposal;

/// One peer, or a kind of peer: swanctl.conf's `connections.<name>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Versions of IKE.
    pub version: Version,
    /// Addresses of ours it is for; at least one pattern.
    pub local_addrs: Vec<AddressPattern>,
    /// Addresses of the peer; at least one pattern.
    pub remote_addrs: Vec<AddressPattern>,
    /// Local port when we initiate; zero for the endpoint's own.
    pub local_port: u16,
    /// The peer's port when we initiate.
    pub remote_port: u16,
    /// Proposals for the IKE SA, at least one, the best first.
    pub proposals: Vec<Proposal>,
    /// Virtual IPs to ask for; unspecified addresses ask for any.
    pub vips: Vec<IpAddr>,
    /// Pretend a NAT so that ESP is encapsulated in UDP.
    pub encap: bool,
    /// The Differentiated Services codepoint of IKE messages (RFC 2474 §3): six bits.
    pub dscp: u8,
    /// Large messages in fragments.
    pub fragmentation: Fragmentation,
    /// Either end may change its addresses, if the peer wants that too (RFC 4555).
    pub mobike: bool,
    /// Ask whether the peer lives after so long without a sign of it; `None` never asks.
    pub dpd_delay: Option<Duration>,
    /// Whole sequences of retransmissions when initiating; zero for no end.
    pub keyingtries: u32,
    /// Several IKE SAs with the same peer.
    pub unique: Unique,
    /// IKE SAs without a CHILD_SA at first.
    pub childless: Childless,
    /// Whether our certificates are sent.
    pub send_cert: SendCert,
    /// Whether the peer is asked for certificates, and told which authorities we trust.
    pub send_certreq: bool,
    /// Whether OCSP responses go with certificates.
    pub ocsp: InBandOcsp,
    /// When the IKE SA is to be rekeyed; `None` for never.
    pub rekey_time: Option<Duration>,
    /// When the IKE SA is to be made anew with authentication; `None` for never.
    pub reauth_time: Option<Duration>,
    /// How long after the earlier of these the IKE SA ends at the latest.
    pub over_time: Duration,
    /// The most that is taken off these at random.
    pub rand_time: Duration,
    /// Pools that virtual IPs for the peer come from, in order.
    pub pools: Vec<String>,
    /// The XFRM interface that opened packets of its children come by, where they do not say.
    pub interface_in: Option<Label>,
    /// The XFRM interface that packets for its children leave by to be sealed, where they do not say.
    pub interface_out: Option<Label>,
    /// Our rounds of authentication; at least one.
    pub local: Vec<LocalAuth>,
    /// The peer's rounds of authentication; at least one.
    pub remote: Vec<RemoteAuth>,
    /// Its children, in load order.
    pub children: Vec<Arc<Child>>,
}

impl Connection {
    /// The child of that name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Arc<Child>> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Whether an IKE SA of one may go on under the other: they differ in their children at most. Which addresses a name
    /// was found to have does not count, nor do any addresses where the peer may be anybody: they are the IKE SA's own.
    #[must_use]
    pub fn is_same_but_for_children(&self, other: &Self) -> bool {
        let is_for_many = |connection: &Self| connection.remote_addrs.iter().any(AddressPattern::is_of_many);
        let is_of_any_address = is_for_many(self) && is_for_many(other);
        let bare = |connection: &Self| {
            let patterns = |patterns: &[AddressPattern]| match is_of_any_address {
                true => Vec::new(),
                false => patterns.iter().map(AddressPattern::as_configured).collect(),
            };
            Self {
                children: Vec::new(),
                local_addrs: patterns(&connection.local_addrs),
                remote_addrs: patterns(&connection.remote_addrs),
                ..connection.clone()
            }
        };
        bare(self) == bare(other)
    }

    /// How well a pair of addresses fits this connection as responder, in charon's measure; `None`: not at all.
    #[must_use]
    pub fn matches(&self, local: IpAddr, remote: IpAddr) -> Option<u32> {
        let best = |patterns: &[AddressPattern], addr| patterns.iter().filter_map(|p| p.matches(addr)).max();
        let explicit = u32::from(self.version == Version::V2) * 4;
        Some(best(&self.local_addrs, local)? * 8 + best(&self.remote_addrs, remote)? * 16 + explicit)
    }
}

/// Which versions of IKE a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Not said: IKEv2 is what we speak.
    Any,
    /// IKEv2 alone.
    V2,
}

/// An address, or addresses, as `local_addrs` and `remote_addrs` have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressPattern {
    /// `%any`.
    Any,
    /// `%any4`.
    AnyV4,
    /// `%any6`.
    AnyV6,
    /// One address.
    Host(IpAddr),
    /// A prefix and its length.
    Subnet(IpAddr, u8),
    /// From one address to another, both included.
    Range(IpAddr, IpAddr),
    /// A DNS name, and the addresses it had when the snapshot was made.
    Name(String, Vec<IpAddr>),
}

impl AddressPattern {
    /// Whether more than one host may have such an address.
    #[must_use]
    pub const fn is_of_many(&self) -> bool {
        match self {
            Self::Any | Self::AnyV4 | Self::AnyV6 | Self::Subnet(..) | Self::Range(..) => true,
            Self::Host(_) | Self::Name(..) => false,
        }
    }

    /// The same without the addresses that a name was found to have.
    fn as_configured(&self) -> Self {
        match self {
            Self::Name(name, _) => Self::Name(name.clone(), Vec::new()),
            other => other.clone(),
        }
    }

    /// How well an address fits: 129 for the host itself, prefix length + 1 in a subnet, 1 for a range or any.
    #[must_use]
    pub fn matches(&self, addr: IpAddr) -> Option<u32> {
        match self {
            Self::Any => Some(1),
            Self::AnyV4 => addr.is_ipv4().then_some(1),
            Self::AnyV6 => addr.is_ipv6().then_some(1),
            Self::Host(host) => (*host == addr).then_some(129),
            Self::Subnet(network, length) => {
                prefix_contains(*network, *length, addr).then_some(u32::from(*length) + 1)
            }
            Self::Range(from, to) => {
                (from.is_ipv4() == addr.is_ipv4() && *from <= addr && addr <= *to).then_some(1)
            }
            Self::Name(_, addresses) => addresses.contains(&addr).then_some(129),
        }
    }
}

fn prefix_contains(network: IpAddr, length: u8, addr: IpAddr) -> bool {
    match (network, addr) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            n.to_bits() & mask == a.to_bits() & mask
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            n.to_bits() & mask == a.to_bits() & mask
        }
        _ => false,
    }
}

/// What happens when a peer that has an IKE SA makes another (swanctl.conf `unique`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// Both stay, even when the peer says INITIAL_CONTACT.
    Never,
    /// Both stay, unless the peer says INITIAL_CONTACT.
    No,
    /// The new one takes the old one's place.
    Replace,
    /// The new one is refused.
    Keep,
}

/// Whether large messages travel in fragments (RFC 7383, swanctl.conf `fragmentation`). Those of a peer are always
/// put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// In both directions.
    Yes,
    /// The peer may, we do not.
    Accept,
    /// The peer is not told that it may.
    No,
}

/// Whether we send our certificates (swanctl.conf `send_cert`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendCert {
    /// If the peer asks for certificates.
    IfAsked,
    /// Always.
    Always,
    /// Never: the peer has them.
    Never,
}

/// Whether what OCSP responders say of certificates goes with them in IKE (RFC 4806; swanctl.conf `ocsp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InBandOcsp {
    /// It does not.
    Never,
    /// We show it of ours, to a peer that asks.
    Reply,
    /// We ask the peer for it.
    Request,
    /// Both.
    Both,
}

impl InBandOcsp {
    /// A peer that asks is shown what we have.
    #[must_use]
    pub const fn replies(self) -> bool {
        matches!(self, Self::Reply | Self::Both)
    }

    /// The peer is asked.
    #[must_use]
    pub const fn requests(self) -> bool {
        matches!(self, Self::Request | Self::Both)
    }
}

/// Whether IKE SAs are made without a CHILD_SA at first (RFC 6023).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Childless {
    /// As responder, and as initiator where there is no child to make.
    Allow,
    /// The same, and as initiator with every peer that takes it.
    Prefer,
    /// In either role, or not at all.
    Force,
    /// Not as responder.
    Never,
}
