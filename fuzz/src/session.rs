//! A gateway past IKE_SA_INIT, talked to by somebody who holds the right keys and says anything under them.

use std::time::Duration;

use ferry_ike::sim::{Datagram, PSK, Puppet, World, gateway};
use ferry_ike::status::IkeSaState;
use ferry_ike::wire::PayloadWriter;
use ferry_ike::wire::registry::{ExchangeType, PayloadType};

/// The most messages of one session; what follows in the octets is not looked at.
const MOST_MESSAGES: usize = 32;

/// Takes the octets for what a peer does after IKE_SA_INIT: the first one tells whether it authenticates properly
/// before, and then come moves, each an octet that says which and what it needs.
///
/// Whatever it does, the gateway must not panic, must not ask its surroundings for what makes no sense, must answer a
/// request at most once, and must end with nothing left once the peer is silent.
pub fn session(data: &[u8]) {
    let Some((&opening, mut moves)) = data.split_first() else { return };
    let mut world = World::new(1);
    let dpd = Duration::from_secs(30);
    let gw = world.add(gateway().pool("10.3.0.0/24").pool("2001:db8:3::/120").dpd(dpd));
    world.be_silent();
    let mut puppet =
        Puppet::initiator("198.51.100.66:500", "192.0.2.1:500", "aes128gcm16-prfsha256-x25519", 1);
    let (us, them) = (puppet.at, puppet.peer);
    if opening & 1 == 0 {
        puppet.open(&mut world);
    } else {
        puppet.connect(&mut world, "puppet@example.org", PSK);
    }
    for _ in 0..MOST_MESSAGES {
        let Some((next, rest)) = Move::read(moves) else { break };
        moves = rest;
        match next {
            Move::Sealed { exchange, message_id, is_response, first, octets } => {
                let message = puppet.seal_octets(exchange, message_id, is_response, first, octets);
                world.inject(message);
            }
            Move::Fragment { exchange, message_id, first, number, total, octets } => {
                let fragment =
                    puppet.seal_fragment(exchange, message_id, false, first, (number, total), octets);
                world.inject(fragment);
            }
            Move::Raw(octets) => world.inject(Datagram { from: us, to: them, octets: octets.to_vec() }),
            Move::Authenticated { message_id, first, octets } => {
                let mut payloads = puppet.auth("puppet@example.org", PSK);
                append(&mut payloads, first, octets);
                let message = puppet.seal(ExchangeType::IKE_AUTH, message_id, false, &payloads);
                world.inject(message);
            }
            Move::Wait(seconds) => world.run_for(Duration::from_secs(seconds.into())),
            Move::Ask => {
                // The gateway has something to ask too, so that responses are looked at.
                for sa in world.ike_sas(gw) {
                    if let (IkeSaState::Established, Some(child)) = (sa.state, sa.children.first()) {
                        world.terminate_child(gw, child.id);
                    }
                }
            }
        }
        world.run();
        world.assert_no_faults();
        let answers = std::iter::from_fn(|| world.mail(us.ip())).filter(is_response).count();
        assert!(answers <= 1, "{answers} answers to one message");
    }
    world.run_out(Duration::from_secs(2000));
    world.assert_nothing_left();
}

fn is_response(message: &Datagram) -> bool {
    message.octets.get(19).is_some_and(|flags| flags & 0x20 != 0)
}

/// Appends what decodes of a chain of payloads.
fn append(payloads: &mut PayloadWriter, first: PayloadType, octets: &[u8]) {
    if let Ok(chain) = ferry_ike::wire::decode_payloads(first, octets) {
        for payload in &chain {
            payloads.payload(payload);
        }
    }
}

/// What a peer does next.
///
/// ```text
/// | kind (1) | message ID (1) | exchange (1) | first payload (1) | length (2) | octets |
/// ```
enum Move<'a> {
    /// Any octets under the right keys.
    Sealed {
        exchange: ExchangeType,
        message_id: u32,
        is_response: bool,
        first: PayloadType,
        octets: &'a [u8],
    },
    /// IKE_AUTH with an AUTH payload that is right, and payloads behind it.
    Authenticated { message_id: u32, first: PayloadType, octets: &'a [u8] },
    /// A fragment of a request, under the right keys. The octets begin with its number, less one, and how many follow.
    Fragment {
        exchange: ExchangeType,
        message_id: u32,
        first: PayloadType,
        number: u16,
        total: u16,
        octets: &'a [u8],
    },
    /// Any datagram.
    Raw(&'a [u8]),
    /// Nothing, for so many seconds.
    Wait(u8),
    /// Waits for a question of the gateway's.
    Ask,
}

impl<'a> Move<'a> {
    fn read(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([kind, message_id, exchange, first, a, b], rest) = octets.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([*a, *b])).min(rest.len());
        let (octets, rest) = rest.split_at_checked(length)?;
        let (message_id, first) = (u32::from(*message_id), PayloadType(*first));
        let next = match kind % 7 {
            kind @ (0 | 1) => Self::Sealed {
                exchange: ExchangeType(*exchange),
                message_id,
                is_response: kind == 1,
                first,
                octets,
            },
            2 => Self::Authenticated { message_id, first, octets },
            3 => Self::Raw(octets),
            4 => Self::Wait(*exchange),
            5 => Self::Ask,
            _ => {
                let ([before, after], octets) = octets.split_first_chunk()?;
                let number = u16::from(*before) + 1;
                let total = number + u16::from(*after);
                Self::Fragment { exchange: ExchangeType(*exchange), message_id, first, number, total, octets }
            }
        };
        Some((next, rest))
    }
}
