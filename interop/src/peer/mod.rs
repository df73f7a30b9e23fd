//! IKE daemons on hosts of the lab.
//!
//! Ferry is a drop-in for charon, so both are one kind of peer: the same two files configure them, the same unmodified
//! `swanctl` drives them, and which one runs is a single word, [`Daemon`].

mod aaa;
mod conf;
mod eap_server;
mod events;
mod installation;
mod libreswan;
mod listing;
mod openiked;

use std::cell::RefCell;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::lab::{Deadline, Host, Log, Output, Plane, Process};

pub use aaa::{FreeRadius, Record, hostapd};
pub use conf::{Connection, Section, Settings, SwanctlConf, child, end};
pub use eap_server::{Certified, EapServer};
pub use events::Events;
pub(crate) use installation::Installation;
pub use libreswan::Libreswan;
pub use listing::{ChildSa, IkeSa, Lease, Pool};
pub use openiked::OpenIked;

/// Where a daemon and `swanctl` meet.
const VICI_SOCKET: &str = "/run/charon.vici";

/// How long a daemon may take to answer after its start, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long `swanctl` may take.
const PATIENCE_OF_SWANCTL: Duration = Duration::from_secs(30);

/// The plugins of Debian's charon that make it a complete IKEv2 peer here. The order matters: the data plane in user
/// space (kernel-libipsec, if it is that one) must stand before the kernel's, which it replaces.
const CHARON_PLUGINS: &str = "random nonce aes sha1 sha2 hmac kdf gcm openssl curve25519 chapoly xcbc cmac pem \
                              pkcs1 pkcs8 x509 pubkey REVOCATION PLANE kernel-netlink socket-default vici updown RESOLVE counters md5 \
                              eap-identity eap-md5 eap-mschapv2 eap-gtc eap-tls eap-ttls eap-radius \
                              xauth-generic";

/// The program a peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Daemon {
    /// This project's
    Ferryd,
    /// strongSwan's, as Debian 12 packages it: 5.9.8
    Charon,
    /// strongSwan's of the next generation, as Debian 13 packages it: 6.0
    Charon6,
}

impl Daemon {
    /// Whether it is strongSwan's, of any generation.
    pub fn is_charon(self) -> bool {
        match self {
            Self::Ferryd => false,
            Self::Charon | Self::Charon6 => true,
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ferryd => "ferryd",
            Self::Charon => "charon",
            Self::Charon6 => "charon6",
        })
    }
}

/// A daemon on a host.
#[derive(Debug)]
pub struct Peer {
    host: Rc<Host>,
    daemon: Daemon,
    installation: Installation,
    log: Log,
    process: RefCell<Option<Process>>,
}

impl Peer {
    /// Prepares a daemon: its `strongswan.conf` is written, it is not running.
    pub(crate) fn new(
        host: Rc<Host>,
        daemon: Daemon,
        installation: Installation,
        plane: Plane,
        settings: &Settings,
    ) -> Result<Self> {
        let (plugin, ours) = match plane {
            Plane::Userspace => ("kernel-libipsec", "userspace"),
            Plane::Kernel => ("", "kernel"),
        };
        // Whichever of the two takes DNS servers leaves the other none.
        let resolve = if settings.has("charon.plugins.updown.dns_handler") { "" } else { "resolve" };
        // Without, it asks nobody what is revoked.
        let asks = settings.has("charon.plugins.revocation.enable_ocsp");
        let plugins = CHARON_PLUGINS
            .replace("PLANE", plugin)
            .replace("RESOLVE", resolve)
            .replace("REVOCATION", if asks { "curl revocation" } else { "" });
        installation.furnish(&host)?;
        let directory = installation.directory(&host);
        let log = Log::new(host.directory().join("daemon.log"));
        let base = Settings::new()
            .set("charon-systemd.load", plugins)
            .set("ferryd.dataplane", ours)
            .set("ferryd.leases", directory.join("leases.redb").display())
            .set("charon-systemd.journal.default", -1)
            .set("charon.plugins.resolve.file", directory.join("resolv.conf").display())
            .set("charon.filelog.lab.path", directory.join("daemon.log").display())
            .set("charon.filelog.lab.time_format", "%H:%M:%S")
            .set("charon.filelog.lab.time_add_ms", "yes")
            .set("charon.filelog.lab.default", 1)
            .set("charon.filelog.lab.flush_line", "yes");
        let text = base.text() + &settings.text();
        fs::write(host.directory().join("strongswan.conf"), text)?;
        Ok(Self { host, daemon, installation, log, process: RefCell::new(None) })
    }

