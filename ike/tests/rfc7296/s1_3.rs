//! Section 1.3, The CREATE_CHILD_SA Exchange: further CHILD_SAs, successors of CHILD_SAs and of IKE SAs.

use std::sync::Arc;

use ferry_ike::config::Child;
use ferry_ike::selector::SelectorPattern;
use ferry_ike::sim::{ActionKind, Manner, Setup, World, client, gateway};
use ferry_ike::status::{ChildSaState, IkeSaState};
use ferry_ike::wire::registry::KeMethod;

use crate::rekeying::{child, deliver, rekey_child, rekey_ike};
use crate::seconds;

/// Another child beside `net`, between other networks.
fn with_second_child(setup: Setup, local: &str, remote: &str) -> Setup {
    setup.connection(|connection| {
        let first = connection.children.first().expect("there is one");
        let ts = |text: &str| vec![SelectorPattern::parse(text).expect("the selector parses")];
        let second =
            Child { name: "lab".into(), local_ts: ts(local), remote_ts: ts(remote), ..Child::clone(first) };
        connection.children.push(Arc::new(second));
    })
}

fn two_children() -> (Setup, Setup) {
    (
        with_second_child(client(), "10.9.0.0/16", "10.2.0.0/16"),
        with_second_child(gateway(), "10.2.0.0/15", "10.9.0.0/16"),
    )
}

const CREATE: &str = "rw --> gw: HDR, SK {SA, Ni, TSi, TSr}";
const CREATED: &str = "gw --> rw: HDR, SK {SA, Nr, TSi, TSr}";

#[test]
fn a_further_child_is_made_in_the_ike_sa_there_is() {
    let (rw, gw) = two_children();
    let (mut world, rw, gw) = World::of(rw, gw);
    world.connect(rw, gw, "net");
    let request = world.initiate(rw, "lab");
    assert_eq!(world.deliver(), CREATE);
    assert_eq!(world.host(gw).outside.installed().count(), 2, "installed before the answer");
    assert_eq!(world.deliver(), CREATED);
    assert!(world.in_air().is_empty());
    world.assert_connected(rw, gw);
    for host in [rw, gw] {
        let children = world.ike_sa(host).children;
        assert_eq!(children.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["net", "lab"]);
        assert!(children.iter().all(|child| child.state == ChildSaState::Installed));
        assert_ne!(children[0].reqid, children[1].reqid);
    }
    // The gateway would have allowed more.
    assert_eq!(world.ike_sa(gw).children[1].local_ts[0].to_string(), "10.2.0.0/16");
    assert_eq!(world.events(rw), ["CHILD_SA lab up".to_owned(), format!("request {request} done")]);
    assert_eq!(world.events(gw), ["CHILD_SA lab up"]);

    let ike_sa = world.ike_sa(rw).id;
    world.terminate(rw, ike_sa);
    world.run();
    world.run_out(seconds(400));
    world.assert_nothing_left();
}

#[test]
fn children_asked_for_meanwhile_are_made_when_the_ike_sa_stands() {
    let (rw, gw) = two_children();
    let (mut world, rw, gw) = World::of(rw, gw);
    let first = world.initiate(rw, "net");
    world.deliver();
    let second = world.initiate(rw, "lab");
    world.run();
    assert_eq!(world.ike_sa(rw).children.len(), 2);
    world.assert_connected(rw, gw);
    let events = world.events(rw);
    for request in [first, second] {
        assert!(events.contains(&format!("request {request} done")), "{events:?}");
    }
}

#[test]
fn the_gateway_can_make_a_child_too() {
    let (rw, gw) = two_children();
    let (mut world, rw, gw) = World::of(rw, gw.peer_at("198.51.100.7"));
    world.connect(rw, gw, "net");
    world.initiate(gw, "lab");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {SA, Ni, TSi, TSr}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {SA, Nr, TSi, TSr}");
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(rw).children[1].local_ts[0].to_string(), "10.9.0.0/16");
}

#[test]
fn a_repeated_request_gets_the_same_answer_and_no_second_child() {
    let (rw, gw) = two_children();
    let (mut world, rw, gw) = World::of(rw, gw);
    world.connect(rw, gw, "net");
    world.deal(gw, ActionKind::InstallChild, Manner::Late(seconds(1)));
    world.initiate(rw, "lab");
    let request = world.take();
    world.inject(request.clone());
    world.inject(request.clone()); // while it is being answered
    assert!(world.in_air().is_empty());
    world.wait(seconds(1));
    let answer = world.take();
    world.inject(request);
    assert_eq!(world.take(), answer);
    world.inject(answer);
    world.run();
    world.assert_connected(rw, gw);
    assert_eq!(world.ike_sa(gw).children.len(), 2);
    world.assert_no_faults();
}

