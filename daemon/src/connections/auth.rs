//! `local<x>` and `remote<x>`: rounds of authentication.

use ferry_ike::auth::rules::{ParsedRules, SignatureRules};
use ferry_ike::config::{AddressPattern, AuthClass, Child, Connection, EapMethods, LocalAuth, RemoteAuth};
use ferry_ike::crypto::signature::PublicKey;
use ferry_ike::eap::Method;
use ferry_ike::identity::Identity;
use ferry_ike::pki::{Certificate, Constraints, Oid, Revocation, files};
use ferry_ike::selector::SelectorPattern;

use super::certificate::certificate;
use super::error::ConfigError;
use super::schema::{Inner, Item, Items, Key, List};

/// One round, of either side.
#[derive(Default)]
struct Round {
    /// Which of several it is.
    number: u32,
    class: Option<AuthClass>,
    rules: ParsedRules,
    id: Option<Identity>,
    eap_id: Option<Identity>,
    aaa_id: Option<Identity>,
    groups: Vec<Identity>,
    certificates: Vec<Certificate>,
    authorities: Vec<Certificate>,
    public_keys: Vec<PublicKey>,
    authority_id: Option<Identity>,
    policies: Vec<Oid>,
    revocation: Revocation,
}

const SUPPORTED: &str = "psk is, null, pubkey, rsa and ecdsa, and eap with md5, gtc, mschapv2, psk, tls, ttls, peap, dynamic or radius";

