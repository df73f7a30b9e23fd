//! The parts that SA and policy messages share: addresses, selectors and lifetimes
//! (`linux/xfrm.h`).

use std::net::IpAddr;
use std::time::Duration;

use super::Writer;

/// No limit, in a limit of bytes or packets.
const UNLIMITED: u64 = u64::MAX;

/// Writes `xfrm_address_t`: 16 octets, network order, an IPv4 address in the first four.
pub(crate) fn write_address(w: &mut Writer, address: IpAddr) {
    w.address(address);
    if address.is_ipv4() {
        w.zeros(12);
    }
}

/// Writes a `struct xfrm_selector` (56 octets) that selects everything of `family`, or
/// everything at all where that is `AF_UNSPEC`.
pub(crate) fn write_selector_of_all(w: &mut Writer, family: u8) {
    w.zeros(32); // destination and source address
    w.zeros(8); // ports and their masks
    w.u16(family.into());
    w.zeros(2); // prefix lengths
    w.u8(0); // protocol
    w.zeros(3);
    w.u32(0); // interface
    w.u32(0); // user
}

/// Limits of an SA's or a policy's life (`struct xfrm_lifetime_cfg`). Traffic is not limited.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lifetime {
    /// Time from installation until the kernel removes it, in whole seconds. `None`: forever.
    pub(crate) hard: Option<Duration>,
}

impl Lifetime {
    /// Writes the 64 octets of the limits and the 32 of the counters
    /// (`struct xfrm_lifetime_cur`), which begin at zero.
    pub(crate) fn write(self, w: &mut Writer) {
        for _ in ["soft bytes", "hard bytes", "soft packets", "hard packets"] {
            w.u64(UNLIMITED);
        }
        w.u64(0); // soft, since installation
        w.u64(self.hard.map_or(0, |hard| hard.as_secs()));
        w.zeros(16); // soft and hard, since first use
        w.zeros(32);
    }
}
