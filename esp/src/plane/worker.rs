//! The thread on which packets pass.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use zeroize::Zeroizing;

use super::command::{Command, Orders};
use super::config::IkeDatagram;
use super::device::Device;
use super::event::Event;
use super::join::Run;
use super::outgoing::Batch;
use super::policy::{Acquired, PolicyId};
use super::socket::EspSocket;
use super::stats::{DropCounters, DropReason};
use super::tables::Tables;
use crate::suite::{HEADROOM, TAILROOM};

/// The largest IP packet and the largest UDP payload both fit.
pub(super) const MAX_PACKET: usize = 65_535;

/// Packets taken from one source before the others get their turn; those that come together count each.
pub(super) const BUDGET: usize = 64;

/// Sources of wake-ups besides the sockets, which go by their index.
const DEVICE: u64 = u64::MAX;
const ORDERS: u64 = u64::MAX - 1;

/// Owns the device, the sockets, every SA and the tables they are found by. Ends when the handle asks it to or is
/// gone; then all of it is dropped, which closes the device and wipes the keys.
pub(super) struct Worker<I, E> {
    pub(super) device: Device,
    pub(super) sockets: Vec<EspSocket>,
    pub(super) orders: Orders,
    pub(super) epoll: OwnedFd,
    pub(super) tables: Tables,
    /// One packet, or some that came together, with room around; the same for all, and wiped in the end.
    pub(super) buffer: Zeroizing<Vec<u8>>,
    /// What was cut and sealed and is to be sent at once.
    pub(super) batch: Batch,
    /// What was opened, lies in the buffer and may be joined.
    pub(super) run: Run,
    pub(super) drops: Arc<DropCounters>,
    /// When the plane was started; usage is counted in time since then.
    start: Instant,
    /// Time since the start at the last wake-up: precise enough for usage, and cheaper than asking per packet.
    pub(super) now: Duration,
    pub(super) ike: I,
    pub(super) events: E,
    /// An outbound SA was added: a packet that waits in a trap may go.
    may_release: bool,
    /// What became of the SAs that traps have asked for.
    settling: Vec<(PolicyId, Acquired)>,
    is_stopping: bool,
}

impl<I: Fn(IkeDatagram<'_>), E: Fn(Event)> Worker<I, E> {
    pub(super) fn new(
        device: Device,
        sockets: Vec<EspSocket>,
        orders: Orders,
        drops: Arc<DropCounters>,
        start: Instant,
        ike: I,
        events: E,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &orders, EventData::new_u64(ORDERS), EventFlags::IN)?;
        epoll::add(&epoll, &device, EventData::new_u64(DEVICE), EventFlags::IN)?;
        for (index, socket) in (0..).zip(&sockets) {
            epoll::add(&epoll, socket, EventData::new_u64(index), EventFlags::IN)?;
        }
        let buffer = Zeroizing::new(vec![0; HEADROOM + MAX_PACKET + TAILROOM]);
        let (tables, now) = (Tables::default(), Duration::ZERO);
        Ok(Self {
            device,
            sockets,
            orders,
            epoll,
            tables,
            buffer,
            batch: Batch::new(),
            run: Run::new(),
            drops,
            start,
            now,
            ike,
            events,
            may_release: false,
            settling: Vec::new(),
            is_stopping: false,
        })
    }

    /// Moves packets until told to stop.
    pub(super) fn run(mut self) {
        let nothing = epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(ORDERS) };
        let mut woken = [nothing; 16];
        while !self.is_stopping {
            let count = match epoll::wait(&self.epoll, woken.as_mut_slice(), None) {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "the data plane cannot wait for packets and stops");
                    return;
                }
            };
            self.now = self.start.elapsed();
            for event in woken.iter().take(count) {
                let flags = event.flags;
                match event.data.u64() {
                    ORDERS => self.obey(),
                    DEVICE => self.drain_device(),
                    index => self.drain_socket(usize::try_from(index).unwrap_or(usize::MAX), flags),
                }
                self.release();
            }
        }
    }

    /// Carries out what the handle has asked for.
    pub(super) fn obey(&mut self) {
        self.orders.hear();
        while let Some(command) = self.orders.next() {
            match command {
                Command::AddInbound(inbound) => self.tables.add_inbound(inbound),
                Command::AddOutbound(outbound) => {
                    self.tables.add_outbound(outbound);
                    self.may_release = true;
                }
                Command::UpdatePath { child, path, socket } => self.tables.update_path(child, path, socket),
                Command::Remove(child) => self.tables.remove(child),
                Command::TellFirst(child) => match self.tables.inbound_of(child) {
                    Some(inbound) if inbound.usage.is_unused() => inbound.tells_first = true,
                    Some(_) => (self.events)(Event::FirstReceived { child }),
                    None => {}
                },
                Command::AddPolicy(policy) => self.tables.add_policy(policy),
                Command::RemovePolicy(policy) => self.tables.remove_policy(policy),
                Command::Settle(policy, acquired) => self.settling.push((policy, acquired)),
                Command::Stop => {
                    self.is_stopping = true;
                    return;
                }
            }
        }
    }

    /// Sends what waited for an SA that is there now, and ends what traps have asked for.
    fn release(&mut self) {
        if std::mem::take(&mut self.may_release) {
            while let Some(packet) = self.tables.released() {
                let Some(room) = self.buffer.get_mut(HEADROOM..HEADROOM + packet.len()) else { continue };
                room.copy_from_slice(&packet);
                if let Err(reason) = self.send(packet.len()) {
                    self.drops.count(reason);
                }
            }
        }
        for (id, acquired) in std::mem::take(&mut self.settling) {
            let Some(policy) = self.tables.policy(id) else { continue };
            let (next, lost) = policy.trap.settle(acquired, self.now);
            if let Some(flow) = next {
                (self.events)(Event::Acquire { policy: id, flow });
            }
            for _ in 0..lost {
                self.drops.count(DropReason::OutboundTrapped);
            }
        }
    }

    /// The same before the packet of `len` octets in the buffer, which came after those that wait.
    pub(super) fn release_before(&mut self, len: usize) {
        if !self.may_release {
            return;
        }
        let place = HEADROOM..HEADROOM + len;
        let Some(packet) = self.buffer.get(place.clone()).map(|octets| Zeroizing::new(octets.to_vec()))
        else {
            return;
        };
        self.release();
        if let Some(room) = self.buffer.get_mut(place) {
            room.copy_from_slice(&packet);
        }
    }
}
