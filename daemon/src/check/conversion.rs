//! From text to what the daemon would have, past everything on which that stumbles.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferry_ike::config::{Configuration, SecretKind, SharedSecret};
use ferry_ike::crypto::Secret;
use ferry_ike::crypto::signature::{KeyId, PrivateKey};
use ferry_ike::identity::Identity;
use ferry_ike::lease::{Pool, Pools};
use ferry_ike::pki::{Certificate, TrustStore, files};
use ferry_vici::settings::Settings;
use ferry_vici::swanctl::{self, Object, Request, Step};
use ferry_vici::{Element, Message, Section};

use super::finding::Finding;
use super::{keys, place};
use crate::connections::{self, ConfigError, Defaults, certificate};
use crate::pools::Leases;
use crate::swanctl_conf::files::Files;

/// The most that is said about one connection.
const MOST: usize = 50;

/// What would be loaded.
#[derive(Default)]
pub(super) struct Loaded {
    /// What endpoints would get.
    pub(super) configuration: Configuration,
    /// Certificates with the files they are from.
    pub(super) certificates: Vec<(PathBuf, Certificate)>,
    /// Files of private keys, with the identifiers of those that can be read.
    pub(super) key_files: Vec<(PathBuf, Option<KeyId>)>,
    /// Pools of addresses.
    pub(super) pools: Pools,
}

/// Loads everything that can be, and tells of what cannot.
pub(super) fn load(
    settings: &Settings,
    directory: &Path,
    defaults: &Defaults,
    findings: &mut Vec<Finding>,
) -> Loaded {
    let mut loaded = Loaded::default();
    for section in settings.root().sections() {
        if let Some(meant) = keys::meant(section.name()).filter(|meant| *meant != section.name()) {
            findings.push(Finding::warning(
                section.position().cloned(),
                format!("the section {} means nothing of itself", section.name()),
                format!("Write '{meant}'."),
            ));
        }
    }
    for request in requests(swanctl::credentials(settings, directory, &Files), findings) {
        loaded.credential(&request, settings, findings);
    }
    for request in requests(swanctl::authorities(settings, directory), findings) {
        loaded.authority(&request);
    }
    let leases = Leases::default();
    for request in requests(swanctl::pools(settings), findings) {
        for (name, section) in request.message.sections() {
            let attempt = |section: &Section| leases.load(name, section);
            if let Some(section) =
                persist(section, &format!("pools.{name}"), settings, findings, attempt).map(|(_, s)| s)
                && let Some(addrs) = section.str("addrs")
                && let Ok(pool) = Pool::parse(name, addrs)
            {
                // A new pool is never in use, so it is always taken.
                drop(loaded.pools.load(pool));
            }
        }
    }
    for request in requests(swanctl::connections(settings, directory), findings) {
        for (name, section) in request.message.sections() {
            let attempt = |section: &Section| connections::parse(name, section, defaults);
            let path = format!("connections.{name}");
            let Some((parsed, _)) = persist(section, &path, settings, findings, attempt) else { continue };
            for remark in parsed.remarks {
                let key = remark.split([' ', ':']).next().unwrap_or_default();
                findings.push(Finding::warning(place(settings, key), remark.clone(), remedy_of(&remark)));
            }
            loaded.configuration.connections.push(Arc::new(parsed.connection));
        }
    }
    loaded
}

impl Loaded {
    fn credential(&mut self, request: &Request, settings: &Settings, findings: &mut Vec<Finding>) {
        let data = request.message.get("data").unwrap_or_default();
        let bad = |path: &Path, why: String| {
            let cause = format!("{}: {why}", request.object);
            Finding::error(None, cause, "Put a file of this kind there, or take it away.").of_file(path)
        };
        match &request.object {
            Object::Certificate(path) if request.message.str("type") == Some("X509") => {
                match files::certificates(data) {
                    Ok(certificates) => {
                        for certificate in certificates {
                            let mut trust = TrustStore::clone(&self.configuration.trust);
                            trust.add(certificate.clone());
                            self.configuration.trust = Arc::new(trust);
                            self.certificates.push((path.clone(), certificate));
                        }
                    }
                    Err(error) => findings.push(bad(path, error.to_string())),
                }
            }
            Object::Key { path, .. } => {
                let key = files::private_key(data, &[])
                    .map_err(|error| error.to_string())
                    .and_then(|der| PrivateKey::from_der(&der).map_err(|error| error.to_string()));
                self.key_files.push((path.clone(), key.as_ref().ok().map(|key| key.public().info_id())));
                match key {
                    Ok(key) => self.configuration.private_keys.push(Arc::new(key)),
                    Err(why) => findings.push(bad(path, why)),
                }
            }
            Object::Secret { name, .. } => match secret(name, &request.message) {
                Ok(secret) => self.configuration.secrets.push(Arc::new(secret)),
                Err(why) => findings.push(Finding::error(
                    place(settings, &format!("secrets.{name}")),
                    format!("secrets.{name}: {why}"),
                    "Give the secret identities that can be read.",
                )),
            },
            _ => {}
        }
    }

