//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// A sum of 16-bit words that is not folded yet.
///
/// Words are added in this machine's byte order, four octets at a time: the sum's octets come out in the right order
/// all the same (RFC 1071 §2 (B)), and the compiler makes vectors of the loop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds octets; what is added before them must have had an even number.
    #[inline]
    pub(crate) fn octets(self, octets: &[u8]) -> Self {
        let (quads, rest) = octets.as_chunks::<4>();
        let sum: u64 = quads.iter().map(|quad| u64::from(u32::from_ne_bytes(*quad))).sum();
        let mut last = [0; 4];
        for (place, octet) in last.iter_mut().zip(rest) {
            *place = *octet;
        }
        // No packet has 2^32 quads.
        Self(self.0 + sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Adds one word.
    #[inline]
    pub(crate) fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word.to_be()))
    }

    /// Adds the pseudo-header of a TCP segment or UDP datagram of `len` octets (RFC 9293 §3.1, RFC 8200 §8.1).
    #[inline]
    pub(crate) fn pseudo_header(self, source: IpAddr, destination: IpAddr, protocol: u8, len: u16) -> Self {
        let with = |sum: Self, address| match address {
            IpAddr::V4(address) => sum.octets(&address.octets()),
            IpAddr::V6(address) => sum.octets(&address.octets()),
        };
        with(with(self, source), destination).word(protocol.into()).word(len)
    }

    /// The sum's two octets, as they stand in a packet: 0xffff over what has a right checksum in it.
    #[inline]
    pub(crate) fn fold(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap_or(0).to_ne_bytes()
    }

    /// True if what was added has its checksum in it, and that is right.
    #[inline]
    pub(crate) fn is_right(self) -> bool {
        self.fold() == [0xff; 2]
    }

    /// The checksum's two octets.
    #[inline]
    pub(crate) fn checksum(self) -> [u8; 2] {
        let [high, low] = self.fold();
        [!high, !low]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::udp4;

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::default().octets(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), [0xdd, 0xf2]);
        assert_eq!(sum.checksum(), [0x22, 0x0d]);
    }

    #[test]
    fn a_header_is_right_until_it_is_changed() {
        let mut packet = udp4("10.1.0.1:1", "10.2.0.1:2", b"payload");
        assert!(Sum::default().octets(&packet[..20]).is_right());
        packet[8] -= 1;
        assert!(!Sum::default().octets(&packet[..20]).is_right());
    }

    #[test]
    fn a_pseudo_header_is_what_the_rfc_draws() {
        let drawn = [192, 0, 2, 1, 198, 51, 100, 7, 0, 6, 0x12, 0x34];
        let addresses = ([192, 0, 2, 1].into(), [198, 51, 100, 7].into());
        let sum = Sum::default().pseudo_header(addresses.0, addresses.1, 6, 0x1234);
        assert_eq!(sum.fold(), Sum::default().octets(&drawn).fold());
    }

    proptest! {
        #[test]
        fn it_is_the_sum_word_by_word(octets in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..100) {
            let words = octets.chunks(2).map(|pair| {
                u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
            });
            let mut expected: u32 = words.sum();
            while expected > 0xffff {
                expected = (expected & 0xffff) + (expected >> 16);
            }
            let (front, behind) = octets.split_at((cut * 2).min(octets.len() / 2 * 2));
            let sum = Sum::default().octets(front).octets(behind).fold();
            prop_assert_eq!(u32::from(u16::from_be_bytes(sum)), expected);
        }
    }
}
