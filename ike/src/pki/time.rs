//! Points in time for people.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use der::DateTime;

/// A time in UTC: `2026-11-27T15:00:00Z`.
pub(super) struct Utc(pub(super) SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        match DateTime::from_unix_duration(since) {
            Ok(time) => write!(f, "{time}"),
            // DER has no later ones.
            Err(_) => f.write_str("after 9999"),
        }
    }
}
