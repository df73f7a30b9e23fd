//! Notifications: ACQUIRE, EXPIRE, POLEXPIRE, MAPPING, and the removals others ask for.

use std::net::SocketAddr;

use super::migration::XFRM_MSG_MIGRATE;
use super::policy::{XFRM_MSG_DELPOLICY, XFRM_MSG_FLUSHPOLICY, XFRMA_POLICY, read_flushed};
use super::sa::{XFRM_MSG_DELSA, XFRM_MSG_FLUSHSA, XFRMA_SA, XFRMA_SA_PCPU};
use super::selector::{RawAddress, read_selector};
use super::{Fields, Frame, attributes, family};
use crate::error::Malformed;
use crate::event::{Acquire, Event, Expired, Moved, PolicyExpired};
use crate::migration::Migration;
use crate::policy::{PolicyEntry, PolicyId};
use crate::sa::{IpsecProtocol, SaEntry, SaId};

const XFRM_MSG_ACQUIRE: u16 = 0x17;
const XFRM_MSG_EXPIRE: u16 = 0x18;
const XFRM_MSG_POLEXPIRE: u16 = 0x1b;
const XFRM_MSG_MAPPING: u16 = 0x26;

/// Reads a notification. `None`: of no concern, as what others install.
pub(crate) fn read(frame: &Frame<'_>) -> Result<Option<Event>, Malformed> {
    Ok(match frame.kind {
        XFRM_MSG_ACQUIRE => read_acquire(frame.payload)?.map(|acquire| Event::Acquire(Box::new(acquire))),
        XFRM_MSG_EXPIRE => Some(Event::Expired(Box::new(read_expired(frame.payload)?))),
        XFRM_MSG_POLEXPIRE => {
            read_policy_expired(frame.payload)?.map(|expired| Event::PolicyExpired(Box::new(expired)))
        }
        XFRM_MSG_MAPPING => Some(Event::Moved(read_moved(frame.payload)?)),
        XFRM_MSG_DELSA => Some(Event::SaRemoved(Box::new(read_removed_sa(frame.payload)?.sa))),
        XFRM_MSG_FLUSHSA => Some(Event::SasFlushed(IpsecProtocol(Fields(frame.payload).u8()?))),
        XFRM_MSG_DELPOLICY => {
            read_removed_policy(frame.payload)?.map(|id| Event::PolicyRemoved(Box::new(id)))
        }
        XFRM_MSG_FLUSHPOLICY => Some(Event::PoliciesFlushed(read_flushed(frame.payload)?)),
        XFRM_MSG_MIGRATE => {
            Migration::read(frame.payload)?.map(|migration| Event::Migrated(Box::new(migration)))
        }
        _ => None, // what is installed or changed, by us mostly
    })
}

/// `struct xfrm_user_acquire` (280 octets). `None`: of a socket's own policy.
fn read_acquire(payload: &[u8]) -> Result<Option<Acquire>, Malformed> {
    let mut fields = Fields(payload);
    let destination = RawAddress::read(&mut fields)?;
    fields.skip(4)?; // SPI: there is none yet
    let protocol = IpsecProtocol(fields.u8()?);
    fields.skip(3)?;
    let source = RawAddress::read(&mut fields)?;
    let packet = read_selector(&mut fields)?.ok_or(Malformed("a packet of family IPv4 or IPv6"))?;
    let policy = PolicyEntry::read_fixed(&mut fields)?;
    fields.skip(12)?; // algorithms
    let number = fields.u32()?;
    let Some(policy) = policy else { return Ok(None) };
    let entry = policy.with_attributes(fields.0)?;
    let mut cpu = None;
    for attribute in attributes(fields.0) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_SA_PCPU {
            cpu = Some(attribute.u32()?);
        }
    }
    let policy = entry.policy;
    // The message does not say the family of the SA's addresses; it is the template's that wants it.
    let wanted = policy.templates.iter().find(|template| template.protocol == protocol);
    let outer = wanted.map_or(packet.source().address(), |template| template.source());
    let outer = u16::from(family(outer));
    Ok(Some(Acquire {
        number,
        source: source.of_family(outer)?,
        destination: destination.of_family(outer)?,
        protocol,
        packet,
        policy_index: entry.index,
        policy_priority: policy.priority,
        mark: policy.id.mark,
        interface_id: policy.id.interface_id,
        templates: policy.templates,
        cpu,
    }))
}

