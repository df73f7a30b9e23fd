//! `ferryctl check`: what is wrong with a configuration, without a daemon.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;

use crate::check::{self, Severity, Surroundings};
use crate::connections::Defaults;
use crate::dataplane::Abilities;
use crate::ferryctl::exit::INVALID;
use crate::ferryctl::options::Check;
use crate::ferryctl::output::print;
use crate::settings::{self, DataPlaneChoice};
use crate::swanctl_conf::default_file;

/// Tells of everything that is wrong; fails if something cannot work.
pub(crate) fn check(options: &Check) -> Result<ExitCode> {
    let file = options.file.clone().unwrap_or_else(default_file);
    let findings = check::check(&file, &surroundings()?);
    for finding in &findings {
        print(&format!("{finding}\n"))?;
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    print(&match (errors, warnings) {
        (0, 0) => format!("{}: nothing is wrong\n", file.display()),
        _ => {
            let (errors, warnings) = (number(errors, "error"), number(warnings, "warning"));
            format!("{}: {errors}, {warnings}\n", file.display())
        }
    })?;
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

/// `1 error`, `2 errors`
fn number(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// This host, as the daemon would find it.
fn surroundings() -> Result<Surroundings> {
    let settings = settings::load()?.settings;
    let interfaces = getifaddrs().context("reading the addresses of this host")?;
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
    });
    Ok(Surroundings {
        addresses: addresses.collect(),
        now: SystemTime::now(),
        defaults: Defaults {
            replay_window: settings.replay_window,
            ports: settings.ports,
            retry_initiate: settings.retry_initiate,
            plane: match settings.data_plane {
                DataPlaneChoice::Userspace => Abilities::USERSPACE,
                DataPlaneChoice::Kernel | DataPlaneChoice::Auto => Abilities::KERNEL,
            },
        },
    })
}
