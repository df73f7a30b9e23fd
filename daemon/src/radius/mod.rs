//! RADIUS: servers that judge EAP for us (RFC 3579), keep accounts of who was here (RFC 2866), and may end it (RFC 5176).
//!
//! `ferry-radius` has the packets; here are the sockets. [`client`] asks one port of one server and sees to repetition,
//! [`servers`] chooses among several, [`relay`] carries EAP, [`accounting`] writes records, [`authorization`] listens to
//! those who may end or limit a session, [`attributes`] knows what is said and given.

mod accounting;
mod attributes;
mod authorization;
mod client;
mod relay;
mod servers;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ferry_ike::Event;
use ferry_ike::config::Lease;
use ferry_ike::crypto::CryptoProvider;
use ferry_ike::output::IkeSaId;
use tokio::sync::mpsc;
use tracing::info;

use self::accounting::Told;
use self::attributes::Given;
use self::relay::Conversation;
use self::servers::Servers;
use crate::dataplane::DataPlaneHandle;
use crate::settings::Radius as Settings;
use crate::shard::Shards;

/// The pool whose addresses servers give.
pub(crate) const POOL: &str = "radius";

/// The way to RADIUS. A clone is the same.
#[derive(Clone)]
pub(crate) struct Radius(Arc<Inner>);

struct Inner {
    settings: Settings,
    servers: Servers,
    /// Tells sessions apart over restarts.
    prefix: u64,
    peers: Mutex<HashMap<IkeSaId, Peer>>,
    shards: OnceLock<Shards>,
    /// To who keeps accounts, if anybody does.
    records: OnceLock<mpsc::UnboundedSender<Told>>,
}

/// What RADIUS has to do with an IKE SA, from its first request until it is gone.
struct Peer {
    /// Acct-Session-Id.
    session: String,
    /// User-Name; empty where the peer has proven itself otherwise.
    user: Vec<u8>,
    conversation: Option<Conversation>,
    given: Given,
}

impl Radius {
    /// Sockets are opened when they are needed.
    pub(crate) fn new(settings: &Settings) -> Self {
        let crypto = Arc::new(CryptoProvider::system());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Arc::new(Inner {
            servers: Servers::new(&settings.servers, &crypto),
            settings: settings.clone(),
            prefix: since.as_secs(),
            peers: Mutex::default(),
            shards: OnceLock::new(),
            records: OnceLock::new(),
        }))
    }

    /// Begins with accounts, and to listen to who may end sessions. Gives what must be waited for at the end.
    pub(crate) async fn start(&self, shards: &Shards, plane: &DataPlaneHandle) -> Option<accounting::Keeper> {
        let inner = &self.0;
        // Called once.
        let _ = inner.shards.set(shards.clone());
        if let Some(dae) = &inner.settings.dae {
            authorization::listen(dae, self.clone(), shards.clone()).await;
        }
        let settings = inner.settings.accounting.clone()?;
        if inner.settings.servers.is_empty() {
            return None;
        }
        let (tell, told) = mpsc::unbounded_channel();
        let _ = inner.records.set(tell);
        plane.keep_counts();
        Some(accounting::Keeper::start(settings, self.clone(), plane.clone(), told))
    }

    /// Something has happened. Called where it happens, before anybody else hears of it, and in order.
    pub(crate) fn tell(&self, event: &Arc<Event>) {
        let inner = &self.0;
        if inner.settings.servers.is_empty() && inner.settings.dae.is_none() {
            return;
        }
        let peer = match &**event {
            Event::IkeSaUp(status) => {
                let mut peers = inner.peers();
                let peer = peers.entry(status.id).or_insert_with(|| inner.peer(status.id));
                peer.conversation = None;
                Some(peer.known())
            }
            Event::IkeSaRekeyed { old, new } => {
                let mut peers = inner.peers();
                let moved = peers.remove(&old.id);
                moved.map(|peer| {
                    let known = peer.known();
                    peers.insert(new.id, peer);
                    known
                })
            }
            Event::IkeSaDown { status, .. } => inner.peers().remove(&status.id).map(|peer| peer.known()),
            Event::IkeSaMoved { .. }
            | Event::ChildSaUp { .. }
            | Event::ChildSaDown { .. }
            | Event::ChildRekeyed { .. }
            | Event::NotRenewed { .. }
            | Event::Failed(_)
            | Event::Completed { .. } => None,
        };
        if let Some(records) = inner.records.get() {
            let _ = records.send(Told::Event(Arc::clone(event), peer)); // the keeper ends last
        }
    }

    /// The addresses that a server has given to a peer, as far as it asks for them, and what goes with an address.
    pub(crate) fn lease(&self, ike_sa: IkeSaId, has_pool: bool, requested: &[IpAddr]) -> Lease {
        let peers = self.0.peers();
        let Some(Peer { given, .. }) = peers.get(&ike_sa) else { return Lease::default() };
        let mut addresses: Vec<IpAddr> = Vec::new();
        for wanted in requested.iter().filter(|_| has_pool) {
            let is_alike = |address: &&IpAddr| address.is_ipv4() == wanted.is_ipv4();
            if addresses.iter().any(|address| is_alike(&address)) {
                continue;
            }
            if let Some(address) = given.addresses.iter().find(is_alike) {
                info!(target: "cfg", "assigning virtual IP {address} that RADIUS has given");
                addresses.push(*address);
            }
        }
        Lease { addresses, attributes: given.attributes.clone() }
    }
}

impl Inner {
    fn peers(&self) -> MutexGuard<'_, HashMap<IkeSaId, Peer>> {
        // Every change is whole before anything can panic.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer that nothing is known of yet.
    fn peer(&self, ike_sa: IkeSaId) -> Peer {
        let session = format!("{}-{ike_sa}", self.prefix);
        Peer { session, user: Vec::new(), conversation: None, given: Given::default() }
    }
}

/// What records say of a peer.
#[derive(Clone)]
struct Known {
    session: String,
    user: Vec<u8>,
    given: Given,
}

impl Peer {
    fn known(&self) -> Known {
        let user = self.given.user.clone().unwrap_or_else(|| self.user.clone());
        Known { session: self.session.clone(), user, given: self.given.clone() }
    }
}
