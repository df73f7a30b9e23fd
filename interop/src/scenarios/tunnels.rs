//! Methods with TLS, judged by ends that are neither strongSwan's nor ours: wpa_supplicant's client and hostapd's server.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ferry_ike::eap::{Method, TlsSettings};

use super::certificates::{Authority, P256};
use super::refusal::{none_left, refused};
use super::topology::Road;
use crate::lab::{Lab, Mark, round_trip};
use crate::peer::{
    Certified, Connection, Daemon, EapServer, Section, Settings, SwanctlConf, child, end, hostapd,
};

const GATEWAY: &str = "gw.test";
const AAA: &str = "aaa.test";
const ALICE: &str = "alice.test";
const PASSWORD: &str = "a password of alice";
const SHARED: &str = "between-gateway-and-server";
const CHILD: &str = "net";

/// Our server of EAP-TLS, TTLS and PEAP before wpa_supplicant's client: with the right password or certificate, and with
/// wrong ones.
pub(super) fn before_eapol_test(lab: &Lab) -> Result<()> {
    let host = lab.host("aaa")?;
    let folder = host.directory();
    let authority = Authority::root(folder, "CA")?;
    let elsewhere = folder.join("elsewhere");
    std::fs::create_dir_all(&elsewhere)?;
    let stranger = Authority::root(&elsewhere, "CA")?;
    for name in [AAA, ALICE] {
        authority.certify(name, P256)?;
    }
    stranger.certify(ALICE, P256)?;
    let path = |name: &str| folder.join(name).display().to_string();
    let ca = format!(" ca_cert=\"{}\"\n", path("CA.pem"));
    let by_password = |eap: &str, inside: &str, password: &str| {
        format!(
            " eap={eap}\n identity=\"{ALICE}\"\n anonymous_identity=\"somebody\"\n password=\"{password}\"\n{ca} phase2=\"{inside}\"\n"
        )
    };
    let by_certificate = |folder: &Path| {
        let file = |kind: &str| folder.join(format!("{ALICE}.{kind}")).display().to_string();
        format!(
            " eap=TLS\n identity=\"{ALICE}\"\n{ca} client_cert=\"{}\"\n private_key=\"{}\"\n",
            file("pem"),
            file("key")
        )
    };
    let cases = [
        (Method::Ttls, Method::MsChapV2, by_password("TTLS", "autheap=MSCHAPV2", PASSWORD), true),
        (Method::Ttls, Method::Md5, by_password("TTLS", "autheap=MD5", PASSWORD), true),
        (Method::Peap, Method::MsChapV2, by_password("PEAP", "auth=MSCHAPV2", PASSWORD), true),
        (Method::Peap, Method::Gtc, by_password("PEAP", "auth=GTC", PASSWORD), true),
        (Method::Tls, Method::Md5, by_certificate(folder), true),
        (Method::Ttls, Method::MsChapV2, by_password("TTLS", "autheap=MSCHAPV2", "not alice's"), false),
        (Method::Peap, Method::MsChapV2, by_password("PEAP", "auth=MSCHAPV2", "not alice's"), false),
        (Method::Tls, Method::Md5, by_certificate(&elsewhere), false),
    ];
    for (port, (method, inside, network, is_good)) in (1812..).zip(cases) {
        let mut settings = TlsSettings::default();
        (settings.ttls.phase2, settings.peap.phase2) = (inside, inside);
        let certified = Certified::read(folder, AAA, "CA", settings)?;
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let user = (ALICE, PASSWORD.as_bytes().to_vec());
        let server = EapServer::start(&host, at, SHARED, AAA, &[method], user, Some(certified))?;
        let conf = folder.join("eapol_test.conf");
        std::fs::write(&conf, format!("network={{\n key_mgmt=WPA-EAP\n{network}}}\n"))?;
        let (conf, port) = (conf.display().to_string(), port.to_string());
        let output = host.output(&[
            "eapol_test",
            "-c",
            &conf,
            "-a",
            "127.0.0.1",
            "-p",
            &port,
            "-s",
            SHARED,
            "-t",
            "5",
        ])?;
        let told = server.told();
        let verdict = told.iter().find(|line| *line != "asked").map(String::as_str).unwrap_or_default();
        let what = format!("{method} with {inside}: {told:?}\n{output}");
        if is_good {
            ensure!(output.code() == 0 && output.stdout.trim_end().ends_with("SUCCESS"), "{what}");
            ensure!(output.stdout.contains("MPPE keys OK: 1"), "the keys differ: {what}");
            ensure!(verdict == format!("accepted '{ALICE}' by {method}"), "{what}");
        } else {
            ensure!(output.code() != 0 && output.stdout.trim_end().ends_with("FAILURE"), "{what}");
            ensure!(verdict.starts_with("rejected: "), "{what}");
        }
    }
    Ok(())
}

