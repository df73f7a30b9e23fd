//! swanctl.conf to requests. The expected requests are those that `swanctl` 5.9.8 sends for the same files, but for the
//! problems: it sends an undecodable secret as some other octets, and connections whose certificates it cannot decode.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its files has failed")]

use std::path::Path;

use ferry_vici::settings::{NoFiles, Settings};
use ferry_vici::swanctl::{self, Opened, Opener, Step};
use ferry_vici::{dump, message::Message};
use zeroize::Zeroizing;

fn settings(text: &str) -> Settings {
    Settings::parse(text, "swanctl.conf", &NoFiles).unwrap()
}

fn show(steps: &[Step]) -> Vec<String> {
    let line = |step: &Step| match step {
        Ok(request) => dump::raw(request.command(), &request.message),
        Err(problem) => problem.to_string(),
    };
    steps.iter().map(line).collect()
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, contents) in [
        ("x509/ee.der", "ee"),
        ("x509/sub/ignored", "x"),
        ("x509/.hidden", "hidden"),
        ("x509ca/ca.pem", "ca"),
        ("x509crl/a.crl", "crl"),
        ("pubkey/p.pem", "pub"),
        ("private/k.pem", "-----BEGIN PRIVATE KEY-----"),
        ("private/locked.pem", "locked one"),
        ("rsa/old.pem", "locked two"),
        ("rsa/r.der", "key"),
        ("pkcs8/locked.der", "locked three"),
        ("pkcs12/box.p12", "box"),
    ] {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
    directory
}

/// Opens what begins with "locked" with the passphrase that follows, and containers with "pass".
struct Lock;

impl Opener for Lock {
    fn key(&self, file: &[u8], passphrases: &[Zeroizing<Vec<u8>>]) -> Result<Option<Opened>, String> {
        let Some(wanted) = file.strip_prefix(b"locked ") else { return Ok(None) };
        match passphrases.iter().any(|passphrase| **passphrase == wanted) {
            true => Ok(Some(Opened::Key { kind: "ecdsa", der: Zeroizing::new(b"open".to_vec()) })),
            false => Err(format!("{} passphrases do not fit", passphrases.len())),
        }
    }

    fn container(&self, _: &[u8], passphrases: &[Zeroizing<Vec<u8>>]) -> Result<Vec<Opened>, String> {
        match passphrases.iter().any(|passphrase| **passphrase == b"pass") {
            true => Ok(vec![
                Opened::Certificate { der: b"ee".to_vec(), is_ca: false },
                Opened::Certificate { der: b"ca".to_vec(), is_ca: true },
                Opened::Key { kind: "rsa", der: Zeroizing::new(b"key".to_vec()) },
            ]),
            false => Err("no passphrase fits".to_owned()),
        }
    }
}

#[test]
fn connections_with_lists_and_blobs() {
    let text = r#"
connections {
  a {
    remote { cacerts = ca.pem , 0x61
      certs = 0sYWI=
      cert-1 { file = /x/y.pem } }
    version = 2
    pools = "a 'b,c' d , \"x , y\" , 'un , z"
    vips = ""
    Local_Addrs = 'a'b, c , "e"
    proposals = " lead , trail "
    empty =
    other = 1, 2
    local { CERTS = ee.der, ee.der
      pubkeys = p.pem }
    children { lan { local_ts = 10.0.0.0/8 , dynamic[tcp/80] } }
  }
  gone { x = 1
    local { certs = nope.pem } }
  bad { local { certs = 0xzz } }
}
"#;
    let directory = directory();
    let steps = swanctl::connections(&settings(text), directory.path());
    let path = directory.path().display();
    assert_eq!(
        show(&steps),
        [
            "load-conn {a {version=2 pools=[a 'b c' d x , y 'un z] vips=[] Local_Addrs=[a b c e] \
             proposals=[lead trail] other=1, 2 remote {cacerts=[ca a] certs=[ab] cert-1 {file=/x/y.pem}} \
             local {CERTS=[ee ee] pubkeys=[pub]} children {lan {local_ts=[10.0.0.0/8 dynamic[tcp/80]]}}}}"
                .to_owned(),
            format!(
                "loading connection 'gone' failed: swanctl.conf:19:13: connections.gone.local.certs: \
                 cannot read {path}/x509/nope.pem: No such file or directory (os error 2)"
            ),
            "loading connection 'bad' failed: swanctl.conf:20:17: connections.bad.local.certs: expected hexadecimal digits after '0x'"
                .to_owned(),
        ]
    );
    let lists = |name: &str| {
        steps[0].as_ref().unwrap().message.section("a").and_then(|a| a.list(name)).map(<[_]>::len)
    };
    assert_eq!((lists("pools"), lists("vips"), lists("proposals")), (Some(5), Some(0), Some(2)));
}

