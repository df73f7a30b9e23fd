//! Stories about RFC 4739, several rounds of authentication.
#![expect(clippy::unwrap_used, reason = "a story that is not as told fails")]

mod hostile;
#[path = "../rfc7427/lab.rs"]
#[expect(dead_code, reason = "a story has the keys it needs")]
mod lab;
mod switching;

use std::time::Duration;

use ferry_ike::config::{AuthClass, EapMethods, LocalAuth, RemoteAuth, SendCert};
use ferry_ike::eap::Method;
use ferry_ike::identity::Identity;
use ferry_ike::pki::Certificate;
use ferry_ike::sim::{HostId, PSK, Setup, World, client, gateway};

use self::lab::{ED25519, Lab, P256, P384};

const PASSWORD: &str = "a password of alice";
const MSCHAPV2: AuthClass = AuthClass::Eap(EapMethods::One(Method::MsChapV2));
const MD5: AuthClass = AuthClass::Eap(EapMethods::One(Method::Md5));

const EAP_ASKED: &str = "gw --> rw: HDR, SK {EAP}";
const EAP: &str = "rw --> gw: HDR, SK {EAP}";

fn id(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

/// A round of ours by EAP, as alice, whose machine has another name.
fn as_alice(class: AuthClass) -> impl FnOnce(&mut LocalAuth) {
    move |auth| {
        auth.class = class;
        auth.certificates.clear();
        auth.id = Some(id("alice@example.org"));
        auth.eap_id = Some(id("alice"));
    }
}

/// A round of a peer by EAP, as anybody.
fn by_eap(class: AuthClass) -> impl FnOnce(&mut RemoteAuth) {
    move |auth| {
        auth.class = Some(class);
        auth.eap_id = Some(Identity::any());
    }
}

/// A round of ours with this certificate.
fn with_certificate(name: &str, der: &[u8]) -> impl FnOnce(&mut LocalAuth) {
    let (id, certificate) = (id(name), Certificate::from_der(der).unwrap());
    |auth| {
        auth.class = AuthClass::PublicKey;
        auth.id = Some(id);
        auth.certificates = vec![certificate];
    }
}

fn another_name(name: &str) -> impl FnOnce(&mut RemoteAuth) {
    let id = id(name);
    |auth| auth.id = id
}

/// A machine with a certificate that alice uses, and a gateway with one that wants both.
fn machine_and_user(lab: &Lab) -> (Setup, Setup) {
    let own = lab.certificate("rw.example.org", P256);
    let client = client()
        .no_psk()
        .certificate(&own, P256)
        .peer_certificate()
        .trusting(&lab.der)
        .another_round(as_alice(MSCHAPV2))
        .password(PASSWORD, &["alice"]);
    let own = lab.certificate("gw.example.org", ED25519);
    let gateway = gateway()
        .no_psk()
        .certificate(&own, ED25519)
        .peer_certificate()
        .trusting(&lab.der)
        .another_peer_round(by_eap(MSCHAPV2))
        .password(PASSWORD, &["alice"]);
    (client, gateway)
}

fn down(world: &mut World, host: HostId) -> String {
    world.events(host).into_iter().find(|line| line.contains(" down: ")).unwrap_or_default()
}

/// The client is refused; the gateway says why in its log, and nothing of it to the client.
fn is_refused(client: Setup, gateway: Setup, why: &str) {
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.run();
    assert!(down(&mut world, gw).contains(why), "{}", world.transcript());
    assert!(down(&mut world, rw).contains("IKE_SA rw down: "));
    nothing_stays(world, rw, gw);
}

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

/// RFC 4739 §2.3.
#[test]
fn a_certificate_and_then_eap_message_by_message() {
    let (client, gateway) = machine_and_user(&Lab::new("CA"));
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SAi1, KEi, Ni, N(NAT_DETECTION_*)");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*), CERTREQ");
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, CERT, N(INITIAL_CONTACT), CERTREQ, IDr, AUTH, N(ANOTHER_AUTH_FOLLOWS), SAi2, TSi, \
         TSr}"
    );
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, AUTH}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi}");
    assert_eq!(world.deliver(), EAP_ASKED); // for the identity
    for _ in 0..3 {
        assert_eq!(world.deliver(), EAP);
        assert_eq!(world.deliver(), EAP_ASKED); // the last is EAP-Success
    }
    assert!(world.events(gw).is_empty(), "nobody is in yet");
    assert!(world.host(gw).outside.installed().next().is_none());
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {AUTH}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
    let sa = world.ike_sa(gw);
    assert_eq!(sa.remote_id.unwrap().to_string(), "alice@example.org", "of the last round");
    assert_eq!(sa.remote_eap_id.unwrap().to_string(), "alice");
    assert_eq!(world.ike_sa(rw).local_id.unwrap().to_string(), "alice@example.org");
}