#[test]
fn what_cannot_be_granted_is_refused_and_the_ike_sa_stays() {
    for (rw, refusal) in [
        (with_second_child(client(), "10.9.0.0/16", "172.16.0.0/16"), "N(TS_UNACCEPTABLE)"),
        (
            with_second_child(client(), "10.9.0.0/16", "10.2.0.0/16").connection(|connection| {
                let proposal = ferry_ike::proposal::Proposal::parse(
                    ferry_ike::wire::registry::ProtocolId::ESP,
                    "aes256gcm16",
                );
                let lab = Arc::make_mut(&mut connection.children[1]);
                lab.esp_proposals = proposal.expect("the proposal parses");
            }),
            "N(NO_PROPOSAL_CHOSEN)",
        ),
    ] {
        let (_, gw_setup) = two_children();
        let (mut world, rw, gw) = World::of(rw, gw_setup);
        world.connect(rw, gw, "net");
        let request = world.initiate(rw, "lab");
        assert_eq!(world.deliver(), CREATE);
        assert_eq!(world.deliver(), format!("gw --> rw: HDR, SK {{{refusal}}}"));
        let events = world.events(rw);
        assert!(events[0].starts_with(&format!("request {request} failed")), "{events:?}");
        assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
        world.assert_connected(rw, gw);
        world.assert_no_faults();
        assert_eq!(world.host(rw).outside.leaks().len(), 1, "the first child alone");
    }
}

#[test]
fn what_the_outside_fails_to_do_is_refused_for_now() {
    for kind in [ActionKind::ReserveSpi, ActionKind::InstallChild] {
        let (rw, gw) = two_children();
        let (mut world, rw, gw) = World::of(rw, gw);
        world.connect(rw, gw, "net");
        world.deal(gw, kind, Manner::Fails);
        world.initiate(rw, "lab");
        assert_eq!(world.deliver(), CREATE);
        assert_eq!(world.deliver(), "gw --> rw: HDR, SK {N(TEMPORARY_FAILURE)}");
        assert_eq!(world.ike_sa(gw).children.len(), 1);
        world.assert_connected(rw, gw);
    }
}

#[test]
fn an_initiator_that_cannot_install_takes_it_back() {
    let (rw, gw) = two_children();
    let (mut world, rw, gw) = World::of(rw, gw);
    world.connect(rw, gw, "net");
    world.deal(rw, ActionKind::InstallChild, Manner::Fails);
    world.initiate(rw, "lab");
    assert_eq!(world.deliver(), CREATE);
    assert_eq!(world.deliver(), CREATED);
    world.run();
    assert_eq!((world.ike_sa(rw).children.len(), world.ike_sa(gw).children.len()), (1, 1));
    world.assert_connected(rw, gw);
}

mod s1_3_3_rekeying_child_sas {
    use super::*;

    const REKEY: &str = "rw --> gw: HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}";

    #[test]
    fn the_new_one_is_there_before_the_old_one_goes() {
        let (mut world, rw, gw) = World::of(client(), gateway());
        world.connect(rw, gw, "net");
        let (old_rw, old_gw) = (child(&world, rw), child(&world, gw));
        let request = rekey_child(&mut world, rw);
        assert_eq!(world.ike_sa(rw).children[0].state, ChildSaState::Rekeying);

        assert_eq!(deliver(&mut world, rw, gw), REKEY);
        // The gateway receives on both and sends with the old one.
        let states = |world: &World, host| {
            world.ike_sa(host).children.iter().map(|child| child.state).collect::<Vec<_>>()
        };
        assert_eq!(states(&world, gw), [ChildSaState::Rekeyed, ChildSaState::Installed]);
        assert_eq!(world.host(gw).outside.installed().count(), 2);
        assert_eq!(world.host(gw).outside.outbound().unwrap().child_sa, old_gw.id);

        assert_eq!(deliver(&mut world, rw, gw), CREATED);
        // The client uses the new one in both directions and deletes the old one.
        assert_eq!(states(&world, rw), [ChildSaState::Deleting, ChildSaState::Installed]);
        assert_ne!(world.host(rw).outside.outbound().unwrap().child_sa, old_rw.id);
        assert_eq!(world.host(gw).outside.outbound().unwrap().child_sa, old_gw.id);

        assert_eq!(deliver(&mut world, rw, gw), "rw --> gw: HDR, SK {D}");
        assert_ne!(world.host(gw).outside.outbound().unwrap().child_sa, old_gw.id);
        assert_eq!(states(&world, gw), [ChildSaState::Deleted, ChildSaState::Installed]);
        assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {D}");
        assert!(world.in_air().is_empty());
        // What was on its way can still be received, for a while.
        assert_eq!(world.host(rw).outside.installed().count(), 2);
        world.wait(seconds(5));
        for host in [rw, gw] {
            assert_eq!(states(&world, host), [ChildSaState::Installed]);
            assert_eq!(world.host(host).outside.installed().count(), 1);
        }
        assert!(world.ping(rw) && world.ping(gw));
        world.assert_connected(rw, gw);
        world.assert_no_faults();
        // The policies stay: the same reqid.
        assert_eq!(child(&world, rw).reqid, old_rw.reqid);
        assert_eq!(child(&world, gw).reqid, old_gw.reqid);
        assert_eq!(child(&world, rw).local_ts, old_rw.local_ts);

        let (new_rw, new_gw) = (child(&world, rw).id, child(&world, gw).id);
        assert_eq!(
            world.events(rw),
            [format!("CHILD_SA net rekeyed: #{} is #{new_rw}", old_rw.id), format!("request {request} done")]
        );
        assert_eq!(world.events(gw), [format!("CHILD_SA net rekeyed: #{} is #{new_gw}", old_gw.id)]);
    }

