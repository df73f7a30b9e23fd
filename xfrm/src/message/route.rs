//! Routes and routing rules (`linux/rtnetlink.h`, `linux/fib_rules.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AF_INET, AF_INET6, Fields, Request, Writer, address, attributes, family, flags};
use crate::error::Malformed;
use crate::prefix::{Prefix, width};

pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
pub(crate) const RTM_NEWRULE: u16 = 32;
pub(crate) const RTM_DELRULE: u16 = 33;
const RTM_GETRULE: u16 = 34;

const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_MARK: u16 = 16;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// Next hops and routes that carry nothing now: `RTNH_F_DEAD`, `RTNH_F_LINKDOWN`.
const DEAD: u32 = 0x01 | 0x10;
/// `RTM_F_CLONED`.
const CLONED: u32 = 0x200;
/// `RTM_F_LOOKUP_TABLE`: answer with the table the route was found in.
const LOOKUP_TABLE: u32 = 0x1000;

const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;

/// `RTPROT_STATIC`: put there on purpose, by no routing protocol.
const PROTOCOL_STATIC: u8 = 4;

/// The main table's number.
pub(crate) const TABLE_MAIN: u32 = 254;
/// The table of the host's own addresses, kept by the kernel.
pub(crate) const TABLE_LOCAL: u32 = 255;

/// What a route does with a packet (`RTN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouteKind(pub(crate) u8);

impl RouteKind {
    pub(crate) const UNICAST: Self = Self(1);
    /// To this host.
    pub(crate) const LOCAL: Self = Self(2);
    /// Go on with the next rule.
    pub(crate) const THROW: Self = Self(9);
}

/// A route, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteEntry {
    pub(crate) destination: Prefix,
    pub(crate) table: u32,
    pub(crate) kind: RouteKind,
    /// Interface index; of the first live next hop where there are several.
    pub(crate) interface: Option<u32>,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) source: Option<IpAddr>,
    /// Lower is preferred.
    pub(crate) metric: u32,
    pub(crate) mtu: Option<u32>,
    pub(crate) mss: Option<u32>,
    /// Whether it could carry a packet now.
    pub(crate) is_alive: bool,
    /// Not configured but made for one destination: what a lookup finds, or a cache entry.
    pub(crate) is_cached: bool,
}

impl RouteEntry {
    /// NEWROUTE with these flags on top of the acknowledgement.
    pub(crate) fn install(&self, how: u16) -> Request {
        Request::new(RTM_NEWROUTE, flags::ACK | how, |w| self.write(w))
    }

    /// DELROUTE of exactly this route.
    pub(crate) fn remove(&self) -> Request {
        Request::new(RTM_DELROUTE, flags::ACK, |w| self.write(w))
    }

    fn write(&self, w: &mut Writer) {
        let destination = self.destination.address();
        let on_link = self.kind == RouteKind::UNICAST && self.gateway.is_none() && destination.is_ipv4();
        w.u8(family(destination));
        w.u8(self.destination.length());
        w.u8(0); // source prefix length
        w.u8(0); // type of service
        w.u8(u8::try_from(self.table).unwrap_or(0)); // larger ones go into the attribute
        w.u8(PROTOCOL_STATIC);
        // IPv6 knows no scopes; IPv4 wants a gateway to be of narrower scope than its route.
        w.u8(if on_link { SCOPE_LINK } else { SCOPE_UNIVERSE });
        w.u8(self.kind.0);
        w.u32(0); // flags
        w.address_attribute(RTA_DST, destination);
        if let Some(gateway) = self.gateway {
            w.address_attribute(RTA_GATEWAY, gateway);
        }
        if let Some(source) = self.source {
            w.address_attribute(RTA_PREFSRC, source);
        }
        if self.table > u8::MAX.into() {
            w.u32_attribute(RTA_TABLE, self.table);
        }
        if let Some(interface) = self.interface {
            w.u32_attribute(RTA_OIF, interface);
        }
        if self.mtu.is_some() || self.mss.is_some() {
            w.attribute(RTA_METRICS, |w| {
                if let Some(mtu) = self.mtu {
                    w.u32_attribute(RTAX_MTU, mtu);
                }
                if let Some(mss) = self.mss {
                    w.u32_attribute(RTAX_ADVMSS, mss);
                }
            });
        }
    }

