//! What we want to ask the peer, waiting for its turn and under way.

use std::sync::Arc;

use super::exchange::{create_child, rekey_ike};
use crate::command::Trigger;
use crate::config::Child;
use crate::error::Failure;
use crate::output::{ChildSaId, RequestId};
use crate::redirect::Gateway;
use crate::selector::TrafficSelector;
use crate::wire::registry::{ExchangeType, NotifyType, Spi};

/// What we want to ask the peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Task {
    /// Is it there?
    Liveness,
    /// Our addresses have changed: the peer is to use others from now on (RFC 4555 §3.5).
    UpdateAddresses,
    /// The addresses we can be reached at besides have changed (RFC 4555 §3.6).
    TellAddresses,
    /// Can the peer be reached at its new address (RFC 4555 §3.7)?
    CheckRoutability,
    /// A CHILD_SA ends, and with it what takes its place, or what it takes the place of.
    EndChild(ChildSaId),
    /// This very CHILD_SA ends: it has a successor, or its time is up.
    DeleteChild(ChildSaId),
    /// A CHILD_SA that the peer believes in and we do not, by the SPI we would have received on.
    DisownChild(Spi),
    /// A further CHILD_SA.
    CreateChild(Box<Wanted>),
    /// The successor of a CHILD_SA.
    RekeyChild(ChildSaId),
    /// The successor of the IKE SA.
    RekeyIkeSa,
    /// The peer is sent to another gateway.
    Redirect(Gateway, RequestId),
    /// The peer learns how long it may stay without authenticating again (RFC 4478 §3).
    TellLifetime,
    /// The IKE SA is made anew, with authentication.
    Reauthenticate,
    /// It has everything that the one before it had, which may go. Nobody is asked for that.
    Succeed,
    /// The IKE SA ends, and all with it.
    DeleteIkeSa,
}

/// A CHILD_SA to be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// As it is configured.
    pub(crate) child: Arc<Child>,
    /// The packet that wants it.
    pub(crate) trigger: Option<Trigger>,
    /// It is for nothing but that packet's addresses, protocol and ports.
    pub(crate) is_single_pair: bool,
    /// The reqid it must have; `None` for a new one.
    pub(crate) reqid: Option<u32>,
    /// The one it takes the place of.
    pub(crate) rekeys: Option<ChildSaId>,
    /// Whom to tell.
    pub(crate) request: Option<RequestId>,
}

impl Wanted {
    /// A further one.
    pub(crate) fn new(child: Arc<Child>, trigger: Option<Trigger>, request: Option<RequestId>) -> Self {
        let reqid = trigger.as_ref().and_then(|trigger| trigger.reqid);
        Self { child, trigger, is_single_pair: false, reqid, rekeys: None, request }
    }

    /// The successor of one, or what is made in its place.
    pub(crate) fn again(child: Arc<Child>, reqid: u32, rekeys: Option<ChildSaId>) -> Self {
        Self { reqid: Some(reqid), rekeys, ..Self::new(child, None, None) }
    }

    /// What to ask for of these selectors: the packet's own first.
    ///
    /// RFC 7296 §2.9: "the initiator SHOULD include as the first Traffic Selector in each of TSi and TSr a very specific
    /// Traffic Selector including the addresses in the packet triggering the request."
    pub(crate) fn selectors(
        &self,
        mut local: Vec<TrafficSelector>,
        mut remote: Vec<TrafficSelector>,
    ) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
        let holds = |selectors: &[TrafficSelector], packet| selectors.iter().any(|ts| ts.contains(packet));
        if let Some(trigger) = &self.trigger
            && holds(&local, &trigger.local)
            && holds(&remote, &trigger.remote)
        {
            for (selectors, packet) in [(&mut local, trigger.local), (&mut remote, trigger.remote)] {
                if self.is_single_pair {
                    selectors.clear();
                }
                if selectors.first() != Some(&packet) {
                    selectors.insert(0, packet);
                }
            }
        }
        (local, remote)
    }

    /// RFC 7296 §2.9: who is answered SINGLE_PAIR_REQUIRED asks again for the packet alone.
    pub(crate) fn for_single_pair(&self, failure: &Failure) -> Option<Self> {
        let is_required = matches!(failure, Failure::Refused(NotifyType::SINGLE_PAIR_REQUIRED));
        (is_required && self.trigger.is_some() && !self.is_single_pair)
            .then(|| Self { is_single_pair: true, ..self.clone() })
    }
}

