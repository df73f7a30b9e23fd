//! Section 2.8.1, Simultaneous Child SA Rekeying, and 2.25.1, Collisions while Rekeying or Closing Child SAs.

use ferry_ike::sim::{ActionKind, HostId, Manner, World, client, gateway};
use ferry_ike::status::ChildSaState;

use crate::rekeying::{assert_traffic, child, deliver, rekey_child, rekey_ike, run};
use crate::seconds;

fn connected(seed: u64) -> (World, HostId, HostId) {
    let mut world = World::new(seed);
    let (rw, gw) = (world.add(client()), world.add(gateway()));
    world.connect(rw, gw, "net");
    (world, rw, gw)
}

/// One CHILD_SA at each end, and they fit together.
fn assert_settled(world: &mut World, rw: HostId, gw: HostId) {
    world.run_for(seconds(10));
    for host in [rw, gw] {
        assert_eq!(child(world, host).state, ChildSaState::Installed);
        assert_eq!(world.host(host).outside.installed().count(), 1);
    }
    world.assert_connected(rw, gw);
    assert_traffic(world, rw, gw);
}

#[test]
fn the_sa_with_the_lowest_nonce_is_deleted() {
    let mut winners = [0, 0];
    for seed in 0..8 {
        let (mut world, rw, gw) = connected(seed);
        let reqid = child(&world, rw).reqid;
        let requests = [rekey_child(&mut world, rw), rekey_child(&mut world, gw)];
        let lines = run(&mut world, rw, gw);
        // Two exchanges, and two deletes: one of the old CHILD_SA, one of the redundant one.
        assert_eq!(lines.len(), 8, "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.contains("N(REKEY_SA)")).count(), 2);
        assert_settled(&mut world, rw, gw);
        assert_eq!(child(&world, rw).reqid, reqid);
        for (host, request) in [rw, gw].into_iter().zip(requests) {
            let events = world.events(host);
            let done = format!("request {request} done");
            assert!(events.len() == 2 && events[0].starts_with("CHILD_SA net rekeyed") && events[1] == done);
        }
        let is_ours = world.host(rw).outside.outbound().unwrap().is_initiator;
        winners[usize::from(is_ours)] += 1;
    }
    assert!(winners[0] > 0 && winners[1] > 0, "both ends win sometimes: {winners:?}");
}

/// The second sequence of the section: A's request is lost, and B has finished when it comes again.
#[test]
fn who_comes_too_late_learns_that_the_sa_is_gone() {
    let (mut world, rw, gw) = connected(1);
    rekey_child(&mut world, rw);
    world.take(); // req1 is lost
    let before = child(&world, gw).id;
    rekey_child(&mut world, gw);
    let lines = run(&mut world, rw, gw);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    world.wait(seconds(4));
    assert_eq!(deliver(&mut world, rw, gw), "rw --> gw: HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}");
    assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {N(CHILD_SA_NOT_FOUND)}");
    assert!(world.in_air().is_empty());
    assert_settled(&mut world, rw, gw);
    assert_ne!(child(&world, gw).id, before);
    assert!(world.events(rw).iter().all(|event| !event.contains("down") && !event.contains(" up")));
}

/// Every message of the two exchanges lost once, one after the other.
#[test]
fn a_collision_survives_the_loss_of_any_message() {
    for seed in 0..4 {
        for lost in 0..8 {
            let (mut world, rw, gw) = connected(seed);
            rekey_child(&mut world, rw);
            rekey_child(&mut world, gw);
            let mut delivered = 0;
            for _ in 0..200 {
                if world.in_air().is_empty() {
                    if delivered > lost + 8 || world.due(rw).is_none() && world.due(gw).is_none() {
                        break;
                    }
                    world.wait_for_deadline();
                    continue;
                }
                assert_traffic(&mut world, rw, gw);
                if delivered == lost {
                    world.take();
                } else {
                    world.deliver();
                }
                delivered += 1;
            }
            assert_settled(&mut world, rw, gw);
            for host in [rw, gw] {
                let events = world.events(host);
                assert!(events.iter().all(|event| !event.contains("down")), "{seed} {lost}: {events:?}");
            }
        }
    }
}

#[test]
fn a_slow_outside_delays_the_decision_and_does_not_change_it() {
    for seed in 0..4 {
        for (kind, slow) in [
            (ActionKind::InstallChild, 0),
            (ActionKind::InstallChild, 1),
            (ActionKind::ReserveSpi, 0),
            (ActionKind::ReserveSpi, 1),
        ] {
            let (mut world, rw, gw) = connected(seed);
            rekey_child(&mut world, rw);
            rekey_child(&mut world, gw);
            let host = if slow == 0 { rw } else { gw };
            world.deal(host, kind, Manner::Late(std::time::Duration::from_millis(700)));
            for _ in 0..300 {
                assert_traffic(&mut world, rw, gw);
                world.run_for(std::time::Duration::from_millis(10));
            }
            world.deal(host, kind, None);
            assert_settled(&mut world, rw, gw);
        }
    }
}

mod s2_25_1_collisions {
    use super::*;

    #[test]
    fn a_child_that_is_being_deleted_is_not_rekeyed() {
        let (mut world, rw, gw) = connected(1);
        let id = child(&world, gw).id;
        rekey_child(&mut world, rw);
        world.terminate_child(gw, id);
        assert_eq!(world.deliver(), "rw --> gw: HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}");
        assert_eq!(world.deliver(), "gw --> rw: HDR, SK {D}");
        assert_eq!(world.deliver(), "gw --> rw: HDR, SK {N(TEMPORARY_FAILURE)}");
        world.run_for(seconds(20));
        assert!(world.ike_sa(rw).children.is_empty() && world.ike_sa(gw).children.is_empty());
        world.assert_no_faults();
        assert_eq!(world.host(rw).outside.installed().count(), 0);
    }

    /// The gateway has granted a successor, and the client does not know yet: it would keep the one it knows.
    #[test]
    fn the_end_of_a_child_is_the_end_of_its_successor_and_of_itself() {
        for is_by_successor in [false, true] {
            let (mut world, rw, gw) = connected(1);
            rekey_child(&mut world, rw);
            world.deliver();
            let late = world.take();
            let children = world.ike_sa(gw).children;
            assert_eq!(children.len(), 2);
            let request = world.terminate_child(gw, children[usize::from(is_by_successor)].id);
            world.deliver();
            world.deliver();
            world.inject(late);
            world.run_for(seconds(20));
            for host in [rw, gw] {
                assert!(world.ike_sa(host).children.is_empty());
                assert_eq!(world.host(host).outside.installed().count(), 0);
            }
            assert!(world.events(gw).contains(&format!("request {request} done")));
            world.assert_no_faults();
        }
    }

    /// The same, and the client tries again before the gateway has deleted both.
    #[test]
    fn a_child_that_is_to_end_gets_no_other_successor() {
        let (mut world, rw, gw) = connected(1);
        rekey_child(&mut world, rw);
        world.deliver();
        let late = world.take();
        let old = world.ike_sa(gw).children[0].id;
        world.terminate_child(gw, old);
        world.deliver(); // the successor is deleted, of which the client does not know
        let answer = world.take();
        world.inject(late);
        rekey_child(&mut world, rw);
        world.deliver();
        assert_eq!(world.deliver(), "gw --> rw: HDR, SK {N(TEMPORARY_FAILURE)}");
        world.inject(answer);
        world.run_for(seconds(20));
        for host in [rw, gw] {
            assert!(world.ike_sa(host).children.is_empty());
        }
        world.assert_no_faults();
    }

    #[test]
    fn an_unknown_child_is_made_from_scratch() {
        let (mut world, rw, gw) = connected(1);
        let id = child(&world, gw).id;
        let old = child(&world, rw);
        // The gateway forgets the CHILD_SA, and the client hears nothing of it.
        world.terminate_child(gw, id);
        let delete = world.take();
        world.cut(rw, true);
        world.run_for(seconds(1));
        world.cut(rw, false);
        drop(delete);
        assert_eq!(world.ike_sa(gw).children[0].state, ChildSaState::Deleting);
        assert_eq!(child(&world, rw).id, old.id);
        // It is being closed there, so not now; later it is gone.
        rekey_child(&mut world, rw);
        world.deliver();
        assert_eq!(world.deliver(), "gw --> rw: HDR, SK {N(TEMPORARY_FAILURE)}");
        world.run_for(seconds(30));
        assert!(world.ike_sa(rw).children.is_empty(), "the repeated DELETE came through");
        world.assert_no_faults();
    }

    #[test]
    fn an_ike_sa_is_not_rekeyed_while_its_child_is() {
        for seed in 0..4 {
            let (mut world, rw, gw) = connected(seed);
            rekey_child(&mut world, rw);
            rekey_ike(&mut world, gw);
            let lines = run(&mut world, rw, gw);
            let refusals = lines.iter().filter(|line| line.contains("N(TEMPORARY_FAILURE)")).count();
            assert_eq!(refusals, 2, "neither goes while the other is under way: {lines:#?}");
            assert_settled(&mut world, rw, gw);
        }
    }

    #[test]
    fn after_a_temporary_failure_it_is_tried_again_later() {
        let both = |setup: ferry_ike::sim::Setup| {
            setup.child(|child| {
                child.rekey_time = Some(seconds(60));
                child.life_time = Some(seconds(66));
            })
        };
        let (mut world, rw, gw) = World::of(both(client()), gateway());
        world.connect(rw, gw, "net");
        let old = child(&world, rw).id;
        world.deal(gw, ActionKind::ReserveSpi, Manner::Fails);
        world.run_for(seconds(61));
        assert_eq!(child(&world, rw).id, old);
        assert!(world.transcript().contains("N(TEMPORARY_FAILURE)"));
        world.deal(gw, ActionKind::ReserveSpi, None);
        for _ in 0..200 {
            world.run_for(seconds(1) / 20);
            assert_traffic(&mut world, rw, gw);
        }
        assert_ne!(child(&world, rw).id, old);
        assert!(world.events(rw).iter().all(|event| !event.contains("down")));
    }

    #[test]
    fn a_child_that_cannot_be_rekeyed_ends_with_its_lifetime() {
        let short = client().child(|child| {
            child.rekey_time = Some(seconds(60));
            child.life_time = Some(seconds(66));
        });
        let (mut world, rw, gw) = World::of(short, gateway());
        world.connect(rw, gw, "net");
        world.deal(gw, ActionKind::ReserveSpi, Manner::Fails);
        world.run_for(seconds(65));
        assert_eq!(world.ike_sa(rw).children.len(), 1);
        world.run_for(seconds(2));
        assert_eq!(world.events(rw), ["CHILD_SA net down: Expired"]);
        assert!(world.ike_sa(rw).children.is_empty() && world.ike_sa(gw).children.is_empty());
        world.assert_no_faults();
    }
}
