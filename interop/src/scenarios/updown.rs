//! Scripts that are told of children.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::topology::Road;
use super::{Roles, roadwarrior};
use crate::lab::{Deadline, Host, Lab, until};
use crate::peer::{Connection, Section, Settings, SwanctlConf, child};

/// What a script was told at one time.
type Told = BTreeMap<String, String>;

/// A script that writes down what it is told, all at once.
fn script(host: &Host) -> Result<PathBuf> {
    let path = host.directory().join("updown.sh");
    let folder = host.directory().display();
    let text = format!(
        "#!/bin/sh\necho told of $PLUTO_CONNECTION\nenv | grep ^PLUTO_ | sort > {folder}/told.new\n\
         mv {folder}/told.new {folder}/told-$PLUTO_VERB\n"
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// Waits for what the script was told, and forgets it.
fn told(host: &Host, verb: &str) -> Result<Told> {
    let path = host.directory().join(format!("told-{verb}"));
    let what = format!("the script of {} to be told {verb}", host.role());
    let deadline = Deadline::after(Duration::from_secs(15));
    let text = until(deadline, &what, || Ok(read(&path)))?;
    fs::remove_file(&path)?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// A client and its gateway have a script each, which hear of the same things.
pub(super) fn told_at_both_ends(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (gateway_host, client_host) = (&road.gateway, road.client()?);
    let scripts = [script(gateway_host)?, script(client_host)?].map(|path| format!("sh {}", path.display()));
    let [at_gateway, at_client] = &scripts;
    let net = child(Road::LAN, "dynamic").set("updown", at_gateway).set("hostaccess", "yes");
    let offering = Connection::psk("gw.test", "alice")
        .between(Road::GATEWAY, "%any")
        .set("pools", "road")
        .child("lan", net);
    let gateway = SwanctlConf::new()
        .connection("road", offering)
        .secret("road", roadwarrior::SECRET, &[])
        .pool("road", Section::new().set("addrs", "10.9.0.0/24").set("dns", Road::SERVER));
    let asking = Connection::psk("alice", "gw.test")
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .child("net", child("dynamic", Road::LAN).set("updown", at_client));
    let client = SwanctlConf::new().connection("home", asking).secret("home", roadwarrior::SECRET, &[]);
    let _gateway = lab.peer(gateway_host, roles.responder, &gateway)?;
    let tells_dns = Settings::new().set("charon.plugins.updown.dns_handler", "yes");
    let client = lab.peer_with(client_host, roles.initiator, &client, &tells_dns)?;

    client.initiate("net")?;
    let (near, far) = (told(client_host, "up-client")?, told(gateway_host, "up-client")?);
    mirror(&near, &far)?;
    for (told, name, value) in [
        (&near, "PLUTO_CONNECTION", "net"),
        (&near, "PLUTO_INTERFACE", "eth"),
        (&near, "PLUTO_MY_SOURCEIP", "10.9.0.1"),
        (&near, "PLUTO_MY_SOURCEIP4_1", "10.9.0.1"),
        (&near, "PLUTO_UDP_ENC", "4500"),
        (&near, "PLUTO_DNS4_1", Road::SERVER),
        (&far, "PLUTO_CONNECTION", "lan"),
        (&far, "PLUTO_INTERFACE", "wan"),
        (&far, "PLUTO_PEER_SOURCEIP", "10.9.0.1"),
        (&far, "PLUTO_HOST_ACCESS", "1"),
        (&far, "PLUTO_PROTO", "esp"),
        (&far, "PLUTO_VERSION", "1.1"),
    ] {
        ensure!(told.get(name).is_some_and(|told| told == value), "{name} is not {value}: {told:?}");
    }
    // Not told again when the child gets other keys.
    client.swanctl(&["--rekey", "--child", "net"])?.success()?;
    client_host.ping("10.9.0.1", Road::SERVER, 2)?;
    client.terminate("home")?;
    let (near, far) = (told(client_host, "down-client")?, told(gateway_host, "down-client")?);
    mirror(&near, &far)?;
    for host in [client_host, gateway_host] {
        ensure!(read(&host.directory().join("told-up-client")).is_none(), "a rekeyed child was told of");
    }
    // A daemon that ends takes back what scripts were told.
    client.initiate("net")?;
    told(client_host, "up-client")?;
    client.stop()?;
    told(client_host, "down-client").context("when the daemon has ended")?;
    Ok(())
}

/// What one end says of itself the other says of its peer.
fn mirror(near: &Told, far: &Told) -> Result<()> {
    for name in ["ID", "CLIENT", "PROTOCOL", "PORT"] {
        for (a, b) in [("MY", "PEER"), ("PEER", "MY")] {
            let [a, b] = [near.get(&format!("PLUTO_{a}_{name}")), far.get(&format!("PLUTO_{b}_{name}"))];
            ensure!(
                a.is_some() && a == b,
                "{name}: {a:?} at one end, {b:?} at the other:\n{near:?}\n{far:?}"
            );
        }
    }
    let only_one = ["PLUTO_MY_SOURCEIP", "PLUTO_PEER_SOURCEIP", "PLUTO_HOST_ACCESS", "PLUTO_DNS"];
    let names = |told: &Told| {
        let names = told.keys().filter(|name| !only_one.iter().any(|only| name.starts_with(only)));
        names.cloned().collect::<Vec<_>>()
    };
    ensure!(names(near) == names(far), "one end says more than the other:\n{near:?}\n{far:?}");
    Ok(())
}
