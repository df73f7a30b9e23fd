//! EAP-TTLS (RFC 5281), version 0: the server proves itself by a certificate, and the client inside of TLS by another
//! method of EAP.
//!
//! ```text
//! server  Start                             client  ClientHello
//! server  ServerHello …                     client  … Finished
//! server  ChangeCipherSpec, Finished        client  {AVP(EAP-Response/Identity)}
//! server  {AVP(EAP-Request of a method)}    client  {AVP(EAP-Response)}            (so often)
//! ```
//!
//! What is in braces is protected. EAP-Success outside ends it (RFC 5281 §11.2.1).

pub(super) mod avp;

use tracing::{debug, info};

use super::client::{Client as Inner, ClientStep};
use super::packet::result;
use super::server::{Server as InnerServer, ServerStep};
use super::tls::{Channel, PeerChain, Step, Tls, Tunnel, give_up, refuse};
use super::{Context, Method, Reaction, Verdict, tunnel};
use crate::identity::Identity;
use crate::wire::Eap;
use crate::wire::registry::{EapCode, EapType};

/// The server's part.
pub(super) struct Server {
    channel: Channel,
    inner: Box<InnerServer>,
    settings: Tunnel,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// TLS has not been agreed on.
    Handshake,
    /// The last of our handshake is out.
    Finished,
    /// The client has been asked something inside, or has begun of its own accord.
    Inside,
}

impl Server {
    /// A server `name`, whose client is known as `client` so far.
    pub(super) fn begin(
        tls: &std::sync::Arc<Tls>,
        name: &Identity,
        client: &Identity,
        cx: &Context<'_>,
    ) -> Result<(Self, Vec<u8>), String> {
        let (channel, inner, settings, start) = tunnel::open_server(Method::Ttls, tls, (name, client), cx)?;
        Ok((Self { channel, inner, settings, stage: Stage::Handshake }, start))
    }

    /// What the client has shown of itself, outside or inside, once.
    pub(in crate::eap) fn take_peer(&mut self) -> Option<PeerChain> {
        self.channel.take_peer().or_else(|| self.inner.take_peer())
    }

    pub(super) fn handle(&mut self, response: &[u8], cx: &Context<'_>) -> Verdict {
        let plaintext = match self.channel.receive(response) {
            Step::Say(data) => return Verdict::Ask(data),
            Step::Failed { alert, reason } => return refuse(alert, reason),
            Step::Turn(plaintext) => plaintext,
        };
        let packet = match avp::find_eap_message(&plaintext) {
            Ok(packet) => packet,
            Err(reason) => return Verdict::Refused(format!("malformed {}: {reason}", EapType::TTLS)),
        };
        match (packet, self.stage) {
            (Some(packet), _) => self.inside(packet, cx),
            // In TLS 1.3 the client's Finished is the last, and there is nothing to be said but what comes next.
            (None, Stage::Handshake) if !self.settings.piggyback && !self.channel.is_tls_1_3() => {
                self.stage = Stage::Finished;
                Verdict::Ask(self.channel.finish())
            }
            (None, Stage::Handshake | Stage::Finished) => {
                self.stage = Stage::Inside;
                let request = self.inner.ask_identity();
                self.ask(&request)
            }
            (None, Stage::Inside) => Verdict::Refused("the client says no EAP inside of EAP_TTLS".into()),
        }
    }

    fn inside(&mut self, packet: &[u8], cx: &Context<'_>) -> Verdict {
        let Ok(response) = Eap::of(packet) else {
            return Verdict::Refused("what the client says inside of EAP_TTLS is no EAP".into());
        };
        if self.stage != Stage::Inside {
            // RFC 5281 §11.2.1: the client says its identity before it is asked.
            self.stage = Stage::Inside;
            self.inner.expect_identity(response.identifier());
        }
        match self.inner.step(&response, cx.passwords, cx.crypto) {
            ServerStep::Request(request) => self.ask(&request),
            ServerStep::Identified(identity) => {
                info!(target: "ike", "received tunneled EAP identity '{identity}'");
                let request = self.inner.offer(vec![self.settings.phase2], cx.crypto);
                self.ask(&request)
            }
            ServerStep::Succeeded { conclusion, .. } => {
                debug!(target: "ike", "tunneled {} succeeded", conclusion.method);
                match self.channel.msk() {
                    Ok(msk) => Verdict::Accepted { msk: Some(msk), named: Some(conclusion.client) },
                    Err(reason) => Verdict::Refused(reason),
                }
            }
            ServerStep::Failed { reason, .. } | ServerStep::Ignored(reason) => Verdict::Refused(reason),
            ServerStep::Judge { .. } => Verdict::Refused("a step judges nobody".into()),
        }
    }

