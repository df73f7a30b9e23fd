//! `cargo verify`: see [`ferry_interop::verify`].

use std::process::ExitCode;

use clap::Parser;
use ferry_interop::verify;

fn main() -> ExitCode {
    match verify::run(&verify::Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
