//! Stories about RFC 5216, EAP-TLS, with TLS 1.2; TLS 1.3 has RFC 9190.

mod s2_1;
mod s2_1_5;
mod s5_2;
