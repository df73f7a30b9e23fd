//! Interfaces and their addresses (`linux/if_link.h`, `linux/if_addr.h`).

use std::net::IpAddr;
use std::num::NonZeroU32;

use super::{Fields, Request, Writer, address, attributes, family, flags};
use crate::error::Malformed;
use crate::prefix::width;

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_XFRM_LINK: u16 = 1;
const IFLA_XFRM_IF_ID: u16 = 2;
/// Wants a link's description without statistics and virtual functions.
const IFLA_EXT_MASK: u16 = 29;
const SKIP_STATISTICS: u32 = 1 << 3;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;

/// The kind of interface whose packets take the policies of its number.
const KIND_XFRM: &str = "xfrm";

const IFF_UP: u32 = 0x1;

/// No duplicate address detection: the address is usable at once.
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_TENTATIVE: u32 = 0x40;

/// A lifetime without end.
const FOREVER: u32 = u32::MAX;

/// How far an address is valid (`RT_SCOPE_*`).
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkEntry {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Administratively up.
    pub(crate) is_up: bool,
    /// Octets; 0 where the kernel did not say.
    pub(crate) mtu: u32,
    /// A remark of whoever made it.
    pub(crate) alias: Option<String>,
    /// Of an xfrm interface.
    pub(crate) xfrm: Option<XfrmEntry>,
}

/// What an xfrm interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct XfrmEntry {
    pub(crate) interface_id: NonZeroU32,
    /// Index of the interface beneath.
    pub(crate) device: Option<u32>,
}

impl LinkEntry {
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(payload);
        fields.skip(4)?; // family, padding, hardware type
        let index = fields.u32()?;
        let is_up = fields.u32()? & IFF_UP != 0;
        fields.skip(4)?; // change mask
        let mut link = Self { index, name: String::new(), is_up, mtu: 0, alias: None, xfrm: None };
        for attribute in attributes(fields.0) {
            let attribute = attribute?;
            match attribute.kind {
                IFLA_IFNAME => link.name = attribute.text(),
                IFLA_MTU => link.mtu = attribute.u32()?,
                IFLA_IFALIAS => link.alias = Some(attribute.text()),
                IFLA_LINKINFO => link.xfrm = XfrmEntry::read(attribute.value)?,
                _ => {} // of no concern
            }
        }
        Ok(link)
    }
}

impl XfrmEntry {
    /// Reads `IFLA_LINKINFO`. `None`: an interface of another kind, or an xfrm interface without a
    /// number, which takes it from each packet's metadata.
    fn read(value: &[u8]) -> Result<Option<Self>, Malformed> {
        let (mut is_xfrm, mut data) = (false, &[][..]);
        for attribute in attributes(value) {
            let attribute = attribute?;
            match attribute.kind {
                IFLA_INFO_KIND => is_xfrm = attribute.text() == KIND_XFRM,
                IFLA_INFO_DATA => data = attribute.value,
                _ => {} // of no concern
            }
        }
        if !is_xfrm {
            return Ok(None); // the data are another kind's, numbered otherwise
        }
        let (mut interface_id, mut device) = (None, None);
        for attribute in attributes(data) {
            let attribute = attribute?;
            match attribute.kind {
                IFLA_XFRM_IF_ID => interface_id = NonZeroU32::new(attribute.u32()?),
                IFLA_XFRM_LINK => device = Some(attribute.u32()?).filter(|&index| index != 0),
                _ => {} // of no concern
            }
        }
        Ok(interface_id.map(|interface_id| Self { interface_id, device }))
    }
}

/// NEWLINK of an xfrm interface; refused with EEXIST where the name is taken.
pub(crate) fn add_xfrm_interface(name: &str, interface_id: NonZeroU32, device: Option<u32>) -> Request {
    Request::new(RTM_NEWLINK, flags::ACK | flags::CREATE | flags::EXCLUSIVE, |w| {
        w.zeros(16);
        w.text_attribute(IFLA_IFNAME, name);
        w.attribute(IFLA_LINKINFO, |w| {
            // Without the terminating zero, as iproute2 writes a kind.
            w.attribute(IFLA_INFO_KIND, |w| w.bytes(KIND_XFRM.as_bytes()));
            w.attribute(IFLA_INFO_DATA, |w| {
                w.u32_attribute(IFLA_XFRM_IF_ID, interface_id.get());
                if let Some(device) = device {
                    w.u32_attribute(IFLA_XFRM_LINK, device);
                }
            });
        });
    })
}

/// DELLINK by index.
pub(crate) fn remove_link(index: u32) -> Request {
    Request::new(RTM_DELLINK, flags::ACK, |w| {
        w.zeros(4);
        w.u32(index);
        w.zeros(8);
    })
}

