//! `cargo demo`: see [`ferry_interop::demo`].

use std::process::ExitCode;

use clap::Parser;
use ferry_interop::demo;

fn main() -> ExitCode {
    match demo::run(&demo::Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
