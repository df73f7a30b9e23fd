//! `ferryd`, strongSwan's charon done anew, and `ferryctl`, which drives it.
//!
//! Here the leaf crates are joined: [`settings`] reads strongswan.conf, [`net`] opens IKE's sockets,
//! [`dataplane`] carries packets, [`shard`] runs the endpoints of `ferry-ike`, and [`vici_server`] lets
//! clients control it all. What clients load goes through [`connections`] and [`pools`] into the [`store`],
//! which gives it to the shards. Those ask [`radius`] about peers where connections say so, and leave what has failed to
//! [`attempts`].
//!
//! [`startup`] puts the parts together, and takes them apart again. [`mod@ferryctl`] is a client of the VICI server; with it
//! [`check`] looks at configurations without a daemon.

mod attempts;
mod check;
mod connections;
mod control;
mod dataplane;
mod ferryctl;
mod ferryd;
mod logging;
mod metrics;
mod net;
mod pid_file;
mod pools;
mod privileges;
mod radius;
mod reload;
mod revocation;
mod settings;
mod shard;
mod startup;
mod store;
mod swanctl_conf;
mod system;
mod updown;
mod vici_server;

pub use ferryctl::main as ferryctl;
pub use ferryd::main as ferryd;