/// Our own rounds, from the sections `local<x>` of the connection at `path`. Without any, there is one that does not say.
pub(super) fn local(
    sections: &[Inner<'_>],
    path: &str,
    remarks: &mut Vec<String>,
) -> Result<Vec<LocalAuth>, ConfigError> {
    let rounds = in_order(sections, remarks)?;
    if rounds.is_empty() {
        return Ok(vec![one_local(Round::default(), &format!("{path}.local"), remarks)?]);
    }
    rounds.into_iter().map(|(section, round)| one_local(round, &section.path, remarks)).collect()
}

fn one_local(round: Round, path: &str, remarks: &mut Vec<String>) -> Result<LocalAuth, ConfigError> {
    let rules = round.ike_rules();
    let class = round.class.unwrap_or(AuthClass::PublicKey); // charon's default
    let problem =
        |problem: &str| Err(ConfigError::Problem { path: path.to_owned(), problem: problem.to_owned() });
    if class == AuthClass::Eap(EapMethods::Relay) {
        return problem("auth = eap-radius is how a gateway authenticates others, it proves nobody");
    }
    if !round.groups.is_empty() {
        return problem("groups are for remote ends: we are in none");
    }
    let mut id = round.id.filter(|id| !id.is_any());
    // RFC 4945 §3.1: the peer looks for our identity in our certificate.
    if let (Some(certificate), Some(claimed), AuthClass::PublicKey) = (round.certificates.first(), &id, class)
        && !round.certificates.iter().any(|certificate| certificate.carries(claimed))
    {
        let subject = certificate.subject();
        remarks.push(format!("{path}.id = {claimed} is not confirmed by the certificate: using '{subject}'"));
        id = Some(subject.clone());
    }
    Ok(LocalAuth {
        class,
        certificates: round.certificates,
        public_keys: round.public_keys,
        rules,
        id,
        eap_id: round.eap_id.filter(|id| !id.is_any()),
        aaa_id: round.aaa_id,
    })
}

/// The peer's rounds, from the sections `remote<x>`. No section, or one that does not say, asks for nothing
/// in particular.
pub(super) fn remote(
    sections: &[Inner<'_>],
    remarks: &mut Vec<String>,
) -> Result<Vec<RemoteAuth>, ConfigError> {
    let rounds = in_order(sections, remarks)?;
    for (section, round) in &rounds {
        let is_relayed = round.class == Some(AuthClass::Eap(EapMethods::Relay));
        if !round.groups.is_empty() && !is_relayed {
            return Err(section.problem(
                "groups are not supported yet but with auth = eap-radius, where the server tells them",
            ));
        }
    }
    for (section, round) in &rounds {
        let is_null = round.class == Some(AuthClass::Null);
        if is_null && round.id.as_ref().is_some_and(|id| !id.is_any()) {
            // RFC 7619 §2.2: such an identity is for no check.
            return Err(section.problem("with auth = null nobody proves who they are: leave id out"));
        }
        let has_pattern = round.id.as_ref().is_some_and(|id| !id.is_exact());
        if has_pattern && !round.public_keys.is_empty() {
            return Err(section.problem(
                "id is a pattern, and a raw public key proves one identity: name it, or leave id out for the key itself",
            ));
        }
    }
    if rounds.is_empty() {
        return Ok(vec![one_remote(Round::default())]);
    }
    Ok(rounds.into_iter().map(|(_, round)| one_remote(round)).collect())
}

fn one_remote(round: Round) -> RemoteAuth {
    let rules = round.ike_rules();
    let chain = round.rules.chain;
    let trust = Constraints {
        certificates: round.certificates,
        authorities: round.authorities,
        authority_id: round.authority_id,
        policies: round.policies,
        schemes: chain.schemes,
        rsa_bits: chain.rsa_bits,
        ecdsa_bits: chain.ecdsa_bits,
        revocation: round.revocation,
    };
    let public_keys = round.public_keys;
    // As with charon: who is to prove it has a key, and that alone, is the key.
    let of_key = public_keys.first().filter(|_| trust.certificates.is_empty()).map(PublicKey::identity);
    let id = round.id.or(of_key).unwrap_or_else(Identity::any);
    let (class, eap_id, groups) = (round.class, round.eap_id, round.groups);
    RemoteAuth { class, rules, trust, public_keys, id, eap_id, groups }
}

/// What an end that does not prove who it is (RFC 7619) must not be combined with.
pub(super) fn check_null(connection: &Connection) -> Result<(), String> {
    let is_eap = |class: AuthClass| matches!(class, AuthClass::Eap(_));
    let of_peer = connection.remote.iter().filter_map(|auth| auth.class).collect::<Vec<_>>();
    let of_us = connection.local.iter().map(|auth| auth.class).collect::<Vec<_>>();
    let is_peer_null = of_peer.contains(&AuthClass::Null);
    if (is_peer_null && of_us.iter().any(|class| is_eap(*class)))
        || (of_us.contains(&AuthClass::Null) && of_peer.iter().any(|class| is_eap(*class)))
    {
        // RFC 7619 §2: the client would tell who knows who, and prove itself to that.
        return Err(
            "one end has auth = null and the other EAP: clients would prove themselves to nobody".into()
        );
    }
    // RFC 7619 §2.5: nobody may take the traffic of somebody.
    let is_for_many = connection.remote_addrs.iter().any(AddressPattern::is_of_many);
    let takes_more = |child: &&std::sync::Arc<Child>| {
        let is_fixed = |pattern: &SelectorPattern| matches!(pattern, SelectorPattern::Fixed(_));
        child.remote_ts.iter().any(is_fixed)
    };
    match connection.children.iter().find(takes_more) {
        Some(child) if is_peer_null && is_for_many => Err(format!(
            "anybody may come with auth = null, and children.{}.remote_ts would give them traffic of others: use dynamic",
            child.name
        )),
        _ => Ok(()),
    }
}

/// The rounds of one side (RFC 4739), by their `round` and where that is the same as they stand.
fn in_order<'a>(
    sections: &'a [Inner<'a>],
    remarks: &mut Vec<String>,
) -> Result<Vec<(&'a Inner<'a>, Round)>, ConfigError> {
    let mut rounds = Vec::new();
    for section in sections {
        rounds.push((section, round(section, remarks)?));
    }
    rounds.sort_by_key(|(_, round)| round.number);
    if let [_, _, ..] = rounds.as_slice()
        && let Some((section, _)) = rounds.iter().find(|(_, round)| round.class == Some(AuthClass::Null))
    {
        return Err(section.problem("auth = null stands alone: what else is proven makes it needless"));
    }
    Ok(rounds)
}

impl Round {
    /// Rules without `ike:` are for AUTH too, if there are none with it.
    fn ike_rules(&self) -> SignatureRules {
        self.rules.ike.clone().unwrap_or_else(|| self.rules.chain.clone())
    }
}

