//! Who has written a packet (RFC 2865 §3, RFC 2866 §3, RFC 3579 §3.2, RFC 5176 §2.3 and §3.4).
//!
//! MD5 alone does not prove it: whoever stands between client and server can turn an Access-Reject into an Access-Accept
//! of their own (Blast-RADIUS, CVE-2024-3596). So where EAP is spoken, every response must have a Message-Authenticator,
//! which is HMAC-MD5, and it must be right.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::packet::Packet;
use crate::registry::AttributeType;

/// Octets of a Message-Authenticator.
pub(crate) const MESSAGE_AUTHENTICATOR_LEN: usize = 16;

/// Why a packet is not believed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Forged {
    /// The authenticator in its header is not what the secret makes of it.
    #[error("its authenticator is wrong: another secret, or forged")]
    Authenticator,
    /// There is none where there must be one.
    #[error("it has no Message-Authenticator, without which it may be forged")]
    Unprotected,
    /// The Message-Authenticator is not what the secret makes of it.
    #[error("its Message-Authenticator is wrong: another secret, or forged")]
    MessageAuthenticator,
    /// There are several, or one of another length.
    #[error("its Message-Authenticator is not one of 16 octets")]
    Malformed,
}

/// Whether there must be a Message-Authenticator.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    Required,
    IfThere,
}

/// An Access-Request: its Message-Authenticator (RFC 3579 §3.2).
///
/// # Errors
/// If it was not written by who has the secret.
pub fn verify_access_request(packet: &Packet<'_>, secret: &[u8]) -> Result<(), Forged> {
    message_authenticator(packet, packet.authenticator(), secret, Protection::Required)
}

/// An Access-Accept, -Reject or -Challenge, to a request with this authenticator.
///
/// # Errors
/// If it was not written by who has the secret, as a response to that request.
pub fn verify_access_response(packet: &Packet<'_>, request: &[u8; 16], secret: &[u8]) -> Result<(), Forged> {
    response_authenticator(packet, request, secret)?;
    message_authenticator(packet, request, secret, Protection::Required)
}

/// An Accounting-Response, or the answer to a Disconnect-Request or CoA-Request, to a request with this authenticator.
///
/// # Errors
/// If it was not written by who has the secret, as a response to that request.
pub fn verify_response(packet: &Packet<'_>, request: &[u8; 16], secret: &[u8]) -> Result<(), Forged> {
    response_authenticator(packet, request, secret)?;
    message_authenticator(packet, request, secret, Protection::IfThere)
}

/// An Accounting-Request, Disconnect-Request or CoA-Request, whose authenticator is over itself.
///
/// # Errors
/// If it was not written by who has the secret.
pub fn verify_signed_request(packet: &Packet<'_>, secret: &[u8]) -> Result<(), Forged> {
    response_authenticator(packet, &[0; 16], secret)?;
    // RFC 5176 §3.4: it is made while the field is zero.
    message_authenticator(packet, &[0; 16], secret, Protection::IfThere)
}

/// MD5(Code | Identifier | Length | authenticator | Attributes | Secret).
fn response_authenticator(packet: &Packet<'_>, request: &[u8; 16], secret: &[u8]) -> Result<(), Forged> {
    let (header, rest) = split(packet);
    let expected = digest(&[header, request, rest, secret]);
    let is_right: bool = expected.ct_eq(packet.authenticator()).into();
    if is_right { Ok(()) } else { Err(Forged::Authenticator) }
}

/// HMAC-MD5 over the packet with this authenticator, and zeros in its own place.
fn message_authenticator(
    packet: &Packet<'_>,
    authenticator: &[u8; 16],
    secret: &[u8],
    protection: Protection,
) -> Result<(), Forged> {
    let mut all = packet.positions().filter(|(_, kind, _)| *kind == AttributeType::MESSAGE_AUTHENTICATOR);
    let (at, said) = match (all.next(), all.next()) {
        (None, _) if protection == Protection::IfThere => return Ok(()),
        (None, _) => return Err(Forged::Unprotected),
        (Some((at, _, said)), None) if said.len() == MESSAGE_AUTHENTICATOR_LEN => (at, said),
        (Some(_), _) => return Err(Forged::Malformed),
    };
    let octets = packet.octets();
    let (header, _) = split(packet);
    let before = octets.get(20..at).unwrap_or_default();
    let after = octets.get(at + MESSAGE_AUTHENTICATOR_LEN..).unwrap_or_default();
    let expected =
        keyed_digest(secret, &[header, authenticator, before, &[0; MESSAGE_AUTHENTICATOR_LEN], after]);
    let is_right: bool = expected.ct_eq(said).into();
    if is_right { Ok(()) } else { Err(Forged::MessageAuthenticator) }
}

/// What stands before the authenticator, and after it.
fn split<'a>(packet: &Packet<'a>) -> (&'a [u8], &'a [u8]) {
    let octets = packet.octets();
    (octets.get(..4).unwrap_or_default(), octets.get(20..).unwrap_or_default())
}

/// MD5 over parts.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    md5.finalize().into()
}

