//! What the control side asks of whoever holds the SAs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ferry_ike::config::{Child, Configuration, Connection};
use ferry_ike::output::{ChildSaId, Event, IkeSaId};
use ferry_ike::redirect::Gateway;
use ferry_ike::status::{Counters, IkeSaStatus};
use ferry_ike::{Path, Trigger};
use tokio::sync::broadcast;

use crate::dataplane::{Policy, PolicyId};

/// Everything that holds SAs: the shards and their data plane, or a stand-in for them in tests.
///
/// A clone is the same thing. Dropping a future does not undo or stop what was begun.
pub(crate) trait Tunnels: Clone + Send + Sync + 'static {
    /// Uses these connections and secrets from now on. What is up stays as it is.
    fn configure(&self, configuration: Arc<Configuration>) -> impl Future<Output = ()> + Send;

    /// Makes an IKE_SA, and a CHILD_SA if one is named, for the packet that a trap has caught, if one has. Ends when it is up, or with a sentence when it has
    /// failed.
    fn initiate(
        &self,
        connection: Arc<Connection>,
        child: Option<Arc<Child>>,
        trigger: Option<Trigger>,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// The addresses a connection would be initiated between.
    fn path(&self, connection: &Connection) -> impl Future<Output = Result<Path, String>> + Send;

    /// A reqid nobody has.
    fn fresh_reqid(&self) -> u32;

    /// Installs a policy that is there without an SA.
    fn install_policy(&self, policy: Policy) -> impl Future<Output = Result<(), String>> + Send;

    /// Removes one, if it is there.
    fn remove_policy(&self, id: PolicyId) -> impl Future<Output = ()> + Send;

    /// The CHILD_SA that a trap has asked for is there, or will not be.
    fn settle_trap(&self, id: PolicyId, is_made: bool);

    /// Deletes an IKE_SA; with `force` without waiting for the peer.
    fn terminate_ike(&self, id: IkeSaId, force: bool) -> impl Future<Output = Result<(), String>> + Send;

    /// Sends the peer of an IKE_SA to another gateway.
    fn redirect(&self, id: IkeSaId, gateway: Gateway) -> impl Future<Output = Result<(), String>> + Send;

    /// Deletes a CHILD_SA.
    fn terminate_child(&self, id: ChildSaId) -> impl Future<Output = Result<(), String>> + Send;

    /// Makes the successor of an IKE_SA.
    fn rekey_ike(&self, id: IkeSaId) -> impl Future<Output = Result<(), String>> + Send;

    /// Makes an IKE_SA anew from the initial exchanges on, with its children.
    fn reauthenticate_ike(&self, id: IkeSaId) -> impl Future<Output = Result<(), String>> + Send;

    /// Makes the successor of a CHILD_SA.
    fn rekey_child(&self, id: ChildSaId) -> impl Future<Output = Result<(), String>> + Send;

    /// All IKE_SAs there are.
    fn list(&self) -> impl Future<Output = Vec<IkeSaStatus>> + Send;

    /// What the CHILD_SAs have carried. Those that are gone are left out.
    fn usage(&self, child_sas: Vec<ChildSaId>) -> impl Future<Output = HashMap<ChildSaId, ChildUse>> + Send;

    /// Messages counted, over all IKE_SAs.
    fn counters(&self) -> impl Future<Output = Counters> + Send;

    /// What happens from now on.
    fn events(&self) -> broadcast::Receiver<Arc<Event>>;

    /// Which data plane runs, and why, as one clause.
    fn describe(&self) -> String;
}

/// What a CHILD_SA has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChildUse {
    /// Octets received, of inner packets.
    pub(crate) bytes_in: u64,
    /// Packets received.
    pub(crate) packets_in: u64,
    /// How long ago the last one was received.
    pub(crate) last_in: Option<Duration>,
    /// Octets sent, of inner packets.
    pub(crate) bytes_out: u64,
    /// Packets sent.
    pub(crate) packets_out: u64,
    /// How long ago the last one was sent.
    pub(crate) last_out: Option<Duration>,
    /// The numbers it has in the kernel, if that has it.
    pub(crate) numbers: Option<ChildNumbers>,
}

