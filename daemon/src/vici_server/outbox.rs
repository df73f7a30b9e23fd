//! What waits to be written to one client.
//!
//! Answers and events share one queue, since their order means something, but not its room: a command that
//! produces faster than the client reads waits for it, and harms only itself; whoever raises an event never
//! waits, and a client that leaves too many unread is given up.

use std::sync::Arc;

use ferry_vici::packet::MAX_FRAME;
use ferry_vici::{EncodeError, Message, Packet};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use zeroize::{Zeroize as _, Zeroizing};

/// Octets of answers, and of events that commands stream, that may wait: at least the longest packet.
const ANSWERS: usize = 2 * MAX_FRAME;

/// Octets of other events that may wait.
const EVENTS: usize = 4 * MAX_FRAME;

/// Packets that are written together, and their octets at most: of thousands of small ones each would take a system call.
const TOGETHER: usize = 64;
const OCTETS_TOGETHER: usize = 32 * 1024;

/// A packet, ready to be written, perhaps to many.
pub(super) type Frame = Arc<Zeroizing<Vec<u8>>>;

/// Makes an event ready to be written.
pub(super) fn event_frame(name: &str, message: &Message) -> Result<Frame, EncodeError> {
    let body = message.encode()?;
    Packet::Event { name, body: &body }.encode().map(Arc::new)
}

/// Makes an answer ready to be written.
pub(super) fn response_frame(message: &Message) -> Result<Frame, EncodeError> {
    let body = message.encode()?;
    Packet::CommandResponse { body: &body }.encode().map(Arc::new)
}

/// The client is gone, or was given up.
#[derive(Debug)]
pub(super) struct Gone;

/// The queue's end that is written to. A clone is the same.
#[derive(Clone)]
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<(Frame, OwnedSemaphorePermit)>,
    answers: Arc<Semaphore>,
    events: Arc<Semaphore>,
    given_up: Arc<Notify>,
}

/// The queue's end that is read.
pub(super) struct Outgoing {
    queue: mpsc::UnboundedReceiver<(Frame, OwnedSemaphorePermit)>,
    answers: Arc<Semaphore>,
    given_up: Arc<Notify>,
}

/// An empty queue.
pub(super) fn outbox() -> (Outbox, Outgoing) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (answers, events) = (Arc::new(Semaphore::new(ANSWERS)), Arc::new(Semaphore::new(EVENTS)));
    let given_up = Arc::new(Notify::new());
    let outgoing =
        Outgoing { queue: receiver, answers: Arc::clone(&answers), given_up: Arc::clone(&given_up) };
    (Outbox { queue: sender, answers, events, given_up }, outgoing)
}

impl Outbox {
    /// Puts a packet in the queue, as soon as there is room.
    pub(super) async fn send(&self, frame: Frame) -> Result<(), Gone> {
        let permit = Arc::clone(&self.answers).acquire_many_owned(room(&frame)).await.map_err(|_| Gone)?;
        self.queue.send((frame, permit)).map_err(|_| Gone)
    }

    /// Puts a packet in the queue if there is room, and gives the client up if there is none.
    pub(super) fn offer(&self, frame: Frame) -> Result<(), Gone> {
        match Arc::clone(&self.events).try_acquire_many_owned(room(&frame)) {
            Ok(permit) => self.queue.send((frame, permit)).map_err(|_| Gone),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                self.given_up.notify_one();
                Err(Gone)
            }
        }
    }
}

/// The room a packet takes; no packet is longer than what both budgets hold.
fn room(frame: &Frame) -> u32 {
    u32::try_from(frame.len()).unwrap_or(u32::MAX)
}

impl Outgoing {
    /// Writes until all senders are gone and the queue is empty, the client is gone, or it is given up. True
    /// in the last case.
    ///
    /// Dropping it midway may leave a packet half written: the connection is of no more use then.
    pub(super) async fn write_to(mut self, mut stream: impl AsyncWrite + Unpin) -> bool {
        let given_up = Arc::clone(&self.given_up);
        let is_given_up = tokio::select! {
            () = given_up.notified() => true,
            () = self.drain(&mut stream) => false,
        };
        // Whoever waits for room waits in vain from now on.
        self.answers.close();
        is_given_up
    }

    async fn drain(&mut self, stream: &mut (impl AsyncWrite + Unpin)) {
        let mut waiting = Vec::with_capacity(TOGETHER);
        let mut together = Zeroizing::new(Vec::with_capacity(OCTETS_TOGETHER));
        while self.queue.recv_many(&mut waiting, TOGETHER).await > 0 {
            for (frame, permit) in waiting.drain(..) {
                // What was copied is written before there is no room for the next: what held secrets must not be moved.
                if together.len() + frame.len() > OCTETS_TOGETHER
                    && write(&mut together, stream).await.is_err()
                {
                    return;
                }
                if frame.len() > OCTETS_TOGETHER {
                    if stream.write_all(&frame).await.is_err() {
                        return;
                    }
                } else {
                    together.extend_from_slice(&frame);
                }
                drop(permit);
            }
            if write(&mut together, stream).await.is_err() {
                return;
            }
        }
        let _ = stream.shutdown().await; // the client may have gone first
    }
}

/// Writes what was gathered, and wipes it.
async fn write(
    together: &mut Zeroizing<Vec<u8>>,
    stream: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let written = stream.write_all(together).await;
    together.zeroize();
    written
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    fn frame(length: usize) -> Frame {
        Arc::new(Zeroizing::new(vec![7; length]))
    }

    #[tokio::test]
    async fn packets_are_written_in_order_and_the_stream_is_closed_behind_them() {
        let (outbox, outgoing) = outbox();
        let (ours, mut theirs) = tokio::io::duplex(64);
        let writer = tokio::spawn(outgoing.write_to(ours));
        outbox.send(Arc::new(Zeroizing::new(b"one".to_vec()))).await.unwrap();
        outbox.offer(Arc::new(Zeroizing::new(b"two".to_vec()))).unwrap();
        drop(outbox);
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"onetwo");
        assert!(!writer.await.unwrap());
    }

    #[tokio::test]
    async fn answers_wait_for_a_slow_reader() {
        let (outbox, outgoing) = outbox();
        let (ours, mut theirs) = tokio::io::duplex(64);
        let writer = tokio::spawn(outgoing.write_to(ours));
        let sender = tokio::spawn(async move {
            for _ in 0..6 {
                outbox.send(frame(MAX_FRAME)).await.unwrap();
            }
        });
        let mut read = vec![0; 6 * MAX_FRAME];
        theirs.read_exact(&mut read).await.unwrap();
        sender.await.unwrap();
        assert!(!writer.await.unwrap());
    }

    #[tokio::test]
    async fn a_client_that_reads_no_events_is_given_up_without_anybody_waiting() {
        let (outbox, outgoing) = outbox();
        let (ours, _theirs) = tokio::io::duplex(64);
        let writer = tokio::spawn(outgoing.write_to(ours));
        let mut sent = 0;
        while outbox.offer(frame(MAX_FRAME)).is_ok() {
            sent += 1;
        }
        assert_eq!(sent, 4);
        let is_given_up = tokio::time::timeout(Duration::from_secs(10), writer).await.unwrap().unwrap();
        assert!(is_given_up);
        outbox.send(frame(1)).await.unwrap_err();
    }
}
