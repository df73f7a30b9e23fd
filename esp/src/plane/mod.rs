//! The userspace data plane: a TUN device on one side, UDP-encapsulated ESP (RFC 3948) on the other.
//!
//! ```text
//! network stack <--> TUN device <--> worker <--> UDP sockets (NAT-T port) <--> peers
//!                                      |  \
//!                                      |   `--> IKE datagrams, events
//!                                 SAD, SPD, SAs  <-- commands -- Plane (handle)
//! ```
//!
//! One worker thread owns the tables and every SA in them; nothing it needs for a packet is shared, so there is no
//! lock and no reference count on a packet's path. The [`Plane`] is a handle: it makes key schedules on its caller's
//! thread and hands finished SAs over through a queue, into which the worker looks before every packet: what was asked
//! for before a packet arrived holds for that packet, so an SA added before the peer is told of it is always there for
//! the peer's first packet. What the handle reads back (usage, drops) are counters with one writer.
//!
//! A walk through the network stack costs more than the cipher, so packets take it together where they can
//! ([`PlaneConfig::offload`]): the device gives one TCP stream's octets by the 64 KiB with one header, they are cut and
//! sealed back to back, and one call sends them; datagrams that came together are opened in place, and what is in order
//! goes to the device as one packet again. Each step does without where the kernel or the path does.
//!
//! There is one worker now. Transforms, windows and tables know nothing of threads or sockets, so that several, one
//! for each TUN queue, could each own the SAs of their share of the SPIs.

mod command;
mod config;
mod control;
mod cut;
mod demux;
mod device;
mod error;
mod event;
mod handle;
mod incoming;
mod join;
mod outgoing;
mod policy;
mod registry;
mod socket;
mod stats;
mod sys;
mod tables;
mod tun;
mod virtio;
mod worker;

pub use config::{ChildId, IkeDatagram, Path, PlaneConfig, SpiPrefix};
pub use error::{InstallError, PlaneError};
pub use event::{Direction, Event};
pub use handle::Plane;
pub use policy::{Acquired, PolicyAction, PolicyId};
pub use stats::{ChildUse, DropReason, Stats};
