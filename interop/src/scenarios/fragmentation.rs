//! Large messages on a line that drops large datagrams, and what IP makes of them (RFC 7383).

use anyhow::{Result, ensure};

use super::Roles;
use super::topology::Sites;
use crate::lab::{Lab, drop_large, only_ipsec};
use crate::peer::{Connection, Settings, SwanctlConf, child};

const SECRET: &str = "two gateways share this";

/// What the line carries.
const MTU: u32 = 1200;

/// With fragments the gateways get through such a line, and without they do not.
pub(super) fn narrow_line(lab: &Lab, roles: Roles) -> Result<()> {
    let sites = Sites::build_with(lab, |left, right| {
        let line = lab.host("line")?;
        lab.switch(&line, "wire", &[(left, "wan"), (right, "wan")])?;
        drop_large(&line, MTU)
    })?;
    // A long name and many networks behind the responder: they stand in request and response, and no datagram of this
    // line holds them.
    let name = format!("{}.right.test", "x".repeat(400));
    let ids = [sites.left.id, name.as_str()];
    let mut many = String::new();
    for number in (0..120).step_by(2) {
        // charon wants an address in each network that it has a route for.
        sites.right.gateway.address("lan", &format!("10.4.{number}.1/24"))?;
        many += &format!(",10.4.{number}.0/24");
    }
    let networks = sites.right.networks[0].to_owned() + &many;
    let left = (&sites.left, ids[0], sites.left.networks[0]);
    let right = (&sites.right, ids[1], networks.as_str());
    let [near, far] = [(left, right), (right, left)].map(|((near, own, local), (far, other, remote))| {
        Connection::psk(own, other).between(near.outer[0], far.outer[0]).child("net", child(local, remote))
    });
    let settings = Settings::new()
        .set("charon.fragment_size", MTU)
        .set("charon.retransmit_timeout", 0.5)
        .set("charon.retransmit_tries", 2);
    lab.record(&sites.left.gateway, "wan")?;
    let conf = |connection| SwanctlConf::new().connection("site", connection).secret("site", SECRET, &ids);
    let left = lab.peer_with(&sites.left.gateway, roles.initiator, &conf(near.clone()), &settings)?;
    let right = lab.peer_with(&sites.right.gateway, roles.responder, &conf(far), &settings)?;

    left.initiate("net")?;
    super::site::agree(&left, &right)?;
    sites.left.host.ping(sites.left.hosts[0], sites.right.hosts[0], 3)?;
    sites.right.host.ping(sites.right.hosts[0], sites.left.hosts[0], 3)?;
    left.terminate("site")?;
    ensure!(right.sas()?.is_empty(), "an SA outlived its deletion");
    let wire = [sites.left.outer[0].parse()?, sites.right.outer[0].parse()?];
    // Nothing was left to IP: that would have been named as a fragment.
    let seen = only_ipsec(&lab.recorded(&sites.left.gateway, "wan")?, wire, b"")?;
    ensure!(seen.fragments.iter().all(|count| *count >= 2), "the wire shows only {seen}");

    // Without it, the message that is too large is sent in vain, and that is said.
    left.load(&conf(near.set("fragmentation", "no")))?;
    let mark = left.log().mark();
    let output = left.try_initiate("net")?;
    ensure!(output.code() != 0, "IKE_AUTH got through: {output}");
    left.log().expect(mark, &["giving up after 2 retransmits"])?;
    ensure!(left.sas()?.is_empty(), "an SA was left behind");
    Ok(())
}
