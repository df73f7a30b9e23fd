//! `list-sa`, and the events about SAs.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ferry_ike::config::Mode;
use ferry_ike::identity::Identity;
use ferry_ike::output::{ChildSaId, Path};
use ferry_ike::selector::TrafficSelector;
use ferry_ike::status::{ChildSaState, ChildSaStatus, IkeSaState, IkeSaStatus};
use ferry_ike::wire::registry::EncrId;
use ferry_vici::{Message, Section};

use crate::control::{ChildNumbers, ChildUse};

/// The event for one IKE_SA with its children.
pub(in crate::vici_server) fn list_sa(
    status: &IkeSaStatus,
    uses: &HashMap<ChildSaId, ChildUse>,
    now: Instant,
) -> Message {
    // charon's IKE_SA has its children from when they are installed; clients take the SPIs of all that are listed for known.
    let is_made =
        |child: &&ChildSaStatus| !matches!(child.state, ChildSaState::Created | ChildSaState::Installing);
    let children = status.children.iter().filter(is_made);
    let children = children.map(|child| (child, uses.get(&child.id).copied().unwrap_or_default()));
    Message::new()
        .with_section(name(status), ike_sa(status, now).with_section("child-sas", child_sas(children, now)))
}

/// `ike-updown`.
pub(in crate::vici_server) fn ike_updown(status: &IkeSaStatus, is_up: bool, now: Instant) -> Message {
    Message::new().with_flag("up", is_up).with_section(name(status), ike_sa(status, now))
}

/// A CHILD_SA with its numbers in the kernel.
type Numbered<'a> = (&'a ChildSaStatus, Option<ChildNumbers>);

/// `child-updown`: the IKE_SA with this child alone. It has carried nothing yet, or what it has is no longer
/// known.
pub(in crate::vici_server) fn child_updown(
    status: &IkeSaStatus,
    (child, numbers): Numbered<'_>,
    is_up: bool,
    now: Instant,
) -> Message {
    let children = child_sas([(child, ChildUse { numbers, ..ChildUse::default() })], now);
    Message::new()
        .with_flag("up", is_up)
        .with_section(name(status), ike_sa(status, now).with_section("child-sas", children))
}

/// `ike-update`: where the IKE_SA goes to, and as it was before.
pub(in crate::vici_server) fn ike_update(status: &IkeSaStatus, path: &Path, now: Instant) -> Message {
    Message::new()
        .with("local-host", host(path.local))
        .with("local-port", path.local.port())
        .with("remote-host", host(path.remote))
        .with("remote-port", path.remote.port())
        .with_section(name(status), ike_sa(status, now))
}

/// `ike-rekey`: the IKE_SA that goes and the one that stays.
pub(in crate::vici_server) fn ike_rekey(old: &IkeSaStatus, new: &IkeSaStatus, now: Instant) -> Message {
    let both = Section::new().with_section("old", ike_sa(old, now)).with_section("new", ike_sa(new, now));
    Message::new().with_section(name(new), both)
}

/// `child-rekey`: the CHILD_SA that goes and the one that stays, under their name.
pub(in crate::vici_server) fn child_rekey(
    status: &IkeSaStatus,
    old: Numbered<'_>,
    new: Numbered<'_>,
    now: Instant,
) -> Message {
    let child = |(child, numbers)| child_sa(child, &ChildUse { numbers, ..ChildUse::default() }, now);
    let both = Section::new().with_section("old", child(old)).with_section("new", child(new));
    let children = Section::new().with_section(&new.0.name, both);
    Message::new().with_section(name(status), ike_sa(status, now).with_section("child-sas", children))
}

fn name(status: &IkeSaStatus) -> &str {
    status.connection.as_deref().unwrap_or("(unnamed)")
}

