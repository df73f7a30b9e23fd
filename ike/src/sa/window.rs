//! Message IDs, the request in flight and the response that may be asked for again (RFC 7296 §2.1-§2.3).
//!
//! Our window is one: one request of ours is in flight, and one of the peer's is being answered.

use crate::wire::registry::MessageId;

/// The message window of one IKE SA.
#[derive(Default)]
pub(crate) struct Window {
    /// The ID of the next request we send; `None` when the space is used up.
    next: Option<MessageId>,
    in_flight: Option<InFlight>,
    /// The ID of the next request of the peer.
    expected: MessageId,
    answered: Option<Answered>,
}

struct InFlight {
    id: MessageId,
    /// The message, or all its fragments.
    messages: Vec<Vec<u8>>,
    retransmits: u32,
}

struct Answered {
    id: MessageId,
    /// The message, or all its fragments.
    messages: Vec<Vec<u8>>,
}

/// How a request's ID stands to what we expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The one whose turn it is.
    New,
    /// The one we answered last: the response is sent again.
    Repeated,
    /// Neither: ignored.
    OutOfWindow,
}

impl Window {
    /// A window at the start of an IKE SA.
    pub(crate) fn new() -> Self {
        Self { next: Some(MessageId(0)), in_flight: None, expected: MessageId(0), answered: None }
    }

    /// IKE_SA_INIT is tried again with message ID zero (RFC 7296 §2.6, §1.2).
    pub(crate) fn restart(&mut self) {
        *self = Self::new();
    }

    /// The ID for the next request; `None` while one is in flight or when no IDs are left.
    pub(crate) fn next_request(&self) -> Option<MessageId> {
        if self.in_flight.is_some() { None } else { self.next }
    }

    /// A request went out with the ID from [`Self::next_request`].
    pub(crate) fn sent(&mut self, id: MessageId, messages: Vec<Vec<u8>>) {
        self.next = id.next();
        self.in_flight = Some(InFlight { id, messages, retransmits: 0 });
    }

    /// The request in flight, to be sent once more, if it has not been `tries` times.
    pub(crate) fn retransmit(&mut self, tries: u32) -> Option<(&[Vec<u8>], u32)> {
        let request = self.in_flight.as_mut().filter(|request| request.retransmits < tries)?;
        request.retransmits += 1;
        Some((&request.messages, request.retransmits))
    }

    /// The request in flight, to be sent over another path: its retransmissions are counted anew.
    pub(crate) fn again(&mut self) -> Option<&[Vec<u8>]> {
        let request = self.in_flight.as_mut()?;
        request.retransmits = 0;
        Some(&request.messages)
    }

    /// The request in flight, and how often it was sent again.
    pub(crate) fn in_flight(&self) -> Option<(&[Vec<u8>], u32)> {
        self.in_flight.as_ref().map(|request| (request.messages.as_slice(), request.retransmits))
    }

    /// The request in flight has been answered, or is given up.
    pub(crate) fn settle(&mut self) {
        self.in_flight = None;
    }

    /// A request of the peer has been answered with this message, or these fragments of one.
    pub(crate) fn answered(&mut self, id: MessageId, messages: Vec<Vec<u8>>) {
        self.expected = id.next().unwrap_or(id);
        self.answered = Some(Answered { id, messages });
    }

    /// True while a request of ours waits for its response.
    pub(crate) fn is_waiting(&self) -> bool {
        self.in_flight.is_some()
    }

    /// True if `id` is that of the request in flight.
    pub(crate) fn awaits(&self, id: MessageId) -> bool {
        self.in_flight.as_ref().is_some_and(|request| request.id == id)
    }

    /// What to do with a request of that ID.
    pub(crate) fn standing(&self, id: MessageId) -> Standing {
        if self.answered.as_ref().is_some_and(|answer| answer.id == id) {
            Standing::Repeated
        } else if id == self.expected {
            Standing::New
        } else {
            Standing::OutOfWindow
        }
    }

    /// The size of the messages that may have to be sent again.
    #[cfg(feature = "sim")]
    pub(crate) fn kept_octets(&self) -> usize {
        let request = self.in_flight.iter().flat_map(|request| &request.messages);
        request.chain(self.last_answer()).map(Vec::capacity).sum()
    }

    /// The ID of the request answered last.
    pub(crate) fn answered_last(&self) -> Option<MessageId> {
        self.answered.as_ref().map(|answer| answer.id)
    }

    /// The response to the request answered last, or all its fragments; empty if none was answered.
    pub(crate) fn last_answer(&self) -> &[Vec<u8>] {
        self.answered.as_ref().map_or(&[], |answer| &answer.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_in_flight_at_a_time() {
        let mut window = Window::new();
        let id = window.next_request().unwrap();
        assert_eq!(id, MessageId(0));
        window.sent(id, vec![b"one".to_vec()]);
        assert_eq!(window.next_request(), None);
        assert!(window.awaits(id) && !window.awaits(MessageId(1)));
        window.settle();
        assert_eq!(window.next_request(), Some(MessageId(1)));
        assert!(!window.awaits(id));
    }

    #[test]
    fn a_request_is_sent_again_so_often_and_no_more() {
        let mut window = Window::new();
        let one = vec![b"one".to_vec()];
        window.sent(MessageId(0), one.clone());
        assert_eq!(window.retransmit(2), Some((one.as_slice(), 1)));
        assert_eq!(window.retransmit(2), Some((one.as_slice(), 2)));
        assert_eq!(window.retransmit(2), None);
        assert_eq!(window.in_flight(), Some((one.as_slice(), 2)));
        assert_eq!(window.again(), Some(one.as_slice()));
        assert_eq!(window.retransmit(2), Some((one.as_slice(), 1)));
    }

    #[test]
    fn a_repeated_request_gets_the_same_answer_and_others_none() {
        let mut window = Window::new();
        assert_eq!(window.standing(MessageId(0)), Standing::New);
        window.answered(MessageId(0), vec![b"re".to_vec(), b"ply".to_vec()]);
        assert_eq!(window.standing(MessageId(0)), Standing::Repeated);
        assert_eq!(window.last_answer(), [b"re".to_vec(), b"ply".to_vec()]);
        assert_eq!(window.standing(MessageId(1)), Standing::New);
        assert_eq!(window.standing(MessageId(2)), Standing::OutOfWindow);
        window.answered(MessageId(1), vec![b"re2".to_vec()]);
        assert_eq!(window.standing(MessageId(0)), Standing::OutOfWindow);
    }

    #[test]
    fn the_end_of_the_id_space_is_an_end() {
        let mut window = Window::new();
        window.sent(MessageId(u32::MAX), vec![]);
        window.settle();
        assert_eq!(window.next_request(), None);
    }
}
