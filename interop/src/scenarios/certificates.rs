//! Peers that prove themselves by certificates of an authority that is made for the occasion.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::refusal::{none_left, refused};
use super::topology::Road;
use super::{Roles, eap};
use crate::lab::{Host, Lab, Mark, round_trip};
use crate::peer::{Connection, Daemon, Section, Settings, SwanctlConf, child, end};

const ADDRESS: &str = "10.9.0.1";

/// Keys as `openssl genpkey` is asked for them.
pub(super) const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub(super) const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
const P521: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
const ED25519: &[&str] = &["-algorithm", "ED25519"];

/// An authority: its certificate and key, in files that `openssl` has made.
pub(super) struct Authority {
    directory: PathBuf,
    name: String,
}

impl Authority {
    /// One that vouches for itself.
    pub(super) fn root(directory: &Path, name: &str) -> Result<Self> {
        let authority = Self { directory: directory.to_owned(), name: name.to_owned() };
        authority.key(name, P256)?;
        let subject = format!("/O=Lab/CN={name}");
        let (key, certificate) = (authority.file(name, "key"), authority.file(name, "pem"));
        let extension = [
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ];
        openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-days", "30", "-subj", &subject])
                .args(extension)
                .arg("-key")
                .arg(key)
                .arg("-out")
                .arg(certificate),
        )?;
        Ok(authority)
    }

    /// One below it.
    pub(super) fn intermediate(&self, name: &str) -> Result<Self> {
        self.issue(name, P256, "basicConstraints=critical,CA:TRUE", 30)?;
        Ok(Self { directory: self.directory.clone(), name: name.to_owned() })
    }

    /// Makes a key and a certificate for the DNS name `name`.
    pub(super) fn certify(&self, name: &str, key: &[&str]) -> Result<()> {
        self.issue(name, key, &format!("subjectAltName=DNS:{name}"), 30)
    }

    /// The same, of yesterday.
    pub(super) fn certify_in_the_past(&self, name: &str, key: &[&str]) -> Result<()> {
        self.issue(name, key, &format!("subjectAltName=DNS:{name}"), -1)
    }

    fn issue(&self, name: &str, key: &[&str], extension: &str, days: i32) -> Result<()> {
        self.key(name, key)?;
        let (request, subject) = (self.file(name, "csr"), format!("/O=Lab/CN={name}"));
        openssl(
            Command::new("openssl")
                .args(["req", "-new", "-subj", &subject, "-addext", extension])
                .arg("-key")
                .arg(self.file(name, "key"))
                .arg("-out")
                .arg(&request),
        )?;
        openssl(
            Command::new("openssl")
                .args([
                    "x509",
                    "-req",
                    "-copy_extensions",
                    "copyall",
                    "-CAcreateserial",
                    "-days",
                    &days.to_string(),
                ])
                .arg("-in")
                .arg(&request)
                .arg("-CA")
                .arg(self.file(&self.name, "pem"))
                .arg("-CAkey")
                .arg(self.file(&self.name, "key"))
                .arg("-out")
                .arg(self.file(name, "pem")),
        )
    }

    fn key(&self, name: &str, key: &[&str]) -> Result<()> {
        openssl(Command::new("openssl").arg("genpkey").args(key).arg("-out").arg(self.file(name, "key")))
    }

    /// What it has made for `name`, of the kind `pem` or `key`.
    pub(super) fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.directory.join(format!("{name}.{kind}"))
    }

    /// Gives `host` the certificate and the key for `name`, where `swanctl` looks for its own.
    pub(super) fn equip(&self, host: &Host, name: &str) -> Result<()> {
        self.copy(host, name, "pem", "x509")?;
        self.copy(host, name, "key", "private")
    }

    /// Gives `host` the certificate of this authority, where `swanctl` looks for authorities'.
    pub(super) fn present(&self, host: &Host) -> Result<()> {
        self.copy(host, &self.name, "pem", "x509ca")
    }

    fn copy(&self, host: &Host, name: &str, kind: &str, folder: &str) -> Result<()> {
        let to = host.directory().join("swanctl").join(folder).join(format!("{name}.{kind}"));
        fs::copy(self.file(name, kind), &to).with_context(|| format!("cannot write {}", to.display()))?;
        Ok(())
    }
}

