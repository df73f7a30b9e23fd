//! Section 2.5, Version Numbers and Forward Compatibility.

use ferry_ike::sim::{PSK, Puppet, World, client, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::registry::{ExchangeType, PayloadType, Spi};
use ferry_ike::wire::{self, PayloadWriter};

use crate::{GATEWAY, OFFER, PUPPET, PUPPET_IP, said};

const UNKNOWN: PayloadType = PayloadType(200);

fn puppet_and_gateway() -> (World, Puppet, ferry_ike::sim::HostId) {
    let (mut world, _, gw) = World::of(client(), gateway());
    world.keep_mail(PUPPET_IP);
    (world, Puppet::initiator(PUPPET, GATEWAY, OFFER, 1), gw)
}

fn auth(puppet: &Puppet) -> PayloadWriter {
    let mut auth = puppet.auth("puppet@example.org", PSK);
    Puppet::child(&mut auth, "aes128gcm16", Spi(0x1000_0000), "198.51.100.66", "10.1.0.0/16");
    auth
}

#[test]
fn a_later_major_version_is_told_which_one_we_speak() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    let mut request = puppet.init_request(None, |_| {});
    request.octets[17] = 0x30;
    world.inject(request.clone());
    assert_eq!(world.in_air(), ["gw --> 198.51.100.66:500: HDR, N(INVALID_MAJOR_VERSION)"]);
    let answer = world.take();
    let header = wire::decode(&answer.octets).unwrap().header;
    assert_eq!((header.major, header.spi_i, header.flags.response), (2, puppet.spi_i, true));
    assert!(world.ike_sas(gw).is_empty());
    // Not in answer to what calls itself an answer.
    request.octets[19] |= 0x20;
    world.inject(request);
    assert!(world.in_air().is_empty());
}

#[test]
fn an_earlier_major_version_is_ignored() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    let mut request = puppet.init_request(None, |_| {});
    for version in [0x00, 0x10, 0x1f] {
        request.octets[17] = version;
        world.inject(request.clone());
    }
    assert!(world.in_air().is_empty() && world.ike_sas(gw).is_empty());
    assert_eq!(world.host(gw).endpoint.counters().invalid, 3);
}

#[test]
fn the_minor_version_and_reserved_flags_are_ignored() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    let mut request = puppet.init_request(None, |_| {});
    request.octets[17] = 0x2f;
    request.octets[19] |= 0b1101_0111 & !0x20;
    world.inject(request);
    assert_eq!(world.deliver(), "gw --> 198.51.100.66:500: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*)");
    assert_eq!(world.ike_sas(gw).len(), 1);
}

#[test]
fn an_unknown_payload_is_skipped() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    let request = puppet.init_request(None, |payloads| {
        payloads.raw(UNKNOWN, false, b"from the future");
    });
    world.inject(request);
    world.run();
    let answer = world.mail(PUPPET_IP).unwrap();
    puppet.take_init_response(&answer);
    let mut payloads = auth(&puppet);
    payloads.raw(UNKNOWN, false, b"from the future");
    let request = puppet.seal(ExchangeType::IKE_AUTH, 1, false, &payloads);
    world.inject(request);
    world.run();
    let answer = world.mail(PUPPET_IP).unwrap();
    assert_eq!(puppet.read(&answer).as_deref(), Some("IDr, AUTH, SAr2, TSi, TSr"));
    assert_eq!(world.ike_sa(gw).state, IkeSaState::Established);
}

#[test]
fn an_unknown_critical_payload_in_ike_sa_init_is_refused() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    let request = puppet.init_request(None, |payloads| {
        payloads.raw(UNKNOWN, true, b"from the future");
    });
    world.inject(request.clone());
    assert_eq!(world.in_air(), ["gw --> 198.51.100.66:500: HDR, N(UNSUPPORTED_CRITICAL_PAYLOAD)"]);
    let answer = world.take();
    let message = wire::decode(&answer.octets).unwrap();
    assert_eq!(message.payloads.notifies().next().unwrap().data, [UNKNOWN.0]);
    assert!(world.ike_sas(gw).is_empty());
    // Only a request that could have begun an IKE SA is worth an answer.
    for (offset, octet) in [(19, 0x28), (18, ExchangeType::INFORMATIONAL.0), (8, 1)] {
        let mut other = request.clone();
        other.octets[offset] = octet;
        world.inject(other);
        assert!(world.in_air().is_empty());
    }
}

#[test]
fn an_unknown_critical_payload_in_ike_auth_is_refused_before_anything_is_looked_at() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    puppet.open(&mut world);
    let mut payloads = auth(&puppet);
    payloads.raw(UNKNOWN, true, b"from the future");
    let request = puppet.seal(ExchangeType::IKE_AUTH, 1, false, &payloads);
    world.inject(request);
    world.run();
    let answer = world.mail(PUPPET_IP).unwrap();
    assert_eq!(puppet.read(&answer).as_deref(), Some("N(UNSUPPORTED_CRITICAL_PAYLOAD)"));
    assert!(world.ike_sas(gw).is_empty());
    world.run_out(crate::seconds(60));
    world.assert_nothing_left();
}

#[test]
fn an_unknown_critical_payload_later_is_refused_and_the_ike_sa_stays() {
    let (mut world, mut puppet, gw) = puppet_and_gateway();
    puppet.open(&mut world);
    let payloads = auth(&puppet);
    let request = puppet.seal(ExchangeType::IKE_AUTH, 1, false, &payloads);
    world.inject(request);
    world.run();
    world.mail(PUPPET_IP).unwrap();
    let mut payloads = PayloadWriter::new();
    payloads.delete_ike().raw(UNKNOWN, true, b"from the future");
    let request = puppet.seal(ExchangeType::INFORMATIONAL, 2, false, &payloads);
    world.inject(request);
    world.run();
    let answer = world.mail(PUPPET_IP).unwrap();
    assert_eq!(puppet.read(&answer).as_deref(), Some("N(UNSUPPORTED_CRITICAL_PAYLOAD)"));
    assert_eq!(world.ike_sa(gw).state, IkeSaState::Established);
}

/// RFC 7296 §2.5: in a response it is for the initiator to say what becomes of it. Ours gives up.
#[test]
fn an_unknown_critical_payload_in_the_answer_to_ike_sa_init_is_ignored() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    let request = world.take();
    let mut puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 1);
    let answer = puppet.init_response(&request, |payloads| {
        payloads.raw(UNKNOWN, true, b"from the future");
    });
    world.inject(answer);
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Connecting);
    // It may well have been a forgery.
    world.inject(request);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    world.run();
    world.assert_connected(rw, gw);
}
