//! The command line of `ferryd`.

use std::process::ExitCode;

use clap::Parser;

use crate::{settings, startup};

/// The IKEv2 daemon that takes the place of strongSwan's charon.
///
/// It reads /etc/strongswan.conf, or the file that STRONGSWAN_CONF names; connections, secrets and pools come
/// by `swanctl` or `ferryctl`.
#[derive(Parser)]
#[command(name = "ferryd", version)]
struct Arguments {
    /// Read strongswan.conf, say what is wrong with it or has no effect, and do nothing else
    #[arg(long)]
    check_config: bool,
}

/// Runs it until it is told to end.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.check_config { check() } else { startup::run() };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ferryd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> anyhow::Result<()> {
    for remark in settings::load()?.remarks {
        println!("{remark}");
    }
    Ok(())
}
