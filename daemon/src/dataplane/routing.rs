//! Routes into tunnels (table 220), virtual IPs on interfaces, and the way to peers beneath them.

use std::net::IpAddr;

use ferry_ike::config::{Labels, Lease, Mode};
use ferry_ike::output::{ChildInstall, Outcome, Path};
use ferry_ike::selector::{Ports, TrafficSelector};
use ferry_xfrm::{
    AddressRange, Addresses, Links, LocalAddress, NextHop, Route, Routes, RoutingTable, Underlay,
};
use thiserror::Error;
use tracing::{debug, warn};

use super::{Policy, PolicyKind};
use crate::settings;

/// Why routes and addresses cannot be kept: one sentence.
#[derive(Debug, Error)]
pub(crate) enum RoutingError {
    /// The rule or the netlink socket is refused.
    #[error("routes into tunnels cannot be installed in table {table}: {source}")]
    Routes { table: u32, source: ferry_xfrm::Error },
    /// Addresses cannot be read.
    #[error("the addresses of this host cannot be read: {0}")]
    Addresses(#[source] ferry_xfrm::Error),
}

/// Everything about routes and addresses that one daemon keeps.
pub(super) struct Routing {
    /// `None` with `install_routes = no`: not even the rule is there.
    routes: Option<Routes>,
    addresses: Addresses,
    install_virtual_ip: bool,
    virtual_ip_interface: Option<String>,
    prefer_best_path: bool,
}

/// What was installed for one child or one policy.
#[derive(Default)]
pub(super) struct Ways {
    routes: Vec<Route>,
    /// Where the sources of the routes come from: the local selectors and virtual IPs of the child.
    locals: Vec<AddressRange>,
    virtual_ips: Vec<IpAddr>,
    /// Outer addresses of peers that a route would have caught.
    exempted: Vec<IpAddr>,
    /// The routes lead to the peer, wherever that is.
    is_beneath: bool,
}

impl Ways {
    /// A peer is led to around them already.
    pub(super) fn leads_around(&self, peer: IpAddr) -> bool {
        self.exempted.contains(&peer)
    }
}

/// Traffic that is led somewhere.
pub(super) struct Traffic<'a> {
    /// Whose it is, for sentences.
    name: &'a str,
    local_ts: &'a [TrafficSelector],
    remote_ts: &'a [TrafficSelector],
    virtual_ips: &'a [IpAddr],
    /// The outer addresses, if there is a tunnel.
    path: Option<Path>,
    lead: Lead,
}

/// Where traffic is led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    /// To the data plane's own interface.
    Interface(u32),
    /// As the tunnel's packets go, to whose peer: policies catch it on the way. What counts of such a route is its source,
    /// which they ask for.
    Beneath,
    /// Out of the table.
    Throw,
    /// Nowhere: it goes where it would without us.
    Nowhere,
}

impl<'a> Traffic<'a> {
    /// With the interface of the data plane, if it has one.
    pub(super) fn of_child(install: &'a ChildInstall, interface: Option<u32>) -> Self {
        // As with charon, who leaves policies to others leaves routes to them.
        let is_ours = interface.is_some() || !install.child.policies.are_left_out;
        let lead = Lead::into_tunnel(install.mode, interface, install.child.labels);
        Self {
            name: &install.child.name,
            local_ts: &install.local_ts,
            remote_ts: &install.remote_ts,
            virtual_ips: &install.virtual_ips,
            path: Some(install.path),
            lead: if is_ours { lead } else { Lead::Nowhere },
        }
    }

    /// With the interface of the data plane, if it has one.
    pub(super) fn of_policy(policy: &'a Policy, interface: Option<u32>) -> Self {
        let Policy { name, local_ts, remote_ts, .. } = policy;
        let (path, lead) = match policy.kind {
            PolicyKind::Trap { path, mode, .. } => {
                (Some(path), Lead::into_tunnel(mode, interface, policy.labels))
            }
            PolicyKind::Drop => (None, interface.map_or(Lead::Nowhere, Lead::Interface)),
            // As charon does: what passes is not looked up among the routes into tunnels.
            PolicyKind::Pass => (None, Lead::Throw),
        };
        Self { name, local_ts, remote_ts, virtual_ips: &[], path, lead }
    }
}

