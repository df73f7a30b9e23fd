//! What happens when exchanges of both ends concern the same SA (RFC 7296 §2.8.1, §2.8.2, §2.25).
//!
//! Pure decisions: what a request of the peer is answered while one of ours is under way, and which of two
//! successors stays.

/// What a request of the peer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A further CHILD_SA.
    CreateChild,
    /// The successor of a CHILD_SA.
    RekeyChild,
    /// The end of a CHILD_SA.
    DeleteChild,
    /// The successor of the IKE SA.
    RekeyIkeSa,
}

/// What we are at, as far as the request touches it: with that CHILD_SA; if the request is about the IKE SA, with any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ours {
    /// Nothing that matters.
    Nothing,
    /// There is no such CHILD_SA.
    NoSuchChild,
    /// We make a CHILD_SA. A request about a CHILD_SA that we do not have may be about this one, if the peer has granted
    /// it and we have not heard of that yet.
    CreatingChild,
    /// Our request to rekey the CHILD_SA waits for its response.
    RekeyingChild,
    /// Our request to rekey the CHILD_SA has been granted; the DELETE of the old one comes next.
    ReplacingChild,
    /// Our DELETE of the CHILD_SA waits for its response.
    DeletingChild,
    /// Our request to rekey the IKE SA waits for its response.
    RekeyingIkeSa,
    /// The IKE SA has a successor already; the DELETE of the old one comes next or is under way.
    ReplacedIkeSa,
    /// Our DELETE of the IKE SA waits for its response.
    DeletingIkeSa,
}

/// How the request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As if nothing was under way.
    AsUsual,
    /// As usual; when our own request is answered too, the nonces decide which successor stays: [`survivor`].
    CompareNonces,
    /// Without a Delete payload: there is nothing left to delete.
    Empty,
    /// CHILD_SA_NOT_FOUND.
    NotFound,
    /// TEMPORARY_FAILURE, for this reason.
    NotNow(&'static str),
}

/// The answer to a request of the peer (RFC 7296 §2.25.1, §2.25.2). Closing the IKE SA is always answered as usual,
/// and whatever was under way is forgotten.
pub(crate) fn answer(request: Request, ours: Ours) -> Answer {
    match (request, ours) {
        (Request::CreateChild | Request::RekeyChild | Request::RekeyIkeSa, Ours::DeletingIkeSa) => {
            Answer::NotNow("we are deleting the IKE_SA")
        }
        (Request::RekeyIkeSa, Ours::RekeyingIkeSa) => Answer::CompareNonces,
        (Request::RekeyIkeSa, Ours::ReplacedIkeSa) => Answer::NotNow("the IKE_SA has been rekeyed already"),
        (Request::RekeyIkeSa, Ours::CreatingChild) => Answer::NotNow("we are creating a CHILD_SA"),
        (Request::RekeyIkeSa, Ours::RekeyingChild | Ours::ReplacingChild) => {
            Answer::NotNow("we are rekeying a CHILD_SA")
        }
        (Request::RekeyIkeSa, Ours::DeletingChild) => Answer::NotNow("we are deleting a CHILD_SA"),
        (Request::RekeyIkeSa, Ours::Nothing | Ours::NoSuchChild) => Answer::AsUsual,

        (Request::CreateChild | Request::RekeyChild, Ours::RekeyingIkeSa | Ours::ReplacedIkeSa) => {
            Answer::NotNow("we are rekeying the IKE_SA")
        }
        (Request::CreateChild, _) => Answer::AsUsual,

        (Request::RekeyChild, Ours::NoSuchChild) => Answer::NotFound,
        (Request::RekeyChild, Ours::RekeyingChild) => Answer::CompareNonces,
        (Request::RekeyChild, Ours::ReplacingChild | Ours::DeletingChild) => {
            Answer::NotNow("we are deleting the CHILD_SA")
        }
        (Request::RekeyChild, Ours::CreatingChild) => Answer::NotNow("we are creating a CHILD_SA"),
        (Request::RekeyChild, Ours::Nothing) => Answer::AsUsual,

        (Request::DeleteChild, Ours::DeletingChild | Ours::NoSuchChild) => Answer::Empty,
        (Request::DeleteChild, _) => Answer::AsUsual,
    }
}

