//! Clients that change their addresses while traffic flows.

use std::fs::{self, File};
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::topology::{Road, Roam};
use super::{Roles, roadwarrior};
use crate::lab::{Carried, Deadline, Host, Lab, Log, Mark, Passed, Plane, passed, until};
use crate::peer::{Daemon, IkeSa, Peer};

/// Time between two packets each way.
const EVERY: Duration = Duration::from_millis(10);

/// What the line between the internet and the gateway and the machine itself take of the time.
struct Pace {
    /// How long a packet is on the line.
    delay: Duration,
    /// So long may a busy machine take more: less than half a round trip, so that a whole one too many is seen.
    busy: Duration,
}

impl Pace {
    /// A busy disk delays a daemon that waits for its log to be written.
    const HOST: Self = Self { delay: Duration::from_millis(200), busy: Duration::from_millis(190) };
    /// A guest is slow.
    const GUEST: Self = Self { delay: Duration::from_millis(750), busy: Duration::from_millis(700) };

    const fn of(plane: Plane) -> Self {
        match plane {
            Plane::Kernel => Self::GUEST,
            _ => Self::HOST,
        }
    }

    /// What an update and its answer take at least.
    const fn round_trip(&self) -> Duration {
        self.delay.saturating_mul(2)
    }
}

/// A client with two uplinks changes its address on one and then goes over to the other.
///
/// charon's data plane in user space makes new CHILD_SAs when addresses change; the IKE SA stays.
pub(super) fn moving_client(lab: &Lab, roles: Roles) -> Result<()> {
    moving(lab, roles).map(drop)
}

/// The same between two of ours, who keep their CHILD_SAs too.
pub(super) fn moving_client_of_ours(lab: &Lab) -> Result<()> {
    let roles = Roles { initiator: Daemon::Ferryd, responder: Daemon::Ferryd };
    for (before, after) in moving(lab, roles)? {
        let spis = |sa: &IkeSa| -> Vec<String> {
            sa.children.iter().flat_map(|c| [c.inbound.spi.clone(), c.outbound.spi.clone()]).collect()
        };
        ensure!(spis(&before) == spis(&after), "other CHILD_SAs: {before:?} {after:?}");
    }
    Ok(())
}

/// Gives what each end lists before and after.
fn moving(lab: &Lab, roles: Roles) -> Result<[(IkeSa, IkeSa); 2]> {
    let roam = Roam::build(lab, Pace::of(lab.plane()).delay)?;
    let gateway = lab.peer(&roam.gateway, roles.responder, &roadwarrior::gateway())?;
    let told = roam.client.directory().join("told");
    let script = format!("echo $PLUTO_VERB $PLUTO_ME >> {}", told.display());
    let client = roadwarrior::client_told_by("alice", &script);
    let client = lab.peer(&roam.client, roles.initiator, &client)?;
    client.initiate("net")?;
    let before = (client.sa()?, gateway.sa()?);
    is_at(&before, Roam::HOME)?;
    lab.record_at_end(&roam.gateway, "wan")?;
    let address = before.0.local.virtual_ips.first().context("no virtual address")?;
    let traffic = [
        Traffic::start(&roam.client, address, Road::SERVER)?,
        Traffic::start(&roam.server, Road::SERVER, address)?,
    ];
    let go_on = || traffic.iter().try_for_each(Traffic::go_on);
    go_on()?;

    // Another address on the same interface. The kernel makes it the first one when the other goes.
    let device = |words: &str| roam.client.succeed(&words.split(' ').collect::<Vec<_>>());
    moves(&client, &gateway, Roam::HOME_TOO, || {
        device("ip address add 198.51.100.77/24 dev eth0")?;
        device("ip address del 198.51.100.10/24 dev eth0")?;
        device("ip route replace default via 198.51.100.1").map(drop)
    })?;
    go_on()?;
    moves(&client, &gateway, Roam::CAFE, || {
        roam.client.set_up("eth0", false)?;
        roam.client.route("default", "203.0.113.1")
    })?;
    go_on()?;

    let after = (client.sa()?, gateway.sa()?);
    is_at(&after, Roam::CAFE)?;
    let both = [(before.0, after.0), (before.1, after.1)];
    for (before, after) in &both {
        ensure!(before.spis == after.spis, "another IKE SA: {before:?} {after:?}");
    }
    let seen = passed(&lab.recorded(&roam.gateway, "wan")?)?;
    for at in [Roam::HOME_TOO, Roam::CAFE] {
        flows_again(&seen, at.parse()?, lab.plane(), roles)?;
    }
    // Scripts are told of children, which are the same wherever their ends are. That the last one is told of, and by then
    // all before it, is known when it is gone.
    client.terminate("home")?;
    let deadline = Deadline::after(Duration::from_secs(20));
    let told = until(deadline, "the script to be told that the child is gone", || {
        Ok(fs::read_to_string(&told).ok().filter(|told| told.contains("down-client")))
    })?;
    let expected = format!("up-client {}\ndown-client {}\n", Roam::HOME, Roam::CAFE);
    ensure!(told == expected, "the script was told {told:?}");
    Ok(both)
}

