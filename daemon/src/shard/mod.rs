//! The shards: one `ike::Endpoint` each, owned by one task each, and the handle that everybody else uses.
//!
//! A shard's task is the only one that touches its endpoint. Datagrams come over a bounded channel and are
//! dropped when it is full, as the network might; orders and outcomes come over one without a bound, because
//! each of them answers something that was started here. Nothing is shared but snapshots and the books of
//! `registry`, which are opened once in an SA's life, never per packet.

mod initiate;
mod registry;
mod task;
mod tunnels;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ferry_ike::Trigger;
use ferry_ike::config::{
    Child, Configuration, Connection, EndpointConfig, IkeSaTotal, Ports, Settings, SpiPrefix, UniqueIds,
};
use ferry_ike::cookie::HalfOpenTotal;
use ferry_ike::crypto::CryptoProvider;
use ferry_ike::output::{ChildSaId, IkeSaId, RequestId};
use ferry_ike::redirect::Gateway;
use ferry_ike::status::{Counters, IkeSaStatus};
use ferry_ike::{ActionId, Command, CommandError, Endpoint, Event, Outcome, Path};
use tokio::sync::{broadcast, mpsc, oneshot};

use self::registry::Registry;
use crate::attempts::Attempts;
use crate::dataplane::DataPlaneHandle;
use crate::net::{Sockets, Steering};
use crate::pools::Leases;
use crate::radius::Radius;
use crate::revocation::Revocations;
use crate::updown::Updown;

/// Datagrams that may wait for a shard: a burst of as many new peers is absorbed.
const DATAGRAMS: usize = 4096;
/// Events a listener may be behind before it misses some.
const EVENTS: usize = 4096;

/// Something for a shard to do, besides datagrams.
enum Input {
    Outcome(ActionId, Outcome),
    Command(Command, oneshot::Sender<Result<(), CommandError>>),
    List(oneshot::Sender<Vec<IkeSaStatus>>),
    Count(oneshot::Sender<Counters>),
}

/// The ways into one shard.
#[derive(Clone)]
struct Inbox {
    datagrams: mpsc::Sender<(Vec<u8>, Path)>,
    inputs: mpsc::UnboundedSender<Input>,
}

/// All shards. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shards {
    inner: Arc<Inner>,
}

struct Inner {
    inboxes: Vec<Inbox>,
    steering: Steering,
    ports: Ports,
    events: broadcast::Sender<Arc<Event>>,
    requests: Requests,
    dataplane: DataPlaneHandle,
    unique_ids: Arc<UniqueIds>,
}

/// Commands whose completion somebody waits for.
#[derive(Default)]
struct Requests {
    last: AtomicU64,
    waiting: Mutex<HashMap<RequestId, oneshot::Sender<Result<(), String>>>>,
}

impl Requests {
    fn open(&self) -> (RequestId, oneshot::Receiver<Result<(), String>>) {
        let request = RequestId(self.last.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(request, sender);
        (request, receiver)
    }

    fn complete(&self, request: RequestId, result: Result<(), String>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&request);
        if let Some(sender) = waiting {
            let _ = sender.send(result); // nobody waits any more: the negotiation went on without
        }
    }
}

/// What all shards are made with.
pub(crate) struct ShardConfig {
    pub(crate) shards: usize,
    pub(crate) settings: Settings,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) dataplane: DataPlaneHandle,
    pub(crate) unique_ids: Arc<UniqueIds>,
    pub(crate) leases: Leases,
    pub(crate) revocations: Revocations,
    pub(crate) radius: Radius,
    pub(crate) updown: Updown,
    pub(crate) attempts: Attempts,
}

