//! AES-CBC with a separate MAC (RFC 3602, RFC 4303 §3.3.2.1): encrypted first, then authenticated.

use aes::{Aes128, Aes192, Aes256};
use cbc::{Decryptor, Encryptor};
use cipher::common::InnerUser;
use cipher::consts::U16;
use cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser,
    InnerIvInit, KeyInit,
};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::Forged;
use super::mac::Mac;
use crate::keys::{KeyError, KeyMaterial};
use crate::sequence::SequenceNumber;
use crate::suite::{AesKeySize, HEADER_LEN, Integrity, Suite};

const BLOCK: usize = 16;

/// AES-CBC and a MAC under one SA's keys.
pub(crate) struct AesCbc {
    cipher: Aes,
    mac: Mac,
    ivs: IvSource,
}

enum Aes {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl AesCbc {
    pub(super) fn new(
        size: AesKeySize,
        integrity: Integrity,
        suite: Suite,
        keys: &KeyMaterial,
    ) -> Result<Self, KeyError> {
        let key = keys.encryption();
        let cipher = match size {
            AesKeySize::Aes128 => Aes128::new_from_slice(key).map(Aes::Aes128),
            AesKeySize::Aes192 => Aes192::new_from_slice(key).map(Aes::Aes192),
            AesKeySize::Aes256 => Aes256::new_from_slice(key).map(Aes::Aes256),
        }
        .map_err(|_| KeyError::EncryptionLength {
            suite,
            expected: size.octets(),
            got: key.len(),
        })?;
        Ok(Self { cipher, mac: Mac::new(integrity, suite, keys)?, ivs: IvSource::new()? })
    }

    pub(super) fn seal(&self, number: SequenceNumber, packet: &mut [u8]) -> Option<()> {
        self.seal_with_iv(number, self.ivs.iv(number), packet)
    }

    fn seal_with_iv(&self, number: SequenceNumber, iv: [u8; BLOCK], packet: &mut [u8]) -> Option<()> {
        let (covered, icv) = packet.split_at_mut_checked(packet.len().checked_sub(self.mac.icv_len())?)?;
        let (place, body) = covered.split_at_mut_checked(HEADER_LEN)?.1.split_first_chunk_mut()?;
        *place = iv;
        let blocks = blocks(body)?;
        match &self.cipher {
            Aes::Aes128(aes) => encrypt(aes, iv, blocks),
            Aes::Aes192(aes) => encrypt(aes, iv, blocks),
            Aes::Aes256(aes) => encrypt(aes, iv, blocks),
        }
        self.mac.write(covered, number.high(), icv);
        Some(())
    }

    pub(super) fn open<'p>(
        &self,
        number: SequenceNumber,
        packet: &'p mut [u8],
    ) -> Result<&'p mut [u8], Forged> {
        let covered_len = packet.len().checked_sub(self.mac.icv_len()).ok_or(Forged)?;
        let (covered, icv) = packet.split_at_mut_checked(covered_len).ok_or(Forged)?;
        if !self.mac.verify(covered, number.high(), icv) {
            return Err(Forged);
        }
        let (_, rest) = covered.split_at_mut_checked(HEADER_LEN).ok_or(Forged)?;
        let (iv, body) = rest.split_first_chunk_mut().ok_or(Forged)?;
        let blocks = blocks(body).ok_or(Forged)?;
        match &self.cipher {
            Aes::Aes128(aes) => decrypt(aes, *iv, blocks),
            Aes::Aes192(aes) => decrypt(aes, *iv, blocks),
            Aes::Aes256(aes) => decrypt(aes, *iv, blocks),
        }
        Ok(body)
    }
}

type Block = Array<u8, U16>;

/// The body as blocks; `None` if it is not a whole number of them.
fn blocks(body: &mut [u8]) -> Option<&mut [Block]> {
    let (blocks, rest) = Block::slice_as_chunks_mut(body);
    rest.is_empty().then_some(blocks)
}

// The modes borrow the key schedule: an owned one would be copied for every packet.
fn encrypt<'a, C>(aes: &'a C, iv: [u8; BLOCK], blocks: &mut [Block])
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
    Encryptor<&'a C>: InnerUser<Inner = &'a C>,
{
    Encryptor::inner_iv_init(aes, &Array::from(iv)).encrypt_blocks(blocks);
}

fn decrypt<'a, C>(aes: &'a C, iv: [u8; BLOCK], blocks: &mut [Block])
where
    C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
    Decryptor<&'a C>: InnerUser<Inner = &'a C>,
{
    Decryptor::inner_iv_init(aes, &Array::from(iv)).decrypt_blocks(blocks);
}

