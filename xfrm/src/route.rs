//! Routes into the tunnels, in a table of their own.
//!
//! The table (220 by default) is reached by a rule of its own, before the main table. A route in
//! it has the remote selector as its destination and, as the preferred source, a local address
//! inside the local selector, so that what this host sends matches the policy.
//!
//! # The routing loop
//!
//! A remote selector may contain the peer's own address: always if it is `0.0.0.0/0`. The packets
//! *of the tunnel*, from the IKE socket or encapsulated in UDP by the userspace data plane, would
//! then be routed into the tunnel again. There are two ways out:
//!
//! * **A mark** ([`RoutingTable::mark`] = `!M`, charon's `plugins.kernel-netlink.fwmark`): the rule
//!   is for packets *without* mark M, and the daemon sets M on its sockets
//!   ([`crate::socket_policy::set_mark`]). Exact, as only the daemon's own packets go around the
//!   tunnel, and it needs no upkeep. But the *answers* carry no mark: with strict reverse path
//!   filtering (`rp_filter` = 1) the kernel finds the way back to the peer in the tunnels' table,
//!   through another interface than the one the packet came in by, and drops it. It wants
//!   `rp_filter` = 2, or the mark restored on input and `src_valid_mark` = 1.
//! * **An exemption** ([`Routes::exempt_peer`]): a route to the peer's address alone that leads
//!   around the tunnel. In a table of its own that is a *throw* route: the lookup goes on with the
//!   next rule as if this table had nothing, so it follows the main table when the default route
//!   moves, and it satisfies reverse path filtering. Where the routes go into the main table there
//!   is nothing to go on with; there it is a host route by the present path, to be made anew when
//!   that changes. The price: whatever else is sent to the peer's outer address goes around the
//!   tunnel as well, in the clear on the userspace plane.
//!
//! The kernel's own ESP needs neither when the routes lead out of the same interface as before: a
//! packet is encrypted by policy, not by its route, and the result follows the same route.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tracing::{debug, warn};

use crate::claims::{Claim, Claims, Purpose, Step};
use crate::error::Error;
use crate::handle::{Handle, Protocol};
use crate::message::flags;
use crate::message::route::{RouteEntry, RouteKind, TABLE_MAIN};
use crate::path::Path;
use crate::prefix::{AddressRange, Prefix};
use crate::rule::{MarkMatch, Rules};

/// Where the routes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingTable {
    /// Number of the table (strongswan.conf's `routing_table`); 0 for the main table.
    pub id: u32,
    /// Priority of the rule that leads there (`routing_table_prio`); 0 for no rule.
    pub priority: u32,
    /// The packets the rule is for (`plugins.kernel-netlink.fwmark`); `None` for all.
    pub mark: Option<MarkMatch>,
}

impl Default for RoutingTable {
    /// Table and priority 220: what strongSwan uses, so that firewalls and routing daemons which
    /// know of it find the routes where they were.
    fn default() -> Self {
        Self { id: 220, priority: 220, mark: None }
    }
}

impl RoutingTable {
    fn number(&self) -> u32 {
        if self.id == 0 { TABLE_MAIN } else { self.id }
    }

    fn is_main(&self) -> bool {
        self.number() == TABLE_MAIN
    }
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// Out of the interface of this index.
    Interface(u32),
    /// To a router.
    Gateway {
        /// The router's address, of the destination's family.
        address: IpAddr,
        /// Index of the interface it is reached by; `None` lets the kernel find it.
        interface: Option<u32>,
    },
    /// Out of this table: the lookup goes on with the next rule.
    Throw,
}

/// A route into a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The remote selector's addresses; a range that is no prefix takes several routes.
    pub destination: AddressRange,
    /// Where it leads.
    pub next_hop: NextHop,
    /// The local address that packets of this host get, inside the local selector.
    pub source: Option<IpAddr>,
    /// MTU in octets; `None` for the interface's.
    pub mtu: Option<u32>,
    /// TCP maximum segment size to announce, in octets; `None` for what follows from the MTU.
    pub mss: Option<u32>,
}

impl Route {
    /// A route with no MTU or segment size of its own.
    #[must_use]
    pub fn new(destination: impl Into<AddressRange>, next_hop: NextHop, source: Option<IpAddr>) -> Self {
        Self { destination: destination.into(), next_hop, source, mtu: None, mss: None }
    }

    fn has_one_family(&self) -> bool {
        let gateway = match self.next_hop {
            NextHop::Gateway { address, .. } => Some(address),
            NextHop::Interface(_) | NextHop::Throw => None,
        };
        let is_ipv4 = self.destination.first().is_ipv4();
        [gateway, self.source].into_iter().flatten().all(|address| address.is_ipv4() == is_ipv4)
    }

    fn claim(&self) -> Claim {
        let Self { next_hop, source, mtu, mss, .. } = *self;
        Claim { next_hop, source, mtu, mss, purpose: Purpose::Tunnel }
    }
}

