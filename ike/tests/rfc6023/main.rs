//! RFC 6023, A Childless Initiation of the IKEv2 Security Association.
#![expect(clippy::unwrap_used, reason = "a story that is not as told fails")]

use std::time::Duration;

use ferry_ike::config::Childless;
use ferry_ike::sim::{ActionKind, HostId, Manner, Puppet, Setup, World, client, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::registry::{ExchangeType, NotifyType};

const OFFER: &str = "aes128gcm16-prfsha256-x25519";

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn childless(setup: Setup, childless: Childless) -> Setup {
    setup.connection(|connection| connection.childless = childless)
}

fn deliver(world: &mut World, messages: usize) -> String {
    (0..messages).map(|_| world.deliver()).last().unwrap()
}

fn end(world: &mut World, rw: HostId) {
    let sa = world.ike_sa(rw).id;
    world.terminate(rw, sa);
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn an_ike_sa_can_be_had_alone() {
    for with_vips in [false, true] {
        let rw = if with_vips { client().vips(&["0.0.0.0"]) } else { client() };
        let (mut world, rw, gw) = World::of(rw, gateway().pool("10.3.0.0/24"));
        let request = world.initiate(rw, "rw");
        let asked = if with_vips { ", CP(CFG_REQUEST)" } else { "" };
        let given = if with_vips { ", CP(CFG_REPLY)" } else { "" };
        assert_eq!(
            deliver(&mut world, 3),
            format!("rw --> gw: HDR, SK {{IDi, N(INITIAL_CONTACT), IDr, AUTH{asked}}}")
        );
        assert_eq!(world.deliver(), format!("gw --> rw: HDR, SK {{IDr, AUTH{given}}}"));
        for host in [rw, gw] {
            assert_eq!(world.ike_sa(host).state, IkeSaState::Established);
            assert!(world.ike_sa(host).children.is_empty());
        }
        assert_eq!(world.events(rw).last(), Some(&format!("request {request} done")));
        assert_eq!(world.host(rw).outside.virtual_ips().count(), usize::from(with_vips));
        // A child can follow, with the addresses.
        world.initiate(rw, "net");
        assert_eq!(world.deliver(), "rw --> gw: HDR, SK {SA, Ni, TSi, TSr}");
        world.run();
        world.assert_connected(rw, gw);
        assert_eq!(world.ike_sas(rw).len(), 1);
        end(&mut world, rw);
    }
}

#[test]
fn who_prefers_it_makes_the_child_afterwards() {
    for liking in [Childless::Prefer, Childless::Force] {
        for with_vips in [false, true] {
            let rw = if with_vips { client().vips(&["0.0.0.0"]) } else { client() };
            let (mut world, rw, gw) = World::of(childless(rw, liking), gateway().pool("10.3.0.0/24"));
            let request = world.initiate(rw, "net");
            let asked = deliver(&mut world, 3);
            assert!(!asked.contains("SAi2"), "{asked}");
            world.deliver();
            assert_eq!(world.deliver(), "rw --> gw: HDR, SK {SA, Ni, TSi, TSr}");
            assert_eq!(world.deliver(), "gw --> rw: HDR, SK {SA, Nr, TSi, TSr}");
            world.assert_connected(rw, gw);
            assert!(world.ping(rw) && world.ping(gw));
            let told = world.events(rw);
            let done = format!("request {request} done");
            assert_eq!(told, ["IKE_SA rw up".to_owned(), "CHILD_SA net up".to_owned(), done]);
            end(&mut world, rw);
        }
    }
}

/// Every child has a key exchange of its own then, as its proposals say.
#[test]
fn the_first_child_can_have_a_key_exchange() {
    let with_ke = |setup: Setup| setup.esp(&["aes128gcm16-x25519"]);
    let (mut world, rw, gw) = World::of(
        with_ke(childless(client(), Childless::Force)),
        with_ke(childless(gateway(), Childless::Force)),
    );
    world.initiate(rw, "net");
    deliver(&mut world, 4);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {SA, Ni, KEi, TSi, TSr}");
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn a_responder_may_do_without() {
    for (ours, succeeds) in [(Childless::Allow, true), (Childless::Prefer, true), (Childless::Force, false)] {
        let (mut world, rw, gw) =
            World::of(childless(client(), ours), childless(gateway(), Childless::Never));
        let request = world.initiate(rw, "net");
        world.run();
        if succeeds {
            world.assert_connected(rw, gw);
            continue;
        }
        let why = "the peer does not make IKE_SAs without a CHILD_SA at first (RFC 6023)";
        assert_eq!(world.events(rw).last(), Some(&format!("request {request} failed: {why}")));
        world.run_out(seconds(400));
        world.assert_nothing_left();
    }
    // Nor is one made alone. "The initiator MUST NOT send the modified IKE_AUTH request."
    let (mut world, rw, _) = World::of(client(), childless(gateway(), Childless::Never));
    world.initiate(rw, "rw");
    world.run();
    assert_eq!(world.host(rw).endpoint.counters().ike_auth.requests_out, 0);
}

/// "It SHOULD reply with an INVALID_SYNTAX Notify payload" to who asks all the same.
#[test]
fn what_was_not_announced_is_refused() {
    let mut world = World::new(1);
    let gw = world.add(childless(gateway(), Childless::Never));
    let mut puppet = Puppet::initiator("198.51.100.66:500", "192.0.2.1:500", OFFER, 1);
    puppet.open(&mut world);
    let payloads = puppet.auth("rw.example.org", ferry_ike::sim::PSK);
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("N(INVALID_SYNTAX)"));
    assert!(world.ike_sas(gw).is_empty());
}

#[test]
fn a_responder_may_insist_on_it() {
    let (mut world, rw, gw) = World::of(client(), childless(gateway(), Childless::Force));
    let request = world.initiate(rw, "net");
    world.run();
    assert_eq!(
        world.events(rw).last(),
        Some(&format!("request {request} failed: the peer answered INVALID_SYNTAX"))
    );
    assert!(world.ike_sas(gw).is_empty());
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn a_child_that_is_refused_later_leaves_the_ike_sa() {
    let rw = childless(client(), Childless::Force).esp(&["aes256gcm16"]);
    let (mut world, rw, _) = World::of(rw, gateway());
    let request = world.initiate(rw, "net");
    world.run();
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
    let failed = format!(
        "request {request} failed: establishing CHILD_SA net failed: the peer answered NO_PROPOSAL_CHOSEN"
    );
    assert_eq!(world.events(rw).last(), Some(&failed));
    end(&mut world, rw);
}

#[test]
fn children_wait_for_their_addresses() {
    let rw = childless(client(), Childless::Force).vips(&["0.0.0.0"]);
    let (mut world, rw, gw) = World::of(rw, gateway().pool("10.3.0.0/24"));
    world.deal(rw, ActionKind::InstallVirtualIps, Manner::Late(seconds(3)));
    world.initiate(rw, "net");
    world.run();
    assert!(world.ike_sa(rw).children.is_empty());
    world.run_for(seconds(4));
    world.assert_connected(rw, gw);
    world.deal(rw, ActionKind::InstallVirtualIps, None);
    end(&mut world, rw);
}

#[test]
fn addresses_that_cannot_be_had_are_given_back() {
    let rw = childless(client(), Childless::Force).vips(&["0.0.0.0"]);
    let (mut world, rw, _) = World::of(rw, gateway().pool("10.3.0.0/24"));
    world.deal(rw, ActionKind::InstallVirtualIps, Manner::Fails);
    world.initiate(rw, "net");
    world.run_for(seconds(10));
    end(&mut world, rw);
}

#[test]
fn any_message_may_be_lost() {
    for lost in 0..6 {
        let rw = childless(client(), Childless::Force).vips(&["0.0.0.0"]);
        let (mut world, rw, gw) = World::of(rw, gateway().pool("10.3.0.0/24"));
        world.initiate(rw, "net");
        for step in 0..6 {
            if step == lost {
                drop(world.take())
            } else {
                drop(world.deliver())
            }
            world.run_for(seconds(if step == lost { 30 } else { 0 }));
            if world.in_air().is_empty() {
                break;
            }
        }
        world.run_for(seconds(60));
        world.assert_connected(rw, gw);
        end(&mut world, rw);
    }
}

#[test]
fn it_is_announced_unless_it_is_off() {
    for (ours, announced) in [(Childless::Allow, true), (Childless::Force, true), (Childless::Never, false)] {
        let mut world = World::new(1);
        world.add(childless(gateway(), ours));
        let mut puppet = Puppet::initiator("198.51.100.66:500", "192.0.2.1:500", OFFER, 1);
        world.keep_mail("198.51.100.66".parse().unwrap());
        let request = puppet.init_request(None, |_| {});
        world.inject(request);
        world.run();
        let answer = world.mail("198.51.100.66".parse().unwrap()).unwrap();
        let message = ferry_ike::wire::decode(&answer.octets).unwrap();
        let notify = message.payloads.notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED);
        assert_eq!(notify.is_some(), announced);
    }
}
