//! §11.2: EAP inside.

use ferry_ike::crypto::Secret;
use ferry_ike::eap::{Method, TlsVersion};

use crate::talk::{Password, Talk};

fn talk(inside: Method) -> Talk {
    Talk::new(Method::Ttls).with(|settings| settings.ttls.phase2 = inside)
}

#[test]
fn every_method_works_inside() {
    for max in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for piggyback in [false, true] {
            for method in Method::BY_PASSWORD {
                let talk = talk(method).with(|settings| {
                    settings.max = max;
                    settings.ttls.piggyback = piggyback;
                });
                talk.go().assert_success(Method::Ttls, "alice@example.org");
            }
        }
    }
}

#[test]
fn a_certificate_works_inside() {
    let mut talk = talk(Method::Tls);
    talk.alice = Talk::new(Method::Tls).alice;
    let card = talk.alice.as_ref().unwrap();
    talk.servers_trust.0.push(card.certificate.clone());
    talk.go().assert_success(Method::Ttls, "alice@example.org");
}

#[test]
fn a_wrong_password_fails_at_both_ends() {
    for method in Method::BY_PASSWORD {
        let mut talk = talk(method);
        talk.clients_password = Password("alice@example.org", Secret::new(b"sixteen letters?".to_vec()));
        let ended = talk.go();
        let (server, client) = ended.failures();
        assert!(server.ends_with("verification of 'alice@example.org' failed"), "{server}");
        assert_eq!(client, "the server answered EAP-Failure");
    }
}

#[test]
fn a_tunnel_inside_a_tunnel_is_not_offered() {
    let mut talk = talk(Method::Md5);
    talk.server.ttls.phase2 = Method::Peap;
    let (server, _) = talk.go().failures();
    assert_eq!(server, "the client does not want EAP_PEAP, but EAP_PSK, EAP_MSCHAPV2, EAP_MD5, EAP_GTC");
}