/// A gateway of ours with a certificate that asks hostapd's RADIUS server about its clients.
fn gateway() -> SwanctlConf {
    let client = Section::new().set("auth", "eap-radius").set("eap_id", "%any");
    let ours = end("pubkey", GATEWAY).set("certs", format!("{GATEWAY}.pem"));
    let connection = Connection::between_ends(ours, client)
        .between(Road::GATEWAY, "%any")
        .set("send_cert", "always")
        .set("pools", "road")
        .child(CHILD, child(Road::LAN, "dynamic"));
    SwanctlConf::new().connection("road", connection).pool("road", Section::new().set("addrs", "10.9.0.0/24"))
}

/// A client of ours that knows who the EAP server is.
fn client(method: &str, server: &str, password: &str) -> SwanctlConf {
    let alice = end(method, "a-phone").set("eap_id", ALICE).set("aaa_id", server);
    let connection = Connection::between_ends(alice, end("pubkey", GATEWAY))
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .child(CHILD, child("dynamic", Road::LAN));
    SwanctlConf::new().connection("home", connection).password(ALICE, password)
}

/// Our client of TTLS and PEAP, with our gateway between it and hostapd's server.
pub(super) fn before_hostapd(lab: &Lab) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let folder = road.server.directory();
    let authority = Authority::root(folder, "CA")?;
    authority.certify(AAA, P256)?;
    authority.certify(GATEWAY, P256)?;
    authority.equip(&road.gateway, GATEWAY)?;
    authority.present(road.client()?)?;
    let users = format!("\"{ALICE}\" TTLS,PEAP\n\"{ALICE}\" MSCHAPV2 \"{PASSWORD}\" [2]\n");
    let file = |name: &str| folder.join(name).display().to_string();
    let tls = format!(
        "ca_cert={}\nserver_cert={}\nprivate_key={}\n",
        file("CA.pem"),
        file(&format!("{AAA}.pem")),
        file(&format!("{AAA}.key"))
    );
    let said = hostapd(&road.server, AAA, SHARED, &users, &tls)?;
    let settings = Settings::new()
        .set("charon.plugins.eap-radius.servers.first.address", Road::SERVER)
        .set("charon.plugins.eap-radius.servers.first.secret", SHARED);
    let far = lab.peer_with(&road.gateway, Daemon::Ferryd, &gateway(), &settings)?;
    let near = lab.peer(road.client()?, Daemon::Ferryd, &client("eap-ttls", AAA, PASSWORD))?;
    for method in ["eap-ttls", "eap-peap"] {
        near.load(&client(method, AAA, PASSWORD))?;
        near.initiate(CHILD).with_context(|| format!("by {method}"))?;
        let (ours, theirs) = (near.sa()?, far.sa()?);
        ensure!(ours.spis == theirs.spis, "by {method} the ends disagree: {ours:?} {theirs:?}");
        ensure!(theirs.remote.eap_id.as_deref() == Some(ALICE), "by {method}: {theirs:?}");
        road.client()?.ping("10.9.0.1", Road::SERVER, 1)?;
        round_trip(road.client()?, &road.server, Road::SERVER.parse()?, 20_000)?;
        near.terminate("home")?;
        none_left(&[&near, &far])?;
        let name = method.to_uppercase().replace('-', "_");
        near.log().expect(Mark::BEGINNING, &[&name, "succeeded, MSK established"])?;
    }
    said.expect(Mark::BEGINNING, &["CTRL-EVENT-EAP-SUCCESS"])?;

    near.load(&client("eap-peap", AAA, "not alice's"))?;
    refused(&near, CHILD).context("with a wrong password")?;
    // The server has proven that it is another.
    near.load(&client("eap-peap", "other.test", PASSWORD))?;
    refused(&near, CHILD).context("by another server")?;
    near.log().expect(Mark::BEGINNING, &["is not for 'other.test'"])?;
    none_left(&[&near])
}
