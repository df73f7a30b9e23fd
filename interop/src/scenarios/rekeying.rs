//! Tunnels whose keys change all the time.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::topology::Sites;
use super::{Roles, site};
use crate::lab::{Deadline, Lab, Length, Stream, until};
use crate::peer::{Connection, Peer, child};

/// Both ends rekey the child every three seconds and the IKE SA every seven, of their own accord, and not one packet
/// is lost or doubled.
pub(super) fn without_loss(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [near, far] = [(&sites.left, &sites.right), (&sites.right, &sites.left)].map(|(near, far)| {
        let restless = child(near.networks[0], far.networks[0])
            .set("rekey_time", "3s")
            .set("life_time", "60s")
            .set("rand_time", "1s");
        let connection = Connection::psk(near.id, far.id)
            .between(near.outer[0], far.outer[0])
            .set("rekey_time", "7s")
            .set("over_time", "60s")
            .set("rand_time", "1s")
            .child("net", restless);
        site::conf(connection)
    });
    let left = lab.peer(&sites.left.gateway, roles.initiator, &near)?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &far)?;
    left.initiate("net")?;
    let before = left.sa()?;

    let time = match lab.length() {
        Length::Usual => Duration::from_secs(60),
        Length::Long => Duration::from_secs(600),
    };
    let [left_end, right_end] = [&sites.left, &sites.right].map(|site| (&*site.host, site.hosts[0]));
    let every = Duration::from_millis(10);
    let streams = [Stream::begin(left_end, right_end, every)?, Stream::begin(right_end, left_end, every)?];
    std::thread::sleep(time);
    for stream in streams {
        let report = stream.end()?;
        report.is_whole()?;
        let least = time.as_millis() * 9 / 10 / every.as_millis();
        ensure!(report.sent >= usize::try_from(least)?, "this was no packet every {every:?}: {report}");
    }

    let mut after = None;
    until(Deadline::after(Duration::from_secs(20)), "one IKE SA and one child at both ends", || {
        let (Some(ours), Some(theirs)) = (settled(&left)?, settled(&right)?) else { return Ok(None) };
        after = Some(ours.clone());
        Ok((ours == theirs).then_some(()))
    })?;
    ensure!(after != Some(before.spis), "the IKE SA was never rekeyed");
    Ok(())
}

/// The SPIs of the one IKE SA, if there is one with one child in use. Old children linger for packets on their way.
fn settled(peer: &Peer) -> Result<Option<[String; 2]>> {
    let sas = peer.sas()?;
    let [sa] = sas.as_slice() else { return Ok(None) };
    let mut used = sa.children.iter().filter(|child| child.state != "DELETED");
    let is_settled = sa.state == "ESTABLISHED"
        && used.next().is_some_and(|child| child.state == "INSTALLED")
        && used.next().is_none();
    Ok(is_settled.then(|| sa.spis.clone()))
}
