//! What children carry, and when.

use std::sync::Arc;

use ferry_ike::config::{AddressPattern, Child, ChildAction, Childless, Connection};
use ferry_ike::selector::{Family, SelectorPattern};

use super::Subject;
use super::finding::Finding;

pub(super) fn look(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let connections = &subject.loaded.configuration.connections;
    for (number, connection) in connections.iter().enumerate() {
        let path = format!("connections.{}", connection.name);
        if connection.children.is_empty() && connection.childless != Childless::Force {
            findings.push(Finding::warning(
                subject.place(&path),
                format!("{path} has no children, so it carries nothing"),
                "Write a section children with a section for each kind of traffic.",
            ));
        }
        for child in &connection.children {
            let path = format!("{path}.children.{}", child.name);
            starts(connection, child, &path, subject, findings);
            clients(connection, child, &path, subject, findings);
            selectors(child, &path, subject, findings);
        }
        let before = connections.get(..number).unwrap_or_default();
        twins(connection, before, subject, findings);
        shadows(connection, before, subject, findings);
    }
}

/// When it is made, and whether that can be.
fn starts(
    connection: &Connection,
    child: &Child,
    path: &str,
    subject: &Subject<'_>,
    findings: &mut Vec<Finding>,
) {
    let is_peer =
        |pattern: &AddressPattern| matches!(pattern, AddressPattern::Host(_) | AddressPattern::Name(..));
    if child.start_action.starts() && !connection.remote_addrs.iter().any(is_peer) {
        findings.push(Finding::error(
            subject.place(&format!("{path}.start_action")),
            format!("{path} is to be started, but remote_addrs does not say where the peer is"),
            "Write the peer's address in remote_addrs, or wait for the peer without start_action.",
        ));
    }
    if child.dpd_action != ChildAction::None && connection.dpd_delay.is_none() {
        findings.push(Finding::warning(
            subject.place(&format!("{path}.dpd_action")),
            format!("{path}.dpd_action hardly ever happens, as nobody asks whether the peer lives"),
            format!("Write dpd_delay = 30s in connections.{}.", connection.name),
        ));
    }
    if let (Some(rekey), Some(life)) = (child.rekey_time, child.life_time)
        && life <= rekey
    {
        findings.push(Finding::warning(
            subject.place(&format!("{path}.life_time")),
            format!(
                "{path} ends after {} s, before it is rekeyed after {} s",
                life.as_secs(),
                rekey.as_secs()
            ),
            "Write a life_time that is longer than rekey_time, or leave it out.",
        ));
    }
}

/// Clients with virtual IPs, and ourselves as one.
fn clients(
    connection: &Connection,
    child: &Child,
    path: &str,
    subject: &Subject<'_>,
    findings: &mut Vec<Finding>,
) {
    if child.mode().is_none() {
        return;
    }
    let is_dynamic = |pattern: &SelectorPattern| matches!(pattern, SelectorPattern::Dynamic { .. });
    if !connection.pools.is_empty() && !child.remote_ts.iter().any(is_dynamic) {
        findings.push(Finding::warning(
            subject.place(&format!("{path}.remote_ts")),
            format!("{path}.remote_ts does not follow the addresses that clients are leased"),
            "Leave remote_ts out, or write dynamic.",
        ));
    }
    if !connection.pools.is_empty() && connection.vips.is_empty() && child.local_ts.iter().all(is_dynamic) {
        findings.push(Finding::warning(
            subject.place(&format!("{path}.local_ts")),
            format!("{path}: clients reach this host alone, and nothing behind it"),
            "Write the networks they are to reach in local_ts, or 0.0.0.0/0 for all.",
        ));
    }
    if !connection.vips.is_empty() && !child.local_ts.iter().any(is_dynamic) {
        findings.push(Finding::warning(
            subject.place(&format!("{path}.local_ts")),
            format!("{path}.local_ts does not follow the virtual IP that is asked for"),
            "Leave local_ts out, or write dynamic.",
        ));
    }
}

fn selectors(child: &Child, path: &str, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let families = |patterns: &[SelectorPattern]| -> Option<Vec<Family>> {
        let family = |pattern: &SelectorPattern| match pattern {
            SelectorPattern::Fixed(selector) => Some(selector.family()),
            SelectorPattern::Dynamic { .. } => None,
        };
        patterns.iter().map(family).collect()
    };
    if let (Some(near), Some(far)) = (families(&child.local_ts), families(&child.remote_ts))
        && !near.iter().any(|family| far.contains(family))
    {
        findings.push(Finding::error(
            subject.place(&format!("{path}.remote_ts")),
            format!("{path}: no packet goes between local_ts and remote_ts, which are of different families"),
            "Write selectors of one family on both sides.",
        ));
    }
}

/// Of two connections for the same callers the second is never taken.
fn twins(
    connection: &Connection,
    before: &[Arc<Connection>],
    subject: &Subject<'_>,
    findings: &mut Vec<Finding>,
) {
    let is_for_callers =
        |one: &Connection| one.remote_addrs.iter().all(|p| !matches!(p, AddressPattern::Host(_)));
    let is_twin = |other: &&Arc<Connection>| {
        other.local_addrs == connection.local_addrs
            && other.remote_addrs == connection.remote_addrs
            && other.version == connection.version
            && other.remote == connection.remote
            && other.local == connection.local
            && other.proposals == connection.proposals
    };
    if !is_for_callers(connection) {
        return;
    }
    if let Some(twin) = before.iter().find(is_twin) {
        let path = format!("connections.{}", connection.name);
        findings.push(Finding::warning(
            subject.place(&path),
            format!("{path} is for the same callers as connections.{}, which is always taken", twin.name),
            "Tell them apart by remote_addrs, or by the id in their remote sections.",
        ));
    }
}

/// Of two children for the same packets one gets them all.
fn shadows(
    connection: &Connection,
    before: &[Arc<Connection>],
    subject: &Subject<'_>,
    findings: &mut Vec<Finding>,
) {
    let acts = |child: &Child| child.start_action != ChildAction::None && child.mode().is_some();
    let fixed =
        |patterns: &[SelectorPattern]| patterns.iter().all(|p| matches!(p, SelectorPattern::Fixed(_)));
    let same = |one: &[SelectorPattern], other: &[SelectorPattern]| {
        one.len() == other.len() && one.iter().all(|pattern| other.contains(pattern))
    };
    for (number, child) in connection.children.iter().enumerate() {
        let siblings = connection.children.get(..number).unwrap_or_default();
        let others =
            before.iter().flat_map(|other| other.children.iter().map(move |child| (&other.name, child)));
        let shadow =
            siblings.iter().map(|child| (&connection.name, child)).chain(others).find(|(_, other)| {
                acts(child)
                    && acts(other)
                    && child.labels == other.labels
                    && fixed(&child.local_ts)
                    && fixed(&child.remote_ts)
                    && same(&child.local_ts, &other.local_ts)
                    && same(&child.remote_ts, &other.remote_ts)
            });
        if let Some((owner, other)) = shadow {
            let path = format!("connections.{}.children.{}", connection.name, child.name);
            findings.push(Finding::warning(
                subject.place(&path),
                format!("{path} is for the same packets as connections.{owner}.children.{}", other.name),
                "Give the two selectors that differ, or remove one.",
            ));
        }
    }
}
