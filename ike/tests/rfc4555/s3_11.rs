//! Sections 3.10, 3.11: paths are tested when the one in use fails.

use crate::{CAFE, GATEWAY, HOME, OTHER_GATEWAY, assert_met, connected, mobile_with, seconds};

/// The gateway's address is dead, and nobody has said so: the request in flight finds the one that lives.
#[test]
fn a_request_that_is_not_answered_is_sent_over_all_paths() {
    let (mut world, rw, gw) = mobile_with(|setup| setup.dpd(seconds(30)), |setup| setup);
    world.move_to(gw, &[GATEWAY, OTHER_GATEWAY]);
    world.connect(rw, gw, "net");
    world.block(GATEWAY, true);
    world.run_for(seconds(100));
    assert_eq!(world.ike_sa(rw).remote.ip().to_string(), OTHER_GATEWAY);
    assert_met(&mut world, rw, gw, HOME);
}

/// The same with the client's own address.
#[test]
fn own_addresses_are_tried_too() {
    let (mut world, rw, gw) = mobile_with(|setup| setup.dpd(seconds(30)), |setup| setup);
    world.move_to(rw, &[HOME, CAFE]);
    world.connect(rw, gw, "net");
    world.block(HOME, true);
    world.run_for(seconds(100));
    assert_met(&mut world, rw, gw, CAFE);
}

/// Which of the copies of an update the gateway saw first is not known: it is said again over the path that answered.
#[test]
fn an_update_that_went_over_several_paths_is_repeated_over_one() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[HOME, CAFE]);
    world.run();
    world.block(CAFE, true);
    world.move_to(rw, &[CAFE, "203.0.113.8"]); // prefers one that does not work
    world.run_for(seconds(100));
    assert_met(&mut world, rw, gw, "203.0.113.8");
}

#[test]
fn a_peer_that_answers_nowhere_is_given_up() {
    let (mut world, rw, gw) = mobile_with(|setup| setup.dpd(seconds(30)), |setup| setup);
    world.move_to(gw, &[GATEWAY, OTHER_GATEWAY]);
    world.connect(rw, gw, "net");
    world.cut(gw, true);
    world.run_for(seconds(300));
    assert!(world.ike_sas(rw).is_empty());
    assert!(world.host(rw).outside.installed().next().is_none());
}

/// An answer from a path that was never tried is an answer, and no reason to go there.
#[test]
fn an_answer_from_nowhere_moves_nobody() {
    let (mut world, rw, gw) = mobile_with(|setup| setup.dpd(seconds(30)), |setup| setup);
    world.connect(rw, gw, "net");
    let before = world.ike_sa(rw);
    world.wait_for_deadline();
    world.deliver();
    let mut answer = world.take();
    answer.from = "198.51.100.99:4500".parse().unwrap();
    world.inject(answer);
    assert_eq!(world.ike_sa(rw).remote, before.remote);
    assert!(world.in_air().is_empty());
    assert_met(&mut world, rw, gw, HOME);
}

#[test]
fn after_a_change_the_path_can_be_checked_though_it_is_there() {
    let (mut world, rw, gw) =
        mobile_with(|setup| setup.settings(|settings| settings.check_current_path = true), |setup| setup);
    world.connect(rw, gw, "net");
    world.move_to(rw, &[HOME]);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    assert!(world.in_air().is_empty());
}
