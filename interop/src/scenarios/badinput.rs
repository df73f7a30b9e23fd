//! Input nobody should give, from the network, the operator and the machine.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::roadwarrior;
use super::topology::Road;
use crate::lab::{Deadline, Host, Lab, Output, until};
use crate::peer::{Connection, Daemon, IkeSa, Peer, SwanctlConf, child};

const PATIENCE: Duration = Duration::from_secs(20);

/// How many datagrams of each kind are thrown at each port.
const DATAGRAMS: usize = 400;

/// So many datagrams may cost a handful of lines, because lines are limited by time, not by datagrams.
const LINES: usize = 20;

/// Garbage on both ports, some of it made up to look like what an established SA expects. (charon 5.9.8 gives up an
/// established SA over a request that bears its SPIs and the next message ID and cannot be decrypted.)
pub(super) fn garbage(lab: &Lab) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway = lab.peer(&road.gateway, Daemon::Ferryd, &roadwarrior::gateway())?;
    let client = lab.peer(road.client()?, Daemon::Charon, &roadwarrior::client("alice"))?;
    client.initiate("net")?;
    let before = gateway.sa()?;
    let mark = gateway.log().mark();
    let invalid = invalid_messages(&gateway)?;

    throw(&road.nat, &before)?;
    until(Deadline::after(PATIENCE), "garbage to be counted", || {
        Ok((invalid_messages(&gateway)? > invalid).then_some(()))
    })?;
    let after = gateway.sa()?;
    ensure!(
        after.spis == before.spis && after.remote == before.remote && after.children.len() == 1,
        "garbage changed the SA: {before:?} {after:?}"
    );
    road.client()?.ping("10.9.0.1", Road::SERVER, 2)?;
    let said = gateway.log().since(mark);
    ensure!(said.lines().count() <= LINES, "garbage fills the log:\n{said}");
    ensure!(!said.contains("panicked"), "{said}");
    client.terminate("home")?;
    client.initiate("net")?;
    road.client()?.ping("10.9.0.1", Road::SERVER, 2)?;
    Ok(())
}

/// A file `ferryctl` cannot use: it says where and what, and the running configuration stays.
pub(super) fn unusable_configuration(lab: &Lab) -> Result<()> {
    let host = lab.host("gateway")?;
    let sound = SwanctlConf::new()
        .connection(
            "sound",
            Connection::psk("gw.test", "pc.test").child("net", child("10.1.0.0/16", "dynamic")),
        )
        .secret("sound", "kept", &[]);
    let peer = lab.peer(&host, Daemon::Ferryd, &sound)?;
    let before = peer.swanctl(&["--list-conns"])?.success()?.stdout;
    ensure!(before.contains("sound: IKEv2"), "{before}");

    for (text, words) in [
        // Where the text itself is broken there is a line to name ...
        ("connections {\n  sound {\n    version 2\n  }\n}\n", vec!["swanctl.conf:3:"]),
        ("connections {\n  sound {\n    version = 2\n", vec!["swanctl.conf:2:", "not closed"]),
        // ... and where a value is, its place in the tree.
        (
            "connections {\n  sound {\n    proposals = aes128-rot13\n  }\n}\n",
            vec!["sound.proposals", "rot13"],
        ),
        ("connections {\n  sound {\n    dpd_delay = soon\n  }\n}\n", vec!["sound.dpd_delay", "soon"]),
        ("connections {\n  sound {\n    colour = red\n  }\n}\n", vec!["sound.colour"]),
        (
            "connections {\n  sound {\n    children {\n      net {\n        local_ts = 10.1.0.0/99\n      }\n    }\n  }\n}\n",
            vec!["sound.children.net.local_ts", "10.1.0.0/99"],
        ),
        ("pools {\n  road {\n    addrs = nowhere\n  }\n}\n", vec!["road.addrs", "nowhere"]),
    ] {
        let output = load(&peer, lab, text)?;
        ensure!(output.code() != 0, "ferryctl takes this for good:\n{text}\n{output}");
        let said = output.stderr.as_str();
        ensure!(words.iter().all(|word| said.contains(word)), "no word of {words:?} for:\n{text}\n{output}");
        let now = peer.swanctl(&["--list-conns"])?.success()?.stdout;
        ensure!(now == before, "{output}\nchanged the running configuration:\n{before}\n{now}");
    }
    // And the sound file is taken again, by ferryctl as by swanctl.
    load(&peer, lab, &sound.to_string())?.success()?;
    Ok(())
}

/// Another program has IKE's port.
pub(super) fn occupied_port(lab: &Lab) -> Result<()> {
    for port in [500, 4500] {
        let host = lab.host(&format!("port{port}"))?;
        let _occupied = host.run(move || UdpSocket::bind(("0.0.0.0", port)))?;
        refuses_to_start(lab, &host, &[], &[&format!("port {port} "), "occupied"])?;
    }
    Ok(())
}

