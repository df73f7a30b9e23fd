//! Security associations as the kernel has them (RFC 4301 §4.4.2).

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::BitOr;
use std::time::{Duration, SystemTime};

use crate::algorithm::Protection;
use crate::selector::Selector;

/// What the kernel knows an SA by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SaId {
    /// Where its packets go.
    pub destination: IpAddr,
    /// ESP or AH.
    pub protocol: IpsecProtocol,
    /// The SPI; 0 in a larval SA, which waits for one. The kernel itself would take 0 from us.
    pub spi: u32,
    /// An SA with a mark is found only by packets that have it, and by requests that name it.
    pub mark: Option<Mark>,
}

/// An SA without its keys, as it is asked for and as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sa {
    /// What it is known by.
    pub id: SaId,
    /// Where its packets come from: of the same family as the destination.
    pub source: IpAddr,
    /// Which policies it serves. One number for all SAs of a CHILD_SA, kept over rekeys.
    pub reqid: u32,
    /// Whether it encapsulates.
    pub mode: Mode,
    /// Whose packets it takes, where the policy leaves that open. `None` in tunnel mode, together
    /// with [`SaFlags::ANY_FAMILY`]: without that flag the kernel makes it all packets of the SA's
    /// family. The inner hosts in BEET mode.
    pub selector: Option<Selector>,
    /// UDP or TCP around ESP.
    pub encapsulation: Option<Encapsulation>,
    /// Whether its packets come in or go out. Told only to kernels that know of it (6.10), which
    /// then check more.
    pub direction: Option<SaDirection>,
    /// How far behind the newest a packet may come; of no use going out.
    pub replay_window: ReplayWindow,
    /// 64-bit sequence numbers (RFC 4303 §2.2.1).
    pub has_extended_sequence: bool,
    /// When it is to be replaced, and when it ends.
    pub limits: Limits,
    /// Further properties.
    pub flags: SaFlags,
    /// Still further properties.
    pub extra_flags: SaExtraFlags,
    /// The xfrm interface it belongs to.
    pub interface_id: Option<NonZeroU32>,
    /// What the packets' mark becomes.
    pub output_mark: Option<Mark>,
    /// The CPU it is for (RFC 9611). The kernel wants the direction with it.
    pub cpu: Option<u32>,
    /// Octets that ESP packets in tunnel mode are padded to.
    pub padding: Option<u32>,
    /// A network card that does its work.
    pub offload: Option<Offload>,
    /// The care-of address of Mobile IPv6.
    pub care_of: Option<IpAddr>,
    /// At most how often the kernel tells of packets from elsewhere, of an SA that comes in by UDP.
    pub mapping_interval: Option<Duration>,
    /// The number of the acquire it answers: the kernel then forgets the larval SA made for that.
    pub acquire: u32,
}

impl Sa {
    /// An SA without anything that could be left out: no encapsulation, limits or marks, 32-bit
    /// sequence numbers that are not checked for replay.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr, protocol: IpsecProtocol, spi: u32, mode: Mode) -> Self {
        Self {
            id: SaId { destination, protocol, spi, mark: None },
            source,
            reqid: 0,
            mode,
            selector: None,
            encapsulation: None,
            direction: None,
            replay_window: ReplayWindow::NONE,
            has_extended_sequence: false,
            limits: Limits::default(),
            flags: if mode == Mode::TUNNEL { SaFlags::ANY_FAMILY } else { SaFlags::default() },
            extra_flags: SaExtraFlags::default(),
            interface_id: None,
            output_mark: None,
            cpu: None,
            padding: None,
            offload: None,
            care_of: None,
            mapping_interval: None,
            acquire: 0,
        }
    }
}

/// An SA as it is in the kernel at a moment. Has no `Debug`, because it holds the keys.
pub struct SaEntry {
    /// What was installed.
    pub sa: Sa,
    /// Algorithms and keys. `None`: a larval SA, a number reserved for one.
    pub protection: Option<Protection>,
    /// What went through it.
    pub usage: Usage,
    /// The last packet; not every kernel tells.
    pub last_used: Option<SystemTime>,
    /// Where its sequence numbers are.
    pub replay: ReplayState,
    /// What it dropped.
    pub drops: Drops,
}

/// IPsec protocol, by its IP protocol number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpsecProtocol(pub u8);

impl IpsecProtocol {
    /// Any, in what is asked of all SAs.
    pub const ANY: Self = Self(255);
    /// RFC 4303.
    pub const ESP: Self = Self(50);
    /// RFC 4302.
    pub const AH: Self = Self(51);
    /// RFC 3173.
    pub const IPCOMP: Self = Self(108);
}

/// `XFRM_MODE_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mode(pub u8);

impl Mode {
    /// Between two hosts (RFC 4301 §4.1).
    pub const TRANSPORT: Self = Self(0);
    /// IP in IP.
    pub const TUNNEL: Self = Self(1);
    /// Tunnel semantics with a transport format: the inner addresses are the SA's selector.
    pub const BEET: Self = Self(4);
    /// IP traffic flow security (RFC 9347).
    pub const IPTFS: Self = Self(5);
}

