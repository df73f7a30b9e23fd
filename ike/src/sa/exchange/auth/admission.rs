//! Letting a peer in, in one round of authentication or in several (RFC 4739), as the responder: what it has proven so
//! far, what we have, and which connection that leads to.
//!
//! ```text
//! HDR, SK {IDi, [CERT], AUTH, SAi2, TSi, TSr, N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS)}  -->
//!                                          <--  HDR, SK {IDr, [CERT], AUTH, [N(ANOTHER_AUTH_FOLLOWS)]}
//! HDR, SK {IDi, [CERT], [AUTH]}  -->       <--  HDR, SK {[IDr, [CERT], AUTH], [EAP]}            (so often)
//! HDR, SK {...}  -->                       <--  HDR, SK {[AUTH], SAr2, TSi, TSr}
//! ```
//!
//! An end gives one round with each of its messages, as long as it has some: the request is empty where the initiator has
//! none left, and the last response has no AUTH where the responder has not.

use std::sync::Arc;

use tracing::info;

use super::Proof;
use super::certificates::Asked;
use super::responder::{Method, Wishes, candidates, next_round, proceed, refuse};
use crate::config::{AuthClass, Connection, EapMethods, LocalAuth, RemoteAuth};
use crate::context::Cx;
use crate::error::Failure;
use crate::identity::Identity;
use crate::sa::exchange::init::Handshake;
use crate::sa::opened::{Opened, Plaintext};
use crate::sa::{Core, State, mobike};
use crate::wire::registry::{ExchangeType, NotifyType};
use crate::wire::{PayloadWriter, Payloads};

/// A connection the peer may be for, and who we are in it.
pub(super) type Candidate = (Arc<Connection>, Identity);

/// A peer that is proving who it is. It may be in the midst of a round, or one may be over and another to come.
pub(crate) struct Admission {
    pub(super) handshake: Handshake,
    pub(super) connection: Arc<Connection>,
    /// Who we are in the round that we have given last, or are to give first.
    pub(super) local_id: Identity,
    /// Further connections, the best first.
    others: Vec<Candidate>,
    pub(super) wishes: Wishes,
    /// What the peer asks to see of us.
    asked: Asked,
    /// Both ends have said that there may be several rounds.
    speaks_rounds: bool,
    /// The peer's rounds that are over.
    proven: Vec<Proven>,
    /// How many rounds of ours the peer has.
    given: usize,
    /// The peer has had its last round.
    is_peer_done: bool,
}

/// What the peer has proven in a round, and what it was asked for.
struct Proven {
    id: Identity,
    /// Who it is in EAP, if that was how.
    client: Option<Identity>,
    asked: RemoteAuth,
}

impl Proven {
    /// True if another connection would have taken the same. What was vouched for by other rules was not vouched for by
    /// its own.
    fn suits(&self, other: &RemoteAuth) -> bool {
        let Self { id, client, asked } = self;
        let is_client = match (client, &other.eap_id) {
            (None, _) => true,
            (Some(client), Some(pattern)) => client.matches(pattern).is_some(),
            (Some(_), None) => asked.eap_id.is_none(),
        };
        is_client
            && id.matches(&other.id).is_some()
            && asked.class == other.class
            && asked.rules == other.rules
            && asked.trust == other.trust
            && asked.public_keys == other.public_keys
            && asked.groups == other.groups
    }
}

/// One round of ours, made and not yet said.
pub(super) struct OwnRound {
    /// Who we are in it; `None` where the peer knows.
    pub(super) id: Option<Identity>,
    pub(super) proof: Proof,
    /// Another one is to follow.
    pub(super) is_followed: bool,
}

impl OwnRound {
    pub(super) fn write(&self, reply: &mut PayloadWriter) {
        if let Some(id) = &self.id {
            reply.id_r(id);
            info!(target: "ike", "authentication of '{id}' (myself) with {}", self.proof.with);
        }
        self.proof.write_certificates(reply);
        reply.auth(self.proof.method, &self.proof.data);
        if self.is_followed {
            reply.notify(NotifyType::ANOTHER_AUTH_FOLLOWS, &[]);
        }
    }
}

