//! What the handle asks of the worker, and the queue it asks through.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use rustix::event::{EventfdFlags, eventfd};

use super::config::{ChildId, Path};
use super::policy::{Acquired, Policy, PolicyId};
use super::tables::{Inbound, Outbound};

/// A change to what the worker owns. Carried out in the order of asking.
pub(super) enum Command {
    AddInbound(Box<Inbound>),
    AddOutbound(Box<Outbound>),
    UpdatePath { child: ChildId, path: Path, socket: usize },
    Remove(ChildId),
    TellFirst(ChildId),
    AddPolicy(Box<Policy>),
    RemovePolicy(PolicyId),
    Settle(PolicyId, Acquired),
    Stop,
}

/// The handle's end of the queue.
pub(super) struct Requests {
    queue: Sender<Command>,
    bell: Arc<Bell>,
}

/// The worker's end of the queue.
pub(super) struct Orders {
    queue: Receiver<Command>,
    bell: Arc<Bell>,
}

/// Tells that something is in the queue: a worker that sleeps by a descriptor it waits for, and one that is busy by a
/// flag that costs nothing to look at between two packets.
struct Bell {
    eventfd: OwnedFd,
    has_rung: AtomicBool,
}

/// The worker has ended.
pub(super) struct Stopped;

/// A queue with its bell.
pub(super) fn queue() -> io::Result<(Requests, Orders)> {
    let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let bell = Arc::new(Bell { eventfd, has_rung: AtomicBool::new(false) });
    let (sender, receiver) = mpsc::channel();
    Ok((Requests { queue: sender, bell: Arc::clone(&bell) }, Orders { queue: receiver, bell }))
}

impl Requests {
    pub(super) fn send(&self, command: Command) -> Result<(), Stopped> {
        self.queue.send(command).map_err(|_| Stopped)?;
        self.bell.has_rung.store(true, Ordering::Release);
        // The counter can only be full if it has been rung 2^64 times without being heard, so the bell is ringing.
        let _ = rustix::io::write(&self.bell.eventfd, &1_u64.to_ne_bytes());
        Ok(())
    }
}

impl Orders {
    /// True if there may be a command that was not there before.
    #[inline]
    pub(super) fn are_waiting(&self) -> bool {
        self.bell.has_rung.load(Ordering::Acquire)
    }

    /// Forgets that the bell has rung; to be done before the queue is emptied.
    pub(super) fn hear(&self) {
        // Not a plain store: what was queued before the ring that is forgotten here must be seen in the queue.
        self.bell.has_rung.swap(false, Ordering::AcqRel);
        // Nothing to read means that it was silent already.
        let _ = rustix::io::read(&self.bell.eventfd, &mut [0; 8]);
    }

    /// The next command, if there is one. An abandoned queue means stop.
    pub(super) fn next(&self) -> Option<Command> {
        match self.queue.try_recv() {
            Ok(command) => Some(command),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => Some(Command::Stop),
        }
    }
}

impl AsFd for Orders {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_in_order_and_ring() {
        let (requests, orders) = queue().expect("an eventfd");
        assert!(!orders.are_waiting() && orders.next().is_none());
        for id in 0..3 {
            assert!(requests.send(Command::Remove(ChildId(id))).is_ok());
        }
        assert!(orders.are_waiting());
        orders.hear();
        assert!(!orders.are_waiting());
        for id in 0..3 {
            assert!(matches!(orders.next(), Some(Command::Remove(ChildId(got))) if got == id));
        }
        assert!(orders.next().is_none());
    }

    #[test]
    fn either_end_notices_that_the_other_is_gone() {
        let (requests, orders) = queue().expect("an eventfd");
        drop(requests);
        assert!(matches!(orders.next(), Some(Command::Stop)));
        let (requests, orders) = queue().expect("an eventfd");
        drop(orders);
        assert!(requests.send(Command::Stop).is_err());
    }
}
