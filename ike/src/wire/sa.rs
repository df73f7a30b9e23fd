//! Security Association payload (RFC 7296 §3.3): proposals, their transforms, and the attributes of these.

use std::collections::BTreeSet;

use super::codec::{DecodeError, Expected, Fault, Part, Reader, Writer};
use super::registry::{PayloadType, ProtocolId, TransformType};
use crate::proposal::{Proposal, Transform};

/// Security Association payload (RFC 7296 §3.3): nothing but proposals, one behind the other.
///
/// A proposal that nobody can accept is left out when decoding, so there may be none at all. That is the case when
/// every transform of one type carries attributes we do not know: such transforms must not be chosen
/// (RFC 7296 §3.3.6), and the message is well-formed nevertheless.
#[derive(Clone, PartialEq, Eq)]
pub struct SecurityAssociation {
    /// In the sender's order of preference.
    pub proposals: Vec<Proposal>,
}

/// Last Substruc of all proposals but the last.
const MORE_PROPOSALS: u8 = 2;
/// Last Substruc of all transforms but the last.
const MORE_TRANSFORMS: u8 = 3;
/// Attribute Format bit: the value is in the two octets where others have their length.
const SHORT_ATTRIBUTE: u16 = 0x8000;
/// Key Length, the only attribute there is (RFC 7296 §3.3.5).
const KEY_LENGTH: u16 = 14;
/// Proposals are numbered by one octet, counting from one.
const MAX_PROPOSALS: usize = 255;

impl SecurityAssociation {
    /// Reads the proposals.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut proposals = Vec::new();
        let mut count = 0;
        let mut more = !r.is_empty();
        while more {
            if count == MAX_PROPOSALS {
                return Err(r.fault(Fault::TooMany { what: "proposals", limit: MAX_PROPOSALS }));
            }
            count += 1;
            let (is_last, mut body) = substructure(r, MORE_PROPOSALS, "Proposal")?;
            proposals.extend(decode_proposal(&mut body)?);
            more = !is_last;
        }
        Ok(Self { proposals })
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        encode(&self.proposals, w);
    }
}

/// Writes the body of an SA payload. At most 255 proposals of at most 255 transforms can be said.
pub(super) fn encode(proposals: &[Proposal], w: &mut Writer) {
    let count = proposals.len().min(MAX_PROPOSALS);
    for (n, proposal) in (1..).zip(proposals.iter().take(count)) {
        w.structure(2, |w| {
            w.u8(if n == count { 0 } else { MORE_PROPOSALS });
            w.bytes(&[0; 3]); // RESERVED, and room for the length
            encode_proposal(proposal, w);
        });
    }
}

/// Reads the four octets that begin a proposal or a transform. Gives whether it says to be the last, and its body.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Last Substruc |   RESERVED    |            Length             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
fn substructure<'a>(
    r: &mut Reader<'a>,
    more: u8,
    name: &'static str,
) -> Result<(bool, Reader<'a>), DecodeError> {
    let outer = r.part();
    let part = Part::Inside(PayloadType::SA, name);
    r.enter(part);
    let last = r.u8()?;
    if last != 0 && last != more {
        let expected = if more == MORE_PROPOSALS { "0 or 2" } else { "0 or 3" };
        return Err(r.unexpected("Last Substruc", last.into(), Expected::Words(expected)));
    }
    r.skip(1)?; // RESERVED
    let length = r.u16()?;
    let body = r.structure(part, length, 4)?;
    r.enter(outer);
    Ok((last == 0, body))
}

/// Reads a proposal behind its first four octets (RFC 7296 §3.3.1); `None` if nobody can accept it.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                        SPI (variable)                         ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                        <Transforms>                           ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
fn decode_proposal(r: &mut Reader<'_>) -> Result<Option<Proposal>, DecodeError> {
    let number = r.u8()?;
    let protocol = ProtocolId(r.u8()?);
    let spi_size = r.u8()?;
    let expected = match protocol {
        ProtocolId::IKE if spi_size != 0 && spi_size != 8 => Some("0 or 8"),
        ProtocolId::AH | ProtocolId::ESP if spi_size != 4 => Some("4"),
        _ => None, // the size is right, or the protocol's own affair
    };
    if let Some(expected) = expected {
        return Err(r.unexpected("SPI Size", spi_size.into(), Expected::Words(expected)));
    }
    let count = r.u8()?;
    let spi = r.take(spi_size.into())?.to_vec();

    let mut transforms = Vec::new();
    let mut unusable = BTreeSet::new();
    for n in 1..=count {
        let (is_last, mut body) = substructure(r, MORE_TRANSFORMS, "Transform")?;
        if is_last != (n == count) {
            return Err(r.unexpected(
                "Num Transforms",
                count.into(),
                Expected::Words("as many as the transforms say themselves"),
            ));
        }
        match decode_transform(&mut body)? {
            Ok(transform) => transforms.push(transform),
            Err(kind) => drop(unusable.insert(kind)),
        }
    }
    r.finish()?;

    // RFC 7296 §3.3.6: a transform with an unknown attribute must not be chosen. One transform of each type must
    // be, so a proposal whose last transform of a type goes this way goes with it.
    let is_acceptable = unusable.iter().all(|kind| transforms.iter().any(|t: &Transform| t.kind == *kind));
    Ok(is_acceptable.then_some(Proposal { number, protocol, spi, transforms }))
}

