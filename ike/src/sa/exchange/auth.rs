//! IKE_AUTH (RFC 7296 §1.2): both ends prove who they are, and make the first CHILD_SA.
//!
//! ```text
//! HDR, SK {IDi, [CERT], [N(INITIAL_CONTACT)], [CERTREQ], [IDr], AUTH, [CP(CFG_REQUEST)], SAi2, TSi, TSr}  -->
//!                          <--  HDR, SK {IDr, [CERT], AUTH, [CP(CFG_REPLY)], SAr2, TSi, TSr}
//! ```
//!
//! Each end proves itself in its own way. A signature is checked at once; who vouches for the certificate is asked
//! outside, and nothing follows from it before that is known. Either end may have to do so in several rounds (RFC 4739);
//! `admission` has the responder's, `initiator` the other's.

mod admission;
pub(in crate::sa) mod certificates;
mod eap;
mod initiator;
mod responder;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tracing::info;

pub(crate) use self::admission::Admission;
use self::certificates::Asked;
pub(crate) use self::eap::responder::Rounds;
pub(crate) use self::initiator::{Checking, Sent, begin};
pub(crate) use self::responder::{Answering, Verifying, answer};
use crate::auth::{psk, signature};
use crate::config::{AuthClass, Configuration, Connection, Lease, LocalAuth, SecretKind};
use crate::context::Cx;
use crate::crypto::signature::PrivateKey;
use crate::crypto::{IkeSuite, Role, Secret};
use crate::error::Failure;
use crate::identity::Identity;
use crate::sa::Core;
use crate::sa::exchange::init::Handshake;
use crate::wire::PayloadWriter;
use crate::wire::cp::Configuration as ConfigurationPayload;
use crate::wire::id;
use crate::wire::registry::{AuthMethod, CfgAttributeType};

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

impl Handshake {
    /// What an end signs; `id` is the body of its ID payload, as it came or goes.
    fn signed_octets(&self, signer: Role, suite: &IkeSuite, id: &[u8]) -> Vec<u8> {
        let prf = suite.prf();
        match signer {
            Role::Initiator => signature::signed_octets(prf, &self.request, &self.nonce_r, &self.sk_pi, id),
            Role::Responder => signature::signed_octets(prf, &self.response, &self.nonce_i, &self.sk_pr, id),
        }
    }
}

impl Handshake {
    /// The key of an end's AUTH that proves nothing but that it was the one in IKE_SA_INIT (RFC 7619 §2.1).
    fn null_key(&self, of: Role) -> &Secret {
        match of {
            Role::Initiator => self.sk_pi.secret(),
            Role::Responder => self.sk_pr.secret(),
        }
    }
}

/// How we prove who we are.
struct Proof {
    /// Certificates, or a key, that go before AUTH.
    certificates: Vec<certificates::Sent>,
    method: AuthMethod,
    data: Vec<u8>,
    /// For the log.
    with: String,
}

impl Proof {
    /// Makes it as `auth`, a round of `connection`, says, without EAP. `peer` is who we expect; `asked` is what it
    /// wants to see of us.
    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
    fn make(
        core: &Core,
        handshake: &Handshake,
        connection: &Connection,
        auth: &LocalAuth,
        local_id: &Identity,
        peer: &Identity,
        asked: &Asked,
        cx: &Cx<'_>,
    ) -> Result<Self, Failure> {
        let suite = core.suite.as_ref().ok_or(Failure::Ended("the IKE_SA has no keys"))?;
        match auth.class {
            AuthClass::PublicKey => {
                let (certificates, key) = credential(auth, local_id, connection, asked, cx)?;
                let octets = handshake.signed_octets(core.role, suite, &id::body(local_id));
                let hashes = handshake.hashes.as_deref();
                let signed = signature::sign(&key, &auth.rules, cx.settings.rsa_pss, hashes, &octets)
                    .map_err(|error| {
                        Failure::Authentication(format!("signing as '{local_id}' failed: {error}"))
                    })?;
                Ok(Self {
                    certificates,
                    method: signed.method,
                    data: signed.data,
                    with: signed.scheme.to_string(),
                })
            }
            AuthClass::Psk | AuthClass::Eap(_) | AuthClass::Null => {
                let is_null = auth.class == AuthClass::Null;
                let key = match is_null {
                    true => handshake.null_key(core.role),
                    false => shared_key(cx.configuration, local_id, peer).map_err(Failure::Authentication)?,
                };
                let data = match core.role {
                    Role::Initiator => handshake.initiator_auth(suite, key, local_id),
                    Role::Responder => handshake.responder_auth(suite, key, local_id),
                };
                Ok(if is_null { Self::null(data) } else { Self::shared(data) })
            }
        }
    }

    /// One made with a shared key.
    fn shared(data: Vec<u8>) -> Self {
        Self { certificates: vec![], method: AuthMethod::SHARED_KEY, data, with: "pre-shared key".to_owned() }
    }

    /// One that proves nothing (RFC 7619).
    fn null(data: Vec<u8>) -> Self {
        let with = "NULL authentication".to_owned();
        Self { certificates: vec![], method: AuthMethod::NULL, data, with }
    }

    fn write_certificates(&self, payloads: &mut PayloadWriter) {
        for sent in &self.certificates {
            payloads.cert(sent.encoding, &sent.data);
        }
    }
}

/// What we sign with, and what goes along so that the peer believes it: a certificate, or a raw public key where the peer
/// asks for one or we have nothing else.
fn credential(
    auth: &LocalAuth,
    local_id: &Identity,
    connection: &Connection,
    asked: &Asked,
    cx: &Cx<'_>,
) -> Result<(Vec<certificates::Sent>, Arc<PrivateKey>), Failure> {
    let configuration = cx.configuration;
    let authorities = asked.authorities.as_deref().unwrap_or_default();
    let certificate = configuration.credential(auth, local_id, authorities);
    match (certificate, configuration.raw_key(auth)) {
        (Some((certificate, key)), None) => {
            Ok((certificates::to_send(&certificate, connection, asked, cx), key))
        }
        (Some((certificate, key)), Some(_)) if asked.authorities.is_some() || !asked.raw_keys => {
            Ok((certificates::to_send(&certificate, connection, asked, cx), key))
        }
        (_, Some((public, key))) => {
            Ok((certificates::raw_key_to_send(public, connection, asked), Arc::clone(key)))
        }
        (None, None) => {
            let of = if auth.public_keys.is_empty() { "a certificate of it" } else { "its raw public keys" };
            let none = match configuration.private_keys.as_slice() {
                [] => "no key at all, and so none",
                _ => "none",
            };
            Err(Failure::Authentication(format!(
                "no private key found for '{local_id}': {none} of {of} is loaded"
            )))
        }
    }
}

/// True if the connection asks for, or allows, a signature.
fn allows_signature(class: Option<AuthClass>) -> bool {
    matches!(class, None | Some(AuthClass::PublicKey))
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

/// RFC 7619 §3.1: what a peer says of itself without proof is marked as such in the log, beside where it is.
fn tell_of_nobody(core: &Core, id: &Identity) {
    let remote = core.path.remote;
    if id.is_null() {
        info!(target: "ike", "the peer at {remote} does not say who it is: NULL authentication");
    } else {
        info!(target: "ike", "the peer at {remote} says that it is '{id}', which it has NOT proven: NULL authentication");
    }
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
