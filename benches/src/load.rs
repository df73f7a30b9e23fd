//! Many clients of one gateway, in one thread and over UDP: `ferry-ike`'s own initiator, without a data plane.
//!
//! ```no_run
//! use std::time::Duration;
//! use ferry_benches::load::{Load, Pace, Plan};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut load = Load::new(Plan {
//!     from: (1..=8).map(|host| [127, 0, 1, host].into()).collect(),
//!     gateway: [127, 0, 0, 1].into(),
//!     ..Plan::default()
//! })?;
//! let report = load.connect(1000, Pace { at_once: 24, per_second: None }, Duration::from_secs(20))?;
//! println!("{} clients in {:?}, {} retransmissions", report.established, report.took, report.retransmits);
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferry_ike::auth::rules::SignatureRules;
use ferry_ike::config::{
    AddressPattern, AuthClass, Child, ChildAction, Childless, Configuration, Connection, CopyDscp,
    EndpointConfig, Fragmentation, InBandOcsp, Labels, LocalAuth, Mode, Offload, PolicySettings, Ports,
    Processing, RemoteAuth, SecretKind, SendCert, Settings, SharedSecret, SpiPrefix, Unique, Version, Volume,
    any_address,
};
use ferry_ike::crypto::{CryptoProvider, Secret};
use ferry_ike::identity::Identity;
use ferry_ike::output::{Action, Event, Outcome, Output, Path, RequestId};
use ferry_ike::pki::Constraints;
use ferry_ike::proposal::Proposal;
use ferry_ike::selector::SelectorPattern;
use ferry_ike::wire::registry::{ProtocolId, Spi};
use ferry_ike::{Command, Endpoint};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Datagrams that are read from one socket before others have their turn.
const AT_ONCE: usize = 64;

/// Who the clients are and whom they turn to. All have a pre-shared key in common and ask for a virtual IPv4 address.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where they are, in turn. Two sockets are bound to each address.
    pub from: Vec<IpAddr>,
    /// Local ports, of which another daemon on this host may have the usual ones.
    pub ports: Ports,
    /// The gateway's address; its ports are 500 and 4500.
    pub gateway: IpAddr,
    /// The gateway's identity.
    pub gateway_id: String,
    /// The n-th client is `client-n.` and this.
    pub domain: String,
    /// The key.
    pub secret: String,
    /// The proposal for IKE, in strongSwan's words.
    pub ike: String,
    /// The proposal for ESP.
    pub esp: String,
    /// What they ask to reach.
    pub network: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            from: Vec::new(),
            ports: Ports { ike: 1500, nat_t: 14_500 },
            gateway: IpAddr::from([127, 0, 0, 1]),
            gateway_id: "gw.test".to_owned(),
            domain: "load.test".to_owned(),
            secret: String::new(),
            ike: "aes128gcm16-prfsha256-x25519".to_owned(),
            esp: "aes128gcm16".to_owned(),
            network: "0.0.0.0/0".to_owned(),
        }
    }
}

/// How fast clients come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// So many at most are about to connect at any time.
    pub at_once: usize,
    /// So many begin each second; `None` for as many as there is room for.
    pub per_second: Option<f64>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Clients that have connected.
    pub established: usize,
    /// Why others have not, a sentence each.
    pub failed: Vec<String>,
    /// Requests that were sent again.
    pub retransmits: u64,
    /// From the first message to the last answer.
    pub took: Duration,
    /// How long the slowest client took.
    pub slowest: Duration,
}

/// Clients, which stay connected as long as it is there. What the gateway asks of them is answered while
/// [`Load::connect`] or [`Load::serve`] runs.
pub struct Load {
    plan: Plan,
    endpoint: Endpoint,
    sockets: Vec<(SocketAddr, UdpSocket)>,
    buffer: Vec<u8>,
    /// Clients that were begun.
    clients: u64,
    next_spi: u32,
    /// Those that are about to connect, and since when.
    connecting: HashMap<RequestId, Instant>,
    report: Report,
}

