//! Comparing requests with golden octets.

use std::fmt::Write;

use super::{Attribute, HEADER_LENGTH, Request, attributes, flags};

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// Compares octet for octet; a difference is shown as two hex dumps of sixteen octets a line.
#[track_caller]
pub(crate) fn assert_octets(got: &[u8], golden: &str) {
    let golden = hex(golden);
    assert!(got == golden, "got\n{}golden\n{}", dump(got), dump(&golden));
}

/// Compares a request's header with a type and flags (`REQUEST` apart), and what is behind it with
/// golden octets: `fixed` of them in their order, the attributes behind those in that of their numbers.
#[track_caller]
pub(crate) fn assert_message(request: &Request, kind: u16, request_flags: u16, fixed: usize, golden: &str) {
    let (header, body) = request.octets().split_at(HEADER_LENGTH);
    let length = u32::try_from(request.octets().len()).unwrap().to_ne_bytes();
    let request_flags = (request_flags | flags::REQUEST).to_ne_bytes();
    assert_eq!(header, [&length[..], &kind.to_ne_bytes(), &request_flags, &[0; 8]].concat(), "the header");
    let in_order = |octets: &[u8]| {
        let (struct_octets, rest) = octets.split_at(fixed);
        let mut all: Vec<Attribute<'_>> = attributes(rest).map(|attribute| attribute.unwrap()).collect();
        all.sort_by_key(|attribute| attribute.kind);
        let mut text = dump(struct_octets);
        for Attribute { kind, value } in all {
            write!(text, "attribute {kind}, {} octets\n{}", value.len(), dump(value)).unwrap();
        }
        text
    };
    let (got, golden) = (in_order(body), in_order(&hex(golden)));
    assert!(got == golden, "got\n{got}golden\n{golden}");
}

fn dump(octets: &[u8]) -> String {
    let mut text = String::new();
    for line in octets.chunks(16) {
        for octet in line {
            write!(text, "{octet:02x} ").unwrap();
        }
        text.push('\n');
    }
    text
}
