//! `list-conn`: a connection as it was loaded.

use std::time::Duration;

use ferry_ike::config::{AuthClass, Child, ChildAction, EapMethods, Mode, Processing, Unique, Version};
use ferry_ike::crypto::signature::PublicKey;
use ferry_ike::identity::Identity;
use ferry_ike::pki::Certificate;
use ferry_vici::{Message, Section};

use crate::connections::{Parsed, display_address};

/// The event for one connection.
pub(in crate::vici_server) fn list_conn(parsed: &Parsed) -> Message {
    let connection = &parsed.connection;
    let mut section = Section::new()
        .with_list("local_addrs", connection.local_addrs.iter().map(|addr| display_address(addr).to_string()))
        .with_list(
            "remote_addrs",
            connection.remote_addrs.iter().map(|addr| display_address(addr).to_string()),
        )
        .with("version", version(connection.version))
        .with("reauth_time", seconds(connection.reauth_time))
        .with("rekey_time", seconds(connection.rekey_time))
        .with("unique", unique(connection.unique))
        .with_some("dpd_delay", connection.dpd_delay.map(|delay| delay.as_secs()))
        .with_some("dpd_timeout", Some(parsed.dpd_timeout.as_secs()).filter(|timeout| *timeout != 0));
    for (number, round) in (1..).zip(&connection.local) {
        // As charon has it: a raw public key goes by the name of who has it.
        let named =
            round.public_keys.first().map(PublicKey::identity).filter(|_| round.certificates.is_empty());
        let raw_keys = subjects_of(&round.public_keys, round.id.as_ref());
        let shown = round.id.as_ref().or(named.as_ref());
        let id = shown.map(ToString::to_string);
        let eap = [("aaa_id", round.aaa_id.as_ref()), ("eap_id", round.eap_id.as_ref())];
        section.push_section(
            format!("local-{number}"),
            auth(id, Some(round.class), eap, &[], [&round.certificates, &[]], &raw_keys),
        );
    }
    for (number, round) in (1..).zip(&connection.remote) {
        let id = Some(&round.id).filter(|id| !id.is_any()).map(ToString::to_string);
        let eap = [("aaa_id", None), ("eap_id", round.eap_id.as_ref())];
        let raw_keys = subjects_of(&round.public_keys, Some(&round.id));
        let certificates = [&*round.trust.certificates, &*round.trust.authorities];
        section.push_section(
            format!("remote-{number}"),
            auth(id, round.class, eap, &round.groups, certificates, &raw_keys),
        );
    }
    let mut children = Section::new();
    for configured in &connection.children {
        children.push_section(&configured.name, child(configured));
    }
    Message::new().with_section(&connection.name, section.with_section("children", children))
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Any => "IKEv1/2", // charon's word for a connection that does not say
        Version::V2 => "IKEv2",
    }
}

fn unique(unique: Unique) -> &'static str {
    match unique {
        Unique::Never => "UNIQUE_NEVER",
        Unique::No => "UNIQUE_NO",
        Unique::Replace => "UNIQUE_REPLACE",
        Unique::Keep => "UNIQUE_KEEP",
    }
}

fn auth(
    id: Option<String>,
    class: Option<AuthClass>,
    eap: [(&str, Option<&Identity>); 2],
    groups: &[Identity],
    [certificates, authorities]: [&[Certificate]; 2],
    raw_keys: &[String],
) -> Section {
    let (class, eap_type) = match class {
        None => (None, None),
        Some(AuthClass::Null) => (Some("NULL"), None),
        Some(AuthClass::Psk) => (Some("pre-shared key"), None),
        Some(AuthClass::PublicKey) => (Some("public key"), None),
        Some(AuthClass::Eap(EapMethods::Any)) => (Some("EAP"), None),
        Some(AuthClass::Eap(EapMethods::Dynamic)) => (Some("EAP"), Some("EAP_DYNAMIC".to_owned())),
        Some(AuthClass::Eap(EapMethods::Relay)) => (Some("EAP"), Some("EAP_RADIUS".to_owned())),
        Some(AuthClass::Eap(EapMethods::One(method))) => (Some("EAP"), Some(method.to_string())),
    };
    let mut section =
        Section::new().with_some("id", id).with_some("class", class).with_some("eap-type", eap_type);
    for (key, identity) in eap {
        section = section.with_some(key, identity.map(ToString::to_string));
    }
    section.push_list("groups", groups.iter().map(ToString::to_string));
    section.push_list("cert_policy", Vec::<&str>::new());
    let subjects = |certificates: &[Certificate]| {
        certificates.iter().map(|certificate| certificate.subject().to_string()).collect::<Vec<_>>()
    };
    section.push_list("certs", subjects(certificates).iter().chain(raw_keys));
    section.push_list("cacerts", subjects(authorities));
    section
}