impl Admission {
    /// Takes the first IKE_AUTH request: finds the connections for the identities, whose first round is of the kind that
    /// the peer has begun.
    pub(super) fn open(
        core: &mut Core,
        handshake: Handshake,
        payloads: &Payloads<'_>,
        cx: &Cx<'_>,
    ) -> Result<Self, Failure> {
        let id_i = payloads.id_i().ok_or(Failure::Protocol("its IKE_AUTH request lacks IDi"))?;
        core.claimed = Some(id_i.clone());
        let speaks_rounds =
            handshake.speaks_rounds && payloads.notify(NotifyType::MULTIPLE_AUTH_SUPPORTED).is_some();
        let method = Method::of(payloads);
        let more = another_follows(payloads, speaks_rounds)?;
        let may_be_eap_only = payloads.notify(NotifyType::EAP_ONLY_AUTHENTICATION).is_some();
        let suits = |connection: &Connection| {
            let first = connection.remote.first().ok_or("it asks for no proof")?;
            match (method, is_eap_only(connection)) {
                (Method::Eap, true) if !may_be_eap_only => {
                    return Err("it is for EAP alone, which the peer does not take for enough");
                }
                (Method::SharedKey | Method::Signature | Method::Null, true) => {
                    return Err("it is for EAP alone");
                }
                _ => {}
            }
            if !method.is_allowed(first) {
                return Err(match method {
                    Method::SharedKey => "the peer proves itself by a pre-shared key",
                    Method::Signature => "the peer proves itself by a signature",
                    Method::Eap => "the peer asks for EAP",
                    Method::Null => "the peer proves nothing",
                });
            }
            if !speaks_rounds && connection.remote.len() > 1 {
                return Err("it has several rounds of authentication, which the peer does not do");
            }
            // In EAP, it turns out with AUTH.
            if method != Method::Eap && more != (connection.remote.len() > 1) {
                return Err(if more {
                    "the peer goes through several rounds of authentication"
                } else {
                    "the peer goes through one round of authentication"
                });
            }
            Ok(())
        };
        if id_i.is_null() && matches!(method, Method::SharedKey | Method::Signature) {
            // RFC 7619 §2.2 leaves that to other documents.
            return Err(Failure::Authentication(format!("ID_NULL is nobody who could prove it by {method}")));
        }
        let mut found = candidates(core, id_i, payloads.id_r(), &suits, cx)
            .map_err(|mut failure| {
                if let Failure::NoCandidate(evidence) = &mut failure {
                    let what = match method {
                        Method::Eap => " that has EAP",
                        Method::Null => " that takes NULL authentication",
                        _ if more => " that has several rounds of authentication",
                        _ => "",
                    };
                    evidence.sentence.push_str(what);
                }
                failure
            })?
            .into_iter();
        let (connection, local_id) = found.next().ok_or(Failure::Protocol("nobody it could be"))?;
        info!(target: "cfg", "selected peer config '{}'", connection.name);
        core.connection = Some(connection.clone());
        Ok(Self {
            handshake,
            wishes: Wishes::of(payloads, &connection),
            connection,
            local_id,
            others: found.collect(),
            asked: Asked::of(payloads),
            speaks_rounds,
            proven: vec![],
            given: 0,
            is_peer_done: false,
        })
    }

    /// The peer begins another round, as `id_i`: what is a candidate for that.
    pub(super) fn begin_round(
        &mut self,
        core: &mut Core,
        id_i: &Identity,
        payloads: &Payloads<'_>,
    ) -> Result<(), Failure> {
        if self.proven.is_empty() {
            return Ok(()); // what was opened for it is
        }
        let method = Method::of(payloads);
        let more = another_follows(payloads, self.speaks_rounds)?;
        let round = self.round();
        self.retain(core, |connection| {
            let Some(remote) = connection.remote.get(round) else {
                return Err(format!("it has {round} rounds of authentication"));
            };
            if !remote.is_null() && id_i.matches(&remote.id).is_none() {
                return Err(format!("round {} is not for '{id_i}'", round + 1));
            }
            if !method.is_allowed(remote) {
                return Err(format!("round {} is not done by {method}", round + 1));
            }
            if method != Method::Eap {
                has_rounds(connection, round + 1, more)?;
            }
            Ok(())
        })
    }

