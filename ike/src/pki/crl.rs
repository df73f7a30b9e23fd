//! Certificate revocation lists (RFC 5280 §5).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use der::oid::AssociatedOid as _;
use der::{Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber};
use x509_cert::crl::RevokedCert;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::{self, CrlReason, IssuingDistributionPoint};
use x509_cert::name::Name;
use x509_cert::time::Time;

use super::Certificate;
use super::extensions::full_names;
use super::oid::Oid;
use crate::identity::Identity;
use crate::wire::registry::IdType;

/// issuingDistributionPoint (RFC 5280 §5.2.5).
const ISSUING_DISTRIBUTION_POINT: Oid = Oid(der::asn1::ObjectIdentifier::new_unwrap("2.5.29.28"));

/// Why octets are no list that could be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// The octets are not the DER of a list.
    #[error("this is no certificate revocation list in DER: {0}")]
    Malformed(String),
    /// It is of a kind that one cannot conclude from alone (delta, indirect, some reasons only).
    #[error("the certificate revocation list is {0}, which is not supported")]
    Unsupported(&'static str),
    /// A critical extension that is not understood.
    #[error("the certificate revocation list has the critical extension {0}, which is not known")]
    CriticalExtension(Oid),
}

/// A revocation list. Clones share it.
#[derive(Clone)]
pub struct RevocationList(Arc<Parts>);

struct Parts {
    der: Box<[u8]>,
    tbs: std::ops::Range<usize>,
    signature_algorithm: Vec<u8>,
    signature: Vec<u8>,
    issuer: Identity,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
    number: Vec<u8>,
    authority_key_id: Option<Vec<u8>>,
    /// Sorted by serial number.
    revoked: Vec<Entry>,
    scope: Scope,
}

/// A certificate that has been revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    serial: Box<[u8]>,
    at: SystemTime,
    reason: &'static str,
}

/// Which certificates a list speaks of.
#[derive(Default)]
struct Scope {
    only_end_entities: bool,
    only_authorities: bool,
    /// Those that name one of these places; empty for all.
    places: Vec<String>,
}

/// When and why a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// When.
    pub at: SystemTime,
    /// Why, as its issuer says.
    pub reason: &'static str,
}

impl RevocationList {
    /// Reads a list.
    ///
    /// # Errors
    /// If it is none, or of a kind that says too little.
    pub fn from_der(octets: &[u8]) -> Result<Self, CrlError> {
        let malformed = |error: der::Error| CrlError::Malformed(error.to_string());
        let mut outer = SliceReader::new(octets).map_err(malformed)?;
        let header = der::Header::decode(&mut outer).map_err(malformed)?;
        let start = usize::try_from(outer.position()).map_err(malformed)?;
        let inner_length = usize::try_from(header.length()).map_err(malformed)?;
        if header.tag() != Tag::Sequence || octets.len() != start + inner_length {
            return Err(CrlError::Malformed("it is not one SEQUENCE".to_owned()));
        }
        let tbs = outer.tlv_bytes().map_err(malformed)?;
        let end = usize::try_from(outer.position()).map_err(malformed)?;
        let algorithm: spki::AlgorithmIdentifierOwned = outer.decode().map_err(malformed)?;
        let signature: der::asn1::BitString = outer.decode().map_err(malformed)?;
        outer.finish().map_err(malformed)?;
        let mut parts = Parts {
            der: octets.into(),
            tbs: start..end,
            signature_algorithm: algorithm.to_der().map_err(malformed)?,
            signature: signature.raw_bytes().to_vec(),
            issuer: Identity::any(),
            this_update: SystemTime::UNIX_EPOCH,
            next_update: None,
            number: Vec::new(),
            authority_key_id: None,
            revoked: Vec::new(),
            scope: Scope::default(),
        };
        let mut reader = SliceReader::new(tbs).map_err(malformed)?;
        let extensions =
            reader.sequence(|reader| signed_part(reader, &mut parts, &algorithm)).map_err(malformed)?;
        parts.revoked.sort_by(|one, other| one.serial.cmp(&other.serial));
        read_extensions(&extensions, &mut parts)?;
        Ok(Self(Arc::new(parts)))
    }

