//! Deadlines: one table per IKE SA, and nothing else compares times.

use std::time::Instant;

/// What an IKE SA waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Armed with each request we send. Firing sends it again, or gives the peer up (RFC 7296 §2.4).
    Retransmit,
    /// Armed when we answer IKE_SA_INIT. Firing forgets an initiator that never authenticated.
    HalfOpen,
    /// Armed while established and `dpd_delay` is set. Firing asks whether the peer lives.
    Liveness,
    /// Armed while we are behind a NAT. Firing keeps the mapping open (RFC 3948 §4).
    KeepAlive,
    /// Armed when established and `rekey_time` is set. Firing makes its successor (RFC 7296 §2.8).
    Rekey,
    /// Armed when established and it is to authenticate again. Firing makes it anew (RFC 7296 §2.8.3).
    Reauthenticate,
    /// Armed when established. Firing ends the IKE SA, whose time is up.
    Expire,
    /// Armed when the first CHILD_SA stands behind one that the peer had before. Firing sends with it, if nothing has
    /// happened until then.
    ComeForward,
    /// Armed while a CHILD_SA is to be rekeyed, at the earliest moment. Firing makes successors of those that are due.
    ChildRekey,
    /// Armed while a CHILD_SA has a lifetime, at the earliest of them. Firing ends those that are due.
    ChildExpire,
    /// Armed while a CHILD_SA that was rekeyed still receives, at the earliest end of that. Firing removes those that
    /// are due.
    ChildLinger,
    /// Armed while a CHILD_SA may end for carrying nothing, at the earliest moment. Firing asks the data plane about
    /// those that are due.
    ChildInactive,
    /// Armed when the addresses of an IKE SA that decides about them are others, beside the one in use. Firing tells the
    /// peer.
    TellAddresses,
    /// Armed when a fragment is kept while others are missing. Firing forgets what has come (RFC 7383 §2.6).
    Reassembly,
    /// Armed when the SA is closed but the peer may still ask for our last answer, or when it came to nothing and the peer
    /// is to delete it, who may not know of it. Firing forgets it.
    Linger,
}

impl Timer {
    const ALL: [Self; 15] = [
        Self::Retransmit,
        Self::HalfOpen,
        Self::Liveness,
        Self::KeepAlive,
        Self::Rekey,
        Self::Reauthenticate,
        Self::Expire,
        Self::ComeForward,
        Self::ChildRekey,
        Self::ChildExpire,
        Self::ChildLinger,
        Self::ChildInactive,
        Self::TellAddresses,
        Self::Reassembly,
        Self::Linger,
    ];
}

/// The deadlines of one IKE SA.
#[derive(Default)]
pub(crate) struct Timers {
    deadlines: [Option<Instant>; Timer::ALL.len()],
}

impl Timers {
    /// Arms a timer, or moves its deadline.
    pub(crate) fn arm(&mut self, timer: Timer, at: Instant) {
        if let Some(slot) = self.deadlines.get_mut(timer as usize) {
            *slot = Some(at);
        }
    }

    /// Whether it has a deadline.
    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.deadlines.get(timer as usize).is_some_and(Option::is_some)
    }

    /// Disarms a timer.
    pub(crate) fn disarm(&mut self, timer: Timer) {
        if let Some(slot) = self.deadlines.get_mut(timer as usize) {
            *slot = None;
        }
    }

    /// Disarms all.
    pub(crate) fn clear(&mut self) {
        self.deadlines = Default::default();
    }

    /// Takes one timer that is due; it is disarmed by that.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        Timer::ALL.into_iter().zip(&mut self.deadlines).find_map(|(timer, slot)| {
            slot.is_some_and(|at| at <= now).then(|| {
                *slot = None;
                timer
            })
        })
    }

    /// The earliest deadline.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_fire_once_and_the_earliest_deadline_is_known() {
        let now = Instant::now();
        let mut timers = Timers::default();
        assert_eq!(timers.earliest(), None);
        timers.arm(Timer::Linger, now + Duration::from_secs(2));
        timers.arm(Timer::Retransmit, now + Duration::from_secs(1));
        assert_eq!(timers.earliest(), Some(now + Duration::from_secs(1)));
        assert_eq!(timers.pop_due(now), None);
        assert_eq!(timers.pop_due(now + Duration::from_secs(1)), Some(Timer::Retransmit));
        assert_eq!(timers.pop_due(now + Duration::from_secs(1)), None);
        assert_eq!(timers.pop_due(now + Duration::from_secs(9)), Some(Timer::Linger));
        assert_eq!(timers.earliest(), None);
    }

    #[test]
    fn every_timer_has_its_own_slot() {
        for (index, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, index);
        }
    }
}
