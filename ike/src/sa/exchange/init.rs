//! IKE_SA_INIT (RFC 7296 §1.2): algorithms, a key exchange and nonces, in the clear.
//!
//! ```text
//! HDR, SAi1, KEi, Ni, N(NAT_DETECTION_*)  -->
//!                               <--  HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*)
//!                          or   <--  HDR, N(COOKIE) | N(INVALID_KE_PAYLOAD) | N(error)
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};

use super::auth::certificates::{self, Asked};
use super::{auth, redirect};
use crate::attempt::{Attempt, Evidence, PassedOver, Rule};
use crate::auth::signature;
use crate::config::{AddressPattern, Childless, Connection, Fragmentation, any_address};
use crate::context::{Cx, draw_ike_spi};
use crate::crypto::{IkeKeys, IkeSuite, KeyExchangeInProgress, Role, SkD, SkPi, SkPr};
use crate::error::Failure;
use crate::natt::{self, NatSituation};
use crate::output::{Action, ActionId, ChildSaId, IkeSaId, Outcome, Path};
use crate::proposal::{self, Prefer, Proposal, SelectContext};
use crate::redirect::Gateway;
use crate::sa::notices;
use crate::sa::opened::{Cleartext, Plaintext};
use crate::sa::{Core, PlannedChild, Protection, State, Wanted};
use crate::timer::Timer;
use crate::wire::header::{Flags, HeaderFields};
use crate::wire::registry::{HashAlgorithm, IkeSpi, KeMethod, MessageId, NotifyType};
use crate::wire::{self, PayloadWriter, Payloads};

/// Octets of our nonces: half the key of the strongest PRF, and twice the least allowed (RFC 7296 §2.10).
pub(super) const NONCE_LEN: usize = 32;

/// Cookies and other key exchange methods that a responder may ask for before we stop believing it.
pub(super) const MOST_RESTARTS: u32 = 5;

/// How long a request with a cookie may be answered before another cookie takes its place: more than a round trip,
/// and less than any cookie lives.
const COOKIE_PATIENCE: Duration = Duration::from_secs(1);

/// How long after a refusal a better answer may come: more than a round trip, and no more than an operator who has
/// mistaken the proposals likes to wait.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// What both ends keep of IKE_SA_INIT to authenticate it in IKE_AUTH (RFC 7296 §2.15), and the keys it made.
pub(crate) struct Handshake {
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
    pub(crate) nonce_i: Vec<u8>,
    pub(crate) nonce_r: Vec<u8>,
    pub(crate) sk_d: SkD,
    pub(crate) sk_pi: SkPi,
    pub(crate) sk_pr: SkPr,
    /// As initiator: the peer makes IKE SAs without a CHILD_SA (RFC 6023).
    pub(crate) allows_childless: bool,
    /// The hashes that the peer verifies signatures with; `None` if it does not know RFC 7427.
    pub(crate) hashes: Option<Vec<HashAlgorithm>>,
    /// As initiator: what the peer asks to see of us.
    pub(super) asked: Asked,
    /// There may be several rounds of authentication (RFC 4739): as initiator, since the peer has said so and we do; as
    /// responder, since we have said so.
    pub(crate) speaks_rounds: bool,
}

/// Initiator: waits for the SPI of its first CHILD_SA.
pub(crate) struct Preparing {
    connection: Arc<Connection>,
    child_sa: ChildSaId,
    wanted: Wanted,
    action: ActionId,
}

/// Starts an IKE SA as initiator.
pub(crate) fn initiate(
    core: &mut Core,
    connection: Arc<Connection>,
    wanted: Option<Wanted>,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    core.connection = Some(connection.clone());
    core.take_interfaces(cx);
    match wanted {
        None => begin(core, connection, None, 1, cx),
        Some(wanted) => {
            let child_sa = ChildSaId(cx.unique_ids.child_sa());
            let action = cx.ask(core.id, Action::ReserveSpi { child_sa });
            Ok(State::Preparing(Preparing { connection, child_sa, wanted, action }))
        }
    }
}

