//! Section 3.6, updating additional addresses.

use crate::{CAFE, GATEWAY, HOME, OTHER_GATEWAY, assert_met, connected, mobile_with, seconds};

#[test]
fn either_end_tells_the_other_of_addresses_that_come_and_go() {
    let (mut world, rw, gw) = connected();
    for (host, at, more) in [(rw, HOME, CAFE), (gw, GATEWAY, OTHER_GATEWAY)] {
        let (name, peer) = if host == rw { ("rw", "gw") } else { ("gw", "rw") };
        world.move_to(host, &[at, more]);
        assert_eq!(world.deliver(), format!("{name} --> {peer}: HDR, SK {{N(ADDITIONAL_IP4_ADDRESS)}}"));
        assert_eq!(world.deliver(), format!("{peer} --> {name}: HDR, SK {{}}"));
        world.move_to(host, &[more, at]);
        assert!(world.in_air().is_empty(), "the other order says nothing new");
        world.move_to(host, &[at]);
        assert_eq!(world.deliver(), format!("{name} --> {peer}: HDR, SK {{N(NO_ADDITIONAL_ADDRESSES)}}"));
        assert_eq!(world.deliver(), format!("{peer} --> {name}: HDR, SK {{}}"));
        assert!(world.in_air().is_empty());
    }
    assert_met(&mut world, rw, gw, HOME);
}

/// What has changed again before it could be said is said once.
#[test]
fn the_newest_list_wins() {
    let (mut world, rw, gw) = mobile_with(|setup| setup.dpd(seconds(10)), |setup| setup);
    world.connect(rw, gw, "net");
    world.wait_for_deadline();
    world.move_to(rw, &[HOME, CAFE]);
    world.move_to(rw, &[HOME, CAFE, "2001:db8::7"]);
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
