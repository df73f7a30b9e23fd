//! Section 2.23, NAT Traversal.

use ferry_ike::natt;
use ferry_ike::sim::{Datagram, HostId, NatId, PSK, Puppet, Setup, World, client, gateway};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, IkeSpi, NotifyType};

use crate::{GATEWAY, LATENCY, OFFER, PUPPET, PUPPET_IP, said, seconds};

const NAT: &str = "203.0.113.1";

/// A client with a private address behind a NAT, and a gateway.
fn natted(client: Setup, gateway: Setup) -> (World, HostId, HostId, NatId) {
    let (mut world, rw, gw) =
        World::of(client.at("192.168.1.2").vips(&["0.0.0.0"]), gateway.pool("10.3.0.0/24"));
    let nat = world.add_nat(NAT);
    world.put_behind(rw, nat);
    (world, rw, gw, nat)
}

#[test]
fn without_nat_nothing_moves() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    for host in [rw, gw] {
        let sa = world.ike_sa(host);
        assert_eq!((sa.local.port(), sa.remote.port()), (500, 500));
        assert!(!sa.nat_local && !sa.nat_remote && !sa.children[0].encapsulated);
        assert_eq!(world.due(host), None);
    }
}

#[test]
fn a_nat_before_the_client_makes_both_move_to_port_4500() {
    let (mut world, rw, gw, _) = natted(client(), gateway());
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.ike_sa(gw).remote.to_string(), "203.0.113.1:20000");
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    let sa = world.ike_sa(rw);
    assert!(sa.nat_local && !sa.nat_remote);
    assert_eq!((sa.local.port(), sa.remote.port()), (4500, 4500));
    let auth = world.take();
    assert_eq!((auth.from.to_string(), auth.to.port()), ("203.0.113.1:20001".into(), 4500));
    assert_eq!(auth.octets[..4], [0; 4], "the non-ESP marker");
    world.inject(auth);
    let sa = world.ike_sa(gw);
    assert!(!sa.nat_local && sa.nat_remote);
    assert_eq!((sa.local.port(), sa.remote.port()), (4500, 20_001));
    world.run();
    world.assert_connected(rw, gw);
    assert!(world.ike_sa(rw).children[0].encapsulated && world.ike_sa(gw).children[0].encapsulated);
    assert_eq!(world.child_path(gw).unwrap().remote.to_string(), "203.0.113.1:20001");
    assert!(world.ping(rw) && world.ping(gw));
}

#[test]
fn a_nat_before_the_gateway_is_seen_by_both() {
    let (mut world, rw, gw) = World::of(client(), gateway().at("192.168.7.1"));
    let nat = world.add_nat("192.0.2.1");
    world.put_behind(gw, nat);
    world.forward(nat, gw);
    world.connect(rw, gw, "net");
    assert!(world.ike_sa(rw).nat_remote && !world.ike_sa(rw).nat_local);
    assert!(world.ike_sa(gw).nat_local && !world.ike_sa(gw).nat_remote);
    assert!(world.ping(rw) && world.ping(gw));
}

#[test]
fn nats_before_both_are_seen_by_both() {
    let (mut world, rw, gw) = World::of(
        client().at("192.168.1.2").vips(&["0.0.0.0"]),
        gateway().at("192.168.7.1").pool("10.3.0.0/24"),
    );
    let (outer, inner) = (world.add_nat("192.0.2.1"), world.add_nat(NAT));
    world.put_behind(gw, outer);
    world.forward(outer, gw);
    world.put_behind(rw, inner);
    world.connect(rw, gw, "net");
    for host in [rw, gw] {
        let sa = world.ike_sa(host);
        assert!(sa.nat_local && sa.nat_remote);
    }
    assert!(world.ping(rw) && world.ping(gw));
}

