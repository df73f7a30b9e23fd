//! Policies as the kernel has them (RFC 4301 §4.4.1).

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::BitOr;

use crate::prefix::InvalidRange;
use crate::sa::{IpsecProtocol, Limits, Mark, Mode, Usage};
use crate::selector::Selector;

/// What the kernel knows a policy by. The priority is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyId {
    /// Which packets.
    pub selector: Selector,
    /// Which way they go.
    pub direction: PolicyDirection,
    /// Only packets with this mark.
    pub mark: Option<Mark>,
    /// Only packets through the xfrm interface of this number.
    pub interface_id: Option<NonZeroU32>,
    /// In which of the kernel's two databases.
    pub kind: PolicyKind,
}

impl PolicyId {
    /// A policy for all packets of a selector.
    #[must_use]
    pub fn new(selector: Selector, direction: PolicyDirection) -> Self {
        Self { selector, direction, mark: None, interface_id: None, kind: PolicyKind::MAIN }
    }
}

/// A policy. Without templates it lets packets pass as they are, or drops them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What it is known by.
    pub id: PolicyId,
    /// Whether packets pass.
    pub action: Action,
    /// Which policy is taken where several would do: the lowest number.
    pub priority: u32,
    /// What has to be, or to have been, done to packets that pass, the innermost first.
    pub templates: Templates,
    /// Further properties.
    pub flags: PolicyFlags,
    /// When it ends.
    pub limits: Limits,
    /// A network card that looks it up: packet offload of SAs wants it.
    pub offload: Option<u32>,
    /// The number it is to have in the kernel if that is free, of [`Policy::NUMBER_BITS`] bits; `None` for any. By it who
    /// comes later can tell whose it is.
    pub number: Option<u32>,
}

impl Policy {
    /// Bits of a policy's number; the kernel keeps the direction beside it.
    pub const NUMBER_BITS: u32 = 29;

    /// Packets pass with this done to them.
    #[must_use]
    pub fn protect(id: PolicyId, priority: u32, template: Template) -> Self {
        Self { templates: Templates(vec![template]), ..Self::pass(id, priority) }
    }

    /// Packets pass as they are.
    #[must_use]
    pub fn pass(id: PolicyId, priority: u32) -> Self {
        Self {
            id,
            action: Action::Allow,
            priority,
            templates: Templates::default(),
            flags: PolicyFlags::default(),
            limits: Limits::default(),
            offload: None,
            number: None,
        }
    }

    /// Packets are dropped.
    #[must_use]
    pub fn drop(id: PolicyId, priority: u32) -> Self {
        Self { action: Action::Block, ..Self::pass(id, priority) }
    }
}

/// A policy as it is in the kernel at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyEntry {
    /// What was installed.
    pub policy: Policy,
    /// The kernel's number for it.
    pub index: u32,
    /// What went through it.
    pub usage: Usage,
}

impl PolicyEntry {
    /// Its number, as [`Policy::number`] asks for it.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.index >> (u32::BITS - Policy::NUMBER_BITS)
    }
}

/// Which packets a policy is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyDirection {
    /// To this host.
    In,
    /// From this host, or forwarded by it to where they are protected.
    Out,
    /// To be forwarded by this host after they were protected.
    Forward,
}

/// Whether packets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// They pass.
    Allow,
    /// They do not; a local sender is told that it is not permitted.
    Block,
}

/// `XFRM_POLICY_TYPE_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyKind(pub u8);

impl PolicyKind {
    /// The ordinary database.
    pub const MAIN: Self = Self(0);
    /// The one for what is applied before it.
    pub const SUB: Self = Self(1);
}

/// Properties of a policy (`XFRM_POLICY_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PolicyFlags(pub u8);

impl PolicyFlags {
    /// Sockets with policies of their own may go around it.
    pub const LOCAL_OK: Self = Self(1);
    /// ICMP errors about its packets are its packets too.
    pub const ICMP: Self = Self(2);
    /// Each CPU that lacks an SA of its own asks for one (RFC 9611).
    pub const CPU_ACQUIRE: Self = Self(4);
}

impl BitOr for PolicyFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What is done to packets, in order; at most [`Templates::MOST`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Templates(pub(crate) Vec<Template>);

impl Templates {
    /// The kernel's `XFRM_MAX_DEPTH`.
    pub const MOST: usize = 6;

    /// These templates; `None` where they are too many.
    #[must_use]
    pub fn new(templates: &[Template]) -> Option<Self> {
        (templates.len() <= Self::MOST).then(|| Self(templates.to_vec()))
    }

    /// The templates.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.0.iter()
    }
}

/// One SA that a packet goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Template {
    source: IpAddr,
    destination: IpAddr,
    /// ESP or AH.
    pub protocol: IpsecProtocol,
    /// Just this SA; `None` for the newest of its number.
    pub spi: Option<NonZeroU32>,
    /// The number of the SAs that will do; 0 for any.
    pub reqid: u32,
    /// Whether it encapsulates.
    pub mode: Mode,
    /// Inbound: packets that lack it pass as well.
    pub is_optional: bool,
}

impl Template {
    /// SAs of ESP with this number, between two hosts in tunnel and BEET mode. In transport mode the
    /// addresses are the packet's own, and the unspecified one is given here.
    ///
    /// # Errors
    /// When the families differ.
    pub fn new(source: IpAddr, destination: IpAddr, mode: Mode, reqid: u32) -> Result<Self, InvalidRange> {
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(InvalidRange::MixedFamilies { first: source, last: destination });
        }
        let protocol = IpsecProtocol::ESP;
        Ok(Self { source, destination, protocol, spi: None, reqid, mode, is_optional: false })
    }

    /// Where its packets come from.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Where its packets go.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.destination
    }
}

/// What happens to packets that no policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultPolicy {
    /// To packets to this host.
    pub inbound: Action,
    /// To packets that are forwarded.
    pub forward: Action,
    /// To packets from this host.
    pub outbound: Action,
}

/// How many policies there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyCount {
    /// For packets to this host.
    pub inbound: u32,
    /// For packets from this host.
    pub outbound: u32,
    /// For packets that are forwarded.
    pub forward: u32,
    /// Of sockets, inbound.
    pub socket_inbound: u32,
    /// Of sockets, outbound.
    pub socket_outbound: u32,
}
