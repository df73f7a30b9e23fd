//! Ends of which one refuses the other.

use std::time::Duration;

use ferry_ike::sim::{HostId, Setup, World};

/// Why an IKE SA of a host went.
pub(crate) fn down(world: &mut World, host: HostId) -> String {
    world.events(host).into_iter().find(|line| line.contains(" down: ")).unwrap_or_default()
}

/// It comes to nothing; the end that refuses says why in its log.
pub(crate) fn fails(client: Setup, gateway: Setup, is_refused_by_gateway: bool, why: &str) {
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.run();
    let said = down(&mut world, if is_refused_by_gateway { gw } else { rw });
    assert!(said.contains(why), "{said}\n{}", world.transcript());
    if is_refused_by_gateway {
        // RFC 7296 §2.21.2: whatever it was, that is all the peer is told.
        assert_eq!(down(&mut world, rw), "IKE_SA rw down: the peer answered AUTHENTICATION_FAILED");
    }
    world.run_out(Duration::from_secs(400));
    assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
    world.assert_nothing_left();
}
