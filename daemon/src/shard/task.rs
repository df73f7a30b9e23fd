//! One shard's task, and what it does with what its endpoint gives out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ferry_ike::config::Lease;
use ferry_ike::identity::Identity;
use ferry_ike::output::IkeSaId;
use ferry_ike::{Action, ActionId, Endpoint, Event, Outcome, Output, Path};
use tokio::sync::mpsc;
use tracing::debug;

use super::registry::{Registry, Verdict};
use super::{Inner, Input, Shards, initiate};
use crate::attempts::Attempts;
use crate::dataplane::{DataPlaneHandle, ReplyTo};
use crate::net::Sockets;
use crate::pools::{Leases, Written};
use crate::radius::{self, Radius};
use crate::revocation::Revocations;
use crate::updown::Updown;

/// Datagrams handled before orders and timers get their turn again.
const BATCH: usize = 64;

/// How long an older IKE SA stays beside a new one that a peer with `unique = replace` makes from the same address.
const OVERLAP: Duration = Duration::from_secs(10); // charon's

/// Everything an endpoint's outputs go to.
pub(super) struct Outside {
    pub(super) shards: Shards,
    pub(super) shard: usize,
    pub(super) sockets: Arc<Sockets>,
    pub(super) dataplane: DataPlaneHandle,
    pub(super) leases: Leases,
    pub(super) revocations: Revocations,
    pub(super) registry: Arc<Registry>,
    pub(super) radius: Radius,
    pub(super) updown: Updown,
    pub(super) attempts: Attempts,
}

