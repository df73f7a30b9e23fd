//! What becomes of packets before there is an SA, beside one, and by its selectors: traps, shunts, protocols.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::topology::{Family, Sites};
use super::{Roles, site, swanctl};
use crate::lab::{Lab, Plane, only_ipsec, round_trip};
use crate::peer::{Connection, Daemon, Peer, Section, SwanctlConf, child};

/// A trap makes the SA that a packet needs, keeps the packet until then, and stays when the SA goes.
pub(super) fn trap(lab: &Lab) -> Result<()> {
    let sites = Sites::build(lab)?;
    lab.record_at_end(&sites.left.gateway, "wan")?;
    let waiting = Connection::psk(sites.left.id, sites.right.id)
        .between(sites.left.outer[0], sites.right.outer[0])
        .child("net", child(sites.left.networks[0], sites.right.networks[0]).set("start_action", "trap"));
    let far = site::connection(&sites.right, &sites.left, Family::V4, &[Family::V4]);
    let right = lab.peer(&sites.right.gateway, Daemon::Charon, &site::conf(far))?;
    let left = lab.peer(&sites.left.gateway, Daemon::Ferryd, &site::conf(waiting))?;
    let listed = left.swanctl(&["--list-pols"])?.success()?.stdout;
    let expected = "site/net, TUNNEL\n  local:  10.2.0.0/24\n  remote: 10.3.0.0/24\n";
    ensure!(listed == expected, "--list-pols shows\n{listed}");
    ensure!(left.sas()?.is_empty(), "there is an SA before anybody needs one: {:?}", left.sas()?);

    // The first echo is answered, too.
    let [near, far] = [sites.left.hosts[0], sites.right.hosts[0]];
    sites.left.host.ping(near, far, 2)?;
    site::agree(&left, &right)?;
    left.terminate("site")?;
    ensure!(left.sas()?.is_empty() && right.sas()?.is_empty(), "an SA outlived its deletion");
    // Many at once make one.
    round_trip(&sites.left.host, &sites.right.host, far.parse()?, 200_000)?;
    site::agree(&left, &right)?;

    left.terminate("site")?;
    let uninstalled = left.swanctl(&["--uninstall", "--child", "net"])?.success()?;
    ensure!(left.swanctl(&["--list-pols"])?.success()?.stdout.is_empty(), "{uninstalled}");
    let seen = only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, ends(&sites)?, b"")?;
    ensure!(seen.esp_bytes > 400_000, "the wire shows only {seen}");
    Ok(())
}

/// Of two children one protects, one lets pass; a third drops what neither is about.
pub(super) fn shunts(lab: &Lab) -> Result<()> {
    let sites = Sites::build(lab)?;
    for (near, far) in [(&sites.left, &sites.right), (&sites.right, &sites.left)] {
        near.gateway.route(far.networks[0], far.outer[0])?;
    }
    let shunt = |remote: &str, mode: &str| {
        child(sites.left.networks[0], remote).set("mode", mode).set("start_action", "trap")
    };
    let near = site::connection(&sites.left, &sites.right, Family::V4, &[Family::V4])
        .child("host", shunt("10.3.0.1/32", "pass"))
        .child("rest", shunt("10.3.0.0/16", "drop"));
    let far = site::connection(&sites.right, &sites.left, Family::V4, &[Family::V4]);
    let left = lab.peer(&sites.left.gateway, Daemon::Ferryd, &site::conf(near))?;
    let _right = lab.peer(&sites.right.gateway, Daemon::Charon, &site::conf(far))?;
    let listed = left.swanctl(&["--list-pols"])?.success()?.stdout;
    let expected = "site/host, PASS\n  local:  10.2.0.0/24\n  remote: 10.3.0.1/32\n\
                    site/rest, DROP\n  local:  10.2.0.0/24\n  remote: 10.3.0.0/16\n";
    ensure!(listed == expected, "--list-pols shows\n{listed}");

    // Before there is an SA: nothing but what passes leaves.
    let near = sites.left.hosts[0];
    lab.record_at_end(&sites.left.gateway, "wan")?;
    let host = &sites.left.host;
    ensure!(
        host.output(&["ping", "-c", "2", "-W", "1", sites.right.hosts[0]])?.success().is_err(),
        "it was sent"
    );
    left.initiate("net")?;
    host.ping(near, sites.right.hosts[0], 2)?;
    only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, ends(&sites)?, b"")?;
    // What passes goes out as it is; the far gateway answers it from inside its own tunnel.
    let passes = || -> Result<bool> {
        let gateway = &sites.left.gateway;
        Ok(match lab.plane() {
            Plane::Userspace => {
                let way = gateway.succeed(&["ip", "route", "get", "10.3.0.1", "from", near, "iif", "lan"])?;
                way.stdout.contains("dev wan")
            }
            Plane::Kernel => gateway.succeed(&["ip", "xfrm", "policy"])?.stdout.contains("dst 10.3.0.1/32"),
        })
    };
    ensure!(passes()?, "it does not pass");
    left.swanctl(&["--uninstall", "--child", "host"])?.success()?;
    ensure!(!passes()?, "it still passes");
    host.ping(near, "10.3.0.1", 2).map(drop)
}

