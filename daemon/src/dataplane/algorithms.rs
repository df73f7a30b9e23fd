//! The one table that translates algorithms between the crates: IANA's numbers, and the ciphers of `esp`.

use ferry_esp::{AesKeySize, Integrity, Suite};
use ferry_ike::crypto::EspSuite;
use ferry_ike::wire::registry::{EncrId, IntegId};

/// What the userspace plane makes of a negotiated suite; `None` if it has no such cipher.
pub(crate) fn userspace(suite: &EspSuite) -> Option<Suite> {
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

    /// Whatever ESP suite can be negotiated can be installed, with the key lengths both sides agree on.
    #[test]
    fn every_negotiable_suite_has_a_cipher() {
        let mut seen = 0;
        for proposal in default_esp(crate::connections::supports) {
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
}
