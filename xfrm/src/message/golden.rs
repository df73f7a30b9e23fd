//! Requests against those of iproute2 6.1, byte for byte, as strace saw them.
//!
//! The attributes are compared in the order of their numbers: neither iproute2 nor the kernel minds
//! it. Needless flags of iproute2's headers (CREATE, EXCLUSIVE) are not compared.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::database::{count_policies, count_sas, default_policy, set_default_policy};
use super::flags::{ACK, CREATE, DUMP, EXCLUSIVE};
use super::interface::{RTM_NEWLINK, add_xfrm_interface};
use super::policy::{dump_policies, flush_policies};
use super::sa::flush_sas;
use super::test_support::assert_message;
use crate::algorithm::{Aead, Encryption, Integrity, Key, Protection};
use crate::policy::{
    Action, DefaultPolicy, Policy, PolicyDirection, PolicyFlags, PolicyId, PolicyKind, Template, Templates,
};
use crate::sa::{
    Encapsulation, EncapsulationKind, IpsecProtocol, Limit, Limits, Mark, Mode, Offload, OffloadExtent,
    ReplayWindow, Sa, SaDirection, SaExtraFlags, SaFlags, SaId,
};
use crate::selector::{PortMatch, Selector};

const NEWSA: u16 = 0x10;
const DELSA: u16 = 0x11;
const GETSA: u16 = 0x12;
const NEWPOLICY: u16 = 0x13;
const DELPOLICY: u16 = 0x14;
const GETPOLICY: u16 = 0x15;
const ALLOCSPI: u16 = 0x16;
const UPDPOLICY: u16 = 0x19;
const UPDSA: u16 = 0x1a;
const FLUSHSA: u16 = 0x1c;
const FLUSHPOLICY: u16 = 0x1d;
const GETSADINFO: u16 = 0x23;
const GETSPDINFO: u16 = 0x25;
const SETDEFAULT: u16 = 0x27;
const GETDEFAULT: u16 = 0x28;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sa(source: &str, destination: &str, protocol: IpsecProtocol, spi: u32, mode: Mode) -> Sa {
    Sa::new(addr(source), addr(destination), protocol, spi, mode)
}

fn selector(source: &str, destination: &str) -> Selector {
    Selector::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap()
}

fn template(source: &str, destination: &str, mode: Mode, reqid: u32) -> Template {
    Template::new(addr(source), addr(destination), mode, reqid).unwrap()
}

/// An SA with nearly all there is.
pub(super) fn everything() -> Sa {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let limit = |bytes, packets, since_installed, since_used| Limit {
        bytes: Some(bytes),
        packets: Some(packets),
        since_installed,
        since_used,
    };
    let sa = sa("192.0.2.1", "192.0.2.2", IpsecProtocol::ESP, 0xc000_0001, Mode::TUNNEL);
    Sa {
        id: SaId { mark: Some(Mark { value: 0x2a, mask: 0xff }), ..sa.id },
        reqid: 0x4000_0001,
        replay_window: ReplayWindow::new(128).unwrap(),
        has_extended_sequence: true,
        extra_flags: SaExtraFlags::DONT_ENCAP_DSCP,
        output_mark: Some(Mark { value: 0x10, mask: 0xf0 }),
        interface_id: NonZeroU32::new(42),
        encapsulation: Some(Encapsulation {
            kind: EncapsulationKind::UDP,
            source_port: 4500,
            destination_port: 31000,
        }),
        limits: Limits {
            soft: limit(1000, 10, seconds(3000), seconds(300)),
            hard: limit(2000, 20, seconds(3600), seconds(360)),
        },
        ..sa
    }
}

/// A policy with nearly all there is.
pub(super) fn full_policy() -> Policy {
    let udp = selector("10.1.0.0/16", "10.2.0.0/24").with_protocol(17).with_interface(1);
    let udp = udp.with_ports(PortMatch::exactly(500), PortMatch::exactly(4500));
    let id = PolicyId {
        mark: Some(Mark { value: 0x2a, mask: 0xff }),
        interface_id: NonZeroU32::new(42),
        ..PolicyId::new(udp, PolicyDirection::Out)
    };
    let mut tunnel = template("192.0.2.1", "192.0.2.2", Mode::TUNNEL, 0x4000_0001);
    tunnel.spi = NonZeroU32::new(0xc000_0001);
    let flags = PolicyFlags::LOCAL_OK | PolicyFlags::ICMP;
    Policy { flags, ..Policy::protect(id, 375_423, tunnel) }
}

