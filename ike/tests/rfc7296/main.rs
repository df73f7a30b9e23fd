//! Stories between simulated peers, filed by the section of RFC 7296 they are about.
//!
//! Each is told message by message. A failing one prints what went over the wire.

mod s1_2;
