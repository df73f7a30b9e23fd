//! Name constraints (RFC 5280 §4.2.1.10).
//!
//! Names are compared without regard to case in all their parts: RFC 5280 asks for that in host names and distinguished
//! names, and in the local part of an address of mail it is the only way that is safe for what is excluded
//! (CVE-2025-61727 and its kin: constraints and names that differ in case). It is how identities are compared, too.

use std::net::IpAddr;

use der::Encode as _;
use x509_cert::ext::pkix::constraints::name::GeneralSubtrees;
use x509_cert::ext::pkix::name::GeneralName;

use super::refusal::{Fault, Refusal};
use super::{Certificate, names};
use crate::identity::Identity;
use crate::wire::registry::IdType;

/// The most comparisons of names with constraints in one chain: as many as any honest chain needs, and then some.
const MAX_COMPARISONS: usize = 20_000;

/// Applies the constraints of authorities to the names of those below.
pub(super) struct NameConstraints {
    comparisons_left: usize,
}

impl NameConstraints {
    pub(super) fn new() -> Self {
        Self { comparisons_left: MAX_COMPARISONS }
    }

    /// Whether the names of `certificate` are within the constraints of `authority`, which is above it in its chain.
    pub(super) fn apply(
        &mut self,
        authority: &Certificate,
        certificate: &Certificate,
    ) -> Result<(), Refusal> {
        let Some(constraints) = &authority.extensions().name_constraints else { return Ok(()) };
        let trees = [&constraints.permitted_subtrees, &constraints.excluded_subtrees];
        let impossible = |why| Fault::NameConstraints(why).of(authority);
        for tree in trees.into_iter().flatten().flatten() {
            // RFC 5280 §4.2.1.10: minimum is zero and maximum absent.
            if tree.minimum != 0 || tree.maximum.is_some() {
                return Err(impossible("they have a minimum or maximum"));
            }
        }
        for name in names(certificate) {
            let excluded = constraints.excluded_subtrees.as_ref();
            for verdict in self.compare(&name, excluded, certificate, authority)? {
                if verdict {
                    let name = name.to_string();
                    return Err(
                        Fault::NameExcluded { name, authority: authority.subject().clone() }.of(certificate)
                    );
                }
            }
            let verdicts =
                self.compare(&name, constraints.permitted_subtrees.as_ref(), certificate, authority)?;
            // Only constraints of the name's own kind count.
            if !verdicts.is_empty() && !verdicts.contains(&true) {
                let name = name.to_string();
                return Err(
                    Fault::NameNotPermitted { name, authority: authority.subject().clone() }.of(certificate)
                );
            }
        }
        Ok(())
    }

    /// For each constraint of the name's kind, whether the name is in its subtree.
    fn compare(
        &mut self,
        name: &Name<'_>,
        trees: Option<&GeneralSubtrees>,
        certificate: &Certificate,
        authority: &Certificate,
    ) -> Result<Vec<bool>, Refusal> {
        let mut verdicts = Vec::new();
        for tree in trees.into_iter().flatten() {
            self.comparisons_left =
                self.comparisons_left.checked_sub(1).ok_or_else(|| Fault::TooManyNames.of(certificate))?;
            match name.is_within(&tree.base) {
                Ok(None) => {}
                Ok(Some(verdict)) => verdicts.push(verdict),
                Err(why) => return Err(Fault::NameConstraints(why).of(authority)),
            }
        }
        Ok(verdicts)
    }
}

/// A name that constraints are applied to.
enum Name<'a> {
    Identity(Identity),
    /// One of a kind that is no identity.
    Other(&'a GeneralName),
}

/// The subject, addresses of mail in it, and the alternative names.
fn names(certificate: &Certificate) -> Vec<Name<'_>> {
    let subject = certificate.subject();
    let mut all: Vec<Name<'_>> = Vec::new();
    if !certificate.has_no_subject() {
        all.push(Name::Identity(subject.clone()));
        all.extend(subject.mail_addresses().into_iter().map(Name::Identity));
    }
    let general = &certificate.extensions().general_names;
    all.extend(general.iter().map(|name| names::identity(name).map_or(Name::Other(name), Name::Identity)));
    all
}

