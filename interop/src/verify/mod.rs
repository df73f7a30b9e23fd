//! `cargo verify`: everything that proves the project, in one command.
//!
//! It runs in parts, each told and timed. The last line counts all of them together: a test counts one, a scenario of
//! the lab counts one, and so does each check that passes or fails as a whole.

mod checks;
mod kernel;
mod kernel_lab;
mod lab;
mod tests;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::{Parser, ValueEnum};

use crate::janitor::Janitor;
use crate::lab::{Length, Plane, be_patient};
use crate::peer::Daemon;
use crate::scenarios::{self, Scenario};
use crate::{cargo, leftovers, machine};

/// How many times more time there is where processors are emulated.
const EMULATED: u32 = 5;

/// Runs everything that proves the project and counts it.
#[derive(Debug, Parser)]
#[command(name = "cargo verify", disable_version_flag = true)]
pub struct Options {
    /// Run only this part, or only the scenarios whose names begin so (may be repeated)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// List the parts and the scenarios
    #[arg(long)]
    list: bool,
    /// How many of the scenarios that keep the machine busy run at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// The daemon the scenarios put to the test; charon shows that they ask for nothing charon does not do
    #[arg(long, value_enum, default_value_t = Daemon::Ferryd)]
    daemon: Daemon,
    /// Play again, alone, the scenarios of a part that failed, if no more than this many did
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: u8,
    /// Let rekeying last ten minutes instead of one, and endure ten thousand seeds instead of a hundred
    #[arg(long)]
    long: bool,
    /// Play one scenario in this process (what the lab starts for each)
    #[arg(long, hide = true, value_name = "SCENARIO")]
    play: Option<String>,
    /// Tidy up after the process with this id, once it has ended (what each run starts for its own end)
    #[arg(long, hide = true, value_name = "PROCESS")]
    tidy: Option<u32>,
    /// Play scenarios of this part, which takes a kernel's ESP, here (what is run in a guest)
    #[arg(long, hide = true, value_name = "PART")]
    inside: Option<Part>,
    /// Run a program in a guest with a kernel of its own (what cargo starts for each of a guest's tests)
    #[arg(long, hide = true, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    guest: Vec<OsString>,
}

/// The parts, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Format,
    Lint,
    Tests,
    Docs,
    Kernel,
    KernelLab,
    /// It mostly waits for emulated processors, and so runs beside the part before it.
    QemuLab,
    Lab,
}

impl Part {
    const ALL: [Self; 8] = [
        Self::Format,
        Self::Lint,
        Self::Tests,
        Self::Docs,
        Self::Kernel,
        Self::KernelLab,
        Self::QemuLab,
        Self::Lab,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Lint => "lint",
            Self::Tests => "tests",
            Self::Docs => "docs",
            Self::Kernel => "kernel",
            Self::KernelLab => "kernel-lab",
            Self::QemuLab => "qemu-lab",
            Self::Lab => "lab",
        }
    }

    /// The data plane of daemons in its scenarios.
    fn plane(self) -> Plane {
        if matches!(self, Self::KernelLab | Self::QemuLab) { Plane::Kernel } else { Plane::Userspace }
    }

    /// Its scenarios, if it has any.
    fn scenarios(self) -> Vec<Scenario> {
        match self {
            Self::KernelLab => scenarios::in_kernel(),
            Self::QemuLab => scenarios::in_machine(),
            Self::Lab => scenarios::all(),
            Self::Format | Self::Lint | Self::Tests | Self::Docs | Self::Kernel => Vec::new(),
        }
    }

    fn claim(self) -> &'static str {
        match self {
            Self::Format => "the code is formatted (cargo fmt)",
            Self::Lint => "no warnings in any target (cargo clippy)",
            Self::Tests => "unit tests, stories, chaos and the fuzz corpora (cargo test)",
            Self::Docs => "the documentation builds without warnings (cargo doc)",
            Self::Kernel => "SAs and policies in a kernel with ESP (user-mode Linux)",
            Self::KernelLab => {
                "ferryd against real peers, all of them with the ESP of a kernel (user-mode Linux)"
            }
            Self::QemuLab => {
                "the same for what that kernel lacks, with Debian's own on two processors (qemu)"
            }
            Self::Lab => "ferryd against real peers in network namespaces",
        }
    }
}

/// What ran, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Of those that passed, how many had failed before.
    retried: u64,
}

