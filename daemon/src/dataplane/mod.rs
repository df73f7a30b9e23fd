//! The data plane: where CHILD_SAs live and packets are transformed.
//!
//! Two planes behind one trait: the kernel's, and our own in userspace on a TUN device. `auto` takes the kernel's where
//! the kernel can install an ESP SA: it tries. One steward task owns
//! the plane, the routes and the virtual IPs, and does everything that concerns them in the order in which it
//! was asked, so that an SA is never removed before it is installed.

mod algorithms;
mod counts;
mod kernel;
mod limits;
mod policy;
mod routing;
mod senders;
mod steward;
mod userspace;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ferry_ike::config::{Mode, UniqueIds};
use ferry_ike::output::{Action, ChildInstall, ChildSaId, Outcome, Path};
use ferry_ike::selector::TrafficSelector;
use ferry_ike::wire::registry::{EncrId, Spi};
use ferry_xfrm::EspSupport;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use self::kernel::Kernel;
pub(crate) use self::policy::{Policy, PolicyId, PolicyKind};
use self::routing::Routing;
pub(crate) use self::routing::RoutingError;
use self::steward::Steward;
use self::userspace::Userspace;
use crate::control::ChildUse;
use crate::net::Sockets;
use crate::settings::{self, DataPlaneChoice};

/// What a data plane does. Calls come from one task, one after the other.
pub(crate) trait DataPlane: Send + Sync + 'static {
    /// Sets an inbound SPI aside.
    fn reserve_spi(&mut self, child_sa: ChildSaId) -> impl Future<Output = Result<Spi, String>> + Send;
    /// Makes both directions work, or, if the outbound one is held, the inbound one alone.
    fn install(&mut self, install: &ChildInstall) -> impl Future<Output = Result<(), String>> + Send;
    /// Sends with a child that was installed to receive only, from now on.
    fn use_outbound(&mut self, child_sa: ChildSaId) -> impl Future<Output = Result<(), String>> + Send;
    /// Moves both directions to other outer addresses, encapsulated in UDP or not.
    fn update(
        &mut self,
        child_sa: ChildSaId,
        path: Path,
        encapsulated: bool,
    ) -> impl Future<Output = Result<(), String>> + Send;
    /// Takes both directions down, or gives back what was set aside. One that is not there is no error.
    fn remove(&mut self, child_sa: ChildSaId) -> impl Future<Output = ()> + Send;
    /// Tells by [`PlaneEvent::FirstReceived`] when a child has received its first packet.
    fn tell_first_received(&mut self, child_sa: ChildSaId) -> impl Future<Output = ()> + Send;
    /// Installs a policy without an SA. An SA's goes before it.
    fn install_policy(&mut self, policy: &Policy) -> impl Future<Output = Result<(), String>> + Send;
    /// Removes it. One that is not there is no error.
    fn remove_policy(&mut self, id: PolicyId) -> impl Future<Output = ()> + Send;
    /// What a trap has asked for was made, or was not. It asks for nothing else before.
    fn settle(&mut self, id: PolicyId, is_made: bool) -> impl Future<Output = ()> + Send;
    /// What CHILD_SAs have carried. Those that are gone are left out.
    fn query(&mut self, child_sas: &[ChildSaId])
    -> impl Future<Output = HashMap<ChildSaId, ChildUse>> + Send;
    /// Takes down whatever is still there.
    fn shutdown(&mut self) -> impl Future<Output = ()> + Send;
    /// The interface that routes into tunnels lead to; `None` where policies catch packets on any.
    fn interface(&self) -> Option<u32>;
    /// The interface that routes of a CHILD_SA lead to, if it has one.
    fn way_of_child(&self, child_sa: ChildSaId) -> impl Future<Output = Option<u32>> + Send;
    /// The interface that routes of a policy lead to, if it has one.
    fn way_of_policy(&self, policy: &Policy) -> impl Future<Output = Option<u32>> + Send;
}

/// What a data plane can do, as far as connections ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// Which plane it is, in sentences.
    pub(crate) name: &'static str,
    /// Modes of CHILD_SAs.
    pub(crate) modes: &'static [Mode],
    /// What passes is known by a route alone, which is about addresses.
    pub(crate) passes_by_route: bool,
    /// Packets are told by marks and interfaces, too.
    pub(crate) labels: bool,
    /// Network cards can be asked to do ciphers.
    pub(crate) offload: bool,
    /// Encryption algorithms.
    pub(crate) ciphers: &'static [EncrId],
}

impl Abilities {
    /// Our own plane's: it gives and takes whole IP packets, so only tunnels can be told from what is inside.
    pub(crate) const USERSPACE: Self = Self {
        name: "userspace",
        modes: &[Mode::Tunnel],
        passes_by_route: true,
        labels: false,
        offload: false,
        ciphers: &[EncrId::AES_CBC, EncrId::AES_GCM_16, EncrId::CHACHA20_POLY1305],
    };

