//! Sections 3.2, 3.3: MOBIKE is agreed in IKE_AUTH, which goes over port 4500.

use ferry_ike::sim::{World, client, gateway};

use crate::{CAFE, HOME, assert_met, connected};

#[test]
fn with_mobike_both_go_over_port_4500_without_a_nat() {
    let (mut world, rw, gw) = connected();
    for host in [rw, gw] {
        let sa = world.ike_sa(host);
        assert_eq!((sa.local.port(), sa.remote.port()), (4500, 4500));
        assert!(!sa.nat_local && !sa.nat_remote && !sa.children[0].encapsulated);
        assert_eq!(world.due(host), None);
    }
    assert_met(&mut world, rw, gw, HOME);
}

#[test]
fn without_it_at_either_end_nothing_follows_an_address() {
    for (ours, theirs) in [(true, false), (false, true), (false, false)] {
        let (mut world, rw, gw) = World::of(
            client().connection(|connection| connection.mobike = ours),
            gateway().connection(|connection| connection.mobike = theirs),
        );
        world.connect(rw, gw, "net");
        let before = (world.ike_sa(rw), world.ike_sa(gw));
        world.move_to(rw, &[CAFE]);
        assert!(world.in_air().is_empty());
        assert_eq!((world.ike_sa(rw), world.ike_sa(gw)), before);
        // Who wants it moves to port 4500 before it knows whether the other does.
        assert_eq!(before.0.remote.port(), if ours { 4500 } else { 500 });
    }
}
