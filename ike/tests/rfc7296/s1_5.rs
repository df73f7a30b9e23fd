//! Section 1.5, Informational Messages outside of an IKE SA, and what section 2.21.4 says of them.

use ferry_ike::sim::{Datagram, HostId, PSK, Puppet, World, client, gateway};
use ferry_ike::wire::registry::{ExchangeType, NotifyType};
use ferry_ike::wire::{self, PayloadWriter};

use crate::{GATEWAY, OFFER, PUPPET, PUPPET_IP, seconds};

/// An address where nobody is.
const ELSEWHERE: &str = "203.0.113.9:500";

// Telling.

/// A puppet whose IKE SA the gateway has never heard of.
fn forgotten(world: &mut World) -> Puppet {
    let fresh = world.add(gateway().named("old").at("192.0.2.9"));
    let mut puppet = Puppet::initiator(PUPPET, "192.0.2.9:500", OFFER, 1);
    puppet.connect(world, "puppet@example.org", PSK);
    world.cut(fresh, true);
    puppet.peer = GATEWAY.parse().unwrap();
    puppet
}

fn informational(puppet: &mut Puppet, message_id: u32, response: bool) -> Datagram {
    puppet.seal(ExchangeType::INFORMATIONAL, message_id, response, &PayloadWriter::new())
}

#[test]
fn who_sends_to_an_unknown_ike_sa_may_be_told_so() {
    let told = gateway().settings(|settings| settings.unknown_spi_notices = true);
    for (gateway, is_told) in [(gateway(), false), (told, true)] {
        let (mut world, _, gw) = World::of(client(), gateway);
        let mut puppet = forgotten(&mut world);
        let request = informational(&mut puppet, 7, false);
        world.inject(request.clone());
        world.run();
        assert_eq!(world.host(gw).endpoint.counters().invalid_spi, 1);
        let Some(notice) = world.mail(PUPPET_IP) else {
            assert!(!is_told);
            continue;
        };
        assert!(is_told);
        // SPIs, exchange and message ID are those of the request.
        assert_eq!(notice.octets[..16], request.octets[..16]);
        assert_eq!(notice.octets[18..24], [37, 0x20, 0, 0, 0, 7]);
        let message = wire::decode(&notice.octets).unwrap();
        assert_eq!(message.payloads.to_string(), "N(INVALID_IKE_SPI)");
    }
}

#[test]
fn responses_and_what_is_not_encrypted_are_never_answered() {
    let (mut world, ..) =
        World::of(client(), gateway().settings(|settings| settings.unknown_spi_notices = true));
    let mut puppet = forgotten(&mut world);
    let response = informational(&mut puppet, 0, true);
    world.inject(response);
    // An empty INFORMATIONAL request in the clear.
    let mut clear = informational(&mut puppet, 2, false);
    clear.octets.truncate(28);
    clear.octets[16] = 0;
    clear.octets[24..28].copy_from_slice(&28_u32.to_be_bytes());
    world.inject(clear);
    world.run();
    assert_eq!(world.mail(PUPPET_IP), None);
}

#[test]
fn not_many_are_told() {
    let (mut world, ..) =
        World::of(client(), gateway().settings(|settings| settings.unknown_spi_notices = true));
    let mut puppet = forgotten(&mut world);
    for _ in 0..100 {
        let request = informational(&mut puppet, 2, false);
        world.inject(request);
    }
    assert_eq!(world.in_air().len(), 10);
}

// Being told, by anybody.

/// `HDR(0,0), N(INVALID_SPI)` to the client, from an address and port.
fn invalid_spi(from: &str) -> Datagram {
    let puppet = Puppet::initiator(from, "198.51.100.7:500", OFFER, 1);
    let request = Datagram {
        from: puppet.peer,
        to: puppet.at,
        // A header for `refuse` to answer.
        octets: [&[0; 16][..], &[0, 0x20, 37, 0, 0, 0, 0, 0, 0, 0, 0, 28]].concat(),
    };
    let mut notice = puppet.refuse(&request, NotifyType::INVALID_SPI, &[0xc0, 0, 0, 1]);
    notice.octets[19] = 0x08; // a request of an initiator
    notice
}

fn connected() -> (World, HostId, HostId) {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    (world, rw, gw)
}

#[test]
fn a_hint_is_looked_into_and_changes_nothing() {
    let (mut world, rw, gw) = connected();
    let before = world.ike_sa(rw);
    world.inject(invalid_spi(GATEWAY));
    assert_eq!(world.ike_sa(rw).tasks_active, ["IKE_DPD"]);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    assert_eq!(world.ike_sa(rw), before);
    world.assert_connected(rw, gw);
    assert!(world.events(rw).is_empty());
}

