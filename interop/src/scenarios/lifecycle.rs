//! SAs that come, are made anew, and go of their own accord.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::topology::{Road, Sites};
use super::{Roles, roadwarrior, site};
use crate::lab::{Deadline, Echoes, Host, Lab, Mark, until};
use crate::peer::{Connection, Daemon, IkeSa, Peer, Section, Settings, SwanctlConf, child};

const NET: &str = "net";
const VIP: &str = "10.9.0.1";

fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A client that reauthenticates every few seconds.
fn restless_client() -> SwanctlConf {
    let connection = Connection::psk("alice", "gw.test")
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .set("reauth_time", "3s")
        .set("rand_time", "0s")
        .set("over_time", "30s")
        .child(NET, child("dynamic", Road::LAN));
    SwanctlConf::new().connection("home", connection).secret("home", roadwarrior::SECRET, &[])
}

/// The one IKE SA of a daemon, once it has settled on one that is not `before`.
fn another_than(peer: &Peer, before: &IkeSa) -> Result<IkeSa> {
    let what = format!("{} to have one IKE SA, and another than before", peer.host().role());
    until(patience(), &what, || {
        let mut sas = peer.sas()?;
        let Some(sa) = sas.pop().filter(|_| sas.is_empty()) else { return Ok(None) };
        let is_up = sa.state == "ESTABLISHED" && sa.children.iter().any(|child| child.state == "INSTALLED");
        Ok((sa.spis != before.spis && is_up).then_some(sa))
    })
}

/// The new IKE SA stands before the old one goes: an echo every 10 ms, for as long as it takes to do that several
/// times. strongSwan as the gateway sends with a new CHILD_SA before the client can know of it; the few echoes that
/// this costs are not ours to save, nor are those that its kernel drops as the client, because it takes an SA away that
/// a packet is about to leave with.
pub(super) fn make_before_break(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let settings = Settings::new().set("charon.make_before_break", "yes");
    let gateway =
        lab.peer(&road.gateway, roles.responder, &roadwarrior::gateway_with("unique", "replace"))?;
    let client = lab.peer_with(road.client()?, roles.initiator, &restless_client(), &settings)?;
    client.initiate(NET)?;
    let before = client.sa()?;
    ensure!(before.local.virtual_ips == [VIP], "{before:?}");

    let echoes = Echoes { count: 1000, every: Duration::from_millis(10), ..Echoes::default() };
    let result = road.client()?.ping_with(VIP, Road::SERVER, &echoes);
    let bearable = if roles.responder == Daemon::Ferryd { left_with_no_sa(road.client()?)? } else { 12 };
    if let Err(error) = result {
        let lost = lost(&format!("{error:#}"))?;
        ensure!(lost <= bearable, "{lost} echoes of 1000 were lost, not {bearable} at most: {error:#}");
    }
    let after = another_than(&client, &before)?;
    ensure!(after.local.virtual_ips == [VIP], "another address: {after:?}");
    let pools = gateway.pools()?;
    ensure!(pools.iter().all(|pool| pool.leases.len() == 1), "the leases are {pools:?}");
    road.server.ping(Road::SERVER, VIP, 2)?;
    Ok(())
}

/// How many packets a host's kernel dropped because their outbound SA went at that moment.
fn left_with_no_sa(host: &Host) -> Result<usize> {
    let counters = host.output(&["cat", "/proc/net/xfrm_stat"])?;
    let count =
        |line: &str| line.strip_prefix("XfrmOutStateInvalid").and_then(|rest| rest.trim().parse().ok());
    // A kernel without ESP does not count.
    Ok(counters.stdout.lines().find_map(count).unwrap_or(0))
}

/// How many echoes a complaint of a ping names, if it is about lost ones alone.
fn lost(complaint: &str) -> Result<usize> {
    ensure!(complaint.contains("these came twice: []"), "some came twice: {complaint}");
    let list = complaint.split_once("did not come: [").and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.with_context(|| format!("not about lost echoes: {complaint}"))?;
    Ok(list.split(',').filter(|number| !number.trim().is_empty()).count())
}