fn openssl(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot run openssl")?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn own(auth: &str, name: &str) -> Section {
    end(auth, name).set("certs", format!("{name}.pem"))
}

fn gateway(auth: &str) -> SwanctlConf {
    let connection = Connection::between_ends(own(auth, "gw.test"), end(auth, "pc.test"))
        .between(Road::GATEWAY, "%any")
        .set("pools", "road")
        .child("net", child(Road::LAN, "dynamic"));
    SwanctlConf::new().connection("road", connection).pool("road", Section::new().set("addrs", "10.9.0.0/24"))
}

fn client(auth: &str) -> SwanctlConf {
    home(Connection::between_ends(own(auth, "pc.test"), end(auth, "gw.test")))
}

fn home(connection: Connection) -> SwanctlConf {
    let connection = connection
        .set("remote_addrs", Road::GATEWAY)
        .set("vips", "0.0.0.0")
        .child("net", child("dynamic", Road::LAN));
    SwanctlConf::new().connection("home", connection)
}

/// Every kind of key, signed with in every way that both ends know.
pub(super) fn every_key(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (client_host, gateway_host) = (road.client()?, &road.gateway);
    let authority = Authority::root(gateway_host.directory(), "CA")?;
    for host in [client_host, gateway_host] {
        authority.present(host)?;
    }
    let mut peers = None;
    for (auth, key, scheme) in [
        ("pubkey", RSA, "RSA"),
        ("rsa/pss-sha512", RSA, "RSA"),
        ("rsa-sha384", RSA, "RSA"),
        ("pubkey", P256, "ECDSA"),
        ("ecdsa-sha256-sha384", P384, "ECDSA"),
        ("pubkey", P521, "ECDSA"),
        ("pubkey", ED25519, "ED25519"),
    ] {
        authority.certify("gw.test", key)?;
        authority.certify("pc.test", key)?;
        authority.equip(gateway_host, "gw.test")?;
        authority.equip(client_host, "pc.test")?;
        // The authority signs with ECDSA and SHA2-256, which the rules are not about.
        let auth = if auth == "pubkey" { auth.to_owned() } else { format!("ike:{auth}") };
        let (client, gateway) = match &peers {
            None => {
                let gateway = lab.peer(gateway_host, roles.responder, &gateway(&auth))?;
                peers.insert((lab.peer(client_host, roles.initiator, &client(&auth))?, gateway))
            }
            Some(pair) => {
                pair.1.load(&gateway(&auth))?;
                pair.0.load(&client(&auth))?;
                pair
            }
        };
        let said = |what: &'static str| format!("with auth = {auth} and {scheme} keys: {what}");
        client.initiate("net").with_context(|| said("it does not come up"))?;
        let (near, far) = (client.sa()?, gateway.sa()?);
        ensure!(near.spis == far.spis, "{}", said("the ends disagree"));
        ensure!(far.remote.id == "pc.test" && near.remote.id == "gw.test", "{}", said("identities"));
        client_host.ping(ADDRESS, Road::SERVER, 1)?;
        client.terminate("home")?;
    }
    let Some((client, gateway)) = &peers else { return Ok(()) };
    none_left(&[client, gateway])
}

/// A peer that does not know RFC 7427 signs in the older way.
pub(super) fn classic(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (client_host, gateway_host) = (road.client()?, &road.gateway);
    let authority = Authority::root(gateway_host.directory(), "CA")?;
    let old = |daemon: Daemon| {
        let is_old = daemon.is_charon();
        Settings::new().set("charon.signature_authentication", if is_old { "no" } else { "yes" })
    };
    for (host, name) in [(client_host, "pc.test"), (gateway_host, "gw.test")] {
        authority.present(host)?;
        authority.certify(name, P384)?;
        authority.equip(host, name)?;
    }
    let gateway = lab.peer_with(gateway_host, roles.responder, &gateway("pubkey"), &old(roles.responder))?;
    let client = lab.peer_with(client_host, roles.initiator, &client("pubkey"), &old(roles.initiator))?;
    client.initiate("net")?;
    client_host.ping(ADDRESS, Road::SERVER, 1)?;
    client.terminate("home")?;
    none_left(&[&client, &gateway])
}