/// RFC 4739 §2.2.
#[test]
fn eap_twice_message_by_message() {
    let client = client()
        .another_round(as_alice(MD5))
        .eap(EapMethods::One(Method::Md5), Some("alice"))
        .another_round(|auth| auth.eap_id = Some(id("machine")))
        .connection(|connection| drop(connection.local.remove(0)))
        .password(PASSWORD, &["alice"])
        .password("of the machine", &["machine"]);
    let gateway = gateway()
        .another_peer_round(|_| {})
        .peer_eap(EapMethods::One(Method::Md5), Some("%any"))
        .password(PASSWORD, &["alice"])
        .password("of the machine", &["machine"]);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, SAi2, TSi, TSr}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, EAP}");
    for _ in 0..2 {
        assert_eq!(world.deliver(), EAP);
        assert_eq!(world.deliver(), EAP_ASKED);
    }
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {AUTH, N(ANOTHER_AUTH_FOLLOWS)}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {AUTH}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi}");
    assert_eq!(world.deliver(), EAP_ASKED);
    for _ in 0..2 {
        assert_eq!(world.deliver(), EAP);
        assert_eq!(world.deliver(), EAP_ASKED);
    }
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {AUTH}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(gw).remote_eap_id.unwrap().to_string(), "machine", "of the last round");
}

/// RFC 4739 §2.4.
#[test]
fn two_certificates_of_the_client_message_by_message() {
    let lab = Lab::new("CA");
    let (first, second) =
        (lab.certificate("rw.example.org", P256), lab.certificate("alice.example.org", P384));
    let client = client()
        .certificate(&second, P384)
        .connection(|connection| connection.local.iter_mut().for_each(|auth| auth.certificates.clear()))
        .certificate(&first, P256)
        .another_round(with_certificate("alice.example.org", &second));
    let gateway = gateway().peer_certificate().trusting(&lab.der).another_peer_round(|_| {});
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, CERT, N(INITIAL_CONTACT), IDr, AUTH, N(ANOTHER_AUTH_FOLLOWS), SAi2, TSi, TSr}"
    );
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi, CERT, AUTH}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(gw).remote_id.unwrap().to_string(), "alice.example.org");
}

/// RFC 4739 §2.5.
#[test]
fn two_certificates_of_the_gateway_message_by_message() {
    let lab = Lab::new("CA");
    let (first, second) =
        (lab.certificate("gw.example.org", P256), lab.certificate("other.example.org", P384));
    let gateway = gateway()
        .certificate(&second, P384)
        .connection(|connection| connection.local.iter_mut().for_each(|auth| auth.certificates.clear()))
        .certificate(&first, P256)
        .another_round(with_certificate("other.example.org", &second));
    let client =
        client().peer_certificate().trusting(&lab.der).another_peer_round(another_name("other.example.org"));
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), CERTREQ, IDr, AUTH, SAi2, TSi, TSr}"
    );
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, AUTH, N(ANOTHER_AUTH_FOLLOWS)}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, AUTH, SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(rw).remote_id.unwrap().to_string(), "other.example.org");
    assert_eq!(world.ike_sa(gw).local_id.unwrap().to_string(), "other.example.org");
}

