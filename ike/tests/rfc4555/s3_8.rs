//! Section 3.8, changes in NAT mappings.

use ferry_ike::Command;
use ferry_ike::sim::{HostId, NatId, Setup, World};

use crate::{mobile_with, seconds};

/// A client behind a NAT that asks for life, connected.
fn natted(client_too: impl FnOnce(Setup) -> Setup) -> (World, HostId, HostId, NatId) {
    let (mut world, rw, gw) =
        mobile_with(|setup| client_too(setup.at("192.168.1.2").dpd(seconds(30))), |setup| setup);
    let nat = world.add_nat("203.0.113.1");
    world.put_behind(rw, nat);
    world.connect(rw, gw, "net");
    (world, rw, gw, nat)
}

#[test]
fn liveness_shows_the_client_that_its_nat_has_a_new_mapping() {
    let (mut world, rw, gw, nat) = natted(|setup| setup);
    world.run_for(seconds(31)); // the first question brings an update: nothing was known before
    world.events(gw);
    let before = world.ike_sa(gw).remote;
    world.rebind(nat);
    world.run_for(seconds(60));
    let after = world.ike_sa(gw).remote;
    assert_ne!(after, before);
    assert_eq!(world.events(gw), [format!("IKE_SA gw moved from {before} to {after}")]);
    assert_eq!(world.child_path(gw).unwrap().remote, after);
    assert!(world.ping(gw) && world.ping(rw));
}

#[test]
fn as_long_as_the_mapping_stays_nothing_is_updated() {
    let (mut world, rw, gw, _) = natted(|setup| setup);
    world.run_for(seconds(31));
    assert!(world.transcript().contains("UPDATE_SA_ADDRESSES"));
    let said = world.transcript().len();
    world.run_for(seconds(300));
    let since = &world.transcript()[said..];
    assert!(since.contains("rw --> gw: HDR, SK {N(NAT_DETECTION_*)}"), "{since}");
    assert!(since.contains("gw --> rw: HDR, SK {N(NAT_DETECTION_*)}"), "{since}");
    assert!(!since.contains("UPDATE_SA_ADDRESSES"), "{since}");
    assert!(world.ping(gw) && world.ping(rw));
}

/// "The host not behind a NAT MUST NOT use these dynamic updates for IKEv2 packets": so paths can be tested.
#[test]
fn a_request_from_elsewhere_moves_nobody() {
    let (mut world, rw, gw, nat) = natted(|setup| setup);
    world.rebind(nat);
    let before = world.ike_sa(gw);
    world.wait_for_deadline(); // a keepalive
    world.run();
    world.wait_for_deadline();
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {N(NAT_DETECTION_*)}");
    assert_eq!(world.ike_sa(gw), before);
    world.run();
    assert_ne!(world.ike_sa(gw), before, "the client has drawn its conclusions");
    assert!(world.ping(rw));
}

/// "... but MAY use them for ESP packets."
#[test]
fn a_packet_from_elsewhere_does() {
    let (mut world, rw, gw, nat) = natted(|setup| setup);
    world.rebind(nat);
    assert!(!world.ping(gw));
    assert!(world.ping(rw));
    assert_eq!(world.events(gw).len(), 1);
    assert_eq!(world.child_path(gw).unwrap().remote, world.ike_sa(gw).remote);
    assert!(world.ping(gw));
}

/// Whoever has moved by an update still has packets under way that left before it.
#[test]
fn a_packet_from_where_the_client_was_is_late() {
    let (mut world, rw, gw, nat) = natted(|setup| setup);
    world.run_for(seconds(31));
    let before = world.ike_sa(gw).remote;
    world.rebind(nat);
    while world.ike_sa(gw).remote == before {
        world.wait_for_deadline();
        world.run();
    }
    let after = world.ike_sa(gw).remote;
    let child_sa = world.ike_sa(gw).children[0].id;
    let late = || Command::MappingChanged { child_sa, remote: before };
    world.command(gw, late()).unwrap();
    assert_eq!(world.ike_sa(gw).remote, after);
    assert!(world.ping(gw) && world.ping(rw));
    // No packet is under way for so long: the NAT has its old mapping again.
    world.run_for(seconds(6));
    world.command(gw, late()).unwrap();
    assert_eq!(world.ike_sa(gw).remote, before);
}
