//! Opening: from a message a stranger may have sent to payloads the peer has.

use zeroize::Zeroizing;

use super::{Fragment, GENERIC_LEN, HEADER_LEN};
use crate::{
    crypto::{aead::Aead, cbc, cipher::Cipher, secret::Secret},
    wire::registry::PayloadType,
};

/// Checks and decrypts what we get.
pub struct Opener {
    cipher: Cipher,
    encr: Secret,
    integ: Secret,
}

/// What a protected message had inside. That it exists says the message came from the peer of this SA.
pub struct Opened {
    /// Type of the first payload in `plaintext`. NONE if there are none, and in fragments after the first.
    pub first: PayloadType,
    /// The payloads, or a piece of them if this is a fragment. Wiped when dropped.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Which piece, if the message is a fragment.
    pub fragment: Option<Fragment>,
}

impl Opener {
    pub(in crate::crypto) fn new(cipher: Cipher, encr: Secret, integ: Secret) -> Self {
        Self { cipher, encr, integ }
    }

    /// Opens `message`, which starts with the header and ends with the checksum, whether its last payload
    /// is Encrypted or Encrypted Fragment. The checksum is verified before anything is decrypted.
    ///
    /// # Errors
    ///
    /// If the message has no such payload where one must be, was not sealed with the peer's keys, or is
    /// padded wrongly. Only in the last case did the peer send it.
    pub fn open(&self, message: &[u8]) -> Result<Opened, OpenError> {
        let sealed = Sealed::locate(message)?;
        let mut text = match self.cipher {
            Cipher::Aead(aead) => self.open_aead(aead, &sealed)?,
            Cipher::Cbc(aes, integ) => {
                let (covered, icv) = split_from_end(message, integ.icv_len())?;
                let (body, _) = split_from_end(sealed.body, integ.icv_len())?;
                if !integ.verify(self.integ.octets(), covered, icv) {
                    return Err(OpenError::Integrity);
                }
                let (iv, text) = body.split_first_chunk().ok_or(OpenError::TooShort)?;
                let mut text = Zeroizing::new(text.to_vec());
                cbc::decrypt(aes, self.encr.octets(), iv, &mut text).ok_or(OpenError::Padding)?;
                text
            }
        };
        // RFC 7296 §3.14: any padding the sender likes, of any content.
        let padding_len = text.pop().ok_or(OpenError::Padding)?;
        let len = text.len().checked_sub(padding_len.into()).ok_or(OpenError::Padding)?;
        text.truncate(len);
        Ok(Opened { first: sealed.first, plaintext: text, fragment: sealed.fragment })
    }

    fn open_aead(&self, aead: Aead, sealed: &Sealed<'_>) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (iv, rest) = sealed.body.split_first_chunk().ok_or(OpenError::TooShort)?;
        let (text, tag) = rest.split_last_chunk().ok_or(OpenError::TooShort)?;
        let mut text = Zeroizing::new(text.to_vec());
        aead.open(self.encr.octets(), *iv, sealed.associated, &mut text, *tag)
            .map_err(|_forged| OpenError::Integrity)?;
        Ok(text)
    }
}

/// Why a message cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// A header or payload does not fit into the message.
    #[error("the message ends before one of its payloads does, or after all of them")]
    Framing,
    /// There is neither an Encrypted nor an Encrypted Fragment payload.
    #[error("the message has no encrypted payload")]
    NotProtected,
    /// The Encrypted payload is too short for initialization vector and checksum.
    #[error("the encrypted payload is too short for its algorithms")]
    TooShort,
    /// Fragment zero, or one beyond the last.
    #[error("fragment {number} of {total} cannot be")]
    Fragment {
        /// Fragment Number.
        number: u16,
        /// Total Fragments.
        total: u16,
    },
    /// The checksum is wrong: the message is forged, damaged or of another SA.
    #[error("the integrity check failed")]
    Integrity,
    /// The peer's checksum is right, but the text is not whole blocks or shorter than its padding.
    #[error("the peer padded the encrypted payload wrongly")]
    Padding,
}

impl OpenError {
    /// True if the peer itself must have sent the message, as its checksum was right.
    #[must_use]
    pub fn is_authentic(self) -> bool {
        matches!(self, Self::Padding)
    }
}

/// A message's last payload, found but not yet believed.
struct Sealed<'a> {
    first: PayloadType,
    fragment: Option<Fragment>,
    /// From the header to the octet before the initialization vector, which is what an AEAD covers beside
    /// the ciphertext (RFC 5282 §5.1; for fragments their numbers too).
    associated: &'a [u8],
    /// Initialization vector, ciphertext and checksum.
    body: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Walks the payloads of `message` to the encrypted one. There may be others before it (RFC 7296
    /// §3.14), but none after it.
    fn locate(message: &'a [u8]) -> Result<Self, OpenError> {
        let (header, mut rest) = message.split_at_checked(HEADER_LEN).ok_or(OpenError::Framing)?;
        let &[.., next, _version, _exchange, _flags, _, _, _, _, l0, l1, l2, l3] = header else {
            return Err(OpenError::Framing);
        };
        if u32::try_from(message.len()) != Ok(u32::from_be_bytes([l0, l1, l2, l3])) {
            return Err(OpenError::Framing);
        }
        let mut kind = PayloadType(next);
        loop {
            if kind == PayloadType::NONE {
                return Err(OpenError::NotProtected);
            }
            let &[next, _critical, l0, l1, ..] = rest else { return Err(OpenError::Framing) };
            let payload_len = usize::from(u16::from_be_bytes([l0, l1]));
            let (payload, after) = rest.split_at_checked(payload_len).ok_or(OpenError::Framing)?;
            let body = payload.get(GENERIC_LEN..).ok_or(OpenError::Framing)?;
            let next = PayloadType(next);
            match kind {
                PayloadType::SK | PayloadType::SKF if !after.is_empty() => return Err(OpenError::Framing),
                PayloadType::SK => return Self::new(message, next, None, body),
                PayloadType::SKF => {
                    let (&[n0, n1, t0, t1], body) = body.split_first_chunk().ok_or(OpenError::TooShort)?;
                    let number = u16::from_be_bytes([n0, n1]);
                    let total = u16::from_be_bytes([t0, t1]);
                    let fragment =
                        Fragment::new(number, total).ok_or(OpenError::Fragment { number, total })?;
                    return Self::new(message, next, Some(fragment), body);
                }
                _ => (kind, rest) = (next, after),
            }
        }
    }

    fn new(
        message: &'a [u8],
        first: PayloadType,
        fragment: Option<Fragment>,
        body: &'a [u8],
    ) -> Result<Self, OpenError> {
        let (associated, _body) = split_from_end(message, body.len())?;
        Ok(Self { first, fragment, associated, body })
    }
}

/// Splits so that the second part has `len` octets.
fn split_from_end(octets: &[u8], len: usize) -> Result<(&[u8], &[u8]), OpenError> {
    let at = octets.len().checked_sub(len).ok_or(OpenError::TooShort)?;
    octets.split_at_checked(at).ok_or(OpenError::TooShort)
}