/// ```text
/// ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0xc0000001 reqid 0x40000001 mode
/// tunnel mark 0x2a mask 0xff replay-window 128 flag esn af-unspec extra-flag dont-encap-dscp
/// output-mark 0x10 mask 0xf0 if_id 42 encap espinudp 4500 31000 0.0.0.0 auth-trunc hmac(sha256)
/// 0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20 128 enc cbc(aes)
/// 0x2122232425262728292a2b2c2d2e2f30 limit time-soft 3000 limit time-hard 3600 limit time-use-soft
/// 300 limit time-use-hard 360 limit byte-soft 1000 limit byte-hard 2000 limit packet-soft 10 limit
/// packet-hard 20
/// ```
#[test]
fn an_sa_with_everything() {
    let encryption = Key::new(&(0x21..=0x30).collect::<Vec<_>>()).unwrap();
    let integrity = Key::new(&(1..=32).collect::<Vec<_>>()).unwrap();
    let integrity = Some((Integrity::HMAC_SHA2_256_128, integrity));
    let protection = Protection::Separate(Encryption::AES_CBC, encryption, integrity);
    assert_message(
        &everything().install(&protection, None),
        NEWSA,
        ACK,
        224,
        "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  c0 00 02 02 00 00 00 00
             00 00 00 00 00 00 00 00  c0 00 00 01 32 00 00 00
             c0 00 02 01 00 00 00 00  00 00 00 00 00 00 00 00
             e8 03 00 00 00 00 00 00  d0 07 00 00 00 00 00 00
             0a 00 00 00 00 00 00 00  14 00 00 00 00 00 00 00
             b8 0b 00 00 00 00 00 00  10 0e 00 00 00 00 00 00
             2c 01 00 00 00 00 00 00  68 01 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             01 00 00 40 02 00 01 00  a0 00 00 00 00 00 00 00
             1c 00 04 00 02 00 11 94  79 18 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 6c 00 14 00
             68 6d 61 63 28 73 68 61  32 35 36 29 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 01 00 00 80 00 00 00  01 02 03 04 05 06 07 08
             09 0a 0b 0c 0d 0e 0f 10  11 12 13 14 15 16 17 18
             19 1a 1b 1c 1d 1e 1f 20  58 00 02 00 63 62 63 28
             61 65 73 29 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 80 00 00 00
             21 22 23 24 25 26 27 28  29 2a 2b 2c 2d 2e 2f 30
             1c 00 17 00 04 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  80 00 00 00 08 00 18 00
             01 00 00 00 0c 00 15 00  2a 00 00 00 ff 00 00 00
             08 00 1f 00 2a 00 00 00  08 00 1d 00 10 00 00 00
             08 00 1e 00 f0 00 00 00",
    );
}

/// ```text
/// ip xfrm state add src 2001:db8::1 dst 2001:db8::2 proto esp spi 0xc0000002 reqid 7 mode beet
/// replay-window 32 aead rfc7539esp(chacha20,poly1305)
/// 0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223 128 sel src
/// 10.0.0.1/32 dst 10.0.0.2/32 offload dev lo dir in
/// ```
#[test]
fn an_sa_in_beet_mode_on_a_card() {
    let key = Key::new(&(0..36).collect::<Vec<_>>()).unwrap();
    let mut sa = sa("2001:db8::1", "2001:db8::2", IpsecProtocol::ESP, 0xc000_0002, Mode::BEET);
    sa.reqid = 7;
    sa.replay_window = ReplayWindow::new(32).unwrap();
    sa.selector = Some(selector("10.0.0.1/32", "10.0.0.2/32"));
    sa.offload = Some(Offload { interface: 1, direction: SaDirection::In, extent: OffloadExtent::Crypto });
    assert_message(
        &sa.install(&Protection::Aead(Aead::CHACHA20_POLY1305, key), None),
        NEWSA,
        ACK,
        224,
        "0a 00 00 02 00 00 00 00  00 00 00 00 00 00 00 00
             0a 00 00 01 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  02 00 20 20 00 00 00 00
             00 00 00 00 00 00 00 00  20 01 0d b8 00 00 00 00
             00 00 00 00 00 00 00 02  c0 00 00 02 32 00 00 00
             20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 01
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             07 00 00 00 0a 00 04 20  00 00 00 00 00 00 00 00
             70 00 12 00 72 66 63 37  35 33 39 65 73 70 28 63
             68 61 63 68 61 32 30 2c  70 6f 6c 79 31 33 30 35
             29 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 20 01 00 00  80 00 00 00 00 01 02 03
             04 05 06 07 08 09 0a 0b  0c 0d 0e 0f 10 11 12 13
             14 15 16 17 18 19 1a 1b  1c 1d 1e 1f 20 21 22 23
             0c 00 1c 00 01 00 00 00  02 00 00 00",
    );
}

