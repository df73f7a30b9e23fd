//! OpenIKED: its daemon iked, in the root file system where it is installed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Installation;
use crate::lab::{Deadline, Host, Log, Output, Process};
use crate::rootfs;

/// How long iked may take to read its configuration, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The folder of a host that iked has for `/etc/iked`.
const FOLDER: &str = "iked";

/// iked on a host.
#[derive(Debug)]
pub struct OpenIked {
    host: Rc<Host>,
    installation: Installation,
    log: Log,
    process: Option<Process>,
}

impl OpenIked {
    /// Makes it ready on a host, with a key of its own for nobody to know.
    pub fn new(host: &Rc<Host>) -> Result<Self> {
        let root = rootfs::STRANGERS.provide(|what| eprintln!("{what}"))?;
        let installation =
            Installation { program: PathBuf::from("/usr/sbin/iked"), root: Some(root.clone()) };
        let directory = host.directory().join(FOLDER);
        for folder in ["ca", "certs", "crls", "private", "pubkeys/ipv4", "pubkeys/fqdn"] {
            fs::create_dir_all(directory.join(folder))?;
        }
        host.furnish(&root, (FOLDER, "/etc/iked"))?;
        let log = Log::new(directory.join("iked.log"));
        let openiked = Self { host: Rc::clone(host), installation, log, process: None };
        let (key, public) = (directory.join("private/local.key"), directory.join("local.pub"));
        openssl(
            Command::new("openssl")
                .args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"])
                .arg(&key),
        )?;
        openssl(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(public))?;
        Ok(openiked)
    }

    /// Gives it a certificate with its key, and the certificate of whom it is to trust.
    pub fn equip(&self, name: &str, certificate: &Path, key: &Path, authority: &Path) -> Result<()> {
        let directory = self.host.directory().join(FOLDER);
        fs::copy(certificate, directory.join(format!("certs/{name}.crt")))?;
        fs::copy(key, directory.join("private/local.key"))?;
        fs::copy(authority, directory.join("ca/ca.crt"))?;
        Ok(())
    }

    /// Starts iked with this configuration.
    pub fn start(&mut self, conf: &str) -> Result<()> {
        let directory = self.host.directory().join(FOLDER);
        let path = directory.join("iked.conf");
        fs::write(&path, conf)?;
        // It has secrets in it, and iked sees to it that nobody else may read them.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let said = File::options().create(true).append(true).open(self.log.path())?;
        let mut command = self.installation.command(&self.installation.program)?;
        command.args(["-d", "-vv", "-f", "/etc/iked/iked.conf", "-s", &socket()]);
        command.stdout(said.try_clone()?).stderr(said);
        let mark = self.log.mark();
        self.process = Some(self.host.spawn(command)?);
        let ready = self.log.wait_for(mark, &["config_getcompile", "done"], Deadline::after(PATIENCE));
        ready.with_context(|| format!("iked is not ready:\n{}", self.log.since(mark))).map(drop)
    }

    /// Gives an order by `ikectl`.
    pub fn order(&self, order: &[&str]) -> Result<Output> {
        let mut command = self.installation.command(Path::new("/usr/sbin/ikectl"))?;
        command.args(["-s", &socket()]).args(order);
        self.host.capture(command, PATIENCE)?.success()
    }

    /// Ends iked, which takes what it has in the kernel with it.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.terminate(Deadline::after(PATIENCE)).map(drop)
    }

    /// What iked logs.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

fn socket() -> String {
    format!("{}/{FOLDER}/socket", Host::DIRECTORY_IN_ROOT)
}

fn openssl(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot run openssl")?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
