//! The unmodified `swanctl` against both daemons, side by side: what it prints and how it exits.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::ferryctl::ferryctl;
use super::topology::Sites;
use super::{Roles, site};
use crate::lab::{Deadline, Lab, Output, until};
use crate::peer::{Connection, Daemon, Peer, Section, SwanctlConf, child, end};

/// Names every IKE daemon of this project must list.
const ALGORITHMS: [&str; 26] = [
    "AES_CBC",
    "AES_GCM_16",
    "CHACHA20_POLY1305",
    "HMAC_SHA1_96",
    "HMAC_SHA2_256_128",
    "HMAC_SHA2_384_192",
    "HMAC_SHA2_512_256",
    "PRF_HMAC_SHA1",
    "PRF_HMAC_SHA2_256",
    "PRF_HMAC_SHA2_384",
    "PRF_HMAC_SHA2_512",
    "PRF_AES128_XCBC",
    "PRF_AES128_CMAC",
    "CURVE_25519",
    "ECP_256",
    "ECP_384",
    "ECP_521",
    "MODP_2048",
    "MODP_3072",
    "MODP_4096",
    "encryption:",
    "integrity:",
    "aead:",
    "hasher:",
    "prf:",
    "rng:",
];

/// Loading, loading again, loading less, and loading what cannot be loaded.
pub(super) fn load_all(lab: &Lab, ours: Daemon) -> Result<()> {
    let (charon, other) = side_by_side(lab, ours)?;
    let everything = everything().to_string();
    let less = SwanctlConf::new().connection("plain", plain()).secret("other", "kept", &[]).to_string();
    let nonsense = SwanctlConf::new().connection("plain", plain().set("no_such_key", "yes"));
    let unusable = SwanctlConf::new().connection("plain", plain().set("proposals", "aes128-rot13-modp2048"));
    for (what, text, code) in [
        ("everything", everything.as_str(), 0),
        ("the same again", everything.as_str(), 0),
        ("less", less.as_str(), 0),
        ("an unknown key", &nonsense.to_string(), 22),
        ("an unknown algorithm", &unusable.to_string(), 22),
        ("nothing", "", 0),
        ("everything once more", everything.as_str(), 0),
    ] {
        let [theirs, ours] = [charon.load_text(text)?, other.load_text(text)?];
        let same = theirs.stdout == ours.stdout && [theirs.code(), ours.code()] == [code; 2];
        ensure!(same, "loading {what}:\n{theirs}\n{ours}");
        // The reason is each daemon's own; that there is one, and for what, is not.
        let [theirs, ours] = [reasons(&theirs.stderr), reasons(&ours.stderr)];
        ensure!(theirs == ours, "loading {what} fails differently:\n{theirs:?}\n{ours:?}");
    }
    Ok(())
}

