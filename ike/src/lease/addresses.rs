//! The addresses of a pool: from text to positions and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::selector::{Family, TrafficSelector};

/// Of a larger prefix only the part around the address given is used: 2^31 addresses, as with strongSwan.
const MAX_HOST_BITS: u8 = 31;

/// Ranges of addresses of one family, one after the other; at least one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Addresses {
    ranges: Vec<Range>,
    first: IpAddr,
    size: u32,
}

impl Addresses {
    /// The first one.
    pub(super) const fn first(&self) -> IpAddr {
        self.first
    }

    /// How many there are.
    pub(super) const fn size(&self) -> u32 {
        self.size
    }

    /// The address at a position counted from zero.
    pub(super) fn at(&self, mut position: u32) -> Option<IpAddr> {
        for range in &self.ranges {
            match position.checked_sub(range.size()) {
                None => return range.at(position),
                Some(beyond) => position = beyond,
            }
        }
        None
    }

    /// The position of an address, if it is one of these.
    pub(super) fn position(&self, address: IpAddr) -> Option<u32> {
        let mut before = 0;
        for range in &self.ranges {
            if let Some(position) = range.position(address) {
                return Some(before + position);
            }
            before += range.size();
        }
        None
    }

    /// True if an address is in both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.ranges.iter().any(|range| other.ranges.iter().any(|other| range.overlaps(other)))
    }
}

impl FromStr for Addresses {
    /// What was expected.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ranges: Vec<Range> =
            text.split(',').map(|range| range.trim().parse()).collect::<Result<_, _>>()?;
        let first = ranges.first().ok_or("a prefix or a range")?.first();
        if ranges.iter().any(|range| range.first().is_ipv4() != first.is_ipv4()) {
            return Err("addresses of one family: the other one takes a pool of its own");
        }
        let mut others = ranges.as_slice();
        while let Some((range, rest)) = others.split_first() {
            if rest.iter().any(|other| range.overlaps(other)) {
                return Err("ranges that have no address in common");
            }
            others = rest;
        }
        let size = ranges.iter().try_fold(0_u32, |size, range| size.checked_add(range.size()));
        let size = size.filter(|size| *size <= 1 << MAX_HOST_BITS).ok_or("at most 2147483648 addresses")?;
        Ok(Self { ranges, first, size })
    }
}

/// Addresses that follow each other; at least one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    first: IpAddr,
    size: u32,
}

impl Range {
    /// The first one.
    const fn first(&self) -> IpAddr {
        self.first
    }

    /// How many there are.
    const fn size(&self) -> u32 {
        self.size
    }

    /// The address at a position counted from zero.
    fn at(&self, position: u32) -> Option<IpAddr> {
        if position >= self.size {
            return None;
        }
        match self.first {
            IpAddr::V4(first) => {
                first.to_bits().checked_add(position).map(|bits| Ipv4Addr::from_bits(bits).into())
            }
            IpAddr::V6(first) => {
                first.to_bits().checked_add(position.into()).map(|bits| Ipv6Addr::from_bits(bits).into())
            }
        }
    }

    /// The position of an address, if it is one of these.
    fn position(&self, address: IpAddr) -> Option<u32> {
        let position = distance(self.first, address).and_then(|distance| u32::try_from(distance).ok())?;
        (position < self.size).then_some(position)
    }

    /// True if an address is in both.
    fn overlaps(&self, other: &Self) -> bool {
        self.position(other.first).is_some() || other.position(self.first).is_some()
    }

    fn prefix(given: IpAddr, length: u8) -> Result<Self, &'static str> {
        let family = Family::of(given);
        let length = length.max(family.bits() - MAX_HOST_BITS.min(family.bits()));
        let block = TrafficSelector::from_prefix(given, length).ok_or(match family {
            Family::V4 => "a prefix length of 0 to 32",
            Family::V6 => "a prefix length of 0 to 128",
        })?;
        let addresses = distance(block.start_addr, block.end_addr).unwrap_or_default() + 1;
        let skipped = distance(block.start_addr, given).unwrap_or_default();
        // The first of a network names it, the last is its broadcast address; a block of two has neither (RFC
        // 3021).
        let (skipped, kept) = match addresses {
            1 | 2 => (skipped, addresses - skipped),
            _ => (skipped.max(1), addresses - 1 - skipped.max(1)),
        };
        let size = u32::try_from(kept).unwrap_or(u32::MAX);
        let whole = Self { first: block.start_addr, size: u32::MAX };
        let first = u32::try_from(skipped).ok().and_then(|skipped| whole.at(skipped));
        match first {
            Some(first) if size > 0 => Ok(Self { first, size }),
            _ => Err("an address before the last one of the prefix, which cannot be leased"),
        }
    }

    fn between(first: IpAddr, last: IpAddr) -> Result<Self, &'static str> {
        let beyond = distance(first, last).ok_or("two addresses of one family, the lower one first")?;
        let size = u32::try_from(beyond + 1).ok().filter(|size| *size <= 1 << MAX_HOST_BITS);
        Ok(Self { first, size: size.ok_or("at most 2147483648 addresses")? })
    }
}

impl FromStr for Range {
    /// What was expected.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a prefix such as 10.3.0.0/24 or a range such as 10.3.0.1-10.3.0.99";
        let address = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| FORM);
        if let Some((first, last)) = text.split_once('-') {
            return Self::between(address(first)?, address(last)?);
        }
        match text.split_once('/') {
            Some((given, length)) => Self::prefix(address(given)?, length.trim().parse().map_err(|_| FORM)?),
            None => {
                let only = address(text)?;
                Self::between(only, only)
            }
        }
    }
}

