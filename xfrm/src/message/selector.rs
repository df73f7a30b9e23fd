//! The parts that SA and policy messages share: addresses, selectors, limits and counters, marks
//! (`linux/xfrm.h`).

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::{AF_INET, AF_INET6, AF_UNSPEC, Fields, Writer, family};
use crate::error::Malformed;
use crate::prefix::Prefix;
use crate::sa::{Limit, Limits, Mark, Usage};
use crate::selector::{PortMatch, Selector};

/// No limit, in a limit of bytes or packets.
const UNLIMITED: u64 = u64::MAX;

/// Writes `xfrm_address_t`: 16 octets, network order, an IPv4 address in the first four.
pub(crate) fn write_address(w: &mut Writer, address: IpAddr) {
    w.address(address);
    if address.is_ipv4() {
        w.zeros(12);
    }
}

/// Octets that may be an address: the family, which says so, comes later or stands elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct RawAddress([u8; 16]);

impl RawAddress {
    /// Reads `xfrm_address_t`.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self(fields.array()?))
    }

    pub(crate) fn of_family(self, family: u16) -> Result<IpAddr, Malformed> {
        let [a, b, c, d, ..] = self.0;
        match u8::try_from(family) {
            Ok(AF_INET) => Ok([a, b, c, d].into()),
            Ok(AF_INET6) => Ok(self.0.into()),
            _ => Err(Malformed("an address of family IPv4 or IPv6")),
        }
    }
}

/// Writes `struct xfrm_selector` (56 octets). `None` selects everything of all families.
pub(crate) fn write_selector(w: &mut Writer, selector: Option<&Selector>) {
    let Some(selector) = selector else { return write_selector_of_all(w, AF_UNSPEC) };
    write_address(w, selector.destination().address());
    write_address(w, selector.source().address());
    for port in [selector.destination_port, selector.source_port] {
        w.be16(port.value);
        w.be16(port.mask);
    }
    w.u16(family(selector.source().address()).into());
    w.u8(selector.destination().length());
    w.u8(selector.source().length());
    w.u8(selector.protocol);
    w.zeros(3);
    w.u32(selector.interface);
    w.u32(0); // user
}

/// Writes a `struct xfrm_selector` that selects everything of `family`, or everything at all where
/// that is `AF_UNSPEC`.
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

/// Reads `struct xfrm_selector`. `None`: of all families.
pub(crate) fn read_selector(fields: &mut Fields<'_>) -> Result<Option<Selector>, Malformed> {
    const PREFIX: Malformed = Malformed("a selector whose prefixes are no longer than its addresses");
    let destination = RawAddress::read(fields)?;
    let source = RawAddress::read(fields)?;
    let mut port = || Ok(PortMatch { value: fields.be16()?, mask: fields.be16()? });
    let (destination_port, source_port) = (port()?, port()?);
    let family = fields.u16()?;
    let (destination_length, source_length) = (fields.u8()?, fields.u8()?);
    let protocol = fields.u8()?;
    fields.skip(3)?;
    let interface = fields.u32()?;
    fields.skip(4)?; // user
    if family == AF_UNSPEC.into() {
        return Ok(None);
    }
    let source = Prefix::new(source.of_family(family)?, source_length).map_err(|_| PREFIX)?;
    let destination = Prefix::new(destination.of_family(family)?, destination_length).map_err(|_| PREFIX)?;
    let selector = Selector::new(source, destination).map_err(|_| PREFIX)?;
    let selector = selector.with_protocol(protocol).with_interface(interface);
    Ok(Some(selector.with_ports(source_port, destination_port)))
}

/// Writes `struct xfrm_lifetime_cfg` (64 octets).
pub(crate) fn write_limits(w: &mut Writer, limits: &Limits) {
    let Limits { soft, hard } = limits;
    for amount in [soft.bytes, hard.bytes, soft.packets, hard.packets] {
        w.u64(amount.unwrap_or(UNLIMITED));
    }
    for time in [soft.since_installed, hard.since_installed, soft.since_used, hard.since_used] {
        w.u64(time.map_or(0, whole_seconds));
    }
}

/// Zero would be no limit.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() != 0)).max(1)
}

/// Reads `struct xfrm_lifetime_cfg`.
pub(crate) fn read_limits(fields: &mut Fields<'_>) -> Result<Limits, Malformed> {
    let mut amount = || Ok(Some(fields.u64()?).filter(|&amount| amount != UNLIMITED));
    let [soft_bytes, hard_bytes] = [amount()?, amount()?];
    let [soft_packets, hard_packets] = [amount()?, amount()?];
    let mut time = || Ok(Some(fields.u64()?).filter(|&seconds| seconds != 0).map(Duration::from_secs));
    let [soft_installed, hard_installed] = [time()?, time()?];
    let [soft_used, hard_used] = [time()?, time()?];
    let limit =
        |bytes, packets, since_installed, since_used| Limit { bytes, packets, since_installed, since_used };
    Ok(Limits {
        soft: limit(soft_bytes, soft_packets, soft_installed, soft_used),
        hard: limit(hard_bytes, hard_packets, hard_installed, hard_used),
    })
}

/// Octets of `struct xfrm_lifetime_cur`, which are zero in what is asked for.
pub(crate) const USAGE_LENGTH: usize = 32;

/// Reads `struct xfrm_lifetime_cur`.
pub(crate) fn read_usage(fields: &mut Fields<'_>) -> Result<Usage, Malformed> {
    Ok(Usage {
        bytes: fields.u64()?,
        packets: fields.u64()?,
        installed: time(fields.u64()?),
        used: time(fields.u64()?),
    })
}

/// A moment by the kernel's clock, in seconds since 1970; 0 is never.
pub(crate) fn time(seconds: u64) -> Option<SystemTime> {
    if seconds == 0 { None } else { SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) }
}

/// Writes `struct xfrm_mark`.
pub(crate) fn write_mark(w: &mut Writer, mark: Mark) {
    w.u32(mark.value);
    w.u32(mark.mask);
}

/// Reads `struct xfrm_mark`. `None`: no bit of it counts.
pub(crate) fn read_mark(value: &[u8]) -> Result<Option<Mark>, Malformed> {
    let mut fields = Fields(value);
    let mark = Mark { value: fields.u32()?, mask: fields.u32()? };
    Ok((mark.mask != 0).then_some(mark))
}
