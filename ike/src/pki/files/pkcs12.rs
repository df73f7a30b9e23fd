//! PKCS#12 (RFC 7292): certificates and private keys in one file, encrypted and authenticated with a passphrase.
//!
//! ```text
//! PFX { version, AuthenticatedSafe in ContentInfo, MacData }
//! AuthenticatedSafe: SEQUENCE OF ContentInfo { data | encryptedData }, each with SafeContents
//! SafeContents: SEQUENCE OF SafeBag { keyBag | pkcs8ShroudedKeyBag | certBag | ... }
//! ```

use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use des::TdesEde3;
use pkcs8::pkcs5::EncryptionScheme;
use ring::{digest, hmac};
use zeroize::Zeroizing;

use super::FileError;
use crate::pki::Certificate;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERT_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
/// pbeWithSHAAnd3-KeyTripleDES-CBC (RFC 7292 appendix C).
const SHA1_DES3: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");

/// The most rounds that are made of a passphrase: a few seconds of work.
const MAX_ROUNDS: u32 = 10_000_000;

/// What is in a container.
#[derive(Default)]
pub struct Container {
    /// In the file's order.
    pub certificates: Vec<Certificate>,
    /// Private keys as PKCS#8, in the file's order.
    pub keys: Vec<Zeroizing<Vec<u8>>>,
}

/// Opens a container with the first of `passphrases` that fits.
///
/// # Errors
/// If it is none, none of them fits, or it is protected in a way that is not read.
pub fn container(octets: &[u8], passphrases: &[Zeroizing<Vec<u8>>]) -> Result<Container, FileError> {
    let sealed = Sealed::read(octets).map_err(malformed)?;
    if passphrases.is_empty() {
        return Err(FileError::NoPassphrase);
    }
    for passphrase in passphrases {
        match sealed.open(passphrase) {
            Err(FileError::WrongPassphrase) => {}
            decided => return decided,
        }
    }
    Err(FileError::WrongPassphrase)
}

fn malformed(error: der::Error) -> FileError {
    FileError::Container(error.to_string())
}

/// A container before it is opened.
struct Sealed<'a> {
    safe: &'a [u8],
    mac: Option<Mac<'a>>,
}

/// What authenticates it.
struct Mac<'a> {
    hash: ObjectIdentifier,
    digest: &'a [u8],
    salt: &'a [u8],
    rounds: u32,
}

impl<'a> Sealed<'a> {
    fn read(octets: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(octets)?;
        let sealed = reader.sequence(|reader| {
            let version: u8 = reader.decode()?;
            if version != 3 {
                return Err(Tag::Integer.value_error().into());
            }
            let (kind, content) = content_info(reader)?;
            if kind != DATA {
                // Signed containers need no passphrase, but somebody's key.
                return Err(Tag::ObjectIdentifier.value_error().into());
            }
            let safe = <&OctetStringRef>::from_der(content)?.as_bytes();
            let mac = if reader.is_finished() { None } else { Some(Mac::read(reader)?) };
            Ok::<_, der::Error>(Self { safe, mac })
        })?;
        reader.finish()?;
        Ok(sealed)
    }

    fn open(&self, passphrase: &[u8]) -> Result<Container, FileError> {
        if let Some(mac) = &self.mac {
            mac.verify(self.safe, passphrase)?;
        }
        let mut container = Container::default();
        let mut reader = SliceReader::new(self.safe).map_err(malformed)?;
        let contents = reader
            .sequence(|reader| {
                let mut contents = Vec::new();
                while !reader.is_finished() {
                    contents.push(content_info(reader)?);
                }
                Ok::<_, der::Error>(contents)
            })
            .map_err(malformed)?;
        for (kind, content) in contents {
            if kind == DATA {
                let octets = <&OctetStringRef>::from_der(content).map_err(malformed)?;
                container.take(octets.as_bytes(), passphrase)?;
            } else if kind == ENCRYPTED_DATA {
                let (algorithm, octets) = encrypted(content).map_err(malformed)?;
                container.take(&decrypt(algorithm, octets, passphrase)?, passphrase)?;
            } else {
                return Err(FileError::Container(format!("it has contents of the type {kind}")));
            }
        }
        Ok(container)
    }
}

