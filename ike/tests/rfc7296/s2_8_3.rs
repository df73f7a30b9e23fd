//! Section 2.8.3, Rekeying the IKE SA versus Reauthentication.

use ferry_ike::Command;
use ferry_ike::config::Unique;
use ferry_ike::output::RequestId;
use ferry_ike::sim::{ActionKind, HostId, Manner, Setup, Weather, World, client, gateway};
use ferry_ike::status::IkeSaState;

use crate::rekeying::{assert_traffic, child, deliver, rekey_child, rekey_ike, run};
use crate::{said, seconds};

const VIP: &str = "10.3.0.1";
const AUTH_WITH_VIP: &str = "rw --> gw: HDR, SK {IDi, IDr, AUTH, CP(CFG_REQUEST), SAi2, TSi, TSr}";
const AUTH_ANSWER_WITH_VIP: &str = "gw --> rw: HDR, SK {IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr}";

fn break_before_make(setup: Setup) -> Setup {
    setup.settings(|settings| settings.make_before_break = false)
}

fn road_warrior() -> Setup {
    client().vips(&["0.0.0.0"])
}

fn connected(rw: Setup, gw: Setup) -> (World, HostId, HostId) {
    let (mut world, rw, gw) = World::of(rw, gw.pool("10.3.0.0/24"));
    world.connect(rw, gw, "net");
    (world, rw, gw)
}

fn reauthenticate(world: &mut World, host: HostId) -> RequestId {
    let request = world.next_request();
    let ike_sa = world.ike_sas(host).first().expect("the host has an IKE_SA").id;
    world.command(host, Command::ReauthenticateIkeSa { request, ike_sa }).expect("the IKE_SA is there");
    request
}

fn vips(world: &World, rw: HostId) -> Vec<String> {
    world.host(rw).outside.virtual_ips().map(|vip| vip.to_string()).collect()
}

