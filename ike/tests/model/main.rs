//! Model checking of two real endpoints.
//!
//! Both ends are given orders that cross each other, and every order of what happens next is tried: who is ordered
//! first, which of the datagrams in the air arrives next, and which of them is lost, repeated, or so late that it is
//! sent again. At every moment of every such way, what one end sends with the other can receive; at its end both ends
//! have the same SAs, none of them without the other half, none twice, everybody who waits was told once, and nothing
//! is kept for nobody.
//!
//! Two orders, one of each end, are walked with any one datagram lost, repeated or late, which is 183 000 situations on
//! 766 000 interleavings of up to 17 events, to their very ends; three orders with none, and a sixth of those. Deeper:
//! `FERRY_MODEL_FAULTS=2` loses two, and one where three orders cross, all of them; `FERRY_MODEL_SEEDS=8` lets other
//! nonces win. Both print what they walked with `--nocapture`. One that fails tells its story.
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

/// Every pairing that begins with an order of the client, with every order of the gateway.
fn pairings(ours: Order) {
    let faults = number("FERRY_MODEL_FAULTS", FAULTS);
    let mut all = Tally::default();
    for theirs in Order::ALL {
        all.add(walk([&[ours], &[theirs]], faults));
    }
    println!("{ours:?} of one end crosses one order of the other, {faults} faults: {all}");
}

/// The same with a further order of one end, before or after whatever else happens. Where nothing else is said, one in
/// six of these, and nothing is lost.
fn threes(ours: Order) {
    let faults = env::var("FERRY_MODEL_FAULTS").is_ok().then(|| number("FERRY_MODEL_FAULTS", FAULTS) - 1);
    let mut all = Tally::default();
    for further in Order::ALL {
        for theirs in Order::ALL {
            let nth = ours as usize + further as usize + theirs as usize;
            if faults.is_none() && !nth.is_multiple_of(Order::ALL.len()) {
                continue;
            }
            all.add(walk([&[ours, further], &[theirs]], faults.unwrap_or(0)));
            all.add(walk([&[theirs], &[ours, further]], faults.unwrap_or(0)));
        }
    }
    println!(
        "{ours:?} and another of one end cross one order of the other, {} faults: {all}",
        faults.unwrap_or(0)
    );
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
}
