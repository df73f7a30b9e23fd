//! A whole message as it comes in a datagram.

use std::fmt;

use super::codec::{DecodeError, Part, Reader};
use super::header::Header;
use super::payloads::{Payload, Payloads, walk};

/// A message as it came: the header, and the payloads that can be read without a key.
///
/// Nothing of it is verified. Of a message with an encrypted payload, only what is inside counts once it has been
/// opened; payloads beside it say nothing.
#[derive(Clone)]
pub struct Message<'a> {
    /// The header.
    pub header: Header,
    /// The whole message: what AUTH signs of the first two, and what the integrity checksum covers of the others.
    pub octets: &'a [u8],
    /// The payloads behind the header.
    pub payloads: Payloads<'a>,
}

/// Decodes a datagram, without the four zero octets it begins with on port 4500.
///
/// Fails if the header does not describe this datagram, and where
/// [`decode_payloads`](super::decode_payloads) fails. Offsets in errors count from the beginning of the datagram.
pub fn decode(datagram: &[u8]) -> Result<Message<'_>, DecodeError> {
    let header = Header::decode(datagram)?;
    let mut r = Reader::new(Part::Header, datagram);
    r.skip(Header::LEN)?;
    let payloads = walk(header.next_payload, &mut r)?;
    Ok(Message { header, octets: datagram, payloads })
}

impl<'a> Message<'a> {
    /// What comes before the initialization vector of the encrypted payload, if there is one: the associated data
    /// of an AEAD (RFC 5282 §5.1, RFC 7383 §2.5).
    #[must_use]
    pub fn associated_data(&self) -> Option<&'a [u8]> {
        let body_len = match self.payloads.iter().last()? {
            Payload::Encrypted(encrypted) => encrypted.body.len(),
            Payload::EncryptedFragment(fragment) => fragment.body.len(),
            _ => return None, // an encrypted payload is always the last
        };
        self.octets.get(..self.octets.len().checked_sub(body_len)?)
    }
}

/// The RFC's notation, without the contents: `HDR(IKE_AUTH request 1), SK`.
impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { exchange, message_id, flags, .. } = self.header;
        let direction = if flags.response { "response" } else { "request" };
        write!(f, "HDR({exchange} {direction} {message_id})")?;
        if self.payloads.is_empty() { Ok(()) } else { write!(f, ", {}", self.payloads) }
    }
}

