//! A peer whose every message the story writes: it can be wrong in any way, and seal it with the right keys.

use std::net::SocketAddr;
use std::sync::Arc;

use super::narrator;
use super::network::Datagram;
use super::random::provider;
use super::setup::identity;
use super::world::World;
use crate::auth::psk;
use crate::crypto::{
    CryptoProvider, Fragment, IkeKeys, IkeSuite, KeyExchangeInProgress, Opener, Prf, Role, Sealer, Secret,
    SkPi, SkPr,
};
use crate::identity::Identity;
use crate::natt;
use crate::proposal::Proposal;
use crate::selector::{SelectorPattern, TrafficSelector};
use crate::wire::registry::{
    AuthMethod, ExchangeType, IkeSpi, KeMethod, MessageId, NotifyType, PayloadType, ProtocolId, Spi,
};
use crate::wire::{self, Flags, HeaderFields, PayloadWriter, id};

/// One end of an IKE SA, played by hand.
///
/// As initiator: [`init_request`](Self::init_request), [`take_init_response`](Self::take_init_response), then
/// anything with [`seal`](Self::seal). As responder: [`init_response`](Self::init_response).
pub struct Puppet {
    /// Where it is.
    pub at: SocketAddr,
    /// Whom it talks to.
    pub peer: SocketAddr,
    /// The initiator's SPI.
    pub spi_i: IkeSpi,
    /// The responder's SPI.
    pub spi_r: IkeSpi,
    /// Its nonce.
    pub nonce: Vec<u8>,
    /// What it offers, or the one it chooses.
    pub proposals: Vec<Proposal>,
    crypto: Arc<CryptoProvider>,
    role: Role,
    ke: KeyExchangeInProgress,
    /// The first message it sent, which AUTH covers.
    sent: Vec<u8>,
    peer_nonce: Vec<u8>,
    keys: Option<Keys>,
    /// The message ID of its next request.
    next_id: u32,
}

struct Keys {
    prf: Prf,
    sealer: Sealer,
    opener: Opener,
    sk_pi: SkPi,
    sk_pr: SkPr,
}

impl Puppet {
    /// An initiator at an address and port, who offers this.
    #[must_use]
    pub fn initiator(at: &str, peer: &str, proposal: &str, seed: u64) -> Self {
        Self::new(Role::Initiator, at, peer, proposal, seed)
    }

    /// A responder at an address and port, who chooses this.
    #[must_use]
    pub fn responder(at: &str, peer: &str, proposal: &str, seed: u64) -> Self {
        Self::new(Role::Responder, at, peer, proposal, seed)
    }

    fn new(role: Role, at: &str, peer: &str, proposal: &str, seed: u64) -> Self {
        let crypto = provider(seed ^ 0x7075_7070_6574);
        let proposals = Proposal::parse(ProtocolId::IKE, proposal).expect("the story's proposal parses");
        let method =
            proposals.iter().find_map(Proposal::ke).expect("the story's proposal has a key exchange");
        let ke = crypto.start(method).expect("the story's key exchange is one of ours");
        let mut octets = [0; 40];
        crypto.random(&mut octets);
        let (spi, nonce) = octets.split_at(8);
        let own = IkeSpi(spi.try_into().expect("an SPI has eight octets"));
        let (spi_i, spi_r) = match role {
            Role::Initiator => (own, IkeSpi::ZERO),
            Role::Responder => (IkeSpi::ZERO, own),
        };
        Self {
            at: at.parse().expect("the story's address parses"),
            peer: peer.parse().expect("the story's address parses"),
            spi_i,
            spi_r,
            nonce: nonce.to_vec(),
            proposals,
            crypto,
            role,
            ke,
            sent: vec![],
            peer_nonce: vec![],
            keys: None,
            next_id: 1,
        }
    }

    /// Draws a key exchange of another method, whatever the proposals say.
    pub fn use_key_exchange(&mut self, method: KeMethod) {
        self.ke = self.crypto.start(method).expect("the story's key exchange is one of ours");
    }

    /// `HDR, [N(COOKIE),] SAi1, KEi, Ni`, and what `more` adds.
    pub fn init_request(&mut self, cookie: Option<&[u8]>, more: impl FnOnce(&mut PayloadWriter)) -> Datagram {
        let mut payloads = PayloadWriter::new();
        if let Some(cookie) = cookie {
            payloads.notify(NotifyType::COOKIE, cookie);
        }
        payloads.sa(&self.proposals).ke(self.ke.method(), self.ke.public()).nonce(&self.nonce);
        more(&mut payloads);
        self.sent = wire::build(self.fields(ExchangeType::IKE_SA_INIT, 0, false), &payloads);
        self.datagram(self.sent.clone())
    }

