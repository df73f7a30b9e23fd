//! What CHILD_SAs have carried, beyond their end: those who keep accounts ask when it is convenient to them.

use std::collections::{HashMap, VecDeque};

use ferry_ike::output::ChildSaId;

use super::Counted;
use crate::control::ChildUse;

/// The most that is kept for nobody to ask. Sessions ask soon after one of their CHILD_SAs has gone.
const MOST: usize = 65_536;

/// The last counts of CHILD_SAs that are gone.
#[derive(Default)]
pub(super) struct Counts {
    is_kept: bool,
    gone: HashMap<ChildSaId, ChildUse>,
    /// The oldest first; some may have been asked for.
    order: VecDeque<ChildSaId>,
}

impl Counts {
    /// From now on they are kept.
    pub(super) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// True if somebody wants to know.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// These are going.
    pub(super) fn note(&mut self, last: HashMap<ChildSaId, ChildUse>) {
        for (child_sa, used) in last {
            self.gone.insert(child_sa, used);
            self.order.push_back(child_sa);
            if self.order.len() > MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.gone.remove(&oldest);
            }
        }
    }

    /// Those of them that are gone, with what is known of the others.
    pub(super) fn of(
        &mut self,
        child_sas: &[ChildSaId],
        live: HashMap<ChildSaId, ChildUse>,
    ) -> HashMap<ChildSaId, Counted> {
        let live = live.into_iter().map(|(child_sa, used)| (child_sa, Counted { used, is_final: false }));
        let gone = child_sas.iter().filter_map(|child_sa| {
            self.gone.remove(child_sa).map(|used| (*child_sa, Counted { used, is_final: true }))
        });
        live.chain(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(bytes_in: u64) -> ChildUse {
        ChildUse { bytes_in, ..ChildUse::default() }
    }

    #[test]
    fn what_is_gone_is_told_once() {
        let mut counts = Counts::default();
        counts.keep();
        counts.note(HashMap::from([(ChildSaId(1), used(7))]));
        let both = [ChildSaId(1), ChildSaId(2)];
        let told = counts.of(&both, HashMap::from([(ChildSaId(2), used(9))]));
        assert_eq!(told[&ChildSaId(1)], Counted { used: used(7), is_final: true });
        assert_eq!(told[&ChildSaId(2)], Counted { used: used(9), is_final: false });
        assert!(counts.of(&both, HashMap::new()).is_empty());
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let mut counts = Counts::default();
        counts.keep();
        for id in 0..=u64::try_from(MOST).unwrap() {
            counts.note(HashMap::from([(ChildSaId(id), used(1))]));
        }
        assert!(counts.of(&[ChildSaId(0)], HashMap::new()).is_empty());
        assert_eq!(counts.of(&[ChildSaId(1)], HashMap::new()).len(), 1);
    }
}
