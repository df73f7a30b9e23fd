//! How the daemon starts and ends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use ferry_ike::config::UniqueIds;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::attempts::Attempts;
use crate::connections::Defaults;
use crate::dataplane::{self, DataPlaneHandle, PlaneConfig, PlaneEvent};
use crate::logging::Logger;
use crate::metrics::{self, Source};
use crate::net::{Bound, Sockets, Watch};
use crate::pid_file::PidFile;
use crate::pools::Leases;
use crate::privileges;
use crate::radius::Radius;
use crate::reload::Reload;
use crate::revocation::Revocations;
use crate::settings::{self, Loaded, Settings};
use crate::shard::{ShardConfig, Shards};
use crate::store::Store;
use crate::updown::Updown;
use crate::vici_server::{self, Control, Listings, Started};

/// How long peers have to answer that their SAs are deleted when the daemon ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// How often names of peers are looked up anew.
const LOOKUPS: Duration = Duration::from_secs(60);

/// Runs the daemon until it is told to end. Everything that can go wrong at the start is one sentence.
pub(crate) fn run() -> anyhow::Result<()> {
    let started = Started::now();
    let Loaded { settings, remarks } = settings::load()?;
    // Before the logs are opened: those of a daemon that runs already are not ours to begin anew.
    let pid_file = PidFile::create(&settings.pid_file)?;
    let logger = Logger::default();
    tracing_subscriber::registry().with(logger.clone()).init();
    logger.open(&settings.logging)?;
    info!(target: "dmn", "starting ferryd {}", env!("CARGO_PKG_VERSION"));
    for remark in remarks {
        warn!(target: "cfg", "{remark}");
    }
    let doors = open_doors(&settings);
    // From here on there are threads.
    logger.start().context("cannot start threads")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::anyhow!("cannot start threads: {error}"))?;
    let result = runtime.block_on(async {
        let result = match doors {
            Ok(doors) => serve(settings, logger.clone(), doors, started).await,
            Err(error) => Err(error),
        };
        drop(pid_file);
        logger.flush().await;
        result
    });
    // Lookups of names that hang are not waited for.
    runtime.shutdown_background();
    result
}

/// Where others come to us.
struct Doors {
    vici: Bound,
    metrics: Option<Bound>,
}

/// Does what needs root, and drops what is not needed any more. There must be one thread: the next ones inherit what is
/// left.
fn open_doors(settings: &Settings) -> anyhow::Result<Doors> {
    let user = privileges::wanted(settings)?;
    let open = |uri| Bound::open(uri, user.map(|user| (user.uid, user.gid)));
    let vici = open(&settings.vici_socket)?;
    let metrics = settings.metrics.as_ref().map(open).transpose()?;
    if let Some(user) = user {
        privileges::drop_to(user)?;
    }
    Ok(Doors { vici, metrics })
}

