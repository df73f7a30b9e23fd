//! Security associations, and the events about them. A kernel without ESP has none of it.

use std::net::{IpAddr, UdpSocket};
use std::num::NonZeroU32;
use std::time::Duration;

use ferry_xfrm::sa::{
    Encapsulation, EncapsulationKind, Limit, Limits, Offload, OffloadExtent, ReplayState, ReplayWindow,
    SaExtraFlags, SaFlags,
};
use ferry_xfrm::socket_policy::decapsulate_esp;
use ferry_xfrm::{
    Aead, Encryption, Event, Events, Integrity, IpsecProtocol, Key, Mark, Meaning, Migration, Mode, Move,
    Moves, Policy, PolicyDirection, PolicyId, Protection, Purpose, Sa, SaDirection, SaId, Sad, Spd, priority,
};

use crate::policies::{next, selector, spd, template};
use crate::support::{addr, in_namespace, ip, skipped};

#[test]
fn every_suite_is_installed_and_read_back() {
    in_namespace(async || {
        let Some(sad) = sad().await else { return };
        for (number, protection) in (0..).zip(suites()) {
            let protocol = match protection {
                Protection::Integrity(..) => IpsecProtocol::AH,
                _ => IpsecProtocol::ESP,
            };
            let sa = Sa { reqid: 7, ..tunnel(protocol, 0x1000 + number) };
            let installed = sad.install(&sa, &protection, None).await;
            installed.unwrap_or_else(|error| panic!("{}: {error}", shown(&protection)));
            let entry = sad.find(&sa.id).await.unwrap().unwrap();
            assert_eq!(entry.sa, sa);
            let read = entry.protection.as_ref().map(shown);
            assert_eq!(read, Some(shown(&protection)), "with the keys");
        }
        let entries = sad.entries().await.unwrap();
        assert_eq!(entries.len(), suites().len());
        assert_eq!(sad.count().await.unwrap(), u32::try_from(entries.len()).unwrap());
        for entry in entries {
            sad.remove(&entry.sa.id).await.unwrap();
        }
        assert_eq!(ip("xfrm state"), "");
    });
}

#[test]
fn every_part_of_an_sa_is_read_back() {
    in_namespace(async || {
        let Some(sad) = sad().await else { return };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let limit = |bytes, packets, since_installed, since_used| Limit {
            bytes: Some(bytes),
            packets: Some(packets),
            since_installed,
            since_used,
        };
        let sa = tunnel(IpsecProtocol::ESP, 0xc000_0001);
        let sa = Sa {
            id: SaId { mark: Some(Mark { value: 0x2a, mask: 0xff }), ..sa.id },
            reqid: 0x4000_0001,
            encapsulation: udp(31000, 4500),
            limits: Limits {
                soft: limit(1000, 10, seconds(3000), seconds(300)),
                hard: limit(2000, 20, seconds(3600), seconds(360)),
            },
            flags: SaFlags::ANY_FAMILY | SaFlags::DECAP_DSCP | SaFlags::NO_ECN,
            interface_id: NonZeroU32::new(42),
            output_mark: Some(Mark { value: 0x10, mask: 0xf0 }),
            mapping_interval: seconds(5),
            padding: Some(1400),
            ..sa
        };
        sad.install(&sa, &aead(), None).await.unwrap();
        assert_eq!(sad.find(&sa.id).await.unwrap().unwrap().sa, sa);
        let state = ip("xfrm state");
        let want = [
            "proto esp spi 0xc0000001 reqid 1073741825 mode tunnel",
            "flag noecn decap-dscp af-unspec",
            "mark 0x2a/0xff",
            "output-mark 0x10/0xf0",
            "encap type espinudp sport 31000 dport 4500",
            "if_id 0x2a",
            "aead rfc4106(gcm(aes))",
        ];
        assert!(want.iter().all(|part| state.contains(part)), "{state}");
        assert_eq!(sad.find(&SaId { mark: None, ..sa.id }).await.unwrap().map(|entry| entry.sa), None);

        let hosts = selector("192.0.2.1/32", "192.0.2.2/32").with_protocol(17);
        let transport = Sa { selector: Some(hosts), ..plain(Mode::TRANSPORT, 0xc000_0002) };
        let inner = selector("10.1.0.1/32", "10.2.0.1/32");
        let beet = Sa { selector: Some(inner), ..plain(Mode::BEET, 0xc000_0003) };
        let out = SaExtraFlags::DONT_ENCAP_DSCP | SaExtraFlags::SEQUENCE_MAY_WRAP;
        let outbound = Sa { extra_flags: out, ..tunnel(IpsecProtocol::ESP, 0xc000_0004) };
        let six = Sa::new(addr("2001:db8::1"), addr("2001:db8::2"), IpsecProtocol::ESP, 1000, Mode::TUNNEL);
        for sa in [transport, beet, outbound, six] {
            sad.install(&sa, &aead(), None).await.unwrap();
            assert_eq!(sad.find(&sa.id).await.unwrap().unwrap().sa, sa);
        }
        let direction = Some(SaDirection::In);
        let on_cpu = Sa { cpu: Some(0), direction, ..tunnel(IpsecProtocol::ESP, 0xc000_0005) };
        let installed = sad.install(&on_cpu, &aead(), None).await;
        assert_eq!(installed.is_ok(), sad.capabilities().knows_cpu, "{installed:?}");
        if installed.is_ok() {
            assert_eq!(sad.find(&on_cpu.id).await.unwrap().unwrap().sa, on_cpu);
        }
    });
}