    fn ask(&mut self, request: &[u8]) -> Verdict {
        // With no method left to offer, that is what the inner server says.
        if request.first() == Some(&EapCode::FAILURE.0) {
            return Verdict::Refused(format!(
                "{} cannot be offered inside of EAP_TTLS",
                self.settings.phase2
            ));
        }
        self.channel.say(&avp::eap_message(request)).map_or_else(Verdict::Refused, Verdict::Ask)
    }
}

/// The client's part.
pub(super) struct Client {
    channel: Channel,
    inner: Box<Inner>,
    has_begun: bool,
}

impl Client {
    /// Answers the start. The client is `client` outside and inside, and takes these methods inside.
    pub(super) fn begin(
        request: &[u8],
        tls: &std::sync::Arc<Tls>,
        client: &Identity,
        methods: Vec<Method>,
    ) -> Result<(Self, Reaction), String> {
        let (channel, inner, hello) = tunnel::open_client(Method::Ttls, request, tls, (client, methods))?;
        Ok((Self { channel, inner, has_begun: false }, hello))
    }

    /// What the server has shown of itself, outside or inside, once.
    pub(in crate::eap) fn take_peer(&mut self) -> Option<PeerChain> {
        self.channel.take_peer().or_else(|| self.inner.take_peer())
    }

    pub(super) fn handle(&mut self, request: &[u8], cx: &Context<'_>) -> Reaction {
        let plaintext = match self.channel.receive(request) {
            Step::Say(data) => return Reaction::Answer(data.into()),
            Step::Failed { alert, reason } => return give_up(alert, reason),
            Step::Turn(plaintext) => plaintext,
        };
        let packet = match avp::find_eap_message(&plaintext) {
            Ok(packet) => packet,
            Err(reason) => return Reaction::Abort(format!("malformed {}: {reason}", EapType::TTLS)),
        };
        // RFC 5281 §11.2.1: we say our identity as if we had been asked.
        let asked = [EapCode::REQUEST.0, 0, 0, 5, EapType::IDENTITY.0];
        let packet = match packet {
            Some(packet) => packet,
            None if !self.has_begun => &asked,
            None if self.inner.has_concluded() => &result(EapCode::SUCCESS, self.inner.last_identifier()),
            None => return Reaction::Abort("the server says no EAP inside of EAP_TTLS".into()),
        };
        self.has_begun = true;
        let Ok(packet) = Eap::of(packet) else {
            return Reaction::Abort("what the server says inside of EAP_TTLS is no EAP".into());
        };
        let said = match self.inner.step(&packet, cx.passwords, cx.crypto) {
            ClientStep::Respond(response) => self.channel.say(&avp::eap_message(&response)),
            ClientStep::Concluded(_) => Ok(self.channel.finish()),
            ClientStep::Failed(reason) | ClientStep::Ignored(reason) => Err(reason),
            ClientStep::Judge { .. } => Err("a step judges nobody".into()),
        };
        // EAP-Success need not be said inside.
        let is_over = self.inner.has_concluded();
        match (said, is_over.then(|| self.channel.msk())) {
            (Err(reason), _) | (_, Some(Err(reason))) => Reaction::Abort(reason),
            (Ok(data), None) => Reaction::Answer(data.into()),
            (Ok(data), Some(Ok(msk))) => Reaction::Conclude { data: data.into(), msk: Some(msk) },
        }
    }
}
