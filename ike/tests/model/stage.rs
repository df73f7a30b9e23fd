//! Two hosts, and the choices there are about what happens next.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use ferry_ike::output::RequestId;
use ferry_ike::sim::{Datagram, HostId, World};

use crate::claims::Memory;
use crate::orders::{self, Order};

/// What each side is to order, in this order.
pub(crate) type Orders<'a> = [&'a [Order]; 2];

/// What happens next. A datagram is named by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A side gives its next order.
    Give(usize),
    /// A datagram arrives; others may have been sent before it.
    Deliver(u64),
    /// A datagram is lost.
    Lose(u64),
    /// A datagram arrives, and will arrive again.
    Repeat(u64),
    /// Time passes until the next deadline of either host.
    Wait,
}

/// All that the future depends on.
///
/// A host is what came of its inputs, so its history stands for its state: the same messages, orders and deadlines at
/// the same moments, in the same order. What happened first at one host and then at the other, or the other way
/// round, is the same situation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Situation {
    pub(crate) histories: [u64; 2],
    /// The datagrams in the air by content, and to whom they go; sorted.
    air: Vec<(u64, usize)>,
    given: [usize; 2],
    faults_left: usize,
}

pub(crate) struct Stage<'a> {
    pub(crate) world: World,
    pub(crate) hosts: [HostId; 2],
    pub(crate) orders: Orders<'a>,
    pub(crate) situation: Situation,
    /// Who waits for what.
    pub(crate) requests: Vec<(usize, Order, RequestId)>,
    pub(crate) memory: Memory,
}

impl<'a> Stage<'a> {
    /// The beginning.
    pub(crate) fn new(world: World, orders: Orders<'a>, faults: usize, is_silent: bool) -> Self {
        let (world, hosts) = orders::connected(world, &orders, is_silent);
        let situation = Situation { histories: [1, 2], air: vec![], given: [0, 0], faults_left: faults };
        let memory = Memory::new(&world, hosts);
        Self { world, hosts, orders, situation, requests: vec![], memory }
    }

    /// What can happen next; nothing if all is done.
    pub(crate) fn choices(&self) -> Vec<Choice> {
        let Situation { air, given, faults_left, .. } = &self.situation;
        let mut choices = Vec::new();
        for side in [0, 1] {
            if given[side] < self.orders[side].len() {
                choices.push(Choice::Give(side));
            }
        }
        let mut air = air.clone();
        air.dedup(); // one of two that are the same is as good as the other
        choices.extend(air.iter().map(|(datagram, _)| Choice::Deliver(*datagram)));
        if *faults_left > 0 {
            choices.extend(air.iter().map(|(datagram, _)| Choice::Lose(*datagram)));
            choices.extend(air.iter().map(|(datagram, _)| Choice::Repeat(*datagram)));
        }
        let may_wait = if air.is_empty() {
            choices.is_empty() && self.is_busy()
        } else {
            // Longer than it takes until it is sent again.
            *faults_left > 0 && self.is_busy()
        };
        if may_wait {
            choices.push(Choice::Wait);
        }
        choices
    }

    /// What is in the air, by content; what was sent first comes first.
    pub(crate) fn in_air(&self) -> impl Iterator<Item = u64> {
        self.world.flights().map(content)
    }

