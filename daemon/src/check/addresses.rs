//! Addresses of this host, of peers, and of pools.

use std::net::IpAddr;

use ferry_ike::config::{AddressPattern, Connection};
use ferry_ike::lease::Pool;

use super::finding::Finding;
use super::{Subject, keys};

pub(super) fn look(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for connection in &subject.loaded.configuration.connections {
        ends(connection, subject, findings);
        names_of_pools(connection, subject, findings);
    }
    pools(subject, findings);
}

fn ends(connection: &Connection, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let ours = &subject.around.addresses;
    let hosts = |patterns: &[AddressPattern]| -> Vec<IpAddr> {
        let host = |pattern: &AddressPattern| match pattern {
            AddressPattern::Host(address) => Some(*address),
            _ => None,
        };
        patterns.iter().filter_map(host).collect()
    };
    let path = format!("connections.{}", connection.name);
    for address in hosts(&connection.local_addrs).into_iter().filter(|address| !ours.contains(address)) {
        let family: Vec<_> = ours
            .iter()
            .filter(|ours| ours.is_ipv4() == address.is_ipv4() && !ours.is_loopback())
            .map(ToString::to_string)
            .collect();
        let remedy = if family.is_empty() {
            "Write %any, or give the host the address.".to_owned()
        } else {
            format!("Write %any, or one of {}.", family.join(", "))
        };
        findings.push(Finding::warning(
            subject.place(&format!("{path}.local_addrs")),
            format!("{path}.local_addrs: this host does not have the address {address}"),
            remedy,
        ));
    }
    for address in hosts(&connection.remote_addrs).into_iter().filter(|address| ours.contains(address)) {
        findings.push(Finding::error(
            subject.place(&format!("{path}.remote_addrs")),
            format!("{path}.remote_addrs: {address} is an address of this host, not of a peer"),
            "Write the peer's address, and ours in local_addrs.",
        ));
    }
    let families = |patterns: &[AddressPattern]| {
        let hosts = hosts(patterns);
        let all_hosts = hosts.len() == patterns.len() && !hosts.is_empty();
        all_hosts.then(|| (hosts.iter().any(IpAddr::is_ipv4), hosts.iter().any(IpAddr::is_ipv6)))
    };
    if let (Some(near), Some(far)) = (families(&connection.local_addrs), families(&connection.remote_addrs))
        && !(near.0 && far.0)
        && !(near.1 && far.1)
    {
        findings.push(Finding::error(
            subject.place(&format!("{path}.remote_addrs")),
            format!("{path}: one end has IPv4 addresses alone, the other IPv6"),
            "Write addresses of one family in local_addrs and remote_addrs.",
        ));
    }
}

fn names_of_pools(connection: &Connection, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let path = format!("connections.{}.pools", connection.name);
    let written = subject.settings.section("pools").map(|pools| pools.sections()).unwrap_or_default();
    let names: Vec<&str> = written.iter().map(|pool| pool.name()).collect();
    for name in &connection.pools {
        // What RADIUS and DHCP servers lease has no section.
        if names.contains(&name.as_str()) || name == "radius" || name == "dhcp" {
            continue;
        }
        let remedy = match keys::nearest(name, names.iter().copied()) {
            Some(meant) => format!("Write '{meant}'."),
            None => format!("Make a section pools.{name} with addrs."),
        };
        findings.push(Finding::error(
            subject.place(&path),
            format!("{path}: there is no pool '{name}', so nobody gets an address from it"),
            remedy,
        ));
    }
}

fn pools(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let pools = &subject.loaded.pools;
    let mut before: Vec<&str> = Vec::new();
    for pool in pools.iter() {
        let path = format!("pools.{}", pool.name());
        let addrs = || subject.place(&format!("{path}.addrs"));
        if let Some(other) = pools.iter().find(|other| before.contains(&other.name()) && overlap(pool, other))
        {
            findings.push(Finding::error(
                addrs(),
                format!("{path}.addrs: the pool '{}' leases some of these addresses too", other.name()),
                "Write ranges that have no address in common.",
            ));
        }
        before.push(pool.name());
        if let Some(address) = subject.around.addresses.iter().find(|address| pool.contains(**address)) {
            findings.push(Finding::warning(
                addrs(),
                format!("{path}.addrs: {address}, which this host has itself, may be leased to a client"),
                "Write a range without it.",
            ));
        }
        let is_used = |connection: &Connection| connection.pools.iter().any(|name| name == pool.name());
        if subject.has_all_connections()
            && !subject.loaded.configuration.connections.iter().any(|connection| is_used(connection))
        {
            findings.push(Finding::warning(
                subject.place(&path),
                format!("{path}: no connection leases from this pool"),
                format!("Write pools = {} in the connection of the clients.", pool.name()),
            ));
        }
    }
}

/// Whether an address may be leased by both.
fn overlap(one: &Pool, other: &Pool) -> bool {
    one.contains(other.base()) || other.contains(one.base())
}
