//! Section 2.8, Rekeying: SAs are replaced in time, and end when their time is up.

use ferry_ike::sim::{Setup, World, client, gateway};
use ferry_ike::status::IkeSaState;

use crate::seconds;

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
    assert_eq!(world.due(rw), Some(seconds(3960)));
    world.run_for(seconds(3959));
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
    world.run_for(seconds(2));
    assert_eq!(world.events(rw), ["IKE_SA rw down: deleted", "CHILD_SA net down: Expired"]);
    assert_eq!(world.events(gw), ["IKE_SA gw down: deleted by the peer", "CHILD_SA net down: Closed"]);
    world.run_out(seconds(60));
    world.assert_nothing_left();
}

#[test]
fn an_ike_sa_whose_time_is_up_ends_though_the_peer_is_silent() {
    let (mut world, rw, gw) = World::of(with_ike_lifetime(client()), gateway());
    world.connect(rw, gw, "net");
    world.cut(gw, true);
    world.run_for(seconds(3960 + 166));
    assert_eq!(world.events(rw)[1], "CHILD_SA net down: Expired");
    assert!(world.host(rw).leaks().is_empty());
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
    world.run_out(seconds(60));
    world.assert_nothing_left();
}

/// Its Delete waits behind a question that nobody answers. The time it waits is not the time to ask again.
#[test]
fn a_child_sa_whose_time_is_up_waits_for_its_turn() {
    let short = client().dpd(seconds(595)).child(|child| child.life_time = Some(seconds(600)));
    let (mut world, rw, gw) = World::of(short, gateway());
    world.connect(rw, gw, "net");
    world.cut(gw, true);
    world.run_for(seconds(601));
    assert_eq!(world.ike_sa(rw).tasks_active, ["IKE_DPD"]);
    assert_eq!(world.ike_sa(rw).tasks_queued, ["CHILD_DELETE"]);
    world.cut(gw, false);
    world.run_for(seconds(60));
    assert_eq!(world.events(rw), ["CHILD_SA net down: Expired"]);
    assert_eq!(world.events(gw), ["CHILD_SA net down: Closed"]);
}

#[test]
fn an_operators_word_comes_before_the_end_of_a_lifetime() {
    let short = with_ike_lifetime(client()).child(|child| child.life_time = Some(seconds(600)));
    let (mut world, rw, gw) = World::of(short, gateway());
    world.connect(rw, gw, "net");
    world.cut(gw, true);
    world.run_for(seconds(600));
    assert_eq!(world.ike_sa(rw).tasks_active, ["CHILD_DELETE"]);
    let child = world.ike_sa(rw).children[0].id;
    let request = world.terminate_child(rw, child);
    world.cut(gw, false);
    world.run_for(seconds(60));
    assert_eq!(
        world.events(rw),
        ["CHILD_SA net down: Terminated".to_owned(), format!("request {request} done")]
    );
}
