//! NAT boxes: they give every inner address and port a port of their own outside, and forget it after a while.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Names a NAT box of a [`World`](super::World).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NatId(pub(super) usize);

/// A NAT that maps independently of the destination and lets in only what comes from where something went.
pub(super) struct NatBox {
    pub(super) public: IpAddr,
    /// How long a mapping lives without a datagram from inside.
    pub(super) lifetime: Duration,
    mappings: BTreeMap<u16, Mapping>,
    /// Ports that always lead to an inner address, same port.
    forwards: BTreeMap<u16, IpAddr>,
    next_port: u16,
}

struct Mapping {
    inner: SocketAddr,
    peers: Vec<SocketAddr>,
    used: Instant,
}

impl NatBox {
    pub(super) fn new(public: IpAddr, lifetime: Duration) -> Self {
        Self { public, lifetime, mappings: BTreeMap::new(), forwards: BTreeMap::new(), next_port: 20_000 }
    }

    /// Lets everybody reach a server inside.
    pub(super) fn forward(&mut self, port: u16, inner: IpAddr) {
        self.forwards.insert(port, inner);
    }

    /// Forgets all mappings, as after a restart. What comes from inside gets new ports.
    pub(super) fn rebind(&mut self) {
        self.mappings.clear();
    }

    /// The source that a datagram from inside has outside.
    pub(super) fn outbound(&mut self, inner: SocketAddr, peer: SocketAddr, now: Instant) -> SocketAddr {
        if self.forwards.get(&inner.port()) == Some(&inner.ip()) {
            return SocketAddr::new(self.public, inner.port());
        }
        self.forget(now);
        if let Some((port, mapping)) = self.mappings.iter_mut().find(|(_, mapping)| mapping.inner == inner) {
            mapping.used = now;
            if !mapping.peers.contains(&peer) {
                mapping.peers.push(peer);
            }
            return SocketAddr::new(self.public, *port);
        }
        let port = self.next_port;
        self.next_port = self.next_port.checked_add(1).unwrap_or(20_000);
        self.mappings.insert(port, Mapping { inner, peers: vec![peer], used: now });
        SocketAddr::new(self.public, port)
    }

    /// Where a datagram from outside goes inside, if anywhere.
    pub(super) fn inbound(&mut self, port: u16, peer: SocketAddr, now: Instant) -> Option<SocketAddr> {
        if let Some(inner) = self.forwards.get(&port) {
            return Some(SocketAddr::new(*inner, port));
        }
        self.forget(now);
        let mapping = self.mappings.get(&port)?;
        mapping.peers.contains(&peer).then_some(mapping.inner)
    }

    fn forget(&mut self, now: Instant) {
        let lifetime = self.lifetime;
        self.mappings.retain(|_, mapping| now.saturating_duration_since(mapping.used) < lifetime);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_kept_while_used_and_let_in_only_answers() {
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (inner, peer, other) = (addr("10.0.0.2:500"), addr("192.0.2.1:500"), addr("192.0.2.9:500"));
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        let mut nat = NatBox::new(addr("203.0.113.1:0").ip(), minute);
        let outer = nat.outbound(inner, peer, start);
        assert_eq!(outer.ip(), nat.public);
        assert_eq!(nat.outbound(inner, other, start).port(), outer.port());
        assert_ne!(nat.outbound(addr("10.0.0.3:500"), peer, start).port(), outer.port());
        assert_eq!(nat.inbound(outer.port(), peer, start), Some(inner));
        assert_eq!(nat.inbound(outer.port(), addr("192.0.2.1:4500"), start), None);
        assert_eq!(nat.inbound(outer.port(), peer, start + minute), None);
        let again = nat.outbound(inner, peer, start + minute);
        assert_ne!(again, outer);
        nat.rebind();
        assert_eq!(nat.inbound(again.port(), peer, start + minute), None);
        nat.forward(500, inner.ip());
        assert_eq!(nat.outbound(inner, peer, start).port(), 500);
        assert_eq!(nat.inbound(500, other, start), Some(inner));
    }
}
