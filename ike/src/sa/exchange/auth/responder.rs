//! IKE_AUTH as the responder.
//!
//! Once the peer has authenticated, the answer needs things from outside, one after the other: may this peer
//! have another IKE SA, its virtual IPs, an SPI, the installed CHILD_SA. [`Answering`] holds what is known
//! meanwhile; the response leaves when the last outcome has come (RFC 7296 §1.2, DESIGN: an SA is installed
//! before the peer is told to use it).

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tracing::{info, warn};

use super::admission::{Admission, Candidate, OwnRound};
use super::certificates::{Asker, Claim};
use super::{allows_psk, allows_signature, eap, reply_attributes, requested_addresses, shared_key};
use crate::attempt::{Evidence, PassedOver, Rule};
use crate::auth::signature;
use crate::config::{AuthClass, Childless, Connection, Lease, LocalAuth, RemoteAuth};
use crate::context::Cx;
use crate::crypto::Role;
use crate::error::Failure;
use crate::identity::Identity;
use crate::output::{Action, ActionId, ChildSaId, Outbound, Outcome, Path};
use crate::proposal::Proposal;
use crate::sa::child::{self, Agreed, ChildRequest, ChildSa, Ingredients};
use crate::sa::established::Established;
use crate::sa::exchange::init::{self, Handshake};
use crate::sa::mobike::{self, Mobility};
use crate::sa::opened::{Opened, Plaintext};
use crate::sa::{Core, HeldLease, State};
use crate::timer::Timer;
use crate::wire::registry::{AuthMethod, CfgType, ExchangeType, MessageId, NotifyType, Spi};
use crate::wire::{PayloadWriter, Payloads};

/// The peer has authenticated; the response is being prepared.
pub(crate) struct Answering {
    handshake: Handshake,
    message_id: MessageId,
    path: Path,
    connection: Arc<Connection>,
    remote_id: Identity,
    /// Our AUTH: made when the peer's was verified, whatever is loaded meanwhile. `None` if the peer has all of them.
    ours: Option<OwnRound>,
    /// What the peer asked for as its first CHILD_SA; gone once it is negotiated.
    wanted: Option<ChildRequest>,
    /// The virtual IPs it asked for; `None` without a CFG_REQUEST.
    requested: Option<Vec<IpAddr>>,
    lease: Lease,
    /// What it says about its addresses, if both want MOBIKE.
    mobility: Option<Mobility>,
    /// The peer has another IKE SA, which it may be about to replace by this one.
    has_other: bool,
    stage: Stage,
}

enum Stage {
    /// Nothing is awaited yet.
    Admitted,
    Unique(ActionId),
    Lease(ActionId),
    Spi(ActionId, ChildSaId, Agreed),
    Install(ActionId, ChildSa, Proposal),
}

/// What becomes of the CHILD_SA in the response.
enum ChildAnswer {
    Made(Box<ChildSa>, Proposal),
    Refused(Failure),
    NotAsked,
}

/// How the peer authenticates in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// By a pre-shared key, or in a way that will not do.
    SharedKey,
    Signature,
    Eap,
    /// Not at all (RFC 7619).
    Null,
}

impl Method {
    /// What the first message of a round says.
    pub(super) fn of(payloads: &Payloads<'_>) -> Self {
        match payloads.auth() {
            None => Self::Eap, // RFC 7296 §2.16: leaving AUTH out asks for it
            Some(auth) if signature::is_signature(auth.method) => Self::Signature,
            Some(auth) if auth.method == AuthMethod::NULL => Self::Null,
            Some(_) => Self::SharedKey,
        }
    }

    pub(super) fn is_allowed(self, remote: &RemoteAuth) -> bool {
        match self {
            Self::SharedKey => allows_psk(remote.class),
            Self::Signature => allows_signature(remote.class),
            Self::Eap => matches!(remote.class, Some(AuthClass::Eap(_))),
            Self::Null => remote.is_null(),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SharedKey => "pre-shared key",
            Self::Signature => "signature",
            Self::Eap => "EAP",
            Self::Null => "NULL authentication",
        })
    }
}

