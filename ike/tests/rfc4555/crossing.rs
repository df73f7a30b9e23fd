//! A move crosses everything else, and every message of that is lost, delayed or repeated: in the end both ends agree,
//! the tunnel carries, and nothing is there twice.

use std::time::Duration;

use ferry_ike::Command;
use ferry_ike::sim::{HostId, Setup, World};
use ferry_ike::status::ChildSaState;

use crate::{CAFE, GATEWAY, HOME, OTHER_GATEWAY, TRAIN, assert_met, mobile_with, seconds};

/// An address of the gateway that is always there: two who both leave, unheard, do not find each other again.
const LASTING: &str = "192.0.2.200";

/// What goes on while somebody moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Nothing,
    RekeyChild,
    RekeyIkeSa,
    CreateChild,
    DeleteChild,
    Liveness,
    MoveToo,
}

const OTHERS: [Other; 7] = [
    Other::Nothing,
    Other::RekeyChild,
    Other::RekeyIkeSa,
    Other::CreateChild,
    Other::DeleteChild,
    Other::Liveness,
    Other::MoveToo,
];

/// What befalls one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    /// It arrives when all else is over.
    Late,
    Twice,
}

fn lasting(setup: Setup) -> Setup {
    setup.dpd(seconds(30))
}

fn begin(world: &mut World, host: HostId, other: Other) {
    let (sa, request) = (world.ike_sas(host).remove(0), world.next_request());
    let child_sa = sa.children[0].id;
    let command = match other {
        Other::Nothing => return,
        Other::RekeyChild => Command::RekeyChildSa { request, child_sa },
        Other::RekeyIkeSa => Command::RekeyIkeSa { request, ike_sa: sa.id },
        Other::CreateChild => {
            world.initiate(host, "net");
            return;
        }
        Other::DeleteChild => Command::TerminateChildSa { request, child_sa },
        Other::Liveness => {
            world.run_for(seconds(30));
            return;
        }
        Other::MoveToo => {
            let name = world.host(host).name.clone();
            world.move_to(host, if name == "rw" { &[TRAIN] } else { &[OTHER_GATEWAY, LASTING] });
            return;
        }
    };
    world.command(host, command).unwrap();
}

/// How long the datagrams are counted that something may befall.
const WHILE: Duration = seconds(25);

/// The `nth` datagram from now on meets its fate; all others arrive. False if there are not so many.
fn fare(world: &mut World, hosts: [HostId; 2], nth: usize, fate: Fate) -> bool {
    let until = world.elapsed() + WHILE;
    let mut count = 0;
    let mut late = None;
    loop {
        if world.in_air().is_empty() {
            let due = hosts.iter().filter_map(|host| world.due(*host)).min();
            if due.is_none_or(|due| world.elapsed() + due > until) {
                break;
            }
            world.wait_for_deadline();
            continue;
        }
        let datagram = world.take();
        match fate {
            _ if count != nth => world.inject(datagram),
            Fate::Lost => {}
            Fate::Late => late = Some(datagram),
            Fate::Twice => {
                world.inject(datagram.clone());
                world.inject(datagram);
            }
        }
        count += 1;
    }
    world.run_for(seconds(120));
    if let Some(datagram) = late {
        world.inject(datagram);
    }
    world.run_for(seconds(400));
    count > nth
}

/// `mover` goes elsewhere while `busy` is at something else, which begins before or after.
fn cross(
    mover_is_client: bool,
    busy_is_client: bool,
    other: Other,
    moves_first: bool,
    nth: usize,
    fate: Fate,
) -> bool {
    let (mut world, rw, gw) = mobile_with(lasting, lasting);
    world.move_to(gw, &[GATEWAY, LASTING]);
    world.connect(rw, gw, "net");
    if other == Other::DeleteChild {
        world.initiate(rw, "net"); // one stays
        world.run();
    }
    let children = world.ike_sa(rw).children.len();
    let (mover, busy) = (if mover_is_client { rw } else { gw }, if busy_is_client { rw } else { gw });
    let to: &[&str] = if mover_is_client { &[CAFE] } else { &["192.0.2.55", LASTING] };
    if moves_first {
        world.move_to(mover, to);
        begin(&mut world, busy, other);
    } else {
        begin(&mut world, busy, other);
        world.move_to(mover, to);
    }
    let goes_on = fare(&mut world, [rw, gw], nth, fate);
    let (ours, theirs) = (world.ike_sas(rw), world.ike_sas(gw));
    assert_eq!((ours.len(), theirs.len()), (1, 1), "IKE_SAs");
    let expected = match other {
        Other::CreateChild => children + 1,
        Other::DeleteChild => children - 1,
        _ => children,
    };
    for sa in [&ours[0], &theirs[0]] {
        let live = sa.children.iter().filter(|child| child.state == ChildSaState::Installed).count();
        assert_eq!((live, sa.children.len()), (expected, expected), "{other:?}: {:?}", sa.children);
    }
    let at = match (mover_is_client, other, busy_is_client) {
        (_, Other::MoveToo, true) if moves_first || !mover_is_client => TRAIN,
        (true, ..) => CAFE,
        (false, Other::MoveToo, true) => TRAIN,
        (false, ..) => HOME,
    };
    assert_met(&mut world, rw, gw, at);
    let gateway_at: &[&str] = match (mover_is_client, other, busy_is_client) {
        // Which of its two the client has found first is as it may be.
        (_, Other::MoveToo, false) if moves_first || mover_is_client => &[OTHER_GATEWAY, LASTING],
        (false, ..) => &["192.0.2.55", LASTING],
        (true, ..) => &[GATEWAY],
    };
    let local = world.ike_sa(gw).local.ip().to_string();
    assert!(gateway_at.contains(&local.as_str()), "the gateway is at {local}");
    goes_on
}

fn cross_all(mover_is_client: bool, busy_is_client: bool) {
    // A gateway for everybody has nobody to begin a CHILD_SA with.
    let others = OTHERS.into_iter().filter(|other| busy_is_client || *other != Other::CreateChild);
    for other in others {
        for moves_first in [true, false] {
            for fate in [Fate::Lost, Fate::Late, Fate::Twice] {
                for nth in 0.. {
                    if !cross(mover_is_client, busy_is_client, other, moves_first, nth, fate) {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn the_client_moves_while_it_is_busy() {
    cross_all(true, true);
}

#[test]
fn the_client_moves_while_the_gateway_is_busy() {
    cross_all(true, false);
}

#[test]
fn the_gateway_moves_while_it_is_busy() {
    cross_all(false, false);
}

#[test]
fn the_gateway_moves_while_the_client_is_busy() {
    cross_all(false, true);
}
