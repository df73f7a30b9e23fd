//! The client: says who it is, takes a method or refuses it, and believes no success but a method's (RFC 3748 §2,
//! "peer"; RFC 4137 §4).

use std::sync::Arc;

use tracing::info;
use zeroize::Zeroizing;

use super::packet::with_data;
use super::{
    Conclusion, Context, Method, Passwords, PeerChain, Reaction, Tls, gtc, identity, md5, mschapv2, peap,
    printable, psk, tls, ttls,
};
use crate::crypto::{CryptoProvider, Secret};
use crate::identity::Identity;
use crate::wire::Eap;
use crate::wire::registry::{EapCode, EapType};

/// The client's end of one conversation.
pub struct Client {
    /// Who we say we are.
    identity: Identity,
    /// Who the server must be, for methods in which it has a name; a pattern.
    server: Identity,
    /// Methods we would use, the best first.
    methods: Vec<Method>,
    tls: Option<Arc<Tls>>,
    /// What the server has shown of itself, until it is judged.
    shown: Option<PeerChain>,
    phase: Phase,
    /// The last request, and what we said to it.
    last: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

enum Phase {
    /// No method has been chosen.
    Open,
    /// The server goes on with a method.
    Method(Machine),
    /// A method has concluded: EAP-Success may come. A tunnel goes on until it does, as not all servers say inside how
    /// it has ended.
    Concluded(Method, Option<Secret>, Option<Machine>),
    /// A method has failed: whatever comes now is no success.
    Failed(String),
}

enum Machine {
    MsChapV2(mschapv2::Client),
    Psk(psk::Client),
    Tls(Box<tls::Client>),
    Ttls(Box<ttls::Client>),
    Peap(Box<peap::Client>),
}

/// What the client makes of a packet.
pub enum ClientStep {
    /// It has a response, to be sent.
    Respond(Zeroizing<Vec<u8>>),
    /// The server has shown a certificate. There is a response, which may not be sent before somebody has vouched for it.
    Judge {
        /// The certificate.
        chain: Box<PeerChain>,
        /// The response.
        response: Zeroizing<Vec<u8>>,
    },
    /// The server has accepted us, and the method agrees.
    Concluded(Conclusion),
    /// The conversation has failed. The sentence is for the log.
    Failed(String),
    /// The packet is none for us, and changes nothing.
    Ignored(String),
}

impl Client {
    /// A conversation of the client `identity` with a server whose name fits `server`.
    #[must_use]
    pub fn new(identity: Identity, server: Identity, methods: Vec<Method>) -> Self {
        Self { identity, server, methods, tls: None, shown: None, phase: Phase::Open, last: None }
    }

    /// With what methods with TLS need; without it, such a method fails.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// True if nothing but EAP-Success is missing.
    pub(super) const fn has_concluded(&self) -> bool {
        matches!(self.phase, Phase::Concluded(..))
    }

    /// The identifier of the last request.
    pub(super) fn last_identifier(&self) -> u8 {
        self.last.as_ref().and_then(|(request, _)| request.get(1).copied()).unwrap_or_default()
    }

    /// What the server has shown of itself, once.
    pub(super) fn take_peer(&mut self) -> Option<PeerChain> {
        self.shown.take()
    }

    /// Takes a packet of the server.
    pub fn handle(
        &mut self,
        packet: &Eap<'_>,
        passwords: &dyn Passwords,
        crypto: &CryptoProvider,
    ) -> ClientStep {
        let next = self.step(packet, passwords, crypto);
        match (self.take_peer(), next) {
            (Some(chain), ClientStep::Respond(response)) => {
                ClientStep::Judge { chain: Box::new(chain), response }
            }
            (_, next) => next,
        }
    }

    /// The same, with the judgement left to the caller.
    pub(super) fn step(
        &mut self,
        packet: &Eap<'_>,
        passwords: &dyn Passwords,
        crypto: &CryptoProvider,
    ) -> ClientStep {
        match (packet.code(), packet.eap_type()) {
            (EapCode::REQUEST, Some(eap_type)) => {
                let tls = self.tls.clone();
                self.answer(packet, eap_type, &Context { passwords, crypto, tls: tls.as_ref() })
            }
            (EapCode::SUCCESS, _) if self.ends(packet) => self.succeed(),
            (EapCode::FAILURE, _) if self.ends(packet) => {
                let reason = match std::mem::replace(&mut self.phase, Phase::Open) {
                    Phase::Failed(reason) => reason,
                    _ => "the server answered EAP-Failure".into(),
                };
                self.fail(reason)
            }
            _ => ClientStep::Ignored(format!("EAP {} {} is none for us", packet.code(), packet.identifier())),
        }
    }

