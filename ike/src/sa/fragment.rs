//! Messages in fragments (RFC 7383): how large a datagram may be, taking a message apart, and putting one together.
//!
//! ```text
//! HDR(MID=n), SKF(NextPld=PLD1, Frag#=1, TotalFrags=m) {...}
//! HDR(MID=n), SKF(NextPld=0, Frag#=2, TotalFrags=m) {...}
//! ...
//! HDR(MID=n), SKF(NextPld=0, Frag#=m, TotalFrags=m) {...}
//! ```
//!
//! Nothing is kept that was not verified under the IKE SA's keys first, so that only the peer itself can fill this
//! memory or spoil a message; and of the peer no more is kept than its largest message may have.

use std::collections::BTreeMap;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::context::Cx;
use crate::crypto::{self, CryptoProvider, Fragment, SealError, Sealer};
use crate::natt;
use crate::output::Path;
use crate::wire::PayloadWriter;
use crate::wire::header::{Header, HeaderFields};
use crate::wire::registry::{ExchangeType, MessageId, PayloadType};

/// The most fragments of one message, sent or received. The largest message we take, in fragments that carry the
/// least we ever send, has fewer.
const MOST: u16 = 255;

/// How long pieces wait for the rest. RFC 7383 §2.6 recommends as long as an initiator tries, and allows less, to
/// conserve memory; this is enough for what is lost to come with the next retransmission.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The most octets of a message on this path, so that its IP datagram has no more than configured.
pub(super) fn room(path: Path, cx: &Cx<'_>) -> usize {
    const UDP: usize = 8;
    let (datagram, ip) = match path.remote.is_ipv4() {
        true => (cx.settings.fragment_size_v4, 20),
        false => (cx.settings.fragment_size_v6, 40),
    };
    let marker = if path.local.port() == cx.ports.nat_t { natt::NON_ESP_MARKER.len() } else { 0 };
    datagram.saturating_sub(ip + UDP + marker)
}

/// Seals a message: in one piece if that has no more than `room` octets, and in fragments that have no more if it
/// has, each with an initialization vector and a checksum of its own (RFC 7383 §2.5).
pub(super) fn seal(
    sealer: &mut Sealer,
    fields: HeaderFields,
    payloads: &PayloadWriter,
    room: Option<usize>,
    crypto: &CryptoProvider,
) -> Result<Vec<Vec<u8>>, SealError> {
    let (first, plaintext) = (payloads.first(), payloads.octets());
    let Some(room) = room.filter(|room| sealer.sealed_len(plaintext.len()) > *room) else {
        return Ok(vec![sealer.seal(fields, first, plaintext, crypto)?]);
    };
    let too_long = SealError::TooLong { plaintext_len: plaintext.len() };
    let chunks = plaintext.chunks(sealer.fragment_capacity(room).max(1));
    let total = u16::try_from(chunks.len()).ok().filter(|total| *total <= MOST).ok_or(too_long)?;
    (1..=total)
        .zip(chunks)
        .map(|(number, chunk)| {
            let fragment = Fragment::new(number, total).ok_or(too_long)?;
            sealer.seal_fragment(fields, first, fragment, chunk, crypto)
        })
        .collect()
}

/// What has come of a request and of a response of the peer; our window is one, so it sends one of each at a time.
#[derive(Default)]
pub(crate) struct Reassembly {
    request: Option<Pieces>,
    response: Option<Pieces>,
}

/// What has come of one message. There is always a piece, and always one missing.
struct Pieces {
    id: MessageId,
    exchange: ExchangeType,
    total: u16,
    /// Type of the first payload; the first fragment says it.
    first: PayloadType,
    by_number: BTreeMap<u16, Zeroizing<Vec<u8>>>,
    octets: usize,
}

/// What became of a fragment.
pub(super) enum Progress {
    /// It is kept, and others are missing.
    Waiting,
    /// It was the last that was missing: the type of the message's first payload, and its payloads.
    Complete(PayloadType, Zeroizing<Vec<u8>>),
    /// The message would be larger than any we take; nothing of it is kept.
    TooLarge,
}

impl Reassembly {
    /// Whether a fragment, which nobody has verified yet, could be of any use.
    pub(super) fn wants(&self, header: &Header, number: u16, total: u16) -> bool {
        let slot = if header.flags.response { &self.response } else { &self.request };
        total <= MOST
            && (1..=total).contains(&number)
            && slot.as_ref().filter(|pieces| pieces.belongs(header)).is_none_or(|pieces| {
                // RFC 7383 §2.6: not of an older set of larger fragments, and not there already.
                total > pieces.total || total == pieces.total && !pieces.by_number.contains_key(&number)
            })
    }

    /// Keeps a fragment that is wanted and authentic. A message may have `most` octets.
    pub(super) fn add(
        &mut self,
        header: &Header,
        fragment: Fragment,
        first: PayloadType,
        plaintext: Zeroizing<Vec<u8>>,
        most: usize,
    ) -> Progress {
        let slot = if header.flags.response { &mut self.response } else { &mut self.request };
        // RFC 7383 §2.6: a larger total begins anew, with smaller fragments. So does another message: what is left
        // of the one before will not be completed.
        let mut pieces = slot
            .take()
            .filter(|pieces| pieces.belongs(header) && pieces.total == fragment.total())
            .unwrap_or_else(|| Pieces::new(header, fragment));
        if fragment.number() == 1 {
            pieces.first = first;
        }
        pieces.octets = pieces.octets.saturating_add(plaintext.len());
        if pieces.octets > most {
            return Progress::TooLarge;
        }
        pieces.by_number.insert(fragment.number(), plaintext);
        if pieces.by_number.len() == usize::from(pieces.total) {
            return pieces.join();
        }
        *slot = Some(pieces);
        Progress::Waiting
    }

