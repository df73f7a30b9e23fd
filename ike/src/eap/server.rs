//! The server: asks for an identity, offers methods, and judges (RFC 3748 §2, "authenticator").

use std::sync::Arc;

use tracing::info;

use super::packet::{result, with_data};
use super::{
    Conclusion, Context, Method, Passwords, PeerChain, Tls, Verdict, gtc, identity, md5, mschapv2, peap,
    printable, psk, tls, ttls,
};
use crate::crypto::CryptoProvider;
use crate::identity::Identity;
use crate::wire::Eap;
use crate::wire::registry::{EapCode, EapType};

/// The server's end of one conversation.
pub struct Server {
    /// Our name, which some methods tell.
    name: Identity,
    /// Who the client is before EAP says more: its name for methods that have none.
    client: Identity,
    /// The client has told its name when it was asked.
    identity: Option<Identity>,
    /// The identifier of the request that is out.
    identifier: u8,
    tls: Option<Arc<Tls>>,
    /// Of the methods that the client would rather use, its first comes next.
    follows_client: bool,
    /// What the client has shown of itself, until it is judged.
    shown: Option<PeerChain>,
    phase: Phase,
}

enum Phase {
    /// Nothing is out.
    Idle,
    /// The identity is asked for.
    Identity,
    /// A method is under way, and these come next if the client does not want it.
    Method { machine: Machine, is_answered: bool, next: Vec<Method> },
    /// There is a result.
    Over,
}

enum Machine {
    Md5(md5::Server),
    Gtc,
    MsChapV2(mschapv2::Server),
    Psk(psk::Server),
    Tls(Box<tls::Server>),
    Ttls(Box<ttls::Server>),
    Peap(Box<peap::Server>),
}

/// What the server makes of a response.
pub enum ServerStep {
    /// It has a request, to be sent.
    Request(Vec<u8>),
    /// The client has shown a certificate. What is next counts once somebody has vouched for it: before, nothing may be
    /// sent or believed. [`Server::fail`] has what is sent if nobody does.
    Judge {
        /// The certificate.
        chain: Box<PeerChain>,
        /// What is next.
        next: Box<Self>,
    },
    /// The client has said who it is; [`Server::offer`] goes on.
    Identified(Identity),
    /// The client has proven who it is.
    Succeeded {
        /// EAP-Success, to be sent.
        packet: Vec<u8>,
        /// What was proven.
        conclusion: Conclusion,
    },
    /// It has not.
    Failed {
        /// EAP-Failure, to be sent.
        packet: Vec<u8>,
        /// Why, for the log.
        reason: String,
    },
    /// The packet is no response to the request that is out, and changes nothing (RFC 3748 §4.1).
    Ignored(String),
}

impl Server {
    /// A conversation of the server `name` with a client that is known as `client` so far.
    #[must_use]
    pub fn new(name: Identity, client: Identity, crypto: &CryptoProvider) -> Self {
        let mut identifier = [0];
        crypto.random(&mut identifier);
        let [identifier] = identifier;
        Self {
            name,
            client,
            identity: None,
            identifier,
            tls: None,
            follows_client: false,
            shown: None,
            phase: Phase::Idle,
        }
    }

    /// Sets what methods with TLS need when they are offered; without it, none of them is.
    pub fn set_tls(&mut self, tls: Option<Arc<Tls>>) {
        self.tls = tls;
    }

    /// Whether it is the client's order that counts when it refuses a method, or ours.
    pub fn follow_client(&mut self, follows: bool) {
        self.follows_client = follows;
    }

    /// The client says who it is before it is asked, in a response with this identifier.
    pub(super) fn expect_identity(&mut self, identifier: u8) {
        self.phase = Phase::Identity;
        self.identifier = identifier;
    }

    /// The next request has this identifier, and what is taken before is the response to the one before.
    pub(super) const fn number_from(&mut self, identifier: u8) {
        self.identifier = identifier.wrapping_sub(1);
    }

    /// The identifier of the request that is out.
    pub(super) const fn identifier(&self) -> u8 {
        self.identifier
    }

    /// The request that asks who the client is.
    pub fn ask_identity(&mut self) -> Vec<u8> {
        self.phase = Phase::Identity;
        self.request(EapType::IDENTITY, &[])
    }

    /// The first request of the first of these methods; the rest is for a client that does not want it. Without a
    /// method the client is refused. Methods that we have no certificate for are passed over.
    pub fn offer(&mut self, methods: Vec<Method>, crypto: &CryptoProvider) -> Vec<u8> {
        let mut next = methods;
        while !next.is_empty() {
            let method = next.remove(0);
            match self.begin(method, crypto) {
                Ok((machine, data)) => {
                    self.phase = Phase::Method { machine, is_answered: false, next };
                    return self.request(method.eap_type(), &data);
                }
                Err(reason) => info!(target: "ike", "{method} is not offered: {reason}"),
            }
        }
        self.fail()
    }

