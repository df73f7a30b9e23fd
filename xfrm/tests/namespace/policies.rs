//! Policies, and the events about them.

use std::net::UdpSocket;
use std::num::NonZeroU32;
use std::time::Duration;

use ferry_xfrm::policy::{Action, DefaultPolicy, PolicyFlags, PolicyKind, Templates};
use ferry_xfrm::{
    Error, Event, Events, IpsecProtocol, Mark, Meaning, Mode, Policy, PolicyDirection, PolicyId, PortMatch,
    Purpose, Selector, Spd, Template, TrafficSelector, priority, selectors,
};

use crate::support::{addr, in_namespace, ip, prefix, skipped};

#[test]
fn what_iproute2_installs_is_read_and_can_be_removed() {
    in_namespace(async || {
        let Some(spd) = spd().await else { return };
        let add = |rest: &str| ip(&format!("xfrm policy add {rest}"));
        add("src 10.1.0.0/16 dst 10.2.0.0/24 proto 17 sport 500 dport 4500 dev lo dir out priority 375423 \
             mark 0x2a mask 0xff if_id 42 flag localok icmp tmpl src 192.0.2.1 dst 192.0.2.2 proto esp \
             spi 0xc0000001 reqid 7 mode tunnel");
        add("src 2001:db8:1::/48 dst 2001:db8:2::/64 proto 58 type 128 code 0 dir in priority 7 \
             tmpl src 2001:db8::1 dst 2001:db8::2 proto comp reqid 9 mode tunnel level use \
             tmpl proto esp reqid 9 mode transport");
        add("src 10.1.0.0/16 dst 10.2.0.0/24 dir fwd action block priority 1");

        let mut entries = spd.entries().await.unwrap();
        entries.sort_by_key(|entry| entry.policy.id.direction);
        let [echo, everything, dropping] = &entries[..] else { panic!("three: {entries:#?}") };
        assert_eq!(everything.policy, full_policy());
        assert!(everything.usage.installed.is_some() && everything.usage.packets == 0);
        let mut outer = template("2001:db8::1", "2001:db8::2", Mode::TUNNEL, 9);
        (outer.protocol, outer.is_optional) = (IpsecProtocol::IPCOMP, true);
        let inner = template("::", "::", Mode::TRANSPORT, 9);
        let icmp = selector("2001:db8:1::/48", "2001:db8:2::/64")
            .with_protocol(58)
            .with_ports(PortMatch::exactly(128), PortMatch::exactly(0));
        let templates = Templates::new(&[outer, inner]).unwrap();
        let want = Policy { templates, ..Policy::pass(PolicyId::new(icmp, PolicyDirection::In), 7) };
        assert_eq!(echo.policy, want);
        let forwarded = PolicyId::new(selector("10.1.0.0/16", "10.2.0.0/24"), PolicyDirection::Forward);
        assert_eq!(dropping.policy, Policy::drop(forwarded, 1));

        for entry in &entries {
            assert_eq!(spd.find(&entry.policy.id).await.unwrap().as_ref(), Some(entry));
            spd.remove(&entry.policy.id).await.unwrap();
            assert_eq!(spd.find(&entry.policy.id).await.unwrap(), None);
        }
        assert_eq!(ip("xfrm policy"), "");
    });
}

#[test]
fn what_is_installed_is_as_iproute2_prints_it() {
    in_namespace(async || {
        let Some(spd) = spd().await else { return };
        spd.install(&full_policy()).await.unwrap();
        let shown = ip("xfrm policy");
        let want = [
            "src 10.1.0.0/16 dst 10.2.0.0/24 proto ",
            " sport 500 dport 4500 dev lo",
            "dir out priority 375423",
            "flag localok icmp",
            "mark 0x2a/0xff",
            "tmpl src 192.0.2.1 dst 192.0.2.2",
            "proto esp spi 0xc0000001 reqid 7 mode tunnel",
            "if_id 0x2a",
        ];
        assert!(want.iter().all(|part| shown.contains(part)), "{shown}");

        // The selector, the mark and the interface ID make the policy, and not the priority.
        let other = Policy { priority: 1, ..full_policy() };
        let refused = spd.install(&other).await.unwrap_err();
        assert_eq!(refused.meaning(), Some(Meaning::AlreadyThere), "{refused}");
        let text = refused.to_string();
        assert!(text.starts_with("cannot install the out 10.1.0.0/16[500] -> 10.2.0.0/24[4500] "), "{text}");
        spd.replace(&other).await.unwrap();
        assert_eq!(spd.find(&other.id).await.unwrap().unwrap().policy, other);
        let unmarked = Policy { id: PolicyId { mark: None, ..other.id }, ..other.clone() };
        spd.replace(&unmarked).await.unwrap();
        assert_eq!(spd.count().await.unwrap().outbound, 2);
        spd.remove(&unmarked.id).await.unwrap();
        let refused = spd.remove(&unmarked.id).await.unwrap_err();
        assert_eq!(refused.meaning(), Some(Meaning::NotThere), "{refused}");
        assert_eq!(spd.entries().await.unwrap().len(), 1);

        // A template may not do without, going out: the kernel's own sentence.
        let mut optional = template("192.0.2.1", "192.0.2.2", Mode::TUNNEL, 7);
        optional.is_optional = true;
        let refused = spd.install(&Policy::protect(unmarked.id, 1, optional)).await.unwrap_err();
        assert_eq!(refused.meaning(), Some(Meaning::Invalid), "{refused}");
        assert!(refused.to_string().contains("the kernel says: "), "{refused}");

        spd.flush(PolicyKind::MAIN).await.unwrap();
        assert_eq!(ip("xfrm policy"), "");
    });
}

