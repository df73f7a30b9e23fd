//! What scenarios must not leave behind: network namespaces and processes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::lab::{Deadline, ip, until};

/// What the namespaces of scenarios are called, before their process's id.
pub(crate) const NAME: &str = "ferry-lab";

/// How long what a run has started may take to end after it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The variable in the environment of everything the lab starts; its value is the id of the process that ran the lab.
pub(crate) const MARK: &str = "FERRY_LAB";

/// Namespaces and processes left by the lab that process `runner` ran.
pub(crate) fn find(runner: u32) -> Result<Vec<String>> {
    let namespaces = namespaces()?.into_iter().filter(|name| is_abandoned(name));
    let mut found: Vec<String> = namespaces.map(|name| format!("network namespace {name}")).collect();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        if id != runner && carries_mark(&entry.path(), runner) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push(format!("process {id} ({})", name.trim()));
        }
    }
    Ok(found)
}

/// Deletes what the lab that process `runner` ran has left, once the scenarios it had started are gone.
pub(crate) fn tidy(runner: u32) -> Result<()> {
    until(Deadline::after(PATIENCE), "an ended run's processes to end", || {
        clear_abandoned()?;
        Ok(find(runner)?.is_empty().then_some(()))
    })
}

/// Deletes the namespaces of labs whose process is gone, and names them.
pub(crate) fn clear_abandoned() -> Result<Vec<String>> {
    let abandoned: Vec<String> = namespaces()?.into_iter().filter(|name| is_abandoned(name)).collect();
    for name in &abandoned {
        ip(&format!("netns delete {name}"))?;
    }
    Ok(abandoned)
}

/// Deletes the namespaces whose names begin with `prefix`.
pub(crate) fn clear(prefix: &str) -> Result<()> {
    for name in all_namespaces()?.iter().filter(|name| name.starts_with(prefix)) {
        ip(&format!("netns delete {name}"))?;
    }
    Ok(())
}

/// The named namespaces of all labs on this machine.
fn namespaces() -> Result<Vec<String>> {
    Ok(all_namespaces()?.into_iter().filter(|name| owner(name).is_some()).collect())
}

/// All named namespaces of this machine.
fn all_namespaces() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir("/run/netns") else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Whether the process that made a namespace is gone. Its id may belong to another program by now, or to nothing but a
/// record of its death.
fn is_abandoned(namespace: &str) -> bool {
    let program = |id: &str| -> Option<String> {
        let path = fs::read_link(Path::new("/proc").join(id).join("exe")).ok()?;
        let name = path.file_name()?.to_string_lossy().into_owned();
        // What was built anew while it runs.
        Some(name.trim_end_matches(" (deleted)").to_owned())
    };
    owner(namespace).is_some_and(|id| program(&id.to_string()) != program("self"))
}

/// The process whose lab made a namespace: `ferry-lab-4711-0-gateway`.
fn owner(namespace: &str) -> Option<u32> {
    let (id, _) = namespace.strip_prefix(NAME)?.strip_prefix('-')?.split_once('-')?;
    id.parse().ok()
}

fn carries_mark(process: &Path, runner: u32) -> bool {
    let mark = format!("{MARK}={runner}");
    // A process that has ended meanwhile has no environment any more.
    fs::read(process.join("environ"))
        .is_ok_and(|environ| environ.split(|b| *b == 0).any(|v| v == mark.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_labs_namespaces_are_ours() {
        assert_eq!(owner("ferry-lab-4711-0-left-host"), Some(4711));
        for other in ["ferry-lab-x-0-left", "ferry-demo-1-0-nat", "lab-4711-0-left", "ferry-lab-4711"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