/// Reads one round. Both sides know the same keys, though some mean something on one side only.
fn round(section: &Inner<'_>, remarks: &mut Vec<String>) -> Result<Round, ConfigError> {
    let mut round = Round::default();
    for item in Items::of(section.section, &section.path) {
        match item {
            Item::Value(key) => value(&key, &mut round, remarks)?,
            Item::List(list) => read_list(&list, &mut round)?,
            Item::Section(inner) if starts_with(inner.name, "cacert") => {
                round.authorities.push(certificate_file(&inner)?);
            }
            Item::Section(inner) if starts_with(inner.name, "cert") => {
                round.certificates.push(certificate_file(&inner)?);
            }
            Item::Section(inner) => return Err(inner.unknown()),
        }
    }
    Ok(round)
}

fn value(key: &Key<'_>, round: &mut Round, remarks: &mut Vec<String>) -> Result<(), ConfigError> {
    match key.name {
        "auth" => (round.class, round.rules) = class(key, remarks)?,
        "id" => round.id = Some(key.identity()?),
        "round" => round.number = key.number("a whole number")?,
        "revocation" => {
            let choices = [
                ("relaxed", Revocation::Relaxed),
                ("ifuri", Revocation::IfUri),
                ("strict", Revocation::Strict),
            ];
            round.revocation = key.choice(&choices)?;
        }
        "ca_id" => round.authority_id = Some(key.identity()?),
        "eap_id" => round.eap_id = Some(key.identity()?),
        "aaa_id" => round.aaa_id = Some(key.identity()?),
        "xauth_id" => return Err(key.unsupported("XAuth is of IKEv1, which is not spoken")),
        _none_of_these => return Err(key.unknown()),
    }
    Ok(())
}

fn class(key: &Key<'_>, remarks: &mut Vec<String>) -> Result<(Option<AuthClass>, ParsedRules), ConfigError> {
    const EXPECTED: &str =
        "psk, pubkey, rsa, ecdsa, ike:..., null, eap or xauth, the last two with a method behind a dash";
    let text = key.text()?;
    let lower = text.to_ascii_lowercase();
    let starts_with_one_of = |words: &[&str]| {
        words.iter().any(|w| {
            lower.strip_prefix(w).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':', '/']))
        })
    };
    let class = if lower == "psk" {
        AuthClass::Psk
    } else if lower == "null" {
        AuthClass::Null
    } else if lower == "eap" {
        AuthClass::Eap(EapMethods::Any)
    } else if let Some(methods) = lower.strip_prefix("eap-").and_then(eap_methods) {
        AuthClass::Eap(methods)
    } else if let Some((methods, rules)) = lower.strip_prefix("eap-").and_then(|text| text.split_once(':'))
        && let Some(methods @ EapMethods::One(method)) = eap_methods(methods)
        && method.has_tls()
    {
        // For the certificates that are shown in TLS.
        return Ok((Some(AuthClass::Eap(methods)), signature_rules(rules, key, remarks)?));
    } else if starts_with_one_of(&["pubkey", "rsa", "ecdsa", "ike"]) {
        return Ok((Some(AuthClass::PublicKey), signature_rules(&lower, key, remarks)?));
    } else if starts_with_one_of(&["eap", "xauth"]) {
        return Err(key.unsupported(SUPPORTED));
    } else {
        return Err(key.invalid(EXPECTED));
    };
    Ok((Some(class), ParsedRules::default()))
}

fn signature_rules(text: &str, key: &Key<'_>, remarks: &mut Vec<String>) -> Result<ParsedRules, ConfigError> {
    let rules =
        SignatureRules::parse(text).map_err(|error| key.invalid(format!("signature rules, but {error}")))?;
    if !rules.ignored.is_empty() {
        remarks.push(key.remark(&format!("{} is not supported", rules.ignored.join(" and "))));
    }
    Ok(rules)
}