#[test]
fn windows_and_sequence_numbers_are_as_wide_as_asked() {
    in_namespace(async || {
        let Some(sad) = sad().await else { return };
        let mut spi = 0x1000;
        for direction in [None, Some(SaDirection::In), Some(SaDirection::Out)] {
            for has_extended_sequence in [false, true] {
                for packets in [0, 1, 32, 33, 64, 1024, 4096] {
                    spi += 1;
                    let replay_window = ReplayWindow::new(packets).unwrap();
                    let sa = tunnel(IpsecProtocol::ESP, spi);
                    let sa = Sa { direction, has_extended_sequence, replay_window, ..sa };
                    sad.install(&sa, &aead(), None).await.unwrap();
                    let read = sad.find(&sa.id).await.unwrap().unwrap().sa;
                    let is_outbound = read.direction == Some(SaDirection::Out);
                    let wanted = match packets {
                        _ if is_outbound => 0,
                        0 if has_extended_sequence => 1,
                        packets => packets,
                    };
                    assert_eq!(u32::from(read.replay_window.packets()), wanted, "{sa:?}");
                    assert_eq!(read.has_extended_sequence, has_extended_sequence);
                    assert_eq!(read.direction, direction.filter(|_| sad.capabilities().knows_direction));
                }
            }
        }
        // As one that moved: its numbers go on.
        let state = ReplayState { sent: 0x1_0000_0007, received: 0x2_0000_0009, seen: vec![0xff, 0x1] };
        let sa = Sa {
            has_extended_sequence: true,
            replay_window: ReplayWindow::new(64).unwrap(),
            ..tunnel(IpsecProtocol::ESP, 0x2000)
        };
        sad.install(&sa, &aead(), Some(&state)).await.unwrap();
        assert_eq!(sad.find(&sa.id).await.unwrap().unwrap().replay, state);
        let narrow =
            Sa { replay_window: ReplayWindow::new(32).unwrap(), ..tunnel(IpsecProtocol::ESP, 0x2001) };
        let state = ReplayState { sent: 7, received: 9, seen: vec![0x3f] };
        sad.install(&narrow, &aead(), Some(&state)).await.unwrap();
        assert_eq!(sad.find(&narrow.id).await.unwrap().unwrap().replay, state);
    });
}

