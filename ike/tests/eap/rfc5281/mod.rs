//! Stories about RFC 5281, EAP-TTLS.

mod s11_2;
mod s7;
