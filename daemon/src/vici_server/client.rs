//! One client's connection.
//!
//! Three tasks: this one reads, one does what was asked, in order and one thing at a time, and one writes. A
//! client that goes away ends the reading; what it asked for before is done all the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferry_vici::{Frames, Packet};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

use super::commands::{self, Arguments};
use super::events::{EventName, Hub};
use super::outbox::{Frame, Gone, Outbox, event_frame, outbox, response_frame};
use super::{Control, until};
use crate::control::Tunnels;
use crate::net::Stream;
use crate::store::{Change, Transaction};

/// Packets that may wait to be worked on. No more is read while they do.
const WAITING: usize = 64;

const READ: usize = 16 * 1024;

/// The client that a command runs for.
pub(super) struct Client {
    number: u64,
    outbox: Outbox,
    hub: Arc<Hub>,
    /// What it has begun to load together.
    transaction: Mutex<Option<Transaction>>,
}

impl Client {
    /// What it loads from now on is loaded together. What it has begun before is forgotten.
    pub(super) fn begin(&self, transaction: Transaction) {
        *self.transaction() = Some(transaction);
    }

    /// Ends the transaction, if one was begun, and gives it back.
    pub(super) fn end_transaction(&self) -> Option<Transaction> {
        self.transaction().take()
    }

    /// Whether a transaction was begun.
    pub(super) fn has_transaction(&self) -> bool {
        self.transaction().is_some()
    }

    /// Adds to the transaction.
    pub(super) fn add(&self, changes: Vec<Change>) {
        if let Some(transaction) = &mut *self.transaction() {
            transaction.changes.extend(changes);
        }
    }

    /// Something could not be added to the transaction, which will be refused for it.
    pub(super) fn spoil(&self) {
        if let Some(transaction) = &mut *self.transaction() {
            transaction.failed += 1;
        }
    }

    fn transaction(&self) -> MutexGuard<'_, Option<Transaction>> {
        // Every change is whole before anything can panic.
        self.transaction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client wants events of this name.
    pub(super) fn wants(&self, event: EventName) -> bool {
        self.hub.count(self.number, event) > 0
    }

    /// Sends an event to this client alone, as often as it has registered for it.
    pub(super) async fn emit(&self, event: EventName, message: &ferry_vici::Message) {
        if !self.wants(event) {
            return;
        }
        match event_frame(event.name(), message) {
            Ok(frame) => self.emit_frame(event, &frame).await,
            Err(error) => {
                tracing::warn!(target: "cfg", "a {} event cannot be sent: {error}", event.name());
            }
        }
    }

    /// The same with an event that is ready to be written.
    pub(super) async fn emit_frame(&self, event: EventName, frame: &Frame) {
        for _ in 0..self.hub.count(self.number, event) {
            if self.send(Arc::clone(frame)).await.is_err() {
                return; // the client is gone; the command goes on without it
            }
        }
    }

    async fn send(&self, frame: Frame) -> Result<(), Gone> {
        self.outbox.send(frame).await
    }

    async fn packet(&self, packet: Packet<'_>) -> Result<(), Gone> {
        match packet.encode() {
            Ok(frame) => self.send(Arc::new(frame)).await,
            Err(error) => {
                tracing::warn!(target: "cfg", "a VICI packet cannot be sent: {error}");
                Ok(())
            }
        }
    }
}

/// Serves a client until it goes, is given up, or `stop` turns true.
///
/// Dropping the future ends reading; what is being done comes to its end in a task of its own.
pub(super) async fn run<T: Tunnels>(
    number: u64,
    stream: Box<dyn Stream>,
    control: Arc<Control<T>>,
    hub: Arc<Hub>,
    mut stop: watch::Receiver<bool>,
) {
    let (reader, writer) = tokio::io::split(stream);
    let (outbox, outgoing) = outbox();
    let (packets, waiting) = mpsc::channel(WAITING);
    let mut writing = tokio::spawn(outgoing.write_to(writer));
    let client = Client { number, outbox, hub: Arc::clone(&hub), transaction: Mutex::default() };
    let working = tokio::spawn(work(client, waiting, control));
    let mut is_given_up = None;
    tokio::select! {
        () = read(number, reader, packets) => {}
        ended = &mut writing => is_given_up = Some(ended.unwrap_or(false)),
        () = until(&mut stop) => {}
    }
    hub.forget(number);
    // What was begun is finished and answered, unless nobody is there to read it; `serve` limits how long
    // that may take.
    let _ = working.await;
    let is_given_up = match is_given_up {
        Some(is_given_up) => is_given_up,
        None => writing.await.unwrap_or(false),
    };
    if is_given_up {
        tracing::warn!(target: "cfg", "VICI client {number} does not read its events, closing its connection");
    }
}

