//! Pseudorandom functions and prf+ (RFC 7296 §2.13).

use cmac::{Cmac, KeyInit, Mac};
use ring::hmac;
use zeroize::Zeroizing;

use super::{secret::Secret, xcbc::Xcbc};
use crate::wire::registry::PrfId;

/// A negotiated pseudorandom function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prf {
    /// PRF_HMAC_SHA1 (RFC 2104).
    HmacSha1,
    /// PRF_HMAC_SHA2_256 (RFC 4868).
    HmacSha256,
    /// PRF_HMAC_SHA2_384 (RFC 4868).
    HmacSha384,
    /// PRF_HMAC_SHA2_512 (RFC 4868).
    HmacSha512,
    /// PRF_AES128_XCBC (RFC 4434).
    Aes128Xcbc,
    /// PRF_AES128_CMAC (RFC 4615).
    Aes128Cmac,
}

impl Prf {
    /// The function of this number; `None` if we do not have it.
    #[must_use]
    pub fn from_id(id: PrfId) -> Option<Self> {
        match id {
            PrfId::HMAC_SHA1 => Some(Self::HmacSha1),
            PrfId::HMAC_SHA2_256 => Some(Self::HmacSha256),
            PrfId::HMAC_SHA2_384 => Some(Self::HmacSha384),
            PrfId::HMAC_SHA2_512 => Some(Self::HmacSha512),
            PrfId::AES128_XCBC => Some(Self::Aes128Xcbc),
            PrfId::AES128_CMAC => Some(Self::Aes128Cmac),
            _ => None,
        }
    }

    /// Its number in the registry.
    #[must_use]
    pub fn id(self) -> PrfId {
        match self {
            Self::HmacSha1 => PrfId::HMAC_SHA1,
            Self::HmacSha256 => PrfId::HMAC_SHA2_256,
            Self::HmacSha384 => PrfId::HMAC_SHA2_384,
            Self::HmacSha512 => PrfId::HMAC_SHA2_512,
            Self::Aes128Xcbc => PrfId::AES128_XCBC,
            Self::Aes128Cmac => PrfId::AES128_CMAC,
        }
    }

    /// Octets of one output.
    #[must_use]
    pub fn output_len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
            Self::Aes128Xcbc | Self::Aes128Cmac => 16,
        }
    }

    /// Octets of the preferred key, which SK_d, SK_pi and SK_pr have (RFC 7296 §2.14). Every PRF takes keys
    /// of any length.
    #[must_use]
    pub fn key_len(self) -> usize {
        // RFC 7296 §2.13: for HMAC it is the length of the output; for AES it is the cipher's.
        self.output_len()
    }

    /// prf(key, the parts one after the other).
    #[must_use]
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let hmac = |algorithm| {
            let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
            for part in parts {
                context.update(part);
            }
            context.sign().as_ref().to_vec()
        };
        Secret::new(match self {
            Self::HmacSha1 => hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Self::HmacSha256 => hmac(hmac::HMAC_SHA256),
            Self::HmacSha384 => hmac(hmac::HMAC_SHA384),
            Self::HmacSha512 => hmac(hmac::HMAC_SHA512),
            Self::Aes128Xcbc => xcbc(&xcbc_key(key), parts).to_vec(),
            Self::Aes128Cmac => cmac(&cmac_key(key), parts).to_vec(),
        })
    }

    /// prf+(key, the parts of the seed one after the other), cut to `len` octets:
    ///
    /// ```text
    /// prf+ (K,S) = T1 | T2 | T3 | T4 | ...
    /// T1 = prf (K, S | 0x01)
    /// T2 = prf (K, T1 | S | 0x02)
    /// ```
    ///
    /// # Panics
    ///
    /// If `len` is more than 255 outputs, where prf+ ends. No suite needs nearly as much.
    #[must_use]
    pub fn plus(self, key: &[u8], seed: &[&[u8]], len: usize) -> Secret {
        assert!(len <= usize::from(u8::MAX) * self.output_len(), "prf+ ends after 255 outputs");
        // Never grown, so that no copy is left behind.
        let mut stream = Vec::with_capacity(len);
        let mut previous = Secret::new(Vec::new());
        for counter in 1..=u8::MAX {
            if stream.len() == len {
                break;
            }
            let counter = [counter];
            let mut parts = Vec::with_capacity(seed.len() + 2);
            parts.push(previous.octets());
            parts.extend_from_slice(seed);
            parts.push(&counter);
            let next = self.compute(key, &parts);
            stream.extend(next.octets().iter().take(len - stream.len()));
            previous = next;
        }
        Secret::new(stream)
    }
}

