//! EAP conversations with servers (RFC 3579): packets of peers become Access-Requests, and what comes back becomes what
//! the IKE SA waits for.

use std::sync::Arc;

use ferry_ike::Outcome;
use ferry_ike::crypto::Secret;
use ferry_ike::eap::{Grant, Relayed, with_prefix};
use ferry_ike::output::{EapRelay, IkeSaId};
use ferry_radius::{AttributeType, Code, Draft, Packet, draft, hidden};
use tracing::{info, warn};

use super::attributes::{self, Given, Port};
use super::client::Purpose;
use super::servers::Server;
use super::{Inner, Radius};
use crate::dataplane::ReplyTo;

/// Where a conversation stands between two requests.
pub(super) struct Conversation {
    /// The server has begun it, and nobody else can go on with it.
    server: Arc<Server>,
    /// What it wants to hear again with the next request.
    state: Option<Vec<u8>>,
}

impl Radius {
    /// Asks a server about a packet of a peer.
    pub(crate) fn relay(&self, eap: Box<EapRelay>, reply: ReplyTo) {
        let inner = Arc::clone(&self.0);
        // At once: the IKE SA may be gone when the task runs, and then nobody would forget it.
        let (user, session, conversation) = inner.resume(&eap);
        // It ends by itself when no server answers; dropped with the runtime, nobody waits for it.
        tokio::spawn(async move { reply(inner.judge(*eap, user, session, conversation).await) });
    }
}

impl Inner {
    async fn judge(
        &self,
        eap: EapRelay,
        user: Vec<u8>,
        session: String,
        conversation: Option<Conversation>,
    ) -> Outcome {
        if user.len() > draft::MAX_VALUE_LEN {
            return Outcome::Failed(format!("the name '{}' is too long for RADIUS", eap.identity));
        }
        if self.settings.servers.is_empty() {
            return Outcome::Failed("no RADIUS server is configured (charon.plugins.eap-radius)".into());
        }
        let (only, state) = match conversation {
            Some(Conversation { server, state }) => (Some(server), state),
            None if eap.is_first => (None, None),
            None => return Outcome::Failed("the RADIUS conversation is lost".into()),
        };
        let packet = match (eap.is_first, self.settings.eap_start) {
            (true, true) => Vec::new(),
            (true, false) => with_prefix(&eap.packet, self.settings.id_prefix.as_bytes()),
            (false, _) => eap.packet.clone(),
        };
        let port =
            Port { ike_sa: eap.ike_sa, connection: &eap.connection.name, path: eap.path, session: &session };
        let request = || {
            let mut request = Draft::new(Code::ACCESS_REQUEST);
            request.add(AttributeType::USER_NAME, &user);
            port.describe(&self.settings, &mut request);
            if let Some(state) = &state {
                request.add(AttributeType::STATE, state);
            }
            let told =
                eap.attributes.iter().filter_map(|whole| attributes::for_server(whole, &self.settings));
            for (kind, value) in told {
                request.add(kind, value);
            }
            request.add_eap(&packet);
            request
        };
        let Some((answer, server)) = self.servers.ask(Purpose::Authentication, only.as_ref(), request).await
        else {
            self.nobody_answers(None);
            return Outcome::Failed("no RADIUS server answers".into());
        };
        match answer.packet() {
            Some(packet) => Outcome::Relayed {
                relayed: self.interpret(&packet, &answer.request, &server, &eap),
                attributes: attributes::for_peer(&packet, &self.settings),
            },
            None => Outcome::Failed("the RADIUS server's answer is lost".into()),
        }
    }

    /// What a server says, in EAP's words.
    fn interpret(
        &self,
        packet: &Packet<'_>,
        request: &[u8; 16],
        server: &Arc<Server>,
        eap: &EapRelay,
    ) -> Relayed {
        let (name, user) = (server.name(), &eap.identity);
        let refused = |reason: String| Relayed::Refused { packet: packet.eap_message(), reason };
        match packet.code() {
            Code::ACCESS_CHALLENGE => {
                let Some(message) = packet.eap_message() else {
                    return refused(format!("RADIUS server '{name}' asks for something else than EAP"));
                };
                let state = packet.get(AttributeType::STATE).map(<[u8]>::to_vec);
                self.keep(eap.ike_sa, Some(Conversation { server: Arc::clone(server), state }), None);
                Relayed::Request(message)
            }
            Code::ACCESS_ACCEPT => {
                info!(target: "cfg", "RADIUS server '{name}' accepts '{user}'");
                let msk = hidden::master_session_key(packet, request, server.secret());
                let lifetime = packet.number(AttributeType::SESSION_TIMEOUT).filter(|seconds| *seconds > 0);
                let groups = attributes::groups(packet, &self.settings);
                self.keep(eap.ike_sa, None, Some(Given::by(packet)));
                Relayed::Accepted(Box::new(Grant {
                    packet: packet.eap_message(),
                    msk: msk.map(|octets| Secret::new(octets.to_vec())),
                    lifetime: lifetime.map(|seconds| std::time::Duration::from_secs(seconds.into())),
                    groups,
                }))
            }
            _ => {
                self.keep(eap.ike_sa, None, None);
                let why =
                    attributes::reply_message(packet).map(|text| format!(": {text}")).unwrap_or_default();
                refused(format!("RADIUS server '{name}' rejects '{user}'{why}"))
            }
        }
    }

    /// Who the peer is to servers, its accounting session, and where its conversation stands.
    fn resume(&self, eap: &EapRelay) -> (Vec<u8>, String, Option<Conversation>) {
        let user = [self.settings.id_prefix.as_bytes(), &eap.name].concat();
        let mut peers = self.peers();
        let peer = peers.entry(eap.ike_sa).or_insert_with(|| self.peer(eap.ike_sa));
        user.clone_into(&mut peer.user);
        let conversation = peer.conversation.take().filter(|_| !eap.is_first);
        (user, peer.session.clone(), conversation)
    }

    /// Keeps what came of a request, unless the IKE SA has ended meanwhile.
    fn keep(&self, ike_sa: IkeSaId, conversation: Option<Conversation>, given: Option<Given>) {
        let mut peers = self.peers();
        let Some(peer) = peers.get_mut(&ike_sa) else { return };
        peer.conversation = conversation;
        if let Some(given) = given {
            peer.given = given;
        }
    }

    /// No server answers, to a record of this IKE SA if it is one.
    pub(super) fn nobody_answers(&self, ike_sa: Option<IkeSaId>) {
        let Some(shards) = self.shards.get().cloned() else { return };
        if self.settings.close_all_on_timeout {
            warn!(target: "cfg", "deleting all IKE_SAs after RADIUS timeout");
            tokio::spawn(async move {
                for sa in shards.list().await {
                    let shards = shards.clone();
                    // Each is an exchange with its peer, which others need not wait for; one may be gone already.
                    tokio::spawn(async move { shards.terminate_ike(sa.id, false).await });
                }
            });
        } else if let Some(ike_sa) = ike_sa {
            warn!(target: "cfg", "deleting IKE_SA #{ike_sa} after RADIUS timeout");
            tokio::spawn(async move { shards.terminate_ike(ike_sa, false).await });
        }
    }
}
