//! The world: hosts, what is between them, and time, which passes only when told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host::{Host, HostId};
use super::narrator::{self, Narrator};
use super::nat::{NatBox, NatId};
use super::network::{Air, Datagram, Fate, Flight, Weather};
use super::outside::{ActionKind, Manner};
use super::random::{Dice, provider, provider_that_knows};
use super::setup::{Setup, address};
use crate::attempt::Attempt;
use crate::command::{Command, CommandError, Trigger};
use crate::config::{AddressPattern, Configuration, Connection};
use crate::crypto::KnownAgreements;
use crate::output::{ChildSaId, IkeSaId, Output, Path, RequestId, Transmit};
use crate::status::IkeSaStatus;

/// Hosts, links between them, and a clock.
///
/// Datagrams hang in the air until they are delivered, one by one with [`deliver`](Self::deliver) or by letting time
/// pass with [`run`](Self::run) and [`run_for`](Self::run_for). A test that panics prints what has gone over the wire.
pub struct World {
    start: Instant,
    now: Instant,
    seed: u64,
    dice: Dice,
    hosts: Vec<Host>,
    nats: Vec<NatBox>,
    pub(super) air: Air,
    /// Addresses that nothing passes from or to.
    blocked: BTreeSet<IpAddr>,
    weather: Weather,
    /// The largest IP datagram that links carry; whatever drops larger ones drops IP fragments of them too.
    mtu: Option<usize>,
    /// Addresses without a host, whose datagrams are kept.
    mailboxes: BTreeMap<IpAddr, VecDeque<Datagram>>,
    narrator: Narrator,
    requests: u64,
    /// The datagrams sent last, as an eavesdropper has them.
    overheard: VecDeque<Datagram>,
    /// Nothing is narrated.
    is_silent: bool,
    /// What need not be computed again.
    known: Option<Arc<KnownAgreements>>,
}

/// So many datagrams an eavesdropper keeps.
const MOST_OVERHEARD: usize = 64;

/// The most that may happen in one go; more means that hosts keep each other busy without end.
const MOST_STEPS: usize = 100_000;

