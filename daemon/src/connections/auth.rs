//! `local<x>` and `remote<x>`: rounds of authentication.

use ferry_ike::config::{AuthClass, EapMethods, LocalAuth, RemoteAuth};
use ferry_ike::eap::Method;
use ferry_ike::identity::Identity;

use super::error::ConfigError;
use super::schema::{Inner, Item, Items, Key, List};

/// One round, of either side.
#[derive(Default)]
struct Round {
    class: Option<AuthClass>,
    id: Option<Identity>,
    eap_id: Option<Identity>,
    aaa_id: Option<Identity>,
}

const SUPPORTED: &str = "psk is, and eap with md5, gtc, mschapv2, psk or dynamic";
const NO_CERTIFICATES: &str = "there is no authentication by certificates or public keys, only psk and eap";

/// Our own rounds, from the sections `local<x>` of the connection at `path`.
pub(super) fn local(sections: &[Inner<'_>], path: &str) -> Result<Vec<LocalAuth>, ConfigError> {
    one_round(sections)?;
    let Some(section) = sections.first() else {
        return Err(no_class(format!("{path}.local")));
    };
    let round = round(section)?;
    let class = round.class.ok_or_else(|| no_class(section.path.clone()))?;
    let named = |id: Option<Identity>| id.filter(|id| !id.is_any());
    Ok(vec![LocalAuth { class, id: named(round.id), eap_id: named(round.eap_id), aaa_id: round.aaa_id }])
}

/// The peer's rounds, from the sections `remote<x>`. No section, or one that does not say, asks for nothing
/// in particular.
pub(super) fn remote(sections: &[Inner<'_>]) -> Result<Vec<RemoteAuth>, ConfigError> {
    one_round(sections)?;
    let round = match sections.first() {
        Some(section) => round(section)?,
        None => Round::default(),
    };
    let id = round.id.unwrap_or_else(Identity::any);
    Ok(vec![RemoteAuth { class: round.class, id, eap_id: round.eap_id, groups: vec![] }])
}

fn one_round(sections: &[Inner<'_>]) -> Result<(), ConfigError> {
    match sections {
        [] | [_] => Ok(()),
        [_, second, ..] => {
            Err(second.problem("a second round of authentication (RFC 4739) is not supported yet: one is"))
        }
    }
}

/// charon's default for ourselves is a public key.
fn no_class(path: String) -> ConfigError {
    ConfigError::Unsupported {
        path: format!("{path}.auth"),
        value: "pubkey (the default)".to_owned(),
        reason: SUPPORTED.to_owned(),
    }
}

/// Reads one round. Both sides know the same keys, though some mean something on one side only.
fn round(section: &Inner<'_>) -> Result<Round, ConfigError> {
    let mut round = Round::default();
    for item in Items::of(section.section, &section.path) {
        match item {
            Item::Value(key) => value(&key, &mut round)?,
            Item::List(list) => refuse_list(&list)?,
            Item::Section(inner) if is_certificate(inner.name) => {
                return Err(inner.problem(format!("is not supported yet: {NO_CERTIFICATES}")));
            }
            Item::Section(inner) => return Err(inner.unknown()),
        }
    }
    Ok(round)
}

fn value(key: &Key<'_>, round: &mut Round) -> Result<(), ConfigError> {
    match key.name {
        "auth" => round.class = Some(class(key)?),
        "id" => round.id = Some(key.identity()?),
        // With one round there is nothing to sort.
        "round" => drop(key.number::<u32>("a whole number")?),
        "revocation" => match key.choice(&[("relaxed", true), ("ifuri", false), ("strict", false)])? {
            true => {} // a pre-shared key is never revoked
            false => return Err(key.unsupported(NO_CERTIFICATES)),
        },
        "ca_id" => return Err(key.unsupported(NO_CERTIFICATES)),
        "eap_id" => round.eap_id = Some(key.identity()?),
        "aaa_id" => round.aaa_id = Some(key.identity()?),
        "xauth_id" => return Err(key.unsupported("XAuth is of IKEv1, which is not spoken")),
        _none_of_these => return Err(key.unknown()),
    }
    Ok(())
}

fn class(key: &Key<'_>) -> Result<AuthClass, ConfigError> {
    const EXPECTED: &str =
        "psk, pubkey, rsa, ecdsa, ike:..., eap or xauth, the last two with a method behind a dash";
    let text = key.text()?;
    let lower = text.to_ascii_lowercase();
    let starts_with_one_of = |words: &[&str]| {
        words.iter().any(|w| {
            lower.strip_prefix(w).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':', '/']))
        })
    };
    if lower == "psk" {
        Ok(AuthClass::Psk)
    } else if lower == "eap" {
        Ok(AuthClass::Eap(EapMethods::Any))
    } else if let Some(methods) = lower.strip_prefix("eap-").and_then(eap_methods) {
        Ok(AuthClass::Eap(methods))
    } else if starts_with_one_of(&["pubkey", "rsa", "ecdsa", "ike", "eap", "xauth"]) {
        Err(key.unsupported(SUPPORTED))
    } else {
        Err(key.invalid(EXPECTED))
    }
}