impl Preparing {
    pub(crate) fn handle_outcome(
        self,
        core: &mut Core,
        id: ActionId,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if id != self.action {
            return Ok(State::Preparing(self));
        }
        match outcome {
            Outcome::Spi(spi_in) => {
                let planned = PlannedChild { id: self.child_sa, wanted: self.wanted, spi_in };
                begin(core, self.connection, Some(planned), 1, cx)
            }
            Outcome::Failed(why) => Err(Failure::Outside(format!("no SPI for the CHILD_SA: {why}"))),
            _ => Err(Failure::Outside("no SPI for the CHILD_SA".into())),
        }
    }

    pub(crate) fn give_back(self, core: &Core, cx: &mut Cx<'_>) {
        cx.ask(core.id, Action::RemoveChild { child_sa: self.child_sa });
    }
}

/// Initiator: IKE_SA_INIT is out.
pub(crate) struct Sent {
    pub(crate) connection: Arc<Connection>,
    pub(crate) planned: Option<PlannedChild>,
    /// Which sequence of retransmissions this is, counted from one (`keyingtries`).
    pub(crate) attempt: u32,
    offer: Vec<Proposal>,
    ke: KeyExchangeInProgress,
    nonce: [u8; NONCE_LEN],
    cookie: Option<Vec<u8>>,
    /// A cookie that came while another was in use, and is taken up if that one is not answered.
    next_cookie: Option<Vec<u8>>,
    /// Somebody has refused the request, perhaps the peer.
    refusal: Option<NotifyType>,
    restarts: u32,
    /// The request as it was sent last.
    request: Vec<u8>,
}

/// Sends the first message of a fresh attempt.
pub(crate) fn begin(
    core: &mut Core,
    connection: Arc<Connection>,
    planned: Option<PlannedChild>,
    attempt: u32,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    let mut offer = connection.proposals.clone();
    proposal::number(&mut offer);
    let method = offer.iter().find_map(Proposal::ke);
    let Some(ke) = method.and_then(|method| cx.crypto.start(method)) else {
        give_back(planned, core, cx);
        return Err(Failure::Outside("no proposal has a key exchange method we know".into()));
    };
    info!(target: "ike", audit = true, "initiating IKE_SA {}[{}] to {}", core.name(), core.id, core.path.remote.ip());
    let nonce = cx.random();
    let mut sent = Sent {
        connection,
        planned,
        attempt,
        offer,
        ke,
        nonce,
        cookie: None,
        next_cookie: None,
        refusal: None,
        restarts: 0,
        request: vec![],
    };
    sent.send(core, cx);
    Ok(State::InitSent(Box::new(sent)))
}

fn give_back(planned: Option<PlannedChild>, core: &Core, cx: &mut Cx<'_>) {
    if let Some(planned) = planned {
        cx.ask(core.id, Action::RemoveChild { child_sa: planned.id });
    }
}

