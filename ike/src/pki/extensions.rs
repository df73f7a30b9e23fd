//! Certificate extensions (RFC 5280 §4.2).

use der::Decode;
use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid as _;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName, GeneralNames};
use x509_cert::ext::pkix::{self, KeyUsages};

use super::certificate::CertificateError;
use super::names;
use super::oid::Oid;
use crate::identity::Identity;

/// id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1).
const OCSP_NO_CHECK: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.5");
/// id-ad-ocsp (RFC 5280 §4.2.2.1).
const OCSP_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");

/// Basic constraints (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct BasicConstraints {
    /// Whether the subject is an authority.
    pub is_ca: bool,
    /// How many intermediate certificates may follow, self-issued ones not counted.
    pub path_length: Option<u8>,
}

/// Key usage (RFC 5280 §4.2.1.3), as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyUsage {
    /// digitalSignature or nonRepudiation: what RFC 4945 §5.1.3.2 asks of a key that signs AUTH.
    pub signature: bool,
    /// keyCertSign.
    pub certificates: bool,
    /// cRLSign.
    pub crls: bool,
}

/// What a certificate says beside its basic fields.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) general_names: GeneralNames,
    pub(super) alternative_names: Vec<Identity>,
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<Vec<Oid>>,
    pub(super) name_constraints: Option<pkix::NameConstraints>,
    pub(super) policies: Option<Vec<Oid>>,
    pub(super) policy_mappings: Vec<(Oid, Oid)>,
    pub(super) policy_constraints: Option<pkix::PolicyConstraints>,
    pub(super) inhibit_any_policy: Option<u32>,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    pub(super) crl_uris: Vec<String>,
    pub(super) ocsp_uris: Vec<String>,
    pub(super) ocsp_no_check: bool,
    /// The first critical extension that is not one of these.
    pub(super) unknown_critical: Option<Oid>,
}

impl Extensions {
    /// Reads all extensions. None may be there twice (RFC 5280 §4.2).
    pub(super) fn read(extensions: &[Extension]) -> Result<Self, CertificateError> {
        let mut read = Self::default();
        for (position, extension) in extensions.iter().enumerate() {
            let oid = Oid(extension.extn_id);
            if extensions.iter().take(position).any(|other| other.extn_id == extension.extn_id) {
                return Err(CertificateError::Repeated(oid));
            }
            let known = read
                .take(extension)
                .map_err(|reason| CertificateError::Extension { oid, reason: reason.to_string() })?;
            if !known && extension.critical {
                read.unknown_critical.get_or_insert(oid);
            }
        }
        Ok(read)
    }

    /// Takes one extension in; false if it is of no kind we know.
    fn take(&mut self, extension: &Extension) -> der::Result<bool> {
        match extension.extn_id {
            pkix::SubjectAltName::OID => {
                let pkix::SubjectAltName(general) = value(extension)?;
                self.alternative_names = general.iter().filter_map(names::identity).collect();
                self.general_names = general;
            }
            pkix::BasicConstraints::OID => {
                let read: pkix::BasicConstraints = value(extension)?;
                self.basic_constraints =
                    Some(BasicConstraints { is_ca: read.ca, path_length: read.path_len_constraint });
            }
            pkix::KeyUsage::OID => {
                let pkix::KeyUsage(usages) = value(extension)?;
                self.key_usage = Some(KeyUsage {
                    signature: usages.contains(KeyUsages::DigitalSignature)
                        || usages.contains(KeyUsages::NonRepudiation),
                    certificates: usages.contains(KeyUsages::KeyCertSign),
                    crls: usages.contains(KeyUsages::CRLSign),
                });
            }
            pkix::ExtendedKeyUsage::OID => {
                let pkix::ExtendedKeyUsage(purposes) = value(extension)?;
                self.extended_key_usage = Some(purposes.into_iter().map(Oid).collect());
            }
            pkix::NameConstraints::OID => self.name_constraints = Some(value(extension)?),
            pkix::CertificatePolicies::OID => {
                let pkix::CertificatePolicies(policies) = value(extension)?;
                self.policies = Some(policies.iter().map(|policy| Oid(policy.policy_identifier)).collect());
            }
            pkix::PolicyMappings::OID => {
                let pkix::PolicyMappings(mappings) = value(extension)?;
                self.policy_mappings = mappings
                    .iter()
                    .map(|mapping| (Oid(mapping.issuer_domain_policy), Oid(mapping.subject_domain_policy)))
                    .collect();
            }
            pkix::PolicyConstraints::OID => self.policy_constraints = Some(value(extension)?),
            pkix::InhibitAnyPolicy::OID => {
                let pkix::InhibitAnyPolicy(skip) = value(extension)?;
                self.inhibit_any_policy = Some(skip);
            }
            pkix::SubjectKeyIdentifier::OID => {
                let pkix::SubjectKeyIdentifier(id) = value(extension)?;
                self.subject_key_id = Some(id.as_bytes().to_vec());
            }
            pkix::AuthorityKeyIdentifier::OID => {
                let read: pkix::AuthorityKeyIdentifier = value(extension)?;
                self.authority_key_id = read.key_identifier.map(|id| id.as_bytes().to_vec());
            }
            pkix::CrlDistributionPoints::OID => {
                let pkix::CrlDistributionPoints(points) = value(extension)?;
                // A CRL of another issuer (indirect) or of some reasons only is none we could conclude from.
                let direct = points.iter().filter(|at| at.crl_issuer.is_none() && at.reasons.is_none());
                self.crl_uris = direct.flat_map(|at| full_names(at.distribution_point.as_ref())).collect();
            }
            pkix::AuthorityInfoAccessSyntax::OID => {
                let pkix::AuthorityInfoAccessSyntax(places) = value(extension)?;
                let ocsp = places.iter().filter(|place| place.access_method == OCSP_ACCESS);
                self.ocsp_uris = ocsp.filter_map(|place| uri(&place.access_location)).collect();
            }
            OCSP_NO_CHECK => self.ocsp_no_check = true,
            // Of no consequence, whether critical or not.
            pkix::IssuerAltName::OID => {}
            _unknown => return Ok(false),
        }
        Ok(true)
    }
}

fn value<'a, T: Decode<'a, Error = der::Error>>(extension: &'a Extension) -> der::Result<T> {
    T::from_der(extension.extn_value.as_bytes())
}

/// The URIs of a distribution point (RFC 5280 §4.2.1.13); each is a place of the same list.
pub(super) fn full_names(point: Option<&DistributionPointName>) -> Vec<String> {
    match point {
        Some(DistributionPointName::FullName(names)) => names.iter().filter_map(uri).collect(),
        // A name in a directory, which is not looked up.
        Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => Vec::new(),
    }
}

fn uri(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _other_kinds => None,
    }
}
