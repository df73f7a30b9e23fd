//! Extensible Authentication payload (RFC 7296 §3.16), and the frame of the EAP packet in it (RFC 3748 §4).

use super::codec::{DecodeError, Expected, Part, Reader, Writer};
use super::registry::{EapCode, EapType, PayloadType};

/// EAP payload (RFC 7296 §3.16): one EAP packet.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     Code      | Identifier    |           Length              |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     Type      | Type_Data...
/// +-+-+-+-+-+-+-+-+-+-
/// ```
///
/// Requests and responses have a type; success and failure end after the length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Eap<'a> {
    code: EapCode,
    identifier: u8,
    octets: &'a [u8],
}

impl<'a> Eap<'a> {
    /// Reads the body of the payload: code, identifier, and a length that is the packet's and the payload's.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let octets = r.clone().rest();
        let code = EapCode(r.u8()?);
        let identifier = r.u8()?;
        let length = r.u16()?;
        if usize::from(length) != octets.len() {
            let expected = u64::try_from(octets.len()).unwrap_or(u64::MAX);
            return Err(r.unexpected("EAP Length", length.into(), Expected::Exactly(expected)));
        }
        match code {
            EapCode::REQUEST | EapCode::RESPONSE => r.skip(1)?, // the type must be there
            EapCode::SUCCESS | EapCode::FAILURE => r.finish()?,
            EapCode(unknown) => {
                return Err(r.unexpected("EAP Code", unknown.into(), Expected::Between(1, 4)));
            }
        }
        r.rest();
        Ok(Self { code, identifier, octets })
    }

    /// Reads a packet that stands for itself.
    ///
    /// # Errors
    /// If it is none, or not all of one.
    pub fn of(octets: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(Part::Payload(PayloadType::EAP), octets);
        let eap = Self::decode(&mut r)?;
        r.finish()?;
        Ok(eap)
    }

    /// Writes the body of the payload.
    pub fn encode(&self, w: &mut Writer) {
        w.bytes(self.octets);
    }

    /// What the packet is.
    #[must_use]
    pub const fn code(&self) -> EapCode {
        self.code
    }

    /// Pairs a response with its request.
    #[must_use]
    pub const fn identifier(&self) -> u8 {
        self.identifier
    }

    /// The method, or one of the types before methods; `None` for success and failure.
    #[must_use]
    pub fn eap_type(&self) -> Option<EapType> {
        self.octets.get(4).copied().map(EapType)
    }

    /// What the method says; empty for success and failure.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.octets.get(5..).unwrap_or_default()
    }

    /// The whole packet.
    #[must_use]
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_type_and_data() {
        let eap = Eap::of(&[1, 7, 0, 8, 4, b'a', b'b', b'c']).unwrap();
        assert_eq!((eap.code(), eap.identifier(), eap.eap_type()), (EapCode::REQUEST, 7, Some(EapType::MD5)));
        assert_eq!(eap.data(), b"abc");
        assert_eq!(eap.octets().len(), 8);
    }

    #[test]
    fn success_has_neither() {
        let eap = Eap::of(&[3, 7, 0, 4]).unwrap();
        assert_eq!((eap.code(), eap.eap_type(), eap.data()), (EapCode::SUCCESS, None, &[][..]));
    }

    #[test]
    fn what_is_no_eap_packet_is_refused() {
        let cases: &[&[u8]] = &[
            &[],
            &[1, 7, 0, 4],          // a request without a type
            &[3, 7, 0, 5, 1],       // a success with one
            &[1, 7, 0, 6, 4],       // longer than the payload
            &[1, 7, 0, 5, 4, b'x'], // shorter than the payload
            &[0, 7, 0, 4],
            &[5, 7, 0, 5, 1],
        ];
        for octets in cases {
            assert!(Eap::of(octets).is_err(), "{octets:?}");
        }
    }
}