#[test]
fn what_iproute2_installs_is_read() {
    in_namespace(async || {
        let Some(sad) = sad().await else { return };
        ip("xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0xc0000001 reqid 7 mode tunnel \
            replay-window 128 flag esn af-unspec output-mark 0x10 mask 0xf0 if_id 42 \
            encap espinudp 4500 31000 0.0.0.0 \
            auth-trunc hmac(sha256) 0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20 128 \
            enc cbc(aes) 0x2122232425262728292a2b2c2d2e2f30 limit time-soft 3000 limit time-hard 3600");
        let entries = sad.entries().await.unwrap();
        let [entry] = &entries[..] else { panic!("one") };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let limit = |since_installed| Limit { since_installed, ..Limit::default() };
        let want = Sa {
            reqid: 7,
            replay_window: ReplayWindow::new(128).unwrap(),
            has_extended_sequence: true,
            output_mark: Some(Mark { value: 0x10, mask: 0xf0 }),
            interface_id: NonZeroU32::new(42),
            encapsulation: udp(4500, 31000),
            limits: Limits { soft: limit(seconds(3000)), hard: limit(seconds(3600)) },
            ..tunnel(IpsecProtocol::ESP, 0xc000_0001)
        };
        assert_eq!(entry.sa, want);
        let key = |octets: std::ops::RangeInclusive<u8>| Key::new(&octets.collect::<Vec<_>>()).unwrap();
        let integrity = Some((Integrity::HMAC_SHA2_256_128, key(1..=32)));
        let want = Protection::Separate(Encryption::AES_CBC, key(0x21..=0x30), integrity);
        assert_eq!(entry.protection.as_ref().map(shown), Some(shown(&want)));
        assert!(entry.usage.installed.is_some() && entry.usage.used.is_none() && entry.usage.packets == 0);
    });
}

#[test]
fn refusals_say_what_they_mean() {
    in_namespace(async || {
        let Some(sad) = sad().await else { return };
        let sa = tunnel(IpsecProtocol::ESP, 0xc000_0001);
        sad.install(&sa, &aead(), None).await.unwrap();
        let taken = sad.install(&sa, &aead(), None).await.unwrap_err();
        assert_eq!(taken.meaning(), Some(Meaning::AlreadyThere));
        let text =
            "cannot install the SA ESP c0000001 to 192.0.2.2 from 192.0.2.1: File exists (os error 17)";
        assert!(taken.to_string().starts_with(text), "{taken}");
        sad.remove(&sa.id).await.unwrap();
        let gone = sad.remove(&sa.id).await.unwrap_err();
        assert_eq!(gone.meaning(), Some(Meaning::NotThere));
        let gone = sad.update(&sa, &aead(), None).await.unwrap_err();
        assert_eq!(gone.meaning(), Some(Meaning::NotThere));
        let unheard_of = Aead { name: ferry_xfrm::algorithm::AlgorithmName::new("rot13"), icv_bits: 128 };
        let key = Key::new(&[7; 20]).unwrap();
        let unknown = sad.install(&sa, &Protection::Aead(unheard_of, key), None).await.unwrap_err();
        assert_eq!(unknown.meaning(), Some(Meaning::NoAlgorithm));
        assert!(unknown.to_string().contains("the kernel says: Requested AEAD"), "{unknown}");
        let saltless = Protection::Aead(Aead::AES_GCM_16, Key::new(&[7; 16]).unwrap());
        let invalid = sad.install(&sa, &saltless, None).await.unwrap_err();
        assert_eq!(invalid.meaning(), Some(Meaning::Invalid));
        assert!(invalid.to_string().contains("the kernel says: "), "{invalid}");
        let nowhere = Offload { interface: 1, direction: SaDirection::Out, extent: OffloadExtent::Packet };
        let offloaded = Sa { offload: Some(nowhere), direction: Some(SaDirection::Out), ..sa.clone() };
        sad.install(&offloaded, &aead(), None).await.unwrap_err();
        let crypto = Offload { extent: OffloadExtent::Crypto, ..nowhere };
        let fallen_back = Sa { offload: Some(crypto), ..offloaded };
        sad.install(&fallen_back, &aead(), None).await.unwrap();
        assert_eq!(sad.find(&sa.id).await.unwrap().unwrap().sa.offload, None, "passed over in silence");
    });
}

