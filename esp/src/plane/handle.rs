//! The handle by which the plane is steered.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use ring::rand::SystemRandom;

use super::command::{self, Command, Requests, Stopped};
use super::config::{ChildId, IkeDatagram, Path, PlaneConfig, SpiPrefix};
use super::device::Device;
use super::error::{InstallError, PlaneError};
use super::event::Event;
use super::policy::{Acquired, Policy, PolicyAction, PolicyId};
use super::registry::Registry;
use super::socket::{EspSocket, choose};
use super::stats::{ChildUse, DropCounters, Stats};
use super::tables::{Inbound, Outbound, SequenceTold};
use super::tun;
use super::worker::Worker;
use crate::inbound::{InboundParams, InboundSa};
use crate::limits::{LimitWatch, Limits};
use crate::outbound::{OutboundParams, OutboundSa};
use crate::packet::Spi;
use crate::selector::Selectors;

/// A running data plane. Dropping it ends the worker, closes the device and wipes the SAs.
///
/// All methods may be called from any thread and none of them waits for the worker. What they change holds for every
/// packet that arrives after they return.
pub struct Plane {
    requests: Requests,
    registry: Mutex<Registry>,
    bound: Vec<SocketAddr>,
    drops: Arc<DropCounters>,
    start: Instant,
    random: SystemRandom,
    worker: Option<JoinHandle<()>>,
}

