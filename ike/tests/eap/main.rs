//! Stories about methods of EAP with TLS, told by the conversation alone and filed by RFC and section. Each is between
//! our own ends; what passes can be changed on its way.
#![expect(clippy::unwrap_used, reason = "a story that is not as told fails")]
#![expect(clippy::indexing_slicing, reason = "a story that is not as told fails")]

mod in_ike;
mod peap;
mod rfc5216;
mod rfc5281;
mod rfc9190;
mod talk;
