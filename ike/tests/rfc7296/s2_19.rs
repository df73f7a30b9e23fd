//! Section 2.19, Requesting an Internal Address on a Remote Network, and 3.15, the Configuration Payload.

use std::net::IpAddr;

use ferry_ike::Command;
use ferry_ike::sim::{HostId, PSK, Puppet, Setup, World, client, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::registry::{CfgAttributeType, CfgType, ExchangeType};

use crate::{GATEWAY, GATEWAY_IP, OFFER, PUPPET, said, seconds};

const V4: &str = "10.3.0.0/24";
const V6: &str = "2001:db8:3::/120";

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn road_warrior(vips: &[&str]) -> Setup {
    client().vips(vips)
}

fn end(world: &mut World, rw: HostId) {
    let sa = world.ike_sa(rw).id;
    world.terminate(rw, sa);
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn a_client_is_given_an_address() {
    let (mut world, rw, gw) = World::of(road_warrior(&["0.0.0.0"]), gateway().pool(V4));
    world.initiate(rw, "net");
    assert_eq!(world.deliver(), said::INIT);
    assert_eq!(world.deliver(), said::INIT_ANSWER);
    assert_eq!(
        world.deliver(),
        "rw --> gw: HDR, SK {IDi, N(INITIAL_CONTACT), IDr, AUTH, CP(CFG_REQUEST), SAi2, TSi, TSr}"
    );
    assert_eq!(world.host(gw).outside.pools().pool(V4).unwrap().online(), 1);
    assert_eq!(world.ike_sa(gw).remote_vips, [addr("10.3.0.1")]);
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr}");
    assert_eq!(world.ike_sa(rw).local_vips, [addr("10.3.0.1")]);
    assert_eq!(world.host(rw).outside.virtual_ips().collect::<Vec<_>>(), [addr("10.3.0.1")]);
    world.assert_connected(rw, gw);
    // The selectors became the address.
    let child = &world.ike_sa(rw).children[0];
    assert_eq!(child.local_ts[0].to_string(), "10.3.0.1/32");
    let installed = world.host(rw).outside.installed().next().unwrap();
    assert_eq!(installed.virtual_ips, [addr("10.3.0.1")]);
    end(&mut world, rw);
}

#[test]
fn a_client_is_given_addresses_of_both_families() {
    let (mut world, rw, gw) = World::of(
        road_warrior(&["0.0.0.0", "::"]).child(all_remote),
        gateway().pool(V4).pool(V6).child(all_local),
    );
    world.connect(rw, gw, "net");
    let vips = world.ike_sa(rw).local_vips;
    assert_eq!(vips, [addr("10.3.0.1"), addr("2001:db8:3::1")]);
    assert_eq!(world.ike_sa(gw).remote_vips, vips);
    let child = &world.ike_sa(gw).children[0];
    let remote: Vec<_> = child.remote_ts.iter().map(ToString::to_string).collect();
    assert_eq!(remote, ["10.3.0.1/32", "2001:db8:3::1/128"]);
    end(&mut world, rw);
}

fn all_remote(child: &mut ferry_ike::config::Child) {
    child.remote_ts = everything();
}

fn all_local(child: &mut ferry_ike::config::Child) {
    child.local_ts = everything();
}

fn everything() -> Vec<ferry_ike::selector::SelectorPattern> {
    ["0.0.0.0/0", "::/0"].map(|text| ferry_ike::selector::SelectorPattern::parse(text).unwrap()).into()
}

#[test]
fn a_client_that_wants_both_families_takes_the_one_there_is() {
    for (pool, vip) in [(V4, "10.3.0.1"), (V6, "2001:db8:3::1")] {
        let (mut world, rw, gw) = World::of(
            road_warrior(&["0.0.0.0", "::"]).child(all_remote),
            gateway().pool(pool).child(all_local),
        );
        world.connect(rw, gw, "net");
        assert_eq!(world.ike_sa(rw).local_vips, [addr(vip)]);
        end(&mut world, rw);
    }
}

#[test]
fn a_client_is_told_the_name_servers() {
    let pool = gateway().pool_with(V4, &[("dns", "10.1.0.53"), ("dns", "10.1.0.54")]);
    let (mut world, rw, gw) = World::of(road_warrior(&["0.0.0.0"]), pool);
    world.initiate(rw, "net");
    for _ in 0..4 {
        world.deliver();
    }
    world.assert_connected(rw, gw);
    let lease = world.host(rw).outside.assigned(world.ike_sa(rw).id).unwrap();
    assert_eq!(
        lease.attributes,
        [
            (CfgAttributeType::INTERNAL_IP4_DNS, vec![10, 1, 0, 53]),
            (CfgAttributeType::INTERNAL_IP4_DNS, vec![10, 1, 0, 54]),
        ]
    );
    end(&mut world, rw);
}

#[test]
fn a_client_is_given_the_address_it_had() {
    let (mut world, rw, gw) = World::of(road_warrior(&["0.0.0.0"]), gateway().pool(V4));
    world.connect(rw, gw, "net");
    let had = world.ike_sa(rw).local_vips;
    let sa = world.ike_sa(rw).id;
    world.terminate(rw, sa);
    world.run_out(seconds(400));
    let pool = world.host(gw).outside.pools().pool(V4).unwrap();
    assert_eq!((pool.online(), pool.offline()), (0, 1));
    // Somebody else comes meanwhile, and gets another.
    let other = road_warrior(&["0.0.0.0"]).named("rw2").at("198.51.100.8").id("rw2.example.org");
    let other = world.add(other);
    world.initiate(other, "net");
    world.run();
    assert_ne!(world.ike_sa(other).local_vips, had);
    world.initiate(rw, "net");
    world.run();
    assert_eq!(world.ike_sa(rw).local_vips, had);
}

#[test]
fn a_client_may_ask_for_a_certain_address() {
    let (mut world, rw, gw) = World::of(road_warrior(&["10.3.0.77"]), gateway().pool(V4));
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(rw).local_vips, [addr("10.3.0.77")]);
    end(&mut world, rw);
    // It need not get it.
    let (mut world, rw, gw) = World::of(road_warrior(&["10.99.0.77"]), gateway().pool(V4));
    world.connect(rw, gw, "net");
    assert_eq!(world.ike_sa(rw).local_vips, [addr("10.3.0.1")]);
    end(&mut world, rw);
}