/// Whose exchange made the SA that stays when both ends have made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survivor {
    /// Ours does; we delete the old SA, the peer deletes what its exchange made.
    Ours,
    /// The peer's does; we delete what our exchange made.
    Theirs,
}

/// Compares the lower nonces of both exchanges: the SA made with the lowest of the four goes (RFC 7296 §2.8.1). Octet
/// by octet; of two that agree as far as the shorter goes, the shorter is the lower.
pub(crate) fn survivor(ours: &[u8], theirs: &[u8]) -> Survivor {
    // RFC 7296 §2.10: nonces are random; that all are equal does not happen unless the peer repeats ours, and then
    // either answer will do for it.
    if ours > theirs { Survivor::Ours } else { Survivor::Theirs }
}

/// The lower of the nonces of one exchange.
pub(crate) fn lower<'a>(nonce_i: &'a [u8], nonce_r: &'a [u8]) -> &'a [u8] {
    nonce_i.min(nonce_r)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_an_answer_whatever_we_are_at() {
        use Answer::{AsUsual, CompareNonces, Empty, NotFound};
        use Ours::{
            CreatingChild, DeletingChild, DeletingIkeSa, NoSuchChild, Nothing, RekeyingChild, RekeyingIkeSa,
            ReplacedIkeSa, ReplacingChild,
        };
        use Request::{CreateChild, DeleteChild, RekeyChild, RekeyIkeSa};
        const LATER: Answer = Answer::NotNow("");
        let table = [
            (Nothing, [AsUsual, AsUsual, AsUsual, AsUsual]),
            (NoSuchChild, [AsUsual, NotFound, Empty, AsUsual]),
            (CreatingChild, [AsUsual, LATER, AsUsual, LATER]),
            (RekeyingChild, [AsUsual, CompareNonces, AsUsual, LATER]),
            (ReplacingChild, [AsUsual, LATER, AsUsual, LATER]),
            (DeletingChild, [AsUsual, LATER, Empty, LATER]),
            (RekeyingIkeSa, [LATER, LATER, AsUsual, CompareNonces]),
            (ReplacedIkeSa, [LATER, LATER, AsUsual, LATER]),
            (DeletingIkeSa, [LATER, LATER, AsUsual, LATER]),
        ];
        for (ours, expected) in table {
            for (request, expected) in
                [CreateChild, RekeyChild, DeleteChild, RekeyIkeSa].into_iter().zip(expected)
            {
                let answered = match answer(request, ours) {
                    Answer::NotNow(why) => {
                        assert!(!why.is_empty());
                        LATER
                    }
                    answered => answered,
                };
                assert_eq!(answered, expected, "{request:?} while {ours:?}");
            }
        }
    }

    #[test]
    fn the_sa_with_the_lowest_nonce_goes() {
        let table: [(&[u8], &[u8], Survivor); 5] = [
            (&[1, 0, 0], &[2, 0, 0], Survivor::Theirs),
            (&[2, 0, 0], &[1, 255, 255], Survivor::Ours),
            // No large integers: the first octet that differs decides.
            (&[1, 255], &[2], Survivor::Theirs),
            (&[1, 2], &[1, 2, 0], Survivor::Theirs),
            (&[1, 2, 0], &[1, 2], Survivor::Ours),
        ];
        for (ours, theirs, expected) in table {
            assert_eq!(survivor(ours, theirs), expected, "{ours:?} against {theirs:?}");
        }
        assert_eq!(lower(&[3, 1], &[3, 0, 9]), [3, 0, 9]);
    }

    /// Both ends must come to opposite answers, or both successors go, or both stay.
    #[test]
    fn both_ends_agree() {
        let nonces = [[0u8, 1], [1, 0], [1, 1], [255, 0]];
        for (i, ours) in nonces.iter().enumerate() {
            for (j, theirs) in nonces.iter().enumerate().filter(|(j, _)| *j != i) {
                assert_ne!(survivor(ours, theirs), survivor(theirs, ours), "{i} {j}");
            }
        }
    }
}
