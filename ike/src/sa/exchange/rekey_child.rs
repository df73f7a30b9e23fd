//! What follows from rekeying a CHILD_SA (RFC 7296 §2.8, §2.8.1, §2.25.1).
//!
//! Make before break. Who asked: both directions of the successor are installed and in use with the response, then
//! the old one is deleted. Who answered: the successor receives before the response leaves, and is sent with when the
//! peer deletes the old one, for then it is ready. The old one goes on receiving for a while, for packets that are
//! late.
//!
//! If both ends ask at once, the two successors' nonces decide which one stays, when both are there.

use tracing::info;

use super::create_child::{Asking, Rival};
use crate::context::Cx;
use crate::error::Failure;
use crate::output::{Action, ChildDown, ChildSaId, Event, Outbound, RequestId};
use crate::sa::Core;
use crate::sa::child::{ChildSa, retry};
use crate::sa::collision::{self, Answer, Ours, Request, Survivor};
use crate::sa::established::{Established, Rank};
use crate::sa::task::{Active, Task, Wanted};
use crate::status::{ChildSaState, ChildSaStatus};
use crate::timer::Timer;
use crate::wire::registry::{NotifyType, Spi};

impl Established {
    // What we begin.

    /// Makes the successor of a CHILD_SA, at the order of an operator.
    pub(crate) fn rekey_child(&mut self, id: ChildSaId, request: RequestId) {
        self.child_rekeyers.push((id, request));
        if !self.queue.contains(&Task::RekeyChild(id)) {
            self.queue.push_back(Task::RekeyChild(id));
        }
    }

    pub(crate) fn rekey_due_children(&mut self, core: &mut Core, cx: &Cx<'_>) {
        for child in &mut self.children {
            if child.rekeys.is_some_and(|at| at <= cx.now) && child.is_to_be_rekeyed() {
                child.rekeys = None; // armed again if it fails
                let task = Task::RekeyChild(child.id);
                if !self.queue.contains(&task) {
                    self.queue.push_back(task);
                }
            }
        }
        self.arm_child_timers(core);
    }

    /// It is our turn to ask, if nobody has made a successor meanwhile.
    pub(crate) fn begin_rekey_child(&mut self, id: ChildSaId, core: &Core, cx: &mut Cx<'_>) {
        let Some(child) = self.child_mut(id).filter(|child| child.is_to_be_rekeyed()) else {
            let has_successor = self.child(id).is_some_and(|child| child.successor.is_some());
            let result = if has_successor { Ok(()) } else { Err("there is no such CHILD_SA".to_owned()) };
            self.complete_child_rekeyers(id, &result, cx);
            return;
        };
        child.state = ChildSaState::Rekeying;
        let (config, reqid) = (child.child.clone(), child.reqid);
        let wanted = Wanted::again(config, reqid, Some(id));
        self.active = Some(Active::CreateChild(Box::new(Asking::new(wanted, core, cx))));
    }

    /// The peer says, under our keys, that it does not have what we send this CHILD_SA's packets to (RFC 7296 §1.5). If
    /// that is so it cannot be rekeyed either, and is made from scratch; if it is not so any more, nothing is lost.
    pub(crate) fn peer_lacks_child(&mut self, spi_out: Spi) {
        let lacking = self.children.iter().find(|child| child.spi_out == spi_out && child.is_to_be_rekeyed());
        let Some(task) = lacking.map(|child| Task::RekeyChild(child.id)) else { return };
        if !self.queue.contains(&task) {
            info!(target: "ike", "the peer does not know SPI {spi_out}, rekeying its CHILD_SA");
            self.queue.push_back(task);
        }
    }

    // What comes of it.

    /// Our exchange has come to nothing. The CHILD_SA goes on, and another attempt is made before its time is up.
    pub(crate) fn rekey_child_failed(
        &mut self,
        id: ChildSaId,
        failure: &Failure,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) {
        let is_unknown = matches!(failure, Failure::Refused(NotifyType::CHILD_SA_NOT_FOUND));
        let Some(child) = self.child_mut(id).filter(|child| child.state == ChildSaState::Rekeying) else {
            // The peer has replaced or ended it: RFC 7296 §2.8.1, there is nothing to do.
            return self.complete_child_rekeyers(id, &Err(failure.to_string()), cx);
        };
        if child.successor.is_some() {
            child.state = ChildSaState::Rekeyed;
            return;
        }
        info!(target: "ike", "rekeying CHILD_SA {}{{{id}}} failed: {failure}", child.child.name);
        child.state = ChildSaState::Installed;
        child.rekeys = Some(retry(child.expires, cx));
        if is_unknown {
            // RFC 7296 §2.25: the peer does not have it. It is silently deleted, and made from scratch.
            let (config, reqid) = (child.child.clone(), child.reqid);
            self.drop_child(id, ChildDown::Terminated, core, cx);
            let wanted = Wanted::again(config, reqid, None);
            self.queue.push_back(Task::CreateChild(Box::new(wanted)));
        }
        self.complete_child_rekeyers(id, &Err(failure.to_string()), cx);
        self.arm_child_timers(core);
    }

