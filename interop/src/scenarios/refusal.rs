//! Peers that do not come together, and what both logs say about it.

use anyhow::{Context, Result, ensure};

use super::topology::{Road, Sites};
use super::{Roles, roadwarrior, site};
use crate::lab::{Lab, Mark};
use crate::peer::{Connection, Daemon, Peer, SwanctlConf, child};

/// A log's first line: a refusal happens soon after the start.
const BEGINNING: Mark = Mark::BEGINNING;

/// The initiator holds another key than the responder.
pub(super) fn wrong_key(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [near, far] = site::connections(&sites);
    let wrong = SwanctlConf::new().connection("site", near.clone()).secret("site", "not the secret", &[]);
    let left = lab.peer(&sites.left.gateway, roles.initiator, &wrong)?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &site::conf(far))?;

    refused(&left, "net")?;
    match roles.responder {
        Daemon::Charon | Daemon::Charon6 => {
            right.log().expect(BEGINNING, &["tried 1 shared key", "left.test", "MAC mismatched"])?
        }
        Daemon::Ferryd => right.log().expect(BEGINNING, &["left.test", "AUTHENTICATION_FAILED"])?,
    };
    left.log().expect(BEGINNING, &["AUTHENTICATION_FAILED"])?;
    none_left(&[&left, &right])?;

    // The right key is all it takes.
    left.load(&site::conf(near))?;
    left.initiate("net")?;
    site::agree(&left, &right)
}

/// The ends share no IKE proposal. Whoever reads the responder's log must see what was offered and what was wanted.
pub(super) fn no_common_ike_proposal(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [near, far] = site::connections(&sites);
    let near = site::conf(near.set("proposals", "aes128-sha256-x25519"));
    let far = site::conf(far.set("proposals", "aes256-sha384-ecp384"));
    let left = lab.peer(&sites.left.gateway, roles.initiator, &near)?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &far)?;

    refused(&left, "net")?;
    right.log().expect(BEGINNING, &["AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519"])?;
    right.log().expect(BEGINNING, &["AES_CBC_256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/ECP_384"])?;
    left.log().expect(BEGINNING, &["NO_PROPOSAL_CHOSEN"])?;
    none_left(&[&left, &right])
}

/// The ends share an IKE proposal but none for ESP: the IKE SA stays, without a child.
pub(super) fn no_common_esp_proposal(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [near, far] =
        [(&sites.left, &sites.right, "aes128gcm16"), (&sites.right, &sites.left, "aes256-sha256")].map(
            |(near, far, esp)| {
                let child = child(near.networks[0], far.networks[0]).set("esp_proposals", esp);
                let connection = Connection::psk(near.id, far.id).between(near.outer[0], far.outer[0]);
                site::conf(connection.child("net", child))
            },
        );
    let left = lab.peer(&sites.left.gateway, roles.initiator, &near)?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &far)?;

    refused(&left, "net")?;
    right.log().expect(BEGINNING, &["ESP:AES_GCM_16_128/NO_EXT_SEQ"])?;
    right.log().expect(BEGINNING, &["ESP:AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ"])?;
    left.log().expect(BEGINNING, &["NO_PROPOSAL_CHOSEN"])?;
    for peer in [&left, &right] {
        let sa = peer.sa()?;
        ensure!(
            sa.state == "ESTABLISHED" && sa.children.is_empty(),
            "not an IKE SA without children: {sa:?}"
        );
    }
    Ok(())
}

/// The client expects another gateway than the one that answers.
pub(super) fn wrong_identity(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let expecting = Connection::psk("alice", "other.test")
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .child("net", child("dynamic", Road::LAN));
    let conf = SwanctlConf::new().connection("home", expecting).secret("home", roadwarrior::SECRET, &[]);
    let gateway = lab.peer(&road.gateway, roles.responder, &roadwarrior::gateway())?;
    let client = lab.peer(road.client()?, roles.initiator, &conf)?;

    refused(&client, "net")?;
    client.log().expect(BEGINNING, &["AUTHENTICATION_FAILED"])?;
    none_left(&[&client, &gateway])
}

/// Initiating must fail, and by a refusal, not by waiting in vain.
pub(super) fn refused(peer: &Peer, child: &str) -> Result<()> {
    let output = peer.try_initiate(child)?;
    ensure!(output.code() == 1, "swanctl did not report the failure: {output}");
    let reason = output.stderr.lines().find_map(|line| line.strip_prefix("initiate failed: "));
    let reason = reason.with_context(|| format!("swanctl gave no reason: {output}"))?;
    ensure!(!reason.contains("within"), "it waited in vain: {output}");
    Ok(())
}

pub(super) fn none_left(peers: &[&Peer]) -> Result<()> {
    for peer in peers {
        ensure!(peer.sas()?.is_empty(), "{} kept {:?}", peer.host().role(), peer.sas()?);
    }
    Ok(())
}
