//! Section 2.23.1, Transport Mode NAT Traversal: each end knows the two hosts by the addresses it sees itself.

use ferry_ike::config::Mode;
use ferry_ike::sim::{HostId, NatId, World, client, gateway};

use crate::rekeying::{child, rekey_child};
use crate::s1_3_1::between_hosts;
use crate::seconds;

const NAT: &str = "203.0.113.1";

/// A client behind a NAT, and a gateway that has one of its own if `both`.
fn natted(both: bool, granted: Mode) -> (World, HostId, HostId, NatId) {
    let rw = between_hosts(client().at("192.168.1.2"), Mode::Transport);
    let gw = between_hosts(gateway(), granted);
    let (mut world, rw, gw) = World::of(rw, if both { gw.at("192.168.7.1") } else { gw });
    let nat = world.add_nat(NAT);
    world.put_behind(rw, nat);
    if both {
        let outer = world.add_nat("192.0.2.1");
        world.put_behind(gw, outer);
        world.forward(outer, gw);
    }
    (world, rw, gw, nat)
}

fn traffic(world: &World, host: HostId) -> (Mode, String) {
    let child = child(world, host);
    (child.mode, format!("{:?} === {:?}", child.local_ts, child.remote_ts))
}

#[test]
fn a_nat_before_the_client_is_seen_by_the_gateway_alone() {
    let (mut world, rw, gw, _) = natted(false, Mode::Transport);
    world.connect(rw, gw, "net");
    let of = |world: &World| [traffic(world, rw), traffic(world, gw)];
    let expected = [
        (Mode::Transport, "[192.168.1.2/32] === [192.0.2.1/32]".to_owned()),
        (Mode::Transport, "[192.0.2.1/32] === [203.0.113.1/32]".to_owned()),
    ];
    assert_eq!(of(&world), expected);
    // The successor is no different, whoever makes it.
    for host in [rw, gw] {
        rekey_child(&mut world, host);
        world.run();
        world.wait(seconds(10));
        assert_eq!(of(&world), expected);
    }
}

#[test]
fn with_nats_before_both_each_sees_the_other_nat() {
    let (mut world, rw, gw, _) = natted(true, Mode::Transport);
    world.connect(rw, gw, "net");
    assert_eq!(traffic(&world, rw).1, "[192.168.1.2/32] === [192.0.2.1/32]");
    assert_eq!(traffic(&world, gw).1, "[192.168.7.1/32] === [203.0.113.1/32]");
    assert_eq!(traffic(&world, gw).0, Mode::Transport);
}

/// "If an entry is found but it does not allow transport mode, then the server MAY undo the address substitution and
/// redo the SPD lookup using the original Traffic Selectors."
#[test]
fn declined_transport_mode_is_looked_up_as_it_was_sent() {
    let (mut world, rw, gw, _) = natted(false, Mode::Tunnel);
    world.initiate(rw, "net");
    world.run();
    assert_eq!(
        world.ike_sa(gw).children.len(),
        0,
        "`dynamic` is the NAT, and tunnel mode would be to the host"
    );
    let gw = between_hosts(gateway(), Mode::Tunnel).ts("dynamic", "192.168.0.0/16");
    let (mut world, rw, gw) = World::of(between_hosts(client().at("192.168.1.2"), Mode::Transport), gw);
    let nat = world.add_nat(NAT);
    world.put_behind(rw, nat);
    world.connect(rw, gw, "net");
    assert_eq!(traffic(&world, gw), (Mode::Tunnel, "[192.0.2.1/32] === [192.168.1.2/32]".to_owned()));
    assert_eq!(traffic(&world, rw), (Mode::Tunnel, "[192.168.1.2/32] === [192.0.2.1/32]".to_owned()));
}
