//! Linux kernel state that an IKE daemon keeps, over netlink.
//!
//! SAs and policies, and what the kernel tells of them; routes into the tunnels and the rule that
//! leads to them, virtual IPs, xfrm interfaces, the paths beneath the tunnels and what changes about
//! them, options of the IKE sockets. The crate knows nothing of IKE: it is told what to install, and
//! never touches what it did not install.
//!
//! Read [`prefix`] first. For the kernel's ESP go on with [`selector`] and [`mod@priority`], [`sa`] and
//! [`algorithm`] with the database of them in [`sad`], [`policy`] with that in [`spd`], [`migration`],
//! [`event`]; [`probe`] says whether the kernel has any. For what is around it [`route`] with the rule
//! behind it, [`address`] and [`path`], [`changes`], [`link`]; [`socket_policy`] stands alone.
//! Beneath them, `handle` is the request loop and `message` the codec.
//!
//! Everything that is opened belongs to the network namespace of the thread that opens it, needs
//! a tokio runtime with I/O. Routes, rules and virtual IPs are removed by their `shutdown`; SAs and
//! policies one by one.
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

mod claims;
mod error;
mod handle;
mod message;
mod rule;

pub mod address;
pub mod algorithm;
pub mod changes;
pub mod event;
pub mod link;
pub mod migration;
pub mod path;
pub mod policy;
pub mod prefix;
pub mod priority;
pub mod probe;
pub mod route;
pub mod sa;
pub mod sad;
pub mod selector;
pub mod socket_policy;
pub mod spd;

pub use address::{Addresses, LocalAddress, Underlay};
pub use algorithm::{Aead, Encryption, Integrity, Key, Protection};
pub use changes::{Change, Changes};
pub use error::{Error, Meaning, Refusal};
pub use event::{Event, Events};
pub use handle::Port;
pub use link::{Link, Links, XfrmInterface};
pub use migration::{Migration, Move, Moves};
pub use path::Path;
pub use policy::{Policy, PolicyDirection, PolicyEntry, PolicyId, Template};
pub use prefix::{AddressRange, InvalidRange, Prefix};
pub use priority::{Purpose, priority};
pub use probe::{Capabilities, EspSupport, esp_support};
pub use route::{NextHop, Route, Routes, RoutingTable};
pub use rule::{InvalidMark, MarkMatch};
pub use sa::{IpsecProtocol, Mark, Mode, Sa, SaDirection, SaEntry, SaId};
pub use sad::Sad;
pub use selector::{PortMatch, PortRange, Selector, TrafficSelector, selectors};
pub use spd::Spd;