/// The names that raw public keys go by.
fn subjects_of(keys: &[PublicKey], id: Option<&Identity>) -> Vec<String> {
    keys.iter().map(|key| id.map_or_else(|| key.identity().to_string(), ToString::to_string)).collect()
}

fn child(child: &Child) -> Section {
    Section::new()
        .with("mode", processing(child.processing))
        .with("rekey_time", seconds(child.rekey_time))
        .with("rekey_bytes", child.bytes.rekey.unwrap_or(0))
        .with("rekey_packets", child.packets.rekey.unwrap_or(0))
        .with("dpd_action", action(child.dpd_action))
        .with("close_action", action(child.close_action))
        .with_list("local-ts", child.local_ts.iter().map(ToString::to_string))
        .with_list("remote-ts", child.remote_ts.iter().map(ToString::to_string))
}

/// Charon's word for a mode or for the treatment without an SA.
pub(in crate::vici_server) fn processing(processing: Processing) -> &'static str {
    match processing {
        Processing::Protect(Mode::Tunnel) => "TUNNEL",
        Processing::Protect(Mode::Transport) => "TRANSPORT",
        Processing::Protect(Mode::Beet) => "BEET",
        Processing::Pass => "PASS",
        Processing::Drop => "DROP",
    }
}

fn action(action: ChildAction) -> &'static str {
    match action {
        ChildAction::None => "none",
        ChildAction::Trap => "trap",
        ChildAction::Start => "start",
        ChildAction::TrapAndStart => "trap | start",
    }
}

fn seconds(time: Option<Duration>) -> u64 {
    time.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use ferry_vici::dump;

    use super::*;
    use crate::connections;
    use crate::store::tests::DEFAULTS;

    fn listed(name: &str, section: &Section) -> String {
        dump::raw("list-conn event", &list_conn(&connections::parse(name, section, &DEFAULTS).unwrap()))
    }

    /// What charon 5.9.8 shows for the same, but for traps and priorities, which we do not have.
    #[test]
    fn a_connection_looks_as_it_does_with_charon() {
        let psk = |id: &str| Section::new().with("auth", "psk").with("id", id);
        let child = Section::new()
            .with_list("local_ts", ["10.2.0.0/24[tcp/http]", "10.9.0.1-10.9.0.7"])
            .with_list("remote_ts", ["10.3.0.0/24", "dynamic[udp/1000-2000]"])
            .with("close_action", "start");
        let section = Section::new()
            .with("version", "2")
            .with_list("local_addrs", ["192.0.2.1"])
            .with_list(
                "remote_addrs",
                ["192.0.2.2", "192.0.2.0/28", "gw.example.test", "10.0.0.1-10.0.0.9", "%any6"],
            )
            .with("dpd_delay", "30")
            .with_section("local", psk("left.test"))
            .with_section("remote", psk("right.test"))
            .with_section("children", Section::new().with_section("c", child));
        assert_eq!(
            listed("t", &section),
            "list-conn event {t {local_addrs=[192.0.2.1] \
             remote_addrs=[192.0.2.2 192.0.2.0/28 gw.example.test 10.0.0.1-10.0.0.9 %any6] version=IKEv2 reauth_time=0 \
             rekey_time=14400 unique=UNIQUE_NO dpd_delay=30 \
             local-1 {id=left.test class=pre-shared key groups=[] cert_policy=[] certs=[] cacerts=[]} \
             remote-1 {id=right.test class=pre-shared key groups=[] cert_policy=[] certs=[] cacerts=[]} \
             children {c {mode=TUNNEL rekey_time=3600 rekey_bytes=0 rekey_packets=0 dpd_action=none close_action=start \
             local-ts=[10.2.0.0/24[tcp/http] 10.9.0.1..10.9.0.7] remote-ts=[10.3.0.0/24 dynamic[udp/1000-2000]]}}}}"
        );
    }

    #[test]
    fn a_connection_that_says_little_looks_as_it_does_with_charon() {
        let section = Section::new()
            .with_section("local", Section::new().with("auth", "psk"))
            .with_section("remote", Section::new())
            .with_section(
                "children",
                Section::new().with_section("net", Section::new().with("dpd_action", "restart")),
            );
        assert_eq!(
            listed("rw", &section),
            "list-conn event {rw {local_addrs=[%any] remote_addrs=[%any] version=IKEv1/2 reauth_time=0 rekey_time=14400 \
             unique=UNIQUE_NO local-1 {class=pre-shared key groups=[] cert_policy=[] certs=[] cacerts=[]} \
             remote-1 {groups=[] cert_policy=[] certs=[] cacerts=[]} \
             children {net {mode=TUNNEL rekey_time=3600 rekey_bytes=0 rekey_packets=0 dpd_action=start close_action=none \
             local-ts=[dynamic] remote-ts=[dynamic]}}}}"
        );
    }
}
