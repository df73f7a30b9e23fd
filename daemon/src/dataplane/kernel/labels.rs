//! Marks and interface IDs as numbers: those that each CHILD_SA has for itself are given here.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use ferry_ike::config::{self, Interfaces, Label, Labels, UniqueIds};
use ferry_xfrm::Mark;

use crate::control::ChildNumbers;

/// The numbers of one CHILD_SA, or of one trap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) mark_in: Option<Mark>,
    pub(super) mark_out: Option<Mark>,
    /// The mark of packets that are not opened yet.
    pub(super) mark_in_sa: Option<Mark>,
    pub(super) set_mark_in: Option<Mark>,
    pub(super) set_mark_out: Option<Mark>,
    pub(super) interface_in: Option<NonZeroU32>,
    pub(super) interface_out: Option<NonZeroU32>,
}

impl Numbers {
    /// As they are listed, with the reqid they go with.
    pub(super) fn told_with(&self, reqid: u32) -> ChildNumbers {
        let mark = |mark: Option<Mark>| mark.map_or((0, 0), |mark| (mark.value, mark.mask));
        let interface = |interface: Option<NonZeroU32>| interface.map_or(0, NonZeroU32::get);
        ChildNumbers {
            reqid,
            mark_in: mark(self.mark_in),
            mark_out: mark(self.mark_out),
            interface_in: interface(self.interface_in),
            interface_out: interface(self.interface_out),
        }
    }
}

/// Numbers that are given to one reqid, which stays over rekeys.
pub(super) struct Uniques {
    ids: Arc<UniqueIds>,
    given: HashMap<u32, ([u32; 2], usize)>,
}

impl Uniques {
    pub(super) fn new(ids: Arc<UniqueIds>) -> Self {
        Self { ids, given: HashMap::new() }
    }

    /// The numbers for a reqid, as long as somebody holds it, with the interfaces of its IKE SA.
    pub(super) fn take(&mut self, labels: &Labels, interfaces: Interfaces, reqid: u32) -> Numbers {
        if !is_unique(labels) {
            return Self::numbers(labels, interfaces, [0, 0]);
        }
        let (pair, holders) = self.given.entry(reqid).or_insert_with(|| (Self::draw(&self.ids), 0));
        *holders += 1;
        Self::numbers(labels, interfaces, *pair)
    }

    /// The numbers for what has no reqid.
    pub(super) fn take_once(&self, labels: &Labels) -> Numbers {
        Self::numbers(labels, Interfaces::default(), Self::draw(&self.ids))
    }

    fn draw(ids: &UniqueIds) -> [u32; 2] {
        [ids.label(), ids.label()].map(NonZeroU32::get)
    }

    fn numbers(labels: &Labels, interfaces: Interfaces, [first, second]: [u32; 2]) -> Numbers {
        let number = |label, is_in: bool| match label {
            Label::Fixed(number) => number,
            Label::UniqueDirection if !is_in => second,
            Label::Unique | Label::UniqueDirection | Label::Same => first,
            Label::OfIkeSa => {
                let interface = if is_in { interfaces.inbound } else { interfaces.outbound };
                interface.map_or(0, NonZeroU32::get)
            }
        };
        let mark = |mark: Option<config::Mark>, is_in: bool| {
            mark.map(|mark| Mark { value: number(mark.value, is_in), mask: mark.mask })
        };
        let (mark_in, mark_out) = (mark(labels.mark_in, true), mark(labels.mark_out, false));
        let set = |set: Option<config::Mark>, same: Option<Mark>, is_in: bool| match set {
            Some(config::Mark { value: Label::Same, mask }) => same.map(|same| Mark { mask, ..same }),
            set => mark(set, is_in),
        };
        let interface =
            |label: Option<Label>, is_in: bool| label.and_then(|label| NonZeroU32::new(number(label, is_in)));
        Numbers {
            mark_in,
            mark_out,
            mark_in_sa: mark_in.filter(|_| labels.is_mark_in_on_sa),
            set_mark_in: set(labels.set_mark_in, mark_in, true),
            set_mark_out: set(labels.set_mark_out, mark_out, false),
            interface_in: interface(labels.interface_in, true),
            interface_out: interface(labels.interface_out, false),
        }
    }

