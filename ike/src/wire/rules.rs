//! Which payloads an exchange may carry (RFC 7296 §1 and Appendix C).
//!
//! Payloads may come in any order, notifies, vendor IDs, certificates, requests for them and deletes any number of
//! times, and payloads nobody expects are ignored (RFC 7296 §2.5, §3.2). What is left to check is a table: what
//! must be there, and what belongs together.

use super::codec::{DecodeError, Fault, Part};
use super::payloads::Payloads;
use super::registry::{ExchangeType, PayloadType as P};

/// The payloads no message has two of.
const SINGLE: &[P] =
    &[P::SA, P::KE, P::ID_I, P::ID_R, P::AUTH, P::NONCE, P::TS_I, P::TS_R, P::CP, P::EAP, P::SK, P::SKF];

/// What messages of one exchange, in one direction, look like.
struct Rule {
    exchange: ExchangeType,
    is_response: bool,
    /// The forms a message may have: one of them must be there completely. No form, no demand.
    forms: &'static [&'static [P]],
    /// Payloads that come all or not at all.
    together: &'static [P],
}

const REQUEST: bool = false;
const RESPONSE: bool = true;

/// A request for a CHILD_SA, or the answer to it.
const CHILD: &[P] = &[P::SA, P::TS_I, P::TS_R];

const RULES: &[Rule] = &[
    // HDR, SAi1, KEi, Ni -->
    Rule {
        exchange: ExchangeType::IKE_SA_INIT,
        is_response: REQUEST,
        forms: &[&[P::SA, P::KE, P::NONCE]],
        together: &[],
    },
    // <-- HDR, SAr1, KEr, Nr, [CERTREQ]
    Rule {
        exchange: ExchangeType::IKE_SA_INIT,
        is_response: RESPONSE,
        forms: &[&[P::SA, P::KE, P::NONCE]],
        together: &[],
    },
    // HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,] [AUTH,] [SAi2, TSi, TSr]} -->
    // HDR, SK {EAP} -->
    // HDR, SK {AUTH} -->
    //
    // Without AUTH the initiator wants EAP; without SA it wants no CHILD_SA (RFC 6023).
    Rule { exchange: ExchangeType::IKE_AUTH, is_response: REQUEST, forms: &[&[]], together: CHILD },
    // <-- HDR, SK {IDr, [CERT,] AUTH, [SAr2, TSi, TSr]}
    // <-- HDR, SK {IDr, [CERT,] [AUTH,] EAP}
    // <-- HDR, SK {EAP}
    // <-- HDR, SK {AUTH, SAr2, TSi, TSr}
    //
    // In the second, AUTH is missing where the responder authenticates by EAP only (RFC 5998); in any, where other rounds
    // have it (RFC 4739 §2.5).
    Rule { exchange: ExchangeType::IKE_AUTH, is_response: RESPONSE, forms: &[&[]], together: CHILD },
    // HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr} -->
    // HDR, SK {SA, Ni, KEi} -->
    Rule {
        exchange: ExchangeType::CREATE_CHILD_SA,
        is_response: REQUEST,
        forms: &[&[P::SA, P::NONCE, P::TS_I, P::TS_R], &[P::SA, P::NONCE, P::KE]],
        together: &[P::TS_I, P::TS_R],
    },
    // <-- HDR, SK {SA, Nr, [KEr,] TSi, TSr}
    // <-- HDR, SK {SA, Nr, KEr}
    Rule {
        exchange: ExchangeType::CREATE_CHILD_SA,
        is_response: RESPONSE,
        forms: &[&[P::SA, P::NONCE, P::TS_I, P::TS_R], &[P::SA, P::NONCE, P::KE]],
        together: &[P::TS_I, P::TS_R],
    },
    // HDR, N(TICKET_OPAQUE), Ni --> (RFC 5723 §4.3.1)
    Rule {
        exchange: ExchangeType::IKE_SESSION_RESUME,
        is_response: REQUEST,
        forms: &[&[P::NONCE]],
        together: &[],
    },
    // <-- HDR, Nr
    Rule {
        exchange: ExchangeType::IKE_SESSION_RESUME,
        is_response: RESPONSE,
        forms: &[&[P::NONCE]],
        together: &[],
    },
    // HDR, SK {KEi, N(ADDITIONAL_KEY_EXCHANGE)} --> (RFC 9370 §2.2.4)
    Rule { exchange: ExchangeType::IKE_FOLLOWUP_KE, is_response: REQUEST, forms: &[&[P::KE]], together: &[] },
    // <-- HDR, SK {KEr, [N(ADDITIONAL_KEY_EXCHANGE)]}
    Rule {
        exchange: ExchangeType::IKE_FOLLOWUP_KE,
        is_response: RESPONSE,
        forms: &[&[P::KE]],
        together: &[],
    },
    // INFORMATIONAL and IKE_INTERMEDIATE carry what they like, nothing included.
];

