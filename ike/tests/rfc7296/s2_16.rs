//! Section 2.16, Extensible Authentication Protocol Methods.

use ferry_ike::config::{DynamicEap, EapMethods};
use ferry_ike::eap::Method;
use ferry_ike::identity::Identity;
use ferry_ike::sim::{HostId, PSK, Puppet, Setup, World, client, gateway};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{AuthMethod, ExchangeType};

use crate::{GATEWAY, GATEWAY_IP, OFFER, PUPPET, said, seconds};

/// As long as EAP-PSK wants it.
const PASSWORD: &str = "sixteen letters!";

const FIRST: &str = "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, SAi2, TSi, TSr}";
const ASKED: &str = "gw --> rw: HDR, SK {IDr, AUTH, EAP}";
const ANSWER: &str = "rw --> gw: HDR, SK {EAP}";
const REQUEST: &str = "gw --> rw: HDR, SK {EAP}";
const AUTH: &str = "rw --> gw: HDR, SK {AUTH}";
const DONE: &str = "gw --> rw: HDR, SK {AUTH, SAr2, TSi, TSr}";

fn one(method: Method) -> EapMethods {
    EapMethods::One(method)
}

/// A client that has this password, and the gateway's pre-shared key.
fn alice(methods: EapMethods, password: &str) -> Setup {
    client().eap(methods, Some("alice")).password(password, &["alice"])
}

fn eap_gateway(methods: EapMethods) -> Setup {
    gateway().peer_eap(methods, Some("%any")).password(PASSWORD, &["alice"])
}

/// What a host said when an IKE SA of its own came to its end.
fn down(world: &mut World, host: HostId) -> String {
    let told = world.events(host);
    told.into_iter().find(|line| line.contains(" down: ")).unwrap()
}

fn ends_with_nothing(mut world: World) {
    world.run_out(seconds(200));
    world.assert_nothing_left();
}

#[test]
fn a_client_authenticates_by_eap_message_by_message() {
    let (mut world, rw, gw) =
        World::of(alice(one(Method::MsChapV2), PASSWORD), eap_gateway(one(Method::MsChapV2)));
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    assert_eq!(world.deliver(), FIRST);
    assert_eq!(world.ike_sa(gw).connection.as_deref(), Some("gw"));
    assert!(world.events(gw).is_empty(), "nobody has authenticated");
    assert_eq!(world.deliver(), ASKED);
    assert_eq!(world.deliver(), ANSWER); // the identity
    assert_eq!(world.deliver(), REQUEST); // the challenge
    assert_eq!(world.deliver(), ANSWER);
    assert_eq!(world.deliver(), REQUEST); // the server's proof
    assert_eq!(world.deliver(), ANSWER);
    assert_eq!(world.deliver(), REQUEST); // EAP-Success
    assert!(world.host(gw).outside.installed().next().is_none(), "EAP-Success alone installs nothing");
    assert_eq!(world.deliver(), AUTH);
    assert_eq!(world.deliver(), DONE);
    world.assert_connected(rw, gw);
    let sa = world.ike_sa(gw);
    assert_eq!(sa.remote_id.unwrap().to_string(), "rw.example.org");
    assert_eq!(sa.remote_eap_id.unwrap().to_string(), "alice");
    assert_eq!(world.ike_sa(rw).remote_eap_id, None);
}

#[test]
fn every_method_connects_with_and_without_an_identity_round() {
    for method in Method::BY_PASSWORD {
        for eap_id in [Some("%any"), Some("alice"), Some("*ice"), None] {
            let gateway = gateway()
                .peer_eap(one(method), eap_id)
                .password(PASSWORD, &["alice"])
                .password(PASSWORD, &["rw.example.org"]);
            let client = alice(one(method), PASSWORD).password(PASSWORD, &["rw.example.org"]);
            // Without an EAP identity, the IKE identity is what passwords are found by.
            let client = if eap_id.is_none() { client.eap(one(method), None) } else { client };
            let (mut world, rw, gw) = World::of(client, gateway);
            world.connect(rw, gw, "net");
            let who = world.ike_sa(gw).remote_eap_id.unwrap().to_string();
            assert_eq!(who, if eap_id.is_some() { "alice" } else { "rw.example.org" }, "{method}");
        }
    }
}

