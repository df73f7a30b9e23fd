//! Certificates that have been revoked, as a list says that is fetched over HTTP, or OpenSSL's OCSP responder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Roles;
use super::refusal::refused;
use super::topology::Road;
use crate::lab::{Deadline, Host, Lab, Mark, Process, until};
use crate::peer::{Connection, Daemon, Peer, Section, Settings, SwanctlConf, child, end};

const CLIENT: (&str, u32) = ("pc.test", 0x1001);
const GATEWAY: (&str, u32) = ("gw.test", 0x1002);

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the authority's word is served on the judge's host.
const PORT: u32 = 8000;

/// An authority, which serves its word on the host that asks for it.
struct Authority {
    host: Rc<Host>,
    directory: PathBuf,
}

impl Authority {
    fn new(host: &Rc<Host>) -> Result<Self> {
        let directory = host.directory().join("authority");
        fs::create_dir(&directory)?;
        let authority = Self { host: Rc::clone(host), directory };
        authority.key("ca")?;
        authority.openssl(
            "req -x509 -key ca.key -out ca.pem -days 30 -subj /O=Lab/CN=CA \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
        )?;
        let text = "[ca]\ndefault_ca = lab\n[lab]\ndatabase = index.txt\ndefault_md = sha256\n\
                    default_crl_days = 30\ncrlnumber = crlnumber\nunique_subject = no\n";
        fs::write(authority.directory.join("ca.cnf"), text)?;
        fs::write(authority.directory.join("crlnumber"), "01\n")?;
        Ok(authority)
    }

    fn key(&self, name: &str) -> Result<()> {
        self.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"))
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split_whitespace()).current_dir(&self.directory).output()?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Gives `host` a certificate of its own, its key, and the authority's certificate.
    fn equip(&self, host: &Host, subject: (&str, u32)) -> Result<()> {
        self.equip_with(host, subject, "")
    }

    /// The same, with further arguments about the certificate.
    fn equip_with(&self, host: &Host, (name, serial): (&str, u32), more: &str) -> Result<()> {
        self.key(name)?;
        self.openssl(&format!(
            "req -new -key {name}.key -out {name}.csr -subj /O=Lab/CN={name} -addext subjectAltName=DNS:{name} {more}"
        ))?;
        self.openssl(&format!(
            "x509 -req -in {name}.csr -out {name}.pem -CA ca.pem -CAkey ca.key -set_serial {serial} -days 30 \
             -copy_extensions copyall"
        ))?;
        for (file, folder) in
            [("ca.pem", "x509ca"), (&format!("{name}.pem"), "x509"), (&format!("{name}.key"), "private")]
        {
            let to = host.directory().join("swanctl").join(folder).join(file);
            fs::copy(self.directory.join(file), &to)
                .with_context(|| format!("cannot write {}", to.display()))?;
        }
        Ok(())
    }

    /// Makes a certificate for whoever answers in its place.
    fn delegate(&self) -> Result<()> {
        self.key("ocsp")?;
        self.openssl(
            "req -new -key ocsp.key -out ocsp.csr -subj /O=Lab/CN=ocsp -addext extendedKeyUsage=OCSPSigning",
        )?;
        self.openssl(
            "x509 -req -in ocsp.csr -out ocsp.pem -CA ca.pem -CAkey ca.key -set_serial 99 -days 30 -copy_extensions copyall",
        )
    }

    /// Says from now on that the certificate with this number is revoked, and no other.
    fn publish(&self, revoked: Option<u32>) -> Result<()> {
        let index: String = [CLIENT, GATEWAY]
            .map(|(name, serial)| match revoked == Some(serial) {
                true => format!(
                    "R\t360101000000Z\t260101000000Z,keyCompromise\t{serial:X}\tunknown\t/O=Lab/CN={name}\n"
                ),
                false => format!("V\t360101000000Z\t\t{serial:X}\tunknown\t/O=Lab/CN={name}\n"),
            })
            .concat();
        fs::write(self.directory.join("index.txt"), index)?;
        self.openssl("ca -config ca.cnf -gencrl -cert ca.pem -keyfile ca.key -out ca.crl")
    }

