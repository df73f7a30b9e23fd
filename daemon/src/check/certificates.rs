//! Certificates: ours and those that vouch for peers.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ferry_ike::config::{AddressPattern, AuthClass, Connection, LocalAuth, RemoteAuth};
use ferry_ike::identity::Identity;
use ferry_ike::pki::Certificate;

use super::finding::Finding;
use super::{Subject, keys};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// So long before its end a certificate is told of.
const SOON: Duration = DAY.saturating_mul(30);

pub(super) fn look(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for (file, certificate) in &subject.loaded.certificates {
        times(file, certificate, subject.around.now, findings);
        place_of_authorities(file, certificate, subject, findings);
    }
    keys_of_nobody(subject, findings);
    for connection in &subject.loaded.configuration.connections {
        for auth in connection.local.iter().filter(|auth| auth.class == AuthClass::PublicKey) {
            own(connection, auth, subject, findings);
        }
        let asks = connection.remote.iter().any(|auth| auth.class == Some(AuthClass::PublicKey));
        if asks {
            trust(connection, subject, findings);
        }
    }
}

fn times(file: &Path, certificate: &Certificate, now: SystemTime, findings: &mut Vec<Finding>) {
    let days = |time: Duration| time.as_secs() / DAY.as_secs();
    let finding = if let Ok(since) = now.duration_since(certificate.not_after()) {
        Finding::error(
            None,
            format!("the certificate of '{certificate}' ended {} days ago", days(since)),
            "Put a new one in its place, and load it with ferryctl --load-creds.",
        )
    } else if let Ok(until) = certificate.not_before().duration_since(now) {
        Finding::error(
            None,
            format!("the certificate of '{certificate}' begins in {} days only", days(until)),
            "Set the clock of this host, or of the one that made the certificate.",
        )
    } else if let Ok(left) = certificate.not_after().duration_since(now)
        && left < SOON
    {
        Finding::warning(
            None,
            format!("the certificate of '{certificate}' ends in {} days", days(left)),
            "Have a new one made.",
        )
    } else {
        return;
    };
    findings.push(finding.of_file(file));
}

fn place_of_authorities(
    file: &Path,
    certificate: &Certificate,
    subject: &Subject<'_>,
    findings: &mut Vec<Finding>,
) {
    let is_among_authorities = file.parent() == Some(&subject.directory.join("x509ca"));
    if is_among_authorities && !certificate.basic_constraints().is_ca {
        findings.push(
            Finding::error(
                None,
                format!("'{certificate}' is no authority: its basic constraints do not say so"),
                "Move it to x509, or have it made as a CA certificate.",
            )
            .of_file(file),
        );
    }
}

/// Private keys that belong to no certificate. Raw public keys go without.
fn keys_of_nobody(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let configuration = &subject.loaded.configuration;
    let written = configuration.connections.iter().flat_map(|connection| &connection.local);
    let written = written.flat_map(|auth| &auth.certificates);
    let certificates: Vec<&Certificate> = configuration.trust.end_entities().iter().chain(written).collect();
    if certificates.is_empty() || subject.directory.join("pubkey").is_dir() {
        return;
    }
    for (file, key) in &subject.loaded.key_files {
        if let Some(key) = key
            && !certificates.iter().any(|certificate| certificate.key_hash() == key)
        {
            findings.push(
                Finding::warning(
                    None,
                    "none of the certificates belongs to this private key",
                    "Put its certificate in x509, or take the key away.",
                )
                .of_file(file),
            );
        }
    }
}

