//! Peers that make rounds of authentication what they are not for.

use std::net::{IpAddr, Ipv4Addr};

use ferry_ike::sim::{HostId, PSK, Puppet, Setup, World, client, gateway};
use ferry_ike::wire::registry::{ExchangeType, NotifyType};
use ferry_ike::wire::{PayloadWriter, decode_payloads};

use crate::{MD5, PASSWORD, by_eap, down, id};

const PUPPET: &str = "198.51.100.66:500";
const GATEWAY: &str = "192.0.2.1:500";
const GATEWAY_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OFFER: &str = "aes128gcm16-prfsha256-x25519";

/// A gateway that wants two rounds by pre-shared key, and a puppet that knows the key and has had IKE_SA_INIT.
fn stage(gateway: Setup) -> (World, HostId, Puppet) {
    let mut world = World::new(3);
    let gw = world.add(gateway);
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.open(&mut world);
    (world, gw, puppet)
}

fn two_rounds() -> Setup {
    gateway().another_peer_round(|_| {})
}

fn another_follows(payloads: &mut PayloadWriter) {
    payloads.notify(NotifyType::ANOTHER_AUTH_FOLLOWS, &[]);
}

/// `IDi, AUTH, N(MULTIPLE_AUTH_SUPPORTED), N(ANOTHER_AUTH_FOLLOWS), SAi2, TSi, TSr`.
fn first_round(puppet: &Puppet) -> PayloadWriter {
    let mut payloads = puppet.auth("rw.example.org", PSK);
    payloads.notify(NotifyType::MULTIPLE_AUTH_SUPPORTED, &[]);
    another_follows(&mut payloads);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.66", "10.1.0.0/16");
    payloads
}

/// A puppet that has had its first round.
fn after_first(gateway: Setup) -> (World, HostId, Puppet) {
    let (mut world, gw, mut puppet) = stage(gateway);
    let first = first_round(&puppet);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &first);
    assert_eq!(answer.as_deref(), Some("IDr, AUTH"));
    (world, gw, puppet)
}

fn is_over(mut world: World, gw: HostId) {
    assert!(world.ike_sas(gw).is_empty());
    assert!(world.host(gw).outside.installed().next().is_none());
    world.run_out(std::time::Duration::from_secs(100));
    world.assert_nothing_left();
}

#[test]
fn another_auth_follows_without_support() {
    let (mut world, gw, mut puppet) = stage(two_rounds());
    let mut payloads = puppet.auth("rw.example.org", PSK);
    another_follows(&mut payloads);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
    assert!(down(&mut world, gw).contains("without MULTIPLE_AUTH_SUPPORTED of both ends"));
    is_over(world, gw);
    // The gateway has not said that it knows of rounds.
    let (mut world, gw, mut puppet) = stage(gateway());
    let first = first_round(&puppet);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &first);
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
    is_over(world, gw);
}

#[test]
fn rounds_never_ending() {
    let (mut world, gw, mut puppet) = after_first(two_rounds());
    let mut second = puppet.auth("rw.example.org", PSK);
    another_follows(&mut second);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &second);
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
    assert!(down(&mut world, gw).contains("it asks for 2 rounds of authentication, and the peer has had 2"));
    is_over(world, gw);
    // Nor does one that never begins.
    let (mut world, gw, _) = after_first(two_rounds());
    world.run_for(std::time::Duration::from_secs(31));
    is_over(world, gw);
}

