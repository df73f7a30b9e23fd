//! A certificate (RFC 5280 §4.1).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use x509_cert::certificate::Version;

use super::extensions::{BasicConstraints, Extensions, KeyUsage};
use super::names;
use super::oid::Oid;
use crate::crypto::signature::{Hash, KeyError, PublicKey, SignatureScheme};
use crate::identity::Identity;
use crate::wire::registry::IdType;

/// The longest certificate that is read. What fits in a payload of IKE is shorter still; files are held to the same.
const MAX_LENGTH: usize = 0xffff;

/// Why octets are no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Longer than any certificate that could be sent.
    #[error("a certificate of {0} octets is too long: 65535 is the most")]
    TooLong(usize),
    /// The octets are not the DER of a certificate.
    #[error("this is no X.509 certificate in DER: {0}")]
    Malformed(String),
    /// The two places that name the signature algorithm differ (RFC 5280 §4.1.1.2).
    #[error("the certificate names two signature algorithms")]
    SignatureAlgorithms,
    /// Extensions in a version that has none (RFC 5280 §4.1.2.9).
    #[error("the certificate has extensions, but is of version {0}")]
    Version(u8),
    /// An extension is there twice (RFC 5280 §4.2).
    #[error("the certificate has the extension {0} twice")]
    Repeated(Oid),
    /// An extension we know cannot be read.
    #[error("the certificate's extension {oid} is malformed: {reason}")]
    Extension {
        /// Which extension.
        oid: Oid,
        /// What is wrong with it.
        reason: String,
    },
}

/// An X.509 certificate: its DER and what is in it. Clones share both.
///
/// That it could be read says nothing of whether it can be believed.
#[derive(Clone)]
pub struct Certificate(Arc<Parts>);

struct Parts {
    der: Box<[u8]>,
    /// Where the TBSCertificate, which is what is signed, lies in `der`.
    tbs: std::ops::Range<usize>,
    signature_algorithm: Vec<u8>,
    signature: Vec<u8>,
    subject: Identity,
    issuer: Identity,
    serial: Vec<u8>,
    not_before: SystemTime,
    not_after: SystemTime,
    public_key_info: Vec<u8>,
    public_key: Result<PublicKey, KeyError>,
    key_hash: [u8; 20],
    key_id: [u8; 20],
    extensions: Extensions,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// If the octets are anything but the DER of one certificate, or an extension we know cannot be read.
    pub fn from_der(octets: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |error: der::Error| CertificateError::Malformed(error.to_string());
        if octets.len() > MAX_LENGTH {
            return Err(CertificateError::TooLong(octets.len()));
        }
        let read = x509_cert::Certificate::from_der(octets).map_err(malformed)?;
        let tbs = signed_part(octets).map_err(malformed)?;
        let (inner, algorithm) = (read.tbs_certificate(), read.signature_algorithm());
        // RFC 5280 §4.1.1.2: both fields contain the same.
        if inner.signature() != algorithm {
            return Err(CertificateError::SignatureAlgorithms);
        }
        let extensions = match inner.extensions() {
            Some(extensions) if inner.version() == Version::V3 => Extensions::read(extensions)?,
            Some(_) => return Err(CertificateError::Version(inner.version() as u8 + 1)),
            None => Extensions::default(),
        };
        let name = |name: &x509_cert::name::Name| {
            Ok(Identity { id_type: IdType::DER_ASN1_DN, data: name.to_der().map_err(malformed)? })
        };
        let key = inner.subject_public_key_info();
        let public_key_info = key.to_der().map_err(malformed)?;
        Ok(Self(Arc::new(Parts {
            der: octets.into(),
            tbs,
            signature_algorithm: algorithm.to_der().map_err(malformed)?,
            signature: read.signature().raw_bytes().to_vec(),
            subject: name(inner.subject())?,
            issuer: name(inner.issuer())?,
            serial: inner.serial_number().as_bytes().to_vec(),
            not_before: inner.validity().not_before.to_system_time(),
            not_after: inner.validity().not_after.to_system_time(),
            key_hash: sha1(&public_key_info),
            key_id: sha1(key.subject_public_key.raw_bytes()),
            public_key: PublicKey::from_spki_der(&public_key_info),
            public_key_info,
            extensions,
        })))
    }

    /// The octets it was read from.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The TBSCertificate in DER: what the issuer has signed.
    #[must_use]
    pub fn signed_octets(&self) -> &[u8] {
        self.0.der.get(self.0.tbs.clone()).unwrap_or_default()
    }