impl Shards {
    /// Starts the tasks. They end when the runtime does.
    pub(crate) fn start(config: ShardConfig) -> Self {
        let ShardConfig {
            shards,
            settings,
            sockets,
            dataplane,
            unique_ids,
            leases,
            radius,
            updown,
            revocations,
            attempts,
        } = config;
        let steering = Steering::new(shards);
        let crypto = Arc::new(CryptoProvider::system());
        let half_open = Arc::new(HalfOpenTotal::default());
        let ike_sas = Arc::new(IkeSaTotal::default());
        let registry = Arc::new(Registry::default());
        let (events, _) = broadcast::channel(EVENTS);
        let (inboxes, outlets): (Vec<_>, Vec<_>) = (0..steering.shards())
            .map(|_| {
                let (datagrams, datagrams_out) = mpsc::channel(DATAGRAMS);
                let (inputs, inputs_out) = mpsc::unbounded_channel();
                (Inbox { datagrams, inputs }, (datagrams_out, inputs_out))
            })
            .unzip();
        let ports = sockets.ports();
        let inner = Inner {
            inboxes,
            steering,
            ports,
            events,
            requests: Requests::default(),
            dataplane: dataplane.clone(),
            unique_ids: Arc::clone(&unique_ids),
        };
        let handle = Self { inner: Arc::new(inner) };
        for (value, (datagrams, inputs)) in (0..).zip(outlets) {
            let endpoint = Endpoint::new(
                EndpointConfig {
                    ports,
                    settings: settings.clone(),
                    spi_prefix: SpiPrefix { bits: steering.bits(), value },
                    unique_ids: unique_ids.clone(),
                    half_open: half_open.clone(),
                    ike_sas: ike_sas.clone(),
                    configuration: Arc::default(),
                },
                crypto.clone(),
            );
            let outside = task::Outside {
                shards: handle.clone(),
                shard: usize::from(value),
                sockets: sockets.clone(),
                dataplane: dataplane.clone(),
                leases: leases.clone(),
                revocations: revocations.clone(),
                registry: registry.clone(),
                radius: radius.clone(),
                updown: updown.clone(),
                attempts: attempts.clone(),
            };
            tokio::spawn(task::run(endpoint, datagrams, inputs, outside));
        }
        handle
    }

    /// Gives a datagram to the shard it is for. `true` if it was taken.
    pub(crate) fn deliver(&self, datagram: &[u8], path: Path) -> bool {
        let has_marker = path.local.port() == self.inner.ports.nat_t;
        let shard = self.inner.steering.shard_of(datagram, path.remote.ip(), has_marker);
        let Some(inbox) = self.inner.inboxes.get(shard) else { return false };
        inbox.datagrams.try_send((datagram.to_vec(), path)).is_ok()
    }

    /// From now on these connections and secrets.
    pub(crate) async fn configure(&self, configuration: Arc<Configuration>) {
        for inbox in &self.inner.inboxes {
            // Never refused; a shard that is gone is gone with the daemon.
            let _ = command(inbox, Command::Configure(configuration.clone())).await;
        }
    }

    /// Makes an IKE SA and a child, and waits until it stands or has failed. Dropping the future does not stop
    /// the negotiation.
    pub(crate) async fn initiate(
        &self,
        connection: Arc<Connection>,
        child: Option<Arc<Child>>,
        trigger: Option<Trigger>,
    ) -> Result<(), String> {
        let path = initiate::path(&connection, self.inner.ports, &self.inner.dataplane).await?;
        let inbox = self.inbox_for(&connection.name).ok_or("there are no shards")?;
        let (request, done) = self.inner.requests.open();
        let order = Command::Initiate { request, connection, child, trigger, path };
        self.wait(request, command(inbox, order).await, done).await
    }

    /// Deletes an IKE SA and waits until it is gone.
    pub(crate) async fn terminate_ike(&self, ike_sa: IkeSaId, force: bool) -> Result<(), String> {
        self.find(|request| Command::TerminateIkeSa { request, ike_sa, force }).await
    }

    /// Sends the peer of an IKE SA to another gateway and waits until it has heard that.
    pub(crate) async fn redirect(&self, ike_sa: IkeSaId, gateway: Gateway) -> Result<(), String> {
        self.find(|request| Command::Redirect { request, ike_sa, gateway: gateway.clone() }).await
    }

    /// Lets the peer of an IKE SA stay so long from now on. One that is gone is no error.
    pub(crate) async fn limit_session(&self, ike_sa: IkeSaId, lifetime: Duration) {
        for inbox in &self.inner.inboxes {
            if command(inbox, Command::LimitSession { ike_sa, lifetime }).await.is_ok() {
                return;
            }
        }
    }

    /// Deletes a CHILD_SA and waits until it is gone.
    pub(crate) async fn terminate_child(&self, child_sa: ChildSaId) -> Result<(), String> {
        self.find(|request| Command::TerminateChildSa { request, child_sa }).await
    }

    /// Makes the successor of an IKE SA and waits until it stands.
    pub(crate) async fn rekey_ike(&self, ike_sa: IkeSaId) -> Result<(), String> {
        self.find(|request| Command::RekeyIkeSa { request, ike_sa }).await
    }

    /// Makes an IKE SA anew with authentication and waits until the new one stands.
    pub(crate) async fn reauthenticate_ike(&self, ike_sa: IkeSaId) -> Result<(), String> {
        self.find(|request| Command::ReauthenticateIkeSa { request, ike_sa }).await
    }

