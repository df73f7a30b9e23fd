//! Prefixes and address ranges, and the way from one to the other.
//!
//! A traffic selector (RFC 7296 §3.13.1) is a range of addresses; a route and a kernel policy
//! want prefixes. [`AddressRange::prefixes`] splits a range into the fewest prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IP prefix, `10.3.0.0/24`: the bits beyond the length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of `length` bits that `address` lies in.
    ///
    /// # Errors
    /// When the length is more than the family has bits.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, InvalidRange> {
        let width = width(address);
        if length > width {
            return Err(InvalidRange::TooLong { length, width });
        }
        let host = host_mask(width, length);
        Ok(Self { address: from_bits(address, bits(address) & !host), length })
    }

    /// The prefix that holds this address alone.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: width(address) }
    }

    /// The first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits are fixed.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        from_bits(self.address, bits(self.address) | host_mask(width(self.address), self.length))
    }

    /// Whether the address lies in this prefix. Never true across families.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        AddressRange::from(*self).contains(address)
    }

    /// The two prefixes this one consists of, unless it is a single address.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let width = width(self.address);
        if self.length == width {
            return None;
        }
        let length = self.length + 1;
        let upper = bits(self.address) | (1u128 << (width - length));
        Some((
            Self { address: self.address, length },
            Self { address: from_bits(self.address, upper), length },
        ))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = InvalidRange;

    /// Reads `address/length`, or an address alone as the prefix of just it.
    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let unreadable = || InvalidRange::Unreadable(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse().map_err(|_| unreadable())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| unreadable())?;
        Self::new(address, length.unwrap_or(width(address)))
    }
}

/// The addresses from `first` to `last`, both included, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// A range of one family, in order.
    ///
    /// # Errors
    /// When the families differ or the range runs backwards.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, InvalidRange> {
        if first.is_ipv4() != last.is_ipv4() {
            return Err(InvalidRange::MixedFamilies { first, last });
        }
        if bits(first) > bits(last) {
            return Err(InvalidRange::Backwards { first, last });
        }
        Ok(Self { first, last })
    }

    /// The first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether the address lies in this range. Never true across families.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4()
            && (bits(self.first)..=bits(self.last)).contains(&bits(address))
    }

    /// The fewest prefixes that cover exactly this range, in order of address: at most 62 for
    /// IPv4 and 254 for IPv6.
    ///
    #[must_use]
    pub fn prefixes(&self) -> Vec<Prefix> {
        cover(bits(self.first), bits(self.last), width(self.first))
            .map(|(value, length)| Prefix { address: from_bits(self.first, value), length })
            .collect()
    }
}

/// The fewest blocks, each a value whose leading bits are fixed and how many these are, that cover
/// exactly the numbers from `first` to `last` out of those with `width` bits, in order.
///
/// Each step takes the largest block that begins at the first number not yet covered and does not
/// run past the end; a block that is aligned and fits is part of every minimal cover, so the
/// greedy choice is the best one.
pub(crate) fn cover(first: u128, last: u128, width: u8) -> impl Iterator<Item = (u128, u8)> {
    let mut next = (first <= last).then_some(first);
    std::iter::from_fn(move || {
        let value = next?;
        let length = (0..=width)
            .find(|&length| {
                let host = host_mask(width, length);
                value & host == 0 && value | host <= last
            })
            .unwrap_or(width);
        let end = value | host_mask(width, length);
        next = (end < last).then(|| end + 1);
        Some((value, length))
    })
}

impl From<Prefix> for AddressRange {
    fn from(prefix: Prefix) -> Self {
        Self { first: prefix.address(), last: prefix.last() }
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }
}

impl fmt::Display for AddressRange {
    /// As a prefix where it is one, else `first-last`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefixes().as_slice() {
            [prefix] => prefix.fmt(f),
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// A prefix or range that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRange {
    /// More prefix bits than the address has.
    #[error("a prefix length of {length} is more than the {width} bits of the address")]
    TooLong {
        /// The length asked for.
        length: u8,
        /// The bits an address of the family has.
        width: u8,
    },
    /// The two ends are of different families.
    #[error("{first} and {last} are of different address families")]
    MixedFamilies {
        /// The first address.
        first: IpAddr,
        /// The last address.
        last: IpAddr,
    },
    /// The first address is above the last.
    #[error("the range {first}-{last} runs backwards")]
    Backwards {
        /// The first address.
        first: IpAddr,
        /// The last address.
        last: IpAddr,
    },
    /// Text that is no prefix.
    #[error("'{0}' is no prefix, expected ADDRESS/LENGTH")]
    Unreadable(String),
}

