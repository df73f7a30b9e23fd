//! An authority whose word is asked for: it issues certificates, and says of them whether they are good.

use ferry_ike::pki::{Certificate, OcspRequest};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber, SigningKey as _,
};

/// An authority, or one between it and others.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(crate) der: Vec<u8>,
}

/// What it says.
#[derive(Clone, Copy)]
pub(crate) enum Word {
    Good,
    Revoked,
    /// That it was good, a year before the stories play.
    Outdated,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
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

impl Authority {
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

    /// A certificate for `name` and a key.
    pub(crate) fn certificate(&self, name: &str, key: &[u8]) -> Vec<u8> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.into(), &rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = params(name);
        // Otherwise it would be made of the key, which many have.
        params.serial_number = Some(SerialNumber::from_slice(name.as_bytes()));
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        params.signed_by(&key, &self.issuer).unwrap().der().to_vec()
    }

    /// Its word about a certificate: an OCSPResponse (RFC 6960 §4.2.1).
    pub(crate) fn says(&self, word: Word, of: &[u8]) -> Vec<u8> {
        let this = Certificate::from_der(&self.der).unwrap();
        let request = OcspRequest::of_others(&Certificate::from_der(of).unwrap(), &this).unwrap();
        // OCSPRequest, TBSRequest, requestList and Request are around the CertID.
        let id = (0..4).fold(request.der(), |der, _| contents(der));
        let (from, until): (&[u8], &[u8]) = match word {
            Word::Outdated => (b"20260101000000Z", b"20260201000000Z"),
            Word::Good | Word::Revoked => (b"20270101000000Z", b"20270201000000Z"),
        };
        let status = match word {
            Word::Good | Word::Outdated => tlv(0x80, &[]),
            Word::Revoked => tlv(0xa1, &tlv(0x18, b"20261201000000Z")),
        };
        let single = [id.to_vec(), status, tlv(0x18, from), tlv(0xa0, &tlv(0x18, until))].concat();
        let responder = tlv(0xa2, &tlv(4, this.key_id().as_slice()));
        let list = tlv(0x30, &tlv(0x30, &single));
        let data = tlv(0x30, &[responder, tlv(0x18, from), list].concat());
        let signature = [&[0], self.issuer.key().sign(&data).unwrap().as_slice()].concat();
        let ecdsa_with_sha256 = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02".to_vec();
        let basic = tlv(0x30, &[data, ecdsa_with_sha256, tlv(3, &signature)].concat());
        let kind = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01".to_vec(); // id-pkix-ocsp-basic
        let bytes = tlv(0x30, &[kind, tlv(4, &basic)].concat());
        tlv(0x30, &[tlv(10, &[0]), tlv(0xa0, &bytes)].concat())
    }
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap().to_be_bytes();
    let length = match value.len() {
        0..0x80 => vec![low],
        0x80..0x100 => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [vec![tag], length, value.to_vec()].concat()
}

fn contents(der: &[u8]) -> &[u8] {
    let header = match der.get(1) {
        Some(0x81) => 3,
        Some(0x82) => 4,
        _ => 2,
    };
    der.get(header..).unwrap()
}
