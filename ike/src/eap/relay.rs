//! EAP that a server elsewhere judges (RFC 3748 §2.3, "pass-through"): packets go by, and only what that server says of
//! them counts.
//!
//! Whoever brings the packets there and back (RADIUS, RFC 3579) is outside; here they are checked for what they may be,
//! so that a server that is wrong, or is not ours, harms nothing but the conversation.

use std::time::Duration;

use super::packet::{result, with_data};
use super::{Method, identity, printable};
use crate::crypto::Secret;
use crate::identity::Identity;
use crate::wire::Eap;
use crate::wire::registry::{EapCode, EapType};

/// What the server elsewhere says to a packet.
pub enum Relayed {
    /// It has another request for the client: an EAP packet.
    Request(Vec<u8>),
    /// It lets the client in.
    Accepted(Box<Grant>),
    /// It does not.
    Refused {
        /// EAP-Failure, if it has sent it.
        packet: Option<Vec<u8>>,
        /// Why, for the log.
        reason: String,
    },
}

/// What a server elsewhere gives to a client that it lets in.
#[derive(Default)]
pub struct Grant {
    /// EAP-Success, if it has sent it.
    pub packet: Option<Vec<u8>>,
    /// The Master Session Key of the method; `None` if it makes none.
    pub msk: Option<Secret>,
    /// How long the client may stay without authenticating again; `None` for as long as it likes.
    pub lifetime: Option<Duration>,
    /// Groups that the client is in.
    pub groups: Vec<Identity>,
}

/// Our end of a conversation between a client and a server elsewhere.
pub(crate) struct Relay {
    /// The client's name.
    client: Identity,
    /// The identifier of the client's last packet.
    identifier: u8,
    /// The identifier and type of the request that is out.
    request: Option<(u8, EapType)>,
}

/// What becomes of an answer of the server elsewhere.
pub(crate) enum RelayStep {
    /// The client is asked this.
    Ask(Vec<u8>),
    /// The client may come in.
    Accepted {
        /// EAP-Success, to be sent.
        packet: Vec<u8>,
        /// What goes with it.
        grant: Box<Grant>,
    },
    /// It may not.
    Failed {
        /// EAP-Failure, to be sent.
        packet: Vec<u8>,
        /// Why, for the log.
        reason: String,
    },
}

impl Relay {
    /// A conversation that begins with a packet in which the client has said who it is.
    pub(crate) fn of(client: Identity, packet: &Eap<'_>) -> Self {
        Self { client, identifier: packet.identifier(), request: None }
    }

    /// A conversation with a client that is not asked for its name, and the packet in which it would have said it (RFC
    /// 3579 §2.1).
    pub(crate) fn with(client: Identity, identifier: u8) -> (Self, Vec<u8>) {
        let name = identity::octets(&client);
        let packet = with_data(EapCode::RESPONSE, identifier, EapType::IDENTITY, &name);
        (Self { client, identifier, request: None }, packet)
    }

    /// The server has not asked for anything yet.
    pub(crate) fn is_first(&self) -> bool {
        self.request.is_none()
    }

    /// The client's name.
    pub(crate) fn client(&self) -> &Identity {
        &self.client
    }

    /// Its octets.
    pub(crate) fn client_name(&self) -> Vec<u8> {
        identity::octets(&self.client)
    }

    /// The method that the client was asked for last; `None` if none of ours.
    pub(crate) fn method(&self) -> Option<Method> {
        let (_, eap_type) = self.request?;
        Method::ALL.into_iter().find(|method| method.eap_type() == eap_type)
    }

    /// Takes a packet of the client, which goes on to the server if it is an answer to what was asked.
    pub(crate) fn take(&mut self, packet: &Eap<'_>) -> Result<Vec<u8>, String> {
        if packet.code() != EapCode::RESPONSE {
            return Err(format!("EAP {} is no response", packet.code()));
        }
        match self.request {
            Some((asked, _)) if asked == packet.identifier() => {
                self.identifier = asked;
                Ok(packet.octets().to_vec())
            }
            Some((asked, _)) => Err(format!(
                "the EAP response has identifier {}, the request has {asked}",
                packet.identifier()
            )),
            None => Err("no EAP request is out".into()),
        }
    }

    /// Takes what the server says.
    pub(crate) fn hear(&mut self, relayed: Relayed) -> RelayStep {
        match relayed {
            Relayed::Request(packet) => match self.request(&packet) {
                Ok(()) => RelayStep::Ask(packet),
                Err(reason) => self.fail(reason),
            },
            Relayed::Accepted(mut grant) => {
                let packet = self.result_or(grant.packet.take(), EapCode::SUCCESS);
                RelayStep::Accepted { packet, grant }
            }
            Relayed::Refused { packet, reason } => {
                RelayStep::Failed { packet: self.result_or(packet, EapCode::FAILURE), reason }
            }
        }
    }

    /// The end of it, from outside of the conversation.
    pub(crate) fn fail(&self, reason: String) -> RelayStep {
        RelayStep::Failed { packet: self.failure(), reason }
    }

