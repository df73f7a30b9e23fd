//! Policies without an SA (RFC 4301 §4.4.1): traps, and traffic that passes or is dropped.

use std::fmt;

use ferry_ike::config::{Labels, Mode, PolicySettings};
use ferry_ike::output::Path;
use ferry_ike::selector::TrafficSelector;

/// Names a policy. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PolicyId(pub(crate) u64);

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A policy to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Its number.
    pub(crate) id: PolicyId,
    /// Its child's name, for sentences.
    pub(crate) name: String,
    /// What becomes of packets.
    pub(crate) kind: PolicyKind,
    /// Traffic on our side.
    pub(crate) local_ts: Vec<TrafficSelector>,
    /// Traffic on the peer's side.
    pub(crate) remote_ts: Vec<TrafficSelector>,
    /// Marks and interfaces of its packets.
    pub(crate) labels: Labels,
    /// How it is installed.
    pub(crate) settings: PolicySettings,
}

/// What becomes of packets that a policy takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PolicyKind {
    /// They wait for a CHILD_SA, which is asked for by [`PlaneEvent::Acquire`](super::PlaneEvent::Acquire).
    Trap {
        /// The reqid of the CHILD_SAs.
        reqid: u32,
        /// How they will carry packets.
        mode: Mode,
        /// The addresses it will be negotiated between.
        path: Path,
    },
    /// They leave as they are.
    Pass,
    /// They do not leave, unless a CHILD_SA carries them.
    Drop,
}

impl Policy {
    /// A packet to that address is one of its.
    pub(crate) fn includes(&self, address: std::net::IpAddr) -> bool {
        self.remote_ts.iter().any(|selector| selector.includes_address(address))
    }
}
