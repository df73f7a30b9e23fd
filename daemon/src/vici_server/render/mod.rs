//! The shapes of what clients are shown: keys, their order, and when they are left out, as strongSwan 5.9 has
//! them.
//!
//! Pure functions from what we know to messages.

pub(super) mod algorithms;
pub(super) mod conns;
pub(super) mod counters;
pub(super) mod log;
pub(super) mod policies;
pub(super) mod sas;