type AesKey = Zeroizing<[u8; 16]>;

/// RFC 4434 §2: a short key is padded with zeros, a long one goes through the function under a key of zeros.
fn xcbc_key(key: &[u8]) -> AesKey {
    if key.len() > 16 {
        return xcbc(&[0; 16], &[key]);
    }
    let mut padded = Zeroizing::new([0; 16]);
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    padded
}

fn xcbc(key: &[u8; 16], parts: &[&[u8]]) -> AesKey {
    let mut mac = Xcbc::new(key);
    for part in parts {
        mac.update(part);
    }
    mac.finish()
}

/// RFC 4615 §3: a key of any other length than 16 goes through the function under a key of zeros.
fn cmac_key(key: &[u8]) -> AesKey {
    match <&[u8; 16]>::try_from(key) {
        Ok(key) => Zeroizing::new(*key),
        Err(_) => cmac(&[0; 16], &[key]),
    }
}

fn cmac(key: &[u8; 16], parts: &[&[u8]]) -> AesKey {
    let mut mac = <Cmac<aes::Aes128> as KeyInit>::new(key.into());
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// True if keys can be derived with `id`.
#[must_use]
pub fn supports_prf(id: PrfId) -> bool {
    Prf::from_id(id).is_some()
}

#[cfg(test)]
mod tests {
    use hkdf::Hkdf;
    use proptest::prelude::*;
    use sha2::{Sha256, Sha384, Sha512};

    use super::*;
    use crate::crypto::tests::hex;

    const ALL: [Prf; 6] =
        [Prf::HmacSha1, Prf::HmacSha256, Prf::HmacSha384, Prf::HmacSha512, Prf::Aes128Xcbc, Prf::Aes128Cmac];

    fn check(prf: Prf, key: &[u8], message: &[u8], output: &str) {
        assert_eq!(prf.compute(key, &[message]).octets(), hex(output));
        assert_eq!(prf.output_len(), hex(output).len());
    }

    /// RFC 2202 section 3, cases 1, 2, 3 and 6.
    #[test]
    fn hmac_sha1() {
        check(Prf::HmacSha1, &[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00");
        check(
            Prf::HmacSha1,
            b"Jefe",
            b"what do ya want for nothing?",
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        );
        check(Prf::HmacSha1, &[0xaa; 20], &[0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3");
        check(
            Prf::HmacSha1,
            &[0xaa; 80],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        );
    }

    /// RFC 4231 cases 1, 2 and 6, also RFC 4868 section 2.7.1.
    #[test]
    fn hmac_sha2() {
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        for (prf, hi_there, jefe, long_key) in [
            (
                Prf::HmacSha256,
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                Prf::HmacSha384,
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c
                 faea9ea9076ede7f4af152e8b2fa9cb6",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e
                 8e2240ca5e69e2c78b3239ecfab21649",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6
                 0c2ef6ab4030fe8296248df163f44952",
            ),
            (
                Prf::HmacSha512,
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
                 daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352
                 6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            ),
        ] {
            check(prf, &[0x0b; 20], b"Hi There", hi_there);
            check(prf, b"Jefe", b"what do ya want for nothing?", jefe);
            check(prf, &[0xaa; 131], long, long_key);
        }
    }

    /// RFC 4434 section 2.1: keys of 16, 10 and 18 octets.
    #[test]
    fn aes_xcbc_prf_128() {
        let key = hex("000102030405060708090a0b0c0d0e0fedcb");
        let message: Vec<u8> = (0..20).collect();
        check(Prf::Aes128Xcbc, &key[..16], &message, "47f51b4564966215b8985c63055ed308");
        check(Prf::Aes128Xcbc, &key[..10], &message, "0fa087af7d866e7653434e602fdde835");
        check(Prf::Aes128Xcbc, &key, &message, "8cd3c93ae598a9803006ffb67c40e9e4");
    }

    /// RFC 4615 section 4: keys of 18, 16 and 10 octets.
    #[test]
    fn aes_cmac_prf_128() {
        let key = hex("000102030405060708090a0b0c0d0e0fedcb");
        let message: Vec<u8> = (0..20).collect();
        check(Prf::Aes128Cmac, &key, &message, "84a348a4a45d235babfffc0d2b4da09a");
        check(Prf::Aes128Cmac, &key[..16], &message, "980ae87b5f4c9c5214f5b6a8455e4c2d");
        check(Prf::Aes128Cmac, &key[..10], &message, "290d9e112edb09ee141fcf64c0b72f3d");
    }

    /// RFC 4493 section 4.
    #[test]
    fn aes_cmac() {
        let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
        let message = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
             30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
        check(Prf::Aes128Cmac, &key, &message[..0], "bb1d6929e95937287fa37d129b756746");
        check(Prf::Aes128Cmac, &key, &message[..16], "070a16b46b4d4144f79bdd9dd04a287c");
        check(Prf::Aes128Cmac, &key, &message[..40], "dfa66747de9ae63030ca32611497c827");
        check(Prf::Aes128Cmac, &key, &message, "51f0bebf7e3b9d92fc49741779363cfe");
    }

    /// For HMAC, HKDF-Expand (RFC 5869 §2.3) is prf+, and HKDF-Extract is prf with the salt as key.
    #[test]
    fn prf_plus_is_hkdf_expand() {
        let salt: Vec<u8> = (0..64).collect();
        let (secret, seed) = ([7; 32], [9; 80]);
        let mut expected = [0; 300];
        macro_rules! same {
            ($prf:expr, $hash:ty) => {
                let (key, hkdf) = Hkdf::<$hash>::extract(Some(&salt), &secret);
                hkdf.expand(&seed, &mut expected).unwrap();
                assert_eq!($prf.compute(&salt, &[&secret]).octets(), key.as_slice());
                assert_eq!($prf.plus(&key, &[&seed[..50], &seed[50..]], 300).octets(), expected);
            };
        }
        same!(Prf::HmacSha256, Sha256);
        same!(Prf::HmacSha384, Sha384);
        same!(Prf::HmacSha512, Sha512);
    }

    #[test]
    fn prf_plus_follows_its_definition_for_every_prf() {
        for prf in ALL {
            let t1 = prf.compute(b"key", &[b"seed", &[1]]);
            let t2 = prf.compute(b"key", &[t1.octets(), b"seed", &[2]]);
            let t3 = prf.compute(b"key", &[t2.octets(), b"seed", &[3]]);
            let all = [t1.octets(), t2.octets(), t3.octets()].concat();
            for len in [0, 1, prf.output_len(), prf.output_len() + 1, all.len()] {
                assert_eq!(prf.plus(b"key", &[b"seed"], len).octets(), &all[..len]);
            }
            assert_eq!(prf.plus(b"key", &[], 255 * prf.output_len()).len(), 255 * prf.output_len());
        }
    }

    #[test]
    #[should_panic(expected = "255 outputs")]
    fn prf_plus_ends() {
        let _ = Prf::Aes128Cmac.plus(b"key", &[], 255 * 16 + 1);
    }

    #[test]
    fn identifiers_go_both_ways() {
        for prf in ALL {
            assert_eq!(Prf::from_id(prf.id()), Some(prf));
            assert!(supports_prf(prf.id()));
        }
        assert!(!supports_prf(PrfId::HMAC_MD5));
    }

    proptest! {
        #[test]
        fn where_the_input_is_cut_does_not_matter(key: Vec<u8>, input: Vec<u8>, cut: prop::sample::Index) {
            let cut = cut.index(input.len() + 1);
            for prf in ALL {
                let whole = prf.compute(&key, &[&input]);
                let parts = prf.compute(&key, &[&input[..cut], &[], &input[cut..]]);
                prop_assert!(whole.ct_eq(parts.octets()));
            }
        }
    }
}
