//! CERT and CERTREQ in IKE_AUTH, and what becomes of them (RFC 7296 §3.6, §3.7; RFC 4945 §3.3; RFC 7670 for raw public
//! keys; RFC 4806 for OCSP responses).

use tracing::{debug, info};

use super::allows_signature;
use crate::auth::signature;
use crate::config::{Connection, RemoteAuth, SendCert};
use crate::context::Cx;
use crate::crypto::signature::{KeyId, PublicKey, SignatureScheme};
use crate::identity::Identity;
use crate::output::{IkeSaId, Path};
use crate::pki::{Certificate, MAX_OCSP_RESPONSE};
use crate::wire::auth::Auth;
use crate::wire::registry::CertEncoding;
use crate::wire::{PayloadWriter, Payloads};

/// The most authorities of a peer that are looked at.
const MOST_AUTHORITIES: usize = 256;

/// The most certificates of a peer that are looked at: far more than any chain has.
const MOST_CERTIFICATES: usize = 32;

/// The most OCSP responses of a peer that are looked at: one about each certificate of a chain.
const MOST_RESPONSES: usize = 8;

/// What a peer asks to see of us, by its CERTREQs.
#[derive(Default)]
pub(in crate::sa) struct Asked {
    /// Certificates of these authorities, by the hashes of their keys; `None` if no certificate is asked for.
    pub(super) authorities: Option<Vec<KeyId>>,
    /// A raw public key (RFC 7670 §3).
    pub(super) raw_keys: bool,
    /// What OCSP says of our certificates (RFC 4806 §3.1). Which responders it trusts is not looked at: it will see whose
    /// words we have.
    pub(super) ocsp: bool,
}

impl Asked {
    pub(in crate::sa) fn of(payloads: &Payloads<'_>) -> Self {
        let of = |encoding| payloads.cert_reqs().filter(move |request| request.encoding == encoding);
        let certificates = || of(CertEncoding::X509_SIGNATURE);
        let authorities = certificates().flat_map(|request| request.hashes().copied());
        Self {
            authorities: certificates().next().map(|_| authorities.take(MOST_AUTHORITIES).collect()),
            raw_keys: of(CertEncoding::RAW_PUBLIC_KEY).next().is_some(),
            ocsp: of(CertEncoding::OCSP_CONTENT).next().is_some(),
        }
    }
}

/// Asks for certificates of the authorities that `connection` trusts, or for a raw public key.
pub(super) fn ask(payloads: &mut PayloadWriter, connection: &Connection, cx: &Cx<'_>) {
    write_requests(payloads, std::iter::once(connection), cx);
}

/// The same, before it is known who the peer is: for all connections it may be.
pub(in crate::sa) fn ask_as_responder(payloads: &mut PayloadWriter, path: Path, cx: &Cx<'_>) {
    let connections = cx.configuration.connections.iter().map(std::sync::Arc::as_ref);
    let may_be = |connection: &&Connection| connection.matches(path.local.ip(), path.remote.ip()).is_some();
    write_requests(payloads, connections.filter(may_be), cx);
}

/// The rounds in which a peer may prove itself by signature.
fn signing(connection: &Connection) -> impl Iterator<Item = &RemoteAuth> {
    connection.remote.iter().filter(|remote| allows_signature(remote.class))
}

/// The keys of the authorities that a connection trusts: its own, or all.
fn trusted(connection: &Connection, cx: &Cx<'_>) -> Vec<KeyId> {
    let of_round = |remote: &RemoteAuth| -> Vec<KeyId> {
        match remote.trust.authorities.as_slice() {
            [] => cx.configuration.trust.authorities().map(|authority| *authority.key_hash()).collect(),
            own => own.iter().map(|authority| *authority.key_hash()).collect(),
        }
    };
    signing(connection).filter(|remote| remote.takes_certificates()).flat_map(of_round).collect()
}

fn write_requests<'a>(
    payloads: &mut PayloadWriter,
    connections: impl Iterator<Item = &'a Connection>,
    cx: &Cx<'_>,
) {
    let (mut authorities, mut raw_keys, mut ocsp) = (Vec::new(), false, false);
    for connection in connections {
        // Whoever has the certificate already may still want to know whether it is good.
        ocsp |= connection.ocsp.requests() && signing(connection).any(RemoteAuth::takes_certificates);
        if !connection.send_certreq {
            continue;
        }
        authorities.extend(trusted(connection, cx));
        raw_keys |= signing(connection).any(|remote| !remote.public_keys.is_empty());
    }
    let mut seen = std::collections::HashSet::new();
    authorities.retain(|authority| seen.insert(*authority));
    if !authorities.is_empty() {
        payloads.cert_req(CertEncoding::X509_SIGNATURE, &authorities.concat());
    }
    if raw_keys {
        payloads.cert_req(CertEncoding::RAW_PUBLIC_KEY, &[]); // RFC 7670 §3: without an authority
    }
    if ocsp {
        // RFC 4806 §3.1: without hashes, as we take the word of issuers and of whom they have delegated it to, alone.
        payloads.cert_req(CertEncoding::OCSP_CONTENT, &[]);
    }
}

