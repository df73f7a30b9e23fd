//! Section 2.21, Error Handling.

use ferry_ike::sim::{Datagram, HostId, PSK, Puppet, World, client, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, NotifyType, PayloadType};

use crate::{GATEWAY, GATEWAY_IP, OFFER, PUPPET, PUPPET_IP, said, seconds};

/// Octets that are no payloads: the first claims to be longer than all.
const NONSENSE: &[u8] = &[0, 0, 0xff, 0xff, 1, 2, 3];

fn puppet_and_gateway() -> (World, Puppet, HostId) {
    let (world, _, gw) = World::of(client(), gateway());
    (world, Puppet::initiator(PUPPET, GATEWAY, OFFER, 1), gw)
}

fn end(mut world: World) {
    world.run_out(seconds(600));
    world.assert_nothing_left();
}

// 2.21.1: IKE_SA_INIT.

#[test]
fn what_does_not_parse_costs_a_counter() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    let request = puppet.init_request(None, |_| {});
    for length in 0..request.octets.len() {
        let mut cut = request.clone();
        cut.octets.truncate(length);
        world.inject(cut);
    }
    assert!(world.in_air().is_empty() && world.ike_sas(gw).is_empty());
    assert_eq!(usize::try_from(world.host(gw).endpoint.counters().invalid), Ok(request.octets.len()));
}

#[test]
fn a_datagram_that_is_too_large_is_not_looked_at() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    let request = puppet.init_request(None, |payloads| {
        payloads.vendor_id(&[7; 10_000]);
    });
    world.inject(request);
    assert!(world.in_air().is_empty() && world.ike_sas(gw).is_empty());
}

#[test]
fn a_first_message_that_lacks_something_is_ignored() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    let request = puppet.init_request(None, |_| {});
    // The last payload, the nonce, becomes a vendor ID.
    let mut lacking = request.clone();
    let ke_at = 28 + usize::from(u16::from_be_bytes([lacking.octets[30], lacking.octets[31]]));
    assert_eq!(lacking.octets[ke_at], PayloadType::NONCE.0);
    lacking.octets[ke_at] = PayloadType::VENDOR_ID.0;
    world.inject(lacking);
    assert!(world.in_air().is_empty() && world.ike_sas(gw).is_empty());
}

#[test]
fn an_endpoint_that_only_initiates_does_not_answer() {
    let (mut world, rw, gw) =
        World::of(client(), gateway().settings(|settings| settings.initiator_only = true));
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert!(world.in_air().is_empty() && world.ike_sas(gw).is_empty());
}

#[test]
fn an_endpoint_holds_no_more_ike_sas_than_it_is_told() {
    let (mut world, rw, gw) =
        World::of(client(), gateway().settings(|settings| settings.ike_sa_limit = Some(1)));
    world.connect(rw, gw, "net");
    let other = world.add(client().named("rw2").at("198.51.100.8").id("rw2.example.org"));
    world.initiate(other, "net");
    world.deliver();
    assert!(world.in_air().is_empty());
    assert_eq!(world.ike_sas(gw).len(), 1);
}

// 2.21.2: IKE_AUTH.

#[test]
fn a_refusal_that_is_lost_can_be_had_again() {
    let (mut world, rw, gw) = World::of(client().psk("wrong"), gateway());
    world.initiate(rw, "net");
    (0..3).for_each(|_| drop(world.deliver()));
    world.take();
    assert!(world.ike_sas(gw).is_empty());
    world.run_for(seconds(5));
    assert!(world.ike_sas(rw).is_empty());
    let told = world.events(rw);
    assert!(told[0].contains("the peer answered AUTHENTICATION_FAILED"), "{told:?}");
    // For a while, and not for everything.
    world.run_for(seconds(20));
    assert_eq!(world.due(gw), None);
    end(world);
}

#[test]
fn who_is_refused_takes_no_more_memory_than_there_is_for_it() {
    let mut world = World::new(7);
    let gateway = gateway().settings(|settings| settings.half_open.dos_protection = false);
    let gw = world.add(gateway);
    for seed in 0..300 {
        let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, seed);
        puppet.open(&mut world);
        let payloads = puppet.auth("puppet@example.org", "wrong");
        let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
        // The answer again, for those that are kept.
        let request = puppet.seal(ExchangeType::IKE_AUTH, 1, false, &payloads);
        world.inject(request);
        assert_eq!(world.in_air().len(), usize::from(seed < 256), "{seed}");
        world.run();
        world.mail(PUPPET_IP);
    }
    assert!(world.ike_sas(gw).is_empty());
    end(world);
}

