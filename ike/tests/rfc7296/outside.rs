//! What the RFC leaves to implementations: the data plane, the pools and the interface around an endpoint fail, or
//! are late.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ferry_ike::config::{EndpointConfig, Ports, Settings, SpiPrefix};
use ferry_ike::crypto::CryptoProvider;
use ferry_ike::output::{ChildSaId, RequestId};
use ferry_ike::sim::{ActionKind, HostId, Manner, World, client, gateway};
use ferry_ike::status::{ChildSaState, IkeSaState};
use ferry_ike::{Command, Endpoint, Output, Path};

use crate::{GATEWAY, said, seconds};

const LATE: Manner = Manner::Late(Duration::from_millis(500));

fn pair() -> (World, HostId, HostId) {
    World::of(client().vips(&["0.0.0.0"]), gateway().pool("10.3.0.0/24"))
}

/// Ends what stands, and looks whether anything is left.
fn end(mut world: World, hosts: [HostId; 2]) {
    for host in hosts {
        for sa in world.ike_sas(host) {
            if sa.state == IkeSaState::Established {
                world.terminate(host, sa.id);
            }
        }
    }
    world.run_out(seconds(600));
    world.assert_nothing_left();
}

#[test]
fn an_initiator_without_spi_does_not_begin() {
    let (mut world, rw, gw) = pair();
    world.deal(rw, ActionKind::ReserveSpi, Manner::Fails);
    let request = world.initiate(rw, "net");
    let why = "no SPI for the CHILD_SA: told to fail";
    assert_eq!(
        world.events(rw),
        [format!("IKE_SA rw down: {why}"), format!("request {request} failed: {why}")]
    );
    assert!(world.in_air().is_empty());
    end(world, [rw, gw]);
}

#[test]
fn a_responder_without_spi_makes_the_ike_sa_alone() {
    let (mut world, rw, gw) = pair();
    world.deal(gw, ActionKind::ReserveSpi, Manner::Fails);
    world.initiate(rw, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, N(TEMPORARY_FAILURE)}");
    for host in [rw, gw] {
        assert!(world.ike_sa(host).children.is_empty());
        assert_eq!(world.ike_sa(host).state, IkeSaState::Established);
    }
    end(world, [rw, gw]);
}

#[test]
fn a_responder_that_cannot_install_makes_the_ike_sa_alone() {
    let (mut world, rw, gw) = pair();
    world.deal(gw, ActionKind::InstallChild, Manner::Fails);
    world.initiate(rw, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, N(TEMPORARY_FAILURE)}");
    assert_eq!(world.events(gw), ["IKE_SA gw up"]);
    assert!(world.ike_sa(gw).children.is_empty() && world.ike_sa(gw).remote_vips.is_empty());
    assert!(world.ike_sa(rw).local_vips.is_empty());
    end(world, [rw, gw]);
}

#[test]
fn an_initiator_that_cannot_install_deletes_the_child_sa() {
    for kind in [ActionKind::InstallChild, ActionKind::InstallVirtualIps] {
        let (mut world, rw, gw) = pair();
        world.deal(rw, kind, Manner::Fails);
        let request = world.initiate(rw, "net");
        for _ in 0..4 {
            world.deliver();
        }
        assert_eq!(
            world.events(rw),
            [
                "IKE_SA rw up".to_owned(),
                format!("request {request} failed: installing the CHILD_SA failed: told to fail"),
            ]
        );
        assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
        assert_eq!(world.events(gw).last().unwrap(), "CHILD_SA net down: Closed");
        assert_eq!(world.deliver(), "gw --> rw: HDR, SK {D}");
        assert!(world.ike_sa(rw).children.is_empty() && world.ike_sa(gw).children.is_empty());
        assert!(world.events(rw).is_empty(), "it never was up");
        world.deal(rw, kind, None);
        end(world, [rw, gw]);
    }
}

#[test]
fn a_responder_that_cannot_say_whether_the_peer_is_unique_refuses_it() {
    let (mut world, rw, gw) = pair();
    world.deal(gw, ActionKind::CheckUnique, Manner::Fails);
    world.initiate(rw, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {N(AUTHENTICATION_FAILED)}");
    end(world, [rw, gw]);
}

#[test]
fn pools_that_fail_are_as_pools_that_have_nothing() {
    let (mut world, rw, gw) = pair();
    world.deal(gw, ActionKind::Lease, Manner::Fails);
    world.initiate(rw, "net");
    for _ in 0..3 {
        world.deliver();
    }
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, N(INTERNAL_ADDRESS_FAILURE)}");
    end(world, [rw, gw]);
}

