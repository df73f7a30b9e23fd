//! RADIUS packets of anybody: read, verified, and searched for all that is looked for in them.

use ferry_radius::{AttributeType, Code, Draft, Packet, Vendor, authenticator, hidden};

const SECRET: &[u8] = b"secret";

/// Whatever the octets are, nothing panics; what parses can be written again as it is, and does not prove itself.
pub fn radius_packet(octets: &[u8]) {
    let Ok(packet) = Packet::decode(octets) else { return };
    let request = packet.authenticator();
    // Whether these octets prove themselves is not known here; only that it can be told.
    let _ = authenticator::verify_access_request(&packet, SECRET);
    let _ = authenticator::verify_access_response(&packet, &[7; 16], SECRET);
    let _ = authenticator::verify_response(&packet, &[7; 16], SECRET);
    let _ = authenticator::verify_signed_request(&packet, SECRET);
    drop(hidden::master_session_key(&packet, request, SECRET));
    for kind in 0..=u8::MAX {
        packet.vendor(Vendor::MICROSOFT, kind).for_each(drop);
    }
    let eap = packet.eap_message().unwrap_or_default();
    let _ = packet.number(AttributeType::SESSION_TIMEOUT);
    packet.ipv4(AttributeType::FRAMED_IP_ADDRESS).for_each(drop);
    packet.ipv6(AttributeType::FRAMED_IPV6_ADDRESS).for_each(drop);

    let mut draft = Draft::new(packet.code());
    for (kind, value) in packet.attributes().filter(|(kind, _)| *kind != AttributeType::MESSAGE_AUTHENTICATOR)
    {
        draft.add(kind, value);
    }
    let Ok(again) = draft.into_request(packet.identifier(), request, SECRET) else { return };
    let again = Packet::decode(&again).expect("what was written can be read");
    authenticator::verify_access_request(&again, SECRET).expect("what was written proves itself");
    assert_eq!(again.eap_message().unwrap_or_default(), eap, "EAP is as it was");

    // What answers it is believed, and by nobody who asked for something else.
    let response = Draft::new(Code::ACCESS_REJECT).into_response(&again, SECRET).expect("it is small");
    let response = Packet::decode(&response).expect("what was written can be read");
    authenticator::verify_access_response(&response, again.authenticator(), SECRET)
        .expect("it is the answer");
    assert!(
        authenticator::verify_access_response(&response, &[0xff; 16], SECRET).is_err()
            || request == &[0xff; 16]
    );
}