#[test]
fn a_malformed_ike_auth_request_is_refused_and_the_ike_sa_is_not_made() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    puppet.open(&mut world);
    let request = puppet.seal_octets(ExchangeType::IKE_AUTH, 1, false, PayloadType::ID_I, NONSENSE);
    world.inject(request);
    world.run();
    let answer = world.mail(PUPPET_IP).unwrap();
    assert_eq!(puppet.read(&answer).as_deref(), Some("N(INVALID_SYNTAX)"));
    assert!(world.ike_sas(gw).is_empty());
    end(world);
}

#[test]
fn an_ike_auth_request_without_identity_or_with_half_a_child_is_refused() {
    for (lacking, says) in [("IDi", "N(INVALID_SYNTAX)"), ("TS", "N(INVALID_SYNTAX)")] {
        let (mut world, mut puppet, gw) = puppet_and_gateway();
        puppet.open(&mut world);
        let mut payloads = puppet.auth("puppet@example.org", PSK);
        if lacking == "IDi" {
            payloads = PayloadWriter::new();
            payloads.vendor_id(b"nobody");
        } else {
            payloads.sa(&ferry_ike::proposal::default_esp(|_| true));
        }
        let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(answer.as_deref(), Some(says), "without {lacking}");
        assert!(world.ike_sas(gw).is_empty());
        end(world);
    }
}

#[test]
fn another_exchange_than_ike_auth_does_not_establish_anything() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    puppet.open(&mut world);
    let payloads = puppet.auth("puppet@example.org", PSK);
    for exchange in [ExchangeType::INFORMATIONAL, ExchangeType::CREATE_CHILD_SA, ExchangeType::IKE_SA_INIT] {
        let request = puppet.seal(exchange, 1, false, &payloads);
        world.inject(request);
        assert!(world.in_air().is_empty());
        assert_eq!(world.ike_sa(gw).state, IkeSaState::Connecting);
    }
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("IDr, AUTH"));
}

/// Gets a client to where a puppet must answer IKE_AUTH; the puppet, and the request.
fn client_and_puppet() -> (World, HostId, Puppet) {
    let (mut world, rw, _) = World::of(client(), gateway().at("192.0.2.2"));
    world.keep_mail(GATEWAY_IP);
    let mut puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 1);
    world.initiate(rw, "net");
    world.run();
    let request = world.mail(GATEWAY_IP).unwrap();
    let answer = puppet.init_response(&request, |_| {});
    world.inject(answer);
    world.run();
    let auth = world.mail(GATEWAY_IP).unwrap();
    assert_eq!(puppet.read(&auth).as_deref(), Some("IDi, N(INITIAL_CONTACT), IDr, AUTH, SAi2, TSi, TSr"));
    (world, rw, puppet)
}

#[test]
fn a_malformed_answer_to_ike_auth_ends_the_attempt_and_the_peer_is_told() {
    for (first, octets, says) in [
        (PayloadType::ID_R, NONSENSE, "N(INVALID_SYNTAX), D"),
        (PayloadType(200), &[0, 0x80, 0, 4][..], "N(UNSUPPORTED_CRITICAL_PAYLOAD), D"),
        (PayloadType::NONE, &[], "N(INVALID_SYNTAX), D"),
    ] {
        let (mut world, rw, mut puppet) = client_and_puppet();
        let answer = puppet.seal_octets(ExchangeType::IKE_AUTH, 1, true, first, octets);
        world.inject(answer);
        world.run();
        let told = world.mail(GATEWAY_IP).unwrap();
        assert_eq!(puppet.read(&told).as_deref(), Some(says));
        assert!(world.ike_sas(rw).is_empty());
        end(world);
    }
}

/// RFC 7296 §2.21.2: the authentication stands, whatever is wrong with the rest.
#[test]
fn an_error_beside_auth_is_about_the_child_sa() {
    for kind in [
        NotifyType::NO_PROPOSAL_CHOSEN,
        NotifyType::TS_UNACCEPTABLE,
        NotifyType::SINGLE_PAIR_REQUIRED,
        NotifyType::INTERNAL_ADDRESS_FAILURE,
        NotifyType::FAILED_CP_REQUIRED,
        NotifyType(8000),
    ] {
        let (mut world, rw, mut puppet) = client_and_puppet();
        let mut payloads = puppet.auth("gw.example.org", PSK);
        payloads.notify(kind, &[]);
        let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
        world.inject(answer);
        assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
        let told = world.events(rw);
        assert_eq!(told[0], "IKE_SA rw up");
        assert!(told[1].contains("establishing CHILD_SA failed: the peer answered"), "{told:?}");
        assert_eq!(told.len(), 2);
    }
}

