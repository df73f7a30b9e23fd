//! Section 2.8, Rekeying: SAs are replaced in time, and end when their time is up.

use ferry_ike::Command;
use ferry_ike::config::Label;
use ferry_ike::sim::{ActionKind, HostId, Manner, Setup, World, client, gateway};
use ferry_ike::status::IkeSaState;

use crate::rekeying::{child, rekey_child, rekey_ike};
use crate::seconds;

/// The peer has another key by the time that the IKE SA is to be made anew, so that it is not.
fn change_key(world: &mut World, gw: HostId) {
    world.configure(gw, gateway().psk("another").into_configuration()).expect("a configuration is taken");
}

fn with_ike_lifetime(setup: Setup) -> Setup {
    setup.connection(|connection| {
        connection.reauth_time = Some(seconds(3600));
        connection.over_time = seconds(360);
    })
}

#[test]
fn an_ike_sa_ends_when_its_time_is_up() {
    let (mut world, rw, gw) = World::of(with_ike_lifetime(client()), gateway());
    world.connect(rw, gw, "net");
    let sa = world.ike_sa(rw);
    assert_eq!(sa.expires.unwrap() - sa.established.unwrap(), seconds(3960));
    assert_eq!(world.due(rw), Some(seconds(3600)));
    change_key(&mut world, gw);
    world.run_for(seconds(3959));
    assert_eq!(world.ike_sas(rw)[0].state, IkeSaState::Established);
    world.run_for(seconds(60));
    let ends = |told: Vec<String>| told[told.len() - 2..].to_vec();
    let told = world.events(rw);
    assert!(told.contains(&"CHILD_SA net down: Expired".to_owned()), "{told:?}");
    assert_eq!(ends(world.events(gw)), ["IKE_SA gw down: deleted by the peer", "CHILD_SA net down: Closed"]);
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn an_ike_sa_whose_time_is_up_ends_though_the_peer_is_silent() {
    let (mut world, rw, gw) = World::of(with_ike_lifetime(client()), gateway());
    world.connect(rw, gw, "net");
    world.cut(gw, true);
    world.run_for(seconds(3960 + 166));
    assert!(world.events(rw).contains(&"CHILD_SA net down: Expired".to_owned()));
    assert!(world.host(rw).leaks().is_empty());
}

/// RFC 4301 §4.4.2.1: a lifetime may be one of octets too.
#[test]
fn a_child_that_can_carry_no_more_goes_like_one_whose_time_is_up() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    let child_sa = world.ike_sa(rw).children[0].id;
    world.command(rw, Command::ChildSaExhausted { child_sa }).unwrap();
    assert_eq!(world.events(rw), ["CHILD_SA net down: Expired"]);
    assert!(world.host(rw).outside.installed().next().is_none(), "its keys are not used any longer");
    world.run();
    assert_eq!(world.events(gw), ["CHILD_SA net down: Closed"]);
    world.assert_agreed(rw, gw);
}