impl Container {
    /// Takes what is in SafeContents. Bags of other kinds (revocation lists, secrets) are passed over.
    fn take(&mut self, octets: &[u8], passphrase: &[u8]) -> Result<(), FileError> {
        let mut reader = SliceReader::new(octets).map_err(malformed)?;
        let bags = reader
            .sequence(|reader| {
                let mut bags = Vec::new();
                while !reader.is_finished() {
                    bags.push(reader.sequence(|bag| {
                        let kind: ObjectIdentifier = bag.decode()?;
                        let value = explicit(bag)?;
                        if !bag.is_finished() {
                            AnyRef::decode(bag)?; // attributes: names for people
                        }
                        Ok::<_, der::Error>((kind, value))
                    })?);
                }
                Ok::<_, der::Error>(bags)
            })
            .map_err(malformed)?;
        for (kind, value) in bags {
            if kind == KEY_BAG {
                self.keys.push(value.to_vec().into());
            } else if kind == SHROUDED_KEY_BAG {
                let (algorithm, octets) = shrouded(value).map_err(malformed)?;
                self.keys.push(decrypt(algorithm, octets, passphrase)?);
            } else if kind == CERT_BAG
                && let Some(der) = certificate(value).map_err(malformed)?
            {
                self.certificates.push(Certificate::from_der(der)?);
            }
        }
        Ok(())
    }
}

impl<'a> Mac<'a> {
    /// MacData (RFC 7292 §4).
    fn read(reader: &mut SliceReader<'a>) -> der::Result<Self> {
        reader.sequence(|reader| {
            let (hash, digest) = reader.sequence(|info| {
                let algorithm = info.sequence(|algorithm| {
                    let hash: ObjectIdentifier = algorithm.decode()?;
                    if !algorithm.is_finished() {
                        AnyRef::decode(algorithm)?; // NULL
                    }
                    Ok::<_, der::Error>(hash)
                })?;
                Ok::<_, der::Error>((algorithm, octet_string(info)?))
            })?;
            let salt = octet_string(reader)?;
            let rounds = if reader.is_finished() { 1 } else { reader.decode()? };
            Ok(Self { hash, digest, salt, rounds })
        })
    }

    fn verify(&self, octets: &[u8], passphrase: &[u8]) -> Result<(), FileError> {
        let (hash, algorithm) = match self.hash.to_string().as_str() {
            "1.3.14.3.2.26" => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            "2.16.840.1.101.3.4.2.1" => (&digest::SHA256, hmac::HMAC_SHA256),
            "2.16.840.1.101.3.4.2.2" => (&digest::SHA384, hmac::HMAC_SHA384),
            "2.16.840.1.101.3.4.2.3" => (&digest::SHA512, hmac::HMAC_SHA512),
            other => return Err(FileError::ContainerProtection(other.to_owned())),
        };
        let key = derive(hash, Purpose::Mac, passphrase, self.salt, self.rounds, hash.output_len())?;
        let key = hmac::Key::new(algorithm, &key);
        hmac::verify(&key, octets, self.digest).map_err(|_| FileError::WrongPassphrase)
    }
}

/// ContentInfo (RFC 5652 §3): the type, and what is in `[0]`.
fn content_info<'a>(reader: &mut SliceReader<'a>) -> der::Result<(ObjectIdentifier, &'a [u8])> {
    reader.sequence(|info| Ok((info.decode()?, explicit(info)?)))
}

/// What is in `[0] EXPLICIT`.
fn explicit<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    let outer = AnyRef::decode(reader)?;
    outer.tag().assert_eq(Tag::ContextSpecific { constructed: true, number: TagNumber(0) })?;
    Ok(outer.value())
}

