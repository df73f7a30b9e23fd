//! Files of certificates and keys: PEM (RFC 7468) and DER.
//!
//! PEM may have several parts and text between them. A private key is PKCS#8 (RFC 5958), plain or encrypted, PKCS#1 (RFC
//! 8017) or SEC 1 (RFC 5915); the latter two may be encrypted the way OpenSSL did it before PKCS#8 ([`traditional`]).
//! PKCS#12 has certificates and keys in one file.

mod pkcs12;
mod traditional;

use der::Decode as _;
use pkcs8::EncryptedPrivateKeyInfoRef;
use zeroize::Zeroizing;

pub use self::pkcs12::{Container, container};
use super::{Certificate, CertificateError};
use crate::crypto::signature::{KeyError, PublicKey};

/// The longest file that is read.
const MAX_LENGTH: usize = 32 << 20;

/// Why a file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no PEM in it, and it is no DER either.
    #[error("this is neither PEM nor DER")]
    Neither,
    /// Longer than anything that is read.
    #[error("{0} octets are too many: 32 MiB are the most")]
    TooLong(usize),
    /// The PEM is broken.
    #[error("this is no proper PEM: {0}")]
    Pem(String),
    /// It has other things in it.
    #[error("expected {expected}, found {found}")]
    Other {
        /// What was asked for.
        expected: &'static str,
        /// What the PEM says it has.
        found: String,
    },
    /// A certificate in it cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A key in it cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A passphrase is needed, and there is none.
    #[error("the key is encrypted, and there is no passphrase for it")]
    NoPassphrase,
    /// It is not that passphrase.
    #[error("the key cannot be decrypted: the passphrase is wrong, or the file damaged")]
    WrongPassphrase,
    /// It is no PKCS#12, or damaged.
    #[error("this is no PKCS#12 container in DER: {0}")]
    Container(String),
    /// A container that is protected in a way that is not read.
    #[error(
        "the container is protected with {0}, which is not read; `openssl pkcs12 -export` of version 3 makes one that is"
    )]
    ContainerProtection(String),
    /// It is encrypted in a way that is not read.
    #[error(
        "the key is encrypted with {0}, which is not read; `openssl pkcs8 -topk8 -v2 aes256` makes one that is"
    )]
    Encryption(String),
}

/// How PEM calls private keys.
const KEY_LABELS: &[&str] = &["PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// One part of a file.
struct Part {
    /// What PEM calls it; `None` for DER.
    label: Option<String>,
    /// How it is encrypted, if it is in the old way (RFC 1421 §4.6.1.3).
    encryption: Option<String>,
    der: Zeroizing<Vec<u8>>,
}

/// The parts of a file, in order.
fn parts(octets: &[u8]) -> Result<Vec<Part>, FileError> {
    if octets.len() > MAX_LENGTH {
        return Err(FileError::TooLong(octets.len()));
    }
    // All that is read here is a SEQUENCE. Text may begin with the same octet, which is "0".
    let is_sequence = octets.first() == Some(&0x30);
    let is_pem = octets.windows(11).any(|window| window == b"-----BEGIN ");
    if is_sequence && (!is_pem || der::Any::from_der(octets).is_ok()) {
        return Ok(vec![Part { label: None, encryption: None, der: octets.to_vec().into() }]);
    }
    if !is_pem {
        return Err(FileError::Neither);
    }
    let parts = pem::parse_many(octets).map_err(|error| FileError::Pem(error.to_string()))?;
    Ok(parts
        .into_iter()
        .map(|part| Part {
            label: Some(part.tag().to_owned()),
            encryption: part.headers().get("DEK-Info").map(str::to_owned),
            der: part.into_contents().into(),
        })
        .collect())
}

/// The parts that have one of these labels, or all of DER.
fn of_kind(octets: &[u8], labels: &[&str], expected: &'static str) -> Result<Vec<Part>, FileError> {
    let (wanted, others): (Vec<Part>, Vec<Part>) = parts(octets)?
        .into_iter()
        .partition(|part| part.label.as_deref().is_none_or(|label| labels.contains(&label)));
    if wanted.is_empty() {
        let found: Vec<String> = others.into_iter().filter_map(|part| part.label).collect();
        let found = if found.is_empty() { "nothing complete".to_owned() } else { found.join(", ") };
        return Err(FileError::Other { expected, found });
    }
    Ok(wanted)
}

/// All certificates of a file, in order. Keys and other parts beside them are passed over.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn certificates(octets: &[u8]) -> Result<Vec<Certificate>, FileError> {
    const LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
    let parts = of_kind(octets, &LABELS, "a certificate")?;
    parts.iter().map(|part| Ok(Certificate::from_der(&part.der)?)).collect()
}

