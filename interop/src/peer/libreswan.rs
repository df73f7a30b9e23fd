//! libreswan: its daemon pluto, driven by `whack`, in the root file system where it is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Installation;
use crate::lab::{Deadline, Host, Log, Mark, Output, Process};
use crate::rootfs;

/// How long pluto may take to load its connections.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an order may take, exchanges included.
const PATIENCE_OF_WHACK: Duration = Duration::from_secs(30);

/// The folder of a host that has all files of pluto's.
const FOLDER: &str = "libreswan";

/// Protects the files that keys travel in on their way into pluto's database.
const PASSWORD: &str = "lab";

/// pluto on a host.
#[derive(Debug)]
pub struct Libreswan {
    host: Rc<Host>,
    installation: Installation,
    log: Log,
    process: Option<Process>,
}

impl Libreswan {
    /// Makes it ready on a host, as if for the first time, without a connection, and without keys but `secrets`, as `ipsec.secrets` has them.
    pub fn new(host: &Rc<Host>, secrets: &str) -> Result<Self> {
        let root = rootfs::STRANGERS.provide(|what| eprintln!("{what}"))?;
        let program = PathBuf::from("/usr/libexec/ipsec/pluto");
        let installation = Installation { program, root: Some(root.clone()) };
        let directory = host.directory().join(FOLDER);
        for folder in ["run", "nss"].map(|folder| directory.join(folder)) {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(folder)?;
        }
        fs::write(directory.join("ipsec.secrets"), secrets)?;
        host.furnish(&root, (FOLDER, "/etc/ipsec.d"))?;
        let log = Log::new(directory.join("pluto.log"));
        let libreswan = Self { host: Rc::clone(host), installation, log, process: None };
        libreswan.run("/usr/bin/certutil", &["-N", "-d", &database(), "--empty-password"])?;
        Ok(libreswan)
    }

    /// Gives it a certificate with its key, and the certificate of whom it is to trust.
    pub fn equip(&self, name: &str, certificate: &Path, key: &Path, authority: &Path) -> Result<()> {
        let directory = self.host.directory().join(FOLDER);
        let mut export = Command::new("openssl");
        export.args(["pkcs12", "-export", "-name", name, "-passout", &format!("pass:{PASSWORD}")]);
        export.arg("-in").arg(certificate).arg("-inkey").arg(key).arg("-out").arg(directory.join("own.p12"));
        self.host.capture(export, PATIENCE_OF_WHACK)?.success()?;
        fs::copy(authority, directory.join("authority.pem"))?;
        let (database, own, authority) = (database(), inside("own.p12"), inside("authority.pem"));
        self.run("/usr/bin/pk12util", &["-i", &own, "-d", &database, "-W", PASSWORD, "-K", ""])?;
        let trust = ["-A", "-n", "authority", "-t", "CT,,", "-d", &database, "-i", &authority];
        self.run("/usr/bin/certutil", &trust).map(drop)
    }

    /// Starts pluto with one connection, of which `conn` has the lines.
    pub fn start(&mut self, name: &str, conn: &str) -> Result<()> {
        let lines: String = conn.lines().map(|line| format!("    {}\n", line.trim())).collect();
        let conf = format!("conn {name}\n    keyexchange=ikev2\n    auto=add\n{lines}");
        fs::write(self.host.directory().join(FOLDER).join("ipsec.conf"), conf)?;
        let mut command = self.installation.command(&self.installation.program)?;
        command.args(["--nofork", "--no-dnssec", "--nhelpers", "0"]);
        for (option, file) in [
            ("--config", "ipsec.conf"),
            ("--secretsfile", "ipsec.secrets"),
            ("--rundir", "run"),
            ("--dumpdir", "run"),
            ("--ipsecdir", ""),
            ("--logfile", "pluto.log"),
        ] {
            command.arg(option).arg(inside(file));
        }
        command.arg("--nssdir").arg(inside("nss"));
        let mark = self.log.mark();
        self.process = Some(self.host.spawn(command)?);
        let added = self.log.wait_for(mark, &[name, "added IKEv2 connection"], Deadline::after(PATIENCE));
        added
            .with_context(|| format!("libreswan does not take the connection:\n{}", self.log.since(mark)))?;
        // Its sockets are there when its secrets have been read.
        self.log.wait_for(mark, &["loading secrets from"], Deadline::after(PATIENCE)).map(drop)
    }

    /// Initiates the connection and waits until that is done.
    pub fn initiate(&self, name: &str) -> Result<()> {
        self.whack(&["--initiate", "--name", name])
    }

    /// Rekeys the CHILD_SA.
    pub fn rekey_child(&self, name: &str) -> Result<()> {
        self.whack(&["--rekey-child", "--name", name])
    }

    /// Rekeys the IKE SA.
    pub fn rekey_ike(&self, name: &str) -> Result<()> {
        self.whack(&["--rekey-ike", "--name", name])
    }

    /// Ends the connection.
    pub fn terminate(&self, name: &str) -> Result<()> {
        self.whack(&["--terminate", "--name", name])
    }

    /// Ends pluto, which deletes what it has with its peers.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.terminate(Deadline::after(PATIENCE)).map(drop)
    }

    /// What pluto logs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn whack(&self, order: &[&str]) -> Result<()> {
        let run = inside("run");
        let arguments = [&["--rundir", run.as_str()], order].concat();
        let done = self.run("/usr/libexec/ipsec/whack", &arguments);
        done.map(drop).with_context(|| self.log.since(Mark::BEGINNING))
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = self.installation.command(Path::new(program))?;
        command.args(arguments);
        self.host.capture(command, PATIENCE_OF_WHACK)?.success()
    }
}

/// A file of pluto's, as programs in its root file system name it.
fn inside(file: &str) -> String {
    format!("{}/{FOLDER}/{file}", Host::DIRECTORY_IN_ROOT)
}

fn database() -> String {
    format!("sql:{}", inside("nss"))
}
