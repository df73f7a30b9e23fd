//! The kernel's plane: SAs and policies by `xfrm`.
//!
//! `sa` says what a CHILD_SA is to the kernel, `selectors` what its traffic selectors are; `children` and `policies` keep
//! the books of what is installed, `watch` hears what the kernel tells.

mod children;
mod interfaces;
mod labels;
mod leftovers;
mod offload;
mod policies;
mod reqids;
mod sa;
mod selectors;
mod watch;

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ferry_ike::config::{self, Labels, PolicySettings, UniqueIds};
use ferry_ike::output::{ChildInstall, ChildSaId, Path};
use ferry_ike::selector::TrafficSelector;
use ferry_ike::wire::registry::Spi;
use ferry_xfrm::{Events, Links, Purpose, Sad, Spd};
use tokio::sync::{Mutex, mpsc};
use tracing::warn;

use self::children::{Children, Known};
use self::interfaces::Interfaces;
use self::labels::{Numbers, Uniques};
use self::policies::{Owner, Placing, Policies, Protection, protecting, shunting};
use self::reqids::Reqids;
use super::{DataPlane, PlaneEvent, Policy, PolicyId, PolicyKind, limits};
use crate::control::ChildUse;
use crate::net::Sockets;

/// Draws of an SPI before the configured range is believed to be full.
const DRAWS: usize = 4096;

/// The plane. What it knows it shares with the task that hears the kernel's events.
pub(super) struct Kernel {
    state: Arc<Mutex<State>>,
    spis: RangeInclusive<u32>,
}

struct State {
    /// Set aside and not installed yet.
    reserved: HashMap<ChildSaId, u32>,
    children: Children,
    policies: Policies,
    traps: HashMap<PolicyId, Trap>,
    /// The numbers of what the kernel has asked for by traps for anybody, by the peer.
    asked: HashMap<IpAddr, u32>,
    reqids: Reqids,
    uniques: Uniques,
    interfaces: Interfaces,
}

struct Trap {
    reqid: u32,
    labels: Labels,
    numbers: Numbers,
    /// A packet was told of, and what came of that is not known yet.
    is_asking: bool,
    /// Each packet says who its peer is.
    is_for_anybody: bool,
    selectors: Selectors,
}

/// Traffic of ours and of the peer's, with what else tells it.
type Selectors = (Vec<TrafficSelector>, Vec<TrafficSelector>, Labels);

impl Kernel {
    pub(super) async fn start(
        spis: RangeInclusive<u32>,
        sockets: &Sockets,
        ids: Arc<UniqueIds>,
        makes_interfaces: bool,
        tell: mpsc::UnboundedSender<PlaneEvent>,
    ) -> Result<Self, ferry_xfrm::Error> {
        let (sad, spd) = (Sad::open().await?, Spd::open().await?);
        // Before anything is installed that events could be about.
        let events = Events::subscribe(&[sad.port(), spd.port()]).await?;
        sockets.decapsulate_esp()?;
        leftovers::remove(&sad, &spd).await?;
        let interfaces = Interfaces::open(makes_interfaces).await?;
        let (children, policies) = (Children::new(sad), Policies::new(spd));
        let (reserved, traps, asked, reqids) = Default::default();
        let uniques = Uniques::new(ids);
        let state = State { reserved, children, policies, traps, asked, reqids, uniques, interfaces };
        let state = Arc::new(Mutex::new(state));
        tokio::spawn(watch::run(events, Arc::clone(&state), tell));
        Ok(Self { state, spis })
    }
}

impl DataPlane for Kernel {
    /// Draws one that none of our SAs has. The kernel could set it aside as well, but wants to know the addresses for that,
    /// and forgets it before a slow handshake is over. Among 2^28 of them nobody else's is met, and if it were, installing
    /// the SA would fail.
    async fn reserve_spi(&mut self, child_sa: ChildSaId) -> Result<Spi, String> {
        let mut state = self.state.lock().await;
        let (first, last) = (*self.spis.start(), *self.spis.end());
        let width = u64::from(last - first) + 1;
        for _ in 0..DRAWS {
            let drawn = u32::try_from(limits::draw() % width).unwrap_or_default();
            let spi = first.saturating_add(drawn);
            if !state.children.has_spi(spi) && !state.reserved.values().any(|reserved| *reserved == spi) {
                state.reserved.insert(child_sa, spi);
                return Ok(Spi(spi));
            }
        }
        Err(format!("no SPI is free between {first:#x} and {last:#x}"))
    }

    async fn install(&mut self, install: &ChildInstall) -> Result<(), String> {
        self.state.lock().await.install(install).await
    }