/// The old IKE SA goes, and the new one has its children and its address again.
pub(super) fn break_before_make(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let settings = Settings::new().set("charon.make_before_break", "no");
    let gateway = lab.peer(&road.gateway, roles.responder, &roadwarrior::gateway())?;
    let client = lab.peer_with(road.client()?, roles.initiator, &roadwarrior::client("alice"), &settings)?;
    client.initiate(NET)?;
    let before = client.sa()?;
    let mut downs = gateway.watch("ike-updown")?;
    client.swanctl(&["--rekey", "--ike", "home", "--reauth"])?.success()?;
    downs.wait_for_down("road", patience())?;
    let after = another_than(&client, &before)?;
    ensure!(after.local.virtual_ips == [VIP], "another address: {after:?}");
    road.client()?.ping(VIP, Road::SERVER, 2)?;
    road.server.ping(Road::SERVER, VIP, 2)?;
    ensure!(gateway.sa()?.spis == after.spis, "the ends disagree: {after:?} {:?}", gateway.sa()?);
    Ok(())
}

/// The gateway wants its client to authenticate again, and says so (RFC 4478).
pub(super) fn auth_lifetime(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let offering = Connection::psk("gw.test", "%any")
        .between(Road::GATEWAY, "%any")
        .set("pools", "road")
        .set("reauth_time", "6s")
        .set("rand_time", "0s")
        .set("over_time", "30s")
        .child(NET, child(Road::LAN, "dynamic"));
    let pool = Section::new().set("addrs", "10.9.0.0/24");
    let demanding = SwanctlConf::new()
        .connection("road", offering)
        .secret("road", roadwarrior::SECRET, &[])
        .pool("road", pool);
    let asking = Connection::psk("alice", "gw.test")
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .set("over_time", "1s")
        .child(NET, child("dynamic", Road::LAN));
    let obedient = SwanctlConf::new().connection("home", asking).secret("home", roadwarrior::SECRET, &[]);
    let settings = Settings::new().set("charon.make_before_break", "yes");
    let gateway = lab.peer(&road.gateway, roles.responder, &demanding)?;
    let client = lab.peer_with(road.client()?, roles.initiator, &obedient, &settings)?;
    client.initiate(NET)?;
    let before = client.sa()?;
    client
        .log()
        .expect(Mark::BEGINNING, &["received AUTH_LIFETIME of ", "scheduling reauthentication in"])?;
    let after = another_than(&client, &before)?;
    ensure!(after.local.virtual_ips == [VIP], "another address: {after:?}");
    until(patience(), "the gateway to have the new one alone", || {
        Ok(gateway.sas()?.iter().all(|sa| sa.spis != before.spis).then_some(()))
    })?;
    Ok(())
}

/// A child that carries nothing goes, and one that is used stays.
pub(super) fn inactivity(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [_, far] = site::connections(&sites);
    let idle = child(sites.left.networks[0], sites.right.networks[0]).set("inactivity", "3s");
    let restless = Connection::psk(sites.left.id, sites.right.id)
        .between(sites.left.outer[0], sites.right.outer[0])
        .child(NET, idle);
    let left = lab.peer(&sites.left.gateway, roles.initiator, &site::conf(restless))?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &site::conf(far))?;
    left.initiate(NET)?;
    let echoes = Echoes { count: 10, every: Duration::from_millis(500), ..Echoes::default() };
    sites.left.host.ping_with(sites.left.hosts[0], sites.right.hosts[0], &echoes)?;
    ensure!(left.sa()?.children.len() == 1, "it was used all the time: {:?}", left.sa()?);
    left.log().wait_for(Mark::BEGINNING, &["seconds of", "inactivity"], patience())?;
    for peer in [&left, &right] {
        until(patience(), "the child to be gone, and the IKE SA to stay", || {
            Ok(peer.sa()?.children.is_empty().then_some(()))
        })?;
    }
    Ok(())
}

