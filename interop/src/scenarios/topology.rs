//! The two networks nearly every scenario plays in.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::{Host, Lab, Plane, masquerade, translate};

/// Clients somewhere in the world, a gateway, and a network behind it.
///
/// ```text
/// client .10 ─┐                                     10.1.0.0/24, fd01::/64
///             ├─ NAT ───────────────── gateway ───────── server
/// client .11 ─┘   192.0.2.2   192.0.2.1       .1           .10
///   192.168.7.0/24
/// ```
pub(crate) struct Road {
    pub(crate) server: Rc<Host>,
    pub(crate) gateway: Rc<Host>,
    pub(crate) nat: Rc<Host>,
    pub(crate) clients: Vec<Rc<Host>>,
}

impl Road {
    /// The gateway's address on the wire.
    pub(crate) const GATEWAY: &str = "192.0.2.1";
    /// The address every client appears under.
    pub(crate) const OUTSIDE: &str = "192.0.2.2";
    /// The network behind the gateway.
    pub(crate) const LAN: &str = "10.1.0.0/24";
    /// The server in it.
    pub(crate) const SERVER: &str = "10.1.0.10";
    /// Both again, for IPv6.
    pub(crate) const LAN6: &str = "fd01::/64";
    pub(crate) const SERVER6: &str = "fd01::10";

    pub(crate) fn build(lab: &Lab, clients: usize) -> Result<Self> {
        let (server, gateway, nat) = (lab.host("server")?, lab.host("gateway")?, lab.host("nat")?);
        for router in [&gateway, &nat] {
            router.forward()?;
        }
        lab.cable((&server, "lan"), (&gateway, "lan"))?;
        server.address("lan", "10.1.0.10/24")?;
        server.address("lan", "fd01::10/64")?;
        server.route("default", "10.1.0.1")?;
        server.route("default", "fd01::1")?;
        gateway.address("lan", "10.1.0.1/24")?;
        gateway.address("lan", "fd01::1/64")?;

        lab.cable((&gateway, "wan"), (&nat, "wan"))?;
        gateway.address("wan", "192.0.2.1/24")?;
        // A gateway has a default route; without one there is nowhere to send a tunnel's routes either.
        gateway.route("default", Self::OUTSIDE)?;
        nat.address("wan", "192.0.2.2/24")?;
        if lab.plane() == Plane::Userspace {
            masquerade(&nat, "wan")?;
        }

        let clients: Vec<Rc<Host>> =
            (1..=clients).map(|number| lab.host(&format!("client{number}"))).collect::<Result<_>>()?;
        let plugs: Vec<(&Host, &str)> = clients.iter().map(|client| (&**client, "eth")).collect();
        lab.switch(&nat, "home", &plugs)?;
        nat.address("home", "192.168.7.1/24")?;
        for (client, number) in clients.iter().zip(10..) {
            client.address("eth", &format!("192.168.7.{number}/24"))?;
            client.route("default", "192.168.7.1")?;
        }
        let road = Self { server, gateway, nat, clients };
        if lab.plane() == Plane::Kernel {
            // The guest's kernel has no masquerading.
            road.translate(10_000)?;
        }
        Ok(road)
    }

    /// Has the NAT use ports from `first` on, and forget others.
    pub(crate) fn translate(&self, first: u16) -> Result<()> {
        let clients: Vec<String> =
            (10..).zip(&self.clients).map(|(number, _)| format!("192.168.7.{number}")).collect();
        translate(&self.nat, "wan", Self::OUTSIDE, &clients, first)
    }

    /// The first client.
    pub(crate) fn client(&self) -> Result<&Rc<Host>> {
        self.clients.first().context("there is at least one client")
    }

    /// The ends of the wire between the gateway and the NAT.
    pub(crate) fn ends() -> Result<[IpAddr; 2]> {
        Ok([Self::GATEWAY.parse()?, Self::OUTSIDE.parse()?])
    }
}

/// A client with two uplinks, one of which leads to the gateway at a time.
///
/// ```text
///                                                  198.51.100.0/24
/// server ──────── gateway ──────── internet ─────────── eth0 ┐
/// 10.1.0.10    .1     192.0.2.1    .2     .1 ─────────────── ┴ client
///                                            203.0.113.0/24  eth1
/// ```
pub(crate) struct Roam {
    pub(crate) server: Rc<Host>,
    pub(crate) gateway: Rc<Host>,
    pub(crate) client: Rc<Host>,
}

impl Roam {
    /// The client's first address.
    pub(crate) const HOME: &str = "198.51.100.10";
    /// Another one by the same uplink, which it does not have yet.
    pub(crate) const HOME_TOO: &str = "198.51.100.77";
    /// Its address by the other uplink.
    pub(crate) const CAFE: &str = "203.0.113.10";

