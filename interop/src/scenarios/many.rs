//! A gateway with thousands of IKE SAs: what they take, and who waits for whom when they are listed.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use ferry_benches::load::{Load, Pace, Plan, Report};
use ferry_vici::{Frames, Message, Packet};

use super::flood::memory_kib;
use crate::lab::Lab;
use crate::peer::{Connection, Daemon, Section, Settings, SwanctlConf, child, end};

/// IKE SAs, each with a CHILD_SA and a virtual IP.
const STANDING: usize = 5000;

/// Clients that list them at the same time, and how long the slowest may wait.
const LISTING: usize = 20;
const PATIENCE: Duration = Duration::from_secs(1);

/// Further clients that come meanwhile, one every so often.
const NEWCOMERS: usize = 40;
const NEWCOMERS_PER_SECOND: f64 = 80.0;

/// From so many addresses, so that nobody is taken for an attacker: of each, and of all together, only so many are about to
/// connect at a time.
const ADDRESSES: u8 = 8;
const CROWD: Pace = Pace { at_once: 24, per_second: None };

const SECRET: &str = "five thousand share this";
const NETWORK: &str = "10.1.0.0/16";
const SOCKET: &str = "/run/charon.vici";

/// Five thousand clients connect over loopback; they are listed twenty times at once while more of them come.
pub(super) fn listed(lab: &Lab, ours: Daemon) -> Result<()> {
    let host = lab.host("gateway")?;
    host.address("lo", "10.1.0.1/16")?;
    // A line in the log for each message of each client is no part of what is measured.
    let quiet = Settings::new().set("charon.filelog.lab.default", 0);
    let gateway = lab.peer_with(&host, ours, &conf(), &quiet)?;
    let before = memory_kib(&gateway)?;
    let plan = Plan {
        from: (1..=ADDRESSES).map(|number| [127, 0, 1, number].into()).collect(),
        secret: SECRET.to_owned(),
        network: NETWORK.to_owned(),
        ..Plan::default()
    };
    let mut load = host.run(move || Load::new(plan))?;
    let report = load.connect(STANDING, CROWD, Duration::from_secs(90))?;
    all_connected(&report, STANDING)?;
    let each = f64::from(u32::try_from(memory_kib(&gateway)?.saturating_sub(before))?) / 5000.0;
    let rate = f64::from(u32::try_from(STANDING)?) / report.took.as_secs_f64();
    println!(
        "measured: {rate:.0} clients a second; {each:.1} KiB for each IKE_SA with its CHILD_SA and lease"
    );

    let start = Arc::new(Barrier::new(LISTING + 1));
    let mut listing = Vec::new();
    for _ in 0..LISTING {
        let stream = host.run(|| UnixStream::connect(SOCKET))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let start = Arc::clone(&start);
        listing.push(std::thread::spawn(move || list(stream, &start)));
    }
    start.wait();
    let pace = Pace { at_once: 4, per_second: Some(NEWCOMERS_PER_SECOND) };
    let newcomers = load.connect(NEWCOMERS, pace, Duration::from_secs(20))?;
    let mut slowest = Duration::ZERO;
    for thread in listing {
        let (listed, took) = thread.join().map_err(|_| anyhow!("a client panicked"))??;
        ensure!(listed >= STANDING, "only {listed} IKE SAs are listed");
        slowest = slowest.max(took);
    }
    println!(
        "measured: the slowest of {LISTING} listings of {STANDING} IKE_SAs took {slowest:.2?}, the slowest of {NEWCOMERS} \
         clients meanwhile {:.2?}, with {} retransmissions",
        newcomers.slowest, newcomers.retransmits
    );
    ensure!(slowest <= PATIENCE, "the slowest listing took {slowest:?}");
    all_connected(&newcomers, NEWCOMERS)?;
    ensure!(newcomers.retransmits == 0, "{} requests were sent again", newcomers.retransmits);
    // Its clients do not answer any more, and five thousand times that need not be waited for.
    gateway.kill()
}

fn all_connected(report: &Report, number: usize) -> Result<()> {
    let why = report.failed.first();
    ensure!(report.established == number, "{} of {number} have connected: {why:?}", report.established);
    Ok(())
}

fn conf() -> SwanctlConf {
    let connection = Connection::between_ends(end("psk", "gw.test"), Section::new().set("auth", "psk"))
        .set("local_addrs", "127.0.0.1")
        .set("proposals", "aes128gcm16-prfsha256-x25519")
        .set("pools", "many")
        .child("net", child(NETWORK, "dynamic").set("esp_proposals", "aes128gcm16"));
    SwanctlConf::new()
        .connection("many", connection)
        .secret("all", SECRET, &[])
        .pool("many", Section::new().set("addrs", "10.64.0.0/16"))
}

/// Lists all IKE SAs as soon as everybody does: how many there are, and how long it took until the last was there. They are
/// not looked at: what that takes is not the gateway's.
fn list(mut stream: UnixStream, start: &Barrier) -> Result<(usize, Duration)> {
    stream.write_all(&Packet::EventRegister { name: "list-sa" }.encode()?)?;
    let request = Packet::CommandRequest { name: "list-sas", body: &Message::new().encode()? }.encode()?;
    let (mut frames, mut buffer, mut listed) = (Frames::new(), vec![0; 1 << 16], 0);
    let mut begun = None;
    loop {
        while let Some(frame) = frames.take()? {
            match (Packet::decode(&frame)?, begun) {
                (Packet::EventConfirm, None) => {
                    start.wait();
                    begun = Some(Instant::now());
                    stream.write_all(&request)?;
                }
                (Packet::Event { .. }, _) => listed += 1,
                (Packet::CommandResponse { .. }, Some(begun)) => return Ok((listed, begun.elapsed())),
                _ => bail!("the gateway answers something else"),
            }
        }
        let octets = stream.read(&mut buffer).context("a listing came to no end")?;
        ensure!(octets > 0, "the gateway closed the connection");
        frames.feed(buffer.get(..octets).unwrap_or_default());
    }
}
