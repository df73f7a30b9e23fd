//! RFC 5685, Redirect Mechanism for the Internet Key Exchange Protocol Version 2.
#![expect(clippy::unwrap_used, reason = "a story that is not as told fails")]

use std::net::IpAddr;
use std::time::Duration;

use ferry_ike::Command;
use ferry_ike::output::RequestId;
use ferry_ike::redirect::Gateway;
use ferry_ike::sim::{Datagram, HostId, PSK, Puppet, Setup, World, client, gateway};
use ferry_ike::wire::registry::{ExchangeType, NotifyType, Spi};
use ferry_ike::wire::{self, PayloadWriter};

const OFFER: &str = "aes128gcm16-prfsha256-x25519";
const FIRST: &str = "192.0.2.9";
const SECOND: &str = "192.0.2.1";

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A client that knows the first gateway, which is a puppet, and the second one.
fn with_puppet(rw: Setup) -> (World, HostId, HostId, Puppet) {
    let mut world = World::new(1);
    let rw = world.add(rw.peer_at(FIRST));
    let gw = world.add(gateway());
    world.keep_mail(ip(FIRST));
    let puppet = Puppet::responder(&format!("{FIRST}:500"), "198.51.100.7:500", OFFER, 1);
    (world, rw, gw, puppet)
}

fn next_request(world: &mut World) -> Datagram {
    world.run();
    world.mail(ip(FIRST)).unwrap()
}

fn nonce_of(request: &Datagram) -> Vec<u8> {
    wire::decode(&request.octets).unwrap().payloads.nonce().unwrap().to_vec()
}

fn to(gateway: &str, nonce: &[u8]) -> Vec<u8> {
    [gateway.parse::<Gateway>().unwrap().encode(), nonce.to_vec()].concat()
}

fn redirect_init(world: &mut World, puppet: &Puppet, gateway: &str) {
    let request = next_request(world);
    let answer = puppet.refuse(&request, NotifyType::REDIRECT, &to(gateway, &nonce_of(&request)));
    world.inject(answer);
}

#[test]
fn a_client_goes_where_it_is_sent_in_ike_sa_init() {
    for by_name in [false, true] {
        let (mut world, rw, gw, puppet) = with_puppet(client());
        world.name(rw, "other.example.org", SECOND);
        let request = world.initiate(rw, "net");
        redirect_init(&mut world, &puppet, if by_name { "other.example.org" } else { SECOND });
        let sent = world.in_air()[0].to_owned();
        assert_eq!(sent, "rw --> gw: HDR, SAi1, KEi, Ni, N(NAT_DETECTION_*), N(REDIRECTED_FROM)");
        world.run();
        world.assert_connected(rw, gw);
        assert_eq!(world.events(rw).last(), Some(&format!("request {request} done")));
        assert!(world.host(rw).outside.faults().is_empty());
    }
}

#[test]
fn the_request_says_that_we_may_be_sent_on_and_who_did_it() {
    let (mut world, rw, gw, puppet) = with_puppet(client());
    world.initiate(rw, "net");
    let request = next_request(&mut world);
    let message = wire::decode(&request.octets).unwrap();
    assert!(message.payloads.notify(NotifyType::REDIRECT_SUPPORTED).is_some());
    assert!(message.payloads.notify(NotifyType::REDIRECTED_FROM).is_none());
    let answer = puppet.refuse(&request, NotifyType::REDIRECT, &to(SECOND, &nonce_of(&request)));
    world.inject(answer);
    let sent = world.take();
    let message = wire::decode(&sent.octets).unwrap();
    let from = message.payloads.notify(NotifyType::REDIRECTED_FROM).unwrap();
    assert_eq!(from.data, Gateway::Address(ip(FIRST)).encode());
    world.inject(sent);
    world.run();
    world.assert_connected(rw, gw);
}

