//! What takes the ESP of a kernel: modes, packets that are ESP alone, limits, and what others do to its tables.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::topology::{Family, Site, Sites};
use super::{Roles, site};
use crate::lab::{Deadline, Echoes, Host, Lab, Mark, only_ipsec, round_trip, until};
use crate::peer::{ChildSa, Connection, Daemon, IkeSa, Peer, Section, SwanctlConf, child};

fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Two gateways with one child each, made by `make` for either side, that have set up the left one's.
fn pair(lab: &Lab, roles: Roles, make: impl Fn(&Site, &Site) -> Section) -> Result<(Sites, Peer2)> {
    let sites = Sites::build(lab)?;
    lab.record_at_end(&sites.left.gateway, "wan")?;
    let conf = |near: &Site, far: &Site| {
        let connection = Connection::psk(near.id, far.id).between(near.outer[0], far.outer[0]);
        site::conf(connection.child("net", make(near, far)))
    };
    let left = lab.peer(&sites.left.gateway, roles.initiator, &conf(&sites.left, &sites.right))?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &conf(&sites.right, &sites.left))?;
    left.initiate("net")?;
    site::agree(&left, &right)?;
    Ok((sites, Peer2 { left, right }))
}

/// The two daemons.
struct Peer2 {
    left: std::rc::Rc<Peer>,
    right: std::rc::Rc<Peer>,
}

impl Peer2 {
    /// Ours: the left one, unless only the right one is ferryd.
    fn ours(&self) -> &Peer {
        if self.left.daemon() == Daemon::Ferryd { &self.left } else { &self.right }
    }
}

/// The one child of a daemon.
fn only_child(peer: &Peer) -> Result<ChildSa> {
    let mut children = peer.sa()?.children;
    match (children.pop(), children.is_empty()) {
        (Some(child), true) => Ok(child),
        _ => bail!("not one child: {:?}", peer.sa()?),
    }
}

fn has_mode(peers: &Peer2, mode: &str) -> Result<()> {
    for peer in [&peers.left, &peers.right] {
        let child = only_child(peer)?;
        ensure!(child.mode == mode, "not {mode} but {child:?}");
    }
    Ok(())
}

/// Packets both ways between two addresses of the gateways themselves, and nothing of them in the clear.
fn carries(lab: &Lab, sites: &Sites, near: &str, far: &str) -> Result<()> {
    let [left, right] = [&sites.left.gateway, &sites.right.gateway];
    left.ping(near, far, 3)?;
    right.ping(far, near, 3)?;
    round_trip(left, right, far.parse()?, 200_000)?;
    let ends = [sites.left.outer[0].parse()?, sites.right.outer[0].parse()?];
    let seen = only_ipsec(&lab.recorded(left, "wan")?, ends, b"")?;
    ensure!(seen.esp_bytes > 400_000, "the wire shows only {seen}");
    Ok(())
}

/// Two hosts protect what they say to each other.
pub(super) fn transport(lab: &Lab, roles: Roles) -> Result<()> {
    let (sites, peers) = pair(lab, roles, |_, _| Section::new().set("mode", "transport"))?;
    has_mode(&peers, "TRANSPORT")?;
    carries(lab, &sites, sites.left.outer[0], sites.right.outer[0])
}

/// Two hosts protect what they say under their inner addresses, without carrying these. charon grants that to nobody but
/// itself, so this is between two of ours.
pub(super) fn beet(lab: &Lab) -> Result<()> {
    let roles = Roles { initiator: Daemon::Ferryd, responder: Daemon::Ferryd };
    let inner = |site: &Site| if site.id == "left.test" { "10.2.0.1/32" } else { "10.3.0.1/32" };
    let (sites, peers) = pair(lab, roles, |near, far| child(inner(near), inner(far)).set("mode", "beet"))?;
    has_mode(&peers, "BEET")?;
    carries(lab, &sites, "10.2.0.1", "10.3.0.1")
}

