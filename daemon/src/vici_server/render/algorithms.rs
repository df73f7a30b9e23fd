//! `get-algorithms`: what we have, by charon's classes and names.

use ferry_ike::proposal::Transform;
use ferry_ike::wire::registry::{EncrId, IntegId, KeMethod, PrfId};
use ferry_vici::{Message, Section};

use crate::connections::supports;

/// Where algorithms come from; charon has the name of a plugin there.
const FROM: &str = "ferry";

/// Numbers below this are IANA's, and those above are for private use (RFC 7296 §3.3.2).
const PRIVATE_USE: u16 = 1024;

/// Key lengths that algorithms with several have, and none for those with one.
const KEY_LENGTHS: [Option<u16>; 4] = [None, Some(128), Some(192), Some(256)];

/// All classes, in charon's order. What no algorithm of ours belongs to is empty.
pub(in crate::vici_server) fn all() -> Message {
    let encr = |is_aead: bool| {
        numbers().map(EncrId).filter(move |id| {
            id.is_aead() == is_aead
                && KEY_LENGTHS.iter().any(|length| supports(Transform::encr(*id, *length)))
        })
    };
    let integ = numbers().map(IntegId).filter(|id| *id != IntegId::NONE && supports(Transform::integ(*id)));
    let prf = numbers().map(PrfId).filter(|id| supports(Transform::prf(*id)));
    let ke = numbers().map(KeMethod).filter(|id| *id != KeMethod::NONE && supports(Transform::ke(*id)));
    Message::new()
        .with_section("encryption", section(encr(false)))
        .with_section("integrity", section(integ))
        .with_section("aead", section(encr(true)))
        .with_section("hasher", section(["HASH_SHA1", "HASH_SHA2_256", "HASH_SHA2_384", "HASH_SHA2_512"]))
        .with_section("prf", section(prf))
        .with_section("xof", Section::new())
        .with_section("kdf", section(["KDF_PRF", "KDF_PRF_PLUS"]))
        .with_section("drbg", Section::new())
        .with_section("dh", section(ke))
        .with_section("rng", section(["RNG_WEAK", "RNG_STRONG", "RNG_TRUE"]))
        .with_section("nonce-gen", section(["NONCE_GEN"]))
}

fn numbers() -> impl Iterator<Item = u16> {
    0..PRIVATE_USE
}

fn section<N: ToString>(names: impl IntoIterator<Item = N>) -> Section {
    names.into_iter().fold(Section::new(), |section, name| section.with(name.to_string(), FROM))
}

#[cfg(test)]
mod tests {
    use ferry_vici::dump;

    use super::*;

    #[test]
    fn the_suites_we_promise_are_listed_by_charons_names() {
        let listed = dump::raw("algs", &all());
        for expected in [
            "encryption {AES_CBC=ferry}",
            "aead {AES_GCM_16=ferry CHACHA20_POLY1305=ferry}",
            "HMAC_SHA2_256_128=ferry HMAC_SHA2_384_192=ferry HMAC_SHA2_512_256=ferry",
            "PRF_HMAC_SHA1=ferry PRF_AES128_XCBC=ferry PRF_HMAC_SHA2_256=ferry",
            "dh {MODP_2048=ferry MODP_3072=ferry MODP_4096=ferry MODP_6144=ferry MODP_8192=ferry ECP_256=ferry ECP_384=ferry \
             ECP_521=ferry CURVE_25519=ferry}",
            "nonce-gen {NONCE_GEN=ferry}",
        ] {
            assert!(listed.contains(expected), "{expected} in {listed}");
        }
        assert!(
            !listed.contains("NULL") && !listed.contains("NONE=") && !listed.contains("=ferry ("),
            "{listed}"
        );
    }
}
