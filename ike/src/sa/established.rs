//! An established IKE SA: its children, what waits to be asked, and how it ends.
//!
//! Everything here is data. An exchange is a [`Task`] waiting for its turn in the message window; what the
//! peer asks is answered by a function in `exchange`.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::child::{ChildSa, jittered};
use super::opened::Plaintext;
use super::task::{Active, Task, Wanted};
use super::{Core, HeldLease, State};
use crate::config::{Child, Connection, Lease};
use crate::context::Cx;
use crate::crypto::SkD;
use crate::error::Failure;
use crate::output::{
    Action, ActionId, ChildDown, ChildInstall, ChildSaId, Event, Outbound, Outcome, Path, RequestId,
};
use crate::sa::exchange::{create_child, informational, rekey_ike};
use crate::status::{ChildSaState, IkeSaState, IkeSaStatus};
use crate::timer::Timer;
use crate::wire::registry::{ExchangeType, NotifyType};

/// How long the last answer is kept after the peer has deleted the IKE SA, should it have been lost. It covers
/// the first four retransmissions of the default schedule.
const LINGER: Duration = Duration::from_secs(30);

/// Both ends have authenticated.
pub(crate) struct Established {
    pub(crate) connection: Arc<Connection>,
    pub(crate) children: Vec<ChildSa>,
    pub(in crate::sa) rank: Rank,
    pub(in crate::sa) sk_d: SkD,
    pub(in crate::sa) held: HeldLease,
    pub(in crate::sa) since: Instant,
    rekeys: Option<Instant>,
    pub(in crate::sa) expires: Option<Instant>,
    /// When it must have been made anew, however often it is rekeyed.
    pub(in crate::sa) reauthenticates: Option<Instant>,
    pub(in crate::sa) queue: VecDeque<Task>,
    pub(in crate::sa) active: Option<Active>,
    /// The CREATE_CHILD_SA request of the peer that is being answered.
    pub(in crate::sa) answering: Option<Box<create_child::Answering>>,
    pub(in crate::sa) installing: Option<Installing>,
    /// The question when a packet last came, if it is asked.
    querying: Option<ActionId>,
    /// Why we have asked the peer, or mean to ask it, to end the IKE SA.
    ending: Option<ChildDown>,
    /// Commands to be told when the IKE SA is gone.
    pub(in crate::sa) enders: Vec<RequestId>,
    /// Commands to be told when a CHILD_SA is gone.
    pub(in crate::sa) child_enders: Vec<(ChildSaId, RequestId)>,
    /// Commands to be told when the IKE SA has a successor.
    pub(in crate::sa) rekeyers: Vec<RequestId>,
    /// Commands to be told when a CHILD_SA has a successor.
    pub(in crate::sa) child_rekeyers: Vec<(ChildSaId, RequestId)>,
    /// Do not wait for the peer when ending.
    force: bool,
}

/// Whether an IKE SA is the one that matters among those that rekeying leaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// It has the children and the addresses.
    Current,
    /// Another one has them; this one is there to be deleted, and nobody is told of that.
    Superseded,
}

/// A CHILD_SA on its way into the data plane, after the peer has agreed to it.
pub(crate) struct Installing {
    action: ActionId,
    child_sa: ChildSaId,
    /// What follows once the virtual IPs are there.
    then: Option<Box<ChildInstall>>,
}

impl Installing {
    pub(crate) fn child(action: ActionId, child_sa: ChildSaId) -> Self {
        Self { action, child_sa, then: None }
    }

    pub(crate) fn virtual_ips(action: ActionId, child_sa: ChildSaId, then: Box<ChildInstall>) -> Self {
        Self { action, child_sa, then: Some(then) }
    }
}