#[test]
fn leases_and_uniqueness_go_by_the_eap_identity() {
    let pool = "10.3.0.0/24";
    let gateway = eap_gateway(one(Method::Md5)).password("of bob", &["bob"]).pool(pool);
    // Two clients with the same IKE identity, as phones are.
    let (mut world, rw, gw) = World::of(alice(one(Method::Md5), PASSWORD).vips(&["0.0.0.0"]), gateway);
    world.connect(rw, gw, "net");
    let bob = client().named("bob").at("198.51.100.8").vips(&["0.0.0.0"]);
    let bob = world.add(bob.eap(one(Method::Md5), Some("bob")).password("of bob", &["bob"]));
    world.initiate(bob, "net");
    world.run();
    assert_eq!(world.ike_sas(gw).len(), 2, "INITIAL_CONTACT of bob is not about alice");
    // alice comes back from elsewhere with all lost.
    let again = alice(one(Method::Md5), PASSWORD).named("again").at("198.51.100.9").vips(&["0.0.0.0"]);
    let again = world.add(again);
    world.initiate(again, "net");
    world.run();
    let mut who: Vec<String> =
        world.ike_sas(gw).iter().map(|sa| sa.remote_eap_id.as_ref().unwrap().to_string()).collect();
    who.sort();
    assert_eq!(who, ["alice", "bob"]);
    assert_eq!(world.host(gw).outside.pools().pool(pool).unwrap().online(), 2);
}

#[test]
fn an_eap_identity_outlives_a_rekeying() {
    let (mut world, rw, gw) = World::of(
        alice(one(Method::MsChapV2), PASSWORD),
        eap_gateway(one(Method::MsChapV2)).pool("10.3.0.0/24"),
    );
    world.connect(rw, gw, "net");
    let (request, ike_sa) = (world.next_request(), world.ike_sa(gw).id);
    world.command(gw, ferry_ike::Command::RekeyIkeSa { request, ike_sa }).unwrap();
    world.run();
    let after = world.ike_sas(gw).into_iter().find(|sa| sa.id != ike_sa).unwrap();
    assert_eq!(after.remote_eap_id.unwrap().to_string(), "alice");
}

#[test]
fn a_wrong_password_is_refused() {
    for method in Method::BY_PASSWORD {
        let (mut world, rw, gw) = World::of(alice(one(method), "sixteen letters?"), eap_gateway(one(method)));
        world.initiate(rw, "net");
        world.run();
        let why = down(&mut world, gw);
        assert!(
            why.contains("authentication failed: EAP authentication of 'rw.example.org' failed: "),
            "{why}"
        );
        assert!(why.ends_with("verification of 'alice' failed"), "{why}");
        let why = down(&mut world, rw);
        assert!(why.starts_with("IKE_SA rw down: authentication failed: "), "{why}");
        assert!(!why.contains("alice"), "the peer learns only that it failed: {why}");
        ends_with_nothing(world);
    }
}

#[test]
fn an_unknown_user_and_an_identity_that_nothing_is_for_are_refused() {
    for (eap_id, why) in [
        ("%any", "no EAP key found for 'mallory'"),
        ("*.example.org", "no connection's eap_id fits 'mallory'"),
    ] {
        let client = client().eap(one(Method::Md5), Some("mallory")).password("x", &["mallory"]);
        let gateway = gateway().peer_eap(one(Method::Md5), Some(eap_id)).password(PASSWORD, &["alice"]);
        let (mut world, rw, gw) = World::of(client, gateway);
        world.initiate(rw, "net");
        world.run();
        let told = down(&mut world, gw);
        assert!(told.ends_with(why), "{told}");
        assert_eq!(
            down(&mut world, rw),
            "IKE_SA rw down: authentication failed: the server answered EAP-Failure"
        );
        ends_with_nothing(world);
    }
}

/// Without an EAP identity round, an IKE identity that anybody may claim leads to the connection.
#[test]
fn a_user_cannot_claim_the_ike_identity_of_another() {
    for method in [Method::MsChapV2, Method::Psk] {
        let gateway = gateway().peer_id("boss").peer_eap(one(method), None).password(PASSWORD, &["alice"]);
        let client = client().id("boss").eap(one(method), Some("alice")).password(PASSWORD, &["alice"]);
        let (mut world, rw, gw) = World::of(client, gateway);
        world.initiate(rw, "net");
        world.run();
        assert!(world.ike_sas(gw).is_empty(), "{method}");
        let told = down(&mut world, gw);
        assert!(
            told.contains("'alice' in EAP_") && told.ends_with("is not who the peer says it is"),
            "{told}"
        );
    }
}

