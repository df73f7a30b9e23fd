//! A configuration that changes while tunnels carry traffic.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::ferryctl::ferryctl;
use super::topology::Sites;
use crate::lab::{Deadline, Lab, Stream, only_ipsec, until};
use crate::peer::{Connection, Daemon, Events, IkeSa, Peer, Settings, SwanctlConf, child};

const SECRET: &str = "fifty gateways share this";
const PATIENCE: Duration = Duration::from_secs(60);

/// How many connections there are, and how often the configuration is loaded.
const CONNECTIONS: usize = 50;
const LOADS: usize = 100;
/// So many loads are by SIGHUP: every tenth.
const BY_SIGNAL: usize = 10;

/// A packet so often.
const EVERY: Duration = Duration::from_millis(10);

/// The address of the second stream, whose connection is among those that change.
const SECOND: &str = "10.2.0.200";

/// One of fifty connections is changed at a time, a hundred times. It is made anew before the old one goes, and nothing
/// happens to the others. What is wrong with a configuration leaves all as it was.
pub(super) fn under_traffic(lab: &Lab) -> Result<()> {
    let sites = Sites::build(lab)?;
    sites.left.host.address("lan", &format!("{SECOND}/24"))?;
    lab.record_at_end(&sites.left.gateway, "wan")?;
    // Fifty first messages from one address at once are an attack to charon.
    let trusting = Settings::new().set("charon.dos_protection", "no");
    let conf_of_right = conf(&sites, true, &[0; CONNECTIONS]);
    let right = lab.peer_with(&sites.right.gateway, Daemon::Charon, &conf_of_right, &trusting)?;
    let left = lab.peer(&sites.left.gateway, Daemon::Ferryd, &SwanctlConf::new())?;
    let mut versions = [0; CONNECTIONS];
    let load = |versions: &[u32]| write(&left, &conf(&sites, false, versions).to_string());
    let mut tally = Tally { events: left.watch("child-updown")?, seen: BTreeMap::new() };
    load(&versions)?;
    ferryctl(&left, lab, &["--load-all"])?.success()?;
    tally.wait_for(&versions)?;
    let before = by_name(left.sas()?);

    // The very first packet may be early for the peer, which is not what this is about.
    for source in ["10.2.0.10", SECOND] {
        until(Deadline::after(PATIENCE), "an answer through the tunnel", || {
            Ok(sites.left.host.ping(source, sites.right.hosts[0], 1).is_ok().then_some(()))
        })?;
    }
    let streams = ["10.2.0.10", SECOND].map(|source| {
        Stream::begin((&sites.left.host, source), (&sites.right.host, sites.right.hosts[0]), EVERY)
    });
    for number in 0..LOADS {
        // The first never changes.
        let changed = 1 + number % (CONNECTIONS - 1);
        *versions.get_mut(changed).context("there are as many")? += 1;
        load(&versions)?;
        if number % BY_SIGNAL == 0 {
            hang_up(&left, "loaded the configuration", number + 2)?; // of the loads until now, each has told
        } else {
            let said = ferryctl(&left, lab, &["--load-all"])?.success()?;
            ensure!(said.stdout.contains(&format!("loaded {CONNECTIONS} connections, 0 unloaded")), "{said}");
        }
        if changed == CONNECTIONS - 1 {
            tally.wait_for(&versions)?; // before any of them changes once more
        }
    }
    tally.wait_for(&versions)?;

    // Of a configuration with an error nothing is loaded, however it is loaded.
    let broken =
        conf(&sites, false, &[9; CONNECTIONS]).connection("x", Connection::psk("a", "b").set("encap", "?"));
    write(&left, &broken.to_string())?;
    let said = ferryctl(&left, lab, &["--load-all"])?;
    ensure!(said.code() == 22 && said.stderr.contains("connections.x.encap"), "{said}");
    hang_up(&left, "not reloaded, all stays as it was", 1)?;

    // What is gone from the configuration is closed.
    let last = format!("c{}", CONNECTIONS - 1);
    let (end, fewer) = versions.split_last_mut().context("there are some")?;
    *end += 1;
    write(&left, &conf(&sites, false, fewer).to_string())?;
    ferryctl(&left, lab, &["--load-all"])?.success()?;
    let expected = versions.iter().map(|version| [*version + 1, *version]).collect::<Vec<_>>();
    tally.wait_until(|tally| tally.of(&last).last() == expected.last().and_then(|ways| ways.last()))?;
    for stream in streams {
        stream?.end()?.is_whole()?;
    }

    for (number, [ups, downs]) in expected.iter().enumerate().take(CONNECTIONS - 1) {
        let seen = tally.of(&format!("c{number}"));
        ensure!(
            seen == [*ups, *downs],
            "c{number} was to go up {ups} times and down {downs} times, and did so {seen:?} times"
        );
    }
    let after = by_name(left.sas()?);
    ensure!(after.len() == CONNECTIONS - 1, "{} IKE_SAs are left", after.len());
    for (name, after) in &after {
        let before = before.get(name).with_context(|| format!("{name} is new"))?;
        let number: usize = name.trim_start_matches('c').parse()?;
        let is_same = before.spis == after.spis;
        ensure!(is_same != changes_ike(number), "{name}: {before:?}\n{after:?}");
        let spi = |sa: &IkeSa| sa.children.first().map(|child| child.inbound.spi.clone());
        ensure!((spi(before) == spi(after)) == (number == 0), "{name}: {before:?}\n{after:?}");
    }
    let counters = left.swanctl(&["--counters"])?.success()?;
    for name in ["ike-rekey-init", "ike-rekey-resp", "child-rekey"] {
        let line = counters.stdout.lines().find(|line| line.trim_start().starts_with(name));
        ensure!(line.is_some_and(|line| line.ends_with(" 0")), "{name} is not 0: {counters}");
    }
    drop(right);
    let ends = [sites.left.outer[0].parse()?, sites.right.outer[0].parse()?];
    only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, ends, b"")?;
    Ok(())
}

