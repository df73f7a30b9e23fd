//! Two ends of an EAP conversation with certificates, for the stories about methods with TLS.

use std::sync::Arc;

use ferry_ike::crypto::signature::PrivateKey;
use ferry_ike::crypto::{CryptoProvider, Secret};
use ferry_ike::eap::{
    Client, ClientStep, Conclusion, Method, OwnCertificate, Packets, Passwords, PeerChain, Server,
    ServerStep, Tls, TlsSettings,
};
use ferry_ike::identity::Identity;
use ferry_ike::pki::Certificate;
use ferry_ike::sim::provider;
use ferry_ike::wire::Eap;
use ferry_ike::wire::registry::EapCode;

pub(crate) fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

/// A certificate that names somebody, and its key.
#[derive(Clone)]
pub(crate) struct Card {
    pub(crate) certificate: Certificate,
    pub(crate) key: Arc<PrivateKey>,
}

impl Card {
    /// A new one; `others` makes it larger.
    pub(crate) fn of(name: &str, others: usize) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        for n in 0..others {
            params.subject_alt_names.push(alternative(&format!("one-of-many-{n}.example.org")));
        }
        params.subject_alt_names.push(alternative(name));
        Self {
            certificate: Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap(),
            key: Arc::new(PrivateKey::from_der(&key.serialize_der()).unwrap()),
        }
    }

    fn own(&self) -> Arc<OwnCertificate> {
        Arc::new(OwnCertificate::new([&self.certificate], self.key.clone()))
    }
}

/// A name of a person or of a host.
pub(crate) fn alternative(name: &str) -> rcgen::SanType {
    let text = name.to_owned().try_into().unwrap();
    if name.contains('@') { rcgen::SanType::Rfc822Name(text) } else { rcgen::SanType::DnsName(text) }
}

/// Whose certificates are known. How chains are judged is another story.
pub(crate) struct Known(pub(crate) Vec<Certificate>);

impl Known {
    fn judge(&self, chain: &PeerChain) -> Result<(), String> {
        self.0.contains(&chain.certificate).then_some(()).ok_or_else(|| "nobody knows it".to_owned())
    }
}