/// An intermediate authority that the other end does not have is sent along.
pub(super) fn intermediate(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (client_host, gateway_host) = (road.client()?, &road.gateway);
    let root = Authority::root(gateway_host.directory(), "root")?;
    for (host, name, below) in [(client_host, "pc.test", "clients"), (gateway_host, "gw.test", "gateways")] {
        root.present(host)?;
        let below = root.intermediate(below)?;
        below.present(host)?;
        below.certify(name, P256)?;
        below.equip(host, name)?;
    }
    let gateway = lab.peer(gateway_host, roles.responder, &gateway("pubkey"))?;
    let client = lab.peer(client_host, roles.initiator, &client("pubkey"))?;
    client.initiate("net")?;
    client_host.ping(ADDRESS, Road::SERVER, 3)?;
    round_trip(client_host, &road.server, Road::SERVER.parse()?, 100_000)?;
    client.terminate("home")?;
    none_left(&[&client, &gateway])
}

/// Certificates that are expired, for somebody else, or of another authority.
pub(super) fn refusals(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (client_host, gateway_host) = (road.client()?, &road.gateway);
    let authority = Authority::root(gateway_host.directory(), "CA")?;
    let other = Authority::root(client_host.directory(), "CA")?;
    for host in [client_host, gateway_host] {
        authority.present(host)?;
    }
    authority.certify("gw.test", P256)?;
    authority.equip(gateway_host, "gw.test")?;
    authority.certify_in_the_past("pc.test", P256)?;
    authority.equip(client_host, "pc.test")?;
    let gateway = lab.peer(gateway_host, roles.responder, &gateway("pubkey"))?;
    let conf = client("pubkey");
    let client = lab.peer(client_host, roles.initiator, &conf)?;
    refused(&client, "net").context("an expired certificate")?;
    let judge = roles.responder == Daemon::Ferryd;
    if judge {
        gateway.log().expect(Mark::BEGINNING, &["O=Lab, CN=pc.test", "it has expired"])?;
    }

    other.certify("pc.test", P256)?;
    other.equip(client_host, "pc.test")?;
    client.load(&conf)?;
    refused(&client, "net").context("a certificate of another authority")?;
    if judge {
        gateway
            .log()
            .expect(Mark::BEGINNING, &["O=Lab, CN=pc.test", "there is no certificate of its issuer"])?;
    }

    authority.certify("pc.test", P256)?;
    authority.equip(client_host, "pc.test")?;
    let elsewhere = home(Connection::between_ends(own("pubkey", "pc.test"), end("pubkey", "other.test")));
    client.load(&elsewhere)?;
    refused(&client, "net").context("a gateway with another name")?;

    client.load(&conf)?;
    client.initiate("net").context("with the right certificate")?;
    client_host.ping(ADDRESS, Road::SERVER, 1)?;
    Ok(())
}

/// The commonest road warrior: the gateway has a certificate, its clients have passwords.
pub(super) fn with_eap(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (client_host, gateway_host) = (road.client()?, &road.gateway);
    let authority = Authority::root(gateway_host.directory(), "CA")?;
    authority.certify("gw.test", RSA)?;
    authority.equip(gateway_host, "gw.test")?;
    authority.present(client_host)?;
    let gateway = |method: &str| {
        let clients = Section::new().set("auth", format!("eap-{method}")).set("eap_id", "%any");
        let connection = Connection::between_ends(own("pubkey", "gw.test"), clients)
            .between(Road::GATEWAY, "%any")
            .set("send_cert", "always")
            .set("pools", "road")
            .child("net", child(Road::LAN, "dynamic"));
        SwanctlConf::new()
            .connection("road", connection)
            .pool("road", Section::new().set("addrs", "10.9.0.0/24"))
            .password("alice", "a password of alice")
    };
    let client = |method: &str| {
        let alice = end(&format!("eap-{method}"), "a-phone").set("eap_id", "alice");
        home(Connection::between_ends(alice, end("pubkey", "gw.test")))
            .password("alice", "a password of alice")
    };
    let first = eap::METHODS[0];
    let far = lab.peer_with(gateway_host, roles.responder, &gateway(first), &eap::settings())?;
    let near = lab.peer(client_host, roles.initiator, &client(first))?;
    for method in eap::METHODS {
        far.load(&gateway(method))?;
        near.load(&client(method))?;
        near.initiate("net").with_context(|| format!("by eap-{method}"))?;
        let sa = far.sa()?;
        ensure!(sa.remote.eap_id.as_deref() == Some("alice"), "the EAP identity is not listed: {sa:?}");
        client_host.ping(ADDRESS, Road::SERVER, 1)?;
        near.terminate("home")?;
        none_left(&[&near, &far])?;
    }
    Ok(())
}

