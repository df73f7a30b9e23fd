//! Section 3.5, changing addresses in IPsec SAs.

use ferry_ike::natt;
use ferry_ike::sim::{ActionKind, Datagram, Manner, PSK, Puppet, World, client, gateway};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, IkeSpi, NotifyType};

use crate::{CAFE, GATEWAY, HOME, TRAIN, assert_met, connected, mobile, mobile_with, said, seconds};

#[test]
fn a_client_that_moves_is_followed_within_a_round_trip() {
    let (mut world, rw, gw) = connected();
    let before = world.ike_sa(rw);
    world.move_to(rw, &[CAFE]);
    assert_eq!(world.in_air(), [said::UPDATE]);
    assert_eq!(world.ike_sa(rw).tasks_active, ["IKE_MOBIKE"]);
    // Its own packets come from the new address already.
    assert_eq!(world.child_path(rw).unwrap().local.to_string(), format!("{CAFE}:4500"));
    assert!(!world.ping(gw), "the gateway cannot know yet");
    assert_eq!(world.deliver(), said::UPDATE);
    assert_met(&mut world, rw, gw, CAFE);
    assert_eq!(world.deliver(), said::UPDATE_ANSWER);
    assert_eq!(world.deliver(), said::CHECK);
    assert_eq!(world.deliver(), said::CHECK_ANSWER);
    assert!(world.in_air().is_empty());
    assert_eq!(world.events(gw), [format!("IKE_SA gw moved from {HOME}:4500 to {CAFE}:4500")]);
    assert_eq!(world.events(rw), [format!("IKE_SA rw moved from {HOME} to {CAFE} at our end")]);
    let after = world.ike_sa(rw);
    assert_eq!((after.id, after.spi_i, after.established), (before.id, before.spi_i, before.established));
    assert_eq!(after.children[0].id, before.children[0].id);
    assert_eq!(after.local_vips, before.local_vips);
}

#[test]
fn an_address_more_moves_nothing() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[CAFE, HOME]);
    world.run();
    assert_met(&mut world, rw, gw, HOME);
}

#[test]
fn without_an_address_the_client_waits_for_one() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[]);
    assert!(world.in_air().is_empty());
    world.run_for(seconds(30));
    world.move_to(rw, &[CAFE]);
    world.run();
    assert_met(&mut world, rw, gw, CAFE);
}

#[test]
fn the_version_of_ip_may_change() {
    let (mut world, rw, gw) = connected();
    world.move_to(gw, &[GATEWAY, "2001:db8::1"]);
    world.run();
    world.move_to(rw, &["2001:db8:5::7"]);
    world.run();
    assert_met(&mut world, rw, gw, "2001:db8:5::7");
    assert_eq!(world.ike_sa(rw).remote.to_string(), "[2001:db8::1]:4500");
}

#[test]
fn a_lost_update_is_repeated_and_a_lost_answer_too() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[CAFE]);
    world.take();
    world.wait_for_deadline();
    world.deliver();
    assert_eq!(world.ike_sa(gw).remote.ip().to_string(), CAFE);
    world.take(); // the answer
    world.run_for(seconds(10));
    assert_met(&mut world, rw, gw, CAFE);
}

/// The window of one keeps the order: what has been answered once does nothing any more.
#[test]
fn an_old_update_repeated_does_nothing() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[CAFE]);
    let old = world.take();
    world.inject(old.clone());
    world.run();
    world.inject(Datagram { from: "198.51.100.99:4500".parse().unwrap(), ..old.clone() });
    assert_eq!(world.ike_sa(gw).remote.ip().to_string(), CAFE);
    world.run();
    world.move_to(rw, &[TRAIN]);
    world.run();
    for from in [old.from, "198.51.100.99:4500".parse().unwrap()] {
        world.inject(Datagram { from, ..old.clone() });
    }
    world.run();
    assert_met(&mut world, rw, gw, TRAIN);
}

#[test]
fn nothing_that_is_not_authenticated_moves_anybody() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[CAFE]);
    let update = world.take();
    for position in 4..update.octets.len() {
        let mut forged = update.clone();
        forged.octets[position] ^= 1;
        world.inject(forged);
    }
    assert_eq!(world.ike_sa(gw).remote.ip().to_string(), HOME);
    assert_eq!(world.child_path(gw).unwrap().remote.ip().to_string(), HOME);
    world.run_for(seconds(10));
    assert_met(&mut world, rw, gw, CAFE);
}

#[test]
fn the_newest_of_several_moves_wins() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[CAFE]);
    let first = world.take();
    world.move_to(rw, &[TRAIN]);
    // RFC 4555 §3.5: what is in flight goes over the new path, under the same message ID.
    let again = world.take();
    assert_eq!(again.octets, first.octets);
    assert_ne!(again.from, first.from);
    world.inject(first);
    assert_eq!(world.ike_sa(gw).remote.ip().to_string(), CAFE, "the gateway knows nothing newer");
    world.inject(again);
    world.run();
    assert_met(&mut world, rw, gw, TRAIN);
}

