//! `cargo test` over the workspace, its results read as they come.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Tally, logs, tail};
use crate::cargo;
use crate::lab::Length;

/// Seeds of the endurance test (`ike/tests/endurance.rs`) in a long run.
const MANY_SEEDS: &str = "10000";

pub(super) fn run(length: Length) -> Result<Tally> {
    let mut command = cargo::command("test");
    command.args(["--workspace", "--no-fail-fast"]);
    if length == Length::Long {
        command.env("FERRY_SEEDS", MANY_SEEDS);
    }
    follow(command, &logs()?.join("tests.log"), |_| ())
}

/// Runs a `cargo test`, tells what is worth telling and counts; `hear` hears all it says.
pub(super) fn follow(command: Command, log: &Path, mut hear: impl FnMut(&str)) -> Result<Tally> {
    let mut reader = Reader::default();
    let status = cargo::follow(command, log, |line| {
        if let Some(news) = reader.read(line) {
            println!("  {news}");
        }
        hear(line);
    })?;
    let mut tally = reader.tally;
    if !status.success() {
        if tally.failed == 0 {
            // It did not build, or a test's process died without counting.
            tally.failed = 1;
        }
        let said = if reader.failures.is_empty() { std::fs::read_to_string(log)? } else { reader.failures };
        print!("{}", tail(&said, 80));
        println!("  all of it lies in {}", log.display());
    }
    Ok(tally)
}

/// Understands what `cargo test` prints, line by line.
#[derive(Debug, Default)]
struct Reader {
    running: String,
    tally: Tally,
    /// What failed tests wrote.
    failures: String,
    in_failure: bool,
}

impl Reader {
    /// Counts the line; gives what is worth telling.
    fn read(&mut self, line: &str) -> Option<String> {
        // `---- NAME stdout ----` begins what a failed test wrote; a list of names ends it.
        self.in_failure = line.starts_with("---- ") || self.in_failure && line != "failures:";
        if self.in_failure {
            self.failures += line;
            self.failures.push('\n');
            return None;
        }
        let words = line.trim_start();
        if let Some(how) = words.strip_prefix("Finished ").filter(|_| line.starts_with("  ")) {
            return Some(format!("built: {how}"));
        }
        for prefix in ["Running unittests ", "Running ", "Doc-tests "] {
            if let Some(what) = words.strip_prefix(prefix).filter(|_| line.starts_with("  ")) {
                self.running = name(prefix, what);
                return None;
            }
        }
        if let Some(counts) = line.strip_prefix("test result: ").and_then(counts) {
            self.tally.add(counts);
            let any = counts != Tally::default();
            return any.then(|| format!("{:40} {counts}", self.running));
        }
        let (test, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let worth_telling = verdict.starts_with("FAILED") || verdict.starts_with("ignored");
        worth_telling.then(|| format!("{}: {test}: {verdict}", self.running))
    }
}

/// What runs, in short: `ferry_ike`, `ferry_ike tests/rfc7296/main.rs`, `ferry_ike examples`.
fn name(prefix: &str, what: &str) -> String {
    if prefix == "Doc-tests " {
        return format!("{what} documentation");
    }
    // `src/lib.rs (target/debug/deps/ferry_ike-0123456789abcdef)`
    let (source, program) = what.split_once(" (").unwrap_or((what, ""));
    let file = program.rsplit('/').next().unwrap_or_default();
    let binary = file.rsplit_once('-').map_or(file, |(binary, _)| binary);
    format!("{binary} {source}")
}

/// `ok. 10 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.20s`
fn counts(text: &str) -> Option<Tally> {
    let (_, counts) = text.split_once(". ")?;
    let mut tally = Tally::default();
    for part in counts.split("; ") {
        match part.split_once(' ') {
            Some((number, "passed")) => tally.passed = number.parse().ok()?,
            Some((number, "failed")) => tally.failed = number.parse().ok()?,
            Some((number, "ignored")) => tally.skipped = number.parse().ok()?,
            _ => {}
        }
    }
    Some(tally)
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn results_are_counted_and_told() {
        let output = "\
   Compiling ferry-ike v0.1.0 (/home/u/ferry/ike)
    Finished `test` profile [optimized + debuginfo] target(s) in 51.34s
     Running unittests src/lib.rs (target/debug/deps/ferry_ike-b5645d8ef5612e7b)

running 3 tests
test wire::tests::fine ... ok
test wire::tests::slow ... ignored, takes a week
test wire::tests::bad ... FAILED

failures:

---- wire::tests::bad stdout ----
thread 'wire::tests::bad' panicked at ike/src/wire.rs:3:5:
test result: ok. 1000 passed; it only says so

failures:
    wire::tests::bad

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.20s

     Running tests/chaos.rs (target/debug/deps/chaos-b5645d8ef5612e7b)
test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.20s
   Doc-tests ferry_ike
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let mut reader = Reader::default();
        let told: Vec<String> = output.lines().filter_map(|line| reader.read(line)).collect();
        assert_eq!(reader.tally, Tally { passed: 8, failed: 1, skipped: 1, retried: 0 });
        assert!(reader.failures.contains("panicked at ike/src/wire.rs:3:5"), "{}", reader.failures);
        assert!(!reader.failures.contains("Doc-tests"), "{}", reader.failures);
        assert_eq!(
            told,
            [
                "built: `test` profile [optimized + debuginfo] target(s) in 51.34s",
                "ferry_ike src/lib.rs: wire::tests::slow: ignored, takes a week",
                "ferry_ike src/lib.rs: wire::tests::bad: FAILED",
                "ferry_ike src/lib.rs                     1 passed, 1 failed, 1 skipped",
                "chaos tests/chaos.rs                     7 passed, 0 failed, 0 skipped",
            ]
        );
    }
}