impl Established {
    pub(crate) fn new(
        connection: Arc<Connection>,
        held: HeldLease,
        sk_d: SkD,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Self {
        let range = connection.rand_time;
        let reauthenticates = connection.reauth_time.map(|time| cx.now + jittered(time, range, cx));
        let mut established = Self::bare(connection, held, sk_d, cx);
        established.reauthenticates = reauthenticates;
        established.begin(core, cx);
        established
    }

    /// One whose time does not run yet.
    pub(in crate::sa) fn bare(connection: Arc<Connection>, held: HeldLease, sk_d: SkD, cx: &Cx<'_>) -> Self {
        Self {
            connection,
            children: Vec::new(),
            rank: Rank::Current,
            sk_d,
            held,
            since: cx.now,
            rekeys: None,
            expires: None,
            reauthenticates: None,
            queue: VecDeque::new(),
            active: None,
            answering: None,
            installing: None,
            querying: None,
            ending: None,
            enders: Vec::new(),
            child_enders: Vec::new(),
            rekeyers: Vec::new(),
            child_rekeyers: Vec::new(),
            force: false,
        }
    }

    /// Its time begins to run, and it makes what was asked for while it was not there.
    pub(in crate::sa) fn begin(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let connection = &self.connection;
        self.rekeys = connection.rekey_time.map(|time| cx.now + jittered(time, connection.rand_time, cx));
        let shortest = [self.rekeys, self.reauthenticates].into_iter().flatten().min();
        self.expires = shortest.map(|at| at + connection.over_time);
        if let Some(at) = self.rekeys {
            core.timers.arm(Timer::Rekey, at);
        }
        if let Some(at) = self.expires {
            core.timers.arm(Timer::Expire, at);
        }
        if let Some(delay) = connection.dpd_delay {
            core.timers.arm(Timer::Liveness, cx.now + delay);
        }
        // RFC 3948 §4: whoever is behind the NAT keeps its mapping.
        if let (true, Some(interval)) = (core.nat.local_behind_nat, cx.settings.keep_alive) {
            core.timers.arm(Timer::KeepAlive, cx.now + interval);
        }
        for (child, request) in std::mem::take(&mut core.wanted) {
            self.create_child(child, Some(request));
        }
    }

    /// Tells that the IKE SA stands, and whoever asked for it.
    pub(crate) fn announce(&self, core: &mut Core, cx: &mut Cx<'_>) {
        self.announce_without_child(core, cx);
        let mut requests = std::mem::take(&mut core.requests);
        cx.complete(&mut requests, &Ok(()));
    }

    /// Tells that the IKE SA stands; whoever asked for a CHILD_SA waits on.
    pub(crate) fn announce_without_child(&self, core: &Core, cx: &mut Cx<'_>) {
        let name =
            |id: &Option<crate::identity::Identity>| id.as_ref().map(ToString::to_string).unwrap_or_default();
        info!(
            target: "ike", audit = true,
            "IKE_SA {}[{}] established between {}[{}]...{}[{}]",
            core.name(), core.id,
            core.path.local.ip(), name(&core.local_id), core.path.remote.ip(), name(&core.remote_id)
        );
        cx.tell(Event::IkeSaUp(Box::new(self.status(core))));
    }

    /// Takes a CHILD_SA that is being installed.
    pub(crate) fn install(&mut self, child_sa: ChildSa, installing: Installing) {
        self.children.push(child_sa);
        self.installing = Some(installing);
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
        child_sa: ChildSaId,
        failure: &Failure,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) {
        info!(target: "ike", "failed to establish CHILD_SA, keeping IKE_SA: {failure}");
        cx.ask(core.id, Action::RemoveChild { child_sa });
        let mut requests = std::mem::take(&mut core.requests);
        cx.complete(&mut requests, &Err(format!("establishing CHILD_SA failed: {failure}")));
    }

    pub(crate) fn child(&self, id: ChildSaId) -> Option<&ChildSa> {
        self.children.iter().find(|child| child.id == id)
    }

    pub(crate) fn awaits(&self, exchange: ExchangeType) -> bool {
        self.active.as_ref().and_then(Active::awaits) == Some(exchange)
    }

    // Inputs.

    pub(crate) fn handle_request(
        mut self: Box<Self>,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if self.answering.is_some() {
            return Ok(State::Established(self)); // our window is one: it is the same request again
        }
        let opened = match plaintext.decode() {
            Ok(opened) => opened,
            Err(error) => return self.refuse(error.into(), core, plaintext, cx),
        };
        self.follow_peer(core, plaintext.path, cx);
        if opened.header.exchange == ExchangeType::CREATE_CHILD_SA {
            return match create_child::answer(&mut self, core, &opened, cx) {
                Ok(()) => self.work(core, cx),
                Err(failure) => self.refuse(failure, core, plaintext, cx),
            };
        }
        let verdict = informational::answer(&mut self, core, &opened, cx)?;
        match verdict {
            informational::Verdict::Stays => self.work(core, cx),
            informational::Verdict::Deleted => {
                rekey_ike::forget(&mut self, core, cx);
                Ok(self.linger("deleted by the peer", core, cx))
            }
            informational::Verdict::Senseless(failure) => self.refuse(failure, core, plaintext, cx),
        }
    }

    /// RFC 7296 §2.21.3: the peer learns what is wrong with its request. After INVALID_SYNTAX neither end keeps the IKE
    /// SA; one that only asks for too much may go on.
    fn refuse(
        mut self: Box<Self>,
        failure: Failure,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        info!(target: "enc", "{failure}");
        core.respond_failure(plaintext, &failure, cx)?;
        match failure.notify() {
            Some((NotifyType::INVALID_SYNTAX, _)) => Ok(self.linger(&failure.to_string(), core, cx)),
            _ => self.work(core, cx),
        }
    }

    /// The IKE SA is over, but the peer may ask for our last answer again.
    fn linger(&mut self, reason: &str, core: &mut Core, cx: &mut Cx<'_>) -> State {
        self.close(core, ChildDown::Closed, reason, cx);
        core.timers.arm(Timer::Linger, cx.now + LINGER);
        State::Closed
    }

    pub(crate) fn handle_response(
        mut self: Box<Self>,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let opened = plaintext.decode().map_err(Failure::from);
        // RFC 7296 §2.21.3: who answers so has ended the IKE SA.
        let fatal = [NotifyType::INVALID_SYNTAX, NotifyType::AUTHENTICATION_FAILED];
        if let Ok(opened) = &opened
            && let Some(error) = opened.payloads.error().filter(|error| fatal.contains(&error.kind))
        {
            let failure = Failure::Refused(error.kind);
            self.close(core, ChildDown::Closed, &failure.to_string(), cx);
            return Ok(State::Gone);
        }
        match self.active.take() {
            Some(Active::CreateChild(asking)) => {
                asking.handle_response(&mut self, core, opened, cx)?;
                return self.work(core, cx);
            }
            Some(Active::RekeyIkeSa(asking)) => {
                asking.handle_response(&mut self, core, opened, cx)?;
                return self.work(core, cx);
            }
            Some(Active::Inform(task)) => {
                if let Err(failure) = opened {
                    info!(target: "enc", "{failure}"); // whatever it says, it is an answer
                }
                match task {
                    Task::DeleteIkeSa => {
                        self.close(core, ChildDown::Terminated, "deleted", cx);
                        return Ok(State::Gone);
                    }
                    Task::EndChild(id) | Task::DeleteChild(id) => self.child_deleted(id, core, cx),
                    // Nothing hangs on the answer; the others are not asked by INFORMATIONAL.
                    Task::Liveness
                    | Task::DisownChild(_)
                    | Task::CreateChild(_)
                    | Task::RekeyChild(_)
                    | Task::RekeyIkeSa => {}
                }
            }
            None => {}
        }
        self.work(core, cx)
    }

    pub(crate) fn handle_outcome(
        mut self: Box<Self>,
        core: &mut Core,
        id: ActionId,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if self.querying == Some(id) {
            self.querying = None;
            let quiet = match outcome {
                Outcome::LastInbound(Some(ago)) => ago,
                _ => Duration::MAX,
            };
            self.consider_liveness(quiet, core, cx);
        } else if self.installing.as_ref().is_some_and(|installing| installing.action == id) {
            self.handle_installed(outcome, core, cx);
        } else if self.answering.as_ref().is_some_and(|answering| answering.awaits(id)) {
            if let Some(answering) = self.answering.take() {
                answering.handle_outcome(&mut self, core, outcome, cx)?;
            }
        } else if let Some(Active::CreateChild(asking)) = &self.active
            && asking.awaits(id)
            && let Some(Active::CreateChild(asking)) = self.active.take()
        {
            asking.handle_outcome(&mut self, core, outcome, cx)?;
        }
        self.work(core, cx)
    }

    fn handle_installed(&mut self, outcome: Outcome, core: &mut Core, cx: &mut Cx<'_>) {
        let Some(installing) = self.installing.take() else { return };
        let id = installing.child_sa;
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
        if let Some(install) = installing.then {
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

    pub(crate) fn handle_timer(
        mut self: Box<Self>,
        core: &mut Core,
        timer: Timer,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        match timer {
            Timer::KeepAlive => {
                cx.keep_alive(core.path);
                if let Some(interval) = cx.settings.keep_alive {
                    core.timers.arm(Timer::KeepAlive, cx.now + interval);
                }
            }
            Timer::Liveness => self.check_liveness(core, cx),
            Timer::Rekey => self.rekey(None),
            Timer::Expire => {
                if self.rank == Rank::Current {
                    info!(target: "ike", "deleting IKE_SA {}[{}]: its lifetime is over", core.name(), core.id);
                }
                self.end(ChildDown::Expired);
            }
            Timer::ChildRekey => self.rekey_due_children(core, cx),
            Timer::ChildExpire => self.end_expired_children(core, cx),
            Timer::ChildLinger => self.remove_lingering_children(core, cx),
            // Handled for every state alike.
            Timer::Retransmit | Timer::HalfOpen | Timer::Linger => {}
        }
        self.work(core, cx)
    }

    // Orders of an operator.

    pub(crate) fn terminate(&mut self, request: RequestId, force: bool) {
        self.enders.push(request);
        self.force |= force;
        self.end(ChildDown::Terminated);
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

    /// Makes a further CHILD_SA.
    pub(crate) fn create_child(&mut self, child: Arc<Child>, request: Option<RequestId>) {
        let wanted = Wanted { child, reqid: None, rekeys: None, request };
        self.queue.push_back(Task::CreateChild(Box::new(wanted)));
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

    // What follows.

    /// Sends the next request, if nothing is in flight.
    pub(crate) fn work(mut self: Box<Self>, core: &mut Core, cx: &mut Cx<'_>) -> Result<State, Failure> {
        if self.force && (self.is_ending() || self.queue.contains(&Task::DeleteIkeSa)) {
            return self.end_at_once(core, cx);
        }
        while self.active.is_none() && !core.window.is_waiting() {
            let Some(task) = self.queue.pop_front() else { break };
            if (task.waits_for_answers() && self.answering.is_some())
                || (task.waits_for_installation() && self.installing.is_some())
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
    fn ask(&mut self, task: Task, core: &mut Core, cx: &mut Cx<'_>) -> Result<(), Failure> {
        let payloads = match task {
            Task::Liveness => informational::liveness(),
            Task::DeleteIkeSa => {
                if self.rank == Rank::Current {
                    info!(target: "ike", "deleting IKE_SA {}[{}] between {}...{}", core.name(), core.id, core.path.local.ip(), core.path.remote.ip());
                }
                informational::delete_ike_sa()
            }
            Task::EndChild(id) => {
                let heir = self.heir(id);
                if let Some(child) = self.child_mut(heir) {
                    child.ending = Some(ChildDown::Terminated);
                }
                for (child, _) in self.child_enders.iter_mut().filter(|(child, _)| *child == id) {
                    *child = heir;
                }
                return self.ask(Task::DeleteChild(heir), core, cx);
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
        };
        core.request(ExchangeType::INFORMATIONAL, &payloads, cx)?;
        self.active = Some(Active::Inform(task));
        Ok(())
    }

    /// The peer is told, if it can be, and nothing is waited for.
    fn end_at_once(mut self: Box<Self>, core: &mut Core, cx: &mut Cx<'_>) -> Result<State, Failure> {
        if !self.is_ending() {
            core.settle();
            // The window has room now; if the message IDs are used up, the peer finds out by itself.
            let _ = core.request(ExchangeType::INFORMATIONAL, &informational::delete_ike_sa(), cx);
        }
        self.close(core, ChildDown::Terminated, "deleted by force", cx);
        Ok(State::Gone)
    }

    /// Nothing but an answer under our keys, or a packet that was decrypted, counts as a sign of life.
    fn check_liveness(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let quiet = cx.now.saturating_duration_since(core.heard);
        let child_sas: Vec<_> = self.children.iter().map(|child| child.id).collect();
        let Some(delay) = self.connection.dpd_delay.filter(|_| self.rank == Rank::Current) else { return };
        if quiet < delay || child_sas.is_empty() {
            self.consider_liveness(quiet, core, cx);
        } else {
            self.querying = Some(cx.ask(core.id, Action::QueryInbound { child_sas }));
        }
    }

    fn consider_liveness(&mut self, quiet: Duration, core: &mut Core, cx: &Cx<'_>) {
        let Some(delay) = self.connection.dpd_delay.filter(|_| self.rank == Rank::Current) else { return };
        let quiet = quiet.min(cx.now.saturating_duration_since(core.heard));
        if quiet < delay {
            core.timers.arm(Timer::Liveness, cx.now + (delay - quiet));
            return;
        }
        core.timers.arm(Timer::Liveness, cx.now + delay);
        // A request in flight asks the same question.
        if self.active.is_none() && self.queue.is_empty() {
            info!(target: "ike", "sending DPD request");
            self.queue.push_back(Task::Liveness);
        }
    }

    /// RFC 7296 §2.23: a peer behind a NAT is followed to where its last authenticated request came from; we
    /// are not, lest an attacker who repeats our datagrams moves us.
    fn follow_peer(&mut self, core: &mut Core, path: Path, cx: &mut Cx<'_>) {
        if path == core.path || !core.nat.remote_behind_nat || core.nat.local_behind_nat {
            return;
        }
        self.move_to(path, core, cx);
    }

    /// The data plane saw an authenticated packet of the peer from elsewhere.
    pub(crate) fn mapping_changed(&mut self, remote: std::net::SocketAddr, core: &mut Core, cx: &mut Cx<'_>) {
        self.follow_peer(core, Path { remote, ..core.path }, cx);
    }

    fn move_to(&mut self, path: Path, core: &mut Core, cx: &mut Cx<'_>) {
        info!(target: "ike", "NAT mappings of peer changed: {} is {} now", core.path.remote, path.remote);
        if self.rank == Rank::Current {
            cx.tell(Event::IkeSaMoved { status: Box::new(self.status(core)), path });
        }
        core.path = path;
        for child in &self.children {
            cx.ask(core.id, Action::UpdateChild { child_sa: child.id, path });
        }
    }

    pub(in crate::sa) fn child_mut(&mut self, id: ChildSaId) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// A CHILD_SA is over; the data plane is told, and everybody else.
    pub(crate) fn drop_child(&mut self, id: ChildSaId, why: ChildDown, core: &mut Core, cx: &mut Cx<'_>) {
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
            child.state = ChildSaState::Deleting;
            child.remove(core, cx);
            if self.installing.as_ref().is_some_and(|installing| installing.child_sa == id) {
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

    /// Everything ends: children, addresses, and all who waited are told.
    pub(crate) fn close(&mut self, core: &mut Core, why: ChildDown, reason: &str, cx: &mut Cx<'_>) {
        // What we have asked for ourselves does not turn into another reason because the peer is faster, or silent.
        let why = self.ending.unwrap_or(why);
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
            cx.tell(Event::IkeSaDown { status: Box::new(status), reason: reason.to_owned() });
        }
        let mut requests = std::mem::take(&mut core.requests);
        while let Some(child) = self.children.first() {
            self.drop_child(child.id, why, core, cx);
        }
        match std::mem::replace(&mut self.held, HeldLease::Nothing) {
            HeldLease::Nothing => {}
            HeldLease::Taken { lease, installed_for } => {
                cx.ask(core.id, Action::RemoveVirtualIps { ike_sa: installed_for, lease });
            }
            HeldLease::Given(Lease { addresses, .. }) => {
                let pools = self.connection.pools.clone();
                if let Some(identity) = core.remote_id.clone() {
                    cx.ask(core.id, Action::ReleaseLease { pools, identity, addresses });
                }
            }
        }
        let mut child_enders: Vec<_> = self.child_enders.drain(..).map(|(_, request)| request).collect();
        cx.complete(&mut child_enders, &Ok(()));
        cx.complete(&mut self.enders, &Ok(()));
        requests.append(&mut self.rekeyers);
        requests.extend(self.child_rekeyers.drain(..).map(|(_, request)| request));
        requests.extend(self.queue.drain(..).filter_map(Task::into_request));
        cx.complete(&mut requests, &Err(format!("the IKE_SA was closed: {reason}")));
    }

    /// Our DELETE of the IKE SA is under way.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.active, Some(Active::Inform(Task::DeleteIkeSa)))
    }

    /// What `dynamic` stands for at our end and at the peer's: virtual IPs where there are some.
    pub(in crate::sa) fn inner_addresses(&self, core: &Core) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let (local, remote) = (vec![core.path.local.ip()], vec![core.path.remote.ip()]);
        match &self.held {
            HeldLease::Nothing => (local, remote),
            HeldLease::Given(lease) => (local, lease.addresses.clone()),
            HeldLease::Taken { lease, .. } => (lease.addresses.clone(), remote),
        }
    }

    /// The virtual IPs the peer gave us.
    pub(in crate::sa) fn virtual_ips(&self) -> Vec<IpAddr> {
        match &self.held {
            HeldLease::Taken { lease, .. } => lease.addresses.clone(),
            HeldLease::Nothing | HeldLease::Given(_) => vec![],
        }
    }

    pub(crate) fn status(&self, core: &Core) -> IkeSaStatus {
        let is_deleting = self.is_ending();
        let state = match (&self.active, self.rank) {
            _ if is_deleting => IkeSaState::Deleting,
            (_, Rank::Superseded) => IkeSaState::Rekeyed,
            (Some(Active::RekeyIkeSa(_)), Rank::Current) => IkeSaState::Rekeying,
            (_, Rank::Current) => IkeSaState::Established,
        };
        let vips = |lease: &Lease| lease.addresses.clone();
        let (local_vips, remote_vips) = match &self.held {
            HeldLease::Nothing => (vec![], vec![]),
            HeldLease::Taken { lease, .. } => (vips(lease), vec![]),
            HeldLease::Given(lease) => (vec![], vips(lease)),
        };
        IkeSaStatus {
            established: (!is_deleting).then_some(self.since),
            rekeys: self.rekeys,
            expires: self.expires,
            local_vips,
            remote_vips,
            tasks_queued: self.queue.iter().map(|task| task.name()).collect(),
            tasks_active: self.active.iter().map(Active::name).collect(),
            tasks_passive: self.answering.iter().map(|answering| answering.name()).collect(),
            children: self.children.iter().map(ChildSa::status).collect(),
            ..core.status(state)
        }
    }
}
