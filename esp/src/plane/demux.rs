//! What a datagram on the NAT-T port is (RFC 3948 §2).

/// Contents of a datagram, by its first octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// Four zero octets and an IKE message (§2.2).
    Ike,
    /// ESP, which starts with an SPI that is never zero (§2.1).
    Esp,
    /// A single 0xff that keeps a NAT's mapping alive (§2.3).
    Keepalive,
    /// Nothing that may be here.
    Nothing,
}

/// Tells what a datagram is.
#[inline]
pub(super) fn demux(datagram: &[u8]) -> Contents {
    match datagram {
        [0xff] => Contents::Keepalive,
        [0, 0, 0, 0, ..] => Contents::Ike,
        [_, _, _, _, _, _, _, _, ..] => Contents::Esp,
        _ => Contents::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        assert_eq!(demux(&[0xff]), Contents::Keepalive);
        assert_eq!(demux(&[0xff, 0xff]), Contents::Nothing);
        assert_eq!(demux(&[]), Contents::Nothing);
        assert_eq!(demux(&[0, 0, 0]), Contents::Nothing);
        assert_eq!(demux(&[0, 0, 0, 0]), Contents::Ike);
        assert_eq!(demux(&[0, 0, 0, 0, 1, 2, 3, 4, 5]), Contents::Ike);
        assert_eq!(demux(&[0, 0, 1, 0, 0, 0, 0]), Contents::Nothing);
        assert_eq!(demux(&[0, 0, 1, 0, 0, 0, 0, 1]), Contents::Esp);
        assert_eq!(demux(&[0xff; 8]), Contents::Esp);
    }
}
