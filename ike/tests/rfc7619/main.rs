//! Stories about RFC 7619: NULL authentication.
#![expect(clippy::unwrap_used, reason = "a story that is not as told fails")]

mod hostile;
#[path = "../rfc7670/refused.rs"]
mod refused;

use std::time::Duration;

use ferry_ike::config::{EapMethods, SendCert};
use ferry_ike::eap::Method;
use ferry_ike::identity::Identity;
use ferry_ike::sim::{Setup, World, client, gateway};

use crate::refused::{down, fails};

const P256: &[u8] = include_bytes!("../../src/sim/keys/p256.p8");

#[test]
fn neither_end_says_who_it_is() {
    let (mut world, rw, gw) =
        World::of(client().no_psk().null().peer_null(), gateway().no_psk().null().peer_null());
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    // Without INITIAL_CONTACT (§2.3), and without IDr.
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, AUTH, SAi2, TSi, TSr}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
    for host in [rw, gw] {
        let sa = world.ike_sa(host);
        assert_eq!((sa.local_id, sa.remote_id), (Some(Identity::null()), Some(Identity::null())));
    }
}

#[test]
fn one_end_proves_who_it_is() {
    // Anybody to a server that proves itself.
    let anybody = client().no_psk().null().peer_raw_key(P256);
    let server = gateway().no_psk().raw_key(P256).peer_null();
    let (mut world, rw, gw) = World::of(anybody, server);
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(rw).remote_id.unwrap().to_string(), "gw.example.org");
    // A sensor to any collector.
    let sensor = client().no_psk().raw_key(P256).peer_null();
    let collector = gateway().no_psk().null().peer_id("rw.example.org").peer_raw_key(P256);
    let (mut world, rw, gw) = World::of(sensor, collector);
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(gw).remote_id.unwrap().to_string(), "rw.example.org");
    assert!(world.ike_sa(rw).remote_id.unwrap().is_null());
}

#[test]
fn who_has_to_be_somebody_is_refused() {
    let nobody = || client().no_psk().null().peer_null();
    let why = "that takes NULL authentication";
    fails(nobody(), gateway().null(), true, why);
    fails(nobody(), gateway().null().peer_certificate(), true, why);
    // A connection that does not say takes any proof, but a proof.
    let unsaid = gateway().null().connection(|connection| connection.remote[0].class = None);
    fails(nobody(), unsaid, true, why);
}

#[test]
fn a_gateway_has_to_be_who_it_is_expected_to_be() {
    let nobody = || gateway().null();
    fails(client(), nobody(), false, "used NULL authentication, expected a pre-shared key");
    let unsaid = client().connection(|connection| connection.remote[0].class = None);
    fails(unsaid, nobody(), false, "used NULL authentication, expected a pre-shared key");
    let another = client().peer_null();
    fails(another, gateway(), false, "used pre-shared key, expected NULL authentication");
}

#[test]
fn nobody_is_proven_nothing_by_eap() {
    let methods = EapMethods::One(Method::MsChapV2);
    let client = client().no_psk().eap(methods, Some("alice")).password("a password", &["alice"]).peer_null();
    let gateway =
        gateway().no_psk().null().peer_eap(methods, Some("%any")).password("a password", &["alice"]);
    fails(client, gateway, false, "uses NULL authentication, and we are to use EAP");
}

#[test]
fn nobody_asks_for_certificates() {
    let null = |setup: Setup| setup.no_psk().null().peer_null();
    let always = |setup: Setup| setup.connection(|connection| connection.send_cert = SendCert::Always);
    let (mut world, rw, gw) = World::of(always(null(client())), always(null(gateway())));
    world.connect(rw, gw, "net");
    assert!(!world.transcript().contains("CERT"), "{}", world.transcript());
}

#[test]
fn nobody_lives_as_long_as_others() {
    let null = |setup: Setup| setup.no_psk().null().peer_null();
    let gateway = null(gateway()).connection(|connection| {
        (connection.rekey_time, connection.over_time) =
            (Some(Duration::from_secs(100)), Duration::from_secs(10));
        connection.dpd_delay = Some(Duration::from_secs(30));
    });
    let (mut world, rw, gw) = World::of(null(client()), gateway);
    world.connect(rw, gw, "net");
    let before = world.ike_sa(gw).spi_i;
    world.run_for(Duration::from_secs(150));
    world.assert_connected(rw, gw);
    assert_ne!(world.ike_sa(gw).spi_i, before, "it was rekeyed");
    assert!(world.ike_sa(gw).remote_id.unwrap().is_null());
    // §2.3: what nobody has left behind is found.
    world.cut(rw, true);
    world.run_for(Duration::from_secs(400));
    assert!(world.ike_sas(gw).is_empty());
}