    /// Somebody holds a reqid no longer.
    pub(super) fn give_back(&mut self, labels: &Labels, reqid: u32) {
        if is_unique(labels)
            && let Some((_, holders)) = self.given.get_mut(&reqid)
        {
            *holders -= 1;
            if *holders == 0 {
                self.given.remove(&reqid);
            }
        }
    }
}

/// Each CHILD_SA has some number for itself.
pub(super) fn is_unique(labels: &Labels) -> bool {
    let is = |label| matches!(label, Label::Unique | Label::UniqueDirection);
    let marks = [labels.mark_in, labels.mark_out, labels.set_mark_in, labels.set_mark_out];
    marks.into_iter().flatten().any(|mark| is(mark.value))
        || [labels.interface_in, labels.interface_out].into_iter().flatten().any(is)
}

/// Its IKE SA has some number for itself.
pub(super) fn is_of_ike_sa(labels: &Labels) -> bool {
    [labels.interface_in, labels.interface_out].contains(&Some(Label::OfIkeSa))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an IKE SA that has none.
    const NONE: Interfaces = Interfaces { inbound: None, outbound: None };

    fn mark(value: Label) -> Option<config::Mark> {
        Some(config::Mark { value, mask: 0xff })
    }

    #[test]
    fn a_reqid_keeps_its_numbers_as_long_as_it_is_held() {
        let mut uniques = Uniques::new(Arc::default());
        let labels = Labels {
            mark_in: mark(Label::Unique),
            mark_out: mark(Label::Unique),
            interface_in: Some(Label::UniqueDirection),
            interface_out: Some(Label::UniqueDirection),
            ..Labels::default()
        };
        let first = uniques.take(&labels, NONE, 1);
        assert_eq!(first.mark_in.map(|mark| mark.value), first.mark_out.map(|mark| mark.value));
        assert_ne!(first.interface_in, first.interface_out);
        assert_eq!(uniques.take(&labels, NONE, 1), first, "its successor");
        let other = uniques.take(&labels, NONE, 2);
        assert_ne!((other.mark_in, other.interface_out), (first.mark_in, first.interface_out));
        uniques.give_back(&labels, 1);
        assert_eq!(uniques.take(&labels, NONE, 1), first);
        (0..2).for_each(|_| uniques.give_back(&labels, 1));
        assert_ne!(uniques.take(&labels, NONE, 1), first);
    }

    #[test]
    fn numbers_that_are_said_are_taken() {
        let labels = Labels {
            mark_in: mark(Label::Fixed(5)),
            set_mark_in: Some(config::Mark { value: Label::Same, mask: 0xf }),
            interface_out: Some(Label::Fixed(42)),
            ..Labels::default()
        };
        let numbers = Uniques::new(Arc::default()).take(&labels, NONE, 9);
        assert_eq!(numbers.mark_in, Some(Mark { value: 5, mask: 0xff }));
        assert_eq!((numbers.mark_in_sa, numbers.mark_out), (None, None));
        assert_eq!(numbers.set_mark_in, Some(Mark { value: 5, mask: 0xf }));
        assert_eq!(numbers.interface_out.map(NonZeroU32::get), Some(42));
        let on_sa = Labels { is_mark_in_on_sa: true, ..labels };
        assert_eq!(Uniques::new(Arc::default()).take(&on_sa, NONE, 9).mark_in_sa, numbers.mark_in);
    }

    #[test]
    fn children_have_what_their_ike_sa_has() {
        let mut uniques = Uniques::new(Arc::default());
        let interfaces = Interfaces { inbound: NonZeroU32::new(3), outbound: NonZeroU32::new(4) };
        let of_ike_sa = Labels {
            interface_in: Some(Label::OfIkeSa),
            interface_out: Some(Label::OfIkeSa),
            ..Labels::default()
        };
        for reqid in [1, 2] {
            let numbers = uniques.take(&of_ike_sa, interfaces, reqid);
            assert_eq!(
                (numbers.interface_in, numbers.interface_out),
                (interfaces.inbound, interfaces.outbound)
            );
        }
        let own = Labels { interface_out: Some(Label::Fixed(9)), ..of_ike_sa };
        assert_eq!(uniques.take(&own, interfaces, 3).interface_out.map(NonZeroU32::get), Some(9));
        assert!(is_of_ike_sa(&own) && !is_unique(&own));
    }
}