/// "If the values do not match, the client MUST silently discard the response."
#[test]
fn who_does_not_know_our_nonce_sends_us_nowhere() {
    let (mut world, rw, gw, mut puppet) = with_puppet(client());
    world.initiate(rw, "net");
    let request = next_request(&mut world);
    let nonce = nonce_of(&request);
    let mut other = nonce.clone();
    other[0] ^= 1;
    let answers = [
        to(SECOND, &other),
        to(SECOND, &[]),
        to(SECOND, &nonce[1..]),
        vec![],
        [&[9, 4][..], &[192, 0, 2, 1], &nonce].concat(),
        [&[3, 200][..], &nonce].concat(),
    ];
    for data in &answers {
        let answer = puppet.refuse(&request, NotifyType::REDIRECT, data);
        world.inject(answer);
        assert!(world.in_air().is_empty());
    }
    assert_eq!(world.host(rw).endpoint.counters().invalid, 6);
    // The real answer is still awaited.
    let answer = puppet.init_response(&request, |_| {});
    world.inject(answer);
    assert!(world.in_air()[0].contains("HDR, SK"));
    let _ = gw;
}

#[test]
fn a_client_that_does_not_want_to_stays() {
    let (mut world, rw, _, puppet) =
        with_puppet(client().settings(|settings| settings.follow_redirects = false));
    world.initiate(rw, "net");
    let request = next_request(&mut world);
    assert!(wire::decode(&request.octets).unwrap().payloads.notify(NotifyType::REDIRECT_SUPPORTED).is_none());
    let answer = puppet.refuse(&request, NotifyType::REDIRECT, &to(SECOND, &nonce_of(&request)));
    world.inject(answer);
    assert!(world.in_air().is_empty());
}

/// Section 7.
#[test]
fn a_client_does_not_run_in_circles() {
    let (mut world, rw, _, puppet) = with_puppet(client());
    let request = world.initiate(rw, "net");
    for _ in 0..6 {
        redirect_init(&mut world, &puppet, FIRST);
    }
    let why = "the peer broke the protocol: we are redirected again and again";
    assert_eq!(world.events(rw).last(), Some(&format!("request {request} failed: {why}")));
    world.run();
    assert!(world.ike_sas(rw).is_empty());
    assert!(world.host(rw).leaks().is_empty());
}

#[test]
fn a_gateway_that_is_not_found_is_an_end() {
    let (mut world, rw, _, puppet) = with_puppet(client());
    let request = world.initiate(rw, "net");
    redirect_init(&mut world, &puppet, "nowhere.example.org");
    let why = "looking up nowhere.example.org failed";
    assert_eq!(world.events(rw).last(), Some(&format!("request {request} failed: {why}")));
    assert!(world.host(rw).leaks().is_empty());
}

/// Section 6. Only a gateway that has proven who it is is believed.
#[test]
fn a_client_goes_where_it_is_sent_in_ike_auth() {
    for (secret, goes) in [(PSK, true), ("another", false)] {
        let (mut world, rw, gw, mut puppet) = with_puppet(client());
        let request = world.initiate(rw, "net");
        let init = next_request(&mut world);
        let answer = puppet.init_response(&init, |_| {});
        world.inject(answer);
        world.run();
        let mut payloads = puppet.auth("gw.example.org", secret);
        payloads.notify(NotifyType::REDIRECT, &to(SECOND, &[]));
        let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
        world.inject(answer);
        world.run();
        drop(world.mail(ip(FIRST))); // IKE_AUTH
        // It believes that the IKE SA stands.
        let said = puppet.read(&world.mail(ip(FIRST)).unwrap()).unwrap();
        let told = world.events(rw);
        if goes {
            assert_eq!(said, "D");
            world.assert_connected(rw, gw);
            assert_eq!(told.last(), Some(&format!("request {request} done")));
        } else {
            assert_eq!(said, "N(AUTHENTICATION_FAILED), D");
            assert!(world.ike_sas(gw).is_empty());
        }
        assert!(world.host(rw).outside.faults().is_empty());
    }
}

fn two_gateways(rw: Setup) -> (World, HostId, HostId, HostId) {
    let mut world = World::new(1);
    let rw = world.add(rw.vips(&["0.0.0.0"]));
    let one = world.add(gateway().pool("10.3.0.0/24"));
    let other = world.add(gateway().named("gw2").at("192.0.2.2").pool("10.4.0.0/24"));
    world.connect(rw, one, "net");
    (world, rw, one, other)
}

fn redirect(world: &mut World, host: HostId, gateway: &str) -> RequestId {
    let request = world.next_request();
    let (ike_sa, gateway) = (world.ike_sa(host).id, gateway.parse().unwrap());
    world.command(host, Command::Redirect { request, ike_sa, gateway }).unwrap();
    request
}

