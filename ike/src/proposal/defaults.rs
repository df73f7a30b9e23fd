//! What is offered and accepted when a configuration says nothing: strongSwan's default proposals.
//!
//! The order is that of strongSwan 5.9.8 as Debian builds it, so that a peer that has talked to charon is
//! offered the same. Weak algorithms are left to explicit configuration: key exchange below 112 bits of
//! security, HMAC-MD5.

use super::{Proposal, Transform, number};
use crate::wire::registry::{EncrId, EsnId, IntegId, KeMethod, PrfId, ProtocolId};

/// strongSwan's default for IKE, as far as `supports` allows: classic ciphers, then combined-mode ones.
/// Numbered.
#[must_use]
pub fn default_ike(supports: impl Fn(Transform) -> bool) -> Vec<Proposal> {
    supported(&ike(), supports)
}

/// strongSwan's default for ESP, as far as `supports` allows: combined-mode ciphers, then classic ones.
/// Numbered.
#[must_use]
pub fn default_esp(supports: impl Fn(Transform) -> bool) -> Vec<Proposal> {
    supported(&[esp_aead(), esp_classic()], supports)
}

/// strongSwan's default for AH, as far as `supports` allows. Numbered.
#[must_use]
pub fn default_ah(supports: impl Fn(Transform) -> bool) -> Vec<Proposal> {
    supported(&ah(), supports)
}

fn supported(proposals: &[Proposal], supports: impl Fn(Transform) -> bool) -> Vec<Proposal> {
    let mut supported: Vec<Proposal> =
        proposals.iter().filter_map(|proposal| proposal.supported(&supports)).collect();
    number(&mut supported);
    supported
}

/// Both proposals for IKE.
pub(super) fn ike() -> Vec<Proposal> {
    let classic = ciphers(&[EncrId::AES_CBC, EncrId::AES_CTR, EncrId::CAMELLIA_CBC, EncrId::CAMELLIA_CTR])
        .chain([Transform::encr(EncrId::DES3, None)]);
    let aead = ciphers(&[EncrId::AES_GCM_16, EncrId::AES_CCM_16, EncrId::CAMELLIA_CCM_16])
        .chain([Transform::encr(EncrId::CHACHA20_POLY1305, None)])
        .chain(ciphers(&[EncrId::AES_GCM_12, EncrId::AES_GCM_8, EncrId::AES_CCM_12, EncrId::AES_CCM_8]));
    let keys = || {
        let prfs = IKE_PRFS.iter().map(|prf| Transform::prf(*prf));
        prfs.chain(KE_METHODS.iter().map(|method| Transform::ke(*method)))
    };
    let integrity = IKE_INTEG.iter().map(|integ| Transform::integ(*integ));
    vec![
        Proposal::new(ProtocolId::IKE, classic.chain(integrity).chain(keys()).collect()),
        Proposal::new(ProtocolId::IKE, aead.chain(keys()).collect()),
    ]
}

/// Both proposals for ESP in the order the keyword `default` has, which is not that of the option left out.
pub(super) fn esp_by_keyword() -> Vec<Proposal> {
    vec![esp_classic(), esp_aead()]
}

/// The proposal for AH.
pub(super) fn ah() -> Vec<Proposal> {
    vec![Proposal::new(ProtocolId::AH, esp_integrity().chain([Transform::esn(EsnId::NONE)]).collect())]
}

fn esp_aead() -> Proposal {
    let transforms = ciphers(&[EncrId::AES_GCM_16]).chain([Transform::esn(EsnId::NONE)]);
    Proposal::new(ProtocolId::ESP, transforms.collect())
}

fn esp_classic() -> Proposal {
    let ciphers = ciphers(&[EncrId::AES_CBC]);
    let transforms = ciphers.chain(esp_integrity()).chain([Transform::esn(EsnId::NONE)]);
    Proposal::new(ProtocolId::ESP, transforms.collect())
}

fn esp_integrity() -> impl Iterator<Item = Transform> {
    ESP_INTEG.iter().map(|integ| Transform::integ(*integ))
}

/// Ciphers with keys of 128, 192 and 256 bits.
fn ciphers(ids: &[EncrId]) -> impl Iterator<Item = Transform> {
    ids.iter().flat_map(|id| [128, 192, 256].map(|bits| Transform::encr(*id, Some(bits))))
}