    /// Reads a route. `None`: of another family than IP.
    pub(crate) fn read(payload: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = Fields(payload);
        let family = fields.u8()?;
        let length = fields.u8()?;
        fields.skip(2)?; // source prefix length, type of service
        let table = fields.u8()?;
        fields.skip(2)?; // protocol, scope
        let kind = RouteKind(fields.u8()?);
        let route_flags = fields.u32()?;
        let any: IpAddr = match family {
            AF_INET => Ipv4Addr::UNSPECIFIED.into(),
            AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return Ok(None),
        };
        if length > width(any) {
            return Ok(None);
        }
        let mut destination = any;
        let mut entry = Self {
            destination: Prefix::host(any),
            table: table.into(),
            kind,
            interface: None,
            gateway: None,
            source: None,
            metric: 0,
            mtu: None,
            mss: None,
            is_alive: route_flags & DEAD == 0,
            is_cached: route_flags & CLONED != 0,
        };
        for attribute in attributes(fields.0) {
            let attribute = attribute?;
            match attribute.kind {
                RTA_DST => destination = address(attribute.value)?,
                RTA_OIF => entry.interface = Some(attribute.u32()?),
                RTA_GATEWAY => entry.gateway = Some(address(attribute.value)?),
                RTA_VIA => entry.gateway = Some(via(attribute.value)?),
                RTA_PREFSRC => entry.source = Some(address(attribute.value)?),
                RTA_PRIORITY => entry.metric = attribute.u32()?,
                RTA_TABLE => entry.table = attribute.u32()?,
                RTA_MULTIPATH => entry.read_next_hops(attribute.value)?,
                RTA_METRICS => entry.read_metrics(attribute.value)?,
                _ => {} // of no concern: the kernel knows many more than we use
            }
        }
        entry.destination = Prefix::new(destination, length)
            .map_err(|_| Malformed("a prefix length that fits the destination"))?;
        Ok(Some(entry))
    }

