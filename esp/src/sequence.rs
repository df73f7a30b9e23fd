//! Sequence numbers, 32 bits or extended to 64 (RFC 4303 §2.2, RFC 4304).

use thiserror::Error;

/// Whether an SA counts its packets with 32 or 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SequenceNumbers {
    /// 32 bits, all of them in the packet.
    Short,
    /// 64 bits (ESN), of which the packet carries the lower half.
    Extended,
}

impl SequenceNumbers {
    const fn last(self) -> u64 {
        match self {
            Self::Short => 0xffff_ffff,
            Self::Extended => u64::MAX,
        }
    }
}

/// A packet's full sequence number, and how much of it the ICV covers besides the header.
#[derive(Clone, Copy)]
pub(crate) struct SequenceNumber {
    pub(crate) full: u64,
    pub(crate) numbers: SequenceNumbers,
}

impl SequenceNumber {
    /// The half that travels in the ESP header.
    pub(crate) const fn low(self) -> [u8; 4] {
        let [_, _, _, _, a, b, c, d] = self.full.to_be_bytes();
        [a, b, c, d]
    }

    /// The half that does not travel but is authenticated, if there is one.
    pub(crate) const fn high(self) -> Option<[u8; 4]> {
        let [a, b, c, d, _, _, _, _] = self.full.to_be_bytes();
        match self.numbers {
            SequenceNumbers::Short => None,
            SequenceNumbers::Extended => Some([a, b, c, d]),
        }
    }
}

/// Every sequence number of this SA has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("every sequence number of the SA has been used")]
pub struct SequenceExhausted;

/// The sender's counter. It refuses to wrap: a number used twice would be an IV used twice.
pub(crate) struct OutboundCounter {
    last_used: u64,
    numbers: SequenceNumbers,
}

impl OutboundCounter {
    /// The counter of a new SA: its first number is 1 (RFC 4303 §3.3.3).
    pub(crate) const fn new(numbers: SequenceNumbers) -> Self {
        Self { last_used: 0, numbers }
    }

    /// Leaves out the numbers up to and including `number`, if they are still to come.
    pub(crate) fn skip_past(&mut self, number: u64) {
        self.last_used = self.last_used.max(number);
    }

    /// Takes the next number.
    pub(crate) fn take(&mut self) -> Result<SequenceNumber, SequenceExhausted> {
        if self.last_used >= self.numbers.last() {
            return Err(SequenceExhausted);
        }
        self.last_used += 1;
        Ok(SequenceNumber { full: self.last_used, numbers: self.numbers })
    }

    pub(crate) const fn last_used(&self) -> u64 {
        self.last_used
    }

    /// True when less than a sixteenth of all numbers is left: with 32 bits that is 268 million packets, some
    /// minutes at full speed, in which a rekeying is done many times over.
    pub(crate) const fn is_nearly_exhausted(&self) -> bool {
        self.last_used >= self.numbers.last() / 16 * 15
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(last_used: u64, numbers: SequenceNumbers) -> OutboundCounter {
        let mut counter = OutboundCounter::new(numbers);
        counter.skip_past(last_used);
        counter
    }

    #[test]
    fn the_counter_is_never_turned_back() {
        let mut counter = after(9, SequenceNumbers::Short);
        counter.skip_past(3);
        assert_eq!(counter.take().map(|n| n.full), Ok(10));
    }

    #[test]
    fn counting_starts_at_one() {
        let mut counter = OutboundCounter::new(SequenceNumbers::Short);
        assert_eq!(counter.take().map(|n| n.full), Ok(1));
        assert_eq!(counter.take().map(|n| n.full), Ok(2));
        assert!(!counter.is_nearly_exhausted());
    }

    #[test]
    fn short_numbers_never_wrap() {
        let mut counter = after(0xffff_fffe, SequenceNumbers::Short);
        assert!(counter.is_nearly_exhausted());
        assert_eq!(counter.take().map(|n| n.full), Ok(0xffff_ffff));
        assert_eq!(counter.take().map(|n| n.full), Err(SequenceExhausted));
        assert_eq!(counter.take().map(|n| n.full), Err(SequenceExhausted));
    }

    #[test]
    fn extended_numbers_pass_the_32_bit_boundary_and_never_wrap() {
        let mut counter = after(0xffff_ffff, SequenceNumbers::Extended);
        let number = counter.take().expect("64 bits have room");
        assert_eq!(number.low(), [0; 4]);
        assert_eq!(number.high(), Some([0, 0, 0, 1]));
        let mut counter = after(u64::MAX - 1, SequenceNumbers::Extended);
        assert_eq!(counter.take().map(|n| n.full), Ok(u64::MAX));
        assert_eq!(counter.take().map(|n| n.full), Err(SequenceExhausted));
    }

    #[test]
    fn short_numbers_authenticate_no_high_half() {
        let mut counter = after(6, SequenceNumbers::Short);
        let number = counter.take().expect("room");
        assert_eq!((number.low(), number.high()), ([0, 0, 0, 7], None));
    }
}
