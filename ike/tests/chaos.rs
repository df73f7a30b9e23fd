//! Chaos: whatever hosts are told to do, and whatever happens between them, in the end they agree, and nothing is
//! left of what is over.
//!
//! A run follows from its seed. One that fails prints the seed and what went over the wire; it is run again alone by
//! `FERRY_CHAOS_SEED=17 cargo test -p ferry-ike --test chaos`. `FERRY_CHAOS_RUNS=100000` runs that many.
#![expect(clippy::unwrap_used, reason = "a run that is not as it should be fails")]

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use ferry_ike::Command;
use ferry_ike::config::Unique;
use ferry_ike::output::RequestId;
use ferry_ike::sim::{
    ActionKind, Datagram, HostId, Manner, NatId, PSK, Setup, Weather, World, client, gateway,
};
use ferry_ike::status::{IkeSaState, IkeSaStatus};

/// Runs where nothing else is said.
const RUNS: u64 = 1000;

/// Small enough to be exhausted at times.
const POOL: &str = "10.3.0.0/29";
const POOL_SIZE: usize = 6;

/// Long enough for every question to be given up, every half-open IKE SA to be forgotten, every attempt to end.
const AFTERMATH: Duration = Duration::from_secs(1200);

#[test]
fn in_the_end_hosts_agree_and_nothing_is_left() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("it is a number"));
    if let Some(seed) = number("FERRY_CHAOS_SEED") {
        return Chaos::new(seed).run();
    }
    for seed in 0..number("FERRY_CHAOS_RUNS").unwrap_or(RUNS) {
        Chaos::new(seed).run();
    }
}

/// What a seed found once, it finds again: nothing depends on a clock, on the order in a hash table, or on luck.
#[test]
fn a_run_follows_from_its_seed() {
    let story = |seed| {
        let mut chaos = Chaos::new(seed);
        chaos.storm();
        chaos.world.transcript().to_owned()
    };
    for seed in 0..5 {
        assert_eq!(story(seed), story(seed));
        assert_ne!(story(seed), story(seed + 1));
    }
}

