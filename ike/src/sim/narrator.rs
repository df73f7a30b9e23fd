//! Tells what goes over the wire the way RFC 7296 writes it: `HDR, SK {IDi, AUTH, SAi2, TSi, TSr}`.

use std::fmt::Write as _;
use std::time::Duration;

use crate::natt::{self, Encapsulated};
use crate::wire::registry::{ExchangeType, IkeSpi, NotifyType};
use crate::wire::{self, Header, Message, Payload, Payloads};

/// What happened so far, line by line.
#[derive(Default)]
pub(super) struct Narrator {
    transcript: String,
}

impl Narrator {
    /// Adds a line. `elapsed` is since the beginning of the world.
    pub(super) fn note(&mut self, elapsed: Duration, line: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.transcript, "{:10.3} {line}", elapsed.as_secs_f64());
    }

    pub(super) fn transcript(&self) -> &str {
        &self.transcript
    }
}

/// What a datagram says. `read` opens a protected message if anybody here can.
pub(super) fn describe(
    datagram: &[u8],
    has_marker: bool,
    read: impl FnOnce(&Message<'_>) -> Option<String>,
) -> String {
    let octets = match (has_marker, natt::classify(datagram)) {
        (false, _) => datagram,
        (true, Encapsulated::Ike(octets)) => octets,
        (true, Encapsulated::Keepalive) => return "NAT-keepalive".into(),
        (true, Encapsulated::Esp(_)) => return "ESP".into(),
        (true, Encapsulated::Malformed) => return format!("{} octets of nothing", datagram.len()),
    };
    let message = match wire::decode(octets) {
        Err(error) => return format!("{} octets: {error}", octets.len()),
        Ok(message) => message,
    };
    if let Some(fragment) = message.payloads.fragment() {
        return format!("HDR, SKF {} of {}", fragment.number, fragment.total);
    }
    match (message.payloads.encrypted().is_some(), read(&message)) {
        (true, Some(inside)) => format!("HDR, SK {{{inside}}}"),
        (true, None) => format!("HDR, SK {{{}?}}", message.header.exchange),
        (false, _) if message.payloads.is_empty() => "HDR".into(),
        (false, _) => format!("HDR, {}", payloads(&message.header, &message.payloads)),
    }
}

/// The payloads of a message by the RFC's names. The notifies of NAT detection become one. Those that only say which
/// extensions an end has are left out: they stand in every handshake, and what follows from them is what is told.
pub(super) fn payloads(header: &Header, payloads: &Payloads<'_>) -> String {
    let mut names: Vec<String> = Vec::new();
    for payload in payloads {
        if is_announcement(payload) {
            continue;
        }
        let name = name(header, payload);
        if name != NAT_DETECTION || names.last().is_none_or(|last| last != NAT_DETECTION) {
            names.push(name);
        }
    }
    names.join(", ")
}

fn is_announcement(payload: &Payload<'_>) -> bool {
    const ANNOUNCEMENTS: [NotifyType; 6] = [
        NotifyType::MOBIKE_SUPPORTED,
        NotifyType::REDIRECT_SUPPORTED,
        NotifyType::CHILDLESS_IKEV2_SUPPORTED,
        NotifyType::IKEV2_FRAGMENTATION_SUPPORTED,
        NotifyType::SIGNATURE_HASH_ALGORITHMS,
        NotifyType::MULTIPLE_AUTH_SUPPORTED,
    ];
    matches!(payload, Payload::Notify(notify) if ANNOUNCEMENTS.contains(&notify.kind))
}

const NAT_DETECTION: &str = "N(NAT_DETECTION_*)";

fn name(header: &Header, payload: &Payload<'_>) -> String {
    let end = if header.flags.response { "r" } else { "i" };
    match payload {
        Payload::Sa(_) => match header.exchange {
            ExchangeType::IKE_SA_INIT => format!("SA{end}1"),
            ExchangeType::IKE_AUTH => format!("SA{end}2"),
            _ => "SA".into(),
        },
        Payload::Ke(_) => format!("KE{end}"),
        Payload::Nonce(_) => format!("N{end}"),
        Payload::Notify(notify)
            if matches!(
                notify.kind,
                NotifyType::NAT_DETECTION_SOURCE_IP | NotifyType::NAT_DETECTION_DESTINATION_IP
            ) =>
        {
            NAT_DETECTION.into()
        }
        other => other.to_string(),
    }
}

/// The SPI of the receiver: what finds the SA that can open a message.
pub(super) fn receiver_spi(header: &Header) -> IkeSpi {
    if header.flags.initiator { header.spi_r } else { header.spi_i }
}
