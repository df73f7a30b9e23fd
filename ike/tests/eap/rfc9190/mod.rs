//! Stories about RFC 9190, EAP-TLS with TLS 1.3.

mod s2_1;
mod s2_5;
