//! Comparing an identity with a pattern.

use super::{Identity, dn, mask_length};
use crate::wire::registry::IdType;

/// The quality of a pattern that leaves almost everything open, but not the type.
const MANY_WILDCARDS: u8 = 2;
/// The quality of a pattern that leaves one thing open.
const ONE_WILDCARD: u8 = 19;
/// The quality of the pattern that leaves everything open.
const ANY: u8 = 1;

impl Identity {
    /// The quality of a match without wildcards.
    pub const PERFECT: u8 = 20;

    /// How well `self`, an exact identity, fits `pattern`; `None` if it does not.
    ///
    /// 20 is the same identity, letters of either case being the same in names; 2 to 19 fit with wildcards,
    /// the more the fewer or narrower they are; 1 is a fit with "any". Between several patterns the highest
    /// wins.
    #[must_use]
    pub fn matches(&self, pattern: &Self) -> Option<u8> {
        if pattern.is_any() {
            return Some(ANY);
        }
        if self == pattern {
            return Some(Self::PERFECT);
        }
        match pattern.id_type {
            IdType::FQDN | IdType::RFC822_ADDR | Self::URI if self.id_type == pattern.id_type => {
                match_text(&self.data, &pattern.data)
            }
            IdType::DER_ASN1_DN if self.id_type == pattern.id_type => {
                match_names(&dn::attributes(&self.data)?, &dn::attributes(&pattern.data)?)
            }
            IdType::IPV4_ADDR_SUBNET
            | IdType::IPV4_ADDR_RANGE
            | IdType::IPV6_ADDR_SUBNET
            | IdType::IPV6_ADDR_RANGE => match_addresses(self, pattern),
            _ => None,
        }
    }

    /// Whether this is one identity, and no pattern for several.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        match self.id_type {
            IdType::ANY
            | IdType::IPV4_ADDR_SUBNET
            | IdType::IPV6_ADDR_SUBNET
            | IdType::IPV4_ADDR_RANGE
            | IdType::IPV6_ADDR_RANGE => false,
            IdType::FQDN | IdType::RFC822_ADDR | Self::URI => !self.data.starts_with(b"*"),
            IdType::DER_ASN1_DN => dn::attributes(&self.data)
                .is_some_and(|attributes| !attributes.iter().any(dn::Attribute::is_wildcard)),
            _ => true,
        }
    }

    /// Whether both are the same identity, of a certificate for instance: letters of either case are the same in
    /// names, strings of any type and any spacing in distinguished names (RFC 5280 §7.1). `*` stands for itself.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        if self.id_type != other.id_type {
            return false;
        }
        self.data == other.data
            || match self.id_type {
                IdType::FQDN | IdType::RFC822_ADDR => self.data.eq_ignore_ascii_case(&other.data),
                IdType::DER_ASN1_DN => dn::is_same(&self.data, &other.data),
                _ => false,
            }
    }

    /// Whether this distinguished name begins with the RDNs of `base`; `None` if one is no distinguished name.
    pub(crate) fn is_name_within(&self, base: &Self) -> Option<bool> {
        let is_name = |id: &Self| id.id_type == IdType::DER_ASN1_DN;
        (is_name(self) && is_name(base)).then(|| dn::begins_with(&self.data, &base.data)).flatten()
    }

    /// The addresses of mail in this distinguished name, each as an identity.
    pub(crate) fn mail_addresses(&self) -> Vec<Self> {
        let attributes = dn::attributes(&self.data).filter(|_| self.id_type == IdType::DER_ASN1_DN);
        let mail = attributes.into_iter().flatten().filter(dn::Attribute::is_mail_address);
        mail.map(|mail| Self { id_type: IdType::RFC822_ADDR, data: mail.value.to_vec() }).collect()
    }
}

/// Names and addresses of mail: a `*` in front stands for one octet or more, alone for anything.
fn match_text(text: &[u8], pattern: &[u8]) -> Option<u8> {
    if text.eq_ignore_ascii_case(pattern) {
        return Some(Identity::PERFECT);
    }
    let suffix = pattern.strip_prefix(b"*")?;
    if suffix.is_empty() {
        return Some(ANY);
    }
    let start = text.len().checked_sub(suffix.len()).filter(|start| *start > 0)?;
    let (_, end) = text.split_at_checked(start)?;
    end.eq_ignore_ascii_case(suffix).then_some(ONE_WILDCARD)
}

/// The same RDNs in the same order; each whose value is `*` in the pattern costs one.
fn match_names(name: &[dn::Attribute<'_>], pattern: &[dn::Attribute<'_>]) -> Option<u8> {
    if name.len() != pattern.len() {
        return None;
    }
    name.iter().zip(pattern).try_fold(Identity::PERFECT, |quality, (part, wanted)| {
        if part.oid != wanted.oid || part.rdn != wanted.rdn {
            None
        } else if wanted.is_wildcard() {
            Some(quality.saturating_sub(1).max(MANY_WILDCARDS))
        } else if part.is_text() && wanted.is_text() {
            // One end may say PrintableString where the other says UTF8String.
            part.value.eq_ignore_ascii_case(wanted.value).then_some(quality)
        } else {
            (part.tag == wanted.tag && part.value == wanted.value).then_some(quality)
        }
    })
}

