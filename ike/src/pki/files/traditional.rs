//! Keys encrypted as OpenSSL did before PKCS#8: a header of PEM names the cipher (RFC 1421 §4.6.1.3), the key comes of
//! one round of MD5.
//!
//! ```text
//! Proc-Type: 4,ENCRYPTED
//! DEK-Info: AES-128-CBC,1F3A...
//! ```

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use der::Decode as _;
use des::TdesEde3;
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use super::FileError;

/// Decrypts a key, `encryption` being the value of DEK-Info.
pub(super) fn decrypt(
    der: &[u8],
    encryption: &str,
    passphrase: &[u8],
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (cipher, iv) = encryption.split_once(',').unwrap_or((encryption, ""));
    let iv =
        hex(iv.trim()).ok_or_else(|| FileError::Pem("DEK-Info has no initialization vector".to_owned()))?;
    match cipher.trim() {
        "AES-128-CBC" => cbc::<Decryptor<Aes128>>(der, &iv, 16, passphrase),
        "AES-192-CBC" => cbc::<Decryptor<Aes192>>(der, &iv, 24, passphrase),
        "AES-256-CBC" => cbc::<Decryptor<Aes256>>(der, &iv, 32, passphrase),
        "DES-EDE3-CBC" => cbc::<Decryptor<TdesEde3>>(der, &iv, 24, passphrase),
        other => Err(FileError::Encryption(other.to_owned())),
    }
}

fn cbc<D: KeyIvInit + BlockModeDecrypt>(
    der: &[u8],
    iv: &[u8],
    key_length: usize,
    passphrase: &[u8],
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let damaged = || FileError::Pem("DEK-Info has an initialization vector of the wrong length".to_owned());
    let salt = iv.get(..8).ok_or_else(damaged)?;
    let key = key(passphrase, salt, key_length);
    let decryptor = D::new_from_slices(&key, iv).map_err(|_| damaged())?;
    let mut octets = Zeroizing::new(der.to_vec());
    let length =
        decryptor.decrypt_padded::<Pkcs7>(&mut octets).map_err(|_| FileError::WrongPassphrase)?.len();
    octets.truncate(length);
    // One in 256 wrong passphrases leaves a padding that looks right; a key is a SEQUENCE of just this length.
    der::asn1::AnyRef::from_der(&octets).map_err(|_| FileError::WrongPassphrase)?;
    Ok(octets)
}

/// The key: MD5 of what came before, the passphrase and the salt, as often as it takes.
fn key(passphrase: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    while key.len() < length {
        let mut hash = Md5::new();
        hash.update(key.len().checked_sub(16).and_then(|start| key.get(start..)).unwrap_or_default());
        hash.update(passphrase);
        hash.update(salt);
        key.extend_from_slice(&hash.finalize());
    }
    key.truncate(length);
    key
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect())?
}
