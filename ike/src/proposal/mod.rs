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

use crate::wire::registry::{EncrId, EsnId, IntegId, KeMethod, PrfId};

/// Why a text is no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// Placeholder.
    #[error("invalid proposal")]
    Invalid,
}

impl Transform {
    /// An encryption algorithm; `key_length` in bits where it has keys of several lengths.
    #[must_use]
    pub const fn encr(id: EncrId, key_length: Option<u16>) -> Self {
        Self { kind: TransformType::ENCR, id: id.0, key_length }
    }
    /// A pseudorandom function.
    #[must_use]
    pub const fn prf(id: PrfId) -> Self {
        Self { kind: TransformType::PRF, id: id.0, key_length: None }
    }
    /// An integrity algorithm.
    #[must_use]
    pub const fn integ(id: IntegId) -> Self {
        Self { kind: TransformType::INTEG, id: id.0, key_length: None }
    }
    /// A key exchange method.
    #[must_use]
    pub const fn ke(method: KeMethod) -> Self {
        Self { kind: TransformType::KE, id: method.0, key_length: None }
    }
    /// Extended sequence numbers or not.
    #[must_use]
    pub const fn esn(id: EsnId) -> Self {
        Self { kind: TransformType::ESN, id: id.0, key_length: None }
    }
}

impl Proposal {
    /// Parses one element of a configuration's list; the keyword `default` gives several proposals, of
    /// everything strongSwan has: see [`Proposal::supported`]. Numbered from one.
    pub fn parse(_protocol: ProtocolId, _text: &str) -> Result<Vec<Self>, ProposalError> {
        todo!()
    }
    /// The transforms `supports` refuses.
    #[must_use]
    pub fn unsupported(&self, _supports: impl Fn(Transform) -> bool) -> Vec<Transform> {
        todo!()
    }
    /// The proposal without what `supports` refuses; `None` if nothing is left of some kind.
    #[must_use]
    pub fn supported(&self, _supports: impl Fn(Transform) -> bool) -> Option<Self> {
        todo!()
    }
    /// The proposal without key exchange, as offered in IKE_AUTH.
    #[must_use]
    pub fn without_ke(&self) -> Self {
        todo!()
    }
    /// The transforms of one kind, in order of preference.
    pub fn of(&self, kind: TransformType) -> impl Iterator<Item = Transform> + '_ {
        self.transforms.iter().copied().filter(move |transform| transform.kind == kind)
    }
    /// The encryption algorithm of a chosen proposal, with its key length in bits.
    #[must_use]
    pub fn encr(&self) -> Option<(EncrId, Option<u16>)> {
        todo!()
    }
    /// The PRF of a chosen proposal.
    #[must_use]
    pub fn prf(&self) -> Option<PrfId> {
        todo!()
    }
    /// The integrity algorithm of a chosen proposal; `None` with a combined-mode cipher.
    #[must_use]
    pub fn integ(&self) -> Option<IntegId> {
        todo!()
    }
    /// The key exchange method of a chosen proposal (the first one of an offer); `None` for none.
    #[must_use]
    pub fn ke(&self) -> Option<KeMethod> {
        todo!()
    }
    /// True if the chosen proposal has extended sequence numbers.
    #[must_use]
    pub fn has_esn(&self) -> bool {
        todo!()
    }
    /// The initiator's check of the responder's choice (RFC 7296 §2.7, §3.3.6).
    #[must_use]
    pub fn is_answer_to(&self, _offer: &[Self]) -> bool {
        todo!()
    }
}

impl std::fmt::Display for Transform {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
impl std::fmt::Display for Proposal {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// strongSwan's default for IKE, of what `supports` allows. Numbered from one.
#[must_use]
pub fn default_ike(_supports: impl Fn(Transform) -> bool) -> Vec<Proposal> {
    todo!()
}
/// strongSwan's default for ESP, of what `supports` allows. Numbered from one.
#[must_use]
pub fn default_esp(_supports: impl Fn(Transform) -> bool) -> Vec<Proposal> {
    todo!()
}
/// Numbers proposals from one, as an offer must (RFC 7296 §3.3.1).
pub fn number(_proposals: &mut [Proposal]) {
    todo!()
}

/// Whose order of preference decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Prefer {
    /// The responder's own.
    #[default]
    Ours,
    /// The initiator's.
    Theirs,
}

/// What else bears on a choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct SelectContext<'a> {
    /// Leave key exchange out, as for the CHILD_SA of IKE_AUTH.
    pub ignore_ke: bool,
    /// Allow transform IDs from the private use range (1024 and above).
    pub allow_private: bool,
    /// Key exchange methods that must not be chosen.
    pub excluded_ke: &'a [KeMethod],
}

/// The responder's choice: one transform of each kind, number and protocol from the peer's proposal, no SPI.
#[must_use]
pub fn select(
    _ours: &[Proposal],
    _theirs: &[Proposal],
    _preference: Prefer,
    _context: SelectContext<'_>,
) -> Option<Proposal> {
    todo!()
}

/// Why there was no choice: what differs between the two nearest proposals. `Display` is one clause for a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The kinds without a common transform.
    pub kinds: Vec<TransformType>,
}
impl std::fmt::Display for Mismatch {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

/// Names what kept two offers apart.
#[must_use]
pub fn explain(_ours: &[Proposal], _theirs: &[Proposal], _context: SelectContext<'_>) -> Mismatch {
    todo!()
}
