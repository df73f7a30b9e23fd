//! Messages about policies: NEWPOLICY, UPDPOLICY, DELPOLICY, GETPOLICY, FLUSHPOLICY; and the value of
//! the per-socket policy option.

use std::num::NonZeroU32;

use zeroize::Zeroizing;

use super::sa::{XFRMA_IF_ID, XFRMA_MARK, XFRMA_OFFLOAD_DEV};
use super::selector::{
    RawAddress, USAGE_LENGTH, read_limits, read_mark, read_selector, read_usage, write_address, write_limits,
    write_mark, write_selector, write_selector_of_all,
};
use super::{Attribute, Fields, Request, Writer, attributes, family, flags};
use crate::error::Malformed;
use crate::policy::{
    Action, Policy, PolicyDirection, PolicyEntry, PolicyFlags, PolicyId, PolicyKind, Template, Templates,
};
use crate::sa::{IpsecProtocol, Limits, Mode};

pub(crate) const XFRM_MSG_NEWPOLICY: u16 = 0x13;
pub(crate) const XFRM_MSG_DELPOLICY: u16 = 0x14;
const XFRM_MSG_GETPOLICY: u16 = 0x15;
pub(crate) const XFRM_MSG_UPDPOLICY: u16 = 0x19;
pub(crate) const XFRM_MSG_FLUSHPOLICY: u16 = 0x1d;

const XFRMA_TMPL: u16 = 5;
/// In notifications: a whole policy.
pub(crate) const XFRMA_POLICY: u16 = 7;
const XFRMA_POLICY_TYPE: u16 = 16;

/// Packet offload, the only kind policies have.
const OFFLOAD_PACKET: u8 = 4;

const ACTION_ALLOW: u8 = 0;
const ACTION_BLOCK: u8 = 1;

/// Octets of `struct xfrm_user_tmpl`.
const TEMPLATE_LENGTH: usize = 64;

impl PolicyDirection {
    const fn number(self) -> u8 {
        match self {
            Self::In => 0,
            Self::Out => 1,
            Self::Forward => 2,
        }
    }

    /// `None`: a socket's.
    const fn of_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::In),
            1 => Some(Self::Out),
            2 => Some(Self::Forward),
            _ => None,
        }
    }
}

impl Action {
    const fn number(self) -> u8 {
        match self {
            Self::Allow => ACTION_ALLOW,
            Self::Block => ACTION_BLOCK,
        }
    }
}

impl Policy {
    /// NEWPOLICY: one that is not there yet.
    pub(crate) fn install(&self) -> Request {
        self.request(XFRM_MSG_NEWPOLICY)
    }

    /// UPDPOLICY: in the place of one that may be there.
    pub(crate) fn replace(&self) -> Request {
        self.request(XFRM_MSG_UPDPOLICY)
    }

    fn request(&self, kind: u16) -> Request {
        Request::new(kind, flags::ACK, |w| {
            write_selector(w, Some(&self.id.selector));
            let index = self.number.map_or(0, |number| {
                number << (u32::BITS - Self::NUMBER_BITS) | u32::from(self.id.direction.number())
            });
            let (direction, action) = (self.id.direction, self.action);
            write_behind_selector(w, &self.limits, (self.priority, index), direction, action, self.flags);
            if !self.templates.0.is_empty() {
                w.attribute(XFRMA_TMPL, |w| self.templates.iter().for_each(|template| template.write(w)));
            }
            self.id.write_attributes(w);
            if let Some(interface) = self.offload {
                w.attribute(XFRMA_OFFLOAD_DEV, |w| {
                    w.u32(interface);
                    w.u8(OFFLOAD_PACKET);
                    w.zeros(3);
                });
            }
        })
    }
}

/// Writes `struct xfrm_userpolicy_info` (168 octets) behind its selector.
fn write_behind_selector(
    w: &mut Writer,
    limits: &Limits,
    (priority, index): (u32, u32),
    direction: PolicyDirection,
    action: Action,
    policy_flags: PolicyFlags,
) {
    write_limits(w, limits);
    w.zeros(USAGE_LENGTH);
    w.u32(priority);
    w.u32(index); // 0: the kernel's choice
    w.u8(direction.number());
    w.u8(action.number());
    w.u8(policy_flags.0);
    w.u8(0); // share: of no meaning to the kernel
    w.zeros(4);
}

impl PolicyId {
    /// DELPOLICY.
    pub(crate) fn remove(&self) -> Request {
        Request::new(XFRM_MSG_DELPOLICY, flags::ACK, |w| {
            self.write_fixed(w);
            self.write_attributes(w);
        })
    }

    /// GETPOLICY of one.
    pub(crate) fn find(&self) -> Request {
        Request::new(XFRM_MSG_GETPOLICY, 0, |w| {
            self.write_fixed(w);
            self.write_attributes(w);
        })
    }

    /// `struct xfrm_userpolicy_id` (64 octets).
    pub(crate) fn write_fixed(&self, w: &mut Writer) {
        write_selector(w, Some(&self.selector));
        w.u32(0); // index: by selector
        w.u8(self.direction.number());
        w.zeros(3);
    }

