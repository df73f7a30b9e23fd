//! The Online Certificate Status Protocol (RFC 6960): what is asked about one certificate, and which answers count.

use std::time::{Duration, SystemTime};

use der::asn1::{BitString, GeneralizedTime, Null, ObjectIdentifier, OctetString};
use der::{Decode as _, Encode as _, Reader as _, Sequence, SliceReader, Tag, TagNumber, Tagged as _};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use x509_cert::ext::pkix::CrlReason;
use x509_cert::ext::{Extension, Extensions};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;

use super::Certificate;
use super::crl::{Revoked, name};
use super::oid::Oid;
use crate::identity::Identity;
use crate::wire::registry::IdType;

/// The longest response that is read: a few certificates and a signature.
pub const MAX_RESPONSE: usize = 64 << 10;

/// How far a responder's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// How long a response counts that does not say: newer information is there all the time (RFC 6960 §4.2.2.1).
const UNSAID: Duration = Duration::from_secs(300);

const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
/// id-pkix-ocsp-basic.
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// id-pkix-ocsp-nonce.
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");

/// A question about one certificate.
#[derive(Clone)]
pub struct OcspRequest {
    id: CertId,
    /// What answers to it say; `None` takes answers to anybody's question.
    nonce: Option<[u8; 32]>,
    der: Vec<u8>,
}

/// What is known of a certificate, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcspStatus {
    /// `None` for a good one.
    pub revoked: Option<Revoked>,
    /// Until when it counts.
    pub until: SystemTime,
}

/// Why an answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// The octets are no answer.
    #[error("the OCSP response is malformed: {0}")]
    Malformed(String),
    /// The responder has none.
    #[error("the OCSP responder refuses to answer: {0}")]
    Refused(&'static str),
    /// It is not signed by somebody who may.
    #[error("the OCSP response is not signed by the issuer, nor by whom it has delegated that to: {0}")]
    Signer(String),
    /// It is about other certificates.
    #[error("the OCSP response is not about this certificate")]
    Other,
    /// It answers another question.
    #[error("the OCSP response has the nonce of another request")]
    Nonce,
    /// It is too old or too new.
    #[error("the OCSP response does not count now: it is outdated, or from the future")]
    Stale,
    /// The responder does not know the certificate.
    #[error("the OCSP responder does not know the certificate")]
    Unknown,
    /// An extension that is not understood.
    #[error("the OCSP response has the critical extension {0}, which is not known")]
    CriticalExtension(Oid),
}

/// RFC 6960 §4.1.1.
#[derive(Clone, PartialEq, Eq, Sequence)]
struct CertId {
    hash_algorithm: spki::AlgorithmIdentifierOwned,
    issuer_name_hash: OctetString,
    issuer_key_hash: OctetString,
    serial_number: SerialNumber,
}

#[derive(Sequence)]
struct Request {
    tbs: TbsRequest,
}

#[derive(Sequence)]
struct TbsRequest {
    list: Vec<SingleRequest>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

#[derive(Sequence)]
struct SingleRequest {
    id: CertId,
}

/// RFC 6960 §4.2.1, from here on.
#[derive(Sequence)]
struct ResponseBytes {
    response_type: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct ResponseData {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "zero")]
    version: u8,
    responder: ResponderId,
    produced_at: GeneralizedTime,
    responses: Vec<SingleResponse>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

fn zero() -> u8 {
    0
}

#[derive(der::Choice)]
enum ResponderId {
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    ByName(Name),
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", constructed = "true")]
    ByKey(OctetString),
}

#[derive(Sequence)]
struct SingleResponse {
    id: CertId,
    status: CertStatus,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

#[derive(der::Choice)]
enum CertStatus {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    Good(Null),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Revoked(RevokedAt),
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT")]
    Unknown(Null),
}

#[derive(Sequence)]
struct RevokedAt {
    at: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    reason: Option<CrlReason>,
}

impl OcspRequest {
    /// Asks about `certificate`, which `issuer` has issued. The nonce must be fresh and random.
    ///
    /// # Errors
    /// If the certificate's serial number or issuer cannot be encoded, which those that were read can.
    pub fn new(certificate: &Certificate, issuer: &Certificate, nonce: [u8; 32]) -> Result<Self, OcspError> {
        Self::with_nonce(certificate, issuer, Some(nonce))
    }

