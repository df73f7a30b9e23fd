//! `cargo tunnels`: how fast packets pass through userspace data planes, side by side.
//!
//! Each contestant has two namespaces joined by a cable, a daemon in each and one CHILD_SA with AES-GCM between them. They
//! take turns, round by round, so that what else the machine does hits all of them; medians are told. All ends share the
//! machine's processors: read ratios, not absolutes.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;

use crate::janitor::Janitor;
use crate::lab::{Host, Lab, Lifetime};
use crate::peer::{Connection, Daemon, Peer, Settings, SwanctlConf, child};
use crate::{cargo, leftovers, machine};

/// What the namespaces are called, before this process's id.
const NAME: &str = "ferry-tunnels";

const OUTER: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const INNER: [&str; 2] = ["10.1.0.1", "10.2.0.1"];
const NETWORKS: [&str; 2] = ["10.1.0.0/24", "10.2.0.0/24"];

/// Datagrams under way at a time in the closed loop, and the octets of each.
const WINDOW: usize = 32;
const SIZE: usize = 64;

/// Octets that are written at a time.
const CHUNK: usize = 128 << 10;

/// charon's plugins in Debian's order of ciphers: processor instructions first.
const CHARON_LOAD: &str = "random nonce aesni aes sha1 sha2 hmac kdf gcm openssl curve25519 pem pkcs1 x509 \
                           kernel-libipsec kernel-netlink socket-default vici updown";

/// Measures tunnels through userspace data planes, one contestant beside the other.
#[derive(Debug, Parser)]
#[command(name = "cargo tunnels", disable_version_flag = true)]
pub struct Options {
    /// How often each contestant has its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: u8,
    /// How many seconds each measurement takes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=60))]
    seconds: u8,
    /// Tidy up after the process with this id, once it has ended (what each run starts for its own end)
    #[arg(long, hide = true, value_name = "PROCESS")]
    tidy: Option<u32>,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contestant {
    /// ferryd.
    Ferryd,
    /// ferryd, one packet at a time.
    WithoutOffload,
    /// strongSwan's kernel-libipsec.
    Libipsec,
}

impl Contestant {
    const ALL: [Self; 3] = [Self::Ferryd, Self::WithoutOffload, Self::Libipsec];

    fn daemon(self) -> Daemon {
        if self == Self::Libipsec { Daemon::Charon } else { Daemon::Ferryd }
    }

    fn settings(self) -> Settings {
        let quiet = Settings::new().set("charon.filelog.lab.default", 0);
        match self {
            Self::Ferryd => quiet,
            Self::WithoutOffload => quiet.set("ferryd.offload", "no"),
            Self::Libipsec => quiet.set("charon-systemd.load", CHARON_LOAD),
        }
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ferryd => "ferryd",
            Self::WithoutOffload => "ferryd, offload = no",
            Self::Libipsec => "strongSwan, kernel-libipsec",
        })
    }
}

/// What is measured, in the order of the table.
const COLUMNS: [&str; 7] = [
    "TCP, Gbit/s",
    "CPU s/GB",
    "4 streams, Gbit/s",
    "CPU s/GB",
    "64 octets, kpackets/s",
    "CPU µs/packet",
    "round trip, µs",
];

/// Runs what `options` ask for and prints a table.
///
/// # Errors
/// When the machine cannot be made ready, or a tunnel does not come up or breaks.
pub fn run(options: &Options) -> Result<()> {
    if let Some(runner) = options.tidy {
        Janitor::wait_for_end()?;
        return leftovers::clear(&format!("{NAME}-{runner}-"));
    }
    machine::prepare("cargo tunnels", |what| println!("{what}"))?;
    let ferryd = cargo::build_ferryd()?;
    let _janitor = Janitor::hire()?;
    let time = Duration::from_secs(options.seconds.into());
    let mut figures: [Vec<[f64; COLUMNS.len()]>; Contestant::ALL.len()] = Default::default();
    for round in 1..=options.rounds {
        for (contestant, all) in Contestant::ALL.into_iter().zip(&mut figures) {
            let directory = cargo::target_directory()?.join("tunnels").join(std::process::id().to_string());
            let lab = Lab::new(NAME, &directory, &ferryd, Lifetime::Scoped)?;
            let measured = measure(&lab, contestant, time).with_context(|| contestant.to_string())?;
            lab.close()?;
            println!("round {round}, {contestant}: {}", line(&measured));
            all.push(measured);
        }
    }
    println!("\n| median of {} | {} |", options.rounds, COLUMNS.join(" | "));
    println!("|---|{}", "---|".repeat(COLUMNS.len()));
    for (contestant, all) in Contestant::ALL.into_iter().zip(&figures) {
        println!("| {contestant} | {} |", line(&medians(all)).replace(", ", " | "));
    }
    Ok(())
}

