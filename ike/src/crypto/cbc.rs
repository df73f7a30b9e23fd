//! AES-CBC over whole blocks (RFC 3602). Padding is the payload's, and integrity is checked before.

use aes::{Aes128, Aes192, Aes256};
use cbc::{
    Decryptor, Encryptor,
    cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding},
};

use super::cipher::AesKey;

/// Octets of a block, and of the initialization vector.
pub(super) const BLOCK_LEN: usize = 16;

const KEY_FITS: &str = "the key schedule gives each cipher the octets it asked for";

/// Encrypts `blocks` in place. The caller pads to whole blocks.
pub(super) fn encrypt(aes: AesKey, key: &[u8], iv: &[u8; BLOCK_LEN], blocks: &mut [u8]) {
    fn run<E: KeyIvInit + BlockModeEncrypt>(key: &[u8], iv: &[u8], blocks: &mut [u8]) {
        let len = blocks.len();
        E::new_from_slices(key, iv)
            .expect(KEY_FITS)
            .encrypt_padded::<NoPadding>(blocks, len)
            .expect("the caller padded to whole blocks");
    }
    match aes {
        AesKey::Bits128 => run::<Encryptor<Aes128>>(key, iv, blocks),
        AesKey::Bits192 => run::<Encryptor<Aes192>>(key, iv, blocks),
        AesKey::Bits256 => run::<Encryptor<Aes256>>(key, iv, blocks),
    }
}

/// Decrypts `blocks` in place; `None` if they are not whole blocks.
pub(super) fn decrypt(aes: AesKey, key: &[u8], iv: &[u8; BLOCK_LEN], blocks: &mut [u8]) -> Option<()> {
    fn run<D: KeyIvInit + BlockModeDecrypt>(key: &[u8], iv: &[u8], blocks: &mut [u8]) -> Option<()> {
        let mode = D::new_from_slices(key, iv).expect(KEY_FITS);
        mode.decrypt_padded::<NoPadding>(blocks).ok().map(|_| ())
    }
    match aes {
        AesKey::Bits128 => run::<Decryptor<Aes128>>(key, iv, blocks),
        AesKey::Bits192 => run::<Decryptor<Aes192>>(key, iv, blocks),
        AesKey::Bits256 => run::<Decryptor<Aes256>>(key, iv, blocks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    fn both_ways(aes: AesKey, key: &str, iv: &str, plaintext: &str, ciphertext: &str) {
        let (key, iv) = (hex(key), hex(iv).try_into().unwrap());
        let mut text = hex(plaintext);
        encrypt(aes, &key, &iv, &mut text);
        assert_eq!(text, hex(ciphertext));
        decrypt(aes, &key, &iv, &mut text).unwrap();
        assert_eq!(text, hex(plaintext));
    }

    /// RFC 3602 section 4, cases 1 and 2.
    #[test]
    fn aes_128_of_rfc_3602() {
        both_ways(
            AesKey::Bits128,
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            "53696e676c6520626c6f636b206d7367",
            "e353779c1079aeb82708942dbe77181a",
        );
        both_ways(
            AesKey::Bits128,
            "c286696d887c9aa0611bbb3e2025a45a",
            "562e17996d093d28ddb3ba695a2e6f58",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
        );
    }

    /// NIST SP 800-38A F.2.3 and F.2.5, first two blocks.
    #[test]
    fn aes_192_and_256_of_sp_800_38a() {
        let iv = "000102030405060708090a0b0c0d0e0f";
        let plaintext = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
        both_ways(
            AesKey::Bits192,
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            iv,
            plaintext,
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a",
        );
        both_ways(
            AesKey::Bits256,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            iv,
            plaintext,
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d",
        );
    }

    #[test]
    fn half_a_block_is_refused() {
        assert!(decrypt(AesKey::Bits128, &[0; 16], &[0; 16], &mut [0; 17]).is_none());
    }
}