/// Runs one endpoint. It owns the endpoint and is the only caller of its outputs; it ends when all senders are
/// gone, with the daemon. Dropped midway, it loses what was queued: peers repeat their requests.
pub(super) async fn run(
    mut endpoint: Endpoint,
    mut datagrams: mpsc::Receiver<(Vec<u8>, Path)>,
    mut inputs: mpsc::UnboundedReceiver<Input>,
    outside: Outside,
) {
    loop {
        let wake = endpoint.poll_timeout();
        tokio::select! {
            biased;
            input = inputs.recv() => match input {
                Some(input) => handle_input(&mut endpoint, input),
                None => return,
            },
            () = sleep_until(wake) => endpoint.handle_timeout(Instant::now()),
            datagram = datagrams.recv() => {
                let mut next = datagram;
                for _ in 0..BATCH {
                    let Some((octets, path)) = next else { break };
                    endpoint.handle_datagram(&octets, path, Instant::now());
                    next = datagrams.try_recv().ok();
                }
                if let Some((octets, path)) = next {
                    endpoint.handle_datagram(&octets, path, Instant::now());
                }
            }
        }
        outside.drain(&mut endpoint);
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn handle_input(endpoint: &mut Endpoint, input: Input) {
    let now = Instant::now();
    // Whoever asked may be gone; then nobody is told.
    match input {
        Input::Outcome(id, outcome) => endpoint.handle_outcome(id, outcome, now),
        Input::Command(command, reply) => {
            let _ = reply.send(endpoint.handle_command(command, now));
        }
        Input::List(reply) => {
            let _ = reply.send(endpoint.ike_sas());
        }
        Input::Count(reply) => {
            let _ = reply.send(endpoint.counters());
        }
    }
}

impl Outside {
    fn drain(&self, endpoint: &mut Endpoint) {
        while let Some(output) = endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => self.sockets.send(&transmit),
                Output::Event(event) => self.announce(event),
                Output::Action(id, action) => {
                    if let Some(outcome) = self.act(id, action) {
                        endpoint.handle_outcome(id, outcome, Instant::now());
                    }
                }
            }
        }
    }

    /// Does what can be done at once, and passes on what takes time.
    fn act(&self, id: ActionId, action: Action) -> Option<Outcome> {
        match action {
            Action::RelayEap(eap) => {
                self.radius.relay(eap, self.reply_to(id));
                None
            }
            Action::Lease { ike_sa, pools, identity, requested } => {
                let (lease, written) = self.lease(ike_sa, &pools, &identity, &requested);
                if written.is_done() {
                    return Some(Outcome::Lease(lease));
                }
                let reply = self.reply_to(id);
                tokio::spawn(async move {
                    written.wait().await;
                    reply(Outcome::Lease(lease));
                });
                None
            }
            Action::ReleaseLease { identity, addresses, .. } => {
                self.leases.release(&identity, &addresses);
                Some(Outcome::Done)
            }
            Action::CheckUnique { ike_sa, connection, local_id, remote_id, remote, initial_contact } => {
                let policy = connection.unique;
                match self.registry.admit(ike_sa, policy, local_id, remote_id, remote, initial_contact) {
                    Verdict::Allowed { has_other } => Some(Outcome::Unique { is_allowed: true, has_other }),
                    Verdict::Refused => Some(Outcome::Unique { is_allowed: false, has_other: false }),
                    Verdict::InPlaceOf(others) => {
                        self.end(others, id);
                        None
                    }
                    Verdict::Beside(others) => {
                        self.end_later(others);
                        Some(Outcome::Unique { is_allowed: true, has_other: true })
                    }
                }
            }
            Action::VerifyCertificate(check) => {
                let (revocations, reply) = (self.revocations.clone(), self.reply_to(id));
                tokio::spawn(async move { reply(revocations.vouch(*check).await) });
                None
            }
            Action::FindPath { connection, gateway } => {
                let (shards, reply) = (self.shards.clone(), self.reply_to(id));
                // A name may take its time to be looked up.
                tokio::spawn(async move {
                    let Inner { ports, dataplane, .. } = &*shards.inner;
                    let path = initiate::path_to_gateway(&connection, &gateway, *ports, dataplane).await;
                    reply(path.map_or_else(Outcome::Failed, Outcome::Path));
                });
                None
            }
            Action::ReserveSpi { .. }
            | Action::InstallChild(_)
            | Action::UseChild { .. }
            | Action::UpdateChild { .. }
            | Action::RemoveChild { .. }
            | Action::FindPaths { .. }
            | Action::QueryUse { .. }
            | Action::InstallVirtualIps { .. }
            | Action::RemoveVirtualIps { .. } => {
                self.dataplane.act(action, self.reply_to(id));
                None
            }
        }
    }

    /// What a RADIUS server has given comes first, and what pools have for the rest.
    fn lease(
        &self,
        ike_sa: IkeSaId,
        pools: &[String],
        identity: &Identity,
        requested: &[IpAddr],
    ) -> (Lease, Written) {
        let has_pool = pools.iter().any(|pool| pool == radius::POOL);
        let given = self.radius.lease(ike_sa, has_pool, requested);
        let is_open = |wanted: &IpAddr| given.addresses.iter().all(|had| had.is_ipv4() != wanted.is_ipv4());
        let rest: Vec<IpAddr> = requested.iter().copied().filter(is_open).collect();
        let (mut lease, written) = self.leases.acquire(pools, identity, &rest);
        if lease.addresses.is_empty() && given.addresses.is_empty() {
            return (lease, written); // attributes go with an address
        }
        lease.addresses = [given.addresses, lease.addresses].concat();
        lease.attributes.extend(given.attributes);
        (lease, written)
    }

    fn reply_to(&self, id: ActionId) -> ReplyTo {
        let inbox = self.shards.inner.inboxes.get(self.shard).cloned();
        Box::new(move |outcome| {
            if let Some(inbox) = inbox {
                let _ = inbox.inputs.send(Input::Outcome(id, outcome)); // gone with the daemon
            }
        })
    }

    /// The older IKE SAs go first, so that their addresses are free for the new one.
    fn end(&self, others: Vec<IkeSaId>, id: ActionId) {
        let shards = self.shards.clone();
        let reply = self.reply_to(id);
        tokio::spawn(async move {
            for other in others {
                if let Err(error) = shards.terminate_ike(other, true).await {
                    debug!(target: "ike", "the older IKE_SA #{other} is gone already: {error}");
                }
            }
            reply(Outcome::Unique { is_allowed: true, has_other: false });
        });
    }

    /// The peer has time to end the older IKE SAs itself.
    fn end_later(&self, others: Vec<IkeSaId>) {
        let shards = self.shards.clone();
        tokio::spawn(async move {
            tokio::time::sleep(OVERLAP).await;
            for other in others {
                if let Err(error) = shards.terminate_ike(other, false).await {
                    debug!(target: "ike", "the older IKE_SA #{other} is gone already: {error}");
                }
            }
        });
    }

    fn announce(&self, event: Event) {
        match &event {
            // Strangers can cause as many as they like: nobody is kept busy with each.
            Event::Failed(attempt) => {
                self.attempts.keep((**attempt).clone(), SystemTime::now());
                return;
            }
            Event::Completed { request, result } => {
                self.shards.inner.requests.complete(*request, result.clone());
                return;
            }
            Event::IkeSaUp(status) => self.registry.insert(status),
            Event::IkeSaDown { status, .. } => self.registry.remove(status.id),
            Event::IkeSaRekeyed { old, new } => {
                self.registry.insert(new);
                self.registry.remove(old.id);
            }
            Event::IkeSaMoved { status, path } => self.registry.move_to(status.id, path.remote.ip()),
            Event::NotRenewed { .. }
            | Event::ChildSaUp { .. }
            | Event::ChildSaDown { .. }
            | Event::ChildRekeyed { .. } => {}
        }
        let event = Arc::new(event);
        self.radius.tell(&event);
        self.updown.tell(&event);
        let _ = self.shards.inner.events.send(event); // nobody may be listening
    }
}
