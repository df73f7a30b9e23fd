//! What takes a kernel with XFRM interfaces, or with firewall rules about IPsec.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::topology::{Site, Sites};
use super::{Roles, site};
use crate::lab::{Deadline, Host, Lab, only_ipsec, round_trip, until};
use crate::peer::{Connection, Daemon, Settings, child};

/// Rules that count what comes by the interface `wan`: all that came by IPsec, that of each of two CHILD_SAs, and echoes
/// that came without.
const COUNTERS: &str = "table inet seen {
    counter opened { }
    counter seven { }
    counter eight { }
    counter clear { }
    chain arriving {
        type filter hook prerouting priority filter
        meta secpath exists counter name opened
        ipsec in reqid 7 counter name seven
        ipsec in reqid 8 counter name eight
        iifname wan meta secpath missing meta l4proto icmp counter name clear
    }
}";

/// The firewall tells what was decrypted from what was not, and by which SA.
pub(super) fn counted_by_firewall(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let conf = |near: &Site, far: &Site| {
        let ([four, six], [far_four, far_six]) = (near.networks, far.networks);
        let connection = Connection::psk(near.id, far.id).between(near.outer[0], far.outer[0]);
        let connection = connection.child("four", child(four, far_four).set("reqid", 7));
        site::conf(connection.child("six", child(six, far_six).set("reqid", 8)))
    };
    let left = lab.peer(&sites.left.gateway, roles.initiator, &conf(&sites.left, &sites.right))?;
    let _right = lab.peer(&sites.right.gateway, roles.responder, &conf(&sites.right, &sites.left))?;
    let ours = if roles.initiator == Daemon::Ferryd { &sites.left } else { &sites.right };
    ours.gateway.succeed(&["nft", COUNTERS])?;
    let counted = |wanted: [u64; 4]| {
        let mut seen = [0; 4];
        for (seen, name) in seen.iter_mut().zip(["opened", "seven", "eight", "clear"]) {
            *seen = packets(&ours.gateway, name)?;
        }
        ensure!(
            seen == wanted,
            "by IPsec, reqid 7, reqid 8 and in the clear came {seen:?} and not {wanted:?}"
        );
        Ok(())
    };

    left.initiate("four")?;
    left.initiate("six")?;
    counted([0, 0, 0, 0])?;
    let [near, far] = [&sites.left, &sites.right];
    near.host.ping(near.hosts[0], far.hosts[0], 5)?;
    counted([5, 5, 0, 0])?;
    far.host.ping(far.hosts[1], near.hosts[1], 3)?;
    counted([8, 5, 3, 0])?;
    // What is not the SAs' is not theirs to the firewall's eyes either.
    near.gateway.ping(near.outer[0], far.outer[0], 4)?;
    counted([8, 5, 3, 4])
}

/// Packets that a counter has counted.
fn packets(host: &Host, name: &str) -> Result<u64> {
    let listed = host.succeed(&["nft", "list", "counter", "inet", "seen", name])?.stdout;
    let mut words = listed.split_whitespace().skip_while(|word| *word != "packets");
    let packets = words.nth(1).and_then(|number| number.parse().ok());
    packets.with_context(|| format!("there is no count in {listed}"))
}