#[test]
fn inherited_connections_are_whole() {
    let text = "defaults { remote_addrs = gw1, gw2\n children { lan { local_ts = dynamic\n } } }
        connections { site : defaults { version = 2\n children { lan { mode = tunnel\n } } } }";
    assert_eq!(
        show(&swanctl::connections(&settings(text), Path::new(""))),
        [
            "load-conn {site {version=2 remote_addrs=[gw1 gw2] children {lan {mode=tunnel local_ts=[dynamic]}}}}"
        ]
    );
}

#[test]
fn pools_and_authorities() {
    let text = "pools { p1 { addrs = 10.0.0.0/24\n dns = 1.1.1.1, 2.2.2.2\n 25 = \"foo bar\"\n } empty { } }
        authorities { au1 { cacert = ca.pem\n crl_uris = http://a , http://b\n ocsp_uris = x
            cert_uri_base = http://foo/\n file = /a } au2 { cacert = nope.pem } au3 { slot = 1 } }";
    let settings = settings(text);
    let pools = swanctl::pools(&settings);
    assert_eq!(
        show(&pools),
        ["load-pool {p1 {addrs=10.0.0.0/24 dns=[1.1.1.1 2.2.2.2] 25=[foo bar]}}", "load-pool {empty {}}"]
    );
    let directory = directory();
    let authorities = swanctl::authorities(&settings, directory.path());
    assert_eq!(
        show(&authorities),
        [
            "load-authority {au1 {cacert=ca crl_uris=[http://a http://b] ocsp_uris=[x] cert_uri_base=http://foo/ file=/a}}"
                .to_owned(),
            format!(
                "loading authority 'au2' failed: swanctl.conf:9:20: authorities.au2.cacert: cannot read {}/x509ca/nope.pem: \
                 No such file or directory (os error 2)",
                directory.path().display()
            ),
            "load-authority {au3 {slot=1}}".to_owned(),
        ]
    );
    let objects: Vec<_> =
        authorities.iter().map(|step| swanctl::object(step).name().unwrap().to_owned()).collect();
    assert_eq!(objects, ["au1", "au2", "au3"]);
}

#[test]
fn secrets_are_decoded_and_owned() {
    let text = r#"secrets {
ike-1 { secret = "x y"
  id-a = left
  id2 = right
  other = 5 }
eap-1 { secret = 0x6162 }
ntlm-1 { secret = 0sYWJj }
xauth { secret = 0x616 }
ppk { secret = pp }
ike-2 { secret = 0xzz }
ike-3 { id = foo }
ike-4 { secret = "" }
IKE-5 { secret = a }
private-1 { file = k.pem
  secret = pass }
token-1 { handle = ab
  pin = 1234 }
}"#;
    let steps = swanctl::credentials(&settings(text), Path::new("/nonexistent"), &Lock);
    assert_eq!(
        show(&steps),
        [
            "load-token {handle=ab pin=1234}",
            "load-shared {id=ike-1 type=ike data=x y owners=[left right]}",
            "load-shared {id=eap-1 type=eap data=ab owners=[]}",
            "load-shared {id=ntlm-1 type=ntlm data=abc owners=[]}",
            "load-shared {id=xauth type=xauth data=0x0616 owners=[]}",
            "load-shared {id=ppk type=ppk data=pp owners=[]}",
            "loading ike secret 'ike-2' failed: swanctl.conf:10:9: secrets.ike-2.secret: expected hexadecimal digits after '0x'",
            "loading ike secret 'ike-3' failed: swanctl.conf:11:1: secrets.ike-3: expected a key 'secret'",
            "loading ike secret 'ike-4' failed: swanctl.conf:12:9: secrets.ike-4.secret: expected a secret that is not empty",
            "loading secret 'IKE-5' failed: swanctl.conf:13:1: secrets.IKE-5: expected a name that starts with one of eap xauth ntlm \
             ike ppk private rsa ecdsa pkcs8 pkcs12 token",
        ]
    );
}

#[test]
fn credential_files() {
    let directory = directory();
    let path = directory.path().display();
    let text = "secrets { private-a { file = locked.pem\n secret = x\n secret-2 = one\n }
        rsa-a { file = locked.pem\n secret = two\n }
        pkcs8 { file = locked.der\n secret = three\n }
        pkcs12-b { file = box.p12\n secret = pass\n } }";
    let steps = swanctl::credentials(&settings(text), directory.path(), &Lock);
    let lines: Vec<_> = show(&steps).into_iter().map(|line| line.replace(&path.to_string(), "DIR")).collect();
    assert_eq!(
        lines,
        [
            "load-cert {type=X509 flag=NONE data=hidden}",
            "load-cert {type=X509 flag=NONE data=ee}",
            "load-cert {type=X509 flag=CA data=ca}",
            "load-cert {type=X509_CRL data=crl}",
            "load-cert {type=PUBKEY data=pub}",
            "load-key {type=any data=-----BEGIN PRIVATE KEY-----}",
            "load-key {type=ecdsa data=open}",
            "loading rsa key from 'DIR/rsa/old.pem' failed: 0 passphrases do not fit",
            "load-key {type=rsa data=key}",
            "load-key {type=ecdsa data=open}",
            "load-cert {type=X509 flag=NONE data=ee}",
            "load-cert {type=X509 flag=CA data=ca}",
            "load-key {type=rsa data=key}",
        ]
    );
    let steps = swanctl::credentials(&settings(""), directory.path(), &Lock);
    assert_eq!(
        show(&steps).last().unwrap().replace(&path.to_string(), "DIR"),
        "loading PKCS#12 container 'DIR/pkcs12/box.p12' failed: no passphrase fits"
    );
}