/// Extended sequence numbers, and a window of 1024 packets.
pub(super) fn wide_window(lab: &Lab, roles: Roles) -> Result<()> {
    let (sites, _peers) = pair(lab, roles, |near, far| {
        child(near.networks[0], far.networks[0])
            .set("esp_proposals", "aes128gcm16-esn")
            .set("replay_window", "1024")
    })?;
    for gateway in [&sites.left.gateway, &sites.right.gateway] {
        let listed = gateway.succeed(&["ip", "xfrm", "state", "list", "nokeys"])?.stdout;
        let is_so = listed.contains("replay_window 1024") && listed.contains("esn");
        ensure!(is_so, "the kernel of {} has\n{listed}", gateway.role());
    }
    round_trip(&sites.left.host, &sites.right.host, sites.right.hosts[0].parse()?, 2_000_000)
}

/// Packets with a mark are protected, and packets without are not those that were meant.
pub(super) fn marked(lab: &Lab, roles: Roles) -> Result<()> {
    let ours = if roles.initiator == Daemon::Ferryd { "left.test" } else { "right.test" };
    let (sites, peers) = pair(lab, roles, |near, far| {
        let net = child(near.networks[0], far.networks[0]);
        if near.id == ours { net.set("mark_out", "7/0xff").set("set_mark_out", "0x100") } else { net }
    })?;
    let is_left = ours == sites.left.id;
    let [own, there] = if is_left { ["10.2.0.1", "10.3.0.1"] } else { ["10.3.0.1", "10.2.0.1"] };
    let gateway = peers.ours().host();
    let listed = gateway.succeed(&["ip", "xfrm", "state", "list", "nokeys"])?.stdout;
    ensure!(listed.contains("mark 0x7/0xff") && listed.contains("output-mark 0x100"), "{listed}");
    gateway.succeed(&["ping", "-c", "3", "-W", "2", "-m", "7", "-I", own, there])?;
    let unmarked = gateway.output(&["ping", "-c", "2", "-W", "1", "-I", own, there])?;
    ensure!(unmarked.success().is_err(), "what is not marked is answered");
    let outbound = only_child(peers.ours())?.outbound;
    ensure!(outbound.packets == 3, "{} packets were sent, not 3", outbound.packets);
    let labels = outbound.labels.as_deref();
    ensure!(labels == Some("0x00000007/0x000000ff"), "listed as {outbound:?}");
    Ok(())
}

/// SAs and policies belong to interfaces, which nothing leads to but the operator's own routes.
pub(super) fn interfaces(lab: &Lab, roles: Roles) -> Result<()> {
    let ours = if roles.initiator == Daemon::Ferryd { "left.test" } else { "right.test" };
    let (_sites, peers) = pair(lab, roles, |near, far| {
        let net = child(near.networks[0], far.networks[0]);
        if near.id == ours { net.set("if_id_in", "42").set("if_id_out", "%unique") } else { net }
    })?;
    let gateway = peers.ours().host();
    for what in ["state", "policy"] {
        let listed = gateway.succeed(&["ip", "xfrm", what, "list"])?.stdout;
        ensure!(listed.contains("if_id 0x2a") && listed.contains("if_id 0x1"), "{listed}");
    }
    let child = only_child(peers.ours())?;
    let labels = [child.inbound.labels.as_deref(), child.outbound.labels.as_deref()];
    ensure!(labels == [Some("-|0x0000002a"), Some("-|0x00000001")], "listed as {child:?}");
    let routes = gateway.succeed(&["ip", "route", "show", "table", "all"])?.stdout;
    ensure!(
        !routes.contains("table 220"),
        "there are routes:
{routes}"
    );
    // Events tell of them, even when the SAs are gone.
    let mut events = peers.ours().watch("child-updown")?;
    peers.left.terminate("site")?;
    let down = events.wait_for(patience(), |event| event.section("site").is_some())?;
    let children = down.section("site").and_then(|ike_sa| ike_sa.section("child-sas"));
    let gone = children.and_then(|children| children.sections().next()).context("the event has no child")?.1;
    let told = [gone.str("if-id-in"), gone.str("if-id-out")];
    ensure!(told == [Some("0000002a"), Some("00000001")], "told as {told:?}");
    Ok(())
}

