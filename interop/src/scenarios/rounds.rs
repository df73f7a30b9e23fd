//! Clients that prove themselves in several rounds of authentication (RFC 4739).

use std::rc::Rc;

use anyhow::{Context, Result, ensure};

use super::Roles;
use super::certificates::{Authority, P256};
use super::refusal::{none_left, refused};
use super::roadwarrior::SECRET;
use super::topology::Road;
use crate::lab::{Lab, Mark, round_trip};
use crate::peer::{Connection, Daemon, Peer, Section, SwanctlConf, child, end};

const GATEWAY: &str = "gw.test";
/// The client's machine, and who uses it.
const MACHINE: &str = "pc.test";
const ALICE: &str = "alice.test";
const PASSWORD: &str = "a password of alice";
const ADDRESS: &str = "10.9.0.1";
const CHILD: &str = "net";

/// How the machine proves itself, how alice does after it, and how `swanctl --list-conns` calls that.
const VARIANTS: [(&str, &str, [&str; 2]); 4] = [
    ("pubkey", "eap-mschapv2", ["public key", "EAP_MSCHAPV2"]),
    ("psk", "eap-md5", ["pre-shared key", "EAP_MD5"]),
    ("pubkey", "pubkey", ["public key", "public key"]),
    ("eap-md5", "eap-mschapv2", ["EAP_MD5", "EAP_MSCHAPV2"]),
];

fn with_certificate(round: Section, auth: &str, name: &str) -> Section {
    if auth == "pubkey" { round.set("certs", format!("{name}.pem")) } else { round }
}

/// A round of a client that is `name`.
fn ours(auth: &str, name: &str) -> Section {
    let round = if auth.starts_with("eap") { end(auth, name).set("eap_id", name) } else { end(auth, name) };
    with_certificate(round, auth, name)
}

/// A round of a gateway's client that has to be `name`.
fn theirs(auth: &str, name: &str) -> Section {
    if auth.starts_with("eap") {
        Section::new().set("auth", auth).set("eap_id", name)
    } else {
        end(auth, name)
    }
}

/// How the gateway proves itself: by certificate, unless there is a pre-shared key.
fn of_gateway(first: &str) -> &'static str {
    if first == "psk" { "psk" } else { "pubkey" }
}

fn secrets(conf: SwanctlConf, password: &str) -> SwanctlConf {
    conf.secret("road", SECRET, &[]).password(ALICE, password).password(MACHINE, "a password of the machine")
}

fn gateway(first: &str, second: &str) -> SwanctlConf {
    let own = with_certificate(end(of_gateway(first), GATEWAY), of_gateway(first), GATEWAY);
    let connection = Connection::between_ends(own, theirs(first, MACHINE))
        .round("remote2", theirs(second, ALICE))
        .between(Road::GATEWAY, "%any")
        .set("send_cert", "always")
        .set("pools", "road")
        .child(CHILD, child(Road::LAN, "dynamic"));
    let conf = SwanctlConf::new().connection("road", connection);
    secrets(conf.pool("road", Section::new().set("addrs", "10.9.0.0/24")), PASSWORD)
}

fn client(first: &str, second: Option<&str>, password: &str) -> SwanctlConf {
    let mut connection = Connection::between_ends(ours(first, MACHINE), end(of_gateway(first), GATEWAY));
    if let Some(second) = second {
        connection = connection.round("local2", ours(second, ALICE));
    }
    let connection = connection
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .child(CHILD, child("dynamic", Road::LAN));
    secrets(SwanctlConf::new().connection("home", connection), password)
}

/// Two rounds of the client, in every combination; then none but the first, and a wrong password in the second.
pub(super) fn of_client(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let authority = Authority::root(road.gateway.directory(), "CA")?;
    for (host, names) in [(&road.gateway, &[GATEWAY][..]), (road.client()?, &[MACHINE, ALICE])] {
        authority.present(host)?;
        for name in names {
            authority.certify(name, P256)?;
            authority.equip(host, name)?;
        }
    }
    let (first, second, _) = VARIANTS[0];
    let far = lab.peer(&road.gateway, roles.responder, &gateway(first, second))?;
    let near = lab.peer(road.client()?, roles.initiator, &client(first, Some(second), PASSWORD))?;
    for (first, second, words) in VARIANTS {
        far.load(&gateway(first, second))?;
        near.load(&client(first, Some(second), PASSWORD))?;
        goes(&road, [&near, &far], second, words).with_context(|| format!("{first} and then {second}"))?;
    }

    let (first, second, _) = VARIANTS[0];
    far.load(&gateway(first, second))?;
    near.load(&client(first, None, PASSWORD))?;
    refused(&near, CHILD).context("one round where two are asked for")?;
    near.load(&client(first, Some(second), "not alice's"))?;
    refused(&near, CHILD).context("with a wrong password in the second round")?;
    none_left(&[&near])?;
    if roles.responder == Daemon::Ferryd {
        far.log().expect(Mark::BEGINNING, &["no matching peer config found", MACHINE])?;
        far.log().expect(Mark::BEGINNING, &["EAP-MSCHAPv2 verification of 'alice.test' failed"])?;
    }
    Ok(())
}

fn goes(road: &Road, [near, far]: [&Rc<Peer>; 2], second: &str, words: [&str; 2]) -> Result<()> {
    for (peer, end) in [(near, "local"), (far, "remote")] {
        let listed = peer.swanctl(&["--list-conns"])?.success()?.stdout;
        let rounds = listed.lines().filter(|line| line.trim_start().starts_with(&format!("{end} ")));
        let rounds: Vec<_> = rounds.map(str::trim).collect();
        let is_listed = |(line, word): (&&str, &&str)| line.contains(word);
        ensure!(
            rounds.len() == 2 && rounds.iter().zip(&words).all(is_listed),
            "the rounds are not listed as {words:?}: {listed}"
        );
    }
    near.initiate(CHILD)?;
    let (ours, theirs) = (near.sa()?, far.sa()?);
    ensure!(ours.spis == theirs.spis, "the ends disagree: {ours:?} {theirs:?}");
    ensure!(ours.remote.id == GATEWAY && ours.local.id == ALICE, "identities: {ours:?}");
    ensure!(theirs.remote.id == ALICE && theirs.local.id == GATEWAY, "identities: {theirs:?}");
    let is_eap = second.starts_with("eap");
    ensure!(!is_eap || theirs.remote.eap_id.as_deref().unwrap_or(ALICE) == ALICE, "EAP identity: {theirs:?}");
    ensure!(ours.local.virtual_ips == [ADDRESS], "the client has the addresses {ours:?}");
    road.client()?.ping(ADDRESS, Road::SERVER, 1)?;
    round_trip(road.client()?, &road.server, Road::SERVER.parse()?, 20_000)?;
    near.terminate("home")?;
    none_left(&[near, far])
}