#[test]
fn a_port_range_takes_several_policies_and_narrower_ones_win() {
    in_namespace(async || {
        let Some(spd) = spd().await else { return };
        let here = TrafficSelector::new(prefix("10.1.0.0/16"));
        let there = TrafficSelector {
            protocol: 6,
            ports: ferry_xfrm::PortRange::new(1000, 1003).unwrap(),
            ..TrafficSelector::new(prefix("10.2.0.0/16"))
        };
        for selector in selectors(&here, &there).unwrap() {
            let id = PolicyId::new(selector, PolicyDirection::Out);
            let tunnel = template("192.0.2.1", "192.0.2.2", Mode::TUNNEL, 7);
            spd.install(&Policy::protect(id, priority(&selector, Purpose::Protect), tunnel)).await.unwrap();
        }
        let shown = ip("xfrm policy");
        assert_eq!(shown.matches("dir out priority 383303").count(), 1, "{shown}");
        assert!(shown.contains("dport 1000-1003") || shown.contains("dport 1000"), "{shown}");
        let entries = spd.entries().await.unwrap();
        assert_eq!(entries.len(), 1, "1000 to 1003 differ in two bits");
    });
}

#[test]
fn the_default_can_be_to_block() {
    in_namespace(async || {
        let Some(spd) = spd().await else { return };
        let all = DefaultPolicy { inbound: Action::Allow, forward: Action::Allow, outbound: Action::Allow };
        let before = match spd.default_policy().await {
            Ok(default) => default,
            Err(error) => return skipped(&format!("the kernel has no default policy: {error}")),
        };
        assert_eq!(before, all);
        let careful = DefaultPolicy { forward: Action::Block, ..all };
        spd.set_default_policy(&careful).await.unwrap();
        assert_eq!(spd.default_policy().await.unwrap(), careful);
    });
}

#[test]
fn what_others_remove_is_told_and_what_we_do_is_not() {
    in_namespace(async || {
        let Some(spd) = spd().await else { return };
        let mut events = Events::subscribe(&[spd.port()]).await.unwrap();
        let id = PolicyId::new(selector("10.1.0.0/16", "10.2.0.0/24"), PolicyDirection::Out);
        spd.install(&Policy::drop(id, 1)).await.unwrap();
        spd.remove(&id).await.unwrap();
        spd.install(&Policy::drop(id, 1)).await.unwrap();
        ip("xfrm policy delete src 10.1.0.0/16 dst 10.2.0.0/24 dir out");
        assert_eq!(next(&mut events).await, Event::PolicyRemoved(Box::new(id)));
        spd.install(&full_policy()).await.unwrap();
        ip(
            "xfrm policy delete src 10.1.0.0/16 dst 10.2.0.0/24 proto 17 sport 500 dport 4500 dev lo dir out \
            mark 0x2a mask 0xff if_id 42",
        );
        assert_eq!(next(&mut events).await, Event::PolicyRemoved(Box::new(full_policy().id)));
        spd.install(&full_policy()).await.unwrap();
        spd.flush(PolicyKind::MAIN).await.unwrap();
        spd.install(&full_policy()).await.unwrap();
        ip("xfrm policy flush");
        assert_eq!(next(&mut events).await, Event::PoliciesFlushed(PolicyKind::MAIN));
    });
}

#[test]
fn a_policy_comes_to_its_end() {
    in_namespace(async || {
        let Some(spd) = spd().await else { return };
        let mut events = Events::subscribe(&[spd.port()]).await.unwrap();
        let id = PolicyId::new(selector("10.1.0.0/16", "10.2.0.0/24"), PolicyDirection::Out);
        let mut policy = Policy::drop(id, 1);
        policy.limits.hard.since_installed = Some(Duration::from_secs(1));
        spd.install(&policy).await.unwrap();
        let Event::PolicyExpired(expired) = next(&mut events).await else { panic!("an expiry") };
        assert!(expired.is_hard && expired.entry.policy == policy, "{expired:?}");
        assert_eq!(spd.find(&id).await.unwrap(), None);
    });
}

