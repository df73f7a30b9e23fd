//! An established IKE SA: its children, what waits to be asked, and how it ends.
//!
//! Everything here is data. An exchange is a [`Task`] waiting for its turn in the message window (`work`); what the
//! peer asks is answered by a function in `exchange`. CHILD_SAs come and go in `children`, the IKE SA itself in
//! `ending`; `liveness` asks whether the peer is there, `moving` follows it where it goes, `inactivity` ends what is
//! idle, `reauth` makes it all anew when the ends must prove again who they are,
//! `redirect` sends the peer, or goes, to another gateway.

mod children;
mod ending;
mod inactivity;
mod liveness;
mod moving;
mod reauth;
mod redirect;
mod work;

pub(in crate::sa) use self::ending::LINGER;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use crate::attempt::Attempt;
use crate::config::{Connection, Lease};
use crate::context::Cx;
use crate::crypto::{Role, SkD};
use crate::error::Failure;
use crate::output::{ActionId, ChildDown, ChildInstall, ChildSaId, Event, Outcome, RequestId};
use crate::sa::child::{ChildSa, jittered};
use crate::sa::exchange::{create_child, informational, rekey_ike};
use crate::sa::mobike::Mobility;
use crate::sa::opened::Plaintext;
use crate::sa::task::{Active, Task};
use crate::sa::{Core, HeldLease, State};
use crate::status::{IkeSaState, IkeSaStatus};
use crate::timer::Timer;
use crate::wire::registry::{ExchangeType, IkeSpi, NotifyType};

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
    /// When it ends unless it has been made anew, however often it is rekeyed: who has authenticated the peer says so.
    pub(in crate::sa) session_ends: Option<Instant>,
    pub(in crate::sa) queue: VecDeque<Task>,
    pub(in crate::sa) active: Option<Active>,
    /// The CREATE_CHILD_SA request of the peer that is being answered.
    pub(in crate::sa) answering: Option<Box<create_child::Answering>>,
    pub(in crate::sa) installing: Option<Installing>,
    /// When a stranger last made us ask whether the peer is there.
    hinted: Option<Instant>,
    /// The question when a packet last came, if it is asked.
    querying: Option<ActionId>,
    /// The question which of these CHILD_SAs are idle, if it is asked.
    watching: Option<(ActionId, Vec<ChildSaId>)>,
    /// What both ends may change about their addresses; `None` without MOBIKE.
    pub(in crate::sa) mobility: Option<Mobility>,
    /// CHILD_SAs that the data plane is moving to other addresses.
    updating: Vec<ActionId>,
    /// The request in flight is to be sent over the new path, once the data plane knows of it.
    resends: bool,
    /// The IKE SA that took the place of this one.
    pub(in crate::sa) successor: Option<IkeSpi>,
    /// The peer was sent to another gateway, and will not need it any longer.
    is_redirected: bool,
    /// The CHILD_SA that stands behind one that the peer had before.
    behind: Option<ChildSaId>,
    /// Another IKE SA is to take its place, or is about to.
    renewing: Option<reauth::Renewing>,
    /// We are the original initiator: we have sent the request of IKE_AUTH, perhaps that of an IKE SA it was rekeyed
    /// from.
    pub(in crate::sa) opened_by_us: bool,
    /// Commands to be told when the IKE SA is made anew.
    pub(in crate::sa) reauthenticators: Vec<RequestId>,
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
    /// `None` for virtual IPs alone.
    child_sa: Option<ChildSaId>,
    /// What follows once the virtual IPs are there.
    then: Option<Box<ChildInstall>>,
}

impl Installing {
    pub(crate) fn child(action: ActionId, child_sa: ChildSaId) -> Self {
        Self { action, child_sa: Some(child_sa), then: None }
    }

    pub(crate) fn virtual_ips(action: ActionId, child_sa: ChildSaId, then: Box<ChildInstall>) -> Self {
        Self { action, child_sa: Some(child_sa), then: Some(then) }
    }

