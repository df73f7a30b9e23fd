//! Every Notify Message Type, and what becomes of one that a peer sends (RFC 7296 §3.10.1, IANA "IKEv2 Notify Message
//! Types").

use tracing::debug;

use crate::wire::Payloads;
use crate::wire::registry::NotifyType as N;

/// What becomes of a notify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handling {
    /// Acted upon, in the exchanges it belongs to.
    ActedOn,
    /// An error like others: in a response, the request has failed (RFC 7296 §3.10.1). We ask for nothing that would
    /// be put right by knowing more.
    Fails,
    /// Ignored on purpose.
    Ignored(&'static str),
}

use Handling::{ActedOn, Fails, Ignored};

const ANSWER_TO_NOTHING: &str = "it answers what we never ask for";
const NEVER_ANNOUNCED: &str = "it belongs to an extension that we do not announce";

const HANDLING: &[(N, Handling)] = &[
    // Errors of RFC 7296.
    (N::UNSUPPORTED_CRITICAL_PAYLOAD, Fails),
    (N::INVALID_IKE_SPI, ActedOn),
    (N::INVALID_MAJOR_VERSION, Fails),
    (N::INVALID_SYNTAX, ActedOn),
    (N::INVALID_MESSAGE_ID, Ignored("our window is one, so that there is no message ID to complain of")),
    (N::INVALID_SPI, ActedOn),
    (N::NO_PROPOSAL_CHOSEN, Fails),
    (N::INVALID_KE_PAYLOAD, ActedOn),
    (N::AUTHENTICATION_FAILED, ActedOn),
    (N::SINGLE_PAIR_REQUIRED, ActedOn),
    (N::NO_ADDITIONAL_SAS, Fails),
    (N::INTERNAL_ADDRESS_FAILURE, Fails),
    (N::FAILED_CP_REQUIRED, Fails),
    (N::TS_UNACCEPTABLE, Fails),
    (N::INVALID_SELECTORS, Ignored("it tells that a packet was dropped, and nothing about the SAs follows")),
    (N::TEMPORARY_FAILURE, Fails),
    (N::CHILD_SA_NOT_FOUND, ActedOn),
    // Errors of extensions.
    (N::UNACCEPTABLE_ADDRESSES, ActedOn),
    (N::UNEXPECTED_NAT_DETECTED, ActedOn),
    (N::USE_ASSIGNED_HOA, Ignored("there is no Mobile IPv6 (RFC 5026)")),
    (N::INVALID_GROUP_ID, Ignored(ANSWER_TO_NOTHING)),
    (N::AUTHORIZATION_FAILED, Ignored(ANSWER_TO_NOTHING)),
    (N::STATE_NOT_FOUND, Ignored(ANSWER_TO_NOTHING)),
    (N::TS_MAX_QUEUE, Fails),
    (N::REGISTRATION_FAILED, Ignored(ANSWER_TO_NOTHING)),
    // What RFC 7296 has to say.
    (N::INITIAL_CONTACT, ActedOn),
    (N::SET_WINDOW_SIZE, Ignored("one request of ours at a time is enough, whatever the peer allows")),
    (N::ADDITIONAL_TS_POSSIBLE, Ignored("the selectors that were granted are those that are used")),
    (N::IPCOMP_SUPPORTED, Ignored("packets are not compressed; not answering declines it")),
    (N::NAT_DETECTION_SOURCE_IP, ActedOn),
    (N::NAT_DETECTION_DESTINATION_IP, ActedOn),
    (N::COOKIE, ActedOn),
    (N::USE_TRANSPORT_MODE, ActedOn),
    (N::HTTP_CERT_LOOKUP_SUPPORTED, Ignored("certificates are sent, not where to look for them")),
    (N::REKEY_SA, ActedOn),
    (
        N::ESP_TFC_PADDING_NOT_SUPPORTED,
        Ignored("we never pad against traffic analysis, and take what is padded"),
    ),
    (N::NON_FIRST_FRAGMENTS_ALSO, Ignored("packets are put together before they are protected")),
    // Extensions that are spoken.
    (N::IKEV2_FRAGMENTATION_SUPPORTED, ActedOn), // RFC 7383
    (N::RADIUS_ATTRIBUTE, ActedOn),              // strongSwan's
    (N::USE_BEET_MODE, ActedOn),                 // strongSwan's
    (N::MOBIKE_SUPPORTED, ActedOn),              // RFC 4555
    (N::ADDITIONAL_IP4_ADDRESS, ActedOn),
    (N::ADDITIONAL_IP6_ADDRESS, ActedOn),
    (N::NO_ADDITIONAL_ADDRESSES, ActedOn),
    (N::UPDATE_SA_ADDRESSES, ActedOn),
    (N::COOKIE2, ActedOn),
    (N::NO_NATS_ALLOWED, ActedOn),
    (N::AUTH_LIFETIME, ActedOn),      // RFC 4478
    (N::REDIRECT_SUPPORTED, ActedOn), // RFC 5685
    (N::REDIRECT, ActedOn),
    (N::REDIRECTED_FROM, ActedOn),
    (N::MULTIPLE_AUTH_SUPPORTED, ActedOn), // RFC 4739
    (N::ANOTHER_AUTH_FOLLOWS, ActedOn),
    (N::EAP_ONLY_AUTHENTICATION, ActedOn),   // RFC 5998
    (N::CHILDLESS_IKEV2_SUPPORTED, ActedOn), // RFC 6023
    (N::SIGNATURE_HASH_ALGORITHMS, ActedOn), // RFC 7427
    // Extensions that are not.
    (N::TICKET_LT_OPAQUE, Ignored("sessions are not resumed (RFC 5723)")),
    (N::TICKET_REQUEST, Ignored("sessions are not resumed (RFC 5723)")),
    (N::TICKET_ACK, Ignored(ANSWER_TO_NOTHING)),
    (N::TICKET_NACK, Ignored(ANSWER_TO_NOTHING)),
    (N::TICKET_OPAQUE, Ignored("sessions are not resumed (RFC 5723)")),
    (N::LINK_ID, Ignored("clients get addresses, not links (RFC 5739)")),
    (N::USE_WESP_MODE, Ignored("ESP is not wrapped; not answering declines it (RFC 5840)")),
    (N::ROHC_SUPPORTED, Ignored("headers are not compressed; not answering declines it (RFC 5857)")),
    (N::QUICK_CRASH_DETECTION, Ignored("no tokens are kept (RFC 6290)")),
    (N::IKEV2_MESSAGE_ID_SYNC_SUPPORTED, Ignored("there is no cluster (RFC 6311)")),
    (N::IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED, Ignored("there is no cluster (RFC 6311)")),
    (N::IKEV2_MESSAGE_ID_SYNC, Ignored(NEVER_ANNOUNCED)),
    (N::IPSEC_REPLAY_COUNTER_SYNC, Ignored(NEVER_ANNOUNCED)),
    (N::SECURE_PASSWORD_METHODS, Ignored("there is no secure password method (RFC 6467)")),
    (N::PSK_PERSIST, Ignored("there is no secure password method (RFC 6631)")),
    (N::PSK_CONFIRM, Ignored("there is no secure password method (RFC 6631)")),
    (N::ERX_SUPPORTED, Ignored("EAP keys are not taken along to other gateways (RFC 6867)")),
    (N::IFOM_CAPABILITY, Ignored("flows are not moved between interfaces (3GPP TS 24.303)")),
    (N::GROUP_SENDER, Ignored("there are no groups (RFC 9838)")),
    (N::CLONE_IKE_SA_SUPPORTED, Ignored("IKE SAs are not cloned (RFC 7791)")),
    (N::CLONE_IKE_SA, Ignored(NEVER_ANNOUNCED)),
    (N::PUZZLE, Ignored("the cookie beside it is brought without a solution, as RFC 8019 allows")),
    (N::USE_PPK, Ignored("there are no post-quantum pre-shared keys (RFC 8784)")),
    (N::PPK_IDENTITY, Ignored(NEVER_ANNOUNCED)),
    (N::NO_PPK_AUTH, Ignored(NEVER_ANNOUNCED)),
    (N::INTERMEDIATE_EXCHANGE_SUPPORTED, Ignored("there is no intermediate exchange (RFC 9242)")),
    (N::IP4_ALLOWED, Ignored("addresses are asked for by family as configured (RFC 8983)")),
    (N::IP6_ALLOWED, Ignored("addresses are asked for by family as configured (RFC 8983)")),
    (N::ADDITIONAL_KEY_EXCHANGE, Ignored("there is one key exchange (RFC 9370)")),
    (N::USE_AGGFRAG, Ignored("packets are not aggregated; not answering declines it (RFC 9347)")),
    (N::SUPPORTED_AUTH_METHODS, Ignored("who needs to be told how to authenticate cannot (RFC 9593)")),
    (N::SA_RESOURCE_INFO, Ignored("CHILD_SAs are not tied to resources (RFC 9611)")),
    (N::USE_PPK_INT, Ignored("there are no post-quantum pre-shared keys (RFC 9867)")),
    (N::PPK_IDENTITY_KEY, Ignored(NEVER_ANNOUNCED)),
];