const IKE_INTEG: &[IntegId] = &[
    IntegId::HMAC_SHA2_256_128,
    IntegId::HMAC_SHA2_384_192,
    IntegId::HMAC_SHA2_512_256,
    IntegId::AES_XCBC_96,
    IntegId::AES_CMAC_96,
    IntegId::HMAC_SHA1_96,
];

const IKE_PRFS: &[PrfId] = &[
    PrfId::HMAC_SHA2_256,
    PrfId::HMAC_SHA2_384,
    PrfId::HMAC_SHA2_512,
    PrfId::AES128_XCBC,
    PrfId::AES128_CMAC,
    PrfId::HMAC_SHA1,
];

const KE_METHODS: &[KeMethod] = &[
    KeMethod::CURVE_25519,
    KeMethod::CURVE_448,
    KeMethod::ECP_256,
    KeMethod::ECP_384,
    KeMethod::ECP_521,
    KeMethod::ECP_256_BP,
    KeMethod::ECP_384_BP,
    KeMethod::ECP_512_BP,
    KeMethod::MODP_3072,
    KeMethod::MODP_4096,
    KeMethod::MODP_6144,
    KeMethod::MODP_8192,
    KeMethod::MODP_2048,
];

const ESP_INTEG: &[IntegId] = &[
    IntegId::HMAC_SHA2_256_128,
    IntegId::HMAC_SHA2_384_192,
    IntegId::HMAC_SHA2_512_256,
    IntegId::HMAC_SHA1_96,
    IntegId::AES_XCBC_96,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registry::TransformType;

    /// A provider with the suites of RFC 8247 and a few more.
    fn supports(transform: Transform) -> bool {
        match transform.kind {
            TransformType::ENCR => {
                matches!(
                    EncrId(transform.id),
                    EncrId::AES_CBC | EncrId::AES_GCM_16 | EncrId::CHACHA20_POLY1305
                )
            }
            TransformType::INTEG => {
                !matches!(IntegId(transform.id), IntegId::AES_XCBC_96 | IntegId::AES_CMAC_96)
            }
            TransformType::KE => matches!(transform.id, 31 | 19..=21 | 14..=16),
            _ => true,
        }
    }

    #[test]
    fn ike_is_offered_in_strongswans_order() {
        let shown: Vec<String> = default_ike(supports).iter().map(ToString::to_string).collect();
        let keys = "PRF_HMAC_SHA2_256/PRF_HMAC_SHA2_384/PRF_HMAC_SHA2_512/PRF_AES128_XCBC/PRF_AES128_CMAC/\
                    PRF_HMAC_SHA1/CURVE_25519/ECP_256/ECP_384/ECP_521/MODP_3072/MODP_4096/MODP_2048";
        assert_eq!(
            shown,
            [
                format!(
                    "IKE:AES_CBC_128/AES_CBC_192/AES_CBC_256/HMAC_SHA2_256_128/HMAC_SHA2_384_192/\
                     HMAC_SHA2_512_256/HMAC_SHA1_96/{keys}"
                ),
                format!("IKE:AES_GCM_16_128/AES_GCM_16_192/AES_GCM_16_256/CHACHA20_POLY1305/{keys}"),
            ]
        );
    }

    #[test]
    fn esp_is_offered_combined_mode_first() {
        let esp = default_esp(supports);
        assert_eq!(esp[0].to_string(), "ESP:AES_GCM_16_128/AES_GCM_16_192/AES_GCM_16_256/NO_EXT_SEQ");
        assert_eq!(
            esp[1].to_string(),
            "ESP:AES_CBC_128/AES_CBC_192/AES_CBC_256/HMAC_SHA2_256_128/HMAC_SHA2_384_192/HMAC_SHA2_512_256/\
             HMAC_SHA1_96/NO_EXT_SEQ"
        );
        assert_eq!(esp.iter().map(|proposal| proposal.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(default_ah(|_| true)[0].of(TransformType::INTEG).count(), 5);
    }

    #[test]
    fn a_proposal_of_which_too_little_is_left_is_not_offered() {
        let only_classic = |transform: Transform| !transform.is_aead() && supports(transform);
        let ike = default_ike(only_classic);
        assert_eq!((ike.len(), ike[0].number), (1, 1));
        assert_eq!(default_esp(|_| false), []);
    }
}