impl Sent {
    fn send(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let mut payloads = PayloadWriter::new();
        if let Some(cookie) = &self.cookie {
            payloads.notify(NotifyType::COOKIE, cookie); // RFC 7296 §2.6: first, before all others
        }
        payloads.sa(&self.offer).ke(self.ke.method(), self.ke.public()).nonce(&self.nonce);
        write_nat_detection(&mut payloads, core.spi_i, IkeSpi::ZERO, core.path, self.fakes_nat(cx));
        if self.connection.fragmentation != Fragmentation::No {
            payloads.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]); // RFC 7383 §2.3
        }
        if cx.settings.signature_authentication {
            payloads.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, &signature::announcement()); // RFC 7427 §4
        }
        core.redirects.announce(&mut payloads, cx);
        self.request = core.request_in_clear(&payloads, cx);
    }

    /// The response carries nothing that proves who wrote it. It must come from where we sent to.
    pub(crate) fn handle_response(
        mut self: Box<Self>,
        core: &mut Core,
        cleartext: &Cleartext<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let payloads = &cleartext.message.payloads;
        if cleartext.path.remote != core.path.remote
            || wire::rules::check(cleartext.message.header.exchange, true, payloads).is_err()
        {
            cx.counters.invalid += 1;
            return Ok(State::InitSent(self));
        }
        cx.counters.ike_sa_init.responses_in += 1;
        notices::log_ignored(payloads);
        match self.restart_cause(payloads) {
            // The answer to a copy of what we have sent: it is done already.
            Some(Restart::Cookie(cookie)) if self.cookie.as_ref() == Some(&cookie) => {
                return Ok(State::InitSent(self));
            }
            Some(Restart::KeyExchange(method)) if self.ke.method() == method => {
                return Ok(State::InitSent(self));
            }
            Some(Restart::Cookie(cookie)) if self.restarts < MOST_RESTARTS => {
                debug!(target: "ike", "the peer demands a cookie");
                return Ok(self.take_cookie(cookie, core, cx));
            }
            Some(Restart::KeyExchange(method)) if self.restarts < MOST_RESTARTS => {
                if let Some(ke) = self.other_key_exchange(method, cx) {
                    info!(target: "ike", "peer didn't accept key exchange {}, it requested {method}", self.ke.method());
                    self.ke = ke;
                    return Ok(self.restart(core, cx));
                }
                debug!(target: "ike", "ignoring a request for {method}: we did not offer it");
                return Ok(State::InitSent(self));
            }
            Some(_) => return self.fail(Failure::Protocol("it keeps asking to start over"), core, cx),
            None => {}
        }
        if let Some(redirect) = payloads.notify(NotifyType::REDIRECT).filter(|_| payloads.sa().is_none()) {
            return self.redirect(redirect.data, core, cx);
        }
        if let Some(error) = payloads.notifies().find(|notify| notify.kind.is_error()) {
            // RFC 7296 §2.21.1: anybody on the way may have written this, and a better answer may be on its way. That is
            // not waited for as long as for a peer that is silent, as whoever asked wants to hear what is wrong.
            if self.refusal.replace(error.kind).is_none() {
                core.timers.arm(Timer::Retransmit, cx.now + REFUSAL_PATIENCE);
            }
            return Ok(State::InitSent(self));
        }
        core.settle();
        core.spi_r = cleartext.message.header.spi_r;
        match self.finish(core, cleartext, cx) {
            Ok((handshake, suite, keys)) => {
                core.suite = Some(suite);
                core.protection = Some(keys);
                let Self { connection, planned, attempt, .. } = *self;
                auth::begin(core, connection, planned, attempt, handshake, cx)
            }
            Err(failure) => self.fail(failure, core, cx),
        }
    }

    /// RFC 5685 §3: who knows our nonce has seen our request. All else is silently discarded.
    fn redirect(self: Box<Self>, data: &[u8], core: &mut Core, cx: &mut Cx<'_>) -> Result<State, Failure> {
        let gateway = Gateway::decode(data)
            .filter(|(_, nonce)| cx.settings.follow_redirects && *nonce == self.nonce)
            .map(|(gateway, _)| gateway);
        let Some(gateway) = gateway else {
            cx.counters.invalid += 1;
            return Ok(State::InitSent(self));
        };
        let (connection, wanted) =
            (self.connection.clone(), self.planned.as_ref().map(|planned| planned.wanted.clone()));
        self.give_back(core, cx);
        redirect::follow(core, connection, wanted, gateway, cx)
    }

    /// RFC 7296 §2.6: the request again, with the cookie. A second cookie may be the answer to a copy of the first
    /// request. As AUTH covers the request, one that is being answered must not be replaced: the second cookie waits.
    fn take_cookie(mut self: Box<Self>, cookie: Vec<u8>, core: &mut Core, cx: &mut Cx<'_>) -> State {
        match &self.cookie {
            None => {
                self.cookie = Some(cookie);
                return self.restart(core, cx);
            }
            Some(_) => {
                if self.next_cookie.replace(cookie).is_none() {
                    core.timers.arm(Timer::Retransmit, cx.now + COOKIE_PATIENCE);
                }
            }
        }
        State::InitSent(self)
    }

    /// The request is to be sent again: with the cookie that waits, if one does.
    pub(crate) fn retransmit(
        mut self: Box<Self>,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if let Some(cookie) = self.next_cookie.take() {
            self.cookie = Some(cookie);
            return Ok(self.restart(core, cx));
        }
        if let Some(kind) = self.refusal {
            return self.fail(Failure::Refused(kind), core, cx);
        }
        match core.retransmit(cx) {
            Ok(()) => Ok(State::InitSent(self)),
            Err(failure) => {
                core.settle();
                let Self { connection, planned, attempt, .. } = *self;
                try_again(core, connection, planned, attempt, failure, cx)
            }
        }
    }

    fn restart_cause(&self, payloads: &Payloads<'_>) -> Option<Restart> {
        if payloads.sa().is_some() {
            return None;
        }
        if let Some(cookie) = payloads.notify(NotifyType::COOKIE) {
            // RFC 7296 §2.6: between 1 and 64 octets.
            return (1..=64).contains(&cookie.data.len()).then(|| Restart::Cookie(cookie.data.to_vec()));
        }
        let wanted: [u8; 2] = payloads.notify(NotifyType::INVALID_KE_PAYLOAD)?.data.try_into().ok()?;
        Some(Restart::KeyExchange(KeMethod(u16::from_be_bytes(wanted))))
    }

    /// A key exchange with another method, if we offered that one.
    fn other_key_exchange(&self, method: KeMethod, cx: &Cx<'_>) -> Option<KeyExchangeInProgress> {
        let is_offered = self.offer.iter().any(|proposal| {
            proposal
                .transforms
                .iter()
                .any(|t| t.kind == wire::registry::TransformType::KE && t.id == method.0)
        });
        is_offered.then(|| cx.crypto.start(method)).flatten()
    }

    /// RFC 7296 §2.6.1: the whole request again, with what was asked for, under message ID zero.
    fn restart(mut self: Box<Self>, core: &mut Core, cx: &mut Cx<'_>) -> State {
        core.settle();
        (self.next_cookie, self.refusal) = (None, None);
        core.window.restart();
        self.restarts += 1;
        self.send(core, cx);
        State::InitSent(self)
    }

    /// A NAT is pretended so that the peer encapsulates too.
    fn fakes_nat(&self, cx: &Cx<'_>) -> bool {
        self.connection.encap || cx.settings.force_encapsulation
    }

    fn finish(
        &self,
        core: &mut Core,
        cleartext: &Cleartext<'_>,
        cx: &Cx<'_>,
    ) -> Result<(Handshake, IkeSuite, Protection), Failure> {
        let payloads = &cleartext.message.payloads;
        let (Some(sa), Some(ke), Some(nonce)) = (payloads.sa(), payloads.ke(), payloads.nonce()) else {
            return Err(Failure::Protocol("its IKE_SA_INIT response lacks SA, KE or nonce"));
        };
        let [answer] = sa.proposals.as_slice() else {
            return Err(Failure::Protocol("it did not choose exactly one proposal"));
        };
        if core.spi_r.is_zero() {
            return Err(Failure::Protocol("its SPI is zero"));
        }
        if !answer.is_answer_to(&self.offer) {
            return Err(Failure::Protocol("it chose a proposal that we did not offer"));
        }
        let suite = IkeSuite::from_proposal(answer).map_err(|e| Failure::no_proposal(e.to_string()))?;
        if ke.method != suite.ke() || ke.method != self.ke.method() {
            return Err(Failure::Protocol("its key exchange is not the one it chose"));
        }
        debug!(target: "cfg", "selected proposal: {answer}");
        if let Some(nat) = detect_nat(payloads, core.spi_i, core.spi_r, core.path) {
            core.take_nat(nat, self.fakes_nat(cx));
        }
        core.fragments = self.connection.fragmentation == Fragmentation::Yes && supports_fragments(payloads);
        let shared = self.ke.complete(ke.data)?;
        let keys = IkeKeys::derive(&suite, &shared, &self.nonce, nonce, core.spi_i, core.spi_r);
        let (sealer, opener) = keys.protection.into_directions(Role::Initiator);
        let handshake = Handshake {
            request: self.request.clone(),
            response: cleartext.message.octets.to_vec(),
            nonce_i: self.nonce.to_vec(),
            nonce_r: nonce.to_vec(),
            sk_d: keys.sk_d,
            sk_pi: keys.sk_pi,
            sk_pr: keys.sk_pr,
            allows_childless: payloads.notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED).is_some(),
            hashes: hashes(payloads, cx),
            asked: Asked::of(payloads),
            speaks_rounds: offers_rounds(&self.connection, cx)
                && payloads.notify(NotifyType::MULTIPLE_AUTH_SUPPORTED).is_some(),
        };
        Ok((handshake, suite, Protection { sealer, opener }))
    }

    fn fail(self: Box<Self>, failure: Failure, core: &Core, cx: &mut Cx<'_>) -> Result<State, Failure> {
        self.give_back(core, cx);
        Err(failure)
    }

    pub(crate) fn give_back(self, core: &Core, cx: &mut Cx<'_>) {
        give_back(self.planned, core, cx);
    }
}