async fn serve(
    settings: Settings,
    logger: Logger,
    Doors { vici, metrics }: Doors,
    started: Started,
) -> anyhow::Result<()> {
    // From here on a signal is an orderly end, even of the start.
    let mut signals = Signals::new()?;
    let sockets = Arc::new(Sockets::bind(settings.ports, settings.families.v4, settings.families.v6)?);
    let (tell, told) = mpsc::unbounded_channel();
    // The plane reads the NAT-T port before there are shards; what arrives until then is lost, and sent
    // again.
    let deliver_to: Arc<OnceLock<Shards>> = Arc::default();
    let shards = Arc::clone(&deliver_to);
    let unique_ids = Arc::new(UniqueIds::default());
    let plane_config = PlaneConfig {
        choice: settings.data_plane,
        tun_name: &settings.tun_name,
        offload: settings.offload,
        spis: settings.esp_spis.clone(),
        routing: &settings.routing,
        sockets: &sockets,
        unique_ids: Arc::clone(&unique_ids),
        makes_interfaces: settings.makes_interfaces,
    };
    let deliver = move |datagram: &[u8], path| {
        if let Some(shards) = shards.get() {
            shards.deliver(datagram, path);
        }
    };
    let plane = dataplane::start(plane_config, deliver, tell).await?;
    let leases = Leases::kept_in(settings.leases.clone());
    let radius = Radius::new(&settings.radius);
    let mut ike = settings.ike.clone();
    ike.force_encapsulation |= plane.needs_encapsulation;
    let revocations = Revocations::default();
    let attempts = Attempts::default();
    let updown = Updown::start(plane.handle.clone(), settings.updown_dns);
    let shards = Shards::start(ShardConfig {
        revocations: revocations.clone(),
        shards: settings.shards.map_or_else(cores, usize::from),
        settings: ike,
        sockets: Arc::clone(&sockets),
        dataplane: plane.handle.clone(),
        unique_ids,
        leases: leases.clone(),
        radius: radius.clone(),
        updown: updown.clone(),
        attempts: attempts.clone(),
    });
    let accounts = radius.start(&shards, &plane.handle).await;
    let _first = deliver_to.set(shards.clone());
    let reader = shards.clone();
    tokio::spawn(Arc::clone(&sockets).read(plane.reads_nat_t, move |datagram, path| {
        reader.deliver(datagram, path);
    }));
    watch_network(&settings.routing, plane.handle.clone(), shards.clone()).await;

    let defaults = Defaults {
        replay_window: settings.replay_window,
        ports: sockets.ports(),
        retry_initiate: settings.retry_initiate,
        plane: plane.handle.abilities(),
    };
    let store = Store::new(shards.clone(), defaults, revocations);
    tokio::spawn(store.clone().react());
    tokio::spawn(follow(told, shards.clone(), store.clone()));
    tokio::spawn(look_up(store.clone()));
    tokio::spawn(store.clone().show_responses());
    if let Some(metrics) = metrics {
        let source = Source { store: store.clone(), tunnels: shards.clone(), leases: leases.clone() };
        tokio::spawn(metrics::serve(metrics, source)); // ends with the runtime
    }
    let reload = Reload::new(store.clone(), leases.clone(), logger.clone(), settings);
    let control = Control {
        store,
        tunnels: shards.clone(),
        leases,
        attempts,
        logger,
        reload: reload.clone(),
        started,
        counted_before: Mutex::default(),
        listings: Listings::default(),
    };
    let (stop, stopped) = watch::channel(false);
    let mut server = tokio::spawn(vici_server::serve(vici, control, stopped));
    tell_service_manager(NotifyState::Ready);
    info!(target: "dmn", "ready, data plane: {}", plane.handle.describe());

    signals.until_end(async || reload.reload_all().await).await;

    tell_service_manager(NotifyState::Stopping);
    info!(target: "dmn", "shutting down");
    tokio::select! {
        () = shards.shutdown() => {}
        () = tokio::time::sleep(FAREWELL) => {
            warn!(target: "dmn", "some peers did not answer that their SAs are deleted");
        }
        // Who asks twice does not want to wait.
        () = signals.until_end(async || Ok(())) => {}
    }
    if let Some(accounts) = accounts {
        accounts.finish().await;
    }
    updown.finish().await;
    plane.handle.stop().await;
    let _ = stop.send(true);
    let _ = (&mut server).await;
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Passes on what the data plane tells. Ends with it; what is dropped midway was told too late.
async fn follow(mut told: mpsc::UnboundedReceiver<PlaneEvent>, shards: Shards, store: Store<Shards>) {
    while let Some(event) = told.recv().await {
        match event {
            PlaneEvent::PeerMoved { child_sa, remote } => shards.mapping_changed(child_sa, remote).await,
            PlaneEvent::Acquire { policy, local, remote } => store.acquire(policy, local, remote).await,
            PlaneEvent::FirstReceived { child_sa } => shards.first_received(child_sa).await,
            PlaneEvent::NearlyExhausted { child_sa } | PlaneEvent::Removed { child_sa } => {
                let shards = shards.clone();
                tokio::spawn(async move {
                    if let Err(why) = shards.rekey_child(child_sa).await {
                        warn!(target: "chd", "rekeying CHILD_SA #{child_sa} failed: {why}");
                    }
                });
            }
            PlaneEvent::Exhausted { child_sa } => {
                warn!(target: "chd", "CHILD_SA #{child_sa} can carry no more, deleting it");
                shards.child_exhausted(child_sa).await;
            }
        }
    }
}

/// Tells the shards where this host is, now and whenever that changes. Ends with the runtime; dropping it is harmless.
async fn watch_network(settings: &settings::Routing, plane: DataPlaneHandle, shards: Shards) {
    // Subscribed first: what changes after the first look is seen by the second.
    let watch = if settings.roams { Some(Watch::open(settings).await) } else { None };
    let tell = async move || match plane.local_addresses().await {
        Ok(addresses) => shards.network_changed(addresses).await,
        Err(error) => warn!(target: "net", "{error}"),
    };
    tell().await;
    match watch {
        Some(Ok(watch)) => drop(tokio::spawn(watch.run(tell))),
        Some(Err(error)) => warn!(target: "net", "changes of addresses are not noticed: {error}"),
        None => {}
    }
}

/// Looks up the names of peers now and then, since addresses change. Ends with the runtime; dropping it is
/// harmless.
async fn look_up(store: Store<Shards>) {
    let mut ticks = tokio::time::interval(LOOKUPS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        store.refresh_all().await;
    }
}

fn tell_service_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(target: "dmn", "cannot tell the service manager: {error}");
    }
}

/// Signals that mean something.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT; reloads on SIGHUP.
    async fn until_end(&mut self, reload: impl AsyncFn() -> Result<(), String>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    if let Err(why) = reload().await {
                        error!(target: "cfg", "the configuration is not reloaded, all stays as it was: {why}");
                    }
                }
            }
        }
    }
}
