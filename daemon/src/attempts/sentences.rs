//! What excluded a connection, and what to do about a failure, each as a sentence for an operator.

use ferry_ike::attempt::{Attempt, Cause, PassedOver, Rule};
use ferry_ike::config::{AddressPattern, Connection};
use ferry_ike::crypto::Role;
use ferry_ike::proposal::Transform;

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
        (Cause::Other | Cause::Ended, _) => "It is on this side, and the reason says what.".to_owned(),
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
        Rule::Proposals(mismatch) => {
            let side = |side: fn(&ferry_ike::proposal::Difference) -> &Vec<Transform>| {
                let firsts = mismatch.differences.iter().filter_map(|difference| side(difference).first());
                firsts.map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            let (ours, theirs) = (side(|difference| &difference.ours), side(|difference| &difference.theirs));
            match (theirs.is_empty(), ours.is_empty()) {
                (false, false) => format!(
                    "Add a proposal with {theirs} to connections.{name}.proposals, or let the peer offer {ours}."
                ),
                (false, true) => format!("Add a proposal with {theirs} to connections.{name}.proposals."),
                (true, _) => format!("Let the peer offer what connections.{name}.proposals has."),
            }
        }
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
    fn every_failure_has_a_remedy() {
        use Cause::{
            Ended, Malformed, NoCandidate, NoConnection, NoProposal, Other, Refused, Unanswered,
            Unauthenticated,
        };
        let causes = [
            NoConnection,
            NoProposal,
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
                let told = remedy(&Attempt { role, ..attempt("alice", cause) });
                assert!(told.ends_with('.'), "{cause:?} {role:?}: {told}");
            }
        }
    }
}
