//! A blocking client.
//!
//! One request is in flight at a time, and the daemon answers in order. Events come whenever they like once registered,
//! also between a request and its response: those are kept until [`Client::next_event`] asks for them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::codec::{DecodeError, EncodeError};
use crate::message::Message;
use crate::packet::{FrameTooLong, Frames, Packet, PacketError};

/// Where daemons listen unless told otherwise.
pub const DEFAULT_URI: &str = "unix:///var/run/charon.vici";

/// Why a request or event did not come through. After all but the `Unknown` ones and [`ClientError::Encode`] the
/// connection is of no more use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Not `unix://PATH` or `tcp://HOST:PORT`.
    #[error("'{0}' is not of the form unix://PATH or tcp://HOST:PORT")]
    BadUri(String),
    /// No connection to the daemon.
    #[error("cannot connect to {uri}: {source}")]
    Connect {
        /// Where to.
        uri: String,
        /// Why not.
        source: io::Error,
    },
    /// The daemon does not know the command.
    #[error("the daemon does not know the command '{0}'")]
    UnknownCommand(String),
    /// The daemon does not know the event, or it was not registered.
    #[error("the daemon does not know the event '{0}'")]
    UnknownEvent(String),
    /// The daemon closed the connection.
    #[error("the daemon closed the connection{}", if *.inside_packet { " inside a packet" } else { "" })]
    Closed {
        /// Whether part of a packet had arrived.
        inside_packet: bool,
    },
    /// Reading or writing failed, or took longer than allowed.
    #[error("connection to the daemon failed: {0}")]
    Io(#[from] io::Error),
    /// The daemon announced more than the protocol allows.
    #[error("the daemon sent an oversized packet: {0}")]
    TooLong(#[from] FrameTooLong),
    /// The daemon sent no proper packet.
    #[error("the daemon sent a malformed packet: {0}")]
    BadPacket(#[from] PacketError),
    /// The daemon sent no proper message.
    #[error("the daemon sent a malformed message: {0}")]
    BadMessage(#[from] DecodeError),
    /// The daemon answered something that fits no question.
    #[error("the daemon sent {found} instead of {expected}")]
    Unexpected {
        /// What should have come.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// The request cannot be written.
    #[error("request cannot be sent: {0}")]
    Encode(#[from] EncodeError),
}

/// A connection by Unix socket or TCP.
#[derive(Debug)]
pub enum Connection {
    /// `unix://`
    Unix(UnixStream),
    /// `tcp://`
    Tcp(TcpStream),
}

/// A client over any stream.
pub struct Client<S> {
    stream: S,
    frames: Frames,
    /// Events that arrived while something else was awaited.
    events: VecDeque<(String, Message)>,
}

impl Client<Connection> {
    /// Connects to `unix://PATH` or `tcp://HOST:PORT`.
    pub fn connect(uri: &str) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect { uri: uri.to_owned(), source };
        let connection = if let Some(path) = uri.strip_prefix("unix://") {
            Connection::Unix(UnixStream::connect(path).map_err(failed)?)
        } else if let Some(address) = uri.strip_prefix("tcp://") {
            Connection::Tcp(TcpStream::connect(address).map_err(failed)?)
        } else {
            return Err(ClientError::BadUri(uri.to_owned()));
        };
        Ok(Self::new(connection))
    }

    /// Bounds how long a read may wait; `None` waits for ever, as at first.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &self.stream {
            Connection::Unix(stream) => stream.set_read_timeout(timeout),
            Connection::Tcp(stream) => stream.set_read_timeout(timeout),
        }
    }
}

impl<S: Read + Write> Client<S> {
    /// A client on a stream that is connected.
    pub fn new(stream: S) -> Self {
        Self { stream, frames: Frames::new(), events: VecDeque::new() }
    }

    /// Asks for a command and waits for its response. Whether that says `success` is for the caller to look at.
    pub fn request(&mut self, command: &str, arguments: &Message) -> Result<Message, ClientError> {
        self.send_request(command, arguments)?;
        self.await_response(command, &mut |_, _| false)
    }

    /// Asks for a command that streams `event`s before it responds. Each is given to `on_event` as it comes.
    pub fn stream(
        &mut self,
        command: &str,
        event: &str,
        arguments: &Message,
        mut on_event: impl FnMut(&Message),
    ) -> Result<Message, ClientError> {
        self.register(event)?;
        let mut take = |name: &str, message: &Message| {
            let is_ours = name == event;
            if is_ours {
                on_event(message);
            }
            is_ours
        };
        self.send_request(command, arguments)?;
        let response = self.await_response(command, &mut take);
        match response {
            Ok(_) | Err(ClientError::UnknownCommand(_)) => self.unregister(event)?,
            Err(_) => {} // the connection is of no more use
        }
        response
    }

    /// Registers for an event of the daemon.
    pub fn register(&mut self, event: &str) -> Result<(), ClientError> {
        self.send(Packet::EventRegister { name: event })?;
        self.await_confirm(event)
    }

    /// Takes a registration back.
    pub fn unregister(&mut self, event: &str) -> Result<(), ClientError> {
        self.send(Packet::EventUnregister { name: event })?;
        self.await_confirm(event)
    }

    /// The next event, by name and message: one that came earlier, else waits for one.
    pub fn next_event(&mut self) -> Result<(String, Message), ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        let frame = self.receive()?;
        match Packet::decode(&frame)? {
            Packet::Event { name, body } => Ok((name.to_owned(), Message::decode(body)?)),
            other => Err(unexpected("an event", other)),
        }
    }

    fn send_request(&mut self, command: &str, arguments: &Message) -> Result<(), ClientError> {
        self.send(Packet::CommandRequest { name: command, body: &arguments.encode()? })
    }

    fn send(&mut self, packet: Packet<'_>) -> Result<(), ClientError> {
        self.stream.write_all(&packet.encode()?)?;
        Ok(self.stream.flush()?)
    }

    /// Waits for the response. Events that `take` does not take are kept.
    fn await_response(
        &mut self,
        command: &str,
        take: &mut dyn FnMut(&str, &Message) -> bool,
    ) -> Result<Message, ClientError> {
        loop {
            let frame = self.receive()?;
            match Packet::decode(&frame)? {
                Packet::CommandResponse { body } => return Ok(Message::decode(body)?),
                Packet::CommandUnknown => return Err(ClientError::UnknownCommand(command.to_owned())),
                Packet::Event { name, body } => {
                    let message = Message::decode(body)?;
                    if !take(name, &message) {
                        self.events.push_back((name.to_owned(), message));
                    }
                }
                other => return Err(unexpected("a response", other)),
            }
        }
    }

    fn await_confirm(&mut self, event: &str) -> Result<(), ClientError> {
        loop {
            let frame = self.receive()?;
            match Packet::decode(&frame)? {
                Packet::EventConfirm => return Ok(()),
                Packet::EventUnknown => return Err(ClientError::UnknownEvent(event.to_owned())),
                Packet::Event { name, body } => {
                    self.events.push_back((name.to_owned(), Message::decode(body)?));
                }
                other => return Err(unexpected("a confirmation", other)),
            }
        }
    }

    fn receive(&mut self) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.frames.take()? {
                return Ok(frame);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(ClientError::Closed { inside_packet: self.frames.is_inside_frame() });
                }
                Ok(length) => self.frames.feed(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn unexpected(expected: &'static str, found: Packet<'_>) -> ClientError {
    let found = match found {
        Packet::CommandRequest { .. } => "a request",
        Packet::CommandResponse { .. } => "a response",
        Packet::CommandUnknown => "'unknown command'",
        Packet::EventRegister { .. } => "a registration",
        Packet::EventUnregister { .. } => "an end of a registration",
        Packet::EventConfirm => "a confirmation",
        Packet::EventUnknown => "'unknown event'",
        Packet::Event { .. } => "an event",
    };
    ClientError::Unexpected { expected, found }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(octets),
            Self::Tcp(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A daemon that says what it was told to, whatever it hears.
    struct Scripted {
        says: Cursor<Vec<u8>>,
        heard: Vec<u8>,
    }

    impl Read for Scripted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(3); // in small pieces
            self.says.read(&mut buffer[..length])
        }
    }

    impl Write for Scripted {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.heard.write(octets)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn client(says: &[Packet<'_>]) -> Client<Scripted> {
        let says = says.iter().flat_map(|packet| packet.encode().unwrap().to_vec()).collect();
        Client::new(Scripted { says: Cursor::new(says), heard: Vec::new() })
    }

    fn heard(client: &Client<Scripted>) -> Vec<u8> {
        client.stream.heard.clone()
    }

    #[test]
    fn request_and_response() {
        let body = Message::new().with("version", "1.0").encode().unwrap();
        let mut client = client(&[Packet::CommandResponse { body: &body }]);
        let response = client.request("version", &Message::new()).unwrap();
        assert_eq!(response.str("version"), Some("1.0"));
        assert_eq!(heard(&client), b"\0\0\0\x09\x00\x07version");
        let closed = client.request("version", &Message::new()).unwrap_err();
        assert_eq!(closed.to_string(), "the daemon closed the connection");
    }

    #[test]
    fn streamed_events_go_to_the_caller_and_others_are_kept() {
        let body = |n: u8| Message::new().with("n", n).encode().unwrap();
        let (one, two, log) = (body(1), body(2), body(3));
        let mut client = client(&[
            Packet::EventConfirm,
            Packet::Event { name: "list-sa", body: &one },
            Packet::Event { name: "log", body: &log },
            Packet::Event { name: "list-sa", body: &two },
            Packet::CommandResponse { body: &[] },
            Packet::EventConfirm,
        ]);
        let mut seen = Vec::new();
        let response =
            client.stream("list-sas", "list-sa", &Message::new(), |event| seen.push(event.int("n")));
        assert_eq!(response.unwrap(), Message::new());
        assert_eq!(seen, [Some(1), Some(2)]);
        let (name, event) = client.next_event().unwrap();
        assert_eq!((name.as_str(), event.int("n")), ("log", Some(3)));
        let packets = b"\0\0\0\x09\x03\x07list-sa\0\0\0\x0a\x00\x08list-sas\0\0\0\x09\x04\x07list-sa";
        assert_eq!(heard(&client), packets);
    }

    #[test]
    fn an_unknown_command_ends_the_registration_too() {
        let mut client = client(&[Packet::EventConfirm, Packet::CommandUnknown, Packet::EventConfirm]);
        let error = client.stream("list-sas", "list-sa", &Message::new(), |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "the daemon does not know the command 'list-sas'");
        assert!(heard(&client).ends_with(b"\x04\x07list-sa"));
    }

    #[test]
    fn what_goes_wrong_is_told_apart() {
        let ask =
            |says: &[Packet<'_>]| client(says).request("stats", &Message::new()).unwrap_err().to_string();
        assert_eq!(ask(&[Packet::EventConfirm]), "the daemon sent a confirmation instead of a response");
        assert_eq!(
            ask(&[Packet::CommandResponse { body: b"\x02" }]),
            "the daemon sent a malformed message: element of type 2 at octet 0 is not allowed outside a section"
        );
        assert_eq!(
            client(&[Packet::EventUnknown]).register("weather").unwrap_err().to_string(),
            "the daemon does not know the event 'weather'"
        );
        let mut cut = client(&[]);
        cut.stream.says = Cursor::new(b"\0\0\0\x09\x01".to_vec());
        let error = cut.request("stats", &Message::new()).unwrap_err();
        assert_eq!(error.to_string(), "the daemon closed the connection inside a packet");
        let mut long = client(&[]);
        long.stream.says = Cursor::new(b"\xff\0\0\0".to_vec());
        let error = long.request("stats", &Message::new()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the daemon sent an oversized packet: packet of 4278190080 octets announced, at most 524288 are allowed"
        );
    }

    #[test]
    fn uris() {
        let error = |uri: &str| Client::connect(uri).map(drop).unwrap_err().to_string();
        assert_eq!(error("/var/run/x"), "'/var/run/x' is not of the form unix://PATH or tcp://HOST:PORT");
        assert_eq!(
            error("unix:///nowhere/x"),
            "cannot connect to unix:///nowhere/x: No such file or directory (os error 2)"
        );
    }
}
