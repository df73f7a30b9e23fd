//! The anti-replay window (RFC 4303 §3.4.3, RFC 6479) and the inference of extended sequence numbers (Appendix A).
//!
//! The window is a ring of 64-bit words, a power of two of them and at least one more than the window needs: moving
//! it clears whole words and shifts nothing.

use thiserror::Error;

use crate::sequence::SequenceNumbers;

/// The largest window, in packets; the kernel's limit too.
pub const MAX_REPLAY_WINDOW: u32 = 4096;

const WORD_BITS: u64 = 64;

/// How far below the highest number the window of an SA without anti-replay is thought to reach when high halves
/// are inferred: half the number space each way.
const INFERENCE_SPAN: u64 = 1 << 31;

/// Why a packet cannot be accepted by its sequence number alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// The number was seen before.
    #[error("sequence number seen before")]
    Repeated,
    /// The number lies left of the window.
    #[error("sequence number left of the window")]
    TooOld,
    /// The number is one that no sender uses: zero, or beyond the last one.
    #[error("impossible sequence number")]
    Impossible,
}

/// What an SA has received so far.
pub(crate) struct ReplayWindow {
    /// The highest number received; 0 before the first packet.
    highest: u64,
    /// In packets; 0 means that replays are not detected.
    size: u64,
    numbers: SequenceNumbers,
    words: Box<[u64]>,
}

impl ReplayWindow {
    /// A window of `size` packets, cut to [`MAX_REPLAY_WINDOW`]; 0 turns detection off.
    pub(crate) fn new(size: u32, numbers: SequenceNumbers) -> Self {
        let size = u64::from(size.min(MAX_REPLAY_WINDOW));
        let words = if size == 0 { 0 } else { (size.div_ceil(WORD_BITS) + 1).next_power_of_two() };
        Self { highest: 0, size, numbers, words: (0..words).map(|_| 0).collect() }
    }

    /// The full number of a packet that carries `low`, checked to be acceptable.
    ///
    /// Changes nothing: a packet that does not verify afterwards leaves no trace.
    #[inline]
    pub(crate) fn check(&self, low: u32) -> Result<u64, ReplayError> {
        let number = match self.numbers {
            SequenceNumbers::Short => u64::from(low),
            SequenceNumbers::Extended => self.infer(low).ok_or(ReplayError::Impossible)?,
        };
        // RFC 4303 §2.2: the first packet has number 1, and numbers do not cycle.
        if number == 0 {
            return Err(ReplayError::Impossible);
        }
        if self.size == 0 || number > self.highest {
            return Ok(number);
        }
        if self.highest - number >= self.size {
            return Err(ReplayError::TooOld);
        }
        let (word, bit) = self.place(number);
        match self.words.get(word) {
            Some(word) if word & bit == 0 => Ok(number),
            _ => Err(ReplayError::Repeated),
        }
    }

    /// Records a number whose packet was verified. True if it is the highest so far.
    #[inline]
    pub(crate) fn update(&mut self, number: u64) -> bool {
        let is_highest = number > self.highest;
        if is_highest {
            self.clear_between(self.highest, number);
            self.highest = number;
        }
        let (word, bit) = self.place(number);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
        is_highest
    }

    /// The highest number received and verified; 0 if none was.
    pub(crate) const fn highest(&self) -> u64 {
        self.highest
    }

    // RFC 4303 §A2.2, cases A and B in one: of all numbers with this low half, the one that lies in the 2^32 numbers
    // that begin at the window's left edge.
    fn infer(&self, low: u32) -> Option<u64> {
        let span = if self.size == 0 { INFERENCE_SPAN } else { self.size };
        let left = self.highest.saturating_sub(span - 1);
        let ahead = u64::from(low).wrapping_sub(left) & 0xffff_ffff;
        left.checked_add(ahead)
    }

    /// Forgets what the ring's words meant a turn ago, for the words entered by moving from `from` to `to`.
    fn clear_between(&mut self, from: u64, to: u64) {
        let entered = (to / WORD_BITS - from / WORD_BITS).min(self.words.len() as u64);
        for step in 1..=entered {
            let (word, _) = self.place((from / WORD_BITS + step).wrapping_mul(WORD_BITS));
            if let Some(word) = self.words.get_mut(word) {
                *word = 0;
            }
        }
    }

