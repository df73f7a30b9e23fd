//! ESP packets, and how far each may be believed (RFC 4303 §2).
//!
//! ```text
//! Sealed --[window, verify and decrypt, window update]--> Opened --[tunnel header, selectors]--> Admitted
//! ```
//!
//! A [`Sealed`] packet is bytes with an SPI in front. Only an SA's `open` makes an [`Opened`] one of it, and only the
//! same SA's `admit` makes of that an [`Admitted`] one, which may be handed to the network stack.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               Security Parameters Index (SPI)                 |
//! |                      Sequence Number                          |
//! +---------------------------------------------------------------+
//! ~                    Payload Data* (variable)                   ~
//! |                               +-------------------------------+
//! |                               |     Padding (0-255 bytes)     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                               |  Pad Length   | Next Header   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~         Integrity Check Value-ICV   (variable)                ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::fmt;

use thiserror::Error;

use crate::inner::InnerHeader;
use crate::replay::ReplayError;
use crate::suite::HEADER_LEN;

/// Security Parameters Index (RFC 4303 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(pub u32);

impl Spi {
    /// 0 is for local use and 1-255 belong to IANA; neither names an SA on the wire.
    pub const fn is_reserved(self) -> bool {
        self.0 < 256
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spi({self})")
    }
}

/// Next Header of an ESP trailer (RFC 4303 §2.6), an IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHeader(pub u8);

impl NextHeader {
    /// An IPv4 packet: tunnel mode.
    pub const IPV4: Self = Self(4);
    /// An IPv6 packet: tunnel mode.
    pub const IPV6: Self = Self(41);
    /// Nothing: a dummy packet, there to hide when real ones travel.
    pub const NONE: Self = Self(59);
}

/// Why a received packet could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// There is no room for an ESP header, or the SA's IV and ICV, in so few octets.
    #[error("{len} octets are too few for an ESP packet")]
    TooShort {
        /// Octets of the whole packet.
        len: usize,
    },
    /// The packet belongs to another SA.
    #[error("the packet has SPI {got}, the SA {expected}")]
    WrongSpi {
        /// The packet's.
        got: Spi,
        /// The SA's.
        expected: Spi,
    },
    /// The sequence number is not acceptable.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The ICV is wrong: the packet was not made under this SA's keys and number, or was changed.
    #[error("integrity check failed")]
    Forged,
    /// The packet verified, but its padding is not what RFC 4303 §2.4 asks for.
    #[error("the padding is not 1, 2, 3, ...")]
    Padding,
}

/// An ESP packet as it travels. Of a received one nothing is known but that it has a header.
pub struct Sealed<'b> {
    packet: &'b mut [u8],
    spi: Spi,
    low: u32,
}

impl<'b> Sealed<'b> {
    /// Reads the header of a received packet, which starts at its SPI and ends with its ICV.
    pub fn parse(packet: &'b mut [u8]) -> Result<Self, OpenError> {
        let Some(&[s0, s1, s2, s3, l0, l1, l2, l3]) = packet.first_chunk::<HEADER_LEN>() else {
            return Err(OpenError::TooShort { len: packet.len() });
        };
        let spi = Spi(u32::from_be_bytes([s0, s1, s2, s3]));
        Ok(Self { packet, spi, low: u32::from_be_bytes([l0, l1, l2, l3]) })
    }

    pub(crate) fn into_packet(self) -> &'b mut [u8] {
        self.packet
    }

    /// The SA this packet claims to belong to.
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// The lower half of the sequence number it claims to have.
    pub const fn sequence_low(&self) -> u32 {
        self.low
    }

    /// The whole packet, from SPI to ICV.
    pub const fn octets(&self) -> &[u8] {
        self.packet
    }
}

/// A packet the peer made under this SA's keys and that was not seen before.
pub struct Opened<'b> {
    pub(crate) payload: &'b mut [u8],
    pub(crate) spi: Spi,
    pub(crate) next_header: NextHeader,
    pub(crate) sequence: u64,
    pub(crate) is_newest: bool,
}

impl Opened<'_> {
    /// What the payload is.
    pub const fn next_header(&self) -> NextHeader {
        self.next_header
    }

    /// The decrypted payload without padding. In tunnel mode an IP packet, perhaps with TFC padding behind it.
    pub const fn payload(&self) -> &[u8] {
        self.payload
    }

    /// The full sequence number.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// True if no packet with a higher number was opened before. Where such a packet came from is where the peer is
    /// now; an older one may have been delayed.
    pub const fn is_newest(&self) -> bool {
        self.is_newest
    }
}

/// An inner packet that came through the right SA: it may go on to the network stack.
pub struct Admitted<'b> {
    pub(crate) packet: &'b mut [u8],
    pub(crate) header: InnerHeader,
}

impl Admitted<'_> {
    /// The inner IP packet, cut to its own length.
    pub const fn octets(&self) -> &[u8] {
        self.packet
    }

    /// What its header says.
    pub const fn header(&self) -> &InnerHeader {
        &self.header
    }
}

/// Cuts padding and trailer off a decrypted body: the payload's length and what it is (RFC 4303 §2.4-2.6).
///
/// Fails if the body is too short for the padding it announces, or if that is not 1, 2, 3, ...
pub fn cut_trailer(body: &[u8]) -> Result<(usize, NextHeader), OpenError> {
    let (rest, &[pad_len, next_header]) = body.split_last_chunk().ok_or(OpenError::Padding)?;
    let payload_len = rest.len().checked_sub(usize::from(pad_len)).ok_or(OpenError::Padding)?;
    let padding = rest.get(payload_len..).ok_or(OpenError::Padding)?;
    if !padding.iter().copied().eq(1..=pad_len) {
        return Err(OpenError::Padding);
    }
    Ok((payload_len, NextHeader(next_header)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers() {
        assert_eq!(cut_trailer(&[0, 4]), Ok((0, NextHeader::IPV4)));
        assert_eq!(cut_trailer(&[9, 9, 1, 2, 2, 41]), Ok((2, NextHeader::IPV6)));
        assert_eq!(cut_trailer(&[1, 2, 3, 3, 59]), Ok((0, NextHeader::NONE)));
        assert_eq!(cut_trailer(&[9, 9, 0, 1, 2, 4]), Err(OpenError::Padding));
        assert_eq!(cut_trailer(&[9, 9, 2, 2, 2, 4]), Err(OpenError::Padding));
        assert_eq!(cut_trailer(&[1, 2, 3, 4]), Err(OpenError::Padding));
        assert_eq!(cut_trailer(&[4]), Err(OpenError::Padding));
        let longest: Vec<u8> = (1..=255).chain([255, 4]).collect();
        assert_eq!(cut_trailer(&longest), Ok((0, NextHeader::IPV4)));
    }

    #[test]
    fn headers() {
        let mut octets = *b"\x00\x00\x12\x34\x00\x00\x00\x07rest";
        let sealed = Sealed::parse(&mut octets).expect("long enough");
        assert_eq!((sealed.spi(), sealed.sequence_low()), (Spi(0x1234), 7));
        assert_eq!(sealed.octets().len(), 12);
        let mut octets = [0; 7];
        assert_eq!(Sealed::parse(&mut octets).err(), Some(OpenError::TooShort { len: 7 }));
    }

    #[test]
    fn reserved_spis() {
        assert!(Spi(0).is_reserved() && Spi(255).is_reserved() && !Spi(256).is_reserved());
        assert_eq!(Spi(0xc0ff_ee00).to_string(), "c0ffee00");
    }
}
