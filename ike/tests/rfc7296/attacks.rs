//! Section 2.21, from the other side: an attacker who hears everything and writes anything, but has no keys, ends
//! nothing and changes nothing. What is done to single messages is in `s2_2`, to fragments in RFC 7383's stories, to
//! addresses in `s2_23`, to first messages in `s2_1` and `s2_6`.

use ferry_ike::output::RequestId;
use ferry_ike::sim::{Datagram, HostId, Puppet, World, client, gateway};
use ferry_ike::status::{IkeSaState, IkeSaStatus};
use ferry_ike::wire::registry::{ExchangeType, IkeSpi, MessageId, NotifyType, ProtocolId, Spi};
use ferry_ike::wire::{Flags, HeaderFields, PayloadWriter, build};

use crate::rekeying::{assert_traffic, rekey_child, rekey_ike};
use crate::{GATEWAY, OFFER, PUPPET, PUPPET_IP, seconds};

const CLIENT: &str = "198.51.100.7:500";

fn connected() -> (World, HostId, HostId) {
    let mut world = World::new(1);
    let (rw, gw) = (world.add(client()), world.add(gateway().peer_at("198.51.100.7")));
    world.connect(rw, gw, "net");
    (world, rw, gw)
}

/// Everything an attacker without keys might want to say under the SPIs of an IKE SA.
fn lies(children: &[Spi]) -> Vec<PayloadWriter> {
    let mut lies = vec![PayloadWriter::new()];
    let mut say = |write: &dyn Fn(&mut PayloadWriter)| {
        let mut payloads = PayloadWriter::new();
        write(&mut payloads);
        lies.push(payloads);
    };
    say(&|payloads| {
        payloads.delete_ike();
    });
    say(&|payloads| {
        payloads.delete(ProtocolId::ESP, children);
    });
    for kind in [
        NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
        NotifyType::INVALID_IKE_SPI,
        NotifyType::INVALID_MAJOR_VERSION,
        NotifyType::INVALID_SYNTAX,
        NotifyType::INVALID_MESSAGE_ID,
        NotifyType::INVALID_SPI,
        NotifyType::NO_PROPOSAL_CHOSEN,
        NotifyType::INVALID_KE_PAYLOAD,
        NotifyType::AUTHENTICATION_FAILED,
        NotifyType::NO_ADDITIONAL_SAS,
        NotifyType::TS_UNACCEPTABLE,
        NotifyType::TEMPORARY_FAILURE,
        NotifyType::CHILD_SA_NOT_FOUND,
        NotifyType::INITIAL_CONTACT,
        NotifyType::COOKIE,
    ] {
        for data in [&[][..], &[0, 19]] {
            say(&|payloads| {
                payloads.notify(kind, data);
            });
        }
    }
    lies
}

/// Says all of it to both ends, as a request and as a response, in every exchange and under every message ID that may
/// be next.
fn lie(world: &mut World, sa: &IkeSaStatus) {
    let children: Vec<Spi> =
        sa.children.iter().flat_map(|child| [child.spi_in, child.spi_out]).flatten().collect();
    let (client, gateway) = (CLIENT.parse().unwrap(), GATEWAY.parse().unwrap());
    for payloads in lies(&children) {
        for exchange in [
            ExchangeType::IKE_SA_INIT,
            ExchangeType::IKE_AUTH,
            ExchangeType::CREATE_CHILD_SA,
            ExchangeType::INFORMATIONAL,
        ] {
            for (initiator, response) in [(true, false), (true, true), (false, false), (false, true)] {
                for message_id in 0..3 {
                    let flags = Flags { initiator, response, version: false };
                    let message_id = MessageId(message_id);
                    let (spi_i, spi_r) = (sa.spi_i, sa.spi_r);
                    let octets = build(HeaderFields { spi_i, spi_r, exchange, flags, message_id }, &payloads);
                    // Who opened the IKE SA sends with the flag set. Here that is the client, and after rekeying either.
                    for (from, to) in [(client, gateway), (gateway, client)] {
                        world.inject(Datagram { from, to, octets: octets.clone() });
                    }
                }
            }
        }
    }
}

