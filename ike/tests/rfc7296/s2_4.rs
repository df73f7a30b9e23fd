//! Section 2.4, State Synchronization and Connection Timeouts.

use std::time::Duration;

use ferry_ike::config::Unique;
use ferry_ike::sim::{ActionKind, HostId, Manner, World, client, gateway};
use ferry_ike::status::IkeSaState;

use crate::{LATENCY, said, seconds};

const DPD: Duration = seconds(30);

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn requests_are_sent_again_on_the_schedule_of_charon() {
    let (mut world, rw, _) = World::of(client(), gateway());
    let request = world.initiate(rw, "net");
    let first = world.take();
    let mut last = Duration::ZERO;
    for wait in [4_000, 7_200, 12_960, 23_328, 41_990] {
        world.wait_for_deadline();
        let sent = world.elapsed();
        assert!((sent - last).abs_diff(milliseconds(wait)) < milliseconds(1), "{:?}", sent - last);
        assert_eq!(world.take(), first);
        last = sent;
    }
    world.wait_for_deadline();
    assert!((world.elapsed() - last).abs_diff(milliseconds(75_582)) < milliseconds(1));
    let why = "giving up after 5 retransmits: the peer does not answer";
    assert_eq!(
        world.events(rw),
        [format!("IKE_SA rw down: {why}"), format!("request {request} failed: {why}")]
    );
    world.assert_nothing_left();
}

#[test]
fn the_schedule_can_be_changed() {
    let hasty = client().settings(|settings| {
        settings.retransmission.timeout = seconds(1);
        settings.retransmission.base = 2.0;
        settings.retransmission.limit = Some(seconds(3));
        settings.retransmission.tries = 3;
    });
    let (mut world, rw, _) = World::of(hasty, gateway().at("192.0.2.2"));
    world.initiate(rw, "net");
    let mut deadlines = Vec::new();
    while let Some(due) = world.due(rw) {
        deadlines.push(due);
        world.wait(due);
    }
    assert_eq!(deadlines, [seconds(1), seconds(2), seconds(3), seconds(3)]);
    world.run();
    world.assert_nothing_left();
}

#[test]
fn jitter_shortens_waits_and_never_lengthens_them() {
    let jumpy = client().settings(|settings| settings.retransmission.jitter_percent = 20);
    let (mut world, rw, _) = World::of(jumpy, gateway().at("192.0.2.2"));
    world.initiate(rw, "net");
    let mut waits = Vec::new();
    while let Some(due) = world.due(rw) {
        waits.push(due);
        world.wait(due);
    }
    let full = [4.0, 7.2, 12.96, 23.328, 41.990, 75.582].map(Duration::from_secs_f64);
    for (wait, full) in waits.iter().zip(full) {
        assert!(*wait <= full + milliseconds(1) && *wait >= full.mul_f64(0.8), "{wait:?} of {full:?}");
    }
    assert_ne!(waits[0], full[0]);
    assert_eq!(waits.len(), 6);
}

#[test]
fn an_attempt_is_repeated_from_the_beginning_as_often_as_keyingtries_says() {
    let stubborn = client().connection(|connection| connection.keyingtries = 3);
    let (mut world, rw, _) = World::of(stubborn, gateway().at("192.0.2.2"));
    world.keep_mail(crate::GATEWAY_IP);
    let request = world.initiate(rw, "net");
    let mut spis = Vec::new();
    world.run_out(seconds(600));
    while let Some(sent) = world.mail(crate::GATEWAY_IP) {
        spis.push(sent.octets[..8].to_vec());
    }
    assert_eq!(spis.len(), 3 * 6);
    spis.dedup();
    assert_eq!(spis.len(), 3, "a fresh SPI for every attempt");
    let told = world.events(rw);
    assert!(told[1].starts_with(&format!("request {request} failed: giving up")), "{told:?}");
    world.assert_nothing_left();
}

#[test]
fn a_later_attempt_can_succeed() {
    let stubborn = client().connection(|connection| connection.keyingtries = 0);
    let (mut world, rw, gw) = World::of(stubborn, gateway());
    world.cut(gw, true);
    let request = world.initiate(rw, "net");
    world.run_for(seconds(1000));
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Connecting);
    world.cut(gw, false);
    world.run_for(seconds(170));
    world.assert_connected(rw, gw);
    assert_eq!(world.events(rw).last(), Some(&format!("request {request} done")));
}

