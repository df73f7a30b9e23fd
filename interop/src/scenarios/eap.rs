//! Clients that prove themselves by EAP inside IKE_AUTH.

use anyhow::{Context, Result, ensure};

use super::Roles;
use super::refusal::{none_left, refused};
use super::roadwarrior::SECRET;
use super::topology::Road;
use crate::lab::{Lab, Mark, round_trip};
use crate::peer::{Connection, Daemon, Peer, Section, Settings, SwanctlConf, child, end};

/// Methods by password that strongSwan and ferryd have.
pub(super) const METHODS: [&str; 3] = ["mschapv2", "md5", "gtc"];

const PASSWORD: &str = "a password of alice";
const ADDRESS: &str = "10.9.0.1";

/// A gateway with a pre-shared key, for clients that prove themselves by this method.
fn gateway(method: &str) -> SwanctlConf {
    let client = Section::new().set("auth", format!("eap-{method}")).set("eap_id", "%any");
    road(Connection::between_ends(end("psk", "gw.test"), client))
        .secret("road", SECRET, &[])
        .password("alice", PASSWORD)
}

fn road(connection: Connection) -> SwanctlConf {
    let connection = connection
        .between(Road::GATEWAY, "%any")
        .set("pools", "road")
        .child("net", child(Road::LAN, "dynamic"));
    SwanctlConf::new().connection("road", connection).pool("road", Section::new().set("addrs", "10.9.0.0/24"))
}

/// Its client, whose IKE identity tells nothing about who uses it.
fn client(method: &str, password: &str) -> SwanctlConf {
    let alice = end(&format!("eap-{method}"), "a-phone").set("eap_id", "alice");
    home(Connection::between_ends(alice, end("psk", "gw.test")))
        .secret("home", SECRET, &[])
        .password("alice", password)
}

fn home(connection: Connection) -> SwanctlConf {
    let connection = connection
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .child("net", child("dynamic", Road::LAN));
    SwanctlConf::new().connection("home", connection)
}

/// charon looks for passwords of GTC where it is told to; ours are where all passwords are.
pub(super) fn settings() -> Settings {
    Settings::new().set("charon.plugins.eap-gtc.backend", "generic")
}

/// One method after the other, with traffic.
pub(super) fn by_password(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway_peer = lab.peer_with(&road.gateway, roles.responder, &gateway(METHODS[0]), &settings())?;
    let client_peer = lab.peer(road.client()?, roles.initiator, &client(METHODS[0], PASSWORD))?;
    for method in METHODS {
        gateway_peer.load(&gateway(method))?;
        client_peer.load(&client(method, PASSWORD))?;
        client_peer.initiate("net").with_context(|| format!("by eap-{method}"))?;
        works(&road, &client_peer, &gateway_peer, "a-phone").with_context(|| format!("by eap-{method}"))?;
        client_peer.terminate("home")?;
    }
    none_left(&[&client_peer, &gateway_peer])
}

/// The gateway knows who it is, and traffic flows.
fn works(road: &Road, client: &Peer, gateway: &Peer, ike_id: &str) -> Result<()> {
    let (near, far) = (client.sa()?, gateway.sa()?);
    ensure!(near.spis == far.spis, "the ends disagree: {near:?} {far:?}");
    ensure!(far.remote.id == ike_id && near.remote.id == "gw.test", "identities: {near:?} {far:?}");
    ensure!(far.remote.eap_id.as_deref() == Some("alice"), "the EAP identity is not listed: {far:?}");
    ensure!(near.local.virtual_ips == [ADDRESS], "the client has the addresses {near:?}");
    let pools = gateway.pools()?;
    let leases: Vec<_> = pools.iter().flat_map(|pool| &pool.leases).collect();
    ensure!(
        leases.iter().any(|lease| lease.is_online && lease.identity == "alice" && lease.address == ADDRESS),
        "the lease is not alice's: {leases:?}"
    );
    road.client()?.ping(ADDRESS, Road::SERVER, 3)?;
    road.server.ping(Road::SERVER, ADDRESS, 3)?;
    round_trip(road.client()?, &road.server, Road::SERVER.parse()?, 100_000)?;
    Ok(())
}

/// Each method with a wrong password, and at last with the right one.
pub(super) fn wrong_password(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway_peer = lab.peer_with(&road.gateway, roles.responder, &gateway(METHODS[0]), &settings())?;
    let client_peer = lab.peer(road.client()?, roles.initiator, &client(METHODS[0], "not alice's"))?;
    for method in METHODS {
        gateway_peer.load(&gateway(method))?;
        client_peer.load(&client(method, "not alice's"))?;
        refused(&client_peer, "net").with_context(|| format!("by eap-{method}"))?;
        none_left(&[&client_peer]).with_context(|| format!("by eap-{method}"))?;
        // charon keeps what is half open until its time is over.
        let sas = gateway_peer.sas()?;
        ensure!(sas.iter().all(|sa| sa.state != "ESTABLISHED"), "by eap-{method}: {sas:?}");
        if roles.responder == Daemon::Ferryd {
            let name = match method {
                "mschapv2" => "MSCHAPv2".to_owned(),
                method => method.to_uppercase(),
            };
            let why = format!("EAP-{name} verification of 'alice' failed");
            gateway_peer.log().expect(Mark::BEGINNING, &[&why])?;
        }
    }
    client_peer.load(&client("gtc", PASSWORD))?;
    client_peer.initiate("net")?;
    road.client()?.ping(ADDRESS, Road::SERVER, 1)?;
    Ok(())
}

/// Nothing but the 16 octets that both have (RFC 5998, RFC 4764).
pub(super) fn psk_only(lab: &Lab) -> Result<()> {
    const KEY: &str = "0x000102030405060708090a0b0c0d0e0f";
    const ANOTHER: &str = "0x000102030405060708090a0b0c0d0e00";
    let gateway = |key| {
        let client = Section::new().set("auth", "eap-psk").set("eap_id", "%any");
        road(Connection::between_ends(end("eap-psk", "gw.test"), client)).password("alice", key)
    };
    let alice = end("eap-psk", "a-phone").set("eap_id", "alice");
    let client = home(Connection::between_ends(alice, end("eap", "gw.test"))).password("alice", KEY);
    let road = Road::build(lab, 1)?;
    let gateway_peer = lab.peer(&road.gateway, Daemon::Ferryd, &gateway(ANOTHER))?;
    let client_peer = lab.peer(road.client()?, Daemon::Ferryd, &client)?;

    refused(&client_peer, "net")?;
    none_left(&[&client_peer, &gateway_peer])?;
    gateway_peer.log().expect(Mark::BEGINNING, &["EAP-PSK verification of 'alice' failed"])?;

    gateway_peer.load(&gateway(KEY))?;
    client_peer.initiate("net")?;
    works(&road, &client_peer, &gateway_peer, "a-phone")?;
    gateway_peer.log().expect(Mark::BEGINNING, &["EAP_PSK succeeded, MSK established"])?;
    Ok(())
}