    /// Whose list it is.
    #[must_use]
    pub fn issuer(&self) -> &Identity {
        &self.0.issuer
    }

    /// The octets it was read from.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// Its number, big-endian; empty if it has none.
    #[must_use]
    pub fn number(&self) -> &[u8] {
        &self.0.number
    }

    /// The identifier of the key that has signed it, if it says so.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.authority_key_id.as_deref()
    }

    /// The serial numbers on it, each with when and why, in their order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&[u8], Revoked)> {
        self.0.revoked.iter().map(|one| (&*one.serial, Revoked { at: one.at, reason: one.reason }))
    }

    /// When it was made.
    #[must_use]
    pub fn this_update(&self) -> SystemTime {
        self.0.this_update
    }

    /// When there will be a newer one at the latest.
    #[must_use]
    pub fn next_update(&self) -> Option<SystemTime> {
        self.0.next_update
    }

    /// Whether it has been made and not outdated at `now`. One that does not say when is never current for long: RFC 5280
    /// §5.1.2.5 demands that it does.
    #[must_use]
    pub fn is_current(&self, now: SystemTime) -> bool {
        self.0.this_update <= now && self.0.next_update.is_some_and(|next| now <= next)
    }

    /// Whether `issuer` has made it.
    ///
    /// # Errors
    /// If not: why.
    pub fn verify(&self, issuer: &Certificate) -> Result<(), String> {
        if !self.0.issuer.is_same(issuer.subject()) {
            return Err(format!("it is the list of \"{}\"", self.0.issuer));
        }
        if issuer.key_usage().is_some_and(|usage| !usage.crls) {
            return Err(format!("the key of \"{issuer}\" may not sign revocation lists (key usage)"));
        }
        let signed = self.0.der.get(self.0.tbs.clone()).unwrap_or_default();
        issuer.has_signed(&self.0.signature_algorithm, signed, &self.0.signature)
    }

    /// Whether it speaks of `certificate`, which `verify`'s issuer has issued.
    #[must_use]
    pub fn covers(&self, certificate: &Certificate) -> bool {
        let scope = &self.0.scope;
        let is_ca = certificate.basic_constraints().is_ca;
        let is_placed =
            scope.places.is_empty() || certificate.crl_uris().iter().any(|uri| scope.places.contains(uri));
        is_placed && if is_ca { !scope.only_end_entities } else { !scope.only_authorities }
    }

    /// Whether it says that `certificate` is revoked.
    #[must_use]
    pub fn revocation(&self, certificate: &Certificate) -> Option<Revoked> {
        let found = self.0.revoked.binary_search_by(|one| (*one.serial).cmp(certificate.serial())).ok()?;
        let revoked = self.0.revoked.get(found)?;
        Some(Revoked { at: revoked.at, reason: revoked.reason })
    }
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RevocationList({}, {} certificates)", self.0.issuer, self.0.revoked.len())
    }
}

/// Reads a TBSCertList (RFC 5280 §5.1), entry by entry: lists are long.
fn signed_part(
    reader: &mut SliceReader<'_>,
    parts: &mut Parts,
    algorithm: &spki::AlgorithmIdentifierOwned,
) -> der::Result<Extensions> {
    if Tag::peek(reader)? == Tag::Integer {
        let _version: u8 = reader.decode()?;
    }
    // RFC 5280 §5.1.1.2: the same as outside.
    if reader.decode::<spki::AlgorithmIdentifierOwned>()? != *algorithm {
        return Err(Tag::Sequence.value_error().into());
    }
    let issuer: Name = reader.decode()?;
    parts.issuer = Identity { id_type: IdType::DER_ASN1_DN, data: issuer.to_der()? };
    parts.this_update = reader.decode::<Time>()?.to_system_time();
    if !reader.is_finished() && matches!(Tag::peek(reader)?, Tag::UtcTime | Tag::GeneralizedTime) {
        parts.next_update = Some(reader.decode::<Time>()?.to_system_time());
    }
    if !reader.is_finished() && Tag::peek(reader)? == Tag::Sequence {
        reader.sequence(|entries| {
            while !entries.is_finished() {
                let entry: RevokedCert = entries.decode()?;
                parts.revoked.push(revoked(&entry)?);
            }
            Ok::<_, der::Error>(())
        })?;
    }
    let extensions = reader.context_specific::<Extensions>(TagNumber(0), der::TagMode::Explicit)?;
    Ok(extensions.unwrap_or_default())
}