#[test]
fn the_answer_waits_for_the_outside() {
    let (mut world, rw, gw) = pair();
    let kinds =
        [ActionKind::CheckUnique, ActionKind::Lease, ActionKind::ReserveSpi, ActionKind::InstallChild];
    for kind in kinds {
        world.deal(gw, kind, LATE);
    }
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    world.deliver();
    for _ in kinds {
        assert!(world.in_air().is_empty());
        assert_eq!(world.ike_sa(gw).state, IkeSaState::Connecting);
        assert_eq!(world.wait_for_deadline(), Duration::from_millis(500));
    }
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr}");
    world.assert_connected(rw, gw);
    end(world, [rw, gw]);
}

#[test]
fn the_answer_to_a_delete_waits_until_nothing_is_sent_any_more() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    world.deal(gw, ActionKind::RemoveChild, Manner::Late(seconds(5)));
    world.terminate(rw, world.ike_sa(rw).id);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    assert!(world.in_air().is_empty(), "the data plane still sends to it");
    // The peer cannot tell that from a loss, and is answered when it asks again.
    world.wait(seconds(4));
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    assert!(world.ike_sas(rw).is_empty());
    end(world, [rw, gw]);
}

#[test]
fn the_answer_to_the_delete_of_a_rekeyed_child_sa_waits_until_its_successor_is_sent_with() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    world.deal(gw, ActionKind::UseChild, LATE);
    crate::rekeying::rekey_child(&mut world, rw);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}");
    world.deliver();
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    assert!(world.in_air().is_empty(), "the old one is still sent with");
    assert_eq!(world.wait_for_deadline(), Duration::from_millis(500));
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {D}");
    world.assert_connected(rw, gw);
    end(world, [rw, gw]);
}

#[test]
fn a_request_that_is_repeated_while_it_is_being_answered_is_answered_once() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.deal(gw, ActionKind::InstallChild, Manner::Late(seconds(5)));
    world.initiate(rw, "net");
    world.deliver();
    world.deliver();
    assert_eq!(world.deliver(), said::AUTH);
    world.wait(seconds(4));
    assert_eq!(world.deliver(), said::AUTH);
    assert!(world.in_air().is_empty());
    world.run_for(seconds(2));
    world.assert_connected(rw, gw);
    assert_eq!(world.host(gw).outside.installed().count(), 1);
    assert_eq!(world.host(gw).endpoint.counters().ike_auth.responses_out, 1);
    end(world, [rw, gw]);
}

#[test]
fn an_initiator_tells_that_a_child_sa_is_up_when_it_is() {
    let (mut world, rw, gw) = pair();
    world.deal(rw, ActionKind::InstallVirtualIps, LATE);
    world.deal(rw, ActionKind::InstallChild, LATE);
    let request = world.initiate(rw, "net");
    world.run();
    assert_eq!(world.events(rw), ["IKE_SA rw up"]);
    assert_eq!(world.ike_sa(rw).children[0].state, ChildSaState::Installing);
    world.wait_for_deadline();
    assert_eq!(world.host(rw).outside.virtual_ips().count(), 1);
    assert!(world.events(rw).is_empty());
    world.wait_for_deadline();
    assert_eq!(world.events(rw), ["CHILD_SA net up".to_owned(), format!("request {request} done")]);
    world.assert_connected(rw, gw);
    end(world, [rw, gw]);
}

/// The initiator ends it, at every point where it waits for its outside.
#[test]
fn what_is_ended_while_the_outside_is_late_leaves_nothing() {
    for kind in [ActionKind::ReserveSpi, ActionKind::InstallVirtualIps, ActionKind::InstallChild] {
        for force in [false, true] {
            let (mut world, rw, gw) = pair();
            world.deal(rw, kind, LATE);
            world.initiate(rw, "net");
            world.run();
            let request = world.next_request();
            let ike_sa = world.ike_sa(rw).id;
            world.command(rw, ferry_ike::Command::TerminateIkeSa { request, ike_sa, force }).unwrap();
            world.run_for(seconds(5));
            assert!(world.ike_sas(rw).is_empty(), "{kind:?}");
            end(world, [rw, gw]);
        }
    }
}

