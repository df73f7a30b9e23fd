//! A packet to send.

use std::net::IpAddr;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::authenticator::{MESSAGE_AUTHENTICATOR_LEN, digest, keyed_digest};
use crate::packet::{ATTRIBUTE_HEADER_LEN, HEADER_LEN, MAX_LEN, Packet};
use crate::registry::{AttributeType, Code, Vendor};

/// The most octets of an attribute's value (RFC 2865 §5).
pub const MAX_VALUE_LEN: usize = 253;

/// A packet would have more octets than one may have.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a RADIUS packet of {0} octets would be larger than {MAX_LEN}")]
pub struct TooLarge(pub usize);

/// A packet that is being written. It may hold keys: what it was written into is wiped.
pub struct Draft {
    code: Code,
    attributes: Zeroizing<Vec<u8>>,
}

impl Draft {
    /// A packet without attributes.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self { code, attributes: Zeroizing::default() }
    }

    /// What it is.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Adds an attribute. What does not fit into its value is cut off: who cannot bear that looks at
    /// [`MAX_VALUE_LEN`] first.
    pub fn add(&mut self, kind: AttributeType, value: &[u8]) {
        let value = value.get(..MAX_VALUE_LEN).unwrap_or(value);
        // At most 255, as has just been seen to.
        let length = u8::try_from(ATTRIBUTE_HEADER_LEN + value.len()).unwrap_or(u8::MAX);
        self.attributes.extend([kind.0, length]);
        self.attributes.extend_from_slice(value);
    }

    /// Adds a number.
    pub fn add_number(&mut self, kind: AttributeType, number: u32) {
        self.add(kind, &number.to_be_bytes());
    }

    /// Adds an address, as one type for IPv4 or another for IPv6.
    pub fn add_address(&mut self, v4: AttributeType, v6: AttributeType, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.add(v4, &address.octets()),
            IpAddr::V6(address) => self.add(v6, &address.octets()),
        }
    }

    /// Adds an attribute of a vendor's (RFC 2865 §5.26). What does not fit is cut off.
    pub fn add_vendor(&mut self, vendor: Vendor, kind: u8, value: &[u8]) {
        const MOST: usize = MAX_VALUE_LEN - 6;
        let value = value.get(..MOST).unwrap_or(value);
        let length = u8::try_from(ATTRIBUTE_HEADER_LEN + value.len()).unwrap_or(u8::MAX);
        let whole = Zeroizing::new([&vendor.0.to_be_bytes()[..], &[kind, length], value].concat());
        self.add(AttributeType::VENDOR_SPECIFIC, &whole);
    }

    /// Adds an EAP packet, in as many attributes as it takes (RFC 3579 §3.1). One without octets is EAP-Start
    /// (§2.1).
    pub fn add_eap(&mut self, packet: &[u8]) {
        if packet.is_empty() {
            self.add(AttributeType::EAP_MESSAGE, &[]);
        }
        for part in packet.chunks(MAX_VALUE_LEN) {
            self.add(AttributeType::EAP_MESSAGE, part);
        }
    }

    /// As a request whose authenticator is random, with a Message-Authenticator over all of it (RFC 3579 §3.2):
    /// Access-Request.
    ///
    /// # Errors
    /// If it is larger than a packet can be.
    pub fn into_request(
        self,
        identifier: u8,
        authenticator: &[u8; 16],
        secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TooLarge> {
        self.write(identifier, authenticator, secret, true)
    }

    /// As a request whose authenticator proves who has sent it (RFC 2866 §3): Accounting-Request, and with a
    /// Message-Authenticator Disconnect-Request and CoA-Request (RFC 5176 §2.3, §3.4).
    ///
    /// # Errors
    /// If it is larger than a packet can be.
    pub fn into_signed_request(self, identifier: u8, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, TooLarge> {
        let is_protected = self.code != Code::ACCOUNTING_REQUEST;
        let mut packet = self.write(identifier, &[0; 16], secret, is_protected)?;
        let authenticator = digest(&[&packet, secret]);
        put(&mut packet, 4, &authenticator);
        Ok(packet)
    }

    /// As the response to a request (RFC 2865 §3), with a Message-Authenticator unless it is about accounting.
    ///
    /// # Errors
    /// If it is larger than a packet can be.
    pub fn into_response(self, request: &Packet<'_>, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, TooLarge> {
        let is_protected = self.code != Code::ACCOUNTING_RESPONSE;
        let mut packet = self.write(request.identifier(), request.authenticator(), secret, is_protected)?;
        // The field has the request's authenticator for now, which is what is signed.
        let authenticator = digest(&[&packet, secret]);
        put(&mut packet, 4, &authenticator);
        Ok(packet)
    }

    /// The Message-Authenticator comes first, so that nothing that an attacker can choose stands before it.
    fn write(
        self,
        identifier: u8,
        authenticator: &[u8; 16],
        secret: &[u8],
        is_protected: bool,
    ) -> Result<Zeroizing<Vec<u8>>, TooLarge> {
        let protection = if is_protected { ATTRIBUTE_HEADER_LEN + MESSAGE_AUTHENTICATOR_LEN } else { 0 };
        let length = HEADER_LEN + protection + self.attributes.len();
        let field = u16::try_from(length).ok().filter(|_| length <= MAX_LEN).ok_or(TooLarge(length))?;
        let mut packet = Zeroizing::new(Vec::with_capacity(length));
        packet.extend([self.code.0, identifier]);
        packet.extend(field.to_be_bytes());
        packet.extend(authenticator);
        if is_protected {
            packet.extend([AttributeType::MESSAGE_AUTHENTICATOR.0, 18]);
            packet.extend([0; MESSAGE_AUTHENTICATOR_LEN]);
        }
        packet.extend_from_slice(&self.attributes);
        if is_protected {
            let proof = keyed_digest(secret, &[&packet]);
            put(&mut packet, HEADER_LEN + ATTRIBUTE_HEADER_LEN, &proof);
        }
        Ok(packet)
    }
}

/// Puts octets where others are.
fn put(packet: &mut [u8], at: usize, octets: &[u8]) {
    for (place, octet) in packet.iter_mut().skip(at).zip(octets) {
        *place = *octet;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_eap_packet_is_split_and_comes_back_whole() {
        let eap: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let mut draft = Draft::new(Code::ACCESS_REQUEST);
        draft.add_eap(&eap);
        let octets = draft.into_request(1, &[7; 16], b"secret").unwrap();
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!(packet.all(AttributeType::EAP_MESSAGE).count(), 4);
        assert_eq!(packet.eap_message().unwrap(), eap);
        let first = packet.attributes().next().unwrap().0;
        assert_eq!(first, AttributeType::MESSAGE_AUTHENTICATOR);
    }

    #[test]
    fn what_does_not_fit_into_a_packet_is_not_sent() {
        let mut draft = Draft::new(Code::ACCESS_REQUEST);
        draft.add_eap(&[0; 4100]);
        let error = draft.into_request(1, &[7; 16], b"secret").unwrap_err();
        assert!(error.to_string().ends_with("would be larger than 4096"));
    }

    #[test]
    fn values_are_read_as_they_were_written() {
        let mut draft = Draft::new(Code::ACCOUNTING_REQUEST);
        draft.add_number(AttributeType::SESSION_TIMEOUT, 3600);
        let (v4, v6) = (AttributeType::NAS_IP_ADDRESS, AttributeType::NAS_IPV6_ADDRESS);
        draft.add_address(v4, v6, "192.0.2.1".parse().unwrap());
        draft.add_address(v4, v6, "2001:db8::1".parse().unwrap());
        draft.add_vendor(Vendor::MICROSOFT, 28, &[10, 0, 0, 53]);
        draft.add(AttributeType::CLASS, &[b'x'; 300]);
        let octets = draft.into_signed_request(1, b"secret").unwrap();
        let packet = Packet::decode(&octets).unwrap();
        assert_eq!(packet.number(AttributeType::SESSION_TIMEOUT), Some(3600));
        assert_eq!(packet.ipv4(v4).next().unwrap().to_string(), "192.0.2.1");
        assert_eq!(packet.ipv6(v6).next().unwrap().to_string(), "2001:db8::1");
        assert_eq!(packet.vendor(Vendor::MICROSOFT, 28).next(), Some(&[10, 0, 0, 53][..]));
        assert_eq!(packet.get(AttributeType::CLASS).unwrap().len(), 253);
        assert_eq!(packet.get(AttributeType::MESSAGE_AUTHENTICATOR), None);
    }
}
