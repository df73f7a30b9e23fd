//! What is around an endpoint: a data plane, pools, an interface for virtual IPs. It does what actions ask, unless
//! it is told to fail or to be late, and remembers what it was asked so that nothing can leak unseen.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::config::Lease;
use crate::identity::Identity;
use crate::lease::{Pool, Pools};
use crate::output::{Action, CertificateCheck, ChildInstall, ChildSaId, IkeSaId, LastUse, Outbound, Outcome};
use crate::pki::{Revocation, shown_status};
use crate::redirect::Gateway;
use crate::sim::aaa::Aaa;
use crate::wire::registry::Spi;

/// What a clock on the wall says all the time: no story takes as long as a certificate is valid.
const WALL_CLOCK: Duration = Duration::from_secs(1_800_000_000); // in January of 2027

/// Whether a certificate is believed. There is no responder to ask, and no list: what is known of revocation is what the
/// peer has shown.
fn vouch(check: &CertificateCheck) -> Result<(), String> {
    let (now, constraints) = (SystemTime::UNIX_EPOCH + WALL_CLOCK, check.constraints());
    let chain = check
        .trust
        .chain(&check.certificate, &check.sent, &constraints, now)
        .map_err(|refusal| refusal.to_string())?;
    for (certificate, issuer) in chain.links() {
        match shown_status(&check.responses, certificate, issuer, &[], now) {
            Ok((status, _)) if status.revoked.is_some() => {
                return Err(format!("\"{certificate}\" is revoked"));
            }
            Err(problems) if constraints.revocation == Revocation::Strict => {
                return Err(format!("whether \"{certificate}\" is revoked is not known: {problems:?}"));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// The kinds of [`Action`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ActionKind {
    /// [`Action::ReserveSpi`].
    ReserveSpi,
    /// [`Action::InstallChild`].
    InstallChild,
    /// [`Action::UseChild`].
    UseChild,
    /// [`Action::UpdateChild`].
    UpdateChild,
    /// [`Action::RemoveChild`].
    RemoveChild,
    /// [`Action::FindPaths`].
    FindPaths,
    /// [`Action::QueryUse`].
    QueryUse,
    /// [`Action::FindPath`].
    FindPath,
    /// [`Action::RelayEap`].
    RelayEap,
    /// [`Action::Lease`].
    Lease,
    /// [`Action::ReleaseLease`].
    ReleaseLease,
    /// [`Action::CheckUnique`].
    CheckUnique,
    /// [`Action::VerifyCertificate`].
    VerifyCertificate,
    /// [`Action::InstallVirtualIps`].
    InstallVirtualIps,
    /// [`Action::RemoveVirtualIps`].
    RemoveVirtualIps,
}

impl ActionKind {
    /// The kind of an action.
    #[must_use]
    pub const fn of(action: &Action) -> Self {
        match action {
            Action::ReserveSpi { .. } => Self::ReserveSpi,
            Action::InstallChild(_) => Self::InstallChild,
            Action::UseChild { .. } => Self::UseChild,
            Action::UpdateChild { .. } => Self::UpdateChild,
            Action::RemoveChild { .. } => Self::RemoveChild,
            Action::FindPaths { .. } => Self::FindPaths,
            Action::QueryUse { .. } => Self::QueryUse,
            Action::FindPath { .. } => Self::FindPath,
            Action::RelayEap(_) => Self::RelayEap,
            Action::Lease { .. } => Self::Lease,
            Action::ReleaseLease { .. } => Self::ReleaseLease,
            Action::CheckUnique { .. } => Self::CheckUnique,
            Action::VerifyCertificate(_) => Self::VerifyCertificate,
            Action::InstallVirtualIps { .. } => Self::InstallVirtualIps,
            Action::RemoveVirtualIps { .. } => Self::RemoveVirtualIps,
        }
    }
}

/// How actions of one kind are dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Done, and told so long after.
    Late(Duration),
    /// Not done, and told at once.
    Fails,
}

/// The surroundings of one endpoint.
#[derive(Default)]
pub struct Outside {
    reserved: BTreeMap<ChildSaId, Spi>,
    installed: BTreeMap<ChildSaId, Installed>,
    virtual_ips: BTreeMap<IkeSaId, Lease>,
    pools: Pools,
    manners: BTreeMap<ActionKind, Manner>,
    last_spi: u32,
    /// Addresses by DNS name.
    names: BTreeMap<String, IpAddr>,
    /// The server that judges EAP; `None` where there is none.
    pub(super) aaa: Option<Aaa>,
    /// Counts the times that traffic was moved to another CHILD_SA.
    moves: u64,
    /// What an endpoint must never ask.
    faults: Vec<String>,
}

/// A CHILD_SA in the data plane.
pub(super) struct Installed {
    pub(super) install: Box<ChildInstall>,
    pub(super) last_inbound: Option<Instant>,
    pub(super) last_outbound: Option<Instant>,
    /// When it began to be sent with, counted in moves; `None` while it is not.
    pub(super) used_since: Option<u64>,
}

impl Outside {
    pub(super) fn add_pool(&mut self, pool: Pool) {
        self.pools.load(pool).expect("pools of a setup do not overlap");
    }

    /// Deals with actions of that kind so from now on; `None` is done and told at once.
    pub fn deal(&mut self, kind: ActionKind, manner: impl Into<Option<Manner>>) {
        match manner.into() {
            Some(manner) => self.manners.insert(kind, manner),
            None => self.manners.remove(&kind),
        };
    }

    /// Lets DNS know a name.
    pub fn name(&mut self, name: &str, address: IpAddr) {
        self.names.insert(name.to_owned(), address);
    }

    /// What DNS says of a gateway.
    pub(super) fn look_up(&self, gateway: &Gateway) -> Option<IpAddr> {
        match gateway {
            Gateway::Address(address) => Some(*address),
            Gateway::Name(name) => self.names.get(name).copied(),
        }
    }

    /// The CHILD_SAs in the data plane, oldest first.
    pub fn installed(&self) -> impl Iterator<Item = &ChildInstall> {
        self.installed.values().map(|installed| &*installed.install)
    }

    /// Virtual IPs on our interface.
    pub fn virtual_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.virtual_ips.values().flat_map(|lease| &lease.addresses).copied()
    }

    /// What we were assigned under an IKE SA.
    #[must_use]
    pub fn assigned(&self, ike_sa: IkeSaId) -> Option<&Lease> {
        self.virtual_ips.get(&ike_sa)
    }

    /// The pools.
    #[must_use]
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Everything that is still held for somebody, and everything that went wrong. Empty is how it should end.
    #[must_use]
    pub fn leaks(&self) -> Vec<String> {
        let reserved = self.reservations();
        let installed = self.installed.keys().map(|id| format!("CHILD_SA #{id} is installed"));
        let vips = self
            .virtual_ips
            .iter()
            .map(|(id, vips)| format!("IKE_SA #{id} has {:?} installed", vips.addresses));
        let online = self.pools.iter().filter(|pool| pool.online() > 0);
        let leases = online.map(|pool| format!("pool {} has {} leases online", pool.name(), pool.online()));
        reserved.chain(installed).chain(vips).chain(leases).chain(self.faults.iter().cloned()).collect()
    }

    /// The SPIs that are set aside and not installed yet.
    pub fn reservations(&self) -> impl Iterator<Item = String> {
        self.reserved.iter().map(|(id, spi)| format!("SPI {spi} of CHILD_SA #{id} is reserved"))
    }

    /// What an endpoint should never have asked, so far.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    pub(super) fn manner(&self, kind: ActionKind) -> Option<Manner> {
        self.manners.get(&kind).copied()
    }

    pub(super) fn child_mut(&mut self, id: ChildSaId) -> Option<&mut Installed> {
        self.installed.get_mut(&id)
    }

    /// The CHILD_SA that packets are sent with: the one that was put to use last.
    #[must_use]
    pub fn outbound(&self) -> Option<&ChildInstall> {
        let used = self.installed.values().filter(|installed| installed.used_since.is_some());
        used.max_by_key(|installed| installed.used_since).map(|installed| &*installed.install)
    }

    /// The CHILD_SAs that packets are sent with: of those with the same policies, which have one reqid, the one that was
    /// put to use last.
    pub fn sending(&self) -> impl Iterator<Item = &ChildInstall> {
        let mut newest: BTreeMap<u32, &Installed> = BTreeMap::new();
        for installed in self.installed.values().filter(|installed| installed.used_since.is_some()) {
            let slot = newest.entry(installed.install.reqid).or_insert(installed);
            if slot.used_since < installed.used_since {
                *slot = installed;
            }
        }
        newest.into_values().map(|installed| &*installed.install)
    }

    /// The CHILD_SA that receives on this SPI.
    pub(super) fn by_spi(&self, spi: Spi) -> Option<&ChildInstall> {
        self.installed().find(|install| install.spi_in == spi)
    }

    /// Does what an action asks. [`Action::CheckUnique`] and [`Action::FindPaths`] are not for us: they are about other
    /// IKE SAs, and about the host.
    pub(super) fn perform(&mut self, action: Action, now: Instant) -> Outcome {
        match action {
            Action::ReserveSpi { child_sa } => {
                self.last_spi = self.last_spi.max(0xc000_0000) + 1;
                let spi = Spi(self.last_spi);
                if self.reserved.insert(child_sa, spi).is_some() || self.installed.contains_key(&child_sa) {
                    self.fault(format!("CHILD_SA #{child_sa} has an SPI already"));
                }
                Outcome::Spi(spi)
            }
            Action::InstallChild(install) => {
                let id = install.child_sa;
                if self.reserved.remove(&id) != Some(install.spi_in) {
                    self.fault(format!("CHILD_SA #{id} is installed with an SPI that is not its own"));
                }
                let is_used = match install.outbound_use {
                    Outbound::Now => true,
                    Outbound::Behind => !self.is_carried(&install),
                    Outbound::Held => false,
                };
                let used_since = is_used.then(|| self.next_move());
                self.installed
                    .insert(id, Installed { install, last_inbound: None, last_outbound: None, used_since });
                Outcome::Done
            }
            Action::UseChild { child_sa } => {
                let used_since = Some(self.next_move());
                match self.installed.get_mut(&child_sa) {
                    Some(installed) if installed.used_since.is_none() => installed.used_since = used_since,
                    // It came forward by itself.
                    Some(installed) if installed.install.outbound_use == Outbound::Behind => {}
                    Some(_) => self.fault(format!("CHILD_SA #{child_sa} is in use already")),
                    None => self.fault(format!("CHILD_SA #{child_sa} is to be used and not there")),
                }
                Outcome::Done
            }
            Action::UpdateChild { child_sa, path, encapsulated } => {
                match self.installed.get_mut(&child_sa) {
                    Some(installed) => {
                        installed.install.path = path;
                        installed.install.encapsulated = encapsulated;
                    }
                    None => self.fault(format!("CHILD_SA #{child_sa} is updated and not there")),
                }
                Outcome::Done
            }
            Action::RemoveChild { child_sa } => {
                let was_reserved = self.reserved.remove(&child_sa).is_some();
                let was_installed = self.installed.remove(&child_sa).is_some();
                if !was_reserved && !was_installed {
                    self.fault(format!("CHILD_SA #{child_sa} is removed and not there"));
                }
                self.bring_forward();
                Outcome::Done
            }
            Action::QueryUse { child_sas } => {
                let ago = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
                let last_use = |id: &ChildSaId| {
                    let installed = self.installed.get(id)?;
                    let (received, sent) = (ago(installed.last_inbound), ago(installed.last_outbound));
                    Some(LastUse { child_sa: *id, received, sent })
                };
                Outcome::Used(child_sas.iter().filter_map(last_use).collect())
            }
            Action::RelayEap(relay) => match &mut self.aaa {
                Some(aaa) => {
                    // What comes along goes back.
                    Outcome::Relayed { relayed: aaa.judge(&relay), attributes: relay.attributes }
                }
                None => Outcome::Failed("there is no server".into()),
            },
            Action::Lease { pools, identity, requested, .. } => {
                Outcome::Lease(self.lease(&pools, &identity, &requested))
            }
            Action::ReleaseLease { addresses, .. } => {
                for address in addresses {
                    if !self.pools.release(address) {
                        self.fault(format!("{address} is given back and not leased"));
                    }
                }
                Outcome::Done
            }
            Action::InstallVirtualIps { ike_sa, lease, .. } => {
                if self.virtual_ips.insert(ike_sa, lease).is_some() {
                    self.fault(format!("IKE_SA #{ike_sa} has virtual IPs already"));
                }
                Outcome::Done
            }
            Action::RemoveVirtualIps { ike_sa, .. } => {
                if self.virtual_ips.remove(&ike_sa).is_none() {
                    self.fault(format!("virtual IPs of IKE_SA #{ike_sa} are removed and not there"));
                }
                Outcome::Done
            }
            Action::VerifyCertificate(check) => match vouch(&check) {
                Ok(()) => Outcome::Done,
                Err(why) => Outcome::Failed(why),
            },
            // This is not for us either: we do not know where we are.
            Action::FindPath { .. } => Outcome::Failed("nobody knows the way".into()),
            Action::CheckUnique { .. } => Outcome::Unique { is_allowed: true, has_other: false },
            Action::FindPaths { .. } => Outcome::Failed("a host has paths".into()),
        }
    }

    fn lease(&mut self, pools: &[String], identity: &Identity, requested: &[IpAddr]) -> Lease {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in requested {
            if addresses.iter().all(|leased| leased.is_ipv4() != address.is_ipv4()) {
                let acquired = self.pools.acquire(pools, identity, *address);
                addresses.extend(acquired.map(|acquired| acquired.address));
            }
        }
        let attributes = self.pools.attributes(pools, &addresses);
        Lease { addresses, attributes }
    }

    /// Another CHILD_SA is sent with for the same traffic.
    fn is_carried(&self, install: &ChildInstall) -> bool {
        self.installed.values().any(|other| {
            other.used_since.is_some()
                && other.install.local_ts == install.local_ts
                && other.install.remote_ts == install.remote_ts
        })
    }

    /// What stands behind another that is gone is sent with.
    fn bring_forward(&mut self) {
        let waits = |(id, installed): (&ChildSaId, &Installed)| {
            let is_behind =
                installed.install.outbound_use == Outbound::Behind && installed.used_since.is_none();
            (is_behind && !self.is_carried(&installed.install)).then_some(*id)
        };
        let Some(id) = self.installed.iter().find_map(waits) else { return };
        let used_since = Some(self.next_move());
        if let Some(installed) = self.installed.get_mut(&id) {
            installed.used_since = used_since;
        }
    }

    fn next_move(&mut self) -> u64 {
        self.moves += 1;
        self.moves
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }
}
