//! How it ends (RFC 7296 §1.4.1).

use std::time::Duration;

use tracing::info;

use super::reauth::Renewing;
use super::{Established, Rank};
use crate::config::Lease;
use crate::context::Cx;
use crate::error::Failure;
use crate::output::{Action, ChildDown, Event, RequestId};
use crate::sa::exchange::informational;
use crate::sa::renewal::Renewal;
use crate::sa::task::{Active, Task};
use crate::sa::{Core, HeldLease, State};
use crate::status::{IkeSaState, IkeSaStatus};
use crate::timer::Timer;
use crate::wire::registry::ExchangeType;

/// How long the peer may take to hear of the end of an IKE SA: the last answer is kept so long after the peer has
/// deleted it, should it have been lost. It covers every retransmission of the default schedule, the last of which comes
/// after 90 seconds.
pub(in crate::sa) const LINGER: Duration = Duration::from_secs(100);

impl Established {
    pub(crate) fn terminate(&mut self, request: RequestId, force: bool) {
        self.enders.push(request);
        self.force |= force;
        self.forget_renewal();
        self.end(ChildDown::Terminated);
    }

    /// Nothing is to take its place.
    pub(crate) fn forget_renewal(&mut self) {
        if let Some(Renewing::Next(requests, _)) = self.renewing.take() {
            self.reauthenticators.extend(requests);
        }
    }

    /// Asks for the end of the IKE SA, before all else that waits. An operator's reason counts more than others.
    pub(crate) fn end(&mut self, why: ChildDown) {
        if self.ending != Some(ChildDown::Terminated) {
            self.ending = Some(why);
        }
        if !self.is_ending() && !self.queue.contains(&Task::DeleteIkeSa) {
            self.queue.push_front(Task::DeleteIkeSa);
        }
    }

    /// The IKE SA is over, but the peer may ask for our last answer again.
    pub(super) fn linger(&mut self, reason: &str, core: &mut Core, cx: &mut Cx<'_>) -> State {
        self.close(core, ChildDown::Closed, reason, cx);
        core.timers.arm(Timer::Linger, cx.now + LINGER);
        State::Closed
    }

    /// The peer is told, if it can be, and nothing is waited for.
    pub(super) fn end_at_once(
        mut self: Box<Self>,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if !self.is_ending() {
            core.settle();
            // The window has room now; if the message IDs are used up, the peer finds out by itself.
            let _ = core.request(ExchangeType::INFORMATIONAL, &informational::delete_ike_sa(), cx);
        }
        self.close(core, ChildDown::Terminated, "deleted by force", cx);
        Ok(State::Gone)
    }

    /// Everything ends: children, addresses, and all who waited are told.
    pub(crate) fn close(&mut self, core: &mut Core, why: ChildDown, reason: &str, cx: &mut Cx<'_>) {
        // What we have asked for ourselves does not turn into another reason because the peer is faster, or silent.
        let why = match (self.ending, &self.renewing) {
            (Some(ending), _) => ending,
            // The children are there again in a moment, or the new one says that they are not.
            (None, Some(Renewing::Meanwhile(_))) => ChildDown::Terminated,
            (None, _) if self.is_redirected => ChildDown::Terminated,
            (None, _) => why,
        };
        let renewal = match self.renewing.take() {
            Some(Renewing::Next(requests, gateway)) => Some(Renewal::of(self, core, requests).with(gateway)),
            Some(Renewing::Meanwhile(_)) | None => None,
        };
        core.disclaim_heritage(self.enders.is_empty(), cx);
        core.timers.clear();
        match self.active.replace(Active::Inform(Task::DeleteIkeSa)) {
            Some(Active::CreateChild(asking)) => asking.give_back(core, cx),
            // Nothing outside knows of these.
            Some(Active::Inform(_) | Active::RekeyIkeSa(_)) | None => {}
        }
        if let Some(answering) = self.answering.take() {
            answering.give_back(core, cx);
        }
        if self.rank == Rank::Current {
            info!(target: "ike", audit = true, "IKE_SA {}[{}] closed: {reason}", core.name(), core.id);
            let status = IkeSaStatus { state: IkeSaState::Deleting, established: None, ..self.status(core) };
            let reason = reason.to_owned();
            cx.tell(Event::IkeSaDown { status: Box::new(status), reason, cause: why });
        }
        let mut requests = std::mem::take(&mut core.requests);
        while let Some(child) = self.children.first() {
            // They go as they are, with their IKE SA: none of them was deleted.
            self.let_go_of_child(child.id, child.state, why, core, cx);
        }
        match std::mem::replace(&mut self.held, HeldLease::Nothing) {
            HeldLease::Nothing => {}
            HeldLease::Taken { lease, installed_for } => {
                cx.ask(core.id, Action::RemoveVirtualIps { ike_sa: installed_for, lease });
            }
            HeldLease::Given(Lease { addresses, .. }) => {
                let pools = self.connection.pools.clone();
                if let Some(identity) = core.peer().cloned() {
                    cx.ask(core.id, Action::ReleaseLease { pools, identity, addresses });
                }
            }
        }
        let mut child_enders: Vec<_> = self.child_enders.drain(..).map(|(_, request)| request).collect();
        cx.complete(&mut child_enders, &Ok(()));
        cx.complete(&mut self.enders, &Ok(()));
        requests.append(&mut self.rekeyers);
        requests.append(&mut self.reauthenticators);
        requests.extend(self.child_rekeyers.drain(..).map(|(_, request)| request));
        requests.extend(self.queue.drain(..).filter_map(Task::into_request));
        cx.complete(&mut requests, &Err(format!("the IKE_SA was closed: {reason}")));
        if let Some(renewal) = renewal {
            renewal.begin(None, cx);
        }
    }

    /// Our DELETE of the IKE SA is under way.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.active, Some(Active::Inform(Task::DeleteIkeSa)))
    }
}
