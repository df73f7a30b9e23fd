//! Certificates, private keys and authorities: loading them and listing them.

use ferry_ike::crypto::signature::{KeyType, PrivateKey};
use ferry_ike::identity::Identity;
use ferry_ike::pki::{Certificate, Oid, RevocationList, files};
use ferry_vici::{Element, Message, Section};

use super::{Arguments, failure, required};
use crate::connections::certificate;
use crate::control::Tunnels;
use crate::store::{Authority, Change};
use crate::vici_server::Control;
use crate::vici_server::client::Client;
use crate::vici_server::events::EventName;

/// Kinds of certificates, as clients name them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Any,
    X509(Flag),
    Crl,
    OcspResponse,
    PublicKey,
    /// Those that there are none of: attribute certificates and others.
    Other(&'static str),
}

/// What an X.509 certificate is for, in the order of lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Flag {
    Any,
    None,
    Ca,
    Aa,
    Ocsp,
}

impl Kind {
    /// From the keys `type` and `flag`; a list without them is of all.
    fn of(message: &Message, default: Option<Self>) -> Result<Self, String> {
        let flag = match message.str("flag").map(str::to_ascii_uppercase).as_deref() {
            None => None,
            Some("NONE") => Some(Flag::None),
            Some("CA") => Some(Flag::Ca),
            Some("AA") => Some(Flag::Aa),
            Some("OCSP") => Some(Flag::Ocsp),
            Some("ANY") => Some(Flag::Any),
            Some(other) => return Err(format!("flag = {other}: expected one of NONE, CA, AA, OCSP, ANY")),
        };
        let Some(text) = message.str("type") else {
            return default.ok_or_else(|| "type is missing".to_owned());
        };
        Ok(match text.to_ascii_uppercase().as_str() {
            "ANY" => Self::Any,
            // Loaded without a flag it is for nothing special; listed without one, it is any.
            "X509" => Self::X509(flag.unwrap_or(if default.is_some() { Flag::Any } else { Flag::None })),
            "X509CA" => Self::X509(Flag::Ca),
            "X509OCSP" => Self::X509(Flag::Ocsp),
            "X509AA" => Self::X509(Flag::Aa),
            "X509_CRL" | "X509CRL" => Self::Crl,
            "X509_AC" | "X509AC" => Self::Other("attribute certificates"),
            "PUBKEY" => Self::PublicKey,
            "OCSP_RESPONSE" => Self::OcspResponse,
            "OCSP_REQUEST" | "PKCS10_REQUEST" | "PGP" => Self::Other("these"),
            _ => return Err(format!("type = {text}: expected X509, X509_CRL, X509_AC or PUBKEY")),
        })
    }
}

impl Flag {
    fn of(certificate: &Certificate) -> Self {
        let purposes = certificate.extended_key_usage().unwrap_or_default();
        match certificate.basic_constraints().is_ca {
            true => Self::Ca,
            false if purposes.contains(&Oid::OCSP_SIGNING) => Self::Ocsp,
            false => Self::None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any => "ANY",
            Self::None => "NONE",
            Self::Ca => "CA",
            Self::Aa => "AA",
            Self::Ocsp => "OCSP",
        }
    }
}

pub(super) async fn load_cert<T: Tunnels>(arguments: &Arguments, control: &Control<T>) -> Result<(), String> {
    match read_cert(arguments)? {
        Change::RevocationList(list) => control.store.revocations().load(list),
        Change::PublicKey(key) => control.store.load_public_key(key).await,
        Change::Certificates(certificates) => control.store.load_certificates(certificates).await,
        Change::Key(_)
        | Change::Secret(_)
        | Change::Authority(_)
        | Change::Pool(_)
        | Change::Connection(_) => {}
    }
    Ok(())
}

/// Reads certificates, a revocation list or a public key.
pub(super) fn read_cert(arguments: &Arguments) -> Result<Change, String> {
    let message = arguments.strict()?;
    let kind = Kind::of(message, None)?;
    let data = message.get("data").filter(|octets| !octets.is_empty()).ok_or("data is missing")?;
    let flag = match kind {
        Kind::X509(flag) => flag,
        Kind::Any => Flag::Any,
        Kind::Crl => {
            let der = files::revocation_list(data).map_err(|error| error.to_string())?;
            let list = RevocationList::from_der(&der).map_err(|error| error.to_string())?;
            return Ok(Change::RevocationList(list));
        }
        Kind::PublicKey => {
            return files::public_key(data).map(Change::PublicKey).map_err(|error| error.to_string());
        }
        Kind::OcspResponse => return Err("OCSP responses are not supported".to_owned()),
        Kind::Other(what) => return Err(format!("{what} are not supported")),
    };
    let certificates = files::certificates(data).map_err(|error| error.to_string())?;
    if let (Flag::Ca, Some(other)) = (flag, certificates.iter().find(|one| !one.basic_constraints().is_ca)) {
        return Err(format!("'{other}' is no CA certificate: its basic constraints do not say so"));
    }
    Ok(Change::Certificates(certificates))
}

