//! What goes wrong with an exchange, by whose fault, and what the peer is told.

use thiserror::Error;

use crate::attempt::{Cause, Evidence};
use crate::crypto::KeError;
use crate::wire::PayloadWriter;
use crate::wire::codec::DecodeError;
use crate::wire::registry::{KeMethod, NotifyType, ProtocolId, Spi};

/// Why an exchange failed. The sentence is for the log and for whoever asked; the peer gets [`Failure::notify`].
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The peer's message cannot be read, or lacks what its exchange needs.
    #[error("the peer's message is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The peer's message can be read but breaks a rule of the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
    /// The key exchange of the peer does not work.
    #[error("the peer's key exchange failed: {0}")]
    KeyExchange(#[from] KeError),
    /// The peer must use another key exchange method first.
    #[error("the peer used {used}, we want {wanted}")]
    WrongKeyExchange {
        /// The method of its KE payload.
        used: KeMethod,
        /// The one of the proposal we chose.
        wanted: KeMethod,
    },
    /// No proposal suits both.
    #[error("no acceptable proposal found: {0}")]
    NoProposal(Box<Evidence>),
    /// No traffic selectors suit both.
    #[error("no acceptable traffic selectors found: {0}")]
    NoSelectors(Box<Evidence>),
    /// The peer asked for a virtual IP, and there is none for it.
    #[error("no virtual IP found for the peer: {0}")]
    NoAddress(String),
    /// No connection is for these addresses.
    #[error("{0}")]
    NoConnection(Box<Evidence>),
    /// No connection is for these identities, or for how the peer proves its own.
    #[error("authentication failed: {0}")]
    NoCandidate(Box<Evidence>),
    /// The peer, or we, did not prove who it is.
    #[error("authentication failed: {0}")]
    Authentication(String),
    /// The peer refused.
    #[error("the peer answered {0}")]
    Refused(NotifyType),
    /// The peer does not answer.
    #[error("giving up after {0} retransmits: the peer does not answer")]
    Unanswered(u32),
    /// The time for establishing an IKE SA is over.
    #[error("the peer did not finish establishing the IKE_SA in time")]
    HalfOpen,
    /// Something of ours or of the peer's is under way that does not go together with the request.
    #[error("{0}")]
    Crossing(&'static str),
    /// The peer wants to rekey a CHILD_SA that we do not have.
    #[error("there is no CHILD_SA that the peer receives on with SPI {0}")]
    NoSuchChild(Spi),
    /// The IKE SA has as many CHILD_SAs as it may have.
    #[error("the IKE_SA has {0} CHILD_SAs, and takes no more")]
    TooManyChildren(usize),
    /// The outside could not do its part.
    #[error("{0}")]
    Outside(String),
    /// A message of ours is larger than any message may be.
    #[error("a message with {0} octets of payloads cannot be sent")]
    TooLong(usize),
    /// We ran out of message IDs.
    #[error("the message IDs of the IKE_SA are used up")]
    Exhausted,
    /// Somebody on the way changes addresses, and one of us does not do NAT traversal (RFC 4555 §3.9).
    #[error("an unexpected NAT was detected")]
    UnexpectedNat,
    /// Somebody ended it.
    #[error("{0}")]
    Ended(&'static str),
}

impl Failure {
    /// Writes the notify that tells the peer.
    pub(crate) fn write(&self, kind: NotifyType, data: &[u8], reply: &mut PayloadWriter) {
        match self {
            // RFC 7296 §2.25: with the SPI of the REKEY_SA notify.
            Self::NoSuchChild(spi) => reply.notify_for(ProtocolId::ESP, &spi.0.to_be_bytes(), kind, data),
            _ => reply.notify(kind, data),
        };
    }

    /// Nobody allows any of what was offered.
    pub(crate) fn no_proposal(evidence: impl Into<Evidence>) -> Self {
        Self::NoProposal(Box::new(evidence.into()))
    }

    /// No traffic is wanted by both.
    pub(crate) fn no_selectors(evidence: impl Into<Evidence>) -> Self {
        Self::NoSelectors(Box::new(evidence.into()))
    }

    /// What was found on the way.
    pub(crate) fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::NoProposal(evidence)
            | Self::NoSelectors(evidence)
            | Self::NoConnection(evidence)
            | Self::NoCandidate(evidence) => Some(evidence),
            _ => None,
        }
    }

    /// What kind of failure it is. `None` where the peer is told what we want, and tries again.
    pub(crate) fn cause(&self) -> Option<Cause> {
        Some(match self {
            Self::NoConnection(_) => Cause::NoConnection,
            Self::NoProposal(_) | Self::Refused(NotifyType::NO_PROPOSAL_CHOSEN) => Cause::NoProposal,
            Self::NoSelectors(_) | Self::Refused(NotifyType::TS_UNACCEPTABLE) => Cause::NoSelectors,
            Self::NoCandidate(_) => Cause::NoCandidate,
            Self::Authentication(_) | Self::Refused(NotifyType::AUTHENTICATION_FAILED) => {
                Cause::Unauthenticated
            }
            Self::Refused(_) => Cause::Refused,
            Self::Unanswered(_) | Self::HalfOpen => Cause::Unanswered,
            Self::Malformed(_) | Self::Protocol(_) | Self::KeyExchange(_) => Cause::Malformed,
            Self::WrongKeyExchange { .. } => return None,
            Self::Ended(_) => Cause::Ended,
            Self::NoAddress(_)
            | Self::Crossing(_)
            | Self::NoSuchChild(_)
            | Self::TooManyChildren(_)
            | Self::Outside(_)
            | Self::TooLong(_)
            | Self::Exhausted
            | Self::UnexpectedNat => Cause::Other,
        })
    }

    /// The notify that tells the peer, and its data. `None` where the peer is told nothing.
    pub(crate) fn notify(&self) -> Option<(NotifyType, Vec<u8>)> {
        let (kind, data) = match self {
            Self::Malformed(DecodeError::UnsupportedCriticalPayload(kind)) => {
                (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind.0]) // RFC 7296 §2.5
            }
            Self::Malformed(_) | Self::Protocol(_) | Self::KeyExchange(_) => {
                (NotifyType::INVALID_SYNTAX, vec![])
            }
            Self::WrongKeyExchange { wanted, .. } => {
                (NotifyType::INVALID_KE_PAYLOAD, wanted.0.to_be_bytes().to_vec()) // RFC 7296 §1.2
            }
            Self::NoProposal(_) => (NotifyType::NO_PROPOSAL_CHOSEN, vec![]),
            Self::NoSelectors(_) => (NotifyType::TS_UNACCEPTABLE, vec![]),
            Self::NoAddress(_) => (NotifyType::INTERNAL_ADDRESS_FAILURE, vec![]),
            // RFC 7296 §2.21.2: every failure of authentication looks the same to the peer.
            Self::Authentication(_) | Self::NoCandidate(_) => (NotifyType::AUTHENTICATION_FAILED, vec![]),
            // Before IDs are known it is the addresses that do not fit; charon answers the same.
            Self::NoConnection(_) => (NotifyType::NO_PROPOSAL_CHOSEN, vec![]),
            Self::UnexpectedNat => (NotifyType::UNEXPECTED_NAT_DETECTED, vec![]),
            Self::NoSuchChild(_) => (NotifyType::CHILD_SA_NOT_FOUND, vec![]), // RFC 7296 §2.25
            Self::TooManyChildren(_) => (NotifyType::NO_ADDITIONAL_SAS, vec![]), // RFC 7296 §1.3
            Self::Crossing(_) | Self::Outside(_) => (NotifyType::TEMPORARY_FAILURE, vec![]), // RFC 7296 §2.25
            Self::Refused(_)
            | Self::Unanswered(_)
            | Self::HalfOpen
            | Self::TooLong(_)
            | Self::Exhausted
            | Self::Ended(_) => {
                return None;
            }
        };
        Some((kind, data))
    }
}