#[test]
fn back_before_anybody_noticed() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[CAFE]);
    let away = world.take();
    world.move_to(rw, &[HOME]);
    world.inject(away);
    world.run();
    assert_met(&mut world, rw, gw, HOME);
}

#[test]
fn a_request_in_flight_goes_over_the_new_path_with_its_message_id() {
    let (mut world, rw, gw) = mobile_with(|setup| setup.dpd(seconds(10)), |setup| setup);
    world.connect(rw, gw, "net");
    world.wait_for_deadline();
    let question = world.take();
    world.move_to(rw, &[CAFE]);
    let again = world.take();
    assert_eq!((again.octets, again.from.ip().to_string()), (question.octets, CAFE.into()));
    assert!(world.in_air().is_empty(), "the window is one");
    world.run_for(seconds(5)); // it was lost
    assert_met(&mut world, rw, gw, CAFE);
}

/// Nothing is sent over a path that the data plane does not know of yet.
#[test]
fn the_data_plane_hears_of_it_first() {
    let (mut world, rw, gw) = connected();
    world.deal(rw, ActionKind::UpdateChild, Manner::Late(seconds(1)));
    world.move_to(rw, &[CAFE]);
    assert!(world.in_air().is_empty());
    world.run_for(seconds(2));
    assert_met(&mut world, rw, gw, CAFE);
}

#[test]
fn an_answer_about_paths_that_comes_late_is_no_answer() {
    let (mut world, rw, gw) = connected();
    world.deal(rw, ActionKind::FindPaths, Manner::Late(seconds(1)));
    world.move_to(rw, &[CAFE]);
    world.run_for(seconds(1) / 2);
    world.move_to(rw, &[TRAIN]);
    world.run_for(seconds(5));
    assert_met(&mut world, rw, gw, TRAIN);
}

#[test]
fn a_nat_on_the_new_path_turns_encapsulation_on_and_its_end_turns_it_off() {
    let (mut world, rw, gw) = connected();
    let nat = world.add_nat("203.0.113.1");
    world.put_behind(rw, nat);
    world.move_to(rw, &["192.168.1.2"]);
    world.run();
    let (ours, theirs) = (world.ike_sa(rw), world.ike_sa(gw));
    assert!(ours.nat_local && theirs.nat_remote);
    assert_eq!(theirs.remote.ip().to_string(), "203.0.113.1");
    world.assert_mirrored(rw, gw);
    for sa in [&ours, &theirs] {
        assert!(sa.children[0].encapsulated);
    }
    assert!(world.host(gw).outside.installed().all(|installed| installed.encapsulated));
    assert!(world.ping(gw) && world.ping(rw));
    // Keepalives keep the mapping for as long as it is needed.
    world.run_for(seconds(300));
    assert!(world.ping(gw));

    world.take_out(rw);
    world.move_to(rw, &[CAFE]);
    world.run();
    assert_eq!((world.due(rw), world.due(gw)), (None, None), "nobody keeps a mapping alive");
    assert!(world.host(rw).outside.installed().all(|installed| !installed.encapsulated));
    assert_met(&mut world, rw, gw, CAFE);
}

/// Whose addresses are used is for who made the IKE SA to decide.
#[test]
fn a_gateway_does_not_move_its_client() {
    let (mut world, rw, _) = World::of(client().mobike().peer_at("198.51.100.66"), gateway());
    world.keep_mail("198.51.100.66".parse().unwrap());
    world.initiate(rw, "net");
    let request = world.take();
    let mut puppet = Puppet::responder("198.51.100.66:500", "198.51.100.7:500", crate::OFFER, 1);
    let response = puppet.init_response(&request, |_| {});
    world.inject(response);
    let auth = world.take();
    let mut payloads = puppet.auth("gw.example.org", PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, HOME, "10.1.0.0/16");
    payloads.notify(NotifyType::MOBIKE_SUPPORTED, &[]);
    puppet.peer = auth.from;
    let response = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(response);
    let before = world.ike_sa(rw);
    puppet.at = "203.0.113.66:500".parse().unwrap();
    world.keep_mail(puppet.at.ip());
    let mut update = PayloadWriter::new();
    update.notify(NotifyType::UPDATE_SA_ADDRESSES, &[]);
    let request = puppet.seal(ExchangeType::INFORMATIONAL, 0, false, &update);
    world.inject(request);
    world.run();
    assert_eq!(world.ike_sa(rw), before);
    let answer = world.mail(puppet.at.ip()).unwrap();
    assert_eq!(puppet.read(&answer).as_deref(), Some(""), "it is answered where it came from");
}

