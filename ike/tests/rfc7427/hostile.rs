//! AUTH and CERT payloads that are not what they should be.

use ferry_ike::identity::Identity;
use ferry_ike::sim::{HostId, Puppet, World};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{AuthMethod, CertEncoding, ExchangeType};

use crate::lab::{ED25519, Lab, P256, RSA};
use crate::pair;

const PUPPET: &str = "198.51.100.66:500";
const GATEWAY: &str = "192.0.2.1:500";
const OFFER: &str = "aes128gcm16-prfsha256-x25519";

/// A gateway that takes clients with certificates of that authority.
fn world(lab: &Lab) -> (World, HostId) {
    let (client, gateway) = pair(lab, P256, P256);
    let (world, _, gw) = World::of(client, gateway);
    (world, gw)
}

/// A peer that knows the client's name says this certificate and this AUTH. It hears that it has failed, and no more.
fn is_refused(
    world: &mut World,
    gw: HostId,
    certificates: &[&[u8]],
    method: AuthMethod,
    data: &[u8],
    seed: u64,
) {
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, seed);
    puppet.open(world);
    let mut payloads = PayloadWriter::new();
    payloads.id_i(&Identity::parse("rw.example.org").unwrap());
    for certificate in certificates {
        payloads.cert(CertEncoding::X509_SIGNATURE, certificate);
    }
    payloads.auth(method, data);
    let answer = puppet.ask(world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"), "{method:?} {data:02x?}");
    assert!(world.ike_sas(gw).is_empty());
}

#[test]
fn signatures_that_are_none() {
    let lab = Lab::new("CA");
    let (mut world, gw) = world(&lab);
    let own = lab.certificate("rw.example.org", P256);
    let rsa = lab.certificate("rw.example.org", RSA);
    let ed25519 = lab.certificate("rw.example.org", ED25519);
    let ecdsa_sha256 = b"\x0c\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let sha1_rsa = b"\x0f\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00";
    let with = |algorithm: &[u8], signature: &[u8]| [algorithm, signature].concat();
    let mut seed = 0;
    for certificate in [&own, &rsa, &ed25519] {
        for data in [
            vec![],
            vec![0],
            vec![255],
            vec![12, 0x30, 0x0a],
            vec![0; 64],
            vec![0xff; 600],
            ecdsa_sha256.to_vec(),
            with(ecdsa_sha256, &[0x30, 0x06, 2, 1, 0, 2, 1, 0]), // r = s = 0
            with(ecdsa_sha256, &[0x30, 0x06, 2, 1, 1, 2, 1, 1]),
            with(ecdsa_sha256, &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
            with(sha1_rsa, &[1; 256]),
            with(b"\x07\x30\x05\x06\x03\x2b\x65\x70", &[0; 64]), // the neutral element
        ] {
            for method in [1, 9, 10, 11, 14] {
                seed += 1;
                is_refused(&mut world, gw, &[certificate], AuthMethod(method), &data, seed);
            }
        }
    }
    world.run_out(crate::Duration::from_secs(60));
    world.assert_nothing_left();
}

#[test]
fn certificates_that_are_none() {
    let lab = Lab::new("CA");
    let (mut world, gw) = world(&lab);
    let own = lab.certificate("rw.example.org", P256);
    // The point of the key is written as no encoding of points begins.
    let at = own.windows(4).position(|octets| octets == [0x03, 0x42, 0x00, 0x04]).unwrap();
    let mut unparsable = own.clone();
    unparsable[at + 3] = 0x05;
    let mut truncated = own.clone();
    truncated.pop();
    let many = vec![own.as_slice(); 20];
    let data = [&b"\x0c\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"[..], &[1; 70]].concat();
    let cases: [&[&[u8]]; 7] = [
        &[],
        &[&[]],
        &[b"\x30\x80"],
        &[&truncated],
        &[&unparsable],
        &[&own, &unparsable, &truncated, &[]],
        &many,
    ];
    for (certificates, seed) in cases.into_iter().zip(1..) {
        is_refused(&mut world, gw, certificates, AuthMethod::DIGITAL_SIGNATURE, &data, seed);
    }
    world.run_out(crate::Duration::from_secs(60));
    world.assert_nothing_left();
}

#[test]
fn a_signature_counts_for_its_own_handshake_alone() {
    // What a client has signed for one IKE SA is no proof in another: nonces, messages and keys are signed with it.
    let lab = Lab::new("CA");
    let (mut world, gw) = world(&lab);
    let key = ferry_ike::crypto::signature::PrivateKey::from_der(P256).unwrap();
    let rules = ferry_ike::auth::rules::SignatureRules::default();
    let hashes = ferry_ike::auth::signature::HASHES;
    let signed =
        ferry_ike::auth::signature::sign(&key, &rules, false, Some(&hashes), b"another handshake").unwrap();
    let own = lab.certificate("rw.example.org", P256);
    is_refused(&mut world, gw, &[&own], signed.method, &signed.data, 1);
}
