//! What changes beneath the daemon: addresses, interfaces, routes.

use std::collections::VecDeque;
use std::net::IpAddr;

use rustix::net::sockopt;
use tracing::debug;

use crate::error::{Error, Failure, Malformed};
use crate::handle::{Channel, Protocol};
use crate::message::interface::{
    AddressEntry, LinkEntry, RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK,
};
use crate::message::route::{
    RTM_DELROUTE, RTM_DELRULE, RTM_NEWROUTE, RTM_NEWRULE, RouteEntry, Rule, TABLE_LOCAL,
};
use crate::message::{Frame, frames};
use crate::prefix::Prefix;

/// Multicast groups to listen to.
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
];

/// Octets of kernel memory for changes not yet read: some thousands.
const RECEIVE_QUEUE: usize = 1 << 20;

/// A change. Coarse on purpose: who hears one asks anew for what concerns them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// An address came, or changed its state; it may still be tentative.
    AddressAdded {
        /// The address.
        address: IpAddr,
        /// Index of its interface.
        interface: u32,
    },
    /// An address went.
    AddressRemoved {
        /// The address.
        address: IpAddr,
        /// Index of the interface it was on.
        interface: u32,
    },
    /// An interface came or changed.
    Link {
        /// Its index.
        index: u32,
        /// Its name.
        name: String,
        /// Whether it is administratively up.
        is_up: bool,
    },
    /// An interface went.
    LinkRemoved {
        /// The index it had.
        index: u32,
        /// The name it had.
        name: String,
    },
    /// A route came, changed or went.
    Route {
        /// Its destination.
        destination: Prefix,
        /// Its routing table.
        table: u32,
    },
    /// A routing rule came or went.
    Rule,
    /// More happened than the kernel could hold for us: ask anew for everything.
    Lost,
}

/// A subscription to changes in one network namespace.
pub struct Changes {
    channel: Channel,
    ignored_tables: Vec<u32>,
    pending: VecDeque<Change>,
}

impl Changes {
    /// Subscribes, in the calling thread's network namespace. Changes of routes in the ignored
    /// tables (the daemon's own), of rules that lead there, and in the kernel's table of local
    /// addresses are not told. Needs a tokio runtime, no privilege.
    ///
    /// # Errors
    /// When the kernel gives no such socket or group.
    pub async fn subscribe(ignored_tables: &[u32]) -> Result<Self, Error> {
        let attempt = |source| Failure::Socket(source).during("subscribe to changes of addresses and routes");
        let mut channel = Channel::open(Protocol::Route)?;
        let socket = channel.socket_mut();
        if sockopt::set_socket_recv_buffer_size_force(&*socket, RECEIVE_QUEUE).is_err() {
            // Without CAP_NET_ADMIN the default must do; an overrun is told as `Lost`.
            debug!("the queue of network changes stays at the system's default size");
        }
        // A socket without an address of its own hears nothing, whatever groups it is in.
        socket.bind_auto().map_err(attempt)?;
        for group in GROUPS {
            socket.add_membership(group).map_err(attempt)?;
        }
        let ignored_tables = [ignored_tables, &[TABLE_LOCAL]].concat();
        Ok(Self { channel, ignored_tables, pending: VecDeque::new() })
    }

    /// The next change. Dropping the future midway loses nothing.
    ///
    /// # Errors
    /// When the netlink socket fails for another reason than an overrun.
    pub async fn next(&mut self) -> Result<Change, Error> {
        const ATTEMPT: &str = "hear of changes of addresses and routes";
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Ok(change);
            }
            let datagram = match self.channel.receive().await {
                Ok(datagram) => datagram,
                Err(Failure::Socket(source)) if source.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Change::Lost);
                }
                Err(failure) => return Err(failure.during(ATTEMPT)),
            };
            for frame in frames(datagram) {
                let change = frame.and_then(|frame| read(frame, &self.ignored_tables));
                self.pending.extend(change.map_err(|malformed| Failure::from(malformed).during(ATTEMPT))?);
            }
        }
    }
}

/// The change a message tells of, if it concerns anybody.
fn read(frame: Frame<'_>, ignored_tables: &[u32]) -> Result<Option<Change>, Malformed> {
    let is_of_concern = |table: &u32| !ignored_tables.contains(table);
    Ok(match frame.kind {
        RTM_NEWADDR => AddressEntry::read(frame.payload)?
            .map(|entry| Change::AddressAdded { address: entry.address, interface: entry.interface }),
        RTM_DELADDR => AddressEntry::read(frame.payload)?
            .map(|entry| Change::AddressRemoved { address: entry.address, interface: entry.interface }),
        RTM_NEWLINK => {
            let LinkEntry { index, name, is_up, .. } = LinkEntry::read(frame.payload)?;
            Some(Change::Link { index, name, is_up })
        }
        RTM_DELLINK => {
            let LinkEntry { index, name, .. } = LinkEntry::read(frame.payload)?;
            Some(Change::LinkRemoved { index, name })
        }
        RTM_NEWROUTE | RTM_DELROUTE => RouteEntry::read(frame.payload)?
            .filter(|route| !route.is_cached && is_of_concern(&route.table))
            .map(|route| Change::Route { destination: route.destination, table: route.table }),
        RTM_NEWRULE | RTM_DELRULE => match Rule::read(frame.payload)? {
            Some(rule) if !is_of_concern(&rule.table) => None,
            // Also rules of kinds that we cannot follow: they may redirect packets all the same.
            _ => Some(Change::Rule),
        },
        _ => None, // groups also carry what we did not ask for, e.g. bridge and prefix messages
    })
}