/// Takes the IKE_AUTH request of a half-open IKE SA.
pub(crate) fn answer(
    core: &mut Core,
    handshake: Handshake,
    plaintext: &Plaintext,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    // The peer may have moved to port 4500; it has shown that it holds the keys (RFC 7296 §2.23).
    core.path = plaintext.path;
    let opened = match plaintext.decode() {
        Ok(opened) => opened,
        Err(error) => return refuse(core, plaintext, error.into(), cx),
    };
    match Admission::open(core, handshake, &opened.payloads, cx) {
        Ok(admission) => next_round(core, admission, plaintext, &opened, cx),
        Err(failure) => refuse(core, plaintext, failure, cx),
    }
}

/// Takes the first message of a round.
pub(super) fn next_round(
    core: &mut Core,
    mut admission: Admission,
    plaintext: &Plaintext,
    opened: &Opened<'_>,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    let payloads = &opened.payloads;
    // RFC 4739 §2.1: each round has an identity of its own.
    let Some(id_i) = payloads.id_i() else {
        return refuse(core, plaintext, Failure::Protocol("its IKE_AUTH request lacks IDi"), cx);
    };
    if let Err(failure) = admission.begin_round(core, id_i, payloads) {
        return refuse(core, plaintext, failure, cx);
    }
    match Method::of(payloads) {
        Method::Eap => eap::responder::begin(core, admission, plaintext, opened, cx),
        Method::Signature => Verifying::begin(core, admission, plaintext.clone(), id_i.clone(), cx),
        Method::Null => match verify_null(core, &admission, payloads) {
            // RFC 7619 §2.2: what it says of itself is for nothing but the log.
            Ok(()) => admission.end_round(core, (plaintext, opened), (Identity::null(), None), None, cx),
            Err(failure) => refuse(core, plaintext, failure, cx),
        },
        Method::SharedKey => match verify(core, &admission, payloads, cx) {
            Ok(()) => admission.end_round(core, (plaintext, opened), (id_i.clone(), None), None, cx),
            Err(failure) => refuse(core, plaintext, failure, cx),
        },
    }
}

/// Tells the peer why not; the IKE SA ends.
pub(super) fn refuse(
    core: &mut Core,
    plaintext: &Plaintext,
    failure: Failure,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    core.respond_failure(plaintext, &failure, cx)?;
    Err(failure)
}

/// The peer has proven who it is, in all its rounds: what it asked for is seen to.
pub(super) fn proceed(
    core: &mut Core,
    admission: Admission,
    remote_id: Identity,
    ours: Option<OwnRound>,
    plaintext: &Plaintext,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    let Admission { handshake, connection, wishes, local_id, .. } = admission;
    core.timers.disarm(Timer::HalfOpen);
    core.local_id = Some(local_id.clone());
    core.remote_id = Some(remote_id.clone());
    let Wishes { child: wanted, addresses: requested, initial_contact, mobility } = wishes;
    // Rounds may have led to another connection since.
    let mobility = mobility.filter(|_| connection.mobike);
    if let Some(failure) = misfit(connection.childless, wanted.is_some()) {
        return refuse(core, plaintext, failure, cx);
    }
    let mut answering = Box::new(Answering {
        handshake,
        message_id: plaintext.header.message_id,
        path: plaintext.path,
        connection,
        remote_id,
        ours,
        wanted,
        requested,
        lease: Lease::default(),
        mobility,
        has_other: false,
        stage: Stage::Admitted,
    });
    let remote_id = answering.peer(core).clone();
    if remote_id.is_null() {
        // RFC 7619 §2.3: nobody is not the same as anybody, and its INITIAL_CONTACT is about nobody.
        return answering.lease(core, cx);
    }
    let check = Action::CheckUnique {
        ike_sa: core.id,
        connection: answering.connection.clone(),
        local_id,
        remote_id,
        remote: core.path.remote.ip(),
        initial_contact,
    };
    answering.stage = Stage::Unique(cx.ask(core.id, check));
    Ok(State::AuthAnswering(answering))
}

