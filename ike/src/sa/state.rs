//! The life of an IKE SA.
//!
//! ```text
//! initiator  Preparing -> InitSent -> AuthSent -> [AuthChecking -> ...] --------+
//!                                                                               +-> Established -> Closed
//! responder  InitAnswered -> [AuthVerifying] or [EapRounds] -> AuthAnswering ---+
//!                            ^------------ AuthBetween <---+
//!                         `-> Refused
//! ```
//!
//! A state owns what is known in it; moving on consumes the old one. Any state may end in `Gone`.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use super::established::{Established, Rank};
use super::exchange::redirect::Redirecting;
use super::exchange::{auth, init, redirect};
use super::opened::{Cleartext, Plaintext};
use super::renewal::Word;
use super::window::Standing;
use super::{Core, Wanted, Whereabouts};
use crate::attempt::Attempt;
use crate::config::Connection;
use crate::context::Cx;
use crate::crypto::Role;
use crate::error::Failure;
use crate::output::{ActionId, ChildDown, ChildSaId, Event, Outcome, Path, RequestId};
use crate::redirect::Gateway;
use crate::status::{IkeSaState, IkeSaStatus};
use crate::timer::Timer;
use crate::unknown_spi::Hint;
use crate::wire::PayloadWriter;
use crate::wire::registry::ExchangeType;

/// How long a refusal is kept, should it have been lost. It covers the first two retransmissions of the default
/// schedule; who misses all of these gives up by itself.
const REFUSAL_LINGER: Duration = Duration::from_secs(15);

/// One IKE SA.
pub(crate) struct IkeSa {
    pub(crate) core: Core,
    pub(crate) state: State,
}

pub(crate) enum State {
    /// Initiator: an inbound SPI for the first CHILD_SA is being reserved.
    Preparing(init::Preparing),
    /// Initiator: IKE_SA_INIT is on its way.
    InitSent(Box<init::Sent>),
    /// Initiator: the gateway has sent us to another one.
    Redirecting(Box<Redirecting>),
    /// Initiator: IKE_AUTH is on its way.
    AuthSent(Box<auth::Sent>),
    /// Initiator: who vouches for the gateway's certificate is being found out.
    AuthChecking(Box<auth::Checking>),
    /// Responder: IKE_SA_INIT was answered; the peer may authenticate now.
    InitAnswered(Box<init::Answered>),
    /// Responder: who vouches for the peer's certificate is being found out.
    AuthVerifying(Box<auth::Verifying>),
    /// Responder: the peer is authenticating by EAP.
    EapRounds(Box<auth::Rounds>),
    /// Responder: a round of authentication is over, and another is to come.
    AuthBetween(Box<auth::Admission>),
    /// Responder: the peer has authenticated; the outside is asked for what the answer needs.
    AuthAnswering(Box<auth::Answering>),
    /// Both ends have authenticated.
    Established(Box<Established>),
    /// Over; only a repeated request of the peer is still answered.
    Closed,
    /// Responder: the peer was refused in IKE_AUTH, and may ask for that answer again (RFC 7296 §2.1). Without it, it
    /// would try until it gives up, and not know why.
    Refused,
    /// Over.
    Gone,
}