impl Plane {
    /// Makes the TUN device, sets it up and starts the worker.
    ///
    /// The sockets are bound to the NAT-T port. From now on the plane alone receives on them; others may go on
    /// sending on duplicates. They are used without waiting whatever their mode is, and one per address family is
    /// enough. Some of their options are set, which shows on the duplicates: the destination address is reported,
    /// DF is not set, the receive buffer is enlarged.
    ///
    /// `ike` gets every IKE datagram and `events` every event. Both are called on the worker's thread, so they must
    /// neither wait nor panic: put what they get into a queue.
    pub fn start(
        config: &PlaneConfig,
        sockets: Vec<UdpSocket>,
        ike: impl Fn(IkeDatagram<'_>) + Send + 'static,
        events: impl Fn(Event) + Send + 'static,
    ) -> Result<Self, PlaneError> {
        let device = tun::open(config)?;
        Self::start_on(device, config, sockets, ike, events)
    }

    /// As [`start`](Self::start), on a device that somebody else has made and set up: an open, non-blocking
    /// descriptor that gives and takes one IP packet with each read and write, which with
    /// [`offload`](PlaneConfig::offload) stands behind a `virtio_net_hdr` of 10 octets.
    pub fn start_on(
        device: OwnedFd,
        config: &PlaneConfig,
        sockets: Vec<UdpSocket>,
        ike: impl Fn(IkeDatagram<'_>) + Send + 'static,
        events: impl Fn(Event) + Send + 'static,
    ) -> Result<Self, PlaneError> {
        let sockets: Vec<EspSocket> = sockets
            .into_iter()
            .enumerate()
            .map(|(index, socket)| EspSocket::new(socket, index, config))
            .collect::<Result<_, _>>()?;
        let bound = sockets.iter().map(EspSocket::bound).collect();
        let (requests, orders) = command::queue().map_err(PlaneError::Worker)?;
        let drops = Arc::<DropCounters>::default();
        let start = Instant::now();
        let device = Device::new(device, config.offload);
        let worker = Worker::new(device, sockets, orders, Arc::clone(&drops), start, ike, events)
            .map_err(PlaneError::Worker)?;
        let worker = thread::Builder::new()
            .name("esp-worker".to_owned())
            .spawn(move || worker.run())
            .map_err(PlaneError::Worker)?;
        Ok(Self {
            requests,
            registry: Mutex::default(),
            bound,
            drops,
            start,
            random: SystemRandom::new(),
            worker: Some(worker),
        })
    }

    /// Chooses an SPI for an inbound SA, at random under `prefix`, and keeps it from being chosen again until it is
    /// [released](Self::release_spi) or the child that has it is removed.
    pub fn reserve_spi(&self, prefix: SpiPrefix) -> Result<Spi, InstallError> {
        self.registry().reserve(prefix, &self.random)
    }

    /// Gives back an SPI that was reserved and not used.
    pub fn release_spi(&self, spi: Spi) {
        self.registry().release(spi);
    }

    /// Adds the inbound SA of a child.
    ///
    /// Its SPI may have been reserved or chosen elsewhere.
    pub fn add_inbound(
        &self,
        child: ChildId,
        params: InboundParams,
        path: Path,
        limits: Limits,
    ) -> Result<(), InstallError> {
        let sa = InboundSa::new(params)?;
        let mut registry = self.registry();
        let usage = registry.add_inbound(child, sa.spi())?;
        let inbound = Inbound {
            sa,
            child,
            remote: path.remote,
            told: None,
            tells_first: false,
            watch: LimitWatch::new(limits),
            usage,
        };
        self.requests.send(Command::AddInbound(Box::new(inbound)))?;
        Ok(())
    }

    /// Adds the outbound SA of a child. It carries what its selectors match from now on, before any older SA with
    /// the same selectors. `priority` overrides how policies are ordered among each other; see
    /// [`SelectorPair::priority`](crate::SelectorPair::priority).
    pub fn add_outbound(
        &self,
        child: ChildId,
        params: OutboundParams,
        path: Path,
        limits: Limits,
        priority: Option<u32>,
    ) -> Result<(), InstallError> {
        let socket = self.socket(&path)?;
        let sa = OutboundSa::new(params)?;
        let mut registry = self.registry();
        let usage = registry.add_outbound(child, sa.spi())?;
        let outbound = Outbound {
            sa,
            child,
            priority,
            path,
            socket,
            may_batch: true,
            watch: LimitWatch::new(limits),
            usage,
            sequence_told: SequenceTold::Nothing,
        };
        self.requests.send(Command::AddOutbound(Box::new(outbound)))?;
        Ok(())
    }

    /// Moves both SAs of a child to another path: the peer's NAT has a new mapping, or one of us has moved.
    pub fn update_path(&self, child: ChildId, path: Path) -> Result<(), InstallError> {
        let socket = self.socket(&path)?;
        let registry = self.registry();
        if !registry.contains(child) {
            return Err(InstallError::UnknownChild(child));
        }
        self.requests.send(Command::UpdatePath { child, path, socket })?;
        Ok(())
    }

    /// Removes the SAs of a child. What they were used for until now; `None` if there is no such child.
    pub fn remove(&self, child: ChildId) -> Option<ChildUse> {
        let mut registry = self.registry();
        let used = registry.remove(child, self.start)?;
        // A worker that has stopped has no SAs any more.
        let _ = self.requests.send(Command::Remove(child));
        Some(used)
    }

    /// Tells by [`Event::FirstReceived`] when the inbound SA of a child receives its first packet; at once if it has.
    pub fn tell_first_received(&self, child: ChildId) {
        let _ = self.requests.send(Command::TellFirst(child)); // a worker that has stopped receives nothing
    }

    /// Adds a policy for packets that no SA carries. An SA goes before it, whatever its selectors.
    pub fn add_policy(
        &self,
        policy: PolicyId,
        selectors: Selectors,
        action: PolicyAction,
    ) -> Result<(), InstallError> {
        self.requests.send(Command::AddPolicy(Box::new(Policy::new(policy, selectors, action))))?;
        Ok(())
    }

    /// Removes a policy, and what it keeps. One that is not there is no error.
    pub fn remove_policy(&self, policy: PolicyId) {
        // A worker that has stopped has no policies any more.
        let _ = self.requests.send(Command::RemovePolicy(policy));
    }

    /// Says that the SA a trap has asked for was added, or will not be. Until then the trap asks for no other.
    pub fn settle(&self, policy: PolicyId, acquired: Acquired) {
        let _ = self.requests.send(Command::Settle(policy, acquired)); // as above
    }

    /// What a child has been used for.
    pub fn query(&self, child: ChildId) -> Option<ChildUse> {
        self.registry().query(child, self.start)
    }

    /// Packets dropped so far, by reason.
    pub fn stats(&self) -> Stats {
        self.drops.read()
    }

    fn socket(&self, path: &Path) -> Result<usize, InstallError> {
        let Path { local, remote } = *path;
        choose(&self.bound, path).ok_or(InstallError::NoSocket { local, remote })
    }

    /// The lock is held while a command is sent, so that commands are queued in the order of the registry's changes.
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let _ = self.requests.send(Command::Stop);
        if let Some(Err(_)) = self.worker.take().map(JoinHandle::join) {
            tracing::error!("the data plane's worker had panicked");
        }
    }
}

impl From<Stopped> for InstallError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}
