//! What excluded a connection, and what to do about a failure, each as a sentence for an operator.

use ferry_ike::attempt::{Aim, Apart, Attempt, Cause, PassedOver, Rule};
use ferry_ike::config::{AddressPattern, Connection};
use ferry_ike::crypto::Role;
use ferry_ike::proposal::{Difference, Mismatch, Transform};
use ferry_ike::selector::TrafficSelector;

use crate::connections::display_address;

/// Why a connection was not taken for an attempt.
pub(crate) fn rule(passed: &PassedOver, attempt: &Attempt) -> String {
    let PassedOver { connection, rule } = passed;
    let (local, remote) = (attempt.path.local.ip(), attempt.path.remote.ip());
    match rule {
        Rule::LocalAddress => {
            format!(
                "its local_addrs are {}, and the peer came to {local}",
                addresses(&connection.local_addrs)
            )
        }
        Rule::RemoteAddress => {
            format!(
                "its remote_addrs are {}, and the peer came from {remote}",
                addresses(&connection.remote_addrs)
            )
        }
        Rule::Proposals(mismatch) => mismatch.to_string(),
        Rule::Suite => {
            "its proposals do not allow what was agreed on before the peer had said who it is".to_owned()
        }
        Rule::RemoteId => format!("it is for '{}', and the peer is {}", remote_id(connection), peer(attempt)),
        Rule::LocalId(asked) => {
            format!("it is as '{}', and the peer asks for '{asked}'", local_id(connection, attempt))
        }
        Rule::Authentication(why) => (*why).to_owned(),
        Rule::Selectors(apart) => {
            let [ours, asked] = [&apart.ours, &apart.asked]
                .map(|[local, remote]| format!("{} === {}", selectors(local), selectors(remote)));
            format!("it is for {ours}, and the peer asks for {asked}")
        }
        Rule::ChildProposals { mismatch, .. } => mismatch.to_string(),
    }
}

/// What to do about it.
pub(crate) fn remedy(attempt: &Attempt) -> String {
    let nearest = attempt.passed_over.first();
    let name = || match (&attempt.connection, nearest) {
        (Some(connection), _) => connection.name.clone(),
        (None, Some(passed)) => passed.connection.name.clone(),
        (None, None) => "a connection".to_owned(),
    };
    let remote = attempt.path.remote.ip();
    if let Aim::ChildSa(child) = &attempt.aim {
        return remedy_of_child(attempt, &name(), child.as_deref());
    }
    match (attempt.cause, attempt.role) {
        (Cause::NoConnection | Cause::NoProposal | Cause::NoCandidate, Role::Responder) => match nearest {
            Some(passed) => change(passed, attempt),
            None => "Load connections: there are none.".to_owned(),
        },
        (Cause::NoProposal | Cause::NoConnection | Cause::NoCandidate, Role::Initiator) => format!(
            "Compare connections.{}.proposals with the peer's: it takes none of them, or has no connection for our \
             address.",
            name()
        ),
        (Cause::Unauthenticated, Role::Responder) => format!(
            "Compare secrets, certificates and authorities of {} and connections.{} as the reason says.",
            peer(attempt),
            name()
        ),
        (Cause::Unauthenticated, Role::Initiator) => format!(
            "Compare identities, secrets and certificates of connections.{} with the peer's; if it was the peer who \
             refused, its log says why.",
            name()
        ),
        (Cause::Refused, _) => "The peer's log says why.".to_owned(),
        (Cause::Unanswered, Role::Initiator) => format!(
            "See that {remote} is the peer's address, that an IKE daemon listens there, and that UDP to its port {} and to \
             4500 passes, and back.",
            attempt.path.remote.port()
        ),
        (Cause::Unanswered, Role::Responder) => format!(
            "See whether large packets pass to {remote}: our answer to its first message was not followed by the next \
             one."
        ),
        (Cause::Malformed, _) => {
            format!(
                "See what {remote} runs, and what a capture of the exchange shows: it breaks the protocol."
            )
        }
        (Cause::NoSelectors | Cause::Other | Cause::Ended, _) => {
            "It is on this side, and the reason says what.".to_owned()
        }
    }
}

