//! Section 3.7, return routability.

use ferry_ike::sim::{PSK, Puppet, World, client, gateway};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, NotifyType};

use crate::{CAFE, GATEWAY, HOME, TRAIN, assert_met, connected, said, seconds};

const PUPPET: &str = "198.51.100.66:500";

#[test]
fn a_cookie_is_given_back_whoever_asks() {
    for wants_mobike in [true, false] {
        let (mut world, ..) =
            World::of(client(), gateway().connection(|connection| connection.mobike = wants_mobike));
        let mut puppet = Puppet::initiator(PUPPET, &format!("{GATEWAY}:500"), crate::OFFER, 1);
        puppet.connect(&mut world, "puppet@example.org", PSK);
        let mut request = PayloadWriter::new();
        request.notify(NotifyType::COOKIE2, &[7; 64]);
        let request = puppet.seal(ExchangeType::INFORMATIONAL, 2, false, &request);
        world.inject(request);
        world.run();
        let answer = world.mail(puppet.at.ip()).unwrap();
        assert_eq!(puppet.read(&answer).as_deref(), Some("N(COOKIE2)"));
        assert_eq!(puppet.notify_data(&answer, NotifyType::COOKIE2), Some(vec![7; 64]));
    }
}

/// Without the right cookie the answer was written by somebody who has not seen the request.
#[test]
fn a_wrong_cookie_ends_the_ike_sa() {
    for cookie in [Some([0; 16]), None] {
        let (mut world, _, gw) = World::of(client(), gateway().mobike());
        let mut puppet = Puppet::initiator(PUPPET, &format!("{GATEWAY}:500"), crate::OFFER, 1);
        puppet.open(&mut world);
        let mut payloads = puppet.auth("puppet@example.org", PSK);
        Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.66", "10.1.0.0/16");
        payloads.notify(NotifyType::MOBIKE_SUPPORTED, &[]);
        puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
        puppet.at = "203.0.113.66:500".parse().unwrap();
        world.keep_mail(puppet.at.ip());
        let mut update = PayloadWriter::new();
        update.notify(NotifyType::UPDATE_SA_ADDRESSES, &[]);
        assert_eq!(puppet.ask(&mut world, ExchangeType::INFORMATIONAL, &update).as_deref(), Some(""));
        let check = world.mail(puppet.at.ip()).unwrap();
        assert_eq!(puppet.read(&check).as_deref(), Some("N(COOKIE2)"));
        let mut answer = PayloadWriter::new();
        if let Some(cookie) = cookie {
            answer.notify(NotifyType::COOKIE2, &cookie);
        }
        let answer = puppet.seal(ExchangeType::INFORMATIONAL, 0, true, &answer);
        world.inject(answer);
        world.run();
        let farewell = world.mail(puppet.at.ip()).unwrap();
        assert_eq!(puppet.read(&farewell).as_deref(), Some("D"));
        let answer = puppet.seal(ExchangeType::INFORMATIONAL, 1, true, &PayloadWriter::new());
        world.inject(answer);
        assert!(world.ike_sas(gw).is_empty());
    }
}

/// Who is not where it says it is loses the IKE SA.
#[test]
fn a_client_that_does_not_receive_at_its_new_address_is_given_up() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[CAFE]);
    world.deliver();
    world.cut(rw, true);
    world.run_for(seconds(200));
    assert!(world.ike_sas(gw).is_empty());
    assert!(world.host(gw).outside.installed().next().is_none());
}

#[test]
fn each_new_address_is_checked() {
    let (mut world, rw, gw) = connected();
    for at in [CAFE, TRAIN, HOME] {
        world.move_to(rw, &[at]);
        let said: Vec<String> = (0..4).map(|_| world.deliver()).collect();
        assert_eq!(said, [said::UPDATE, said::UPDATE_ANSWER, said::CHECK, said::CHECK_ANSWER]);
        assert_met(&mut world, rw, gw, at);
    }
}