/// Writes a proposal behind its first four octets.
fn encode_proposal(proposal: &Proposal, w: &mut Writer) {
    let spi_size = u8::try_from(proposal.spi.len()).unwrap_or(u8::MAX);
    let count = u8::try_from(proposal.transforms.len()).unwrap_or(u8::MAX);
    w.u8(proposal.number);
    w.u8(proposal.protocol.0);
    w.u8(spi_size);
    w.u8(count);
    w.bytes(proposal.spi.get(..spi_size.into()).unwrap_or_default());
    for (n, transform) in (1..=count).zip(&proposal.transforms) {
        w.structure(2, |w| {
            w.u8(if n == count { 0 } else { MORE_TRANSFORMS });
            w.bytes(&[0; 3]); // RESERVED, and room for the length
            encode_transform(transform, w);
        });
    }
}

/// Reads a transform behind its first four octets (RFC 7296 §3.3.2); the inner `Err` is the type of one that must
/// not be chosen, because its attributes are unknown, repeated, or not of the form they must have.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |Transform Type |   RESERVED    |          Transform ID         |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ~                      Transform Attributes                     ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
///
/// and each attribute (RFC 7296 §3.3.5), with the value behind it where AF is zero:
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |A|       Attribute Type        |  AF=0  Attribute Length       |
/// |F|                             |  AF=1  Attribute Value        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
fn decode_transform(r: &mut Reader<'_>) -> Result<Result<Transform, TransformType>, DecodeError> {
    let kind = TransformType(r.u8()?);
    r.skip(1)?; // RESERVED
    let id = r.u16()?;
    let mut key_length = None;
    let mut is_usable = true;
    while !r.is_empty() {
        r.enter(Part::Inside(PayloadType::SA, "Transform Attribute"));
        let format_and_type = r.u16()?;
        let value_or_length = r.u16()?;
        if format_and_type == SHORT_ATTRIBUTE | KEY_LENGTH && key_length.is_none() {
            key_length = Some(value_or_length);
        } else {
            is_usable = false;
            if format_and_type & SHORT_ATTRIBUTE == 0 {
                r.skip(value_or_length.into())?;
            }
        }
    }
    Ok(if is_usable { Ok(Transform { kind, id, key_length }) } else { Err(kind) })
}

