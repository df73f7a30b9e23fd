//! Whether the peer is still there (RFC 7296 §2.4).

use std::time::Duration;

use tracing::info;

use super::{Established, Rank};
use crate::context::Cx;
use crate::output::Action;
use crate::sa::Core;
use crate::sa::task::Task;
use crate::timer::Timer;

/// How often at most somebody we cannot trust makes us ask whether the peer is there.
const PAUSE_BETWEEN_HINTS: Duration = Duration::from_secs(60);

impl Established {
    /// RFC 7296 §2.21.4: a liveness check, whatever `dpd_delay` says, and not often.
    pub(in crate::sa) fn take_hint(&mut self, cx: &Cx<'_>) {
        let is_early = |at| cx.now.saturating_duration_since(at) < PAUSE_BETWEEN_HINTS;
        // A request in flight asks the same question.
        if self.rank != Rank::Current
            || self.active.is_some()
            || !self.queue.is_empty()
            || self.hinted.is_some_and(is_early)
        {
            return;
        }
        self.hinted = Some(cx.now);
        info!(target: "ike", "sending DPD request: somebody says that the peer does not know our packets");
        self.queue.push_back(Task::Liveness);
    }

    /// Nothing but an answer under our keys, or a packet that was decrypted, counts as a sign of life.
    pub(super) fn check_liveness(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let quiet = cx.now.saturating_duration_since(core.heard);
        let child_sas: Vec<_> = self.children.iter().map(|child| child.id).collect();
        let Some(delay) = self.connection.dpd_delay.filter(|_| self.rank == Rank::Current) else { return };
        if quiet < delay || child_sas.is_empty() {
            self.consider_liveness(quiet, core, cx);
        } else {
            self.querying = Some(cx.ask(core.id, Action::QueryUse { child_sas }));
        }
    }

    pub(super) fn consider_liveness(&mut self, quiet: Duration, core: &mut Core, cx: &Cx<'_>) {
        let Some(delay) = self.connection.dpd_delay.filter(|_| self.rank == Rank::Current) else { return };
        let quiet = quiet.min(cx.now.saturating_duration_since(core.heard));
        if quiet < delay {
            core.timers.arm(Timer::Liveness, cx.now + (delay - quiet));
            return;
        }
        core.timers.arm(Timer::Liveness, cx.now + delay);
        self.ask_for_life();
    }

    /// Asks whether the peer is there. A request in flight asks the same question.
    pub(super) fn ask_for_life(&mut self) {
        if self.active.is_none() && self.queue.is_empty() {
            info!(target: "ike", "sending DPD request");
            self.queue.push_back(Task::Liveness);
        }
    }
}
