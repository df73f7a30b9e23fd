//! The steward: owns the plane, the routes and the virtual IPs.

use std::collections::HashMap;
use std::net::IpAddr;

use ferry_ike::output::{Action, ChildInstall, ChildSaId, LastUse, Outbound, Outcome};
use tokio::sync::mpsc;
use tracing::warn;

use super::counts::Counts;
use super::routing::{Routing, Traffic, Ways};
use super::senders::Senders;
use super::{DataPlane, Order, Policy, PolicyId, PolicyKind};
use crate::control::ChildUse;

/// Does orders one after the other. It ends with [`Order::Stop`], or when nobody can order any more; dropped
/// midway it leaves routes behind, which the next start takes over.
pub(super) struct Steward<P> {
    plane: P,
    routing: Routing,
    orders: mpsc::UnboundedReceiver<Order>,
    senders: Senders,
    /// The routes of every installed child, to take them back.
    ways: HashMap<ChildSaId, Ways>,
    /// What those have carried that are gone.
    counts: Counts,
    /// Policies without an SA, and their routes.
    policies: HashMap<PolicyId, (Policy, Ways)>,
}

impl<P: DataPlane> Steward<P> {
    pub(super) fn new(plane: P, routing: Routing, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        let (ways, policies) = (HashMap::new(), HashMap::new());
        Self {
            plane,
            routing,
            orders,
            senders: Senders::default(),
            ways,
            policies,
            counts: Counts::default(),
        }
    }

    pub(super) async fn run(mut self) {
        while let Some(order) = self.orders.recv().await {
            match order {
                Order::Act(action, reply) => {
                    let outcome = self.act(action).await.unwrap_or_else(Outcome::Failed);
                    reply(outcome);
                }
                // Whoever asked may be gone.
                Order::Query(child_sas, reply) => {
                    let _ = reply.send(self.plane.query(&child_sas).await);
                }
                Order::KeepCounts => self.counts.keep(),
                Order::Account(child_sas, reply) => {
                    let live = self.plane.query(&child_sas).await;
                    let _ = reply.send(self.counts.of(&child_sas, live));
                }
                Order::LocalAddresses(reply) => {
                    let tunnel = self.plane.interface();
                    let _ = reply.send(self.routing.local_addresses(tunnel).await);
                }
                Order::InterfaceOf(address, reply) => {
                    let found = self.routing.interface_of(address).await;
                    let _ = reply.send(found.unwrap_or_else(|error| {
                        warn!(target: "knl", "the interface that has {address} is not known: {error}");
                        None
                    }));
                }
                Order::SourceTowards(peer, reply) => {
                    self.lead_around(peer).await;
                    let _ = reply.send(self.routing.source_towards(peer).await);
                }
                Order::InstallPolicy(policy, reply) => {
                    let _ = reply.send(self.install_policy(*policy).await);
                }
                Order::RemovePolicy(id, reply) => {
                    if let Some((_, ways)) = self.policies.remove(&id) {
                        self.routing.remove(ways).await;
                    }
                    self.plane.remove_policy(id).await;
                    let _ = reply.send(());
                }
                Order::Settle(id, is_made) => self.plane.settle(id, is_made).await,
                Order::Stop(reply) => {
                    self.plane.shutdown().await;
                    self.routing.shutdown().await;
                    let _ = reply.send(());
                    return;
                }
            }
        }
    }