/// Which way an SA goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaDirection {
    /// To us.
    In,
    /// From us.
    Out,
}

/// A firewall mark and the bits of it that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The mark.
    pub value: u32,
    /// Its bits that count, or that are set.
    pub mask: u32,
}

/// UDP or TCP around ESP. Ports as on the wire: of an inbound SA the source is the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encapsulation {
    /// What is around it.
    pub kind: EncapsulationKind,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// `UDP_ENCAP_ESPINUDP`, `TCP_ENCAP_ESPINTCP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncapsulationKind(pub u16);

impl EncapsulationKind {
    /// RFC 3948.
    pub const UDP: Self = Self(2);
    /// RFC 8229.
    pub const TCP: Self = Self(7);
}

/// Packets behind the newest that are still taken (RFC 4303 §3.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ReplayWindow(u16);

impl ReplayWindow {
    /// No check for replay.
    pub const NONE: Self = Self(0);
    /// The widest the kernel has.
    pub const WIDEST: Self = Self(4096);

    /// A window of this many packets; `None` beyond [`ReplayWindow::WIDEST`].
    #[must_use]
    pub fn new(packets: u32) -> Option<Self> {
        u16::try_from(packets).ok().map(Self).filter(|window| window.0 <= Self::WIDEST.0)
    }

    /// Its width in packets.
    #[must_use]
    pub fn packets(self) -> u16 {
        self.0
    }
}

/// Where an SA's sequence numbers are. What moves an SA to other addresses without the kernel's help
/// has to take it along, or sends numbers, and with them nonces, a second time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayState {
    /// The last number sent.
    pub sent: u64,
    /// The highest number received.
    pub received: u64,
    /// Which of those before the highest came, in words of 32 as the kernel keeps them.
    pub seen: Vec<u32>,
}

/// Properties of an SA (`XFRM_STATE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SaFlags(pub u8);

impl SaFlags {
    /// Congestion marks stay inside (no RFC 6040).
    pub const NO_ECN: Self = Self(1);
    /// Inbound: the outer header's DSCP is copied to the inner.
    pub const DECAP_DSCP: Self = Self(2);
    /// Outbound: the inner header's DF bit is not copied.
    pub const NO_PMTU_DISCOVERY: Self = Self(4);
    /// Inbound: whatever the source.
    pub const WILD_RECEIVE: Self = Self(8);
    /// ICMP errors about packets of this SA are taken through it.
    pub const ICMP: Self = Self(16);
    /// Tunnel mode: IPv4 in IPv6 and the reverse.
    pub const ANY_FAMILY: Self = Self(32);
    /// AH over IPv4 is aligned to 4 octets.
    pub const ALIGN4: Self = Self(64);
    /// Extended sequence numbers; [`Sa::has_extended_sequence`] stands for it.
    pub(crate) const EXTENDED_SEQUENCE: Self = Self(128);

    /// Whether all of these are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for SaFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// More properties of an SA (`XFRM_SA_XFLAG_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SaExtraFlags(pub u32);

impl SaExtraFlags {
    /// Outbound: the inner header's DSCP is not copied to the outer.
    pub const DONT_ENCAP_DSCP: Self = Self(1);
    /// Outbound: sequence numbers begin anew after the last.
    pub const SEQUENCE_MAY_WRAP: Self = Self(2);
}

impl BitOr for SaExtraFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Work done by a network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offload {
    /// Index of its interface.
    pub interface: u32,
    /// Which way.
    pub direction: SaDirection,
    /// How much of it.
    pub extent: OffloadExtent,
}

/// How much a network card does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OffloadExtent {
    /// Ciphers only. A card that cannot is passed over in silence: read the SA back to see.
    Crypto,
    /// Whole packets, policies included.
    Packet,
}

/// Limits of the life of an SA or a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limits {
    /// Where the kernel says that it is time for another one.
    pub soft: Limit,
    /// Where the kernel removes it.
    pub hard: Limit,
}

/// What is reached first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limit {
    /// Octets of its packets.
    pub bytes: Option<u64>,
    /// Packets.
    pub packets: Option<u64>,
    /// Time since it was installed, in whole seconds; fractions are rounded up.
    pub since_installed: Option<Duration>,
    /// Time since its first packet, in whole seconds; fractions are rounded up.
    pub since_used: Option<Duration>,
}

/// What went through an SA or a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Octets of its packets.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// When it was installed.
    pub installed: Option<SystemTime>,
    /// Of an SA the first packet, of a policy the last.
    pub used: Option<SystemTime>,
}

/// Packets that an inbound SA dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drops {
    /// Behind the replay window.
    pub too_late: u32,
    /// For the second time.
    pub repeated: u32,
    /// That were not the peer's, or not as it sent them.
    pub forged: u32,
}
