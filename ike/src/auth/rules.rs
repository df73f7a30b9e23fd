//! Which signatures an operator wants: what stands behind `pubkey`, `rsa`, `ecdsa` and `ike:` in swanctl.conf's `auth`.

use thiserror::Error;

use crate::crypto::signature::{Hash, KeyType, PublicKey, SignatureScheme};

/// What signatures have to be made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureRules {
    /// The schemes that may be used, those to use first before the others. None: any but those with SHA-1.
    pub schemes: Vec<SignatureScheme>,
    /// The least bits of RSA keys.
    pub rsa_bits: Option<u32>,
    /// The least bits of ECDSA keys.
    pub ecdsa_bits: Option<u32>,
}

/// A word of a list of rules that means nothing.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "'{0}' is none of pubkey, rsa, rsa/pss, ecdsa, ed25519, a number of bits behind these, sha1, sha256, sha384, sha512 and \
     identity"
)]
pub struct UnknownRule(String);

/// Both kinds of rules, as one text has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedRules {
    /// For AUTH payloads; `None` where none are meant for these.
    pub ike: Option<SignatureRules>,
    /// For the signatures of certificates.
    pub chain: SignatureRules,
    /// Words that are known, and ask for what is not supported.
    pub ignored: Vec<String>,
}

/// What the hashes that follow are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Any,
    Rsa,
    RsaPss,
    Ecdsa,
    Ed25519,
}

impl SignatureRules {
    /// Reads words with dashes in between: `rsa-3072-sha256-sha384-ecdsa-sha384`. Behind `ike:` they are for AUTH, before
    /// it for certificates.
    ///
    /// # Errors
    ///
    /// Names the first word that means nothing.
    pub fn parse(text: &str) -> Result<ParsedRules, UnknownRule> {
        let mut parsed = ParsedRules::default();
        let mut key = Key::Any;
        for word in text.split('-') {
            let word = match word.strip_prefix("ike:") {
                Some(rest) => {
                    parsed.ike.get_or_insert_default();
                    rest
                }
                None => word,
            };
            let rules = parsed.ike.as_mut().unwrap_or(&mut parsed.chain);
            match word {
                "pubkey" => key = Key::Any,
                "rsa" => key = Key::Rsa,
                "rsa/pss" => key = Key::RsaPss,
                "ecdsa" => key = Key::Ecdsa,
                "ed25519" => {
                    key = Key::Ed25519;
                    rules.add(SignatureScheme::Ed25519);
                }
                "identity" => rules.add(SignatureScheme::Ed25519),
                "sha1" => rules.hash(Hash::Sha1, key),
                "sha256" => rules.hash(Hash::Sha256, key),
                "sha384" => rules.hash(Hash::Sha384, key),
                "sha512" => rules.hash(Hash::Sha512, key),
                "md5" | "sha224" | "ed448" | "bliss" => parsed.ignored.push(word.to_owned()),
                number => {
                    let bits = number.parse().map_err(|_| UnknownRule(word.to_owned()))?;
                    match key {
                        Key::Rsa | Key::RsaPss => rules.rsa_bits = Some(bits),
                        Key::Ecdsa => rules.ecdsa_bits = Some(bits),
                        Key::Any | Key::Ed25519 => return Err(UnknownRule(word.to_owned())),
                    }
                }
            }
        }
        Ok(parsed)
    }

    fn add(&mut self, scheme: SignatureScheme) {
        if !self.schemes.contains(&scheme) {
            self.schemes.push(scheme);
        }
    }

    fn hash(&mut self, hash: Hash, key: Key) {
        let is_sound = hash != Hash::Sha1; // nothing but PKCS#1 is verified with it
        if matches!(key, Key::Any | Key::Rsa) {
            self.add(SignatureScheme::RsaPkcs1(hash));
        }
        if matches!(key, Key::Any | Key::RsaPss) && is_sound {
            self.add(SignatureScheme::RsaPss(hash));
        }
        if matches!(key, Key::Any | Key::Ecdsa) && is_sound {
            self.add(SignatureScheme::Ecdsa(hash));
        }
    }

