//! Section 1.4, The INFORMATIONAL Exchange, and 1.4.1, Deleting an SA with INFORMATIONAL Exchanges.

use ferry_ike::command::{Command, CommandError};
use ferry_ike::output::{ChildSaId, IkeSaId};
use ferry_ike::sim::{HostId, PSK, Puppet, World, client, gateway};
use ferry_ike::status::{ChildSaState, IkeSaState};
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, NotifyType, ProtocolId, Spi};

use crate::{GATEWAY, OFFER, PUPPET, seconds};

fn connected() -> (World, HostId, HostId) {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    (world, rw, gw)
}

/// Lets both hosts forget what they still know, and looks whether anything is left.
fn end(mut world: World) {
    world.run_out(seconds(600));
    world.assert_nothing_left();
}

#[test]
fn the_initiator_deletes_the_ike_sa() {
    let (mut world, rw, gw) = connected();
    let sa = world.ike_sa(rw);
    let request = world.terminate(rw, sa.id);
    assert_eq!(world.ike_sa(rw).state, IkeSaState::Deleting);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    assert_eq!(world.events(gw), ["IKE_SA gw down: deleted by the peer", "CHILD_SA net down: Closed"]);
    assert!(world.ike_sas(gw).is_empty());
    assert_eq!(world.host(gw).outside.installed().count(), 0);
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    assert_eq!(
        world.events(rw),
        [
            "IKE_SA rw down: deleted".to_owned(),
            "CHILD_SA net down: Terminated".into(),
            format!("request {request} done"),
        ]
    );
    assert_eq!((world.due(rw), world.due(gw)), (None, Some(seconds(100) - crate::LATENCY)));
    end(world);
}

/// However many of its answers are lost: the last time the peer asks is after a minute and a half.
#[test]
fn the_answer_to_a_delete_can_be_had_as_long_as_the_peer_asks() {
    let (mut world, rw, gw) = connected();
    let request = world.terminate(rw, world.ike_sa(rw).id);
    for _ in 0..5 {
        assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
        world.take();
        world.wait_for_deadline();
    }
    world.run();
    assert!(world.events(rw).contains(&format!("request {request} done")));
    assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
    end(world);
}

#[test]
fn the_responder_deletes_the_ike_sa() {
    let (mut world, rw, gw) = connected();
    let sa = world.ike_sa(gw);
    world.terminate(gw, sa.id);
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {D}");
    assert_eq!(world.events(rw), ["IKE_SA rw down: deleted by the peer", "CHILD_SA net down: Closed"]);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    end(world);
}

#[test]
fn either_end_deletes_a_child_sa() {
    for by_client in [true, false] {
        let (mut world, rw, gw) = connected();
        let (from, to) = if by_client { (rw, gw) } else { (gw, rw) };
        let child = world.ike_sa(from).children[0].id;
        let request = world.terminate_child(from, child);
        assert_eq!(world.ike_sa(from).children[0].state, ChildSaState::Deleting);
        assert!(world.deliver().ends_with("HDR, SK {D}"));
        assert_eq!(world.events(to), ["CHILD_SA net down: Closed"]);
        assert!(world.deliver().ends_with("HDR, SK {D}"), "the other half goes in the answer");
        assert_eq!(
            world.events(from),
            ["CHILD_SA net down: Terminated".to_owned(), format!("request {request} done")]
        );
        for host in [rw, gw] {
            assert_eq!(world.ike_sa(host).state, IkeSaState::Established);
            assert!(world.ike_sa(host).children.is_empty());
            assert_eq!(world.host(host).outside.installed().count(), 0);
        }
        let sa = world.ike_sa(rw).id;
        world.terminate(rw, sa);
        end(world);
    }
}

#[test]
fn a_lost_delete_or_its_lost_answer_is_sent_again() {
    for lose_the_answer in [false, true] {
        let (mut world, rw, gw) = connected();
        let sa = world.ike_sa(rw);
        world.terminate(rw, sa.id);
        if lose_the_answer {
            world.deliver();
        }
        let _ = world.take();
        world.wait(seconds(4));
        assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
        assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
        assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
        end(world);
    }
}

#[test]
fn deletes_of_the_ike_sa_may_cross() {
    let (mut world, rw, gw) = connected();
    let (ours, theirs) = (world.ike_sa(rw), world.ike_sa(gw));
    world.terminate(rw, ours.id);
    world.terminate(gw, theirs.id);
    assert_eq!(world.in_air(), ["rw --> gw: HDR, SK {D}", "gw --> rw: HDR, SK {D}"]);
    world.run();
    for host in [rw, gw] {
        let told = world.events(host);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[2].ends_with("done"));
        assert!(world.ike_sas(host).is_empty());
    }
    end(world);
}