/// What both ends have, whether or not they ask each other if they live: that much a stranger's word may do, once
/// (RFC 7296 §2.21.4).
fn possessions(world: &World, rw: HostId, gw: HostId) -> Vec<IkeSaStatus> {
    let mut sas = [world.ike_sas(rw), world.ike_sas(gw)].concat();
    for sa in &mut sas {
        sa.tasks_active.retain(|task| *task != "IKE_DPD");
        sa.tasks_queued.retain(|task| *task != "IKE_DPD");
    }
    sas
}

#[test]
fn nothing_is_believed_that_is_not_protected() {
    let (mut world, rw, gw) = connected();
    let before = possessions(&world, rw, gw);
    lie(&mut world, &before[0]);
    assert_eq!(possessions(&world, rw, gw), before);
    assert!(world.in_air().len() <= 2, "nobody is answered: {:?}", world.in_air());
    assert_traffic(&mut world, rw, gw);
}

/// Before each message of each exchange of ours arrives.
#[test]
fn nothing_is_believed_in_the_midst_of_an_exchange() {
    type Begin = fn(&mut World, HostId) -> RequestId;
    let exchanges: [Begin; 4] = [
        rekey_child,
        rekey_ike,
        |world, host| world.initiate(host, "net"),
        |world, host| {
            let child = world.ike_sa(host).children[0].id;
            world.terminate_child(host, child)
        },
    ];
    for (nth, begin) in exchanges.into_iter().enumerate() {
        for is_client in [true, false] {
            let (mut world, rw, gw) = connected();
            world.be_silent(); // there is too much of it to tell
            begin(&mut world, if is_client { rw } else { gw });
            let mut messages = 0;
            while !world.in_air().is_empty() {
                let honest = world.in_air().len();
                let before = possessions(&world, rw, gw);
                for sa in &before {
                    lie(&mut world, sa);
                }
                assert_eq!(possessions(&world, rw, gw), before, "exchange {nth}");
                let questions = world.in_air().len() - honest;
                assert!(questions <= before.len(), "exchange {nth}: nobody is answered");
                world.deliver();
                messages += 1;
            }
            assert!(messages >= 2);
            world.run_for(seconds(10));
            world.assert_agreed(rw, gw);
        }
    }
}

/// What was said once is said again later: under keys that are superseded, and under those that superseded them.
#[test]
fn what_was_said_before_rekeying_does_nothing_after_it() {
    let (mut world, rw, gw) = connected();
    let mut heard = Vec::new();
    let mut listen = |world: &mut World| {
        while !world.in_air().is_empty() {
            heard.push(world.flights().next().unwrap().clone());
            world.deliver();
        }
    };
    for round in 0..3 {
        rekey_child(&mut world, if round == 1 { gw } else { rw });
        listen(&mut world);
        rekey_ike(&mut world, if round == 1 { rw } else { gw });
        listen(&mut world);
    }
    world.run_for(seconds(10));
    let before = [world.ike_sas(rw), world.ike_sas(gw)];
    let installed = [rw, gw].map(|host| world.host(host).outside.installed().count());
    for datagram in heard {
        let Datagram { from, to, octets } = datagram.clone();
        world.inject(datagram);
        world.inject(Datagram { from: to, to: from, octets: octets.clone() });
        let elsewhere = "198.51.100.250:4500".parse().unwrap();
        world.inject(Datagram { from: elsewhere, to, octets });
        world.run();
    }
    assert_eq!([world.ike_sas(rw), world.ike_sas(gw)], before);
    assert_eq!([rw, gw].map(|host| world.host(host).outside.installed().count()), installed);
    assert_traffic(&mut world, rw, gw);
}