/// The responder ends it, at every point where it waits for its outside.
#[test]
fn what_is_ended_while_being_answered_leaves_nothing() {
    for kind in [ActionKind::CheckUnique, ActionKind::Lease, ActionKind::ReserveSpi, ActionKind::InstallChild]
    {
        let (mut world, rw, gw) = pair();
        world.deal(gw, kind, LATE);
        world.initiate(rw, "net");
        world.run();
        assert_eq!(world.ike_sa(gw).state, IkeSaState::Connecting);
        let ike_sa = world.ike_sa(gw).id;
        world.terminate(gw, ike_sa);
        assert!(world.ike_sas(gw).is_empty(), "{kind:?}");
        end(world, [rw, gw]);
    }
}

/// The peer deletes a CHILD_SA that we are still installing: what comes of that must not bring it back.
#[test]
fn a_child_sa_that_is_deleted_while_it_is_being_installed_is_not_installed() {
    for kind in [ActionKind::InstallVirtualIps, ActionKind::InstallChild] {
        let (mut world, rw, gw) = pair();
        world.deal(rw, kind, LATE);
        let request = world.initiate(rw, "net");
        world.run();
        let child = world.ike_sa(gw).children[0].id;
        world.terminate_child(gw, child);
        world.run();
        assert_eq!(
            world.events(rw),
            [
                "IKE_SA rw up".to_owned(),
                format!("request {request} failed: the CHILD_SA was closed before it was installed"),
            ]
        );
        world.run_for(seconds(5));
        assert!(world.events(rw).is_empty());
        assert_eq!(world.host(rw).outside.installed().count(), 0);
        assert!(world.ike_sa(rw).children.is_empty());
        end(world, [rw, gw]);
    }
}

#[test]
fn our_own_child_sa_can_be_ended_while_it_is_being_installed() {
    let (mut world, rw, gw) = pair();
    world.deal(rw, ActionKind::InstallChild, LATE);
    world.initiate(rw, "net");
    world.run();
    let child: ChildSaId = world.ike_sa(rw).children[0].id;
    let request = world.terminate_child(rw, child);
    world.run();
    assert_eq!(world.events(rw).last(), Some(&format!("request {request} done")));
    world.run_for(seconds(5));
    assert_eq!(world.host(rw).outside.installed().count(), 0);
    end(world, [rw, gw]);
}

/// Neither may be mixed into a handshake that has begun, nor may what was installed for it stay behind.
#[test]
fn keys_that_change_while_ike_auth_is_being_answered_do_not_matter_to_it() {
    for later in [gateway().no_psk(), gateway().psk("another")] {
        let (mut world, rw, gw) = pair();
        world.deal(gw, ActionKind::InstallChild, LATE);
        world.initiate(rw, "net");
        for _ in 0..3 {
            world.deliver();
        }
        world.configure(gw, later.into_configuration()).unwrap();
        world.run_for(seconds(2));
        world.assert_connected(rw, gw);
        end(world, [rw, gw]);
    }
}

/// RFC 2474 §3: the codepoint is six bits, and whoever sends the datagram puts them where they belong.
#[test]
fn messages_are_sent_with_the_dscp_of_their_connection() {
    let configuration = Arc::new(client().connection(|connection| connection.dscp = 46).into_configuration());
    let connection = configuration.connections[0].clone();
    let config = EndpointConfig {
        ports: Ports::default(),
        settings: Settings::default(),
        spi_prefix: SpiPrefix::default(),
        unique_ids: Arc::default(),
        half_open: Arc::default(),
        ike_sas: Arc::default(),
        configuration,
    };
    let mut endpoint = Endpoint::new(config, Arc::new(CryptoProvider::system()));
    let path = Path { local: "198.51.100.7:500".parse().unwrap(), remote: GATEWAY.parse().unwrap() };
    let order = Command::Initiate { request: RequestId(1), connection, child: None, trigger: None, path };
    endpoint.handle_command(order, Instant::now()).unwrap();
    let sent = std::iter::from_fn(|| endpoint.poll_output()).filter_map(|output| match output {
        Output::Transmit(transmit) => Some(transmit.dscp),
        _ => None,
    });
    assert_eq!(sent.collect::<Vec<_>>(), [46]);
}
