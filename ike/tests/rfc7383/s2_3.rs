//! Section 2.3, Negotiation.

use ferry_ike::config::Fragmentation;
use ferry_ike::sim::{HostId, PSK, Puppet, World, client, gateway};
use ferry_ike::wire;
use ferry_ike::wire::registry::{ExchangeType, NotifyType};

use crate::{GATEWAY, OFFER, PUPPET, PUPPET_IP, SMALL, long_id, pair, seconds};

/// Delivers IKE_SA_INIT. Whether request and answer say that fragments are put together.
fn announced(world: &mut World, rw: HostId) -> [bool; 2] {
    world.initiate(rw, "net");
    [(); 2].map(|()| {
        let datagram = world.take();
        let message = wire::decode(&datagram.octets).expect("IKE_SA_INIT decodes");
        let is_announced = message.payloads.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
        world.inject(datagram);
        is_announced
    })
}

#[test]
fn both_say_that_they_can_and_both_do() {
    let (client, gateway) = pair();
    let (mut world, rw, gw) = World::of(client, gateway);
    assert_eq!(announced(&mut world, rw), [true, true]);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SKF 1 of 3");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SKF 2 of 3");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SKF 3 of 3");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SKF 1 of 2");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SKF 2 of 2");
    world.assert_connected(rw, gw);
}

#[test]
fn who_is_not_told_that_the_other_can_sends_whole_messages() {
    let (client, gateway) = pair();
    // The client does not say it, so neither does the gateway.
    let first = (client.fragmentation(Fragmentation::No), gateway, [false, false]);
    let (client, gateway) = pair();
    let second = (client, gateway.fragmentation(Fragmentation::No), [true, false]);
    for (client, gateway, expected) in [first, second] {
        let (mut world, rw, gw) = World::of(client, gateway);
        assert_eq!(announced(&mut world, rw), expected);
        assert!(world.deliver().starts_with("rw --> gw: HDR, SK {IDi"));
        assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, SAr2, TSi, TSr}");
        world.assert_connected(rw, gw);
    }
}

#[test]
fn who_accepts_fragments_says_so_and_sends_none() {
    let (client, gateway) = pair();
    let (mut world, rw, gw) = World::of(client, gateway.fragmentation(Fragmentation::Accept));
    assert_eq!(announced(&mut world, rw), [true, true]);
    assert_eq!(world.in_air().len(), 3);
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
}

#[test]
fn what_is_not_too_large_is_not_fragmented() {
    let (mut world, rw, gw) = World::of(client().fragments(1280), gateway().fragments(1280));
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert!(world.deliver().starts_with("rw --> gw: HDR, SK {IDi"));
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
}

/// As charon does: whatever was said, what a peer sends is put together.
#[test]
fn fragments_of_a_peer_that_was_not_told_it_may_are_put_together() {
    let (mut world, _, _) = World::of(client(), gateway());
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.open(&mut world);
    let mut payloads = puppet.auth("puppet@example.org", PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.66", "10.1.0.0/16");
    for fragment in puppet.seal_in_fragments(ExchangeType::IKE_AUTH, 1, false, &payloads, 4) {
        world.inject(fragment);
    }
    world.run();
    let answer = world.mail(PUPPET_IP).unwrap();
    assert_eq!(puppet.read(&answer).as_deref(), Some("IDr, AUTH, SAr2, TSi, TSr"));
}

/// What RFC 7383 is for.
#[test]
fn a_path_that_drops_large_datagrams_is_no_obstacle() {
    for is_natted in [false, true] {
        let id = long_id(3000);
        let client = client().id(&id).fragments(1200).vips(&["0.0.0.0"]);
        let gateway = gateway().id(&id).peer_id("%any").fragments(1200).pool("10.3.0.0/24");
        let (mut world, rw, gw) = World::of(client.peer_id(&id), gateway);
        if is_natted {
            let nat = world.add_nat("203.0.113.1");
            world.put_behind(rw, nat);
        }
        world.set_mtu(1200);
        world.initiate(rw, "net");
        world.run();
        world.assert_connected(rw, gw);
        assert!(!world.transcript().contains("(too large)"), "{}", world.transcript());
    }
}

#[test]
fn without_fragments_such_a_path_is_one() {
    let id = long_id(1500);
    let client = client().id(&id).fragmentation(Fragmentation::No);
    let (mut world, rw, gw) = World::of(client, gateway());
    world.set_mtu(1200);
    world.initiate(rw, "net");
    world.run_out(seconds(1200));
    assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
    assert!(world.events(rw).iter().any(|event| event.contains("giving up after 5 retransmits")));
    world.assert_nothing_left();
}

#[test]
fn datagrams_over_ipv6_are_counted_with_their_larger_header() {
    for (at, peer) in [("198.51.100.7", "192.0.2.1"), ("2001:db8::7", "2001:db8:1::1")] {
        let client = client().at(at).peer_at(peer).ts("dynamic", "dynamic").fragments(SMALL);
        let gateway = gateway().at(peer).ts("dynamic", "dynamic").fragments(SMALL);
        let (mut world, rw, gw) = World::of(client, gateway);
        world.set_mtu(SMALL);
        world.initiate(rw, "net");
        // IKE_SA_INIT cannot be fragmented, so that it has to pass otherwise.
        assert!(world.in_air().is_empty());
        world.set_mtu(1280);
        world.run_for(seconds(5));
        world.assert_connected(rw, gw);
        let larger = std::iter::from_fn(|| world.overhear()).take(200);
        for datagram in larger.filter(|datagram| datagram.octets[18] == ExchangeType::IKE_AUTH.0) {
            assert!(datagram.ip_len() <= SMALL, "{}", datagram.ip_len());
        }
    }
}
