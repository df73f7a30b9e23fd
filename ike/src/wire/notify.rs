//! Notify payload (RFC 7296 §3.10).

use super::codec::{DecodeError, Reader, Writer};
use super::registry::{NotifyType, ProtocolId};

/// Notify payload (RFC 7296 §3.10).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Protocol ID  |   SPI Size    |      Notify Message Type      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                Security Parameter Index (SPI)                 ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                       Notification Data                       ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Notify<'a> {
    /// The protocol of the SA it is about; to be ignored where there is no SPI (RFC 7296 §3.10).
    pub protocol: ProtocolId,
    /// The SA it is about; empty where it is about the IKE SA, or none.
    pub spi: &'a [u8],
    /// What is said.
    pub kind: NotifyType,
    /// More about it, in a form of its own for each kind.
    pub data: &'a [u8],
}

impl<'a> Notify<'a> {
    /// Reads the body of the payload.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let protocol = ProtocolId(r.u8()?);
        let spi_size = r.u8()?;
        let kind = NotifyType(r.u16()?);
        let spi = r.take(spi_size.into())?;
        Ok(Self { protocol, spi, kind, data: r.rest() })
    }

    /// Writes the body of the payload. An SPI has at most 255 octets.
    pub fn encode(&self, w: &mut Writer) {
        let spi_size = u8::try_from(self.spi.len()).unwrap_or(u8::MAX);
        w.u8(self.protocol.0);
        w.u8(spi_size);
        w.u16(self.kind.0);
        w.bytes(self.spi.get(..spi_size.into()).unwrap_or_default());
        w.bytes(self.data);
    }
}