    #[test]
    fn with_a_key_exchange_where_both_want_one() {
        let esp = ["aes128gcm16-x25519-ecp256"];
        let (mut world, rw, gw) = World::of(client().esp(&esp), gateway().esp(&esp));
        world.connect(rw, gw, "net");
        assert_eq!(child(&world, rw).suite.unwrap().ke(), None, "IKE_AUTH has none");
        rekey_child(&mut world, rw);
        assert_eq!(deliver(&mut world, rw, gw), "rw --> gw: HDR, SK {N(REKEY_SA), SA, Ni, KEi, TSi, TSr}");
        assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {SA, Nr, KEr, TSi, TSr}");
        world.run_for(seconds(6));
        world.assert_connected(rw, gw);
        for host in [rw, gw] {
            assert_eq!(child(&world, host).suite.unwrap().ke(), Some(KeMethod::CURVE_25519));
        }
    }

    #[test]
    fn another_key_exchange_is_tried_if_the_peer_wants_it() {
        let (mut world, rw, gw) = World::of(
            client().esp(&["aes128gcm16-x25519-ecp256"]),
            gateway().esp(&["aes128gcm16-ecp256-x25519"]),
        );
        world.connect(rw, gw, "net");
        for first in [true, false] {
            rekey_child(&mut world, rw);
            if first {
                deliver(&mut world, rw, gw);
                assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {N(INVALID_KE_PAYLOAD)}");
            }
            // Later on, the one that served before is used at once.
            deliver(&mut world, rw, gw);
            assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {SA, Nr, KEr, TSi, TSr}");
            world.run_for(seconds(6));
            assert_eq!(child(&world, gw).suite.unwrap().ke(), Some(KeMethod::ECP_256));
        }
        world.assert_connected(rw, gw);
        world.assert_no_faults();
    }

    #[test]
    fn the_gateway_rekeys_too() {
        let (mut world, rw, gw) = World::of(client().vips(&["0.0.0.0"]), gateway().pool("10.3.0.0/24"));
        world.connect(rw, gw, "net");
        let vip = child(&world, gw).remote_ts;
        assert_eq!(vip[0].to_string(), "10.3.0.1/32");
        rekey_child(&mut world, gw);
        assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}");
        assert_eq!(deliver(&mut world, rw, gw), "rw --> gw: HDR, SK {SA, Nr, TSi, TSr}");
        world.run_for(seconds(6));
        world.assert_connected(rw, gw);
        assert_eq!(child(&world, gw).remote_ts, vip);
    }

    #[test]
    fn ending_a_child_while_it_is_rekeyed_ends_its_successor() {
        let (mut world, rw, gw) = World::of(client(), gateway());
        world.connect(rw, gw, "net");
        let old = child(&world, rw).id;
        rekey_child(&mut world, rw);
        let request = world.terminate_child(rw, old);
        world.run_for(seconds(20));
        assert!(world.ike_sa(rw).children.is_empty() && world.ike_sa(gw).children.is_empty());
        assert!(world.events(rw).contains(&format!("request {request} done")));
        assert!(world.events(gw).contains(&"CHILD_SA net down: Closed".to_owned()));
        world.assert_no_faults();
    }
}

