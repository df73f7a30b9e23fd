//! The sending side of an SA (RFC 4303 §3.3).

use std::ops::Range;

use thiserror::Error;

use crate::cipher::Cipher;
use crate::inner::InnerHeader;
use crate::keys::{KeyError, KeyMaterial};
use crate::packet::{NextHeader, Sealed, Spi};
use crate::selector::Selectors;
use crate::sequence::{OutboundCounter, SequenceExhausted, SequenceNumbers};
use crate::suite::{HEADER_LEN, HEADROOM, Suite, TAILROOM, TRAILER_LEN};
use crate::tunnel::{OuterHeader, TunnelOptions};

/// What an outbound SA is made of.
pub struct OutboundParams {
    /// The SPI the peer chose.
    pub spi: Spi,
    /// How packets are protected.
    pub suite: Suite,
    /// This direction's keys.
    pub keys: KeyMaterial,
    /// Size of the sequence numbers.
    pub sequence_numbers: SequenceNumbers,
    /// What the SA carries.
    pub selectors: Selectors,
    /// Treatment of the tunnel's headers.
    pub tunnel: TunnelOptions,
}

/// Why a packet could not be sealed. None of them has used a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// What is to be sealed does not begin like an IP packet.
    #[error("the payload is not an IP packet")]
    NotIp,
    /// The buffer lacks room around the packet.
    #[error("a packet to be sealed needs {HEADROOM} octets in front and {TAILROOM} behind it")]
    NoRoom,
    /// The SA is used up.
    #[error(transparent)]
    Exhausted(#[from] SequenceExhausted),
}

/// The sending side of an SA. One owner: its sequence numbers are counted here and nowhere else.
pub struct OutboundSa {
    spi: Spi,
    suite: Suite,
    cipher: Cipher,
    counter: OutboundCounter,
    selectors: Selectors,
    tunnel: TunnelOptions,
}

impl OutboundSa {
    /// Makes the key schedule. Fails if a key has the wrong length for the suite.
    pub fn new(params: OutboundParams) -> Result<Self, KeyError> {
        let OutboundParams { spi, suite, keys, sequence_numbers, selectors, tunnel } = params;
        let cipher = Cipher::new(suite, &keys)?;
        Ok(Self { spi, suite, cipher, counter: OutboundCounter::new(sequence_numbers), selectors, tunnel })
    }

    /// Seals in place the IP packet at `inner` of `buffer`, which has [`HEADROOM`] octets before and [`TAILROOM`]
    /// behind it. Nothing is allocated.
    #[inline]
    pub fn seal<'b>(&mut self, buffer: &'b mut [u8], inner: Range<usize>) -> Result<Sealed<'b>, SealError> {
        let next_header = match buffer.get(inner.start).map(|first| first >> 4) {
            Some(4) => NextHeader::IPV4,
            Some(6) => NextHeader::IPV6,
            Some(_) => return Err(SealError::NotIp),
            None => return Err(SealError::NoRoom),
        };
        self.seal_payload(buffer, inner, next_header)
    }

    /// Seals a dummy packet (RFC 4303 §2.6) with the payload at `payload` of `buffer`; the peer drops it.
    pub fn seal_dummy<'b>(
        &mut self,
        buffer: &'b mut [u8],
        payload: Range<usize>,
    ) -> Result<Sealed<'b>, SealError> {
        self.seal_payload(buffer, payload, NextHeader::NONE)
    }

    fn seal_payload<'b>(
        &mut self,
        buffer: &'b mut [u8],
        payload: Range<usize>,
        next_header: NextHeader,
    ) -> Result<Sealed<'b>, SealError> {
        let padding = self.suite.padding(payload.len());
        let front = HEADER_LEN + self.suite.iv_len();
        let behind = padding + TRAILER_LEN + self.suite.icv_len();
        let start = payload.start.checked_sub(front).ok_or(SealError::NoRoom)?;
        let end = payload.end.checked_add(behind).ok_or(SealError::NoRoom)?;
        let packet = buffer.get_mut(start..end).ok_or(SealError::NoRoom)?;

        let number = self.counter.take()?;
        write_header(packet, self.spi, number.low());
        write_trailer(
            packet.get_mut(front + payload.len()..).ok_or(SealError::NoRoom)?,
            padding,
            next_header,
        );
        self.cipher.seal(number, packet).ok_or(SealError::NoRoom)?;
        Sealed::parse(packet).map_err(|_| SealError::NoRoom)
    }

    /// Never uses the sequence numbers up to and including `number`: for an SA that was another process's before.
    /// Does nothing if they are used up already; the counter cannot be turned back.
    pub fn skip_past(&mut self, number: u64) {
        self.counter.skip_past(number);
    }

    /// The SPI in its packets.
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// How its packets are protected.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// What it carries.
    pub const fn selectors(&self) -> &Selectors {
        &self.selectors
    }

    /// What the outer header of an inner packet says.
    pub fn outer(&self, inner: &InnerHeader) -> OuterHeader {
        self.tunnel.outer(inner)
    }

    /// The last sequence number used; 0 before the first packet.
    pub const fn last_sequence(&self) -> u64 {
        self.counter.last_used()
    }

    /// True when less than a sixteenth of the sequence numbers is left.
    pub const fn is_nearly_exhausted(&self) -> bool {
        self.counter.is_nearly_exhausted()
    }
}

