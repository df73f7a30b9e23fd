//! How far a message may be believed is in its type.
//!
//! A datagram becomes [`Cleartext`] when it parses: anybody may have written it. It becomes [`Opened`] when its
//! integrity has been verified with the keys of one IKE SA. Only `Opened` may change an established SA.

use zeroize::Zeroizing;

use crate::crypto::{self, Opener};
use crate::output::Path;
use crate::wire::codec::DecodeError;
use crate::wire::header::Header;
use crate::wire::registry::PayloadType;
use crate::wire::{Message, Payloads, decode_payloads};

/// A message that parses, and where it came from. Not authenticated.
pub(crate) struct Cleartext<'a> {
    pub(crate) message: Message<'a>,
    pub(crate) path: Path,
}

/// What was inside an SK payload whose integrity was verified under this IKE SA.
pub(crate) struct Plaintext {
    pub(crate) header: Header,
    pub(crate) path: Path,
    first: PayloadType,
    octets: Zeroizing<Vec<u8>>,
}

/// The payloads of a [`Plaintext`].
pub(crate) struct Opened<'a> {
    pub(crate) header: &'a Header,
    pub(crate) path: Path,
    pub(crate) payloads: Payloads<'a>,
}

impl Cleartext<'_> {
    /// Verifies and decrypts. `None` when it is not protected, or not by these keys: the datagram is dropped
    /// and nothing else happens (RFC 7296 §2.21).
    pub(crate) fn open(&self, opener: &Opener) -> Option<Plaintext> {
        self.message.payloads.encrypted()?;
        let crypto::Opened { first, plaintext: octets, .. } = opener.open(self.message.octets).ok()?;
        Some(Plaintext { header: self.message.header, path: self.path, first, octets })
    }
}

impl Plaintext {
    pub(crate) fn decode(&self) -> Result<Opened<'_>, DecodeError> {
        let payloads = decode_payloads(self.first, &self.octets)?;
        crate::wire::rules::check(self.header.exchange, self.header.flags.response, &payloads)?;
        Ok(Opened { header: &self.header, path: self.path, payloads })
    }
}