/// Section 5.
#[test]
fn a_gateway_sends_a_client_to_another() {
    let (mut world, rw, one, other) = two_gateways(client());
    let request = redirect(&mut world, one, "192.0.2.2");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {N(REDIRECT)}");
    let mut said = vec![world.deliver(), world.deliver()];
    said.sort();
    assert_eq!(said, ["rw --> gw: HDR, SK {D}", "rw --> gw: HDR, SK {}"]);
    world.run();
    world.assert_connected(rw, other);
    assert_eq!(world.ike_sa(rw).local_vips, [ip("10.4.0.1")]);
    assert!(world.ike_sas(one).is_empty());
    let told = world.events(one);
    assert_eq!(told[0], format!("request {request} done"));
    assert_eq!(told[2], "CHILD_SA net down: Terminated", "no action follows from it");
    world.run_for(seconds(400));
    assert!(world.host(one).leaks().is_empty());
}

#[test]
fn any_message_of_that_may_be_lost() {
    for lost in 0..8 {
        let (mut world, rw, one, other) = two_gateways(client());
        redirect(&mut world, one, "192.0.2.2");
        for step in 0.. {
            if world.in_air().is_empty() {
                break;
            }
            if step == lost { drop(world.take()) } else { drop(world.deliver()) }
        }
        world.run_for(seconds(400));
        world.assert_connected(rw, other);
        assert!(world.ike_sas(one).is_empty());
        world.assert_no_faults();
    }
}

#[test]
fn a_client_that_does_not_go_is_ended_after_a_while() {
    let (mut world, _, one, _) = two_gateways(client());
    let at = "198.51.100.66:500";
    let mut puppet = Puppet::initiator(at, "192.0.2.1:500", OFFER, 1);
    world.keep_mail(ip("198.51.100.66"));
    let request = puppet.init_request(None, |more| {
        more.notify(NotifyType::REDIRECT_SUPPORTED, &[]);
    });
    world.inject(request);
    world.run();
    let answer = world.mail(ip("198.51.100.66")).unwrap();
    puppet.take_init_response(&answer);
    let mut payloads = puppet.auth("other.example.org", PSK);
    Puppet::child(&mut payloads, "aes128gcm16", Spi(0x1000_0000), "198.51.100.66", "10.1.0.0/16");
    puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    let request = world.next_request();
    let ike_sa = world.ike_sas(one).last().unwrap().id;
    let gateway = "192.0.2.2".parse().unwrap();
    world.command(one, Command::Redirect { request, ike_sa, gateway }).unwrap();
    world.run();
    let said = world.mail(ip("198.51.100.66")).unwrap();
    assert_eq!(puppet.read(&said).as_deref(), Some("N(REDIRECT)"));
    let answer = puppet.seal(ExchangeType::INFORMATIONAL, 0, true, &PayloadWriter::new());
    world.inject(answer);
    world.run_for(seconds(59));
    assert!(world.mail(ip("198.51.100.66")).is_none());
    world.run_for(seconds(2));
    let said = world.mail(ip("198.51.100.66")).unwrap();
    assert_eq!(puppet.read(&said).as_deref(), Some("D"));
}

#[test]
fn who_cannot_be_sent_is_not() {
    let refused = |world: &mut World, host: HostId| {
        let request = redirect(world, host, "192.0.2.2");
        let told = world.events(host);
        told.last().unwrap().strip_prefix(&format!("request {request} failed: ")).unwrap().to_owned()
    };
    let (mut world, _, one, _) =
        two_gateways(client().settings(|settings| settings.follow_redirects = false));
    assert_eq!(refused(&mut world, one), "the peer does not follow redirects");
    // Section 10: only the original responder can.
    let (mut world, rw, _, _) = two_gateways(client());
    assert_eq!(refused(&mut world, rw), "the peer does not follow redirects");
}

#[test]
fn redirects_cross_rekeying() {
    for delivered in 0..6 {
        let (mut world, rw, one, other) = two_gateways(client());
        redirect(&mut world, one, "192.0.2.2");
        let request = world.next_request();
        let ike_sa = world.ike_sa(rw).id;
        world.command(rw, Command::RekeyIkeSa { request, ike_sa }).unwrap();
        for _ in 0..delivered {
            if !world.in_air().is_empty() {
                world.deliver();
            }
        }
        world.run_for(seconds(400));
        world.assert_connected(rw, other);
        assert!(world.ike_sas(one).is_empty());
        world.assert_no_faults();
    }
}