    fn authority(&mut self, request: &Request) {
        for (_, section) in request.message.sections() {
            if let Some(Ok(certificate)) = section.get("cacert").map(certificate) {
                let mut trust = TrustStore::clone(&self.configuration.trust);
                trust.add(certificate);
                self.configuration.trust = Arc::new(trust);
            }
        }
    }
}

fn secret(name: &str, message: &Message) -> Result<SharedSecret, String> {
    let kind = match message.str("type").unwrap_or_default() {
        "ike" => SecretKind::Ike,
        "ntlm" => SecretKind::Ntlm,
        "ppk" => SecretKind::Ppk,
        _ => SecretKind::Eap,
    };
    let owners = message
        .strs("owners")
        .map(|text| Identity::parse(text).map_err(|error| format!("id = {text}: {error}")))
        .collect::<Result<_, _>>()?;
    let secret = Secret::new(message.get("data").unwrap_or_default().to_vec());
    Ok(SharedSecret { id: Some(name.to_owned()), kind, owners, secret })
}

/// The requests that can be made.
fn requests(steps: Vec<Step>, findings: &mut Vec<Finding>) -> Vec<Request> {
    let mut requests = Vec::new();
    for step in steps {
        match step {
            Ok(request) => requests.push(request),
            Err(problem) => {
                let (reason, remedy) = match &problem.object {
                    Object::UnknownSecret(_) => {
                        (problem.reason, "Rename the section, so that it is of a kind.")
                    }
                    Object::Secret { .. } => (problem.reason, "Write secret = and the secret itself."),
                    _ => (
                        format!("{}: {}", problem.object, problem.reason),
                        "Put a file there that can be read, or name another.",
                    ),
                };
                let finding = Finding::error(problem.position, reason, remedy);
                findings.push(match &problem.object {
                    Object::Certificate(path) | Object::Container(path) | Object::Key { path, .. } => {
                        finding.of_file(path)
                    }
                    _ => finding,
                });
            }
        }
    }
    requests
}

/// Reads a section until that succeeds, each time without what was wrong; and what was left of it then.
fn persist<T>(
    section: &Section,
    path: &str,
    settings: &Settings,
    findings: &mut Vec<Finding>,
    attempt: impl Fn(&Section) -> Result<T, ConfigError>,
) -> Option<(T, Section)> {
    let mut section = section.clone();
    for _ in 0..MOST {
        let error = match attempt(&section) {
            Ok(read) => return Some((read, section)),
            Err(error) => error,
        };
        findings.push(explain(&error, settings));
        let left = without(&section, path, error.path());
        if left == section {
            return None;
        }
        section = left;
    }
    None
}

/// The section at `path`, without what is at `wrong`.
fn without(section: &Section, path: &str, wrong: &str) -> Section {
    let mut left = Section::new();
    for element in section.iter() {
        let at = format!("{path}.{}", element.name());
        if at == wrong {
            continue;
        }
        match element {
            Element::Section { name, section } => {
                left.push_section(name.clone(), without(section, &at, wrong))
            }
            other => left.push_element(other.clone()),
        }
    }
    left
}

/// Why a value is none, and what is one, where `expected` says both: `what (why)`.
fn invalid(value: &str, expected: &str) -> (String, String) {
    let Some((what, why)) = expected.strip_suffix(')').and_then(|text| text.split_once(" (")) else {
        return (String::new(), format!("Write {expected}."));
    };
    let why = why.split_once(&format!("'{value}': ")).map_or(why, |(_, why)| why);
    if let Some((why, instead)) = why.split_once(", did you mean ") {
        return (format!(": {why}"), format!("Write {}.", instead.trim_end_matches('?')));
    }
    if let Some((why, example)) = why.split_once(", for example ") {
        return (format!(": {why}"), format!("Add one, for example {example}."));
    }
    (format!(": {why}"), format!("Write {what}."))
}

/// What to do about something that has no effect, or another than is written.
fn remedy_of(remark: &str) -> &'static str {
    if remark.contains("not confirmed by the certificate") {
        "Write an id that the certificate carries, or name another certificate."
    } else if remark.contains(": we have no ") {
        "Leave it as it is, if peers that have nothing else need not be reached."
    } else {
        "Remove it, or live without it."
    }
}

fn explain(error: &ConfigError, settings: &Settings) -> Finding {
    let position = place(settings, error.path());
    match error {
        ConfigError::Unknown { kind, path } => {
            let remedy = match (keys::home(path), keys::meant(path)) {
                (Some(home), _) => format!("Put it into {home}."),
                (None, Some(meant)) => format!("Write '{meant}'."),
                (None, None) => "Remove it: there is nothing like it.".to_owned(),
            };
            Finding::error(position, format!("there is no {kind} {path}"), remedy)
        }
        ConfigError::Invalid { path, value, expected } => {
            let (why, remedy) = invalid(value, expected);
            Finding::error(position, format!("{path} cannot be '{value}'{why}"), remedy)
        }
        ConfigError::Unsupported { path, value, reason } => Finding::error(
            position,
            format!("{path} = {value} is not supported"),
            format!("Remove it or choose another: {reason}."),
        ),
        ConfigError::Problem { path, problem } => {
            Finding::error(position, format!("{path}: {problem}"), format!("Correct {path}."))
        }
    }
}
