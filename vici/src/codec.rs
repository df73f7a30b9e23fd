//! Octets of a [`Message`].
//!
//! A message is a sequence of elements up to the end of its octets:
//!
//! ```text
//! 1  SECTION_START  u8 length, name
//! 2  SECTION_END
//! 3  KEY_VALUE      u8 length, name, u16 length, value
//! 4  LIST_START     u8 length, name
//! 5  LIST_ITEM      u16 length, value
//! 6  LIST_END
//! ```
//!
//! Lengths are big-endian. Sections nest, here up to [`MAX_DEPTH`]; a list holds items and nothing else. A name is
//! printable ASCII.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::message::{Element, Message, Value, is_printable};
use crate::packet::MAX_FRAME;

/// How deep sections may nest. The protocol knows no limit; four are used.
pub const MAX_DEPTH: usize = 64;

/// Longest name of a key, list, section, command or event, in octets.
pub const MAX_NAME: usize = u8::MAX as usize;

/// Longest value, in octets.
pub const MAX_VALUE: usize = u16::MAX as usize;

const SECTION_START: u8 = 1;
const SECTION_END: u8 = 2;
const KEY_VALUE: u8 = 3;
const LIST_START: u8 = 4;
const LIST_ITEM: u8 = 5;
const LIST_END: u8 = 6;

/// Octets that are not a message. `offset` counts from the start of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The octets end inside an element.
    #[error("message ends inside the element at octet {offset}")]
    Truncated {
        /// Where the element starts.
        offset: usize,
    },
    /// An element type other than 1 to 6.
    #[error("unknown element type {found} at octet {offset}")]
    UnknownElement {
        /// The type.
        found: u8,
        /// Where it stands.
        offset: usize,
    },
    /// An element that may not stand here, such as a key/value inside a list.
    #[error("element of type {found} at octet {offset} is not allowed {place}")]
    Misplaced {
        /// The type.
        found: u8,
        /// Where it stands.
        offset: usize,
        /// What surrounds it, as `inside a list`.
        place: &'static str,
    },
    /// A name with an octet that is not printable ASCII.
    #[error("the name of the element at octet {offset} is not printable ASCII")]
    BadName {
        /// Where the element starts.
        offset: usize,
    },
    /// A section or list is still open at the end.
    #[error("message ends with an open section or list")]
    Unclosed,
    /// Sections nest deeper than [`MAX_DEPTH`].
    #[error("sections nest deeper than {MAX_DEPTH} at octet {offset}")]
    TooDeep {
        /// Where the section too many starts.
        offset: usize,
    },
}

/// A message that the protocol cannot carry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A name longer than [`MAX_NAME`], or not printable ASCII.
    #[error("name '{}' is not printable ASCII of at most {MAX_NAME} octets", .0.escape_debug())]
    BadName(String),
    /// A value or list item longer than [`MAX_VALUE`].
    #[error("value of '{name}' has {length} octets, at most {MAX_VALUE} fit")]
    ValueTooLong {
        /// Key or list it belongs to.
        name: String,
        /// Its length in octets.
        length: usize,
    },
    /// Sections nest deeper than [`MAX_DEPTH`].
    #[error("section '{0}' nests deeper than {MAX_DEPTH}")]
    TooDeep(String),
    /// The packet is longer than [`MAX_FRAME`].
    #[error("packet has {0} octets, at most {MAX_FRAME} fit")]
    TooLong(usize),
}

impl Message {
    /// Reads a whole message. Allocates in proportion to the octets given, whatever they say.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader { octets, offset: 0 };
        let mut message = Message::new();
        let mut open: Vec<(String, Message)> = Vec::new(); // what surrounds `message`, outermost first
        while let Some((offset, element)) = reader.element() {
            match element {
                SECTION_START => {
                    if open.len() == MAX_DEPTH {
                        return Err(DecodeError::TooDeep { offset });
                    }
                    open.push((reader.name(offset)?, std::mem::take(&mut message)));
                }
                SECTION_END => {
                    let Some((name, outer)) = open.pop() else {
                        return Err(misplaced(element, offset, "outside a section"));
                    };
                    let section = std::mem::replace(&mut message, outer);
                    message.push_section(name, section);
                }
                KEY_VALUE => {
                    let name = reader.name(offset)?;
                    message.push(name, reader.value(offset)?);
                }
                LIST_START => {
                    let name = reader.name(offset)?;
                    message.push_list(name, reader.items()?);
                }
                LIST_ITEM | LIST_END => return Err(misplaced(element, offset, "outside a list")),
                found => return Err(DecodeError::UnknownElement { found, offset }),
            }
        }
        if open.is_empty() { Ok(message) } else { Err(DecodeError::Unclosed) }
    }

    /// Writes the message. Fails if a name, a value or the nesting exceeds what the protocol can carry.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
        let length = encoded_length(self, 0)?;
        if length > MAX_FRAME {
            return Err(EncodeError::TooLong(length));
        }
        // Reserved in full: a growing buffer would leave copies of secrets behind.
        let mut octets = Zeroizing::new(Vec::with_capacity(length));
        write_elements(self, &mut octets);
        Ok(octets)
    }
}

