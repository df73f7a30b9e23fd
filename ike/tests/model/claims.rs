//! What must be true at every moment, and in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferry_ike::Command;
use ferry_ike::sim::{HostId, World};
use ferry_ike::status::{ChildSaState, ChildSaStatus};

use crate::orders::{FIRST, FURTHER, Order};
use crate::stage::Stage;

/// What was once true, and must not be forgotten.
pub(crate) struct Memory {
    /// The SPIs that each host has ever received on.
    received_on: [BTreeSet<u32>; 2],
    /// What each host has ever sent with: the name and the outbound SPIs, by reqid.
    sent_with: [BTreeMap<u32, (String, BTreeSet<u32>)>; 2],
    /// Somebody wants the first CHILD_SA to end.
    is_first_to_end: bool,
    /// Somebody wants everything to end.
    is_all_to_end: bool,
}

impl Memory {
    pub(crate) fn new(world: &World, hosts: [HostId; 2]) -> Self {
        let mut memory = Self {
            received_on: Default::default(),
            sent_with: Default::default(),
            is_first_to_end: false,
            is_all_to_end: false,
        };
        memory.look(world, hosts);
        memory
    }

    pub(crate) fn note_order(&mut self, order: Order) {
        match order {
            Order::DeleteChild => self.is_first_to_end = true,
            Order::DeleteIke => self.is_all_to_end = true,
            Order::RekeyChild | Order::RekeyIke | Order::CreateChild | Order::Liveness | Order::Move => {}
        }
    }

    pub(crate) fn look(&mut self, world: &World, hosts: [HostId; 2]) {
        for (side, host) in hosts.into_iter().enumerate() {
            let outside = &world.host(host).outside;
            self.received_on[side].extend(outside.installed().map(|install| install.spi_in.0));
            for install in outside.sending() {
                let (_, spis) = self.sent_with[side]
                    .entry(install.reqid)
                    .or_insert_with(|| (install.child.name.clone(), BTreeSet::new()));
                spis.insert(install.spi_out.0);
            }
        }
    }

    fn may_end(&self, name: &str) -> bool {
        self.is_all_to_end || self.is_first_to_end && name == FIRST
    }
}

/// Make before break: no packet is lost that need not be.
pub(crate) fn at_every_moment(stage: &Stage<'_>) -> Result<(), String> {
    let Stage { world, hosts, memory, .. } = stage;
    for side in [0, 1] {
        let (from, to) = (hosts[side], hosts[1 - side]);
        let name = &world.host(from).name;
        if let Some(fault) = world.host(from).outside.faults().first() {
            return Err(format!("{name}: {fault}"));
        }
        for sent in world.unheard(from, to) {
            // The other end of one that is new comes to know it with the response.
            let has_predecessor =
                memory.sent_with[side].get(&sent.reqid).is_some_and(|(_, spis)| spis.len() > 1);
            let was_heard = memory.received_on[1 - side].contains(&sent.spi_out.0);
            if (has_predecessor || was_heard) && !memory.may_end(&sent.child.name) {
                return Err(format!("{name} sends with {}, which nobody receives", sent.spi_out));
            }
        }
        let sending: BTreeSet<_> = world.host(from).outside.sending().map(|install| install.reqid).collect();
        for (reqid, (child, _)) in &memory.sent_with[side] {
            if !sending.contains(reqid) && !memory.may_end(child) {
                return Err(format!("{name} does not send for {child} any more"));
            }
        }
    }
    Ok(())
}

/// Nobody has a doubt or a remainder, and nothing happened but what was ordered.
pub(crate) fn in_the_end(mut stage: Stage<'_>) -> Result<(), String> {
    settle(&mut stage)?;
    let [rw, gw] = stage.hosts;
    let mut told: Vec<String> = Vec::new();
    let mut completed = BTreeMap::new();
    for (side, host) in stage.hosts.into_iter().enumerate() {
        for event in stage.world.events(host) {
            if let Some(rest) = event.strip_prefix("request ") {
                let number: u64 = rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
                completed.entry(number).or_insert_with(Vec::new).push((side, rest.ends_with(" done")));
            }
            told.push(event);
        }
    }
    let mut created = 0;
    for (side, order, request) in &stage.requests {
        let outcomes = completed.remove(&request.0).unwrap_or_default();
        let [(at, is_done)] = outcomes.as_slice() else {
            return Err(format!("{order:?} was told to be completed {} times: {told:?}", outcomes.len()));
        };
        if at != side {
            return Err(format!("{order:?} was told to the wrong side to be completed"));
        }
        created += usize::from(*order == Order::CreateChild && *is_done);
    }
    let ike_sas = stage.world.ike_sas(rw);
    for (ours, theirs) in ike_sas.iter().zip(stage.world.ike_sas(gw)) {
        if (ours.local, ours.remote) != (theirs.remote, theirs.local) {
            return Err(format!("{} and {} are not where the other believes", ours.local, theirs.local));
        }
    }
    let count =
        |name: &str| ike_sas.iter().flat_map(|sa| &sa.children).filter(|child| is_one(child, name)).count();
    let (first, further) = (count(FIRST), count(FURTHER));
    let memory = &stage.memory;
    let is_as_ordered = if memory.is_all_to_end {
        first == 0 && further <= created && ike_sas.len() <= created
    } else {
        first == usize::from(!memory.is_first_to_end) && further == created && ike_sas.len() == 1
    };
    if !is_as_ordered {
        return Err(format!(
            "in the end there are {} IKE_SAs with {first} of {FIRST} and {further} of {FURTHER}, {created} created: {told:?}",
            ike_sas.len()
        ));
    }
    // And when all of that ends, nothing is left.
    for ike_sa in ike_sas.into_iter().map(|sa| sa.id) {
        let request = stage.world.next_request();
        let command = Command::TerminateIkeSa { request, ike_sa, force: false };
        stage.world.command(rw, command).map_err(|error| error.to_string())?;
    }
    stage.world.run_out(Duration::from_secs(400));
    let leaks: Vec<_> = [rw, gw].into_iter().flat_map(|host| stage.world.host(host).leaks()).collect();
    if leaks.is_empty() { Ok(()) } else { Err(format!("left behind: {leaks:?}")) }
}

/// It is of that name, and both ends have it.
fn is_one(child: &ChildSaStatus, name: &str) -> bool {
    child.name == name && child.state != ChildSaState::Deleted
}

/// It does not take longer than it takes to send again what was lost, and to forget what the peer never heard of.
const LONGEST: Duration = Duration::from_secs(130);

/// Or to find the peer where it is now, and to give up looking for it where it was.
const LONGEST_ON_THE_MOVE: Duration = Duration::from_secs(600);

/// Lets time pass until both ends are of one mind, or it is too late for that.
fn settle(stage: &mut Stage<'_>) -> Result<(), String> {
    let [rw, gw] = stage.hosts;
    let is_mobile = stage.orders.iter().any(|orders| orders.contains(&Order::Move));
    let until = stage.world.elapsed() + if is_mobile { LONGEST_ON_THE_MOVE } else { LONGEST };
    loop {
        if stage.world.flights().next().is_some() {
            stage.world.deliver();
        } else {
            let disagreements = stage.world.disagreements(rw, gw);
            if disagreements.is_empty() {
                return Ok(());
            }
            if stage.world.elapsed() > until || stage.world.due(rw).or(stage.world.due(gw)).is_none() {
                return Err(format!("in the end they do not agree: {disagreements:?}"));
            }
            stage.world.wait_for_deadline();
        }
        stage.memory.look(&stage.world, stage.hosts);
        at_every_moment(stage)?;
    }
}
