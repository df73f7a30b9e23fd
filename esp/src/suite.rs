//! The suites ESP can run with, and what each adds to a packet.
//!
//! A [`Suite`] is what negotiation ended in, so the enum is closed: a pair of algorithms that does not exist here
//! cannot be asked for. What the numbers on the wire are called in IKE or in the kernel is not known here.

use std::fmt;

/// Octets of the ESP header: SPI and sequence number (RFC 4303 §2).
pub(crate) const HEADER_LEN: usize = 8;
/// Octets of Pad Length and Next Header (RFC 4303 §2).
pub(crate) const TRAILER_LEN: usize = 2;
/// Octets of the salt at the end of an AEAD's encryption key (RFC 4106 §4, RFC 7634 §2).
pub(crate) const SALT_LEN: usize = 4;
/// Octets of the longest ICV, HMAC-SHA2-512-256's.
pub(crate) const MAX_ICV_LEN: usize = 32;

const UDP_HEADER_LEN: usize = 8;

/// Room a caller keeps in front of a packet so that any suite can seal it in place: ESP header and the longest IV.
pub const HEADROOM: usize = HEADER_LEN + 16;
/// Room a caller keeps behind a packet so that any suite can seal it in place: padding, trailer and the longest ICV.
pub const TAILROOM: usize = 15 + TRAILER_LEN + MAX_ICV_LEN;

/// Key size of AES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AesKeySize {
    /// 128 bits.
    Aes128,
    /// 192 bits.
    Aes192,
    /// 256 bits.
    Aes256,
}

impl AesKeySize {
    /// Octets of the key.
    pub const fn octets(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}

/// Integrity algorithm beside a cipher that has none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// HMAC-SHA1-96 (RFC 2404).
    HmacSha1_96,
    /// HMAC-SHA2-256-128 (RFC 4868).
    HmacSha256_128,
    /// HMAC-SHA2-384-192 (RFC 4868).
    HmacSha384_192,
    /// HMAC-SHA2-512-256 (RFC 4868).
    HmacSha512_256,
    /// AES-XCBC-MAC-96 (RFC 3566).
    AesXcbc96,
}

impl Integrity {
    /// Octets of the key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 20,
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
            Self::AesXcbc96 => 16,
        }
    }

    /// Octets of the truncated output, the ICV.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1_96 | Self::AesXcbc96 => 12,
            Self::HmacSha256_128 => 16,
            Self::HmacSha384_192 => 24,
            Self::HmacSha512_256 => 32,
        }
    }
}

/// How one SA protects its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-GCM with an ICV of 16 octets (RFC 4106).
    AesGcm16(AesKeySize),
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-CBC (RFC 3602), encrypted first and then authenticated.
    AesCbc(AesKeySize, Integrity),
}

/// What carries ESP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// ESP directly on IP, protocol 50.
    None,
    /// ESP in UDP (RFC 3948).
    Udp,
}

/// Address family of the outer packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4, header without options.
    V4,
    /// IPv6, header without extensions.
    V6,
}

impl Family {
    const fn header_len(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

impl Suite {
    /// Every suite there is, AEADs first.
    pub const ALL: [Self; 19] = {
        use AesKeySize::{Aes128, Aes192, Aes256};
        use Integrity::{AesXcbc96, HmacSha1_96, HmacSha256_128, HmacSha384_192, HmacSha512_256};
        [
            Self::AesGcm16(Aes128),
            Self::AesGcm16(Aes192),
            Self::AesGcm16(Aes256),
            Self::ChaCha20Poly1305,
            Self::AesCbc(Aes128, HmacSha256_128),
            Self::AesCbc(Aes128, HmacSha384_192),
            Self::AesCbc(Aes128, HmacSha512_256),
            Self::AesCbc(Aes128, HmacSha1_96),
            Self::AesCbc(Aes128, AesXcbc96),
            Self::AesCbc(Aes192, HmacSha256_128),
            Self::AesCbc(Aes192, HmacSha384_192),
            Self::AesCbc(Aes192, HmacSha512_256),
            Self::AesCbc(Aes192, HmacSha1_96),
            Self::AesCbc(Aes192, AesXcbc96),
            Self::AesCbc(Aes256, HmacSha256_128),
            Self::AesCbc(Aes256, HmacSha384_192),
            Self::AesCbc(Aes256, HmacSha512_256),
            Self::AesCbc(Aes256, HmacSha1_96),
            Self::AesCbc(Aes256, AesXcbc96),
        ]
    };

    /// Octets of the encryption key, an AEAD's salt included.
    pub const fn encryption_key_len(self) -> usize {
        match self {
            Self::AesGcm16(size) => size.octets() + SALT_LEN,
            Self::ChaCha20Poly1305 => 32 + SALT_LEN,
            Self::AesCbc(size, _) => size.octets(),
        }
    }

    /// Octets of the integrity key; 0 for AEADs.
    pub const fn integrity_key_len(self) -> usize {
        match self {
            Self::AesGcm16(_) | Self::ChaCha20Poly1305 => 0,
            Self::AesCbc(_, integrity) => integrity.key_len(),
        }
    }

    /// Octets of the IV in every packet.
    pub const fn iv_len(self) -> usize {
        match self {
            Self::AesGcm16(_) | Self::ChaCha20Poly1305 => 8,
            Self::AesCbc(..) => 16,
        }
    }

    /// Octets of the ICV at the end of every packet.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::AesGcm16(_) | Self::ChaCha20Poly1305 => 16,
            Self::AesCbc(_, integrity) => integrity.icv_len(),
        }
    }

