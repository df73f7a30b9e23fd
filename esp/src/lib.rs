//! ESP (RFC 4303): transforms, anti-replay, SAD, SPD and the userspace data plane.

mod cipher;
mod inbound;
mod inner;
mod keys;
mod outbound;
mod packet;
mod replay;
mod selector;
mod sequence;
mod suite;
#[cfg(test)]
mod testing;
mod tunnel;

pub use inbound::{InboundParams, InboundSa, Refusal};
pub use inner::{Flow, InnerError, InnerHeader};
pub use keys::{KeyError, KeyMaterial};
pub use outbound::{OutboundParams, OutboundSa, SealError};
pub use packet::{Admitted, NextHeader, OpenError, Opened, Sealed, Spi, cut_trailer};
pub use replay::{MAX_REPLAY_WINDOW, ReplayError};
pub use selector::{AddressRange, Ports, RangeError, Selector, SelectorPair, Selectors};
pub use sequence::{SequenceExhausted, SequenceNumbers};
pub use suite::{AesKeySize, Encapsulation, Family, HEADROOM, Integrity, Suite, TAILROOM};
pub use tunnel::{CongestionLoss, CopyDscp, Ecn, OuterHeader, TunnelOptions};
