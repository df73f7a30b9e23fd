//! Section 2.9, Traffic Selector Negotiation.

use ferry_ike::Trigger;
use ferry_ike::output::RequestId;
use ferry_ike::selector::{SelectorPattern, TrafficSelector};
use ferry_ike::sim::{HostId, PSK, Puppet, Setup, World, client, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, NotifyType, Spi};

use crate::rekeying::child;
use crate::{GATEWAY, GATEWAY_IP, OFFER, seconds};

/// Connects two hosts and shows the selectors they agreed on, the gateway's side first.
fn agreed(client: Setup, gateway: Setup) -> String {
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
    let child = &world.ike_sa(gw).children[0];
    let list = |selectors: &[ferry_ike::selector::TrafficSelector]| {
        selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    format!("{} === {}", list(&child.local_ts), list(&child.remote_ts))
}

#[test]
fn the_responder_narrows_to_what_both_want() {
    let table = [
        // Client: local, remote; gateway: local, remote; agreed.
        ("10.2.0.0/16", "10.1.0.0/16", "10.1.0.0/16", "10.2.0.0/16", "10.1.0.0/16 === 10.2.0.0/16"),
        ("10.2.0.0/16", "0.0.0.0/0", "10.1.0.0/16", "10.2.0.0/16", "10.1.0.0/16 === 10.2.0.0/16"),
        ("0.0.0.0/0", "0.0.0.0/0", "10.1.0.0/16", "10.2.0.0/24", "10.1.0.0/16 === 10.2.0.0/24"),
        ("10.2.3.0/24", "10.1.4.0/24", "0.0.0.0/0", "0.0.0.0/0", "10.1.4.0/24 === 10.2.3.0/24"),
        (
            "10.2.0.0/16",
            "10.1.0.0/16[tcp/80]",
            "10.1.0.0/16",
            "10.2.0.0/16",
            "10.1.0.0/16[tcp/http] === 10.2.0.0/16",
        ),
        (
            "2001:db8:2::/48",
            "::/0",
            "2001:db8:1::/48",
            "2001:db8:2::/48",
            "2001:db8:1::/48 === 2001:db8:2::/48",
        ),
        ("dynamic", "10.1.0.0/16", "10.1.0.0/16", "dynamic", "10.1.0.0/16 === 198.51.100.7/32"),
        ("dynamic", "dynamic", "dynamic", "dynamic", "192.0.2.1/32 === 198.51.100.7/32"),
    ];
    for (client_local, client_remote, gateway_local, gateway_remote, expected) in table {
        let agreed =
            agreed(client().ts(client_local, client_remote), gateway().ts(gateway_local, gateway_remote));
        assert_eq!(agreed, expected);
    }
}

#[test]
fn several_selectors_are_narrowed_each() {
    let selectors = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| ferry_ike::selector::SelectorPattern::parse(text).unwrap())
            .collect::<Vec<_>>()
    };
    let many = gateway().child(|child| {
        child.local_ts = selectors(&["10.1.0.0/24", "10.1.1.0/24", "2001:db8:1::/48"]);
        child.remote_ts = selectors(&["0.0.0.0/0", "::/0"]);
    });
    let wanted = client().child(|child| {
        child.local_ts = selectors(&["10.2.0.0/16", "2001:db8:2::/48"]);
        child.remote_ts = selectors(&["10.1.0.0/16", "2001:db8::/32"]);
    });
    assert_eq!(
        agreed(wanted, many),
        "10.1.0.0/24 10.1.1.0/24 2001:db8:1::/48 === 10.2.0.0/16 2001:db8:2::/48"
    );
}

#[test]
fn the_child_that_needs_the_least_narrowing_is_chosen() {
    let choice = gateway().connection(|connection| {
        let first = connection.children[0].clone();
        let named = |name: &str, local: &str| {
            let mut child = ferry_ike::config::Child::clone(&first);
            child.name = name.into();
            child.local_ts = vec![ferry_ike::selector::SelectorPattern::parse(local).unwrap()];
            std::sync::Arc::new(child)
        };
        connection.children = vec![named("part", "10.1.5.0/24"), named("whole", "10.1.0.0/16")];
    });
    let (mut world, rw, gw) = World::of(client(), choice);
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(gw).children[0].name, "whole");
}

