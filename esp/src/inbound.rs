//! The receiving side of an SA (RFC 4303 §3.4, RFC 4301 §5.2).

use thiserror::Error;

use crate::cipher::Cipher;
use crate::inner::{InnerError, InnerHeader};
use crate::keys::{KeyError, KeyMaterial};
use crate::packet::{Admitted, NextHeader, OpenError, Opened, Sealed, Spi, cut_trailer};
use crate::replay::ReplayWindow;
use crate::selector::{SelectorPair, Selectors};
use crate::sequence::{SequenceNumber, SequenceNumbers};
use crate::suite::{HEADER_LEN, Suite};
use crate::tunnel::{CongestionLoss, TunnelOptions, set_traffic_class};

/// What an inbound SA is made of.
pub struct InboundParams {
    /// The SPI we chose.
    pub spi: Spi,
    /// How packets are protected.
    pub suite: Suite,
    /// This direction's keys.
    pub keys: KeyMaterial,
    /// Size of the sequence numbers.
    pub sequence_numbers: SequenceNumbers,
    /// Size of the anti-replay window in packets, at most [`MAX_REPLAY_WINDOW`](crate::MAX_REPLAY_WINDOW); 0 turns
    /// replay detection off.
    pub replay_window: u32,
    /// What the SA may carry.
    pub selectors: Selectors,
    /// Treatment of the tunnel's headers.
    pub tunnel: TunnelOptions,
}

/// Why the payload of an opened packet does not go on to the network stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A dummy packet (RFC 4303 §2.6): nothing is wrong with it, and nothing is in it.
    #[error("dummy packet")]
    Dummy,
    /// The payload is not an IP packet of the announced version, as tunnel mode carries them.
    #[error("payload of protocol {} is not a packet in a tunnel", .0.0)]
    NotTunnelled(NextHeader),
    /// The inner packet makes no sense.
    #[error("inner packet: {0}")]
    Malformed(#[from] InnerError),
    /// The inner packet is not one the SA was negotiated for.
    #[error("inner packet is outside the SA's traffic selectors")]
    OutsideSelectors,
    /// The packet has to be lost to signal congestion.
    #[error(transparent)]
    Congestion(#[from] CongestionLoss),
}

/// A packet whose sequence number is acceptable, if it is its own.
struct Fresh<'b> {
    packet: &'b mut [u8],
    number: SequenceNumber,
}

/// A decrypted body, and the number it was verified with.
struct Verified<'b> {
    body: &'b mut [u8],
    number: SequenceNumber,
}

/// The receiving side of an SA. One owner: its window is kept here and nowhere else.
pub struct InboundSa {
    spi: Spi,
    suite: Suite,
    cipher: Cipher,
    sequence_numbers: SequenceNumbers,
    window: ReplayWindow,
    pairs: Box<[SelectorPair]>,
    tunnel: TunnelOptions,
}

impl InboundSa {
    /// Makes the key schedule. Fails if a key has the wrong length for the suite.
    pub fn new(params: InboundParams) -> Result<Self, KeyError> {
        let InboundParams { spi, suite, keys, sequence_numbers, replay_window, selectors, tunnel } = params;
        Ok(Self {
            spi,
            suite,
            cipher: Cipher::new(suite, &keys)?,
            sequence_numbers,
            window: ReplayWindow::new(replay_window, sequence_numbers),
            pairs: selectors.pairs().collect(),
            tunnel,
        })
    }