/// Says of a message which of its notifies have no effect, and why (RFC 7296 §3.10.1: they should be logged).
pub(super) fn log_ignored(payloads: &Payloads<'_>) {
    for notify in payloads.notifies() {
        match handling(notify.kind) {
            Some(ActedOn | Fails) => {}
            Some(Ignored(why)) => debug!(target: "ike", "ignoring {} notify: {why}", notify.kind),
            None => debug!(target: "ike", "ignoring {} notify: nobody knows it", notify.kind),
        }
    }
}

fn handling(kind: N) -> Option<Handling> {
    HANDLING.iter().find(|(known, _)| *known == kind).map(|(_, handling)| *handling)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_type_with_a_name_is_decided_on_once() {
        let named: BTreeSet<N> = N::NAMED.iter().copied().collect();
        let decided: BTreeSet<N> = HANDLING.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(named, decided);
        assert_eq!(HANDLING.len(), decided.len());
    }

    /// IANA's registry without a gap, as far as it has values that are assigned and not of IKEv1's time.
    #[test]
    fn every_type_of_the_registry_has_a_name() {
        let errors = [1, 4, 5, 7, 9, 11, 14, 17, 24].into_iter().chain(34..=49);
        for kind in errors.chain(16_384..=16_446) {
            assert!(N(kind).name().is_some(), "{kind}");
        }
    }

    #[test]
    fn only_errors_fail_a_request() {
        for (kind, handling) in HANDLING {
            assert!(*handling != Fails || kind.is_error(), "{kind}");
        }
    }
}
