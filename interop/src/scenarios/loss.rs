//! Lines that lose datagrams, and NATs that forget.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::topology::{Road, Sites};
use super::{Roles, roadwarrior, site};
use crate::lab::{Lab, lose_none, lose_some};
use crate::peer::{Daemon, Settings};

/// Every third datagram is lost, in either direction: retransmission and the cache of responses carry both ends through.
pub(super) fn lossy_line(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [near, far] = site::connections(&sites);
    let quick = Settings::new().set("charon.retransmit_timeout", "0.5").set("charon.retransmit_base", 1);
    let quick = quick.set("charon.retransmit_tries", 10);
    let left = lab.peer_with(&sites.left.gateway, roles.initiator, &site::conf(near), &quick)?;
    let right = lab.peer_with(&sites.right.gateway, roles.responder, &site::conf(far), &quick)?;
    for _ in 0..3 {
        lose_some(&sites.left.gateway, 3)?;
        left.initiate("net")?;
        site::agree(&left, &right)?;
        lose_none(&sites.left.gateway)?;
        sites.left.host.ping(sites.left.hosts[0], sites.right.hosts[0], 2)?;
        lose_some(&sites.left.gateway, 3)?;
        left.terminate("site")?;
        lose_none(&sites.left.gateway)?;
        ensure!(right.sas()?.is_empty(), "the responder kept {:?}", right.sas()?);
    }
    Ok(())
}

/// A client that is behind a NAT keeps its mapping alive while nothing else is sent.
pub(super) fn keepalive(lab: &Lab, ours: Daemon) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let often = Settings::new().set("charon.keep_alive", "1s");
    let _gateway = lab.peer(&road.gateway, Daemon::Charon, &roadwarrior::gateway())?;
    let client = lab.peer_with(road.client()?, ours, &roadwarrior::client("alice"), &often)?;
    client.initiate("net")?;
    // One octet of payload (RFC 3948 §2.3) makes a UDP length of nine.
    let keepalives = "udp dst port 4500 and udp[4:2] = 9 and udp[8] = 0xff";
    let tcpdump = ["tcpdump", "--immediate-mode", "-n", "-i", "wan", "-c", "2", keepalives];
    road.nat.output_within(&tcpdump, Duration::from_secs(20))?.success()?;
    Ok(())
}