    /// A request of the peer has been granted: takes the CHILD_SA.
    pub(crate) fn child_answered(
        &mut self,
        mut child_sa: ChildSa,
        rekeys: Option<ChildSaId>,
        lowest: Vec<u8>,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) {
        let Some(old) = rekeys else { return self.child_installed(child_sa, core, cx) };
        let id = child_sa.id;
        child_sa.mark_installed(cx);
        info!(target: "ike", audit = true, "inbound {} established", child_sa.describe(core));
        self.children.push(child_sa);
        if let Some(old) = self.child_mut(old) {
            old.successor = Some(id);
            if old.state == ChildSaState::Installed {
                old.state = ChildSaState::Rekeyed;
            }
        }
        if let Some(Active::CreateChild(asking)) = &mut self.active
            && asking.rekeys() == rekeys
        {
            asking.note_rival(Rival { child_sa: id, lowest });
        }
        self.arm_child_timers(core);
        self.settle_rekeyed_child(core, cx);
    }

    /// If our exchange for a CHILD_SA is done, and no exchange of the peer about the same one is under way: takes
    /// what we made, and decides between it and what the peer made.
    pub(crate) fn settle_rekeyed_child(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let asking = match self.active.take() {
            Some(Active::CreateChild(asking)) => asking,
            other => return self.active = other,
        };
        let old = asking.rekeys();
        if old.is_some() && self.answering.as_ref().is_some_and(|answering| answering.rekeys() == old) {
            return self.active = Some(Active::CreateChild(asking));
        }
        let (made, wanted, rival) = match asking.finish() {
            Ok(finished) => finished,
            Err(asking) => return self.active = Some(Active::CreateChild(asking)),
        };
        let mut request = wanted.request.into_iter().collect();
        match (old, rival) {
            (None, _) => {
                self.child_installed(made.child_sa, core, cx);
                cx.complete(&mut request, &Ok(()));
            }
            (Some(old), Some(rival))
                if collision::survivor(&made.lowest, &rival.lowest) == Survivor::Theirs
                    && !self.is_abandoned(old, rival.child_sa) =>
            {
                info!(target: "ike", "CHILD_SA rekey collision lost, deleting the redundant CHILD_SA");
                self.yield_to(old, rival.child_sa, made.child_sa, cx);
            }
            (Some(old), rival) => {
                if rival.is_some() {
                    info!(target: "ike", "CHILD_SA rekey collision won, deleting the old CHILD_SA");
                }
                self.succeed(old, made.child_sa, core, cx);
            }
        }
        self.arm_child_timers(core);
    }

    /// A CHILD_SA is still there, and the successor that the peer made for it is not: the peer has taken it back.
    fn is_abandoned(&self, old: ChildSaId, successor: ChildSaId) -> bool {
        let is_live = |id| self.child(id).is_some_and(ChildSa::is_live);
        is_live(old) && !is_live(successor)
    }

    /// Our successor stays: it is used from now on, and the old one deleted.
    fn succeed(&mut self, old: ChildSaId, mut new: ChildSa, core: &mut Core, cx: &mut Cx<'_>) {
        let id = new.id;
        let Some(child) = self.child_mut(old).filter(|child| child.is_live()) else {
            // The peer has deleted the old one meanwhile, and yet granted a successor.
            if new.outbound == Outbound::Held {
                new.outbound = Outbound::Now;
                cx.ask(core.id, Action::UseChild { child_sa: id });
            }
            self.complete_child_rekeyers(old, &Ok(()), cx);
            return self.child_installed(new, core, cx);
        };
        child.state = ChildSaState::Rekeyed;
        child.successor = Some(id);
        let old_status = child.status();
        new.mark_installed(cx);
        // What was installed without a rival is in use already.
        if new.outbound == Outbound::Held {
            new.outbound = Outbound::Now;
            cx.ask(core.id, Action::UseChild { child_sa: id });
        }
        let status = new.status();
        self.children.push(new);
        self.tell_rekeyed(old_status, status, core, cx);
        self.queue.push_front(Task::DeleteChild(old));
    }

