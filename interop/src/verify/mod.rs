//! `cargo verify`: everything that proves the project, in one command.
//!
//! It runs in parts, each told and timed. The last line counts all of them together: a test counts one, a scenario of
//! the lab counts one, and so does each check that passes or fails as a whole.

mod checks;
mod kernel;
mod kernel_lab;
mod lab;
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;

use crate::janitor::Janitor;
use crate::lab::{Length, Plane};
use crate::peer::Daemon;
use crate::{cargo, leftovers, machine, scenarios};

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
    /// Let rekeying last ten minutes instead of one, and endure ten thousand seeds instead of a hundred
    #[arg(long)]
    long: bool,
    /// Play one scenario in this process (what the lab starts for each)
    #[arg(long, hide = true, value_name = "SCENARIO")]
    play: Option<String>,
    /// Tidy up after the process with this id, once it has ended (what each run starts for its own end)
    #[arg(long, hide = true, value_name = "PROCESS")]
    tidy: Option<u32>,
    /// Play scenarios on the kernel's ESP (what is run in a guest)
    #[arg(long, hide = true)]
    inside: bool,
    /// Run a program in a guest with a kernel of its own (what cargo starts for each of a guest's tests)
    #[arg(long, hide = true, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    guest: Vec<OsString>,
}

/// The parts, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Format,
    Lint,
    Tests,
    Docs,
    Kernel,
    KernelLab,
    Lab,
}

impl Part {
    const ALL: [Self; 7] =
        [Self::Format, Self::Lint, Self::Tests, Self::Docs, Self::Kernel, Self::KernelLab, Self::Lab];

    fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Lint => "lint",
            Self::Tests => "tests",
            Self::Docs => "docs",
            Self::Kernel => "kernel",
            Self::KernelLab => "kernel-lab",
            Self::Lab => "lab",
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
}

impl Tally {
    const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Reads what [`Tally`] shows.
    fn parse(text: &str) -> Option<Self> {
        let mut counts = text.split(", ").zip([" passed", " failed", " skipped"]);
        let mut next = || counts.next().and_then(|(count, what)| count.strip_suffix(what)?.parse().ok());
        Some(Self { passed: next()?, failed: next()?, skipped: next()? })
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
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
    if options.inside && options.play.is_none() {
        let tally = lab::run(&options.scenarios(), options.plan(), false)?;
        println!("{tally}");
        return Ok(tally.failed == 0);
    }
    if let Some(name) = &options.play {
        return lab::play(name, options.plan());
    }
    if !options.guest.is_empty() {
        return crate::kernel::stand_in(&options.guest);
    }
    let parts: Vec<Part> = Part::ALL.into_iter().filter(|part| options.wants(*part)).collect();
    ensure!(!parts.is_empty(), "no part or scenario is called {}; see --list", options.only.join(" or "));
    machine::prepare("cargo verify", |what| println!("{what}"))?;
    let mut all = Tally::default();
    for part in parts {
        println!("{}: {}", part.name(), part.claim());
        let begun = Instant::now();
        let tally = match part {
            Part::Format => checks::format(),
            Part::Lint => checks::lint(),
            Part::Tests => tests::run(options.plan().length),
            Part::Docs => checks::docs(),
            Part::Kernel => kernel::run(),
            Part::KernelLab => kernel_lab::run(&options.kernel_scenarios(), options.wants(Part::Tests)),
            Part::Lab => lab::run(&options.scenarios(), options.plan(), options.wants(Part::Tests)),
        };
        let tally = tally.unwrap_or_else(|error| {
            println!("  {error:#}");
            Tally::FAILED
        });
        println!("{}: {tally}, {}\n", part.name(), seconds(begun.elapsed()));
        all.add(tally);
    }
    println!("{all}");
    Ok(all.failed == 0)
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        let named = |only: &String| only == part.name();
        self.only.is_empty()
            || self.only.iter().any(named)
            || part == Part::Lab && !self.scenarios().is_empty()
            || part == Part::KernelLab && !self.kernel_scenarios().is_empty()
    }