    /// Somebody waits for an answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.hosts.iter().any(|host| {
            self.world.ike_sas(*host).iter().any(|sa| {
                !sa.tasks_active.is_empty() || !sa.tasks_queued.is_empty() || sa.established.is_none()
            })
        })
    }

    /// Lets it happen.
    pub(crate) fn take(&mut self, choice: Choice) {
        let clock = self.world.elapsed();
        match choice {
            Choice::Give(side) => {
                let order = self.orders[side][self.situation.given[side]];
                let requests = orders::give(&mut self.world, self.hosts[side], order);
                if !requests.is_empty() {
                    self.memory.note_order(order);
                }
                self.requests.extend(requests.into_iter().map(|request| (side, order, request)));
            }
            Choice::Deliver(datagram) => {
                let nth = self.position(datagram);
                self.world.deliver_nth(nth);
            }
            Choice::Lose(datagram) => {
                let nth = self.position(datagram);
                self.world.take_nth(nth);
            }
            Choice::Repeat(datagram) => {
                let nth = self.position(datagram);
                self.world.repeat_nth(nth);
            }
            Choice::Wait => {
                self.world.wait_for_deadline();
            }
        }
        let mut next = self.situation.after(choice);
        if self.world.elapsed() != clock {
            let now = self.world.elapsed();
            next.histories.iter_mut().for_each(|history| *history = hash(&(*history, now)));
        }
        let flights = self.world.flights();
        next.air = flights.map(|datagram| (content(datagram), self.side(datagram))).collect();
        next.air.sort_unstable();
        self.situation = next;
        self.memory.look(&self.world, self.hosts);
    }

    fn position(&self, datagram: u64) -> usize {
        let mut flights = self.in_air();
        flights.position(|flight| flight == datagram).expect("a choice names a datagram that is in the air")
    }

    /// To whom it goes. Who has moved does not get it.
    fn side(&self, datagram: &Datagram) -> usize {
        usize::from(![orders::HOME, orders::CAFE].contains(&datagram.to.ip().to_string().as_str()))
    }
}

impl Situation {
    /// What follows from a choice, but for the time that passes, and for what the hosts then send.
    pub(crate) fn after(&self, choice: Choice) -> Self {
        let mut next = self.clone();
        let arrives = |next: &mut Self, datagram: u64| {
            let nth = next.air.iter().position(|(content, _)| *content == datagram);
            let (_, side) = next.air.remove(nth.expect("a choice names a datagram that is in the air"));
            next.histories[side] = hash(&(next.histories[side], datagram));
            side
        };
        match choice {
            Choice::Give(side) => {
                next.histories[side] = hash(&(next.histories[side], "order", next.given[side]));
                next.given[side] += 1;
            }
            Choice::Deliver(datagram) => {
                arrives(&mut next, datagram);
            }
            Choice::Repeat(datagram) => {
                let side = arrives(&mut next, datagram);
                next.air.push((datagram, side));
                next.air.sort_unstable();
                next.faults_left -= 1;
            }
            Choice::Lose(datagram) => {
                next.air.retain({
                    let mut is_there = true;
                    move |(content, _)| *content != datagram || !std::mem::take(&mut is_there)
                });
                next.faults_left -= 1;
            }
            Choice::Wait if next.air.is_empty() => {}
            Choice::Wait => next.faults_left -= 1,
        }
        next
    }

    /// Adds what a host sends.
    pub(crate) fn with(mut self, sent: &[(u64, usize)]) -> Self {
        self.air.extend_from_slice(sent);
        self.air.sort_unstable();
        self
    }

    /// The history of the host that an input changed; `None` if there was none, or one for both.
    pub(crate) fn changed_to(&self, next: &Self) -> Option<u64> {
        let [ours, theirs] = [0, 1].map(|side| self.histories[side] != next.histories[side]);
        match (ours, theirs) {
            (true, false) => Some(next.histories[0]),
            (false, true) => Some(next.histories[1]),
            (true, true) | (false, false) => None,
        }
    }

    /// What is in the air and was not before.
    pub(crate) fn sent_since(&self, before: &Self) -> Vec<(u64, usize)> {
        let mut old = before.air.clone();
        let is_new = |flight: &&(u64, usize)| match old.iter().position(|known| known == *flight) {
            Some(nth) => {
                old.swap_remove(nth);
                false
            }
            None => true,
        };
        self.air.iter().filter(is_new).copied().collect()
    }
}

fn content(datagram: &Datagram) -> u64 {
    hash(&(datagram.from, datagram.to, &datagram.octets))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
