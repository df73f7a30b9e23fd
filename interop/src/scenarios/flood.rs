//! A gateway in a flood of first messages from addresses that do not exist.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::topology::Road;
use super::{handshake, roadwarrior};
use crate::lab::{Crowd, Deadline, Host, Lab, Pace, address_in, until};
use crate::peer::{Daemon, Peer};

/// First messages each second, and how many more are aimed at, so that a hiccup does not make it fewer.
const RATE: u32 = 20_000;
const MARGIN: u32 = 1_000;

/// What the flood may last at most, whatever becomes of the scenario.
const AT_MOST: Duration = Duration::from_secs(20);

/// How long the flood goes on once the client is in.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// How long a client may take to connect meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the crowd pretends to be.
const CROWD: (Ipv4Addr, u32) = (Ipv4Addr::new(198, 18, 0, 0), 15);

/// The one of them who exists, and hears what the others would be told; one message in so many is theirs.
const WITNESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const SHARE: u64 = 500;

/// From so many half-open SAs on cookies are demanded; each shard may be about to open one more.
const THRESHOLD: usize = 30;
const SHARDS: usize = 8;

/// What the gateway may remember of two hundred thousand strangers: nothing, but buffers and heaps breathe.
const GROWTH_KIB: u64 = 32 << 10;

/// A stranger's first message costs the gateway a cookie and no memory, and a client that returns its cookie gets in.
pub(super) fn spoofed(lab: &Lab, ours: Daemon) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let crowd = lab.host("crowd")?;
    lab.cable((&road.gateway, "world"), (&crowd, "world"))?;
    road.gateway.address("world", "198.51.100.1/24")?;
    crowd.address("world", "198.51.100.2/24")?;
    crowd.address("lo", &format!("{WITNESS}/32"))?;
    crowd.route("default", "198.51.100.1")?;
    road.gateway.route(&format!("{}/{}", CROWD.0, CROWD.1), "198.51.100.2")?;
    let gateway = lab.peer(&road.gateway, ours, &roadwarrior::gateway())?;
    let alice = roadwarrior::client("alice");
    let client = lab.peer_with(road.client()?, Daemon::Charon, &alice, &handshake::quick_to_repeat())?;
    let before = memory_kib(&gateway)?;

    let witness = crowd.run(|| UdpSocket::bind((WITNESS, 500)))?;
    witness.set_nonblocking(true)?;
    let flood = begin(&crowd)?;
    until(Deadline::after(Duration::from_secs(5)), "the gateway to demand a cookie", || {
        Ok((heard(&witness)?.cookies > 0).then_some(()))
    })?;

    let (begun, already) = (Instant::now(), flood.sent());
    client.initiate("net")?;
    let time = begun.elapsed();
    let rate = per_second(flood.sent() - already, time);
    ensure!(time <= PATIENCE, "the client took {time:?} to connect");
    ensure!(rate >= RATE, "the flood was one of {rate} messages a second, not of {RATE}");
    road.client()?.ping("10.9.0.1", Road::SERVER, 5)?;

    // The gateway is to stand this for as long as it takes, not only until a buffer is full.
    let (begun, already) = (Instant::now(), flood.sent());
    std::thread::sleep(AFTERWARDS);
    let rate = per_second(flood.sent() - already, begun.elapsed());
    ensure!(rate >= RATE, "the flood went down to {rate} messages a second");
    let (heard, expected) = (heard(&witness)?, flood.sent() / SHARE);
    let half_open = half_open(&gateway)?;
    let growth = memory_kib(&gateway)?.saturating_sub(before);
    let sent = flood.end()?;
    ensure!(heard.others == 0, "{} strangers were told something else than to return a cookie", heard.others);
    ensure!(heard.cookies >= expected * 9 / 10, "of {expected} strangers {} got a cookie", heard.cookies);
    ensure!(half_open <= THRESHOLD + SHARDS, "{half_open} SAs are half open");
    ensure!(growth <= GROWTH_KIB, "the gateway has grown by {growth} KiB in a flood of {sent} messages");
    road.client()?.ping("10.9.0.1", Road::SERVER, 2)?;
    Ok(())
}

fn begin(crowd: &Host) -> Result<Crowd> {
    let target = SocketAddrV4::new(Road::GATEWAY.parse()?, 500);
    let pace = Pace { rate: RATE + MARGIN, at_most: AT_MOST };
    Crowd::begin(crowd, target, pace, |number, datagram| {
        write_first_message(number, datagram);
        let source = if number % SHARE == 0 { WITNESS } else { address_in(CROWD.0, CROWD.1, number) };
        SocketAddrV4::new(source, 500)
    })
}

/// `HDR(A,0), SAi1, KEi, Ni` as strongSwan would send it: AES_GCM_16-256, PRF_HMAC_SHA2_256, Curve25519. SPI, public
/// value and nonce are those of initiator `number`.
fn write_first_message(number: u64, message: &mut Vec<u8>) {
    let begin = message.len();
    let own = |octets: usize| (number + 1).to_le_bytes().into_iter().cycle().take(octets);
    message.extend(own(8));
    // No SPI of the responder's, SA next, version 2.0, IKE_SA_INIT from the initiator, message 0, the length.
    message.extend([0; 8]);
    message.extend([33, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend([34, 0, 0, 40, 0, 0, 0, 36, 1, 1, 0, 3]);
    message.extend([3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0]);
    message.extend([3, 0, 0, 8, 2, 0, 0, 5]);
    message.extend([0, 0, 0, 8, 4, 0, 0, 31]);
    message.extend([40, 0, 0, 40, 0, 31, 0, 0]);
    message.extend(own(32));
    message.extend([0, 0, 0, 36]);
    message.extend(own(32));
    let length = u32::try_from(message.len() - begin).unwrap_or(u32::MAX).to_be_bytes();
    let place = message.iter_mut().skip(begin + 24);
    place.zip(length).for_each(|(octet, length)| *octet = length);
}

/// What the witness was told.
#[derive(Debug, Default)]
struct Heard {
    /// To return a cookie.
    cookies: u64,
    /// Anything else.
    others: u64,
}

/// What the witness was told since it was last asked.
fn heard(witness: &UdpSocket) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut answer = [0; 1500];
    loop {
        match witness.recv(&mut answer) {
            // An IKE header whose next payload is a Notify, and in that, of type COOKIE (RFC 7296 §3.10).
            Ok(36..) if answer[16] == 41 && answer[34..36] == [0x40, 0x06] => heard.cookies += 1,
            Ok(_) => heard.others += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(heard),
            Err(error) => bail!("the witness cannot listen: {error}"),
        }
    }
}

fn per_second(number: u64, time: Duration) -> u32 {
    u32::try_from(u128::from(number) * 1_000_000 / time.as_micros().max(1)).unwrap_or(u32::MAX)
}

/// `IKE_SAs: 31 total, 30 half-open`
fn half_open(peer: &Peer) -> Result<usize> {
    let stats = peer.swanctl(&["--stats"])?.success()?.stdout;
    let number = stats.lines().find_map(|line| {
        line.strip_prefix("IKE_SAs: ")?.split_once(", ")?.1.strip_suffix(" half-open")?.parse().ok()
    });
    number.with_context(|| format!("no number of half-open SAs in {stats}"))
}

/// How much of the machine's memory a daemon occupies.
pub(super) fn memory_kib(peer: &Peer) -> Result<u64> {
    let id = peer.id().context("the daemon is not running")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    size.context("the kernel does not say how large the daemon is")?.trim().parse().context("no number")
}
