//! Authorities made for a test, and what they sign.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::Certificate;

/// An authority with its key.
pub(super) struct Authority {
    pub(super) params: CertificateParams,
    pub(super) key: KeyPair,
    pub(super) certificate: Certificate,
}

/// A certificate and its key.
pub(super) struct Signed {
    pub(super) certificate: Certificate,
    pub(super) key: KeyPair,
}

/// What to put in a certificate for `O=Lab, CN=<name>`.
pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Lab");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params.is_ca = IsCa::ExplicitNoCa; // with this one, rcgen adds a subject key identifier
    params.use_authority_key_identifier_extension = true;
    params
}

/// The same for an authority.
pub(super) fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    /// An authority that nobody is above of.
    pub(super) fn root(name: &str) -> Self {
        Self::with(ca_params(name))
    }

    /// An authority with these parameters that nobody is above of.
    pub(super) fn with(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
        Self { params, key, certificate }
    }

    /// An authority below this one.
    pub(super) fn intermediate(&self, params: CertificateParams) -> Self {
        let signed = self.issue(params.clone());
        Self { params, key: signed.key, certificate: signed.certificate }
    }

    /// Signs a certificate for somebody.
    pub(super) fn issue(&self, params: CertificateParams) -> Signed {
        let (der, key) = self.issue_der(params);
        Signed { certificate: Certificate::from_der(&der).unwrap(), key }
    }

    /// Signs a certificate that may not be readable.
    pub(super) fn issue_der(&self, params: CertificateParams) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        (signed.der().to_vec(), key)
    }
}
