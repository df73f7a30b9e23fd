//! Configuration payload (RFC 7296 §3.15).

use super::codec::{DecodeError, Part, Reader, Writer};
use super::registry::{CfgAttributeType, CfgType, PayloadType};

/// Configuration payload (RFC 7296 §3.15).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |   CFG Type    |                    RESERVED                   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                   Configuration Attributes                    ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Configuration<'a> {
    /// Asked or told.
    pub cfg_type: CfgType,
    /// In the sender's order; some kinds come several times.
    pub attributes: Vec<CfgAttribute<'a>>,
}

/// Configuration attribute (RFC 7296 §3.15.1).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |R|         Attribute Type      |            Length             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                             Value                             ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CfgAttribute<'a> {
    /// What the value is.
    pub kind: CfgAttributeType,
    /// In a form of its own for each kind; in a request often empty.
    pub value: &'a [u8],
}

/// The bit before the attribute type: zero when sent, ignored when received.
const RESERVED: u16 = 0x8000;

impl<'a> Configuration<'a> {
    /// Reads the body of the payload.
    ///
    /// Every attribute has four octets at least, and is remembered in twenty-four: the allocation stays within six
    /// times the payload.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let cfg_type = CfgType(r.u8()?);
        r.skip(3)?; // RESERVED
        let mut attributes = Vec::new();
        r.enter(Part::Inside(PayloadType::CP, "Configuration Attribute"));
        while !r.is_empty() {
            let kind = CfgAttributeType(r.u16()? & !RESERVED);
            let length = r.u16()?;
            attributes.push(CfgAttribute { kind, value: r.take(length.into())? });
        }
        Ok(Self { cfg_type, attributes })
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        encode(self.cfg_type, self.attributes.iter().map(|attribute| (attribute.kind, attribute.value)), w);
    }

    /// The values of one kind of attribute.
    pub fn values(&self, kind: CfgAttributeType) -> impl Iterator<Item = &'a [u8]> + use<'a, '_> {
        self.attributes
            .iter()
            .filter(move |attribute| attribute.kind == kind)
            .map(|attribute| attribute.value)
    }
}

/// Writes the body of a CP payload. A value has at most 65,535 octets.
pub(super) fn encode<'v>(
    cfg_type: CfgType,
    attributes: impl Iterator<Item = (CfgAttributeType, &'v [u8])>,
    w: &mut Writer,
) {
    w.u8(cfg_type.0);
    w.bytes(&[0; 3]); // RESERVED
    for (kind, value) in attributes {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        w.u16(kind.0 & !RESERVED);
        w.u16(length);
        w.bytes(value.get(..length.into()).unwrap_or_default());
    }
}
