//! Everything VICI has, asked of charon and of the daemon under test in the same state by programs of others, unmodified:
//! python's `vici` as it is published, and `swanctl`, of both generations. The answers are compared key by key.
//!
//! `vici/walk.py` and `vici/swanctl.py` ask; `vici/differences*.txt` have the differences that are known, each with its
//! reason. One that is not there fails the scenario, and so does one there that is no more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::topology::Sites;
use super::{Roles, site};
use crate::lab::{Host, Lab, Output};
use crate::peer::{Connection, Daemon, Peer, Section, SwanctlConf, child, end};
use crate::rootfs;

/// The library's version. Another one may ask otherwise.
const LIBRARY: &str = "vici==6.0.3";

const PYTHON: &str = "/usr/bin/python3";

/// How long all of swanctl's commands may take one after the other.
const PATIENCE: Duration = Duration::from_secs(90);

const TOLD: &str = include_str!("vici/told.py");
const BY_PYTHON: Walk =
    Walk { program: include_str!("vici/walk.py"), differences: include_str!("vici/differences.txt") };
const BY_SWANCTL: Walk = Walk {
    program: include_str!("vici/swanctl.py"),
    differences: include_str!("vici/differences-swanctl.txt"),
};

/// A program that asks for everything, and which of its answers are known to differ.
struct Walk {
    program: &'static str,
    differences: &'static str,
}

/// Python's library before charon, and before the daemon under test in its place.
pub(super) fn by_python(lab: &Lab, roles: Roles) -> Result<()> {
    let library = library()?;
    let sites = Sites::build(lab)?;
    let [_, far] = site::connections(&sites);
    lab.peer(&sites.right.gateway, Daemon::Charon, &site::conf(far))?;
    compare(roles, &BY_PYTHON, |daemon| {
        let peer = lab.peer(&sites.left.gateway, daemon, &home(&sites))?;
        let walk = walk(&peer, &BY_PYTHON)?;
        let path = format!("PYTHONPATH={}", library.display());
        let said = peer.host().output(&["env", &path, PYTHON, "-B", &walk, "/run/charon.vici"])?.success()?;
        peer.stop()?;
        Ok(said)
    })
}

/// `swanctl` of charon's generation before charon, and before the daemon under test in its place.
pub(super) fn by_swanctl(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let right = lab.peer(&sites.right.gateway, Daemon::Charon, &visitor(&sites))?;
    let root = match roles.responder {
        Daemon::Charon6 => rootfs::DEBIAN_13.provide(|what| eprintln!("{what}"))?,
        Daemon::Charon | Daemon::Ferryd => PathBuf::from("/"),
    };
    let root = root.to_str().context("the target directory's name is not UTF-8")?;
    certify(&sites.left.gateway)?;
    compare(roles, &BY_SWANCTL, |daemon| {
        let peer = lab.peer(&sites.left.gateway, daemon, &SwanctlConf::new())?;
        peer.load_text(&(host_of_all(&sites).to_string() + AUTHORITY))?.success()?;
        right.initiate("road")?;
        let walk = walk(&peer, &BY_SWANCTL)?;
        let said = peer.host().output_within(&[PYTHON, "-B", &walk, root], PATIENCE)?.success()?;
        // It ends with its peer, for the next daemon to begin with the same.
        peer.stop()?;
        Ok(said)
    })
}

/// Asks both daemons, and judges what they have said.
fn compare(roles: Roles, walk: &Walk, mut ask: impl FnMut(Daemon) -> Result<Output>) -> Result<()> {
    let said = [roles.responder, roles.initiator].map(&mut ask);
    let [theirs, ours] = said.map(|said| said.map(|said| lines(&said.stdout)));
    let generation = if roles.responder == Daemon::Charon6 { "6.0" } else { "5.9" };
    judge(&theirs?, &ours?, &known(walk.differences, generation)?)
}

fn lines(said: &str) -> BTreeSet<String> {
    said.lines().map(str::to_owned).collect()
}

/// Writes the program down where the peer's host has its files, and says where.
fn walk(peer: &Peer, walk: &Walk) -> Result<String> {
    let place = peer.host().directory().join("walk.py");
    fs::write(&place, walk.program)?;
    fs::write(place.with_file_name("told.py"), TOLD)?;
    Ok(place.to_str().context("the target directory's name is not UTF-8")?.to_owned())
}

