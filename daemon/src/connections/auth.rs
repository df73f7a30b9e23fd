//! `local<x>` and `remote<x>`: rounds of authentication.

use ferry_ike::config::{AuthClass, LocalAuth, RemoteAuth};
use ferry_ike::identity::Identity;

use super::error::ConfigError;
use super::schema::{Inner, Item, Items, Key, List};

/// Whose round it is: some keys are for one side only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Local,
    Remote,
}

/// One round, of either side.
struct Round {
    class: Option<AuthClass>,
    id: Option<Identity>,
}

const ONLY_PSK: &str = "only psk is";
const NO_CERTIFICATES: &str = "there is no authentication by certificates or public keys, only psk";
const NO_EAP: &str = "there is no EAP, only psk";

/// Our own rounds, from the sections `local<x>` of the connection at `path`.
pub(super) fn local(sections: &[Inner<'_>], path: &str) -> Result<Vec<LocalAuth>, ConfigError> {
    one_round(sections)?;
    let Some(section) = sections.first() else {
        return Err(no_class(format!("{path}.local")));
    };
    let round = round(section, Side::Local)?;
    let class = round.class.ok_or_else(|| no_class(section.path.clone()))?;
    Ok(vec![LocalAuth { class, id: round.id.filter(|id| !id.is_any()) }])
}

/// The peer's rounds, from the sections `remote<x>`. No section, or one that does not say, asks for nothing in particular.
pub(super) fn remote(sections: &[Inner<'_>]) -> Result<Vec<RemoteAuth>, ConfigError> {
    one_round(sections)?;
    let round = match sections.first() {
        Some(section) => round(section, Side::Remote)?,
        None => Round { class: None, id: None },
    };
    Ok(vec![RemoteAuth { class: round.class, id: round.id.unwrap_or_else(Identity::any) }])
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
        reason: ONLY_PSK.to_owned(),
    }
}

fn round(section: &Inner<'_>, side: Side) -> Result<Round, ConfigError> {
    let mut round = Round { class: None, id: None };
    for item in Items::of(section.section, &section.path) {
        match item {
            Item::Value(key) => value(&key, side, &mut round)?,
            Item::List(list) => refuse_list(&list, side)?,
            Item::Section(inner) if is_certificate(inner.name, side) => {
                return Err(inner.problem(format!("is not supported yet: {NO_CERTIFICATES}")));
            }
            Item::Section(inner) => return Err(inner.unknown()),
        }
    }
    Ok(round)
}

fn value(key: &Key<'_>, side: Side, round: &mut Round) -> Result<(), ConfigError> {
    match (key.name, side) {
        ("auth", _) => round.class = Some(class(key)?),
        ("id", _) => round.id = Some(key.identity()?),
        // With one round there is nothing to sort.
        ("round", _) => drop(key.number::<u32>("a whole number")?),
        ("revocation", Side::Remote) => {
            match key.choice(&[("relaxed", true), ("ifuri", false), ("strict", false)])? {
                true => {} // a pre-shared key is never revoked
                false => return Err(key.unsupported(NO_CERTIFICATES)),
            }
        }
        ("ca_id", Side::Remote) => return Err(key.unsupported(NO_CERTIFICATES)),
        ("eap_id", _) | ("aaa_id", Side::Local) => return Err(key.unsupported(NO_EAP)),
        ("xauth_id", _) => return Err(key.unsupported("XAuth is of IKEv1, which is not spoken")),
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
    } else if starts_with_one_of(&["pubkey", "rsa", "ecdsa", "ike", "eap", "xauth"]) {
        Err(key.unsupported(ONLY_PSK))
    } else {
        Err(key.invalid(EXPECTED))
    }
}

/// Lists are all about certificates; empty ones ask for nothing.
fn refuse_list(list: &List<'_>, side: Side) -> Result<(), ConfigError> {
    match (list.name, side) {
        ("certs" | "pubkeys", _) | ("cacerts" | "groups" | "cert_policy", Side::Remote)
            if list.is_empty() =>
        {
            Ok(())
        }
        ("certs" | "pubkeys", _) | ("cacerts" | "groups" | "cert_policy", Side::Remote) => {
            Err(list.unsupported(NO_CERTIFICATES))
        }
        _none_of_these => Err(list.unknown()),
    }
}

fn is_certificate(name: &str, side: Side) -> bool {
    let starts_with =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    starts_with("cert") || (side == Side::Remote && starts_with("cacert"))
}