/// The children of an IKE SA have its interfaces, also when it has a successor, and another IKE SA has others.
pub(super) fn interfaces_of_ike_sa(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let ours = if roles.initiator == Daemon::Ferryd { "left.test" } else { "right.test" };
    let conf = |near: &Site, far: &Site| {
        let connection = |names: [&str; 2]| {
            let both = Connection::psk(near.id, far.id).between(near.outer[0], far.outer[0]);
            let both = if near.id == ours {
                both.set("if_id_in", "%unique-dir").set("if_id_out", "%unique-dir")
            } else {
                both
            };
            let children = names.into_iter().zip(near.networks.iter().zip(far.networks));
            children.fold(both, |both, (name, (near, far))| both.child(name, child(near, far)))
        };
        site::conf(connection(["four", "six"]))
    };
    let [near, far] = [&sites.left, &sites.right];
    let left = lab.peer(&near.gateway, roles.initiator, &conf(near, far))?;
    let right = lab.peer(&far.gateway, roles.responder, &conf(far, near))?;
    let peers = Peer2 { left, right };
    let ours = peers.ours();
    let mut events = ours.watch("ike-updown")?;
    let numbers = || -> Result<Vec<[Option<String>; 2]>> {
        let children = ours.sa()?.children.into_iter();
        Ok(children.map(|child| [child.inbound.labels, child.outbound.labels]).collect())
    };
    let wanted = |pair: [u32; 2]| pair.map(|number| Some(format!("-|0x{number:08x}")));

    peers.left.initiate("four")?;
    let up = events.wait_for(patience(), |event| event.section("site").is_some())?;
    let ike_sa = up.section("site").context("the event has no IKE_SA")?;
    let told = [ike_sa.str("if-id-in"), ike_sa.str("if-id-out")];
    ensure!(told == [Some("00000001"), Some("00000002")], "the IKE_SA is told of with {told:?}");
    ensure!(numbers()? == [wanted([1, 2])], "the child has {:?}", numbers()?);
    let before = ours.sa()?.spis;
    peers.left.swanctl(&["--rekey", "--ike", "site"])?.success()?;
    until(patience(), "a successor of the IKE SA", || {
        let sas = ours.sas()?;
        Ok(sas.iter().all(|sa| sa.spis != before).then_some(()))
    })?;
    peers.left.initiate("six")?;
    ensure!(
        numbers()? == [wanted([1, 2]), wanted([1, 2])],
        "after rekeying the children have {:?}",
        numbers()?
    );
    let policies = ours.host().succeed(&["ip", "xfrm", "policy"])?.stdout;
    // In and forwarded, for each of both.
    ensure!(
        policies.matches("if_id 0x1").count() == 4 && policies.matches("if_id 0x2").count() == 2,
        "{policies}"
    );

    peers.left.terminate("site")?;
    peers.left.initiate("four")?;
    ensure!(numbers()? == [wanted([3, 4])], "of another IKE_SA the child has {:?}", numbers()?);
    Ok(())
}

