//! Orders and observations that stories about rekeying share.

use ferry_ike::Command;
use ferry_ike::output::RequestId;
use ferry_ike::sim::{HostId, World};
use ferry_ike::status::ChildSaStatus;

/// The only CHILD_SA of a host.
pub(crate) fn child(world: &World, host: HostId) -> ChildSaStatus {
    let children = world.ike_sa(host).children;
    assert_eq!(children.len(), 1, "CHILD_SAs of {}", world.host(host).name);
    children.first().expect("it was counted").clone()
}

/// Rekeys the newest CHILD_SA of a host's newest IKE SA.
pub(crate) fn rekey_child(world: &mut World, host: HostId) -> RequestId {
    let request = world.next_request();
    let ike_sas = world.ike_sas(host);
    let child_sa = ike_sas.last().and_then(|sa| sa.children.last()).expect("the host has a CHILD_SA").id;
    world.command(host, Command::RekeyChildSa { request, child_sa }).expect("the CHILD_SA is there");
    request
}

/// Rekeys the newest IKE SA of a host.
pub(crate) fn rekey_ike(world: &mut World, host: HostId) -> RequestId {
    let request = world.next_request();
    let ike_sa = world.ike_sas(host).last().expect("the host has an IKE_SA").id;
    world.command(host, Command::RekeyIkeSa { request, ike_sa }).expect("the IKE_SA is there");
    request
}

/// Delivers one datagram. Traffic flows both ways before and after.
pub(crate) fn deliver(world: &mut World, one: HostId, other: HostId) -> String {
    assert_traffic(world, one, other);
    let line = world.deliver();
    assert_traffic(world, one, other);
    line
}

pub(crate) fn assert_traffic(world: &mut World, one: HostId, other: HostId) {
    for host in [one, other] {
        assert!(world.ping(host), "a packet from {} is lost", world.host(host).name);
    }
    world.assert_no_faults();
}

/// Delivers everything in the air and what follows, with traffic all the time.
pub(crate) fn run(world: &mut World, one: HostId, other: HostId) -> Vec<String> {
    let mut lines = Vec::new();
    while !world.in_air().is_empty() {
        lines.push(deliver(world, one, other));
        assert!(lines.len() < 1000, "no end in sight");
    }
    lines
}
