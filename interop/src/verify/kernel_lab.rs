//! Scenarios of the lab in a guest, where ferryd and its peers have a kernel's ESP.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};

use super::lab::{self, Plan};
use super::{Part, Tally, logs_of};
use crate::kernel::Guest;
use crate::rootfs;
use crate::scenarios::Scenario;

/// How long all of them may take.
const LONGEST: Duration = Duration::from_secs(900);

/// Builds the daemon, boots the guest of the plan's part, and plays the scenarios in it. What is worth telling it tells with
/// `tell`.
pub(super) fn run(
    plan: Plan,
    scenarios: &[Scenario],
    after_tests: bool,
    tell: impl Fn(&str),
) -> Result<Tally> {
    let telling = |what: &str| tell(&format!("  {what}"));
    // How many are played at a time: they mostly wait, even where there is one processor.
    let (guest, jobs) = match plan.part {
        Part::QemuLab => (Guest::provide_virtual_machine(telling)?, "2"),
        _ => (Guest::provide(telling)?, "3"),
    };
    if scenarios.iter().any(Scenario::needs_strangers) {
        rootfs::STRANGERS.provide(telling)?;
    }
    lab::build(after_tests)?;
    let mut arguments: Vec<OsString> =
        ["--inside", plan.part.name(), "--jobs", jobs].map(OsString::from).to_vec();
    arguments.extend(["--retries".into(), plan.retries.to_string().into()]);
    for scenario in scenarios {
        arguments.extend([OsString::from("--only"), OsString::from(&scenario.name)]);
    }
    let mut tally = None;
    let program = std::env::current_exe()?;
    guest.run(&program, &arguments, &logs_of(plan.part)?, LONGEST, |line| match Tally::parse(line) {
        Some(count) => tally = Some(count),
        None => tell(line),
    })?;
    tally.context("the guest did not count what it played")
}