fn misplaced(found: u8, offset: usize, place: &'static str) -> DecodeError {
    DecodeError::Misplaced { found, offset, place }
}

struct Reader<'a> {
    octets: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// The next element's offset and type, or `None` at the end.
    fn element(&mut self) -> Option<(usize, u8)> {
        let offset = self.offset;
        let element = *self.octets.get(offset)?;
        self.offset += 1;
        Some((offset, element))
    }

    fn take(&mut self, length: usize, element: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.octets.get(self.offset..).unwrap_or_default();
        let taken = rest.get(..length).ok_or(DecodeError::Truncated { offset: element })?;
        self.offset += length;
        Ok(taken)
    }

    fn name(&mut self, element: usize) -> Result<String, DecodeError> {
        let length = self.take(1, element)?.first().copied().unwrap_or_default();
        let name = self.take(usize::from(length), element)?;
        if !is_printable(name) {
            return Err(DecodeError::BadName { offset: element });
        }
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn value(&mut self, element: usize) -> Result<Value, DecodeError> {
        let length = self.take(2, element)?.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        Ok(Value::from(self.take(length, element)?))
    }

    /// The items of a list whose start was just read, up to and with its end.
    fn items(&mut self) -> Result<Vec<Value>, DecodeError> {
        let mut items = Vec::new();
        loop {
            match self.element() {
                Some((offset, LIST_ITEM)) => items.push(self.value(offset)?),
                Some((_, LIST_END)) => return Ok(items),
                Some((offset, found @ SECTION_START..=LIST_END)) => {
                    return Err(misplaced(found, offset, "inside a list"));
                }
                Some((offset, found)) => return Err(DecodeError::UnknownElement { found, offset }),
                None => return Err(DecodeError::Unclosed),
            }
        }
    }
}

/// The length of the elements in octets, once it is sure that they can be written.
fn encoded_length(message: &Message, depth: usize) -> Result<usize, EncodeError> {
    let mut length = 0;
    for element in message {
        let name = check_name(element.name())?;
        length += match element {
            Element::Value { value, .. } => 1 + name + value_length(element.name(), value)?,
            Element::List { name: list, items } => {
                items.iter().try_fold(2 + name, |sum, item| Ok(sum + 1 + value_length(list, item)?))?
            }
            Element::Section { name: section_name, section } => {
                if depth == MAX_DEPTH {
                    return Err(EncodeError::TooDeep(section_name.clone()));
                }
                2 + name + encoded_length(section, depth + 1)?
            }
        };
    }
    Ok(length)
}

/// The octets that a name takes with its length, if the protocol can carry it.
pub(crate) fn check_name(name: &str) -> Result<usize, EncodeError> {
    if name.len() > MAX_NAME || !is_printable(name.as_bytes()) {
        return Err(EncodeError::BadName(name.to_owned()));
    }
    Ok(1 + name.len())
}

fn value_length(name: &str, value: &Value) -> Result<usize, EncodeError> {
    let length = value.bytes().len();
    if length > MAX_VALUE {
        return Err(EncodeError::ValueTooLong { name: name.to_owned(), length });
    }
    Ok(2 + length)
}

fn write_elements(message: &Message, octets: &mut Vec<u8>) {
    for element in message {
        match element {
            Element::Value { name, value } => {
                octets.push(KEY_VALUE);
                write_name(name, octets);
                write_value(value, octets);
            }
            Element::List { name, items } => {
                octets.push(LIST_START);
                write_name(name, octets);
                for item in items {
                    octets.push(LIST_ITEM);
                    write_value(item, octets);
                }
                octets.push(LIST_END);
            }
            Element::Section { name, section } => {
                octets.push(SECTION_START);
                write_name(name, octets);
                write_elements(section, octets);
                octets.push(SECTION_END);
            }
        }
    }
}

/// Writes a name that [`check_name`] found good.
#[expect(clippy::cast_possible_truncation, reason = "check_name bounds the length")]
pub(crate) fn write_name(name: &str, octets: &mut Vec<u8>) {
    octets.push(name.len() as u8);
    octets.extend_from_slice(name.as_bytes());
}

