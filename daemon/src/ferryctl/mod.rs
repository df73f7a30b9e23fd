//! `ferryctl`: configures and controls an IKE daemon over VICI, in the manner of `swanctl`.
//!
//! Commands, options, output and exit codes are those of swanctl, so that scripts and service files need not change.
//! On purpose different: a configuration that cannot be read or understood is an error that changes nothing, where
//! swanctl takes it for empty and unloads everything; a word on the command line that means nothing is refused.
//!
//! Beside them stand `check` and `explain`, which swanctl has not.
//!
//! `options` is the command line, `session` the connection, `load` what `--load-*` do, `control` what changes SAs,
//! `monitor` what runs until it is stopped, `listing` and `status` what is shown. All rendering is pure functions from
//! messages to text.

mod check;
mod control;
mod exit;
mod explain;
mod listing;
mod load;
mod monitor;
mod options;
mod output;
mod session;
mod status;
mod stop;
mod transaction;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser as _};

use crate::ferryctl::options::{Command, Options};
use crate::ferryctl::session::Session;
use crate::swanctl_conf::{ALL, Phase};

/// Does what the command line says, and ends.
pub fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return exit::usage(&error),
    };
    match run(&options) {
        Ok(code) => code,
        Err(error) => exit::failure(&error),
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    let Some(command) = &options.command else {
        Options::command().print_help()?;
        return Ok(ExitCode::SUCCESS);
    };
    let shared = options.shared(command.common());
    let open = || Session::open(&shared);
    match command {
        Command::Initiate(options) => control::initiate(&mut open()?, options),
        Command::Terminate(options) => control::terminate(&mut open()?, options),
        Command::Rekey(options) => control::rekey(&mut open()?, options),
        Command::Redirect(options) => control::redirect(&mut open()?, options),
        Command::Install(options) => control::policy(&mut open()?, "install", options),
        Command::Uninstall(options) => control::policy(&mut open()?, "uninstall", options),
        Command::FlushCerts(options) => control::flush_certs(&mut open()?, options),
        Command::ReloadSettings(_) => control::reload_settings(&mut open()?),
        Command::ListSas(options) => listing::sas::list(&mut open()?, options),
        Command::ListConns(_) => listing::conns::list(&mut open()?),
        Command::ListPols(options) => listing::pols::list(&mut open()?, options),
        Command::ListPools(options) => listing::pools::list(&mut open()?, options),
        Command::ListAuthorities(options) => listing::authorities::list(&mut open()?, options),
        Command::ListCerts(options) => listing::certs::list(&mut open()?, options),
        Command::ListAlgs(_) => listing::algs::list(&mut open()?),
        Command::Stats(_) => status::stats(&mut open()?),
        Command::Counters(options) => status::counters(&mut open()?, options),
        Command::Version(options) if options.daemon => status::daemon_version(&mut open()?),
        Command::Version(_) => status::version(),
        Command::MonitorSa(_) => monitor::sas(&mut open()?),
        Command::Log(_) => monitor::log(&mut open()?),
        Command::Check(options) => check::check(options),
        Command::Explain(options) => explain::explain(&mut open()?, options),
        Command::LoadAll(options) => load::load(ALL, &options.load, options.clear, &shared),
        Command::LoadCreds(options) => {
            load::load(&[Phase::Credentials], &options.load, options.clear, &shared)
        }
        Command::LoadAuthorities(options) => load::load(&[Phase::Authorities], options, false, &shared),
        Command::LoadPools(options) => load::load(&[Phase::Pools], options, false, &shared),
        Command::LoadConns(options) => load::load(&[Phase::Connections], options, false, &shared),
    }
}
