//! The thread on which packets pass.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use zeroize::Zeroizing;

use super::command::{Command, Orders};
use super::config::IkeDatagram;
use super::demux::{Contents, demux};
use super::event::{Direction, Event};
use super::policy::{Acquired, Caught, Policy, PolicyAction, PolicyId};
use super::socket::EspSocket;
use super::stats::{DropCounters, DropReason};
use super::sys::Received;
use super::tables::{Inbound, Outbound, SequenceTold, Tables, Way};
use crate::inner::{Flow, InnerHeader};
use crate::outbound::SealError;
use crate::packet::Sealed;
use crate::suite::{HEADROOM, TAILROOM};

/// The largest IP packet and the largest UDP payload both fit.
const MAX_PACKET: usize = 65_535;

/// Packets taken from one source before the others get their turn.
const BUDGET: usize = 64;

/// Sources of wake-ups besides the sockets, which go by their index.
const DEVICE: u64 = u64::MAX;
const ORDERS: u64 = u64::MAX - 1;

/// Owns the device, the sockets, every SA and the tables they are found by. Ends when the handle asks it to or is
/// gone; then all of it is dropped, which closes the device and wipes the keys.
pub(super) struct Worker<I, E> {
    device: OwnedFd,
    sockets: Vec<EspSocket>,
    orders: Orders,
    epoll: OwnedFd,
    tables: Tables,
    /// One packet with room around it; the same one for every packet, and wiped in the end.
    buffer: Zeroizing<Vec<u8>>,
    drops: Arc<DropCounters>,
    /// When the plane was started; usage is counted in time since then.
    start: Instant,
    /// Time since the start at the last wake-up: precise enough for usage, and cheaper than asking per packet.
    now: Duration,
    ike: I,
    events: E,
    /// An outbound SA was added: a packet that waits in a trap may go.
    may_release: bool,
    /// What became of the SAs that traps have asked for.
    settling: Vec<(PolicyId, Acquired)>,
    is_stopping: bool,
}

