//! IKEv2 (RFC 7296) as a pure state machine: no I/O, no clock, no globals, no unsafe.
#![forbid(unsafe_code)]

pub mod auth;
pub mod cookie;
pub mod crypto;
pub mod identity;
pub mod lease;
pub mod natt;
pub mod proposal;
pub mod selector;
pub mod wire;
