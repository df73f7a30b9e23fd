//! What is wrong with a configuration, found without a daemon.
//!
//! [`conversion`] makes of swanctl.conf what the daemon would make of it, by the daemon's own code, and goes on after each
//! thing on which that stumbles. What comes out is looked at by [`addresses`], [`traffic`], [`secrets`] and
//! [`certificates`]: it can be loaded, but may not do what is hoped for. [`keys`] knows what a word may have been meant
//! to be. Algorithms that are too weak need no look: the daemon has none of them.

mod addresses;
mod certificates;
mod conversion;
mod finding;
mod keys;
mod secrets;
#[cfg(test)]
mod tests;
mod traffic;

use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use ferry_vici::settings::{Position, Settings};

use crate::connections::Defaults;
use conversion::Loaded;
pub(crate) use finding::{Finding, Severity};

/// What a configuration is judged against.
pub(crate) struct Surroundings {
    /// Addresses that this host has.
    pub(crate) addresses: Vec<IpAddr>,
    /// The time.
    pub(crate) now: SystemTime,
    /// What strongswan.conf contributes.
    pub(crate) defaults: Defaults,
}

/// A configuration, as it is written and as it would be loaded.
struct Subject<'a> {
    settings: &'a Settings,
    directory: &'a Path,
    loaded: &'a Loaded,
    around: &'a Surroundings,
}

/// Everything that is wrong with the swanctl.conf at `file` and what lies beside it, in the order of the text.
pub(crate) fn check(file: &Path, around: &Surroundings) -> Vec<Finding> {
    let settings = match Settings::read(file) {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::unreadable(&error)],
    };
    let mut findings: Vec<Finding> = settings.warnings().iter().map(Finding::hardly_meant).collect();
    let directory = file.parent().unwrap_or(Path::new(""));
    let loaded = conversion::load(&settings, directory, &around.defaults, &mut findings);
    let subject = Subject { settings: &settings, directory, loaded: &loaded, around };
    for look in [addresses::look, traffic::look, secrets::look, certificates::look] {
        look(&subject, &mut findings);
    }
    findings.sort_by(|one, other| one.place().cmp(&other.place()));
    findings
}

impl Subject<'_> {
    /// Whether every connection that is written could be read.
    fn has_all_connections(&self) -> bool {
        let written = self.settings.section("connections").map(|section| section.sections().len());
        written.unwrap_or_default() == self.loaded.configuration.connections.len()
    }

    /// Where a key or section is written: the deepest part of its path that is.
    fn place(&self, path: &str) -> Option<Position> {
        place(self.settings, path)
    }
}

fn place(settings: &Settings, path: &str) -> Option<Position> {
    let mut path = path;
    loop {
        let setting = settings.setting(path).map(|setting| setting.position().clone());
        let section = || settings.section(path)?.position().cloned();
        if let Some(position) = setting.or_else(section) {
            return Some(position);
        }
        (path, _) = path.rsplit_once('.')?;
    }
}