    /// Offers its directory over HTTP.
    fn serve(&self) -> Result<Process> {
        self.start("python3 -m http.server 8000 --bind 127.0.0.1")
    }

    /// Answers what OCSP asks, from what has been published so far.
    fn answer(&self) -> Result<Process> {
        self.start(
            "openssl ocsp -port 8000 -index index.txt -rsigner ocsp.pem -rkey ocsp.key -CA ca.pem -nmin 60 -ignore_err",
        )
    }

    /// Answers on `host`, for itself alone, at a port that the certificate with this number names.
    fn answer_on(&self, host: &Host, serial: u32) -> Result<Process> {
        let line = format!(
            "openssl ocsp -port {serial} -index index.txt -rsigner ocsp.pem -rkey ocsp.key -CA ca.pem -nmin 60 -ignore_err"
        );
        self.start_on(host, serial, &line)
    }

    fn start(&self, line: &str) -> Result<Process> {
        self.start_on(&self.host, PORT, line)
    }

    fn start_on(&self, host: &Host, port: u32, line: &str) -> Result<Process> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.directory);
        let log = fs::File::create(self.directory.join(format!("server-{port}.log")))?;
        command.stdout(log.try_clone()?).stderr(log);
        let server = host.spawn(command)?;
        let place = format!("http://127.0.0.1:{port}/ca.crl");
        until(Deadline::after(PATIENCE), "the server listens", || {
            let tried = host.output(&["curl", "-s", "-o", "/dev/null", &place])?;
            Ok((tried.code() != 7).then_some(())) // 7: connection refused
        })?;
        Ok(server)
    }
}

/// The section of swanctl.conf that says where to learn about the authority's certificates.
fn section(place: &str) -> String {
    format!("authorities {{\n  lab {{\n    cacert = ca.pem\n    {place}\n  }}\n}}\n")
}

/// With `rule`, revocation is looked into.
fn conf(own: &str, peer: &str, rule: Option<&str>) -> SwanctlConf {
    conf_with(own, peer, rule, None)
}

/// The same, with OCSP in IKE.
fn conf_with(own: &str, peer: &str, rule: Option<&str>, ocsp: Option<&str>) -> SwanctlConf {
    let near = end("pubkey", own).set("certs", format!("{own}.pem"));
    let far = end("pubkey", peer);
    let far = match rule {
        Some(rule) => far.set("revocation", rule),
        None => far,
    };
    let connection = Connection::between_ends(near, far);
    let connection = match ocsp {
        Some(ocsp) => connection.set("ocsp", ocsp),
        None => connection,
    };
    match own == GATEWAY.0 {
        true => {
            let connection = connection
                .between(Road::GATEWAY, "%any")
                .set("pools", "road")
                .child("net", child(Road::LAN, "dynamic"));
            let pool = Section::new().set("addrs", "10.9.0.0/24");
            SwanctlConf::new().connection("road", connection).pool("road", pool)
        }
        false => {
            let connection = connection
                .set("remote_addrs", Road::GATEWAY)
                .set("vips", "0.0.0.0")
                .child("net", child("dynamic", Road::LAN));
            SwanctlConf::new().connection("home", connection)
        }
    }
}

/// Who judges in a play, and about whom.
struct Play {
    client_host: Rc<Host>,
    client: Rc<Peer>,
    gateway: Rc<Peer>,
    gateway_judges: bool,
    authority: Authority,
}

