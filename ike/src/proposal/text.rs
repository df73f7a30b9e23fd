//! Proposals as configurations write them, and what makes them complete.

use super::{Proposal, Transform, defaults, keywords, number};
use crate::wire::registry::{EncrId, EsnId, IntegId, KeMethod, PrfId, ProtocolId, TransformType};

/// Why a text is no proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposalError {
    /// A word that stands for no algorithm.
    #[error("proposal '{text}': unknown algorithm '{keyword}'{}", suggestion(*nearest))]
    UnknownKeyword {
        /// The whole text.
        text: String,
        /// The word.
        keyword: String,
        /// The word most like it, if there is one.
        nearest: Option<&'static str>,
    },
    /// Nothing between two dashes, or nothing at all.
    #[error("proposal '{text}': expected the names of algorithms with one '-' between them")]
    EmptyKeyword {
        /// The whole text.
        text: String,
    },
    /// Algorithms of some kind are missing.
    #[error("proposal '{text}': {protocol} needs {missing}")]
    Incomplete {
        /// The whole text.
        text: String,
        /// What the proposal is for.
        protocol: ProtocolId,
        /// What is missing, with an example.
        missing: &'static str,
    },
    /// Ciphers with and without integrity of their own.
    #[error(
        "proposal '{text}': combined-mode ciphers ({aead}) and others ({classic}) need proposals of their own (RFC 7296 section 3.3)"
    )]
    MixedModes {
        /// The whole text.
        text: String,
        /// The first combined-mode cipher.
        aead: String,
        /// The first other one.
        classic: String,
    },
    /// Proposals for this protocol have no text.
    #[error("proposal '{text}': expected to be for IKE, ESP or AH, not for protocol {protocol}")]
    Protocol {
        /// The whole text.
        text: String,
        /// The protocol.
        protocol: ProtocolId,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|word| format!(", did you mean '{word}'?")).unwrap_or_default()
}

impl Proposal {
    /// Parses one element of `proposals`, `esp_proposals` or `ah_proposals` of swanctl.conf: names of
    /// algorithms with dashes between them, such as `aes256gcm16-prfsha384-ecp384`.
    ///
    /// Several of a kind are alternatives, the first preferred. What goes without saying is added: for IKE
    /// the PRFs of the integrity algorithms, for ESP and AH sequence numbers of 32 bits. What the protocol or
    /// the cipher has no use for is left out.
    ///
    /// The word `default` alone gives strongSwan's default proposals, whole: use [`Proposal::supported`] on
    /// them. Numbers count from one; where several texts make one offer, [`number`] counts through.
    ///
    /// # Errors
    /// For unknown words and for proposals that are incomplete or cannot be.
    pub fn parse(protocol: ProtocolId, text: &str) -> Result<Vec<Self>, ProposalError> {
        let mut proposals = if text.trim().eq_ignore_ascii_case("default") {
            match protocol {
                ProtocolId::IKE => defaults::ike(),
                ProtocolId::ESP => defaults::esp_by_keyword(),
                ProtocolId::AH => defaults::ah(),
                _ => return Err(ProposalError::Protocol { text: text.to_owned(), protocol }),
            }
        } else {
            vec![Self::new(protocol, complete(protocol, text, words(text)?)?)]
        };
        number(&mut proposals);
        Ok(proposals)
    }
}

/// The transforms the words stand for, each once.
fn words(text: &str) -> Result<Vec<Transform>, ProposalError> {
    let mut transforms = Vec::new();
    for word in text.split('-').map(str::trim) {
        if word.is_empty() {
            return Err(ProposalError::EmptyKeyword { text: text.to_owned() });
        }
        let transform = keywords::transform(word).ok_or_else(|| ProposalError::UnknownKeyword {
            text: text.to_owned(),
            keyword: word.to_owned(),
            nearest: keywords::nearest(word),
        })?;
        if !transforms.contains(&transform) {
            transforms.push(transform);
        }
    }
    Ok(transforms)
}