/// ```text
/// ip xfrm state update src 192.0.2.1 dst 192.0.2.2 proto ah spi 0xc0000003 reqid 8 mode transport
/// seq 0x99 flag align4 auth-trunc hmac(sha1) 0x0102030405060708090a0b0c0d0e0f1011121314 96 sel src
/// 192.0.2.1/32 dst 192.0.2.2/32 proto udp sport 500 dport 1000
/// ```
#[test]
fn an_sa_of_ah_that_answers_an_acquire() {
    let key = Key::new(&(1..=20).collect::<Vec<_>>()).unwrap();
    let mut sa = sa("192.0.2.1", "192.0.2.2", IpsecProtocol::AH, 0xc000_0003, Mode::TRANSPORT);
    sa.reqid = 8;
    sa.acquire = 0x99_u32.to_be(); // iproute2 takes it for network order
    sa.flags = SaFlags::ALIGN4;
    let hosts = selector("192.0.2.1/32", "192.0.2.2/32").with_protocol(17);
    sa.selector = Some(hosts.with_ports(PortMatch::exactly(500), PortMatch::exactly(1000)));
    assert_message(
        &sa.update(&Protection::Integrity(Integrity::HMAC_SHA1_96, key), None),
        UPDSA,
        ACK,
        224,
        "c0 00 02 02 00 00 00 00  00 00 00 00 00 00 00 00
             c0 00 02 01 00 00 00 00  00 00 00 00 00 00 00 00
             03 e8 ff ff 01 f4 ff ff  02 00 20 20 11 00 00 00
             00 00 00 00 00 00 00 00  c0 00 02 02 00 00 00 00
             00 00 00 00 00 00 00 00  c0 00 00 03 33 00 00 00
             c0 00 02 01 00 00 00 00  00 00 00 00 00 00 00 00
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 99
             08 00 00 00 02 00 00 00  40 00 00 00 00 00 00 00
             60 00 14 00 68 6d 61 63  28 73 68 61 31 29 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 a0 00 00 00  60 00 00 00 01 02 03 04
             05 06 07 08 09 0a 0b 0c  0d 0e 0f 10 11 12 13 14",
    );
}

/// ```text
/// ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0xc0000004 reqid 8 mode transport
/// encap espintcp 4500 31000 0.0.0.0 enc ecb(cipher_null) '' auth-trunc hmac(sha1)
/// 0x0102030405060708090a0b0c0d0e0f1011121314 96
/// ```
#[test]
fn an_sa_over_tcp_that_does_not_encrypt() {
    let key = Key::new(&(1..=20).collect::<Vec<_>>()).unwrap();
    let nothing = Key::new(&[]).unwrap();
    let mut sa = sa("192.0.2.1", "192.0.2.2", IpsecProtocol::ESP, 0xc000_0004, Mode::TRANSPORT);
    sa.reqid = 8;
    sa.encapsulation =
        Some(Encapsulation { kind: EncapsulationKind::TCP, source_port: 4500, destination_port: 31000 });
    let integrity = Some((Integrity::HMAC_SHA1_96, key));
    assert_message(
        &sa.install(&Protection::Separate(Encryption::NULL, nothing, integrity), None),
        NEWSA,
        ACK,
        224,
        "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  c0 00 02 02 00 00 00 00
             00 00 00 00 00 00 00 00  c0 00 00 04 32 00 00 00
             c0 00 02 01 00 00 00 00  00 00 00 00 00 00 00 00
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             08 00 00 00 02 00 00 00  00 00 00 00 00 00 00 00
             1c 00 04 00 07 00 11 94  79 18 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 48 00 02 00
             65 63 62 28 63 69 70 68  65 72 5f 6e 75 6c 6c 29
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 60 00 14 00  68 6d 61 63 28 73 68 61
             31 29 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  a0 00 00 00 60 00 00 00
             01 02 03 04 05 06 07 08  09 0a 0b 0c 0d 0e 0f 10
             11 12 13 14",
    );
}

/// iproute2 adds the source address, which counts for Mobile IPv6 only.
/// ```text
/// ip xfrm state get src 192.0.2.1 dst 192.0.2.2 proto esp spi 0xc0000001 mark 0x2a mask 0xff
/// ```
#[test]
fn an_sa_is_asked_for() {
    assert_message(
        &everything().id.find(),
        GETSA,
        0,
        24,
        "c0 00 02 02 00 00 00 00  00 00 00 00 00 00 00 00
             c0 00 00 01 02 00 32 00  0c 00 15 00 2a 00 00 00
             ff 00 00 00",
    );
}

