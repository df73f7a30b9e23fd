//! RADIUS (RFC 2865, 2866, 2869, 3579, 5176) as octets and values: what is in a packet, who may have written it, and
//! the keys hidden in it. No socket, no clock, no randomness: identifiers, authenticators and salts are the caller's.
//!
//! [`packet`] reads packets and [`draft`] writes them, [`authenticator`] tells whether they are genuine, [`hidden`] has
//! the keys of EAP, [`registry`] the numbers. Nothing here knows what the packets are for.
//!
//! ```
//! use ferry_radius::{AttributeType, Code, Draft, Packet, authenticator};
//!
//! let secret = b"what both know";
//! let mut draft = Draft::new(Code::ACCESS_REQUEST);
//! draft.add(AttributeType::USER_NAME, b"alice");
//! draft.add_eap(&[2, 1, 0, 10, 1, b'a', b'l', b'i', b'c', b'e']);
//! let request = draft.into_request(7, &[0x5a; 16], secret).unwrap();
//! let request = Packet::decode(&request).unwrap();
//! authenticator::verify_access_request(&request, secret).unwrap();
//!
//! let mut draft = Draft::new(Code::ACCESS_REJECT);
//! draft.add_eap(&[4, 1, 0, 4]);
//! let response = draft.into_response(&request, secret).unwrap();
//! let response = Packet::decode(&response).unwrap();
//! authenticator::verify_access_response(&response, request.authenticator(), secret).unwrap();
//! assert_eq!(response.eap_message(), Some(vec![4, 1, 0, 4]));
//! ```
#![forbid(unsafe_code)]

pub mod authenticator;
pub mod draft;
pub mod hidden;
pub mod packet;
pub mod registry;

pub use authenticator::Forged;
pub use draft::{Draft, TooLarge};
pub use packet::{DecodeError, Packet};
pub use registry::{AttributeType, Code, ErrorCause, TerminateCause, Vendor, microsoft};
