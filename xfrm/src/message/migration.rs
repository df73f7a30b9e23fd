//! MIGRATE.

use super::sa::XFRMA_ENCAP;
use super::selector::{RawAddress, write_address};
use super::{Fields, Request, Writer, attributes, family, flags};
use crate::error::Malformed;
use crate::migration::{Migration, Move, Moves};
use crate::policy::{PolicyId, Templates};
use crate::sa::{Encapsulation, IpsecProtocol, Mode};

pub(crate) const XFRM_MSG_MIGRATE: u16 = 0x21;

const XFRMA_MIGRATE: u16 = 17;

/// Octets of `struct xfrm_user_migrate`.
const MOVE_LENGTH: usize = 76;

impl Migration {
    /// `struct xfrm_userpolicy_id` and what moves.
    pub(crate) fn request(&self) -> Request {
        Request::new(XFRM_MSG_MIGRATE, flags::ACK, |w| {
            self.policy.write_fixed(w);
            w.attribute(XFRMA_MIGRATE, |w| self.moves.iter().for_each(|step| step.write(w)));
            self.policy.write_attributes(w);
            if let Some(encapsulation) = self.encapsulation {
                w.attribute(XFRMA_ENCAP, |w| encapsulation.write(w));
            }
        })
    }

    /// `None`: of a policy that is told by its number only.
    pub(crate) fn read(payload: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = Fields(payload);
        let Some(mut policy) = PolicyId::read_fixed(&mut fields)? else { return Ok(None) };
        let (mut moves, mut encapsulation) = (Vec::new(), None);
        for attribute in attributes(fields.0) {
            let attribute = attribute?;
            match attribute.kind {
                // One attribute may hold several, and there may be several attributes.
                XFRMA_MIGRATE => {
                    for octets in attribute.value.chunks(MOVE_LENGTH).take(Templates::MOST + 1) {
                        moves.push(Move::read(&mut Fields(octets))?);
                    }
                }
                XFRMA_ENCAP => encapsulation = Some(Encapsulation::read(attribute.value)?),
                _ => policy.take(&attribute)?,
            }
        }
        let moves = Moves::new(&moves).ok_or(Malformed("one to six templates that move"))?;
        Ok(Some(Self { policy, moves, encapsulation }))
    }
}

impl Move {
    /// `struct xfrm_user_migrate` (76 octets).
    fn write(&self, w: &mut Writer) {
        for (source, destination) in [self.from(), self.to()] {
            write_address(w, destination);
            write_address(w, source);
        }
        w.u8(self.protocol.0);
        w.u8(self.mode.0);
        w.zeros(2);
        w.u32(self.reqid);
        w.u16(family(self.from().0).into());
        w.u16(family(self.to().0).into());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let mut pair = || Ok((RawAddress::read(fields)?, RawAddress::read(fields)?));
        let ((old_destination, old_source), (new_destination, new_source)) = (pair()?, pair()?);
        let protocol = IpsecProtocol(fields.u8()?);
        let mode = Mode(fields.u8()?);
        fields.skip(2)?;
        let reqid = fields.u32()?;
        let (old_family, new_family) = (fields.u16()?, fields.u16()?);
        let from = (old_source.of_family(old_family)?, old_destination.of_family(old_family)?);
        let to = (new_source.of_family(new_family)?, new_destination.of_family(new_family)?);
        let mut step = Self::new(from, to, mode, reqid).map_err(|_| Malformed("addresses of one family"))?;
        step.protocol = protocol;
        Ok(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HEADER_LENGTH;
    use crate::message::golden::full_policy;
    use crate::message::test_support::assert_message;
    use crate::sa::EncapsulationKind;
    use crate::selector::Selector;

    fn migration() -> Migration {
        let from = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let to = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let step = Move::new(from, to, Mode::TUNNEL, 7).unwrap();
        let encapsulation =
            Encapsulation { kind: EncapsulationKind::UDP, source_port: 4500, destination_port: 31000 };
        let id = full_policy().id;
        let selector = Selector::new(id.selector.source(), id.selector.destination()).unwrap();
        Migration {
            policy: PolicyId { selector, mark: None, ..id },
            moves: Moves::new(&[step]).unwrap(),
            encapsulation: Some(encapsulation),
        }
    }

    /// Against what a C program writes with the kernel's own header; iproute2 has no such command.
    #[test]
    fn a_migration_is_laid_out_as_in_c() {
        assert_message(
            &migration().request(),
            XFRM_MSG_MIGRATE,
            flags::ACK,
            64,
            "0a 02 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             0a 01 00 00 00 00 00 00  00 00 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  02 00 18 10 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00 01 00 00 00
             1c 00 04 00 02 00 11 94  79 18 00 00 00 00 00 00
             00 00 00 00 00 00 00 00  00 00 00 00
             50 00 11 00
             c0 00 02 02 00 00 00 00  00 00 00 00 00 00 00 00
             c0 00 02 01 00 00 00 00  00 00 00 00 00 00 00 00
             20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 02
             20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 01
             32 01 00 00 07 00 00 00  02 00 0a 00
             08 00 1f 00 2a 00 00 00",
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let request = migration().request();
        let body = &request.octets()[HEADER_LENGTH..];
        assert_eq!(Migration::read(body), Ok(Some(migration())));
        for length in 0..body.len() {
            let _ = Migration::read(&body[..length]);
        }
        assert_eq!(Migration::read(&body[..64]), Err(Malformed("one to six templates that move")));
    }
}