#[test]
fn two_clients_behind_one_nat_are_told_apart() {
    let (mut world, rw, gw, nat) = natted(client(), gateway());
    let other = client().named("rw2").at("192.168.1.3").id("rw2.example.org").vips(&["0.0.0.0"]);
    let other = world.add(other);
    world.put_behind(other, nat);
    world.connect(rw, gw, "net");
    world.initiate(other, "net");
    world.run();
    world.assert_mirrored(other, gw);
    world.assert_mirrored(rw, gw);
    assert_eq!(world.ike_sas(gw).len(), 2);
    assert!(world.ping(rw) && world.ping(other));
}

#[test]
fn encapsulation_can_be_had_without_a_nat() {
    for (forced_client, forced_gateway) in [(true, false), (false, true), (true, true)] {
        let force = |setup: Setup, force: bool| setup.connection(|connection| connection.encap = force);
        let (mut world, rw, gw) = World::of(force(client(), forced_client), force(gateway(), forced_gateway));
        world.connect(rw, gw, "net");
        let (ours, theirs) = (world.ike_sa(rw), world.ike_sa(gw));
        assert_eq!((ours.nat_fake, theirs.nat_fake), (forced_client, forced_gateway));
        assert_eq!((ours.nat_remote, theirs.nat_remote), (forced_gateway, forced_client));
        for sa in [ours, theirs] {
            assert!(sa.children[0].encapsulated && !sa.nat_local);
            assert_eq!(sa.local.port(), 4500);
        }
        assert!(world.ping(rw) && world.ping(gw));
    }
}

#[test]
fn a_data_plane_that_can_only_encapsulate_has_its_way() {
    let (mut world, rw, gw) =
        World::of(client(), gateway().settings(|settings| settings.force_encapsulation = true));
    world.connect(rw, gw, "net");
    assert!(world.ike_sa(rw).children[0].encapsulated && world.ike_sa(gw).children[0].encapsulated);
}

#[test]
fn a_peer_that_does_not_know_of_nats_is_taken_at_its_word() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.connect(&mut world, "puppet@example.org", PSK);
    let sa = world.ike_sa(gw);
    assert!(!sa.nat_local && !sa.nat_remote && !sa.children[0].encapsulated);
}

#[test]
fn who_is_behind_the_nat_keeps_its_mapping_open() {
    let (mut world, rw, gw, _) = natted(client(), gateway());
    world.connect(rw, gw, "net");
    assert_eq!((world.due(rw), world.due(gw)), (Some(seconds(20)), None));
    for _ in 0..3 {
        world.wait_for_deadline();
        assert_eq!(world.in_air(), ["rw --> gw: NAT-keepalive"]);
        let keepalive = world.take();
        assert_eq!(keepalive.octets, [0xff]);
        world.inject(keepalive);
        assert_eq!(world.due(rw), Some(seconds(20) - LATENCY));
    }
    world.run_for(seconds(1000));
    assert!(world.ping(gw), "there was no other traffic");
}

#[test]
fn keepalives_can_be_left_to_others() {
    let (mut world, rw, gw, _) = natted(client().settings(|settings| settings.keep_alive = None), gateway());
    world.connect(rw, gw, "net");
    assert_eq!(world.due(rw), None);
}

#[test]
fn without_keepalives_the_mapping_is_lost() {
    let (mut world, rw, gw, _) = natted(client().settings(|settings| settings.keep_alive = None), gateway());
    world.connect(rw, gw, "net");
    world.run_for(seconds(61));
    assert!(!world.ping(gw));
    assert!(world.ping(rw), "from inside there is a new one");
    assert!(world.ping(gw), "which the gateway has learnt");
}

#[test]
fn a_new_mapping_is_followed_when_a_request_comes_through_it() {
    let (mut world, rw, gw, nat) = natted(client().dpd(seconds(30)), gateway());
    world.connect(rw, gw, "net");
    world.rebind(nat);
    world.run_for(seconds(31));
    assert_eq!(world.events(gw), ["IKE_SA gw moved from 203.0.113.1:20001 to 203.0.113.1:20002"]);
    assert_eq!(world.ike_sa(gw).remote.port(), 20_002);
    assert_eq!(world.child_path(gw).unwrap().remote.port(), 20_002);
    assert!(world.ping(gw) && world.ping(rw));
}