/// The data of a CERT payload, and what it is.
pub(super) struct Sent {
    pub(super) encoding: CertEncoding,
    pub(super) data: Vec<u8>,
}

/// Whether a connection shows what it has, where it is asked for that or not.
const fn is_sent(connection: &Connection, is_asked: bool) -> bool {
    match connection.send_cert {
        SendCert::Always => true,
        SendCert::IfAsked => is_asked,
        SendCert::Never => false,
    }
}

/// The raw public key that goes before our AUTH, if it does.
pub(super) fn raw_key_to_send(key: &PublicKey, connection: &Connection, asked: &Asked) -> Vec<Sent> {
    if !is_sent(connection, asked.raw_keys) {
        return vec![];
    }
    info!(target: "ike", "sending raw public key {key}");
    vec![Sent { encoding: CertEncoding::RAW_PUBLIC_KEY, data: key.spki_der().to_vec() }]
}

/// The certificates that go before our AUTH: ours, and those that lead to an authority. What OCSP says of them follows,
/// if it is asked for and here.
pub(super) fn to_send(
    certificate: &Certificate,
    connection: &Connection,
    asked: &Asked,
    cx: &Cx<'_>,
) -> Vec<Sent> {
    let above = cx.configuration.authorities_above(certificate, false);
    let all = || std::iter::once(certificate).chain(&above);
    let mut sent = Vec::new();
    if is_sent(connection, asked.authorities.is_some()) {
        info!(target: "ike", "sending end entity cert \"{certificate}\"");
        for issuer in &above {
            info!(target: "ike", "sending issuer cert \"{issuer}\"");
        }
        let encoding = CertEncoding::X509_SIGNATURE;
        sent.extend(all().map(|certificate| Sent { encoding, data: certificate.der().to_vec() }));
    }
    if asked.ocsp && connection.ocsp.replies() {
        // RFC 4806 §4.2: each in a payload of its own. They say themselves which certificate they are about.
        for response in all().filter_map(|certificate| cx.configuration.ocsp_response(certificate)) {
            info!(target: "ike", "sending OCSP response about \"{}\"", response.certificate);
            sent.push(Sent { encoding: CertEncoding::OCSP_CONTENT, data: response.der.clone() });
        }
    }
    sent
}

/// What a peer has proven by its signature.
pub(super) enum Claim {
    /// That it has the key of a certificate which carries its identity.
    Certified(Box<Certified>),
    /// That it has the raw public key which the configuration says is its own: nobody else need vouch for it.
    Known(SignatureScheme),
}

/// A certificate that somebody has to vouch for.
pub(super) struct Certified {
    certificate: Certificate,
    /// Further certificates that came with it.
    sent: Vec<Certificate>,
    /// OCSP responses that came with it.
    responses: Vec<Vec<u8>>,
    pub(super) scheme: SignatureScheme,
}

impl Claim {
    /// Checks the signature of a peer that says it is `id`, which it made over `octets`. Whether anybody vouches for its
    /// certificate is still to be found out. The sentence says what is wrong.
    pub(super) fn check(
        payloads: &Payloads<'_>,
        auth: &Auth<'_>,
        id: &Identity,
        remote: &RemoteAuth,
        octets: &[u8],
        cx: &Cx<'_>,
    ) -> Result<Self, String> {
        let raw_key = match remote.public_keys.as_slice() {
            [] => None,
            keys => Some(with_raw_key(keys, payloads, auth, id, remote, octets)),
        };
        match raw_key {
            Some(Ok(scheme)) => return Ok(Self::Known(scheme)),
            Some(Err(why)) if !remote.takes_certificates() => return Err(why),
            _ => {}
        }
        let mut came = payloads.certs().filter(|cert| cert.encoding == CertEncoding::X509_SIGNATURE);
        // RFC 7296 §3.6: the sender's own comes first.
        let (candidates, sent) = match came.next() {
            Some(own) => {
                let own = Certificate::from_der(own.data).map_err(|error| {
                    format!("the certificate that '{id}' has sent cannot be used: {error}")
                })?;
                info!(target: "ike", "received end entity cert \"{own}\"");
                (vec![own], further(came.map(|cert| cert.data)))
            }
            None => (known(id, remote, cx), vec![]),
        };
        let mut problem = format!("no trusted certificate of '{id}' is here, and it has sent none");
        for certificate in candidates {
            match Self::prove(&certificate, auth, id, remote, octets) {
                Ok(scheme) => {
                    let responses = responses(payloads);
                    return Ok(Self::Certified(Box::new(Certified { certificate, sent, responses, scheme })));
                }
                Err(why) => problem = why,
            }
        }
        Err(problem)
    }