    pub(crate) fn write_attributes(&self, w: &mut Writer) {
        if self.kind != PolicyKind::MAIN {
            write_kind(w, self.kind);
        }
        if let Some(mark) = self.mark {
            w.attribute(XFRMA_MARK, |w| write_mark(w, mark));
        }
        if let Some(interface) = self.interface_id {
            w.u32_attribute(XFRMA_IF_ID, interface.get());
        }
    }

    /// `struct xfrm_userpolicy_id`. `None`: of a socket, or told by its number only.
    pub(crate) fn read_fixed(fields: &mut Fields<'_>) -> Result<Option<Self>, Malformed> {
        let selector = read_selector(fields)?;
        fields.skip(4)?; // index
        let direction = PolicyDirection::of_number(fields.u8()?);
        fields.skip(3)?;
        Ok(selector.zip(direction).map(|(selector, direction)| Self::new(selector, direction)))
    }

    /// Takes an attribute if it is a part of what a policy is known by.
    pub(crate) fn take(&mut self, attribute: &Attribute<'_>) -> Result<(), Malformed> {
        match attribute.kind {
            XFRMA_MARK => self.mark = read_mark(attribute.value)?,
            XFRMA_IF_ID => self.interface_id = NonZeroU32::new(attribute.u32()?),
            XFRMA_POLICY_TYPE => self.kind = read_kind(attribute.value)?,
            _ => {} // of no concern
        }
        Ok(())
    }
}

/// `struct xfrm_userpolicy_type` (6 octets).
fn write_kind(w: &mut Writer, kind: PolicyKind) {
    w.attribute(XFRMA_POLICY_TYPE, |w| {
        w.u8(kind.0);
        w.zeros(5);
    });
}

fn read_kind(value: &[u8]) -> Result<PolicyKind, Malformed> {
    Ok(PolicyKind(Fields(value).u8()?))
}

/// GETPOLICY of all, of both kinds.
pub(crate) fn dump_policies() -> Request {
    Request::new(XFRM_MSG_GETPOLICY, flags::DUMP, |_| {})
}

/// FLUSHPOLICY.
pub(crate) fn flush_policies(kind: PolicyKind) -> Request {
    Request::new(XFRM_MSG_FLUSHPOLICY, flags::ACK, |w| {
        if kind != PolicyKind::MAIN {
            write_kind(w, kind);
        }
    })
}

/// Reads the attributes of FLUSHPOLICY.
pub(crate) fn read_flushed(payload: &[u8]) -> Result<PolicyKind, Malformed> {
    let mut kind = PolicyKind::MAIN;
    for attribute in attributes(payload) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_POLICY_TYPE {
            kind = read_kind(attribute.value)?;
        }
    }
    Ok(kind)
}

impl Template {
    fn write(&self, w: &mut Writer) {
        write_address(w, self.destination());
        w.be32(self.spi.map_or(0, NonZeroU32::get));
        w.u8(self.protocol.0);
        w.zeros(3);
        w.u16(family(self.destination()).into());
        w.zeros(2);
        write_address(w, self.source());
        w.u32(self.reqid);
        w.u8(self.mode.0);
        w.u8(0); // share: of no meaning to the kernel
        w.u8(self.is_optional.into());
        w.zeros(1);
        w.u32(u32::MAX); // integrity algorithms: all
        w.u32(u32::MAX); // encryption algorithms: all
        w.u32(u32::MAX); // compression algorithms: all
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let destination = RawAddress::read(fields)?;
        let spi = NonZeroU32::new(fields.be32()?);
        let protocol = IpsecProtocol(fields.u8()?);
        fields.skip(3)?;
        let family = fields.u16()?;
        fields.skip(2)?;
        let source = RawAddress::read(fields)?.of_family(family)?;
        let reqid = fields.u32()?;
        let mode = Mode(fields.u8()?);
        fields.skip(1)?; // share
        let is_optional = fields.u8()? != 0;
        fields.skip(13)?; // algorithms
        let mut template = Self::new(source, destination.of_family(family)?, mode, reqid)
            .map_err(|_| Malformed("a template's addresses of one family"))?;
        (template.protocol, template.spi, template.is_optional) = (protocol, spi, is_optional);
        Ok(template)
    }
}

/// Reads the value of `XFRMA_TMPL`.
fn read_templates(value: &[u8]) -> Result<Templates, Malformed> {
    let templates: Vec<_> = value
        .chunks(TEMPLATE_LENGTH)
        .take(Templates::MOST + 1)
        .map(|octets| Template::read(&mut Fields(octets)))
        .collect::<Result<_, _>>()?;
    Templates::new(&templates).ok_or(Malformed("at most 6 templates"))
}

impl PolicyEntry {
    /// Reads NEWPOLICY and UPDPOLICY: the struct and the attributes behind it. `None`: a socket's own
    /// policy, which the kernel tells among the others.
    pub(crate) fn read(payload: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = Fields(payload);
        let entry = Self::read_fixed(&mut fields)?;
        entry.map(|entry| entry.with_attributes(fields.0)).transpose()
    }

