//! Nobody who pretends to be somebody.

use ferry_ike::config::Unique;
use ferry_ike::identity::Identity;
use ferry_ike::sim::{HostId, Puppet, Setup, World, client, gateway};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{CfgAttributeType, CfgType, ExchangeType, IdType, NotifyType};

use crate::down;

const GATEWAY: &str = "192.0.2.1:500";
const OFFER: &str = "aes128gcm16-prfsha256-x25519";

/// A gateway with a connection for those who know the secret, and one for everybody.
fn open_to_all() -> Setup {
    gateway().unique(Unique::Replace).another("anybody").null().peer_null()
}

fn puppet(seed: u64) -> Puppet {
    Puppet::initiator(&format!("198.51.100.{}:500", 60 + seed), GATEWAY, OFFER, seed)
}

fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

/// Nobody comes, says that it is `own_id`, and asks for traffic of its own and what `more` adds.
fn nobody(
    world: &mut World,
    seed: u64,
    own_id: &Identity,
    ts_i: &str,
    more: impl FnOnce(&mut PayloadWriter),
) -> Option<String> {
    let mut puppet = puppet(seed);
    puppet.open(world);
    let mut payloads = puppet.null_auth(own_id, true);
    more(&mut payloads);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, ts_i, "10.1.0.0/16");
    puppet.ask(world, ExchangeType::IKE_AUTH, &payloads)
}

const WELCOME: Option<&str> = Some("IDr, AUTH, SAr2, TSi, TSr");

fn peers(world: &World, gw: HostId) -> Vec<String> {
    let mut all: Vec<_> =
        world.ike_sas(gw).into_iter().filter_map(|sa| Some(sa.remote_id?.to_string())).collect();
    all.sort();
    all
}

#[test]
fn whoever_it_says_it_is_it_is_nobody() {
    let (mut world, _, gw) = World::of(client(), open_to_all());
    let answer = nobody(&mut world, 1, &id("rw.example.org"), "198.51.100.61", |_| {});
    assert_eq!(answer.as_deref(), WELCOME);
    let sa = world.ike_sa(gw);
    assert_eq!(sa.remote_id, Some(Identity::null()));
    assert_eq!(sa.connection.as_deref(), Some("anybody"));
}

#[test]
fn nobody_ends_what_somebody_has() {
    let (mut world, rw, gw) = World::of(client(), open_to_all());
    world.connect(rw, gw, "net");
    // §2.3: with the same identity, and saying that there is nothing else of it.
    for (seed, name) in (1..).zip(["rw.example.org", "rw.example.org", "other"]) {
        let own = format!("198.51.100.{}", 60 + seed);
        let answer = nobody(&mut world, seed, &id(name), &own, |payloads| {
            payloads.notify(NotifyType::INITIAL_CONTACT, &[]);
        });
        assert_eq!(answer.as_deref(), WELCOME);
    }
    assert_eq!(peers(&world, gw), ["ID_NULL", "ID_NULL", "ID_NULL", "rw.example.org"]);
}

#[test]
fn nobody_keeps_somebody_out() {
    for unique in [Unique::Keep, Unique::Replace, Unique::No] {
        let gateway = gateway().unique(unique).another("anybody").null().peer_null();
        let (mut world, rw, gw) = World::of(client(), gateway);
        let answer = nobody(&mut world, 1, &id("rw.example.org"), "198.51.100.61", |_| {});
        assert_eq!(answer.as_deref(), WELCOME);
        world.initiate(rw, "net");
        world.run();
        assert_eq!(peers(&world, gw), ["ID_NULL", "rw.example.org"], "{unique:?}");
    }
}

#[test]
fn nobody_gets_the_traffic_of_somebody() {
    // §2.5: all traffic is asked for, and its own is had.
    let (mut world, _, gw) = World::of(client(), open_to_all());
    let answer = nobody(&mut world, 1, &Identity::null(), "0.0.0.0/0", |_| {});
    assert_eq!(answer.as_deref(), WELCOME);
    let child = &world.ike_sa(gw).children[0];
    let theirs: Vec<_> = child.remote_ts.iter().map(ToString::to_string).collect();
    assert_eq!(theirs, ["198.51.100.61/32"]);
    // That of somebody else alone is not had at all.
    let answer = nobody(&mut world, 2, &Identity::null(), "192.0.2.53", |_| {});
    assert_eq!(answer.as_deref(), Some("IDr, AUTH, N(TS_UNACCEPTABLE)"));
}

#[test]
fn nobody_shares_an_address_with_another() {
    let gateway = open_to_all().pool("10.3.0.0/24");
    let (mut world, _, gw) = World::of(client(), gateway);
    let wanted = [10, 3, 0, 1];
    for seed in [1, 2] {
        let answer = nobody(&mut world, seed, &Identity::null(), "0.0.0.0/0", |payloads| {
            payloads.cp(CfgType::REQUEST, &[(CfgAttributeType::INTERNAL_IP4_ADDRESS, wanted.to_vec())]);
        });
        assert_eq!(answer.as_deref(), Some("IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr"));
    }
    let mut addresses: Vec<_> =
        world.ike_sas(gw).iter().flat_map(|sa| sa.remote_vips.clone()).map(|vip| vip.to_string()).collect();
    addresses.sort();
    assert_eq!(addresses, ["10.3.0.1", "10.3.0.2"]);
}

#[test]
fn auth_has_to_be_of_this_ike_sa() {
    let (mut world, _, gw) = World::of(client(), gateway().no_psk().null().peer_null());
    let mut puppet = puppet(1);
    puppet.open(&mut world);
    // §2.1: the keys are different in each direction.
    let payloads = puppet.null_auth(&Identity::null(), false);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
    assert!(down(&mut world, gw).contains("AUTH without authentication does not fit the IKE_SA"));
}

#[test]
fn id_null_is_empty_and_proves_nothing() {
    let (mut world, _, gw) = World::of(client(), gateway().another("anybody").null().peer_null());
    let mut full = puppet(1);
    full.open(&mut world);
    let payloads = full.null_auth(&Identity { id_type: IdType::NULL, data: b"alice".to_vec() }, true);
    let answer = full.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("N(INVALID_SYNTAX)")); // §2.2: MUST be empty
    down(&mut world, gw);

    let mut knowing = puppet(2);
    knowing.open(&mut world);
    let payloads = knowing.auth("{13}:", ferry_ike::sim::PSK);
    let answer = knowing.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
    let why = down(&mut world, gw);
    assert!(why.contains("ID_NULL is nobody who could prove it by pre-shared key"), "{why}");
}