#[test]
fn an_spi_is_reserved_and_becomes_an_sa() {
    in_namespace(async || {
        let Some(sad) = sad().await else { return };
        std::fs::write("/proc/sys/net/core/xfrm_acq_expires", "1").unwrap();
        let mut events = Events::subscribe(&[sad.port()]).await.unwrap();
        let wanted = Sa { reqid: 7, direction: Some(SaDirection::In), ..tunnel(IpsecProtocol::ESP, 0) };
        let spi = sad.allocate_spi(&wanted, 0x1000..=0x1fff).await.unwrap();
        assert!((0x1000..=0x1fff).contains(&spi), "{spi:x}");
        let other = sad.allocate_spi(&wanted, 0x2000..=0x2000).await.unwrap();
        let none_left = sad.allocate_spi(&wanted, 0x2000..=0x2000).await.unwrap_err();
        assert_eq!(none_left.meaning(), Some(Meaning::NotThere), "{none_left}");
        let sa = Sa { id: SaId { spi, ..wanted.id }, ..wanted };
        assert!(sad.find(&sa.id).await.unwrap().unwrap().protection.is_none());
        let taken = sad.install(&sa, &aead(), None).await.unwrap_err();
        assert_eq!(taken.meaning(), Some(Meaning::AlreadyThere));
        sad.update(&sa, &aead(), None).await.unwrap();
        assert_eq!(sad.find(&sa.id).await.unwrap().unwrap().sa, sa);
        let Event::Expired(expired) = next(&mut events).await else { panic!("an expiry") };
        assert!(expired.is_hard && expired.sa.id.spi == other, "{expired:?}");
        assert_eq!(sad.count().await.unwrap(), 1);
    });
}

#[test]
fn an_sa_ends_by_packets_and_by_octets() {
    in_namespace(async || {
        let (Some(sad), Some(spd)) = (sad().await, spd().await) else { return };
        let (here, there) = loopback(&spd).await;
        let mut events = Events::subscribe(&[sad.port()]).await.unwrap();
        // On the loopback each packet goes out by the SA and in by the same one.
        let packets = |packets| Limit { packets: Some(packets), ..Limit::default() };
        let octets = |bytes| Limit { bytes: Some(bytes), ..Limit::default() };
        let limits =
            [Limits { soft: packets(2), hard: packets(4) }, Limits { soft: octets(100), hard: octets(500) }];
        for (spi, limits) in (0x1000..).zip(limits) {
            let sa = Sa { reqid: 7, limits, ..between(&here, &there, spi) };
            sad.install(&sa, &aead(), None).await.unwrap();
            here.send_to(b"one", there.local_addr().unwrap()).unwrap();
            assert_eq!(there.recv(&mut [0; 500]).unwrap(), 3, "through the SA");
            let usage = sad.find(&sa.id).await.unwrap().unwrap().usage;
            assert!(usage.packets == 2 && usage.bytes > 20 && usage.used.is_some(), "{usage:?}");
            here.send_to(&[0; 200], there.local_addr().unwrap()).unwrap();
            let Event::Expired(soft) = next(&mut events).await else { panic!("an expiry") };
            assert!(!soft.is_hard && soft.sa == sa, "{soft:?}");
            let _ = there.recv(&mut [0; 500]);
            let _ = here.send_to(&[0; 200], there.local_addr().unwrap());
            let Event::Expired(hard) = next(&mut events).await else { panic!("an expiry") };
            assert!(hard.is_hard && hard.sa.id == sa.id, "{hard:?}");
            assert!(sad.find(&sa.id).await.unwrap().is_none());
            sad.flush(IpsecProtocol::ESP).await.unwrap();
        }
    });
}

