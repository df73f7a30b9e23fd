//! A client somewhere behind a NAT, and a gateway that gives it an address.

use anyhow::{Result, ensure};

use super::Roles;
use super::topology::Road;
use crate::lab::{Lab, Plane, only_ipsec, round_trip};
use crate::peer::{Connection, Lease, Pool, Section, SwanctlConf, child};

pub(super) const SECRET: &str = "correct horse battery staple";
const DNS: &str = "10.1.0.53";
const FIRST_ADDRESS: &str = "10.9.0.1";

/// The gateway's configuration: anybody with the key gets an address from the pool and may reach the LAN.
pub(crate) fn gateway() -> SwanctlConf {
    gateway_with("version", "2")
}

/// The same, with one more setting of the connection.
pub(super) fn gateway_with(key: &str, value: &str) -> SwanctlConf {
    let connection = Connection::psk("gw.test", "%any")
        .between(Road::GATEWAY, "%any")
        .set("pools", "road")
        .set(key, value)
        .child("net", child(Road::LAN, "dynamic"));
    let pool = Section::new().set("addrs", "10.9.0.0/24").set("dns", DNS);
    SwanctlConf::new().connection("road", connection).secret("road", SECRET, &[]).pool("road", pool)
}

/// A client's configuration.
pub(crate) fn client(id: &str) -> SwanctlConf {
    client_told_by(id, "")
}

/// The same, with a script that is told of its child.
pub(super) fn client_told_by(id: &str, updown: &str) -> SwanctlConf {
    let net = child("dynamic", Road::LAN);
    let net = if updown.is_empty() { net } else { net.set("updown", updown) };
    let connection = Connection::psk(id, "gw.test")
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .child("net", net);
    SwanctlConf::new().connection("home", connection).secret("home", SECRET, &[])
}

/// The project's main purpose, from the first message to the second visit.
pub(super) fn behind_nat(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    lab.record(&road.nat, "wan")?;
    let gateway = lab.peer(&road.gateway, roles.responder, &gateway())?;
    let client = lab.peer(road.client()?, roles.initiator, &client("alice"))?;

    client.initiate("net")?;
    let (near, far) = (client.sa()?, gateway.sa()?);
    ensure!(near.spis == far.spis && near.suite == far.suite, "the ends disagree: {near:?} {far:?}");
    ensure!(near.is_initiator && !far.is_initiator, "the roles are wrong: {near:?} {far:?}");
    ensure!(near.local.virtual_ips == [FIRST_ADDRESS], "the client has the addresses {near:?}");
    ensure!(far.remote.virtual_ips == [FIRST_ADDRESS], "the gateway says it gave {far:?}");
    ensure!((far.local.port, near.remote.port) == (4500, 4500), "no move to port 4500: {far:?}");
    ensure!(far.remote.host == Road::OUTSIDE, "the client does not appear under the NAT's address: {far:?}");
    ensure!(![500, 4500].contains(&far.remote.port), "the NAT did not choose another port: {far:?}");
    ensure!(far.remote.id == "alice" && near.remote.id == "gw.test", "identities: {near:?} {far:?}");
    let ([inner], [outer]) = (near.children.as_slice(), far.children.as_slice()) else {
        anyhow::bail!("not one child at each end: {near:?} {far:?}");
    };
    for child in [inner, outer] {
        ensure!(child.state == "INSTALLED" && child.mode == "TUNNEL-in-UDP", "{child:?}");
    }
    ensure!(
        inner.inbound.spi == outer.outbound.spi && inner.outbound.spi == outer.inbound.spi,
        "SPIs do not cross"
    );
    ensure!(outer.local_ts == [Road::LAN] && outer.remote_ts == ["10.9.0.1/32"], "{outer:?}");
    ensure!(inner.local_ts == outer.remote_ts && inner.remote_ts == outer.local_ts, "{inner:?} {outer:?}");

    road.client()?.ping(FIRST_ADDRESS, Road::SERVER, 3)?;
    road.server.ping(Road::SERVER, FIRST_ADDRESS, 3)?;
    // In a guest no more can be recorded without a gap.
    let octets: u64 = if lab.plane() == Plane::Kernel { 300_000 } else { 2_000_000 };
    round_trip(road.client()?, &road.server, Road::SERVER.parse()?, usize::try_from(octets)?)?;
    for sa in [client.sa()?, gateway.sa()?] {
        let used = |bytes: u64, packets: u64| bytes > octets && packets > octets / 2000;
        let counted = sa.children.iter().all(|child| {
            used(child.inbound.bytes, child.inbound.packets)
                && used(child.outbound.bytes, child.outbound.packets)
        });
        ensure!(counted, "the traffic is not in the counters: {sa:?}");
    }
    if roles.initiator.is_charon() {
        let resolv_conf = std::fs::read_to_string(road.client()?.directory().join("resolv.conf"))?;
        ensure!(resolv_conf.contains(&format!("nameserver {DNS}")), "no DNS server arrived: {resolv_conf:?}");
    }
    lease_is(&gateway.pools()?, true)?;

    client.terminate("home")?;
    ensure!(client.sas()?.is_empty(), "the client still lists {:?}", client.sas()?);
    ensure!(gateway.sas()?.is_empty(), "the gateway still lists {:?}", gateway.sas()?);
    lease_is(&gateway.pools()?, false)?;

    client.initiate("net")?;
    let again = client.sa()?;
    ensure!(again.local.virtual_ips == [FIRST_ADDRESS], "another address the second time: {again:?}");
    road.client()?.ping(FIRST_ADDRESS, Road::SERVER, 2)?;

    let seen = only_ipsec(&lab.recorded(&road.nat, "wan")?, Road::ends()?, b"")?;
    ensure!(seen.ike >= 10 && seen.esp_bytes > 2 * octets, "the wire shows only {seen}");
    Ok(())
}

