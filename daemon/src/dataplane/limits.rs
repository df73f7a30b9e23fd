//! When a CHILD_SA has carried enough.

use std::hash::{BuildHasher, Hasher, RandomState};

use ferry_ike::config::Volume;

/// When it is time for a successor. Each SA of a child is rekeyed a little earlier than the last, so that many do not come
/// at once.
pub(super) fn soft(volume: Volume) -> Option<u64> {
    let early = draw().checked_rem(volume.rand.saturating_add(1)).unwrap_or(0);
    volume.rekey.map(|rekey| rekey.saturating_sub(early))
}

/// A number that differs from call to call and cannot be foreseen from outside; nothing secret hangs on it.
pub(super) fn draw() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_for_a_successor_lies_within_the_configured_span() {
        let volume = Volume { rekey: Some(1000), life: Some(1100), rand: 100 };
        let drawn: Vec<u64> = (0..200).filter_map(|_| soft(volume)).collect();
        assert!(drawn.iter().all(|limit| (900..=1000).contains(limit)), "{drawn:?}");
        assert!(drawn.iter().any(|limit| *limit != 1000), "{drawn:?}");
        assert_eq!(soft(Volume { rekey: None, life: None, rand: 7 }), None);
        assert_eq!(
            soft(Volume { rekey: Some(5), life: None, rand: u64::MAX }).map(|limit| limit <= 5),
            Some(true)
        );
    }
}