/// Keys that the ends know of each other, without certificates (RFC 7670): given by path and by value, under a name and
/// under none. A key that is not the one the other end knows is refused.
pub(super) fn raw_keys(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (client_host, gateway_host) = (road.client()?, &road.gateway);
    let keys = RawKeys(gateway_host.directory().to_owned());
    for (own, name) in [(client_host, "pc.test"), (gateway_host, "gw.test")] {
        keys.make(name, P256)?;
        keys.give_private(own, name)?;
        for host in [client_host, gateway_host] {
            keys.give_public(host, name)?;
        }
    }
    let ends = |is_named: bool, keys: [&str; 2]| -> [Section; 2] {
        let end = |name: &str, key: &str| {
            let end = Section::new().set("auth", "pubkey").set("pubkeys", key);
            if is_named { end.set("id", name) } else { end }
        };
        [end("pc.test", keys[0]), end("gw.test", keys[1])]
    };
    let confs = |is_named: bool, own_keys: [&str; 2]| {
        let [pc, gw] = ends(is_named, own_keys);
        let connection = Connection::between_ends(gw.clone(), pc.clone())
            .between(Road::GATEWAY, "%any")
            .set("send_cert", "always")
            .set("pools", "road")
            .child("net", child(Road::LAN, "dynamic"));
        let gateway = SwanctlConf::new()
            .connection("road", connection)
            .pool("road", Section::new().set("addrs", "10.9.0.0/24"));
        (home(Connection::between_ends(pc, gw).set("send_cert", "always")), gateway)
    };
    let (client_conf, gateway_conf) = confs(true, ["pc.test.pub", "gw.test.pub"]);
    let gateway = lab.peer(gateway_host, roles.responder, &gateway_conf)?;
    let client = lab.peer(client_host, roles.initiator, &client_conf)?;
    let by_value = [keys.value("pc.test")?, keys.value("gw.test")?];
    for (is_named, own_keys) in [
        (true, ["pc.test.pub", "gw.test.pub"]),
        (true, [by_value[0].as_str(), by_value[1].as_str()]),
        (false, ["pc.test.pub", "gw.test.pub"]),
    ] {
        let (client_conf, gateway_conf) = confs(is_named, own_keys);
        gateway.load(&gateway_conf)?.success()?;
        client.load(&client_conf)?.success()?;
        let what = format!("with the keys {own_keys:?}, named: {is_named}");
        client.initiate("net").with_context(|| what.clone())?;
        let (near, far) = (client.sa()?, gateway.sa()?);
        let ids = [&near.remote.id, &far.remote.id];
        ensure!(!is_named || ids == ["gw.test", "pc.test"], "{what}: the ends are {ids:?}");
        // Under another name the client has another address.
        let address = near.local.virtual_ips.first().context("the client has no virtual IP")?;
        client_host.ping(address, Road::SERVER, 1)?;
        client.terminate("home")?;
    }

    // The client's key is another now; the gateway knows the old one.
    keys.make("pc.test", P256)?;
    keys.give_private(client_host, "pc.test")?;
    keys.give_public(client_host, "pc.test")?;
    let (client_conf, gateway_conf) = confs(true, ["pc.test.pub", "gw.test.pub"]);
    gateway.load(&gateway_conf)?.success()?;
    client.load(&client_conf)?.success()?;
    let mark = gateway.log().mark();
    refused(&client, "net").context("another key")?;
    if roles.responder == Daemon::Ferryd {
        // strongSwan does not send its key, so that only its signature tells.
        gateway
            .log()
            .expect(mark, &["the signature of 'pc.test' with the raw public key", "does not count"])?;
    }
    none_left(&[&client, &gateway])
}