/// Starts over with a new SPI after a whole sequence of retransmissions, if `keyingtries` allows it.
pub(crate) fn try_again(
    core: &mut Core,
    connection: Arc<Connection>,
    planned: Option<PlannedChild>,
    attempt: u32,
    failure: Failure,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    if connection.keyingtries != 0 && attempt >= connection.keyingtries {
        give_back(planned, core, cx);
        return Err(failure);
    }
    cx.tell_attempt(Attempt::of(core, &failure));
    info!(target: "ike", "{failure}; trying again, attempt {}", attempt.saturating_add(1));
    start_over(core, cx);
    reset_ports(&mut core.path, &connection, cx);
    begin(core, connection, planned, attempt.saturating_add(1), cx)
}

/// Nothing is left of the attempt before.
pub(crate) fn start_over(core: &mut Core, cx: &Cx<'_>) {
    core.timers.clear();
    core.window.restart();
    core.spi_i = draw_ike_spi(cx.crypto, cx.spi_prefix);
    core.spi_r = IkeSpi::ZERO;
    core.nat = NatSituation::default();
    core.nat_t = false;
    core.nat_fake = false;
    core.fragments = false;
    core.reassembly.clear(); // its pieces were under the keys of the attempt before
    core.protection = None;
    core.suite = None;
}