    fn plan(&self) -> lab::Plan {
        let length = if self.long { Length::Long } else { Length::Usual };
        lab::Plan { daemon: self.daemon, length, plane: self.plane(), jobs: usize::from(self.jobs) }
    }

    /// The scenarios asked for: all, unless some are named.
    fn scenarios(&self) -> Vec<scenarios::Scenario> {
        let all = self.only.is_empty() || self.only.iter().any(|only| only == Part::Lab.name());
        let named = |name: &str| match self.inside {
            true => self.only.iter().any(|only| only == name),
            false => self.only.iter().any(|only| name.starts_with(only.as_str())),
        };
        let scenarios = scenarios::on(self.plane()).into_iter();
        scenarios.filter(|scenario| all || named(&scenario.name)).collect()
    }

    fn plane(&self) -> Plane {
        if self.inside { Plane::Kernel } else { Plane::Userspace }
    }

    /// The scenarios asked for of those that are played in a guest: all, unless some are named, with the part's name
    /// before theirs.
    fn kernel_scenarios(&self) -> Vec<scenarios::Scenario> {
        let part = Part::KernelLab.name();
        let all = self.only.is_empty() || self.only.iter().any(|only| only == part);
        let prefix = |only: &str| only.strip_prefix(part)?.strip_prefix('/').map(str::to_owned);
        let prefixes: Vec<String> = self.only.iter().filter_map(|only| prefix(only)).collect();
        let named = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        scenarios::in_kernel().into_iter().filter(|scenario| all || named(&scenario.name)).collect()
    }
}

fn list() {
    for part in Part::ALL {
        println!("{:35} {}", part.name(), part.claim());
    }
    for scenario in scenarios::all() {
        println!("  {:33} {}", scenario.name, scenario.claim);
    }
    for scenario in scenarios::in_kernel() {
        println!("  {:33} {}", format!("{}/{}", Part::KernelLab.name(), scenario.name), scenario.claim);
    }
}

/// Where logs of parts and scenarios lie.
fn logs() -> Result<PathBuf> {
    logs_on(Plane::Userspace)
}

/// Where logs of scenarios on a data plane lie.
fn logs_on(plane: Plane) -> Result<PathBuf> {
    let name = match plane {
        Plane::Userspace => "lab",
        Plane::Kernel => "kernel-lab",
    };
    let logs = cargo::target_directory()?.join(name);
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
        assert_eq!(suites.scenarios().len(), 2);
        assert_eq!(options(&["lab"]).scenarios().len(), scenarios::all().len());
        let inside = options(&["kernel-lab/site-i"]);
        assert_eq!((wanted(&inside), inside.kernel_scenarios().len()), (vec![Part::KernelLab], 1));
        assert!(options(&["kernel-lab"]).kernel_scenarios().len() > 1);
        assert!(wanted(&options(&["no such thing"])).is_empty());
    }

    #[test]
    fn scenarios_have_names_of_their_own() {
        for plane in [Plane::Userspace, Plane::Kernel] {
            let mut names: Vec<String> =
                scenarios::on(plane).into_iter().map(|scenario| scenario.name).collect();
            let number = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), number);
        }
        let names: Vec<String> = scenarios::all().into_iter().map(|scenario| scenario.name).collect();
        assert!(Part::ALL.iter().all(|part| !names.iter().any(|name| name == part.name())));
    }

    #[test]
    fn a_count_is_read_as_it_is_written() {
        let tally = Tally { passed: 12, failed: 0, skipped: 3 };
        assert_eq!(Tally::parse(&tally.to_string()), Some(tally));
        assert_eq!(Tally::parse("12 passed"), None);
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "    b\n    c\n");
        assert_eq!(tail("a\n", 2), "    a\n");
    }
}
