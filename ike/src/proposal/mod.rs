//! Proposals and the transforms in them (RFC 7296 §3.3), and the choice between two offers.
//!
//! `text` reads what a configuration says with the words of `keywords`, `defaults` is what is offered when it
//! says nothing, and `select` holds the decisions: the responder's choice, the initiator's check of it, and
//! what to tell the operator when there was nothing to choose.

mod defaults;
mod keywords;
mod select;
mod text;

use std::fmt;

use crate::wire::registry::{EncrId, EsnId, IntegId, KeMethod, PrfId, ProtocolId, TransformType};

pub use defaults::{default_ah, default_esp, default_ike};
pub use select::{Difference, Mismatch, Prefer, SelectContext, explain, select};
pub use text::ProposalError;

/// Transform Types of the additional key exchanges (RFC 9370 §2.2.1), first and last.
const ADDITIONAL_KE: (u8, u8) = (6, 12);

/// One transform: an algorithm for one purpose (RFC 7296 §3.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Transform {
    /// What it is for.
    pub kind: TransformType,
    /// The algorithm, in the registry of its kind.
    pub id: u16,
    /// Key Length attribute in bits, where the algorithm has keys of several lengths.
    pub key_length: Option<u16>,
}

impl Transform {
    /// An encryption algorithm; `key_length` in bits, where it has keys of several lengths.
    #[must_use]
    pub const fn encr(id: EncrId, key_length: Option<u16>) -> Self {
        Self { kind: TransformType::ENCR, id: id.0, key_length }
    }

    /// A pseudorandom function.
    #[must_use]
    pub const fn prf(id: PrfId) -> Self {
        Self { kind: TransformType::PRF, id: id.0, key_length: None }
    }

    /// An integrity algorithm.
    #[must_use]
    pub const fn integ(id: IntegId) -> Self {
        Self { kind: TransformType::INTEG, id: id.0, key_length: None }
    }

    /// A key exchange method.
    #[must_use]
    pub const fn ke(method: KeMethod) -> Self {
        Self { kind: TransformType::KE, id: method.0, key_length: None }
    }

    /// Sequence numbers of 32 or of 64 bits.
    #[must_use]
    pub const fn esn(id: EsnId) -> Self {
        Self { kind: TransformType::ESN, id: id.0, key_length: None }
    }

    /// True for an ID from the range for private use, whose meaning depends on who the peer is.
    #[must_use]
    pub const fn is_private(self) -> bool {
        self.id >= 1024
    }

    /// True if it is for a key exchange, the first or an additional one.
    #[must_use]
    pub const fn is_ke(self) -> bool {
        is_ke(self.kind)
    }

    /// True for the ID that says the kind is not used: no key exchange, no integrity algorithm.
    const fn is_none(self) -> bool {
        self.id == 0 && (self.is_ke() || self.kind.0 == TransformType::INTEG.0)
    }

    /// True for a cipher that brings its own integrity.
    const fn is_aead(self) -> bool {
        self.kind.0 == TransformType::ENCR.0 && EncrId(self.id).is_aead()
    }
}

const fn is_ke(kind: TransformType) -> bool {
    kind.0 == TransformType::KE.0 || is_additional_ke(kind)
}

const fn is_additional_ke(kind: TransformType) -> bool {
    ADDITIONAL_KE.0 <= kind.0 && kind.0 <= ADDITIONAL_KE.1
}

/// The order in which kinds are written: as charon does.
const fn rank(kind: TransformType) -> u16 {
    match kind {
        TransformType::ENCR => 0,
        TransformType::INTEG => 1,
        TransformType::PRF => 2,
        TransformType::KE => 3,
        TransformType::ESN => 300,
        other => other.0 as u16 + 3,
    }
}

