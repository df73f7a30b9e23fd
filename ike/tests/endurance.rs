//! Endurance: two hosts that rekey all the time, over a link that loses and reorders, for hours of their time.
//!
//! Both ends make the successor of their CHILD_SA every three seconds and that of their IKE SA every seven, so that
//! everything crosses everything sooner or later. At every moment that is looked at, what one end sends with the other
//! can receive; nothing that is kept grows; at the end both are of one mind, and when the IKE SA is ended nothing is
//! left.
//!
//! `FERRY_SEEDS=10000 cargo test -p ferry-ike --test endurance -- --nocapture` is the whole of it, and part of
//! `cargo verify --long`; `FERRY_SEED=17 FERRY_HOURS=5` runs one seed alone and tells the story if it fails.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use ferry_ike::sim::{HostId, Setup, Weather, World, client, gateway};

/// Runs where nothing else is said.
const SEEDS: u64 = 100;

/// Hours of each, where nothing else is said.
const HOURS: f64 = 0.1;

/// Each of so many runs is a long one,
const LONG_ONE_IN: u64 = 100;

/// and lasts so many times as long.
const LONGER: f64 = 50.0;

/// The most that is ever kept, however long it goes on. The last answer of an IKE SA that is over is kept for a hundred
/// seconds, in which there are about fifteen rekeyings, and half of these leave a redundant one too. What is deleted of
/// CHILD_SAs receives for five seconds more.
const MOST: [(&str, usize); 9] = [
    ("IKE_SAs", 48),
    ("IKE_SAs by number", 48),
    ("IKE_SAs by first message", 1),
    ("deadlines", 48),
    ("CHILD_SAs", 12),
    ("CHILD_SAs in the data plane", 12),
    ("actions without outcome", 0),
    ("tasks", 24),
    ("octets of messages that may be sent again", 16384),
];

fn number<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    env::var(name).ok().map(|text| text.parse().expect("it is a number"))
}

#[test]
fn both_ends_rekey_all_the_time_and_stay_of_one_mind() {
    let hours = number("FERRY_HOURS").unwrap_or(HOURS);
    if let Some(seed) = number("FERRY_SEED") {
        return Run::new(seed, false).run(time(hours));
    }
    let begun = Instant::now();
    let (first, count) = (number("FERRY_FIRST_SEED").unwrap_or(0), number("FERRY_SEEDS").unwrap_or(SEEDS));
    let seeds = Mutex::new(first..first + count);
    let runs = || {
        let mut all = (0.0, BTreeMap::new());
        let next = || seeds.lock().ok()?.next();
        while let Some(seed) = next() {
            let hours = if seed % LONG_ONE_IN == 0 { hours * LONGER } else { hours };
            let mut run = Run::new(seed, true);
            run.run(time(hours));
            all = sum(all, (hours, run.most));
        }
        all
    };
    let (hours, most) = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(runs)).collect();
        threads.into_iter().map(|thread| thread.join().expect("all seeds hold")).reduce(sum)
    })
    .expect("there is a thread");
    println!("{count} seeds, {hours:.0} hours together, in {:?}; at most {most:?}", begun.elapsed());
}

/// The most of everything that was kept.
type Most = BTreeMap<&'static str, usize>;

fn sum((hours, mut most): (f64, Most), (more, others): (f64, Most)) -> (f64, Most) {
    for (what, count) in others {
        let slot = most.entry(what).or_default();
        *slot = (*slot).max(count);
    }
    (hours + more, most)
}

fn time(hours: f64) -> Duration {
    Duration::from_secs_f64(hours * 3600.0)
}

struct Run {
    world: World,
    seed: u64,
    hosts: [HostId; 2],
    /// So far.
    most: Most,
    is_silent: bool,
}