/// Selectors with protocols: what they are not about does not pass, in either direction.
pub(super) fn protocols(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    if lab.plane() == Plane::Kernel {
        // There, charon has routes for whole addresses alone.
        for (near, far) in [(&sites.left, &sites.right), (&sites.right, &sites.left)] {
            near.gateway.route(far.networks[0], far.outer[0])?;
        }
    }
    lab.record_at_end(&sites.left.gateway, "wan")?;
    let conf = |near: &super::topology::Site, far: &super::topology::Site| {
        let icmp = |network: &str| format!("{network}[icmp]");
        let connection = Connection::psk(near.id, far.id)
            .between(near.outer[0], far.outer[0])
            .child("net", child(&icmp(near.networks[0]), &icmp(far.networks[0])));
        site::conf(connection)
    };
    let left = lab.peer(&sites.left.gateway, roles.initiator, &conf(&sites.left, &sites.right))?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &conf(&sites.right, &sites.left))?;
    left.initiate("net")?;
    site::agree(&left, &right)?;
    let sa = left.sa()?;
    let local = sa.children.iter().flat_map(|child| child.local_ts.clone()).collect::<Vec<_>>();
    ensure!(local == ["10.2.0.0/24[icmp]"], "agreed on {local:?}");
    sites.left.host.ping(sites.left.hosts[0], sites.right.hosts[0], 2)?;
    sites.right.host.ping(sites.right.hosts[0], sites.left.hosts[0], 2)?;
    if lab.plane() == Plane::Kernel {
        // What no policy is about goes where routes lead it.
        return only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, ends(&sites)?, b"").map(drop);
    }
    let knock = "exec 3<>/dev/tcp/10.3.0.10/9";
    let output = sites.left.host.output(&["timeout", "2", "bash", "-c", knock])?;
    // Refused would mean that it has arrived.
    ensure!(!output.stderr.contains("refused") && output.success().is_err(), "TCP crossed");
    only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, ends(&sites)?, b"").map(drop)
}

/// Installing, listing and uninstalling traps and shunts, side by side with charon.
pub(super) fn list_policies(lab: &Lab, ours: Daemon) -> Result<()> {
    let (charon, other) = swanctl::side_by_side(lab, ours)?;
    let with = |key: &str, value: &str| child("10.2.0.0/24", "10.8.0.0/16[tcp/http]").set(key, value);
    let plain = |local: &str, remote: &str| child(local, remote);
    let conf = SwanctlConf::new()
        .connection(
            "gw",
            Connection::psk("a.test", "b.test")
                .between("192.0.2.1", "192.0.2.7")
                .child("trap", with("start_action", "trap"))
                .child("later", plain("10.2.0.0/24", "10.9.0.0/16, 10.10.0.0/16"))
                .child(
                    "lan",
                    plain("10.2.0.0/24", "10.2.0.0/24").set("mode", "pass").set("start_action", "trap"),
                )
                .child("not", plain("dynamic", "10.66.0.0/16[udp]").set("mode", "drop")),
        )
        .connection("any", Connection::psk("a.test", "b.test").child("nobody", Section::new()))
        .secret("gw", "unused", &[]);
    for peer in [&charon, &other] {
        peer.load(&conf)?;
    }
    for arguments in [
        &["--list-pols"][..],
        &["--install", "--child", "later"],
        &["--install", "--child", "later", "--ike", "gw"],
        &["--install", "--child", "not"],
        &["--install", "--child", "nobody"],
        &["--install", "--child", "unknown"],
        &["--list-pols"],
        &["--list-pols", "--trap"],
        &["--list-pols", "--drop", "--pass"],
        &["--list-pols", "--child", "later"],
        &["--uninstall", "--child", "later", "--ike", "any"],
        &["--uninstall", "--child", "later"],
        &["--uninstall", "--child", "later"],
        &["--uninstall", "--child", "lan"],
        &["--list-pols"],
    ] {
        let show = |peer: &Peer| -> Result<(i32, Vec<String>)> {
            let output = peer.swanctl(arguments)?;
            let text =
                if arguments.contains(&"--list-pols") { swanctl::sorted(&output.stdout) } else { vec![] };
            Ok((output.code(), text))
        };
        let [theirs, ours] = [show(&charon)?, show(&other)?];
        ensure!(theirs == ours, "{arguments:?} differs:\n{theirs:?}\n{ours:?}");
    }
    Ok(())
}

fn ends(sites: &Sites) -> Result<[IpAddr; 2]> {
    Ok([sites.left.outer[0].parse()?, sites.right.outer[0].parse()?])
}