/// RFC 7296 §1.4.1: neither end repeats in its answer what it has asked to delete itself.
#[test]
fn deletes_of_a_child_sa_may_cross() {
    let (mut world, rw, gw) = connected();
    let (ours, theirs) = (world.ike_sa(rw).children[0].id, world.ike_sa(gw).children[0].id);
    world.terminate_child(rw, ours);
    world.terminate_child(gw, theirs);
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {D}");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    assert!(world.in_air().is_empty());
    for host in [rw, gw] {
        assert!(world.ike_sa(host).children.is_empty());
        assert!(world.events(host).last().unwrap().ends_with("done"));
    }
    let sa = world.ike_sa(rw).id;
    world.terminate(rw, sa);
    end(world);
}

#[test]
fn the_delete_of_an_ike_sa_and_that_of_its_child_may_cross() {
    let (mut world, rw, gw) = connected();
    let (sa, child) = (world.ike_sa(rw).id, world.ike_sa(gw).children[0].id);
    world.terminate(rw, sa);
    world.terminate_child(gw, child);
    world.run();
    for host in [rw, gw] {
        assert!(world.ike_sas(host).is_empty());
        assert!(world.events(host).last().unwrap().ends_with("done"));
    }
    end(world);
}

#[test]
fn by_force_nobody_is_waited_for() {
    let (mut world, rw, gw) = connected();
    let request = world.next_request();
    let sa = world.ike_sa(rw).id;
    world.command(rw, Command::TerminateIkeSa { request, ike_sa: sa, force: true }).unwrap();
    assert!(world.ike_sas(rw).is_empty());
    assert_eq!(
        world.events(rw),
        [
            "IKE_SA rw down: deleted by force".to_owned(),
            "CHILD_SA net down: Terminated".into(),
            format!("request {request} done"),
        ]
    );
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    assert!(world.ike_sas(gw).is_empty());
    end(world);
}

#[test]
fn an_end_that_is_under_way_can_be_forced() {
    let (mut world, rw, gw) = connected();
    let sa = world.ike_sa(rw).id;
    world.cut(gw, true);
    let patient = world.terminate(rw, sa);
    world.run();
    let request = world.next_request();
    world.command(rw, Command::TerminateIkeSa { request, ike_sa: sa, force: true }).unwrap();
    let told = world.events(rw);
    assert!(told.contains(&format!("request {patient} done")), "{told:?}");
    assert!(told.contains(&format!("request {request} done")), "{told:?}");
    assert!(world.ike_sas(rw).is_empty());
    assert_eq!(world.due(rw), None);
}

/// Who is told to end it must not take the peer's silence for a reason to begin again.
#[test]
fn the_end_of_an_ike_sa_whose_peer_is_gone_is_still_an_end() {
    let (mut world, rw, gw) = connected();
    let sa = world.ike_sa(rw).id;
    world.cut(gw, true);
    let request = world.terminate(rw, sa);
    world.run_for(seconds(166));
    assert_eq!(
        world.events(rw),
        [
            "IKE_SA rw down: giving up after 5 retransmits: the peer does not answer".to_owned(),
            "CHILD_SA net down: Terminated".into(),
            format!("request {request} done"),
        ]
    );
    assert_eq!(world.due(rw), None);
    assert!(world.host(rw).outside.leaks().is_empty());
}

#[test]
fn what_is_not_there_cannot_be_ended() {
    let (mut world, rw, _) = connected();
    let request = world.next_request();
    let nobody = IkeSaId(99);
    assert_eq!(
        world.command(rw, Command::TerminateIkeSa { request, ike_sa: nobody, force: false }),
        Err(CommandError::NoSuchIkeSa(nobody))
    );
    let nothing = ChildSaId(99);
    assert_eq!(
        world.command(rw, Command::TerminateChildSa { request, child_sa: nothing }),
        Err(CommandError::NoSuchChildSa(nothing))
    );
    assert!(world.events(rw).is_empty() && world.in_air().is_empty());
}

#[test]
fn an_ike_sa_can_be_ended_before_it_stands() {
    for delivered in 0..3 {
        let (mut world, rw, gw) = World::of(client(), gateway());
        let initiated = world.initiate(rw, "net");
        for _ in 0..delivered {
            world.deliver();
        }
        let sa = world.ike_sa(rw);
        let request = world.terminate(rw, sa.id);
        let why = "terminated before it was established";
        assert_eq!(
            world.events(rw),
            [
                format!("IKE_SA rw down: {why}"),
                format!("request {initiated} failed: {why}"),
                format!("request {request} done"),
            ]
        );
        world.run_for(seconds(60));
        assert!(world.host(rw).leaks().is_empty());
        // The gateway may have seen all it needed. It finds out by asking.
        assert_eq!(world.ike_sas(gw).len(), usize::from(delivered == 2) + usize::from(delivered > 2));
    }
}