/// There is no TUN device to receive decrypted packets.
pub(super) fn missing_tun(lab: &Lab) -> Result<()> {
    let host = lab.host("gateway")?;
    host.hide("/dev/net")?;
    refuses_to_start(lab, &host, &[], &["/dev/net/tun"])
}

/// Root in name only.
pub(super) fn missing_privilege(lab: &Lab) -> Result<()> {
    let host = lab.host("gateway")?;
    let bare = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"];
    refuses_to_start(lab, &host, &bare, &["not permitted"])
}

/// Wants ferryd, started through the command `by`, to end with an error and one sentence with `words` in it.
fn refuses_to_start(lab: &Lab, host: &Host, by: &[&str], words: &[&str]) -> Result<()> {
    let settings = host.directory().join("strongswan.conf");
    fs::write(&settings, "charon {\n  filelog {\n    stderr {\n      default = -1\n    }\n  }\n}\n")?;
    let ferryd = lab.ferryd();
    let mut command = match by.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(ferryd);
            command
        }
        None => Command::new(ferryd),
    };
    command.env("STRONGSWAN_CONF", &settings);
    let output = host.capture(command, PATIENCE)?;
    let sentence = output.stderr.trim();
    ensure!(output.status.code().is_some_and(|code| code != 0), "this is no orderly refusal: {output}");
    ensure!(sentence.lines().count() == 1, "not one sentence: {output}");
    ensure!(words.iter().all(|word| sentence.contains(word)), "no word of {words:?}: {output}");
    Ok(())
}

/// Loads `text` with `ferryctl`, whatever comes of it.
fn load(peer: &Peer, lab: &Lab, text: &str) -> Result<Output> {
    fs::write(peer.host().directory().join("swanctl/swanctl.conf"), text)?;
    let ferryctl = lab.ferryd().with_file_name("ferryctl");
    let ferryctl = ferryctl.to_str().context("the target directory's name is not UTF-8")?;
    peer.host().output(&[ferryctl, "--load-all", "--noprompt"])
}

/// What the daemon has counted as unusable so far.
fn invalid_messages(peer: &Peer) -> Result<u64> {
    let output = peer.swanctl(&["--counters"])?.success()?;
    let mut sum = 0;
    for line in output.stdout.lines() {
        if let Some((name, number)) = line.split_once(':')
            && ["invalid", "invalid-spi"].contains(&name.trim())
        {
            sum += number.trim().parse::<u64>().with_context(|| format!("not a counter: {line:?}"))?;
        }
    }
    Ok(sum)
}

/// Sends all kinds of nonsense from `host` to the gateway, knowing what a bystander can know of `sa`.
fn throw(host: &Host, sa: &IkeSa) -> Result<()> {
    let [initiator, responder] = &sa.spis;
    let spis = [octets(initiator)?, octets(responder)?].concat();
    let esp: Vec<Vec<u8>> =
        sa.children.iter().map(|child| octets(&child.inbound.spi)).collect::<Result<_>>()?;
    let esp = esp.into_iter().next().context("the SA has no child")?;
    host.run(move || {
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        for round in 0..DATAGRAMS {
            let length = round * 3 % 1200;
            let random = noise.octets(length);
            // IKE_SA_INIT and INFORMATIONAL headers with a length of our choosing and nonsense behind them.
            let unknown = [&noise.octets(8)[..], &[0; 8], &header(34, 28 + length), &random].concat();
            let known = [&spis[..], &header(37, 28 + length), &random].concat();
            let lying = [&spis[..], &header(37, 0x00ff_ffff), &random].concat();
            let forged = [&esp[..], &[0, 0, 1, 0], &random].concat();
            for datagram in [&random, &unknown, &known, &lying] {
                socket.send_to(datagram, (Road::GATEWAY, 500))?;
                socket.send_to(&[&[0; 4][..], datagram].concat(), (Road::GATEWAY, 4500))?;
            }
            for datagram in [&random, &forged] {
                socket.send_to(datagram, (Road::GATEWAY, 4500))?;
            }
        }
        Ok(())
    })
}

/// The second half of an IKE header (RFC 7296 §3.1): next payload SK, version 2.0, the exchange, a request.
fn header(exchange: u8, length: usize) -> Vec<u8> {
    let mut header = vec![46, 0x20, exchange, 0x08, 0, 0, 0, 2];
    header.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    header
}

fn octets(digits: &str) -> Result<Vec<u8>> {
    let pairs =
        (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2).context("an odd number of digits"));
    pairs.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
}

/// The same stream of octets in every run.
struct Noise(u64);

impl Noise {
    fn octets(&mut self, number: usize) -> Vec<u8> {
        let mut octets = Vec::with_capacity(number + 8);
        while octets.len() < number {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            octets.extend(self.0.to_le_bytes());
        }
        octets.truncate(number);
        octets
    }
}