struct Chaos {
    world: World,
    gateway: HostId,
    /// The gateway's policy on several IKE SAs of a client.
    unique: Unique,
    clients: Vec<HostId>,
    /// Where those that may move are at first, and where else.
    places: BTreeMap<HostId, [String; 2]>,
    nat: NatId,
    /// Requests that were taken, and how often each was told to be completed.
    requests: BTreeMap<u64, usize>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let nat = world.add_nat("203.0.113.1");
        let unique = [Unique::No, Unique::Never, Unique::Replace, Unique::Keep];
        let unique = *world.dice().pick(&unique).unwrap();
        let threshold = *world.dice().pick(&[0, 1, 30]).unwrap();
        let setup = hasty(&mut world, gateway()).pool(POOL).mobike().unique(unique).settings(|settings| {
            settings.half_open.cookie_threshold = threshold;
            settings.half_open.block_threshold = 0;
        });
        let gateway = world.add(setup);
        let mut chaos = Self {
            world,
            gateway,
            unique,
            clients: vec![],
            places: BTreeMap::new(),
            nat,
            requests: BTreeMap::new(),
        };
        for nth in 0..1 + chaos.world.dice().below(3) {
            chaos.add_client(nth);
        }
        chaos
    }

    fn add_client(&mut self, nth: u64) {
        let world = &mut self.world;
        let name = format!("rw{nth}");
        let is_natted = world.dice().chance(50);
        let network = if is_natted { "192.168.1" } else { "198.51.100" };
        let [at, elsewhere] = [nth + 2, nth + 102].map(|number| format!("{network}.{number}"));
        let mut setup = hasty(world, client()).named(&name).at(&at).id(&format!("{name}.example.org"));
        // Without a virtual IP, a client behind a NAT has no address the gateway could allow.
        if is_natted || world.dice().chance(50) {
            setup = setup.vips(&["0.0.0.0"]);
        }
        let tries = 1 + u32::try_from(world.dice().below(2)).unwrap();
        let offer = *world.dice().pick(&["aes128gcm16-prfsha256-x25519", "default"]).unwrap();
        setup = setup.ike(&[offer]).connection(|connection| connection.keyingtries = tries);
        let moves = world.dice().chance(50);
        let host = world.add(if moves { setup.mobike() } else { setup });
        if is_natted {
            world.put_behind(host, self.nat);
        }
        self.clients.push(host);
        if moves {
            self.places.insert(host, [at, elsewhere]);
        }
    }

    fn run(mut self) {
        self.storm();
        self.heal();
        self.agree();
        self.connect();
        self.end();
    }

    fn storm(&mut self) {
        self.world.set_weather(Weather::stormy());
        for _ in 0..40 + self.world.dice().below(120) {
            self.act();
            self.world.assert_no_faults();
        }
    }

    /// Does anything.
    fn act(&mut self) {
        match self.world.dice().below(17) {
            0..4 => {
                // A moment, in which messages cross, or a while, in which timers run out.
                let most = if self.world.dice().chance(70) { 3 } else { 60 };
                let time = self.world.dice().time(Duration::ZERO..Duration::from_secs(most));
                self.world.run_for(time);
            }
            4..7 => {
                let host = self.any_client();
                if self.world.host(host).addresses.is_empty() {
                    return; // nobody can be asked from nowhere
                }
                let name = if self.world.dice().chance(90) { "net".into() } else { self.name(host) };
                let request = self.world.initiate(host, &name);
                self.requests.insert(request.0, 0);
            }
            7 => self.terminate(),
            8 => self.terminate_child(),
            9 => {
                let host = self.any_host();
                let is_cut_off = self.world.dice().chance(50);
                self.world.cut(host, is_cut_off);
            }
            10 => self.world.rebind(self.nat),
            11 => {
                let host = self.any_host();
                self.world.ping(host);
            }
            12 => self.reconfigure(),
            13 => self.disturb_outside(),
            14 => self.attack(),
            15 => {
                let fair = self.world.dice().chance(50);
                self.world.set_weather(if fair { Weather::fair() } else { Weather::stormy() });
            }
            16 => self.walk_off(),
            _ => unreachable!("there are seventeen faces"),
        }
    }

    fn terminate(&mut self) {
        let host = self.any_host();
        let sas = self.world.ike_sas(host);
        let Some(sa) = self.world.dice().pick(&sas).map(|sa| sa.id) else { return };
        let force = self.world.dice().chance(30);
        let request = self.request();
        self.world.command(host, Command::TerminateIkeSa { request, ike_sa: sa, force }).unwrap();
    }

    fn terminate_child(&mut self) {
        let host = self.any_host();
        let children: Vec<_> = self.world.ike_sas(host).into_iter().flat_map(|sa| sa.children).collect();
        let Some(child_sa) = self.world.dice().pick(&children).map(|child| child.id) else { return };
        let request = self.request();
        self.world.command(host, Command::TerminateChildSa { request, child_sa }).unwrap();
    }

    /// Somebody goes elsewhere or nowhere, has a second address or one less.
    fn walk_off(&mut self) {
        let host = self.any_client();
        let Some([home, away]) = self.places.get(&host) else { return };
        let places: [&[&str]; 5] = [&[home], &[away], &[home, away], &[away, home], &[]];
        let addresses = *self.world.dice().pick(&places).unwrap();
        self.world.move_to(host, addresses);
    }

    /// Other secrets for a while. What stands is not touched by it.
    fn reconfigure(&mut self) {
        let is_wrong = self.world.dice().chance(30);
        self.configure(if is_wrong { "another" } else { PSK });
    }

    fn configure(&mut self, secret: &str) {
        let setup = hasty(&mut self.world, gateway()).pool(POOL).mobike().unique(self.unique).psk(secret);
        self.world.configure(self.gateway, setup.into_configuration()).unwrap();
    }

    fn disturb_outside(&mut self) {
        let host = self.any_host();
        let kind = *self.world.dice().pick(&KINDS).unwrap();
        let delay = self.world.dice().time(Duration::ZERO..Duration::from_secs(10));
        let mut manners = vec![None, Some(Manner::Late(delay))];
        // An outside that cannot take down what it has put up leaks, and that is nobody else's fault.
        if !TAKING_DOWN.contains(&kind) {
            manners.push(Some(Manner::Fails));
        }
        let manner = *self.world.dice().pick(&manners).unwrap();
        self.world.deal(host, kind, manner);
    }

    /// Somebody repeats what they heard, from anywhere, as it was or not.
    fn attack(&mut self) {
        for _ in 0..5 {
            let Some(mut datagram) = self.world.overhear() else { return };
            let dice = self.world.dice();
            if dice.chance(50) {
                dice.flip_bit(&mut datagram.octets);
            }
            if dice.chance(20) {
                let length = usize::try_from(dice.below(300)).unwrap();
                datagram.octets.truncate(length);
            }
            if dice.chance(20) {
                datagram.from = "198.51.100.250:4500".parse().unwrap();
            }
            if dice.chance(20) {
                let Datagram { from, to, octets } = datagram;
                datagram = Datagram { from: to, to: from, octets };
            }
            self.world.inject(datagram);
        }
    }

    /// The links are whole again, everybody does what they should, and time passes.
    fn heal(&mut self) {
        self.world.set_weather(Weather::fair());
        for host in self.hosts() {
            self.world.cut(host, false);
            for kind in KINDS {
                self.world.deal(host, kind, None);
            }
        }
        for (host, [home, _]) in &self.places {
            self.world.move_to(*host, &[home]);
        }
        self.configure(PSK);
        self.world.run_for(AFTERMATH);
        self.world.assert_no_faults();
    }

    /// What one end believes, the other believes too.
    fn agree(&mut self) {
        let mut of_gateway = self.believed(self.gateway);
        for client in self.clients.clone() {
            self.world.assert_mirrored(client, self.gateway);
            for (spis, children) in self.believed(client) {
                assert_eq!(of_gateway.remove(&spis), Some(children), "{} and the gateway", self.name(client));
            }
            if self.world.host(client).outside.installed().next().is_some() {
                assert!(self.world.ping(client), "{} reaches the gateway", self.name(client));
            }
        }
        assert!(of_gateway.is_empty(), "only the gateway knows of {of_gateway:?}");
        let installed: usize =
            self.clients.iter().map(|client| self.world.host(*client).outside.installed().count()).sum();
        assert_eq!(self.world.host(self.gateway).outside.installed().count(), installed);
    }

    /// Whatever happened, who has no CHILD_SA can have one, unless the gateway keeps what it has, or has no
    /// address left.
    fn connect(&mut self) {
        for client in self.clients.clone() {
            let has_sa = !self.world.ike_sas(client).is_empty();
            let pool = self.world.host(self.gateway).outside.pools().pool(POOL).unwrap();
            if has_sa && self.unique == Unique::Keep || pool.online() == POOL_SIZE {
                continue;
            }
            let before = self.world.host(client).outside.installed().count();
            let ike_sas = self.world.ike_sas(client).len();
            let request = self.world.initiate(client, "net");
            let is_reused = self.world.ike_sas(client).len() == ike_sas;
            self.requests.insert(request.0, 0);
            self.world.run();
            let after = self.world.host(client).outside.installed().count();
            // A further one in the IKE SA there is; in a new one, if there is none or it lacks its virtual IP.
            let replaced = if self.unique == Unique::Replace && !is_reused { before } else { 0 };
            assert_eq!(after, before + 1 - replaced, "CHILD_SAs of {}", self.name(client));
            self.world.assert_mirrored(client, self.gateway);
        }
    }

    /// The established IKE SAs of a host: their SPIs, and how many children each has.
    fn believed(&self, host: HostId) -> BTreeMap<[u8; 16], usize> {
        let sas = self.world.ike_sas(host).into_iter();
        sas.map(|sa| {
            assert_eq!(sa.state, IkeSaState::Established, "{}: {sa:#?}", self.name(host));
            (spis(&sa), sa.children.len())
        })
        .collect()
    }

    /// Everybody ends everything.
    fn end(mut self) {
        for host in self.hosts() {
            if self.world.dice().chance(50) {
                let request = self.request();
                self.world.command(host, Command::Shutdown { request }).unwrap();
                continue;
            }
            for sa in self.world.ike_sas(host) {
                let request = self.request();
                let command = Command::TerminateIkeSa { request, ike_sa: sa.id, force: false };
                self.world.command(host, command).unwrap();
            }
        }
        self.world.run_out(AFTERMATH);
        for host in self.hosts() {
            for event in self.world.events(host) {
                let number = event.strip_prefix("request ").and_then(|rest| rest.split(' ').next());
                if let Some(number) = number {
                    *self.requests.entry(number.parse().unwrap()).or_default() += 1;
                }
            }
        }
        for (request, times) in &self.requests {
            assert_eq!(*times, 1, "request {request} was completed {times} times");
        }
        self.world.assert_nothing_left();
    }

    fn request(&mut self) -> RequestId {
        let request = self.world.next_request();
        self.requests.insert(request.0, 0);
        request
    }

    fn hosts(&self) -> Vec<HostId> {
        [&[self.gateway], self.clients.as_slice()].concat()
    }

    fn any_host(&mut self) -> HostId {
        let hosts = self.hosts();
        *self.world.dice().pick(&hosts).unwrap()
    }

    fn any_client(&mut self) -> HostId {
        *self.world.dice().pick(&self.clients).unwrap()
    }

    fn name(&self, host: HostId) -> String {
        self.world.host(host).name.clone()
    }
}

