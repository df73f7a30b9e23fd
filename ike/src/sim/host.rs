//! A host: an endpoint, what is around it, and what it told.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::aaa::Aaa;
use super::nat::NatId;
use super::outside::{ActionKind, Manner, Outside};
use super::setup::Setup;
use crate::attempt::Attempt;
use crate::command::Command;
use crate::config::{Connection, EndpointConfig, Ports, Unique};
use crate::crypto::CryptoProvider;
use crate::endpoint::Endpoint;
use crate::output::{Action, ActionId, ChildSaId, Event, IkeSaId, Outcome, Path, RequestId};
use crate::status::IkeSaState;

/// Names a host of a [`World`](super::World).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub(super) usize);

/// A host of a [`World`](super::World).
pub struct Host {
    /// Its name in transcripts.
    pub name: String,
    /// Its own addresses, behind the NAT if there is one. It prefers the first of a family.
    pub addresses: Vec<IpAddr>,
    /// The protocol.
    pub endpoint: Endpoint,
    /// What does the endpoint's actions.
    pub outside: Outside,
    pub(super) nat: Option<NatId>,
    pub(super) is_cut_off: bool,
    pub(super) connections: Vec<Arc<Connection>>,
    pub(super) events: Vec<String>,
    /// Attempts that have failed.
    pub(super) attempts: Vec<Attempt>,
    /// What it has told to be up, and not yet to be down.
    up: BTreeSet<Up>,
    /// Outcomes of actions that are dealt with late, by when they are told.
    pub(super) late: Vec<(Instant, ActionId, Outcome)>,
    /// IKE SAs that others have taken the place of, by when they are ended if they are still there.
    pub(super) overdue: Vec<(Instant, IkeSaId)>,
    /// Commands of our own, which nobody waits for.
    own_requests: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Up {
    IkeSa(IkeSaId),
    ChildSa(ChildSaId),
}

/// How long an old IKE SA of a peer stays beside a new one of the same address.
const OVERLAP: Duration = Duration::from_secs(10);

/// The numbers of requests that hosts give to themselves start here.
const OWN_REQUESTS: u64 = 1 << 32;

impl Host {
    pub(super) fn new(setup: Setup, crypto: Arc<CryptoProvider>) -> Self {
        let mut outside = Outside::default();
        for pool in setup.pools {
            outside.add_pool(pool);
        }
        outside.aaa = setup.aaa.map(|account| Aaa::new(account, crypto.clone()));
        let configuration = Arc::new(setup.configuration);
        let config = EndpointConfig {
            ports: Ports::default(),
            settings: setup.settings,
            spi_prefix: setup.spi_prefix,
            unique_ids: Arc::default(),
            half_open: Arc::default(),
            ike_sas: Arc::default(),
            configuration: configuration.clone(),
        };
        Self {
            name: setup.name,
            addresses: vec![setup.address],
            endpoint: Endpoint::new(config, crypto),
            outside,
            nat: None,
            is_cut_off: false,
            connections: configuration.connections.clone(),
            events: Vec::new(),
            attempts: Vec::new(),
            up: BTreeSet::new(),
            late: Vec::new(),
            overdue: Vec::new(),
            own_requests: OWN_REQUESTS,
        }
    }

    /// The connection that has a child of that name, or that name itself, in load order.
    pub(super) fn connection(&self, name: &str) -> &Arc<Connection> {
        self.connections
            .iter()
            .find(|connection| connection.name == name || connection.child(name).is_some())
            .expect("the host has a connection or child of that name")
    }

    /// The ports and addresses between which a connection is initiated.
    pub(super) fn path(&self, connection: &Connection, remote: IpAddr) -> Path {
        let local_port = if connection.local_port == 0 { 500 } else { connection.local_port };
        let of_family = |address: &&IpAddr| address.is_ipv4() == remote.is_ipv4();
        let local = *self.addresses.iter().find(of_family).expect("the host has an address of that family");
        Path {
            local: SocketAddr::new(local, local_port),
            remote: SocketAddr::new(remote, connection.remote_port),
        }
    }

