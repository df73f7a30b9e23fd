//! A gateway that asks RADIUS servers about its clients, and strangers that judge EAP-PSK.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ferry_ike::eap::Method;

use super::refusal::{none_left, refused};
use super::roadwarrior::SECRET;
use super::topology::Road;
use crate::lab::{Deadline, Host, Lab, Mark, lose_requests, round_trip, take_requests, until};
use crate::peer::{
    Connection, Daemon, EapServer, FreeRadius, IkeSa, Peer, Section, Settings, SwanctlConf, child, end,
    hostapd,
};

const PASSWORD: &str = "a password of alice";
/// What the gateway and the servers share.
const SHARED: &str = "between-gateway-and-server";
/// What the gateway and those who may end sessions share.
const DAE: &str = "between-gateway-and-operator";
/// The gateway as servers see it, and where a second server is.
const INSIDE: &str = "10.1.0.1";
const SECOND: &str = "10.1.0.11";
/// The address that the server gives to alice.
const GIVEN: &str = "10.9.0.77";
const DNS: &str = "10.1.0.53";
const CHILD: &str = "net";

fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A gateway with a pre-shared key that asks RADIUS about its clients, and gives them what that gives.
fn gateway() -> SwanctlConf {
    let client = Section::new().set("auth", "eap-radius").set("eap_id", "%any");
    let connection = Connection::between_ends(end("psk", "gw.test"), client)
        .between(Road::GATEWAY, "%any")
        .set("pools", "radius")
        // charon takes it off what a server says of the session.
        .set("over_time", "1s")
        .child(CHILD, child(Road::LAN, "dynamic"));
    SwanctlConf::new().connection("road", connection).secret("road", SECRET, &[])
}

fn client(method: &str, password: &str) -> SwanctlConf {
    let alice = end(method, "a-phone").set("eap_id", "alice");
    let connection = Connection::between_ends(alice, end("psk", "gw.test"))
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .set("over_time", "1s")
        .child(CHILD, child("dynamic", Road::LAN));
    SwanctlConf::new().connection("home", connection).secret("home", SECRET, &[]).password("alice", password)
}

fn key(name: &str) -> String {
    format!("charon.plugins.eap-radius.{name}")
}

fn settings() -> Settings {
    Settings::new().set(&key("servers.first.address"), Road::SERVER).set(&key("servers.first.secret"), SHARED)
}

/// alice as the server knows her, with what else it says of her.
fn users(more: &str) -> String {
    format!(
        "alice Cleartext-Password := \"{PASSWORD}\"\n\tFramed-IP-Address = {GIVEN},\n\tMS-Primary-DNS-Server = {DNS},\n\
         \tClass = \"staff\"{more}\n"
    )
}

struct Stage {
    road: Road,
    server: FreeRadius,
    gateway: Rc<Peer>,
    client: Rc<Peer>,
}

impl Stage {
    fn set(lab: &Lab, ours: Daemon, settings: &Settings, users: &str) -> Result<Self> {
        let road = Road::build(lab, 1)?;
        let server = FreeRadius::start(&road.server, Road::SERVER, INSIDE, SHARED, users)?;
        let gateway = lab.peer_with(&road.gateway, ours, &gateway(), settings)?;
        let client = lab.peer(road.client()?, Daemon::Charon, &client("eap-mschapv2", PASSWORD))?;
        Ok(Self { road, server, gateway, client })
    }

    fn connect(&self) -> Result<IkeSa> {
        self.client.initiate(CHILD)?;
        let (near, far) = (self.client.sa()?, self.gateway.sa()?);
        ensure!(near.spis == far.spis, "the ends disagree: {near:?} {far:?}");
        ensure!(near.local.virtual_ips == [GIVEN], "the client has the addresses {near:?}");
        ensure!(far.remote.eap_id.as_deref() == Some("alice"), "the EAP identity is not listed: {far:?}");
        Ok(far)
    }
}