    /// RFC 3748 §4.2: a result has the identifier of the last response. Some servers count on (RFC 4137 does not, but
    /// those of Microsoft do).
    fn ends(&self, packet: &Eap<'_>) -> bool {
        let Some((request, _)) = &self.last else { return true };
        request.get(1).is_some_and(|last| [*last, last.wrapping_add(1)].contains(&packet.identifier()))
    }

    /// RFC 3748 §4.2, RFC 4137 §4: the packet is authentic in no method, so that it decides nothing.
    fn succeed(&mut self) -> ClientStep {
        match std::mem::replace(&mut self.phase, Phase::Open) {
            Phase::Concluded(method, msk, _) => {
                ClientStep::Concluded(Conclusion { method, msk, client: self.identity.clone() })
            }
            Phase::Failed(reason) => self.fail(format!("EAP-Success after a failure: {reason}")),
            Phase::Open => self.fail("EAP-Success before any method".into()),
            Phase::Method(machine) => {
                self.fail(format!("EAP-Success before {} has concluded", machine.method()))
            }
        }
    }

    fn answer(&mut self, packet: &Eap<'_>, eap_type: EapType, cx: &Context<'_>) -> ClientStep {
        if let Some((request, response)) = &self.last
            && request == packet.octets()
        {
            return ClientStep::Respond(response.clone()); // RFC 3748 §4.1: a duplicate gets the same response
        }
        let (eap_type, data): (EapType, Zeroizing<Vec<u8>>) = match eap_type {
            EapType::IDENTITY => {
                info!(target: "ike", "server requested EAP_IDENTITY, sending '{}'", self.identity);
                (eap_type, identity::octets(&self.identity).into())
            }
            EapType::NOTIFICATION => {
                info!(target: "ike", "the EAP server says '{}'", printable(packet.data()));
                (eap_type, Vec::new().into())
            }
            eap_type => match self.method(eap_type, packet, cx) {
                Ok(answer) => answer,
                Err(reason) => return self.fail(reason),
            },
        };
        let response: Zeroizing<Vec<u8>> =
            with_data(EapCode::RESPONSE, packet.identifier(), eap_type, &data).into();
        self.last = Some((packet.octets().to_vec(), response.clone()));
        ClientStep::Respond(response)
    }

    /// A method's response to a request, or NAK.
    fn method(
        &mut self,
        eap_type: EapType,
        packet: &Eap<'_>,
        cx: &Context<'_>,
    ) -> Result<(EapType, Zeroizing<Vec<u8>>), String> {
        let (id, data) = (packet.identifier(), packet.data());
        let (method, reaction) = match std::mem::replace(&mut self.phase, Phase::Open) {
            Phase::Open => {
                let method = self.methods.iter().copied().find(|method| method.eap_type() == eap_type);
                let Some(method) = method else {
                    // RFC 3748 §5.3.1: what we would use instead; zero stands for nothing.
                    let wanted: Vec<u8> = self.methods.iter().map(|method| method.eap_type().0).collect();
                    info!(target: "ike", "server requested {eap_type}, which is not configured, sending EAP_NAK");
                    let wanted = if wanted.is_empty() { vec![0] } else { wanted };
                    return Ok((EapType::NAK, wanted.into()));
                };
                info!(target: "ike", "server requested {method} authentication (id 0x{id:02X})");
                (method, self.begin(method, packet, cx)?)
            }
            Phase::Method(machine) | Phase::Concluded(_, _, Some(machine))
                if machine.method().eap_type() == eap_type =>
            {
                let method = machine.method();
                let reaction = match machine {
                    Machine::MsChapV2(machine) => {
                        let reaction = machine.handle(data);
                        self.phase = Phase::Method(Machine::MsChapV2(machine));
                        reaction
                    }
                    Machine::Psk(mut machine) => {
                        let reaction = machine.handle(packet.octets(), id)?;
                        self.phase = Phase::Method(Machine::Psk(machine));
                        reaction
                    }
                    Machine::Tls(mut machine) => {
                        let reaction = machine.handle(data);
                        self.phase = Phase::Method(Machine::Tls(machine));
                        reaction
                    }
                    Machine::Ttls(mut machine) => {
                        let reaction = machine.handle(data, cx);
                        self.phase = Phase::Method(Machine::Ttls(machine));
                        reaction
                    }
                    Machine::Peap(mut machine) => {
                        let reaction = machine.handle(data, id, cx);
                        self.phase = Phase::Method(Machine::Peap(machine));
                        reaction
                    }
                };
                (method, reaction)
            }
            Phase::Method(machine) => {
                return Err(format!("the server asked for {eap_type} in the middle of {}", machine.method()));
            }
            Phase::Concluded(method, ..) => {
                return Err(format!("the server asked for {eap_type} after {method} had concluded"));
            }
            Phase::Failed(reason) => return Err(reason),
        };
        if let Phase::Method(machine) = &mut self.phase {
            self.shown = machine.take_peer();
        }
        let data = match reaction {
            Reaction::Answer(data) => data,
            Reaction::Conclude { data, msk } => {
                let machine = match std::mem::replace(&mut self.phase, Phase::Open) {
                    Phase::Method(machine) if method.is_tunnel() => Some(machine),
                    _ => None,
                };
                self.phase = Phase::Concluded(method, msk, machine);
                data
            }
            Reaction::Fail { data, reason } => {
                self.phase = Phase::Failed(reason);
                data
            }
            Reaction::Abort(reason) => return Err(reason),
        };
        Ok((eap_type, data))
    }

