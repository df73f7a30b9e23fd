//! Section 2.25, Exchange Collisions, pair by pair: both ends begin something at once, and each of the messages that
//! follow is lost once, comes so late that it was sent again and answered by then, or comes twice. The model test
//! walks the other orders in which they may arrive.

use std::sync::Arc;

use ferry_ike::crypto::KnownAgreements;
use ferry_ike::sim::World;

use crate::claims;
use crate::orders::Order;
use crate::stage::{Choice, Stage};

/// What happens to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Late,
    Repeated,
}

/// The story of a crossing in which the n-th message has that fate. How many messages there were.
fn tell(known: &Arc<KnownAgreements>, orders: [Order; 2], fate: Fate, nth: usize) -> usize {
    let world = World::once_more(1, known);
    let [ours, theirs] = &orders;
    let mut stage = Stage::new(world, [std::slice::from_ref(ours), std::slice::from_ref(theirs)], 10, false);
    stage.take(Choice::Give(0));
    stage.take(Choice::Give(1));
    let (mut count, mut late, mut is_sent_again) = (0, None, false);
    for _ in 0..200 {
        let next = stage.in_air().find(|datagram| late != Some(*datagram));
        let choice = match (next, late) {
            (Some(datagram), _) if count != nth => Choice::Deliver(datagram),
            (Some(datagram), _) => match fate {
                Fate::Lost => Choice::Lose(datagram),
                Fate::Repeated => Choice::Repeat(datagram),
                Fate::Late => {
                    (count, late) = (count + 1, Some(datagram));
                    continue;
                }
            },
            (None, Some(datagram)) if is_sent_again || !stage.is_busy() => {
                late = None;
                Choice::Deliver(datagram)
            }
            (None, _) if stage.is_busy() => {
                is_sent_again = true;
                Choice::Wait
            }
            (None, _) => break,
        };
        count += usize::from(choice != Choice::Wait);
        stage.take(choice);
        let held = claims::at_every_moment(&stage);
        assert_eq!(held, Ok(()), "{orders:?}, message {nth} is {fate:?}");
    }
    let transcript = stage.world.transcript().to_owned();
    let held = claims::in_the_end(stage);
    assert_eq!(held, Ok(()), "{orders:?}, message {nth} is {fate:?}:\n{transcript}");
    count
}

fn cross(ours: Order, theirs: Order) {
    let known = Arc::default();
    for fate in [Fate::Lost, Fate::Late, Fate::Repeated] {
        let mut nth = 0;
        while nth < tell(&known, [ours, theirs], fate, nth) {
            nth += 1;
        }
        assert!(nth >= 3, "{ours:?} and {theirs:?} are {nth} messages");
    }
}

/// One story for each order that crosses the one of the name.
macro_rules! stories {
    ($($name:ident: $order:ident,)*) => {
        stories!(@each [$($name: $order,)*] [$($name: $order,)*]);
    };
    (@each [$($ours:ident: $our_order:ident,)*] $all:tt) => {
        $(mod $ours {
            stories!(@with $our_order $all);
        })*
    };
    (@with $ours:ident [$($theirs:ident: $their_order:ident,)*]) => {
        $(#[test]
        fn $theirs() {
            super::cross(super::Order::$ours, super::Order::$their_order);
        })*
    };
}

stories! {
    rekey_child: RekeyChild,
    rekey_ike: RekeyIke,
    delete_child: DeleteChild,
    delete_ike: DeleteIke,
    create_child: CreateChild,
    liveness: Liveness,
    move_to: Move,
}