/// Makes IVs nobody can foresee (RFC 3602 §3) without asking the system for every packet.
///
/// An IV is a sequence number encrypted under a random key of this SA that is used for nothing else: to one without
/// that key it is as good as random, and because the number never repeats neither does the IV.
struct IvSource {
    permutation: Aes128,
}

impl IvSource {
    fn new() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; 16]);
        SystemRandom::new().fill(key.as_mut()).map_err(|_| KeyError::Randomness)?;
        let permutation = Aes128::new_from_slice(key.as_ref()).map_err(|_| KeyError::Randomness)?;
        Ok(Self { permutation })
    }

    fn iv(&self, number: SequenceNumber) -> [u8; BLOCK] {
        let mut block = Array::from(u128::from(number.full).to_be_bytes());
        self.permutation.encrypt_block(&mut block);
        block.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::SequenceNumbers;
    use crate::testing::unhex;

    const SHORT: SequenceNumber = SequenceNumber { full: 2, numbers: SequenceNumbers::Short };

    fn with_key(key: &[u8]) -> AesCbc {
        let suite = Suite::AesCbc(AesKeySize::Aes128, Integrity::HmacSha256_128);
        let keys = KeyMaterial::new(key, &[3; 32]);
        AesCbc::new(AesKeySize::Aes128, Integrity::HmacSha256_128, suite, &keys).expect("right lengths")
    }

    fn check(key: &str, header: &str, iv: &str, plaintext: &str, ciphertext: &str) {
        let cbc = with_key(&unhex(key));
        let iv: [u8; 16] = unhex(iv).try_into().expect("16 octets");
        let mut packet = [unhex(header), vec![0; 16], unhex(plaintext), vec![0; 16]].concat();
        cbc.seal_with_iv(SHORT, iv, &mut packet).expect("long enough");
        let icv = packet.len() - 16;
        assert_eq!(packet[..icv], [unhex(header), iv.to_vec(), unhex(ciphertext)].concat());
        assert_eq!(cbc.open(SHORT, &mut packet).expect("our own"), unhex(plaintext));
    }

    /// RFC 3602 §4, cases 2 and 4 (as bodies of packets) and 7 and 8 (the ESP packets in tunnel mode).
    #[test]
    fn rfc_3602_vectors() {
        check(
            "c286696d887c9aa0611bbb3e2025a45a",
            "00000001 00000002",
            "562e17996d093d28ddb3ba695a2e6f58",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
        );
        check(
            "56e47a38c5598974bc46903dba290349",
            "00000001 00000002",
            "8ce82eefbea0da3c44699ed7db51b7d9",
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf
             c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e
             35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
        );
        check(
            "0123456789abcdef0123456789abcdef",
            "00008765 00000002",
            "f4e765244f6407adf13dc1380f673f37",
            "450000540904000 04001f988c0a87b03c0a87bc808009f76a90a0100b49c083d
             02a2040008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
             2425262728292a2b2c2d2e2f303132333435363701020304050607080 90a0a04",
            "773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8
             e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5
             c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d",
        );
        check(
            "0123456789abcdef0123456789abcdef",
            "00008765 00000005",
            "85d47224b5f3dd5d2101d4ea8dffab22",
            "45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083d
             a3de0300ffffffffffffffffffffffffffffffffffffffffffffffffffffffff
             ffffffff0102030405060708090a0a04",
            "15b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb5
             0f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3
             d2726d9b5ef6affc6d17a0decbb13892",
        );
    }

    #[test]
    fn a_body_of_broken_blocks_is_refused_even_if_it_verifies() {
        let cbc = with_key(&[1; 16]);
        let mut packet = vec![0; HEADER_LEN + 16 + 20 + 16];
        assert!(cbc.seal(SHORT, &mut packet).is_none());
        let covered = packet.len() - 16;
        let (head, icv) = packet.split_at_mut(covered);
        cbc.mac.write(head, None, icv);
        assert!(cbc.open(SHORT, &mut packet).is_err());
    }

    #[test]
    fn ivs_do_not_repeat_and_differ_between_sas() {
        let (one, other) = (IvSource::new().expect("randomness"), IvSource::new().expect("randomness"));
        let number = |full| SequenceNumber { full, numbers: SequenceNumbers::Extended };
        let mut seen = std::collections::HashSet::new();
        for full in 1..1000 {
            assert!(seen.insert(one.iv(number(full))));
            assert!(seen.insert(other.iv(number(full))));
        }
    }
}