#[test]
fn an_exhausted_pool_is_no_reason_against_the_ike_sa() {
    let (mut world, rw, gw) = World::of(road_warrior(&["0.0.0.0"]), gateway().pool("10.3.0.1-10.3.0.1"));
    world.connect(rw, gw, "net");
    let other = road_warrior(&["0.0.0.0"]).named("rw2").at("198.51.100.8").id("rw2.example.org");
    let other = world.add(other);
    let request = world.initiate(other, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.deliver(), "gw --> rw2: HDR, SK {IDr, AUTH, N(INTERNAL_ADDRESS_FAILURE)}");
    assert_eq!(world.ike_sa(other).state, IkeSaState::Established);
    assert!(world.events(other)[1].starts_with(&format!("request {request} failed")));
    // When the first one goes, its address is free.
    let sa = world.ike_sa(rw).id;
    world.terminate(rw, sa);
    world.run();
    world.initiate(other, "net");
    world.run();
    world.assert_mirrored(other, gw);
    assert_eq!(world.host(other).outside.installed().count(), 1);
}

#[test]
fn a_gateway_without_pools_gives_no_addresses() {
    let (mut world, rw, gw) = World::of(road_warrior(&["0.0.0.0"]), gateway());
    world.initiate(rw, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, N(INTERNAL_ADDRESS_FAILURE)}");
    assert!(world.ike_sa(gw).children.is_empty());
    end(&mut world, rw);
}

