//! Chains: from a peer's certificate through intermediates to a trust anchor (RFC 5280 §6.1).
//!
//! The peer sends what it likes, in whatever order; so the search for a chain is bounded in length and in the number of
//! signatures it verifies, and every way it finds is held to all rules, until one stands.

use std::fmt;
use std::time::SystemTime;

use super::Certificate;
use super::name_constraints::NameConstraints;
use super::oid::Oid;
use super::policy::Policies;
use super::refusal::{Fault, Refusal};
use crate::crypto::signature::{Hash, KeyType, RSA_BITS, SignatureScheme};
use crate::identity::Identity;

/// The longest chain, from the peer's certificate to the trust anchor.
const MAX_LENGTH: usize = 10;

/// The most certificates of a peer that are looked at beside its own.
const MAX_SENT: usize = 30;

/// The most signatures that are verified to find one chain.
const MAX_SIGNATURES: usize = 60;

/// The certificates that are trusted because somebody has loaded them.
///
/// A self-signed authority is a trust anchor; other authorities may stand in chains to one, as those that peers send
/// may. A certificate that is no authority's is believed as it is.
#[derive(Clone, Default)]
pub struct TrustStore {
    anchors: Vec<Certificate>,
    intermediates: Vec<Certificate>,
    end_entities: Vec<Certificate>,
}

/// What a connection asks of a chain, beside that it is valid.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Constraints {
    /// If there are any, the peer's certificate is one of these (`certs`).
    pub certificates: Vec<Certificate>,
    /// If there are any, one of these is in the chain (`cacerts`).
    pub authorities: Vec<Certificate>,
    /// One of the authorities has this identity (`ca_id`).
    pub authority_id: Option<Identity>,
    /// The chain is valid under each of these policies (`cert_policy`).
    pub policies: Vec<Oid>,
    /// If there are any, all signatures are made with one of these (hashes in `auth`). Without, all but SHA-1.
    pub schemes: Vec<SignatureScheme>,
    /// The least bits of RSA keys (`rsa-3072`).
    pub rsa_bits: Option<u32>,
    /// The least bits of ECDSA keys (`ecdsa-384`).
    pub ecdsa_bits: Option<u32>,
    /// What has to be known of revocation.
    pub revocation: Revocation,
}

/// What has to be known of whether a certificate is revoked (`revocation`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// A certificate that is known to be revoked is refused.
    #[default]
    Relaxed,
    /// If it says where that can be learnt, it has to be known to be good.
    IfUri,
    /// It has to be known to be good.
    Strict,
}

/// A chain that stands: the peer's certificate, intermediate authorities, the trust anchor.
///
/// It may be the peer's certificate alone, if that one is trusted itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain(Vec<Certificate>);

impl TrustStore {
    /// A store of these certificates.
    pub fn new(certificates: impl IntoIterator<Item = Certificate>) -> Self {
        let mut store = Self::default();
        for certificate in certificates {
            store.add(certificate);
        }
        store
    }

    /// Trusts another one.
    pub fn add(&mut self, certificate: Certificate) {
        let place = match certificate.basic_constraints().is_ca {
            true if certificate.is_self_issued() && certificate.names_as_issuer(&certificate) => {
                &mut self.anchors
            }
            true => &mut self.intermediates,
            false => &mut self.end_entities,
        };
        if !place.contains(&certificate) {
            place.push(certificate);
        }
    }

    /// The trust anchors.
    #[must_use]
    pub fn anchors(&self) -> &[Certificate] {
        &self.anchors
    }

    /// All authorities, the anchors first.
    pub fn authorities(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.iter().chain(&self.intermediates)
    }

    /// Certificates that are no authority's.
    #[must_use]
    pub fn end_entities(&self) -> &[Certificate] {
        &self.end_entities
    }

    /// Finds a chain from `certificate` to one of the trust anchors, through authorities that are loaded or were
    /// `sent`, that is valid at `now` and what the connection asks for. Revocation is not looked at.
    ///
    /// # Errors
    /// If there is none: what is wrong with the one that came furthest.
    pub fn chain(
        &self,
        certificate: &Certificate,
        sent: &[Certificate],
        constraints: &Constraints,
        now: SystemTime,
    ) -> Result<Chain, Refusal> {
        if !constraints.certificates.is_empty() && !constraints.certificates.contains(certificate) {
            return Err(Fault::OtherCertificate.of(certificate));
        }
        let mut search =
            Search { store: self, sent, constraints, now, signatures_left: MAX_SIGNATURES, best: None };
        if let Some(chain) = search.extend(&mut vec![certificate.clone()])? {
            return Ok(chain);
        }
        let is_trusted = [&self.end_entities, &self.anchors, &constraints.certificates]
            .into_iter()
            .any(|trusted| trusted.contains(certificate));
        match search.best {
            // Loaded as it is, it needs nobody to vouch for it; only a chain that there is has to stand.
            Some((_, Refusal { fault: Fault::NoIssuer(_) | Fault::UntrustedRoot, .. })) | None
                if is_trusted =>
            {
                alone(certificate, constraints, now).map(|()| Chain(vec![certificate.clone()]))
            }
            Some((_, refusal)) => Err(refusal),
            None => Err(Fault::NoIssuer(certificate.issuer().clone()).of(certificate)),
        }
    }
}