/// No network card here does ESP: where it may be done in software, it is, and where it may not, there is no child.
pub(super) fn offloaded(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let conf = |near: &Site, far: &Site, daemon: Daemon| {
        let plain = child(near.networks[0], far.networks[0]);
        let connection = Connection::psk(near.id, far.id).between(near.outer[0], far.outer[0]);
        site::conf(match daemon {
            Daemon::Ferryd => connection
                .child("net", plain.clone().set("hw_offload", "auto"))
                .child("card", child(near.networks[1], far.networks[1]).set("hw_offload", "crypto")),
            _ => connection.child("net", plain).child("card", child(near.networks[1], far.networks[1])),
        })
    };
    let [near, far] = [&sites.left, &sites.right];
    let left = lab.peer(&near.gateway, roles.initiator, &conf(near, far, roles.initiator))?;
    let right = lab.peer(&far.gateway, roles.responder, &conf(far, near, roles.responder))?;
    let peers = Peer2 { left, right };
    let mark = peers.ours().log().mark();
    peers.left.initiate("net")?;
    peers.ours().log().wait_for(mark, &["is done in software, not by the network card"], patience())?;
    near.host.ping(near.hosts[0], far.hosts[0], 2)?;
    let refused = peers.left.try_initiate("card")?;
    ensure!(refused.success().is_err(), "there is a child that no network card takes");
    peers.ours().log().wait_for(mark, &["hw_offload = crypto, but the network card"], patience())?;
    // The other is untouched, and of the one that is refused nothing is left.
    site::agree(&peers.left, &peers.right)?;
    let sas = peers.ours().host().succeed(&["ip", "xfrm", "state", "list", "nokeys"])?.stdout;
    ensure!(sas.matches("proto esp").count() == 2, "the kernel has\n{sas}");
    near.host.ping(near.hosts[0], far.hosts[0], 2).map(drop)
}

/// Two peers have the same network behind them: the one that came last has the traffic, and when it goes, the one before
/// has it again.
pub(super) fn same_traffic(lab: &Lab, ours: Daemon) -> Result<()> {
    let switch = lab.host("switch")?;
    let (gateway, first, second) = (lab.host("gateway")?, lab.host("first")?, lab.host("second")?);
    lab.switch(&switch, "lan", &[(&gateway, "wan"), (&first, "wan"), (&second, "wan")])?;
    let mut conf = SwanctlConf::new().secret("all", "all of us know", &[]);
    gateway.address("lo", "10.2.0.1/24")?;
    gateway.address("wan", "192.0.2.1/24")?;
    let mut far = Vec::new();
    for (host, address) in [(&first, "192.0.2.2"), (&second, "192.0.2.3")] {
        host.address("wan", &format!("{address}/24"))?;
        host.address("lo", "10.3.0.1/24")?;
        let id = format!("{}.test", host.role());
        let to = Connection::psk("gateway.test", &id).between("192.0.2.1", address);
        conf = conf.connection(host.role(), to.child(host.role(), child("10.2.0.0/24", "10.3.0.0/24")));
        let back = Connection::psk(&id, "gateway.test").between(address, "192.0.2.1");
        let back = back.child("back", child("10.3.0.0/24", "10.2.0.0/24"));
        let conf = SwanctlConf::new().connection("back", back).secret("all", "all of us know", &[]);
        far.push(lab.peer(host, Daemon::Charon, &conf)?);
    }
    let near = lab.peer(&gateway, ours, &conf)?;
    let received = || -> Result<Vec<u64>> {
        let packets = |peer: &std::rc::Rc<Peer>| -> Result<u64> {
            Ok(peer.sas()?.iter().flat_map(|sa| &sa.children).map(|child| child.inbound.packets).sum())
        };
        far.iter().map(packets).collect()
    };
    let ping = || gateway.ping("10.2.0.1", "10.3.0.1", 3);
    near.initiate("first")?;
    ping()?;
    ensure!(received()? == [3, 0], "with one peer, the peers have received {:?}", received()?);
    near.initiate("second")?;
    ping()?;
    ensure!(received()? == [3, 3], "with two peers, the peers have received {:?}", received()?);
    near.terminate("second")?;
    ping()?;
    ensure!(received()? == [6, 0], "with the first peer again, the peers have received {:?}", received()?);
    Ok(())
}

/// A child that has carried enough octets has a successor; one that may have none ends.
pub(super) fn limited_octets(lab: &Lab, roles: Roles) -> Result<()> {
    exhaust(lab, roles, ["rekey_bytes", "life_bytes", "rand_bytes"], ["40000", "90000"])
}

