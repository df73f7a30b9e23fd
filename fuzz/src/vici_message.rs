//! The decoders of VICI messages, packets and frames.

use ferry_vici::{Frames, Message, Packet, dump};

/// Takes the octets for a message, for a packet, and, cut into pieces of a length the first octet says, for a
/// stream of frames.
///
/// A message that can be decoded is written with the same octets again.
pub fn vici_message(data: &[u8]) {
    check_message(data);
    check_packet(data);
    let Some((piece, stream)) = data.split_first() else { return };
    let mut frames = Frames::new();
    for octets in stream.chunks(usize::from(*piece).max(1)) {
        frames.feed(octets);
        loop {
            match frames.take() {
                Ok(Some(frame)) => check_packet(&frame),
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return; // where a server closes the connection
                }
            }
        }
    }
}

fn check_message(octets: &[u8]) {
    match Message::decode(octets) {
        Ok(message) => {
            let written = message
                .encode()
                .unwrap_or_else(|error| unreachable!("what was read can be written: {error}"));
            assert_eq!(written.as_slice(), octets);
            assert!(dump::raw("message", &message).starts_with("message {"));
            assert!(dump::pretty("message", &message).starts_with("message {"));
        }
        Err(error) => assert!(error.to_string().len() < 1000, "{error}"),
    }
}

fn check_packet(frame: &[u8]) {
    if let Err(error) = Packet::decode(frame) {
        assert!(error.to_string().len() < 1000, "{error}");
    }
}
