//! What the operators at both ends order, and the two hosts they order it from.

use std::sync::Arc;
use std::time::Duration;

use ferry_ike::Command;
use ferry_ike::config::Child;
use ferry_ike::output::RequestId;
use ferry_ike::selector::SelectorPattern;
use ferry_ike::sim::{HostId, Setup, World, client, gateway};
use ferry_ike::status::{ChildSaState, IkeSaState};

/// Something that begins an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The successor of the CHILD_SA that stands from the beginning.
    RekeyChild,
    /// The successor of the IKE SA.
    RekeyIke,
    /// The end of the CHILD_SA that stands from the beginning.
    DeleteChild,
    /// The end of the IKE SA.
    DeleteIke,
    /// A further CHILD_SA.
    CreateChild,
    /// A question whether the peer lives.
    Liveness,
    /// The host is somewhere else from now on (MOBIKE).
    Move,
}

impl Order {
    pub(crate) const ALL: [Self; 7] = [
        Self::RekeyChild,
        Self::RekeyIke,
        Self::DeleteChild,
        Self::DeleteIke,
        Self::CreateChild,
        Self::Liveness,
        Self::Move,
    ];

    fn is_about_what_there_is(self) -> bool {
        !matches!(self, Self::CreateChild | Self::Liveness | Self::Move)
    }
}

/// The CHILD_SA that stands from the beginning.
pub(crate) const FIRST: &str = "net";
/// The CHILD_SA that is made by order.
pub(crate) const FURTHER: &str = "net2";

/// How long a host that asks whether its peer lives has heard nothing of it. Nothing is sent again before.
const QUIET: Duration = Duration::from_secs(2);

/// A client and a gateway that can do all that to each other, with one CHILD_SA, from the moment it stands.
pub(crate) fn connected(mut world: World, orders: &[&[Order]; 2], is_silent: bool) -> (World, [HostId; 2]) {
    if is_silent {
        world.be_silent();
    }
    world.set_weather(ferry_ike::sim::Weather {
        delay: Duration::ZERO..Duration::ZERO,
        ..ferry_ike::sim::Weather::fair()
    });
    let is_mobile = orders.iter().any(|orders| orders.contains(&Order::Move));
    let mut add = |setup: Setup, orders: &[Order]| {
        let is_asking = orders.contains(&Order::Liveness);
        world.add(match (is_mobile, is_asking) {
            (true, true) => setup.mobike().dpd(QUIET),
            // Who has moved, and was not heard when it said so, is found out.
            (true, false) => setup.mobike().dpd(Duration::from_secs(30)),
            (false, true) => setup.dpd(QUIET),
            (false, false) => setup,
        })
    };
    let [ours, theirs] = orders;
    let rw = add(further(client(), "dynamic", "10.2.0.0/16"), ours);
    let gw = add(further(gateway().peer_at(HOME), "10.2.0.0/16", "dynamic"), theirs);
    if is_mobile {
        // Two who both leave without a place where they can be found do not find each other again.
        world.move_to(gw, &[GATEWAY, LASTING]);
    }
    world.connect(rw, gw, FIRST);
    (world, [rw, gw])
}

/// Where the client is first, and then.
pub(crate) const HOME: &str = "198.51.100.7";
pub(crate) const CAFE: &str = "203.0.113.5";
/// Where the gateway is first, and then, and where it is as well.
const GATEWAY: &str = "192.0.2.1";
const OTHER_GATEWAY: &str = "192.0.2.99";
const LASTING: &str = "192.0.2.200";

fn further(setup: Setup, local: &str, remote: &str) -> Setup {
    setup.connection(|connection| {
        let first = connection.children.first().expect("there is a first");
        let selector = |text| vec![SelectorPattern::parse(text).expect("the selector parses")];
        let (local_ts, remote_ts) = (selector(local), selector(remote));
        let child = Child { name: FURTHER.into(), local_ts, remote_ts, ..Child::clone(first) };
        connection.children.push(Arc::new(child));
    })
}

/// Gives an order about what there is at the moment, and says who waits for it: nobody, if there is nothing it could be
/// about.
pub(crate) fn give(world: &mut World, host: HostId, order: Order) -> Vec<RequestId> {
    let sas = world.ike_sas(host);
    let is_current = |state| matches!(state, IkeSaState::Established | IkeSaState::Rekeying);
    let Some(sa) = sas.iter().rfind(|sa| is_current(sa.state)).filter(|_| order.is_about_what_there_is())
    else {
        return match order {
            Order::CreateChild => vec![world.initiate(host, FURTHER)],
            Order::Liveness => {
                // It comes by itself, when it has been quiet for long enough.
                let rest = QUIET.saturating_sub(world.elapsed());
                world.wait(rest);
                vec![]
            }
            Order::Move => {
                let is_client = world.host(host).name == "rw";
                world.move_to(host, if is_client { &[CAFE] } else { &[OTHER_GATEWAY, LASTING] });
                vec![]
            }
            Order::RekeyChild | Order::RekeyIke | Order::DeleteChild | Order::DeleteIke => vec![],
        };
    };
    // As an operator says it, by name: all that have it, one that takes the place of another too.
    let named: Vec<_> = sa
        .children
        .iter()
        .filter(|child| child.name == FIRST && child.state != ChildSaState::Deleted)
        .map(|child| child.id)
        .collect();
    let ike_sa = sa.id;
    let mut requests = Vec::new();
    let mut command = |command: &dyn Fn(RequestId) -> Command| {
        let request = world.next_request();
        // Another order may have ended it by now.
        requests.extend(world.command(host, command(request)).is_ok().then_some(request));
    };
    match order {
        Order::RekeyIke => command(&|request| Command::RekeyIkeSa { request, ike_sa }),
        Order::DeleteIke => command(&|request| Command::TerminateIkeSa { request, ike_sa, force: false }),
        Order::RekeyChild => named
            .into_iter()
            .for_each(|child_sa| command(&|request| Command::RekeyChildSa { request, child_sa })),
        Order::DeleteChild => named
            .into_iter()
            .for_each(|child_sa| command(&|request| Command::TerminateChildSa { request, child_sa })),
        Order::CreateChild | Order::Liveness | Order::Move => {}
    }
    requests
}