/// The same with packets.
pub(super) fn limited_packets(lab: &Lab, roles: Roles) -> Result<()> {
    exhaust(lab, roles, ["rekey_packets", "life_packets", "rand_packets"], ["40", "90"])
}

fn exhaust(lab: &Lab, roles: Roles, [rekey, life, rand]: [&str; 3], [soft, hard]: [&str; 2]) -> Result<()> {
    let sites = Sites::build(lab)?;
    let conf = |near: &Site, far: &Site, daemon: Daemon| {
        let connection = |name: &str, net: Section| {
            Connection::psk(near.id, far.id).between(near.outer[0], far.outer[0]).child(name, net)
        };
        let plain = child(near.networks[0], far.networks[0]);
        // It is our limits that this is about.
        let net = |is_rekeyed| match daemon {
            Daemon::Ferryd => {
                let rekeyed_at = if is_rekeyed { soft } else { "0" };
                plain.clone().set(rekey, rekeyed_at).set(life, hard).set(rand, 0)
            }
            Daemon::Charon | Daemon::Charon6 => plain.clone(),
        };
        let both = connection("net", net(true)).child("last", net(false));
        site::conf(both)
    };
    let left =
        lab.peer(&sites.left.gateway, roles.initiator, &conf(&sites.left, &sites.right, roles.initiator))?;
    let right =
        lab.peer(&sites.right.gateway, roles.responder, &conf(&sites.right, &sites.left, roles.responder))?;
    let peers = Peer2 { left, right };
    let echoes = Echoes { count: 60, bytes: 1000, every: Duration::from_millis(20) };
    let [near, far] = [&sites.left, &sites.right].map(|site| site.hosts[0]);

    peers.left.initiate("net")?;
    let before = only_child(peers.ours())?;
    sites.left.host.ping_with(near, far, &echoes)?;
    until(patience(), "a child in the place of the one that has carried enough", || {
        let children = peers.ours().sa()?.children;
        let is_new = |child: &ChildSa| child.state == "INSTALLED" && child.inbound.spi != before.inbound.spi;
        Ok(children.iter().any(is_new).then_some(()))
    })?;
    sites.left.host.ping(near, far, 2)?;
    peers.left.terminate("site")?;

    if roles.initiator != Daemon::Ferryd {
        return Ok(()); // whose child the responder takes is its own choice: the first
    }
    peers.left.initiate("last")?;
    let mark = peers.left.log().mark();
    // What is beyond the limit is lost.
    let every = echoes.every.as_secs_f64().to_string();
    sites.left.host.output(&["ping", "-c", "150", "-s", "1000", "-i", &every, "-W", "1", "-I", near, far])?;
    peers.left.log().wait_for(mark, &["can carry no more"], patience())?;
    until(patience(), "the child to be deleted", || Ok(peers.left.sa()?.children.is_empty().then_some(())))
}

/// What somebody else removes from the kernel is noticed, said, and back.
pub(super) fn flushed(lab: &Lab, roles: Roles) -> Result<()> {
    let (sites, peers) = pair(lab, roles, |near, far| child(near.networks[0], far.networks[0]))?;
    let ours = peers.ours();
    let policies = |host: &Host| -> Result<usize> {
        let listed = host.succeed(&["ip", "xfrm", "policy"])?.stdout;
        Ok(listed
            .lines()
            .filter(|line| line.trim_start().starts_with("dir ") && !line.contains("socket"))
            .count())
    };
    let before = policies(ours.host())?;
    ensure!(before == 3, "there are {before} policies");
    let child = only_child(ours)?;
    let mark = ours.log().mark();
    ours.host().succeed(&["ip", "xfrm", "policy", "flush"])?;
    ours.log().wait_for(mark, &["somebody has removed 3 of our IPsec policies"], patience())?;
    ensure!(policies(ours.host())? == before, "not all policies are back");
    sites.left.host.ping(sites.left.hosts[0], sites.right.hosts[0], 3)?;

    ours.host().succeed(&["ip", "xfrm", "state", "flush"])?;
    ours.log().wait_for(mark, &["somebody has flushed the SAs of CHILD_SA"], patience())?;
    until(patience(), "another child", || {
        let children = ours.sa()?.children;
        let is_new = |other: &ChildSa| other.state == "INSTALLED" && other.inbound.spi != child.inbound.spi;
        Ok(children.iter().any(is_new).then_some(()))
    })?;
    sites.left.host.ping(sites.left.hosts[0], sites.right.hosts[0], 3)?;
    sites.right.host.ping(sites.right.hosts[0], sites.left.hosts[0], 3)?;
    let ends = [sites.left.outer[0].parse()?, sites.right.outer[0].parse()?];
    only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, ends, b"").map(drop)
}