fn ike_sa(status: &IkeSaStatus, now: Instant) -> Section {
    let is_established = status.state == IkeSaState::Established;
    let identity = |id: &Option<Identity>| id.as_ref().map_or_else(|| "%any".to_owned(), ToString::to_string);
    // charon says it where it is news.
    let eap_id = status.remote_eap_id.as_ref().filter(|id| status.remote_id.as_ref() != Some(*id));
    let mut section = Section::new()
        .with("uniqueid", status.id.0)
        .with("version", 2_u8)
        .with("state", status.state.name())
        .with("local-host", host(status.local))
        .with("local-port", status.local.port())
        .with("local-id", identity(&status.local_id))
        .with("remote-host", host(status.remote))
        .with("remote-port", status.remote.port())
        .with("remote-id", identity(&status.remote_id))
        .with_some("remote-eap-id", eap_id.map(ToString::to_string))
        .with_flag("initiator", status.is_initiator)
        .with("initiator-spi", status.spi_i.to_string())
        .with("responder-spi", status.spi_r.to_string())
        .with_flag("nat-local", status.nat_local)
        .with_flag("nat-remote", status.nat_remote)
        .with_flag("nat-fake", status.nat_fake)
        .with_flag("nat-any", status.nat_local || status.nat_remote || status.nat_fake);
    let interfaces = [status.interfaces.inbound, status.interfaces.outbound];
    for (key, interface) in ["if-id-in", "if-id-out"].into_iter().zip(interfaces) {
        section = section.with_some(key, interface.map(|interface| format!("{interface:08x}")));
    }
    if let Some(suite) = &status.suite {
        section = section
            .with("encr-alg", suite.encr_id().to_string())
            .with_some("encr-keysize", key_length(suite.encr_id(), suite.key_bits()))
            .with_some("integ-alg", suite.integ_id().map(|integ| integ.to_string()))
            .with("prf-alg", suite.prf_id().to_string())
            .with("dh-group", suite.ke().to_string());
    }
    section = section.with_some(
        "established",
        status
            .established
            .filter(|_| is_established)
            .map(|since| now.saturating_duration_since(since).as_secs()),
    );
    section = section.with_some(
        "rekey-time",
        status.rekeys.filter(|_| is_established).map(|rekeys| seconds_until(rekeys, now)),
    );
    section = section.with_some(
        "reauth-time",
        status.reauthenticates.filter(|_| is_established).map(|at| seconds_until(at, now)),
    );
    for (key, addresses) in [("local-vips", &status.local_vips), ("remote-vips", &status.remote_vips)] {
        section = with_filled_list(section, key, addresses.iter().map(IpAddr::to_string).collect());
    }
    let tasks = [
        ("tasks-queued", &status.tasks_queued),
        ("tasks-active", &status.tasks_active),
        ("tasks-passive", &status.tasks_passive),
    ];
    for (key, tasks) in tasks {
        section = with_filled_list(section, key, tasks.iter().map(|&task| task.to_owned()).collect());
    }
    section
}

fn with_filled_list(section: Section, key: &str, items: Vec<String>) -> Section {
    if items.is_empty() { section } else { section.with_list(key, items) }
}

fn child_sas<'a>(children: impl IntoIterator<Item = (&'a ChildSaStatus, ChildUse)>, now: Instant) -> Section {
    let mut section = Section::new();
    for (child, used) in children {
        section.push_section(format!("{}-{}", child.name, child.id), child_sa(child, &used, now));
    }
    section
}

fn child_sa(status: &ChildSaStatus, used: &ChildUse, now: Instant) -> Section {
    let mode = match status.mode {
        Mode::Tunnel => "TUNNEL",
        Mode::Transport => "TRANSPORT",
        Mode::Beet => "BEET",
    };
    let mut section = Section::new()
        .with("name", &status.name)
        .with("uniqueid", status.id.0)
        .with("reqid", used.numbers.map_or(status.reqid, |numbers| numbers.reqid))
        .with("state", status.state.name())
        .with("mode", mode);
    match status.state {
        ChildSaState::Installed
        | ChildSaState::Rekeying
        | ChildSaState::Rekeyed
        | ChildSaState::Deleting
        | ChildSaState::Deleted => section = with_installed(section, status, used, now),
        // Nothing below is known.
        ChildSaState::Created | ChildSaState::Installing => {}
    }
    let selectors =
        |selectors: &[TrafficSelector]| selectors.iter().map(ToString::to_string).collect::<Vec<_>>();
    section
        .with_list("local-ts", selectors(&status.local_ts))
        .with_list("remote-ts", selectors(&status.remote_ts))
}

