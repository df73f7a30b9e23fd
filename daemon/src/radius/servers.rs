//! Several servers: which is asked first, and which next (RFC 2865 §2.4).

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ferry_ike::crypto::CryptoProvider;
use ferry_radius::{AttributeType, Draft};
use tracing::{info, warn};

use super::client::{Answer, NoAnswer, Port, Purpose};
use crate::settings::RadiusServer;

/// How long a server that did not answer is asked after all others.
const DOUBT: Duration = Duration::from_secs(60);

/// One server.
pub(super) struct Server {
    settings: RadiusServer,
    authentication: Port,
    accounting: Port,
    /// Requests that are out.
    load: AtomicUsize,
    /// It did not answer lately.
    doubted: Mutex<Option<Instant>>,
}

impl Server {
    fn new(settings: &RadiusServer, crypto: &Arc<CryptoProvider>) -> Self {
        Self {
            settings: settings.clone(),
            authentication: Port::new(Purpose::Authentication, settings, Arc::clone(crypto)),
            accounting: Port::new(Purpose::Accounting, settings, Arc::clone(crypto)),
            load: AtomicUsize::new(0),
            doubted: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(super) fn secret(&self) -> &[u8] {
        self.settings.secret.octets()
    }

    /// Asks this one. The request tells it who we are.
    async fn ask(&self, purpose: Purpose, mut draft: Draft, gives_way: bool) -> Result<Answer, NoAnswer> {
        draft.add(AttributeType::NAS_IDENTIFIER, self.settings.nas_identifier.as_bytes());
        let port = match purpose {
            Purpose::Authentication => &self.authentication,
            Purpose::Accounting => &self.accounting,
        };
        self.load.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(&self.load);
        let result = port.ask(draft, gives_way).await;
        drop(counted);
        match &result {
            Ok(_) => self.doubt(None),
            Err(NoAnswer::TooLarge(_)) => {}
            Err(_) => self.doubt(Some(Instant::now())),
        }
        result
    }

    fn doubt(&self, since: Option<Instant>) {
        *self.doubted.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn is_doubted(&self) -> bool {
        let doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        doubted.is_some_and(|since| since.elapsed() < DOUBT)
    }
}

/// A request that is out, until it is dropped with the future that waits for it.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All servers.
pub(super) struct Servers(Vec<Arc<Server>>);

impl Servers {
    pub(super) fn new(settings: &[RadiusServer], crypto: &Arc<CryptoProvider>) -> Self {
        Self(settings.iter().map(|settings| Arc::new(Server::new(settings, crypto))).collect())
    }

    /// Asks one after the other until one answers; or `only` that one. `None` if nobody does, and the log says why.
    pub(super) async fn ask(
        &self,
        purpose: Purpose,
        only: Option<&Arc<Server>>,
        draft: impl Fn() -> Draft,
    ) -> Option<(Answer, Arc<Server>)> {
        let candidates = only.map_or_else(|| self.ranked(), |only| vec![Arc::clone(only)]);
        let mut left = candidates.len();
        for server in candidates {
            left -= 1;
            match server.ask(purpose, draft(), left > 0).await {
                Ok(answer) => return Some((answer, server)),
                Err(error) => {
                    warn!(target: "cfg", "RADIUS server '{}' {error}", server.name());
                    if left > 0 {
                        info!(target: "cfg", "asking the next RADIUS server");
                    }
                }
            }
        }
        None
    }

    /// Those that answer first, then by preference, then those with the least to do.
    fn ranked(&self) -> Vec<Arc<Server>> {
        let mut ranked = self.0.clone();
        ranked.sort_by_key(|server| {
            let load = server.load.load(Ordering::Relaxed);
            (server.is_doubted(), Reverse(server.settings.preference), load)
        });
        ranked
    }
}
