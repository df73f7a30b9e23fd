//! `explain`: why attempts at IKE SAs and CHILD_SAs have failed. charon has nothing of the kind.

use ferry_ike::attempt::{Aim, PassedOver, Rule};
use ferry_ike::crypto::Role;
use ferry_vici::{Message, Section};

use crate::attempts::{Past, remedy, rule};
use crate::system::local_time;
use crate::vici_server::Control;

/// Failures told of at most.
const MOST: usize = 32;

/// The last failed attempts of a connection or a peer (`name`), or of all; the newest first.
pub(super) fn explain<T>(message: &Message, control: &Control<T>) -> Message {
    let attempts = control.attempts.of(message.str("name"));
    let mut reply = Message::new();
    for (number, past) in (1_u32..).zip(attempts.iter().take(MOST)) {
        reply.push_section(number.to_string(), render(past));
    }
    reply
}

fn render(past: &Past) -> Section {
    let Past { attempt, at, times } = past;
    let mut section = Section::new()
        .with("time", local_time(*at, c"%Y-%m-%d %H:%M:%S"))
        .with("times", *times)
        .with("initiator", if attempt.role == Role::Initiator { "yes" } else { "no" })
        .with("local-host", attempt.path.local.ip().to_string())
        .with("local-port", attempt.path.local.port())
        .with("remote-host", attempt.path.remote.ip().to_string())
        .with("remote-port", attempt.path.remote.port())
        .with_some("connection", attempt.connection.as_ref().map(|connection| connection.name.as_str()))
        .with("for", if attempt.aim == Aim::IkeSa { "IKE_SA" } else { "CHILD_SA" })
        .with_some("child", child(&attempt.aim))
        .with_some("remote-id", attempt.peer.as_ref().map(ToString::to_string))
        .with("reason", &attempt.reason);
    if !attempt.offered.is_empty() {
        section = section.with_list("offered", attempt.offered.iter().map(ToString::to_string));
    }
    let mut connections = Section::new();
    for passed in &attempt.passed_over {
        connections.push_section(name(passed), Section::new().with("why", rule(passed, attempt)));
    }
    section.push_section("passed-over", connections);
    section.with("remedy", remedy(attempt))
}

fn child(aim: &Aim) -> Option<&str> {
    match aim {
        Aim::IkeSa => None,
        Aim::ChildSa(child) => child.as_deref(),
    }
}

/// The connection, or the child of it, that was passed over.
fn name(passed: &PassedOver) -> String {
    let connection = &passed.connection.name;
    match &passed.rule {
        Rule::Selectors(apart) => format!("{connection}.{}", apart.child),
        Rule::ChildProposals { child, .. } => format!("{connection}.{child}"),
        _ => connection.clone(),
    }
}
