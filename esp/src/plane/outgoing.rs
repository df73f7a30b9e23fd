//! From the device to the peers.

use std::io;
use std::ops::Range;
use std::time::Duration;

use rustix::event::epoll;
use zeroize::Zeroizing;

use super::config::IkeDatagram;
use super::cut::{SuperPacket, complete_checksum};
use super::event::{Direction, Event};
use super::policy::{Caught, Policy, PolicyAction};
use super::socket::EspSocket;
use super::stats::{DropCounters, DropReason};
use super::tables::{Outbound, SequenceTold, Way};
use super::virtio::{ChecksumPlace, Cut, Offload};
use super::worker::{BUDGET, MAX_PACKET, Worker};
use crate::inner::{Flow, InnerHeader};
use crate::outbound::SealError;
use crate::packet::Sealed;
use crate::suite::{HEADER_LEN, HEADROOM, TAILROOM};

/// What the kernel cuts at once: no more datagrams, and no more octets, which both families of UDP carry.
const MOST_DATAGRAMS: usize = 64;
const MOST_OCTETS: usize = 65_000;

impl<I: Fn(IkeDatagram<'_>), E: Fn(Event)> Worker<I, E> {
    pub(super) fn drain_device(&mut self) {
        let mut left = BUDGET;
        while left > 0 {
            let given = match self.device.read(&mut self.buffer, HEADROOM) {
                Ok(Some(given)) => given,
                // A device that was shut down for reading; a TUN device never gives an empty packet.
                Ok(None) => return self.lose_device(&io::ErrorKind::UnexpectedEof.into()),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return self.lose_device(&error.into()),
            };
            if self.orders.are_waiting() {
                self.obey();
                self.release_before(given.len);
            }
            let sent = match given.offload {
                None => Err(DropReason::OutboundMalformed),
                Some(Offload { cut: None, checksum: None }) => self.send(given.len).map(|()| 1),
                Some(Offload { cut: None, checksum: Some(place) }) => {
                    self.complete(given.len, place).and_then(|()| self.send(given.len)).map(|()| 1)
                }
                Some(Offload { cut: Some(cut), checksum }) => self.send_cut(given.len, cut, checksum),
            };
            let packets = sent.unwrap_or_else(|reason| {
                self.drops.count(reason);
                1
            });
            left = left.saturating_sub(packets);
        }
    }

    /// Stops listening to a device that is gone; it would wake us for ever.
    fn lose_device(&mut self, error: &io::Error) {
        tracing::warn!(%error, "the TUN device is gone");
        // Failing here means that it is not listened to, which is what we want.
        let _ = epoll::delete(&self.epoll, &self.device);
        (self.events)(Event::DeviceLost { reason: error.to_string() });
    }

    /// Completes the checksum of the packet of `len` octets in the buffer.
    fn complete(&mut self, len: usize, place: ChecksumPlace) -> Result<(), DropReason> {
        let packet = self.buffer.get_mut(HEADROOM..HEADROOM + len).ok_or(DropReason::OutboundMalformed)?;
        let header = InnerHeader::parse(packet).map_err(|_| DropReason::OutboundMalformed)?;
        let packet = packet.get_mut(..header.len).ok_or(DropReason::OutboundMalformed)?;
        complete_checksum(packet, place, header.flow.protocol).ok_or(DropReason::OutboundMalformed)
    }

    /// Seals the packet of `len` octets in the buffer and sends it to the peer its policy names.
    pub(super) fn send(&mut self, len: usize) -> Result<(), DropReason> {
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
        let socket = self.sockets.get(outbound.socket).ok_or(DropReason::OutboundSendFailed)?;
        let inner = HEADROOM..HEADROOM + header.len;
        let sealed = seal(outbound, &mut self.buffer, inner, self.now, &self.events)?;
        // The outer DF bit is not ours to set: it is an option of the whole socket, not of a datagram, and IKE's
        // large messages share the socket. Outer packets may be fragmented, whatever `outer.dont_fragment` says.
        let outer = outbound.sa.outer(&header);
        socket
            .send(sealed.octets(), &outbound.path, outer.traffic_class, None)
            .map_err(|error| why_unsent(&error))
    }

    /// Cuts the packet of `len` octets in the buffer, seals the parts back to back and sends them at once. Gives how
    /// many they are; those that are dropped are counted here.
    fn send_cut(
        &mut self,
        len: usize,
        cut: Cut,
        checksum: Option<ChecksumPlace>,
    ) -> Result<usize, DropReason> {
        let packet = self.buffer.get(HEADROOM..HEADROOM + len).ok_or(DropReason::OutboundMalformed)?;
        let header = InnerHeader::parse(packet).map_err(|_| DropReason::OutboundMalformed)?;
        let parts =
            SuperPacket::parse(packet, &header, cut, checksum).ok_or(DropReason::OutboundMalformed)?;
        let count = parts.count();
        self.batch.clear();
        let outbound = match self.tables.outbound(&header.flow) {
            Way::Sa(outbound) => outbound,
            Way::Policy(policy) => {
                for index in 0..count {
                    let part = self.batch.scratch(parts.len(index));
                    let part = part.and_then(|room| parts.write(index, room).map(|()| room));
                    let caught = part
                        .ok_or(DropReason::OutboundMalformed)
                        .and_then(|part| without_sa(policy, part, header.flow, self.now, &self.events));
                    if let Err(reason) = caught {
                        self.drops.count(reason);
                    }
                }
                return Ok(count);
            }
            Way::None => {
                (0..count).for_each(|_| self.drops.count(DropReason::OutboundNoPolicy));
                return Ok(count);
            }
        };
        let socket = self.sockets.get(outbound.socket).ok_or(DropReason::OutboundSendFailed)?;
        let traffic_class = outbound.sa.outer(&header).traffic_class;
        for index in 0..count {
            if !self.batch.has_room(parts.len(index)) {
                self.batch.send(socket, outbound, traffic_class, &self.drops);
            }
            let added = self.batch.add(
                parts.len(index),
                outbound,
                |room| parts.write(index, room),
                |outbound, buffer, inner| {
                    seal(outbound, buffer, inner, self.now, &self.events).map(|sealed| sealed.octets().len())
                },
            );
            if let Err(reason) = added {
                self.drops.count(reason);
            }
        }
        self.batch.send(socket, outbound, traffic_class, &self.drops);
        Ok(count)
    }
}

