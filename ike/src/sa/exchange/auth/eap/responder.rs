//! EAP as the responder: the server.

use std::cmp::Reverse;
use std::sync::Arc;

use tracing::{debug, info};

use super::{MOST_ROUNDS, allowed, auth_keys, key_words};
use crate::config::{AuthClass, Connection, EapMethods};
use crate::context::Cx;
use crate::eap::{Conclusion, Server, ServerStep};
use crate::error::Failure;
use crate::identity::Identity;
use crate::sa::exchange::auth::responder::{Peer, Wishes, candidates, proceed};
use crate::sa::exchange::auth::shared_key;
use crate::sa::exchange::init::Handshake;
use crate::sa::mobike;
use crate::sa::opened::{Opened, Plaintext};
use crate::sa::{Core, State};
use crate::wire::registry::{AuthMethod, ExchangeType, NotifyType};
use crate::wire::{Eap, PayloadWriter};

/// The peer is proving who it is by EAP.
pub(crate) struct Rounds {
    handshake: Handshake,
    local_id: Identity,
    id_i: Identity,
    /// The body of IDi, which its AUTH covers.
    id_i_body: Vec<u8>,
    /// What the first request asked for.
    wishes: Wishes,
    connection: Arc<Connection>,
    /// Further connections that the peer's EAP identity may lead to, the best first.
    others: Vec<Arc<Connection>>,
    /// We have not proven ourselves with AUTH (RFC 5998).
    is_eap_only: bool,
    server: Server,
    /// What EAP has come to; AUTH follows.
    conclusion: Option<Conclusion>,
    answered: u32,
}

/// Takes the first IKE_AUTH request of a peer that says no AUTH: it wants EAP.
pub(in super::super) fn begin(
    core: &mut Core,
    handshake: Handshake,
    plaintext: &Plaintext,
    opened: &Opened<'_>,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    match Rounds::open(core, handshake, opened, cx) {
        Ok((mut rounds, mut reply)) => {
            let packet = rounds.first_packet(cx);
            reply.eap(&packet);
            core.respond(ExchangeType::IKE_AUTH, plaintext.header.message_id, &reply, plaintext.path, cx)?;
            Ok(State::EapRounds(Box::new(rounds)))
        }
        Err(failure) => {
            core.respond_failure(plaintext, &failure, cx)?;
            Err(failure)
        }
    }
}

impl Rounds {
    /// Finds the connection, and says who we are.
    fn open(
        core: &mut Core,
        handshake: Handshake,
        opened: &Opened<'_>,
        cx: &Cx<'_>,
    ) -> Result<(Self, PayloadWriter), Failure> {
        let payloads = &opened.payloads;
        let (Some(id_i), Some(id_i_body)) = (payloads.id_i(), payloads.id_i_body()) else {
            return Err(Failure::Protocol("its IKE_AUTH request lacks IDi"));
        };
        let may_be_eap_only = payloads.notify(NotifyType::EAP_ONLY_AUTHENTICATION).is_some();
        let suits = |connection: &Connection| {
            methods(connection).is_some() && (may_be_eap_only || !is_eap_only(connection))
        };
        let found = candidates(core, id_i, payloads.id_r(), &suits, cx);
        let found = found.map_err(|failure| match failure {
            Failure::Authentication(why) => Failure::Authentication(format!("{why} that has EAP")),
            failure => failure,
        })?;
        let mut found = found.into_iter();
        let (connection, local_id) = found.next().ok_or(Failure::Protocol("nobody it could be"))?;
        info!(target: "cfg", "selected peer config '{}'", connection.name);
        core.connection = Some(connection.clone());
        core.local_id = Some(local_id.clone());
        core.remote_id = Some(id_i.clone());
        if connection.mobike {
            mobike::check_no_nat(payloads, opened.path)?;
        }
        let is_eap_only = is_eap_only(&connection);
        // What we say about ourselves now must hold for the connection that is chosen later.
        let others = found
            .filter(|(other, own)| *own == local_id && self::is_eap_only(other) == is_eap_only)
            .map(|(other, _)| other)
            .collect();
        let mut reply = PayloadWriter::new();
        reply.id_r(&local_id);
        if is_eap_only {
            debug!(target: "ike", "using EAP-only authentication");
        } else {
            let key = shared_key(cx.configuration, &local_id, id_i).map_err(Failure::Authentication)?;
            let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
            reply.auth(AuthMethod::SHARED_KEY, &handshake.responder_auth(suite, key, &local_id));
            info!(target: "ike", "authentication of '{local_id}' (myself) with pre-shared key");
        }
        let server = Server::new(local_id.clone(), id_i.clone(), cx.crypto);
        let rounds = Self {
            handshake,
            local_id,
            id_i: id_i.clone(),
            id_i_body: id_i_body.to_vec(),
            wishes: Wishes::of(payloads, &connection),
            connection,
            others,
            is_eap_only,
            server,
            conclusion: None,
            answered: 0,
        };
        Ok((rounds, reply))
    }

