//! Clients that share a NAT, disappear without a word, and come back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::topology::Road;
use super::{Roles, roadwarrior};
use crate::lab::{Deadline, Lab, Mark, Plane, round_trip, until};
use crate::peer::{Daemon, Peer, Settings};

const NET: &str = "net";

const PATIENCE: Duration = Duration::from_secs(20);

/// Two clients behind one NAT have an address and a tunnel each.
pub(super) fn two_behind_one_nat(lab: &Lab, ours: Daemon) -> Result<()> {
    let road = Road::build(lab, 2)?;
    let [first, second] = road.clients.as_slice() else { anyhow::bail!("not two clients") };
    let gateway = lab.peer(&road.gateway, ours, &roadwarrior::gateway())?;
    let alice = lab.peer(first, Daemon::Charon, &roadwarrior::client("alice"))?;
    let bob = lab.peer(second, Daemon::Charon, &roadwarrior::client("bob"))?;
    alice.initiate(NET)?;
    bob.initiate(NET)?;

    let [for_alice, for_bob] = [address(&alice)?, address(&bob)?];
    ensure!(for_alice != for_bob, "both were given {for_alice}");
    let sas = gateway.sas()?;
    let [a, b] = sas.as_slice() else { anyhow::bail!("not two SAs: {sas:?}") };
    ensure!(a.remote.host == b.remote.host && a.remote.port != b.remote.port, "not one NAT: {sas:?}");

    for (host, address) in [(first, &for_alice), (second, &for_bob)] {
        host.ping(address, Road::SERVER, 3)?;
        road.server.ping(Road::SERVER, address, 3)?;
        round_trip(host, &road.server, Road::SERVER.parse()?, 200_000)?;
    }
    // One leaving does not disturb the other.
    alice.terminate("home")?;
    ensure!(gateway.sa()?.remote.id == "bob", "the wrong client was let go: {:?}", gateway.sa()?);
    second.ping(&for_bob, Road::SERVER, 2)?;
    Ok(())
}

/// A client that was killed comes back: INITIAL_CONTACT makes the gateway forget the SA of its former life.
pub(super) fn killed_client(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway = lab.peer(&road.gateway, roles.responder, &roadwarrior::gateway())?;
    let client = lab.peer(road.client()?, roles.initiator, &roadwarrior::client("alice"))?;
    client.initiate(NET)?;
    let (before, given) = (gateway.sa()?, address(&client)?);
    road.client()?.ping(&given, Road::SERVER, 2)?;

    client.kill()?;
    ensure!(gateway.sa()?.spis == before.spis, "the gateway cannot know yet: {:?}", gateway.sa()?);
    client.start()?;
    client.load(&roadwarrior::client("alice"))?;
    client.initiate(NET)?;

    let after = gateway.sa()?;
    ensure!(after.spis != before.spis, "the old SA is still there: {after:?}");
    ensure!(address(&client)? == given, "alice had {given} and now has {}", address(&client)?);
    let pools = gateway.pools()?;
    ensure!(pools.iter().all(|pool| (pool.online, pool.offline) == (1, 0)), "the leases are {pools:?}");
    road.client()?.ping(&given, Road::SERVER, 2)?;
    road.server.ping(Road::SERVER, &given, 2)?;
    Ok(())
}

/// A gateway that was killed comes back, and so does its client.
pub(super) fn killed_gateway(lab: &Lab, ours: Daemon) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let impatient = Settings::new().set("charon.retransmit_timeout", 1).set("charon.retransmit_tries", 1);
    let gateway = lab.peer(&road.gateway, ours, &roadwarrior::gateway())?;
    let client = lab.peer_with(road.client()?, Daemon::Charon, &roadwarrior::client("alice"), &impatient)?;
    client.initiate(NET)?;

    gateway.kill()?;
    let mark = gateway.log().mark();
    gateway.start()?;
    if lab.plane() == Plane::Kernel && ours == Daemon::Ferryd {
        let words = ["removed 3 policies and 2 SAs that an earlier ferryd has left"];
        gateway.log().wait_for(mark, &words, Deadline::after(Duration::from_secs(5)))?;
    }
    gateway.load(&roadwarrior::gateway())?;
    ensure!(gateway.sas()?.is_empty(), "it cannot know these: {:?}", gateway.sas()?);
    // The client's farewell to the gateway's former life is not answered.
    client.swanctl(&["--terminate", "--ike", "home", "--force"])?.success()?;
    client.initiate(NET)?;
    road.client()?.ping(&address(&client)?, Road::SERVER, 2)?;
    road.server.ping(Road::SERVER, &address(&client)?, 2)?;
    Ok(())
}

