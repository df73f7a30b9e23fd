//! `cargo tunnels`: see [`ferry_interop::tunnels`].

use std::process::ExitCode;

use clap::Parser;
use ferry_interop::tunnels;

fn main() -> ExitCode {
    match tunnels::run(&tunnels::Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
