//! The VICI protocol: codec and client, and the swanctl.conf text it is made from.
#![forbid(unsafe_code)]

pub mod codec;
pub mod message;
pub mod packet;
pub mod settings;
mod wiped;

pub use codec::{DecodeError, EncodeError};
pub use message::{Element, Message, Section, Value};
pub use packet::{FrameTooLong, Frames, Packet, PacketError};
pub use settings::Settings;