fn with_installed(section: Section, status: &ChildSaStatus, used: &ChildUse, now: Instant) -> Section {
    let spi = |spi: Option<ferry_ike::wire::registry::Spi>| {
        spi.map_or_else(|| "00000000".to_owned(), |spi| spi.to_string())
    };
    let mut section = section
        .with("protocol", "ESP")
        .with_flag("encap", status.encapsulated)
        .with("spi-in", spi(status.spi_in))
        .with("spi-out", spi(status.spi_out));
    let numbers = used.numbers.unwrap_or_default();
    let number = |number: u32| format!("{number:08x}");
    for (key, mask_key, (mark, mask)) in
        [("mark-in", "mark-mask-in", numbers.mark_in), ("mark-out", "mark-mask-out", numbers.mark_out)]
    {
        if mark != 0 || mask != 0 {
            let mask = Some(mask).filter(|mask| *mask != u32::MAX);
            section = section.with(key, number(mark)).with_some(mask_key, mask.map(number));
        }
    }
    for (key, interface) in [("if-id-in", numbers.interface_in), ("if-id-out", numbers.interface_out)] {
        section = section.with_some(key, Some(interface).filter(|id| *id != 0).map(number));
    }
    if let Some(suite) = &status.suite {
        section = section
            .with("encr-alg", suite.encr_id().to_string())
            .with_some("encr-keysize", key_length(suite.encr_id(), suite.key_bits()))
            .with_some("integ-alg", suite.integ_id().map(|integ| integ.to_string()))
            .with_some("dh-group", suite.ke().map(|ke| ke.to_string()))
            .with_some("esn", suite.esn().then_some("1"));
    }
    let rekey_time = status.rekeys.map(|rekeys| seconds_until(rekeys, now));
    let life_time = status.expires.map(|expires| seconds_until(expires, now));
    section
        .with("bytes-in", used.bytes_in)
        .with("packets-in", used.packets_in)
        .with_some("use-in", used.last_in.map(|ago| ago.as_secs()))
        .with("bytes-out", used.bytes_out)
        .with("packets-out", used.packets_out)
        .with_some("use-out", used.last_out.map(|ago| ago.as_secs()))
        .with_some("rekey-time", rekey_time)
        .with_some("life-time", life_time)
        .with(
            "install-time",
            status.installed.map_or(0, |since| now.saturating_duration_since(since).as_secs()),
        )
}

/// The length as it was negotiated; ChaCha20 has one only, which is not.
fn key_length(encr: EncrId, bits: u16) -> Option<u16> {
    Some(bits).filter(|bits| *bits != 0 && encr != EncrId::CHACHA20_POLY1305)
}

/// Negative when the time has passed.
fn seconds_until(then: Instant, now: Instant) -> i64 {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match then.checked_duration_since(now) {
        Some(left) => seconds(left),
        None => -seconds(now.saturating_duration_since(then)),
    }
}