#[test]
fn hints_are_not_followed_often() {
    let (mut world, rw, _) = connected();
    for at in 0..59 {
        world.inject(invalid_spi(GATEWAY));
        assert_eq!(world.in_air().len(), usize::from(at == 0), "after {at} s");
        world.run();
        world.wait(seconds(1));
    }
    world.wait(seconds(1));
    world.inject(invalid_spi(GATEWAY));
    assert_eq!(world.ike_sa(rw).tasks_active, ["IKE_DPD"]);
}

#[test]
fn a_hint_from_elsewhere_is_none() {
    let (mut world, rw, _) = connected();
    world.inject(invalid_spi(ELSEWHERE));
    assert!(world.in_air().is_empty());
    let unknown = hint_at(&world, rw, ELSEWHERE);
    world.inject(unknown);
    assert!(world.in_air().is_empty());
}

/// `HDR(A,B), N(INVALID_IKE_SPI)` about the client's IKE SA.
fn hint_at(world: &World, rw: HostId, from: &str) -> Datagram {
    let sa = world.ike_sa(rw);
    let mut hint = invalid_spi(from);
    hint.octets[..8].copy_from_slice(&sa.spi_i.0);
    hint.octets[8..16].copy_from_slice(&sa.spi_r.0);
    hint.octets[19] = 0x20; // a response of the responder
    hint.octets[34..36].copy_from_slice(&NotifyType::INVALID_IKE_SPI.0.to_be_bytes());
    hint
}

#[test]
fn a_hint_at_one_ike_sa_is_looked_into_too() {
    let (mut world, rw, gw) = connected();
    let before = world.ike_sa(rw);
    let hint = hint_at(&world, rw, GATEWAY);
    world.inject(hint);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    world.run();
    assert_eq!(world.ike_sa(rw), before);
    world.assert_connected(rw, gw);
}

#[test]
fn a_peer_that_is_really_gone_is_found_out_by_it() {
    let (mut world, rw, gw) = connected();
    world.cut(gw, true);
    world.run_for(seconds(10_000));
    assert_eq!(world.ike_sas(rw).len(), 1, "without dpd_delay nobody asks");
    world.inject(invalid_spi(GATEWAY));
    world.run_for(seconds(170));
    assert!(world.ike_sas(rw).is_empty());
    assert!(world.events(rw)[0].contains("giving up after 5 retransmits"));
}

#[test]
fn a_hint_during_the_handshake_is_ignored() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    world.inject(invalid_spi(GATEWAY));
    world.deliver();
    world.inject(invalid_spi(GATEWAY));
    assert_eq!(world.in_air().len(), 1);
    world.run();
    world.assert_connected(rw, gw);
}

// Being told by the peer, under our keys.

#[test]
fn a_child_sa_that_the_peer_does_not_have_is_made_anew() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.connect(&mut world, "puppet@example.org", PSK);
    let mut payloads = PayloadWriter::new();
    payloads.notify(NotifyType::INVALID_SPI, &Puppet::SPI.0.to_be_bytes());
    let answer = puppet.ask(&mut world, ExchangeType::INFORMATIONAL, &payloads);
    assert_eq!(answer.as_deref(), Some(""));
    let asked = world.mail(PUPPET_IP).unwrap();
    assert_eq!(puppet.read(&asked).as_deref(), Some("N(REKEY_SA), SA, Ni, TSi, TSr"));
    let mut payloads = PayloadWriter::new();
    payloads.notify(NotifyType::CHILD_SA_NOT_FOUND, &[]);
    let answer = puppet.seal(ExchangeType::CREATE_CHILD_SA, 0, true, &payloads);
    world.inject(answer);
    world.run();
    let asked = world.mail(PUPPET_IP).unwrap();
    assert_eq!(puppet.read(&asked).as_deref(), Some("SA, Ni, TSi, TSr"));
    assert!(world.ike_sa(gw).children.is_empty());
}

#[test]
fn an_spi_that_is_none_of_ours_is_nothing_to_us() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.connect(&mut world, "puppet@example.org", PSK);
    let before = world.ike_sa(gw);
    for data in [&[0, 0, 0, 1][..], &[1, 2, 3], &[]] {
        let mut payloads = PayloadWriter::new();
        payloads.notify(NotifyType::INVALID_SPI, data);
        let answer = puppet.ask(&mut world, ExchangeType::INFORMATIONAL, &payloads);
        assert_eq!(answer.as_deref(), Some(""));
        assert_eq!(world.mail(PUPPET_IP), None);
        assert_eq!(world.ike_sa(gw), before);
    }
}