/// Certificates and keys of every folder, in every form, with and without passphrases.
pub(super) fn credentials(lab: &Lab, ours: Daemon) -> Result<()> {
    let (charon, other) = side_by_side(lab, ours)?;
    let bench = lab.host("authority")?;
    let openssl = |line: &str| -> Result<()> {
        let mut command = Command::new("openssl");
        let output = command.args(line.split_whitespace()).current_dir(bench.directory()).output()?;
        ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let extension = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign";
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key")?;
    openssl(&format!("req -x509 -key ca.key -out ca.pem -days 30 -subj /O=Lab/CN=CA {extension}"))?;
    fs::write(
        bench.directory().join("index.txt"),
        "R\t360101000000Z\t260101000000Z,superseded\t0F\tunknown\t/CN=x\n",
    )?;
    fs::write(bench.directory().join("number"), "0A\n")?;
    let text = "[ca]\ndefault_ca = lab\n[lab]\ndatabase = index.txt\ndefault_md = sha256\ndefault_crl_days = 30\n\
                crlnumber = number\n";
    fs::write(bench.directory().join("ca.cnf"), text)?;
    openssl("ca -config ca.cnf -gencrl -cert ca.pem -keyfile ca.key -out ca.crl")?;
    let addresses = "-addext subjectAltName=DNS:gw.test,email:gw@lab.test,IP:192.0.2.1";
    for (name, algorithm, extension) in [
        ("plain", "EC -pkeyopt ec_paramgen_curve:P-384", addresses),
        ("rsa", "RSA -pkeyopt rsa_keygen_bits:2048", "-addext extendedKeyUsage=serverAuth,clientAuth"),
        ("boxed", "EC -pkeyopt ec_paramgen_curve:P-521", "-addext subjectAltName=DNS:boxed.test"),
        ("locked", "RSA -pkeyopt rsa_keygen_bits:2048", "-addext subjectAltName=DNS:locked.test"),
        ("responder", "EC -pkeyopt ec_paramgen_curve:P-256", "-addext extendedKeyUsage=OCSPSigning"),
    ] {
        openssl(&format!("genpkey -algorithm {algorithm} -out {name}.key"))?;
        openssl(&format!("req -new -key {name}.key -out {name}.csr -subj /O=Lab/CN={name} {extension}"))?;
        openssl(&format!(
            "x509 -req -in {name}.csr -out {name}.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -copy_extensions \
             copyall"
        ))?;
    }
    openssl("rsa -in rsa.key -traditional -out rsa.pkcs1")?;
    openssl("x509 -in rsa.pem -outform DER -out rsa.der")?;
    openssl("pkcs8 -topk8 -v2 aes256 -in locked.key -passout pass:open -out locked.p8")?;
    openssl(
        "pkcs12 -export -inkey boxed.key -in boxed.pem -certfile ca.pem -passout pass:unpack -out boxed.p12",
    )?;
    openssl("pkey -in plain.key -pubout -out plain.pub")?;
    for host in [charon.host(), other.host()] {
        for (file, folder) in [
            ("plain.pem", "x509"),
            ("rsa.der", "x509"),
            ("locked.pem", "x509"),
            ("ca.pem", "x509ca"),
            ("responder.pem", "x509ocsp"),
            ("ca.crl", "x509crl"),
            ("plain.pub", "pubkey"),
            ("plain.key", "private"),
            ("rsa.pkcs1", "rsa"),
            ("locked.p8", "pkcs8"),
            ("boxed.p12", "pkcs12"),
        ] {
            let folder = host.directory().join("swanctl").join(folder);
            fs::create_dir_all(&folder)?;
            fs::copy(bench.directory().join(file), folder.join(file))?;
        }
    }
    let text = everything().to_string()
        + "secrets {\n  pkcs8-a {\n    file = locked.p8\n    secret = open\n  }\n  pkcs12-b {\n    file = boxed.p12\n    \
           secret = unpack\n  }\n}\nauthorities {\n  lab {\n    cacert = ca.pem\n    crl_uris = http://192.0.2.77/ca.crl\n  \
           }\n}\n";
    // Files are taken in no order, and lie elsewhere.
    let lines = |text: &str, peer: &Peer| -> Vec<String> {
        let here = peer.host().directory().display().to_string();
        let mut lines: Vec<String> = text.lines().map(|line| line.replace(&here, "HERE")).collect();
        lines.sort();
        lines
    };
    let alike = |arguments: &[&str], ask: &dyn Fn(&[&str]) -> Result<Output>| -> Result<()> {
        let [before, ours, after] = [charon.swanctl(arguments)?, ask(arguments)?, charon.swanctl(arguments)?];
        // `expires in 20 days` becomes 19 in a second of its own.
        let is_as = |theirs: &Output| {
            lines(&theirs.stdout, &charon) == lines(&ours.stdout, &other) && theirs.code() == ours.code()
        };
        ensure!(is_as(&before) || is_as(&after), "{arguments:?}:\n{after}\n{ours}");
        Ok(())
    };
    let by_swanctl = |arguments: &[&str]| other.swanctl(arguments);
    let [theirs, loaded] = [charon.load_text(&text)?.success()?, other.load_text(&text)?.success()?];
    ensure!(
        lines(&theirs.stdout, &charon) == lines(&loaded.stdout, &other),
        "--load-all:\n{theirs}\n{loaded}"
    );
    let listed = other.swanctl(&["--list-certs"])?.success()?;
    for words in ["RSA 2048 bits, has private key", "ECDSA 521 bits, has private key", "List of X.509 CRLs"] {
        ensure!(listed.stdout.contains(words), "no {words:?}: {listed}");
    }
    for arguments in [
        &["--list-certs"][..],
        &["--list-certs", "--type", "x509", "--flag", "none"],
        &["--list-certs", "--type", "x509", "--flag", "ca", "--short"],
        &["--list-certs", "--type", "x509_crl", "--utc"],
        &["--list-certs", "--type", "pubkey"],
        &["--list-certs", "--subject", "gw.test"],
        &["--list-authorities"],
        &["--load-creds"],
        &["--load-creds", "--clear"],
        &["--list-certs"],
        &["--load-all"],
    ] {
        alike(arguments, &by_swanctl)?;
    }
    // ferryctl reads the same files and shows the same.
    if ours == Daemon::Ferryd {
        ferryctl(&other, lab, &["--load-creds", "--clear"])?.success()?;
        for arguments in [&["--list-certs"][..], &["--list-certs", "--short"], &["--list-certs", "--utc"]] {
            alike(arguments, &|arguments| ferryctl(&other, lab, arguments)).context("by ferryctl")?;
        }
    }
    Ok(())
}

/// What was loaded is listed as charon lists it.
pub(super) fn list_configuration(lab: &Lab, ours: Daemon) -> Result<()> {
    let (charon, other) = side_by_side(lab, ours)?;
    for peer in [&charon, &other] {
        peer.load(&everything())?;
    }
    let [theirs, ours] = [blocks(&charon, "--list-conns")?, blocks(&other, "--list-conns")?];
    ensure!(theirs == ours, "--list-conns differs:\n{}\n\n{}", theirs.join("\n"), ours.join("\n"));
    // A pool's base is the network itself in 5.9 and its first address in 6.0; both are charon's.
    let bare = |peer: &Peer| -> Result<Vec<_>> {
        let pools = peer.pools()?.into_iter().map(|pool| (pool.name, pool.online, pool.offline, pool.size));
        Ok(pools.collect())
    };
    ensure!(
        bare(&charon)? == bare(&other)?,
        "--list-pools differs:\n{:?}\n{:?}",
        charon.pools()?,
        other.pools()?
    );
    Ok(())
}

/// `--list-sas` at both ends of one SA: the same lines but for the numbers in them.
pub(super) fn list_sas(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [near, far] = site::connections(&sites);
    let left = lab.peer(&sites.left.gateway, roles.initiator, &site::conf(near))?;
    let right = lab.peer(&sites.right.gateway, roles.responder, &site::conf(far))?;
    left.initiate("net")?;
    sites.left.host.ping(sites.left.hosts[0], sites.right.hosts[0], 3)?;
    site::agree(&left, &right)?;

    let [near, far] = [shape(&left)?, shape(&right)?];
    // One end's local line is the other's remote line.
    ensure!(near == far, "--list-sas differs:\n{}\n\n{}", near.join("\n"), far.join("\n"));
    for one in ["--ike", "--child"] {
        let name = if one == "--ike" { "site" } else { "net" };
        for peer in [&left, &right] {
            let all = peer.swanctl(&["--list-sas", one, name])?.success()?;
            ensure!(all.stdout.contains("site: #") && all.stdout.contains("net: #"), "{all}");
            let none = peer.swanctl(&["--list-sas", "--ike", "nobody"])?.success()?;
            ensure!(none.stdout.is_empty(), "{none}");
        }
    }
    Ok(())
}

/// The commands that tell about the daemon itself.
pub(super) fn inform(lab: &Lab, ours: Daemon) -> Result<()> {
    let sites = Sites::build(lab)?;
    let [near, far] = site::connections(&sites);
    let charon = lab.peer(&sites.left.gateway, Daemon::Charon, &site::conf(near))?;
    let peer = lab.peer(&sites.right.gateway, ours, &site::conf(far))?;

    let algorithms = peer.swanctl(&["--list-algs"])?.success()?;
    for name in ALGORITHMS {
        let listed = algorithms.stdout.lines().any(|line| {
            let word = line.trim_start();
            word == name || word.strip_prefix(name).is_some_and(|rest| rest.starts_with('['))
        });
        ensure!(listed, "{name} is not listed: {algorithms}");
    }

    let version = peer.swanctl(&["--version", "--daemon"])?.success()?;
    let words: Vec<&str> = version.stdout.split_whitespace().collect();
    ensure!(
        matches!(words.as_slice(), ["strongSwan", _, _, ..]) && version.stdout.contains("(Linux, "),
        "{version}"
    );

    charon.initiate("net")?;
    let stats = peer.swanctl(&["--stats"])?.success()?;
    for line in ["uptime: ", "worker threads: ", "job queues: ", "jobs scheduled: ", "loaded plugins: "] {
        ensure!(stats.stdout.lines().any(|is| is.starts_with(line)), "no {line:?}: {stats}");
    }
    ensure!(stats.stdout.contains("IKE_SAs: 1 total, 0 half-open"), "{stats}");
    charon.terminate("site")?;

    follow_log(&charon, &peer).context("swanctl --log")
}

/// `swanctl --log` shows what the daemon does while it does it.
fn follow_log(charon: &Peer, peer: &Peer) -> Result<()> {
    let path = peer.host().directory().join("swanctl-log.txt");
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "swanctl", "--log"]).stdout(File::create(&path)?).stderr(Stdio::null());
    let mut log = peer.host().spawn(command)?;
    // Nothing tells when swanctl has subscribed; until it has, the next SA comes and goes unseen.
    let line = until(Deadline::after(Duration::from_secs(20)), "a line about an SA", || {
        charon.initiate("net")?;
        charon.terminate("site")?;
        let text = fs::read_to_string(&path)?;
        Ok(text
            .lines()
            .find(|line| line.contains("[IKE]") && line.contains("established"))
            .map(str::to_owned))
    })?;
    let (thread, _) = line.split_once("[IKE] ").with_context(|| format!("not a log line: {line:?}"))?;
    ensure!(thread.len() == 2 && thread.bytes().all(|b| b.is_ascii_digit()), "no thread number: {line:?}");
    log.terminate(Deadline::after(Duration::from_secs(10)))?;
    Ok(())
}

