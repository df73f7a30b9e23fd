//! Encrypted payload (RFC 7296 §3.14).
//!
//! What is inside belongs to the cipher that was negotiated; here is only the frame around it.

use super::codec::{DecodeError, Reader, Writer};
use super::header::{Header, HeaderFields};
use super::registry::PayloadType;

/// Encrypted payload, SK (RFC 7296 §3.14). Always the last of a message.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Next Payload  |C|  RESERVED   |         Payload Length        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                     Initialization Vector                     |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                    Encrypted IKE Payloads                     ~
/// +               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |               |             Padding (0-255 octets)            |
/// +-+-+-+-+-+-+-+-+                               +-+-+-+-+-+-+-+-+
/// |                                               |  Pad Length   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                    Integrity Checksum Data                    ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encrypted<'a> {
    /// Type of the first payload inside; `NONE` if there is none.
    pub first: PayloadType,
    /// Initialization vector, ciphertext and integrity checksum.
    pub body: &'a [u8],
}

/// Octets before the initialization vector in a message that [`frame`] begins: what an AEAD takes as associated
/// data (RFC 5282 §5.1).
pub const PREFIX_LEN: usize = Header::LEN + HEADER_LEN;

/// The most octets that initialization vector, ciphertext and checksum may have together.
pub const MAX_BODY_LEN: usize = 65_535 - HEADER_LEN;

/// Octets of the payload header.
const HEADER_LEN: usize = 4;

impl<'a> Encrypted<'a> {
    /// Reads the body of the payload; `first` is the Next Payload field of its header.
    pub fn decode(first: PayloadType, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { first, body: r.rest() })
    }
}

/// Begins a message that is nothing but an SK payload: the header and the payload header, [`PREFIX_LEN`] octets,
/// with all lengths as they will be when `body_len` octets have been appended. The buffer has room for these.
///
/// `body_len` is at most [`MAX_BODY_LEN`]; longer messages must be fragmented before.
#[must_use]
pub fn frame(fields: HeaderFields, first: PayloadType, body_len: usize) -> Vec<u8> {
    let length = PREFIX_LEN.saturating_add(body_len);
    let mut w = Writer::with_capacity(length);
    fields.header(PayloadType::SK, length).encode(&mut w);
    w.u8(first.0);
    w.u8(0); // not critical, RESERVED
    w.u16(u16::try_from(HEADER_LEN.saturating_add(body_len)).unwrap_or(u16::MAX));
    w.into_octets()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registry::{ExchangeType, IkeSpi, MessageId};
    use crate::wire::{Flags, decode};

    #[test]
    fn a_framed_body_is_found_again() {
        let fields = HeaderFields {
            spi_i: IkeSpi([1; 8]),
            spi_r: IkeSpi([2; 8]),
            exchange: ExchangeType::IKE_AUTH,
            flags: Flags { initiator: true, ..Flags::default() },
            message_id: MessageId(1),
        };
        for body in [&[][..], b"iv, ciphertext, checksum"] {
            let mut octets = frame(fields, PayloadType::ID_I, body.len());
            assert_eq!(octets.len(), PREFIX_LEN);
            assert!(octets.capacity() >= PREFIX_LEN + body.len());
            octets.extend_from_slice(body);
            let message = decode(&octets).unwrap();
            assert_eq!(message.header.fields(), fields);
            let encrypted = message.payloads.encrypted().unwrap();
            assert_eq!(encrypted.first, PayloadType::ID_I);
            assert_eq!(encrypted.body, body);
            assert_eq!(message.associated_data(), Some(&octets[..PREFIX_LEN]));
        }
    }
}
