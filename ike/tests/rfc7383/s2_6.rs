//! Section 2.6, Receiving IKE Fragment Message: lost, repeated, reordered, mixed, forged and hostile ones.

use ferry_ike::sim::{Datagram, HostId, PSK, Puppet, World, client, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, PayloadType};

use crate::{GATEWAY, OFFER, PUPPET, PUPPET_IP, end, seconds, world_of_fragments};

/// Takes out of the air what a host has just sent.
fn in_flight(world: &mut World) -> Vec<Datagram> {
    (0..world.in_air().len()).map(|_| world.take()).collect()
}

// Honest peers on bad links.

#[test]
fn each_fragment_of_request_and_response_may_be_lost_and_comes_again() {
    for lost in 0..5 {
        let (mut world, rw, gw) = world_of_fragments();
        for nth in 0..5 {
            if nth == lost {
                world.take();
            } else if !world.in_air().is_empty() {
                world.deliver();
            }
        }
        world.run();
        assert_eq!(world.ike_sa(rw).state, IkeSaState::Connecting, "without {lost}");
        world.run_for(seconds(5));
        world.assert_connected(rw, gw);
        world.assert_no_faults();
    }
}

/// What was kept of the first try is not needed again: only what was lost has to come.
#[test]
fn fragments_of_several_tries_make_one_message() {
    let (mut world, rw, gw) = world_of_fragments();
    let request = in_flight(&mut world);
    for number in [2, 0, 1] {
        world.inject(request[number].clone());
        if number != 1 {
            assert!(world.in_air().is_empty());
            world.wait_for_deadline();
            in_flight(&mut world);
        }
    }
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn fragments_may_come_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (mut world, rw, gw) = world_of_fragments();
        let request = in_flight(&mut world);
        for nth in order {
            world.inject(request[nth].clone());
        }
        let mut response = in_flight(&mut world);
        assert_eq!(response.len(), 2);
        response.reverse();
        response.into_iter().for_each(|fragment| world.inject(fragment));
        world.assert_connected(rw, gw);
    }
}

