//! PEAP, version 0 (draft-kamath-pppext-peapv0, [MS-PEAP]): the server proves itself by a certificate, and the client
//! inside of TLS by another method of EAP, whose packets come without their headers.
//!
//! ```text
//! server  Start                             client  ClientHello
//! server  ServerHello …                     client  … Finished
//! server  ChangeCipherSpec, Finished        client  (nothing)
//! server  {Identity}                        client  {Identity | name}
//! server  {type | data}                     client  {type | data}                  (so often)
//! server  {EAP-Request, Result TLV}         client  {EAP-Response, Result TLV}
//! ```
//!
//! What is in braces is protected. Cryptobinding is neither asked for nor answered: it is optional to both ends, and
//! IKE's AUTH binds the key of the tunnel to the IKE SA.

pub(super) mod tlv;

use tracing::{debug, info};

use self::tlv::{Outcome, result_tlv};
use super::client::{Client as Inner, ClientStep};
use super::packet::with_data;
use super::server::{Server as InnerServer, ServerStep};
use super::tls::{Channel, PeerChain, Step, Tls, Tunnel, give_up, refuse};
use super::{Context, Method, Reaction, Verdict, tunnel};
use crate::identity::Identity;
use crate::wire::Eap;
use crate::wire::registry::{EapCode, EapType};

/// Octets of an EAP header that are left out inside: code, identifier and length.
const LEFT_OUT: usize = 4;

/// The server's part.
pub(super) struct Server {
    channel: Channel,
    inner: Box<InnerServer>,
    settings: Tunnel,
    stage: Stage,
}

enum Stage {
    /// TLS has not been agreed on.
    Handshake,
    /// The last of our handshake is out.
    Finished,
    /// The client has been asked something inside.
    Inside,
    /// It has been told how it ended: with its name, or why not.
    Told(Result<Identity, String>),
}

impl Server {
    /// A server `name`, whose client is known as `client` so far.
    pub(super) fn begin(
        tls: &std::sync::Arc<Tls>,
        name: &Identity,
        client: &Identity,
        cx: &Context<'_>,
    ) -> Result<(Self, Vec<u8>), String> {
        let (channel, inner, settings, start) = tunnel::open_server(Method::Peap, tls, (name, client), cx)?;
        Ok((Self { channel, inner, settings, stage: Stage::Handshake }, start))
    }

    /// What the client has shown of itself, outside or inside, once.
    pub(in crate::eap) fn take_peer(&mut self) -> Option<PeerChain> {
        self.channel.take_peer().or_else(|| self.inner.take_peer())
    }

    /// `following` is the identifier of the request that comes next.
    pub(super) fn handle(&mut self, response: &[u8], following: u8, cx: &Context<'_>) -> Verdict {
        let plaintext = match self.channel.receive(response) {
            Step::Say(data) => return Verdict::Ask(data),
            Step::Failed { alert, reason } => return refuse(alert, reason),
            Step::Turn(plaintext) => plaintext,
        };
        // Where headers are left out, identifiers are those outside.
        self.inner.number_from(following);
        match std::mem::replace(&mut self.stage, Stage::Inside) {
            Stage::Handshake
                if plaintext.is_empty() && !self.settings.piggyback && !self.channel.is_tls_1_3() =>
            {
                self.stage = Stage::Finished;
                Verdict::Ask(self.channel.finish())
            }
            Stage::Handshake | Stage::Finished if plaintext.is_empty() => {
                let request = self.inner.ask_identity();
                self.ask(&request)
            }
            Stage::Inside => self.inside(&plaintext, following, cx),
            Stage::Told(Err(reason)) => Verdict::Refused(reason),
            Stage::Told(Ok(client)) => {
                match (tlv::outcome(&plaintext, EapCode::RESPONSE), self.channel.msk()) {
                    (Some(Outcome::SUCCESS), Ok(msk)) => {
                        Verdict::Accepted { msk: Some(msk), named: Some(client) }
                    }
                    (Some(Outcome::SUCCESS), Err(reason)) => Verdict::Refused(reason),
                    _ => Verdict::Refused("the client does not agree that EAP_PEAP has succeeded".into()),
                }
            }
            Stage::Handshake | Stage::Finished => {
                Verdict::Refused("the client speaks inside of EAP_PEAP before it is asked".into())
            }
        }
    }

