//! The decoder of IKE messages.

use ferry_ike::wire::registry::{ExchangeType, PayloadType};
use ferry_ike::wire::{self, DecodeError, PayloadWriter, Payloads, rules};

/// Takes the octets for a datagram, and then for a type of payload and the chain that begins with it, as an SK
/// payload contains it.
///
/// What can be decoded must come through writing and decoding again: the second time nothing changes any more. The
/// first time may change something, since reserved octets, selectors of unknown types and proposals nobody can
/// accept are not kept.
pub fn ike_message(data: &[u8]) {
    match wire::decode(data) {
        Ok(message) => {
            let written = wire::build(message.header.fields(), &written(&message.payloads));
            let again = decoded(wire::decode(&written));
            assert_eq!(again.header.fields(), message.header.fields());
            assert_eq!(again.payloads.to_string(), message.payloads.to_string());
            if let Some(associated_data) = message.associated_data() {
                assert!(data.starts_with(associated_data), "associated data is the beginning of the message");
            }
        }
        Err(error) => explain(error, data.len()),
    }

    let Some((first, chain)) = data.split_first() else { return };
    match wire::decode_payloads(PayloadType(*first), chain) {
        Ok(payloads) => {
            check_rules(&payloads);
            let once = written(&payloads);
            let twice = written(&decoded(wire::decode_payloads(once.first(), once.octets())));
            assert_eq!(once.first(), twice.first());
            assert!(once.octets() == twice.octets(), "writing what was written changes it");
        }
        Err(error) => explain(error, chain.len()),
    }
}

fn written(payloads: &Payloads<'_>) -> PayloadWriter {
    let mut writer = PayloadWriter::new();
    for payload in payloads {
        writer.payload(payload);
    }
    writer
}

fn decoded<T>(result: Result<T, DecodeError>) -> T {
    result.unwrap_or_else(|error| unreachable!("what we write can be decoded: {error}"))
}

/// Every message passes the rules of its exchange or breaks one that can be named.
fn check_rules(payloads: &Payloads<'_>) {
    for exchange in 33..=45 {
        for is_response in [false, true] {
            if let Err(error) = rules::check(ExchangeType(exchange), is_response, payloads) {
                explain(error, 0);
            }
        }
    }
}

/// The sentence for the log is short and points into the octets.
fn explain(error: DecodeError, length: usize) {
    assert!(error.to_string().len() < 200, "{error}");
    if let DecodeError::Malformed { offset, .. } = error {
        assert!(offset <= length, "{error}");
    }
}