/// charon and the daemon under test, each on a host of its own and with nothing loaded.
pub(super) fn side_by_side(lab: &Lab, ours: Daemon) -> Result<(Rc<Peer>, Rc<Peer>)> {
    let sites = Sites::build(lab)?;
    let nothing = SwanctlConf::new();
    Ok((
        lab.peer(&sites.left.gateway, Daemon::Charon, &nothing)?,
        lab.peer(&sites.right.gateway, ours, &nothing)?,
    ))
}

/// A configuration that uses most of what can be said about a connection without certificates.
fn everything() -> SwanctlConf {
    let full = Connection::psk("gw.test", "*@clients.test")
        .between("192.0.2.1, 192.0.2.2, 2001:db8::1", "%any")
        .set("proposals", "aes256gcm16-prfsha384-x25519, aes128-sha256-modp2048, default")
        .set("pools", "four, six")
        .set("mobike", "no")
        .set("dpd_delay", "30s")
        .set("keyingtries", 3)
        .set("unique", "replace")
        .set("rekey_time", "2h")
        .set("over_time", "10m")
        .set("fragmentation", "yes")
        .set("encap", "yes")
        .child(
            "first",
            child("10.1.0.0/16, fd01::/64, 10.7.0.5-10.7.0.9", "dynamic")
                .set("esp_proposals", "aes128gcm16, aes256-sha256")
                .set("rekey_time", "30m")
                .set("life_time", "40m")
                .set("rekey_bytes", "500m")
                .set("rekey_packets", 1_000_000)
                .set("dpd_action", "clear")
                .set("replay_window", 64),
        )
        .child(
            "second",
            child("10.2.0.0/24[tcp/443], 10.2.0.0/24[udp]", "10.3.0.0/24").set("mode", "tunnel"),
        );
    let by_eap = |method: &str| Section::new().set("auth", method).set("eap_id", "%any");
    let phones = Connection::between_ends(end("psk", "gw.test"), by_eap("eap-mschapv2"));
    let any = Connection::between_ends(end("psk", "gw.test"), by_eap("eap-dynamic"));
    let alice = end("eap-md5", "phone.test").set("eap_id", "alice").set("aaa_id", "aaa.test");
    let uplink = Connection::between_ends(alice, end("eap", "gw2.test"));
    SwanctlConf::new()
        .connection("full", full)
        .connection("plain", plain())
        .connection("phones", phones.child("lan", child("10.1.0.0/16", "dynamic")))
        .connection("any", any.set("remote_addrs", "192.0.2.8").child("lan2", Section::new()))
        .connection("uplink", uplink.set("remote_addrs", "192.0.2.7").child("net", Section::new()))
        .password("alice", "in wonderland")
        .secret("one", "for two", &["gw.test", "alice@clients.test"])
        .secret("all", "for everybody", &[])
        .pool("four", Section::new().set("addrs", "10.9.0.0/24").set("dns", "10.1.0.53, 10.1.0.54"))
        .pool("six", Section::new().set("addrs", "fd09::/112").set("dns", "fd01::53"))
}