impl Chain {
    /// The peer's certificate.
    ///
    /// There is always one.
    #[must_use]
    pub fn end_entity(&self) -> Option<&Certificate> {
        self.0.first()
    }

    /// From the peer's certificate to the trust anchor.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// Each certificate but the trust anchor, with its issuer's.
    pub fn links(&self) -> impl Iterator<Item = (&Certificate, &Certificate)> {
        self.0.iter().zip(self.0.iter().skip(1))
    }
}

/// The subjects, from the peer to the trust anchor.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, certificate) in self.0.iter().enumerate() {
            write!(f, "{}\"{certificate}\"", if position == 0 { "" } else { " <- " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A search for a chain.
struct Search<'a> {
    store: &'a TrustStore,
    sent: &'a [Certificate],
    constraints: &'a Constraints,
    now: SystemTime,
    signatures_left: usize,
    /// How far the chain came that came furthest, and why no further.
    best: Option<(usize, Refusal)>,
}

impl Search<'_> {
    /// Extends `path` in all ways, the likeliest first, and returns the first that stands. The error ends the search.
    fn extend(&mut self, path: &mut Vec<Certificate>) -> Result<Option<Chain>, Refusal> {
        let Some(last) = path.last().cloned() else { return Ok(None) };
        let mut found = false;
        let known = self.store.anchors.iter().map(|anchor| (anchor, true));
        let others = self
            .store
            .intermediates
            .iter()
            .chain(self.sent.iter().take(MAX_SENT))
            .map(|other| (other, false));
        for (issuer, is_anchor) in known.chain(others) {
            if !last.names_as_issuer(issuer) || path.iter().any(|other| is_same_authority(other, issuer)) {
                continue;
            }
            if self.signatures_left == 0 {
                return Err(Fault::TooWide(MAX_SIGNATURES).of(path.first().unwrap_or(&last)));
            }
            self.signatures_left -= 1;
            found = true;
            if let Err(fault) = verify_signature(&last, issuer) {
                self.failed(path.len(), fault.of(&last));
                continue;
            }
            if path.len() >= MAX_LENGTH {
                self.failed(path.len(), Fault::TooLong(MAX_LENGTH).of(path.first().unwrap_or(&last)));
                continue;
            }
            path.push(issuer.clone());
            if is_anchor {
                match validate(path, self.constraints, self.now) {
                    Ok(()) => return Ok(Some(Chain(path.clone()))),
                    // A whole chain tells more than any that ends nowhere.
                    Err(refusal) => self.failed(MAX_LENGTH + path.len(), refusal),
                }
            } else if let Some(chain) = self.extend(path)? {
                return Ok(Some(chain));
            }
            path.pop();
        }
        if !found {
            let fault = match last.is_self_issued() {
                true => Fault::UntrustedRoot,
                false => Fault::NoIssuer(last.issuer().clone()),
            };
            self.failed(path.len(), fault.of(&last));
        }
        Ok(None)
    }

    fn failed(&mut self, reached: usize, refusal: Refusal) {
        if self.best.as_ref().is_none_or(|(best, _)| reached > *best) {
            self.best = Some((reached, refusal));
        }
    }
}

/// The same key under the same name: a second one in a chain would only make it longer.
fn is_same_authority(one: &Certificate, other: &Certificate) -> bool {
    one.public_key_info() == other.public_key_info() && one.subject().is_same(other.subject())
}

fn verify_signature(certificate: &Certificate, issuer: &Certificate) -> Result<(), Fault> {
    let scheme = SignatureScheme::from_der(certificate.signature_algorithm())
        .map_err(|error| Fault::scheme(issuer, &error))?;
    let key = issuer.public_key().map_err(Fault::key)?;
    key.verify(scheme, certificate.signed_octets(), certificate.signature())
        .map_err(|error| Fault::signature(issuer, &error))
}