impl World {
    /// An empty world. The seed decides everything that is left to chance.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let now = Instant::now(); // the only look at a clock: there is no other way to an instant
        Self {
            start: now,
            now,
            seed,
            dice: Dice::new(seed),
            hosts: Vec::new(),
            nats: Vec::new(),
            air: Air::default(),
            blocked: BTreeSet::new(),
            weather: Weather::fair(),
            mtu: None,
            mailboxes: BTreeMap::new(),
            narrator: Narrator::default(),
            requests: 0,
            overheard: VecDeque::new(),
            is_silent: false,
            known: None,
        }
    }

    /// The same, for a test that makes the same world over and over: key exchanges that others of them have computed
    /// are not computed again.
    #[must_use]
    pub fn once_more(seed: u64, known: &Arc<KnownAgreements>) -> Self {
        let mut world = Self::new(seed);
        world.known = Some(known.clone());
        world
    }

    /// A world with a client and a gateway; the client is first.
    #[must_use]
    pub fn of(client: Setup, gateway: Setup) -> (Self, HostId, HostId) {
        let mut world = Self::new(7);
        let client = world.add(client);
        let gateway = world.add(gateway);
        (world, client, gateway)
    }

    // What there is.

    /// Adds a host.
    pub fn add(&mut self, setup: Setup) -> HostId {
        let id = HostId(self.hosts.len());
        let nth = u64::try_from(id.0).unwrap_or(u64::MAX);
        let seed = self.seed.wrapping_mul(1000).wrapping_add(nth);
        let crypto = match &self.known {
            Some(known) => provider_that_knows(seed, known),
            None => provider(seed),
        };
        self.hosts.push(Host::new(setup, crypto));
        self.tell_network(id);
        id
    }

    /// Gives a host other addresses, the best first. It hears of that at once.
    pub fn move_to(&mut self, host: HostId, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| address(text)).collect();
        let host_mut = self.host_mut(host);
        host_mut.addresses = addresses;
        let line = format!("{}: is at {:?} now", host_mut.name, host_mut.addresses);
        self.note(&line);
        self.tell_network(host);
    }

    fn tell_network(&mut self, host: HostId) {
        let addresses = self.host(host).addresses.clone();
        self.command(host, Command::NetworkChanged { addresses }).expect("an endpoint takes what it is told");
    }

    /// Lets nothing pass from or to an address, or lets it pass again. Nobody is told.
    pub fn block(&mut self, address: &str, is_blocked: bool) {
        let address = self::address(address);
        if is_blocked {
            self.blocked.insert(address);
        } else {
            self.blocked.remove(&address);
        }
    }

    pub(super) fn is_blocked(&self, from: SocketAddr, to: SocketAddr) -> bool {
        self.blocked.contains(&from.ip()) || self.blocked.contains(&to.ip())
    }

    /// Adds a NAT box with this address outside. Mappings live a minute without a datagram from inside.
    pub fn add_nat(&mut self, public: &str) -> NatId {
        let id = NatId(self.nats.len());
        self.nats.push(NatBox::new(address(public), Duration::from_secs(60)));
        id
    }

    /// Puts a host behind a NAT.
    pub fn put_behind(&mut self, host: HostId, nat: NatId) {
        self.host_mut(host).nat = Some(nat);
    }

    /// Takes a host out from behind its NAT.
    pub fn take_out(&mut self, host: HostId) {
        self.host_mut(host).nat = None;
    }

    /// Lets everybody reach ports 500 and 4500 of a host behind its NAT.
    pub fn forward(&mut self, nat: NatId, host: HostId) {
        let inner = *self.host(host).addresses.first().expect("a host has an address");
        for port in [500, 4500] {
            self.nat_mut(nat).forward(port, inner);
        }
    }

    /// Makes a NAT forget its mappings.
    pub fn rebind(&mut self, nat: NatId) {
        self.nat_mut(nat).rebind();
    }

    /// Keeps what arrives at an address where no host is.
    pub fn keep_mail(&mut self, at: IpAddr) {
        self.mailboxes.entry(at).or_default();
    }

    /// The next datagram that arrived at an address where no host is.
    pub fn mail(&mut self, at: IpAddr) -> Option<Datagram> {
        self.mailboxes.get_mut(&at)?.pop_front()
    }

    /// Changes the weather.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Makes links that drop larger IP datagrams, and IP fragments.
    pub fn set_mtu(&mut self, octets: usize) {
        self.mtu = Some(octets);
    }

    /// Cuts a host off from all others, or connects it again.
    pub fn cut(&mut self, host: HostId, is_cut_off: bool) {
        self.host_mut(host).is_cut_off = is_cut_off;
    }

    /// A host.
    #[must_use]
    pub fn host(&self, id: HostId) -> &Host {
        self.hosts.get(id.0).expect("hosts are named by the world they live in")
    }

    pub(super) fn host_mut(&mut self, id: HostId) -> &mut Host {
        self.hosts.get_mut(id.0).expect("hosts are named by the world they live in")
    }

    fn nat_mut(&mut self, id: NatId) -> &mut NatBox {
        self.nats.get_mut(id.0).expect("NATs are named by the world they live in")
    }

    /// The IKE SAs of a host.
    #[must_use]
    pub fn ike_sas(&self, host: HostId) -> Vec<IkeSaStatus> {
        self.host(host).endpoint.ike_sas()
    }

    /// The only IKE SA of a host.
    ///
    /// # Panics
    ///
    /// If there is none, or another.
    #[must_use]
    pub fn ike_sa(&self, host: HostId) -> IkeSaStatus {
        let mut sas = self.ike_sas(host);
        assert_eq!(sas.len(), 1, "IKE_SAs of {}", self.host(host).name);
        sas.remove(0)
    }

    /// The connection of a host that has a child of that name, or that name itself.
    #[must_use]
    pub fn connection(&self, host: HostId, name: &str) -> Arc<Connection> {
        self.host(host).connection(name).clone()
    }

    /// What a host has told since this was last asked.
    pub fn events(&mut self, host: HostId) -> Vec<String> {
        std::mem::take(&mut self.host_mut(host).events)
    }

    /// The attempts at IKE SAs that have failed on a host since this was last asked.
    pub fn attempts(&mut self, host: HostId) -> Vec<Attempt> {
        std::mem::take(&mut self.host_mut(host).attempts)
    }

    /// Deals with actions of a host in another way from now on; `None` is done and told at once.
    pub fn deal(&mut self, host: HostId, kind: ActionKind, manner: impl Into<Option<Manner>>) {
        self.host_mut(host).outside.deal(kind, manner);
    }

    /// Tells nothing any more: what goes over the wire is neither opened nor described, which takes time.
    pub fn be_silent(&mut self) {
        self.is_silent = true;
    }

    /// The dice of this world.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    // Orders.

    /// Initiates a connection with the child of that name, or the connection of that name without a child.
    ///
    /// # Panics
    ///
    /// If the endpoint refuses it.
    pub fn initiate(&mut self, host: HostId, name: &str) -> RequestId {
        self.acquire(host, name, None)
    }

    /// The same, for a packet that a trap has caught.
    ///
    /// # Panics
    ///
    /// If the endpoint refuses it.
    pub fn acquire(&mut self, host: HostId, name: &str, trigger: Option<Trigger>) -> RequestId {
        let request = self.next_request();
        let connection = self.connection(host, name);
        let child = connection.child(name).cloned();
        let remote = connection.remote_addrs.iter().find_map(|pattern| match pattern {
            AddressPattern::Host(remote) => Some(*remote),
            _ => None, // nobody to connect to
        });
        let path =
            self.host(host).path(&connection, remote.expect("the connection names the peer's address"));
        self.command(host, Command::Initiate { request, connection, child, trigger, path })
            .expect("nothing speaks against initiating");
        request
    }

    /// Initiates the child of that name, lets it come to stand, and forgets the events of that.
    ///
    /// # Panics
    ///
    /// If it does not come to stand.
    pub fn connect(&mut self, client: HostId, gateway: HostId, name: &str) {
        self.initiate(client, name);
        self.run();
        self.assert_connected(client, gateway);
        self.events(client);
        self.events(gateway);
    }

    /// Lets the DNS of a host know a name.
    pub fn name(&mut self, host: HostId, name: &str, at: &str) {
        self.host_mut(host).outside.name(name, address(at));
    }

    /// Ends an IKE SA.
    pub fn terminate(&mut self, host: HostId, ike_sa: IkeSaId) -> RequestId {
        let request = self.next_request();
        self.command(host, Command::TerminateIkeSa { request, ike_sa, force: false })
            .expect("the IKE_SA is there");
        request
    }

    /// Ends a CHILD_SA.
    pub fn terminate_child(&mut self, host: HostId, child_sa: ChildSaId) -> RequestId {
        let request = self.next_request();
        self.command(host, Command::TerminateChildSa { request, child_sa }).expect("the CHILD_SA is there");
        request
    }

    /// Gives a host other connections and secrets.
    ///
    /// # Errors
    ///
    /// If the endpoint refuses them.
    pub fn configure(&mut self, host: HostId, configuration: Configuration) -> Result<(), CommandError> {
        let configuration = Arc::new(configuration);
        self.host_mut(host).connections.clone_from(&configuration.connections);
        self.command(host, Command::Configure(configuration))
    }

    /// Gives any command.
    ///
    /// # Errors
    ///
    /// If the endpoint refuses it.
    pub fn command(&mut self, host: HostId, command: Command) -> Result<(), CommandError> {
        let now = self.now;
        let result = self.host_mut(host).endpoint.handle_command(command, now);
        self.drain(host);
        result
    }

    /// A request number that was not used before.
    pub fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    // Datagrams.

    /// Delivers the datagram that arrives next; time passes until it does. What it says.
    ///
    /// # Panics
    ///
    /// If nothing is in the air.
    pub fn deliver(&mut self) -> String {
        let (at, flight) = self.air.land().expect("a datagram is in the air");
        self.pass_time(at);
        self.arrive(flight.datagram, &flight.line);
        flight.line
    }

    /// Takes the datagram that would arrive next out of the air.
    ///
    /// # Panics
    ///
    /// If nothing is in the air.
    pub fn take(&mut self) -> Datagram {
        let (at, flight) = self.air.land().expect("a datagram is in the air");
        self.pass_time(at);
        self.note(&format!("{} (taken)", flight.line));
        flight.datagram
    }

    /// What is in the air, next first.
    #[must_use]
    pub fn in_air(&self) -> Vec<&str> {
        self.air.iter().map(|flight| flight.line.as_str()).collect()
    }

    /// Lets a datagram arrive now, whoever wrote it.
    pub fn inject(&mut self, datagram: Datagram) {
        let line = format!("{} (injected)", self.describe(None, &datagram));
        self.arrive(datagram, &line);
    }

    /// One of the datagrams sent last, lost ones included.
    pub fn overhear(&mut self) -> Option<Datagram> {
        self.overheard.make_contiguous();
        self.dice.pick(self.overheard.as_slices().0).cloned()
    }

    // Time.

    /// The moment it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How long the world is there.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.start)
    }

    /// How long until something of a host is due; `None` for never.
    #[must_use]
    pub fn due(&self, host: HostId) -> Option<Duration> {
        let at = self.host(host).endpoint.poll_timeout()?;
        Some(at.saturating_duration_since(self.now))
    }

    /// Delivers what is in the air, and what follows from it, until the air is empty.
    pub fn run(&mut self) {
        for _ in 0..MOST_STEPS {
            if self.air.len() == 0 {
                return;
            }
            self.deliver();
        }
        self.give_up();
    }

    /// Lets time pass: datagrams arrive and deadlines are met.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..MOST_STEPS {
            match self.air.next_arrival() {
                Some(at) if at <= until => {
                    self.deliver();
                }
                _ => match self.next_deadline() {
                    // What is due may send, and that may arrive before all else.
                    Some(at) if at <= until => self.pass_time(at),
                    _ => return self.pass_time(until),
                },
            }
        }
        self.give_up();
    }

    /// Lets time pass, and deadlines be met, while datagrams hang in the air.
    pub fn wait(&mut self, time: Duration) {
        self.pass_time(self.now + time);
    }

    /// Lets time pass until the next deadline, and meets it. How long it took.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn wait_for_deadline(&mut self) -> Duration {
        let at = self.next_deadline().expect("somebody has a deadline");
        let time = at.saturating_duration_since(self.now);
        self.pass_time(at);
        time
    }

    /// Lets time pass until nothing is in the air and nobody has a deadline, or for so long.
    pub fn run_out(&mut self, most: Duration) {
        let until = self.now + most;
        for _ in 0..MOST_STEPS {
            let Some(at) = self.air.next_arrival().into_iter().chain(self.next_deadline()).min() else {
                return;
            };
            if at > until {
                return;
            }
            self.run_for(at.saturating_duration_since(self.now));
        }
        self.give_up();
    }

    // What must be.

    /// Asserts that nothing is left anywhere: no SA, no deadline, no CHILD_SA in a data plane, no lease.
    ///
    /// # Panics
    ///
    /// If something is.
    pub fn assert_nothing_left(&self) {
        let leaks: Vec<String> = self.hosts.iter().flat_map(Host::leaks).collect();
        assert!(leaks.is_empty(), "left behind: {leaks:#?}");
        assert_eq!(self.air.len(), 0, "in the air: {:#?}", self.in_air());
    }

    /// Asserts that no endpoint has asked for what makes no sense.
    ///
    /// # Panics
    ///
    /// If one has.
    pub fn assert_no_faults(&self) {
        for host in &self.hosts {
            assert!(host.outside.faults().is_empty(), "{}: {:#?}", host.name, host.outside.faults());
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn transcript(&self) -> &str {
        self.narrator.transcript()
    }

    // Inside.

    pub(super) fn note(&mut self, line: &str) {
        if self.is_silent {
            return;
        }
        self.narrator.note(self.now.saturating_duration_since(self.start), line);
    }

    /// Meets every deadline up to a moment, in order. The clock does not go back.
    fn pass_time(&mut self, until: Instant) {
        for _ in 0..MOST_STEPS {
            let Some(at) = self.next_deadline().filter(|at| *at <= until) else {
                self.now = self.now.max(until);
                return;
            };
            self.now = self.now.max(at);
            for id in self.ids() {
                self.meet_deadlines(id);
            }
        }
        self.give_up();
    }

    fn meet_deadlines(&mut self, id: HostId) {
        let now = self.now;
        let host = self.host_mut(id);
        let due = host.late.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>();
        let is_due = host.endpoint.poll_timeout().is_some_and(|at| at <= now);
        let overdue: Vec<_> = host.overdue.extract_if(.., |(at, _)| *at <= now).map(|(_, sa)| sa).collect();
        if !overdue.is_empty() {
            host.end(&overdue, false, now);
            self.drain(id);
        }
        for (_, action, outcome) in due {
            self.host_mut(id).endpoint.handle_outcome(action, outcome, now);
            self.drain(id);
        }
        if is_due {
            self.host_mut(id).endpoint.handle_timeout(now);
            self.drain(id);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let of_endpoints = self.hosts.iter().filter_map(|host| host.endpoint.poll_timeout());
        let of_outsides = self.hosts.iter().flat_map(|host| host.late.iter().map(|(at, ..)| *at));
        let of_uniqueness = self.hosts.iter().flat_map(|host| host.overdue.iter().map(|(at, _)| *at));
        of_endpoints.chain(of_outsides).chain(of_uniqueness).min()
    }

    fn ids(&self) -> Vec<HostId> {
        (0..self.hosts.len()).map(HostId).collect()
    }

    fn give_up(&self) {
        let busy = self.hosts.iter().flat_map(Host::leaks).collect::<Vec<_>>();
        assert!(self.hosts.is_empty(), "no end in sight: {busy:#?}");
    }

    /// Takes everything out of an endpoint and does it.
    pub(super) fn drain(&mut self, id: HostId) {
        let now = self.now;
        while let Some(output) = self.host_mut(id).endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => self.transmit(id, transmit),
                Output::Action(action_id, action) => {
                    let host = self.host_mut(id);
                    if let Some(outcome) = host.act(action_id, action, now) {
                        host.endpoint.handle_outcome(action_id, outcome, now);
                    }
                }
                Output::Event(event) => {
                    let host = self.host_mut(id);
                    let line = format!("{}: {}", host.name.clone(), host.tell(&event));
                    self.note(&line);
                }
            }
        }
    }

    fn transmit(&mut self, sender: HostId, transmit: Transmit) {
        let Path { local, remote } = transmit.path;
        let from = self.outer_source(sender, local, remote);
        let datagram = Datagram { from, to: remote, octets: transmit.datagram };
        let line = self.describe(Some(sender), &datagram);
        self.overheard.push_back(datagram.clone());
        if self.overheard.len() > MOST_OVERHEARD {
            self.overheard.pop_front();
        }
        if self.host(sender).is_cut_off {
            return self.note(&format!("{line} (cut off)"));
        }
        if self.mtu.is_some_and(|mtu| datagram.ip_len() > mtu) {
            return self.note(&format!("{line} (too large)"));
        }
        // An address that a host does not have any more is none it could send from.
        if self.is_blocked(from, remote) || !self.host(sender).addresses.contains(&local.ip()) {
            return self.note(&format!("{line} (blocked)"));
        }
        let flight = Flight { datagram, line: line.clone() };
        match self.air.launch(flight, &self.weather, self.now, &mut self.dice) {
            Fate::Lost => self.note(&format!("{line} (lost)")),
            Fate::Doubled => self.note(&format!("{line} (sent, and doubled)")),
            Fate::OnItsWay => self.note(&format!("{line} (sent)")),
        }
    }

    /// The source address of what a host sends, behind its NAT.
    pub(super) fn outer_source(
        &mut self,
        sender: HostId,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> SocketAddr {
        let now = self.now;
        match self.host(sender).nat {
            Some(nat) => self.nat_mut(nat).outbound(local, remote, now),
            None => local,
        }
    }

    /// Who gets a datagram, and at which address of its own.
    pub(super) fn receiver(&mut self, to: SocketAddr, from: SocketAddr) -> Option<(HostId, SocketAddr)> {
        let now = self.now;
        let nat = self.nats.iter().position(|nat| nat.public == to.ip());
        let inner = match nat {
            Some(nat) => self.nat_mut(NatId(nat)).inbound(to.port(), from, now)?,
            None => to,
        };
        let index = self.hosts.iter().position(|host| {
            // What is behind a NAT can be reached through it alone.
            host.addresses.contains(&inner.ip()) && host.nat.map(|NatId(nat)| nat) == nat
        })?;
        Some((HostId(index), inner))
    }

    pub(super) fn arrive(&mut self, datagram: Datagram, line: &str) {
        let Datagram { from, to, octets } = &datagram;
        match self.receiver(*to, *from) {
            Some((id, _)) if self.host(id).is_cut_off => self.note(&format!("{line} (cut off)")),
            Some((id, local)) => {
                self.note(line);
                let path = Path { local, remote: *from };
                let now = self.now;
                self.host_mut(id).endpoint.handle_datagram(octets, path, now);
                self.drain(id);
            }
            None => {
                self.note(line);
                if let Some(mailbox) = self.mailboxes.get_mut(&to.ip()) {
                    mailbox.push_back(datagram);
                }
            }
        }
    }

    fn describe(&mut self, sender: Option<HostId>, datagram: &Datagram) -> String {
        if self.is_silent {
            return String::new();
        }
        let Datagram { from, to, octets } = datagram;
        let receiver = self.receiver(*to, *from);
        let name = |id: Option<HostId>, addr: &SocketAddr| {
            id.map_or_else(|| addr.to_string(), |id| self.host(id).name.clone())
        };
        let sender = name(sender, from);
        let receiver = name(receiver.map(|(id, _)| id), to);
        // Whoever shares the keys can read it.
        let read = |message: &crate::wire::Message<'_>| {
            let spi = narrator::receiver_spi(&message.header);
            self.hosts.iter().find_map(|host| {
                host.endpoint.overhear(spi, message, |payloads| narrator::payloads(&message.header, payloads))
            })
        };
        let has_marker = from.port() == 4500 || to.port() == 4500;
        format!("{sender} --> {receiver}: {}", narrator::describe(octets, has_marker, read))
    }
}

/// A test that fails shows what happened.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}\n{}", self.seed, self.transcript());
        }
    }
}
