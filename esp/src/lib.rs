//! ESP (RFC 4303): transforms, anti-replay, SAD, SPD and a userspace data plane.
//!
//! Bytes go in and values come out; sockets and devices are only in [`plane`]. Read in this order:
//!
//! - [`Suite`] and [`KeyMaterial`]: what protects an SA's packets.
//! - [`OutboundSa`] and [`InboundSa`]: one direction of an SA; they seal and open packets in place.
//! - [`Sealed`], [`Opened`], [`Admitted`]: a received packet, by how far it may be believed.
//! - [`TunnelOptions`]: what goes over from the inner to the outer header and back (RFC 6040).
//! - [`Selectors`], [`Spd`], [`Sad`]: which SA a packet belongs to.
//! - [`plane`]: all of it between a TUN device and UDP sockets.
//!
//! ```
//! use ferry_esp::*;
//!
//! let suite = Suite::AesGcm16(AesKeySize::Aes256);
//! let keys = || KeyMaterial::new(&[7; 36], &[]);
//! let selectors = || -> Result<Selectors, RangeError> {
//!     let any = AddressRange::prefix("0.0.0.0".parse().unwrap(), 0)?;
//!     Ok(Selectors { local: vec![Selector::addresses(any)], remote: vec![Selector::addresses(any)] })
//! };
//! let mut sender = OutboundSa::new(OutboundParams {
//!     spi: Spi(0x1000),
//!     suite,
//!     keys: keys(),
//!     sequence_numbers: SequenceNumbers::Short,
//!     selectors: selectors()?,
//!     tunnel: TunnelOptions::default(),
//! })?;
//! let mut receiver = InboundSa::new(InboundParams {
//!     spi: Spi(0x1000),
//!     suite,
//!     keys: keys(),
//!     sequence_numbers: SequenceNumbers::Short,
//!     replay_window: 64,
//!     selectors: selectors()?,
//!     tunnel: TunnelOptions::default(),
//! })?;
//!
//! // An IPv4 packet, with room around it.
//! let packet = b"\x45\x00\x00\x14\x00\x00\x00\x00\x40\xff\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02";
//! let mut buffer = [[0; HEADROOM].as_slice(), packet, &[0; TAILROOM]].concat();
//! let sealed = sender.seal(&mut buffer, HEADROOM..HEADROOM + packet.len())?;
//! let opened = receiver.open(sealed)?;
//! let admitted = receiver.admit(opened, 0)?;
//! assert_eq!(admitted.octets(), packet);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checksum;
mod cipher;
mod inbound;
mod inner;
mod keys;
mod limits;
mod outbound;
mod packet;
pub mod plane;
mod replay;
mod sad;
mod selector;
mod sequence;
mod spd;
mod suite;
#[cfg(test)]
mod testing;
mod tunnel;

pub use inbound::{InboundParams, InboundSa, Refusal};
pub use inner::{Flow, InnerError, InnerHeader};
pub use keys::{KeyError, KeyMaterial};
pub use limits::{Limit, Limits};
pub use outbound::{OutboundParams, OutboundSa, SealError};
pub use packet::{Admitted, NextHeader, OpenError, Opened, Sealed, Spi, cut_trailer};
pub use replay::{MAX_REPLAY_WINDOW, ReplayError};
pub use sad::Sad;
pub use selector::{AddressRange, Ports, RangeError, Selector, SelectorPair, Selectors};
pub use sequence::{SequenceExhausted, SequenceNumbers};
pub use spd::Spd;
pub use suite::{AesKeySize, Encapsulation, Family, HEADROOM, Integrity, Suite, TAILROOM};
pub use tunnel::{CongestionLoss, CopyDscp, Ecn, OuterHeader, TunnelOptions};
