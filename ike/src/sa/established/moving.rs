//! Where the peer is, and where we are (RFC 7296 §2.11, §2.23; RFC 4555).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tracing::{debug, info, warn};

use super::{Established, Rank};
use crate::context::Cx;
use crate::natt::NatSituation;
use crate::output::{Action, ActionId, Event, Outcome, Path};
use crate::sa::Core;
use crate::sa::mobike::{self, Look, Purpose, Whereabouts};
use crate::sa::task::{Active, Task};
use crate::timer::Timer;
use crate::wire::Payloads;
use crate::wire::registry::NotifyType;

/// After so many retransmissions over the path in use others are tried too: RFC 4555 §3.5 has "several".
const PROBE_AFTER: u32 = 2;

/// So long after a change the peer hears of addresses that are not in use. One that comes is often followed by one that
/// goes, and an update of addresses cannot be sent while we wait for an answer (RFC 7296 §2.3).
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// The most paths a request is sent over at a time.
const MOST_PATHS: usize = 16;

impl Established {
    /// RFC 7296 §2.23: a peer behind a NAT is followed to where its last authenticated request came from; we
    /// are not, lest an attacker who repeats our datagrams moves us.
    pub(super) fn follow_peer(&mut self, core: &mut Core, path: Path, cx: &mut Cx<'_>) {
        // RFC 4555 §3.8: with MOBIKE, no request but an update changes anything, so that paths can be tested.
        if self.mobility.is_none() {
            self.follow_mapping(core, path, cx);
        }
    }

    /// The data plane saw an authenticated packet of the peer from elsewhere. With MOBIKE too, a new mapping of its NAT
    /// is followed by that: the peer finds out later, if ever.
    pub(crate) fn mapping_changed(&mut self, remote: SocketAddr, core: &mut Core, cx: &mut Cx<'_>) {
        if self.mobility.as_ref().is_some_and(|mobility| mobility.may_be_late(remote, cx.now)) {
            return debug!(target: "ike", "late packet from {remote}, which the peer has left");
        }
        self.follow_mapping(core, Path { remote, ..core.path }, cx);
    }

    fn follow_mapping(&mut self, core: &mut Core, path: Path, cx: &mut Cx<'_>) {
        if path == core.path || !core.nat.remote_behind_nat || core.nat.local_behind_nat {
            return;
        }
        info!(target: "ike", "NAT mappings of peer changed: {} is {} now", core.path.remote, path.remote);
        self.move_to(path, core, cx);
    }

    /// From now on everything goes over this path: what is in flight too, as soon as the data plane knows of it.
    fn move_to(&mut self, path: Path, core: &mut Core, cx: &mut Cx<'_>) {
        if self.rank == Rank::Current {
            cx.tell(Event::IkeSaMoved { status: Box::new(self.status(core)), path });
        }
        core.path = path;
        if let Some(mobility) = &mut self.mobility {
            mobility.tried.clear();
            self.resends |= core.window.is_waiting();
        }
    }

    /// Tells the data plane of every CHILD_SA that is not where it believes. Nothing is sent over a new path before it
    /// has heard of it: until then, a route into the tunnel may lie over the way to the peer.
    pub(super) fn keep_children_up(&mut self, core: &Core, cx: &mut Cx<'_>) {
        let updates = self.children.iter_mut().filter_map(|child| child.keep_up_with(core, cx));
        self.updating.extend(updates);
    }

    pub(super) fn child_updated(&mut self, id: ActionId, outcome: &Outcome) {
        self.updating.retain(|action| *action != id);
        if let Outcome::Failed(why) = outcome {
            warn!(target: "knl", "the CHILD_SA stays where it was: {why}");
        }
    }

    // What our own host does.

    /// Our addresses or routes are not what they were.
    pub(crate) fn network_changed(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        let Some(mobility) = &self.mobility else { return };
        if !mobility.decides && cx.addresses.contains(&core.path.local.ip()) {
            // How the peer reaches us is its own decision; it hears what there is to choose from.
            return self.tell_addresses(core, cx);
        }
        self.look(Purpose::Roam, core, cx);
    }

    /// The request in flight has been sent again. If that happens too often, the path may be broken.
    pub(in crate::sa) fn doubt_path(&mut self, core: &Core, cx: &mut Cx<'_>) {
        let tells = matches!(self.active, Some(Active::Inform(Task::TellAddresses)));
        let is_ours_to_try = self.mobility.as_ref().is_some_and(|mobility| mobility.decides || tells);
        if is_ours_to_try && core.window.in_flight().is_some_and(|(_, sent)| sent >= PROBE_AFTER) {
            self.look(Purpose::Probe, core, cx);
        }
    }

