//! Writing requests.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::{HEADER_LENGTH, flags};
use crate::handle::Port;

/// Longer than any request of ours, so that the buffer never moves: a vector that grows leaves
/// its old contents, keys included, in freed memory.
const CAPACITY: usize = 4096;

/// A finished request but for its sequence number and port, which the socket gives it.
pub(crate) struct Request {
    octets: Zeroizing<Vec<u8>>,
    is_dump: bool,
}

impl Request {
    /// A request of this type; `REQUEST` is added to the flags. `body` writes the fixed struct
    /// and the attributes.
    pub(crate) fn new(kind: u16, request_flags: u16, body: impl FnOnce(&mut Writer)) -> Self {
        let mut writer = Writer::new();
        writer.u32(0); // length, filled in below
        writer.u16(kind);
        writer.u16(request_flags | flags::REQUEST);
        writer.u32(0); // sequence number
        writer.u32(0); // port
        body(&mut writer);
        let mut octets = writer.0;
        let length = u32::try_from(octets.len()).expect("requests are shorter than 4 GiB");
        octets.splice(..4, length.to_ne_bytes());
        // In requests that create, the same two bits are REPLACE and EXCLUSIVE: never both.
        Self { octets, is_dump: request_flags & flags::DUMP == flags::DUMP }
    }

    /// Whether the answer is a table, ended by DONE.
    pub(crate) fn is_dump(&self) -> bool {
        self.is_dump
    }

    /// The octets to send, numbered so that the answer can be told from others. From the port that
    /// stands in it XFRM takes whose doing a change was, in what it tells everybody.
    pub(crate) fn numbered(&mut self, sequence: u32, port: Port) -> &[u8] {
        debug_assert!(self.octets.len() >= HEADER_LENGTH, "the constructor writes a header");
        self.octets.splice(8..HEADER_LENGTH, sequence.to_ne_bytes().into_iter().chain(port.0.to_ne_bytes()));
        &self.octets
    }

    #[cfg(test)]
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// Appends fields and attributes to a buffer that is wiped on drop.
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(CAPACITY)))
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_ne_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_ne_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_ne_bytes());
    }

    /// In network order.
    pub(crate) fn be16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// In network order.
    pub(crate) fn be32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        debug_assert!(self.0.len() + value.len() <= CAPACITY, "a request outgrew its buffer");
        self.0.extend_from_slice(value);
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        let length = self.0.len() + count;
        self.0.resize(length, 0);
    }

    /// An address in network order, 4 or 16 octets.
    pub(crate) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
    }

    /// An attribute (`struct nlattr`) whose value `value` writes, padded to four octets.
    pub(crate) fn attribute(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.u16(0); // length, filled in below
        self.u16(kind);
        value(self);
        let length = u16::try_from(self.0.len() - start).expect("attributes are shorter than 64 KiB");
        self.0.splice(start..start + 2, length.to_ne_bytes());
        let padded = self.0.len().next_multiple_of(4);
        self.0.resize(padded, 0);
    }

    pub(crate) fn u32_attribute(&mut self, kind: u16, value: u32) {
        self.attribute(kind, |w| w.u32(value));
    }

    /// A string with the zero at its end.
    pub(crate) fn text_attribute(&mut self, kind: u16, value: &str) {
        self.attribute(kind, |w| {
            w.bytes(value.as_bytes());
            w.u8(0);
        });
    }

    pub(crate) fn address_attribute(&mut self, kind: u16, address: IpAddr) {
        self.attribute(kind, |w| w.address(address));
    }

    #[cfg(test)]
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }

    /// The octets, wiped when dropped.
    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}