    /// The round that the peer is in, counted from zero.
    pub(super) fn round(&self) -> usize {
        self.proven.len()
    }

    /// What the peer has to prove in this round.
    pub(super) fn remote(&self) -> Option<&RemoteAuth> {
        self.connection.remote.get(self.round())
    }

    /// How EAP may be done in this round with a connection, if it may.
    pub(super) fn eap_methods(&self, connection: &Connection) -> Option<EapMethods> {
        match connection.remote.get(self.round())?.class {
            Some(AuthClass::Eap(methods)) => Some(methods),
            _ => None,
        }
    }

    /// Our round that the peer has had last, or gets first.
    pub(super) fn own(&self) -> Option<&LocalAuth> {
        self.connection.local.get(self.given.saturating_sub(1))
    }

    /// We prove ourselves by EAP alone, and have not yet (RFC 5998).
    pub(super) fn is_eap_only(&self) -> bool {
        self.given == 0 && is_eap_only(&self.connection)
    }

    /// All connections it may be for, the present one first.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Arc<Connection>> {
        std::iter::once(&self.connection).chain(self.others.iter().map(|(connection, _)| connection))
    }

    /// Goes on with another of the candidates. True if that is another than before.
    pub(super) fn switch_to(&mut self, connection: &Arc<Connection>, core: &mut Core) -> bool {
        let Some(index) = self.others.iter().position(|(other, _)| Arc::ptr_eq(other, connection)) else {
            return false;
        };
        let (connection, local_id) = self.others.remove(index);
        let before = std::mem::replace(&mut self.connection, connection);
        let before = (before, std::mem::replace(&mut self.local_id, local_id));
        self.others.insert(0, before);
        core.connection = Some(self.connection.clone());
        true
    }

    /// The present connection is not for the peer: the next one. False if there is none.
    pub(super) fn give_up_connection(&mut self, core: &mut Core) -> bool {
        if self.others.is_empty() {
            return false;
        }
        (self.connection, self.local_id) = self.others.remove(0);
        info!(target: "cfg", "switching to peer config '{}'", self.connection.name);
        core.connection = Some(self.connection.clone());
        true
    }

    /// Keeps the connections that the peer may be for, and those alone. The present one stays if it is among them.
    fn retain(
        &mut self,
        core: &mut Core,
        suits: impl Fn(&Connection) -> Result<(), String>,
    ) -> Result<(), Failure> {
        let proven = &self.proven;
        let would_take = |connection: &Connection| {
            proven.iter().zip(&connection.remote).all(|(proven, remote)| proven.suits(remote))
        };
        self.others.retain(|(other, _)| would_take(other) && suits(other).is_ok());
        match suits(&self.connection) {
            Ok(()) => Ok(()),
            Err(why) => {
                let name = self.connection.name.clone();
                info!(target: "cfg", "selected peer config '{name}' unacceptable: {why}");
                if self.give_up_connection(core) {
                    Ok(())
                } else {
                    Err(Failure::Authentication(format!("connection '{name}' does not take it: {why}")))
                }
            }
        }
    }

    /// The others must be such that what we have said about ourselves holds for them too.
    fn retain_alike(&mut self) {
        let (ours, local_id, rounds) = (self.connection.clone(), &self.local_id, self.given.max(1));
        self.others.retain(|(other, own)| own == local_id && proves_alike(&ours, other, rounds));
    }

    /// Another round of ours is left to give, and it is not EAP that makes it.
    fn owes(&self) -> bool {
        let next = self.connection.local.get(self.given);
        (self.given == 0 || self.speaks_rounds)
            && next.is_some_and(|auth| !matches!(auth.class, AuthClass::Eap(_)))
    }

    /// Makes our next round, if there is one.
    pub(super) fn give(
        &mut self,
        core: &mut Core,
        peer: &Identity,
        cx: &Cx<'_>,
    ) -> Result<Option<OwnRound>, Failure> {
        let connection = self.connection.clone();
        let Some(auth) = connection.local.get(self.given).filter(|_| self.owes()) else {
            self.retain_alike();
            return Ok(None);
        };
        let id = match self.given {
            0 => self.local_id.clone(),
            _ => auth.identity().unwrap_or_else(|| Identity::from_addr(core.path.local.ip())),
        };
        let proof = Proof::make(core, &self.handshake, &connection, auth, &id, peer, &self.asked, cx)?;
        if self.given == 0 {
            self.retain_alike();
        }
        self.given += 1;
        if self.given > 1 {
            let (ours, rounds) = (self.connection.clone(), self.given);
            self.others.retain(|(other, _)| proves_alike(&ours, other, rounds));
            for (_, own) in &mut self.others {
                own.clone_from(&id);
            }
        }
        core.local_id = Some(id.clone());
        self.local_id = id.clone();
        Ok(Some(OwnRound { id: Some(id), proof, is_followed: self.owes() }))
    }

    /// EAP has made the round that we prove ourselves with.
    pub(super) fn gave_by_eap(&mut self) {
        self.given += 1;
    }

    /// The peer has proven in this round that it is `id_i`, and in EAP that it is `client`. Either another round follows,
    /// of either end, or it is in. `ours` is what EAP has made for us to say.
    pub(super) fn end_round(
        mut self,
        core: &mut Core,
        (plaintext, opened): (&Plaintext, &Opened<'_>),
        (id_i, client): (Identity, Option<Identity>),
        ours: Option<Proof>,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let ours = match self.settle(core, opened, (&id_i, client), ours, cx) {
            Ok(ours) => ours,
            Err(failure) => return refuse(core, plaintext, failure, cx),
        };
        self.answer(core, plaintext, id_i, ours, cx)
    }

    fn settle(
        &mut self,
        core: &mut Core,
        opened: &Opened<'_>,
        (id_i, client): (&Identity, Option<Identity>),
        ours: Option<Proof>,
        cx: &Cx<'_>,
    ) -> Result<Option<OwnRound>, Failure> {
        let payloads = &opened.payloads;
        // With EAP it was looked at with the first request, which says it.
        if self.proven.is_empty() && ours.is_none() && self.connection.mobike {
            mobike::check_no_nat(payloads, opened.path)?;
        }
        let more = another_follows(payloads, self.speaks_rounds)?;
        let asked = self.remote().cloned().ok_or(Failure::Protocol("it proves more than is asked for"))?;
        self.proven.push(Proven { id: id_i.clone(), client, asked });
        core.remote_id = Some(id_i.clone());
        let rounds = self.round();
        self.retain(core, |connection| has_rounds(connection, rounds, more))?;
        self.is_peer_done = !more;
        match ours {
            Some(proof) => Ok(Some(OwnRound { id: None, proof, is_followed: self.owes() })),
            None => self.give(core, id_i, cx),
        }
    }

    /// Says our round, if there is one. If that was all of either end, the peer is in.
    fn answer(
        self,
        core: &mut Core,
        plaintext: &Plaintext,
        id_i: Identity,
        ours: Option<OwnRound>,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        if self.is_peer_done && !ours.as_ref().is_some_and(|ours| ours.is_followed) {
            return proceed(core, self, id_i, ours, plaintext, cx);
        }
        let mut reply = PayloadWriter::new();
        if let Some(ours) = &ours {
            ours.write(&mut reply);
        }
        core.respond(ExchangeType::IKE_AUTH, plaintext.header.message_id, &reply, plaintext.path, cx)?;
        Ok(State::AuthBetween(Box::new(self)))
    }

    /// Between two rounds: the peer begins another, or waits for ours.
    pub(crate) fn handle_request(
        mut self: Box<Self>,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        core.path = plaintext.path; // a NAT may have changed its mind (RFC 7296 §2.23)
        let opened = match plaintext.decode() {
            Ok(opened) => opened,
            Err(error) => return refuse(core, plaintext, error.into(), cx),
        };
        if !self.is_peer_done {
            return next_round(core, *self, plaintext, &opened, cx);
        }
        let payloads = &opened.payloads;
        if payloads.id_i().is_some() || payloads.auth().is_some() || payloads.eap().is_some() {
            let failure = Failure::Protocol("it authenticates again after its last round");
            return refuse(core, plaintext, failure, cx);
        }
        let Some(id_i) = self.proven.last().map(|proven| proven.id.clone()) else {
            return Err(Failure::Ended("nothing is proven"));
        };
        match self.give(core, &id_i, cx) {
            Ok(ours) => self.answer(core, plaintext, id_i, ours, cx),
            Err(failure) => refuse(core, plaintext, failure, cx),
        }
    }

    /// The peer does not want to go on (RFC 7296 §2.21.2).
    pub(crate) fn handle_informational(
        self: Box<Self>,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        peer_gives_up(core, plaintext, cx)?;
        Ok(State::AuthBetween(self))
    }
}

