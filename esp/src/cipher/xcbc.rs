//! AES-XCBC-MAC (RFC 3566).

use aes::Aes128;
use cipher::{Array, BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, ZeroizeOnDrop};

const BLOCK: usize = 16;

/// The MAC under one key; its derived keys are made once.
pub(super) struct Xcbc {
    /// AES under K1.
    chain: Aes128,
    /// For a message that is a positive number of whole blocks.
    k2: [u8; BLOCK],
    /// For any other message.
    k3: [u8; BLOCK],
}

impl Xcbc {
    // RFC 3566 §4 (1): K1, K2, K3 = E_K of 16 times 01, 02, 03.
    pub(super) fn new(key: &[u8; BLOCK]) -> Self {
        let root = Aes128::new(&Array::from(*key));
        let derive = |octet| {
            let mut block = Array::from([octet; BLOCK]);
            root.encrypt_block(&mut block);
            <[u8; BLOCK]>::from(block)
        };
        let mut k1 = derive(1);
        let chain = Aes128::new(&Array::from(k1));
        k1.zeroize();
        Self { chain, k2: derive(2), k3: derive(3) }
    }

    /// The MAC over the concatenation of `parts`, not truncated.
    pub(super) fn compute(&self, parts: [&[u8]; 2]) -> [u8; BLOCK] {
        let mut state = [0; BLOCK];
        // The last block, full or not, gets K2 or K3 mixed in, so a full block waits until more comes.
        let mut waiting = [0; BLOCK];
        let mut filled = 0;
        for mut part in parts {
            while !part.is_empty() {
                if filled == BLOCK {
                    self.absorb(&mut state, &waiting);
                    filled = 0;
                }
                if let (0, Some((block, rest))) = (filled, part.split_first_chunk()) {
                    (waiting, filled, part) = (*block, BLOCK, rest);
                    continue;
                }
                let room = waiting.get_mut(filled..).unwrap_or_default();
                let (now, rest) = part.split_at(room.len().min(part.len()));
                for (place, octet) in room.iter_mut().zip(now) {
                    *place = *octet;
                }
                filled += now.len();
                part = rest;
            }
        }
        let last_key = if filled == BLOCK {
            &self.k2
        } else {
            for (place, octet) in waiting.iter_mut().skip(filled).zip([0x80].into_iter().chain([0; BLOCK])) {
                *place = octet;
            }
            &self.k3
        };
        mix(&mut waiting, last_key);
        self.absorb(&mut state, &waiting);
        state
    }

    fn absorb(&self, state: &mut [u8; BLOCK], block: &[u8; BLOCK]) {
        mix(state, block);
        let mut input = Array::from(*state);
        self.chain.encrypt_block(&mut input);
        *state = input.into();
    }
}

fn mix(into: &mut [u8; BLOCK], with: &[u8; BLOCK]) {
    for (a, b) in into.iter_mut().zip(with) {
        *a ^= b;
    }
}

impl Drop for Xcbc {
    fn drop(&mut self) {
        self.k2.zeroize();
        self.k3.zeroize();
    }
}

impl ZeroizeOnDrop for Xcbc {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unhex;

    /// RFC 3566 §4.6.
    #[test]
    fn rfc_3566_vectors() {
        let key: [u8; BLOCK] = unhex("000102030405060708090a0b0c0d0e0f").try_into().expect("16 octets");
        let counting: Vec<u8> = (0..34).collect();
        let cases = [
            (&counting[..0], "75f0251d528ac01c4573dfd584d79f29"),
            (&counting[..3], "5b376580ae2f19afe7219ceef172756f"),
            (&counting[..16], "d2a246fa349b68a79998a4394ff7a263"),
            (&counting[..20], "47f51b4564966215b8985c63055ed308"),
            (&counting[..32], "f54f0ec8d2b9f3d36807734bd5283fd4"),
            (&counting[..34], "becbb3bccdb518a30677d5481fb6b4d8"),
            (&[0; 1000], "f0dafee895db30253761103b5d84528f"),
        ];
        let mac = Xcbc::new(&key);
        for (message, expected) in cases {
            assert_eq!(mac.compute([message, &[]]).as_slice(), unhex(expected), "{} octets", message.len());
            for cut in 0..message.len() {
                let (head, tail) = message.split_at(cut);
                assert_eq!(mac.compute([head, tail]).as_slice(), unhex(expected), "cut at {cut}");
            }
        }
    }
}