#[test]
fn a_fragment_that_comes_twice_counts_once() {
    let (mut world, rw, gw) = world_of_fragments();
    let request = in_flight(&mut world);
    for nth in [0, 0, 1, 1, 0] {
        world.inject(request[nth].clone());
        assert!(world.in_air().is_empty());
    }
    world.inject(request[2].clone());
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn what_is_not_completed_is_forgotten_and_may_come_again() {
    let (mut world, mut puppet, gw, payloads) = stranger();
    // An established IKE SA has no other deadline.
    establish(&mut world, &mut puppet, &payloads);
    assert_eq!(world.due(gw), None);
    let mut question = PayloadWriter::new();
    question.vendor_id(&[7; 100]);
    let request = puppet.seal_in_fragments(ExchangeType::INFORMATIONAL, 2, false, &question, 2);
    world.inject(request[0].clone());
    assert_eq!(world.due(gw), Some(seconds(60)));
    world.wait(seconds(61));
    assert_eq!(world.due(gw), None);
    world.inject(request[1].clone());
    world.run();
    assert_eq!(world.mail(PUPPET_IP), None);
    world.inject(request[0].clone());
    world.run();
    assert_eq!(puppet.read(&world.mail(PUPPET_IP).unwrap()).as_deref(), Some(""));
}

// Sets of fragments.

/// A gateway, a puppet past IKE_SA_INIT, and what it has to say in IKE_AUTH.
fn stranger() -> (World, Puppet, HostId, PayloadWriter) {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.open(&mut world);
    let mut payloads = puppet.auth("puppet@example.org", PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.66", "10.1.0.0/16");
    (world, puppet, gw, payloads)
}

fn auth_in(puppet: &mut Puppet, payloads: &PayloadWriter, total: u16) -> Vec<Datagram> {
    puppet.seal_in_fragments(ExchangeType::IKE_AUTH, 1, false, payloads, total)
}

fn establish(world: &mut World, puppet: &mut Puppet, payloads: &PayloadWriter) {
    for fragment in auth_in(puppet, payloads, 3) {
        world.inject(fragment);
    }
    assert_established(world, puppet);
}

/// The puppet gets the answer that it is let in.
fn assert_established(world: &mut World, puppet: &Puppet) {
    world.run();
    let answer = world.mail(PUPPET_IP).expect("IKE_AUTH is answered");
    assert_eq!(puppet.read(&answer).as_deref(), Some("IDr, AUTH, SAr2, TSi, TSr"));
    assert_eq!(world.mail(PUPPET_IP), None);
}

fn assert_not_answered(world: &mut World, gw: HostId) {
    world.run();
    assert_eq!(world.mail(PUPPET_IP), None);
    assert_eq!(world.ike_sa(gw).state, IkeSaState::Connecting);
}

#[test]
fn smaller_fragments_take_the_place_of_larger_ones() {
    let (mut world, mut puppet, gw, payloads) = stranger();
    let large = auth_in(&mut puppet, &payloads, 2);
    let small = auth_in(&mut puppet, &payloads, 3);
    world.inject(large[0].clone());
    world.inject(small[1].clone());
    // The rest of the larger ones comes too late.
    world.inject(large[1].clone());
    world.inject(small[0].clone());
    assert_not_answered(&mut world, gw);
    world.inject(small[2].clone());
    assert_established(&mut world, &puppet);
}

#[test]
fn a_whole_message_needs_no_fragments() {
    let (mut world, mut puppet, gw, payloads) = stranger();
    let fragments = auth_in(&mut puppet, &payloads, 2);
    world.inject(fragments[0].clone());
    assert_not_answered(&mut world, gw);
    let whole = puppet.seal(ExchangeType::IKE_AUTH, 1, false, &payloads);
    world.inject(whole);
    assert_established(&mut world, &puppet);
    // The other half belongs to what has been answered.
    world.inject(fragments[1].clone());
    world.run();
    assert_eq!(world.mail(PUPPET_IP), None);
    end_of(world, puppet);
}

fn end_of(mut world: World, mut puppet: Puppet) {
    let mut payloads = PayloadWriter::new();
    payloads.delete_ike();
    let request = puppet.seal(ExchangeType::INFORMATIONAL, 2, false, &payloads);
    world.inject(request);
    end(world);
}

#[test]
fn a_message_may_be_one_fragment_and_a_fragment_may_be_empty() {
    for total in [1, 250] {
        let (mut world, mut puppet, _, payloads) = stranger();
        for fragment in auth_in(&mut puppet, &payloads, total) {
            world.inject(fragment);
        }
        assert_established(&mut world, &puppet);
        end_of(world, puppet);
    }
}

#[test]
fn fragments_of_different_exchanges_make_no_message() {
    let (mut world, mut puppet, gw, payloads) = stranger();
    let other = puppet.seal_in_fragments(ExchangeType::INFORMATIONAL, 1, false, &payloads, 3);
    let right = auth_in(&mut puppet, &payloads, 3);
    world.inject(other[0].clone());
    world.inject(right[1].clone());
    world.inject(right[2].clone());
    assert_not_answered(&mut world, gw);
    world.inject(right[0].clone());
    assert_established(&mut world, &puppet);
}

// Strangers.

#[test]
fn a_forged_fragment_is_not_kept_and_spoils_nothing() {
    let (mut world, mut puppet, gw, payloads) = stranger();
    let right = auth_in(&mut puppet, &payloads, 3);
    // One with a larger total would begin anew if it were believed.
    let larger = auth_in(&mut puppet, &payloads, 4);
    for nth in 0..3 {
        for forged in [&right[nth], &larger[nth]] {
            let mut forged = forged.clone();
            *forged.octets.last_mut().unwrap() ^= 1;
            world.inject(forged);
        }
        // Under the keys of this IKE SA, but with another number on it.
        let mut renumbered = right[nth].clone();
        renumbered.octets[33] = u8::try_from((nth + 1) % 3 + 1).unwrap();
        world.inject(renumbered);
        assert_not_answered(&mut world, gw);
        world.inject(right[nth].clone());
    }
    assert_established(&mut world, &puppet);
    assert_eq!(world.host(gw).endpoint.counters().unauthentic, 8);
}

#[test]
fn fragments_of_a_stranger_do_not_keep_anything_alive() {
    let (mut world, mut puppet, gw, payloads) = stranger();
    for fragment in auth_in(&mut puppet, &payloads, 3).into_iter().take(2) {
        world.inject(fragment);
    }
    // As long as a half-open IKE SA may take, and no longer.
    world.run_for(seconds(31));
    assert!(world.ike_sas(gw).is_empty());
    end(world);
}

#[test]
fn impossible_numbers_are_ignored() {
    let (mut world, mut puppet, gw, payloads) = stranger();
    let right = auth_in(&mut puppet, &payloads, 3);
    for (number, total) in [(0, 0), (0, 3), (4, 3), (1, 0), (0xffff, 0xfffe)] {
        let mut wrong = right[0].clone();
        wrong.octets[32..34].copy_from_slice(&u16::to_be_bytes(number));
        wrong.octets[34..36].copy_from_slice(&u16::to_be_bytes(total));
        world.inject(wrong);
    }
    assert_not_answered(&mut world, gw);
    assert_eq!(world.host(gw).endpoint.counters().invalid, 5);
    right.into_iter().for_each(|fragment| world.inject(fragment));
    assert_established(&mut world, &puppet);
}

/// Who holds the keys may say so much and no more.
#[test]
fn a_peer_cannot_fill_our_memory() {
    let (mut world, mut puppet, gw, payloads) = stranger();
    let piece = |puppet: &mut Puppet, number, total, length: usize| {
        let first = PayloadType::VENDOR_ID;
        puppet.seal_fragment(ExchangeType::IKE_AUTH, 1, false, first, (number, total), &vec![0; length])
    };
    // More fragments than any message of ours would have.
    let many = piece(&mut puppet, 1, 256, 1);
    world.inject(many);
    // More octets than any message may have: of the ones before nothing is kept.
    for number in 1..=10 {
        let large = piece(&mut puppet, number, 11, 1100);
        world.inject(large);
    }
    assert_not_answered(&mut world, gw);
    assert_eq!(world.host(gw).endpoint.counters().invalid, 1);
    // The tenth was too much, so that this is not the last that is missing.
    let last = piece(&mut puppet, 11, 11, 10);
    world.inject(last);
    assert_not_answered(&mut world, gw);
    let right = auth_in(&mut puppet, &payloads, 12);
    right.into_iter().for_each(|fragment| world.inject(fragment));
    assert_established(&mut world, &puppet);
}

#[test]
fn nonsense_in_fragments_is_nonsense() {
    let (mut world, mut puppet, gw, _) = stranger();
    for (number, chunk) in [(1, &[0, 0, 0xff][..]), (2, &[0xff, 1, 2])] {
        let exchange = ExchangeType::IKE_AUTH;
        let fragment = puppet.seal_fragment(exchange, 1, false, PayloadType::ID_I, (number, 2), chunk);
        world.inject(fragment);
    }
    world.run();
    let answer = world.mail(PUPPET_IP).unwrap();
    assert_eq!(puppet.read(&answer).as_deref(), Some("N(INVALID_SYNTAX)"));
    assert!(world.ike_sas(gw).is_empty());
}

/// A second attempt has other keys: pieces of an answer to the first are no part of the answer to the second.
#[test]
fn pieces_under_the_keys_of_an_earlier_attempt_are_forgotten() {
    let (client, gateway) = crate::pair();
    let client = client.connection(|connection| connection.keyingtries = 2);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    (0..3).for_each(|_| drop(world.deliver()));
    world.deliver();
    world.take(); // the second half of the answer
    world.cut(gw, true);
    world.run_for(seconds(170));
    world.cut(gw, false);
    world.run_for(seconds(10));
    world.assert_connected(rw, gw);
}