#[test]
fn the_eap_identity_chooses_the_connection() {
    let choice = eap_gateway(one(Method::Md5))
        .named("anybody")
        .another("staff")
        .peer_eap(one(Method::MsChapV2), Some("*@staff.example.org"))
        .another("boss")
        .peer_eap(one(Method::Psk), Some("boss@staff.example.org"));
    let users = ["alice", "clerk@staff.example.org", "boss@staff.example.org"];
    let choice = choice.password(PASSWORD, &users);
    let mut world = World::new(3);
    let gw = world.add(choice);
    for (at, user, connection) in [
        ("198.51.100.20", "alice", "anybody"),
        ("198.51.100.21", "clerk@staff.example.org", "staff"),
        ("198.51.100.22", "boss@staff.example.org", "boss"),
    ] {
        let host = client().named("other").at(at).eap(EapMethods::Any, Some(user));
        let host = world.add(host.password(PASSWORD, &[user]));
        world.initiate(host, "net");
        world.run();
        let sa = world.ike_sas(gw).into_iter().find(|sa| sa.remote.ip() == address(at)).unwrap();
        assert_eq!(sa.connection.as_deref(), Some(connection));
        assert_eq!(sa.remote_eap_id.unwrap().to_string(), user);
    }
}

fn address(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

#[test]
fn methods_are_negotiated() {
    use Method::{Gtc, Md5};
    // The gateway offers what it likes best until the client takes one.
    for method in Method::BY_PASSWORD {
        let (mut world, rw, gw) = World::of(alice(one(method), PASSWORD), eap_gateway(EapMethods::Dynamic));
        world.connect(rw, gw, "net");
    }
    let (mut world, rw, gw) = World::of(alice(one(Gtc), PASSWORD), eap_gateway(one(Md5)));
    world.initiate(rw, "net");
    world.run();
    let told = down(&mut world, gw);
    assert!(told.ends_with("the client does not want EAP_MD5, but EAP_GTC"), "{told}");
    assert!(down(&mut world, rw).ends_with("the server answered EAP-Failure"));
    ends_with_nothing(world);
}

#[test]
fn an_operator_says_what_is_offered_first() {
    use Method::{Gtc, Md5, MsChapV2, Psk};
    // What the gateway asks for after the client has said who it is.
    let offers = |preferred: &[Method], follows_client: bool, wanted: &[Method]| {
        let gateway = eap_gateway(EapMethods::Dynamic).settings(|settings| {
            settings.eap_dynamic = DynamicEap { preferred: preferred.to_vec(), follows_client };
        });
        let (mut world, rw, gw) = World::of(alice(one(wanted[0]), PASSWORD), gateway);
        world.connect(rw, gw, "net");
        world.transcript().matches("SK {EAP}").count()
    };
    let direct = offers(&[Gtc], false, &[Gtc]);
    // Each is told as sent and as arrived.
    assert_eq!(offers(&[], false, &[Gtc]), direct + 4, "another is offered first, and refused");
    assert_eq!(offers(&[Md5, Gtc], true, &[Gtc]), direct + 4);
    assert_eq!(offers(&[Psk, MsChapV2], false, &[MsChapV2]), offers(&[], false, &[MsChapV2]));
}

#[test]
fn every_message_may_be_lost_once() {
    for method in Method::BY_PASSWORD {
        for nth in 0..30 {
            let (mut world, rw, gw) = World::of(alice(one(method), PASSWORD), eap_gateway(one(method)));
            world.initiate(rw, "net");
            let mut sent = 0;
            while !world.in_air().is_empty() && sent < nth {
                world.deliver();
                sent += 1;
            }
            if world.in_air().is_empty() {
                assert!(sent >= 10, "{method}");
                break;
            }
            world.take();
            world.run_for(seconds(20));
            world.assert_connected(rw, gw);
        }
    }
}

#[test]
fn repeated_rounds_get_the_same_answers() {
    let (mut world, rw, gw) =
        World::of(alice(one(Method::MsChapV2), PASSWORD), eap_gateway(one(Method::MsChapV2)));
    world.initiate(rw, "net");
    while !world.in_air().is_empty() {
        let datagram = world.take();
        world.inject(datagram.clone());
        let before = world.in_air().len();
        world.inject(datagram);
        assert!(world.in_air().len() <= before + 1, "a repetition is answered once, with the same");
        if world.in_air().len() > 1 {
            world.take();
        }
    }
    world.assert_connected(rw, gw);
}

#[test]
fn an_unfinished_conversation_ends_with_the_half_open_timer() {
    let (mut world, rw, gw) =
        World::of(alice(one(Method::MsChapV2), PASSWORD), eap_gateway(one(Method::MsChapV2)));
    world.initiate(rw, "net");
    for _ in 0..6 {
        world.deliver();
    }
    world.cut(rw, true);
    world.run_for(seconds(29));
    assert_eq!(world.ike_sas(gw).len(), 1);
    world.run_for(seconds(2));
    assert!(world.ike_sas(gw).is_empty());
    assert!(down(&mut world, gw).ends_with("did not finish establishing the IKE_SA in time"));
    world.cut(rw, false);
    ends_with_nothing(world);
}

/// A puppet that plays the gateway, up to its first answer to IKE_AUTH, with this packet of EAP.
fn impostor(client: Setup, packet: &[u8]) -> (World, HostId, Puppet) {
    let (mut world, rw, _) = World::of(client, gateway().at("192.0.2.2"));
    world.keep_mail(GATEWAY_IP);
    let mut puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 1);
    world.initiate(rw, "net");
    world.run();
    let request = world.mail(GATEWAY_IP).unwrap();
    let answer = puppet.init_response(&request, |_| {});
    world.inject(answer);
    world.run();
    world.mail(GATEWAY_IP).unwrap();
    let mut payloads = puppet.auth("gw.example.org", PSK);
    payloads.eap(packet);
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(answer);
    world.run();
    (world, rw, puppet)
}

