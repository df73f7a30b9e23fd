//! One TLS session, octets in and octets out: rustls without a socket, a clock or a memory of other sessions.
//!
//! rustls draws from the operating system's randomness: `ring` computes key exchanges and signatures with no other.

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, Connection, ProtocolVersion, ServerConfig, ServerConnection,
    SignatureAlgorithm, SupportedProtocolVersion, version,
};
use zeroize::Zeroizing;

use super::settings::{TlsSettings, TlsVersion};
use super::verify::{PeerChain, Verifier};
use super::{Tls, schemes};
use crate::crypto::Secret;
use crate::crypto::signature::{KeyType, PrivateKey, SignatureScheme};
use crate::identity::Identity;
use crate::pki::Certificate;
use crate::wire::registry::EapType;

/// What we have to prove ourselves with in TLS: our certificate, those above it, and its key.
pub struct OwnCertificate(Arc<CertifiedKey>);

impl OwnCertificate {
    /// Our certificate first; the key is its.
    #[must_use]
    pub fn new<'a>(chain: impl IntoIterator<Item = &'a Certificate>, key: Arc<PrivateKey>) -> Self {
        let chain = chain.into_iter().map(|certificate| certificate.der().to_vec().into()).collect();
        Self(Arc::new(CertifiedKey::new(chain, Arc::new(Key(key)))))
    }
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnCertificate({} certificates)", self.0.cert.len())
    }
}

/// A key of ours, as rustls wants it.
#[derive(Debug)]
struct Key(Arc<PrivateKey>);

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[rustls::SignatureScheme]) -> Option<Box<dyn Signer>> {
        let (scheme, ours) = schemes::of_ours(self.0.key_type(), offered)?;
        Some(Box::new(KeySigner { key: Arc::clone(&self.0), scheme, ours }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.key_type() {
            KeyType::Rsa => SignatureAlgorithm::RSA,
            KeyType::Ecdsa(_) => SignatureAlgorithm::ECDSA,
            KeyType::Ed25519 => SignatureAlgorithm::ED25519,
        }
    }
}

#[derive(Debug)]
struct KeySigner {
    key: Arc<PrivateKey>,
    scheme: rustls::SignatureScheme,
    ours: SignatureScheme,
}

impl Signer for KeySigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.key.sign(self.ours, message).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> rustls::SignatureScheme {
        self.scheme
    }
}

/// One end of a session.
pub(in crate::eap) struct Session {
    connection: Connection,
    /// Whoever checks the peer, unless nobody does.
    verifier: Option<Arc<Verifier>>,
}

