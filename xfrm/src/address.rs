//! Local addresses: which one reaches a peer, which lie inside a selector, and the virtual IPs a
//! peer assigned to us.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::error::{Error, Failure};
use crate::handle::{Handle, Protocol, Reply};
use crate::message::interface::{
    AddressEntry, RTM_NEWADDR, add_host_address, dump_addresses, remove_host_address,
};
use crate::message::route::{
    RTM_NEWROUTE, RTM_NEWRULE, RouteEntry, RouteKind, Rule, dump_routes, dump_rules, lookup,
};
use crate::message::{AF_UNSPEC, family};
use crate::path::{Path, choose_route, choose_source};
use crate::prefix::AddressRange;
use crate::route::RoutingTable;

/// How the daemon's own packets find their way beneath the tunnels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// Routing tables that do not lead to peers: the tunnels' own, and those of other VPNs.
    pub ignored_tables: Vec<u32>,
    /// The mark (SO_MARK) on the daemon's sockets; 0 for none.
    pub mark: u32,
}

impl Default for Underlay {
    /// Ignores the default table of tunnel routes, without a mark.
    fn default() -> Self {
        Self { ignored_tables: vec![RoutingTable::default().id], mark: 0 }
    }
}

/// An address of this host and the interface it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalAddress {
    /// The address.
    pub address: IpAddr,
    /// Index of its interface.
    pub interface: u32,
}

/// Looks up local addresses and paths, and keeps the virtual IPs.
pub struct Addresses {
    handle: Handle,
    underlay: Underlay,
    virtual_ips: BTreeMap<IpAddr, VirtualIp>,
}

struct VirtualIp {
    interface: u32,
    /// How many have added it and not removed it.
    holders: usize,
    /// Whether the address was not there before.
    is_ours: bool,
}

impl Addresses {
    /// Opens a netlink socket in the calling thread's network namespace. Needs a tokio runtime;
    /// no privilege unless virtual IPs are added.
    ///
    /// # Errors
    /// When the kernel gives no such socket.
    pub async fn open(underlay: Underlay) -> Result<Self, Error> {
        let handle = Handle::open(Protocol::Route)?;
        Ok(Self { handle, underlay, virtual_ips: BTreeMap::new() })
    }

    /// Adds an address a peer assigned to us, as a /32 or /128, to an interface.
    ///
    /// The same address may be added several times and goes with its last removal. One that was
    /// there before is used and left in place. IPv6 addresses skip duplicate detection and are
    /// deprecated, so that only the tunnels' routes make them a source. A route may name one as
    /// its source at once; the kernel begins to deliver to it a moment later.
    ///
    /// # Errors
    /// When the kernel refuses, e.g. without CAP_NET_ADMIN or such an interface.
    pub async fn add_virtual_ip(&mut self, address: IpAddr, interface: u32) -> Result<(), Error> {
        if let Some(virtual_ip) = self.virtual_ips.get_mut(&address) {
            virtual_ip.holders += 1;
            return Ok(());
        }
        let is_ours = match self.handle.request(add_host_address(address, interface)).await {
            Ok(_) => true,
            Err(failure) if failure.errno() == Some(libc::EEXIST) => false,
            Err(failure) => {
                return Err(failure.during(format!("add virtual IP {address} to interface {interface}")));
            }
        };
        self.virtual_ips.insert(address, VirtualIp { interface, holders: 1, is_ours });
        Ok(())
    }

    /// Removes a virtual IP added before; one that was never added is left alone, and one that
    /// somebody else removed meanwhile is no error.
    ///
    /// # Errors
    /// When the kernel refuses; the address then counts as removed.
    pub async fn remove_virtual_ip(&mut self, address: IpAddr) -> Result<(), Error> {
        let Some(virtual_ip) = self.virtual_ips.get_mut(&address) else {
            return Ok(());
        };
        if virtual_ip.holders > 1 {
            virtual_ip.holders -= 1;
            return Ok(());
        }
        match self.virtual_ips.remove(&address) {
            Some(VirtualIp { is_ours: true, interface, .. }) => self.take_away(address, interface).await,
            _ => Ok(()),
        }
    }

