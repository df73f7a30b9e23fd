//! Stories between simulated peers, filed by the section of RFC 7296 they are about.
//!
//! Each is told message by message. A failing one prints what went over the wire.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a story that is not as told fails")]

mod attacks;
mod attempts;
#[path = "../model/claims.rs"]
mod claims;
mod crossing;
#[path = "../model/orders.rs"]
#[expect(dead_code, reason = "each story has a name")]
mod orders;
mod outside;
mod rekeying;
mod relay;
mod s1_2;
mod s1_3;
mod s1_3_1;
mod s1_4;
mod s1_5;
mod s2_1;
mod s2_15;
mod s2_16;
mod s2_19;
mod s2_2;
mod s2_21;
mod s2_23;
mod s2_23_1;
mod s2_25;
mod s2_4;
mod s2_5;
mod s2_6;
mod s2_8;
mod s2_8_1;
mod s2_8_2;
mod s2_8_3;
mod s2_9;
#[path = "../model/stage.rs"]
#[expect(dead_code, reason = "a story makes its choices itself")]
mod stage;

/// What the messages of a plain handshake between `client()` and `gateway()` say.
mod said {
    pub(crate) const INIT: &str = "rw --> gw: HDR, SAi1, KEi, Ni, N(NAT_DETECTION_*)";
    pub(crate) const INIT_ANSWER: &str = "gw --> rw: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*)";
    pub(crate) const AUTH: &str = "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, AUTH, SAi2, TSi, TSr}";
    pub(crate) const AUTH_ANSWER: &str = "gw --> rw: HDR, SK {IDr, AUTH, SAr2, TSi, TSr}";
}

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Where puppets are.
const PUPPET: &str = "198.51.100.66:500";
const PUPPET_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 66));
/// Where gateways are.
const GATEWAY: &str = "192.0.2.1:500";
const GATEWAY_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// What hosts offer where nothing else is said.
const OFFER: &str = "aes128gcm16-prfsha256-x25519";

/// How long a datagram takes in fair weather.
const LATENCY: Duration = Duration::from_millis(10);

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