impl Run {
    fn new(seed: u64, is_silent: bool) -> Self {
        let mut world = World::new(seed);
        if is_silent {
            world.be_silent();
        }
        let rw = world.add(restless(client().vips(&["0.0.0.0"])));
        let gw = world.add(restless(gateway().pool("10.3.0.0/24")));
        world.connect(rw, gw, "net");
        let delay = Duration::from_millis(5)..Duration::from_millis(400);
        world.set_weather(Weather { loss: 5, duplication: 5, delay, ..Weather::fair() });
        Self { world, seed, hosts: [rw, gw], most: BTreeMap::new(), is_silent }
    }

    fn run(&mut self, time: Duration) {
        let until = self.world.elapsed() + time;
        while self.world.elapsed() < until {
            let moment = self.world.dice().time(Duration::ZERO..Duration::from_secs(1));
            self.world.run_for(moment);
            self.look();
            if self.world.dice().chance(10) {
                self.count();
            }
        }
        self.world.set_weather(Weather::fair());
        self.agree();
        self.end();
    }

    /// Every packet arrives.
    fn look(&mut self) {
        let [rw, gw] = self.hosts;
        for (from, to) in [(rw, gw), (gw, rw)] {
            let host = self.world.host(from);
            self.hold(host.outside.sending().count() == 1, "one CHILD_SA is sent with");
            self.hold(self.world.unheard(from, to).next().is_none(), "what is sent can be received");
            self.hold(host.outside.faults().is_empty(), "nothing is asked that makes no sense");
        }
        for host in self.hosts {
            let events = self.world.events(host);
            self.hold(
                events.iter().all(|event| event.contains(" rekeyed: ")),
                "nothing happens but rekeying",
            );
        }
    }

    /// There is no more of anything than there should be.
    fn count(&mut self) {
        for host in self.hosts {
            let host = self.world.host(host);
            let mut kept = host.endpoint.kept();
            kept.insert("CHILD_SAs in the data plane", host.outside.installed().count());
            kept.insert("SPIs that are set aside", host.outside.reservations().count());
            for (what, count) in kept {
                let slot = self.most.entry(what).or_default();
                *slot = (*slot).max(count);
            }
        }
        for (what, most) in MOST {
            self.hold(self.most.get(what).is_some_and(|count| *count <= most), what);
        }
    }

    /// Between two exchanges both have the same.
    fn agree(&mut self) {
        let [rw, gw] = self.hosts;
        // What only one end knows of is forgotten after a while.
        for _ in 0..100_000 {
            if self.world.disagreements(rw, gw).is_empty() {
                self.world.assert_agreed(rw, gw);
                return;
            }
            self.world.run_for(Duration::from_millis(20));
            self.look();
        }
        self.hold(false, &format!("both agree: {:#?}", self.world.disagreements(rw, gw)));
    }

    fn end(&mut self) {
        let [rw, gw] = self.hosts;
        for sa in self.world.ike_sas(rw) {
            self.world.terminate(rw, sa.id);
        }
        self.world.run_out(Duration::from_secs(600));
        let leaks: Vec<_> = [rw, gw].into_iter().flat_map(|host| self.world.host(host).leaks()).collect();
        self.hold(leaks.is_empty(), &format!("nothing is left: {leaks:#?}"));
    }

    fn hold(&self, is_so: bool, claim: &str) {
        let Self { seed, is_silent, .. } = self;
        let hint = if *is_silent { "FERRY_SEED tells the story" } else { "" };
        assert!(
            is_so,
            "seed {seed}, {:?}: it is not so that {claim}; {:?} {hint}",
            self.world.elapsed(),
            self.most
        );
    }
}

fn restless(setup: Setup) -> Setup {
    let seconds = Duration::from_secs;
    setup
        .settings(|settings| {
            // Nobody is given up: in so many hours, every series of losses comes once.
            settings.retransmission.tries = 20;
            settings.retransmission.limit = Some(seconds(8));
        })
        .connection(|connection| {
            connection.rekey_time = Some(seconds(7));
            connection.rand_time = seconds(1);
            connection.over_time = seconds(600);
        })
        .child(|child| {
            child.rekey_time = Some(seconds(3));
            child.rand_time = seconds(1);
            child.life_time = Some(seconds(600));
        })
}