/// RFC 6023 §3: whether an IKE SA may be made without a CHILD_SA, or with one, is up to the responder.
fn misfit(childless: Childless, has_child: bool) -> Option<Failure> {
    match (childless, has_child) {
        (Childless::Never, false) => Some(Failure::Protocol("it makes an IKE_SA without a CHILD_SA")),
        (Childless::Force, true) => {
            Some(Failure::Protocol("it makes a CHILD_SA in IKE_AUTH, and childless = force"))
        }
        _ => None,
    }
}

/// What the first IKE_AUTH request asks for beside authentication.
pub(super) struct Wishes {
    child: Option<ChildRequest>,
    addresses: Option<Vec<IpAddr>>,
    initial_contact: bool,
    mobility: Option<Mobility>,
}

impl Wishes {
    pub(super) fn of(payloads: &Payloads<'_>, connection: &Connection) -> Self {
        Self {
            mobility: Mobility::agreed(payloads, connection, false),
            child: ChildRequest::of(payloads),
            addresses: payloads.cp().filter(|cp| cp.cfg_type == CfgType::REQUEST).map(requested_addresses),
            initial_contact: payloads.notify(NotifyType::INITIAL_CONTACT).is_some(),
        }
    }
}

/// Checks AUTH of a peer that does not prove who it is (RFC 7619 §2.1).
fn verify_null(core: &Core, admission: &Admission, payloads: &Payloads<'_>) -> Result<(), Failure> {
    let (Some(id_i), Some(id_i_body), Some(auth)) = (payloads.id_i(), payloads.id_i_body(), payloads.auth())
    else {
        return Err(Failure::Protocol("its IKE_AUTH request lacks IDi or AUTH"));
    };
    let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
    let handshake = &admission.handshake;
    if !handshake.verify_initiator(auth.data, suite, handshake.null_key(Role::Initiator), id_i_body) {
        return Err(Failure::Authentication("AUTH without authentication does not fit the IKE_SA".into()));
    }
    super::tell_of_nobody(core, id_i);
    Ok(())
}

/// Checks AUTH that is made with a pre-shared key (RFC 7296 §2.15).
fn verify(core: &Core, admission: &Admission, payloads: &Payloads<'_>, cx: &Cx<'_>) -> Result<(), Failure> {
    let (Some(id_i), Some(id_i_body), Some(auth)) = (payloads.id_i(), payloads.id_i_body(), payloads.auth())
    else {
        return Err(Failure::Protocol("its IKE_AUTH request lacks IDi or AUTH"));
    };
    let Admission { connection, local_id, handshake, .. } = admission;
    if auth.method != AuthMethod::SHARED_KEY {
        return Err(Failure::Authentication(format!(
            "'{id_i}' used {}, connection '{}' expects a pre-shared key",
            auth.method, connection.name
        )));
    }
    let key = shared_key(cx.configuration, local_id, id_i).map_err(Failure::Authentication)?;
    let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
    if !handshake.verify_initiator(auth.data, suite, key, id_i_body) {
        return Err(Failure::Authentication(format!(
            "tried 1 shared key for '{local_id}' - '{id_i}', but MAC mismatched"
        )));
    }
    info!(target: "ike", "authentication of '{id_i}' with pre-shared key successful");
    Ok(())
}

/// The peer has signed its request; whether anybody vouches for its certificate is being found out.
pub(crate) struct Verifying {
    admission: Admission,
    plaintext: Plaintext,
    id_i: Identity,
    /// How the peer has signed.
    scheme: String,
    action: ActionId,
}