/// Writes a value that `value_length` found good.
#[expect(clippy::cast_possible_truncation, reason = "value_length bounds the length")]
fn write_value(value: &Value, octets: &mut Vec<u8>) {
    octets.extend_from_slice(&(value.bytes().len() as u16).to_be_bytes());
    octets.extend_from_slice(value.bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Section;

    #[test]
    fn golden_octets() {
        let message = Message::new()
            .with("k1", "v1")
            .with_section("s", Section::new().with_list("l", ["a"]))
            .with_list("", Vec::<&str>::new());
        let octets = b"\x03\x02k1\x00\x02v1\x01\x01s\x04\x01l\x05\x00\x01a\x06\x02\x04\x00\x06";
        assert_eq!(message.encode().unwrap().as_slice(), octets);
        assert_eq!(Message::decode(octets), Ok(message));
    }

    #[test]
    fn malformed_octets_name_the_place() {
        use DecodeError::{BadName, Misplaced, TooDeep, Truncated, Unclosed, UnknownElement};
        let cases: [(&[u8], DecodeError); 13] = [
            (b"\x03", Truncated { offset: 0 }),
            (b"\x03\x02k", Truncated { offset: 0 }),
            (b"\x03\x01k\x00", Truncated { offset: 0 }),
            (b"\x03\x01k\x00\x01", Truncated { offset: 0 }),
            (b"\x01\x01s\x05", Misplaced { found: 5, offset: 3, place: "outside a list" }),
            (b"\x02", Misplaced { found: 2, offset: 0, place: "outside a section" }),
            (b"\x06", Misplaced { found: 6, offset: 0, place: "outside a list" }),
            (b"\x04\x01l\x03\x01k\x00\x00", Misplaced { found: 3, offset: 3, place: "inside a list" }),
            (b"\x04\x01l\x04\x01m", Misplaced { found: 4, offset: 3, place: "inside a list" }),
            (b"\x04\x01l\x05\x00\x00", Unclosed),
            (b"\x01\x01s", Unclosed),
            (b"\x07", UnknownElement { found: 7, offset: 0 }),
            (b"\x03\x01\x7f\x00\x00", BadName { offset: 0 }),
        ];
        for (octets, error) in cases {
            assert_eq!(Message::decode(octets), Err(error), "{octets:02x?}");
        }
        let nested = |depth: usize| [b"\x01\x00".repeat(depth), b"\x02".repeat(depth)].concat();
        assert!(Message::decode(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(Message::decode(&nested(MAX_DEPTH + 1)), Err(TooDeep { offset: 2 * MAX_DEPTH }));
        assert!(Message::decode(&nested(100_000)).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long_name = "n".repeat(256);
        let name = Message::new().with(long_name.clone(), "");
        assert_eq!(name.encode().map(drop), Err(EncodeError::BadName(long_name)));
        assert!(Message::new().with("a\nb", "").encode().is_err());
        let value = Message::new().with_list("l", [vec![0; 65_536]]);
        let error = EncodeError::ValueTooLong { name: "l".into(), length: 65_536 };
        assert_eq!(value.encode().map(drop), Err(error));
        let mut long = Message::new();
        for _ in 0..7 {
            long.push("k", vec![0; 65_535]);
        }
        assert_eq!(long.encode().map(|octets| octets.len()), Ok(7 * 65_540));
        long.push("k", vec![0; 65_535]);
        assert!(matches!(long.encode(), Err(EncodeError::TooLong(_))));
        let deep = (0..=MAX_DEPTH).fold(Section::new(), |inner, _| Section::new().with_section("s", inner));
        assert_eq!(deep.encode().map(drop), Err(EncodeError::TooDeep("s".into())));
    }

    /// Messages of every shape, a few levels deep.
    fn any_message() -> impl Strategy<Value = Message> {
        let name = || "[ -~]{0,12}";
        let value = || proptest::collection::vec(any::<u8>(), 0..20).prop_map(Value::from);
        let leaf = prop_oneof![
            (name(), value()).prop_map(|(name, value)| Element::Value { name, value }),
            (name(), proptest::collection::vec(value(), 0..4))
                .prop_map(|(name, items)| Element::List { name, items }),
        ];
        let element = leaf.prop_recursive(4, 32, 5, move |inner| {
            (name(), proptest::collection::vec(inner, 0..5))
                .prop_map(|(name, inner)| Element::Section { name, section: inner.into_iter().collect() })
        });
        proptest::collection::vec(element, 0..6).prop_map(|elements| elements.into_iter().collect())
    }

    proptest! {
        #[test]
        fn decode_reads_what_encode_writes(message in any_message()) {
            let octets = message.encode().unwrap();
            prop_assert_eq!(octets.len(), octets.capacity(), "reserved exactly");
            prop_assert_eq!(Message::decode(&octets), Ok(message));
        }

        #[test]
        fn any_octets_decode_or_fail_and_encode_back(octets in proptest::collection::vec(0_u8..9, 0..200)) {
            if let Ok(message) = Message::decode(&octets) {
                let encoded = message.encode().unwrap();
                prop_assert_eq!(encoded.as_slice(), octets.as_slice());
            }
        }
    }
}
