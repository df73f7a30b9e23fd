//! ESP and AH algorithms by the kernel's names, and the keys that go with them.
//!
//! The names are the kernel's crypto templates, spelled exactly. Which of them a kernel has is
//! found out by installing an SA with it.

use std::fmt;

use zeroize::Zeroizing;

/// Octets of an algorithm name in the kernel's structs.
pub(crate) const NAME_LENGTH: usize = 64;

/// An algorithm as the kernel calls it: `rfc4106(gcm(aes))`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlgorithmName(pub(crate) [u8; NAME_LENGTH]);

impl AlgorithmName {
    /// A name; what is beyond 63 octets is cut off, and no kernel knows the rest.
    #[must_use]
    pub const fn new(name: &str) -> Self {
        let mut padded = [0; NAME_LENGTH];
        // `copy_from_slice` cannot be told the lengths in a constant; the last octet stays zero.
        let (mut rest, mut room) = (name.as_bytes(), padded.as_mut_slice());
        while let ([octet, after @ ..], [place, free @ ..]) = (rest, room) {
            if free.is_empty() {
                break;
            }
            *place = *octet;
            (rest, room) = (after, free);
        }
        Self(padded)
    }
}

impl fmt::Display for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.split(|&octet| octet == 0).next().unwrap_or_default();
        f.write_str(&String::from_utf8_lossy(name))
    }
}

impl fmt::Debug for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A cipher that encrypts and authenticates at once. Its key is followed by its salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Aead {
    /// The kernel's name.
    pub name: AlgorithmName,
    /// Bits of the integrity check value.
    pub icv_bits: u32,
}

impl Aead {
    /// AES-GCM with an ICV of 16 octets (RFC 4106): 16, 24 or 32 octets of key, 4 of salt.
    pub const AES_GCM_16: Self = Self::new("rfc4106(gcm(aes))", 128);
    /// AES-GCM with an ICV of 12 octets.
    pub const AES_GCM_12: Self = Self::new("rfc4106(gcm(aes))", 96);
    /// AES-GCM with an ICV of 8 octets.
    pub const AES_GCM_8: Self = Self::new("rfc4106(gcm(aes))", 64);
    /// AES-CCM with an ICV of 16 octets (RFC 4309): 16, 24 or 32 octets of key, 3 of salt.
    pub const AES_CCM_16: Self = Self::new("rfc4309(ccm(aes))", 128);
    /// AES-CCM with an ICV of 12 octets.
    pub const AES_CCM_12: Self = Self::new("rfc4309(ccm(aes))", 96);
    /// AES-CCM with an ICV of 8 octets.
    pub const AES_CCM_8: Self = Self::new("rfc4309(ccm(aes))", 64);
    /// ChaCha20-Poly1305 (RFC 7634): 32 octets of key, 4 of salt.
    pub const CHACHA20_POLY1305: Self = Self::new("rfc7539esp(chacha20,poly1305)", 128);
    /// AES-GMAC, which does not encrypt (RFC 4543): 16, 24 or 32 octets of key, 4 of salt.
    pub const NULL_AES_GMAC: Self = Self::new("rfc4543(gcm(aes))", 128);

    const fn new(name: &str, icv_bits: u32) -> Self {
        Self { name: AlgorithmName::new(name), icv_bits }
    }
}

/// A cipher that only encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encryption {
    /// The kernel's name.
    pub name: AlgorithmName,
}

impl Encryption {
    /// AES-CBC (RFC 3602): 16, 24 or 32 octets of key.
    pub const AES_CBC: Self = Self::new("cbc(aes)");
    /// AES-CTR (RFC 3686): 16, 24 or 32 octets of key, 4 of nonce.
    pub const AES_CTR: Self = Self::new("rfc3686(ctr(aes))");
    /// Camellia-CBC (RFC 4312): 16, 24 or 32 octets of key.
    pub const CAMELLIA_CBC: Self = Self::new("cbc(camellia)");
    /// Triple DES in CBC mode (RFC 2451): 24 octets of key.
    pub const TRIPLE_DES_CBC: Self = Self::new("cbc(des3_ede)");
    /// No encryption (RFC 2410): no key.
    pub const NULL: Self = Self::new("ecb(cipher_null)");

