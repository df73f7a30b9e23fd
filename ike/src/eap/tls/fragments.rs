//! TLS flights in EAP packets (RFC 5216 §2.1.5, §3.1; the same for TTLS, RFC 5281 §9, and PEAP).
//!
//! ```text
//! Flags (1) | TLS Message Length (4), if L | TLS Data
//!
//!  0 1 2 3 4 5 6 7
//! +-+-+-+-+-+-+-+-+
//! |L M S R R| Ver |   Ver is TTLS's and PEAP's; EAP-TLS has it reserved
//! +-+-+-+-+-+-+-+-+
//! ```
//!
//! A flight that is larger than a packet goes in fragments, each of which the other end acknowledges with a packet
//! without data. What a peer announces is no reason to allocate: memory grows with what has come.

use super::settings::Packets;
use crate::eap::packet::HEADER_LEN;

const LENGTH_INCLUDED: u8 = 0x80;
const MORE_FRAGMENTS: u8 = 0x40;
const START: u8 = 0x20;
const VERSION: u8 = 0x07;

/// Octets of flags and TLS Message Length.
const LONGEST_HEADER: usize = 5;

/// The most octets of a flight: what a handshake message may have for rustls, and several times any chain of use.
const LONGEST_FLIGHT: usize = 0x1_0000;

/// What a packet has brought.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::eap) enum Received {
    /// A fragment, to be acknowledged; more follow.
    Fragment,
    /// No data: the last packet of ours is acknowledged.
    Acknowledgement,
    /// All of a flight.
    Flight(Vec<u8>),
}

/// One end's half-sent and half-received flights.
pub(in crate::eap) struct Fragments {
    packets: Packets,
    outgoing: Vec<u8>,
    sent: usize,
    incoming: Vec<u8>,
    /// The length that the first fragment has announced.
    announced: Option<usize>,
    /// Packets of the peer so far.
    received: u32,
}

impl Fragments {
    pub(in crate::eap) const fn new(packets: Packets) -> Self {
        Self { packets, outgoing: Vec::new(), sent: 0, incoming: Vec::new(), announced: None, received: 0 }
    }

    /// The server's first request. Of versions there is but 0.
    pub(in crate::eap) fn start() -> Vec<u8> {
        vec![START]
    }

    /// What is said to a packet when there is nothing to say.
    pub(in crate::eap) fn acknowledgement() -> Vec<u8> {
        vec![0]
    }

    /// True if the data is a server's first request. The version in it is the highest that the server has, and any
    /// server has 0 (RFC 5281 §9.1).
    pub(in crate::eap) fn is_start(data: &[u8]) -> bool {
        matches!(data, [flags] if flags & !VERSION == START)
    }

    /// Takes the data of a packet.
    pub(in crate::eap) fn receive(&mut self, data: &[u8]) -> Result<Received, String> {
        self.received = self.received.saturating_add(1);
        if self.packets.most != 0 && self.received > self.packets.most {
            return Err(format!("it takes more than {} packets", self.packets.most));
        }
        let (&flags, rest) = data.split_first().ok_or("a packet has no flags")?;
        if flags & START != 0 {
            return Err("a packet starts what is under way".into());
        }
        if flags & VERSION != 0 {
            return Err(format!("a packet has version {}, only 0 is spoken", flags & VERSION));
        }
        let rest = if flags & LENGTH_INCLUDED == 0 { rest } else { self.announced(rest)? };
        let is_last = flags & MORE_FRAGMENTS == 0;
        let announces_none = self.announced.is_none_or(|announced| announced == 0);
        if rest.is_empty() && is_last && self.incoming.is_empty() && announces_none {
            self.announced = None;
            return Ok(Received::Acknowledgement);
        }
        if self.has_more() {
            return Err("the peer sends TLS data in place of an acknowledgement".into());
        }
        if rest.is_empty() && !is_last {
            return Err("a fragment is empty".into());
        }
        let so_far = self.incoming.len() + rest.len();
        let most = self.announced.unwrap_or(LONGEST_FLIGHT);
        if so_far > most || (is_last && self.announced.is_some_and(|announced| announced != so_far)) {
            return Err(format!(
                "fragments have {so_far} octets so far, {most} were announced or are allowed"
            ));
        }
        self.incoming.extend_from_slice(rest);
        if !is_last {
            return Ok(Received::Fragment);
        }
        self.announced = None;
        Ok(Received::Flight(std::mem::take(&mut self.incoming)))
    }

