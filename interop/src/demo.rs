//! `cargo demo`: a strongSwan road warrior behind a NAT crosses over to ferryd, before the reader's eyes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::janitor::Janitor;
use crate::lab::{Deadline, Host, Lab, Lifetime, only_ipsec, until};
use crate::peer::{Daemon, Peer};
use crate::scenarios::roadwarrior;
use crate::scenarios::topology::Road;
use crate::{cargo, leftovers, machine};

/// What the namespaces are called, before this process's id.
const NAME: &str = "ferry-demo";

/// What stands in every packet of the download, if it is not encrypted.
const MARKER: &[u8] = b"whoever reads this on the wire has found a bug in ferryd";

/// Size of the download.
const FILE_BYTES: usize = 100_000_000;

/// The marker stands once in every so many octets: more than once in a full TCP segment.
const BLOCK_BYTES: usize = 500;

/// How long the download may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Connects strongSwan behind a NAT to ferryd and moves traffic through the tunnel.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", disable_version_flag = true)]
pub struct Options {
    /// Leave everything running and print how to enter and how to remove it
    #[arg(long)]
    keep: bool,
    /// The gateway's daemon; charon shows the same with strongSwan at both ends
    #[arg(long, value_enum, default_value_t = Daemon::Ferryd)]
    gateway: Daemon,
    /// Tidy up after the process with this id, once it has ended (what each run starts for its own end)
    #[arg(long, hide = true, value_name = "PROCESS")]
    tidy: Option<u32>,
}

/// Runs the demonstration.
///
/// # Errors
/// When anything does not come out as it should, or the machine cannot be made ready.
pub fn run(options: &Options) -> Result<()> {
    if let Some(runner) = options.tidy {
        Janitor::wait_for_end()?;
        return leftovers::clear(&format!("{NAME}-{runner}-"));
    }
    machine::prepare("cargo demo", step)?;
    step("building ferryd");
    let ferryd = cargo::build_ferryd()?;
    let directory = cargo::target_directory()?.join("demo").join(std::process::id().to_string());
    let lifetime = if options.keep { Lifetime::Kept } else { Lifetime::Scoped };
    // What is to be kept is not tidied away either.
    let _janitor = if options.keep { None } else { Some(Janitor::hire()?) };
    let lab = Lab::new(NAME, &directory, &ferryd, lifetime)?;
    let shown = show(&lab, options.gateway);
    if options.keep {
        leave(lab);
        return shown;
    }
    match shown {
        Ok(()) => {
            step("tearing down");
            lab.close()
        }
        Err(error) => Err(error.context(format!("what was seen lies in {}", lab.describe().display()))),
    }
}

fn show(lab: &Lab, daemon: Daemon) -> Result<()> {
    step(&format!(
        "making namespaces: server - gateway ({daemon}) - NAT - road warrior ({})",
        Daemon::Charon
    ));
    let road = Road::build(lab, 1)?;
    let warrior = road.client()?;
    let gateway = lab.peer(&road.gateway, daemon, &roadwarrior::gateway())?;
    let client = lab.peer(warrior, Daemon::Charon, &roadwarrior::client("alice"))?;
    lab.record(&road.nat, "wan")?;

    step("connecting: swanctl --initiate --child net, on the road warrior");
    print(&client.initiate("net")?.stdout);
    for (who, peer) in [("the gateway", &gateway), ("the road warrior", &client)] {
        step(&format!("swanctl --list-sas on {who} ({})", peer.daemon()));
        print(&peer.swanctl(&["--list-sas"])?.success()?.stdout);
    }
    let address = address(&client)?;
    step(&format!("10 pings each way between {address} and {}", Road::SERVER));
    summary(&warrior.ping(&address, Road::SERVER, 10)?.stdout);
    summary(&road.server.ping(Road::SERVER, &address, 10)?.stdout);

    download(&road.server, warrior)?;

    step("looking at all that passed between the gateway and the NAT");
    let seen = only_ipsec(&lab.recorded(&road.nat, "wan")?, Road::ends()?, MARKER)?;
    print(&seen.to_string());
    let whole = u64::try_from(FILE_BYTES)?;
    ensure!(seen.esp_bytes > whole, "the download is not among what passed there");
    print("no packet in the clear, and the download's plaintext in none of them");
    Ok(())
}

