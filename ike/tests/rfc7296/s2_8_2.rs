//! Section 2.8.2, Simultaneous IKE SA Rekeying, and 2.25.2, Collisions while Rekeying or Closing IKE SAs.

use std::time::Duration;

use ferry_ike::sim::{HostId, Setup, Weather, World, client, gateway};
use ferry_ike::status::IkeSaState;

use crate::rekeying::{assert_traffic, child, deliver, rekey_child, rekey_ike, run};
use crate::seconds;

fn connected(seed: u64) -> (World, HostId, HostId) {
    let mut world = World::new(seed);
    let rw = world.add(client().vips(&["0.0.0.0"]));
    let gw = world.add(gateway().pool("10.3.0.0/24"));
    world.connect(rw, gw, "net");
    (world, rw, gw)
}

/// One IKE SA at each end, the same one, with one CHILD_SA, and it works.
fn assert_settled(world: &mut World, rw: HostId, gw: HostId) {
    let (ours, theirs) = (world.ike_sa(rw), world.ike_sa(gw));
    assert_eq!((ours.spi_i, ours.spi_r), (theirs.spi_i, theirs.spi_r));
    assert_eq!(ours.state, IkeSaState::Established);
    child(world, rw);
    child(world, gw);
    world.assert_connected(rw, gw);
    rekey_child(world, rw);
    world.run_for(seconds(6));
    assert_traffic(world, rw, gw);
    for host in [rw, gw] {
        child(world, host);
        let events = world.events(host);
        assert!(events.iter().all(|event| !event.contains("down") && !event.contains(" up")), "{events:?}");
    }
    let ike_sa = world.ike_sa(rw).id;
    world.terminate(rw, ike_sa);
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn the_survivor_inherits_and_the_other_two_go() {
    let mut winners = [0, 0];
    for seed in 0..8 {
        let (mut world, rw, gw) = connected(seed);
        rekey_ike(&mut world, rw);
        rekey_ike(&mut world, gw);
        let lines = run(&mut world, rw, gw);
        assert_eq!(lines.len(), 8, "{lines:#?}");
        // Two exchanges, and two deletes: of the old IKE SA and of the redundant one. The peer may not know yet what
        // its own request has come to, when it gets the second; then nobody can read it here.
        let is_delete = |line: &&String| line.contains("SK {D}") || line.contains("SK {INFORMATIONAL?}");
        assert_eq!(lines.iter().filter(is_delete).count(), 2);
        winners[usize::from(world.ike_sa(rw).is_initiator)] += 1;
        assert_settled(&mut world, rw, gw);
    }
    assert!(winners[0] > 0 && winners[1] > 0, "both ends win sometimes: {winners:?}");
}

/// The special case of the section: B notices, A does not.
#[test]
fn who_has_finished_already_says_so() {
    for seed in 0..4 {
        let (mut world, rw, gw) = connected(seed);
        rekey_ike(&mut world, rw);
        rekey_ike(&mut world, gw);
        world.deliver(); // req1 arrives at B
        let late = world.take(); // req2 is late
        assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {SA, Nr, KEr}");
        let delete = world.take();
        world.inject(late);
        let refusal = world.take();
        // A is closing: TEMPORARY_FAILURE. B forgets its request, by that or by the DELETE, whichever comes first.
        if seed % 2 == 0 {
            world.inject(refusal);
            world.inject(delete);
        } else {
            world.inject(delete);
            world.inject(refusal);
        }
        run(&mut world, rw, gw);
        assert_settled(&mut world, rw, gw);
    }
}

#[test]
fn a_collision_survives_the_loss_of_any_message() {
    for seed in 0..4 {
        for lost in 0..8 {
            let (mut world, rw, gw) = connected(seed);
            rekey_ike(&mut world, rw);
            rekey_ike(&mut world, gw);
            for step in 0.. {
                if world.in_air().is_empty() {
                    break;
                }
                assert_traffic(&mut world, rw, gw);
                if step == lost { drop(world.take()) } else { drop(world.deliver()) }
            }
            // What was lost is sent again, and a DELETE that nobody answers is given up.
            for _ in 0..400 {
                world.run_for(seconds(1));
                assert_traffic(&mut world, rw, gw);
            }
            assert_settled(&mut world, rw, gw);
        }
    }
}

/// The winner's DELETE of the old IKE SA overtakes its response: the loser never hears of what its request has made,
/// and cannot delete it.
#[test]
fn what_came_to_nothing_unheard_is_forgotten() {
    let mut times = 0;
    for seed in 0..8 {
        let (mut world, rw, gw) = connected(seed);
        rekey_ike(&mut world, rw);
        rekey_ike(&mut world, gw);
        world.deliver(); // each answers the other
        world.deliver();
        world.deliver_nth(1); // the gateway has its response, and the client not
        let current = world.ike_sas(gw).into_iter().find(|sa| sa.state == IkeSaState::Established);
        if !current.unwrap().is_initiator {
            continue; // the gateway has lost
        }
        assert_eq!(world.deliver_nth(1), "gw --> rw: HDR, SK {D}");
        run(&mut world, rw, gw);
        assert_eq!((world.ike_sas(rw).len(), world.ike_sas(gw).len()), (1, 2));
        times += 1;
        for _ in 0..101 {
            world.run_for(seconds(1));
            assert_traffic(&mut world, rw, gw);
        }
        assert_settled(&mut world, rw, gw);
    }
    assert!(times > 0);
}

#[test]
fn closing_the_ike_sa_comes_before_rekeying_it() {
    for seed in 0..4 {
        let (mut world, rw, gw) = connected(seed);
        rekey_ike(&mut world, rw);
        let id = world.ike_sa(gw).id;
        world.terminate(gw, id);
        world.run_out(seconds(400));
        world.assert_nothing_left();
        let events = world.events(rw);
        assert_eq!(events.iter().filter(|event| event.contains("down")).count(), 2, "{events:?}");
    }
}

fn restless(setup: Setup) -> Setup {
    setup
        .connection(|connection| {
            connection.rekey_time = Some(seconds(7));
            connection.over_time = seconds(60);
            connection.rand_time = seconds(1);
        })
        .child(|child| {
            child.rekey_time = Some(seconds(3));
            child.life_time = Some(seconds(60));
            child.rand_time = seconds(1);
        })
}

/// Both ends rekey all the time, for an hour, in all weathers.
#[test]
fn no_packet_is_lost_however_often_both_ends_rekey() {
    let rough = Weather { loss: 5, duplication: 5, delay: seconds(0)..seconds(1), ..Weather::fair() };
    let weathers = [Weather::fair(), rough];
    for (nth, weather) in weathers.into_iter().enumerate() {
        for seed in 0..3 {
            let mut world = World::new(seed);
            let rw = world.add(restless(client().vips(&["0.0.0.0"])));
            let gw = world.add(restless(gateway().pool("10.3.0.0/24")));
            world.connect(rw, gw, "net");
            world.set_weather(weather.clone());
            for _ in 0..6000 {
                world.run_for(Duration::from_millis(100));
                assert_traffic(&mut world, rw, gw);
            }
            world.set_weather(Weather::fair());
            for host in [rw, gw] {
                let events = world.events(host);
                assert!(events.iter().all(|event| !event.contains("down")), "{nth} {seed}: {events:?}");
                let rekeyed = events.iter().filter(|event| event.contains("rekeyed")).count();
                assert!(rekeyed > 100, "{nth} {seed}: rekeyed {rekeyed} times");
                assert!(
                    world.ike_sas(host).len() <= 3,
                    "{nth} {seed}: {} IKE_SAs",
                    world.ike_sas(host).len()
                );
            }
            let ike_sas: Vec<_> = world.ike_sas(rw).into_iter().map(|sa| sa.id).collect();
            for ike_sa in ike_sas {
                world.terminate(rw, ike_sa);
            }
            world.run_out(seconds(600));
            world.assert_nothing_left();
        }
    }
}