#[test]
fn an_acquire_is_answered() {
    in_namespace(async || {
        let (Some(sad), Some(spd)) = (sad().await, spd().await) else { return };
        let (here, there) = loopback(&spd).await;
        let mut events = Events::subscribe(&[sad.port(), spd.port()]).await.unwrap();
        let to = there.local_addr().unwrap();
        let _ = here.send_to(b"first", to); // dropped, or refused: as the kernel likes
        let Event::Acquire(acquire) = next(&mut events).await else { panic!("an acquire") };
        assert_eq!(acquire.templates.iter().map(|template| template.reqid).collect::<Vec<_>>(), [7]);
        let larval = sad.entries().await.unwrap();
        assert!(larval.len() == 1 && larval[0].sa.id.spi == 0 && larval[0].sa.acquire == acquire.number);
        let sa = Sa { reqid: 7, acquire: acquire.number, ..between(&here, &there, 0x1000) };
        sad.install(&sa, &aead(), None).await.unwrap();
        let entries = sad.entries().await.unwrap();
        assert_eq!(
            entries.iter().map(|entry| entry.sa.id).collect::<Vec<_>>(),
            [sa.id],
            "the larval is gone"
        );
        here.send_to(b"second", to).unwrap();
        let mut got = [0; 500];
        let length = there.recv(&mut got).unwrap();
        assert!(matches!(&got[..length], b"first" | b"second"));
    });
}

/// ESP without encryption or integrity, written by hand: it is believed, from wherever it comes.
#[test]
fn a_peer_that_moves_is_told_and_followed() {
    in_namespace(async || {
        let Some(sad) = sad().await else { return };
        ip("link set lo up");
        let gateway = UdpSocket::bind("127.0.0.1:4500").unwrap();
        let _ = decapsulate_esp(&gateway).unwrap();
        let peer = UdpSocket::bind("127.0.0.2:5000").unwrap();
        let sa = Sa::new(addr("127.0.0.2"), addr("127.0.0.1"), IpsecProtocol::ESP, 0x1000, Mode::TRANSPORT);
        let hosts = Some(selector("127.0.0.2/32", "127.0.0.1/32"));
        let sa = Sa { reqid: 7, selector: hosts, encapsulation: udp(4500, 4500), ..sa };
        let nothing = || Protection::Separate(Encryption::NULL, Key::new(&[]).unwrap(), None);
        sad.install(&sa, &nothing(), None).await.unwrap();
        let mut events = Events::subscribe(&[sad.port()]).await.unwrap();
        // SPI, sequence number, a UDP header of no payload, padding, its length, next header.
        let mut esp = vec![0, 0, 0x10, 0, 0, 0, 0, 1];
        esp.extend([0x13, 0x88, 0x11, 0x94, 0, 8, 0, 0, 1, 2, 2, 17]);
        peer.send_to(&esp, "127.0.0.1:4500").unwrap();
        let Event::Moved(moved) = next(&mut events).await else { panic!("a mapping") };
        assert_eq!((moved.id, moved.reqid), (sa.id, 7));
        assert_eq!(moved.from, "127.0.0.2:4500".parse().unwrap());
        assert_eq!(moved.to, "127.0.0.2:5000".parse().unwrap());
        let followed = Sa { encapsulation: udp(5000, 4500), ..sa };
        sad.update(&followed, &nothing(), None).await.unwrap();
        assert_eq!(sad.find(&followed.id).await.unwrap().unwrap().sa, followed);
        peer.send_to(&esp, "127.0.0.1:4500").unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(300), events.next()).await;
        assert!(quiet.is_err(), "it is where it is expected: {quiet:?}");
    });
}