    async fn use_outbound(&mut self, child_sa: ChildSaId) -> Result<(), String> {
        let mut state = self.state.lock().await;
        state.children.use_outbound(child_sa).await?;
        let forward = state.policies.bring_forward(Owner::Child(child_sa)).await;
        forward.map_err(|error| error.to_string())
    }

    async fn update(&mut self, child_sa: ChildSaId, path: Path, encapsulated: bool) -> Result<(), String> {
        let mut state = self.state.lock().await;
        state.children.update(child_sa, path, encapsulated).await?;
        let child = state.children.get(child_sa).ok_or("the CHILD_SA is not installed")?;
        let Some(placing) = child.placing else { return Ok(()) };
        let with =
            Protection { mode: child.mode(), reqid: child.reqid, path, numbers: child.numbers, placing };
        let policies = protecting(&child.selectors, Purpose::Protect, with)?;
        state.policies.claim(Owner::Child(child_sa), policies).await.map_err(|error| error.to_string())
    }

    async fn remove(&mut self, child_sa: ChildSaId) {
        self.state.lock().await.remove(child_sa).await;
    }

    async fn tell_first_received(&mut self, child_sa: ChildSaId) {
        self.state.lock().await.children.tell_first_received(child_sa).await;
    }

    async fn install_policy(&mut self, policy: &Policy) -> Result<(), String> {
        self.state.lock().await.install_policy(policy).await
    }

    async fn remove_policy(&mut self, id: PolicyId) {
        let mut state = self.state.lock().await;
        state.policies.release(Owner::Policy(id)).await;
        state.forget_trap(id).await;
    }

    /// What the kernel itself keeps back lets the next packet ask after `net.core.xfrm_acq_expires` seconds, so that a peer
    /// that refuses is not asked with every packet.
    async fn settle(&mut self, id: PolicyId, _is_made: bool) {
        if let Some(trap) = self.state.lock().await.traps.get_mut(&id) {
            trap.is_asking = false;
        }
    }

    async fn query(&mut self, child_sas: &[ChildSaId]) -> HashMap<ChildSaId, ChildUse> {
        self.state.lock().await.children.query(child_sas).await
    }

    async fn shutdown(&mut self) {
        let mut state = self.state.lock().await;
        state.policies.clear().await;
        state.children.clear().await;
        state.interfaces.clear().await;
    }

    fn interface(&self) -> Option<u32> {
        None
    }

    async fn way_of_child(&self, child_sa: ChildSaId) -> Option<u32> {
        let state = self.state.lock().await;
        let child = state.children.get(child_sa)?;
        // These packets have the addresses that they have, and go where those are.
        let is_led = child.placing.is_some() && child.mode() != ferry_xfrm::Mode::TRANSPORT;
        state.interfaces.way_out(&child.numbers).filter(|_| is_led)
    }

    async fn way_of_policy(&self, policy: &Policy) -> Option<u32> {
        let PolicyKind::Trap { mode, .. } = policy.kind else { return None };
        let state = self.state.lock().await;
        let trap = state.traps.get(&policy.id)?;
        state.interfaces.way_out(&trap.numbers).filter(|_| mode != config::Mode::Transport)
    }
}

/// Where policies stand, as it was configured.
async fn placing(settings: &PolicySettings) -> Result<Placing, String> {
    let interface = match &settings.interface {
        Some(name) => {
            let found = async { Links::open().await?.by_name(name).await };
            found.await.map_err(|error| format!("policies are to be for {name}: {error}"))?.index
        }
        None => 0,
    };
    Ok(Placing { priority: settings.priority, interface })
}

