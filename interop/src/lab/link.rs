//! Cables and switches between hosts, made with `ip`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::host::Host;

/// Connects interface `a_name` of `a` with interface `b_name` of `b` by a cable.
pub(super) fn cable(a: &Host, a_name: &str, b: &Host, b_name: &str) -> Result<()> {
    let (a, b) = (a.namespace(), b.namespace());
    ip(&format!("-n {a} link add {a_name} type veth peer name {b_name} netns {b}"))?;
    ip(&format!("-n {a} link set {a_name} up"))?;
    ip(&format!("-n {b} link set {b_name} up"))
}

/// Makes a switch `name` in `host`; see [`plug`].
pub(super) fn switch(host: &Host, name: &str) -> Result<()> {
    ip(&format!("-n {} link add {name} type bridge forward_delay 0", host.namespace()))?;
    ip(&format!("-n {} link set {name} up", host.namespace()))
}

/// Plugs the host's interface `port` into its switch.
pub(super) fn plug(host: &Host, port: &str, switch: &str) -> Result<()> {
    ip(&format!("-n {} link set {port} master {switch}", host.namespace()))
}

/// Runs `ip` with the words of `arguments`.
pub(crate) fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .context("cannot run ip")?;
    if !output.status.success() {
        bail!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