/// What stands behind `eap-`, by name or by number.
fn eap_methods(name: &str) -> Option<EapMethods> {
    match name {
        "dynamic" => return Some(EapMethods::Dynamic),
        "radius" => return Some(EapMethods::Relay),
        _ => {}
    }
    let numbered = || {
        let number = name.parse().ok()?;
        Method::ALL.into_iter().find(|method| method.eap_type().0 == number)
    };
    Method::named(name).or_else(numbered).map(EapMethods::One)
}

/// Lists are about certificates, and groups.
fn read_list(list: &List<'_>, round: &mut Round) -> Result<(), ConfigError> {
    match list.name {
        "certs" => round.certificates.extend(list.read_octets(one_certificate)?),
        "cacerts" => round.authorities.extend(list.read_octets(one_certificate)?),
        "cert_policy" => round.policies.extend(list.read(|text| {
            text.parse::<Oid>().map_err(|_| "an object identifier such as 1.3.6.1.4.1.36906.1".to_owned())
        })?),
        "groups" => {
            let read = |text: &str| Identity::parse(text).map_err(|error| error.to_string());
            round.groups = list.read(read)?;
        }
        "pubkeys" => round.public_keys.extend(list.read_octets(one_public_key)?),
        _none_of_these => return Err(list.unknown()),
    }
    Ok(())
}

fn one_certificate(octets: &[u8]) -> Result<Certificate, String> {
    certificate(octets).map_err(|error| format!("a certificate in DER or PEM, but {error}"))
}

fn one_public_key(octets: &[u8]) -> Result<PublicKey, String> {
    files::public_key(octets).map_err(|error| format!("a public key in DER or PEM, but {error}"))
}

