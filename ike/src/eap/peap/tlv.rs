//! The EAP Extensions method (draft-hiller-eap-tlv, [MS-PEAP] §2.2.8): how the tunnel ended, as a packet with its header.
//!
//! ```text
//! Code | Identifier | Length (2) | 33 | M R TLV Type=3 (2) | Length=2 (2) | Status (2)
//! ```

use crate::eap::packet::with_data;
use crate::wire::registry::{EapCode, EapType};

/// Type of the packet.
const EXTENSIONS: EapType = EapType(33);

const MANDATORY: u16 = 0x8000;
const TYPE: u16 = 0x3fff;

/// The Result TLV.
const RESULT: u16 = 3;

/// Status of a Result TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::eap) struct Outcome(u16);

impl Outcome {
    pub(in crate::eap) const SUCCESS: Self = Self(1);
    pub(in crate::eap) const FAILURE: Self = Self(2);
}

/// A packet that says how it ended.
pub(in crate::eap) fn result_tlv(code: EapCode, identifier: u8, outcome: Outcome) -> Vec<u8> {
    let mut data = (MANDATORY | RESULT).to_be_bytes().to_vec();
    data.extend_from_slice(&2_u16.to_be_bytes());
    data.extend_from_slice(&outcome.0.to_be_bytes());
    with_data(code, identifier, EXTENSIONS, &data)
}

/// True if a request is one of these, with its header, and not a type and data as others are.
pub(in crate::eap) fn is_extension(packet: &[u8]) -> bool {
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes();
    matches!(packet, [code, _, high, low, kind, ..]
        if [*high, *low] == length && *kind == EXTENSIONS.0 && *code == EapCode::REQUEST.0)
}

/// What a packet says of the end; `None` if it says nothing of it, or something that must be understood and is not.
pub(in crate::eap) fn outcome(packet: &[u8], code: EapCode) -> Option<Outcome> {
    let eap = crate::wire::Eap::of(packet).ok()?;
    if eap.code() != code || eap.eap_type() != Some(EXTENSIONS) {
        return None;
    }
    let (mut octets, mut found) = (eap.data(), None);
    while !octets.is_empty() {
        let (kind, rest) = octets.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        octets = rest;
        let kind = u16::from_be_bytes(*kind);
        match (kind & TYPE, value) {
            (RESULT, [high, low]) if found.is_none() => {
                found = Some(Outcome(u16::from_be_bytes([*high, *low])));
            }
            (RESULT, _) => return None,
            _ if kind & MANDATORY != 0 => return None,
            _ => {} // cryptobinding, and what else is optional
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_read_as_it_was_written() {
        let packet = result_tlv(EapCode::REQUEST, 7, Outcome::SUCCESS);
        assert_eq!(packet, [1, 7, 0, 11, 33, 0x80, 3, 0, 2, 0, 1]);
        assert!(is_extension(&packet));
        assert_eq!(outcome(&packet, EapCode::REQUEST), Some(Outcome::SUCCESS));
        assert_eq!(outcome(&packet, EapCode::RESPONSE), None);
        let packet = result_tlv(EapCode::RESPONSE, 7, Outcome::FAILURE);
        assert_eq!(outcome(&packet, EapCode::RESPONSE), Some(Outcome::FAILURE));
    }

    #[test]
    fn what_is_optional_is_passed_over() {
        let mut packet = vec![1, 7, 0, 17, 33, 0x80, 3, 0, 2, 0, 1, 0, 12, 0, 2, 9, 9];
        assert_eq!(outcome(&packet, EapCode::REQUEST), Some(Outcome::SUCCESS));
        packet[11] = 0x80;
        assert_eq!(outcome(&packet, EapCode::REQUEST), None);
    }

    #[test]
    fn lengths_that_are_wrong_are_refused() {
        let whole = [1, 7, 0, 11, 33, 0x80, 3, 0, 2, 0, 1];
        for length in 0..whole.len() {
            let mut part = whole[..length].to_vec();
            if let Some(field) = part.get_mut(3) {
                *field = u8::try_from(length).unwrap();
            }
            assert_eq!(outcome(&part, EapCode::REQUEST), None, "{length}");
        }
        for length in [0, 1, 3, 255] {
            let mut wrong = whole;
            wrong[8] = length;
            assert_eq!(outcome(&wrong, EapCode::REQUEST), None, "{length}");
        }
    }
}