    const fn new(name: &str) -> Self {
        Self { name: AlgorithmName::new(name) }
    }
}

/// An integrity algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Integrity {
    /// The kernel's name.
    pub name: AlgorithmName,
    /// Bits of its output that are sent. Always told to the kernel, whose own idea of it is 96 bits
    /// where the standard's is 128.
    pub truncated_bits: u32,
}

impl Integrity {
    /// HMAC-MD5-96 (RFC 2403): 16 octets of key.
    pub const HMAC_MD5_96: Self = Self::new("hmac(md5)", 96);
    /// HMAC-SHA-1-96 (RFC 2404): 20 octets of key.
    pub const HMAC_SHA1_96: Self = Self::new("hmac(sha1)", 96);
    /// HMAC-SHA-256-128 (RFC 4868): 32 octets of key.
    pub const HMAC_SHA2_256_128: Self = Self::new("hmac(sha256)", 128);
    /// HMAC-SHA-256 cut to 96 bits, as a draft once had it and old kernels still do: 32 octets of key.
    pub const HMAC_SHA2_256_96: Self = Self::new("hmac(sha256)", 96);
    /// HMAC-SHA-384-192 (RFC 4868): 48 octets of key.
    pub const HMAC_SHA2_384_192: Self = Self::new("hmac(sha384)", 192);
    /// HMAC-SHA-512-256 (RFC 4868): 64 octets of key.
    pub const HMAC_SHA2_512_256: Self = Self::new("hmac(sha512)", 256);
    /// AES-XCBC-MAC-96 (RFC 3566): 16 octets of key.
    pub const AES_XCBC_96: Self = Self::new("xcbc(aes)", 96);
    /// AES-CMAC-96 (RFC 4494): 16 octets of key.
    pub const AES_CMAC_96: Self = Self::new("cmac(aes)", 96);

    const fn new(name: &str, truncated_bits: u32) -> Self {
        Self { name: AlgorithmName::new(name), truncated_bits }
    }
}

/// What an SA does to packets, with the keys to do it. No `Debug`: of the keys nothing is shown.
pub enum Protection {
    /// ESP with one algorithm for both.
    Aead(Aead, Key),
    /// ESP with an algorithm each. Without the second the peer's packets are believed unseen: the
    /// kernel takes that, and so does this crate, for [`Encryption::NULL`] with AH around it.
    Separate(Encryption, Key, Option<(Integrity, Key)>),
    /// AH.
    Integrity(Integrity, Key),
}

/// Key material on its way to or from the kernel, salt included. Wiped on drop, and without
/// `Debug`.
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// More octets than the kernel has algorithms for.
    pub const LONGEST: usize = 512;

    /// Takes a copy of key material.
    ///
    /// # Errors
    /// When it is longer than [`Key::LONGEST`].
    pub fn new(octets: &[u8]) -> Result<Self, KeyTooLong> {
        if octets.len() > Self::LONGEST {
            return Err(KeyTooLong(octets.len()));
        }
        Ok(Self(Zeroizing::new(octets.to_vec())))
    }

    /// The octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// As the kernel counts keys.
    pub(crate) fn bits(&self) -> u32 {
        u32::try_from(self.0.len() * 8).expect("keys are hundreds of octets long at most")
    }
}

/// A key for no algorithm there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key of {0} octets is longer than the {longest} that any algorithm takes", longest = Key::LONGEST)]
pub struct KeyTooLong(usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded_and_shown() {
        assert_eq!(Aead::AES_GCM_16.name.to_string(), "rfc4106(gcm(aes))");
        assert_eq!(format!("{:?}", Integrity::HMAC_SHA1_96.name), "hmac(sha1)");
        let long = AlgorithmName::new(&"x".repeat(100));
        assert_eq!(long.to_string(), "x".repeat(63), "the kernel wants a zero at the end");
    }

    #[test]
    fn keys_are_counted_in_bits_and_bounded() {
        assert_eq!(Key::new(&[1; 20]).map(|key| key.bits()).unwrap(), 160);
        assert_eq!(Key::new(&[1; 513]).map(|key| key.bits()).unwrap_err(), KeyTooLong(513));
    }
}
