//! Section 2.15, Authentication of the IKE SA.

use ferry_ike::sim::{HostId, PSK, Puppet, Setup, World, client, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::registry::{AuthMethod, ExchangeType};
use ferry_ike::wire::{self, PayloadWriter};

use crate::{GATEWAY, GATEWAY_IP, OFFER, PUPPET, said, seconds};

const REFUSED: &str = "gw --> rw: HDR, SK {N(AUTHENTICATION_FAILED)}";

/// Tells of a client that the gateway must refuse, and why by the client's account.
fn is_refused(client: Setup, gateway: Setup) {
    let (mut world, rw, gw) = World::of(client, gateway);
    let request = world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    world.deliver();
    let told = world.events(gw);
    assert!(told[0].contains(" down: authentication failed: "), "{told:?}");
    assert_eq!(told.len(), 1);
    assert!(world.ike_sas(gw).is_empty());
    assert_eq!(world.deliver(), REFUSED);
    let why = "the peer answered AUTHENTICATION_FAILED";
    assert_eq!(
        world.events(rw),
        [format!("IKE_SA rw down: {why}"), format!("request {request} failed: {why}")]
    );
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn a_client_with_the_wrong_key_is_refused() {
    is_refused(client().psk("something else"), gateway());
}

#[test]
fn a_client_without_an_identity_that_is_known_is_refused() {
    is_refused(client(), gateway().peer_id("other.example.org"));
    is_refused(client().id("rw.example.net"), gateway().peer_id("*.example.org"));
}

#[test]
fn a_client_for_whose_identity_there_is_no_key_is_refused() {
    is_refused(client(), gateway().no_psk().psk_for(PSK, &["other.example.org"]));
}

#[test]
fn a_client_that_asks_for_somebody_else_is_refused() {
    is_refused(client().peer_id("gw2.example.org"), gateway());
}

#[test]
fn a_client_that_negotiated_by_another_connection_does_not_reach_a_stricter_one() {
    let weak = &["aes128-sha256-x25519"];
    let gateway = gateway()
        .peer_id("other.example.org")
        .ike(weak)
        .another("strict")
        .peer_id("rw.example.org")
        .ike(&["aes256-sha384-x25519"]);
    is_refused(client().ike(weak), gateway);
}

#[test]
fn a_client_without_a_key_does_not_authenticate() {
    let (mut world, rw, gw) = World::of(client().no_psk(), gateway());
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(
        world.events(rw)[0],
        "IKE_SA rw down: authentication failed: no shared key found for 'rw.example.org' - 'gw.example.org'"
    );
    assert!(world.in_air().is_empty());
    world.run_for(seconds(31));
    assert!(world.ike_sas(gw).is_empty());
    world.assert_nothing_left();
}

/// Somebody who plays the gateway and knows everything but the key.
fn client_and_impostor(client: Setup) -> (World, HostId, Puppet) {
    let (mut world, rw, _) = World::of(client, gateway().at("192.0.2.2"));
    world.keep_mail(GATEWAY_IP);
    let mut puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 1);
    world.initiate(rw, "net");
    world.run();
    let request = world.mail(GATEWAY_IP).unwrap();
    let answer = puppet.init_response(&request, |_| {});
    world.inject(answer);
    world.run();
    world.mail(GATEWAY_IP).unwrap();
    (world, rw, puppet)
}

/// What the client says to an answer with this identity and key.
fn is_not_believed(client: Setup, id: &str, secret: &str, why: &str) {
    let (mut world, rw, mut puppet) = client_and_impostor(client);
    let mut payloads = puppet.auth(id, secret);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.7", "10.1.0.0/16");
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(answer);
    assert_eq!(world.events(rw)[0], format!("IKE_SA rw down: authentication failed: {why}"));
    assert!(world.ike_sas(rw).is_empty());
    world.run();
    let told = world.mail(GATEWAY_IP).unwrap();
    assert_eq!(puppet.read(&told).as_deref(), Some("N(AUTHENTICATION_FAILED), D"));
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn a_gateway_with_the_wrong_key_is_not_believed() {
    let why = "the pre-shared key of 'gw.example.org' does not fit";
    is_not_believed(client(), "gw.example.org", "something else", why);
}

#[test]
fn a_gateway_with_another_identity_is_not_believed() {
    let why = "IDr 'gw2.example.org' does not match to 'gw.example.org'";
    is_not_believed(client(), "gw2.example.org", PSK, why);
}

#[test]
fn a_gateway_for_whose_identity_there_is_no_key_is_not_believed() {
    let picky = client().peer_id("%any").psk_for("of another", &["gw2.example.org"]);
    is_not_believed(picky, "gw2.example.org", PSK, "the pre-shared key of 'gw2.example.org' does not fit");
}

#[test]
fn a_gateway_that_authenticates_in_another_way_is_not_believed() {
    let (mut world, rw, mut puppet) = client_and_impostor(client());
    let mut payloads = PayloadWriter::new();
    let id = ferry_ike::identity::Identity::parse("gw.example.org").unwrap();
    payloads.id_r(&id).auth(AuthMethod(14), &[7; 32]);
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(answer);
    let told = world.events(rw);
    assert!(told[0].contains("expected a pre-shared key"), "{told:?}");
}

#[test]
fn a_gateway_that_does_not_authenticate_is_not_believed() {
    let (mut world, rw, mut puppet) = client_and_impostor(client());
    let mut payloads = PayloadWriter::new();
    payloads.id_r(&ferry_ike::identity::Identity::parse("gw.example.org").unwrap());
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.7", "10.1.0.0/16");
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(answer);
    assert!(world.ike_sas(rw).is_empty());
    let told = world.events(rw);
    assert!(told[0].ends_with("its IKE_AUTH response lacks IDr or AUTH"), "{told:?}");
}

#[test]
fn a_client_that_wants_eap_or_signs_is_refused() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let methods = [None, Some(AuthMethod(1)), Some(AuthMethod(14)), Some(AuthMethod(13))];
    for (method, seed) in methods.into_iter().zip(1..) {
        let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, seed);
        puppet.open(&mut world);
        let mut payloads = PayloadWriter::new();
        payloads.id_i(&ferry_ike::identity::Identity::parse("rw.example.org").unwrap());
        if let Some(method) = method {
            payloads.auth(method, &[7; 32]);
        }
        let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
        assert!(world.ike_sas(gw).is_empty());
    }
    world.run_out(crate::seconds(60));
    world.assert_nothing_left();
}

