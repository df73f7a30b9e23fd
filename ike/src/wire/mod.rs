//! Octets and values: the message format of RFC 7296 section 3, and the fragments of RFC 7383.
//!
//! Read [`codec`] first, then [`header`], then [`payloads`] with a payload of your choice, each of which has its
//! own file, then [`build`](mod@build), and [`rules`] for what a message must consist of.
//!
//! Decoding is total and borrows: it never panics, and what it allocates is bounded by a small multiple of the
//! octets it was given. Encoding cannot fail.
//!
//! ```
//! use ferry_ike::wire::registry::{ExchangeType, IkeSpi, MessageId, NotifyType};
//! use ferry_ike::wire::{self, Flags, HeaderFields, PayloadWriter};
//!
//! // <-- HDR, N(COOKIE)
//! let fields = HeaderFields {
//!     spi_i: IkeSpi([1; 8]),
//!     spi_r: IkeSpi::ZERO,
//!     exchange: ExchangeType::IKE_SA_INIT,
//!     flags: Flags { response: true, ..Flags::default() },
//!     message_id: MessageId(0),
//! };
//! let mut payloads = PayloadWriter::new();
//! payloads.notify(NotifyType::COOKIE, b"bake me again");
//! let datagram = wire::build(fields, &payloads);
//!
//! let message = wire::decode(&datagram)?;
//! assert_eq!(message.header.fields(), fields);
//! assert_eq!(message.payloads.notify(NotifyType::COOKIE).map(|n| n.data), Some(&b"bake me again"[..]));
//! assert_eq!(message.payloads.to_string(), "N(COOKIE)");
//! # Ok::<(), wire::DecodeError>(())
//! ```

pub mod auth;
pub mod build;
pub mod cert;
pub mod codec;
pub mod cp;
pub mod delete;
pub mod eap;
pub mod error;
pub mod header;
pub mod id;
pub mod ke;
pub mod message;
pub mod nonce;
pub mod notify;
pub mod payloads;
pub mod registry;
pub mod rules;
pub mod sa;
pub mod sk;
pub mod skf;
pub mod ts;
pub mod vendor;

pub use auth::Auth;
pub use build::{PayloadWriter, build};
pub use cert::{Cert, CertReq};
pub use codec::{Reader, Writer};
pub use cp::{CfgAttribute, Configuration};
pub use delete::Delete;
pub use eap::Eap;
pub use error::{DecodeError, Expected, Fault, Part};
pub use header::{Flags, Header, HeaderFields};
pub use id::Identification;
pub use ke::KeyExchange;
pub use message::{Message, decode};
pub use nonce::Nonce;
pub use notify::Notify;
pub use payloads::{MAX_PAYLOADS, Payload, Payloads, Unknown, decode_payloads};
pub use sa::SecurityAssociation;
pub use sk::Encrypted;
pub use skf::EncryptedFragment;
pub use ts::TrafficSelectors;
pub use vendor::VendorId;
