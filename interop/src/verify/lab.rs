//! The scenarios, each in a process of its own, some at a time.
//!
//! A process of its own can be ended when it takes too long, takes everything it has started with it, and leaves its
//! name in that of its namespaces, so that even those can be cleared away.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Part, Tally, logs_of, seconds, tail};
use crate::janitor::Janitor;
use crate::lab::{Deadline, Lab, Length, Lifetime, Plane, Process};
use crate::leftovers::{self, NAME};
use crate::peer::Daemon;
use crate::scenarios::{Company, Scenario};
use crate::{cargo, rootfs};

/// How much longer a scenario may take in a long run.
const MORE_TIME: Duration = Duration::from_secs(900);

/// How scenarios are played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The daemon under test.
    pub(super) daemon: Daemon,
    pub(super) length: Length,
    /// Which scenarios they are, and with that, the data plane of all daemons.
    pub(super) part: Part,
    /// How many of those that keep the machine busy are played at a time.
    pub(super) jobs: usize,
    /// How many that failed beside others may be played again alone; if more fail, none is.
    pub(super) retries: usize,
}

/// What came of the scenarios so far.
#[derive(Default)]
struct Outcome<'s> {
    tally: Tally,
    /// Those that failed and are not counted yet.
    failed: Vec<&'s Scenario>,
}

/// Builds the daemon, with what the tests have built if there were any, and plays the scenarios.
pub(super) fn run(scenarios: &[Scenario], plan: Plan, after_tests: bool) -> Result<Tally> {
    for namespace in leftovers::clear_abandoned()? {
        println!("  cleared away {namespace}, left by a run that was ended");
    }
    // A guest has no cargo; its host has built what is played with.
    if plan.part.plane() == Plane::Userspace
        && let Err(error) = build(after_tests)
    {
        println!("  no scenario can be played: {error:#}");
        return Ok(Tally { skipped: u64::try_from(scenarios.len())?, ..Tally::FAILED });
    }
    let _janitor = Janitor::hire()?;
    let charon6 = provide_charon6(scenarios, plan.daemon);
    let mut tally = Tally::default();
    let mut playable = Vec::new();
    for scenario in scenarios {
        match &charon6 {
            _ if !scenario.suits(plan.daemon) => {
                println!("  {:33} skipped, it is about ferryd alone", scenario.name);
                tally.skipped += 1;
            }
            Err(_) if scenario.needs_charon6() || plan.daemon == Daemon::Charon6 => {
                println!("  {:33} FAILED, there is no {} to play it with", scenario.name, Daemon::Charon6);
                tally.failed += 1;
            }
            _ => playable.push(scenario),
        }
    }
    if let Err(error) = charon6 {
        print!("{}", tail(&format!("{error:#}"), 40));
    }
    let with =
        |company: Company| playable.iter().copied().filter(move |scenario| scenario.company == company);
    let all = Mutex::new(Outcome { tally, failed: Vec::new() });
    let few = Mutex::new(with(Company::Few));
    std::thread::scope(|scope| {
        for scenario in with(Company::All) {
            let all = &all;
            scope.spawn(move || play_and_tell(scenario, plan, all));
        }
        for _ in 0..plan.jobs {
            scope.spawn(|| {
                let next = || few.lock().ok()?.next();
                while let Some(scenario) = next() {
                    play_and_tell(scenario, plan, &all);
                }
            });
        }
    });
    with(Company::None).for_each(|scenario| play_and_tell(scenario, plan, &all));
    let outcome = all.into_inner().map_err(|_| anyhow::anyhow!("a thread of the lab panicked"))?;
    let mut tally = give_second_try(outcome, plan)?;
    let left = leftovers::find(std::process::id())?;
    for thing in &left {
        println!("  left over: {thing}");
    }
    println!("  {:33} {}", "nothing-left-over", if left.is_empty() { "ok" } else { "FAILED" });
    tally.add(if left.is_empty() { Tally::PASSED } else { Tally::FAILED });
    Ok(tally)
}

pub(super) fn build(after_tests: bool) -> Result<PathBuf> {
    if after_tests { cargo::build_ferryd_as_tests_do() } else { cargo::build_ferryd() }
}

/// Makes the root file system of strongSwan's next generation if a scenario needs it. Scenarios would make it
/// themselves, but in the time they have.
fn provide_charon6(scenarios: &[Scenario], daemon: Daemon) -> Result<()> {
    if daemon == Daemon::Charon6 || scenarios.iter().any(Scenario::needs_charon6) {
        rootfs::DEBIAN_13.provide(|what| println!("  {what}"))?;
    }
    Ok(())
}