/// A route leads into the tunnel, whose selectors are for any traffic.
pub(super) fn route_based(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    lab.record_at_end(&sites.left.gateway, "wan")?;
    let conf = |near: &Site, far: &Site| {
        let anything = child("0.0.0.0/0", "0.0.0.0/0").set("if_id_in", 42).set("if_id_out", 42);
        let connection = Connection::psk(near.id, far.id).between(near.outer[0], far.outer[0]);
        site::conf(connection.child("net", anything))
    };
    let left = lab.peer(&sites.left.gateway, roles.initiator, &conf(&sites.left, &sites.right))?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &conf(&sites.right, &sites.left))?;
    let [near, far] = [&sites.left, &sites.right];
    for (site, other) in [(near, far), (far, near)] {
        for command in [
            "ip link add tunnel type xfrm dev wan if_id 42",
            "ip link set tunnel up",
            &format!("ip route add {} dev tunnel", other.networks[0]),
        ] {
            site.gateway.succeed(&command.split(' ').collect::<Vec<_>>())?;
        }
    }

    left.initiate("net")?;
    site::agree(&left, &right)?;
    near.host.ping(near.hosts[0], far.hosts[0], 3)?;
    far.host.ping(far.hosts[0], near.hosts[0], 3)?;
    round_trip(&near.host, &far.host, far.hosts[0].parse()?, 100_000)?;
    let ends = [near.outer[0].parse()?, far.outer[0].parse()?];
    let seen = only_ipsec(&lab.recorded(&near.gateway, "wan")?, ends, b"")?;
    ensure!(seen.esp_bytes > 200_000, "the wire shows only {seen}");

    // What no route leads there is as it was: a default route's selectors catch nothing.
    let carried = left.sa()?.children;
    near.gateway.ping(near.outer[0], far.outer[0], 2)?;
    let after = left.sa()?.children;
    let packets = |children: &[crate::peer::ChildSa]| -> Vec<u64> {
        children.iter().map(|child| child.outbound.packets).collect()
    };
    ensure!(packets(&carried) == packets(&after), "what is not routed into the tunnel is in it: {after:?}");

    // Without SAs nothing leaves by the interface, least of all in the clear.
    lab.record_at_end(&near.gateway, "wan")?;
    left.terminate("site")?;
    let lost = near.host.output(&["ping", "-c", "2", "-W", "1", "-I", near.hosts[0], far.hosts[0]])?;
    ensure!(lost.success().is_err(), "without an SA there are answers");
    only_ipsec(&lab.recorded(&near.gateway, "wan")?, ends, b"").map(drop)
}

/// ferryd makes the interfaces itself, and takes them away; those of others it uses and leaves.
pub(super) fn made_interfaces(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let ours = if roles.initiator == Daemon::Ferryd { "left.test" } else { "right.test" };
    let conf = |near: &Site, far: &Site| {
        let numbered = |[own, other]: [&str; 2], number: u32| {
            let net = child(own, other);
            if near.id == ours { net.set("if_id_in", number).set("if_id_out", number) } else { net }
        };
        let connection = Connection::psk(near.id, far.id).between(near.outer[0], far.outer[0]);
        site::conf(
            connection
                .child("made", numbered([near.networks[0], far.networks[0]], 42))
                .child("found", numbered([near.networks[1], far.networks[1]], 43)),
        )
    };
    let [near, far] = [&sites.left, &sites.right];
    let makes = Settings::new().set("ferryd.xfrm_interfaces", "yes");
    let left = lab.peer_with(&near.gateway, roles.initiator, &conf(near, far), &makes)?;
    let right = lab.peer_with(&far.gateway, roles.responder, &conf(far, near), &makes)?;
    let (peer, site, other) = if near.id == ours { (&left, near, far) } else { (&right, far, near) };
    let run = |words: &str| site.gateway.succeed(&words.split(' ').collect::<Vec<_>>());
    let links = || Ok::<_, anyhow::Error>(run("ip -details link show type xfrm")?.stdout);
    run("ip link add theirs type xfrm dev wan if_id 43")?;
    run("ip link set theirs up")?;

    let carries = || -> Result<()> {
        left.initiate("made")?;
        left.initiate("found")?;
        let listed = links()?;
        let is_made = listed.contains("xfrm42@") && listed.contains("alias made by ferryd");
        ensure!(is_made && !listed.contains("xfrm43"), "the interfaces are\n{listed}");
        for (destination, interface) in [(other.networks[0], "xfrm42"), (other.networks[1], "theirs")] {
            let family = if destination.contains(':') { "-6" } else { "-4" };
            let routes = run(&format!("ip {family} route show table 220"))?.stdout;
            let is_led =
                |line: &str| line.starts_with(destination) && line.contains(&format!("dev {interface} "));
            ensure!(routes.lines().any(is_led), "no route to {destination} by {interface}:\n{routes}");
        }
        for (from, to) in near.hosts.iter().zip(far.hosts) {
            near.host.ping(from, to, 2)?;
            far.host.ping(to, from, 2)?;
        }
        Ok(())
    };
    let only_theirs = || {
        until(Deadline::after(Duration::from_secs(20)), "only the interface of others to be left", || {
            let listed = links()?;
            Ok((listed.contains("theirs") && !listed.contains("xfrm42")).then_some(()))
        })
    };

    carries()?;
    left.terminate("site")?;
    only_theirs()?;
    // What is left by one that was killed is known by the next one.
    carries()?;
    peer.kill()?;
    ensure!(links()?.contains("xfrm42"), "there is nothing left to remove");
    peer.start()?;
    only_theirs()?;
    peer.load(&if near.id == ours { conf(near, far) } else { conf(far, near) })?;
    carries()?;
    peer.stop()?;
    only_theirs()
}
