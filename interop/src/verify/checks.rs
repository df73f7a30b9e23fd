//! Parts that pass or fail as a whole: one cargo command each.

use std::process::Command;

use anyhow::{Context, Result};

use super::{Tally, logs, tail};
use crate::cargo;

pub(super) fn format() -> Result<Tally> {
    component("rustfmt", "fmt")?;
    let mut fmt = cargo::command("fmt");
    fmt.args(["--all", "--check", "--", "--color", "never"]);
    check("format", fmt)
}

pub(super) fn lint() -> Result<Tally> {
    component("clippy", "clippy")?;
    let mut clippy = cargo::command("clippy");
    clippy.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    check("lint", clippy)
}

pub(super) fn docs() -> Result<Tally> {
    let mut doc = cargo::command("doc");
    // Whoever works on the code reads the documentation of private items too, and may be sent there from public ones.
    doc.args(["--workspace", "--no-deps", "--document-private-items"]);
    doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links");
    check("docs", doc)
}

fn check(name: &str, command: Command) -> Result<Tally> {
    let log = logs()?.join(format!("{name}.log"));
    if cargo::follow(command, &log, |_| ())?.success() {
        return Ok(Tally::PASSED);
    }
    print!("{}", tail(&std::fs::read_to_string(&log)?, 40));
    println!("  all of it lies in {}", log.display());
    Ok(Tally::FAILED)
}

/// Installs a component of the toolchain that a minimal installation lacks.
fn component(name: &str, subcommand: &str) -> Result<()> {
    let there =
        cargo::command(subcommand).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("  installing {name}");
        // What it says if it fails, cargo repeats when it is asked for the component.
        Command::new("rustup").args(["component", "add", name]).output().context("cannot run rustup")?;
    }
    Ok(())
}