#[test]
fn files_of_secrets_that_others_can_read_are_named() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = directory();
    let set = |name: &str, mode| {
        let path = directory.path().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (name, mode) in [
        ("private/k.pem", 0o600),
        ("private/locked.pem", 0o640),
        ("rsa/old.pem", 0o604),
        ("rsa/r.der", 0o400),
        ("pkcs8/locked.der", 0o600),
        ("pkcs12/box.p12", 0o644),
        ("x509/ee.der", 0o644),
    ] {
        set(name, mode);
    }
    let path = directory.path().join("swanctl.conf");
    std::fs::write(&path, "secrets { ike { secret = x\n } }").unwrap();
    set("swanctl.conf", 0o640);
    let exposed = swanctl::exposed(&Settings::read(&path).unwrap(), directory.path());
    let names: Vec<_> = exposed.iter().map(|path| path.strip_prefix(directory.path()).unwrap()).collect();
    assert_eq!(names, ["pkcs12/box.p12", "private/locked.pem", "rsa/old.pem", "swanctl.conf"].map(Path::new));
}

#[test]
fn nothing_is_there_to_load() {
    let settings = settings("unrelated { x = 1 }");
    let nowhere = Path::new("/nonexistent");
    assert!(swanctl::connections(&settings, nowhere).is_empty());
    assert!(swanctl::authorities(&settings, nowhere).is_empty());
    assert!(swanctl::credentials(&settings, nowhere, &Lock).is_empty());
    assert!(swanctl::pools(&settings).is_empty());
    assert_eq!(Message::new(), Message::default());
}