/// The numbers by which the kernel tells a CHILD_SA's packets and SAs; zero where it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChildNumbers {
    /// What ties its SAs and policies.
    pub(crate) reqid: u32,
    /// The mark of packets that come in, with its mask.
    pub(crate) mark_in: (u32, u32),
    /// The mark of packets that leave, with its mask.
    pub(crate) mark_out: (u32, u32),
    /// The XFRM interface that packets come in by.
    pub(crate) interface_in: u32,
    /// The XFRM interface that packets leave by.
    pub(crate) interface_out: u32,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::{Mutex, MutexGuard};

    use ferry_ike::config::{AddressPattern, Interfaces};
    use ferry_ike::status::{ChildSaState, ChildSaStatus, IkeSaState};
    use ferry_ike::wire::registry::{IkeSpi, Spi};
    use ferry_vici::Section;
    use tokio::sync::mpsc;

    use super::*;

    /// Tunnels that do nothing and remember what they were told.
    #[derive(Clone)]
    pub(crate) struct Fake {
        state: Arc<Mutex<State>>,
        tell: mpsc::UnboundedSender<Told>,
        told: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Told>>>,
        events: broadcast::Sender<Arc<Event>>,
    }

    #[derive(Default)]
    struct State {
        configuration: Arc<Configuration>,
        sas: Vec<IkeSaStatus>,
        uses: HashMap<ChildSaId, ChildUse>,
        counters: Counters,
        refusal: Option<String>,
        is_slow: bool,
    }

    /// What tunnels were told, by names and numbers.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) enum Told {
        Initiate(String, Option<String>),
        TerminateIke(u64, bool),
        TerminateChild(u64),
        RekeyIke(u64),
        Redirect(u64, String),
        ReauthenticateIke(u64),
        RekeyChild(u64),
        Install(u64, String),
        Uninstall(u64),
        Settle(u64, bool),
    }

    impl Default for Fake {
        fn default() -> Self {
            let (tell, told) = mpsc::unbounded_channel();
            let told = Arc::new(tokio::sync::Mutex::new(told));
            Self { state: Arc::default(), tell, told, events: broadcast::channel(64).0 }
        }
    }

    impl Fake {
        fn state(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap()
        }

        /// The configuration last given.
        pub(crate) fn configuration(&self) -> Arc<Configuration> {
            Arc::clone(&self.state().configuration)
        }

        /// What the tunnels are told next; waits for it.
        pub(crate) async fn told(&mut self) -> Told {
            let told = async { self.told.lock().await.recv().await.unwrap() };
            tokio::time::timeout(Duration::from_secs(10), told).await.expect("nothing was told")
        }

        /// What the tunnels are told next; waits as long as it takes, which is no time where time stands still.
        pub(crate) async fn next_told(&mut self) -> Told {
            self.told.lock().await.recv().await.unwrap()
        }

        /// Whether nothing is told in a while.
        pub(crate) async fn nothing_more(&mut self, within: Duration) -> bool {
            let told = async { self.told.lock().await.recv().await };
            tokio::time::timeout(within, told).await.is_err()
        }

        /// Waits until somebody listens to events.
        pub(crate) async fn listened_to(&self) {
            while self.events.receiver_count() == 0 {
                tokio::task::yield_now().await;
            }
        }

        pub(crate) fn raise(&self, event: Event) {
            self.events.send(Arc::new(event)).map_err(|_| ()).expect("somebody listens");
        }

        pub(crate) fn set_sas(&self, sas: Vec<IkeSaStatus>) {
            self.state().sas = sas;
        }

        pub(crate) fn set_use(&self, child_sa: u64, used: ChildUse) {
            self.state().uses.insert(ChildSaId(child_sa), used);
        }

        pub(crate) fn set_counters(&self, counters: Counters) {
            self.state().counters = counters;
        }

        /// Fails everything from now on.
        pub(crate) fn refuse(&self, sentence: &str) {
            self.state().refusal = Some(sentence.to_owned());
        }

        /// Ends nothing from now on.
        pub(crate) fn slow_down(&self) {
            self.state().is_slow = true;
        }

        async fn outcome(&self, told: Told) -> Result<(), String> {
            self.tell.send(told).unwrap();
            let refusal = self.state().refusal.clone();
            let is_slow = self.state().is_slow;
            if is_slow {
                std::future::pending::<()>().await;
            }
            refusal.map_or(Ok(()), Err)
        }
    }

    impl Tunnels for Fake {
        async fn configure(&self, configuration: Arc<Configuration>) {
            self.state().configuration = configuration;
        }

        async fn initiate(
            &self,
            connection: Arc<Connection>,
            child: Option<Arc<Child>>,
            _trigger: Option<Trigger>,
        ) -> Result<(), String> {
            let child = child.map(|child| child.name.clone());
            let span = tracing::info_span!(target: "ike", "ike_sa", conn = %connection.name, id = 1);
            span.in_scope(|| {
                tracing::info!(target: "ike", "initiating IKE_SA {}[1]", connection.name);
                tracing::debug!(target: "ike", "in detail");
            });
            self.outcome(Told::Initiate(connection.name.clone(), child)).await
        }

        async fn path(&self, connection: &Connection) -> Result<Path, String> {
            match connection.remote_addrs.first() {
                Some(AddressPattern::Host(remote)) => Ok(Path {
                    local: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 500)),
                    remote: SocketAddr::new(*remote, 500),
                }),
                _nobody => Err("there is no address to initiate to".to_owned()),
            }
        }

        fn fresh_reqid(&self) -> u32 {
            77
        }

        async fn install_policy(&self, policy: Policy) -> Result<(), String> {
            self.outcome(Told::Install(policy.id.0, policy.name)).await
        }

        async fn remove_policy(&self, id: PolicyId) {
            let _ = self.outcome(Told::Uninstall(id.0)).await;
        }

        fn settle_trap(&self, id: PolicyId, is_made: bool) {
            self.tell.send(Told::Settle(id.0, is_made)).unwrap();
        }

        async fn rekey_ike(&self, id: IkeSaId) -> Result<(), String> {
            self.outcome(Told::RekeyIke(id.0)).await
        }

        async fn reauthenticate_ike(&self, id: IkeSaId) -> Result<(), String> {
            self.outcome(Told::ReauthenticateIke(id.0)).await
        }

        async fn rekey_child(&self, id: ChildSaId) -> Result<(), String> {
            self.outcome(Told::RekeyChild(id.0)).await
        }

        async fn terminate_ike(&self, id: IkeSaId, force: bool) -> Result<(), String> {
            let span = tracing::info_span!(target: "ike", "ike_sa", conn = "gw", id = id.0);
            span.in_scope(|| tracing::info!(target: "ike", "deleting IKE_SA gw[{id}]"));
            self.outcome(Told::TerminateIke(id.0, force)).await
        }

        async fn redirect(&self, id: IkeSaId, gateway: Gateway) -> Result<(), String> {
            self.outcome(Told::Redirect(id.0, gateway.to_string())).await
        }

        async fn terminate_child(&self, id: ChildSaId) -> Result<(), String> {
            self.outcome(Told::TerminateChild(id.0)).await
        }

        async fn list(&self) -> Vec<IkeSaStatus> {
            self.state().sas.clone()
        }

        async fn usage(&self, child_sas: Vec<ChildSaId>) -> HashMap<ChildSaId, ChildUse> {
            let state = self.state();
            child_sas.into_iter().filter_map(|id| Some((id, *state.uses.get(&id)?))).collect()
        }

        async fn counters(&self) -> Counters {
            self.state().counters
        }

        fn events(&self) -> broadcast::Receiver<Arc<Event>> {
            self.events.subscribe()
        }

        fn describe(&self) -> String {
            "nothing: these tunnels are pretended".to_owned()
        }
    }

    /// An IKE_SA that is established.
    pub(crate) fn ike_sa(id: u64, connection: &str, children: Vec<ChildSaStatus>) -> IkeSaStatus {
        IkeSaStatus {
            id: IkeSaId(id),
            connection: Some(connection.to_owned()),
            made_by: None,
            state: IkeSaState::Established,
            local: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 500)),
            remote: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 2), 500)),
            local_id: None,
            remote_id: None,
            remote_eap_id: None,
            is_initiator: true,
            spi_i: IkeSpi([0x1a, 0x2b, 0x3c, 0x4d, 0x5e, 0x6f, 0x70, 0x81]),
            spi_r: IkeSpi([0x9f, 0x8e, 0x7d, 0x6c, 0x5b, 0x4a, 0x39, 0x28]),
            nat_local: false,
            nat_remote: false,
            nat_fake: false,
            suite: None,
            established: None,
            rekeys: None,
            reauthenticates: None,
            expires: None,
            interfaces: Interfaces::default(),
            local_vips: Vec::new(),
            dns: Vec::new(),
            remote_vips: Vec::new(),
            tasks_queued: Vec::new(),
            tasks_active: Vec::new(),
            tasks_passive: Vec::new(),
            children,
        }
    }

    /// A child with nothing said of it.
    fn child(name: &str) -> Arc<Child> {
        let gw = Section::new().with_section("children", Section::new().with_section(name, Section::new()));
        let end = || Section::new().with("auth", "psk");
        let gw = gw.with_section("local", end()).with_section("remote", end());
        let parsed = crate::connections::parse("gw", &gw, &crate::store::tests::DEFAULTS).unwrap();
        Arc::clone(parsed.connection.child(name).unwrap())
    }

    /// A CHILD_SA that is installed.
    pub(crate) fn child_sa(id: u64, name: &str) -> ChildSaStatus {
        ChildSaStatus {
            id: ChildSaId(id),
            name: name.to_owned(),
            child: child(name),
            reqid: 1,
            state: ChildSaState::Installed,
            mode: ferry_ike::config::Mode::Tunnel,
            encapsulated: false,
            spi_in: Some(Spi(0xc0ff_ee01)),
            spi_out: Some(Spi(0xcafe_0002)),
            suite: None,
            installed: None,
            rekeys: None,
            expires: None,
            local_ts: Vec::new(),
            remote_ts: Vec::new(),
        }
    }
}
