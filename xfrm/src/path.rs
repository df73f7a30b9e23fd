//! The way to a peer beneath the tunnels: a routing decision that leaves some tables out.
//!
//! The kernel can be asked which route a packet takes, but not "without table 220". Where its
//! answer comes from a table that does not count, the decision is made here from the rules and
//! routes themselves, as the kernel makes it for a packet that is not bound to anything.

use std::net::IpAddr;

use crate::message::interface::AddressEntry;
use crate::message::route::{RouteEntry, RouteKind, Rule};
use crate::prefix::common_bits;

/// How packets reach an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// The local address they leave from.
    pub source: IpAddr,
    /// Index of the interface they leave through.
    pub interface: u32,
    /// The router they are handed to; `None` on the same link.
    pub gateway: Option<IpAddr>,
}

/// The route an unbound packet with this mark takes to `destination`, asking the rules in order of
/// priority and passing over the ignored tables. `None`: there is none, or it is one that refuses.
///
/// Rules that look at anything but the mark (source, interface, user, ports) are not asked: what
/// they would see is not known before the path is.
pub(crate) fn choose_route<'a>(
    destination: IpAddr,
    rules: &[Rule],
    routes: &'a [RouteEntry],
    mark: u32,
    ignored_tables: &[u32],
) -> Option<&'a RouteEntry> {
    let mut rules: Vec<&Rule> = rules.iter().filter(|rule| rule.applies_to(mark)).collect();
    rules.sort_by_key(|rule| rule.priority); // stable: equal ones stay in the kernel's order
    for rule in rules {
        if ignored_tables.contains(&rule.table) {
            continue;
        }
        let best = routes
            .iter()
            .filter(|route| route.table == rule.table && route.is_alive)
            .filter(|route| route.destination.contains(destination))
            .min_by_key(|route| (u8::MAX - route.destination.length(), route.metric));
        match best {
            Some(route) if rule.suppress_prefix_length.is_some_and(|s| route.destination.length() <= s) => {}
            Some(route) if route.kind == RouteKind::THROW => {}
            Some(route) if matches!(route.kind, RouteKind::UNICAST | RouteKind::LOCAL) => return Some(route),
            Some(_) => return None, // unreachable, prohibit, blackhole
            None => {}
        }
    }
    None
}

