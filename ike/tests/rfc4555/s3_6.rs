//! Section 3.6, updating additional addresses.

use crate::{CAFE, GATEWAY, HOME, OTHER_GATEWAY, assert_met, connected, milliseconds, mobile_with, seconds};

#[test]
fn either_end_tells_the_other_of_addresses_that_come_and_go() {
    let (mut world, rw, gw) = connected();
    for (host, at, more) in [(rw, HOME, CAFE), (gw, GATEWAY, OTHER_GATEWAY)] {
        let (name, peer) = if host == rw { ("rw", "gw") } else { ("gw", "rw") };
        // The client may have to tell more urgent things first.
        let settle = seconds(if host == rw { 1 } else { 0 });
        world.move_to(host, &[at, more]);
        world.wait(settle);
        assert_eq!(world.deliver(), format!("{name} --> {peer}: HDR, SK {{N(ADDITIONAL_IP4_ADDRESS)}}"));
        assert_eq!(world.deliver(), format!("{peer} --> {name}: HDR, SK {{}}"));
        world.move_to(host, &[more, at]);
        world.wait(settle);
        assert!(world.in_air().is_empty(), "the other order says nothing new");
        world.move_to(host, &[at]);
        world.wait(settle);
        assert_eq!(world.deliver(), format!("{name} --> {peer}: HDR, SK {{N(NO_ADDITIONAL_ADDRESSES)}}"));
        assert_eq!(world.deliver(), format!("{peer} --> {name}: HDR, SK {{}}"));
        assert!(world.in_air().is_empty());
    }
    assert_met(&mut world, rw, gw, HOME);
}

/// A new uplink comes before the old one goes: the update does not wait for the answer to a list of addresses.
#[test]
fn nothing_is_in_flight_when_the_address_in_use_goes_soon_after_another_came() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[HOME, CAFE]);
    world.wait(milliseconds(900));
    assert!(world.in_air().is_empty(), "the list can wait");
    world.move_to(rw, &[CAFE]);
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_*), N(COOKIE2)}"
    );
    world.run();
    assert_met(&mut world, rw, gw, CAFE);
    world.wait(seconds(10));
    assert!(world.in_air().is_empty(), "there is nothing more to say");
}

/// Addresses that come and go all the time are told of once a second.
#[test]
fn a_list_that_changes_all_the_time_is_told_all_the_same() {
    let (mut world, rw, _) = connected();
    let mut lists = 0;
    for round in 0..21_u32 {
        world.move_to(rw, &[HOME, &format!("203.0.113.{round}")]);
        world.wait(milliseconds(250));
        lists += world.in_air().len();
        world.run();
    }
    assert_eq!(lists, 5);
}

/// What has changed again before it could be said is said once.
#[test]
fn the_newest_list_wins() {
    let (mut world, rw, gw) = mobile_with(|setup| setup.dpd(seconds(10)), |setup| setup);
    world.connect(rw, gw, "net");
    world.wait_for_deadline();
    world.move_to(rw, &[HOME, CAFE]);
    world.move_to(rw, &[HOME, CAFE, "2001:db8::7"]);
    world.wait(seconds(1));
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {N(ADDITIONAL_IP4_ADDRESS), N(ADDITIONAL_IP6_ADDRESS)}");
    world.deliver();
    assert!(world.in_air().is_empty());
}

#[test]
fn an_update_brings_the_list_with_it() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[CAFE, "2001:db8::7"]);
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {N(UPDATE_SA_ADDRESSES), N(ADDITIONAL_IP6_ADDRESS), N(NAT_DETECTION_*), N(COOKIE2)}"
    );
    world.run();
    assert_met(&mut world, rw, gw, CAFE);
}

/// The gateway says where it is, and the client, who decides, moves the traffic there.
#[test]
fn a_gateway_that_moves_takes_its_client_along() {
    let (mut world, rw, gw) = connected();
    world.move_to(gw, &[OTHER_GATEWAY]);
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {N(NO_ADDITIONAL_ADDRESSES)}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    world.run();
    assert_eq!(world.ike_sa(rw).remote.ip().to_string(), OTHER_GATEWAY);
    assert_met(&mut world, rw, gw, HOME);
}

#[test]
fn an_address_of_the_gateway_that_is_not_used_may_go() {
    let (mut world, rw, gw) = connected();
    world.move_to(gw, &[GATEWAY, OTHER_GATEWAY]);
    world.run();
    let before = world.ike_sa(rw);
    world.move_to(gw, &[GATEWAY]);
    world.run();
    assert_eq!(world.ike_sa(rw), before);
    assert_met(&mut world, rw, gw, HOME);
}

/// The responder uses the client's additional addresses when its own have changed, and then alone.
#[test]
fn a_gateway_that_moves_looks_for_its_client_at_all_its_addresses() {
    let (mut world, rw, gw) = connected();
    world.move_to(rw, &[HOME, CAFE]);
    world.wait(seconds(1));
    world.run();
    world.block(HOME, true);
    world.move_to(gw, &[OTHER_GATEWAY]);
    world.run_for(seconds(60));
    assert_eq!(world.ike_sa(rw).remote.ip().to_string(), OTHER_GATEWAY);
    assert_met(&mut world, rw, gw, CAFE);
}

/// What is asked for later is asked in the IKE SA there is, wherever its peer has gone.
#[test]
fn a_further_child_is_made_where_the_gateway_is_now() {
    let (mut world, rw, gw) = connected();
    world.move_to(gw, &[OTHER_GATEWAY]);
    world.run();
    world.initiate(rw, "net");
    world.run();
    assert_eq!(world.ike_sa(rw).children.len(), 2);
    assert_met(&mut world, rw, gw, HOME);
}
