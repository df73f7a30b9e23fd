//! Sections 2.2 and 2.3, Message IDs and the window: what is repeated, out of turn, reflected or not under our keys
//! changes nothing.

use ferry_ike::sim::{Datagram, HostId, PSK, Puppet, World, client, gateway};
use ferry_ike::status::IkeSaStatus;
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, NotifyType, ProtocolId};

use crate::{GATEWAY, OFFER, PUPPET, PUPPET_IP, said, seconds};

fn connected_puppet() -> (World, Puppet, HostId) {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.connect(&mut world, "puppet@example.org", PSK);
    (world, puppet, gw)
}

fn deletion() -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.delete_ike();
    payloads
}

/// Everything about the SAs of two hosts that a message could change.
fn all(world: &World, hosts: [HostId; 2]) -> [Vec<IkeSaStatus>; 2] {
    hosts.map(|host| world.ike_sas(host))
}

#[test]
fn requests_count_from_zero_on_either_side() {
    let (mut world, rw, gw) = World::of(client().dpd(seconds(30)), gateway().dpd(seconds(20)));
    world.connect(rw, gw, "net");
    let mut ids = Vec::new();
    while ids.len() < 4 {
        world.wait_for_deadline();
        while !world.in_air().is_empty() {
            let message = world.take();
            let (flags, id) = (message.octets[19], message.octets[23]);
            ids.push((flags, id));
            world.inject(message);
        }
    }
    // Flags: 0x08 from the original initiator, 0x20 a response.
    assert_eq!(ids[..2], [(0x00, 0), (0x28, 0)], "the gateway's first request, and the answer to it");
    assert_eq!(ids[2..4], [(0x00, 1), (0x28, 1)]);
}

#[test]
fn a_request_out_of_turn_is_ignored() {
    let (mut world, mut puppet, gw) = connected_puppet();
    let before = world.ike_sa(gw);
    for id in [0, 1, 3, 4, 100, u32::MAX] {
        let request = puppet.seal(ExchangeType::INFORMATIONAL, id, false, &deletion());
        world.inject(request);
        if id != 1 {
            assert!(world.in_air().is_empty(), "{id}");
        }
        world.run();
        world.mail(PUPPET_IP);
        assert_eq!(world.ike_sa(gw), before, "{id}");
    }
    assert_eq!(puppet.ask(&mut world, ExchangeType::INFORMATIONAL, &deletion()).as_deref(), Some(""));
    assert!(world.ike_sas(gw).is_empty());
}

/// Under the ID of the request that was answered last it gets that answer, whatever it says.
#[test]
fn a_repeated_request_gets_the_answer_again_and_does_nothing() {
    let (mut world, mut puppet, gw) = connected_puppet();
    let request = puppet.seal(ExchangeType::INFORMATIONAL, 2, false, &PayloadWriter::new());
    world.inject(request.clone());
    world.run();
    let answer = world.mail(PUPPET_IP).unwrap();
    let before = world.ike_sa(gw);
    world.inject(request);
    world.run();
    assert_eq!(world.mail(PUPPET_IP).as_ref(), Some(&answer));
    let other = puppet.seal(ExchangeType::INFORMATIONAL, 2, false, &deletion());
    world.inject(other);
    world.run();
    assert_eq!(world.mail(PUPPET_IP), Some(answer));
    assert_eq!(world.ike_sa(gw), before);
}

#[test]
fn a_response_that_is_not_awaited_is_ignored() {
    let (mut world, mut puppet, gw) = connected_puppet();
    let before = world.ike_sa(gw);
    for id in [0, 1, 2] {
        let response = puppet.seal(ExchangeType::INFORMATIONAL, id, true, &deletion());
        world.inject(response);
        assert!(world.in_air().is_empty());
        assert_eq!(world.ike_sa(gw), before);
    }
}

#[test]
fn a_response_of_another_exchange_is_ignored() {
    let (mut world, mut puppet, gw) = connected_puppet();
    let child = world.ike_sa(gw).children[0].id;
    world.terminate_child(gw, child);
    let before = world.ike_sa(gw);
    for exchange in [ExchangeType::IKE_AUTH, ExchangeType::CREATE_CHILD_SA, ExchangeType(240)] {
        let response = puppet.seal(exchange, 0, true, &PayloadWriter::new());
        world.inject(response);
        assert_eq!(world.ike_sa(gw), before);
    }
    let mut payloads = PayloadWriter::new();
    payloads.delete(ProtocolId::ESP, &[Puppet::SPI]);
    let response = puppet.seal(ExchangeType::INFORMATIONAL, 0, true, &payloads);
    world.inject(response);
    assert!(world.ike_sa(gw).children.is_empty());
}

