//! Reading octets that somebody else wrote, and writing octets that somebody else will read.

use zeroize::Zeroize;

pub use super::error::{DecodeError, Expected, Fault, Part};

/// A cursor over borrowed octets.
///
/// Every read is total: it gives what was asked for or a [`DecodeError`] that names the part being read and the
/// offset. A reader never allocates.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
    part: Part,
}

impl<'a> Reader<'a> {
    /// Reads `octets` as the given part of a message.
    #[must_use]
    pub const fn new(part: Part, octets: &'a [u8]) -> Self {
        Self { rest: octets, offset: 0, part }
    }

    /// The next octet.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[octet]| octet)
    }

    /// The next two octets, in network order.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four octets, in network order.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next `N` octets, copied.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.rest.split_first_chunk().ok_or_else(|| self.truncated(N))?;
        self.offset += N;
        self.rest = tail;
        Ok(*head)
    }

    /// The next `count` octets, borrowed.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or_else(|| self.truncated(count))?;
        self.offset += count;
        self.rest = tail;
        Ok(head)
    }

    /// Passes over `count` octets, whatever they hold.
    pub fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        self.take(count).map(drop)
    }

    /// All octets that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = std::mem::take(&mut self.rest);
        self.offset += rest.len();
        rest
    }

    /// A reader for the rest of a structure that counts itself.
    ///
    /// `length` is the structure's length field, which counts from its first octet; `consumed` octets of it have
    /// been read already. This reader goes on behind the structure.
    pub fn structure(&mut self, part: Part, length: u16, consumed: u16) -> Result<Reader<'a>, DecodeError> {
        let Some(left) = length.checked_sub(consumed) else {
            return Err(self.unexpected("length", length.into(), Expected::AtLeast(consumed.into())));
        };
        let offset = self.offset;
        let rest = self.take(left.into())?;
        Ok(Reader { rest, offset, part })
    }

    /// Fails unless every octet has been read.
    pub const fn finish(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            octets => Err(self.fault(Fault::Trailing { octets })),
        }
    }

    /// Names what is read from here on.
    pub const fn enter(&mut self, part: Part) {
        self.part = part;
    }

    /// What is being read.
    #[must_use]
    pub const fn part(&self) -> Part {
        self.part
    }

    /// Octets read since the beginning of the message.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Octets left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// True if no octet is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error for a fault noticed here.
    #[must_use]
    pub const fn fault(&self, fault: Fault) -> DecodeError {
        DecodeError::Malformed { part: self.part, offset: self.offset, fault }
    }

    /// The error for a field that has just been read and holds what it must not.
    #[must_use]
    pub const fn unexpected(&self, field: &'static str, value: u64, expected: Expected) -> DecodeError {
        self.fault(Fault::Value { field, value, expected })
    }

    const fn truncated(&self, needed: usize) -> DecodeError {
        self.fault(Fault::Truncated { needed, left: self.rest.len() })
    }
}

/// Octets being written.
///
/// Writing cannot fail. What a length field of the format cannot express is cut off at the longest length it can;
/// nothing we send comes near, because certificates, configuration and EAP packets are bounded where they enter.
///
/// The buffer may hold plaintext, so it is wiped when it grows and when it is dropped.
#[derive(Default)]
pub struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { octets: Vec::new() }
    }

    /// An empty buffer that takes `capacity` octets without growing.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { octets: Vec::with_capacity(capacity) }
    }

    /// Appends one octet.
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Appends two octets in network order.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends four octets in network order.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends octets as they are.
    pub fn bytes(&mut self, octets: &[u8]) {
        self.reserve(octets.len());
        self.octets.extend_from_slice(octets);
    }

    /// Appends a structure that counts itself: `write` writes all of it, with anything in the two octets at
    /// `length_at`; the length then goes there.
    pub fn structure(&mut self, length_at: usize, write: impl FnOnce(&mut Self)) {
        let start = self.octets.len();
        write(self);
        let length = u16::try_from(self.octets.len() - start).unwrap_or(u16::MAX);
        self.octets.truncate(start + usize::from(length));
        if let Some(field) = self.octets.get_mut(start + length_at..).and_then(<[u8]>::first_chunk_mut) {
            *field = length.to_be_bytes();
        }
    }

    /// Replaces the octet at `position`, if it has been written.
    pub fn replace(&mut self, position: usize, value: u8) {
        if let Some(octet) = self.octets.get_mut(position) {
            *octet = value;
        }
    }

    /// Octets written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.octets.len()
    }

    /// True if nothing has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// What has been written.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Hands the octets over; wiping them is the caller's now.
    #[must_use]
    pub fn into_octets(mut self) -> Vec<u8> {
        std::mem::take(&mut self.octets)
    }

    /// Grows by hand: a plain `Vec` would leave its old contents behind in freed memory.
    fn reserve(&mut self, additional: usize) {
        let needed = self.octets.len().saturating_add(additional);
        if needed > self.octets.capacity() {
            let mut larger = Vec::with_capacity(needed.next_power_of_two().max(256));
            larger.extend_from_slice(&self.octets);
            self.octets.zeroize();
            self.octets = larger;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.octets.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registry::PayloadType;

    const PART: Part = Part::Payload(PayloadType::SA);

    #[test]
    fn reading_past_the_end_says_what_was_needed_and_where() {
        let mut r = Reader::new(PART, &[1, 2, 3]);
        assert_eq!(r.u16(), Ok(0x0102));
        assert_eq!(
            r.u32(),
            Err(DecodeError::Malformed {
                part: PART,
                offset: 2,
                fault: Fault::Truncated { needed: 4, left: 1 }
            })
        );
        assert_eq!(r.u8(), Ok(3), "a failed read consumes nothing");
        assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn a_structure_keeps_the_offset_of_the_whole() {
        let mut r = Reader::new(PART, &[0, 4, 9, 9, 7]);
        let length = r.u16().unwrap();
        let mut inner = r.structure(Part::Inside(PayloadType::SA, "Proposal"), length, 2).unwrap();
        inner.skip(1).unwrap();
        assert_eq!(inner.offset(), 3);
        assert_eq!(r.u8(), Ok(7));
        assert!(matches!(inner.finish(), Err(DecodeError::Malformed { offset: 3, .. })));
    }

    #[test]
    fn a_structure_cannot_be_shorter_than_what_was_read_of_it() {
        let mut r = Reader::new(PART, &[0, 1, 9, 9]);
        let length = r.u16().unwrap();
        assert!(matches!(
            r.structure(PART, length, 2),
            Err(DecodeError::Malformed { fault: Fault::Value { value: 1, .. }, .. })
        ));
    }

    #[test]
    fn a_structure_longer_than_its_length_field_is_cut() {
        let mut w = Writer::new();
        w.u8(0xaa);
        w.structure(0, |w| {
            w.u16(0);
            w.bytes(&vec![1; 70_000]);
        });
        w.u8(0xbb);
        assert_eq!(w.len(), 1 + 65_535 + 1);
        assert_eq!(w.octets()[..3], [0xaa, 0xff, 0xff]);
        assert_eq!(w.octets().last(), Some(&0xbb));
    }
}