/// Checks that a message has the payloads its exchange needs, and those that must be single once.
///
/// `payloads` are those of the message itself where it is not encrypted, and those inside the SK payload where it
/// is. A response may always be a refusal instead: one with an error notify, or with nothing but notifies (a COOKIE).
///
/// Fails with the payload that is missing or there twice; where a message may have several forms, with what the
/// form it comes nearest to lacks.
pub fn check(exchange: ExchangeType, is_response: bool, payloads: &Payloads<'_>) -> Result<(), DecodeError> {
    let malformed = |fault| {
        let part = if is_response { Part::Response(exchange) } else { Part::Request(exchange) };
        Err(DecodeError::Malformed { part, offset: 0, fault })
    };
    let count = |kind: P| payloads.iter().filter(|payload| payload.kind() == kind).count();
    let is_missing = |kind: &&P| count(**kind) == 0;

    if let Some(repeated) = SINGLE.iter().find(|kind| count(**kind) > 1) {
        return malformed(Fault::Repeated(*repeated));
    }
    if is_response && is_refusal(payloads) {
        return Ok(());
    }
    let Some(rule) = RULES.iter().find(|rule| rule.exchange == exchange && rule.is_response == is_response)
    else {
        return Ok(());
    };
    let nearest = rule.forms.iter().min_by_key(|form| form.iter().filter(is_missing).count());
    if let Some(missing) = nearest.and_then(|form| form.iter().find(is_missing)) {
        return malformed(Fault::Missing(*missing));
    }
    let is_partial = rule.together.iter().any(|kind| count(*kind) > 0);
    if is_partial && let Some(missing) = rule.together.iter().find(is_missing) {
        return malformed(Fault::Missing(*missing));
    }
    Ok(())
}

