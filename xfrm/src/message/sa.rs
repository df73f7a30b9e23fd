//! Messages that install and remove security associations: NEWSA and DELSA.

use std::net::IpAddr;

use super::selector::{Lifetime, write_address, write_selector_of_all};
use super::{AF_UNSPEC, Request, family, flags};
use crate::algorithm::{Aead, Key};

const XFRM_MSG_NEWSA: u16 = 0x10;
const XFRM_MSG_DELSA: u16 = 0x11;

const XFRMA_SRCADDR: u16 = 13;
const XFRMA_ALG_AEAD: u16 = 18;

/// `XFRM_MODE_TUNNEL`.
const MODE_TUNNEL: u8 = 1;

/// The IP protocol number of ESP (RFC 4303).
pub(crate) const ESP: u8 = 50;

/// What identifies an SA in the kernel, and where it comes from.
#[derive(Clone, Copy)]
pub(crate) struct SaId {
    pub(crate) source: IpAddr,
    /// Of the same family as the source.
    pub(crate) destination: IpAddr,
    pub(crate) spi: u32,
}

/// A tunnel-mode ESP SA with a combined-mode cipher.
pub(crate) struct Sa<'a> {
    pub(crate) id: SaId,
    pub(crate) reqid: u32,
    pub(crate) lifetime: Lifetime,
    pub(crate) algorithm: Aead,
    pub(crate) key: &'a Key,
}

impl Sa<'_> {
    /// NEWSA: `struct xfrm_usersa_info` (224 octets) and the algorithm.
    pub(crate) fn install(&self) -> Request {
        Request::new(XFRM_MSG_NEWSA, flags::ACK, |w| {
            write_selector_of_all(w, AF_UNSPEC);
            write_address(w, self.id.destination);
            w.bytes(&self.id.spi.to_be_bytes()); // network order
            w.u8(ESP);
            w.zeros(3);
            write_address(w, self.id.source);
            self.lifetime.write(w);
            w.zeros(12); // statistics
            w.u32(0); // the acquire's sequence number: answers none
            w.u32(self.reqid);
            w.u16(family(self.id.destination).into());
            w.u8(MODE_TUNNEL);
            w.u8(0); // replay window
            w.u8(0); // flags
            w.zeros(7);
            w.attribute(XFRMA_ALG_AEAD, |w| self.algorithm.write(w, self.key));
        })
    }
}

impl SaId {
    /// DELSA: `struct xfrm_usersa_id` (24 octets) and the source address.
    pub(crate) fn remove(&self) -> Request {
        Request::new(XFRM_MSG_DELSA, flags::ACK, |w| {
            write_address(w, self.destination);
            w.bytes(&self.spi.to_be_bytes()); // network order
            w.u16(family(self.destination).into());
            w.u8(ESP);
            w.zeros(1);
            w.attribute(XFRMA_SRCADDR, |w| write_address(w, self.source));
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::algorithm::AES_GCM_16;
    use crate::message::test_support::{assert_octets, hex};

    const ID: SaId = SaId {
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        destination: IpAddr::V4(Ipv4Addr::LOCALHOST),
        spi: 0x1234_5678,
    };

    /// As iproute2 6.1 sends `ip xfrm state add src 127.0.0.1 dst 127.0.0.1 proto esp spi 0x12345678
    /// reqid 7 mode tunnel limit time-hard 10 aead 'rfc4106(gcm(aes))' 0x00..13 128`.
    #[test]
    fn newsa_is_what_iproute2_sends() {
        let key = Key::new(&hex("000102030405060708090a0b0c0d0e0f10111213"));
        let lifetime = Lifetime { hard: Some(Duration::from_secs(10)) };
        let sa = Sa { id: ID, reqid: 7, lifetime, algorithm: AES_GCM_16, key: &key };
        assert_octets(
            sa.install().octets(),
            "50 01 00 00 10 00 05 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  7f 00 00 01 00 00 00 00
             00 00 00 00 00 00 00 00  12 34 56 78 32 00 00 00
             7f 00 00 01 00 00 00 00  00 00 00 00 00 00 00 00
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
             00 00 00 00 00 00 00 00  0a 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             07 00 00 00 02 00 01 00  00 00 00 00 00 00 00 00
             60 00 12 00 72 66 63 34  31 30 36 28 67 63 6d 28
             61 65 73 29 29 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 a0 00 00 00  80 00 00 00 00 01 02 03
             04 05 06 07 08 09 0a 0b  0c 0d 0e 0f 10 11 12 13",
        );
    }

    /// As iproute2 6.1 sends `ip xfrm state delete` for the same SA.
    #[test]
    fn delsa_is_what_iproute2_sends() {
        assert_octets(
            ID.remove().octets(),
            "3c 00 00 00 11 00 05 00  00 00 00 00 00 00 00 00
             7f 00 00 01 00 00 00 00  00 00 00 00 00 00 00 00
             12 34 56 78 02 00 32 00  14 00 0d 00 7f 00 00 01
             00 00 00 00 00 00 00 00  00 00 00 00",
        );
    }
}
