//! Attempts that come to nothing are told with what explains them: what was offered, and which rule excluded which
//! connection.

use std::sync::Arc;

use ferry_ike::attempt::{Aim, Attempt, Cause, Rule};
use ferry_ike::config::EapMethods;
use ferry_ike::crypto::Role;
use ferry_ike::identity::Identity;
use ferry_ike::selector::SelectorPattern;
use ferry_ike::sim::{Setup, World, client, gateway};

use crate::seconds;

/// What client and gateway tell of an attempt between them, which must be one each.
fn attempt(client: Setup, gateway: Setup) -> (Attempt, Attempt) {
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.run_out(seconds(600));
    let [near] = world.attempts(rw).try_into().unwrap();
    let [far] = world.attempts(gw).try_into().unwrap();
    world.assert_nothing_left();
    assert_eq!((near.role, far.role), (Role::Initiator, Role::Responder));
    assert_eq!((near.path.local, near.path.remote), (far.path.remote, far.path.local));
    (near, far)
}

/// The same of a CHILD_SA, whose IKE SA stands.
fn attempt_at_child(client: Setup, gateway: Setup, child: &str) -> (Attempt, Attempt) {
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, child);
    world.run();
    let [near] = world.attempts(rw).try_into().unwrap();
    let [far] = world.attempts(gw).try_into().unwrap();
    assert_eq!((world.ike_sas(rw).len(), world.ike_sas(gw).len()), (1, 1), "the IKE SA stays");
    (near, far)
}

fn rules(attempt: &Attempt) -> Vec<(&str, &Rule)> {
    attempt.passed_over.iter().map(|passed| (passed.connection.name.as_str(), &passed.rule)).collect()
}

#[test]
fn the_connection_with_the_nearest_proposal_comes_first() {
    let gateway = gateway().ike(&["aes128-sha256-x25519"]).another("other").ike(&["aes256-sha512-ecp384"]);
    let (near, far) = attempt(client().ike(&["aes256-sha256-x25519"]), gateway);
    assert_eq!((near.cause, far.cause), (Cause::NoProposal, Cause::NoProposal));
    for attempt in [&near, &far] {
        let offered: Vec<_> = attempt.offered.iter().map(ToString::to_string).collect();
        assert_eq!(offered, ["IKE:AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519"]);
    }
    let [("gw", Rule::Proposals(first)), ("other", Rule::Proposals(second))] = rules(&far)[..] else {
        panic!("{:?}", rules(&far))
    };
    assert_eq!((first.differences.len(), second.differences.len()), (1, 3));
    assert_eq!(near.connection.unwrap().name, "rw");
    assert!(far.connection.is_none() && far.peer.is_none());
}

#[test]
fn addresses_exclude_connections_before_anything_else() {
    let gateway = gateway().peer_at("203.0.113.5").another("elsewhere").connection(|connection| {
        connection.remote_addrs = vec![ferry_ike::config::AddressPattern::Any];
        connection.local_addrs = vec![ferry_ike::config::AddressPattern::Host([192, 0, 2, 77].into())];
    });
    let (near, far) = attempt(client(), gateway);
    assert_eq!(rules(&far), [("elsewhere", &Rule::LocalAddress), ("gw", &Rule::RemoteAddress)]);
    assert_eq!(far.cause, Cause::NoConnection);
    assert_eq!(far.reason, "no IKE config found for 192.0.2.1...198.51.100.7");
    assert_eq!((near.cause, near.passed_over.len()), (Cause::NoProposal, 0));
}

#[test]
fn of_many_connections_the_nearest_are_told() {
    let far_off =
        |setup: Setup, number: usize| setup.another(&format!("c{number}")).peer_id("another.example.org");
    let gateway = (0..20).fold(gateway().peer_id("nobody.example.org"), far_off);
    let gateway = gateway.another("near").peer_id("rw.example.org").peer_eap(EapMethods::Any, None);
    let (near, far) = attempt(client(), gateway);
    assert_eq!(far.passed_over.len(), 8);
    let rules = rules(&far);
    assert_eq!(rules[0], ("near", &Rule::Authentication("the peer proves itself by a pre-shared key")));
    assert_eq!(rules[1], ("gw", &Rule::RemoteId));
    assert_eq!((near.cause, far.cause), (Cause::Unauthenticated, Cause::NoCandidate));
    assert_eq!(far.peer.unwrap().to_string(), "rw.example.org");
}

