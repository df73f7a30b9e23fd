//! What ferryd tells an operator: metrics, what is wrong with a configuration, and logs that may be slow.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

use super::ferryctl::ferryctl;
use super::roadwarrior;
use super::topology::Road;
use crate::lab::{Host, Lab};
use crate::peer::{Daemon, Settings};

/// Where the gateway tells metrics, to itself alone.
const METRICS: &str = "127.0.0.1:9500";

/// Metrics tell of clients that come, of those that come to nothing and why, and of what is carried.
pub(super) fn metrics(lab: &Lab) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let settings = Settings::new().set("ferryd.metrics.listen", format!("tcp://{METRICS}"));
    let gateway = lab.peer_with(&road.gateway, Daemon::Ferryd, &roadwarrior::gateway(), &settings)?;
    let client = lab.peer(road.client()?, Daemon::Charon, &roadwarrior::client("alice"))?;
    expect(
        &road.gateway,
        &[
            r#"ferry_ike_sas{state="ESTABLISHED"} 0"#,
            r#"ferry_handshakes_total{outcome="established"} 0"#,
            r#"ferry_pool_addresses{pool="road",state="free"} 254"#,
        ],
    )?;

    let wrong = roadwarrior::client("alice").to_string().replace(roadwarrior::SECRET, "wrong");
    client.load_text(&wrong)?.success()?;
    ensure!(client.try_initiate("net")?.code() != 0, "a wrong key was believed");
    client.load(&roadwarrior::client("alice"))?;
    client.initiate("net")?;
    let address = client.sa()?.local.virtual_ips.first().context("no virtual address")?.clone();
    road.client()?.ping(&address, Road::SERVER, 3)?;
    expect(
        &road.gateway,
        &[
            r#"ferry_ike_sas{state="ESTABLISHED"} 1"#,
            r#"ferry_child_sas{state="INSTALLED"} 1"#,
            r#"ferry_handshakes_total{outcome="established"} 1"#,
            r#"ferry_handshakes_total{outcome="unauthenticated"} 1"#,
            r#"ferry_child_packets{connection="road",child="net",direction="in"} 3"#,
            r#"ferry_child_packets{connection="road",child="net",direction="out"} 3"#,
            r#"ferry_pool_addresses{pool="road",state="online"} 1"#,
        ],
    )?;
    ensure!(gateway.is_running()?, "the gateway has ended");
    Ok(())
}

/// `ferryctl check` finds nothing in a configuration that works, and names file, line and remedy in one that does not.
pub(super) fn check(lab: &Lab) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway = lab.peer(&road.gateway, Daemon::Ferryd, &roadwarrior::gateway())?;
    let file = gateway.host().directory().join("swanctl/swanctl.conf");
    let program = lab.ferryd().with_file_name("ferryctl");
    let [program, path] = [&program, &file].map(|path| path.to_string_lossy().into_owned());
    let look = |path: &str| gateway.host().output(&[&program, "check", "--file", path]);

    let said = look(&path)?.success()?;
    ensure!(said.stdout.contains("nothing is wrong") || said.stdout.contains(": 0 errors, "), "{said}");

    let broken = file.with_file_name("broken.conf");
    fs::write(&broken, fs::read_to_string(&file)?.replace("pools = road", "pools = raod"))?;
    let said = look(&broken.to_string_lossy())?;
    ensure!(said.code() == 22, "another exit code than that of --load-all: {said}");
    for words in ["broken.conf:", "there is no pool 'raod'", "Write 'road'."] {
        ensure!(said.stdout.contains(words), "no {words:?} in {said}");
    }
    Ok(())
}