/// One IKE SA at each end, the same one, with one CHILD_SA and the address, and nothing is left when it goes.
fn assert_settled(world: &mut World, rw: HostId, gw: HostId) {
    let (ours, theirs) = (world.ike_sa(rw), world.ike_sa(gw));
    assert_eq!((ours.spi_i, ours.spi_r), (theirs.spi_i, theirs.spi_r));
    assert_eq!(ours.state, IkeSaState::Established);
    child(world, rw);
    child(world, gw);
    world.assert_connected(rw, gw);
    assert_traffic(world, rw, gw);
    assert_eq!(vips(world, rw), [VIP]);
    world.terminate(rw, ours.id);
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn the_new_one_stands_before_the_old_one_goes() {
    let (mut world, rw, gw) = connected(road_warrior(), gateway());
    let before = world.ike_sa(rw);
    let reqid = before.children[0].reqid;
    let request = reauthenticate(&mut world, rw);
    assert_eq!(deliver(&mut world, rw, gw), said::INIT);
    assert_eq!(deliver(&mut world, rw, gw), said::INIT_ANSWER);
    // It is not the first contact: nothing of the old one goes at the gateway.
    assert_eq!(deliver(&mut world, rw, gw), AUTH_WITH_VIP);
    assert_eq!(deliver(&mut world, rw, gw), AUTH_ANSWER_WITH_VIP);
    assert_eq!(world.ike_sas(rw).len(), 2);
    assert_eq!(deliver(&mut world, rw, gw), "rw --> gw: HDR, SK {D}");
    assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {}");
    let after = world.ike_sa(rw);
    assert_ne!(after.spi_i, before.spi_i);
    assert_eq!(after.local_vips, before.local_vips);
    assert_eq!(after.children[0].reqid, reqid);
    assert_eq!(
        world.events(rw),
        [
            "IKE_SA rw up".to_owned(),
            "CHILD_SA net up".to_owned(),
            format!("request {request} done"),
            "IKE_SA rw down: deleted".to_owned(),
            "CHILD_SA net down: Terminated".to_owned(),
        ]
    );
    assert_settled(&mut world, rw, gw);
}

#[test]
fn the_old_one_goes_before_the_new_one_is_made_if_that_is_set() {
    let (mut world, rw, gw) = connected(break_before_make(road_warrior()), gateway());
    let request = reauthenticate(&mut world, rw);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    assert!(vips(&world, rw).is_empty());
    assert_eq!(world.deliver(), said::INIT);
    world.run();
    let told = world.events(rw);
    assert_eq!(told[..2], ["IKE_SA rw down: deleted", "CHILD_SA net down: Terminated"]);
    assert_eq!(told.last(), Some(&format!("request {request} done")));
    assert_settled(&mut world, rw, gw);
}

#[test]
fn all_children_are_made_again() {
    for setup in [client(), break_before_make(client())] {
        let setup = setup.connection(|connection| {
            let second = ferry_ike::config::Child {
                name: "other".into(),
                remote_ts: vec![ferry_ike::selector::SelectorPattern::parse("10.1.7.0/24").unwrap()],
                ..ferry_ike::config::Child::clone(&connection.children[0])
            };
            connection.children.push(second.into());
        });
        let (mut world, rw, gw) = World::of(setup, gateway());
        world.connect(rw, gw, "net");
        world.initiate(rw, "other");
        world.run();
        let reqids = |world: &World| {
            let mut reqids: Vec<_> =
                world.ike_sa(rw).children.iter().map(|child| (child.name.clone(), child.reqid)).collect();
            reqids.sort();
            reqids
        };
        let before = reqids(&world);
        assert_eq!(before.len(), 2);
        reauthenticate(&mut world, rw);
        world.run();
        assert_eq!(reqids(&world), before);
        world.assert_connected(rw, gw);
        assert_eq!(world.ike_sas(gw).len(), 1);
    }
}

#[test]
fn it_is_done_when_its_time_has_come() {
    for setup in [road_warrior(), break_before_make(road_warrior())] {
        let setup = setup.connection(|connection| {
            connection.rekey_time = Some(seconds(1000));
            connection.reauth_time = Some(seconds(2500));
            connection.over_time = seconds(360);
        });
        let (mut world, rw, gw) = connected(setup, gateway());
        world.run_for(seconds(2499));
        let rekeyed = world.ike_sa(rw);
        assert!(rekeyed.reauthenticates.is_some(), "however often it is rekeyed");
        assert_eq!(world.host(rw).endpoint.counters().ike_rekeyed_by_us, 2);
        world.run_for(seconds(2));
        let anew = world.ike_sa(rw);
        assert_ne!(anew.spi_i, rekeyed.spi_i);
        assert_eq!(world.host(rw).endpoint.counters().ike_rekeyed_by_us, 2);
        assert_settled(&mut world, rw, gw);
    }
}

/// The policies of the gateway against several IKE SAs of one peer are not in the way.
#[test]
fn uniqueness_does_not_fight_it() {
    for unique in [Unique::Never, Unique::No, Unique::Replace] {
        let (mut world, rw, gw) = connected(road_warrior(), gateway().unique(unique));
        reauthenticate(&mut world, rw);
        run(&mut world, rw, gw);
        world.run_for(seconds(30));
        assert_traffic(&mut world, rw, gw);
        assert_settled(&mut world, rw, gw);
    }
}

#[test]
fn a_peer_that_refuses_is_asked_again_and_in_the_end_the_old_one_expires() {
    let setup = road_warrior().connection(|connection| {
        connection.reauth_time = Some(seconds(1000));
        connection.over_time = seconds(100);
    });
    let (mut world, rw, gw) = connected(setup, gateway().unique(Unique::Keep));
    world.run_for(seconds(1001));
    assert_eq!(world.ike_sas(rw).len(), 1);
    assert_traffic(&mut world, rw, gw);
    world.run_for(seconds(90));
    assert_traffic(&mut world, rw, gw);
    let attempts = world.host(rw).endpoint.counters().ike_sa_init.requests_out - 1;
    assert!((5..40).contains(&attempts), "{attempts} attempts");
    world.run_for(seconds(20));
    assert!(world.ike_sas(rw).is_empty());
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

/// Break before make, and the peer does not take us back: whoever wanted the children must know.
#[test]
fn children_that_do_not_come_back_are_told() {
    let (mut world, rw, gw) = connected(break_before_make(road_warrior()), gateway());
    world.configure(gw, gateway().psk("another").into_configuration()).unwrap();
    let request = reauthenticate(&mut world, rw);
    world.run();
    let told = world.events(rw);
    let failed = format!("request {request} failed: the peer answered AUTHENTICATION_FAILED");
    assert_eq!(told[told.len() - 2..], [failed, "IKE_SA rw was not made anew with net".to_owned()]);
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn a_dead_peer_is_found_out() {
    for setup in [road_warrior(), break_before_make(road_warrior())] {
        let (mut world, rw, gw) = connected(setup.dpd(seconds(30)), gateway());
        world.cut(gw, true);
        reauthenticate(&mut world, rw);
        world.run_for(seconds(600));
        assert!(world.ike_sas(rw).is_empty());
        // The old one goes for that reason, or has gone and does not come back.
        let told = world.events(rw);
        let is_told = |line: &String| {
            line == "CHILD_SA net down: PeerDead" || line == "IKE_SA rw was not made anew with net"
        };
        assert_eq!(told.iter().filter(|line| is_told(line)).count(), 1, "{told:?}");
        assert!(world.host(rw).leaks().is_empty());
    }
}

#[test]
fn an_operator_who_ends_it_is_obeyed() {
    for make_before_break in [true, false] {
        for delivered in 0..4 {
            let setup = road_warrior().settings(|s| s.make_before_break = make_before_break);
            let (mut world, rw, _) = connected(setup, gateway().dpd(seconds(30)));
            let request = reauthenticate(&mut world, rw);
            step(&mut world, delivered);
            for sa in world.ike_sas(rw) {
                world.terminate(rw, sa.id);
            }
            world.run_out(seconds(400));
            let told = world.events(rw);
            let completed = told.iter().filter(|line| line.starts_with(&format!("request {request} ")));
            assert_eq!(completed.count(), 1, "{told:?}");
            assert!(told.iter().all(|line| !line.contains("not made anew")), "{told:?}");
            world.assert_nothing_left();
        }
    }
}

/// Something else is under way, of either end.
#[test]
fn it_may_cross_anything() {
    type Order = fn(&mut World, HostId, HostId);
    let orders: [(&str, Order); 6] = [
        ("our child rekey", |world, rw, _| drop_request(rekey_child(world, rw))),
        ("the peer's child rekey", |world, _, gw| drop_request(rekey_child(world, gw))),
        ("our IKE rekey", |world, rw, _| drop_request(rekey_first(world, rw))),
        ("the peer's IKE rekey", |world, _, gw| drop_request(rekey_first(world, gw))),
        ("the peer's reauthentication", |world, _, gw| drop_request(reauthenticate(world, gw))),
        ("our own again", |world, rw, _| drop_request(reauthenticate(world, rw))),
    ];
    for make_before_break in [true, false] {
        for (name, order) in orders {
            for delivered_before in 0..3 {
                for delivered_between in 0..6 {
                    let setup = road_warrior().settings(|s| s.make_before_break = make_before_break);
                    let (mut world, rw, gw) = connected(setup, gateway());
                    order(&mut world, rw, gw);
                    step(&mut world, delivered_before);
                    reauthenticate(&mut world, rw);
                    step(&mut world, delivered_between);
                    world.run_for(seconds(400));
                    let (ours, theirs) = (world.ike_sas(rw).len(), world.ike_sas(gw).len());
                    assert_eq!((ours, theirs), (1, 1), "{name} {delivered_before} {delivered_between}");
                    world.assert_no_faults();
                    assert_settled(&mut world, rw, gw);
                }
            }
        }
    }
}

fn drop_request(_: RequestId) {}

fn rekey_first(world: &mut World, host: HostId) -> RequestId {
    rekey_ike(world, host)
}

fn step(world: &mut World, datagrams: usize) {
    for _ in 0..datagrams {
        if !world.in_air().is_empty() {
            world.deliver();
        }
    }
}

/// The peer deletes the IKE SA, or the CHILD_SA, while it is made anew.
#[test]
fn the_peer_may_end_the_old_one_first() {
    for make_before_break in [true, false] {
        for delivered in 0..5 {
            let setup = road_warrior().settings(|s| s.make_before_break = make_before_break);
            let (mut world, rw, gw) = connected(setup, gateway());
            let theirs = world.ike_sa(gw).id;
            reauthenticate(&mut world, rw);
            step(&mut world, delivered);
            if world.ike_sas(gw).iter().any(|sa| sa.id == theirs) {
                world.terminate(gw, theirs);
            }
            world.run_for(seconds(400));
            let told = world.events(rw);
            assert!(told.iter().all(|line| !line.contains("Closed")), "{told:?}");
            assert_settled(&mut world, rw, gw);
        }
    }
}

#[test]
fn any_message_may_be_lost_or_repeated() {
    for make_before_break in [true, false] {
        for lost in 0..8 {
            for is_doubled in [false, true] {
                let setup = road_warrior().settings(|s| s.make_before_break = make_before_break);
                let (mut world, rw, gw) = connected(setup, gateway());
                reauthenticate(&mut world, rw);
                for step in 0.. {
                    if world.in_air().is_empty() {
                        break;
                    }
                    if make_before_break {
                        assert_traffic(&mut world, rw, gw);
                    }
                    match (step == lost, is_doubled) {
                        (false, _) => drop(world.deliver()),
                        (true, false) => drop(world.take()),
                        (true, true) => {
                            let datagram = world.take();
                            world.inject(datagram.clone());
                            world.inject(datagram);
                        }
                    }
                }
                world.run_for(seconds(400));
                assert_settled(&mut world, rw, gw);
            }
        }
    }
}

#[test]
fn bad_weather_does_not_hurt() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let rw = world.add(road_warrior().connection(|connection| {
            connection.reauth_time = Some(seconds(100));
            connection.rand_time = seconds(20);
            connection.over_time = seconds(1000);
        }));
        let gw = world.add(gateway().pool("10.3.0.0/24").unique(Unique::Replace).dpd(seconds(60)));
        world.connect(rw, gw, "net");
        world.set_weather(Weather::stormy());
        world.run_for(seconds(3000));
        world.set_weather(Weather::fair());
        world.run_for(seconds(50));
        world.assert_no_faults();
        for sa in world.ike_sas(rw) {
            world.terminate(rw, sa.id);
        }
        world.run_out(seconds(2000));
        world.assert_nothing_left();
    }
}

/// The old one must not go before the new one can carry what it carried.
#[test]
fn a_data_plane_that_is_slow_is_waited_for() {
    let (mut world, rw, gw) = connected(road_warrior(), gateway());
    world.deal(rw, ActionKind::InstallChild, Manner::Late(seconds(3)));
    reauthenticate(&mut world, rw);
    run(&mut world, rw, gw);
    assert_eq!(world.ike_sas(rw).len(), 2);
    world.run_for(seconds(4));
    assert_settled(&mut world, rw, gw);
}

/// Without virtual IPs and NAT either end can begin.
#[test]
fn the_original_responder_reauthenticates_where_it_can() {
    for has_vip in [false, true] {
        let rw = if has_vip { road_warrior() } else { client() };
        let (mut world, rw, gw) = connected(rw, gateway());
        let before = world.ike_sa(gw);
        let request = reauthenticate(&mut world, gw);
        world.run();
        let told = world.events(gw);
        if has_vip {
            assert_eq!(told, [format!("request {request} failed: it is the peer's to reauthenticate")]);
            assert_eq!(world.ike_sa(gw).spi_i, before.spi_i);
            assert_settled(&mut world, rw, gw);
        } else {
            assert!(told.contains(&format!("request {request} done")), "{told:?}");
            assert!(world.ike_sa(gw).is_initiator);
            world.assert_connected(rw, gw);
        }
    }
}
