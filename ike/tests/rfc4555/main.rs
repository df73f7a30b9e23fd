//! Stories between simulated peers, filed by the section of RFC 4555 (MOBIKE) they are about.
//!
//! Each is told message by message. A failing one prints what went over the wire.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a story that is not as told fails")]

mod crossing;
mod s3_11;
mod s3_2;
mod s3_4;
mod s3_5;
mod s3_6;
mod s3_7;
mod s3_8;
mod s3_9;

use std::time::Duration;

use ferry_ike::sim::{HostId, Setup, World, client, gateway};

/// Where the client begins, and where it goes.
const HOME: &str = "198.51.100.7";
const CAFE: &str = "203.0.113.5";
const TRAIN: &str = "203.0.113.77";
/// Where the gateway is, and where it is too or goes.
const GATEWAY: &str = "192.0.2.1";
const OTHER_GATEWAY: &str = "192.0.2.99";

/// What hosts offer where nothing else is said.
const OFFER: &str = "aes128gcm16-prfsha256-x25519";

/// What messages say.
mod said {
    pub(crate) const UPDATE: &str =
        "rw --> gw: HDR, SK {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_*), N(COOKIE2)}";
    pub(crate) const UPDATE_ANSWER: &str = "gw --> rw: HDR, SK {N(NAT_DETECTION_*), N(COOKIE2)}";
    pub(crate) const CHECK: &str = "gw --> rw: HDR, SK {N(COOKIE2)}";
    pub(crate) const CHECK_ANSWER: &str = "rw --> gw: HDR, SK {N(COOKIE2)}";
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A client with a virtual IP and a gateway, who both want MOBIKE.
fn mobile() -> (World, HostId, HostId) {
    mobile_with(|setup| setup, |setup| setup)
}

fn mobile_with(
    client_too: impl FnOnce(Setup) -> Setup,
    gateway_too: impl FnOnce(Setup) -> Setup,
) -> (World, HostId, HostId) {
    World::of(
        client_too(client().mobike().vips(&["0.0.0.0"])),
        gateway_too(gateway().mobike().pool("10.3.0.0/24")),
    )
}

/// The same, connected.
fn connected() -> (World, HostId, HostId) {
    let (mut world, rw, gw) = mobile();
    world.connect(rw, gw, "net");
    (world, rw, gw)
}

/// Both ends are where the other believes, with all their CHILD_SAs, and reach each other.
fn assert_met(world: &mut World, rw: HostId, gw: HostId, at: &str) {
    world.assert_mirrored(rw, gw);
    world.assert_mirrored(gw, rw);
    let (ours, theirs) = (world.ike_sa(rw), world.ike_sa(gw));
    assert_eq!(ours.local.ip().to_string(), at);
    assert_eq!((ours.local, ours.remote), (theirs.remote, theirs.local));
    for host in [rw, gw] {
        let sa = world.ike_sa(host);
        for installed in world.host(host).outside.installed() {
            assert_eq!((installed.path.local, installed.path.remote), (sa.local, sa.remote));
        }
    }
    assert!(world.ping(rw) && world.ping(gw));
    world.assert_no_faults();
}