    /// Index of the word, and the bit in it.
    fn place(&self, number: u64) -> (usize, u64) {
        let mask = (self.words.len() as u64).wrapping_sub(1);
        (((number / WORD_BITS) & mask) as usize, 1 << (number % WORD_BITS))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn receive(window: &mut ReplayWindow, number: u64) -> Result<u64, ReplayError> {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is what travels")]
        let full = window.check(number as u32)?;
        window.update(full);
        Ok(full)
    }

    #[test]
    fn table() {
        use ReplayError::{Impossible, Repeated, TooOld};
        let steps: &[(u64, Result<u64, ReplayError>)] = &[
            (0, Err(Impossible)),
            (1, Ok(1)),
            (1, Err(Repeated)),
            (3, Ok(3)),
            (2, Ok(2)),
            (64, Ok(64)),
            (65, Ok(65)),
            (1, Err(TooOld)),
            (33, Err(TooOld)),
            (34, Ok(34)),
            (34, Err(Repeated)),
            (1000, Ok(1000)),
            (968, Err(TooOld)),
            (969, Ok(969)),
            (999, Ok(999)),
            (999, Err(Repeated)),
            (0xffff_ffff, Ok(0xffff_ffff)),
            (0xffff_ffe0, Ok(0xffff_ffe0)),
            (0xffff_ffdf, Err(TooOld)),
            (0xffff_ffff, Err(Repeated)),
            (1, Err(TooOld)),
        ];
        let mut window = ReplayWindow::new(32, SequenceNumbers::Short);
        for &(number, expected) in steps {
            assert_eq!(receive(&mut window, number), expected, "number {number}");
        }
    }

    #[test]
    fn a_packet_that_is_only_checked_leaves_no_trace() {
        let mut window = ReplayWindow::new(64, SequenceNumbers::Short);
        assert_eq!(window.check(70_000), Ok(70_000));
        assert_eq!(receive(&mut window, 1), Ok(1));
        assert_eq!(window.highest(), 1);
    }

    #[test]
    fn size_zero_detects_nothing() {
        let mut window = ReplayWindow::new(0, SequenceNumbers::Short);
        assert_eq!(receive(&mut window, 9), Ok(9));
        assert_eq!(receive(&mut window, 9), Ok(9));
        assert_eq!(receive(&mut window, 1), Ok(1));
        assert_eq!(receive(&mut window, 0), Err(ReplayError::Impossible));
    }

    #[test]
    fn extended_numbers_cross_the_boundary_both_ways() {
        let mut window = ReplayWindow::new(64, SequenceNumbers::Extended);
        let boundary = 1 << 32;
        for number in [boundary - 10, boundary - 1, boundary + 5, boundary - 2, boundary, boundary + 1] {
            assert_eq!(receive(&mut window, number), Ok(number));
            assert_eq!(receive(&mut window, number), Err(ReplayError::Repeated));
        }
        // Left of the window: taken for a number one subspace up (case B), which will not verify.
        assert_eq!(window.check(0xffff_ff00), Ok(0x1_ffff_ff00));
    }

    #[test]
    fn extended_numbers_end() {
        let mut window = ReplayWindow::new(64, SequenceNumbers::Extended);
        window.update(u64::MAX - 1);
        assert_eq!(window.check(0xffff_ffff), Ok(u64::MAX));
        assert_eq!(window.check(5), Err(ReplayError::Impossible));
    }

    #[test]
    fn extended_numbers_are_inferred_without_a_window_too() {
        let mut window = ReplayWindow::new(0, SequenceNumbers::Extended);
        window.update((5 << 32) + 10);
        assert_eq!(window.check(0xffff_fff0), Ok((4 << 32) + 0xffff_fff0));
        assert_eq!(window.check(0x7000_0000), Ok((5 << 32) + 0x7000_0000));
    }

    /// The window as the RFC describes it: a set of numbers and an edge.
    struct Model {
        seen: BTreeSet<u64>,
        highest: u64,
        size: u64,
    }

    impl Model {
        fn receive(&mut self, number: u64) -> Result<u64, ReplayError> {
            if number + self.size <= self.highest {
                return Err(ReplayError::TooOld);
            }
            if !self.seen.insert(number) {
                return Err(ReplayError::Repeated);
            }
            self.highest = self.highest.max(number);
            Ok(number)
        }
    }

    proptest! {
        #[test]
        fn the_ring_agrees_with_a_set(
            size in prop_oneof![1_u32..=130, Just(1024), Just(4096), Just(9999)],
            start in prop_oneof![Just(1_u64), Just(0x7fff_fff0), Just(0xfff0_0000)],
            steps in prop::collection::vec(prop_oneof![-80_i64..80, -5000_i64..5000, -10_i64..3], 1..300),
        ) {
            let mut window = ReplayWindow::new(size, SequenceNumbers::Short);
            let size = u64::from(size.min(MAX_REPLAY_WINDOW));
            let mut model = Model { seen: BTreeSet::from([start]), highest: start, size };
            window.update(start);
            for step in steps {
                let number = model.highest.saturating_add_signed(step).clamp(1, 0xffff_ffff);
                prop_assert_eq!(receive(&mut window, number), model.receive(number), "number {}", number);
            }
        }

        /// RFC 4303 §A2.2: whatever lies from the window's left edge on is taken for what it is.
        #[test]
        fn high_halves_are_inferred(size in 1_u32..=4096, highest in 1_u64..1 << 40, ahead in 0_u64..1 << 32) {
            let mut window = ReplayWindow::new(size, SequenceNumbers::Extended);
            window.update(highest);
            let left = highest.saturating_sub(u64::from(size) - 1);
            let number = left + ahead;
            #[expect(clippy::cast_possible_truncation, reason = "the low half is what travels")]
            let low = number as u32;
            prop_assert_eq!(window.infer(low), Some(number));
        }
    }
}