    /// Takes the answer and makes keys.
    ///
    /// # Panics
    ///
    /// If it is no answer that grants the request.
    pub fn take_init_response(&mut self, response: &Datagram) {
        let message = wire::decode(without_marker(response)).expect("the response decodes");
        self.spi_r = message.header.spi_r;
        let payloads = &message.payloads;
        let (Some(sa), Some(ke), Some(nonce)) = (payloads.sa(), payloads.ke(), payloads.nonce()) else {
            assert!(message.payloads.sa().is_some(), "the response is {payloads}");
            return;
        };
        let chosen = sa.proposals.first().expect("the response has a proposal").clone();
        self.peer_nonce = nonce.to_vec();
        self.derive(&chosen, ke.data);
    }

    /// `HDR, SAr1, KEr, Nr`, and what `more` adds: the answer to a request.
    ///
    /// # Panics
    ///
    /// If the request is not one for IKE_SA_INIT.
    pub fn init_response(&mut self, request: &Datagram, more: impl FnOnce(&mut PayloadWriter)) -> Datagram {
        let message = wire::decode(without_marker(request)).expect("the request decodes");
        self.spi_i = message.header.spi_i;
        let ke = message.payloads.ke().expect("the request has KEi");
        self.peer_nonce = message.payloads.nonce().expect("the request has Ni").to_vec();
        let chosen = self.proposals.first().expect("there is a proposal").clone();
        let mut payloads = PayloadWriter::new();
        payloads.sa(std::slice::from_ref(&chosen)).ke(self.ke.method(), self.ke.public()).nonce(&self.nonce);
        more(&mut payloads);
        self.sent = wire::build(self.fields(ExchangeType::IKE_SA_INIT, 0, true), &payloads);
        self.derive(&chosen, ke.data);
        self.datagram(self.sent.clone())
    }

    /// An answer to IKE_SA_INIT of notifies alone.
    pub fn refuse(&self, request: &Datagram, kind: NotifyType, data: &[u8]) -> Datagram {
        let header = wire::decode(without_marker(request)).expect("the request decodes").header;
        let fields = HeaderFields {
            flags: Flags { initiator: false, response: true, version: false },
            spi_r: IkeSpi::ZERO,
            ..header.fields()
        };
        let mut payloads = PayloadWriter::new();
        payloads.notify(kind, data);
        self.datagram(wire::build(fields, &payloads))
    }

    fn derive(&mut self, chosen: &Proposal, peer_public: &[u8]) {
        let suite = IkeSuite::from_proposal(chosen).expect("the proposal is one of ours");
        let shared = self.ke.complete(peer_public).expect("the peer's public value is valid");
        let (ni, nr) = match self.role {
            Role::Initiator => (&self.nonce, &self.peer_nonce),
            Role::Responder => (&self.peer_nonce, &self.nonce),
        };
        let keys = IkeKeys::derive(&suite, &shared, ni, nr, self.spi_i, self.spi_r);
        let (sealer, opener) = keys.protection.into_directions(self.role);
        self.keys = Some(Keys { prf: suite.prf(), sealer, opener, sk_pi: keys.sk_pi, sk_pr: keys.sk_pr });
    }

    /// Identity and AUTH: `IDi, AUTH` of an initiator, `IDr, AUTH` of a responder.
    ///
    /// # Panics
    ///
    /// Without keys.
    #[must_use]
    pub fn auth(&self, own_id: &str, secret: &str) -> PayloadWriter {
        let keys = self.keys.as_ref().expect("IKE_SA_INIT is done");
        let (own_id, secret) = (identity(own_id), Secret::new(secret.into()));
        let body = id::body(&own_id);
        let mut payloads = PayloadWriter::new();
        let data = match self.role {
            Role::Initiator => {
                payloads.id_i(&own_id);
                psk::auth(keys.prf, &secret, &self.sent, &self.peer_nonce, &keys.sk_pi, &body)
            }
            Role::Responder => {
                payloads.id_r(&own_id);
                psk::auth(keys.prf, &secret, &self.sent, &self.peer_nonce, &keys.sk_pr, &body)
            }
        };
        payloads.auth(AuthMethod::SHARED_KEY, &data);
        payloads
    }

