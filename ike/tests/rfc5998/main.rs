//! Stories about RFC 5998, EAP-only authentication in IKEv2.
#![expect(clippy::unwrap_used, reason = "a story that is not as told fails")]

use std::time::Duration;

use ferry_ike::config::EapMethods;
use ferry_ike::eap::Method;
use ferry_ike::sim::{HostId, PSK, Setup, World, client, gateway};

/// As long as EAP-PSK wants it.
const PASSWORD: &str = "sixteen letters!";

const PSK_ONLY: EapMethods = EapMethods::One(Method::Psk);

/// A client that expects the gateway to prove itself by EAP too.
fn alice(methods: EapMethods) -> Setup {
    client()
        .no_psk()
        .eap(methods, Some("alice"))
        .peer_eap(EapMethods::Any, None)
        .password(PASSWORD, &["alice"])
}

fn eap_gateway(methods: EapMethods) -> Setup {
    let gateway = gateway().no_psk().eap(methods, None).peer_eap(methods, Some("%any"));
    gateway.password(PASSWORD, &["alice"])
}

fn down(world: &mut World, host: HostId) -> String {
    let told = world.events(host);
    told.into_iter().find(|line| line.contains(" down: ")).unwrap()
}

#[test]
fn both_ends_prove_themselves_by_eap_alone() {
    let (mut world, rw, gw) = World::of(alice(PSK_ONLY), eap_gateway(PSK_ONLY));
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, N(EAP_ONLY_AUTHENTICATION), SAi2, TSi, TSr}"
    );
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, EAP}");
    for _ in 0..3 {
        assert_eq!(world.deliver(), "rw --> gw: HDR, SK {EAP}");
        assert_eq!(world.deliver(), "gw --> rw: HDR, SK {EAP}");
    }
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {AUTH}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
}

#[test]
fn a_gateway_offers_methods_alone_that_prove_it_too() {
    // Of all methods, EAP-PSK is the one.
    let (mut world, rw, gw) = World::of(alice(EapMethods::Any), eap_gateway(EapMethods::Dynamic));
    world.connect(rw, gw, "net");
}

#[test]
fn methods_that_do_not_prove_the_gateway_are_not_enough() {
    for method in [Method::MsChapV2, Method::Md5, Method::Gtc] {
        // The client does not announce it, and the gateway has nothing for those that do not.
        let (mut world, rw, gw) =
            World::of(alice(EapMethods::One(method)), eap_gateway(EapMethods::One(method)));
        world.initiate(rw, "net");
        world.run();
        assert!(down(&mut world, gw).ends_with("that has EAP"));
        assert_eq!(down(&mut world, rw), "IKE_SA rw down: the peer answered AUTHENTICATION_FAILED");
    }
}

#[test]
fn a_client_that_wants_a_pre_shared_key_announces_nothing() {
    let picky = client().eap(PSK_ONLY, Some("alice")).password(PASSWORD, &["alice"]);
    let (mut world, rw, gw) = World::of(picky, eap_gateway(PSK_ONLY));
    world.initiate(rw, "net");
    world.run();
    assert!(down(&mut world, gw).ends_with("that has EAP"));
    assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
}

#[test]
fn a_client_that_wants_eap_alone_does_not_take_a_pre_shared_key() {
    let gateway = gateway().peer_eap(PSK_ONLY, Some("%any")).password(PASSWORD, &["alice"]);
    let (mut world, rw, gw) = World::of(alice(PSK_ONLY).psk_for(PSK, &[]), gateway);
    world.initiate(rw, "net");
    world.run();
    assert!(down(&mut world, rw).ends_with("expected EAP"));
    world.run_for(Duration::from_secs(31));
    assert!(world.ike_sas(gw).is_empty());
    world.assert_nothing_left();
}

#[test]
fn a_gateway_of_another_name_is_not_believed() {
    // It knows alice's key.
    let other = eap_gateway(PSK_ONLY);
    let client = alice(PSK_ONLY).connection(|connection| {
        for auth in &mut connection.local {
            auth.aaa_id = Some(ferry_ike::identity::Identity::parse("aaa.example.org").unwrap());
        }
    });
    let (mut world, rw, gw) = World::of(client, other);
    world.initiate(rw, "net");
    world.run();
    let why = down(&mut world, rw);
    assert!(why.ends_with("the EAP-PSK server is 'gw.example.org', expected 'aaa.example.org'"), "{why}");
    world.run_for(Duration::from_secs(31));
    assert!(world.ike_sas(gw).is_empty());
}

#[test]
fn a_wrong_key_fails_at_both_ends() {
    let client = alice(PSK_ONLY);
    let gateway = gateway().no_psk().eap(PSK_ONLY, None).peer_eap(PSK_ONLY, Some("%any"));
    let (mut world, rw, gw) = World::of(client, gateway.password("sixteen letters?", &["alice"]));
    world.initiate(rw, "net");
    world.run();
    assert!(down(&mut world, gw).ends_with("EAP-PSK verification of 'alice' failed"));
    assert!(down(&mut world, rw).ends_with("the server answered EAP-Failure"));
}