pub(super) async fn load_key<T: Tunnels>(arguments: &Arguments, control: &Control<T>) -> Message {
    match read_key(arguments) {
        Ok(key) => Message::new().with("success", "yes").with("id", control.store.load_key(key).await),
        Err(sentence) => failure(sentence),
    }
}

pub(super) fn read_key(arguments: &Arguments) -> Result<PrivateKey, String> {
    let message = arguments.strict()?;
    let kind = required(message, "type")?.to_ascii_lowercase();
    let data = message.get("data").filter(|octets| !octets.is_empty()).ok_or("data is missing")?;
    let der = files::private_key(data, &[]).map_err(|error| error.to_string())?;
    let key = PrivateKey::from_der(&der).map_err(|error| error.to_string())?;
    let is_it = match kind.as_str() {
        "any" => true,
        "rsa" => key.key_type() == KeyType::Rsa,
        "ecdsa" => matches!(key.key_type(), KeyType::Ecdsa(_)),
        "ed25519" => key.key_type() == KeyType::Ed25519,
        _ => return Err(format!("type = {kind}: expected one of any, rsa, ecdsa, ed25519")),
    };
    match is_it {
        true => Ok(key),
        false => Err(format!("type = {kind}: this is a key of type {}", key.key_type())),
    }
}

pub(super) async fn unload_key<T: Tunnels>(message: &Message, control: &Control<T>) -> Result<(), String> {
    control.store.unload_key(required(message, "id")?).await
}

pub(super) async fn key_ids<T: Tunnels>(control: &Control<T>) -> Message {
    Message::new().with_list("keys", control.store.key_ids().await)
}

/// Lists everything: public keys, certificates of end entities, of authorities and of OCSP responders, revocation lists,
/// responses; of each kind the newest first.
pub(super) async fn list<T: Tunnels>(message: &Message, client: &Client, control: &Control<T>) -> Message {
    let filters = (Kind::of(message, Some(Kind::Any)), message.str("subject").map(Identity::parse));
    // Filters that mean nothing let nothing through.
    let (Ok(kind), Ok(subject)) = (filters.0, filters.1.transpose()) else { return Message::new() };
    if matches!(kind, Kind::Any | Kind::PublicKey) {
        for raw in control.store.public_keys().await.into_iter().rev() {
            let names = [Some(raw.key.identity()), raw.subject.clone()];
            let is_it = |wanted: &Identity| names.iter().flatten().any(|name| name.matches(wanted).is_some());
            if !subject.as_ref().is_none_or(is_it) {
                continue;
            }
            let event = Message::new()
                .with("type", "PUBKEY")
                .with_some("has_privkey", raw.has_private.then_some("yes"))
                .with("data", raw.key.spki_der())
                .with_some("subject", raw.subject.map(|subject| subject.to_string()));
            client.emit(EventName::ListCert, &event).await;
        }
    }
    let mut certificates = control.store.certificates().await;
    certificates.reverse();
    certificates.sort_by_key(|(certificate, _)| Flag::of(certificate)); // swanctl has a caption for each
    for (certificate, has_key) in certificates {
        let flag = Flag::of(&certificate);
        let is_wanted = match kind {
            Kind::Any | Kind::X509(Flag::Any) => true,
            Kind::X509(wanted) => wanted == flag,
            Kind::Crl | Kind::OcspResponse | Kind::PublicKey | Kind::Other(_) => false,
        };
        let is_subject = subject.as_ref().is_none_or(|wanted| {
            certificate.carries(wanted)
                || certificate.subject().matches(wanted).is_some()
                || certificate.alternative_names().iter().any(|name| name.matches(wanted).is_some())
        });
        if is_wanted && is_subject {
            client.emit(EventName::ListCert, &list_cert(&certificate, has_key)).await;
        }
    }
    if matches!(kind, Kind::Any | Kind::Crl) {
        for list in control.store.revocations().lists() {
            if subject.as_ref().is_none_or(|wanted| list.issuer().matches(wanted).is_some()) {
                let event = Message::new().with("type", "X509_CRL").with("data", list.der());
                client.emit(EventName::ListCert, &event).await;
            }
        }
    }
    if matches!(kind, Kind::Any | Kind::OcspResponse) && subject.is_none() {
        for response in control.store.revocations().responses() {
            let event = Message::new().with("type", "OCSP_RESPONSE").with("data", response);
            client.emit(EventName::ListCert, &event).await;
        }
    }
    Message::new()
}

