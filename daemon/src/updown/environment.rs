//! What a script is told, in the words of FreeS/WAN's pluto, which charon's scripts know.

use std::net::IpAddr;

use ferry_ike::selector::TrafficSelector;
use ferry_ike::status::{ChildSaStatus, IkeSaStatus};

use crate::control::ChildNumbers;

/// Names and values.
pub(super) type Variables = Vec<(String, String)>;

/// What neither SA knows of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Circumstances {
    /// The interface that has our outer address.
    pub(super) interface: Option<String>,
    /// The child's numbers in the kernel.
    pub(super) numbers: Option<ChildNumbers>,
    /// The script may be told of DNS servers.
    pub(super) tells_dns: bool,
}

/// The variables for each pair of traffic selectors that has traffic.
pub(super) fn of(
    is_up: bool,
    ike_sa: &IkeSaStatus,
    child_sa: &ChildSaStatus,
    circumstances: &Circumstances,
) -> Vec<Variables> {
    let mut sets = Vec::new();
    for local in &child_sa.local_ts {
        for remote in &child_sa.remote_ts {
            let is_of_both = local.protocol == remote.protocol || local.protocol == 0 || remote.protocol == 0;
            if local.family() == remote.family() && is_of_both {
                sets.push(of_pair(is_up, ike_sa, child_sa, circumstances, (local, remote)));
            }
        }
    }
    sets
}

fn of_pair(
    is_up: bool,
    ike_sa: &IkeSaStatus,
    child_sa: &ChildSaStatus,
    circumstances: &Circumstances,
    (local, remote): (&TrafficSelector, &TrafficSelector),
) -> Variables {
    let mut variables = Variables::new();
    let mut say = |name: &str, value: String| variables.push((format!("PLUTO_{name}"), value));
    let (me, peer) = (ike_sa.local.ip(), ike_sa.remote.ip());
    let numbers = circumstances.numbers.unwrap_or_default();
    let reqid = if numbers.reqid == 0 { child_sa.reqid } else { numbers.reqid };
    let identity = |id: &Option<ferry_ike::identity::Identity>| {
        id.as_ref().map_or_else(|| "%any".to_owned(), ToString::to_string)
    };
    say("VERSION", "1.1".into());
    say("VERB", verb(is_up, me, local));
    say("CONNECTION", child_sa.name.clone());
    say("INTERFACE", circumstances.interface.clone().unwrap_or_else(|| "unknown".into()));
    say("REQID", reqid.to_string());
    say("PROTO", "esp".into());
    say("UNIQUEID", ike_sa.id.to_string());
    say("ME", me.to_string());
    say("MY_ID", identity(&ike_sa.local_id));
    say("MY_CLIENT", network(local));
    say("MY_PORT", port(local));
    say("MY_PROTOCOL", local.protocol.to_string());
    say("PEER", peer.to_string());
    say("PEER_ID", identity(&ike_sa.remote_id));
    say("PEER_CLIENT", network(remote));
    say("PEER_PORT", port(remote));
    say("PEER_PROTOCOL", remote.protocol.to_string());
    if let Some(id) = &ike_sa.remote_eap_id {
        say("XAUTH_ID", id.to_string());
    }
    for (whose, addresses) in [("MY", &ike_sa.local_vips), ("PEER", &ike_sa.remote_vips)] {
        if let Some(first) = addresses.first() {
            say(&format!("{whose}_SOURCEIP"), first.to_string());
        }
        for (suffix, address) in numbered(addresses) {
            say(&format!("{whose}_SOURCEIP{suffix}"), address.to_string());
        }
    }
    for (way, (mark, mask)) in [("IN", numbers.mark_in), ("OUT", numbers.mark_out)] {
        if mark != 0 {
            say(&format!("MARK_{way}"), format!("{mark}/0x{mask:08x}"));
        }
    }
    for (way, interface) in [("IN", numbers.interface_in), ("OUT", numbers.interface_out)] {
        if interface != 0 {
            say(&format!("IF_ID_{way}"), interface.to_string());
        }
    }
    for (suffix, server) in numbered(&ike_sa.dns).filter(|_| circumstances.tells_dns) {
        say(&format!("DNS{suffix}"), server.to_string());
    }
    if child_sa.encapsulated {
        say("UDP_ENC", ike_sa.remote.port().to_string());
    }
    if child_sa.child.host_access {
        say("HOST_ACCESS", "1".into());
    }
    variables
}

/// Addresses by the version of IP, and numbered in each: `4_1`, `4_2`, `6_1`.
fn numbered(addresses: &[IpAddr]) -> impl Iterator<Item = (String, IpAddr)> {
    [(true, 4), (false, 6)].into_iter().flat_map(|(is_v4, family)| {
        let of_family = addresses.iter().copied().filter(move |address| address.is_ipv4() == is_v4);
        (1..).zip(of_family).map(move |(number, address)| (format!("{family}_{number}"), address))
    })
}

