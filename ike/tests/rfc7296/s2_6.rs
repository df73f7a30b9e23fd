//! Section 2.6, IKE SA SPIs and Cookies.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ferry_ike::sim::{HostId, Puppet, Setup, World, client, gateway};
use ferry_ike::wire::registry::{KeMethod, NotifyType};

use crate::{GATEWAY, GATEWAY_IP, OFFER, PUPPET, said, seconds};

const OTHER_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

const COOKIE_ANSWER: &str = "gw --> rw: HDR, N(COOKIE)";
const INIT_WITH_COOKIE: &str = "rw --> gw: HDR, N(COOKIE), SAi1, KEi, Ni, N(NAT_DETECTION_*)";

/// A gateway that wants a cookie from everybody as soon as one IKE SA is half open.
fn wary() -> Setup {
    gateway().settings(|settings| settings.half_open.cookie_threshold = 1)
}

/// Opens an IKE SA at the gateway and leaves it half open.
fn crowd(world: &mut World, gw: HostId, from: &str, seed: u64) {
    let mut puppet = Puppet::initiator(from, GATEWAY, OFFER, seed);
    let request = puppet.init_request(None, |_| {});
    let count = world.ike_sas(gw).len();
    world.inject(request);
    assert_eq!(world.ike_sas(gw).len(), count + 1);
    let _ = world.take();
}

#[test]
fn a_cookie_is_demanded_and_brought() {
    let (mut world, rw, gw) = World::of(client(), wary());
    crowd(&mut world, gw, PUPPET, 1);
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.ike_sas(gw).len(), 1, "nothing is kept of a request without cookie");
    assert_eq!(world.deliver(), COOKIE_ANSWER);
    assert_eq!(world.ike_sa(rw).spi_r.0, [0; 8]);
    assert_eq!(world.deliver(), INIT_WITH_COOKIE);
    assert_eq!(world.ike_sas(gw).len(), 2);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    assert_eq!(world.deliver(), said::AUTH);
    assert_eq!(world.deliver(), said::AUTH_ANSWER);
    world.assert_connected(rw, gw);
    assert_eq!(world.host(gw).endpoint.counters().cookies_demanded, 1);
}

#[test]
fn a_forged_cookie_is_as_none() {
    let (mut world, _, gw) = World::of(client(), wary());
    crowd(&mut world, gw, PUPPET, 1);
    let mut puppet = Puppet::initiator("203.0.113.9:500", GATEWAY, OFFER, 2);
    for forged in [&[0; 21][..], &[7; 64], &[1]] {
        let request = puppet.init_request(Some(forged), |_| {});
        world.inject(request);
        assert_eq!(world.deliver(), "gw --> 203.0.113.9:500: HDR, N(COOKIE)");
    }
    assert_eq!(world.ike_sas(gw).len(), 1);
}

#[test]
fn a_cookie_is_good_for_one_initiator_and_not_for_long() {
    let (mut world, _, gw) = World::of(client(), wary());
    world.keep_mail(OTHER_IP);
    crowd(&mut world, gw, PUPPET, 1);
    let mut puppet = Puppet::initiator("203.0.113.9:500", GATEWAY, OFFER, 2);
    let request = puppet.init_request(None, |_| {});
    world.inject(request);
    world.run();
    let demand = world.mail(OTHER_IP).unwrap();
    let cookie = cookie_in(&demand.octets);

    // Another address, another nonce, another SPI.
    let mut moved = puppet.init_request(Some(&cookie), |_| {});
    moved.from = "203.0.113.10:500".parse().unwrap();
    world.inject(moved);
    assert_eq!(world.deliver(), "gw --> 203.0.113.10:500: HDR, N(COOKIE)");
    let nonce = std::mem::replace(&mut puppet.nonce, vec![9; 32]);
    let other_nonce = puppet.init_request(Some(&cookie), |_| {});
    world.inject(other_nonce);
    puppet.nonce = nonce;
    let spi = puppet.spi_i;
    puppet.spi_i.0[0] ^= 1;
    let other_spi = puppet.init_request(Some(&cookie), |_| {});
    world.inject(other_spi);
    puppet.spi_i = spi;
    assert_eq!(world.in_air(), ["gw --> 203.0.113.9:500: HDR, N(COOKIE)"; 2]);
    world.run();
    assert_eq!(world.ike_sas(gw).len(), 1);

    // Too late.
    world.run_for(seconds(12));
    let late = puppet.init_request(Some(&cookie), |_| {});
    world.inject(late);
    assert_eq!(world.deliver(), "gw --> 203.0.113.9:500: HDR, N(COOKIE)");
    assert_eq!(world.ike_sas(gw).len(), 1);
}

fn cookie_in(octets: &[u8]) -> Vec<u8> {
    let message = ferry_ike::wire::decode(octets).unwrap();
    message.payloads.notify(NotifyType::COOKIE).unwrap().data.to_vec()
}