impl Task {
    /// The name charon has for it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Liveness => "IKE_DPD",
            Self::UpdateAddresses | Self::TellAddresses | Self::CheckRoutability => "IKE_MOBIKE",
            Self::EndChild(_) | Self::DeleteChild(_) | Self::DisownChild(_) => "CHILD_DELETE",
            Self::CreateChild(_) => "CHILD_CREATE",
            Self::RekeyChild(_) => "CHILD_REKEY",
            Self::RekeyIkeSa => "IKE_REKEY",
            Self::Redirect(..) => "IKE_REDIRECT",
            Self::TellLifetime => "IKE_AUTH_LIFETIME",
            Self::Reauthenticate => "IKE_REAUTH",
            Self::Succeed => "IKE_REAUTH_COMPLETE",
            Self::DeleteIkeSa => "IKE_DELETE",
        }
    }

    /// It must not begin while a request of the peer is answered: it could be about the CHILD_SA that is being made,
    /// or about its predecessor.
    pub(crate) const fn waits_for_answers(&self) -> bool {
        match self {
            Self::EndChild(_)
            | Self::DeleteChild(_)
            | Self::RekeyChild(_)
            | Self::RekeyIkeSa
            | Self::Reauthenticate => true,
            Self::Liveness
            | Self::UpdateAddresses
            | Self::TellAddresses
            | Self::CheckRoutability
            | Self::DisownChild(_)
            | Self::CreateChild(_)
            | Self::Redirect(..)
            | Self::TellLifetime
            | Self::Succeed
            | Self::DeleteIkeSa => false,
        }
    }

    /// It must not begin while the CHILD_SA of IKE_AUTH is being installed.
    pub(crate) const fn waits_for_installation(&self) -> bool {
        matches!(self, Self::RekeyIkeSa | Self::Reauthenticate | Self::Succeed)
    }

    /// Whom to tell that it will not be done.
    pub(crate) fn into_request(self) -> Option<RequestId> {
        match self {
            Self::CreateChild(wanted) => wanted.request,
            Self::Redirect(_, request) => Some(request),
            // Who waits for these is kept with what they are about.
            Self::Liveness
            | Self::UpdateAddresses
            | Self::TellAddresses
            | Self::CheckRoutability
            | Self::EndChild(_)
            | Self::DeleteChild(_)
            | Self::DisownChild(_)
            | Self::RekeyChild(_)
            | Self::RekeyIkeSa
            | Self::TellLifetime
            | Self::Reauthenticate
            | Self::Succeed
            | Self::DeleteIkeSa => None,
        }
    }
}

/// The exchange of ours that is under way.
pub(crate) enum Active {
    /// INFORMATIONAL.
    Inform(Task),
    /// CREATE_CHILD_SA for a CHILD_SA, from before the request to after the response: what it needs from outside
    /// takes time.
    CreateChild(Box<create_child::Asking>),
    /// CREATE_CHILD_SA for the IKE SA.
    RekeyIkeSa(Box<rekey_ike::Asking>),
}

impl Active {
    /// The exchange whose response we wait for.
    pub(crate) fn awaits(&self) -> Option<ExchangeType> {
        match self {
            Self::Inform(_) => Some(ExchangeType::INFORMATIONAL),
            Self::CreateChild(asking) => asking.is_sent().then_some(ExchangeType::CREATE_CHILD_SA),
            Self::RekeyIkeSa(_) => Some(ExchangeType::CREATE_CHILD_SA),
        }
    }

    /// The name charon has for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Inform(task) => task.name(),
            Self::CreateChild(asking) if asking.rekeys().is_some() => "CHILD_REKEY",
            Self::CreateChild(_) => "CHILD_CREATE",
            Self::RekeyIkeSa(_) => "IKE_REKEY",
        }
    }
}