/// One client, two virtual addresses.
pub(super) fn with_both_families(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let networks = format!("{},{}", Road::LAN, Road::LAN6);
    let offering = Connection::psk("gw.test", "%any")
        .between(Road::GATEWAY, "%any")
        .set("pools", "four,six")
        .child("net", child(&networks, "dynamic"));
    let four = Section::new().set("addrs", "10.9.0.0/24").set("dns", DNS);
    let six = Section::new().set("addrs", "fd09::100/120").set("dns", "fd01::53");
    let gateway = SwanctlConf::new().connection("road", offering).secret("road", SECRET, &[]);
    let asking = Connection::psk("alice", "gw.test")
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0,::")
        .child("net", child("dynamic", &networks));
    let client = SwanctlConf::new().connection("home", asking).secret("home", SECRET, &[]);
    let gateway = lab.peer(&road.gateway, roles.responder, &gateway.pool("four", four).pool("six", six))?;
    let client = lab.peer(road.client()?, roles.initiator, &client)?;

    client.initiate("net")?;
    let (near, far) = (client.sa()?, gateway.sa()?);
    ensure!(near.local.virtual_ips == [FIRST_ADDRESS, "fd09::101"], "the client has the addresses {near:?}");
    ensure!(far.remote.virtual_ips == near.local.virtual_ips, "the ends disagree: {near:?} {far:?}");
    for (own, server) in [(FIRST_ADDRESS, Road::SERVER), ("fd09::101", Road::SERVER6)] {
        road.client()?.ping(own, server, 2)?;
        road.server.ping(server, own, 2)?;
        round_trip(road.client()?, &road.server, server.parse()?, 200_000)?;
    }
    let online: u32 = gateway.pools()?.iter().map(|pool| pool.online).sum();
    ensure!(online == 2, "the leases are {:?}", gateway.pools()?);
    Ok(())
}

fn lease_is(pools: &[Pool], is_online: bool) -> Result<()> {
    let lease = Lease { address: FIRST_ADDRESS.to_owned(), is_online, identity: "alice".to_owned() };
    let counted = (u32::from(is_online), u32::from(!is_online));
    let fits = matches!(pools, [pool] if pool.leases == [lease] && (pool.online, pool.offline) == counted);
    ensure!(fits, "alice's lease should be {}: {pools:?}", if is_online { "online" } else { "offline" });
    Ok(())
}
