//! §2.1.5: fragments.

use ferry_ike::eap::Method;

use crate::talk::{Card, Ended, Talk, believes_no_early_success};

/// Certificates that do not fit packets.
fn talk() -> Talk {
    let mut talk = Talk::new(Method::Tls).packets(300, 32);
    let alice = Card::of("alice@example.org", 40);
    talk.servers_trust.0.push(alice.certificate.clone());
    talk.alice = Some(alice);
    talk
}

#[test]
fn large_flights_go_in_fragments_that_are_acknowledged() {
    let packets = talk().go().assert_success(Method::Tls, "alice@example.org");
    assert!(packets.iter().all(|packet| packet.len() <= 300));
    let outline = Ended::outline(&packets);
    let acknowledged = outline.windows(2).filter(|two| two[0].contains('M')).map(|two| two[1].as_str());
    assert!(acknowledged.clone().count() >= 4);
    for acknowledgement in acknowledged {
        assert!(["<-- []", "--> []"].contains(&acknowledgement), "{outline:?}");
    }
}

#[test]
fn the_smallest_packets_are_enough() {
    let talk = talk().packets(64, 0);
    let packets = talk.go().assert_success(Method::Tls, "alice@example.org");
    assert!(packets.iter().all(|packet| packet.len() <= 64));
}

#[test]
fn there_is_a_limit_of_packets() {
    let mut talk = talk().packets(64, 0);
    talk.server.tls.most = 32;
    let (server, client) = talk.go().failures();
    assert_eq!(server, "malformed EAP_TLS: it takes more than 32 packets");
    assert_eq!(client, "the server answered EAP-Failure");
}

#[test]
fn success_counts_only_after_all_fragments() {
    believes_no_early_success(talk);
}

#[test]
fn lost_fragments_are_noticed() {
    // In place of the n-th packet of the server comes the one before, with the identifier of the n-th.
    let whole = talk().go().packets.len();
    for lost in (4..whole - 2).step_by(2) {
        let (mut before, mut is_another) = (vec![], false);
        let ended = talk().run(|at, packet| {
            if at == lost {
                let identifier = packet[1];
                is_another = packet[2..] != before[2..];
                packet.clone_from(&before);
                packet[1] = identifier;
            } else if at + 2 == lost {
                before.clone_from(packet);
            }
        });
        // Acknowledgements are all alike.
        assert!(ended.client.is_err() == is_another, "the {lost}th packet is lost");
    }
}

#[test]
fn a_flight_that_grows_beyond_what_it_announced_is_refused() {
    // The client's second flight says one octet less than it has.
    let ended = talk().run(|at, packet| {
        let is_first = packet.get(5).is_some_and(|flags| flags & 0xc0 == 0xc0);
        if packet[0] == 2 && is_first && at > 5 {
            packet[9] = packet[9].wrapping_sub(1);
        }
    });
    let (server, _) = ended.failures();
    assert!(server.starts_with("malformed EAP_TLS: fragments have "), "{server}");
}

#[test]
fn a_huge_announcement_is_refused_at_once() {
    let ended = talk().run(|at, packet| {
        if at == 3 {
            packet[5] = 0xc0;
            packet[6..10].copy_from_slice(&[0xff; 4]);
        }
    });
    let (server, _) = ended.failures();
    assert_eq!(server, "malformed EAP_TLS: a flight of 4294967295 octets is announced, the most is 65536");
}
