//! Packets and the frames they travel in.
//!
//! A frame is a big-endian `u32` length, which does not count itself, and that many octets: the packet. Its first octet
//! is the type; types with a name go on with `u8 length, name`; the rest is a message.
//!
//! ```text
//! 0  COMMAND_REQUEST   name, message    client -> daemon
//! 1  COMMAND_RESPONSE  message          daemon -> client
//! 2  COMMAND_UNKNOWN                    daemon -> client
//! 3  EVENT_REGISTER    name             client -> daemon
//! 4  EVENT_UNREGISTER  name             client -> daemon
//! 5  EVENT_CONFIRM                      daemon -> client
//! 6  EVENT_UNKNOWN                      daemon -> client
//! 7  EVENT             name, message    daemon -> client
//! ```

use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::codec::{EncodeError, check_name, write_name};
use crate::message::is_printable;
use crate::wiped;

/// Longest packet, in octets, without the length of its frame.
pub const MAX_FRAME: usize = 512 * 1024;

/// Octets of a frame's length.
const LENGTH: usize = 4;

/// A packet that borrows its name and the octets of its message.
///
/// The message stays undecoded: a daemon answers a command whose message is malformed differently from a packet it
/// cannot even name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A client asks for a command.
    CommandRequest {
        /// The command.
        name: &'a str,
        /// Its arguments, see [`Message::decode`](crate::Message::decode).
        body: &'a [u8],
    },
    /// The daemon's answer to a command.
    CommandResponse {
        /// The result.
        body: &'a [u8],
    },
    /// The daemon knows no such command.
    CommandUnknown,
    /// A client wants the events of this name.
    EventRegister {
        /// The event.
        name: &'a str,
    },
    /// A client no longer wants the events of this name.
    EventUnregister {
        /// The event.
        name: &'a str,
    },
    /// The daemon did register or unregister.
    EventConfirm,
    /// The daemon knows no such event, or the client had not registered for it.
    EventUnknown,
    /// Something happened.
    Event {
        /// The event.
        name: &'a str,
        /// What happened.
        body: &'a [u8],
    },
}

/// A frame whose contents are not a packet. The connection stays usable: the next frame starts where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// A frame of length 0.
    #[error("empty packet")]
    Empty,
    /// A type other than 0 to 7.
    #[error("unknown packet type {0}")]
    UnknownType(u8),
    /// The packet ends inside its name, or the name is not printable ASCII.
    #[error("packet of type {0} without a proper name")]
    BadName(u8),
}

/// A frame announced as longer than [`MAX_FRAME`]. What follows it cannot be found again, so the connection has to be
/// closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("packet of {length} octets announced, at most {MAX_FRAME} are allowed")]
pub struct FrameTooLong {
    /// The length announced, in octets.
    pub length: u32,
}

impl<'a> Packet<'a> {
    /// Reads the packet of one frame, given without the frame's length.
    pub fn decode(frame: &'a [u8]) -> Result<Self, PacketError> {
        let (kind, rest) = frame.split_first().ok_or(PacketError::Empty)?;
        let named = || split_name(rest).ok_or(PacketError::BadName(*kind));
        Ok(match kind {
            0 => named().map(|(name, body)| Self::CommandRequest { name, body })?,
            1 => Self::CommandResponse { body: rest },
            2 => Self::CommandUnknown,
            3 => named().map(|(name, _)| Self::EventRegister { name })?,
            4 => named().map(|(name, _)| Self::EventUnregister { name })?,
            5 => Self::EventConfirm,
            6 => Self::EventUnknown,
            7 => named().map(|(name, body)| Self::Event { name, body })?,
            other => return Err(PacketError::UnknownType(*other)),
        })
    }

    /// Writes the packet as a frame, its length first. Fails if the name or the whole is too long.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
        let (kind, name, body): (u8, Option<&str>, &[u8]) = match *self {
            Self::CommandRequest { name, body } => (0, Some(name), body),
            Self::CommandResponse { body } => (1, None, body),
            Self::CommandUnknown => (2, None, &[]),
            Self::EventRegister { name } => (3, Some(name), &[]),
            Self::EventUnregister { name } => (4, Some(name), &[]),
            Self::EventConfirm => (5, None, &[]),
            Self::EventUnknown => (6, None, &[]),
            Self::Event { name, body } => (7, Some(name), body),
        };
        let length = 1 + name.map(check_name).transpose()?.unwrap_or_default() + body.len();
        let announced =
            u32::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or(EncodeError::TooLong(length))?;
        let mut frame = Zeroizing::new(Vec::with_capacity(LENGTH + length));
        frame.extend_from_slice(&announced.to_be_bytes());
        frame.push(kind);
        if let Some(name) = name {
            write_name(name, &mut frame);
        }
        frame.extend_from_slice(body);
        Ok(frame)
    }
}

/// A name and what follows it.
fn split_name(octets: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = octets.split_first()?;
    let (name, body) = rest.split_at_checked(usize::from(*length))?;
    let name = std::str::from_utf8(name).ok().filter(|name| is_printable(name.as_bytes()))?;
    Some((name, body))
}

/// Cuts a stream of octets into frames.
///
/// ```
/// use ferry_vici::{Frames, Packet};
///
/// let mut frames = Frames::new();
/// frames.feed(b"\x00\x00\x00\x01\x05\x00\x00");
/// let frame = frames.take()?.expect("one whole frame was fed");
/// assert!(Packet::decode(&frame) == Ok(Packet::EventConfirm));
/// assert!(frames.take()?.is_none());
/// assert!(frames.is_inside_frame());
/// # Ok::<_, ferry_vici::FrameTooLong>(())
/// ```
#[derive(Default)]
pub struct Frames {
    /// Octets fed; those before `start` were taken and wiped.
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
}