#[test]
fn auth_covers_the_first_messages() {
    // One octet of the first message changes on its way, where nobody is hurt by it: the content of a vendor ID.
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    world.keep_mail(crate::PUPPET_IP);
    let mut request = puppet.init_request(None, |payloads| {
        payloads.vendor_id(b"vendor");
    });
    *request.octets.last_mut().unwrap() ^= 1;
    assert!(wire::decode(&request.octets).is_ok());
    world.inject(request);
    world.run();
    let answer = world.mail(crate::PUPPET_IP).unwrap();
    puppet.take_init_response(&answer);
    let payloads = puppet.auth("rw.example.org", PSK);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("N(AUTHENTICATION_FAILED)"));
    assert!(world.ike_sas(gw).is_empty());
}

#[test]
fn auth_covers_the_answer_to_the_first_message() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    let mut answer = world.take();
    *answer.octets.last_mut().unwrap() ^= 1; // a hash of NAT detection: it is not the gateway's any more
    world.inject(answer);
    world.run();
    let told = world.events(rw);
    assert!(told[0].contains("the pre-shared key of 'gw.example.org' does not fit"), "{told:?}");
    // The client's own AUTH was right, so the gateway had believed it; it was told.
    assert!(world.ike_sas(gw).is_empty() && world.ike_sas(rw).is_empty());
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn identities_default_to_addresses() {
    let (mut world, rw, gw) =
        World::of(client().no_id().peer_id("192.0.2.1"), gateway().no_id().peer_id("198.51.100.0/24"));
    world.connect(rw, gw, "net");
    let sa = world.ike_sa(gw);
    assert_eq!(sa.local_id.unwrap().to_string(), "192.0.2.1");
    assert_eq!(sa.remote_id.unwrap().to_string(), "198.51.100.7");
}

#[test]
fn a_client_that_expects_anybody_asks_for_nobody() {
    for pattern in ["%any", "*.example.org"] {
        let (mut world, rw, gw) = World::of(client().peer_id(pattern), gateway());
        world.initiate(rw, "net");
        world.deliver();
        world.deliver();
        assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), AUTH, SAi2, TSi, TSr}");
        world.run();
        world.assert_connected(rw, gw);
        assert_eq!(world.ike_sa(rw).remote_id.unwrap().to_string(), "gw.example.org");
    }
}

#[test]
fn the_connection_is_chosen_by_both_identities() {
    let choice = gateway()
        .named("anybody")
        .another("staff")
        .peer_id("*@staff.example.org")
        .another("boss")
        .peer_id("boss@staff.example.org")
        .another("elsewhere")
        .id("gw2.example.org")
        .peer_id("%any");
    let (mut world, rw, gw) = World::of(client().id("boss@staff.example.org"), choice);
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(gw).connection.as_deref(), Some("boss"));
    for (at, id, peer, connection) in [
        ("198.51.100.20", "clerk@staff.example.org", "gw.example.org", "staff"),
        ("198.51.100.21", "guest@example.com", "gw.example.org", "anybody"),
        ("198.51.100.22", "boss@staff.example.org", "gw2.example.org", "elsewhere"),
    ] {
        let host = world.add(client().named("other").at(at).id(id).peer_id(peer));
        world.initiate(host, "net");
        world.run();
        let sa = world.ike_sas(gw).pop().unwrap();
        assert_eq!((sa.connection.as_deref(), sa.state), (Some(connection), IkeSaState::Established));
    }
}

#[test]
fn every_peer_may_have_a_key_of_its_own() {
    let keys = gateway()
        .no_psk()
        .psk_for("for one", &["gw.example.org", "rw.example.org"])
        .psk_for("for the other", &["gw.example.org", "rw2.example.org"]);
    let (mut world, rw, gw) = World::of(client().psk("for one"), keys);
    world.connect(rw, gw, "net");
    let other = client().named("rw2").at("198.51.100.8").id("rw2.example.org").psk("for the other");
    let other = world.add(other);
    world.initiate(other, "net");
    world.run();
    assert_eq!(world.ike_sas(gw).len(), 2);
}

#[test]
fn a_new_key_is_used_by_the_next_handshake_and_not_before() {
    let always_anew = client().settings(|settings| settings.reuse_ike_sa = false);
    let (mut world, rw, gw) = World::of(always_anew, gateway());
    world.connect(rw, gw, "net");
    world.configure(gw, gateway().psk("a new one").into_configuration()).unwrap();
    world.assert_connected(rw, gw);
    world.initiate(rw, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.deliver(), REFUSED);
    world.configure(rw, client().psk("a new one").into_configuration()).unwrap();
    world.initiate(rw, "net");
    world.run();
    assert_eq!(world.ike_sas(rw).len(), 2);
}
