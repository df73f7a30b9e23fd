//! EAP as the responder: the server, or the way to one.

use std::cmp::Reverse;
use std::sync::Arc;

use tracing::{debug, info};

use super::{MOST_ROUNDS, allowed, ask_to_judge, auth_keys, key_words, tls};
use crate::config::{Connection, DynamicEap, EapMethods};
use crate::context::Cx;
use crate::crypto::Secret;
use crate::eap::{Grant, Method, PeerChain, Relay, RelayStep, Server, ServerStep};
use crate::error::Failure;
use crate::identity::Identity;
use crate::output::{Action, ActionId, EapRelay, Outcome, Path};
use crate::sa::exchange::auth::Proof;
use crate::sa::exchange::auth::admission::{Admission, peer_gives_up};
use crate::sa::exchange::auth::responder::refuse;
use crate::sa::mobike;
use crate::sa::opened::{Opened, Plaintext};
use crate::sa::{Core, State};
use crate::wire::registry::{AuthMethod, ExchangeType, MessageId, NotifyType};
use crate::wire::{Eap, PayloadWriter, Payloads};

/// The peer is proving who it is by EAP.
pub(crate) struct Rounds {
    admission: Admission,
    id_i: Identity,
    /// The body of IDi, which its AUTH covers.
    id_i_body: Vec<u8>,
    /// We have not proven ourselves with AUTH (RFC 5998).
    is_eap_only: bool,
    server: Server,
    /// A server elsewhere judges.
    relay: Option<Relay>,
    /// It is asked, or somebody whether the peer's certificate is to be believed, and the peer's request is not answered
    /// yet.
    asked: Option<Asked>,
    /// What follows if the peer's certificate is believed.
    judging: Option<ServerStep>,
    /// RADIUS attributes of the peer that go with its next packet.
    attributes: Vec<Vec<u8>>,
    /// What EAP has come to; AUTH follows.
    conclusion: Option<Proven>,
    answered: u32,
}

/// The most RADIUS attributes of a peer that go on at a time.
const MOST_ATTRIBUTES: usize = 8;

/// The RADIUS attributes in a message of a peer (strongSwan's eap-radius.forward).
fn radius_attributes(payloads: &Payloads<'_>) -> Vec<Vec<u8>> {
    let told = payloads.notifies().filter(|notify| notify.kind == NotifyType::RADIUS_ATTRIBUTE);
    told.map(|notify| notify.data.to_vec()).take(MOST_ATTRIBUTES).collect()
}

/// What EAP has come to.
struct Proven {
    /// The key that the method has made, if it makes one.
    msk: Option<Secret>,
}

/// A request of the peer whose answer needs that of somebody else.
struct Asked {
    action: ActionId,
    message_id: MessageId,
    path: Path,
    /// What there is to say before EAP.
    reply: PayloadWriter,
}

/// What becomes of a packet of the peer.
enum Reaction {
    /// We say this to it. A sentence is why that is the end.
    Say(Vec<u8>, Option<String>),
    /// The server elsewhere says what.
    PassOn(Vec<u8>),
    /// The peer has shown a certificate, and this follows if it is believed.
    Judge(Box<PeerChain>, Box<ServerStep>),
}

/// Takes the first message of a round without AUTH: the peer wants EAP.
pub(in super::super) fn begin(
    core: &mut Core,
    admission: Admission,
    plaintext: &Plaintext,
    opened: &Opened<'_>,
    cx: &mut Cx<'_>,
) -> Result<State, Failure> {
    match Rounds::open(core, admission, opened, cx) {
        Ok((mut rounds, reply)) => {
            let (id, path) = (plaintext.header.message_id, plaintext.path);
            let reaction = rounds.first_packet(cx);
            rounds.act(reaction, (id, path), reply, core, cx)?;
            Ok(State::EapRounds(Box::new(rounds)))
        }
        Err(failure) => refuse(core, plaintext, failure, cx),
    }
}

