//! The words for algorithms in strongSwan's configuration, and the transforms they stand for.

use std::cmp::Reverse;

use super::{ADDITIONAL_KE, Transform};
use crate::wire::registry::TransformType;

/// The transform a word stands for. `ke1_` to `ke7_` before a key exchange method make it an additional one
/// (RFC 9370).
pub(super) fn transform(word: &str) -> Option<Transform> {
    let plain = |word: &str| KEYWORDS.iter().find(|keyword| keyword.word == word).map(Keyword::transform);
    if let Some(transform) = plain(word) {
        return Some(transform);
    }
    let (slot, method) = word.strip_prefix("ke")?.split_once('_')?;
    let slot: u8 = Some(slot).filter(|slot| matches!(slot.as_bytes(), [b'1'..=b'7']))?.parse().ok()?;
    let transform = plain(method).filter(|transform| transform.is_ke())?;
    Some(Transform { kind: TransformType(ADDITIONAL_KE.0 - 1 + slot), ..transform })
}

/// The word most like one we do not know, for an error; `None` if nothing is much like it.
pub(super) fn nearest(word: &str) -> Option<&'static str> {
    // Longer words than ours need not be measured.
    let word = Some(word.to_lowercase()).filter(|word| word.len() <= 32)?;
    let rated = KEYWORDS.iter().map(|keyword| {
        let alike = word.bytes().zip(keyword.word.bytes()).take_while(|(one, other)| one == other).count();
        (distance(&word, keyword.word), keyword.word, alike)
    });
    // Of two equally near, the one that begins alike: digits are swapped at the end more often than in front.
    let (distance, nearest, _) = rated.min_by_key(|(distance, _, alike)| (*distance, Reverse(*alike)))?;
    (distance <= 2 || distance * 3 <= word.len()).then_some(nearest)
}

/// Letters to insert, remove or replace to make one word of another.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.bytes().enumerate() {
        let mut left = line + 1;
        let mut above_left = line;
        let cells = row.iter_mut().skip(1);
        for (cell, other) in cells.zip(to.bytes()) {
            let replaced = above_left + usize::from(letter != other);
            above_left = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or(from.len())
}

struct Keyword {
    word: &'static str,
    kind: TransformType,
    id: u16,
    /// Bits; zero for algorithms without Key Length attribute.
    key_length: u16,
}

impl Keyword {
    fn transform(&self) -> Transform {
        let key_length = (self.key_length != 0).then_some(self.key_length);
        Transform { kind: self.kind, id: self.id, key_length }
    }
}

const fn keyword(word: &'static str, kind: TransformType, id: u16, key_length: u16) -> Keyword {
    Keyword { word, kind, id, key_length }
}

const ENCR: TransformType = TransformType::ENCR;
const INTEG: TransformType = TransformType::INTEG;
const PRF: TransformType = TransformType::PRF;
const KE: TransformType = TransformType::KE;
const ESN: TransformType = TransformType::ESN;