    pub(super) fn tell(&mut self, event: &Event) -> String {
        let line = describe(event);
        if let Event::Failed(attempt) = event {
            self.attempts.push((**attempt).clone());
            return line;
        }
        let makes_sense = match event {
            Event::IkeSaUp(sa) => self.up.insert(Up::IkeSa(sa.id)),
            Event::ChildSaUp { child_sa, .. } => self.up.insert(Up::ChildSa(child_sa.id)),
            Event::ChildSaDown { child_sa, .. } => self.up.remove(&Up::ChildSa(child_sa.id)),
            Event::IkeSaDown { status, .. } => {
                // One that never stood goes too.
                self.up.remove(&Up::IkeSa(status.id));
                true
            }
            Event::IkeSaMoved { status, .. } => self.up.contains(&Up::IkeSa(status.id)),
            Event::ChildRekeyed { old, new, .. } => self.replace(Up::ChildSa(old.id), Up::ChildSa(new.id)),
            Event::IkeSaRekeyed { old, new } => self.replace(Up::IkeSa(old.id), Up::IkeSa(new.id)),
            Event::NotRenewed { .. } | Event::Failed(_) | Event::Completed { .. } => true,
        };
        if !makes_sense {
            self.outside.fault(format!("told out of turn: {line}"));
        }
        if !matches!(event, Event::Completed { request, .. } if request.0 > OWN_REQUESTS) {
            self.events.push(line.clone());
        }
        line
    }

    /// One goes and another takes its place. True if the one was there and the other was not.
    fn replace(&mut self, old: Up, new: Up) -> bool {
        self.up.remove(&old) && self.up.insert(new)
    }

    /// Deals with an action as it is told to. `None` if the outcome comes later.
    pub(super) fn act(&mut self, id: ActionId, action: Action, now: Instant) -> Option<Outcome> {
        match self.outside.manner(ActionKind::of(&action)) {
            Some(Manner::Fails) => Some(Outcome::Failed("told to fail".into())),
            Some(Manner::Late(delay)) => {
                let outcome = self.perform(action, now);
                self.late.push((now + delay, id, outcome));
                None
            }
            None => Some(self.perform(action, now)),
        }
    }

    fn perform(&mut self, action: Action, now: Instant) -> Outcome {
        match action {
            Action::CheckUnique { ike_sa, connection, local_id, remote_id, remote, initial_contact } => {
                let others = self.endpoint.ike_sas().into_iter().filter(|sa| {
                    sa.id != ike_sa
                        && sa.state == IkeSaState::Established
                        && sa.local_id.as_ref() == Some(&local_id)
                        && sa.peer() == Some(&remote_id)
                });
                let (near, far): (Vec<_>, Vec<_>) = others.partition(|sa| sa.remote.ip() == remote);
                let [near, far]: [Vec<IkeSaId>; 2] =
                    [near, far].map(|sas| sas.iter().map(|sa| sa.id).collect());
                let others = [near.clone(), far.clone()].concat();
                let is_allowed = match connection.unique {
                    Unique::Never => true,
                    Unique::No => {
                        if initial_contact {
                            self.end(&others, true, now);
                        }
                        true
                    }
                    Unique::Replace if initial_contact => {
                        self.end(&others, true, now);
                        true
                    }
                    Unique::Replace => {
                        self.end(&far, false, now);
                        // It may be authenticating again.
                        self.overdue.extend(near.iter().map(|sa| (now + OVERLAP, *sa)));
                        true
                    }
                    Unique::Keep if initial_contact => {
                        self.end(&others, true, now);
                        true
                    }
                    Unique::Keep => others.is_empty(),
                };
                let has_other = is_allowed
                    && self.endpoint.ike_sas().iter().any(|sa| {
                        sa.id != ike_sa && sa.state == IkeSaState::Established && near.contains(&sa.id)
                    });
                Outcome::Unique { is_allowed, has_other }
            }
            Action::FindPaths { current, remotes } => self.find_paths(current, &remotes),
            Action::FindPath { connection, gateway } => match self.outside.look_up(&gateway) {
                Some(remote) => Outcome::Path(self.path(&connection, remote)),
                None => Outcome::Failed(format!("looking up {gateway} failed")),
            },
            action => self.outside.perform(action, now),
        }
    }

