//! Traps and shunts: policies that are there without an SA, installed by an action of a child or by hand.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ferry_ike::config::{AddressPattern, Child, ChildAction, Connection, Mode, Processing, any_address};
use ferry_ike::selector::{SelectorPattern, TrafficSelector};
use ferry_ike::{Path, Trigger};
use tokio::sync::Mutex;

use super::{LoadedConnection, Store};
use crate::connections::Occasion;
use crate::control::Tunnels;
use crate::dataplane::{Policy, PolicyId, PolicyKind};

/// All of them.
#[derive(Default)]
pub(super) struct Policies {
    last: AtomicU64,
    /// In the order in which they were installed.
    installed: Mutex<Vec<Installed>>,
    /// The peers that traps for anybody are making CHILD_SAs with.
    asked: Mutex<HashSet<(PolicyId, IpAddr)>>,
}

/// One that is installed.
#[derive(Clone)]
pub(crate) struct Installed {
    /// As the data plane has it.
    pub(crate) policy: Policy,
    /// Its connection, as it was when it was installed.
    pub(crate) connection: LoadedConnection,
    /// Its child, likewise.
    pub(crate) child: Arc<Child>,
    /// It waits beneath a CHILD_SA until that goes, and is not told of before.
    is_guard: bool,
}

impl Installed {
    fn is_of(&self, connection: &str, child: &str) -> bool {
        self.child.name == child && self.connection.name() == connection
    }

    fn is_trap(&self) -> bool {
        self.child.mode().is_some()
    }
}

impl<T: Tunnels> Store<T> {
    /// Installs the policy of a child: a trap, or, if its traffic passes or is dropped, a shunt. What is there
    /// already is replaced without a gap; a shunt that is the same is left alone.
    pub(crate) async fn install(
        &self,
        connection: &LoadedConnection,
        child: &Arc<Child>,
    ) -> Result<(), String> {
        self.install_as(connection, child, false).await
    }

    /// Installs the trap that takes over when the CHILD_SA goes, if it is to: between the two nothing leaves in the
    /// clear.
    pub(super) async fn guard(&self, connection: &LoadedConnection, child: &Arc<Child>) {
        let may_trap = child.close_action.traps() || child.dpd_action.traps();
        if may_trap && let Err(error) = self.install_as(connection, child, true).await {
            tracing::debug!(target: "cfg", "no trap waits for CHILD_SA '{}' to go: {error}", child.name);
        }
    }

    async fn install_as(
        &self,
        connection: &LoadedConnection,
        child: &Arc<Child>,
        is_guard: bool,
    ) -> Result<(), String> {
        let policies = &self.shared.policies;
        let mut installed = policies.installed.lock().await;
        let old = installed.iter().position(|other| other.is_of(connection.name(), &child.name));
        let old = old.and_then(|at| Some((at, installed.get(at)?)));
        if old.is_some_and(|(_, old)| is_guard || (!old.is_trap() && old.child == *child)) {
            return Ok(());
        }
        let reqid = old.and_then(|(_, old)| match old.policy.kind {
            PolicyKind::Trap { reqid, .. } => Some(reqid),
            PolicyKind::Pass | PolicyKind::Drop => None,
        });
        let id = PolicyId(policies.last.fetch_add(1, Ordering::Relaxed) + 1);
        let policy = self.policy(id, reqid, connection, child).await?;
        let new = Installed {
            policy: policy.clone(),
            connection: connection.clone(),
            child: Arc::clone(child),
            is_guard,
        };
        // The new one is there before the old one goes.
        self.shared.tunnels.install_policy(policy).await?;
        let place = old.map(|(at, _)| at);
        match place.and_then(|at| installed.get_mut(at)) {
            Some(place) => {
                let old = std::mem::replace(place, new);
                self.shared.tunnels.remove_policy(old.policy.id).await;
            }
            None => installed.push(new),
        }
        if !is_guard {
            let (kind, of) = (kind(child.processing), connection.name());
            tracing::info!(target: "cfg", "installed '{}' of connection '{of}' as {kind}", child.name);
        }
        Ok(())
    }