/// As `Display`: messages hold what must not get into logs.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    //! The datagrams are of a strongSwan 5.9.8 road warrior with its default proposals and a pre-shared key, asking
    //! for virtual addresses of both families, and of the strongSwan gateway that answered.

    use super::*;
    use crate::wire::build::{PayloadWriter, build};
    use crate::wire::codec::Fault;
    use crate::wire::registry::{
        AuthMethod, CfgAttributeType, CfgType, ExchangeType, KeMethod, NotifyType, PayloadType, ProtocolId,
        TransformType,
    };
    use crate::wire::{decode_payloads, rules};

    const INIT_REQUEST: &[u8] = include_bytes!("captures/ike_sa_init_request.bin");
    const INIT_RESPONSE: &[u8] = include_bytes!("captures/ike_sa_init_response.bin");
    const AUTH_REQUEST: &[u8] = include_bytes!("captures/ike_auth_request.bin");
    const AUTH_RESPONSE: &[u8] = include_bytes!("captures/ike_auth_response.bin");
    const AUTH_REQUEST_PLAINTEXT: &[u8] = include_bytes!("captures/ike_auth_request_plaintext.bin");
    const AUTH_RESPONSE_PLAINTEXT: &[u8] = include_bytes!("captures/ike_auth_response_plaintext.bin");

    #[test]
    fn the_first_message_of_strongswan_is_understood() {
        let message = decode(INIT_REQUEST).unwrap();
        assert_eq!(message.header.exchange, ExchangeType::IKE_SA_INIT);
        assert!(message.header.flags.initiator && !message.header.flags.response);
        assert!(message.header.spi_r.is_zero());
        assert_eq!(
            message.payloads.to_string(),
            "SA, KE, No, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), \
             N(IKEV2_FRAGMENTATION_SUPPORTED), N(SIGNATURE_HASH_ALGORITHMS), N(REDIRECT_SUPPORTED)"
        );
        assert_eq!(rules::check(ExchangeType::IKE_SA_INIT, false, &message.payloads), Ok(()));

        let [classic, aead] = &message.payloads.sa().unwrap().proposals[..] else {
            panic!("a proposal with and one without combined modes");
        };
        assert_eq!((classic.number, classic.protocol, classic.spi.len()), (1, ProtocolId::IKE, 0));
        let of = |kind| classic.transforms.iter().filter(move |t| t.kind == kind);
        assert_eq!(of(TransformType::ENCR).next().map(|t| (t.id, t.key_length)), Some((12, Some(128))));
        assert_eq!(of(TransformType::KE).next().map(|t| KeMethod(t.id)), Some(KeMethod::CURVE_25519));
        assert!(aead.transforms.iter().all(|t| t.kind != TransformType::INTEG));

        let ke = message.payloads.ke().unwrap();
        assert_eq!((ke.method, ke.data.len()), (KeMethod::CURVE_25519, 32));
        assert_eq!(message.payloads.nonce().map(<[u8]>::len), Some(32));
        assert_eq!(message.associated_data(), None);
    }

    #[test]
    fn the_encrypted_messages_of_strongswan_are_framed_as_we_frame() {
        for (octets, first) in [(AUTH_REQUEST, PayloadType::ID_I), (AUTH_RESPONSE, PayloadType::ID_R)] {
            let message = decode(octets).unwrap();
            let encrypted = message.payloads.encrypted().unwrap();
            assert_eq!(encrypted.first, first);
            let direction = if message.header.flags.response { "response" } else { "request" };
            assert_eq!(message.to_string(), format!("HDR(IKE_AUTH {direction} 1), SK"));
            let mut ours =
                crate::wire::sk::frame(message.header.fields(), encrypted.first, encrypted.body.len());
            assert_eq!(message.associated_data(), Some(&ours[..]));
            ours.extend_from_slice(encrypted.body);
            assert_eq!(ours, octets);
        }
    }

    #[test]
    fn the_authentication_of_strongswan_is_understood() {
        let request = decode_payloads(PayloadType::ID_I, AUTH_REQUEST_PLAINTEXT).unwrap();
        assert_eq!(rules::check(ExchangeType::IKE_AUTH, false, &request), Ok(()));
        assert_eq!(request.id_i().unwrap().data, b"left.test");
        assert_eq!(request.auth().unwrap().method, AuthMethod::SHARED_KEY);
        assert_eq!(request.cp().unwrap().cfg_type, CfgType::REQUEST);
        assert_eq!(request.ts_i().map(<[_]>::len), Some(2));
        assert!(request.notify(NotifyType::MOBIKE_SUPPORTED).is_some());

        let response = decode_payloads(PayloadType::ID_R, AUTH_RESPONSE_PLAINTEXT).unwrap();
        assert_eq!(rules::check(ExchangeType::IKE_AUTH, true, &response), Ok(()));
        let address = response.cp().unwrap().values(CfgAttributeType::INTERNAL_IP4_ADDRESS).next();
        assert_eq!(address, Some(&[10, 9, 0, 1][..]));
        assert_eq!(response.sa().unwrap().proposals[0].protocol, ProtocolId::ESP);
    }

    #[test]
    fn written_again_they_are_the_same_octets() {
        for octets in [INIT_REQUEST, INIT_RESPONSE, AUTH_REQUEST, AUTH_RESPONSE] {
            let message = decode(octets).unwrap();
            let mut w = PayloadWriter::new();
            for payload in &message.payloads {
                w.payload(payload);
            }
            assert_eq!(build(message.header.fields(), &w), octets);
        }
        for (first, octets) in
            [(PayloadType::ID_I, AUTH_REQUEST_PLAINTEXT), (PayloadType::ID_R, AUTH_RESPONSE_PLAINTEXT)]
        {
            let mut w = PayloadWriter::new();
            for payload in &decode_payloads(first, octets).unwrap() {
                w.payload(payload);
            }
            assert_eq!((w.first(), w.octets()), (first, octets));
        }
    }

    #[test]
    fn a_datagram_cut_off_anywhere_is_refused() {
        for length in 0..INIT_REQUEST.len() {
            // As it comes, and with a header that admits to the loss.
            let mut cut = INIT_REQUEST[..length].to_vec();
            assert!(decode(&cut).is_err());
            if let Some(field) = cut.get_mut(24..28) {
                field.copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                let error = decode(&cut).unwrap_err();
                assert!(
                    matches!(error, DecodeError::Malformed { offset, .. } if offset <= length),
                    "{length} octets: {error}"
                );
            }
        }
    }

    #[test]
    fn offsets_count_from_the_beginning_of_the_datagram() {
        let mut octets = INIT_REQUEST.to_vec();
        octets[28 + 4 + 6] = 3; // SPI Size of the first proposal
        let error = decode(&octets).unwrap_err();
        assert!(
            matches!(error, DecodeError::Malformed { offset: 39, fault: Fault::Value { value: 3, .. }, .. }),
            "{error}"
        );
    }
}