/// Plays a scenario in a process of its own and says and counts what came of it.
fn play_and_tell<'s>(scenario: &'s Scenario, plan: Plan, all: &Mutex<Outcome<'s>>) {
    let begun = Instant::now();
    let result = play_apart(scenario, plan);
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    // Whole lines under the lock, so that those of different scenarios do not mix.
    if let Ok(mut all) = all.lock() {
        println!("  {:33} {verdict}, {}", scenario.name, seconds(begun.elapsed()));
        match result {
            Ok(measured) => {
                print!("{measured}");
                all.tally.add(Tally::PASSED);
            }
            Err(error) => {
                println!("    it should be that: {}", scenario.claim);
                print!("{}", tail(&format!("{error:#}"), 40));
                all.failed.push(scenario);
            }
        }
    }
}

/// Plays alone, once more, the few scenarios that failed beside others, and counts what comes of that.
///
/// What is played here is real daemons, some of them not ours, in real time on a machine that others keep busy. A
/// fault fails twice; what passes alone is told all the same, with what was seen the first time, for somebody to find
/// the race. Many that fail are no accident.
fn give_second_try(outcome: Outcome<'_>, plan: Plan) -> Result<Tally> {
    let Outcome { mut tally, failed } = outcome;
    if failed.len() > plan.retries {
        failed.iter().for_each(|_| tally.add(Tally::FAILED));
        return Ok(tally);
    }
    let logs = logs_of(plan.part)?;
    for scenario in failed {
        let first = logs.join(format!("{}.first", scenario.name));
        if first.exists() {
            std::fs::remove_dir_all(&first)?;
        }
        let seen = logs.join(&scenario.name);
        if seen.exists() {
            std::fs::rename(seen, &first)?;
        }
        let again = Mutex::new(Outcome::default());
        play_and_tell(scenario, plan, &again);
        let again = again.into_inner().map_err(|_| anyhow::anyhow!("a thread of the lab panicked"))?;
        if again.failed.is_empty() {
            println!("    only when played again, alone; the first time lies in {}", first.display());
            tally.add(Tally { retried: 1, ..Tally::PASSED });
        } else {
            tally.add(Tally::FAILED);
        }
    }
    Ok(tally)
}

/// Plays a scenario in this process. `Ok(false)` when it failed, with the reason on standard error.
pub(super) fn play(name: &str, plan: Plan) -> Result<bool> {
    let scenario = plan.part.scenarios().into_iter().find(|scenario| scenario.name == name);
    let scenario = scenario.with_context(|| format!("no scenario is called {name}"))?;
    let ferryd = std::env::current_exe()?.with_file_name("ferryd");
    let lab = Lab::new(NAME, &logs_of(plan.part)?.join(name), &ferryd, Lifetime::Scoped)?;
    let lab = lab.at_length(plan.length).on(plan.part.plane());
    let result = scenario.play(lab, plan.daemon);
    if let Err(error) = &result {
        eprintln!("{error:#}");
    }
    Ok(result.is_ok())
}

/// What scenarios print of figures that are to be seen when all went well.
const MEASURED: &str = "measured: ";

/// Starts this program again for one scenario and waits for it. Gives what it has measured, a line each.
fn play_apart(scenario: &Scenario, plan: Plan) -> Result<String> {
    let logs = logs_of(plan.part)?;
    let said = logs.join(format!("{}.log", scenario.name));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--play", &scenario.name, "--daemon"]);
    command.arg(plan.daemon.to_string());
    let extra = match plan.length {
        Length::Usual => Duration::ZERO,
        Length::Long => {
            command.arg("--long");
            MORE_TIME
        }
    };
    if plan.part.plane() == Plane::Kernel {
        command.args(["--inside", plan.part.name()]);
    }
    command.env(leftovers::MARK, std::process::id().to_string());
    command.stdout(File::create(&said)?).stderr(File::options().append(true).open(&said)?);
    let mut process = Process::start(command, true)?;
    let ended = process.wait(Deadline::after(scenario.limit + extra));
    leftovers::clear(&format!("{NAME}-{}-", process.id()))?;
    match ended {
        Ok(status) if status.success() => {
            let text = std::fs::read_to_string(&said)?;
            std::fs::remove_file(&said)?;
            let measured = text.lines().filter_map(|line| line.strip_prefix(MEASURED));
            Ok(measured.map(|line| format!("    {line}\n")).collect())
        }
        Ok(_) => Err(anyhow::anyhow!("{}", read(&said))),
        Err(error) => {
            let folder = logs.join(&scenario.name);
            Err(error.context(format!("what was seen lies in {}\n{}", folder.display(), read(&said))))
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}
