//! Reqids by traffic. The kernel has one policy for it, which takes the packets of one reqid: whoever carries the same
//! traffic has the same one, as with charon, and whoever carries it again has it again: firewall rules may name it.

use std::collections::{HashMap, VecDeque};

use super::Selectors;

/// Traffic that is carried no more and whose reqid is remembered, at most: so many clients that have gone may come back.
const MOST_KNOWN: usize = 65_536;

/// Those in use, and those that were.
#[derive(Default)]
pub(super) struct Reqids {
    /// With the number of those who hold it.
    held: HashMap<Selectors, (u32, usize)>,
    known: HashMap<Selectors, u32>,
    /// What is known, the oldest first.
    order: VecDeque<Selectors>,
}

impl Reqids {
    /// The reqid of this traffic: that of whoever carries it already, or the one that is wanted.
    pub(super) fn take(&mut self, selectors: &Selectors, wanted: u32) -> u32 {
        let (reqid, holders) = self.held.entry(selectors.clone()).or_insert((wanted, 0));
        *holders += 1;
        *reqid
    }

    /// The same where the one that the traffic had before is as good as the wanted one, which nobody else has. It is not
    /// where a trap is involved: what a trap asks for it knows by its reqid, and no SA for less is to have that.
    pub(super) fn take_known(&mut self, selectors: &Selectors, wanted: u32, of_traps: &[u32]) -> u32 {
        let known = self.known.get(selectors).copied();
        let known = known.filter(|known| !of_traps.contains(known) && !of_traps.contains(&wanted));
        self.take(selectors, known.unwrap_or(wanted))
    }

    pub(super) fn give_back(&mut self, selectors: &Selectors) {
        let Some((reqid, holders)) = self.held.get_mut(selectors) else { return };
        *holders -= 1;
        if *holders > 0 {
            return;
        }
        let reqid = *reqid;
        self.held.remove(selectors);
        if self.known.insert(selectors.clone(), reqid).is_none() {
            self.order.push_back(selectors.clone());
        }
        if self.order.len() > MOST_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use ferry_ike::config::Labels;
    use ferry_ike::selector::TrafficSelector;

    use super::*;

    fn traffic(host: u32) -> Selectors {
        let side = |number: u32| vec![TrafficSelector::host(std::net::Ipv4Addr::from_bits(number).into())];
        (side(0x0a00_0001), side(host), Labels::default())
    }

    #[test]
    fn traffic_that_is_carried_again_has_its_reqid_again() {
        let mut reqids = Reqids::default();
        assert_eq!(reqids.take_known(&traffic(1), 1, &[]), 1);
        assert_eq!(reqids.take_known(&traffic(1), 2, &[]), 1, "a reauthenticated peer's");
        assert_eq!(reqids.take_known(&traffic(2), 3, &[]), 3);
        (0..2).for_each(|_| reqids.give_back(&traffic(1)));
        assert_eq!(reqids.take_known(&traffic(1), 4, &[]), 1);
        reqids.give_back(&traffic(1));
        assert_eq!(reqids.take_known(&traffic(1), 5, &[5]), 5, "a trap has asked for it");
        reqids.give_back(&traffic(1));
        assert_eq!(reqids.take_known(&traffic(1), 6, &[5]), 6, "a trap is there that did not");
        reqids.give_back(&traffic(1));
        assert_eq!(reqids.take_known(&traffic(1), 7, &[5]), 6);
    }

    #[test]
    fn not_everything_is_remembered() {
        let mut reqids = Reqids::default();
        for host in 0..=u32::try_from(MOST_KNOWN).unwrap() {
            reqids.take_known(&traffic(host), host + 1, &[]);
            reqids.give_back(&traffic(host));
        }
        assert_eq!((reqids.known.len(), reqids.order.len(), reqids.held.len()), (MOST_KNOWN, MOST_KNOWN, 0));
        assert_eq!(reqids.take_known(&traffic(0), 99, &[]), 99);
        assert_eq!(reqids.take_known(&traffic(1), 99, &[]), 2);
    }
}
