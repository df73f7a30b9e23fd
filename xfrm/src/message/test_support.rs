//! Comparing requests with golden octets.

use std::fmt::Write;

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
