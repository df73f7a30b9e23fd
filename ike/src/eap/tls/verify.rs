//! Certificates of peers in TLS: rustls checks what they sign, and [`Trust`] who they are.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use crate::identity::Identity;

/// The most certificates of a chain that are looked at.
const LONGEST_CHAIN: usize = 10;

/// Who is trusted: judges the certificates of peers.
pub trait Trust: Send + Sync + fmt::Debug {
    /// Is this chain, the peer's own certificate first, trusted at this moment, and is the peer this one?
    ///
    /// # Errors
    /// If not.
    fn judge(&self, chain: &[&[u8]], peer: &Identity) -> Result<(), Distrust>;

    /// The subjects of the trust anchors: X.501 names in DER.
    fn authorities(&self) -> Vec<Vec<u8>>;
}

/// Why a chain is not trusted: what the peer is told, and what the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// For the peer: its alert.
    pub kind: DistrustKind,
    /// For the log.
    pub reason: String,
}

/// What alerts of TLS can say of a certificate (RFC 8446 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistrustKind {
    /// `unknown_ca`.
    UnknownIssuer,
    /// `certificate_expired`.
    Expired,
    /// `certificate_revoked`.
    Revoked,
    /// `bad_certificate`: anything else, another name among it.
    Other,
}

impl From<DistrustKind> for CertificateError {
    fn from(kind: DistrustKind) -> Self {
        match kind {
            DistrustKind::UnknownIssuer => Self::UnknownIssuer,
            DistrustKind::Expired => Self::Expired,
            DistrustKind::Revoked => Self::Revoked,
            DistrustKind::Other => Self::BadEncoding,
        }
    }
}

/// Checks one peer in one handshake.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Arc<dyn Trust>,
    /// Who the peer must be.
    peer: Identity,
    authorities: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Why the peer was not believed.
    reason: Mutex<Option<String>>,
}

impl Verifier {
    pub(super) fn new(
        trust: Arc<dyn Trust>,
        peer: Identity,
        sends_authorities: bool,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        let authorities = if sends_authorities { trust.authorities() } else { vec![] };
        let authorities = authorities.into_iter().map(DistinguishedName::from).collect();
        Self { trust, peer, authorities, algorithms, reason: Mutex::default() }
    }

    /// Why the peer was not believed, in the words of whoever judged.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judge(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let result = if others.len() < LONGEST_CHAIN {
            let chain: Vec<&[u8]> =
                std::iter::once(own).chain(others).map(<CertificateDer<'_> as AsRef<[u8]>>::as_ref).collect();
            self.trust.judge(&chain, &self.peer)
        } else {
            let reason = format!("its chain of {} certificates is too long", others.len() + 1);
            Err(Distrust { kind: DistrustKind::Other, reason })
        };
        result.map_err(|Distrust { kind, reason }| {
            *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
            rustls::Error::InvalidCertificate(kind.into())
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