    /// A packet takes `delay` between the gateway and the internet.
    pub(crate) fn build(lab: &Lab, delay: Duration) -> Result<Self> {
        let (server, gateway) = (lab.host("server")?, lab.host("gateway")?);
        let (internet, client) = (lab.host("internet")?, lab.host("client")?);
        for router in [&gateway, &internet] {
            router.forward()?;
        }
        lab.cable((&server, "lan"), (&gateway, "lan"))?;
        server.address("lan", "10.1.0.10/24")?;
        server.route("default", "10.1.0.1")?;
        gateway.address("lan", "10.1.0.1/24")?;
        lab.line((&gateway, "wan"), (&internet, "wan"), delay)?;
        gateway.address("wan", "192.0.2.1/24")?;
        internet.address("wan", "192.0.2.2/24")?;
        gateway.route("default", "192.0.2.2")?;
        lab.cable((&internet, "home"), (&client, "eth0"))?;
        lab.cable((&internet, "cafe"), (&client, "eth1"))?;
        internet.address("home", "198.51.100.1/24")?;
        internet.address("cafe", "203.0.113.1/24")?;
        client.address("eth0", "198.51.100.10/24")?;
        client.address("eth1", "203.0.113.10/24")?;
        client.route("default", "198.51.100.1")?;
        // The second address of an interface outlives the first.
        client.sysctl("net/ipv4/conf/all/promote_secondaries", 1)?;
        Ok(Self { server, gateway, client })
    }
}

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The one of a pair that belongs to this family.
    pub(crate) fn of<T>(self, pair: [T; 2]) -> T {
        let [v4, v6] = pair;
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }
}

/// Two gateways with a network behind each.
///
/// ```text
/// 10.2.0.0/24, fd02::/64                                       10.3.0.0/24, fd03::/64
///   left host ──────── left ─────────────────────── right ───────── right host
///      .10          .1     192.0.2.1         192.0.2.2     .1           .10
///                          2001:db8::1     2001:db8::2
/// ```
pub(crate) struct Sites {
    pub(crate) left: Site,
    pub(crate) right: Site,
}

/// One side of [`Sites`].
pub(crate) struct Site {
    pub(crate) gateway: Rc<Host>,
    pub(crate) host: Rc<Host>,
    /// The gateway's identity.
    pub(crate) id: &'static str,
    /// The gateway's outer addresses, IPv4 and IPv6.
    pub(crate) outer: [&'static str; 2],
    /// The network behind it.
    pub(crate) networks: [&'static str; 2],
    /// The host in that network.
    pub(crate) hosts: [&'static str; 2],
}

impl Sites {
    /// The two gateways are next to each other.
    pub(crate) fn build(lab: &Lab) -> Result<Self> {
        Self::build_with(lab, |left, right| lab.cable((left, "wan"), (right, "wan")))
    }

    /// Everything takes `delay` from one gateway to the other.
    pub(crate) fn build_apart(lab: &Lab, delay: Duration) -> Result<Self> {
        Self::build_with(lab, |left, right| lab.line((left, "wan"), (right, "wan"), delay))
    }

    /// With something else than a cable between the interfaces `wan` of the gateways.
    pub(crate) fn build_with(lab: &Lab, connect: impl FnOnce(&Host, &Host) -> Result<()>) -> Result<Self> {
        let left = Site {
            gateway: lab.host("left")?,
            host: lab.host("left-host")?,
            id: "left.test",
            outer: ["192.0.2.1", "2001:db8::1"],
            networks: ["10.2.0.0/24", "fd02::/64"],
            hosts: ["10.2.0.10", "fd02::10"],
        };
        let right = Site {
            gateway: lab.host("right")?,
            host: lab.host("right-host")?,
            id: "right.test",
            outer: ["192.0.2.2", "2001:db8::2"],
            networks: ["10.3.0.0/24", "fd03::/64"],
            hosts: ["10.3.0.10", "fd03::10"],
        };
        connect(&left.gateway, &right.gateway)?;
        for (site, inner) in [(&left, ["10.2.0.1", "fd02::1"]), (&right, ["10.3.0.1", "fd03::1"])] {
            site.gateway.forward()?;
            lab.cable((&site.gateway, "lan"), (&site.host, "lan"))?;
            for family in [Family::V4, Family::V6] {
                let (router, bits) = (family.of(inner), family.of([24, 64]));
                site.gateway.address("wan", &format!("{}/{bits}", family.of(site.outer)))?;
                site.gateway.address("lan", &format!("{router}/{bits}"))?;
                site.host.address("lan", &format!("{}/{bits}", family.of(site.hosts)))?;
                site.host.route("default", router)?;
            }
        }
        Ok(Self { left, right })
    }
}