/// Cuts what arrives into packets, until the client goes or sends what cannot be followed.
async fn read(number: u64, mut reader: impl AsyncRead + Unpin, packets: mpsc::Sender<Zeroizing<Vec<u8>>>) {
    let mut frames = Frames::new();
    let mut buffer = Zeroizing::new(vec![0; READ]);
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => frames.feed(buffer.get(..length).unwrap_or_default()),
            Err(error) => {
                tracing::debug!(target: "cfg", "reading from VICI client {number} failed: {error}");
                return;
            }
        }
        loop {
            match frames.take() {
                Ok(Some(frame)) => {
                    if packets.send(frame).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(target: "cfg", "closing the connection of VICI client {number}: {error}");
                    return;
                }
            }
        }
    }
    if frames.is_inside_frame() {
        tracing::debug!(target: "cfg", "VICI client {number} closed its connection inside a packet");
    }
}

/// Does what was asked, in order.
async fn work<T: Tunnels>(
    client: Client,
    mut packets: mpsc::Receiver<Zeroizing<Vec<u8>>>,
    control: Arc<Control<T>>,
) {
    while let Some(frame) = packets.recv().await {
        // An answer to a client that is gone is lost; what it asked for is done all the same.
        let _ = match Packet::decode(&frame) {
            Ok(Packet::CommandRequest { name, body }) => answer(&client, name, body, &control).await,
            Ok(Packet::EventRegister { name }) => register(&client, name).await,
            Ok(Packet::EventUnregister { name }) => unregister(&client, name).await,
            Ok(
                Packet::CommandResponse { .. }
                | Packet::CommandUnknown
                | Packet::EventConfirm
                | Packet::EventUnknown
                | Packet::Event { .. },
            ) => {
                tracing::debug!(target: "cfg", "VICI client {} sent a packet that is ours to send", client.number);
                Ok(())
            }
            Err(error) => {
                tracing::debug!(target: "cfg", "VICI client {} sent no packet: {error}", client.number);
                Ok(())
            }
        };
    }
}

async fn answer<T: Tunnels>(
    client: &Client,
    name: &str,
    body: &[u8],
    control: &Control<T>,
) -> Result<(), Gone> {
    let Some(reply) = commands::run(name, &Arguments::new(body), client, control).await else {
        return client.packet(Packet::CommandUnknown).await;
    };
    let frame = response_frame(&reply).or_else(|error| {
        tracing::warn!(target: "cfg", "the answer to {name} cannot be sent: {error}");
        response_frame(&commands::failure(format!("the answer cannot be sent: {error}")))
    });
    match frame {
        Ok(frame) => client.send(frame).await,
        Err(_even_that) => Ok(()),
    }
}

/// The confirmation is in the queue before the first event can be: strict clients want it so.
async fn register(client: &Client, name: &str) -> Result<(), Gone> {
    let Some(event) = EventName::from_name(name) else { return client.packet(Packet::EventUnknown).await };
    client.packet(Packet::EventConfirm).await?;
    client.hub.register(client.number, event, &client.outbox);
    Ok(())
}

async fn unregister(client: &Client, name: &str) -> Result<(), Gone> {
    let is_undone =
        EventName::from_name(name).is_some_and(|event| client.hub.unregister(client.number, event));
    client.packet(if is_undone { Packet::EventConfirm } else { Packet::EventUnknown }).await
}
