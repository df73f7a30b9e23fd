//! Two networks joined by two gateways.

use anyhow::{Result, bail, ensure};

use super::Roles;
use super::topology::{Family, Site, Sites};
use crate::lab::{Echoes, Lab, only_ipsec, round_trip};
use crate::peer::{Connection, Daemon, Peer, SwanctlConf, child};

pub(super) const SECRET: &str = "two gateways share this";

/// One network on each side.
pub(super) fn to_site(lab: &Lab, roles: Roles) -> Result<()> {
    joins(lab, roles, Family::V4, &[Family::V4])
}

/// The daemon under test at both ends.
pub(super) fn with_itself(lab: &Lab, ours: Daemon) -> Result<()> {
    joins(lab, Roles { initiator: ours, responder: ours }, Family::V4, &[Family::V4, Family::V6])
}

/// The gateways' devices take less than what the tunnel's packets become, so that those go out in fragments, and none
/// can be cut from a larger one on the way out.
pub(super) fn on_small_devices(lab: &Lab, ours: Daemon) -> Result<()> {
    let sites = Sites::build(lab)?;
    for site in [&sites.left, &sites.right] {
        site.gateway.succeed(&["ip", "link", "set", "wan", "mtu", "1300"])?;
    }
    let inner = [Family::V4, Family::V6];
    let [near, far] = [(&sites.left, &sites.right), (&sites.right, &sites.left)]
        .map(|(near, far)| conf(connection(near, far, Family::V4, &inner)));
    let left = lab.peer(&sites.left.gateway, ours, &near)?;
    let right = lab.peer(&sites.right.gateway, ours, &far)?;
    left.initiate("net")?;
    agree(&left, &right)?;
    for family in inner {
        let target = family.of(sites.right.hosts).parse()?;
        round_trip(&sites.left.host, &sites.right.host, target, 500_000)?;
    }
    Ok(())
}

/// IPv6 between the gateways, both families inside.
pub(super) fn ipv6_outside(lab: &Lab, roles: Roles) -> Result<()> {
    joins(lab, roles, Family::V6, &[Family::V4, Family::V6])
}

/// IPv6 inside IPv4.
pub(super) fn ipv6_inside(lab: &Lab, roles: Roles) -> Result<()> {
    joins(lab, roles, Family::V4, &[Family::V6])
}

/// The initiator asks for more than the responder gives.
pub(super) fn narrows(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let greedy = Connection::psk(sites.left.id, sites.right.id)
        .between(sites.left.outer[0], sites.right.outer[0])
        .child("net", child("10.0.0.0/8", "10.0.0.0/8"));
    let modest = connection(&sites.right, &sites.left, Family::V4, &[Family::V4]);
    let left = lab.peer(&sites.left.gateway, roles.initiator, &conf(greedy))?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &conf(modest))?;
    left.initiate("net")?;
    agree(&left, &right)?;
    let sa = left.sa()?;
    let [child] = sa.children.as_slice() else { bail!("not one child: {sa:?}") };
    let narrowed = child.local_ts == [sites.left.networks[0]] && child.remote_ts == [sites.right.networks[0]];
    ensure!(narrowed, "agreed on {child:?}");
    sites.left.host.ping(sites.left.hosts[0], sites.right.hosts[0], 2)?;
    Ok(())
}

/// One gateway's connection to the other.
pub(super) fn connection(near: &Site, far: &Site, outer: Family, inner: &[Family]) -> Connection {
    let list =
        |site: &Site| inner.iter().map(|family| family.of(site.networks)).collect::<Vec<_>>().join(",");
    Connection::psk(near.id, far.id)
        .between(outer.of(near.outer), outer.of(far.outer))
        .child("net", child(&list(near), &list(far)))
}

/// A configuration with one connection, called `site`.
pub(super) fn conf(connection: Connection) -> SwanctlConf {
    let ids = ["left.test", "right.test"];
    SwanctlConf::new().connection("site", connection).secret("site", SECRET, &ids)
}

/// Both gateways' connections, IPv4 throughout: the left one's and the right one's.
pub(super) fn connections(sites: &Sites) -> [Connection; 2] {
    [(&sites.left, &sites.right), (&sites.right, &sites.left)]
        .map(|(near, far)| connection(near, far, Family::V4, &[Family::V4]))
}

/// Wants one SA with one installed child at each end, seen alike from both.
pub(super) fn agree(initiator: &Peer, responder: &Peer) -> Result<()> {
    let (near, far) = (initiator.sa()?, responder.sa()?);
    ensure!(near.spis == far.spis && near.suite == far.suite, "the ends disagree: {near:?} {far:?}");
    ensure!(near.is_initiator && !far.is_initiator, "the roles are wrong: {near:?} {far:?}");
    ensure!(near.state == "ESTABLISHED" && far.state == "ESTABLISHED", "{near:?} {far:?}");
    let ([a], [b]) = (near.children.as_slice(), far.children.as_slice()) else {
        bail!("not one child at each end: {near:?} {far:?}");
    };
    ensure!(a.state == "INSTALLED" && b.state == "INSTALLED" && a.suite == b.suite, "{a:?} {b:?}");
    ensure!(
        a.inbound.spi == b.outbound.spi && a.outbound.spi == b.inbound.spi,
        "SPIs do not cross: {a:?} {b:?}"
    );
    ensure!(a.local_ts == b.remote_ts && a.remote_ts == b.local_ts, "selectors do not mirror: {a:?} {b:?}");
    Ok(())
}

fn joins(lab: &Lab, roles: Roles, outer: Family, inner: &[Family]) -> Result<()> {
    let sites = Sites::build(lab)?;
    lab.record_at_end(&sites.left.gateway, "wan")?;
    let [near, far] = [(&sites.left, &sites.right), (&sites.right, &sites.left)]
        .map(|(near, far)| conf(connection(near, far, outer, inner)));
    let left = lab.peer(&sites.left.gateway, roles.initiator, &near)?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &far)?;

    left.initiate("net")?;
    agree(&left, &right)?;
    for family in inner {
        let hosts = [&sites.left, &sites.right].map(|site| family.of(site.hosts));
        sites.left.host.ping(hosts[0], hosts[1], 3)?;
        sites.right.host.ping(hosts[1], hosts[0], 3)?;
        if *family == Family::V4 {
            // More than a packet holds, so that it crosses in pieces; in IPv6 no gateway cuts packets.
            sites.left.host.ping_with(
                hosts[0],
                hosts[1],
                &Echoes { count: 2, bytes: 4000, ..Echoes::default() },
            )?;
        }
        round_trip(&sites.left.host, &sites.right.host, hosts[1].parse()?, 500_000)?;
    }

    // The responder may end it as well, and begin it again.
    right.terminate("site")?;
    ensure!(left.sas()?.is_empty() && right.sas()?.is_empty(), "an SA outlived its deletion");
    right.initiate("net")?;
    agree(&right, &left)?;
    for family in inner {
        sites.left.host.ping(family.of(sites.left.hosts), family.of(sites.right.hosts), 2)?;
    }

    let ends = [outer.of(sites.left.outer).parse()?, outer.of(sites.right.outer).parse()?];
    let seen = only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, ends, b"")?;
    ensure!(seen.esp_bytes > 1_000_000, "the wire shows only {seen}");
    Ok(())
}
