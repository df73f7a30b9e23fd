//! Authentication of the peers (RFC 7296 §2.15).

pub mod psk;
pub mod rules;
pub mod signature;