/// CVE-2021-45079: a gateway that only says success must not be believed, however well it knows the pre-shared key.
#[test]
fn cve_class_early_eap_success() {
    for methods in [EapMethods::Any, one(Method::MsChapV2), one(Method::Psk), one(Method::Md5)] {
        let (mut world, rw, puppet) = impostor(alice(methods, PASSWORD), &[3, 1, 0, 4]);
        let why = down(&mut world, rw);
        assert_eq!(why, "IKE_SA rw down: authentication failed: EAP-Success before any method");
        let told = world.mail(GATEWAY_IP).unwrap();
        assert_eq!(puppet.read(&told).as_deref(), Some("N(AUTHENTICATION_FAILED), D"));
        ends_with_nothing(world);
    }
}

/// RFC 7296 §2.1: the response that ends it may be lost like any other, and is there to be had again.
#[test]
fn a_lost_eap_failure_is_said_again() {
    // The first retransmission of the client asks for it, or the second.
    for last in 0..2 {
        let (mut world, rw, gw) =
            World::of(alice(one(Method::Md5), "not alice's"), eap_gateway(one(Method::Md5)));
        world.initiate(rw, "net");
        while down_if_any(&mut world, gw).is_none() {
            world.deliver();
        }
        assert_eq!(world.in_air().len(), 1);
        world.take(); // EAP-Failure
        for _ in 0..last {
            world.wait_for_deadline();
            while !world.in_air().is_empty() {
                world.take();
            }
        }
        world.run_for(seconds(20));
        let why = down(&mut world, rw);
        assert!(why.ends_with("the server answered EAP-Failure"), "{last}: {why}");
        ends_with_nothing(world);
    }
}

fn down_if_any(world: &mut World, host: HostId) -> Option<String> {
    world.events(host).into_iter().find(|line| line.contains(" down: "))
}

#[test]
fn a_gateway_that_is_not_who_it_says_gets_no_answer() {
    // The first packet of EAP asks for the password itself.
    let (mut world, rw, _) = impostor(alice(EapMethods::Any, PASSWORD).psk("another"), &[1, 1, 0, 5, 6]);
    let why = down(&mut world, rw);
    assert!(why.ends_with("the pre-shared key of 'gw.example.org' does not fit"), "{why}");
    assert_eq!(world.ike_sas(rw), []);
    ends_with_nothing(world);
}

#[test]
fn a_gateway_that_skips_eap_is_not_believed() {
    let (mut world, rw, _) = World::of(alice(EapMethods::Any, PASSWORD), gateway().at("192.0.2.2"));
    world.keep_mail(GATEWAY_IP);
    let mut puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 1);
    world.initiate(rw, "net");
    world.run();
    let request = world.mail(GATEWAY_IP).unwrap();
    let answer = puppet.init_response(&request, |_| {});
    world.inject(answer);
    world.run();
    let mut payloads = puppet.auth("gw.example.org", PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.7", "10.1.0.0/16");
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(answer);
    assert!(down(&mut world, rw).ends_with("its IKE_AUTH response lacks EAP"));
    ends_with_nothing(world);
}

