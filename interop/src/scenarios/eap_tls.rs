//! Clients that prove themselves inside TLS: EAP-TLS by a certificate, EAP-TTLS by a password.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};

use super::Roles;
use super::certificates::{Authority, P256};
use super::refusal::{none_left, refused};
use super::topology::Road;
use crate::lab::{Lab, Mark, round_trip};
use crate::peer::{Connection, Daemon, Peer, Section, Settings, SwanctlConf, child, end};

const ALICE: &str = "alice.test";
const GATEWAY: &str = "gw.test";
const PASSWORD: &str = "a password of alice";
const ADDRESS: &str = "10.9.0.1";
const CHILD: &str = "net";

/// A gateway that proves itself by its certificate, in IKE or by EAP alone, to clients of this method.
fn gateway(auth: &str, method: &str) -> SwanctlConf {
    let ours = end(auth, GATEWAY).set("certs", format!("{GATEWAY}.pem"));
    let client = Section::new().set("auth", method).set("eap_id", "%any");
    let connection = Connection::between_ends(ours, client)
        .between(Road::GATEWAY, "%any")
        .set("pools", "road")
        .child(CHILD, child(Road::LAN, "dynamic"));
    SwanctlConf::new()
        .connection("road", connection)
        .pool("road", Section::new().set("addrs", "10.9.0.0/24"))
        .password(ALICE, PASSWORD)
}

/// Its client, who says that it is `name`, with the certificate of alice if it wants one.
fn client(auth: &str, method: &str, name: &str) -> SwanctlConf {
    let mut ours = end(method, "a-phone").set("eap_id", name);
    if method == "eap-tls" {
        ours = ours.set("certs", format!("{ALICE}.pem"));
    }
    let theirs = end(if auth == "pubkey" { "pubkey" } else { "eap" }, GATEWAY);
    let connection = Connection::between_ends(ours, theirs)
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .child(CHILD, child("dynamic", Road::LAN));
    SwanctlConf::new().connection("home", connection).password(ALICE, PASSWORD)
}

/// Two peers that trust one authority.
struct Stage {
    road: Road,
    gateway: Rc<Peer>,
    client: Rc<Peer>,
}

impl Stage {
    fn set(lab: &Lab, roles: Roles, settings: &Settings) -> Result<Self> {
        let road = Road::build(lab, 1)?;
        let authority = Authority::root(road.gateway.directory(), "CA")?;
        for (host, name) in [(&road.gateway, GATEWAY), (road.client()?, ALICE)] {
            authority.present(host)?;
            authority.certify(name, P256)?;
            authority.equip(host, name)?;
        }
        let (auth, method) = ("pubkey", "eap-tls");
        let gateway = lab.peer_with(&road.gateway, roles.responder, &gateway(auth, method), settings)?;
        let client =
            lab.peer_with(road.client()?, roles.initiator, &client(auth, method, ALICE), settings)?;
        Ok(Self { road, gateway, client })
    }

    /// Connects by a method, has traffic, and ends it.
    fn goes(&self, auth: &str, method: &str) -> Result<()> {
        self.gateway.load(&gateway(auth, method))?;
        self.client.load(&client(auth, method, ALICE))?;
        self.client.initiate(CHILD)?;
        let (near, far) = (self.client.sa()?, self.gateway.sa()?);
        ensure!(near.spis == far.spis, "the ends disagree: {near:?} {far:?}");
        ensure!(near.remote.id == GATEWAY && far.remote.id == "a-phone", "identities: {near:?} {far:?}");
        ensure!(far.remote.eap_id.as_deref() == Some(ALICE), "the EAP identity is not listed: {far:?}");
        ensure!(near.local.virtual_ips == [ADDRESS], "the client has the addresses {near:?}");
        self.road.client()?.ping(ADDRESS, Road::SERVER, 2)?;
        round_trip(self.road.client()?, &self.road.server, Road::SERVER.parse()?, 50_000)?;
        self.client.terminate("home")?;
        none_left(&[&self.client, &self.gateway])
    }
}

/// EAP-TLS and EAP-TTLS, with a gateway that proves itself in IKE, and by EAP alone (RFC 5998).
pub(super) fn in_turn(lab: &Lab, roles: Roles) -> Result<()> {
    // Small packets: flights go in several.
    let settings = Settings::new()
        .set("charon.plugins.eap-tls.fragment_size", 400)
        .set("charon.plugins.eap-ttls.fragment_size", 400)
        .set("charon.plugins.eap-ttls.phase2_method", "md5");
    let stage = Stage::set(lab, roles, &settings)?;
    for (auth, method) in
        [("pubkey", "eap-tls"), ("pubkey", "eap-ttls"), ("eap-tls", "eap-tls"), ("eap-ttls", "eap-ttls")]
    {
        stage.goes(auth, method).with_context(|| format!("by {method}, the gateway by {auth}"))?;
    }
    Ok(())
}

/// TLS 1.3 (RFC 9190), which strongSwan has had in full since 5.9.10.
pub(super) fn with_tls_1_3(lab: &Lab, roles: Roles) -> Result<()> {
    let settings = Settings::new()
        .set("charon.tls.version_min", 1.3)
        .set("charon.tls.version_max", 1.3)
        .set("charon.plugins.eap-ttls.phase2_method", "md5");
    let stage = Stage::set(lab, roles, &settings)?;
    for method in ["eap-tls", "eap-ttls"] {
        stage.goes("pubkey", method).with_context(|| format!("by {method}"))?;
    }
    for peer in [&stage.gateway, &stage.client] {
        if peer.daemon() == Daemon::Ferryd {
            peer.log().expect(Mark::BEGINNING, &["negotiated TLSv1_3", "in EAP_TLS"])?;
            peer.log().expect(Mark::BEGINNING, &["negotiated TLSv1_3", "in EAP_TTLS"])?;
        }
    }
    Ok(())
}

/// A client that says it is somebody else than its certificate does, one with a certificate of another authority, and at
/// last the right one.
pub(super) fn refusals(lab: &Lab, roles: Roles) -> Result<()> {
    let stage = Stage::set(lab, roles, &Settings::new())?;
    let Stage { road, client: peer, gateway: other } = &stage;
    peer.load(&client("pubkey", "eap-tls", "boss.test"))?;
    refused(peer, CHILD).context("as the boss")?;
    none_left(&[peer]).context("as the boss")?;

    let stranger = Authority::root(road.client()?.directory(), "CA")?;
    let with = |authority: &Authority| {
        authority.certify(ALICE, P256)?;
        authority.equip(road.client()?, ALICE)?;
        peer.swanctl(&["--load-creds", "--clear", "--noprompt"])?.success()?;
        peer.load(&client("pubkey", "eap-tls", ALICE))
    };
    with(&stranger)?;
    refused(peer, CHILD).context("of another authority")?;
    none_left(&[peer]).context("of another authority")?;
    if roles.responder == Daemon::Ferryd {
        other.log().expect(Mark::BEGINNING, &["the client is not believed", ALICE])?;
    }
    Ok(())
}