/// The initial exchanges begin on the ports that the connection names (RFC 7296 §2.23).
pub(crate) fn reset_ports(path: &mut Path, connection: &Connection, cx: &Cx<'_>) {
    path.local.set_port(if connection.local_port == 0 { cx.ports.ike } else { connection.local_port });
    path.remote.set_port(connection.remote_port);
}

enum Restart {
    Cookie(Vec<u8>),
    KeyExchange(KeMethod),
}

/// Responder: IKE_SA_INIT was answered.
pub(crate) struct Answered {
    pub(crate) handshake: Handshake,
}

impl Answered {
    pub(crate) fn handle_auth(
        self,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        auth::answer(core, self.handshake, plaintext, cx)
    }
}

/// Answers an IKE_SA_INIT request that the endpoint has admitted: an IKE SA, half open.
pub(crate) fn answer(
    id: IkeSaId,
    spi_r: IkeSpi,
    cleartext: &Cleartext<'_>,
    cx: &mut Cx<'_>,
) -> Result<(Core, State), Failure> {
    let header = &cleartext.message.header;
    let payloads = &cleartext.message.payloads;
    let (Some(sa), Some(ke), Some(nonce_i)) = (payloads.sa(), payloads.ke(), payloads.nonce()) else {
        return Err(Failure::Protocol("its IKE_SA_INIT request lacks SA, KE or nonce"));
    };
    notices::log_ignored(payloads);
    let (chosen, connection) = choose(&sa.proposals, cleartext.path, cx)?;
    let fake = connection.encap || cx.settings.force_encapsulation;
    let suite = IkeSuite::from_proposal(&chosen).map_err(|e| Failure::no_proposal(e.to_string()))?;
    debug!(target: "cfg", "selected proposal: {chosen}");
    if ke.method != suite.ke() {
        return Err(Failure::WrongKeyExchange { used: ke.method, wanted: suite.ke() });
    }
    let (public, shared) = cx.crypto.start_and_complete(ke.method, ke.data)?;
    let nonce_r: [u8; NONCE_LEN] = cx.random();

    let mut core = Core::new(id, Role::Responder, header.spi_i, spi_r, cleartext.path, cx.now);
    if let Some(nat) = detect_nat(payloads, core.spi_i, IkeSpi::ZERO, cleartext.path) {
        core.take_nat(nat, fake);
    }
    let keys = IkeKeys::derive(&suite, &shared, nonce_i, &nonce_r, core.spi_i, core.spi_r);
    let (sealer, opener) = keys.protection.into_directions(Role::Responder);
    core.protection = Some(Protection { sealer, opener });
    core.suite = Some(suite);

    let mut reply = PayloadWriter::new();
    reply.sa(&[chosen]).ke(ke.method, &public).nonce(&nonce_r);
    write_nat_detection(&mut reply, core.spi_i, core.spi_r, core.path, fake);
    if connection.fragmentation != Fragmentation::No && supports_fragments(payloads) {
        reply.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]); // RFC 7383 §2.3
        core.fragments = connection.fragmentation == Fragmentation::Yes;
    }
    if connection.childless != Childless::Never {
        reply.notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED, &[]); // RFC 6023 §3
    }
    let hashes = hashes(payloads, cx);
    if hashes.is_some() {
        reply.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, &signature::announcement()); // RFC 7427 §4
    }
    // Who the peer is is not known yet: it may be for any connection.
    let speaks_rounds = cx.configuration.connections.iter().any(|connection| {
        let path = cleartext.path;
        offers_rounds(connection, cx) && connection.matches(path.local.ip(), path.remote.ip()).is_some()
    });
    if speaks_rounds {
        reply.notify(NotifyType::MULTIPLE_AUTH_SUPPORTED, &[]); // RFC 4739 §3.1
    }
    certificates::ask_as_responder(&mut reply, cleartext.path, cx);
    // RFC 5685 §3: who was sent to us goes on as well.
    core.can_be_redirected = payloads.notify(NotifyType::REDIRECT_SUPPORTED).is_some()
        || payloads.notify(NotifyType::REDIRECTED_FROM).is_some();
    let response = wire::build(core.fields(header.exchange, MessageId(0), true), &reply);
    cx.transmit(core.path, &response);
    cx.counters.ike_sa_init.responses_out += 1;
    core.window.answered(MessageId(0), vec![response.clone()]);
    core.timers.arm(Timer::HalfOpen, cx.now + cx.settings.half_open_timeout);

    let handshake = Handshake {
        request: cleartext.message.octets.to_vec(),
        response,
        nonce_i: nonce_i.to_vec(),
        nonce_r: nonce_r.to_vec(),
        sk_d: keys.sk_d,
        sk_pi: keys.sk_pi,
        sk_pr: keys.sk_pr,
        allows_childless: false,
        hashes,
        asked: Asked::default(),
        speaks_rounds,
    };
    Ok((core, State::InitAnswered(Box::new(Answered { handshake }))))
}

