//! RFC 4478, Repeated Authentication in IKEv2: the responder says how long it will have an IKE SA.
#![expect(clippy::unwrap_used, reason = "a story that is not as told fails")]

use std::time::Duration;

use ferry_ike::sim::{HostId, Puppet, Setup, World, client, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, NotifyType, Spi};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn demanding() -> Setup {
    gateway().pool("10.3.0.0/24").connection(|connection| {
        connection.reauth_time = Some(seconds(1000));
        connection.over_time = seconds(100);
    })
}

fn road_warrior() -> Setup {
    client().vips(&["0.0.0.0"]).connection(|connection| connection.over_time = seconds(60))
}

#[test]
fn the_responder_says_it_in_ike_auth_and_the_initiator_obeys() {
    let (mut world, rw, gw) = World::of(road_warrior(), demanding());
    world.initiate(rw, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(
        world.deliver(),
        "gw --> rw: HDR, SK {IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr, N(AUTH_LIFETIME)}"
    );
    world.run();
    let sa = world.ike_sa(rw);
    // In good time, as long as connections are given to overrun, but no more than a tenth.
    let due = sa.reauthenticates.unwrap() - sa.established.unwrap();
    assert_eq!(due, seconds(940));
    world.run_for(seconds(939));
    assert_eq!(world.ike_sa(rw).spi_i, sa.spi_i);
    world.run_for(seconds(2));
    assert_ne!(world.ike_sa(rw).spi_i, sa.spi_i);
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sas(gw).len(), 1);
    // And again.
    world.run_for(seconds(3000));
    assert_eq!(world.host(rw).endpoint.counters().ike_auth.requests_out, 5);
    world.assert_connected(rw, gw);
}

#[test]
fn an_initiator_with_less_patience_keeps_its_own_time() {
    let own = road_warrior().connection(|connection| connection.reauth_time = Some(seconds(500)));
    let (mut world, rw, gw) = World::of(own, demanding());
    world.connect(rw, gw, "net");
    let sa = world.ike_sa(rw);
    assert_eq!(sa.reauthenticates.unwrap() - sa.established.unwrap(), seconds(500));
}

/// Section 4: the responder deletes the IKE SA of an initiator that does not know of it.
#[test]
fn who_does_not_obey_is_deleted() {
    let mut world = World::new(1);
    let gw = world.add(gateway().connection(|connection| {
        connection.reauth_time = Some(seconds(1000));
        connection.over_time = seconds(100);
        connection.pools = vec![];
    }));
    let mut puppet =
        Puppet::initiator("198.51.100.66:500", "192.0.2.1:500", "aes128gcm16-prfsha256-x25519", 1);
    puppet.open(&mut world);
    let mut payloads = puppet.auth("rw.example.org", ferry_ike::sim::PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Spi(0x1000_0000), "198.51.100.66", "10.1.0.0/16");
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("IDr, AUTH, SAr2, TSi, TSr, N(AUTH_LIFETIME)"));
    world.run_for(seconds(1099));
    assert_eq!(world.ike_sas(gw).iter().filter(|sa| sa.state == IkeSaState::Established).count(), 1);
    world.run_for(seconds(2));
    assert!(world.ike_sas(gw).iter().all(|sa| sa.state != IkeSaState::Established));
}

fn say(world: &mut World, puppet: &mut Puppet, message_id: u32, lifetime: u32) {
    let mut payloads = PayloadWriter::new();
    payloads.notify(NotifyType::AUTH_LIFETIME, &lifetime.to_be_bytes());
    let request = puppet.seal(ExchangeType::INFORMATIONAL, message_id, false, &payloads);
    world.inject(request);
    world.run();
}

