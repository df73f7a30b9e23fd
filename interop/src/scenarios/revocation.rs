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
use crate::lab::{Deadline, Host, Lab, Process, until};
use crate::peer::{Connection, Daemon, Peer, Section, SwanctlConf, child, end};

const CLIENT: (&str, u32) = ("pc.test", 0x1001);
const GATEWAY: (&str, u32) = ("gw.test", 0x1002);

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

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
    fn equip(&self, host: &Host, (name, serial): (&str, u32)) -> Result<()> {
        self.key(name)?;
        self.openssl(&format!(
            "req -new -key {name}.key -out {name}.csr -subj /O=Lab/CN={name} -addext subjectAltName=DNS:{name}"
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

    fn start(&self, line: &str) -> Result<Process> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.directory);
        let log = fs::File::create(self.directory.join("server.log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        let server = self.host.spawn(command)?;
        until(Deadline::after(PATIENCE), "the server listens", || {
            let tried =
                self.host.output(&["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:8000/ca.crl"])?;
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
    let near = end("pubkey", own).set("certs", format!("{own}.pem"));
    let far = end("pubkey", peer);
    let far = match rule {
        Some(rule) => far.set("revocation", rule),
        None => far,
    };
    let connection = Connection::between_ends(near, far);
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
