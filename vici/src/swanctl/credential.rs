//! Files of certificates and keys beside swanctl.conf into `load-cert` and `load-key`, with the secrets in it.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Object, Problem, Request, Step, secret};
use crate::message::Message;
use crate::settings::Settings;

/// Directories of certificates: name, type, flag.
const CERTIFICATES: [(&str, &str, Option<&str>); 7] = [
    ("x509", "X509", Some("NONE")),
    ("x509ca", "X509", Some("CA")),
    ("x509ocsp", "X509", Some("OCSP")),
    ("x509aa", "X509", Some("AA")),
    ("x509ac", "X509_AC", None),
    ("x509crl", "X509_CRL", None),
    ("pubkey", "PUBKEY", None),
];

/// Directories of private keys: name, type. The daemon finds out what `any` is.
const KEYS: [(&str, &str); 4] = [("private", "any"), ("rsa", "rsa"), ("ecdsa", "ecdsa"), ("pkcs8", "any")];

/// Directory of PKCS#12 containers.
const CONTAINERS: &str = "pkcs12";

/// All credentials: certificates, private keys, keys on tokens, shared secrets.
///
/// Every regular file in the credential directories below `directory` is taken, by name; a directory that does not
/// exist is empty. A key that needs a passphrase and a PKCS#12 container are [`Problem`]s: a key has to be stored
/// unencrypted.
pub fn credentials(settings: &Settings, directory: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, kind, flag) in CERTIFICATES {
        each_file(&directory.join(name), Object::Certificate, &mut steps, |octets| {
            Ok(Message::new().with("type", kind).with_some("flag", flag).with("data", octets))
        });
    }
    for (name, kind) in KEYS {
        let object = |path| Object::Key { kind: name, path };
        each_file(&directory.join(name), object, &mut steps, |octets| {
            if is_encrypted(&octets) {
                return Err("the key is encrypted; expected one that needs no passphrase".into());
            }
            Ok(Message::new().with("type", kind).with("data", octets))
        });
    }
    each_file(&directory.join(CONTAINERS), Object::Container, &mut steps, |_| {
        Err("PKCS#12 is not read; expected certificate and key in files of their own".into())
    });
    steps.extend(secret::tokens(settings));
    steps.extend(secret::shared(settings));
    steps
}

/// Makes a step of each regular file in a directory, in the order of their names.
fn each_file(
    directory: &Path,
    object: impl Fn(PathBuf) -> Object,
    steps: &mut Vec<Step>,
    message: impl Fn(Zeroizing<Vec<u8>>) -> Result<Message, String>,
) {
    let problem = |path: &Path, reason| Problem { object: object(path.to_owned()), position: None, reason };
    let files = match regular_files(directory) {
        Ok(files) => files,
        Err(error) => {
            steps.push(Err(problem(directory, format!("cannot list the directory: {error}"))));
            return;
        }
    };
    for path in files {
        let octets =
            std::fs::read(&path).map(Zeroizing::new).map_err(|error| format!("cannot read: {error}"));
        let step = match octets.and_then(&message) {
            Ok(message) => Ok(Request { object: object(path), message }),
            Err(reason) => Err(problem(&path, reason)),
        };
        steps.push(step);
    }
}

fn regular_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // A link that leads nowhere is kept, so that reading it tells.
        if std::fs::metadata(&path).map_or(true, |metadata| metadata.is_file()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a private key needs a passphrase: in PEM either form says so in its head, in DER the encryption scheme PBES2
/// (RFC 8018 §A.4) is named within the first octets.
fn is_encrypted(key: &[u8]) -> bool {
    const PBES2: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
    let contains = |octets: &[u8], wanted: &[u8]| octets.windows(wanted.len()).any(|window| window == wanted);
    if contains(key, b"-----BEGIN ") {
        contains(key, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(key, b"Proc-Type: 4,ENCRYPTED")
    } else {
        contains(key.get(..32).unwrap_or(key), PBES2)
    }
}
