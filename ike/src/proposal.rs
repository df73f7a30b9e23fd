//! Proposals and the transforms in them (RFC 7296 §3.3), and the choice between two offers.

use crate::wire::registry::{ProtocolId, TransformType};

/// One transform: an algorithm for one purpose (RFC 7296 §3.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Transform {
    /// What it is for.
    pub kind: TransformType,
    /// The algorithm, in the registry of its kind.
    pub id: u16,
    /// Key Length attribute in bits, where the algorithm has keys of several lengths.
    pub key_length: Option<u16>,
}

/// One proposal: the transforms that may be combined for one protocol (RFC 7296 §3.3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// Proposal Num, counted from one in an offer and repeated in the answer.
    pub number: u8,
    /// What the SA is for.
    pub protocol: ProtocolId,
    /// The sender's SPI: empty in IKE_SA_INIT, eight octets in an IKE rekey, four for ESP and AH.
    pub spi: Vec<u8>,
    /// In the order of preference, by kind.
    pub transforms: Vec<Transform>,
}
