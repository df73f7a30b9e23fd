//! A world for endpoints to live in: a virtual clock, links that lose and reorder by seed, NAT boxes, an outside
//! that does what actions ask, and a narrator who tells what went over the wire the way RFC 7296 writes it.
//!
//! Nothing here is part of the protocol. Tests, benches and fuzz targets build on it; the daemon does not.
//!
//! Read [`World`] first, then [`Setup`] for what hosts are made of, [`Weather`] and [`NatId`] for what happens
//! to their datagrams, [`Outside`] for what their actions come to, and [`Puppet`] for peers that do not follow
//! the rules.
//!
//! ```
//! use ferry_ike::sim::{World, client, gateway};
//!
//! let mut world = World::new(1);
//! let gw = world.add(gateway());
//! let rw = world.add(client());
//! world.initiate(rw, "net");
//! assert_eq!(world.deliver(), "rw --> gw: HDR, SAi1, KEi, Ni, N(NAT_DETECTION_*)");
//! assert_eq!(world.deliver(), "gw --> rw: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*)");
//! assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, AUTH, SAi2, TSi, TSr}");
//! assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, SAr2, TSi, TSr}");
//! world.assert_connected(rw, gw);
//! ```

mod aaa;
mod agreement;
mod by_hand;
mod host;
mod narrator;
mod nat;
mod network;
mod outside;
mod puppet;
mod random;
mod setup;
mod traffic;
mod world;

pub use aaa::Account;
pub use host::{Host, HostId};
pub use nat::NatId;
pub use network::{Datagram, Weather};
pub use outside::{ActionKind, Manner, Outside};
pub use puppet::Puppet;
pub use random::{Dice, provider};
pub use setup::{PSK, Setup, client, gateway};
pub use world::World;
