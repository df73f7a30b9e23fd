//! Linux routes, rules, addresses and (later) kernel SAs and policies over netlink.
mod algorithm;
mod error;
mod handle;
mod message;
pub mod prefix;
