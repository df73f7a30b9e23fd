//! `struct xfrm_userpolicy_info`, the body of policy messages and the value of the per-socket
//! policy option.

use zeroize::Zeroizing;

use super::Writer;
use super::selector::{Lifetime, write_selector_of_all};

/// `XFRM_POLICY_ALLOW`: without templates, let pass as it is.
const ACTION_ALLOW: u8 = 0;

/// Which packets a policy is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

/// The 168 octets of a policy that lets everything of one family and direction pass untouched.
pub(crate) fn allow_all(family: u8, direction: Direction) -> Zeroizing<Vec<u8>> {
    let mut w = Writer::new();
    write_selector_of_all(&mut w, family);
    Lifetime::default().write(&mut w);
    w.u32(0); // priority
    w.u32(0); // index: the kernel's choice
    w.u8(match direction {
        Direction::In => 0,
        Direction::Out => 1,
    });
    w.u8(ACTION_ALLOW);
    w.u8(0); // flags
    w.u8(0); // share
    w.zeros(4);
    w.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::test_support::assert_octets;
    use crate::message::{AF_INET, AF_INET6};

    /// Against what a C program writes with the kernel's own header.
    #[test]
    fn policies_are_laid_out_as_in_c() {
        let zeros = |count: usize| "00".repeat(count);
        let unlimited = "ff".repeat(32);
        let golden = |family: &str, direction: &str| {
            [&zeros(40), family, &zeros(15), &unlimited, &zeros(72), direction, &zeros(7)].concat()
        };
        assert_octets(&allow_all(AF_INET, Direction::In), &golden("02", "00"));
        assert_octets(&allow_all(AF_INET6, Direction::Out), &golden("0a", "01"));
    }
}