/// `cert<x>` and `cacert<x>`: a certificate that the daemon reads.
fn certificate_file(inner: &Inner<'_>) -> Result<Certificate, ConfigError> {
    let mut found = None;
    for item in Items::of(inner.section, &inner.path) {
        match item {
            Item::Value(key) if key.name == "file" => {
                let path = key.text()?;
                let octets = std::fs::read(path).map_err(|error| {
                    key.invalid(format!("a certificate's file, but reading it failed: {error}"))
                })?;
                found = Some(one_certificate(&octets).map_err(|expected| key.invalid(expected))?);
            }
            Item::Value(key) if matches!(key.name, "handle" | "slot" | "module") => {
                return Err(key.unsupported("there are no tokens (PKCS#11)"));
            }
            Item::Value(key) => return Err(key.unknown()),
            Item::List(list) => return Err(list.unknown()),
            Item::Section(inner) => return Err(inner.unknown()),
        }
    }
    found.ok_or_else(|| inner.problem("it names no file"))
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use ferry_ike::crypto::signature::{Hash, SignatureScheme};
    use ferry_vici::Section;

    use super::*;

    fn read(section: &Section) -> Result<Round, ConfigError> {
        round(&Inner { name: "remote-1", path: "connections.gw.remote-1".to_owned(), section }, &mut vec![])
    }

    fn error(section: &Section) -> String {
        read(section).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn a_round_with_a_pre_shared_key() {
        let section = Section::new()
            .with("auth", "Psk")
            .with("id", "alice@example.net")
            .with("round", "1")
            .with("revocation", "relaxed")
            .with_list("groups", Vec::<&str>::new());
        let round = read(&section).unwrap();
        assert_eq!(round.class, Some(AuthClass::Psk));
        assert_eq!(round.id.unwrap().to_string(), "alice@example.net");
    }

    #[test]
    fn several_rounds_come_in_order() {
        let section = |auth: &str, round: &str| Section::new().with("auth", auth).with("round", round);
        let (last, first) = (section("eap-md5", "2"), section("psk", "1"));
        // What does not say goes before what does, in the order it stands.
        let unsaid = Section::new().with("auth", "pubkey");
        let sections = [("local-a", &last), ("local-b", &first), ("local", &unsaid)]
            .map(|(name, section)| Inner { name, path: format!("connections.gw.{name}"), section });
        let classes = [AuthClass::PublicKey, AuthClass::Psk, AuthClass::Eap(EapMethods::One(Method::Md5))];
        let own = local(&sections, "connections.gw", &mut vec![]).unwrap();
        assert_eq!(own.iter().map(|auth| auth.class).collect::<Vec<_>>(), classes);
        let peers = remote(&sections, &mut vec![]).unwrap();
        assert_eq!(peers.iter().map(|auth| auth.class).collect::<Vec<_>>(), classes.map(Some));
    }

    #[test]
    fn a_server_elsewhere_authenticates_peers_and_tells_their_groups() {
        let section = Section::new().with("auth", "eap-radius").with_list("groups", ["staff", "admins"]);
        let inner = || Inner { name: "remote", path: "connections.gw.remote".to_owned(), section: &section };
        let remote = remote(&[inner()], &mut vec![]).unwrap().remove(0);
        assert_eq!(remote.class, Some(AuthClass::Eap(EapMethods::Relay)));
        assert_eq!(remote.groups.iter().map(ToString::to_string).collect::<Vec<_>>(), ["staff", "admins"]);
        let error = local(&[inner()], "connections.gw", &mut vec![]).unwrap_err().to_string();
        assert!(error.starts_with("connections.gw.remote: auth = eap-radius is how a gateway"), "{error}");
    }

    #[test]
    fn groups_are_what_a_server_elsewhere_tells() {
        let section = Section::new().with("auth", "psk").with_list("groups", ["staff"]);
        let inner = || Inner { name: "remote", path: "connections.gw.remote".to_owned(), section: &section };
        let error = remote(&[inner()], &mut vec![]).unwrap_err().to_string();
        assert!(error.starts_with("connections.gw.remote: groups are not supported yet but with"), "{error}");
        let error = local(&[inner()], "connections.gw", &mut vec![]).unwrap_err().to_string();
        assert!(error.ends_with("groups are for remote ends: we are in none"), "{error}");
    }

    #[test]
    fn rounds_of_eap() {
        let class = |text: &str| read(&Section::new().with("auth", text)).unwrap().class.unwrap();
        assert_eq!(class("EAP"), AuthClass::Eap(EapMethods::Any));
        assert_eq!(class("eap-dynamic"), AuthClass::Eap(EapMethods::Dynamic));
        for method in Method::ALL {
            let expected = AuthClass::Eap(EapMethods::One(method));
            assert_eq!(class(&format!("eap-{}", method.name())), expected);
            assert_eq!(class(&format!("eap-{}", method.eap_type().0)), expected);
        }
        let tls = read(&Section::new().with("auth", "eap-tls:ecdsa-384-sha384")).unwrap();
        assert_eq!(tls.class, Some(AuthClass::Eap(EapMethods::One(Method::Tls))));
        assert_eq!(tls.rules.chain.schemes, [SignatureScheme::Ecdsa(Hash::Sha384)]);
        assert_eq!(tls.rules.chain.ecdsa_bits, Some(384));
        let section = Section::new()
            .with("auth", "eap-mschapv2")
            .with("eap_id", "%any")
            .with("aaa_id", "aaa.example.net");
        let inner = || Inner { name: "x", path: "connections.gw.x".to_owned(), section: &section };
        let remote = remote(&[inner()], &mut vec![]).unwrap().remove(0);
        assert!(remote.eap_id.is_some_and(|id| id.is_any()));
        let local = local(&[inner()], "connections.gw", &mut vec![]).unwrap().remove(0);
        assert_eq!(local.eap_id, None);
        assert_eq!(local.aaa_id.unwrap().to_string(), "aaa.example.net");
    }

    #[test]
    fn all_that_is_about_something_else_is_known_and_refused() {
        for (key, value) in [
            ("auth", "eap-md5:rsa"),
            ("auth", "eap-sim"),
            ("auth", "eap-mschapv2-311"),
            ("auth", "xauth"),
            ("xauth_id", "alice"),
        ] {
            let error = error(&Section::new().with(key, value));
            let begin = format!("connections.gw.remote-1.{key} = {value} is not supported yet: ");
            assert!(error.starts_with(&begin), "{error}");
        }
        let token = Section::new().with_section("cert1", Section::new().with("handle", "01"));
        assert!(error(&token).contains("remote-1.cert1.handle = 01 is not supported"));
    }

    #[test]
    fn rounds_with_signatures() {
        let class = |text: &str| read(&Section::new().with("auth", text)).unwrap();
        for text in ["pubkey", "rsa-4096-sha256", "rsa/pss-sha384", "ike:ecdsa-sha256", "ecdsa-sha224-sha384"]
        {
            assert_eq!(class(text).class, Some(AuthClass::PublicKey), "{text}");
        }
        let both = class("rsa-sha384");
        assert_eq!(both.ike_rules(), both.rules.chain, "for AUTH as well");
        let split = class("rsa-sha384-ike:rsa/pss-sha512");
        assert_eq!(split.ike_rules().schemes, [SignatureScheme::RsaPss(Hash::Sha512)]);
        assert_eq!(split.rules.chain.schemes, [SignatureScheme::RsaPkcs1(Hash::Sha384)]);
        let section = Section::new()
            .with("auth", "pubkey")
            .with("revocation", "strict")
            .with("ca_id", "C=CH, O=Lab")
            .with_list("cert_policy", ["1.3.6.1.4.1.36906.1"]);
        let inner = Inner { name: "x", path: "connections.gw.x".to_owned(), section: &section };
        let trust = remote(&[inner], &mut vec![]).unwrap().remove(0).trust;
        assert_eq!(trust.revocation, Revocation::Strict);
        assert_eq!(trust.authority_id.unwrap().to_string(), "C=CH, O=Lab");
        assert_eq!(trust.policies.len(), 1);
        assert_eq!(local(&[], "connections.gw", &mut vec![]).unwrap()[0].class, AuthClass::PublicKey);
    }

    #[test]
    fn a_raw_public_key_is_who_has_it_where_nothing_else_is_said() {
        let der = files::public_key(include_bytes!("../../tests/samples/public.pem")).unwrap();
        let section = |id: Option<&str>| {
            Section::new().with("auth", "pubkey").with_some("id", id).with_list("pubkeys", [der.spki_der()])
        };
        let of = |section: &Section| {
            let inner = || Inner { name: "x", path: "connections.gw.x".to_owned(), section };
            let local = local(&[inner()], "connections.gw", &mut vec![]).unwrap().remove(0);
            (local, remote(&[inner()], &mut vec![]).map(|mut rounds| rounds.remove(0)))
        };
        let (local, remote) = of(&section(None));
        let remote = remote.unwrap();
        assert_eq!(local.public_keys, remote.public_keys);
        assert_eq!(local.identity().unwrap(), remote.id);
        assert_eq!(remote.id, der.identity());
        assert!(!remote.takes_certificates());
        let (local, remote) = of(&section(Some("gw.test")));
        assert_eq!(local.identity().unwrap().to_string(), "gw.test");
        assert_eq!(remote.unwrap().id.to_string(), "gw.test");
        for pattern in ["*.test", "%any"] {
            let error = of(&section(Some(pattern))).1.unwrap_err().to_string();
            assert!(error.starts_with("connections.gw.x: id is a pattern, and a raw public key"), "{error}");
        }
    }

    #[test]
    fn slips_are_named() {
        assert_eq!(
            error(&Section::new().with("auth", "pks")),
            "connections.gw.remote-1.auth = pks: expected psk, pubkey, rsa, ecdsa, ike:..., null, eap or xauth, the \
             last two with a method behind a dash"
        );
        for (list, item) in
            [("certs", "nonsense"), ("cacerts", "nonsense"), ("pubkeys", "nonsense"), ("cert_policy", "any")]
        {
            let error = error(&Section::new().with_list(list, [item]));
            assert!(
                error.starts_with(&format!("connections.gw.remote-1.{list} = {item}: expected a")),
                "{error}"
            );
        }
        assert!(error(&Section::new().with("auth", "rsa-sha3")).contains("'sha3' is none of"));
        let missing =
            Section::new().with_section("cacert", Section::new().with("file", "/nonexistent/ca.pem"));
        assert!(
            error(&missing).contains("remote-1.cacert.file = /nonexistent/ca.pem: expected a certificate's")
        );
        assert_eq!(error(&Section::new().with("ide", "x")), "there is no key connections.gw.remote-1.ide");
    }
}