    /// The peer's successor stays: ours goes. The peer deletes the old one.
    fn yield_to(&mut self, old: ChildSaId, theirs: ChildSaId, mut ours: ChildSa, cx: &Cx<'_>) {
        let id = ours.id;
        ours.mark_installed(cx);
        self.children.push(ours);
        self.queue.push_front(Task::DeleteChild(id));
        if let Some(child) = self.child_mut(old).filter(|child| child.state == ChildSaState::Rekeying) {
            child.state = ChildSaState::Rekeyed;
            child.successor = Some(theirs);
        }
    }

    // The end of the old one.

    /// The peer deletes the CHILD_SA it receives on with this SPI. What we receive on, if that is to be said.
    pub(crate) fn peer_deletes_child(&mut self, spi: Spi, core: &mut Core, cx: &mut Cx<'_>) -> Option<Spi> {
        let child = self.by_peers_spi(spi);
        let verdict = collision::answer(Request::DeleteChild, self.ours(Request::DeleteChild, child));
        let Some(child) = child else {
            tracing::debug!(target: "ike", "received DELETE for unknown CHILD_SA with SPI {spi}");
            if let Some(Active::CreateChild(asking)) = &mut self.active {
                asking.note_deleted(spi); // it may be the one whose response is on its way
            }
            return None;
        };
        info!(target: "ike", "received DELETE for CHILD_SA {}{{{}}} with SPI {spi}", child.child.name, child.id);
        let (id, spi_in) = (child.id, child.spi_in);
        self.child_deleted(id, core, cx);
        // RFC 7296 §1.4.1: if both ends delete at once, ours is not repeated in the answer.
        (verdict != Answer::Empty).then_some(spi_in)
    }

    /// Both ends know that a CHILD_SA goes.
    pub(crate) fn child_deleted(&mut self, id: ChildSaId, core: &mut Core, cx: &mut Cx<'_>) {
        let Some(child) = self.child(id).filter(|child| child.state != ChildSaState::Deleted) else {
            return self.complete_child_enders(id, cx); // both ends have deleted it
        };
        let is_unused = child.outbound == Outbound::Held;
        let is_ended_unused = |new: &ChildSa| new.outbound == Outbound::Held && !new.is_live();
        let successor = child.successor;
        if successor.and_then(|new| self.child(new)).is_some_and(is_ended_unused) {
            if let Some(child) = self.child_mut(id) {
                child.successor = None; // it ends as well, and never took the place
            }
            return self.drop_child(id, ChildDown::Closed, core, cx);
        }
        // The successor may have had a successor of its own and be gone by now: a DELETE can take long.
        if is_unused || successor.is_some() {
            self.retire(id, core, cx);
            return;
        }
        self.drop_child(id, ChildDown::Closed, core, cx);
    }

    /// A CHILD_SA goes whose place another one has taken, or which never came into use. It still receives what is
    /// late.
    fn retire(&mut self, id: ChildSaId, core: &mut Core, cx: &mut Cx<'_>) {
        let delay = cx.settings.delete_rekeyed_delay;
        let Some(child) = self.child_mut(id) else { return };
        child.state = ChildSaState::Deleted;
        child.rekeys = None;
        child.lingers = if delay.is_zero() { child.expires } else { Some(cx.now + delay) };
        let (until, successor) = (child.lingers, child.successor);
        let is_unused = child.outbound == Outbound::Held;
        if let Some(successor) = successor
            && let Some(index) = self.children.iter().position(|child| child.id == id)
        {
            let old = self.children.remove(index);
            self.put_to_use(&old, successor, core, cx);
            self.children.insert(index, old);
        }
        if is_unused {
            // A successor is taken back that its predecessor never had to give way to: that one goes on as before.
            let retry_at = retry(None, cx);
            for old in self.children.iter_mut().filter(|old| old.successor == Some(id)) {
                old.successor = None;
                if old.state == ChildSaState::Rekeyed {
                    old.state = ChildSaState::Installed;
                    old.rekeys = Some(retry_at).filter(|_| old.child.rekey_time.is_some());
                }
            }
        }
        if until.is_none_or(|at| at <= cx.now) {
            self.drop_child(id, ChildDown::Closed, core, cx);
        }
        self.complete_child_enders(id, cx);
        self.arm_child_timers(core);
    }