#[test]
fn without_common_traffic_the_ike_sa_stands_alone() {
    let (mut world, rw, gw) = World::of(client().ts("dynamic", "10.9.0.0/16"), gateway());
    let request = world.initiate(rw, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.events(gw), ["IKE_SA gw up"]);
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, N(TS_UNACCEPTABLE)}");
    assert_eq!(
        world.events(rw),
        [
            "IKE_SA rw up".to_owned(),
            format!(
                "request {request} failed: establishing CHILD_SA failed: the peer answered TS_UNACCEPTABLE"
            ),
        ]
    );
    for host in [rw, gw] {
        let sa = world.ike_sa(host);
        assert_eq!(sa.state, IkeSaState::Established);
        assert!(sa.children.is_empty());
        assert_eq!(world.host(host).outside.installed().count(), 0);
    }
    let sa = world.ike_sa(rw).id;
    world.terminate(rw, sa);
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

fn selector(text: &str) -> TrafficSelector {
    SelectorPattern::parse(text).unwrap().resolve(&[])[0]
}

fn trigger(local: &str, remote: &str) -> Option<Trigger> {
    Some(Trigger { local: selector(local), remote: selector(remote), reqid: Some(77) })
}

fn shown(selectors: &[TrafficSelector]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The puppet gateway takes IKE_SA_INIT and answers IKE_AUTH with what `more` adds to IDr and AUTH.
fn puppet_gateway(
    setup: Setup,
    trigger: Option<Trigger>,
    more: impl FnOnce(&mut PayloadWriter),
) -> (World, HostId, Puppet, RequestId) {
    let (mut world, rw, _) = World::of(setup, gateway().at("192.0.2.2"));
    world.keep_mail(GATEWAY_IP);
    let mut puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 2);
    let request = world.acquire(rw, "net", trigger);
    world.run();
    let init = world.mail(GATEWAY_IP).unwrap();
    let response = puppet.init_response(&init, |_| {});
    world.inject(response);
    world.run();
    world.mail(GATEWAY_IP).unwrap();
    let mut payloads = puppet.auth("gw.example.org", PSK);
    more(&mut payloads);
    let response = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(response);
    world.run();
    (world, rw, puppet, request)
}

/// "The initiator SHOULD include as the first Traffic Selector in each of TSi and TSr a very specific Traffic Selector
/// including the addresses in the packet triggering the request."
#[test]
fn the_packet_that_asks_comes_first_and_stays_covered() {
    let networks = |setup: Setup, local: &str, remote: &str| {
        setup.child(|child| {
            child.local_ts = local.split(' ').map(|text| SelectorPattern::parse(text).unwrap()).collect();
            child.remote_ts = vec![SelectorPattern::parse(remote).unwrap()];
        })
    };
    // The gateway allows several networks: the one of the packet is the first that is agreed on.
    let rw = networks(client(), "10.2.0.0/16", "10.0.0.0/8");
    let gw = networks(gateway(), "10.1.0.0/24 10.3.0.0/24 10.4.0.0/24", "10.2.0.0/16");
    let (mut world, rw, gw) = World::of(rw, gw);
    let request = world.acquire(rw, "net", trigger("10.2.0.5[tcp/40000]", "10.3.0.9[tcp/80]"));
    world.run();
    let (ours, theirs) = (child(&world, rw), child(&world, gw));
    assert_eq!(shown(&ours.remote_ts), "10.3.0.0/24 10.1.0.0/24 10.4.0.0/24");
    assert_eq!(shown(&theirs.remote_ts), "10.2.0.0/16");
    assert_eq!(ours.reqid, 77, "the trap's");
    assert!(world.events(rw).contains(&format!("request {request} done")));
    // The same in an IKE SA that stands.
    world.acquire(rw, "net", trigger("10.2.0.5[udp/40000]", "10.4.0.9[udp/53]"));
    world.run();
    let children = world.ike_sa(rw).children;
    assert_eq!(shown(&children[1].remote_ts), "10.4.0.0/24 10.1.0.0/24 10.3.0.0/24");
}

