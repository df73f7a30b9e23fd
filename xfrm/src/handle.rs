//! The netlink socket: one request at a time, its answer, and the kernel's word on a refusal.
//!
//! netlink-sys gives the bare socket; the loop is our own because the ready-made one logs whole
//! messages, keys included, and drops the sentence in which the kernel says what was wrong.

use std::io;

use netlink_sys::protocols::{NETLINK_ROUTE, NETLINK_XFRM};
use netlink_sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket};
use tokio::sync::Mutex;
use tracing::debug;
use zeroize::Zeroizing;

use crate::error::{Error, Failure, Malformed};
use crate::message::{Request, control, flags, frames};

/// Octets of the receive buffer: twice what the kernel puts into one datagram of a dump.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// How often a dump is taken anew when the table changed while it was read.
const DUMP_ATTEMPTS: usize = 3;

/// A netlink family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Links, addresses, routes, rules.
    Route,
    /// SAs and policies.
    Xfrm,
}

impl Protocol {
    fn number(self) -> isize {
        match self {
            Self::Route => NETLINK_ROUTE,
            Self::Xfrm => NETLINK_XFRM,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Route => "NETLINK_ROUTE",
            Self::Xfrm => "NETLINK_XFRM",
        }
    }
}

/// The number of a netlink socket of ours, by which the kernel says who asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port(pub(crate) u32);

/// One message of an answer.
pub(crate) struct Reply {
    pub(crate) kind: u16,
    /// Wiped on drop: an SA read back holds its keys.
    pub(crate) payload: Zeroizing<Vec<u8>>,
}

/// A socket for requests. It belongs to the network namespace of the thread that opened it.
pub(crate) struct Handle {
    exchange: Mutex<Exchange>,
    port: Port,
}

struct Exchange {
    channel: Channel,
    port: Port,
    /// Of the last request sent.
    sequence: u32,
    /// Of a dump that has not come to its end. The kernel refuses to begin another one before
    /// (EBUSY), and goes on with it only while it is read.
    open_dump: Option<u32>,
}

impl Handle {
    /// Opens a socket; inside a tokio runtime only.
    pub(crate) fn open(protocol: Protocol) -> Result<Self, Error> {
        let mut channel = Channel::open(protocol)?;
        let address = channel.socket_mut().bind_auto();
        let address = address.map_err(|source| {
            Failure::Socket(source).during(format!("give a {} socket an address", protocol.name()))
        })?;
        let port = Port(address.port_number());
        Ok(Self { exchange: Mutex::new(Exchange { channel, port, sequence: 0, open_dump: None }), port })
    }

    /// By which the kernel says that it was us.
    pub(crate) fn port(&self) -> Port {
        self.port
    }

    /// Sends a request and waits for its acknowledgement or its single answer.
    ///
    /// Dropping the future midway abandons the answer, not the request: the kernel has acted on
    /// it by the time it is sent. The late answer is skipped by its sequence number.
    pub(crate) async fn request(&self, request: Request) -> Result<Vec<Reply>, Failure> {
        let mut exchange = self.exchange.lock().await;
        let (replies, _) = exchange.run(request).await?;
        Ok(replies)
    }

    /// Sends a dump request, made anew by `request` where the table changed under it.
    pub(crate) async fn dump(&self, request: impl Fn() -> Request) -> Result<Vec<Reply>, Failure> {
        let mut exchange = self.exchange.lock().await;
        for _ in 1..DUMP_ATTEMPTS {
            let (replies, is_consistent) = exchange.run(request()).await?;
            if is_consistent {
                return Ok(replies);
            }
        }
        let (replies, is_consistent) = exchange.run(request()).await?;
        if !is_consistent {
            // A busy router's tables never stand still. What was read is true entry by entry.
            debug!("a netlink dump was interrupted {DUMP_ATTEMPTS} times, using it as it is");
        }
        Ok(replies)
    }
}

impl Exchange {
    /// The answer's messages, and whether they are of one moment.
    async fn run(&mut self, mut request: Request) -> Result<(Vec<Reply>, bool), Failure> {
        self.finish_open_dump().await?;
        self.sequence = self.sequence.wrapping_add(1);
        self.channel.send(request.numbered(self.sequence, self.port)).await.map_err(Failure::Socket)?;
        self.open_dump = request.is_dump().then_some(self.sequence);
        let mut replies = Vec::new();
        let mut is_consistent = true;
        loop {
            for frame in frames(self.channel.receive().await?) {
                let frame = frame?;
                if frame.sequence != self.sequence {
                    continue; // the answer to a request whose caller went away
                }
                is_consistent &=
                    frame.flags & flags::DUMP_INTERRUPTED == 0 || matches!(frame.kind, control::ERROR);
                match frame.kind {
                    control::ERROR | control::DONE => {
                        self.open_dump = None;
                        return match frame.refusal()? {
                            Some(refusal) => Err(Failure::Refused(refusal)),
                            None => Ok((replies, is_consistent)),
                        };
                    }
                    control::OVERRUN => return Err(Malformed("an answer without data overrun").into()),
                    kind => {
                        let payload = Zeroizing::new(frame.payload.to_vec());
                        replies.push(Reply { kind, payload });
                        if frame.flags & flags::MULTI == 0 {
                            return Ok((replies, is_consistent));
                        }
                    }
                }
            }
        }
    }

    /// Reads away what is left of a dump whose caller went away.
    async fn finish_open_dump(&mut self) -> Result<(), Failure> {
        while let Some(sequence) = self.open_dump {
            for frame in frames(self.channel.receive().await?) {
                let frame = frame?;
                if frame.sequence == sequence && matches!(frame.kind, control::ERROR | control::DONE) {
                    self.open_dump = None;
                }
            }
        }
        Ok(())
    }
}

/// A netlink socket in the runtime's hands, and a buffer to receive into.
pub(crate) struct Channel {
    socket: TokioSocket,
    buffer: Zeroizing<Vec<u8>>,
}

impl Channel {
    /// Opens a socket; inside a tokio runtime only.
    pub(crate) fn open(protocol: Protocol) -> Result<Self, Error> {
        Self::try_open(protocol)
            .map_err(|source| Failure::Socket(source).during(format!("open a {} socket", protocol.name())))
    }

    fn try_open(protocol: Protocol) -> io::Result<Self> {
        let socket = TokioSocket::new(protocol.number())?;
        // The kernel's sentences, and no echo of the request: it may hold keys.
        socket.socket_ref().set_ext_ack(true)?;
        socket.socket_ref().set_cap_ack(true)?;
        Ok(Self { socket, buffer: Zeroizing::new(Vec::with_capacity(RECEIVE_BUFFER)) })
    }

    /// The socket itself, for its options and address.
    pub(crate) fn socket_mut(&mut self) -> &mut Socket {
        self.socket.socket_mut()
    }

    async fn send(&self, octets: &[u8]) -> io::Result<()> {
        self.socket.send_to(octets, &SocketAddr::new(0, 0)).await?;
        Ok(())
    }

    /// The next datagram from the kernel. Dropping the future midway loses nothing.
    ///
    /// One that is longer than the buffer comes cut, and its last message does not parse.
    pub(crate) async fn receive(&mut self) -> Result<&[u8], Failure> {
        loop {
            self.buffer.clear();
            let sender = self.socket.recv_from(&mut *self.buffer).await.map_err(Failure::Socket)?;
            // Any process may send to our port; only the kernel's is 0.
            if sender.port_number() == 0 {
                break;
            }
        }
        Ok(&self.buffer)
    }
}