/// One method after the other, with the address, the DNS server and the accounts of the server.
pub(super) fn accepted(lab: &Lab, ours: Daemon) -> Result<()> {
    const BYTES: usize = 300_000;
    let settings = settings()
        .set(&key("accounting"), "yes")
        .set(&key("accounting_interval"), "1s")
        .set(&key("forward.radius_to_ike"), "Reply-Message");
    let welcome = users(",\n\tReply-Message = \"welcome\"");
    let Stage { road, server, gateway, client: peer } = &Stage::set(lab, ours, &settings, &welcome)?;
    for method in ["eap-mschapv2", "eap-md5"] {
        peer.load(&client(method, PASSWORD))?;
        peer.initiate(CHILD).with_context(|| format!("by {method}"))?;
        let (near, far) = (peer.sa()?, gateway.sa()?);
        ensure!(near.spis == far.spis, "the ends disagree: {near:?} {far:?}");
        ensure!(near.local.virtual_ips == [GIVEN], "the client has the addresses {near:?}");
        ensure!(far.remote.eap_id.as_deref() == Some("alice"), "the EAP identity is not listed: {far:?}");
        road.client()?.ping(GIVEN, Road::SERVER, 2)?;
        road.server.ping(Road::SERVER, GIVEN, 2)?;
        if method == "eap-mschapv2" {
            round_trip(road.client()?, &road.server, Road::SERVER.parse()?, BYTES)?;
            server.wait_for("Interim-Update")?;
            // What SAs have carried that are gone is in the account, and the session is the same.
            for (kind, name) in [("--child", CHILD), ("--ike", "home")] {
                let before = peer.sa()?;
                peer.swanctl(&["--rekey", kind, name])?.success()?;
                until(patience(), "the rekeying to be over", || {
                    let (near, far) = (peer.sas()?, gateway.sas()?);
                    let ([near], [far]) = (near.as_slice(), far.as_slice()) else { return Ok(None) };
                    let ([child], [_]) = (near.children.as_slice(), far.children.as_slice()) else {
                        return Ok(None);
                    };
                    let was = before.children.first().map(|child| &child.inbound.spi);
                    let is_new = near.spis != before.spis || Some(&child.inbound.spi) != was;
                    Ok((is_new && near.spis == far.spis && child.state == "INSTALLED").then_some(()))
                })?;
                round_trip(road.client()?, &road.server, Road::SERVER.parse()?, BYTES)?;
            }
            peer.terminate("home")?;
            server.wait_for("Stop")?;
        }
    }
    // What the server has said to alice, her client has heard.
    peer.log().expect(Mark::BEGINNING, &["parsed IKE_AUTH response", "N(RADIUS)"])?;
    let resolv_conf = std::fs::read_to_string(road.client()?.directory().join("resolv.conf"))?;
    ensure!(resolv_conf.contains(&format!("nameserver {DNS}")), "no DNS server arrived: {resolv_conf:?}");

    let asked = server.requests()?;
    let first = asked.first().context("the server was asked nothing")?;
    for (name, expected) in [
        ("User-Name", "alice"),
        ("NAS-Identifier", "strongSwan"),
        ("NAS-Port-Type", "Virtual"),
        ("Service-Type", "Framed-User"),
        ("NAS-Port-Id", "road"),
        ("NAS-IP-Address", Road::GATEWAY),
    ] {
        ensure!(first.get(name) == Some(expected), "{name} should be {expected} in {first:?}");
    }
    let (start, stop) = (server.wait_for("Start")?, server.wait_for("Stop")?);
    for record in [&start, &server.wait_for("Interim-Update")?, &stop] {
        for (name, expected) in
            [("User-Name", "alice"), ("Framed-IP-Address", GIVEN), ("NAS-Port-Id", "road")]
        {
            ensure!(record.get(name) == Some(expected), "{name} should be {expected} in {record:?}");
        }
        let session = record.get("Acct-Session-Id");
        ensure!(session.is_some() && session == start.get("Acct-Session-Id"), "another session: {record:?}");
        let from = record.get("Calling-Station-Id").unwrap_or_default();
        ensure!(from.starts_with(&format!("{}[", Road::OUTSIDE)), "the client is elsewhere: {record:?}");
    }
    ensure!(stop.get("Acct-Terminate-Cause") == Some("User-Request"), "why: {stop:?}");
    let bytes = 3 * u64::try_from(BYTES)?;
    for octets in ["Acct-Input-Octets", "Acct-Output-Octets"] {
        let counted = stop.number(octets)?;
        ensure!((bytes..bytes * 2).contains(&counted), "{octets} of {bytes}: {stop:?}");
    }
    ensure!(
        stop.number("Acct-Input-Packets")? > 100 && stop.number("Acct-Output-Packets")? > 100,
        "{stop:?}"
    );
    ensure!(stop.number("Acct-Session-Time")? < 30, "{stop:?}");
    Ok(())
}