/// Tries the connections for these addresses, the closest first, until one has a proposal in common.
fn choose<'a>(theirs: &[Proposal], path: Path, cx: &Cx<'a>) -> Result<(Proposal, &'a Connection), Failure> {
    let (local, remote) = (path.local.ip(), path.remote.ip());
    let connections = &cx.configuration.connections;
    let mut candidates: Vec<_> = connections
        .iter()
        .filter_map(|connection| Some((connection.matches(local, remote)?, connection)))
        .collect();
    candidates.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let Some((_, closest)) = candidates.first() else {
        let sentence = format!("no IKE config found for {local}...{remote}");
        let mut passed_over: Vec<_> = connections
            .iter()
            .filter_map(|connection| {
                let rule = misplaced(connection, local, remote)?;
                Some(PassedOver { connection: connection.clone(), rule })
            })
            .collect();
        passed_over.sort_by_key(|passed| passed.rule != Rule::LocalAddress); // for the peer, but not by this way
        let evidence = Evidence::from(sentence).with_offer(theirs).with_passed_over(passed_over);
        return Err(Failure::NoConnection(Box::new(evidence)));
    };
    let context =
        SelectContext { allow_private: cx.settings.accept_private_algorithms, ..Default::default() };
    let prefer = if cx.settings.prefer_configured_proposals { Prefer::Ours } else { Prefer::Theirs };
    candidates
        .iter()
        .find_map(|(_, connection)| {
            let chosen = proposal::select(&connection.proposals, theirs, prefer, context)?;
            Some((chosen, &***connection))
        })
        .ok_or_else(|| {
            info!(target: "cfg", "received proposals: {}", list(theirs));
            info!(target: "cfg", "configured proposals: {}", list(&closest.proposals));
            let explain = |connection: &Connection| proposal::explain(&connection.proposals, theirs, context);
            let passed_over = candidates.iter().map(|(_, connection)| PassedOver {
                connection: (*connection).clone(),
                rule: Rule::Proposals(explain(connection)),
            });
            let evidence = Evidence::from(explain(closest).to_string());
            Failure::no_proposal(evidence.with_offer(theirs).with_passed_over(passed_over))
        })
}