/// iproute2 adds the source address, which counts for Mobile IPv6 only.
/// ```text
/// ip xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0xc0000001
/// ```
#[test]
fn an_sa_is_removed() {
    let id = SaId { mark: None, ..everything().id };
    assert_message(
        &id.remove(),
        DELSA,
        ACK,
        24,
        "c0 00 02 02 00 00 00 00  00 00 00 00 00 00 00 00
             c0 00 00 01 02 00 32 00",
    );
}

/// iproute2 leaves the limits zero, which makes no difference to a larval SA.
/// ```text
/// ip xfrm state allocspi src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode tunnel seq 0x5 min
/// 0xc0000000 max 0xcfffffff
/// ```
#[test]
fn an_spi_is_reserved() {
    let mut sa = sa("192.0.2.1", "192.0.2.2", IpsecProtocol::ESP, 1, Mode::TUNNEL);
    sa.reqid = 7;
    sa.acquire = 5_u32.to_be(); // iproute2 takes it for network order
    sa.flags = SaFlags::default();
    assert_message(
        &sa.allocate_spi(&(0xc000_0000..=0xcfff_ffff)),
        ALLOCSPI,
        0,
        232,
        "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  c0 00 02 02 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 32 00 00 00
             c0 00 02 01 00 00 00 00  00 00 00 00 00 00 00 00
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 05
             07 00 00 00 02 00 01 00  00 00 00 00 00 00 00 00
             00 00 00 c0 ff ff ff cf",
    );
}

/// ```text
/// ip xfrm state flush proto esp
/// ```
#[test]
fn sas_are_flushed() {
    assert_message(&flush_sas(IpsecProtocol::ESP), FLUSHSA, ACK, 1, "32");
}

/// ```text
/// ip xfrm state count
/// ```
#[test]
fn sas_are_counted() {
    assert_message(&count_sas(), GETSADINFO, 0, 4, "ff ff ff ff");
}

/// ```text
/// ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/24 proto udp sport 500 dport 4500 dev lo dir out
/// priority 375423 mark 0x2a mask 0xff if_id 42 flag localok icmp tmpl src 192.0.2.1 dst 192.0.2.2
/// proto esp spi 0xc0000001 reqid 0x40000001 mode tunnel
/// ```
#[test]
fn a_policy_with_everything() {
    assert_message(
        &full_policy().install(),
        NEWPOLICY,
        ACK,
        168,
        "0a 02 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             0a 01 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             11 94 ff ff 01 f4 ff ff  02 00 18 10 11 00 00 00
             01 00 00 00 00 00 00 00  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  7f ba 05 00 00 00 00 00
             01 00 03 00 00 00 00 00  44 00 05 00 c0 00 02 02
             00 00 00 00 00 00 00 00  00 00 00 00 c0 00 00 01
             32 00 00 00 02 00 00 00  c0 00 02 01 00 00 00 00
             00 00 00 00 00 00 00 00  01 00 00 40 01 00 00 00
             ff ff ff ff ff ff ff ff  ff ff ff ff 0c 00 15 00
             2a 00 00 00 ff 00 00 00  08 00 1f 00 2a 00 00 00",
    );
}

/// ```text
/// ip xfrm policy update src 2001:db8:1::/48 dst 2001:db8:2::/64 proto ipv6-icmp type 128 code 0
/// dir in priority 7 tmpl src 2001:db8::1 dst 2001:db8::2 proto comp reqid 9 mode tunnel level use
/// tmpl proto esp reqid 9 mode transport
/// ```
#[test]
fn a_policy_of_two_templates() {
    let echo = selector("2001:db8:1::/48", "2001:db8:2::/64").with_protocol(58);
    let echo = echo.with_ports(PortMatch::exactly(128), PortMatch::exactly(0));
    let mut outer = template("2001:db8::1", "2001:db8::2", Mode::TUNNEL, 9);
    outer.protocol = IpsecProtocol::IPCOMP;
    outer.is_optional = true;
    let inner = template("::", "::", Mode::TRANSPORT, 9);
    let templates = Templates::new(&[outer, inner]).unwrap();
    let id = PolicyId::new(echo, PolicyDirection::In);
    let policy = Policy { templates, ..Policy::pass(id, 7) };
    assert_message(
        &policy.replace(),
        UPDPOLICY,
        ACK,
        168,
        "20 01 0d b8 00 02 00 00  00 00 00 00 00 00 00 00
             20 01 0d b8 00 01 00 00  00 00 00 00 00 00 00 00
             00 00 ff ff 00 80 ff ff  0a 00 40 30 3a 00 00 00
             00 00 00 00 00 00 00 00  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  07 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  84 00 05 00 20 01 0d b8
             00 00 00 00 00 00 00 00  00 00 00 02 00 00 00 00
             6c 00 00 00 0a 00 00 00  20 01 0d b8 00 00 00 00
             00 00 00 00 00 00 00 01  09 00 00 00 01 00 01 00
             ff ff ff ff ff ff ff ff  ff ff ff ff 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             32 00 00 00 0a 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  09 00 00 00 00 00 00 00
             ff ff ff ff ff ff ff ff  ff ff ff ff",
    );
}