#[test]
fn a_cookie_goes_with_every_further_request_of_the_attempt() {
    let choosy = wary().ike(&["aes128gcm16-prfsha256-modp2048"]);
    let (mut world, rw, gw) = World::of(client().ike(&["aes128gcm16-prfsha256-x25519-modp2048"]), choosy);
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, "aes128gcm16-prfsha256-modp2048", 1);
    let request = puppet.init_request(None, |_| {});
    world.inject(request);
    let _ = world.take();
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), COOKIE_ANSWER);
    assert_eq!(world.deliver(), INIT_WITH_COOKIE);
    assert_eq!(world.deliver(), "gw --> rw: HDR, N(INVALID_KE_PAYLOAD)");
    assert_eq!(world.deliver(), INIT_WITH_COOKIE); // RFC 7296 §2.6.1: the short way
    world.run();
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(rw).suite.unwrap().ke(), KeMethod::MODP_2048);
}

/// The first request was doubled on its way, and each copy got a cookie. Taking up the second cookie at once would
/// make the responder answer a request that is no longer the one the initiator signs.
#[test]
fn the_answer_to_a_doubled_request_does_not_disturb_the_one_with_a_cookie() {
    let (mut world, rw, gw) = World::of(client(), wary());
    crowd(&mut world, gw, PUPPET, 1);
    world.initiate(rw, "net");
    let request = world.take();
    world.inject(request.clone());
    let first = world.take();
    world.wait(seconds(2)); // so that the next cookie is another one
    world.inject(request.clone());
    let second = world.take();
    world.inject(request);
    let third = world.take();
    assert_ne!(first, second);
    assert_eq!(second, third);
    world.inject(first.clone());
    world.inject(first);
    world.inject(second);
    world.inject(third);
    assert_eq!(world.in_air(), [INIT_WITH_COOKIE]);
    world.run();
    world.assert_connected(rw, gw);
}

/// The secret it was baked with is gone: the new cookie is used when the old one is not answered.
#[test]
fn a_cookie_that_is_not_accepted_is_replaced() {
    let (mut world, rw, gw) = World::of(client(), wary());
    crowd(&mut world, gw, PUPPET, 1);
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), COOKIE_ANSWER);
    let _ = world.take();
    // Held up until it is too old, while the initiator sends it again, also in vain.
    world.wait(seconds(4));
    let _ = world.take();
    world.wait(seconds(8));
    assert_eq!(world.deliver(), INIT_WITH_COOKIE);
    assert_eq!(world.deliver(), COOKIE_ANSWER);
    assert_eq!(world.in_air(), Vec::<&str>::new());
    assert_eq!(world.wait_for_deadline(), seconds(1));
    assert_eq!(world.deliver(), INIT_WITH_COOKIE);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn a_responder_that_wants_ever_new_cookies_is_not_believed_forever() {
    let (mut world, rw, _) = World::of(client(), gateway().at("192.0.2.2"));
    world.keep_mail(GATEWAY_IP);
    let puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 1);
    let request = world.initiate(rw, "net");
    let mut demanded = 0_u8;
    while !world.ike_sas(rw).is_empty() {
        world.run();
        match world.mail(GATEWAY_IP) {
            Some(request) => {
                demanded += 1;
                world.inject(puppet.refuse(&request, NotifyType::COOKIE, &[demanded; 16]));
            }
            None => {
                world.wait_for_deadline();
            }
        }
        assert!(demanded < 20, "there is no end to it");
    }
    let told = world.events(rw);
    assert!(told.iter().any(|event| event.starts_with(&format!("request {request} failed"))), "{told:?}");
    world.run_out(seconds(600));
    world.assert_nothing_left();
}

#[test]
fn a_cookie_that_comes_often_is_one_cookie() {
    let (mut world, rw, gw) = World::of(client(), wary());
    crowd(&mut world, gw, PUPPET, 1);
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    let demand = world.take();
    for _ in 0..20 {
        world.inject(demand.clone());
    }
    assert_eq!(world.in_air(), [INIT_WITH_COOKIE]);
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn a_host_with_many_half_open_ike_sas_is_not_heard_for_a_while() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    for seed in 0..3 {
        crowd(&mut world, gw, PUPPET, seed);
    }
    // From three on, its address must be proven; others are not bothered.
    let mut fourth = Puppet::initiator(PUPPET, GATEWAY, OFFER, 3);
    world.inject(fourth.init_request(None, |_| {}));
    assert_eq!(world.deliver(), "gw --> 198.51.100.66:500: HDR, N(COOKIE)");
    world.connect(rw, gw, "net");
    world.run_for(seconds(31));
    assert_eq!(world.host(gw).endpoint.half_open(), 0);
    assert_eq!(world.ike_sas(gw).len(), 1);
}

/// What we open ourselves is no reason to distrust others.
#[test]
fn initiating_does_not_make_an_endpoint_wary() {
    let (mut world, rw, gw) = World::of(client(), wary().peer_at("198.51.100.99"));
    world.initiate(gw, "net");
    let _ = world.take();
    assert_eq!(world.host(gw).endpoint.half_open(), 1);
    let any = || wary().into_configuration();
    world.configure(gw, any()).unwrap();
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    world.run();
    assert_eq!(world.host(gw).endpoint.counters().cookies_demanded, 0);
}

#[test]
fn a_half_open_ike_sa_is_forgotten_in_time() {
    let (mut world, _, gw) = World::of(client(), gateway());
    crowd(&mut world, gw, PUPPET, 1);
    assert_eq!(world.due(gw), Some(seconds(30) - Duration::from_millis(10)));
    world.run_for(seconds(30));
    assert_eq!(
        world.events(gw),
        ["IKE_SA (unnamed) down: the peer did not finish establishing the IKE_SA in time"]
    );
    world.assert_nothing_left();
}
