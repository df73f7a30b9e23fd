//! Its CHILD_SAs come and go.

use tracing::info;

use super::{Established, Installing};
use crate::attempt::Attempt;
use crate::config::Child;
use crate::context::Cx;
use crate::error::Failure;
use crate::output::{Action, ActionId, ChildDown, ChildSaId, Event, Outbound, Outcome, RequestId};
use crate::sa::child::ChildSa;
use crate::sa::task::{Task, Wanted};
use crate::sa::{Core, HeldLease, PlannedChild};
use crate::status::ChildSaState;

impl Established {
    /// Takes a CHILD_SA that is being installed.
    pub(crate) fn install(&mut self, child_sa: ChildSa, installing: Installing) {
        self.children.push(child_sa);
        self.installing = Some(installing);
    }

    /// Takes virtual IPs that are being installed, for CHILD_SAs that come later.
    pub(crate) fn install_addresses(&mut self, action: ActionId) {
        self.installing = Some(Installing { action, child_sa: None, then: None });
    }

    fn addresses_installed(&mut self, outcome: Outcome, core: &mut Core, cx: &mut Cx<'_>) {
        let mut requests = std::mem::take(&mut core.requests);
        if let Outcome::Failed(why) = outcome {
            info!(target: "ike", "installing virtual IPs failed, keeping IKE_SA: {why}");
            self.held = HeldLease::Nothing;
            return cx.complete(&mut requests, &Err(format!("installing virtual IPs failed: {why}")));
        }
        cx.complete(&mut requests, &Ok(()));
    }

    /// Takes a CHILD_SA that the data plane has.
    pub(crate) fn child_installed(&mut self, mut child_sa: ChildSa, core: &mut Core, cx: &mut Cx<'_>) {
        child_sa.mark_installed(cx);
        info!(target: "ike", audit = true, "{} established", child_sa.describe(core));
        let child = Box::new(child_sa.status());
        self.children.push(child_sa);
        self.arm_child_timers(core);
        cx.tell(Event::ChildSaUp { ike_sa: Box::new(self.status(core)), child_sa: child });
    }

    /// The IKE SA stands without the CHILD_SA it was made for.
    pub(crate) fn child_failed(
        &mut self,
        planned: &PlannedChild,
        failure: &Failure,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) {
        cx.ask(core.id, Action::RemoveChild { child_sa: planned.id });
        if let Some(wanted) = planned.wanted.for_single_pair(failure) {
            info!(target: "ike", "failed to establish CHILD_SA, trying again for a single pair: {failure}");
            core.requests.retain(|request| Some(*request) != wanted.request);
            let mut requests = std::mem::take(&mut core.requests);
            cx.complete(&mut requests, &Ok(()));
            self.create_child(wanted);
            return;
        }
        self.decide_on_child_failure(Some(&planned.wanted.child), failure, core, cx);
        let mut requests = std::mem::take(&mut core.requests);
        cx.complete(&mut requests, &Err(format!("establishing CHILD_SA failed: {failure}")));
    }

    /// The first CHILD_SA has come to nothing. RFC 7296 §1.2: the IKE SA is there all the same, and stays unless the
    /// settings say otherwise.
    pub(crate) fn decide_on_child_failure(
        &mut self,
        child: Option<&Child>,
        failure: &Failure,
        core: &Core,
        cx: &mut Cx<'_>,
    ) {
        cx.tell_attempt(Attempt::of_child(core, &self.connection, child, core.role, failure));
        if cx.settings.close_ike_on_child_failure {
            info!(target: "ike", "failed to establish CHILD_SA, closing IKE_SA: {failure}");
            self.end(ChildDown::Terminated);
        } else {
            info!(target: "ike", "failed to establish CHILD_SA, keeping IKE_SA: {failure}");
        }
    }