/// How far an address is from another of the same family below it.
fn distance(from: IpAddr, to: IpAddr) -> Option<u128> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => to.to_bits().checked_sub(from.to_bits()).map(u128::from),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            // One less than all there are would still fit; callers add one.
            to.to_bits().checked_sub(from.to_bits()).filter(|distance| *distance < u128::MAX)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_those_of_strongswan() {
        let table = [
            ("10.77.0.0/24", "10.77.0.1", 254),
            ("10.77.0.1/24", "10.77.0.1", 254),
            ("10.77.0.100/24", "10.77.0.100", 155),
            ("10.77.0.254/24", "10.77.0.254", 1),
            ("10.77.0.0/30", "10.77.0.1", 2),
            ("10.77.0.0/31", "10.77.0.0", 2),
            ("10.77.0.1/31", "10.77.0.1", 1),
            ("10.77.0.7/32", "10.77.0.7", 1),
            ("10.77.0.7", "10.77.0.7", 1),
            ("0.0.0.0/0", "0.0.0.1", (1 << 31) - 2),
            ("10.77.0.5-10.77.0.9", "10.77.0.5", 5),
            ("10.77.0.5 - 10.77.0.5", "10.77.0.5", 1),
            ("fec0::/120", "fec0::1", 254),
            ("fec0::/64", "fec0::1", (1 << 31) - 2),
            ("fec0::5:0:0:10/64", "fec0::5:0:0:10", (1 << 31) - 17),
            ("fec0::/126", "fec0::1", 2),
            ("fec0::/127", "fec0::", 2),
            ("fec0::9/128", "fec0::9", 1),
            ("fec0::10-fec0::1f", "fec0::10", 16),
        ];
        for (text, first, size) in table {
            let addresses: Addresses = text.parse().unwrap();
            assert_eq!((addresses.first().to_string().as_str(), addresses.size()), (first, size), "{text}");
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        for (text, expected) in [
            ("", "a prefix such as"),
            ("10.0.0.0/x", "a prefix such as"),
            ("gw.example.org", "a prefix such as"),
            ("10.0.0.0/33", "0 to 32"),
            ("fec0::/129", "0 to 128"),
            ("10.77.0.255/24", "before the last one"),
            ("10.0.0.9-10.0.0.1", "lower one first"),
            ("10.0.0.9-fec0::1", "of one family"),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "of one family"),
            ("fec0::-fec1::", "at most"),
            ("0.0.0.0-255.255.255.255", "at most"),
        ] {
            let error = text.parse::<Addresses>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn several_ranges_are_one_after_the_other() {
        let addresses: Addresses = "10.1.0.8/30, 10.0.0.5-10.0.0.6,10.9.9.9".parse().unwrap();
        let all: Vec<String> =
            (0..addresses.size()).map(|position| addresses.at(position).unwrap().to_string()).collect();
        assert_eq!(all, ["10.1.0.9", "10.1.0.10", "10.0.0.5", "10.0.0.6", "10.9.9.9"]);
        for position in 0..addresses.size() {
            assert_eq!(addresses.position(addresses.at(position).unwrap()), Some(position));
        }
        assert_eq!(addresses.at(5), None);
        assert_eq!(addresses.position("10.1.0.8".parse().unwrap()), None);
        assert!(addresses.overlaps(&"10.9.9.0/24".parse().unwrap()));
        assert!(!addresses.overlaps(&"10.9.8.0/24".parse().unwrap()));
        for (text, expected) in [
            ("10.0.0.0/24, fec0::/120", "one family"),
            ("10.0.0.0/24, 10.0.0.9", "no address in common"),
            ("10.0.0.0/24,", "a prefix such as"),
            ("0.0.0.0/1, 128.0.0.0/2", "at most"),
        ] {
            let error = text.parse::<Addresses>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn positions_and_addresses_agree() {
        let addresses: Addresses = "10.77.0.5-10.77.0.9".parse().unwrap();
        for position in 0..5 {
            let address = addresses.at(position).unwrap();
            assert_eq!(addresses.position(address), Some(position));
        }
        assert_eq!(addresses.at(5), None);
        for outside in ["10.77.0.4", "10.77.0.10", "fec0::1"] {
            assert_eq!(addresses.position(outside.parse().unwrap()), None, "{outside}");
        }
        let other = |text: &str| text.parse::<Addresses>().unwrap();
        assert!(addresses.overlaps(&other("10.77.0.0/24")) && addresses.overlaps(&other("10.77.0.9/32")));
        assert!(!addresses.overlaps(&other("10.77.0.10/32")) && !addresses.overlaps(&other("fec0::/64")));
    }

    proptest! {
        #[test]
        fn what_can_be_parsed_can_be_used(addr: IpAddr, length in 0u8..=130, other: IpAddr) {
            for text in [format!("{addr}/{length}"), format!("{addr}-{other}")] {
                if let Ok(addresses) = text.parse::<Addresses>() {
                    prop_assert_eq!(addresses.at(0), Some(addresses.first()));
                    prop_assert!(addresses.at(addresses.size() - 1).is_some());
                    prop_assert!(addresses.size() <= 1 << 31);
                }
            }
        }
    }
}