/// ```text
/// ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/24 dir fwd action block priority 1
/// ```
#[test]
fn a_policy_that_drops() {
    let id = PolicyId::new(selector("10.1.0.0/16", "10.2.0.0/24"), PolicyDirection::Forward);
    assert_message(
        &Policy::drop(id, 1).install(),
        NEWPOLICY,
        ACK,
        168,
        "0a 02 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             0a 01 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  02 00 18 10 00 00 00 00
             00 00 00 00 00 00 00 00  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  01 00 00 00 00 00 00 00
             02 01 00 00 00 00 00 00",
    );
}

/// ```text
/// ip xfrm policy delete src 10.1.0.0/16 dst 10.2.0.0/24 dir fwd mark 0x2a mask 0xff if_id 42
/// ```
#[test]
fn a_policy_is_removed() {
    let selector = selector("10.1.0.0/16", "10.2.0.0/24");
    let id = PolicyId { selector, direction: PolicyDirection::Forward, ..full_policy().id };
    assert_message(
        &id.remove(),
        DELPOLICY,
        ACK,
        64,
        "0a 02 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             0a 01 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  02 00 18 10 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 02 00 00 00
             0c 00 15 00 2a 00 00 00  ff 00 00 00 08 00 1f 00
             2a 00 00 00",
    );
}

/// ```text
/// ip xfrm policy get src 10.1.0.0/16 dst 10.2.0.0/24 dir out ptype sub
/// ```
#[test]
fn a_policy_is_asked_for() {
    let id = PolicyId::new(selector("10.1.0.0/16", "10.2.0.0/24"), PolicyDirection::Out);
    let id = PolicyId { kind: PolicyKind::SUB, ..id };
    assert_message(
        &id.find(),
        GETPOLICY,
        0,
        64,
        "0a 02 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             0a 01 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  02 00 18 10 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 01 00 00 00
             0a 00 10 00 01 00 00 00  00 00 00 00",
    );
}

/// ```text
/// ip xfrm policy list
/// ```
#[test]
fn policies_are_listed() {
    assert_message(&dump_policies(), GETPOLICY, DUMP, 0, "");
}

/// ```text
/// ip xfrm policy flush ptype sub
/// ```
#[test]
fn policies_are_flushed() {
    assert_message(
        &flush_policies(PolicyKind::SUB),
        FLUSHPOLICY,
        ACK,
        0,
        "0a 00 10 00 01 00 00 00  00 00 00 00",
    );
}

/// ```text
/// ip xfrm policy count
/// ```
#[test]
fn policies_are_counted() {
    assert_message(&count_policies(), GETSPDINFO, 0, 4, "ff ff ff ff");
}

/// ```text
/// ip xfrm policy setdefault in block fwd accept out accept
/// ```
#[test]
fn the_default_is_set() {
    let default = DefaultPolicy { inbound: Action::Block, forward: Action::Allow, outbound: Action::Allow };
    assert_message(&set_default_policy(&default), SETDEFAULT, ACK, 3, "01 02 02");
}

/// ```text
/// ip xfrm policy getdefault
/// ```
#[test]
fn the_default_is_asked_for() {
    assert_message(&default_policy(), GETDEFAULT, 0, 3, "00 00 00");
}

/// ```text
/// ip link add ipsec0 type xfrm dev lo if_id 42
/// ```
#[test]
fn an_xfrm_interface() {
    assert_message(
        &add_xfrm_interface("ipsec0", NonZeroU32::new(42).unwrap(), Some(1)),
        RTM_NEWLINK,
        ACK | CREATE | EXCLUSIVE,
        16,
        "00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             0b 00 03 00 69 70 73 65  63 30 00 00 20 00 12 00
             08 00 01 00 78 66 72 6d  14 00 02 00 08 00 02 00
             2a 00 00 00 08 00 01 00  01 00 00 00",
    );
}