    fn inside(&mut self, data: &[u8], following: u8, cx: &Context<'_>) -> Verdict {
        let packet = with_header(EapCode::RESPONSE, self.inner.identifier(), data);
        let Some(Ok(response)) = packet.as_deref().map(Eap::of) else {
            return Verdict::Refused("what the client says inside of EAP_PEAP is no EAP".into());
        };
        let told = match self.inner.step(&response, cx.passwords, cx.crypto) {
            ServerStep::Request(request) => return self.ask(&request),
            ServerStep::Identified(identity) => {
                info!(target: "ike", "received tunneled EAP identity '{identity}'");
                let request = self.inner.offer(vec![self.settings.phase2], cx.crypto);
                return self.ask(&request);
            }
            ServerStep::Succeeded { conclusion, .. } => {
                debug!(target: "ike", "tunneled {} succeeded", conclusion.method);
                Ok(conclusion.client)
            }
            ServerStep::Judge { .. } => return Verdict::Refused("a step judges nobody".into()),
            ServerStep::Failed { reason, .. } | ServerStep::Ignored(reason) => {
                info!(target: "ike", "{reason}"); // the client may be gone before EAP-Failure says so
                Err(reason)
            }
        };
        let outcome = if told.is_ok() { Outcome::SUCCESS } else { Outcome::FAILURE };
        self.stage = Stage::Told(told);
        let result = result_tlv(EapCode::REQUEST, following, outcome);
        self.channel.say(&result).map_or_else(Verdict::Refused, Verdict::Ask)
    }

    fn ask(&mut self, request: &[u8]) -> Verdict {
        match request.get(LEFT_OUT..) {
            Some(data @ [_, ..]) => self.channel.say(data).map_or_else(Verdict::Refused, Verdict::Ask),
            // With no method left to offer, the inner server has nothing but EAP-Failure.
            _ => Verdict::Refused(format!("{} cannot be offered inside of EAP_PEAP", self.settings.phase2)),
        }
    }
}

/// The client's part.
pub(super) struct Client {
    channel: Channel,
    inner: Box<Inner>,
}

impl Client {
    /// Answers the start. The client is `client` outside and inside, and takes these methods inside.
    pub(super) fn begin(
        request: &[u8],
        tls: &std::sync::Arc<Tls>,
        client: &Identity,
        methods: Vec<Method>,
    ) -> Result<(Self, Reaction), String> {
        let (channel, inner, hello) = tunnel::open_client(Method::Peap, request, tls, (client, methods))?;
        Ok((Self { channel, inner }, hello))
    }

    /// What the server has shown of itself, outside or inside, once.
    pub(in crate::eap) fn take_peer(&mut self) -> Option<PeerChain> {
        self.channel.take_peer().or_else(|| self.inner.take_peer())
    }

    /// `identifier` is the request's.
    pub(super) fn handle(&mut self, request: &[u8], identifier: u8, cx: &Context<'_>) -> Reaction {
        let plaintext = match self.channel.receive(request) {
            Step::Say(data) => return Reaction::Answer(data.into()),
            Step::Failed { alert, reason } => return give_up(alert, reason),
            Step::Turn(plaintext) => plaintext,
        };
        if plaintext.is_empty() {
            return Reaction::Answer(self.channel.finish().into()); // the server begins
        }
        if tlv::is_extension(&plaintext) {
            return self.conclude(&plaintext, identifier);
        }
        let packet = with_header(EapCode::REQUEST, identifier, &plaintext);
        let Some(Ok(packet)) = packet.as_deref().map(Eap::of) else {
            return Reaction::Abort("what the server says inside of EAP_PEAP is no EAP".into());
        };
        match self.inner.step(&packet, cx.passwords, cx.crypto) {
            ClientStep::Respond(response) => self
                .channel
                .say(response.get(LEFT_OUT..).unwrap_or_default())
                .map_or_else(Reaction::Abort, |data| Reaction::Answer(data.into())),
            ClientStep::Failed(reason) | ClientStep::Ignored(reason) => Reaction::Abort(reason),
            ClientStep::Judge { .. } => Reaction::Abort("a step judges nobody".into()),
            ClientStep::Concluded(_) => Reaction::Abort("EAP_PEAP ends without a result".into()),
        }
    }

    /// The server says how it ended. It counts what the method inside says.
    fn conclude(&mut self, request: &[u8], identifier: u8) -> Reaction {
        let failure = match tlv::outcome(request, EapCode::REQUEST) {
            Some(Outcome::SUCCESS) if self.inner.has_concluded() => None,
            Some(Outcome::SUCCESS) => Some("EAP_PEAP is said to have succeeded before the method in it has"),
            Some(_) => Some("the server says that EAP_PEAP has failed"),
            None => Some("the result of EAP_PEAP is malformed"),
        };
        let outcome = if failure.is_none() { Outcome::SUCCESS } else { Outcome::FAILURE };
        match (self.channel.say(&result_tlv(EapCode::RESPONSE, identifier, outcome)), failure) {
            (Err(reason), _) => Reaction::Abort(reason),
            (Ok(data), Some(reason)) => Reaction::Fail { data: data.into(), reason: reason.into() },
            (Ok(data), None) => match self.channel.msk() {
                Ok(msk) => Reaction::Conclude { data: data.into(), msk: Some(msk) },
                Err(reason) => Reaction::Abort(reason),
            },
        }
    }
}

/// A packet again, of a type and data.
fn with_header(code: EapCode, identifier: u8, data: &[u8]) -> Option<Vec<u8>> {
    let (eap_type, data) = data.split_first()?;
    Some(with_data(code, identifier, EapType(*eap_type), data))
}
