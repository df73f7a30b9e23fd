//! Detours on the way to an SA: cookies, and a key exchange guessed wrong.

use anyhow::{Result, ensure};

use super::topology::{Road, Sites};
use super::{Roles, roadwarrior, site};
use crate::lab::{Lab, Mark, lose_outgoing};
use crate::peer::{Daemon, Peer, Settings};

const BEGINNING: Mark = Mark::BEGINNING;

/// A gateway with half-open SAs asks the next client to prove that it can receive at its address.
pub(super) fn cookie(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 2)?;
    let [first, second] = road.clients.as_slice() else { anyhow::bail!("not two clients") };
    let threshold = Settings::new().set("charon.cookie_threshold", 1);
    // A client whose second message is lost leaves the gateway with an SA that stays half open.
    lose_outgoing(first, 4500)?;
    let gateway = lab.peer_with(&road.gateway, roles.responder, &roadwarrior::gateway(), &threshold)?;
    let stuck = lab.peer(first, Daemon::Charon, &roadwarrior::client("alice"))?;
    let bob = roadwarrior::client("bob");
    let client = lab.peer_with(second, roles.initiator, &bob, &quick_to_repeat())?;

    let output = stuck.swanctl(&["--initiate", "--child", "net", "--timeout", "1"])?;
    ensure!(output.code() == 1, "nothing should have come of this: {output}");
    stuck.log().expect(BEGINNING, &["parsed IKE_SA_INIT response 0 [ SA KE No"])?;

    client.initiate("net")?;
    says(&client, "parsed IKE_SA_INIT response 0 [ N(COOKIE) ]")?;
    says(&client, "generating IKE_SA_INIT request 0 [ N(COOKIE) SA KE No")?;
    says(&gateway, "generating IKE_SA_INIT response 0 [ N(COOKIE) ]")?;
    says(&gateway, "parsed IKE_SA_INIT request 0 [ N(COOKIE) SA KE No")?;
    second.ping("10.9.0.1", Road::SERVER, 2)?;
    Ok(())
}

/// What a client needs for being asked for a cookie on a line without delay. charon (seen with 5.9.8) drops the answer to
/// its second request if it arrives while the demand for a cookie is still being worked on: both have message ID 0
/// ("ignoring request with ID 0, already processing"). It then asks again, and by default does so after four seconds.
pub(super) fn quick_to_repeat() -> Settings {
    Settings::new().set("charon.retransmit_timeout", "0.5")
}

/// The responder takes another key exchange method than the one the initiator guessed.
pub(super) fn invalid_ke(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [near, far] = site::connections(&sites);
    let near = site::conf(near.set("proposals", "aes256-sha256-x25519-ecp384"));
    let far = site::conf(far.set("proposals", "aes256-sha256-ecp384"));
    let left = lab.peer(&sites.left.gateway, roles.initiator, &near)?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &far)?;

    left.initiate("net")?;
    site::agree(&left, &right)?;
    ensure!(left.sa()?.suite.ends_with("/ECP_384"), "{:?}", left.sa()?);
    says(&left, "parsed IKE_SA_INIT response 0 [ N(INVAL_KE) ]")?;
    says(&right, "generating IKE_SA_INIT response 0 [ N(INVAL_KE) ]")?;
    sites.left.host.ping(sites.left.hosts[0], sites.right.hosts[0], 2)?;
    Ok(())
}

/// What strongSwan's log says of the messages that passed is evidence for both ends.
fn says(peer: &Peer, words: &str) -> Result<()> {
    match peer.daemon() {
        Daemon::Charon | Daemon::Charon6 => peer.log().expect(BEGINNING, &[words]).map(drop),
        Daemon::Ferryd => Ok(()),
    }
}