/// GETLINK of all.
pub(crate) fn dump_links() -> Request {
    Request::new(RTM_GETLINK, flags::DUMP, |w| {
        w.zeros(16);
        w.u32_attribute(IFLA_EXT_MASK, SKIP_STATISTICS);
    })
}

/// GETLINK by name.
pub(crate) fn link_by_name(name: &str) -> Request {
    Request::new(RTM_GETLINK, 0, |w| {
        w.zeros(16);
        w.u32_attribute(IFLA_EXT_MASK, SKIP_STATISTICS);
        w.text_attribute(IFLA_IFNAME, name);
    })
}

/// GETLINK by index.
pub(crate) fn link_by_index(index: u32) -> Request {
    Request::new(RTM_GETLINK, 0, |w| {
        w.zeros(4);
        w.u32(index);
        w.zeros(8);
        w.u32_attribute(IFLA_EXT_MASK, SKIP_STATISTICS);
    })
}

/// NEWLINK on an interface that is there: brings it up, with this MTU in octets if given.
pub(crate) fn set_link_up(index: u32, mtu: Option<u32>) -> Request {
    change_link(index, IFF_UP, mtu)
}

/// NEWLINK on an interface that is there: sets its alias and brings it up.
pub(crate) fn set_link_alias_and_up(index: u32, alias: &str) -> Request {
    Request::new(RTM_NEWLINK, flags::ACK, |w| {
        w.zeros(4);
        w.u32(index);
        w.u32(IFF_UP); // flags
        w.u32(IFF_UP); // which flags change
        // Without a terminating zero, as iproute2 writes it.
        w.attribute(IFLA_IFALIAS, |w| w.bytes(alias.as_bytes()));
    })
}

/// NEWLINK on an interface that is there: sets its MTU in octets.
pub(crate) fn set_link_mtu(index: u32, mtu: u32) -> Request {
    change_link(index, 0, Some(mtu))
}