impl Session {
    /// A client, with a certificate if it has one and the server wants it; the server must be `server`.
    pub(in crate::eap) fn client(
        tls: &Tls,
        own: Option<&OwnCertificate>,
        server: &Identity,
    ) -> Result<Self, String> {
        let provider = Arc::new(default_provider());
        let verifier = Arc::new(Verifier::new(server.clone(), &[]));
        let config = ClientConfig::builder_with_details(provider, Arc::new(NoTime))
            .with_protocol_versions(&versions(&tls.settings))
            .map_err(|error| error.to_string())?
            .dangerous() // as judging is left to us
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match own {
            Some(own) => {
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&own.0))))
            }
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        // The server has no name that DNS knows: an address is never said (RFC 6066 §3).
        config.enable_sni = false;
        let nobody = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
        let connection =
            ClientConnection::new(Arc::new(config), nobody).map_err(|error| error.to_string())?;
        Ok(Self { connection: connection.into(), verifier: Some(verifier) })
    }

    /// A server, to whom the client must prove by a certificate that it is `client`, if that is given.
    pub(in crate::eap) fn server(
        tls: &Tls,
        own: &OwnCertificate,
        client: Option<&Identity>,
    ) -> Result<Self, String> {
        let provider = Arc::new(default_provider());
        let named = if tls.settings.send_authorities { tls.authorities.as_slice() } else { &[] };
        let verifier = client.map(|client| Arc::new(Verifier::new(client.clone(), named)));
        let config = ServerConfig::builder_with_details(provider, Arc::new(NoTime))
            .with_protocol_versions(&versions(&tls.settings))
            .map_err(|error| error.to_string())?;
        let config = match &verifier {
            Some(verifier) => config.with_client_cert_verifier(verifier.clone()),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&own.0))));
        // RFC 9190 §2.1.2: tickets are the server's choice, and each conversation here proves all anew.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let connection = ServerConnection::new(Arc::new(config)).map_err(|error| error.to_string())?;
        Ok(Self { connection: connection.into(), verifier })
    }

    /// Takes a flight of the peer, and gives what it protected.
    ///
    /// # Errors
    /// If the session is over; there may be an alert to send.
    pub(in crate::eap) fn take(&mut self, mut flight: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut plaintext = Zeroizing::new(Vec::new());
        while !flight.is_empty() {
            let taken = self.connection.read_tls(&mut flight).map_err(|error| error.to_string())?;
            let state = self.connection.process_new_packets().map_err(|error| self.words(&error))?;
            // A flight is far shorter than what would be too much to read: fragments see to it.
            let mut part = Zeroizing::new(vec![0; state.plaintext_bytes_to_read()]);
            self.connection.reader().read_exact(&mut part).map_err(|error| error.to_string())?;
            plaintext.extend_from_slice(&part);
            if taken == 0 || state.peer_has_closed() {
                break; // RFC 8446 §6.1: what follows close_notify does not count
            }
        }
        Ok(plaintext)
    }

    fn words(&self, error: &rustls::Error) -> String {
        let reason = self.verifier.as_ref().and_then(|verifier| verifier.reason());
        match (error, reason) {
            (rustls::Error::InvalidCertificate(_), Some(reason)) => reason,
            (rustls::Error::AlertReceived(alert), _) => format!("the peer sends the TLS alert {alert:?}"),
            (error, _) => format!("TLS: {error}"),
        }
    }

    /// What the peer has shown of itself, once, after the handshake.
    pub(in crate::eap) fn take_peer(&mut self) -> Option<PeerChain> {
        if self.is_handshaking() {
            return None;
        }
        self.verifier.as_ref().and_then(|verifier| verifier.take_shown())
    }

    /// Protects octets, to be sent with the next flight.
    pub(in crate::eap) fn protect(&mut self, plaintext: &[u8]) -> Result<(), String> {
        self.connection.writer().write_all(plaintext).map_err(|error| error.to_string())
    }

    /// What is to be sent: a flight, or nothing.
    pub(in crate::eap) fn flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.connection.wants_write() {
            if !self.connection.write_tls(&mut flight).is_ok_and(|written| written > 0) {
                break; // memory takes all there is
            }
        }
        flight
    }

    /// True until both ends have proven themselves.
    pub(in crate::eap) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(in crate::eap) fn is_tls_1_3(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// What was negotiated, for the log.
    pub(in crate::eap) fn outline(&self) -> String {
        let suite = self.connection.negotiated_cipher_suite().map(|suite| suite.suite());
        match (self.connection.protocol_version(), suite) {
            (Some(version), Some(suite)) => format!("{version:?} using suite {suite:?}"),
            _ => "no TLS".into(),
        }
    }

    /// The MSK of a method (RFC 5216 §2.3, RFC 5281 §8, RFC 9190 §2.3, RFC 9427 §2.1).
    pub(in crate::eap) fn msk(&self, method: EapType) -> Result<Secret, String> {
        // MSK and EMSK: RFC 9190 §2.3 has the length go into the key, so that both are asked for.
        let mut material = Zeroizing::new([0; 128]);
        let (label, context): (&[u8], Option<&[u8]>) = match method {
            _ if self.is_tls_1_3() => (b"EXPORTER_EAP_TLS_Key_Material", Some(&[method.0])),
            EapType::TTLS => (b"ttls keying material", None),
            _ => (b"client EAP encryption", None),
        };
        let result = self.connection.export_keying_material(&mut material[..], label, context);
        result.map_err(|error| error.to_string())?;
        Ok(Secret::new(material.iter().take(64).copied().collect()))
    }
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::V1_2, &version::TLS12), (TlsVersion::V1_3, &version::TLS13)];
    let has = |version| settings.min <= version && version <= settings.max;
    all.into_iter().filter(|(version, _)| has(*version)).map(|(_, version)| version).collect()
}

/// Nothing here asks for the time: whether certificates are valid is judged outside, and there are no tickets.
#[derive(Debug)]
struct NoTime;

impl TimeProvider for NoTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::ZERO))
    }
}