/// A host that finds out soon when the other is gone, whose SAs may end by themselves, and which may use fragments.
fn hasty(world: &mut World, setup: Setup) -> Setup {
    let second = Duration::from_secs(1);
    let lifetime = world.dice().chance(20).then(|| world.dice().time(30 * second..600 * second));
    let child_lifetime = world.dice().chance(20).then(|| world.dice().time(30 * second..600 * second));
    // Where both ends can, most messages take several datagrams.
    let setup = if world.dice().chance(50) { setup.fragments(180) } else { setup };
    setup
        .dpd(30 * second)
        .connection(|connection| connection.rekey_time = lifetime)
        .child(|child| child.life_time = child_lifetime)
}

fn spis(sa: &IkeSaStatus) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&sa.spi_i.0);
    octets[8..].copy_from_slice(&sa.spi_r.0);
    octets
}

const TAKING_DOWN: [ActionKind; 3] =
    [ActionKind::RemoveChild, ActionKind::ReleaseLease, ActionKind::RemoveVirtualIps];

const KINDS: [ActionKind; 11] = [
    ActionKind::ReserveSpi,
    ActionKind::InstallChild,
    ActionKind::FindPaths,
    ActionKind::UpdateChild,
    ActionKind::RemoveChild,
    ActionKind::QueryUse,
    ActionKind::Lease,
    ActionKind::ReleaseLease,
    ActionKind::CheckUnique,
    ActionKind::InstallVirtualIps,
    ActionKind::RemoveVirtualIps,
];