    async fn act(&mut self, action: Action) -> Result<Outcome, String> {
        match action {
            Action::ReserveSpi { child_sa } => self.plane.reserve_spi(child_sa).await.map(Outcome::Spi),
            Action::InstallChild(mut install) => self.install(&mut install).await.map(|()| Outcome::Done),
            Action::UseChild { child_sa } => {
                if self.senders.bring_forward(child_sa) {
                    self.plane.use_outbound(child_sa).await?;
                }
                Ok(Outcome::Done)
            }
            Action::UpdateChild { child_sa, path, encapsulated } => {
                self.plane.update(child_sa, path, encapsulated).await?;
                if let Some(ways) = self.ways.get_mut(&child_sa) {
                    self.routing.follow(ways, path).await?;
                }
                Ok(Outcome::Done)
            }
            Action::FindPaths { current, remotes } => {
                self.routing.find_paths(current, &remotes, self.plane.interface()).await
            }
            Action::RemoveChild { child_sa } => {
                if let Some(ways) = self.ways.remove(&child_sa) {
                    self.routing.remove(ways).await;
                }
                let heir = self.senders.remove(child_sa);
                // Before the one that goes, so that there is always one.
                let used = match heir {
                    Some(heir) => self.plane.use_outbound(heir).await,
                    None => Ok(()),
                };
                if self.counts.is_kept() {
                    self.counts.note(self.plane.query(&[child_sa]).await);
                }
                self.plane.remove(child_sa).await;
                used.map(|()| Outcome::Done)
            }
            Action::QueryUse { child_sas } => {
                let usage = self.plane.query(&child_sas).await.into_iter();
                let last_use = |(child_sa, used): (ChildSaId, ChildUse)| LastUse {
                    child_sa,
                    received: used.last_in,
                    sent: used.last_out,
                };
                Ok(Outcome::Used(usage.map(last_use).collect()))
            }
            Action::InstallVirtualIps { path, lease, .. } => {
                self.routing.add_virtual_ips(&lease, path, self.plane.interface()).await?;
                Ok(Outcome::Done)
            }
            Action::RemoveVirtualIps { lease, .. } => {
                self.routing.remove_virtual_ips(&lease).await;
                Ok(Outcome::Done)
            }
            Action::FindPath { .. }
            | Action::RelayEap(_)
            | Action::VerifyCertificate(_)
            | Action::Lease { .. }
            | Action::ReleaseLease { .. }
            | Action::CheckUnique { .. } => Err("this is not the data plane's to do".into()),
        }
    }

    /// SAs first, then the routes that lead to them.
    async fn install(&mut self, install: &mut ChildInstall) -> Result<(), String> {
        let is_held = install.outbound_use == Outbound::Held;
        install.outbound_use = self.senders.add(install);
        if let Err(error) = self.plane.install(install).await {
            self.senders.remove(install.child_sa);
            return Err(error);
        }
        if is_held {
            self.plane.tell_first_received(install.child_sa).await;
        }
        let way = self.plane.way_of_child(install.child_sa).await;
        match self.routing.add(Traffic::of_child(install, way)).await {
            Ok(ways) => {
                self.ways.insert(install.child_sa, ways);
                Ok(())
            }
            Err(error) => {
                warn!(target: "knl", "{error}");
                self.senders.remove(install.child_sa);
                self.plane.remove(install.child_sa).await;
                Err(error)
            }
        }
    }

    /// The policy first, then the routes that lead to it: what they lead there is caught.
    async fn install_policy(&mut self, policy: Policy) -> Result<(), String> {
        self.plane.install_policy(&policy).await?;
        let way = self.plane.way_of_policy(&policy).await;
        match self.routing.add(Traffic::of_policy(&policy, way)).await {
            Ok(ways) => {
                self.policies.insert(policy.id, (policy, ways));
                Ok(())
            }
            Err(error) => {
                warn!(target: "knl", "{error}");
                self.plane.remove_policy(policy.id).await;
                Err(error)
            }
        }
    }

    /// Our own packets to a peer must not be caught by policies that are about its address, nor by their routes.
    async fn lead_around(&mut self, peer: IpAddr) {
        if self.plane.interface().is_none() {
            return; // sockets are exempt from the kernel's policies, and routes lead where they would without
        }
        for (policy, ways) in self.policies.values_mut() {
            if policy.kind != PolicyKind::Pass
                && policy.includes(peer)
                && !ways.leads_around(peer)
                && let Err(error) = self.routing.exempt(ways, peer).await
            {
                warn!(target: "knl", "{peer} may not be reached, '{}' is about its address: {error}", policy.name);
            }
        }
    }
}