/// Writes a transform behind its first four octets.
fn encode_transform(transform: &Transform, w: &mut Writer) {
    w.u8(transform.kind.0);
    w.u8(0); // RESERVED
    w.u16(transform.id);
    if let Some(key_length) = transform.key_length {
        w.u16(SHORT_ATTRIBUTE | KEY_LENGTH);
        w.u16(key_length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::registry::EncrId;
    use proptest::prelude::*;

    fn decode(octets: &[u8]) -> Result<SecurityAssociation, DecodeError> {
        let mut r = Reader::new(Part::Payload(PayloadType::SA), octets);
        let sa = SecurityAssociation::decode(&mut r)?;
        r.finish()?;
        Ok(sa)
    }

    fn encoded(proposals: &[Proposal]) -> Vec<u8> {
        let mut w = Writer::new();
        encode(proposals, &mut w);
        w.into_octets()
    }

    /// ESP, SPI 0xc0ffee01: AES-GCM-16 with 256 bits, no ESN.
    #[rustfmt::skip]
    const GOLDEN: &[u8] = &[
        0, 0, 0, 32,  1, 3, 4, 2,  0xc0, 0xff, 0xee, 0x01,
        3, 0, 0, 12,  1, 0, 0, 20,  0x80, 14, 1, 0,
        0, 0, 0, 8,   5, 0, 0, 0,
    ];

    #[test]
    fn the_golden_proposal_is_read_and_written() {
        let proposal = Proposal {
            number: 1,
            protocol: ProtocolId::ESP,
            spi: vec![0xc0, 0xff, 0xee, 0x01],
            transforms: vec![
                Transform { kind: TransformType::ENCR, id: EncrId::AES_GCM_16.0, key_length: Some(256) },
                Transform { kind: TransformType::ESN, id: 0, key_length: None },
            ],
        };
        let proposals = [proposal];
        assert_eq!(decode(GOLDEN).unwrap().proposals, proposals);
        assert_eq!(encoded(&proposals), GOLDEN);
    }

    /// Two ENCR transforms, the first with the given attribute, and ESN.
    fn with_attribute(attribute: &[u8], has_other: bool) -> Vec<u8> {
        let mut w = Writer::new();
        w.structure(2, |w| {
            w.bytes(&[0, 0, 0, 0, 1, 3, 4, if has_other { 3 } else { 2 }, 0, 0, 1, 0]);
            w.structure(2, |w| {
                w.bytes(&[3, 0, 0, 0, 1, 0, 0, 12]);
                w.bytes(attribute);
            });
            if has_other {
                w.bytes(&[3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 0, 128]);
            }
            w.bytes(&[0, 0, 0, 8, 5, 0, 0, 0]);
        });
        w.into_octets()
    }

    #[test]
    fn a_transform_with_an_unknown_attribute_is_passed_over() {
        let unknown: &[&[u8]] = &[
            &[0x80, 99, 0, 1],                   // short, unknown type
            &[0, 99, 0, 3, 1, 2, 3],             // long, unknown type
            &[0, 14, 0, 2, 1, 0],                // Key Length, but long
            &[0x80, 14, 0, 128, 0x80, 14, 1, 0], // Key Length, twice
        ];
        for attribute in unknown {
            let sa = decode(&with_attribute(attribute, true)).unwrap();
            let ids: Vec<u16> = sa.proposals[0].transforms.iter().map(|t| t.id).collect();
            assert_eq!(ids, [20, 0], "{attribute:?}");
            let sa = decode(&with_attribute(attribute, false)).unwrap();
            assert!(sa.proposals.is_empty(), "no cipher is left to choose: {attribute:?}");
        }
        let sa = decode(&with_attribute(&[0x80, 14, 0, 128], true)).unwrap();
        assert_eq!(sa.proposals[0].transforms.len(), 3);
    }

    #[test]
    fn counts_and_sizes_that_do_not_agree_are_refused() {
        let cases: &[(usize, u8, &str)] = &[
            (0, 1, "Proposal in the SA payload has Last Substruc 1 before octet 1, expected 0 or 2"),
            (0, 2, "Proposal in the SA payload is cut off at octet 32 (1 needed, 0 left)"),
            (3, 31, "Transform in the SA payload is cut off at octet 28 (4 needed, 3 left)"),
            (3, 3, "Proposal in the SA payload has length 3 before octet 4, expected at least 4"),
            (6, 8, "Proposal in the SA payload has SPI Size 8 before octet 7, expected 4"),
            (
                7,
                1,
                "Proposal in the SA payload has Num Transforms 1 before octet 24, \
                 expected as many as the transforms say themselves",
            ),
            (7, 0, "Proposal in the SA payload goes on where it should end, at octet 12 (20 left)"),
            (
                12,
                0,
                "Proposal in the SA payload has Num Transforms 2 before octet 24, \
                 expected as many as the transforms say themselves",
            ),
            (15, 13, "Transform Attribute in the SA payload is cut off at octet 24 (2 needed, 1 left)"),
        ];
        for &(position, value, sentence) in cases {
            let mut octets = GOLDEN.to_vec();
            octets[position] = value;
            assert_eq!(decode(&octets).err().map(|e| e.to_string()).as_deref(), Some(sentence));
        }
    }

    #[test]
    fn more_proposals_than_can_be_numbered_are_refused() {
        let one = [2, 0, 0, 8, 1, 1, 0, 0];
        assert!(matches!(
            decode(&one.repeat(256)),
            Err(DecodeError::Malformed { fault: Fault::TooMany { limit: 255, .. }, .. })
        ));
    }

    fn transforms() -> impl Strategy<Value = Vec<Transform>> {
        prop::collection::vec(
            (any::<u8>(), any::<u16>(), any::<Option<u16>>()).prop_map(|(kind, id, key_length)| Transform {
                kind: TransformType(kind),
                id,
                key_length,
            }),
            0..20,
        )
    }

    fn proposals() -> impl Strategy<Value = Vec<Proposal>> {
        let spi = prop_oneof![
            Just((ProtocolId::IKE, vec![])),
            any::<[u8; 8]>().prop_map(|spi| (ProtocolId::IKE, spi.to_vec())),
            any::<[u8; 4]>().prop_map(|spi| (ProtocolId::ESP, spi.to_vec())),
            (4u8.., prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(p, spi)| (ProtocolId(p), spi)),
        ];
        let proposal = (any::<u8>(), spi, transforms())
            .prop_map(|(number, (protocol, spi), transforms)| Proposal { number, protocol, spi, transforms });
        prop::collection::vec(proposal, 0..5)
    }

    proptest! {
        #[test]
        fn round_trip(proposals in proposals()) {
            prop_assert_eq!(decode(&encoded(&proposals)).unwrap().proposals, proposals);
        }

        #[test]
        fn any_octets_decode_or_fail(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(sa) = decode(&octets) {
                prop_assert!(decode(&encoded(&sa.proposals)).is_ok());
            }
        }
    }
}