#[test]
fn when_ike_auth_is_not_answered_the_next_attempt_begins_with_ike_sa_init() {
    let stubborn = client().connection(|connection| connection.keyingtries = 2);
    let (mut world, rw, gw) = World::of(stubborn, gateway().dpd(DPD));
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    assert_eq!(world.deliver(), said::AUTH);
    // The gateway believes that it stands; the client hears nothing any more.
    world.cut(rw, true);
    world.run_for(seconds(164));
    world.cut(rw, false);
    world.run_for(seconds(10));
    world.assert_mirrored(rw, gw);
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
    world.run_for(seconds(300));
    assert_eq!(world.ike_sas(gw).len(), 1, "the old one was found dead");
    world.assert_connected(rw, gw);
}

fn with_dpd() -> (World, HostId, HostId) {
    let (mut world, rw, gw) = World::of(client().dpd(DPD), gateway());
    world.connect(rw, gw, "net");
    (world, rw, gw)
}

#[test]
fn a_quiet_peer_is_asked_whether_it_lives() {
    let (mut world, rw, gw) = with_dpd();
    assert_eq!(world.wait_for_deadline(), DPD);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    // The answer is a sign of life.
    assert_eq!(world.due(rw), Some(DPD - 2 * LATENCY));
    world.wait_for_deadline();
    assert!(world.in_air().is_empty(), "only {:?} after the sign of life", DPD - 2 * LATENCY);
    world.wait_for_deadline();
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    world.run();
    world.assert_connected(rw, gw);
    assert!(world.events(rw).is_empty() && world.events(gw).is_empty());
}

#[test]
fn traffic_from_the_peer_is_a_sign_of_life() {
    let (mut world, rw, gw) = with_dpd();
    for _ in 0..10 {
        world.run_for(seconds(20));
        assert!(world.ping(gw));
    }
    world.run_for(seconds(29));
    assert_eq!(world.host(rw).endpoint.counters().informational.requests_out, 0);
    world.run_for(seconds(2));
    assert_eq!(world.host(rw).endpoint.counters().informational.requests_out, 1);
}

#[test]
fn our_own_traffic_is_none() {
    let (mut world, rw, gw) = with_dpd();
    world.cut(gw, true);
    for _ in 0..4 {
        world.run_for(seconds(10));
        world.ping(rw);
    }
    assert_eq!(world.host(rw).endpoint.counters().informational.requests_out, 1);
}

#[test]
fn a_request_of_the_peer_is_a_sign_of_life_once() {
    let (mut world, rw, gw) = World::of(client().dpd(DPD), gateway().dpd(seconds(20)));
    world.connect(rw, gw, "net");
    assert_eq!(world.wait_for_deadline(), seconds(20) - LATENCY);
    let question = world.take();
    world.inject(question.clone());
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    // Somebody repeats it, and lets the real peer be silent.
    world.cut(gw, true);
    for _ in 0..4 {
        world.run_for(seconds(9));
        world.inject(question.clone());
    }
    world.run();
    assert_eq!(world.host(rw).endpoint.counters().informational.requests_out, 1);
}

#[test]
fn a_dead_peer_is_given_up() {
    let (mut world, rw, gw) = with_dpd();
    world.cut(gw, true);
    world.run_for(DPD + seconds(166));
    assert_eq!(
        world.events(rw),
        [
            "IKE_SA rw down: giving up after 5 retransmits: the peer does not answer",
            "CHILD_SA net down: PeerDead",
        ]
    );
    assert!(world.host(rw).leaks().is_empty());
}

#[test]
fn an_ike_sa_without_a_child_sa_is_watched_too() {
    let (mut world, rw, gw) = World::of(client().dpd(DPD), gateway());
    world.initiate(rw, "rw");
    world.run();
    world.cut(gw, true);
    world.run_for(DPD + seconds(166));
    assert!(world.ike_sas(rw).is_empty());
}

#[test]
fn a_late_word_of_the_data_plane_does_not_stop_the_watch() {
    let (mut world, rw, gw) = with_dpd();
    world.deal(rw, ActionKind::QueryUse, Manner::Late(seconds(5)));
    world.run_for(seconds(34));
    assert_eq!(world.host(rw).endpoint.counters().informational.requests_out, 0);
    world.run_for(seconds(2));
    assert_eq!(world.host(rw).endpoint.counters().informational.requests_out, 1);
    world.deal(rw, ActionKind::QueryUse, Manner::Fails);
    world.cut(gw, true);
    world.run_for(seconds(300));
    assert!(world.ike_sas(rw).is_empty());
}

