//! `secrets` into `load-shared` and `load-token`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::value::encoded;
use super::{Object, Problem, Request, Step};
use crate::message::Message;
use crate::settings::{Section, Settings};

/// What a section of `secrets` is for, by the start of its name. Looked up in this order.
const PREFIXES: [(&str, Purpose); 11] = [
    ("eap", Purpose::Shared),
    ("xauth", Purpose::Shared),
    ("ntlm", Purpose::Shared),
    ("ike", Purpose::Shared),
    ("ppk", Purpose::Shared),
    ("private", Purpose::Decryption),
    ("rsa", Purpose::Decryption),
    ("ecdsa", Purpose::Decryption),
    ("pkcs8", Purpose::Decryption),
    ("pkcs12", Purpose::Decryption),
    ("token", Purpose::Token),
];

#[derive(Clone, Copy)]
enum Purpose {
    /// A secret that the daemon shares with peers.
    Shared,
    /// A passphrase for a file.
    Decryption,
    /// A key on a token.
    Token,
}

/// Keys on tokens.
pub(super) fn tokens(settings: &Settings) -> Vec<Step> {
    let mut steps = Vec::new();
    for section in sections(settings) {
        if let Some((_, Purpose::Token)) = purpose(section.name()) {
            let message = section.settings().iter().fold(Message::new(), |message, setting| {
                message.with(setting.name(), setting.bytes()) // handle, slot, module and pin are the daemon's to judge
            });
            steps.push(Ok(Request { object: Object::TokenKey(section.name().to_owned()), message }));
        }
    }
    steps
}

/// Shared secrets, and the sections that are nothing at all.
pub(super) fn shared(settings: &Settings) -> Vec<Step> {
    let mut steps = Vec::new();
    for section in sections(settings) {
        match purpose(section.name()) {
            Some((kind, Purpose::Shared)) => steps.push(load_shared(kind, &section)),
            Some((_, Purpose::Decryption | Purpose::Token)) => {}
            None => {
                let known: Vec<_> = PREFIXES.iter().map(|(prefix, _)| *prefix).collect();
                let reason = format!("expected a name that starts with one of {}", known.join(" "));
                steps.push(Err(Problem {
                    object: Object::UnknownSecret(section.name().to_owned()),
                    position: section.position().cloned(),
                    reason: format!("{}: {reason}", section.path()),
                }));
            }
        }
    }
    steps
}

/// What may open the file at `path` in the directory `folder`: the values of all keys that start with `secret`, in
/// sections for this directory that name the file.
pub(super) fn passphrases(settings: &Settings, folder: &str, path: &Path) -> Vec<Zeroizing<Vec<u8>>> {
    let is_its = |section: &Section<'_>| {
        let is_for_folder = purpose(section.name())
            .is_some_and(|(kind, purpose)| matches!(purpose, Purpose::Decryption) && kind == folder);
        let file = section.setting("file");
        is_for_folder
            && file.is_some_and(|file| path.file_name().is_some_and(|name| name.as_bytes() == file.bytes()))
    };
    let mut passphrases = Vec::new();
    for section in sections(settings).iter().filter(|section| is_its(section)) {
        let secrets = section.settings();
        let secrets = secrets.iter().filter(|setting| setting.name().starts_with("secret"));
        passphrases.extend(secrets.map(|secret| Zeroizing::new(secret.bytes().to_vec())));
    }
    passphrases
}

/// The files in which secrets are written.
pub(super) fn texts(settings: &Settings) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for section in sections(settings) {
        let secrets = section.settings();
        let secrets = secrets.iter().filter(|setting| setting.name().starts_with("secret"));
        files.extend(secrets.map(|secret| secret.position().file.to_path_buf()));
    }
    files
}

fn sections(settings: &Settings) -> Vec<Section<'_>> {
    settings.section("secrets").map(|secrets| secrets.sections()).unwrap_or_default()
}

fn purpose(name: &str) -> Option<(&'static str, Purpose)> {
    PREFIXES.into_iter().find(|(prefix, _)| name.starts_with(prefix))
}

fn load_shared(kind: &'static str, section: &Section<'_>) -> Step {
    let object = Object::Secret { kind, name: section.name().to_owned() };
    let Some(secret) = section.setting("secret") else {
        let reason = format!("{}: expected a key 'secret'", section.path());
        return Err(Problem { object, position: section.position().cloned(), reason });
    };
    let data = match encoded(secret.bytes()) {
        Some(octets) => octets,
        None => Ok(Zeroizing::new(secret.bytes().to_vec())),
    };
    let data = data
        .and_then(|data| if data.is_empty() { Err("expected a secret that is not empty") } else { Ok(data) });
    let data = match data {
        Ok(data) => data,
        Err(reason) => {
            let reason = format!("{}: {reason}", secret.path());
            return Err(Problem { object, position: Some(secret.position().clone()), reason });
        }
    };
    let settings = section.settings();
    let owners = settings.iter().filter(|setting| setting.name().starts_with("id"));
    let message = Message::new()
        .with("id", section.name())
        .with("type", kind)
        .with("data", data)
        .with_list("owners", owners.map(|owner| owner.bytes()));
    Ok(Request { object, message })
}