impl Verifying {
    /// Asks about the peer's certificate for the first connection that takes its signature. If there is none, the peer is
    /// refused for what was wrong with the last.
    fn begin(
        core: &mut Core,
        mut admission: Admission,
        plaintext: Plaintext,
        id_i: Identity,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        loop {
            match claim(core, &admission, &plaintext, &id_i, cx) {
                Ok(Claim::Known(scheme)) => {
                    info!(target: "ike", "authentication of '{id_i}' with {scheme} successful");
                    return match plaintext.decode() {
                        Ok(opened) => {
                            admission.end_round(core, (&plaintext, &opened), (id_i, None), None, cx)
                        }
                        Err(error) => refuse(core, &plaintext, error.into(), cx),
                    };
                }
                Ok(Claim::Certified(claim)) => {
                    let scheme = claim.scheme.to_string();
                    let asker = Asker {
                        ike_sa: core.id,
                        connection: &admission.connection,
                        round: admission.round(),
                        id: &id_i,
                    };
                    let action = asker.ask(*claim, cx);
                    let verifying = Self { admission, plaintext, id_i, scheme, action };
                    return Ok(State::AuthVerifying(Box::new(verifying)));
                }
                Err(why) => {
                    info!(target: "cfg", "peer config '{}' is not for it: {why}", admission.connection.name);
                    if !admission.give_up_connection(core) {
                        return refuse(core, &plaintext, Failure::Authentication(why), cx);
                    }
                }
            }
        }
    }

    pub(crate) fn handle_outcome(
        self: Box<Self>,
        core: &mut Core,
        id: ActionId,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if id != self.action {
            return Ok(State::AuthVerifying(self));
        }
        let Self { mut admission, plaintext, id_i, scheme, .. } = *self;
        match outcome {
            Outcome::Done => {
                info!(target: "ike", "authentication of '{id_i}' with {scheme} successful");
                match plaintext.decode() {
                    Ok(opened) => admission.end_round(core, (&plaintext, &opened), (id_i, None), None, cx),
                    Err(error) => refuse(core, &plaintext, error.into(), cx),
                }
            }
            Outcome::Failed(why) => {
                info!(target: "cfg", "peer config '{}' is not for it: {why}", admission.connection.name);
                if admission.give_up_connection(core) {
                    Self::begin(core, admission, plaintext, id_i, cx)
                } else {
                    refuse(core, &plaintext, Failure::Authentication(why), cx)
                }
            }
            _ => {
                let failure = Failure::Outside("nobody can vouch for certificates".into());
                refuse(core, &plaintext, failure, cx)
            }
        }
    }
}

/// What the peer has proven, as far as the connection takes it. The sentence says why it does not.
fn claim(
    core: &Core,
    admission: &Admission,
    plaintext: &Plaintext,
    id_i: &Identity,
    cx: &Cx<'_>,
) -> Result<Claim, String> {
    let opened = plaintext.decode().map_err(|error| error.to_string())?;
    let payloads = &opened.payloads;
    let (Some(id_i_body), Some(auth), Some(suite), Some(remote)) =
        (payloads.id_i_body(), payloads.auth(), core.suite.as_ref(), admission.remote())
    else {
        return Err("its IKE_AUTH request lacks IDi or AUTH".to_owned());
    };
    let octets = admission.handshake.signed_octets(Role::Initiator, suite, id_i_body);
    Claim::check(payloads, auth, id_i, remote, &octets, cx)
}