#[test]
fn a_child_sa_that_is_not_as_offered_is_not_installed() {
    for (proposal, ts_i, ts_r) in [
        ("aes256gcm16", "198.51.100.7", "10.1.0.0/16"),
        ("aes128gcm16", "198.51.100.0/24", "10.1.0.0/16"),
        ("aes128gcm16", "198.51.100.7", "10.0.0.0/8"),
    ] {
        let (mut world, rw, mut puppet) = client_and_puppet();
        let mut payloads = puppet.auth("gw.example.org", PSK);
        Puppet::child(&mut payloads, proposal, Puppet::SPI, ts_i, ts_r);
        let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
        world.inject(answer);
        assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
        assert!(world.ike_sa(rw).children.is_empty(), "{proposal} {ts_i} {ts_r}");
        assert!(world.host(rw).outside.leaks().is_empty());
    }
}

#[test]
fn a_child_sa_with_a_reserved_spi_is_not_installed() {
    let (mut world, rw, mut puppet) = client_and_puppet();
    let mut payloads = puppet.auth("gw.example.org", PSK);
    let reserved = ferry_ike::wire::registry::Spi(255);
    Puppet::child(&mut payloads, "aes128gcm16", reserved, "198.51.100.7", "10.1.0.0/16");
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(answer);
    assert!(world.ike_sa(rw).children.is_empty());
}

// 2.21.3: once the IKE SA stands.

#[test]
fn a_malformed_request_ends_the_ike_sa_at_both_ends() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    puppet.connect(&mut world, "puppet@example.org", PSK);
    world.events(gw);
    let request = puppet.seal_octets(ExchangeType::INFORMATIONAL, 2, false, PayloadType::DELETE, NONSENSE);
    world.inject(request.clone());
    world.run();
    let answer = world.mail(PUPPET_IP).unwrap();
    assert_eq!(puppet.read(&answer).as_deref(), Some("N(INVALID_SYNTAX)"));
    let told = world.events(gw);
    assert!(told[0].starts_with("IKE_SA gw down: the peer's message is malformed"), "{told:?}");
    assert!(world.ike_sas(gw).is_empty());
    // Should the answer be lost, it can be had again for a while.
    world.inject(request);
    world.run();
    assert_eq!(world.mail(PUPPET_IP), Some(answer));
    end(world);
}

#[test]
fn an_exchange_that_has_no_place_here_ends_the_ike_sa_at_both_ends() {
    for exchange in [ExchangeType::IKE_AUTH, ExchangeType(240)] {
        let (mut world, mut puppet, gw) = puppet_and_gateway();
        puppet.connect(&mut world, "puppet@example.org", PSK);
        let payloads = puppet.auth("puppet@example.org", PSK);
        let answer = puppet.ask(&mut world, exchange, &payloads);
        assert_eq!(answer.as_deref(), Some("N(INVALID_SYNTAX)"));
        assert!(world.ike_sas(gw).is_empty());
        end(world);
    }
}

#[test]
fn a_peer_that_finds_our_request_malformed_has_ended_the_ike_sa() {
    for kind in [NotifyType::INVALID_SYNTAX, NotifyType::AUTHENTICATION_FAILED] {
        let (mut world, mut puppet, gw) = puppet_and_gateway();
        puppet.connect(&mut world, "puppet@example.org", PSK);
        world.events(gw);
        let child = world.ike_sa(gw).children[0].id;
        world.terminate_child(gw, child);
        let mut payloads = PayloadWriter::new();
        payloads.notify(kind, &[]);
        let answer = puppet.seal(ExchangeType::INFORMATIONAL, 0, true, &payloads);
        world.inject(answer);
        let told = world.events(gw);
        assert_eq!(told[0], format!("IKE_SA gw down: the peer answered {kind}"));
        assert!(world.ike_sas(gw).is_empty());
        world.run();
        end(world);
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_an_answer() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    puppet.connect(&mut world, "puppet@example.org", PSK);
    let child = world.ike_sa(gw).children[0].id;
    world.terminate_child(gw, child);
    let answer = puppet.seal_octets(ExchangeType::INFORMATIONAL, 0, true, PayloadType::DELETE, NONSENSE);
    world.inject(answer);
    let sa = world.ike_sa(gw);
    assert!(sa.children.is_empty() && sa.tasks_active.is_empty());
}

// 2.21.4: outside of an IKE SA.

#[test]
fn messages_for_unknown_spis_are_ignored() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    world.terminate(rw, world.ike_sa(rw).id);
    let deletion = world.take();
    world.run_for(seconds(400));
    assert!(world.ike_sas(rw).is_empty());
    let fresh = world.add(gateway().named("fresh").at("192.0.2.3"));
    let elsewhere = Datagram { to: "192.0.2.3:500".parse().unwrap(), ..deletion };
    world.inject(elsewhere);
    assert!(world.in_air().is_empty());
    assert_eq!(world.host(fresh).endpoint.counters().invalid_spi, 1);
}