/// The public key in a file.
///
/// # Errors
/// If there is none, or it is of no kind that is supported.
pub fn public_key(octets: &[u8]) -> Result<PublicKey, FileError> {
    let part = of_kind(octets, &["PUBLIC KEY"], "a public key")?.swap_remove(0);
    Ok(PublicKey::from_spki_der(&part.der)?)
}

/// The DER of the certificate revocation list in a file.
///
/// # Errors
/// If there is none.
pub fn revocation_list(octets: &[u8]) -> Result<Vec<u8>, FileError> {
    let mut part = of_kind(octets, &["X509 CRL", "CRL"], "a certificate revocation list")?.swap_remove(0);
    Ok(std::mem::take(&mut *part.der))
}

/// Something in DER as PEM.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

/// The DER of the private key in a file, decrypted if need be with the first of `passphrases` that fits.
///
/// # Errors
/// If there is none, or it cannot be decrypted. Whether the key can be used is for
/// [`PrivateKey::from_der`](crate::crypto::signature::PrivateKey::from_der) to say.
pub fn private_key(
    octets: &[u8],
    passphrases: &[Zeroizing<Vec<u8>>],
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let part = of_kind(octets, KEY_LABELS, "a private key")?.swap_remove(0);
    let decrypt: &dyn Fn(&[u8]) -> Decrypted = match &part.encryption {
        Some(encryption) => &|passphrase| traditional::decrypt(&part.der, encryption, passphrase),
        None if is_encrypted_pkcs8(&part) => &|passphrase| pkcs8(&part.der, passphrase),
        None => return Ok(part.der),
    };
    if passphrases.is_empty() {
        return Err(FileError::NoPassphrase);
    }
    for passphrase in passphrases {
        match decrypt(passphrase) {
            Err(FileError::WrongPassphrase) => {}
            decided => return decided,
        }
    }
    Err(FileError::WrongPassphrase)
}

/// Whether the private key in a file needs a passphrase.
///
/// # Errors
/// If there is none.
pub fn is_encrypted(octets: &[u8]) -> Result<bool, FileError> {
    let part = of_kind(octets, KEY_LABELS, "a private key")?.swap_remove(0);
    Ok(part.encryption.is_some() || is_encrypted_pkcs8(&part))
}

/// A key in DER.
type Decrypted = Result<Zeroizing<Vec<u8>>, FileError>;

fn is_encrypted_pkcs8(part: &Part) -> bool {
    match part.label.as_deref() {
        Some(label) => label == "ENCRYPTED PRIVATE KEY",
        // SEQUENCE { SEQUENCE { OID ... where the others have an INTEGER.
        None => EncryptedPrivateKeyInfoRef::from_der(&part.der).is_ok() || is_named_first(&part.der),
    }
}

