//! Moving SAs and their policies to other addresses, sequence numbers and keys included.

use std::net::IpAddr;

use crate::policy::PolicyId;
use crate::prefix::InvalidRange;
use crate::sa::{Encapsulation, IpsecProtocol, Mode};

/// A policy of which the templates, and with them the SAs they stand for, move.
///
/// One request moves one policy; an SA that serves several moves with the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The policy.
    pub policy: PolicyId,
    /// What moves; at most [`crate::policy::Templates::MOST`].
    pub moves: Moves,
    /// UDP or TCP that comes around ESP, or the ports of what is there.
    pub encapsulation: Option<Encapsulation>,
}

/// What moves, in the order of the policy's templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves(pub(crate) Vec<Move>);

impl Moves {
    /// These; `None` where there are none or too many.
    #[must_use]
    pub fn new(moves: &[Move]) -> Option<Self> {
        (1..=crate::policy::Templates::MOST).contains(&moves.len()).then(|| Self(moves.to_vec()))
    }

    /// What moves.
    pub fn iter(&self) -> impl Iterator<Item = &Move> {
        self.0.iter()
    }
}

/// One SA, or one for each SPI of the same number, that moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    from: (IpAddr, IpAddr),
    to: (IpAddr, IpAddr),
    /// ESP or AH.
    pub protocol: IpsecProtocol,
    /// Whether it encapsulates.
    pub mode: Mode,
    /// The number of the SAs and of the template; 0 for any.
    pub reqid: u32,
}

impl Move {
    /// ESP SAs with these source and destination get those.
    ///
    /// # Errors
    /// When source and destination are of different families.
    pub fn new(
        from: (IpAddr, IpAddr),
        to: (IpAddr, IpAddr),
        mode: Mode,
        reqid: u32,
    ) -> Result<Self, InvalidRange> {
        for (first, last) in [from, to] {
            if first.is_ipv4() != last.is_ipv4() {
                return Err(InvalidRange::MixedFamilies { first, last });
            }
        }
        Ok(Self { from, to, protocol: IpsecProtocol::ESP, mode, reqid })
    }

    /// Source and destination before.
    #[must_use]
    pub fn from(&self) -> (IpAddr, IpAddr) {
        self.from
    }

    /// Source and destination after.
    #[must_use]
    pub fn to(&self) -> (IpAddr, IpAddr) {
        self.to
    }
}
