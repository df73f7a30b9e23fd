//! The lab: hosts in network namespaces, cables between them, daemons on them.
//!
//! [`Lab`] owns everything a scenario builds, so that all of it is still there to be looked at when the scenario has
//! failed, and all of it is gone afterwards. Start reading at [`Lab`], then [`Host`], then [`crate::peer`].

mod capture;
mod crowd;
mod host;
mod line;
mod link;
mod log;
mod nat;
mod process;
mod stream;
mod sys;
mod transfer;
mod wait;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};

pub use crowd::{Crowd, Pace, address_in};
pub use host::{Echoes, Host};
pub(crate) use link::ip;
pub use log::{Log, Mark};
pub use nat::{
    drop_large, lose_none, lose_outgoing, lose_requests, lose_some, masquerade, take_requests, translate,
};
pub use process::{Output, Process};
pub use stream::{Report, Stream};
pub(crate) use sys::enter_root;
pub use transfer::round_trip;
pub(crate) use wait::readable;
pub use wait::{Deadline, be_patient, until};
pub use wire::{Carried, Passed, Seen, only_ipsec, passed};

use capture::Capture;
use line::Line;

use crate::peer::{Daemon, Installation, Peer, Settings, SwanctlConf};
use crate::rootfs;

/// What describes a host when something has gone wrong on it.
const DESCRIPTION: [&[&str]; 10] = [
    &["ip", "-s", "address"],
    &["ip", "rule"],
    &["ip", "route", "show", "table", "all"],
    &["ip", "-6", "rule"],
    &["ip", "-6", "route", "show", "table", "all"],
    &["nft", "list", "ruleset"],
    &["ip", "xfrm", "policy"],
    &["ip", "-s", "xfrm", "state", "list", "nokeys"],
    &["cat", "/proc/net/xfrm_stat"],
    &["cat", "/proc/net/udp", "/proc/net/udp6", "/proc/net/snmp"],
];

/// Whether what a lab starts ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Everything ends with the lab, and at the latest with the process that made it.
    Scoped,
    /// Everything stays when the lab is dropped.
    Kept,
}

/// How long scenarios of endurance last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// A minute or so.
    #[default]
    Usual,
    /// As long as it takes to believe it.
    Long,
}

/// Which data plane daemons use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plane {
    /// One in userspace, on a TUN device.
    #[default]
    Userspace,
    /// The kernel's.
    Kernel,
}

/// One scenario's world.
///
/// Fields are dropped in order: captures, then daemons, then lines, then the hosts they run on.
#[derive(Debug)]
pub struct Lab {
    name: String,
    directory: PathBuf,
    ferryd: PathBuf,
    lifetime: Lifetime,
    length: Length,
    plane: Plane,
    made: Cell<u32>,
    captures: RefCell<BTreeMap<String, Capture>>,
    peers: RefCell<Vec<Rc<Peer>>>,
    lines: RefCell<Vec<Line>>,
    hosts: RefCell<Vec<Rc<Host>>>,
}