#[test]
fn a_round_skipped() {
    // It has shown one set of credentials, and behaves as if that were all.
    let skips: [&dyn Fn(&mut PayloadWriter); 4] = [
        &|_| {},
        &|payloads| Puppet::child(payloads, "aes128gcm16", Puppet::SPI, "198.51.100.66", "10.1.0.0/16"),
        &|payloads| {
            payloads.eap(&[3, 1, 0, 4]);
        },
        &|payloads| {
            payloads.notify(NotifyType::INITIAL_CONTACT, &[]);
        },
    ];
    for skip in skips {
        let (mut world, gw, mut puppet) = after_first(two_rounds());
        let mut payloads = PayloadWriter::new();
        skip(&mut payloads);
        let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(answer.as_deref(), Some("N(INVALID_SYNTAX)"));
        is_over(world, gw);
    }
    // Other exchanges are not heard before it is in.
    let (mut world, gw, mut puppet) = after_first(two_rounds());
    let mut payloads = PayloadWriter::new();
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.66", "10.1.0.0/16");
    payloads.nonce(&[7; 32]);
    assert_eq!(puppet.ask(&mut world, ExchangeType::CREATE_CHILD_SA, &payloads), None);
    assert!(world.host(gw).outside.installed().next().is_none());
    world.run_for(std::time::Duration::from_secs(31));
    is_over(world, gw);
    // It announces none where two are asked for.
    let (mut world, gw, mut puppet) = stage(two_rounds());
    let mut payloads = puppet.auth("rw.example.org", PSK);
    payloads.notify(NotifyType::MULTIPLE_AUTH_SUPPORTED, &[]);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
    is_over(world, gw);
}

#[test]
fn an_auth_of_the_first_round_proves_nothing_in_the_second() {
    let (mut world, gw, mut puppet) = after_first(two_rounds());
    // AUTH covers the identity of its round.
    let first = puppet.auth("rw.example.org", PSK);
    let first = decode_payloads(first.first(), first.octets()).unwrap();
    let auth = first.auth().unwrap();
    let mut second = PayloadWriter::new();
    second.id_i(&id("boss.example.org")).auth(auth.method, auth.data);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &second);
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
    assert!(down(&mut world, gw).contains("MAC mismatched"));
    is_over(world, gw);
}

#[test]
fn a_second_round_by_eap_is_not_done_by_claiming_success() {
    let gateway = || gateway().another_peer_round(by_eap(MD5)).password(PASSWORD, &["alice"]);
    let (mut world, gw, mut puppet) = after_first(gateway());
    let mut second = PayloadWriter::new();
    second.id_i(&id("alice"));
    assert_eq!(puppet.ask(&mut world, ExchangeType::IKE_AUTH, &second).as_deref(), Some("EAP"));
    // AUTH with the key of the first round, before EAP has come to anything.
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &puppet.auth("alice", PSK));
    assert_eq!(answer.as_deref(), Some("N(INVALID_SYNTAX)"));
    is_over(world, gw);
    // The same key in place of EAP.
    let (mut world, gw, mut puppet) = after_first(gateway());
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &puppet.auth("alice", PSK));
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
    assert!(down(&mut world, gw).contains("round 2 is not done by pre-shared key"));
    is_over(world, gw);
}

#[test]
fn a_peer_that_leaves_between_two_rounds() {
    let (mut world, gw, mut puppet) = after_first(two_rounds());
    let mut payloads = PayloadWriter::new();
    payloads.delete_ike();
    assert_eq!(puppet.ask(&mut world, ExchangeType::INFORMATIONAL, &payloads).as_deref(), Some(""));
    is_over(world, gw);
}

#[test]
fn more_after_the_last_round() {
    // The gateway has a second round, and waits for an empty request.
    let gateway = || gateway().another_round(|_| {});
    let after = || {
        let (mut world, gw, mut puppet) = stage(gateway());
        let mut payloads = puppet.auth("rw.example.org", PSK);
        payloads.notify(NotifyType::MULTIPLE_AUTH_SUPPORTED, &[]);
        let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(answer.as_deref(), Some("IDr, AUTH, N(ANOTHER_AUTH_FOLLOWS)"));
        (world, gw, puppet)
    };
    let (mut world, gw, mut puppet) = after();
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &puppet.auth("boss.example.org", PSK));
    assert_eq!(answer.as_deref(), Some("N(INVALID_SYNTAX)"));
    is_over(world, gw);
    let (mut world, gw, mut puppet) = after();
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &PayloadWriter::new());
    assert_eq!(answer.as_deref(), Some("IDr, AUTH"));
    assert_eq!(world.ike_sa(gw).remote_id.unwrap().to_string(), "rw.example.org");
}

