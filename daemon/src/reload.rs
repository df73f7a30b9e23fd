//! Reading strongswan.conf again while the daemon runs, and the swanctl.conf it was given.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ferry_vici::swanctl::{self, Object, Step};

use crate::control::Tunnels;
use crate::logging::Logger;
use crate::pools::Leases;
use crate::settings::{self, Loaded, Settings};
use crate::store::{Store, Transaction};
use crate::swanctl_conf::{ALL, Phase, Plan};
use crate::vici_server::{self, Arguments};

/// What takes new settings while it runs. A clone is the same.
#[derive(Clone)]
pub(crate) struct Reload<T> {
    store: Store<T>,
    leases: Leases,
    logger: Logger,
    /// What holds now.
    current: Arc<Mutex<Settings>>,
}

impl<T: Tunnels> Reload<T> {
    /// What runs, and the settings it was started with.
    pub(crate) fn new(store: Store<T>, leases: Leases, logger: Logger, settings: Settings) -> Self {
        let reload = Self { store, leases, logger, current: Arc::new(Mutex::new(settings)) };
        reload.hand_out(&reload.current.lock().unwrap_or_else(PoisonError::into_inner));
        reload
    }

    /// Reads the file again. What can be changed while the daemon runs is, the log first; if anything is
    /// wrong with the file, or a log file cannot be opened, all stays as it was.
    pub(crate) fn reload(&self) -> Result<(), String> {
        self.take(settings::load().map_err(|error| error.to_string())?)
    }

    /// Reads strongswan.conf again, and then the swanctl.conf that the configuration was loaded from last as a whole, if it
    /// was: the daemon does not know where single objects are from that clients have loaded.
    pub(crate) async fn reload_all(&self) -> Result<(), String> {
        self.reload().map_err(|why| format!("strongswan.conf: {why}"))?;
        match self.store.source() {
            Some(path) => self.load_again(path).await,
            None => Ok(()),
        }
    }

    async fn load_again(&self, path: Arc<PathBuf>) -> Result<(), String> {
        let file = Arc::clone(&path);
        let plan = tokio::task::spawn_blocking(move || Plan::read(ALL, &file));
        let plan = plan.await.map_err(|_| "reading the configuration was interrupted".to_owned())?;
        let Plan { steps, warnings } = plan.map_err(|error| error.to_string())?;
        for warning in warnings {
            tracing::warn!(target: "cfg", "{warning}");
        }
        if let Some(lacking) = self.lacking(&steps).await {
            return Err(format!(
                "{} has no {lacking}, of which some are loaded, so nothing is changed: a file that is half written looks so. \
                 To unload them, run ferryctl --load-all",
                path.display()
            ));
        }
        let source = Some(PathBuf::clone(&path));
        let mut transaction = Transaction { source, ..Transaction::default() };
        for step in steps.into_iter().flat_map(|(_, steps)| steps) {
            let request = step.map_err(|problem| problem.to_string())?;
            let (command, object) = (request.command(), request.object);
            let read = vici_server::read(command, &Arguments::of(request.message), &self.store).await;
            let changes = read.unwrap_or_else(|| Err(format!("{command} is not understood")));
            transaction.changes.extend(changes.map_err(|why| format!("{object}: {why}"))?);
        }
        self.store.commit(transaction, &self.leases).await.map(|_committed| ())
    }

    /// What the file has nothing of, though some is loaded. Nobody who orders a reload looks at what it does, as whoever runs
    /// `swanctl --load-all` may: a file that an editor, or a full disk, has cut off must not end all tunnels.
    async fn lacking(&self, steps: &[(Phase, Vec<Step>)]) -> Option<&'static str> {
        let is_there = |kind: fn(&Object) -> bool| {
            steps.iter().flat_map(|(_, steps)| steps).any(|step| kind(swanctl::object(step)))
        };
        if !is_there(|object| matches!(object, Object::Connection(_)))
            && !self.store.connections().await.is_empty()
        {
            return Some("connections");
        }
        if !is_there(|object| matches!(object, Object::Secret { .. }))
            && !self.store.secret_ids().await.is_empty()
        {
            return Some("secrets");
        }
        if !is_there(|object| matches!(object, Object::Pool(_))) && !self.leases.list(None, false).is_empty()
        {
            return Some("pools");
        }
        if !is_there(|object| matches!(object, Object::Authority(_)))
            && !self.store.authorities().await.is_empty()
        {
            return Some("authorities");
        }
        None
    }

    /// How many IKE_SAs may be half open before no more are made; `None` for no limit.
    pub(crate) fn half_open_limit(&self) -> Option<usize> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(current.ike.half_open.init_limit_half_open).ok().filter(|limit| *limit != 0)
    }

    fn take(&self, loaded: Loaded) -> Result<(), String> {
        self.logger.configure(&loaded.settings.logging).map_err(|error| error.to_string())?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        tracing::info!(target: "cfg", "reloaded strongswan.conf");
        for remark in &loaded.remarks {
            tracing::warn!(target: "cfg", "{remark}");
        }
        for key in settled_at_start(&current, &loaded.settings) {
            tracing::warn!(target: "cfg", "{key} has changed, which takes effect when ferryd is restarted");
        }
        self.hand_out(&loaded.settings);
        *current = loaded.settings;
        Ok(())
    }

    fn hand_out(&self, settings: &Settings) {
        self.leases.set_attributes(settings.attributes.clone());
        self.store.set_replay_window(settings.replay_window);
        self.store.revocations().set_methods(settings.revocation);
    }
}