/// Somebody says to be the client, at its address, and to have no other IKE SA: without the key, that is nothing.
#[test]
fn an_impostor_does_not_push_the_client_out() {
    for from in [PUPPET, CLIENT] {
        let (mut world, rw, gw) = World::of(client(), gateway().at("192.0.2.1"));
        world.connect(rw, gw, "net");
        let before = world.ike_sas(gw);
        let mut impostor = Puppet::initiator(from, GATEWAY, OFFER, 5);
        let request = impostor.init_request(None, |_| {});
        world.inject(request);
        let answer = world.take();
        impostor.take_init_response(&answer);
        let mut payloads = impostor.auth("rw.example.org", "a guess");
        payloads.notify(NotifyType::INITIAL_CONTACT, &[]);
        Puppet::child(&mut payloads, "aes128gcm16", Puppet::SPI, "198.51.100.7", "10.1.0.0/16");
        let auth = impostor.seal(ExchangeType::IKE_AUTH, 1, false, &payloads);
        world.inject(auth);
        let refusal = world.take();
        assert_eq!(impostor.read(&refusal).as_deref(), Some("N(AUTHENTICATION_FAILED)"));
        assert_eq!(world.ike_sas(gw), before);
        assert_traffic(&mut world, rw, gw);
    }
}

/// The SPIs of an IKE SA are no secret. A first message with one of them is a stranger's.
#[test]
fn a_first_message_with_known_spis_is_that_of_a_stranger() {
    let (mut world, rw, gw) = World::of(client(), gateway());
    world.connect(rw, gw, "net");
    world.keep_mail(PUPPET_IP);
    let sa = world.ike_sa(gw);
    for spi_i in [sa.spi_i, sa.spi_r] {
        let mut stranger = Puppet::initiator(PUPPET, GATEWAY, OFFER, 3);
        stranger.spi_i = spi_i;
        let mut request = stranger.init_request(None, |_| {});
        world.inject(request.clone());
        request.octets[8..16].copy_from_slice(&sa.spi_r.0);
        world.inject(request);
        world.run();
        assert_eq!(world.ike_sas(gw).into_iter().find(|known| known.id == sa.id).as_ref(), Some(&sa));
        assert_eq!(world.ike_sa(rw).state, IkeSaState::Established);
    }
    assert_traffic(&mut world, rw, gw);
}

/// RFC 7296 §2.21.1: whoever hears the first message can be faster than the peer. What only says no is not believed
/// before there was time to say yes.
#[test]
fn a_forged_refusal_of_the_first_message_does_not_end_the_attempt() {
    for kind in
        [NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::INVALID_SYNTAX, NotifyType::AUTHENTICATION_FAILED]
    {
        let (mut world, rw, gw) = World::of(client(), gateway());
        world.initiate(rw, "net");
        let request = world.flights().next().unwrap().clone();
        let puppet = Puppet::responder(GATEWAY, CLIENT, OFFER, 1);
        let mut forged = puppet.refuse(&request, kind, &[]);
        world.inject(forged.clone());
        forged.octets[8..16].copy_from_slice(&IkeSpi([7; 8]).0);
        world.inject(forged);
        world.run();
        world.assert_connected(rw, gw);
        world.run_for(seconds(10));
        world.assert_connected(rw, gw);
    }
}

/// One that is not contradicted is believed, and without waiting for more of them.
#[test]
fn an_honest_refusal_of_the_first_message_is_believed_soon() {
    let (mut world, rw, gw) = World::of(client(), gateway().ike(&["aes256gcm16-prfsha384-ecp384"]));
    let request = world.initiate(rw, "net");
    world.run_for(seconds(2));
    assert!(
        world.events(rw).contains(&format!("request {request} failed: the peer answered NO_PROPOSAL_CHOSEN"))
    );
    assert!(world.ike_sas(rw).is_empty() && world.ike_sas(gw).is_empty());
}