/// Pairs of keys in files that `openssl` makes.
struct RawKeys(PathBuf);

impl RawKeys {
    fn make(&self, name: &str, key: &[&str]) -> Result<()> {
        let private = self.0.join(format!("{name}.key"));
        openssl(Command::new("openssl").arg("genpkey").args(key).arg("-out").arg(&private))?;
        for (form, kind) in [("PEM", "pub"), ("DER", "der")] {
            let public = self.0.join(format!("{name}.{kind}"));
            let to = ["-pubout", "-outform", form, "-out"];
            openssl(Command::new("openssl").args(["pkey", "-in"]).arg(&private).args(to).arg(public))?;
        }
        Ok(())
    }

    fn give_private(&self, host: &Host, name: &str) -> Result<()> {
        self.copy(host, &format!("{name}.key"), "private")
    }

    fn give_public(&self, host: &Host, name: &str) -> Result<()> {
        self.copy(host, &format!("{name}.pub"), "pubkey")
    }

    fn copy(&self, host: &Host, file: &str, folder: &str) -> Result<()> {
        let to = host.directory().join("swanctl").join(folder).join(file);
        fs::copy(self.0.join(file), &to).with_context(|| format!("cannot write {}", to.display()))?;
        Ok(())
    }

    /// The public key as it may stand in swanctl.conf itself.
    fn value(&self, name: &str) -> Result<String> {
        let der = fs::read(self.0.join(format!("{name}.der")))?;
        Ok(der.iter().fold("0x".to_owned(), |text, octet| format!("{text}{octet:02x}")))
    }
}

/// New certificates and keys are loaded under a standing tunnel, which is left alone; the next one is made with them.
pub(super) fn renewed(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (client_host, gateway_host) = (road.client()?, &road.gateway);
    let authority = Authority::root(gateway_host.directory(), "CA")?;
    for (host, name) in [(client_host, "pc.test"), (gateway_host, "gw.test")] {
        authority.present(host)?;
        authority.certify(name, P256)?;
        authority.equip(host, name)?;
    }
    let confs = [gateway("pubkey"), client("pubkey")];
    let gateway = lab.peer(gateway_host, roles.responder, &confs[0])?;
    let client = lab.peer(client_host, roles.initiator, &confs[1])?;
    client.initiate("net")?;
    let (ours, conf, theirs, name) = match roles.responder == Daemon::Ferryd {
        true => (&gateway, &confs[0], &client, "gw.test"),
        false => (&client, &confs[1], &gateway, "pc.test"),
    };

    let identities = |sa: &crate::peer::IkeSa| {
        let children: Vec<_> =
            sa.children.iter().map(|child| (child.unique_id, child.inbound.spi.clone())).collect();
        (sa.unique_id, sa.spis.clone(), children)
    };
    let before = [identities(&client.sa()?), identities(&gateway.sa()?)];
    let mark = theirs.log().mark();
    authority.certify(name, P384)?;
    authority.equip(ours.host(), name)?;
    ours.swanctl(&["--load-creds", "--clear"])?.success()?;
    ours.load(conf)?.success()?;
    client_host.ping(ADDRESS, Road::SERVER, 2)?;
    let after = [identities(&client.sa()?), identities(&gateway.sa()?)];
    ensure!(before == after, "the tunnel is another: {before:?}, {after:?}");
    theirs.log().refute(mark, &["parsed"]).context("something was said to the peer")?;

    client.terminate("home")?;
    client.initiate("net").context("with the new certificate")?;
    // SHA2-384 goes with the new key's curve.
    theirs
        .log()
        .expect(mark, &[&format!("authentication of '{name}' with ECDSA_WITH_SHA384_DER successful")])?;
    client_host.ping(ADDRESS, Road::SERVER, 1)?;
    Ok(())
}
