//! Sealing: from payloads to a protected message.

use super::{Envelope, FRAGMENT_LEN, Fragment, GENERIC_LEN, HEADER_LEN, PAD_LENGTH_LEN};
use crate::{
    crypto::{CryptoProvider, cbc, cipher::Cipher, secret::Secret},
    wire::registry::PayloadType,
};

/// Major version 2, minor version 0.
pub(super) const VERSION: u8 = 0x20;

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
        envelope: &Envelope,
        first: PayloadType,
        plaintext: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, SealError> {
        self.seal_payload(envelope, first, None, plaintext, provider)
    }

    /// The message `HDR, SKF {chunk}`. `first` is the type of the first payload of the whole message; only
    /// its first fragment carries it (RFC 7383 §2.5).
    ///
    /// # Errors
    ///
    /// If the Encrypted Fragment payload would be longer than its length field can say.
    pub fn seal_fragment(
        &mut self,
        envelope: &Envelope,
        first: PayloadType,
        fragment: Fragment,
        chunk: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, SealError> {
        let first = if fragment.number == 1 { first } else { PayloadType::NONE };
        self.seal_payload(envelope, first, Some(fragment), chunk, provider)
    }

    /// How much plaintext fits into one fragment of at most `message_len` octets, headers and all.
    #[must_use]
    pub fn fragment_capacity(&self, message_len: usize) -> usize {
        let outside = HEADER_LEN + GENERIC_LEN + FRAGMENT_LEN + self.cipher.iv_len() + self.cipher.icv_len();
        let inside = message_len.saturating_sub(outside);
        let whole_blocks = inside - inside % self.cipher.block_len();
        whole_blocks.saturating_sub(PAD_LENGTH_LEN)
    }

    fn seal_payload(
        &mut self,
        envelope: &Envelope,
        first: PayloadType,
        fragment: Option<Fragment>,
        plaintext: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Vec<u8>, SealError> {
        let cipher = self.cipher;
        let padding_len = cipher.padding_len(plaintext.len());
        let fragment_len = if fragment.is_some() { FRAGMENT_LEN } else { 0 };
        let payload_len = GENERIC_LEN
            + fragment_len
            + cipher.iv_len()
            + plaintext.len()
            + usize::from(padding_len)
            + PAD_LENGTH_LEN
            + cipher.icv_len();
        let too_long = SealError::TooLong { plaintext_len: plaintext.len() };
        let payload_len_field = u16::try_from(payload_len).map_err(|_| too_long)?;
        let message_len_field = u32::try_from(HEADER_LEN + payload_len).map_err(|_| too_long)?;

        // Never grown: plaintext is encrypted where it stands and leaves no copy.
        let mut message = Vec::with_capacity(HEADER_LEN + payload_len);
        message.extend_from_slice(&envelope.spi_i.0);
        message.extend_from_slice(&envelope.spi_r.0);
        let payload = if fragment.is_some() { PayloadType::SKF } else { PayloadType::SK };
        message.extend_from_slice(&[payload.0, VERSION, envelope.exchange.0, envelope.flags]);
        message.extend_from_slice(&envelope.message_id.0.to_be_bytes());
        message.extend_from_slice(&message_len_field.to_be_bytes());
        message.extend_from_slice(&[first.0, 0]);
        message.extend_from_slice(&payload_len_field.to_be_bytes());
        if let Some(Fragment { number, total }) = fragment {
            message.extend_from_slice(&number.to_be_bytes());
            message.extend_from_slice(&total.to_be_bytes());
        }
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
