//! The databases as wholes: GETSADINFO, GETSPDINFO, GETDEFAULT, SETDEFAULT.

use super::{Fields, Request, attributes, flags};
use crate::error::Malformed;
use crate::policy::{Action, DefaultPolicy, PolicyCount};

const XFRM_MSG_GETSADINFO: u16 = 0x23;
const XFRM_MSG_GETSPDINFO: u16 = 0x25;
const XFRM_MSG_SETDEFAULT: u16 = 0x27;
const XFRM_MSG_GETDEFAULT: u16 = 0x28;

const XFRMA_SAD_CNT: u16 = 1;
const XFRMA_SPD_INFO: u16 = 1;

const DEFAULT_BLOCK: u8 = 1;
const DEFAULT_ACCEPT: u8 = 2;

/// The body of both: no flags that any kernel would look at.
const NO_FLAGS: u32 = u32::MAX;

pub(crate) fn count_sas() -> Request {
    Request::new(XFRM_MSG_GETSADINFO, 0, |w| w.u32(NO_FLAGS))
}

pub(crate) fn count_policies() -> Request {
    Request::new(XFRM_MSG_GETSPDINFO, 0, |w| w.u32(NO_FLAGS))
}

/// Reads NEWSADINFO.
pub(crate) fn read_sa_count(payload: &[u8]) -> Result<u32, Malformed> {
    let mut fields = Fields(payload);
    fields.skip(4)?;
    for attribute in attributes(fields.0) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_SAD_CNT {
            return attribute.u32();
        }
    }
    Err(Malformed("the number of SAs"))
}

/// Reads NEWSPDINFO.
pub(crate) fn read_policy_count(payload: &[u8]) -> Result<PolicyCount, Malformed> {
    let mut fields = Fields(payload);
    fields.skip(4)?;
    for attribute in attributes(fields.0) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_SPD_INFO {
            let mut fields = Fields(attribute.value);
            return Ok(PolicyCount {
                inbound: fields.u32()?,
                outbound: fields.u32()?,
                forward: fields.u32()?,
                socket_inbound: fields.u32()?,
                socket_outbound: fields.u32()?,
            });
        }
    }
    Err(Malformed("the numbers of policies"))
}

pub(crate) fn default_policy() -> Request {
    Request::new(XFRM_MSG_GETDEFAULT, 0, |w| w.zeros(3))
}

/// `struct xfrm_userpolicy_default` (3 octets).
pub(crate) fn set_default_policy(default: &DefaultPolicy) -> Request {
    Request::new(XFRM_MSG_SETDEFAULT, flags::ACK, |w| {
        for action in [default.inbound, default.forward, default.outbound] {
            w.u8(match action {
                Action::Block => DEFAULT_BLOCK,
                Action::Allow => DEFAULT_ACCEPT,
            });
        }
    })
}

pub(crate) fn read_default_policy(payload: &[u8]) -> Result<DefaultPolicy, Malformed> {
    let mut fields = Fields(payload);
    let mut action = || match fields.u8()? {
        DEFAULT_BLOCK => Ok(Action::Block),
        DEFAULT_ACCEPT => Ok(Action::Allow),
        _ => Err(Malformed("a default policy, block or accept")),
    };
    Ok(DefaultPolicy { inbound: action()?, forward: action()?, outbound: action()? })
}
