//! A server that judges EAP for a gateway: what a RADIUS server is to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::setup::{identity, shared_secret};
use crate::config::{Configuration, SecretKind};
use crate::crypto::CryptoProvider;
use crate::eap::{Grant, Method, Relayed, Server, ServerStep};
use crate::identity::Identity;
use crate::output::{EapRelay, IkeSaId};
use crate::wire::Eap;

/// What the server knows, and what it gives to whom it lets in.
pub struct Account {
    /// The method it uses.
    pub method: Method,
    /// Everybody's password.
    pub password: &'static str,
    /// How long clients may stay.
    pub lifetime: Option<Duration>,
    /// The groups that clients are in.
    pub groups: &'static [&'static str],
}

impl Account {
    /// A server of one method and one password.
    #[must_use]
    pub const fn new(method: Method, password: &'static str) -> Self {
        Self { method, password, lifetime: None, groups: &[] }
    }
}

/// The server.
pub(super) struct Aaa {
    account: Account,
    secrets: Configuration,
    crypto: Arc<CryptoProvider>,
    conversations: BTreeMap<IkeSaId, Server>,
}

impl Aaa {
    pub(super) fn new(account: Account, crypto: Arc<CryptoProvider>) -> Self {
        let secrets = vec![Arc::new(shared_secret(SecretKind::Eap, account.password, &[]))];
        let secrets = Configuration { secrets, ..Configuration::default() };
        Self { account, secrets, crypto, conversations: BTreeMap::new() }
    }

    pub(super) fn judge(&mut self, relay: &EapRelay) -> Relayed {
        let refused = |reason: &str| Relayed::Refused { packet: None, reason: reason.into() };
        let Ok(packet) = Eap::of(&relay.packet) else { return refused("that is no EAP packet") };
        if relay.is_first {
            let name = std::str::from_utf8(packet.data()).unwrap_or_default();
            let Ok(client) = Identity::parse(name) else { return refused("that is nobody") };
            let mut server = Server::new(identity("aaa.example.org"), client, &self.crypto);
            let request = server.offer(vec![self.account.method], &self.crypto);
            self.conversations.insert(relay.ike_sa, server);
            return Relayed::Request(request);
        }
        let Some(server) = self.conversations.get_mut(&relay.ike_sa) else { return refused("who is that?") };
        match server.handle(&packet, &self.secrets, &self.crypto) {
            ServerStep::Request(packet) => Relayed::Request(packet),
            ServerStep::Succeeded { packet, conclusion } => Relayed::Accepted(Box::new(Grant {
                packet: Some(packet),
                msk: conclusion.msk,
                lifetime: self.account.lifetime,
                groups: self.account.groups.iter().map(|group| identity(group)).collect(),
            })),
            ServerStep::Judge { .. } => refused("certificates are for others"),
            ServerStep::Failed { packet, reason } => Relayed::Refused { packet: Some(packet), reason },
            ServerStep::Identified(_) => refused("nobody asked"),
            ServerStep::Ignored(reason) => refused(&reason),
        }
    }
}