impl Frames {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds octets as they came from the stream. What is fed stays in memory until it is taken: take all frames before
    /// the next feed, and no more than one frame and one read are ever held.
    pub fn feed(&mut self, octets: &[u8]) {
        if self.start > 0 {
            self.buffer.copy_within(self.start.., 0);
            let kept = self.buffer.len() - self.start;
            self.buffer.get_mut(kept..).unwrap_or_default().zeroize();
            self.buffer.truncate(kept);
            self.start = 0;
        }
        wiped::append(&mut self.buffer, octets);
    }

    /// Takes the next whole frame, without its length, or `None` until more is fed. After [`FrameTooLong`] the stream
    /// has to be closed; it is returned again and again.
    pub fn take(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, FrameTooLong> {
        let pending = self.buffer.get_mut(self.start..).unwrap_or_default();
        let Some((length, rest)) = pending.split_first_chunk_mut::<LENGTH>() else { return Ok(None) };
        let announced = u32::from_be_bytes(*length);
        let length = match usize::try_from(announced) {
            Ok(length) if length <= MAX_FRAME => length,
            _ => return Err(FrameTooLong { length: announced }),
        };
        let Some(packet) = rest.get_mut(..length) else { return Ok(None) };
        let frame = Zeroizing::new(packet.to_vec());
        packet.zeroize();
        self.start += LENGTH + length;
        Ok(Some(frame))
    }

    /// Whether the stream would break inside a frame if it ended here.
    pub fn is_inside_frame(&self) -> bool {
        self.start < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Shows a packet in an assertion; the type has no `Debug` since bodies hold secrets.
    fn same(left: Result<Packet<'_>, PacketError>, right: Result<Packet<'_>, PacketError>) -> bool {
        left == right
    }

    #[test]
    fn golden_frames() {
        let cases: [(Packet<'_>, &[u8]); 8] = [
            (
                Packet::CommandRequest { name: "stats", body: b"\x04\x01l\x06" },
                b"\0\0\0\x0b\x00\x05stats\x04\x01l\x06",
            ),
            (Packet::CommandResponse { body: b"" }, b"\0\0\0\x01\x01"),
            (Packet::CommandUnknown, b"\0\0\0\x01\x02"),
            (Packet::EventRegister { name: "log" }, b"\0\0\0\x05\x03\x03log"),
            (Packet::EventUnregister { name: "log" }, b"\0\0\0\x05\x04\x03log"),
            (Packet::EventConfirm, b"\0\0\0\x01\x05"),
            (Packet::EventUnknown, b"\0\0\0\x01\x06"),
            (Packet::Event { name: "log", body: b"\x02" }, b"\0\0\0\x06\x07\x03log\x02"),
        ];
        for (packet, frame) in cases {
            assert_eq!(packet.encode().unwrap().as_slice(), frame);
            assert!(same(Packet::decode(&frame[4..]), Ok(packet)), "{frame:02x?}");
        }
    }

    #[test]
    fn bad_packets_are_told_apart() {
        let cases: [(&[u8], PacketError); 5] = [
            (b"", PacketError::Empty),
            (b"\x08", PacketError::UnknownType(8)),
            (b"\x00", PacketError::BadName(0)),
            (b"\x03\x04log", PacketError::BadName(3)),
            (b"\x07\x01\n", PacketError::BadName(7)),
        ];
        for (frame, error) in cases {
            assert!(same(Packet::decode(frame), Err(error)), "{frame:02x?}");
        }
    }

    #[test]
    fn a_packet_too_long_is_refused_on_both_sides() {
        let body = vec![0; MAX_FRAME - 1];
        let frame = Packet::CommandResponse { body: &body }.encode().unwrap();
        let mut frames = Frames::new();
        frames.feed(&frame);
        assert_eq!(frames.take().unwrap().unwrap().len(), MAX_FRAME);

        let body = vec![0; MAX_FRAME];
        let error = Packet::CommandResponse { body: &body }.encode().map(drop);
        assert_eq!(error, Err(EncodeError::TooLong(MAX_FRAME + 1)));
        frames.feed(b"\x00\x08\x00\x01");
        for _ in 0..2 {
            assert_eq!(frames.take().map(drop), Err(FrameTooLong { length: 0x0008_0001 }));
        }
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        let mut frames = Frames::new();
        frames.feed(&[0; 5]);
        assert_eq!(frames.take().unwrap().unwrap().len(), 0);
        assert!(frames.take().unwrap().is_none());
        assert!(frames.is_inside_frame());
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in proptest::collection::vec(1_usize..30, 1..20),
        ) {
            let mut stream = Vec::new();
            for packet in &packets {
                stream.extend_from_slice(&u32::try_from(packet.len()).unwrap().to_be_bytes());
                stream.extend_from_slice(packet);
            }
            let mut frames = Frames::new();
            let mut taken = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                frames.feed(now);
                while let Some(frame) = frames.take().unwrap() {
                    taken.push(frame.to_vec());
                }
                rest = later;
                if rest.is_empty() { break }
            }
            prop_assert!(!frames.is_inside_frame());
            prop_assert_eq!(taken, packets);
        }

        #[test]
        fn any_packet_decodes_or_fails(frame in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(packet) = Packet::decode(&frame) {
                let encoded = packet.encode().unwrap();
                prop_assert!(same(Packet::decode(&encoded[4..]), Ok(packet)));
            }
        }
    }
}
