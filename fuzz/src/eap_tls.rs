//! Methods of EAP with TLS, talked to by somebody who has no certificate; and what is inside of their tunnels, as if it
//! had come through.

use std::sync::{Arc, OnceLock};

use ferry_ike::crypto::signature::PrivateKey;
use ferry_ike::crypto::{CryptoProvider, Secret};
use ferry_ike::eap::{
    Client, ClientStep, Method, OwnCertificate, Packets, Passwords, Server, ServerStep, Tls, TlsSettings,
    TlsVersion, inside,
};
use ferry_ike::identity::Identity;
use ferry_ike::pki::Certificate;
use ferry_ike::sim::provider;
use ferry_ike::wire::Eap;

use crate::eap::split;

/// A certificate of `gw.example.org` and its key in PKCS#8: what a server shows to anybody.
const CERTIFICATE: &[u8] = include_bytes!("eap_tls/certificate.der");
const KEY: &[u8] = include_bytes!("eap_tls/key.der");

/// The most octets of a packet here.
const SIZE: usize = 256;

/// Nobody has a password.
struct Nobody;

impl Passwords for Nobody {
    fn password(&self, _client: &Identity, _server: &Identity) -> Option<&Secret> {
        None
    }

    fn nt_hash(&self, _client: &Identity, _server: &Identity) -> Option<&Secret> {
        None
    }
}

/// The first octet says which end is talked to, by which method, and with TLS 1.3 or without; packets follow as in
/// `eap_packet`. Nobody without a certificate may make an end succeed.
pub fn eap_tls(data: &[u8]) {
    let Some((&opening, packets)) = data.split_first() else { return };
    let methods = [Method::Tls, Method::Ttls, Method::Peap, Method::Tls];
    let Some(method) = methods.get(usize::from(opening & 3)).copied() else { return };
    let packets_of = Packets { size: SIZE, most: 16, include_length: opening & 8 != 0 };
    let max = if opening & 4 == 0 { TlsVersion::V1_2 } else { TlsVersion::V1_3 };
    let mut settings = TlsSettings { max, tls: packets_of, ..TlsSettings::default() };
    settings.ttls.packets = packets_of;
    settings.peap.packets = packets_of;
    let Some(own) = own() else { return };
    let tls = Tls { settings: Arc::new(settings), own: Some(own), authorities: vec![], server: name() };
    let crypto = provider(1);
    if opening & 0x80 == 0 {
        let mut server = Server::new(name(), Identity::any(), &crypto);
        server.set_tls(Some(Arc::new(tls)));
        talk_to_server(&mut server, method, packets, &crypto);
    } else {
        let mut client = Client::new(name(), name(), vec![method]).with_tls(Some(Arc::new(tls)));
        talk_to_client(&mut client, packets, &crypto);
    }
}

fn talk_to_server(server: &mut Server, method: Method, packets: &[u8], crypto: &CryptoProvider) {
    let mut last = server.offer(vec![method], crypto);
    for (off, mut packet) in split(packets) {
        assert!(last.len() <= SIZE && Eap::of(&last).is_ok(), "what the server says is EAP");
        if let (Some(identifier), Some(asked)) = (packet.get_mut(1), last.get(1)) {
            *identifier = asked.wrapping_add(off);
        }
        let Ok(response) = Eap::of(&packet) else { continue };
        match server.handle(&response, &Nobody, crypto) {
            ServerStep::Request(packet) => last = packet,
            // Somebody with a certificate may have come that far; whether it is believed is not ours to say.
            ServerStep::Failed { .. } | ServerStep::Judge { .. } => return,
            ServerStep::Ignored(_) => {}
            ServerStep::Identified(_) | ServerStep::Succeeded { .. } => {
                unreachable!("nobody has a certificate or a password")
            }
        }
    }
}

fn talk_to_client(client: &mut Client, packets: &[u8], crypto: &CryptoProvider) {
    for (_, packet) in split(packets) {
        let Ok(request) = Eap::of(&packet) else { continue };
        match client.handle(&request, &Nobody, crypto) {
            ClientStep::Respond(response) => {
                assert!(response.len() <= SIZE && Eap::of(&response).is_ok(), "what the client says is EAP");
            }
            ClientStep::Concluded(_) => unreachable!("no server is believed"),
            ClientStep::Failed(_) | ClientStep::Judge { .. } => return,
            ClientStep::Ignored(_) => {}
        }
    }
}

/// What comes through the tunnels of TTLS and PEAP.
///
/// What is found in it is in it: a packet of EAP where TTLS has one.
pub fn eap_inside(data: &[u8]) {
    if let Ok(Some(packet)) = inside::find_eap_message(data) {
        assert!(packet.len() + 8 <= data.len(), "a packet is shorter than its AVP");
        let is_part = packet.is_empty() || data.windows(packet.len()).any(|part| part == packet);
        assert!(is_part, "a packet is part of what came");
    }
    assert!(data.len() >= 11 || !inside::is_peap_success(data), "success is not said in less");
}

fn own() -> Option<Arc<OwnCertificate>> {
    static OWN: OnceLock<Option<Arc<OwnCertificate>>> = OnceLock::new();
    let read = || {
        let (certificate, key) = (Certificate::from_der(CERTIFICATE).ok()?, PrivateKey::from_der(KEY).ok()?);
        Some(Arc::new(OwnCertificate::new([&certificate], Arc::new(key))))
    };
    let own = OWN.get_or_init(read).clone();
    assert!(own.is_some(), "the certificate and its key can be read");
    own
}

fn name() -> Identity {
    Identity::parse("gw.example.org").unwrap_or_else(|_| Identity::any())
}