    /// The AlgorithmIdentifier of the issuer's signature, in DER.
    #[must_use]
    pub fn signature_algorithm(&self) -> &[u8] {
        &self.0.signature_algorithm
    }

    /// The issuer's signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.0.signature
    }

    /// The subject's distinguished name; without RDNs if the subject is in the alternative names alone.
    #[must_use]
    pub fn subject(&self) -> &Identity {
        &self.0.subject
    }

    /// The issuer's distinguished name.
    #[must_use]
    pub fn issuer(&self) -> &Identity {
        &self.0.issuer
    }

    /// The contents of the serial number, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// When it begins to be valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.0.not_before
    }

    /// The last second it is valid in.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// The subject's SubjectPublicKeyInfo, in DER.
    #[must_use]
    pub fn public_key_info(&self) -> &[u8] {
        &self.0.public_key_info
    }

    /// The subject's public key.
    ///
    /// # Errors
    /// If it is of a kind that is not supported, or no key at all: that makes a certificate useless, but not unreadable.
    pub fn public_key(&self) -> Result<&PublicKey, &KeyError> {
        self.0.public_key.as_ref()
    }

    /// SHA-1 of the SubjectPublicKeyInfo: how CERTREQ names an authority (RFC 7296 §3.7).
    #[must_use]
    pub fn key_hash(&self) -> &[u8; 20] {
        &self.0.key_hash
    }

    /// SHA-1 of the contents of subjectPublicKey: how VICI names keys, and most authorities theirs (RFC 5280 §4.2.1.2).
    #[must_use]
    pub fn key_id(&self) -> &[u8; 20] {
        &self.0.key_id
    }

    /// The subject's alternative names, as far as they are identities: DNS names, addresses of mail, IP addresses, URIs
    /// and distinguished names.
    #[must_use]
    pub fn alternative_names(&self) -> &[Identity] {
        &self.0.extensions.alternative_names
    }

    /// What it says of being an authority.
    #[must_use]
    pub fn basic_constraints(&self) -> BasicConstraints {
        self.0.extensions.basic_constraints.unwrap_or_default()
    }

    /// What the key may be used for; everything, if it does not say.
    #[must_use]
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.0.extensions.key_usage
    }

    /// The purposes it is for; all, if it does not say.
    #[must_use]
    pub fn extended_key_usage(&self) -> Option<&[Oid]> {
        self.0.extensions.extended_key_usage.as_deref()
    }

    /// Its policies.
    #[must_use]
    pub fn policies(&self) -> &[Oid] {
        self.0.extensions.policies.as_deref().unwrap_or_default()
    }

    /// Policies of its own domain and what they are in the subject's.
    #[must_use]
    pub fn policy_mappings(&self) -> &[(Oid, Oid)] {
        &self.0.extensions.policy_mappings
    }

    /// The names it permits below it and those it excludes, for people.
    #[must_use]
    pub fn constrained_names(&self) -> [Vec<String>; 2] {
        let Some(constraints) = &self.0.extensions.name_constraints else { return Default::default() };
        [&constraints.permitted_subtrees, &constraints.excluded_subtrees]
            .map(|trees| trees.iter().flatten().map(|tree| names::constraint(&tree.base)).collect())
    }

    /// The subject key identifier.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.subject_key_id.as_deref()
    }

    /// The identifier of the issuer's key.
    #[must_use]
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.0.extensions.authority_key_id.as_deref()
    }

    /// Where its issuer's revocation lists are.
    #[must_use]
    pub fn crl_uris(&self) -> &[String] {
        &self.0.extensions.crl_uris
    }

    /// Where its OCSP responders are.
    #[must_use]
    pub fn ocsp_uris(&self) -> &[String] {
        &self.0.extensions.ocsp_uris
    }

    /// Whether subject and issuer are of the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.0.subject.is_same(&self.0.issuer)
    }

    /// Whether the name, and where given the key identifier, of this certificate's issuer are those of `issuer`'s
    /// subject. The signature has still to be verified.
    #[must_use]
    pub fn names_as_issuer(&self, issuer: &Self) -> bool {
        let same_key = match (self.authority_key_id(), issuer.subject_key_id()) {
            (Some(wanted), Some(id)) => wanted == id,
            _ => true,
        };
        same_key && self.0.issuer.is_same(&issuer.0.subject)
    }

    /// Whether `identity` is one of the certificate's own: its subject, one of its alternative names, or for a key ID
    /// the identifier of its key, either hash of it, or its serial number, as charon has it.
    ///
    /// Patterns are not looked through: an identity with `*` in it is carried only by a certificate that says `*`.
    #[must_use]
    pub fn carries(&self, identity: &Identity) -> bool {
        match identity.id_type {
            IdType::KEY_ID => {
                let id = identity.data.as_slice();
                !id.is_empty()
                    && (self.subject_key_id() == Some(id)
                        || self.key_id() == id
                        || self.key_hash() == id
                        || self.serial() == id)
            }
            IdType::DER_ASN1_GN => {
                names::unwrap_general_name(identity).is_some_and(|identity| self.carries(&identity))
            }
            _ => {
                (self.0.subject.is_same(identity) && !self.has_no_subject())
                    || self.alternative_names().iter().any(|name| name.is_same(identity))
            }
        }
    }

    /// Whether the subject has no RDNs.
    #[must_use]
    pub fn has_no_subject(&self) -> bool {
        self.0.subject.data == [0x30, 0]
    }

    /// Whether its key has signed `octets`, and not with SHA-1: what authorities say of certificates has to be beyond
    /// doubt. `algorithm` is the AlgorithmIdentifier.
    ///
    /// # Errors
    /// If not: why.
    pub(super) fn has_signed(&self, algorithm: &[u8], octets: &[u8], signature: &[u8]) -> Result<(), String> {
        let scheme = SignatureScheme::from_der(algorithm).map_err(|error| error.to_string())?;
        if scheme.hash() == Some(Hash::Sha1) {
            return Err("it is signed with SHA-1, which is not accepted".to_owned());
        }
        let key = self.public_key().map_err(ToString::to_string)?;
        key.verify(scheme, octets, signature).map_err(|error| error.to_string())
    }

    /// What is in its extensions.
    pub(super) fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }
}