/// Who keeps no account of its sessions has none.
pub(super) fn unaccounted(lab: &Lab, ours: Daemon) -> Result<()> {
    let settings = settings()
        .set(&key("accounting"), "yes")
        .set(&key("accounting_interval"), "1s")
        .set(&key("retransmit_tries"), 2)
        .set(&key("retransmit_timeout"), "0.5");
    let mut stage = Stage::set(lab, ours, &settings, &users(""))?;
    stage.connect()?;
    stage.server.wait_for("Interim-Update")?;
    stage.server.kill()?;
    until(patience(), "the session to end", || Ok(stage.client.sas()?.is_empty().then_some(())))?;
    none_left(&[&stage.gateway])
}

/// A wrong password, an unknown user, and at last a group that the client is not in.
pub(super) fn rejected(lab: &Lab, ours: Daemon) -> Result<()> {
    let settings = settings().set(&key("class_group"), "yes");
    let Stage { server, gateway: peer, client: other, .. } = &Stage::set(lab, ours, &settings, &users(""))?;
    other.load(&client("eap-mschapv2", "not alice's"))?;
    refused(other, CHILD)?;
    none_left(&[other])?;
    server.log().wait_for(Mark::BEGINNING, &["Login incorrect", "alice"], patience())?;
    if ours == Daemon::Ferryd {
        peer.log().expect(Mark::BEGINNING, &["RADIUS server 'first' rejects 'alice'"])?;
        none_left(&[peer])?;
    }

    let for_group = |group: &str| {
        let client = Section::new().set("auth", "eap-radius").set("eap_id", "%any").set("groups", group);
        let connection = Connection::between_ends(end("psk", "gw.test"), client)
            .between(Road::GATEWAY, "%any")
            .set("pools", "radius")
            .child(CHILD, child(Road::LAN, "dynamic"));
        SwanctlConf::new().connection("road", connection).secret("road", SECRET, &[])
    };
    other.load(&client("eap-mschapv2", PASSWORD))?;
    peer.load(&for_group("admins"))?;
    refused(other, CHILD)?;
    peer.load(&for_group("staff"))?;
    other.initiate(CHILD)?;
    ensure!(peer.sa()?.remote.eap_id.as_deref() == Some("alice"), "{:?}", peer.sa()?);
    Ok(())
}

/// The first server is silent, then gone; the second serves.
pub(super) fn fail_over(lab: &Lab) -> Result<()> {
    let road = Road::build(lab, 1)?;
    road.server.address("lan", &format!("{SECOND}/24"))?;
    let mut first = FreeRadius::start(&road.server, Road::SERVER, INSIDE, SHARED, &users(""))?;
    let second = FreeRadius::start(&road.server, SECOND, INSIDE, SHARED, &users(""))?;
    let settings = settings()
        .set(&key("servers.first.preference"), 10)
        .set(&key("servers.second.address"), SECOND)
        .set(&key("servers.second.secret"), SHARED)
        .set(&key("retransmit_tries"), 2)
        .set(&key("retransmit_timeout"), "1.0");
    let gateway = lab.peer_with(&road.gateway, Daemon::Ferryd, &gateway(), &settings)?;
    let client = lab.peer(road.client()?, Daemon::Charon, &client("eap-mschapv2", PASSWORD))?;
    let asked = |server: &FreeRadius| Ok::<_, anyhow::Error>(server.requests()?.len());

    client.initiate(CHILD)?;
    client.terminate("home")?;
    ensure!(asked(&first)? > 0 && asked(&second)? == 0, "the first one is to be asked");

    // What is sent there is lost, and nobody says so.
    let before = asked(&first)?;
    lose_requests(&road.server, Road::SERVER)?;
    client.initiate(CHILD).context("while the first server is silent")?;
    ensure!(asked(&first)? == before && asked(&second)? > 0, "the second one is to be asked");
    gateway.log().expect(Mark::BEGINNING, &["RADIUS server 'first' does not answer, after 2 tries"])?;
    gateway.log().expect(Mark::BEGINNING, &["RADIUS server 'second' accepts 'alice'"])?;
    client.terminate("home")?;

    // It is remembered for a while; a gateway that knows nothing finds nobody listening there.
    take_requests(&road.server)?;
    first.kill()?;
    gateway.stop()?;
    gateway.start()?;
    gateway.load(&self::gateway())?;
    let mark = gateway.log().mark();
    client.initiate(CHILD).context("while the first server is gone")?;
    gateway.log().expect(mark, &["RADIUS server 'first' has nobody listening there"])?;
    road.client()?.ping(GIVEN, Road::SERVER, 1)?;
    Ok(())
}

