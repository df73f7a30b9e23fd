//! `connections` into `load-conn`.

use std::path::Path;

use super::value::{encoded, items};
use super::{Object, Problem, Request, Step};
use crate::message::{self, Message, Value};
use crate::settings::{Section, Setting, Settings};

/// Keys whose value is a list, wherever they stand below a connection.
const LISTS: [&str; 11] = [
    "ah_proposals",
    "cert_policy",
    "esp_proposals",
    "groups",
    "local_addrs",
    "local_ts",
    "pools",
    "proposals",
    "remote_addrs",
    "remote_ts",
    "vips",
];

/// Keys whose value lists files, and the directory that relative names refer to.
const BLOBS: [(&str, &str); 3] = [("cacerts", "x509ca"), ("certs", "x509"), ("pubkeys", "pubkey")];

/// One `load-conn` for each connection. Certificate files are read from below `directory`.
pub fn connections(settings: &Settings, directory: &Path) -> Vec<Step> {
    let Some(connections) = settings.section("connections") else { return Vec::new() };
    let step = |connection: Section<'_>| {
        let object = Object::Connection(connection.name().to_owned());
        let contents = contents(&connection, directory, &object)?;
        let message = Message::new().with_section(connection.name(), contents);
        Ok(Request { object, message })
    };
    connections.sections().into_iter().map(step).collect()
}

/// Keys first, then sections, as swanctl sends them. Recurses no deeper than settings may nest.
fn contents(section: &Section<'_>, directory: &Path, object: &Object) -> Result<message::Section, Problem> {
    let mut message = message::Section::new();
    for setting in section.settings() {
        let is_key = |key: &str| key.eq_ignore_ascii_case(setting.name());
        if LISTS.iter().any(|key| is_key(key)) {
            message.push_list(setting.name(), items(setting.bytes()));
        } else if let Some((_, subdirectory)) = BLOBS.iter().find(|(key, _)| is_key(key)) {
            let blobs = blobs(&setting, &directory.join(subdirectory), object)?;
            message.push_list(setting.name(), blobs);
        } else {
            message.push(setting.name(), setting.bytes());
        }
    }
    for section in section.sections() {
        message.push_section(section.name(), contents(&section, directory, object)?);
    }
    Ok(message)
}

/// Each item as octets: `0x` or `0s` digits, else the contents of the file.
fn blobs(setting: &Setting<'_>, directory: &Path, object: &Object) -> Result<Vec<Value>, Problem> {
    let blob = |item| match encoded(item) {
        Some(octets) => octets.map(Value::from).map_err(str::to_owned),
        None => file(item, directory),
    };
    let blobs: Result<Vec<_>, String> = items(setting.bytes()).into_iter().map(blob).collect();
    blobs.map_err(|reason| Problem {
        object: object.clone(),
        position: Some(setting.position().clone()),
        reason: format!("{}: {reason}", setting.path()),
    })
}

/// The contents of a file; a relative name refers to `directory`.
pub(super) fn file(name: &[u8], directory: &Path) -> Result<Value, String> {
    let name = std::str::from_utf8(name).map_err(|_| "the file name is not UTF-8".to_owned())?;
    let path = directory.join(name);
    std::fs::read(&path).map(Value::from).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
