//! CHILD_SAs as pairs of the kernel's SAs.

use std::time::Duration;

use ferry_ike::config::{self, Child, CopyDscp};
use ferry_ike::output::{ChildInstall, Path};
use ferry_ike::selector::TrafficSelector;
use ferry_xfrm::sa::{Encapsulation, EncapsulationKind, Limit, Limits, ReplayWindow, SaExtraFlags, SaFlags};
use ferry_xfrm::{IpsecProtocol, Mode, Prefix, Sa, SaDirection, Selector};

use super::super::limits;
use super::labels::Numbers;

/// How long the kernel keeps SAs beyond their lifetime, at the end of which they are replaced or deleted: should we hang,
/// it ends them.
const GRACE: Duration = Duration::from_secs(30);

/// The kernel tells at most so often of a peer's packets from elsewhere, until the SA is changed.
const MAPPING_INTERVAL: Duration = Duration::from_secs(1);

/// Both directions of a CHILD_SA, without keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// What we receive by.
    pub(super) inbound: Sa,
    /// What we send by.
    pub(super) outbound: Sa,
}

impl Pair {
    /// The SAs of a CHILD_SA, with this reqid and these marks and interfaces.
    pub(super) fn of(install: &ChildInstall, reqid: u32, numbers: &Numbers) -> Result<Self, String> {
        let child = &install.child;
        let mode = mode(install.mode);
        let (local, remote) = (install.path.local.ip(), install.path.remote.ip());
        let mut inbound = Sa::new(remote, local, IpsecProtocol::ESP, install.spi_in.0, mode);
        let mut outbound = Sa::new(local, remote, IpsecProtocol::ESP, install.spi_out.0, mode);
        let inner = match install.mode {
            config::Mode::Beet => Some(inner_hosts(&install.local_ts, &install.remote_ts)?),
            config::Mode::Tunnel | config::Mode::Transport => None,
        };
        for sa in [&mut inbound, &mut outbound] {
            sa.reqid = reqid;
            sa.has_extended_sequence = install.suite.esn();
            sa.limits = limits_of(child);
            if !child.copy_ecn {
                sa.flags = sa.flags | SaFlags::NO_ECN;
            }
        }
        inbound.direction = Some(SaDirection::In);
        outbound.direction = Some(SaDirection::Out);
        (inbound.id.mark, outbound.id.mark) = (numbers.mark_in_sa, numbers.mark_out);
        (inbound.output_mark, outbound.output_mark) = (numbers.set_mark_in, numbers.set_mark_out);
        (inbound.interface_id, outbound.interface_id) = (numbers.interface_in, numbers.interface_out);
        inbound.selector = inner.map(|selector| selector.reversed());
        outbound.selector = inner;
        inbound.replay_window = ReplayWindow::new(child.replay_window).unwrap_or(ReplayWindow::WIDEST);
        if matches!(child.copy_dscp, CopyDscp::In | CopyDscp::Both) {
            inbound.flags = inbound.flags | SaFlags::DECAP_DSCP;
        }
        if matches!(child.copy_dscp, CopyDscp::In | CopyDscp::No) {
            outbound.extra_flags = outbound.extra_flags | SaExtraFlags::DONT_ENCAP_DSCP;
        }
        if !child.copy_df {
            outbound.flags = outbound.flags | SaFlags::NO_PMTU_DISCOVERY;
        }
        Ok(Self { inbound, outbound }.at(install.path, install.encapsulated))
    }

    /// The same between other outer addresses.
    pub(super) fn at(&self, path: Path, is_encapsulated: bool) -> Self {
        let mut moved = self.clone();
        for (sa, from, to) in
            [(&mut moved.inbound, path.remote, path.local), (&mut moved.outbound, path.local, path.remote)]
        {
            (sa.source, sa.id.destination) = (from.ip(), to.ip());
            sa.encapsulation = is_encapsulated.then_some(Encapsulation {
                kind: EncapsulationKind::UDP,
                source_port: from.port(),
                destination_port: to.port(),
            });
        }
        moved.inbound.mapping_interval = is_encapsulated.then_some(MAPPING_INTERVAL);
        moved
    }
}

