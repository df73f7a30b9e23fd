//! OpenIKED at the other end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::certificates::{Authority, P256, RSA};
use super::roadwarrior;
use super::strangers::{self, Keys, OURS, SECRET, THEIRS, carries};
use super::topology::{Road, Sites};
use crate::lab::{Deadline, Host, Lab, until};
use crate::peer::{Daemon, OpenIked};

/// Its configuration, with the one SHA-2 that iked knows how to give to Linux: `mode` is `active` or `passive`, `rest` what else there is to say.
fn conf(sites: &Sites, mode: &str, rest: &str) -> String {
    let (near, far) = (&sites.right, &sites.left);
    format!(
        "ikev2 \"site\" {mode} esp from {} to {} local {} peer {} \
         ikesa auth hmac-sha2-256 enc aes-256 group ecp256 \
         childsa auth hmac-sha2-384 enc aes-256 group ecp256 noesn \
         srcid {THEIRS} dstid {OURS} {rest}\n",
        near.networks[0], far.networks[0], near.outer[0], far.outer[0]
    )
}

/// Waits for the first echo: iked answers, and believes an answer, before its kernel has the SAs.
fn has_installed(host: &Host, source: &str, target: &str) -> Result<()> {
    until(Deadline::after(Duration::from_secs(20)), "the first echo", || {
        Ok(host.output(&["ping", "-c", "1", "-W", "1", "-I", source, target])?.success().ok())
    })
    .map(drop)
}

/// The same between the two networks, and then all that they carry.
fn carries_soon(sites: &Sites) -> Result<()> {
    has_installed(&sites.left.host, sites.left.hosts[0], sites.right.hosts[0])?;
    carries(sites)
}

/// Either end begins and rekeys.
pub(super) fn with_a_key(lab: &Lab, ours: Daemon) -> Result<()> {
    let sites = strangers::sites(lab)?;
    let mut theirs = OpenIked::new(&sites.right.gateway)?;
    let key = format!("psk \"{SECRET}\"");
    theirs.start(&conf(&sites, "passive", &key))?;
    let ours = lab.peer(&sites.left.gateway, ours, &strangers::conf(&sites, "psk"))?;
    ours.initiate("net").with_context(|| theirs.log().text())?;
    carries_soon(&sites)?;
    strangers::we_rekey(&sites, &ours)?;
    ours.terminate("site")?;
    theirs.stop()?;

    // It rekeys by the clock alone, for the first time after some seconds.
    let hurry = format!("ikelifetime 8 lifetime 4 {key}");
    theirs.start(&conf(&sites, "active", &hurry))?;
    let before = Keys::of(&ours).with_context(|| theirs.log().text())?;
    ensure!(!ours.sa()?.is_initiator, "we have begun: {:?}", ours.sa()?);
    carries_soon(&sites)?;
    before.wait_for_child(&ours).with_context(|| theirs.log().text())?;
    carries(&sites).context("after iked has rekeyed the child")?;
    before.wait_for_ike(&ours).with_context(|| theirs.log().text())?;
    carries(&sites).context("after iked has rekeyed the IKE SA")?;
    theirs.order(&["reset", "sa"])?;
    strangers::wait_for_end(&ours)?;
    theirs.stop()?;
    strangers::nothing_leaked(lab, &sites)
}

/// Certificates instead.
pub(super) fn with_certificates(lab: &Lab, ours: Daemon) -> Result<()> {
    let sites = strangers::sites(lab)?;
    let authority = Authority::root(sites.left.gateway.directory(), "CA")?;
    authority.present(&sites.left.gateway)?;
    let mut theirs = OpenIked::new(&sites.right.gateway)?;
    let mut peer = None;
    for key in [RSA, P256] {
        for name in [OURS, THEIRS] {
            authority.certify(name, key)?;
        }
        authority.equip(&sites.left.gateway, OURS)?;
        let [own, key, ca] =
            [(THEIRS, "pem"), (THEIRS, "key"), ("CA", "pem")].map(|(name, kind)| authority.file(name, kind));
        theirs.equip(THEIRS, &own, &key, &ca)?;
        theirs.start(&conf(&sites, "passive", ""))?;
        let conf_of_ours = strangers::conf(&sites, "pubkey");
        let ours = match &peer {
            None => peer.insert(lab.peer(&sites.left.gateway, ours, &conf_of_ours)?),
            Some(peer) => {
                peer.load(&conf_of_ours)?;
                peer
            }
        };
        ours.initiate("net").with_context(|| theirs.log().text())?;
        carries_soon(&sites)?;
        ours.terminate("site")?;
        theirs.stop()?;
        theirs.start(&conf(&sites, "active", ""))?;
        Keys::of(ours).with_context(|| theirs.log().text())?;
        carries_soon(&sites)?;
        ours.terminate("site")?;
        theirs.stop()?;
    }
    strangers::nothing_leaked(lab, &sites)
}

/// Each as the other's client.
pub(super) fn behind_nat(lab: &Lab, daemon: Daemon) -> Result<()> {
    let road = Road::build(lab, 1)?;
    lab.record(&road.nat, "wan")?;
    let key = format!("psk \"{}\"", roadwarrior::SECRET);
    let mut gateway = OpenIked::new(&road.gateway)?;
    gateway.start(&format!(
        "ikev2 \"road\" passive esp from {} to dynamic local {} peer any srcid gw.test dstid alice {key} \
         config address 10.9.0.0/24\n",
        Road::LAN,
        Road::GATEWAY
    ))?;
    let client = lab.peer(road.client()?, daemon, &roadwarrior::client("alice"))?;
    client.initiate("net").with_context(|| gateway.log().text())?;
    let sa = client.sa()?;
    let [address] = sa.local.virtual_ips.as_slice() else { anyhow::bail!("not one address: {sa:?}") };
    has_installed(road.client()?, address, Road::SERVER)?;
    strangers::client_reaches(&road, address)?;
    client.terminate("home")?;
    gateway.stop()?;
    client.stop()?;

    let gateway = lab.peer(&road.gateway, daemon, &strangers::gateway())?;
    let mut client = OpenIked::new(road.client()?)?;
    client.start(&format!(
        "ikev2 \"home\" active esp from 0.0.0.0/0 to {} peer {} srcid alice dstid gw.test {key} request address any iface lo\n",
        Road::LAN,
        Road::GATEWAY
    ))?;
    Keys::of(&gateway).with_context(|| client.log().text())?;
    let sa = gateway.sa()?;
    let in_udp = sa.children.iter().all(|child| child.mode == "TUNNEL-in-UDP");
    ensure!(in_udp && sa.remote.host == Road::OUTSIDE, "not behind a NAT: {sa:?}");
    let address = strangers::leased(&gateway, road.client()?)?;
    has_installed(road.client()?, &address, Road::SERVER).with_context(|| client.log().text())?;
    // Nothing but the address that is asked for leads programs to use it: iked makes no route.
    road.client()?.ping(&address, Road::SERVER, 10).with_context(|| client.log().text())?;
    road.server.ping(Road::SERVER, &address, 3)?;
    gateway.terminate("road")?;
    client.stop()
}