/// What to do about a route to the same destination that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    Respect,
    Replace,
}

/// The routes of one daemon in one table, and the rule that leads there.
///
/// It touches nothing that it did not install. Call [`Routes::shutdown`] before dropping it:
/// dropping alone leaves rule and routes in place.
pub struct Routes {
    handle: Handle,
    table: RoutingTable,
    rules: Rules,
    claims: BTreeMap<Prefix, Claims>,
    exemptions: BTreeMap<IpAddr, Exemption>,
}

/// The route around the tunnels to one peer.
struct Exemption {
    /// `None`: somebody else's route to the peer was there and serves.
    claim: Option<Claim>,
    holders: usize,
}

impl Routes {
    /// Opens a netlink socket in the calling thread's network namespace and makes sure of the rule,
    /// in both families. A rule that is there already stays when we go. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses, e.g. without CAP_NET_ADMIN.
    pub async fn open(table: RoutingTable) -> Result<Self, Error> {
        let mut routes = Self {
            handle: Handle::open(Protocol::Route)?,
            table,
            rules: Rules::default(),
            claims: BTreeMap::new(),
            exemptions: BTreeMap::new(),
        };
        if !table.is_main() && table.priority != 0 {
            let ensured =
                routes.rules.ensure(&routes.handle, table.number(), table.priority, table.mark).await;
            if let Err(error) = ensured {
                // One family may have its rule by now.
                let _ = routes.rules.remove(&routes.handle).await;
                return Err(error);
            }
        }
        Ok(routes)
    }

    /// Adds a route: all of it or, on an error, nothing.
    ///
    /// The same destination may be added several times, with different next hops too: the newest
    /// is installed, and when it is removed the one before it returns.
    ///
    /// # Errors
    /// [`Error::RouteTaken`] when somebody else's route to the destination is there,
    /// [`Error::MixedFamilies`], or when the kernel refuses (a source that is not local, an
    /// interface that is down).
    pub async fn add(&mut self, route: &Route) -> Result<(), Error> {
        self.add_with(route, Stranger::Respect).await
    }

    /// Adds a route like [`Routes::add`], knowingly in place of a stranger's, e.g. one that an
    /// earlier run left behind. The stranger's does not come back.
    ///
    /// # Errors
    /// As [`Routes::add`], but never [`Error::RouteTaken`].
    pub async fn replace(&mut self, route: &Route) -> Result<(), Error> {
        self.add_with(route, Stranger::Replace).await
    }

    /// Removes a route that was added equal to this. One that was not is left alone, and one that
    /// went by itself, with its interface for instance, is no error.
    ///
    /// # Errors
    /// The first refusal of the kernel, after all of the route's prefixes have been tried; they
    /// count as removed.
    pub async fn remove(&mut self, route: &Route) -> Result<(), Error> {
        let mut outcome = Ok(());
        for destination in self.destinations(route.destination) {
            outcome = outcome.and(self.withdraw(destination, route.claim()).await);
        }
        outcome
    }

