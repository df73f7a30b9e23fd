//! ferryd: strongSwan's charon, done anew.
//!
//! Here the leaf crates are joined: [`settings`] reads strongswan.conf, [`net`] opens IKE's sockets,
//! [`dataplane`] carries packets, [`shard`] runs the endpoints of `ferry-ike`, and [`vici_server`] lets
//! clients control it all. What clients load goes through [`connections`] and [`pools`] into the [`store`],
//! which gives it to the shards. Those ask [`radius`] about peers where connections say so.
//!
//! [`startup`] puts the parts together, and takes them apart again.

mod connections;
mod control;
mod dataplane;
mod logging;
mod net;
mod pid_file;
mod pools;
mod privileges;
mod radius;
mod reload;
mod revocation;
mod settings;
mod shard;
mod startup;
mod store;
mod system;
mod vici_server;

use std::process::ExitCode;

use clap::Parser;

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

fn main() -> ExitCode {
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
