//! What the handle knows of the SAs it gave away: which SPIs are taken, and where their counters are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};

use super::config::{ChildId, SpiPrefix};
use super::error::InstallError;
use super::event::Direction;
use super::stats::{ChildUse, Usage};
use crate::packet::Spi;

/// SPIs and children. Used by callers of the handle, never for a packet.
#[derive(Default)]
pub(super) struct Registry {
    /// Inbound SPIs that nobody else may have.
    spis: HashMap<Spi, Holder>,
    children: HashMap<ChildId, Child>,
}

/// Who holds an SPI.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Reservation,
    Sa,
}

#[derive(Default)]
struct Child {
    inbound: Option<(Spi, Arc<Usage>)>,
    outbound: Option<Arc<Usage>>,
}

impl Registry {
    /// Finds an SPI nobody has and keeps it until an SA with it is removed or it is released.
    pub(super) fn reserve(&mut self, prefix: SpiPrefix, random: &SystemRandom) -> Result<Spi, InstallError> {
        /// Enough to find one of 2^16 even if nearly all are taken.
        const TRIES: usize = 1000;
        let error = InstallError::NoSpiLeft(prefix);
        if prefix.len > 16 {
            return Err(error);
        }
        let free = u32::MAX.checked_shr(prefix.len.into()).unwrap_or(0);
        let upper = prefix.value.checked_shl(32 - u32::from(prefix.len)).unwrap_or(0);
        for _ in 0..TRIES {
            let mut octets = [0; 4];
            if random.fill(&mut octets).is_err() {
                break;
            }
            let spi = Spi(upper | (u32::from_ne_bytes(octets) & free));
            if spi.is_reserved() {
                continue;
            }
            if let Entry::Vacant(vacant) = self.spis.entry(spi) {
                vacant.insert(Holder::Reservation);
                return Ok(spi);
            }
        }
        Err(error)
    }

    /// Gives up an SPI that no SA was made with.
    pub(super) fn release(&mut self, spi: Spi) {
        let is_installed =
            |child: &Child| child.inbound.as_ref().is_some_and(|(installed, _)| *installed == spi);
        if !self.children.values().any(is_installed) {
            self.spis.remove(&spi);
        }
    }

    /// Notes an inbound SA. The counters it shall use.
    pub(super) fn add_inbound(&mut self, id: ChildId, spi: Spi) -> Result<Arc<Usage>, InstallError> {
        if spi.is_reserved() {
            return Err(InstallError::ReservedSpi(spi));
        }
        if self.spis.get(&spi) == Some(&Holder::Sa) {
            return Err(InstallError::SpiInUse(spi));
        }
        let child = self.children.entry(id).or_default();
        if child.inbound.is_some() {
            return Err(InstallError::ChildInUse { child: id, direction: Direction::Inbound });
        }
        let usage = Arc::<Usage>::default();
        child.inbound = Some((spi, Arc::clone(&usage)));
        self.spis.insert(spi, Holder::Sa);
        Ok(usage)
    }

    /// Notes an outbound SA. The counters it shall use.
    pub(super) fn add_outbound(&mut self, id: ChildId, spi: Spi) -> Result<Arc<Usage>, InstallError> {
        if spi.is_reserved() {
            return Err(InstallError::ReservedSpi(spi));
        }
        let child = self.children.entry(id).or_default();
        if child.outbound.is_some() {
            return Err(InstallError::ChildInUse { child: id, direction: Direction::Outbound });
        }
        let usage = Arc::<Usage>::default();
        child.outbound = Some(Arc::clone(&usage));
        Ok(usage)
    }

    /// Forgets a child and its SPI. What it was used for, if there was one.
    pub(super) fn remove(&mut self, id: ChildId, start: Instant) -> Option<ChildUse> {
        let child = self.children.remove(&id)?;
        if let Some((spi, _)) = &child.inbound {
            self.spis.remove(spi);
        }
        Some(child.read(start))
    }

    pub(super) fn contains(&self, id: ChildId) -> bool {
        self.children.contains_key(&id)
    }