    /// A method, and the data of its first request.
    fn begin(&self, method: Method, crypto: &CryptoProvider) -> Result<(Machine, Vec<u8>), String> {
        let cx = Context { passwords: &Nobody, crypto, tls: self.tls.as_ref() };
        let id = self.identifier.wrapping_add(1);
        let client = self.identity.as_ref().unwrap_or(&self.client);
        let needed = || self.tls.as_ref().ok_or("there are no certificates for TLS");
        Ok(match method {
            Method::Md5 => {
                let (machine, data) = md5::Server::begin(&cx);
                (Machine::Md5(machine), data)
            }
            Method::Gtc => (Machine::Gtc, gtc::ask()),
            Method::MsChapV2 => {
                let (machine, data) = mschapv2::Server::begin(id, &self.name, &cx);
                (Machine::MsChapV2(machine), data)
            }
            Method::Psk => {
                let (machine, data) = psk::Server::begin(&self.name, &cx);
                (Machine::Psk(machine), data)
            }
            Method::Tls => {
                let (machine, data) = tls::Server::begin(needed()?, client)?;
                (Machine::Tls(Box::new(machine)), data)
            }
            Method::Ttls => {
                let (machine, data) = ttls::Server::begin(needed()?, &self.name, client, &cx)?;
                (Machine::Ttls(Box::new(machine)), data)
            }
            Method::Peap => {
                let (machine, data) = peap::Server::begin(needed()?, &self.name, client, &cx)?;
                (Machine::Peap(Box::new(machine)), data)
            }
        })
    }

    /// What the client has shown of itself, once.
    pub(super) fn take_peer(&mut self) -> Option<PeerChain> {
        self.shown.take()
    }

    /// Takes a packet of the client.
    pub fn handle(
        &mut self,
        response: &Eap<'_>,
        passwords: &dyn Passwords,
        crypto: &CryptoProvider,
    ) -> ServerStep {
        let next = self.step(response, passwords, crypto);
        match (self.take_peer(), next) {
            (Some(chain), next @ (ServerStep::Request(_) | ServerStep::Succeeded { .. })) => {
                ServerStep::Judge { chain: Box::new(chain), next: Box::new(next) }
            }
            (_, next) => next,
        }
    }