impl Load {
    /// Binds sockets. Nobody connects yet.
    ///
    /// # Errors
    /// When an address is not this host's, a port is taken, or the plan does not say what can be asked for.
    pub fn new(plan: Plan) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for &address in &plan.from {
            for port in [plan.ports.ike, plan.ports.nat_t] {
                let local = SocketAddr::new(address, port);
                let socket = UdpSocket::bind(local)
                    .map_err(|error| io::Error::new(error.kind(), format!("cannot bind {local}: {error}")))?;
                socket.set_nonblocking(true)?;
                sockets.push((local, socket));
            }
        }
        let secret = SharedSecret {
            id: None,
            kind: SecretKind::Ike,
            owners: Vec::new(),
            secret: Secret::new(plan.secret.clone().into_bytes()),
        };
        let config = EndpointConfig {
            ports: plan.ports,
            settings: Settings { keep_alive: None, ..Settings::default() },
            spi_prefix: SpiPrefix::default(),
            unique_ids: Arc::default(),
            half_open: Arc::default(),
            ike_sas: Arc::default(),
            configuration: Arc::new(Configuration {
                secrets: vec![Arc::new(secret)],
                ..Configuration::default()
            }),
        };
        let load = Self {
            endpoint: Endpoint::new(config, Arc::new(CryptoProvider::system())),
            sockets,
            buffer: vec![0; 1 << 16],
            clients: 0,
            next_spi: 0x1000_0000,
            connecting: HashMap::new(),
            report: Report::default(),
            plan,
        };
        // A slip of the plan is told before anybody has begun.
        load.connection(0).map(|_| load)
    }

    /// Has further clients connect, and waits until each of them has, or has failed.
    ///
    /// # Errors
    /// When sockets fail, and when it takes longer than `patience`.
    pub fn connect(&mut self, number: usize, pace: Pace, patience: Duration) -> io::Result<Report> {
        let (begun, before) = (Instant::now(), self.endpoint.counters().retransmits);
        let mut left = number;
        self.report = Report::default();
        while left > 0 || !self.connecting.is_empty() {
            let elapsed = begun.elapsed();
            if elapsed > patience {
                let missing = left + self.connecting.len();
                let error = format!("{missing} of {number} clients have not connected within {patience:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, error));
            }
            let due = pace.per_second.map_or(number, |rate| whole(elapsed.as_secs_f64() * rate) + 1);
            while left > 0 && number - left < due && self.connecting.len() < pace.at_once {
                self.begin()?;
                left -= 1;
            }
            let next = pace.per_second.filter(|_| left > 0).map(|rate| {
                let at = f64::from(u32::try_from(number - left).unwrap_or(u32::MAX)) / rate;
                Duration::from_secs_f64(at).saturating_sub(begun.elapsed())
            });
            self.turn(next.unwrap_or(patience))?;
        }
        let report = std::mem::take(&mut self.report);
        let retransmits = self.endpoint.counters().retransmits - before;
        Ok(Report { retransmits, took: begun.elapsed(), ..report })
    }

    /// Answers what the gateway asks for that long.
    ///
    /// # Errors
    /// When sockets fail.
    pub fn serve(&mut self, time: Duration) -> io::Result<()> {
        let begun = Instant::now();
        while let Some(left) = time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            self.turn(left)?;
        }
        Ok(())
    }

    /// IKE SAs that stand.
    #[must_use]
    pub fn established(&self) -> usize {
        self.endpoint.ike_sas().iter().filter(|sa| sa.established.is_some()).count()
    }

    fn begin(&mut self) -> io::Result<()> {
        let connection = Arc::new(self.connection(self.clients)?);
        self.clients += 1;
        let request = RequestId(self.clients);
        let turn = usize::try_from(self.clients).unwrap_or_default() % self.plan.from.len().max(1);
        let local = self.plan.from.get(turn).copied().ok_or_else(|| wrong("clients are nowhere"))?;
        let path = Path {
            local: SocketAddr::new(local, self.plan.ports.ike),
            remote: SocketAddr::new(self.plan.gateway, 500),
        };
        let child = connection.children.first().cloned();
        let now = Instant::now();
        self.connecting.insert(request, now);
        let order = Command::Initiate { request, connection, child, trigger: None, path };
        self.endpoint.handle_command(order, now).map_err(io::Error::other)?;
        self.drain()
    }

    /// Waits for datagrams, timers or until it has waited that long, and deals with what there is.
    fn turn(&mut self, longest: Duration) -> io::Result<()> {
        let due = self.endpoint.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        let wait = due.map_or(longest, |due| due.min(longest));
        let ready: Vec<usize> = {
            let mut waiting: Vec<PollFd<'_>> =
                self.sockets.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::IN)).collect();
            let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
            poll(&mut waiting, Some(&wait))?;
            let ready = waiting.iter().enumerate().filter(|(_, socket)| !socket.revents().is_empty());
            ready.map(|(place, _)| place).collect()
        };
        for place in ready {
            self.receive(place)?;
        }
        self.endpoint.handle_timeout(Instant::now());
        self.drain()
    }

    fn receive(&mut self, place: usize) -> io::Result<()> {
        for _ in 0..AT_ONCE {
            let Some((local, socket)) = self.sockets.get(place) else { return Ok(()) };
            let (octets, remote) = match socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // What was sent before found nobody: whoever waits for an answer will see.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let path = Path { local: *local, remote };
            let datagram = self.buffer.get(..octets).unwrap_or_default();
            self.endpoint.handle_datagram(datagram, path, Instant::now());
            self.drain()?;
        }
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    let from = self.sockets.iter().find(|(local, _)| *local == transmit.path.local);
                    let (_, socket) = from.ok_or_else(|| wrong("a client sends from where none is"))?;
                    match socket.send_to(&transmit.datagram, transmit.path.remote) {
                        // A full queue is a loss like any other, and shows in what is sent again.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        sent => drop(sent?),
                    }
                }
                Output::Action(id, action) => {
                    let outcome = self.act(&action);
                    self.endpoint.handle_outcome(id, outcome, Instant::now());
                }
                Output::Event(Event::Completed { request, result }) => {
                    let Some(since) = self.connecting.remove(&request) else { continue };
                    match result {
                        Ok(()) => self.report.established += 1,
                        Err(why) => self.report.failed.push(why),
                    }
                    self.report.slowest = self.report.slowest.max(since.elapsed());
                }
                // What comes and goes otherwise is counted by whoever asks for it.
                Output::Event(_) => {}
            }
        }
        Ok(())
    }

    /// Does as if there were a data plane.
    fn act(&mut self, action: &Action) -> Outcome {
        match action {
            Action::ReserveSpi { .. } => {
                self.next_spi = self.next_spi.wrapping_add(1);
                Outcome::Spi(Spi(self.next_spi))
            }
            Action::FindPaths { .. } => Outcome::Paths { is_current_usable: true, pairs: Vec::new() },
            Action::QueryUse { .. } => Outcome::Used(Vec::new()),
            Action::CheckUnique { .. } => Outcome::Unique { is_allowed: true, has_other: false },
            Action::InstallChild(_)
            | Action::UseChild { .. }
            | Action::UpdateChild { .. }
            | Action::RemoveChild { .. }
            | Action::ReleaseLease { .. }
            | Action::InstallVirtualIps { .. }
            | Action::RemoveVirtualIps { .. } => Outcome::Done,
            Action::Lease { .. }
            | Action::FindPath { .. }
            | Action::VerifyCertificate(_)
            | Action::RelayEap(_) => Outcome::Failed("the load client does nothing of the kind".to_owned()),
        }
    }

    fn connection(&self, number: u64) -> io::Result<Connection> {
        let identity = |text: &str| Identity::parse(text).map_err(io::Error::other);
        let proposals = |protocol, text: &str| Proposal::parse(protocol, text).map_err(io::Error::other);
        let name = format!("client-{number}.{}", self.plan.domain);
        let local = LocalAuth {
            class: AuthClass::Psk,
            certificates: Vec::new(),
            public_keys: Vec::new(),
            rules: SignatureRules::default(),
            id: Some(identity(&name)?),
            eap_id: None,
            aaa_id: None,
        };
        let remote = RemoteAuth {
            class: Some(AuthClass::Psk),
            rules: SignatureRules::default(),
            trust: Constraints::default(),
            public_keys: Vec::new(),
            id: identity(&self.plan.gateway_id)?,
            eap_id: None,
            groups: Vec::new(),
        };
        let network = SelectorPattern::parse(&self.plan.network).map_err(io::Error::other)?;
        let child = child(proposals(ProtocolId::ESP, &self.plan.esp)?, network);
        Ok(Connection {
            name,
            version: Version::V2,
            local_addrs: vec![AddressPattern::Any],
            remote_addrs: vec![AddressPattern::Host(self.plan.gateway)],
            local_port: self.plan.ports.ike,
            remote_port: 500,
            proposals: proposals(ProtocolId::IKE, &self.plan.ike)?,
            vips: vec![any_address(false)],
            encap: false,
            dscp: 0,
            fragmentation: Fragmentation::Yes,
            mobike: false,
            dpd_delay: None,
            keyingtries: 1,
            unique: Unique::Never,
            childless: Childless::Allow,
            send_cert: SendCert::IfAsked,
            send_certreq: false,
            ocsp: InBandOcsp::Reply,
            rekey_time: None,
            reauth_time: None,
            over_time: Duration::ZERO,
            rand_time: Duration::ZERO,
            pools: Vec::new(),
            interface_in: None,
            interface_out: None,
            local: vec![local],
            remote: vec![remote],
            children: vec![Arc::new(child)],
        })
    }
}

fn child(esp_proposals: Vec<Proposal>, network: SelectorPattern) -> Child {
    Child {
        name: "net".to_owned(),
        esp_proposals,
        local_ts: vec![SelectorPattern::DYNAMIC],
        remote_ts: vec![network],
        processing: Processing::Protect(Mode::Tunnel),
        rekey_time: None,
        life_time: None,
        rand_time: Duration::ZERO,
        bytes: Volume::default(),
        packets: Volume::default(),
        inactivity: None,
        start_action: ChildAction::None,
        close_action: ChildAction::None,
        dpd_action: ChildAction::None,
        replay_window: 32,
        reqid: None,
        copy_df: true,
        copy_ecn: true,
        copy_dscp: CopyDscp::Out,
        offload: Offload::No,
        labels: Labels::default(),
        policies: PolicySettings::default(),
        updown: None,
        host_access: false,
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// How many whole ones there are in a number that is not negative.
fn whole(number: f64) -> usize {
    let capped = number.clamp(0.0, f64::from(u32::MAX));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was brought into the range"
    )]
    let whole = capped as u32;
    usize::try_from(whole).unwrap_or(usize::MAX)
}