    /// Identity and AUTH of one that proves nothing (RFC 7619 §2.1), under the key that is its own or the other end's.
    ///
    /// # Panics
    ///
    /// Without keys.
    #[must_use]
    pub fn null_auth(&self, own_id: &Identity, is_key_its_own: bool) -> PayloadWriter {
        let keys = self.keys.as_ref().expect("IKE_SA_INIT is done");
        let is_initiator = self.role == Role::Initiator;
        let mut payloads = PayloadWriter::new();
        match is_initiator {
            true => payloads.id_i(own_id),
            false => payloads.id_r(own_id),
        };
        let key = match is_initiator == is_key_its_own {
            true => keys.sk_pi.secret(),
            false => keys.sk_pr.secret(),
        };
        let body = id::body(own_id);
        let data = match is_initiator {
            true => psk::auth(keys.prf, key, &self.sent, &self.peer_nonce, &keys.sk_pi, &body),
            false => psk::auth(keys.prf, key, &self.sent, &self.peer_nonce, &keys.sk_pr, &body),
        };
        payloads.auth(AuthMethod::NULL, &data);
        payloads
    }

    /// `SA, TSi, TSr` for a CHILD_SA; the selectors are texts like `10.1.0.0/16`.
    pub fn child(payloads: &mut PayloadWriter, proposal: &str, spi: Spi, ts_i: &str, ts_r: &str) {
        let mut proposals = Proposal::parse(ProtocolId::ESP, proposal).expect("the story's proposal parses");
        for proposal in &mut proposals {
            proposal.spi = spi.0.to_be_bytes().to_vec();
        }
        payloads.sa(&proposals).ts_i(&[selector(ts_i)]).ts_r(&[selector(ts_r)]);
    }

    /// A protected message.
    ///
    /// # Panics
    ///
    /// Without keys.
    pub fn seal(
        &mut self,
        exchange: ExchangeType,
        message_id: u32,
        response: bool,
        payloads: &PayloadWriter,
    ) -> Datagram {
        self.seal_octets(exchange, message_id, response, payloads.first(), payloads.octets())
    }

    /// A protected message with any octets inside.
    ///
    /// # Panics
    ///
    /// Without keys.
    pub fn seal_octets(
        &mut self,
        exchange: ExchangeType,
        message_id: u32,
        response: bool,
        first: PayloadType,
        octets: &[u8],
    ) -> Datagram {
        let fields = self.fields(exchange, message_id, response);
        let keys = self.keys.as_mut().expect("IKE_SA_INIT is done");
        let message = keys
            .sealer
            .seal(fields, first, octets, &self.crypto)
            .expect("the story's message fits into a payload");
        self.datagram(message)
    }

    /// A protected message in so many fragments, their chunks as equal as can be.
    ///
    /// # Panics
    ///
    /// Without keys.
    pub fn seal_in_fragments(
        &mut self,
        exchange: ExchangeType,
        message_id: u32,
        response: bool,
        payloads: &PayloadWriter,
        total: u16,
    ) -> Vec<Datagram> {
        let octets = payloads.octets();
        let chunks = octets.chunks(octets.len().div_ceil(total.into()).max(1));
        // Where there are fewer octets than fragments, the last ones are empty.
        let chunks = chunks.chain(std::iter::repeat(&[][..]));
        (1..=total)
            .zip(chunks)
            .map(|(number, chunk)| {
                self.seal_fragment(exchange, message_id, response, payloads.first(), (number, total), chunk)
            })
            .collect()
    }

    /// One fragment with any octets inside.
    ///
    /// # Panics
    ///
    /// Without keys, or if there is no such fragment.
    pub fn seal_fragment(
        &mut self,
        exchange: ExchangeType,
        message_id: u32,
        response: bool,
        first: PayloadType,
        (number, total): (u16, u16),
        chunk: &[u8],
    ) -> Datagram {
        let fields = self.fields(exchange, message_id, response);
        let fragment = Fragment::new(number, total).expect("the story's fragment is one of its message");
        let keys = self.keys.as_mut().expect("IKE_SA_INIT is done");
        let message = keys
            .sealer
            .seal_fragment(fields, first, fragment, chunk, &self.crypto)
            .expect("the story's fragment fits into a payload");
        self.datagram(message)
    }

    /// Gets an initiator through IKE_SA_INIT with a host of the world.
    ///
    /// # Panics
    ///
    /// If the host does not answer as it should.
    pub fn open(&mut self, world: &mut World) {
        world.keep_mail(self.at.ip());
        let request = self.init_request(None, |_| {});
        world.inject(request);
        world.run();
        let answer = world.mail(self.at.ip()).expect("IKE_SA_INIT is answered");
        self.take_init_response(&answer);
    }