/// The peer's trap makes the SA: the first packet of either side finds us ready.
pub(super) fn trapped(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    for gateway in [&sites.left.gateway, &sites.right.gateway] {
        // The kernel keeps packets that wait for an SA, instead of dropping them.
        gateway.sysctl("net/core/xfrm_larval_drop", 0)?;
    }
    lab.record_at_end(&sites.left.gateway, "wan")?;
    let waiting = Connection::psk(sites.left.id, sites.right.id)
        .between(sites.left.outer[0], sites.right.outer[0])
        .child("net", child(sites.left.networks[0], sites.right.networks[0]).set("start_action", "trap"));
    let far = site::connection(&sites.right, &sites.left, Family::V4, &[Family::V4]);
    let right = lab.peer(&sites.right.gateway, roles.responder, &site::conf(far))?;
    let left = lab.peer(&sites.left.gateway, roles.initiator, &site::conf(waiting))?;
    let [near, far] = [sites.left.hosts[0], sites.right.hosts[0]];
    // The first echo is answered, too.
    sites.left.host.ping(near, far, 2)?;
    site::agree(&left, &right)?;
    // The trap is there again when the SA goes.
    left.terminate("site")?;
    round_trip(&sites.left.host, &sites.right.host, far.parse()?, 200_000)?;
    site::agree(&left, &right)?;
    left.log().refute(Mark::BEGINNING, &["acquire", "failed"])?;
    let ends = [sites.left.outer[0].parse()?, sites.right.outer[0].parse()?];
    let seen = only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, ends, b"")?;
    ensure!(seen.esp_bytes > 400_000, "the wire shows only {seen}");
    Ok(())
}

/// Policies have the priority and the interface that were asked for; where none are, there is no route either.
pub(super) fn placed(lab: &Lab, roles: Roles) -> Result<()> {
    let ours = if roles.initiator == Daemon::Ferryd { "left.test" } else { "right.test" };
    let (sites, peers) = pair(lab, roles, |near, far| {
        let net = child(near.networks[0], far.networks[0]);
        if near.id == ours { net.set("priority", "4711").set("interface", "wan") } else { net }
    })?;
    let gateway = peers.ours().host();
    let listed = gateway.succeed(&["ip", "xfrm", "policy"])?.stdout;
    let of_interface =
        listed.lines().filter(|line| line.starts_with("src ") && line.contains("dev wan")).count();
    let of_priority = listed.lines().filter(|line| line.contains("priority 4711")).count();
    ensure!(of_interface == 1 && of_priority == 3, "the kernel has\n{listed}");
    let [near, far] = [&sites.left, &sites.right];
    near.host.ping(near.hosts[0], far.hosts[0], 2)?;
    far.host.ping(far.hosts[0], near.hosts[0], 2).map(drop)?;
    peers.left.terminate("site")?;

    let conf = |near: &Site, far: &Site| {
        let net = child(near.networks[0], far.networks[0]);
        let net = if near.id == ours { net.set("policies", "no") } else { net };
        site::conf(Connection::psk(near.id, far.id).between(near.outer[0], far.outer[0]).child("net", net))
    };
    peers.left.load(&conf(near, far))?;
    peers.right.load(&conf(far, near))?;
    peers.left.initiate("net")?;
    site::agree(&peers.left, &peers.right)?;
    let listed = gateway.succeed(&["ip", "xfrm", "policy"])?.stdout;
    ensure!(!listed.contains("proto esp"), "the kernel has\n{listed}");
    let routes = gateway.succeed(&["ip", "route", "show", "table", "all"])?.stdout;
    ensure!(!routes.contains("table 220"), "there are routes:\n{routes}");
    let sas = gateway.succeed(&["ip", "xfrm", "state", "list", "nokeys"])?.stdout;
    ensure!(sas.matches("proto esp").count() == 2, "the kernel has\n{sas}");
    Ok(())
}

