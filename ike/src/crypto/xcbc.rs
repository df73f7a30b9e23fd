//! AES-XCBC-MAC (RFC 3566) without the cut to 96 bits, as AES-XCBC-PRF-128 (RFC 4434) wants it.

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use zeroize::Zeroizing;

const BLOCK_LEN: usize = 16;

type Block = [u8; BLOCK_LEN];

/// A message authentication code being computed.
pub(super) struct Xcbc {
    /// AES under K1.
    aes: Aes128,
    /// Added to a last block that is full.
    k2: Zeroizing<Block>,
    /// Added to a last block that had to be padded.
    k3: Zeroizing<Block>,
    /// `E[i]` with the octets of the next block already added to it.
    chain: Zeroizing<Block>,
    /// Octets of the next block seen so far. A full block waits until it is known not to be the last.
    filled: usize,
}

impl Xcbc {
    pub(super) fn new(key: &Block) -> Self {
        let aes = Aes128::new(key.into());
        let derive = |octet: u8| {
            let mut block = Zeroizing::new([octet; BLOCK_LEN]);
            encrypt(&aes, &mut block);
            block
        };
        let k1 = derive(1);
        Self {
            k2: derive(2),
            k3: derive(3),
            chain: Zeroizing::new([0; BLOCK_LEN]),
            filled: 0,
            aes: Aes128::new((&*k1).into()),
        }
    }

    pub(super) fn update(&mut self, message: &[u8]) {
        for octet in message {
            if self.filled == BLOCK_LEN {
                encrypt(&self.aes, &mut self.chain);
                self.filled = 0;
            }
            self.add(*octet);
        }
    }

    pub(super) fn finish(mut self) -> Zeroizing<Block> {
        let last = if self.filled == BLOCK_LEN {
            &self.k2
        } else {
            // 10* padding; the zero bits change nothing.
            if let Some(at) = self.chain.get_mut(self.filled) {
                *at ^= 0x80;
            }
            &self.k3
        };
        for (at, key) in self.chain.iter_mut().zip(last.iter()) {
            *at ^= key;
        }
        encrypt(&self.aes, &mut self.chain);
        self.chain
    }

    fn add(&mut self, octet: u8) {
        if let Some(at) = self.chain.get_mut(self.filled) {
            *at ^= octet;
            self.filled += 1;
        }
    }
}

fn encrypt(aes: &Aes128, block: &mut Block) {
    aes.encrypt_block(block.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::hex;

    /// RFC 3566 section 4.6; the messages of cases 1 to 6 are prefixes of one another.
    #[test]
    fn vectors_of_rfc_3566() {
        let key = hex("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let message: Vec<u8> = (0..34).collect();
        let zeros = [0; 1000];
        for (message, mac) in [
            (&message[..0], "75f0251d528ac01c4573dfd584d79f29"),
            (&message[..3], "5b376580ae2f19afe7219ceef172756f"),
            (&message[..16], "d2a246fa349b68a79998a4394ff7a263"),
            (&message[..20], "47f51b4564966215b8985c63055ed308"),
            (&message[..32], "f54f0ec8d2b9f3d36807734bd5283fd4"),
            (&message[..34], "becbb3bccdb518a30677d5481fb6b4d8"),
            (&zeros[..], "f0dafee895db30253761103b5d84528f"),
        ] {
            let mut whole = Xcbc::new(&key);
            whole.update(message);
            assert_eq!(whole.finish()[..], hex(mac));

            // The same in three pieces, whatever the cut.
            for cut in 0..message.len().min(40) {
                let mut pieces = Xcbc::new(&key);
                pieces.update(&message[..cut]);
                pieces.update(&[]);
                pieces.update(&message[cut..]);
                assert_eq!(pieces.finish()[..], hex(mac));
            }
        }
    }
}