impl Lead {
    fn into_tunnel(mode: Mode, interface: Option<u32>, labels: Labels) -> Self {
        match (interface, mode) {
            // The operator's own routes lead to it.
            (None, _) if labels.interface_out.is_some() => Self::Nowhere,
            (Some(interface), _) => Self::Interface(interface),
            (None, Mode::Tunnel | Mode::Beet) => Self::Beneath,
            // These packets have the addresses that they have.
            (None, Mode::Transport) => Self::Nowhere,
        }
    }
}

impl Routing {
    pub(super) async fn open(settings: &settings::Routing) -> Result<Self, RoutingError> {
        let table = RoutingTable { id: settings.table, priority: settings.priority, mark: None };
        let routes = if settings.install_routes {
            let explain = |source| RoutingError::Routes { table: settings.table, source };
            Some(Routes::open(table).await.map_err(explain)?)
        } else {
            None
        };
        let ignored_tables = [&[settings.table], settings.ignored_tables.as_slice()].concat();
        let underlay = Underlay { ignored_tables, ..Underlay::default() };
        let addresses = Addresses::open(underlay).await.map_err(RoutingError::Addresses)?;
        Ok(Self {
            routes,
            addresses,
            install_virtual_ip: settings.install_virtual_ip,
            virtual_ip_interface: settings.virtual_ip_interface.clone(),
            prefer_best_path: settings.prefer_best_path,
        })
    }

    /// The name of the interface that has an address.
    pub(super) async fn interface_of(&self, address: IpAddr) -> Result<Option<String>, ferry_xfrm::Error> {
        let addresses = self.addresses.local_addresses().await?;
        let Some(local) = addresses.into_iter().find(|local| local.address == address) else {
            return Ok(None);
        };
        Ok(Some(Links::open().await?.by_index(local.interface).await?.name))
    }

    /// The addresses of this host that peers may be told of. What is on the tunnels' own interface is not among them.
    pub(super) async fn local_addresses(&self, tunnel: Option<u32>) -> Result<Vec<IpAddr>, String> {
        let addresses = self.reachable(tunnel).await.map_err(|error| error.to_string())?;
        Ok(addresses.into_iter().map(|local| local.address).collect())
    }

    async fn reachable(&self, tunnel: Option<u32>) -> Result<Vec<LocalAddress>, ferry_xfrm::Error> {
        let mut addresses = self.addresses.reachable_addresses().await?;
        addresses.retain(|local| Some(local.interface) != tunnel);
        Ok(addresses)
    }

    /// Between which addresses packets can go to a peer, as far as routes tell.
    pub(super) async fn find_paths(
        &self,
        current: Path,
        remotes: &[IpAddr],
        tunnel: Option<u32>,
    ) -> Result<Outcome, String> {
        let locals = self.reachable(tunnel).await.map_err(|error| error.to_string())?;
        let is_current_usable = self.is_usable(current, &locals).await;
        let mut pairs = Vec::new();
        for remote in remotes {
            if let Some(source) = self.best_source(*remote, &locals).await {
                pairs.push((source, *remote));
            }
            // Addresses that have routes of their own, by rules that look at the source.
            for local in locals.iter().filter(|local| local.address.is_ipv4() == remote.is_ipv4()) {
                let pair = (local.address, *remote);
                let path = self.addresses.path_to(*remote, Some(local.address)).await;
                if !pairs.contains(&pair) && path.is_ok_and(|path| path.interface == local.interface) {
                    pairs.push(pair);
                }
            }
        }
        Ok(Outcome::Paths { is_current_usable, pairs })
    }

    /// The source that the system would choose.
    async fn best_source(&self, remote: IpAddr, locals: &[LocalAddress]) -> Option<IpAddr> {
        let source = self.addresses.path_to(remote, None).await.ok()?.source;
        locals.iter().any(|local| local.address == source).then_some(source)
    }

    /// charon's notion: an SA stays on its path as long as there is a route by the interface that has its address.
    async fn is_usable(&self, path: Path, locals: &[LocalAddress]) -> bool {
        let (source, remote) = (path.local.ip(), path.remote.ip());
        if self.best_source(remote, locals).await == Some(source) {
            return true;
        }
        let has_it = locals.iter().filter(|local| local.address == source && !self.prefer_best_path);
        for local in has_it {
            if self.addresses.leads_by(local.interface, remote).await.unwrap_or(false) {
                return true;
            }
        }
        false
    }