    /// The successor of a CHILD_SA, if it is still there and was not used yet, is sent with from now on.
    pub(crate) fn put_to_use(&mut self, old: &ChildSa, new: ChildSaId, core: &Core, cx: &mut Cx<'_>) {
        let old = old.status();
        let Some(child) = self.child_mut(new).filter(|new| new.is_live() && new.outbound == Outbound::Held)
        else {
            return;
        };
        child.outbound = Outbound::Now;
        let status = child.status();
        cx.ask(core.id, Action::UseChild { child_sa: new });
        self.tell_rekeyed(old, status, core, cx);
    }

    /// The peer sends with the successor it has made of a CHILD_SA, so it can receive on it too.
    // RFC 7296 §2.8: "the responder MAY defer sending messages on a new SA until either it receives one or" — for us —
    // the DELETE of the old one comes.
    pub(crate) fn first_received(&mut self, new: ChildSaId, core: &Core, cx: &mut Cx<'_>) {
        let Some(index) = self.children.iter().position(|old| old.successor == Some(new)) else { return };
        // While we make a successor too, it is not decided which of them stays.
        let ours = match &self.active {
            Some(Active::CreateChild(asking)) => asking.rekeys(),
            _ => None,
        };
        if self.children.get(index).is_some_and(|old| Some(old.id) != ours) {
            let old = self.children.remove(index);
            self.put_to_use(&old, new, core, cx);
            self.children.insert(index, old);
        }
    }

    fn tell_rekeyed(&mut self, old: ChildSaStatus, new: ChildSaStatus, core: &Core, cx: &mut Cx<'_>) {
        info!(
            target: "ike", audit = true,
            "CHILD_SA {}{{{}}} has been rekeyed, successor {{{}}}", old.name, old.id, new.id
        );
        cx.counters.children_rekeyed += 1;
        let (id, ike_sa) = (old.id, Box::new(self.status(core)));
        cx.tell(Event::ChildRekeyed { ike_sa, old: Box::new(old), new: Box::new(new) });
        self.complete_child_rekeyers(id, &Ok(()), cx);
    }

    fn complete_child_rekeyers(&mut self, id: ChildSaId, result: &Result<(), String>, cx: &mut Cx<'_>) {
        let mut done: Vec<_> =
            self.child_rekeyers.extract_if(.., |(child, _)| *child == id).map(|(_, r)| r).collect();
        cx.complete(&mut done, result);
    }

    // Times.

    pub(crate) fn end_expired_children(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let is_due = |child: &&ChildSa| child.is_to_expire() && child.expires.is_some_and(|at| at <= cx.now);
        let due: Vec<_> = self.children.iter().filter(is_due).map(|child| child.id).collect();
        for id in due {
            let Some(child) = self.child(id) else { continue };
            info!(target: "knl", "{} is deleted: its lifetime is over", child.describe(core));
            // Its keys are not used any longer, however long it takes to tell the peer.
            if child.state != ChildSaState::Deleting {
                self.queue.push_back(Task::DisownChild(child.spi_in));
            }
            self.drop_child(id, ChildDown::Expired, core, cx);
        }
        self.arm_child_timers(core);
    }

    /// Its hard limit is reached, whether in time or in what it carries: RFC 4301 §4.4.2.1.
    pub(crate) fn child_exhausted(&mut self, id: ChildSaId, core: &mut Core, cx: &mut Cx<'_>) {
        if let Some(child) = self.child_mut(id) {
            child.expires = Some(cx.now);
        }
        self.end_expired_children(core, cx);
    }

    pub(crate) fn remove_lingering_children(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let due = |child: &&ChildSa| child.lingers.is_some_and(|at| at <= cx.now);
        let due: Vec<_> = self.children.iter().filter(due).map(|child| child.id).collect();
        for id in due {
            self.drop_child(id, ChildDown::Closed, core, cx);
        }
        self.arm_child_timers(core);
    }

