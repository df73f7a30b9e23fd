//! From a VICI message to a typed connection: the one conversion, whoever loads it.
//!
//! All or nothing: a key that is not known, a value that does not fit, or something that would change what is
//! protected and that we cannot do refuses the whole connection, by a sentence that names the key by its full
//! path in swanctl.conf. What we lack but nobody is worse protected without is accepted with a remark.
//!
//! [`connection`], [`auth`] and [`child`] know the keys of their sections, [`values`] how values are written.

mod addresses;
mod auth;
mod certificate;
mod child;
mod connection;
mod error;
mod proposals;
mod schema;
mod values;

pub(crate) use addresses::{Occasion, display as display_address, parse as parse_address, resolve};
pub(crate) use certificate::certificate;
pub(crate) use connection::parse;
pub(crate) use error::ConfigError;
pub(crate) use proposals::supports;
#[cfg(test)]
pub(crate) use proposals::supports_esp;
pub(crate) use schema::{Item, Items};

use std::time::Duration;

use ferry_ike::config::{Connection, Ports};

use crate::dataplane::Abilities;

/// What strongswan.conf contributes to connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// Anti-replay window of children that do not say, in packets.
    pub(crate) replay_window: u32,
    /// Ports we send from.
    pub(crate) ports: Ports,
    /// How long to wait before names that have no address are looked up again to initiate; `None` gives up.
    pub(crate) retry_initiate: Option<Duration>,
    /// What the data plane can do.
    pub(crate) plane: Abilities,
}

/// A connection as its message has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parsed {
    /// What endpoints get. Names of hosts are not looked up yet.
    pub(crate) connection: Connection,
    /// What is shown though it has no effect: it is for IKEv1.
    pub(crate) dpd_timeout: Duration,
    /// One sentence for each key that has no effect yet.
    pub(crate) remarks: Vec<String>,
}
