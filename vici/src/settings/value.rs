//! Settings as truth, number and time.

use std::time::Duration;

use thiserror::Error;

use super::Setting;
use super::error::Position;
use crate::message::{parse_bool, parse_int};

/// A value that is not what its reader needs. Displayed with the place, the key's full path and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{position}: {path} = {found}: expected {expected}")]
pub struct BadValue {
    /// Where the value is written.
    pub position: Position,
    /// Full path of the key.
    pub path: String,
    /// The value.
    pub found: String,
    /// What it should have been.
    pub expected: String,
}

impl Setting<'_> {
    /// `1 yes true enabled` or `0 no false disabled`, in any case.
    pub fn bool(&self) -> Result<bool, BadValue> {
        self.read("yes or no", parse_bool)
    }

    /// A whole number, decimal or `0x` hexadecimal.
    pub fn int(&self) -> Result<i64, BadValue> {
        self.read("a whole number", parse_int)
    }

    /// A finite number, with or without a fraction.
    pub fn float(&self) -> Result<f64, BadValue> {
        self.read("a number", |text| text.parse().ok().filter(|number: &f64| number.is_finite()))
    }

    /// A time: whole number with the unit `s`, `m`, `h` or `d`, seconds without one.
    pub fn time(&self) -> Result<Duration, BadValue> {
        self.read("a time such as 30, 30s, 5m, 4h or 1d", |text| {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            let seconds = match text.get(digits.len()..)?.trim() {
                "" | "s" => 1,
                "m" => 60,
                "h" => 60 * 60,
                "d" => 24 * 60 * 60,
                _ => return None,
            };
            let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            let number: u64 = digits.parse().ok().filter(|_| is_number)?;
            number.checked_mul(seconds).map(Duration::from_secs)
        })
    }

    /// The error that this value should have been something else. Not for secrets: it shows the value.
    pub fn bad(&self, expected: impl Into<String>) -> BadValue {
        BadValue {
            position: self.position().clone(),
            path: self.path().to_owned(),
            found: String::from_utf8_lossy(self.bytes()).escape_debug().to_string(),
            expected: expected.into(),
        }
    }

    fn read<T>(&self, expected: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, BadValue> {
        self.str().and_then(read).ok_or_else(|| self.bad(expected))
    }
}