    fn prove(
        certificate: &Certificate,
        auth: &Auth<'_>,
        id: &Identity,
        remote: &RemoteAuth,
        octets: &[u8],
    ) -> Result<SignatureScheme, String> {
        // RFC 4945 §3.1: the identity is one of the certificate's. What else it says is nobody's claim.
        if !certificate.carries(id) {
            return Err(format!("the certificate \"{certificate}\" is not for '{id}'"));
        }
        let key = PublicKey::from_spki_der(certificate.public_key_info()).map_err(|error| {
            format!("the key of the certificate \"{certificate}\" cannot be used: {error}")
        })?;
        signature::verify(&key, &remote.rules, auth.method, auth.data, octets).map_err(|why| {
            format!("the signature of '{id}' with the certificate \"{certificate}\" does not count: {why}")
        })
    }
}

/// Who asks about a certificate.
pub(super) struct Asker<'a> {
    pub(super) ike_sa: IkeSaId,
    pub(super) connection: &'a std::sync::Arc<Connection>,
    /// The peer's round of authentication, counted from zero.
    pub(super) round: usize,
    pub(super) id: &'a Identity,
}

impl Asker<'_> {
    /// Asks whether anybody vouches for a certificate.
    pub(super) fn ask(self, claim: Certified, cx: &mut Cx<'_>) -> crate::output::ActionId {
        // What was not asked for does not stand in for what a responder says now.
        let is_asked = self.connection.ocsp.requests();
        let check = crate::output::CertificateCheck {
            ike_sa: self.ike_sa,
            connection: self.connection.clone(),
            round: self.round,
            id: self.id.clone(),
            certificate: claim.certificate,
            sent: claim.sent,
            responses: if is_asked { claim.responses } else { vec![] },
            trust: cx.configuration.trust.clone(),
        };
        cx.ask(self.ike_sa, crate::output::Action::VerifyCertificate(Box::new(check)))
    }
}

/// Checks the signature of a peer with the raw public keys that are its own. One that it has sent is only a hint which of
/// them it is.
fn with_raw_key(
    keys: &[PublicKey],
    payloads: &Payloads<'_>,
    auth: &Auth<'_>,
    id: &Identity,
    remote: &RemoteAuth,
    octets: &[u8],
) -> Result<SignatureScheme, String> {
    let mut came = payloads.certs().filter(|cert| cert.encoding == CertEncoding::RAW_PUBLIC_KEY);
    let sent = came.next().map(|cert| PublicKey::from_spki_der(cert.data));
    let sent = sent
        .transpose()
        .map_err(|error| format!("the raw public key that '{id}' has sent cannot be used: {error}"))?;
    if let Some(key) = &sent {
        info!(target: "ike", "received raw public key {key}");
        if !keys.contains(key) {
            return Err(format!(
                "the raw public key {key} that '{id}' has sent is none of those it may have"
            ));
        }
    }
    let mut problem = format!("no raw public key of '{id}' is here");
    for key in keys.iter().filter(|key| sent.as_ref().is_none_or(|sent| sent == *key)) {
        match signature::verify(key, &remote.rules, auth.method, auth.data, octets) {
            Ok(scheme) => return Ok(scheme),
            Err(why) => {
                problem =
                    format!("the signature of '{id}' with the raw public key {key} does not count: {why}");
            }
        }
    }
    Err(problem)
}

/// Certificates that came beside the peer's own. Those that cannot be read lead nowhere.
fn further<'a>(sent: impl Iterator<Item = &'a [u8]>) -> Vec<Certificate> {
    let read = |data: &'a [u8]| match Certificate::from_der(data) {
        Ok(certificate) => {
            info!(target: "ike", "received issuer cert \"{certificate}\"");
            Some(certificate)
        }
        Err(error) => {
            debug!(target: "ike", "ignoring a certificate that the peer has sent: {error}");
            None
        }
    };
    sent.take(MOST_CERTIFICATES).filter_map(read).collect()
}

/// What OCSP says of a peer's certificates, as far as it has sent that.
fn responses(payloads: &Payloads<'_>) -> Vec<Vec<u8>> {
    let came = payloads.certs().filter(|cert| cert.encoding == CertEncoding::OCSP_CONTENT);
    let read = came.filter(|cert| cert.data.len() <= MAX_OCSP_RESPONSE).take(MOST_RESPONSES);
    let responses: Vec<_> = read.map(|cert| cert.data.to_vec()).collect();
    if !responses.is_empty() {
        info!(target: "ike", "received {} OCSP responses with the certificate", responses.len());
    }
    responses
}

/// Certificates of a peer that are here already.
fn known(id: &Identity, remote: &RemoteAuth, cx: &Cx<'_>) -> Vec<Certificate> {
    let loaded = cx.configuration.trust.end_entities().iter();
    let configured = remote.trust.certificates.iter();
    configured
        .chain(loaded)
        .filter(|certificate| certificate.carries(id))
        .take(MOST_CERTIFICATES)
        .cloned()
        .collect()
}