/// Clients that come to nothing one after the other, or to no CHILD_SA, and what `ferryctl explain` tells of each.
pub(super) fn explain(lab: &Lab) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway = lab.peer(&road.gateway, Daemon::Ferryd, &roadwarrior::gateway())?;
    let client = lab.peer(road.client()?, Daemon::Charon, &roadwarrior::client("alice"))?;
    let right = roadwarrior::client("alice").to_string();
    let proposal = "    remote_addrs = ";
    let cases = [
        (
            right.replace(roadwarrior::SECRET, "wrong"),
            "alice",
            "Compare secrets, certificates and authorities of 'alice' and connections.road as the reason says.",
        ),
        (
            right.replace("gw.test", "other.test"),
            "road",
            "Set the local id of connections.road to 'other.test', or what the peer expects to 'gw.test'.",
        ),
        (
            right.replacen(proposal, &format!("    proposals = aes128-sha256-modp1024\n{proposal}"), 1),
            Road::OUTSIDE,
            "Add a proposal with MODP_1024 to connections.road.proposals",
        ),
        (
            right.replace(Road::LAN, "10.77.0.0/16"),
            "alice",
            "Let local_ts of connections.road.children.net hold some of 10.77.0.0/16, or the peer's remote_ts some of \
             10.1.0.0/24.",
        ),
        (
            right.replace("remote_ts", "esp_proposals = 3des-sha1\n        remote_ts"),
            "road",
            "Add a proposal with 3DES_CBC to connections.road.children.net.esp_proposals",
        ),
    ];
    for (conf, whom, remedy) in cases {
        client.load_text(&conf)?.success()?;
        let refused = client.try_initiate("net")?;
        ensure!(refused.code() != 0, "{whom} was let in: {conf}");
        let said = ferryctl(&gateway, lab, &["explain", whom])?.success()?;
        let newest = said.stdout.split("to do: ").nth(1).and_then(|rest| rest.lines().next());
        ensure!(newest.is_some_and(|told| told.starts_with(remedy)), "not {remedy:?} for {whom}: {said}");
    }
    let said = ferryctl(&gateway, lab, &["explain", "nobody"])?.success()?;
    ensure!(said.stdout.starts_with("no attempt of 'nobody'"), "{said}");
    Ok(())
}

/// A gateway's log goes to a pipe that is full and that nobody reads. Clients come and go all the same, and whoever reads
/// it after all finds what was to be said.
pub(super) fn unread_log(lab: &Lab) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let path = road.gateway.directory().join("pipe");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)?;
    // Whoever reads and writes need not wait for another end.
    let open = |flags: OFlags| {
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)
    };
    let kept = open(OFlags::empty())?;
    let mut filled = open(OFlags::NONBLOCK)?;
    let full = io::copy(&mut io::repeat(b'\n'), &mut filled).err().context("a pipe without an end")?;
    ensure!(full.kind() == io::ErrorKind::WouldBlock, "the pipe cannot be filled: {full}");
    let settings = Settings::new()
        .set("charon.filelog.unread.path", path.display())
        .set("charon.filelog.unread.flush_line", "yes");
    let gateway = lab.peer_with(&road.gateway, Daemon::Ferryd, &roadwarrior::gateway(), &settings)?;
    let client = lab.peer(road.client()?, Daemon::Charon, &roadwarrior::client("alice"))?;
    client.initiate("net")?;
    let address = client.sa()?.local.virtual_ips.first().context("no virtual address")?.clone();
    road.client()?.ping(&address, Road::SERVER, 3)?;
    gateway.swanctl(&["--reload-settings"])?.success()?;
    client.terminate("home")?;

    let said = BufReader::new(kept).lines().map_while(Result::ok).find(|line| line.contains("established"));
    ensure!(said.is_some_and(|line| line.contains("IKE_SA road[1]")), "the log does not tell of the client");
    Ok(())
}

/// Waits for nothing: what has happened is told from then on.
fn expect(gateway: &Host, lines: &[&str]) -> Result<()> {
    let told = gateway.run(scrape)?;
    for line in lines {
        ensure!(told.lines().any(|other| other == *line), "no {line} in\n{told}");
    }
    Ok(())
}

fn scrape() -> Result<String> {
    let mut stream = TcpStream::connect(METRICS)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(answer)
}
