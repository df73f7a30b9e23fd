//! General names (RFC 5280 §4.2.1.6) as identities.

use std::net::IpAddr;

use der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;

use crate::identity::Identity;
use crate::wire::registry::IdType;

/// The identity a general name stands for; `None` for kinds that IKE cannot say (other names, registered IDs, EDI
/// parties) and for addresses of a strange length.
pub(super) fn identity(name: &GeneralName) -> Option<Identity> {
    let (id_type, data) = match name {
        GeneralName::DnsName(name) => (IdType::FQDN, name.as_bytes().to_vec()),
        GeneralName::Rfc822Name(address) => (IdType::RFC822_ADDR, address.as_bytes().to_vec()),
        GeneralName::UniformResourceIdentifier(uri) => (Identity::URI, uri.as_bytes().to_vec()),
        GeneralName::DirectoryName(name) => (IdType::DER_ASN1_DN, name.to_der().ok()?),
        GeneralName::IpAddress(octets) => match octets.as_bytes().len() {
            4 => (IdType::IPV4_ADDR, octets.as_bytes().to_vec()),
            16 => (IdType::IPV6_ADDR, octets.as_bytes().to_vec()),
            _ => return None,
        },
        GeneralName::OtherName(_) | GeneralName::EdiPartyName(_) | GeneralName::RegisteredId(_) => {
            return None;
        }
    };
    Some(Identity { id_type, data })
}

/// What a name constraint says, for people.
pub(super) fn constraint(base: &GeneralName) -> String {
    if let GeneralName::IpAddress(octets) = base {
        let (net, mask) = octets.as_bytes().split_at(octets.as_bytes().len() / 2);
        let text = |octets: &[u8]| match (<[u8; 4]>::try_from(octets), <[u8; 16]>::try_from(octets)) {
            (Ok(v4), _) => IpAddr::from(v4).to_string(),
            (_, Ok(v6)) => IpAddr::from(v6).to_string(),
            _ => "?".to_owned(),
        };
        return format!("{}/{}", text(net), text(mask));
    }
    identity(base).map_or_else(|| "(a name of another kind)".to_owned(), |name| name.to_string())
}

/// What an identity of type ID_DER_ASN1_GN says, if it is a kind of name that has an identity of its own.
pub(super) fn unwrap_general_name(identity: &Identity) -> Option<Identity> {
    match identity.id_type {
        IdType::DER_ASN1_GN => self::identity(&GeneralName::from_der(&identity.data).ok()?),
        _ => None,
    }
}
