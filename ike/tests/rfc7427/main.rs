//! Stories about RFC 7427, signature authentication, and the certificates it is done with (RFC 7296 §3.6, §3.7).
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a story that is not as told fails")]

mod certificates;
mod hostile;
mod lab;

use std::time::Duration;

use ferry_ike::config::EapMethods;
use ferry_ike::eap::Method;
use ferry_ike::sim::{HostId, Setup, World, client, gateway};

use self::lab::{ED25519, Lab, P256, P384, RSA};

/// A client and a gateway with certificates of one authority.
fn pair(lab: &Lab, client_key: &[u8], gateway_key: &[u8]) -> (Setup, Setup) {
    let own = lab.certificate("rw.example.org", client_key);
    let client = client().no_psk().certificate(&own, client_key).peer_certificate().trusting(&lab.der);
    let own = lab.certificate("gw.example.org", gateway_key);
    let gateway = gateway().no_psk().certificate(&own, gateway_key).peer_certificate().trusting(&lab.der);
    (client, gateway)
}

fn connects(client: Setup, gateway: Setup) {
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
}

/// The client is refused; the gateway says why in its log, and nothing of it to the client.
fn is_refused(client: Setup, gateway: Setup, why: &str) {
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.run();
    assert!(down(&mut world, gw).contains(why), "{}", world.transcript());
    assert_eq!(down(&mut world, rw), "IKE_SA rw down: the peer answered AUTHENTICATION_FAILED");
    nothing_stays(world, rw, gw);
}

/// The client does not believe the gateway.
fn is_not_believed(client: Setup, gateway: Setup, why: &str) {
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.run();
    let said = down(&mut world, rw);
    assert!(said.contains(why), "{said}");
    nothing_stays(world, rw, gw);
}

fn nothing_stays(mut world: World, rw: HostId, gw: HostId) {
    world.run_out(Duration::from_secs(400));
    assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
    world.assert_nothing_left();
}

fn down(world: &mut World, host: HostId) -> String {
    world.events(host).into_iter().find(|line| line.contains(" down: ")).unwrap_or_default()
}

#[test]
fn both_ends_sign() {
    let (client, gateway) = pair(&Lab::new("CA"), ED25519, ED25519);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SAi1, KEi, Ni, N(NAT_DETECTION_*)");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*), CERTREQ");
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, CERT, N(INITIAL_CONTACT), CERTREQ, IDr, AUTH, SAi2, TSi, TSr}"
    );
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
}

#[test]
fn with_every_kind_of_key() {
    let lab = Lab::new("CA");
    for (client_key, gateway_key) in [(RSA, P256), (P256, RSA), (P384, ED25519), (ED25519, P384)] {
        let (client, gateway) = pair(&lab, client_key, gateway_key);
        connects(client, gateway);
    }
}

#[test]
fn a_peer_that_announces_no_hashes_gets_the_classic_methods() {
    let lab = Lab::new("CA");
    let classic = |setup: Setup| setup.settings(|settings| settings.signature_authentication = false);
    for key in [RSA, P256, P384] {
        let (client, gateway) = pair(&lab, key, key);
        connects(classic(client), gateway);
        let (client, gateway) = pair(&lab, key, key);
        connects(client, classic(gateway));
    }
    let (client, gateway) = pair(&lab, ED25519, RSA);
    is_not_believed(
        client,
        classic(gateway),
        "signing as 'rw.example.org' failed: no signature scheme for a key of type ED25519",
    );
}

#[test]
fn rules_say_how_to_sign_and_what_to_take() {
    let lab = Lab::new("CA");
    for rules in ["rsa/pss-sha256", "rsa/pss-sha512", "rsa-sha384", "pubkey-sha256-sha512"] {
        let (client, gateway) = pair(&lab, RSA, RSA);
        connects(client.signing(rules), gateway.signing(rules));
    }
    let (client, gateway) = pair(&lab, RSA, RSA);
    is_refused(
        client.signing("rsa-sha256"),
        gateway.signing("rsa/pss-sha256"),
        "RSA_EMSA_PKCS1_SHA2_256 signatures are not allowed",
    );
    let (client, gateway) = pair(&lab, RSA, RSA);
    is_not_believed(
        client.signing("rsa-4096"),
        gateway,
        "2048 bits of a key of type RSA are fewer than 4096",
    );
    let (client, gateway) = pair(&lab, RSA, P256);
    let pss = |setup: Setup| setup.settings(|settings| settings.rsa_pss = true);
    connects(pss(client), gateway.signing("rsa/pss-sha256-ecdsa-sha256"));
}

#[test]
fn each_end_proves_itself_in_its_own_way() {
    let lab = Lab::new("CA");
    let own = lab.certificate("gw.example.org", P256);
    connects(client().peer_certificate().trusting(&lab.der), gateway().certificate(&own, P256));
    let own = lab.certificate("rw.example.org", P256);
    connects(client().certificate(&own, P256), gateway().peer_certificate().trusting(&lab.der));
}

#[test]
fn a_gateway_with_a_certificate_has_clients_with_eap() {
    let methods = EapMethods::One(Method::MsChapV2);
    let lab = Lab::new("CA");
    let own = lab.certificate("gw.example.org", P256);
    let client = client()
        .no_psk()
        .eap(methods, Some("alice"))
        .password("a password", &["alice"])
        .peer_certificate()
        .trusting(&lab.der);
    let gateway = gateway()
        .no_psk()
        .certificate(&own, P256)
        .peer_eap(methods, Some("%any"))
        .password("a password", &["alice"]);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), CERTREQ, IDr, SAi2, TSi, TSr}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, AUTH, EAP}");
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn a_gateway_that_nobody_vouches_for_gets_no_eap() {
    let methods = EapMethods::One(Method::MsChapV2);
    let (lab, other) = (Lab::new("CA"), Lab::new("another CA"));
    let own = lab.certificate("gw.example.org", P256);
    let client = client()
        .no_psk()
        .eap(methods, Some("alice"))
        .password("a password", &["alice"])
        .peer_certificate()
        .trusting(&other.der)
        .trusting(&other.der);
    let gateway = gateway()
        .no_psk()
        .certificate(&own, P256)
        .connection(|connection| connection.send_cert = ferry_ike::config::SendCert::Always)
        .peer_eap(methods, Some("%any"))
        .password("a password", &["alice"]);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    world.deliver();
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, AUTH, EAP}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {N(AUTHENTICATION_FAILED), D}");
    nothing_stays(world, rw, gw);
}