/// Bits of an address of this family.
pub(crate) const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// How many leading bits two addresses share; none across families.
pub(crate) fn common_bits(a: IpAddr, b: IpAddr) -> u8 {
    if a.is_ipv4() != b.is_ipv4() {
        return 0;
    }
    let width = width(a);
    let differing = 128 - (bits(a) ^ bits(b)).leading_zeros();
    width - u8::try_from(differing).unwrap_or(width)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with these bits, in the family of `family`. Callers keep within the family's width.
fn from_bits(family: IpAddr, bits: u128) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

/// Ones in the bits beyond a prefix of `length` bits out of `width`.
fn host_mask(width: u8, length: u8) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(width - length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(first: &str, last: &str) -> Vec<String> {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap())
            .unwrap()
            .prefixes()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_range_that_is_a_prefix_stays_one() {
        assert_eq!(split("10.3.0.0", "10.3.0.255"), ["10.3.0.0/24"]);
        assert_eq!(split("0.0.0.0", "255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(split("192.0.2.1", "192.0.2.1"), ["192.0.2.1/32"]);
        assert_eq!(split("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["::/0"]);
        assert_eq!(split("2001:db8::5", "2001:db8::5"), ["2001:db8::5/128"]);
    }

    #[test]
    fn other_ranges_are_split() {
        assert_eq!(
            split("192.0.2.1", "192.0.2.10"),
            ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/30", "192.0.2.8/31", "192.0.2.10/32"]
        );
        assert_eq!(split("10.0.0.0", "10.2.255.255"), ["10.0.0.0/15", "10.2.0.0/16"]);
        assert_eq!(split("2001:db8::ffff", "2001:db8::1:0"), ["2001:db8::ffff/128", "2001:db8::1:0/128"]);
    }

    #[test]
    fn the_worst_ranges_are_as_long_as_promised() {
        assert_eq!(split("0.0.0.1", "255.255.255.254").len(), 62);
        assert_eq!(split("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe").len(), 254);
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        let range =
            |first: &str, last: &str| AddressRange::new(first.parse().unwrap(), last.parse().unwrap());
        assert!(matches!(range("10.0.0.2", "10.0.0.1"), Err(InvalidRange::Backwards { .. })));
        assert!(matches!(range("10.0.0.2", "::1"), Err(InvalidRange::MixedFamilies { .. })));
        assert_eq!("10.0.0.0/33".parse::<Prefix>(), Err(InvalidRange::TooLong { length: 33, width: 32 }));
        assert_eq!("ten".parse::<Prefix>(), Err(InvalidRange::Unreadable("ten".into())));
    }

    #[test]
    fn prefixes_drop_host_bits_and_split_in_halves() {
        let prefix: Prefix = "10.3.7.9/16".parse().unwrap();
        assert_eq!(prefix.to_string(), "10.3.0.0/16");
        assert!(prefix.contains("10.3.255.255".parse().unwrap()));
        assert!(!prefix.contains("10.4.0.0".parse().unwrap()));
        assert!(!"::/0".parse::<Prefix>().unwrap().contains("10.4.0.0".parse().unwrap()));

        let (low, high) = "0.0.0.0/0".parse::<Prefix>().unwrap().halves().unwrap();
        assert_eq!((low.to_string(), high.to_string()), ("0.0.0.0/1".into(), "128.0.0.0/1".into()));
        assert_eq!("::1".parse::<Prefix>().unwrap().halves(), None);
    }

    #[test]
    fn common_bits_are_counted_within_the_family() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(common_bits(address("10.0.0.1"), address("10.0.0.1")), 32);
        assert_eq!(common_bits(address("10.0.0.0"), address("10.0.0.128")), 24);
        assert_eq!(common_bits(address("0.0.0.0"), address("128.0.0.0")), 0);
        assert_eq!(common_bits(address("::"), address("::1")), 127);
        assert_eq!(common_bits(address("::"), address("0.0.0.0")), 0);
    }

    proptest! {
        /// The cover is exact and in order, and no two neighbours could have been one prefix.
        #[test]
        fn covers_are_exact_and_cannot_be_joined(a in any::<u32>(), b in any::<u32>()) {
            let (first, last) = (a.min(b), a.max(b));
            let range = AddressRange::new(Ipv4Addr::from(first).into(), Ipv4Addr::from(last).into()).unwrap();
            let prefixes = range.prefixes();
            prop_assert_eq!(prefixes[0].address(), range.first());
            prop_assert_eq!(prefixes[prefixes.len() - 1].last(), range.last());
            for pair in prefixes.windows(2) {
                prop_assert_eq!(bits(pair[0].last()) + 1, bits(pair[1].address()));
                let parent = Prefix::new(pair[0].address(), pair[0].length().saturating_sub(1)).unwrap();
                prop_assert_ne!(parent.halves(), Some((pair[0], pair[1])));
            }
        }

        #[test]
        fn a_prefix_survives_its_text(address in any::<u128>(), length in 0u8..=128) {
            let prefix = Prefix::new(Ipv6Addr::from(address).into(), length).unwrap();
            prop_assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix));
            prop_assert_eq!(AddressRange::from(prefix).prefixes(), vec![prefix]);
        }
    }
}
