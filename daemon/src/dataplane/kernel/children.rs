//! CHILD_SAs that are in the kernel.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use ferry_ike::config::{Labels, Offload};
use ferry_ike::output::{ChildInstall, ChildSaId, Outbound, Path};
use ferry_xfrm::algorithm::Protection;
use ferry_xfrm::sa::{ReplayState, Usage};
use ferry_xfrm::{Error, IpsecProtocol, Meaning, Mode, Sa, SaEntry, SaId, Sad, Selector};
use tracing::{debug, warn};

use super::super::algorithms;
use super::labels::Numbers;
use super::policies::Placing;
use super::sa::{self, Pair};
use super::{Selectors, offload};
use crate::control::ChildUse;

/// Sequence numbers that are left out when an outbound SA moves: between the moment its state is read and the moment it
/// is gone it may send so many packets. A number is never used twice, and with it no nonce (RFC 4106 §3.1).
const LEFT_OUT: u64 = 1 << 16;

/// All of ours.
pub(super) struct Children {
    sad: Sad,
    installed: HashMap<ChildSaId, ChildSas>,
}

/// What is decided of one before it is installed.
pub(super) struct Known {
    pub(super) reqid: u32,
    /// Its marks and interfaces.
    pub(super) numbers: Numbers,
    /// The selectors of packets to the peer.
    pub(super) selectors: Vec<Selector>,
    /// Where its policies stand, if it has any.
    pub(super) placing: Option<Placing>,
    /// The traffic it has its reqid for, if that is not its own.
    pub(super) traffic: Option<Selectors>,
    /// What the kernel has asked for by this number.
    pub(super) answers: Option<u32>,
}

/// One.
pub(super) struct ChildSas {
    pub(super) reqid: u32,
    pub(super) numbers: Numbers,
    /// As they were configured.
    pub(super) labels: Labels,
    offload: Offload,
    pub(super) selectors: Vec<Selector>,
    pub(super) placing: Option<Placing>,
    pub(super) traffic: Option<Selectors>,
    pair: Pair,
    /// Keys of an outbound SA whose time has not come.
    held: Option<Protection>,
    /// The first packet received is to be told of.
    awaits_first: bool,
    /// Somebody else has removed it, which was told.
    is_lost: bool,
    inbound: Carried,
    outbound: Carried,
}

/// What one direction has carried.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    /// By SAs that were taken for this one elsewhere before.
    before: Usage,
    /// Packets when they were last counted.
    counted: u64,
    /// When there were more than before; kernels of old do not say when an SA was last used.
    grew: Option<Instant>,
}

/// What an expiry means.
pub(super) enum Expiry {
    /// The first packet has come.
    FirstReceived(ChildSaId),
    /// It is time for a successor.
    Soft(ChildSaId),
    /// It is gone.
    Hard(ChildSaId),
}

impl ChildSas {
    pub(super) fn mode(&self) -> Mode {
        self.pair.inbound.mode
    }
}

impl Children {
    pub(super) fn new(sad: Sad) -> Self {
        Self { sad, installed: HashMap::new() }
    }

    pub(super) fn get(&self, child_sa: ChildSaId) -> Option<&ChildSas> {
        self.installed.get(&child_sa)
    }

    /// Whether an inbound SA has this SPI.
    pub(super) fn has_spi(&self, spi: u32) -> bool {
        self.installed.values().any(|child| child.pair.inbound.id.spi == spi)
    }

    /// Installs the inbound SA, and the outbound one unless it is held.
    pub(super) async fn install(&mut self, install: &ChildInstall, known: Known) -> Result<(), String> {
        let Known { reqid, numbers, selectors, placing, traffic, answers } = known;
        let mut pair = Pair::of(install, reqid, &numbers)?;
        let offload = install.child.offload;
        offload::place(&mut pair, offload, install.path.local.ip()).await?;
        let is_needed = offload == Offload::Crypto;
        // The kernel would go on waiting for one with the reqid of the trap, and ask for no other.
        pair.outbound.acquire = answers.unwrap_or_default();
        let keys = |material| {
            let protection = algorithms::kernel(&install.suite, material);
            protection.ok_or("the kernel's data plane has no name for the negotiated algorithms")
        };
        let (opening, sealing) = (keys(&install.inbound)?, keys(&install.outbound)?);
        // The peer may send as soon as it has our answer.
        offload::install(&self.sad, &mut pair.inbound, &opening, None, is_needed).await?;
        let held = match install.outbound_use {
            Outbound::Now => {
                let outbound = &mut pair.outbound;
                if let Err(error) = offload::install(&self.sad, outbound, &sealing, None, is_needed).await {
                    remove(&self.sad, &pair.inbound.id).await;
                    return Err(error);
                }
                None
            }
            Outbound::Held | Outbound::Behind => Some(sealing),
        };
        pair.outbound.acquire = 0; // it is answered once
        let (inbound, outbound) = Default::default();
        let child = ChildSas {
            reqid,
            numbers,
            labels: install.child.labels,
            offload,
            selectors,
            placing,
            traffic,
            pair,
            held,
            awaits_first: false,
            is_lost: false,
            inbound,
            outbound,
        };
        self.installed.insert(install.child_sa, child);
        Ok(())
    }