/// A puppet as gateway, which has this to say in IKE_SA_INIT; the client's first IKE_AUTH request is in the mail.
fn impostor(client: Setup, knows_rounds: bool) -> (World, HostId, Puppet) {
    let (mut world, rw, _) = World::of(client, gateway().at("192.0.2.2"));
    world.keep_mail(GATEWAY_IP);
    let mut puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 1);
    world.initiate(rw, "net");
    world.run();
    let request = world.mail(GATEWAY_IP).unwrap();
    let answer = puppet.init_response(&request, |payloads| {
        if knows_rounds {
            payloads.notify(NotifyType::MULTIPLE_AUTH_SUPPORTED, &[]);
        }
    });
    world.inject(answer);
    world.run();
    world.mail(GATEWAY_IP).unwrap();
    (world, rw, puppet)
}

fn says(world: &mut World, puppet: &mut Puppet, message_id: u32, payloads: &PayloadWriter) -> Option<String> {
    let answer = puppet.seal(ExchangeType::IKE_AUTH, message_id, true, payloads);
    world.inject(answer);
    world.run();
    let told = world.mail(GATEWAY_IP)?;
    puppet.read(&told)
}

#[test]
fn a_gateway_whose_rounds_never_end() {
    let client = || client().another_peer_round(|_| {});
    let (mut world, rw, mut puppet) = impostor(client(), true);
    let mut payloads = puppet.auth("gw.example.org", PSK);
    another_follows(&mut payloads);
    assert_eq!(says(&mut world, &mut puppet, 1, &payloads).as_deref(), Some(""));
    let told = says(&mut world, &mut puppet, 2, &payloads);
    assert_eq!(told.as_deref(), Some("N(AUTHENTICATION_FAILED), D"));
    assert!(down(&mut world, rw).ends_with("it announces another round after 2, which are all"));
    // One that has not said that it knows of rounds has none to announce.
    let (mut world, rw, mut puppet) = impostor(client(), false);
    let mut payloads = puppet.auth("gw.example.org", PSK);
    another_follows(&mut payloads);
    let told = says(&mut world, &mut puppet, 1, &payloads);
    assert_eq!(told.as_deref(), Some("N(AUTHENTICATION_FAILED), D"));
    assert!(down(&mut world, rw).ends_with("without MULTIPLE_AUTH_SUPPORTED of both ends"));
}

#[test]
fn a_gateway_that_skips_its_second_round() {
    let (mut world, rw, mut puppet) = impostor(client().another_peer_round(|_| {}), true);
    let mut payloads = puppet.auth("gw.example.org", PSK);
    another_follows(&mut payloads);
    assert_eq!(says(&mut world, &mut puppet, 1, &payloads).as_deref(), Some(""));
    let mut payloads = PayloadWriter::new();
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.7", "10.1.0.0/16");
    assert_eq!(says(&mut world, &mut puppet, 2, &payloads).as_deref(), Some("N(INVALID_SYNTAX), D"));
    assert!(down(&mut world, rw).ends_with("its IKE_AUTH response lacks IDr or AUTH"));
    assert!(world.host(rw).outside.installed().next().is_none());
}

#[test]
fn a_gateway_that_refuses_the_second_round() {
    for kind in [NotifyType::AUTHENTICATION_FAILED, NotifyType::NO_PROPOSAL_CHOSEN] {
        let (mut world, rw, mut puppet) = impostor(client().another_round(|_| {}), true);
        let payloads = puppet.auth("gw.example.org", PSK);
        assert_eq!(says(&mut world, &mut puppet, 1, &payloads).as_deref(), Some("IDi, AUTH"));
        let mut payloads = PayloadWriter::new();
        payloads.notify(kind, &[]);
        says(&mut world, &mut puppet, 2, &payloads);
        let stands = world.ike_sas(rw).len() == 1;
        // Without AUTH of its own, the last response may say that there is no CHILD_SA, and the IKE SA stands.
        assert_eq!(stands, kind == NotifyType::NO_PROPOSAL_CHOSEN, "{kind}");
    }
}