/// The same where the IKE_SA stands, and the CHILD_SA does not.
fn remedy_of_child(attempt: &Attempt, connection: &str, child: Option<&str>) -> String {
    let place = match child {
        Some(child) => format!("connections.{connection}.children.{child}"),
        None => format!("connections.{connection}.children"),
    };
    match (attempt.cause, attempt.role, attempt.passed_over.first()) {
        (Cause::NoProposal | Cause::NoSelectors, Role::Responder, Some(passed)) => change(passed, attempt),
        (Cause::NoSelectors, Role::Responder, None) => {
            format!("Add a child for that traffic to {place}: there is none that protects any.")
        }
        (Cause::NoProposal, ..) => {
            format!("Compare {place}.esp_proposals with the peer's: it takes none of them.")
        }
        (Cause::NoSelectors, ..) => {
            format!("Compare local_ts and remote_ts of {place} with the peer's remote and local ones.")
        }
        (Cause::Refused, ..) => "The peer's log says why.".to_owned(),
        _ => "It is on this side, and the reason says what.".to_owned(),
    }
}

/// What would let the connection be taken.
fn change(passed: &PassedOver, attempt: &Attempt) -> String {
    let PassedOver { connection, rule } = passed;
    let name = &connection.name;
    let (local, remote) = (attempt.path.local.ip(), attempt.path.remote.ip());
    match rule {
        Rule::LocalAddress => format!("Add {local} to connections.{name}.local_addrs."),
        Rule::RemoteAddress => {
            format!("Add {remote} to connections.{name}.remote_addrs, or a connection that has it.")
        }
        Rule::Proposals(mismatch) => add_proposal(mismatch, &format!("connections.{name}.proposals")),
        Rule::ChildProposals { child, mismatch } => {
            add_proposal(mismatch, &format!("connections.{name}.children.{child}.esp_proposals"))
        }
        Rule::Selectors(apart) => bring_together(apart, name),
        Rule::Suite => format!(
            "Let connections.{name}.proposals be those of the other connections for the same addresses: these are \
             negotiated before identities are known."
        ),
        Rule::RemoteId => format!(
            "Let connections.{name} have a remote id for {}, or the peer be '{}'.",
            peer(attempt),
            remote_id(connection)
        ),
        Rule::LocalId(asked) => format!(
            "Set the local id of connections.{name} to '{asked}', or what the peer expects to '{}'.",
            local_id(connection, attempt)
        ),
        Rule::Authentication(_) => {
            format!("Let the remote auth of connections.{name} be how the peer proves itself.")
        }
    }
}