    /// `struct rtnexthop` repeated, each with attributes of its own.
    fn read_next_hops(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let mut rest = Fields(value);
        self.is_alive = false;
        while !rest.0.is_empty() && !self.is_alive {
            let length = rest.clone().u16()?.into();
            let mut hop = Fields(rest.take_padded(length)?);
            hop.skip(2)?; // length
            self.is_alive = u32::from(hop.u8()?) & DEAD == 0;
            hop.skip(1)?; // weight
            self.interface = Some(hop.u32()?);
            self.gateway = None;
            for attribute in attributes(hop.0) {
                let attribute = attribute?;
                match attribute.kind {
                    RTA_GATEWAY => self.gateway = Some(address(attribute.value)?),
                    RTA_VIA => self.gateway = Some(via(attribute.value)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn read_metrics(&mut self, value: &[u8]) -> Result<(), Malformed> {
        for metric in attributes(value) {
            let metric = metric?;
            match metric.kind {
                RTAX_MTU => self.mtu = Some(metric.u32()?),
                RTAX_ADVMSS => self.mss = Some(metric.u32()?),
                _ => {}
            }
        }
        Ok(())
    }
}

/// `struct rtvia`: a gateway of another family than the route.
fn via(value: &[u8]) -> Result<IpAddr, Malformed> {
    let mut fields = Fields(value);
    fields.skip(2)?; // family, told by the length as well
    address(fields.0)
}

/// GETROUTE for one destination: which route a packet would take.
pub(crate) fn lookup(destination: IpAddr, source: Option<IpAddr>, mark: Option<u32>) -> Request {
    Request::new(RTM_GETROUTE, 0, |w| {
        let length = width(destination);
        w.u8(family(destination));
        w.u8(length);
        w.u8(if source.is_some() { length } else { 0 });
        w.zeros(5); // type of service, table, protocol, scope, type
        w.u32(LOOKUP_TABLE);
        w.address_attribute(RTA_DST, destination);
        if let Some(source) = source {
            w.address_attribute(RTA_SRC, source);
        }
        if let Some(mark) = mark {
            w.u32_attribute(RTA_MARK, mark);
        }
    })
}

/// GETROUTE of all tables of a family.
pub(crate) fn dump_routes(family: u8) -> Request {
    Request::new(RTM_GETROUTE, flags::DUMP, |w| {
        w.u8(family);
        w.zeros(11);
    })
}

const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;

/// `FR_ACT_TO_TBL`.
const ACTION_TO_TABLE: u8 = 1;
/// `FIB_RULE_INVERT`.
const INVERT: u32 = 2;

/// A routing rule that sends packets to a table, by their mark or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) family: u8,
    /// Lower is asked first.
    pub(crate) priority: u32,
    pub(crate) table: u32,
    pub(crate) mark: u32,
    pub(crate) mask: u32,
    /// Applies to the packets that do not match.
    pub(crate) is_inverted: bool,
    /// Routes of this length and shorter do not count.
    pub(crate) suppress_prefix_length: Option<u8>,
}

impl Rule {
    /// NEWRULE; refused with EEXIST where the rule is there.
    pub(crate) fn install(&self) -> Request {
        Request::new(RTM_NEWRULE, flags::ACK | flags::CREATE | flags::EXCLUSIVE, |w| self.write(w))
    }

    /// DELRULE of a rule like this.
    pub(crate) fn remove(&self) -> Request {
        Request::new(RTM_DELRULE, flags::ACK, |w| self.write(w))
    }

    fn write(&self, w: &mut Writer) {
        w.u8(self.family);
        w.zeros(3); // prefix lengths, type of service
        w.u8(u8::try_from(self.table).unwrap_or(0)); // larger ones go into the attribute
        w.zeros(2);
        w.u8(ACTION_TO_TABLE);
        w.u32(if self.is_inverted { INVERT } else { 0 });
        if self.table > u8::MAX.into() {
            w.u32_attribute(FRA_TABLE, self.table);
        }
        if self.mask != 0 {
            w.u32_attribute(FRA_FWMARK, self.mark);
            w.u32_attribute(FRA_FWMASK, self.mask);
        }
        w.u32_attribute(FRA_PRIORITY, self.priority);
    }

    /// Reads a rule. `None`: it does something else, or looks at more than the mark.
    pub(crate) fn read(payload: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = Fields(payload);
        let family = fields.u8()?;
        let selects = [fields.u8()?, fields.u8()?, fields.u8()?] != [0; 3]; // prefixes, tos
        let table = fields.u8()?;
        fields.skip(2)?;
        let action = fields.u8()?;
        let rule_flags = fields.u32()?;
        if selects || action != ACTION_TO_TABLE {
            return Ok(None);
        }
        let mut rule = Self {
            family,
            priority: 0,
            table: table.into(),
            mark: 0,
            mask: 0,
            is_inverted: rule_flags & INVERT != 0,
            suppress_prefix_length: None,
        };
        for attribute in attributes(fields.0) {
            let attribute = attribute?;
            match attribute.kind {
                FRA_PRIORITY => rule.priority = attribute.u32()?,
                FRA_TABLE => rule.table = attribute.u32()?,
                FRA_FWMARK => rule.mark = attribute.u32()?,
                FRA_FWMASK => rule.mask = attribute.u32()?,
                // All ones, which fit no prefix length, mean none.
                FRA_SUPPRESS_PREFIXLEN => {
                    rule.suppress_prefix_length = u8::try_from(attribute.u32()?).ok();
                }
                FRA_L3MDEV if attribute.value == [0] => {}
                FRA_IIFNAME | FRA_OIFNAME | FRA_TUN_ID | FRA_L3MDEV | FRA_UID_RANGE | FRA_IP_PROTO
                | FRA_SPORT_RANGE | FRA_DPORT_RANGE => return Ok(None),
                _ => {} // protocol, realms, padding: they select nothing
            }
        }
        Ok(Some(rule))
    }

    /// Whether a packet with this mark is sent to the table.
    pub(crate) fn applies_to(&self, mark: u32) -> bool {
        ((mark ^ self.mark) & self.mask == 0) != self.is_inverted
    }
}

/// GETRULE of all rules of a family.
pub(crate) fn dump_rules(family: u8) -> Request {
    Request::new(RTM_GETRULE, flags::DUMP, |w| {
        w.u8(family);
        w.zeros(11);
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::HEADER_LENGTH;
    use crate::message::test_support::assert_octets;

    const ADD: u16 = flags::CREATE | flags::EXCLUSIVE;

    fn route(destination: &str, table: u32) -> RouteEntry {
        RouteEntry {
            destination: destination.parse().unwrap(),
            table,
            kind: RouteKind::UNICAST,
            interface: Some(3),
            gateway: None,
            source: None,
            metric: 0,
            mtu: None,
            mss: None,
            is_alive: true,
            is_cached: false,
        }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// `ip route add 10.3.0.0/24 dev gv0 src 192.0.2.1 table 220 proto static`
    #[test]
    fn a_device_route_is_what_iproute2_sends() {
        let entry = RouteEntry { source: ip("192.0.2.1"), ..route("10.3.0.0/24", 220) };
        assert_octets(
            entry.install(ADD).octets(),
            "34 00 00 00 18 00 05 06  00 00 00 00 00 00 00 00
             02 18 00 00 dc 04 fd 01  00 00 00 00 08 00 01 00
             0a 03 00 00 08 00 07 00  c0 00 02 01 08 00 04 00
             03 00 00 00",
        );
    }

    /// `ip route add 0.0.0.0/1 via 192.0.2.2 dev gv0 src 192.0.2.1 table 1000 proto static mtu 1400
    /// advmss 1300`
    #[test]
    fn a_gateway_route_is_what_iproute2_sends() {
        let entry = RouteEntry {
            gateway: ip("192.0.2.2"),
            source: ip("192.0.2.1"),
            mtu: Some(1400),
            mss: Some(1300),
            ..route("0.0.0.0/1", 1000)
        };
        assert_octets(
            entry.install(ADD).octets(),
            "58 00 00 00 18 00 05 06  00 00 00 00 00 00 00 00
             02 01 00 00 00 04 00 01  00 00 00 00 08 00 01 00
             00 00 00 00 08 00 05 00  c0 00 02 02 08 00 07 00
             c0 00 02 01 08 00 0f 00  e8 03 00 00 08 00 04 00
             03 00 00 00 14 00 08 00  08 00 02 00 78 05 00 00
             08 00 08 00 14 05 00 00",
        );
    }

    /// `ip route add throw 203.0.113.7/32 table 220 proto static`
    #[test]
    fn a_throw_route_is_what_iproute2_sends() {
        let entry = RouteEntry { kind: RouteKind::THROW, interface: None, ..route("203.0.113.7/32", 220) };
        assert_octets(
            entry.install(ADD).octets(),
            "24 00 00 00 18 00 05 06  00 00 00 00 00 00 00 00
             02 20 00 00 dc 04 00 09  00 00 00 00 08 00 01 00
             cb 00 71 07",
        );
    }

    /// `ip -6 route add 2001:db8::/32 dev gv0 table 220 proto static`
    #[test]
    fn an_ipv6_route_is_what_iproute2_sends() {
        assert_octets(
            route("2001:db8::/32", 220).install(ADD).octets(),
            "38 00 00 00 18 00 05 06  00 00 00 00 00 00 00 00
             0a 20 00 00 dc 04 00 01  00 00 00 00 14 00 01 00
             20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 00
             08 00 04 00 03 00 00 00",
        );
    }

    /// `ip route get 198.51.100.1 mark 0x1a`
    #[test]
    fn a_lookup_is_what_iproute2_sends() {
        assert_octets(
            lookup("198.51.100.1".parse().unwrap(), None, Some(0x1a)).octets(),
            "2c 00 00 00 1a 00 01 00  00 00 00 00 00 00 00 00
             02 20 00 00 00 00 00 00  00 10 00 00 08 00 01 00
             c6 33 64 01 08 00 10 00  1a 00 00 00",
        );
    }

    /// `ip rule add not fwmark 0x1a/0xff lookup 220 priority 220` and
    /// `ip -6 rule add lookup 1000 priority 2200`
    #[test]
    fn rules_are_what_iproute2_sends() {
        let mut rule = Rule {
            family: AF_INET,
            priority: 220,
            table: 220,
            mark: 0x1a,
            mask: 0xff,
            is_inverted: true,
            suppress_prefix_length: None,
        };
        assert_octets(
            rule.install().octets(),
            "34 00 00 00 20 00 05 06  00 00 00 00 00 00 00 00
             02 00 00 00 dc 00 00 01  02 00 00 00 08 00 0a 00
             1a 00 00 00 08 00 10 00  ff 00 00 00 08 00 06 00
             dc 00 00 00",
        );
        rule = Rule { family: AF_INET6, priority: 2200, table: 1000, mask: 0, is_inverted: false, ..rule };
        assert_octets(
            rule.install().octets(),
            "2c 00 00 00 20 00 05 06  00 00 00 00 00 00 00 00
             0a 00 00 00 00 00 00 01  00 00 00 00 08 00 0f 00
             e8 03 00 00 08 00 06 00  98 08 00 00",
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let entries = [
            route("10.3.0.0/24", 220),
            RouteEntry { gateway: ip("192.0.2.2"), mtu: Some(1400), ..route("0.0.0.0/0", 1000) },
            RouteEntry { source: ip("2001:db8::1"), mss: Some(1300), ..route("2001:db8::/32", 254) },
        ];
        for entry in entries {
            let request = entry.install(ADD);
            let read = RouteEntry::read(&request.octets()[HEADER_LENGTH..]);
            assert_eq!(read, Ok(Some(entry)));
        }
        let rule = Rule {
            family: AF_INET6,
            priority: 220,
            table: 1000,
            mark: 7,
            mask: 0xff,
            is_inverted: true,
            suppress_prefix_length: None,
        };
        assert_eq!(Rule::read(&rule.install().octets()[HEADER_LENGTH..]), Ok(Some(rule)));
    }

    #[test]
    fn the_first_live_next_hop_of_several_counts() {
        let mut w = Writer::new();
        w.bytes(&[AF_INET, 0, 0, 0, 254, 4, 0, 1]);
        w.u32(0);
        w.attribute(RTA_MULTIPATH, |w| {
            for (flags, interface, gateway) in
                [(1u8, 5u32, "192.0.2.5"), (0, 6, "192.0.2.6"), (0, 7, "192.0.2.7")]
            {
                w.u16(16);
                w.u8(flags);
                w.u8(0);
                w.u32(interface);
                w.address_attribute(RTA_GATEWAY, gateway.parse().unwrap());
            }
        });
        let entry = RouteEntry::read(w.octets()).unwrap().unwrap();
        assert!(entry.is_alive);
        assert_eq!((entry.interface, entry.gateway), (Some(6), ip("192.0.2.6")));
    }

    #[test]
    fn rules_look_at_marks() {
        let rule = |mark, mask, is_inverted| Rule {
            family: AF_INET,
            priority: 220,
            table: 220,
            mark,
            mask,
            is_inverted,
            suppress_prefix_length: None,
        };
        assert!(rule(0, 0, false).applies_to(7), "no mark: everything");
        assert!(rule(0x1a, 0xff, false).applies_to(0xf1a));
        assert!(!rule(0x1a, 0xff, false).applies_to(0));
        assert!(!rule(0x1a, 0xff, true).applies_to(0x1a));
        assert!(rule(0x1a, 0xff, true).applies_to(0));
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = RouteEntry::read(&octets);
            let _ = Rule::read(&octets);
        }
    }
}
