//! Section 2.6.1, Replay Detection and Retransmissions.

use ferry_ike::sim::{ActionKind, Manner};

use crate::{end, seconds, world_of_fragments};

#[test]
fn the_first_fragment_of_an_answered_request_alone_gets_the_answer_again() {
    let (mut world, rw, gw) = world_of_fragments();
    let request: Vec<_> = (0..3).map(|_| world.take()).collect();
    request.iter().for_each(|fragment| world.inject(fragment.clone()));
    let answer = [world.take(), world.take()];
    for nth in [1, 2, 0, 1, 2] {
        world.inject(request[nth].clone());
        if nth == 0 {
            assert_eq!([world.take(), world.take()], answer);
        }
        assert!(world.in_air().is_empty());
    }
    // Not even the first one does if it is not authentic.
    let mut forged = request[0].clone();
    forged.octets[40] ^= 1;
    world.inject(forged);
    assert!(world.in_air().is_empty());
    answer.into_iter().for_each(|fragment| world.inject(fragment));
    world.assert_connected(rw, gw);
}

#[test]
fn fragments_of_an_answer_that_was_taken_are_ignored() {
    let (mut world, rw, gw) = world_of_fragments();
    (0..3).for_each(|_| drop(world.deliver()));
    let answer = [world.take(), world.take()];
    answer.iter().for_each(|fragment| world.inject(fragment.clone()));
    world.assert_connected(rw, gw);
    let before = world.ike_sa(rw);
    answer.iter().for_each(|fragment| world.inject(fragment.clone()));
    assert_eq!(world.ike_sa(rw), before);
    assert!(world.in_air().is_empty());
}

#[test]
fn a_repeated_request_that_is_being_answered_is_answered_once() {
    let (mut world, rw, gw) = world_of_fragments();
    world.deal(gw, ActionKind::ReserveSpi, Manner::Late(seconds(10)));
    world.run_for(seconds(9));
    let responses = world.host(gw).endpoint.counters().ike_auth.responses_out;
    assert_eq!(responses, 0);
    world.run_for(seconds(5));
    world.assert_connected(rw, gw);
    assert_eq!(world.host(gw).endpoint.counters().ike_auth.responses_out, 1);
    world.terminate(rw, world.ike_sa(rw).id);
    end(world);
}