fn line(figures: &[f64]) -> String {
    figures.iter().map(|figure| format!("{figure:.2}")).collect::<Vec<_>>().join(", ")
}

fn medians(all: &[[f64; COLUMNS.len()]]) -> [f64; COLUMNS.len()] {
    std::array::from_fn(|column| {
        let mut figures: Vec<f64> = all.iter().filter_map(|row| row.get(column).copied()).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    })
}

/// Builds a tunnel and measures it.
fn measure(lab: &Lab, contestant: Contestant, time: Duration) -> Result<[f64; COLUMNS.len()]> {
    let hosts = [lab.host("left")?, lab.host("right")?];
    let [left, right] = &hosts;
    lab.cable((left, "wan"), (right, "wan"))?;
    for (index, host) in hosts.iter().enumerate() {
        let of = |of: &[&'static str; 2]| of.get(index).copied().unwrap_or_default();
        host.address("wan", &format!("{}/24", of(&OUTER)))?;
        host.address("lo", &format!("{}/24", of(&INNER)))?;
    }
    left.route("default", OUTER[1])?;
    right.route("default", OUTER[0])?;
    let conf = |near: usize, far: usize| -> Result<SwanctlConf> {
        let at = |of: &[&'static str; 2], index: usize| of.get(index).copied().context("one of two");
        let net = child(at(&NETWORKS, near)?, at(&NETWORKS, far)?).set("esp_proposals", "aes128gcm16");
        let connection = Connection::psk(at(&INNER, near)?, at(&INNER, far)?)
            .between(at(&OUTER, near)?, at(&OUTER, far)?)
            .set("encap", "yes")
            .child("net", net);
        Ok(SwanctlConf::new().connection("site", connection).secret("site", "a secret of two", &INNER))
    };
    let (daemon, settings) = (contestant.daemon(), contestant.settings());
    let near = lab.peer_with(left, daemon, &conf(0, 1)?, &settings)?;
    let far = lab.peer_with(right, daemon, &conf(1, 0)?, &settings)?;
    near.initiate("net")?;
    let peers = [near, far];

    let target: IpAddr = INNER[1].parse()?;
    let [one, one_cost] = tcp(&hosts, &peers, target, 1, time)?;
    let [four, four_cost] = tcp(&hosts, &peers, target, 4, time)?;
    let (trips, packets_cost) = echoes(&hosts, &peers, target, WINDOW, time)?;
    let rate = trips.rate / 1e3;
    let (mut alone, _) = echoes(&hosts, &peers, target, 1, time)?;
    alone.times.sort();
    let median = alone.times.get(alone.times.len() / 2).context("no echo came")?;
    Ok([one, one_cost, four, four_cost, rate, packets_cost, median.as_secs_f64() * 1e6])
}

/// Sends as much as goes through `streams` connections for some time. Gives Gbit/s, and seconds of the daemons' processor
/// time for each GB.
fn tcp(
    [left, right]: &[Rc<Host>; 2],
    peers: &[Rc<Peer>; 2],
    target: IpAddr,
    streams: usize,
    time: Duration,
) -> Result<[f64; 2]> {
    let listener = right.run(move || TcpListener::bind((target, 0)))?;
    let address = listener.local_addr()?;
    let received = Arc::new(AtomicU64::new(0));
    let (mut readers, mut writers): (Vec<JoinHandle<_>>, Vec<JoinHandle<_>>) = Default::default();
    let is_over = Arc::new(AtomicBool::new(false));
    for _ in 0..streams {
        let outgoing = left.run(move || TcpStream::connect_timeout(&address, Duration::from_secs(10)))?;
        let (incoming, _) = listener.accept()?;
        let (received, over) = (Arc::clone(&received), Arc::clone(&is_over));
        readers.push(std::thread::spawn(move || read_all(incoming, &received)));
        writers.push(std::thread::spawn(move || write_until(outgoing, &over)));
    }
    // The first moment, in which windows open, does not count.
    std::thread::sleep(Duration::from_millis(300));
    let (octets, spent, begun) = (received.load(Ordering::Relaxed), processor_time(peers)?, Instant::now());
    std::thread::sleep(time);
    let took = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for a table")]
    let octets = (received.load(Ordering::Relaxed) - octets) as f64;
    let spent = processor_time(peers)?.saturating_sub(spent).as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    for thread in writers.into_iter().chain(readers) {
        thread.join().map_err(|_| anyhow!("an end panicked"))?.context("TCP through the tunnel")?;
    }
    ensure!(octets > 0.0, "nothing came through");
    Ok([octets * 8.0 / took / 1e9, spent / (octets / 1e9)])
}

fn read_all(mut stream: TcpStream, received: &AtomicU64) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            len => received.fetch_add(len as u64, Ordering::Relaxed),
        };
    }
}