#[test]
fn an_sa_and_its_policy_move_with_their_numbers() {
    in_namespace(async || {
        let (Some(sad), Some(spd)) = (sad().await, spd().await) else { return };
        let state = ReplayState { sent: 0x1_0000_0007, received: 0, seen: vec![0] };
        let sa = Sa { reqid: 7, has_extended_sequence: true, ..tunnel(IpsecProtocol::ESP, 0x1000) };
        sad.install(&sa, &aead(), Some(&state)).await.unwrap();
        let id = PolicyId::new(selector("10.1.0.0/16", "10.2.0.0/16"), PolicyDirection::Out);
        let before = template("192.0.2.1", "192.0.2.2", Mode::TUNNEL, 7);
        spd.install(&Policy::protect(id, 1, before)).await.unwrap();
        let from = (addr("192.0.2.1"), addr("192.0.2.2"));
        let to = (addr("198.51.100.1"), addr("198.51.100.2"));
        let step = Move::new(from, to, Mode::TUNNEL, 7).unwrap();
        let migration =
            Migration { policy: id, moves: Moves::new(&[step]).unwrap(), encapsulation: udp(4500, 4500) };
        let mut events = Events::subscribe(&[]).await.unwrap();
        spd.migrate(&migration).await.unwrap();
        let told = next(&mut events).await;
        assert!(matches!(&told, Event::Migrated(told) if told.policy == id && told.moves == migration.moves));

        assert!(sad.find(&sa.id).await.unwrap().is_none(), "no longer there");
        let moved = SaId { destination: to.1, ..sa.id };
        let entry = sad.find(&moved).await.unwrap().unwrap();
        assert_eq!((entry.sa.source, entry.sa.encapsulation), (to.0, udp(4500, 4500)));
        assert_eq!(entry.replay.sent, state.sent);
        assert_eq!(entry.protection.as_ref().map(shown), Some(shown(&aead())));
        let after = spd.find(&id).await.unwrap().unwrap().policy;
        assert_eq!(after, Policy::protect(id, 1, template("198.51.100.1", "198.51.100.2", Mode::TUNNEL, 7)));
        let nothing_there = spd.migrate(&migration).await.unwrap_err();
        assert_eq!(nothing_there.meaning(), Some(Meaning::NotThere), "{nothing_there}");
    });
}

#[test]
fn what_others_remove_is_told_and_what_we_do_is_not() {
    in_namespace(async || {
        let Some(sad) = sad().await else { return };
        let mut events = Events::subscribe(&[sad.port()]).await.unwrap();
        let sa = Sa { reqid: 7, ..tunnel(IpsecProtocol::ESP, 0x1000) };
        sad.install(&sa, &aead(), None).await.unwrap();
        sad.remove(&sa.id).await.unwrap();
        sad.install(&sa, &aead(), None).await.unwrap();
        ip("xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000");
        assert_eq!(next(&mut events).await, Event::SaRemoved(Box::new(sa.clone())));
        sad.install(&sa, &aead(), None).await.unwrap();
        sad.flush(IpsecProtocol::ANY).await.unwrap();
        sad.install(&sa, &aead(), None).await.unwrap();
        ip("xfrm state flush proto esp");
        assert_eq!(next(&mut events).await, Event::SasFlushed(IpsecProtocol::ESP));
        assert_eq!(sad.count().await.unwrap(), 0);
    });
}

/// The SAs of the thread's namespace, or `None`, said, where the kernel has no ESP.
async fn sad() -> Option<Sad> {
    let sad = match Sad::open().await {
        Ok(sad) => sad,
        Err(error) => {
            skipped(&error.to_string());
            return None;
        }
    };
    if sad.support().is_yes() {
        return Some(sad);
    }
    skipped(&sad.support().to_string());
    None
}

/// A socket at either end of a policy that wants transport mode, in one namespace.
async fn loopback(spd: &Spd) -> (UdpSocket, UdpSocket) {
    ip("link set lo up");
    ip("addr add 10.1.0.9/32 dev lo");
    ip("addr add 10.2.0.9/32 dev lo");
    std::fs::write("/proc/sys/net/ipv4/conf/lo/disable_xfrm", "0").unwrap();
    let hosts = selector("10.1.0.9/32", "10.2.0.9/32");
    let id = PolicyId::new(hosts, PolicyDirection::Out);
    let transport = template("0.0.0.0", "0.0.0.0", Mode::TRANSPORT, 7);
    spd.install(&Policy::protect(id, priority(&hosts, Purpose::Trap), transport)).await.unwrap();
    let [here, there] = ["10.1.0.9:4000", "10.2.0.9:4000"].map(|at| UdpSocket::bind(at).unwrap());
    there.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (here, there)
}