fn octet_string<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    let octets = AnyRef::decode(reader)?;
    octets.tag().assert_eq(Tag::OctetString)?;
    Ok(octets.value())
}

/// EncryptedData (RFC 5652 §8): the AlgorithmIdentifier and the encrypted octets.
fn encrypted(octets: &[u8]) -> der::Result<(&[u8], &[u8])> {
    SliceReader::new(octets)?.sequence(|data| {
        let _version: u8 = data.decode()?;
        data.sequence(|info| {
            let _kind: ObjectIdentifier = info.decode()?;
            let algorithm = info.tlv_bytes()?;
            let content = AnyRef::decode(info)?;
            content.tag().assert_eq(Tag::ContextSpecific { constructed: false, number: TagNumber(0) })?;
            Ok((algorithm, content.value()))
        })
    })
}

/// EncryptedPrivateKeyInfo (RFC 5958 §3).
fn shrouded(octets: &[u8]) -> der::Result<(&[u8], &[u8])> {
    SliceReader::new(octets)?.sequence(|info| Ok((info.tlv_bytes()?, octet_string(info)?)))
}

/// The certificate in a CertBag (RFC 7292 §4.2.3), if it is of X.509.
fn certificate(octets: &[u8]) -> der::Result<Option<&[u8]>> {
    let (kind, value) = SliceReader::new(octets)?.sequence(|bag| {
        let kind: ObjectIdentifier = bag.decode()?;
        Ok::<_, der::Error>((kind, explicit(bag)?))
    })?;
    let octets = <&OctetStringRef>::from_der(value)?;
    Ok((kind == X509_CERTIFICATE).then_some(octets.as_bytes()))
}

fn decrypt(algorithm: &[u8], octets: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (scheme, salt, rounds) = SliceReader::new(algorithm)
        .and_then(|mut reader| {
            reader.sequence(|reader| {
                let scheme: ObjectIdentifier = reader.decode()?;
                if scheme != SHA1_DES3 {
                    reader.tlv_bytes()?;
                    return Ok((scheme, &[][..], 0));
                }
                reader.sequence(|parameters| Ok((scheme, octet_string(parameters)?, parameters.decode()?)))
            })
        })
        .map_err(malformed)?;
    if scheme == PBES2 {
        let scheme = EncryptionScheme::from_der(algorithm)
            .map_err(|error| FileError::ContainerProtection(error.to_string()))?;
        return match scheme.decrypt(passphrase, octets) {
            Ok(octets) => Ok(octets.into()),
            Err(error @ pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }) => {
                Err(FileError::ContainerProtection(error.to_string()))
            }
            Err(_wrong) => Err(FileError::WrongPassphrase),
        };
    }
    if scheme != SHA1_DES3 {
        return Err(FileError::ContainerProtection(scheme.to_string()));
    }
    let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let key = derive(sha1, Purpose::Key, passphrase, salt, rounds, 24)?;
    let iv = derive(sha1, Purpose::Iv, passphrase, salt, rounds, 8)?;
    let decryptor =
        Decryptor::<TdesEde3>::new_from_slices(&key, &iv).map_err(|_| FileError::WrongPassphrase)?;
    let mut octets = Zeroizing::new(octets.to_vec());
    let length =
        decryptor.decrypt_padded::<Pkcs7>(&mut octets).map_err(|_| FileError::WrongPassphrase)?.len();
    octets.truncate(length);
    Ok(octets)
}

