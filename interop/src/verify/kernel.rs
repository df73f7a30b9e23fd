//! Tests that want a kernel with ESP, in a guest that has one.

use anyhow::Result;

use super::{Tally, logs, tests};
use crate::cargo;
use crate::kernel::Guest;

/// What a test says, at the beginning of a line, that could not do what it is there for.
const SKIPPED: &str = "SKIPPED: ";

pub(super) fn run() -> Result<Tally> {
    Guest::provide(|what| println!("  {what}"))?;
    let mut command = cargo::command("test");
    command.args(["--package", "ferry-xfrm", "--test", "namespace", "--no-fail-fast", "--config"]);
    let verify = std::env::current_exe()?;
    command.arg(format!("target.'cfg(unix)'.runner = ['{}', '--guest']", verify.display()));
    let mut skipped = 0;
    let mut tally = tests::follow(command, &logs()?.join("kernel.log"), |line| {
        if let Some(why) = line.strip_prefix(SKIPPED) {
            println!("  skipped in the guest: {why}");
            skipped += 1;
        }
    })?;
    // The harness knows of none.
    tally.skipped += skipped;
    tally.passed = tally.passed.saturating_sub(skipped);
    Ok(tally)
}
