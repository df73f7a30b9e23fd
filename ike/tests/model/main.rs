//! Model checking of two real endpoints.
//!
//! Both ends are given orders that cross each other, and every order of what happens next is tried: who is ordered
//! first, which of the datagrams in the air arrives next, and which of them is lost, repeated, or so late that it is
//! sent again. At every moment of every such way, what one end sends with the other can receive; at its end both ends
//! have the same SAs, none of them without the other half, none twice, everybody who waits was told once, and nothing
//! is kept for nobody.
//!
//! Two orders, one of each end, are walked with any one datagram lost, repeated or late, which is 183 000 situations on
//! 766 000 interleavings of up to 17 events, to their very ends; where one of them is a move, with none; three orders
//! with none, and a seventh of those. Deeper: `FERRY_MODEL_FAULTS=2` loses two, and one where three orders cross, all of
//! them; `FERRY_MODEL_SEEDS=8` lets other nonces win. What was walked is printed with `--nocapture`. A walk that fails
//! tells its story.
#![expect(clippy::indexing_slicing, reason = "there are two sides")]

mod claims;
mod orders;
mod stage;
mod walk;

use std::env;

use orders::Order;
use walk::{Tally, Walk};

/// How many datagrams of one interleaving are lost, repeated or late, where nothing else is said.
const FAULTS: usize = 1;

fn number(name: &str, otherwise: usize) -> usize {
    env::var(name).map_or(otherwise, |text| text.parse().expect("it is a number"))
}

fn walk(orders: [&[Order]; 2], faults: usize) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..number("FERRY_MODEL_SEEDS", 1) {
        tally.add(Walk::walk(orders, u64::try_from(seed).expect("it is small"), faults));
    }
    tally
}

/// How many of these may befall an interleaving of `orders`, with so many for others; `None` if it is not to be walked
/// for now. A move sets off so much that one less must do, and two moves are for those who have the time.
fn faults_of(orders: &[Order], faults: usize, is_deep: bool) -> Option<usize> {
    match orders.iter().filter(|order| **order == Order::Move).count() {
        0 => Some(faults),
        1 => Some(faults.saturating_sub(1)),
        _ => is_deep.then(|| faults.saturating_sub(1)),
    }
}

/// Every pairing that begins with an order of the client, with every order of the gateway.
fn pairings(ours: Order) {
    let is_deep = env::var("FERRY_MODEL_FAULTS").is_ok();
    let faults = number("FERRY_MODEL_FAULTS", FAULTS);
    let mut all = Tally::default();
    for theirs in Order::ALL {
        if let Some(faults) = faults_of(&[ours, theirs], faults, is_deep) {
            all.add(walk([&[ours], &[theirs]], faults));
        }
    }
    println!("{ours:?} of one end crosses one order of the other, {faults} faults: {all}");
}

/// The same with a further order of one end, before or after whatever else happens. Where nothing else is said, one in
/// seven of these, without moves, and nothing is lost.
fn threes(ours: Order) {
    let is_deep = env::var("FERRY_MODEL_FAULTS").is_ok();
    let faults = number("FERRY_MODEL_FAULTS", FAULTS).saturating_sub(1);
    let mut all = Tally::default();
    for further in Order::ALL {
        for theirs in Order::ALL {
            let orders = [ours, further, theirs];
            let nth: usize = orders.iter().map(|order| *order as usize).sum();
            let is_left_out = orders.contains(&Order::Move) || !nth.is_multiple_of(Order::ALL.len());
            if let Some(faults) = faults_of(&orders, faults, is_deep).filter(|_| is_deep || !is_left_out) {
                all.add(walk([&[ours, further], &[theirs]], faults));
                all.add(walk([&[theirs], &[ours, further]], faults));
            }
        }
    }
    println!("{ours:?} and another of one end cross one order of the other, {faults} faults: {all}");
}

macro_rules! crossing {
    ($($name:ident: $order:ident,)*) => {
        mod two_orders {
            $(#[test]
            fn $name() {
                super::pairings(super::Order::$order);
            })*
        }

        mod three_orders {
            $(#[test]
            fn $name() {
                super::threes(super::Order::$order);
            })*
        }
    };
}

crossing! {
    rekeying_a_child_crosses: RekeyChild,
    rekeying_the_ike_sa_crosses: RekeyIke,
    deleting_a_child_crosses: DeleteChild,
    deleting_the_ike_sa_crosses: DeleteIke,
    making_a_child_crosses: CreateChild,
    asking_for_life_crosses: Liveness,
    moving_crosses: Move,
}
