//! The scenarios, each in a process of its own, some at a time.
//!
//! A process of its own can be ended when it takes too long, takes everything it has started with it, and leaves its
//! name in that of its namespaces, so that even those can be cleared away.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{Tally, leftovers, logs, seconds, tail};
use crate::cargo;
use crate::lab::{Deadline, Lab, Lifetime, Process};
use crate::peer::Daemon;
use crate::scenarios::{self, Scenario};

/// What the namespaces of scenarios are called, before their process's id.
pub(super) const NAME: &str = "ferry-lab";

/// Builds the daemon and plays the scenarios, `jobs` at a time.
pub(super) fn run(scenarios: &[Scenario], daemon: Daemon, jobs: usize) -> Result<Tally> {
    for namespace in leftovers::clear_abandoned()? {
        println!("  cleared away {namespace}, left by a run that was ended");
    }
    if let Err(error) = cargo::build_ferryd() {
        println!("  no scenario can be played: {error:#}");
        return Ok(Tally { skipped: u64::try_from(scenarios.len())?, ..Tally::FAILED });
    }
    let (playable, others): (Vec<&Scenario>, Vec<_>) =
        scenarios.iter().partition(|scenario| scenario.suits(daemon));
    for scenario in &others {
        println!("  {:33} skipped, it is about ferryd alone", scenario.name);
    }
    let queue = Mutex::new(playable.into_iter());
    let all = Mutex::new(Tally { skipped: u64::try_from(others.len())?, ..Tally::default() });
    let next = || queue.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(scenario) = next() {
                    let begun = Instant::now();
                    let result = play_apart(scenario, daemon);
                    let (tally, verdict) = match &result {
                        Ok(()) => (Tally::PASSED, "ok"),
                        Err(_) => (Tally::FAILED, "FAILED"),
                    };
                    // Whole lines under the lock, so that those of different scenarios do not mix.
                    if let Ok(mut all) = all.lock() {
                        println!("  {:33} {verdict}, {}", scenario.name, seconds(begun.elapsed()));
                        if let Err(error) = result {
                            println!("    it should be that: {}", scenario.claim);
                            print!("{}", tail(&format!("{error:#}"), 40));
                        }
                        all.add(tally);
                    }
                }
            });
        }
    });
    let mut tally = *all.lock().map_err(|_| anyhow::anyhow!("a thread of the lab panicked"))?;
    let left = leftovers::find(std::process::id())?;
    for thing in &left {
        println!("  left over: {thing}");
    }
    println!("  {:33} {}", "nothing-left-over", if left.is_empty() { "ok" } else { "FAILED" });
    tally.add(if left.is_empty() { Tally::PASSED } else { Tally::FAILED });
    Ok(tally)
}

/// Plays a scenario in this process. `Ok(false)` when it failed, with the reason on standard error.
pub(super) fn play(name: &str, ours: Daemon) -> Result<bool> {
    let scenario = scenarios::all().into_iter().find(|scenario| scenario.name == name);
    let scenario = scenario.with_context(|| format!("no scenario is called {name}"))?;
    let ferryd = std::env::current_exe()?.with_file_name("ferryd");
    let lab = Lab::new(NAME, &logs()?.join(name), &ferryd, Lifetime::Scoped)?;
    let result = scenario.play(lab, ours);
    if let Err(error) = &result {
        eprintln!("{error:#}");
    }
    Ok(result.is_ok())
}

/// Starts this program again for one scenario and waits for it.
fn play_apart(scenario: &Scenario, daemon: Daemon) -> Result<()> {
    let said = logs()?.join(format!("{}.log", scenario.name));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--play", &scenario.name, "--daemon"]);
    command.arg(daemon.to_string());
    command.env(leftovers::MARK, std::process::id().to_string());
    command.stdout(File::create(&said)?).stderr(File::options().append(true).open(&said)?);
    let mut process = Process::start(command, true)?;
    let ended = process.wait(Deadline::after(scenario.limit));
    leftovers::clear(&format!("{NAME}-{}-", process.id()))?;
    match ended {
        Ok(status) if status.success() => Ok(std::fs::remove_file(&said)?),
        Ok(_) => Err(anyhow::anyhow!("{}", read(&said))),
        Err(error) => {
            let folder = logs()?.join(&scenario.name);
            Err(error.context(format!("what was seen lies in {}\n{}", folder.display(), read(&said))))
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}
