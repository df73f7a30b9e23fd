//! §7: TLS, and whom it proves.

use ferry_ike::eap::{Method, TlsVersion};

use crate::talk::{Card, Known, Talk, believes_no_early_success, notices_changes};

fn talk() -> Talk {
    Talk::new(Method::Ttls)
}

#[test]
fn a_server_that_is_not_trusted_learns_no_password() {
    for method in [Method::Ttls, Method::Peap] {
        let mut talk = Talk::new(method).with(|settings| {
            settings.ttls.phase2 = Method::Gtc;
            settings.peap.phase2 = Method::Gtc;
        });
        talk.clients_trust = Known(vec![]);
        let ended = talk.go();
        // Identity, Start, hello, the server's flight, the client's, the end of the server's: nothing inside.
        assert_eq!(ended.packets.len(), 7);
        assert_eq!(ended.client.map(drop).unwrap_err(), "nobody knows it");
    }
}

#[test]
fn success_counts_only_after_what_is_inside() {
    for max in [TlsVersion::V1_2, TlsVersion::V1_3] {
        believes_no_early_success(|| talk().with(|settings| settings.max = max));
    }
}

#[test]
fn what_is_changed_on_the_way_is_noticed() {
    notices_changes(talk);
}

/// §7.3: outside, anybody may say anything.
#[test]
fn who_it_is_is_said_inside() {
    for method in [Method::Ttls, Method::Peap] {
        let packets = Talk::new(method).go().assert_success(method, "alice@example.org");
        // The client has said 'alice' outside. Were it another, what is proven would still be alice.
        let alice = b"alice@example.org";
        let ended = Talk::new(method).run(|at, packet| {
            if at == 1 {
                let at = packet.windows(alice.len()).position(|part| part == alice).unwrap();
                packet[at..at + 5].copy_from_slice(b"boss1");
            }
        });
        ended.assert_success(method, "alice@example.org");
        assert!(packets.len() > 9);
    }
}

#[test]
fn a_server_may_want_a_certificate_besides() {
    for method in [Method::Ttls, Method::Peap] {
        let wanting = |card: Option<Card>| {
            let mut talk = Talk::new(method);
            (talk.server.ttls.asks_certificate, talk.server.peap.asks_certificate) = (true, true);
            if let Some(card) = &card {
                talk.servers_trust.0.push(card.certificate.clone());
            }
            talk.alice = card;
            talk.go()
        };
        wanting(Some(Card::of("alice@example.org", 0))).assert_success(method, "alice@example.org");
        let (server, _) = wanting(None).failures();
        assert_eq!(server, "TLS: peer sent no certificates");
        let (server, _) = wanting(Some(Card::of("boss@example.org", 0))).failures();
        assert_eq!(server, "the certificate \"CN=rcgen self signed cert\" is not for 'alice@example.org'");
    }
}