/// Who goes by the key of a round: the client in it, and the gateway in it and before.
fn owners(round: usize) -> [String; 3] {
    [format!("rw{round}"), format!("gw{round}"), format!("gw{}", round.saturating_sub(1))]
}

/// Rounds by pre-shared key at both ends, each with a key of its own.
fn rounds_of_keys(number: usize, client: Setup, gateway: Setup) -> (Setup, Setup) {
    let (mut client, mut gateway) = (client.no_psk(), gateway.no_psk());
    for round in 0..number {
        let owners = owners(round);
        let owners = [&*owners[0], &*owners[1], &*owners[2]];
        let [rw, gw, _] = owners;
        let key = format!("the key of round {round}");
        client = client.another_round(|auth| auth.id = Some(id(rw))).psk_for(&key, &owners);
        client = client.another_peer_round(another_name(gw));
        gateway = gateway.another_round(|auth| auth.id = Some(id(gw))).psk_for(&key, &owners);
        gateway = gateway.another_peer_round(another_name(rw));
    }
    let without_first = |setup: Setup| {
        setup.connection(|connection| {
            connection.local.remove(0);
            connection.remote.remove(0);
        })
    };
    (without_first(client), without_first(gateway))
}

#[test]
fn both_ends_have_several_rounds() {
    for number in [2, 3, 5] {
        let (client, gateway) = rounds_of_keys(number, client(), gateway());
        let (mut world, rw, gw) = World::of(client, gateway);
        world.connect(rw, gw, "net");
        assert_eq!(world.ike_sa(gw).remote_id.unwrap().to_string(), format!("rw{}", number - 1));
        assert_eq!(world.ike_sa(rw).remote_id.unwrap().to_string(), format!("gw{}", number - 1));
    }
}

#[test]
fn one_end_has_more_rounds_than_the_other() {
    let lab = Lab::new("CA");
    // The gateway gives its second while the client is in its first by EAP.
    let second = lab.certificate("other.example.org", P384);
    let (client, gateway) = machine_and_user(&lab);
    let gateway = gateway
        .certificate(&second, P384)
        .connection(|connection| connection.local.iter_mut().for_each(|auth| drop(auth.certificates.pop())))
        .another_round(with_certificate("other.example.org", &second));
    let client = client.another_peer_round(another_name("other.example.org"));
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    world.deliver();
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, AUTH, N(ANOTHER_AUTH_FOLLOWS)}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {IDi}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, CERT, AUTH, EAP}");
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn eap_first_and_a_key_or_a_certificate_after_it() {
    let lab = Lab::new("CA");
    let own = lab.certificate("rw.example.org", P256);
    let eap = |setup: Setup| setup.password(PASSWORD, &["alice"]);
    let client = eap(client().certificate(&own, P256).another_round(|_| {}))
        .connection(|connection| as_alice(MD5)(connection.local.first_mut().unwrap()));
    let gateway = eap(gateway().peer_certificate().trusting(&lab.der).another_peer_round(|_| {}))
        .connection(|connection| by_eap(MD5)(connection.remote.first_mut().unwrap()));
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
    let sa = world.ike_sa(gw);
    assert_eq!(sa.remote_id.unwrap().to_string(), "rw.example.org");
    assert_eq!(sa.remote_eap_id.unwrap().to_string(), "alice");
}

#[test]
fn a_pre_shared_key_and_then_eap_alone_at_both_ends() {
    // The gateway has one round, by pre-shared key; alice is somebody on a machine that has the key.
    let client = client().another_round(as_alice(MD5)).password(PASSWORD, &["alice"]);
    let gateway = gateway().another_peer_round(by_eap(MD5)).password(PASSWORD, &["alice"]);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
}

#[test]
fn messages_of_rounds_get_lost_and_come_twice() {
    for nth in 0..12 {
        let (client, gateway) = machine_and_user(&Lab::new("CA"));
        let (mut world, rw, gw) = World::of(client, gateway);
        world.initiate(rw, "net");
        for number in 0..nth {
            let datagram = world.take();
            world.inject(datagram.clone());
            if number % 2 == 1 {
                world.inject(datagram);
            }
        }
        world.take();
        world.run_for(Duration::from_secs(60));
        world.assert_connected(rw, gw);
    }
}

