//! The decoders of what the kernel tells of SAs and policies.

use ferry_xfrm::{Event, Purpose, event, priority, sad, spd};

/// Takes the octets for a datagram of netlink: of events, and of the answers that list SAs and policies.
///
/// What is read can be shown, and a policy's selector has a priority.
pub fn xfrm_message(data: &[u8]) {
    for event in event::decode(data) {
        match event {
            Ok(Event::Acquire(acquire)) => {
                assert!(acquire.templates.iter().count() <= ferry_xfrm::policy::Templates::MOST);
                check_length(&acquire.packet);
            }
            Ok(event) => assert_ne!(event, Event::Lost, "that is no message"),
            Err(error) => check_length(&error),
        }
    }
    match sad::decode(data) {
        Ok(entries) => entries.iter().for_each(|entry| check_length(&entry.sa.id)),
        Err(error) => check_length(&error),
    }
    match spd::decode(data) {
        Ok(entries) => {
            for entry in entries {
                check_length(&entry.policy.id);
                let selector = entry.policy.id.selector;
                assert!(priority(&selector, Purpose::Protect) < priority(&selector, Purpose::Trap));
            }
        }
        Err(error) => check_length(&error),
    }
}

fn check_length(shown: &impl ToString) {
    assert!((1..1000).contains(&shown.to_string().len()));
}
