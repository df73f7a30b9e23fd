//! What `charon.tls` and the sections of charon's plugins eap-tls, eap-ttls and eap-peap set.

use crate::eap::Method;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// How TLS is spoken inside EAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The lowest version that is taken.
    pub min: TlsVersion,
    /// The highest version that is offered.
    pub max: TlsVersion,
    /// A server names the CAs it trusts when it asks for a certificate.
    pub send_authorities: bool,
    /// Packets of EAP-TLS.
    pub tls: Packets,
    /// EAP-TTLS.
    pub ttls: Tunnel,
    /// PEAP.
    pub peap: Tunnel,
}

impl Default for TlsSettings {
    /// charon's defaults.
    fn default() -> Self {
        let tunnel = |packets, phase2| Tunnel { packets, phase2, piggyback: false, asks_certificate: false };
        let packets = Packets::default();
        Self {
            min: TlsVersion::V1_2,
            max: TlsVersion::V1_2,
            send_authorities: true,
            tls: packets,
            ttls: tunnel(packets, Method::Md5),
            peap: tunnel(Packets { include_length: false, ..packets }, Method::MsChapV2),
        }
    }
}

/// How TLS is cut into EAP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packets {
    /// The most octets of an EAP packet.
    pub size: usize,
    /// The most packets of a peer in one conversation; zero for any number.
    pub most: u32,
    /// Flights of one packet say their length too.
    pub include_length: bool,
}

impl Packets {
    /// The smallest packets that are cut: headers, and some data.
    pub const SMALLEST: usize = 64;
}

impl Default for Packets {
    /// charon's defaults.
    fn default() -> Self {
        Self { size: 1024, most: 32, include_length: true }
    }
}

/// A method inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// How it is cut into packets.
    pub packets: Packets,
    /// The method by which a server has the client prove itself inside.
    pub phase2: Method,
    /// A server asks for the identity along with the end of its handshake.
    pub piggyback: bool,
    /// A server has the client prove itself by a certificate too.
    pub asks_certificate: bool,
}
