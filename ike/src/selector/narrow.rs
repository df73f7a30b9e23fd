//! Narrowing (RFC 7296 §2.9): the responder's choice among the traffic offered, and the initiator's check of
//! it.

use super::TrafficSelector;

/// Selectors in an answer. A payload holds 255 (RFC 7296 §3.13); more would not be installed by anybody.
const MAX_SELECTORS: usize = 255;

/// What both the configuration and the peer's offer allow, in the order of the offer. Empty means that
/// nothing is acceptable (TS_UNACCEPTABLE).
///
/// Selectors contained in others are left out, as charon does. The offer's first selector is special: it may
/// be the packet that made the initiator ask, and where it is acceptable the answer's first selector covers
/// it.
#[must_use]
pub fn narrow(configured: &[TrafficSelector], offered: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let mut narrowed: Vec<TrafficSelector> = Vec::new();
    let common =
        offered.iter().flat_map(|theirs| configured.iter().filter_map(|ours| ours.intersect(theirs)));
    for selector in common {
        if narrowed.iter().any(|wider| wider.contains(&selector)) {
            continue;
        }
        narrowed.retain(|narrower| !selector.contains(narrower));
        if narrowed.len() < MAX_SELECTORS {
            narrowed.push(selector);
        }
    }
    // RFC 7296 §2.9: the subset must include the initiator's first choice, if we allow it.
    let covers_first =
        |selector: &TrafficSelector| offered.first().is_some_and(|first| selector.contains(first));
    if let Some(position) = narrowed.iter().position(covers_first)
        && let Some(up_to_it) = narrowed.get_mut(..=position)
    {
        up_to_it.rotate_right(1);
    }
    narrowed
}

/// The initiator's check of the responder's answer: there is something in it, and nothing that was not
/// offered.
#[must_use]
pub fn is_subset(answered: &[TrafficSelector], offered: &[TrafficSelector]) -> bool {
    !answered.is_empty() && answered.iter().all(|theirs| offered.iter().any(|ours| ours.contains(theirs)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{any_selector, ts};
    use super::*;

    fn all(texts: &[&str]) -> Vec<TrafficSelector> {
        texts.iter().map(|text| ts(text)).collect()
    }

    /// Configured, offered, answered.
    type Case = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

    #[test]
    fn the_answer_is_what_both_allow() {
        let table: &[Case] = &[
            (&["10.1.0.0/16"], &["10.1.0.0/16"], &["10.1.0.0/16"]),
            (&["10.1.0.0/16"], &["0.0.0.0/0"], &["10.1.0.0/16"]),
            (&["0.0.0.0/0"], &["10.1.0.0/16"], &["10.1.0.0/16"]),
            (&["10.1.0.0/16"], &["10.2.0.0/16"], &[]),
            (&["10.1.0.0/16"], &[], &[]),
            (&[], &["10.1.0.0/16"], &[]),
            (&["10.1.0.0/16", "10.2.0.0/16"], &["0.0.0.0/0"], &["10.1.0.0/16", "10.2.0.0/16"]),
            (&["10.1.0.0/16", "fec1::/64"], &["::/0", "0.0.0.0/0"], &["fec1::/64", "10.1.0.0/16"]),
            (&["10.1.0.0/16[tcp]"], &["10.0.0.0/8[udp]", "10.0.0.0/8"], &["10.1.0.0/16[tcp]"]),
            // The packet that made the initiator ask is covered, in front.
            (&["0.0.0.0/0"], &["10.1.0.5[tcp/80]", "10.1.0.0/16"], &["10.1.0.0/16"]),
            (
                &["10.2.0.0/16", "10.1.0.0/16"],
                &["10.1.0.5[udp/53]", "10.0.0.0/8"],
                &["10.1.0.0/16", "10.2.0.0/16"],
            ),
            // It is not acceptable, something else is.
            (&["10.2.0.0/16"], &["10.1.0.5[udp/53]", "10.0.0.0/8"], &["10.2.0.0/16"]),
            // The same twice, and one in another.
            (&["10.1.0.0/16", "10.1.0.0/16"], &["10.1.0.0/16", "10.1.7.0/24"], &["10.1.0.0/16"]),
        ];
        for (configured, offered, answered) in table {
            let narrowed = narrow(&all(configured), &all(offered));
            assert_eq!(narrowed, all(answered), "{configured:?} offered {offered:?}");
        }
    }

    #[test]
    fn the_answer_fits_a_payload() {
        let hosts: Vec<_> =
            (0u32..1000).map(|host| TrafficSelector::host(std::net::Ipv4Addr::from(host).into())).collect();
        assert_eq!(narrow(&hosts, &[TrafficSelector::any_v4()]).len(), 255);
    }

    #[test]
    fn the_initiator_accepts_only_less_than_it_offered() {
        let offered = all(&["10.1.0.0/16", "10.2.0.0/16[tcp]"]);
        assert!(is_subset(&offered, &offered));
        assert!(is_subset(&all(&["10.1.3.0/24", "10.2.0.0/17[tcp/80]"]), &offered));
        assert!(!is_subset(&all(&["10.1.3.0/24", "10.2.0.0/17"]), &offered));
        assert!(!is_subset(&all(&["0.0.0.0/0"]), &offered));
        assert!(!is_subset(&[], &offered));
    }

    proptest! {
        #[test]
        fn narrowing_yields_subsets_of_both(
            configured in proptest::collection::vec(any_selector(), 0..6),
            offered in proptest::collection::vec(any_selector(), 0..6),
        ) {
            let narrowed = narrow(&configured, &offered);
            if narrowed.is_empty() {
                let overlaps = configured.iter().any(|c| offered.iter().any(|o| c.intersect(o).is_some()));
                prop_assert!(!overlaps);
            } else {
                prop_assert!(is_subset(&narrowed, &offered));
                prop_assert!(is_subset(&narrowed, &configured));
            }
            // Nothing that both allow is lost.
            for both in configured.iter().flat_map(|c| offered.iter().filter_map(|o| c.intersect(o))) {
                prop_assert!(narrowed.iter().any(|answered| answered.contains(&both)));
            }
            if let Some(first) = offered.first()
                && configured.iter().any(|ours| ours.contains(first))
            {
                prop_assert!(narrowed[0].contains(first));
            }
        }
    }
}