/// What `radclient` asks of the gateway.
fn radclient(from: &Host, kind: &str, attributes: &str, secret: &str) -> Result<String> {
    let script = format!("printf '{attributes}' | radclient -x -r 1 -t 2 {INSIDE}:3799 {kind} {secret}");
    let output = from.output(&["sh", "-c", &script])?;
    Ok(output.stdout + &output.stderr)
}

/// A server ends a session that it knows, and nobody else does.
pub(super) fn disconnected(lab: &Lab, ours: Daemon) -> Result<()> {
    let settings = settings()
        .set(&key("accounting"), "yes")
        .set(&key("dae.enable"), "yes")
        .set(&key("dae.listen"), INSIDE)
        .set(&key("dae.secret"), DAE);
    let stage = Stage::set(lab, ours, &settings, &users(""))?;
    let operator = stage.server.host();
    stage.connect()?;
    let start = stage.server.wait_for("Start")?;
    let session = start.get("Acct-Session-Id").context("no session")?.to_owned();

    let answer = radclient(operator, "disconnect", "User-Name=alice\\n", "another-secret")?;
    ensure!(!answer.contains("Received"), "a stranger is answered: {answer}");
    let answer = radclient(operator, "disconnect", "User-Name=bob\\n", DAE)?;
    ensure!(answer.contains("Received Disconnect-NAK"), "bob is not here: {answer}");
    if ours == Daemon::Ferryd {
        ensure!(answer.contains("Session-Context-Not-Found"), "the cause is not told: {answer}");
        let answer = radclient(operator, "disconnect", "Acct-Session-Id=1-1\\n", DAE)?;
        ensure!(answer.contains("Received Disconnect-NAK"), "there is no such session: {answer}");
        let answer = radclient(operator, "disconnect", "NAS-Identifier=strongSwan\\n", DAE)?;
        ensure!(answer.contains("Missing-Attribute"), "all would be disconnected: {answer}");
    }
    ensure!(stage.gateway.sas()?.len() == 1, "somebody was disconnected");

    let which = if ours == Daemon::Ferryd {
        format!("Acct-Session-Id={session}\\n")
    } else {
        "User-Name=alice\\n".into()
    };
    let answer = radclient(operator, "disconnect", &which, DAE)?;
    ensure!(answer.contains("Received Disconnect-ACK"), "it is not disconnected: {answer}");
    until(patience(), "the client to be disconnected", || Ok(stage.client.sas()?.is_empty().then_some(())))?;
    let stop = stage.server.wait_for("Stop")?;
    ensure!(stop.get("Acct-Session-Id") == Some(&session), "another session: {stop:?}");
    if ours == Daemon::Ferryd {
        ensure!(stop.get("Acct-Terminate-Cause") == Some("Admin-Reset"), "why: {stop:?}");
    }
    none_left(&[&stage.gateway])
}

/// The server says how long a session may last: with the acceptance, or afterwards.
pub(super) fn limited(lab: &Lab, ours: Daemon) -> Result<()> {
    let settings = settings()
        .set(&key("dae.enable"), "yes")
        .set(&key("dae.listen"), INSIDE)
        .set(&key("dae.secret"), DAE)
        .set("charon.make_before_break", "yes");
    let stage = Stage::set(lab, ours, &settings, &users(""))?;
    let before = stage.connect()?;
    let answer = radclient(stage.server.host(), "coa", "User-Name=alice\\nSession-Timeout=10\\n", DAE)?;
    ensure!(answer.contains("Received CoA-ACK"), "it is not limited: {answer}");
    stage.client.log().wait_for(
        Mark::BEGINNING,
        &["received AUTH_LIFETIME of", "scheduling reauthentication"],
        patience(),
    )?;
    let after = until(patience(), "the client to authenticate again", || {
        let sas = stage.gateway.sas()?;
        Ok(sas.into_iter().find(|sa| sa.spis != before.spis && sa.state == "ESTABLISHED"))
    })?;
    ensure!(after.remote.eap_id.as_deref() == Some("alice"), "{after:?}");
    let logins = stage.server.log().text().matches("Login OK: [alice]").count();
    ensure!(logins == 2, "alice has logged in {logins} times");
    Ok(())
}

/// The session that a server limits when it lets a client in is authenticated again in time.
pub(super) fn session_timeout(lab: &Lab, ours: Daemon) -> Result<()> {
    let stage = Stage::set(lab, ours, &settings(), &users(",\n\tSession-Timeout = 10"))?;
    let before = stage.connect()?;
    stage.client.log().expect(Mark::BEGINNING, &["received AUTH_LIFETIME of"])?;
    until(patience(), "the client to authenticate again", || {
        let sas = stage.gateway.sas()?;
        Ok(sas.into_iter().find(|sa| sa.spis != before.spis && sa.state == "ESTABLISHED"))
    })?;
    Ok(())
}