    /// The kernel's.
    pub(crate) const KERNEL: Self = Self {
        name: "kernel",
        modes: &[Mode::Tunnel, Mode::Transport, Mode::Beet],
        passes_by_route: false,
        labels: true,
        offload: true,
        ciphers: &[
            EncrId::AES_CBC,
            EncrId::AES_CTR,
            EncrId::AES_CCM_8,
            EncrId::AES_CCM_12,
            EncrId::AES_CCM_16,
            EncrId::AES_GCM_8,
            EncrId::AES_GCM_12,
            EncrId::AES_GCM_16,
            EncrId::NULL_AES_GMAC,
            EncrId::CAMELLIA_CBC,
            EncrId::CHACHA20_POLY1305,
        ],
    };
}

/// What a data plane tells of its own accord.
pub(crate) enum PlaneEvent {
    /// A packet that was verified came from elsewhere than before.
    PeerMoved {
        /// Which child's.
        child_sa: ChildSaId,
        /// Where it came from.
        remote: SocketAddr,
    },
    /// A packet was caught by a trap.
    Acquire {
        /// The trap.
        policy: PolicyId,
        /// Our side of the packet.
        local: TrafficSelector,
        /// The peer's side.
        remote: TrafficSelector,
    },
    /// The first packet of a CHILD_SA has come: the peer sends with it.
    FirstReceived {
        /// Which.
        child_sa: ChildSaId,
    },
    /// A CHILD_SA has carried nearly as much as it may: it is time for its successor.
    NearlyExhausted {
        /// Which.
        child_sa: ChildSaId,
    },
    /// A CHILD_SA can carry no more: its sequence numbers are used up, or its limit of traffic is reached.
    Exhausted {
        /// Which.
        child_sa: ChildSaId,
    },
    /// Somebody else has removed a CHILD_SA from the data plane.
    Removed {
        /// Which.
        child_sa: ChildSaId,
    },
}

/// Why there is no data plane: one sentence for the operator.
#[derive(Debug, Error)]
pub(crate) enum PlaneError {
    /// The kernel's was asked for, and the kernel has none.
    #[error("ferryd.dataplane = kernel, but {0}: set it to userspace or auto")]
    KernelLacks(EspSupport),
    /// The kernel's does not start.
    #[error("the kernel's data plane cannot be used: {0}")]
    Kernel(#[from] ferry_xfrm::Error),
    /// The userspace plane does not start.
    #[error("{0}")]
    Userspace(#[from] ferry_esp::plane::PlaneError),
    /// The device it made is not there.
    #[error("the TUN device {device} cannot be used: {source}")]
    Device { device: String, source: ferry_xfrm::Error },
    /// Its sockets cannot be had.
    #[error("the sockets of the NAT-T port cannot be shared with the data plane: {0}")]
    Sockets(#[from] std::io::Error),
    /// Routes and rules cannot be kept.
    #[error("{0}")]
    Routing(#[from] RoutingError),
}

/// What a CHILD_SA has carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// So much.
    pub(crate) used: ChildUse,
    /// It is gone, and carries no more.
    pub(crate) is_final: bool,
}

/// How to reply to an action.
pub(crate) type ReplyTo = Box<dyn FnOnce(Outcome) + Send>;

/// Work for the steward.
enum Order {
    Act(Action, ReplyTo),
    Query(Vec<ChildSaId>, oneshot::Sender<HashMap<ChildSaId, ChildUse>>),
    KeepCounts,
    Account(Vec<ChildSaId>, oneshot::Sender<HashMap<ChildSaId, Counted>>),
    LocalAddresses(oneshot::Sender<Result<Vec<IpAddr>, String>>),
    SourceTowards(IpAddr, oneshot::Sender<Result<IpAddr, String>>),
    InterfaceOf(IpAddr, oneshot::Sender<Option<String>>),
    InstallPolicy(Box<Policy>, oneshot::Sender<Result<(), String>>),
    RemovePolicy(PolicyId, oneshot::Sender<()>),
    Settle(PolicyId, bool),
    Stop(oneshot::Sender<()>),
}

/// The way to the data plane. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DataPlaneHandle {
    orders: mpsc::UnboundedSender<Order>,
    description: Arc<str>,
    abilities: Abilities,
}

impl DataPlaneHandle {
    /// What the plane can do.
    pub(crate) fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Does what an IKE SA asked for, in the order of the calls, and replies.
    pub(crate) fn act(&self, action: Action, reply: ReplyTo) {
        // The steward ends last; what is lost then no longer matters.
        let _ = self.orders.send(Order::Act(action, reply));
    }

    /// What CHILD_SAs have carried.
    pub(crate) async fn query(&self, child_sas: Vec<ChildSaId>) -> HashMap<ChildSaId, ChildUse> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.orders.send(Order::Query(child_sas, sender));
        receiver.await.unwrap_or_default()
    }

    /// What CHILD_SAs have carried when they go is kept from now on, until [`Self::account`] has asked for it.
    pub(crate) fn keep_counts(&self) {
        let _ = self.orders.send(Order::KeepCounts);
    }

    /// What CHILD_SAs have carried, those that are gone too: of these it is told once.
    pub(crate) async fn account(&self, child_sas: Vec<ChildSaId>) -> HashMap<ChildSaId, Counted> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.orders.send(Order::Account(child_sas, sender));
        receiver.await.unwrap_or_default()
    }

