//! EAP as the initiator: the client.

use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{MOST_ROUNDS, allowed, ask_to_judge, auth_keys, key_words, tls};
use crate::config::{AuthClass, Connection, EapMethods};
use crate::context::Cx;
use crate::crypto::IkeSuite;
use crate::eap::{Client, ClientStep, Conclusion, Method};
use crate::error::Failure;
use crate::identity::Identity;
use crate::output::{ActionId, Outcome};
use crate::sa::Core;
use crate::sa::exchange::auth::initiator::Sent;
use crate::sa::exchange::init::Handshake;
use crate::sa::opened::Opened;
use crate::wire::registry::{AuthMethod, ExchangeType};
use crate::wire::{PayloadWriter, Payloads};

/// Our rounds: none has been answered yet, or some.
pub(in super::super) struct Rounds {
    methods: EapMethods,
    /// Who we say we are in EAP.
    identity: Identity,
    stage: Stage,
    answered: u32,
}

enum Stage {
    /// The first request is out; the gateway has to say who it is.
    Opening,
    /// The method is under way, with a gateway that says it is this.
    Talking(Box<Client>, Gateway),
    /// Somebody is asked whether the server's certificate is to be believed; then we say this.
    Judging(Box<Client>, Gateway, ActionId, Zeroizing<Vec<u8>>),
    /// EAP has succeeded and our AUTH is out.
    Proven(Conclusion, Gateway),
}

/// Who the gateway says it is.
struct Gateway {
    id: Identity,
    /// The body of its ID payload, which its AUTH covers.
    id_body: Vec<u8>,
}

/// Which way the rounds went.
pub(in super::super) enum Progress {
    /// Another request is out.
    Asked,
    /// The gateway has proven that it is this.
    Proven(Identity),
}

impl Rounds {
    /// Rounds, if that is how a connection has us authenticate.
    pub(in super::super) fn of(connection: &Connection, local_id: &Identity) -> Option<Self> {
        let auth = connection.local.first()?;
        let AuthClass::Eap(methods) = auth.class else { return None };
        let identity = auth.eap_id.clone().unwrap_or_else(|| local_id.clone());
        Some(Self { methods, identity, stage: Stage::Opening, answered: 0 })
    }

    /// True if the gateway may do without AUTH of its own at first: we would use no method then but one that proves it
    /// (RFC 5998 §3).
    pub(in super::super) fn allows_eap_only(&self, connection: &Connection) -> bool {
        let class = connection.remote.first().and_then(|auth| auth.class);
        !matches!(class, Some(AuthClass::Psk | AuthClass::PublicKey))
            && !allowed(self.methods, true).is_empty()
    }