    /// Looks for paths.
    pub(in crate::sa) fn look(&mut self, purpose: Purpose, core: &Core, cx: &mut Cx<'_>) {
        let Some(mobility) = &mut self.mobility else { return };
        if let Some(look) = &mut mobility.looking {
            if purpose != Purpose::Probe {
                look.is_stale = true;
                look.purpose = look.purpose.max(purpose);
            }
            return;
        }
        let action =
            cx.ask(core.id, Action::FindPaths { current: core.path, remotes: mobility.remotes(core) });
        mobility.looking = Some(Look { action, purpose, is_stale: false });
    }

    pub(super) fn is_looking_by(&self, id: ActionId) -> bool {
        let looking = self.mobility.as_ref().and_then(|mobility| mobility.looking);
        looking.is_some_and(|look| look.action == id)
    }

    pub(super) fn handle_paths(&mut self, outcome: Outcome, core: &mut Core, cx: &mut Cx<'_>) {
        let Some(mobility) = &mut self.mobility else { return };
        let Some(look) = mobility.looking.take() else { return };
        if look.is_stale {
            return self.look(look.purpose, core, cx);
        }
        let Outcome::Paths { is_current_usable, pairs } = outcome else {
            debug!(target: "ike", "looking for paths to {} failed", core.path.remote.ip());
            return;
        };
        let decides = mobility.decides;
        let mut paths = pairs.into_iter().take(MOST_PATHS).map(|(local, remote)| {
            let port = if remote == core.path.remote.ip() || decides {
                core.path.remote.port()
            } else if core.path.local.port() == cx.ports.nat_t {
                4500
            } else {
                500
            };
            let local = SocketAddr::new(local, core.path.local.port());
            Path { local, remote: SocketAddr::new(remote, port) }
        });
        match look.purpose {
            Purpose::Probe => {
                let paths = paths.filter(|path| *path != core.path).collect();
                self.probe(paths, core, cx);
            }
            Purpose::Roam if is_current_usable => {
                mobility.refused.clear(); // what was no good may be good now
                // Routes come back one after the other. The peer is sooner found where it was than where it says it may
                // be too.
                let heard_at = mobility.heard_at.filter(|heard_at| *heard_at != core.path.remote.ip());
                if let Some(path) = heard_at.and_then(|at| paths.find(|path| path.remote.ip() == at)) {
                    return self.relocate(path, core, cx);
                }
                if cx.settings.check_current_path && decides {
                    self.ask_for_life();
                }
                self.tell_addresses(core, cx);
            }
            purpose @ (Purpose::Roam | Purpose::Leave) => {
                let mut others = paths.filter(|path| *path != core.path && !mobility.refused.contains(path));
                match others.next() {
                    Some(path) => {
                        match purpose {
                            Purpose::Leave => mobility.heard_at = None,
                            _ => mobility.leave_for(path.remote.ip(), core.path.remote.ip()),
                        }
                        self.relocate(path, core, cx);
                    }
                    None => {
                        info!(target: "ike", "no other way to reach {}, MOBIKE update deferred", core.path.remote.ip());
                    }
                }
            }
        }
    }

    /// RFC 4555 §3.10: the request in flight is as good as any to test paths with.
    fn probe(&mut self, paths: Vec<Path>, core: &Core, cx: &mut Cx<'_>) {
        let (Some(mobility), Some((messages, _))) = (&mut self.mobility, core.window.in_flight()) else {
            return;
        };
        for path in paths {
            info!(target: "ike", "checking path {} - {}", path.local, path.remote);
            for message in messages {
                cx.transmit(path, message);
            }
            if !mobility.tried.contains(&path) {
                mobility.tried.push(path);
            }
        }
    }

    /// A response came over this path. Gives whether its request was sent over several: then it may be any of them that
    /// the peer saw first.
    pub(super) fn note_answer(&mut self, path: Path, core: &mut Core, cx: &mut Cx<'_>) -> bool {
        let Some(mobility) = &mut self.mobility else { return false };
        let tried = std::mem::take(&mut mobility.tried);
        // Where we have not sent to, no peer answers from.
        if path != core.path && tried.contains(&path) {
            self.relocate(path, core, cx);
        }
        !tried.is_empty()
    }

