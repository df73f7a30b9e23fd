//! Protection of messages: the Encrypted payload (RFC 7296 §3.14), with an AEAD (RFC 5282), and the
//! Encrypted Fragment payload (RFC 7383 §2.5).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   (SKF) Fragment Number       |   (SKF) Total Fragments       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     Initialization Vector                     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                    Encrypted IKE Payloads                     ~
//! +               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               |             Padding (0-255 octets)            |
//! +-+-+-+-+-+-+-+-+                               +-+-+-+-+-+-+-+-+
//! |                                               |  Pad Length   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                    Integrity Checksum Data                    ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! A [`Sealer`] has the keys of what we send, an [`Opener`] those of what we get; neither can do the
//! other's work. Integrity covers the message from the first octet of its header on.

use zeroize::Zeroizing;

use super::{
    CryptoProvider,
    aead::{self, Aead},
    cbc,
    cipher::Cipher,
    secret::Secret,
};
use crate::wire::registry::{ExchangeType, IkeSpi, MessageId, PayloadType};

/// Octets of the IKE header (RFC 7296 §3.1).
const HEADER_LEN: usize = 28;
/// Octets of the generic payload header (RFC 7296 §3.2).
const GENERIC_LEN: usize = 4;
/// Major version 2, minor version 0.
const VERSION: u8 = 0x20;

/// What the header of a message says beside its length and first payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// The original initiator's SPI.
    pub spi_i: IkeSpi,
    /// The original responder's SPI.
    pub spi_r: IkeSpi,
    /// Exchange Type.
    pub exchange: ExchangeType,
    /// Flags octet (RFC 7296 §3.1).
    pub flags: u8,
    /// Message ID.
    pub message_id: MessageId,
}

/// Which part of a message a fragment is. Constructed only as `1 <= number <= total`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fragment {
    number: u16,
    total: u16,
}

impl Fragment {
    /// Fragment `number` of `total`, counted from one; `None` if there is no such fragment.
    #[must_use]
    pub fn new(number: u16, total: u16) -> Option<Self> {
        (1..=total).contains(&number).then_some(Self { number, total })
    }

    /// Fragment Number, from one.
    #[must_use]
    pub fn number(self) -> u16 {
        self.number
    }

    /// Total Fragments.
    #[must_use]
    pub fn total(self) -> u16 {
        self.total
    }
}

/// Protects what we send.
pub struct Sealer {
    cipher: Cipher,
    encr: Secret,
    integ: Secret,
    /// The next explicit initialization vector of an AEAD. An SA has at most 2^32 messages in each
    /// direction of 2^16 fragments each, so it never comes round.
    next_iv: u64,
}

impl Sealer {
    pub(super) fn new(cipher: Cipher, encr: Secret, integ: Secret) -> Self {
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
    pub(super) fn new(cipher: Cipher, encr: Secret, integ: Secret) -> Self {
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

/// Octets of Fragment Number and Total Fragments.
const FRAGMENT_LEN: usize = 4;
/// Octets of the Pad Length field.
const PAD_LENGTH_LEN: usize = 1;

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

/// Appends plaintext, padding and Pad Length. The content of padding is free; ours is zeros.
fn append_padded(message: &mut Vec<u8>, plaintext: &[u8], padding_len: u8) {
    message.extend_from_slice(plaintext);
    message.resize(message.len() + usize::from(padding_len), 0);
    message.push(padding_len);
}

/// The lengths protection depends on.
impl Cipher {
    fn iv_len(self) -> usize {
        match self {
            Self::Aead(_) => aead::IV_LEN,
            Self::Cbc(..) => cbc::BLOCK_LEN,
        }
    }

    fn icv_len(self) -> usize {
        match self {
            Self::Aead(_) => aead::TAG_LEN,
            Self::Cbc(_, integ) => integ.icv_len(),
        }
    }

    /// What the ciphertext's length must be a multiple of. RFC 5282 §3: an AEAD asks for nothing.
    fn block_len(self) -> usize {
        match self {
            Self::Aead(_) => 1,
            Self::Cbc(..) => cbc::BLOCK_LEN,
        }
    }

    /// The least padding that makes `plaintext_len` octets, itself and its length whole blocks.
    fn padding_len(self, plaintext_len: usize) -> u8 {
        let block = self.block_len();
        let over = (plaintext_len + PAD_LENGTH_LEN) % block;
        u8::try_from((block - over) % block).expect("a block has 16 octets")
    }
}