#[test]
fn a_gateway_without_the_msk_is_not_believed() {
    // GTC makes no key: AUTH must be made with SK_pr, which the pre-shared key is not.
    let (mut world, rw, mut puppet) = impostor(alice(one(Method::Gtc), PASSWORD), &[1, 1, 0, 5, 6]);
    let answered = world.mail(GATEWAY_IP).unwrap();
    assert_eq!(puppet.read(&answered).as_deref(), Some("EAP"));
    let mut payloads = PayloadWriter::new();
    payloads.eap(&[3, 1, 0, 4]);
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 2, true, &payloads);
    world.inject(answer);
    world.run();
    let answered = world.mail(GATEWAY_IP).unwrap();
    assert_eq!(puppet.read(&answered).as_deref(), Some("AUTH"));
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 3, true, &puppet.auth("gw.example.org", PSK));
    world.inject(answer);
    let why = down(&mut world, rw);
    assert!(why.ends_with("verification of AUTH payload of 'gw.example.org' with EAP failed"), "{why}");
    ends_with_nothing(world);
}

/// A puppet that plays the client, past its first IKE_AUTH request.
fn stranger(gateway: Setup, id: &str) -> (World, HostId, Puppet) {
    let mut world = World::new(5);
    let gw = world.add(gateway);
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.open(&mut world);
    let mut payloads = PayloadWriter::new();
    payloads.id_i(&Identity::parse(id).unwrap());
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("IDr, AUTH, EAP"));
    (world, gw, puppet)
}

fn eap(packet: &[u8]) -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.eap(packet);
    payloads
}

#[test]
fn a_client_that_claims_success_is_refused() {
    for packet in [&[3, 1, 0, 4][..], &[4, 1, 0, 4], &[1, 1, 0, 5, 1], &[2, 99, 0, 5, 3]] {
        let (mut world, gw, mut puppet) = stranger(eap_gateway(EapMethods::Dynamic), "rw.example.org");
        let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &eap(packet));
        assert_eq!(answer.as_deref(), Some("EAP"), "EAP-Failure");
        assert!(world.ike_sas(gw).is_empty());
        ends_with_nothing(world);
    }
}

#[test]
fn a_client_that_skips_eap_is_refused() {
    let (mut world, gw, mut puppet) = stranger(eap_gateway(EapMethods::Dynamic), "rw.example.org");
    let mut payloads = PayloadWriter::new();
    payloads.auth(AuthMethod::SHARED_KEY, &[7; 32]);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("N(INVALID_SYNTAX)"));
    assert!(world.ike_sas(gw).is_empty());
    ends_with_nothing(world);
}

#[test]
fn a_conversation_does_not_go_on_for_ever() {
    // The gateway asks for the identity again and again.
    let (mut world, rw, mut puppet) = impostor(alice(EapMethods::Any, PASSWORD), &[1, 0, 0, 5, 1]);
    let mut rounds = 1;
    while !world.ike_sas(rw).is_empty() {
        let identifier = u8::try_from(rounds % 256).unwrap();
        rounds += 1;
        let answer = puppet.seal(ExchangeType::IKE_AUTH, rounds, true, &eap(&[1, identifier, 0, 5, 1]));
        world.inject(answer);
        world.run();
        assert!(rounds < 100);
    }
    assert!(down(&mut world, rw).ends_with("EAP does not end within 64 messages"));
    ends_with_nothing(world);
}

#[test]
fn an_eap_client_is_refused_by_a_gateway_without_eap() {
    let (mut world, rw, gw) = World::of(alice(EapMethods::Any, PASSWORD), gateway());
    world.initiate(rw, "net");
    world.run();
    assert!(down(&mut world, gw).ends_with("that has EAP"));
    assert_eq!(down(&mut world, rw), "IKE_SA rw down: the peer answered AUTHENTICATION_FAILED");
    let (mut world, rw, gw) = World::of(client(), eap_gateway(EapMethods::Any));
    world.initiate(rw, "net");
    world.run();
    assert!(down(&mut world, gw).contains("no matching peer config found"));
    ends_with_nothing(world);
}