impl Play {
    /// The daemon under test asks for revocation strictly, and knows no place where to learn about it.
    fn begin(lab: &Lab, roles: Roles) -> Result<Self> {
        let road = Road::build(lab, 1)?;
        let (client_host, gateway_host) = (road.client()?, &road.gateway);
        let gateway_judges = roles.responder == Daemon::Ferryd;
        let judge_host = if gateway_judges { gateway_host } else { client_host };
        let authority = Authority::new(judge_host)?;
        authority.equip(client_host, CLIENT)?;
        authority.equip(gateway_host, GATEWAY)?;
        authority.publish(None)?;
        let rule = |judges: bool| judges.then_some("strict");
        let gateway =
            lab.peer(gateway_host, roles.responder, &conf(GATEWAY.0, CLIENT.0, rule(gateway_judges)))?;
        let client =
            lab.peer(client_host, roles.initiator, &conf(CLIENT.0, GATEWAY.0, rule(!gateway_judges)))?;
        Ok(Self { client_host: Rc::clone(road.client()?), client, gateway, gateway_judges, authority })
    }

    fn judge(&self) -> &Peer {
        if self.gateway_judges { &self.gateway } else { &self.client }
    }

    fn judged(&self) -> (&'static str, u32) {
        if self.gateway_judges { CLIENT } else { GATEWAY }
    }

    /// Lets the judge ask at `place` and act by `rule`.
    fn load(&self, rule: &str, place: &str) -> Result<()> {
        let (own, peer) = if self.gateway_judges { (GATEWAY, CLIENT) } else { (CLIENT, GATEWAY) };
        let text = conf(own.0, peer.0, Some(rule)).to_string() + &section(place);
        self.judge().load_text(&text)?.success()?;
        Ok(())
    }

    /// The peer is let in. The judge's log has `words`.
    fn comes_up(&self, words: &[&str]) -> Result<()> {
        let mark = self.judge().log().mark();
        self.client.initiate("net")?;
        self.client_host.ping("10.9.0.1", Road::SERVER, 1)?;
        self.judge().log().expect(mark, &[&[self.judged().0], words].concat())?;
        self.client.terminate("home")?;
        Ok(())
    }

    /// It is not. The judge's log says why.
    fn is_refused(&self, why: &str) -> Result<()> {
        let mark = self.judge().log().mark();
        refused(&self.client, "net")?;
        self.judge().log().expect(mark, &[self.judged().0, why])?;
        Ok(())
    }

    /// Makes the judge ask anew.
    fn forget(&self) -> Result<()> {
        self.judge().swanctl(&["--flush-certs"])?.success()?;
        Ok(())
    }
}

const UNKNOWN: &str = "whether it is revoked is not known";
const GOOD: &[&str] = &["certificate status of", "is good"];
const REVOKED: &str = "it was revoked 2026-01-01T00:00:00Z: key compromise";

/// The daemon under test lets its peer in while it is known to be good, and no longer when it is revoked.
pub(super) fn by_list(lab: &Lab, roles: Roles) -> Result<()> {
    let play = Play::begin(lab, roles)?;
    let server = play.authority.serve()?;
    play.is_refused(UNKNOWN).context("with revocation = strict, and nobody to ask")?;

    play.load("strict", "crl_uris = http://127.0.0.1:8000/ca.crl")?;
    play.comes_up(GOOD).context("while the certificate is good")?;

    play.authority.publish(Some(play.judged().1))?;
    play.forget()?;
    play.is_refused(REVOKED).context("when the certificate is revoked")?;
    drop(server);
    Ok(())
}

/// The same with a responder that the authority has delegated answering to; and without it, as the rule says.
pub(super) fn by_ocsp(lab: &Lab, roles: Roles) -> Result<()> {
    const PLACE: &str = "ocsp_uris = http://127.0.0.1:8000/";
    let play = Play::begin(lab, roles)?;
    play.authority.delegate()?;
    let mut responder = play.authority.answer()?;
    play.load("strict", PLACE)?;
    play.comes_up(GOOD).context("while the certificate is good")?;

    responder.kill()?;
    play.authority.publish(Some(play.judged().1))?;
    let mut responder = play.authority.answer()?;
    play.forget()?;
    play.is_refused(REVOKED).context("when the certificate is revoked")?;

    responder.kill()?;
    play.forget()?;
    play.is_refused(UNKNOWN).context("with revocation = strict, and the responder down")?;
    play.load("ifuri", PLACE)?;
    play.is_refused(UNKNOWN).context("with revocation = ifuri, and the responder down")?;
    play.load("relaxed", PLACE)?;
    play.comes_up(&["is revoked is not known"]).context("with revocation = relaxed, and the responder down")
}