/// True for a response that refuses the request: it says so by an error, or has notifies and none of the payloads
/// that would grant it.
fn is_refusal(payloads: &Payloads<'_>) -> bool {
    let grants = payloads.iter().any(|payload| SINGLE.contains(&payload.kind()));
    payloads.error().is_some() || (!grants && payloads.notifies().next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::decode_payloads;
    use crate::wire::registry::NotifyType;

    /// A body that decodes, for each type of payload.
    fn body(kind: P) -> &'static [u8] {
        match kind {
            P::ID_I | P::ID_R => &[2, 0, 0, 0, b'x'],
            P::NONCE => &[7; 16],
            P::EAP => &[3, 1, 0, 4],
            P::DELETE => &[1, 0, 0, 0],
            P::NOTIFY => &[0, 0, 0x40, 0],
            P::SA => &[],
            _ => &[0; 4],
        }
    }

    const COOKIE: P = P(250);
    const ERROR: P = P(251);

    /// Checks a message with these payloads; two stand for notifies.
    fn checked(exchange: ExchangeType, is_response: bool, kinds: &[P]) -> Result<(), DecodeError> {
        let mut writer = crate::wire::PayloadWriter::new();
        for kind in kinds {
            match *kind {
                COOKIE => writer.notify(NotifyType::COOKIE, b"cookie"),
                ERROR => writer.notify(NotifyType::TS_UNACCEPTABLE, &[]),
                kind => writer.raw(kind, false, body(kind)),
            };
        }
        check(exchange, is_response, &decode_payloads(writer.first(), writer.octets()).unwrap())
    }

    #[test]
    fn the_messages_of_appendix_c_pass() {
        use ExchangeType as E;
        let messages: &[(E, bool, &[P])] = &[
            (E::IKE_SA_INIT, REQUEST, &[COOKIE, P::SA, P::KE, P::NONCE, P::VENDOR_ID, P::VENDOR_ID]),
            (E::IKE_SA_INIT, RESPONSE, &[P::SA, P::KE, P::NONCE, P::CERTREQ, P::CERTREQ, P::NOTIFY]),
            (E::IKE_SA_INIT, RESPONSE, &[COOKIE]),
            (E::IKE_SA_INIT, RESPONSE, &[ERROR, P::VENDOR_ID]),
            (
                E::IKE_AUTH,
                REQUEST,
                &[P::ID_I, P::CERT, P::CERT, P::ID_R, P::AUTH, P::CP, P::SA, P::TS_I, P::TS_R],
            ),
            (E::IKE_AUTH, RESPONSE, &[P::ID_R, P::CERT, P::AUTH, P::CP, P::SA, P::TS_I, P::TS_R]),
            (E::IKE_AUTH, RESPONSE, &[P::ID_R, P::AUTH, ERROR]),
            (E::IKE_AUTH, RESPONSE, &[ERROR]),
            (E::IKE_AUTH, REQUEST, &[P::ID_I, P::CP, P::SA, P::TS_I, P::TS_R]),
            (E::IKE_AUTH, RESPONSE, &[P::ID_R, P::CERT, P::AUTH, P::EAP]),
            (E::IKE_AUTH, RESPONSE, &[P::ID_R, P::EAP]),
            (E::IKE_AUTH, REQUEST, &[P::EAP]),
            (E::IKE_AUTH, RESPONSE, &[P::EAP]),
            (E::IKE_AUTH, REQUEST, &[P::AUTH]),
            (E::IKE_AUTH, RESPONSE, &[P::AUTH, P::CP, P::SA, P::TS_I, P::TS_R]),
            (E::IKE_AUTH, REQUEST, &[P::ID_I, P::AUTH]),
            (E::IKE_AUTH, RESPONSE, &[P::ID_R, P::AUTH]),
            (E::IKE_AUTH, REQUEST, &[]),
            (E::IKE_AUTH, RESPONSE, &[P::SA, P::TS_I, P::TS_R]),
            (E::CREATE_CHILD_SA, REQUEST, &[P::NOTIFY, P::SA, P::NONCE, P::KE, P::TS_I, P::TS_R]),
            (E::CREATE_CHILD_SA, RESPONSE, &[P::SA, P::NONCE, P::TS_I, P::TS_R]),
            (E::CREATE_CHILD_SA, RESPONSE, &[ERROR]),
            (E::CREATE_CHILD_SA, REQUEST, &[P::SA, P::NONCE, P::KE]),
            (E::CREATE_CHILD_SA, RESPONSE, &[P::SA, P::NONCE, P::KE]),
            (E::INFORMATIONAL, REQUEST, &[]),
            (E::INFORMATIONAL, REQUEST, &[P::NOTIFY, P::DELETE, P::DELETE, P::CP]),
            (E::INFORMATIONAL, RESPONSE, &[]),
            (E::IKE_INTERMEDIATE, REQUEST, &[P::KE]),
            (E(99), REQUEST, &[]),
        ];
        for (exchange, is_response, kinds) in messages {
            assert_eq!(checked(*exchange, *is_response, kinds), Ok(()), "{exchange} {kinds:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        use ExchangeType as E;
        let messages: &[(E, bool, &[P], &str)] = &[
            (
                E::IKE_SA_INIT,
                REQUEST,
                &[P::SA, P::NONCE, P::NOTIFY],
                "IKE_SA_INIT request lacks the KE payload",
            ),
            (E::IKE_SA_INIT, REQUEST, &[COOKIE], "IKE_SA_INIT request lacks the SA payload"),
            (E::IKE_SA_INIT, RESPONSE, &[P::SA, P::KE, COOKIE], "IKE_SA_INIT response lacks the No payload"),
            (E::IKE_SA_INIT, RESPONSE, &[], "IKE_SA_INIT response lacks the SA payload"),
            (E::IKE_AUTH, REQUEST, &[P::ID_I, P::AUTH, P::SA], "IKE_AUTH request lacks the TSi payload"),
            (
                E::CREATE_CHILD_SA,
                REQUEST,
                &[P::SA, P::NONCE, P::TS_I],
                "CREATE_CHILD_SA request lacks the TSr payload",
            ),
            (
                E::CREATE_CHILD_SA,
                REQUEST,
                &[P::SA, P::NONCE, P::KE, P::TS_R],
                "CREATE_CHILD_SA request lacks the TSi payload",
            ),
        ];
        for (exchange, is_response, kinds, sentence) in messages {
            let error = checked(*exchange, *is_response, kinds).err().map(|e| e.to_string());
            assert_eq!(error.as_deref(), Some(*sentence), "{kinds:?}");
        }
    }

    #[test]
    fn a_second_of_what_must_be_single_is_refused_in_every_exchange() {
        for kind in SINGLE.iter().filter(|kind| !matches!(**kind, P::SK | P::SKF)) {
            for exchange in 34..=44 {
                for is_response in [REQUEST, RESPONSE] {
                    let error = checked(ExchangeType(exchange), is_response, &[*kind, P::NOTIFY, *kind]);
                    assert!(
                        matches!(error, Err(DecodeError::Malformed { fault: Fault::Repeated(k), .. }) if k == *kind),
                        "{kind}"
                    );
                }
            }
        }
    }
}