    /// Sets the timers by what the CHILD_SAs say.
    pub(crate) fn arm_child_timers(&self, core: &mut Core) {
        let children = || self.children.iter();
        let deadlines = [
            (Timer::ChildRekey, children().filter(|c| c.is_to_be_rekeyed()).filter_map(|c| c.rekeys).min()),
            (Timer::ChildExpire, children().filter(|c| c.is_to_expire()).filter_map(|c| c.expires).min()),
            (Timer::ChildLinger, children().filter_map(|c| c.lingers).min()),
        ];
        for (timer, deadline) in deadlines {
            match deadline {
                Some(at) => core.timers.arm(timer, at),
                None => core.timers.disarm(timer),
            }
        }
        self.arm_inactivity(core);
    }

    // How things stand.

    /// The CHILD_SA that a peer means by the SPI it receives on, unless it is deleted already.
    pub(crate) fn by_peers_spi(&self, spi: Spi) -> Option<&ChildSa> {
        self.children.iter().find(|child| child.spi_out == spi && child.state != ChildSaState::Deleted)
    }

    /// The last in the line of successors.
    fn heir(&self, id: ChildSaId) -> ChildSaId {
        let mut heir = id;
        // As many steps as there are children: the line has no loops, but that need not be believed.
        for _ in &self.children {
            match self.child(heir).and_then(|child| child.successor) {
                Some(successor) if self.child(successor).is_some() => heir = successor,
                _ => break,
            }
        }
        heir
    }

    /// Everything that must be deleted for a CHILD_SA to end: the last in the line of successors, and then those whose
    /// place it takes, the newest first. The peer may not know of the successor yet, and keep what it knows.
    pub(crate) fn line(&self, id: ChildSaId) -> Vec<ChildSaId> {
        let heir = self.heir(id);
        let is_of_it = |child: &&ChildSa| !child.is_ended() && self.heir(child.id) == heir;
        self.children.iter().rev().filter(is_of_it).map(|child| child.id).collect()
    }

    /// What we are at, as far as a request of the peer touches it.
    pub(crate) fn ours(&self, request: Request, child: Option<&ChildSa>) -> Ours {
        let asking = match &self.active {
            _ if self.rank == Rank::Superseded => return Ours::ReplacedIkeSa,
            Some(Active::Inform(Task::DeleteIkeSa)) => return Ours::DeletingIkeSa,
            Some(Active::RekeyIkeSa(_)) if request != Request::DeleteChild => return Ours::RekeyingIkeSa,
            Some(Active::Inform(Task::EndChild(_) | Task::DeleteChild(_) | Task::DisownChild(_)))
                if request == Request::RekeyIkeSa =>
            {
                return Ours::DeletingChild;
            }
            Some(Active::CreateChild(asking)) => Some(asking),
            Some(Active::Inform(_) | Active::RekeyIkeSa(_)) | None => None,
        };
        match (request, asking) {
            (Request::CreateChild, _) => Ours::Nothing,
            (Request::RekeyIkeSa, None) if self.installing.is_some() => Ours::CreatingChild,
            (Request::RekeyIkeSa, None) => Ours::Nothing,
            (Request::RekeyIkeSa, Some(asking)) if asking.rekeys().is_some() => Ours::RekeyingChild,
            (Request::RekeyIkeSa, Some(_)) => Ours::CreatingChild,
            (Request::RekeyChild | Request::DeleteChild, asking) => {
                let Some(child) = child else {
                    let may_be_it = request == Request::RekeyChild && asking.is_some_and(|a| a.is_sent());
                    return if may_be_it { Ours::CreatingChild } else { Ours::NoSuchChild };
                };
                match asking.filter(|asking| asking.rekeys() == Some(child.id)) {
                    _ if child.state == ChildSaState::Deleting => Ours::DeletingChild,
                    // Our DELETE is not sent yet. A successor that is made before it would outlive it.
                    _ if child.ending.is_some() && request == Request::RekeyChild => Ours::DeletingChild,
                    Some(asking) if asking.is_granted() => Ours::ReplacingChild,
                    Some(_) => Ours::RekeyingChild,
                    None => Ours::Nothing,
                }
            }
        }
    }
}

impl ChildSa {
    /// It may be replaced at our wish.
    fn is_to_be_rekeyed(&self) -> bool {
        self.state == ChildSaState::Installed && self.outbound == Outbound::Now
    }

    /// The data plane has it, and it is not there for late packets alone.
    fn is_to_expire(&self) -> bool {
        self.is_live() || self.state == ChildSaState::Deleting
    }
}