    /// Whether a signature of that key, made in that way, is good enough; the sentence says why not.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub fn judge(&self, key: &PublicKey, scheme: SignatureScheme) -> Result<(), String> {
        let is_allowed = if self.schemes.is_empty() {
            scheme.hash() != Some(Hash::Sha1)
        } else {
            self.schemes.contains(&scheme)
        };
        if !is_allowed {
            return Err(format!("{scheme} signatures are not allowed"));
        }
        let least = match key.key_type() {
            KeyType::Rsa => self.rsa_bits,
            KeyType::Ecdsa(_) => self.ecdsa_bits,
            KeyType::Ed25519 => None,
        };
        match least.filter(|least| key.bits() < *least) {
            Some(least) => {
                Err(format!("{} bits of a key of type {} are fewer than {least}", key.bits(), key.key_type()))
            }
            None => Ok(()),
        }
    }

    /// The schemes to sign with, the first choice first.
    ///
    /// Without rules it is charon's order: the shortest hash that is as strong as the key, the longer ones, then those
    /// that are shorter. RSASSA-PSS comes first where it is `preferred`, and is left out where it is not.
    #[must_use]
    pub fn for_signing(&self, key: &PublicKey, pss_preferred: bool) -> Vec<SignatureScheme> {
        if !self.schemes.is_empty() {
            let fits = |scheme: &&SignatureScheme| key.key_type().schemes().contains(scheme);
            return self.schemes.iter().filter(fits).copied().collect();
        }
        const HASHES: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
        let first = match (key.key_type(), key.bits()) {
            (KeyType::Rsa, ..=3072) | (_, ..=256) => 0,
            (KeyType::Rsa, ..=7680) | (_, ..=384) => 1,
            _ => 2,
        };
        let (shorter, strong) = HASHES.split_at(first);
        let hashes = || strong.iter().chain(shorter.iter().rev()).copied();
        match key.key_type() {
            KeyType::Rsa if pss_preferred => {
                hashes().map(SignatureScheme::RsaPss).chain(hashes().map(SignatureScheme::RsaPkcs1)).collect()
            }
            KeyType::Rsa => hashes().map(SignatureScheme::RsaPkcs1).collect(),
            KeyType::Ecdsa(_) => hashes().map(SignatureScheme::Ecdsa).collect(),
            KeyType::Ed25519 => vec![SignatureScheme::Ed25519],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::signature::PrivateKey;
    use SignatureScheme::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};

    fn parse(text: &str) -> ParsedRules {
        SignatureRules::parse(text).unwrap()
    }

    fn key(der: &[u8]) -> PublicKey {
        PrivateKey::from_der(der).unwrap().public().clone()
    }

    fn rsa() -> PublicKey {
        key(include_bytes!("../sim/keys/rsa.p8"))
    }

    fn p384() -> PublicKey {
        key(include_bytes!("../sim/keys/p384.p8"))
    }

    #[test]
    fn words_are_read() {
        assert_eq!(parse("pubkey"), ParsedRules::default());
        assert_eq!(parse("rsa").chain, SignatureRules::default());
        let rules = parse("rsa-3072-sha256-sha384-ecdsa-384-sha512").chain;
        assert_eq!(rules.schemes, [RsaPkcs1(Hash::Sha256), RsaPkcs1(Hash::Sha384), Ecdsa(Hash::Sha512)]);
        assert_eq!((rules.rsa_bits, rules.ecdsa_bits), (Some(3072), Some(384)));
        let rules = parse("pubkey-sha256-ike:rsa/pss-sha512-ed25519");
        assert_eq!(rules.chain.schemes, [RsaPkcs1(Hash::Sha256), RsaPss(Hash::Sha256), Ecdsa(Hash::Sha256)]);
        assert_eq!(rules.ike.unwrap().schemes, [RsaPss(Hash::Sha512), Ed25519]);
        assert_eq!(parse("ike:pubkey").ike, Some(SignatureRules::default()));
        assert_eq!(parse("rsa-md5-sha256").ignored, ["md5"]);
        for (text, word) in
            [("rsa-sha3", "sha3"), ("pubkey-2048", "2048"), ("rsa--sha256", ""), ("rsa/pss-", "")]
        {
            assert_eq!(SignatureRules::parse(text), Err(UnknownRule(word.to_owned())), "{text}");
        }
    }

    #[test]
    fn signatures_are_judged() {
        let any = SignatureRules::default();
        assert_eq!(any.judge(&rsa(), RsaPss(Hash::Sha256)), Ok(()));
        assert!(any.judge(&rsa(), RsaPkcs1(Hash::Sha1)).is_err(), "SHA-1 has to be asked for");
        let rules = parse("rsa-4096-sha1-ecdsa-sha384").chain;
        assert!(rules.judge(&rsa(), RsaPkcs1(Hash::Sha1)).unwrap_err().contains("2048 bits"));
        assert!(rules.judge(&rsa(), RsaPkcs1(Hash::Sha256)).unwrap_err().contains("RSA_EMSA_PKCS1_SHA2_256"));
        assert_eq!(rules.judge(&p384(), Ecdsa(Hash::Sha384)), Ok(()));
    }

    #[test]
    fn the_schemes_to_sign_with() {
        let any = SignatureRules::default();
        assert_eq!(any.for_signing(&rsa(), false).first(), Some(&RsaPkcs1(Hash::Sha256)));
        assert_eq!(any.for_signing(&rsa(), true).first(), Some(&RsaPss(Hash::Sha256)));
        assert_eq!(
            any.for_signing(&p384(), false),
            [Ecdsa(Hash::Sha384), Ecdsa(Hash::Sha512), Ecdsa(Hash::Sha256)]
        );
        let rules = parse("rsa/pss-sha512-rsa-sha384-ecdsa-sha256").chain;
        assert_eq!(rules.for_signing(&rsa(), false), [RsaPss(Hash::Sha512), RsaPkcs1(Hash::Sha384)]);
        assert_eq!(rules.for_signing(&p384(), false), [Ecdsa(Hash::Sha256)]);
    }
}
