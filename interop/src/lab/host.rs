//! A host: a network namespace with a thread living in it.
//!
//! The thread also has mounts of its own: an empty `/run` (so each daemon finds its socket where it expects it), its
//! own `/etc/swanctl` and its own `/etc/resolv.conf`. What it starts inherits all of that, so no program needs to be
//! told that it is being tested.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::process::{Captured, Output, Process};
use super::wait::{Deadline, patience_here, until_changed};
use super::{link, sys};

/// The directories `swanctl` expects below `/etc/swanctl`.
const CREDENTIAL_DIRECTORIES: [&str; 12] = [
    "x509", "x509ca", "x509aa", "x509ac", "x509crl", "x509ocsp", "pubkey", "private", "rsa", "ecdsa",
    "pkcs8", "pkcs12",
];

/// Where a client writes the DNS servers it is given.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long a command may take unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// When an echo that has not come back is taken for lost.
const LATEST_ECHO: Duration = Duration::from_secs(10);

/// What to ping with.
#[derive(Clone, Copy, Debug)]
pub struct Echoes {
    /// How many echoes.
    pub count: u32,
    /// Octets of data in each; more than a packet holds if need be.
    pub bytes: u32,
    /// How much time lies between two.
    pub every: Duration,
}

impl Default for Echoes {
    fn default() -> Self {
        Self { count: 3, bytes: 56, every: Duration::from_millis(200) }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A machine in the lab. Dropping it deletes its network namespace.
#[derive(Debug)]
pub struct Host {
    role: String,
    namespace: String,
    directory: PathBuf,
    scoped: bool,
    running: RefCell<Vec<Process>>,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Where programs in another root file system find the host's directory.
    pub(crate) const DIRECTORY_IN_ROOT: &str = "/run/lab";

    /// Makes the namespace `namespace` and moves a thread in. The host's files lie in `directory`. Programs of a
    /// `scoped` host end with it; those of another stay, and so does the namespace.
    pub(super) fn new(role: &str, namespace: String, directory: PathBuf, scoped: bool) -> Result<Self> {
        for name in CREDENTIAL_DIRECTORIES {
            fs::create_dir_all(directory.join("swanctl").join(name))?;
        }
        fs::write(directory.join("resolv.conf"), "")?;
        link::ip(&format!("netns add {namespace}"))?;
        let mut host = Self {
            role: role.to_owned(),
            namespace,
            directory,
            scoped,
            running: RefCell::default(),
            jobs: None,
            thread: None,
        };
        host.move_in()?;
        // No duplicate address detection: an IPv6 address is ready once it is set.
        host.sysctl("net/ipv6/conf/all/accept_dad", 0)?;
        host.sysctl("net/ipv6/conf/default/accept_dad", 0)?;
        // A tunnel's packets come in by another interface than the one their sender is routed to.
        host.sysctl("net/ipv4/conf/all/rp_filter", 0)?;
        host.sysctl("net/ipv4/conf/default/rp_filter", 0)?;
        link::ip(&format!("-n {} link set lo up", host.namespace))?;
        Ok(host)
    }

    /// Sets a kernel parameter of this namespace, named as below `/proc/sys`.
    pub fn sysctl(&self, name: &str, value: u32) -> Result<()> {
        let path = Path::new("/proc/sys").join(name);
        let text = value.to_string();
        self.run(move || fs::write(&path, text).with_context(|| format!("cannot set {}", path.display())))
    }

    /// Lets the host forward packets of both families.
    pub fn forward(&self) -> Result<()> {
        self.sysctl("net/ipv4/ip_forward", 1)?;
        self.sysctl("net/ipv6/conf/all/forwarding", 1)
    }

    /// Runs `work` in the host: sockets it opens, files it reads and threads it starts are the host's.
    ///
    /// A panic in `work` is passed on.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, result) = mpsc::sync_channel(1);
        self.send(answer, work);
        match result.recv() {
            Ok(Ok(value)) => value,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(mpsc::RecvError) => unreachable!("the host's thread answers every job it takes"),
        }
    }

    /// Runs a program to its end, at most half a minute, whatever its exit code.
    pub fn output(&self, command: &[&str]) -> Result<Output> {
        self.output_within(command, PATIENCE)
    }

    /// Runs a program to its end, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be started and when it takes longer than `patience`.
    pub fn output_within(&self, command: &[&str], patience: Duration) -> Result<Output> {
        self.capture(program(command)?, patience)
    }

    /// Like [`Host::output_within`], for a command that needs more than arguments.
    pub fn capture(&self, command: Command, patience: Duration) -> Result<Output> {
        let scoped = self.scoped;
        let finished = self.run(move || Captured::start(command, scoped))?.finish(patience);
        let record = match &finished {
            Ok(output) => output.to_string(),
            Err(error) => format!("{error:#}"),
        };
        self.record(&record)?;
        finished.with_context(|| format!("on host {}", self.role))
    }

    /// Runs a program that must succeed.
    pub fn succeed(&self, command: &[&str]) -> Result<Output> {
        self.output(command)?.success().with_context(|| format!("on host {}", self.role))
    }

    /// Starts a program and keeps it running.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        let scoped = self.scoped;
        self.run(move || Process::start(command, scoped)).with_context(|| format!("on host {}", self.role))
    }