    /// The first request of a method.
    fn begin(&mut self, method: Method, packet: &Eap<'_>, cx: &Context<'_>) -> Result<Reaction, String> {
        let (client, server) = (&self.identity, &self.server);
        Ok(match method {
            Method::Md5 => md5::answer(packet.data(), packet.identifier(), client, server, cx),
            Method::Gtc => gtc::answer(client, server, cx),
            Method::MsChapV2 => {
                let (machine, reaction) = mschapv2::Client::begin(packet.data(), client, server, cx)?;
                self.phase = Phase::Method(Machine::MsChapV2(machine));
                reaction
            }
            Method::Psk => {
                let (machine, reaction) = psk::Client::begin(packet.octets(), client, server, cx)?;
                self.phase = Phase::Method(Machine::Psk(machine));
                reaction
            }
            Method::Tls => {
                let (machine, reaction) = tls::Client::begin(packet.data(), needed(cx)?)?;
                self.phase = Phase::Method(Machine::Tls(Box::new(machine)));
                reaction
            }
            Method::Ttls => {
                let methods = self.inside(method);
                let (machine, reaction) = ttls::Client::begin(packet.data(), needed(cx)?, client, methods)?;
                self.phase = Phase::Method(Machine::Ttls(Box::new(machine)));
                reaction
            }
            Method::Peap => {
                let methods = self.inside(method);
                let (machine, reaction) = peap::Client::begin(packet.data(), needed(cx)?, client, methods)?;
                self.phase = Phase::Method(Machine::Peap(Box::new(machine)));
                reaction
            }
        })
    }

    /// Methods inside of a tunnel: any that is none itself, as the server chooses.
    fn inside(&self, tunnel: Method) -> Vec<Method> {
        let has_certificate = self.tls.as_ref().is_some_and(|tls| tls.own.is_some());
        let fits = |method: &Method| *method != tunnel && !method.is_tunnel();
        Method::ALL
            .into_iter()
            .filter(|method| fits(method) && (has_certificate || *method != Method::Tls))
            .collect()
    }

    fn fail(&mut self, reason: String) -> ClientStep {
        self.phase = Phase::Failed(reason.clone());
        ClientStep::Failed(reason)
    }
}

/// What methods with TLS need.
fn needed<'a>(cx: &Context<'a>) -> Result<&'a Arc<Tls>, String> {
    cx.tls.ok_or_else(|| "there are no certificates for TLS".into())
}

impl Machine {
    fn take_peer(&mut self) -> Option<PeerChain> {
        match self {
            Self::MsChapV2(_) | Self::Psk(_) => None,
            Self::Tls(machine) => machine.take_peer(),
            Self::Ttls(machine) => machine.take_peer(),
            Self::Peap(machine) => machine.take_peer(),
        }
    }

    const fn method(&self) -> Method {
        match self {
            Self::MsChapV2(_) => Method::MsChapV2,
            Self::Psk(_) => Method::Psk,
            Self::Tls(_) => Method::Tls,
            Self::Ttls(_) => Method::Ttls,
            Self::Peap(_) => Method::Peap,
        }
    }
}
