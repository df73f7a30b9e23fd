//! Section 2.16 again: the peer's EAP is judged by a server elsewhere (RFC 3579).

use ferry_ike::config::EapMethods;
use ferry_ike::eap::Method;
use ferry_ike::identity::Identity;
use ferry_ike::sim::{Account, ActionKind, HostId, Manner, Puppet, Setup, World, client, gateway};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, NotifyType};

use crate::{GATEWAY, OFFER, PUPPET, said, seconds};

const PASSWORD: &str = "sixteen letters!";

const FIRST: &str = "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, SAi2, TSi, TSr}";
const ASKED: &str = "gw --> rw: HDR, SK {IDr, AUTH, EAP}";
const ANSWER: &str = "rw --> gw: HDR, SK {EAP}";
const REQUEST: &str = "gw --> rw: HDR, SK {EAP}";
const AUTH: &str = "rw --> gw: HDR, SK {AUTH}";

fn alice(password: &str) -> Setup {
    client().eap(EapMethods::Any, Some("alice")).password(password, &["alice"])
}

fn relaying(account: Account) -> Setup {
    gateway().peer_eap(EapMethods::Relay, Some("%any")).aaa(account)
}

fn usual() -> Account {
    Account::new(Method::MsChapV2, PASSWORD)
}

fn down(world: &mut World, host: HostId) -> String {
    let told = world.events(host);
    told.into_iter().find(|line| line.contains(" down: ")).unwrap()
}

fn ends_with_nothing(mut world: World) {
    world.run_out(seconds(200));
    world.assert_nothing_left();
}

#[test]
fn every_method_of_the_server_elsewhere_lets_the_client_in() {
    for method in Method::BY_PASSWORD {
        let (mut world, rw, gw) = World::of(alice(PASSWORD), relaying(Account::new(method, PASSWORD)));
        world.connect(rw, gw, "net");
        let sa = world.ike_sa(gw);
        assert_eq!(sa.remote_eap_id.unwrap().to_string(), "alice", "{method}");
        assert_eq!(sa.remote_id.unwrap().to_string(), "rw.example.org");
    }
}

/// strongSwan's eap-radius.forward: what the peer says goes to the server with its next packet, and the other way round.
#[test]
fn radius_attributes_go_along_with_packets() {
    let mut world = World::new(5);
    // Whose server says back what comes along.
    world.add(gateway().peer_eap(EapMethods::Relay, None).aaa(Account::new(Method::Md5, PASSWORD)));
    for (number, seed) in [(0, 1), (8, 2), (20, 3)] {
        let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, seed);
        puppet.open(&mut world);
        let mut payloads = PayloadWriter::new();
        payloads.id_i(&Identity::parse("rw.example.org").unwrap());
        for _ in 0..number {
            payloads.notify(NotifyType::RADIUS_ATTRIBUTE, &[18, 4, b'h', b'i']);
        }
        let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads).unwrap();
        assert_eq!(answer.matches("N(RADIUS_ATTRIBUTE)").count(), number.min(8), "{answer}");
        assert!(answer.starts_with("IDr, AUTH") && answer.ends_with("EAP"), "{answer}");
    }
}

#[test]
fn without_an_identity_round_the_server_elsewhere_is_told_the_ike_identity() {
    let gateway = gateway().peer_eap(EapMethods::Relay, None).aaa(usual());
    let client = client().eap(EapMethods::Any, None).password(PASSWORD, &["rw.example.org"]);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    assert_eq!(world.deliver(), FIRST);
    assert_eq!(world.deliver(), ASKED); // already the server's challenge
    assert_eq!(world.deliver(), ANSWER);
    assert_eq!(world.deliver(), REQUEST);
    assert_eq!(world.deliver(), ANSWER);
    assert_eq!(world.deliver(), REQUEST); // EAP-Success
    assert!(world.host(gw).outside.installed().next().is_none(), "acceptance alone installs nothing");
    assert_eq!(world.deliver(), AUTH);
    world.run();
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(gw).remote_eap_id.unwrap().to_string(), "rw.example.org");
}

/// What the client repeats meanwhile is neither passed on again nor answered before the server has spoken.
#[test]
fn a_late_answer_is_waited_for_and_repetitions_are_not_passed_on() {
    let (mut world, rw, gw) = World::of(alice(PASSWORD), relaying(usual()));
    // Later than two retransmissions of the client (4 s, 11.2 s).
    world.deal(gw, ActionKind::RelayEap, Manner::Late(seconds(6)));
    world.initiate(rw, "net");
    world.run_for(seconds(25));
    world.assert_connected(rw, gw);
    let counters = world.host(gw).endpoint.counters();
    assert_eq!(counters.ike_auth.requests_in, counters.ike_auth.responses_out, "each is answered once");
}

#[test]
fn an_answer_that_never_comes_ends_with_the_half_open_timeout() {
    let (mut world, rw, gw) = World::of(alice(PASSWORD), relaying(usual()));
    world.deal(gw, ActionKind::RelayEap, Manner::Late(seconds(120)));
    world.initiate(rw, "net");
    world.run_for(seconds(31));
    assert!(world.ike_sas(gw).is_empty());
    // It comes when nobody waits for it any more, and does nothing.
    ends_with_nothing(world);
}

#[test]
fn a_server_that_cannot_be_reached_refuses() {
    let (mut world, rw, gw) = World::of(alice(PASSWORD), relaying(usual()));
    world.deal(gw, ActionKind::RelayEap, Manner::Fails);
    world.initiate(rw, "net");
    world.run();
    let why = down(&mut world, gw);
    assert!(why.ends_with("EAP authentication of 'rw.example.org' failed: told to fail"), "{why}");
    assert_eq!(
        down(&mut world, rw),
        "IKE_SA rw down: authentication failed: the server answered EAP-Failure"
    );
    ends_with_nothing(world);
}