/// Sealed packets that lie back to back, all but the last of one length.
pub(super) struct Batch {
    octets: Zeroizing<Vec<u8>>,
    /// How far it is filled.
    len: usize,
    /// Length of the first, and how many there are.
    segment: usize,
    count: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        let octets = Zeroizing::new(vec![0; HEADROOM + MAX_PACKET + TAILROOM]);
        Self { octets, len: 0, segment: 0, count: 0 }
    }

    const fn clear(&mut self) {
        (self.len, self.segment, self.count) = (0, 0, 0);
    }

    /// Room for one packet of `len` octets, where nothing is that is to be sent.
    fn scratch(&mut self, len: usize) -> Option<&mut [u8]> {
        self.octets.get_mut(..len)
    }

    const fn has_room(&self, len: usize) -> bool {
        self.count < MOST_DATAGRAMS && self.len + HEADROOM + len + TAILROOM <= MOST_OCTETS
    }

    /// Adds a packet of `len` octets that `write` writes and `seal` seals; `seal` says how long that is then.
    fn add(
        &mut self,
        len: usize,
        outbound: &mut Outbound,
        write: impl FnOnce(&mut [u8]) -> Option<()>,
        seal: impl FnOnce(&mut Outbound, &mut [u8], Range<usize>) -> Result<usize, DropReason>,
    ) -> Result<(), DropReason> {
        let start = self.len + HEADER_LEN + outbound.sa.suite().iv_len();
        let inner = start..start + len;
        let room = self.octets.get_mut(inner.clone()).ok_or(DropReason::OutboundMalformed)?;
        write(room).ok_or(DropReason::OutboundMalformed)?;
        let sealed = seal(outbound, &mut self.octets, inner)?;
        if self.count == 0 {
            self.segment = sealed;
        }
        self.len += sealed;
        self.count += 1;
        Ok(())
    }

    /// Sends what there is, and lets go of it. What could not be sent is counted.
    fn send(&mut self, socket: &EspSocket, outbound: &mut Outbound, traffic_class: u8, drops: &DropCounters) {
        let filled = self.octets.get(..self.len).unwrap_or_default();
        let segment = u16::try_from(self.segment).ok().filter(|_| self.count > 1 && outbound.may_batch);
        let at_once = segment.map(|size| socket.send(filled, &outbound.path, traffic_class, Some(size)));
        match at_once {
            Some(Ok(())) => {}
            Some(Err(error)) if !is_refusal(&error) => {
                let reason = why_unsent(&error);
                (0..self.count).for_each(|_| drops.count(reason));
            }
            refused => {
                if let Some(Err(error)) = refused {
                    tracing::debug!(%error, "packets to {} are sent one by one", outbound.path.remote);
                    outbound.may_batch = false;
                }
                for packet in filled.chunks(self.segment.max(1)) {
                    if let Err(error) = socket.send(packet, &outbound.path, traffic_class, None) {
                        drops.count(why_unsent(&error));
                    }
                }
            }
        }
        self.clear();
    }
}

/// True if the system does not cut what is sent along this path: it cannot, the datagrams do not fit without
/// fragments, or the device cannot add the checksums.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT)
    )
}

fn why_unsent(error: &io::Error) -> DropReason {
    if error.kind() == io::ErrorKind::WouldBlock {
        DropReason::OutboundQueueFull
    } else {
        DropReason::OutboundSendFailed
    }
}

/// Seals in place the packet at `inner` of `buffer`, and counts it.
fn seal<'b>(
    outbound: &mut Outbound,
    buffer: &'b mut [u8],
    inner: Range<usize>,
    now: Duration,
    events: impl Fn(Event),
) -> Result<Sealed<'b>, DropReason> {
    if outbound.watch.is_spent() {
        return Err(DropReason::OutboundLimit);
    }
    let bytes = inner.len() as u64;
    let sealed = match outbound.sa.seal(buffer, inner) {
        Ok(sealed) => sealed,
        Err(error) => {
            if matches!(error, SealError::Exhausted(_)) {
                tell_sequence(outbound, SequenceTold::Exhausted, events);
            }
            return Err(error.into());
        }
    };
    // Counted before it is sent, as in the kernel: whoever has the peer's answer finds it counted.
    outbound.usage.count(bytes, now);
    if outbound.sa.is_nearly_exhausted() {
        tell_sequence(outbound, SequenceTold::NearlyExhausted, &events);
    }
    if let Some(limit) = outbound.watch.count(bytes) {
        let (child, spi) = (outbound.child, outbound.sa.spi());
        events(Event::LimitReached { child, spi, direction: Direction::Outbound, limit });
    }
    Ok(sealed)
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::SocketAddr;
    use std::sync::Arc;

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
            may_batch: true,
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