/// Holds a path, whose signatures are verified, to all other rules. It goes from the peer's certificate to the anchor.
fn validate(path: &[Certificate], constraints: &Constraints, now: SystemTime) -> Result<(), Refusal> {
    let (Some((end_entity, authorities)), Some((_anchor, below))) = (path.split_first(), path.split_last())
    else {
        return Ok(());
    };
    for certificate in path.iter().rev() {
        certificate_itself(certificate, constraints, now).map_err(|fault| fault.of(certificate))?;
    }
    for certificate in below {
        signature_scheme(certificate, constraints).map_err(|fault| fault.of(certificate))?;
    }
    if end_entity.key_usage().is_some_and(|usage| !usage.signature) {
        return Err(Fault::KeyUsage.of(end_entity));
    }

    // Self-issued certificates do not count as intermediates (RFC 5280 §4.2.1.9).
    let mut intermediates = 0;
    for authority in authorities {
        authority_itself(authority, intermediates).map_err(|fault| fault.of(authority))?;
        intermediates += usize::from(!authority.is_self_issued());
    }

    let mut names = NameConstraints::new();
    for (position, authority) in path.iter().enumerate().skip(1) {
        for (depth, certificate) in path.iter().enumerate().take(position) {
            // RFC 5280 §4.2.1.10: not to self-issued certificates, unless it is the last.
            if depth == 0 || !certificate.is_self_issued() {
                names.apply(authority, certificate)?;
            }
        }
    }

    let mut policies = Policies::new(below.len());
    for (depth, certificate) in below.iter().enumerate().rev() {
        policies.descend(certificate, depth == 0)?;
    }
    if let Some(policy) = constraints.policies.iter().find(|policy| !policies.allows(**policy)) {
        return Err(Fault::Policy(*policy).of(end_entity));
    }

    let is_one_of_ours = |authority: &Certificate| constraints.authorities.contains(authority);
    if !constraints.authorities.is_empty() && !authorities.iter().any(is_one_of_ours) {
        return Err(Fault::OtherAuthority.of(end_entity));
    }
    if let Some(id) = &constraints.authority_id
        && !id.is_any()
        && !authorities.iter().any(|authority| authority.carries(id))
    {
        return Err(Fault::AuthorityId(id.clone()).of(end_entity));
    }
    Ok(())
}

/// A certificate that is trusted by itself: only what it says of itself counts.
fn alone(certificate: &Certificate, constraints: &Constraints, now: SystemTime) -> Result<(), Refusal> {
    certificate_itself(certificate, constraints, now).map_err(|fault| fault.of(certificate))?;
    if certificate.key_usage().is_some_and(|usage| !usage.signature) {
        return Err(Fault::KeyUsage.of(certificate));
    }
    if !constraints.authorities.is_empty() && !constraints.authorities.contains(certificate) {
        return Err(Fault::OtherAuthority.of(certificate));
    }
    if let Some(id) = constraints.authority_id.as_ref().filter(|id| !id.is_any() && !certificate.carries(id))
    {
        return Err(Fault::AuthorityId(id.clone()).of(certificate));
    }
    let missing = constraints.policies.iter().find(|policy| !certificate.policies().contains(policy));
    missing.map_or(Ok(()), |policy| Err(Fault::Policy(*policy).of(certificate)))
}

/// What every certificate of a chain has to be.
fn certificate_itself(
    certificate: &Certificate,
    constraints: &Constraints,
    now: SystemTime,
) -> Result<(), Fault> {
    if now < certificate.not_before() {
        return Err(Fault::NotYetValid(certificate.not_before()));
    }
    if now > certificate.not_after() {
        return Err(Fault::Expired(certificate.not_after()));
    }
    if let Some(oid) = certificate.extensions().unknown_critical {
        return Err(Fault::CriticalExtension(oid));
    }
    let key = certificate.public_key().map_err(Fault::key)?;
    if key.key_type() == KeyType::Rsa && !RSA_BITS.contains(&key.bits()) {
        return Err(Fault::KeyLength(key.bits()));
    }
    let wanted = match key.key_type() {
        KeyType::Rsa => constraints.rsa_bits,
        KeyType::Ecdsa(_) => constraints.ecdsa_bits,
        KeyType::Ed25519 => None,
    };
    match wanted {
        Some(wanted) if key.bits() < wanted => Err(Fault::Weak { bits: key.bits(), wanted }),
        _ => Ok(()),
    }
}

fn signature_scheme(certificate: &Certificate, constraints: &Constraints) -> Result<(), Fault> {
    // It was verified with it, so it is known.
    let Ok(scheme) = SignatureScheme::from_der(certificate.signature_algorithm()) else { return Ok(()) };
    if constraints.schemes.contains(&scheme) {
        return Ok(());
    }
    match scheme {
        SignatureScheme::RsaPkcs1(Hash::Sha1)
        | SignatureScheme::RsaPss(Hash::Sha1)
        | SignatureScheme::Ecdsa(Hash::Sha1) => Err(Fault::Sha1),
        _ if constraints.schemes.is_empty() => Ok(()),
        _ => Err(Fault::Scheme(scheme.to_string())),
    }
}

/// What an authority has to be, with so many intermediates below it.
fn authority_itself(authority: &Certificate, intermediates: usize) -> Result<(), Fault> {
    let basic = authority.basic_constraints();
    if !basic.is_ca {
        return Err(Fault::NoAuthority);
    }
    if authority.key_usage().is_some_and(|usage| !usage.certificates) {
        return Err(Fault::CertificateSigning);
    }
    match basic.path_length {
        Some(allowed) if intermediates > usize::from(allowed) => {
            Err(Fault::PathLength { found: intermediates, allowed })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