    async fn policy(
        &self,
        id: PolicyId,
        reqid: Option<u32>,
        connection: &LoadedConnection,
        child: &Child,
    ) -> Result<Policy, String> {
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let (kind, local, remote) = match child.processing {
            Processing::Pass => (PolicyKind::Pass, any.to_vec(), any.to_vec()),
            Processing::Drop => (PolicyKind::Drop, any.to_vec(), any.to_vec()),
            Processing::Protect(mode) => {
                let resolved = self.refresh(connection, Occasion::Asked).await;
                let path = match path_to_anybody(&resolved, mode) {
                    Some(path) => path,
                    None => self.shared.tunnels.path(&resolved).await?,
                };
                let fresh = || self.shared.tunnels.fresh_reqid();
                let reqid = child.reqid.or(reqid).unwrap_or_else(fresh);
                // Which virtual IPs we shall have is not known yet.
                let local = if resolved.vips.is_empty() { vec![path.local.ip()] } else { any.to_vec() };
                (PolicyKind::Trap { reqid, mode, path }, local, vec![path.remote.ip()])
            }
        };
        let (local_ts, remote_ts) = (resolve(&child.local_ts, &local), resolve(&child.remote_ts, &remote));
        let (name, labels, settings) = (child.name.clone(), child.labels, child.policies.clone());
        Ok(Policy { id, name, kind, local_ts, remote_ts, labels, settings })
    }

    /// Removes the policy of a child: a shunt, or else a trap; without a connection the first that has the name.
    pub(crate) async fn uninstall(&self, connection: Option<&str>, child: &str) -> Result<(), String> {
        let mut installed = self.shared.policies.installed.lock().await;
        let fits = |other: &Installed, is_trap: bool| {
            other.is_trap() == is_trap
                && !other.is_guard
                && other.child.name == child
                && connection.is_none_or(|name| name == other.connection.name())
        };
        let place = [false, true]
            .into_iter()
            .find_map(|is_trap| installed.iter().position(|other| fits(other, is_trap)));
        let place = place.ok_or_else(|| format!("no trap or shunt '{child}' is installed"))?;
        let removed = installed.remove(place);
        self.shared.tunnels.remove_policy(removed.policy.id).await;
        tracing::info!(target: "cfg", "uninstalled '{child}' of connection '{}'", removed.connection.name());
        Ok(())
    }

    /// What is installed, in order, traps first.
    pub(crate) async fn policies(&self) -> Vec<Installed> {
        let mut all = self.shared.policies.installed.lock().await.clone();
        all.retain(|installed| !installed.is_guard);
        all.sort_by_key(|installed| !installed.is_trap());
        all
    }

    /// Does what an action asks for that is more than to do nothing.
    pub(super) async fn act(&self, action: ChildAction, connection: &LoadedConnection, child: &Arc<Child>) {
        if (action.traps() || (action.starts() && child.mode().is_none()))
            && let Err(error) = self.install(connection, child).await
        {
            let (name, of) = (&child.name, connection.name());
            tracing::warn!(target: "cfg", "installing '{name}' of connection '{of}' failed: {error}");
        }
        if action.starts() && child.mode().is_some() {
            self.start(connection.name(), &child.name);
        }
    }

    /// A CHILD_SA has gone: the trap that waited for that is one like any other now, or goes too.
    pub(super) async fn stand_down(&self, connection: &str, child: &str, is_to_stay: bool) {
        let mut installed = self.shared.policies.installed.lock().await;
        let guard = installed.iter().position(|other| other.is_guard && other.is_of(connection, child));
        let Some(at) = guard else { return };
        if is_to_stay {
            if let Some(guard) = installed.get_mut(at) {
                guard.is_guard = false;
            }
        } else {
            let removed = installed.remove(at);
            self.shared.tunnels.remove_policy(removed.policy.id).await;
        }
    }

    /// A trap has caught a packet: makes the CHILD_SA, and tells the trap what came of it.
    pub(crate) async fn acquire(&self, id: PolicyId, local: TrafficSelector, remote: TrafficSelector) {
        let installed = self.shared.policies.installed.lock().await;
        let trap = installed.iter().find(|installed| installed.policy.id == id).cloned();
        drop(installed);
        let tunnels = self.shared.tunnels.clone();
        let Some(Installed { policy, connection, child, .. }) = trap else {
            return tunnels.settle_trap(id, false); // uninstalled in the meantime
        };
        let PolicyKind::Trap { reqid, path, .. } = policy.kind else { return };
        let ends = (local.start_addr, remote.start_addr);
        let is_for_anybody = path.remote.ip().is_unspecified();
        let mut asked = self.shared.policies.asked.lock().await;
        if is_for_anybody && !asked.insert((id, ends.1)) {
            return; // another packet to the same peer
        }
        drop(asked);
        tracing::info!(
            target: "cfg",
            "creating acquire job for policy {local} === {remote} with reqid {{{reqid}}}"
        );
        let store = self.clone();
        // It takes as long as a handshake, and others need not wait for it.
        tokio::spawn(async move {
            let resolved = store.refresh(&connection, Occasion::Asked).await;
            let name = child.name.clone();
            // Each peer of a trap for anybody has its own CHILD_SA, with policies of its own.
            let reqid = Some(reqid).filter(|_| !is_for_anybody);
            let resolved = if is_for_anybody { between(&resolved, ends.0, ends.1) } else { resolved };
            let trigger = Trigger { local, remote, reqid };
            let result = tunnels.initiate(resolved, Some(child), Some(trigger)).await;
            if let Err(error) = &result {
                tracing::warn!(target: "cfg", "what the trap '{name}' has asked for failed: {error}");
            }
            store.shared.policies.asked.lock().await.remove(&(id, ends.1));
            tunnels.settle_trap(id, result.is_ok());
        });
    }
}