#[test]
fn a_child_sa_ends_when_its_time_is_up() {
    let short = client().child(|child| child.life_time = Some(seconds(600)));
    let (mut world, rw, gw) = World::of(short, gateway());
    world.connect(rw, gw, "net");
    world.run_for(seconds(599));
    assert_eq!(world.ike_sa(rw).children.len(), 1);
    world.run_for(seconds(2));
    assert_eq!(world.events(rw), ["CHILD_SA net down: Expired"]);
    assert_eq!(world.events(gw), ["CHILD_SA net down: Closed"]);
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
    assert_eq!(world.due(rw), None);
    let sa = world.ike_sa(rw).id;
    world.terminate(rw, sa);
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

/// Its Delete waits behind a question that nobody answers, but its keys are not used any longer.
#[test]
fn a_child_sa_whose_time_is_up_does_not_wait_for_the_peer() {
    let short = client().dpd(seconds(595)).child(|child| child.life_time = Some(seconds(600)));
    let (mut world, rw, gw) = World::of(short, gateway());
    world.connect(rw, gw, "net");
    world.cut(gw, true);
    world.run_for(seconds(599));
    assert!(world.host(rw).outside.outbound().is_some());
    world.run_for(seconds(2));
    assert_eq!(world.ike_sa(rw).tasks_active, ["IKE_DPD"]);
    assert_eq!(world.ike_sa(rw).tasks_queued, ["CHILD_DELETE"]);
    assert!(world.host(rw).outside.outbound().is_none());
    assert_eq!(world.events(rw), ["CHILD_SA net down: Expired"]);
    world.cut(gw, false);
    world.run_for(seconds(60));
    assert_eq!(world.events(gw), ["CHILD_SA net down: Closed"]);
}

/// We have asked the peer to delete it, and hear nothing.
#[test]
fn a_child_sa_that_is_being_deleted_expires_too() {
    let short = client().child(|child| child.life_time = Some(seconds(600)));
    let (mut world, rw, gw) = World::of(short, gateway());
    world.connect(rw, gw, "net");
    world.run_for(seconds(590));
    world.cut(gw, true);
    let child = world.ike_sa(rw).children[0].id;
    let request = world.terminate_child(rw, child);
    world.run_for(seconds(5));
    assert!(world.host(rw).outside.outbound().is_some(), "until the peer has answered");
    world.run_for(seconds(6));
    assert!(world.host(rw).outside.outbound().is_none());
    assert_eq!(
        world.events(rw),
        ["CHILD_SA net down: Terminated".to_owned(), format!("request {request} done")]
    );
    world.cut(gw, false);
    world.run_for(seconds(60));
    assert_eq!(world.events(gw), ["CHILD_SA net down: Closed"]);
    assert!(world.events(rw).is_empty());
    world.assert_no_faults();
}

/// The successor of a CHILD_SA is granted when that one is over already.
#[test]
fn a_child_sa_expires_while_it_is_rekeyed() {
    let short = client().child(|child| child.life_time = Some(seconds(600)));
    let (mut world, rw, gw) = World::of(short, gateway());
    world.connect(rw, gw, "net");
    world.run_for(seconds(599));
    crate::rekeying::rekey_child(&mut world, rw);
    world.deliver();
    let answer = world.take();
    world.wait(seconds(2));
    assert!(world.host(rw).outside.outbound().is_none());
    world.inject(answer);
    world.run();
    assert!(world.ping(rw) && world.ping(gw));
    let told = world.events(rw);
    assert_eq!(told.first().map(String::as_str), Some("CHILD_SA net down: Expired"), "{told:?}");
    world.run_for(seconds(10));
    crate::rekeying::child(&world, rw);
    crate::rekeying::child(&world, gw);
    world.assert_connected(rw, gw);
}

#[test]
fn a_rekeyed_sa_is_counted() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    crate::rekeying::rekey_child(&mut world, rw);
    world.run();
    crate::rekeying::rekey_ike(&mut world, gw);
    world.run();
    for (host, by_us) in [(rw, 0), (gw, 1)] {
        let counters = world.host(host).endpoint.counters();
        assert_eq!(counters.children_rekeyed, 1);
        assert_eq!((counters.ike_rekeyed_by_us, counters.ike_rekeyed_by_peer), (by_us, 1 - by_us));
    }
}

/// swanctl.conf `inactivity`, which no RFC knows.
mod inactivity {
    use super::*;

    fn impatient() -> (World, HostId, HostId) {
        let (mut world, rw, gw) =
            World::of(client().child(|child| child.inactivity = Some(seconds(60))), gateway());
        world.connect(rw, gw, "net");
        (world, rw, gw)
    }

    #[test]
    fn an_idle_child_sa_is_deleted() {
        let (mut world, rw, gw) = impatient();
        world.run_for(seconds(59));
        crate::rekeying::child(&world, rw);
        world.run_for(seconds(2));
        assert_eq!(world.events(rw), ["CHILD_SA net down: Terminated"]);
        assert_eq!(world.events(gw), ["CHILD_SA net down: Closed"]);
        assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
        assert_eq!(world.due(rw), None);
    }

    #[test]
    fn traffic_of_either_direction_keeps_it() {
        for inbound in [true, false] {
            let (mut world, rw, gw) = impatient();
            world.run_for(seconds(40));
            assert!(world.ping(if inbound { gw } else { rw }));
            world.run_for(seconds(59));
            crate::rekeying::child(&world, rw);
            world.run_for(seconds(2));
            assert!(world.ike_sa(rw).children.is_empty());
        }
    }

