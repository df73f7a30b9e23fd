//! Tunnels whose keys change all the time.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::topology::Sites;
use super::{Roles, site};
use crate::lab::{Deadline, Lab, Length, Mark, Plane, Stream, until};
use crate::peer::{Connection, IkeSa, Peer, Settings, child};

/// How long a packet takes from one gateway to the other. Exchanges of both ends meet on the line.
const DELAY: Duration = Duration::from_millis(5);

/// A packet so often, each way. A guest is slower.
fn every(plane: Plane) -> Duration {
    Duration::from_millis(match plane {
        Plane::Userspace => 10,
        Plane::Kernel => 30,
    })
}

/// So many of a hundred have to be sent: a guest has not all of its processor.
fn pace(plane: Plane) -> u128 {
    match plane {
        Plane::Userspace => 90,
        Plane::Kernel => 70,
    }
}

/// Both ends rekey the child every three seconds and the IKE SA every seven, of their own accord and without any
/// randomness, so that most of it happens at both ends at once; and not one packet is lost or doubled.
///
/// What it allows for is charon's (5.9.8, 6.0.1): a response that arrives while it is working on a request with the same
/// message ID is dropped ("ignoring request with ID 2, already processing"). With rekeying every few seconds, charon must
/// not take its usual four to ask again, and the line is slow enough for little to arrive together. Played with charon at
/// both ends of a short line, the scenario loses packets with 6.0.1 and does not come to rest with 5.9.8.
pub(super) fn without_loss(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build_apart(lab, DELAY)?;
    let [near, far] = [(&sites.left, &sites.right), (&sites.right, &sites.left)].map(|(near, far)| {
        let restless = child(near.networks[0], far.networks[0])
            .set("rekey_time", "3s")
            .set("life_time", "12s")
            .set("rand_time", "0s");
        let connection = Connection::psk(near.id, far.id)
            .between(near.outer[0], far.outer[0])
            .set("rekey_time", "7s")
            .set("over_time", "60s")
            .set("rand_time", "0s")
            .child("net", restless);
        site::conf(connection)
    });
    let quick = Settings::new().set("charon.retransmit_timeout", "0.2");
    let left = lab.peer_with(&sites.left.gateway, roles.initiator, &near, &quick)?;
    let right = lab.peer_with(&sites.right.gateway, roles.responder, &far, &quick)?;
    left.initiate("net")?;
    let before = left.sa()?;

    let time = match lab.length() {
        Length::Usual => Duration::from_secs(60),
        Length::Long => Duration::from_secs(600),
    };
    let [left_end, right_end] = [&sites.left, &sites.right].map(|site| (&*site.host, site.hosts[0]));
    let every = every(lab.plane());
    let streams = [Stream::begin(left_end, right_end, every)?, Stream::begin(right_end, left_end, every)?];
    std::thread::sleep(time);
    for stream in streams {
        let report = stream.end()?;
        report.is_whole()?;
        let least = time.as_millis() * pace(lab.plane()) / 100 / every.as_millis();
        ensure!(report.sent >= usize::try_from(least)?, "this was no packet every {every:?}: {report}");
    }

    let mut after = None;
    until(Deadline::after(Duration::from_secs(20)), "one IKE SA and one child at both ends", || {
        let (Some(ours), Some(theirs)) = (settled(&left, &right)?, settled(&right, &left)?) else {
            return Ok(None);
        };
        after = Some(ours.clone());
        Ok((ours == theirs).then_some(()))
    })?;
    ensure!(after != Some(before.spis), "the IKE SA was never rekeyed");
    Ok(())
}

/// The SPIs of the one IKE SA of `peer`, if there is one with one child in use. Old children linger for packets on their
/// way.
fn settled(peer: &Peer, other: &Peer) -> Result<Option<[String; 2]>> {
    let (forgotten, sas): (Vec<IkeSa>, Vec<IkeSa>) =
        peer.sas()?.into_iter().partition(|sa| sa.state == "REKEYED" && sa.children.is_empty());
    let [sa] = sas.as_slice() else { return Ok(None) };
    let mut used = sa.children.iter().filter(|child| child.state != "DELETED");
    let is_settled = sa.state == "ESTABLISHED"
        && used.next().is_some_and(|child| child.state == "INSTALLED")
        && used.next().is_none()
        && forgotten.len() <= forgotten_by(other);
    Ok(is_settled.then(|| sa.spis.clone()))
}

/// How many IKE SAs `peer` has asked for, lost the answer of, and then not deleted when the other end won the collision.
/// The other end waits for that in vain until its patience ends.
fn forgotten_by(peer: &Peer) -> usize {
    let log = if peer.daemon().is_charon() { peer.log().since(Mark::BEGINNING) } else { String::new() };
    log.matches("noticed IKE_SA rekey collision, abort active rekeying").count()
        + log.matches("notice IKE_SA rekey collision, abort active rekeying").count()
}