    /// Reads `struct xfrm_userpolicy_info`.
    pub(crate) fn read_fixed(fields: &mut Fields<'_>) -> Result<Option<Self>, Malformed> {
        let selector = read_selector(fields)?;
        let limits = read_limits(fields)?;
        let usage = read_usage(fields)?;
        let priority = fields.u32()?;
        let index = fields.u32()?;
        let direction = PolicyDirection::of_number(fields.u8()?);
        let action = match fields.u8()? {
            ACTION_ALLOW => Action::Allow,
            ACTION_BLOCK => Action::Block,
            _ => return Err(Malformed("a policy's action, allow or block")),
        };
        let policy_flags = PolicyFlags(fields.u8()?);
        fields.skip(5)?; // share
        Ok(selector.zip(direction).map(|(selector, direction)| {
            let id = PolicyId::new(selector, direction);
            let policy = Policy { action, limits, flags: policy_flags, ..Policy::pass(id, priority) };
            Self { policy, index, usage }
        }))
    }

    /// Adds what the attributes say.
    pub(crate) fn with_attributes(mut self, octets: &[u8]) -> Result<Self, Malformed> {
        for attribute in attributes(octets) {
            let attribute = attribute?;
            match attribute.kind {
                XFRMA_TMPL => self.policy.templates = read_templates(attribute.value)?,
                XFRMA_OFFLOAD_DEV => self.policy.offload = Some(Fields(attribute.value).u32()?),
                _ => self.policy.id.take(&attribute)?,
            }
        }
        Ok(self)
    }
}

/// The 168 octets of a socket's policy that lets everything of one family and direction pass
/// untouched.
pub(crate) fn allow_all(family: u8, direction: PolicyDirection) -> Zeroizing<Vec<u8>> {
    let mut w = Writer::new();
    write_selector_of_all(&mut w, family);
    let (limits, flags) = (Limits::default(), PolicyFlags::default());
    write_behind_selector(&mut w, &limits, (0, 0), direction, Action::Allow, flags);
    w.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::golden::full_policy;
    use crate::message::test_support::assert_octets;
    use crate::message::{AF_INET, AF_INET6, HEADER_LENGTH};

    /// Against what a C program writes with the kernel's own header.
    #[test]
    fn socket_policies_are_laid_out_as_in_c() {
        let zeros = |count: usize| "00".repeat(count);
        let unlimited = "ff".repeat(32);
        let golden = |family: &str, direction: &str| {
            [&zeros(40), family, &zeros(15), &unlimited, &zeros(72), direction, &zeros(7)].concat()
        };
        assert_octets(&allow_all(AF_INET, PolicyDirection::In), &golden("02", "00"));
        assert_octets(&allow_all(AF_INET6, PolicyDirection::Out), &golden("0a", "01"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dropping = Policy { offload: Some(2), ..Policy::drop(full_policy().id, 3) };
        let sub =
            Policy { id: PolicyId { kind: PolicyKind::SUB, ..dropping.id }, ..Policy::pass(dropping.id, 1) };
        for policy in [full_policy(), dropping, sub] {
            let request = policy.install();
            let entry = PolicyEntry::read(&request.octets()[HEADER_LENGTH..]).unwrap().unwrap();
            assert_eq!((entry.policy, entry.index), (policy, 0));
        }
        let numbered = Policy { number: Some(0x1234_5678), ..full_policy() };
        let entry = PolicyEntry::read(&numbered.replace().octets()[HEADER_LENGTH..]).unwrap().unwrap();
        assert_eq!(entry.number(), 0x1234_5678);
        assert_eq!(entry.index & 7, u32::from(numbered.id.direction.number()), "or the kernel refuses it");
    }

    #[test]
    fn sockets_own_policies_are_passed_over() {
        let mut body = full_policy().install().octets()[HEADER_LENGTH..].to_vec();
        body[160] = 3;
        assert_eq!(PolicyEntry::read(&body), Ok(None));
    }

    #[test]
    fn seven_templates_are_too_many() {
        let template = *full_policy().templates.iter().next().unwrap();
        assert!(Templates::new(&[template; 6]).is_some() && Templates::new(&[template; 7]).is_none());
        let mut body = Policy::pass(full_policy().id, 1).install().octets()[HEADER_LENGTH..].to_vec();
        let mut w = Writer::new();
        w.attribute(XFRMA_TMPL, |w| (0..7).for_each(|_| template.write(w)));
        body.extend(w.octets());
        assert_eq!(PolicyEntry::read(&body), Err(Malformed("at most 6 templates")));
    }

    proptest! {
        #[test]
        fn a_changed_octet_does_no_harm(at in any::<prop::sample::Index>(), octet in any::<u8>()) {
            let mut body = full_policy().install().octets()[HEADER_LENGTH..].to_vec();
            let at = at.index(body.len());
            let _ = PolicyEntry::read(&body[..at]);
            body[at] = octet;
            let _ = PolicyEntry::read(&body);
        }
    }
}