#[test]
fn a_new_mapping_is_followed_when_a_packet_comes_through_it() {
    let (mut world, rw, gw, nat) = natted(client(), gateway());
    world.connect(rw, gw, "net");
    world.rebind(nat);
    assert!(!world.ping(gw));
    assert!(world.ping(rw));
    assert_eq!(world.events(gw).len(), 1);
    assert_eq!(world.child_path(gw).unwrap().remote, world.ike_sa(gw).remote);
    assert!(world.ping(gw));
}

#[test]
fn nothing_but_the_peer_itself_moves_it() {
    let (mut world, rw, gw, _) = natted(client().dpd(seconds(15)), gateway().dpd(seconds(100)));
    world.connect(rw, gw, "net");
    let before = world.ike_sa(gw);
    world.wait_for_deadline();
    let question = world.take();
    world.inject(question.clone());
    world.run();
    let attacker = "198.51.100.99:4500".parse().unwrap();
    // A repeated request, from elsewhere.
    world.inject(Datagram { from: attacker, ..question.clone() });
    assert_eq!(world.in_air(), ["gw --> 198.51.100.99:4500: HDR, SK {}"]); // the answer it got before
    world.run();
    // A forged one.
    for position in 4..question.octets.len() {
        let mut forged = Datagram { from: attacker, ..question.clone() };
        forged.octets[position] ^= 1;
        world.inject(forged);
    }
    assert_eq!(world.ike_sa(gw), before);
    assert_eq!(world.child_path(gw).unwrap().remote, before.remote);
    world.run();
}

#[test]
fn a_peer_that_is_not_behind_a_nat_is_not_followed() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.connect(&mut world, "puppet@example.org", PSK);
    let before = world.ike_sa(gw);
    puppet.at.set_port(501);
    let answer = puppet.ask(&mut world, ExchangeType::INFORMATIONAL, &PayloadWriter::new());
    assert_eq!(answer.as_deref(), Some(""), "it is answered where it came from");
    assert_eq!(world.ike_sa(gw), before);
}

/// RFC 7296 §2.23: it could be led away by whoever repeats what comes through its own NAT.
#[test]
fn who_is_behind_a_nat_itself_does_not_follow() {
    for we_are_behind_one in [true, false] {
        let (mut world, _, gw) = World::of(client(), gateway());
        world.keep_mail(PUPPET_IP);
        let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
        let seen = natt::detection_hash(puppet.spi_i, IkeSpi::ZERO, GATEWAY.parse().unwrap());
        let request = puppet.init_request(None, |payloads| {
            payloads.notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[1; 20]).notify(
                NotifyType::NAT_DETECTION_DESTINATION_IP,
                if we_are_behind_one { &[2; 20] } else { &seen },
            );
        });
        world.inject(request);
        world.run();
        puppet.take_init_response(&world.mail(PUPPET_IP).unwrap());
        let payloads = puppet.auth("puppet@example.org", PSK);
        puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
        let sa = world.ike_sa(gw);
        assert!(sa.nat_remote);
        assert_eq!(sa.nat_local, we_are_behind_one);
        puppet.at.set_port(501);
        let answer = puppet.ask(&mut world, ExchangeType::INFORMATIONAL, &PayloadWriter::new());
        assert_eq!(answer.as_deref(), Some(""), "it is answered where it came from");
        assert_eq!(world.ike_sa(gw).remote.port(), if we_are_behind_one { 500 } else { 501 });
    }
}

#[test]
fn ike_sa_init_may_go_to_port_4500_at_once() {
    let (mut world, rw, gw) = World::of(
        client().connection(|connection| {
            connection.local_port = 4500;
            connection.remote_port = 4500;
        }),
        gateway(),
    );
    world.initiate(rw, "net");
    let first = world.take();
    assert_eq!(first.octets[..4], [0; 4]);
    world.inject(first);
    world.run();
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(gw).local.port(), 4500);
}