#[test]
fn shutting_down_deletes_everything_and_takes_nothing_new() {
    let (mut world, rw, gw) = connected();
    let other = world.add(client().named("rw2").at("198.51.100.8").id("rw2.example.org"));
    world.initiate(other, "net");
    world.deliver();
    let _ = world.take();
    assert_eq!(world.ike_sas(gw).len(), 2);

    let request = world.next_request();
    world.command(gw, Command::Shutdown { request }).unwrap();
    assert!(!world.events(gw).contains(&format!("request {request} done")));
    assert_eq!(world.ike_sas(gw).len(), 1, "what is half open is dropped");
    assert_eq!(world.deliver(), "gw --> rw: HDR, SK {D}");
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {}");
    let told = world.events(gw);
    assert_eq!(told.last(), Some(&format!("request {request} done")), "{told:?}");
    assert!(told.contains(&"CHILD_SA net down: Terminated".to_owned()), "{told:?}");

    world.initiate(rw, "net");
    world.deliver();
    assert!(world.in_air().is_empty() && world.ike_sas(gw).is_empty());
    let refused = world.next_request();
    let connection = world.connection(gw, "net");
    let path = ferry_ike::Path {
        local: "192.0.2.1:500".parse().unwrap(),
        remote: "198.51.100.7:500".parse().unwrap(),
    };
    let command = Command::Initiate { request: refused, connection, child: None, trigger: None, path };
    assert_eq!(world.command(gw, command), Err(CommandError::ShuttingDown));
}

/// The peer ends the last IKE SA while we wait for it to answer our own Delete.
#[test]
fn shutting_down_ends_with_the_last_ike_sa_whoever_ends_it() {
    let (mut world, rw, gw) = connected();
    let sa = world.ike_sa(rw).id;
    world.terminate(rw, sa);
    let request = world.next_request();
    world.command(gw, Command::Shutdown { request }).unwrap();
    assert_eq!(world.deliver(), "rw --> gw: HDR, SK {D}");
    let told = world.events(gw);
    assert_eq!(told.last(), Some(&format!("request {request} done")), "{told:?}");
}

#[test]
fn shutting_down_without_any_ike_sa_is_done_at_once() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let request = world.next_request();
    world.command(gw, Command::Shutdown { request }).unwrap();
    assert_eq!(world.events(gw), [format!("request {request} done")]);
}

/// A puppet that has connected to the gateway.
fn connected_puppet(world: &mut World) -> Puppet {
    let mut puppet = Puppet::initiator(PUPPET, GATEWAY, OFFER, 1);
    puppet.connect(world, "puppet@example.org", PSK);
    puppet
}

fn inform(world: &mut World, puppet: &mut Puppet, payloads: &PayloadWriter) -> String {
    puppet.ask(world, ExchangeType::INFORMATIONAL, payloads).unwrap()
}

#[test]
fn deletes_of_what_is_not_there_are_answered_and_do_nothing() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = connected_puppet(&mut world);
    let mut payloads = PayloadWriter::new();
    payloads.delete(ProtocolId::ESP, &[Spi(0x2000_0000)]);
    assert_eq!(inform(&mut world, &mut puppet, &payloads), "");
    // An AH SA with the same number is another SA.
    let mut payloads = PayloadWriter::new();
    payloads.delete(ProtocolId::AH, &[Puppet::SPI]);
    assert_eq!(inform(&mut world, &mut puppet, &payloads), "");
    // So is our inbound one: the peer names its own.
    let ours = world.ike_sa(gw).children[0].spi_in.unwrap();
    let mut payloads = PayloadWriter::new();
    payloads.delete(ProtocolId::ESP, &[ours]);
    assert_eq!(inform(&mut world, &mut puppet, &payloads), "");
    assert_eq!(world.ike_sa(gw).children[0].state, ChildSaState::Installed);
    let mut payloads = PayloadWriter::new();
    payloads.delete(ProtocolId::ESP, &[Puppet::SPI, Puppet::SPI]);
    assert_eq!(inform(&mut world, &mut puppet, &payloads), "D");
    assert!(world.ike_sa(gw).children.is_empty());
}

#[test]
fn notifies_without_meaning_are_answered() {
    let (mut world, _, gw) = World::of(client(), gateway());
    let mut puppet = connected_puppet(&mut world);
    let before = world.ike_sa(gw);
    let mut payloads = PayloadWriter::new();
    payloads.notify(NotifyType(40_000), b"?").notify(NotifyType::INITIAL_CONTACT, &[]);
    assert_eq!(inform(&mut world, &mut puppet, &payloads), "");
    assert_eq!(world.ike_sa(gw), before);
}