/// A client that is connected to a puppet, which says so much in IKE_AUTH.
fn connected_to_puppet(in_auth: Option<u32>) -> (World, HostId, Puppet) {
    let mut world = World::new(1);
    let rw = world.add(client());
    let at = "192.0.2.1:500";
    world.keep_mail("192.0.2.1".parse().unwrap());
    let mut puppet = Puppet::responder(at, "198.51.100.7:500", "aes128gcm16-prfsha256-x25519", 1);
    world.initiate(rw, "net");
    world.run();
    let request = world.mail("192.0.2.1".parse().unwrap()).unwrap();
    let answer = puppet.init_response(&request, |_| {});
    world.inject(answer);
    world.run();
    let mut payloads = puppet.auth("gw.example.org", ferry_ike::sim::PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Spi(0x1000_0000), "198.51.100.7", "10.1.0.0/16");
    if let Some(lifetime) = in_auth {
        payloads.notify(NotifyType::AUTH_LIFETIME, &lifetime.to_be_bytes());
    }
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(answer);
    world.run();
    (world, rw, puppet)
}

/// In how many seconds the initiator authenticates again, as time passed with the last message.
fn due(world: &World, rw: HostId) -> Option<u64> {
    let sa = world.ike_sas(rw).into_iter().next().unwrap();
    let left = sa.reauthenticates?.saturating_duration_since(world.now());
    Some((left + Duration::from_millis(500)).as_secs())
}

#[test]
fn it_may_be_said_at_any_time_and_only_ever_shortens() {
    let (mut world, rw, mut puppet) = connected_to_puppet(None);
    assert_eq!(due(&world, rw), None);
    say(&mut world, &mut puppet, 0, 10_000);
    assert_eq!(due(&world, rw), Some(10_000));
    say(&mut world, &mut puppet, 1, 20_000);
    assert_eq!(due(&world, rw), Some(10_000));
    say(&mut world, &mut puppet, 2, 5_000);
    assert_eq!(due(&world, rw), Some(5_000));
}

/// "A zero value signifies that the Initial exchange should begin immediately."
#[test]
fn zero_means_now() {
    let (mut world, rw, mut puppet) = connected_to_puppet(None);
    world.run_for(seconds(20));
    say(&mut world, &mut puppet, 0, 0);
    world.run_for(seconds(1));
    let sent = world.host(rw).endpoint.counters().ike_sa_init.requests_out;
    assert_eq!(sent, 2);
}

/// A peer that says zero in IKE_AUTH every time does not keep us busy with nothing else.
#[test]
fn a_lifetime_of_nothing_lasts_for_some_seconds_all_the_same() {
    let (world, rw, _) = connected_to_puppet(Some(0));
    assert_eq!(due(&world, rw), Some(10));
}

/// Only the original responder may say it.
#[test]
fn an_original_initiator_is_not_heard() {
    let mut world = World::new(1);
    let gw = world.add(gateway());
    let mut puppet =
        Puppet::initiator("198.51.100.66:500", "192.0.2.1:500", "aes128gcm16-prfsha256-x25519", 1);
    puppet.connect(&mut world, "rw.example.org", ferry_ike::sim::PSK);
    let mut payloads = PayloadWriter::new();
    payloads.notify(NotifyType::AUTH_LIFETIME, &0_u32.to_be_bytes());
    assert_eq!(puppet.ask(&mut world, ExchangeType::INFORMATIONAL, &payloads).as_deref(), Some(""));
    assert_eq!(world.ike_sa(gw).reauthenticates, None);
}

#[test]
fn a_notify_of_another_length_says_nothing() {
    let (mut world, rw, mut puppet) = connected_to_puppet(None);
    for (id, octets) in (0..).zip([&[][..], &[0; 3], &[0; 5]]) {
        let mut payloads = PayloadWriter::new();
        payloads.notify(NotifyType::AUTH_LIFETIME, octets);
        let request = puppet.seal(ExchangeType::INFORMATIONAL, id, false, &payloads);
        world.inject(request);
        world.run();
    }
    assert_eq!(due(&world, rw), None);
}