/// What proves who we are.
fn own(connection: &Connection, auth: &LocalAuth, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let configuration = &subject.loaded.configuration;
    let path = format!("connections.{}.local", connection.name);
    let ids = match auth.identity() {
        Some(id) => vec![id],
        None => own_addresses(connection, subject),
    };
    if let (Some(key), true) = (auth.public_keys.first(), auth.certificates.is_empty()) {
        if configuration.raw_key(auth).is_none() {
            findings.push(Finding::error(
                subject.place(&path),
                format!("{path}: the private key of the raw public key {key} is missing"),
                "Put the key in private, or name the public key whose private key is there.",
            ));
        }
        return;
    }
    let credential = ids.iter().find_map(|id| configuration.credential(auth, id, &[]));
    if let Some((certificate, _)) = credential {
        return chain(&certificate, &path, subject, findings);
    }
    let carriers: Vec<&Certificate> = if auth.certificates.is_empty() {
        let all = configuration.trust.end_entities().iter();
        all.filter(|certificate| ids.iter().any(|id| certificate.carries(id))).collect()
    } else {
        auth.certificates.iter().collect()
    };
    let position = subject.place(&path);
    findings.push(match carriers.first() {
        Some(certificate) => Finding::error(
            position,
            format!("{path}: the private key of the certificate of '{certificate}' is missing"),
            "Put the key in private, or name the certificate whose key is there.",
        ),
        None => {
            let names = names(subject);
            let who: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
            let wanted = ids.first().map(ToString::to_string).unwrap_or_default();
            let remedy = match keys::nearest(&wanted, names.iter().map(String::as_str)) {
                Some(near) => format!("Write id = {near}."),
                None if names.is_empty() => "Put our certificate in x509 and its key in private.".to_owned(),
                None => format!("Write an id that one of them carries: {}.", names.join(", ")),
            };
            Finding::error(
                position,
                format!("{path}: no certificate carries the identity {}", who.join(" or ")),
                remedy,
            )
        }
    });
}

fn own_addresses(connection: &Connection, subject: &Subject<'_>) -> Vec<Identity> {
    let host = |pattern: &AddressPattern| match pattern {
        AddressPattern::Host(address) => Some(Identity::from_addr(*address)),
        _ => None,
    };
    let hosts: Vec<Identity> = connection.local_addrs.iter().filter_map(host).collect();
    if hosts.is_empty() {
        let addresses = subject.around.addresses.iter().copied();
        addresses.filter(|address| !address.is_loopback()).map(Identity::from_addr).collect()
    } else {
        hosts
    }
}

/// Who our certificates say we are.
fn names(subject: &Subject<'_>) -> Vec<String> {
    let own = subject.loaded.configuration.trust.end_entities().iter();
    let own = own.filter(|certificate| subject.loaded.configuration.private_key(certificate).is_some());
    own.flat_map(|certificate| {
        let subject = (!certificate.has_no_subject()).then(|| certificate.subject());
        certificate.alternative_names().iter().chain(subject).map(ToString::to_string).collect::<Vec<_>>()
    })
    .collect()
}

/// Whether the authorities above our certificate are there to be sent along.
fn chain(certificate: &Certificate, path: &str, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    if certificate.is_self_issued() {
        return;
    }
    let above = subject.loaded.configuration.authorities_above(certificate, true);
    let last = above.last().unwrap_or(certificate);
    if !last.is_self_issued() {
        findings.push(Finding::warning(
            subject.place(path),
            format!("{path}: '{}', who vouches for '{last}', is not in x509ca", last.issuer()),
            "Put its certificate there, as peers may not have it.",
        ));
    }
}

/// What proves who peers are.
fn trust(connection: &Connection, subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let trust = &subject.loaded.configuration.trust;
    let path = format!("connections.{}.remote", connection.name);
    let of_connection = connection.remote.iter().any(|auth| {
        let RemoteAuth { trust, public_keys, .. } = auth;
        !trust.certificates.is_empty() || !trust.authorities.is_empty() || !public_keys.is_empty()
    });
    let is_others =
        |certificate: &&Certificate| subject.loaded.configuration.private_key(certificate).is_none();
    let knows_somebody = trust.end_entities().iter().any(|certificate| is_others(&certificate));
    if trust.anchors().is_empty() && !of_connection && !knows_somebody {
        findings.push(Finding::error(
            subject.place(&path),
            format!("{path}: no authority is trusted, so no certificate of a peer is believed"),
            "Put the certificate of the peer's authority in x509ca.",
        ));
    }
}
