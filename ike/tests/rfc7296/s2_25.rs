//! Section 2.25, Exchange Collisions: everything at once. What crosses on purpose is in `s2_8_1` and `s2_8_2`.

use std::collections::BTreeSet;
use std::time::Duration;

use ferry_ike::Command;
use ferry_ike::sim::{HostId, Weather, World, client, gateway};
use ferry_ike::status::{ChildSaState, IkeSaState};

use crate::seconds;

/// What an operator does on a restless day.
#[derive(Clone, Copy, Debug)]
enum Whim {
    RekeyChild,
    RekeyIkeSa,
    CreateChild,
    EndChild,
}

const WHIMS: [Whim; 6] = [
    Whim::RekeyChild,
    Whim::RekeyChild,
    Whim::RekeyIkeSa,
    Whim::RekeyIkeSa,
    Whim::CreateChild,
    Whim::EndChild,
];

/// Does something to the newest SAs of a host, if it has some. Refusals are part of the day.
fn indulge(world: &mut World, host: HostId, whim: Whim) {
    let sas = world.ike_sas(host);
    let Some(sa) = sas.iter().rfind(|sa| sa.state == IkeSaState::Established) else { return };
    let newest = sa.children.iter().rfind(|child| child.state == ChildSaState::Installed);
    let (ike_sa, child_sa) = (sa.id, newest.map(|child| child.id));
    let request = world.next_request();
    let command = match (whim, child_sa) {
        (Whim::RekeyIkeSa, _) => Command::RekeyIkeSa { request, ike_sa },
        (Whim::CreateChild, _) | (_, None) => {
            world.initiate(host, "net");
            return;
        }
        (Whim::RekeyChild, Some(child_sa)) => Command::RekeyChildSa { request, child_sa },
        (Whim::EndChild, Some(child_sa)) => Command::TerminateChildSa { request, child_sa },
    };
    world.command(host, command).expect("the SA was there a moment ago");
}

/// Both ends have the same SAs, and nothing is under way.
fn assert_agreement(world: &World, rw: HostId, gw: HostId, seed: u64) {
    let ike_sas = |host| {
        let spis = world.ike_sas(host).into_iter().map(|sa| {
            assert_eq!(sa.state, IkeSaState::Established, "seed {seed}");
            assert!(sa.tasks_active.is_empty() && sa.tasks_queued.is_empty(), "seed {seed}");
            (sa.spi_i.0, sa.spi_r.0)
        });
        spis.collect::<BTreeSet<_>>()
    };
    assert_eq!(ike_sas(rw), ike_sas(gw), "seed {seed}");
    let children = |host| {
        let all = world.ike_sas(host).into_iter().flat_map(|sa| sa.children);
        let spis = all.map(|child| {
            assert_eq!(child.state, ChildSaState::Installed, "seed {seed}");
            (child.spi_in.unwrap().0, child.spi_out.unwrap().0)
        });
        spis.collect::<BTreeSet<_>>()
    };
    let theirs: BTreeSet<_> = children(gw).into_iter().map(|(spi_in, spi_out)| (spi_out, spi_in)).collect();
    assert_eq!(children(rw), theirs, "seed {seed}");
    for host in [rw, gw] {
        assert_eq!(world.host(host).outside.installed().count(), children(host).len(), "seed {seed}");
    }
    world.assert_mirrored(rw, gw);
    world.assert_mirrored(gw, rw);
    world.assert_no_faults();
}

#[test]
fn whatever_crosses_both_ends_agree_in_the_end() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        let rw = world.add(client());
        let gw = world.add(gateway().peer_at("198.51.100.7"));
        world.connect(rw, gw, "net");
        world.set_weather(Weather {
            loss: 8,
            duplication: 8,
            delay: Duration::from_millis(5)..Duration::from_millis(1500),
            ..Weather::fair()
        });
        for _ in 0..25 {
            for host in [rw, gw] {
                if world.dice().chance(60) {
                    let whim = *world.dice().pick(&WHIMS).expect("there are whims");
                    indulge(&mut world, host, whim);
                }
            }
            world.run_for(Duration::from_millis(400));
            world.assert_no_faults();
        }
        world.set_weather(Weather::fair());
        world.run_for(seconds(600));
        assert_agreement(&world, rw, gw, seed);
        let ike_sas: Vec<_> = world.ike_sas(rw).into_iter().map(|sa| sa.id).collect();
        for ike_sa in ike_sas {
            world.terminate(rw, ike_sa);
        }
        world.run_out(seconds(600));
        world.assert_nothing_left();
    }
}