impl State {
    /// SAs first, so that policies ask for none.
    async fn install(&mut self, install: &ChildInstall) -> Result<(), String> {
        let child_sa = install.child_sa;
        self.reserved.remove(&child_sa);
        let labels = install.child.labels;
        let selectors = selectors::outbound(&install.local_ts, &install.remote_ts)?;
        let settings = &install.child.policies;
        let placing = if settings.are_left_out { None } else { Some(placing(settings).await?) };
        // With numbers of its own, or its IKE SA's, its policies are nobody else's.
        let is_numbered = labels::is_unique(&labels) || labels::is_of_ike_sa(&labels);
        let is_own = install.child.reqid.is_some() || is_numbered;
        let traffic = (!is_own).then(|| (install.local_ts.clone(), install.remote_ts.clone(), labels));
        let reqid = match &traffic {
            Some(traffic) => {
                let of_traps: Vec<u32> = self.traps.values().map(|trap| trap.reqid).collect();
                self.reqids.take_known(traffic, install.reqid, &of_traps)
            }
            None => install.reqid,
        };
        let numbers = self.uniques.take(&labels, install.interfaces, reqid);
        let policies = placing.map_or(Ok(Vec::new()), |placing| {
            let with =
                Protection { mode: sa::mode(install.mode), reqid, path: install.path, numbers, placing };
            protecting(&selectors, Purpose::Protect, with)
        });
        let policies = match policies {
            Ok(policies) => self.interfaces.take(&numbers).await.map(|()| policies),
            Err(error) => Err(error),
        };
        let installed = match policies {
            Ok(policies) => {
                let answers = self.asked.remove(&install.path.remote.ip());
                let known = Known { reqid, numbers, selectors, placing, traffic: traffic.clone(), answers };
                let installed = self.children.install(install, known).await;
                if installed.is_err() {
                    self.interfaces.give_back(&numbers).await;
                }
                installed.map(|()| policies)
            }
            Err(error) => Err(error),
        };
        let policies = installed.inspect_err(|_| {
            self.uniques.give_back(&labels, reqid);
            traffic.iter().for_each(|traffic| self.reqids.give_back(traffic));
        })?;
        if let Err(error) = self.policies.claim(Owner::Child(child_sa), policies).await {
            self.remove(child_sa).await;
            return Err(error.to_string());
        }
        Ok(())
    }

    /// Policies first: nothing of what they want is there any more afterwards.
    async fn remove(&mut self, child_sa: ChildSaId) {
        self.reserved.remove(&child_sa);
        self.policies.release(Owner::Child(child_sa)).await;
        if let Some(child) = self.children.remove(child_sa).await {
            self.interfaces.give_back(&child.numbers).await;
            self.uniques.give_back(&child.labels, child.reqid);
            child.traffic.iter().for_each(|traffic| self.reqids.give_back(traffic));
        }
    }

    async fn forget_trap(&mut self, id: PolicyId) {
        if let Some(trap) = self.traps.remove(&id) {
            self.interfaces.give_back(&trap.numbers).await;
            self.uniques.give_back(&trap.labels, trap.reqid);
            self.reqids.give_back(&trap.selectors);
        }
    }

    async fn install_policy(&mut self, policy: &Policy) -> Result<(), String> {
        let selectors = selectors::outbound(&policy.local_ts, &policy.remote_ts)?;
        let labels = policy.labels;
        if policy.settings.are_left_out {
            return Err("policies = no leaves nothing that could catch packets".into());
        }
        let placing = placing(&policy.settings).await?;
        let policies = match policy.kind {
            PolicyKind::Pass | PolicyKind::Drop => {
                let purpose = if policy.kind == PolicyKind::Pass { Purpose::Pass } else { Purpose::Drop };
                // Nobody else has the numbers that a shunt would have for itself.
                shunting(&selectors, purpose, &self.uniques.take_once(&labels), placing)
            }
            PolicyKind::Trap { .. } if labels::is_of_ike_sa(&labels) => {
                return Err(
                    "each IKE_SA has interfaces of its own, and there is none yet whose a trap could have"
                        .into(),
                );
            }
            PolicyKind::Trap { reqid, mode, path } => {
                let traffic = (policy.local_ts.clone(), policy.remote_ts.clone(), labels);
                let taken = self.reqids.take(&traffic, reqid);
                if taken != reqid {
                    warn!(target: "knl", "the trap '{}' carries what reqid {taken} does", policy.name);
                }
                let numbers = self.uniques.take(&labels, config::Interfaces::default(), taken);
                let with = Protection { mode: sa::mode(mode), reqid: taken, path, numbers, placing };
                let is_for_anybody = path.remote.ip().is_unspecified();
                let policies = protecting(&selectors, Purpose::Trap, with);
                let made = match policies {
                    Ok(policies) => self.interfaces.take(&numbers).await.map(|()| policies),
                    Err(error) => Err(error),
                };
                let policies = made.inspect_err(|_| {
                    self.uniques.give_back(&labels, taken);
                    self.reqids.give_back(&traffic);
                })?;
                let trap = Trap {
                    reqid: taken,
                    labels,
                    numbers,
                    is_asking: false,
                    is_for_anybody,
                    selectors: traffic,
                };
                self.traps.insert(policy.id, trap);
                policies
            }
        };
        if let Err(error) = self.policies.claim(Owner::Policy(policy.id), policies).await {
            self.forget_trap(policy.id).await;
            return Err(error.to_string());
        }
        Ok(())
    }
}