fn add_proposal(mismatch: &Mismatch, key: &str) -> String {
    let side = |side: fn(&Difference) -> &Vec<Transform>| {
        let firsts = mismatch.differences.iter().filter_map(|difference| side(difference).first());
        firsts.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let (ours, theirs) = (side(|difference| &difference.ours), side(|difference| &difference.theirs));
    match (theirs.is_empty(), ours.is_empty()) {
        (false, false) => format!("Add a proposal with {theirs} to {key}, or let the peer offer {ours}."),
        (false, true) => format!("Add a proposal with {theirs} to {key}."),
        (true, _) => format!("Let the peer offer what {key} has."),
    }
}

/// What would give a child and the peer some traffic in common.
fn bring_together(apart: &Apart, connection: &str) -> String {
    let place = format!("connections.{connection}.children.{}", apart.child);
    let sides = [("local_ts", "remote_ts"), ("remote_ts", "local_ts")];
    let each = sides.iter().zip(&apart.has_common).zip(apart.ours.iter().zip(&apart.asked));
    let wrong: Vec<String> = each
        .filter(|((_, has_common), _)| !**has_common)
        .map(|(((key, at_peer), _), (ours, asked))| {
            let (ours, asked) = (selectors(ours), selectors(asked));
            format!("{key} of {place} hold some of {asked}, or the peer's {at_peer} some of {ours}")
        })
        .collect();
    match wrong.as_slice() {
        // Each side has something in common, in no pair of one family and protocol.
        [] => format!(
            "Let local_ts and remote_ts of {place} be of the families and protocols that the peer asks for."
        ),
        wrong => format!("Let {}.", wrong.join("; and ")),
    }
}

fn selectors(selectors: &[TrafficSelector]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn addresses(patterns: &[AddressPattern]) -> String {
    patterns.iter().map(|pattern| display_address(pattern).to_string()).collect::<Vec<_>>().join(", ")
}

fn peer(attempt: &Attempt) -> String {
    attempt.peer.as_ref().map_or_else(|| attempt.path.remote.ip().to_string(), |peer| format!("'{peer}'"))
}

fn remote_id(connection: &Connection) -> String {
    connection.remote.first().map_or_else(|| "%any".to_owned(), |auth| auth.id.to_string())
}

fn local_id(connection: &Connection, attempt: &Attempt) -> String {
    let configured = connection.local.first().and_then(|auth| auth.id.as_ref());
    configured.map_or_else(|| attempt.path.local.ip().to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferry_ike::identity::Identity;
    use ferry_ike::proposal::{Proposal, SelectContext, explain};
    use ferry_ike::wire::registry::ProtocolId;
    use ferry_vici::Section;

    use super::*;
    use crate::attempts::tests::attempt;
    use crate::connections;
    use crate::store::tests::DEFAULTS;

    fn gateway() -> Arc<Connection> {
        let local = Section::new().with("auth", "psk").with("id", "gw.example.org");
        let section = Section::new()
            .with_list("remote_addrs", ["203.0.113.5"])
            .with_list("proposals", ["aes128-sha256-x25519"])
            .with_section("local", local)
            .with_section("remote", Section::new().with("auth", "psk").with("id", "bob"));
        Arc::new(connections::parse("gw", &section, &DEFAULTS).unwrap().connection)
    }

    /// Why the gateway was not taken, and what is to be done.
    fn told(cause: Cause, excluded_by: Rule) -> [String; 2] {
        let mut attempt = attempt("alice", cause);
        attempt.passed_over = vec![PassedOver { connection: gateway(), rule: excluded_by }];
        [rule(&attempt.passed_over[0], &attempt), remedy(&attempt)]
    }

    #[test]
    fn each_rule_is_told_with_both_sides_and_what_would_change_it() {
        assert_eq!(
            told(Cause::NoConnection, Rule::RemoteAddress),
            [
                "its remote_addrs are 203.0.113.5, and the peer came from 198.51.100.7",
                "Add 198.51.100.7 to connections.gw.remote_addrs, or a connection that has it.",
            ]
        );
        assert_eq!(
            told(Cause::NoConnection, Rule::LocalAddress),
            [
                "its local_addrs are %any, and the peer came to 192.0.2.1",
                "Add 192.0.2.1 to connections.gw.local_addrs.",
            ]
        );
        assert_eq!(
            told(Cause::NoCandidate, Rule::RemoteId),
            [
                "it is for 'bob', and the peer is 'alice'",
                "Let connections.gw have a remote id for 'alice', or the peer be 'bob'.",
            ]
        );
        assert_eq!(
            told(Cause::NoCandidate, Rule::LocalId(Identity::parse("vpn.test").unwrap())),
            [
                "it is as 'gw.example.org', and the peer asks for 'vpn.test'",
                "Set the local id of connections.gw to 'vpn.test', or what the peer expects to 'gw.example.org'.",
            ]
        );
        assert_eq!(
            told(Cause::NoCandidate, Rule::Authentication("the peer asks for EAP")),
            ["the peer asks for EAP", "Let the remote auth of connections.gw be how the peer proves itself.",]
        );
    }

    #[test]
    fn of_proposals_the_nearest_difference_is_told() {
        let theirs = Proposal::parse(ProtocolId::IKE, "aes256-sha256-ecp384").unwrap();
        let mismatch = explain(&gateway().proposals, &theirs, SelectContext::default());
        assert_eq!(
            told(Cause::NoProposal, Rule::Proposals(mismatch)),
            [
                "no common ENCR: ours AES_CBC_128, theirs AES_CBC_256; no common KE: ours CURVE_25519, theirs ECP_384",
                "Add a proposal with AES_CBC_256, ECP_384 to connections.gw.proposals, or let the peer offer \
                 AES_CBC_128, CURVE_25519.",
            ]
        );
    }

    #[test]
    fn of_a_child_it_is_told_what_to_change_where() {
        let parse = |text: &str| match ferry_ike::selector::SelectorPattern::parse(text).unwrap() {
            ferry_ike::selector::SelectorPattern::Fixed(selector) => vec![selector],
            ferry_ike::selector::SelectorPattern::Dynamic { .. } => panic!("{text} is not fixed"),
        };
        let apart = Apart {
            child: "net".to_owned(),
            ours: [parse("10.1.0.0/16"), parse("10.9.0.1/32")],
            asked: [parse("10.5.0.0/16"), parse("10.9.0.1/32")],
            has_common: [false, true],
        };
        let of_child = |cause, rule: Option<Rule>, role| {
            let passed_over =
                rule.into_iter().map(|rule| PassedOver { connection: gateway(), rule }).collect();
            Attempt { aim: Aim::ChildSa(None), passed_over, role, ..attempt("alice", cause) }
        };
        let refused = of_child(Cause::NoSelectors, Some(Rule::Selectors(Box::new(apart))), Role::Responder);
        assert_eq!(
            [rule(&refused.passed_over[0], &refused), remedy(&refused)],
            [
                "it is for 10.1.0.0/16 === 10.9.0.1/32, and the peer asks for 10.5.0.0/16 === 10.9.0.1/32",
                "Let local_ts of connections.gw.children.net hold some of 10.5.0.0/16, or the peer's remote_ts some of \
                 10.1.0.0/16.",
            ]
        );
        let [ours, theirs] =
            ["aes128gcm16", "aes256-sha256"].map(|text| Proposal::parse(ProtocolId::ESP, text).unwrap());
        let mismatch = explain(&ours, &theirs, SelectContext::default());
        let rule = Rule::ChildProposals { child: "net".to_owned(), mismatch };
        let told = remedy(&of_child(Cause::NoProposal, Some(rule), Role::Responder));
        assert!(
            told.starts_with("Add a proposal with AES_CBC_256")
                && told.contains("connections.gw.children.net.esp_proposals"),
            "{told}"
        );
        let ours = Attempt {
            aim: Aim::ChildSa(Some("net".to_owned())),
            connection: Some(gateway()),
            ..of_child(Cause::NoProposal, None, Role::Initiator)
        };
        assert_eq!(
            remedy(&ours),
            "Compare connections.gw.children.net.esp_proposals with the peer's: it takes none of them."
        );
    }

    #[test]
    fn every_failure_has_a_remedy() {
        use Cause::{
            Ended, Malformed, NoCandidate, NoConnection, NoProposal, NoSelectors, Other, Refused, Unanswered,
            Unauthenticated,
        };
        let causes = [
            NoConnection,
            NoProposal,
            NoSelectors,
            NoCandidate,
            Unauthenticated,
            Refused,
            Unanswered,
            Malformed,
            Other,
            Ended,
        ];
        for cause in causes {
            for role in [Role::Initiator, Role::Responder] {
                for aim in [Aim::IkeSa, Aim::ChildSa(None)] {
                    let told = remedy(&Attempt { role, aim, ..attempt("alice", cause) });
                    assert!(told.ends_with('.'), "{cause:?} {role:?}: {told}");
                }
            }
        }
    }
}
