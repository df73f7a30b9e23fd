//! Section 3.9, NAT prohibition: where one end does no NAT traversal, addresses are protected.

use ferry_ike::sim::{PSK, Puppet, World, client, gateway};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, NotifyType};

use crate::{CAFE, GATEWAY, HOME};

const PUPPET: &str = "198.51.100.66:500";

/// 198.51.100.66:500 to 192.0.2.1:500, and the same from another address.
const AS_SENT: [u8; 12] = [198, 51, 100, 66, 192, 0, 2, 1, 1, 0xf4, 1, 0xf4];
const FROM_ELSEWHERE: [u8; 12] = [10, 0, 0, 66, 192, 0, 2, 1, 1, 0xf4, 1, 0xf4];

fn auth(puppet: &Puppet, no_nats: &[u8]) -> PayloadWriter {
    let mut payloads = puppet.auth("puppet@example.org", PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.66", "10.1.0.0/16");
    payloads.notify(NotifyType::MOBIKE_SUPPORTED, &[]).notify(NotifyType::NO_NATS_ALLOWED, no_nats);
    payloads
}

#[test]
fn a_nat_nobody_expected_keeps_an_ike_sa_from_standing() {
    for (no_nats, expected) in
        [(AS_SENT, "IDr, AUTH, SAr2, TSi, TSr"), (FROM_ELSEWHERE, "N(UNEXPECTED_NAT_DETECTED)")]
    {
        let (mut world, _, gw) = World::of(client(), gateway().mobike());
        let mut puppet = Puppet::initiator(PUPPET, &format!("{GATEWAY}:500"), crate::OFFER, 1);
        puppet.open(&mut world);
        let payloads = auth(&puppet, &no_nats);
        let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(answer.as_deref(), Some(expected));
        assert_eq!(world.ike_sas(gw).len(), usize::from(no_nats == AS_SENT));
    }
}

#[test]
fn an_update_that_came_through_a_nat_changes_nothing() {
    let (mut world, _, gw) = World::of(client(), gateway().mobike());
    let mut puppet = Puppet::initiator(PUPPET, &format!("{GATEWAY}:500"), crate::OFFER, 1);
    puppet.open(&mut world);
    let payloads = auth(&puppet, &AS_SENT);
    puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    let before = world.ike_sa(gw);
    puppet.at = "203.0.113.66:500".parse().unwrap();
    world.keep_mail(puppet.at.ip());
    let mut update = PayloadWriter::new();
    update
        .notify(NotifyType::UPDATE_SA_ADDRESSES, &[])
        .notify(NotifyType::ADDITIONAL_IP4_ADDRESS, &[203, 0, 113, 99])
        .notify(NotifyType::NO_NATS_ALLOWED, &AS_SENT);
    let answer = puppet.ask(&mut world, ExchangeType::INFORMATIONAL, &update);
    assert_eq!(answer.as_deref(), Some("N(UNEXPECTED_NAT_DETECTED)"));
    assert_eq!(world.ike_sa(gw), before);
}

/// Several times, as one changed datagram must not make a path useless; then another path is taken.
#[test]
fn a_client_whose_update_meets_a_nat_tries_again() {
    let (mut world, rw, _) = World::of(client().mobike().peer_at("198.51.100.66"), gateway());
    let there = "198.51.100.66".parse().unwrap();
    world.keep_mail(there);
    world.initiate(rw, "net");
    let request = world.take();
    let mut puppet = Puppet::responder(PUPPET, "198.51.100.7:500", crate::OFFER, 1);
    let response = puppet.init_response(&request, |_| {});
    world.inject(response);
    assert_eq!(world.ike_sa(rw).local.port(), 500, "without NAT traversal there is no other port");
    world.run();
    let auth = world.mail(there).unwrap();
    assert_eq!(
        puppet.notify_data(&auth, NotifyType::NO_NATS_ALLOWED).unwrap()[..4],
        [198, 51, 100, 7],
        "it says where it is"
    );
    let mut payloads = puppet.auth("gw.example.org", PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, HOME, "10.1.0.0/16");
    payloads.notify(NotifyType::MOBIKE_SUPPORTED, &[]);
    let response = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(response);
    world.move_to(rw, &[CAFE]);
    for message_id in 2..8 {
        world.run();
        let update = world.mail(there).unwrap();
        assert_eq!(
            puppet.read(&update).as_deref(),
            Some("N(UPDATE_SA_ADDRESSES), N(NO_NATS_ALLOWED), N(COOKIE2)")
        );
        assert_eq!(puppet.notify_data(&update, NotifyType::NO_NATS_ALLOWED).unwrap()[..4], [203, 0, 113, 5]);
        puppet.peer = update.from;
        let mut refusal = PayloadWriter::new();
        refusal.notify(NotifyType::UNEXPECTED_NAT_DETECTED, &[]);
        refusal.notify(NotifyType::COOKIE2, &puppet.notify_data(&update, NotifyType::COOKIE2).unwrap());
        let response = puppet.seal(ExchangeType::INFORMATIONAL, message_id, true, &refusal);
        world.inject(response);
    }
    world.run();
    assert_eq!(world.mail(there), None, "there is an end to it");
    assert_eq!(world.ike_sas(rw).len(), 1);
}