    /// Installs the outbound SA that was held.
    pub(super) async fn use_outbound(&mut self, child_sa: ChildSaId) -> Result<(), String> {
        let child = self.installed.get_mut(&child_sa).ok_or("the CHILD_SA is not installed")?;
        let sealing = child.held.take().ok_or("the CHILD_SA has no outbound SA that waits")?;
        let is_needed = child.offload == Offload::Crypto;
        offload::install(&self.sad, &mut child.pair.outbound, &sealing, None, is_needed).await
    }

    /// Has the kernel tell of the first packet received, by a limit that it reaches: the one after the first tells.
    pub(super) async fn tell_first_received(&mut self, child_sa: ChildSaId) {
        let Some(child) = self.installed.get_mut(&child_sa) else { return };
        child.awaits_first = true;
        let mut limited = child.pair.inbound.clone();
        limited.limits.soft.packets = Some(1);
        if let Err(error) = change(&self.sad, &limited).await {
            // The peer's DELETE of the predecessor tells as well.
            debug!(target: "knl", "{error}");
        }
    }

    /// What an SA that has reached a limit means.
    pub(super) async fn expire(&mut self, sa: &Sa, is_hard: bool) -> Option<Expiry> {
        let (child_sa, is_inbound) = self.whose(&sa.id)?;
        let child = self.installed.get_mut(&child_sa)?;
        if is_hard {
            child.is_lost = true;
            return Some(Expiry::Hard(child_sa));
        }
        if is_inbound && std::mem::take(&mut child.awaits_first) {
            if let Err(error) = change(&self.sad, &child.pair.inbound).await {
                warn!(target: "knl", "{error}");
            }
            return Some(Expiry::FirstReceived(child_sa));
        }
        Some(Expiry::Soft(child_sa))
    }

    /// Whose inbound SA it is.
    pub(super) fn receiver(&self, id: &SaId) -> Option<ChildSaId> {
        self.whose(id).and_then(|(child_sa, is_inbound)| is_inbound.then_some(child_sa))
    }

    /// Somebody else has removed an SA: whose it was, if that was not told yet.
    pub(super) fn lose(&mut self, id: &SaId) -> Option<ChildSaId> {
        let (child_sa, _) = self.whose(id)?;
        let child = self.installed.get_mut(&child_sa)?;
        (!std::mem::replace(&mut child.is_lost, true)).then_some(child_sa)
    }

    /// Those that are gone from the kernel and were not told to be.
    pub(super) async fn find_lost(&mut self) -> Vec<ChildSaId> {
        let mut lost = Vec::new();
        for (child_sa, child) in self.installed.iter_mut().filter(|(_, child)| !child.is_lost) {
            let outbound = child.held.is_none().then_some(&child.pair.outbound.id);
            for id in [Some(&child.pair.inbound.id), outbound].into_iter().flatten() {
                if matches!(self.sad.find(id).await, Ok(None)) {
                    child.is_lost = true;
                }
            }
            if child.is_lost {
                lost.push(*child_sa);
            }
        }
        lost
    }

    /// The CHILD_SAs that policies with this reqid are for.
    pub(super) fn with_reqid(&self, reqid: u32) -> bool {
        self.installed.values().any(|child| child.reqid == reqid)
    }

    /// Moves both directions to other addresses.
    pub(super) async fn update(
        &mut self,
        child_sa: ChildSaId,
        path: Path,
        is_encapsulated: bool,
    ) -> Result<(), String> {
        let child = self.installed.get_mut(&child_sa).ok_or("the CHILD_SA is not installed")?;
        let mut moved = child.pair.at(path, is_encapsulated);
        if let Err(error) = offload::place(&mut moved, child.offload, path.local.ip()).await {
            warn!(target: "knl", "{error}");
        }
        let before = std::mem::replace(&mut child.pair, moved);
        let result = async {
            relocate(&self.sad, &before.inbound, &mut child.pair.inbound, &mut child.inbound, 0).await?;
            if child.held.is_none() {
                let (to, carried) = (&mut child.pair.outbound, &mut child.outbound);
                relocate(&self.sad, &before.outbound, to, carried, LEFT_OUT).await?;
            }
            Ok(())
        };
        result.await
    }

    /// Removes both directions.
    pub(super) async fn remove(&mut self, child_sa: ChildSaId) -> Option<ChildSas> {
        let child = self.installed.remove(&child_sa)?;
        remove(&self.sad, &child.pair.inbound.id).await;
        if child.held.is_none() {
            remove(&self.sad, &child.pair.outbound.id).await;
        }
        Some(child)
    }

