//! Datagrams on their way, and what the weather does to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::random::Dice;

/// A UDP datagram as it is between two NATs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Its source as the receiver sees it.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// The UDP payload.
    pub octets: Vec<u8>,
}

impl Datagram {
    /// Octets of the IP datagram.
    #[must_use]
    pub fn ip_len(&self) -> usize {
        const UDP: usize = 8;
        let ip = if self.to.is_ipv4() { 20 } else { 40 };
        ip + UDP + self.octets.len()
    }
}

/// What happens to datagrams on their way. Chances are in percent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weather {
    /// Lost.
    pub loss: u8,
    /// Arriving twice.
    pub duplication: u8,
    /// Arriving with one bit changed.
    pub tampering: u8,
    /// How long a datagram takes. A wide range reorders.
    pub delay: Range<Duration>,
}

impl Weather {
    /// Everything arrives, in order, after ten milliseconds.
    #[must_use]
    pub const fn fair() -> Self {
        let ten = Duration::from_millis(10);
        Self { loss: 0, duplication: 0, tampering: 0, delay: ten..ten }
    }

    /// A bad mobile link.
    #[must_use]
    pub const fn stormy() -> Self {
        Self {
            loss: 20,
            duplication: 20,
            tampering: 5,
            delay: Duration::from_millis(5)..Duration::from_millis(3000),
        }
    }
}

/// Datagrams in flight, by when they arrive and then by when they were sent.
#[derive(Default)]
pub(super) struct Air {
    flights: BTreeMap<(Instant, u64), Flight>,
    sent: u64,
}

pub(super) struct Flight {
    pub(super) datagram: Datagram,
    /// Who sent it to whom and what it says.
    pub(super) line: String,
}

impl Air {
    /// Sends a datagram into the weather. The fates of its copies: when they arrive, and what befell them.
    pub(super) fn launch(
        &mut self,
        flight: Flight,
        weather: &Weather,
        now: Instant,
        dice: &mut Dice,
    ) -> Fate {
        if dice.chance(weather.loss) {
            return Fate::Lost;
        }
        let copies = if dice.chance(weather.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            let mut datagram = flight.datagram.clone();
            let mut line = flight.line.clone();
            if dice.chance(weather.tampering) {
                dice.flip_bit(&mut datagram.octets);
                line.push_str(" (tampered with)");
            }
            self.sent += 1;
            let arrival = now + dice.time(weather.delay.clone());
            self.flights.insert((arrival, self.sent), Flight { datagram, line });
        }
        if copies == 2 { Fate::Doubled } else { Fate::OnItsWay }
    }

    /// When the next one arrives.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.flights.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next one out of the air.
    pub(super) fn land(&mut self) -> Option<(Instant, Flight)> {
        self.flights.pop_first().map(|((at, _), flight)| (at, flight))
    }

    /// Takes the n-th of them out of the air; zero is the next.
    pub(super) fn take(&mut self, nth: usize) -> Option<Flight> {
        let key = *self.flights.keys().nth(nth)?;
        self.flights.remove(&key)
    }

    /// All of them, the next first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.flights.values()
    }

    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }
}

/// What became of a datagram that was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    OnItsWay,
    Doubled,
    Lost,
}