/// `struct xfrm_user_expire` (232 octets).
fn read_expired(payload: &[u8]) -> Result<Expired, Malformed> {
    let mut fields = Fields(payload);
    let entry = SaEntry::read_fixed(&mut fields)?;
    let is_hard = fields.u8()? != 0;
    fields.skip(7)?;
    let entry = entry.with_attributes(fields.0)?;
    Ok(Expired { sa: entry.sa, usage: entry.usage, is_hard })
}

/// `struct xfrm_user_polexpire` (176 octets).
fn read_policy_expired(payload: &[u8]) -> Result<Option<PolicyExpired>, Malformed> {
    let mut fields = Fields(payload);
    let entry = PolicyEntry::read_fixed(&mut fields)?;
    let is_hard = fields.u8()? != 0;
    fields.skip(7)?;
    let entry = entry.map(|entry| entry.with_attributes(fields.0)).transpose()?;
    Ok(entry.map(|entry| PolicyExpired { entry, is_hard }))
}

/// `struct xfrm_user_mapping` (64 octets).
fn read_moved(payload: &[u8]) -> Result<Moved, Malformed> {
    let mut fields = Fields(payload);
    let id = SaId::read(&mut fields)?;
    let reqid = fields.u32()?;
    let (old, new) = (RawAddress::read(&mut fields)?, RawAddress::read(&mut fields)?);
    let (old_port, new_port) = (fields.be16()?, fields.be16()?);
    let family = family(id.destination).into();
    let from = SocketAddr::new(old.of_family(family)?, old_port);
    let to = SocketAddr::new(new.of_family(family)?, new_port);
    Ok(Moved { id, reqid, from, to })
}

/// `struct xfrm_usersa_id`, and the SA in an attribute beside those of the SA itself.
fn read_removed_sa(payload: &[u8]) -> Result<SaEntry, Malformed> {
    let mut fields = Fields(payload);
    SaId::read(&mut fields)?;
    for attribute in attributes(fields.0) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_SA {
            let entry = SaEntry::read_fixed(&mut Fields(attribute.value))?;
            return entry.with_attributes(fields.0);
        }
    }
    Err(Malformed("the SA that was removed"))
}