fn revoked(entry: &RevokedCert) -> der::Result<Entry> {
    let mut reason = "unspecified";
    for extension in entry.crl_entry_extensions.iter().flatten() {
        if extension.extn_id == CrlReason::OID {
            reason = name(CrlReason::from_der(extension.extn_value.as_bytes())?);
        } else if extension.critical {
            // RFC 5280 §5.3: then nothing may be concluded from the list; certificateIssuer, of indirect lists, is one.
            return Err(Tag::Sequence.value_error().into());
        }
    }
    Ok(Entry {
        serial: entry.serial_number.as_bytes().into(),
        at: entry.revocation_date.to_system_time(),
        reason,
    })
}

/// The name of a reason (RFC 5280 §5.3.1).
pub(super) fn name(reason: CrlReason) -> &'static str {
    match reason {
        CrlReason::Unspecified => "unspecified",
        CrlReason::KeyCompromise => "key compromise",
        CrlReason::CaCompromise => "CA compromise",
        CrlReason::AffiliationChanged => "affiliation changed",
        CrlReason::Superseded => "superseded",
        CrlReason::CessationOfOperation => "cessation of operation",
        CrlReason::CertificateHold => "certificate hold",
        CrlReason::RemoveFromCRL => "removed from the list",
        CrlReason::PrivilegeWithdrawn => "privilege withdrawn",
        CrlReason::AaCompromise => "AA compromise",
    }
}