    /// The same without a nonce, for answers to what others have asked: those a peer shows (RFC 4806 §6), which are as old
    /// as they say.
    ///
    /// # Errors
    /// As with [`new`](Self::new).
    pub fn of_others(certificate: &Certificate, issuer: &Certificate) -> Result<Self, OcspError> {
        Self::with_nonce(certificate, issuer, None)
    }

    fn with_nonce(
        certificate: &Certificate,
        issuer: &Certificate,
        nonce: Option<[u8; 32]>,
    ) -> Result<Self, OcspError> {
        let malformed = |error: der::Error| OcspError::Malformed(error.to_string());
        let build = || -> der::Result<(CertId, Vec<u8>)> {
            let null = der::Any::new(Tag::Null, Vec::new())?;
            let name_hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate.issuer().data);
            let id = CertId {
                // RFC 5019 §2.1.1: SHA-1, which is what responders look answers up by.
                hash_algorithm: spki::AlgorithmIdentifier { oid: SHA1, parameters: Some(null) },
                issuer_name_hash: OctetString::new(name_hash.as_ref())?,
                issuer_key_hash: OctetString::new(issuer.key_id().as_slice())?,
                serial_number: SerialNumber::new(certificate.serial())?,
            };
            let extensions = match nonce {
                Some(nonce) => Some(vec![Extension {
                    extn_id: NONCE,
                    critical: false,
                    // RFC 8954 §2.1: an OCTET STRING of 32 octets.
                    extn_value: OctetString::new(OctetString::new(nonce.as_slice())?.to_der()?)?,
                }]),
                None => None,
            };
            let list = vec![SingleRequest { id: id.clone() }];
            let request = Request { tbs: TbsRequest { list, extensions } };
            Ok((id, request.to_der()?))
        };
        let (id, der) = build().map_err(malformed)?;
        Ok(Self { id, nonce, der })
    }

    /// What to send.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What the response says, if it counts at `now`: signed by `issuer` or by somebody it has delegated that to, about
    /// this certificate, current, and to this request if it says to which. `responders` are certificates that may be
    /// delegates' beside those the response brings.
    ///
    /// # Errors
    /// If it does not count: why.
    pub fn read(
        &self,
        response: &[u8],
        issuer: &Certificate,
        responders: &[Certificate],
        now: SystemTime,
    ) -> Result<OcspStatus, OcspError> {
        let malformed = |error: der::Error| OcspError::Malformed(error.to_string());
        if response.len() > MAX_RESPONSE {
            return Err(OcspError::Malformed(format!("{} octets are too many", response.len())));
        }
        let basic = basic_response(response)?;
        let signed = Signed::read(basic.as_bytes()).map_err(malformed)?;
        let data = ResponseData::from_der(signed.tbs).map_err(malformed)?;
        signed.verify(&data.responder, issuer, responders, now)?;
        self.check_extensions(&data)?;
        let single =
            data.responses.iter().find(|single| self.is_asked(&single.id)).ok_or(OcspError::Other)?;
        let this_update = single.this_update.to_system_time();
        let next_update = single.next_update.map(|next| next.to_system_time());
        let until = next_update.unwrap_or(this_update + UNSAID);
        if this_update > now + CLOCK_SKEW || until < now {
            return Err(OcspError::Stale);
        }
        match &single.status {
            CertStatus::Good(_) => Ok(OcspStatus { revoked: None, until }),
            CertStatus::Unknown(_) => Err(OcspError::Unknown),
            CertStatus::Revoked(revoked) => {
                let reason = revoked.reason.map_or("unspecified", name);
                Ok(OcspStatus { revoked: Some(Revoked { at: revoked.at.to_system_time(), reason }), until })
            }
        }
    }

