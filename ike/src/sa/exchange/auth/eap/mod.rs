//! EAP inside IKE_AUTH (RFC 7296 §2.16): the peer proves who it is in as many rounds as its method takes, and both ends
//! say AUTH when it is over.
//!
//! ```text
//! HDR, SK {IDi, [IDr], [CP(CFG_REQUEST)], SAi2, TSi, TSr, [N(EAP_ONLY_AUTHENTICATION)]}  -->
//!                                                    <--  HDR, SK {IDr, [AUTH], EAP}
//! HDR, SK {EAP}  -->                                 <--  HDR, SK {EAP}                      (so often)
//! HDR, SK {EAP}  -->                                 <--  HDR, SK {EAP (Success)}
//! HDR, SK {AUTH}  -->          <--  HDR, SK {AUTH, [CP(CFG_REPLY)], SAr2, TSi, TSr}
//! ```
//!
//! The responder's first AUTH is missing where both agree that the method proves it too (RFC 5998).

pub(super) mod initiator;
pub(super) mod responder;

use std::sync::Arc;

use tracing::info;

use crate::config::{Connection, EapMethods, LocalAuth, RemoteAuth};
use crate::context::Cx;
use crate::crypto::Secret;
use crate::eap::{Method, OwnCertificate, PeerChain, Tls};
use crate::identity::Identity;
use crate::output::{Action, ActionId, CertificateCheck, IkeSaId};
use crate::sa::exchange::init::Handshake;

/// The most messages of the peer in one conversation: several times what any method needs, and an end to those that
/// would go on for ever.
const MOST_ROUNDS: u32 = 64;

/// The methods that may be used, in order; those alone that prove both ends where nothing else proves the responder
/// (RFC 5998 §4).
fn allowed(methods: EapMethods, is_eap_only: bool) -> Vec<Method> {
    let mut allowed = methods.in_order();
    allowed.retain(|method| !is_eap_only || method.is_mutual());
    allowed
}

/// What methods with TLS need, for an end that proves that it is `ours` to a peer, and whose server must be `server`.
fn tls(
    own: Option<&LocalAuth>,
    peers: Option<&RemoteAuth>,
    ours: &Identity,
    server: &Identity,
    cx: &Cx<'_>,
) -> Arc<Tls> {
    let configuration = cx.configuration;
    let credential = own.and_then(|auth| configuration.credential(auth, ours, &[]));
    let own = credential.map(|(certificate, key)| {
        let above = configuration.authorities_above(&certificate, false);
        Arc::new(OwnCertificate::new(std::iter::once(&certificate).chain(&above), key))
    });
    let subject = |authority: &crate::pki::Certificate| authority.subject().data.clone();
    let trusted = peers.map(|remote| remote.trust.authorities.as_slice());
    let authorities = match trusted.unwrap_or_default() {
        [] => configuration.trust.authorities().map(subject).collect(),
        trusted => trusted.iter().map(subject).collect(),
    };
    Arc::new(Tls { settings: cx.settings.tls.clone(), own, authorities, server: server.clone() })
}

/// Asks whether anybody vouches for what a peer has shown in TLS, in a round of this connection.
fn ask_to_judge(
    chain: PeerChain,
    ike_sa: IkeSaId,
    (connection, round): (&Arc<Connection>, usize),
    cx: &mut Cx<'_>,
) -> ActionId {
    let PeerChain { peer, certificate, others } = chain;
    info!(target: "tls", "received TLS certificate \"{certificate}\" of '{peer}'");
    let check = CertificateCheck {
        ike_sa,
        connection: connection.clone(),
        round,
        id: peer,
        certificate,
        sent: others,
        responses: vec![], // RFC 4806 §5.2: it is about IKE's certificates
        trust: cx.configuration.trust.clone(),
    };
    cx.ask(ike_sa, Action::VerifyCertificate(Box::new(check)))
}

/// The keys of the initiator's and the responder's AUTH: the MSK, or SK_pi and SK_pr where the method makes none (RFC
/// 7296 §2.16).
fn auth_keys<'a>(msk: Option<&'a Secret>, handshake: &'a Handshake) -> (&'a Secret, &'a Secret) {
    match msk {
        Some(msk) => (msk, msk),
        None => (handshake.sk_pi.secret(), handshake.sk_pr.secret()),
    }
}

/// What EAP has made for AUTH, for the log.
fn key_words(msk: Option<&Secret>) -> &'static str {
    if msk.is_some() { "MSK established" } else { "no MSK established" }
}