fn read_extensions(extensions: &Extensions, parts: &mut Parts) -> Result<(), CrlError> {
    let malformed = |error: der::Error| CrlError::Malformed(error.to_string());
    let scope = &mut parts.scope;
    for extension in extensions {
        let oid = Oid(extension.extn_id);
        if extension.extn_id == pkix::BaseCrlNumber::OID {
            return Err(CrlError::Unsupported("a delta to another"));
        }
        if oid == ISSUING_DISTRIBUTION_POINT {
            let point =
                IssuingDistributionPoint::from_der(extension.extn_value.as_bytes()).map_err(malformed)?;
            if point.indirect_crl {
                return Err(CrlError::Unsupported("of several issuers"));
            }
            if point.only_some_reasons.is_some() || point.only_contains_attribute_certs {
                return Err(CrlError::Unsupported("of some reasons or of attribute certificates only"));
            }
            scope.only_end_entities = point.only_contains_user_certs;
            scope.only_authorities = point.only_contains_ca_certs;
            scope.places = full_names(point.distribution_point.as_ref());
            if point.distribution_point.is_some() && scope.places.is_empty() {
                return Err(CrlError::Unsupported("at a place that is no URI"));
            }
            continue;
        }
        if extension.extn_id == pkix::CrlNumber::OID {
            let pkix::CrlNumber(number) =
                pkix::CrlNumber::from_der(extension.extn_value.as_bytes()).map_err(malformed)?;
            parts.number = number.as_bytes().to_vec();
        } else if extension.extn_id == pkix::AuthorityKeyIdentifier::OID {
            let id =
                pkix::AuthorityKeyIdentifier::from_der(extension.extn_value.as_bytes()).map_err(malformed)?;
            parts.authority_key_id = id.key_identifier.map(|id| id.as_bytes().to_vec());
        } else if extension.critical {
            return Err(CrlError::CriticalExtension(oid));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use rcgen::{
        CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, Issuer,
        KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
    };

    use super::*;
    use crate::pki::testing::{Authority, ca_params, params};

    fn list(
        authority: &Authority,
        serials: &[u64],
        point: Option<CrlIssuingDistributionPoint>,
    ) -> RevocationList {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 2),
            next_update: rcgen::date_time_ymd(2026, 2, 2),
            crl_number: SerialNumber::from(7_u64),
            issuing_distribution_point: point,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&Issuer::from_params(&authority.params, &authority.key)).unwrap();
        RevocationList::from_der(list.der()).unwrap()
    }

    fn numbered(authority: &Authority, serial: u64) -> Certificate {
        let mut params = params("gw");
        params.serial_number = Some(SerialNumber::from(serial));
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://a/1.crl".into()] }];
        authority.issue(params).certificate
    }

    #[test]
    fn who_is_on_the_list_is_revoked() {
        let authority = Authority::root("CA");
        let list = list(&authority, &[900, 5, 77], None);
        list.verify(&authority.certificate).unwrap();
        let since = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        assert_eq!(
            list.revocation(&numbered(&authority, 77)),
            Some(Revoked { at: since, reason: "key compromise" })
        );
        assert_eq!(list.revocation(&numbered(&authority, 78)), None);
        assert!(list.covers(&numbered(&authority, 77)));
        let day = Duration::from_secs(86_400);
        assert!(list.is_current(since + 2 * day));
        assert!(!list.is_current(since));
        assert!(!list.is_current(since + 40 * day));
    }

    #[test]
    fn only_the_issuer_may_make_it() {
        let (authority, other) = (Authority::root("CA"), Authority::root("CA"));
        let list_of = list(&authority, &[], None);
        assert_eq!(list_of.verify(&other.certificate), Err("the signature is wrong".to_owned()));
        let stranger = Authority::root("Other");
        assert_eq!(
            list_of.verify(&stranger.certificate),
            Err("it is the list of \"O=Lab, CN=CA\"".to_owned())
        );
        // An authority that may not sign lists; rcgen does not make those, so the key of one that may is in its place.
        let mut params = ca_params("CA");
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let mute = Certificate::from_der(params.self_signed(&authority.key).unwrap().der()).unwrap();
        assert!(list_of.verify(&mute).unwrap_err().contains("may not sign revocation lists"));
    }

    #[test]
    fn a_list_of_part_speaks_of_that_part() {
        let authority = Authority::root("CA");
        let point = |uri: &str, scope| {
            let distribution_point = CrlDistributionPoint { uris: vec![uri.to_owned()] };
            Some(CrlIssuingDistributionPoint { distribution_point, scope })
        };
        let gw = numbered(&authority, 1);
        assert!(list(&authority, &[1], point("http://a/1.crl", None)).covers(&gw));
        assert!(!list(&authority, &[1], point("http://a/2.crl", None)).covers(&gw));
        assert!(list(&authority, &[1], point("http://a/1.crl", Some(CrlScope::UserCertsOnly))).covers(&gw));
        assert!(!list(&authority, &[1], point("http://a/1.crl", Some(CrlScope::CaCertsOnly))).covers(&gw));
    }

    #[test]
    fn damage_is_noticed() {
        let authority = Authority::root("CA");
        let whole = list(&authority, &[1, 2, 3], None);
        for at in 0..whole.der().len() {
            let mut octets = whole.der().to_vec();
            octets[at] ^= 0x41;
            if let Ok(list) = RevocationList::from_der(&octets) {
                assert!(list.verify(&authority.certificate).is_err(), "octet {at}");
            }
        }
        assert!(RevocationList::from_der(&whole.der()[..100]).is_err());
        assert!(RevocationList::from_der(&[]).is_err());
    }
}