fn host(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "%any".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "%any6".to_owned(),
        ip => ip.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferry_ike::crypto::{EspSuite, IkeSuite};
    use ferry_ike::proposal::Proposal;
    use ferry_ike::wire::registry::ProtocolId;
    use ferry_vici::dump;

    use super::*;
    use crate::control::tests::{child_sa as plain_child, ike_sa as plain_ike};

    fn proposal(protocol: ProtocolId, text: &str) -> Proposal {
        Proposal::parse(protocol, text).unwrap().remove(0)
    }

    fn selector(text: &str) -> TrafficSelector {
        match ferry_ike::selector::SelectorPattern::parse(text).unwrap() {
            ferry_ike::selector::SelectorPattern::Fixed(selector) => selector,
            ferry_ike::selector::SelectorPattern::Dynamic { .. } => panic!("{text} is not fixed"),
        }
    }

    /// A road warrior's IKE_SA as the gateway has it, 65 seconds old.
    fn road(now: Instant) -> IkeSaStatus {
        let mut child = plain_child(31, "lan");
        child.reqid = 4;
        child.encapsulated = true;
        child.suite = Some(EspSuite::from_proposal(&proposal(ProtocolId::ESP, "aes128gcm16")).unwrap());
        child.installed = Some(now - Duration::from_secs(65));
        child.expires = Some(now + Duration::from_millis(3_535_900));
        child.local_ts = vec![selector("10.1.0.0/16")];
        child.remote_ts = vec![selector("10.9.0.4/32")];
        let mut status = plain_ike(12, "road", vec![child]);
        status.is_initiator = false;
        status.local_id = Some(Identity::parse("vpn.lab").unwrap());
        status.remote_id = Some(Identity::parse("pc7").unwrap());
        status.local = "198.51.100.7:4500".parse().unwrap();
        status.remote = "203.0.113.9:61234".parse().unwrap();
        status.nat_remote = true;
        status.suite = Some(
            IkeSuite::from_proposal(&proposal(ProtocolId::IKE, "aes256gcm16-prfsha384-ecp384")).unwrap(),
        );
        status.established = Some(now - Duration::from_secs(65));
        status.remote_vips = vec!["10.9.0.4".parse().unwrap()];
        status
    }

    const ROAD: &str = "uniqueid=12 version=2 state=ESTABLISHED local-host=198.51.100.7 local-port=4500 local-id=vpn.lab \
        remote-host=203.0.113.9 remote-port=61234 remote-id=pc7 initiator-spi=1a2b3c4d5e6f7081 \
        responder-spi=9f8e7d6c5b4a3928 nat-remote=yes nat-any=yes encr-alg=AES_GCM_16 encr-keysize=256 \
        prf-alg=PRF_HMAC_SHA2_384 dh-group=ECP_384 established=65 remote-vips=[10.9.0.4]";

    #[test]
    fn an_ike_sa_with_its_child_looks_as_it_does_with_charon() {
        let now = Instant::now() + Duration::from_secs(1000);
        let used = ChildUse {
            bytes_in: 5120,
            packets_in: 40,
            last_in: Some(Duration::from_millis(2900)),
            ..ChildUse::default()
        };
        let uses = HashMap::from([(ChildSaId(31), used)]);
        let expected = format!(
            "list-sa event {{road {{{ROAD} child-sas {{lan-31 {{name=lan uniqueid=31 reqid=4 state=INSTALLED mode=TUNNEL \
             protocol=ESP encap=yes spi-in=c0ffee01 spi-out=cafe0002 encr-alg=AES_GCM_16 encr-keysize=128 \
             bytes-in=5120 packets-in=40 use-in=2 bytes-out=0 packets-out=0 life-time=3535 install-time=65 \
             local-ts=[10.1.0.0/16] remote-ts=[10.9.0.4/32]}}}}}}}}"
        );
        assert_eq!(dump::raw("list-sa event", &list_sa(&road(now), &uses, now)), expected);
    }

    #[test]
    fn integrity_esn_and_key_exchange_are_shown_where_they_were_negotiated() {
        let now = Instant::now();
        let mut child = plain_child(1, "c");
        let suite = EspSuite::from_proposal(&proposal(ProtocolId::ESP, "aes256-sha256-ecp256-esn")).unwrap();
        child.suite = Some(suite);
        child.expires = Some(now);
        let listed = dump::raw("c", &child_sa(&child, &ChildUse::default(), now + Duration::from_secs(3)));
        let expected = "encr-alg=AES_CBC encr-keysize=256 integ-alg=HMAC_SHA2_256_128 dh-group=ECP_256 esn=1";
        assert!(listed.contains(expected), "{listed}");
        assert!(listed.contains("life-time=-3"), "overdue: {listed}");
        let suite =
            IkeSuite::from_proposal(&proposal(ProtocolId::IKE, "chacha20poly1305-prfsha256-x25519")).unwrap();
        let status = IkeSaStatus { suite: Some(suite), ..plain_ike(1, "c", vec![]) };
        let listed = dump::raw("c", &ike_sa(&status, now));
        assert!(
            listed.contains("encr-alg=CHACHA20_POLY1305 prf-alg=PRF_HMAC_SHA2_256 dh-group=CURVE_25519"),
            "{listed}"
        );
    }

    #[test]
    fn an_ike_sa_that_is_being_made_shows_no_more_than_is_known() {
        let now = Instant::now();
        let mut child = plain_child(2, "c");
        child.state = ChildSaState::Created;
        child.reqid = 0;
        let mut status = plain_ike(1, "c", vec![child]);
        status.connection = None;
        status.state = IkeSaState::Connecting;
        status.local = "0.0.0.0:500".parse().unwrap();
        status.remote = "[::]:500".parse().unwrap();
        status.spi_r = ferry_ike::wire::registry::IkeSpi::ZERO;
        status.established = Some(now);
        status.tasks_active = vec!["IKE_INIT"];
        assert_eq!(
            dump::raw("sa", &list_sa(&status, &HashMap::new(), now)),
            "sa {(unnamed) {uniqueid=1 version=2 state=CONNECTING local-host=%any local-port=500 local-id=%any \
             remote-host=%any6 remote-port=500 remote-id=%any initiator=yes initiator-spi=1a2b3c4d5e6f7081 \
             responder-spi=0000000000000000 tasks-active=[IKE_INIT] child-sas {}}}"
        );
    }

    #[test]
    fn updowns_and_updates() {
        let now = Instant::now() + Duration::from_secs(1000);
        let status = road(now);
        let up = dump::raw("ike-updown", &ike_updown(&status, true, now));
        assert_eq!(up, format!("ike-updown {{up=yes road {{{ROAD}}}}}"));
        let down = dump::raw("ike-updown", &ike_updown(&status, false, now));
        assert_eq!(down, format!("ike-updown {{road {{{ROAD}}}}}"));
        let child = dump::raw("child-updown", &child_updown(&status, (&status.children[0], None), true, now));
        let begin = format!("child-updown {{up=yes road {{{ROAD} child-sas {{lan-31 {{name=lan uniqueid=31 ");
        assert!(child.starts_with(&begin), "{child}");
        let path =
            Path { local: "198.51.100.7:4500".parse().unwrap(), remote: "203.0.113.9:7".parse().unwrap() };
        let update = dump::raw("ike-update", &ike_update(&status, &path, now));
        let begin = "ike-update {local-host=198.51.100.7 local-port=4500 remote-host=203.0.113.9 remote-port=7 road {uniqueid=12 ";
        assert!(update.starts_with(begin), "{update}");
    }

    #[test]
    fn rekeyings() {
        let now = Instant::now() + Duration::from_secs(1000);
        let (old, mut new) = (road(now), road(now));
        new.id = ferry_ike::output::IkeSaId(13);
        new.rekeys = Some(now + Duration::from_secs(13_000));
        let event = dump::raw("ike-rekey", &ike_rekey(&old, &new, now));
        let renewed = ROAD
            .replace("uniqueid=12", "uniqueid=13")
            .replace("established=65", "established=65 rekey-time=13000");
        assert_eq!(event, format!("ike-rekey {{road {{old {{{ROAD}}} new {{{renewed}}}}}}}"));

        let mut child = old.children[0].clone();
        child.id = ChildSaId(32);
        child.rekeys = Some(now + Duration::from_secs(3000));
        let event =
            dump::raw("child-rekey", &child_rekey(&old, (&old.children[0], None), (&child, None), now));
        let begin = format!("child-rekey {{road {{{ROAD} child-sas {{lan {{old {{name=lan uniqueid=31 ");
        assert!(event.starts_with(&begin), "{event}");
        assert!(
            event.contains("new {name=lan uniqueid=32 ") && event.contains(" rekey-time=3000 life-time=")
        );
    }
}