impl IkeSa {
    /// Counts everything that is kept in it.
    #[cfg(feature = "sim")]
    pub(crate) fn count_kept(&self, count: &mut impl FnMut(&'static str, usize)) {
        let core = &self.core;
        count("octets of messages that may be sent again", core.window.kept_octets());
        count("requests of IKE_SAs", core.requests.len() + core.wanted.len());
        if let State::Established(established) = &self.state {
            established.count_kept(count);
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// True once nothing is left but, perhaps, an answer that may have to be repeated.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Refused | State::Gone)
    }

    /// True while a peer that was refused may ask for that answer again.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused)
    }

    /// Keeps nothing for whoever may still ask.
    pub(crate) fn forget(&mut self) {
        self.state = State::Gone;
    }

    /// True until both ends have authenticated: what counts against the half-open limits.
    pub(crate) fn is_half_open(&self) -> bool {
        !matches!(self.state, State::Established(_) | State::Closed | State::Refused | State::Gone)
    }

    /// It is established, and no other has taken its place.
    pub(crate) fn stands(&self) -> bool {
        matches!(&self.state, State::Established(established) if established.rank == Rank::Current)
    }

    /// It can serve another order for its connection, or will when it is established. For a child it must have the
    /// virtual IPs that the connection wants, which are given with the first child only (RFC 7296 §2.19).
    pub(crate) fn is_reusable(&self, for_child: bool) -> bool {
        let needs_addresses =
            for_child && self.core.connection.as_ref().is_some_and(|connection| !connection.vips.is_empty());
        match &self.state {
            State::Established(established) => {
                let lacks_addresses = needs_addresses && established.virtual_ips().is_empty();
                self.stands() && !established.is_ending() && !lacks_addresses
            }
            State::Preparing(_)
            | State::InitSent(_)
            | State::AuthSent(_)
            | State::AuthChecking(_)
            | State::Redirecting(_) => true,
            State::InitAnswered(_)
            | State::AuthVerifying(_)
            | State::EapRounds(_)
            | State::AuthBetween(_)
            | State::AuthAnswering(_)
            | State::Closed
            | State::Refused
            | State::Gone => false,
        }
    }

    /// Between which addresses it goes is ours to say (RFC 4555 §1.3).
    pub(crate) fn decides_addresses(&self) -> bool {
        matches!(&self.state, State::Established(established)
            if established.mobility.as_ref().is_some_and(|mobility| mobility.decides))
    }

    /// Takes a message that carries our SPI.
    pub(crate) fn handle_message(&mut self, cleartext: &Cleartext<'_>, cx: &mut Cx<'_>) {
        let header = &cleartext.message.header;
        // RFC 7296 §3.1: the flag tells the roles apart, which keeps messages from being reflected.
        if header.flags.initiator == (self.core.role == Role::Initiator) {
            cx.counters.invalid += 1;
            return;
        }
        if header.flags.response {
            self.handle_response(cleartext, cx);
        } else {
            self.handle_request(cleartext, cx);
        }
    }

    /// The message that opened it has come again. It gets the same answer, and once IKE_AUTH has been received, none
    /// (RFC 7296 §2.1).
    pub(crate) fn repeat_init_answer(&mut self, path: Path, cx: &mut Cx<'_>) {
        if matches!(self.state, State::InitAnswered(_)) {
            debug!(target: "ike", "received retransmit of IKE_SA_INIT, retransmitting response");
            self.core.answer_again(path, cx);
        }
    }

    /// Somebody who may be the peer says that it does not know our packets. RFC 7296 §2.21.4: whether it is there is
    /// asked; nothing else happens.
    pub(crate) fn take_hint(&mut self, cx: &mut Cx<'_>) {
        self.established(cx, |established, _, cx| established.take_hint(cx));
    }

    fn handle_response(&mut self, cleartext: &Cleartext<'_>, cx: &mut Cx<'_>) {
        let header = &cleartext.message.header;
        if Hint::of(&cleartext.message) == Some(Hint::IkeSa)
            && cleartext.path.remote.ip() == self.core.path.remote.ip()
        {
            self.take_hint(cx);
            return;
        }
        if !self.core.window.awaits(header.message_id) {
            debug!(target: "ike", "ignoring a response with message ID {}: not awaited", header.message_id);
            return;
        }
        let exchange = header.exchange;
        let result = match mem::replace(&mut self.state, State::Gone) {
            State::InitSent(sent) if exchange == ExchangeType::IKE_SA_INIT => {
                sent.handle_response(&mut self.core, cleartext, cx)
            }
            state => {
                let Some(plaintext) = self.core.open(cleartext, cx) else {
                    self.state = state;
                    return;
                };
                self.core.heard = cx.now;
                match state {
                    State::AuthSent(sent) if exchange == ExchangeType::IKE_AUTH => {
                        self.core.settle();
                        cx.counters.exchange(exchange).responses_in += 1;
                        sent.handle_response(&mut self.core, &plaintext, cx)
                    }
                    State::Established(established) if established.awaits(exchange) => {
                        self.core.settle();
                        cx.counters.exchange(exchange).responses_in += 1;
                        established.handle_response(&mut self.core, &plaintext, cx)
                    }
                    state => Ok(state), // a response of another exchange than the one that is open
                }
            }
        };
        self.settle(result, cx);
    }

    fn handle_request(&mut self, cleartext: &Cleartext<'_>, cx: &mut Cx<'_>) {
        let header = &cleartext.message.header;
        let standing = self.core.window.standing(header.message_id);
        if standing == Standing::OutOfWindow {
            debug!(target: "ike", "ignoring a request with message ID {}: out of window", header.message_id);
            return;
        }
        // The first message has no keys; the endpoint sees to its repetitions.
        if standing == Standing::Repeated {
            // RFC 7383 §2.6.1: of the fragments of a request, the first alone asks for the response again.
            let is_further =
                cleartext.message.payloads.fragment().is_some_and(|fragment| fragment.number != 1);
            if is_further || self.core.unseal(cleartext, cx).is_none() {
                return;
            }
            // RFC 7296 §2.1: the response is sent again, to where the request came from. It is no sign of life:
            // anybody can repeat what the peer has said once.
            debug!(target: "ike", "received retransmit of request with message ID {}, retransmitting response", header.message_id);
            self.core.answer_again(cleartext.path, cx);
            return;
        }
        let Some(plaintext) = self.core.open(cleartext, cx) else { return };
        self.core.heard = cx.now;
        let exchange = header.exchange;
        let result = match mem::replace(&mut self.state, State::Gone) {
            State::InitAnswered(answered) if exchange == ExchangeType::IKE_AUTH => {
                cx.counters.exchange(exchange).requests_in += 1;
                answered.handle_auth(&mut self.core, &plaintext, cx)
            }
            State::EapRounds(rounds) if rounds.is_answering() => Ok(State::EapRounds(rounds)),
            State::EapRounds(rounds) if exchange == ExchangeType::IKE_AUTH => {
                cx.counters.exchange(exchange).requests_in += 1;
                rounds.handle_request(&mut self.core, &plaintext, cx)
            }
            State::EapRounds(rounds) if exchange == ExchangeType::INFORMATIONAL => {
                cx.counters.exchange(exchange).requests_in += 1;
                rounds.handle_informational(&mut self.core, &plaintext, cx)
            }
            State::AuthBetween(admission) if exchange == ExchangeType::IKE_AUTH => {
                cx.counters.exchange(exchange).requests_in += 1;
                admission.handle_request(&mut self.core, &plaintext, cx)
            }
            State::AuthBetween(admission) if exchange == ExchangeType::INFORMATIONAL => {
                cx.counters.exchange(exchange).requests_in += 1;
                admission.handle_informational(&mut self.core, &plaintext, cx)
            }
            State::Established(established) => {
                cx.counters.exchange(exchange).requests_in += 1;
                established.handle_request(&mut self.core, &plaintext, cx)
            }
            state => Ok(state), // being answered, or out of its turn
        };
        self.settle(result, cx);
    }

    pub(crate) fn handle_outcome(&mut self, id: ActionId, outcome: Outcome, cx: &mut Cx<'_>) {
        self.core.release_response(id, cx);
        let result = match mem::replace(&mut self.state, State::Gone) {
            State::Preparing(preparing) => preparing.handle_outcome(&mut self.core, id, outcome, cx),
            State::Redirecting(redirecting) => redirecting.handle_outcome(&mut self.core, id, outcome, cx),
            State::EapRounds(rounds) => rounds.handle_outcome(&mut self.core, id, outcome, cx),
            State::AuthSent(sent) => sent.handle_outcome(&mut self.core, id, outcome, cx),
            State::AuthChecking(checking) => checking.handle_outcome(&mut self.core, id, outcome, cx),
            State::AuthVerifying(verifying) => verifying.handle_outcome(&mut self.core, id, outcome, cx),
            State::AuthAnswering(answering) => answering.handle_outcome(&mut self.core, id, outcome, cx),
            State::Established(established) => established.handle_outcome(&mut self.core, id, outcome, cx),
            state => Ok(state),
        };
        self.settle(result, cx);
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        while let Some(timer) = self.core.timers.pop_due(cx.now) {
            let result = match (timer, mem::replace(&mut self.state, State::Gone)) {
                (Timer::Retransmit, State::InitSent(sent)) => sent.retransmit(&mut self.core, cx),
                (Timer::Retransmit, mut state) => match self.core.retransmit(cx) {
                    Ok(()) => {
                        if let State::Established(established) = &mut state {
                            established.doubt_path(&self.core, cx);
                        }
                        Ok(state)
                    }
                    Err(failure) => self.unanswered(state, failure, cx),
                },
                (Timer::HalfOpen, state) => {
                    state.give_back(&self.core, cx);
                    Err(Failure::HalfOpen)
                }
                (Timer::Reassembly, state) => {
                    self.core.reassembly.clear();
                    Ok(state)
                }
                (Timer::Linger, State::Established(mut established)) => {
                    established.close(&mut self.core, ChildDown::Closed, "it came to nothing", cx);
                    Ok(State::Gone)
                }
                (Timer::Linger, _) => Ok(State::Gone),
                (timer, State::Established(established)) => {
                    established.handle_timer(&mut self.core, timer, cx)
                }
                (_, state) => Ok(state), // armed only while established
            };
            self.settle(result, cx);
        }
    }

    /// Every retransmission went unanswered.
    fn unanswered(&mut self, state: State, failure: Failure, cx: &mut Cx<'_>) -> Result<State, Failure> {
        self.core.settle();
        match state {
            State::AuthSent(sent) => sent.try_again(&mut self.core, failure, cx),
            State::Established(mut established) => {
                info!(target: "ike", "{failure}");
                established.close(&mut self.core, ChildDown::PeerDead, &failure.to_string(), cx);
                Ok(State::Gone)
            }
            _ => Err(failure),
        }
    }

    /// Ends it at the order of an operator. `true` if the order is carried out already.
    pub(crate) fn terminate(&mut self, request: RequestId, force: bool, cx: &mut Cx<'_>) {
        match mem::replace(&mut self.state, State::Gone) {
            State::Established(mut established) => {
                established.terminate(request, force);
                let result = established.work(&mut self.core, cx);
                self.settle(result, cx);
            }
            State::Closed | State::Refused => cx.tell(Event::Completed { request, result: Ok(()) }),
            state => {
                self.core.disclaim_heritage(false, cx);
                self.abandon(state, Failure::Ended("terminated before it was established"), cx);
                cx.tell(Event::Completed { request, result: Ok(()) });
            }
        }
    }

    /// Starts it, as initiator.
    pub(crate) fn initiate(&mut self, connection: Arc<Connection>, wanted: Option<Wanted>, cx: &mut Cx<'_>) {
        let result = init::initiate(&mut self.core, connection, wanted, cx);
        self.settle(result, cx);
    }

    /// Starts it with another gateway than the one before.
    pub(crate) fn follow(
        &mut self,
        connection: Arc<Connection>,
        wanted: Option<Wanted>,
        gateway: Gateway,
        cx: &mut Cx<'_>,
    ) {
        let result = redirect::follow(&mut self.core, connection, wanted, gateway, cx);
        self.settle(result, cx);
    }

    /// Makes a further child in it, as soon as it stands.
    pub(crate) fn reuse(&mut self, wanted: Option<Wanted>, request: RequestId, cx: &mut Cx<'_>) {
        let is_established = matches!(self.state, State::Established(_));
        match wanted {
            Some(wanted) if is_established => {
                self.established(cx, |established, _, _| established.create_child(wanted));
            }
            Some(wanted) => self.core.wanted.push(wanted),
            None if is_established => cx.tell(Event::Completed { request, result: Ok(()) }),
            None => self.core.requests.push(request),
        }
    }

    /// Makes its successor at the order of an operator.
    pub(crate) fn rekey(&mut self, request: RequestId, cx: &mut Cx<'_>) {
        if self.stands() {
            self.established(cx, |established, _, _| established.rekey(Some(request)));
        } else {
            let result = Err("the IKE_SA is not established".into());
            cx.tell(Event::Completed { request, result });
        }
    }

    /// Makes it anew at the order of an operator.
    pub(crate) fn reauthenticate(&mut self, request: RequestId, cx: &mut Cx<'_>) {
        if self.stands() {
            self.established(cx, |established, _, _| established.reauthenticate(Some(request)));
        } else {
            let result = Err("the IKE_SA is not established".into());
            cx.tell(Event::Completed { request, result });
        }
    }

    /// Sends the peer to another gateway at the order of an operator.
    pub(crate) fn redirect(&mut self, gateway: Gateway, request: RequestId, cx: &mut Cx<'_>) {
        let result = if !self.stands() {
            Err("the IKE_SA is not established")
        } else if !self.core.can_be_redirected {
            Err("the peer does not follow redirects")
        } else {
            Ok(())
        };
        match result {
            Ok(()) => self.established(cx, |established, _, _| established.redirect(gateway, request)),
            Err(why) => cx.tell(Event::Completed { request, result: Err(why.into()) }),
        }
    }

    /// Who has authenticated the peer lets it stay so long from now on.
    pub(crate) fn limit_session(&mut self, lifetime: Duration, cx: &mut Cx<'_>) {
        if self.stands() {
            self.established(cx, |established, core, cx| established.change_session(lifetime, core, cx));
        }
    }

    /// Another IKE SA has something to say.
    pub(crate) fn hear(&mut self, word: Word, cx: &mut Cx<'_>) {
        match (&self.state, word) {
            (State::Established(_), word) => {
                self.established(cx, |established, core, cx| established.hear(word, core, cx));
            }
            (State::Closed | State::Gone, word) => word.unheard(cx),
            (_, Word::PredecessorIs(predecessor)) => {
                if let Some(heritage) = &mut self.core.heritage {
                    heritage.predecessor = Some(predecessor);
                }
            }
            (_, Word::Renewed | Word::NotRenewed { .. }) => {} // only said to one that was established
        }
    }

    /// Makes the successor of one of its children at the order of an operator.
    pub(crate) fn rekey_child(&mut self, child_sa: ChildSaId, request: RequestId, cx: &mut Cx<'_>) {
        self.established(cx, |established, _, _| established.rekey_child(child_sa, request));
    }

    /// Does what waits, as far as it can.
    pub(crate) fn work(&mut self, cx: &mut Cx<'_>) {
        self.established(cx, |_, _, _| {});
    }

    /// Ends one of its children at the order of an operator.
    pub(crate) fn terminate_child(&mut self, child_sa: ChildSaId, request: RequestId, cx: &mut Cx<'_>) {
        self.established(cx, |established, _, _| established.terminate_child(child_sa, request));
    }

    /// A packet of one of its children came from elsewhere.
    pub(crate) fn mapping_changed(&mut self, remote: SocketAddr, cx: &mut Cx<'_>) {
        self.established(cx, |established, core, cx| established.mapping_changed(remote, core, cx));
    }

    /// Our addresses or routes have changed.
    pub(crate) fn network_changed(&mut self, cx: &mut Cx<'_>) {
        self.established(cx, |established, core, cx| established.network_changed(core, cx));
    }

    /// Its predecessor has heard where the peer is.
    pub(crate) fn peer_is_at(&mut self, at: Whereabouts, cx: &mut Cx<'_>) {
        self.established(cx, |established, core, cx| established.peer_was_heard_at(at, core, cx));
    }

    /// The peer sends with one of its children.
    pub(crate) fn first_received(&mut self, child_sa: ChildSaId, cx: &mut Cx<'_>) {
        self.established(cx, |established, core, cx| established.first_received(child_sa, core, cx));
    }

    /// One of its children can carry no more.
    pub(crate) fn child_exhausted(&mut self, child_sa: ChildSaId, cx: &mut Cx<'_>) {
        self.established(cx, |established, core, cx| established.child_exhausted(child_sa, core, cx));
    }

    /// The daemon is going down: the peer is told, and not waited for longer than it takes to answer.
    pub(crate) fn shut_down(&mut self, cx: &mut Cx<'_>) {
        match mem::replace(&mut self.state, State::Gone) {
            State::Established(mut established) => {
                established.forget_renewal();
                established.end(ChildDown::Terminated);
                let result = established.work(&mut self.core, cx);
                self.settle(result, cx);
            }
            State::Closed | State::Refused => {}
            state => {
                self.core.disclaim_heritage(false, cx);
                self.abandon(state, Failure::Ended("shutting down"), cx);
            }
        }
    }

    pub(crate) fn has_child(&self, child_sa: ChildSaId) -> bool {
        matches!(&self.state, State::Established(established) if established.child(child_sa).is_some())
    }

    /// Changes something about an established SA, and lets it work on.
    fn established(
        &mut self,
        cx: &mut Cx<'_>,
        change: impl FnOnce(&mut Established, &mut Core, &mut Cx<'_>),
    ) {
        match mem::replace(&mut self.state, State::Gone) {
            State::Established(mut established) => {
                change(&mut established, &mut self.core, cx);
                let result = established.work(&mut self.core, cx);
                self.settle(result, cx);
            }
            state => self.state = state,
        }
    }

    fn settle(&mut self, result: Result<State, Failure>, cx: &mut Cx<'_>) {
        match result {
            Ok(state) => self.state = state,
            Err(failure) => {
                // What failed has put the state away; its children were never installed.
                self.report(&failure, cx);
                self.state = State::Gone;
                if self.core.has_refused() {
                    self.core.timers.arm(Timer::Linger, cx.now + REFUSAL_LINGER);
                    self.state = State::Refused;
                }
            }
        }
    }

    fn abandon(&mut self, state: State, failure: Failure, cx: &mut Cx<'_>) {
        state.give_back(&self.core, cx);
        self.report(&failure, cx);
    }

    /// An IKE SA that was not established has failed.
    fn report(&mut self, failure: &Failure, cx: &mut Cx<'_>) {
        self.core.timers.clear();
        if let Some(cause) = failure.cause() {
            cx.counters.handshakes.fail(cause);
        }
        cx.tell_attempt(Attempt::of(&self.core, failure));
        info!(target: "ike", "establishing IKE_SA {}[{}] failed: {failure}", self.core.name(), self.core.id);
        let mut requests = mem::take(&mut self.core.requests);
        requests.extend(self.core.wanted.drain(..).filter_map(|wanted| wanted.request));
        let status = Box::new(self.status(IkeSaState::Connecting));
        cx.tell(Event::IkeSaDown { status, reason: failure.to_string(), cause: ChildDown::Terminated });
        cx.complete(&mut requests, &Err(failure.to_string()));
        self.core.disclaim_heritage(true, cx);
    }

    /// As an operator sees it; `None` once it is over.
    pub(crate) fn listing(&self) -> Option<IkeSaStatus> {
        Some(match &self.state {
            State::Closed | State::Refused | State::Gone => return None,
            State::Established(established) => established.status(&self.core),
            State::Preparing(_) | State::Redirecting(_) => self.status(IkeSaState::Created),
            State::InitSent(_) => IkeSaStatus {
                tasks_active: vec!["IKE_INIT", "IKE_AUTH", "CHILD_CREATE"],
                ..self.status(IkeSaState::Connecting)
            },
            State::AuthSent(_) | State::AuthChecking(_) => IkeSaStatus {
                tasks_active: vec!["IKE_AUTH", "CHILD_CREATE"],
                ..self.status(IkeSaState::Connecting)
            },
            State::InitAnswered(_)
            | State::AuthVerifying(_)
            | State::EapRounds(_)
            | State::AuthBetween(_)
            | State::AuthAnswering(_) => IkeSaStatus {
                tasks_passive: vec!["IKE_AUTH", "CHILD_CREATE"],
                ..self.status(IkeSaState::Connecting)
            },
        })
    }

    fn status(&self, state: IkeSaState) -> IkeSaStatus {
        self.core.status(state)
    }
}

impl State {
    /// Gives back what was reserved for an SA that never came to stand.
    fn give_back(self, core: &Core, cx: &mut Cx<'_>) {
        match self {
            Self::Preparing(preparing) => preparing.give_back(core, cx),
            Self::InitSent(sent) => sent.give_back(core, cx),
            Self::AuthSent(sent) => sent.give_back(core, cx),
            Self::AuthChecking(checking) => checking.give_back(core, cx),
            Self::AuthAnswering(answering) => answering.give_back(core, cx),
            Self::Redirecting(_)
            | Self::InitAnswered(_)
            | Self::AuthVerifying(_)
            | Self::EapRounds(_)
            | Self::AuthBetween(_)
            | Self::Established(_)
            | Self::Closed
            | Self::Refused
            | Self::Gone => {}
        }
    }
}

impl Core {
    pub(crate) fn status(&self, state: IkeSaState) -> IkeSaStatus {
        IkeSaStatus {
            id: self.id,
            connection: self.connection.as_ref().map(|connection| connection.name.clone()),
            made_by: self.connection.clone(),
            state,
            local: self.path.local,
            remote: self.path.remote,
            local_id: self.local_id.clone(),
            remote_id: self.remote_id.clone(),
            remote_eap_id: self.remote_eap_id.clone(),
            is_initiator: self.role == Role::Initiator,
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            nat_local: self.nat.local_behind_nat,
            nat_remote: self.nat.remote_behind_nat,
            nat_fake: self.nat_fake,
            suite: self.suite,
            established: None,
            rekeys: None,
            reauthenticates: None,
            expires: None,
            interfaces: self.interfaces.unwrap_or_default(),
            local_vips: vec![],
            dns: vec![],
            remote_vips: vec![],
            tasks_queued: vec![],
            tasks_active: vec![],
            tasks_passive: vec![],
            children: vec![],
        }
    }

    /// Answers a request with the notify of a failure, where there is one.
    pub(crate) fn respond_failure(
        &mut self,
        plaintext: &Plaintext,
        failure: &Failure,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        let reply = self.refusal(failure);
        self.respond(plaintext.header.exchange, plaintext.header.message_id, &reply, plaintext.path, cx)
    }

    /// What the peer is told of a failure; the log is told why.
    pub(crate) fn refusal(&self, failure: &Failure) -> PayloadWriter {
        let mut reply = PayloadWriter::new();
        if let Some((kind, data)) = failure.notify() {
            info!(target: "ike", "sending {kind} to {}: {failure}", self.path.remote.ip());
            failure.write(kind, &data, &mut reply);
        }
        reply
    }
}
