//! How values are written in swanctl.conf.

use std::time::Duration;

use ferry_ike::config::{Label, Mark};

/// The words for yes and no.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_one_of(["yes", "true", "enabled", "1"]) {
        Some(true)
    } else if is_one_of(["no", "false", "disabled", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// A whole number: decimal, `0x` hexadecimal or `0` octal. The empty text is zero, as for charon.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None if text.is_empty() => return Some(0),
        None => (text, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None; // from_str_radix would take a plus
    }
    u64::from_str_radix(digits, radix).ok()
}

/// A number with one of the units `s`, `m`, `h`, `d`; seconds without one.
pub(super) fn time(text: &str) -> Option<Duration> {
    let (number, factor) = with_unit(text, &[('s', 1), ('m', 60), ('h', 60 * 60), ('d', 24 * 60 * 60)])?;
    number.checked_mul(factor).map(Duration::from_secs)
}

/// A number with one of the units `k`, `m`, `g`; octets without one.
pub(super) fn octets(text: &str) -> Option<u64> {
    let (number, factor) = with_unit(text, &[('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30)])?;
    number.checked_mul(factor)
}

fn with_unit(text: &str, units: &[(char, u64)]) -> Option<(u64, u64)> {
    let text = text.trim();
    let unit = |(name, _): &&(char, u64)| text.ends_with(*name) || text.ends_with(name.to_ascii_uppercase());
    // A hexadecimal number may end in what looks like the unit of a day.
    let is_hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    match units.iter().find(unit).filter(|(name, _)| !(is_hexadecimal && name.is_ascii_hexdigit())) {
        Some((_, factor)) => {
            let digits = text.get(..text.len() - 1)?;
            if digits.trim().is_empty() { None } else { Some((number(digits)?, *factor)) }
        }
        None => Some((number(text)?, 1)),
    }
}

/// Six binary digits.
pub(super) fn dscp(text: &str) -> Option<u8> {
    let is_binary = text.len() == 6 && text.bytes().all(|digit| matches!(digit, b'0' | b'1'));
    if is_binary { u8::from_str_radix(text, 2).ok() } else { None }
}

/// `value[/mask]`, `%unique[/mask]` or `%unique-dir[/mask]`; a mark of zero is none.
pub(super) fn mark(text: &str) -> Option<Option<Mark>> {
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    let mask = match mask {
        Some(mask) => u32::try_from(number(mask)?).ok()?,
        None => u32::MAX,
    };
    Some(interface_id(value)?.map(|value| Mark { value, mask }))
}

/// The same for a mark that packets get, which may be `%same[/mask]`.
pub(super) fn set_mark(text: &str) -> Option<Option<Mark>> {
    match text.strip_prefix("%same") {
        Some("") => Some(Some(Mark { value: Label::Same, mask: u32::MAX })),
        Some(mask) => {
            let mask = u32::try_from(number(mask.strip_prefix('/')?)?).ok()?;
            Some(Some(Mark { value: Label::Same, mask }))
        }
        None => mark(text),
    }
}

/// A number, `%unique` or `%unique-dir`; zero is none.
pub(super) fn interface_id(text: &str) -> Option<Option<Label>> {
    Some(match text {
        "%unique" => Some(Label::Unique),
        "%unique-dir" => Some(Label::UniqueDirection),
        value => Some(u32::try_from(number(value)?).ok()?).filter(|value| *value != 0).map(Label::Fixed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, value) in [("0", 0), ("", 0), ("12", 12), ("0x1F", 31), ("010", 8), (" 7 ", 7)] {
            assert_eq!(number(text), Some(value), "{text:?}");
        }
        for text in ["-1", "+1", "1s", "0x", "09", "18446744073709551616", "0x-1"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("5m", 300),
            ("4 h", 14_400),
            ("1D", 86_400),
            ("", 0),
            ("0x10", 16),
            ("0x1d", 29),
            ("0x10h", 57_600),
        ] {
            assert_eq!(time(text), Some(Duration::from_secs(seconds)), "{text:?}");
        }
        for text in ["m", "1w", "1hs", "1h 5m", "1.5h", "18446744073709551615d"] {
            assert_eq!(time(text), None, "{text:?}");
        }
    }

    #[test]
    fn octets_have_binary_units() {
        assert_eq!(octets("1g"), Some(1 << 30));
        assert_eq!(octets("2K"), Some(2048));
        assert_eq!(octets("7"), Some(7));
        assert_eq!(octets("1t"), None);
    }

    #[test]
    fn marks_and_interface_ids() {
        assert_eq!(mark("0"), Some(None));
        assert_eq!(mark("0/0xff"), Some(None));
        assert_eq!(mark("0x2a/0xff"), Some(Some(Mark { value: Label::Fixed(42), mask: 0xff })));
        assert_eq!(mark("7"), Some(Some(Mark { value: Label::Fixed(7), mask: u32::MAX })));
        assert_eq!(mark("%unique-dir/0xf"), Some(Some(Mark { value: Label::UniqueDirection, mask: 0xf })));
        assert_eq!(mark("%same"), None);
        assert_eq!(set_mark("%same/0xf"), Some(Some(Mark { value: Label::Same, mask: 0xf })));
        assert_eq!(set_mark("%samex"), None);
        assert_eq!(mark("%other"), None);
        assert_eq!(mark("1/x"), None);
        assert_eq!(interface_id("%unique"), Some(Some(Label::Unique)));
        assert_eq!(interface_id("0"), Some(None));
        assert_eq!(interface_id("42/1"), None);
    }

    #[test]
    fn dscps_are_binary() {
        assert_eq!(dscp("000000"), Some(0));
        assert_eq!(dscp("101110"), Some(46));
        assert_eq!(dscp("46"), None);
        assert_eq!(dscp("1011102"), None);
    }
}