    /// Starts the daemon and waits until it answers on its VICI socket.
    pub fn start(&self) -> Result<()> {
        let said = self.host.directory().join("daemon.out");
        let out = File::options().create(true).append(true).open(&said)?;
        let mut command = self.installation.command(&self.installation.program)?;
        command.env("STRONGSWAN_CONF", self.installation.directory(&self.host).join("strongswan.conf"));
        command.stdout(out.try_clone()?).stderr(out);
        let mut process = self.host.spawn(command)?;
        let answering = self.host.wait_for_socket(Path::new(VICI_SOCKET), Deadline::after(PATIENCE));
        if answering.is_err()
            && let Some(status) = process.ended()?
        {
            let said = fs::read_to_string(said)?;
            return answering.with_context(|| format!("{} ended at once ({status}): {said}", self.daemon));
        }
        self.process.replace(Some(process));
        answering.with_context(|| format!("{} on {} does not answer", self.daemon, self.host.role()))
    }

    /// Writes `swanctl.conf` and loads it all.
    pub fn load(&self, conf: &SwanctlConf) -> Result<Output> {
        self.load_text(&conf.to_string())?.success()
    }

    /// Writes `text` as `swanctl.conf` and tells the daemon to load it all, whatever comes of it.
    pub fn load_text(&self, text: &str) -> Result<Output> {
        fs::write(self.host.directory().join("swanctl/swanctl.conf"), text)?;
        self.swanctl(&["--load-all", "--noprompt"])
    }

    /// Runs `swanctl` on this host, whatever its exit code.
    pub fn swanctl(&self, arguments: &[&str]) -> Result<Output> {
        self.swanctl_within(arguments, PATIENCE_OF_SWANCTL)
    }

    fn swanctl_within(&self, arguments: &[&str], patience: Duration) -> Result<Output> {
        let mut command = self.installation.command(Path::new("swanctl"))?;
        command.args(arguments);
        self.host.capture(command, patience)
    }

    /// Initiates a child and wants it to be installed.
    pub fn initiate(&self, child: &str) -> Result<Output> {
        self.try_initiate(child)?.success()
    }

    /// Initiates a child, whatever comes of it within 20 s.
    pub fn try_initiate(&self, child: &str) -> Result<Output> {
        self.swanctl(&["--initiate", "--child", child, "--timeout", "20"])
    }

    /// Ends all IKE SAs of a connection and wants that to succeed.
    pub fn terminate(&self, connection: &str) -> Result<Output> {
        self.swanctl(&["--terminate", "--ike", connection, "--timeout", "20"])?.success()
    }

    /// The IKE SAs, as `swanctl --list-sas` shows them.
    pub fn sas(&self) -> Result<Vec<IkeSa>> {
        listing::sas(&self.swanctl(&["--list-sas"])?.success()?.stdout)
    }

    /// The one IKE SA there is.
    pub fn sa(&self) -> Result<IkeSa> {
        let mut sas = self.sas()?;
        let sa = sas.pop().with_context(|| format!("there is no IKE SA on {}", self.host.role()))?;
        ensure!(sas.is_empty(), "there are {} IKE SAs on {}, not one", sas.len() + 1, self.host.role());
        Ok(sa)
    }

    /// The pools with their leases, as `swanctl --list-pools --leases` shows them.
    pub fn pools(&self) -> Result<Vec<Pool>> {
        listing::pools(&self.swanctl(&["--list-pools", "--leases"])?.success()?.stdout)
    }

    /// Subscribes to a kind of event, such as `ike-updown`.
    pub fn watch(&self, kind: &'static str) -> Result<Events> {
        // The socket's path means this daemon only to a thread of its host.
        let events = self.host.run(move || Events::subscribe(Path::new(VICI_SOCKET), kind));
        events.with_context(|| format!("cannot subscribe to {kind} on {}", self.host.role()))
    }

    /// Ends the daemon as a service manager does, and wants it to end properly. Nothing happens if it is not running.
    pub fn stop(&self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let status = process.terminate(Deadline::after(PATIENCE))?;
        ensure!(status.success(), "{} on {} ended badly: {status}", self.daemon, self.host.role());
        Ok(())
    }

    /// Ends the daemon without a chance to tidy up.
    pub fn kill(&self) -> Result<()> {
        let mut process = self.process.take().context("the daemon is not running")?;
        process.kill()?;
        Ok(())
    }

    /// Whether the daemon is still there.
    pub fn is_running(&self) -> Result<bool> {
        match self.process.borrow_mut().as_mut() {
            Some(process) => Ok(process.ended()?.is_none()),
            None => Ok(false),
        }
    }

    /// The process id, while the daemon is running.
    pub fn id(&self) -> Option<u32> {
        self.process.borrow().as_ref().map(Process::id)
    }

    /// What the daemon logs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Which daemon this is.
    pub fn daemon(&self) -> Daemon {
        self.daemon
    }

    /// The host the daemon runs on.
    pub fn host(&self) -> &Rc<Host> {
        &self.host
    }

    /// Has what can be seen from outside written to the host's commands.log.
    pub(crate) fn describe(&self) {
        for list in ["--list-sas", "--list-conns", "--list-pools", "--stats"] {
            // The daemon may be dead, which is then what the log shows.
            let _answer = self.swanctl_within(&[list], Duration::from_secs(5));
        }
    }

    /// Leaves the daemon running for good, and gives its process id.
    pub(crate) fn release(&self) -> Option<u32> {
        self.process.take().map(Process::release)
    }
}