/// The connections that `allows` the peer's way to authenticate, and our identity for each: first those whose addresses
/// fit closest, and among these the ones whose identities do. At least one.
pub(super) fn candidates(
    core: &Core,
    id_i: &Identity,
    id_r: Option<&Identity>,
    allows: &dyn Fn(&Connection) -> Result<(), &'static str>,
    cx: &Cx<'_>,
) -> Result<Vec<Candidate>, Failure> {
    const NOTHING: u8 = 0;
    let (local, remote) = (core.path.local.ip(), core.path.remote.ip());
    let own = |connection: &Connection| {
        let configured = connection.local.first().and_then(LocalAuth::identity);
        // Without an id of its own, a connection goes by what the peer asked for, or by our address.
        configured.unwrap_or_else(|| id_r.cloned().unwrap_or_else(|| Identity::from_addr(local)))
    };
    // What excludes a connection, and how near it was.
    let examine = |connection: &Connection| {
        let score = connection
            .matches(local, remote)
            .ok_or_else(|| (0, init::misplaced(connection, local, remote).unwrap_or(Rule::RemoteAddress)))?;
        // IKE_SA_INIT was negotiated by addresses alone, perhaps with another connection's proposals.
        if !core.suite.is_some_and(|suite| suite.is_among(&connection.proposals)) {
            return Err((1, Rule::Suite));
        }
        // RFC 7619 §2.2: an identity that is not proven decides nothing, and who proves nothing is nobody.
        let remote_quality = connection.remote.first().and_then(|auth| match auth.is_null() {
            true => Some(NOTHING),
            false => id_i.matches(&auth.id),
        });
        let remote_quality = remote_quality.ok_or((2, Rule::RemoteId))?;
        let ours = own(connection);
        let local_quality = match id_r {
            Some(_) if ours.is_null() => NOTHING,
            Some(id_r) => ours.matches(id_r).ok_or_else(|| (3, Rule::LocalId(id_r.clone())))?,
            None => Identity::PERFECT,
        };
        allows(connection).map_err(|why| (4, Rule::Authentication(why)))?;
        Ok(((score, u32::from(remote_quality) + u32::from(local_quality)), ours))
    };
    let (mut found, mut excluded) = (Vec::new(), Vec::new());
    for connection in &cx.configuration.connections {
        match examine(connection) {
            Ok((score, ours)) => found.push((score, connection, ours)),
            Err((nearness, rule)) => excluded.push((nearness, connection, rule)),
        }
    }
    found.sort_by_key(|(score, ..)| Reverse(*score)); // of equals, the first in load order stays first
    if found.is_empty() {
        let wanted = id_r.map_or_else(|| "%any".to_owned(), ToString::to_string);
        info!(target: "cfg", "looking for peer configs matching {local}[{wanted}]...{remote}[{id_i}]");
        excluded.sort_by_key(|(nearness, ..)| Reverse(*nearness));
        let passed_over = excluded
            .into_iter()
            .map(|(_, connection, rule)| PassedOver { connection: connection.clone(), rule });
        let sentence = format!("no matching peer config found for {local}[{wanted}]...{remote}[{id_i}]");
        let evidence = Evidence::from(sentence).with_passed_over(passed_over);
        return Err(Failure::NoCandidate(Box::new(evidence)));
    }
    Ok(found.into_iter().map(|(_, connection, ours)| (connection.clone(), ours)).collect())
}

impl Answering {
    pub(crate) fn handle_outcome(
        mut self: Box<Self>,
        core: &mut Core,
        id: ActionId,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let awaited = match &self.stage {
            Stage::Unique(action) | Stage::Lease(action) => *action,
            Stage::Spi(action, ..) | Stage::Install(action, ..) => *action,
            Stage::Admitted => return Ok(State::AuthAnswering(self)),
        };
        if id != awaited {
            return Ok(State::AuthAnswering(self));
        }
        // The stage is consumed; each arm says what comes next.
        match std::mem::replace(&mut self.stage, Stage::Admitted) {
            Stage::Admitted => Ok(State::AuthAnswering(self)),
            Stage::Unique(_) => match outcome {
                Outcome::Unique { is_allowed: true, has_other } => {
                    self.has_other = has_other;
                    self.lease(core, cx)
                }
                Outcome::Failed(why) => self.refuse(Failure::Authentication(why), core, cx),
                _ => self.refuse(
                    Failure::Authentication("the peer has an IKE_SA already and unique = keep".into()),
                    core,
                    cx,
                ),
            },
            Stage::Lease(_) => {
                match outcome {
                    Outcome::Lease(lease) => self.lease = lease,
                    Outcome::Failed(why) => {
                        warn!(target: "cfg", "no virtual IP for '{}': {why}", self.remote_id)
                    }
                    _ => {}
                }
                for vip in &self.lease.addresses {
                    info!(target: "ike", "assigning virtual IP {vip} to peer '{}'", self.remote_id);
                }
                self.negotiate(core, cx)
            }
            Stage::Spi(_, child_sa, agreed) => match outcome {
                Outcome::Spi(spi_in) => self.install(child_sa, agreed, spi_in, core, cx),
                Outcome::Failed(why) => self.finish(ChildAnswer::Refused(Failure::Outside(why)), core, cx),
                _ => self.finish(ChildAnswer::Refused(Failure::Outside("no SPI".into())), core, cx),
            },
            Stage::Install(_, child_sa, proposal) => match outcome {
                Outcome::Failed(why) => {
                    child_sa.remove(core, cx);
                    self.finish(ChildAnswer::Refused(Failure::Outside(why)), core, cx)
                }
                _ => self.finish(ChildAnswer::Made(Box::new(child_sa), proposal), core, cx),
            },
        }
    }