/// Answers an INFORMATIONAL request that comes before the peer is in: it does not believe us, or its method has failed
/// (RFC 7296 §2.21.2), or it says nothing that matters.
pub(super) fn peer_gives_up(core: &mut Core, plaintext: &Plaintext, cx: &mut Cx<'_>) -> Result<(), Failure> {
    let opened = match plaintext.decode() {
        Ok(opened) => opened,
        Err(error) => return refuse(core, plaintext, error.into(), cx).map(drop),
    };
    let error = opened.payloads.error().map(|error| error.kind);
    let is_deleted = opened.payloads.deletes().next().is_some();
    let (exchange, id) = (ExchangeType::INFORMATIONAL, plaintext.header.message_id);
    core.respond(exchange, id, &PayloadWriter::new(), plaintext.path, cx)?;
    match error {
        Some(error) => Err(Failure::Refused(error)),
        None if is_deleted => Err(Failure::Ended("the peer has deleted it")),
        None => Ok(()),
    }
}

/// Whether the peer announces another round with this message. Who does not know of rounds cannot.
pub(super) fn another_follows(payloads: &Payloads<'_>, speaks_rounds: bool) -> Result<bool, Failure> {
    let follows = payloads.notify(NotifyType::ANOTHER_AUTH_FOLLOWS).is_some();
    if follows && !speaks_rounds {
        // RFC 4739 §2.1: where both ends support it.
        return Err(Failure::Authentication(
            "it announces another round of authentication without MULTIPLE_AUTH_SUPPORTED of both ends"
                .into(),
        ));
    }
    Ok(follows)
}