pub(super) fn mode(mode: config::Mode) -> Mode {
    match mode {
        config::Mode::Tunnel => Mode::TUNNEL,
        config::Mode::Transport => Mode::TRANSPORT,
        config::Mode::Beet => Mode::BEET,
    }
}

/// Of what an SA that has carried so much may still carry. A limit of zero would be none to the kernel's eyes.
pub(super) fn what_is_left(limits: Limits, bytes: u64, packets: u64) -> Limits {
    let rest = |limit: Limit| Limit {
        bytes: limit.bytes.map(|most| most.saturating_sub(bytes).max(1)),
        packets: limit.packets.map(|most| most.saturating_sub(packets).max(1)),
        ..limit
    };
    Limits { soft: rest(limits.soft), hard: rest(limits.hard) }
}

/// The kernel builds the inner header of BEET mode from the SA, so that there is one host on each side.
fn inner_hosts(local_ts: &[TrafficSelector], remote_ts: &[TrafficSelector]) -> Result<Selector, String> {
    let host = |side: &[TrafficSelector]| match side {
        [one] if one.start_addr == one.end_addr => Ok(Prefix::host(one.start_addr)),
        _ => Err("BEET mode is for one host on each side".to_owned()),
    };
    Selector::new(host(local_ts)?, host(remote_ts)?).map_err(|error| error.to_string())
}

fn limits_of(child: &Child) -> Limits {
    Limits {
        soft: Limit {
            bytes: limits::soft(child.bytes),
            packets: limits::soft(child.packets),
            ..Limit::default()
        },
        hard: Limit {
            bytes: child.bytes.life,
            packets: child.packets.life,
            since_installed: child.life_time.map(|life| life + GRACE),
            since_used: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(local: &str, remote: &str) -> Path {
        Path { local: local.parse().unwrap(), remote: remote.parse().unwrap() }
    }

    fn pair() -> Pair {
        let [local, remote] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        Pair {
            inbound: Sa::new(remote, local, IpsecProtocol::ESP, 0x101, Mode::TUNNEL),
            outbound: Sa::new(local, remote, IpsecProtocol::ESP, 0x202, Mode::TUNNEL),
        }
    }

    #[test]
    fn ports_are_as_on_the_wire() {
        let Pair { inbound, outbound } = pair().at(path("192.0.2.1:4500", "198.51.100.7:1024"), true);
        let ports = |sa: &Sa| sa.encapsulation.map(|around| (around.source_port, around.destination_port));
        assert_eq!((ports(&inbound), ports(&outbound)), (Some((1024, 4500)), Some((4500, 1024))));
        assert_eq!(inbound.source.to_string(), "198.51.100.7");
        assert_eq!(outbound.id.destination.to_string(), "198.51.100.7");
        assert_eq!((inbound.id.spi, outbound.id.spi), (0x101, 0x202));
        assert!(inbound.mapping_interval.is_some() && outbound.mapping_interval.is_none());
        let native = pair().at(path("192.0.2.1:500", "192.0.2.2:500"), false);
        assert_eq!(native, pair());
    }

    #[test]
    fn beet_mode_has_one_host_on_each_side() {
        let host = |address: &str| vec![TrafficSelector::host(address.parse().unwrap())];
        let selector = inner_hosts(&host("10.0.0.1"), &host("10.0.0.2")).unwrap();
        assert_eq!(selector.to_string(), "10.0.0.1/32 -> 10.0.0.2/32");
        let net = vec![TrafficSelector::from_prefix("10.0.0.0".parse().unwrap(), 24).unwrap()];
        assert_eq!(
            inner_hosts(&net, &host("10.0.0.2")).unwrap_err(),
            "BEET mode is for one host on each side"
        );
    }

    #[test]
    fn what_was_carried_counts_against_the_limits() {
        let limit = |bytes| Limit { bytes: Some(bytes), ..Limit::default() };
        let limits = Limits { soft: limit(1000), hard: limit(5000) };
        let left = what_is_left(limits, 1200, 7);
        assert_eq!((left.soft.bytes, left.hard.bytes, left.hard.packets), (Some(1), Some(3800), None));
    }
}