/// EAP-PSK with hostapd's server behind our gateway, and our client before it.
pub(super) fn psk_by_hostapd(lab: &Lab) -> Result<()> {
    const KEY: &str = "000102030405060708090a0b0c0d0e0f";
    let road = Road::build(lab, 1)?;
    let said = hostapd(&road.server, "aaa.test", SHARED, &format!("\"alice\" PSK {KEY}\n"), "")?;
    let gateway = {
        let client = Section::new().set("auth", "eap-radius").set("eap_id", "%any");
        let connection = Connection::between_ends(end("psk", "gw.test"), client)
            .between(Road::GATEWAY, "%any")
            .set("pools", "road")
            .child(CHILD, child(Road::LAN, "dynamic"));
        let pool = Section::new().set("addrs", "10.9.0.0/24");
        SwanctlConf::new().connection("road", connection).secret("road", SECRET, &[]).pool("road", pool)
    };
    let gateway = lab.peer_with(&road.gateway, Daemon::Ferryd, &gateway, &settings())?;
    let with = |key: &str| client("eap-psk", key);
    let peer = lab.peer(road.client()?, Daemon::Ferryd, &with("0x000102030405060708090a0b0c0d0e00"))?;
    refused(&peer, CHILD)?;
    none_left(&[&peer, &gateway])?;

    peer.load(&with(&format!("0x{KEY}")))?;
    peer.initiate(CHILD)?;
    let (near, far) = (peer.sa()?, gateway.sa()?);
    ensure!(near.spis == far.spis, "the ends disagree: {near:?} {far:?}");
    ensure!(far.remote.eap_id.as_deref() == Some("alice"), "the EAP identity is not listed: {far:?}");
    road.client()?.ping("10.9.0.1", Road::SERVER, 3)?;
    round_trip(road.client()?, &road.server, Road::SERVER.parse()?, 100_000)?;
    said.expect(Mark::BEGINNING, &["CTRL-EVENT-EAP-SUCCESS"])?;
    gateway
        .log()
        .expect(Mark::BEGINNING, &["RADIUS authentication of 'alice' successful, MSK established"])?;
    peer.log().expect(Mark::BEGINNING, &["EAP_PSK succeeded, MSK established"])?;
    Ok(())
}

/// Our EAP-PSK server, judged by wpa_supplicant's client: the right key, a wrong one, and an unknown user.
pub(super) fn psk_by_eapol_test(lab: &Lab) -> Result<()> {
    let key: Vec<u8> = (0..16).collect();
    let host = lab.host("aaa")?;
    let at: SocketAddr = "127.0.0.1:1812".parse()?;
    let server = EapServer::start(&host, at, SHARED, "aaa.test", &[Method::Psk], ("alice", key), None)?;
    let test = |user: &str, key: &str| {
        let conf = host.directory().join("eapol_test.conf");
        let text =
            format!("network={{\n key_mgmt=WPA-EAP\n eap=PSK\n identity=\"{user}\"\n password={key}\n}}\n");
        std::fs::write(&conf, text)?;
        let conf = conf.display().to_string();
        let command = ["eapol_test", "-c", &conf, "-a", "127.0.0.1", "-p", "1812", "-s", SHARED, "-t", "5"];
        host.output(&command)
    };
    let output = test("alice", "000102030405060708090a0b0c0d0e0f")?.success()?;
    ensure!(output.stdout.contains("MPPE keys OK: 1"), "the keys differ: {output}");
    ensure!(output.stdout.trim_end().ends_with("SUCCESS"), "{output}");
    for (user, key) in
        [("alice", "000102030405060708090a0b0c0d0e00"), ("mallory", "000102030405060708090a0b0c0d0e0f")]
    {
        let output = test(user, key)?;
        ensure!(output.code() != 0 && output.stdout.trim_end().ends_with("FAILURE"), "{user}: {output}");
    }
    let told = server.told();
    let verdicts: Vec<&String> = told.iter().filter(|line| !line.starts_with("asked")).collect();
    ensure!(verdicts.first().is_some_and(|line| line.as_str() == "accepted 'alice' by EAP_PSK"), "{told:?}");
    ensure!(verdicts.iter().skip(1).all(|line| line.starts_with("rejected: ")), "{told:?}");
    Ok(())
}