impl Rounds {
    /// Says who we are, if the peer has not all of that.
    fn open(
        core: &mut Core,
        mut admission: Admission,
        opened: &Opened<'_>,
        cx: &Cx<'_>,
    ) -> Result<(Self, PayloadWriter), Failure> {
        let payloads = &opened.payloads;
        let (Some(id_i), Some(id_i_body)) = (payloads.id_i(), payloads.id_i_body()) else {
            return Err(Failure::Protocol("its IKE_AUTH request lacks IDi"));
        };
        core.local_id = Some(admission.local_id.clone());
        core.remote_id = Some(id_i.clone());
        if admission.round() == 0 && admission.connection.mobike {
            mobike::check_no_nat(payloads, opened.path)?;
        }
        let is_eap_only = admission.is_eap_only();
        let mut reply = PayloadWriter::new();
        if is_eap_only {
            reply.id_r(&admission.local_id);
            debug!(target: "ike", "using EAP-only authentication");
        }
        // What we say about ourselves now must hold for the connection that is chosen later.
        if let Some(ours) = admission.give(core, id_i, cx)? {
            ours.write(&mut reply);
        }
        let server = Server::new(admission.local_id.clone(), id_i.clone(), cx.crypto);
        let rounds = Self {
            admission,
            id_i: id_i.clone(),
            id_i_body: id_i_body.to_vec(),
            is_eap_only,
            server,
            relay: None,
            asked: None,
            judging: None,
            attributes: radius_attributes(payloads),
            conclusion: None,
            answered: 0,
        };
        Ok((rounds, reply))
    }

    fn first_packet(&mut self, cx: &Cx<'_>) -> Reaction {
        if self.eap_id(&self.admission.connection).is_some() {
            info!(target: "ike", "initiating EAP_IDENTITY method");
            return Reaction::Say(self.server.ask_identity(), None);
        }
        self.begin_method(None, cx)
    }