    /// Keeps a program running as long as the host is there.
    pub fn keep(&self, process: Process) {
        self.running.borrow_mut().push(process);
    }

    /// Leaves the programs given to [`Host::keep`] running for good.
    pub(super) fn release(&self) {
        self.running.take().into_iter().map(Process::release).for_each(drop);
    }

    /// Sets an address such as `192.0.2.1/24` or `2001:db8::1/64` on an interface.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        link::ip(&format!("-n {} address add {address} dev {interface}{nodad}", self.namespace))
    }

    /// Routes `destination` (`default`, or a prefix) through `gateway`.
    pub fn route(&self, destination: &str, gateway: &str) -> Result<()> {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        link::ip(&format!("{family} -n {} route add {destination} via {gateway}", self.namespace))
    }

    /// Takes an interface down (the cable is pulled) or up again.
    pub fn set_up(&self, interface: &str, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        link::ip(&format!("-n {} link set {interface} {state}", self.namespace))
    }

    /// Pings `target` from `source` and wants every echo back, once.
    pub fn ping(&self, source: &str, target: &str, count: u32) -> Result<Output> {
        self.ping_with(source, target, &Echoes { count, ..Echoes::default() })
    }

    /// Like [`Host::ping`], with echoes of another kind.
    pub fn ping_with(&self, source: &str, target: &str, echoes: &Echoes) -> Result<Output> {
        // ping takes its time between two.
        let patience = echoes.every * echoes.count * 2 + LATEST_ECHO;
        let (count, bytes) = (echoes.count.to_string(), echoes.bytes.to_string());
        let every = echoes.every.as_secs_f64().to_string();
        let deadline = patience_here(patience).as_secs().to_string();
        // Without a deadline (-w) ping waits for the last echo only twice as long as the others took. With one it goes
        // on until it has `count` echoes, of which none may be missing.
        let ping = ["ping", "-c", &count, "-s", &bytes, "-i", &every, "-w", &deadline, "-I", source, target];
        let output = self.output_within(&ping, patience + PATIENCE)?;
        let came = |number: &u32| output.stdout.contains(&format!("icmp_seq={number} "));
        let missing: Vec<u32> = (1..=echoes.count).filter(|number| !came(number)).collect();
        let twice: Vec<&str> = output.stdout.lines().filter(|line| line.contains("(DUP!)")).collect();
        ensure!(
            missing.is_empty() && twice.is_empty(),
            "of {count} echoes of {target} to {source} on {} these did not come: {missing:?}, and these came twice: \
             {twice:?}\n{}",
            self.role,
            output.stderr
        );
        Ok(output)
    }

    /// Waits until somebody listens on the local socket `path`.
    pub fn wait_for_socket(&self, path: &Path, deadline: Deadline) -> Result<()> {
        let path = path.to_owned();
        self.run(move || {
            let directory = path.parent().context("a socket lies in a directory")?;
            until_changed(directory, deadline, &format!("the socket {}", path.display()), || {
                Ok(UnixStream::connect(&path).ok())
            })
            .map(drop)
        })
    }

    /// Hides a directory, such as `/dev/net`, from every program started from now on.
    pub fn hide(&self, directory: &'static str) -> Result<()> {
        self.run(|| sys::hide_directory(Path::new(directory)))
            .with_context(|| format!("cannot hide {directory}"))
    }

    /// Makes the root file system at `root` a home for programs of this host. They find the host's `/run` and devices where
    /// they expect them, the host's own directory at [`Host::DIRECTORY_IN_ROOT`], and at `configuration.1` what lies in the
    /// folder `configuration.0` of that.
    pub(crate) fn furnish(&self, root: &Path, configuration: (&str, &'static str)) -> Result<()> {
        let (root, directory) = (root.to_owned(), self.directory.clone());
        let (folder, place) = (directory.join(configuration.0), configuration.1);
        let furnish = move || {
            sys::show(&directory, Path::new(Self::DIRECTORY_IN_ROOT))?;
            for shared in ["/run", "/dev", "/proc", "/sys"] {
                sys::furnish(&root, Path::new(shared), shared)?;
            }
            sys::furnish(&root, &folder, place)
        };
        self.run(furnish).with_context(|| format!("on host {}", self.role))
    }

    /// What the host is in its scenario: `gateway`, `client` ...
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The network namespace's name, as `ip netns` knows it.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Where the host's files lie: configuration, logs, captures.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn move_in(&mut self) -> Result<()> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, entered) = mpsc::sync_channel(1);
        let (namespace, directory) = (self.namespace.clone(), self.directory.clone());
        let thread = std::thread::Builder::new().name(self.role.clone()).spawn(move || {
            let result = enter(&namespace, &directory);
            let entered = result.is_ok();
            // The receiver waits below; it is gone only if the whole lab is.
            let _gone = ready.send(result);
            if entered {
                inbox.into_iter().for_each(|job| job());
            }
        })?;
        (self.jobs, self.thread) = (Some(jobs), Some(thread));
        entered.recv()?.with_context(|| format!("cannot enter the namespace {}", self.namespace))
    }

    fn send<T: Send + 'static>(
        &self,
        answer: SyncSender<std::thread::Result<T>>,
        work: impl FnOnce() -> T + Send + 'static,
    ) {
        let job: Job = Box::new(move || {
            // The receiver waits in `run`.
            let _gone = answer.send(catch_unwind(AssertUnwindSafe(work)));
        });
        if let Some(jobs) = &self.jobs {
            // If the thread were gone, dropping the job would end the wait in `run`.
            let _gone = jobs.send(job);
        }
    }

    fn record(&self, text: &str) -> Result<()> {
        let path = self.directory.join("commands.log");
        let mut log = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(log, "{text}\n")?;
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.running.take();
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its jobs catch their panics.
            let _finished = thread.join();
        }
        if self.scoped
            && let Err(error) = link::ip(&format!("netns delete {}", self.namespace))
        {
            eprintln!("the namespace {} is left over: {error:#}", self.namespace);
        }
    }
}

fn enter(namespace: &str, directory: &Path) -> Result<()> {
    sys::enter_network_namespace(namespace)?;
    let (swanctl, resolv_conf) = (directory.join("swanctl"), directory.join("resolv.conf"));
    let mut binds = vec![(swanctl.as_path(), Path::new("/etc/swanctl"))];
    // Where it is a link into /run, the empty /run already keeps the machine's own from being written.
    if Path::new(RESOLV_CONF).canonicalize().is_ok_and(|path| !path.starts_with("/run")) {
        binds.push((resolv_conf.as_path(), Path::new(RESOLV_CONF)));
    }
    sys::enter_private_mounts(binds)?;
    Ok(())
}

fn program(command: &[&str]) -> Result<Command> {
    let (name, arguments) = command.split_first().context("a command has a name")?;
    let mut command = Command::new(name);
    command.args(arguments);
    Ok(command)
}