#[inline]
fn write_header(packet: &mut [u8], spi: Spi, low: [u8; 4]) {
    if let Some((place, rest)) = packet.split_first_chunk_mut() {
        *place = spi.0.to_be_bytes();
        if let Some(place) = rest.first_chunk_mut() {
            *place = low;
        }
    }
}

/// Padding of 1, 2, 3, ... and what follows it (RFC 4303 §2.4). At most 15 octets of padding.
#[inline]
fn write_trailer(behind_payload: &mut [u8], padding: usize, next_header: NextHeader) {
    let octets = (1_u8..).take(padding).chain([u8::try_from(padding).unwrap_or(u8::MAX), next_header.0]);
    for (place, octet) in behind_payload.iter_mut().zip(octets) {
        *place = octet;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::AesKeySize;
    use crate::testing::{ends, udp4};

    const GCM: Suite = Suite::AesGcm16(AesKeySize::Aes128);

    fn sender(numbers: SequenceNumbers) -> OutboundSa {
        ends(GCM, numbers, TunnelOptions::default()).0
    }

    #[test]
    fn a_buffer_without_room_costs_no_sequence_number() {
        let mut sa = sender(SequenceNumbers::Short);
        let mut buffer = [vec![0; 15], udp4("10.1.0.1:1", "10.2.0.1:2", b"x"), vec![0; TAILROOM]].concat();
        assert_eq!(sa.seal(&mut buffer, 15..44).err(), Some(SealError::NoRoom));
        let mut buffer = [vec![0; HEADROOM], udp4("10.1.0.1:1", "10.2.0.1:2", b"x"), vec![0; 3]].concat();
        assert_eq!(sa.seal(&mut buffer, HEADROOM..HEADROOM + 29).err(), Some(SealError::NoRoom));
        assert_eq!(sa.seal(&mut buffer, 4000..5000).err(), Some(SealError::NoRoom));
        assert_eq!(sa.last_sequence(), 0);
    }

    #[test]
    fn only_ip_is_sealed() {
        let mut sa = sender(SequenceNumbers::Short);
        let mut buffer = [0; 200];
        assert_eq!(sa.seal(&mut buffer, 50..100).err(), Some(SealError::NotIp));
    }

    #[test]
    fn the_last_sequence_number_is_the_last_packet() {
        let mut sa = sender(SequenceNumbers::Short);
        sa.skip_past(0xffff_fffe);
        assert!(sa.is_nearly_exhausted());
        let mut buffer = [0x45; 200];
        assert!(sa.seal(&mut buffer, 50..100).is_ok());
        assert_eq!(sa.seal(&mut buffer, 50..100).err(), Some(SealError::Exhausted(SequenceExhausted)));
    }
}