/// As charon shows it: `AES_GCM_16_256`, `PRF_HMAC_SHA2_256`, `KE1_ML_KEM_768`.
impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TransformType::ENCR => write!(f, "{}", EncrId(self.id))?,
            TransformType::PRF => write!(f, "{}", PrfId(self.id))?,
            TransformType::INTEG => write!(f, "{}", IntegId(self.id))?,
            TransformType::KE => write!(f, "{}", KeMethod(self.id))?,
            TransformType::ESN => write!(f, "{}", EsnId(self.id))?,
            kind if is_additional_ke(kind) => {
                write!(f, "KE{}_{}", kind.0 - (ADDITIONAL_KE.0 - 1), KeMethod(self.id))?;
            }
            kind => write!(f, "{kind}({})", self.id)?,
        }
        match self.key_length {
            Some(bits) => write!(f, "_{bits}"),
            None => Ok(()),
        }
    }
}

/// One proposal: the transforms that may be combined for one protocol (RFC 7296 §3.3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// Proposal Num, counted from one in an offer and repeated in the answer.
    pub number: u8,
    /// What the SA is for.
    pub protocol: ProtocolId,
    /// The sender's SPI: empty in IKE_SA_INIT, eight octets in an IKE rekey, four for ESP and AH.
    pub spi: Vec<u8>,
    /// In the order of preference, by kind.
    pub transforms: Vec<Transform>,
}

impl Proposal {
    /// A proposal without number and SPI yet; transforms are brought into the order of their kinds.
    fn new(protocol: ProtocolId, mut transforms: Vec<Transform>) -> Self {
        transforms.sort_by_key(|transform| rank(transform.kind));
        Self { number: 1, protocol, spi: Vec::new(), transforms }
    }

    /// The transforms of one kind, in order of preference.
    pub fn of(&self, kind: TransformType) -> impl Iterator<Item = Transform> + '_ {
        self.transforms.iter().copied().filter(move |transform| transform.kind == kind)
    }

    /// The encryption algorithm of a chosen proposal, with its key length in bits if that was negotiated.
    #[must_use]
    pub fn encr(&self) -> Option<(EncrId, Option<u16>)> {
        self.of(TransformType::ENCR).next().map(|transform| (EncrId(transform.id), transform.key_length))
    }

    /// The PRF of a chosen proposal.
    #[must_use]
    pub fn prf(&self) -> Option<PrfId> {
        self.of(TransformType::PRF).next().map(|transform| PrfId(transform.id))
    }

    /// The integrity algorithm of a chosen proposal; `None` with a combined-mode cipher.
    #[must_use]
    pub fn integ(&self) -> Option<IntegId> {
        self.of(TransformType::INTEG)
            .find(|transform| !transform.is_none())
            .map(|transform| IntegId(transform.id))
    }

    /// The key exchange method of a chosen proposal, or the preferred one of an offer; `None` if there is
    /// none.
    #[must_use]
    pub fn ke(&self) -> Option<KeMethod> {
        self.of(TransformType::KE)
            .find(|transform| !transform.is_none())
            .map(|transform| KeMethod(transform.id))
    }

    /// True if the sequence numbers of the chosen proposal have 64 bits.
    #[must_use]
    pub fn has_esn(&self) -> bool {
        self.of(TransformType::ESN).next().is_some_and(|transform| transform.id == EsnId::ESN.0)
    }

    /// The transforms that `supports` refuses. It is not asked about `NONE` and sequence numbers.
    #[must_use]
    pub fn unsupported(&self, supports: impl Fn(Transform) -> bool) -> Vec<Transform> {
        self.transforms.iter().copied().filter(|transform| !is_supported(*transform, &supports)).collect()
    }

    /// The proposal without the transforms that `supports` refuses; `None` if nothing is left of some kind.
    #[must_use]
    pub fn supported(&self, supports: impl Fn(Transform) -> bool) -> Option<Self> {
        let mut supported = self.clone();
        supported.transforms.retain(|transform| is_supported(*transform, &supports));
        self.transforms
            .iter()
            .all(|transform| supported.of(transform.kind).next().is_some())
            .then_some(supported)
    }

    /// The proposal without key exchange, as offered for the CHILD_SA of IKE_AUTH (RFC 7296 §1.2).
    #[must_use]
    pub fn without_ke(&self) -> Self {
        let mut proposal = self.clone();
        proposal.transforms.retain(|transform| !transform.is_ke());
        proposal
    }
}

fn is_supported(transform: Transform, supports: impl Fn(Transform) -> bool) -> bool {
    transform.is_none() || transform.kind == TransformType::ESN || supports(transform)
}