    /// Our address on the way to a peer.
    pub(super) async fn source_towards(&self, peer: IpAddr) -> Result<IpAddr, String> {
        self.addresses.path_to(peer, None).await.map(|path| path.source).map_err(|error| error.to_string())
    }

    /// Leads traffic where it is to go.
    pub(super) async fn add(&mut self, traffic: Traffic<'_>) -> Result<Ways, String> {
        let mut ways = Ways {
            routes: Vec::new(),
            locals: traffic.local_ts.iter().filter_map(range).collect(),
            virtual_ips: traffic.virtual_ips.to_vec(),
            exempted: Vec::new(),
            is_beneath: false,
        };
        let result = self.add_all(&mut ways, &traffic).await;
        match result {
            Ok(()) => Ok(ways),
            Err(error) => {
                self.remove(ways).await;
                Err(format!("the routes of {} cannot be installed: {error}", traffic.name))
            }
        }
    }

    async fn add_all(&mut self, ways: &mut Ways, traffic: &Traffic<'_>) -> Result<(), ferry_xfrm::Error> {
        if self.routes.is_none() || traffic.lead == Lead::Nowhere {
            return Ok(());
        }
        let peer = traffic.path.map(|path| path.remote.ip());
        if matches!(traffic.lead, Lead::Interface(_))
            && let Some(peer) =
                peer.filter(|peer| traffic.remote_ts.iter().any(|selector| selector.includes_address(*peer)))
        {
            self.exempt(ways, peer).await?;
        }
        ways.is_beneath = traffic.lead == Lead::Beneath;
        if ways.is_beneath && traffic.local_ts.iter().chain(traffic.remote_ts).any(is_of_a_protocol) {
            // As with charon: what is not protected as well would get another source by it.
            return Ok(());
        }
        for destination in traffic.remote_ts.iter().filter_map(range) {
            let route = match (traffic.lead, traffic.path) {
                (Lead::Beneath, Some(path)) => match self.beneath(ways, path, destination).await? {
                    Some(route) => route,
                    None => continue,
                },
                (Lead::Interface(interface), Some(path)) => {
                    let source = self.source_for(ways, path.local.ip(), destination).await;
                    Route::new(destination, NextHop::Interface(interface), source)
                }
                (Lead::Interface(interface), None) => {
                    Route::new(destination, NextHop::Interface(interface), None)
                }
                _ => Route::new(destination, NextHop::Throw, None),
            };
            if let Some(routes) = &mut self.routes {
                // What stands there in our own table is from a daemon that died.
                routes.replace(&route).await?;
                ways.routes.push(route);
            }
        }
        Ok(())
    }

    /// The route for traffic that policies catch on its way to the peer. None where it would say nothing new: as with
    /// charon, where no address of ours is a source that the policies ask for, and to the peer itself.
    async fn beneath(
        &self,
        ways: &Ways,
        path: Path,
        destination: AddressRange,
    ) -> Result<Option<Route>, ferry_xfrm::Error> {
        let (local, peer) = (path.local.ip(), path.remote.ip());
        if destination.first() == peer && destination.last() == peer {
            return Ok(None);
        }
        let Some(source) = self.source_for(ways, local, destination).await else { return Ok(None) };
        let way = self.addresses.path_to(peer, Some(local)).await?;
        let is_v4 = destination.first().is_ipv4();
        let next_hop = match way.gateway.filter(|gateway| gateway.is_ipv4() == is_v4) {
            Some(address) => NextHop::Gateway { address, interface: Some(way.interface) },
            // Another family's router is none to the inner packets, which never ask for one.
            None => NextHop::Interface(way.interface),
        };
        Ok(Some(Route::new(destination, next_hop, Some(source))))
    }

    /// Leads to a peer around what was installed, as long as that stays.
    pub(super) async fn exempt(&mut self, ways: &mut Ways, peer: IpAddr) -> Result<(), ferry_xfrm::Error> {
        let path = self.addresses.path_to(peer, None).await?;
        if let Some(routes) = &mut self.routes {
            routes.exempt_peer(peer, &path).await?;
            ways.exempted.push(peer);
        }
        Ok(())
    }