#[test]
fn a_gateway_that_takes_one_round_gets_one() {
    let lab = Lab::new("CA");
    let (client, _) = machine_and_user(&lab);
    let own = lab.certificate("gw.example.org", ED25519);
    let gateway = gateway().no_psk().certificate(&own, ED25519).peer_certificate().trusting(&lab.der);
    let (mut world, rw, gw) = World::of(client, gateway);
    world.connect(rw, gw, "net");
}

#[test]
fn a_client_that_has_not_enough_rounds_is_refused() {
    let lab = Lab::new("CA");
    let (client, gateway) = machine_and_user(&lab);
    let one = client.connection(|connection| drop(connection.local.pop()));
    is_refused(one, gateway, "no matching peer config found");
    // It has two, and may not say so.
    let (client, gateway) = machine_and_user(&lab);
    let old = client.settings(|settings| settings.multiple_authentication = false);
    is_refused(old, gateway, "no matching peer config found");
    let (client, gateway) = machine_and_user(&lab);
    let old = gateway.settings(|settings| settings.multiple_authentication = false);
    is_refused(client, old, "no matching peer config found");
    // Both speak of rounds; one is missing all the same.
    let (client, gateway) = rounds_of_keys(3, self::client(), self::gateway());
    let two = client.connection(|connection| drop(connection.local.pop()));
    is_refused(two, gateway, "it asks for 3 rounds of authentication, and the peer has had 2");
}

#[test]
fn a_gateway_that_has_not_enough_rounds_is_not_believed() {
    let (client, gateway) = rounds_of_keys(2, client(), gateway());
    let one = gateway.connection(|connection| drop(connection.local.pop()));
    is_not_believed(client, one, "'gw0' has had 1 rounds of authentication, and 2 are asked for");
    let (client, gateway) = rounds_of_keys(2, self::client(), self::gateway());
    let one = client.connection(|connection| drop(connection.remote.pop()));
    is_not_believed(one, gateway, "it announces another round after 1, which are all");
}

#[test]
fn every_round_counts() {
    let lab = Lab::new("CA");
    let (client, gateway) = machine_and_user(&lab);
    is_refused(
        client.password("not alice's", &["alice"]),
        gateway,
        "EAP-MSCHAPv2 verification of 'alice' failed",
    );
    let (client, _) = machine_and_user(&Lab::new("another CA"));
    let (_, gateway) = machine_and_user(&lab);
    let client = client.connection(|connection| connection.send_cert = SendCert::Always).trusting(&lab.der);
    is_refused(client, gateway, "certificate \"CN=rw.example.org\"");
    for wrong in 0..3 {
        let (client, gateway) = rounds_of_keys(3, self::client(), self::gateway());
        let owners = owners(wrong);
        let owners = [&*owners[0], &*owners[1], &*owners[2]];
        is_refused(client.psk_for(PSK, &owners), gateway, &format!("'rw{wrong}', but MAC mismatched"));
    }
    let (client, gateway) = rounds_of_keys(2, self::client(), self::gateway());
    is_refused(
        client.connection(|connection| connection.local.swap(0, 1)),
        gateway,
        "no matching peer config found",
    );
}

#[test]
fn a_second_certificate_that_nobody_vouches_for() {
    let (lab, other) = (Lab::new("CA"), Lab::new("another CA"));
    let (first, second) =
        (lab.certificate("rw.example.org", P256), other.certificate("alice.example.org", P384));
    let client = client()
        .certificate(&second, P384)
        .connection(|connection| connection.local.iter_mut().for_each(|auth| auth.certificates.clear()))
        .certificate(&first, P256)
        .another_round(with_certificate("alice.example.org", &second));
    let gateway = || gateway().peer_certificate().trusting(&lab.der);
    is_refused(client, gateway().another_peer_round(|_| {}), "alice.example.org");
}