impl Tally {
    const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0, retried: 0 };
    const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0, retried: 0 };
    const RETRIED: &str = " passed only when played again";

    /// Reads what [`Tally`] shows.
    fn parse(text: &str) -> Option<Self> {
        let mut counts = text.split(", ").zip([" passed", " failed", " skipped", Self::RETRIED]);
        let mut next = || counts.next().map(|(count, what)| count.strip_suffix(what)?.parse().ok());
        let tally = Self {
            passed: next()??,
            failed: next()??,
            skipped: next()??,
            retried: next().unwrap_or(Some(0))?,
        };
        Some(tally)
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.retried += other.retried;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)?;
        match self.retried {
            0 => Ok(()),
            retried => write!(f, ", {retried}{}", Self::RETRIED),
        }
    }
}

/// Runs what `options` ask for. `Ok(false)` when something failed.
///
/// # Errors
/// When the machine cannot be made ready, before anything has run.
pub fn run(options: &Options) -> Result<bool> {
    if options.list {
        list();
        return Ok(true);
    }
    if let Some(runner) = options.tidy {
        Janitor::wait_for_end()?;
        leftovers::tidy(runner)?;
        return Ok(true);
    }
    if options.inside == Some(Part::QemuLab) {
        be_patient(EMULATED);
    }
    if let Some(part) = options.inside.filter(|_| options.play.is_none()) {
        let tally = lab::run(&options.scenarios(part), options.plan(part), false)?;
        println!("{tally}");
        return Ok(tally.failed == 0);
    }
    if let Some(name) = &options.play {
        return lab::play(name, options.plan(options.inside.unwrap_or(Part::Lab)));
    }
    if !options.guest.is_empty() {
        return crate::kernel::stand_in(&options.guest);
    }
    let parts: Vec<Part> = Part::ALL.into_iter().filter(|part| options.wants(*part)).collect();
    ensure!(!parts.is_empty(), "no part or scenario is called {}; see --list", options.only.join(" or "));
    machine::prepare("cargo verify", |what| println!("{what}"))?;
    let tally = std::thread::scope(|scope| {
        let mut all = Tally::default();
        let mut beside = None;
        for part in &parts {
            if *part == Part::KernelLab && parts.contains(&Part::QemuLab) {
                beside = Some(scope.spawn(|| run_unheard(Part::QemuLab, options)));
            }
            println!("{}: {}", part.name(), part.claim());
            let ended = match beside.take_if(|_| *part == Part::QemuLab) {
                Some(thread) => {
                    let (said, ended) = thread.join().unwrap_or_else(|_| (Vec::new(), Ended::panicked()));
                    said.iter().for_each(|line| println!("{line}"));
                    ended
                }
                None => run_part(*part, options, |line| println!("{line}")),
            };
            let tally = ended.tally.unwrap_or_else(|error| {
                println!("  {error:#}");
                Tally::FAILED
            });
            println!("{}: {tally}, {}\n", part.name(), seconds(ended.took));
            all.add(tally);
        }
        all
    });
    if tally.retried > 0 {
        println!("{}{}: a race, to be found", tally.retried, Tally::RETRIED);
    }
    // The last line has one form, whatever happened.
    println!("{}", Tally { retried: 0, ..tally });
    Ok(tally.failed == 0)
}

/// How a part ended.
struct Ended {
    tally: Result<Tally>,
    took: Duration,
}

impl Ended {
    fn panicked() -> Self {
        Self { tally: Err(anyhow!("it panicked")), took: Duration::ZERO }
    }
}

/// Runs a part beside another one, whose lines it is not to mix with. Gives what it has said.
fn run_unheard(part: Part, options: &Options) -> (Vec<String>, Ended) {
    let said = RefCell::new(Vec::new());
    let ended = run_part(part, options, |line| said.borrow_mut().push(line.to_owned()));
    (said.into_inner(), ended)
}

