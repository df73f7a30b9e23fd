//! A swanctl.conf with the files beside it, as steps that load it: for `ferryctl`, and for the daemon when it is to read it
//! again.

pub(crate) mod files;

use std::path::{Path, PathBuf};

use ferry_vici::Settings;
use ferry_vici::settings::SettingsError;
use ferry_vici::swanctl::{self, Step};

use files::Files;

/// A part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Credentials,
    Authorities,
    Pools,
    Connections,
}

/// All parts, in the order in which later ones need earlier ones.
pub(crate) const ALL: &[Phase] = &[Phase::Credentials, Phase::Authorities, Phase::Pools, Phase::Connections];

/// What a file asks for.
pub(crate) struct Plan {
    /// Phases, in order.
    pub(crate) steps: Vec<(Phase, Vec<Step>)>,
    /// One sentence for each thing that deserves a look.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// Reads a swanctl.conf and the files beside it.
    pub(crate) fn read(phases: &[Phase], path: &Path) -> Result<Self, SettingsError> {
        let settings = Settings::read(path)?;
        let mut warnings: Vec<String> = settings.warnings().iter().map(ToString::to_string).collect();
        let directory = path.parent().unwrap_or(Path::new(""));
        if phases.contains(&Phase::Credentials) {
            warnings.extend(swanctl::exposed(&settings, directory).iter().map(|file| {
                format!("others than the owner of '{}' can read the secrets in it", file.display())
            }));
        }
        Ok(Self { steps: Self::of(phases, &settings, directory), warnings })
    }

    /// The steps of settings that stand in a directory.
    pub(crate) fn of(phases: &[Phase], settings: &Settings, directory: &Path) -> Vec<(Phase, Vec<Step>)> {
        phases.iter().map(|phase| (*phase, phase.steps(settings, directory))).collect()
    }
}

pub(crate) fn default_file() -> PathBuf {
    let directory = std::env::var_os("SWANCTL_DIR").unwrap_or_else(|| "/etc/swanctl".into());
    Path::new(&directory).join("swanctl.conf")
}

impl Phase {
    fn steps(self, settings: &Settings, directory: &Path) -> Vec<Step> {
        match self {
            Self::Credentials => swanctl::credentials(settings, directory, &Files),
            Self::Authorities => swanctl::authorities(settings, directory),
            Self::Pools => swanctl::pools(settings),
            Self::Connections => swanctl::connections(settings, directory),
        }
    }

    /// What one object is called, and several of them.
    pub(crate) fn nouns(self) -> (&'static str, &'static str) {
        match self {
            Self::Credentials => ("credential", "credentials"),
            Self::Authorities => ("authority", "authorities"),
            Self::Pools => ("pool", "pools"),
            Self::Connections => ("connection", "connections"),
        }
    }
}
