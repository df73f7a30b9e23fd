//! Both ends of an EAP conversation, talked to by somebody who has no password.

use ferry_ike::crypto::{CryptoProvider, Secret};
use ferry_ike::eap::{Client, ClientStep, Method, Passwords, Server, ServerStep};
use ferry_ike::identity::Identity;
use ferry_ike::sim::provider;
use ferry_ike::wire::Eap;

/// The most packets of one conversation; what follows in the octets is not looked at.
const MOST_PACKETS: usize = 32;

/// The longest packet an end may write: EAP's least MTU (RFC 3748 §3.1).
const LONGEST: usize = 1020;

/// One password for everybody.
struct Password(Secret);

impl Passwords for Password {
    fn password(&self, _client: &Identity, _server: &Identity) -> Option<&Secret> {
        Some(&self.0)
    }

    fn nt_hash(&self, _client: &Identity, _server: &Identity) -> Option<&Secret> {
        None
    }
}

/// The first octet says which end is talked to and with which methods; packets follow, each an octet of what its
/// identifier is off by, and two of its length. A zero for the former makes the packet one of the conversation.
///
/// Nobody without the password may make a server succeed, or a client of a method that proves the server.
pub fn eap_packet(data: &[u8]) {
    let Some((&opening, packets)) = data.split_first() else { return };
    let crypto = provider(1);
    let password = Password(Secret::new(b"not to be guessed".get(..16).unwrap_or_default().to_vec()));
    let methods: Vec<Method> = Method::BY_PASSWORD
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| opening >> bit & 1 == 1)
        .map(|(_, m)| m)
        .collect();
    let (gw, alice) = (identity("gw.example.org"), identity("alice"));
    if opening & 0x80 == 0 {
        let mut server = Server::new(gw, alice, &crypto);
        let first =
            if opening & 0x40 == 0 { server.ask_identity() } else { server.offer(methods.clone(), &crypto) };
        talk_to_server(&mut server, first, packets, &methods, &password, &crypto);
    } else {
        talk_to_client(&mut Client::new(alice, Identity::any(), methods), packets, &password, &crypto);
    }
}

fn talk_to_server(
    server: &mut Server,
    mut last: Vec<u8>,
    packets: &[u8],
    methods: &[Method],
    password: &Password,
    crypto: &CryptoProvider,
) {
    for (off, mut packet) in split(packets) {
        assert!(last.len() <= LONGEST && Eap::of(&last).is_ok(), "what the server says is EAP");
        if let (Some(identifier), Some(asked)) = (packet.get_mut(1), last.get(1)) {
            *identifier = asked.wrapping_add(off);
        }
        let Ok(response) = Eap::of(&packet) else { continue };
        match server.handle(&response, password, crypto) {
            ServerStep::Request(packet) => last = packet,
            ServerStep::Identified(_) => last = server.offer(methods.to_vec(), crypto),
            ServerStep::Failed { packet, .. } => {
                assert!(Eap::of(&packet).is_ok());
                return;
            }
            ServerStep::Judge { .. } => unreachable!("there are no certificates"),
            ServerStep::Ignored(why) => assert!(why.len() < 300),
            ServerStep::Succeeded { .. } => unreachable!("nobody knows the password"),
        }
    }
}

fn talk_to_client(client: &mut Client, packets: &[u8], password: &Password, crypto: &CryptoProvider) {
    for (_, packet) in split(packets) {
        let Ok(request) = Eap::of(&packet) else { continue };
        match client.handle(&request, password, crypto) {
            ClientStep::Respond(response) => {
                assert!(
                    response.len() <= LONGEST && Eap::of(&response).is_ok(),
                    "what the client says is EAP"
                );
            }
            ClientStep::Concluded(conclusion) => {
                let is_one_sided = matches!(conclusion.method, Method::Md5 | Method::Gtc);
                assert!(is_one_sided, "{} proves the server", conclusion.method);
                return;
            }
            ClientStep::Failed(why) => {
                assert!(why.len() < 500, "{why}");
                return;
            }
            ClientStep::Judge { .. } => unreachable!("there are no certificates"),
            ClientStep::Ignored(_) => {}
        }
    }
}

/// Packets, each behind an octet and its length. The length in an EAP header is put right, so that more get past it.
pub(crate) fn split(mut octets: &[u8]) -> impl Iterator<Item = (u8, Vec<u8>)> {
    let next = move || {
        let ([off, high, low], rest) = octets.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (packet, rest) = rest.split_at_checked(length)?;
        octets = rest;
        let mut packet = packet.to_vec();
        if let (Ok(length), Some(field)) = (u16::try_from(packet.len()), packet.get_mut(2..4)) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        Some((*off, packet))
    };
    std::iter::from_fn(next).take(MOST_PACKETS)
}

fn identity(text: &str) -> Identity {
    Identity::parse(text).unwrap_or_else(|_| Identity::any())
}
