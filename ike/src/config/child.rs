//! One kind of CHILD_SA: what traffic it is for, and what becomes of it.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::proposal::Proposal;
use crate::selector::SelectorPattern;

/// One kind of CHILD_SA: swanctl.conf's `children.<name>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// Proposals for ESP, at least one, the best first.
    pub esp_proposals: Vec<Proposal>,
    /// Traffic on our side; at least one.
    pub local_ts: Vec<SelectorPattern>,
    /// Traffic on the peer's side; at least one.
    pub remote_ts: Vec<SelectorPattern>,
    /// What becomes of that traffic.
    pub processing: Processing,
    /// When it is to be rekeyed; `None` for never.
    pub rekey_time: Option<Duration>,
    /// When it ends; `None` for never.
    pub life_time: Option<Duration>,
    /// The most that is taken off `rekey_time` at random.
    pub rand_time: Duration,
    /// How many octets of inner packets each direction may carry.
    pub bytes: Volume,
    /// How many packets each direction may carry.
    pub packets: Volume,
    /// It ends when it has carried nothing for so long; `None` for never.
    pub inactivity: Option<Duration>,
    /// What happens when it is loaded.
    pub start_action: ChildAction,
    /// What happens when the peer closes it.
    pub close_action: ChildAction,
    /// What happens when the peer is found dead.
    pub dpd_action: ChildAction,
    /// Packets the anti-replay window spans; zero turns it off.
    pub replay_window: u32,
    /// A reqid set by hand; `None` for the next free one.
    pub reqid: Option<u32>,
    /// Copy the DF bit to the outer header.
    pub copy_df: bool,
    /// Carry ECN as RFC 6040 has it.
    pub copy_ecn: bool,
    /// Carry DSCP.
    pub copy_dscp: CopyDscp,
    /// Whether network cards do its ciphers.
    pub offload: Offload,
    /// Marks and interfaces of its packets.
    pub labels: Labels,
    /// How its policies are installed.
    pub policies: PolicySettings,
    /// A command for the shell that is told when its CHILD_SAs come and go.
    pub updown: Option<String>,
    /// That command is told that this host itself is to be reached.
    pub host_access: bool,
}

impl Child {
    /// The mode its CHILD_SAs are to have; `None` if it has none, since its traffic passes or is dropped.
    #[must_use]
    pub const fn mode(&self) -> Option<Mode> {
        match self.processing {
            Processing::Protect(mode) => Some(mode),
            Processing::Pass | Processing::Drop => None,
        }
    }
}

/// What we do of our own accord with a child: at load, when the peer closes it, when the peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildAction {
    /// Nothing.
    None,
    /// Let a trap wait for a packet that needs it.
    Trap,
    /// Make it.
    Start,
    /// Both.
    TrapAndStart,
}

impl ChildAction {
    /// A trap is to be there.
    #[must_use]
    pub const fn traps(self) -> bool {
        matches!(self, Self::Trap | Self::TrapAndStart)
    }

    /// The child is to be made.
    #[must_use]
    pub const fn starts(self) -> bool {
        matches!(self, Self::Start | Self::TrapAndStart)
    }
}

/// How the inner packet is carried (RFC 7296 §1.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Packets inside packets.
    Tunnel,
    /// Packets of the two ends themselves, whose IP header stays.
    Transport,
    /// Packets of one address at each end: the headers of tunnel mode without carrying them (Bound End-to-End Tunnel,
    /// strongSwan's own).
    Beet,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "tunnel",
            Self::Transport => "transport",
            Self::Beet => "BEET",
        })
    }
}

/// What becomes of packets that a child's selectors take (RFC 4301 §4.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processing {
    /// They are protected by a CHILD_SA: PROTECT.
    Protect(Mode),
    /// They pass as they are, whatever else would protect them: BYPASS.
    Pass,
    /// They are dropped, unless something else protects them: DISCARD.
    Drop,
}

/// Whether DSCP is copied between inner and outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyDscp {
    /// Inner to outer when sealing.
    Out,
    /// Outer to inner when opening.
    In,
    /// Both.
    Both,
    /// Neither.
    No,
}

/// Whether a network card does the ciphers of a CHILD_SA. It is the data plane's alone; peers do not know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// They are done in software.
    No,
    /// It does where it can.
    Auto,
    /// It does, or there is no CHILD_SA.
    Crypto,
}

/// A number by which a data plane tells the packets of one CHILD_SA from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// This one.
    Fixed(u32),
    /// One that each CHILD_SA has for itself, and its successors after it.
    Unique,
    /// Two, one for each direction.
    UniqueDirection,
    /// The one that its IKE SA has for itself, and the successors of that.
    OfIkeSa,
    /// The one of the packets that were not processed yet.
    Same,
}

/// A firewall mark, and its bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The mark.
    pub value: Label,
    /// Its bits that count.
    pub mask: u32,
}

/// What tells a child's packets from others beside its selectors. It is the data plane's alone; peers do not know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// The mark of packets that come in, after they were opened.
    pub mark_in: Option<Mark>,
    /// The same mark is on them before, too.
    pub is_mark_in_on_sa: bool,
    /// The mark of packets that are to be sealed.
    pub mark_out: Option<Mark>,
    /// The mark that opened packets get.
    pub set_mark_in: Option<Mark>,
    /// The mark that sealed packets get.
    pub set_mark_out: Option<Mark>,
    /// The XFRM interface that opened packets come by.
    pub interface_in: Option<Label>,
    /// The XFRM interface that packets leave by to be sealed.
    pub interface_out: Option<Label>,
}

/// The XFRM interfaces of an IKE SA, for those of its CHILD_SAs that have none of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// The one that opened packets come by.
    pub inbound: Option<NonZeroU32>,
    /// The one that packets leave by to be sealed.
    pub outbound: Option<NonZeroU32>,
}

/// How a child's policies are installed. It is the data plane's alone; peers do not know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicySettings {
    /// None are: somebody else sees to it that packets find their SAs.
    pub are_left_out: bool,
    /// Their priority, of which the lower number wins; `None` for one that follows from the selectors.
    pub priority: Option<u32>,
    /// The interface that packets leave by, as far as they are to be protected.
    pub interface: Option<String>,
}

/// How much traffic a CHILD_SA may carry in each direction, in octets or in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// After so much it is to be rekeyed; `None` for never.
    pub rekey: Option<u64>,
    /// After so much it carries no more; `None` for no limit.
    pub life: Option<u64>,
    /// The most that is taken off `rekey` at random.
    pub rand: u64,
}