/// Addresses in subnets and ranges; the longer the prefix the better.
fn match_addresses(identity: &Identity, pattern: &Identity) -> Option<u8> {
    let (first, last) = identity.addresses()?;
    let (lowest, highest) = pattern.addresses()?;
    if first.is_ipv4() != lowest.is_ipv4() || first < lowest || last > highest {
        return None;
    }
    let (_, mask) = pattern.address_pair()?;
    let is_subnet = matches!(pattern.id_type, IdType::IPV4_ADDR_SUBNET | IdType::IPV6_ADDR_SUBNET);
    let Some(length) = mask_length(mask).filter(|_| is_subnet) else {
        return Some(MANY_WILDCARDS);
    };
    let bits = if mask.is_ipv4() { 32 } else { 128 };
    let steps = u32::from(ONE_WILDCARD - MANY_WILDCARDS);
    // At most ONE_WILDCARD, as length is at most bits.
    Some(MANY_WILDCARDS + u8::try_from(length * steps / bits).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quality(identity: &str, pattern: &str) -> Option<u8> {
        Identity::parse(identity).unwrap().matches(&Identity::parse(pattern).unwrap())
    }

    #[test]
    fn wildcards_cost_quality() {
        let table = [
            ("gw.example.org", "gw.example.org", Some(20)),
            ("GW.Example.org", "gw.example.ORG", Some(20)),
            ("gw.example.org", "*.example.org", Some(19)),
            ("example.org", "*.example.org", None),
            (".example.org", "*.example.org", None),
            ("gw.example.org", "fqdn:*", Some(1)),
            ("gw.example.org", "%any", Some(1)),
            ("gw.example.org", "gw.*", None),
            ("gw.example.org", "@@gw.example.org", None),
            ("moon@strongswan.org", "*@strongswan.org", Some(19)),
            ("moon@strongswan.org", "moon@example.org", None),
            ("@#aabb", "@#aabb", Some(20)),
            ("@#aabb", "@#aabc", None),
            ("keyid:Key", "keyid:key", None),
            ("192.0.2.7", "192.0.2.7", Some(20)),
            ("192.0.2.7", "192.0.2.8", None),
            ("192.0.2.7", "192.0.2.0/24", Some(14)),
            ("192.0.2.7", "192.0.2.7/32", Some(19)),
            ("192.0.2.7", "0.0.0.0/0", Some(2)),
            ("192.0.2.7", "192.0.3.0/24", None),
            ("192.0.2.7", "192.0.2.1-192.0.2.9", Some(2)),
            ("192.0.2.10", "192.0.2.1-192.0.2.9", None),
            ("192.0.2.0/25", "192.0.2.0/24", Some(14)),
            ("192.0.2.0/24", "192.0.2.0/25", None),
            ("2001:db8::7", "2001:db8::/32", Some(6)),
            ("2001:db8::7", "192.0.2.0/24", None),
            ("192.0.2.7", "::/0", None),
            ("%any", "gw.example.org", None),
            ("C=CH, O=Lab, CN=gw", "C=CH, O=Lab, CN=gw", Some(20)),
            ("C=CH, O=Lab, CN=gw", "C=ch, O=LAB, CN=GW", Some(20)),
            ("C=CH, O=Lab, CN=gw", "C=CH, O=Lab, CN=*", Some(19)),
            ("C=CH, O=Lab, CN=gw", "C=*, O=*, CN=*", Some(17)),
            ("C=CH, O=Lab, CN=gw", "O=Lab, C=CH, CN=gw", None),
            ("C=CH, O=Lab, CN=gw", "C=CH, O=Lab", None),
            ("C=CH, O=Lab, CN=gw", "C=CH, O=Lab, CN=g*", None),
        ];
        for (identity, pattern, expected) in table {
            assert_eq!(quality(identity, pattern), expected, "{identity} against {pattern}");
        }
    }

    #[test]
    fn string_types_do_not_matter_in_names() {
        let mut utf8 = Identity::parse("CN=gw").unwrap();
        let tag = utf8.data.iter().position(|octet| *octet == 0x13).unwrap();
        utf8.data[tag] = 0x0c;
        assert_eq!(utf8.matches(&Identity::parse("CN=gw").unwrap()), Some(20));
        utf8.data[tag] = 0x04; // OCTET STRING
        assert_eq!(utf8.matches(&Identity::parse("CN=gw").unwrap()), None);
    }

    #[test]
    fn the_same_identity_is_told_from_a_pattern() {
        let is_same =
            |one: &str, other: &str| Identity::parse(one).unwrap().is_same(&Identity::parse(other).unwrap());
        assert!(is_same("GW.example.org", "gw.EXAMPLE.org"));
        assert!(is_same("C=ch, O=Lab  of  \u{c4}gypt, CN=gw ", "C=CH, O=lab of \u{e4}gypt, CN=GW"));
        assert!(!is_same("gw.example.org", "*.example.org"));
        assert!(!is_same("CN=gw", "CN=*"));
        assert!(!is_same("O=Lab, CN=gw", "O=Lab"));
        assert!(!is_same("O=Lab", "O=Lab, CN=gw"));
        assert!(!is_same("keyid:Key", "keyid:key"));
        assert!(!is_same("fqdn:a@b", "a@b"));
    }

    #[test]
    fn names_that_are_no_der_match_only_themselves() {
        let broken = Identity { id_type: IdType::DER_ASN1_DN, data: vec![0x30, 0x03, 0x31] };
        assert_eq!(broken.matches(&broken), Some(20));
        assert_eq!(broken.matches(&Identity::parse("CN=*").unwrap()), None);
    }

    fn identity() -> impl Strategy<Value = Identity> {
        (0u8..=14, proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(id_type, data)| Identity { id_type: IdType(id_type), data })
    }

    proptest! {
        #[test]
        fn quality_is_in_range_and_never_panics(one in identity(), other in identity()) {
            let quality = one.matches(&other);
            prop_assert!(quality.is_none_or(|quality| (1..=20).contains(&quality)));
            prop_assert_eq!(one.matches(&Identity::any()), Some(1));
        }
    }
}
