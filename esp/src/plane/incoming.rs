//! From the peers to the device.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Range;

use rustix::event::epoll::EventFlags;

use super::config::IkeDatagram;
use super::demux::{Contents, demux};
use super::event::{Direction, Event};
use super::join::MOST;
use super::stats::DropReason;
use super::sys::Received;
use super::tables::Inbound;
use super::worker::{BUDGET, MAX_PACKET, Worker};
use crate::packet::Sealed;
use crate::suite::{HEADER_LEN, HEADROOM};

impl<I: Fn(IkeDatagram<'_>), E: Fn(Event)> Worker<I, E> {
    pub(super) fn drain_socket(&mut self, index: usize, flags: EventFlags) {
        if flags.contains(EventFlags::ERR)
            && let Some(socket) = self.sockets.get(index)
        {
            socket.drain_errors();
        }
        let mut left = BUDGET;
        while left > 0 {
            let (Some(socket), Some(room)) =
                (self.sockets.get(index), self.buffer.get_mut(HEADROOM..HEADROOM + MAX_PACKET))
            else {
                return;
            };
            let received = match socket.receive(room) {
                Ok(Some(received)) => received,
                Ok(None) => {
                    left -= 1;
                    continue;
                }
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
            left = left.saturating_sub(self.receive_all(index, &received));
        }
    }

    /// Does what is right with the datagrams in the buffer, which came together from one peer. Gives how many they are.
    fn receive_all(&mut self, index: usize, received: &Received) -> usize {
        // An empty datagram is one, too.
        let size = received.arrival.segment.unwrap_or(received.len).max(1);
        let count = received.len.div_ceil(size).max(1);
        for number in 0..count {
            let start = number * size;
            let place = HEADROOM + start..HEADROOM + (start + size).min(received.len);
            if let Err(reason) = self.receive(index, received, place) {
                self.drops.count(reason);
            }
        }
        self.flush();
        count
    }

    /// Does what is right with the datagram at `place` of the buffer.
    fn receive(&mut self, index: usize, received: &Received, place: Range<usize>) -> Result<(), DropReason> {
        let socket = self.sockets.get(index).ok_or(DropReason::InboundReceiveFailed)?;
        let local = socket.local(received);
        let start = place.start;
        let datagram = self.buffer.get_mut(place).ok_or(DropReason::InboundTooShort)?;
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
        if !self.device.takes_joined() {
            return self.device.write(admitted.octets()).map_err(|_| DropReason::InboundDeviceRefused);
        }
        // Opened in place: what is inside begins behind the header and the IV.
        let start = start + HEADER_LEN + inbound.sa.suite().iv_len();
        let place = start..start + admitted.octets().len();
        self.deliver(place)
    }

    /// Gives the device the packet at `place` of the buffer: at once, or with others of its stream before the buffer is
    /// used again.
    fn deliver(&mut self, place: Range<usize>) -> Result<(), DropReason> {
        if self.run.take(&self.buffer, place.clone()) {
            return Ok(());
        }
        // It must not overtake what came before it.
        self.flush();
        if self.run.take(&self.buffer, place.clone()) {
            return Ok(());
        }
        let packet = self.buffer.get(place).ok_or(DropReason::InboundMalformed)?;
        self.device.write(packet).map_err(|_| DropReason::InboundDeviceRefused)
    }

    /// Gives the device what waits to be joined.
    fn flush(&mut self) {
        let count = self.run.count();
        if count == 0 {
            return;
        }
        let is_written = self.run.join(&mut self.buffer).is_some_and(|offload| {
            let header = offload.octets();
            let mut parts = [IoSlice::new(&[]); MOST + 1];
            let places = self.run.places().map(|place| self.buffer.get(place).unwrap_or_default());
            for (part, octets) in parts.iter_mut().zip(std::iter::once(header.as_slice()).chain(places)) {
                *part = IoSlice::new(octets);
            }
            self.device.write_joined(parts.get(..=count).unwrap_or_default()).is_ok()
        });
        if !is_written {
            (0..count).for_each(|_| self.drops.count(DropReason::InboundDeviceRefused));
        }
        self.run.clear();
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
