//! Key Exchange payload (RFC 7296 §3.4).

use super::codec::{DecodeError, Reader, Writer};
use super::registry::KeMethod;

/// Key Exchange payload (RFC 7296 §3.4).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   Diffie-Hellman Group Num    |           RESERVED            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                       Key Exchange Data                       ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyExchange<'a> {
    /// The method the data belongs to.
    pub method: KeMethod,
    /// The sender's public value; its length is the method's to check.
    pub data: &'a [u8],
}

impl<'a> KeyExchange<'a> {
    /// Reads the body of the payload.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let method = KeMethod(r.u16()?);
        r.skip(2)?; // RESERVED: zero when sent, ignored when received
        Ok(Self { method, data: r.rest() })
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        w.u16(self.method.0);
        w.u16(0); // RESERVED
        w.bytes(self.data);
    }
}