    /// The same, with the judgement left to the caller.
    pub(super) fn step(
        &mut self,
        response: &Eap<'_>,
        passwords: &dyn Passwords,
        crypto: &CryptoProvider,
    ) -> ServerStep {
        let Some(eap_type) = response.eap_type().filter(|_| response.code() == EapCode::RESPONSE) else {
            return ServerStep::Ignored(format!("EAP {} is no response", response.code()));
        };
        if response.identifier() != self.identifier {
            return ServerStep::Ignored(format!(
                "the EAP response has identifier {}, the request has {}",
                response.identifier(),
                self.identifier
            ));
        }
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Identity if eap_type == EapType::IDENTITY => self.identified(response.data()),
            Phase::Method { machine, is_answered: false, next } if eap_type == EapType::NAK => {
                self.refused(machine.method(), response.data(), &next, crypto)
            }
            Phase::Method { machine, next, .. } if eap_type == machine.method().eap_type() => {
                let tls = self.tls.clone();
                self.judge(machine, next, response, &Context { passwords, crypto, tls: tls.as_ref() })
            }
            Phase::Identity | Phase::Method { .. } => {
                self.failed(format!("the client answered with {eap_type}, which was not asked for"))
            }
            phase @ (Phase::Idle | Phase::Over) => {
                self.phase = phase;
                ServerStep::Ignored("no EAP request is out".into())
            }
        }
    }

    fn identified(&mut self, name: &[u8]) -> ServerStep {
        match identity::parse(name) {
            Some(identity) => {
                self.phase = Phase::Idle;
                self.identity = Some(identity.clone());
                ServerStep::Identified(identity)
            }
            None => self.failed(format!("'{}' is no EAP identity", printable(name))),
        }
    }

    /// RFC 3748 §5.3.1: the client names what it would rather use.
    fn refused(
        &mut self,
        method: Method,
        wanted: &[u8],
        next: &[Method],
        crypto: &CryptoProvider,
    ) -> ServerStep {
        let mut next: Vec<Method> =
            next.iter().copied().filter(|method| wanted.contains(&method.eap_type().0)).collect();
        if self.follows_client {
            next.sort_by_key(|method| wanted.iter().position(|kind| *kind == method.eap_type().0));
        }
        if next.is_empty() {
            let wanted: Vec<String> = wanted
                .iter()
                .filter(|kind| **kind != 0)
                .map(|kind| EapType(*kind).to_string())
                .take(8)
                .collect();
            let wanted = if wanted.is_empty() { "nothing else".to_owned() } else { wanted.join(", ") };
            return self.failed(format!("the client does not want {method}, but {wanted}"));
        }
        ServerStep::Request(self.offer(next, crypto))
    }

    fn judge(
        &mut self,
        machine: Machine,
        next: Vec<Method>,
        response: &Eap<'_>,
        cx: &Context<'_>,
    ) -> ServerStep {
        let method = machine.method();
        let client = self.identity.clone().unwrap_or_else(|| self.client.clone());
        let data = response.data();
        let following = self.identifier.wrapping_add(1);
        let (mut machine, verdict) = match machine {
            Machine::Md5(md5) => {
                let verdict = md5.handle(data, self.identifier, &client, &self.name, cx);
                (None, verdict)
            }
            Machine::Gtc => (None, gtc::judge(data, &client, &self.name, cx)),
            Machine::MsChapV2(mut machine) => {
                let verdict = machine.handle(data, self.identity.as_ref(), &self.name, cx);
                (Some(Machine::MsChapV2(machine)), verdict)
            }
            Machine::Psk(machine) => {
                match machine.handle(response.octets(), following, self.identity.as_ref(), &self.name, cx) {
                    Ok((machine, verdict)) => (Some(Machine::Psk(machine)), verdict),
                    Err(reason) => (None, Verdict::Refused(reason)),
                }
            }
            Machine::Tls(mut machine) => {
                let verdict = machine.handle(data);
                (Some(Machine::Tls(machine)), verdict)
            }
            Machine::Ttls(mut machine) => {
                let verdict = machine.handle(data, cx);
                (Some(Machine::Ttls(machine)), verdict)
            }
            Machine::Peap(mut machine) => {
                let verdict = machine.handle(data, following, cx);
                (Some(Machine::Peap(machine)), verdict)
            }
        };
        self.shown = machine.as_mut().and_then(Machine::take_peer);
        match (verdict, machine) {
            (Verdict::Ask(data), Some(machine)) => {
                self.phase = Phase::Method { machine, is_answered: true, next };
                ServerStep::Request(self.request(method.eap_type(), &data))
            }
            (Verdict::Accepted { msk, named }, _) => {
                // The name of an identity exchange is what the rest goes by; a method proves that it is the same user.
                // Outside of a tunnel, anybody may say anything (RFC 5281 §7.3): the name inside is who it is.
                let client = match (self.identity.take(), named) {
                    (Some(_), Some(named)) if method.is_tunnel() => named,
                    (Some(identity), _) => identity,
                    (None, named) => named.unwrap_or(client),
                };
                let packet = result(EapCode::SUCCESS, self.identifier);
                ServerStep::Succeeded { packet, conclusion: Conclusion { method, msk, client } }
            }
            (Verdict::Refused(reason), _) => self.failed(reason),
            (Verdict::Ask(_), None) => self.failed(format!("{method} has nothing more to ask")),
        }
    }

    /// Ends the conversation because of something outside of it: EAP-Failure, to be sent.
    pub fn fail(&mut self) -> Vec<u8> {
        self.phase = Phase::Over;
        result(EapCode::FAILURE, self.identifier)
    }

    fn failed(&mut self, reason: String) -> ServerStep {
        ServerStep::Failed { packet: self.fail(), reason }
    }

    fn request(&mut self, eap_type: EapType, data: &[u8]) -> Vec<u8> {
        self.identifier = self.identifier.wrapping_add(1);
        with_data(EapCode::REQUEST, self.identifier, eap_type, data)
    }
}

impl Machine {
    fn take_peer(&mut self) -> Option<PeerChain> {
        match self {
            Self::Md5(_) | Self::Gtc | Self::MsChapV2(_) | Self::Psk(_) => None,
            Self::Tls(machine) => machine.take_peer(),
            Self::Ttls(machine) => machine.take_peer(),
            Self::Peap(machine) => machine.take_peer(),
        }
    }

    const fn method(&self) -> Method {
        match self {
            Self::Md5(_) => Method::Md5,
            Self::Gtc => Method::Gtc,
            Self::MsChapV2(_) => Method::MsChapV2,
            Self::Psk(_) => Method::Psk,
            Self::Tls(_) => Method::Tls,
            Self::Ttls(_) => Method::Ttls,
            Self::Peap(_) => Method::Peap,
        }
    }
}

/// No method needs a password before the client has said something.
struct Nobody;

impl Passwords for Nobody {
    fn password(&self, _: &Identity, _: &Identity) -> Option<&crate::crypto::Secret> {
        None
    }

    fn nt_hash(&self, _: &Identity, _: &Identity) -> Option<&crate::crypto::Secret> {
        None
    }
}
