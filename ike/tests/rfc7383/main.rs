//! Stories between simulated peers, filed by the section of RFC 7383 (IKEv2 Message Fragmentation) they are about.
//!
//! Each is told message by message. A failing one prints what went over the wire.

mod s2_3;
mod s2_5;
mod s2_6;
mod s2_6_1;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ferry_ike::sim::{HostId, Setup, World, client, gateway};

/// Where puppets are.
const PUPPET: &str = "198.51.100.66:500";
const PUPPET_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 66));
/// Where gateways are.
const GATEWAY: &str = "192.0.2.1:500";
/// What hosts offer where nothing else is said.
const OFFER: &str = "aes128gcm16-prfsha256-x25519";

/// The IP datagrams of fragments.
const SMALL: usize = 180;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An identity that makes an IKE_AUTH message long.
fn long_id(length: usize) -> String {
    format!("{}.example.org", "x".repeat(length))
}

/// A client and a gateway. The IKE_AUTH request has three fragments, the response two.
fn pair() -> (Setup, Setup) {
    (client().id(&long_id(60)).fragments(SMALL), gateway().fragments(SMALL))
}

/// Lets a pair come to where the client's fragments are in the air.
fn world_of_fragments() -> (World, HostId, HostId) {
    let (client, gateway) = pair();
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    (world, rw, gw)
}

fn end(mut world: World) {
    world.run_out(seconds(1200));
    world.assert_nothing_left();
}
