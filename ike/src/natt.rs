//! NAT detection (RFC 7296 §2.23), and what shares UDP port 4500 (RFC 3948).
//!
//! Each end tells the other a hash of the addresses it believes a message has. Where the receiver sees other
//! addresses, something between them changed the packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ring::digest;

use crate::wire::registry::IkeSpi;

/// Stands before every IKE message on port 4500, where an ESP packet has its SPI (RFC 3948 §2.2).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// A NAT-keepalive packet, whole (RFC 3948 §2.3).
pub const KEEPALIVE: [u8; 1] = [0xff];

/// Octets of a NAT detection hash.
pub const HASH_LEN: usize = 20;

/// The data of a NAT_DETECTION_SOURCE_IP or NAT_DETECTION_DESTINATION_IP notify in a message with these SPIs
/// in its header, for the address and port it is sent from or to. The responder's SPI is zero in the first
/// message.
#[must_use]
pub fn detection_hash(spi_i: IkeSpi, spi_r: IkeSpi, addr: SocketAddr) -> [u8; HASH_LEN] {
    // SHA-1 is what the RFC says here; nothing rests on its strength.
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(&spi_i.0);
    hash.update(&spi_r.0);
    // A socket for both families reports IPv4 peers as ::ffff:a.b.c.d; they hash four octets.
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => hash.update(&ip.octets()),
        IpAddr::V6(ip) => hash.update(&ip.octets()),
    }
    hash.update(&addr.port().to_be_bytes());
    let mut octets = [0; HASH_LEN];
    for (octet, hashed) in octets.iter_mut().zip(hash.finish().as_ref()) {
        *octet = *hashed;
    }
    octets
}

/// The data of a NAT_DETECTION_SOURCE_IP notify that fits no packet, so that the peer sees a NAT and
/// encapsulates (`encap = yes`). `local` only tells the family.
#[must_use]
pub fn forced_nat_hash(spi_i: IkeSpi, spi_r: IkeSpi, local: IpAddr) -> [u8; HASH_LEN] {
    let unspecified = match local {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    detection_hash(spi_i, spi_r, SocketAddr::new(unspecified, 0))
}

/// Who is behind a NAT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct NatSituation {
    /// We are: the keepalives are ours to send, and our own address is not to be believed by others.
    pub local_behind_nat: bool,
    /// The peer is: its address may change at any packet.
    pub remote_behind_nat: bool,
}

impl NatSituation {
    /// Compares the hashes in a message received with the addresses it was received with. The SPIs are those
    /// of its header. There may be several source hashes, from a peer that does not know which of its
    /// addresses is used.
    ///
    /// `None` if there is no source or no destination hash: the peer does not do NAT traversal.
    #[must_use]
    pub fn detect(
        spi_i: IkeSpi,
        spi_r: IkeSpi,
        local: SocketAddr,
        remote: SocketAddr,
        source_hashes: &[&[u8]],
        destination_hashes: &[&[u8]],
    ) -> Option<Self> {
        if source_hashes.is_empty() || destination_hashes.is_empty() {
            return None;
        }
        let fits = |hashes: &[&[u8]], addr| {
            let expected = detection_hash(spi_i, spi_r, addr);
            hashes.contains(&expected.as_slice())
        };
        Some(Self {
            local_behind_nat: !fits(destination_hashes, local),
            remote_behind_nat: !fits(source_hashes, remote),
        })
    }

    /// True if either end is: ESP must be encapsulated, and IKE goes over port 4500.
    #[must_use]
    pub const fn any(self) -> bool {
        self.local_behind_nat || self.remote_behind_nat
    }
}

/// What a datagram on port 4500 is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encapsulated<'a> {
    /// An IKE message, without the marker.
    Ike(&'a [u8]),
    /// An ESP packet, from its SPI on.
    Esp(&'a [u8]),
    /// A NAT-keepalive: it has done its work and is dropped.
    Keepalive,
    /// Too short for any of them.
    Malformed,
}

/// Tells what a datagram on port 4500 is (RFC 3948 §2).
#[must_use]
pub fn classify(datagram: &[u8]) -> Encapsulated<'_> {
    if datagram == KEEPALIVE {
        return Encapsulated::Keepalive;
    }
    match datagram.split_at_checked(NON_ESP_MARKER.len()) {
        Some((marker, message)) if marker == NON_ESP_MARKER => Encapsulated::Ike(message),
        Some(_) => Encapsulated::Esp(datagram),
        None => Encapsulated::Malformed,
    }
}