/// What octets are made for (RFC 7292 appendix B.3).
#[derive(Clone, Copy)]
enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// Makes octets of a passphrase (RFC 7292 appendix B.2).
fn derive(
    hash: &'static digest::Algorithm,
    purpose: Purpose,
    passphrase: &[u8],
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    if !(1..=MAX_ROUNDS).contains(&rounds) {
        return Err(FileError::Container(format!("{rounds} rounds are not done: {MAX_ROUNDS} are the most")));
    }
    // RFC 7292 appendix B.1: BMPString with a zero at its end.
    let text = std::str::from_utf8(passphrase).map_err(|_| FileError::WrongPassphrase)?;
    let password: Zeroizing<Vec<u8>> =
        Zeroizing::new(text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect());
    let block = hash.block_len();
    let fill = |octets: &[u8]| -> Vec<u8> {
        octets.iter().copied().cycle().take(octets.len().next_multiple_of(block)).collect()
    };
    let diversifier = vec![purpose as u8; block];
    let mut input = Zeroizing::new([fill(salt), fill(&password)].concat());
    let mut made = Zeroizing::new(Vec::with_capacity(length + hash.output_len()));
    loop {
        let mut round = digest::Context::new(hash);
        round.update(&diversifier);
        round.update(&input);
        let mut output = round.finish();
        for _ in 1..rounds {
            output = digest::digest(hash, output.as_ref());
        }
        made.extend_from_slice(output.as_ref());
        if made.len() >= length {
            made.truncate(length);
            return Ok(made);
        }
        // Each block of the input has the output, repeated, and one added to it.
        for block in input.chunks_mut(block) {
            let mut carry = 1_u16;
            let added: Vec<u8> = output.as_ref().iter().copied().cycle().take(block.len()).collect();
            for (octet, other) in block.iter_mut().zip(&added).rev() {
                let [high, low] = (u16::from(*octet) + u16::from(*other) + carry).to_be_bytes();
                *octet = low;
                carry = u16::from(high);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::signature::{KeyType, PrivateKey};

    fn open(file: &[u8], texts: &[&str]) -> Result<Container, FileError> {
        let passphrases: Vec<_> = texts.iter().map(|text| Zeroizing::new(text.as_bytes().to_vec())).collect();
        container(file, &passphrases)
    }

    /// Made by OpenSSL 3, encrypted with "ferry": as it does by default, and as it and others did before.
    const SAMPLES: [&[u8]; 3] = [
        include_bytes!("samples/aes256.p12"),
        include_bytes!("samples/des3-sha1.p12"),
        include_bytes!("samples/no-mac.p12"),
    ];

    #[test]
    fn containers_have_a_key_and_its_certificates() {
        for file in SAMPLES {
            let container = open(file, &["wrong", "ferry"]).unwrap();
            let names: Vec<_> = container.certificates.iter().map(ToString::to_string).collect();
            assert_eq!(names.len(), 2, "{names:?}");
            let key = PrivateKey::from_der(&container.keys[0]).unwrap();
            assert_ne!(key.key_type(), KeyType::Rsa);
            assert_eq!(key.public().info_id(), *container.certificates[0].key_hash());
            assert!(matches!(open(file, &["wrong"]), Err(FileError::WrongPassphrase)));
            assert!(matches!(open(file, &[]), Err(FileError::NoPassphrase)));
        }
    }

    #[test]
    fn what_is_not_read_says_so() {
        let rc2 = open(include_bytes!("samples/rc2.p12"), &["ferry"]).map(drop).unwrap_err().to_string();
        assert!(rc2.contains("1.2.840.113549.1.12.1.6") && rc2.contains("openssl pkcs12"), "{rc2}");
        assert!(matches!(open(b"hello", &["ferry"]), Err(FileError::Container(_))));
        for cut in 0..SAMPLES[0].len() {
            assert!(open(&SAMPLES[0][..cut], &["ferry"]).is_err());
        }
    }

    #[test]
    fn damage_is_noticed() {
        // The rounds of the MAC stand near its end: to make them many is no way to keep anybody busy.
        let file = SAMPLES[1];
        for at in (0..file.len()).step_by(7) {
            let mut octets = file.to_vec();
            octets[at] ^= 0x40;
            assert!(open(&octets, &["ferry"]).is_err(), "octet {at}");
        }
    }
}
