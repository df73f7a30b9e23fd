//! How far a message may be believed is in its type.
//!
//! A datagram becomes [`Cleartext`] when it parses: anybody may have written it. It becomes [`Opened`] when its
//! integrity has been verified with the keys of one IKE SA. Only `Opened` may change an established SA.

use tracing::{debug, info};
use zeroize::Zeroizing;

use super::Core;
use super::fragment::{PATIENCE, Progress};
use super::notices;
use crate::context::Cx;
use crate::crypto;
use crate::output::Path;
use crate::timer::Timer;
use crate::wire::codec::DecodeError;
use crate::wire::header::Header;
use crate::wire::registry::PayloadType;
use crate::wire::{Message, Payloads, decode_payloads};

/// A message that parses, and where it came from. Not authenticated.
pub(crate) struct Cleartext<'a> {
    pub(crate) message: Message<'a>,
    pub(crate) path: Path,
}

/// What was inside an SK payload, or inside all the SKF payloads of a message, whose integrity was verified under this
/// IKE SA.
#[derive(Clone)]
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

impl Core {
    /// Verifies and decrypts. `None` when there is nothing to act upon: the message is not protected, or not by these
    /// keys, or a fragment while others are missing. The datagram changes nothing then (RFC 7296 §2.21).
    pub(crate) fn open(&mut self, cleartext: &Cleartext<'_>, cx: &mut Cx<'_>) -> Option<Plaintext> {
        let Cleartext { message, path } = cleartext;
        let header = message.header;
        if let Some(fragment) = message.payloads.fragment()
            && !self.reassembly.wants(&header, fragment.number, fragment.total)
        {
            debug!(target: "enc", "ignoring fragment {} of {}", fragment.number, fragment.total);
            return None;
        }
        let crypto::Opened { first, plaintext, fragment } = self.unseal(cleartext, cx)?;
        let Some(fragment) = fragment else {
            return Some(Plaintext { header, path: *path, first, octets: plaintext });
        };
        let (number, total) = (fragment.number(), fragment.total());
        match self.reassembly.add(&header, fragment, first, plaintext, cx.settings.max_datagram) {
            Progress::Waiting => {
                debug!(target: "enc", "received fragment #{number} of {total}, waiting for complete IKE message");
                self.timers.arm(Timer::Reassembly, cx.now + PATIENCE);
                None
            }
            Progress::Complete(first, octets) => {
                if self.reassembly.is_empty() {
                    self.timers.disarm(Timer::Reassembly);
                }
                info!(
                    target: "enc", "received fragment #{number} of {total}, reassembled fragmented IKE message ({} bytes)",
                    octets.len()
                );
                Some(Plaintext { header, path: *path, first, octets })
            }
            Progress::TooLarge => {
                cx.counters.invalid += 1;
                info!(target: "enc", "fragmented IKE message from {} is too large", path.remote);
                None
            }
        }
    }

    /// Verifies and decrypts one datagram, fragment or not.
    pub(crate) fn unseal(&self, cleartext: &Cleartext<'_>, cx: &mut Cx<'_>) -> Option<crypto::Opened> {
        let opened = self
            .protection
            .as_ref()
            .and_then(|protection| protection.opener.open(cleartext.message.octets).ok());
        if opened.is_none() {
            cx.counters.unauthentic += 1;
            debug!(target: "ike", "dropping a message from {}: integrity check failed", cleartext.path.remote);
        }
        opened
    }
}

impl Plaintext {
    pub(crate) fn decode(&self) -> Result<Opened<'_>, DecodeError> {
        let payloads = decode_payloads(self.first, &self.octets)?;
        crate::wire::rules::check(self.header.exchange, self.header.flags.response, &payloads)?;
        notices::log_ignored(&payloads);
        Ok(Opened { header: &self.header, path: self.path, payloads })
    }
}