impl Name<'_> {
    /// Whether the name is in the subtree of `base`; `None` if they are of different kinds.
    fn is_within(&self, base: &GeneralName) -> Result<Option<bool>, &'static str> {
        let Self::Identity(name) = self else {
            let Self::Other(name) = self else { return Ok(None) };
            // RFC 5280 §4.2.1.10: process the constraint or reject the certificate.
            let is_alike = std::mem::discriminant(*name) == std::mem::discriminant(base);
            return if is_alike { Err("they are about a kind of name that is not known") } else { Ok(None) };
        };
        Ok(match (base, name.id_type) {
            (GeneralName::DnsName(base), IdType::FQDN) => Some(is_host_within(&name.data, base.as_bytes())),
            (GeneralName::Rfc822Name(base), IdType::RFC822_ADDR) => {
                Some(is_mail_within(&name.data, base.as_bytes()))
            }
            (GeneralName::UniformResourceIdentifier(base), Identity::URI) => {
                Some(match host(&name.data) {
                    // RFC 5280 §4.2.1.10: without a host name it is within nothing, and out of nothing.
                    None => return Err("a URI without a host name is below them"),
                    Some(host) => is_domain_within(host, base.as_bytes()),
                })
            }
            (GeneralName::DirectoryName(base), IdType::DER_ASN1_DN) => {
                let data = base.to_der().map_err(|_| "a distinguished name in them is malformed")?;
                let base = Identity { id_type: IdType::DER_ASN1_DN, data };
                Some(name.is_name_within(&base).ok_or("a distinguished name in them is malformed")?)
            }
            (GeneralName::IpAddress(base), IdType::IPV4_ADDR | IdType::IPV6_ADDR) => {
                let address = name.addr().ok_or("an address below them is malformed")?;
                is_address_within(address, base.as_bytes())?
            }
            _different_kinds => None,
        })
    }
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity(identity) => write!(f, "{identity}"),
            Self::Other(_) => f.write_str("(a name of another kind)"),
        }
    }
}

/// RFC 5280 §4.2.1.10, dNSName: the name itself and all that has labels added on its left.
fn is_host_within(name: &[u8], base: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let base = base.strip_suffix(b".").unwrap_or(base);
    // With a dot in front, which is common and in no RFC, only what has labels added.
    is_below(name, base.strip_prefix(b".").unwrap_or(base))
        || (!base.starts_with(b".") && name.eq_ignore_ascii_case(base))
        || base.is_empty()
}

/// RFC 5280 §4.2.1.10, rfc822Name: a mailbox, all mailboxes of a host, or with a dot in front those of a domain's hosts.
fn is_mail_within(name: &[u8], base: &[u8]) -> bool {
    if base.contains(&b'@') {
        return name.eq_ignore_ascii_case(base);
    }
    let host = name.rsplit(|octet| *octet == b'@').next().unwrap_or_default();
    is_domain_within(host, base)
}

/// RFC 5280 §4.2.1.10, uniformResourceIdentifier: a host, or with a dot in front all hosts of a domain.
fn is_domain_within(host: &[u8], base: &[u8]) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    match base.strip_prefix(b".") {
        Some(domain) => is_below(host, domain),
        None => host.eq_ignore_ascii_case(base) || base.is_empty(),
    }
}

/// Whether labels are added on the left of `domain`.
fn is_below(name: &[u8], domain: &[u8]) -> bool {
    let Some(split) = name.len().checked_sub(domain.len()) else { return false };
    let Some((front, end)) = name.split_at_checked(split) else { return false };
    front.len() > 1 && front.ends_with(b".") && end.eq_ignore_ascii_case(domain)
}

/// The host name in the authority of a URI (RFC 3986 §3.2.2); `None` if there is no authority or the host is an address.
fn host(uri: &[u8]) -> Option<&[u8]> {
    let colon = uri.iter().position(|octet| *octet == b':')?;
    let rest = uri.get(colon + 1..)?.strip_prefix(b"//")?;
    let authority = rest.split(|octet| b"/?#".contains(octet)).next()?;
    let host = authority.rsplit(|octet| *octet == b'@').next()?;
    let host = host.split(|octet| *octet == b':').next()?;
    let is_address = || std::str::from_utf8(host).is_ok_and(|host| host.parse::<IpAddr>().is_ok());
    (!host.is_empty() && !host.starts_with(b"[") && !is_address()).then_some(host)
}

/// RFC 5280 §4.2.1.10, iPAddress: an address and a mask of the same family.
fn is_address_within(address: IpAddr, base: &[u8]) -> Result<Option<bool>, &'static str> {
    let masked = |address: &[u8]| {
        let (net, mask) = base.split_at_checked(address.len()).unwrap_or_default();
        address.iter().zip(net).zip(mask).all(|((octet, net), mask)| octet & mask == net & mask)
    };
    match (address, base.len()) {
        (IpAddr::V4(address), 8) => Ok(Some(masked(&address.octets()))),
        (IpAddr::V6(address), 32) => Ok(Some(masked(&address.octets()))),
        (_, 8 | 32) => Ok(None),
        _ => Err("an address range in them is malformed"),
    }
}