/// A puppet that has connected to the gateway with MOBIKE and NAT detection.
fn roving(world: &mut World) -> Puppet {
    let at = "198.51.100.66";
    world.keep_mail(at.parse().unwrap());
    let mut puppet = Puppet::initiator(&format!("{at}:500"), &format!("{GATEWAY}:500"), crate::OFFER, 1);
    let (spi_i, from, to) = (puppet.spi_i, puppet.at, puppet.peer);
    let request = puppet.init_request(None, |payloads| {
        payloads
            .notify(NotifyType::NAT_DETECTION_SOURCE_IP, &natt::detection_hash(spi_i, IkeSpi::ZERO, from))
            .notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &natt::detection_hash(spi_i, IkeSpi::ZERO, to));
    });
    world.inject(request);
    world.run();
    let answer = world.mail(at.parse().unwrap()).unwrap();
    puppet.take_init_response(&answer);
    let mut payloads = puppet.auth("puppet@example.org", PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, at, "10.1.0.0/16");
    payloads.notify(NotifyType::MOBIKE_SUPPORTED, &[]);
    let answer = puppet.ask(world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("IDr, AUTH, SAr2, TSi, TSr"));
    puppet
}

fn update() -> PayloadWriter {
    let mut payloads = PayloadWriter::new();
    payloads.notify(NotifyType::UPDATE_SA_ADDRESSES, &[]);
    payloads
}

#[test]
fn addresses_that_no_host_can_have_are_unacceptable() {
    for at in ["224.0.0.5:500", "192.0.2.1:500", "198.51.100.66:0"] {
        let (mut world, _, gw) = World::of(client(), gateway().mobike());
        let mut puppet = roving(&mut world);
        let before = world.ike_sa(gw);
        puppet.at = at.parse().unwrap();
        world.keep_mail(puppet.at.ip());
        let request = puppet.seal(ExchangeType::INFORMATIONAL, 2, false, &update());
        world.inject(request);
        let answer = world.take();
        assert_eq!(puppet.read(&answer).as_deref(), Some("N(UNACCEPTABLE_ADDRESSES)"));
        assert_eq!(world.ike_sa(gw), before);
        assert!(world.in_air().is_empty());
    }
}

/// Who is told that its addresses are unacceptable tries others.
#[test]
fn a_refused_path_is_left_for_another() {
    let (mut world, rw, _) = World::of(client().mobike().peer_at("198.51.100.66"), gateway());
    let there = "198.51.100.66".parse().unwrap();
    world.keep_mail(there);
    world.initiate(rw, "net");
    let request = world.take();
    let mut puppet = Puppet::responder("198.51.100.66:500", "198.51.100.7:500", crate::OFFER, 1);
    let response = puppet.init_response(&request, |_| {});
    world.inject(response);
    world.run();
    world.mail(there);
    let mut payloads = puppet.auth("gw.example.org", PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, HOME, "10.1.0.0/16");
    payloads.notify(NotifyType::MOBIKE_SUPPORTED, &[]);
    let response = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(response);
    world.move_to(rw, &[CAFE, TRAIN]);
    world.run();
    let update = world.mail(there).unwrap();
    assert_eq!(update.from.ip().to_string(), CAFE);
    let mut refusal = PayloadWriter::new();
    refusal.notify(NotifyType::UNACCEPTABLE_ADDRESSES, &[]);
    let cookie = puppet.notify_data(&update, NotifyType::COOKIE2).unwrap();
    puppet.peer = update.from;
    refusal.notify(NotifyType::COOKIE2, &cookie);
    let response = puppet.seal(ExchangeType::INFORMATIONAL, 2, true, &refusal);
    world.inject(response);
    world.run();
    let update = world.mail(there).unwrap();
    assert_eq!(update.from.ip().to_string(), TRAIN);
    assert_eq!(world.ike_sa(rw).local.ip().to_string(), TRAIN);
}

/// An uplink comes back with IPv6 first: the client tries the gateway's other address, and returns to the one where the
/// gateway was when IPv4 is there again, rather than wait for an answer from an address that leads nowhere.
#[test]
fn the_peer_is_sought_where_it_was_when_the_way_there_is_back() {
    let (mut world, rw, gw) = mobile();
    world.move_to(gw, &[GATEWAY, "2001:db8::1"]);
    world.connect(rw, gw, "net");
    world.block("2001:db8::1", true);
    world.move_to(rw, &["2001:db8:5::7"]);
    assert_eq!(world.ike_sa(rw).remote.ip().to_string(), "2001:db8::1");
    world.wait(seconds(1));
    world.move_to(rw, &["2001:db8:5::7", CAFE]);
    assert_eq!(world.ike_sa(rw).remote.ip().to_string(), GATEWAY);
    world.run();
    assert_met(&mut world, rw, gw, CAFE);
}