    pub(super) fn query(&self, id: ChildId, start: Instant) -> Option<ChildUse> {
        self.children.get(&id).map(|child| child.read(start))
    }
}

impl Child {
    fn read(&self, start: Instant) -> ChildUse {
        let inbound = self.inbound.as_ref().map(|(_, usage)| usage.read(start));
        let outbound = self.outbound.as_ref().map(|usage| usage.read(start));
        let (bytes_in, packets_in, last_in) = inbound.unwrap_or_default();
        let (bytes_out, packets_out, last_out) = outbound.unwrap_or_default();
        ChildUse { bytes_in, packets_in, last_in, bytes_out, packets_out, last_out }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const CHILD: ChildId = ChildId(1);

    #[test]
    fn reserved_spis_have_the_prefix_and_differ() {
        let (mut registry, random) = (Registry::default(), SystemRandom::new());
        let mut seen = HashSet::new();
        for _ in 0..200 {
            let spi = registry.reserve(SpiPrefix { value: 0b101, len: 3 }, &random).expect("room");
            assert_eq!(spi.0 >> 29, 0b101);
            assert!(seen.insert(spi));
        }
        let any = registry.reserve(SpiPrefix::default(), &random).expect("room");
        assert!(!any.is_reserved());
        let prefix = SpiPrefix { value: 1, len: 17 };
        assert!(matches!(registry.reserve(prefix, &random), Err(InstallError::NoSpiLeft(_))));
    }

    #[test]
    fn a_full_prefix_says_so() {
        let (mut registry, random) = (Registry::default(), SystemRandom::new());
        let prefix = SpiPrefix { value: 3, len: 16 };
        registry.spis = (0..=0xffff).map(|low| (Spi(0x3_0000 | low), Holder::Reservation)).collect();
        let error = registry.reserve(prefix, &random).expect_err("all taken").to_string();
        assert_eq!(error, "no SPI is free under the prefix 3/16");
        for low in 0..0x1000 {
            registry.release(Spi(0x3_0000 | low));
        }
        assert!(registry.reserve(prefix, &random).is_ok_and(|spi| spi.0 < 0x3_1000));
    }

    #[test]
    fn a_reserved_spi_can_be_used_once() {
        let mut registry = Registry::default();
        let spi = registry.reserve(SpiPrefix::default(), &SystemRandom::new()).expect("room");
        assert!(registry.add_inbound(CHILD, spi).is_ok());
        assert!(matches!(registry.add_inbound(ChildId(2), spi), Err(InstallError::SpiInUse(_))));
        let other = registry.add_inbound(CHILD, Spi(4096));
        assert!(matches!(other, Err(InstallError::ChildInUse { direction: Direction::Inbound, .. })));
        registry.release(spi);
        assert!(registry.spis.contains_key(&spi), "an installed SPI is not released");
        assert!(registry.remove(CHILD, Instant::now()).is_some());
        assert!(!registry.spis.contains_key(&spi));
        assert!(registry.remove(CHILD, Instant::now()).is_none());
    }

    #[test]
    fn both_directions_are_read_together() {
        let (mut registry, start) = (Registry::default(), Instant::now());
        let inbound = registry.add_inbound(CHILD, Spi(4096)).expect("new");
        let outbound = registry.add_outbound(CHILD, Spi(4096)).expect("new");
        assert!(matches!(
            registry.add_outbound(CHILD, Spi(5000)),
            Err(InstallError::ChildInUse { direction: Direction::Outbound, .. })
        ));
        assert!(matches!(registry.add_outbound(ChildId(3), Spi(255)), Err(InstallError::ReservedSpi(_))));
        inbound.count(10, std::time::Duration::ZERO);
        outbound.count(20, std::time::Duration::ZERO);
        let used = registry.query(CHILD, start).expect("known");
        assert_eq!((used.bytes_in, used.packets_in, used.last_in), (10, 1, Some(start)));
        assert_eq!((used.bytes_out, used.packets_out, used.last_out), (20, 1, Some(start)));
        assert_eq!(registry.query(ChildId(9), start), None);
    }
}
