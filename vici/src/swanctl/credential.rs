//! Files of certificates and keys beside swanctl.conf into `load-cert` and `load-key`, with the secrets in it.
//!
//! What needs a passphrase is opened here and not by the daemon: passphrases do not travel.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
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

/// Opens what needs a passphrase. How keys are encrypted is not for this crate to know.
pub trait Opener {
    /// The private key in an encrypted file, opened with the first of `passphrases` that fits; `None` if the file needs
    /// no passphrase, or is for the daemon to judge.
    ///
    /// # Errors
    /// If it cannot be opened: why.
    fn key(&self, file: &[u8], passphrases: &[Zeroizing<Vec<u8>>]) -> Result<Option<Opened>, String>;

    /// What is in a PKCS#12 container: certificates and keys.
    ///
    /// # Errors
    /// If it cannot be opened: why.
    fn container(&self, file: &[u8], passphrases: &[Zeroizing<Vec<u8>>]) -> Result<Vec<Opened>, String>;
}

/// Something that was in an encrypted file, in DER.
pub enum Opened {
    /// A certificate, and whether it is an authority's.
    Certificate {
        /// The certificate.
        der: Vec<u8>,
        /// Whether it is an authority's.
        is_ca: bool,
    },
    /// A private key.
    Key {
        /// Its type, as `load-key` has it.
        kind: &'static str,
        /// The key.
        der: Zeroizing<Vec<u8>>,
    },
}

/// All credentials: certificates, private keys, keys on tokens, shared secrets.
///
/// Every regular file in the credential directories below `directory` is taken, by name; a directory that does not
/// exist is empty. Keys that need a passphrase and PKCS#12 containers are opened by `opener` with what `secrets` has for
/// their files; nobody is asked for a passphrase.
pub fn credentials(settings: &Settings, directory: &Path, opener: &dyn Opener) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, kind, flag) in CERTIFICATES {
        each_file(&directory.join(name), Object::Certificate, &mut steps, |_, octets| {
            Ok(Message::new().with("type", kind).with_some("flag", flag).with("data", octets))
        });
    }
    for (name, kind) in KEYS {
        let object = |path| Object::Key { kind: name, path };
        each_file(&directory.join(name), object, &mut steps, |path, octets| {
            let opened = opener.key(&octets, &secret::passphrases(settings, name, path))?;
            Ok(match opened {
                Some(Opened::Key { kind, der }) => Message::new().with("type", kind).with("data", der),
                Some(Opened::Certificate { .. }) | None => {
                    Message::new().with("type", kind).with("data", octets)
                }
            })
        });
    }
    containers(settings, &directory.join(CONTAINERS), opener, &mut steps);
    steps.extend(secret::tokens(settings));
    steps.extend(secret::shared(settings));
    steps
}

/// Makes steps of what is in PKCS#12 containers.
fn containers(settings: &Settings, directory: &Path, opener: &dyn Opener, steps: &mut Vec<Step>) {
    let problem =
        |path: &Path, reason| Problem { object: Object::Container(path.to_owned()), position: None, reason };
    let files = match regular_files(directory) {
        Ok(files) => files,
        Err(error) => {
            steps.push(Err(problem(directory, format!("cannot list the directory: {error}"))));
            return;
        }
    };
    for path in files {
        let opened = read(&path)
            .and_then(|octets| opener.container(&octets, &secret::passphrases(settings, CONTAINERS, &path)));
        match opened {
            Ok(all) => steps.extend(all.into_iter().map(|opened| Ok(contained(&path, opened)))),
            Err(reason) => steps.push(Err(problem(&path, reason))),
        }
    }
}

/// Something out of the container at `path`.
fn contained(path: &Path, opened: Opened) -> Request {
    match opened {
        Opened::Certificate { der, is_ca } => Request {
            object: Object::Certificate(path.to_owned()),
            message: Message::new()
                .with("type", "X509")
                .with("flag", if is_ca { "CA" } else { "NONE" })
                .with("data", der),
        },
        Opened::Key { kind, der } => Request {
            object: Object::Key { kind: CONTAINERS, path: path.to_owned() },
            message: Message::new().with("type", kind).with("data", der),
        },
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    std::fs::read(path).map(Zeroizing::new).map_err(|error| format!("cannot read: {error}"))
}

/// Makes a step of each regular file in a directory, in the order of their names.
fn each_file(
    directory: &Path,
    object: impl Fn(PathBuf) -> Object,
    steps: &mut Vec<Step>,
    message: impl Fn(&Path, Zeroizing<Vec<u8>>) -> Result<Message, String>,
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
        let step = match read(&path).and_then(|octets| message(&path, octets)) {
            Ok(message) => Ok(Request { object: object(path), message }),
            Err(reason) => Err(problem(&path, reason)),
        };
        steps.push(step);
    }
}

/// Files of secrets that others than their owner may read: private keys, containers, and the texts that `secrets` are
/// written in.
pub fn exposed(settings: &Settings, directory: &Path) -> Vec<PathBuf> {
    let folders = KEYS.iter().map(|(name, _)| *name).chain([CONTAINERS]);
    let keys = folders.flat_map(|name| regular_files(&directory.join(name)).unwrap_or_default());
    let mut files: Vec<PathBuf> = secret::texts(settings).into_iter().chain(keys).collect();
    files.sort();
    files.dedup();
    files.retain(|path| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
    });
    files
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
