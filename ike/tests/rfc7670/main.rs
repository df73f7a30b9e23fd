//! Stories about RFC 7670: raw public keys.

mod refused;

use ferry_ike::config::SendCert;
use ferry_ike::crypto::signature::PrivateKey;
use ferry_ike::identity::Identity;
use ferry_ike::sim::{Puppet, Setup, World, client, gateway};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{AuthMethod, CertEncoding, ExchangeType};

use crate::refused::{down, fails};

const RSA: &[u8] = include_bytes!("../../src/sim/keys/rsa.p8");
const P256: &[u8] = include_bytes!("../../src/sim/keys/p256.p8");
const P384: &[u8] = include_bytes!("../../src/sim/keys/p384.p8");
const ED25519: &[u8] = include_bytes!("../../src/sim/keys/ed25519.p8");

/// A client and a gateway that know each other's keys.
fn pair(client_key: &[u8], gateway_key: &[u8]) -> (Setup, Setup) {
    let client = client().no_psk().raw_key(client_key).peer_raw_key(gateway_key);
    let gateway = gateway().no_psk().raw_key(gateway_key).peer_id("rw.example.org").peer_raw_key(client_key);
    (client, gateway)
}

#[test]
fn keys_are_asked_for_and_sent() {
    let (client, gateway) = pair(ED25519, P256);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    assert_eq!(world.deliver(), "gw --> rw: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*), CERTREQ");
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, CERT, N(INITIAL_CONTACT), CERTREQ, IDr, AUTH, SAi2, TSi, TSr}"
    );
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
}

#[test]
fn with_every_kind_of_key_and_whether_it_is_sent_or_not() {
    for (client_key, gateway_key) in [(RSA, P256), (P256, P384), (P384, ED25519), (ED25519, RSA)] {
        for send_cert in [SendCert::Never, SendCert::Always] {
            let (client, gateway) = pair(client_key, gateway_key);
            let quiet = |setup: Setup| {
                setup.connection(|connection| {
                    (connection.send_cert, connection.send_certreq) = (send_cert, false);
                })
            };
            let (mut world, rw, gw) = World::of(quiet(client), quiet(gateway));
            world.connect(rw, gw, "net");
        }
    }
}

#[test]
fn a_peer_that_announces_no_hashes_signs_in_the_older_way() {
    let (client, gateway) = pair(P384, RSA);
    let gateway = gateway.settings(|settings| settings.signature_authentication = false);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
}

#[test]
fn one_of_several_keys_is_enough() {
    let (client, gateway) = pair(P256, RSA);
    let (mut world, rw, gw) = World::of(client.peer_raw_key(P384), gateway.peer_raw_key(ED25519));
    world.connect(rw, gw, "net");
}

#[test]
fn another_key_is_refused_whether_it_is_shown_or_not() {
    for (send_cert, why) in [
        (SendCert::Always, "that 'rw.example.org' has sent is none of those it may have"),
        (SendCert::Never, "the signature of 'rw.example.org' with the raw public key ECDSA 256 "),
    ] {
        let (client, _) = pair(ED25519, P256);
        let (_, gateway) = pair(P256, P256);
        fails(client.connection(|connection| connection.send_cert = send_cert), gateway, true, why);
    }
    let (client, _) = pair(P256, RSA);
    let (_, gateway) = pair(P256, P384);
    fails(client, gateway, false, "that 'gw.example.org' has sent is none of those it may have");
}

#[test]
fn a_key_proves_nobody_else() {
    let (client, gateway) = pair(P256, P256);
    let stranger = client.connection(|connection| {
        for auth in &mut connection.local {
            auth.id = Some(Identity::parse("other.example.org").unwrap());
        }
    });
    fails(stranger, gateway, true, "no matching peer config found");
}

#[test]
fn who_has_no_other_name_goes_by_the_key() {
    let name = PrivateKey::from_der(ED25519).unwrap().public().identity();
    let (client, gateway) = pair(ED25519, P256);
    let client = client.connection(|connection| connection.local.iter_mut().for_each(|auth| auth.id = None));
    let gateway = gateway.connection(|connection| {
        for auth in &mut connection.remote {
            auth.id = name.clone();
        }
    });
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
}

#[test]
fn rules_count_for_raw_keys_too() {
    let (client, gateway) = pair(RSA, P256);
    fails(
        client.signing("rsa-sha256-ecdsa-sha256"),
        gateway.signing("rsa/pss-sha256-ecdsa-sha256"),
        true,
        "RSA_EMSA_PKCS1_SHA2_256 signatures are not allowed",
    );
}

#[test]
fn a_key_whose_private_key_is_missing_signs_nothing() {
    let (client, gateway) = pair(P256, P256);
    let public = PrivateKey::from_der(P384).unwrap().public().clone();
    let client = client.connection(|connection| {
        connection.local.iter_mut().for_each(|auth| auth.public_keys = vec![public.clone()]);
    });
    let why = "no private key found for 'rw.example.org': none of its raw public keys is loaded";
    fails(client, gateway, false, why);
}

#[test]
fn octets_that_are_no_key_are_named_and_refused() {
    let own = PrivateKey::from_der(P256).unwrap();
    let spki = own.public().spki_der();
    let truncated = spki.get(..spki.len() - 1).unwrap();
    let trailing = [spki, &[0]].concat();
    for (seed, key) in (0..).zip([&[][..], &[0x30, 0x80], truncated, &trailing, &[0xff; 3000]]) {
        let (client, gateway) = pair(P256, P256);
        let (mut world, _, gw) = World::of(client, gateway);
        let mut puppet =
            Puppet::initiator("198.51.100.66:500", "192.0.2.1:500", "aes128gcm16-prfsha256-x25519", seed);
        puppet.open(&mut world);
        let mut payloads = PayloadWriter::new();
        payloads.id_i(&Identity::parse("rw.example.org").unwrap());
        payloads.cert(CertEncoding::RAW_PUBLIC_KEY, key);
        payloads.auth(AuthMethod::DIGITAL_SIGNATURE, &[0; 70]);
        let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
        let why = down(&mut world, gw);
        assert!(why.contains("the raw public key that 'rw.example.org' has sent cannot be used"), "{why}");
    }
}
