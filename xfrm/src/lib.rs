//! Linux kernel state that an IKE daemon keeps, over netlink.
//!
//! Routes into the tunnels and the rule that leads to them, virtual IPs, the paths beneath the
//! tunnels and what changes about them, options of the IKE sockets, and whether the kernel can
//! carry ESP. The crate knows nothing of IKE: it is told what to install, and never touches what
//! it did not install.
//!
//! Read [`prefix`] first, then [`route`] with the rule behind it, [`address`] and [`path`],
//! [`changes`], [`link`]; [`probe`] and [`socket_policy`] stand alone. Beneath them, `handle` is
//! the request loop and `message` the codec.
//!
//! Everything that is opened belongs to the network namespace of the thread that opens it, needs
//! a tokio runtime with I/O, and is removed by its `shutdown`.
//!
//! ```no_run
//! use ferry_xfrm::{Addresses, Error, Links, NextHop, Prefix, Route, Routes, RoutingTable, Underlay};
//!
//! async fn route_everything(peer: std::net::IpAddr, inside: std::net::IpAddr) -> Result<(), Error> {
//!     let mut addresses = Addresses::open(Underlay::default()).await?;
//!     let mut routes = Routes::open(RoutingTable::default()).await?;
//!     let tunnel = Links::open().await?.by_name("ipsec0").await?.index;
//!
//!     let path = addresses.path_to(peer, None).await?;
//!     addresses.add_virtual_ip(inside, tunnel).await?;
//!     routes.exempt_peer(peer, &path).await?; // or 0.0.0.0/0 would catch the tunnel's own packets
//!     let everything: Prefix = "0.0.0.0/0".parse().expect("a prefix");
//!     routes.add(&Route::new(everything, NextHop::Interface(tunnel), Some(inside))).await?;
//!
//!     // ... until the tunnel goes down:
//!     routes.shutdown().await?;
//!     addresses.shutdown().await
//! }
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("ferry-xfrm speaks to the Linux kernel");

mod algorithm;
mod claims;
mod error;
mod handle;
mod message;
mod rule;

pub mod address;
pub mod changes;
pub mod link;
pub mod path;
pub mod prefix;
pub mod probe;
pub mod route;
pub mod socket_policy;

pub use address::{Addresses, LocalAddress, Underlay};
pub use changes::{Change, Changes};
pub use error::{Error, Refusal};
pub use link::{Link, Links};
pub use path::Path;
pub use prefix::{AddressRange, InvalidRange, Prefix};
pub use probe::{EspSupport, esp_support};
pub use route::{NextHop, Route, Routes, RoutingTable};
pub use rule::{InvalidMark, MarkMatch};