/// Whether what changes about a connection is about its IKE_SA, not about its child.
fn changes_ike(number: usize) -> bool {
    number % 2 == 1 && number > 1
}

/// As many connections as there are versions; one differs from what it was if its version does.
fn conf(sites: &Sites, is_right: bool, versions: &[u32]) -> SwanctlConf {
    let mut conf = SwanctlConf::new();
    for (number, version) in versions.iter().enumerate() {
        let id = format!("c{number}.left.test");
        let theirs = sites.right.networks[0];
        let ours = match number {
            0 => "10.2.0.0/25".to_owned(),
            1 => "10.2.0.128/25".to_owned(),
            _ => format!("10.100.{number}.0/24"),
        };
        let (left, right) = (sites.left.outer[0], sites.right.outer[0]);
        let connection = if is_right {
            Connection::psk(sites.right.id, &id).between(right, left).child("net", child(theirs, &ours))
        } else {
            let [about_ike, about_child] = if changes_ike(number) { [*version, 0] } else { [0, *version] };
            let child = child(&ours, theirs)
                .set("start_action", "start")
                .set("rekey_time", format!("{}s", 3600 + about_child));
            Connection::psk(&id, sites.right.id)
                .between(left, right)
                .set("dpd_delay", format!("{}s", 300 + about_ike))
                .child("net", child)
        };
        conf = conf.connection(&format!("c{number}"), connection);
    }
    conf.secret("all", SECRET, &[])
}

fn write(peer: &Peer, text: &str) -> Result<()> {
    Ok(fs::write(peer.host().directory().join("swanctl/swanctl.conf"), text)?)
}

/// Sends SIGHUP and waits until there are so many lines with these words in the log. What was logged before may be written
/// after this has begun.
fn hang_up(peer: &Peer, words: &str, lines: usize) -> Result<()> {
    let id = peer.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).context("it runs")?;
    kill_process(id, Signal::HUP)?;
    until(Deadline::after(PATIENCE), words, || {
        let text = peer.log().text();
        Ok((text.lines().filter(|line| line.contains(words)).count() >= lines).then_some(()))
    })
}

fn by_name(sas: Vec<IkeSa>) -> BTreeMap<String, IkeSa> {
    sas.into_iter().map(|sa| (sa.name.clone(), sa)).collect()
}

/// How often the children of each connection went up and down.
struct Tally {
    events: Events,
    seen: BTreeMap<String, [u32; 2]>,
}

impl Tally {
    fn of(&self, connection: &str) -> [u32; 2] {
        self.seen.get(connection).copied().unwrap_or_default()
    }

    /// Waits until each has gone down as often as it has changed, and up once more.
    fn wait_for(&mut self, versions: &[u32]) -> Result<()> {
        let is_so = |tally: &Self| {
            versions.iter().enumerate().all(|(number, version)| {
                let [ups, downs] = tally.of(&format!("c{number}"));
                ups > *version && downs >= *version
            })
        };
        self.wait_until(is_so)
    }

    fn wait_until(&mut self, is_so: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Deadline::after(PATIENCE);
        while !is_so(self) {
            let event = self.events.wait_for(deadline, |_| true);
            let event = event.with_context(|| format!("until now: {:?}", self.seen))?;
            let way = usize::from(event.str("up").is_none());
            for (connection, _) in event.sections() {
                let seen = self.seen.entry(connection.to_owned()).or_default();
                seen.iter_mut().skip(way).take(1).for_each(|count| *count += 1);
            }
        }
        Ok(())
    }
}
