//! What scenarios with daemons of other makes have in common. Ours is on the left, the stranger on the right.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::topology::{Road, Sites};
use super::{roadwarrior, site};
use crate::lab::{Deadline, Host, Lab, only_ipsec, round_trip, until};
use crate::peer::{Connection, Peer, SwanctlConf, child, end};

pub(super) const SECRET: &str = "two gateways share this";

/// The names of our end and of the stranger's.
pub(super) const OURS: &str = "left.test";
pub(super) const THEIRS: &str = "right.test";

/// Octets that traffic of scenarios with strangers has each way at a time.
const OCTETS: usize = 100_000;

pub(super) fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Two sites whose gateways lead everywhere, as routes of strangers want a next hop.
pub(super) fn sites(lab: &Lab) -> Result<Sites> {
    let sites = Sites::build(lab)?;
    sites.left.gateway.route("default", sites.right.outer[0])?;
    sites.right.gateway.route("default", sites.left.outer[0])?;
    lab.record_at_end(&sites.left.gateway, "wan")?;
    Ok(sites)
}

/// Our configuration, with an end as `auth` says, and proposals that have perfect forward secrecy, which strangers insist on.
pub(super) fn conf(sites: &Sites, auth: &str) -> SwanctlConf {
    let (near, far) = (&sites.left, &sites.right);
    let own = end(auth, OURS);
    let own = if auth == "psk" { own } else { own.set("certs", format!("{OURS}.pem")) };
    let net = child(near.networks[0], far.networks[0])
        .set("esp_proposals", "aes256gcm16-ecp256,aes256-sha384-ecp256");
    let their_auth = if auth == "psk" { auth } else { "pubkey" };
    let connection = Connection::between_ends(own, end(their_auth, THEIRS))
        .between(near.outer[0], far.outer[0])
        .set("proposals", "aes256-sha256-ecp256,default")
        .child("net", net);
    site::conf(connection)
}

/// Traffic both ways.
pub(super) fn carries(sites: &Sites) -> Result<()> {
    let [left, right] = [&sites.left, &sites.right];
    left.host.ping(left.hosts[0], right.hosts[0], 2)?;
    right.host.ping(right.hosts[0], left.hosts[0], 2)?;
    round_trip(&left.host, &right.host, right.hosts[0].parse()?, OCTETS)
}

/// Nothing but IPsec has crossed the wire, and of that enough.
pub(super) fn nothing_leaked(lab: &Lab, sites: &Sites) -> Result<()> {
    let ends = [sites.left.outer[0].parse()?, sites.right.outer[0].parse()?];
    let seen = only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, ends, b"")?;
    ensure!(seen.esp_bytes > 2 * u64::try_from(OCTETS)?, "the wire shows only {seen}");
    Ok(())
}

/// The keys in use: the SPIs of the IKE SA and of the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) ike: [String; 2],
    pub(super) child: String,
}

impl Keys {
    /// Of the one IKE SA, if there is one, and its one child.
    fn look(ours: &Peer) -> Result<Option<Self>> {
        let sas = ours.sas()?;
        let [sa] = sas.as_slice() else { return Ok(None) };
        let mut installed = sa.children.iter().filter(|child| child.state == "INSTALLED");
        let is_one = sa.state == "ESTABLISHED" && installed.clone().count() == 1;
        let child = installed.next().filter(|_| is_one);
        Ok(child.map(|child| Self { ike: sa.spis.clone(), child: child.inbound.spi.clone() }))
    }

    /// Those of now, as soon as one IKE SA has one child.
    pub(super) fn of(ours: &Peer) -> Result<Self> {
        Self::wait(ours, "one IKE SA with one child", |_| true)
    }

    /// Those of a child that has followed upon this one.
    pub(super) fn wait_for_child(&self, ours: &Peer) -> Result<Self> {
        Self::wait(ours, "a successor of the child", |now| now.child != self.child)
    }

    /// Those of an IKE SA that has followed upon this one.
    pub(super) fn wait_for_ike(&self, ours: &Peer) -> Result<Self> {
        Self::wait(ours, "a successor of the IKE SA", |now| now.ike != self.ike)
    }

    fn wait(ours: &Peer, what: &str, is_it: impl Fn(&Self) -> bool) -> Result<Self> {
        let found = until(patience(), what, || Ok(Self::look(ours)?.filter(|now| is_it(now))));
        found.with_context(|| format!("there is {:?}", ours.sas()))
    }
}

/// We rekey both, and traffic flows.
pub(super) fn we_rekey(sites: &Sites, ours: &Peer) -> Result<()> {
    let before = Keys::of(ours)?;
    ours.swanctl(&["--rekey", "--child", "net"])?.success()?;
    let between = before.wait_for_child(ours).context("our rekeying of the child")?;
    carries(sites)?;
    ours.swanctl(&["--rekey", "--ike", "site"])?.success()?;
    let after = between.wait_for_ike(ours).context("our rekeying of the IKE SA")?;
    ensure!(after.child == between.child, "the child is another: {between:?} {after:?}");
    carries(sites)
}

/// The peer has ended what there was.
pub(super) fn wait_for_end(ours: &Peer) -> Result<()> {
    until(patience(), "the end of the IKE SA", || Ok(ours.sas()?.is_empty().then_some(())))
}

/// A client with this address at one end, and a network at the other.
pub(super) fn client_reaches(road: &Road, address: &str) -> Result<()> {
    let client = road.client()?;
    client.ping(address, Road::SERVER, 3)?;
    road.server.ping(Road::SERVER, address, 2)?;
    round_trip(client, &road.server, Road::SERVER.parse()?, OCTETS)
}

/// The address that a stranger has from our pool.
pub(super) fn leased(gateway: &Peer, host: &Host) -> Result<String> {
    let sa = gateway.sa()?;
    let [address] = sa.remote.virtual_ips.as_slice() else { anyhow::bail!("not one address: {sa:?}") };
    let shown = until(patience(), &format!("the address {address}"), || {
        let shown = host.succeed(&["ip", "address"])?.stdout;
        Ok(shown.contains(address.as_str()).then_some(shown))
    });
    shown.map(|_| address.clone())
}

/// Our gateway for strangers.
pub(super) fn gateway() -> SwanctlConf {
    roadwarrior::gateway_with("proposals", "aes256-sha256-ecp256,default")
}