    /// Every address of ours leads to every one of the same family; whether anything arrives there is not known here.
    fn find_paths(&self, current: Path, remotes: &[IpAddr]) -> Outcome {
        let is_current_usable = self.addresses.contains(&current.local.ip());
        let to = |remote: IpAddr| {
            let locals = self.addresses.iter().filter(move |local| local.is_ipv4() == remote.is_ipv4());
            locals.map(move |local| (*local, remote))
        };
        Outcome::Paths { is_current_usable, pairs: remotes.iter().flat_map(|remote| to(*remote)).collect() }
    }

    /// Ends IKE SAs that another takes the place of. After INITIAL_CONTACT the peer does not know them any more, and
    /// is not waited for.
    pub(super) fn end(&mut self, ike_sas: &[IkeSaId], force: bool, now: Instant) {
        for ike_sa in ike_sas {
            self.own_requests += 1;
            let request = RequestId(self.own_requests);
            let command = Command::TerminateIkeSa { request, ike_sa: *ike_sa, force };
            let _ = self.endpoint.handle_command(command, now); // the peer may have ended it itself
        }
    }

    /// Everything the endpoint and what is around it still hold. Empty is how it should end.
    #[must_use]
    pub fn leaks(&self) -> Vec<String> {
        let sas = self.endpoint.ike_sas().into_iter();
        let mut leaks: Vec<String> =
            sas.map(|sa| format!("IKE_SA #{} is {}", sa.id, sa.state.name())).collect();
        if self.endpoint.half_open() > 0 {
            leaks.push(format!("{} IKE_SAs are half open", self.endpoint.half_open()));
        }
        if self.endpoint.poll_timeout().is_some() {
            leaks.push("a deadline is left".into());
        }
        leaks.extend(self.up.iter().map(|up| format!("{up:?} was not told to be down")));
        leaks.extend(self.late.iter().map(|(_, id, _)| format!("action #{} has no outcome yet", id.0)));
        leaks.extend(self.outside.leaks());
        leaks.into_iter().map(|leak| format!("{}: {leak}", self.name)).collect()
    }
}

/// An event as one line.
fn describe(event: &Event) -> String {
    let name = |connection: &Option<String>| connection.clone().unwrap_or_else(|| "(unnamed)".into());
    match event {
        Event::IkeSaUp(sa) => format!("IKE_SA {} up", name(&sa.connection)),
        Event::IkeSaDown { status, reason, .. } => {
            format!("IKE_SA {} down: {reason}", name(&status.connection))
        }
        Event::IkeSaMoved { status, path } => {
            let name = name(&status.connection);
            if status.remote == path.remote {
                format!("IKE_SA {name} moved from {} to {} at our end", status.local.ip(), path.local.ip())
            } else {
                format!("IKE_SA {name} moved from {} to {}", status.remote, path.remote)
            }
        }
        Event::ChildSaUp { child_sa, .. } => format!("CHILD_SA {} up", child_sa.name),
        Event::ChildSaDown { child_sa, reason, .. } => format!("CHILD_SA {} down: {reason:?}", child_sa.name),
        Event::ChildRekeyed { old, new, .. } => {
            format!("CHILD_SA {} rekeyed: #{} is #{}", new.name, old.id, new.id)
        }
        Event::IkeSaRekeyed { old, new } => {
            format!("IKE_SA {} rekeyed: #{} is #{}", name(&new.connection), old.id, new.id)
        }
        Event::Failed(attempt) => format!("an attempt failed: {}", attempt.reason),
        Event::NotRenewed { connection, children } => {
            format!("IKE_SA {connection} was not made anew with {}", children.join(", "))
        }
        Event::Completed { request, result: Ok(()) } => format!("request {request} done"),
        Event::Completed { request, result: Err(why) } => format!("request {request} failed: {why}"),
    }
}
