//! Scenarios of the lab in a guest, where ferryd and its peers have a kernel's ESP.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Tally, lab, logs_on};
use crate::kernel::Guest;
use crate::lab::Plane;
use crate::rootfs;
use crate::scenarios::Scenario;

/// How many scenarios are played at a time: the guest has one processor, and they mostly wait.
const JOBS: &str = "3";

/// How long all of them may take.
const LONGEST: Duration = Duration::from_secs(900);

/// Builds the daemon, boots a guest, and plays the scenarios in it.
pub(super) fn run(scenarios: &[Scenario], after_tests: bool) -> Result<Tally> {
    let guest = Guest::provide(|what| println!("  {what}"))?;
    if scenarios.iter().any(Scenario::needs_strangers) {
        rootfs::STRANGERS.provide(|what| println!("  {what}"))?;
    }
    lab::build(after_tests)?;
    let mut arguments: Vec<OsString> = ["--inside", "--jobs", JOBS].map(OsString::from).to_vec();
    for scenario in scenarios {
        arguments.extend([OsString::from("--only"), OsString::from(&scenario.name)]);
    }
    let mut tally = None;
    let program = std::env::current_exe()?;
    guest.run(&program, &arguments, &logs_on(Plane::Kernel)?, LONGEST, |line| match Tally::parse(line) {
        Some(count) => tally = Some(count),
        None => println!("{line}"),
    })?;
    tally.context("the guest did not count what it played")
}
