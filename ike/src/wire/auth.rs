//! Authentication payload (RFC 7296 §3.8).

use super::codec::{DecodeError, Reader, Writer};
use super::registry::AuthMethod;

/// Authentication payload (RFC 7296 §3.8).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Auth Method   |                RESERVED                       |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                      Authentication Data                      ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// How the data was made.
    pub method: AuthMethod,
    /// The signature or the keyed hash.
    pub data: &'a [u8],
}

impl<'a> Auth<'a> {
    /// Reads the body of the payload.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let method = AuthMethod(r.u8()?);
        r.skip(3)?; // RESERVED
        Ok(Self { method, data: r.rest() })
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        w.u8(self.method.0);
        w.bytes(&[0; 3]); // RESERVED
        w.bytes(self.data);
    }
}