    /// An address of ours inside the local selectors, so that what this host sends matches the policy.
    async fn source_for(&self, ways: &Ways, outer: IpAddr, destination: AddressRange) -> Option<IpAddr> {
        let is_v4 = destination.first().is_ipv4();
        if let Some(vip) = ways.virtual_ips.iter().find(|vip| vip.is_ipv4() == is_v4) {
            return Some(*vip);
        }
        for selector in ways.locals.iter().filter(|selector| selector.first().is_ipv4() == is_v4) {
            match self.addresses.local_inside(*selector, Some(outer)).await {
                Ok(Some(local)) => return Some(local.address),
                Ok(None) => {}
                Err(error) => debug!(target: "knl", "no source address for {destination}: {error}"),
            }
        }
        None
    }

    /// The peer, or we, have another outer address now.
    pub(super) async fn follow(&mut self, ways: &mut Ways, path: Path) -> Result<(), String> {
        let peer = path.remote.ip();
        if let [before] = *ways.exempted.as_slice()
            && before != peer
        {
            self.exempt(ways, peer).await.map_err(|error| error.to_string())?;
            ways.exempted.retain(|exempted| *exempted == peer);
            if let Some(routes) = &mut self.routes
                && let Err(error) = routes.release_peer(before).await
            {
                debug!(target: "knl", "{error}");
            }
        }
        // A route that has an address as its source goes with the address.
        for position in 0..ways.routes.len() {
            let Some(before) = ways.routes.get(position).copied() else { break };
            let route = if ways.is_beneath {
                let route = self.beneath(ways, path, before.destination).await;
                // Without a source there is nothing better than what was there.
                route.map_err(|error| error.to_string())?.unwrap_or(before)
            } else {
                Route { source: self.source_for(ways, path.local.ip(), before.destination).await, ..before }
            };
            if route == before {
                continue;
            }
            let Some(routes) = &mut self.routes else { break };
            routes.replace(&route).await.map_err(|error| error.to_string())?;
            if let Some(place) = ways.routes.get_mut(position) {
                *place = route;
            }
            if let Err(error) = routes.remove(&before).await {
                debug!(target: "knl", "{error}");
            }
        }
        Ok(())
    }

    /// Takes back what was installed for a child.
    pub(super) async fn remove(&mut self, ways: Ways) {
        let Some(routes) = &mut self.routes else { return };
        for route in ways.routes.iter().rev() {
            if let Err(error) = routes.remove(route).await {
                debug!(target: "knl", "{error}");
            }
        }
        for peer in ways.exempted {
            if let Err(error) = routes.release_peer(peer).await {
                debug!(target: "knl", "{error}");
            }
        }
    }

    /// Puts the addresses a gateway gave us on an interface: the configured one, or the one to the peer.
    pub(super) async fn add_virtual_ips(
        &mut self,
        lease: &Lease,
        path: Path,
        tunnel: Option<u32>,
    ) -> Result<(), String> {
        if !self.install_virtual_ip {
            return Ok(());
        }
        let interface = self.interface_for_vips(path, tunnel).await.map_err(|error| error.to_string())?;
        for vip in &lease.addresses {
            self.addresses.add_virtual_ip(*vip, interface).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn interface_for_vips(&self, path: Path, tunnel: Option<u32>) -> Result<u32, ferry_xfrm::Error> {
        if let Some(name) = &self.virtual_ip_interface {
            return Ok(Links::open().await?.by_name(name).await?.index);
        }
        match tunnel {
            Some(index) => Ok(index),
            None => Ok(self.addresses.path_to(path.remote.ip(), Some(path.local.ip())).await?.interface),
        }
    }

    /// Takes the addresses away again.
    pub(super) async fn remove_virtual_ips(&mut self, lease: &Lease) {
        if !self.install_virtual_ip {
            return;
        }
        for vip in &lease.addresses {
            if let Err(error) = self.addresses.remove_virtual_ip(*vip).await {
                debug!(target: "knl", "{error}");
            }
        }
    }

    /// Takes back everything.
    pub(super) async fn shutdown(self) {
        if let Some(routes) = self.routes
            && let Err(error) = routes.shutdown().await
        {
            warn!(target: "knl", "routes are left behind: {error}");
        }
        if let Err(error) = self.addresses.shutdown().await {
            warn!(target: "knl", "virtual IPs are left behind: {error}");
        }
    }
}

fn is_of_a_protocol(selector: &TrafficSelector) -> bool {
    selector.protocol != 0 || selector.ports() != Ports::ANY
}

fn range(selector: &TrafficSelector) -> Option<AddressRange> {
    AddressRange::new(selector.start_addr, selector.end_addr).ok()
}