#[test]
fn a_packet_that_is_not_the_childs_asks_for_the_child_alone() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.acquire(rw, "net", trigger("10.66.0.1[icmp/8]", "10.1.0.1[icmp/8]"));
    world.run();
    world.assert_connected(rw, gw);
    assert_eq!(shown(&child(&world, gw).remote_ts), "198.51.100.7/32");
}

/// "The SINGLE_PAIR_REQUIRED error indicates that a CREATE_CHILD_SA request is unacceptable because its sender is only
/// willing to accept Traffic Selectors specifying a single pair of addresses. The requestor is expected to respond by
/// requesting an SA for only the specific traffic it is trying to forward."
#[test]
fn single_pair_required_is_followed_by_a_request_for_the_packet() {
    let packet = || trigger("198.51.100.7[tcp/40000]", "10.1.0.9[tcp/80]");
    let (mut world, rw, mut puppet, request) = puppet_gateway(client(), packet(), |payloads| {
        payloads.notify(NotifyType::SINGLE_PAIR_REQUIRED, &[]);
    });
    let retry = world.mail(GATEWAY_IP).unwrap();
    assert_eq!(puppet.read(&retry).unwrap(), "SA, Ni, TSi, TSr");
    let mut payloads = PayloadWriter::new();
    payloads.nonce(&[7; 32]);
    Puppet::child(
        &mut payloads,
        "aes128gcm16",
        Spi(0x1234_5678),
        "198.51.100.7[tcp/40000]",
        "10.1.0.9[tcp/80]",
    );
    let response = puppet.seal(ExchangeType::CREATE_CHILD_SA, 2, true, &payloads);
    world.inject(response);
    world.run();
    let made = child(&world, rw);
    assert_eq!(
        format!("{} === {}", shown(&made.local_ts), shown(&made.remote_ts)),
        "198.51.100.7/32[tcp/40000] === 10.1.0.9/32[tcp/http]"
    );
    let events = world.events(rw);
    assert!(events.contains(&format!("request {request} done")), "{events:?}");
    world.assert_no_faults();

    // In CREATE_CHILD_SA it is the same, and a peer that is never content is not asked for ever.
    let request = world.acquire(rw, "net", packet());
    for message_id in [3, 4] {
        world.run();
        let mut refusal = PayloadWriter::new();
        refusal.notify(NotifyType::SINGLE_PAIR_REQUIRED, &[]);
        let response = puppet.seal(ExchangeType::CREATE_CHILD_SA, message_id, true, &refusal);
        world.inject(response);
    }
    let failed = format!(
        "request {request} failed: establishing CHILD_SA net failed: the peer answered SINGLE_PAIR_REQUIRED"
    );
    assert!(world.events(rw).contains(&failed));
    assert_eq!(world.host(rw).outside.installed().count(), 1);
    world.assert_no_faults();
}

#[test]
fn without_a_packet_there_is_no_single_pair_to_ask_for() {
    let (mut world, rw, _, request) = puppet_gateway(client(), None, |payloads| {
        payloads.notify(NotifyType::SINGLE_PAIR_REQUIRED, &[]);
    });
    assert_eq!(world.mail(GATEWAY_IP).map(|mail| mail.octets.len()), None);
    let events = world.events(rw).join("\n");
    assert!(events.contains(&format!("request {request} failed")), "{events}");
    world.assert_no_faults();
}

/// "ADDITIONAL_TS_POSSIBLE": the peer would take more with another SA. What more is wanted asks for itself.
#[test]
fn additional_ts_possible_changes_nothing() {
    let (world, rw, ..) = puppet_gateway(client(), None, |payloads| {
        payloads.notify(NotifyType::ADDITIONAL_TS_POSSIBLE, &[]);
        Puppet::child(payloads, "aes128gcm16", Spi(0x1234_5678), "198.51.100.7", "10.1.5.0/24");
    });
    assert_eq!(shown(&child(&world, rw).remote_ts), "10.1.5.0/24");
}
