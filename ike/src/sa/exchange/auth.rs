//! IKE_AUTH (RFC 7296 §1.2): both ends prove who they are, and make the first CHILD_SA.
//!
//! ```text
//! HDR, SK {IDi, [N(INITIAL_CONTACT)], [IDr], AUTH, [CP(CFG_REQUEST)], SAi2, TSi, TSr}  -->
//!                          <--  HDR, SK {IDr, AUTH, [CP(CFG_REPLY)], SAr2, TSi, TSr}
//! ```

mod eap;
mod initiator;
mod responder;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) use self::eap::responder::Rounds;
pub(crate) use self::initiator::{Sent, begin};
pub(crate) use self::responder::{Answering, answer};
use crate::auth::psk;
use crate::config::{AuthClass, Configuration, Lease, SecretKind};
use crate::crypto::{IkeSuite, Secret};
use crate::identity::Identity;
use crate::sa::exchange::init::Handshake;
use crate::wire::cp::Configuration as ConfigurationPayload;
use crate::wire::id;
use crate::wire::registry::CfgAttributeType;

impl Handshake {
    /// The initiator's AUTH data for one shared key (RFC 7296 §2.15).
    fn initiator_auth(&self, suite: &IkeSuite, key: &Secret, id_i: &Identity) -> Vec<u8> {
        psk::auth(suite.prf(), key, &self.request, &self.nonce_r, &self.sk_pi, &id::body(id_i))
    }

    /// `id_i` is the body of IDi as it came, reserved octets and all.
    fn verify_initiator(&self, auth: &[u8], suite: &IkeSuite, key: &Secret, id_i: &[u8]) -> bool {
        psk::verify(auth, suite.prf(), key, &self.request, &self.nonce_r, &self.sk_pi, id_i)
    }

    /// The responder's.
    fn responder_auth(&self, suite: &IkeSuite, key: &Secret, id_r: &Identity) -> Vec<u8> {
        psk::auth(suite.prf(), key, &self.response, &self.nonce_i, &self.sk_pr, &id::body(id_r))
    }

    /// `id_r` is the body of IDr as it came.
    fn verify_responder(&self, auth: &[u8], suite: &IkeSuite, key: &Secret, id_r: &[u8]) -> bool {
        psk::verify(auth, suite.prf(), key, &self.response, &self.nonce_i, &self.sk_pr, id_r)
    }
}

/// The key for a pair of identities, or the sentence that says there is none.
fn shared_key<'a>(
    configuration: &'a Configuration,
    ours: &Identity,
    peers: &Identity,
) -> Result<&'a Secret, String> {
    configuration
        .shared_secret(SecretKind::Ike, ours, peers)
        .map(|secret| &secret.secret)
        .ok_or_else(|| format!("no shared key found for '{ours}' - '{peers}'"))
}

/// True if the connection asks for, or allows, a pre-shared key.
fn allows_psk(class: Option<AuthClass>) -> bool {
    matches!(class, None | Some(AuthClass::Psk))
}

/// The addresses a CFG_REQUEST asks for: unspecified for any of that family (RFC 7296 §3.15.1).
fn requested_addresses(request: &ConfigurationPayload<'_>) -> Vec<IpAddr> {
    addresses(request, true)
}

/// The addresses a CFG_REPLY assigns.
fn assigned_addresses(reply: &ConfigurationPayload<'_>) -> Vec<IpAddr> {
    addresses(reply, false)
}

fn addresses(payload: &ConfigurationPayload<'_>, empty_means_any: bool) -> Vec<IpAddr> {
    const MOST: usize = 8; // far more than the two that make sense
    payload
        .attributes
        .iter()
        .filter_map(|attribute| match attribute.kind {
            CfgAttributeType::INTERNAL_IP4_ADDRESS => match attribute.value {
                [] if empty_means_any => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                octets => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
            },
            CfgAttributeType::INTERNAL_IP6_ADDRESS => match attribute.value {
                [] if empty_means_any => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
                // 16 octets and a prefix length.
                octets => octets.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
            },
            _ => None,
        })
        .take(MOST)
        .collect()
}

/// A lease as the attributes of a CFG_REPLY.
fn reply_attributes(lease: &Lease) -> Vec<(CfgAttributeType, Vec<u8>)> {
    let addresses = lease.addresses.iter().map(|address| match address {
        IpAddr::V4(v4) => (CfgAttributeType::INTERNAL_IP4_ADDRESS, v4.octets().to_vec()),
        IpAddr::V6(v6) => {
            let mut value = v6.octets().to_vec();
            value.push(128); // the client's own address, not a network
            (CfgAttributeType::INTERNAL_IP6_ADDRESS, value)
        }
    });
    addresses.chain(lease.attributes.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cp::CfgAttribute;
    use crate::wire::registry::CfgType;

    #[test]
    fn addresses_of_a_configuration_payload() {
        let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 64];
        let payload = ConfigurationPayload {
            cfg_type: CfgType::REQUEST,
            attributes: vec![
                CfgAttribute { kind: CfgAttributeType::INTERNAL_IP4_ADDRESS, value: &[] },
                CfgAttribute { kind: CfgAttributeType::INTERNAL_IP4_ADDRESS, value: &[10, 0, 0, 1] },
                CfgAttribute { kind: CfgAttributeType::INTERNAL_IP4_ADDRESS, value: &[10, 0, 0] },
                CfgAttribute { kind: CfgAttributeType::INTERNAL_IP6_ADDRESS, value: &v6 },
                CfgAttribute { kind: CfgAttributeType::INTERNAL_IP4_DNS, value: &[] },
            ],
        };
        let requested: Vec<String> = requested_addresses(&payload).iter().map(ToString::to_string).collect();
        assert_eq!(requested, ["0.0.0.0", "10.0.0.1", "2001:db8::1"]);
        let assigned: Vec<String> = assigned_addresses(&payload).iter().map(ToString::to_string).collect();
        assert_eq!(assigned, ["10.0.0.1", "2001:db8::1"]);
    }
}
