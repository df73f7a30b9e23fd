//! The data plane: where CHILD_SAs live and packets are transformed.
//!
//! Two planes behind one trait: the kernel's, and our own in userspace on a TUN device. One steward task owns
//! the plane, the routes and the virtual IPs, and does everything that concerns them in the order in which it
//! was asked, so that an SA is never removed before it is installed.

mod algorithms;
mod policy;
mod routing;
mod senders;
mod steward;
mod userspace;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ferry_ike::config::Mode;
use ferry_ike::output::{Action, ChildInstall, ChildSaId, Outcome, Path};
use ferry_ike::selector::TrafficSelector;
use ferry_ike::wire::registry::Spi;
use ferry_xfrm::EspSupport;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::info;

pub(crate) use self::policy::{Policy, PolicyId, PolicyKind};
use self::routing::Routing;
pub(crate) use self::routing::RoutingError;
use self::steward::Steward;
use self::userspace::Userspace;
use crate::control::ChildUse;
use crate::net::Sockets;
use crate::settings::{self, DataPlaneChoice};

/// What a data plane does. Calls come from one task, one after the other.
pub(crate) trait DataPlane: Send + 'static {
    /// Sets an inbound SPI aside.
    fn reserve_spi(&mut self, child_sa: ChildSaId) -> Result<Spi, String>;
    /// Makes both directions work, or, if the outbound one is held, the inbound one alone.
    fn install(&mut self, install: &ChildInstall) -> Result<(), String>;
    /// Sends with a child that was installed to receive only, from now on.
    fn use_outbound(&mut self, child_sa: ChildSaId) -> Result<(), String>;
    /// Moves both directions to other outer addresses, encapsulated in UDP or not.
    fn update(&mut self, child_sa: ChildSaId, path: Path, encapsulated: bool) -> Result<(), String>;
    /// Takes both directions down, or gives back what was set aside. One that is not there is no error.
    fn remove(&mut self, child_sa: ChildSaId);
    /// Tells by [`PlaneEvent::FirstReceived`] when a child has received its first packet.
    fn tell_first_received(&mut self, child_sa: ChildSaId);
    /// Installs a policy without an SA, other than one that lets packets pass. An SA goes before it.
    fn install_policy(&mut self, policy: &Policy) -> Result<(), String>;
    /// Removes it. One that is not there is no error.
    fn remove_policy(&mut self, id: PolicyId);
    /// What a trap has asked for was made, or was not. It asks for nothing else before.
    fn settle(&mut self, id: PolicyId, is_made: bool);
    /// What CHILD_SAs have carried. Those that are gone are left out.
    fn query(&self, child_sas: &[ChildSaId]) -> HashMap<ChildSaId, ChildUse>;
    /// The interface that routes into tunnels lead to; `None` where policies catch packets on any.
    fn interface(&self) -> Option<u32>;
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
}

impl Abilities {
    /// Our own plane's: it gives and takes whole IP packets, so only tunnels can be told from what is inside.
    pub(crate) const USERSPACE: Self =
        Self { name: "userspace", modes: &[Mode::Tunnel], passes_by_route: true };
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
}

/// Why there is no data plane: one sentence for the operator.
#[derive(Debug, Error)]
pub(crate) enum PlaneError {
    /// It was asked for and is not there.
    #[error(
        "ferryd.dataplane = kernel, but the kernel data plane is not supported yet: set it to userspace or auto"
    )]
    KernelUnsupported,
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

/// How to reply to an action.
pub(crate) type ReplyTo = Box<dyn FnOnce(Outcome) + Send>;

/// Work for the steward.
enum Order {
    Act(Action, ReplyTo),
    Query(Vec<ChildSaId>, oneshot::Sender<HashMap<ChildSaId, ChildUse>>),
    LocalAddresses(oneshot::Sender<Result<Vec<IpAddr>, String>>),
    SourceTowards(IpAddr, oneshot::Sender<Result<IpAddr, String>>),
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
    pub(crate) spis: RangeInclusive<u32>,
    pub(crate) routing: &'a settings::Routing,
    pub(crate) sockets: &'a Sockets,
}

/// A plane that runs.
pub(crate) struct Started {
    pub(crate) handle: DataPlaneHandle,
    /// ESP must go in UDP, with whomever.
    pub(crate) needs_encapsulation: bool,
}

/// Chooses a plane and starts it and its steward.
///
/// `deliver` gets every IKE datagram that arrives on the NAT-T port, on the plane's own thread: it must not block.
/// `events` gets what the plane tells.
pub(crate) async fn start(
    config: PlaneConfig<'_>,
    deliver: impl Fn(&[u8], Path) + Send + Sync + 'static,
    events: mpsc::UnboundedSender<PlaneEvent>,
) -> Result<Started, PlaneError> {
    let reason = match config.choice {
        DataPlaneChoice::Kernel => return Err(PlaneError::KernelUnsupported),
        DataPlaneChoice::Userspace => "as configured".to_owned(),
        DataPlaneChoice::Auto => match ferry_xfrm::esp_support().await {
            EspSupport::Yes => "the kernel could do ESP, but ferryd cannot drive it yet".to_owned(),
            lacks => lacks.to_string(),
        },
    };
    let routing = Routing::open(config.routing).await?;
    let plane = Userspace::start(config.tun_name, config.spis, config.sockets, deliver, events).await?;
    let description = format!("userspace ({reason})");
    info!(target: "knl", "data plane: {description}, device {}", config.tun_name);
    let (orders, receiver) = mpsc::unbounded_channel();
    tokio::spawn(Steward::new(plane, routing, receiver).run());
    let handle = DataPlaneHandle { orders, description: description.into(), abilities: Abilities::USERSPACE };
    Ok(Started { handle, needs_encapsulation: true })
}
