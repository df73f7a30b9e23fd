//! Attempts at an IKE SA, or at a CHILD_SA in one that stands, that came to nothing, with all that is known of them: for
//! whoever has to find out why.

use std::fmt;
use std::sync::Arc;

use crate::config::{Child, Connection};
use crate::crypto::Role;
use crate::error::Failure;
use crate::identity::Identity;
use crate::output::{IkeSaId, Path};
use crate::proposal::{Mismatch, Proposal};
use crate::sa::Core;
use crate::selector::TrafficSelector;
use crate::wire::registry::NotifyType;

/// Connections that are told of at most, the nearest first: strangers can make us look for them.
const MOST_PASSED_OVER: usize = 8;

/// An IKE SA that could not be established, or one try of several; or a CHILD_SA.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The IKE SA's number.
    pub ike_sa: IkeSaId,
    /// What was to be made.
    pub aim: Aim,
    /// Which end we were: of the IKE SA, or of the exchange that was to make the CHILD_SA.
    pub role: Role,
    /// Between which addresses.
    pub path: Path,
    /// By which connection; `None` where it did not come to choosing one.
    pub connection: Option<Arc<Connection>>,
    /// Who the peer said it was, as far as it came to that. It may not have proven it.
    pub peer: Option<Identity>,
    /// What kind of failure it was.
    pub cause: Cause,
    /// Why, as a sentence.
    pub reason: String,
    /// What the initiator offered, where that matters.
    pub offered: Vec<Proposal>,
    /// The connections, or children of one, that it could have been, the nearest first, and why it was none of them. Not
    /// all of many.
    pub passed_over: Vec<PassedOver>,
}

/// What an attempt was to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// An IKE SA.
    IkeSa,
    /// A CHILD_SA of an IKE SA that stands: what it is configured as, if we know that.
    ChildSa(Option<String>),
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection is for the addresses.
    NoConnection,
    /// No proposal suited both.
    NoProposal,
    /// No traffic is wanted by both.
    NoSelectors,
    /// No connection is for the identities, or for how the peer proves its own.
    NoCandidate,
    /// Either end could not prove who it is.
    Unauthenticated,
    /// The peer refused otherwise.
    Refused,
    /// The peer did not answer, or did not go on.
    Unanswered,
    /// The peer broke the protocol.
    Malformed,
    /// Something of ours failed.
    Other,
    /// Somebody ended it.
    Ended,
}

/// A connection that was considered and not taken.
#[derive(Clone, Debug)]
pub struct PassedOver {
    /// Which.
    pub connection: Arc<Connection>,
    /// Why not.
    pub rule: Rule,
}

/// What excludes a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The address that the peer turned to is none of its own.
    LocalAddress,
    /// It is not for peers with that address.
    RemoteAddress,
    /// It allows none of the proposals: where the nearest two differ.
    Proposals(Mismatch),
    /// It allows other suites than the one that IKE_SA_INIT agreed on, when nobody knew yet who the peer is.
    Suite,
    /// It is for peers with another identity.
    RemoteId,
    /// The peer has asked for another identity than ours in it.
    LocalId(Identity),
    /// How the peer proves its identity is not how it has to.
    Authentication(&'static str),
    /// A child of it is for other traffic.
    Selectors(Box<Apart>),
    /// A child of it allows none of the proposals: where the nearest two differ.
    ChildProposals {
        /// The child's name.
        child: String,
        /// The difference.
        mismatch: Mismatch,
    },
}

/// Traffic of a child, and what the peer asks for, that have nothing in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// The child's name.
    pub child: String,
    /// Its own, on our side and on the peer's.
    pub ours: [Vec<TrafficSelector>; 2],
    /// What the peer asks for, on our side and on its own.
    pub asked: [Vec<TrafficSelector>; 2],
    /// Whether something is in common on our side, and on the peer's.
    pub has_common: [bool; 2],
}

impl Attempt {
    /// Of an IKE SA; `None` if nothing has failed.
    pub(crate) fn of(core: &Core, failure: &Failure) -> Option<Self> {
        let connection = core.connection.clone();
        let mut attempt = Self::at(core.id, core.role, core.path, failure)?;
        if core.role == Role::Initiator {
            attempt.offered = connection.iter().flat_map(|connection| connection.proposals.clone()).collect();
        }
        attempt.peer = core.remote_id.clone().or_else(|| core.claimed.clone());
        attempt.connection = connection;
        Some(attempt)
    }

    /// Of a CHILD_SA. `None` where it is no failure, or one that passes.
    pub(crate) fn of_child(
        core: &Core,
        connection: &Arc<Connection>,
        aim: Option<&Child>,
        role: Role,
        failure: &Failure,
    ) -> Option<Self> {
        let is_told = match failure {
            Failure::NoProposal(_)
            | Failure::NoSelectors(_)
            | Failure::NoAddress(_)
            | Failure::Outside(_) => true,
            Failure::Refused(kind) => *kind != NotifyType::TEMPORARY_FAILURE,
            _ => false,
        };
        let mut attempt = Self::at(core.id, role, core.path, failure).filter(|_| is_told)?;
        attempt.aim = Aim::ChildSa(aim.map(|child| child.name.clone()));
        if role == Role::Initiator {
            attempt.offered = aim.map(|child| child.esp_proposals.clone()).unwrap_or_default();
        }
        attempt.peer = core.peer().cloned();
        attempt.connection = Some(connection.clone());
        Some(attempt)
    }

    /// Before there is an IKE SA.
    pub(crate) fn at(ike_sa: IkeSaId, role: Role, path: Path, failure: &Failure) -> Option<Self> {
        let cause = failure.cause().filter(|cause| *cause != Cause::Ended)?;
        let Evidence { offered, passed_over, .. } = failure.evidence().cloned().unwrap_or_default();
        let (aim, connection, peer, reason) = (Aim::IkeSa, None, None, failure.to_string());
        Some(Self { ike_sa, aim, role, path, connection, peer, cause, reason, offered, passed_over })
    }
}

/// What was found on the way to a failure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// The failure, as a sentence.
    pub(crate) sentence: String,
    offered: Vec<Proposal>,
    passed_over: Vec<PassedOver>,
}

impl Evidence {
    /// With what the initiator offered.
    pub(crate) fn with_offer(mut self, offered: &[Proposal]) -> Self {
        self.offered = offered.to_vec();
        self
    }

    /// With connections that were not taken, the nearest first.
    pub(crate) fn with_passed_over(mut self, passed_over: impl IntoIterator<Item = PassedOver>) -> Self {
        self.passed_over = passed_over.into_iter().take(MOST_PASSED_OVER).collect();
        self
    }
}

impl<T: Into<String>> From<T> for Evidence {
    fn from(sentence: T) -> Self {
        Self { sentence: sentence.into(), ..Self::default() }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