impl<I: Fn(IkeDatagram<'_>), E: Fn(Event)> Worker<I, E> {
    pub(super) fn new(
        device: OwnedFd,
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
    fn obey(&mut self) {
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
    fn release_before(&mut self, len: usize) {
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

    fn drain_device(&mut self) {
        for _ in 0..BUDGET {
            let Some(room) = self.buffer.get_mut(HEADROOM..HEADROOM + MAX_PACKET) else { return };
            match rustix::io::read(&self.device, room) {
                // A device that was shut down for reading; a TUN device never gives an empty packet.
                Ok(0) => return self.lose_device(&io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    if self.orders.are_waiting() {
                        self.obey();
                        self.release_before(len);
                    }
                    if let Err(reason) = self.send(len) {
                        self.drops.count(reason);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return self.lose_device(&error.into()),
            }
        }
    }

    /// Stops listening to a device that is gone; it would wake us for ever.
    fn lose_device(&mut self, error: &io::Error) {
        tracing::warn!(%error, "the TUN device is gone");
        // Failing here means that it is not listened to, which is what we want.
        let _ = epoll::delete(&self.epoll, &self.device);
        (self.events)(Event::DeviceLost { reason: error.to_string() });
    }

    /// Seals the packet of `len` octets in the buffer and sends it to the peer its policy names.
    fn send(&mut self, len: usize) -> Result<(), DropReason> {
        let packet = self.buffer.get(HEADROOM..HEADROOM + len).ok_or(DropReason::OutboundMalformed)?;
        let header = InnerHeader::parse(packet).map_err(|_| DropReason::OutboundMalformed)?;
        let outbound = match self.tables.outbound(&header.flow) {
            Way::Sa(outbound) => outbound,
            Way::Policy(policy) => {
                let packet = packet.get(..header.len).unwrap_or(packet);
                return without_sa(policy, packet, header.flow, self.now, &self.events);
            }
            Way::None => return Err(DropReason::OutboundNoPolicy),
        };
        if outbound.watch.is_spent() {
            return Err(DropReason::OutboundLimit);
        }
        let sealed = match outbound.sa.seal(&mut self.buffer, HEADROOM..HEADROOM + header.len) {
            Ok(sealed) => sealed,
            Err(error) => {
                if matches!(error, SealError::Exhausted(_)) {
                    tell_sequence(outbound, SequenceTold::Exhausted, &self.events);
                }
                return Err(error.into());
            }
        };
        let outer = outbound.sa.outer(&header);
        let socket = self.sockets.get(outbound.socket).ok_or(DropReason::OutboundSendFailed)?;
        // The outer DF bit is not ours to set: it is an option of the whole socket, not of a datagram, and IKE's
        // large messages share the socket. Outer packets may be fragmented, whatever `outer.dont_fragment` says.
        // Counted first, as in the kernel: whoever has the peer's answer finds it counted.
        let bytes = header.len as u64;
        outbound.usage.count(bytes, self.now);
        let sent = socket.send(sealed.octets(), &outbound.path, outer.traffic_class);

        if outbound.sa.is_nearly_exhausted() {
            tell_sequence(outbound, SequenceTold::NearlyExhausted, &self.events);
        }
        if let Some(limit) = outbound.watch.count(bytes) {
            let (child, spi) = (outbound.child, outbound.sa.spi());
            (self.events)(Event::LimitReached { child, spi, direction: Direction::Outbound, limit });
        }
        match sent {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(DropReason::OutboundQueueFull),
            Err(_) => Err(DropReason::OutboundSendFailed),
        }
    }

    fn drain_socket(&mut self, index: usize, flags: EventFlags) {
        if flags.contains(EventFlags::ERR)
            && let Some(socket) = self.sockets.get(index)
        {
            socket.drain_errors();
        }
        for _ in 0..BUDGET {
            let (Some(socket), Some(room)) =
                (self.sockets.get(index), self.buffer.get_mut(HEADROOM..HEADROOM + MAX_PACKET))
            else {
                return;
            };
            let received = match socket.receive(room) {
                Ok(Some(received)) => received,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // An error of an earlier datagram, an unreachable peer for instance; receiving it has cleared it.
                Err(_) => {
                    self.drops.count(DropReason::InboundReceiveFailed);
                    return;
                }
            };
            if self.orders.are_waiting() {
                self.obey();
            }
            if let Err(reason) = self.receive(index, &received) {
                self.drops.count(reason);
            }
        }
    }

    /// Does what is right with the datagram in the buffer.
    fn receive(&mut self, index: usize, received: &Received) -> Result<(), DropReason> {
        let socket = self.sockets.get(index).ok_or(DropReason::InboundReceiveFailed)?;
        let local = socket.local(received);
        let datagram =
            self.buffer.get_mut(HEADROOM..HEADROOM + received.len).ok_or(DropReason::InboundTooShort)?;
        match demux(datagram) {
            Contents::Esp => {}
            Contents::Keepalive => return Ok(()),
            Contents::Ike => {
                (self.ike)(IkeDatagram { socket: index, local, remote: received.remote, payload: datagram });
                return Ok(());
            }
            Contents::Nothing => return Err(DropReason::InboundTooShort),
        }

        let sealed = Sealed::parse(datagram)?;
        let inbound = self.tables.inbound(sealed.spi()).ok_or(DropReason::InboundUnknownSpi)?;
        if inbound.watch.is_spent() {
            return Err(DropReason::InboundLimit);
        }
        let opened = inbound.sa.open(sealed)?;

        if opened.is_newest() {
            note_remote(inbound, local, received.remote, &self.events);
        }
        if inbound.tells_first {
            inbound.tells_first = false;
            (self.events)(Event::FirstReceived { child: inbound.child });
        }
        let bytes = opened.payload().len() as u64;
        inbound.usage.count(bytes, self.now);
        if let Some(limit) = inbound.watch.count(bytes) {
            let (child, spi) = (inbound.child, inbound.sa.spi());
            (self.events)(Event::LimitReached { child, spi, direction: Direction::Inbound, limit });
        }

        let admitted = inbound.sa.admit(opened, received.arrival.traffic_class)?;
        match rustix::io::write(&self.device, admitted.octets()) {
            Ok(_) => Ok(()),
            Err(_) => Err(DropReason::InboundDeviceRefused),
        }
    }
}

/// What a policy does with a packet that no SA carries.
fn without_sa(
    policy: &mut Policy,
    packet: &[u8],
    flow: Flow,
    now: Duration,
    events: impl Fn(Event),
) -> Result<(), DropReason> {
    match policy.action {
        PolicyAction::Drop => Err(DropReason::OutboundDiscarded),
        PolicyAction::Trap => match policy.trap.catch(packet, flow, now) {
            Caught::Asks => {
                events(Event::Acquire { policy: policy.id, flow });
                Ok(())
            }
            Caught::Waits => Ok(()),
            Caught::Lost => Err(DropReason::OutboundTrapped),
        },
    }
}

/// Tells once how far an outbound SA's sequence numbers are used up.
fn tell_sequence(outbound: &mut Outbound, told: SequenceTold, events: impl Fn(Event)) {
    if outbound.sequence_told >= told {
        return;
    }
    outbound.sequence_told = told;
    let (child, spi) = (outbound.child, outbound.sa.spi());
    match told {
        SequenceTold::Nothing => {}
        SequenceTold::NearlyExhausted => events(Event::SequenceNearlyExhausted { child, spi }),
        SequenceTold::Exhausted => events(Event::SequenceExhausted { child, spi }),
    }
}

/// Tells once for each new address that a verified packet came from elsewhere than expected.
// RFC 7296 §2.23: only a packet that passes the integrity check says where the peer is.
fn note_remote(inbound: &mut Inbound, local: SocketAddr, remote: SocketAddr, events: impl Fn(Event)) {
    if remote == inbound.remote {
        inbound.told = None;
        return;
    }
    if inbound.told == Some(remote) {
        return;
    }
    inbound.told = Some(remote);
    let (child, spi, from) = (inbound.child, inbound.sa.spi(), inbound.remote);
    events(Event::PeerMoved { child, spi, local, from, to: remote });
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::limits::{LimitWatch, Limits};
    use crate::plane::config::{ChildId, Path};
    use crate::sequence::SequenceNumbers;
    use crate::suite::Suite;
    use crate::testing::ends;
    use crate::tunnel::TunnelOptions;

    #[test]
    fn the_end_of_the_sequence_numbers_is_told_once_and_in_order() {
        let (sa, _) = ends(Suite::ChaCha20Poly1305, SequenceNumbers::Short, TunnelOptions::default());
        let (child, spi) = (ChildId(1), sa.spi());
        let address = SocketAddr::from(([127, 0, 0, 1], 4500));
        let mut outbound = Outbound {
            sa,
            child,
            priority: None,
            path: Path { local: address, remote: address },
            socket: 0,
            watch: LimitWatch::new(Limits::default()),
            usage: Arc::default(),
            sequence_told: SequenceTold::Nothing,
        };
        let told = RefCell::new(Vec::new());
        for news in [
            SequenceTold::NearlyExhausted,
            SequenceTold::NearlyExhausted,
            SequenceTold::Exhausted,
            SequenceTold::NearlyExhausted,
            SequenceTold::Exhausted,
        ] {
            tell_sequence(&mut outbound, news, |event| told.borrow_mut().push(event));
        }
        let expected =
            [Event::SequenceNearlyExhausted { child, spi }, Event::SequenceExhausted { child, spi }];
        assert_eq!(told.into_inner(), expected);
    }
}