/// Fetches a file from a web server behind the gateway and compares its checksum.
fn download(server: &Rc<Host>, warrior: &Rc<Host>) -> Result<()> {
    step("downloading 100 MB through the tunnel");
    let (offered, fetched) = (server.directory().join("www/file"), warrior.directory().join("file"));
    write_file(&offered)?;
    serve(server, &offered)?;
    let url = format!("http://{}:8000/file", Road::SERVER);
    let target = fetched.to_string_lossy().into_owned();
    let begun = Instant::now();
    let fetch = ["curl", "--silent", "--show-error", "--fail", "--output", &target, &url];
    warrior.output_within(&fetch, PATIENCE)?.success()?;
    let time = begun.elapsed().as_secs_f64();
    let [sent, received] = [checksum(server, &offered)?, checksum(warrior, &fetched)?];
    ensure!(sent == received, "the file arrived damaged: SHA-256 {sent} became {received}");
    print(&format!("{:.1} s, SHA-256 at both ends {sent}", time));
    Ok(())
}

/// Starts a web server for the directory of `file` and waits until it answers.
fn serve(server: &Rc<Host>, file: &Path) -> Result<()> {
    let directory = file.parent().context("a file lies in a directory")?;
    let mut command = Command::new("python3");
    command.args(["-m", "http.server", "8000", "--directory"]).arg(directory);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    server.keep(server.spawn(command)?);
    let url = "http://127.0.0.1:8000/";
    until(Deadline::after(Duration::from_secs(20)), "the web server", || {
        let answer = server.output(&["curl", "--silent", "--fail", "--output", "/dev/null", url])?;
        Ok(answer.status.success().then_some(()))
    })
}

/// A file that does not compress, with the marker all over it.
fn write_file(path: &PathBuf) -> Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut file = BufWriter::new(File::create(path)?);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..FILE_BYTES / BLOCK_BYTES {
        file.write_all(MARKER)?;
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        while block.len() < BLOCK_BYTES - MARKER.len() {
            // xorshift64: any stream without repetitions will do.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend(state.to_le_bytes());
        }
        block.truncate(BLOCK_BYTES - MARKER.len());
        file.write_all(&block)?;
    }
    file.flush()?;
    Ok(())
}

fn checksum(host: &Host, path: &Path) -> Result<String> {
    let path = path.to_string_lossy();
    let output = host.succeed(&["sha256sum", &path])?;
    output.stdout.split_whitespace().next().map(str::to_owned).context("sha256sum printed nothing")
}

fn address(client: &Peer) -> Result<String> {
    client.sa()?.local.virtual_ips.first().cloned().context("the road warrior was given no address")
}

/// Leaves the lab standing and says how to enter and how to remove it.
fn leave(lab: Lab) {
    let directory = lab.directory().to_owned();
    let left = lab.leave();
    step("everything is left running; to enter a machine:");
    for (host, daemon) in &left {
        match daemon {
            Some(id) => print(&format!("nsenter --target {id} --mount --net    # {}", host.role())),
            None => print(&format!("ip netns exec {}    # {}", host.namespace(), host.role())),
        }
    }
    step("and to remove it all:");
    let names: Vec<&str> = left.iter().map(|(host, _)| host.namespace()).collect();
    print(&format!(
        "for n in {}; do ip netns pids $n | xargs -r kill; ip netns delete $n; done; rm -r {}",
        names.join(" "),
        directory.display()
    ));
}

fn step(what: &str) {
    println!("\n== {what}");
}

fn print(text: &str) {
    text.lines().for_each(|line| println!("   {line}"));
}

/// The end of what ping prints.
fn summary(ping: &str) {
    ping.lines()
        .filter(|line| line.contains("packets transmitted") || line.starts_with("rtt"))
        .for_each(print);
}