/// Runs a part; those that may run beside others say by `tell` what they have to say.
fn run_part(part: Part, options: &Options, tell: impl Fn(&str)) -> Ended {
    let begun = Instant::now();
    let (scenarios, after_tests) = (options.scenarios(part), options.wants(Part::Tests));
    let tally = match part {
        Part::Format => checks::format(),
        Part::Lint => checks::lint(),
        Part::Tests => tests::run(options.length()),
        Part::Docs => checks::docs(),
        Part::Kernel => kernel::run(),
        Part::KernelLab | Part::QemuLab => kernel_lab::run(options.plan(part), &scenarios, after_tests, tell),
        Part::Lab => lab::run(&scenarios, options.plan(part), after_tests),
    };
    Ended { tally, took: begun.elapsed() }
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        let named = |only: &String| only == part.name();
        self.only.is_empty() || self.only.iter().any(named) || !self.scenarios(part).is_empty()
    }

    fn length(&self) -> Length {
        if self.long { Length::Long } else { Length::Usual }
    }

    /// How the scenarios of a part are played.
    fn plan(&self, part: Part) -> lab::Plan {
        lab::Plan {
            daemon: self.daemon,
            length: self.length(),
            part,
            jobs: usize::from(self.jobs),
            retries: usize::from(self.retries),
        }
    }

    /// The scenarios of a part that are asked for: all, unless some are named; those that are played in a guest, with the
    /// part's name before theirs. In the guest, they are named in full.
    fn scenarios(&self, part: Part) -> Vec<Scenario> {
        let all = self.only.is_empty() || self.only.iter().any(|only| only == part.name());
        let named = |name: &str| {
            let is_of = |only: &str| match part.plane() {
                Plane::Userspace => name.starts_with(only),
                Plane::Kernel => {
                    let prefix = only.strip_prefix(part.name()).and_then(|rest| rest.strip_prefix('/'));
                    prefix.is_some_and(|prefix| name.starts_with(prefix))
                }
            };
            match self.inside {
                Some(_) => self.only.iter().any(|only| only == name),
                None => self.only.iter().any(|only| is_of(only)),
            }
        };
        part.scenarios().into_iter().filter(|scenario| all || named(&scenario.name)).collect()
    }
}

fn list() {
    for part in Part::ALL {
        println!("{:35} {}", part.name(), part.claim());
    }
    for part in [Part::Lab, Part::KernelLab, Part::QemuLab] {
        let of = if part == Part::Lab { String::new() } else { format!("{}/", part.name()) };
        for scenario in part.scenarios() {
            println!("  {:33} {}", format!("{of}{}", scenario.name), scenario.claim);
        }
    }
}

/// Where logs of parts, and of scenarios on this machine, lie.
fn logs() -> Result<PathBuf> {
    logs_of(Part::Lab)
}

/// Where logs of a part's scenarios lie.
fn logs_of(part: Part) -> Result<PathBuf> {
    let logs = cargo::target_directory()?.join(part.name());
    std::fs::create_dir_all(&logs)?;
    Ok(logs)
}

/// The last lines of a text, indented, for a reader who wants to know what went wrong.
fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    last.iter().map(|line| format!("    {line}\n")).collect()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod self_tests {
    use super::*;

    fn options(only: &[&str]) -> Options {
        Options::parse_from(["verify"].into_iter().chain(only.iter().flat_map(|only| ["--only", only])))
    }

    #[test]
    fn only_selects_parts_and_scenarios() {
        let wanted =
            |options: &Options| Part::ALL.into_iter().filter(|part| options.wants(*part)).collect::<Vec<_>>();
        assert_eq!(wanted(&options(&[])), Part::ALL);
        assert_eq!(wanted(&options(&["lint", "docs"])), [Part::Lint, Part::Docs]);
        let suites = options(&["suites"]);
        assert_eq!(wanted(&suites), [Part::Lab]);
        assert_eq!(suites.scenarios(Part::Lab).len(), 2);
        assert_eq!(options(&["lab"]).scenarios(Part::Lab).len(), scenarios::all().len());
        let inside = options(&["kernel-lab/site-i"]);
        assert_eq!((wanted(&inside), inside.scenarios(Part::KernelLab).len()), (vec![Part::KernelLab], 1));
        assert!(options(&["kernel-lab"]).scenarios(Part::KernelLab).len() > 1);
        assert_eq!(wanted(&options(&["qemu-lab/"])), [Part::QemuLab]);
        assert!(wanted(&options(&["no such thing"])).is_empty());
    }

    #[test]
    fn scenarios_have_names_of_their_own() {
        for part in [Part::Lab, Part::KernelLab, Part::QemuLab] {
            let mut names: Vec<String> = part.scenarios().into_iter().map(|scenario| scenario.name).collect();
            let number = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), number);
        }
        let names: Vec<String> = scenarios::all().into_iter().map(|scenario| scenario.name).collect();
        assert!(Part::ALL.iter().all(|part| !names.iter().any(|name| name == part.name())));
    }

    #[test]
    fn parts_are_called_alike_by_all() {
        for part in Part::ALL {
            assert_eq!(Part::from_str(part.name(), false), Ok(part));
        }
    }

    #[test]
    fn a_count_is_read_as_it_is_written() {
        for retried in [0, 2] {
            let tally = Tally { passed: 12, failed: 0, skipped: 3, retried };
            assert_eq!(Tally::parse(&tally.to_string()), Some(tally));
        }
        assert_eq!(Tally::parse("12 passed"), None);
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "    b\n    c\n");
        assert_eq!(tail("a\n", 2), "    a\n");
    }
}