    /// Takes a response, and sends the next request if there is one.
    pub(in super::super) fn proceed(
        &mut self,
        sent: &Sent,
        core: &mut Core,
        opened: &Opened<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<Progress, Failure> {
        let Sent { handshake, local_id, .. } = sent;
        let payloads = &opened.payloads;
        self.answered += 1;
        if self.answered > MOST_ROUNDS {
            return Err(Failure::Authentication(format!("EAP does not end within {MOST_ROUNDS} messages")));
        }
        let (mut client, gateway) = match std::mem::replace(&mut self.stage, Stage::Opening) {
            Stage::Opening => self.meet(sent, core, opened, cx)?,
            Stage::Talking(client, gateway) => (client, gateway),
            Stage::Judging(..) => return Err(Failure::Protocol("it answers what was not asked")),
            Stage::Proven(conclusion, gateway) => {
                let suite = suite(core)?;
                return is_proven(&conclusion, &gateway, payloads, suite, handshake)
                    .map(|()| Progress::Proven(gateway.id));
            }
        };
        let packet = payloads.eap().ok_or_else(|| lacks(payloads, "its IKE_AUTH response lacks EAP"))?;
        let mut reply = PayloadWriter::new();
        self.stage = match client.handle(packet, &**cx.configuration, cx.crypto) {
            ClientStep::Respond(response) => {
                reply.eap(&response);
                Stage::Talking(client, gateway)
            }
            ClientStep::Concluded(conclusion) => {
                let msk = conclusion.msk.as_ref();
                info!(target: "ike", "EAP method {} succeeded, {}", conclusion.method, key_words(msk));
                let (key, _) = auth_keys(msk, handshake);
                let auth = handshake.initiator_auth(suite(core)?, key, local_id);
                info!(target: "ike", "authentication of '{local_id}' (myself) with EAP");
                reply.auth(AuthMethod::SHARED_KEY, &auth);
                Stage::Proven(conclusion, gateway)
            }
            ClientStep::Judge { chain, response } => {
                let action = ask_to_judge(*chain, core.id, &sent.connection, cx);
                self.stage = Stage::Judging(client, gateway, action, response);
                return Ok(Progress::Asked);
            }
            ClientStep::Failed(reason) | ClientStep::Ignored(reason) => {
                info!(target: "ike", "EAP authentication of '{}' (myself) failed: {reason}", self.identity);
                return Err(Failure::Authentication(reason));
            }
        };
        core.request(ExchangeType::IKE_AUTH, &reply, cx)?;
        Ok(Progress::Asked)
    }

    /// Takes whether the server's certificate is to be believed. Only then, anything depends on it.
    pub(in super::super) fn judged(
        &mut self,
        core: &mut Core,
        id: ActionId,
        outcome: Outcome,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        match std::mem::replace(&mut self.stage, Stage::Opening) {
            Stage::Judging(client, gateway, action, response) if action == id => match outcome {
                Outcome::Done => {
                    let mut reply = PayloadWriter::new();
                    reply.eap(&response);
                    self.stage = Stage::Talking(client, gateway);
                    core.request(ExchangeType::IKE_AUTH, &reply, cx)
                }
                Outcome::Failed(why) => {
                    let why = format!("the EAP server is not believed: {why}");
                    info!(target: "ike", "EAP authentication of '{}' (myself) failed: {why}", self.identity);
                    Err(Failure::Authentication(why))
                }
                _ => Err(Failure::Outside("nobody can vouch for certificates".into())),
            },
            stage => {
                self.stage = stage;
                Ok(())
            }
        }
    }

    /// The gateway says who it is, and proves it, or leaves that to EAP where it may.
    fn meet(
        &self,
        sent: &Sent,
        core: &Core,
        opened: &Opened<'_>,
        cx: &Cx<'_>,
    ) -> Result<(Box<Client>, Gateway), Failure> {
        let connection = &*sent.connection;
        let payloads = &opened.payloads;
        let (Some(id_r), Some(id_body)) = (payloads.id_r(), payloads.id_r_body()) else {
            return Err(lacks(payloads, "its IKE_AUTH response lacks IDr"));
        };
        let expected = connection.remote.first();
        let is_eap_only = payloads.auth().is_none();
        let id = if is_eap_only {
            if !self.allows_eap_only(connection) {
                let why = match expected.and_then(|expected| expected.class) {
                    Some(AuthClass::Psk) => "a pre-shared key is expected",
                    Some(AuthClass::PublicKey) => "a signature is expected",
                    _ => "none of our EAP methods can",
                };
                let why = format!("'{id_r}' wants to prove itself by EAP alone, and {why}");
                return Err(Failure::Authentication(why));
            }
            if let Some(expected) = expected.filter(|expected| id_r.matches(&expected.id).is_none()) {
                return Err(Failure::Authentication(format!(
                    "IDr '{id_r}' does not match to '{}'",
                    expected.id
                )));
            }
            info!(target: "ike", "allow mutual EAP-only authentication");
            id_r.clone()
        } else {
            sent.verify(core, opened, cx)?
        };
        // Where nothing else proves the gateway, its name in EAP must be the one it goes by.
        let aaa_id = connection.local.first().and_then(|auth| auth.aaa_id.clone());
        // In TLS it must be so in any case, as anybody whom an authority knows has a certificate.
        let tls = tls(connection, &self.identity, aaa_id.as_ref().unwrap_or(&id), cx);
        let server = aaa_id.unwrap_or_else(|| if is_eap_only { id.clone() } else { Identity::any() });
        let mut methods = allowed(self.methods, is_eap_only);
        if tls.own.is_none() && methods.contains(&Method::Tls) {
            info!(target: "ike", "no certificate with a private key is there for '{}' in EAP_TLS", self.identity);
            methods.retain(|method| *method != Method::Tls);
        }
        let client = Box::new(Client::new(self.identity.clone(), server, methods).with_tls(Some(tls)));
        Ok((client, Gateway { id, id_body: id_body.to_vec() }))
    }
}

/// Checks the gateway's AUTH with what EAP has made (RFC 7296 §2.16).
fn is_proven(
    conclusion: &Conclusion,
    gateway: &Gateway,
    payloads: &Payloads<'_>,
    suite: &IkeSuite,
    handshake: &Handshake,
) -> Result<(), Failure> {
    let auth = payloads.auth().ok_or_else(|| lacks(payloads, "its IKE_AUTH response lacks AUTH"))?;
    let (_, key) = auth_keys(conclusion.msk.as_ref(), handshake);
    let id = &gateway.id;
    if auth.method != AuthMethod::SHARED_KEY {
        return Err(Failure::Authentication(format!("'{id}' used {}, expected EAP", auth.method)));
    }
    if !handshake.verify_responder(auth.data, suite, key, &gateway.id_body) {
        return Err(Failure::Authentication(format!(
            "verification of AUTH payload of '{id}' with EAP failed"
        )));
    }
    info!(target: "ike", "authentication of '{id}' with EAP successful");
    Ok(())
}

fn suite(core: &Core) -> Result<&IkeSuite, Failure> {
    core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))
}

/// What is missing, unless an error says why.
fn lacks(payloads: &Payloads<'_>, what: &'static str) -> Failure {
    payloads.error().map_or(Failure::Protocol(what), |error| {
        warn!(target: "ike", "received {} notify error", error.kind);
        Failure::Refused(error.kind)
    })
}