/// An authority, and a certificate with its key, where the gateway's `swanctl` looks for them.
fn certify(gateway: &Host) -> Result<()> {
    let directory = gateway.directory().join("swanctl");
    for line in [
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key",
        "req -x509 -key ca.key -out x509ca/ca.pem -days 30 -subj /O=Lab/CN=CA",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out private/left.key",
        "req -new -key private/left.key -out left.csr -subj /O=Lab/CN=left.test -addext subjectAltName=DNS:left.test",
        "x509 -req -in left.csr -out x509/left.pem -CA x509ca/ca.pem -CAkey ca.key -CAserial ca.srl -CAcreateserial -days 20 \
         -copy_extensions copyall",
    ] {
        let mut command = Command::new("openssl");
        let output = command.args(line.split_whitespace()).current_dir(&directory).output()?;
        ensure!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

const AUTHORITY: &str = "authorities {
  lab {
    cacert = ca.pem
    crl_uris = http://192.0.2.77/ca.crl, http://192.0.2.78/ca.crl
    ocsp_uris = http://192.0.2.77/ocsp
  }
}
";

/// What is chosen if nothing is configured depends on what charon is built with.
const PROPOSAL: &str = "aes256gcm16-prfsha384-ecp256";

/// Parts of both networks, for children beside the first. No name stands for the protocol nor for the port anywhere.
const PARTS: [(&str, &str, &str); 2] =
    [("second", "10.2.0.0/25", "10.3.0.0/25"), ("third", "10.2.0.0/26[253]", "10.3.0.0/26[253/40443]")];

/// A gateway with all that `vici/swanctl.py` asks for.
fn host_of_all(sites: &Sites) -> SwanctlConf {
    let (near, far) = (&sites.left, &sites.right);
    let mut home = Connection::psk(near.id, far.id)
        .between(near.outer[0], far.outer[0])
        .set("dpd_delay", "60s")
        .set("proposals", PROPOSAL)
        .child("net", child(near.networks[0], far.networks[0]));
    for (name, local, remote) in PARTS {
        home = home.child(name, child(local, remote));
    }
    let home = home
        .child("later", child(near.networks[0], "10.43.4.0/24").set("rekey_time", "20m"))
        .child("passing", child(near.networks[0], near.networks[0]).set("mode", "pass"));
    let road = Connection::psk(near.id, "client.test")
        .between(near.outer[0], "%any")
        .set("pools", "clients")
        .child("lan", child(near.networks[0], "dynamic"));
    let mute = Connection::psk(near.id, "mute.test")
        .between(near.outer[0], "192.0.2.77")
        .child("unheard", child("10.42.6.0/24", "10.43.6.0/24"));
    SwanctlConf::new()
        .connection("home", home)
        .connection("road", road)
        .connection("mute", mute)
        .pool("clients", Section::new().set("addrs", "10.44.0.0/29").set("dns", "10.44.0.53"))
        .secret("all", site::SECRET, &[])
}

/// Its peer, which is its client too.
fn visitor(sites: &Sites) -> SwanctlConf {
    let (near, far) = (&sites.right, &sites.left);
    let mut site = Connection::psk(near.id, far.id)
        .between(near.outer[0], far.outer[0])
        .child("net", child(near.networks[0], far.networks[0]));
    for (name, remote, local) in PARTS {
        site = site.child(name, child(local, remote));
    }
    let road = Connection::between_ends(end("psk", "client.test"), end("psk", far.id))
        .between(near.outer[0], far.outer[0])
        .set("vips", "0.0.0.0")
        .set("proposals", PROPOSAL)
        .child("road", child("dynamic", far.networks[0]));
    SwanctlConf::new().connection("site", site).connection("road", road).secret("all", site::SECRET, &[])
}

/// A gateway whose connection has the names that the walk knows.
fn home(sites: &Sites) -> SwanctlConf {
    let (near, far) = (&sites.left, &sites.right);
    let connection = Connection::psk(near.id, far.id)
        .between(near.outer[0], far.outer[0])
        .set("proposals", PROPOSAL)
        .child("net", child(near.networks[0], far.networks[0]));
    SwanctlConf::new().connection("home", connection).secret("site", site::SECRET, &[near.id, far.id])
}

/// The directory with the library, which is filled where it is not there yet.
fn library() -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python").join(LIBRARY);
    if directory.join("vici/session.py").exists() {
        return Ok(directory);
    }
    let output = Command::new(PYTHON)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target"])
        .args([directory.as_os_str(), LIBRARY.as_ref()])
        .output()
        .with_context(|| format!("cannot run {PYTHON}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "installing {LIBRARY} into {}: {said}", directory.display());
    Ok(directory)
}

/// The differences that are known with this generation of charon: paths, in which `*` stands for anything. Each has its reason
/// after it, and before it in brackets the generation if it is but one.
fn known<'a>(text: &'a str, generation: &str) -> Result<Vec<&'a str>> {
    let mut known = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (pattern, reason) = line.split_once(": ").with_context(|| format!("{line:?} has no reason"))?;
        ensure!(!reason.trim().is_empty(), "{pattern} has no reason");
        match pattern.strip_prefix('[').and_then(|pattern| pattern.split_once("] ")) {
            None => known.push(pattern),
            Some((only, pattern)) if only == generation => known.push(pattern),
            Some((only, _)) => ensure!(["5.9", "6.0"].contains(&only), "{line:?} is about no generation"),
        }
    }
    Ok(known)
}

