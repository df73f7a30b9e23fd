//! Section 3.4, additional addresses in IKE_AUTH.

use crate::{CAFE, HOME, OTHER_GATEWAY, mobile};

#[test]
fn both_say_in_ike_auth_where_else_they_are() {
    let (mut world, rw, gw) = mobile();
    world.move_to(rw, &[HOME, CAFE, "2001:db8::7"]);
    world.move_to(gw, &["192.0.2.1", OTHER_GATEWAY]);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, AUTH, CP(CFG_REQUEST), SAi2, TSi, TSr, \
         N(ADDITIONAL_IP4_ADDRESS), N(ADDITIONAL_IP6_ADDRESS)}"
    );
    assert_eq!(
        world.deliver(),
        "gw --> rw: HDR, SK {IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr, N(ADDITIONAL_IP4_ADDRESS)}"
    );
    // It is remembered, and nothing else is done (RFC 4555 §3.4).
    world.run();
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(rw).remote.to_string(), "192.0.2.1:4500");
}