/// The NAT before a client forgets its mappings, and the gateway follows the packets that come by the new one.
pub(super) fn nat_rebinding(lab: &Lab, ours: Daemon) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway = lab.peer(&road.gateway, ours, &roadwarrior::gateway())?;
    let client = lab.peer(road.client()?, Daemon::Charon, &roadwarrior::client("alice"))?;
    client.initiate("net")?;
    let before = gateway.sa()?;
    let address = before.remote.virtual_ips.first().context("no virtual address")?;
    road.client()?.ping(address, Road::SERVER, 2)?;

    let mut moved = gateway.watch("ike-update")?;
    if lab.plane() == Plane::Kernel {
        road.translate(20_000)?;
    } else {
        // Whoever masquerades by an interface that goes down forgets what went by it.
        road.nat.set_up("wan", false)?;
        road.nat.set_up("wan", true)?;
    }
    let traffic = Traffic::start(road.client()?, address, Road::SERVER)?;
    let event =
        moved.wait_for(Deadline::after(Duration::from_secs(20)), |event| event.section("road").is_some())?;
    let after = gateway.sa()?;
    ensure!(after.spis == before.spis, "another IKE SA: {before:?} {after:?}");
    ensure!(after.remote.port != before.remote.port, "the NAT has the same port: {after:?}");
    let told = (event.str("remote-host"), event.str("remote-port"));
    let port = after.remote.port.to_string();
    ensure!(told == (Some(Road::OUTSIDE), Some(port.as_str())), "the event tells {told:?}, not {after:?}");
    traffic.go_on()?;
    road.server.ping(Road::SERVER, address, 3)?;
    Ok(())
}

/// Lets the client move, and waits until both ends tell that it has.
fn moves(client: &Peer, gateway: &Peer, to: &str, go: impl FnOnce() -> Result<()>) -> Result<()> {
    let (mut near, mut far) = (client.watch("ike-update")?, gateway.watch("ike-update")?);
    go()?;
    let patience = Deadline::after(Duration::from_secs(20));
    near.wait_for(patience, |event| event.str("local-host") == Some(to))
        .context("the client does not move")?;
    far.wait_for(patience, |event| event.str("remote-host") == Some(to))
        .context("the gateway does not follow")?;
    Ok(())
}

fn is_at((near, far): &(IkeSa, IkeSa), at: &str) -> Result<()> {
    ensure!(near.local.host == at && far.remote.host == at, "the client is not at {at}: {near:?} {far:?}");
    ensure!((near.local.port, near.remote.port) == (4500, 4500), "MOBIKE goes over port 4500: {near:?}");
    Ok(())
}

/// Traffic flows again within one round trip of the update: the gateway sends to the new address as soon as it knows it,
/// and hears from it not later than if the client had waited for the answer.
///
/// charon's data plane in user space cannot move a CHILD_SA: it makes another one first, which is an exchange more.
fn flows_again(seen: &[Passed], at: IpAddr, plane: Plane, roles: Roles) -> Result<()> {
    let gateway: IpAddr = Road::GATEWAY.parse()?;
    let between = |what, from, to| {
        seen.iter().filter(move |p| p.carried == what && (p.from, p.to) == (from, to)).map(|p| p.at)
    };
    let down = between(Carried::Esp, gateway, at).next().with_context(|| format!("nothing goes to {at}"))?;
    let up = between(Carried::Esp, at, gateway).next().with_context(|| format!("nothing comes from {at}"))?;
    let mut asked = between(Carried::Ike, at, gateway);
    // charon tests the path before it asks for it: the update is what the gateway acts on.
    let update =
        if roles.initiator.is_charon() { asked.take_while(|at| *at <= down).last() } else { asked.next() };
    let update = update.with_context(|| format!("{at} has sent no update"))?;
    let [down, up] = [down, up].map(|esp| esp.saturating_sub(update));
    println!("{at}: after the update, ESP leaves for it after {down:?} and comes from it after {up:?}");
    let remakes = |end: Daemon| end.is_charon() && plane != Plane::Kernel;
    let pace = Pace::of(plane);
    let another = |end| if remakes(end) { pace.round_trip() } else { Duration::ZERO };
    let soon = EVERY + pace.busy;
    ensure!(down <= soon + another(roles.responder), "nothing goes to {at} for {down:?} after the update");
    ensure!(
        up <= pace.round_trip() + soon + another(roles.initiator),
        "nothing comes from {at} for {up:?} after it"
    );
    Ok(())
}

/// Echoes all the time, every one of them with its number in a log.
struct Traffic(Log);

impl Traffic {
    fn start(from: &Host, source: &str, to: &str) -> Result<Self> {
        let path = from.directory().join("echoes.log");
        let mut ping = Command::new("ping");
        ping.args(["-i", &EVERY.as_secs_f64().to_string(), "-I", source, to]);
        ping.stdout(File::create(&path)?);
        from.keep(from.spawn(ping)?);
        Ok(Self(Log::new(path)))
    }

    /// Waits for the echo of that number.
    fn wait_for(&self, number: u32) -> Result<()> {
        let words = format!("icmp_seq={number} ");
        self.0.wait_for(Mark::BEGINNING, &[&words], Deadline::after(Duration::from_secs(20))).map(drop)
    }

    /// Waits for further echoes.
    fn go_on(&self) -> Result<()> {
        let mark = self.0.mark();
        let deadline = Deadline::after(Duration::from_secs(20));
        let line = self.0.wait_for(mark, &["icmp_seq="], deadline).context("no echo comes any more")?;
        let number = line.split("icmp_seq=").nth(1).and_then(|rest| rest.split(' ').next());
        let number: u32 = number.context("an echo has a number")?.parse()?;
        self.wait_for(number + 50).context("the echoes stop")
    }
}