/// The local address to send from, where the route names none: on the outgoing interface if it has
/// one that fits, nearest to the next hop (IPv4) or to the destination (IPv6, RFC 6724 rule 8).
/// Addresses in `excluded` (virtual IPs, which belong inside the tunnels) are not taken.
pub(crate) fn choose_source(
    destination: IpAddr,
    route: &RouteEntry,
    addresses: &[AddressEntry],
    excluded: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let near = match route.gateway {
        Some(gateway) if gateway.is_ipv4() && destination.is_ipv4() => gateway,
        _ => destination,
    };
    let fits = |entry: &&AddressEntry| {
        let address = entry.address;
        address.is_ipv4() == destination.is_ipv4()
            && entry.is_usable()
            && (!entry.is_loopback() || destination.is_loopback())
            && (!entry.is_link_local() || is_link_local(destination))
            && !excluded(address)
    };
    addresses
        .iter()
        .rev() // so that of equals the first configured wins
        .filter(fits)
        .max_by_key(|entry| {
            let is_on_interface = Some(entry.interface) == route.interface;
            (is_on_interface, !entry.is_deprecated(), common_bits(entry.address, near))
        })
        .map(|entry| entry.address)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::AF_INET;

    const DEPRECATED: u32 = 0x20;
    const TENTATIVE: u32 = 0x40;
    const LINK: u8 = 253;
    const HOST: u8 = 254;

    fn rule(priority: u32, table: u32) -> Rule {
        Rule {
            family: AF_INET,
            priority,
            table,
            mark: 0,
            mask: 0,
            is_inverted: false,
            suppress_prefix_length: None,
        }
    }

    fn route(destination: &str, table: u32, interface: u32) -> RouteEntry {
        RouteEntry {
            destination: destination.parse().unwrap(),
            table,
            kind: RouteKind::UNICAST,
            interface: Some(interface),
            gateway: None,
            source: None,
            metric: 0,
            mtu: None,
            mss: None,
            is_alive: true,
            is_cached: false,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn rules() -> Vec<Rule> {
        vec![rule(32766, 254), rule(0, 255), rule(220, 220), rule(32767, 253)]
    }

    fn interface_to(destination: &str, rules: &[Rule], routes: &[RouteEntry]) -> Option<u32> {
        choose_route(ip(destination), rules, routes, 0, &[220])?.interface
    }

    #[test]
    fn the_tunnels_table_does_not_count() {
        let routes = [route("0.0.0.0/0", 254, 2), route("0.0.0.0/0", 220, 9)];
        assert_eq!(interface_to("198.51.100.1", &rules(), &routes), Some(2));
        assert_eq!(interface_to("198.51.100.1", &rules(), &routes[1..]), None);
    }

    #[test]
    fn the_longest_prefix_wins_then_the_lowest_metric() {
        let routes = [
            RouteEntry { metric: 100, ..route("0.0.0.0/0", 254, 2) },
            RouteEntry { metric: 50, ..route("0.0.0.0/0", 254, 3) },
            RouteEntry { metric: 900, ..route("198.51.100.0/24", 254, 4) },
        ];
        assert_eq!(interface_to("198.51.100.1", &rules(), &routes), Some(4));
        assert_eq!(interface_to("203.0.113.1", &rules(), &routes), Some(3));
    }

    #[test]
    fn an_earlier_rule_wins_over_a_longer_prefix() {
        let mut rules = rules();
        rules.push(rule(100, 1000));
        let routes = [route("198.51.100.0/24", 254, 4), route("0.0.0.0/0", 1000, 5)];
        assert_eq!(interface_to("198.51.100.1", &rules, &routes), Some(5));
    }

    #[test]
    fn dead_thrown_suppressed_and_refusing_routes() {
        let dead =
            [RouteEntry { is_alive: false, ..route("198.51.100.0/24", 254, 4) }, route("0.0.0.0/0", 254, 2)];
        assert_eq!(interface_to("198.51.100.1", &rules(), &dead), Some(2));

        let mut more_rules = rules();
        more_rules.push(rule(100, 1000));
        let thrown = [
            RouteEntry { kind: RouteKind::THROW, ..route("198.51.100.1/32", 1000, 5) },
            route("0.0.0.0/0", 1000, 5),
            route("0.0.0.0/0", 254, 2),
        ];
        assert_eq!(interface_to("198.51.100.1", &more_rules, &thrown), Some(2));
        assert_eq!(interface_to("198.51.100.2", &more_rules, &thrown), Some(5));

        let suppressing = Rule { suppress_prefix_length: Some(0), ..rule(100, 1000) };
        let suppressed = [route("0.0.0.0/0", 1000, 5), route("0.0.0.0/0", 254, 2)];
        assert_eq!(interface_to("198.51.100.1", &[suppressing, rule(200, 254)], &suppressed), Some(2));

        let prohibit = [
            RouteEntry { kind: RouteKind(8), ..route("198.51.100.0/24", 254, 4) },
            route("0.0.0.0/0", 254, 2),
        ];
        assert_eq!(interface_to("198.51.100.1", &rules(), &prohibit), None);
    }

    #[test]
    fn marked_packets_take_the_marked_rules() {
        let marked = Rule { mark: 0x1a, mask: 0xff, ..rule(100, 1000) };
        let rules = [marked, rule(200, 254)];
        let routes = [route("0.0.0.0/0", 1000, 5), route("0.0.0.0/0", 254, 2)];
        let to = |mark| choose_route(ip("198.51.100.1"), &rules, &routes, mark, &[]).unwrap().interface;
        assert_eq!((to(0x1a), to(0)), (Some(5), Some(2)));
    }

    #[test]
    fn a_source_is_on_the_outgoing_interface_and_near_the_next_hop() {
        let addresses = [
            AddressEntry::for_test("127.0.0.1/8", 1, HOST, 0),
            AddressEntry::for_test("10.0.0.1/24", 2, 0, 0),
            AddressEntry::for_test("192.0.2.7/24", 2, 0, 0),
            AddressEntry::for_test("192.0.2.8/24", 2, 0, 0),
            AddressEntry::for_test("192.0.2.9/32", 3, 0, 0),
        ];
        let via = RouteEntry { gateway: Some(ip("192.0.2.254")), ..route("0.0.0.0/0", 254, 2) };
        let source = |route: &RouteEntry, virtual_ip: &str| {
            choose_source(ip("198.51.100.1"), route, &addresses, |address| address == ip(virtual_ip))
        };
        assert_eq!(source(&via, "0.0.0.0"), Some(ip("192.0.2.7")));
        assert_eq!(source(&via, "192.0.2.7"), Some(ip("192.0.2.8")), "no virtual IP is a source");
        let unnumbered = route("0.0.0.0/0", 254, 4);
        assert!(source(&unnumbered, "0.0.0.0").is_some(), "any address when the interface has none");
        assert_eq!(choose_source(ip("2001:db8::1"), &via, &addresses, |_| false), None);
    }

    #[test]
    fn ipv6_sources_are_global_ready_and_preferred() {
        let addresses = [
            AddressEntry::for_test("fe80::1/64", 2, LINK, 0),
            AddressEntry::for_test("2001:db8:1::1/64", 2, 0, TENTATIVE),
            AddressEntry::for_test("2001:db8:1::2/64", 2, 0, DEPRECATED),
            AddressEntry::for_test("2001:db8:2::3/64", 2, 0, 0),
        ];
        let via = RouteEntry { gateway: Some(ip("fe80::ff")), ..route("::/0", 254, 2) };
        assert_eq!(
            choose_source(ip("2001:db8:1::9"), &via, &addresses, |_| false),
            Some(ip("2001:db8:2::3"))
        );
        assert_eq!(choose_source(ip("fe80::9"), &via, &addresses[..1], |_| false), Some(ip("fe80::1")));
    }
}
