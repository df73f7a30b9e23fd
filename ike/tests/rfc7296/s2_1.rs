//! Section 2.1, Use of Retransmission Timers, as far as the first messages are concerned; the timers are in `s2_4`.

use ferry_ike::sim::{PSK, Puppet, World, client, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::registry::{ExchangeType, Spi};

use crate::{GATEWAY, OFFER, PUPPET, PUPPET_IP, said, seconds};

#[test]
fn the_same_first_message_gets_the_same_answer_and_no_second_sa() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    let request = world.take();
    world.inject(request.clone());
    let answer = world.take();
    world.inject(request.clone());
    world.inject(request);
    assert_eq!(world.ike_sas(gw).len(), 1);
    assert_eq!(world.take(), answer);
    assert_eq!(world.take(), answer);
    world.inject(answer);
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn a_late_first_message_of_an_established_ike_sa_is_ignored() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    let request = world.take();
    world.inject(request.clone());
    world.run();
    world.assert_connected(rw, gw);
    let (before, answered) = (world.ike_sa(gw), world.host(gw).endpoint.counters().ike_sa_init.responses_out);
    world.inject(request);
    assert_eq!(world.in_air(), Vec::<&str>::new());
    assert_eq!(world.ike_sa(gw), before);
    assert_eq!(world.host(gw).endpoint.counters().ike_sa_init.responses_out, answered);
}

#[test]
fn two_initiators_with_the_same_spi_and_address_are_told_apart() {
    let (mut world, _, gw) = World::of(client(), gateway());
    world.keep_mail(PUPPET_IP);
    let mut one = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    let mut other = Puppet::initiator(PUPPET, GATEWAY, OFFER, 2);
    other.spi_i = one.spi_i;
    for puppet in [&mut one, &mut other] {
        let request = puppet.init_request(None, |_| {});
        world.inject(request);
        world.run();
        let answer = world.mail(PUPPET_IP).unwrap();
        puppet.take_init_response(&answer);
    }
    assert_ne!(one.spi_r, other.spi_r);
    assert_eq!(world.ike_sas(gw).len(), 2);
    for puppet in [&mut one, &mut other] {
        let mut auth = puppet.auth("someone@example.org", PSK);
        let spi = Spi(0x1000_0000);
        Puppet::child(&mut auth, "aes128gcm16", spi, "198.51.100.66", "10.1.0.0/16");
        let request = puppet.seal(ExchangeType::IKE_AUTH, 1, false, &auth);
        world.inject(request);
        world.run();
        let answer = world.mail(PUPPET_IP).unwrap();
        assert_eq!(puppet.read(&answer).as_deref(), Some("IDr, AUTH, SAr2, TSi, TSr"));
    }
    assert!(world.ike_sas(gw).iter().all(|sa| sa.state == IkeSaState::Established));
}

#[test]
fn a_first_message_has_an_spi_and_message_id_zero() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    let mut request = puppet.init_request(None, |_| {});
    request.octets[23] = 1; // the message ID
    world.inject(request.clone());
    request.octets[23] = 0;
    request.octets[..8].fill(0); // the initiator's SPI
    world.inject(request);
    assert!(world.in_air().is_empty() && world.ike_sas(gw).is_empty());
    assert_eq!(world.host(gw).endpoint.counters().invalid, 2);
}

/// Our own first message, sent back to us as if the peer had written it.
#[test]
fn a_reflected_first_message_is_ignored() {
    let both = || client().peer_id("%any");
    let (mut world, rw, gw) = World::of(both(), gateway());
    world.initiate(rw, "net");
    let mut request = world.take();
    (request.from, request.to) = (request.to, request.from);
    world.inject(request);
    assert!(world.in_air().is_empty());
    assert_eq!(world.ike_sas(rw).len(), 1);
    world.wait(seconds(4));
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn a_lost_request_is_sent_again() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    let lost = world.take();
    assert_eq!(world.wait_for_deadline(), seconds(4) - std::time::Duration::from_millis(10));
    let again = world.take();
    assert_eq!(again, lost);
    world.inject(again);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    let lost = world.take();
    world.wait(seconds(4));
    let again = world.take();
    assert_eq!(again, lost);
    world.inject(again);
    assert_eq!(world.deliver(), said::AUTH_ANSWER);
    world.assert_connected(rw, gw);
    assert_eq!(world.host(rw).endpoint.counters().retransmits, 2);
}

#[test]
fn a_lost_response_is_sent_again_when_asked_for() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    let lost = world.take();
    world.wait(seconds(4));
    assert_eq!(world.deliver(), said::INIT);
    let again = world.take();
    assert_eq!(again, lost);
    world.inject(again);
    assert_eq!(world.deliver(), said::AUTH);
    let lost = world.take();
    assert_eq!(world.ike_sa(gw).state, IkeSaState::Established);
    world.wait(seconds(4));
    assert_eq!(world.deliver(), said::AUTH);
    let again = world.take();
    assert_eq!(again, lost);
    world.inject(again);
    world.assert_connected(rw, gw);
    assert_eq!(world.host(gw).outside.installed().count(), 1);
}

#[test]
fn late_and_repeated_messages_of_a_handshake_change_nothing_any_more() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    let mut late = Vec::new();
    for _ in 0..4 {
        let datagram = world.take();
        late.push(datagram.clone());
        world.inject(datagram.clone());
        if !late.is_empty() {
            // A copy right behind it: in the second half, of what is already under way.
            world.inject(datagram);
        }
        while world.in_air().len() > 1 {
            late.push(world.take());
        }
    }
    world.run();
    world.assert_connected(rw, gw);
    let before = (world.ike_sa(rw), world.ike_sa(gw));
    for datagram in late {
        world.inject(datagram);
        world.run();
        assert_eq!((world.ike_sa(rw), world.ike_sa(gw)), before);
    }
    world.assert_connected(rw, gw);
}