/// Adds what goes without saying, leaves out what has no use, and refuses what cannot be.
fn complete(
    protocol: ProtocolId,
    text: &str,
    mut transforms: Vec<Transform>,
) -> Result<Vec<Transform>, ProposalError> {
    let incomplete = |missing| ProposalError::Incomplete { text: text.to_owned(), protocol, missing };
    let has = |transforms: &[Transform], kind| transforms.iter().any(|transform| transform.kind == kind);

    match protocol {
        ProtocolId::IKE => {
            // Before integrity algorithms are dropped: `aes256gcm16-sha256-x25519` means PRF_HMAC_SHA2_256.
            if !has(&transforms, TransformType::PRF) {
                let prfs: Vec<Transform> = transforms.iter().copied().filter_map(prf_of).collect();
                for prf in prfs {
                    if !transforms.contains(&prf) {
                        transforms.push(prf);
                    }
                }
            }
            let no_ke = Transform::ke(KeMethod::NONE);
            transforms.retain(|transform| *transform != no_ke && transform.kind != TransformType::ESN);
        }
        ProtocolId::ESP => transforms.retain(|transform| transform.kind != TransformType::PRF),
        ProtocolId::AH => {
            for transform in &mut transforms {
                *transform = gmac_for_ah(*transform);
            }
            transforms.retain(|transform| {
                transform.kind != TransformType::PRF && transform.kind != TransformType::ENCR
            });
        }
        _ => return Err(ProposalError::Protocol { text: text.to_owned(), protocol }),
    }

    if protocol == ProtocolId::AH {
        if !has(&transforms, TransformType::INTEG) {
            return Err(incomplete("an integrity algorithm, for example sha256"));
        }
    } else {
        let ciphers = || transforms.iter().filter(|transform| transform.kind == TransformType::ENCR);
        if ciphers().next().is_none() {
            return Err(incomplete("an encryption algorithm, for example aes256gcm16"));
        }
        let aead = ciphers().find(|cipher| cipher.is_aead());
        let classic = ciphers().find(|cipher| !cipher.is_aead());
        let is_aead = match (aead, classic) {
            (Some(aead), Some(classic)) => {
                return Err(ProposalError::MixedModes {
                    text: text.to_owned(),
                    aead: aead.to_string(),
                    classic: classic.to_string(),
                });
            }
            (aead, _) => aead.is_some(),
        };
        if is_aead {
            transforms.retain(|transform| transform.kind != TransformType::INTEG);
        } else if protocol == ProtocolId::IKE && !has(&transforms, TransformType::INTEG) {
            return Err(incomplete("an integrity algorithm, for example sha256, or a combined-mode cipher"));
        }
    }
    if protocol == ProtocolId::IKE {
        if !has(&transforms, TransformType::PRF) {
            return Err(incomplete("a pseudorandom function, for example prfsha256"));
        }
        if !has(&transforms, TransformType::KE) {
            return Err(incomplete("a key exchange method, for example x25519"));
        }
    } else if !has(&transforms, TransformType::ESN) {
        transforms.push(Transform::esn(EsnId::NONE));
    }
    Ok(transforms)
}

/// The PRF of the hash function or cipher an integrity algorithm is made of.
fn prf_of(transform: Transform) -> Option<Transform> {
    const CAMELLIA_XCBC_96: IntegId = IntegId(1030);
    const PRF_CAMELLIA128_XCBC: PrfId = PrfId(1028);

    if transform.kind != TransformType::INTEG {
        return None;
    }
    let prf = match IntegId(transform.id) {
        IntegId::HMAC_MD5_96 | IntegId::HMAC_MD5_128 => PrfId::HMAC_MD5,
        IntegId::HMAC_SHA1_96 | IntegId::HMAC_SHA1_160 => PrfId::HMAC_SHA1,
        IntegId::HMAC_SHA2_256_128 => PrfId::HMAC_SHA2_256,
        IntegId::HMAC_SHA2_384_192 => PrfId::HMAC_SHA2_384,
        IntegId::HMAC_SHA2_512_256 => PrfId::HMAC_SHA2_512,
        IntegId::AES_XCBC_96 => PrfId::AES128_XCBC,
        IntegId::AES_CMAC_96 => PrfId::AES128_CMAC,
        CAMELLIA_XCBC_96 => PRF_CAMELLIA128_XCBC,
        _ => return None,
    };
    Some(Transform::prf(prf))
}

