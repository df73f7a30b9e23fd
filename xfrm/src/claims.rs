//! Who wants which route to one destination, and what to tell the kernel about it.
//!
//! A table holds one route per destination, but several CHILD_SAs may want one: the old and the
//! new SA around a rekey, or two connections with the same remote selector. Each says what it
//! wants; the newest is installed, and when it goes the one before it returns.

use std::net::IpAddr;

use crate::route::NextHop;

/// A route to a destination, without the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) next_hop: NextHop,
    pub(crate) source: Option<IpAddr>,
    pub(crate) mtu: Option<u32>,
    pub(crate) mss: Option<u32>,
    pub(crate) purpose: Purpose,
}

/// What a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Traffic for a tunnel.
    Tunnel,
    /// The tunnel's own packets on their way to the peer: above every tunnel's claim to the same
    /// destination, which would swallow them.
    Exemption,
}

/// What the kernel has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    Install(Claim),
    Replace(Claim),
    Remove(Claim),
}

/// The claims to one destination, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Claims(Vec<Claim>);

impl Claims {
    /// Adds a claim. Equal ones count.
    pub(crate) fn add(&mut self, claim: Claim) -> Step {
        let before = self.effective();
        self.0.push(claim);
        self.step_from(before)
    }

    /// Takes back the newest of the claims equal to this. `None`: there is none.
    pub(crate) fn remove(&mut self, claim: Claim) -> Option<Step> {
        let before = self.effective();
        let position = self.0.iter().rposition(|other| *other == claim)?;
        self.0.remove(position);
        Some(self.step_from(before))
    }

    /// The one that is installed.
    pub(crate) fn effective(&self) -> Option<Claim> {
        let exemption = self.0.iter().rfind(|claim| claim.purpose == Purpose::Exemption);
        exemption.or(self.0.last()).copied()
    }

    fn step_from(&self, before: Option<Claim>) -> Step {
        match (before, self.effective()) {
            (None, None) => Step::Nothing,
            (None, Some(now)) => Step::Install(now),
            (Some(before), None) => Step::Remove(before),
            (Some(before), Some(now)) if before == now => Step::Nothing,
            (Some(_), Some(now)) => Step::Replace(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(interface: u32) -> Claim {
        Claim {
            next_hop: NextHop::Interface(interface),
            source: None,
            mtu: None,
            mss: None,
            purpose: Purpose::Tunnel,
        }
    }

    #[test]
    fn the_newest_claim_is_installed_and_the_one_before_returns() {
        let mut claims = Claims::default();
        assert_eq!(claims.add(claim(1)), Step::Install(claim(1)));
        assert_eq!(claims.add(claim(2)), Step::Replace(claim(2)));
        assert_eq!(claims.remove(claim(2)), Some(Step::Replace(claim(1))));
        assert_eq!(claims.remove(claim(1)), Some(Step::Remove(claim(1))));
        assert_eq!(claims.remove(claim(1)), None);
    }

    #[test]
    fn equal_claims_count() {
        let mut claims = Claims::default();
        assert_eq!(claims.add(claim(1)), Step::Install(claim(1)));
        assert_eq!(claims.add(claim(1)), Step::Nothing);
        assert_eq!(claims.remove(claim(1)), Some(Step::Nothing));
        assert_eq!(claims.remove(claim(1)), Some(Step::Remove(claim(1))));
    }

    #[test]
    fn a_claim_below_another_goes_unseen() {
        let mut claims = Claims::default();
        claims.add(claim(1));
        claims.add(claim(2));
        assert_eq!(claims.remove(claim(1)), Some(Step::Nothing));
        assert_eq!(claims.remove(claim(2)), Some(Step::Remove(claim(2))));
    }

    #[test]
    fn an_exemption_stays_on_top() {
        let exemption = Claim { next_hop: NextHop::Throw, purpose: Purpose::Exemption, ..claim(0) };
        let mut claims = Claims::default();
        claims.add(claim(1));
        assert_eq!(claims.add(exemption), Step::Replace(exemption));
        assert_eq!(claims.add(claim(2)), Step::Nothing);
        assert_eq!(claims.remove(exemption), Some(Step::Replace(claim(2))));
    }
}
