//! VICI, the protocol by which tools configure and control an IKE daemon, and the text it is made from.
//!
//! Nothing here knows IPsec: a message is a tree of names and octets. The codec does no I/O; only [`client`] talks to a
//! socket, and only [`settings::FileSystem`] and [`swanctl`] read files.
//!
//! Read in this order: [`message`] (the tree), [`codec`] (its octets), [`packet`] (what travels, and how a stream is cut
//! into packets), [`client`]; then [`settings`] (the text format of strongswan.conf and swanctl.conf) and [`swanctl`]
//! (the requests that a swanctl.conf stands for). [`dump`] shows messages to people.
//!
//! ```
//! use std::os::unix::net::UnixStream;
//! use ferry_vici::{Client, Message, Packet, dump};
//!
//! let (ours, mut daemon) = UnixStream::pair()?;
//! let answer = Message::new().with("daemon", "ferryd").with_list("plugins", ["one", "two"]).encode()?;
//! std::io::Write::write_all(&mut daemon, &Packet::CommandResponse { body: &answer }.encode()?)?;
//!
//! let stats = Client::new(ours).request("stats", &Message::new())?;
//! assert_eq!(stats.str("daemon"), Some("ferryd"));
//! assert_eq!(stats.strs("plugins").last(), Some("two"));
//! assert_eq!(dump::raw("stats reply", &stats), "stats reply {daemon=ferryd plugins=[one two]}");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod client;
pub mod codec;
pub mod dump;
pub mod message;
pub mod packet;
pub mod settings;
pub mod swanctl;
mod wiped;

pub use client::{Client, ClientError};
pub use codec::{DecodeError, EncodeError};
pub use message::{Element, Message, Section, Value};
pub use packet::{FrameTooLong, Frames, Packet, PacketError};
pub use settings::Settings;
