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

mod open;
mod seal;

pub use open::{OpenError, Opened, Opener};
pub use seal::{SealError, Sealer};

use super::{aead, cbc, cipher::Cipher};

/// Octets of the IKE header (RFC 7296 §3.1).
const HEADER_LEN: usize = 28;
/// Octets of the generic payload header (RFC 7296 §3.2).
const GENERIC_LEN: usize = 4;
/// Octets of Fragment Number and Total Fragments.
const FRAGMENT_LEN: usize = 4;
/// Octets of the Pad Length field.
const PAD_LENGTH_LEN: usize = 1;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::{
        CryptoProvider, IkeKeys, IkeSuite, Role, Secret, SharedKey,
        aead::Aead,
        cipher::AesKey,
        suite::tests::proposal,
        tests::{Seeded, hex},
    };
    use crate::wire::header::{Flags, HeaderFields};
    use crate::wire::registry::{
        ExchangeType, IkeSpi, MessageId, PayloadType, ProtocolId, TransformType as T,
    };

    /// Major version 2, minor version 0.
    const VERSION: u8 = 0x20;

    const FIELDS: HeaderFields = HeaderFields {
        spi_i: IkeSpi(*b"initiate"),
        spi_r: IkeSpi(*b"responds"),
        exchange: ExchangeType::IKE_AUTH,
        flags: Flags { initiator: true, response: false, version: false },
        message_id: MessageId(1),
    };

    /// Every cipher with every integrity algorithm it can have.
    fn suites() -> Vec<IkeSuite> {
        let mut ciphers = vec![vec![(T::ENCR, 28, 0)]];
        for bits in [128, 192, 256] {
            ciphers.push(vec![(T::ENCR, 20, bits)]);
            for integ in [2, 12, 13, 14] {
                ciphers.push(vec![(T::ENCR, 12, bits), (T::INTEG, integ, 0)]);
            }
        }
        ciphers
            .into_iter()
            .map(|cipher| [&cipher[..], &[(T::PRF, 5, 0), (T::KE, 31, 0)]].concat())
            .map(|all| IkeSuite::from_proposal(&proposal(ProtocolId::IKE, &all)).unwrap())
            .collect()
    }

    /// Both ends of an IKE SA.
    fn ends(suite: &IkeSuite) -> [(Sealer, Opener); 2] {
        ends_with(suite, 9)
    }

    /// Both ends of an IKE SA with a shared secret of its own.
    fn ends_with(suite: &IkeSuite, shared: u8) -> [(Sealer, Opener); 2] {
        [Role::Initiator, Role::Responder].map(|role| {
            let g_ir = SharedKey::new(Secret::new(vec![shared; 32]));
            let keys = IkeKeys::derive(suite, &g_ir, &[1; 32], &[2; 32], FIELDS.spi_i, FIELDS.spi_r);
            keys.protection.into_directions(role)
        })
    }

    fn error(opener: &Opener, message: &[u8]) -> Option<OpenError> {
        opener.open(message).err()
    }

    /// Writes the length field of `message` anew, so that something else is wrong with it.
    fn with_length(mut message: Vec<u8>) -> Vec<u8> {
        let len = u32::try_from(message.len()).unwrap().to_be_bytes();
        message[24..28].copy_from_slice(&len);
        message
    }

    /// RFC 7634 appendix B: octet for octet, and back.
    #[test]
    fn the_message_of_rfc_7634() {
        let cipher = Cipher::Aead(Aead::ChaCha20Poly1305);
        let key = || {
            let key = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3";
            Secret::new(hex(key))
        };
        let fields = HeaderFields {
            spi_i: IkeSpi(hex("c0c1c2c3c4c5c6c7").try_into().unwrap()),
            spi_r: IkeSpi(hex("d0d1d2d3d4d5d6d7").try_into().unwrap()),
            exchange: ExchangeType::INFORMATIONAL,
            flags: Flags::default(),
            message_id: MessageId(9),
        };
        let notify = hex("0000000c 00004001 0000000a");
        let expected = hex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d7 2e202500000000090000004529000029
             1011121314151617610394701f8d017f 7c12924889 6b71bfe25236efd7cdc670 66906315b2");
        let mut sealer = Sealer::new(cipher, key(), Secret::new(Vec::new()));
        sealer.next_iv = 0x1011_1213_1415_1617;
        let sealed = sealer.seal(fields, PayloadType::NOTIFY, &notify, &Seeded::provider(1)).unwrap();
        assert_eq!(sealed, expected);

        let opened = Opener::new(cipher, key(), Secret::new(Vec::new())).open(&expected).unwrap();
        assert_eq!(opened.first, PayloadType::NOTIFY);
        assert_eq!(*opened.plaintext, notify);
        assert_eq!(opened.fragment, None);
    }

    #[test]
    fn both_directions_work_and_are_not_each_other() {
        let provider = Seeded::provider(1);
        for suite in suites() {
            let [(mut i_seals, i_opens), (mut r_seals, r_opens)] = ends(&suite);
            let request = i_seals.seal(FIELDS, PayloadType::ID_I, b"hello", &provider).unwrap();
            let response = r_seals.seal(FIELDS, PayloadType::ID_R, b"welcome", &provider).unwrap();
            assert_eq!(*r_opens.open(&request).unwrap().plaintext, b"hello");
            assert_eq!(*i_opens.open(&response).unwrap().plaintext, b"welcome");
            // A message sent back to where it came from is a forgery.
            assert_eq!(error(&i_opens, &request), Some(OpenError::Integrity));
            assert_eq!(error(&r_opens, &response), Some(OpenError::Integrity));
            // The keys of another SA do not open it, nor does another algorithm with the same octets.
            let [_, (_, other_opens)] = ends_with(&suite, 8);
            assert_eq!(error(&other_opens, &request), Some(OpenError::Integrity));
        }
        let [chacha, gcm] = [Aead::ChaCha20Poly1305, Aead::AesGcm16(AesKey::Bits256)].map(Cipher::Aead);
        let keys = || (Secret::new(vec![7; 36]), Secret::new(Vec::new()));
        let ((encr, integ), (other_encr, other_integ)) = (keys(), keys());
        let sealed = Sealer::new(chacha, encr, integ).seal(FIELDS, PayloadType::NONE, &[], &provider);
        let opener = Opener::new(gcm, other_encr, other_integ);
        assert_eq!(error(&opener, &sealed.unwrap()), Some(OpenError::Integrity));
    }

    #[test]
    fn the_header_says_what_it_should() {
        let provider = Seeded::provider(1);
        for suite in suites() {
            let [(mut sealer, _), _] = ends(&suite);
            let message = sealer.seal(FIELDS, PayloadType::ID_I, &[0; 40], &provider).unwrap();
            assert_eq!(message[..24], *b"initiateresponds\x2e\x20\x23\x08\0\0\0\x01");
            let len = u32::from_be_bytes(message[24..28].try_into().unwrap());
            assert_eq!(len as usize, message.len());
            assert_eq!(message[28..30], [35, 0]);
            let len = u16::from_be_bytes(message[30..32].try_into().unwrap());
            assert_eq!(usize::from(len), message.len() - 28);
        }
    }

    #[test]
    fn no_initialization_vector_comes_twice() {
        let provider = Seeded::provider(1);
        for suite in suites() {
            let [(mut sealer, _), _] = ends(&suite);
            let mut seen = std::collections::HashSet::new();
            for _ in 0..50 {
                let message = sealer.seal(FIELDS, PayloadType::NONE, &[], &provider).unwrap();
                assert!(seen.insert(message[32..32 + suite.cipher().iv_len()].to_vec()));
            }
        }
    }

    #[test]
    fn the_same_seed_seals_the_same_octets() {
        for suite in suites() {
            let [first, second] = [1, 1].map(|seed| {
                let [(mut sealer, _), _] = ends(&suite);
                sealer.seal(FIELDS, PayloadType::NONE, b"twice", &Seeded::provider(seed)).unwrap()
            });
            assert_eq!(first, second);
        }
    }

    #[test]
    fn every_bit_and_every_cut_is_noticed() {
        let provider = Seeded::provider(1);
        for suite in suites() {
            let [(mut sealer, _), (_, opener)] = ends(&suite);
            let message = sealer.seal(FIELDS, PayloadType::ID_I, b"payloads", &provider).unwrap();
            for bit in 0..message.len() * 8 {
                let mut forged = message.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                let found = error(&opener, &forged).unwrap();
                assert!(!found.is_authentic(), "bit {bit}: {found}");
                // From the initialization vector on, only the checksum can tell.
                if bit >= 32 * 8 {
                    assert_eq!(found, OpenError::Integrity);
                }
            }
            for len in 0..message.len() {
                assert_eq!(error(&opener, &message[..len]), Some(OpenError::Framing));
                // The same with lengths that fit: the payload is as short as it says, down to nothing.
                if len >= 32 {
                    let mut cut = with_length(message[..len].to_vec());
                    let payload_len = u16::try_from(len - 28).unwrap().to_be_bytes();
                    cut[30..32].copy_from_slice(&payload_len);
                    let found = error(&opener, &cut).unwrap();
                    assert!(matches!(found, OpenError::Integrity | OpenError::TooShort), "{len}: {found}");
                }
            }
            let longer = with_length([&message[..], &[0]].concat());
            assert_eq!(error(&opener, &longer), Some(OpenError::Framing));
        }
    }

    #[test]
    fn other_payloads_may_stand_before_and_are_covered() {
        // No sealer of ours does that, so the test seals by hand.
        let (key, iv) = (vec![7; 36], [0; 8]);
        let aead = Aead::ChaCha20Poly1305;
        let mut text = [b"inside".as_slice(), &[0]].concat();
        let body_len = 4 + 8 + text.len() + 16;
        let mut message = [&b"initiateresponds"[..], &[43, VERSION, 37, 0, 0, 0, 0, 2, 0, 0, 0, 0]].concat();
        message.extend([46, 0, 0, 7, 1, 2, 3]);
        message.extend([41, 0, 0, u8::try_from(body_len).unwrap()]);
        let total = u8::try_from(message.len() + body_len - 4).unwrap();
        message[27] = total;
        let tag = aead.seal(&key, iv, &message, &mut text);
        let message = [&message[..], &iv, &text, &tag].concat();

        let opener = Opener::new(Cipher::Aead(aead), Secret::new(key), Secret::new(Vec::new()));
        let opened = opener.open(&message).unwrap();
        assert_eq!(opened.first, PayloadType::NOTIFY);
        assert_eq!(*opened.plaintext, b"inside");
        let mut forged = message.clone();
        forged[33] ^= 1;
        assert_eq!(error(&opener, &forged), Some(OpenError::Integrity));
    }

    #[test]
    fn messages_without_protection_are_told_apart() {
        let [_, (_, opener)] = ends(&suites()[0]);
        let header =
            |next: u8| [&b"initiateresponds"[..], &[next, VERSION, 37, 0, 0, 0, 0, 2, 0, 0, 0, 0]].concat();
        let message = |next, payloads: &[u8]| with_length([&header(next), payloads].concat());
        assert_eq!(error(&opener, &message(0, &[])), Some(OpenError::NotProtected));
        assert_eq!(error(&opener, &message(41, &[0, 0, 0, 8, 1, 2, 3, 4])), Some(OpenError::NotProtected));
        assert_eq!(error(&opener, &message(46, &[])), Some(OpenError::Framing));
        // A payload shorter than its own header would make the walk stand still.
        assert_eq!(error(&opener, &message(41, &[41, 0, 0, 0])), Some(OpenError::Framing));
        assert_eq!(error(&opener, &message(41, &[41, 0, 0, 3])), Some(OpenError::Framing));
        assert_eq!(error(&opener, &message(46, &[0, 0, 0, 4])), Some(OpenError::TooShort));
        assert_eq!(error(&opener, &message(53, &[0, 0, 0, 6, 0, 1])), Some(OpenError::TooShort));
        for (number, total) in [(0, 0), (0, 1), (2, 1)] {
            let payload = [0, 0, 0, 8, 0, number, 0, total];
            let expected = OpenError::Fragment { number: number.into(), total: total.into() };
            assert_eq!(error(&opener, &message(53, &payload)), Some(expected));
        }
    }

    #[test]
    fn padding_the_peer_got_wrong_is_the_peers_fault() {
        let provider = Seeded::provider(1);
        for suite in suites() {
            // Reads the last octet of the plaintext as Pad Length by cutting off ours: for an AEAD the
            // empty text, for CBC none at all.
            let [(sealer, _), (_, opener)] = ends(&suite);
            let (text, block) = match suite.cipher() {
                Cipher::Aead(_) => (vec![1], 1),
                Cipher::Cbc(..) => (vec![16; 16], 16),
            };
            assert_eq!(suite.cipher().block_len(), block);
            let message = seal_raw(&sealer, &text, &provider);
            assert_eq!(error(&opener, &message), Some(OpenError::Padding));
            assert!(OpenError::Padding.is_authentic());
            // As much as there is, of any content, is fine.
            let mut text = vec![0xaa; 255];
            text.push(255);
            assert_eq!(opener.open(&seal_raw(&sealer, &text, &provider)).unwrap().plaintext.len(), 0);
        }
    }

    /// Seals `text` as it is, as a peer might that pads by rules of its own.
    fn seal_raw(sealer: &Sealer, text: &[u8], provider: &CryptoProvider) -> Vec<u8> {
        let cipher = sealer.cipher;
        let payload_len = 4 + cipher.iv_len() + text.len() + cipher.icv_len();
        let mut message = [&b"initiateresponds"[..], &[46, VERSION, 37, 0, 0, 0, 0, 2, 0, 0]].concat();
        message.extend(u16::try_from(28 + payload_len).unwrap().to_be_bytes());
        message.extend([0, 0]);
        message.extend(u16::try_from(payload_len).unwrap().to_be_bytes());
        let mut text = text.to_vec();
        match cipher {
            Cipher::Aead(aead) => {
                let iv = [0xff; 8];
                let tag = aead.seal(sealer.encr.octets(), iv, &message, &mut text);
                [&message[..], &iv, &text, &tag].concat()
            }
            Cipher::Cbc(aes, integ) => {
                let mut iv = [0; 16];
                provider.random(&mut iv);
                cbc::encrypt(aes, sealer.encr.octets(), &iv, &mut text);
                let mut message = [&message[..], &iv, &text].concat();
                integ.append_icv(sealer.integ.octets(), &mut message);
                message
            }
        }
    }

    #[test]
    fn a_payload_beyond_its_length_field_is_refused() {
        let provider = Seeded::provider(1);
        for suite in suites() {
            let [(mut sealer, _), (_, opener)] = ends(&suite);
            let plaintext = vec![0; 65_535];
            let refused = sealer.seal(FIELDS, PayloadType::CERT, &plaintext, &provider);
            assert_eq!(refused, Err(SealError::TooLong { plaintext_len: 65_535 }));
            let sealed = sealer.seal(FIELDS, PayloadType::CERT, &plaintext[..65_400], &provider).unwrap();
            assert_eq!(opener.open(&sealed).unwrap().plaintext.len(), 65_400);
        }
    }

    #[test]
    fn fragments_fill_what_they_are_given() {
        let provider = Seeded::provider(1);
        for suite in suites() {
            let [(mut sealer, _), (_, opener)] = ends(&suite);
            assert_eq!(sealer.fragment_capacity(0), 0);
            for message_len in [128, 576, 1_280, 1_281, 1_295] {
                let capacity = sealer.fragment_capacity(message_len);
                let chunk = vec![5; capacity + 1];
                let fragment = Fragment::new(2, 3).unwrap();
                let mut seal = |chunk: &[u8]| {
                    sealer.seal_fragment(FIELDS, PayloadType::ID_I, fragment, chunk, &provider).unwrap()
                };
                assert!(seal(&chunk).len() > message_len);
                let fits = seal(&chunk[1..]);
                assert!(fits.len() <= message_len && fits.len() + 16 > message_len);
                assert_eq!(fits[16], PayloadType::SKF.0);
                let opened = opener.open(&fits).unwrap();
                assert_eq!(*opened.plaintext, chunk[1..]);
                assert_eq!(opened.fragment, Some(fragment));
                assert_eq!(opened.first, PayloadType::NONE, "only the first fragment says");
                // The numbers are covered.
                for at in 32..36 {
                    let mut forged = fits.clone();
                    forged[at] ^= 1;
                    assert!(opener.open(&forged).is_err());
                }
                let mut forged = fits.clone();
                forged[35] = 9;
                assert_eq!(error(&opener, &forged), Some(OpenError::Integrity));
            }
            let first = Fragment::new(1, 3).unwrap();
            let sealed = sealer.seal_fragment(FIELDS, PayloadType::ID_I, first, b"", &provider).unwrap();
            assert_eq!(opener.open(&sealed).unwrap().first, PayloadType::ID_I);
        }
        assert_eq!(Fragment::new(0, 1), None);
        assert_eq!(Fragment::new(2, 1), None);
        assert_eq!(Fragment::new(0, 0), None);
        assert_eq!(Fragment::new(65_535, 65_535).map(Fragment::total), Some(65_535));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(plaintext: Vec<u8>, first: u8, flags: u8, seed: u64) {
            let provider = Seeded::provider(seed);
            let fields = HeaderFields { flags: Flags::from_octet(flags), ..FIELDS };
            for suite in suites() {
                let [(mut sealer, _), (_, opener)] = ends(&suite);
                let sealed = sealer.seal(fields, PayloadType(first), &plaintext, &provider).unwrap();
                prop_assert_eq!(sealed.capacity(), sealed.len());
                let opened = opener.open(&sealed).unwrap();
                prop_assert_eq!(&*opened.plaintext, &plaintext);
                prop_assert_eq!(opened.first, PayloadType(first));
                prop_assert_eq!(opened.fragment, None);
            }
        }

        #[test]
        fn no_octets_open_by_chance_or_panic(
            tail in prop::collection::vec(any::<u8>(), 0..200), next in prop::sample::select(vec![46, 53, 41, 0]),
        ) {
            let header = [&b"initiateresponds"[..], &[next, VERSION, 37, 0, 0, 0, 0, 2, 0, 0, 0, 0]].concat();
            let message = with_length([&header[..], &tail].concat());
            for suite in suites() {
                let [_, (_, opener)] = ends(&suite);
                prop_assert!(error(&opener, &message).is_some_and(|error| !error.is_authentic()));
                prop_assert!(opener.open(&tail).is_err());
            }
        }
    }
}
