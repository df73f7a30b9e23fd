//! Shared secrets: who needs one, and who has one.

use ferry_ike::config::{AddressPattern, AuthClass, Connection, EapMethods, SecretKind, SharedSecret};
use ferry_ike::eap::{Method, Passwords as _};
use ferry_ike::identity::Identity;
use ferry_vici::swanctl;

use super::finding::Finding;
use super::{Subject, keys};

pub(super) fn look(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for connection in &subject.loaded.configuration.connections {
        pre_shared_keys(connection, subject, findings);
        passwords(connection, subject, findings);
    }
    unused(subject, findings);
    readable(subject, findings);
}

/// Who an end may be that has no identity configured: its addresses.
fn addresses(patterns: &[AddressPattern], or: &[Identity]) -> Vec<Identity> {
    let host = |pattern: &AddressPattern| match pattern {
        AddressPattern::Host(address) => Some(Identity::from_addr(*address)),
        _ => None,
    };
    let hosts: Vec<Identity> = patterns.iter().filter_map(host).collect();
    if hosts.len() == patterns.len() { hosts } else { or.to_vec() }
}

/// Who we may be in this connection.
fn ours(connection: &Connection, subject: &Subject<'_>) -> Vec<Identity> {
    let here: Vec<Identity> = subject.around.addresses.iter().copied().map(Identity::from_addr).collect();
    let ids = connection.local.iter().filter_map(|auth| auth.identity());
    let ids: Vec<Identity> = ids.collect();
    if ids.is_empty() { addresses(&connection.local_addrs, &here) } else { ids }
}

/// Who the peer may be; nobody named means anybody.
fn peers(connection: &Connection) -> Vec<Identity> {
    let ids: Vec<Identity> =
        connection.remote.iter().map(|auth| auth.id.clone()).filter(|id| !id.is_any()).collect();
    if ids.is_empty() { addresses(&connection.remote_addrs, &[]) } else { ids }
}

/// Whether a secret may be for these ends: for one of ours, or for a peer.
fn fits(secret: &SharedSecret, ours: &[Identity], peers: &[Identity]) -> bool {
    let is_one =
        |owner: &Identity, who: &Identity| who.matches(owner).is_some() || owner.matches(who).is_some();
    secret.owners.is_empty()
        || peers.is_empty()
        || secret.owners.iter().any(|owner| ours.iter().chain(peers).any(|who| is_one(owner, who)))
}

fn pre_shared_keys(connection: &Connection, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let path = format!("connections.{}", connection.name);
    let ends = [
        ("local", connection.local.iter().any(|auth| auth.class == AuthClass::Psk)),
        ("remote", connection.remote.iter().any(|auth| auth.class == Some(AuthClass::Psk))),
    ];
    let Some((end, _)) = ends.into_iter().find(|(_, asks)| *asks) else { return };
    let (ours, peers) = (ours(connection, subject), peers(connection));
    let secrets = || of_kind(subject, &[SecretKind::Ike]);
    if secrets().any(|secret| fits(secret, &ours, &peers)) {
        return;
    }
    let names: Vec<String> = peers.iter().chain(&ours).map(|id| format!("'{id}'")).collect();
    let owners: Vec<(&SharedSecret, String)> = secrets()
        .flat_map(|secret| secret.owners.iter().map(move |owner| (secret, owner.to_string())))
        .collect();
    let near = peers.iter().chain(&ours).find_map(|id| {
        let owner =
            keys::nearest(&id.to_string(), owners.iter().map(|(_, owner)| owner.as_str()))?.to_owned();
        let secret = owners.iter().find(|(_, other)| *other == owner)?.0;
        Some(format!("Write '{id}' instead of '{owner}' in secrets.{}.", name(secret)))
    });
    let first = peers.first().or(ours.first()).map(ToString::to_string).unwrap_or_default();
    findings.push(Finding::error(
        subject.place(&format!("{path}.{end}")),
        format!("{path} uses a pre-shared key, but there is none for {}", names.join(" or ")),
        near.unwrap_or_else(|| {
            format!("Make a section secrets.ike-{} with id = {first} and the secret.", connection.name)
        }),
    ));
}

/// Whether a method of EAP goes by passwords.
fn by_password(methods: EapMethods) -> bool {
    matches!(methods, EapMethods::One(Method::Md5 | Method::Gtc | Method::MsChapV2 | Method::Psk))
}

fn passwords(connection: &Connection, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let path = format!("connections.{}", connection.name);
    let configuration = &subject.loaded.configuration;
    for auth in &connection.local {
        let (AuthClass::Eap(methods), Some(client)) =
            (auth.class, auth.eap_id.clone().or_else(|| auth.identity()))
        else {
            continue;
        };
        let server = Identity::any();
        let has_one = configuration.password(&client, &server).is_some()
            || configuration.nt_hash(&client, &server).is_some();
        if by_password(methods) && !has_one {
            findings.push(Finding::error(
                subject.place(&format!("{path}.local")),
                format!("{path}.local: there is no EAP secret of '{client}'"),
                format!("Make a section secrets.eap-{} with id = {client} and the secret.", connection.name),
            ));
        }
    }
    for auth in &connection.remote {
        let Some(AuthClass::Eap(methods)) = auth.class else { continue };
        if by_password(methods) && of_kind(subject, &[SecretKind::Eap, SecretKind::Ntlm]).next().is_none() {
            findings.push(Finding::error(
                subject.place(&format!("{path}.remote")),
                format!("{path}.remote: there are no EAP secrets, so nobody can prove who they are"),
                "Make a section secrets.eap-NAME with id and secret for each user.",
            ));
        }
    }
}

fn of_kind<'s>(subject: &'s Subject<'_>, kinds: &'s [SecretKind]) -> impl Iterator<Item = &'s SharedSecret> {
    let secrets = subject.loaded.configuration.secrets.iter().map(|secret| &**secret);
    secrets.filter(|secret| kinds.contains(&secret.kind))
}

fn name(secret: &SharedSecret) -> &str {
    secret.id.as_deref().unwrap_or_default()
}

fn unused(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let connections = &subject.loaded.configuration.connections;
    if connections.is_empty() || !subject.has_all_connections() {
        return; // who uses it may be elsewhere, or could not be read
    }
    let is_used = |secret: &SharedSecret| {
        connections.iter().any(|connection| {
            let classes = connection.local.iter().map(|auth| Some(auth.class));
            let mut classes = classes.chain(connection.remote.iter().map(|auth| auth.class));
            match secret.kind {
                SecretKind::Ike => {
                    classes.any(|class| class.is_none_or(|class| class == AuthClass::Psk))
                        && fits(secret, &ours(connection, subject), &peers(connection))
                }
                SecretKind::Eap | SecretKind::Ntlm => {
                    classes.any(|class| class.is_none_or(|class| matches!(class, AuthClass::Eap(_))))
                }
                SecretKind::Ppk => true,
            }
        })
    };
    for secret in subject.loaded.configuration.secrets.iter().filter(|secret| !is_used(secret)) {
        let path = format!("secrets.{}", name(secret));
        findings.push(Finding::warning(
            subject.place(&path),
            format!("{path}: no connection uses this secret"),
            "Correct its id, or remove it.",
        ));
    }
}

/// Secrets that others than their owner can read.
fn readable(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for file in swanctl::exposed(subject.settings, subject.directory) {
        let cause = "others than its owner can read the secrets in it";
        let remedy = format!("Run chmod 600 {}.", file.display());
        findings.push(Finding::warning(None, cause, remedy).of_file(&file));
    }
}