mod s1_3_2_rekeying_ike_sas {
    use super::*;

    #[test]
    fn children_and_addresses_move_to_the_new_one() {
        let (mut world, rw, gw) = World::of(client().vips(&["0.0.0.0"]), gateway().pool("10.3.0.0/24"));
        world.connect(rw, gw, "net");
        let (old_rw, old_gw) = (world.ike_sa(rw), world.ike_sa(gw));
        let request = rekey_ike(&mut world, rw);
        assert_eq!(world.ike_sa(rw).state, IkeSaState::Rekeying);
        assert_eq!(deliver(&mut world, rw, gw), "rw --> gw: HDR, SK {SA, Ni, KEi}");
        // The gateway has both; the children are with the new one.
        let sas = world.ike_sas(gw);
        assert_eq!(
            sas.iter().map(|sa| (sa.state, sa.children.len())).collect::<Vec<_>>(),
            [(IkeSaState::Rekeyed, 0), (IkeSaState::Established, 1)]
        );
        assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {SA, Nr, KEr}");
        assert_eq!(deliver(&mut world, rw, gw), "rw --> gw: HDR, SK {D}");
        assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {}");
        let (new_rw, new_gw) = (world.ike_sa(rw), world.ike_sa(gw));
        assert_eq!((new_rw.spi_i, new_rw.spi_r), (new_gw.spi_i, new_gw.spi_r));
        assert_ne!(new_rw.spi_i, old_rw.spi_i);
        assert_ne!(new_rw.spi_r, old_rw.spi_r);
        assert_eq!(new_rw.children, old_rw.children);
        assert_eq!(new_gw.children, old_gw.children);
        assert_eq!(new_rw.local_vips, old_rw.local_vips);
        assert_eq!(new_gw.remote_vips, old_gw.remote_vips);
        assert_eq!(new_gw.remote_id, old_gw.remote_id);
        assert_eq!(
            world.events(rw),
            [
                format!("IKE_SA rw rekeyed: #{} is #{}", old_rw.id, new_rw.id),
                format!("request {request} done")
            ]
        );
        assert_eq!(world.events(gw), [format!("IKE_SA gw rekeyed: #{} is #{}", old_gw.id, new_gw.id)]);
        world.assert_connected(rw, gw);

        // It works in both directions, and once more with the roles changed.
        rekey_child(&mut world, gw);
        world.run_for(seconds(6));
        rekey_ike(&mut world, gw);
        assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {SA, Ni, KEi}");
        world.run();
        assert!(world.ike_sa(gw).is_initiator && !world.ike_sa(rw).is_initiator);
        rekey_child(&mut world, rw);
        world.run_for(seconds(6));
        world.assert_connected(rw, gw);
        world.assert_no_faults();

        let ike_sa = world.ike_sa(rw).id;
        world.terminate(rw, ike_sa);
        world.run();
        assert!(world.events(gw).contains(&"CHILD_SA net down: Closed".to_owned()));
        world.run_out(seconds(300));
        world.assert_nothing_left();
    }

    #[test]
    fn another_key_exchange_is_tried_if_the_peer_wants_it() {
        let (mut world, rw, gw) = World::of(
            client().ike(&["aes128gcm16-prfsha256-ecp256", "aes256gcm16-prfsha384-x25519"]),
            gateway().ike(&["aes256gcm16-prfsha384-x25519", "aes128gcm16-prfsha256-ecp256"]),
        );
        world.connect(rw, gw, "net");
        assert_eq!(world.ike_sa(rw).suite.unwrap().ke(), KeMethod::CURVE_25519);
        rekey_ike(&mut world, rw);
        deliver(&mut world, rw, gw);
        assert_eq!(deliver(&mut world, rw, gw), "gw --> rw: HDR, SK {SA, Nr, KEr}", "as it was before");
        world.run();
        world.assert_connected(rw, gw);
    }

    #[test]
    fn a_peer_that_does_not_delete_the_old_one_is_not_waited_for_without_end() {
        let (mut world, rw, gw) = World::of(client(), gateway());
        world.connect(rw, gw, "net");
        rekey_ike(&mut world, rw);
        deliver(&mut world, rw, gw);
        world.take(); // the client never hears of it
        world.cut(rw, true);
        world.run_for(seconds(179));
        assert_eq!(world.ike_sas(gw).len(), 2);
        world.run_for(seconds(200));
        assert_eq!(world.ike_sas(gw).len(), 1);
        let events = world.events(gw);
        assert!(events.iter().all(|event| !event.contains("down")), "{events:?}");
    }
}
