//! Keys that are always the same, and authorities that vouch for them.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SignatureAlgorithm,
};

pub(crate) const RSA: &[u8] = include_bytes!("../../src/sim/keys/rsa.p8");
pub(crate) const P256: &[u8] = include_bytes!("../../src/sim/keys/p256.p8");
pub(crate) const P384: &[u8] = include_bytes!("../../src/sim/keys/p384.p8");
pub(crate) const ED25519: &[u8] = include_bytes!("../../src/sim/keys/ed25519.p8");

/// An authority.
pub(crate) struct Lab {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(crate) der: Vec<u8>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Lab {
    /// One that nobody is above of.
    pub(crate) fn new(name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// One below it.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// A certificate for `name` and a private key.
    pub(crate) fn certificate(&self, name: &str, key: &[u8]) -> Vec<u8> {
        self.certificate_until(name, key, 2040)
    }

    /// The same, valid until that year.
    pub(crate) fn certificate_until(&self, name: &str, key: &[u8], year: i32) -> Vec<u8> {
        let mut params = params(name);
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.signed_by(&pair(key), &self.issuer).unwrap().der().to_vec()
    }
}

fn pair(key: &[u8]) -> KeyPair {
    let algorithm: &'static SignatureAlgorithm = match key {
        key if key == RSA => &rcgen::PKCS_RSA_SHA256,
        key if key == P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        key if key == P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        _ed25519 => &rcgen::PKCS_ED25519,
    };
    KeyPair::from_pkcs8_der_and_sign_algo(&key.into(), algorithm).unwrap()
}