    /// The same certificate; the hash algorithm's parameters may be left out.
    fn is_asked(&self, id: &CertId) -> bool {
        id.hash_algorithm.oid == self.id.hash_algorithm.oid
            && id.issuer_name_hash == self.id.issuer_name_hash
            && id.issuer_key_hash == self.id.issuer_key_hash
            && id.serial_number == self.id.serial_number
    }

    fn check_extensions(&self, data: &ResponseData) -> Result<(), OcspError> {
        for extension in data.extensions.iter().flatten() {
            if extension.extn_id == NONCE {
                // Some responders echo the octets without the OCTET STRING around them.
                let wrapped = OctetString::from_der(extension.extn_value.as_bytes());
                let is_ours = |nonce: &[u8; 32]| {
                    extension.extn_value.as_bytes() == nonce
                        || wrapped.as_ref().is_ok_and(|octets| octets.as_bytes() == nonce)
                };
                if self.nonce.as_ref().is_some_and(|nonce| !is_ours(nonce)) {
                    return Err(OcspError::Nonce);
                }
            } else if extension.critical {
                return Err(OcspError::CriticalExtension(Oid(extension.extn_id)));
            }
        }
        let mut of_singles = data.responses.iter().flat_map(|single| single.extensions.iter().flatten());
        match of_singles.find(|extension| extension.critical) {
            Some(extension) => Err(OcspError::CriticalExtension(Oid(extension.extn_id))),
            None => Ok(()),
        }
    }
}

/// What `responses`, which a peer has shown, say of `certificate`, and which of them it is: the first that counts at
/// `now`. A peer may show one about each certificate of its chain (RFC 4806 §3.2).
///
/// # Errors
/// If none counts: why of each that is about this certificate, or cannot be read.
pub fn shown<'a>(
    responses: &'a [Vec<u8>],
    certificate: &Certificate,
    issuer: &Certificate,
    responders: &[Certificate],
    now: SystemTime,
) -> Result<(OcspStatus, &'a [u8]), Vec<OcspError>> {
    let request = OcspRequest::of_others(certificate, issuer).map_err(|error| vec![error])?;
    let mut problems = Vec::new();
    for response in responses {
        match request.read(response, issuer, responders, now) {
            Ok(status) => return Ok((status, response)),
            Err(OcspError::Other) => {}
            Err(problem) => problems.push(problem),
        }
    }
    Err(problems)
}

/// The BasicOCSPResponse inside of an OCSPResponse.
fn basic_response(response: &[u8]) -> Result<OctetString, OcspError> {
    let malformed = |error: der::Error| OcspError::Malformed(error.to_string());
    let mut reader = SliceReader::new(response).map_err(malformed)?;
    let (status, bytes) = reader
        .sequence(|reader| {
            let status = der::asn1::AnyRef::decode(reader)?;
            status.tag().assert_eq(Tag::Enumerated)?;
            let bytes = reader.context_specific::<ResponseBytes>(TagNumber(0), der::TagMode::Explicit)?;
            Ok::<_, der::Error>((status, bytes))
        })
        .map_err(malformed)?;
    reader.finish().map_err(malformed)?;
    let refused = |why| Err(OcspError::Refused(why));
    match (status.value(), bytes) {
        ([0], Some(bytes)) if bytes.response_type == BASIC => Ok(bytes.response),
        ([0], _) => Err(OcspError::Malformed("it is of no type that is known".to_owned())),
        ([1], _) => refused("the request was malformed"),
        ([2], _) => refused("internal error"),
        ([3], _) => refused("try later"),
        ([5], _) => refused("requests have to be signed"),
        ([6], _) => refused("not authorized"),
        _ => refused("for an unknown reason"),
    }
}

/// A BasicOCSPResponse, in parts.
struct Signed<'a> {
    tbs: &'a [u8],
    algorithm: Vec<u8>,
    signature: BitString,
    certificates: Vec<&'a [u8]>,
}