    pub(super) fn handle_installed(&mut self, outcome: Outcome, core: &mut Core, cx: &mut Cx<'_>) {
        let Some(installing) = self.installing.take() else { return };
        let Some(id) = installing.child_sa else { return self.addresses_installed(outcome, core, cx) };
        if let Outcome::Failed(why) = outcome {
            info!(target: "ike", "installing the CHILD_SA failed, keeping IKE_SA: {why}");
            if installing.then.is_some() {
                self.held = HeldLease::Nothing; // the virtual IPs are not there, so nobody need take them away
            }
            // The peer believes that it stands.
            if let Some(child) = self.child_mut(id) {
                child.ending = Some(ChildDown::Terminated);
            }
            self.queue.push_back(Task::DeleteChild(id));
            let mut requests = std::mem::take(&mut core.requests);
            cx.complete(&mut requests, &Err(format!("installing the CHILD_SA failed: {why}")));
            return;
        }
        if let Some(mut install) = installing.then {
            // The peer or we may have moved meanwhile.
            (install.path, install.encapsulated) = (core.path, core.is_encapsulated());
            if let Some(child) = self.child_mut(id) {
                (child.path, child.encapsulated) = (install.path, install.encapsulated);
            }
            let action = cx.ask(core.id, Action::InstallChild(install));
            self.installing = Some(Installing::child(action, id));
            return;
        }
        let Some(index) = self.children.iter().position(|child| child.id == id) else { return };
        let child_sa = self.children.swap_remove(index);
        self.child_installed(child_sa, core, cx);
        let mut requests = std::mem::take(&mut core.requests);
        cx.complete(&mut requests, &Ok(()));
    }

    /// Makes a further CHILD_SA.
    pub(crate) fn create_child(&mut self, wanted: Wanted) {
        self.queue.push_back(Task::CreateChild(Box::new(wanted)));
    }

    pub(crate) fn terminate_child(&mut self, child_sa: ChildSaId, request: RequestId) {
        self.child_enders.push((child_sa, request));
        if let Some(child) = self.child_mut(child_sa) {
            child.ending = Some(ChildDown::Terminated);
        }
        let task = Task::EndChild(child_sa);
        if !self.queue.contains(&task) {
            self.queue.push_back(task);
        }
    }

    pub(in crate::sa) fn child_mut(&mut self, id: ChildSaId) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// A CHILD_SA is over; the data plane is told, and everybody else.
    pub(crate) fn drop_child(&mut self, id: ChildSaId, why: ChildDown, core: &mut Core, cx: &mut Cx<'_>) {
        self.let_go_of_child(id, ChildSaState::Deleted, why, core, cx);
    }

    /// The same, where it is told to have gone in that state.
    pub(super) fn let_go_of_child(
        &mut self,
        id: ChildSaId,
        state: ChildSaState,
        why: ChildDown,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) {
        if let Some(index) = self.children.iter().position(|child| child.id == id) {
            let mut child = self.children.remove(index);
            if let Some(successor) = child.successor {
                self.put_to_use(&child, successor, core, cx);
            }
            let why = child.ending.unwrap_or(why);
            // What has gone already, has a successor, or never came into use, is not told as down.
            let is_known = child.installed.is_some()
                && child.state != ChildSaState::Deleted
                && child.successor.is_none()
                && child.outbound == Outbound::Now;
            child.state = state;
            child.remove(core, cx);
            if self.installing.as_ref().is_some_and(|installing| installing.child_sa == Some(id)) {
                // Nothing follows from its outcome any more.
                self.installing = None;
                let mut requests = std::mem::take(&mut core.requests);
                cx.complete(&mut requests, &Err("the CHILD_SA was closed before it was installed".into()));
            }
            if is_known {
                info!(target: "ike", audit = true, "{} closed", child.describe(core));
                let (ike_sa, child_sa) = (Box::new(self.status(core)), Box::new(child.status()));
                cx.tell(Event::ChildSaDown { ike_sa, child_sa, reason: why });
            }
        }
        self.complete_child_enders(id, cx);
        self.arm_child_timers(core);
    }

    pub(in crate::sa) fn complete_child_enders(&mut self, id: ChildSaId, cx: &mut Cx<'_>) {
        let mut done: Vec<_> =
            self.child_enders.extract_if(.., |(child, _)| *child == id).map(|(_, r)| r).collect();
        cx.complete(&mut done, &Ok(()));
    }
}