    /// True while no message is incomplete.
    pub(super) fn is_empty(&self) -> bool {
        self.request.is_none() && self.response.is_none()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Pieces {
    fn new(header: &Header, fragment: Fragment) -> Self {
        Self {
            id: header.message_id,
            exchange: header.exchange,
            total: fragment.total(),
            first: PayloadType::NONE,
            by_number: BTreeMap::new(),
            octets: 0,
        }
    }

    fn belongs(&self, header: &Header) -> bool {
        self.id == header.message_id && self.exchange == header.exchange
    }

    /// All are there.
    fn join(self) -> Progress {
        let mut message = Zeroizing::new(Vec::with_capacity(self.octets)); // so that growing leaves no copy
        for piece in self.by_number.values() {
            message.extend_from_slice(piece);
        }
        Progress::Complete(self.first, message)
    }
}

impl From<SealError> for crate::error::Failure {
    fn from(error: SealError) -> Self {
        match error {
            crypto::SealError::TooLong { plaintext_len } => Self::TooLong(plaintext_len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header::Flags;
    use crate::wire::registry::IkeSpi;

    fn header(id: u32, response: bool) -> Header {
        HeaderFields {
            spi_i: IkeSpi([1; 8]),
            spi_r: IkeSpi([2; 8]),
            exchange: ExchangeType::IKE_AUTH,
            flags: Flags { initiator: true, response, version: false },
            message_id: MessageId(id),
        }
        .header(PayloadType::SKF, 100)
    }

    /// Adds a fragment if it is wanted. What the message says, once it is complete.
    fn add(
        reassembly: &mut Reassembly,
        header: &Header,
        (number, total): (u16, u16),
        octets: &[u8],
    ) -> Option<String> {
        if !reassembly.wants(header, number, total) {
            return Some("unwanted".into());
        }
        let first = if number == 1 { PayloadType::ID_I } else { PayloadType::NONE };
        let plaintext = Zeroizing::new(octets.to_vec());
        match reassembly.add(header, Fragment::new(number, total).unwrap(), first, plaintext, 10) {
            Progress::Waiting => None,
            Progress::Complete(first, octets) => {
                Some(format!("{first} {}", String::from_utf8(octets.to_vec()).unwrap()))
            }
            Progress::TooLarge => Some("too large".into()),
        }
    }

    #[test]
    fn fragments_in_any_order_make_the_message() {
        for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2]] {
            let mut reassembly = Reassembly::default();
            let request = header(1, false);
            let said = order.map(|number: u16| {
                add(&mut reassembly, &request, (number, 3), &[b'`' + u8::try_from(number).unwrap()])
                    .unwrap_or_default()
            });
            assert_eq!(said, ["", "", "IDi abc"]);
        }
    }

    #[test]
    fn what_cannot_be_of_use_is_not_wanted() {
        let mut reassembly = Reassembly::default();
        let request = header(1, false);
        for nonsense in [(0, 0), (0, 2), (3, 2), (1, 256), (256, 256)] {
            assert_eq!(
                add(&mut reassembly, &request, nonsense, b"x").as_deref(),
                Some("unwanted"),
                "{nonsense:?}"
            );
        }
        assert_eq!(add(&mut reassembly, &request, (2, 3), b"b"), None);
        for useless in [(2, 3), (1, 2), (1, 1)] {
            assert_eq!(
                add(&mut reassembly, &request, useless, b"x").as_deref(),
                Some("unwanted"),
                "{useless:?}"
            );
        }
    }

    #[test]
    fn a_larger_total_begins_anew() {
        let mut reassembly = Reassembly::default();
        let request = header(1, false);
        assert_eq!(add(&mut reassembly, &request, (1, 2), b"xy"), None);
        assert_eq!(add(&mut reassembly, &request, (2, 3), b"b"), None);
        assert_eq!(add(&mut reassembly, &request, (1, 3), b"a"), None);
        assert_eq!(add(&mut reassembly, &request, (3, 3), b"c").as_deref(), Some("IDi abc"));
    }

    #[test]
    fn messages_are_kept_apart() {
        let mut reassembly = Reassembly::default();
        assert_eq!(add(&mut reassembly, &header(1, false), (1, 2), b"a"), None);
        assert_eq!(add(&mut reassembly, &header(1, true), (2, 2), b"B"), None);
        assert_eq!(add(&mut reassembly, &header(1, true), (1, 2), b"A").as_deref(), Some("IDi AB"));
        // The next request: the one before will not be completed.
        assert_eq!(add(&mut reassembly, &header(2, false), (2, 2), b"d"), None);
        assert_eq!(add(&mut reassembly, &header(2, false), (1, 2), b"c").as_deref(), Some("IDi cd"));
        reassembly.clear();
        assert_eq!(add(&mut reassembly, &header(2, false), (2, 2), b"f"), None);
    }

    #[test]
    fn a_message_that_is_too_large_is_not_kept() {
        let mut reassembly = Reassembly::default();
        let request = header(1, false);
        assert_eq!(add(&mut reassembly, &request, (1, 3), b"12345678"), None);
        assert_eq!(add(&mut reassembly, &request, (2, 3), b"901").as_deref(), Some("too large"));
        assert!(reassembly.request.is_none());
        assert_eq!(add(&mut reassembly, &request, (2, 2), b"2"), None);
        assert_eq!(add(&mut reassembly, &request, (1, 2), b"1").as_deref(), Some("IDi 12"));
    }
}