    /// Keeps packets to a peer's outer address out of the tunnels (see the module's text), with a
    /// throw route or, in the main table, by `path`. Needed before a route whose destination
    /// contains the address. Several may exempt the same peer.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn exempt_peer(&mut self, peer: IpAddr, path: &Path) -> Result<(), Error> {
        if let Some(exemption) = self.exemptions.get_mut(&peer) {
            exemption.holders += 1;
            return Ok(());
        }
        let next_hop = match path.gateway {
            _ if !self.table.is_main() => NextHop::Throw,
            Some(address) => NextHop::Gateway { address, interface: Some(path.interface) },
            None => NextHop::Interface(path.interface),
        };
        let claim = Claim { next_hop, source: None, mtu: None, mss: None, purpose: Purpose::Exemption };
        let claim = match self.claim(Prefix::host(peer), claim, Stranger::Respect).await {
            Ok(()) => Some(claim),
            Err(Error::RouteTaken { table, .. }) => {
                debug!("table {table} has a route to peer {peer} alone already, which serves");
                None
            }
            Err(error) => return Err(error),
        };
        self.exemptions.insert(peer, Exemption { claim, holders: 1 });
        Ok(())
    }

    /// Takes an exemption back. A peer that was not exempted is no error.
    ///
    /// # Errors
    /// When the kernel refuses; the exemption then counts as taken back.
    pub async fn release_peer(&mut self, peer: IpAddr) -> Result<(), Error> {
        let Some(exemption) = self.exemptions.get_mut(&peer) else {
            return Ok(());
        };
        if exemption.holders > 1 {
            exemption.holders -= 1;
            return Ok(());
        }
        match self.exemptions.remove(&peer).and_then(|exemption| exemption.claim) {
            Some(claim) => self.withdraw(Prefix::host(peer), claim).await,
            None => Ok(()),
        }
    }

    /// Removes all routes that were added here, then the rule if it was.
    ///
    /// # Errors
    /// The first refusal of the kernel, after all have been tried.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for (destination, claims) in std::mem::take(&mut self.claims) {
            if let Some(claim) = claims.effective() {
                outcome =
                    outcome.and(self.carry_out(destination, Step::Remove(claim), Stranger::Respect).await);
            }
        }
        outcome.and(self.rules.remove(&self.handle).await)
    }

    /// What is installed now, by destination.
    pub fn installed(&self) -> impl Iterator<Item = (Prefix, NextHop)> {
        self.claims
            .iter()
            .filter_map(|(destination, claims)| Some((*destination, claims.effective()?.next_hop)))
    }

    async fn add_with(&mut self, route: &Route, stranger: Stranger) -> Result<(), Error> {
        if !route.has_one_family() {
            let attempt = format!("route {} into a tunnel", route.destination);
            return Err(Error::MixedFamilies { attempt });
        }
        let destinations = self.destinations(route.destination);
        for (done, destination) in destinations.iter().enumerate() {
            if let Err(error) = self.claim(*destination, route.claim(), stranger).await {
                for destination in destinations.iter().take(done) {
                    if let Err(error) = self.withdraw(*destination, route.claim()).await {
                        warn!("after a route could only be added in part: {error}");
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// The destinations of the routes that cover a range.
    fn destinations(&self, range: AddressRange) -> Vec<Prefix> {
        let prefixes = range.prefixes();
        match prefixes.as_slice() {
            // The main table has a default route of its own, which the halves go before and leave
            // in place.
            [all] if self.table.is_main() && all.length() == 0 => {
                all.halves().map_or(prefixes, |(low, high)| vec![low, high])
            }
            _ => prefixes,
        }
    }

    /// Adds one claim, or on an error nothing.
    async fn claim(&mut self, destination: Prefix, claim: Claim, stranger: Stranger) -> Result<(), Error> {
        // Recorded first: if the caller goes away while the kernel is asked, the route is known.
        let step = self.claims.entry(destination).or_default().add(claim);
        let outcome = self.carry_out(destination, step, stranger).await;
        if outcome.is_err() {
            self.forget(destination, claim);
        }
        outcome
    }

    /// Takes back one claim, if there is one.
    async fn withdraw(&mut self, destination: Prefix, claim: Claim) -> Result<(), Error> {
        match self.forget(destination, claim) {
            Some(step) => self.carry_out(destination, step, Stranger::Respect).await,
            None => Ok(()),
        }
    }

    fn forget(&mut self, destination: Prefix, claim: Claim) -> Option<Step> {
        let claims = self.claims.get_mut(&destination)?;
        let step = claims.remove(claim);
        if claims.effective().is_none() {
            self.claims.remove(&destination);
        }
        step
    }

    async fn carry_out(&self, destination: Prefix, step: Step, stranger: Stranger) -> Result<(), Error> {
        let table = self.table.number();
        let add = |claim: Claim, how: u16| self.entry(destination, claim).install(flags::CREATE | how);
        let (verb, request) = match (step, stranger) {
            (Step::Nothing, _) => return Ok(()),
            (Step::Install(claim), Stranger::Respect) => ("add", add(claim, flags::EXCLUSIVE)),
            (Step::Install(claim), Stranger::Replace) => ("add", add(claim, flags::REPLACE)),
            (Step::Replace(claim), _) => ("replace", add(claim, flags::REPLACE)),
            (Step::Remove(claim), _) => ("remove", self.entry(destination, claim).remove()),
        };
        let Err(failure) = self.handle.request(request).await else {
            debug!("{verb} route {destination} in table {table}");
            return Ok(());
        };
        match (step, failure.errno()) {
            (Step::Install(_), Some(libc::EEXIST)) => Err(Error::RouteTaken { destination, table }),
            // It went before us: with its interface or address, or by somebody's hand.
            (Step::Remove(_), Some(libc::ESRCH | libc::ENODEV)) => Ok(()),
            _ => Err(failure.during(format!("{verb} route {destination} in table {table}"))),
        }
    }

    fn entry(&self, destination: Prefix, claim: Claim) -> RouteEntry {
        let (kind, interface, gateway) = match claim.next_hop {
            NextHop::Interface(index) => (RouteKind::UNICAST, Some(index), None),
            NextHop::Gateway { address, interface } => (RouteKind::UNICAST, interface, Some(address)),
            NextHop::Throw => (RouteKind::THROW, None, None),
        };
        RouteEntry {
            destination,
            table: self.table.number(),
            kind,
            interface,
            gateway,
            source: claim.source,
            metric: 0,
            mtu: claim.mtu,
            mss: claim.mss,
            is_alive: true,
            is_cached: false,
        }
    }
}
