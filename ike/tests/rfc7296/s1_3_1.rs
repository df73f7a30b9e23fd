//! Section 1.3.1, where it is about modes: USE_TRANSPORT_MODE, and what is told in the same way.

use ferry_ike::config::{Mode, Processing};
use ferry_ike::sim::{HostId, PSK, Puppet, Setup, World, client, gateway};
use ferry_ike::wire::registry::{ExchangeType, NotifyType, Spi};

use crate::rekeying::{child, rekey_child};
use crate::{GATEWAY, GATEWAY_IP, OFFER, seconds};

/// With that mode, between the two hosts themselves.
pub(crate) fn between_hosts(setup: Setup, mode: Mode) -> Setup {
    setup.ts("dynamic", "dynamic").child(|child| child.processing = Processing::Protect(mode))
}

fn installed_mode(world: &World, host: HostId) -> Mode {
    let modes: Vec<_> = world.host(host).outside.installed().map(|install| install.mode).collect();
    assert_eq!(modes.len(), 1);
    assert_eq!(child(world, host).mode, modes[0], "what is told is what is installed");
    modes[0]
}

#[test]
fn a_mode_is_agreed_on_where_both_have_it() {
    use Mode::{Beet, Transport, Tunnel};
    for (asked, configured, agreed) in [
        (Transport, Transport, Transport),
        (Beet, Beet, Beet),
        // Who is not granted its mode has tunnel mode, and knows.
        (Transport, Tunnel, Tunnel),
        (Transport, Beet, Tunnel),
        (Beet, Tunnel, Tunnel),
        (Beet, Transport, Tunnel),
        (Tunnel, Transport, Tunnel),
        (Tunnel, Beet, Tunnel),
    ] {
        let (mut world, rw, gw) =
            World::of(between_hosts(client(), asked), between_hosts(gateway(), configured));
        world.connect(rw, gw, "net");
        for host in [rw, gw] {
            assert_eq!(installed_mode(&world, host), agreed, "{asked} asked for, {configured} configured");
        }
        world.assert_connected(rw, gw);
        assert!(world.ping(rw) && world.ping(gw));
    }
}

#[test]
fn transport_mode_is_told_in_both_exchanges_and_both_roles() {
    let (mut world, rw, gw) = World::of(
        between_hosts(client(), Mode::Transport),
        between_hosts(gateway(), Mode::Transport).peer_at("198.51.100.7"),
    );
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, AUTH, N(USE_TRANSPORT_MODE), SAi2, TSi, TSr}"
    );
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, N(USE_TRANSPORT_MODE), SAr2, TSi, TSr}");
    for (host, ask, answer) in [
        (
            rw,
            "rw --> gw: HDR, SK {N(REKEY_SA), N(USE_TRANSPORT_MODE), SA, Ni, TSi, TSr}",
            "gw --> rw: HDR, SK {N(USE_TRANSPORT_MODE), SA, Nr, TSi, TSr}",
        ),
        (
            gw,
            "gw --> rw: HDR, SK {N(REKEY_SA), N(USE_TRANSPORT_MODE), SA, Ni, TSi, TSr}",
            "rw --> gw: HDR, SK {N(USE_TRANSPORT_MODE), SA, Nr, TSi, TSr}",
        ),
    ] {
        rekey_child(&mut world, host);
        assert_eq!(world.deliver(), ask);
        assert_eq!(world.deliver(), answer);
        world.run();
        world.wait(seconds(10));
        for host in [rw, gw] {
            assert_eq!(installed_mode(&world, host), Mode::Transport);
        }
        assert!(world.ping(rw) && world.ping(gw));
    }
    world.assert_no_faults();
}

#[test]
fn selectors_of_networks_have_no_transport_mode() {
    for mode in [Mode::Transport, Mode::Beet] {
        let with_mode = |setup: Setup| setup.child(|child| child.processing = Processing::Protect(mode));
        let (mut world, rw, gw) = World::of(with_mode(client()), with_mode(gateway()));
        world.connect(rw, gw, "net");
        assert_eq!((installed_mode(&world, rw), installed_mode(&world, gw)), (Mode::Tunnel, Mode::Tunnel));
        assert_eq!(child(&world, rw).remote_ts[0].to_string(), "10.1.0.0/16");
    }
}

#[test]
fn ports_and_protocols_can_be_of_transport_mode() {
    let (mut world, rw, gw) = World::of(
        between_hosts(client(), Mode::Transport).ts("dynamic[tcp]", "dynamic[tcp/179]"),
        between_hosts(gateway(), Mode::Transport),
    );
    world.connect(rw, gw, "net");
    assert_eq!(installed_mode(&world, gw), Mode::Transport);
    assert_eq!(child(&world, gw).local_ts[0].to_string(), "192.0.2.1/32[tcp/bgp]");
    assert_eq!(child(&world, rw).remote_ts[0].to_string(), "192.0.2.1/32[tcp/bgp]");
}

/// A peer that grants what was not asked for, or grants it to networks, gets no CHILD_SA.
#[test]
fn a_mode_that_was_not_asked_for_or_cannot_be_is_refused() {
    for (setup, granted, why) in [
        (client(), NotifyType::USE_TRANSPORT_MODE, "it grants a mode that we did not ask for"),
        (
            client().child(|child| child.processing = Processing::Protect(Mode::Transport)),
            NotifyType::USE_TRANSPORT_MODE,
            "transport mode cannot carry 198.51.100.7/32 === 10.1.0.0/16",
        ),
        (
            client().child(|child| child.processing = Processing::Protect(Mode::Beet)),
            NotifyType::USE_BEET_MODE,
            "BEET mode cannot carry 198.51.100.7/32 === 10.1.0.0/16",
        ),
    ] {
        let (mut world, rw, _) = World::of(setup, gateway().at("192.0.2.2"));
        world.keep_mail(GATEWAY_IP);
        let mut puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 2);
        let request = world.initiate(rw, "net");
        world.run();
        let init = world.mail(GATEWAY_IP).unwrap();
        let response = puppet.init_response(&init, |_| {});
        world.inject(response);
        world.run();
        let mut payloads = puppet.auth("gw.example.org", PSK);
        payloads.notify(granted, &[]);
        Puppet::child(&mut payloads, "aes128gcm16", Spi(0x1234_5678), "198.51.100.7", "10.1.0.0/16");
        let response = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
        world.inject(response);
        let events = world.events(rw).join("\n");
        assert!(events.contains(&format!("request {request} failed")) && events.contains(why), "{events}");
        assert_eq!(world.host(rw).outside.installed().count(), 0);
    }
}