    /// We go over another path, and the peer hears of it as soon as may be.
    fn relocate(&mut self, path: Path, core: &mut Core, cx: &mut Cx<'_>) {
        info!(target: "ike", "moving from {} - {} to {} - {} using MOBIKE", core.path.local, core.path.remote, path.local, path.remote);
        self.move_to(path, core, cx);
        let decides = self.mobility.as_ref().is_some_and(|mobility| mobility.decides);
        // RFC 4555 §3.6: who does not decide says where it is, and the other draws its conclusions.
        self.ask_next(if decides { Task::UpdateAddresses } else { Task::TellAddresses });
    }

    /// Tells the peer where else we are, if it does not know: at once, or if we may have to tell more urgent things soon,
    /// when those would have come.
    pub(in crate::sa) fn tell_addresses(&mut self, core: &mut Core, cx: &Cx<'_>) {
        if !self.mobility.as_ref().is_some_and(|mobility| mobility.decides) {
            self.tell_addresses_now(core, cx);
        } else if !core.timers.is_armed(Timer::TellAddresses) && self.has_addresses_to_tell(core, cx) {
            core.timers.arm(Timer::TellAddresses, cx.now + SETTLED_AFTER);
        }
    }

    pub(super) fn tell_addresses_now(&mut self, core: &Core, cx: &Cx<'_>) {
        if self.has_addresses_to_tell(core, cx) {
            self.ask_next(Task::TellAddresses);
        }
    }

    fn has_addresses_to_tell(&self, core: &Core, cx: &Cx<'_>) -> bool {
        let sorted = |mut addresses: Vec<IpAddr>| {
            addresses.sort_unstable();
            addresses
        };
        self.mobility
            .as_ref()
            .is_some_and(|mobility| sorted(core.other_addresses(cx)) != sorted(mobility.told.clone()))
    }

    /// Asks this before all else that waits. Once is enough, and too much if the IKE SA is to end.
    pub(in crate::sa) fn ask_next(&mut self, task: Task) {
        let is_over = self.rank == Rank::Superseded || self.is_ending();
        if !is_over && !self.queue.contains(&Task::DeleteIkeSa) && !self.queue.contains(&task) {
            self.queue.push_front(task);
        }
    }

    // What the peer does.

    /// The peer, who decides, wants to be here from now on (RFC 4555 §3.5).
    ///
    /// Return routability is checked at once, but not waited for: RFC 4555 §3.7 allows it, and a peer that has
    /// authenticated would lose every packet of a round trip more. If it does not answer, the IKE SA ends.
    pub(in crate::sa) fn peer_is_at(&mut self, at: Whereabouts, core: &mut Core, cx: &mut Cx<'_>) {
        if let (Rank::Superseded, Some(successor)) = (self.rank, self.successor) {
            cx.forwarded.push((successor, at));
        }
        let is_elsewhere = at.path.remote.ip() != core.path.remote.ip();
        if at.path != core.path {
            info!(target: "ike", "peer moved from {} to {}", core.path.remote, at.path.remote);
            if let Some(mobility) = &mut self.mobility {
                mobility.note_departure(core.path.remote, at.path.remote, cx.now);
            }
            self.move_to(at.path, core, cx);
        }
        if let Some(nat) = at.nat {
            self.take_nat(nat, core, cx);
        }
        if is_elsewhere && self.mobility.is_some() {
            self.ask_next(Task::CheckRoutability);
        }
    }

    /// The same, as the IKE SA heard it whose place this one took: only what nothing newer has been heard of.
    pub(crate) fn peer_was_heard_at(&mut self, at: Whereabouts, core: &mut Core, cx: &mut Cx<'_>) {
        if self.mobility.as_ref().is_some_and(|mobility| !mobility.decides && !mobility.was_updated) {
            self.peer_is_at(at, core, cx);
        }
    }

    /// The peer's list of its addresses has come, from one of them (RFC 4555 §3.6).
    pub(in crate::sa) fn peer_addresses(
        &mut self,
        list: Vec<IpAddr>,
        from: IpAddr,
        core: &Core,
        cx: &mut Cx<'_>,
    ) {
        let Some(mobility) = &mut self.mobility else { return };
        let others = list.into_iter().filter(|address| *address != from);
        mobility.peer_addresses = [from].into_iter().chain(others).collect();
        let is_gone = !mobility.peer_addresses.contains(&core.path.remote.ip());
        mobility.peer_addresses.retain(|address| *address != core.path.remote.ip());
        if mobility.decides && is_gone {
            info!(target: "ike", "peer is at {} no more", core.path.remote.ip());
            mobility.refused.push(core.path);
            self.look(Purpose::Leave, core, cx);
        }
    }