    /// Checks the window, verifies and decrypts in place, moves the window, and cuts off the padding.
    ///
    /// A packet that fails leaves no trace in the SA; but for the padding, which is looked at last.
    #[inline]
    pub fn open<'b>(&mut self, sealed: Sealed<'b>) -> Result<Opened<'b>, OpenError> {
        let fresh = self.check_window(sealed)?;
        let verified = self.verify(fresh)?;
        self.accept(verified)
    }

    /// Checks that an opened packet may come out of this tunnel, and carries the outer header's marks over to it.
    ///
    /// `outer_traffic_class` is DSCP and ECN of the packet that carried it.
    // RFC 4301 §5.2 step 4: the inner packet must match the selectors of the SA it came through.
    #[inline]
    pub fn admit<'b>(&self, opened: Opened<'b>, outer_traffic_class: u8) -> Result<Admitted<'b>, Refusal> {
        if opened.next_header == NextHeader::NONE {
            return Err(Refusal::Dummy);
        }
        if !matches!(opened.next_header, NextHeader::IPV4 | NextHeader::IPV6) {
            return Err(Refusal::NotTunnelled(opened.next_header));
        }
        let mut header = InnerHeader::parse(opened.payload)?;
        if header.next_header() != opened.next_header {
            return Err(Refusal::NotTunnelled(opened.next_header));
        }
        let is_ours = opened.spi == self.spi;
        if !is_ours || !self.pairs.iter().any(|pair| pair.matches_inbound(&header.flow)) {
            return Err(Refusal::OutsideSelectors);
        }
        let class = self.tunnel.inner_traffic_class(header.traffic_class, outer_traffic_class)?;
        // RFC 4303 §2.7: what follows the inner packet is TFC padding.
        let len = opened.payload.len();
        let packet = opened.payload.get_mut(..header.len).ok_or(InnerError::Truncated { len })?;
        if class != header.traffic_class {
            set_traffic_class(packet, class);
            header.traffic_class = class;
        }
        Ok(Admitted { packet, header })
    }

    /// The SPI in its packets.
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// How its packets are protected.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The highest sequence number received; 0 before the first packet.
    pub const fn highest_sequence(&self) -> u64 {
        self.window.highest()
    }

    fn check_window<'b>(&self, sealed: Sealed<'b>) -> Result<Fresh<'b>, OpenError> {
        if sealed.spi() != self.spi {
            return Err(OpenError::WrongSpi { got: sealed.spi(), expected: self.spi });
        }
        let len = sealed.octets().len();
        if len < HEADER_LEN + self.suite.iv_len() + self.suite.icv_len() {
            return Err(OpenError::TooShort { len });
        }
        let full = self.window.check(sealed.sequence_low())?;
        let number = SequenceNumber { full, numbers: self.sequence_numbers };
        Ok(Fresh { packet: sealed.into_packet(), number })
    }

    fn verify<'b>(&self, fresh: Fresh<'b>) -> Result<Verified<'b>, OpenError> {
        let body = self.cipher.open(fresh.number, fresh.packet).map_err(|_| OpenError::Forged)?;
        Ok(Verified { body, number: fresh.number })
    }

    fn accept<'b>(&mut self, verified: Verified<'b>) -> Result<Opened<'b>, OpenError> {
        let Verified { body, number } = verified;
        let is_newest = self.window.update(number.full);
        let (payload_len, next_header) = cut_trailer(body)?;
        let payload = body.get_mut(..payload_len).ok_or(OpenError::Padding)?;
        Ok(Opened { payload, spi: self.spi, next_header, sequence: number.full, is_newest })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inner::Flow;
    use crate::outbound::OutboundSa;
    use crate::replay::ReplayError;
    use crate::suite::{AesKeySize, HEADROOM, Integrity, TAILROOM};
    use crate::testing::{ends, seal, sum, udp4, udp6};
    use crate::tunnel::Ecn;

    const GCM: Suite = Suite::AesGcm16(AesKeySize::Aes128);

    fn pair() -> (OutboundSa, InboundSa) {
        ends(GCM, SequenceNumbers::Short, TunnelOptions::default())
    }

    /// Opens and admits; the inner packet, or what stopped it.
    fn receive(sa: &mut InboundSa, packet: &mut [u8], outer: u8) -> Result<Vec<u8>, String> {
        let sealed = Sealed::parse(packet).map_err(|error| error.to_string())?;
        let opened = sa.open(sealed).map_err(|error| error.to_string())?;
        let admitted = sa.admit(opened, outer).map_err(|refusal| refusal.to_string())?;
        Ok(admitted.octets().to_vec())
    }

    #[test]
    fn every_suite_carries_packets_of_every_length() {
        for suite in Suite::ALL {
            for numbers in [SequenceNumbers::Short, SequenceNumbers::Extended] {
                let (mut sender, mut receiver) = ends(suite, numbers, TunnelOptions::default());
                for len in 0..40 {
                    let inner = udp4("10.1.0.1:1", "10.2.0.1:2", &vec![0xaa; len]);
                    let mut packet = seal(&mut sender, &inner);
                    let overhead = suite.overhead(inner.len(), crate::Encapsulation::None);
                    assert_eq!(packet.len(), inner.len() + overhead, "{suite}");
                    assert_eq!(receive(&mut receiver, &mut packet, 0), Ok(inner), "{suite}");
                }
                let inner = udp6("[2001:db8:1::1]:1", "[2001:db8:2::1]:2", &[0xbb; 1300]);
                let mut packet = seal(&mut sender, &inner);
                assert_eq!(receive(&mut receiver, &mut packet, 0), Ok(inner), "{suite}");
            }
        }
    }

    #[test]
    fn no_changed_octet_is_overlooked() {
        for suite in Suite::ALL {
            for numbers in [SequenceNumbers::Short, SequenceNumbers::Extended] {
                let (mut sender, mut receiver) = ends(suite, numbers, TunnelOptions::default());
                let packet = seal(&mut sender, &udp4("10.1.0.1:1", "10.2.0.1:2", b"hands off"));
                for at in 4..packet.len() {
                    let mut changed = packet.clone();
                    changed[at] ^= 0x10;
                    let opened = receiver.open(Sealed::parse(&mut changed).expect("long enough"));
                    assert_eq!(opened.err(), Some(OpenError::Forged), "{suite}, octet {at}");
                }
                for len in 8..packet.len() {
                    let mut cut = packet[..len].to_vec();
                    let opened = receiver.open(Sealed::parse(&mut cut).expect("long enough"));
                    let least = HEADER_LEN + suite.iv_len() + suite.icv_len();
                    let expected = if len < least { OpenError::TooShort { len } } else { OpenError::Forged };
                    assert_eq!(opened.err(), Some(expected), "{suite}, cut to {len}");
                }
                assert_eq!(receiver.highest_sequence(), 0, "forgeries leave no trace");
                assert!(receiver.open(Sealed::parse(&mut packet.clone()).expect("long enough")).is_ok());
            }
        }
    }

    #[test]
    fn keys_of_another_sa_do_not_open() {
        for suite in Suite::ALL {
            let (mut sender, _) = ends(suite, SequenceNumbers::Short, TunnelOptions::default());
            let mut receiver = InboundSa::new(InboundParams {
                spi: sender.spi(),
                suite,
                keys: crate::testing::keys(suite, 8),
                sequence_numbers: SequenceNumbers::Short,
                replay_window: 64,
                selectors: sender.selectors().clone(),
                tunnel: TunnelOptions::default(),
            })
            .expect("right key lengths");
            let mut packet = seal(&mut sender, &udp4("10.1.0.1:1", "10.2.0.1:2", b""));
            let opened = receiver.open(Sealed::parse(&mut packet).expect("long enough"));
            assert_eq!(opened.err(), Some(OpenError::Forged), "{suite}");
        }
    }

    #[test]
    fn wrong_key_lengths_are_named() {
        let params = |encryption: usize, integrity: usize, suite| InboundParams {
            spi: Spi(256),
            suite,
            keys: KeyMaterial::new(&vec![0; encryption], &vec![0; integrity]),
            sequence_numbers: SequenceNumbers::Short,
            replay_window: 0,
            selectors: Selectors { local: vec![], remote: vec![] },
            tunnel: TunnelOptions::default(),
        };
        assert_eq!(
            InboundSa::new(params(16, 0, GCM)).err().map(|error| error.to_string()),
            Some("AES-GCM-16-128 takes an encryption key of 20 octets (salt included), got 16".into())
        );
        let cbc = Suite::AesCbc(AesKeySize::Aes256, Integrity::HmacSha512_256);
        assert_eq!(
            InboundSa::new(params(32, 32, cbc)).err(),
            Some(KeyError::IntegrityLength { suite: cbc, expected: 64, got: 32 })
        );
        for suite in Suite::ALL {
            assert!(
                InboundSa::new(params(suite.encryption_key_len() + 1, suite.integrity_key_len(), suite))
                    .is_err()
            );
            assert!(
                InboundSa::new(params(suite.encryption_key_len(), suite.integrity_key_len() + 1, suite))
                    .is_err()
            );
        }
    }

    #[test]
    fn a_replayed_packet_is_refused() {
        let (mut sender, mut receiver) = pair();
        let packet = seal(&mut sender, &udp4("10.1.0.1:1", "10.2.0.1:2", b"once"));
        let mut again = packet.clone();
        assert!(receive(&mut receiver, &mut packet.clone(), 0).is_ok());
        let opened = receiver.open(Sealed::parse(&mut again).expect("long enough"));
        assert_eq!(opened.err(), Some(OpenError::Replay(ReplayError::Repeated)));
    }

    #[test]
    fn extended_numbers_carry_an_sa_past_the_boundary() {
        for suite in Suite::ALL {
            let (mut sender, mut receiver) = ends(suite, SequenceNumbers::Extended, TunnelOptions::default());
            sender.skip_past(0xffff_fff0);
            let inner = udp4("10.1.0.1:1", "10.2.0.1:2", b"across");
            let packets: Vec<Vec<u8>> = (0..40).map(|_| seal(&mut sender, &inner)).collect();
            // Neighbours change places, so that the boundary is crossed back and forth.
            for neighbours in packets.chunks(2) {
                for packet in neighbours.iter().rev() {
                    assert_eq!(receive(&mut receiver, &mut packet.clone(), 0), Ok(inner.clone()), "{suite}");
                }
            }
            assert_eq!(receiver.highest_sequence(), 0xffff_fff0 + 40);
        }
    }

    #[test]
    fn the_newest_packet_says_so() {
        let (mut sender, mut receiver) = pair();
        let packets: Vec<Vec<u8>> =
            (0..2).map(|_| seal(&mut sender, &udp4("10.1.0.1:1", "10.2.0.1:2", b""))).collect();
        let mut newest = |packet: &Vec<u8>| {
            let mut packet = packet.clone();
            receiver
                .open(Sealed::parse(&mut packet).expect("long enough"))
                .is_ok_and(|opened| opened.is_newest())
        };
        assert!(newest(&packets[1]));
        assert!(!newest(&packets[0]));
    }

    #[test]
    fn dummies_are_dropped() {
        let (mut sender, mut receiver) = pair();
        let mut buffer = [0x45; 200];
        let packet = sender.seal_dummy(&mut buffer, 50..90).expect("sealed").into_packet();
        let opened = receiver.open(Sealed::parse(packet).expect("long enough")).expect("verifies");
        assert_eq!(receiver.admit(opened, 0).err(), Some(Refusal::Dummy));
    }

    #[test]
    fn tfc_padding_is_cut_off() {
        let (mut sender, mut receiver) = pair();
        let inner = udp4("10.1.0.1:1", "10.2.0.1:2", b"short");
        let padded = [inner.clone(), vec![0; 700]].concat();
        assert_eq!(receive(&mut receiver, &mut seal(&mut sender, &padded), 0), Ok(inner));
    }

    #[test]
    fn the_inner_packet_must_match_the_selectors() {
        let (mut sender, mut receiver) = pair();
        let mut refused = |inner: &[u8]| {
            let mut packet = seal(&mut sender, inner);
            let opened = receiver.open(Sealed::parse(&mut packet).expect("long enough")).expect("verifies");
            receiver.admit(opened, 0).err()
        };
        assert_eq!(refused(&udp4("10.1.0.1:1", "10.2.0.1:2", b"")), None);
        assert_eq!(refused(&udp4("10.3.0.1:1", "10.2.0.1:2", b"")), Some(Refusal::OutsideSelectors));
        assert_eq!(refused(&udp4("10.1.0.1:1", "10.3.0.1:2", b"")), Some(Refusal::OutsideSelectors));
        assert_eq!(refused(&udp4("10.2.0.1:1", "10.1.0.1:2", b"")), Some(Refusal::OutsideSelectors));
        assert_eq!(
            refused(&udp6("[2001:db8:1::1]:1", "[2001:db8:3::1]:2", b"")),
            Some(Refusal::OutsideSelectors)
        );
        assert_eq!(refused(&[0x45, 0, 0, 20]), Some(InnerError::Truncated { len: 4 }.into()));
        assert_eq!(
            refused(&udp4("10.1.0.1:1", "10.2.0.1:2", b"long")[..30]),
            Some(InnerError::Truncated { len: 30 }.into())
        );
    }

    #[test]
    fn the_announced_protocol_must_be_the_packets() {
        let (mut sender, receiver) = pair();
        let mut inner = udp4("10.1.0.1:1", "10.2.0.1:2", b"");
        let mut with = |next_header| {
            let opened =
                Opened { payload: &mut inner, spi: sender.spi(), next_header, sequence: 1, is_newest: true };
            receiver.admit(opened, 0).err()
        };
        assert_eq!(with(NextHeader::IPV4), None);
        assert_eq!(with(NextHeader::IPV6), Some(Refusal::NotTunnelled(NextHeader::IPV6)));
        assert_eq!(with(NextHeader(17)), Some(Refusal::NotTunnelled(NextHeader(17))));
        let mut packet = seal(&mut sender, &inner);
        packet[3] ^= 1;
        let (_, mut receiver) = pair();
        let opened = receiver.open(Sealed::parse(&mut packet).expect("long enough"));
        let (got, expected) = (Spi(0xc001_d00c), Spi(0xc001_d00d));
        assert_eq!(opened.err(), Some(OpenError::WrongSpi { got, expected }));
    }

    #[test]
    fn congestion_comes_out_of_the_tunnel() {
        let (mut sender, mut receiver) = pair();
        let mut inner = udp4("10.1.0.1:1", "10.2.0.1:2", b"marked");
        assert!(
            receive(&mut receiver, &mut seal(&mut sender, &inner), 3)
                .is_err_and(|e| e.contains("congestion"))
        );
        crate::tunnel::set_traffic_class(&mut inner, 2);
        let out = receive(&mut receiver, &mut seal(&mut sender, &inner), 3).expect("goes on, marked");
        assert_eq!((out[1], sum(&out[..20])), (3, 0xffff));
        let off = TunnelOptions { ecn: Ecn::Off, ..TunnelOptions::default() };
        let (mut sender, mut receiver) = ends(GCM, SequenceNumbers::Short, off);
        assert_eq!(receive(&mut receiver, &mut seal(&mut sender, &inner), 3), Ok(inner));
    }

    #[test]
    fn bad_padding_is_refused_after_the_window_has_moved() {
        let (sender, mut receiver) = pair();
        let number = SequenceNumber { full: 5, numbers: SequenceNumbers::Short };
        let cipher = Cipher::new(GCM, &crate::testing::keys(GCM, 7)).expect("right lengths");
        let mut packet =
            [&sender.spi().0.to_be_bytes()[..], &[0, 0, 0, 5], &[0; 8], &[1, 1, 2, 4], &[0; 16]].concat();
        cipher.seal(number, &mut packet).expect("long enough");
        let opened = receiver.open(Sealed::parse(&mut packet).expect("long enough"));
        assert_eq!(opened.err(), Some(OpenError::Padding));
        assert_eq!(receiver.highest_sequence(), 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_sealed_opens(
            suite in prop::sample::select(Suite::ALL.to_vec()),
            payload in prop::collection::vec(any::<u8>(), 0..1500),
            ports: (u16, u16),
        ) {
            let (mut sender, mut receiver) = ends(suite, SequenceNumbers::Extended, TunnelOptions::default());
            let inner = udp4(&format!("10.1.0.1:{}", ports.0), &format!("10.2.0.1:{}", ports.1), &payload);
            let mut buffer = [vec![0; HEADROOM], inner.clone(), vec![0; TAILROOM]].concat();
            let sealed = sender.seal(&mut buffer, HEADROOM..HEADROOM + inner.len()).expect("sealed");
            let opened = receiver.open(sealed).expect("opened");
            let admitted = receiver.admit(opened, 0).expect("admitted");
            prop_assert_eq!(admitted.octets(), inner);
            let Flow { ports: seen, .. } = admitted.header().flow;
            prop_assert_eq!(seen, Some(ports));
        }

        #[test]
        fn any_octets_are_refused_without_a_panic(
            suite in prop::sample::select(Suite::ALL.to_vec()),
            mut octets in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let (_, mut receiver) = ends(suite, SequenceNumbers::Extended, TunnelOptions::default());
            if let Some(spi) = octets.first_chunk_mut() {
                *spi = receiver.spi().0.to_be_bytes();
            }
            prop_assert!(receive(&mut receiver, &mut octets, 0).is_err());
        }
    }
}