#[test]
fn a_second_request_waits_for_the_answer_to_the_first() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    world.cut(gw, true);
    let sa = world.ike_sa(rw);
    world.terminate_child(rw, sa.children[0].id);
    world.terminate(rw, sa.id);
    assert_eq!(world.ike_sa(rw).tasks_active, ["CHILD_DELETE"]);
    assert_eq!(world.ike_sa(rw).tasks_queued, ["IKE_DELETE"]);
    assert_eq!(world.in_air().len(), 1);
    world.run();
    world.cut(gw, false);
    world.run_for(seconds(5));
    assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
    assert_eq!(world.host(gw).endpoint.counters().informational.requests_in, 2);
}

/// Every message of a whole life is sent again, and reflected, and cut and bent, at every later moment.
#[test]
fn old_messages_do_nothing_whatever_is_done_to_them() {
    let (mut world, rw, gw) = World::of(client().dpd(seconds(30)), gateway());
    let mut old: Vec<Datagram> = Vec::new();
    world.initiate(rw, "net");
    loop {
        while !world.in_air().is_empty() {
            let message = world.take();
            old.push(message.clone());
            world.inject(message);
        }
        if old.len() >= 8 {
            break;
        }
        world.wait_for_deadline();
    }
    world.assert_connected(rw, gw);
    let hosts = [rw, gw];
    let before = all(&world, hosts);
    let counters = hosts.map(|host| world.host(host).endpoint.counters().informational);
    for message in &old {
        world.inject(message.clone());
        let reflected = Datagram { from: message.to, to: message.from, octets: message.octets.clone() };
        world.inject(reflected);
        for position in 0..message.octets.len() {
            let mut bent = message.clone();
            bent.octets[position] ^= 0x40;
            world.inject(bent);
        }
        for length in [0, 1, 27, 28, message.octets.len() - 1] {
            let mut cut = message.clone();
            cut.octets.truncate(length);
            world.inject(cut);
        }
        world.run();
    }
    // A bent first message may well be a first message. Of those there are as many as a stranger could open too.
    let mut after = all(&world, hosts);
    after[1].retain(|sa| sa.connection.is_some());
    assert_eq!(after, before);
    assert_eq!(hosts.map(|host| world.host(host).endpoint.counters().informational), counters);
    world.assert_connected(rw, gw);
}

/// The same while a request is open: what is not its answer does not close it.
#[test]
fn forged_answers_do_not_settle_a_request() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    assert_eq!(world.deliver(), said::AUTH);
    let answer = world.take();
    let before = world.ike_sa(rw);
    for position in 0..answer.octets.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut forged = answer.clone();
            forged.octets[position] ^= bit;
            world.inject(forged);
            assert_eq!(world.ike_sa(rw), before, "octet {position}");
        }
    }
    // An error that is not protected says nothing (RFC 7296 §2.21.2).
    let puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 1);
    for kind in
        [NotifyType::AUTHENTICATION_FAILED, NotifyType::INVALID_IKE_SPI, NotifyType::INVALID_MESSAGE_ID]
    {
        let mut forged = puppet.refuse(&answer, kind, &[]);
        forged.octets[8..16].copy_from_slice(&answer.octets[8..16]);
        world.inject(forged);
        assert_eq!(world.ike_sa(rw), before);
    }
    world.inject(answer);
    world.assert_connected(rw, gw);
}

/// The peer of one IKE SA has no say in another.
#[test]
fn the_keys_of_one_ike_sa_do_not_open_another() {
    let (mut world, mut puppet, gw) = connected_puppet();
    let mut other = Puppet::initiator("203.0.113.9:500", GATEWAY, OFFER, 2);
    other.connect(&mut world, "other@example.org", PSK);
    let before = world.ike_sas(gw);
    (puppet.spi_i, other.spi_i) = (other.spi_i, puppet.spi_i);
    (puppet.spi_r, other.spi_r) = (other.spi_r, puppet.spi_r);
    for forger in [&mut puppet, &mut other] {
        let request = forger.seal(ExchangeType::INFORMATIONAL, 2, false, &deletion());
        world.inject(request);
    }
    assert!(world.in_air().is_empty());
    assert_eq!(world.ike_sas(gw), before);
    assert_eq!(world.host(gw).endpoint.counters().unauthentic, 2);
}