/// Both ends are strict, and each can ask only the responder beside it, which its own certificate names: what it learns of
/// the other's, the other has shown.
pub(super) fn in_band(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (client_host, gateway_host) = (road.client()?, &road.gateway);
    let authority = Authority::new(gateway_host)?;
    for (host, subject) in [(client_host, CLIENT), (gateway_host, GATEWAY)] {
        // The number of the certificate is the port.
        let place = format!("-addext authorityInfoAccess=OCSP;URI:http://127.0.0.1:{}/", subject.1);
        authority.equip_with(host, subject, &place)?;
    }
    authority.publish(None)?;
    authority.delegate()?;
    let answer = || -> Result<[Process; 2]> {
        Ok([authority.answer_on(client_host, CLIENT.1)?, authority.answer_on(gateway_host, GATEWAY.1)?])
    };
    let mut responders = answer()?;
    let with = |own: &str, peer: &str, ocsp: &str| conf_with(own, peer, Some("strict"), Some(ocsp));
    let settings = Settings::new().set("charon.plugins.revocation.enable_ocsp", "yes");
    let both = |own: &str, peer: &str| with(own, peer, "both");
    let gateway = lab.peer_with(gateway_host, roles.responder, &both(GATEWAY.0, CLIENT.0), &settings)?;
    let client = lab.peer_with(client_host, roles.initiator, &both(CLIENT.0, GATEWAY.0), &settings)?;
    let gateway_is_ours = roles.responder == Daemon::Ferryd;
    let (ours, own, theirs) =
        if gateway_is_ours { (&gateway, GATEWAY, CLIENT) } else { (&client, CLIENT, GATEWAY) };
    // It is fetched before anybody asks.
    let is_here = ["peers that ask are shown that our certificate", own.0, "is good"];
    ours.log().expect(Mark::BEGINNING, &is_here)?;

    let mark = ours.log().mark();
    client.initiate("net")?;
    client_host.ping("10.9.0.1", Road::SERVER, 1)?;
    ours.log().expect(mark, &["sending OCSP response about", own.0])?;
    ours.log().expect(mark, &["using the OCSP response about", theirs.0, "that the peer has sent"])?;
    ours.log().expect(mark, &["certificate status of", theirs.0, "is good"])?;
    client.terminate("home")?;

    // The stranger believes nobody who shows nothing.
    let forget = || -> Result<()> {
        for peer in [&client, &gateway] {
            peer.swanctl(&["--flush-certs"])?.success()?;
        }
        Ok(())
    };
    let reload = |ocsp: &str| ours.load_text(&with(own.0, theirs.0, ocsp).to_string())?.success();
    reload("request")?;
    forget()?;
    refused(&client, "net").context("when we show nothing")?;
    let mark = ours.log().mark();
    reload("both")?;
    ours.log().expect(mark, &is_here)?;

    // Nor do we whoever shows that it is revoked.
    for responder in &mut responders {
        responder.kill()?;
    }
    authority.publish(Some(theirs.1))?;
    let responders = answer()?;
    let mark = ours.log().mark();
    forget()?;
    // Otherwise it might be we who show nothing.
    ours.log().expect(mark, &is_here)?;
    refused(&client, "net").context("when the peer's certificate is revoked")?;
    ours.log().expect(mark, &[theirs.0, REVOKED])?;
    drop(responders);
    Ok(())
}