    /// The addresses of this host that peers may be told of.
    pub(crate) async fn local_addresses(&self) -> Result<Vec<IpAddr>, String> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.orders.send(Order::LocalAddresses(sender));
        receiver.await.unwrap_or_else(|_| Err("the daemon is going down".into()))
    }

    /// Our address on the way to a peer, which is reached whatever else policies make of its address.
    pub(crate) async fn source_towards(&self, peer: IpAddr) -> Result<IpAddr, String> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.orders.send(Order::SourceTowards(peer, sender));
        receiver.await.unwrap_or_else(|_| Err("the daemon is going down".into()))
    }

    /// The name of the interface that has this address.
    pub(crate) async fn interface_of(&self, address: IpAddr) -> Option<String> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.orders.send(Order::InterfaceOf(address, sender));
        receiver.await.ok().flatten()
    }

    /// Installs a policy without an SA.
    pub(crate) async fn install_policy(&self, policy: Policy) -> Result<(), String> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.orders.send(Order::InstallPolicy(Box::new(policy), sender));
        receiver.await.unwrap_or_else(|_| Err("the daemon is going down".into()))
    }

    /// Removes a policy, if it is there.
    pub(crate) async fn remove_policy(&self, id: PolicyId) {
        let (sender, receiver) = oneshot::channel();
        let _ = self.orders.send(Order::RemovePolicy(id, sender));
        let _ = receiver.await;
    }

    /// What a trap has asked for was made, or was not.
    pub(crate) fn settle(&self, id: PolicyId, is_made: bool) {
        let _ = self.orders.send(Order::Settle(id, is_made));
    }

    /// Which plane runs and why, as one clause.
    pub(crate) fn describe(&self) -> String {
        self.description.to_string()
    }

    /// Takes back routes, rules and addresses, and ends the plane.
    pub(crate) async fn stop(&self) {
        let (sender, receiver) = oneshot::channel();
        let _ = self.orders.send(Order::Stop(sender));
        let _ = receiver.await;
    }
}

/// What a plane is started with.
pub(crate) struct PlaneConfig<'a> {
    pub(crate) choice: DataPlaneChoice,
    pub(crate) tun_name: &'a str,
    pub(crate) offload: bool,
    pub(crate) spis: RangeInclusive<u32>,
    pub(crate) routing: &'a settings::Routing,
    pub(crate) sockets: &'a Sockets,
    pub(crate) unique_ids: Arc<UniqueIds>,
    pub(crate) makes_interfaces: bool,
}

/// A plane that runs.
pub(crate) struct Started {
    pub(crate) handle: DataPlaneHandle,
    /// ESP must go in UDP, with whomever.
    pub(crate) needs_encapsulation: bool,
    /// What arrives on the NAT-T port is read by the plane.
    pub(crate) reads_nat_t: bool,
}

/// Chooses a plane and starts it and its steward.
///
/// `deliver` gets every IKE datagram that arrives on the NAT-T port, on the plane's own thread, if the plane reads it:
/// it must not block. `events` gets what the plane tells.
pub(crate) async fn start(
    config: PlaneConfig<'_>,
    deliver: impl Fn(&[u8], Path) + Send + Sync + 'static,
    events: mpsc::UnboundedSender<PlaneEvent>,
) -> Result<Started, PlaneError> {
    let (is_kernel, reason) = match config.choice {
        DataPlaneChoice::Userspace => (false, "as configured".to_owned()),
        DataPlaneChoice::Kernel => match ferry_xfrm::esp_support().await {
            EspSupport::Yes => (true, "as configured".to_owned()),
            lacks => return Err(PlaneError::KernelLacks(lacks)),
        },
        DataPlaneChoice::Auto => {
            let support = ferry_xfrm::esp_support().await;
            (support.is_yes(), support.to_string())
        }
    };
    let routing = Routing::open(config.routing).await?;
    let (orders, receiver) = mpsc::unbounded_channel();
    let (name, abilities) = if is_kernel {
        let PlaneConfig { spis, sockets, unique_ids, makes_interfaces, .. } = config;
        let plane = Kernel::start(spis, sockets, unique_ids, makes_interfaces, events).await?;
        tokio::spawn(Steward::new(plane, routing, receiver).run());
        ("kernel", Abilities::KERNEL)
    } else {
        let device = ferry_esp::plane::PlaneConfig {
            device: config.tun_name.to_owned(),
            offload: config.offload,
            ..ferry_esp::plane::PlaneConfig::default()
        };
        let plane = Userspace::start(&device, config.spis, config.sockets, deliver, events).await?;
        tokio::spawn(Steward::new(plane, routing, receiver).run());
        ("userspace", Abilities::USERSPACE)
    };
    let description = format!("{name} ({reason})");
    let device = if is_kernel { String::new() } else { format!(", device {}", config.tun_name) };
    info!(target: "knl", "data plane: {description}{device}");
    let handle = DataPlaneHandle { orders, description: description.into(), abilities };
    Ok(Started { handle, needs_encapsulation: !is_kernel, reads_nat_t: !is_kernel })
}
