//! The set of counters.

use ferry_ike::status::{Counters, ExchangeCounters};
use ferry_vici::Section;

/// What was counted since `before`.
pub(in crate::vici_server) fn render(now: &Counters, before: &Counters) -> Section {
    let mut section = Section::new()
        .with("ike-rekey-init", now.ike_rekeyed_by_us.saturating_sub(before.ike_rekeyed_by_us))
        .with("ike-rekey-resp", now.ike_rekeyed_by_peer.saturating_sub(before.ike_rekeyed_by_peer))
        .with("child-rekey", now.children_rekeyed.saturating_sub(before.children_rekeyed))
        .with("invalid", now.invalid.saturating_sub(before.invalid))
        .with("invalid-spi", now.invalid_spi.saturating_sub(before.invalid_spi));
    let exchanges: [(&str, &ExchangeCounters, &ExchangeCounters); 4] = [
        ("ike-init", &now.ike_sa_init, &before.ike_sa_init),
        ("ike-auth", &now.ike_auth, &before.ike_auth),
        ("create-child", &now.create_child_sa, &before.create_child_sa),
        ("info", &now.informational, &before.informational),
    ];
    for (name, now, before) in exchanges {
        section.push(format!("{name}-in-req"), now.requests_in.saturating_sub(before.requests_in));
        section.push(format!("{name}-in-resp"), now.responses_in.saturating_sub(before.responses_in));
        section.push(format!("{name}-out-req"), now.requests_out.saturating_sub(before.requests_out));
        section.push(format!("{name}-out-resp"), now.responses_out.saturating_sub(before.responses_out));
    }
    section
}

#[cfg(test)]
mod tests {
    use ferry_vici::dump;

    use super::*;

    #[test]
    fn all_keys_are_there_in_charons_order() {
        let exchange = |n| ExchangeCounters {
            requests_in: n,
            responses_in: n + 1,
            requests_out: n + 2,
            responses_out: n + 3,
        };
        let now = Counters {
            ike_rekeyed_by_us: 7,
            ike_rekeyed_by_peer: 8,
            children_rekeyed: 9,
            invalid: 5,
            invalid_spi: 6,
            ike_sa_init: exchange(10),
            ike_auth: exchange(20),
            create_child_sa: exchange(30),
            informational: exchange(40),
            ..Counters::default()
        };
        let before =
            Counters { children_rekeyed: 4, invalid: 2, ike_sa_init: exchange(1), ..Counters::default() };
        assert_eq!(
            dump::raw("c", &render(&now, &before)),
            "c {ike-rekey-init=7 ike-rekey-resp=8 child-rekey=5 invalid=3 invalid-spi=6 \
             ike-init-in-req=9 ike-init-in-resp=9 ike-init-out-req=9 ike-init-out-resp=9 \
             ike-auth-in-req=20 ike-auth-in-resp=21 ike-auth-out-req=22 ike-auth-out-resp=23 \
             create-child-in-req=30 create-child-in-resp=31 create-child-out-req=32 create-child-out-resp=33 \
             info-in-req=40 info-in-resp=41 info-out-req=42 info-out-resp=43}"
        );
    }
}