/// The least one can say.
fn plain() -> Connection {
    Connection::psk("gw.test", "other.test").set("remote_addrs", "192.0.2.9").child("only", Section::new())
}

/// Each line of complaint up to where the daemon's own words begin.
fn reasons(stderr: &str) -> Vec<&str> {
    stderr.lines().map(|line| line.split_once("failed:").map_or(line, |(what, _)| what)).collect()
}

/// A listing's entries, in alphabetical order: charon keeps connections in a hash table.
fn blocks(peer: &Peer, list: &str) -> Result<Vec<String>> {
    Ok(sorted(&peer.swanctl(&[list])?.success()?.stdout))
}

/// The blocks of a listing, each with the lines that are indented below it, sorted.
pub(super) fn sorted(listing: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in listing.lines() {
        match blocks.last_mut() {
            Some(block) if line.starts_with(' ') => *block += &format!("\n{line}"),
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks.sort();
    blocks
}

/// The lines of `--list-sas` without what differs between any two SAs and between an SA's two ends, sorted.
fn shape(peer: &Peer) -> Result<Vec<String>> {
    let output = peer.swanctl(&["--list-sas"])?.success()?;
    let mut lines: Vec<String> = output.stdout.lines().map(neutral).collect();
    lines.sort();
    Ok(lines)
}

fn neutral(line: &str) -> String {
    let ends = line.replace("local  ", "END ").replace("remote ", "END ").replace('*', "");
    let directions = ends.replace(" in  ", " WAY ").replace(" out ", " WAY ");
    let mut words = Vec::new();
    for word in directions.split_whitespace() {
        let (bare, rest) = word.split_at(word.find([',', '_']).unwrap_or(word.len()));
        let is_spi = [8, 16].contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_hexdigit());
        let number = bare.strip_suffix('s').unwrap_or(bare);
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        words.push(match (is_spi, is_number) {
            (true, _) => format!("SPI{rest}"),
            (false, true) => format!("N{rest}"),
            (false, false) => word.to_owned(),
        });
    }
    let indent = line.len() - line.trim_start().len();
    format!("{:indent$}{}", "", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_two_ends_become_alike() {
        let pairs = [
            (
                "t: #1, ESTABLISHED, IKEv2, 1a2b3c4d5e6f7081_i* 9f8e7d6c5b4a3928_r",
                "t: #1, ESTABLISHED, IKEv2, 1a2b3c4d5e6f7082_i 9f8e7d6c5b4a3921_r*",
            ),
            ("  local  'a' @ 192.0.2.1[4500]", "  remote 'a' @ 192.0.2.1[4500]"),
            ("  established 3s ago, rekeying in 13011s", "  established 0s ago, rekeying in 1s"),
            (
                "    in  c0ffee01,   5120 bytes,    40 packets,     2s ago",
                "    out 00000001,      0 bytes,     0 packets,     0s ago",
            ),
        ];
        for (a, b) in pairs {
            assert_eq!(neutral(a), neutral(b));
        }
        assert_ne!(neutral("    in  c0ffee01,      0 bytes,     0 packets"), neutral(pairs[3].1));
    }
}