#[test]
fn a_packet_that_wants_an_sa_is_told() {
    in_namespace(async || {
        let Some(spd) = spd().await else { return };
        ip("link set lo up");
        ip("addr add 10.1.0.9/32 dev lo");
        ip("addr add 192.0.2.1/32 dev lo");
        ip("route add 10.2.0.0/16 dev lo");
        std::fs::write("/proc/sys/net/ipv4/conf/lo/disable_xfrm", "0").unwrap();
        let mut events = Events::subscribe(&[spd.port()]).await.unwrap();
        let id = PolicyId::new(selector("10.1.0.0/16", "10.2.0.0/16"), PolicyDirection::Out);
        let tunnel = template("192.0.2.1", "192.0.2.2", Mode::TUNNEL, 7);
        let trap = Policy::protect(id, priority(&id.selector, Purpose::Trap), tunnel);
        spd.install(&trap).await.unwrap();
        let socket = UdpSocket::bind("10.1.0.9:4000").unwrap();
        let _ = socket.send_to(b"let me in", "10.2.0.9:53"); // dropped, or refused: as the kernel likes
        let Event::Acquire(acquire) = next(&mut events).await else { panic!("an acquire") };
        assert_eq!(acquire.packet.to_string(), "10.1.0.9/32[4000] -> 10.2.0.9/32[53] proto 17 dev 1");
        assert_eq!((acquire.source, acquire.destination), (addr("192.0.2.1"), addr("192.0.2.2")));
        assert_eq!((acquire.policy_priority, &acquire.templates), (383_616, &trap.templates));
        let entry = spd.find(&id).await.unwrap().unwrap();
        assert_eq!(acquire.policy_index, entry.index);
    });
}

/// More than the queue holds: that is said, and what comes after is told again.
#[test]
fn an_overrun_is_told() {
    in_namespace(async || {
        let Some(spd) = spd().await else { return };
        let mut events = Events::subscribe(&[]).await.unwrap();
        let id = PolicyId::new(selector("10.1.0.0/16", "10.2.0.0/24"), PolicyDirection::Out);
        // Each makes two events of more than 1 KiB of the 8 or 16 MiB.
        for _ in 0..16_000 {
            spd.install(&Policy::drop(id, 1)).await.unwrap();
            spd.remove(&id).await.unwrap();
        }
        while next(&mut events).await != Event::Lost {}
        while tokio::time::timeout(Duration::from_millis(100), events.next()).await.is_ok() {}
        spd.install(&Policy::drop(id, 1)).await.unwrap();
        spd.flush(PolicyKind::MAIN).await.unwrap();
        assert_eq!(next(&mut events).await, Event::PoliciesFlushed(PolicyKind::MAIN));
    });
}

/// The policies of the thread's namespace, or `None`, said, where the kernel has none.
pub(crate) async fn spd() -> Option<Spd> {
    match Spd::open().await {
        Err(Error::Socket { source, .. }) if source.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
            skipped("the kernel has no XFRM");
            None
        }
        spd => Some(spd.unwrap()),
    }
}

/// The next event, which comes soon.
pub(crate) async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(Duration::from_secs(10), events.next()).await.expect("an event is told").unwrap()
}

pub(crate) fn selector(source: &str, destination: &str) -> Selector {
    Selector::new(prefix(source), prefix(destination)).unwrap()
}

pub(crate) fn template(source: &str, destination: &str, mode: Mode, reqid: u32) -> Template {
    Template::new(addr(source), addr(destination), mode, reqid).unwrap()
}

/// A policy with nearly all there is.
fn full_policy() -> Policy {
    let udp = selector("10.1.0.0/16", "10.2.0.0/24")
        .with_protocol(17)
        .with_ports(PortMatch::exactly(500), PortMatch::exactly(4500))
        .with_interface(1);
    let id = PolicyId {
        mark: Some(Mark { value: 0x2a, mask: 0xff }),
        interface_id: NonZeroU32::new(42),
        ..PolicyId::new(udp, PolicyDirection::Out)
    };
    let mut tunnel = template("192.0.2.1", "192.0.2.2", Mode::TUNNEL, 7);
    tunnel.spi = NonZeroU32::new(0xc000_0001);
    let flags = PolicyFlags::LOCAL_OK | PolicyFlags::ICMP;
    Policy { flags, ..Policy::protect(id, 375_423, tunnel) }
}
