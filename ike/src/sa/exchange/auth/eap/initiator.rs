//! EAP as the initiator: the client.

use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{MOST_ROUNDS, allowed, ask_to_judge, auth_keys, key_words, tls};
use crate::config::{AuthClass, Connection, EapMethods, LocalAuth};
use crate::context::Cx;
use crate::crypto::IkeSuite;
use crate::eap::{Client, ClientStep, Conclusion, Method};
use crate::error::Failure;
use crate::identity::Identity;
use crate::output::{ActionId, Outcome};
use crate::sa::Core;
use crate::sa::exchange::auth::initiator::{Name, Sent};
use crate::sa::exchange::init::Handshake;
use crate::sa::opened::Opened;
use crate::wire::registry::{AuthMethod, ExchangeType, NotifyType};
use crate::wire::{PayloadWriter, Payloads};

/// Our messages of EAP: none has been answered yet, or some.
pub(in super::super) struct Rounds {
    methods: EapMethods,
    /// Who we say we are in EAP.
    identity: Identity,
    stage: Stage,
    answered: u32,
}

enum Stage {
    /// EAP is asked for.
    Opening,
    /// The method is under way.
    Talking(Box<Client>),
    /// Somebody is asked whether the server's certificate is to be believed; then we say this.
    Judging(Box<Client>, ActionId, Zeroizing<Vec<u8>>),
    /// EAP has succeeded and our AUTH is out.
    Proven(Conclusion),
}

/// Which way the rounds went.
pub(in super::super) enum Progress {
    /// Another request is out.
    Asked,
    /// The gateway has proven that it is who it says.
    Proven,
}

impl Rounds {
    /// EAP, if that is how we are to authenticate.
    pub(in super::super) fn of(auth: &LocalAuth, local_id: &Identity) -> Option<Self> {
        let AuthClass::Eap(methods) = auth.class else { return None };
        let identity = auth.eap_id.clone().unwrap_or_else(|| local_id.clone());
        Some(Self { methods, identity, stage: Stage::Opening, answered: 0 })
    }

    /// True if the gateway may do without AUTH of its own at first: we would use no method then but one that proves it
    /// (RFC 5998 §3).
    pub(in super::super) fn allows_eap_only(&self, connection: &Connection) -> bool {
        let class = connection.remote.first().and_then(|auth| auth.class);
        !matches!(class, Some(AuthClass::Psk | AuthClass::PublicKey | AuthClass::Null))
            && !allowed(self.methods, true).is_empty()
    }

    /// EAP is over, and the gateway's AUTH that is made with it to come.
    pub(in super::super) fn awaits_auth(&self) -> bool {
        matches!(self.stage, Stage::Proven(_))
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
        // RFC 4739 §2.1: AUTH covers the latest IDr.
        let name = sent.heard.name.as_ref();
        let name = name.ok_or_else(|| lacks(payloads, "its IKE_AUTH response lacks IDr"))?;
        let mut client = match std::mem::replace(&mut self.stage, Stage::Opening) {
            Stage::Opening => self.meet(sent, &name.id, cx),
            Stage::Talking(client) => client,
            Stage::Judging(..) => return Err(Failure::Protocol("it answers what was not asked")),
            Stage::Proven(conclusion) => {
                return is_proven(&conclusion, name, payloads, suite(core)?, handshake)
                    .map(|()| Progress::Proven);
            }
        };
        let packet = payloads.eap().ok_or_else(|| lacks(payloads, "its IKE_AUTH response lacks EAP"))?;
        let mut reply = PayloadWriter::new();
        self.stage = match client.handle(packet, &**cx.configuration, cx.crypto) {
            ClientStep::Respond(response) => {
                reply.eap(&response);
                Stage::Talking(client)
            }
            ClientStep::Concluded(conclusion) => {
                let msk = conclusion.msk.as_ref();
                info!(target: "ike", "EAP method {} succeeded, {}", conclusion.method, key_words(msk));
                let (key, _) = auth_keys(msk, handshake);
                let auth = handshake.initiator_auth(suite(core)?, key, local_id);
                info!(target: "ike", "authentication of '{local_id}' (myself) with EAP");
                reply.auth(AuthMethod::SHARED_KEY, &auth);
                if sent.is_followed() {
                    reply.notify(NotifyType::ANOTHER_AUTH_FOLLOWS, &[]); // RFC 4739 §2.2
                }
                Stage::Proven(conclusion)
            }
            ClientStep::Judge { chain, response } => {
                let action = ask_to_judge(*chain, core.id, (&sent.connection, 0), cx);
                self.stage = Stage::Judging(client, action, response);
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
            Stage::Judging(client, action, response) if action == id => match outcome {
                Outcome::Done => {
                    let mut reply = PayloadWriter::new();
                    reply.eap(&response);
                    self.stage = Stage::Talking(client);
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

    /// The client, for a gateway that has said, and perhaps proven, that it is `gateway`.
    fn meet(&self, sent: &Sent, gateway: &Identity, cx: &Cx<'_>) -> Box<Client> {
        let (connection, is_eap_only) = (&*sent.connection, sent.heard.is_eap_only);
        // Where nothing else proves the gateway, its name in EAP must be the one it goes by.
        let aaa_id = sent.auth().and_then(|auth| auth.aaa_id.clone());
        // In TLS it must be so in any case, as anybody whom an authority knows has a certificate.
        let expected = aaa_id.as_ref().unwrap_or(gateway);
        let tls = tls(sent.auth(), connection.remote.first(), &self.identity, expected, cx);
        let server = aaa_id.unwrap_or_else(|| if is_eap_only { gateway.clone() } else { Identity::any() });
        let mut methods = allowed(self.methods, is_eap_only);
        if tls.own.is_none() && methods.contains(&Method::Tls) {
            info!(target: "ike", "no certificate with a private key is there for '{}' in EAP_TLS", self.identity);
            methods.retain(|method| *method != Method::Tls);
        }
        Box::new(Client::new(self.identity.clone(), server, methods).with_tls(Some(tls)))
    }
}

/// Checks the gateway's AUTH with what EAP has made (RFC 7296 §2.16).
fn is_proven(
    conclusion: &Conclusion,
    gateway: &Name,
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
    if !handshake.verify_responder(auth.data, suite, key, &gateway.body) {
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
