//! §2.1: the conversation.

use ferry_ike::eap::{Method, TlsVersion};

use crate::talk::{Ended, Known, Talk, notices_changes};

fn talk() -> Talk {
    Talk::new(Method::Tls).with(|settings| settings.max = TlsVersion::V1_3)
}

#[test]
fn both_ends_prove_themselves_and_have_one_key() {
    let packets = talk().go().assert_success(Method::Tls, "alice@example.org");
    assert_eq!(
        Ended::outline(&packets),
        [
            "<-- Identity",
            "--> Identity",
            "<-- [S]",
            "--> [L] data", // ClientHello
            "<-- [L] data", // ServerHello .. Finished
            "--> [L] data", // Certificate .. Finished
            "<-- [L] data", // application data 0x00
            "--> []",
            "<-- Success",
        ]
    );
    // A record: header, the octet and its type, and the tag.
    assert_eq!(packets[6].len(), 5 + 1 + 4 + 5 + 2 + 16);
}

#[test]
fn the_highest_version_that_both_have_is_taken() {
    use TlsVersion::{V1_2, V1_3};
    for (server, client, is_1_3) in [
        ((V1_2, V1_3), (V1_2, V1_2), Some(false)),
        ((V1_2, V1_2), (V1_2, V1_3), Some(false)),
        ((V1_2, V1_3), (V1_3, V1_3), Some(true)),
        ((V1_3, V1_3), (V1_2, V1_2), None),
        ((V1_2, V1_2), (V1_3, V1_3), None),
    ] {
        let mut talk = talk();
        (talk.server.min, talk.server.max) = server;
        (talk.client.min, talk.client.max) = client;
        let ended = talk.go();
        match is_1_3 {
            Some(is_1_3) => {
                let packets = ended.assert_success(Method::Tls, "alice@example.org");
                // The server's last flight: a commitment of one record, or two records.
                assert_eq!(packets[6].len() == 33, is_1_3);
            }
            None => {
                ended.failures();
            }
        }
    }
}

#[test]
fn a_client_that_is_not_trusted_learns_it_after_its_handshake() {
    let mut talk = talk();
    talk.servers_trust = Known(vec![]);
    let (server, client) = talk.go().failures();
    assert_eq!((server.as_str(), client.as_str()), ("nobody knows it", "the server answered EAP-Failure"));
}

#[test]
fn a_server_that_is_not_trusted_does_not_learn_who_we_are() {
    let mut talk = talk();
    talk.clients_trust = Known(vec![]);
    let ended = talk.go();
    assert_eq!(ended.client.map(drop).unwrap_err(), "nobody knows it");
    assert_eq!(ended.packets.len(), 5);
}

#[test]
fn what_is_changed_on_the_way_is_noticed() {
    notices_changes(talk);
}
