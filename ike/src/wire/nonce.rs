//! Nonce payload (RFC 7296 §3.9).

use super::codec::{DecodeError, Expected, Reader, Writer};

/// Nonce payload (RFC 7296 §3.9): the sender's random octets and nothing else.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                            Nonce Data                         ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce<'a>(pub &'a [u8]);

impl<'a> Nonce<'a> {
    /// The least octets of a nonce.
    pub const MIN_LEN: usize = 16;
    /// The most octets of a nonce.
    pub const MAX_LEN: usize = 256;

    /// Reads the body of the payload.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let data = r.rest();
        // RFC 7296 §3.9: the size of the Nonce Data MUST be between 16 and 256 octets, inclusive.
        match data.len() {
            Self::MIN_LEN..=Self::MAX_LEN => Ok(Self(data)),
            length => Err(r.unexpected(
                "length of Nonce Data",
                u64::try_from(length).unwrap_or(u64::MAX),
                Expected::Between(16, 256),
            )),
        }
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Part;
    use crate::wire::registry::PayloadType;

    #[test]
    fn nonces_have_16_to_256_octets() {
        for (length, is_nonce) in [(0, false), (15, false), (16, true), (32, true), (256, true), (257, false)]
        {
            let octets = vec![7; length];
            let nonce = Nonce::decode(&mut Reader::new(Part::Payload(PayloadType::NONCE), &octets));
            assert_eq!(nonce.is_ok(), is_nonce, "{length} octets");
        }
    }
}
