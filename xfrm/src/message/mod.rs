//! Netlink messages: octets in, values out, no sockets.
//!
//! Requests are written field by field into one buffer that is wiped when dropped, because an SA's
//! request holds its keys. No message type has `Debug` where it could hold a key, and nothing here
//! logs. Answers are read through [`Fields`], which cannot run past its end: the kernel is
//! trusted, but a short answer must cost an error and not the daemon.
//!
//! The codec is our own rather than netlink-packet-xfrm's and -route's: those print keys through
//! `Debug` and keep them in plain vectors, panic on short messages, lack the newer attributes, and
//! reject a whole link or route over one attribute of an unexpected size.
//!
//! Everything is in host byte order unless a comment says "network order".

pub(crate) mod algorithm;
pub(crate) mod database;
pub(crate) mod event;
#[cfg(test)]
mod golden;
pub(crate) mod interface;
pub(crate) mod migration;
pub(crate) mod policy;
pub(crate) mod read;
pub(crate) mod route;
pub(crate) mod sa;
pub(crate) mod selector;
#[cfg(test)]
pub(crate) mod test_support;
pub(crate) mod write;

pub(crate) use read::{Attribute, Fields, Frame, attributes, frames};
pub(crate) use write::{Request, Writer};

use std::net::IpAddr;

use crate::error::Malformed;

/// Octets of `struct nlmsghdr`.
pub(crate) const HEADER_LENGTH: usize = 16;

/// Message flags (`NLM_F_*`); some bits mean different things in requests and answers.
pub(crate) mod flags {
    pub(crate) const REQUEST: u16 = 0x001;
    pub(crate) const MULTI: u16 = 0x002;
    pub(crate) const ACK: u16 = 0x004;
    /// The table changed during the dump: what was read is not of one moment.
    pub(crate) const DUMP_INTERRUPTED: u16 = 0x010;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const REPLACE: u16 = 0x100;
    pub(crate) const EXCLUSIVE: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
    /// On an acknowledgement: the request is not echoed beyond its header.
    pub(crate) const CAPPED: u16 = 0x100;
    /// On an acknowledgement: extended-ack attributes follow.
    pub(crate) const EXTENDED: u16 = 0x200;
}

/// Control messages common to all netlink protocols.
pub(crate) mod control {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
    /// Receive queue overrun.
    pub(crate) const OVERRUN: u16 = 4;
}

/// Address family of an address, as the kernel's structs hold it.
pub(crate) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

pub(crate) const AF_UNSPEC: u8 = 0;
pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

/// An attribute's value as an address, by its size.
pub(crate) fn address(value: &[u8]) -> Result<IpAddr, Malformed> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        Ok(octets.into())
    } else if let Ok(octets) = <[u8; 16]>::try_from(value) {
        Ok(octets.into())
    } else {
        Err(Malformed("an address attribute of 4 or 16 octets"))
    }
}