    /// Removes all virtual IPs that were added here.
    ///
    /// # Errors
    /// The first refusal of the kernel, after all have been tried.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for (address, virtual_ip) in std::mem::take(&mut self.virtual_ips) {
            if virtual_ip.is_ours {
                outcome = outcome.and(self.take_away(address, virtual_ip.interface).await);
            }
        }
        outcome
    }

    /// How packets reach `destination` beneath the tunnels, from `source` if given.
    ///
    /// The kernel is asked first. If its answer comes from an ignored table, or would leave from a
    /// virtual IP, the decision is made from a dump of all rules and routes instead, which takes
    /// its time on a router with a full table; a mark that keeps the daemon's packets out of the
    /// tunnels' table spares that.
    ///
    /// # Errors
    /// [`Error::NoRoute`], [`Error::NoSource`], or when the kernel refuses (a `source` that is
    /// not local).
    pub async fn path_to(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<Path, Error> {
        let attempt = || format!("find the way to {destination}");
        if source.is_some_and(|source| source.is_ipv4() != destination.is_ipv4()) {
            return Err(Error::MixedFamilies { attempt: attempt() });
        }
        let found =
            self.find_route(destination, source).await.map_err(|failure| failure.during(attempt()))?;
        if let Some(route) = found
            && !self.underlay.ignored_tables.contains(&route.table)
            && let Some(interface) = route.interface
            && let Some(source) = source.or(route.source)
            && !self.virtual_ips.contains_key(&source)
        {
            return Ok(Path { source, interface, gateway: route.gateway });
        }
        self.path_by_tables(destination, source).await
    }

    /// Whether there is a route to `destination` by an interface beneath the tunnels, even if packets that are not
    /// bound to it take another.
    ///
    /// # Errors
    /// When the netlink socket fails.
    pub async fn leads_by(&self, interface: u32, destination: IpAddr) -> Result<bool, Error> {
        let attempt = || format!("find out whether interface {interface} leads to {destination}");
        let (rules, mut routes) =
            self.tables(family(destination)).await.map_err(|failure| failure.during(attempt()))?;
        routes.retain(|route| route.interface == Some(interface));
        let Underlay { ignored_tables, mark } = &self.underlay;
        Ok(choose_route(destination, &rules, &routes, *mark, ignored_tables).is_some())
    }

    /// All addresses of this host that others may send to: neither loopback nor link-local ones, and no virtual IPs.
    ///
    /// # Errors
    /// When the netlink socket fails.
    pub async fn reachable_addresses(&self) -> Result<Vec<LocalAddress>, Error> {
        let addresses = self.addresses(AF_UNSPEC).await?;
        let is_reachable = |entry: &&AddressEntry| {
            entry.is_usable()
                && !entry.is_loopback()
                && !entry.is_link_local()
                && !self.virtual_ips.contains_key(&entry.address)
        };
        Ok(addresses.iter().filter(is_reachable).map(local).collect())
    }

    /// Whether packets to this address are delivered to this host.
    ///
    /// # Errors
    /// When the netlink socket fails.
    pub async fn is_local(&self, address: IpAddr) -> Result<bool, Error> {
        let found = self
            .find_route(address, None)
            .await
            .map_err(|failure| failure.during(format!("find out whether {address} is local")))?;
        Ok(found.is_some_and(|route| route.kind == RouteKind::LOCAL))
    }

    /// A local address inside the range, to send from into a tunnel with that local selector:
    /// `preferred` if it is one, else one of global scope. Loopback addresses are never given.
    ///
    /// # Errors
    /// When the netlink socket fails.
    pub async fn local_inside(
        &self,
        range: AddressRange,
        preferred: Option<IpAddr>,
    ) -> Result<Option<LocalAddress>, Error> {
        let addresses = self.addresses(family(range.first())).await?;
        Ok(choose_inside(range, preferred, &addresses))
    }

    /// All addresses of this host that can be used, loopback ones included.
    ///
    /// # Errors
    /// When the netlink socket fails.
    pub async fn local_addresses(&self) -> Result<Vec<LocalAddress>, Error> {
        let addresses = self.addresses(AF_UNSPEC).await?;
        Ok(addresses.iter().filter(|entry| entry.is_usable()).map(local).collect())
    }

    async fn take_away(&self, address: IpAddr, interface: u32) -> Result<(), Error> {
        match self.handle.request(remove_host_address(address, interface)).await {
            Ok(_) => Ok(()),
            // Somebody else removed it, or the interface is gone with all its addresses.
            Err(failure) if matches!(failure.errno(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(()),
            Err(failure) => {
                Err(failure.during(format!("remove virtual IP {address} from interface {interface}")))
            }
        }
    }

    /// The kernel's answer, where it has one.
    async fn find_route(
        &self,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Option<RouteEntry>, Failure> {
        let mark = Some(self.underlay.mark).filter(|&mark| mark != 0);
        let replies = match self.handle.request(lookup(destination, source, mark)).await {
            Ok(replies) => replies,
            // How the kernel tells of no route, and of unreachable, prohibiting and blackhole ones.
            Err(failure) => match failure.errno() {
                Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES) => return Ok(None),
                Some(libc::EINVAL) if source.is_none() => return Ok(None),
                _ => return Err(failure),
            },
        };
        for reply in of_kind(&replies, RTM_NEWROUTE) {
            if let Some(route) = RouteEntry::read(&reply.payload)? {
                return Ok(Some(route));
            }
        }
        Ok(None)
    }

    async fn path_by_tables(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<Path, Error> {
        let attempt = || format!("find the way to {destination}");
        let (rules, routes) =
            self.tables(family(destination)).await.map_err(|failure| failure.during(attempt()))?;
        let Underlay { ignored_tables, mark } = &self.underlay;
        let route = choose_route(destination, &rules, &routes, *mark, ignored_tables)
            .ok_or(Error::NoRoute(destination))?;
        let interface = route.interface.ok_or(Error::NoRoute(destination))?;
        let is_virtual = |address: IpAddr| self.virtual_ips.contains_key(&address);
        let source = match source.or(route.source.filter(|&source| !is_virtual(source))) {
            Some(source) => source,
            None => {
                let addresses = self.addresses(family(destination)).await?;
                choose_source(destination, route, &addresses, is_virtual)
                    .ok_or(Error::NoSource(destination))?
            }
        };
        Ok(Path { source, interface, gateway: route.gateway })
    }

    async fn tables(&self, family: u8) -> Result<(Vec<Rule>, Vec<RouteEntry>), Failure> {
        let mut rules = Vec::new();
        for reply in of_kind(&self.handle.dump(|| dump_rules(family)).await?, RTM_NEWRULE) {
            rules.extend(Rule::read(&reply.payload)?);
        }
        let mut routes = Vec::new();
        for reply in of_kind(&self.handle.dump(|| dump_routes(family)).await?, RTM_NEWROUTE) {
            routes.extend(RouteEntry::read(&reply.payload)?.filter(|route| !route.is_cached));
        }
        Ok((rules, routes))
    }

    async fn addresses(&self, family: u8) -> Result<Vec<AddressEntry>, Error> {
        let attempt = "list the local addresses";
        let replies =
            self.handle.dump(|| dump_addresses(family)).await.map_err(|failure| failure.during(attempt))?;
        let mut addresses = Vec::new();
        for reply in of_kind(&replies, RTM_NEWADDR) {
            let entry = AddressEntry::read(&reply.payload)
                .map_err(|malformed| Failure::from(malformed).during(attempt))?;
            addresses.extend(entry);
        }
        Ok(addresses)
    }
}

fn of_kind(replies: &[Reply], kind: u16) -> impl Iterator<Item = &Reply> {
    replies.iter().filter(move |reply| reply.kind == kind)
}

fn local(entry: &AddressEntry) -> LocalAddress {
    LocalAddress { address: entry.address, interface: entry.interface }
}

fn choose_inside(
    range: AddressRange,
    preferred: Option<IpAddr>,
    addresses: &[AddressEntry],
) -> Option<LocalAddress> {
    addresses
        .iter()
        .rev() // so that of equals the first configured wins
        .filter(|entry| range.contains(entry.address) && entry.is_usable() && !entry.is_loopback())
        .max_by_key(|entry| {
            (Some(entry.address) == preferred, !entry.is_link_local(), !entry.is_deprecated())
        })
        .map(local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::Prefix;

    fn inside(prefix: &str, preferred: Option<&str>) -> Option<String> {
        let addresses = [
            AddressEntry::for_test("127.0.0.1/8", 1, 254, 0),
            AddressEntry::for_test("169.254.3.3/16", 2, 253, 0),
            AddressEntry::for_test("192.0.2.7/24", 2, 0, 0),
            AddressEntry::for_test("10.3.0.1/24", 3, 0, 0),
            AddressEntry::for_test("10.3.0.2/32", 3, 0, 0),
            AddressEntry::for_test("2001:db8::5/128", 2, 0, 0x20),
        ];
        let range = prefix.parse::<Prefix>().unwrap().into();
        let preferred = preferred.map(|address| address.parse().unwrap());
        choose_inside(range, preferred, &addresses).map(|local| local.address.to_string())
    }

    #[test]
    fn the_source_hint_lies_inside_the_selector() {
        assert_eq!(inside("10.3.0.0/16", None).as_deref(), Some("10.3.0.1"));
        assert_eq!(inside("10.3.0.0/16", Some("10.3.0.2")).as_deref(), Some("10.3.0.2"));
        assert_eq!(inside("10.3.0.0/16", Some("192.0.2.7")).as_deref(), Some("10.3.0.1"));
        assert_eq!(inside("0.0.0.0/0", None).as_deref(), Some("192.0.2.7"));
        assert_eq!(inside("::/0", None).as_deref(), Some("2001:db8::5"), "deprecated beats none");
        assert_eq!(inside("127.0.0.0/8", None), None);
        assert_eq!(inside("172.16.0.0/12", None), None);
    }
}