/// `struct xfrm_userpolicy_id`, and the policy in an attribute beside those of the policy itself.
/// `None`: a socket's own.
fn read_removed_policy(payload: &[u8]) -> Result<Option<PolicyId>, Malformed> {
    let mut fields = Fields(payload);
    PolicyId::read_fixed(&mut fields)?; // empty where it was removed by number
    for attribute in attributes(fields.0) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_POLICY {
            let entry = PolicyEntry::read_fixed(&mut Fields(attribute.value))?;
            let entry = entry.map(|entry| entry.with_attributes(fields.0)).transpose()?;
            return Ok(entry.map(|entry| entry.policy.id));
        }
    }
    Err(Malformed("the policy that was removed"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::policy::{XFRM_MSG_NEWPOLICY, XFRM_MSG_UPDPOLICY};
    use super::super::sa::XFRM_MSG_NEWSA;
    use super::*;
    use crate::message::Writer;
    use crate::message::golden::{everything, full_policy};
    use crate::message::test_support::hex;
    use crate::message::{HEADER_LENGTH, Request};
    use crate::policy::PolicyKind;
    use crate::sa::Mode;

    fn event(kind: u16, payload: &[u8]) -> Option<Event> {
        read(&Frame { kind, flags: 0, sequence: 0, port: 0, payload }).unwrap()
    }

    /// `struct xfrm_user_acquire` as a C program writes it with the kernel's own header.
    const ACQUIRE: &str = "
        c0 00 02 02 00 00 00 00  00 00 00 00 00 00 00 00
        00 00 00 00 32 00 00 00  c0 00 02 01 00 00 00 00
        00 00 00 00 00 00 00 00  0a 02 00 09 00 00 00 00
        00 00 00 00 00 00 00 00  0a 01 00 09 00 00 00 00
        00 00 00 00 00 00 00 00  00 35 ff ff 9c 40 ff ff
        02 00 20 20 11 00 00 00  00 00 00 00 00 00 00 00
        0a 02 00 00 00 00 00 00  00 00 00 00 00 00 00 00
        0a 01 00 00 00 00 00 00  00 00 00 00 00 00 00 00
        00 00 00 00 00 00 00 00  02 00 10 10 00 00 00 00
        00 00 00 00 00 00 00 00  ff ff ff ff ff ff ff ff
        ff ff ff ff ff ff ff ff  ff ff ff ff ff ff ff ff
        ff ff ff ff ff ff ff ff  00 00 00 00 00 00 00 00
        00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
        00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
        00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
        00 00 00 00 00 00 00 00  80 da 05 00 11 00 00 00
        01 00 00 00 00 00 00 00  ff ff ff ff ff ff ff ff
        ff ff ff ff 05 00 00 00";

    /// The attributes of a policy's request.
    fn attributes_of(request: &Request, fixed: usize) -> Vec<u8> {
        request.octets()[HEADER_LENGTH + fixed..].to_vec()
    }

    #[test]
    fn an_acquire_tells_packet_policy_and_number() {
        let mut payload = hex(ACQUIRE);
        payload.extend(attributes_of(&full_policy().install(), 168));
        let mut w = Writer::new();
        w.u32_attribute(XFRMA_SA_PCPU, 2);
        payload.extend(w.octets());
        let Some(Event::Acquire(acquire)) = event(XFRM_MSG_ACQUIRE, &payload) else { panic!("an acquire") };
        assert_eq!(acquire.packet.to_string(), "10.1.0.9/32[40000] -> 10.2.0.9/32[53] proto 17");
        assert_eq!((acquire.number, acquire.policy_index, acquire.policy_priority), (5, 17, 383_616));
        assert_eq!((acquire.source, acquire.destination), ([192, 0, 2, 1].into(), [192, 0, 2, 2].into()));
        assert_eq!((acquire.protocol, acquire.templates), (IpsecProtocol::ESP, full_policy().templates));
        assert_eq!(
            (acquire.mark, acquire.interface_id),
            (full_policy().id.mark, full_policy().id.interface_id)
        );
        assert_eq!(acquire.cpu, Some(2));
    }

    /// The packet is IPv4, the tunnel IPv6: only the template says so.
    #[test]
    fn the_family_of_an_acquires_sa_is_the_templates() {
        let mut payload = hex(ACQUIRE);
        payload.splice(0..16, std::net::Ipv6Addr::LOCALHOST.octets());
        let here = std::net::Ipv6Addr::LOCALHOST.into();
        let tunnel = crate::policy::Template::new(here, here, Mode::TUNNEL, 9).unwrap();
        let policy = crate::policy::Policy::protect(full_policy().id, 1, tunnel);
        payload.extend(attributes_of(&policy.install(), 168));
        let Some(Event::Acquire(acquire)) = event(XFRM_MSG_ACQUIRE, &payload) else { panic!("an acquire") };
        assert_eq!(acquire.destination, here);
    }

    fn sa_info() -> Vec<u8> {
        everything().allocate_spi(&(0..=0)).octets()[HEADER_LENGTH..][..224].to_vec()
    }

    #[test]
    fn an_expiry_tells_the_sa_and_how_hard_it_is() {
        for (octet, is_hard) in [(0, false), (1, true)] {
            let mut payload = sa_info();
            payload.extend([octet, 0, 0, 0, 0, 0, 0, 0]);
            payload.extend(attributes_of(&everything().allocate_spi(&(0..=0)), 232));
            let Some(Event::Expired(expired)) = event(XFRM_MSG_EXPIRE, &payload) else { panic!("an expiry") };
            assert_eq!((expired.is_hard, expired.sa.reqid), (is_hard, everything().reqid));
            assert_eq!(expired.sa.id.mark, everything().id.mark);
            assert_eq!(expired.sa.interface_id, everything().interface_id);
        }
    }

    #[test]
    fn a_policys_expiry_tells_the_policy() {
        let request = full_policy().install();
        let (info, rest) = request.octets()[HEADER_LENGTH..].split_at(168);
        let payload = [info, &[1, 0, 0, 0, 0, 0, 0, 0], rest].concat();
        let Some(Event::PolicyExpired(expired)) = event(XFRM_MSG_POLEXPIRE, &payload) else {
            panic!("an expiry")
        };
        assert!(expired.is_hard && expired.entry.policy == full_policy());
    }

    /// `struct xfrm_user_mapping` as a C program writes it with the kernel's own header.
    #[test]
    fn a_mapping_tells_where_the_peer_was_and_is() {
        let payload = hex("c0 00 02 01 00 00 00 00  00 00 00 00 00 00 00 00
             c0 00 00 01 02 00 32 00  07 00 00 00 c6 33 64 01
             00 00 00 00 00 00 00 00  00 00 00 00 c6 33 64 02
             00 00 00 00 00 00 00 00  00 00 00 00 11 94 79 18");
        let Some(Event::Moved(moved)) = event(XFRM_MSG_MAPPING, &payload) else { panic!("a mapping") };
        assert_eq!((moved.id.to_string().as_str(), moved.reqid), ("ESP c0000001 to 192.0.2.1", 7));
        assert_eq!(moved.from, "198.51.100.1:4500".parse().unwrap());
        assert_eq!(moved.to, "198.51.100.2:31000".parse().unwrap());
    }

    #[test]
    fn removals_tell_what_is_gone() {
        let mut payload = everything().id.remove().octets()[HEADER_LENGTH..][..24].to_vec();
        let mut w = Writer::new();
        w.attribute(XFRMA_SA, |w| w.bytes(&sa_info()));
        payload.extend(w.octets());
        payload.extend(attributes_of(&everything().allocate_spi(&(0..=0)), 232));
        let Some(Event::SaRemoved(sa)) = event(XFRM_MSG_DELSA, &payload) else { panic!("a removal") };
        assert_eq!((sa.reqid, sa.id.mark), (everything().reqid, everything().id.mark));

        let mut payload = full_policy().id.remove().octets()[HEADER_LENGTH..][..64].to_vec();
        let mut w = Writer::new();
        w.attribute(XFRMA_POLICY, |w| w.bytes(&full_policy().install().octets()[HEADER_LENGTH..][..168]));
        payload.extend(w.octets());
        payload.extend(attributes_of(&full_policy().install(), 168));
        let removed = event(XFRM_MSG_DELPOLICY, &payload);
        assert_eq!(removed, Some(Event::PolicyRemoved(Box::new(full_policy().id))));

        assert_eq!(event(XFRM_MSG_FLUSHSA, &[50]), Some(Event::SasFlushed(IpsecProtocol::ESP)));
        let flushed = event(XFRM_MSG_FLUSHPOLICY, &[]);
        assert_eq!(flushed, Some(Event::PoliciesFlushed(PolicyKind::MAIN)));
    }

    #[test]
    fn what_is_installed_is_of_no_concern() {
        for kind in [XFRM_MSG_NEWSA, XFRM_MSG_NEWPOLICY, XFRM_MSG_UPDPOLICY, 0x1e, 0x7777] {
            assert_eq!(event(kind, &[]), None);
        }
    }

    #[test]
    fn a_cut_event_is_an_error() {
        let whole = hex(ACQUIRE);
        for length in 0..whole.len() {
            let frame =
                Frame { kind: XFRM_MSG_ACQUIRE, flags: 0, sequence: 0, port: 0, payload: &whole[..length] };
            assert!(read(&frame).is_err(), "cut to {length}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(
            kind in 0x10u16..0x29,
            payload in proptest::collection::vec(any::<u8>(), 0..500),
        ) {
            let _ = read(&Frame { kind, flags: 0, sequence: 0, port: 0, payload: &payload });
        }
    }
}
