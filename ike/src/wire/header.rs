//! The fixed header of every message (RFC 7296 §3.1).

use super::codec::{DecodeError, Expected, Part, Reader, Writer};
use super::registry::{ExchangeType, IkeSpi, MessageId, PayloadType};

/// The IKE header (RFC 7296 §3.1).
///
/// ```text
///                      1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                       IKE SA Initiator's SPI                  |
/// |                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                       IKE SA Responder's SPI                  |
/// |                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                          Message ID                           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                            Length                             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The SPI of the original initiator of the IKE SA.
    pub spi_i: IkeSpi,
    /// The SPI of the original responder; zero in the first message.
    pub spi_r: IkeSpi,
    /// Type of the first payload.
    pub next_payload: PayloadType,
    /// Major version.
    pub major: u8,
    /// Minor version; ignored when received.
    pub minor: u8,
    /// The exchange this message belongs to.
    pub exchange: ExchangeType,
    /// Who sent it, and whether it answers.
    pub flags: Flags,
    /// Which request this is or answers.
    pub message_id: MessageId,
    /// Octets of the whole message, this header included.
    pub length: u32,
}

/// The flags of the header (RFC 7296 §3.1). Bits that have no meaning are ignored when received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// Sent by the original initiator of the IKE SA.
    pub initiator: bool,
    /// Answers a request with the same Message ID.
    pub response: bool,
    /// The sender could speak a higher major version. We never set it and never look at it.
    pub version: bool,
}

/// What the sender of a message decides about its header; the rest follows from the payloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderFields {
    /// The SPI of the original initiator of the IKE SA.
    pub spi_i: IkeSpi,
    /// The SPI of the original responder; zero in the first message.
    pub spi_r: IkeSpi,
    /// The exchange this message belongs to.
    pub exchange: ExchangeType,
    /// Who sends it, and whether it answers.
    pub flags: Flags,
    /// Which request this is or answers.
    pub message_id: MessageId,
}

impl Header {
    /// Octets of the header.
    pub const LEN: usize = 28;
    /// The major version this protocol has.
    pub const MAJOR_VERSION: u8 = 2;

    /// Reads the header of a datagram and checks that it describes this datagram: our major version, and a length
    /// that is exactly the datagram's.
    ///
    /// Fails with [`DecodeError::UnsupportedMajorVersion`] for IKEv1 and for what comes after IKEv2; the fields
    /// that an answer to that needs can be had from [`read`](Self::read).
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(Part::Header, datagram);
        let header = Self::read(&mut r)?;
        if header.major != Self::MAJOR_VERSION {
            return Err(DecodeError::UnsupportedMajorVersion(header.major));
        }
        if usize::try_from(header.length) != Ok(datagram.len()) {
            let expected = u64::try_from(datagram.len()).unwrap_or(u64::MAX);
            return Err(r.unexpected("Length", header.length.into(), Expected::Exactly(expected)));
        }
        Ok(header)
    }

    /// Reads the 28 octets as they are, and checks nothing about them.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let spi_i = IkeSpi(r.array()?);
        let spi_r = IkeSpi(r.array()?);
        let next_payload = PayloadType(r.u8()?);
        let version = r.u8()?;
        Ok(Self {
            spi_i,
            spi_r,
            next_payload,
            major: version >> 4,
            minor: version & 0x0f,
            exchange: ExchangeType(r.u8()?),
            flags: Flags::from_octet(r.u8()?),
            message_id: MessageId(r.u32()?),
            length: r.u32()?,
        })
    }

    /// The part of the header that its sender decided.
    #[must_use]
    pub const fn fields(&self) -> HeaderFields {
        HeaderFields {
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            exchange: self.exchange,
            flags: self.flags,
            message_id: self.message_id,
        }
    }

    /// Writes the header.
    pub fn encode(&self, w: &mut Writer) {
        w.bytes(&self.spi_i.0);
        w.bytes(&self.spi_r.0);
        w.u8(self.next_payload.0);
        w.u8(self.major << 4 | self.minor & 0x0f);
        w.u8(self.exchange.0);
        w.u8(self.flags.octet());
        w.u32(self.message_id.0);
        w.u32(self.length);
    }
}

