//! Values that stand for several, or for octets.

use zeroize::Zeroizing;

use crate::wiped;

/// The items of a list: split at commas, blanks around them dropped, a quoted item kept whole, empty ones left out.
///
/// A quote counts only where an item starts; one that is not closed is an ordinary character.
pub(super) fn items(list: &[u8]) -> Vec<&[u8]> {
    let mut items = Vec::new();
    let mut rest = list;
    loop {
        rest = trim_start(rest);
        let Some(first) = rest.first() else { return items };
        if let Some((item, after)) = quoted(*first, rest) {
            items.push(item);
            rest = after;
            continue;
        }
        let end = rest.iter().position(|octet| *octet == b',').unwrap_or(rest.len());
        let (item, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        let item = trim_end(item);
        if !item.is_empty() {
            items.push(item);
        }
        rest = after.get(1..).unwrap_or_default();
    }
}

/// The inside of a quoted item and what follows the closing quote, if `list` starts with one.
fn quoted(first: u8, list: &[u8]) -> Option<(&[u8], &[u8])> {
    if !matches!(first, b'"' | b'\'') {
        return None;
    }
    let inside = list.get(1..)?;
    let end = inside.iter().position(|octet| *octet == first)?;
    Some((inside.get(..end)?, inside.get(end + 1..)?))
}

fn trim_start(mut octets: &[u8]) -> &[u8] {
    while let Some((b' ', rest)) = octets.split_first() {
        octets = rest;
    }
    octets
}

fn trim_end(mut octets: &[u8]) -> &[u8] {
    while let Some((b' ', rest)) = octets.split_last() {
        octets = rest;
    }
    octets
}

/// The octets that `0x` with hexadecimal or `0s` with base64 digits stand for; `None` if the value has neither prefix.
/// An error says what is wrong, and shows nothing of the value.
pub(super) fn encoded(value: &[u8]) -> Option<Result<Zeroizing<Vec<u8>>, &'static str>> {
    match value.split_first_chunk::<2>()? {
        (b"0x" | b"0X", digits) => Some(hex(digits).ok_or("expected hexadecimal digits after '0x'")),
        (b"0s" | b"0S", digits) => Some(base64(digits).ok_or("expected base64 after '0s'")),
        _ => None,
    }
}

/// Hexadecimal digits, also an odd number of them: the first octet then has a leading zero.
fn hex(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(digits.len().div_ceil(2)));
    let (first, pairs) = digits.split_at_checked(digits.len() % 2)?;
    for digits in std::iter::once(first).filter(|first| !first.is_empty()).chain(pairs.chunks(2)) {
        let octet = digits.iter().try_fold(0_u8, |octet, digit| {
            let digit = char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())?;
            Some(octet << 4 | digit)
        })?;
        octets.push(octet);
    }
    Some(octets)
}

/// Base64 (RFC 4648 §4), with or without padding.
fn base64(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let padding = digits.iter().rev().take_while(|digit| **digit == b'=').count();
    let digits = digits.get(..digits.len() - padding)?;
    if padding > 2 || digits.len() % 4 == 1 || (padding > 0 && (digits.len() + padding) % 4 != 0) {
        return None;
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(digits.len()));
    for group in digits.chunks(4) {
        let bits = group.iter().try_fold(0_u32, |bits, digit| Some(bits << 6 | sextet(*digit)?))?;
        let length = group.len() * 6 / 8;
        let padded = bits << (6 * (4 - group.len()));
        wiped::append(&mut octets, padded.to_be_bytes().get(1..=length)?);
    }
    Some(octets)
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_as_swanctl_does() {
        let cases: [(&str, &[&str]); 13] = [
            ("", &[]),
            (" , ,, ", &[]),
            ("a", &["a"]),
            (" a b , c ", &["a b", "c"]),
            ("a,,b", &["a", "b"]),
            ("a \"b\" , 'c,d' ,,x", &["a \"b\"", "c,d", "x"]),
            ("'a'b, c , \"e\"", &["a", "b", "c", "e"]),
            ("a 'b,c' d", &["a 'b", "c' d"]),
            ("'un , z", &["'un", "z"]),
            ("' d ', e'f g", &[" d ", "e'f g"]),
            ("\"\"", &[""]),
            ("\tx\t, y", &["\tx\t", "y"]),
            ("10.0.0.0/8,dynamic[tcp/80]", &["10.0.0.0/8", "dynamic[tcp/80]"]),
        ];
        for (list, expected) in cases {
            let found: Vec<_> =
                items(list.as_bytes()).into_iter().map(|i| str::from_utf8(i).unwrap()).collect();
            assert_eq!(found, expected, "{list:?}");
        }
    }

    #[test]
    fn octets_by_digits() {
        let good: [(&str, &[u8]); 12] = [
            ("0x6162", b"ab"),
            ("0XaB", b"\xab"),
            ("0x616", b"\x06\x16"),
            ("0x", b""),
            ("0sYWJj", b"abc"),
            ("0SYWI=", b"ab"),
            ("0sYWI", b"ab"),
            ("0sYQ==", b"a"),
            ("0sYQ", b"a"),
            ("0s", b""),
            ("0s+/+/", b"\xfb\xff\xbf"),
            ("0sAAECAwQF", b"\0\x01\x02\x03\x04\x05"),
        ];
        for (text, octets) in good {
            let found = encoded(text.as_bytes()).unwrap().unwrap();
            assert_eq!(found.as_slice(), octets, "{text:?}");
        }
        for bad in ["0xzz", "0x 1", "0s!!!", "0sY", "0sYWI==", "0sYWJj=", "0s=", "0sY=Q="] {
            assert!(encoded(bad.as_bytes()).unwrap().is_err(), "{bad:?}");
        }
        for plain in ["", "0", "00x1", "x", "secret"] {
            assert!(encoded(plain.as_bytes()).is_none(), "{plain:?}");
        }
    }
}