/// Whether a peer that has had so many rounds, and may have more, has had those that a connection asks for.
fn has_rounds(connection: &Connection, had: usize, more: bool) -> Result<(), String> {
    let asked = connection.remote.len();
    if more == (asked > had) {
        return Ok(());
    }
    let more = if more { " and announces another" } else { "" };
    Err(format!("it asks for {asked} rounds of authentication, and the peer has had {had}{more}"))
}

/// With either connection, our first rounds are the same.
fn proves_alike(one: &Connection, other: &Connection, rounds: usize) -> bool {
    if is_eap_only(one) || is_eap_only(other) {
        return is_eap_only(one) == is_eap_only(other);
    }
    let how = |connection: &Connection| -> Vec<_> {
        let ours = connection.local.iter().take(rounds).enumerate();
        // Who we are in the first, the candidates know.
        let id = |round: usize, auth: &LocalAuth| (round > 0).then(|| auth.identity());
        ours.map(|(round, auth)| {
            let with = (auth.certificates.clone(), auth.public_keys.clone());
            (auth.class, with, auth.rules.clone(), id(round, auth))
        })
        .collect()
    };
    how(one) == how(other)
}

/// We prove ourselves by EAP alone (RFC 5998).
fn is_eap_only(connection: &Connection) -> bool {
    connection.local.first().is_some_and(|auth| matches!(auth.class, AuthClass::Eap(_)))
}
