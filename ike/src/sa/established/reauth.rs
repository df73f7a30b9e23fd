//! When the ends must prove again who they are (RFC 7296 §2.8.3, RFC 4478).

use std::time::{Duration, Instant};

use tracing::info;

use super::{Established, Rank};
use crate::context::Cx;
use crate::output::{Action, ChildDown, ChildSaId, IkeSaId, RequestId};
use crate::redirect::Gateway;
use crate::sa::child::retry;
use crate::sa::renewal::{Renewal, Word};
use crate::sa::task::Task;
use crate::sa::{Core, HeldLease};
use crate::timer::Timer;

/// RFC 4478 §5 allows limits on what is asked: a peer that always says zero must not keep both ends busy with nothing
/// else.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(10);

/// How long the first CHILD_SA stands behind that of an older IKE SA, if the peer is silent on the new one and keeps the
/// old one. It is time enough for two retransmissions of IKE_AUTH by charon's schedule.
const STAND_BEHIND: Duration = Duration::from_secs(12);

/// How an IKE SA is being made anew.
pub(super) enum Renewing {
    /// It goes first, and the new one follows, perhaps with another gateway.
    Next(Vec<RequestId>, Option<Gateway>),
    /// The new one comes to stand, and then this one goes.
    Meanwhile(IkeSaId),
}

impl Established {
    /// Makes the IKE SA anew, as soon as nothing else is under way.
    pub(crate) fn reauthenticate(&mut self, request: Option<RequestId>) {
        self.reauthenticators.extend(request);
        if !self.queue.contains(&Task::Reauthenticate) {
            self.queue.push_back(Task::Reauthenticate);
        }
    }

    /// It is the turn of that. What is sent for it, if anything: this IKE SA's end.
    pub(super) fn begin_reauthentication(&mut self, core: &mut Core, cx: &mut Cx<'_>) -> Option<Task> {
        if self.rank == Rank::Superseded || self.renewing.is_some() || self.ending.is_some() {
            return None;
        }
        let mut requests = std::mem::take(&mut self.reauthenticators);
        // Only the original initiator can ask for addresses, reach what is behind a NAT, or be the client of EAP. Others
        // may as well begin.
        let needs_peer = matches!(self.held, HeldLease::Given(_))
            || core.nat.remote_behind_nat
            || core.remote_eap_id.is_some();
        if !self.opened_by_us && needs_peer {
            info!(target: "ike", "IKE_SA {}[{}] is the peer's to reauthenticate", core.name(), core.id);
            cx.complete(&mut requests, &Err("it is the peer's to reauthenticate".into()));
            return None;
        }
        info!(target: "ike", audit = true, "reauthenticating IKE_SA {}[{}]", core.name(), core.id);
        if cx.settings.make_before_break {
            let new = Renewal::of(self, core, requests).begin(Some(core.id), cx);
            self.renewing = Some(Renewing::Meanwhile(new));
            return None;
        }
        self.renewing = Some(Renewing::Next(requests, None));
        self.ending = Some(ChildDown::Terminated);
        Some(Task::DeleteIkeSa)
    }

    /// Another IKE SA has been rekeyed to this one. One that is made in its place is in this one's place now.
    pub(in crate::sa) fn inherit_renewal(&mut self, old: &mut Self, own_id: IkeSaId, cx: &mut Cx<'_>) {
        self.renewing = old.renewing.take();
        if let Some(Renewing::Meanwhile(new)) = self.renewing {
            cx.words.push((new, Word::PredecessorIs(own_id)));
        }
    }

    /// Another IKE SA has something to say.
    pub(crate) fn hear(&mut self, word: Word, core: &mut Core, cx: &mut Cx<'_>) {
        match word {
            Word::Renewed => self.end(ChildDown::Terminated),
            Word::NotRenewed { .. } => {
                self.renewing = None;
                if self.rank == Rank::Current && self.reauthenticates.is_some() {
                    self.reauthenticate_at(retry(self.expires, cx), core);
                }
            }
            Word::PredecessorIs(predecessor) => {
                if let Some(heritage) = &mut core.heritage {
                    heritage.predecessor = Some(predecessor);
                }
            }
        }
    }