/// As charon shows it: `IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256`.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.protocol)?;
        write_list(f, &self.transforms, "/")
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display], separator: &str) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// Numbers the proposals of an offer from one (RFC 7296 §3.3.1). An offer has at most 255.
pub fn number(proposals: &mut [Proposal]) {
    for (proposal, number) in proposals.iter_mut().zip(1..=u8::MAX) {
        proposal.number = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(protocol: ProtocolId, text: &str) -> Proposal {
        Proposal::parse(protocol, text).unwrap().remove(0)
    }

    #[test]
    fn a_chosen_proposal_names_its_algorithms() {
        let ike = parse(ProtocolId::IKE, "aes256-sha384-ecp384");
        assert_eq!(ike.encr(), Some((EncrId::AES_CBC, Some(256))));
        assert_eq!(ike.integ(), Some(IntegId::HMAC_SHA2_384_192));
        assert_eq!(ike.prf(), Some(PrfId::HMAC_SHA2_384));
        assert_eq!(ike.ke(), Some(KeMethod::ECP_384));
        let esp = parse(ProtocolId::ESP, "chacha20poly1305-none-esn");
        assert_eq!(esp.encr(), Some((EncrId::CHACHA20_POLY1305, None)));
        assert_eq!((esp.integ(), esp.prf(), esp.ke()), (None, None, None));
        assert!(esp.has_esn() && !parse(ProtocolId::ESP, "aes128gcm16").has_esn());
    }

    #[test]
    fn proposals_are_shown_as_charon_does() {
        for (protocol, text, shown) in [
            (
                ProtocolId::IKE,
                "aes128-sha256-ecp256",
                "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256",
            ),
            (
                ProtocolId::IKE,
                "x25519-prfsha512-aes256gcm16",
                "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_512/CURVE_25519",
            ),
            (
                ProtocolId::IKE,
                "aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_none",
                "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519/KE1_ML_KEM_768/KE2_KE_NONE",
            ),
            (
                ProtocolId::ESP,
                "aes128-aes256-sha256-esn-noesn",
                "ESP:AES_CBC_128/AES_CBC_256/HMAC_SHA2_256_128/EXT_SEQ/NO_EXT_SEQ",
            ),
            (ProtocolId::ESP, "chacha20poly1305-modp2048", "ESP:CHACHA20_POLY1305/MODP_2048/NO_EXT_SEQ"),
        ] {
            assert_eq!(parse(protocol, text).to_string(), shown);
        }
        let unknown = Transform { kind: TransformType(13), id: 4, key_length: None };
        assert_eq!(unknown.to_string(), "(13)(4)");
    }

    #[test]
    fn what_we_do_not_support_can_be_told_and_left_out() {
        let has_no_camellia = |transform: Transform| transform.id != EncrId::CAMELLIA_CBC.0;
        let mixed = parse(ProtocolId::ESP, "camellia128-aes128-sha256-none");
        let camellia = Transform::encr(EncrId::CAMELLIA_CBC, Some(128));
        assert_eq!(mixed.unsupported(has_no_camellia), [camellia]);
        let left = parse(ProtocolId::ESP, "aes128-sha256-none");
        assert_eq!(mixed.supported(has_no_camellia), Some(left));
        assert_eq!(parse(ProtocolId::ESP, "camellia128-sha256").supported(has_no_camellia), None);
        // Nobody is asked about NONE and the length of sequence numbers.
        assert_eq!(parse(ProtocolId::ESP, "null-none").unsupported(|t| t.kind == TransformType::ENCR), []);
    }

    #[test]
    fn the_first_child_is_offered_without_key_exchange() {
        let with = parse(ProtocolId::ESP, "aes128gcm16-x25519-none-ke1_mlkem768");
        assert_eq!(with.without_ke(), parse(ProtocolId::ESP, "aes128gcm16"));
    }

    #[test]
    fn numbers_count_from_one() {
        let mut proposals = vec![parse(ProtocolId::ESP, "aes128gcm16"); 300];
        number(&mut proposals);
        assert_eq!((proposals[0].number, proposals[254].number), (1, 255));
    }
}
