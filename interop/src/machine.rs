//! What the machine must have before a lab can stand on it: root, a TUN device, and some of Debian's packages.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Programs of the lab and the packages they come in.
const PACKAGES: [(&str, &str); 22] = [
    ("/usr/sbin/charon-systemd", "charon-systemd"),
    ("/usr/sbin/swanctl", "strongswan-swanctl"),
    ("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so", "libcharon-extra-plugins"),
    ("/usr/lib/ipsec/plugins/libstrongswan-openssl.so", "libstrongswan-standard-plugins"),
    ("/usr/lib/ipsec/plugins/libstrongswan-curve25519.so", "libstrongswan-extra-plugins"),
    ("/usr/lib/ipsec/plugins/libstrongswan-eap-mschapv2.so", "libcharon-extauth-plugins"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/tcpdump", "tcpdump"),
    ("/usr/bin/ping", "iputils-ping"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/pip3", "python3-pip"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/bin/kmod", "kmod"),
    ("/usr/sbin/freeradius", "freeradius"),
    ("/usr/bin/radclient", "freeradius-utils"),
    ("/usr/sbin/hostapd", "hostapd"),
    ("/usr/bin/eapol_test", "eapoltest"),
    ("/usr/sbin/bird", "bird2"),
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
];

/// The units that Debian's packages start on a machine with systemd.
const SERVICES: [(&str, &str); 3] = [
    ("charon-systemd", "strongswan.service"),
    ("freeradius", "freeradius.service"),
    ("bird2", "bird.service"),
];

/// Makes the machine ready for a lab, for the command called `name`. What it does it tells with `tell`.
///
/// # Errors
/// In one sentence, when something is missing that it may not or cannot provide.
pub fn prepare(name: &str, tell: impl Fn(&str)) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "{name} wants root, for network namespaces and for installing missing packages; please run it as root"
    );
    ensure!(
        Path::new("/dev/net/tun").exists(),
        "{name} needs the TUN device /dev/net/tun, and this machine or container has none"
    );
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    tell(&format!("installing packages: {}", missing.join(" ")));
    install(&missing)?;
    for (package, service) in SERVICES {
        if missing.contains(&package) && Path::new("/run/systemd/system").exists() {
            tell(&format!("stopping {service}, which came with them; the lab starts daemons of its own"));
            run("systemctl", &["disable", "--now", service])?;
        }
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    if run("apt-get", &install).is_ok() {
        return Ok(());
    }
    // The lists of a fresh machine may be old or empty.
    run("apt-get", &["update"])?;
    run("apt-get", &install)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{program} {} failed:\n{}", arguments.join(" "), String::from_utf8_lossy(&said).trim_end());
    }
    Ok(())
}