    /// Gets an initiator through both initial exchanges with a host of the world, with a CHILD_SA between its own
    /// address and 10.1.0.0/16 whose inbound SPI is [`Self::SPI`].
    ///
    /// # Panics
    ///
    /// If the host does not answer as it should.
    pub fn connect(&mut self, world: &mut World, own_id: &str, secret: &str) {
        self.open(world);
        let mut payloads = self.auth(own_id, secret);
        Self::child(&mut payloads, "aes128gcm16", Self::SPI, &self.at.ip().to_string(), "10.1.0.0/16");
        let answer = self.ask(world, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(answer.as_deref(), Some("IDr, AUTH, SAr2, TSi, TSr"));
    }

    /// The inbound SPI of its CHILD_SA.
    pub const SPI: Spi = Spi(0x1000_0000);

    /// Sends its next request. What the answer says, if there is one.
    pub fn ask(
        &mut self,
        world: &mut World,
        exchange: ExchangeType,
        payloads: &PayloadWriter,
    ) -> Option<String> {
        let request = self.seal(exchange, self.next_id, false, payloads);
        self.next_id += 1;
        world.inject(request);
        world.run();
        let answer = world.mail(self.at.ip())?;
        self.read(&answer)
    }

    /// What a protected message for the puppet has inside, in the RFC's words; `None` if it cannot be opened.
    #[must_use]
    pub fn read(&self, datagram: &Datagram) -> Option<String> {
        let message = wire::decode(without_marker(datagram)).ok()?;
        let opened = self.keys.as_ref()?.opener.open(message.octets).ok()?;
        let payloads = wire::decode_payloads(opened.first, &opened.plaintext).ok()?;
        Some(narrator::payloads(&message.header, &payloads))
    }

    /// What a message for the puppet has inside, put together from fragments that are in order; `None` if they cannot
    /// be opened or are not all.
    #[must_use]
    pub fn read_fragments(&self, datagrams: &[Datagram]) -> Option<String> {
        let opener = &self.keys.as_ref()?.opener;
        let (mut first, mut octets) = (PayloadType::NONE, Vec::new());
        for (datagram, number) in datagrams.iter().zip(1..) {
            let opened = opener.open(without_marker(datagram)).ok()?;
            opened.fragment.filter(|fragment| {
                fragment.number() == number && usize::from(fragment.total()) == datagrams.len()
            })?;
            if number == 1 {
                first = opened.first;
            }
            octets.extend_from_slice(&opened.plaintext);
        }
        let header = wire::decode(without_marker(datagrams.first()?)).ok()?.header;
        let payloads = wire::decode_payloads(first, &octets).ok()?;
        Some(narrator::payloads(&header, &payloads))
    }

    /// The data of a notify in a protected message for the puppet.
    #[must_use]
    pub fn notify_data(&self, datagram: &Datagram, kind: NotifyType) -> Option<Vec<u8>> {
        let message = wire::decode(without_marker(datagram)).ok()?;
        let opened = self.keys.as_ref()?.opener.open(message.octets).ok()?;
        let payloads = wire::decode_payloads(opened.first, &opened.plaintext).ok()?;
        payloads.notify(kind).map(|notify| notify.data.to_vec())
    }

    fn fields(&self, exchange: ExchangeType, message_id: u32, response: bool) -> HeaderFields {
        HeaderFields {
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            exchange,
            flags: Flags { initiator: self.role == Role::Initiator, response, version: false },
            message_id: MessageId(message_id),
        }
    }

    fn datagram(&self, message: Vec<u8>) -> Datagram {
        let octets = if self.peer.port() == 4500 { natt::add_marker(&message) } else { message };
        Datagram { from: self.at, to: self.peer, octets }
    }
}

fn without_marker(datagram: &Datagram) -> &[u8] {
    if datagram.to.port() == 4500 || datagram.from.port() == 4500 {
        datagram.octets.strip_prefix(&natt::NON_ESP_MARKER).unwrap_or(&datagram.octets)
    } else {
        &datagram.octets
    }
}

fn selector(text: &str) -> TrafficSelector {
    let pattern = SelectorPattern::parse(text).expect("the story's selector parses");
    pattern.resolve(&[]).pop().expect("what stands in a message is not dynamic")
}