/// The addresses of a trap that takes its peer from the packet: in transport mode a packet goes to whom it is protected for.
fn path_to_anybody(connection: &Connection, mode: Mode) -> Option<Path> {
    let is_for_anybody = connection.remote_addrs.iter().all(AddressPattern::is_of_many);
    if mode != Mode::Transport || !is_for_anybody {
        return None;
    }
    let ours = connection.local_addrs.iter().find_map(|pattern| match pattern {
        AddressPattern::Host(address) => Some(*address),
        _ => None,
    });
    let is_v6 = ours.map_or_else(
        || connection.remote_addrs.iter().all(|pattern| *pattern == AddressPattern::AnyV6),
        |address| address.is_ipv6(),
    );
    let any = any_address(is_v6);
    let at = |address| SocketAddr::new(address, 0);
    Some(Path { local: at(ours.unwrap_or(any)), remote: at(any) })
}

/// The connection between the ends of a packet that a trap for anybody has caught.
fn between(connection: &Connection, local: IpAddr, remote: IpAddr) -> Arc<Connection> {
    let mut connection = connection.clone();
    // Other peers remain other peers.
    connection.remote_addrs.insert(0, AddressPattern::Host(remote));
    connection.local_addrs.insert(0, AddressPattern::Host(local));
    Arc::new(connection)
}

fn resolve(patterns: &[SelectorPattern], addresses: &[IpAddr]) -> Vec<TrafficSelector> {
    let whole = |selector: TrafficSelector| match selector.start_addr {
        // An address that is not known can be any.
        any if any.is_unspecified() && selector.is_host(any) => {
            let everything =
                if any.is_ipv4() { TrafficSelector::any_v4() } else { TrafficSelector::any_v6() };
            everything.with(selector.protocol, selector.ports())
        }
        _ => selector,
    };
    patterns.iter().flat_map(|pattern| pattern.resolve(addresses)).map(whole).collect()
}