    /// CHILD_SAs are made with these addresses, once they are there.
    pub(super) fn is_for_addresses(&self) -> bool {
        self.child_sa.is_none()
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
        core.take_interfaces(cx);
        let mut established = Self::bare(connection, held, sk_d, cx);
        established.reauthenticates = reauthenticates;
        established.opened_by_us = core.role == Role::Initiator;
        if let Some(lifetime) = core.granted_lifetime.take() {
            established.limit_session(lifetime, core, cx);
        }
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
            session_ends: None,
            queue: VecDeque::new(),
            active: None,
            answering: None,
            installing: None,
            hinted: None,
            querying: None,
            watching: None,
            mobility: None,
            updating: Vec::new(),
            resends: false,
            successor: None,
            is_redirected: false,
            behind: None,
            renewing: None,
            opened_by_us: false,
            reauthenticators: Vec::new(),
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
        let over = shortest.map(|at| at + connection.over_time);
        self.expires = over.into_iter().chain(self.session_ends).min();
        if let Some(at) = self.rekeys {
            core.timers.arm(Timer::Rekey, at);
        }
        if let Some(at) = self.reauthenticates {
            core.timers.arm(Timer::Reauthenticate, at);
        }
        if let Some(at) = self.expires {
            core.timers.arm(Timer::Expire, at);
        }
        if let Some(delay) = connection.dpd_delay {
            core.timers.arm(Timer::Liveness, cx.now + delay);
        }
        self.keep_mapping(core, cx);
        for wanted in std::mem::take(&mut core.wanted) {
            self.create_child(wanted);
        }
        if core.heritage.is_some() && !self.queue.contains(&Task::Succeed) {
            self.queue.push_back(Task::Succeed);
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
        cx.counters.handshakes.established += 1;
        cx.tell(Event::IkeSaUp(Box::new(self.status(core))));
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
        self.come_forward(core, cx);
        if opened.header.exchange == ExchangeType::CREATE_CHILD_SA {
            return match create_child::answer(&mut self, core, &opened, cx) {
                Ok(()) => self.work(core, cx),
                Err(failure) => {
                    if opened.payloads.ts_i().is_some() {
                        let connection = &self.connection;
                        let attempt = Attempt::of_child(core, connection, None, Role::Responder, &failure);
                        cx.tell_attempt(attempt);
                    }
                    self.refuse(failure, core, plaintext, cx)
                }
            };
        }
        let (mark, path) = (cx.outputs.mark(), opened.path);
        let verdict = informational::answer(&mut self, core, &opened, cx)?;
        match verdict {
            informational::Verdict::Stays => {
                core.send_response(cx.outputs.orders_since(mark), path, cx);
                self.work(core, cx)
            }
            informational::Verdict::Deleted => {
                rekey_ike::forget(&mut self, core, cx);
                let ended = self.linger("deleted by the peer", core, cx);
                core.send_response(cx.outputs.orders_since(mark), path, cx);
                Ok(ended)
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

    pub(crate) fn handle_response(
        mut self: Box<Self>,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let opened = plaintext.decode().map_err(Failure::from);
        self.come_forward(core, cx);
        // RFC 7296 §2.21.3: who answers so has ended the IKE SA.
        let fatal = [NotifyType::INVALID_SYNTAX, NotifyType::AUTHENTICATION_FAILED];
        if let Ok(opened) = &opened
            && let Some(error) = opened.payloads.error().filter(|error| fatal.contains(&error.kind))
        {
            let failure = Failure::Refused(error.kind);
            self.close(core, ChildDown::Closed, &failure.to_string(), cx);
            return Ok(State::Gone);
        }
        let was_spread = self.note_answer(plaintext.path, core, cx);
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
                if let Err(failure) = &opened {
                    info!(target: "enc", "{failure}"); // whatever it says, it is an answer
                }
                let payloads = opened.map(|opened| opened.payloads).unwrap_or_default();
                if !self.cookie_came_back(&payloads) {
                    info!(target: "ike", "COOKIE2 mismatch, closing IKE_SA");
                    self.end(ChildDown::Closed);
                    return self.work(core, cx);
                }
                match task {
                    Task::DeleteIkeSa => {
                        self.close(core, ChildDown::Terminated, "deleted", cx);
                        return Ok(State::Gone);
                    }
                    Task::EndChild(id) | Task::DeleteChild(id) => self.child_deleted(id, core, cx),
                    Task::Liveness => self.liveness_answered(&payloads, core),
                    Task::UpdateAddresses | Task::TellAddresses => {
                        self.addresses_answered(task, &payloads, plaintext.path, was_spread, core, cx);
                    }
                    // RFC 4555 §3.7: which of the addresses receives is not known.
                    Task::CheckRoutability if was_spread => self.ask_next(task),
                    Task::Redirect(_, request) => self.redirected(request, core, cx),
                    // Nothing hangs on the answer; the others are not asked by INFORMATIONAL.
                    Task::CheckRoutability
                    | Task::TellLifetime
                    | Task::DisownChild(_)
                    | Task::CreateChild(_)
                    | Task::RekeyChild(_)
                    | Task::RekeyIkeSa
                    | Task::Reauthenticate
                    | Task::Succeed => {}
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
                Outcome::Used(uses) => uses.iter().filter_map(|used| used.received).min(),
                _ => None,
            };
            self.consider_liveness(quiet.unwrap_or(Duration::MAX), core, cx);
        } else if let Some((_, asked)) = self.watching.take_if(|(action, _)| *action == id) {
            self.consider_inactivity(&asked, outcome, core, cx);
        } else if self.updating.contains(&id) {
            self.child_updated(id, &outcome);
        } else if self.is_looking_by(id) {
            self.handle_paths(outcome, core, cx);
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
            // Either way there is a new one soon.
            Timer::Rekey if self.renewing.is_some() => {}
            Timer::Rekey => self.rekey(None),
            Timer::Reauthenticate => self.reauthenticate(None),
            Timer::ComeForward => self.come_forward(core, cx),
            Timer::Expire => {
                if self.rank == Rank::Current {
                    info!(target: "ike", "deleting IKE_SA {}[{}]: its lifetime is over", core.name(), core.id);
                }
                self.end(if self.is_redirected { ChildDown::Terminated } else { ChildDown::Expired });
            }
            Timer::ChildRekey => self.rekey_due_children(core, cx),
            Timer::ChildExpire => self.end_expired_children(core, cx),
            Timer::ChildLinger => self.remove_lingering_children(core, cx),
            Timer::ChildInactive => self.check_inactivity(core, cx),
            Timer::TellAddresses => self.tell_addresses_now(core, cx),
            // Handled for every state alike.
            Timer::Retransmit | Timer::HalfOpen | Timer::Reassembly | Timer::Linger => {}
        }
        self.work(core, cx)
    }

    // What it is.

    /// Counts everything that is kept in it.
    #[cfg(feature = "sim")]
    pub(crate) fn count_kept(&self, count: &mut impl FnMut(&'static str, usize)) {
        count("CHILD_SAs", self.children.len());
        count("tasks", self.queue.len() + usize::from(self.active.is_some()));
        count("requests being answered", usize::from(self.answering.is_some()));
        let waiting = self.enders.len() + self.child_enders.len() + self.rekeyers.len();
        count("commands that wait", waiting + self.child_rekeyers.len());
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
        let dns = match &self.held {
            HeldLease::Taken { lease, .. } => lease.dns(),
            HeldLease::Nothing | HeldLease::Given(_) => vec![],
        };
        IkeSaStatus {
            established: (!is_deleting).then_some(self.since),
            rekeys: self.rekeys,
            reauthenticates: self.reauthenticates,
            expires: self.expires,
            local_vips,
            dns,
            remote_vips,
            tasks_queued: self.queue.iter().map(|task| task.name()).collect(),
            tasks_active: self.active.iter().map(Active::name).collect(),
            tasks_passive: self.answering.iter().map(|answering| answering.name()).collect(),
            children: self.children.iter().map(ChildSa::status).collect(),
            ..core.status(state)
        }
    }
}