/// Hosts on one network, each with a trap for whoever it speaks to.
pub(super) fn trap_for_anybody(lab: &Lab, roles: Roles) -> Result<()> {
    let switch = lab.host("switch")?;
    let hosts = ["first", "second", "third"].map(|role| lab.host(role));
    let [first, second, third] = hosts;
    let (first, second, third) = (first?, second?, third?);
    lab.switch(&switch, "lan", &[(&first, "wan"), (&second, "wan"), (&third, "wan")])?;
    let mut peers = Vec::new();
    for (host, number, daemon) in
        [(&first, 1, roles.initiator), (&second, 2, roles.responder), (&third, 3, roles.responder)]
    {
        let address = format!("192.0.2.{number}");
        host.address("wan", &format!("{address}/24"))?;
        // The kernel keeps packets that wait for an SA, instead of dropping them.
        host.sysctl("net/core/xfrm_larval_drop", 0)?;
        let anybody = Section::new()
            .set("remote_ts", "192.0.2.0/24")
            .set("mode", "transport")
            .set("start_action", "trap");
        let connection = Connection::psk(&format!("host{number}.test"), "%any")
            .set("local_addrs", &address)
            .set("remote_addrs", "%any")
            .child("anybody", anybody);
        let conf = SwanctlConf::new().connection("lan", connection).secret("lan", "all of us know", &[]);
        peers.push(lab.peer(host, daemon, &conf)?);
    }
    lab.record_at_end(&second, "wan")?;
    // The first echo is answered, too.
    first.ping("192.0.2.1", "192.0.2.2", 2)?;
    first.ping("192.0.2.1", "192.0.2.3", 2)?;
    let [ours, other, _] = peers.as_slice() else { bail!("not three hosts") };
    let sas = ours.sas()?;
    let mut ends: Vec<&str> = sas.iter().map(|sa| sa.remote.host.as_str()).collect();
    ends.sort_unstable();
    let is_transport = |sa: &IkeSa| sa.children.iter().all(|child| child.mode == "TRANSPORT");
    ensure!(ends == ["192.0.2.2", "192.0.2.3"] && sas.iter().all(is_transport), "there are {sas:?}");
    // What there is serves the other direction, and other packets.
    second.ping("192.0.2.2", "192.0.2.1", 2)?;
    round_trip(&first, &third, "192.0.2.3".parse()?, 100_000)?;
    round_trip(&second, &first, "192.0.2.1".parse()?, 100_000)?;
    ensure!(
        ours.sas()?.len() == 2 && other.sas()?.len() == 1,
        "there are {:?} {:?}",
        ours.sas()?,
        other.sas()?
    );
    // When one goes, the trap makes it anew, and the other stays.
    let gone = sas.iter().find(|sa| sa.remote.host == "192.0.2.2").map(|sa| sa.unique_id.to_string());
    ours.swanctl(&["--terminate", "--ike-id", &gone.unwrap_or_default()])?.success()?;
    first.ping("192.0.2.1", "192.0.2.2", 2)?;
    ensure!(ours.sas()?.len() == 2, "there are {:?}", ours.sas()?);
    let ends = ["192.0.2.1".parse()?, "192.0.2.2".parse()?];
    let seen = only_ipsec(&lab.recorded(&second, "wan")?, ends, b"")?;
    ensure!(seen.esp_bytes > 200_000, "the wire shows only {seen}");
    Ok(())
}