#[test]
fn a_client_that_is_back_says_that_it_has_no_other_ike_sa() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    let old = world.ike_sa(gw).id;
    // The same client after a restart.
    world.cut(rw, true);
    let reborn = world.add(client().named("reborn").at("198.51.100.8"));
    world.initiate(reborn, "net");
    world.deliver();
    world.deliver();
    assert_eq!(
        world.deliver(),
        "reborn --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, AUTH, SAi2, TSi, TSr}"
    );
    let sa = world.ike_sa(gw);
    assert_ne!(sa.id, old);
    world.run();
    world.assert_mirrored(reborn, gw);
    assert_eq!(world.host(gw).outside.installed().count(), 1);
}

/// A host that makes an IKE SA for every child.
fn always_anew(setup: ferry_ike::sim::Setup) -> ferry_ike::sim::Setup {
    setup.settings(|settings| settings.reuse_ike_sa = false)
}

#[test]
fn a_second_ike_sa_does_not_claim_to_be_the_first() {
    let (mut world, rw, gw) = World::of(always_anew(client()), gateway());
    world.connect(rw, gw, "net");
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, IDr, AUTH, SAi2, TSi, TSr}");
    world.run();
    // unique = no: both stay.
    assert_eq!((world.ike_sas(rw).len(), world.ike_sas(gw).len()), (2, 2));
    world.assert_connected(rw, gw);
}

#[test]
fn who_never_cares_about_others_does_not_say_so() {
    let (mut world, rw, _) = World::of(client().unique(Unique::Never), gateway());
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, IDr, AUTH, SAi2, TSi, TSr}");
}

#[test]
fn a_new_ike_sa_may_take_the_place_of_the_old() {
    let (mut world, rw, gw) = World::of(always_anew(client()), gateway().unique(Unique::Replace));
    world.connect(rw, gw, "net");
    let old = world.ike_sa(gw).id;
    world.initiate(rw, "net");
    world.run();
    // From the same address: the peer may be authenticating again, and is given the time to end the old one.
    assert_eq!(world.ike_sas(gw).len(), 2);
    world.run_for(seconds(11));
    assert_ne!(world.ike_sa(gw).id, old);
    assert_eq!(world.ike_sas(rw).len(), 1, "the peer was told of the end of the old one");
    world.assert_connected(rw, gw);
    assert_eq!(world.host(gw).outside.installed().count(), 1);
}

#[test]
fn a_new_ike_sa_may_be_refused() {
    let (mut world, rw, gw) = World::of(always_anew(client()), gateway().unique(Unique::Keep));
    world.connect(rw, gw, "net");
    let old = world.ike_sa(gw);
    let request = world.initiate(rw, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {N(AUTHENTICATION_FAILED)}");
    assert_eq!(world.ike_sa(gw), old);
    assert_eq!(
        world.events(rw).last(),
        Some(&format!("request {request} failed: the peer answered AUTHENTICATION_FAILED"))
    );
    world.assert_connected(rw, gw);
    assert!(world.events(gw).iter().all(|event| !event.contains("up")));
}

#[test]
fn another_peer_is_no_reason_to_refuse() {
    let (mut world, rw, gw) = World::of(client(), gateway().unique(Unique::Keep));
    world.connect(rw, gw, "net");
    let other = world.add(client().named("rw2").at("198.51.100.8").id("rw2.example.org"));
    world.initiate(other, "net");
    world.run();
    assert_eq!(world.ike_sas(gw).len(), 2);
    world.assert_mirrored(other, gw);
}

#[test]
fn nat_keepalives_and_esp_are_no_messages() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    let before = world.ike_sa(gw);
    for octets in [&[0xff][..], &[1, 2, 3, 4, 5, 6, 7, 8], &[0, 0], &[]] {
        world.inject(ferry_ike::sim::Datagram {
            from: "198.51.100.7:4500".parse().unwrap(),
            to: "192.0.2.1:4500".parse().unwrap(),
            octets: octets.to_vec(),
        });
    }
    assert_eq!(world.ike_sa(gw), before);
    assert!(world.in_air().is_empty());
}
