//! Which shard a datagram is for.
//!
//! A shard's number sits in the top bits of the IKE SPIs it chooses. The first message of an IKE SA carries no
//! SPI of ours yet; there the sender's address decides, so that a repetition finds the same shard, and so that one
//! shard sees all that is half open with an address, which limits are about.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

/// Octets of the non-ESP marker (RFC 3948 §2.2).
const MARKER: usize = 4;
/// Where the flags are in the IKE header (RFC 7296 §3.1).
const FLAGS: usize = 19;
/// "Sent by the original initiator."
const INITIATOR: u8 = 0x08;

/// How many shards there are, as bits of an SPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steering {
    bits: u8,
    shards: u8,
}

impl Steering {
    /// For so many shards: 1 to 128, anything else is brought there.
    pub(crate) fn new(shards: usize) -> Self {
        let shards = u8::try_from(shards.clamp(1, 128)).unwrap_or(128);
        let bits = u8::try_from(shards.next_power_of_two().trailing_zeros()).unwrap_or(0);
        Self { bits, shards }
    }

    /// How many shards there are.
    pub(crate) fn shards(self) -> u8 {
        self.shards
    }

    /// How many leading bits of an SPI name the shard.
    pub(crate) fn bits(self) -> u8 {
        self.bits
    }

    /// The shard for a UDP payload. What is no IKE message goes to the first, which counts it.
    pub(crate) fn shard_of(self, datagram: &[u8], source: IpAddr, has_marker: bool) -> usize {
        let message = if has_marker { datagram.get(MARKER..).unwrap_or_default() } else { datagram };
        let (Some(spi_i), Some(spi_r), Some(flags)) =
            (message.first_chunk::<8>(), message.get(8..16), message.get(FLAGS))
        else {
            return 0;
        };
        let is_first = spi_r.iter().all(|octet| *octet == 0);
        let shard = match (flags & INITIATOR != 0, is_first) {
            (true, true) => return self.shard_of_address(source),
            (true, false) => self.top_bits(spi_r.first().copied()),
            (false, _) => self.top_bits(spi_i.first().copied()),
        };
        // An SPI that no shard chose.
        if shard < usize::from(self.shards) { shard } else { 0 }
    }

    fn shard_of_address(self, source: IpAddr) -> usize {
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        usize::try_from(hasher.finish() % u64::from(self.shards)).unwrap_or(0)
    }

    fn top_bits(self, first: Option<u8>) -> usize {
        match (first, self.bits) {
            (None, _) | (_, 0) => 0,
            (Some(octet), bits) => usize::from(octet >> (8 - bits)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ferry_ike::config::SpiPrefix;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn message(spi_i: [u8; 8], spi_r: [u8; 8], flags: u8) -> Vec<u8> {
        let mut octets = [spi_i, spi_r].concat();
        octets.extend([0, 0x20, 34, flags]);
        octets.extend([0; 8]);
        octets
    }

    #[test]
    fn an_spi_leads_to_the_shard_that_chose_it() {
        for shards in [1, 2, 3, 4, 5, 128] {
            let steering = Steering::new(shards);
            for shard in 0..steering.shards() {
                let first = SpiPrefix { bits: steering.bits(), value: shard }.apply(0xa5);
                let ours = [first, 1, 2, 3, 4, 5, 6, 7];
                let as_responder = message([9; 8], ours, INITIATOR);
                assert_eq!(steering.shard_of(&as_responder, PEER, false), usize::from(shard), "{shards}");
                let as_initiator = message(ours, [9; 8], 0x20);
                assert_eq!(steering.shard_of(&as_initiator, PEER, false), usize::from(shard), "{shards}");
                let marked = [&[0; 4][..], &as_initiator].concat();
                assert_eq!(steering.shard_of(&marked, PEER, true), usize::from(shard), "{shards}");
            }
        }
    }

    #[test]
    fn a_first_message_finds_the_same_shard_again_and_rubbish_finds_one() {
        let steering = Steering::new(3);
        let first = message([1, 2, 3, 4, 5, 6, 7, 8], [0; 8], INITIATOR);
        let other = message([8; 8], [0; 8], INITIATOR);
        assert_eq!(steering.shard_of(&first, PEER, false), steering.shard_of(&other, PEER, false));
        for rubbish in [&[][..], &[0; 4], &[0xff; 19], &[0xff; 40]] {
            assert!(steering.shard_of(rubbish, PEER, false) < 3);
            assert!(steering.shard_of(rubbish, PEER, true) < 3);
        }
    }
}
