//! Section 2.5, Fragmenting: what is sent, and sent again.

use std::collections::BTreeSet;

use ferry_ike::sim::{Datagram, World};

use crate::{pair, seconds, world_of_fragments};

/// The three fragments of the client's IKE_AUTH request, out of the air.
fn taken(world: &mut World, count: usize) -> Vec<Datagram> {
    (0..count).map(|_| world.take()).collect()
}

#[test]
fn every_fragment_has_a_number_the_total_and_an_initialization_vector_of_its_own() {
    let (mut world, ..) = world_of_fragments();
    let fragments = taken(&mut world, 3);
    for (fragment, number) in fragments.iter().zip(1u8..) {
        assert_eq!(fragment.octets[16], 53, "SKF");
        assert_eq!(fragment.octets[28], if number == 1 { 35 } else { 0 }, "IDi in the first alone");
        assert_eq!(fragment.octets[32..36], [0, number, 0, 3]);
    }
    let vectors: BTreeSet<_> = fragments.iter().map(|fragment| &fragment.octets[36..44]).collect();
    assert_eq!(vectors.len(), 3);
}

#[test]
fn a_request_is_sent_again_with_all_its_fragments() {
    let (mut world, rw, gw) = world_of_fragments();
    let first = taken(&mut world, 3);
    world.wait_for_deadline();
    assert_eq!(taken(&mut world, 3), first);
    world.wait_for_deadline();
    world.run();
    world.assert_connected(rw, gw);
}

#[test]
fn a_rekeyed_ike_sa_goes_on_with_fragments() {
    let (client, gateway) = pair();
    let client = client.connection(|connection| {
        (connection.rekey_time, connection.over_time) = (Some(seconds(60)), seconds(30));
    });
    let (mut world, rw, gw) = World::of(client, gateway);
    world.initiate(rw, "net");
    world.run_for(seconds(90));
    world.assert_connected(rw, gw);
    // The second rekeying is asked for under the keys of the first.
    let told = world.transcript().to_owned();
    world.run_for(seconds(60));
    let more = world.transcript().strip_prefix(&told).unwrap().to_owned();
    assert!(more.contains("rw --> gw: HDR, SKF 1 of 2"), "{more}");
    world.assert_connected(rw, gw);
}
