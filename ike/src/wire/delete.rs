//! Delete payload (RFC 7296 §3.11).

use super::codec::{DecodeError, Expected, Reader, Writer};
use super::registry::{ProtocolId, Spi};

/// Delete payload (RFC 7296 §3.11).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Protocol ID   |   SPI Size    |          Num of SPIs          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~               Security Parameter Index(es) (SPI)              ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Delete {
    /// IKE for the IKE SA the message came under, or the protocol of CHILD_SAs.
    pub protocol: ProtocolId,
    /// The sender's inbound SPIs; none for IKE, and none for a protocol we do not know.
    pub spis: Vec<Spi>,
}

impl Delete {
    /// Reads the body of the payload.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let protocol = ProtocolId(r.u8()?);
        let spi_size = r.u8()?;
        let expected = match protocol {
            ProtocolId::IKE => Some(0),
            ProtocolId::AH | ProtocolId::ESP => Some(4),
            _ => None,
        };
        if let Some(expected) = expected
            && spi_size != expected
        {
            return Err(r.unexpected("SPI Size", spi_size.into(), Expected::Exactly(expected.into())));
        }
        let count = r.u16()?;
        let octets = r.take(usize::from(spi_size) * usize::from(count))?;
        let spis = match spi_size {
            4 if expected.is_some() => {
                let (spis, _none) = octets.as_chunks();
                spis.iter().map(|spi| Spi(u32::from_be_bytes(*spi))).collect()
            }
            _ => Vec::new(),
        };
        Ok(Self { protocol, spis })
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        encode(self.protocol, &self.spis, w);
    }
}

/// Writes the body of a Delete payload. At most as many SPIs are named as fit into one payload.
pub(super) fn encode(protocol: ProtocolId, spis: &[Spi], w: &mut Writer) {
    let has_spis = matches!(protocol, ProtocolId::AH | ProtocolId::ESP);
    let spis = if has_spis { spis.get(..MAX_SPIS).unwrap_or(spis) } else { &[] };
    w.u8(protocol.0);
    w.u8(if has_spis { 4 } else { 0 });
    w.u16(u16::try_from(spis.len()).unwrap_or(u16::MAX));
    for spi in spis {
        w.u32(spi.0);
    }
}

/// SPIs that fit into a payload of 65,535 octets, eight of which come before them.
const MAX_SPIS: usize = (65_535 - 8) / 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Part;
    use crate::wire::registry::PayloadType;

    fn decode(octets: &[u8]) -> Result<Delete, DecodeError> {
        let mut r = Reader::new(Part::Payload(PayloadType::DELETE), octets);
        let delete = Delete::decode(&mut r)?;
        r.finish()?;
        Ok(delete)
    }

    #[test]
    fn child_sas_are_named_by_spi_and_the_ike_sa_by_nothing() {
        let esp = decode(&[3, 4, 0, 2, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]).unwrap();
        assert_eq!((esp.protocol, esp.spis), (ProtocolId::ESP, vec![Spi(1), Spi(u32::MAX)]));
        let ike = decode(&[1, 0, 0, 0]).unwrap();
        assert_eq!((ike.protocol, ike.spis), (ProtocolId::IKE, vec![]));
        let unknown = decode(&[9, 2, 0, 2, 1, 2, 3, 4]).unwrap();
        assert_eq!((unknown.protocol, unknown.spis), (ProtocolId(9), vec![]));
    }

    #[test]
    fn the_number_of_spis_is_the_number_there_are() {
        assert!(decode(&[3, 4, 0xff, 0xff, 0, 0, 0, 1]).is_err());
        assert!(decode(&[3, 4, 0, 1, 0, 0, 0, 1, 0]).is_err());
        assert!(decode(&[3, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]).is_err());
        assert!(decode(&[1, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]).is_err());
    }
}
