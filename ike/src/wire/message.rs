//! A whole message as it comes in a datagram.

use super::codec::{DecodeError, Part, Reader};
use super::header::Header;
use super::payloads::{Payload, Payloads, walk};

/// A message as it came: the header, and the payloads that can be read without a key.
///
/// Nothing of it is verified. Of a message with an encrypted payload, only what is inside counts once it has been
/// opened; payloads beside it say nothing.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The header.
    pub header: Header,
    /// The whole message: what AUTH signs of the first two, and what the integrity checksum covers of the others.
    pub octets: &'a [u8],
    /// The payloads behind the header.
    pub payloads: Payloads<'a>,
}

/// Decodes a datagram, without the four zero octets it begins with on port 4500.
///
/// Fails if the header does not describe this datagram, and where
/// [`decode_payloads`](super::decode_payloads) fails. Offsets in errors count from the beginning of the datagram.
pub fn decode(datagram: &[u8]) -> Result<Message<'_>, DecodeError> {
    let header = Header::decode(datagram)?;
    let mut r = Reader::new(Part::Header, datagram);
    r.skip(Header::LEN)?;
    let payloads = walk(header.next_payload, &mut r)?;
    Ok(Message { header, octets: datagram, payloads })
}

impl<'a> Message<'a> {
    /// What comes before the initialization vector of the encrypted payload, if there is one: the associated data
    /// of an AEAD (RFC 5282 §5.1, RFC 7383 §2.5).
    #[must_use]
    pub fn associated_data(&self) -> Option<&'a [u8]> {
        let body_len = match self.payloads.iter().last()? {
            Payload::Encrypted(encrypted) => encrypted.body.len(),
            Payload::EncryptedFragment(fragment) => fragment.body.len(),
            _ => return None, // an encrypted payload is always the last
        };
        self.octets.get(..self.octets.len().checked_sub(body_len)?)
    }
}