#[test]
fn a_client_that_asks_for_no_address_is_given_none() {
    let (mut world, rw, gw) = World::of(client(), gateway().pool(V4));
    world.connect(rw, gw, "net");
    assert!(world.ike_sa(gw).remote_vips.is_empty());
    assert_eq!(world.host(gw).outside.pools().pool(V4).unwrap().online(), 0);
    assert_eq!(world.ike_sa(gw).children[0].remote_ts[0].to_string(), "198.51.100.7/32");
}

#[test]
fn addresses_nobody_asked_for_are_not_taken() {
    let (mut world, rw, _) = World::of(client(), gateway().at("192.0.2.2"));
    world.keep_mail(GATEWAY_IP);
    let mut puppet = Puppet::responder(GATEWAY, "198.51.100.7:500", OFFER, 1);
    world.initiate(rw, "net");
    world.run();
    let request = world.mail(GATEWAY_IP).unwrap();
    let answer = puppet.init_response(&request, |_| {});
    world.inject(answer);
    world.run();
    let mut payloads = puppet.auth("gw.example.org", PSK);
    let vip = (CfgAttributeType::INTERNAL_IP4_ADDRESS, vec![10, 3, 0, 1]);
    payloads.cp(CfgType::REPLY, &[vip]);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.7", "10.1.0.0/16");
    let answer = puppet.seal(ExchangeType::IKE_AUTH, 1, true, &payloads);
    world.inject(answer);
    assert_eq!(world.ike_sa(rw).children.len(), 1);
    assert!(world.ike_sa(rw).local_vips.is_empty());
    assert_eq!(world.host(rw).outside.virtual_ips().count(), 0);
}

#[test]
fn a_request_for_many_addresses_gets_one_of_each_family() {
    let (mut world, _, gw) = World::of(client(), gateway().pool(V4).pool(V6).child(all_local));
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.open(&mut world);
    let mut payloads = puppet.auth("greedy@example.org", PSK);
    let v4 = || (CfgAttributeType::INTERNAL_IP4_ADDRESS, vec![]);
    let v6 = || (CfgAttributeType::INTERNAL_IP6_ADDRESS, vec![]);
    let unknown = (CfgAttributeType(20_000), vec![1, 2, 3]);
    payloads.cp(CfgType::REQUEST, &[v4(), v4(), unknown, v4(), v6(), v6(), v4()]);
    Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "0.0.0.0/0", "10.1.0.0/16");
    let answer = puppet.ask(&mut world, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(answer.as_deref(), Some("IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr"));
    assert_eq!(world.ike_sa(gw).remote_vips, [addr("10.3.0.1"), addr("2001:db8:3::1")]);
}

#[test]
fn what_a_dead_client_had_goes_back() {
    let (mut world, rw, gw) = World::of(road_warrior(&["0.0.0.0"]), gateway().pool(V4).dpd(seconds(30)));
    world.connect(rw, gw, "net");
    world.cut(rw, true);
    world.run_for(seconds(200));
    assert!(world.host(gw).leaks().is_empty());
    // The client, which does not know yet, gives up its addresses when it is told to.
    let (request, ike_sa) = (world.next_request(), world.ike_sa(rw).id);
    world.command(rw, Command::TerminateIkeSa { request, ike_sa, force: true }).unwrap();
    world.run();
    world.assert_nothing_left();
}

#[test]
fn a_client_that_is_back_keeps_its_address() {
    let (mut world, rw, gw) = World::of(road_warrior(&["0.0.0.0"]), gateway().pool(V4));
    world.connect(rw, gw, "net");
    let had = world.ike_sa(rw).local_vips;
    let reborn = world.add(road_warrior(&["0.0.0.0"]).named("reborn").at("198.51.100.8"));
    world.cut(rw, true);
    world.initiate(reborn, "net");
    world.run();
    assert_eq!(world.ike_sa(reborn).local_vips, had);
    assert_eq!(world.host(gw).outside.pools().pool(V4).unwrap().online(), 1);
}