    /// Makes the successor of a CHILD_SA and waits until it is in use.
    pub(crate) async fn rekey_child(&self, child_sa: ChildSaId) -> Result<(), String> {
        self.find(|request| Command::RekeyChildSa { request, child_sa }).await
    }

    /// The data plane saw an authenticated packet of a peer from elsewhere.
    pub(crate) async fn mapping_changed(&self, child_sa: ChildSaId, remote: std::net::SocketAddr) {
        for inbox in &self.inner.inboxes {
            if command(inbox, Command::MappingChanged { child_sa, remote }).await.is_ok() {
                return;
            }
        }
    }

    /// Addresses or routes of this host have changed.
    pub(crate) async fn network_changed(&self, addresses: Vec<IpAddr>) {
        for inbox in &self.inner.inboxes {
            let _ = command(inbox, Command::NetworkChanged { addresses: addresses.clone() }).await;
        }
    }

    /// The data plane received the first packet of a CHILD_SA.
    pub(crate) async fn first_received(&self, child_sa: ChildSaId) {
        for inbox in &self.inner.inboxes {
            if command(inbox, Command::FirstReceived { child_sa }).await.is_ok() {
                return;
            }
        }
    }

    /// The data plane can carry no more with a CHILD_SA.
    pub(crate) async fn child_exhausted(&self, child_sa: ChildSaId) {
        for inbox in &self.inner.inboxes {
            if command(inbox, Command::ChildSaExhausted { child_sa }).await.is_ok() {
                return;
            }
        }
    }

    /// All IKE SAs of all shards, oldest first.
    pub(crate) async fn list(&self) -> Vec<IkeSaStatus> {
        let mut all = Vec::new();
        for inbox in &self.inner.inboxes {
            let (sender, receiver) = oneshot::channel();
            if inbox.inputs.send(Input::List(sender)).is_ok() {
                all.extend(receiver.await.unwrap_or_default());
            }
        }
        all.sort_unstable_by_key(|status| status.id);
        all
    }

    /// What happens from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.inner.events.subscribe()
    }

    /// The counters of all shards together.
    pub(crate) async fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for inbox in &self.inner.inboxes {
            let (sender, receiver) = oneshot::channel();
            if inbox.inputs.send(Input::Count(sender)).is_ok() {
                sum += receiver.await.unwrap_or_default();
            }
        }
        sum
    }

    /// Deletes all IKE SAs and waits until they are gone.
    pub(crate) async fn shutdown(&self) {
        let shards = self.inner.inboxes.iter().map(|inbox| async {
            let (request, done) = self.inner.requests.open();
            let _ = self.wait(request, command(inbox, Command::Shutdown { request }).await, done).await;
        });
        futures_util::future::join_all(shards).await;
    }

    /// The same connection is always initiated by the same shard, which knows whether it has another IKE SA of
    /// it (INITIAL_CONTACT).
    fn inbox_for(&self, connection: &str) -> Option<&Inbox> {
        let mut hasher = DefaultHasher::new();
        connection.hash(&mut hasher);
        let count = u64::from(self.inner.steering.shards());
        let shard = usize::try_from(hasher.finish() % count).unwrap_or(0);
        self.inner.inboxes.get(shard)
    }

    /// Orders something of the one shard that knows its object.
    async fn find(&self, order: impl Fn(RequestId) -> Command) -> Result<(), String> {
        let mut refusal = String::from("there are no shards");
        for inbox in &self.inner.inboxes {
            let (request, done) = self.inner.requests.open();
            match command(inbox, order(request)).await {
                Ok(()) => return self.wait(request, Ok(()), done).await,
                Err(error) => {
                    self.inner.requests.complete(request, Ok(()));
                    refusal = error.to_string();
                }
            }
        }
        Err(refusal)
    }

    async fn wait(
        &self,
        request: RequestId,
        ordered: Result<(), CommandError>,
        done: oneshot::Receiver<Result<(), String>>,
    ) -> Result<(), String> {
        if let Err(error) = ordered {
            self.inner.requests.complete(request, Ok(()));
            return Err(error.to_string());
        }
        done.await.unwrap_or_else(|_| Err("the daemon is going down".into()))
    }
}

/// Gives an order to a shard and waits until it has taken or refused it.
async fn command(inbox: &Inbox, command: Command) -> Result<(), CommandError> {
    let (sender, receiver) = oneshot::channel();
    if inbox.inputs.send(Input::Command(command, sender)).is_err() {
        return Err(CommandError::ShuttingDown);
    }
    receiver.await.unwrap_or(Err(CommandError::ShuttingDown))
}