fn list_cert(certificate: &Certificate, has_key: bool) -> Message {
    Message::new()
        .with("type", "X509")
        .with("flag", Flag::of(certificate).name())
        .with_some("has_privkey", has_key.then_some("yes"))
        .with("data", certificate.der())
}

/// Forgets what was fetched.
pub(super) fn flush<T: Tunnels>(message: &Message, control: &Control<T>) -> Result<(), String> {
    let kind = Kind::of(message, Some(Kind::Any))?;
    if matches!(kind, Kind::Any | Kind::Crl) {
        control.store.revocations().flush_lists();
    }
    if matches!(kind, Kind::Any | Kind::OcspResponse) {
        control.store.revocations().flush_responses();
    }
    Ok(()) // of the others, none is fetched
}

pub(super) async fn load_authority<T: Tunnels>(
    arguments: &Arguments,
    control: &Control<T>,
) -> Result<(), String> {
    control.store.load_authority(read_first_authority(arguments).await?).await;
    Ok(())
}

/// Reads the first section as an authority.
pub(super) async fn read_first_authority(arguments: &Arguments) -> Result<Authority, String> {
    let (name, section) = arguments.strict()?.sections().next().ok_or("no authority is named")?;
    read_authority(name, section).await
}

async fn read_authority(name: &str, section: &Section) -> Result<Authority, String> {
    let path = |key: &str| format!("authorities.{name}.{key}");
    let strings = |items: &[ferry_vici::Value], key: &str| -> Result<Vec<String>, String> {
        let text = |item: &ferry_vici::Value| std::str::from_utf8(item.bytes()).map(str::to_owned);
        items
            .iter()
            .map(|item| text(item).map_err(|_| format!("{}: expected text in UTF-8", path(key))))
            .collect()
    };
    let (mut own, mut crl_uris, mut ocsp_uris, mut cert_uri_base) = (None, vec![], vec![], None);
    for element in section.iter() {
        match (element.name(), element) {
            ("cacert", Element::Value { value, .. }) => {
                own = Some(certificate(value.bytes()).map_err(|why| format!("{}: {why}", path("cacert")))?);
            }
            ("file", Element::Value { value, .. }) if own.is_none() => {
                let file =
                    std::str::from_utf8(value.bytes()).map_err(|_| format!("{}: no path", path("file")))?;
                let problem = |why: &dyn std::fmt::Display| format!("{} = {file}: {why}", path("file"));
                let octets = tokio::fs::read(file).await.map_err(|error| problem(&error))?;
                own = Some(certificate(&octets).map_err(|why| problem(&why))?);
            }
            ("file", Element::Value { .. }) => {}
            ("cert_uri_base", Element::Value { value, .. }) => {
                cert_uri_base = strings(std::slice::from_ref(value), "cert_uri_base")?.pop();
            }
            (key @ ("handle" | "slot" | "module"), Element::Value { .. }) => {
                return Err(format!("{} is not supported yet: there are no tokens", path(key)));
            }
            ("crl_uris", Element::List { items, .. }) => crl_uris = strings(items, "crl_uris")?,
            ("ocsp_uris", Element::List { items, .. }) => ocsp_uris = strings(items, "ocsp_uris")?,
            (other, _) => return Err(format!("there is no key {}", path(other))),
        }
    }
    let certificate =
        own.ok_or_else(|| format!("authorities.{name}: expected a CA certificate in cacert or file"))?;
    if !certificate.basic_constraints().is_ca {
        return Err(format!("authorities.{name}: '{certificate}' is no CA certificate"));
    }
    Ok(Authority { name: name.to_owned(), certificate, crl_uris, ocsp_uris, cert_uri_base })
}

pub(super) async fn unload_authority<T: Tunnels>(
    message: &Message,
    control: &Control<T>,
) -> Result<(), String> {
    control.store.unload_authority(required(message, "name")?).await
}

pub(super) async fn authority_names<T: Tunnels>(control: &Control<T>) -> Message {
    let names = control.store.authorities().await;
    Message::new().with_list("authorities", names.iter().map(|authority| authority.name.clone()))
}

/// Lists authorities, in load order.
pub(super) async fn list_authorities<T: Tunnels>(
    message: &Message,
    client: &Client,
    control: &Control<T>,
) -> Message {
    for authority in control.store.authorities().await {
        if message.str("name").is_none_or(|wanted| wanted == authority.name) {
            let section = Section::new()
                .with("cacert", authority.certificate.subject().to_string())
                .with_list("crl_uris", authority.crl_uris.iter().cloned())
                .with_list("ocsp_uris", authority.ocsp_uris.iter().cloned())
                .with_some("cert_uri_base", authority.cert_uri_base.clone());
            let event = Message::new().with_section(authority.name.clone(), section);
            client.emit(EventName::ListAuthority, &event).await;
        }
    }
    Message::new()
}