/// A password by the text of the client's name.
pub(crate) struct Password(pub(crate) &'static str, pub(crate) Secret);

impl Passwords for Password {
    fn password(&self, client: &Identity, _server: &Identity) -> Option<&Secret> {
        (client.to_string() == self.0).then_some(&self.1)
    }

    fn nt_hash(&self, _client: &Identity, _server: &Identity) -> Option<&Secret> {
        None
    }
}

/// What both ends are before they talk.
pub(crate) struct Talk {
    pub(crate) method: Method,
    pub(crate) server: TlsSettings,
    pub(crate) client: TlsSettings,
    pub(crate) gateway: Card,
    pub(crate) alice: Option<Card>,
    /// What the server has for who is believed, and the client.
    pub(crate) servers_trust: Known,
    pub(crate) clients_trust: Known,
    /// Who the client says it is, outside.
    pub(crate) identity: &'static str,
    /// Who the server must be.
    pub(crate) expects: &'static str,
    pub(crate) servers_password: Password,
    pub(crate) clients_password: Password,
}

/// How a conversation ended.
pub(crate) struct Ended {
    pub(crate) server: Result<Conclusion, String>,
    pub(crate) client: Result<Conclusion, String>,
    /// Packets of both, in order.
    pub(crate) packets: Vec<Vec<u8>>,
}

impl Talk {
    pub(crate) fn new(method: Method) -> Self {
        let (gateway, alice) = (Card::of("gw.example.org", 0), Card::of("alice@example.org", 0));
        let password = || Password("alice@example.org", Secret::new(b"sixteen letters!".to_vec()));
        Self {
            method,
            server: TlsSettings::default(),
            client: TlsSettings::default(),
            servers_trust: Known(vec![alice.certificate.clone()]),
            clients_trust: Known(vec![gateway.certificate.clone()]),
            gateway,
            alice: (method == Method::Tls).then_some(alice),
            identity: "alice@example.org",
            expects: "gw.example.org",
            servers_password: password(),
            clients_password: password(),
        }
    }

    /// Settings of both ends.
    pub(crate) fn with(mut self, change: impl Fn(&mut TlsSettings)) -> Self {
        change(&mut self.server);
        change(&mut self.client);
        self
    }

    /// The size of packets of both ends, for all methods.
    pub(crate) fn packets(self, size: usize, most: u32) -> Self {
        self.with(|settings| {
            for packets in [&mut settings.tls, &mut settings.ttls.packets, &mut settings.peap.packets] {
                *packets = Packets { size, most, ..*packets };
            }
        })
    }

    /// Lets both talk to the end; `tamper` may change what passes.
    pub(crate) fn run(self, mut tamper: impl FnMut(usize, &mut Vec<u8>)) -> Ended {
        let crypto = provider(1);
        let server_tls = Tls {
            settings: Arc::new(self.server),
            own: Some(self.gateway.own()),
            authorities: vec![],
            server: id("unused.example.org"),
        };
        let client_tls = Tls {
            settings: Arc::new(self.client),
            own: self.alice.as_ref().map(Card::own),
            authorities: vec![],
            server: id(self.expects),
        };
        let mut server = Server::new(id("gw.example.org"), id("rw.example.org"), &crypto);
        server.set_tls(Some(Arc::new(server_tls)));
        let mut client = Client::new(id(self.identity), Identity::any(), vec![self.method])
            .with_tls(Some(Arc::new(client_tls)));
        let mut packets = vec![];
        let mut packet = server.ask_identity();
        let mut servers_result = Err("it said nothing".to_owned());
        loop {
            assert!(packets.len() < 500, "it does not end");
            tamper(packets.len(), &mut packet);
            packets.push(packet.clone());
            let step = answer(&mut client, &packet, &self.clients_password, &crypto);
            let response = match judge_server(step, &self.clients_trust) {
                ClientStep::Respond(response) => response,
                ClientStep::Concluded(conclusion) => {
                    return Ended { server: servers_result, client: Ok(conclusion), packets };
                }
                ClientStep::Failed(why) | ClientStep::Ignored(why) => {
                    return Ended { server: servers_result, client: Err(why), packets };
                }
                ClientStep::Judge { .. } => unreachable!("it is judged"),
            };
            let mut response = response.to_vec();
            tamper(packets.len(), &mut response);
            packets.push(response.clone());
            let Ok(response) = Eap::of(&response) else {
                return Ended { server: Err("no EAP".into()), client: Err("it waits".into()), packets };
            };
            let step = server.handle(&response, &self.servers_password, &crypto);
            packet = match judge_client(step, &self.servers_trust, &mut server) {
                ServerStep::Request(packet) => packet,
                ServerStep::Identified(_) => server.offer(vec![self.method], &crypto),
                ServerStep::Succeeded { packet, conclusion } => {
                    servers_result = Ok(conclusion);
                    packet
                }
                ServerStep::Failed { packet, reason } => {
                    servers_result = Err(reason);
                    packet
                }
                ServerStep::Ignored(why) => {
                    return Ended { server: Err(why), client: Err("it waits".into()), packets };
                }
                ServerStep::Judge { .. } => unreachable!("it is judged"),
            };
        }
    }

    /// Lets both talk, undisturbed.
    pub(crate) fn go(self) -> Ended {
        self.run(|_, _| {})
    }
}

fn judge_server(step: ClientStep, trust: &Known) -> ClientStep {
    match step {
        ClientStep::Judge { chain, response } => match trust.judge(&chain) {
            Ok(()) => ClientStep::Respond(response),
            Err(reason) => ClientStep::Failed(reason),
        },
        step => step,
    }
}

fn judge_client(step: ServerStep, trust: &Known, server: &mut Server) -> ServerStep {
    match step {
        ServerStep::Judge { chain, next } => match trust.judge(&chain) {
            Ok(()) => *next,
            Err(reason) => ServerStep::Failed { packet: server.fail(), reason },
        },
        step => step,
    }
}

fn answer(client: &mut Client, packet: &[u8], password: &Password, crypto: &CryptoProvider) -> ClientStep {
    match Eap::of(packet) {
        Ok(packet) => client.handle(&packet, password, crypto),
        Err(_) => ClientStep::Ignored("no EAP".into()),
    }
}

impl Ended {
    /// Both ends have succeeded, with one key, and the server knows the client by this name.
    #[track_caller]
    pub(crate) fn assert_success(self, method: Method, name: &str) -> Vec<Vec<u8>> {
        let (server, client) = (self.server.unwrap(), self.client.unwrap());
        assert_eq!((server.method, client.method), (method, method));
        assert_eq!(server.client.to_string(), name);
        assert!(has_same_key(&server, &client), "the keys differ");
        assert_eq!(server.msk.unwrap().len(), 64);
        assert_eq!(self.packets.last().unwrap()[0], EapCode::SUCCESS.0);
        self.packets
    }

    /// Why the server, and the client, have failed. The last packet was EAP-Failure.
    #[track_caller]
    pub(crate) fn failures(self) -> (String, String) {
        assert_eq!(self.packets.last().unwrap()[0], EapCode::FAILURE.0);
        (self.server.map(drop).unwrap_err(), self.client.map(drop).unwrap_err())
    }

    /// They do not both believe that it went well with keys of their own, and no end that has the other's proof is
    /// fooled.
    #[track_caller]
    pub(crate) fn assert_not_fooled(&self, what: &str) {
        if let (Ok(server), Ok(client)) = (&self.server, &self.client) {
            assert!(has_same_key(server, client), "{what}");
        }
    }

    /// Packets in outline: who, the method's flags where there are some, and how long.
    pub(crate) fn outline(packets: &[Vec<u8>]) -> Vec<String> {
        let name = |packet: &[u8]| match (packet[0], packet.get(4), packet.len()) {
            (3, ..) => "<-- Success".to_owned(),
            (4, ..) => "<-- Failure".to_owned(),
            (code, Some(1), _) => format!("{} Identity", if code == 1 { "<--" } else { "-->" }),
            (code, _, length) => {
                let flags = packet.get(5).copied().unwrap_or_default();
                let marks = ['L', 'M', 'S'];
                let set = marks.iter().enumerate().filter(|(bit, _)| flags & (0x80 >> bit) != 0);
                let set: String = set.map(|(_, mark)| *mark).collect();
                let data = if length <= 6 { "" } else { " data" };
                format!("{} [{set}]{data}", if code == 1 { "<--" } else { "-->" })
            }
        };
        packets.iter().map(|packet| name(packet)).collect()
    }
}

fn has_same_key(one: &Conclusion, other: &Conclusion) -> bool {
    match (&one.msk, &other.msk) {
        (Some(one), Some(other)) => one.is_same(other),
        _ => false,
    }
}

/// Whatever packet an EAP-Success of the same identifier comes in place of, the client believes none before its method
/// has concluded.
pub(crate) fn believes_no_early_success(talk: impl Fn() -> Talk) {
    let whole = talk().go().packets.len();
    for early in (0..whole - 1).step_by(2) {
        let ended = talk().run(|at, packet| {
            if at == early {
                *packet = vec![EapCode::SUCCESS.0, packet[1], 0, 4];
            }
        });
        let why = ended.client.map(drop).unwrap_err();
        assert!(why.starts_with("EAP-Success before") || why.ends_with("is none for us"), "{early}: {why}");
    }
}

/// Changes each packet at a few places: one end may notice nothing, but never do both go on with keys of their own.
pub(crate) fn notices_changes(talk: impl Fn() -> Talk) {
    let whole = talk().go().packets;
    for (nth, packet) in whole.iter().enumerate().skip(2) {
        for at in (5..packet.len()).step_by(packet.len() / 12 + 1) {
            let ended = talk().run(|number, packet| {
                if let Some(octet) = packet.get_mut(at).filter(|_| number == nth) {
                    *octet ^= 0x10;
                }
            });
            ended.assert_not_fooled(&format!("octet {at} of packet {nth}"));
        }
    }
}
