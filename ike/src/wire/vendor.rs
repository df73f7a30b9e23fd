//! Vendor ID payload (RFC 7296 §3.12).

use super::codec::{DecodeError, Reader, Writer};

/// Vendor ID payload (RFC 7296 §3.12): octets that implementers recognise each other by.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                        Vendor ID (VID)                        ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VendorId<'a>(pub &'a [u8]);

impl<'a> VendorId<'a> {
    /// Reads the body of the payload.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self(r.rest()))
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}
