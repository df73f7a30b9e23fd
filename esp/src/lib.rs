//! ESP (RFC 4303): transforms, anti-replay, SAD, SPD and the userspace data plane.

mod cipher;
mod keys;
mod sequence;
mod suite;
#[cfg(test)]
mod testing;

pub use keys::{KeyError, KeyMaterial};
pub use sequence::{SequenceExhausted, SequenceNumbers};
pub use suite::{AesKeySize, Encapsulation, Family, HEADROOM, Integrity, Suite, TAILROOM};
