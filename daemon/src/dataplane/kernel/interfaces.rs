//! XFRM interfaces that are made for the interface IDs of CHILD_SAs and traps, and go with the last of those.
//!
//! What somebody else has made for an interface ID is used, and left as it is.

use std::collections::HashMap;
use std::num::NonZeroU32;

use ferry_xfrm::{Error, Link, Links, XfrmInterface};
use tracing::{debug, info, warn};

use super::labels::Numbers;

/// The alias by which those who look at ours know them, and the next ferryd does.
const ALIAS: &str = "made by ferryd";

/// All of them.
pub(super) struct Interfaces {
    links: Links,
    /// They are made where nobody else has.
    are_made: bool,
    held: HashMap<NonZeroU32, Held>,
}

/// One that is there.
struct Held {
    index: u32,
    is_ours: bool,
    /// How often somebody has taken it.
    holders: usize,
}

impl Interfaces {
    /// Removes what an earlier ferryd has left, whose SAs are gone.
    pub(super) async fn open(are_made: bool) -> Result<Self, Error> {
        let links = Links::open().await?;
        for link in links.all().await?.iter().filter(|link| is_ours(link)) {
            match links.remove(link.index).await {
                Ok(()) => {
                    info!(target: "knl", "removed the XFRM interface {} that an earlier ferryd has left", link.name)
                }
                Err(error) => warn!(target: "knl", "{error}"),
            }
        }
        Ok(Self { links, are_made, held: HashMap::new() })
    }

    /// Sees to it that there are those of a CHILD_SA or a trap.
    pub(super) async fn take(&mut self, numbers: &Numbers) -> Result<(), String> {
        if !self.are_made {
            return Ok(());
        }
        for (taken, id) in ids(numbers).enumerate() {
            if let Err(error) = self.take_one(id).await {
                for id in ids(numbers).take(taken) {
                    self.give_one_back(id).await;
                }
                return Err(format!("there is no XFRM interface for the interface ID {id}: {error}"));
            }
        }
        Ok(())
    }

    /// They are no longer needed.
    pub(super) async fn give_back(&mut self, numbers: &Numbers) {
        for id in ids(numbers) {
            self.give_one_back(id).await;
        }
    }

    /// The one that routes into a tunnel lead to, if such routes are ours to make.
    pub(super) fn way_out(&self, numbers: &Numbers) -> Option<u32> {
        numbers.interface_out.and_then(|id| self.held.get(&id)).map(|held| held.index)
    }

    /// Removes all that are ours.
    pub(super) async fn clear(&mut self) {
        for (_, held) in std::mem::take(&mut self.held) {
            self.remove(&held).await;
        }
    }

    async fn take_one(&mut self, id: NonZeroU32) -> Result<(), Error> {
        let holders = match self.held.get_mut(&id) {
            // Somebody may have removed it.
            Some(held) if self.links.by_index(held.index).await.is_ok_and(|link| has(&link, id)) => {
                held.holders += 1;
                return Ok(());
            }
            Some(held) => held.holders,
            None => 0,
        };
        let (index, is_ours) = find_or_make(&self.links, id).await?;
        self.held.insert(id, Held { index, is_ours, holders: holders + 1 });
        Ok(())
    }

    async fn give_one_back(&mut self, id: NonZeroU32) {
        let Some(held) = self.held.get_mut(&id) else { return };
        held.holders -= 1;
        if held.holders == 0
            && let Some(held) = self.held.remove(&id)
        {
            self.remove(&held).await;
        }
    }

    async fn remove(&self, held: &Held) {
        if held.is_ours
            && let Err(error) = self.links.remove(held.index).await
        {
            debug!(target: "knl", "{error}"); // somebody else was quicker
        }
    }
}

/// Its index, and whether we have made it.
async fn find_or_make(links: &Links, id: NonZeroU32) -> Result<(u32, bool), Error> {
    if let Some(link) = links.all().await?.iter().find(|link| has(link, id)) {
        debug!(target: "knl", "the XFRM interface {} is there for the interface ID {id}", link.name);
        return Ok((link.index, false));
    }
    // Without a device beneath: packets go as their outer addresses are routed, also after a move.
    let interface = XfrmInterface { interface_id: id, device: None };
    let link = links.add_xfrm(&format!("xfrm{id}"), interface).await?;
    if let Err(error) = links.set_up_with_alias(link.index, ALIAS).await {
        if let Err(error) = links.remove(link.index).await {
            warn!(target: "knl", "{error}");
        }
        return Err(error);
    }
    info!(target: "knl", "made the XFRM interface {} for the interface ID {id}", link.name);
    Ok((link.index, true))
}

fn has(link: &Link, id: NonZeroU32) -> bool {
    link.xfrm.is_some_and(|interface| interface.interface_id == id)
}

fn is_ours(link: &Link) -> bool {
    link.xfrm.is_some() && link.alias.as_deref() == Some(ALIAS)
}

/// Each once, though both directions may have the same.
fn ids(numbers: &Numbers) -> impl Iterator<Item = NonZeroU32> {
    let [inbound, outbound] = [numbers.interface_in, numbers.interface_out];
    inbound.into_iter().chain(outbound.filter(|_| outbound != inbound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_is_named_once() {
        let [one, two] = [1, 2].map(NonZeroU32::new);
        for (interface_in, interface_out, expected) in
            [(one, one, vec![1]), (one, two, vec![1, 2]), (None, two, vec![2]), (None, None, vec![])]
        {
            let numbers = Numbers { interface_in, interface_out, ..Numbers::default() };
            assert_eq!(ids(&numbers).map(NonZeroU32::get).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn ours_are_told_by_alias_and_kind() {
        let interface = XfrmInterface { interface_id: NonZeroU32::MIN, device: None };
        let link = |alias: Option<&str>, xfrm| Link {
            index: 3,
            name: "xfrm1".to_owned(),
            is_up: true,
            mtu: 1500,
            alias: alias.map(str::to_owned),
            xfrm,
        };
        assert!(is_ours(&link(Some(ALIAS), Some(interface))));
        for other in
            [link(None, Some(interface)), link(Some("mine"), Some(interface)), link(Some(ALIAS), None)]
        {
            assert!(!is_ours(&other), "{other:?}");
        }
    }
}
