//! Which policy comes first: the narrower one.
//!
//! The kernel takes the policy with the lowest number. The numbers are charon's, so that policies
//! of both, and those an administrator installs around them, stay in the order they were.

use crate::prefix::width;
use crate::selector::Selector;

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Lets packets pass as they are, before all policies of other purposes however narrow.
    Pass,
    /// Sends packets through SAs that are there.
    Protect,
    /// Sends packets through SAs that the first of them asks for.
    Trap,
    /// Drops what no policy of another purpose selects.
    Drop,
}

impl Purpose {
    const fn base(self) -> u32 {
        match self {
            Self::Pass => 200_000,
            Self::Protect | Self::Trap => 400_000,
            Self::Drop => 600_000,
        }
    }
}

/// The priority of a policy, lower for narrower selectors: an address bit weighs more than all of
/// protocol, ports and interface, the protocol more than the ports, these more than the interface,
/// and what protects comes right before the trap with the same selector.
#[must_use]
pub fn priority(selector: &Selector, purpose: Purpose) -> u32 {
    const PER_ADDRESS_BIT: u32 = 512;
    const PROTOCOL: u32 = 256;
    const PER_PORT_BIT: u32 = 4;
    const INTERFACE: u32 = 2;
    const NO_TRAP: u32 = 1;
    // 256 address bits, the most there are, come to 131072: the purposes never meet.
    let address_bits = u32::from(selector.source().length()) + u32::from(selector.destination().length());
    debug_assert!(address_bits <= 2 * u32::from(width(selector.source().address())));
    let port_bits = selector.source_port.mask.count_ones() + selector.destination_port.mask.count_ones();
    purpose.base()
        - PER_ADDRESS_BIT * address_bits
        - PER_PORT_BIT * port_bits
        - if selector.protocol == 0 { 0 } else { PROTOCOL }
        - if selector.interface == 0 { 0 } else { INTERFACE }
        - if purpose == Purpose::Trap { 0 } else { NO_TRAP }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prefix::Prefix;
    use crate::selector::PortMatch;

    fn selector(source: &str, destination: &str) -> Selector {
        Selector::new(source.parse().unwrap(), destination.parse().unwrap()).unwrap()
    }

    #[test]
    fn numbers_are_charons() {
        let everything = selector("0.0.0.0/0", "0.0.0.0/0");
        let nets = selector("10.1.0.0/16", "10.2.0.0/16");
        let narrower = selector("10.1.0.0/24", "10.2.0.0/24");
        let udp = narrower.with_protocol(17);
        let port = udp.with_ports(PortMatch::ANY, PortMatch::exactly(53));
        let device = port.with_interface(3);
        let hosts6 = selector("2001:db8::1/128", "2001:db8::2/128");
        let table = [
            (everything, Purpose::Protect, 399_999),
            (everything, Purpose::Pass, 199_999),
            (everything, Purpose::Drop, 599_999),
            (nets, Purpose::Protect, 383_615),
            (nets, Purpose::Trap, 383_616),
            (narrower, Purpose::Protect, 375_423),
            (udp, Purpose::Protect, 375_423 - 256),
            (port, Purpose::Protect, 375_423 - 256 - 64),
            (device, Purpose::Protect, 375_423 - 256 - 64 - 2),
            (hosts6, Purpose::Pass, 199_999 - 256 * 512),
            (hosts6, Purpose::Drop, 599_999 - 256 * 512),
        ];
        for (selector, purpose, number) in table {
            assert_eq!(priority(&selector, purpose), number, "{selector} {purpose:?}");
        }
    }

    #[test]
    fn what_is_narrower_in_a_weightier_part_wins() {
        let any = selector("10.0.0.0/8", "10.0.0.0/8");
        let ports = any.with_ports(PortMatch::exactly(1), PortMatch::exactly(2)).with_interface(9);
        let fullest = ports.with_protocol(6);
        let by_address = selector("10.0.0.0/9", "10.0.0.0/8");
        let by_protocol = any.with_protocol(6);
        let order = [by_address, fullest, by_protocol, ports, any.with_interface(9), any];
        let priorities = order.map(|selector| priority(&selector, Purpose::Trap));
        assert!(priorities.is_sorted() && priorities.windows(2).all(|pair| pair[0] != pair[1]));
    }

    proptest! {
        /// Whatever the selectors, purposes do not mix, and one more bit always wins.
        #[test]
        fn purposes_stand_apart(bits in any::<[u128; 2]>(), length in 0u8..128, other in 0u8..=128) {
            let prefix = |length| Prefix::new(std::net::Ipv6Addr::from(bits[0]).into(), length).unwrap();
            let other = Prefix::new(std::net::Ipv6Addr::from(bits[1]).into(), other).unwrap();
            let wide = Selector::new(prefix(length), other).unwrap();
            let narrow = Selector::new(prefix(length + 1), other).unwrap();
            for purpose in [Purpose::Pass, Purpose::Protect, Purpose::Trap, Purpose::Drop] {
                prop_assert!(priority(&narrow, purpose) < priority(&wide, purpose));
            }
            prop_assert!(priority(&wide, Purpose::Pass) < priority(&narrow, Purpose::Protect));
            prop_assert!(priority(&wide, Purpose::Protect) < priority(&narrow, Purpose::Drop));
            prop_assert_eq!(priority(&wide, Purpose::Protect) + 1, priority(&wide, Purpose::Trap));
        }
    }
}
