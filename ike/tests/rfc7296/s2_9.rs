//! Section 2.9, Traffic Selector Negotiation.

use ferry_ike::sim::{Setup, World, client, gateway};
use ferry_ike::status::IkeSaState;

use crate::seconds;

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