    /// The one that was there before is not needed any longer.
    pub(super) fn succeed_predecessor(core: &mut Core, cx: &mut Cx<'_>) {
        if let Some(predecessor) = core.heritage.take().and_then(|heritage| heritage.predecessor) {
            cx.words.push((predecessor, Word::Renewed));
        }
    }

    /// The peer has another IKE SA with CHILD_SAs that it can receive on already. The first of this one waits until it is
    /// sure that the peer has our response, or until those are gone.
    pub(crate) fn stand_behind(&mut self, child: ChildSaId, core: &mut Core, cx: &Cx<'_>) {
        self.behind = Some(child);
        core.timers.arm(Timer::ComeForward, cx.now + STAND_BEHIND);
    }

    /// The peer has our response of IKE_AUTH, or has had the time to ask for it again.
    pub(super) fn come_forward(&mut self, core: &mut Core, cx: &mut Cx<'_>) {
        core.timers.disarm(Timer::ComeForward);
        if let Some(child_sa) = self.behind.take().filter(|child| self.child(*child).is_some()) {
            cx.ask(core.id, Action::UseChild { child_sa });
        }
    }

    /// RFC 4478: the original responder says how long it will have the IKE SA without another authentication.
    pub(crate) fn limit_lifetime(&mut self, lifetime: Duration, core: &mut Core, cx: &Cx<'_>) {
        if !self.opened_by_us || self.rank == Rank::Superseded {
            return;
        }
        // In good time before the end, but not so early that nothing is left of a short one.
        let early = self.connection.over_time.min(lifetime / 10);
        let at = (cx.now + lifetime.saturating_sub(early)).max(self.since + SHORTEST_LIFETIME);
        let seconds = lifetime.as_secs();
        if self.reauthenticates.is_some_and(|ours| ours <= at) {
            info!(target: "ike", "received AUTH_LIFETIME of {seconds}s, reauthentication is due before that");
            return;
        }
        let due = at.saturating_duration_since(cx.now).as_secs();
        info!(target: "ike", "received AUTH_LIFETIME of {seconds}s, scheduling reauthentication in {due}s");
        self.reauthenticate_at(at, core);
        let end = at + self.connection.over_time;
        if self.expires.is_none_or(|expires| end < expires) {
            self.expires = Some(end);
            core.timers.arm(Timer::Expire, end);
        }
    }

    /// Who has authenticated the peer lets it stay so long. It is to authenticate again in good time before the end,
    /// which comes however often the IKE SA is rekeyed.
    pub(in crate::sa) fn limit_session(&mut self, lifetime: Duration, core: &mut Core, cx: &Cx<'_>) {
        let end = cx.now + lifetime.max(SHORTEST_LIFETIME);
        let early = self.connection.over_time.min(lifetime / 10);
        let at = cx.now + lifetime.saturating_sub(early);
        self.session_ends = Some(end);
        if self.reauthenticates.is_none_or(|ours| at < ours) {
            self.reauthenticate_at(at, core);
        }
        if self.expires.is_none_or(|expires| end < expires) {
            self.expires = Some(end);
            core.timers.arm(Timer::Expire, end);
        }
        info!(target: "ike", "the peer may stay for {}s without authenticating again", lifetime.as_secs());
    }

    /// The same for one that stands, whatever was said before. The peer is told.
    pub(crate) fn change_session(&mut self, lifetime: Duration, core: &mut Core, cx: &Cx<'_>) {
        if self.session_ends.take().is_some() && self.connection.reauth_time.is_none() {
            self.reauthenticates = None;
        }
        let shortest = [self.rekeys, self.reauthenticates].into_iter().flatten().min();
        self.expires = shortest.map(|at| at + self.connection.over_time);
        self.limit_session(lifetime, core, cx);
        if !self.opened_by_us && !self.queue.contains(&Task::TellLifetime) {
            self.queue.push_back(Task::TellLifetime);
        }
    }

    /// What the original responder says of it to the peer: the seconds that are left.
    pub(crate) fn auth_lifetime(&self, cx: &Cx<'_>) -> Option<u32> {
        let left = self.reauthenticates?.saturating_duration_since(cx.now);
        Some(u32::try_from(left.as_secs()).unwrap_or(u32::MAX))
    }

    pub(super) fn reauthenticate_at(&mut self, at: Instant, core: &mut Core) {
        self.reauthenticates = Some(at);
        core.timers.arm(Timer::Reauthenticate, at);
    }
}
