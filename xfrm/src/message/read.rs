//! Reading what the kernel sends.

use super::{HEADER_LENGTH, control, flags};
use crate::error::{Malformed, Refusal};

/// Extended-ack attribute that holds the kernel's sentence.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Bits of an attribute's type that say how its value is laid out, not what it is.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// One message of a datagram.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Of an answer our own; of a notification that of the socket whose request it tells of, 0 where
    /// nobody asked.
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// The outcome an ERROR or DONE message carries; `None` is success.
    pub(crate) fn refusal(&self) -> Result<Option<Refusal>, Malformed> {
        let mut fields = Fields(self.payload);
        if self.kind == control::DONE && self.payload.is_empty() {
            return Ok(None);
        }
        let errno = i32::from_ne_bytes(fields.array()?).saturating_neg();
        if errno == 0 {
            return Ok(None);
        }
        if self.kind == control::ERROR {
            // The refused request: whole, unless the socket asked for its header only.
            let length = fields.clone().u32()?;
            let echoed = if self.flags & flags::CAPPED != 0 {
                HEADER_LENGTH
            } else {
                usize::try_from(length).map_err(|_| Malformed("the echoed request"))?
            };
            fields.skip(echoed.next_multiple_of(4))?;
        }
        let text = if self.flags & flags::EXTENDED != 0 { sentence(fields.0)? } else { None };
        Ok(Some(Refusal { errno, text }))
    }
}

fn sentence(octets: &[u8]) -> Result<Option<String>, Malformed> {
    for attribute in attributes(octets) {
        let attribute = attribute?;
        if attribute.kind == NLMSGERR_ATTR_MSG {
            return Ok(Some(attribute.text()));
        }
    }
    Ok(None)
}

/// The messages of a datagram. Ends after the first that does not parse.
pub(crate) fn frames(datagram: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, Malformed>> {
    let mut rest = Fields(datagram);
    std::iter::from_fn(move || {
        if rest.0.is_empty() {
            return None;
        }
        let frame = frame(&mut rest);
        if frame.is_err() {
            rest = Fields(&[]);
        }
        Some(frame)
    })
}

fn frame<'a>(rest: &mut Fields<'a>) -> Result<Frame<'a>, Malformed> {
    let length = usize::try_from(rest.clone().u32()?).map_err(|_| Malformed("a message length"))?;
    let mut message = Fields(rest.take_padded(length)?);
    message.skip(4)?; // length
    let kind = message.u16()?;
    let flags = message.u16()?;
    let sequence = message.u32()?;
    let port = message.u32()?;
    Ok(Frame { kind, flags, sequence, port, payload: message.0 })
}

/// One attribute.
#[derive(Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

impl Attribute<'_> {
    pub(crate) fn u32(&self) -> Result<u32, Malformed> {
        let octets = self.value.try_into().map_err(|_| Malformed("an attribute of 4 octets"))?;
        Ok(u32::from_ne_bytes(octets))
    }

    /// A string up to its terminating zero.
    pub(crate) fn text(&self) -> String {
        let end = self.value.iter().position(|&octet| octet == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(self.value.get(..end).unwrap_or_default()).into_owned()
    }
}

/// The attributes in these octets. Ends after the first that does not parse.
pub(crate) fn attributes(octets: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, Malformed>> {
    let mut rest = Fields(octets);
    std::iter::from_fn(move || {
        if rest.0.is_empty() {
            return None;
        }
        let attribute = attribute(&mut rest);
        if attribute.is_err() {
            rest = Fields(&[]);
        }
        Some(attribute)
    })
}

fn attribute<'a>(rest: &mut Fields<'a>) -> Result<Attribute<'a>, Malformed> {
    let length = usize::from(rest.clone().u16()?);
    let mut attribute = Fields(rest.take_padded(length)?);
    attribute.skip(2)?; // length
    let kind = attribute.u16()? & NLA_TYPE_MASK;
    Ok(Attribute { kind, value: attribute.0 })
}

