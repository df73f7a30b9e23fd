//! Certificates, revocation lists and public keys. They come as they are, and are read here.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use ferry_ike::crypto::signature::{KeyType, PublicKey};
use ferry_ike::pki::{Certificate, Oid, RevocationList};
use ferry_vici::Message;

use crate::ferryctl::options::ListCerts;
use crate::ferryctl::session::Session;
use crate::system::{local_time, utc_time};

/// What is left out, and in which zone times are.
#[derive(Clone, Copy, Default)]
struct Style {
    is_short: bool,
    is_utc: bool,
    is_pem: bool,
}

pub(crate) fn list(session: &mut Session, options: &ListCerts) -> Result<ExitCode> {
    let arguments = Message::new()
        .with_some("type", options.kind.as_deref())
        .with_some("flag", options.flag.as_deref())
        .with_some("subject", options.subject.as_deref());
    let style = Style { is_short: options.short, is_utc: options.utc, is_pem: options.pem };
    let (now, caption) = (SystemTime::now(), RefCell::new(String::new()));
    session.stream(("list-certs", "list-cert", "list-cert event"), &arguments, |event| {
        if style.is_pem { pem(event) } else { render(event, style, now, &mut caption.borrow_mut()) }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Renders one, below a caption if the one before was of another kind.
fn render(event: &Message, style: Style, now: SystemTime, caption: &mut String) -> String {
    let kind = event.str("type").unwrap_or_default();
    let wanted = match (kind, event.str("flag").unwrap_or_default()) {
        ("X509", "CA") => "X.509 CA Certificates",
        ("X509", "AA") => "X.509 AA Certificates",
        ("X509", "OCSP") => "X.509 OCSP Signer Certificates",
        ("X509", _) => "X.509 End Entity Certificates",
        ("X509_AC", _) => "X.509 Attribute Certificates",
        ("X509_CRL", _) => "X.509 CRLs",
        ("OCSP_RESPONSE", _) => "OCSP Responses",
        ("PUBKEY", _) => "Raw Public Keys",
        (other, _) => other,
    };
    let mut text = String::new();
    if caption != wanted {
        let _ = writeln!(text, "\nList of {wanted}"); // writing to a String cannot fail
        wanted.clone_into(caption);
    }
    let (data, has_key) = (event.get("data").unwrap_or_default(), event.str("has_privkey") == Some("yes"));
    let body = match kind {
        "X509" => Certificate::from_der(data)
            .map(|certificate| x509(&certificate, has_key, style, now))
            .map_err(|error| error.to_string()),
        "X509_CRL" => RevocationList::from_der(data)
            .map(|list| crl(&list, style, now))
            .map_err(|error| error.to_string()),
        "PUBKEY" => PublicKey::from_spki_der(data)
            .map(|key| {
                let subject = event.str("subject").map(|subject| format!("  subject:  \"{subject}\"\n"));
                subject.unwrap_or_default() + &public_key(&key, has_key)
            })
            .map_err(|error| error.to_string()),
        other => Ok(format!("  {other} of {} octets\n", data.len())),
    };
    let _ = match body {
        Ok(body) => write!(text, "\n{body}"),
        Err(why) => writeln!(text, "\n  parsing failed: {why}"),
    };
    text
}

fn x509(certificate: &Certificate, has_key: bool, style: Style, now: SystemTime) -> String {
    let mut text = format!(
        "  subject:  \"{}\"\n  issuer:   \"{}\"\n  validity:  {}\n  serial:    {}\n",
        certificate.subject(),
        certificate.issuer(),
        validity(certificate.not_before(), certificate.not_after(), style, now),
        hex(certificate.serial())
    );
    if !certificate.alternative_names().is_empty() {
        let names: Vec<_> = certificate.alternative_names().iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "  altNames:  {}", names.join(", "));
    }
    if !style.is_short {
        text.push_str(&details(certificate));
    }
    if let Some(id) = certificate.authority_key_id() {
        let _ = writeln!(text, "  authkeyId: {}", hex(id));
    }
    if let Some(id) = certificate.subject_key_id() {
        let _ = writeln!(text, "  subjkeyId: {}", hex(id));
    }
    match certificate.public_key() {
        Ok(key) => text.push_str(&public_key(key, has_key)),
        Err(error) => {
            let _ = writeln!(text, "  pubkey:    {error}");
        }
    }
    text
}

/// What `--short` leaves out.
fn details(certificate: &Certificate) -> String {
    /// Internet Key Exchange before there was one for all of IPsec.
    const IKE_INTERMEDIATE: &str = "1.3.6.1.5.5.8.2.2";
    let basic = certificate.basic_constraints();
    let purposes = certificate.extended_key_usage().unwrap_or_default();
    let mut flags = String::new();
    for (name, is_set) in [
        ("CA", basic.is_ca),
        ("CRLSign", certificate.key_usage().is_some_and(|usage| usage.crls)),
        ("ocspSigning", purposes.contains(&Oid::OCSP_SIGNING)),
        ("serverAuth", purposes.contains(&Oid::SERVER_AUTH)),
        ("clientAuth", purposes.contains(&Oid::CLIENT_AUTH)),
        ("ikeIntermediate", purposes.iter().any(|purpose| purpose.to_string() == IKE_INTERMEDIATE)),
        ("self-signed", certificate.is_self_issued()),
    ] {
        if is_set {
            flags.push_str(name);
            flags.push(' ');
        }
    }
    let mut text = format!("  flags:     {flags}\n");
    for (label, uris) in [("CRL URIs:", certificate.crl_uris()), ("OCSP URIs:", certificate.ocsp_uris())] {
        for (index, uri) in uris.iter().enumerate() {
            let _ = match index {
                0 => writeln!(text, "  {label:<10} {uri}"),
                _ => writeln!(text, "           {uri}"),
            };
        }
    }
    if let Some(length) = basic.path_length {
        let _ = writeln!(text, "  pathlen:   {length}");
    }
    for (label, names) in ["permitted", "excluded"].into_iter().zip(certificate.constrained_names()) {
        if !names.is_empty() {
            let _ = writeln!(text, "  {label} nameConstraints:\n           {}", names.join("\n           "));
        }
    }
    if !certificate.policies().is_empty() {
        text.push_str("  certificatePolicies:\n");
        for policy in certificate.policies() {
            let _ = writeln!(text, "             {policy}");
        }
    }
    if !certificate.policy_mappings().is_empty() {
        text.push_str("  policyMappings:\n");
        for (issuer, subject) in certificate.policy_mappings() {
            let _ = writeln!(text, "           {issuer} => {subject}");
        }
    }
    text
}

fn public_key(key: &PublicKey, has_key: bool) -> String {
    let kind = match key.key_type() {
        KeyType::Rsa => "RSA",
        KeyType::Ecdsa(_) => "ECDSA",
        KeyType::Ed25519 => "ED25519",
    };
    let private = if has_key { ", has private key" } else { "" };
    format!(
        "  pubkey:    {kind} {} bits{private}\n  keyid:     {}\n  subjkey:   {}\n",
        key.bits(),
        hex(&key.info_id()),
        hex(&key.key_id())
    )
}

fn crl(list: &RevocationList, style: Style, now: SystemTime) -> String {
    let mut text = format!("  issuer:   \"{}\"\n", list.issuer());
    let this = if list.this_update() <= now { "ok" } else { "not valid yet" };
    let _ = writeln!(text, "  update:    this on {}, {this}", time(list.this_update(), style));
    match list.next_update() {
        Some(next) => {
            let _ = writeln!(text, "             next on {}, {}", time(next, style), until(next, now));
        }
        None => text.push_str("             next is not said\n"),
    }
    let _ = writeln!(text, "  serial:    {}", hex(list.number()));
    let _ = writeln!(text, "  authKeyId: {}", hex(list.authority_key_id().unwrap_or_default()));
    let count = list.entries().len();
    let plural = if count == 1 { "" } else { "s" };
    let _ = writeln!(text, "  {count} revoked certificate{plural}{}", if style.is_short { "" } else { ":" });
    if !style.is_short {
        for (serial, revoked) in list.entries() {
            let _ = writeln!(text, "    {}: {}, {}", hex(serial), time(revoked.at, style), revoked.reason);
        }
    }
    text
}

fn validity(from: SystemTime, to: SystemTime, style: Style, now: SystemTime) -> String {
    let begun = match from.duration_since(now) {
        Ok(wait) if !wait.is_zero() => format!("not valid yet (valid in {})", roughly(wait)),
        _ => "ok".to_owned(),
    };
    format!(
        "not before {}, {begun}\n             not after  {}, {}",
        time(from, style),
        time(to, style),
        until(to, now)
    )
}

fn until(end: SystemTime, now: SystemTime) -> String {
    match end.duration_since(now) {
        Ok(left) => format!("ok (expires in {})", roughly(left)),
        Err(passed) => format!("expired ({} ago)", roughly(passed.duration())),
    }
}

/// A length of time in its largest unit of which there are more than two.
fn roughly(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = [(86_400, "day"), (3_600, "hour"), (60, "minute")]
        .into_iter()
        .find(|(length, _)| seconds > 2 * length)
        .map_or((seconds, "second"), |(length, unit)| (seconds / length, unit));
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn time(time: SystemTime, style: Style) -> String {
    match style.is_utc {
        true => utc_time(time, c"%b %d %H:%M:%S UTC %Y"),
        false => local_time(time, c"%b %d %H:%M:%S %Y"),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

fn pem(event: &Message) -> String {
    let label = match event.str("type").unwrap_or_default() {
        "X509" => "CERTIFICATE",
        "X509_CRL" => "X509 CRL",
        "PUBKEY" => "PUBLIC KEY",
        "OCSP_RESPONSE" => "OCSP RESPONSE",
        other => other,
    };
    ferry_ike::pki::files::pem(label, event.get("data").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const AUTHORITY: &[u8] = include_bytes!("../../../tests/samples/authority.der");
    const GATEWAY: &[u8] = include_bytes!("../../../tests/samples/revoked.der");
    const LIST: &[u8] = include_bytes!("../../../tests/samples/list.der");

    fn event(kind: &str, flag: Option<&str>, data: &[u8]) -> Message {
        Message::new().with("type", kind).with_some("flag", flag).with("data", data)
    }

    #[test]
    fn kinds_have_captions() {
        let (mut caption, now) = (String::new(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let style = Style { is_utc: true, ..Style::default() };
        let mut show = |event: &Message| render(event, style, now, &mut caption);
        let first = show(&event("X509", Some("NONE"), GATEWAY));
        assert!(
            first.starts_with("\nList of X.509 End Entity Certificates\n\n  subject:  \"O=Lab, CN=gw\"\n"),
            "{first}"
        );
        assert!(show(&event("X509", Some("NONE"), GATEWAY)).starts_with("\n  subject: "));
        assert!(
            show(&event("X509", Some("CA"), AUTHORITY)).starts_with("\nList of X.509 CA Certificates\n\n")
        );
        let list = show(&event("X509_CRL", None, LIST));
        assert!(list.contains("Jan 01 00:00:00 UTC 2025, key compromise\n"), "{list}");
        let key = Certificate::from_der(GATEWAY).unwrap().public_key_info().to_vec();
        let key = show(&event("PUBKEY", None, &key));
        assert!(
            key.starts_with("\nList of Raw Public Keys\n\n  pubkey:    ECDSA 384 bits\n  keyid:     "),
            "{key}"
        );
        assert!(show(&event("X509", Some("NONE"), b"x")).contains("parsing failed"));
        assert!(pem(&event("X509", None, GATEWAY)).starts_with("-----BEGIN CERTIFICATE-----\nMII"));
    }

    #[test]
    fn times_are_rough() {
        let seconds = |seconds| roughly(Duration::from_secs(seconds));
        assert_eq!(seconds(86_400 * 20), "20 days");
        assert_eq!(seconds(86_400 * 2), "48 hours");
        assert_eq!(seconds(7_201), "2 hours");
        assert_eq!(seconds(121), "2 minutes");
        assert_eq!(seconds(1), "1 second");
    }
}
