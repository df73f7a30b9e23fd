//! CERT and CERTREQ in IKE_AUTH, and what becomes of them (RFC 7296 §3.6, §3.7; RFC 4945 §3.3).

use tracing::{debug, info};

use super::allows_signature;
use crate::auth::signature;
use crate::config::{Connection, RemoteAuth, SendCert};
use crate::context::Cx;
use crate::crypto::signature::{KeyId, PublicKey, SignatureScheme};
use crate::identity::Identity;
use crate::output::{IkeSaId, Path};
use crate::pki::Certificate;
use crate::wire::auth::Auth;
use crate::wire::registry::CertEncoding;
use crate::wire::{PayloadWriter, Payloads};

/// The most authorities of a peer that are looked at.
const MOST_AUTHORITIES: usize = 256;

/// The most certificates of a peer that are looked at: far more than any chain has.
const MOST_CERTIFICATES: usize = 32;

/// The authorities whose certificates are asked for, by the hashes of their keys; `None` if none is asked for.
pub(in crate::sa) fn asked(payloads: &Payloads<'_>) -> Option<Vec<KeyId>> {
    let mut requests =
        payloads.cert_reqs().filter(|request| request.encoding == CertEncoding::X509_SIGNATURE).peekable();
    requests.peek()?;
    Some(requests.flat_map(|request| request.hashes().copied()).take(MOST_AUTHORITIES).collect())
}

/// Whether a connection wants the certificate of a peer.
fn wants(connection: &Connection) -> bool {
    connection.send_certreq && signing(connection).next().is_some()
}

/// Asks for certificates of the authorities that `connection` trusts.
pub(super) fn ask(payloads: &mut PayloadWriter, connection: &Connection, cx: &Cx<'_>) {
    if wants(connection) {
        write_request(payloads, trusted(connection, cx));
    }
}

/// The same, before it is known who the peer is: for all connections it may be.
pub(in crate::sa) fn ask_as_responder(payloads: &mut PayloadWriter, path: Path, cx: &Cx<'_>) {
    let mut authorities = Vec::new();
    for connection in &cx.configuration.connections {
        if connection.matches(path.local.ip(), path.remote.ip()).is_some() && wants(connection) {
            authorities.extend(trusted(connection, cx));
        }
    }
    write_request(payloads, authorities);
}

/// The rounds in which a peer may prove itself by certificate.
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
    signing(connection).flat_map(of_round).collect()
}

fn write_request(payloads: &mut PayloadWriter, mut authorities: Vec<KeyId>) {
    let mut seen = std::collections::HashSet::new();
    authorities.retain(|authority| seen.insert(*authority));
    if !authorities.is_empty() {
        payloads.cert_req(CertEncoding::X509_SIGNATURE, &authorities.concat());
    }
}

/// The certificates that go before our AUTH: ours, and those that lead to an authority.
pub(super) fn to_send(
    certificate: &Certificate,
    connection: &Connection,
    asked: Option<&[KeyId]>,
    cx: &Cx<'_>,
) -> Vec<Certificate> {
    let are_sent = match connection.send_cert {
        SendCert::Always => true,
        SendCert::IfAsked => asked.is_some(),
        SendCert::Never => false,
    };
    if !are_sent {
        return vec![];
    }
    let above = cx.configuration.authorities_above(certificate, false);
    info!(target: "ike", "sending end entity cert \"{certificate}\"");
    for issuer in &above {
        info!(target: "ike", "sending issuer cert \"{issuer}\"");
    }
    std::iter::once(certificate.clone()).chain(above).collect()
}

/// What a peer has proven: that it has the key of this certificate, which carries its identity.
pub(super) struct Claim {
    pub(super) certificate: Certificate,
    /// Further certificates that it has sent.
    pub(super) sent: Vec<Certificate>,
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
                Ok(scheme) => return Ok(Self { certificate, sent, scheme }),
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
    /// Asks whether anybody vouches for the certificate of a claim.
    pub(super) fn ask(self, claim: Claim, cx: &mut Cx<'_>) -> crate::output::ActionId {
        let check = crate::output::CertificateCheck {
            ike_sa: self.ike_sa,
            connection: self.connection.clone(),
            round: self.round,
            id: self.id.clone(),
            certificate: claim.certificate,
            sent: claim.sent,
            trust: cx.configuration.trust.clone(),
        };
        cx.ask(self.ike_sa, crate::output::Action::VerifyCertificate(Box::new(check)))
    }
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
