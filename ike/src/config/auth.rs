//! Rounds of authentication: swanctl.conf's `local<x>` and `remote<x>`.

use crate::auth::rules::SignatureRules;
use crate::crypto::signature::PublicKey;
use crate::eap::Method;
use crate::identity::Identity;
use crate::pki::{Certificate, Constraints};

/// How an end proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthClass {
    /// Nothing: the end says that it was the one in IKE_SA_INIT, and not who it is (RFC 7619).
    Null,
    /// A pre-shared key.
    Psk,
    /// A signature, with the key of a certificate or a raw public key (RFC 7670).
    PublicKey,
    /// EAP (RFC 7296 §2.16): the initiator as its client, the responder as its server.
    Eap(EapMethods),
}

/// Which methods of EAP may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EapMethods {
    /// Any we have.
    Any,
    /// Any we have: the server offers one after the other.
    Dynamic,
    /// This one.
    One(Method),
    /// Whatever a server elsewhere uses (RADIUS): we pass its packets on, and believe what it concludes. As the
    /// responder alone.
    Relay,
}

impl EapMethods {
    /// The methods, the best first.
    #[must_use]
    pub fn in_order(self) -> Vec<Method> {
        match self {
            Self::Any | Self::Dynamic => Method::ALL.to_vec(),
            Self::One(method) => vec![method],
            Self::Relay => vec![],
        }
    }
}

/// One round of our own authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAuth {
    /// How we prove it.
    pub class: AuthClass,
    /// Certificates to prove it with, the first choice first; of those that are loaded one with our identity, if there
    /// are none.
    pub certificates: Vec<Certificate>,
    /// Raw public keys to prove it with (RFC 7670), the first choice first.
    pub public_keys: Vec<PublicKey>,
    /// How we may sign.
    pub rules: SignatureRules,
    /// Who we say we are; `None` for our address.
    pub id: Option<Identity>,
    /// Who we say we are in EAP; `None` for the same.
    pub eap_id: Option<Identity>,
    /// Who the server must be in EAP methods that tell; a pattern. `None` for anybody, or the peer where nothing else
    /// proves it.
    pub aaa_id: Option<Identity>,
}

impl LocalAuth {
    /// Who we say we are, if that does not depend on anything else: who was configured, the subject of our certificate,
    /// our key itself, or nobody where we prove nothing.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let of_certificate = || self.certificates.first().map(|certificate| certificate.subject().clone());
        let of_key = || self.public_keys.first().map(PublicKey::identity);
        let nobody = || (self.class == AuthClass::Null).then(Identity::null); // RFC 7619 §2.2
        self.id.clone().or_else(of_certificate).or_else(of_key).or_else(nobody)
    }
}

/// One round of the peer's authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAuth {
    /// How it must prove it; `None` for any way.
    pub class: Option<AuthClass>,
    /// How it may sign.
    pub rules: SignatureRules,
    /// What its certificate and the chain to its trust anchor have to be.
    pub trust: Constraints,
    /// Raw public keys (RFC 7670) that are trusted to be its own. Without `certificates` and `authorities` in `trust`, it
    /// signs with one of these.
    pub public_keys: Vec<PublicKey>,
    /// Who it may be; a pattern.
    pub id: Identity,
    /// Who it may be in EAP, where it is asked for its identity; a pattern. `None` does not ask.
    pub eap_id: Option<Identity>,
    /// Groups of which it must be in one, as who has authenticated it says; none for anybody.
    pub groups: Vec<Identity>,
}

impl RemoteAuth {
    /// Everybody is taken, and nobody proves who they are (RFC 7619 §2.4: only what says so may be used without).
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.class == Some(AuthClass::Null)
    }

    /// Certificates may prove who it is. They may not where only raw public keys are named.
    #[must_use]
    pub fn takes_certificates(&self) -> bool {
        let Constraints { certificates, authorities, authority_id, .. } = &self.trust;
        self.public_keys.is_empty()
            || !certificates.is_empty()
            || !authorities.is_empty()
            || authority_id.is_some()
    }
}
