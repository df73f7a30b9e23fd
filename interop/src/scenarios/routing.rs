//! Who else looks at the table of routes into tunnels.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::roadwarrior;
use super::topology::Road;
use crate::lab::{Deadline, Lab, until};
use crate::peer::Daemon;

/// BIRD's configuration: it learns all that the kernel's table 220 has from others.
const BIRD: &str = "router id 192.0.2.1;
ipv4 table tunnels;
protocol device { }
protocol kernel {
    kernel table 220;
    learn;
    scan time 600;
    ipv4 { table tunnels; import all; export none; };
}
";

/// BIRD, as it redistributes what gateways reach, sees clients come and go.
pub(super) fn learned_by_bird(lab: &Lab, ours: Daemon) -> Result<()> {
    let road = Road::build(lab, 1)?;
    let gateway = lab.peer(&road.gateway, ours, &roadwarrior::gateway())?;
    let client = lab.peer(road.client()?, Daemon::Charon, &roadwarrior::client("alice"))?;
    let directory = road.gateway.directory();
    let (conf, socket) = (directory.join("bird.conf"), directory.join("bird.ctl"));
    fs::write(&conf, BIRD)?;
    let mut bird = Command::new("bird");
    bird.arg("-f").arg("-c").arg(&conf).arg("-s").arg(&socket);
    road.gateway.keep(road.gateway.spawn(bird)?);
    let patience = || Deadline::after(Duration::from_secs(15));
    road.gateway.wait_for_socket(&socket, patience())?;
    let routes = || -> Result<String> {
        let mut birdc = Command::new("birdc");
        birdc.arg("-r").arg("-s").arg(&socket).args(["show", "route", "table", "tunnels"]);
        Ok(road.gateway.capture(birdc, Duration::from_secs(10))?.success()?.stdout)
    };
    ensure!(!routes()?.contains("10.9.0.1"), "there is a client before it has come:\n{}", routes()?);
    // It looks at the table every ten minutes; in between it is told by the kernel.
    for _ in 0..2 {
        client.initiate("net")?;
        let learned = until(patience(), "the client's route", || {
            let routes = routes()?;
            Ok(routes.contains("10.9.0.1/32").then_some(routes))
        });
        learned.with_context(|| format!("BIRD has {:?}", routes()))?;
        client.terminate("home")?;
        until(patience(), "the route to be withdrawn", || {
            Ok((!routes()?.contains("10.9.0.1")).then_some(()))
        })?;
    }
    ensure!(gateway.sas()?.is_empty(), "the gateway still lists {:?}", gateway.sas()?);
    Ok(())
}