/// What stands behind `eap-`, by name or by number.
fn eap_methods(name: &str) -> Option<EapMethods> {
    if name == "dynamic" {
        return Some(EapMethods::Dynamic);
    }
    let numbered = || {
        let number = name.parse().ok()?;
        Method::ALL.into_iter().find(|method| method.eap_type().0 == number)
    };
    Method::named(name).or_else(numbered).map(EapMethods::One)
}

/// Lists are all about certificates; empty ones ask for nothing.
fn refuse_list(list: &List<'_>) -> Result<(), ConfigError> {
    match list.name {
        "certs" | "pubkeys" | "cacerts" | "groups" | "cert_policy" if list.is_empty() => Ok(()),
        "certs" | "pubkeys" | "cacerts" | "groups" | "cert_policy" => Err(list.unsupported(NO_CERTIFICATES)),
        _none_of_these => Err(list.unknown()),
    }
}

fn is_certificate(name: &str) -> bool {
    let starts_with =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    starts_with("cert") || starts_with("cacert")
}

#[cfg(test)]
mod tests {
    use ferry_vici::Section;

    use super::*;

    fn read(section: &Section) -> Result<Round, ConfigError> {
        round(&Inner { name: "remote-1", path: "connections.gw.remote-1".to_owned(), section })
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
    fn rounds_of_eap() {
        let class = |text: &str| read(&Section::new().with("auth", text)).unwrap().class.unwrap();
        assert_eq!(class("EAP"), AuthClass::Eap(EapMethods::Any));
        assert_eq!(class("eap-dynamic"), AuthClass::Eap(EapMethods::Dynamic));
        for method in Method::ALL {
            let expected = AuthClass::Eap(EapMethods::One(method));
            assert_eq!(class(&format!("eap-{}", method.name())), expected);
            assert_eq!(class(&format!("eap-{}", method.eap_type().0)), expected);
        }
        let section = Section::new()
            .with("auth", "eap-mschapv2")
            .with("eap_id", "%any")
            .with("aaa_id", "aaa.example.net");
        let inner = || Inner { name: "x", path: "connections.gw.x".to_owned(), section: &section };
        let remote = remote(&[inner()]).unwrap().remove(0);
        assert!(remote.eap_id.is_some_and(|id| id.is_any()));
        let local = local(&[inner()], "connections.gw").unwrap().remove(0);
        assert_eq!(local.eap_id, None);
        assert_eq!(local.aaa_id.unwrap().to_string(), "aaa.example.net");
    }

    #[test]
    fn all_that_is_about_something_else_is_known_and_refused() {
        for (key, value) in [
            ("auth", "pubkey"),
            ("auth", "rsa-4096-sha256"),
            ("auth", "rsa/pss-sha384"),
            ("auth", "ike:ecdsa-sha256"),
            ("auth", "eap-tls"),
            ("auth", "eap-radius"),
            ("auth", "eap-mschapv2-311"),
            ("auth", "xauth"),
            ("revocation", "strict"),
            ("ca_id", "C=CH, O=Lab"),
            ("xauth_id", "alice"),
        ] {
            let error = error(&Section::new().with(key, value));
            let begin = format!("connections.gw.remote-1.{key} = {value} is not supported yet: ");
            assert!(error.starts_with(&begin), "{error}");
        }
        for list in ["certs", "pubkeys", "cacerts", "groups", "cert_policy"] {
            let error = error(&Section::new().with_list(list, ["x"]));
            assert!(error.starts_with(&format!("connections.gw.remote-1.{list} = x is not supp")), "{error}");
        }
        for inner in ["cert1", "cacert-x"] {
            let error = error(&Section::new().with_section(inner, Section::new()));
            assert!(error.contains(&format!("connections.gw.remote-1.{inner}: is not supported")), "{error}");
        }
    }

    #[test]
    fn slips_are_named() {
        assert_eq!(
            error(&Section::new().with("auth", "pks")),
            "connections.gw.remote-1.auth = pks: expected psk, pubkey, rsa, ecdsa, ike:..., eap or xauth, the last \
             two with a method behind a dash"
        );
        assert_eq!(error(&Section::new().with("ide", "x")), "there is no key connections.gw.remote-1.ide");
    }
}