/// Wants all differences to be known, and all that are known to be there.
fn judge(theirs: &BTreeSet<String>, ours: &BTreeSet<String>, known: &[&str]) -> Result<()> {
    let mut unseen: Vec<(&str, bool)> = known.iter().map(|&pattern| (pattern, true)).collect();
    let mut unknown = Vec::new();
    let differing = theirs.difference(ours).map(|line| ('-', line));
    for (sign, line) in differing.chain(ours.difference(theirs).map(|line| ('+', line))) {
        let path = line.split_once(" = ").map_or(line.as_str(), |(path, _)| path);
        let mut is_known = false;
        for (pattern, is_unseen) in &mut unseen {
            if matches(path, pattern) {
                (is_known, *is_unseen) = (true, false);
            }
        }
        if !is_known {
            unknown.push(format!("{sign} {line}"));
        }
    }
    unknown.sort_by(|a, b| a.get(2..).cmp(&b.get(2..)));
    ensure!(unknown.is_empty(), "charon's answers (-) and ours (+) differ:\n{}", unknown.join("\n"));
    unseen.retain(|(_, is_unseen)| *is_unseen);
    ensure!(unseen.is_empty(), "known differences that are none: {unseen:?}");
    Ok(())
}

/// Whether a path has the form of a pattern, in which each `*` stands for anything.
fn matches(path: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => path == pattern,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|path| {
            rest.is_empty()
                || path.char_indices().any(|(at, _)| path.get(at..).is_some_and(|end| matches(end, rest)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn patterns_stand_for_paths() {
        assert!(matches("a/b/c", "a/b/c") && matches("a/b/c", "a/*") && matches("a/b/c", "*/c"));
        assert!(matches("list-sas/home/nat-fake", "list-sas*/nat-fake"));
        assert!(!matches("a/b/c", "a/b") && !matches("a/b/c", "b/*") && !matches("a/b/c", "*/b"));
    }

    #[test]
    fn differences_are_known_and_known_ones_are_there() {
        let (theirs, ours) = (set(&["a/b = 1", "a/c = 2"]), set(&["a/b = 1", "a/c = 3"]));
        judge(&theirs, &ours, &["a/c"]).unwrap();
        let error = judge(&theirs, &ours, &[]).unwrap_err().to_string();
        assert!(error.ends_with("\n- a/c = 2\n+ a/c = 3"), "{error}");
        let error = judge(&theirs, &ours, &["a/*", "x"]).unwrap_err().to_string();
        assert!(error.contains("[(\"x\", true)]"), "{error}");
    }

    #[test]
    fn known_differences_have_a_reason_and_may_be_of_one_generation() {
        let text = "# why\n\na/c: because\n[6.0] a/d: since then";
        assert_eq!(known(text, "5.9").unwrap(), ["a/c"]);
        assert_eq!(known(text, "6.0").unwrap(), ["a/c", "a/d"]);
        assert!(known("a/c", "5.9").unwrap_err().to_string().contains("no reason"));
        assert!(known("[4.6] a/c: old", "5.9").unwrap_err().to_string().contains("no generation"));
    }
}