#[test]
fn whom_the_server_elsewhere_refuses_does_not_come_in() {
    for method in Method::BY_PASSWORD {
        let account = Account::new(method, PASSWORD);
        let (mut world, rw, gw) = World::of(alice("sixteen letters?"), relaying(account));
        world.initiate(rw, "net");
        world.run();
        assert!(world.ike_sas(gw).is_empty(), "{method}");
        let why = down(&mut world, gw);
        assert!(why.contains("EAP authentication of 'rw.example.org' failed: "), "{why}");
        ends_with_nothing(world);
    }
}

/// A response that was lost is repeated as it was: the server elsewhere is not asked twice.
#[test]
fn a_lost_response_is_sent_again_and_not_asked_for_again() {
    let (mut world, rw, gw) = World::of(alice(PASSWORD), relaying(usual()));
    world.initiate(rw, "net");
    for line in [said::INIT, said::INIT_ANSWER, FIRST, ASKED, ANSWER] {
        assert_eq!(world.deliver(), line);
    }
    drop(world.take()); // the challenge
    world.run_for(seconds(10));
    world.assert_connected(rw, gw);
}

#[test]
fn groups_choose_the_connection_and_keep_others_out() {
    let staff = || {
        let gateway = relaying(Account { groups: &["vpn", "staff"], ..usual() }).peer_groups(&["admins"]);
        gateway.named("admins")
    };
    let (mut world, rw, gw) = World::of(alice(PASSWORD), staff());
    world.initiate(rw, "net");
    world.run();
    let why = down(&mut world, gw);
    assert!(why.ends_with("no connection's groups have 'alice', who is in [vpn, staff]"), "{why}");
    ends_with_nothing(world);

    let two = staff()
        .another("everybody")
        .peer_eap(EapMethods::Relay, Some("%any"))
        .peer_groups(&["guests", "staff"]);
    let (mut world, rw, gw) = World::of(alice(PASSWORD), two);
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(gw).connection.as_deref(), Some("everybody"));
}

/// Clients may stay for ten minutes.
fn limited() -> (World, HostId, HostId) {
    let account = Account { lifetime: Some(seconds(600)), ..usual() };
    let patient = |setup: Setup, over| setup.connection(|connection| connection.over_time = seconds(over));
    // The client would have it a little longer.
    World::of(patient(alice(PASSWORD), 100), patient(relaying(account), 30))
}

/// RFC 4478: the client learns when it must authenticate again, and does.
#[test]
fn a_limited_session_is_authenticated_again_in_time() {
    let (mut world, rw, gw) = limited();
    world.connect(rw, gw, "net");
    let first = world.ike_sa(gw).id;
    world.run_for(seconds(570));
    world.assert_connected(rw, gw);
    assert_ne!(world.ike_sa(gw).id, first);
}

/// Who does not is out, and no rekeying helps.
#[test]
fn a_limited_session_that_is_not_authenticated_again_ends() {
    let (mut world, rw, gw) = limited();
    world.connect(rw, gw, "net");
    let (request, ike_sa) = (world.next_request(), world.ike_sa(gw).id);
    world.command(gw, ferry_ike::Command::RekeyIkeSa { request, ike_sa }).unwrap();
    world.run_for(seconds(60));
    let before = world.events(gw);
    assert!(before.iter().any(|line| line.contains("rekeyed")), "{before:?}");
    // From now on the server knows nobody: what the client tries comes to nothing.
    world.deal(gw, ActionKind::RelayEap, Manner::Fails);
    world.run_for(seconds(535));
    assert_eq!(world.ike_sas(gw).len(), 1, "not before its time");
    world.run_for(seconds(10));
    let told = world.events(gw);
    assert!(told.iter().any(|line| line.contains("CHILD_SA net down: Expired")), "{told:?}");
}

/// RFC 5998 §4: a method that does not prove the server is not enough where nothing else does.
#[test]
fn a_method_that_proves_the_client_alone_is_not_enough_for_both() {
    for (method, is_enough) in [(Method::Psk, true), (Method::MsChapV2, false)] {
        let gateway = relaying(Account::new(method, PASSWORD)).eap(EapMethods::Any, None);
        let client = alice(PASSWORD).peer_eap(EapMethods::Any, None).connection(|connection| {
            // Whoever it is that answers in EAP.
            for auth in &mut connection.local {
                auth.aaa_id = Some(Identity::any());
            }
        });
        let (mut world, rw, gw) = World::of(client, gateway);
        world.initiate(rw, "net");
        world.run();
        assert_eq!(world.ike_sas(gw).len() == 1, is_enough, "{method}");
    }
}

/// RFC 4478 §3: whoever has let the client in may think better of it.
#[test]
fn a_session_is_limited_while_it_lasts_and_the_client_is_told() {
    let patient = |setup: Setup| setup.connection(|connection| connection.over_time = seconds(30));
    let (mut world, rw, gw) = World::of(patient(alice(PASSWORD)), patient(relaying(usual())));
    world.connect(rw, gw, "net");
    let ike_sa = world.ike_sa(gw).id;
    world.command(gw, ferry_ike::Command::LimitSession { ike_sa, lifetime: seconds(300) }).unwrap();
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {N(AUTH_LIFETIME)}");
    world.run();
    world.run_for(seconds(280));
    world.assert_connected(rw, gw);
    assert_ne!(world.ike_sa(gw).id, ike_sa);
    assert_eq!(world.ike_sa(gw).reauthenticates, None, "it was about that session alone");
}