    /// Reads the TLS Message Length, and gives what is behind it.
    fn announced<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], String> {
        let (length, rest) = rest.split_first_chunk().ok_or("a packet ends within its TLS Message Length")?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST_FLIGHT {
            return Err(format!("a flight of {length} octets is announced, the most is {LONGEST_FLIGHT}"));
        }
        // RFC 5216 §3.1: it is the same in all fragments that have it.
        let is_new = self.incoming.is_empty() && self.announced.is_none();
        if !is_new && self.announced != Some(length) {
            return Err(format!("a later fragment announces {length} octets in all"));
        }
        self.announced = Some(length);
        Ok(rest)
    }

    /// True if some of our flight waits for an acknowledgement.
    pub(in crate::eap) const fn has_more(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Begins to send a flight: the data of its first packet.
    pub(in crate::eap) fn send(&mut self, flight: Vec<u8>) -> Vec<u8> {
        self.outgoing = flight;
        self.sent = 0;
        self.next()
    }

    /// The data of the next packet: what is left of our flight, or an acknowledgement.
    pub(in crate::eap) fn next(&mut self) -> Vec<u8> {
        let rest = self.outgoing.get(self.sent..).unwrap_or_default();
        let room = self.packets.size.saturating_sub(HEADER_LEN + LONGEST_HEADER).max(1);
        let (fragment, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
        let is_first = self.sent == 0;
        let mut flags = 0;
        let mut length = &[][..];
        // What fits one packet needs no length; some peers have none there, and some want one.
        let total = u32::try_from(self.outgoing.len()).unwrap_or(u32::MAX).to_be_bytes();
        if is_first && !rest.is_empty() && (!later.is_empty() || self.packets.include_length) {
            flags |= LENGTH_INCLUDED;
            length = &total;
        }
        if !later.is_empty() {
            flags |= MORE_FRAGMENTS;
        }
        let data = [&[flags], length, fragment].concat();
        self.sent += fragment.len();
        if !self.has_more() {
            (self.outgoing, self.sent) = (Vec::new(), 0);
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(size: usize, include_length: bool) -> Fragments {
        Fragments::new(Packets { size, most: 0, include_length })
    }

    #[test]
    fn flights_of_any_length_arrive_in_packets_of_any_size() {
        for size in [11, 64, 100, 1024] {
            for length in [1, 53, 54, 55, 89, 90, 91, 1013, 1014, 1015, 5000] {
                for include_length in [false, true] {
                    let (mut one, mut other) = (end(size, include_length), end(size, include_length));
                    let flight: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
                    let mut data = one.send(flight.clone());
                    loop {
                        assert!(data.len() + HEADER_LEN <= size);
                        match other.receive(&data).unwrap() {
                            Received::Flight(received) => break assert!(received == flight),
                            Received::Fragment => assert!(one.has_more()),
                            Received::Acknowledgement => panic!("it has data"),
                        }
                        assert_eq!(one.receive(&other.next()), Ok(Received::Acknowledgement));
                        data = one.next();
                    }
                    assert!(!one.has_more());
                    assert_eq!(one.next(), [0]);
                }
            }
        }
    }

    #[test]
    fn the_length_stands_in_the_first_fragment_alone() {
        let mut fragments = end(14, false);
        assert_eq!(fragments.send(vec![1, 2, 3, 4, 5]), [0xc0, 0, 0, 0, 5, 1, 2, 3, 4]);
        assert_eq!(fragments.next(), [0, 5]);
        assert_eq!(end(14, true).send(vec![1]), [0x80, 0, 0, 0, 1, 1]);
        assert_eq!(end(14, false).send(vec![1]), [0, 1]);
    }

    /// Lengths below their header, the class of CVE-2023-26463 and of the like before it, among others.
    #[test]
    fn lengths_that_are_wrong_are_refused() {
        let cases: &[(&[&[u8]], &str)] = &[
            (&[&[]], "a packet has no flags"),
            (&[&[0x80]], "a packet ends within its TLS Message Length"),
            (&[&[0x80, 0, 0, 1]], "a packet ends within its TLS Message Length"),
            (&[&[0xc0, 0, 0, 0, 2]], "a fragment is empty"),
            (&[&[0x40]], "a fragment is empty"),
            (&[&[0x80, 0, 0, 0, 2, 1]], "fragments have 1 octets so far, 2 were announced or are allowed"),
            (&[&[0x80, 0, 0, 0, 0, 1]], "fragments have 1 octets so far, 0 were announced or are allowed"),
            (&[&[0x80, 0, 0, 0, 3]], "fragments have 0 octets so far, 3 were announced or are allowed"),
            (&[&[0x80, 0, 1, 0, 1, 1]], "a flight of 65537 octets is announced, the most is 65536"),
            (&[&[0xff; 9]], "a packet starts what is under way"),
            (&[&[0x01, 1]], "a packet has version 1, only 0 is spoken"),
            (&[&[0xc0, 0, 0, 0, 9, 1], &[0xc0, 0, 0, 0, 8, 1]], "a later fragment announces 8 octets in all"),
            (&[&[0x40, 1], &[0xc0, 0, 0, 0, 8, 1]], "a later fragment announces 8 octets in all"),
            (&[&[0xc0, 0, 0, 0, 2, 1], &[0x40, 1, 1]], "fragments have 3 octets so far, 2 were"),
            (&[&[0xc0, 0, 0, 0, 2, 1], &[0]], "fragments have 1 octets so far, 2 were announced"),
        ];
        for (packets, expected) in cases {
            let mut fragments = end(1024, true);
            let error = packets.iter().find_map(|data| fragments.receive(data).err());
            assert!(error.as_ref().is_some_and(|e| e.starts_with(expected)), "{packets:?}: {error:?}");
        }
    }

    #[test]
    fn a_flight_without_a_length_ends_somewhere() {
        let mut fragments = end(1024, true);
        let fragment = [&[0x40][..], &[1; 1000]].concat();
        let taken = (0..1000).take_while(|_| fragments.receive(&fragment).is_ok()).count();
        assert_eq!(taken, 65);
    }

    #[test]
    fn packets_are_counted() {
        let mut fragments = Fragments::new(Packets { size: 1024, most: 3, include_length: true });
        for _ in 0..3 {
            assert_eq!(fragments.receive(&[0x40, 1]), Ok(Received::Fragment));
        }
        assert_eq!(fragments.receive(&[0, 1]), Err("it takes more than 3 packets".into()));
    }

    #[test]
    fn data_is_no_acknowledgement() {
        let mut fragments = end(20, true);
        fragments.send(vec![1; 100]);
        assert_eq!(
            fragments.receive(&[0, 1]),
            Err("the peer sends TLS data in place of an acknowledgement".into())
        );
    }

    #[test]
    fn a_start_has_nothing_but_a_version() {
        assert!(Fragments::is_start(&Fragments::start()) && Fragments::is_start(&[0x21]));
        for data in [&[][..], &[0], &[0x20, 0], &[0x60], &[0xa0]] {
            assert!(!Fragments::is_start(data));
        }
    }
}