/// Addresses stay their clients' when the gateway is killed, whoever comes first afterwards. A file with leases that cannot
/// be read is set aside, and clients are served without it.
pub(super) fn kept_leases(lab: &Lab) -> Result<()> {
    let road = Road::build(lab, 2)?;
    let [first, second] = road.clients.as_slice() else { anyhow::bail!("not two clients") };
    let gateway = lab.peer(&road.gateway, Daemon::Ferryd, &roadwarrior::gateway())?;
    let alice = lab.peer(first, Daemon::Charon, &roadwarrior::client("alice"))?;
    let bob = lab.peer(second, Daemon::Charon, &roadwarrior::client("bob"))?;
    alice.initiate(NET)?;
    let given = address(&alice)?;

    let restart = || -> Result<Mark> {
        gateway.kill()?;
        for client in [&alice, &bob] {
            if client.is_running()? {
                client.kill()?;
            }
            client.start()?;
        }
        alice.load(&roadwarrior::client("alice"))?;
        bob.load(&roadwarrior::client("bob"))?;
        Ok(gateway.log().mark())
    };
    restart()?;
    gateway.start()?;
    gateway.load(&roadwarrior::gateway())?;
    let pools = gateway.pools()?;
    ensure!(pools.iter().any(|pool| (pool.online, pool.offline) == (0, 1)), "the leases are {pools:?}");
    bob.initiate(NET)?;
    let for_bob = address(&bob)?;
    ensure!(for_bob != given, "bob came first and was given alice's {given}");
    alice.initiate(NET)?;
    ensure!(address(&alice)? == given, "alice had {given} and now has {}", address(&alice)?);
    first.ping(&given, Road::SERVER, 2)?;

    let mark = restart()?;
    std::fs::write(gateway.host().directory().join("leases.redb"), "no database at all")?;
    gateway.start()?;
    gateway.load(&roadwarrior::gateway())?;
    gateway.log().wait_for(
        mark,
        &["leases.redb cannot be read", "leases begin anew"],
        Deadline::after(PATIENCE),
    )?;
    bob.initiate(NET)?;
    ensure!(address(&bob)? == given, "leases did not begin anew: bob has {}", address(&bob)?);
    Ok(())
}

/// A gateway that is stopped says goodbye to its clients and leaves no route, rule or device behind.
pub(super) fn stopped_gateway(lab: &Lab, ours: Daemon) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway = lab.peer(&road.gateway, ours, &roadwarrior::gateway())?;
    let client = lab.peer(road.client()?, Daemon::Charon, &roadwarrior::client("alice"))?;
    client.initiate(NET)?;
    ensure!(routes(&gateway)?.contains("10.9.0.1"), "no route to the client: {}", routes(&gateway)?);

    let before = surroundings(&gateway)?;
    let mut sas = client.watch("ike-updown")?;
    gateway.stop()?;
    sas.wait_for_down("home", Deadline::after(Duration::from_secs(5)))?;
    gone(&client)?;
    let after = surroundings(&gateway)?;
    ensure!(after.trim().is_empty(), "left behind of\n{before}\nis\n{after}");
    Ok(())
}

/// A client whose line is cut is noticed by liveness checks, and everything that was its is taken back.
pub(super) fn cut_line(lab: &Lab, ours: Daemon) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let impatient = Settings::new()
        .set("charon.retransmit_timeout", 1)
        .set("charon.retransmit_base", 1)
        .set("charon.retransmit_tries", 2);
    let gateway =
        lab.peer_with(&road.gateway, ours, &roadwarrior::gateway_with("dpd_delay", "1s"), &impatient)?;
    let client = lab.peer(road.client()?, Daemon::Charon, &roadwarrior::client("alice"))?;
    client.initiate(NET)?;

    // While the line is whole, silence is broken by liveness checks, and the SA stays.
    let patience = || Deadline::after(Duration::from_secs(15));
    client.log().wait_for(Mark::BEGINNING, &["parsed INFORMATIONAL request 1 [ ]"], patience())?;
    let before = gateway.sa()?;
    ensure!(before.state == "ESTABLISHED", "{before:?}");

    let mut sas = gateway.watch("ike-updown")?;
    road.client()?.set_up("eth", false)?;
    sas.wait_for_down("road", patience()).context("the gateway does not notice that the line is cut")?;
    gone(&gateway)?;
    let pools = gateway.pools()?;
    ensure!(pools.iter().all(|pool| (pool.online, pool.offline) == (0, 1)), "the leases are {pools:?}");
    ensure!(!routes(&gateway)?.contains("10.9.0.1"), "the route is still there: {}", routes(&gateway)?);

    // Mended, the line serves a new SA with the same address.
    road.client()?.set_up("eth", true)?;
    road.client()?.route("default", "192.168.7.1")?;
    client.swanctl(&["--terminate", "--ike", "home", "--force"])?.success()?;
    client.initiate(NET)?;
    ensure!(address(&client)? == "10.9.0.1", "another address: {}", address(&client)?);
    road.client()?.ping("10.9.0.1", Road::SERVER, 2)?;
    Ok(())
}

/// The one virtual address a client has.
fn address(client: &Peer) -> Result<String> {
    let sa = client.sa()?;
    match sa.local.virtual_ips.as_slice() {
        [address] => Ok(address.clone()),
        _ => anyhow::bail!("not one virtual address: {sa:?}"),
    }
}

/// An SA that is down is listed no more, once the daemon has tidied up after it.
fn gone(peer: &Peer) -> Result<()> {
    until(Deadline::after(Duration::from_secs(5)), "the SA to be gone", || {
        Ok(peer.sas()?.is_empty().then_some(()))
    })
}

/// What a daemon with tunnels adds to its host: routes, the rules that lead to them, TUN devices.
fn surroundings(peer: &Peer) -> Result<String> {
    let mut all = routes(peer)?;
    for family in ["-4", "-6"] {
        let rules = peer.host().succeed(&["ip", family, "rule"])?.stdout;
        all.extend(rules.lines().filter(|rule| rule.contains("220")).map(|rule| format!("{rule}\n")));
    }
    all += &peer.host().succeed(&["ip", "-br", "link", "show", "type", "tun"])?.stdout;
    Ok(all)
}

/// The routes to what lies behind tunnels.
fn routes(peer: &Peer) -> Result<String> {
    // Without any route there, iproute2 says that there is no such table.
    Ok(peer.host().output(&["ip", "route", "show", "table", "220"])?.stdout)
}