fn kind(processing: Processing) -> &'static str {
    match processing {
        Processing::Protect(_) => "a trap",
        Processing::Pass => "a policy that lets packets pass",
        Processing::Drop => "a policy that drops packets",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferry_ike::output::{ChildDown, Event};
    use ferry_vici::Section;

    use super::*;
    use crate::control::tests::{Fake, Told, child_sa, ike_sa};
    use crate::store::tests::{connection, store};

    fn child(local: &str, remote: &str) -> Section {
        Section::new().with_list("local_ts", [local]).with_list("remote_ts", [remote])
    }

    async fn shown(store: &Store<Fake>) -> Vec<String> {
        let show = |installed: &Installed| {
            let Installed { policy, child, .. } = installed;
            format!("{} {:?} === {:?}", child.name, policy.local_ts, policy.remote_ts)
        };
        store.policies().await.iter().map(show).collect()
    }

    #[tokio::test]
    async fn children_with_a_trap_have_one_from_loading_to_unloading() {
        let (store, mut fake) = store();
        let trap = child("dynamic", "10.9.0.0/16").with("start_action", "trap|start");
        let shunt = child("10.1.0.0/16", "10.1.0.0/16").with("mode", "pass").with("start_action", "start");
        let drop = child("dynamic", "0.0.0.0/0").with("mode", "drop").with("start_action", "trap");
        let section = connection(&[("shunt", shunt), ("trap", trap.clone()), ("drop", drop)]);
        store.load_connection("a", &section.clone().with_list("remote_addrs", ["192.0.2.2"])).await.unwrap();
        assert_eq!(fake.told().await, Told::Install(1, "shunt".into()));
        assert_eq!(fake.told().await, Told::Install(2, "trap".into()));
        let mut told = [fake.told().await, fake.told().await];
        told.sort();
        assert_eq!(told, [Told::Initiate("a".into(), Some("trap".into())), Told::Install(3, "drop".into())]);
        let expected = [
            "trap [192.0.2.1/32] === [10.9.0.0/16]",
            "shunt [10.1.0.0/16] === [10.1.0.0/16]",
            "drop [0.0.0.0/0, ::/0] === [0.0.0.0/0]",
        ];
        assert_eq!(shown(&store).await, expected);

        // A trap that changes is replaced, without a moment without one.
        let changed = connection(&[("trap", trap.with_list("remote_ts", ["10.8.0.0/16"]))]);
        store.load_connection("a", &changed.with_list("remote_addrs", ["192.0.2.2"])).await.unwrap();
        for gone in [1, 3] {
            assert_eq!(fake.told().await, Told::Uninstall(gone));
        }
        assert_eq!(fake.told().await, Told::Install(4, "trap".into()));
        assert_eq!(fake.told().await, Told::Uninstall(2));
        assert_eq!(fake.told().await, Told::Initiate("a".into(), Some("trap".into())));
        store.unload_connection("a").await.unwrap();
        assert_eq!(fake.told().await, Told::Uninstall(4));
        assert!(fake.nothing_more(Duration::from_millis(50)).await);
        assert!(shown(&store).await.is_empty());
    }

    #[tokio::test]
    async fn a_packet_in_a_trap_makes_its_child_and_the_trap_learns_how_it_went() {
        let (store, mut fake) = store();
        let section = connection(&[("lan", Section::new())]).with_list("remote_addrs", ["192.0.2.2"]);
        store.load_connection("a", &section).await.unwrap();
        let (connection, child) = store.find(None, Some("lan")).await.unwrap();
        store.install(&connection, &child.unwrap()).await.unwrap();
        assert_eq!(fake.told().await, Told::Install(1, "lan".into()));
        let side = |text: &str| SelectorPattern::parse(text).unwrap().resolve(&[])[0];
        store.acquire(PolicyId(1), side("192.0.2.1[tcp/9]"), side("192.0.2.2[tcp/80]")).await;
        assert_eq!(fake.told().await, Told::Initiate("a".into(), Some("lan".into())));
        assert_eq!(fake.told().await, Told::Settle(1, true));
        fake.refuse("the peer does not answer");
        store.acquire(PolicyId(1), side("192.0.2.1"), side("192.0.2.2")).await;
        fake.told().await;
        assert_eq!(fake.told().await, Told::Settle(1, false));
        store.uninstall(Some("a"), "lan").await.unwrap();
        assert_eq!(fake.told().await, Told::Uninstall(1));
        // What was caught before is too late.
        store.acquire(PolicyId(1), side("192.0.2.1"), side("192.0.2.2")).await;
        assert_eq!(fake.told().await, Told::Settle(1, false));
        let error = store.uninstall(None, "lan").await.unwrap_err();
        assert_eq!(error, "no trap or shunt 'lan' is installed");
    }

    /// The trap is there before the SA goes, so that there is no moment without either.
    #[tokio::test]
    async fn a_trap_waits_beneath_an_sa_that_one_is_to_follow() {
        let (store, mut fake) = store();
        let section = connection(&[("lan", Section::new().with("dpd_action", "trap"))]);
        store.load_connection("a", &section.with_list("remote_addrs", ["192.0.2.2"])).await.unwrap();
        let task = tokio::spawn(store.clone().react());
        fake.listened_to().await;
        let sa = || (Box::new(ike_sa(1, "a", vec![])), Box::new(child_sa(2, "lan")));
        for (id, reason, stays) in [(1, ChildDown::Terminated, false), (2, ChildDown::PeerDead, true)] {
            let (ike_sa, child_sa) = sa();
            fake.raise(Event::ChildSaUp { ike_sa, child_sa });
            assert_eq!(fake.told().await, Told::Install(id, "lan".into()));
            assert!(shown(&store).await.is_empty());
            let (ike_sa, child_sa) = sa();
            fake.raise(Event::ChildSaDown { ike_sa, child_sa, reason });
            if stays {
                // Told once more, which is how it is known that the event was heard.
                assert_eq!(fake.told().await, Told::Install(3, "lan".into()));
                assert_eq!(fake.told().await, Told::Uninstall(id));
            } else {
                assert_eq!(fake.told().await, Told::Uninstall(id));
            }
            assert_eq!(shown(&store).await.len(), usize::from(stays));
        }
        task.abort();
    }
}
