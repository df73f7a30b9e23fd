//! CHILD_SAs that carry nothing for longer than they are configured to (swanctl.conf `inactivity`).

use std::time::Instant;

use tracing::info;

use super::Established;
use crate::context::Cx;
use crate::output::{Action, ChildDown, ChildSaId, LastUse, Outcome};
use crate::sa::Core;
use crate::sa::child::ChildSa;
use crate::sa::task::Task;
use crate::timer::Timer;

impl Established {
    /// Asks the data plane about those that may have been idle for too long.
    pub(super) fn check_inactivity(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let due: Vec<_> = self.idle(cx.now).map(|child| child.id).collect();
        if due.is_empty() {
            return self.arm_child_timers(core);
        }
        let action = cx.ask(core.id, Action::QueryUse { child_sas: due.clone() });
        self.watching = Some((action, due));
    }

    /// Ends those that carried nothing. Where the data plane says nothing, nothing was carried.
    pub(super) fn consider_inactivity(
        &mut self,
        asked: &[ChildSaId],
        outcome: Outcome,
        core: &mut Core,
        cx: &Cx<'_>,
    ) {
        let uses = match outcome {
            Outcome::Used(uses) => uses,
            _ => vec![],
        };
        for LastUse { child_sa, received, sent } in uses {
            let last = received.into_iter().chain(sent).min().and_then(|ago| cx.now.checked_sub(ago));
            if let Some(child) = self.child_mut(child_sa) {
                child.used = child.used.max(last);
            }
        }
        let idle: Vec<_> =
            self.idle(cx.now).map(|child| child.id).filter(|child| asked.contains(child)).collect();
        for id in idle {
            self.end_idle_child(id, core, cx);
        }
        self.arm_child_timers(core);
    }

    fn end_idle_child(&mut self, id: ChildSaId, core: &Core, cx: &Cx<'_>) {
        let is_last = self.children.iter().all(|child| child.id == id || !child.is_live());
        let Some(child) = self.child_mut(id) else { return };
        let (name, patience) = (child.child.name.clone(), child.child.inactivity.unwrap_or_default());
        child.ending = Some(ChildDown::Terminated);
        if cx.settings.inactivity_close_ike && is_last {
            info!(
                target: "ike",
                "deleting IKE_SA {}[{}] after {} seconds of CHILD_SA inactivity",
                core.name(), core.id, patience.as_secs()
            );
            self.end(ChildDown::Terminated);
        } else {
            info!(target: "ike", "deleting CHILD_SA {name}{{{id}}} after {} seconds of inactivity", patience.as_secs());
            self.queue.push_back(Task::EndChild(id));
        }
    }

    fn idle(&self, now: Instant) -> impl Iterator<Item = &ChildSa> {
        self.children.iter().filter(move |child| child.idle_from().is_some_and(|at| at <= now))
    }

    /// When the next of them may have been idle for too long, if it is not being asked already.
    pub(in crate::sa) fn arm_inactivity(&self, core: &mut Core) {
        let next = self.children.iter().filter_map(ChildSa::idle_from).min();
        match next.filter(|_| self.watching.is_none()) {
            Some(at) => core.timers.arm(Timer::ChildInactive, at),
            None => core.timers.disarm(Timer::ChildInactive),
        }
    }
}

impl ChildSa {
    /// When it has been idle for too long, by what is known of its use; `None` if that does not end it.
    fn idle_from(&self) -> Option<Instant> {
        let (patience, used) = (self.child.inactivity?, self.used?);
        self.is_wanted().then(|| used + patience)
    }
}