    /// The method begins, with a client that has said its name in this packet, or was not asked.
    fn begin_method(&mut self, named: Option<(&Eap<'_>, &Identity)>, cx: &Cx<'_>) -> Reaction {
        let Admission { connection, local_id, .. } = &self.admission;
        if self.admission.eap_methods(connection) != Some(EapMethods::Relay) {
            let tls = tls(self.admission.own(), self.admission.remote(), local_id, local_id, cx);
            self.server.set_tls(Some(tls));
            let methods = self.methods(cx);
            return Reaction::Say(self.server.offer(methods, cx.crypto), None);
        }
        info!(target: "ike", "initiating EAP_RADIUS method");
        let (relay, packet) = match named {
            Some((packet, client)) => (Relay::of(client.clone(), packet), packet.octets().to_vec()),
            None => {
                let [identifier] = cx.random();
                Relay::with(self.id_i.clone(), identifier)
            }
        };
        self.relay = Some(relay);
        Reaction::PassOn(packet)
    }

    /// Answers the peer's request, or asks somebody what there is to say. A sentence is why that is the end.
    fn act(
        &mut self,
        reaction: Reaction,
        to: (MessageId, Path),
        mut reply: PayloadWriter,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) -> Result<Option<String>, Failure> {
        let (message_id, path) = to;
        match reaction {
            Reaction::Say(packet, failure) => {
                reply.eap(&packet);
                core.respond(ExchangeType::IKE_AUTH, message_id, &reply, path, cx)?;
                return Ok(failure);
            }
            Reaction::PassOn(packet) => self.pass_on(packet, to, reply, core, cx),
            Reaction::Judge(chain, next) => {
                let (connection, round) = (&self.admission.connection, self.admission.round());
                let action = ask_to_judge(*chain, core.id, (connection, round), cx);
                self.asked = Some(Asked { action, message_id, path, reply });
                self.judging = Some(*next);
            }
        }
        Ok(None)
    }

    /// Asks the server elsewhere. The peer's request is answered when it has.
    fn pass_on(
        &mut self,
        packet: Vec<u8>,
        (message_id, path): (MessageId, Path),
        reply: PayloadWriter,
        core: &Core,
        cx: &mut Cx<'_>,
    ) {
        let Some(relay) = &self.relay else { return };
        let action = Action::RelayEap(Box::new(EapRelay {
            ike_sa: core.id,
            connection: self.admission.connection.clone(),
            path,
            identity: relay.client().clone(),
            name: relay.client_name(),
            is_first: relay.is_first(),
            packet,
            attributes: std::mem::take(&mut self.attributes),
        }));
        let action = cx.ask(core.id, action);
        self.asked = Some(Asked { action, message_id, path, reply });
    }

    /// Takes what the server elsewhere says, and answers the peer.
    pub(crate) fn handle_outcome(
        mut self: Box<Self>,
        core: &mut Core,
        id: ActionId,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        let Some(mut asked) = self.asked.take_if(|asked| asked.action == id) else {
            return Ok(State::EapRounds(self));
        };
        if let Some(next) = self.judging.take() {
            let (packet, failure) = match outcome {
                Outcome::Done => self.settle(next, core),
                Outcome::Failed(why) => {
                    (self.server.fail(), Some(format!("the client is not believed: {why}")))
                }
                _ => (self.server.fail(), Some("nobody can vouch for certificates".into())),
            };
            let Asked { message_id, path, mut reply, .. } = asked;
            reply.eap(&packet);
            core.respond(ExchangeType::IKE_AUTH, message_id, &reply, path, cx)?;
            return self.go_on(failure);
        }
        let Some(mut relay) = self.relay.take() else { return Ok(State::EapRounds(self)) };
        let step = match outcome {
            Outcome::Relayed { relayed, attributes } => {
                for attribute in attributes {
                    asked.reply.notify(NotifyType::RADIUS_ATTRIBUTE, &attribute);
                }
                relay.hear(relayed)
            }
            Outcome::Failed(why) => relay.fail(why),
            _ => relay.fail("there is no EAP server".into()),
        };
        let (packet, failure) = match step {
            RelayStep::Ask(packet) => (packet, None),
            RelayStep::Failed { packet, reason } => (packet, Some(reason)),
            RelayStep::Accepted { packet, grant } => match self.let_in(*grant, &relay, core) {
                Ok(()) => (packet, None),
                Err(reason) => (relay.failure(), Some(reason)),
            },
        };
        self.relay = Some(relay);
        let Asked { message_id, path, mut reply, .. } = asked;
        reply.eap(&packet);
        core.respond(ExchangeType::IKE_AUTH, message_id, &reply, path, cx)?;
        self.go_on(failure)
    }

    /// The server elsewhere lets the client in. Which groups it is in may lead to another connection.
    fn let_in(&mut self, grant: Grant, relay: &Relay, core: &mut Core) -> Result<(), String> {
        // RFC 5998 §4: nothing else proves us.
        if self.is_eap_only && !relay.method().is_some_and(Method::is_mutual) {
            return Err("the method that the EAP server has chosen does not prove the server".into());
        }
        let client = relay.client().clone();
        let suits = |connection: &&Arc<Connection>| {
            let fits_name = self.eap_id(connection).is_none_or(|pattern| client.matches(pattern).is_some());
            self.admission.eap_methods(connection) == Some(EapMethods::Relay)
                && fits_name
                && self.has_group(connection, &grant.groups)
        };
        let Some(best) = self.admission.candidates().find(suits).cloned() else {
            let groups: Vec<String> = grant.groups.iter().map(ToString::to_string).collect();
            return Err(format!("no connection's groups have '{client}', who is in [{}]", groups.join(", ")));
        };
        if self.admission.switch_to(&best, core) {
            info!(target: "cfg", "selected peer config '{}' for the groups of '{client}'", best.name);
        }
        info!(target: "ike", "RADIUS authentication of '{client}' successful, {}", key_words(grant.msk.as_ref()));
        core.remote_eap_id = Some(client);
        core.granted_lifetime = grant.lifetime;
        self.conclusion = Some(Proven { msk: grant.msk });
        Ok(())
    }

    /// It goes on, unless this is why not.
    fn go_on(self: Box<Self>, failure: Option<String>) -> Result<State, Failure> {
        match failure {
            None => Ok(State::EapRounds(self)),
            Some(reason) => {
                let failure = format!("EAP authentication of '{}' failed: {reason}", self.id_i);
                Err(Failure::Authentication(failure))
            }
        }
    }

    /// A request of the peer is being answered, and what comes meanwhile repeats it (RFC 7296 §2.3).
    pub(crate) fn is_answering(&self) -> bool {
        self.asked.is_some()
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
        if self.relay.is_some() {
            self.attributes = radius_attributes(&opened.payloads);
        } else {
            self.attributes.extend(radius_attributes(&opened.payloads));
            self.attributes.truncate(MOST_ATTRIBUTES);
        }
        let mut reply = PayloadWriter::new();
        if !self.is_eap_only {
            match self.admission.give(core, &self.id_i, cx) {
                Ok(ours) => ours.iter().for_each(|ours| ours.write(&mut reply)),
                Err(failure) => return refuse(core, plaintext, failure, cx),
            }
        }
        let (id, path) = (plaintext.header.message_id, plaintext.path);
        let reaction = self.react(packet, core, cx);
        let failure = self.act(reaction, (id, path), reply, core, cx)?;
        self.go_on(failure)
    }

    /// The peer does not want to go on: it does not believe us, or its method has failed (RFC 7296 §2.21.2).
    pub(crate) fn handle_informational(
        self: Box<Self>,
        core: &mut Core,
        plaintext: &Plaintext,
        cx: &mut Cx<'_>,
    ) -> Result<State, Failure> {
        peer_gives_up(core, plaintext, cx)?;
        Ok(State::EapRounds(self))
    }

    /// What becomes of a packet.
    fn react(&mut self, packet: &Eap<'_>, core: &mut Core, cx: &Cx<'_>) -> Reaction {
        if let Some(relay) = &mut self.relay {
            return match relay.take(packet) {
                Ok(packet) => Reaction::PassOn(packet),
                Err(reason) => Reaction::Say(relay.failure(), Some(reason)),
            };
        }
        match self.server.handle(packet, &**cx.configuration, cx.crypto) {
            ServerStep::Judge { chain, next } => Reaction::Judge(chain, next),
            ServerStep::Identified(identity) => match self.identified(&identity, core) {
                Ok(()) => self.begin_method(Some((packet, &identity)), cx),
                Err(reason) => Reaction::Say(self.server.fail(), Some(reason)),
            },
            step => {
                let (packet, failure) = self.settle(step, core);
                Reaction::Say(packet, failure)
            }
        }
    }

    /// What we say when all is known that a step needs, and why that is the end if it is.
    fn settle(&mut self, step: ServerStep, core: &mut Core) -> (Vec<u8>, Option<String>) {
        let reason = match step {
            ServerStep::Request(packet) => return (packet, None),
            ServerStep::Succeeded { packet, conclusion } => match self.may_enter(&conclusion) {
                Ok(()) => {
                    let key = key_words(conclusion.msk.as_ref());
                    info!(target: "ike", "EAP method {} succeeded, {key}", conclusion.method);
                    core.remote_eap_id = Some(conclusion.client.clone());
                    self.conclusion = Some(Proven { msk: conclusion.msk });
                    return (packet, None);
                }
                Err(reason) => reason,
            },
            ServerStep::Failed { packet, reason } => return (packet, Some(reason)),
            // Nothing else can follow inside IKE_AUTH, where each request is new and the peer's own.
            ServerStep::Ignored(reason) => reason,
            ServerStep::Identified(_) | ServerStep::Judge { .. } => "EAP goes in circles".into(),
        };
        (self.server.fail(), Some(reason))
    }

    /// What was proven must be what the connection is for. With an `eap_id`, it was chosen by what the client has said
    /// of itself, and inside of a tunnel it may have proven another name. Without one, it was chosen by an IKE identity
    /// that anybody may claim.
    fn may_enter(&self, conclusion: &crate::eap::Conclusion) -> Result<(), String> {
        let (client, remote) = (&conclusion.client, self.admission.remote());
        let fits = match self.eap_id(&self.admission.connection) {
            Some(pattern) => client.matches(pattern).is_some(),
            None => {
                client.matches(&self.id_i) == Some(Identity::PERFECT)
                    || remote.is_some_and(|remote| client.matches(&remote.id).is_some())
            }
        };
        if fits {
            Ok(())
        } else {
            Err(format!("'{client}' in {} is not who the peer says it is", conclusion.method))
        }
    }

    /// The peer has said its EAP identity, which may lead to another connection.
    fn identified(&mut self, identity: &Identity, core: &mut Core) -> Result<(), String> {
        info!(target: "ike", "received EAP identity '{identity}'");
        let fit = |connection: &Connection| identity.matches(self.eap_id(connection)?);
        let all = self.admission.candidates();
        // Of the connections that IKE identities and addresses lead to, the closest; of equals, the first.
        let best =
            all.filter_map(|other| Some((fit(other)?, other))).min_by_key(|(quality, _)| Reverse(*quality));
        let Some(best) = best.map(|(_, best)| best.clone()) else {
            return Err(format!("no connection's eap_id fits '{identity}'"));
        };
        let pattern = self.eap_id(&best).map(ToString::to_string).unwrap_or_default();
        if self.admission.switch_to(&best, core) {
            info!(
                target: "cfg",
                "selected peer config '{}' for EAP identity '{identity}', which fits its eap_id = {pattern}", best.name
            );
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
        let Self { mut admission, id_i, id_i_body, conclusion, is_eap_only, .. } = *self;
        let msk = conclusion.as_ref().and_then(|conclusion| conclusion.msk.as_ref());
        let Some(auth) = opened.payloads.auth() else {
            return refuse(core, plaintext, Failure::Protocol("its IKE_AUTH request lacks AUTH"), cx);
        };
        let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
        let Admission { handshake, local_id, .. } = &admission;
        let (theirs, ours) = auth_keys(msk, handshake);
        if auth.method != AuthMethod::SHARED_KEY
            || !handshake.verify_initiator(auth.data, suite, theirs, &id_i_body)
        {
            let why = format!("verification of AUTH payload of '{id_i}' with EAP failed");
            return refuse(core, plaintext, Failure::Authentication(why), cx);
        }
        info!(target: "ike", "authentication of '{id_i}' with EAP successful");
        // RFC 4739 §2.1: over the latest IDr that we have said.
        let proof = Proof::shared(handshake.responder_auth(suite, ours, local_id));
        info!(target: "ike", "authentication of '{local_id}' (myself) with EAP");
        if is_eap_only {
            admission.gave_by_eap();
        }
        let client = core.remote_eap_id.clone();
        admission.end_round(core, (plaintext, opened), (id_i, client), Some(proof), cx)
    }

    /// The methods to offer, in order.
    fn methods(&mut self, cx: &Cx<'_>) -> Vec<Method> {
        let Some(methods) = self.admission.eap_methods(&self.admission.connection) else { return vec![] };
        let mut allowed = allowed(methods, self.is_eap_only);
        if methods == EapMethods::Dynamic {
            let DynamicEap { preferred, follows_client } = &cx.settings.eap_dynamic;
            allowed.sort_by_key(|method| {
                preferred.iter().position(|preferred| preferred == method).unwrap_or(usize::MAX)
            });
            self.server.follow_client(*follows_client);
        }
        allowed
    }

    /// What EAP identities of peers must fit; `None` if they are not asked for one.
    fn eap_id<'a>(&self, connection: &'a Connection) -> Option<&'a Identity> {
        connection.remote.get(self.admission.round())?.eap_id.as_ref()
    }

    /// True if a client in these groups may use a connection: it is in one of those that the connection asks for.
    fn has_group(&self, connection: &Connection, groups: &[Identity]) -> bool {
        let wanted = connection.remote.get(self.admission.round()).map_or(&[][..], |auth| &auth.groups);
        wanted.is_empty()
            || wanted.iter().any(|wanted| groups.iter().any(|group| group.matches(wanted).is_some()))
    }
}
