//! Walks every order of events, and each but once.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use ferry_ike::crypto::KnownAgreements;
use ferry_ike::sim::World;

use crate::claims;
use crate::stage::{Choice, Orders, Situation, Stage};

/// What was walked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Interleavings: ways from the beginning to an end.
    pub(crate) interleavings: u128,
    /// Different situations on these.
    pub(crate) situations: usize,
    /// Different ends.
    pub(crate) ends: usize,
    /// The most choices on a way.
    pub(crate) depth: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.interleavings = self.interleavings.saturating_add(other.interleavings);
        self.situations += other.situations;
        self.ends += other.ends;
        self.depth = self.depth.max(other.depth);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interleavings, situations, ends, depth } = self;
        write!(
            f,
            "{interleavings} interleavings through {situations} situations to {ends} ends, at most {depth} events long"
        )
    }
}

/// A walk from one beginning.
pub(crate) struct Walk<'a> {
    orders: Orders<'a>,
    seed: u64,
    faults: usize,
    path: Vec<Choice>,
    /// How many ways there are from a situation to an end.
    ways: HashMap<Situation, u128>,
    /// What a host sends when its history has become this one.
    sends: HashMap<u64, Vec<(u64, usize)>>,
    tally: Tally,
    /// The pairs of histories that were seen to come to a good end.
    ended: HashSet<[u64; 2]>,
    known: Arc<KnownAgreements>,
}

impl<'a> Walk<'a> {
    /// Walks all ways with so many datagrams lost, repeated or late.
    ///
    /// # Panics
    ///
    /// If something is not as it must be.
    pub(crate) fn walk(orders: Orders<'a>, seed: u64, faults: usize) -> Tally {
        let tally = Tally::default();
        let (path, ways, sends, ended, known) = Default::default();
        let mut walk = Self { orders, seed, faults, path, ways, sends, tally, ended, known };
        let stage = walk.begin(true);
        walk.tally.interleavings = walk.explore(stage);
        walk.tally.situations = walk.ways.len();
        walk.tally.ends = walk.ended.len();
        walk.tally
    }

    fn begin(&self, is_silent: bool) -> Stage<'a> {
        Stage::new(World::once_more(self.seed, &self.known), self.orders, self.faults, is_silent)
    }

    fn explore(&mut self, stage: Stage<'a>) -> u128 {
        let here = stage.situation.clone();
        if let Some(ways) = self.ways.get(&here) {
            return *ways;
        }
        let choices = stage.choices();
        self.tally.depth = self.tally.depth.max(self.path.len());
        let mut ways: u128 = 0;
        if choices.is_empty() {
            ways = 1;
            if self.ended.insert(here.histories) {
                let result = claims::in_the_end(stage);
                self.hold(result);
            }
        } else {
            let mut live = Some(stage);
            for choice in choices {
                self.path.push(choice);
                let known = self.foresee(&here, choice).and_then(|next| self.ways.get(&next).copied());
                ways = ways.saturating_add(match known {
                    Some(ways) => ways,
                    None => {
                        let mut next = live.take().unwrap_or_else(|| self.replay());
                        next.take(choice);
                        self.remember(&here, choice, &next.situation);
                        let result = claims::at_every_moment(&next);
                        self.hold(result);
                        self.explore(next)
                    }
                });
                self.path.pop();
            }
        }
        self.ways.insert(here, ways);
        ways
    }

    /// The situation that a choice leads to, if the host it is about has been in its part of it before.
    fn foresee(&self, here: &Situation, choice: Choice) -> Option<Situation> {
        let next = here.after(choice);
        match choice {
            Choice::Lose(_) => Some(next),
            Choice::Wait => None,
            Choice::Give(_) | Choice::Deliver(_) | Choice::Repeat(_) => {
                let sent = self.sends.get(&here.changed_to(&next)?)?;
                Some(next.with(sent))
            }
        }
    }

    /// What the host sent that an input went to. Where time passed, it is not for one host alone.
    fn remember(&mut self, here: &Situation, choice: Choice, next: &Situation) {
        if let Some(history) = here.changed_to(next) {
            self.sends.insert(history, next.sent_since(&here.after(choice)));
        }
    }

    /// The stage before the last choice.
    fn replay(&self) -> Stage<'a> {
        let mut stage = self.begin(true);
        let (_, before) = self.path.split_last().expect("a choice is being tried");
        before.iter().for_each(|choice| stage.take(*choice));
        stage
    }

    /// Tells the whole story of what is not as it must be.
    fn hold(&self, result: Result<(), String>) {
        let Err(why) = &result else { return };
        let mut stage = self.begin(false);
        self.path.iter().for_each(|choice| stage.take(*choice));
        let transcript = stage.world.transcript().to_owned();
        drop(stage);
        let Self { orders, seed, path, .. } = self;
        let story = format!("{orders:?} with seed {seed}: {why}\n{path:?}\n{transcript}");
        assert!(result.is_ok(), "{story}");
    }
}