/// HMAC-MD5 over parts.
pub(crate) fn keyed_digest(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // HMAC takes keys of any length; the type does not know that.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else { return [0; 16] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::Draft;
    use crate::registry::Code;

    const SECRET: &[u8] = b"xyzzy5461";

    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
    }

    /// RFC 2865 §7.1: the answer of the server to a Telnet user's Access-Request.
    #[test]
    fn the_sample_of_rfc_2865() {
        let request = octets("0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a").try_into().unwrap();
        let response = octets(
            "02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf 9b 55 e0 b2
             06 06 00 00 00 01 0f 06 00 00 00 00 0e 06 c0 a8 01 03",
        );
        let packet = Packet::decode(&response).unwrap();
        assert_eq!(verify_response(&packet, &request, SECRET), Ok(()));
        assert_eq!(verify_response(&packet, &request, b"xyzzy5462"), Err(Forged::Authenticator));
        // It carries no EAP, and would not do if it did.
        assert_eq!(verify_access_response(&packet, &request, SECRET), Err(Forged::Unprotected));
    }

    fn challenge() -> (Vec<u8>, Vec<u8>) {
        let mut draft = Draft::new(Code::ACCESS_REQUEST);
        draft.add(AttributeType::USER_NAME, b"alice");
        let request = draft.into_request(3, &[0x42; 16], SECRET).unwrap();
        let mut draft = Draft::new(Code::ACCESS_CHALLENGE);
        draft.add(AttributeType::STATE, b"1");
        draft.add_eap(&[1, 2, 0, 6, 4, 0]);
        let response = draft.into_response(&Packet::decode(&request).unwrap(), SECRET).unwrap();
        (request.to_vec(), response.to_vec())
    }

    #[test]
    fn every_octet_counts() {
        let (request, response) = challenge();
        let authenticator = *Packet::decode(&request).unwrap().authenticator();
        for at in 0..response.len() {
            let mut forged = response.clone();
            forged[at] ^= 1;
            if let Ok(packet) = Packet::decode(&forged) {
                assert!(verify_access_response(&packet, &authenticator, SECRET).is_err(), "octet {at}");
            }
        }
        for at in 0..request.len() {
            let mut forged = request.clone();
            forged[at] ^= 1;
            if let Ok(packet) = Packet::decode(&forged) {
                assert!(verify_access_request(&packet, SECRET).is_err(), "octet {at}");
            }
        }
    }

    /// A response is for its own request alone, though identifiers come again.
    #[test]
    fn a_response_to_another_request_is_none() {
        let (_, response) = challenge();
        let packet = Packet::decode(&response).unwrap();
        assert_eq!(verify_access_response(&packet, &[0x43; 16], SECRET), Err(Forged::Authenticator));
    }

    /// The class of CVE-2024-3596, Blast-RADIUS: whoever can make the MD5 right still has no Message-Authenticator.
    #[test]
    fn cve_class_radius_response_without_message_authenticator() {
        let (request, _) = challenge();
        let request = Packet::decode(&request).unwrap();
        let mut forged = [&[2, 3, 0, 26][..], request.authenticator(), &[79, 6, 3, 2, 0, 4]].concat();
        let authenticator = digest(&[&forged, SECRET]);
        forged[4..20].copy_from_slice(&authenticator);
        let packet = Packet::decode(&forged).unwrap();
        assert_eq!(verify_response(&packet, request.authenticator(), SECRET), Ok(()));
        let verdict = verify_access_response(&packet, request.authenticator(), SECRET);
        assert_eq!(verdict, Err(Forged::Unprotected));
    }

    #[test]
    fn one_message_authenticator_of_its_length_and_no_other() {
        for attributes in [&[80, 17][..], &[80, 2]] {
            let mut octets = [&[1, 1, 0, 0][..], &[0; 16], attributes].concat();
            octets.resize(20 + usize::from(attributes[1]), 0);
            octets[3] = u8::try_from(octets.len()).unwrap();
            let packet = Packet::decode(&octets).unwrap();
            assert_eq!(verify_access_request(&packet, SECRET), Err(Forged::Malformed));
        }
        let twice = [&[1, 1, 0, 56][..], &[0; 16], &[80, 18], &[0; 16], &[80, 18], &[0; 16]].concat();
        let packet = Packet::decode(&twice).unwrap();
        assert_eq!(verify_access_request(&packet, SECRET), Err(Forged::Malformed));
    }

    #[test]
    fn signed_requests_prove_themselves() {
        for (code, is_protected) in [(Code::ACCOUNTING_REQUEST, false), (Code::DISCONNECT_REQUEST, true)] {
            let mut draft = Draft::new(code);
            draft.add(AttributeType::USER_NAME, b"alice");
            let request = draft.into_signed_request(9, SECRET).unwrap();
            let packet = Packet::decode(&request).unwrap();
            assert_eq!(verify_signed_request(&packet, SECRET), Ok(()));
            assert_eq!(verify_signed_request(&packet, b"another"), Err(Forged::Authenticator));
            let is_there = packet.get(AttributeType::MESSAGE_AUTHENTICATOR).is_some();
            assert_eq!(is_there, is_protected, "{code}");
        }
    }
}
