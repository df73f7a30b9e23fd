//! Conversations between our own ends, and with ends that do not follow the rules.

use super::*;
use crate::crypto::tests::Seeded;
use crate::wire::Eap;
use crate::wire::registry::EapCode;

/// Passwords by the text of the client's name.
struct Book(Vec<(&'static str, Secret)>, Option<Secret>);

impl Passwords for Book {
    fn password(&self, client: &Identity, _server: &Identity) -> Option<&Secret> {
        self.0.iter().find(|(name, _)| client.to_string() == *name).map(|(_, secret)| secret)
    }

    fn nt_hash(&self, _client: &Identity, _server: &Identity) -> Option<&Secret> {
        self.1.as_ref()
    }
}

fn book(name: &'static str, password: &str) -> Book {
    Book(vec![(name, Secret::new(password.into()))], None)
}

/// Sixteen characters, as EAP-PSK wants them.
const PASSWORD: &str = "sixteen letters!";

fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

struct Talk {
    server: Server,
    client: Client,
    crypto: CryptoProvider,
    servers: Book,
    clients: Book,
    offered: Vec<Method>,
    /// The packet that waits for the client.
    packet: Vec<u8>,
}

/// How a conversation ended.
struct Ended {
    server: Result<Conclusion, String>,
    client: Result<Conclusion, String>,
    /// Packets of both, in order.
    packets: Vec<Vec<u8>>,
}

impl Talk {
    fn new(offered: &[Method], wanted: &[Method]) -> Self {
        let crypto = Seeded::provider(1);
        let mut server = Server::new(id("gw.example.org"), id("rw.example.org"), &crypto);
        let packet = server.ask_identity();
        Self {
            server,
            client: Client::new(id("alice"), id("gw.example.org"), wanted.to_vec()),
            crypto,
            servers: book("alice", PASSWORD),
            clients: book("alice", PASSWORD),
            offered: offered.to_vec(),
            packet,
        }
    }

    fn without_identity(mut self) -> Self {
        self.packet = self.server.offer(self.offered.clone(), &self.crypto);
        self
    }

    fn answer(&mut self) -> ClientStep {
        self.client.handle(&Eap::of(&self.packet).unwrap(), &self.clients, &self.crypto)
    }

    fn judge(&mut self, response: &[u8]) -> ServerStep {
        match self.server.handle(&Eap::of(response).unwrap(), &self.servers, &self.crypto) {
            ServerStep::Identified(identity) => {
                assert_eq!(identity.to_string(), "alice");
                ServerStep::Request(self.server.offer(self.offered.clone(), &self.crypto))
            }
            step => step,
        }
    }

    /// Lets both talk to the end; `tamper` may change what passes.
    fn run(mut self, mut tamper: impl FnMut(usize, &mut Vec<u8>)) -> Ended {
        let mut packets = vec![];
        let mut server = Err("it said nothing".to_owned());
        loop {
            assert!(packets.len() < 40, "it does not end");
            tamper(packets.len(), &mut self.packet);
            packets.push(self.packet.clone());
            let response = match self.answer() {
                ClientStep::Respond(response) => response,
                ClientStep::Concluded(conclusion) => {
                    return Ended { server, client: Ok(conclusion), packets };
                }
                ClientStep::Failed(why) | ClientStep::Ignored(why) => {
                    return Ended { server, client: Err(why), packets };
                }
                ClientStep::Judge { .. } => unreachable!("there are no certificates"),
            };
            let mut response = response.to_vec();
            tamper(packets.len(), &mut response);
            packets.push(response.clone());
            self.packet = match self.judge(&response) {
                ServerStep::Request(packet) => packet,
                ServerStep::Succeeded { packet, conclusion } => {
                    server = Ok(conclusion);
                    packet
                }
                ServerStep::Failed { packet, reason } => {
                    server = Err(reason);
                    packet
                }
                ServerStep::Ignored(why) => {
                    return Ended { server: Err(why), client: Err("it waits".into()), packets };
                }
                ServerStep::Identified(_) => unreachable!("seen to above"),
                ServerStep::Judge { .. } => unreachable!("there are no certificates"),
            };
        }
    }
}

fn reason(result: Result<Conclusion, String>) -> String {
    result.map(drop).unwrap_err()
}

#[test]
fn every_method_succeeds_and_both_ends_have_the_same_key() {
    for (method, packets) in [(Method::Md5, 5), (Method::Gtc, 5), (Method::MsChapV2, 7), (Method::Psk, 7)] {
        let ended = Talk::new(&[method], &Method::ALL).run(|_, _| {});
        let (server, client) = (ended.server.unwrap(), ended.client.unwrap());
        assert_eq!((server.method, client.method, ended.packets.len()), (method, method, packets));
        assert_eq!((server.client.to_string(), client.client.to_string()), ("alice".into(), "alice".into()));
        match (server.msk, client.msk) {
            (Some(one), Some(other)) => {
                assert!(one.ct_eq(other.octets()) && one.len() == 64, "{method}");
                assert!(matches!(method, Method::MsChapV2 | Method::Psk));
            }
            (None, None) => assert!(matches!(method, Method::Md5 | Method::Gtc)),
            _ => panic!("{method}: one end has a key and the other none"),
        }
    }
}

#[test]
fn a_wrong_password_fails_at_both_ends() {
    for method in Method::BY_PASSWORD {
        let mut talk = Talk::new(&[method], &[method]);
        talk.clients = book("alice", "sixteen letters?");
        let ended = talk.run(|_, _| {});
        assert_eq!(
            reason(ended.server),
            match method {
                Method::MsChapV2 => "EAP-MSCHAPv2 verification of 'alice' failed",
                Method::Psk => "EAP-PSK verification of 'alice' failed",
                Method::Md5 => "EAP-MD5 verification of 'alice' failed",
                Method::Gtc => "EAP-GTC verification of 'alice' failed",
                _ => unreachable!("not by password"),
            }
        );
        let why = reason(ended.client);
        if method == Method::MsChapV2 {
            assert!(why.starts_with("EAP-MSCHAPv2 failed, the server says 'E=691 R=0 C="), "{why}");
        } else {
            assert_eq!(why, "the server answered EAP-Failure");
        }
        assert_eq!(ended.packets.last().unwrap()[0], EapCode::FAILURE.0);
    }
}

#[test]
fn a_client_that_nobody_knows_learns_no_more_than_one_with_a_wrong_password() {
    for method in Method::BY_PASSWORD {
        let mut talk = Talk::new(&[method], &[method]);
        talk.servers = book("bob", PASSWORD);
        let mut unknown = talk.run(|_, _| {});
        let why = std::mem::replace(&mut unknown.server, Err(String::new()));
        assert_eq!(
            reason(why),
            "no EAP key found for 'alice'".to_owned()
                + match method {
                    Method::Psk => " - 'gw.example.org'",
                    _ => "",
                }
        );
        let mut talk = Talk::new(&[method], &[method]);
        talk.clients = book("alice", "sixteen letters?");
        let wrong = talk.run(|_, _| {});
        let shapes =
            |ended: &Ended| ended.packets.iter().map(|packet| (packet[0], packet.len())).collect::<Vec<_>>();
        assert_eq!(shapes(&unknown), shapes(&wrong), "{method}");
    }
}

#[test]
fn a_client_without_a_password_does_not_answer() {
    for method in Method::BY_PASSWORD {
        let mut talk = Talk::new(&[method], &[method]);
        talk.clients = Book(vec![], None);
        let ended = talk.run(|_, _| {});
        assert_eq!(reason(ended.client), "no EAP key found for 'alice' - 'gw.example.org'");
        assert_eq!(ended.packets.len(), 3);
    }
}

#[test]
fn an_nt_hash_serves_as_a_password_for_mschapv2_alone() {
    for method in Method::BY_PASSWORD {
        let mut talk = Talk::new(&[method], &[method]);
        // Of "clientPass", RFC 2759 §9.2.
        let hash = crate::crypto::tests::hex("44EBBA8D5312B8D611474411F56989AE");
        talk.servers = Book(vec![], Some(Secret::new(hash)));
        talk.clients = book("alice", if method == Method::MsChapV2 { "clientPass" } else { PASSWORD });
        assert_eq!(talk.run(|_, _| {}).server.is_ok(), method == Method::MsChapV2);
    }
}

#[test]
fn methods_are_negotiated_in_the_servers_order() {
    use Method::{Gtc, Md5, MsChapV2, Psk};
    for (offered, wanted, taken) in [
        (&[Psk, MsChapV2, Md5][..], &[Md5, MsChapV2][..], Some(MsChapV2)),
        (&[Psk, Md5], &[Md5, MsChapV2, Gtc], Some(Md5)),
        (&[Gtc], &[Gtc], Some(Gtc)),
        (&[Psk, Gtc], &[Md5], None),
        (&[Md5], &[], None),
        (&[], &[Md5], None),
    ] {
        let ended = Talk::new(offered, wanted).run(|_, _| {});
        match taken {
            Some(taken) => assert_eq!(ended.server.unwrap().method, taken),
            None => {
                assert!(ended.server.is_err());
                assert_eq!(reason(ended.client), "the server answered EAP-Failure");
            }
        }
    }
    let mut talk = Talk::new(&[Psk, MsChapV2, Md5], &[Md5, MsChapV2]);
    talk.server.follow_client(true);
    assert_eq!(talk.run(|_, _| {}).server.unwrap().method, Md5, "in the client's");
    let ended = Talk::new(&[Psk], &[Md5, MsChapV2]).run(|_, _| {});
    assert_eq!(reason(ended.server), "the client does not want EAP_PSK, but EAP_MD5, EAP_MSCHAPV2");
    let ended = Talk::new(&[Psk], &[]).run(|_, _| {});
    assert_eq!(reason(ended.server), "the client does not want EAP_PSK, but nothing else");
}

#[test]
fn without_an_identity_the_name_in_the_method_is_what_was_proven() {
    for method in Method::BY_PASSWORD {
        let mut talk = Talk::new(&[method], &[method]).without_identity();
        talk.servers.0.push(("rw.example.org", Secret::new(PASSWORD.into())));
        let proven = talk.run(|_, _| {}).server.unwrap().client.to_string();
        assert_eq!(
            proven,
            match method {
                Method::MsChapV2 | Method::Psk => "alice",
                _ => "rw.example.org",
            }
        );
    }
}

#[test]
fn a_method_for_another_user_than_the_identity_is_refused() {
    for (method, why) in [
        (Method::MsChapV2, "EAP-MSCHAPv2 is for 'alice', the EAP identity is 'boss'"),
        (Method::Psk, "EAP-PSK is for 'alice', the EAP identity is 'boss'"),
    ] {
        let crypto = Seeded::provider(1);
        let mut talk = Talk::new(&[method], &[method]);
        let asked = talk.server.ask_identity();
        let boss = Client::new(id("boss"), Identity::any(), vec![]).handle(
            &Eap::of(&asked).unwrap(),
            &talk.clients,
            &crypto,
        );
        let ClientStep::Respond(boss) = boss else { panic!("no identity") };
        talk.server.handle(&Eap::of(&boss).unwrap(), &talk.servers, &crypto);
        let ended = talk.without_identity().run(|_, _| {});
        assert_eq!(reason(ended.server), why);
    }
}

#[test]
fn success_counts_only_after_the_method() {
    // In place of the server's n-th packet comes EAP-Success: of the four requests, and of none after the last.
    for method in Method::BY_PASSWORD {
        let whole = Talk::new(&[method], &[method]).run(|_, _| {}).packets.len();
        for early in (0..whole - 1).step_by(2) {
            let ended = Talk::new(&[method], &[method]).run(|at, packet| {
                if at == early {
                    *packet = vec![EapCode::SUCCESS.0, packet[1], 0, 4];
                }
            });
            let why = reason(ended.client);
            let is_said = why.starts_with("EAP-Success before") || why.ends_with("is none for us");
            assert!(is_said, "{method}: {why}");
        }
    }
}

/// The class of CVE-2025-62291: a failure of EAP-MSCHAPv2 that ends within its header made others count below zero.
#[test]
fn cve_class_mschapv2_failure_request_too_short() {
    for length in 0..12_u8 {
        let ended = Talk::new(&[Method::MsChapV2], &[Method::MsChapV2]).run(|at, packet| {
            if at == 4 {
                // In place of what the server says of the answer.
                let data = [4, 1, 0, length, b'E', b'=', b'6', b'9', b'1', b' ', b'R', b'='];
                let data = data.get(..usize::from(length)).unwrap();
                *packet = super::packet::with_data(EapCode::REQUEST, packet[1], EapType::MSCHAPV2, data);
            }
        });
        let why = reason(ended.client);
        assert!(why.contains("EAP-MSCHAPv2"), "{length}: {why}");
    }
}

#[test]
fn a_success_with_a_strange_identifier_is_ignored() {
    for (step, is_taken) in [(0_u8, true), (1, true), (2, false), (255, false)] {
        let ended = Talk::new(&[Method::Md5], &[Method::Md5]).run(|_, packet| {
            if packet[0] == EapCode::SUCCESS.0 {
                packet[1] = packet[1].wrapping_add(step);
            }
        });
        assert_eq!(ended.client.is_ok(), is_taken, "{step}");
    }
}

#[test]
fn a_success_after_a_failure_is_none() {
    let mut talk = Talk::new(&[Method::MsChapV2], &[Method::MsChapV2]);
    talk.clients = book("alice", "wrong");
    let ended = talk.run(|_, packet| {
        if packet[0] == EapCode::FAILURE.0 {
            packet[0] = EapCode::SUCCESS.0;
        }
    });
    let why = reason(ended.client);
    assert!(why.starts_with("EAP-Success after a failure: EAP-MSCHAPv2 failed"), "{why}");
}

#[test]
fn a_repeated_request_gets_the_same_response() {
    for method in Method::BY_PASSWORD {
        let mut talk = Talk::new(&[method], &[method]);
        loop {
            let ClientStep::Respond(first) = talk.answer() else { break };
            let ClientStep::Respond(second) = talk.answer() else {
                panic!("{method}: a repetition is no end")
            };
            assert!(*first == *second, "{method}");
            match talk.judge(&first) {
                ServerStep::Request(packet) | ServerStep::Succeeded { packet, .. } => talk.packet = packet,
                _ => panic!("{method} fails"),
            }
            // What was answered once is out of turn for the server, whatever it says.
            assert!(matches!(talk.judge(&first), ServerStep::Ignored(_)), "{method}");
        }
    }
}

#[test]
fn every_changed_octet_of_a_proof_is_noticed() {
    // Headers of EAP and lengths are others' to check; what counts is that no change makes both ends succeed with
    // keys of their own.
    for method in [Method::MsChapV2, Method::Psk] {
        let whole = Talk::new(&[method], &[method]).run(|_, _| {}).packets;
        for (nth, packet) in whole.iter().enumerate().skip(2) {
            for at in 5..packet.len() {
                let ended = Talk::new(&[method], &[method]).run(|number, packet| {
                    if number == nth {
                        packet[at] ^= 0x40;
                    }
                });
                if let (Ok(server), Ok(client)) = (ended.server, ended.client) {
                    let (one, other) = (server.msk.unwrap(), client.msk.unwrap());
                    assert!(one.ct_eq(other.octets()), "{method}: octet {at} of packet {nth}");
                }
            }
        }
    }
}

#[test]
fn a_server_of_another_name_is_not_believed_by_psk() {
    let mut talk = Talk::new(&[Method::Psk], &[Method::Psk]);
    talk.client = Client::new(id("alice"), id("*.example.com"), vec![Method::Psk]);
    let why = reason(talk.run(|_, _| {}).client);
    assert_eq!(why, "the EAP-PSK server is 'gw.example.org', expected '*.example.com'");
}

#[test]
fn a_psk_of_another_length_is_named() {
    let mut talk = Talk::new(&[Method::Psk], &[Method::Psk]);
    talk.clients = book("alice", "short");
    let why = reason(talk.run(|_, _| {}).client);
    assert_eq!(why, "EAP-PSK needs a secret of 16 octets, such as 0x and 32 digits; that of 'alice' has 5");
}

#[test]
fn notifications_are_answered_and_change_nothing() {
    let mut talk = Talk::new(&[Method::MsChapV2], &[Method::MsChapV2]);
    let request = talk.packet.clone();
    talk.packet = packet::with_data(EapCode::REQUEST, 9, EapType::NOTIFICATION, b"hello\x1b[31m");
    let ClientStep::Respond(response) = talk.answer() else { panic!("not answered") };
    assert_eq!(*response, [2, 9, 0, 5, 2]);
    talk.packet = request;
    assert!(talk.run(|_, _| {}).client.is_ok());
}

#[test]
fn what_is_no_name_is_no_identity() {
    for name in [&b""[..], b"*", b"%any", b"\xff", &[b'a'; 254]] {
        let mut talk = Talk::new(&[Method::Md5], &[Method::Md5]);
        let identifier = talk.packet[1];
        let response = packet::with_data(EapCode::RESPONSE, identifier, EapType::IDENTITY, name);
        let step = talk.server.handle(&Eap::of(&response).unwrap(), &talk.servers, &talk.crypto);
        assert!(matches!(step, ServerStep::Failed { .. }));
    }
}

#[test]
fn an_expanded_type_is_refused_as_any_other() {
    let mut talk = Talk::new(&[Method::Psk], &[Method::Psk]);
    talk.packet = packet::with_data(EapCode::REQUEST, 3, EapType::EXPANDED, &[0; 8]);
    let ClientStep::Respond(response) = talk.answer() else { panic!("not answered") };
    assert_eq!(*response, [2, 3, 0, 6, EapType::NAK.0, EapType::PSK.0]);
}
