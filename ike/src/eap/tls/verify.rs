//! Certificates of peers in TLS: that they are of whom we talk to, and that the peer has their key. Whether anybody
//! vouches for them takes a clock, and perhaps somebody to ask: that is judged outside, before anything else is said
//! ([`PeerChain`]).

use std::sync::{Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use super::schemes::{self, TLS_SCHEMES};
use crate::crypto::signature::{self, PublicKey};
use crate::identity::Identity;
use crate::pki::Certificate;

/// The most certificates of a peer that are looked at beside its own.
const MOST_OTHERS: usize = 30;

/// What a peer has shown of itself: it has the key of this certificate, which carries its identity. Nobody has vouched for
/// it yet.
#[derive(Clone, Debug)]
pub struct PeerChain {
    /// Who it is.
    pub peer: Identity,
    /// Its certificate.
    pub certificate: Certificate,
    /// What else it has sent.
    pub others: Vec<Certificate>,
}

/// Checks one peer in one handshake.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Who the peer must be; anybody if it is that.
    peer: Identity,
    authorities: Vec<DistinguishedName>,
    /// Why the peer was not believed.
    reason: Mutex<Option<String>>,
    /// What it has shown. Believed once the handshake is complete.
    shown: Mutex<Option<PeerChain>>,
}

impl Verifier {
    /// `authorities` are named to a client that is asked for a certificate: X.501 names in DER.
    pub(super) fn new(peer: Identity, authorities: &[Vec<u8>]) -> Self {
        let authorities = authorities.iter().cloned().map(DistinguishedName::from).collect();
        Self { peer, authorities, reason: Mutex::default(), shown: Mutex::default() }
    }

    /// Why the peer was not believed.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the peer has shown, once.
    pub(super) fn take_shown(&self) -> Option<PeerChain> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn check(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        match self.read(own, others) {
            Ok(chain) => {
                *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(chain);
                Ok(())
            }
            Err(reason) => {
                *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                // `bad_certificate`: which part of it is not the peer's to know.
                Err(rustls::Error::InvalidCertificate(CertificateError::BadEncoding))
            }
        }
    }

    fn read(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<PeerChain, String> {
        let peer = &self.peer;
        let certificate = Certificate::from_der(own)
            .map_err(|error| format!("the certificate that '{peer}' has sent cannot be used: {error}"))?;
        // RFC 5216 §5.2: what the certificate says is who the peer is. Somebody else's is worth nothing, whoever vouches
        // for it.
        if !peer.is_any() && !certificate.carries(peer) {
            return Err(format!("the certificate \"{certificate}\" is not for '{peer}'"));
        }
        // What cannot be read is of no use for a chain, and no reason to refuse one that does without.
        let others = others.iter().take(MOST_OTHERS).filter_map(|other| Certificate::from_der(other).ok());
        Ok(PeerChain { peer: peer.clone(), certificate, others: others.collect() })
    }

    fn verify(
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        is_tls_1_3: bool,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let bad = || rustls::Error::InvalidCertificate(CertificateError::BadSignature);
        let certificate = Certificate::from_der(own).map_err(|_| bad())?;
        let key = PublicKey::from_spki_der(certificate.public_key_info()).map_err(|_| bad())?;
        let scheme: signature::SignatureScheme =
            schemes::of_peer(signed.scheme, key.key_type(), is_tls_1_3).ok_or_else(bad)?;
        key.verify(scheme, message, signed.signature()).map_err(|_| bad())?;
        Ok(HandshakeSignatureValid::assertion())
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
        self.check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::verify(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::verify(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        TLS_SCHEMES.to_vec()
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
        self.check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::verify(message, cert, dss, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::verify(message, cert, dss, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        TLS_SCHEMES.to_vec()
    }
}
