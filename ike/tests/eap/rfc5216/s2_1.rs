//! §2.1: the conversation, and how it is terminated.

use ferry_ike::eap::Method;

use crate::talk::{Ended, Known, Talk, believes_no_early_success, notices_changes};

fn talk() -> Talk {
    Talk::new(Method::Tls)
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
            "<-- [L] data", // ServerHello .. ServerHelloDone
            "--> [L] data", // Certificate .. Finished
            "<-- [L] data", // ChangeCipherSpec, Finished
            "--> []",
            "<-- Success",
        ]
    );
}

#[test]
fn every_conversation_has_a_key_of_its_own() {
    let (one, other) = (talk().go(), talk().go());
    assert!(!one.server.unwrap().msk.unwrap().is_same(&other.server.unwrap().msk.unwrap()));
}

#[test]
fn a_client_that_is_not_trusted_is_refused_before_our_handshake_is_complete() {
    let mut talk = talk();
    talk.servers_trust = Known(vec![]);
    let ended = talk.go();
    assert_eq!(Ended::outline(&ended.packets[5..]), ["--> [L] data", "<-- Failure"]);
    let (server, client) = ended.failures();
    assert_eq!((server.as_str(), client.as_str()), ("nobody knows it", "the server answered EAP-Failure"));
}

#[test]
fn a_server_that_is_not_trusted_is_answered_no_more() {
    let mut talk = talk();
    talk.clients_trust = Known(vec![]);
    let ended = talk.go();
    assert_eq!(ended.client.map(drop).unwrap_err(), "nobody knows it");
    assert_eq!(ended.packets.len(), 7);
}

#[test]
fn a_client_without_a_certificate_does_not_answer() {
    let mut talk = talk();
    talk.alice = None;
    let ended = talk.go();
    assert_eq!(ended.packets.len(), 3);
    assert_eq!(ended.client.map(drop).unwrap_err(), "there is no certificate of ours for EAP-TLS");
}

#[test]
fn success_counts_only_after_the_handshake() {
    believes_no_early_success(talk);
}

#[test]
fn what_is_changed_on_the_way_is_noticed() {
    notices_changes(talk);
}

#[test]
fn a_client_that_leaves_its_certificate_out_is_refused() {
    // It answers with the acknowledgement before it has proven anything.
    let ended = talk().run(|at, packet| {
        if at == 5 {
            *packet = vec![2, packet[1], 0, 6, 13, 0];
        }
    });
    let (server, _) = ended.failures();
    assert_eq!(server, "the peer says nothing in the middle of the TLS handshake");
}
