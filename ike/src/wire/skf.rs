//! Encrypted Fragment payload (RFC 7383 §2.5).

use super::codec::{DecodeError, Expected, Reader, Writer};
use super::header::{Header, HeaderFields};
use super::registry::PayloadType;

/// Encrypted Fragment payload, SKF (RFC 7383 §2.5). Always the last of a message.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Next Payload  |C|  RESERVED   |         Payload Length        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |        Fragment Number        |        Total Fragments        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                     Initialization Vector                     |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                      Encrypted content                        ~
/// +               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |               |             Padding (0-255 octets)            |
/// +-+-+-+-+-+-+-+-+                               +-+-+-+-+-+-+-+-+
/// |                                               |  Pad Length   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                    Integrity Checksum Data                    ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EncryptedFragment<'a> {
    /// In fragment 1, type of the first payload inside; `NONE` in all others.
    pub first: PayloadType,
    /// Which fragment this is, counted from one.
    pub number: u16,
    /// How many there are; `number` is not greater.
    pub total: u16,
    /// Initialization vector, ciphertext and integrity checksum.
    pub body: &'a [u8],
}

/// Octets before the initialization vector in a message that [`frame`] begins: what an AEAD takes as associated
/// data (RFC 7383 §2.5).
pub const PREFIX_LEN: usize = Header::LEN + HEADER_LEN;

/// The most octets that initialization vector, ciphertext and checksum may have together.
pub const MAX_BODY_LEN: usize = 65_535 - HEADER_LEN;

/// Octets of the payload header with the fragment's numbers.
const HEADER_LEN: usize = 8;

impl<'a> EncryptedFragment<'a> {
    /// Reads the body of the payload; `first` is the Next Payload field of its header.
    ///
    /// Fails where RFC 7383 §2.6 asks to discard: a number of zero, or one beyond the total.
    pub fn decode(first: PayloadType, r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let number = r.u16()?;
        let total = r.u16()?;
        if number == 0 || number > total {
            let expected = Expected::Between(1, total.max(1).into());
            return Err(r.unexpected("Fragment Number", number.into(), expected));
        }
        Ok(Self { first, number, total, body: r.rest() })
    }
}

/// Begins a message that is nothing but an SKF payload: the header, the payload header and the fragment's numbers,
/// [`PREFIX_LEN`] octets, with all lengths as they will be when `body_len` octets have been appended. The buffer
/// has room for these.
///
/// `first` belongs to fragment 1 and is written as `NONE` in all others (RFC 7383 §2.5). `body_len` is at most
/// [`MAX_BODY_LEN`].
#[must_use]
pub fn frame(fields: HeaderFields, first: PayloadType, number: u16, total: u16, body_len: usize) -> Vec<u8> {
    let length = PREFIX_LEN.saturating_add(body_len);
    let mut w = Writer::with_capacity(length);
    fields.header(PayloadType::SKF, length).encode(&mut w);
    w.u8(if number == 1 { first.0 } else { PayloadType::NONE.0 });
    w.u8(0); // not critical, RESERVED
    w.u16(u16::try_from(HEADER_LEN.saturating_add(body_len)).unwrap_or(u16::MAX));
    w.u16(number);
    w.u16(total);
    w.into_octets()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registry::{ExchangeType, IkeSpi, MessageId};
    use crate::wire::{DecodeError, Flags, decode};

    const FIELDS: HeaderFields = HeaderFields {
        spi_i: IkeSpi([1; 8]),
        spi_r: IkeSpi([2; 8]),
        exchange: ExchangeType::IKE_AUTH,
        flags: Flags { initiator: false, response: true, version: false },
        message_id: MessageId(1),
    };

    #[test]
    fn a_framed_fragment_is_found_again() {
        for (number, first) in [(1, PayloadType::ID_R), (2, PayloadType::NONE), (3, PayloadType::NONE)] {
            let mut octets = frame(FIELDS, PayloadType::ID_R, number, 3, 5);
            assert_eq!(octets.len(), PREFIX_LEN);
            octets.extend_from_slice(b"12345");
            let message = decode(&octets).unwrap();
            let fragment = message.payloads.fragment().unwrap();
            assert_eq!((fragment.first, fragment.number, fragment.total), (first, number, 3));
            assert_eq!(fragment.body, b"12345");
            assert_eq!(message.associated_data(), Some(&octets[..PREFIX_LEN]));
        }
    }

    #[test]
    fn numbers_outside_the_total_are_refused() {
        for (number, total) in [(0, 0), (0, 3), (4, 3), (1, 0)] {
            let octets = frame(FIELDS, PayloadType::ID_R, number, total, 0);
            assert!(matches!(decode(&octets), Err(DecodeError::Malformed { .. })), "{number} of {total}");
        }
    }
}