impl<'a> Signed<'a> {
    fn read(octets: &'a [u8]) -> der::Result<Self> {
        /// More than one is of no use, but some responders send their chain.
        const MAX_CERTIFICATES: usize = 5;
        let mut reader = SliceReader::new(octets)?;
        let read = reader.sequence(|reader| {
            let tbs = reader.tlv_bytes()?;
            let algorithm: spki::AlgorithmIdentifierOwned = reader.decode()?;
            let signature: BitString = reader.decode()?;
            let mut certificates = Vec::new();
            if !reader.is_finished() {
                // certs [0] EXPLICIT SEQUENCE OF Certificate.
                let outer = der::asn1::AnyRef::decode(reader)?;
                outer.tag().assert_eq(Tag::ContextSpecific { constructed: true, number: TagNumber(0) })?;
                let mut inner = SliceReader::new(outer.value())?;
                inner.sequence(|list| {
                    while !list.is_finished() && certificates.len() < MAX_CERTIFICATES {
                        certificates.push(list.tlv_bytes()?);
                    }
                    while !list.is_finished() {
                        list.tlv_bytes()?;
                    }
                    Ok::<_, der::Error>(())
                })?;
                inner.finish()?;
            }
            Ok::<_, der::Error>(Self { tbs, algorithm: algorithm.to_der()?, signature, certificates })
        })?;
        reader.finish()?;
        Ok(read)
    }

    /// RFC 6960 §4.2.2.2: signed by the issuer, or with a certificate for that from the issuer.
    fn verify(
        &self,
        responder: &ResponderId,
        issuer: &Certificate,
        responders: &[Certificate],
        now: SystemTime,
    ) -> Result<(), OcspError> {
        // An authority and its delegate may be of the same name.
        let mut why = match is_responder(responder, issuer) {
            true => match self.is_signed_by(issuer) {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            },
            false => "the responder is neither".to_owned(),
        };
        let sent = self.certificates.iter().filter_map(|octets| Certificate::from_der(octets).ok());
        for delegate in sent.chain(responders.iter().cloned()).filter(|one| is_responder(responder, one)) {
            match may_answer(&delegate, issuer, now).and_then(|()| self.is_signed_by(&delegate)) {
                Ok(()) => return Ok(()),
                Err(reason) => why = reason,
            }
        }
        Err(OcspError::Signer(why))
    }

    fn is_signed_by(&self, signer: &Certificate) -> Result<(), String> {
        signer
            .has_signed(&self.algorithm, self.tbs, self.signature.raw_bytes())
            .map_err(|why| format!("\"{signer}\": {why}"))
    }
}

fn is_responder(responder: &ResponderId, certificate: &Certificate) -> bool {
    match responder {
        ResponderId::ByName(name) => name.to_der().is_ok_and(|data| {
            certificate.subject().is_same(&Identity { id_type: IdType::DER_ASN1_DN, data })
        }),
        ResponderId::ByKey(hash) => hash.as_bytes() == certificate.key_id(),
    }
}

/// Whether `issuer` has delegated answering to `delegate`, directly (RFC 6960 §4.2.2.2). Whether it has revoked that
/// since is not asked: such certificates are short-lived, and most say id-pkix-ocsp-nocheck (§4.2.2.2.1).
fn may_answer(delegate: &Certificate, issuer: &Certificate, now: SystemTime) -> Result<(), String> {
    let refusal = |why: &str| Err(format!("\"{delegate}\": its certificate {why}"));
    if !delegate.extended_key_usage().is_some_and(|purposes| purposes.contains(&Oid::OCSP_SIGNING)) {
        return refusal("is not for signing OCSP responses");
    }
    if delegate.key_usage().is_some_and(|usage| !usage.signature) {
        return refusal("is not for signatures (key usage)");
    }
    if let Some(oid) = delegate.extensions().unknown_critical {
        return refusal(&format!("has the critical extension {oid}, which is not known"));
    }
    if now < delegate.not_before() || now > delegate.not_after() {
        return refusal("is not valid now");
    }
    if !delegate.names_as_issuer(issuer) {
        return refusal("is of another issuer");
    }
    issuer
        .has_signed(delegate.signature_algorithm(), delegate.signed_octets(), delegate.signature())
        .map_err(|why| format!("\"{delegate}\": the signature of its issuer: {why}"))
}

#[cfg(test)]
mod tests;
