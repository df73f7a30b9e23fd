//! Certificates that have been revoked, as a list says that is fetched over HTTP.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Roles;
use super::refusal::refused;
use super::topology::Road;
use crate::lab::{Deadline, Host, Lab, Mark, until};
use crate::peer::{Connection, Daemon, Section, SwanctlConf, child, end};

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
    fn serve(&self) -> Result<()> {
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "8000", "--bind", "127.0.0.1"]).current_dir(&self.directory);
        let log = fs::File::create(self.directory.join("server.log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        self.host.keep(self.host.spawn(command)?);
        until(Deadline::after(PATIENCE), "the server listens", || {
            let tried =
                self.host.output(&["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:8000/ca.crl"])?;
            Ok((tried.code() != 7).then_some(())) // 7: connection refused
        })
    }

    /// The section of swanctl.conf that says where to learn about it.
    fn section() -> String {
        "authorities {\n  lab {\n    cacert = ca.pem\n    crl_uris = http://127.0.0.1:8000/ca.crl\n  }\n}\n"
            .to_owned()
    }
}

fn conf(own: &str, peer: &str, is_judge: bool) -> SwanctlConf {
    let near = end("pubkey", own).set("certs", format!("{own}.pem"));
    let far = end("pubkey", peer);
    let far = if is_judge { far.set("revocation", "strict") } else { far };
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

/// The daemon under test lets its peer in while it is known to be good, and no longer when it is revoked.
pub(super) fn by_list(lab: &Lab, roles: Roles) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let (client_host, gateway_host) = (road.client()?, &road.gateway);
    let gateway_judges = roles.responder == Daemon::Ferryd;
    let judge_host = if gateway_judges { gateway_host } else { client_host };
    let authority = Authority::new(judge_host)?;
    authority.equip(client_host, CLIENT)?;
    authority.equip(gateway_host, GATEWAY)?;
    authority.publish(None)?;
    authority.serve()?;
    let confs = [conf(GATEWAY.0, CLIENT.0, gateway_judges), conf(CLIENT.0, GATEWAY.0, !gateway_judges)];
    let gateway = lab.peer(gateway_host, roles.responder, &confs[0])?;
    let client = lab.peer(client_host, roles.initiator, &confs[1])?;
    let (judge, conf, judged) = match gateway_judges {
        true => (&gateway, &confs[0], CLIENT),
        false => (&client, &confs[1], GATEWAY),
    };

    // Without a place to ask, strict lets nobody in.
    refused(&client, "net").context("with revocation = strict, and nobody to ask")?;
    judge.log().expect(Mark::BEGINNING, &[judged.0, "whether it is revoked is not known"])?;

    judge.load_text(&(conf.to_string() + &Authority::section()))?.success()?;
    client.initiate("net").context("while the certificate is good")?;
    client_host.ping("10.9.0.1", Road::SERVER, 1)?;
    judge.log().expect(Mark::BEGINNING, &["certificate status of", judged.0, "is good"])?;
    client.terminate("home")?;

    authority.publish(Some(judged.1))?;
    judge.swanctl(&["--flush-certs"])?.success()?;
    refused(&client, "net").context("when the certificate is revoked")?;
    judge
        .log()
        .expect(Mark::BEGINNING, &[judged.0, "it was revoked 2026-01-01T00:00:00Z: key compromise"])?;
    Ok(())
}