    /// What the length of payload, padding and trailer is a multiple of. ESP itself asks for 4 (RFC 4303 §2.4).
    pub(crate) const fn alignment(self) -> usize {
        match self {
            Self::AesGcm16(_) | Self::ChaCha20Poly1305 => 4,
            Self::AesCbc(..) => 16,
        }
    }

    /// Octets of padding behind a payload of this length; at most 15.
    pub(crate) const fn padding(self, payload_len: usize) -> usize {
        let block = self.alignment();
        let beyond = (payload_len % block + TRAILER_LEN) % block;
        (block - beyond) % block
    }

    /// Octets that stand around an inner packet of `inner_len` octets between the outer IP header and the end of the
    /// outer packet: UDP header if any, ESP header, IV, padding, trailer and ICV.
    pub const fn overhead(self, inner_len: usize, encapsulation: Encapsulation) -> usize {
        self.fixed_overhead(encapsulation) + self.padding(inner_len)
    }

    /// The largest inner packet that fits an outer packet of `outer_mtu` octets; 0 if none does.
    pub const fn mtu(self, outer_mtu: usize, family: Family, encapsulation: Encapsulation) -> usize {
        let fixed = family.header_len() + self.fixed_overhead(encapsulation) - TRAILER_LEN;
        let protected = outer_mtu.saturating_sub(fixed);
        (protected - protected % self.alignment()).saturating_sub(TRAILER_LEN)
    }

    const fn fixed_overhead(self, encapsulation: Encapsulation) -> usize {
        let udp = match encapsulation {
            Encapsulation::None => 0,
            Encapsulation::Udp => UDP_HEADER_LEN,
        };
        udp + HEADER_LEN + self.iv_len() + TRAILER_LEN + self.icv_len()
    }
}

impl fmt::Display for AesKeySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.octets() * 8)
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha1_96 => "HMAC-SHA1-96",
            Self::HmacSha256_128 => "HMAC-SHA2-256-128",
            Self::HmacSha384_192 => "HMAC-SHA2-384-192",
            Self::HmacSha512_256 => "HMAC-SHA2-512-256",
            Self::AesXcbc96 => "AES-XCBC-96",
        })
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AesGcm16(size) => write!(f, "AES-GCM-16-{size}"),
            Self::ChaCha20Poly1305 => f.write_str("ChaCha20-Poly1305"),
            Self::AesCbc(size, integrity) => write!(f, "AES-CBC-{size}/{integrity}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mtu_is_the_largest_packet_that_fits() {
        for suite in Suite::ALL {
            for family in [Family::V4, Family::V6] {
                for encapsulation in [Encapsulation::None, Encapsulation::Udp] {
                    for outer in 1200..1300 {
                        let inner = suite.mtu(outer, family, encapsulation);
                        let whole =
                            |inner| family.header_len() + inner + suite.overhead(inner, encapsulation);
                        assert!(whole(inner) <= outer, "{suite}: {inner} does not fit {outer}");
                        assert!(whole(inner + 1) > outer, "{suite}: {} would fit {outer}", inner + 1);
                    }
                }
            }
        }
    }

    #[test]
    fn a_small_link_carries_nothing() {
        assert_eq!(Suite::ChaCha20Poly1305.mtu(60, Family::V6, Encapsulation::Udp), 0);
    }

    #[test]
    fn known_overheads() {
        // 20 + 8 + 8 + 8 + 1 padding ... : AES-GCM on Ethernet over UDP and IPv4.
        let gcm = Suite::AesGcm16(AesKeySize::Aes128);
        assert_eq!(gcm.mtu(1500, Family::V4, Encapsulation::Udp), 1438);
        assert_eq!(gcm.overhead(1438, Encapsulation::Udp), 8 + 8 + 8 + 2 + 16);
        let cbc = Suite::AesCbc(AesKeySize::Aes256, Integrity::HmacSha256_128);
        assert_eq!(cbc.mtu(1500, Family::V4, Encapsulation::Udp), 1422);
        assert_eq!(cbc.overhead(1423, Encapsulation::Udp), 8 + 8 + 16 + 15 + 2 + 16);
    }

    #[test]
    fn head_and_tail_room_hold_for_every_suite() {
        for suite in Suite::ALL {
            assert!(HEADER_LEN + suite.iv_len() <= HEADROOM);
            for len in 0..64 {
                assert!(suite.padding(len) + TRAILER_LEN + suite.icv_len() <= TAILROOM);
                assert_eq!((len + suite.padding(len) + TRAILER_LEN) % suite.alignment(), 0);
                assert!(suite.padding(len) < suite.alignment());
            }
        }
    }
}