    // NATs between the two.

    /// There is a NAT, or there is none any more: encapsulation and keepalives follow.
    pub(in crate::sa) fn take_nat(&mut self, nat: NatSituation, core: &mut Core, cx: &mut Cx<'_>) {
        core.take_nat(nat, core.fakes_nat(cx));
        self.keep_mapping(core, cx);
    }

    /// RFC 3948 §4: whoever is behind the NAT keeps its mapping.
    pub(super) fn keep_mapping(&self, core: &mut Core, cx: &Cx<'_>) {
        match cx.settings.keep_alive {
            Some(interval) if core.nat.local_behind_nat && self.rank == Rank::Current => {
                core.timers.arm(Timer::KeepAlive, cx.now + interval);
            }
            _ => core.timers.disarm(Timer::KeepAlive),
        }
    }

    /// Liveness shows whether our NAT still has the mapping that the peer knows (RFC 4555 §3.8).
    pub(in crate::sa) fn watches_mapping(&self, core: &Core) -> bool {
        core.nat_t && core.nat.local_behind_nat && self.mobility.as_ref().is_some_and(|m| m.decides)
    }

    fn check_mapping(&mut self, payloads: &Payloads<'_>) {
        let Some(seen_as) = mobike::seen_as(payloads) else { return };
        if self.mobility.as_ref().is_some_and(|mobility| mobility.seen_as != Some(seen_as)) {
            info!(target: "ike", "NAT mappings changed, updating addresses using MOBIKE");
            self.ask_next(Task::UpdateAddresses);
        }
    }

    // Answers to what we have asked.

    /// RFC 4555 §3.7: whoever answers has seen the request, if that had a cookie.
    pub(super) fn cookie_came_back(&mut self, payloads: &Payloads<'_>) -> bool {
        let Some(cookie) = self.mobility.as_mut().and_then(|mobility| mobility.cookie.take()) else {
            return true;
        };
        payloads.notify(NotifyType::COOKIE2).is_some_and(|notify| notify.data == cookie)
    }

    pub(super) fn liveness_answered(&mut self, payloads: &Payloads<'_>, core: &Core) {
        if self.watches_mapping(core) {
            self.check_mapping(payloads);
        }
    }

    /// The answer to an update or a list of addresses. `was_spread`: it went over several paths.
    pub(super) fn addresses_answered(
        &mut self,
        task: Task,
        payloads: &Payloads<'_>,
        path: Path,
        was_spread: bool,
        core: &mut Core,
        cx: &mut Cx<'_>,
    ) {
        let tries = cx.settings.retransmission.tries;
        let Some(mobility) = &mut self.mobility else { return };
        if self.queue.contains(&Task::UpdateAddresses) {
            return; // RFC 4555 §3.5: something newer is to be said
        }
        if payloads.notify(NotifyType::UNEXPECTED_NAT_DETECTED).is_some() {
            // RFC 4555 §3.9: several times, as one changed datagram must not make a path useless.
            mobility.surprises += 1;
            if mobility.surprises <= tries {
                self.ask_next(task);
            } else {
                warn!(target: "ike", "there is a NAT between {} and {}, and no NAT traversal", path.local, path.remote);
                mobility.surprises = 0;
                mobility.refused.push(core.path);
                self.look(Purpose::Leave, core, cx);
            }
            return;
        }
        mobility.surprises = 0;
        if was_spread {
            // RFC 4555 §3.6: which of the paths the peer took it to mean is not known.
            return self.ask_next(task);
        }
        if task != Task::UpdateAddresses {
            return;
        }
        if payloads.notify(NotifyType::UNACCEPTABLE_ADDRESSES).is_some() {
            warn!(target: "ike", "peer does not accept {} - {}", path.local, path.remote);
            mobility.refused.push(core.path);
            return self.look(Purpose::Leave, core, cx);
        }
        mobility.refused.clear();
        mobility.heard_at = None;
        mobility.seen_as = mobike::seen_as(payloads);
        if let Some(nat) = Whereabouts::of(payloads, path, core).nat {
            self.take_nat(nat, core, cx);
        }
    }
}
