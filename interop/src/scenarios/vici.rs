//! Everything VICI has, asked of charon and of the daemon under test in the same state by python's `vici`, unmodified, as it
//! is published: the answers are compared key by key.
//!
//! `vici/walk.py` asks, and `vici/differences.txt` has the differences that are known, each with its reason. One that is not
//! in it fails the scenario, and so does one in it that is no more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::site;
use super::topology::Sites;
use crate::lab::{Lab, Output};
use crate::peer::{Connection, Daemon, SwanctlConf, child};

/// The library's version. Another one may ask otherwise.
const LIBRARY: &str = "vici==6.0.3";

const PYTHON: &str = "/usr/bin/python3";

const WALK: &str = include_str!("vici/walk.py");
const DIFFERENCES: &str = include_str!("vici/differences.txt");

/// Charon first, then the daemon under test in its place, with the same peer.
pub(super) fn key_by_key(lab: &Lab, ours: Daemon) -> Result<()> {
    let library = library()?;
    let sites = Sites::build(lab)?;
    let [_, far] = site::connections(&sites);
    lab.peer(&sites.right.gateway, Daemon::Charon, &site::conf(far))?;
    let mut answers = Vec::new();
    for daemon in [Daemon::Charon, ours] {
        let peer = lab.peer(&sites.left.gateway, daemon, &home(&sites))?;
        let walk = peer.host().directory().join("walk.py");
        fs::write(&walk, WALK)?;
        let path = format!("PYTHONPATH={}", library.display());
        let walk = walk.to_str().context("the target directory's name is not UTF-8")?;
        let said: Output =
            peer.host().output(&["env", &path, PYTHON, walk, "/run/charon.vici"])?.success()?;
        fs::write(peer.host().directory().join(format!("answers-{daemon}.txt")), &said.stdout)?;
        answers.push(said.stdout.lines().map(str::to_owned).collect::<BTreeSet<_>>());
        peer.stop()?;
    }
    let [theirs, ours] = answers.as_slice() else { anyhow::bail!("not two answers") };
    judge(theirs, ours, DIFFERENCES)
}

/// A gateway whose connection has the names that the walk knows.
fn home(sites: &Sites) -> SwanctlConf {
    let (near, far) = (&sites.left, &sites.right);
    let connection = Connection::psk(near.id, far.id)
        .between(near.outer[0], far.outer[0])
        .child("net", child(near.networks[0], far.networks[0]));
    SwanctlConf::new().connection("home", connection).secret("site", site::SECRET, &[near.id, far.id])
}

/// The directory with the library, which is filled where it is not there yet.
fn library() -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python").join(LIBRARY);
    if directory.join("vici/session.py").exists() {
        return Ok(directory);
    }
    let output = Command::new(PYTHON)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target"])
        .args([directory.as_os_str(), LIBRARY.as_ref()])
        .output()
        .with_context(|| format!("cannot run {PYTHON}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "installing {LIBRARY} into {}: {said}", directory.display());
    Ok(directory)
}

/// Wants all differences to be known, and all that are known to be there.
fn judge(theirs: &BTreeSet<String>, ours: &BTreeSet<String>, known: &str) -> Result<()> {
    let known = known.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut unseen: Vec<(&str, bool)> = Vec::new();
    for line in known {
        let (pattern, reason) = line.split_once(": ").with_context(|| format!("{line:?} has no reason"))?;
        ensure!(!reason.trim().is_empty(), "{pattern} has no reason");
        unseen.push((pattern, true));
    }
    let mut unknown = Vec::new();
    let differing = theirs.difference(ours).map(|line| ('-', line));
    for (sign, line) in differing.chain(ours.difference(theirs).map(|line| ('+', line))) {
        let path = line.split_once(" = ").map_or(line.as_str(), |(path, _)| path);
        let mut is_known = false;
        for (pattern, is_unseen) in &mut unseen {
            if matches(path, pattern) {
                (is_known, *is_unseen) = (true, false);
            }
        }
        if !is_known {
            unknown.push(format!("{sign} {line}"));
        }
    }
    unknown.sort_by(|a, b| a.get(2..).cmp(&b.get(2..)));
    ensure!(unknown.is_empty(), "charon's answers (-) and ours (+) differ:\n{}", unknown.join("\n"));
    unseen.retain(|(_, is_unseen)| *is_unseen);
    ensure!(unseen.is_empty(), "known differences that are none: {unseen:?}");
    Ok(())
}

/// Whether a path has the form of a pattern, in which each `*` stands for anything.
fn matches(path: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => path == pattern,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|path| {
            rest.is_empty()
                || path.char_indices().any(|(at, _)| path.get(at..).is_some_and(|end| matches(end, rest)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn patterns_stand_for_paths() {
        assert!(matches("a/b/c", "a/b/c") && matches("a/b/c", "a/*") && matches("a/b/c", "*/c"));
        assert!(matches("list-sas/home/nat-fake", "list-sas*/nat-fake"));
        assert!(!matches("a/b/c", "a/b") && !matches("a/b/c", "b/*") && !matches("a/b/c", "*/b"));
    }

    #[test]
    fn differences_are_known_and_known_ones_are_there() {
        let (theirs, ours) = (set(&["a/b = 1", "a/c = 2"]), set(&["a/b = 1", "a/c = 3"]));
        judge(&theirs, &ours, "# why\n\na/c: because").unwrap();
        let error = judge(&theirs, &ours, "").unwrap_err().to_string();
        assert!(error.ends_with("\n- a/c = 2\n+ a/c = 3"), "{error}");
        let error = judge(&theirs, &ours, "a/*: because\nx: because").unwrap_err().to_string();
        assert!(error.contains("[(\"x\", true)]"), "{error}");
        assert!(judge(&theirs, &ours, "a/c").unwrap_err().to_string().contains("no reason"));
    }
}
