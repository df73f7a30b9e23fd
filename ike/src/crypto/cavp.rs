//! Vectors of NIST's Cryptographic Algorithm Validation Program, as far as they are about what is used here.
//!
//! HMAC and AES-CMAC are tested as what they are here, pseudorandom functions, by the vectors for key derivation in
//! counter mode (SP 800-108): each block of their output is one MAC. It has none for X25519, AES-XCBC and
//! ChaCha20-Poly1305, which are not NIST's, nor in files for Ed25519.

use super::aead::Aead;
use super::cbc;
use super::cipher::AesKey;
use super::signature::{Hash, PublicKey, SignatureScheme};
use super::tests::hex;
use super::{CryptoProvider, Prf, RandomSource};
use crate::wire::registry::KeMethod;

/// One vector: what each line names.
struct Vector<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Vector<'a> {
    /// All vectors of a file.
    fn all(text: &'a str) -> Vec<Self> {
        let blocks = text.split("\n\n").skip(1);
        let lines = |block: &'a str| {
            block.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect()
        };
        blocks.map(|block| Self(lines(block))).collect()
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }

    fn octets(&self, name: &str) -> Vec<u8> {
        hex(self.text(name).unwrap())
    }

    /// The values of all lines of that name.
    fn each(&self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        self.0.iter().filter(move |(key, _)| *key == name).map(|(_, value)| hex(value))
    }

    /// With as many zeros in front as it takes for `length`.
    fn padded(&self, name: &str, length: usize) -> Vec<u8> {
        let digits = self.text(name).unwrap().trim_start_matches('0');
        hex(&format!("{digits:0>width$}", width = 2 * length))
    }

    fn hash(&self) -> Hash {
        match self.text("Hash") {
            Some("256") => Hash::Sha256,
            Some("384") => Hash::Sha384,
            _ => Hash::Sha512,
        }
    }

    fn aes(&self) -> AesKey {
        match self.octets("Key").len() {
            16 => AesKey::Bits128,
            24 => AesKey::Bits192,
            _ => AesKey::Bits256,
        }
    }
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let length = match value.len() {
        0..0x80 => vec![length[1]],
        0x80..0x100 => vec![0x81, length[1]],
        _ => vec![0x82, length[0], length[1]],
    };
    [vec![tag], length, value.to_vec()].concat()
}

/// An INTEGER that is not negative.
fn integer(octets: &[u8]) -> Vec<u8> {
    let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len().saturating_sub(1));
    let digits = &octets[start..];
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    tlv(2, &[sign, digits].concat())
}

/// The key that a vector's `n` and `e` are.
fn rsa_key(vector: &Vector<'_>) -> PublicKey {
    /// rsaEncryption and NULL.
    const ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let key = tlv(0x30, &[integer(&vector.octets("n")), integer(&vector.octets("e"))].concat());
    let info = tlv(0x30, &[ALGORITHM, &tlv(3, &[&[0], key.as_slice()].concat())].concat());
    PublicKey::from_spki_der(&info).unwrap()
}

#[test]
fn rsa_pkcs1_signatures() {
    let vectors = Vector::all(include_str!("cavp/rsa-pkcs1.rsp"));
    let mut valid = 0;
    for vector in &vectors {
        let (key, scheme) = (rsa_key(vector), SignatureScheme::RsaPkcs1(vector.hash()));
        let is_right = key.verify(scheme, &vector.octets("Msg"), &vector.octets("S")).is_ok();
        assert_eq!(is_right, vector.text("Result") == Some("P"), "{:?}", vector.0);
        valid += usize::from(is_right);
    }
    assert!(vectors.len() > 100 && valid > 10, "{valid} of {} are right", vectors.len());
}

/// What we take has a salt as long as its hash, as what we write says (RFC 7427 appendix A.4: the length stands in the
/// AlgorithmIdentifier; RFC 4055 §3.1 recommends that one). Signatures that are right, and have another, are refused.
#[test]
fn rsa_pss_signatures() {
    let vectors = Vector::all(include_str!("cavp/rsa-pss.rsp"));
    let (mut taken, mut of_other_salts, mut wrong) = (0, 0, 0);
    for vector in &vectors {
        let hash = vector.hash();
        let length = match hash {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            _ => 64,
        };
        let has_its_length = vector.text("Salt").unwrap().parse() == Ok(length);
        let is_right = vector.text("Result") == Some("P");
        let verified =
            rsa_key(vector).verify(SignatureScheme::RsaPss(hash), &vector.octets("Msg"), &vector.octets("S"));
        assert_eq!(verified.is_ok(), is_right && has_its_length, "{:?}", vector.0);
        match (is_right, has_its_length) {
            (true, true) => taken += 1,
            (true, false) => of_other_salts += 1,
            (false, _) => wrong += 1,
        }
    }
    assert_eq!((taken, of_other_salts, wrong), (15, 21, 18));
}