/// Whether a SEQUENCE begins with a SEQUENCE that begins with an OBJECT IDENTIFIER.
fn is_named_first(octets: &[u8]) -> bool {
    let inner =
        |octets| der::asn1::AnyRef::from_der(octets).ok().map(|any: der::asn1::AnyRef<'_>| any.value());
    let Some(outer) = inner(octets) else { return false };
    let mut reader = match der::SliceReader::new(outer) {
        Ok(reader) => reader,
        Err(_) => return false,
    };
    let first = der::Reader::tlv_bytes(&mut reader);
    first.is_ok_and(|first| {
        first.first() == Some(&0x30) && inner(first).is_some_and(|v| v.first() == Some(&0x06))
    })
}

/// RFC 5958 §3, encrypted by PBES2 (RFC 8018 §6.2).
fn pkcs8(der: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| {
        // An unknown scheme and plain damage look the same from here.
        FileError::Encryption(format!("something unknown ({error})"))
    })?;
    match info.decrypt(passphrase) {
        Ok(document) => Ok(Zeroizing::new(document.as_bytes().to_vec())),
        Err(pkcs8::Error::EncryptedPrivateKey(error @ pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. })) => {
            Err(FileError::Encryption(error.to_string()))
        }
        Err(_wrong) => Err(FileError::WrongPassphrase),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::signature::PrivateKey;

    /// The same key in all ways that OpenSSL 3 writes it, encrypted with "ferry".
    macro_rules! sample {
        ($name:literal) => {
            include_bytes!(concat!("samples/", $name, ".pem")).as_slice()
        };
    }

    fn passphrases(texts: &[&str]) -> Vec<Zeroizing<Vec<u8>>> {
        texts.iter().map(|text| Zeroizing::new(text.as_bytes().to_vec())).collect()
    }

    fn key_id(file: &[u8], texts: &[&str]) -> Result<[u8; 20], FileError> {
        let der = private_key(file, &passphrases(texts))?;
        Ok(PrivateKey::from_der(&der)?.public().key_id())
    }

    #[test]
    fn a_key_is_the_same_in_every_form() {
        let public = public_key(sample!("public")).unwrap().key_id();
        for plain in [sample!("sec1"), sample!("pkcs8")] {
            assert_eq!(key_id(plain, &[]).unwrap(), public);
            let der = private_key(plain, &[]).unwrap();
            assert_eq!(key_id(&der, &[]).unwrap(), public, "in DER");
        }
        for encrypted in [
            sample!("pkcs8-aes256"),
            sample!("pkcs8-des3-sha1"),
            sample!("pkcs8-scrypt"),
            sample!("sec1-aes128"),
            sample!("sec1-aes192"),
            sample!("sec1-aes256"),
            sample!("sec1-des3"),
        ] {
            assert_eq!(key_id(encrypted, &["wrong", "ferry"]).unwrap(), public);
            assert!(matches!(key_id(encrypted, &["wrong"]), Err(FileError::WrongPassphrase)));
            assert!(matches!(key_id(encrypted, &[]), Err(FileError::NoPassphrase)));
        }
        let encrypted = pem::parse(sample!("pkcs8-aes256")).unwrap().into_contents();
        assert_eq!(key_id(&encrypted, &["ferry"]).unwrap(), public, "encrypted DER");
        assert!(matches!(key_id(&encrypted, &[]), Err(FileError::NoPassphrase)));
    }

    #[test]
    fn what_is_not_read_comes_with_advice() {
        let error = |file: &[u8]| private_key(file, &passphrases(&["ferry"])).unwrap_err().to_string();
        assert_eq!(
            error(sample!("sec1-camellia")),
            "the key is encrypted with CAMELLIA-128-CBC, which is not read; `openssl pkcs8 -topk8 -v2 aes256` makes one \
             that is"
        );
        let old = error(sample!("pkcs8-v1"));
        assert!(old.starts_with("the key is encrypted with ") && old.contains("-v2 aes256"), "{old}");
        assert_eq!(error(sample!("public")), "expected a private key, found PUBLIC KEY");
        assert_eq!(error(b"hello"), "this is neither PEM nor DER");
        assert_eq!(error(b""), "this is neither PEM nor DER");
        let cut = sample!("sec1").strip_suffix(b"-----END EC PRIVATE KEY-----\n").unwrap();
        assert!(
            error(cut).contains("found nothing complete") || error(cut).contains("proper PEM"),
            "{}",
            error(cut)
        );
    }

    #[test]
    fn all_certificates_of_a_file_are_read() {
        let names = |file: &[u8]| -> Vec<String> {
            certificates(file).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(sample!("two")), ["O=Lab, CN=one", "O=Lab, CN=two"]);
        let with_key = [sample!("sec1"), sample!("two")].concat();
        assert_eq!(names(&with_key).len(), 2);
        assert!(key_id(&with_key, &[]).is_ok());
        let der = certificates(sample!("two")).unwrap().remove(1);
        assert_eq!(names(der.der()), ["O=Lab, CN=two"]);
        assert!(certificates(sample!("sec1")).is_err());
        assert!(revocation_list(sample!("two")).is_err());
    }
}