/// Several words may stand for one transform.
#[rustfmt::skip]
const KEYWORDS: &[Keyword] = &[
    keyword("null", ENCR, 11, 0),
    keyword("des", ENCR, 2, 0),
    keyword("3des", ENCR, 3, 0),
    keyword("cast128", ENCR, 6, 128),
    keyword("blowfish", ENCR, 7, 128),
    keyword("blowfish128", ENCR, 7, 128),
    keyword("blowfish192", ENCR, 7, 192),
    keyword("blowfish256", ENCR, 7, 256),
    keyword("aes", ENCR, 12, 128),
    keyword("aes128", ENCR, 12, 128),
    keyword("aes192", ENCR, 12, 192),
    keyword("aes256", ENCR, 12, 256),
    keyword("aes128ctr", ENCR, 13, 128),
    keyword("aes192ctr", ENCR, 13, 192),
    keyword("aes256ctr", ENCR, 13, 256),
    keyword("aes128ccm8", ENCR, 14, 128),
    keyword("aes128ccm64", ENCR, 14, 128),
    keyword("aes192ccm8", ENCR, 14, 192),
    keyword("aes192ccm64", ENCR, 14, 192),
    keyword("aes256ccm8", ENCR, 14, 256),
    keyword("aes256ccm64", ENCR, 14, 256),
    keyword("aes128ccm12", ENCR, 15, 128),
    keyword("aes128ccm96", ENCR, 15, 128),
    keyword("aes192ccm12", ENCR, 15, 192),
    keyword("aes192ccm96", ENCR, 15, 192),
    keyword("aes256ccm12", ENCR, 15, 256),
    keyword("aes256ccm96", ENCR, 15, 256),
    keyword("aes128ccm16", ENCR, 16, 128),
    keyword("aes128ccm128", ENCR, 16, 128),
    keyword("aes128ccm", ENCR, 16, 128),
    keyword("aes192ccm16", ENCR, 16, 192),
    keyword("aes192ccm128", ENCR, 16, 192),
    keyword("aes192ccm", ENCR, 16, 192),
    keyword("aes256ccm16", ENCR, 16, 256),
    keyword("aes256ccm128", ENCR, 16, 256),
    keyword("aes256ccm", ENCR, 16, 256),
    keyword("aes128gcm8", ENCR, 18, 128),
    keyword("aes128gcm64", ENCR, 18, 128),
    keyword("aes192gcm8", ENCR, 18, 192),
    keyword("aes192gcm64", ENCR, 18, 192),
    keyword("aes256gcm8", ENCR, 18, 256),
    keyword("aes256gcm64", ENCR, 18, 256),
    keyword("aes128gcm12", ENCR, 19, 128),
    keyword("aes128gcm96", ENCR, 19, 128),
    keyword("aes192gcm12", ENCR, 19, 192),
    keyword("aes192gcm96", ENCR, 19, 192),
    keyword("aes256gcm12", ENCR, 19, 256),
    keyword("aes256gcm96", ENCR, 19, 256),
    keyword("aes128gcm16", ENCR, 20, 128),
    keyword("aes128gcm128", ENCR, 20, 128),
    keyword("aes128gcm", ENCR, 20, 128),
    keyword("aes192gcm16", ENCR, 20, 192),
    keyword("aes192gcm128", ENCR, 20, 192),
    keyword("aes192gcm", ENCR, 20, 192),
    keyword("aes256gcm16", ENCR, 20, 256),
    keyword("aes256gcm128", ENCR, 20, 256),
    keyword("aes256gcm", ENCR, 20, 256),
    keyword("aes128gmac", ENCR, 21, 128),
    keyword("aes192gmac", ENCR, 21, 192),
    keyword("aes256gmac", ENCR, 21, 256),
    keyword("camellia", ENCR, 23, 128),
    keyword("camellia128", ENCR, 23, 128),
    keyword("camellia192", ENCR, 23, 192),
    keyword("camellia256", ENCR, 23, 256),
    keyword("camellia128ctr", ENCR, 24, 128),
    keyword("camellia192ctr", ENCR, 24, 192),
    keyword("camellia256ctr", ENCR, 24, 256),
    keyword("camellia128ccm8", ENCR, 25, 128),
    keyword("camellia128ccm64", ENCR, 25, 128),
    keyword("camellia192ccm8", ENCR, 25, 192),
    keyword("camellia192ccm64", ENCR, 25, 192),
    keyword("camellia256ccm8", ENCR, 25, 256),
    keyword("camellia256ccm64", ENCR, 25, 256),
    keyword("camellia128ccm12", ENCR, 26, 128),
    keyword("camellia128ccm96", ENCR, 26, 128),
    keyword("camellia192ccm12", ENCR, 26, 192),
    keyword("camellia192ccm96", ENCR, 26, 192),
    keyword("camellia256ccm12", ENCR, 26, 256),
    keyword("camellia256ccm96", ENCR, 26, 256),
    keyword("camellia128ccm16", ENCR, 27, 128),
    keyword("camellia128ccm128", ENCR, 27, 128),
    keyword("camellia192ccm16", ENCR, 27, 192),
    keyword("camellia192ccm128", ENCR, 27, 192),
    keyword("camellia256ccm16", ENCR, 27, 256),
    keyword("camellia256ccm128", ENCR, 27, 256),
    keyword("chacha20poly1305", ENCR, 28, 0),
    keyword("chacha20poly1305compat", ENCR, 28, 256),
    keyword("serpent", ENCR, 1026, 128),
    keyword("serpent128", ENCR, 1026, 128),
    keyword("serpent192", ENCR, 1026, 192),
    keyword("serpent256", ENCR, 1026, 256),
    keyword("twofish", ENCR, 1027, 128),
    keyword("twofish128", ENCR, 1027, 128),
    keyword("twofish192", ENCR, 1027, 192),
    keyword("twofish256", ENCR, 1027, 256),
    keyword("md5", INTEG, 1, 0),
    keyword("md5_128", INTEG, 6, 0),
    keyword("sha", INTEG, 2, 0),
    keyword("sha1", INTEG, 2, 0),
    keyword("sha1_160", INTEG, 7, 0),
    keyword("aesxcbc", INTEG, 5, 0),
    keyword("aescmac", INTEG, 8, 0),
    keyword("sha256", INTEG, 12, 0),
    keyword("sha2_256", INTEG, 12, 0),
    keyword("sha384", INTEG, 13, 0),
    keyword("sha2_384", INTEG, 13, 0),
    keyword("sha512", INTEG, 14, 0),
    keyword("sha2_512", INTEG, 14, 0),
    keyword("sha256_96", INTEG, 1026, 0),
    keyword("sha2_256_96", INTEG, 1026, 0),
    keyword("camelliaxcbc", INTEG, 1030, 0),
    keyword("prfmd5", PRF, 1, 0),
    keyword("prfsha1", PRF, 2, 0),
    keyword("prfaesxcbc", PRF, 4, 0),
    keyword("prfsha256", PRF, 5, 0),
    keyword("prfsha384", PRF, 6, 0),
    keyword("prfsha512", PRF, 7, 0),
    keyword("prfaescmac", PRF, 8, 0),
    keyword("prfcamelliaxcbc", PRF, 1028, 0),
    keyword("none", KE, 0, 0),
    keyword("modpnone", KE, 0, 0),
    keyword("modp768", KE, 1, 0),
    keyword("modp1024", KE, 2, 0),
    keyword("modp1536", KE, 5, 0),
    keyword("modp2048", KE, 14, 0),
    keyword("modp3072", KE, 15, 0),
    keyword("modp4096", KE, 16, 0),
    keyword("modp6144", KE, 17, 0),
    keyword("modp8192", KE, 18, 0),
    keyword("ecp256", KE, 19, 0),
    keyword("ecp384", KE, 20, 0),
    keyword("ecp521", KE, 21, 0),
    keyword("modp1024s160", KE, 22, 0),
    keyword("modp2048s224", KE, 23, 0),
    keyword("modp2048s256", KE, 24, 0),
    keyword("ecp192", KE, 25, 0),
    keyword("ecp224", KE, 26, 0),
    keyword("ecp224bp", KE, 27, 0),
    keyword("ecp256bp", KE, 28, 0),
    keyword("ecp384bp", KE, 29, 0),
    keyword("ecp512bp", KE, 30, 0),
    keyword("curve25519", KE, 31, 0),
    keyword("x25519", KE, 31, 0),
    keyword("curve448", KE, 32, 0),
    keyword("x448", KE, 32, 0),
    keyword("gost256", KE, 33, 0),
    keyword("gost512", KE, 34, 0),
    keyword("mlkem512", KE, 35, 0),
    keyword("mlkem768", KE, 36, 0),
    keyword("mlkem1024", KE, 37, 0),
    keyword("modpnull", KE, 1024, 0),
    keyword("ntru112", KE, 1030, 0),
    keyword("ntru128", KE, 1031, 0),
    keyword("ntru192", KE, 1032, 0),
    keyword("ntru256", KE, 1033, 0),
    keyword("newhope128", KE, 1040, 0),
    keyword("noesn", ESN, 0, 0),
    keyword("esn", ESN, 1, 0),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registry::{EncrId, IntegId, KeMethod};

    #[test]
    fn words_are_unique() {
        for (position, keyword) in KEYWORDS.iter().enumerate() {
            assert!(KEYWORDS[..position].iter().all(|other| other.word != keyword.word), "{}", keyword.word);
        }
    }

    #[test]
    fn words_stand_for_transforms() {
        let table = [
            ("aes", Transform::encr(EncrId::AES_CBC, Some(128))),
            ("aes256gcm", Transform::encr(EncrId::AES_GCM_16, Some(256))),
            ("aes192gcm96", Transform::encr(EncrId::AES_GCM_12, Some(192))),
            ("aes128ccm64", Transform::encr(EncrId::AES_CCM_8, Some(128))),
            ("camellia256ccm16", Transform::encr(EncrId::CAMELLIA_CCM_16, Some(256))),
            ("chacha20poly1305", Transform::encr(EncrId::CHACHA20_POLY1305, None)),
            ("chacha20poly1305compat", Transform::encr(EncrId::CHACHA20_POLY1305, Some(256))),
            ("3des", Transform::encr(EncrId::DES3, None)),
            ("sha", Transform::integ(IntegId::HMAC_SHA1_96)),
            ("sha2_512", Transform::integ(IntegId::HMAC_SHA2_512_256)),
            ("x25519", Transform::ke(KeMethod::CURVE_25519)),
            ("mlkem768", Transform::ke(KeMethod::ML_KEM_768)),
            ("ke1_mlkem768", Transform { kind: TransformType(6), ..Transform::ke(KeMethod::ML_KEM_768) }),
            ("ke7_none", Transform { kind: TransformType(12), ..Transform::ke(KeMethod::NONE) }),
        ];
        for (word, expected) in table {
            assert_eq!(transform(word), Some(expected), "{word}");
        }
        for word in [
            "",
            "AES128",
            "aes512",
            "ke0_x25519",
            "ke8_x25519",
            "ke+1_x25519",
            "ke1_aes128",
            "ke1_",
            "camellia128ccm",
        ] {
            assert_eq!(transform(word), None, "{word}");
        }
    }

    #[test]
    fn the_nearest_word_is_found() {
        for (word, expected) in [
            ("sha265", Some("sha256")),
            ("AES128", Some("aes128")),
            ("aes128gmc16", Some("aes128gcm16")),
            ("modp2084", Some("modp2048")),
            ("curve2519", Some("curve25519")),
            ("dh14nonsense", None),
            ("", None),
        ] {
            assert_eq!(nearest(word).filter(|_| !word.is_empty()), expected, "{word}");
        }
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "")), (3, 3, 3));
    }
}
