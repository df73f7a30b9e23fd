//! What there is to tell at one moment.

use std::collections::BTreeMap;
use std::time::SystemTime;

use ferry_ike::config::ChildAction;
use ferry_ike::status::{ChildSaState, Counters, IkeSaState};

use super::{Source, xfrm_stat};
use crate::control::{ChildUse, Tunnels};
use crate::pools::PoolStatus;

/// The most children and certificates that are told of one by one: a metric with more would cost its reader more than it
/// tells.
const MOST: usize = 1000;

/// A configured child, by the names of its connection and its own.
pub(super) type ChildName = (String, String);

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// IKE SAs by state.
    pub(super) ike_sas: BTreeMap<&'static str, u64>,
    /// CHILD_SAs by state.
    pub(super) child_sas: BTreeMap<&'static str, u64>,
    /// What is counted.
    pub(super) counters: Counters,
    /// Children that are to be there of our own accord, and whether they are.
    pub(super) wanted: BTreeMap<ChildName, bool>,
    /// What the CHILD_SAs that are there have carried.
    pub(super) carried: BTreeMap<ChildName, ChildUse>,
    /// Children that are left out.
    pub(super) left_out: usize,
    /// Pools of addresses.
    pub(super) pools: Vec<PoolStatus>,
    /// Ends of certificates by subject and serial number, in seconds since 1970.
    pub(super) certificates: BTreeMap<(String, String), u64>,
    /// Packets that IPsec has cost, by the kernel's names of the reasons.
    pub(super) kernel: Vec<(String, u64)>,
}

impl Snapshot {
    /// Looks at everything.
    pub(super) async fn take<T: Tunnels>(source: &Source<T>) -> Self {
        let mut snapshot = Self { counters: source.tunnels.counters().await, ..Self::default() };
        // States that nobody is in are told too: what is not there cannot be told from what was not asked.
        for state in
            [IkeSaState::Connecting, IkeSaState::Established, IkeSaState::Rekeying, IkeSaState::Deleting]
        {
            snapshot.ike_sas.insert(state.name(), 0);
        }
        for state in [ChildSaState::Installed, ChildSaState::Rekeying, ChildSaState::Deleting] {
            snapshot.child_sas.insert(state.name(), 0);
        }
        let ike_sas = source.tunnels.list().await;
        let ids = ike_sas.iter().flat_map(|ike_sa| &ike_sa.children).map(|child| child.id).collect();
        let uses = source.tunnels.usage(ids).await;
        let mut present: BTreeMap<ChildName, ChildUse> = BTreeMap::new();
        for ike_sa in &ike_sas {
            *snapshot.ike_sas.entry(ike_sa.state.name()).or_default() += 1;
            for child in &ike_sa.children {
                *snapshot.child_sas.entry(child.state.name()).or_default() += 1;
                if child.installed.is_some() {
                    let name = (ike_sa.connection.clone().unwrap_or_default(), child.name.clone());
                    let sum = present.entry(name).or_default();
                    let used = uses.get(&child.id).copied().unwrap_or_default();
                    sum.bytes_in += used.bytes_in;
                    sum.packets_in += used.packets_in;
                    sum.bytes_out += used.bytes_out;
                    sum.packets_out += used.packets_out;
                }
            }
        }
        for loaded in source.store.connections().await {
            for child in &loaded.parsed.connection.children {
                if child.start_action != ChildAction::None && child.mode().is_some() {
                    let name = (loaded.name().to_owned(), child.name.clone());
                    let is_there = present.contains_key(&name);
                    snapshot.wanted.insert(name, is_there);
                }
            }
        }
        snapshot.left_out = present.len().saturating_sub(MOST) + snapshot.wanted.len().saturating_sub(MOST);
        snapshot.carried = present.into_iter().take(MOST).collect();
        snapshot.wanted = std::mem::take(&mut snapshot.wanted).into_iter().take(MOST).collect();
        snapshot.pools = source.leases.list(None, false);
        for (certificate, _) in source.store.certificates().await.into_iter().take(MOST) {
            let serial: String = certificate.serial().iter().map(|octet| format!("{octet:02x}")).collect();
            let end = certificate.not_after().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            snapshot.certificates.insert((certificate.to_string(), serial), end.as_secs());
        }
        snapshot.kernel = xfrm_stat::read().await;
        snapshot
    }
}
