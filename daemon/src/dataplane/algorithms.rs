//! The one table that translates algorithms between the crates: IANA's numbers, the ciphers of `esp`,
//! and the kernel's names.

use ferry_esp::{AesKeySize, Integrity, Suite};
use ferry_ike::crypto::{ChildKeyMaterial, EspSuite};
use ferry_ike::wire::registry::{EncrId, IntegId};
use ferry_xfrm::{Aead, Encryption, Key, Protection};

/// What the userspace plane makes of a negotiated suite; `None` if it has no such cipher.
pub(super) fn userspace(suite: &EspSuite) -> Option<Suite> {
    let aes = match suite.key_bits() {
        128 => AesKeySize::Aes128,
        192 => AesKeySize::Aes192,
        256 => AesKeySize::Aes256,
        _ => return None,
    };
    match suite.encr_id() {
        EncrId::AES_GCM_16 => Some(Suite::AesGcm16(aes)),
        EncrId::CHACHA20_POLY1305 => Some(Suite::ChaCha20Poly1305),
        EncrId::AES_CBC => Some(Suite::AesCbc(aes, integrity(suite.integ_id()?)?)),
        _ => None,
    }
}

/// What the kernel calls a negotiated suite, with keys for one direction; `None` if it has no name for it.
pub(super) fn kernel(suite: &EspSuite, material: &ChildKeyMaterial) -> Option<Protection> {
    let (encryption, integrity) = material.octets();
    let encryption = Key::new(encryption).ok()?;
    Some(match (aead(suite.encr_id()), suite.integ_id()) {
        (Some(aead), None) => Protection::Aead(aead, encryption),
        (None, Some(integ)) => {
            let integrity = Key::new(integrity).ok()?;
            Protection::Separate(
                cipher(suite.encr_id())?,
                encryption,
                Some((kernel_integrity(integ)?, integrity)),
            )
        }
        _ => return None,
    })
}

fn aead(id: EncrId) -> Option<Aead> {
    Some(match id {
        EncrId::AES_CCM_8 => Aead::AES_CCM_8,
        EncrId::AES_CCM_12 => Aead::AES_CCM_12,
        EncrId::AES_CCM_16 => Aead::AES_CCM_16,
        EncrId::AES_GCM_8 => Aead::AES_GCM_8,
        EncrId::AES_GCM_12 => Aead::AES_GCM_12,
        EncrId::AES_GCM_16 => Aead::AES_GCM_16,
        EncrId::NULL_AES_GMAC => Aead::NULL_AES_GMAC,
        EncrId::CHACHA20_POLY1305 => Aead::CHACHA20_POLY1305,
        _ => return None,
    })
}

fn cipher(id: EncrId) -> Option<Encryption> {
    Some(match id {
        EncrId::AES_CBC => Encryption::AES_CBC,
        EncrId::AES_CTR => Encryption::AES_CTR,
        EncrId::CAMELLIA_CBC => Encryption::CAMELLIA_CBC,
        _ => return None,
    })
}

fn kernel_integrity(id: IntegId) -> Option<ferry_xfrm::Integrity> {
    use ferry_xfrm::Integrity;
    Some(match id {
        IntegId::HMAC_SHA1_96 => Integrity::HMAC_SHA1_96,
        IntegId::HMAC_SHA2_256_128 => Integrity::HMAC_SHA2_256_128,
        IntegId::HMAC_SHA2_384_192 => Integrity::HMAC_SHA2_384_192,
        IntegId::HMAC_SHA2_512_256 => Integrity::HMAC_SHA2_512_256,
        IntegId::AES_XCBC_96 => Integrity::AES_XCBC_96,
        _ => return None,
    })
}

fn integrity(id: IntegId) -> Option<Integrity> {
    Some(match id {
        IntegId::HMAC_SHA1_96 => Integrity::HmacSha1_96,
        IntegId::HMAC_SHA2_256_128 => Integrity::HmacSha256_128,
        IntegId::HMAC_SHA2_384_192 => Integrity::HmacSha384_192,
        IntegId::HMAC_SHA2_512_256 => Integrity::HmacSha512_256,
        IntegId::AES_XCBC_96 => Integrity::AesXcbc96,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ferry_ike::proposal::{Proposal, Transform, default_esp};
    use ferry_ike::wire::registry::{EsnId, ProtocolId, TransformType};

    use super::*;
    use crate::connections::supports_esp;
    use crate::dataplane::Abilities;

    /// Whatever ESP suite can be negotiated can be installed, with the key lengths both sides agree on.
    #[test]
    fn every_negotiable_suite_has_a_cipher() {
        let mut seen = 0;
        let supports = |transform| supports_esp(Abilities::USERSPACE, transform);
        for proposal in default_esp(supports) {
            for encr in proposal.of(TransformType::ENCR) {
                let integs: Vec<_> = proposal.of(TransformType::INTEG).map(Some).collect();
                for integ in if integs.is_empty() { vec![None] } else { integs } {
                    let transforms = [Some(encr), integ, Some(Transform::esn(EsnId::NONE))];
                    let answer = Proposal {
                        number: 1,
                        protocol: ProtocolId::ESP,
                        spi: vec![],
                        transforms: transforms.into_iter().flatten().collect(),
                    };
                    let negotiated = EspSuite::from_proposal(&answer).unwrap();
                    let suite = userspace(&negotiated).unwrap_or_else(|| panic!("no cipher for {answer}"));
                    assert_eq!(suite.encryption_key_len(), negotiated.encr_key_len(), "{answer}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 3 + 3 * 4, "GCM, and CBC with four integrity algorithms, of three key sizes each");
    }

    #[test]
    fn the_kernel_has_a_name_for_each_cipher_that_it_is_to_have() {
        for id in Abilities::KERNEL.ciphers {
            assert_eq!(aead(*id).is_some(), id.is_aead(), "{id}");
            assert_ne!(cipher(*id).is_some(), id.is_aead(), "{id}");
        }
    }
}
