//! What the plane tells without being asked.

use std::fmt;
use std::net::SocketAddr;

use super::config::ChildId;
use super::policy::PolicyId;
use crate::inner::Flow;
use crate::limits::Limit;
use crate::packet::Spi;

/// Direction of an SA as we see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer.
    Inbound,
    /// To the peer.
    Outbound,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        })
    }
}

/// Something the keeper of the SAs has to know. Each is told once, not with every packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Less than a sixteenth of an outbound SA's sequence numbers is left: rekey.
    SequenceNearlyExhausted {
        /// The child.
        child: ChildId,
        /// Its outbound SPI.
        spi: Spi,
    },
    /// An inbound SA has received its first packet, if that was to be told.
    FirstReceived {
        /// The child.
        child: ChildId,
    },
    /// A packet was caught by a trap, which waits for an SA. No other is told until that is
    /// [settled](super::Plane::settle).
    Acquire {
        /// The trap.
        policy: PolicyId,
        /// The packet.
        flow: Flow,
    },
    /// An outbound SA has no sequence number left; its packets are dropped.
    SequenceExhausted {
        /// The child.
        child: ChildId,
        /// Its outbound SPI.
        spi: Spi,
    },
    /// An SA reached a limit. After the hard one its packets are dropped.
    LimitReached {
        /// The child.
        child: ChildId,
        /// The SPI of the SA in that direction.
        spi: Spi,
        /// Which of its SAs.
        direction: Direction,
        /// Which limit.
        limit: Limit,
    },
    /// A verified packet, newer than all before, came from another address or port than the SA's path has: the
    /// peer's NAT has a new mapping, or the peer has moved. Packets go on to the old address until
    /// [`Plane::update_path`](super::Plane::update_path) is called.
    PeerMoved {
        /// The child.
        child: ChildId,
        /// Its inbound SPI.
        spi: Spi,
        /// Our address the packet came to.
        local: SocketAddr,
        /// The peer's address as we have it.
        from: SocketAddr,
        /// The address the packet came from.
        to: SocketAddr,
    },
    /// The TUN device is gone, by somebody's deleting it; nothing passes any more. IKE still does.
    DeviceLost {
        /// What the system said.
        reason: String,
    },
}