/// In AH, AES-GMAC is an integrity algorithm with an ID for each key length (RFC 4543 §9).
fn gmac_for_ah(transform: Transform) -> Transform {
    if transform.kind != TransformType::ENCR || transform.id != EncrId::NULL_AES_GMAC.0 {
        return transform;
    }
    match transform.key_length {
        Some(128) => Transform::integ(IntegId(9)),
        Some(192) => Transform::integ(IntegId(10)),
        Some(256) => Transform::integ(IntegId(11)),
        _ => transform,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(protocol: ProtocolId, text: &str) -> Vec<String> {
        Proposal::parse(protocol, text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ike_derives_what_is_not_said() {
        for (text, expected) in [
            ("aes128-sha256-modp2048", "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"),
            (" aes128 - sha256 - modp2048 ", "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"),
            ("modp2048-sha256-aes128", "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"),
            ("aes256gcm16-sha256-x25519", "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_256/CURVE_25519"),
            (
                "aes-sha1-sha512-prfaescmac-ecp521",
                "IKE:AES_CBC_128/HMAC_SHA1_96/HMAC_SHA2_512_256/PRF_AES128_CMAC/ECP_521",
            ),
            ("aes-aesxcbc-ecp256", "IKE:AES_CBC_128/AES_XCBC_96/PRF_AES128_XCBC/ECP_256"),
            ("aes-sha1-sha1_160-ecp256", "IKE:AES_CBC_128/HMAC_SHA1_96/HMAC_SHA1_160/PRF_HMAC_SHA1/ECP_256"),
            (
                "aes-aes128-sha256-none-ecp256-noesn",
                "IKE:AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256",
            ),
        ] {
            assert_eq!(shown(ProtocolId::IKE, text), [expected], "{text}");
        }
    }

    #[test]
    fn esp_and_ah_leave_out_what_they_have_no_use_for() {
        for (protocol, text, expected) in [
            (ProtocolId::ESP, "aes128-sha256", "ESP:AES_CBC_128/HMAC_SHA2_256_128/NO_EXT_SEQ"),
            (ProtocolId::ESP, "aes128-sha256-prfsha256-esn", "ESP:AES_CBC_128/HMAC_SHA2_256_128/EXT_SEQ"),
            (ProtocolId::ESP, "aes128gcm16-sha256-none", "ESP:AES_GCM_16_128/KE_NONE/NO_EXT_SEQ"),
            (ProtocolId::ESP, "aes128", "ESP:AES_CBC_128/NO_EXT_SEQ"),
            (ProtocolId::AH, "sha256-aes128", "AH:HMAC_SHA2_256_128/NO_EXT_SEQ"),
            (ProtocolId::AH, "aes192gmac-esn", "AH:(10)/EXT_SEQ"),
        ] {
            assert_eq!(shown(protocol, text), [expected], "{text}");
        }
    }

    #[test]
    fn errors_say_what_is_missing_or_wrong() {
        for (protocol, text, part) in [
            (ProtocolId::IKE, "aes128-sha265-x25519", "unknown algorithm 'sha265', did you mean 'sha256'?"),
            (ProtocolId::IKE, "AES128-sha256-x25519", "unknown algorithm 'AES128', did you mean 'aes128'?"),
            (ProtocolId::IKE, "default-aes128", "unknown algorithm 'default'"),
            (ProtocolId::IKE, "", "names of algorithms"),
            (ProtocolId::IKE, "aes128--sha256", "one '-' between them"),
            (ProtocolId::IKE, "sha256-x25519", "IKE needs an encryption algorithm"),
            (ProtocolId::IKE, "aes128-x25519-prfsha256", "IKE needs an integrity algorithm"),
            (ProtocolId::IKE, "aes128gcm16-x25519", "IKE needs a pseudorandom function"),
            (ProtocolId::IKE, "aes128-sha256_96-x25519", "IKE needs a pseudorandom function"),
            (ProtocolId::IKE, "aes128-sha256", "IKE needs a key exchange method"),
            (ProtocolId::IKE, "aes128-sha256-none", "IKE needs a key exchange method"),
            (
                ProtocolId::IKE,
                "aes128gcm16-aes256-sha256-x25519",
                "ciphers (AES_GCM_16_128) and others (AES_CBC_256)",
            ),
            (ProtocolId::ESP, "sha256", "ESP needs an encryption algorithm"),
            (ProtocolId::AH, "aes128", "AH needs an integrity algorithm"),
            (ProtocolId(9), "default", "IKE, ESP or AH, not for protocol (9)"),
            (ProtocolId(9), "aes128", "IKE, ESP or AH, not for protocol (9)"),
        ] {
            let error = Proposal::parse(protocol, text).unwrap_err().to_string();
            assert!(error.contains(part) && error.starts_with("proposal '"), "{error}");
        }
    }

    #[test]
    fn default_gives_several() {
        assert_eq!(Proposal::parse(ProtocolId::IKE, "Default").unwrap().len(), 2);
        let esp = Proposal::parse(ProtocolId::ESP, "default").unwrap();
        assert_eq!((esp[0].number, esp[1].number), (1, 2));
        // As an option left out AEAD comes first, as a keyword it does not.
        assert_eq!(esp[0].encr(), Some((EncrId::AES_CBC, Some(128))));
        assert_eq!(Proposal::parse(ProtocolId::AH, "default").unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(protocol in 0u8..5, text in "\\PC{0,40}") {
            let _ = Proposal::parse(ProtocolId(protocol), &text);
        }

        #[test]
        fn what_was_parsed_is_complete(
            protocol in 1u8..=3,
            text in "(aes128|aes256gcm16|3des|null)(-(aes192|aes128gmac|sha256|md5|prfsha384|x25519|none|ke1_ecp256|esn)){0,6}"
        ) {
            if let Ok(proposals) = Proposal::parse(ProtocolId(protocol), &text) {
                let proposal = &proposals[0];
                let has = |kind| proposal.of(kind).next().is_some();
                prop_assert_eq!(has(TransformType::ENCR), protocol != 2);
                prop_assert_eq!(has(TransformType::PRF), protocol == 1);
                prop_assert_eq!(has(TransformType::ESN), protocol != 1);
                prop_assert!(has(TransformType::KE) || protocol != 1);
            }
        }
    }
}