    fn first_packet(&mut self, cx: &Cx<'_>) -> Vec<u8> {
        if eap_id(&self.connection).is_some() {
            info!(target: "ike", "initiating EAP_IDENTITY method");
            self.server.ask_identity()
        } else {
            self.server.offer(self.methods(), cx.crypto)
        }
    }

    /// Takes a further request.
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
        self.answered += 1;
        if self.answered > MOST_ROUNDS {
            let why = format!("EAP does not end within {MOST_ROUNDS} messages");
            return refuse(core, plaintext, Failure::Authentication(why), cx);
        }
        if self.conclusion.is_some() {
            return self.conclude(core, plaintext, &opened, cx);
        }
        let Some(packet) = opened.payloads.eap() else {
            return refuse(core, plaintext, Failure::Protocol("its IKE_AUTH request lacks EAP"), cx);
        };
        let (packet, failure) = self.react(packet, core, cx);
        let mut reply = PayloadWriter::new();
        reply.eap(&packet);
        core.respond(ExchangeType::IKE_AUTH, plaintext.header.message_id, &reply, plaintext.path, cx)?;
        match failure {
            None => Ok(State::EapRounds(self)),
            Some(reason) => {
                let failure = format!("EAP authentication of '{}' failed: {reason}", self.id_i);
                Err(Failure::Authentication(failure))
            }
        }
    }

    /// The peer does not want to go on: it does not believe us, or its method has failed (RFC 7296 §2.21.2).
    pub(crate) fn handle_informational(
        self: Box<Self>,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let opened = match plaintext.decode() {
            Ok(opened) => opened,
            Err(error) => return refuse(core, plaintext, error.into(), cx),
        };
        let error = opened.payloads.error().map(|error| error.kind);
        let is_end = error.is_some() || opened.payloads.deletes().next().is_some();
        let (exchange, id) = (ExchangeType::INFORMATIONAL, plaintext.header.message_id);
        core.respond(exchange, id, &PayloadWriter::new(), plaintext.path, cx)?;
        match error {
            _ if !is_end => Ok(State::EapRounds(self)),
            Some(error) => Err(Failure::Refused(error)),
            None => Err(Failure::Ended("the peer has deleted it")),
        }
    }

    /// What we say to a packet, and why it is the end if it is a failure.
    fn react(&mut self, packet: &Eap<'_>, core: &mut Core, cx: &Cx<'_>) -> (Vec<u8>, Option<String>) {
        let reason = match self.server.handle(packet, &**cx.configuration, cx.crypto) {
            ServerStep::Request(packet) => return (packet, None),
            ServerStep::Identified(identity) => match self.identified(&identity, core) {
                Ok(()) => return (self.server.offer(self.methods(), cx.crypto), None),
                Err(reason) => reason,
            },
            ServerStep::Succeeded { packet, conclusion } => match self.may_enter(&conclusion) {
                Ok(()) => {
                    let key = key_words(conclusion.msk.as_ref());
                    info!(target: "ike", "EAP method {} succeeded, {key}", conclusion.method);
                    core.remote_eap_id = Some(conclusion.client.clone());
                    self.conclusion = Some(conclusion);
                    return (packet, None);
                }
                Err(reason) => reason,
            },
            ServerStep::Failed { packet, reason } => return (packet, Some(reason)),
            // Nothing else can follow inside IKE_AUTH, where each request is new and the peer's own.
            ServerStep::Ignored(reason) => reason,
        };
        (self.server.fail(), Some(reason))
    }

    /// What was proven must be what the connection is for. With an `eap_id` that has been seen to; without one, it is
    /// chosen by an IKE identity that anybody may claim, and a method may prove another name than that.
    fn may_enter(&self, conclusion: &Conclusion) -> Result<(), String> {
        let (client, remote) = (&conclusion.client, self.connection.remote.first());
        let fits = eap_id(&self.connection).is_some()
            || client.matches(&self.id_i) == Some(Identity::PERFECT)
            || remote.is_some_and(|remote| client.matches(&remote.id).is_some());
        if fits {
            Ok(())
        } else {
            Err(format!("'{client}' in {} is not who the peer says it is", conclusion.method))
        }
    }

    /// The peer has said its EAP identity, which may lead to another connection.
    fn identified(&mut self, identity: &Identity, core: &mut Core) -> Result<(), String> {
        info!(target: "ike", "received EAP identity '{identity}'");
        let fit = |connection: &Connection| identity.matches(eap_id(connection)?);
        let all = std::iter::once(&self.connection).chain(&self.others);
        // Of the connections that IKE identities and addresses lead to, the closest; of equals, the first.
        let best =
            all.filter_map(|other| Some((fit(other)?, other))).min_by_key(|(quality, _)| Reverse(*quality));
        let Some(best) = best.map(|(_, best)| best.clone()) else {
            return Err(format!("no connection's eap_id fits '{identity}'"));
        };
        if !Arc::ptr_eq(&best, &self.connection) {
            let pattern = eap_id(&best).map(ToString::to_string).unwrap_or_default();
            info!(
                target: "cfg",
                "selected peer config '{}' for EAP identity '{identity}', which fits its eap_id = {pattern}", best.name
            );
            core.connection = Some(best.clone());
            self.connection = best;
        }
        Ok(())
    }

    /// The initiator's AUTH after EAP-Success (RFC 7296 §2.16).
    fn conclude(
        self: Box<Self>,
        core: &mut Core,
        plaintext: &Plaintext,
        opened: &Opened<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let Self { handshake, local_id, id_i, id_i_body, wishes, connection, conclusion, .. } = *self;
        let msk = conclusion.as_ref().and_then(|conclusion| conclusion.msk.as_ref());
        let Some(auth) = opened.payloads.auth() else {
            return refuse(core, plaintext, Failure::Protocol("its IKE_AUTH request lacks AUTH"), cx);
        };
        let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
        let (theirs, ours) = auth_keys(msk, &handshake);
        if auth.method != AuthMethod::SHARED_KEY
            || !handshake.verify_initiator(auth.data, suite, theirs, &id_i_body)
        {
            let why = format!("verification of AUTH payload of '{id_i}' with EAP failed");
            return refuse(core, plaintext, Failure::Authentication(why), cx);
        }
        info!(target: "ike", "authentication of '{id_i}' with EAP successful");
        let auth = handshake.responder_auth(suite, ours, &local_id);
        info!(target: "ike", "authentication of '{local_id}' (myself) with EAP");
        let peer = Peer { connection, local_id, remote_id: id_i, auth, is_named_before: true };
        proceed(core, handshake, peer, wishes, plaintext, cx)
    }

    fn methods(&self) -> Vec<crate::eap::Method> {
        methods(&self.connection).map(|methods| allowed(methods, self.is_eap_only)).unwrap_or_default()
    }
}

/// Tells the peer why not; the IKE SA ends.
fn refuse(
    core: &mut Core,
    plaintext: &Plaintext,
    failure: Failure,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    core.respond_failure(plaintext, &failure, cx)?;
    Err(failure)
}

/// How a connection lets peers use EAP.
fn methods(connection: &Connection) -> Option<EapMethods> {
    match connection.remote.first()?.class {
        Some(AuthClass::Eap(methods)) => Some(methods),
        _ => None,
    }
}

/// What EAP identities of peers must fit; `None` if they are not asked for one.
fn eap_id(connection: &Connection) -> Option<&Identity> {
    connection.remote.first()?.eap_id.as_ref()
}

/// We prove ourselves by EAP alone (RFC 5998).
fn is_eap_only(connection: &Connection) -> bool {
    connection.local.first().is_some_and(|auth| matches!(auth.class, AuthClass::Eap(_)))
}