/// Where the TBSCertificate lies in the DER of a certificate.
fn signed_part(octets: &[u8]) -> der::Result<std::ops::Range<usize>> {
    let mut outer = SliceReader::new(octets)?;
    der::Header::decode(&mut outer)?;
    let start = usize::try_from(outer.position())?;
    outer.tlv_bytes()?;
    Ok(start..usize::try_from(outer.position())?)
}

fn sha1(octets: &[u8]) -> [u8; 20] {
    let mut hash = [0; 20];
    hash.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, octets).as_ref());
    hash
}

/// The same octets.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

/// Its subject, or where that is empty its first other name.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.alternative_names().first() {
            Some(name) if self.has_no_subject() => write!(f, "{name}"),
            _ => write!(f, "{}", self.0.subject),
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;
    use rcgen::{CrlDistributionPoint, CustomExtension, DnType, ExtendedKeyUsagePurpose, SanType};

    use super::*;
    use crate::pki::testing::{Authority, params};

    fn identity(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    fn with_names() -> Certificate {
        let mut params = params("gw");
        params.subject_alt_names = vec![
            SanType::DnsName("gw.Example.org".try_into().unwrap()),
            SanType::DnsName("*.lab.example.org".try_into().unwrap()),
            SanType::Rfc822Name("ops@example.org".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 1].into()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::URI("spiffe://lab/gw".try_into().unwrap()),
        ];
        Authority::root("CA").issue(params).certificate
    }

    #[test]
    fn what_it_says_is_read() {
        let mut params = params("gw");
        params.not_before = rcgen::date_time_ymd(2020, 2, 29);
        params.serial_number = Some(vec![1, 2, 3].into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec!["http://a/x.crl".to_owned(), "http://b/x.crl".to_owned()],
        }];
        let authority = Authority::root("CA");
        let certificate = authority.issue(params).certificate;
        assert_eq!(certificate.subject().to_string(), "O=Lab, CN=gw");
        assert_eq!(certificate.issuer().to_string(), "O=Lab, CN=CA");
        assert_eq!(certificate.serial(), [1, 2, 3]);
        assert_eq!(certificate.not_before(), UNIX_EPOCH + Duration::from_secs(1_582_934_400));
        assert_eq!(certificate.extended_key_usage(), Some(&[Oid::SERVER_AUTH][..]));
        assert_eq!(certificate.crl_uris(), ["http://a/x.crl", "http://b/x.crl"]);
        assert!(!certificate.basic_constraints().is_ca);
        assert!(certificate.names_as_issuer(&authority.certificate));
        assert!(!certificate.is_self_issued() && authority.certificate.is_self_issued());
        assert!(authority.certificate.basic_constraints().is_ca);
        assert!(authority.certificate.key_usage().unwrap().certificates);
        assert_eq!(certificate.authority_key_id(), authority.certificate.subject_key_id());
        assert_eq!(certificate.signed_octets()[..2], [0x30, 0x82]);
        let whole = certificate.der().len();
        assert!(certificate.signed_octets().len() + certificate.signature().len() < whole);
        assert_eq!(certificate, Certificate::from_der(certificate.der()).unwrap());
    }

    #[test]
    fn every_kind_of_identity_is_found() {
        let certificate = with_names();
        for carried in [
            "O=Lab, CN=gw",
            "O=LAB, CN=GW",
            "gw.example.org",
            "GW.EXAMPLE.ORG",
            "*.lab.example.org",
            "ops@example.org",
            "192.0.2.1",
            "2001:db8::1",
            "uri:spiffe://lab/gw",
        ] {
            assert!(certificate.carries(&identity(carried)), "{carried}");
        }
        for foreign in [
            "O=Lab, CN=gw2",
            "O=Lab",
            "O=Lab, CN=*",
            "CN=gw, O=Lab",
            "gw",
            "x.lab.example.org",
            "*",
            "@ops@example.org",
            "email:gw.example.org",
            "192.0.2.2",
            "192.0.2.0/24",
            "%any",
            "uri:spiffe://lab/GW",
            "@#",
        ] {
            assert!(!certificate.carries(&identity(foreign)), "{foreign}");
        }
    }

    #[test]
    fn key_ids_and_general_names_are_identities_too() {
        let certificate = with_names();
        let key_id = |octets: &[u8]| Identity { id_type: IdType::KEY_ID, data: octets.to_vec() };
        for octets in [
            certificate.subject_key_id().unwrap(),
            certificate.key_id(),
            certificate.key_hash(),
            certificate.serial(),
        ] {
            assert!(certificate.carries(&key_id(octets)));
        }
        assert!(!certificate.carries(&key_id(b"gw")));
        let general = |data: &[u8]| Identity { id_type: IdType::DER_ASN1_GN, data: data.to_vec() };
        assert!(certificate.carries(&general(&[&[0x82, 14], b"gw.example.org".as_slice()].concat())));
        assert!(!certificate.carries(&general(&[&[0x81, 14], b"gw.example.org".as_slice()].concat())));
        assert!(!certificate.carries(&general(b"gw.example.org")));
    }

    #[test]
    fn an_empty_subject_is_nobody() {
        let mut params = params("gw");
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.remove(DnType::OrganizationName);
        params.subject_alt_names = vec![SanType::DnsName("gw".try_into().unwrap())];
        let certificate = Authority::root("CA").issue(params).certificate;
        assert!(certificate.has_no_subject());
        assert_eq!(certificate.to_string(), "gw");
        let nobody = Identity { id_type: IdType::DER_ASN1_DN, data: vec![0x30, 0] };
        assert!(!certificate.carries(&nobody));
    }

    #[test]
    fn what_is_twice_or_broken_is_named() {
        let error = |extensions: &[(&[u64], &[u8])]| {
            let mut params = params("gw");
            params.custom_extensions = extensions
                .iter()
                .map(|(oid, value)| CustomExtension::from_oid_content(oid, value.to_vec()))
                .collect();
            let signed = Authority::root("CA").issue_der(params).0;
            Certificate::from_der(&signed).unwrap_err().to_string()
        };
        let own: &[u64] = &[1, 2, 3, 4];
        assert_eq!(error(&[(own, b"x"), (own, b"x")]), "the certificate has the extension 1.2.3.4 twice");
        let usage = error(&[(&[2, 5, 29, 37], b"\x30\x03\x02")]);
        assert!(usage.starts_with("the certificate's extension 2.5.29.37 is malformed: "), "{usage}");
    }

    #[test]
    fn what_follows_is_no_part_of_it() {
        let certificate = with_names();
        let mut longer = certificate.der().to_vec();
        longer.push(0);
        assert!(Certificate::from_der(&longer).is_err());
        assert!(Certificate::from_der(&[]).is_err());
        assert_eq!(Certificate::from_der(&[0; 70_000]), Err(CertificateError::TooLong(70_000)));
    }

    proptest! {
        #[test]
        fn damage_is_noticed_or_harmless(at in 0usize..400, flip in 1u8..) {
            let mut octets = with_names().der().to_vec();
            if let Some(octet) = octets.get_mut(at) {
                *octet ^= flip;
            }
            if let Ok(certificate) = Certificate::from_der(&octets) {
                prop_assert_eq!(certificate.der(), octets.as_slice());
                let _shown = certificate.to_string();
            }
        }
    }
}