/// What differs and is only looked at when the daemon starts.
fn settled_at_start(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let differences = [
        ("how IKE behaves (retransmission, limits, keep_alive and the like)", old.ike != new.ike),
        ("port or port_nat_t", old.ports != new.ports),
        ("plugins.socket-default.use_ipv4 or use_ipv6", old.families != new.families),
        ("shards", old.shards != new.shards),
        ("dataplane", old.data_plane != new.data_plane),
        ("tun_name", old.tun_name != new.tun_name),
        ("spi_min or spi_max", old.esp_spis != new.esp_spis),
        ("what routes and addresses are installed", old.routing != new.routing),
        ("plugins.eap-radius", old.radius != new.radius),
        ("plugins.vici.socket", old.vici_socket != new.vici_socket),
        ("metrics.listen", old.metrics != new.metrics),
        ("leases", old.leases != new.leases),
        ("pid_file", old.pid_file != new.pid_file),
        ("retry_initiate_interval", old.retry_initiate != new.retry_initiate),
        ("user or group", (&old.user, &old.group) != (&new.user, &new.group)),
    ];
    differences.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use ferry_ike::identity::Identity;

    use super::*;
    use crate::logging::LogSettings;
    use crate::store::tests::store;

    fn settings(text: &str) -> Loaded {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("strongswan.conf");
        std::fs::write(&path, text).unwrap();
        settings::load_from(&path).unwrap()
    }

    #[tokio::test]
    async fn what_can_change_changes_and_the_rest_is_named() {
        let (store, _) = store();
        let (leases, logger) = (Leases::default(), Logger::default());
        let first = settings("").settings;
        let reload = Reload::new(store.clone(), leases.clone(), logger, first);
        let new = settings("charon { replay_window = 99\n dns1 = 192.0.2.53\n port = 0\n }");
        let settled = settled_at_start(&reload.current.lock().unwrap(), &new.settings);
        assert_eq!(settled, ["port or port_nat_t"]);
        reload.take(new).unwrap();

        let section = crate::store::tests::connection(&[("lan", ferry_vici::Section::new())]);
        store.load_connection("gw", &section).await.unwrap();
        let connections = store.connections().await;
        assert_eq!(connections[0].parsed.connection.children[0].replay_window, 99);
        let pool = ferry_vici::Section::new().with("addrs", "10.0.0.0/24");
        leases.load("pool", &pool).unwrap();
        let alice = Identity::parse("alice").unwrap();
        let (lease, _) =
            leases.acquire(&["pool".to_owned()], &alice, &[ferry_ike::config::any_address(false)]);
        assert_eq!(lease.attributes.len(), 1);
    }

    #[tokio::test]
    async fn a_file_that_is_cut_off_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = Arc::new(directory.path().join("swanctl.conf"));
        let whole = "connections {\n  gw {\n    local { auth = psk }\n    remote { auth = psk }\n  }\n}\n\
                     secrets {\n  ike-1 { secret = x }\n}\npools {\n  p { addrs = 10.0.0.0/24 }\n}\n";
        let (store, _) = store();
        let leases = Leases::default();
        let reload = Reload::new(store.clone(), leases.clone(), Logger::default(), settings("").settings);
        let load = async |text: &str| {
            std::fs::write(&*path, text).unwrap();
            reload.load_again(Arc::clone(&path)).await
        };
        let loaded = async || {
            let pools = leases.list(None, false).len();
            (store.connections().await.len(), store.secret_ids().await.len(), pools)
        };
        load(whole).await.unwrap();
        assert_eq!(loaded().await, (1, 1, 1));
        let mut refusals = 0;
        for (end, _) in whole.char_indices() {
            let error = load(&whole[..end]).await;
            // What is between the last brace and the end of the file is no part of it.
            refusals += usize::from(error.is_err());
            assert_eq!(loaded().await, (1, 1, 1), "cut off after {end}: {error:?}");
        }
        assert_eq!(refusals, whole.len() - 1);
        let error = load("# nothing yet\n").await.unwrap_err();
        let end = "swanctl.conf has no connections, of which some are loaded, so nothing is changed: a file that is half \
                   written looks so. To unload them, run ferryctl --load-all";
        assert!(error.ends_with(end), "{error}");
        load(&whole.replace("gw", "other")).await.unwrap();
        assert_eq!(store.connections().await[0].name(), "other");
    }

    #[tokio::test]
    async fn a_log_file_that_cannot_be_opened_leaves_all_as_it_was() {
        let (store, _) = store();
        let first = settings("").settings;
        let reload = Reload::new(store, Leases::default(), Logger::default(), first);
        let new = settings("charon { replay_window = 99\n filelog { x { path = /no/such/dir/log } } }");
        let error = reload.take(new).unwrap_err();
        assert!(error.starts_with("cannot write the log file /no/such/dir/log: "), "{error}");
        let current = reload.current.lock().unwrap();
        assert_eq!(current.replay_window, 32);
        assert_eq!(current.logging, LogSettings::to_stderr());
    }
}