    /// Removes all.
    pub(super) async fn clear(&mut self) {
        for child_sa in self.installed.keys().copied().collect::<Vec<_>>() {
            self.remove(child_sa).await;
        }
    }

    /// What CHILD_SAs have carried.
    pub(super) async fn query(&mut self, child_sas: &[ChildSaId]) -> HashMap<ChildSaId, ChildUse> {
        let mut usage = HashMap::new();
        for child_sa in child_sas {
            let Some(child) = self.installed.get_mut(child_sa) else { continue };
            let (bytes_in, packets_in, last_in) =
                count(&self.sad, &child.pair.inbound.id, &mut child.inbound).await;
            let (bytes_out, packets_out, last_out) = match child.held {
                None => count(&self.sad, &child.pair.outbound.id, &mut child.outbound).await,
                Some(_) => (0, 0, None),
            };
            let numbers = Some(child.numbers.told_with(child.reqid));
            let used = ChildUse { bytes_in, packets_in, last_in, bytes_out, packets_out, last_out, numbers };
            usage.insert(*child_sa, used);
        }
        usage
    }

    /// Whose an SA is, and whether that is the inbound one.
    fn whose(&self, id: &SaId) -> Option<(ChildSaId, bool)> {
        let is = |sa: &Sa| {
            (sa.id.spi, sa.id.destination, sa.id.protocol) == (id.spi, id.destination, IpsecProtocol::ESP)
        };
        self.installed.iter().find_map(|(child_sa, child)| {
            let is_inbound = is(&child.pair.inbound);
            (is_inbound || is(&child.pair.outbound)).then_some((*child_sa, is_inbound))
        })
    }
}

async fn remove(sad: &Sad, id: &SaId) {
    match sad.remove(id).await {
        Ok(()) => {}
        Err(error) if error.meaning() == Some(Meaning::NotThere) => {
            debug!(target: "knl", "the SA {id} is gone already");
        }
        Err(error) => warn!(target: "knl", "{error}"),
    }
}

/// Changes limits or ports of an SA that is there; the kernel wants to be told the keys again.
async fn change(sad: &Sad, to: &Sa) -> Result<(), Error> {
    match sad.find(&to.id).await? {
        // It stays where it is, on a card or not.
        Some(SaEntry { protection: Some(protection), .. }) => {
            sad.update(&Sa { offload: None, ..to.clone() }, &protection, None).await
        }
        // Who else has removed it is told of elsewhere.
        _ => Ok(()),
    }
}

/// Takes an SA to other addresses, with its keys and sequence numbers, of which `left_out` are passed over.
async fn relocate(
    sad: &Sad,
    from: &Sa,
    to: &mut Sa,
    carried: &mut Carried,
    left_out: u64,
) -> Result<(), String> {
    if from == to {
        return Ok(());
    }
    let stays = from.id == to.id && from.source == to.source;
    if stays && from.encapsulation.is_some() && to.encapsulation.is_some() {
        return change(sad, to).await.map_err(|error| error.to_string());
    }
    let found = sad.find(&from.id).await.map_err(|error| error.to_string())?;
    let Some(entry) = found else { return Ok(()) };
    let Some(protection) = &entry.protection else { return Ok(()) };
    remove(sad, &from.id).await;
    let highest = if from.has_extended_sequence { u64::MAX } else { u32::MAX.into() };
    let sent = entry.replay.sent.saturating_add(left_out).min(highest);
    let replay = ReplayState { sent, ..entry.replay };
    carried.before.bytes += entry.usage.bytes;
    carried.before.packets += entry.usage.packets;
    carried.counted = 0;
    // Its counters begin anew, its limits do not.
    to.limits = sa::what_is_left(to.limits, entry.usage.bytes, entry.usage.packets);
    // What moved to another card goes on in software, rather than not at all.
    offload::install(sad, to, protection, Some(&replay), false).await
}

/// Octets and packets of an SA, and how long ago the last was.
async fn count(sad: &Sad, id: &SaId, carried: &mut Carried) -> (u64, u64, Option<Duration>) {
    let Usage { bytes, packets, .. } = carried.before;
    let entry = match sad.find(id).await {
        Ok(Some(entry)) => entry,
        Ok(None) => return (bytes, packets, None),
        Err(error) => {
            warn!(target: "knl", "{error}");
            return (bytes, packets, None);
        }
    };
    if entry.usage.packets > carried.counted {
        (carried.counted, carried.grew) = (entry.usage.packets, Some(Instant::now()));
    }
    let told = entry.last_used.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
    let last = told.or_else(|| carried.grew.map(|at| at.elapsed()));
    (bytes + entry.usage.bytes, packets + entry.usage.packets, last)
}
