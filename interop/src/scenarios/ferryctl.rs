//! ferryd and ferryctl together: what an operator has without strongSwan's tools, and what a service manager is told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::site;
use super::topology::Sites;
use crate::lab::{Deadline, Lab, Output, readable};
use crate::peer::{Daemon, Peer};

const PATIENCE: Duration = Duration::from_secs(20);

/// Everything `swanctl` shows of ferryd, `ferryctl` shows in the same words, and it ends and begins tunnels as well.
pub(super) fn same_as_swanctl(lab: &Lab) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [near, far] = site::connections(&sites);
    let peer = lab.peer(&sites.left.gateway, Daemon::Ferryd, &site::conf(near))?;
    lab.peer(&sites.right.gateway, Daemon::Charon, &site::conf(far))?;

    let both = |arguments: &[&str]| -> Result<[Output; 2]> {
        Ok([peer.swanctl(arguments)?.success()?, ferryctl(&peer, lab, arguments)?.success()?])
    };
    let [theirs, ours] = both(&["--load-all", "--noprompt"])?;
    ensure!(theirs.stdout == ours.stdout, "loading again:\n{theirs}\n{ours}");

    let said = ferryctl(&peer, lab, &["--initiate", "--child", "net", "--timeout", "20"])?.success()?;
    ensure!(said.stdout.ends_with("initiate completed successfully\n"), "{said}");
    ensure!(said.stdout.contains("[IKE] initiating IKE_SA site["), "no line of the negotiation: {said}");
    sites.left.host.ping(sites.left.hosts[0], sites.right.hosts[0], 3)?;

    for arguments in [
        &["--list-sas"][..],
        &["--list-sas", "--ike", "nobody"],
        &["--list-sas", "--raw"],
        &["--list-sas", "--pretty"],
        &["--list-conns"],
        &["--list-conns", "--pretty"],
        &["--list-pools", "--leases"],
        &["--list-algs"],
        &["--list-authorities"],
        &["--counters"],
        &["--stats"],
    ] {
        let [theirs, ours] = both(arguments)?;
        ensure!(
            without_numbers(&theirs.stdout) == without_numbers(&ours.stdout),
            "{arguments:?}:\n{theirs}\n{ours}"
        );
    }

    let said = ferryctl(&peer, lab, &["--terminate", "--ike", "site", "--timeout", "20"])?.success()?;
    ensure!(said.stdout.ends_with("terminate completed successfully\n"), "{said}");
    ensure!(peer.sas()?.is_empty(), "the SA is still there after:\n{said}");
    let refused = ferryctl(&peer, lab, &["--initiate", "--child", "nobody"])?;
    ensure!(refused.code() == 1 && refused.stderr.contains("nobody"), "{refused}");
    Ok(())
}

/// A service manager hears READY=1 when ferryd serves, and STOPPING=1 when it is told to end.
pub(super) fn service_manager(lab: &Lab) -> Result<()> {
    let host = lab.host("gateway")?;
    let settings = host.directory().join("strongswan.conf");
    fs::write(&settings, "charon {\n  filelog {\n    stderr {\n      default = 1\n    }\n  }\n}\n")?;
    let path = host.directory().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    let mut command = Command::new(lab.ferryd());
    command.env("STRONGSWAN_CONF", &settings).env("NOTIFY_SOCKET", &path);
    let mut daemon = host.spawn(command)?;

    let told = heard(&manager).context("waiting for READY=1")?;
    ensure!(told.lines().any(|line| line == "READY=1"), "the service manager is told {told:?}");
    // Ready means that commands are served.
    host.succeed(&["swanctl", "--stats"])?;
    let status = daemon.terminate(Deadline::after(PATIENCE))?;
    ensure!(status.success(), "ferryd ended badly: {status}");
    let told = heard(&manager).context("waiting for STOPPING=1")?;
    ensure!(told.lines().any(|line| line == "STOPPING=1"), "the service manager is told {told:?}");
    Ok(())
}

fn heard(manager: &UnixDatagram) -> Result<String> {
    ensure!(readable(manager, Deadline::after(PATIENCE))?, "nothing is told within {PATIENCE:?}");
    let mut octets = [0; 4096];
    let length = manager.recv(&mut octets)?;
    Ok(String::from_utf8_lossy(octets.get(..length).unwrap_or_default()).into_owned())
}

pub(super) fn ferryctl(peer: &Peer, lab: &Lab, arguments: &[&str]) -> Result<Output> {
    let program = lab.ferryd().with_file_name("ferryctl");
    let program = program.to_str().context("the target directory's name is not UTF-8")?;
    peer.host().output(&[&[program], arguments].concat())
}

/// Time goes on between two looks.
fn without_numbers(text: &str) -> String {
    let mut shape = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '0'..='9' if shape.ends_with('0') => {}
            '0'..='9' => shape.push('0'),
            ' ' if shape.ends_with(' ') => {} // columns are as wide as their numbers
            other => shape.push(other),
        }
    }
    shape
}