#[test]
fn a_peer_that_asks_for_somebody_else_is_told_of() {
    let (_, far) = attempt(client().peer_id("gateway.example.org"), gateway());
    let asked = Identity::parse("gateway.example.org").unwrap();
    assert_eq!(rules(&far), [("gw", &Rule::LocalId(asked))]);
}

#[test]
fn a_wrong_secret_is_told_with_the_connection_and_who_the_peer_says_it_is() {
    let (_, far) = attempt(client().psk("wrong"), gateway());
    assert_eq!(far.cause, Cause::Unauthenticated);
    assert_eq!(far.connection.unwrap().name, "gw");
    assert_eq!(far.peer.unwrap().to_string(), "rw.example.org");
}

#[test]
fn every_try_of_many_is_told_and_none_that_was_stopped() {
    let (mut world, rw, gw) = World::of(client().connection(|rw| rw.keyingtries = 2), gateway());
    world.cut(gw, true);
    world.initiate(rw, "net");
    world.run_out(seconds(2000));
    let causes: Vec<_> = world.attempts(rw).iter().map(|attempt| attempt.cause).collect();
    assert_eq!(causes, [Cause::Unanswered, Cause::Unanswered]);
    world.initiate(rw, "net");
    let ike_sa = world.ike_sas(rw)[0].id;
    world.terminate(rw, ike_sa);
    world.run_out(seconds(2000));
    assert!(world.attempts(rw).is_empty());
}

#[test]
fn a_peer_that_is_told_of_another_key_exchange_has_not_failed() {
    let client = client().ike(&["aes256-sha256-ecp256-x25519"]);
    let (mut world, rw, gw) = World::of(client, gateway().ike(&["aes256-sha256-x25519"]));
    world.connect(rw, gw, "net");
    assert!(world.attempts(rw).is_empty() && world.attempts(gw).is_empty());
}

#[test]
fn a_child_that_is_refused_is_told_by_both_ends_with_the_proposals_or_the_traffic_apart() {
    let (near, far) = attempt_at_child(client(), gateway().esp(&["aes256gcm16"]), "net");
    assert_eq!((near.aim, near.cause), (Aim::ChildSa(Some("net".to_owned())), Cause::NoProposal));
    assert_eq!((far.aim, far.cause), (Aim::ChildSa(None), Cause::NoProposal));
    assert_eq!(far.peer.unwrap().to_string(), "rw.example.org");
    assert_eq!(far.offered.len(), 1);
    assert!(matches!(&far.passed_over[0].rule, Rule::ChildProposals { child, .. } if child == "net"));

    let (near, far) = attempt_at_child(client(), gateway().ts("10.8.0.0/16", "dynamic"), "net");
    assert_eq!((near.cause, far.cause), (Cause::NoSelectors, Cause::NoSelectors));
    let Rule::Selectors(apart) = &far.passed_over[0].rule else { panic!("{far:?}") };
    assert_eq!(apart.has_common, [false, true]);
    assert_eq!(apart.ours[0][0].to_string(), "10.8.0.0/16");
    assert_eq!(apart.asked[0][0].to_string(), "10.1.0.0/16");
}

#[test]
fn a_child_that_is_refused_later_is_told_too() {
    let client = client().connection(|rw| {
        let mut more = rw.children[0].as_ref().clone();
        more.name = "more".into();
        more.remote_ts = vec![SelectorPattern::parse("10.77.0.0/16").unwrap()];
        rw.children.push(Arc::new(more));
    });
    let (mut world, rw, gw) = World::of(client, gateway());
    world.connect(rw, gw, "net");
    world.initiate(rw, "more");
    world.run();
    let [near] = world.attempts(rw).try_into().unwrap();
    let [far] = world.attempts(gw).try_into().unwrap();
    assert_eq!(
        (near.aim, near.role, near.cause),
        (Aim::ChildSa(Some("more".to_owned())), Role::Initiator, Cause::NoSelectors)
    );
    assert_eq!((far.aim, far.role, far.cause), (Aim::ChildSa(None), Role::Responder, Cause::NoSelectors));
}
