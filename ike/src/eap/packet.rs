//! EAP packets to send (RFC 3748 §4).

use crate::wire::registry::{EapCode, EapType};

/// Octets in front of the data of a request or a response.
pub(super) const HEADER_LEN: usize = 5;

/// A request or a response with this data.
pub(super) fn with_data(code: EapCode, identifier: u8, eap_type: EapType, data: &[u8]) -> Vec<u8> {
    let mut packet = header(code, identifier, eap_type, data.len()).to_vec();
    packet.extend_from_slice(data);
    packet
}

/// What stands in front of so many octets of data. Methods that protect the header need it before it is sent.
pub(super) fn header(code: EapCode, identifier: u8, eap_type: EapType, data_len: usize) -> [u8; HEADER_LEN] {
    // Names and passwords are bounded where they enter, far below what the field can say.
    let [high, low] = u16::try_from(HEADER_LEN + data_len).unwrap_or(u16::MAX).to_be_bytes();
    [code.0, identifier, high, low, eap_type.0]
}

/// Success or failure.
pub(super) fn result(code: EapCode, identifier: u8) -> Vec<u8> {
    vec![code.0, identifier, 0, 4]
}