impl HeaderFields {
    /// The header of a message of `length` octets, this header included, whose first payload is `next_payload`.
    ///
    /// A length beyond 32 bits saturates; no datagram has it.
    #[must_use]
    pub fn header(self, next_payload: PayloadType, length: usize) -> Header {
        Header {
            spi_i: self.spi_i,
            spi_r: self.spi_r,
            next_payload,
            major: Header::MAJOR_VERSION,
            minor: 0,
            exchange: self.exchange,
            flags: self.flags,
            message_id: self.message_id,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        }
    }
}

impl Flags {
    const INITIATOR: u8 = 0x08;
    const VERSION: u8 = 0x10;
    const RESPONSE: u8 = 0x20;

    /// The flags in an octet of the header.
    #[must_use]
    pub const fn from_octet(octet: u8) -> Self {
        Self {
            initiator: octet & Self::INITIATOR != 0,
            response: octet & Self::RESPONSE != 0,
            version: octet & Self::VERSION != 0,
        }
    }

    /// The octet for the header.
    #[must_use]
    pub const fn octet(self) -> u8 {
        let mut octet = 0;
        if self.initiator {
            octet |= Self::INITIATOR;
        }
        if self.response {
            octet |= Self::RESPONSE;
        }
        if self.version {
            octet |= Self::VERSION;
        }
        octet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DELETE_REQUEST: [u8; 28] = [
        1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, // SPIs
        46, 0x20, 37, 0x08, 0, 0, 0, 2, 0, 0, 0, 28,
    ];

    #[test]
    fn the_golden_header_is_read_field_by_field() {
        let header = Header::decode(&DELETE_REQUEST).unwrap();
        assert_eq!(
            header,
            Header {
                spi_i: IkeSpi([1, 2, 3, 4, 5, 6, 7, 8]),
                spi_r: IkeSpi([11, 12, 13, 14, 15, 16, 17, 18]),
                next_payload: PayloadType::SK,
                major: 2,
                minor: 0,
                exchange: ExchangeType::INFORMATIONAL,
                flags: Flags { initiator: true, response: false, version: false },
                message_id: MessageId(2),
                length: 28,
            }
        );
    }

    #[test]
    fn other_major_versions_are_told_apart_from_damage() {
        for major in (0..16).filter(|major| *major != 2) {
            let mut octets = DELETE_REQUEST;
            octets[17] = major << 4;
            octets[27] = 99; // what the length means there is not ours to say
            assert_eq!(Header::decode(&octets), Err(DecodeError::UnsupportedMajorVersion(major)));
        }
    }

    #[test]
    fn a_higher_minor_version_and_unknown_flags_are_ignored() {
        let mut octets = DELETE_REQUEST;
        octets[17] = 0x2f;
        octets[19] |= 0xc7;
        let header = Header::decode(&octets).unwrap();
        assert_eq!(header.minor, 15);
        assert_eq!(header.flags, Flags { initiator: true, response: false, version: false });
    }

    #[test]
    fn the_length_must_be_the_datagrams() {
        for wrong in [0u32, 27, 29, u32::MAX] {
            let mut octets = DELETE_REQUEST;
            octets[24..].copy_from_slice(&wrong.to_be_bytes());
            let error = Header::decode(&octets).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("IKE header has Length {wrong} before octet 28, expected 28")
            );
        }
        for short in 0..28 {
            let error = Header::decode(&DELETE_REQUEST[..short]).unwrap_err();
            assert!(error.to_string().starts_with("IKE header is cut off"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(octets: [u8; 28]) {
            let mut r = Reader::new(Part::Header, &octets);
            let header = Header::read(&mut r).unwrap();
            let mut w = Writer::new();
            header.encode(&mut w);
            let again = Header::read(&mut Reader::new(Part::Header, w.octets())).unwrap();
            prop_assert_eq!(again, header);
        }
    }
}