fn between(here: &UdpSocket, there: &UdpSocket, spi: u32) -> Sa {
    let [here, there] = [here, there].map(|socket| socket.local_addr().unwrap().ip());
    let hosts = selector(&format!("{here}/32"), &format!("{there}/32"));
    Sa { selector: Some(hosts), ..Sa::new(here, there, IpsecProtocol::ESP, spi, Mode::TRANSPORT) }
}

fn tunnel(protocol: IpsecProtocol, spi: u32) -> Sa {
    let [here, there]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(addr);
    Sa::new(here, there, protocol, spi, Mode::TUNNEL)
}

fn plain(mode: Mode, spi: u32) -> Sa {
    Sa::new(addr("192.0.2.1"), addr("192.0.2.2"), IpsecProtocol::ESP, spi, mode)
}

fn udp(source_port: u16, destination_port: u16) -> Option<Encapsulation> {
    Some(Encapsulation { kind: EncapsulationKind::UDP, source_port, destination_port })
}

fn aead() -> Protection {
    Protection::Aead(Aead::AES_GCM_16, Key::new(&[7; 20]).unwrap())
}

/// All that IKE negotiates and the kernel has names for.
fn suites() -> Vec<Protection> {
    let key = |length| Key::new(&(0..length).collect::<Vec<u8>>()).unwrap();
    let integrities = [
        (Integrity::HMAC_MD5_96, 16),
        (Integrity::HMAC_SHA1_96, 20),
        (Integrity::HMAC_SHA2_256_128, 32),
        (Integrity::HMAC_SHA2_256_96, 32),
        (Integrity::HMAC_SHA2_384_192, 48),
        (Integrity::HMAC_SHA2_512_256, 64),
        (Integrity::AES_XCBC_96, 16),
        (Integrity::AES_CMAC_96, 16),
    ];
    let aeads = [
        (Aead::AES_GCM_16, [20, 28, 36]),
        (Aead::AES_GCM_12, [20, 28, 36]),
        (Aead::AES_GCM_8, [20, 28, 36]),
        (Aead::AES_CCM_16, [19, 27, 35]),
        (Aead::AES_CCM_12, [19, 27, 35]),
        (Aead::AES_CCM_8, [19, 27, 35]),
        (Aead::NULL_AES_GMAC, [20, 28, 36]),
        (Aead::CHACHA20_POLY1305, [36; 3]),
    ];
    let ciphers = [
        (Encryption::AES_CBC, vec![16, 24, 32]),
        (Encryption::AES_CTR, vec![20, 28, 36]),
        (Encryption::CAMELLIA_CBC, vec![16, 24, 32]),
        (Encryption::TRIPLE_DES_CBC, vec![24]),
        (Encryption::NULL, vec![0]),
    ];
    let mut suites = Vec::new();
    for (aead, lengths) in aeads {
        suites.extend(lengths.map(|length| Protection::Aead(aead, key(length))));
    }
    for (encryption, lengths) in &ciphers {
        for length in lengths {
            for (integrity, integrity_length) in integrities {
                let integrity = Some((integrity, key(integrity_length)));
                suites.push(Protection::Separate(*encryption, key(*length), integrity));
            }
        }
    }
    suites.extend(integrities.map(|(integrity, length)| Protection::Integrity(integrity, key(length))));
    suites
}

/// Names, lengths and, being a test's, keys.
fn shown(protection: &Protection) -> String {
    match protection {
        Protection::Aead(aead, key) => format!("{aead:?} {:?}", key.octets()),
        Protection::Separate(encryption, key, integrity) => {
            let integrity = integrity.as_ref().map(|(integrity, key)| (integrity, key.octets()));
            format!("{encryption:?} {:?} {integrity:?}", key.octets())
        }
        Protection::Integrity(integrity, key) => format!("{integrity:?} {:?}", key.octets()),
    }
}
