//! Identities as EAP has them: octets without a type (RFC 3748 §5.1, RFC 7542).

use crate::identity::Identity;
use crate::wire::registry::IdType;

/// The longest name we take: that of a NAI in RADIUS (RFC 7542 §2.3).
pub(super) const LONGEST: usize = 253;

/// The identity that octets of a peer name, read as swanctl.conf reads one. `None` for what is no exact identity:
/// patterns would match the passwords of others.
pub(super) fn parse(octets: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(octets).ok()?;
    if text.len() > LONGEST || text.chars().any(char::is_control) {
        return None;
    }
    let identity = Identity::parse(text).ok()?;
    is_exact(&identity).then_some(identity)
}

/// Names somebody, not several.
fn is_exact(identity: &Identity) -> bool {
    let is_range = matches!(
        identity.id_type,
        IdType::IPV4_ADDR_SUBNET
            | IdType::IPV6_ADDR_SUBNET
            | IdType::IPV4_ADDR_RANGE
            | IdType::IPV6_ADDR_RANGE
    );
    !identity.is_any() && !is_range && !identity.data.is_empty() && !identity.data.starts_with(b"*")
}

/// How an identity of ours is said to a peer. What has octets of its own is said in these, the rest as text.
pub(super) fn octets(identity: &Identity) -> Vec<u8> {
    match identity.id_type {
        IdType::FQDN | IdType::RFC822_ADDR | IdType::KEY_ID => identity.data.clone(),
        _ => identity.to_string().into_bytes(),
    }
}

/// A name without the domain in front of it that Windows writes as `DOMAIN\user`.
pub(super) fn without_domain(name: &[u8]) -> &[u8] {
    match name.iter().position(|octet| *octet == b'\\') {
        Some(at) => name.get(at + 1..).unwrap_or_default(),
        None => name,
    }
}

/// True if both name the same user; a domain in front that only one of them has makes no difference.
pub(super) fn is_same_user(one: &Identity, other: &Identity) -> bool {
    let (one_name, other_name) = (octets(one), octets(other));
    let (bare, other_bare) = (without_domain(&one_name), without_domain(&other_name));
    let have_both = bare.len() < one_name.len() && other_bare.len() < other_name.len();
    one.matches(other) == Some(Identity::PERFECT) || (!have_both && bare.eq_ignore_ascii_case(other_bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_identities() {
        for name in ["alice", "alice@example.org", "LAB\\alice", "10.0.0.1", "C=CH, CN=alice"] {
            let identity = parse(name.as_bytes()).unwrap();
            assert_eq!(identity.to_string(), name);
        }
        for name in [
            "",
            "%any",
            "*",
            "*@example.org",
            "0.0.0.0",
            "10.0.0.0/8",
            "10.0.0.1-10.0.0.9",
            "fqdn:*",
            "a\nb",
            "@",
        ] {
            assert_eq!(parse(name.as_bytes()), None, "{name}");
        }
        assert_eq!(parse(&[0xff, 0xfe]), None);
        assert_eq!(parse(&[b'a'; 254]), None);
        assert!(parse(&[b'a'; 253]).is_some());
    }

    #[test]
    fn names_are_said_as_they_were_read() {
        for name in ["alice", "alice@example.org", "LAB\\alice", "2001:db8::1", "C=CH, CN=alice"] {
            assert_eq!(octets(&Identity::parse(name).unwrap()), name.as_bytes());
        }
    }

    #[test]
    fn a_domain_in_front_makes_no_other_user() {
        let same =
            |one, other| is_same_user(&Identity::parse(one).unwrap(), &Identity::parse(other).unwrap());
        assert!(same("LAB\\alice", "alice") && same("alice", "ALICE") && same("a@b.c", "A@b.c"));
        assert!(!same("LAB\\alice", "HOME\\alice") && same("LAB\\alice", "lab\\Alice"));
        assert!(!same("alice", "bob") && !same("a@b.c", "a@b.d"));
        assert_eq!(without_domain(b"LAB\\"), b"");
    }
}
