//! What the messages of each exchange mean (RFC 7296 §1.2-§1.4).

pub(crate) mod auth;
pub(crate) mod create_child;
pub(crate) mod informational;
pub(crate) mod init;
pub(crate) mod redirect;
pub(crate) mod rekey_child;
pub(crate) mod rekey_ike;