#[test]
fn ecdsa_signatures() {
    /// id-ecPublicKey and the curve.
    fn algorithm(curve: &str) -> (&'static [u8], usize) {
        match curve {
            "P-256" => {
                (b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 32)
            }
            "P-384" => (b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22", 48),
            _ => (b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23", 66),
        }
    }
    let vectors = Vector::all(include_str!("cavp/ecdsa.rsp"));
    let mut valid = 0;
    for vector in &vectors {
        let (algorithm, length) = algorithm(vector.text("Curve").unwrap());
        let point = [vec![0, 4], vector.padded("Qx", length), vector.padded("Qy", length)].concat();
        let info = tlv(0x30, &[algorithm, &tlv(3, &point)].concat());
        let signature =
            tlv(0x30, &[integer(&vector.padded("R", length)), integer(&vector.padded("S", length))].concat());
        // Some have a key that is no point of the curve.
        let key = PublicKey::from_spki_der(&info);
        let scheme = SignatureScheme::Ecdsa(vector.hash());
        let is_right = key.is_ok_and(|key| key.verify(scheme, &vector.octets("Msg"), &signature).is_ok());
        assert_eq!(is_right, vector.text("Result") == Some("P"), "{:?}", vector.0);
        valid += usize::from(is_right);
    }
    assert!(vectors.len() > 100 && valid > 20, "{valid} of {} are right", vectors.len());
}

/// Gives what it was made with, as often as it is asked.
struct Always(Vec<u8>);

impl RandomSource for Always {
    fn fill(&self, octets: &mut [u8]) {
        octets.copy_from_slice(&self.0);
    }
}

#[test]
fn ecdh() {
    let vectors = Vector::all(include_str!("cavp/ecdh.rsp"));
    for vector in &vectors {
        let (method, length) = match vector.text("Curve") {
            Some("P-256") => (KeMethod::ECP_256, 32),
            Some("P-384") => (KeMethod::ECP_384, 48),
            _ => (KeMethod::ECP_521, 66),
        };
        let provider = CryptoProvider::new(Always(vector.padded("Private", length)));
        let peer = [vector.padded("Qx", length), vector.padded("Qy", length)].concat();
        let shared = provider.start(method).unwrap().complete(&peer);
        match vector.text("Z") {
            Some(_) => assert_eq!(shared.unwrap().octets(), vector.padded("Z", length), "{:?}", vector.0),
            None => assert!(shared.is_err(), "no point of the curve: {:?}", vector.0),
        }
    }
    assert!(vectors.len() > 60, "{}", vectors.len());
}

#[test]
fn aes_gcm() {
    let vectors = Vector::all(include_str!("cavp/aes-gcm.rsp"));
    for vector in &vectors {
        let (iv, tag) = (vector.octets("IV"), vector.octets("Tag").try_into().unwrap());
        let (salt, iv) = iv.split_at(4);
        let (key, iv) = ([vector.octets("Key"), salt.to_vec()].concat(), iv.try_into().unwrap());
        let (aead, associated) = (Aead::AesGcm16(vector.aes()), vector.octets("AAD"));
        let mut text = vector.octets("CT");
        let opened = aead.open(&key, iv, &associated, &mut text, tag);
        match vector.text("PT") {
            Some(_) => {
                opened.unwrap();
                assert_eq!(text, vector.octets("PT"), "{:?}", vector.0);
                assert_eq!(aead.seal(&key, iv, &associated, &mut text), tag);
                assert_eq!(text, vector.octets("CT"));
            }
            None => assert!(opened.is_err(), "{:?}", vector.0),
        }
    }
    assert_eq!(vectors.len(), 300);
}

#[test]
fn aes_cbc() {
    for vector in Vector::all(include_str!("cavp/aes-cbc.rsp")) {
        let (key, iv) = (vector.octets("Key"), vector.octets("IV").try_into().unwrap());
        let mut text = vector.octets("PT");
        cbc::encrypt(vector.aes(), &key, &iv, &mut text);
        assert_eq!(text, vector.octets("CT"));
        cbc::decrypt(vector.aes(), &key, &iv, &mut text).unwrap();
        assert_eq!(text, vector.octets("PT"));
    }
}

#[test]
fn pseudorandom_functions() {
    let vectors = Vector::all(include_str!("cavp/prf.rsp"));
    let mut blocks = 0;
    for vector in &vectors {
        let prf = match vector.text("PRF").unwrap() {
            "HMAC_SHA1" => Prf::HmacSha1,
            "HMAC_SHA256" => Prf::HmacSha256,
            "HMAC_SHA384" => Prf::HmacSha384,
            "HMAC_SHA512" => Prf::HmacSha512,
            _ => Prf::Aes128Cmac,
        };
        let (key, expected) = (vector.octets("KI"), vector.octets("KO"));
        let mut output = Vec::new();
        for input in vector.each("instring") {
            output.extend(prf.compute(&key, &[&input]).octets());
            blocks += 1;
        }
        assert_eq!(output.get(..expected.len()), Some(&expected[..]), "{:?}", vector.0);
    }
    assert_eq!((vectors.len(), blocks), (64, 88));
}

#[test]
fn hashes() {
    let vectors = Vector::all(include_str!("cavp/sha.rsp"));
    for vector in &vectors {
        let hash = match vector.text("Hash").unwrap() {
            "SHA1" => Hash::Sha1,
            "SHA256" => Hash::Sha256,
            "SHA384" => Hash::Sha384,
            _ => Hash::Sha512,
        };
        let length: usize = vector.text("Len").unwrap().parse().unwrap();
        let message = vector.octets("Msg");
        // A message of no length is written as one zero.
        let message = message.get(..length / 8).unwrap();
        assert_eq!(hash.digest(message).as_ref(), vector.octets("MD"), "{:?}", vector.0);
    }
    assert!(vectors.len() > 50, "{}", vectors.len());
}