/// The IKE SA is made without a child, which follows with a key exchange of its own (RFC 6023).
pub(super) fn childless(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway = lab.peer(&road.gateway, roles.responder, &roadwarrior::gateway())?;
    let asking = Connection::psk("alice", "gw.test")
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .set("childless", "force")
        .child(NET, child("dynamic", Road::LAN));
    let conf = SwanctlConf::new().connection("home", asking).secret("home", roadwarrior::SECRET, &[]);
    let client = lab.peer(road.client()?, roles.initiator, &conf)?;
    client.swanctl(&["--initiate", "--ike", "home", "--timeout", "20"])?.success()?;
    let alone = client.sa()?;
    ensure!(alone.children.is_empty() && alone.local.virtual_ips == [VIP], "{alone:?}");
    client.initiate(NET)?;
    site::agree(&client, &gateway)?;
    road.client()?.ping(VIP, Road::SERVER, 2)?;
    client.terminate("home")?;
    client.initiate(NET)?;
    site::agree(&client, &gateway)?;
    road.client()?.ping(VIP, Road::SERVER, 2)?;
    Ok(())
}

/// A gateway sends its client to another one: here to another address of its own (RFC 5685).
pub(super) fn redirect(lab: &Lab, roles: Roles) -> Result<()> {
    const OTHER: &str = "192.0.2.3";
    let road = Road::build(lab, 1)?;
    road.gateway.address("wan", &format!("{OTHER}/24"))?;
    let offering = Connection::psk("gw.test", "%any")
        .between(&format!("{},{OTHER}", Road::GATEWAY), "%any")
        .set("pools", "road")
        .child(NET, child(Road::LAN, "dynamic"));
    let pool = Section::new().set("addrs", "10.9.0.0/24");
    let conf = SwanctlConf::new()
        .connection("road", offering)
        .secret("road", roadwarrior::SECRET, &[])
        .pool("road", pool);
    let gateway = lab.peer(&road.gateway, roles.responder, &conf)?;
    let client = lab.peer(road.client()?, roles.initiator, &roadwarrior::client("alice"))?;
    client.initiate(NET)?;
    let before = client.sa()?;
    ensure!(before.remote.host == Road::GATEWAY, "{before:?}");
    gateway.swanctl(&["--redirect", "--peer-id", "alice", "--gateway", OTHER])?.success()?;
    let after = another_than(&client, &before)?;
    ensure!(after.remote.host == OTHER, "the client is still with {after:?}");
    until(patience(), "the gateway to have the new one alone", || {
        Ok(gateway.sas()?.iter().all(|sa| sa.spis != before.spis).then_some(()))
    })?;
    let [vip] = after.local.virtual_ips.as_slice() else { bail!("not one address: {after:?}") };
    road.client()?.ping(vip, Road::SERVER, 2)?;
    Ok(())
}

/// What is to be up comes up again: after the peer has closed it, and after the peer was gone without a word.
pub(super) fn restart(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let impatient = Settings::new()
        .set("charon.retransmit_timeout", 1)
        .set("charon.retransmit_base", 1)
        .set("charon.retransmit_tries", 1);
    let gateway = lab.peer(&road.gateway, roles.responder, &roadwarrior::gateway())?;
    let stubborn = child("dynamic", Road::LAN)
        .set("start_action", "start")
        .set("close_action", "start")
        .set("dpd_action", "restart");
    let connection = Connection::psk("alice", "gw.test")
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .set("dpd_delay", "1s")
        .set("keyingtries", 0)
        .child(NET, stubborn);
    let conf = SwanctlConf::new().connection("home", connection).secret("home", roadwarrior::SECRET, &[]);
    let client = lab.peer_with(road.client()?, roles.initiator, &conf, &impatient)?;
    let up = |peer: &Peer| {
        until(patience(), "a tunnel of its own accord", || {
            let sas = peer.sas()?;
            let is_up = |sa: &&IkeSa| sa.state == "ESTABLISHED" && !sa.children.is_empty();
            Ok(sas.iter().find(is_up).cloned())
        })
    };
    let started = up(&client)?;

    until(patience(), "the gateway to know it", || Ok((!gateway.sas()?.is_empty()).then_some(())))?;
    gateway.terminate("road")?;
    let again = another_than(&client, &started)?;

    gateway.kill()?;
    gateway.start()?;
    gateway.load(&roadwarrior::gateway())?;
    another_than(&client, &again)?;
    road.client()?.ping(VIP, Road::SERVER, 2)?;
    Ok(())
}
