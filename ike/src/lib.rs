//! IKEv2 (RFC 7296) as a pure state machine: no I/O, no clock, no globals, no unsafe.
#![forbid(unsafe_code)]

pub mod attempt;
pub mod auth;
pub mod command;
pub mod config;
mod context;
pub mod cookie;
pub mod crypto;
pub mod eap;
mod endpoint;
mod error;
pub mod identity;
pub mod lease;
pub mod natt;
pub mod output;
pub mod pki;
pub mod proposal;
pub mod redirect;
mod sa;
pub mod selector;
#[cfg(feature = "sim")]
pub mod sim;
pub mod status;
mod timer;
mod unknown_spi;
pub mod wire;

pub use command::{Command, CommandError, Trigger};
pub use endpoint::Endpoint;
pub use output::{Action, ActionId, Event, Outcome, Output, Path, Transmit};
