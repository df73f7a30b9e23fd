//! How two ends agree on the mode of a CHILD_SA (RFC 7296 §1.3.1), and what a NAT does to the selectors of transport
//! mode (RFC 7296 §2.23.1).
//!
//! Tunnel mode is what is left: who asks for another mode and is not granted it gets tunnel mode, and both ends know.

use std::net::IpAddr;

use super::Core;
use crate::config::Mode;
use crate::selector::TrafficSelector;
use crate::wire::registry::NotifyType;
use crate::wire::{PayloadWriter, Payloads};

/// The mode that a request asks for, or that a response grants.
pub(crate) fn told(payloads: &Payloads<'_>) -> Mode {
    if payloads.notify(NotifyType::USE_TRANSPORT_MODE).is_some() {
        Mode::Transport
    } else if payloads.notify(NotifyType::USE_BEET_MODE).is_some() {
        Mode::Beet
    } else {
        Mode::Tunnel
    }
}

/// Asks for a mode, or grants it.
pub(crate) fn tell(mode: Mode, payloads: &mut PayloadWriter) {
    match mode {
        Mode::Tunnel => {}
        Mode::Transport => drop(payloads.notify(NotifyType::USE_TRANSPORT_MODE, &[])),
        Mode::Beet => drop(payloads.notify(NotifyType::USE_BEET_MODE, &[])),
    }
}

/// Whether selectors are such as a mode can carry: in transport mode the packets of the two ends themselves, in BEET
/// mode those of one address at each end.
pub(crate) fn suits(
    mode: Mode,
    core: &Core,
    local_ts: &[TrafficSelector],
    remote_ts: &[TrafficSelector],
) -> bool {
    let are_of = |selectors: &[TrafficSelector], addr| selectors.iter().all(|ts| ts.is_host(addr));
    let are_one = |selectors: &[TrafficSelector]| {
        selectors.first().is_some_and(|first| are_of(selectors, first.start_addr))
    };
    match mode {
        Mode::Tunnel => true,
        Mode::Transport => are_of(local_ts, core.path.local.ip()) && are_of(remote_ts, core.path.remote.ip()),
        Mode::Beet => are_one(local_ts) && are_one(remote_ts),
    }
}

/// Selectors of transport mode as this end sees the two hosts: `local_ts` and `remote_ts` came from the peer, which
/// sees them by other addresses if there is a NAT.
// RFC 7296 §2.23.1: "Do address substitution before using those Traffic Selectors for anything".
pub(crate) fn seen_from_here(
    core: &Core,
    local_ts: &[TrafficSelector],
    remote_ts: &[TrafficSelector],
) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
    let local = substitute(local_ts, core.nat.local_behind_nat, core.path.local.ip());
    let remote = substitute(remote_ts, core.nat.remote_behind_nat, core.path.remote.ip());
    (local, remote)
}

/// Puts `address` in the place of the one address that all selectors are about. Selectors of several addresses are no
/// peer's that a NAT has hidden; they stay, and will not suit transport mode.
fn substitute(selectors: &[TrafficSelector], is_behind_nat: bool, address: IpAddr) -> Vec<TrafficSelector> {
    let before = selectors.first().map(|first| first.start_addr);
    let is_one = before.is_some_and(|addr| selectors.iter().all(|ts| ts.is_host(addr)));
    if !is_behind_nat || !is_one {
        return selectors.to_vec();
    }
    selectors.iter().map(|ts| TrafficSelector::host(address).with(ts.protocol, ts.ports())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::SelectorPattern;

    fn selectors(texts: &[&str]) -> Vec<TrafficSelector> {
        texts
            .iter()
            .flat_map(|text| SelectorPattern::parse(text).expect("the selector parses").resolve(&[]))
            .collect()
    }

    #[test]
    fn only_selectors_of_one_address_are_put_behind_the_nat() {
        let outside: IpAddr = "192.0.2.9".parse().expect("address");
        let table: &[(&[&str], bool, &[&str])] = &[
            (&["10.0.0.1[tcp/80]", "10.0.0.1[udp]"], true, &["192.0.2.9[tcp/80]", "192.0.2.9[udp]"]),
            (&["10.0.0.1"], false, &["10.0.0.1"]),
            (&["10.0.0.1", "10.0.0.2"], true, &["10.0.0.1", "10.0.0.2"]),
            (&["10.0.0.0/24"], true, &["10.0.0.0/24"]),
            (&[], true, &[]),
        ];
        for (before, is_behind_nat, after) in table {
            assert_eq!(substitute(&selectors(before), *is_behind_nat, outside), selectors(after));
        }
    }
}
