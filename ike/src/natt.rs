//! NAT detection (RFC 7296 §2.23) and what shares UDP port 4500 (RFC 3948).
use crate::wire::registry::IkeSpi;
use std::net::{IpAddr, SocketAddr};

/// Precedes every IKE message on port 4500.
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// A NAT-keepalive packet.
pub const KEEPALIVE: [u8; 1] = [0xff];

/// The data of a NAT_DETECTION_*_IP notify.
#[must_use]
pub fn detection_hash(_spi_i: IkeSpi, _spi_r: IkeSpi, _addr: SocketAddr) -> [u8; 20] {
    todo!()
}
/// The data of a NAT_DETECTION_SOURCE_IP notify that makes the peer see a NAT (`encap = yes`).
#[must_use]
pub fn forced_nat_hash(_spi_i: IkeSpi, _spi_r: IkeSpi, _source: IpAddr) -> [u8; 20] {
    todo!()
}
/// Who is behind a NAT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct NatSituation {
    /// We are: keepalives are ours to send.
    pub local_behind_nat: bool,
    /// The peer is: its address may change.
    pub remote_behind_nat: bool,
}
impl NatSituation {
    /// `None` if the peer sent no hash of one kind: it does not do NAT traversal.
    #[must_use]
    pub fn detect(
        _spi_i: IkeSpi,
        _spi_r: IkeSpi,
        _local: SocketAddr,
        _remote: SocketAddr,
        _source_hashes: &[&[u8]],
        _destination_hashes: &[&[u8]],
    ) -> Option<Self> {
        todo!()
    }
    /// A NAT on either side.
    #[must_use]
    pub const fn any(self) -> bool {
        self.local_behind_nat || self.remote_behind_nat
    }
}
/// What a datagram on port 4500 is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encapsulated<'a> {
    /// An IKE message, marker removed.
    Ike(&'a [u8]),
    /// An ESP packet.
    Esp(&'a [u8]),
    /// A NAT-keepalive.
    Keepalive,
    /// Nothing that port 4500 may carry.
    Malformed,
}
/// Tells what a datagram on port 4500 is.
#[must_use]
pub fn classify(_datagram: &[u8]) -> Encapsulated<'_> {
    todo!()
}
/// The message as it goes over port 4500.
#[must_use]
pub fn add_marker(_message: &[u8]) -> Vec<u8> {
    todo!()
}
