//! Sealing: from payloads to a protected message.

use super::{FRAGMENT_LEN, Fragment, GENERIC_LEN, HEADER_LEN, PAD_LENGTH_LEN};
use crate::{
    crypto::{CryptoProvider, cbc, cipher::Cipher, secret::Secret},
    wire::{header::HeaderFields, registry::PayloadType, sk, skf},
};

/// Protects what we send.
pub struct Sealer {
    pub(super) cipher: Cipher,
    pub(super) encr: Secret,
    pub(super) integ: Secret,
    /// The next explicit initialization vector of an AEAD. An SA has at most 2^32 messages in each
    /// direction of 2^16 fragments each, so it never comes round.
    pub(super) next_iv: u64,
}

impl Sealer {
    pub(in crate::crypto) fn new(cipher: Cipher, encr: Secret, integ: Secret) -> Self {
        Self { cipher, encr, integ, next_iv: 0 }
    }

    /// The message `HDR, SK {plaintext}`: all octets from the header's first to the checksum's last.
    /// `first` is the type of the first payload in `plaintext`, NONE if that is empty.
    ///
    /// # Errors
    ///
    /// If the Encrypted payload would be longer than its length field can say.
    pub fn seal(
        &mut self,
        fields: HeaderFields,
        first: PayloadType,
        plaintext: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, SealError> {
        self.seal_payload(fields, first, None, plaintext, provider)
    }

    /// The message `HDR, SKF {chunk}`. `first` is the type of the first payload of the whole message; only
    /// its first fragment carries it (RFC 7383 §2.5).
    ///
    /// # Errors
    ///
    /// If the Encrypted Fragment payload would be longer than its length field can say.
    pub fn seal_fragment(
        &mut self,
        fields: HeaderFields,
        first: PayloadType,
        fragment: Fragment,
        chunk: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, SealError> {
        let first = if fragment.number == 1 { first } else { PayloadType::NONE };
        self.seal_payload(fields, first, Some(fragment), chunk, provider)
    }

    /// How many octets the message `HDR, SK {plaintext}` has.
    #[must_use]
    pub fn sealed_len(&self, plaintext_len: usize) -> usize {
        HEADER_LEN + self.payload_len(0, plaintext_len)
    }

    /// How much plaintext fits into one fragment of at most `message_len` octets, headers and all.
    #[must_use]
    pub fn fragment_capacity(&self, message_len: usize) -> usize {
        let outside = HEADER_LEN + GENERIC_LEN + FRAGMENT_LEN + self.cipher.iv_len() + self.cipher.icv_len();
        let inside = message_len.saturating_sub(outside);
        let whole_blocks = inside - inside % self.cipher.block_len();
        whole_blocks.saturating_sub(PAD_LENGTH_LEN)
    }

    fn payload_len(&self, fragment_len: usize, plaintext_len: usize) -> usize {
        let cipher = self.cipher;
        GENERIC_LEN
            + fragment_len
            + cipher.iv_len()
            + plaintext_len
            + usize::from(cipher.padding_len(plaintext_len))
            + PAD_LENGTH_LEN
            + cipher.icv_len()
    }

    fn seal_payload(
        &mut self,
        fields: HeaderFields,
        first: PayloadType,
        fragment: Option<Fragment>,
        plaintext: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, SealError> {
        let cipher = self.cipher;
        let padding_len = cipher.padding_len(plaintext.len());
        let fragment_len = if fragment.is_some() { FRAGMENT_LEN } else { 0 };
        let payload_len = self.payload_len(fragment_len, plaintext.len());
        if payload_len > usize::from(u16::MAX) {
            return Err(SealError::TooLong { plaintext_len: plaintext.len() });
        }

        // Room for all of it: plaintext is encrypted where it stands and leaves no copy.
        let mut message = match fragment {
            None => sk::frame(fields, first, payload_len - GENERIC_LEN),
            Some(Fragment { number, total }) => {
                skf::frame(fields, first, number, total, payload_len - GENERIC_LEN - FRAGMENT_LEN)
            }
        };
        let associated_len = message.len();
        match cipher {
            Cipher::Aead(aead) => {
                let iv = self.next_iv.to_be_bytes();
                self.next_iv += 1;
                message.extend_from_slice(&iv);
                append_padded(&mut message, plaintext, padding_len);
                let (clear, text) = message.split_at_mut(associated_len + iv.len());
                let (associated, _iv) = clear.split_at(associated_len);
                let tag = aead.seal(self.encr.octets(), iv, associated, text);
                message.extend_from_slice(&tag);
            }
            Cipher::Cbc(aes, integ) => {
                // RFC 7296 §3.14: unpredictable for CBC.
                let mut iv = [0; cbc::BLOCK_LEN];
                provider.random(&mut iv);
                message.extend_from_slice(&iv);
                append_padded(&mut message, plaintext, padding_len);
                let (_clear, text) = message.split_at_mut(associated_len + iv.len());
                cbc::encrypt(aes, self.encr.octets(), &iv, text);
                integ.append_icv(self.integ.octets(), &mut message);
            }
        }
        Ok(message)
    }
}

/// Why a message cannot be sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// The payload's length field has 16 bits.
    #[error("{plaintext_len} octets of payloads do not fit into one Encrypted payload")]
    TooLong {
        /// Octets of the payloads.
        plaintext_len: usize,
    },
}

/// Appends plaintext, padding and Pad Length. The content of padding is free; ours is zeros.
fn append_padded(message: &mut Vec<u8>, plaintext: &[u8], padding_len: u8) {
    message.extend_from_slice(plaintext);
    message.resize(message.len() + usize::from(padding_len), 0);
    message.push(padding_len);
}