    fn lease(mut self: Box<Self>, core: &mut Core, cx: &mut Cx<'_>) -> Result<State, Failure> {
        let requested = self.requested.clone().unwrap_or_default();
        if requested.is_empty() || self.connection.pools.is_empty() {
            return self.negotiate(core, cx);
        }
        for address in &requested {
            info!(target: "ike", "peer requested virtual IP {}", address_or_any(*address));
        }
        let (pools, identity) = (self.connection.pools.clone(), self.peer(core).clone());
        self.stage =
            Stage::Lease(cx.ask(core.id, Action::Lease { ike_sa: core.id, pools, identity, requested }));
        Ok(State::AuthAnswering(self))
    }

    fn negotiate(mut self: Box<Self>, core: &mut Core, cx: &mut Cx<'_>) -> Result<State, Failure> {
        let Some(wanted) = self.wanted.take() else { return self.finish(ChildAnswer::NotAsked, core, cx) };
        if self.requested.as_ref().is_some_and(|r| !r.is_empty()) && self.lease.addresses.is_empty() {
            // RFC 7296 §3.15.4: the IKE SA stands, the CHILD_SA does not.
            let why = if self.connection.pools.is_empty() {
                format!("connection '{}' has no pools", self.connection.name)
            } else {
                format!("pools {} have none left", self.connection.pools.join(", "))
            };
            return self.finish(ChildAnswer::Refused(Failure::NoAddress(why)), core, cx);
        }
        let local = [self.path.local.ip()];
        let outer = [self.path.remote.ip()];
        let remote = if self.lease.addresses.is_empty() { &outer } else { self.lease.addresses.as_slice() };
        let children = self.connection.children.iter();
        let candidates = children.map(|child| child::Candidate::new(child, &local, remote)).collect();
        match Agreed::choose(&wanted, candidates, true, core, cx) {
            Err(failure) => self.finish(ChildAnswer::Refused(failure), core, cx),
            Ok(agreed) => {
                let child_sa = ChildSaId(cx.unique_ids.child_sa());
                let action = cx.ask(core.id, Action::ReserveSpi { child_sa });
                self.stage = Stage::Spi(action, child_sa, agreed);
                Ok(State::AuthAnswering(self))
            }
        }
    }

    fn install(
        mut self: Box<Self>,
        id: ChildSaId,
        agreed: Agreed,
        spi_in: Spi,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let proposal = agreed.proposal.clone();
        let with = Ingredients {
            id,
            spi_in,
            opened_by_us: false,
            sk_d: &self.handshake.sk_d,
            shared: None,
            nonce_i: &self.handshake.nonce_i,
            nonce_r: &self.handshake.nonce_r,
            reqid: None,
            virtual_ips: vec![],
            outbound: if self.has_other { Outbound::Behind } else { Outbound::Now },
        };
        core.take_interfaces(cx);
        let (child_sa, install) = agreed.install(with, core, cx)?;
        let action = cx.ask(core.id, Action::InstallChild(install));
        self.stage = Stage::Install(action, child_sa, proposal);
        Ok(State::AuthAnswering(self))
    }