impl Lab {
    /// A lab whose files lie in `directory` (emptied first), with the daemon under test at the path `ferryd`.
    ///
    /// Its namespaces are called `NAME-PID-NUMBER-ROLE`.
    pub fn new(name: &str, directory: &Path, ferryd: &Path, lifetime: Lifetime) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
        }
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self {
            name: name.to_owned(),
            directory: directory.canonicalize()?,
            ferryd: ferryd.to_owned(),
            lifetime,
            length: Length::Usual,
            plane: Plane::Userspace,
            made: Cell::new(0),
            captures: RefCell::default(),
            peers: RefCell::default(),
            lines: RefCell::default(),
            hosts: RefCell::default(),
        })
    }

    /// The same, for a run of another length.
    #[must_use]
    pub fn at_length(self, length: Length) -> Self {
        Self { length, ..self }
    }

    /// The same, with daemons that use another data plane.
    #[must_use]
    pub fn on(self, plane: Plane) -> Self {
        Self { plane, ..self }
    }

    /// Which data plane daemons use.
    pub fn plane(&self) -> Plane {
        self.plane
    }

    /// How long scenarios of endurance last.
    pub fn length(&self) -> Length {
        self.length
    }

    /// A new host with nothing but its loopback interface.
    pub fn host(&self, role: &str) -> Result<Rc<Host>> {
        let number = self.made.replace(self.made.get() + 1);
        let namespace = format!("{}-{}-{number}-{role}", self.name, std::process::id());
        let host = Host::new(role, namespace, self.directory.join(role), self.lifetime == Lifetime::Scoped);
        let host = Rc::new(host.with_context(|| format!("cannot make the host {role}"))?);
        self.hosts.borrow_mut().push(Rc::clone(&host));
        Ok(host)
    }

    /// Connects an interface of one host with an interface of another, making both.
    pub fn cable(&self, a: (&Host, &str), b: (&Host, &str)) -> Result<()> {
        link::cable(a.0, a.1, b.0, b.1)
    }

    /// Like [`Lab::cable`], of such a length that everything takes `delay` from one end to the other, and slow.
    pub fn line(&self, a: (&Host, &str), b: (&Host, &str), delay: Duration) -> Result<()> {
        self.lines.borrow_mut().push(Line::lay(a, b, delay)?);
        Ok(())
    }

    /// Makes a switch in `host`, to be used like an interface, and plugs in a cable to the interface `wire` of each of
    /// `others`.
    pub fn switch(&self, host: &Host, name: &str, others: &[(&Host, &str)]) -> Result<()> {
        link::switch(host, name)?;
        for (number, (other, wire)) in others.iter().enumerate() {
            let port = format!("{name}{number}");
            link::cable(host, &port, other, wire)?;
            link::plug(host, &port, name)?;
        }
        Ok(())
    }

    /// Records what passes `interface` of `host`. The recording is kept if the scenario fails.
    pub fn record(&self, host: &Rc<Host>, interface: &str) -> Result<()> {
        self.record_only(host, interface, "")
    }

    /// Like [`Lab::record`], on a host with a daemon. A kernel that decrypts a packet shows what was in it as if that had
    /// come by the same interface; inbound, therefore, only IPsec is recorded then.
    pub fn record_at_end(&self, host: &Rc<Host>, interface: &str) -> Result<()> {
        let filter = match self.plane {
            Plane::Userspace => "",
            Plane::Kernel => "outbound or esp or udp port 500 or udp port 4500",
        };
        self.record_only(host, interface, filter)
    }

    fn record_only(&self, host: &Rc<Host>, interface: &str, filter: &str) -> Result<()> {
        let capture = Capture::start(host, interface, filter)?;
        self.captures.borrow_mut().insert(format!("{} {interface}", host.role()), capture);
        Ok(())
    }

    /// Ends a recording begun with [`Lab::record`] and gives its file.
    pub fn recorded(&self, host: &Host, interface: &str) -> Result<PathBuf> {
        let capture = self.captures.borrow_mut().remove(&format!("{} {interface}", host.role()));
        capture.with_context(|| format!("nothing was recorded on {interface} of {}", host.role()))?.finish()
    }

    /// Starts a daemon on `host`, configured and answering, with its connections loaded.
    pub fn peer(&self, host: &Rc<Host>, daemon: Daemon, conf: &SwanctlConf) -> Result<Rc<Peer>> {
        self.peer_with(host, daemon, conf, &Settings::new())
    }

    /// Like [`Lab::peer`], with settings for `strongswan.conf`.
    pub fn peer_with(
        &self,
        host: &Rc<Host>,
        daemon: Daemon,
        conf: &SwanctlConf,
        settings: &Settings,
    ) -> Result<Rc<Peer>> {
        let peer =
            Rc::new(Peer::new(Rc::clone(host), daemon, self.installation(daemon)?, self.plane, settings)?);
        self.peers.borrow_mut().push(Rc::clone(&peer));
        peer.start()?;
        peer.load(conf)?;
        Ok(peer)
    }

    /// The program of the daemon under test.
    pub fn ferryd(&self) -> &Path {
        &self.ferryd
    }

    /// Where a daemon is installed; it is, if need be.
    fn installation(&self, daemon: Daemon) -> Result<Installation> {
        let charon = PathBuf::from("/usr/sbin/charon-systemd");
        Ok(match daemon {
            Daemon::Ferryd => Installation { program: self.ferryd.clone(), root: None },
            Daemon::Charon => Installation { program: charon, root: None },
            Daemon::Charon6 => {
                let root = rootfs::DEBIAN_13.provide(|what| eprintln!("{what}"))?;
                Installation { program: charon, root: Some(root) }
            }
        })
    }

    /// Writes down what can be seen of every host, for whoever wants to know why the scenario failed, and says where.
    pub fn describe(&self) -> &Path {
        // Best effort: a host may be in any state here, and each answer stands in the host's commands.log.
        for host in self.hosts.borrow().iter() {
            for command in DESCRIPTION {
                let _answer = host.output(command);
            }
        }
        for peer in self.peers.borrow().iter() {
            peer.describe();
        }
        for (_, capture) in std::mem::take(&mut *self.captures.borrow_mut()) {
            let _kept = capture.finish();
        }
        &self.directory
    }

    /// Ends a scenario that went well: every daemon still running must end properly when asked to. Leaves no file.
    pub fn close(self) -> Result<()> {
        for peer in self.peers.borrow().iter() {
            peer.stop()?;
        }
        fs::remove_dir_all(&self.directory)?;
        Ok(())
    }

    /// Leaves everything as it is and running. Gives the hosts, each with the process id of its daemon if it has one.
    pub fn leave(self) -> Vec<(Rc<Host>, Option<u32>)> {
        let daemons: Vec<_> = self
            .peers
            .take()
            .into_iter()
            .map(|peer| (peer.host().namespace().to_owned(), peer.release()))
            .collect();
        let daemon_of =
            |host: &Host| daemons.iter().find(|(on, _)| on == host.namespace()).and_then(|(_, id)| *id);
        let hosts = self.hosts.take().into_iter();
        hosts.inspect(|host| host.release()).map(|host| (Rc::clone(&host), daemon_of(&host))).collect()
    }

    /// Where the lab's files lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}