/// Reads fixed fields from the front of what is left.
#[derive(Clone)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_ne_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_ne_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_ne_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_ne_bytes(self.array()?))
    }

    /// In network order.
    pub(crate) fn be16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// In network order.
    pub(crate) fn be32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.take(count).map(|_| ())
    }

    /// The next `count` octets.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed("a longer message"))?;
        self.0 = rest;
        Ok(head)
    }

    /// The next `count` octets, and steps over the padding to a multiple of four behind them.
    /// The last item may lack its padding.
    pub(crate) fn take_padded(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let head = self.take(count)?;
        let padding = count.next_multiple_of(4) - count;
        self.0 = self.0.get(padding..).unwrap_or_default();
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed("a longer message"))?;
        self.0 = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Writer;

    /// An acknowledgement as the kernel builds it, with the request's header echoed.
    fn error(errno: i32, error_flags: u16, echoed: &[u8], text: Option<&str>) -> Vec<u8> {
        let mut w = Writer::new();
        w.u32(0);
        w.u16(control::ERROR);
        w.u16(error_flags);
        w.u32(7);
        w.u32(0);
        w.u32((-errno).cast_unsigned());
        w.u32(u32::try_from(16 + echoed.len()).unwrap());
        w.zeros(12);
        if error_flags & flags::CAPPED == 0 {
            w.bytes(echoed);
        }
        if let Some(text) = text {
            w.attribute(2, |w| w.u32(44)); // offset of the offender
            w.attribute(NLMSGERR_ATTR_MSG, |w| {
                w.bytes(text.as_bytes());
                w.u8(0);
            });
        }
        let mut octets = w.octets().to_vec();
        let length = u32::try_from(octets.len()).unwrap();
        octets.splice(..4, length.to_ne_bytes());
        octets
    }

    fn only(datagram: &[u8]) -> Frame<'_> {
        let all: Vec<_> = frames(datagram).collect::<Result<_, _>>().unwrap();
        assert_eq!(all.len(), 1);
        all[0]
    }

    #[test]
    fn the_sentence_is_found_behind_a_capped_and_a_whole_request() {
        let text = "Requested AEAD algorithm not found";
        let want = Some(Refusal { errno: 38, text: Some(text.into()) });
        let capped = error(38, flags::CAPPED | flags::EXTENDED, &[9; 40], Some(text));
        assert_eq!(only(&capped).refusal().unwrap(), want);
        let whole = error(38, flags::EXTENDED, &[9; 40], Some(text));
        assert_eq!(only(&whole).refusal().unwrap(), want);
    }

    #[test]
    fn a_refusal_may_have_no_sentence() {
        let plain = error(17, flags::CAPPED, &[], None);
        assert_eq!(only(&plain).refusal().unwrap(), Some(Refusal { errno: 17, text: None }));
        let success = error(0, flags::CAPPED, &[], None);
        assert_eq!(only(&success).refusal().unwrap(), None);
    }

    #[test]
    fn two_messages_of_one_datagram_are_told_apart() {
        let mut datagram = error(0, flags::CAPPED, &[], None);
        datagram.extend(error(1, flags::CAPPED, &[], None));
        let outcomes: Vec<_> = frames(&datagram).map(|frame| frame.unwrap().refusal().unwrap()).collect();
        assert_eq!(outcomes, [None, Some(Refusal { errno: 1, text: None })]);
    }

    #[test]
    fn cut_messages_are_errors() {
        let whole = error(38, flags::CAPPED | flags::EXTENDED, &[], Some("no"));
        for length in 1..whole.len() {
            assert!(frames(&whole[..length]).any(|frame| frame.is_err()), "cut to {length}");
        }
        // A length below the header's must not loop forever.
        assert_eq!(frames(&[0; 16]).count(), 1);
        assert!(attributes(&[0, 0, 1, 0]).all(|attribute| attribute.is_err()));
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            for frame in frames(&octets).flatten() {
                let _ = frame.refusal();
                prop_assert!(attributes(frame.payload).count() <= octets.len());
            }
        }
    }
}
