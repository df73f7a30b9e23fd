//! What we want to ask, one after the other.

use std::time::Instant;

use tracing::info;

use super::{Established, Installing, Rank};
use crate::context::Cx;
use crate::error::Failure;
use crate::output::{ChildDown, RequestId};
use crate::sa::exchange::{create_child, informational, rekey_ike};
use crate::sa::task::{Active, Task};
use crate::sa::{Core, State};
use crate::status::ChildSaState;
use crate::timer::Timer;
use crate::wire::registry::ExchangeType;

impl Established {
    /// Sends the next request, if nothing is in flight.
    pub(crate) fn work(mut self: Box<Self>, core: &mut Core, cx: &mut Cx<'_>) -> Result<State, Failure> {
        if self.force && (self.is_ending() || self.queue.contains(&Task::DeleteIkeSa)) {
            return self.end_at_once(core, cx);
        }
        self.keep_children_up(core, cx);
        if !self.updating.is_empty() {
            return Ok(State::Established(self));
        }
        if std::mem::take(&mut self.resends) {
            core.resend(cx);
        }
        while self.active.is_none() && !core.window.is_waiting() {
            let Some(task) = self.queue.pop_front() else { break };
            if (task.waits_for_answers() && self.answering.is_some())
                || (task.waits_for_installation() && self.installing.is_some())
                || (matches!(task, Task::CreateChild(_))
                    && self.installing.as_ref().is_some_and(Installing::is_for_addresses))
            {
                self.queue.push_front(task);
                break;
            }
            if let Err(failure) = self.ask(task, core, cx) {
                self.close(core, ChildDown::Terminated, &failure.to_string(), cx);
                return Ok(State::Gone);
            }
        }
        Ok(State::Established(self))
    }

    /// Begins with a task. It may have lost its object while it waited.
    pub(super) fn ask(&mut self, task: Task, core: &mut Core, cx: &mut Cx<'_>) -> Result<(), Failure> {
        let payloads = match task {
            Task::Liveness => informational::liveness(self, core, cx),
            Task::UpdateAddresses => informational::update_addresses(self, core, cx),
            Task::TellAddresses => informational::tell_addresses(self, core, cx),
            Task::CheckRoutability => informational::check_routability(self, cx),
            Task::DeleteIkeSa => {
                if self.rank == Rank::Current {
                    info!(target: "ike", "deleting IKE_SA {}[{}] between {}...{}", core.name(), core.id, core.path.local.ip(), core.path.remote.ip());
                }
                informational::delete_ike_sa()
            }
            Task::EndChild(id) => {
                let line = self.line(id);
                let (Some(first), Some(last)) = (line.first().copied(), line.last().copied()) else {
                    self.complete_child_enders(id, cx);
                    return Ok(());
                };
                for child in self.children.iter_mut().filter(|child| line.contains(&child.id)) {
                    child.ending = Some(ChildDown::Terminated);
                }
                for (child, _) in self.child_enders.iter_mut().filter(|(child, _)| *child == id) {
                    *child = last;
                }
                for rest in line.into_iter().skip(1).rev() {
                    self.queue.push_front(Task::DeleteChild(rest));
                }
                return self.ask(Task::DeleteChild(first), core, cx);
            }
            Task::DeleteChild(id) => match self.child_mut(id).filter(|child| !child.is_ended()) {
                Some(child) => {
                    child.state = ChildSaState::Deleting;
                    informational::delete_child(child.spi_in)
                }
                None => {
                    self.complete_child_enders(id, cx);
                    return Ok(());
                }
            },
            Task::DisownChild(spi) => informational::delete_child(spi),
            Task::CreateChild(wanted) => {
                self.active =
                    Some(Active::CreateChild(Box::new(create_child::Asking::new(*wanted, core, cx))));
                return Ok(());
            }
            Task::RekeyChild(id) => {
                self.begin_rekey_child(id, core, cx);
                return Ok(());
            }
            Task::RekeyIkeSa => return rekey_ike::ask(self, core, cx),
            Task::Redirect(ref gateway, _) => informational::redirect(gateway),
            Task::TellLifetime => match self.auth_lifetime(cx) {
                Some(seconds) => informational::tell_lifetime(seconds),
                None => return Ok(()),
            },
            Task::Reauthenticate => {
                return match self.begin_reauthentication(core, cx) {
                    Some(task) => self.ask(task, core, cx),
                    None => Ok(()),
                };
            }
            Task::Succeed => {
                Self::succeed_predecessor(core, cx);
                return Ok(());
            }
        };
        core.request(ExchangeType::INFORMATIONAL, &payloads, cx)?;
        self.active = Some(Active::Inform(task));
        Ok(())
    }

    /// The IKE SA is to be rekeyed at another moment.
    pub(in crate::sa) fn rekey_at(&mut self, at: Instant, core: &mut Core) {
        self.rekeys = Some(at);
        core.timers.arm(Timer::Rekey, at);
    }

    /// Makes the successor of the IKE SA.
    pub(crate) fn rekey(&mut self, request: Option<RequestId>) {
        self.rekeyers.extend(request);
        let is_active = matches!(self.active, Some(Active::RekeyIkeSa(_)));
        if !is_active && !self.queue.contains(&Task::RekeyIkeSa) {
            self.queue.push_back(Task::RekeyIkeSa);
        }
    }
}
