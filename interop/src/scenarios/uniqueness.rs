//! One identity, two SAs: which of them stay.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::roadwarrior;
use super::topology::Road;
use crate::lab::{Deadline, Lab, until};
use crate::peer::{Connection, Daemon, Peer, SwanctlConf, child};

/// What a gateway does about a second SA of an identity it knows.
struct Case {
    /// `unique` on the gateway.
    gateway: &'static str,
    /// Whether the second client says INITIAL_CONTACT.
    initial_contact: bool,
    stays: Stays,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    Old,
    New,
    Both,
}

const CASES: [Case; 5] = [
    Case { gateway: "no", initial_contact: false, stays: Stays::Both },
    Case { gateway: "no", initial_contact: true, stays: Stays::New },
    Case { gateway: "replace", initial_contact: false, stays: Stays::New },
    Case { gateway: "keep", initial_contact: false, stays: Stays::Old },
    Case { gateway: "never", initial_contact: true, stays: Stays::Both },
];

/// Two clients call themselves alice, under each policy in turn.
pub(super) fn policies(lab: &Lab, ours: Daemon) -> Result<()> {
    let road = Road::build(lab, 2)?;
    let [first, second] = road.clients.as_slice() else { anyhow::bail!("not two clients") };
    let gateway = lab.peer(&road.gateway, ours, &SwanctlConf::new())?;
    let old = lab.peer(first, Daemon::Charon, &client(false))?;
    let new = lab.peer(second, Daemon::Charon, &client(false))?;
    for case in &CASES {
        let round = || -> Result<()> {
            gateway.load(&roadwarrior::gateway_with("unique", case.gateway))?;
            new.load(&client(case.initial_contact))?;
            old.initiate("net")?;
            let before = gateway.sa()?.spis;
            let second = new.try_initiate("net")?;
            ensure!(second.status.success() == (case.stays != Stays::Old), "{second}");
            let number = if case.stays == Stays::Both { 2 } else { 1 };
            settle(&gateway, number)?;
            let old_stays = gateway.sas()?.iter().any(|sa| sa.spis == before);
            ensure!(old_stays == (case.stays != Stays::New), "the wrong one stays: {:?}", gateway.sas()?);
            for peer in [&gateway, &old, &new] {
                let name = if peer.host().role() == "gateway" { "road" } else { "home" };
                // There may be none left to end, which is what is wanted.
                peer.swanctl(&["--terminate", "--ike", name, "--force"])?;
                settle(peer, 0)?;
            }
            Ok(())
        };
        round().with_context(|| {
            let contact = if case.initial_contact { "with" } else { "without" };
            format!("unique = {}, {contact} INITIAL_CONTACT, expecting {:?}", case.gateway, case.stays)
        })?;
    }
    Ok(())
}

/// A client called alice. One that allows any number of SAs does not claim that its newest is its only one.
fn client(initial_contact: bool) -> SwanctlConf {
    let connection = Connection::psk("alice", "gw.test")
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .set("unique", if initial_contact { "no" } else { "never" })
        .child("net", child("dynamic", Road::LAN));
    SwanctlConf::new().connection("home", connection).secret("home", roadwarrior::SECRET, &[])
}

/// Waits until the daemon lists `number` SAs: some are deleted in an exchange of their own.
fn settle(peer: &Peer, number: usize) -> Result<()> {
    let what = format!("{} to list {number} SAs", peer.host().role());
    until(Deadline::after(Duration::from_secs(10)), &what, || Ok((peer.sas()?.len() == number).then_some(())))
}