/// What has happened, to whom, and in which version of IP.
fn verb(is_up: bool, me: IpAddr, local: &TrafficSelector) -> String {
    let event = if is_up { "up" } else { "down" };
    let whom = if local.is_host(me) { "host" } else { "client" };
    let version = if me.is_ipv4() { "" } else { "-v6" };
    format!("{event}-{whom}{version}")
}

/// The smallest network with all addresses of a selector.
fn network(selector: &TrafficSelector) -> String {
    let (first, last) = (selector.start_addr, selector.end_addr);
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let bits = (first.to_bits() ^ last.to_bits()).leading_zeros();
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            format!("{}/{bits}", std::net::Ipv4Addr::from_bits(first.to_bits() & mask))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let bits = (first.to_bits() ^ last.to_bits()).leading_zeros();
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            format!("{}/{bits}", std::net::Ipv6Addr::from_bits(first.to_bits() & mask))
        }
        // A selector has one family.
        _ => format!("{first}/0"),
    }
}

/// The one port; 0 for several.
fn port(selector: &TrafficSelector) -> String {
    let one = (selector.start_port == selector.end_port).then_some(selector.start_port);
    one.unwrap_or(0).to_string()
}

#[cfg(test)]
mod tests {
    use ferry_ike::selector::SelectorPattern;

    use super::*;
    use crate::control::tests::{child_sa, ike_sa};

    fn selector(text: &str) -> TrafficSelector {
        SelectorPattern::parse(text).unwrap().resolve(&[])[0]
    }

    fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
        variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn there_is_a_set_for_each_pair_that_has_traffic() {
        let mut child = child_sa(7, "lan");
        child.local_ts = vec![selector("10.1.0.0/16"), selector("fd01::/64")];
        child.remote_ts = vec![selector("10.2.0.0/16[tcp/80]"), selector("fd02::1-fd02::6")];
        let mut ike = ike_sa(3, "gw", vec![]);
        ike.dns = ["10.1.0.53", "fd01::53", "10.1.0.54"].map(|server| server.parse().unwrap()).to_vec();
        let numbers =
            ChildNumbers { reqid: 9, mark_in: (5, 0xff), interface_out: 42, ..ChildNumbers::default() };
        let circumstances =
            Circumstances { interface: Some("eth0".into()), numbers: Some(numbers), tells_dns: true };
        let sets = of(true, &ike, &child, &circumstances);
        let [four, six] = sets.as_slice() else { panic!("{sets:?}") };
        for (name, expected) in [
            ("PLUTO_VERB", Some("up-client")),
            ("PLUTO_CONNECTION", Some("lan")),
            ("PLUTO_INTERFACE", Some("eth0")),
            ("PLUTO_REQID", Some("9")),
            ("PLUTO_UNIQUEID", Some("3")),
            ("PLUTO_MY_CLIENT", Some("10.1.0.0/16")),
            ("PLUTO_MY_PORT", Some("0")),
            ("PLUTO_PEER_CLIENT", Some("10.2.0.0/16")),
            ("PLUTO_PEER_PORT", Some("80")),
            ("PLUTO_PEER_PROTOCOL", Some("6")),
            ("PLUTO_MARK_IN", Some("5/0x000000ff")),
            ("PLUTO_MARK_OUT", None),
            ("PLUTO_IF_ID_OUT", Some("42")),
            ("PLUTO_UDP_ENC", None),
            ("PLUTO_HOST_ACCESS", None),
            ("PLUTO_DNS4_1", Some("10.1.0.53")),
            ("PLUTO_DNS4_2", Some("10.1.0.54")),
            ("PLUTO_DNS6_1", Some("fd01::53")),
        ] {
            assert_eq!(value(four, name), expected, "{name}");
        }
        assert_eq!(value(six, "PLUTO_PEER_CLIENT"), Some("fd02::/125"));
        let silent = of(true, &ike, &child, &Circumstances::default());
        assert!(silent.iter().flatten().all(|(name, _)| !name.starts_with("PLUTO_DNS")), "{silent:?}");
    }

    #[test]
    fn a_host_is_told_from_what_is_behind_it() {
        let me: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(verb(true, me, &selector("192.0.2.1")), "up-host");
        assert_eq!(verb(false, me, &selector("10.1.0.0/16")), "down-client");
        assert_eq!(verb(true, "fd00::1".parse().unwrap(), &selector("fd00::1")), "up-host-v6");
        assert_eq!(network(&selector("0.0.0.0/0")), "0.0.0.0/0");
        assert_eq!(network(&selector("10.0.0.9")), "10.0.0.9/32");
    }
}