fn change_link(index: u32, raised: u32, mtu: Option<u32>) -> Request {
    Request::new(RTM_NEWLINK, flags::ACK, |w| {
        w.zeros(4);
        w.u32(index);
        w.u32(raised); // flags
        w.u32(raised); // which flags change
        if let Some(mtu) = mtu {
            w.u32_attribute(IFLA_MTU, mtu);
        }
    })
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressEntry {
    /// Our own address; of a point-to-point link not the peer's.
    pub(crate) address: IpAddr,
    pub(crate) prefix_length: u8,
    pub(crate) interface: u32,
    pub(crate) scope: u8,
    flags: u32,
}

impl AddressEntry {
    pub(crate) fn read(payload: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = Fields(payload);
        fields.skip(1)?; // family, told by the address's length
        let prefix_length = fields.u8()?;
        let mut address_flags = u32::from(fields.u8()?);
        let scope = fields.u8()?;
        let interface = fields.u32()?;
        let (mut local, mut other) = (None, None);
        for attribute in attributes(fields.0) {
            let attribute = attribute?;
            match attribute.kind {
                IFA_LOCAL => local = Some(address(attribute.value)?),
                IFA_ADDRESS => other = Some(address(attribute.value)?),
                IFA_FLAGS => address_flags = attribute.u32()?,
                _ => {} // of no concern
            }
        }
        // IPv4 tells both on point-to-point links; IPv6 mostly just the one.
        Ok(local.or(other).map(|address| Self {
            address,
            prefix_length,
            interface,
            scope,
            flags: address_flags,
        }))
    }

    /// Whether packets can be sent from it: no duplicate, and not still being tested for one.
    pub(crate) fn is_usable(&self) -> bool {
        self.flags & (IFA_F_DADFAILED | IFA_F_TENTATIVE) == 0
    }

    /// Whether the kernel avoids it as a source of new connections.
    pub(crate) fn is_deprecated(&self) -> bool {
        self.flags & IFA_F_DEPRECATED != 0
    }

    /// Whether it means something only on its link or host.
    pub(crate) fn is_link_local(&self) -> bool {
        self.scope == SCOPE_LINK
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.scope == SCOPE_HOST || self.address.is_loopback()
    }

    #[cfg(test)]
    pub(crate) fn for_test(address: &str, interface: u32, scope: u8, flags: u32) -> Self {
        let prefix: crate::prefix::Prefix = address.parse().unwrap();
        let (address, _) = address.split_once('/').unwrap();
        let address = address.parse().unwrap();
        Self { address, prefix_length: prefix.length(), interface, scope, flags }
    }
}

/// GETADDR of all addresses of a family.
pub(crate) fn dump_addresses(family: u8) -> Request {
    Request::new(RTM_GETADDR, flags::DUMP, |w| {
        w.u8(family);
        w.zeros(7);
    })
}

/// NEWADDR of a host's single address; refused with EEXIST where the interface has it.
///
/// An IPv6 address is deprecated from the start: used where a route or a program names it as the
/// source, never picked for other connections.
pub(crate) fn add_host_address(address: IpAddr, interface: u32) -> Request {
    Request::new(RTM_NEWADDR, flags::ACK | flags::CREATE | flags::EXCLUSIVE, |w| {
        write_host_address(w, address, interface);
        if address.is_ipv6() {
            w.attribute(IFA_CACHEINFO, |w| {
                w.u32(0); // preferred: not at all
                w.u32(FOREVER); // valid
                w.zeros(8); // time stamps, the kernel's
            });
        }
    })
}

/// DELADDR of the same.
pub(crate) fn remove_host_address(address: IpAddr, interface: u32) -> Request {
    Request::new(RTM_DELADDR, flags::ACK, |w| write_host_address(w, address, interface))
}

fn write_host_address(w: &mut Writer, address: IpAddr, interface: u32) {
    w.u8(family(address));
    w.u8(width(address));
    let nodad = u8::try_from(IFA_F_NODAD).unwrap_or_default();
    w.u8(if address.is_ipv6() { nodad } else { 0 });
    w.u8(0); // scope: universe
    w.u32(interface);
    w.address_attribute(IFA_LOCAL, address);
    w.address_attribute(IFA_ADDRESS, address);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::HEADER_LENGTH;
    use crate::message::test_support::assert_octets;

    /// `ip addr add 10.9.0.5/32 dev gv0`
    #[test]
    fn an_ipv4_address_is_what_iproute2_sends() {
        assert_octets(
            add_host_address("10.9.0.5".parse().unwrap(), 3).octets(),
            "28 00 00 00 14 00 05 06  00 00 00 00 00 00 00 00
             02 20 00 00 03 00 00 00  08 00 02 00 0a 09 00 05
             08 00 01 00 0a 09 00 05",
        );
    }

    /// `ip addr add 2001:db8::5/128 dev gv0 nodad preferred_lft 0`
    #[test]
    fn an_ipv6_address_is_what_iproute2_sends() {
        assert_octets(
            add_host_address("2001:db8::5".parse().unwrap(), 3).octets(),
            "54 00 00 00 14 00 05 06  00 00 00 00 00 00 00 00
             0a 80 02 00 03 00 00 00  14 00 02 00 20 01 0d b8
             00 00 00 00 00 00 00 00  00 00 00 05 14 00 01 00
             20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 05
             14 00 06 00 00 00 00 00  ff ff ff ff 00 00 00 00
             00 00 00 00",
        );
    }

    /// `ip link set dev gv0 alias mine up`
    #[test]
    fn an_alias_is_what_iproute2_sends() {
        assert_octets(
            set_link_alias_and_up(3, "mine").octets(),
            "28 00 00 00 10 00 05 00  00 00 00 00 00 00 00 00
             00 00 00 00 03 00 00 00  01 00 00 00 01 00 00 00
             08 00 14 00 6d 69 6e 65",
        );
    }

    /// `ip link set dev gv0 mtu 1400 up`
    #[test]
    fn a_link_change_is_what_iproute2_sends() {
        assert_octets(
            set_link_up(3, Some(1400)).octets(),
            "28 00 00 00 10 00 05 00  00 00 00 00 00 00 00 00
             00 00 00 00 03 00 00 00  01 00 00 00 01 00 00 00
             08 00 04 00 78 05 00 00",
        );
    }

    /// As iproute2 asks for `gv0`, which also wants the virtual functions.
    #[test]
    fn a_link_is_asked_for_by_name() {
        assert_octets(
            link_by_name("gv0").octets(),
            "30 00 00 00 12 00 01 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             08 00 1d 00 08 00 00 00  08 00 03 00 67 76 30 00",
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let request = add_host_address("2001:db8::5".parse().unwrap(), 3);
        let entry = AddressEntry::read(&request.octets()[HEADER_LENGTH..]).unwrap().unwrap();
        assert_eq!(entry, AddressEntry::for_test("2001:db8::5/128", 3, 0, IFA_F_NODAD));
        assert!(entry.is_usable() && !entry.is_link_local() && !entry.is_loopback());

        let request = set_link_up(3, Some(1400));
        let link = LinkEntry::read(&request.octets()[HEADER_LENGTH..]).unwrap();
        assert_eq!(
            link,
            LinkEntry { index: 3, name: String::new(), is_up: true, mtu: 1400, alias: None, xfrm: None }
        );

        let interface_id = NonZeroU32::new(42).unwrap();
        for device in [None, Some(3)] {
            let request = add_xfrm_interface("ipsec0", interface_id, device);
            let link = LinkEntry::read(&request.octets()[HEADER_LENGTH..]).unwrap();
            assert_eq!((link.name.as_str(), link.xfrm), ("ipsec0", Some(XfrmEntry { interface_id, device })));
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = LinkEntry::read(&octets);
            let _ = AddressEntry::read(&octets);
        }
    }
}