/// Which of a connection's addresses are not these.
pub(super) fn misplaced(connection: &Connection, local: IpAddr, remote: IpAddr) -> Option<Rule> {
    let is_among = |patterns: &[AddressPattern], address| {
        patterns.iter().any(|pattern| pattern.matches(address).is_some())
    };
    if !is_among(&connection.remote_addrs, remote) {
        Some(Rule::RemoteAddress)
    } else if !is_among(&connection.local_addrs, local) {
        Some(Rule::LocalAddress)
    } else {
        None
    }
}

pub(crate) fn list(proposals: &[Proposal]) -> String {
    proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Answers a request with a notify and keeps nothing of it. The responder's SPI is zero (RFC 7296 §2.6).
pub(crate) fn reject(cleartext: &Cleartext<'_>, kind: NotifyType, data: &[u8], cx: &mut Cx<'_>) {
    let header = &cleartext.message.header;
    let fields = HeaderFields {
        spi_i: header.spi_i,
        spi_r: IkeSpi::ZERO,
        exchange: header.exchange,
        flags: Flags { initiator: false, response: true, version: false },
        message_id: header.message_id,
    };
    let mut reply = PayloadWriter::new();
    reply.notify(kind, data);
    cx.transmit(cleartext.path, &wire::build(fields, &reply));
    cx.counters.exchange(header.exchange).responses_out += 1;
}

/// RFC 7296 §2.23: hashes of the addresses as we see them, or of what never is ours if a NAT is to be seen.
pub(in crate::sa) fn write_nat_detection(
    payloads: &mut PayloadWriter,
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    path: Path,
    fake: bool,
) {
    let source = if fake {
        natt::forced_nat_hash(spi_i, spi_r, any_address(path.local.is_ipv6()))
    } else {
        natt::detection_hash(spi_i, spi_r, path.local)
    };
    let destination = natt::detection_hash(spi_i, spi_r, path.remote);
    payloads
        .notify(NotifyType::NAT_DETECTION_SOURCE_IP, &source)
        .notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &destination);
}

/// The hashes that the peer verifies signatures with, if both ends are to say how theirs are made (RFC 7427 §4).
fn hashes(payloads: &Payloads<'_>, cx: &Cx<'_>) -> Option<Vec<HashAlgorithm>> {
    let announced = payloads.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS)?;
    cx.settings.signature_authentication.then(|| signature::announced(announced.data))
}

/// Whether peers of a connection are told that there may be several rounds of authentication: where there are.
pub(in crate::sa) fn offers_rounds(connection: &Connection, cx: &Cx<'_>) -> bool {
    cx.settings.multiple_authentication && (connection.local.len() > 1 || connection.remote.len() > 1)
}

/// Whether the peer puts fragments together (RFC 7383 §2.3).
fn supports_fragments(payloads: &Payloads<'_>) -> bool {
    payloads.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some()
}

/// What the hashes of the peer say about a message that came over this path; `None` without hashes.
pub(in crate::sa) fn detect_nat(
    payloads: &Payloads<'_>,
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    path: Path,
) -> Option<NatSituation> {
    let hashes =
        |kind| payloads.notifies().filter(move |n| n.kind == kind).map(|n| n.data).collect::<Vec<_>>();
    let sources = hashes(NotifyType::NAT_DETECTION_SOURCE_IP);
    let destinations = hashes(NotifyType::NAT_DETECTION_DESTINATION_IP);
    NatSituation::detect(spi_i, spi_r, path.local, path.remote, &sources, &destinations)
}
