//! All that is loaded at one moment, and which secret or certificate of it an end proves itself with.

use std::sync::Arc;

use super::{Connection, LocalAuth};
use crate::crypto::Secret;
use crate::crypto::signature::{KeyId, PrivateKey, PublicKey};
use crate::eap::Passwords;
use crate::identity::Identity;
use crate::pki::{Certificate, TrustStore};

/// Connections, secrets, keys and certificates, as loaded at one moment.
#[derive(Default)]
pub struct Configuration {
    /// In load order, which breaks ties.
    pub connections: Vec<Arc<Connection>>,
    /// In load order; searched newest first.
    pub secrets: Vec<Arc<SharedSecret>>,
    /// Our private keys.
    pub private_keys: Vec<Arc<PrivateKey>>,
    /// Certificates that are trusted, and others that chains may need. Ours may be among them.
    pub trust: Arc<TrustStore>,
    /// What OCSP responders say of our certificates, as far as it counts now (RFC 4806).
    pub ocsp_responses: Vec<OwnResponse>,
}

/// An OCSP response about one of our certificates, or of an authority above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnResponse {
    /// Which it is about.
    pub certificate: Certificate,
    /// The OCSPResponse.
    pub der: Vec<u8>,
}

/// What a shared secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// Pre-shared keys of IKE (RFC 7296 §2.15).
    Ike,
    /// EAP passwords.
    Eap,
    /// NT hashes of EAP passwords.
    Ntlm,
    /// Post-quantum pre-shared keys (RFC 8784).
    Ppk,
}

/// A secret two parties share.
pub struct SharedSecret {
    /// Its name in the configuration, if it has one.
    pub id: Option<String>,
    /// What it is for.
    pub kind: SecretKind,
    /// Who may use it; nobody named means everybody.
    pub owners: Vec<Identity>,
    /// The octets.
    pub secret: Secret,
}

impl Configuration {
    /// The secret of `kind` that fits us and the peer best: by the peer's identity first, then by ours, the
    /// newest where that leaves a choice.
    #[must_use]
    pub fn shared_secret(
        &self,
        kind: SecretKind,
        ours: &Identity,
        peers: &Identity,
    ) -> Option<&SharedSecret> {
        let mut best: Option<((u8, u8), &SharedSecret)> = None;
        for secret in self.secrets.iter().rev().filter(|s| s.kind == kind) {
            let quality = |who: &Identity| match secret.owners.as_slice() {
                [] => 1, // as an owner of %any
                owners => owners.iter().filter_map(|owner| who.matches(owner)).max().unwrap_or(0),
            };
            let score = (quality(peers), quality(ours));
            if score != (0, 0) && best.is_none_or(|(so_far, _)| score > so_far) {
                best = Some((score, secret));
            }
        }
        best.map(|(_, secret)| secret)
    }
}

impl Configuration {
    /// The secret of `kind` that the client of an EAP conversation owns: the one that fits it best, then the server. A
    /// secret that fits the server alone is somebody else's.
    fn client_secret(&self, kind: SecretKind, client: &Identity, server: &Identity) -> Option<&Secret> {
        let quality = |secret: &SharedSecret, who: &Identity| match secret.owners.as_slice() {
            [] => Some(1), // as an owner of %any
            owners => owners.iter().filter_map(|owner| who.matches(owner)).max(),
        };
        self.secrets
            .iter() // max_by_key keeps the last of equals: the newest
            .filter(|secret| secret.kind == kind)
            .filter_map(|secret| Some(((quality(secret, client)?, quality(secret, server)), secret)))
            .max_by_key(|(quality, _)| *quality)
            .map(|(_, secret)| &secret.secret)
    }
}

impl Configuration {
    /// The private key of a certificate.
    #[must_use]
    pub fn private_key(&self, certificate: &Certificate) -> Option<&Arc<PrivateKey>> {
        self.private_keys.iter().find(|key| key.public().info_id() == *certificate.key_hash())
    }

    /// The raw public key that `auth` proves itself with, and its private key.
    #[must_use]
    pub fn raw_key<'a>(&'a self, auth: &'a LocalAuth) -> Option<(&'a PublicKey, &'a Arc<PrivateKey>)> {
        auth.public_keys.iter().find_map(|public| {
            let is_its = |key: &&Arc<PrivateKey>| key.public().info_id() == public.info_id();
            Some((public, self.private_keys.iter().find(is_its)?))
        })
    }

    /// The certificate that we prove `id` with as `auth` says, and its key: the first that an authority of `asked` has
    /// vouched for, or else the first. `asked` are hashes of authorities' keys (RFC 7296 §3.7).
    #[must_use]
    pub fn credential(
        &self,
        auth: &LocalAuth,
        id: &Identity,
        asked: &[KeyId],
    ) -> Option<(Certificate, Arc<PrivateKey>)> {
        let configured = auth.certificates.iter();
        let mut usable: Vec<_> = if auth.certificates.is_empty() && auth.public_keys.is_empty() {
            self.trust.end_entities().iter().filter(|certificate| certificate.carries(id)).collect()
        } else {
            configured.collect()
        };
        usable.retain(|certificate| self.private_key(certificate).is_some());
        let is_asked = |certificate: &&&Certificate| {
            std::iter::once((**certificate).clone())
                .chain(self.authorities_above(certificate, true))
                .any(|authority| asked.contains(authority.key_hash()))
        };
        let certificate = usable.iter().find(is_asked).or_else(|| usable.first())?;
        Some(((*certificate).clone(), self.private_key(certificate)?.clone()))
    }

    /// The authorities that stand above a certificate, from its issuer up; those that vouch for themselves only if they
    /// are wanted.
    #[must_use]
    pub fn authorities_above(&self, certificate: &Certificate, with_anchor: bool) -> Vec<Certificate> {
        const MOST: usize = 10; // no chain is longer
        let mut above = Vec::new();
        let mut last = certificate.clone();
        while above.len() < MOST && !last.is_self_issued() {
            let Some(issuer) = self.trust.authorities().find(|authority| last.names_as_issuer(authority))
            else {
                break;
            };
            if issuer.is_self_issued() && !with_anchor {
                break;
            }
            above.push(issuer.clone());
            last = issuer.clone();
        }
        above
    }
}

impl Configuration {
    /// The OCSP response about that certificate, if there is one.
    #[must_use]
    pub fn ocsp_response(&self, certificate: &Certificate) -> Option<&OwnResponse> {
        self.ocsp_responses.iter().find(|response| response.certificate == *certificate)
    }

    /// The certificates that peers may want to see OCSP responses about, each with its issuer's: ours and those above, if
    /// any connection shows them.
    #[must_use]
    pub fn shown_with_responses(&self) -> Vec<(Certificate, Certificate)> {
        let mut links: Vec<(Certificate, Certificate)> = Vec::new();
        if self.connections.iter().any(|connection| connection.ocsp.replies()) {
            let own = self.trust.end_entities().iter().filter(|own| self.private_key(own).is_some());
            for own in own {
                let above = self.authorities_above(own, true);
                let below = std::iter::once(own.clone()).chain(above.clone());
                for link in below.zip(above) {
                    if !links.contains(&link) {
                        links.push(link);
                    }
                }
            }
        }
        links
    }
}

impl Passwords for Configuration {
    fn password(&self, client: &Identity, server: &Identity) -> Option<&Secret> {
        self.client_secret(SecretKind::Eap, client, server)
    }

    fn nt_hash(&self, client: &Identity, server: &Identity) -> Option<&Secret> {
        self.client_secret(SecretKind::Ntlm, client, server)
    }
}