fn write_until(mut stream: TcpStream, is_over: &AtomicBool) -> std::io::Result<()> {
    let buffer = vec![0x5a; CHUNK];
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(&buffer)?;
    }
    Ok(())
}

/// What came of datagrams that were sent back.
struct Trips {
    /// Round trips per second.
    rate: f64,
    times: Vec<Duration>,
}

/// Has datagrams sent back for some time, `window` at a time. Gives what came of it, and microseconds of the daemons'
/// processor time for each packet, of which a round trip has two.
fn echoes(
    [left, right]: &[Rc<Host>; 2],
    peers: &[Rc<Peer>; 2],
    target: IpAddr,
    window: usize,
    time: Duration,
) -> Result<(Trips, f64)> {
    let mirror = right.run(move || UdpSocket::bind((target, 0)))?;
    let socket = left.run(|| UdpSocket::bind((INNER[0], 0)))?;
    socket.connect(mirror.local_addr()?)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    mirror.set_read_timeout(Some(Duration::from_millis(200)))?;
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let echo = std::thread::spawn(move || -> std::io::Result<()> {
        let mut buffer = [0; SIZE];
        while !over.load(Ordering::Relaxed) {
            match mirror.recv_from(&mut buffer) {
                Ok((len, from)) => mirror.send_to(buffer.get(..len).unwrap_or_default(), from).map(drop)?,
                Err(error) if is_late(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    });
    let mut buffer = [0; SIZE];
    let (spent, begun) = (processor_time(peers)?, Instant::now());
    let mut times = Vec::with_capacity(1 << 20);
    let mut sent = Instant::now();
    (0..window).try_for_each(|_| socket.send(&buffer).map(drop))?;
    while begun.elapsed() < time {
        match socket.recv(&mut buffer) {
            Ok(_) => times.push(sent.elapsed()),
            // Some were lost: the window is opened again.
            Err(error) if is_late(&error) => (1..window).try_for_each(|_| socket.send(&buffer).map(drop))?,
            Err(error) => return Err(error.into()),
        }
        sent = Instant::now();
        socket.send(&buffer)?;
    }
    let took = begun.elapsed().as_secs_f64();
    let spent = processor_time(peers)?.saturating_sub(spent).as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    echo.join().map_err(|_| anyhow!("the echo panicked"))??;
    let count = f64::from(u32::try_from(times.len())?);
    Ok((Trips { rate: count / took, times }, spent * 1e6 / (2.0 * count)))
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What both daemons have taken of the processors so far.
fn processor_time(peers: &[Rc<Peer>; 2]) -> Result<Duration> {
    /// The kernel's clock for this, in Hz (`USER_HZ`, the same on all of Linux's machines).
    const TICKS: u64 = 100;
    peers.iter().try_fold(Duration::ZERO, |all, peer| {
        let id = peer.id().context("a daemon is not running")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name may hold anything; behind its bracket, the 12th and 13th are user and system time.
        let (_, fields) = stat.rsplit_once(')').context("the kernel does not say what a daemon takes")?;
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = times.map(|field| field.parse::<u64>().unwrap_or(0)).sum();
        Ok(all + Duration::from_millis(ticks * 1000 / TICKS))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_of_its_column() {
        let row = |first| [first, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let medians = medians(&[row(3.0), row(1.0), row(2.0)]);
        assert!((medians[0] - 2.0).abs() < f64::EPSILON && (medians[1] - 9.0).abs() < f64::EPSILON);
    }
}