    #[test]
    fn the_last_takes_the_ike_sa_with_it_if_that_is_set() {
        let setup = client()
            .settings(|settings| settings.inactivity_close_ike = true)
            .child(|child| child.inactivity = Some(seconds(60)));
        let (mut world, rw, gw) = World::of(setup, gateway());
        world.connect(rw, gw, "net");
        world.run_for(seconds(61));
        assert_eq!(world.events(rw), ["IKE_SA rw down: deleted", "CHILD_SA net down: Terminated"]);
        world.run_out(seconds(400));
        world.assert_nothing_left();
    }

    /// While the data plane is asked, the CHILD_SA is rekeyed, ended, or goes with its IKE SA.
    #[test]
    fn a_late_answer_of_the_data_plane_ends_nothing_else() {
        type Order = fn(&mut World, HostId);
        let orders: [Order; 3] = [
            |world, rw| {
                crate::rekeying::rekey_child(world, rw);
            },
            |world, rw| {
                crate::rekeying::rekey_ike(world, rw);
            },
            |world, rw| {
                let sa = world.ike_sa(rw).id;
                world.terminate(rw, sa);
            },
        ];
        for order in orders {
            let (mut world, rw, gw) = impatient();
            world.deal(rw, ActionKind::QueryUse, Manner::Late(seconds(5)));
            world.run_for(seconds(61));
            order(&mut world, rw);
            world.run_for(seconds(20));
            world.assert_mirrored(rw, gw);
            world.run_for(seconds(120));
            for sa in world.ike_sas(rw) {
                assert!(sa.children.is_empty(), "it is idle in the end");
                world.terminate(rw, sa.id);
            }
            world.run_out(seconds(400));
            world.assert_nothing_left();
        }
    }

    #[test]
    fn a_data_plane_that_does_not_know_is_taken_for_silent() {
        let (mut world, rw, _) = impatient();
        world.deal(rw, ActionKind::QueryUse, Manner::Fails);
        world.run_for(seconds(61));
        assert!(world.ike_sa(rw).children.is_empty());
    }
}

/// "The responder MAY defer sending messages on a new SA until either it receives one or a timeout has occurred."
#[test]
fn the_responder_sends_with_the_successor_once_it_has_received_with_it() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    let old = child(&world, gw).spi_out;
    rekey_child(&mut world, rw);
    world.deliver();
    let sends_with = |world: &World| world.host(gw).outside.outbound().map(|install| install.spi_out);
    assert_eq!(sends_with(&world), old);
    let new = world.ike_sa(gw).children.last().unwrap().id;
    let first = Command::FirstReceived { child_sa: new };
    world.command(gw, first).unwrap();
    let used = sends_with(&world);
    assert_ne!(used, old);
    let rekeyed: Vec<_> = world.events(gw).into_iter().filter(|event| event.contains("rekeyed")).collect();
    assert_eq!(rekeyed.len(), 1, "{rekeyed:?}");
    // The DELETE of the old one, and a packet that is told again, change nothing more.
    world.run();
    world.command(gw, Command::FirstReceived { child_sa: new }).unwrap();
    world.wait(seconds(10));
    assert_eq!(sends_with(&world), used);
    assert!(world.events(gw).iter().all(|event| !event.contains("rekeyed")));
    assert_eq!(child(&world, gw).id, new);
    world.assert_connected(rw, gw);
    world.assert_no_faults();
}

/// What the data plane tells packets by is the IKE SA's own, as long as it has successors, and nobody else's.
#[test]
fn interfaces_go_over_to_the_successor() {
    let labelled = |setup: Setup| {
        setup.connection(|connection| {
            connection.interface_in = Some(Label::Unique);
            connection.interface_out = Some(Label::UniqueDirection);
        })
    };
    for side in 0..2 {
        let (mut world, rw, gw) = World::of(labelled(client()), labelled(gateway()));
        world.connect(rw, gw, "net");
        let host = [rw, gw][side];
        let before = world.ike_sa(host).interfaces;
        assert!(before.inbound.is_some() && before.inbound != before.outbound, "{before:?}");
        rekey_ike(&mut world, rw);
        world.run_for(seconds(6));
        let after = world.ike_sa(host);
        assert_eq!(after.interfaces, before);
        world.terminate(rw, world.ike_sa(rw).id);
        world.run_out(seconds(400));
        world.connect(rw, gw, "net");
        let another = world.ike_sa(host).interfaces;
        assert!(![before.inbound, before.outbound].contains(&another.inbound), "{before:?} {another:?}");
    }
}