    /// EAP-Failure.
    pub(crate) fn failure(&self) -> Vec<u8> {
        result(EapCode::FAILURE, self.identifier)
    }

    fn request(&mut self, packet: &[u8]) -> Result<(), String> {
        let eap =
            Eap::of(packet).map_err(|error| format!("what the EAP server sent is no packet: {error}"))?;
        match (eap.code(), eap.eap_type()) {
            (EapCode::REQUEST, Some(eap_type)) => {
                self.request = Some((eap.identifier(), eap_type));
                Ok(())
            }
            (code, _) => Err(format!("the EAP server sent EAP {code} where it has not decided")),
        }
    }

    /// The result that the server sent. One that says something else than what it has decided, or is no packet, is
    /// replaced: RFC 3579 §2.6.3 has its decision count.
    fn result_or(&self, packet: Option<Vec<u8>>, code: EapCode) -> Vec<u8> {
        let fits = |packet: &Vec<u8>| Eap::of(packet).is_ok_and(|eap| eap.code() == code);
        packet.filter(fits).unwrap_or_else(|| result(code, self.identifier))
    }
}

/// A packet with another name in it: what stands in front of names where the server goes by that. Packets that say no
/// name stay as they are.
#[must_use]
pub fn with_prefix(packet: &[u8], prefix: &[u8]) -> Vec<u8> {
    match Eap::of(packet) {
        Ok(eap) if eap.code() == EapCode::RESPONSE && eap.eap_type() == Some(EapType::IDENTITY) => {
            let name = [prefix, eap.data()].concat();
            with_data(EapCode::RESPONSE, eap.identifier(), EapType::IDENTITY, &name)
        }
        _ => packet.to_vec(),
    }
}

/// Groups as a server names them. What cannot be read as an identity names nobody's group.
#[must_use]
pub fn group(name: &[u8]) -> Option<Identity> {
    let group = std::str::from_utf8(name).ok().and_then(|text| Identity::parse(text).ok());
    if group.is_none() {
        tracing::debug!(target: "cfg", "'{}' names no group", printable(name));
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> Relay {
        let (relay, packet) = Relay::with(Identity::parse("alice").unwrap(), 7);
        assert_eq!(packet, [2, 7, 0, 10, 1, b'a', b'l', b'i', b'c', b'e']);
        relay
    }

    #[test]
    fn only_an_answer_to_the_request_goes_on() {
        let mut relay = relay();
        let response = Eap::of(&[2, 9, 0, 6, 4, 0]).unwrap();
        assert!(relay.take(&response).is_err(), "nothing is asked yet");
        assert!(matches!(relay.hear(Relayed::Request(vec![1, 9, 0, 6, 47, 0])), RelayStep::Ask(_)));
        assert_eq!(relay.method(), Some(Method::Psk));
        assert_eq!(relay.take(&response), Ok(vec![2, 9, 0, 6, 4, 0]));
        let why = relay.take(&Eap::of(&[2, 8, 0, 6, 4, 0]).unwrap()).unwrap_err();
        assert_eq!(why, "the EAP response has identifier 8, the request has 9");
        assert!(relay.take(&Eap::of(&[1, 9, 0, 6, 4, 0]).unwrap()).is_err(), "a request");
        assert!(relay.take(&Eap::of(&[3, 9, 0, 4]).unwrap()).is_err(), "the client decides nothing");
    }

    #[test]
    fn what_is_no_request_is_the_end() {
        for packet in [&[][..], &[1, 9, 0, 4], &[1, 9, 0, 9, 4], &[2, 9, 0, 5, 4], &[3, 9, 0, 4]] {
            let step = relay().hear(Relayed::Request(packet.to_vec()));
            let RelayStep::Failed { packet: failure, .. } = step else { panic!("{packet:?} is taken") };
            assert_eq!(failure, [4, 7, 0, 4]);
        }
    }

    #[test]
    fn the_decision_counts_and_not_the_packet_that_comes_with_it() {
        for packet in [None, Some(vec![4, 7, 0, 4]), Some(vec![1, 9, 0, 5, 4]), Some(vec![3])] {
            let grant = Box::new(Grant { packet, ..Grant::default() });
            let RelayStep::Accepted { packet, .. } = relay().hear(Relayed::Accepted(grant)) else { panic!() };
            assert_eq!(packet, [3, 7, 0, 4]);
        }
        let refusal = Relayed::Refused { packet: Some(vec![3, 7, 0, 4]), reason: "no".into() };
        let RelayStep::Failed { packet, reason } = relay().hear(refusal) else { panic!() };
        assert_eq!((packet, reason.as_str()), (vec![4, 7, 0, 4], "no"));
    }

    #[test]
    fn a_prefix_stands_in_front_of_names_alone() {
        assert_eq!(with_prefix(&[2, 7, 0, 6, 1, b'a'], b"0"), [2, 7, 0, 7, 1, b'0', b'a']);
        assert_eq!(with_prefix(&[2, 7, 0, 6, 4, b'a'], b"0"), [2, 7, 0, 6, 4, b'a']);
        assert_eq!(with_prefix(&[2], b"0"), [2]);
    }
}