/// The message as it goes over port 4500.
#[must_use]
pub fn add_marker(message: &[u8]) -> Vec<u8> {
    [&NON_ESP_MARKER, message].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPI_I: IkeSpi = IkeSpi([1, 2, 3, 4, 5, 6, 7, 8]);
    const SPI_R: IkeSpi = IkeSpi([9, 10, 11, 12, 13, 14, 15, 16]);

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// The digests are from Python's hashlib.
    #[test]
    fn the_hash_is_sha1_of_spis_address_and_port() {
        let hash = detection_hash(SPI_I, SPI_R, addr("192.0.2.1:500"));
        let shown: String = hash.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(shown, "f91d4f6bc96115a493f7b83bfe8b8f9b6c885243");
        let hash = detection_hash(SPI_I, IkeSpi::ZERO, addr("[2001:db8::1]:4500"));
        let shown: String = hash.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(shown, "98c75483db80168697635aa7844504963e87de33");
        assert_eq!(
            detection_hash(SPI_I, SPI_R, addr("[::ffff:192.0.2.1]:500")),
            detection_hash(SPI_I, SPI_R, addr("192.0.2.1:500"))
        );
    }

    #[test]
    fn a_nat_is_where_the_hash_does_not_fit() {
        let (gateway, client, nat) = (addr("192.0.2.1:500"), addr("10.0.0.2:500"), addr("198.51.100.9:1024"));
        let hash = |addr| detection_hash(SPI_I, SPI_R, addr);
        let detect = |local, remote, sources: &[SocketAddr], destination| {
            let sources: Vec<_> = sources.iter().map(|addr| hash(*addr)).collect();
            let sources: Vec<&[u8]> = sources.iter().map(|hash| hash.as_slice()).collect();
            let situation =
                NatSituation::detect(SPI_I, SPI_R, local, remote, &sources, &[&hash(destination)]).unwrap();
            (situation.local_behind_nat, situation.remote_behind_nat, situation.any())
        };
        assert_eq!(detect(gateway, client, &[client], gateway), (false, false, false));
        // The gateway hears the client through a NAT, and the client the gateway.
        assert_eq!(detect(gateway, nat, &[client], gateway), (false, true, true));
        assert_eq!(detect(client, gateway, &[gateway], nat), (true, false, true));
        assert_eq!(detect(client, gateway, &[addr("10.9.9.9:500")], nat), (true, true, true));
        // A changed port is a NAT too.
        assert_eq!(detect(gateway, addr("10.0.0.2:1024"), &[client], gateway), (false, true, true));
        // One of several source hashes fits.
        assert_eq!(detect(gateway, client, &[addr("10.7.7.7:500"), client], gateway), (false, false, false));
    }

    #[test]
    fn a_peer_without_hashes_does_no_nat_traversal() {
        let (local, remote) = (addr("192.0.2.1:500"), addr("10.0.0.2:500"));
        let hash = detection_hash(SPI_I, SPI_R, remote);
        assert_eq!(NatSituation::detect(SPI_I, SPI_R, local, remote, &[], &[]), None);
        assert_eq!(NatSituation::detect(SPI_I, SPI_R, local, remote, &[&hash], &[]), None);
        // Hashes of a wrong length fit nothing.
        let odd = NatSituation::detect(SPI_I, SPI_R, local, remote, &[&hash[..19]], &[&[]]);
        assert_eq!(odd, Some(NatSituation { local_behind_nat: true, remote_behind_nat: true }));
    }

    #[test]
    fn encapsulation_can_be_forced() {
        let (local, remote) = (addr("192.0.2.1:500"), addr("10.0.0.2:500"));
        let forced = forced_nat_hash(SPI_I, SPI_R, remote.ip());
        let honest = detection_hash(SPI_I, SPI_R, local);
        let seen = NatSituation::detect(SPI_I, SPI_R, local, remote, &[&forced], &[&honest]).unwrap();
        assert_eq!((seen.local_behind_nat, seen.remote_behind_nat), (false, true));
    }

    #[test]
    fn port_4500_carries_three_things() {
        assert_eq!(classify(&KEEPALIVE), Encapsulated::Keepalive);
        assert_eq!(classify(&[0, 0, 0, 0, 7]), Encapsulated::Ike(&[7]));
        assert_eq!(classify(&[0, 0, 0, 0]), Encapsulated::Ike(&[]));
        assert_eq!(classify(&[0, 0, 0, 1, 7]), Encapsulated::Esp(&[0, 0, 0, 1, 7]));
        assert_eq!(classify(&[0xff, 0xff, 0xff, 0xff]), Encapsulated::Esp(&[0xff; 4]));
        for short in [&[][..], &[0], &[0, 0, 0], &[0xff, 0xff]] {
            assert_eq!(classify(short), Encapsulated::Malformed);
        }
    }

    proptest! {
        #[test]
        fn the_marker_comes_off_again(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            let marked = add_marker(&message);
            prop_assert_eq!(classify(&marked), Encapsulated::Ike(&message));
            let _ = classify(&message);
        }
    }
}
