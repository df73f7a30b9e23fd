//! The fate of datagrams in the air, decided one by one: for tests that try every order of events.

use super::network::Datagram;
use super::world::World;

impl World {
    /// The datagrams in the air; their places are what the other functions here take.
    pub fn flights(&self) -> impl Iterator<Item = &Datagram> {
        self.air.iter().map(|flight| &flight.datagram)
    }

    /// Delivers a datagram before all others; no time passes. What it says.
    ///
    /// # Panics
    ///
    /// If there is none at that place.
    pub fn deliver_nth(&mut self, nth: usize) -> String {
        let flight = self.air.take(nth).expect("a datagram is at that place in the air");
        self.arrive(flight.datagram, &flight.line);
        flight.line
    }

    /// Delivers a copy of a datagram; the datagram stays in the air and arrives again.
    ///
    /// # Panics
    ///
    /// If there is none at that place.
    pub fn repeat_nth(&mut self, nth: usize) -> String {
        let flight = self.air.iter().nth(nth).expect("a datagram is at that place in the air");
        let (datagram, line) = (flight.datagram.clone(), format!("{} (to be repeated)", flight.line));
        self.arrive(datagram, &line);
        line
    }

    /// Takes a datagram out of the air; no time passes.
    ///
    /// # Panics
    ///
    /// If there is none at that place.
    pub fn take_nth(&mut self, nth: usize) -> Datagram {
        let flight = self.air.take(nth).expect("a datagram is at that place in the air");
        self.note(&format!("{} (taken)", flight.line));
        flight.datagram
    }
}
