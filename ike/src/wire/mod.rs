//! Octets and values: the message format of RFC 7296 section 3.

pub mod registry;