    /// The response, and with it the end of the handshake.
    fn finish(
        mut self: Box<Self>,
        child: ChildAnswer,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if matches!(child, ChildAnswer::Refused(_)) {
            self.release_lease(core, cx); // it was for the CHILD_SA, and the peer is not told of it
        }
        let mut reply = PayloadWriter::new();
        if let Some(ours) = &self.ours {
            ours.write(&mut reply);
        }
        match &child {
            ChildAnswer::Made(child_sa, proposal) => {
                if !self.lease.addresses.is_empty() {
                    reply.cp(CfgType::REPLY, &reply_attributes(&self.lease));
                }
                child_sa.write(proposal, &mut reply, |_| {});
            }
            ChildAnswer::Refused(failure) => {
                if let Some((kind, data)) = failure.notify() {
                    reply.notify(kind, &data);
                }
            }
            ChildAnswer::NotAsked if !self.lease.addresses.is_empty() => {
                reply.cp(CfgType::REPLY, &reply_attributes(&self.lease));
            }
            ChildAnswer::NotAsked => {}
        }
        let mobility = self.mobility.take().map(|mobility| {
            let told = mobike::announce(&mut reply, core, cx);
            Mobility { told, ..mobility }
        });
        let held =
            if self.lease.addresses.is_empty() { HeldLease::Nothing } else { HeldLease::Given(self.lease) };
        let mut established =
            Box::new(Established::new(self.connection, held, self.handshake.sk_d, core, cx));
        established.mobility = mobility;
        if let Some(seconds) = established.auth_lifetime(cx) {
            reply.notify(NotifyType::AUTH_LIFETIME, &seconds.to_be_bytes()); // RFC 4478 §2
        }
        core.respond(ExchangeType::IKE_AUTH, self.message_id, &reply, self.path, cx)?;
        established.announce(core, cx);
        match child {
            ChildAnswer::Made(child_sa, _) => {
                if self.has_other {
                    established.stand_behind(child_sa.id, core, cx);
                }
                established.child_installed(*child_sa, core, cx);
            }
            ChildAnswer::Refused(failure) => {
                established.decide_on_child_failure(None, &failure, core, cx);
            }
            ChildAnswer::NotAsked => {}
        }
        established.work(core, cx)
    }

    /// The peer is told, and the IKE SA ends.
    fn refuse(self: Box<Self>, failure: Failure, core: &mut Core, cx: &mut Cx<'_>) -> Result<State, Failure> {
        let reply = core.refusal(&failure);
        core.respond(ExchangeType::IKE_AUTH, self.message_id, &reply, self.path, cx)?;
        self.give_back(core, cx);
        Err(failure)
    }

    pub(crate) fn give_back(mut self, core: &Core, cx: &mut Cx<'_>) {
        match &self.stage {
            Stage::Spi(_, child_sa, _) => {
                cx.ask(core.id, Action::RemoveChild { child_sa: *child_sa });
            }
            Stage::Install(_, child_sa, _) => {
                child_sa.remove(core, cx);
            }
            Stage::Admitted | Stage::Unique(_) | Stage::Lease(_) => {}
        }
        self.release_lease(core, cx);
    }

    /// Who it is that has addresses.
    fn peer<'a>(&'a self, core: &'a Core) -> &'a Identity {
        core.peer().unwrap_or(&self.remote_id)
    }

    fn release_lease(&mut self, core: &Core, cx: &mut Cx<'_>) {
        let addresses = std::mem::take(&mut self.lease).addresses;
        if !addresses.is_empty() {
            let (pools, identity) = (self.connection.pools.clone(), self.peer(core).clone());
            cx.ask(core.id, Action::ReleaseLease { pools, identity, addresses });
        }
    }
}

fn address_or_any(address: IpAddr) -> String {
    match address {
        address if !address.is_unspecified() => address.to_string(),
        IpAddr::V4(_) => "%any".into(),
        IpAddr::V6(_) => "%any6".into(),
    }
}
